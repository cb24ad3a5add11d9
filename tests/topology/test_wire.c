/* test_wire.c -- the bytes of the owner's socket: there and back, and hostile ones. Every
 * prefix of a good body and every single wrong byte of it must be refused or decode to
 * something whole; the sanitizers watch the edges. */
#include "topology/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct sl_ingest_mark some_mark = {
	.position = 1234567890123, .lines = 5, .pairs = 4, .ties = 1, .invalid = 2, .hash = 0xfedcba9876543210u
};

static void assert_mark(const struct sl_ingest_mark *a, const struct sl_ingest_mark *b)
{
	assert_true(a->position == b->position && a->lines == b->lines && a->pairs == b->pairs);
	assert_true(a->ties == b->ties && a->invalid == b->invalid && a->hash == b->hash);
}

static void marks(void **state)
{
	char hex[2 * SL_WIRE_MARK_SIZE + 1];
	struct sl_ingest_mark back, negative = some_mark;

	(void)state;
	sl_wire_mark_hex(&some_mark, hex);
	assert_int_equal(strlen(hex), 96);
	assert_true(sl_wire_mark_unhex(hex, &back));
	assert_mark(&back, &some_mark);
	assert_false(sl_wire_mark_unhex("", &back));
	assert_false(sl_wire_mark_unhex(hex + 1, &back));
	hex[7] = 'g';
	assert_false(sl_wire_mark_unhex(hex, &back));
	negative.pairs = -1;
	sl_wire_mark_hex(&negative, hex);
	assert_false(sl_wire_mark_unhex(hex, &back));
}

static void keys(void **state)
{
	struct sl_id head = sl_hash128("head", 4), back;
	struct sl_bytes source;
	struct sl_buf body = { 0 };
	struct sl_error e;

	(void)state;
	sl_wire_key_encode(sl_text("chats"), head, &body);
	assert_true(sl_wire_key_decode(sl_buf_bytes(&body), &source, &back, &e));
	assert_true(sl_is(source, "chats") && sl_id_equal(head, back));
	for (size_t size = 0; size < body.size; size++)
		assert_false(sl_wire_key_decode((struct sl_bytes){ body.data, size }, &source, &back, &e));
	sl_buf_add_byte(&body, 0);
	assert_false(sl_wire_key_decode(sl_buf_bytes(&body), &source, &back, &e));
	/* The store's keys end a source with a NUL, so there may be none inside. */
	sl_buf_clear(&body);
	sl_wire_key_encode((struct sl_bytes){ "a\0b", 3 }, head, &body);
	assert_false(sl_wire_key_decode(sl_buf_bytes(&body), &source, &back, &e));
	sl_buf_release(&body);
}

static void add_frame(struct sl_buf *frames, const char *key, const char *value)
{
	struct sl_record r = { .offset = 7, .time_ms = 99, .key = sl_text(key), .value = sl_text(value) };

	sl_frames_add(frames, &r);
}

static void make_append(struct sl_buf *pairs, struct sl_buf *dead, struct sl_buf *body)
{
	struct sl_ingest_append a = { .source = sl_text("chats"), .head = sl_hash128("x", 1), .after = some_mark };

	add_frame(pairs, "k1", "one");
	add_frame(pairs, "k2", "two");
	add_frame(dead, "", "{broken");
	a.pairs = sl_buf_bytes(pairs);
	a.dead = sl_buf_bytes(dead);
	sl_wire_ingest_encode(&a, body);
}

static void appends(void **state)
{
	struct sl_buf pairs = { 0 }, dead = { 0 }, body = { 0 };
	struct sl_ingest_append back;
	struct sl_record *records;
	struct sl_error e;
	size_t count;

	(void)state;
	make_append(&pairs, &dead, &body);
	assert_true(sl_wire_ingest_decode(sl_buf_bytes(&body), &back, &e));
	assert_mark(&back.after, &some_mark);
	assert_true(sl_is(back.source, "chats"));
	assert_true(sl_bytes_equal(back.pairs, sl_buf_bytes(&pairs)));
	assert_int_equal(back.ties.size, 0);
	assert_true(sl_wire_records(back.pairs, &records, &count, &e));
	assert_int_equal(count, 2);
	assert_true(sl_is(records[0].key, "k1") && sl_is(records[1].value, "two") && records[1].time_ms == 99);
	free(records);
	assert_true(sl_wire_records((struct sl_bytes){ 0 }, &records, &count, &e));
	assert_int_equal(count, 0);
	sl_buf_release(&pairs);
	sl_buf_release(&dead);
	sl_buf_release(&body);
}

/* In memory of just its size, so that a read past the end is seen. */
static bool decode_exact(const uint8_t *data, size_t size)
{
	uint8_t *exact = sl_malloc(size);
	struct sl_ingest_append back;
	struct sl_record *records;
	struct sl_error e;
	size_t count;
	bool good;

	if (size)
		memcpy(exact, data, size);
	good = sl_wire_ingest_decode((struct sl_bytes){ exact, size }, &back, &e);
	if (good) {
		assert_true(sl_wire_records(back.pairs, &records, &count, &e));
		free(records);
	}
	free(exact);
	return good;
}

static void hostile(void **state)
{
	struct sl_buf pairs = { 0 }, dead = { 0 }, body = { 0 };

	(void)state;
	make_append(&pairs, &dead, &body);
	for (size_t size = 0; size < body.size; size++)
		assert_false(decode_exact(body.data, size));
	for (size_t i = 0; i < body.size; i++) {
		static const uint8_t wrong[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
		uint8_t was = body.data[i];

		for (size_t k = 0; k < sizeof wrong; k++) {
			body.data[i] = wrong[k];
			(void)decode_exact(body.data, body.size);
		}
		body.data[i] = was;
	}
	sl_buf_release(&pairs);
	sl_buf_release(&dead);
	sl_buf_release(&body);
}

static void errors(void **state)
{
	static const struct {
		enum sl_verdict verdict;
		const char *text;
	} cases[] = { { SL_RETRY, "in use by process 7" },
		      { SL_STOP, "a \"quoted\"\nline" },
		      { SL_WAIT, "model 'gold'" } };
	struct sl_buf json = { 0 };
	struct sl_error e, back;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		sl_error_set(&e, cases[i].verdict, "%s", cases[i].text);
		sl_buf_clear(&json);
		sl_wire_error_encode(&e, &json);
		sl_wire_error_decode(sl_buf_bytes(&json), 409, &back);
		assert_int_equal(back.verdict, cases[i].verdict);
		assert_string_equal(back.text, cases[i].text);
	}
	sl_wire_error_decode(sl_text("<html>"), 502, &back);
	assert_int_equal(back.verdict, SL_STOP);
	assert_non_null(strstr(back.text, "HTTP status 502: '<html>'"));
	sl_wire_error_decode((struct sl_bytes){ 0 }, 500, &back);
	assert_int_equal(back.verdict, SL_STOP);
	sl_error_set(&e, SL_STOP, "\xff");
	sl_buf_clear(&json);
	sl_wire_error_encode(&e, &json);
	sl_wire_error_decode(sl_buf_bytes(&json), 400, &back);
	assert_string_equal(back.text, "(the message is not valid UTF-8)");
	sl_buf_release(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks),   cmocka_unit_test(keys),   cmocka_unit_test(appends),
		cmocka_unit_test(hostile), cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
