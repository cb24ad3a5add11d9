/* test_memory.c -- buffers, arenas and errors. */
#include "topology/base/arena.h"
#include "topology/base/buf.h"
#include "topology/base/error.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_buf(void **state)
{
	struct sl_buf b = { 0 };

	(void)state;
	sl_buf_release(&b); /* safe on a zeroed one */
	assert_string_equal(sl_buf_text(&b), "");
	for (int i = 0; i < 1000; i++)
		sl_buf_add_byte(&b, (uint8_t)i);
	assert_int_equal(b.size, 1000);
	assert_int_equal(b.data[999], 999 & 0xff);
	sl_buf_clear(&b);
	sl_buf_print(&b, "%s", "x");
	sl_buf_print(&b, "%0500d", 7); /* longer than its first guess */
	assert_int_equal(b.size, 501);
	assert_int_equal(b.data[500], '7');
	sl_buf_add_bytes(&b, sl_text(NULL));
	sl_buf_add_bytes(&b, sl_text("end"));
	assert_string_equal(sl_buf_text(&b) + 500, "7end");
	assert_int_equal(b.size, 504);
	sl_buf_release(&b);
	assert_null(b.data);
}

static void test_arena(void **state)
{
	struct sl_arena a = { 0 };
	uint8_t *was;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 2000; i++) {
			uint8_t *p = sl_arena_alloc(&a, i);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 16, 0);
			memset(p, 0xab, i);
		}
		uint8_t *zero = sl_arena_zalloc(&a, 3 << 20);
		assert_int_equal(zero[(3 << 20) - 1], 0);
		assert_true(a.used_bytes >= 2000u * 1999 / 2 + (3 << 20));
		sl_arena_clear(&a);
		assert_int_equal(a.used_bytes, 0);
	}
	was = sl_arena_alloc(&a, 100000);
	sl_arena_trim(&a, was, 20);
	assert_ptr_equal(sl_arena_alloc(&a, 1), was + 32);
	assert_null(sl_arena_bytes(&a, sl_text(NULL)).data);
	assert_string_equal(sl_arena_bytes(&a, sl_text("text")).data, "text");
	assert_string_equal(sl_arena_print(&a, "%d-%s", 5, "x"), "5-x");
	sl_arena_release(&a);
	sl_arena_release(&a);
}

static void test_error(void **state)
{
	struct sl_error e = { 0 };
	char cut[600];

	(void)state;
	assert_false(sl_error_set(&e, SL_STOP, "bad '%s'", "x"));
	assert_int_equal(e.verdict, SL_STOP);
	assert_false(sl_error_in(&e, "step '%s'", "dedupe"));
	assert_string_equal(e.text, "step 'dedupe': bad 'x'");
	errno = ENOENT;
	assert_false(sl_error_errno(&e, SL_RETRY, "cannot open '%s'", "f"));
	assert_string_equal(e.text, "cannot open 'f': No such file or directory");
	assert_int_equal(e.verdict, SL_RETRY);

	/* A text that is too long is cut between characters. */
	memset(cut, 'a', sizeof cut);
	for (size_t i = 1; i + 2 < sizeof cut; i += 2)
		memcpy(cut + i, "\xc3\xa9", 2);
	cut[sizeof cut - 1] = 0;
	sl_error_set(&e, SL_STOP, "%s", cut);
	assert_int_equal(strlen(e.text), 503);
	sl_error_set(&e, SL_STOP, "%s", cut + 1);
	assert_int_equal(strlen(e.text), 502);
	sl_error_in(&e, "x");
	assert_int_equal(strlen(e.text), 503);
	sl_error_in(&e, "xy");
	assert_int_equal(strlen(e.text), 502 + 1);
}

/* Ties, their neighbours, and numbers between and beyond: as printf has them. */
static void test_print_share(void **state)
{
	static const double some[] = { 0, -0.0, 1, 0.9995, 0.0005, 1e-300, 1.0005, -0.5, 12.3456, HUGE_VAL, NAN };
	struct sl_arena a = { 0 };
	char expected[400];

	(void)state;
	for (int i = 0; i < 2 * 16000; i++) {
		double tie = (i / 2) / 16000.0; /* odd multiples of 1/16 are ties */

		for (int side = -1; side <= 1; side++) {
			double x = side == 0 ? tie : nextafter(tie, side);

			x = i % 2 ? x : sin(i) * sin(i);
			snprintf(expected, sizeof expected, "%.3f", x);
			assert_string_equal(sl_arena_print_share(&a, x), expected);
		}
	}
	for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
		snprintf(expected, sizeof expected, "%.3f", some[i]);
		assert_string_equal(sl_arena_print_share(&a, some[i]), expected);
	}
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_print_share),
		cmocka_unit_test(test_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
