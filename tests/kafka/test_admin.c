/* test_admin.c -- topics made and compared, ends, stable offsets, purging. On a real broker: what a partition's end
 * is while a transaction is open, and what a group's offset is then, is the brokers' to say. */
#include "with_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void good(bool ok, const struct sl_error *e)
{
	if (!ok)
		fail_msg("%s", e->text);
}

static size_t count_of(const char *text, const char *word)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		n++;
	return n;
}

/* -- topics --------------------------------------------------------------------------------------- */

/* pairs.raw, unique, embedded, retrieved, gold, other, ties, 4 dead ones; 3 changelogs; meta. */
#define TOPICS 15

static void made_once(void **state)
{
	struct kafka_test t;
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	char line[SL_ID_MAX + 100];

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	good(sl_kafka_topics_plan(&t.k, &text, &e), &e);
	assert_int_equal(count_of(sl_buf_text(&text), ": would be created with partitions="), TOPICS);
	assert_int_equal(count_of(sl_buf_text(&text), "\n"), TOPICS);
	assert_int_equal(count_of(sl_buf_text(&text), " cleanup.policy=compact "), 3 + 1 + 1);
	snprintf(line, sizeof line, "%spairs.gold: would be created with partitions=2 cleanup.policy=compact",
		 t.topology->kafka.prefix);
	assert_non_null(strstr(sl_buf_text(&text), line));
	snprintf(line, sizeof line, "%s.dedupe.changelog: would be created with partitions=1 ", t.k.app);
	assert_non_null(strstr(sl_buf_text(&text), line));

	good(sl_kafka_topics(&t.k, &e), &e);
	good(sl_kafka_topics(&t.k, &e), &e); /* nothing to do */
	sl_buf_clear(&text);
	good(sl_kafka_topics_plan(&t.k, &text, &e), &e);
	assert_int_equal(count_of(sl_buf_text(&text), ": exists, partitions="), TOPICS);
	sl_buf_clear(&text);
	good(sl_stream_plan(t.topology, &text, &e), &e);
	assert_int_equal(count_of(sl_buf_text(&text), ": exists, partitions="), TOPICS);
	sl_buf_release(&text);
	kafka_test_close(&t);
}

struct maker {
	struct kafka_test t;
	struct sl_error e;
	bool ok;
};

static void *make(void *arg)
{
	struct maker *m = arg;

	m->ok = sl_kafka_topics(&m->t.k, &m->e);
	return NULL;
}

/* Three processes begin at once. */
static void made_by_several(void **state)
{
	struct maker makers[3] = { 0 };
	pthread_t threads[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		kafka_test_open(&makers[i].t, KAFKA_SMALL);
		sl_kafka_disconnect(&makers[i].t.k);
		makers[i].t.topology->kafka.prefix = makers[0].t.topology->kafka.prefix;
		good(sl_kafka_connect(&makers[i].t.k, makers[i].t.topology, &makers[i].e), &makers[i].e);
	}
	for (int i = 0; i < 3; i++)
		sl_thread_start(&threads[i], "maker", make, &makers[i]);
	for (int i = 0; i < 3; i++)
		sl_thread_join(threads[i]);
	for (int i = 0; i < 3; i++)
		good(makers[i].ok, &makers[i].e);
	for (int i = 2; i >= 0; i--)
		kafka_test_close(&makers[i].t);
}

