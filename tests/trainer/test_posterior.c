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

/* Noise differs by domain; a domain of few rows is like all of them together. */
static void domains_have_their_own(void **state)
{
	const struct planted planted[] = {
		{ "clean", 2000, 0.7, 0.7, 0, 0.05, 1 },
		{ "dirty", 2000, 0.7, 0.7, 0, 0.45, 1 },
		{ "small", 12, 0.7, 0.7, 0, 0.05, 1 },
	};
	struct sl_evidence_rows rows = { 0 };
	struct sl_witnesses w;
	struct sl_posterior *p;
	struct folder at;
	double both, alone;
	json_t *report;

	(void)state;
	folder_begin(&at);
	for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++)
		plant(&rows, &planted[i], 40 + i);
	p = fit(&rows, NULL, &at, "1", &report);
	w = witnesses("clean", 0, NAN, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.95, 0.02);
	w = witnesses("dirty", 0, NAN, NAN);
	assert_float_equal(sl_posterior_p(p, &w), 0.55, 0.04);
	w = witnesses("never seen", 0, NAN, NAN);
	assert_in_range((int)(100 * sl_posterior_p(p, &w)), 65, 90);

	/* Two models say more than one; a judge nobody knows is not heard. */
	w = witnesses("dirty", 1, 1, NAN);
	both = sl_posterior_p(p, &w);
	w = witnesses("dirty", 1, NAN, NAN);
	alone = sl_posterior_p(p, &w);
	assert_true(both > alone + 0.03);
	w = witnesses("dirty", 1, NAN, 2);
	assert_float_equal(sl_posterior_p(p, &w), alone, 1e-12);
	w = witnesses("dirty", NAN, 1, NAN); /* best alone has a fit of its own */
	assert_float_equal(sl_posterior_p(p, &w), alone, 0.05);
	assert_false(sl_posterior_judge_speaks(p, sl_text(""), sl_text("clean")));
	json_decref(report);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

