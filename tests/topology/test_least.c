/* The N smallest of many: as sorting all of them would give, whatever the order they come in. */
#include "topology/least.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ITEMS = 300 };

static struct sl_id id_of(uint64_t n)
{
	struct sl_id id = { { 0 } };

	sl_put_be64(id.b, n);
	return id;
}

/* Keys repeat, so ids decide: item n has key n / 7. */
static void add(struct sl_least *x, uint64_t n)
{
	if (sl_least_wants(x, n / 7, id_of(n)))
		sl_buf_print(sl_least_add(x, n / 7, id_of(n)), "%d", (int)n);
}

static void test_orders(void **unused)
{
	static const size_t mosts[] = { 1, 2, 3, 20, 127, ITEMS, ITEMS + 5 };
	static const uint64_t steps[] = { 1, ITEMS - 1, 7, 121, 173 }; /* prime to ITEMS */

	(void)unused;
	for (size_t m = 0; m < sizeof mosts / sizeof *mosts; m++) {
		for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
			struct sl_least x = { .most = mosts[m] };

			for (uint64_t i = 0; i < ITEMS; i++)
				add(&x, i * steps[s] % ITEMS);
			sl_least_sort(&x);
			assert_int_equal(x.count, mosts[m] < ITEMS ? mosts[m] : ITEMS);
			for (size_t i = 0; i < x.count; i++) {
				assert_true(sl_id_equal(x.at[i].id, id_of(i)));
				assert_int_equal(x.at[i].key, i / 7);
				assert_int_equal(strtol(sl_buf_text(&x.at[i].value), NULL, 10), i);
			}
			sl_least_release(&x);
		}
	}
}

static void test_none(void **unused)
{
	struct sl_least x = { .most = 3 };

	(void)unused;
	sl_least_sort(&x);
	assert_int_equal(x.count, 0);
	sl_least_release(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_orders), cmocka_unit_test(test_none) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
