/* with_broker.c -- see with_broker.h: plain librdkafka clients for tests, every failure the test's. */
#include "with_broker.h"

#include "topology/base/hash.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 60000

const char *kafka_bootstrap(void)
{
	const char *brokers = getenv("KAFKA_BOOTSTRAP");

	if (!brokers || !*brokers) {
		fprintf(stderr, "skipped: no KAFKA_BOOTSTRAP; tests/kafka/broker.sh starts brokers\n");
		skip();
	}
	return brokers;
}

const char *kafka_unique(void)
{
	static struct sl_arena arena; /* of the process */
	static unsigned count;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return sl_arena_print(&arena, "t%x%x%x-%u", (unsigned)getpid(), (unsigned)now.tv_sec, (unsigned)now.tv_nsec,
			      ++count);
}

struct sl_topology *kafka_topology(const char *yaml)
{
	const char *brokers = kafka_bootstrap();
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("test.yaml", sl_text(yaml), NULL, 0, &e);

	if (!t)
		fail_msg("%s", e.text);
	t->stream = SL_STREAM_KAFKA;
	t->kafka.brokers = brokers;
	if (!t->kafka.prefix || !*t->kafka.prefix)
		t->kafka.prefix = sl_arena_print(&t->arena, "%s.", kafka_unique());
	if (!t->kafka.members)
		t->kafka.members = 1;
	return t;
}

void kafka_test_open(struct kafka_test *t, const char *yaml)
{
	struct sl_error e = { 0 };

	*t = (struct kafka_test){ 0 };
	t->topology = kafka_topology(yaml);
	if (!sl_kafka_connect(&t->k, t->topology, &e))
		fail_msg("%s", e.text);
}

void kafka_test_close(struct kafka_test *t)
{
	sl_kafka_disconnect(&t->k);
	sl_topology_free(t->topology);
}

/* -- clients ------------------------------------------------------------------------------- */

/* Delivery reports of kafka_produce. */
static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	if (m->err)
		fail_msg("cannot produce to '%s': %s", rd_kafka_topic_name(m->rkt), rd_kafka_err2str(m->err));
	if (m->_private)
		*(int64_t *)m->_private = m->offset;
}

/* settings: name, value, ..., NULL. */
static rd_kafka_t *client(rd_kafka_type_t type, const char *const *settings)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];
	rd_kafka_t *rk;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", kafka_bootstrap(), text, sizeof text),
			 RD_KAFKA_CONF_OK);
	for (; *settings; settings += 2)
		if (rd_kafka_conf_set(conf, settings[0], settings[1], text, sizeof text) != RD_KAFKA_CONF_OK)
			fail_msg("%s", text);
	if (type == RD_KAFKA_PRODUCER)
		rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rk = rd_kafka_new(type, conf, text, sizeof text);
	if (!rk)
		fail_msg("%s", text);
	return rk;
}

static void done(rd_kafka_error_t *error, const char *what)
{
	if (error)
		fail_msg("%s: %s", what, rd_kafka_error_string(error));
}

rd_kafka_t *kafka_producer(const char *transactional_id)
{
	const char *settings[] = { "linger.ms", "0", "transactional.id", transactional_id, NULL };
	rd_kafka_t *rk;

	if (!transactional_id)
		settings[2] = NULL;
	rk = client(RD_KAFKA_PRODUCER, settings);
	if (transactional_id)
		done(rd_kafka_init_transactions(rk, PATIENCE_MS), "init_transactions");
	return rk;
}

void kafka_end(rd_kafka_t *producer, bool commit)
{
	if (commit)
		done(rd_kafka_commit_transaction(producer, -1), "commit_transaction");
	else
		done(rd_kafka_abort_transaction(producer, -1), "abort_transaction");
}