/* Human verdicts at random: no witness agrees with them, nothing can be decided. */
static void noise_is_blind(void **state)
{
	const struct planted planted = { "noise", 3000, 0.5, 0.5, 0.5, 0.3, 1 };
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct folder at;
	json_t *report;

	(void)state;
	folder_begin(&at);
	plant(&rows, &planted, 52);
	p = fit(&rows, "nearest", &at, "1", &report);
	assert_true(sl_posterior_blind(p, sl_text("noise")));
	assert_float_equal(number_at(report, "undecided", "blind_share", "value"), 1, 0);
	assert_float_equal(sl_posterior_flip_low(p), 0, 0);
	json_decref(report);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

static void without_weights_a_formula(void **state)
{
	const struct planted planted = { "few", 60, 0.9, 0, 0.9, 0.3, 1 };
	static const struct {
		double gold, best, judge, noise, logit;
	} cases[] = {
		{ 1, NAN, NAN, 0.5, 1 },
		{ 1, NAN, 2, 0.5, 3 },
		{ -1, 4, NAN, 0.5, -1 },
		{ NAN, 4, NAN, 0.5, 4 },
		{ NAN, NAN, -2, 0.5, -2 },
		{ 1, NAN, NAN, 0.2, 1 + 1.3862943611198906 },
		{ 0, NAN, 0, 0.2, 1.3862943611198906 },
		{ 1e9, NAN, -1e9, 0.5, 0 },
	};
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct folder at;
	json_t *report;

	(void)state;
	folder_begin(&at);
	plant(&rows, &planted, 1);
	p = fit(&rows, "nearest", &at, "1", &report);
	assert_false(sl_posterior_has_weights(p));
	assert_true(json_is_false(json_object_get(report, "weights")));
	assert_null(json_object_get(report, "curated"));
	assert_float_equal(sl_posterior_flip_low(p), 0, 0);
	/* What is known of the judge holds without weights. */
	assert_true(sl_posterior_judge_speaks(p, sl_text("nearest"), sl_text("few")));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_witnesses w = witnesses("few", cases[i].gold, cases[i].best, cases[i].judge);

		w.label_noise = cases[i].noise;
		assert_float_equal(sl_posterior_p(p, &w), sl_sigmoid(cases[i].logit), 1e-12);
		assert_float_equal(sl_posterior_p(NULL, &w), sl_sigmoid(cases[i].logit), 1e-12);
	}
	json_decref(report);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

static void read_version(const struct folder *at, const char *name, struct sl_buf *to)
{
	struct sl_error e = { 0 };
	char path[256];

	snprintf(path, sizeof path, "%s/posterior.json", folder_path(at, name));
	assert_true(sl_file_read(path, 1 << 20, to, &e));
}

/* Rows of split report are not looked at, whatever they say. */
static void same_rows_same_bytes(void **state)
{
	const struct planted planted = { "some", 800, 0.7, 0.6, 0.6, 0.3, 1 };
	struct sl_evidence_rows rows = { 0 };
	struct sl_buf first = { 0 }, second = { 0 };
	struct folder at;
	json_t *report;
	size_t changed = 0;

	(void)state;
	folder_begin(&at);
	plant(&rows, &planted, 1);
	sl_posterior_close(fit(&rows, "nearest", &at, "1", &report));
	json_decref(report);
	for (size_t i = 0; i < rows.count; i++)
		if (sl_split_of(rows.at[i].group) == SL_SPLIT_REPORT) {
			rows.at[i].gold *= -100;
			rows.at[i].arrived_right = false;
			changed++;
		}
	assert_true(changed > 50);
	sl_posterior_close(fit(&rows, "nearest", &at, "2", &report));
	json_decref(report);
	read_version(&at, "1", &first);
	read_version(&at, "2", &second);
	assert_true(sl_bytes_equal(sl_buf_bytes(&first), sl_buf_bytes(&second)));
	sl_buf_release(&first);
	sl_buf_release(&second);
	sl_evidence_release(&rows);
	folder_end(&at);
}

/* Odd rows are rows: nothing absent, infinite or unnamed breaks a fit. */
static void odd_rows(void **state)
{
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct sl_witnesses w;
	struct folder at;
	json_t *report;

	(void)state;
	folder_begin(&at);
	p = fit(&rows, NULL, &at, "none", &report);
	json_decref(report);
	sl_posterior_close(p);
	for (size_t i = 0; i < 300; i++) {
		static const char *const names[] = { NULL, "", "a\"b", "\xff\xfe", "sigma" };
		const char *name = names[i % 5];
		struct sl_evidence_row row = {
			.group = sl_hash128(&i, sizeof i),
			.domain = i % 7 == 0 ? (struct sl_bytes){ "nul\0here", 8 } : sl_text(name),
			.gold = i % 11 == 0   ? INFINITY
				: i % 13 == 0 ? NAN
				: i % 2       ? 1
					      : -1,
			.best = NAN,
			.judge = i % 3 == 0   ? NAN
				 : i % 3 == 1 ? 0
					      : 1,
			.length = NAN,
			.audited = true,
			.arrived_right = true, /* all of them */
		};

		sl_evidence_add(&rows, &row);
	}
	p = fit(&rows, "nearest", &at, "1", &report);
	w = witnesses("sigma", 1, NAN, NAN);
	assert_true(sl_posterior_p(p, &w) > 0.9);
	w = witnesses("sigma", -INFINITY, NAN, INFINITY);
	w.length = NAN;
	assert_true(sl_posterior_p(p, &w) >= 0 && sl_posterior_p(p, &w) <= 1);
	json_decref(report);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "line" },
		{ "[]", "format" },
		{ "{\"format\": 4}", "format" },
		{ "{\"format\": 2}", "lapse" },
		{ "{\"format\": 2, \"lapse\": 0.5}", "lapse" },
		{ "{\"format\": 1, \"judge\": {\"name\": 3}}", "judge.name" },
		{ "{\"format\": 1, \"judge\": {\"name\": null, \"accuracy\": 1}}", "judge.accuracy" },
		{ "{\"format\": 1, \"judge\": {\"name\": null, \"accuracy\": 0.5}, \"flip_low\": -1}", "flip_low" },
#define HEAD "{\"format\": 1, \"judge\": {\"name\": null, \"accuracy\": 0.5}, \"flip_low\": 0, "
#define DOMAIN(name) "{\"name\": " name ", \"blind\": false, \"judge_accuracy\": 0.5, \"judge_speaks\": false}"
		{ HEAD "\"domains\": 3}", "domains" },
		{ HEAD "\"domains\": [{\"name\": \"a\", \"blind\": 0}]}", "domain 1: 'blind'" },
		{ HEAD "\"domains\": [" DOMAIN("\"b\"") "," DOMAIN("\"a\"") "]}", "domain 2: names must be in order" },
		{ HEAD "\"domains\": []}", "fits" },
#define HEAD_3 "{\"format\": 3, \"lapse\": 0, \"judge\": {\"name\": \"llm\", \"accuracy\": 0.5, \"speaks\": "
		{ HEAD_3 "1}}", "judge.speaks" },
		{ HEAD_3 "true}, \"flip_low\": 0, \"domains\": []}", "'judges' must be a list" },
		{ HEAD_3 "true}, \"flip_low\": 0, \"domains\": [], \"judges\": [{\"name\": 3}]}", "judge 1: 'name'" },
		{ HEAD_3 "true}, \"flip_low\": 0, \"domains\": [], \"judges\": [{\"name\": \"a\", \"accuracy\": 1}]}",
		  "judge 1: 'accuracy'" },
		{ HEAD_3
		  "true}, \"flip_low\": 0, \"domains\": [" DOMAIN("\"b\"") "], \"judges\": [{\"name\": "
									   "\"a\", \"accuracy\": 0.5, \"own\": []}]}",
		  "judge 1: 'own' has 0 domains, expected 1" },
		{ HEAD_3 "true}, \"flip_low\": 0, \"domains\": [" DOMAIN(
			  "\"b\"") "], \"judges\": [{\"name\": "
				   "\"a\", \"accuracy\": 0.5, \"own\": [\"x\"]}]}",
		  "judge 1: 'own'" },
		{ HEAD "\"domains\": [], \"fits\": [{}]}", "fit 1: 'witnesses'" },
		{ HEAD "\"domains\": [], \"fits\": [{\"witnesses\": [\"gold\", \"oracle\"]}]}", "witnesses" },
		{ HEAD "\"domains\": [], \"fits\": [{\"witnesses\": [\"gold\"], \"all\": [1]}]}",
		  "1 weights, expected 5" },
		{ HEAD "\"domains\": [], \"fits\": [{\"witnesses\": [\"gold\"], \"all\": [1, 2, 3, 4, 1e9]}]}",
		  "weight" },
		{ HEAD "\"domains\": [" DOMAIN(
			  "\"a\"") "], \"fits\": [{\"witnesses\": [\"gold\"], \"all\": [1, 2, 3, 4, 5]}]}",
		  "'own' has 0 domains, expected 1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_error e = { 0 };
		struct sl_posterior *p;

		assert_false(sl_posterior_parse(sl_text(cases[i].text), &p, &e));
		assert_null(p);
		assert_int_equal(e.verdict, SL_STOP);
		if (!strstr(e.text, cases[i].says))
			fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
	}
}

