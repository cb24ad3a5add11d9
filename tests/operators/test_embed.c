/* embed: gold pairs are numbered and leave by their own port, all others go on with
 * a vector; the same whatever happens to the run. */
#include "make.h"

#include "operators/cosine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold },\n"
	"      dim: 64, text_max: 256B }\n";

enum { PAIRS = 9 };

/* Every third one is gold. */
static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[PAIRS];
	bool done;

	(void)arg;
	for (int i = 0; i < PAIRS; i++) {
		pairs[i] = sl_trial_pair(&a, sl_arena_print(&a, "prompt number %d", i), "yes", "no");
		pairs[i].gold.present = i % 3 == 1;
		if (pairs[i].gold.present)
			pairs[i].gold.verdict = sl_text("chosen");
	}
	done = sl_trial_feed(t, "pairs.unique", pairs, PAIRS);
	sl_arena_release(&a);
	return done;
}

static void test_ports_and_sequence(void **unused)
{
	static const char *const sets[] = { "embed.batch_max=2" };
	struct sl_trial *t = sl_trial_new(yaml, sets, 1);
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;

	(void)unused;
	for (int round = 0; round < 2; round++) { /* the numbers go on behind a restart */
		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	}
	assert_int_equal(sl_trial_read(t, "pairs.gold", &a, &pairs), 6);
	for (int i = 0; i < 6; i++) {
		assert_true(pairs[i].gold.present);
		assert_int_equal(pairs[i].gold.sequence, i + 1);
		assert_int_equal(pairs[i].vectors.context.size, 64 * sizeof(float));
	}
	assert_int_equal(sl_trial_read(t, "pairs.embedded", &a, &pairs), 12);
	for (int i = 0; i < 12; i++) {
		assert_false(pairs[i].gold.present);
		assert_int_equal(pairs[i].gold.sequence, 0);
		assert_int_equal(pairs[i].vectors.context.size, 64 * sizeof(float));
	}
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* Who may train is said where the stream forks: of each split once, gold and not. */
static void test_holdout(void **unused)
{
	static const char *const gold[] = { "train", "select", "report" };
	static const char *const others[] = { "", "holdout: select", "holdout: report" };
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair in[6], *out;

	(void)unused;
	for (int i = 0; i < 6; i++) {
		in[i] = make_pair_in(&a, (enum sl_split)(i / 2), "prompt", "yes", "no");
		in[i].gold.present = i % 2;
	}
	assert_true(sl_trial_feed(t, "pairs.unique", in, 6));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.embedded", &a, &out), 3);
	for (int i = 0; i < 3; i++)
		assert_true(sl_is(out[i].trail[0].reason, others[i]));
	assert_int_equal(sl_trial_read(t, "pairs.gold", &a, &out), 3);
	for (int i = 0; i < 3; i++)
		assert_true(sl_is(out[i].trail[0].reason, gold[i]));
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_torture(void **unused)
{
	struct sl_trial_case c = { .name = "embed", .yaml = yaml, .feed = feed, .batch_most = PAIRS, .schedules = 5 };
	size_t runs;

	(void)unused;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

static double similarity(const struct sl_pair *x, const struct sl_pair *y)
{
	float a[64], b[64];

	memcpy(a, x->vectors.context.data, sizeof a);
	memcpy(b, y->vectors.context.data, sizeof b);
	return sl_cosine_dot(a, b, 64);
}

/* The end of a long conversation counts, the answers never, attributes always. */
static void test_text(void **unused)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair in[6], *out;
	char *end = sl_arena_zalloc(&a, 301);

	(void)unused;
	for (int i = 0; i < 300; i++)
		end[i] = i % 6 == 5 ? ' ' : (char)('a' + i * 7 % 26);
	in[0] = sl_trial_pair(&a, sl_arena_print(&a, "one beginning %s", end), "yes", "no");
	in[1] = sl_trial_pair(&a, sl_arena_print(&a, "a different start %s", end), "quite", "other");
	in[2] = sl_trial_pair(&a, "short", "yes", "no");
	in[3] = sl_trial_pair(&a, "short", "quite", "other");
	in[4] = sl_trial_pair(&a, "short", "yes", "none");
	in[4].attributes = (struct sl_attributes){ .present = true, .category = sl_text("mathematics") };
	/* A character is not cut in half: 100 times three bytes, 256 is no multiple of 3. */
	in[5] = sl_trial_pair(
		&a,
		"海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海"
		"海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海海",
		"yes", "no");
	assert_true(sl_trial_feed(t, "pairs.unique", in, 6));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.embedded", &a, &out), 6);
	assert_true(sl_bytes_equal(out[0].vectors.context, out[1].vectors.context));
	assert_true(sl_bytes_equal(out[2].vectors.context, out[3].vectors.context));
	assert_true(similarity(&out[2], &out[4]) < 0.9);
	assert_true(similarity(&out[5], &out[5]) > 0.999);
	sl_arena_release(&a);
	sl_trial_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports_and_sequence),
		cmocka_unit_test(test_holdout),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
