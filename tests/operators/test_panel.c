/* panel: many votes, one verdict. A row's votes are written "judge=verdict judge=verdict ..."; every row is also played
 * with the labels swapped, and must then say the swapped verdict with the same confidence. */
#include "operators/panel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { VOTES_MAX = 16 };

static const struct sl_panel_judge judges[] = {
	{ { "good", 4 }, 0.9 }, { { "fair", 4 }, 0.7 },  { { "coin", 4 }, 0.5 },
	{ { "sure", 4 }, 1.0 }, { { "wrong", 5 }, 0.3 }, { { "unmeasured", 10 }, NAN },
};

struct row {
	enum sl_panel_merge merge;
	const char *votes;
	double declared, least;
	const char *verdict;
	double confidence;
};

static const struct row rows[] = {
	/* within a judge and over judges: the most frequent, a shared first place is undecidable */
	{ SL_PANEL_MAJORITY, "", 0.7, 0, NULL, NAN },
	{ SL_PANEL_MAJORITY, "good=none", 0.7, 0, NULL, NAN },
	{ SL_PANEL_MAJORITY, "good=nonsense", 0.7, 0, NULL, NAN },
	{ SL_PANEL_MAJORITY, "good=chosen", 0.7, 0, "chosen", 0.9 },
	{ SL_PANEL_MAJORITY, "good=chosen fair=none", 0.7, 0, "chosen", 0.9 },
	{ SL_PANEL_MAJORITY, "x=chosen", 0.7, 0, "chosen", 0.7 },
	{ SL_PANEL_MAJORITY, "x=chosen", NAN, 0, "chosen", NAN },
	{ SL_PANEL_MAJORITY, "unmeasured=rejected", 0.6, 0, "rejected", 0.6 },
	{ SL_PANEL_MAJORITY, "good=tie", 0.7, 0, "tie", NAN },
	{ SL_PANEL_MAJORITY, "good=chosen good=chosen good=rejected", 0.7, 0, "chosen", 0.9 },
	{ SL_PANEL_MAJORITY, "good=chosen good=rejected", 0.7, 0, "undecidable", 0.5 },
	{ SL_PANEL_MAJORITY, "good=chosen good=rejected good=tie", 0.7, 0, "undecidable", 0.5 },
	{ SL_PANEL_MAJORITY, "good=chosen good=rejected fair=rejected", 0.7, 0, "undecidable", 0.7 },
	{ SL_PANEL_MAJORITY, "a=chosen b=rejected", 0.7, 0, "undecidable", 0.5 },
	{ SL_PANEL_MAJORITY, "a=chosen b=rejected c=rejected", 0.7, 0, "rejected", 0.7 },
	{ SL_PANEL_MAJORITY, "a=chosen b=tie c=tie", 0.7, 0, "tie", NAN },
	{ SL_PANEL_MAJORITY, "a=both_bad b=tie c=both_bad", 0.7, 0, "both_bad", NAN },
	/* three samples of one judge are one voice */
	{ SL_PANEL_MAJORITY, "a=chosen b=rejected a=chosen c=rejected a=chosen", 0.7, 0, "rejected", 0.7 },
	/* against the weights: no more than a coin */
	{ SL_PANEL_MAJORITY, "good=chosen x=rejected y=rejected", 0.6, 0, "rejected", 0.5 },
	/* weighted */
	{ SL_PANEL_WEIGHTED, "", 0.7, 0, NULL, NAN },
	{ SL_PANEL_WEIGHTED, "good=chosen", 0.7, 0, "chosen", 0.9 },
	{ SL_PANEL_WEIGHTED, "good=chosen x=rejected y=rejected", 0.6, 0, "chosen",
	  0.8 }, /* odds 9 / (1.5 * 1.5) = 4 */
	{ SL_PANEL_WEIGHTED, "good=chosen fair=rejected", 0.6, 0, "chosen", 9 * 3. / 7 / (1 + 9 * 3. / 7) },
	{ SL_PANEL_WEIGHTED, "good=chosen fair=rejected", 0.6, 1.5, "undecidable", 9 * 3. / 7 / (1 + 9 * 3. / 7) },
	{ SL_PANEL_WEIGHTED, "fair=chosen good=tie", 0.6, 0, "chosen", 0.7 },
	{ SL_PANEL_WEIGHTED, "fair=chosen good=tie fair=chosen x=both_bad", 0.6, 0, "tie", NAN },
	{ SL_PANEL_WEIGHTED, "fair=chosen a=both_bad b=both_bad c=tie", 0.6, 0, "both_bad", NAN },
	{ SL_PANEL_WEIGHTED, "fair=chosen good=undecidable", 0.6, 0, "chosen", 0.7 },
	{ SL_PANEL_WEIGHTED, "coin=chosen", 0.6, 0, "undecidable", 0.5 },
	{ SL_PANEL_WEIGHTED, "good=undecidable", 0.6, 0, "undecidable", 0.5 },
	{ SL_PANEL_WEIGHTED, "wrong=chosen", 0.6, 0, "rejected",
	  0.7 }, /* worse than a coin: its word counts against itself */
	{ SL_PANEL_WEIGHTED, "sure=chosen", 0.6, 0, "chosen", 0.999 }, /* nobody is right always */
	{ SL_PANEL_WEIGHTED, "x=chosen", NAN, 0, "undecidable", NAN },
};

