/* test_fresh.c -- what another program's pair may claim, and what it gets. */
#include "schemas/fresh.h"
#include "schemas/jsonl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>

static struct sl_message prompt[] = { { .role = { "human", 5 }, .content = { "why?", 4 } } };
static struct sl_message chosen[] = { { .role = { "assistant", 9 }, .content = { "so", 2 } } };
static struct sl_message rejected[] = { { .role = { "gpt", 3 }, .content = { "no", 2 } } };

static struct sl_pair some_pair(void)
{
	struct sl_pair p;

	sl_pair_init(&p);
	p.prompt = (struct sl_messages){ prompt, 1 };
	p.chosen = (struct sl_messages){ chosen, 1 };
	p.rejected = (struct sl_messages){ rejected, 1 };
	return p;
}

static void test_steps_are_not_believed(void **state)
{
	struct sl_score score = { .model = { "best", 4 }, .version = 9 };
	struct sl_trail trail = { .step = { "dedupe", 6 } };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p = some_pair(), q;
	struct sl_parsed parsed;

	(void)state;
	memset(p.id.b, 7, sizeof p.id.b);
	p.label_flipped = true;
	p.attributes.present = p.judgement.present = p.decision.present = true;
	p.scores = &score;
	p.trail = &trail;
	p.score_count = p.trail_count = 1;
	p.gold = (struct sl_gold){ .present = true, .sequence = 12 };
	p.margin = 2.5;
	p.source = sl_text("shop");
	p.meta = sl_text("{ \"b\": 1, \"a\": 2 }");
	p.arrival.offset = 77;
	assert_true(sl_pair_foreign(&p, &a, &e));
	assert_false(p.label_flipped || p.attributes.present || p.judgement.present || p.decision.present);
	assert_int_equal(p.score_count + p.trail_count, 0);
	assert_true(p.gold.present);
	assert_int_equal(p.gold.sequence, 0);
	assert_true(p.margin == 2.5);
	assert_true(sl_is(p.source, "shop"));
	assert_true(sl_is(p.meta, "{ \"b\": 1, \"a\": 2 }")); /* the producer's own bytes */
	assert_int_equal(p.arrival.offset, 77);
	assert_true(sl_is(p.prompt.at[0].role, "user"));
	assert_true(sl_is(prompt[0].role, "human")); /* the record's own array is as it was */

	/* The same pair by the other door. */
	assert_true(sl_jsonl_parse(sl_text("{\"prompt\":\"why?\",\"chosen\":\"so\",\"rejected\":\"no\"}"), NULL, &a,
				   &parsed, &e));
	q = parsed.pairs[0];
	assert_true(sl_id_equal(p.id, q.id) && sl_id_equal(p.pair_key, q.pair_key) && sl_id_equal(p.group, q.group));
	sl_arena_release(&a);
}

/* Two ways to write the same `extra` are one pair. */
static void test_extra_has_one_form(void **state)
{
	static const char *const forms[] = { "{\"name\":\"ann\",\"age\":3}", " { \"age\" : 3, \"name\" : \"ann\" } " };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_id ids[2], without;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sl_message named = prompt[0];
		struct sl_pair p = some_pair();

		named.extra = sl_text(forms[i]);
		p.prompt.at = &named;
		assert_true(sl_pair_foreign(&p, &a, &e));
		ids[i] = p.id;
		assert_true(sl_is(p.prompt.at[0].extra, "{\"age\":3,\"name\":\"ann\"}"));
		named.extra = sl_text("{}");
		p.prompt.at = &named;
		assert_true(sl_pair_foreign(&p, &a, &e));
		assert_null(p.prompt.at[0].extra.data);
		without = p.id;
	}
	assert_true(sl_id_equal(ids[0], ids[1]));
	assert_false(sl_id_equal(ids[0], without));
	sl_arena_release(&a);
}

static void test_bad_claims(void **state)
{
	static const struct {
		const char *role, *extra, *meta, *verdict, *sample, *label;
		double margin;
		const char *error;
	} cases[] = {
		{ .role = "wizard", .error = "field 'rejected': item 0: unknown role 'wizard'" },
		{ .role = "", .error = "unknown role ''" },
		{ .extra = "{", .error = "field 'rejected': item 0: field 'extra': expected a JSON object as text" },
		{ .extra = "[1]", .error = "not a list" },
		{ .meta = "", .error = "field 'meta': expected a JSON object" },
		{ .meta = "\"x\"", .error = "not a string" },
		{ .verdict = "tie", .error = "field 'gold': field 'verdict': 'tie', expected 'chosen'" },
		{ .sample = "x", .error = "field 'sample': 'x', expected 'random' or 'error-driven' or 'given'" },
		{ .label = "flipped", .error = "field 'label_arrived': 'flipped', expected 'same' or 'swapped'" },
		{ .margin = HUGE_VAL, .error = "field 'margin': an infinite number" },
		{ .margin = -HUGE_VAL, .error = "field 'margin': an infinite number" },
		{ .role = "function",
		  .extra = "{}",
		  .meta = "{}",
		  .verdict = "chosen",
		  .sample = "error-driven",
		  .label = "swapped",
		  .margin = -1e300 },
	};
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_message last = rejected[0];
		struct sl_pair p = some_pair();
		struct sl_error e = { 0 };

		if (cases[i].role)
			last.role = sl_text(cases[i].role);
		last.extra = sl_text(cases[i].extra);
		p.rejected.at = &last;
		p.meta = sl_text(cases[i].meta);
		p.gold.verdict = sl_text(cases[i].verdict);
		p.gold.sample = sl_text(cases[i].sample);
		p.gold.label_arrived = sl_text(cases[i].label);
		p.margin = cases[i].margin;
		if (sl_pair_foreign(&p, &a, &e) != !cases[i].error ||
		    (cases[i].error && (e.verdict != SL_STOP || !strstr(e.text, cases[i].error))))
			fail_msg("case %zu: '%s'", i, e.text);
	}
	sl_arena_release(&a);
}

static void test_arrival(void **state)
{
	struct sl_arrival arrival = { .topic = sl_text("pairs.raw"), .partition = 2, .offset = 5 };
	struct sl_pair p = some_pair();

	(void)state;
	sl_pair_arrive(&p, &arrival, 1000, sl_text("kafka"));
	assert_true(sl_is(p.source, "kafka"));
	assert_int_equal(p.time_ms, 1000);
	assert_int_equal(p.arrival.offset, 5);
	assert_null(p.gold.verdict.data);
	p.gold.present = true;
	p.source = sl_text("");
	sl_pair_arrive(&p, &arrival, 1000, sl_text("kafka"));
	assert_true(sl_is(p.source, "")); /* said, and empty */
	assert_true(sl_is(p.gold.verdict, "chosen") && sl_is(p.gold.sample, "given"));
	p.gold.sample = sl_text("random");
	sl_pair_arrive(&p, &arrival, 1000, sl_text("kafka"));
	assert_true(sl_is(p.gold.sample, "random"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps_are_not_believed),
		cmocka_unit_test(test_extra_has_one_form),
		cmocka_unit_test(test_bad_claims),
		cmocka_unit_test(test_arrival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
