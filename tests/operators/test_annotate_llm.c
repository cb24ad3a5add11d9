/* annotate with LLM judges (court.h): what they are asked, what becomes of their answers, and that none of it depends
 * on how the stream was cut. */
#include "courtroom.h"

#include "operators/judging.h"
#include "topology/base/file.h"
#include "topology/base/log.h"

#include <unistd.h>

/* -- what becomes of an answer ---------------------------------------------------------------- */

static void verdicts_and_outcomes(void **state)
{
	static const struct {
		const char *prompt, *chosen, *rejected, *code, *outcome; /* outcome NULL: a verdict */
		size_t questions;
	} rows[] = {
		{ "sum", "good", "bad", "chosen", NULL, 1 },
		{ "sum", "bad", "good", "rejected", NULL, 1 },
		{ "sum TIE", "good", "bad", "tie", NULL, 1 },
		{ "sum BOTHBAD", "bad", "good", "both_bad", NULL, 1 },
		{ "sum DUNNO", "bad", "good", "undecidable", NULL, 1 },
		{ "sum REFUSE", "good", "bad", "gave_up", "refused", 1 },
		{ "sum CUT", "good", "bad", "gave_up", "truncated", 1 },
		{ "sum THINK", "good", "bad", "gave_up", "reasoning_truncated", 1 },
		{ "sum MUMBLE", "bad", "good", "rejected", NULL, 2 },
		{ "sum BABBLE", "bad", "good", "gave_up", "malformed", 2 },
		{ "sum TOOLONG", "good", "bad", "gave_up", "too_long", 1 },
		{ "sum BROKEN", "good", "bad", "gave_up", "failed", 1 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sl_pair p = asked_pair(&f->a, rows[i].prompt, rows[i].chosen, rows[i].rejected), *out;
		const struct sl_vote *vote;
		bool one = strcmp(rows[i].code, "chosen") == 0 || strcmp(rows[i].code, "rejected") == 0;

		open_trial(f, "");
		out = play(f, &p, "pairs.judged");
		vote = &out->judgement.votes[0];
		expect_code(out, rows[i].code);
		assert_int_equal(f->court.asked_count, rows[i].questions);
		assert_int_equal(f->court.asked[0].tokens_max, 1024);
		assert_false(f->court.asked[0].or_not);
		assert_true(out->judgement.asked);
		assert_int_equal(out->judgement.vote_count, 1);
		assert_int_equal(out->judgement.setting.size, 16);
		assert_non_null(memmem(out->trail[out->trail_count - 1].reason.data,
				       out->trail[out->trail_count - 1].reason.size, ", prompt ", 9));
		assert_true(sl_is(out->judgement.panel, "llm") && sl_is(vote->judge, "a/m-a"));
		if (f->court.asked_count == 2 || !rows[i].outcome) { /* what was answered, was paid: repairs too */
			assert_int_equal(vote->tokens, 120 * rows[i].questions);
			assert_int_equal(vote->micro_dollars, 140 * (int64_t)rows[i].questions);
		}
		if (rows[i].outcome) {
			assert_null(out->judgement.verdict.data);
			assert_null(vote->verdict.data);
			assert_true(sl_is(vote->outcome, rows[i].outcome));
		} else {
			assert_true(sl_is(out->judgement.verdict, rows[i].code));
			assert_true(sl_is(vote->verdict, rows[i].code) && sl_is(vote->strength, "clear"));
			assert_null(vote->outcome.data);
			assert_true(sl_is(vote->difference, "One is good, says m-a."));
		}
		assert_int_equal(count(f, "pairs.silver"), one);
		assert_true(sl_is(out->chosen.at[0].content, rows[i].chosen)); /* judged is as it arrived */
		if (one)
			assert_true(sl_is(find_pair(f->t, "pairs.silver", p.id, &f->a)->chosen.at[0].content, "good"));
		assert_int_equal(count(f, "pairs.probed") + count(f, "pairs.deferred"), 0);
	}
}

static void not_repaired(void **state)
{
	struct fixture *f = *state;
	struct sl_pair p = asked_pair(&f->a, "sum MUMBLE", "good", "bad"), *out;

	open_trial(f, "annotate.repair=false");
	out = play(f, &p, "pairs.judged");
	expect_code(out, "gave_up");
	assert_true(sl_is(out->judgement.votes[0].outcome, "malformed"));
	assert_int_equal(f->court.asked_count, 1);
}

/* Only where an answer can matter. */
static void not_asked(void **state)
{
	struct fixture *f = *state;
	struct sl_pair p = asked_pair(&f->a, "sum", "good", "bad");

	make_scores(&f->a, &p, 0.8, 0.9);
	open_trial(f, "");
	expect_code(play(f, &p, "pairs.judged"), "not_asked");
	assert_int_equal(f->court.asked_count, 0);
}

/* -- orders, samples, judges --------------------------------------------------------------------- */

static void order_random(void **state)
{
	struct fixture *f = *state;
	int chosen_first = 0;

	open_trial(f, "annotate.seed=5");
	for (int i = 0; i < 20; i++) {
		struct sl_pair p = asked_pair(&f->a, sl_arena_print(&f->a, "sum FIRST %d", i), "good", "bad"), *out;
		enum sl_judging_order order = sl_judging_order_of(p.id, 5);

		court_forget(&f->court);
		out = play(f, &p, "pairs.judged");
		assert_string_equal(f->court.asked[0].candidates[0], order == SL_CHOSEN_FIRST ? "good" : "bad");
		assert_true(sl_is(out->judgement.votes[0].order, sl_judging_order_name(order)));
		expect_code(out, order == SL_CHOSEN_FIRST ? "chosen" : "rejected"); /* he always says 1 */
		chosen_first += order == SL_CHOSEN_FIRST;
	}
	assert_in_range(chosen_first, 4, 16);
}

static void order_both_and_fixed(void **state)
{
	struct fixture *f = *state;
	struct sl_pair p = asked_pair(&f->a, "sum FIRST", "good", "bad"), *out;

	open_trial(f, "annotate.order=both");
	out = play(f, &p, "pairs.judged");
	assert_int_equal(out->judgement.vote_count, 2);
	assert_true(sl_is(out->judgement.votes[0].order, "chosen") && sl_is(out->judgement.votes[0].verdict, "chosen"));
	assert_true(sl_is(out->judgement.votes[1].order, "rejected") &&
		    sl_is(out->judgement.votes[1].verdict, "rejected"));
	expect_code(out, "undecidable"); /* a judge at odds with himself */
	p = asked_pair(&f->a, "sum", "good", "bad");
	expect_code(play(f, &p, "pairs.judged"), "chosen");
	open_trial(f, "annotate.order=fixed");
	for (int i = 0; i < 8; i++) {
		p = asked_pair(&f->a, sl_arena_print(&f->a, "sum FIRST %d", i), "bad", "good");
		expect_code(play(f, &p, "pairs.judged"), "chosen");
	}
}

static void samples(void **state)
{
	struct fixture *f = *state;
	struct sl_pair p = asked_pair(&f->a, "sum", "good", "bad"), *out;

	open_trial(f, "annotate.samples=3 annotate.temperature=0.7 annotate.order=both");
	out = play(f, &p, "pairs.judged");
	assert_int_equal(out->judgement.vote_count, 6);
	assert_int_equal(f->court.asked_count, 6);
	for (int64_t i = 0; i < 6; i++)
		assert_int_equal(out->judgement.votes[i].sample, i / 2);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(f->court.asked[i].sample, i / 2);
}

/* The second judge is asked where the first is unsure, and only there. */
static void second_opinions(void **state)
{
	static const struct {
		const char *sets, *prompt, *code;
		size_t a, b, c;
	} rows[] = {
		{ "annotate.judges=a,b", "sum", "chosen", 1, 1, 0 },
		{ "annotate.judges=a,b", "sum SPLIT", "undecidable", 1, 1, 0 },
		/* two who agree are sure enough (0.75, and 0.75 again: 0.9) */
		{ "annotate.judges=a,b annotate.second=c", "sum", "chosen", 1, 1, 0 },
		{ "annotate.judges=a,b annotate.second=c", "sum SPLIT", "chosen", 1, 1, 1 },
		{ "annotate.judges=a,b annotate.second=c", "sum REFUSE", "gave_up", 1, 1, 1 },
		{ "annotate.judges=a,b annotate.second=c", "sum TIE", "tie", 1, 1, 0 },
		{ "annotate.judges=a annotate.second=c annotate.sure=0.7", "sum", "chosen", 1, 0, 0 },
		{ "annotate.judges=a annotate.second=c annotate.sure=0.8", "sum", "chosen", 1, 0, 1 },
		{ "annotate.judges=a annotate.second=c annotate.sure=0.8", "sum MUMBLE", "chosen", 2, 0, 2 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sl_pair p = asked_pair(&f->a, rows[i].prompt, "good", "bad"), *out;

		open_trial(f, rows[i].sets);
		out = play(f, &p, "pairs.judged");
		expect_code(out, rows[i].code);
		assert_int_equal(asked_of(&f->court, "a"), rows[i].a);
		assert_int_equal(asked_of(&f->court, "b"), rows[i].b);
		assert_int_equal(asked_of(&f->court, "c"), rows[i].c);
		assert_int_equal(out->judgement.vote_count, (rows[i].a > 0) + (rows[i].b > 0) + (rows[i].c > 0));
	}
}

/* m-b is known from gold to be right in 85 %; m-a is declared. They disagree. */
static void weighted(void **state)
{
	struct fixture *f = *state;
	char folder[] = "/tmp/sluice-weighted-XXXXXX";
	struct sl_error e;

	assert_non_null(mkdtemp(folder));
	make_posterior_of(sl_arena_print(&f->a, "%s/1", folder), "b/m-b", 2000);
	for (int k = 0; k < 3; k++) {
		struct sl_pair p = asked_pair(&f->a, "sum SPLIT", "good", "bad"), *out;

		open_trial(f, k == 0   ? "annotate.judges=a,b"
			      : k == 1 ? "annotate.judges=a,b annotate.merge=weighted"
				       : "annotate.judges=a,b annotate.merge=weighted annotate.judge_accuracy=0.95");
		assert_true(make_announcement(f->t, "posterior", 1, sl_arena_print(&f->a, "%s/1", folder)));
		out = play(f, &p, "pairs.judged");
		expect_code(out, k == 0 ? "undecidable" : k == 1 ? "rejected" : "chosen");
		assert_true(isnan(out->judgement.votes[0].confidence));
		assert_true(fabs(out->judgement.votes[1].confidence - 0.85) < 0.03);
	}
	assert_true(sl_folder_remove(folder, &e));
}

/* -- attributes on demand --------------------------------------------------------------------------- */

static void attributes(void **state)
{
	static const struct {
		const char *sets, *prompt;
		bool has;       /* attributes */
		bool described; /* afterwards */
		size_t a, c;
		const char *code;
	} rows[] = {
		{ "", "sum", false, false, 1, 0, "chosen" },
		{ "annotate.attributes=missing annotate.attributes_judge=c", "sum", false, true, 1, 1, "chosen" },
		{ "annotate.attributes=missing", "sum", false, true, 2, 0, "chosen" },
		{ "annotate.attributes=missing annotate.attributes_judge=c", "sum", true, true, 1, 0, "chosen" },
		{ "annotate.attributes=missing annotate.attributes_judge=c", "sum MYSTERY", false, false, 1, 2,
		  "chosen" },
		{ "annotate.attributes=missing annotate.attributes_judge=c", "sum MYSTERY MUMBLE", false, false, 2, 2,
		  "chosen" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sl_pair p = asked_pair(&f->a, rows[i].prompt, "good", "bad"), *out;
		const struct question *last;

		p.attributes.present = rows[i].has;
		if (rows[i].has)
			p.attributes =
				(struct sl_attributes){ true,           sl_text("math"),      sl_text("objective"),
							sl_text("low"), sl_text("own words"), sl_text("own words") };
		open_trial(f, rows[i].sets);
		out = play(f, &p, "pairs.judged");
		expect_code(out, rows[i].code);
		assert_int_equal(out->attributes.present, rows[i].described);
		assert_int_equal(asked_of(&f->court, "a"), rows[i].a);
		assert_int_equal(asked_of(&f->court, "c"), rows[i].c);
		last = &f->court.asked[f->court.asked_count - 1];
		assert_false(last->attributes);
		if (rows[i].described)
			assert_non_null(strstr(last->user, rows[i].has ? "own words" : "Check the sum."));
	}
}

/* -- the setting ----------------------------------------------------------------------------------------------- */

static const char *setting_of(struct fixture *f, const char *sets)
{
	struct sl_pair p = asked_pair(&f->a, "sum", "good", "bad"), *out;

	open_trial(f, sets);
	out = play(f, &p, "pairs.judged");
	return sl_arena_print(&f->a, "%.*s", (int)out->judgement.setting.size,
			      (const char *)out->judgement.setting.data);
}

static char words_path[] = "/tmp/sluice-words-XXXXXX";

/* The same prompt with a line more. */
static const char *other_words(struct fixture *f)
{
	struct sl_buf words = { 0 };
	struct sl_error e = { 0 };
	int fd = mkstemp(words_path);

	assert_true(fd >= 0);
	close(fd);
	assert_true(sl_file_read("topology/prompts/preference.txt", 1 << 20, &words, &e));
	sl_buf_print(&words, "\nBe brief.\n");
	assert_true(sl_file_write(words_path, sl_buf_bytes(&words), &e));
	sl_buf_release(&words);
	return sl_arena_print(&f->a, "annotate.prompt=%s", words_path);
}

static void settings(void **state)
{
	static const char *const same[] = { "annotate.without_judge=defer", "annotate.batch_max=1",
					    "annotate.threshold=0.2", "annotate.panel=other",
					    "annotate.judge_accuracy=0.9" };
	const char *const others[] = {
		"annotate.judges=b",
		"annotate.judges=a,b",
		"annotate.second=c",
		"annotate.order=both",
		"annotate.seed=2",
		"annotate.examples=7",
		"annotate.text_max=4KiB",
		"annotate.max_tokens=99",
		"annotate.temperature=0.5",
		"annotate.repair=false",
		"annotate.merge=weighted",
		"annotate.sure=0.9",
		"annotate.attributes=missing",
		"annotate.temperature=-1 annotate.samples=2",
		"annotate.merge=weighted annotate.judge_accuracy=0.9",
		"annotate.second=c annotate.judge_accuracy=0.9",
		other_words(*state),
	};
	struct fixture *f = *state;
	const char *usual = setting_of(f, ""), *seen[32];
	size_t n = 0;

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		assert_string_equal(setting_of(f, same[i]), usual);
	seen[n++] = usual;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		seen[n] = setting_of(f, others[i]);
		for (size_t k = 0; k < n; k++)
			assert_string_not_equal(seen[n], seen[k]);
		n++;
	}
	assert_int_equal(unlink(words_path), 0);
}

static void wrong_options(void **state)
{
	static const struct {
		const char *sets, *error;
	} rows[] = {
		{ "annotate.judges=[]", "needs the option 'judges'" },
		{ "annotate.samples=2", "2 samples at temperature 0" },
		{ "annotate.judges=a,a", "judges 'a' and 'a' ask the same model" },
		{ "annotate.second=a", "judges 'a' and 'a' ask the same model" },
		{ "annotate.panel=nearest", "'nearest' cannot be the name of a panel" },
		{ "annotate.prompt=nowhere.txt", "option 'prompt': " },
		{ "annotate.prompt=topology/prompts/attributes.txt", "option 'prompt': " },
		{ "annotate.attributes=missing annotate.attributes_prompt=nowhere.txt",
		  "option 'attributes_prompt': " },
		{ "annotate.extra={", "option 'extra': " },
		{ "endpoints.a.model=", "endpoint 'a' names no model" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sl_pair p = asked_pair(&f->a, "sum", "good", "bad");

		open_trial(f, rows[i].sets);
		assert_true(sl_trial_feed(f->t, "pairs.unique", &p, 1));
		assert_int_equal(sl_trial_play(f->t, 0), SL_TRIAL_STOPPED);
		if (!strstr(f->t->error.text, rows[i].error))
			fail_msg("%s: %s, expected %s", rows[i].sets, f->t->error.text, rows[i].error);
	}
}

/* -- however it is played --------------------------------------------------------------------------------------- */

static bool feed(struct sl_trial *t, void *arg)
{
	static const char *const prompts[] = { "sum MUMBLE", "sum SPLIT", "sum BABBLE MYSTERY", "sum BROKEN" };
	struct sl_arena a = { 0 };
	struct sl_pair pairs[4];
	bool done = true;

	(void)arg;
	for (int i = 0; i < 3; i++)
		done = done &&
		       make_gold(t, &a,
				 make_pair_in(&a, SL_SPLIT_TRAIN, sl_arena_print(&a, "gold sum %d", i), "good", "bad"),
				 "chosen", 64);
	for (int i = 0; i < 4; i++)
		pairs[i] = asked_pair(&a, prompts[i], i % 2 ? "good" : "bad", i % 2 ? "bad" : "good");
	done = done && sl_trial_feed(t, "pairs.unique", pairs, 4);
	sl_arena_release(&a);
	return done;
}

static void torture(void **state)
{
	static const char *const sets[] = { "annotate.judges=a,b", "annotate.second=c", "annotate.attributes=missing",
					    "retrieve.probes=0.5" };
	struct fixture *f = *state;
	struct sl_trial_case c = { .name = "annotate with judges",
				   .yaml = yaml,
				   .sets = sets,
				   .set_count = 4,
				   .feed = feed,
				   .endpoint = court_endpoint,
				   .world = court_turn,
				   .arg = &f->court,
				   .batch_most = 4,
				   .schedules = 4 };
	size_t runs;

	f->court.forgetful = true;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		COURT_TEST(verdicts_and_outcomes),
		COURT_TEST(not_repaired),
		COURT_TEST(not_asked),
		COURT_TEST(order_random),
		COURT_TEST(order_both_and_fixed),
		COURT_TEST(samples),
		COURT_TEST(second_opinions),
		COURT_TEST(weighted),
		COURT_TEST(attributes),
		COURT_TEST(settings),
		COURT_TEST(wrong_options),
		COURT_TEST(torture),
	};

	sl_log_level_set(SL_LOG_STOP); /* calls that were under way at a crash are no news here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
