/* test_transaction.c -- every way a transaction can end. What the broker does with it (atomicity, fencing, generations,
 * limits) is tested on a real one; librdkafka's mock cluster only makes errors to order, to see how each is
 * classified. Brokers that are paused and killed are the test's own: KAFKA_OWN=1, about three minutes. */
#include "with_broker.h"

#include <inttypes.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* Nothing of it is used but its limits. */
#define TOPOLOGY                                                                                                       \
	"topology: t\ningest: { to: raw, ties: ties }\nsteps:\n"                                                       \
	"  - { name: dedupe, from: raw, to: { unique: u, duplicate: d, conflict: c, contaminated: x } }\n"

/* -- helpers ------------------------------------------------------------------------------- */

static struct sl_txn *opened(struct sl_kafka *k, const char *id)
{
	struct sl_error e = { 0 };
	struct sl_txn *t = sl_txn_open(k, id, &e);

	if (!t)
		fail_msg("cannot open '%s': %s", id, e.text);
	return t;
}

static void text(struct sl_txn *t, const char *topic, const char *key, const char *value, int64_t *last)
{
	struct sl_record r = { .time_ms = 1700000000000, .key = sl_text(key), .value = sl_text(value) };

	sl_txn_produce(t, topic, 0, &r, last);
}

static void ends(enum sl_txn_end got, enum sl_txn_end wanted, const struct sl_error *e)
{
	if (got != wanted)
		fail_msg("ended %d, not %d: %s", got, wanted, e->text);
}

static void commits(struct sl_txn *t, rd_kafka_t *consumer, enum sl_txn_end wanted)
{
	struct sl_error e = { 0 };

	ends(sl_txn_commit(t, consumer, &e), wanted, &e);
}

/* One more transaction goes through. */
static void works(struct sl_txn *t, const char *topic)
{
	int64_t last = -1;

	sl_txn_begin(t);
	text(t, topic, "k", "works", &last);
	commits(t, NULL, SL_TXN_DONE);
	assert_true(last >= 0);
}

/* What the committed records of partition 0 say, joined. */
static void assert_seen(const char *topic, const char *wanted)
{
	struct kafka_seen seen;
	struct sl_buf all = { 0 };

	kafka_read(topic, 0, true, &seen);
	for (size_t i = 0; i < seen.count; i++) {
		sl_buf_print(&all, "%s%.*s=", i ? " " : "", (int)seen.records[i].key.size,
			     (const char *)seen.records[i].key.data);
		if (seen.records[i].value.data)
			sl_buf_add_bytes(&all, seen.records[i].value);
		else
			sl_buf_print(&all, "-");
	}
	assert_string_equal(sl_buf_text(&all), wanted);
	sl_buf_release(&all);
	kafka_seen_release(&seen);
}

static const char *new_topic(int32_t partitions)
{
	const char *name = kafka_unique();

	kafka_create(name, partitions, NULL);
	return name;
}

/* Only when polled, so a consumer that is not keeps thinking that it has what it lost. */
static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	(void)opaque;
	rd_kafka_assign(rk, err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? list : NULL);
}

/* A consumer with a group; subscribed where topic is not NULL. */
static rd_kafka_t *grouped(const char *group, const char *topic)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list;
	char why[256];
	rd_kafka_t *rk;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", kafka_bootstrap(), why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", group, why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "session.timeout.ms", "6000", why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "max.poll.interval.ms", "6000", why, sizeof why), 0);
	rd_kafka_conf_set_rebalance_cb(conf, rebalance);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	assert_non_null(rk);
	rd_kafka_poll_set_consumer(rk);
	if (topic) {
		list = rd_kafka_topic_partition_list_new(1);
		rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
		assert_int_equal(rd_kafka_subscribe(rk, list), 0);
		rd_kafka_topic_partition_list_destroy(list);
	}
	return rk;
}

