/* test_tail.c -- partitions read by assignment: past what is not handed out, up to what is stable, from the
 * start where the position is gone, elsewhere on the same connection. */
#include "with_broker.h"

#include "tests/actors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PATIENCE_NS 30000000000

const struct sl_operator *const sl_operators[] = { &sl_actor_tally, NULL };

struct bench {
	struct kafka_test t;
	struct sl_tail *tail;
	const char *topics[2];
};

static void open_bench(struct bench *b, int32_t partitions)
{
	*b = (struct bench){ 0 };
	kafka_test_open(&b->t,
			"topology: tail\nsteps:\n  - { name: tally, from: pairs.raw, to: { odd: odd, even: even } }\n");
	for (int i = 0; i < 2; i++) {
		b->topics[i] = kafka_unique();
		kafka_create(b->topics[i], partitions, NULL);
	}
}

static void close_bench(struct bench *b)
{
	sl_tail_close(b->tail);
	kafka_test_close(&b->t);
}

static void open_tail(struct bench *b, const struct sl_tail_part *parts, size_t count)
{
	struct sl_error e = { 0 };

	b->tail = sl_tail_open(&b->t.k, parts, count, &e);
	if (!b->tail)
		fail_msg("%s", e.text);
}

static bool ends_at_5(void *bench)
{
	struct bench *b = bench;
	struct sl_error e = { 0 };
	int64_t start, end;

	if (!sl_kafka_ends(&b->t.k, b->topics[0], 0, false, &start, &end, &e))
		fail_msg("%s", e.text);
	return end == 5;
}

/* Read until each part is at its position; texts "which/key=value@offset ". */
static const char *read_to(struct bench *b, const int64_t *positions, size_t count, struct sl_buf *text)
{
	int64_t until_ns = sl_monotonic_ns() + PATIENCE_NS;
	struct sl_error e = { 0 };

	sl_buf_clear(text);
	for (;;) {
		struct sl_record r;
		size_t which = 0, there = 0;

		for (size_t i = 0; i < count; i++)
			there += sl_tail_position(b->tail, i) >= positions[i];
		if (there == count)
			return sl_buf_text(text);
		switch (sl_tail_next(b->tail, 100, &which, &r, &e)) {
		case SL_TAIL_RECORD:
			sl_buf_print(text, "%zu/%.*s=%.*s@%lld ", which, (int)r.key.size,
				     r.key.data ? (const char *)r.key.data : "", (int)r.value.size,
				     r.value.data ? (const char *)r.value.data : "", (long long)r.offset);
			break;
		case SL_TAIL_NOTHING:
			if (sl_monotonic_ns() > until_ns)
				fail_msg("at %lld after '%s'", (long long)sl_tail_position(b->tail, 0),
					 sl_buf_text(text));
			break;
		case SL_TAIL_FAILED:
			fail_msg("%s", e.text);
		}
	}
}

static void produce(rd_kafka_t *p, const char *topic, int32_t partition, const char *key, const char *value)
{
	kafka_produce_text(p, topic, partition, key, value);
}

/* Committed, aborted, committed again, in two partitions: positions reach the raw ends. */
static void past_what_is_not_handed_out(void **state)
{
	struct bench b;
	struct sl_buf text = { 0 };
	rd_kafka_t *p;

	(void)state;
	kafka_bootstrap();
	open_bench(&b, 2);
	p = kafka_producer(kafka_unique());
	for (int i = 0; i < 3; i++) {
		char value[8];

		snprintf(value, sizeof value, "%d", i);
		rd_kafka_begin_transaction(p);
		produce(p, b.topics[0], 0, "a", value);
		produce(p, b.topics[0], 1, "b", value);
		kafka_end(p, i != 1);
	}
	open_tail(&b, (struct sl_tail_part[]){ { b.topics[0], 0, 0 }, { b.topics[0], 1, 4 } }, 2);
	read_to(&b, (int64_t[]){ 6, 6 }, 2, &text); /* a commit returns before its markers are there */
	assert_non_null(strstr(sl_buf_text(&text), "0/a=0@0 "));
	assert_non_null(strstr(sl_buf_text(&text), "0/a=2@4 "));
	assert_non_null(strstr(sl_buf_text(&text), "1/b=2@4 "));
	assert_int_equal(text.size, strlen("0/a=0@0 0/a=2@4 1/b=2@4 "));
	assert_int_equal(sl_tail_position(b.tail, 0), 6);
	assert_int_equal(sl_tail_position(b.tail, 1), 6);
	/* an abort alone moves the position, too */
	rd_kafka_begin_transaction(p);
	produce(p, b.topics[0], 0, "a", "never");
	kafka_end(p, false);
	assert_string_equal(read_to(&b, (int64_t[]){ 8, 6 }, 2, &text), "");
	rd_kafka_destroy(p);
	sl_buf_release(&text);
	close_bench(&b);
}

