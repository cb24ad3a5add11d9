/* topics.c -- the topics that a topology needs: wanted, looked at, compared, made.
 *
 * What is wanted follows from the topology alone: its own topics, and of the runtime a changelog for each step with
 * tasks, a memo for each of those that ask, and meta. What is there is seen in two requests (metadata of all topics,
 * settings of the wanted ones). A missing topic is made; one with other settings is never changed by us, because it may
 * have been made so on purpose or may be somebody else's: the error says what differs and the command that repairs it.
 *
 * Why these settings:
 *     partitions               exactly: a key's partition is its hash modulo their number, on every side
 *     cleanup.policy           a table, a changelog: only the last value of a key counts
 *     retention.*=-1           a record goes when all have read it, by the leader's order (DeleteRecords), never by age
 *     max.message.bytes        the largest record, or a whole batch of the producer (1,000,000 bytes)
 *     message.timestamp.type   the time of a record is that of its pair's arrival, carried on by every step
 *     min.insync.replicas=2    with three replicas: a commit survives any one broker
 *     delete.retention.ms      how long a warm copy of state may have been away and still learn what was deleted
 *     segment.bytes            the topology's; of meta small, because the segment that is written to is not compacted
 * Only what would lose or double something is compared; segment sizes and the like may be tuned.
 *
 * Several processes may do this at once: "exists already" is no error, and everything is looked at again until it is
 * all there. Threads: any, nothing is kept. */
#include "admin.h"

#include "../base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define METADATA_MS 5000
#define DESCRIBE_MAX 100 /* topics in one request */
#define SETTINGS_MAX 8
#define PAUSE_MS 200
#define PATIENCE_NS INT64_C(60000000000) /* without a runtime that can be stopped */
#define PLAN_PATIENCE_MS 10000
#define WAITING_NS INT64_C(5000000000)
#define MESSAGE_BYTES 1048588 /* the brokers' default */
#define META_SEGMENT_BYTES ((int64_t)4 << 20)
#define SEGMENT_BYTES_MIN ((int64_t)1 << 20) /* of Kafka 4 */
#define HIDDEN_ROUNDS 25

/* How what is there is compared with what is wanted. */
enum compare { AT_CREATION, EXACTLY, AT_LEAST };

struct setting {
	const char *name;
	char value[24];
	enum compare compare;
};

struct wanted {
	char name[SL_ID_MAX];
	int32_t partitions;
	bool compacted, meta;
	int64_t segment_bytes;
	/* found */
	bool exists, led; /* led: every partition has a leader */
	int32_t has_partitions, has_replicas;
	struct sl_buf differs; /* "retention.ms is 604800000, must be -1"; empty: nothing */
	struct sl_buf repair;  /* "retention.ms=-1,..." for kafka-configs.sh */
	int hidden;            /* how often it was said to exist without being seen */
};

struct topics {
	struct sl_kafka *k;
	struct wanted *at;
	size_t count;
};

/* -- wanted -------------------------------------------------------------------------------------- */

static struct wanted *want(struct topics *t, int32_t partitions, bool compacted, int64_t segment_bytes)
{
	struct wanted *w = &t->at[t->count++];

	w->partitions = partitions;
	w->compacted = compacted;
	w->segment_bytes = segment_bytes;
	return w;
}

static void topics_of(struct topics *t, struct sl_kafka *k)
{
	const struct sl_topology *topology = k->topology;
	struct wanted *w;

	*t = (struct topics){ .k = k };
	t->at = sl_calloc(topology->topic_count + 2 * topology->step_count + 1, sizeof *t->at);
	for (size_t i = 0; i < topology->topic_count; i++) {
		const struct sl_topic *topic = &topology->topics[i];

		if (topic->inlined)
			continue;
		w = want(t, topic->partitions, topic->compacted, topic->segment_bytes);
		snprintf(w->name, sizeof w->name, "%s", k->names[i]);
	}
	for (size_t i = 0; i < topology->step_count; i++) {
		const struct sl_step *s = &topology->steps[i];
		const struct sl_topic *from = &topology->topics[s->from];

		if (s->host != (int)i)
			continue;
		w = want(t, from->partitions, true, from->segment_bytes);
		sl_kafka_name(k, w->name, "%s.changelog", s->name);
		if (!sl_restore_has_memo(s))
			continue;
		w = want(t, from->partitions, true, from->segment_bytes);
		sl_kafka_name(k, w->name, "%s.memo", s->name);
	}
	w = want(t, 1, true, META_SEGMENT_BYTES);
	w->meta = true;
	sl_kafka_name(k, w->name, "meta");
}

