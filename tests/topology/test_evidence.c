/* test_evidence.c -- what the witnesses say about gold pairs: who is asked, and that nobody is asked about what he
 * was told. The proof of the latter: when all pairs of one group change sides, whoever has not seen that group
 * says exactly the opposite about them, and the same as before about everybody it does not reach. */
#include "tests/trainer/synthetic.h"
#include "topology/evidence.h"
#include "with_probes.h"

#include <math.h>

#define COUNT 240
#define DIM 8

static struct synthetic s;
static struct folder f;
static struct sl_model *gold, *best;
static float vectors[COUNT][DIM];

static struct sl_train_options small(void)
{
	struct sl_train_options o;

	sl_train_options_default(&o);
	o.columns_log2 = 12;
	o.epochs = 2;
	return o;
}

static struct sl_model *trained(const char *name, uint64_t seed)
{
	struct sl_train_options o = small();
	struct sl_train_report report;
	struct sl_error e = { 0 };
	struct sl_model *m;
	struct synthetic on;

	synthetic_make(&on, 200, seed, 50);
	synthetic_train(&on, &o, folder_path(&f, name), &report);
	synthetic_release(&on);
	m = sl_model_open(folder_path(&f, name), (struct sl_bytes){ NULL, 0 }, &e);
	if (!m)
		fail_msg("%s", e.text);
	return m;
}

static int set_up(void **state)
{
	(void)state;
	folder_begin(&f);
	synthetic_make(&s, COUNT, 5, 100);
	for (size_t i = 0; i < COUNT; i++) {
		struct sl_pair *p = &s.pairs[i];
		double squares = 0;

		p->gold = (struct sl_gold){ .present = true, .verdict = sl_text("chosen"), .sample = sl_text("given") };
		for (size_t k = 0; k < DIM; k++) {
			vectors[i][k] = (float)synthetic_random(&s, 1000);
			squares += (double)vectors[i][k] * vectors[i][k];
		}
		for (size_t k = 0; k < DIM; k++)
			vectors[i][k] /= (float)sqrt(squares);
		p->vectors.context = (struct sl_bytes){ (const uint8_t *)vectors[i], sizeof vectors[i] };
	}
	gold = trained("gold", 6);
	best = trained("best", 7);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sl_model_close(gold);
	sl_model_close(best);
	synthetic_release(&s);
	folder_end(&f);
	return 0;
}

static struct sl_evidence_sources sources(void)
{
	return (struct sl_evidence_sources){
		.gold = gold, .best = best, .gold_options = small(), .examples = 8, .threshold = 0.0001
	};
}

static void gather(const struct sl_evidence_sources *from, struct sl_evidence_rows *rows)
{
	struct sl_examples examples = synthetic_examples(&s);
	struct sl_error e = { 0 };

	*rows = (struct sl_evidence_rows){ 0 };
	if (!sl_evidence_gather(&examples, from, rows, &e))
		fail_msg("%s", e.text);
}

static double margin_of(const struct sl_model *m, const struct sl_pair *p)
{
	struct sl_reward r;

	sl_model_score(m, p, 1, &r);
	return (r.chosen - r.rejected) / sl_model_temperature(m);
}

/* The next pair that has a row. */
static const struct sl_pair *pair_of(size_t *at)
{
	while (sl_split_of(s.pairs[*at].group) == SL_SPLIT_REPORT)
		++*at;
	assert_true(*at < COUNT);
	return &s.pairs[(*at)++];
}

static void test_rows(void **state)
{
	struct sl_evidence_sources from = sources();
	struct sl_evidence_rows rows;
	size_t at = 0, unlike = 0, spoke = 0, report = 0;

	(void)state;
	gather(&from, &rows);
	for (size_t i = 0; i < COUNT; i++)
		report += sl_split_of(s.pairs[i].group) == SL_SPLIT_REPORT;
	assert_true(report > 0);
	assert_int_equal(rows.count, COUNT - report);
	for (size_t i = 0; i < rows.count; i++) {
		const struct sl_evidence_row *r = &rows.at[i];
		const struct sl_pair *p = pair_of(&at);

		assert_true(sl_id_equal(r->group, p->group));
		assert_true(sl_bytes_equal(r->domain, p->source));
		assert_true(r->best == margin_of(best, p));
		assert_true(r->length == sl_pair_length_sign(p));
		if (sl_split_of(p->group) == SL_SPLIT_SELECT)
			assert_true(r->gold == margin_of(gold, p));
		else
			unlike += isfinite(r->gold) && r->gold != margin_of(gold, p);
		assert_true(r->judge == 1 || r->judge == 0 || r->judge == -1);
		assert_true(r->confidence >= 0.5 && r->confidence <= 1);
		spoke += r->judge != 0;
	}
	assert_true(unlike > rows.count / 2);
	assert_true(spoke > rows.count / 2);
	sl_evidence_release(&rows);
}