/* What the file says about lapses holds; a file from before they were known is read as it was meant. */
static void lapses_of_a_file(void **state)
{
	static const struct {
		const char *head;
		double gold, logit;
	} cases[] = {
		{ "\"format\": 1", 3, 0.5 + 2 * 3 },
		{ "\"format\": 1", -40, 0.5 - 2 * 30 },
		{ "\"format\": 2, \"lapse\": 0", 3, 0.5 + 2 * 3 },
		{ "\"format\": 2, \"lapse\": 0.2", 0, 0.5 },
		{ "\"format\": 2, \"lapse\": 0.2", 1.0986122886681098, 0.5 + 2 * 0.6190392084062235 }, /* 0.65 */
		{ "\"format\": 2, \"lapse\": 0.2", INFINITY, 0.5 + 2 * 1.3862943611198906 },           /* 0.8 */
		{ "\"format\": 2, \"lapse\": 0.2", -1e9, 0.5 - 2 * 1.3862943611198906 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_witnesses w = witnesses("some", cases[i].gold, NAN, NAN);
		struct sl_error e = { 0 };
		struct sl_posterior *p;
		char text[400];

		w.length = NAN;
		snprintf(text, sizeof text,
			 "{%s, \"judge\": {\"name\": null, \"accuracy\": 0.5}, \"flip_low\": 0, \"domains\": [], "
			 "\"fits\": "
			 "[{\"witnesses\": [\"gold\"], \"all\": [0.5, 2, 0, 0, 0], \"own\": []}]}",
			 cases[i].head);
		if (!sl_posterior_parse(sl_text(text), &p, &e))
			fail_msg("%s", e.text);
		assert_float_equal(sl_posterior_p(p, &w), sl_sigmoid(cases[i].logit), 1e-12);
		sl_posterior_close(p);
	}
}

/* Pairs where the human agrees with a margin as often as a model with such lapses says; labels are 30 % wrong. */
static void plant_lapses(struct sl_evidence_rows *rows, double lapse, size_t count, uint64_t *random)
{
	for (size_t i = 0; i < count; i++) {
		double margin = 8 * chance(random) * chance(random),
		       sure = lapse + (1 - 2 * lapse) * sl_sigmoid(margin);
		struct sl_evidence_row row = { 0 };
		char prompt[64];

		snprintf(prompt, sizeof prompt, "lapses %zu", rows->count);
		row.group = sl_hash128(prompt, strlen(prompt));
		row.domain = sl_text("some");
		row.gold = chance(random) < sure ? margin : -margin;
		row.best = row.judge = row.confidence = row.length = NAN;
		row.audited = true;
		row.arrived_right = chance(random) >= 0.3;
		sl_evidence_add(rows, &row);
	}
}

/* The promise: of what is kept, as much is right as P says, however often people differ from the surest margins. */
static void keeps_its_promise(void **state)
{
	static const double lapses[] = { 0, 0.1, 0.2, 0.3 }, keeps[] = { 0.8, 0.85, 0.9 };

	(void)state;
	for (size_t l = 0; l < sizeof lapses / sizeof lapses[0]; l++) {
		struct sl_evidence_rows rows = { 0 }, stream = { 0 };
		uint64_t random = 50 + l;
		struct sl_posterior *p;
		struct folder at;
		json_t *report;

		folder_begin(&at);
		plant_lapses(&rows, lapses[l], 4000, &random);
		plant_lapses(&stream, lapses[l], 20000, &random);
		p = fit(&rows, NULL, &at, "1", &report);
		for (size_t k = 0; k < sizeof keeps / sizeof keeps[0]; k++) {
			double expected = 0, right = 0, count = 0;

			for (size_t i = 0; i < stream.count; i++) {
				const struct sl_evidence_row *r = &stream.at[i];
				struct sl_witnesses w =
					witnesses("some", r->arrived_right ? r->gold : -r->gold, NAN, NAN);
				double promised;

				w.length = NAN;
				promised = sl_posterior_p(p, &w);
				if (promised < keeps[k])
					continue;
				expected += promised;
				right += r->arrived_right;
				count++;
			}
			if (count > 0 && !(fabs(right - expected) <= 0.02 * count))
				fail_msg("lapse %g, keep %g: %.4f promised, %.4f right of %g", lapses[l], keeps[k],
					 expected / count, right / count, count);
		}
		json_decref(report);
		sl_posterior_close(p);
		sl_evidence_release(&rows);
		sl_evidence_release(&stream);
		folder_end(&at);
	}
}

static void folders(void **state)
{
	const struct planted planted = { "some", 200, 0.7, 0, 0, 0.3, 1 };
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior_options o;
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };
	struct folder at;
	char path[256];
	json_t *json;

	(void)state;
	folder_begin(&at);
	plant(&rows, &planted, 1);
	assert_null(sl_posterior_open(folder_path(&at, "1"), (struct sl_bytes){ 0 }, &e));
	assert_int_equal(e.verdict, SL_WAIT);
	sl_posterior_close(fit(&rows, NULL, &at, "1", &json));
	json_decref(json);
	assert_null(sl_posterior_open(folder_path(&at, "1"), sl_text(zeros), &e));
	assert_int_equal(e.verdict, SL_WAIT);
	assert_null(sl_model_open(folder_path(&at, "1"), (struct sl_bytes){ 0 }, &e));
	assert_int_equal(e.verdict, SL_STOP);

	sl_posterior_options_default(&o);
	assert_false(sl_posterior_fit(&o, &rows, NULL, folder_path(&at, "1"), NULL, &report, &e));
	assert_non_null(strstr(e.text, "exists already"));
	assert_false(sl_posterior_fit(&o, &rows, NULL, folder_path(&at, "2"), "3", &report, &e));
	o.keep = 0.5;
	assert_false(sl_posterior_fit(&o, &rows, NULL, folder_path(&at, "2"), NULL, &report, &e));
	assert_non_null(strstr(e.text, "keep is 0.5"));

	snprintf(path, sizeof path, "%s/posterior.json", folder_path(&at, "1"));
	assert_true(sl_file_replace(path, sl_text("{}"), &e));
	assert_null(sl_posterior_open(folder_path(&at, "1"), (struct sl_bytes){ 0 }, &e));
	assert_int_equal(e.verdict, SL_WAIT); /* not what config.json says */
	assert_null(sl_posterior_open(folder_path(&at, "1"),
				      sl_text("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"), &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "posterior.json"));
	sl_buf_release(&report);
	sl_evidence_release(&rows);
	folder_end(&at);
}

