/* test_posterior_audit.c -- the audit of flips: which rows it is about, and that one prompt is one prompt, however many
 * answers it has; and what a judge who is put to few adds to a posterior, when all that is known of him misleads. */
#include "../../schemas/pair.h"
#include "../../trainer/posterior_fit.h"
#include "synthetic.h"

#include <math.h>

/* -- flips ---------------------------------------------------------------------------------- */

enum { ROWS = 60 };

struct audit {
	const char *name;
	double gold, best, judge; /* against the human's verdict where negative; the label that arrived is wrong */
	bool speaks;              /* the judge */
	size_t groups;
	int64_t count; /* of flips */
	bool sure;     /* their lower end is over a half */
};

static const struct audit audits[] = {
	{ "gold and best", 1, 1, NAN, true, ROWS, ROWS, true },
	{ "gold and the judge", 1, NAN, 1, true, ROWS, ROWS, true },
	{ "gold alone", 1, NAN, NAN, true, ROWS, 0, false },
	{ "best and the judge", -1, 1, 1, true, ROWS, 0, false },
	{ "the judge defends the label", 1, 1, -1, true, ROWS, 0, false },
	{ "the judge abstains", 1, 1, 0, true, ROWS, 0, false },
	{ "the judge is a coin here", 1, 1, -1, false, ROWS, ROWS, true },
	{ "one prompt", 1, 1, NAN, true, 1, ROWS, false },
	{ "two prompts", 1, 1, NAN, true, 2, ROWS, false },
	{ "twenty prompts", 1, 1, NAN, true, 20, ROWS, true },
};

static void flips_are_audited(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof audits / sizeof audits[0]; k++) {
		const struct audit *a = &audits[k];
		struct sl_evidence_row rows[ROWS];
		struct sl_fit_row fit_rows[ROWS];
		struct sl_posterior_options o;
		struct sl_fitting f = { .o = &o, .rows = fit_rows, .count = ROWS, .p.judge_speaks = a->speaks };
		struct sl_accuracy flips;

		sl_posterior_options_default(&o);
		for (size_t i = 0; i < ROWS; i++) {
			uint64_t group = i % a->groups;

			rows[i] = (struct sl_evidence_row){ .group = sl_hash128(&group, sizeof group),
							    .domain = sl_text("some"),
							    .gold = a->gold,
							    .best = a->best,
							    .judge = a->judge,
							    .length = 1,
							    .audited = true };
			/* As hear() makes it: silent where he does not speak. */
			fit_rows[i] = (struct sl_fit_row){ .row = &rows[i],
							   .domain = SL_LOGISTIC_NO_DOMAIN,
							   .judge = a->speaks || isnan(a->judge) ? a->judge : 0,
							   .p = 0.1 };
		}
		flips = sl_fit_flips(&f);
		if (flips.count != a->count || (f.p.flip_low > 0.5) != a->sure)
			fail_msg("%s: %lld flips, %.3f to %.3f, flip_low %.3f", a->name, (long long)flips.count,
				 flips.low, flips.high, f.p.flip_low);
	}
}

/* -- what few probes add ----------------------------------------------------------------------- */

static double chance(uint64_t *random)
{
	return (double)(sl_mix64(*random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

static void add_row(struct sl_evidence_rows *rows, uint64_t *random, double judge, bool audited)
{
	struct sl_evidence_row row = { .domain = sl_text("some"), .best = NAN, .length = NAN, .confidence = NAN };

	do {
		uint64_t number = ++*random;

		row.group = sl_hash128(&number, sizeof number);
	} while (sl_split_of(row.group) == SL_SPLIT_REPORT);
	row.gold = chance(random) < 0.8 ? 1 : -1;
	row.judge = judge;
	row.audited = audited;
	row.arrived_right = chance(random) < 0.6;
	sl_evidence_add(rows, &row);
}

/* On gold pairs that were given he is right always, on audited ones in six of ten: his weight is what those say. */
static void a_judge_who_misleads(void **state)
{
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior_options o;
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };
	struct sl_posterior *p;
	struct folder at;
	uint64_t random = 1;
	double yes;

	(void)state;
	folder_begin(&at);
	for (size_t i = 0; i < 20000; i++)
		add_row(&rows, &random, 1, false);
	for (size_t i = 0; i < 2000; i++)
		add_row(&rows, &random, i % 4 ? NAN : chance(&random) < 0.6 ? 1 : -1, true);
	sl_posterior_options_default(&o);
	o.judge_accuracy = 0.75;
	assert_true(sl_posterior_fit(&o, &rows, "llm", folder_path(&at, "1"), NULL, &report, &e));
	p = sl_posterior_open(folder_path(&at, "1"), (struct sl_bytes){ 0 }, &e);
	assert_non_null(p);
	assert_true(sl_posterior_judge_accuracy(p, sl_text("llm"), sl_text("some")) > 0.97);
	yes = sl_posterior_judge_accuracy(p, sl_text("llm"), sl_text("some"));
	yes = log(yes / (1 - yes));

	/* Odds 6:4 of the label, 8:2 of gold, 6:4 of the judge. */
	const double expected[2] = { 0.8 * 0.6 * 0.6, 0.2 * 0.4 * 0.4 };
	struct sl_witnesses w = {
		.domain = sl_text("some"), .gold = 1, .best = NAN, .judge = yes, .length = NAN, .label_noise = 0.4
	};

	print_message("P %.3f with his yes, expected %.3f\n", sl_posterior_p(p, &w),
		      expected[0] / (expected[0] + expected[1]));
	assert_float_equal(sl_posterior_p(p, &w), expected[0] / (expected[0] + expected[1]), 0.04);
	w.judge = -yes;
	print_message("P %.3f with his no, expected %.3f\n", sl_posterior_p(p, &w), 0.8);
	assert_float_equal(sl_posterior_p(p, &w), 0.8, 0.06);
	sl_posterior_close(p);
	sl_buf_release(&report);
	sl_evidence_release(&rows);
	folder_end(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flips_are_audited),
		cmocka_unit_test(a_judge_who_misleads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
