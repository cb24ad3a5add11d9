/* with_runtime.c -- see with_runtime.h. */
#include "with_runtime.h"

#include "topology/base/file.h"
#include "topology/base/hash.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PARTITIONS_MOST 8

/* A member that says nothing is given up after this; the brokers allow no less. */
static const struct sl_property impatient[] = { { .name = "session.timeout.ms", .value = "6000" },
						{ .name = "heartbeat.interval.ms", .value = "1000" } };

static struct sl_topology *topology_of(const char *yaml, const char *prefix)
{
	struct sl_topology *t = kafka_topology(yaml);

	t->kafka.prefix = prefix;
	t->kafka.properties = impatient;
	t->kafka.property_count = 2;
	return t;
}

/* -- in this process ------------------------------------------------------------------------ */

void kafka_node_open(struct kafka_node *n, const char *yaml, const char *prefix)
{
	struct sl_error e = { 0 };

	if (!n->folder[0]) {
		snprintf(n->folder, sizeof n->folder, "/tmp/sluice-kafka-XXXXXX");
		assert_non_null(mkdtemp(n->folder));
	}
	n->topology = topology_of(yaml, prefix);
	n->options.data = n->folder;
	n->options.wait_for_brokers = true;
	n->rt = sl_runtime_open(n->topology, &n->options, &e);
	if (!n->rt)
		fail_msg("%s", e.text);
}

void kafka_node_close(struct kafka_node *n)
{
	sl_runtime_close(n->rt);
	sl_topology_free(n->topology);
	n->rt = NULL;
	n->topology = NULL;
}

void kafka_node_drop(struct kafka_node *n)
{
	struct sl_error e = { 0 };

	if (n->rt)
		kafka_node_close(n);
	if (!sl_folder_remove(n->folder, &e))
		fail_msg("%s", e.text);
}

enum sl_run_end kafka_node_run(struct kafka_node *n, struct sl_error *e)
{
	struct sl_run_options options = { .until_idle = true };

	*e = (struct sl_error){ 0 };
	return sl_runtime_run(n->rt, &options, e);
}

/* -- input ------------------------------------------------------------------------------------ */

static struct sl_pair numbered(struct sl_arena *a, size_t n)
{
	struct sl_pair p = sl_trial_pair(a, sl_arena_print(a, n % 50 == 7 ? "bad %zu" : "group %zu", n % 37),
					 sl_arena_print(a, "answer %zu", n), "no");

	p.time_ms = 1000000 + (int64_t)n;
	p.arrival =
		(struct sl_arrival){ .file = sl_text("test"), .line = (int64_t)n + 1, .partition = -1, .offset = -1 };
	return p;
}

bool kafka_feed_trial(struct sl_trial *t, size_t first, size_t count)
{
	struct sl_arena a = { 0 };
	struct sl_pair *pairs = sl_arena_zalloc(&a, (count + 1) * sizeof *pairs);
	bool done;

	for (size_t i = 0; i < count; i++)
		pairs[i] = numbered(&a, first + i);
	done = sl_trial_feed(t, "pairs.raw", pairs, count);
	sl_arena_release(&a);
	return done;
}

static void send_pair(rd_kafka_t *rk, const char *topic, size_t n)
{
	struct sl_arena a = { 0 };
	struct sl_buf value = { 0 };
	struct sl_pair p = numbered(&a, n);
	rd_kafka_resp_err_t err;

	sl_pair_encode(&p, &value);
	err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(p.group.b, sizeof p.group.b),
				RD_KAFKA_V_VALUE(value.data, value.size), RD_KAFKA_V_TIMESTAMP(p.time_ms),
				RD_KAFKA_V_END);
	assert_int_equal(err, 0);
	sl_buf_release(&value);
	sl_arena_release(&a);
}

static void flush(rd_kafka_t *rk)
{
	assert_int_equal(rd_kafka_flush(rk, 60000), 0);
}

void kafka_feed(const char *prefix, size_t first, size_t count)
{
	rd_kafka_t *rk = kafka_producer(kafka_unique());
	char topic[300];

	snprintf(topic, sizeof topic, "%spairs.raw", prefix);
	for (size_t i = 0; i < count; i++) {
		if (i % 30 == 0)
			assert_null(rd_kafka_begin_transaction(rk));
		send_pair(rk, topic, first + i);
		if (i % 30 != 29 && i + 1 != count)
			continue;
		flush(rk);
		kafka_end(rk, true);
		if (i % 4)
			continue;
		assert_null(rd_kafka_begin_transaction(rk));
		send_pair(rk, topic, 1000000 + i);
		flush(rk);
		kafka_end(rk, false);
	}
	rd_kafka_destroy(rk);
}

/* -- what comes out --------------------------------------------------------------------------------- */