/* The one topic of an admin result. */
static void created(rd_kafka_event_t *event, const char *topic)
{
	const rd_kafka_topic_result_t **results;
	size_t count;

	if (!event)
		fail_msg("no answer about topic '%s'", topic);
	if (rd_kafka_event_error(event))
		fail_msg("topic '%s': %s", topic, rd_kafka_event_error_string(event));
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
	if (rd_kafka_topic_result_error(results[0]))
		fail_msg("topic '%s': %s", topic, rd_kafka_topic_result_error_string(results[0]));
	rd_kafka_event_destroy(event);
}

struct watched {
	rd_kafka_t *rk;
	const char *topic;
	int32_t partitions;
};

/* Every partition has somebody who answers. */
static bool leads(void *arg)
{
	struct watched *w = arg;
	int64_t low, high;

	for (int32_t p = 0; p < w->partitions; p++)
		if (rd_kafka_query_watermark_offsets(w->rk, w->topic, p, &low, &high, 1000))
			return false;
	return true;
}

void kafka_create(const char *topic, int32_t partitions, const char *const *settings)
{
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, (const char *const[]){ NULL });
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	char text[256];
	rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(topic, partitions, -1, text, sizeof text);
	struct watched w = { .rk = rk, .topic = topic, .partitions = partitions };

	assert_non_null(new);
	for (; settings && *settings; settings += 2)
		assert_int_equal(rd_kafka_NewTopic_set_config(new, settings[0], settings[1]), 0);
	rd_kafka_CreateTopics(rk, &new, 1, NULL, queue);
	created(rd_kafka_queue_poll(queue, PATIENCE_MS), topic);
	assert_true(kafka_within(60, leads, &w));
	rd_kafka_NewTopic_destroy(new);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

/* -- writing -------------------------------------------------------------------------------- */

static rd_kafka_headers_t *headers_of(struct sl_bytes bytes)
{
	const uint8_t *at = bytes.data, *end = at + bytes.size;
	rd_kafka_headers_t *h = rd_kafka_headers_new(4);

	while (at < end) { /* u16 name size, u32 value size, name, value: ours, so whole */
		size_t name = at[0] | (size_t)at[1] << 8, value = sl_get_le32(at + 2);

		assert_true((size_t)(end - at) >= 6 + name + value);
		assert_int_equal(
			rd_kafka_header_add(h, (const char *)at + 6, (ssize_t)name, at + 6 + name, (ssize_t)value), 0);
		at += 6 + name + value;
	}
	return h;
}

int64_t kafka_produce(rd_kafka_t *producer, const char *topic, int32_t partition, const struct sl_record *r)
{
	int64_t offset = -1, until = sl_monotonic_ns() + PATIENCE_MS * INT64_C(1000000);
	rd_kafka_resp_err_t err =
		rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
				  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.data, r->key.size),
				  RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.data, r->value.size),
				  RD_KAFKA_V_HEADERS(headers_of(r->headers)), RD_KAFKA_V_TIMESTAMP(r->time_ms),
				  RD_KAFKA_V_OPAQUE(&offset), RD_KAFKA_V_END);

	if (err)
		fail_msg("cannot produce to '%s': %s", topic, rd_kafka_err2str(err));
	while (offset < 0 && sl_monotonic_ns() < until)
		rd_kafka_poll(producer, 100);
	if (offset < 0) {
		rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		fail_msg("no acknowledgement from '%s' [%" PRId32 "]", topic, partition);
	}
	return offset;
}

int64_t kafka_produce_text(rd_kafka_t *producer, const char *topic, int32_t partition, const char *key,
			   const char *value)
{
	struct sl_record r = { .key = sl_text(key), .value = sl_text(value) };

	return kafka_produce(producer, topic, partition, &r);
}

/* -- reading -------------------------------------------------------------------------------- */

static struct sl_bytes headers_in(struct sl_arena *arena, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *h;
	struct sl_buf bytes = { 0 };
	struct sl_bytes copy = { 0 };
	const char *name;
	const void *value;
	size_t size;

	if (rd_kafka_message_headers(m, &h))
		return copy;
	for (size_t i = 0; !rd_kafka_header_get_all(h, i, &name, &value, &size); i++)
		sl_header_add(&bytes, name, (struct sl_bytes){ value, size });
	copy = sl_arena_bytes(arena, sl_buf_bytes(&bytes));
	sl_buf_release(&bytes);
	return copy;
}

