/* annotate: whom it asks, what `nearest` answers, what goes to silver. */
#include "make_posterior.h"

/* embed is there because a table needs a writer; retrieve finds the examples. */
static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, dim: 64 }\n"
	"  - { name: retrieve, from: pairs.embedded, to: { retrieved: pairs.retrieved },\n"
	"      tables: { gold: pairs.gold, models: models }, rule: paper }\n"
	"  - { name: annotate, from: pairs.retrieved, to: { judged: pairs.judged, silver: pairs.silver,\n"
	"      probed: pairs.probed, deferred: pairs.deferred },\n"
	"      tables: { gold: pairs.gold, models: models }, rule: paper }\n"
	"trainers: [ { name: gold, from: pairs.gold, min_pairs: 1000000 } ]\n";

/* Among these gold pairs "polite thanks" beats "rude noise". */
static bool feed_gold(struct sl_trial *t, struct sl_arena *a)
{
	bool done = true;

	for (int i = 0; i < 6; i++) {
		const char *stem = sl_arena_print(a, "letter to neighbour %d", i);
		bool as_given = i % 2;
		struct sl_pair p = as_given ? make_pair_in(a, SL_SPLIT_TRAIN, stem, "polite thanks", "rude noise")
					    : make_pair_in(a, SL_SPLIT_TRAIN, stem, "rude noise", "polite thanks");

		done = done && make_gold(t, a, p, as_given ? "chosen" : "rejected", 64);
	}
	return done;
}

struct row {
	const char *prompt, *chosen, *rejected;
	double p_gold, p_best;
	const char *code; /* on judged; chosen and rejected go to silver too */
};