/* What a group has committed of partition 0. */
static int64_t committed(const char *group, const char *topic)
{
	rd_kafka_t *rk = grouped(group, NULL);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t offset;

	rd_kafka_topic_partition_list_add(list, topic, 0);
	assert_int_equal(rd_kafka_committed(rk, list, 30000), 0);
	offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
	return offset < 0 ? -1 : offset;
}

static bool has_assignment(void *arg)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_message_t *m = rd_kafka_consumer_poll(arg, 50);
	int count;

	if (m)
		rd_kafka_message_destroy(m);
	assert_int_equal(rd_kafka_assignment(arg, &list), 0);
	count = list->cnt;
	rd_kafka_topic_partition_list_destroy(list);
	return count > 0;
}

static int64_t high(rd_kafka_t *rk, const char *topic)
{
	int64_t low, end;

	assert_int_equal(rd_kafka_query_watermark_offsets(rk, topic, 0, &low, &end, 30000), 0);
	return end;
}

/* -- on a broker ---------------------------------------------------------------------------- */

static void commit_is_one(void **state)
{
	struct kafka_test kt;
	const char *a, *b, *in, *group = kafka_unique();
	struct sl_buf headers = { 0 };
	int64_t last = -1, other = -1;
	struct kafka_seen seen;
	struct sl_txn *t;
	rd_kafka_t *consumer;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	a = new_topic(2), b = new_topic(1), in = new_topic(1);
	consumer = grouped(group, NULL);
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	text(t, a, "k1", "one", &last);
	text(t, a, "k2", "", &last);
	text(t, b, "k3", "three", &other);
	sl_txn_produce(t, a, 0, &(struct sl_record){ .key = sl_text("k1") }, &last);
	sl_header_add(&headers, "h", sl_text("value"));
	sl_txn_produce(t, a, 1,
		       &(struct sl_record){ .time_ms = 1600000000000,
					    .key = sl_text("k"),
					    .value = sl_text("v"),
					    .headers = sl_buf_bytes(&headers) },
		       NULL);
	sl_txn_offset(t, in, 0, 7);
	sl_txn_offset(t, in, 0, 42);
	assert_seen(a, "");
	assert_int_equal(committed(group, in), -1);
	commits(t, consumer, SL_TXN_DONE);
	assert_int_equal(last, 2);
	assert_int_equal(other, 0);
	assert_seen(a, "k1=one k2= k1=-");
	assert_seen(b, "k3=three");
	assert_int_equal(committed(group, in), 42);
	kafka_read(a, 1, true, &seen);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.records[0].time_ms, 1600000000000);
	assert_true(sl_is(sl_header_find(seen.records[0].headers, "h"), "value"));
	kafka_seen_release(&seen);

	sl_txn_begin(t); /* offsets alone, then nothing at all */
	sl_txn_offset(t, in, 0, 43);
	commits(t, consumer, SL_TXN_DONE);
	assert_int_equal(committed(group, in), 43);
	sl_txn_begin(t);
	commits(t, NULL, SL_TXN_DONE);
	assert_int_equal(kt.k.counters.committed, 3);
	assert_true(kt.k.counters.commit_ns > 0);
	int64_t sum = 0;
	for (size_t i = 0; i < 12; i++)
		sum += kt.k.counters.commit_buckets[i];
	assert_int_equal(sum, 3);

	sl_buf_release(&headers);
	sl_txn_close(t);
	rd_kafka_destroy(consumer);
	kafka_test_close(&kt);
}