static void see(struct kafka_seen *seen, size_t *capacity, const rd_kafka_message_t *m)
{
	rd_kafka_timestamp_type_t type;

	if (seen->count == *capacity) {
		*capacity = *capacity ? 2 * *capacity : 64;
		seen->records = sl_realloc(seen->records, *capacity * sizeof *seen->records);
	}
	seen->records[seen->count++] = (struct sl_record){
		.offset = m->offset,
		.time_ms = rd_kafka_message_timestamp(m, &type),
		.key = sl_arena_bytes(&seen->arena, (struct sl_bytes){ m->key, m->key_len }),
		.value = sl_arena_bytes(&seen->arena, (struct sl_bytes){ m->payload, m->len }),
		.headers = headers_in(&seen->arena, m),
	};
}

/* One for all reads, because a new client takes half a second to find its way; it ends with the process, or when
 * KAFKA_BOOTSTRAP names other brokers. */
static rd_kafka_t *reader(bool committed)
{
	static rd_kafka_t *readers[2];
	static char *of[2];
	const char *const settings[] = { "group.id",
					 "none",
					 "enable.auto.commit",
					 "false",
					 "enable.partition.eof",
					 "true",
					 "fetch.wait.max.ms", /* until the end is told */
					 "10",
					 "isolation.level",
					 committed ? "read_committed" : "read_uncommitted",
					 NULL };

	if (of[committed] && strcmp(of[committed], kafka_bootstrap()) != 0) {
		rd_kafka_destroy(readers[committed]);
		free(of[committed]);
		of[committed] = NULL;
	}
	if (!of[committed]) {
		readers[committed] = client(RD_KAFKA_CONSUMER, settings);
		of[committed] = sl_strdup(kafka_bootstrap());
	}
	return readers[committed];
}

/* Partitions first .. first + count - 1, all at once. */
static void read_some(const char *topic, int32_t first, int32_t count, bool committed, struct kafka_seen *seen)
{
	rd_kafka_t *rk = reader(committed);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	int64_t until = sl_monotonic_ns() + PATIENCE_MS * INT64_C(1000000);
	size_t *capacity = sl_calloc((size_t)count, sizeof *capacity);
	int32_t ends = 0;

	for (int32_t p = 0; p < count; p++) {
		seen[p] = (struct kafka_seen){ 0 };
		rd_kafka_topic_partition_list_add(list, topic, first + p)->offset = RD_KAFKA_OFFSET_BEGINNING;
	}
	assert_int_equal(rd_kafka_assign(rk, list), 0);
	while (ends < count) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

		if (sl_monotonic_ns() > until)
			fail_msg("the end of '%s' does not come", topic);
		if (!m)
			continue;
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			ends++;
		else if (m->err)
			fail_msg("cannot read '%s': %s", topic, rd_kafka_message_errstr(m));
		else
			see(&seen[m->partition - first], &capacity[m->partition - first], m);
		rd_kafka_message_destroy(m);
	}
	assert_int_equal(rd_kafka_assign(rk, NULL), 0);
	rd_kafka_topic_partition_list_destroy(list);
	free(capacity);
}

void kafka_read(const char *topic, int32_t partition, bool committed, struct kafka_seen *seen)
{
	read_some(topic, partition, 1, committed, seen);
}

void kafka_read_all(const char *topic, int32_t partitions, bool committed, struct kafka_seen *seen)
{
	read_some(topic, 0, partitions, committed, seen);
}

void kafka_seen_release(struct kafka_seen *seen)
{
	free(seen->records);
	sl_arena_release(&seen->arena);
	*seen = (struct kafka_seen){ 0 };
}

bool kafka_within(int seconds, bool (*condition)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int64_t until = sl_monotonic_ns() + seconds * INT64_C(1000000000);

	while (!condition(arg)) {
		if (sl_monotonic_ns() > until)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}
