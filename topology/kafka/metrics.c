/* metrics.c -- what the Kafka stream says of itself: Prometheus lines, and JSON for status.
 *
 * Counters are of this process since its start (struct sl_kafka_counters). What librdkafka tells about its handles
 * every few seconds (statistics, a JSON text that is foreign bytes to us) is reduced to the few numbers
 * that explain a slow or stuck pipeline, and the latest of each handle is kept until it is silent for a
 * minute. Lag per step and partition is in the common part (../status.c): kafka_consumergroup_lag.
 *
 * Threads: any; the list of handles is under k->lock. */
#include "kafka.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define JSON_MAX (8u << 20)
#define CLIENTS_MAX 512
#define SILENT_NS INT64_C(60000000000)

/* The last statistics of one handle. Times are as librdkafka has them: microseconds, throttle in milliseconds. */
struct sl_statistics {
	struct sl_statistics *next;
	int64_t at_ns;
	char client[SL_ID_MAX];
	bool producer;
	char idempotence[40], transaction[40], group[40]; /* states; empty: has none */
	int64_t queued, outbuf, rtt_p99_us, latency_p99_us, throttle_max_ms, epoch, rebalances;
};

/* -- librdkafka's statistics -------------------------------------------------------------------- */

/* Letters, digits and -_.# alone: it becomes a label. */
static void plain(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from && *from && n + 1 < size; from++) {
		bool fine = (*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') ||
			    (*from >= '0' && *from <= '9') || *from == '-' || *from == '_' || *from == '.' ||
			    *from == '#';

		to[n++] = fine ? *from : '?';
	}
	to[n] = 0;
}

/* 0 unless it is a number that makes sense. */
static int64_t number(json_t *object, const char *name)
{
	json_t *n = json_object_get(object, name);

	return json_is_integer(n) && json_integer_value(n) > 0 ? json_integer_value(n) : 0;
}

static void raise_to(int64_t *most, int64_t n)
{
	if (n > *most)
		*most = n;
}

static void brokers_of(json_t *brokers, struct sl_statistics *s)
{
	const char *name;
	json_t *b;

	json_object_foreach(brokers, name, b)
	{
		s->outbuf += number(b, "outbuf_cnt");
		raise_to(&s->rtt_p99_us, number(json_object_get(b, "rtt"), "p99"));
		raise_to(&s->latency_p99_us, number(json_object_get(b, "int_latency"), "p99"));
		raise_to(&s->throttle_max_ms, number(json_object_get(b, "throttle"), "max"));
	}
}

/* Into a list of k's: the oldest go when there are too many. */
static void keep(struct sl_kafka *k, const struct sl_statistics *s)
{
	struct sl_statistics **at, *one = NULL;
	size_t count = 0;

	sl_lock(&k->lock);
	for (at = &k->statistics; *at;) {
		struct sl_statistics *old = *at;

		if (!one && strcmp(old->client, s->client) == 0) {
			one = old;
			*at = old->next;
		} else if (s->at_ns - old->at_ns > SILENT_NS || ++count >= CLIENTS_MAX) {
			*at = old->next;
			free(old);
		} else {
			at = &old->next;
		}
	}
	if (!one)
		one = sl_malloc(sizeof *one);
	*one = *s;
	one->next = k->statistics; /* the latest first */
	k->statistics = one;
	sl_unlock(&k->lock);
}

void sl_kafka_statistics(struct sl_kafka *k, const char *client, const char *json, size_t size)
{
	json_t *root = size <= JSON_MAX ? json_loadb(json, size, 0, NULL) : NULL, *eos, *group;
	struct sl_statistics s = { .at_ns = sl_monotonic_ns() };

	if (!root)
		return;
	eos = json_object_get(root, "eos");
	group = json_object_get(root, "cgrp");
	plain(s.client, sizeof s.client, client);
	s.producer = eos != NULL;
	plain(s.idempotence, sizeof s.idempotence, json_string_value(json_object_get(eos, "idemp_state")));
	plain(s.transaction, sizeof s.transaction, json_string_value(json_object_get(eos, "txn_state")));
	plain(s.group, sizeof s.group, json_string_value(json_object_get(group, "state")));
	s.epoch = number(eos, "producer_epoch");
	s.rebalances = number(group, "rebalance_cnt");
	s.queued = number(root, "msg_cnt");
	brokers_of(json_object_get(root, "brokers"), &s);
	json_decref(root);
	keep(k, &s);
}