/* Also straight behind a commit whose markers are still being written (librdkafka #4849). */
static void abort_is_nothing(void **state)
{
	struct sl_error e = { 0 };
	struct kafka_test kt;
	const char *topic, *group = kafka_unique();
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	topic = new_topic(1);
	t = opened(&kt.k, kafka_unique());
	for (int i = 0; i < 10; i++) {
		sl_txn_begin(t);
		text(t, topic, "kept", "1", NULL);
		commits(t, NULL, SL_TXN_DONE);
		sl_txn_begin(t);
		text(t, topic, "dropped", "1", NULL);
		if (i % 2)
			sl_txn_offset(t, topic, 0, 1);
		ends(sl_txn_abort(t, &e), SL_TXN_ABORTED, &e);
	}
	sl_txn_begin(t);
	ends(sl_txn_abort(t, &e), SL_TXN_ABORTED, &e);
	assert_seen(topic, "kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1");
	assert_int_equal(committed(group, topic), -1);
	assert_int_equal(kt.k.counters.aborted, 11);
	sl_txn_begin(t); /* close aborts what is open */
	text(t, topic, "dropped", "2", NULL);
	sl_txn_close(t);
	t = opened(&kt.k, kafka_unique());
	works(t, topic);
	sl_txn_close(t);
	kafka_test_close(&kt);
}

static void second_opener_fences(void **state)
{
	struct sl_error e = { 0 };
	struct kafka_test kt;
	const char *topic, *id = kafka_unique();
	struct sl_txn *first, *second, *third;
	int64_t last = -1;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	topic = new_topic(1);
	first = opened(&kt.k, id);
	sl_txn_begin(first);
	text(first, topic, "first", "1", &last);
	second = opened(&kt.k, id);
	text(first, topic, "first", "2", &last);
	commits(first, NULL, SL_TXN_FENCED);
	sl_txn_begin(first); /* of no more use, but harmless */
	text(first, topic, "first", "3", &last);
	commits(first, NULL, SL_TXN_FENCED);
	sl_txn_begin(first);
	ends(sl_txn_abort(first, &e), SL_TXN_FENCED, &e);
	assert_int_equal(kt.k.counters.fenced, 1);
	works(second, topic);
	third = opened(&kt.k, id); /* fenced while nothing is open: told by the next commit, or abort */
	sl_txn_begin(second);
	text(second, topic, "second", "1", NULL);
	ends(sl_txn_abort(second, &e), SL_TXN_FENCED, &e);
	works(third, topic);
	assert_seen(topic, "k=works k=works");
	sl_txn_close(first);
	sl_txn_close(second);
	sl_txn_close(third);
	kafka_test_close(&kt);
}

struct joining {
	rd_kafka_t *zombie, *heir;
};

static bool heir_has_it(void *arg)
{
	return has_assignment(((struct joining *)arg)->heir);
}

static bool has_lost_it(void *arg)
{
	return rd_kafka_assignment_lost(arg);
}

/* A member that does not poll loses its partition to another; what it read before is not its to commit. */
static void zombie_is_refused(void **state)
{
	const char *group = kafka_unique(), *in, *out;
	struct joining both;
	struct kafka_test kt;
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	in = new_topic(1), out = new_topic(1);
	both.zombie = grouped(group, in);
	assert_true(kafka_within(60, has_assignment, both.zombie));
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	text(t, out, "k", "1", NULL);
	sl_txn_offset(t, in, 0, 1);
	commits(t, both.zombie, SL_TXN_DONE);

	assert_true(kafka_within(60, has_lost_it, both.zombie)); /* it has not been told yet */
	sl_txn_begin(t);
	text(t, out, "k", "2", NULL);
	sl_txn_offset(t, in, 0, 2);
	commits(t, both.zombie, SL_TXN_ABORTED);
	both.heir = grouped(group, in);
	assert_true(kafka_within(60, heir_has_it, &both));
	sl_txn_begin(t);
	text(t, out, "k", "3", NULL);
	sl_txn_offset(t, in, 0, 3);
	commits(t, both.zombie, SL_TXN_ABORTED);
	sl_txn_begin(t);
	text(t, out, "k", "4", NULL);
	sl_txn_offset(t, in, 0, 4);
	commits(t, both.heir, SL_TXN_DONE);
	assert_seen(out, "k=1 k=4");
	assert_int_equal(committed(group, in), 4);
	sl_txn_close(t);
	rd_kafka_destroy(both.heir);
	rd_kafka_destroy(both.zombie);
	kafka_test_close(&kt);
}

