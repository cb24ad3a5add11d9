/* score: waits for a model, uses what the table names, swaps between transactions. */
#include "make.h"

#include "topology/base/file.h"
#include "trainer/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* embed and the trainers are there because tables need writers; nothing is trained here. */
static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold } }\n"
	"  - { name: score, from: pairs.embedded, to: { scored: pairs.scored }, tables: { models: models } }\n"
	"trainers:\n"
	"  - { name: gold, from: pairs.gold, min_pairs: 1000000 }\n"
	"  - { name: best, from: pairs.scored, min_pairs: 1000000 }\n";

/* -- two versions of a model, trained once ------------------------------------------- */

static char folder[] = "/tmp/sluice-score-XXXXXX";
static char *version_folders[3]; /* 1 and 2 */

enum { EXAMPLES = 60 };
struct examples {
	struct sl_pair pairs[EXAMPLES];
	size_t at;
};

static void rewind_examples(void *arg)
{
	((struct examples *)arg)->at = 0;
}

static bool next_example(void *arg, const struct sl_pair **p)
{
	struct examples *x = arg;

	if (x->at == EXAMPLES)
		return false;
	*p = &x->pairs[x->at++];
	return true;
}

/* Version 1 likes "good", version 2 likes "bad". */
static int train(void **unused)
{
	struct sl_arena a = { 0 };

	(void)unused;
	assert_non_null(mkdtemp(folder));
	for (int version = 1; version <= 2; version++) {
		static struct examples x, y;
		struct sl_train_options o;
		struct sl_train_report r;
		struct sl_error e;

		for (int i = 0; i < EXAMPLES; i++) {
			char *prompt = sl_arena_print(&a, "question %d", i);

			x.pairs[i] = version == 1 ? sl_trial_pair(&a, prompt, "a good answer", "a bad answer")
						  : sl_trial_pair(&a, prompt, "a bad answer", "a good answer");
		}
		y = x;
		sl_train_options_default(&o);
		o.columns_log2 = 10;
		version_folders[version] = sl_strdup(sl_arena_print(&a, "%s/%d", folder, version));
		if (!sl_train_linear(&o, &(struct sl_examples){ &x, rewind_examples, next_example },
				     &(struct sl_examples){ &y, rewind_examples, next_example },
				     version_folders[version], "{}", &r, &e))
			fail_msg("%s", e.text);
	}
	sl_arena_release(&a);
	return 0;
}

static int remove_models(void **unused)
{
	struct sl_error e;

	(void)unused;
	free(version_folders[1]);
	free(version_folders[2]);
	return sl_folder_remove(folder, &e) ? 0 : -1;
}

/* version 0: announced absent; -1: a folder that is not there. */
static void announce(struct sl_trial *t, const char *name, int version)
{
	struct sl_model_record m = { .name = sl_text(name), .version = version < 0 ? 9 : version, .sequence = 1 };
	struct sl_record r = { .key = sl_text(name) };
	struct sl_buf b = { 0 };

	m.uri = sl_text(version > 0 ? version_folders[version] : version < 0 ? "/nowhere/9" : "");
	sl_model_encode(&m, &b);
	r.value = sl_buf_bytes(&b);
	assert_true(sl_trial_feed_record(t, "models", &r));
	sl_buf_release(&b);
}

/* -- tests ------------------------------------------------------------------------------ */

static struct sl_pair feed_pair(struct sl_trial *t, struct sl_arena *a, const char *prompt)
{
	struct sl_pair p = sl_trial_pair(a, prompt, "a good answer", "a bad answer");

	assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
	return p;
}

static void test_waits(void **unused)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair p = feed_pair(t, &a, "one"), *out;

	(void)unused;
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "waiting for model 'gold'"));
	assert_null(find_pair(t, "pairs.scored", p.id, &a));
	announce(t, "best", 1); /* not the one it waits for */
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	announce(t, "gold", -1); /* its folder is still on the way */
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "/nowhere/9"));
	announce(t, "gold", 1);
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	out = find_pair(t, "pairs.scored", p.id, &a);
	assert_int_equal(out->score_count, 2);
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* Each pair under the versions that the table named when it was scored. */
static void test_versions(void **unused)
{
	static const struct {
		int gold, best;       /* announced before the pair; -1: nothing */
		int by_gold, by_best; /* the version that scores it; 0: none */
	} cases[] = {
		{ 1, -1, 1, 0 }, { -1, 2, 1, 2 }, { 2, 1, 2, 1 }, { 0, -1, 0, 1 }, { 1, 0, 1, 0 }, { -1, -1, 1, 0 },
	};
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_pair p, *out;
		const char *const names[] = { "gold", "best" };
		int by[] = { cases[i].by_gold, cases[i].by_best };

		if (cases[i].gold >= 0)
			announce(t, "gold", cases[i].gold);
		if (cases[i].best >= 0)
			announce(t, "best", cases[i].best);
		p = feed_pair(t, &a, sl_arena_print(&a, "prompt %zu", i));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		out = find_pair(t, "pairs.scored", p.id, &a);
		assert_int_equal(out->score_count, (by[0] > 0) + (by[1] > 0));
		for (int k = 0; k < 2; k++) {
			const struct sl_score *s = sl_pair_score(out, names[k]);

			assert_int_equal(s != NULL, by[k] > 0);
			if (!s)
				continue;
			assert_int_equal(s->version, by[k]);
			assert_true(s->temperature > 0);
			assert_true((s->chosen - s->rejected > 0.1) == (by[k] == 1)); /* version 1 likes "good" */
		}
		if (i == 3)
			assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	}
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_options(void **unused)
{
	static const char *const too_much[] = { "score.wait_for=gold,other" };
	static const char *const none[] = { "score.models=[]", "score.wait_for=[]" };
	static const char *const nothing_to_wait_for[] = { "score.wait_for=[]" };
	static const struct {
		const char *const *sets;
		size_t set_count;
		const char *error; /* NULL: goes on without scores */
	} cases[] = {
		{ too_much, 1, "names model 'other', which is not in 'models'" },
		{ none, 2, "names 0 models, expected 1 to 8" },
		{ nothing_to_wait_for, 1, NULL },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_trial *t = sl_trial_new(yaml, cases[i].sets, cases[i].set_count);
		struct sl_arena a = { 0 };
		struct sl_pair p = feed_pair(t, &a, "one");

		if (cases[i].error) {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
			assert_non_null(strstr(t->error.text, cases[i].error));
		} else {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
			assert_int_equal(find_pair(t, "pairs.scored", p.id, &a)->score_count, 0);
		}
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };

	(void)arg;
	announce(t, "gold", 1);
	announce(t, "best", 2);
	for (int i = 0; i < 7; i++)
		feed_pair(t, &a, sl_arena_print(&a, "prompt %d", i));
	sl_arena_release(&a);
	return true;
}

static void test_torture(void **unused)
{
	struct sl_trial_case c = { .name = "score", .yaml = yaml, .feed = feed, .batch_most = 7, .schedules = 5 };
	size_t runs;

	(void)unused;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, train, remove_models);
}