/* What a handle is for: "<group or transactional id>#<number>", and librdkafka's own name where it has neither. */
int sl_kafka_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque)
{
	static const char *const properties[] = { "transactional.id", "group.id" };
	const char *own = rd_kafka_name(rk), *number = strrchr(own, '-');
	char name[SL_ID_MAX], what[SL_ID_MAX - 20] = "";

	for (size_t i = 0; i < sizeof properties / sizeof *properties && !what[0]; i++) {
		size_t room = sizeof what;

		if (rd_kafka_conf_get(rd_kafka_conf(rk), properties[i], what, &room) != RD_KAFKA_CONF_OK)
			what[0] = 0;
	}
	snprintf(name, sizeof name, "%s#%.10s", what, number ? number + 1 : "");
	sl_kafka_statistics(*(struct sl_kafka **)opaque, what[0] ? name : own, json, size);
	return 0; /* librdkafka frees it */
}

void sl_kafka_statistics_free(struct sl_kafka *k)
{
	while (k->statistics) {
		struct sl_statistics *s = k->statistics;

		k->statistics = s->next;
		free(s);
	}
}

/* A copy of what is not silent. */
static struct sl_statistics *snapshot(struct sl_kafka *k, size_t *count)
{
	struct sl_statistics *all = sl_malloc(CLIENTS_MAX * sizeof *all);
	int64_t now = sl_monotonic_ns();

	*count = 0;
	sl_lock(&k->lock);
	for (struct sl_statistics *s = k->statistics; s && *count < CLIENTS_MAX; s = s->next)
		if (now - s->at_ns <= SILENT_NS)
			all[(*count)++] = *s;
	sl_unlock(&k->lock);
	return all;
}

/* -- Prometheus ---------------------------------------------------------------------------------- */