/* The fit is a minimum: from there, every step in any direction goes up. */
static void logistic_is_at_its_minimum(void **state)
{
	enum { COUNT = 400, DOMAINS = 3, NUMBERS = SL_LOGISTIC_COLUMNS * (1 + DOMAINS) };
	struct sl_logistic_options o = {
		.l2_all = 2, .l2_domain = 5, .centre = { 0, 1 }, .domain_count = DOMAINS, .without_fold = 4
	};
	struct sl_logistic_row rows[COUNT];
	double weights[NUMBERS] = { 0 }, again[NUMBERS];
	uint64_t random = 5;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		rows[i] = (struct sl_logistic_row){ .x = { 1, 3 * chance(&random) - 1, chance(&random), 0,
							   chance(&random) < 0.5 ? 1 : -1 },
						    .weight = chance(&random) + 0.1,
						    .domain = i % 4 == 3 ? SL_LOGISTIC_NO_DOMAIN : (uint32_t)(i % 4),
						    .fold = (uint32_t)(i % 5) };
		rows[i].right = chance(&random) < sl_sigmoid(rows[i].x[1] + 0.5 * (double)(i % 4));
	}
	sl_logistic_fit(&o, rows, COUNT, weights);
	for (size_t n = 0; n < NUMBERS; n++) {
		for (int side = -1; side <= 1; side += 2) {
			memcpy(again, weights, sizeof again);
			again[n] += side * 1e-3;
			assert_true(sl_logistic_objective(&o, rows, COUNT, again) >
				    sl_logistic_objective(&o, rows, COUNT, weights));
		}
	}
	/* It does not depend on where the search began. */
	for (size_t n = 0; n < NUMBERS; n++)
		again[n] = chance(&random) * 4 - 2;
	sl_logistic_fit(&o, rows, COUNT, again);
	for (size_t n = 0; n < NUMBERS; n++)
		assert_float_equal(again[n], weights[n], 1e-6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_planted),
		cmocka_unit_test(domains_have_their_own),
		cmocka_unit_test(noise_is_blind),
		cmocka_unit_test(without_weights_a_formula),
		cmocka_unit_test(same_rows_same_bytes),
		cmocka_unit_test(odd_rows),
		cmocka_unit_test(refuses),
		cmocka_unit_test(lapses_of_a_file),
		cmocka_unit_test(keeps_its_promise),
		cmocka_unit_test(folders),
		cmocka_unit_test(logistic_is_at_its_minimum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