static const struct row rows[] = {
	{ "letter to neighbour a", "polite thanks indeed", "rude noise again", 0.8, 0.3, "chosen" },
	{ "letter to neighbour b", "rude noise", "polite thanks", 0.8, 0.3, "rejected" },
	{ "letter to neighbour c", "rude noise", "polite thanks", 0.8, NAN, "rejected" },
	{ "letter to neighbour d", "green trees", "blue sky", 0.8, 0.3, "abstained" },
	{ "letter to neighbour e", "polite thanks", "rude noise", 0.8, 0.9, "not_asked" },
	{ "letter to neighbour f", "polite thanks", "rude noise", 0.2, 0.1, "not_asked" },
	{ "letter to neighbour g", "polite thanks", "rude noise", NAN, NAN, "chosen" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static struct sl_pair make_row(struct sl_arena *a, size_t i)
{
	struct sl_pair p = sl_trial_pair(a, rows[i].prompt, rows[i].chosen, rows[i].rejected);

	make_scores(a, &p, rows[i].p_gold, rows[i].p_best);
	p.origin = sl_text("human");
	return p;
}

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[ROWS];
	bool done = feed_gold(t, &a);

	(void)arg;
	for (size_t i = 0; i < ROWS; i++)
		pairs[i] = make_row(&a, i);
	done = done && sl_trial_feed(t, "pairs.unique", pairs, ROWS);
	sl_arena_release(&a);
	return done;
}

static void check_silver(const struct sl_pair *silver, const struct row *row)
{
	bool swapped = strcmp(row->code, "rejected") == 0;

	assert_non_null(silver);
	assert_true(sl_is(silver->origin, "annotator"));
	assert_int_equal(silver->label_flipped, swapped);
	assert_true(sl_is(silver->chosen.at[0].content, swapped ? row->rejected : row->chosen));
	assert_true(sl_is(silver->judgement.verdict, "chosen"));
	assert_true(sl_is(silver->judgement.votes[0].verdict, "chosen"));
}

static void check_rows(const char *const *sets, size_t set_count)
{
	struct sl_trial *t = sl_trial_new(yaml, sets, set_count);
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;
	size_t silver = 0;

	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.judged", &a, &pairs), ROWS);
	for (size_t i = 0; i < ROWS; i++) {
		const struct sl_pair *p = &pairs[i];
		const struct sl_judgement *j = &p->judgement;
		bool asked = strcmp(rows[i].code, "not_asked") != 0;
		bool answered = asked && strcmp(rows[i].code, "abstained") != 0;

		if (!has_code(p, rows[i].code))
			fail_msg("row %zu: %.*s, expected %s", i, (int)p->trail[p->trail_count - 1].reason.size,
				 (const char *)p->trail[p->trail_count - 1].reason.data, rows[i].code);
		assert_true(j->present);
		assert_int_equal(j->asked, asked);
		assert_int_equal(j->vote_count, asked);
		assert_int_equal(p->exemplar_count > 0, asked);
		assert_true(sl_is(p->chosen.at[0].content, rows[i].chosen)); /* judged is as it arrived */
		assert_true(sl_is(p->origin, "human"));
		if (answered) {
			assert_true(sl_is(j->verdict, rows[i].code));
			assert_true(j->votes[0].confidence > 0.5 && j->votes[0].confidence <= 1);
			assert_true(sl_is(j->votes[0].judge, "nearest"));
			check_silver(find_pair(t, "pairs.silver", p->id, &a), &rows[i]);
			silver++;
		} else {
			assert_null(j->verdict.data);
		}
	}
	assert_int_equal(sl_trial_read(t, "pairs.silver", &a, &pairs), silver);
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* With every step a task of its own, and with all three in one. */
static void test_rows(void **unused)
{
	static const char *const sets[] = { "inline=pairs.embedded,pairs.retrieved", "embed.batch_max=3" };

	(void)unused;
	check_rows(NULL, 0);
	check_rows(sets, 2);
}

/* The judge changes his mind with the gold table, also in the middle of a run. */
static void test_changed_gold(void **unused)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair gold = make_pair_in(&a, SL_SPLIT_TRAIN, "letter to neighbour", "polite thanks", "rude noise");
	struct sl_record gone = { .key = sl_id_bytes(&gold.id) };
	static const char *const verdicts[] = { "chosen", "rejected", "tie", "chosen", NULL };
	static const char *const codes[] = { "chosen", "rejected", "abstained", "chosen", "abstained" };

	(void)unused;
	for (int i = 0; i < 5; i++) {
		struct sl_pair p = sl_trial_pair(&a, sl_arena_print(&a, "letter to neighbour number %d", i),
						 "polite thanks", "rude noise");

		make_scores(&a, &p, 0.8, 0.3);
		if (verdicts[i])
			assert_true(make_gold(t, &a, gold, verdicts[i], 64));
		else
			assert_true(sl_trial_feed_record(t, "pairs.gold", &gone));
		assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		assert_true(has_code(find_pair(t, "pairs.judged", p.id, &a), codes[i]));
	}
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_threshold(void **unused)
{
	static const char *const sets[] = { "annotate.threshold=0.99" };
	struct sl_trial *t = sl_trial_new(yaml, sets, 1);
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;

	(void)unused;
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.judged", &a, &pairs), ROWS);
	assert_true(has_code(&pairs[0], "abstained"));
	assert_true(has_code(&pairs[1], "rejected")); /* the very words: a vote of 1 */
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* With a posterior: asked only where the judge knows something and an answer would cross a threshold; his confidence is
 * what gold says of him; where he is a coin he has no opinion, whoever asks. */
static void test_posterior(void **unused)
{
	static const struct {
		const char *rule, *domain;
		double p_gold;
		int64_t version; /* announced before */
		const char *code;
	} cases[] = {
		{ "posterior", "clear", 0.6, 1, "chosen" },      { "posterior", "clear", 0.97, 1, "not_asked" },
		{ "posterior", "clear", 0.001, 1, "not_asked" }, { "posterior", "mute", 0.6, 1, "not_asked" },
		{ "posterior", "coin", 0.6, 1, "not_asked" },    { "posterior", "clear", 0.6, 0, "not_asked" },
		{ "posterior", "clear", 0.35, 2, "chosen" },     { "posterior", "clear", NAN, 0, "chosen" },
		{ "paper", "clear", 0.8, 1, "chosen" },          { "paper", "mute", 0.8, 1, "abstained" },
		{ "paper", "mute", 0.8, 0, "chosen" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_arena a = { 0 };
		const char *const sets[] = { sl_arena_print(&a, "annotate.rule=%s", cases[i].rule),
					     sl_arena_print(&a, "retrieve.rule=%s", cases[i].rule) };
		struct sl_trial *t = sl_trial_new(yaml, sets, 2);
		struct sl_pair p = sl_trial_pair(&a, "letter to neighbour", "polite thanks", "rude noise"), *out;
		bool asked = strcmp(cases[i].code, "not_asked") != 0;

		make_scores(&a, &p, cases[i].p_gold, NAN);
		p.domain = sl_text(cases[i].domain);
		assert_true(feed_gold(t, &a));
		assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
		if (strcmp(cases[i].rule, "posterior") == 0) {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
			assert_non_null(strstr(t->error.text, "waiting for model 'posterior'"));
		}
		assert_true(make_announcement(t, "posterior", cases[i].version, posterior_folders[cases[i].version]));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		out = find_pair(t, "pairs.judged", p.id, &a);
		assert_non_null(out);
		if (!has_code(out, cases[i].code))
			fail_msg("case %zu: %.*s, expected %s", i, (int)out->trail[out->trail_count - 1].reason.size,
				 (const char *)out->trail[out->trail_count - 1].reason.data, cases[i].code);
		assert_int_equal(out->exemplar_count > 0, asked); /* retrieve asks the same question */
		if (asked && cases[i].version && strcmp(cases[i].domain, "clear") == 0)
			assert_true(fabs(out->judgement.votes[0].confidence - 0.85) < 0.03);
		if (asked && cases[i].version && strcmp(cases[i].domain, "mute") == 0)
			assert_true(fabs(out->judgement.votes[0].confidence - 0.5) < 0.03);
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

static void test_torture(void **unused)
{
	static const char *const sets[] = { "inline=pairs.embedded,pairs.retrieved" };

	(void)unused;
	for (size_t inlined = 0; inlined < 2; inlined++) {
		struct sl_trial_case c = { .name = "annotate",
					   .yaml = yaml,
					   .sets = sets,
					   .set_count = inlined,
					   .feed = feed,
					   .batch_most = ROWS,
					   .schedules = 5 };
		size_t runs;

		assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
		assert_true(runs > 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),      cmocka_unit_test(test_changed_gold), cmocka_unit_test(test_threshold),
		cmocka_unit_test(test_posterior), cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, make_posteriors, remove_posteriors);
}
