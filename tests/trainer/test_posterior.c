/* test_posterior.c -- the posterior on pairs with a planted truth. */
#include "../../schemas/pair.h"
#include "../../trainer/posterior_file.h"
#include "synthetic.h"

#include <jansson.h>
#include <math.h>

/* How gold pairs are made: the chance that each witness agrees with the human. */
struct planted {
	const char *domain;
	size_t count;
	double gold, best, judge; /* 0: absent */
	double noise;             /* share of arrived labels that are wrong */
	double audited;
};

static double chance(uint64_t *random)
{
	return (double)(sl_mix64(*random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

static double witness(uint64_t *random, double accuracy)
{
	return accuracy > 0 ? (chance(random) < accuracy ? 1 : -1) : NAN;
}

/* Two pairs of each group. */
static void plant(struct sl_evidence_rows *rows, const struct planted *p, uint64_t seed)
{
	uint64_t random = seed;

	for (size_t i = 0; i < p->count; i++) {
		char prompt[64];
		double gold = witness(&random, p->gold), best = witness(&random, p->best);
		double judge = witness(&random, p->judge);
		struct sl_evidence_row row = { 0 };

		snprintf(prompt, sizeof prompt, "%s %zu %llu", p->domain, i / 2, (unsigned long long)seed);
		row.group = sl_hash128(prompt, strlen(prompt));
		row.domain = sl_text(p->domain);
		row.gold = gold * (0.5 + chance(&random));
		row.best = best * (0.5 + chance(&random));
		row.judge = judge;
		row.confidence = 0.6;
		row.length = chance(&random) < 0.5 ? 1 : -1;
		row.first_wins = chance(&random) < 0.5 ? 1 : -1;
		row.audited = chance(&random) < p->audited;
		row.arrived_right = chance(&random) >= p->noise;
		sl_evidence_add(rows, &row);
	}
}

static struct sl_posterior *fit(const struct sl_evidence_rows *rows, const char *judge, const struct folder *at,
				const char *name, json_t **report)
{
	struct sl_posterior_options o;
	struct sl_error e = { 0 };
	struct sl_buf text = { 0 };
	struct sl_posterior *p;

	sl_posterior_options_default(&o);
	if (!sl_posterior_fit(&o, rows, judge, folder_path(at, name), "{\"gold\": 3}", &text, &e))
		fail_msg("%s", e.text);
	*report = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_non_null(*report);
	p = sl_posterior_open(folder_path(at, name), (struct sl_bytes){ 0 }, &e);
	if (!p)
		fail_msg("%s", e.text);
	sl_buf_release(&text);
	return p;
}

static struct sl_witnesses witnesses(const char *domain, double gold, double best, double judge)
{
	return (struct sl_witnesses){
		.domain = sl_text(domain), .gold = gold, .best = best, .judge = judge, .label_noise = 0.2
	};
}

static double number_at(const json_t *json, const char *a, const char *b, const char *c)
{
	json = json_object_get(json, a);
	json = b ? json_object_get(json, b) : json;
	json = c ? json_object_get(json, c) : json;
	assert_true(json_is_number(json));
	return json_number_value(json);
}

/* Labels are 30 % wrong; gold is right in 85 %, the judge in 80 % in one domain and a coin in the other. */
static void finds_what_was_planted(void **state)
{
	const struct planted planted[] = {
		{ "good", 3000, 0.85, 0, 0.8, 0.3, 0.9 },
		{ "coin", 3000, 0.5, 0, 0.5, 0.3, 0.9 },
		{ "tiny", 4, 0.8, 0, 0.7, 0.3, 1 },
	};
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct sl_witnesses w;
	struct folder at;
	json_t *report;

	(void)state;
	folder_begin(&at);
	for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++)
		plant(&rows, &planted[i], 30 + i);
	p = fit(&rows, "nearest", &at, "1", &report);

	assert_true(sl_posterior_has_weights(p));
	assert_true(sl_posterior_judge_speaks(p, sl_text("nearest"), sl_text("good")));
	assert_false(sl_posterior_judge_speaks(p, sl_text("nearest"), sl_text("coin")));
	assert_false(sl_posterior_judge_speaks(p, sl_text("nearest"), sl_text("tiny")));
	assert_false(sl_posterior_judge_speaks(p, sl_text("nearest"), sl_text("never seen")));
	assert_false(sl_posterior_judge_speaks(p, sl_text("another"), sl_text("good")));
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("nearest"), sl_text("good")), 0.8, 0.03);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("nearest"), sl_text("never seen")), 0.65, 0.03);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("another"), sl_text("good")), 0.5, 0);
	assert_false(sl_posterior_blind(p, sl_text("good")));
	assert_true(sl_posterior_blind(p, sl_text("coin")));
	assert_false(sl_posterior_blind(p, sl_text("tiny")));
	assert_false(sl_posterior_blind(p, sl_text("never seen")));

	/* Bayes: odds 7:3 of the label, 17:3 of gold, 4:1 of the judge. */
	w = witnesses("good", 1, NAN, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.930, 0.03);
	w = witnesses("good", -1, NAN, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.292, 0.05);
	w = witnesses("good", 1, NAN, log(4));
	assert_float_equal(sl_posterior_p(p, &w), 0.981, 0.02);
	w = witnesses("good", -1, NAN, -log(4));
	assert_float_equal(sl_posterior_p(p, &w), 0.093, 0.05);
	w = witnesses("coin", 1, NAN, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.7, 0.05);
	/* A best that was never seen in the evidence is not heard. */
	w = witnesses("good", 1, -5, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.930, 0.03);
	w = witnesses("good", NAN, NAN, NAN);
	assert_true(isnan(sl_posterior_p(p, &w)));

	assert_float_equal(number_at(report, "all", "arrived_right", "value"), 0.7, 0.03);
	assert_float_equal(number_at(report, "curated", "precision", "value"),
			   number_at(report, "curated", "expected", NULL), 0.02);
	assert_float_equal(number_at(report, "undecided", "blind_share", "value"), 0.5, 0.03);
	assert_true(number_at(report, "flips", "wrong", "low") > 0.5);
	assert_float_equal(sl_posterior_flip_low(p), number_at(report, "flips", "wrong", "low"), 1e-6);
	json_decref(report);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_planted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