static void others_settings(void **state)
{
	static const struct {
		const char *topic;
		int32_t partitions;
		const char *settings[5];
		bool record;
		const char *texts[3]; /* NULL: it is fine */
	} rows[] = {
		{ "pairs.unique",
		  2,
		  { "retention.ms", "1000", NULL },
		  false,
		  { "retention.ms is 1000, must be -1; repair: kafka-configs.sh --bootstrap-server ",
		    " --alter --entity-type topics --entity-name ", "pairs.unique --add-config retention.ms=-1" } },
		{ "pairs.gold",
		  2,
		  { NULL },
		  false,
		  { "cleanup.policy is delete, must be compact; repair: kafka-configs.sh ",
		    "--add-config cleanup.policy=compact" } },
		{ "pairs.raw",
		  1,
		  { "retention.ms", "-1", "max.message.bytes", "5000", NULL },
		  false,
		  { "max.message.bytes is 5000, must be at least 1048588", "--add-config max.message.bytes=1048588" } },
		{ "pairs.raw",
		  1,
		  { "retention.ms", "-1", "message.timestamp.type", "LogAppendTime", NULL },
		  false,
		  { "message.timestamp.type is LogAppendTime, must be CreateTime" } },
		{ "pairs.unique",
		  1,
		  { "retention.ms", "-1", NULL },
		  false,
		  { "the number of partitions is 1, must be 2; repair: kafka-topics.sh", " --alter --topic ",
		    "pairs.unique --partitions 2" } },
		{ "pairs.unique",
		  3,
		  { "retention.ms", "-1", NULL },
		  false,
		  { "the number of partitions is 3, must be 2; repair: kafka-topics.sh", " --delete --topic ",
		    "pairs.unique (it is empty)" } },
		{ "pairs.unique",
		  3,
		  { "retention.ms", "-1", NULL },
		  true,
		  { "the number of partitions is 3, must be 2; repair: use partitions: 3 in the topology" } },
		{ "pairs.unique", 2, { "retention.ms", "-1", "segment.bytes", "2000000", NULL }, true, { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_buf text = { 0 };
		struct sl_error e = { 0 };
		struct kafka_test t;
		char name[SL_ID_MAX];
		bool ok;

		kafka_test_open(&t, KAFKA_SMALL);
		snprintf(name, sizeof name, "%s%s", t.topology->kafka.prefix, rows[i].topic);
		kafka_create(name, rows[i].partitions, rows[i].settings);
		if (rows[i].record) {
			rd_kafka_t *producer = kafka_producer(NULL);

			kafka_produce_text(producer, name, 0, "k", "v");
			rd_kafka_destroy(producer);
		}
		good(sl_kafka_topics_plan(&t.k, &text, &e), &e);
		assert_int_equal(count_of(sl_buf_text(&text), ": differs: "), rows[i].texts[0] != NULL);
		ok = sl_kafka_topics(&t.k, &e);
		if (ok != !rows[i].texts[0] || (!ok && e.verdict != SL_STOP))
			fail_msg("row %zu: %s", i, e.text);
		for (int j = 0; j < 3 && rows[i].texts[j]; j++)
			if (!strstr(e.text, rows[i].texts[j]) || !strstr(sl_buf_text(&text), rows[i].texts[j]))
				fail_msg("row %zu: '%s' is not in '%s'", i, rows[i].texts[j], e.text);
		sl_buf_release(&text);
		kafka_test_close(&t);
	}
}

static void too_many_replicas(void **state)
{
	struct sl_error e = { 0 };
	struct kafka_test t;

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	t.topology->kafka.replication = 99;
	assert_false(sl_kafka_topics(&t.k, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "lower stream.replication"));
	kafka_test_close(&t);
}

/* A user who may do nothing: broker.sh start --acl. */
static void without_permission(void **state)
{
	const char *brokers = getenv("KAFKA_SASL_BOOTSTRAP"), *user = getenv("KAFKA_LIMITED_USER");
	const char *password = getenv("KAFKA_LIMITED_PASSWORD"), *ca = getenv("KAFKA_CA");
	struct sl_property properties[] = { { .name = "security.protocol", .value = "SASL_SSL" },
					    { .name = "sasl.mechanism", .value = "PLAIN" },
					    { .name = "sasl.username", .value = user },
					    { .name = "sasl.password", .value = password },
					    { .name = "ssl.ca.location", .value = ca } };
	const char *group = kafka_unique();
	struct sl_error e = { 0 };
	struct kafka_test t;
	int64_t offset;

	(void)state;
	if (!brokers || !user || !password || !ca) {
		fprintf(stderr, "skipped: no KAFKA_LIMITED_USER; tests/kafka/broker.sh start --acl\n");
		skip();
	}
	kafka_test_open(&t, KAFKA_SMALL);
	sl_kafka_disconnect(&t.k);
	t.topology->kafka.brokers = brokers;
	t.topology->kafka.properties = properties;
	t.topology->kafka.property_count = sizeof properties / sizeof *properties;
	good(sl_kafka_connect(&t.k, t.topology, &e), &e);
	good(sl_kafka_reach(&t.k, 60000, &e), &e);
	if (sl_kafka_topics(&t.k, &e)) {
		fprintf(stderr, "skipped: these brokers permit everything; tests/kafka/broker.sh start --acl\n");
		kafka_test_close(&t);
		skip();
	}
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "cannot make topic '"));
	assert_non_null(strstr(e.text, "grant its user"));
	assert_false(sl_kafka_offsets(&t.k, group, "pairs.raw", 1, &offset, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "grant its user Read on the group"));
	kafka_test_close(&t);
}

