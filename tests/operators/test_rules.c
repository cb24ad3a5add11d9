/* The whole truth table of rule `paper`, written out by hand, and what follows from
 * it: whom annotate asks. */
#include "operators/asking.h"
#include "operators/reverse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Letters of the table: gold and best are for (+), against (-), neither (0) or absent (.);
 * the judge also abstained (?). Columns of a row: the judge . ? 0 + -
 * Actions: K keep, F flip, U undecided, D discard. */
struct row {
	char gold, best;
	const char *flips_off, *flips_on;
};

static const char judges[] = ".?0+-";

static const struct row paper[] = {
	{ '+', '+', "KKKKK", "KKKKK" }, { '+', '-', "DDDKD", "DDDKD" }, { '+', '0', "DDDKD", "DDDKD" },
	{ '+', '.', "KKDKD", "KKDKD" }, /* a silent judge is no witness: gold alone decides */
	{ '-', '+', "DDDDD", "DDDDD" }, { '-', '-', "DDDDD", "FDDDF" }, /* asked in vain: no flip */
	{ '-', '0', "DDDDD", "DDDDD" }, { '-', '.', "DDDDD", "DDDDD" }, { '0', '+', "DDDDD", "DDDDD" },
	{ '0', '-', "DDDDD", "DDDDD" }, { '0', '0', "DDDDD", "DDDDD" }, { '0', '.', "DDDDD", "DDDDD" },
};

static enum sl_side side(char letter)
{
	switch (letter) {
	case '+':
		return SL_SIDE_FOR;
	case '-':
		return SL_SIDE_AGAINST;
	case '0':
		return SL_SIDE_NEITHER;
	case '?':
		return SL_SIDE_ABSTAINED;
	default:
		return SL_SIDE_ABSENT;
	}
}

static double probability(char letter)
{
	return letter == '+' ? 0.8 : letter == '-' ? 0.3 : letter == '0' ? 0.5 : NAN;
}

static void expect(const struct sl_rule_settings *s, char gold, char best, char judge, char action)
{
	static const char letters[] = {
		[SL_ACTION_KEEP] = 'K', [SL_ACTION_FLIP] = 'F', [SL_ACTION_UNDECIDED] = 'U', [SL_ACTION_DISCARD] = 'D'
	};
	struct sl_evidence e = { side(gold), side(best), side(judge), probability(gold), probability(best) };
	struct sl_outcome o = sl_rule_paper.decide(s, &e);

	if (letters[o.action] != action)
		fail_msg("gold %c best %c judge %c flips %d: %c (%s), expected %c", gold, best, judge, s->flips,
			 letters[o.action], o.why, action);
	if (gold == '.')
		assert_true(isnan(o.p_label));
	else
		assert_true(o.p_label == probability(gold));
}

static void test_truth_table(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof paper / sizeof paper[0]; i++)
		for (size_t j = 0; j < sizeof judges - 1; j++) {
			struct sl_rule_settings off = { .flips = false }, on = { .flips = true };

			expect(&off, paper[i].gold, paper[i].best, judges[j], paper[i].flips_off[j]);
			expect(&on, paper[i].gold, paper[i].best, judges[j], paper[i].flips_on[j]);
		}
}

static void test_without_gold(void **unused)
{
	static const char bests[] = "+-0.";

	(void)unused;
	for (size_t i = 0; i < sizeof bests - 1; i++)
		for (size_t j = 0; j < sizeof judges - 1; j++)
			for (int flips = 0; flips < 2; flips++) {
				struct sl_rule_settings s = { .flips = flips, .without_gold = SL_WITHOUT_GOLD_PASS };

				expect(&s, '.', bests[i], judges[j], 'K');
				s.without_gold = SL_WITHOUT_GOLD_LLM_ONLY;
				expect(&s, '.', bests[i], judges[j], "UUUKD"[j]);
			}
}

