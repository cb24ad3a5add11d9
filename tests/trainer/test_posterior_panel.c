/* test_posterior_panel.c -- a panel of LLM judges as a witness of the posterior: few gold pairs were put to it, its
 * accuracy is declared until it is measured, and it may see what the gold model sees. The truth is planted. */
#include "../../schemas/pair.h"
#include "../../trainer/posterior_fit.h"
#include "synthetic.h"

#include <jansson.h>
#include <math.h>

#define PANEL "llm"
#define DECLARED 0.75
#define NOISE 0.3
#define GOLD 0.75

static double chance(uint64_t *random)
{
	return (double)(sl_mix64(*random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

static double sign(bool yes)
{
	return yes ? 1 : -1;
}

/* What the panel is. */
struct panel {
	const char *domain;
	double accuracy; /* where it does not repeat gold */
	double repeats;  /* share of pairs where it says what gold says */
	double probed;   /* share of pairs that were put to it */
};

static struct sl_evidence_row make_row(const struct panel *panel, size_t number, uint64_t *random)
{
	bool right = chance(random) < GOLD;
	double judge = sign(chance(random) < panel->repeats ? right : chance(random) < panel->accuracy);
	char prompt[64];

	snprintf(prompt, sizeof prompt, "%s %zu %llu", panel->domain, number / 2, (unsigned long long)*random);
	return (struct sl_evidence_row){
		.group = sl_hash128(prompt, strlen(prompt)),
		.domain = sl_text(panel->domain),
		.gold = sign(right) * log(GOLD / (1 - GOLD)) * (0.5 + chance(random)),
		.best = NAN,
		.judge = chance(random) < panel->probed ? judge : NAN,
		.confidence = NAN,
		.length = sign(chance(random) < 0.5),
		.audited = true,
		.arrived_right = chance(random) >= NOISE,
	};
}

static void plant(struct sl_evidence_rows *rows, const struct panel *panel, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++) {
		struct sl_evidence_row row = make_row(panel, i, &seed);

		sl_evidence_add(rows, &row);
	}
}

static struct sl_posterior *fit_as(const struct sl_evidence_rows *rows, double declared, const struct folder *at,
				   const char *name)
{
	struct sl_posterior_options o;
	struct sl_error e = { 0 };
	struct sl_buf text = { 0 };
	struct sl_posterior *p;

	sl_posterior_options_default(&o);
	o.judge_accuracy = declared;
	if (!sl_posterior_fit(&o, rows, PANEL, folder_path(at, name), NULL, &text, &e))
		fail_msg("%s", e.text);
	p = sl_posterior_open(folder_path(at, name), (struct sl_bytes){ 0 }, &e);
	if (!p)
		fail_msg("%s", e.text);
	sl_buf_release(&text);
	return p;
}

static struct sl_posterior *fit(const struct sl_evidence_rows *rows, const struct folder *at, const char *name)
{
	return fit_as(rows, DECLARED, at, name);
}

static double accuracy(const struct sl_posterior *p, const char *domain)
{
	return sl_posterior_judge_accuracy(p, sl_text(PANEL), sl_text(domain));
}

static bool speaks(const struct sl_posterior *p, const char *domain)
{
	return sl_posterior_judge_speaks(p, sl_text(PANEL), sl_text(domain));
}

/* Rows of one domain in the order of `verdicts`: 'y' agrees with the human, 'n' not, 't' abstains, '-' not asked. None
 * is of split report. */
static void say(struct sl_evidence_rows *rows, const char *domain, const char *verdicts)
{
	uint64_t random = 7;
	size_t number = 0;

	for (; *verdicts; verdicts++) {
		const struct panel panel = { .domain = domain };
		struct sl_evidence_row row;

		do
			row = make_row(&panel, number++, &random);
		while (sl_split_of(row.group) == SL_SPLIT_REPORT);
		row.judge = *verdicts == 'y' ? 1 : *verdicts == 'n' ? -1 : *verdicts == 't' ? 0 : NAN;
		sl_evidence_add(rows, &row);
	}
}

/* Five probes make it neither a coin nor sure. */
static void few_probes(void **state)
{
	static const struct {
		const char *name, *here, *elsewhere;
		double all, own; /* (right + 10 * 0.75) / (given + 10); (right + 20 * all) / (given + 20) */
		bool known, speaks;
	} cases[] = {
		{ "nobody asked", "--------------------", "--------------------", 0.5, 0.5, false, false },
		{ "five right", "yyyyy---------------", "--------------------", 12.5 / 15, (5 + 20 * 12.5 / 15) / 25,
		  true, true },
		{ "five wrong", "nnnnn---------------", "--------------------", 7.5 / 15, (20 * 7.5 / 15) / 25, true,
		  true },
		{ "ties say nothing", "ttttt---------------", "--------------------", 0.75, 0.75, true, true },
		{ "only elsewhere", "--------------------", "yyyyyyyyyynnnnn-----", 17.5 / 25, 17.5 / 25, true, true },
		{ "a coin elsewhere", "--------------------", "ynynynynynynynynynynynynynynynynynynynyn", 27.5 / 50,
		  27.5 / 50, true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_evidence_rows rows = { 0 };
		struct sl_posterior *p;
		struct folder at;

		folder_begin(&at);
		say(&rows, "here", cases[i].here);
		say(&rows, "elsewhere", cases[i].elsewhere);
		p = fit(&rows, &at, "1");
		if (sl_posterior_judge_known(p, sl_text(PANEL), sl_text("here")) != cases[i].known ||
		    fabs(accuracy(p, "here") - cases[i].own) > 1e-9 ||
		    fabs(accuracy(p, "never seen") - cases[i].all) > 1e-9 || speaks(p, "here") != cases[i].speaks ||
		    speaks(p, "never seen") != cases[i].speaks)
			fail_msg("%s: accuracy %.4f and %.4f, speaks %d and %d", cases[i].name, accuracy(p, "here"),
				 accuracy(p, "never seen"), speaks(p, "here"), speaks(p, "never seen"));
		sl_posterior_close(p);
		sl_evidence_release(&rows);
		folder_end(&at);
	}
}

/* Found to be no better than a coin in one domain, it is silent there, and speaks elsewhere. */
static void silent_where_it_is_a_coin(void **state)
{
	const struct panel good = { "good", 0.85, 0, 1 }, coin = { "coin", 0.5, 0, 1 };
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct folder at;

	(void)state;
	folder_begin(&at);
	plant(&rows, &good, 400, 1);
	plant(&rows, &coin, 400, 2);
	p = fit(&rows, &at, "1");
	assert_true(speaks(p, "good"));
	assert_false(speaks(p, "coin"));
	assert_true(speaks(p, "never seen"));
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

/* A domain where gold is a coin: decided unless the panel was found to be no better. */
static void lifts_blindness(void **state)
{
	static const struct {
		const char *name;
		double declared;
		struct panel here, elsewhere;
		bool blind;
	} cases[] = {
		{ "no panel", NAN, { "dark", 0.9, 0, 0 }, { "light", 0.9, 0, 0 }, true },
		{ "not measured", DECLARED, { "dark", 0.9, 0, 0 }, { "light", 0.9, 0, 0 }, false },
		{ "good elsewhere", DECLARED, { "dark", 0.9, 0, 0 }, { "light", 0.9, 0, 1 }, false },
		{ "a coin elsewhere", DECLARED, { "dark", 0.9, 0, 0 }, { "light", 0.5, 0, 1 }, true },
		{ "good here", DECLARED, { "dark", 0.9, 0, 1 }, { "light", 0.5, 0, 0 }, false },
		{ "a coin here", DECLARED, { "dark", 0.5, 0, 1 }, { "light", 0.9, 0, 1 }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_evidence_rows rows = { 0 };
		struct sl_posterior *p;
		struct folder at;
		uint64_t random = 4;

		folder_begin(&at);
		plant(&rows, &cases[i].here, 600, 1);
		for (size_t k = 0; k < rows.count; k++)
			rows.at[k].gold *= sign(chance(&random) < 0.5);
		plant(&rows, &cases[i].elsewhere, 600, 2);
		p = fit_as(&rows, cases[i].declared, &at, "1");
		if (sl_posterior_blind(p, sl_text("dark")) != cases[i].blind)
			fail_msg("%s", cases[i].name);
		assert_false(sl_posterior_blind(p, sl_text("light")));
		sl_posterior_close(p);
		sl_evidence_release(&rows);
		folder_end(&at);
	}
}

/* On pairs of which the posterior has seen none. */
struct promise {
	double loss, silent_loss; /* mean log-loss with the judge and without */
	double off;               /* mean P - share that is right */
	double error;             /* expected calibration error: the mean over bins of P of how far they are off */
};

static struct promise keep_promise(const struct sl_posterior *p, const struct panel *panel)
{
	enum { BINS = 5, COUNT = 60000 };
	struct {
		double expected, right;
	} bins[BINS] = { 0 };
	struct panel asked = *panel;
	struct promise to = { 0 };
	uint64_t random = 99;

	asked.probed = 1;
	for (size_t i = 0; i < COUNT; i++) {
		struct sl_evidence_row row = make_row(&asked, i, &random);
		double odds = log(1 / (1 / accuracy(p, panel->domain) - 1)), to_label = sign(row.arrived_right), said;
		struct sl_witnesses w = { .domain = row.domain,
					  .gold = to_label * row.gold,
					  .best = NAN,
					  .judge = to_label * row.judge * odds,
					  .length = to_label * row.length,
					  .label_noise = NOISE };
		size_t bin;

		said = sl_posterior_p(p, &w);
		to.loss -= log(row.arrived_right ? said : 1 - said) / COUNT;
		to.off += (said - row.arrived_right) / COUNT;
		bin = said < 1 ? (size_t)(said * BINS) : BINS - 1;
		bins[bin].expected += said;
		bins[bin].right += row.arrived_right;
		w.judge = NAN;
		said = sl_posterior_p(p, &w);
		to.silent_loss -= log(row.arrived_right ? said : 1 - said) / COUNT;
	}
	for (size_t i = 0; i < BINS; i++)
		to.error += fabs(bins[i].expected - bins[i].right) / COUNT;
	return to;
}

/* However many probes there are, P with the judge is worth more than P without, and keeps its promise. */
static void keeps_its_promise(void **state)
{
	static const struct {
		const char *name;
		struct panel panel;
		double gain;
	} cases[] = {
		{ "2 % probed", { "some", 0.85, 0, 0.02 }, 0.05 },
		{ "10 % probed", { "some", 0.85, 0, 0.1 }, 0.05 },
		{ "all probed", { "some", 0.85, 0, 1 }, 0.05 },
		{ "it half repeats gold", { "some", 0.8, 0.5, 0.1 }, 0.01 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_evidence_rows rows = { 0 };
		struct sl_posterior *p;
		struct promise got;
		struct folder at;

		folder_begin(&at);
		plant(&rows, &cases[i].panel, 4000, 11);
		p = fit(&rows, &at, "1");
		got = keep_promise(p, &cases[i].panel);
		print_message("%-20s log-loss %.3f, without %.3f; off by %+.3f, calibration error %.3f\n",
			      cases[i].name, got.loss, got.silent_loss, got.off, got.error);
		if (got.loss > got.silent_loss - cases[i].gain || fabs(got.off) > 0.02 || got.error > 0.02)
			fail_msg("%s", cases[i].name);
		sl_posterior_close(p);
		sl_evidence_release(&rows);
		folder_end(&at);
	}
}

/* Every judge of a panel by its name, whatever the panel made of it. */
static void single_judges(void **state)
{
	const struct sl_evidence_opinion both[] = { { sl_text("b/two"), 1 }, { sl_text("a/one"), -1 } };
	const struct sl_evidence_opinion odd[] = { { sl_text("a/one"), 1 },
						   { { "\xff", 1 }, 1 },
						   { sl_text("b/two"), 0 } };
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior *p;
	struct folder at;

	(void)state;
	folder_begin(&at);
	say(&rows, "here", "yyyyyyyyyyyyyyyyyyyy");
	say(&rows, "elsewhere", "nnnnnnnnnnnnnnnnnnnn");
	for (size_t i = 0; i < 40; i++) {
		struct sl_evidence_row row = rows.at[0];

		row.opinions = i < 20 ? both : odd;
		row.opinion_count = i < 20 ? 2 : 3;
		row.domain = sl_text(i % 2 ? "here" : "elsewhere");
		sl_evidence_add(&rows, &row);
	}
	p = fit(&rows, &at, "1");
	assert_true(sl_posterior_judge_known(p, sl_text("a/one"), sl_text("here")));
	assert_false(sl_posterior_judge_known(p, sl_text("\xff"), sl_text("here")));
	assert_false(sl_posterior_judge_known(p, sl_text("c/three"), sl_text("here")));
	assert_false(sl_posterior_judge_speaks(p, sl_text("a/one"), sl_text("here")));
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("a/one"), sl_text("never seen")), 27.5 / 50, 1e-9);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("b/two"), sl_text("never seen")), 27.5 / 30, 1e-9);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("a/one"), sl_text("here")),
			   (10 + 20 * 27.5 / 50) / 40, 1e-9);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("c/three"), sl_text("here")), 0.5, 0);
	sl_posterior_close(p);
	sl_evidence_release(&rows);
	folder_end(&at);
}