static void retention_of_deletions(void **state)
{
	struct sl_error e = { 0 };
	char name[SL_ID_MAX];
	struct kafka_test t;
	int64_t ms;

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	good(sl_kafka_topics(&t.k, &e), &e);
	sl_kafka_name(&t.k, name, "dedupe.changelog");
	good(sl_kafka_delete_retention(&t.k, name, &ms, &e), &e);
	assert_int_equal(ms, 86400000);
	assert_false(sl_kafka_delete_retention(&t.k, "no.such.topic", &ms, &e));
	assert_non_null(strstr(e.text, "cannot read the settings of topic 'no.such.topic'"));
	kafka_test_close(&t);
}

/* -- ends --------------------------------------------------------------------------------------------- */

struct ends {
	struct sl_kafka *k;
	const char *topic;
	bool committed;
	int64_t want_start, want_end, start, end;
};

static bool ends_there(void *arg)
{
	struct ends *at = arg;
	struct sl_error e = { 0 };

	good(sl_kafka_ends(at->k, at->topic, 0, at->committed, &at->start, &at->end, &e), &e);
	return at->start == at->want_start && at->end == at->want_end;
}

/* A commit returns before the marker of the transaction is in every partition: so within a while. */
static void must_end(struct sl_kafka *k, const char *topic, bool committed, int64_t start, int64_t end)
{
	struct ends at = { k, topic, committed, start, end, -7, -7 };

	if (!kafka_within(30, ends_there, &at))
		fail_msg("from %d to %d, not from %d to %d", (int)at.start, (int)at.end, (int)start, (int)end);
}

static void two_ends(void **state)
{
	const char *topic = kafka_unique(), *id = kafka_unique();
	struct sl_error e = { 0 };
	struct kafka_test t;
	int64_t start, end;
	rd_kafka_t *p;

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	kafka_create(topic, 1, NULL);
	must_end(&t.k, topic, true, 0, 0);
	p = kafka_producer(id);
	assert_null(rd_kafka_begin_transaction(p));
	assert_int_equal(kafka_produce_text(p, topic, 0, "a", "1"), 0);
	assert_int_equal(kafka_produce_text(p, topic, 0, "a", "2"), 1);
	must_end(&t.k, topic, true, 0, 0); /* where the open transaction begins */
	must_end(&t.k, topic, false, 0, 2);
	kafka_end(p, true);
	must_end(&t.k, topic, false, 0, 3); /* and its marker */
	must_end(&t.k, topic, true, 0, 3);
	assert_null(rd_kafka_begin_transaction(p));
	assert_int_equal(kafka_produce_text(p, topic, 0, "a", "3"), 3);
	must_end(&t.k, topic, true, 0, 3);
	kafka_end(p, false);
	must_end(&t.k, topic, true, 0, 5);
	rd_kafka_destroy(p);

	assert_false(sl_kafka_ends(&t.k, "no.such.topic", 0, true, &start, &end, &e));
	assert_non_null(strstr(e.text, "cannot look where topic 'no.such.topic' [0] ends"));
	kafka_test_close(&t);
}