static void forget_found(struct wanted *w)
{
	w->exists = w->led = false;
	sl_buf_clear(&w->differs);
	sl_buf_clear(&w->repair);
}

static void topics_release(struct topics *t)
{
	for (size_t i = 0; i < t->count; i++) {
		sl_buf_release(&t->at[i].differs);
		sl_buf_release(&t->at[i].repair);
	}
	free(t->at);
}

static void setting(struct setting *to, size_t *n, const char *name, enum compare compare, int64_t value)
{
	to[*n].name = name;
	to[*n].compare = compare;
	snprintf(to[*n].value, sizeof to->value, "%" PRId64, value);
	*n += 1;
}

static void setting_text(struct setting *to, size_t *n, const char *name, const char *value)
{
	to[*n].name = name;
	to[*n].compare = EXACTLY;
	snprintf(to[*n].value, sizeof to->value, "%s", value);
	*n += 1;
}

int64_t sl_kafka_message_bytes(const struct sl_kafka *k)
{
	int64_t bytes = k->topology->record_max_bytes + SL_KAFKA_ENVELOPE_BYTES;

	return bytes < MESSAGE_BYTES ? MESSAGE_BYTES : bytes;
}

static size_t settings_of(const struct sl_kafka *k, const struct wanted *w, struct setting to[SETTINGS_MAX])
{
	int64_t message = sl_kafka_message_bytes(k), segment = w->segment_bytes;
	size_t n = 0;

	if (segment < message)
		segment = message; /* a segment holds at least one batch */
	if (segment < SEGMENT_BYTES_MIN)
		segment = SEGMENT_BYTES_MIN;
	setting_text(to, &n, "cleanup.policy", w->compacted ? "compact" : "delete");
	setting_text(to, &n, "message.timestamp.type", "CreateTime");
	setting(to, &n, "max.message.bytes", AT_LEAST, message);
	setting(to, &n, "segment.bytes", AT_CREATION, segment);
	if (k->topology->kafka.replication >= 3)
		setting(to, &n, "min.insync.replicas", AT_LEAST, 2);
	if (w->compacted) {
		setting(to, &n, "delete.retention.ms", AT_CREATION, 86400000);
	} else {
		setting(to, &n, "retention.ms", EXACTLY, -1);
		setting(to, &n, "retention.bytes", EXACTLY, -1);
	}
	if (w->meta)
		setting_text(to, &n, "min.cleanable.dirty.ratio", "0.1"), to[n - 1].compare = AT_CREATION;
	return n;
}

/* -- found --------------------------------------------------------------------------------------- */

static void look_at(struct wanted *w, const struct rd_kafka_metadata_topic *m)
{
	w->exists = true;
	w->led = m->partition_cnt > 0;
	w->has_partitions = m->partition_cnt;
	w->has_replicas = INT32_MAX;
	for (int p = 0; p < m->partition_cnt; p++) {
		w->led &= m->partitions[p].leader >= 0;
		if (m->partitions[p].replica_cnt < w->has_replicas)
			w->has_replicas = m->partitions[p].replica_cnt;
	}
}

static bool look(struct topics *t, struct sl_error *e)
{
	const struct rd_kafka_metadata *m;
	rd_kafka_resp_err_t code = rd_kafka_metadata(t->k->admin, 1, NULL, &m, METADATA_MS);

	rd_kafka_poll(t->k->admin, 0);
	if (code)
		return sl_kafka_failed(t->k, e, code, NULL, "see which topics there are");
	sl_kafka_answered(t->k);
	for (size_t i = 0; i < t->count; i++)
		forget_found(&t->at[i]);
	for (size_t i = 0; i < t->count; i++)
		for (int j = 0; j < m->topic_cnt; j++)
			if (m->topics[j].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
			    strcmp(m->topics[j].topic, t->at[i].name) == 0)
				look_at(&t->at[i], &m->topics[j]);
	rd_kafka_metadata_destroy(m);
	return true;
}

static void difference(struct wanted *w, const char *what, const char *is, const char *must)
{
	sl_buf_print(&w->differs, "%s%s is %s, must be %s", w->differs.size ? "; " : "", what, is, must);
}