static void test_reasons(void **unused)
{
	static const struct {
		char gold, best, judge;
		bool flips;
		const char *why;
	} cases[] = {
		{ '+', '+', '.', false, "gold_and_best" }, { '+', '-', '+', false, "gold_and_judge" },
		{ '+', '.', '?', false, "gold_alone" },    { '+', '-', '-', false, "unconfirmed" },
		{ '-', '+', '.', true, "gold_rejects" },   { '-', '-', '.', false, "flip_suspended" },
		{ '-', '-', '-', true, "flipped" },        { '-', '-', '0', true, "flip_unconfirmed" },
		{ '-', '-', '+', true, "gold_rejects" },   { '-', '-', '+', false, "gold_rejects" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_rule_settings s = { .flips = cases[i].flips };
		struct sl_evidence e = { .gold = side(cases[i].gold),
					 .best = side(cases[i].best),
					 .judge = side(cases[i].judge) };

		assert_string_equal(sl_rule_paper.decide(&s, &e).why, cases[i].why);
	}
}

/* A pair whose models give these probabilities. */
static void pair_with(struct sl_pair *p, struct sl_score scores[2], double p_gold, double p_best)
{
	const double ps[] = { p_gold, p_best };
	const char *names[] = { "gold", "best" };

	sl_pair_init(p);
	p->scores = scores;
	for (size_t i = 0; i < 2; i++)
		if (!isnan(ps[i]))
			scores[p->score_count++] = (struct sl_score){ .model = sl_text(names[i]),
								      .version = 1,
								      .chosen = 3 * log(ps[i] / (1 - ps[i])),
								      .rejected = 0,
								      .temperature = 3 };
}

static void test_evidence(void **unused)
{
	static const struct {
		double p_gold, p_best, band;
		enum sl_side gold, best;
	} cases[] = {
		{ 0.6, 0.6, 0, SL_SIDE_FOR, SL_SIDE_FOR },
		{ 0.6, 0.6, 0.2, SL_SIDE_FOR, SL_SIDE_NEITHER }, /* the band is best's alone */
		{ 0.6, 0.4, 0.2, SL_SIDE_FOR, SL_SIDE_AGAINST },
		{ 0.4, 0.75, 0.2, SL_SIDE_AGAINST, SL_SIDE_FOR },
		{ 0.5, 0.5, 0, SL_SIDE_NEITHER, SL_SIDE_NEITHER },
		{ NAN, NAN, 0, SL_SIDE_ABSENT, SL_SIDE_ABSENT },
		{ 0.7, NAN, 0, SL_SIDE_FOR, SL_SIDE_ABSENT },
	};
	static const struct {
		bool present, asked;
		const char *verdict;
		enum sl_side judge;
	} judged[] = {
		{ false, false, NULL, SL_SIDE_ABSENT },  { true, false, NULL, SL_SIDE_ABSENT },
		{ true, true, NULL, SL_SIDE_ABSTAINED }, { true, true, "undecidable", SL_SIDE_ABSTAINED },
		{ true, true, "chosen", SL_SIDE_FOR },   { true, true, "rejected", SL_SIDE_AGAINST },
		{ true, true, "tie", SL_SIDE_NEITHER },  { true, true, "both_bad", SL_SIDE_NEITHER },
	};
	struct sl_pair p;
	struct sl_score scores[2];

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_rule_settings s = { .band = cases[i].band };
		struct sl_evidence e;

		pair_with(&p, scores, cases[i].p_gold, cases[i].p_best);
		e = sl_evidence_of(&s, &p);
		assert_int_equal(e.gold, cases[i].gold);
		assert_int_equal(e.best, cases[i].best);
		if (!isnan(cases[i].p_gold))
			assert_true(fabs(e.p_gold - cases[i].p_gold) < 1e-12);
	}
	pair_with(&p, scores, 0.6, 0.6);
	for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
		struct sl_rule_settings s = { 0 };

		p.judgement = (struct sl_judgement){ .present = judged[i].present,
						     .asked = judged[i].asked,
						     .verdict = sl_text(judged[i].verdict) };
		assert_int_equal(sl_evidence_of(&s, &p).judge, judged[i].judge);
	}
}