static void line(struct sl_buf *to, const char *topic, int32_t partition, const struct sl_record *r)
{
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	char hex[SL_ID_HEX_SIZE];
	struct sl_pair p;

	if (r->value.data && sl_pair_decode(r->value, &a, &p, &e)) {
		struct sl_bytes why = p.trail_count ? p.trail[p.trail_count - 1].reason : sl_text("");

		sl_buf_print(to, "%s %" PRId32 " %s %.3f %.*s\n", topic, partition, sl_id_hex(p.id, hex),
			     isnan(p.margin) ? 0 : p.margin, (int)why.size, why.data ? (const char *)why.data : "");
	} else {
		sl_buf_print(to, "%s %" PRId32 " %zu bytes\n", topic, partition, r->value.size);
	}
	sl_arena_release(&a);
}

void kafka_outcome(const char *yaml, const char *prefix, const char *const *topics, struct sl_buf *to)
{
	struct sl_topology *t = topology_of(yaml, prefix);

	sl_buf_clear(to);
	for (; *topics; topics++) {
		int topic = sl_topology_topic(t, *topics);
		struct kafka_seen seen[PARTITIONS_MOST];
		char name[300];

		assert_true(topic >= 0 && t->topics[topic].partitions <= PARTITIONS_MOST);
		snprintf(name, sizeof name, "%s%s", prefix, *topics);
		kafka_read_all(name, t->topics[topic].partitions, true, seen);
		for (int32_t p = 0; p < t->topics[topic].partitions; p++) {
			for (size_t i = 0; i < seen[p].count; i++)
				line(to, *topics, p, &seen[p].records[i]);
			kafka_seen_release(&seen[p]);
		}
	}
	sl_topology_free(t);
}

void kafka_outcome_trial(struct sl_trial *t, const char *const *topics, struct sl_buf *to)
{
	sl_buf_clear(to);
	for (; *topics; topics++) {
		int topic = sl_topology_topic(t->topology, *topics);

		for (int32_t p = 0; p < t->topology->topics[topic].partitions; p++) {
			int64_t next = 0, end = 1;
			struct sl_buf frames = { 0 };
			struct sl_record r;
			size_t at = 0;

			while (next < end)
				assert_true(sl_runtime_fetch(t->rt, topic, p, next, 1u << 20, &frames, &next, &end,
							     &t->error));
			while (sl_frames_next(sl_buf_bytes(&frames), &at, &r))
				line(to, *topics, p, &r);
			sl_buf_release(&frames);
		}
	}
}

void kafka_stores(struct sl_runtime *rt, struct sl_buf *to)
{
	struct sl_store_scan *scan = rt->store->ops->scan(rt->store, sl_text("s"));
	struct sl_bytes key, value;
	struct sl_error e = { 0 };
	char hex[2][SL_ID_HEX_SIZE];

	sl_buf_clear(to);
	while (rt->store->ops->next(scan, &key, &value, &e))
		sl_buf_print(to, "%s %s\n", sl_id_hex(sl_hash128(key.data, key.size), hex[0]),
			     sl_id_hex(sl_hash128(value.data, value.size), hex[1]));
	rt->store->ops->end(scan);
	assert_int_equal(e.verdict, SL_OK);
}

void kafka_must_equal(struct sl_buf *want, struct sl_buf *got)
{
	const char *w = sl_buf_text(want), *g = sl_buf_text(got);
	size_t at = 0, n = 0;

	while (w[at] && w[at] == g[at])
		n += w[at++] == '\n';
	if (w[at] == g[at])
		return;
	while (at > 0 && w[at - 1] != '\n')
		at--;
	fail_msg("line %zu: wanted '%.*s', got '%.*s' (%zu and %zu bytes in all)", n + 1, (int)strcspn(w + at, "\n"),
		 w + at, (int)strcspn(g + at, "\n"), g + at, want->size, got->size);
}

/* -- other processes ----------------------------------------------------------------------------------- */

pid_t kafka_worker_start(const char *yaml, const char *prefix, const char *folder, bool until_idle)
{
	const char *const arguments[] = { "worker", yaml, prefix, folder, until_idle ? "idle" : "on", NULL };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
	_exit(127);
}

int kafka_worker_wait(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static struct sl_runtime *running;

static void on_term(int number)
{
	(void)number;
	sl_runtime_stop(running);
}

bool kafka_worker(int argc, char **argv, int *code)
{
	struct sl_run_options options = { .until_idle = argc == 5 && strcmp(argv[4], "idle") == 0 };
	struct sl_runtime_options open = { .wait_for_brokers = true };
	struct sigaction term = { .sa_handler = on_term };
	struct sl_error e = { 0 };
	struct sl_topology *t;
	enum sl_run_end end;

	if (argc != 5 || strcmp(argv[0], "worker") != 0)
		return false;
	t = topology_of(argv[1], argv[2]);
	open.data = argv[3];
	running = sl_runtime_open(t, &open, &e);
	if (!running) {
		fprintf(stderr, "worker: %s\n", e.text);
		*code = 3;
		return true;
	}
	sigaction(SIGTERM, &term, NULL);
	end = sl_runtime_run(running, &options, &e);
	if (end == SL_RUN_FAILED || end == SL_RUN_STUCK)
		fprintf(stderr, "worker: %s\n", e.text);
	sl_runtime_close(running);
	sl_topology_free(t);
	*code = (int)end;
	return true;
}