static void purged(void **state)
{
	const char *topic = kafka_unique();
	struct sl_error e = { 0 };
	struct kafka_test t;
	struct kafka_seen seen;
	rd_kafka_t *p;

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	kafka_create(topic, 1, NULL);
	p = kafka_producer(NULL);
	for (int i = 0; i < 10; i++)
		kafka_produce_text(p, topic, 0, "k", "v");
	rd_kafka_destroy(p);
	good(sl_kafka_purge(&t.k, topic, 0, 4, &e), &e);
	must_end(&t.k, topic, true, 4, 10);
	good(sl_kafka_purge(&t.k, topic, 0, 2, &e), &e); /* gone already */
	must_end(&t.k, topic, true, 4, 10);
	kafka_read(topic, 0, true, &seen);
	assert_int_equal(seen.count, 6);
	assert_int_equal(seen.records[0].offset, 4);
	kafka_seen_release(&seen);
	assert_false(sl_kafka_purge(&t.k, topic, 0, 11, &e)); /* behind the end */
	assert_int_equal(e.verdict, SL_STOP);
	kafka_test_close(&t);
}

/* -- offsets ------------------------------------------------------------------------------------------- */

/* Sends the offset of partition 0 inside the open transaction of p, as a member of the group would. */
static void send_offset(rd_kafka_t *p, const char *group, const char *topic, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata_new(group);
	rd_kafka_error_t *error;

	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
	error = rd_kafka_send_offsets_to_transaction(p, list, metadata, 60000);
	if (error)
		fail_msg("%s", rd_kafka_error_string(error));
	rd_kafka_consumer_group_metadata_destroy(metadata);
	rd_kafka_topic_partition_list_destroy(list);
}

struct asker {
	struct sl_kafka *k;
	const char *group, *topic;
	int64_t offsets[2];
	struct sl_error e;
	bool ok;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	a->ok = sl_kafka_offsets(a->k, a->group, a->topic, 2, a->offsets, &a->e);
	return NULL;
}

static void must_have(struct asker *a, int64_t first, int64_t second)
{
	ask(a);
	good(a->ok, &a->e);
	assert_int_equal(a->offsets[0], first);
	assert_int_equal(a->offsets[1], second);
}

static void stable_offsets(void **state)
{
	const char *topic = kafka_unique(), *group = kafka_unique(), *id = kafka_unique();
	struct sl_runtime stopping = { .stop = 1 };
	struct kafka_test t;
	struct asker a;
	pthread_t thread;
	rd_kafka_t *p;

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	a = (struct asker){ .k = &t.k, .group = group, .topic = topic };
	kafka_create(topic, 2, NULL);
	must_have(&a, -1, -1); /* no such group */
	p = kafka_producer(id);
	assert_null(rd_kafka_begin_transaction(p));
	send_offset(p, group, topic, 7);
	kafka_end(p, true);
	must_have(&a, 7, -1);

	/* Whatever comes first, the question or the commit: never 7 again, because 9 has been sent. */
	assert_null(rd_kafka_begin_transaction(p));
	send_offset(p, group, topic, 9);
	t.k.rt = &stopping;
	assert_false(sl_kafka_offsets(&t.k, group, topic, 2, a.offsets, &a.e));
	assert_int_equal(a.e.verdict, SL_RETRY);
	t.k.rt = NULL;
	sl_thread_start(&thread, "asker", ask, &a);
	kafka_end(p, true);
	sl_thread_join(thread);
	good(a.ok, &a.e);
	assert_int_equal(a.offsets[0], 9);

	/* Its owner is gone; a new one of the same id aborts what was left open. */
	assert_null(rd_kafka_begin_transaction(p));
	send_offset(p, group, topic, 11);
	sl_thread_start(&thread, "asker", ask, &a);
	rd_kafka_destroy(kafka_producer(id));
	sl_thread_join(thread);
	good(a.ok, &a.e);
	assert_int_equal(a.offsets[0], 9);
	rd_kafka_destroy(p);
	kafka_test_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_once),
		cmocka_unit_test(made_by_several),
		cmocka_unit_test(others_settings),
		cmocka_unit_test(too_many_replicas),
		cmocka_unit_test(retention_of_deletions),
		cmocka_unit_test(without_permission),
		cmocka_unit_test(two_ends),
		cmocka_unit_test(purged),
		cmocka_unit_test(stable_offsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