static bool compare_settings(struct topics *t, const rd_kafka_ConfigResource_t *of, struct sl_error *e)
{
	const char *name = rd_kafka_ConfigResource_name(of);
	struct setting settings[SETTINGS_MAX];
	struct wanted *w = NULL;
	size_t n;

	if (rd_kafka_ConfigResource_error(of))
		return sl_kafka_failed(t->k, e, rd_kafka_ConfigResource_error(of),
				       rd_kafka_ConfigResource_error_string(of), "read the settings of topic '%s'",
				       name);
	for (size_t i = 0; i < t->count && !w; i++)
		if (strcmp(t->at[i].name, name) == 0)
			w = &t->at[i];
	if (!w)
		return true;
	n = settings_of(t->k, w, settings);
	for (size_t i = 0; i < n; i++) {
		const char *is = sl_config_value(of, settings[i].name), *must = settings[i].value;
		char at_least[40];

		if (!is || settings[i].compare == AT_CREATION || strcmp(is, must) == 0 ||
		    (settings[i].compare == AT_LEAST && strtoll(is, NULL, 10) >= strtoll(must, NULL, 10)))
			continue;
		snprintf(at_least, sizeof at_least, "%s%s", settings[i].compare == AT_LEAST ? "at least " : "", must);
		difference(w, settings[i].name, is, at_least);
		sl_buf_print(&w->repair, "%s%s=%s", w->repair.size ? "," : "", settings[i].name, must);
	}
	return true;
}

/* The settings of those that exist, from `begin` on and at most DESCRIBE_MAX; *next: where to go on. */
static bool describe(struct topics *t, size_t begin, size_t *next, struct sl_error *e)
{
	rd_kafka_ConfigResource_t *requests[DESCRIBE_MAX];
	const rd_kafka_ConfigResource_t **results;
	struct sl_ask a;
	size_t n = 0, answered;
	bool ok = true;

	for (*next = begin; *next < t->count && n < DESCRIBE_MAX; ++*next)
		if (t->at[*next].exists)
			requests[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, t->at[*next].name);
	if (n == 0)
		return true;
	sl_ask_begin(&a, t->k, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_DescribeConfigs(t->k->admin, requests, n, a.options, a.queue);
	if (sl_ask_answer(&a, e, "read the settings of topics")) {
		results = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(a.event),
								    &answered);
		for (size_t i = 0; i < answered && ok; i++)
			ok = compare_settings(t, results[i], e);
	} else {
		ok = false;
	}
	sl_ask_end(&a);
	rd_kafka_ConfigResource_destroy_array(requests, n);
	return ok;
}

static void compare_shape(struct topics *t, struct wanted *w)
{
	int64_t replicas = t->k->topology->kafka.replication;
	char is[24], must[40];

	if (!w->exists)
		return;
	snprintf(is, sizeof is, "%d", (int)w->has_partitions);
	snprintf(must, sizeof must, "%d", (int)w->partitions);
	if (w->has_partitions != w->partitions)
		difference(w, "the number of partitions", is, must);
	snprintf(is, sizeof is, "%d", (int)w->has_replicas);
	snprintf(must, sizeof must, "at least %d", (int)replicas);
	if (w->has_replicas < replicas)
		difference(w, "the number of replicas", is, must);
}

static bool look_and_compare(struct topics *t, struct sl_error *e)
{
	if (!look(t, e))
		return false;
	for (size_t i = 0; i < t->count; i++)
		compare_shape(t, &t->at[i]);
	for (size_t at = 0; at < t->count;)
		if (!describe(t, at, &at, e))
			return false;
	return true;
}

/* -- what repairs it --------------------------------------------------------------------------------- */

static bool empty(struct topics *t, const struct wanted *w)
{
	int64_t start, end;
	struct sl_error e;

	for (int32_t p = 0; p < w->has_partitions; p++)
		if (!sl_kafka_ends(t->k, w->name, p, false, &start, &end, &e) || end > start)
			return false;
	return true;
}

void sl_kafka_tool(const struct sl_kafka *k, struct sl_buf *to, const char *name)
{
	sl_buf_print(to, "%s --bootstrap-server %s", name, k->topology->kafka.brokers);
	for (size_t i = 0; i < k->topology->kafka.property_count; i++)
		if (strcmp(k->topology->kafka.properties[i].name, "security.protocol") == 0)
			sl_buf_print(to, " --command-config CLIENT.properties");
}

