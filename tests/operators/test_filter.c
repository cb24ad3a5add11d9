/* filter: each action on its port, with what it writes into the record. */
#include "make_posterior.h"

static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.judged }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: filter, from: pairs.judged,\n"
	"      to: { curated: curated, flipped: flipped, undecided: undecided, discarded: discarded },\n"
	"      tables: { models: models }, rule: paper }\n"
	"trainers: [ { name: gold, from: pairs.judged, gold: pairs.judged, min_pairs: 1000000 } ]\n";

struct row {
	double p_gold, p_best;
	const char *verdict;  /* of a judge that was asked; "" not asked; NULL abstained */
	const char *off, *on; /* topic and reason code, by flips */
};

static const struct row rows[] = {
	{ 0.8, 0.7, "", "curated gold_and_best", "curated gold_and_best" },
	{ 0.8, 0.3, "chosen", "curated gold_and_judge", "curated gold_and_judge" },
	{ 0.8, 0.3, "rejected", "discarded unconfirmed", "discarded unconfirmed" },
	{ 0.8, 0.3, NULL, "discarded unconfirmed", "discarded unconfirmed" },
	{ 0.8, NAN, NULL, "curated gold_alone", "curated gold_alone" },
	{ 0.8, NAN, "tie", "discarded unconfirmed", "discarded unconfirmed" },
	{ 0.2, 0.9, "", "discarded gold_rejects", "discarded gold_rejects" },
	{ 0.2, 0.3, "", "discarded flip_suspended", "flipped flipped" },
	{ 0.2, 0.3, "rejected", "discarded flip_suspended", "flipped flipped" },
	{ 0.2, 0.3, NULL, "discarded flip_suspended", "discarded flip_unconfirmed" },
	{ 0.2, 0.3, "tie", "discarded flip_suspended", "discarded flip_unconfirmed" },
	{ 0.2, 0.3, "chosen", "discarded gold_rejects", "discarded gold_rejects" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static struct sl_pair make_row(struct sl_arena *a, size_t i)
{
	struct sl_pair p = sl_trial_pair(a, sl_arena_print(a, "prompt %zu", i), "good", "bad");

	make_scores(a, &p, rows[i].p_gold, rows[i].p_best);
	if (!rows[i].verdict || *rows[i].verdict)
		make_judgement(&p, rows[i].verdict);
	p.margin = 2;
	p.vectors.context = sl_text("12345678");
	return p;
}

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[ROWS];
	bool done;

	(void)arg;
	for (size_t i = 0; i < ROWS; i++)
		pairs[i] = make_row(&a, i);
	done = sl_trial_feed(t, "pairs.judged", pairs, ROWS);
	sl_arena_release(&a);
	return done;
}

static void check_row(const struct sl_pair *in, const struct sl_pair *out, const char *topic)
{
	bool flipped = strcmp(topic, "flipped") == 0;
	static const char *const actions[][2] = {
		{ "curated", "keep" }, { "flipped", "flip" }, { "undecided", "undecided" }, { "discarded", "discard" }
	};

	for (size_t i = 0; i < 4; i++)
		if (strcmp(actions[i][0], topic) == 0)
			assert_true(sl_is(out->decision.action, actions[i][1]));
	assert_true(out->decision.present);
	assert_int_equal(out->decision.revision, 0);
	assert_true(fabs(out->decision.p_label - 1 / (1 + exp(-in->scores[0].chosen))) < 1e-12);
	assert_null(out->vectors.context.data);
	assert_int_equal(out->label_flipped, flipped);
	assert_true(out->margin == (flipped ? -2 : 2));
	assert_true(sl_is(out->chosen.at[0].content, flipped ? "bad" : "good"));
	assert_true(sl_is(out->rejected.at[0].content, flipped ? "good" : "bad"));
	assert_true((flipped ? out->scores[0].rejected : out->scores[0].chosen) == in->scores[0].chosen);
}

static void test_ports(void **unused)
{
	(void)unused;
	for (int flips = 0; flips < 2; flips++) {
		const char *const sets[] = { flips ? "filter.flips=on" : "filter.flips=off" };
		struct sl_trial *t = sl_trial_new(yaml, sets, 1);
		struct sl_arena a = { 0 };

		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		for (size_t i = 0; i < ROWS; i++) {
			const char *expected = flips ? rows[i].on : rows[i].off;
			const char *code = strchr(expected, ' ') + 1;
			char *topic = sl_arena_print(&a, "%.*s", (int)(code - 1 - expected), expected);
			struct sl_pair in = make_row(&a, i), *out = find_pair(t, topic, in.id, &a);

			if (!out)
				fail_msg("row %zu, flips %d: not in %s", i, flips, topic);
			assert_true(has_code(out, code));
			assert_true(sl_is(out->decision.why, code));
			check_row(&in, out, topic);
		}
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

static void test_without_gold(void **unused)
{
	static const struct {
		const char *set, *verdict, *topic;
	} cases[] = {
		{ "filter.without_gold=llm_only", "chosen", "curated" },
		{ "filter.without_gold=llm_only", "rejected", "discarded" },
		{ "filter.without_gold=llm_only", NULL, "undecided" },
		{ "filter.without_gold=pass", "rejected", "curated" },
		{ "filter.without_gold=stop", "chosen", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_trial *t = sl_trial_new(yaml, &cases[i].set, 1);
		struct sl_arena a = { 0 };
		struct sl_pair p = sl_trial_pair(&a, "prompt", "good", "bad"), *out;

		make_judgement(&p, cases[i].verdict);
		assert_true(sl_trial_feed(t, "pairs.judged", &p, 1));
		if (!cases[i].topic) {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
			assert_non_null(strstr(t->error.text, "ingest more gold"));
		} else {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
			out = find_pair(t, cases[i].topic, p.id, &a);
			assert_non_null(out);
			assert_true(isnan(out->decision.p_label));
		}
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

/* A pair that comes back: the revision rises, and a flipped one is judged as it arrived. */
static void test_again(void **unused)
{
	static const char *const sets[] = { "filter.flips=on" };
	struct sl_trial *t = sl_trial_new(yaml, sets, 1);
	struct sl_arena a = { 0 };
	struct sl_pair p = make_row(&a, 8), replayed, *out;
	struct sl_trail replay = { .step = sl_text("replay"), .pass = 1 };
	struct sl_record *records;
	size_t count;

	(void)unused;
	assert_true(sl_trial_feed(t, "pairs.judged", &p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	out = find_pair(t, "flipped", p.id, &a);
	assert_int_equal(out->decision.revision, 0);
	for (int pass = 1; pass < 4; pass++) {
		assert_true(sl_trial_feed(t, "pairs.judged", out, 1));
		assert_true(sl_trial_restart(t, SL_TWIN_POWER));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		out = find_pair(t, "flipped", p.id, &a);
		assert_int_equal(out->decision.revision, pass);
		assert_true(out->label_flipped);
		assert_true(sl_is(out->chosen.at[0].content, "bad"));
		assert_true(out->decision.p_label < 0.5);
	}
	replayed = make_row(&a, 8); /* from a topic before filter: no decision in it, but a pass */
	make_scores(&a, &replayed, 0.9, 0.9);
	replayed.trail = &replay;
	replayed.trail_count = 1;
	assert_true(sl_trial_feed(t, "pairs.judged", &replayed, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	out = find_pair(t, "curated", p.id, &a);
	assert_int_equal(out->decision.revision, 4);
	assert_false(out->label_flipped);
	/* ... and the last that pairs.flipped says of it is that it is gone */
	count = sl_trial_records(t, "flipped", &a, &records);
	assert_int_equal(count, 5);
	assert_null(records[count - 1].value.data);
	assert_true(sl_bytes_equal(records[count - 1].key, sl_id_bytes(&p.id)));
	assert_true(sl_bytes_equal(records[0].key, sl_id_bytes(&p.id)));
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* -- rule posterior ------------------------------------------------------------------ */

struct weighed {
	const char *domain, *source;
	double p_gold, p_best;
	const char *verdict; /* as in struct row */
	const char *by[3];   /* topic and code when nothing, version 1 and version 2 of the posterior are announced */
};

/* With per_source below, and flips on. */
#define ALWAYS(what)                                                                                                   \
	{                                                                                                              \
		what, what, what                                                                                       \
	}
static const struct weighed weighed[] = {
	{ "clear", "s", 0.9, 0.9, "", ALWAYS("curated likely_right") },
	{ "clear", "s", 0.05, 0.05, "", { "discarded likely_wrong", "flipped flipped", "discarded likely_wrong" } },
	{ "clear", "s", 0.01, 0.01, "", { "discarded flip_suspended", "flipped flipped", "discarded flip_suspended" } },
	{ "clear", "s", 0.01, 0.01, "tie", ALWAYS("discarded flip_suspended") },
	{ "coin", "s", 0.99, 0.99, "", { "curated likely_right", "undecided no_evidence", "undecided no_evidence" } },
	{ "clear", "careful", 0.01, 0.01, "", ALWAYS("discarded flip_suspended") },
	{ "clear", "careful", 0.6, 0.5, "", ALWAYS("undecided unsure") },
	{ "clear", "as published", 0.8, 0.7, "", ALWAYS("curated gold_and_best") },
	{ "clear", "as published", 0.8, 0.3, "rejected", ALWAYS("discarded unconfirmed") },
	{ "clear", "exams", 0.01, 0.01, "rejected", ALWAYS("curated pass_through") },
	{ "clear", "exams", NAN, NAN, "", ALWAYS("curated pass_through") },
};
enum { WEIGHED = sizeof weighed / sizeof weighed[0] };

static const char *const weighed_sets[] = { "filter.rule=posterior", "filter.flips=on",
					    "filter.per_source=careful keep=0.9 flips=off,\"as published\" "
					    "rule=paper,exams pass" };

static struct sl_pair make_weighed(struct sl_arena *a, size_t i, int version)
{
	struct sl_pair p = sl_trial_pair(a, sl_arena_print(a, "prompt %zu %d", i, version), "good", "bad");
	static struct sl_vote vote = { .judge = { "nearest", 7 } };

	make_scores(a, &p, weighed[i].p_gold, weighed[i].p_best);
	p.domain = sl_text(weighed[i].domain);
	p.source = sl_text(weighed[i].source);
	if (*weighed[i].verdict) {
		make_judgement(&p, weighed[i].verdict);
		p.judgement.votes = &vote;
		p.judgement.vote_count = 1;
	}
	return p;
}

static bool feed_weighed(struct sl_trial *t, int version)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[WEIGHED];
	bool done = make_announcement(t, "posterior", version, posterior_folders[version]);

	for (size_t i = 0; i < WEIGHED; i++)
		pairs[i] = make_weighed(&a, i, version);
	done = done && sl_trial_feed(t, "pairs.judged", pairs, WEIGHED);
	sl_arena_release(&a);
	return done;
}

/* Waits for a version or its absence, decides by the one that is announced, and goes on with the next. */
static void test_posterior(void **unused)
{
	static const int order[] = { 0, 1, 2, 1, 0 };
	struct sl_trial *t = sl_trial_new(yaml, weighed_sets, 3);
	struct sl_arena a = { 0 };
	struct sl_pair early = make_weighed(&a, 0, 9);

	(void)unused;
	assert_true(sl_trial_feed(t, "pairs.judged", &early, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "waiting for model 'posterior'"));
	assert_true(make_announcement(t, "posterior", 3, "/nowhere/3")); /* still on its way */
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "/nowhere/3"));
	for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
		assert_true(feed_weighed(t, order[k]));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		for (size_t i = 0; i < WEIGHED; i++) {
			const char *expected = weighed[i].by[order[k]], *code = strchr(expected, ' ') + 1;
			char *topic = sl_arena_print(&a, "%.*s", (int)(code - 1 - expected), expected);
			struct sl_pair in = make_weighed(&a, i, order[k]), *out;

			out = find_pair(t, topic, in.id, &a);
			if (!out || !has_code(out, code))
				fail_msg("row %zu, version %d: not in %s with code %s", i, order[k], topic, code);
			assert_int_equal(isnan(out->decision.p_label), isnan(weighed[i].p_gold));
			assert_non_null(strstr(out->trail[out->trail_count - 1].reason.data, "P "));
		}
		if (k == 2)
			assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	}
	assert_non_null(find_pair(t, "curated", early.id, &a));
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_per_source_errors(void **unused)
{
	static const struct {
		const char *set, *error;
	} cases[] = {
		{ "filter.per_source=forum keep=2",
		  "option 'per_source': 'forum keep=2': 'keep': '2' is not a number from" },
		{ "filter.per_source=forum pass,forum keep=0.9", "option 'per_source': source 'forum' stands twice" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_trial *t = sl_trial_new(yaml, &cases[i].set, 1);

		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
		if (!strstr(t->error.text, cases[i].error))
			fail_msg("%s", t->error.text);
		sl_trial_free(t);
	}
}

static bool feed_posterior(struct sl_trial *t, void *arg)
{
	(void)arg;
	return feed_weighed(t, 1);
}

static void test_torture_posterior(void **unused)
{
	struct sl_trial_case c = { .name = "filter, rule posterior",
				   .yaml = yaml,
				   .sets = weighed_sets,
				   .set_count = 3,
				   .feed = feed_posterior,
				   .batch_most = WEIGHED,
				   .schedules = 3 };
	size_t runs;

	(void)unused;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 30);
}

/* Everything twice, so that revisions are counted too. */
static bool feed_twice(struct sl_trial *t, void *arg)
{
	struct sl_trail replay = { .step = sl_text("replay"), .pass = 1 };
	struct sl_arena a = { 0 };
	struct sl_pair pairs[ROWS];
	bool done = feed(t, arg);

	for (size_t i = 0; i < ROWS; i++) {
		pairs[i] = make_row(&a, i);
		pairs[i].trail = &replay;
		pairs[i].trail_count = 1;
	}
	done = done && sl_trial_feed(t, "pairs.judged", pairs, ROWS);
	sl_arena_release(&a);
	return done;
}

static void test_torture(void **unused)
{
	static const char *const sets[] = { "filter.flips=on" };
	struct sl_trial_case c = { .name = "filter",
				   .yaml = yaml,
				   .sets = sets,
				   .set_count = 1,
				   .feed = feed_twice,
				   .batch_most = ROWS,
				   .schedules = 3 };
	size_t runs;

	(void)unused;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_without_gold),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_posterior),
		cmocka_unit_test(test_per_source_errors),
		cmocka_unit_test(test_torture_posterior),
		cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, make_posteriors, remove_posteriors);
}
