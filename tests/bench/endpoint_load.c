/* endpoint_load.c -- what an endpoint costs: many calls in flight at once, nothing else.
 *
 *     bench_endpoint_load URL CALLS IN_FLIGHT BODY_BYTES [LATENCY_MS]
 *
 * Puts CALLS different questions of BODY_BYTES to a server (sluice-llm) through one endpoint, at most IN_FLIGHT under
 * way, and prints: calls a second between a quarter and nine tenths of them, beside the limit IN_FLIGHT / latency where
 * that is given; CPU time of this process a call and as a share of one core; memory a call in flight. The questions
 * stand in memory before the clock starts, so what grows is the endpoint's: its connections, buffers and answers.
 * Judges nothing but that each was answered once.
 */
#include "topology/base/thread.h"
#include "topology/endpoint.h"
#include "topology/endpoint/http_endpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct question {
	struct sl_outcall out;
	struct sl_buf body;
	int answers, status;
};

static pthread_mutex_t lock;
static pthread_cond_t over;
static size_t all_calls, open_calls, failed;
static int64_t quarter_ns, tenths_ns; /* when a quarter, and nine tenths, were answered: a start is not a rate */

static void on_done(struct sl_outcall *out, const struct sl_settlement *reply)
{
	struct question *q = out->owner;

	q->answers++;
	q->status = reply->status;
	sl_lock(&lock);
	failed += reply->status != 200;
	open_calls--;
	if (open_calls == all_calls - all_calls / 4)
		quarter_ns = sl_monotonic_ns();
	if (open_calls == all_calls / 10)
		tenths_ns = sl_monotonic_ns();
	if (open_calls == 0)
		sl_cond_signal(&over);
	sl_unlock(&lock);
}

static double cpu_s(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (f && fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void question_make(struct question *q, size_t number, size_t bytes)
{
	sl_buf_print(&q->body, "{\"model\":\"m\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"%zu ",
		     number);
	while (q->body.size + 4 < bytes)
		sl_buf_print(&q->body, "word ");
	sl_buf_print(&q->body, "\"}]}");
	q->out = (struct sl_outcall){ .path = "/chat/completions",
				      .model = "m",
				      .body = sl_buf_bytes(&q->body),
				      .key = sl_hash128(q->body.data, q->body.size),
				      .tokens_max = 64,
				      .owner = q,
				      .done = on_done };
}

int main(int argc, char **argv)
{
	const char *url = argc > 4 ? argv[1] : NULL;
	size_t calls = url ? strtoul(argv[2], NULL, 10) : 0, bytes = url ? strtoul(argv[4], NULL, 10) : 0;
	int64_t in_flight = url ? strtol(argv[3], NULL, 10) : 0, began;
	double latency_ms = argc > 5 ? strtod(argv[5], NULL) : 0, cpu, before, most = 0, seconds;
	struct sl_endpoint_def def = { .name = "load",
				       .urls = { &url, 1 },
				       .model = "m",
				       .ca = "",
				       .in_flight = in_flight,
				       .connect_timeout_ms = 10000,
				       .timeout_ms = 120000,
				       .retries = 2,
				       .budget = -1,
				       .budget_per_day = -1 };
	struct question *questions;
	struct sl_http_loop *loop;
	struct sl_endpoint *endpoint;
	size_t wrong = 0;

	if (calls == 0 || in_flight <= 0) {
		fprintf(stderr, "usage: bench_endpoint_load URL CALLS IN_FLIGHT BODY_BYTES [LATENCY_MS]\n");
		return 2;
	}
	sl_mutex_init(&lock);
	sl_cond_init(&over);
	questions = sl_calloc(calls, sizeof *questions);
	for (size_t i = 0; i < calls; i++)
		question_make(&questions[i], i, bytes);
	loop = sl_http_loop_new();
	endpoint = sl_http_endpoint_new(loop, &def);
	before = resident_bytes();
	cpu = cpu_s();
	began = sl_monotonic_ns();
	all_calls = open_calls = calls;
	for (size_t i = 0; i < calls; i++)
		endpoint->ops->send(endpoint, &questions[i].out);
	sl_lock(&lock);
	while (open_calls > 0) {
		double now = resident_bytes();

		most = now > most ? now : most;
		sl_cond_wait_ms(&over, &lock, 100);
	}
	sl_unlock(&lock);
	seconds = (double)(sl_monotonic_ns() - began) / 1e9;
	cpu = cpu_s() - cpu;
	endpoint->ops->free(endpoint);
	sl_http_loop_free(loop);
	for (size_t i = 0; i < calls; i++) {
		wrong += questions[i].answers != 1;
		sl_buf_release(&questions[i].body);
	}
	free(questions);
	printf("%-44s %10.0f\n", "calls/s",
	       (double)(calls - calls / 4 - calls / 10) / ((double)(tenths_ns - quarter_ns) / 1e9));
	if (latency_ms > 0)
		printf("%-44s %10.0f\n", "limit: in flight / latency", (double)in_flight / latency_ms * 1e3);
	printf("%-44s %10.1f\n", "CPU a call, microseconds", cpu / (double)calls * 1e6);
	printf("%-44s %10.1f\n", "CPU, per cent of a core", cpu / seconds * 100);
	printf("%-44s %10.1f\n", "memory a call in flight, KiB", (most - before) / (double)in_flight / 1024);
	printf("%-44s %10zu\n", "not answered with 200", failed);
	if (wrong) {
		fprintf(stderr, "bench_endpoint_load: %zu calls were not answered exactly once\n", wrong);
		return 1;
	}
	return 0;
}
