/* test_bill.c -- rows of money: what goes in comes out, by name; and what is not of ours is nothing. */
#include "topology/bill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { NULL };

static const char *const names[] = { "first", "second", "unused", "" };
#define NAMES (sizeof names / sizeof *names)

static const struct sl_calls_stats stats = { .asked = 99,
					     .parked = 7,
					     .counts = { .repeated = 1,
							 .unknown = 2,
							 .overshot = 3,
							 .overshot_micro = 4,
							 .answers = 5,
							 .bytes = 6,
							 .lost = 8 } };
static const struct sl_purse purses[NAMES] = { { .share = 9, .spent = 10, .spent_day = 3, .day = 20000, .held = 2 },
					       { .share = -1, .held = 11 },
					       { .share = 5, .share_day = 5, .day = 20000 },
					       { .spent = 10, .spent_day = 10, .day = 20000, .held = 13 } };

static void row(struct sl_buf *to)
{
	sl_buf_clear(to);
	sl_bill_put(to, 1700000000000, &stats, purses, names, NAMES);
}

static void in_and_out(void **state)
{
	static const char *const others[] = { "second", "", "third" };
	struct sl_purse found[NAMES];
	struct sl_calls_stats back;
	struct sl_buf value = { 0 };
	int64_t when;

	(void)state;
	row(&value);
	assert_true(sl_bill_get(sl_buf_bytes(&value), &when, &back, found, names, NAMES));
	assert_int_equal(when, 1700000000000);
	assert_int_equal(back.asked, 0);
	assert_int_equal(back.parked, 7);
	assert_memory_equal(&back.counts, &stats.counts, sizeof stats.counts);
	for (size_t i = 0; i < NAMES; i++) {
		assert_int_equal(found[i].spent, purses[i].spent);
		assert_int_equal(found[i].spent_day, purses[i].spent_day);
		assert_int_equal(found[i].held, purses[i].held);
		assert_int_equal(found[i].share, 0);
	}
	/* a topology with other endpoints */
	assert_true(sl_bill_get(sl_buf_bytes(&value), &when, &back, found, others, 3));
	assert_int_equal(found[0].held, 11);
	assert_int_equal(found[1].spent, 10);
	assert_int_equal(found[2].spent + found[2].held, 0);
	sl_buf_release(&value);
}

static void what_is_not_ours(void **state)
{
	struct sl_purse found[NAMES];
	struct sl_calls_stats back;
	struct sl_buf value = { 0 };
	size_t whole, head = 8 * 9, first = head + 2 + 5 + 32, second = first + 2 + 6 + 32;
	int64_t when;

	(void)state;
	row(&value);
	whole = value.size;
	for (size_t size = 0; size < whole; size++) {
		uint8_t *cut = sl_malloc(size + 1); /* of its own, for AddressSanitizer */
		bool ends = size == head || size == first || size == second;

		memcpy(cut, value.data, size);
		assert_int_equal(sl_bill_get((struct sl_bytes){ cut, size }, &when, &back, found, names, NAMES), ends);
		if (!ends)
			assert_int_equal(when + back.parked + back.counts.bytes + found[0].spent, 0);
		free(cut);
	}
	for (size_t at = 7; at < head; at += 8) { /* a number below 0, and one beyond all money */
		for (int k = 0; k < 2; k++) {
			row(&value);
			value.data[at] = k ? 0x80 : 0x20;
			assert_false(sl_bill_get(sl_buf_bytes(&value), &when, &back, found, names, NAMES));
		}
	}
	assert_false(sl_bill_get((struct sl_bytes){ 0 }, &when, &back, found, names, NAMES));
	sl_buf_release(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_and_out), cmocka_unit_test(what_is_not_ours) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