static void test_never_its_own_group(void **state)
{
	struct sl_evidence_sources from = sources();
	struct sl_evidence_rows before, after;
	struct sl_id group = { { 0 } };
	size_t at = 0, members = 0;

	(void)state;
	for (size_t i = 0; i < COUNT && members < 2; i++)
		if (sl_split_of(s.pairs[i].group) == SL_SPLIT_TRAIN) {
			group = s.pairs[i].group;
			members = 2; /* synthetic pairs share their prompt in twos */
		}
	gather(&from, &before);
	for (size_t i = 0; i < COUNT; i++)
		if (sl_id_equal(s.pairs[i].group, group))
			s.pairs[i] = synthetic_swapped(&s.pairs[i]);
	gather(&from, &after);
	assert_int_equal(before.count, after.count);
	members = 0;
	for (size_t i = 0; i < before.count; i++) {
		const struct sl_evidence_row *b = &before.at[i], *a = &after.at[i];

		(void)pair_of(&at);
		if (sl_id_equal(b->group, group)) {
			members++;
			assert_true(a->gold == -b->gold);
			assert_true(a->judge == -b->judge);
			assert_true(a->confidence == b->confidence);
		}
		assert_true(a->best == (sl_id_equal(b->group, group) ? -b->best : b->best));
	}
	assert_int_equal(members, 2);
	sl_evidence_release(&before);
	sl_evidence_release(&after);
}

static void test_absent_witnesses(void **state)
{
	static const struct {
		const char *name;
		bool best, judge, vectors;
		size_t examples;
	} cases[] = {
		{ "all", true, true, true, 8 },
		{ "no best", false, true, true, 8 },
		{ "no judge in the topology", true, false, true, 0 },
		{ "no vectors", true, false, false, 8 },
	};

	(void)state;
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		struct sl_evidence_sources from = sources();
		struct sl_evidence_rows rows;

		from.best = cases[c].best ? best : NULL;
		from.examples = cases[c].examples;
		for (size_t i = 0; i < COUNT; i++)
			s.pairs[i].vectors.context.size = cases[c].vectors ? sizeof vectors[i] : 0;
		gather(&from, &rows);
		for (size_t i = 0; i < rows.count; i++)
			if (isnan(rows.at[i].best) == cases[c].best || isnan(rows.at[i].judge) == cases[c].judge ||
			    !isfinite(rows.at[i].gold))
				fail_msg("%s: row %zu", cases[c].name, i);
		sl_evidence_release(&rows);
	}
}

/* A panel is heard about the gold pairs that were put to it, and says what it said of them; its judges too. */
static void test_panel(void **state)
{
	static const struct {
		const char *verdict, *votes[3];
		double judge, one, two; /* NAN: no opinion */
	} cases[] = {
		{ "chosen", { "a/one >yes", "b/two <no", NULL }, 1, 1, -1 },
		{ "rejected", { "a/one >no", "b/two >!refused", NULL }, -1, -1, NAN },
		{ "undecidable", { "b/two >tie", NULL }, 0, NAN, 0 },
		{ NULL, { "a/one >!failed", NULL }, NAN, NAN, NAN },
	};
	struct sl_judge_records *records = sl_judge_records_new();
	struct sl_evidence_sources from = sources();
	struct sl_arena a = { 0 };
	struct sl_evidence_rows rows;
	struct sl_probes probes;
	size_t at = 0;

	(void)state;
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		struct sl_pair p = *pair_of(&at);

		make_probe(&a, &p, 16, "aa", cases[c].verdict, cases[c].votes);
		sl_judge_records_add(records, &p);
	}
	sl_judge_records_newest(records, sl_text("aa"));
	sl_judge_records_copy(records, &probes);
	from.examples = 0;
	from.probes = &probes;
	gather(&from, &rows);
	for (size_t i = 0; i < rows.count; i++) {
		const struct sl_evidence_row *r = &rows.at[i];
		bool probed = i < sizeof cases / sizeof cases[0];
		double expected[] = { probed ? cases[i].one : NAN, probed ? cases[i].two : NAN };
		size_t opinions = 0;

		assert_true(isfinite(r->gold));
		assert_true(isnan(r->confidence));
		if (probed ? !(r->judge == cases[i].judge || (isnan(r->judge) && isnan(cases[i].judge)))
			   : !isnan(r->judge))
			fail_msg("row %zu: judge %g", i, r->judge);
		for (size_t k = 0; k < r->opinion_count; k++) {
			bool one = sl_is(r->opinions[k].judge, "a/one");

			assert_true(one || sl_is(r->opinions[k].judge, "b/two"));
			assert_true(r->opinions[k].verdict == expected[one ? 0 : 1]);
			opinions++;
		}
		assert_int_equal(opinions, !isnan(expected[0]) + !isnan(expected[1]));
	}
	sl_evidence_release(&rows);
	sl_probes_release(&probes);
	sl_judge_records_free(records);
	sl_arena_release(&a);
}