/* Asked: gold for and best not; gold and best against and flips on; gold absent. */
static void test_asking(void **unused)
{
	static const char letters[] = "+-0.";

	(void)unused;
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 4; j++)
			for (int flips = 0; flips < 2; flips++) {
				struct sl_asking asking = { "paper", 0, flips ? "on" : "off" };
				char gold = letters[i], best = letters[j];
				bool expected = (gold == '+' && best != '+') || gold == '.' ||
						(flips && gold == '-' && best == '-');
				struct sl_score scores[2];
				struct sl_pair p;

				pair_with(&p, scores, probability(gold), probability(best));
				if (sl_asks(&asking, &p) != expected)
					fail_msg("gold %c best %c flips %d: expected asked %d", gold, best, flips,
						 expected);
				/* An earlier answer does not change whether one is worth having. */
				p.judgement = (struct sl_judgement){ true, true, sl_text("rejected"), NULL, 0 };
				assert_int_equal(sl_asks(&asking, &p), expected);
			}
}

static void test_reverse(void **unused)
{
	struct sl_message chosen = { sl_text("assistant"), sl_text("good"), { 0 } };
	struct sl_message rejected = { sl_text("assistant"), sl_text("bad"), { 0 } };
	struct sl_score score = { sl_text("gold"), 3, 1.5, -0.25, 2 };
	struct sl_vote votes[] = {
		{ .verdict = sl_text("rejected"), .order = sl_text("chosen") },
		{ .verdict = sl_text("tie"), .order = sl_text("rejected") },
	};
	struct sl_arena a = { 0 };
	struct sl_pair p, r, again;
	struct sl_rule_settings s = { 0 };

	(void)unused;
	sl_pair_init(&p);
	p.id = sl_hash128("x", 1);
	p.chosen = (struct sl_messages){ &chosen, 1 };
	p.rejected = (struct sl_messages){ &rejected, 1 };
	p.margin = 2.5;
	p.scores = &score;
	p.score_count = 1;
	p.judgement = (struct sl_judgement){ true, true, sl_text("rejected"), votes, 2 };
	sl_pair_reverse(&p, &r, &a);

	assert_true(sl_id_equal(r.id, p.id));
	assert_ptr_equal(r.chosen.at, &rejected);
	assert_ptr_equal(r.rejected.at, &chosen);
	assert_true(r.label_flipped);
	assert_true(r.margin == -2.5);
	assert_true(r.scores[0].chosen == -0.25 && r.scores[0].rejected == 1.5);
	assert_true(score.chosen == 1.5); /* borrowed memory is not written */
	assert_true(sl_is(r.judgement.verdict, "chosen"));
	assert_true(sl_is(r.judgement.votes[0].verdict, "chosen"));
	assert_true(sl_is(r.judgement.votes[0].order, "rejected"));
	assert_true(sl_is(r.judgement.votes[1].verdict, "tie"));
	assert_true(sl_is(r.judgement.votes[1].order, "chosen"));
	/* The evidence turns with it. */
	assert_int_equal(sl_evidence_of(&s, &p).gold, SL_SIDE_FOR);
	assert_int_equal(sl_evidence_of(&s, &r).gold, SL_SIDE_AGAINST);
	assert_int_equal(sl_evidence_of(&s, &r).judge, SL_SIDE_FOR);

	sl_pair_reverse(&r, &again, &a);
	assert_ptr_equal(again.chosen.at, &chosen);
	assert_false(again.label_flipped);
	assert_true(again.margin == 2.5);
	assert_true(again.scores[0].chosen == 1.5);
	assert_true(sl_is(again.judgement.verdict, "rejected"));
	sl_pair_reverse(&r, &r, &a); /* in place */
	assert_ptr_equal(r.chosen.at, &chosen);
	assert_ptr_equal(r.rejected.at, &rejected);
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth_table), cmocka_unit_test(test_without_gold), cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_evidence),    cmocka_unit_test(test_asking),       cmocka_unit_test(test_reverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