/* What is in an open transaction, and what lies behind it, is not handed out before it ends. */
static void up_to_what_is_stable(void **state)
{
	struct bench b;
	struct sl_buf text = { 0 };
	rd_kafka_t *open, *other;
	struct sl_record r;
	struct sl_error e;
	size_t which;

	(void)state;
	kafka_bootstrap();
	open_bench(&b, 1);
	open = kafka_producer(kafka_unique());
	other = kafka_producer(kafka_unique());
	rd_kafka_begin_transaction(other);
	produce(other, b.topics[0], 0, "k", "first");
	kafka_end(other, true);
	rd_kafka_begin_transaction(open);
	produce(open, b.topics[0], 0, "k", "open");
	rd_kafka_begin_transaction(other);
	produce(other, b.topics[0], 0, "k", "behind");
	kafka_end(other, true);
	assert_true(kafka_within(30, ends_at_5, &b));
	open_tail(&b, &(struct sl_tail_part){ b.topics[0], 0, 0 }, 1);
	assert_string_equal(read_to(&b, (int64_t[]){ 2 }, 1, &text), "0/k=first@0 ");
	for (int i = 0; i < 3; i++)
		assert_int_equal(sl_tail_next(b.tail, 100, &which, &r, &e), SL_TAIL_NOTHING);
	assert_int_equal(sl_tail_position(b.tail, 0), 2);
	kafka_end(open, true);
	assert_string_equal(read_to(&b, (int64_t[]){ 6 }, 1, &text), "0/k=open@2 0/k=behind@3 ");
	rd_kafka_destroy(open);
	rd_kafka_destroy(other);
	sl_buf_release(&text);
	close_bench(&b);
}

/* Positions below and above the log become its start. */
static void positions_that_are_gone(void **state)
{
	static const int64_t positions[] = { 0, 2, 500, -1 };
	struct bench b;
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	rd_kafka_t *p;

	(void)state;
	kafka_bootstrap();
	open_bench(&b, 1);
	p = kafka_producer(NULL);
	for (int i = 0; i < 6; i++)
		produce(p, b.topics[0], 0, "k", "v");
	if (!sl_kafka_purge(&b.t.k, b.topics[0], 0, 4, &e))
		fail_msg("%s", e.text);
	for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
		int64_t until_ns = sl_monotonic_ns() + PATIENCE_NS;
		struct sl_record r;
		size_t which;

		open_tail(&b, &(struct sl_tail_part){ b.topics[0], 0, positions[i] }, 1);
		while (sl_tail_next(b.tail, 100, &which, &r, &e) != SL_TAIL_RECORD)
			assert_true(sl_monotonic_ns() < until_ns);
		assert_int_equal(r.offset, 4);
		assert_int_equal(sl_tail_position(b.tail, 0), 5);
		sl_tail_close(b.tail);
		b.tail = NULL;
	}
	rd_kafka_destroy(p);
	sl_buf_release(&text);
	close_bench(&b);
}