/* What a group's own pairs say of the judge is not used for them: a prompt where it was wrong a hundred times is heard
 * as the others make it. */
static void without_its_own_group(void **state)
{
	struct sl_evidence_rows rows = { 0 };
	struct sl_fitting f = { 0 };
	struct sl_posterior_options o;

	(void)state;
	sl_posterior_options_default(&o);
	o.judge_accuracy = DECLARED;
	say(&rows, "some", "yyyyyyyyyynn");
	for (size_t i = 0; i < 100; i++) {
		struct sl_evidence_row row = rows.at[0];

		row.judge = -1;
		row.domain = sl_text("some");
		sl_evidence_add(&rows, &row);
	}
	f.o = &o;
	f.rows = sl_calloc(rows.count, sizeof *f.rows);
	f.count = rows.count;
	f.p.judge_speaks = true;
	for (size_t i = 0, n = 0; i < rows.count; i++) /* sorted by group: that of the hundred first */
		if (sl_id_equal(rows.at[i].group, rows.at[0].group))
			f.rows[n++] = (struct sl_fit_row){ .row = &rows.at[i], .domain = SL_LOGISTIC_NO_DOMAIN };
		else
			f.rows[rows.count - ++f.audited] =
				(struct sl_fit_row){ .row = &rows.at[i], .domain = SL_LOGISTIC_NO_DOMAIN };
	sl_fit_judge(&f);
	assert_true(f.rows[1].judge == -f.rows[0].judge);
	assert_true(fabs(f.rows[1].judge) > 0.8);            /* the others: right in 8 to 9 of 10 to 11 */
	assert_true(fabs(f.rows[rows.count - 1].judge) > 1); /* with the hundred: against itself */
	free(f.rows);
	sl_arena_release(&f.p.arena);
	sl_evidence_release(&rows);
}

static void declared_accuracy(void **state)
{
	static const double bad[] = { 0.4, 1, INFINITY };
	struct sl_evidence_rows rows = { 0 };
	struct folder at;

	(void)state;
	folder_begin(&at);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct sl_posterior_options o;
		struct sl_buf report = { 0 };
		struct sl_error e = { 0 };

		sl_posterior_options_default(&o);
		o.judge_accuracy = bad[i];
		assert_false(sl_posterior_fit(&o, &rows, PANEL, folder_path(&at, "1"), NULL, &report, &e));
		assert_non_null(strstr(e.text, "judge_accuracy is"));
	}
	folder_end(&at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_probes),        cmocka_unit_test(silent_where_it_is_a_coin),
		cmocka_unit_test(lifts_blindness),   cmocka_unit_test(keeps_its_promise),
		cmocka_unit_test(single_judges),     cmocka_unit_test(without_its_own_group),
		cmocka_unit_test(declared_accuracy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
