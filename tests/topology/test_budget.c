/* test_budget.c -- money before any is spent: prices, days, shares, who may spend what, and the options that say so. */
#include "topology/budget.h"

#include "topology/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Operators that name endpoints, one that may ask any, one that asks nobody. */
struct names {
	const char *first;
	struct sl_list others;
};
static const struct sl_option naming[] = {
	{ .name = "first",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct names, first),
	  .value = "",
	  .help = "h",
	  .endpoint = true },
	{ .name = "others",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct names, others),
	  .value = "[]",
	  .help = "h",
	  .endpoint = true },
	{ 0 },
};
static const char *const out_ports[] = { "out", NULL };

static enum sl_verdict do_nothing(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)t, (void)self, (void)b;
	return SL_OK;
}

static const struct sl_operator named = { .name = "named",
					  .version = "1",
					  .options = naming,
					  .ports = out_ports,
					  .self_size = sizeof(struct names),
					  .ask = do_nothing,
					  .process = do_nothing };
static const struct sl_operator any = {
	.name = "any", .version = "1", .ports = out_ports, .ask = do_nothing, .process = do_nothing
};
static const struct sl_operator none = { .name = "none", .version = "1", .ports = out_ports, .process = do_nothing };
const struct sl_operator *const sl_operators[] = { &named, &any, &none, NULL };

/* -- arithmetic ------------------------------------------------------------------------------ */

