/* stats.c -- see stats.h. Every label value that there can be is always exported, so that a rate over one that did
 * not happen yet is nought and not nothing. */
#include "stats.h"

#include "../endpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>

static const int64_t bounds_ms[SL_LATENCIES] = { 50,   100,   250,   500,   1000,   2500,
						 5000, 10000, 30000, 60000, 120000, 300000 };
static const char *const states[] = { "ok",          "idle",         "throttled", "unreachable", "failing",
				      "certificate", "unauthorized", "not_found", "quota",       NULL };

void sl_endpoint_stats_latency(struct sl_endpoint_stats *s, int64_t ms)
{
	size_t i = 0;

	while (i < SL_LATENCIES && ms > bounds_ms[i])
		i++;
	s->latencies[i]++;
	s->latency_ms += ms;
}

void sl_endpoint_stats_json(const struct sl_endpoint_stats *s, const struct sl_endpoint_now *now, struct sl_buf *json)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "state", now->state, "why",
			      now->why, "waiting", (json_int_t)now->waiting, "in_flight", (json_int_t)now->in_flight,
			      "limit", (json_int_t)now->limit, "calls", (json_int_t)s->calls, "settled",
			      (json_int_t)s->settled, "attempts", (json_int_t)s->attempts, "retries",
			      (json_int_t)s->retries, "unknown", (json_int_t)s->unknown);
	json_t *errors = json_object();
	char *text;

	if (!o || !errors)
		sl_oom(0);
	for (int c = SL_REPLY_ANSWERED + 1; c < SL_REPLY_CLASSES; c++)
		if (s->classes[c])
			json_object_set_new(errors, sl_reply_class_name((enum sl_reply_class)c),
					    json_integer(s->classes[c]));
	json_object_set_new(o, "errors", errors);
	if (now->next_try_ms >= 0)
		json_object_set_new(o, "next_try_ms", json_integer(now->next_try_ms));
	text = json_dumps(o, JSON_COMPACT);
	if (!text)
		sl_oom(0);
	sl_buf_add(json, text + 1, strlen(text) - 2);
	free(text);
	json_decref(o);
}

/* -- Prometheus ------------------------------------------------------------------------------ */

/* Names of endpoints are letters, digits, '_' and '-': nothing to escape. */

static void head(struct sl_buf *text, const char *name, const char *kind, const char *help)
{
	sl_buf_print(text, "# HELP sluice_endpoint_%s %s\n# TYPE sluice_endpoint_%s %s\n", name, help, name, kind);
}

static void numbers(const struct sl_endpoint_reading *all, size_t count, struct sl_buf *text)
{
	static const struct {
		const char *name, *kind, *help;
		size_t offset;
	} families[] = {
		{ "calls_total", "counter", "Calls handed to an endpoint.",
		  offsetof(struct sl_endpoint_reading, stats.calls) },
		{ "settled_total", "counter", "Calls given back, answered or not.",
		  offsetof(struct sl_endpoint_reading, stats.settled) },
		{ "attempts_total", "counter", "Requests sent.", offsetof(struct sl_endpoint_reading, stats.attempts) },
		{ "retries_total", "counter", "Times that a call was put back to be sent again.",
		  offsetof(struct sl_endpoint_reading, stats.retries) },
		{ "unknown_total", "counter",
		  "Requests that were sent whole and got no whole answer: they may have been paid.",
		  offsetof(struct sl_endpoint_reading, stats.unknown) },
		{ "halvings_total", "counter", "Times that the calls in flight were halved after a 429.",
		  offsetof(struct sl_endpoint_reading, stats.halvings) },
		{ "sent_bytes_total", "counter", "Bytes of the bodies of requests.",
		  offsetof(struct sl_endpoint_reading, stats.bytes_sent) },
		{ "received_bytes_total", "counter", "Bytes of the bodies of answers.",
		  offsetof(struct sl_endpoint_reading, stats.bytes_received) },
		{ "waiting_calls", "gauge", "Calls that wait for their turn.",
		  offsetof(struct sl_endpoint_reading, now.waiting) },
		{ "in_flight_calls", "gauge", "Calls under way.", offsetof(struct sl_endpoint_reading, now.in_flight) },
		{ "limit_calls", "gauge", "Most calls under way at once, at the moment.",
		  offsetof(struct sl_endpoint_reading, now.limit) },
	};

	for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
		head(text, families[k].name, families[k].kind, families[k].help);
		for (size_t i = 0; i < count; i++) {
			int64_t n;

			memcpy(&n, (const char *)&all[i] + families[k].offset, sizeof n);
			sl_buf_print(text, "sluice_endpoint_%s{endpoint=\"%s\"} %" PRId64 "\n", families[k].name,
				     all[i].now.name, n);
		}
	}
}

static void errors(const struct sl_endpoint_reading *all, size_t count, struct sl_buf *text)
{
	head(text, "errors_total", "counter", "Requests that were not answered with 2xx, by class.");
	for (size_t i = 0; i < count; i++)
		for (int c = SL_REPLY_ANSWERED + 1; c < SL_REPLY_CLASSES; c++)
			sl_buf_print(text, "sluice_endpoint_errors_total{endpoint=\"%s\",class=\"%s\"} %" PRId64 "\n",
				     all[i].now.name, sl_reply_class_name((enum sl_reply_class)c),
				     all[i].stats.classes[c]);
}

static void states_of(const struct sl_endpoint_reading *all, size_t count, struct sl_buf *text)
{
	head(text, "state", "gauge", "1 at the state an endpoint is in.");
	for (size_t i = 0; i < count; i++)
		for (const char *const *state = states; *state; state++)
			sl_buf_print(text, "sluice_endpoint_state{endpoint=\"%s\",state=\"%s\"} %d\n", all[i].now.name,
				     *state, strcmp(*state, all[i].now.state) == 0);
}

static void latency(const struct sl_endpoint_reading *r, struct sl_buf *text)
{
	const char *name = r->now.name;
	int64_t sum = 0;

	for (size_t i = 0; i < SL_LATENCIES; i++) {
		sum += r->stats.latencies[i];
		sl_buf_print(text, "sluice_endpoint_latency_seconds_bucket{endpoint=\"%s\",le=\"%g\"} %" PRId64 "\n",
			     name, (double)bounds_ms[i] / 1e3, sum);
	}
	sum += r->stats.latencies[SL_LATENCIES];
	sl_buf_print(text,
		     "sluice_endpoint_latency_seconds_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRId64 "\n"
		     "sluice_endpoint_latency_seconds_sum{endpoint=\"%s\"} %.3f\n"
		     "sluice_endpoint_latency_seconds_count{endpoint=\"%s\"} %" PRId64 "\n",
		     name, sum, name, (double)r->stats.latency_ms / 1e3, name, sum);
}

void sl_endpoint_stats_metrics(const struct sl_endpoint_reading *all, size_t count, struct sl_buf *text)
{
	numbers(all, count, text);
	errors(all, count, text);
	states_of(all, count, text);
	head(text, "latency_seconds", "histogram", "Time of requests that were answered with 2xx.");
	for (size_t i = 0; i < count; i++)
		latency(&all[i], text);
}

void sl_endpoint_metrics(struct sl_endpoint *const *endpoints, size_t count, struct sl_buf *text)
{
	struct sl_endpoint_reading *all = sl_calloc(count, sizeof *all);
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (endpoints[i] && endpoints[i]->ops->read)
			endpoints[i]->ops->read(endpoints[i], &all[n++]);
	if (n)
		sl_endpoint_stats_metrics(all, n, text);
	free(all);
}