static void set_topic(rd_kafka_t *rk, const char *topic, const char *name, const char *value)
{
	rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_event_t *event;

	rd_kafka_ConfigResource_set_config(r, name, value);
	rd_kafka_AlterConfigs(rk, &r, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, 30000);
	assert_non_null(event);
	assert_int_equal(rd_kafka_event_error(event), 0);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_ConfigResource_destroy(r);
}

/* Named with size and cure; cured, it goes on without a restart. */
static void too_large_for_topic(void **state)
{
	const char *topic = kafka_unique();
	struct kafka_test kt;
	struct sl_error e;
	struct sl_txn *t;
	struct sl_record r;
	uint8_t noise[5000]; /* that no compression makes fit */
	uint32_t x = 1;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	kafka_create(topic, 1, (const char *const[]){ "max.message.bytes", "2000", NULL });
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	r = (struct sl_record){ .key = sl_text("k"), .value = { noise, sizeof noise } };
	t = opened(&kt.k, kafka_unique());
	works(t, topic);
	sl_txn_begin(t);
	sl_txn_produce(t, topic, 0, &r, NULL);
	ends(sl_txn_commit(t, NULL, &e), SL_TXN_FAILED, &e);
	assert_int_equal(e.verdict, SL_RETRY);
	assert_non_null(strstr(e.text, topic));
	assert_non_null(strstr(e.text, "5001 bytes"));
	assert_non_null(strstr(e.text, "max.message.bytes="));
	works(t, topic);
	set_topic(kt.k.admin, topic, "max.message.bytes", "100000");
	sl_txn_begin(t);
	sl_txn_produce(t, topic, 0, &r, NULL);
	commits(t, NULL, SL_TXN_DONE);
	sl_txn_close(t);
	kafka_test_close(&kt);
}

/* More than librdkafka's queue holds, and a topic that does not exist. */
static void many_records(void **state)
{
	enum { MANY = 120000 };
	int64_t last = -1, first = -1;
	struct kafka_test kt;
	const char *topic;
	struct sl_error e;
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TOPOLOGY);
	topic = new_topic(1);
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	for (int i = 0; i < MANY; i++)
		text(t, topic, "k", "a value of some length", i == 0 ? &first : &last);
	commits(t, NULL, SL_TXN_DONE);
	assert_int_equal(first, 0);
	assert_int_equal(last, MANY - 1);
	assert_int_equal(high(kt.k.raw_ends, topic), MANY + 1); /* and the marker */

	sl_txn_begin(t);
	text(t, topic, "k", "1", NULL);
	text(t, kafka_unique(), "k", "1", NULL);
	ends(sl_txn_commit(t, NULL, &e), SL_TXN_FAILED, &e);
	works(t, topic);
	sl_txn_close(t);
	kafka_test_close(&kt);
}

/* -- errors to order ------------------------------------------------------------------------ */

struct mock {
	struct sl_topology *topology;
	struct sl_kafka k;
	rd_kafka_t *host, *consumer;
	rd_kafka_mock_cluster_t *cluster;
};

static void mock_open(struct mock *m)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct sl_error e = { 0 };
	char why[256];

	*m = (struct mock){ 0 };
	assert_int_equal(rd_kafka_conf_set(conf, "log_level", "0", why, sizeof why), 0); /* it connects to nobody */
	m->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	assert_non_null(m->host);
	m->cluster = rd_kafka_mock_cluster_new(m->host, 1);
	m->topology = sl_topology_parse("test.yaml", sl_text(TOPOLOGY), NULL, 0, &e);
	assert_non_null(m->topology);
	m->topology->stream = SL_STREAM_KAFKA;
	m->topology->kafka.brokers = rd_kafka_mock_cluster_bootstraps(m->cluster);
	m->topology->kafka.prefix = "";
	if (!sl_kafka_connect(&m->k, m->topology, &e))
		fail_msg("%s", e.text);
	rd_kafka_mock_topic_create(m->cluster, "out", 1, 1);
	conf = rd_kafka_conf_new();
	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", m->topology->kafka.brokers, why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", "group", why, sizeof why), 0);
	m->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	assert_non_null(m->consumer);
}