/* The commands, or, where records would end up in other partitions than their keys say, what else there is. */
static void repair(struct topics *t, const struct wanted *w, struct sl_buf *to)
{
	if (w->repair.size) {
		sl_kafka_tool(t->k, to, "kafka-configs.sh");
		sl_buf_print(to, " --alter --entity-type topics --entity-name %s --add-config ", w->name);
		sl_buf_add_bytes(to, sl_buf_bytes(&w->repair));
	}
	if (w->has_partitions != w->partitions) {
		if (to->size)
			sl_buf_print(to, " and ");
		if (!empty(t, w)) {
			sl_buf_print(
				to,
				"use partitions: %d in the topology or another stream.prefix, because the topic has "
				"records and their keys cannot move",
				(int)w->has_partitions);
		} else {
			sl_kafka_tool(t->k, to, "kafka-topics.sh");
			if (w->has_partitions < w->partitions)
				sl_buf_print(to, " --alter --topic %s --partitions %d", w->name, (int)w->partitions);
			else
				sl_buf_print(to, " --delete --topic %s (it is empty)", w->name);
		}
	}
	if (w->has_replicas < t->k->topology->kafka.replication) {
		if (to->size)
			sl_buf_print(to, " and ");
		sl_buf_print(to, "add replicas with kafka-reassign-partitions.sh, or lower stream.replication");
	}
}

/* True: none differs. */
static bool all_alike(struct topics *t, struct sl_error *e)
{
	const struct wanted *first = NULL;
	struct sl_buf how = { 0 }, differs = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++) {
		if (!t->at[i].differs.size)
			continue;
		if (!first)
			first = &t->at[i];
		n++;
	}
	if (!first)
		return true;
	repair(t, first, &how);
	sl_buf_add_bytes(&differs, sl_buf_bytes(&first->differs));
	sl_error_set(e, SL_STOP, "topic '%s' differs: %s; repair: %s", first->name, sl_buf_text(&differs),
		     sl_buf_text(&how));
	if (n > 1)
		sl_error_in(e, "%zu topics on the brokers are not as the topology needs them (sluice plan shows all)",
			    n);
	sl_buf_release(&how);
	sl_buf_release(&differs);
	return false;
}

/* -- making ----------------------------------------------------------------------------------------- */

static rd_kafka_NewTopic_t *new_topic(struct topics *t, const struct wanted *w, struct sl_error *e)
{
	int replication = t->k->topology->kafka.replication ? (int)t->k->topology->kafka.replication : -1;
	struct setting settings[SETTINGS_MAX];
	char text[200];
	rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(w->name, w->partitions, replication, text, sizeof text);
	size_t n = settings_of(t->k, w, settings);

	if (!new) {
		sl_error_set(e, SL_STOP, "cannot make topic '%s': %s", w->name, text);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		rd_kafka_NewTopic_set_config(new, settings[i].name, settings[i].value);
	return new;
}

/* What the brokers say of one topic that was to be made; counts those that were. */
static bool made(struct topics *t, const rd_kafka_topic_result_t *r, size_t *count, struct sl_error *e)
{
	const char *name = rd_kafka_topic_result_name(r);
	rd_kafka_resp_err_t code = rd_kafka_topic_result_error(r);

	*count += !code;
	if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return true;
	return sl_kafka_failed(t->k, e, code, rd_kafka_topic_result_error_string(r), "make topic '%s'", name);
}

/* Another process may have made it; or it is there, and we may not see it. */
static bool hidden(struct wanted *w, struct sl_error *e)
{
	if (++w->hidden <= HIDDEN_ROUNDS)
		return false;
	sl_error_set(e, SL_STOP, "topic '%s' exists and cannot be seen; grant its user Describe on it", w->name);
	return true;
}

/* Ask for all that are missing; *asked: how many. */
static bool make_missing(struct topics *t, size_t *asked, struct sl_error *e)
{
	rd_kafka_NewTopic_t **requests = sl_calloc(t->count, sizeof *requests);
	const rd_kafka_topic_result_t **results;
	size_t answered, count = 0;
	struct sl_ask a;
	bool ok = true;

	*asked = 0;
	for (size_t i = 0; i < t->count && ok; i++) {
		if (t->at[i].exists)
			continue;
		ok = !hidden(&t->at[i], e) && (requests[*asked] = new_topic(t, &t->at[i], e));
		*asked += ok;
	}
	if (ok && *asked) {
		sl_ask_begin(&a, t->k, RD_KAFKA_ADMIN_OP_CREATETOPICS);
		rd_kafka_CreateTopics(t->k->admin, requests, *asked, a.options, a.queue);
		ok = sl_ask_answer(&a, e, "make topics");
		if (ok) {
			results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(a.event),
								      &answered);
			for (size_t i = 0; i < answered && ok; i++)
				ok = made(t, results[i], &count, e);
		}
		sl_ask_end(&a);
	}
	if (count)
		sl_log(SL_LOG_NOTE, NULL, "made %zu topics of '%s'", count, t->k->app);
	rd_kafka_NewTopic_destroy_array(requests, *asked);
	free(requests);
	return ok;
}