static void prices(void **state)
{
	static const struct sl_price mini = { "mini", 0.4, 0.1, 1.6 };
	static const struct {
		struct sl_usage usage;
		int64_t cost;
	} rows[] = {
		{ { 0, 0, 0, 0 }, 0 },         { { 1, 0, 0, 0 }, 1 }, /* rounded up */
		{ { 1000, 0, 100, 60 }, 560 }, { { 1000, 400, 100, 0 }, 440 }, { { 1000, 1000, 0, 0 }, 100 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(sl_price_cost(&mini, &rows[i].usage), rows[i].cost);
	assert_int_equal(sl_price_cost(NULL, &rows[2].usage), 0);
	assert_int_equal(sl_price_most(NULL, 1000, 1000), 0);
	/* every byte a token, and what templates add */
	assert_int_equal(sl_price_most(&mini, 744, 100), 560);
}

static void days(void **state)
{
	struct sl_purse p = { .share = 100, .share_day = 60 };

	(void)state;
	sl_purse_day(&p, 20000);
	assert_true(sl_purse_fits(&p, 60));
	assert_false(sl_purse_fits(&p, 61));
	sl_purse_hold(&p, 60);
	assert_false(sl_purse_fits(&p, 1));
	assert_true(sl_purse_could(&p, 60));
	sl_purse_settle(&p, 60, 50);
	assert_true(sl_purse_fits(&p, 10));
	assert_false(sl_purse_fits(&p, 11));
	sl_purse_day(&p, 19999); /* a clock that goes back opens no new day */
	assert_false(sl_purse_fits(&p, 11));
	sl_purse_day(&p, 20001);
	assert_true(sl_purse_fits(&p, 50));
	assert_false(sl_purse_fits(&p, 51)); /* of the total */
}

static void words_of_a_spent_budget(void **state)
{
	struct sl_purse p = { .share = 1000000, .share_day = -1, .spent = 910000, .held = 80000 };
	struct sl_buf text = { 0 };

	(void)state;
	sl_purse_say(&p, "endpoint 'gpt'", 20000, &text);
	assert_string_equal(sl_buf_text(&text), "budget of endpoint 'gpt' is spent: $0.91 of $1, $0.08 reserved; the "
						"next call may cost $0.02");
	sl_buf_clear(&text);
	p = (struct sl_purse){ .share = -1, .share_day = 10000 };
	sl_purse_say(&p, "the step", 20000, &text);
	assert_string_equal(sl_buf_text(&text), "budget of the step for today is spent: $0 of $0.01, $0 reserved; the "
						"next call may cost $0.02, more than this task's whole share");
	sl_buf_release(&text);
}

static void shares(void **state)
{
	(void)state;
	assert_int_equal(sl_budget_share(-1, 3), -1);
	assert_int_equal(sl_budget_share(0, 3), 0);
	assert_int_equal(sl_budget_share(1, 3), 333333);
	assert_int_equal(sl_budget_share(0.07, 1), 70000);
}

/* Who can spend what, and the options of steps that ask. */
static void tasks_that_spend(void **state)
{
	static const char *const yaml =
		"topology: t\npartitions: 4\nendpoints:\n"
		"  a: { url: \"http://a/v1\", model: m, budget: 3 }\n  b: { url: \"http://b/v1\", model: m }\n"
		"  c: { url: \"http://c/v1\", model: m }\n"
		"prices: { m: { prompt: 1, completion: 2 } }\nsteps:\n"
		"  - { name: one, operator: named, from: pairs.raw, to: { out: x }, first: a, others: [b], budget: 2 "
		"}\n"
		"  - { name: two, operator: named, from: x, to: { out: y }, others: [a], ahead: 0, budget_per_day: 1.5 "
		"}\n"
		"  - { name: three, operator: none, from: x, to: { out: z } }\n";
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("t.yaml", sl_text(yaml), NULL, 0, &e);
	struct sl_buf more = { 0 };

	(void)state;
	if (!t)
		fail_msg("%s", e.text);
	assert_int_equal(sl_budget_tasks(t, 0), 5); /* one partition of pairs.raw, four of x */
	assert_int_equal(sl_budget_tasks(t, 1), 1);
	assert_int_equal(sl_budget_tasks(t, 2), 1); /* nobody, so whoever */
	assert_int_equal(t->steps[0].ahead, 4);
	assert_true(t->steps[0].budget == 2 && t->steps[0].budget_per_day == -1);
	assert_int_equal(t->steps[1].ahead, 0);
	assert_true(t->steps[1].budget == -1 && t->steps[1].budget_per_day == 1.5);
	assert_true(t->steps[2].budget == -1 && t->steps[2].budget_per_day == -1);
	sl_topology_free(t);
	sl_buf_print(&more, "%s  - { name: four, operator: any, from: y, to: { out: v } }\n", yaml);
	t = sl_topology_parse("t.yaml", sl_buf_bytes(&more), NULL, 0, &e);
	assert_int_equal(sl_budget_tasks(t, 0), 9);
	assert_int_equal(sl_budget_tasks(t, 2), 4);
	sl_topology_free(t);
	sl_buf_release(&more);
}

static void options_that_are_wrong(void **state)
{
	static const struct {
		const char *step, *why;
	} rows[] = {
		{ "operator: any, ahead: 65", "t.yaml:3:71: 'ahead': '65' is out of range: 0 to 64 batches" },
		{ "operator: any, budget: -2", "'budget': '-2' is out of range: -1 to 1000000000 dollars" },
		{ "operator: none, ahead: 1", "unknown key 'ahead' in step 's'" },
		{ "operator: none, budget: 1", "unknown key 'budget' in step 's'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_buf yaml = { 0 };
		struct sl_error e = { 0 };

		sl_buf_print(&yaml, "topology: t\nsteps:\n  - { name: s, from: pairs.raw, to: { out: x }, %s }\n",
			     rows[i].step);
		assert_null(sl_topology_parse("t.yaml", sl_buf_bytes(&yaml), NULL, 0, &e));
		if (!strstr(e.text, rows[i].why))
			fail_msg("%s", e.text);
		sl_buf_release(&yaml);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prices),
		cmocka_unit_test(days),
		cmocka_unit_test(words_of_a_spent_budget),
		cmocka_unit_test(shares),
		cmocka_unit_test(tasks_that_spend),
		cmocka_unit_test(options_that_are_wrong),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