static void mock_close(struct mock *m)
{
	rd_kafka_destroy(m->consumer);
	sl_kafka_disconnect(&m->k);
	sl_topology_free(m->topology);
	rd_kafka_mock_cluster_destroy(m->cluster);
	rd_kafka_destroy(m->host);
}

enum { PRODUCE = 0, INIT = 22, PARTITIONS = 24, OFFSETS = 25, END = 26, OFFSET_COMMIT = 28 };
#define ERR(name) RD_KAFKA_RESP_ERR_##name

static const struct ordered {
	int16_t api;
	rd_kafka_resp_err_t errors[3];
	enum sl_txn_end end;
	enum sl_verdict verdict; /* with FAILED */
	const char *says;
} ordered[] = {
	{ PRODUCE, { ERR(NOT_ENOUGH_REPLICAS), ERR(NOT_LEADER_FOR_PARTITION) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(KAFKA_STORAGE_ERROR), ERR(NOT_ENOUGH_REPLICAS_AFTER_APPEND) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(MSG_SIZE_TOO_LARGE) }, SL_TXN_FAILED, SL_RETRY, "max.message.bytes" },
	{ PRODUCE, { ERR(TOPIC_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_STOP, "Write" },
	{ PRODUCE, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ PRODUCE, { ERR(OUT_OF_ORDER_SEQUENCE_NUMBER) }, SL_TXN_ABORTED, 0, NULL },
	{ PRODUCE, { ERR(UNKNOWN_PRODUCER_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ PRODUCE, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	/* an acknowledgement without an offset: committed, but somebody asked where */
	{ PRODUCE, { ERR(DUPLICATE_SEQUENCE_NUMBER) }, SL_TXN_UNKNOWN, 0, NULL },

	{ PARTITIONS, { ERR(CONCURRENT_TRANSACTIONS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(NOT_COORDINATOR), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(TOPIC_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_STOP, "topic 'out'" },
	{ PARTITIONS, { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_STOP, "transactional" },
	{ PARTITIONS, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ PARTITIONS, { ERR(PRODUCER_FENCED) }, SL_TXN_FENCED, 0, NULL },
	{ PARTITIONS, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	{ PARTITIONS, { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_ABORTED, 0, NULL },

	{ OFFSETS, { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_DONE, 0, NULL },
	{ OFFSETS, { ERR(GROUP_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_STOP, "--group" },
	{ OFFSETS, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ OFFSETS, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSETS, { ERR(UNKNOWN) }, SL_TXN_FAILED, SL_RETRY, NULL },

	{ OFFSET_COMMIT, { ERR(NOT_COORDINATOR), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ OFFSET_COMMIT, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ OFFSET_COMMIT, { ERR(ILLEGAL_GENERATION) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(UNKNOWN_MEMBER_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(FENCED_INSTANCE_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(REBALANCE_IN_PROGRESS) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(GROUP_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_STOP, "--group" },
	{ OFFSET_COMMIT, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },

	{ END, { ERR(CONCURRENT_TRANSACTIONS), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(NOT_COORDINATOR) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ END, { ERR(PRODUCER_FENCED) }, SL_TXN_FENCED, 0, NULL },
	{ END, { ERR(INVALID_TXN_STATE) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(UNKNOWN) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_TXN_UNKNOWN, 0, NULL },
};

static void push(struct mock *m, int16_t api, const rd_kafka_resp_err_t errors[3])
{
	size_t count = 0;

	while (count < 3 && errors[count])
		count++;
	rd_kafka_mock_push_request_errors_array(m->cluster, api, count, errors);
}

static void errors_have_classes(void **state)
{
	struct mock m;

	(void)state;
	mock_open(&m);
	for (size_t i = 0; i < sizeof ordered / sizeof *ordered; i++) {
		const struct ordered *row = &ordered[i];
		const char *name = rd_kafka_err2name(row->errors[0]);
		struct sl_txn *t = opened(&m.k, kafka_unique());
		struct sl_error e = { 0 };
		int64_t last = -1;
		enum sl_txn_end end;

		push(&m, row->api, row->errors);
		sl_txn_begin(t);
		text(t, "out", "k", "v", &last);
		sl_txn_offset(t, "in", 0, 1);
		end = sl_txn_commit(t, m.consumer, &e);
		if (end != row->end || (end == SL_TXN_FAILED && e.verdict != row->verdict) ||
		    (row->says && !strstr(e.text, row->says)))
			fail_msg("%s of request %d: ended %d, verdict %d: %s", name, row->api, end, e.verdict, e.text);
		if (end == SL_TXN_FENCED) {
			sl_txn_close(t);
			continue;
		}
		sl_txn_begin(t);
		text(t, "out", "k", "v", NULL);
		end = sl_txn_commit(t, NULL, &e);
		if (row->errors[0] == ERR(DUPLICATE_SEQUENCE_NUMBER) && end == SL_TXN_ABORTED) {
			works(t, "out"); /* the mock cluster had not taken the first one, after all */
			end = SL_TXN_DONE;
		}
		if (end != SL_TXN_DONE)
			fail_msg("behind %s of request %d: ended %d: %s", name, row->api, end, e.text);
		sl_txn_close(t);
	}
	mock_close(&m);
}

static void errors_of_abort(void **state)
{
	static const struct {
		rd_kafka_resp_err_t errors[3];
		enum sl_txn_end end;
	} rows[] = {
		{ { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_ABORTED },
		{ { ERR(NOT_COORDINATOR) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_ABORTED },
		{ { ERR(UNKNOWN) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED },
	};
	struct mock m;

	(void)state;
	mock_open(&m);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_txn *t = opened(&m.k, kafka_unique());
		struct sl_error e = { 0 };

		push(&m, END, rows[i].errors);
		sl_txn_begin(t);
		text(t, "out", "k", "v", NULL);
		ends(sl_txn_abort(t, &e), rows[i].end, &e);
		if (rows[i].end != SL_TXN_FENCED)
			works(t, "out");
		sl_txn_close(t);
	}
	mock_close(&m);
}

static void errors_of_open(void **state)
{
	static const struct {
		rd_kafka_resp_err_t errors[3];
		enum sl_verdict verdict; /* SL_OK: it opens */
		const char *says;
	} rows[] = {
		{ { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(NOT_COORDINATOR), ERR(CONCURRENT_TRANSACTIONS) },
		  SL_OK,
		  NULL },
		{ { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_STOP, "Write and Describe" },
		{ { ERR(CLUSTER_AUTHORIZATION_FAILED) }, SL_STOP, "IdempotentWrite" },
		{ { ERR(INVALID_TRANSACTION_TIMEOUT) }, SL_STOP, "transaction.max.timeout.ms" },
	};
	struct mock m;

	(void)state;
	mock_open(&m);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		struct sl_txn *t;

		push(&m, INIT, rows[i].errors);
		t = sl_txn_open(&m.k, kafka_unique(), &e);
		if (rows[i].verdict == SL_OK) {
			if (!t)
				fail_msg("%s", e.text);
			works(t, "out");
			sl_txn_close(t);
			continue;
		}
		assert_null(t);
		assert_int_equal(e.verdict, rows[i].verdict);
		if (!strstr(e.text, rows[i].says))
			fail_msg("'%s' does not say '%s'", e.text, rows[i].says);
	}
	mock_close(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit_is_one),        cmocka_unit_test(abort_is_nothing),
		cmocka_unit_test(second_opener_fences), cmocka_unit_test(zombie_is_refused),
		cmocka_unit_test(too_large_for_topic),  cmocka_unit_test(many_records),
		cmocka_unit_test(errors_have_classes),  cmocka_unit_test(errors_of_abort),
		cmocka_unit_test(errors_of_open),
	};

	return cmocka_run_group_tests_name("transaction", tests, NULL, NULL);
}