/* One round: true with *done when all are there and as they must be. */
static bool settle(struct topics *t, bool *done, struct sl_error *e)
{
	size_t asked;

	*done = false;
	if (!look_and_compare(t, e) || !all_alike(t, e) || !make_missing(t, &asked, e))
		return false;
	*done = asked == 0;
	for (size_t i = 0; i < t->count; i++)
		*done &= t->at[i].led;
	return true;
}

bool sl_kafka_topics(struct sl_kafka *k, struct sl_error *e)
{
	int64_t begun = sl_monotonic_ns(), said = begun;
	struct topics t;
	bool ok, done = false;

	topics_of(&t, k);
	for (;;) {
		ok = settle(&t, &done, e);
		if ((ok && done) || (!ok && e->verdict == SL_STOP))
			break;
		if (ok)
			sl_error_set(e, SL_RETRY, "topics that were just made have no leaders yet");
		ok = false;
		if (sl_kafka_stopping(k) || (!k->rt && sl_monotonic_ns() - begun > PATIENCE_NS))
			break;
		if (sl_monotonic_ns() - said > WAITING_NS) {
			sl_log(SL_LOG_WARN, NULL, "waiting for the topics: %s", e->text);
			said = sl_monotonic_ns();
		}
		rd_kafka_poll(k->admin, PAUSE_MS);
	}
	topics_release(&t);
	return ok;
}

/* -- the plan ---------------------------------------------------------------------------------------- */

static void plan_line(struct topics *t, const struct wanted *w, struct sl_buf *text)
{
	struct setting settings[SETTINGS_MAX];
	size_t n = settings_of(t->k, w, settings);
	struct sl_buf how = { 0 };

	if (!w->exists) {
		sl_buf_print(text, "%s: would be created with partitions=%d", w->name, (int)w->partitions);
		if (t->k->topology->kafka.replication)
			sl_buf_print(text, " replication=%d", (int)t->k->topology->kafka.replication);
		for (size_t i = 0; i < n; i++)
			sl_buf_print(text, " %s=%s", settings[i].name, settings[i].value);
	} else if (!w->differs.size) {
		sl_buf_print(text, "%s: exists, partitions=%d replication=%d %s", w->name, (int)w->has_partitions,
			     (int)w->has_replicas, w->compacted ? "compact" : "delete");
	} else {
		repair(t, w, &how);
		sl_buf_print(text, "%s: differs: ", w->name);
		sl_buf_add_bytes(text, sl_buf_bytes(&w->differs));
		sl_buf_print(text, "; repair: %s", sl_buf_text(&how));
	}
	sl_buf_print(text, "\n");
	sl_buf_release(&how);
}

bool sl_kafka_topics_plan(struct sl_kafka *k, struct sl_buf *text, struct sl_error *e)
{
	struct topics t;
	bool ok;

	topics_of(&t, k);
	ok = look_and_compare(&t, e);
	for (size_t i = 0; i < t.count && ok; i++)
		plan_line(&t, &t.at[i], text);
	topics_release(&t);
	return ok;
}

bool sl_stream_plan(const struct sl_topology *t, struct sl_buf *text, struct sl_error *e)
{
	struct sl_kafka k = { 0 };
	bool ok = sl_kafka_connect(&k, t, e) && sl_kafka_reach(&k, PLAN_PATIENCE_MS, e) &&
		  sl_kafka_topics_plan(&k, text, e);

	sl_kafka_disconnect(&k);
	return ok;
}