static void test_who_counts(void **state)
{
	static const struct {
		const char *verdict, *sample, *arrived, *meta;
		bool row, audited, right;
		int first;
	} cases[] = {
		{ "chosen", "random", "same", NULL, true, true, true, 0 },
		{ "chosen", "random", "swapped", "{\"preferred_position\": 1}", true, true, false, 1 },
		{ "chosen", "random", NULL, "{\"preferred_position\": 2}", true, false, false, -1 },
		{ "chosen", "error-driven", "same", NULL, true, false, true, 0 },
		{ "chosen", "given", "swapped", NULL, true, false, false, 0 },
		{ "tie", "random", "same", NULL, false, false, false, 0 },
		{ NULL, "random", "same", NULL, false, false, false, 0 },
	};
	struct sl_evidence_sources from = sources();
	struct sl_evidence_rows rows;
	size_t at = 0, row = 0;

	(void)state;
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		struct sl_pair *p;

		(void)pair_of(&at);
		p = &s.pairs[at - 1];
		p->gold.verdict = sl_text(cases[c].verdict);
		p->gold.sample = sl_text(cases[c].sample);
		p->gold.label_arrived = sl_text(cases[c].arrived);
		p->meta = sl_text(cases[c].meta);
		p->domain = sl_text("law");
		assert_int_equal(sl_evidence_audited(p), cases[c].audited);
	}
	gather(&from, &rows);
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		if (!cases[c].row)
			continue;
		assert_true(sl_is(rows.at[row].domain, "law"));
		assert_int_equal(rows.at[row].audited, cases[c].audited);
		assert_int_equal(rows.at[row].arrived_right, cases[c].right);
		assert_int_equal(rows.at[row].first_wins, cases[c].first);
		row++;
	}
	sl_evidence_release(&rows);
}

/* Vectors of different lengths, numbers that are none, one id twice, no pair at all. */
static void test_odd_pairs(void **state)
{
	struct sl_evidence_sources from = sources();
	struct sl_evidence_rows rows;
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 12; i++) {
		struct sl_pair *p;

		(void)pair_of(&at);
		p = &s.pairs[at - 1];
		if (i % 4 == 0)
			p->vectors.context.size = i % 8 ? 3 : 2 * sizeof(float);
		else if (i % 4 == 1)
			vectors[at - 1][3] = i % 8 == 1 ? NAN : INFINITY;
		else if (i % 4 == 2)
			*p = s.pairs[COUNT - 1];
		else
			p->chosen.count = 0;
	}
	s.pairs[0].vectors.context.size = 0;
	gather(&from, &rows);
	sl_evidence_release(&rows);
	from.gold_options.folds = 0; /* no fold is no reason to ask in sample */
	gather(&from, &rows);
	sl_evidence_release(&rows);
	s.count = 0;
	gather(&from, &rows);
	assert_int_equal(rows.count, 0);
	sl_evidence_release(&rows);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rows),       TEST(test_never_its_own_group), TEST(test_absent_witnesses),
		TEST(test_who_counts), TEST(test_odd_pairs),           TEST(test_panel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
