/* test_message.c -- records onto a broker and back: keys, values, tombstones, headers, times. */
#include "with_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void no_headers(void **state)
{
	static const uint8_t broken[] = { 3, 0, 1, 0, 0, 0, 'a', 'b' };

	(void)state;
	assert_null(sl_message_headers((struct sl_bytes){ NULL, 0 }));
	assert_null(sl_message_headers((struct sl_bytes){ broken, 0 }));
	for (size_t size = 1; size <= sizeof broken; size++)
		assert_null(sl_message_headers((struct sl_bytes){ broken, size }));
}

/* What is whole counts: one header and half of the next. */
static void half_a_header(void **state)
{
	struct sl_buf bytes = { 0 };
	rd_kafka_headers_t *h;

	(void)state;
	sl_header_add(&bytes, "why", sl_text("because"));
	sl_header_add(&bytes, "more", sl_text("text"));
	h = sl_message_headers((struct sl_bytes){ bytes.data, bytes.size - 1 });
	assert_non_null(h);
	assert_int_equal(rd_kafka_header_cnt(h), 1);
	rd_kafka_headers_destroy(h);
	sl_buf_release(&bytes);
}

static rd_kafka_message_t *next(rd_kafka_t *rk)
{
	for (int i = 0; i < 600; i++) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

		if (m && !m->err)
			return m;
		if (m)
			fail_msg("%s", rd_kafka_message_errstr(m));
	}
	fail_msg("no message");
	return NULL;
}

static void must_be(const struct sl_record *r, const struct sl_record *want)
{
	assert_int_equal(r->offset, want->offset);
	if (want->time_ms)
		assert_int_equal(r->time_ms, want->time_ms);
	assert_true(sl_bytes_equal(r->key, want->key));
	assert_true((r->key.data == NULL) == (want->key.data == NULL));
	assert_true(sl_bytes_equal(r->value, want->value));
	assert_true((r->value.data == NULL) == (want->value.data == NULL));
	assert_true(sl_bytes_equal(r->headers, want->headers));
}

static void there_and_back(void **state)
{
	struct sl_buf headers = { 0 }, found = { 0 };
	struct sl_error e = { 0 };
	struct kafka_test t;
	struct sl_record want[] = {
		{ .key = sl_text("k"), .value = sl_text("v"), .time_ms = 1234567890123 },
		{ .key = sl_text("k"), .value = { NULL, 0 }, .time_ms = 1 }, /* a tombstone */
		{ .key = { NULL, 0 }, .value = sl_text("no key"), .time_ms = 2 },
		{ .key = sl_text(""), .value = sl_text(""), .time_ms = 3 }, /* empty is not absent */
		{ .key = sl_text("h"), .value = sl_text("with headers"), .time_ms = 4 },
	};
	const char *topic = kafka_unique();
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_t *producer, *consumer;

	(void)state;
	sl_header_add(&headers, "__connect.errors.exception.message", sl_text("why not"));
	sl_header_add(&headers, "empty", sl_text(""));
	sl_header_add(&headers, "empty", (struct sl_bytes){ "\0\xff", 2 });
	sl_header_add(&headers, "", sl_text("no name"));
	want[4].headers = sl_buf_bytes(&headers);
	kafka_test_open(&t, KAFKA_SMALL);
	kafka_create(topic, 1, NULL);
	producer = kafka_producer(NULL);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		want[i].offset = kafka_produce(producer, topic, 0, &want[i]);
	rd_kafka_destroy(producer);

	consumer = sl_kafka_client(&t.k, RD_KAFKA_CONSUMER, (const char *const[]){ "group.id", topic, NULL }, NULL,
				   NULL, &e);
	assert_non_null(consumer);
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, topic, 0)->offset = 0;
	assert_int_equal(rd_kafka_assign(consumer, list), 0);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		rd_kafka_message_t *m = next(consumer);
		struct sl_record r;

		sl_message_record(m, &found, &r);
		must_be(&r, &want[i]);
		rd_kafka_message_destroy(m);
	}
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(consumer);
	kafka_test_close(&t);
	sl_buf_release(&headers);
	sl_buf_release(&found);
}

/* And out again as they came in. */
static void headers_again(void **state)
{
	struct sl_buf headers = { 0 };
	rd_kafka_headers_t *h;
	const char *name;
	const void *value;
	size_t size;

	(void)state;
	sl_header_add(&headers, "a", sl_text("1"));
	sl_header_add(&headers, "b", sl_text(""));
	h = sl_message_headers(sl_buf_bytes(&headers));
	assert_non_null(h);
	assert_int_equal(rd_kafka_header_cnt(h), 2);
	assert_int_equal(rd_kafka_header_get_all(h, 0, &name, &value, &size), 0);
	assert_string_equal(name, "a");
	assert_int_equal(size, 1);
	assert_int_equal(rd_kafka_header_get_all(h, 1, &name, &value, &size), 0);
	assert_string_equal(name, "b");
	assert_int_equal(size, 0);
	rd_kafka_headers_destroy(h);
	sl_buf_release(&headers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_headers),
		cmocka_unit_test(half_a_header),
		cmocka_unit_test(headers_again),
		cmocka_unit_test(there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