static void head(struct sl_buf *b, const char *name, const char *type, const char *help)
{
	sl_buf_print(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void whole(struct sl_buf *b, const char *name, const char *type, const char *help, int64_t value)
{
	head(b, name, type, help);
	sl_buf_print(b, "%s %" PRId64 "\n", name, value);
}

static void seconds(struct sl_buf *b, const char *name, const char *help, int64_t ns)
{
	head(b, name, "counter", help);
	sl_buf_print(b, "%s %.6f\n", name, (double)ns / 1e9);
}

static void transaction_metrics(struct sl_buf *b, const struct sl_kafka_counters *c)
{
	static const char *const bounds[] = { "0.005", "0.01", "0.02", "0.05", "0.1", "0.2",
					      "0.5",   "1",    "2",    "5",    "15",  "+Inf" };
	const struct {
		const char *end;
		int64_t n;
	} ends[] = { { "committed", atomic_load(&c->committed) },
		     { "aborted", atomic_load(&c->aborted) },
		     { "unknown", atomic_load(&c->unknown) },
		     { "fenced", atomic_load(&c->fenced) } };
	int64_t sum = 0;

	_Static_assert(sizeof bounds / sizeof *bounds == sizeof c->commit_buckets / sizeof *c->commit_buckets,
		       "a bound for every bucket");
	head(b, "sluice_transactions_total", "counter", "Kafka transactions by how they ended.");
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		sl_buf_print(b, "sluice_transactions_total{end=\"%s\"} %" PRId64 "\n", ends[i].end, ends[i].n);
	head(b, "sluice_commit_latency_seconds", "histogram",
	     "Time from beginning to commit a transaction to its end.");
	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		sum += atomic_load(&c->commit_buckets[i]);
		sl_buf_print(b, "sluice_commit_latency_seconds_bucket{le=\"%s\"} %" PRId64 "\n", bounds[i], sum);
	}
	sl_buf_print(b, "sluice_commit_latency_seconds_sum %.6f\n", (double)atomic_load(&c->commit_ns) / 1e9);
	sl_buf_print(b, "sluice_commit_latency_seconds_count %" PRId64 "\n", sum);
}

static void task_metrics(struct sl_buf *b, struct sl_kafka *k)
{
	const struct sl_kafka_counters *c = &k->counters;
	char trouble[400];

	sl_kafka_trouble(k, trouble);
	whole(b, "sluice_brokers_trouble", "gauge", "1 while the brokers complain or do not answer.", trouble[0] != 0);
	whole(b, "sluice_leader", "gauge", "1 in the process that trains and purges.", atomic_load(&k->leader));
	whole(b, "sluice_rebalances_total", "counter", "Assignments of partitions taken.", atomic_load(&c->rebalances));
	whole(b, "sluice_partitions_lost_total", "counter", "Partitions lost before they could be given up.",
	      atomic_load(&c->lost));
	whole(b, "sluice_restore_tasks", "gauge", "Tasks whose state is being restored.", atomic_load(&c->restoring));
	whole(b, "sluice_restore_left_records", "gauge", "Records still to read for them, an upper bound.",
	      atomic_load(&c->restore_left));
	whole(b, "sluice_restores_total", "counter", "Tasks whose state was restored.", atomic_load(&c->restores));
	whole(b, "sluice_restore_records_total", "counter", "Records read to restore states.",
	      atomic_load(&c->restored_records));
	whole(b, "sluice_restore_bytes_total", "counter", "Bytes read to restore states.",
	      atomic_load(&c->restored_bytes));
	seconds(b, "sluice_restore_seconds_total", "Time spent restoring, over all tasks.",
		atomic_load(&c->restore_ns));
	whole(b, "sluice_restore_discarded_total", "counter", "Local states that were too old to go on from.",
	      atomic_load(&c->discarded));
	whole(b, "sluice_memo_records_total", "counter",
	      "Records of memos made durable: answers, and what is held and spent for them.",
	      atomic_load(&c->memo_records));
	whole(b, "sluice_purged_records_total", "counter", "Records that the leader let go after all had read them.",
	      atomic_load(&c->purged));
}

/* Who has a number. */
enum whose { PRODUCERS, CONSUMERS, BOTH };

/* One number of all handles that have it. */
static void per_client(struct sl_buf *b, const struct sl_statistics *all, size_t count, enum whose whose,
		       const char *name, const char *type, const char *help, size_t field, double unit)
{
	head(b, name, type, help);
	for (size_t i = 0; i < count; i++) {
		int64_t n;

		if (whose != BOTH && all[i].producer != (whose == PRODUCERS))
			continue;
		memcpy(&n, (const char *)&all[i] + field, sizeof n);
		sl_buf_print(b, "%s{client=\"%s\"} %.9g\n", name, all[i].client, (double)n * unit);
	}
}

/* A state as a label, value 1: those that have one. */
static void per_state(struct sl_buf *b, const struct sl_statistics *all, size_t count, const char *name,
		      const char *help, size_t field)
{
	head(b, name, "gauge", help);
	for (size_t i = 0; i < count; i++) {
		const char *state = (const char *)&all[i] + field;

		if (*state)
			sl_buf_print(b, "%s{client=\"%s\",state=\"%s\"} 1\n", name, all[i].client, state);
	}
}

#define FIELD(name) offsetof(struct sl_statistics, name)

static void client_metrics(struct sl_buf *b, struct sl_kafka *k)
{
	size_t n;
	struct sl_statistics *all = snapshot(k, &n);

	per_state(b, all, n, "sluice_kafka_transaction_state", "State of a producer's transaction.",
		  FIELD(transaction));
	per_state(b, all, n, "sluice_kafka_idempotence_state", "State of a producer's id.", FIELD(idempotence));
	per_state(b, all, n, "sluice_kafka_group_state", "State of a consumer in its group.", FIELD(group));
	per_client(b, all, n, PRODUCERS, "sluice_kafka_producer_epoch", "gauge", "Epoch of a producer's id.",
		   FIELD(epoch), 1);
	per_client(b, all, n, CONSUMERS, "sluice_kafka_group_rebalances_total", "counter",
		   "Rebalances that a consumer has seen.", FIELD(rebalances), 1);
	per_client(b, all, n, PRODUCERS, "sluice_kafka_queued_messages", "gauge",
		   "Messages that a producer has not sent yet.", FIELD(queued), 1);
	per_client(b, all, n, BOTH, "sluice_kafka_outbuf_requests", "gauge", "Requests waiting to be sent to brokers.",
		   FIELD(outbuf), 1);
	per_client(b, all, n, BOTH, "sluice_kafka_rtt_p99_seconds", "gauge", "Round trip to the slowest broker.",
		   FIELD(rtt_p99_us), 1e-6);
	per_client(b, all, n, PRODUCERS, "sluice_kafka_queue_latency_p99_seconds", "gauge",
		   "From being produced to being sent, on the way to the slowest broker.", FIELD(latency_p99_us), 1e-6);
	per_client(b, all, n, BOTH, "sluice_kafka_throttle_max_seconds", "gauge", "Longest throttling by a broker.",
		   FIELD(throttle_max_ms), 1e-3);
	free(all);
}

void sl_kafka_metrics(struct sl_runtime *rt, struct sl_buf *text)
{
	transaction_metrics(text, &rt->kafka->counters);
	task_metrics(text, rt->kafka);
	client_metrics(text, rt->kafka);
}

/* -- status ------------------------------------------------------------------------------------------ */

static json_t *members(struct sl_kafka *k)
{
	json_t *all = json_array();

	sl_lock(&k->lock);
	for (size_t i = 0; i < k->member_count; i++) {
		struct sl_member_state s = { 0 };
		json_t *m;

		sl_member_state(k->members[i], &s);
		m = json_pack("{s:s, s:s, s:I}", "step", s.step ? s.step->name : "", "state", s.state ? s.state : "",
			      "tasks", (json_int_t)s.tasks);
		if (s.wait[0])
			json_object_set_new(m, "wait", json_string(s.wait));
		if (s.failed)
			json_object_set_new(m, "error", json_string(s.error.text));
		json_array_append_new(all, m);
	}
	sl_unlock(&k->lock);
	return all;
}

void sl_kafka_describe(struct sl_runtime *rt, struct sl_buf *json)
{
	struct sl_kafka *k = rt->kafka;
	const struct sl_kafka_counters *c = &k->counters;
	char trouble[400], *text;
	json_t *root;

	sl_kafka_trouble(k, trouble);
	root = json_pack("{s:s, s:s, s:s, s:b}", "kind", "kafka", "brokers", rt->topology->kafka.brokers, "application",
			 k->app, "leader", (int)atomic_load(&k->leader));
	if (trouble[0])
		json_object_set_new(root, "trouble", json_string(trouble));
	json_object_set_new(root, "transactions",
			    json_pack("{s:I, s:I, s:I, s:I}", "committed", (json_int_t)atomic_load(&c->committed),
				      "aborted", (json_int_t)atomic_load(&c->aborted), "unknown",
				      (json_int_t)atomic_load(&c->unknown), "fenced",
				      (json_int_t)atomic_load(&c->fenced)));
	json_object_set_new(root, "rebalances", json_integer(atomic_load(&c->rebalances)));
	json_object_set_new(root, "partitions_lost", json_integer(atomic_load(&c->lost)));
	json_object_set_new(root, "restore",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "tasks",
				      (json_int_t)atomic_load(&c->restoring), "left",
				      (json_int_t)atomic_load(&c->restore_left), "restored",
				      (json_int_t)atomic_load(&c->restores), "records",
				      (json_int_t)atomic_load(&c->restored_records), "bytes",
				      (json_int_t)atomic_load(&c->restored_bytes), "seconds",
				      (double)atomic_load(&c->restore_ns) / 1e9, "discarded",
				      (json_int_t)atomic_load(&c->discarded)));
	json_object_set_new(root, "members", members(k));
	text = json_dumps(root, JSON_COMPACT);
	if (text)
		sl_buf_add(json, text, strlen(text));
	free(text);
	json_decref(root);
}
