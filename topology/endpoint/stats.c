/* stats.c -- see stats.h. Every label value that there can be is always exported, so that a rate over one that did
 * not happen yet is nought and not nothing. */
#include "stats.h"

#include "../endpoint.h"

#include <inttypes.h>
#include <jansson.h>
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

static void line(struct sl_buf *text, const char *metric, const char *endpoint, int64_t value)
{
	sl_buf_print(text, "sluice_endpoint_%s{endpoint=\"%s\"} %" PRId64 "\n", metric, endpoint, value);
}

void sl_endpoint_stats_metrics(const struct sl_endpoint_stats *s, const struct sl_endpoint_now *now,
			       struct sl_buf *text)
{
	const char *name = now->name; /* letters, digits, '_' and '-': nothing to escape */
	int64_t sum = 0;

	line(text, "calls_total", name, s->calls);
	line(text, "settled_total", name, s->settled);
	line(text, "attempts_total", name, s->attempts);
	line(text, "retries_total", name, s->retries);
	line(text, "unknown_total", name, s->unknown);
	line(text, "halvings_total", name, s->halvings);
	line(text, "sent_bytes_total", name, s->bytes_sent);
	line(text, "received_bytes_total", name, s->bytes_received);
	for (int c = SL_REPLY_ANSWERED + 1; c < SL_REPLY_CLASSES; c++)
		sl_buf_print(text, "sluice_endpoint_errors_total{endpoint=\"%s\",class=\"%s\"} %" PRId64 "\n", name,
			     sl_reply_class_name((enum sl_reply_class)c), s->classes[c]);
	for (const char *const *state = states; *state; state++)
		sl_buf_print(text, "sluice_endpoint_state{endpoint=\"%s\",state=\"%s\"} %d\n", name, *state,
			     strcmp(*state, now->state) == 0);
	line(text, "waiting_calls", name, now->waiting);
	line(text, "in_flight_calls", name, now->in_flight);
	line(text, "limit_calls", name, now->limit);
	for (size_t i = 0; i < SL_LATENCIES; i++) {
		sum += s->latencies[i];
		sl_buf_print(text, "sluice_endpoint_latency_seconds_bucket{endpoint=\"%s\",le=\"%g\"} %" PRId64 "\n",
			     name, (double)bounds_ms[i] / 1e3, sum);
	}
	sum += s->latencies[SL_LATENCIES];
	sl_buf_print(text, "sluice_endpoint_latency_seconds_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRId64 "\n", name,
		     sum);
	sl_buf_print(text, "sluice_endpoint_latency_seconds_sum{endpoint=\"%s\"} %.3f\n", name,
		     (double)s->latency_ms / 1e3);
	line(text, "latency_seconds_count", name, sum);
}

void sl_endpoint_metrics_help(struct sl_buf *text)
{
	static const struct {
		const char *name, *kind, *help;
	} all[] = {
		{ "calls_total", "counter", "Calls handed to an endpoint." },
		{ "settled_total", "counter", "Calls given back, answered or not." },
		{ "attempts_total", "counter", "Requests sent." },
		{ "retries_total", "counter", "Times that a call was put back to be sent again." },
		{ "unknown_total", "counter",
		  "Requests that were sent whole and got no whole answer: they may have been paid." },
		{ "halvings_total", "counter", "Times that the calls in flight were halved after a 429." },
		{ "sent_bytes_total", "counter", "Bytes of the bodies of requests." },
		{ "received_bytes_total", "counter", "Bytes of the bodies of answers." },
		{ "errors_total", "counter", "Requests that were not answered with 2xx, by class." },
		{ "state", "gauge", "1 at the state an endpoint is in." },
		{ "waiting_calls", "gauge", "Calls that wait for their turn." },
		{ "in_flight_calls", "gauge", "Calls under way." },
		{ "limit_calls", "gauge", "Most calls under way at once, at the moment." },
		{ "latency_seconds", "histogram", "Time of requests that were answered with 2xx." },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		sl_buf_print(text, "# HELP sluice_endpoint_%s %s\n# TYPE sluice_endpoint_%s %s\n", all[i].name,
			     all[i].help, all[i].name, all[i].kind);
}