static size_t parse(const char *text, bool swapped, struct sl_vote *votes)
{
	size_t count = 0;

	while (*text) {
		size_t judge = strcspn(text, "="), verdict = strcspn(text + judge + 1, " ");
		struct sl_vote *v = &votes[count++];

		assert_true(count <= VOTES_MAX);
		*v = (struct sl_vote){ .judge = { text, judge }, .verdict = { text + judge + 1, verdict } };
		if (sl_is(v->verdict, "none"))
			v->verdict = (struct sl_bytes){ 0 };
		else if (swapped && sl_is(v->verdict, "chosen"))
			v->verdict = sl_text("rejected");
		else if (swapped && sl_is(v->verdict, "rejected"))
			v->verdict = sl_text("chosen");
		text += judge + 1 + verdict;
		text += *text == ' ';
	}
	return count;
}

static const char *swap(const char *verdict, bool swapped)
{
	if (!swapped || !verdict)
		return verdict;
	return strcmp(verdict, "chosen") == 0 ? "rejected" : strcmp(verdict, "rejected") == 0 ? "chosen" : verdict;
}

static void test_rows(void **unused)
{
	(void)unused;
	for (size_t n = 0; n < 2 * sizeof rows / sizeof rows[0]; n++) {
		const struct row *r = &rows[n / 2];
		struct sl_vote votes[VOTES_MAX];
		size_t count = parse(r->votes, n % 2, votes);
		const char *verdict = swap(r->verdict, n % 2);
		struct sl_panel_verdict v = sl_panel_merge(r->merge, votes, count, judges,
							   sizeof judges / sizeof judges[0], r->declared, r->least);
		bool same = verdict ? v.verdict.data && sl_is(v.verdict, verdict) : !v.verdict.data;

		same = same && (isnan(r->confidence) ? isnan(v.confidence) : fabs(v.confidence - r->confidence) < 1e-9);
		if (!same)
			fail_msg("row %zu, '%s'%s: %.*s %f, expected %s %f", n / 2, r->votes, n % 2 ? " swapped" : "",
				 (int)v.verdict.size, v.verdict.data ? (const char *)v.verdict.data : "", v.confidence,
				 verdict ? verdict : "nothing", r->confidence);
	}
}

static void test_unsure(void **unused)
{
	static const struct {
		const char *votes;
		double sure;
		bool unsure;
	} cases[] = {
		{ "", 0.8, true },
		{ "good=none", 0.8, true },
		{ "good=undecidable", 0, true },
		{ "good=chosen", 0.8, false },
		{ "good=chosen", 0.95, true },
		{ "fair=chosen", 0.8, true },
		{ "good=tie", 0.8, false }, /* a tie has no confidence to be low */
		{ "good=chosen good=chosen good=rejected", 0.8, true },
		{ "good=chosen good=chosen good=none", 0.8, false },
		{ "good=chosen good=chosen good=tie", 0.8, true },
		{ "good=chosen fair=rejected", 0, true }, /* a majority of nobody */
		{ "good=chosen fair=chosen", 0.95, false },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_vote votes[VOTES_MAX];
		size_t count = parse(cases[i].votes, false, votes);
		struct sl_panel_verdict v = sl_panel_merge(SL_PANEL_MAJORITY, votes, count, judges,
							   sizeof judges / sizeof judges[0], 0.7, 0);

		if (sl_panel_unsure(&v, votes, count, cases[i].sure) != cases[i].unsure)
			fail_msg("case %zu: '%s'", i, cases[i].votes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_unsure) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
