/* test_dealt.c -- offsets that are dealt with: a mark and runs, against a list of flags. */
#include "topology/dealt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define OFFSETS 64

/* "20 30-33 40-41": the mark and the runs. */
static void shown(const struct sl_dealt *d, struct sl_buf *to)
{
	sl_buf_clear(to);
	sl_buf_print(to, "%d", (int)d->mark);
	for (size_t i = 0; i < d->count; i++)
		sl_buf_print(to, " %d-%d", (int)d->runs[i].from, (int)d->runs[i].to);
}

static const struct {
	int add[8][2]; /* ended by 0, 0 */
	const char *is;
} rows[] = {
	{ { { 0, 3 } }, "3" },
	{ { { 5, 5 }, { 7, 6 } }, "0" },
	{ { { 4, 6 } }, "0 4-6" },
	{ { { 4, 6 }, { 0, 4 } }, "6" },
	{ { { 4, 6 }, { 8, 9 }, { 6, 8 } }, "0 4-9" },
	{ { { 8, 9 }, { 4, 6 }, { 2, 3 } }, "0 2-3 4-6 8-9" },
	{ { { 8, 9 }, { 4, 6 }, { 2, 3 }, { 1, 8 } }, "0 1-9" },
	{ { { 8, 9 }, { 4, 6 }, { 2, 3 }, { 0, 7 } }, "7 8-9" },
	{ { { 8, 9 }, { 4, 6 }, { 0, 20 } }, "20" },
	{ { { 4, 10 }, { 5, 7 }, { 2, 5 }, { 9, 12 } }, "0 2-12" },
	{ { { 0, 10 }, { 3, 7 }, { 5, 12 } }, "12" },
	{ { { 1, 2 }, { 3, 4 }, { 5, 6 }, { 2, 3 }, { 0, 1 } }, "4 5-6" },
};

static void test_rows(void **state)
{
	struct sl_buf text = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_dealt d = { 0 };

		for (size_t k = 0; rows[i].add[k][0] || rows[i].add[k][1]; k++)
			sl_dealt_add(&d, rows[i].add[k][0], rows[i].add[k][1]);
		shown(&d, &text);
		assert_string_equal(sl_buf_text(&text), rows[i].is);
		sl_dealt_release(&d);
	}
	sl_buf_release(&text);
}

/* Any order of any ranges says of every offset what a list of flags says, also from its row. */
static void test_flags(void **state)
{
	uint32_t random = 1;

	(void)state;
	for (int round = 0; round < 500; round++) {
		bool flags[OFFSETS + 8] = { false };
		struct sl_dealt d = { 0 }, again = { 0 };
		struct sl_buf row = { 0 };

		for (int n = 0; n < 20; n++) {
			int from, to;

			random = random * 1664525 + 1013904223;
			from = (int)(random >> 16) % OFFSETS;
			to = from + (int)(random >> 24) % 8;
			sl_dealt_add(&d, from, to);
			while (from < to)
				flags[from++] = true;
		}
		sl_dealt_write(&d, &row);
		assert_true(sl_dealt_read(&again, sl_buf_bytes(&row)));
		for (int i = 0; i < OFFSETS + 8; i++) {
			assert_int_equal(sl_dealt_has(&d, i), flags[i]);
			assert_int_equal(sl_dealt_has(&again, i), flags[i]);
		}
		assert_int_equal(again.mark, d.mark);
		assert_int_equal(again.count, d.count);
		assert_true(row.size == 8 + 16 * d.count);
		sl_dealt_release(&d);
		sl_dealt_release(&again);
		sl_buf_release(&row);
	}
}

static void test_no_row(void **state)
{
	struct sl_dealt d = { 0 };

	(void)state;
	sl_dealt_add(&d, 0, 7);
	assert_false(sl_dealt_read(&d, sl_text("seven..")));
	assert_int_equal(d.mark, 0);
	assert_false(sl_dealt_read(&d, sl_text("")));
	assert_false(sl_dealt_read(&d, sl_text("sixteen bytes...")));
	sl_dealt_release(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_no_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