/* Elsewhere, and back: nothing fetched before comes after. */
static void moves(void **state)
{
	struct bench b;
	struct sl_buf text = { 0 }, want = { 0 };
	struct sl_error e = { 0 };
	rd_kafka_t *p;

	(void)state;
	kafka_bootstrap();
	open_bench(&b, 1);
	p = kafka_producer(NULL);
	for (int i = 0; i < 50; i++) {
		char value[8];

		snprintf(value, sizeof value, "%d", i);
		produce(p, b.topics[0], 0, "a", value);
		produce(p, b.topics[1], 0, "b", value);
	}
	open_tail(&b, &(struct sl_tail_part){ b.topics[0], 0, 0 }, 1);
	for (int64_t i = 0; i < 20; i++) {
		int64_t from = 40 - i;

		read_to(&b, (int64_t[]){ sl_tail_position(b.tail, 0) + 2 }, 1, &text);
		if (!sl_tail_move(b.tail, &(struct sl_tail_part){ b.topics[i % 2], 0, from }, &e))
			fail_msg("%s", e.text);
		assert_int_equal(sl_tail_position(b.tail, 0), from);
		sl_buf_clear(&want);
		for (int64_t k = from; k < from + 3; k++)
			sl_buf_print(&want, "0/%c=%lld@%lld ", i % 2 ? 'b' : 'a', (long long)k, (long long)k);
		assert_string_equal(read_to(&b, (int64_t[]){ from + 3 }, 1, &text), sl_buf_text(&want));
	}
	rd_kafka_destroy(p);
	sl_buf_release(&text);
	sl_buf_release(&want);
	close_bench(&b);
}

static void *wait_long(void *arg)
{
	struct bench *b = arg;
	struct sl_record r;
	struct sl_error e;
	size_t which;

	/* an end-of-partition event ends a wait as well: then once more */
	while (sl_tail_position(b->tail, 0) == 0)
		if (sl_tail_next(b->tail, 600000, &which, &r, &e) == SL_TAIL_FAILED)
			fail_msg("%s", e.text);
	return NULL;
}

static void headers_and_wake(void **state)
{
	struct bench b;
	struct sl_buf headers = { 0 };
	struct sl_record r = { .key = sl_text("k"), .value = { "", 0 } };
	struct sl_error e = { 0 };
	rd_kafka_t *p;
	pthread_t thread;
	size_t which;

	(void)state;
	kafka_bootstrap();
	open_bench(&b, 1);
	open_tail(&b, &(struct sl_tail_part){ b.topics[0], 0, 0 }, 1);
	sl_tail_wake(b.tail);
	assert_int_equal(sl_tail_next(b.tail, 600000, &which, &r, &e), SL_TAIL_NOTHING);
	sl_thread_start(&thread, "tail", wait_long, &b);
	p = kafka_producer(NULL);
	r = (struct sl_record){ .key = sl_text("k"), .value = { "", 0 } };
	sl_header_add(&headers, "one", sl_text("1"));
	sl_header_add(&headers, "", sl_text("2"));
	r.headers = sl_buf_bytes(&headers);
	kafka_produce(p, b.topics[0], 0, &r);
	sl_thread_join(thread);
	r = (struct sl_record){ .key = { "", 0 }, .value = { NULL, 0 } };
	kafka_produce(p, b.topics[0], 0, &r);
	while (sl_tail_next(b.tail, 100, &which, &r, &e) != SL_TAIL_RECORD)
		;
	assert_int_equal(r.offset, 1);
	assert_null(r.value.data);
	assert_non_null(r.key.data);
	assert_int_equal(r.key.size, 0);
	if (!sl_tail_move(b.tail, &(struct sl_tail_part){ b.topics[0], 0, 0 }, &e))
		fail_msg("%s", e.text);
	while (sl_tail_next(b.tail, 100, &which, &r, &e) != SL_TAIL_RECORD)
		;
	assert_int_equal(r.offset, 0);
	assert_non_null(r.value.data);
	assert_int_equal(r.value.size, 0);
	assert_true(sl_is(sl_header_find(r.headers, "one"), "1"));
	rd_kafka_destroy(p);
	sl_buf_release(&headers);
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(past_what_is_not_handed_out),
		cmocka_unit_test(up_to_what_is_stable),
		cmocka_unit_test(positions_that_are_gone),
		cmocka_unit_test(moves),
		cmocka_unit_test(headers_and_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
