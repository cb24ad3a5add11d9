/* retrieve: who is an example for whom, and the index under changes of the table. */
#include "make.h"

#include "operators/cosine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* embed is there because a table needs a writer; the tests write gold pairs themselves. */
static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, dim: 64 }\n"
	"  - { name: retrieve, from: pairs.embedded, to: { retrieved: out }, rule: paper,\n"
	"      tables: { gold: pairs.gold, models: models } }\n"
	"trainers: [ { name: gold, from: pairs.gold, min_pairs: 1000000 } ]\n";

enum { DIM = 64 };

/* Gold for and best against: annotate would ask. */
static struct sl_pair make_asked(struct sl_arena *a, const char *prompt)
{
	struct sl_pair p = sl_trial_pair(a, prompt, "yes", "no");

	make_scores(a, &p, 0.8, 0.3);
	return p;
}

static struct sl_pair *play_one(struct sl_trial *t, const struct sl_pair *p, struct sl_arena *a)
{
	struct sl_pair *out;

	assert_true(sl_trial_feed(t, "pairs.unique", p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	out = find_pair(t, "out", p->id, a);
	assert_non_null(out);
	return out;
}

static bool has_exemplar(const struct sl_pair *p, struct sl_id id)
{
	for (size_t i = 0; i < p->exemplar_count; i++)
		if (sl_id_equal(p->exemplars[i].id, id))
			return true;
	return false;
}

static void test_who(void **unused)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair train[12], held[2], asked, own, *out;

	(void)unused;
	for (int i = 0; i < 12; i++) {
		train[i] = make_pair_in(&a, SL_SPLIT_TRAIN, sl_arena_print(&a, "cooking rice dish %d", i), "x", "y");
		assert_true(make_gold(t, &a, train[i], i % 2 ? "rejected" : "chosen", DIM));
	}
	for (int i = 0; i < 2; i++) {
		held[i] = make_pair_in(&a, i ? SL_SPLIT_REPORT : SL_SPLIT_SELECT, "cooking rice", "x", "y");
		assert_true(make_gold(t, &a, held[i], "chosen", DIM));
	}
	/* The same prompt as a gold pair: nearest of all, but of its own group. */
	asked = make_asked(&a, train[3].prompt.at[0].content.data);
	own = sl_trial_pair(&a, train[3].prompt.at[0].content.data, "another", "answer");
	assert_true(make_gold(t, &a, own, "chosen", DIM));

	out = play_one(t, &asked, &a);
	assert_int_equal(out->exemplar_count, 8);
	assert_false(has_exemplar(out, train[3].id));
	assert_false(has_exemplar(out, own.id));
	assert_false(has_exemplar(out, held[0].id));
	assert_false(has_exemplar(out, held[1].id));
	for (size_t i = 0; i < 8; i++) {
		const struct sl_exemplar *x = &out->exemplars[i];
		int which = 0;

		assert_true(x->similarity > 0.2 && x->similarity <= 1.0001);
		if (i > 0)
			assert_true(x->similarity <= out->exemplars[i - 1].similarity);
		while (!sl_id_equal(train[which].id, x->id))
			which++;
		assert_true(sl_is(x->label, which % 2 ? "rejected" : "chosen"));
	}
	assert_null(out->vectors.context.data);
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_when(void **unused)
{
	static const struct {
		const char *set;
		double p_gold, p_best;
		bool expected;
	} cases[] = {
		{ "retrieve.per_source=other pass", 0.8, 0.3, true },
		{ "retrieve.per_source=books pass", 0.8, 0.3, false },
		{ "retrieve.per_source=books flips=on", 0.2, 0.3, true },
		{ "retrieve.when=asked", 0.8, 0.3, true },
		{ "retrieve.when=asked", 0.8, 0.8, false },
		{ "retrieve.when=asked", 0.2, 0.3, false },
		{ "retrieve.when=asked", 0.8, NAN, true },
		{ "retrieve.flips=on", 0.2, 0.3, true },
		{ "retrieve.band=0.4", 0.8, 0.8, true },
		{ "retrieve.when=always", 0.8, 0.8, true },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_trial *t = sl_trial_new(yaml, &cases[i].set, 1);
		struct sl_arena a = { 0 };
		struct sl_pair p = sl_trial_pair(&a, "cooking rice", "yes", "no");
		struct sl_exemplar old = { .similarity = 0.5, .label = sl_text("chosen") };

		make_scores(&a, &p, cases[i].p_gold, cases[i].p_best);
		p.source = sl_text("books");
		p.exemplars = &old; /* of an earlier pass: replaced or removed */
		p.exemplar_count = 1;
		assert_true(make_gold(t, &a, make_pair_in(&a, SL_SPLIT_TRAIN, "cooking", "x", "y"), "chosen", DIM));
		assert_true(make_gold(t, &a, make_pair_in(&a, SL_SPLIT_TRAIN, "rice", "x", "y"), "chosen", DIM));
		assert_int_equal(play_one(t, &p, &a)->exemplar_count, cases[i].expected ? 2 : 0);
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

/* Gold pairs come, change and go, between transactions and across a restart. */
static void test_changes(void **unused)
{
	static const char *const sets[] = { "retrieve.keep_vectors=true" };
	struct sl_trial *t = sl_trial_new(yaml, sets, 1);
	struct sl_arena a = { 0 };
	struct sl_pair one = make_pair_in(&a, SL_SPLIT_TRAIN, "cooking rice one", "x", "y");
	struct sl_pair two = make_pair_in(&a, SL_SPLIT_TRAIN, "cooking rice two", "x", "y");
	struct sl_record gone = { .key = sl_id_bytes(&one.id) };
	struct sl_pair p, *out;

	(void)unused;
	p = make_asked(&a, "cooking rice 1");
	assert_int_equal(play_one(t, &p, &a)->exemplar_count, 0);
	assert_true(make_gold(t, &a, one, "chosen", DIM));
	p = make_asked(&a, "cooking rice 2");
	out = play_one(t, &p, &a);
	assert_int_equal(out->exemplar_count, 1);
	assert_int_equal(out->vectors.context.size, DIM * sizeof(float));
	two.attributes = (struct sl_attributes){ .present = true, .category = sl_text("kitchen") };
	assert_true(make_gold(t, &a, two, "chosen", DIM));
	assert_true(make_gold(t, &a, one, "rejected", DIM));
	p = make_asked(&a, "cooking rice 3");
	out = play_one(t, &p, &a);
	assert_int_equal(out->exemplar_count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool first = sl_id_equal(out->exemplars[i].id, one.id);

		assert_true(sl_is(out->exemplars[i].label, first ? "rejected" : "chosen"));
		assert_int_equal(out->exemplars[i].attributes.present, !first);
		if (!first)
			assert_true(sl_is(out->exemplars[i].attributes.category, "kitchen"));
	}
	assert_true(sl_trial_restart(t, SL_TWIN_POWER)); /* built anew, from the table */
	p = make_asked(&a, "cooking rice 4");
	assert_int_equal(play_one(t, &p, &a)->exemplar_count, 2);
	assert_true(sl_trial_feed_record(t, "pairs.gold", &gone)); /* a tombstone */
	p = make_asked(&a, "cooking rice 5");
	out = play_one(t, &p, &a);
	assert_int_equal(out->exemplar_count, 1);
	assert_true(sl_id_equal(out->exemplars[0].id, two.id));
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* Vectors that do not fit: a pair is a dead letter, a gold pair stops the step. */
static void test_other_dimensions(void **unused)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair p = make_asked(&a, "cooking rice");
	struct sl_record *dead;

	(void)unused;
	assert_true(make_gold(t, &a, make_pair_in(&a, SL_SPLIT_TRAIN, "cooking", "x", "y"), "chosen", 32));
	assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_records(t, "dead.retrieve", &a, &dead), 1);
	assert_true(make_gold(t, &a, make_pair_in(&a, SL_SPLIT_TRAIN, "rice", "x", "y"), "chosen", DIM));
	p = make_asked(&a, "cooking more rice");
	assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
	assert_non_null(strstr(t->error.text, "'dim' of step embed was changed"));
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* -- probes ------------------------------------------------------------------------ */

enum { GOLD_PAIRS = 20, DRAWERS = 60 };

static struct sl_pair gold_pair(struct sl_arena *a, int i)
{
	struct sl_pair p = make_pair_in(a, i % 5 == 4 ? SL_SPLIT_SELECT : SL_SPLIT_TRAIN,
					sl_arena_print(a, "cooking dish %d", i), "human says yes", "human says no");

	p.time_ms = 1;
	return p;
}

/* Who drew what: the ids of the probes, in order, and their numbers. */
static struct sl_pair *probes_of(const char *set, bool backwards, struct sl_arena *a, size_t *count)
{
	struct sl_trial *t = sl_trial_new(yaml, &set, 1);
	struct sl_pair *out, *probes = sl_arena_zalloc(a, DRAWERS * sizeof *probes), pairs[DRAWERS];
	struct sl_pair extra = make_pair_in(a, SL_SPLIT_TRAIN, "cooking no more", "x", "y");
	struct sl_record gone = { .key = sl_id_bytes(&extra.id) };
	size_t n;

	if (backwards) { /* another history of the same table */
		assert_true(make_gold(t, a, extra, "chosen", DIM));
		for (int i = GOLD_PAIRS - 1; i >= 0; i--)
			assert_true(make_gold(t, a, gold_pair(a, i), "rejected", DIM));
		pairs[0] = make_asked(a, "cooking before");
		assert_true(sl_trial_feed(t, "pairs.unique", pairs, 1));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		assert_true(sl_trial_feed_record(t, "pairs.gold", &gone));
	}
	for (int i = 0; i < GOLD_PAIRS; i++)
		assert_true(make_gold(t, a, gold_pair(a, i), "chosen", DIM));
	for (int i = 0; i < DRAWERS; i++) {
		pairs[i] = make_asked(a, sl_arena_print(a, "cooking drawn %d", i));
		pairs[i].time_ms = 1000 + i;
	}
	assert_true(sl_trial_feed(t, "pairs.unique", pairs, DRAWERS));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	n = sl_trial_read(t, "out", a, &out);
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		if (out[i].time_ms < 1000)
			continue;
		if (out[i].judgement.present) {
			assert_true(has_code(&out[i], "probe"));
			assert_true(out[i].time_ms == out[i - 1].time_ms); /* beside the pair that drew it */
			probes[(*count)++] = out[i];
		}
	}
	sl_trial_free(t);
	return probes;
}

static void test_probes(void **unused)
{
	struct sl_arena a = { 0 };
	size_t none, some, all, again;
	struct sl_pair *probes, *same, *every;

	(void)unused;
	probes_of("retrieve.probes=0", false, &a, &none);
	assert_int_equal(none, 0);
	every = probes_of("retrieve.probes=1", false, &a, &all);
	assert_int_equal(all, DRAWERS);
	probes = probes_of("retrieve.probes=0.3", false, &a, &some);
	assert_in_range(some, DRAWERS / 10, DRAWERS / 2);
	for (size_t i = 0, k = 0; i < some; i++, k++) { /* a lower rate draws a part of the same */
		while (k < all && every[k].judgement.probe != probes[i].judgement.probe)
			k++;
		assert_true(k < all && sl_id_equal(every[k].id, probes[i].id));
	}
	for (size_t i = 0; i < all; i++) {
		const struct sl_pair *p = &every[i];

		assert_true(p->gold.present && sl_split_of(p->group) == SL_SPLIT_TRAIN);
		assert_true(sl_is(p->chosen.at[0].content, "human says yes"));
		assert_true(!p->judgement.asked && p->judgement.vote_count == 0 && p->judgement.probe % 16 == 0);
		assert_true(p->judgement.probe > 0 && p->judgement.probe < INT32_MAX);
		assert_int_equal(p->exemplar_count, 8);
		assert_false(has_exemplar(p, p->id));
		assert_null(p->vectors.context.data);
	}
	same = probes_of("retrieve.probes=0.3", true, &a, &again);
	assert_int_equal(again, some);
	for (size_t i = 0; i < some; i++) {
		assert_true(sl_id_equal(same[i].id, probes[i].id));
		assert_true(same[i].judgement.probe == probes[i].judgement.probe);
		assert_int_equal(same[i].exemplar_count, probes[i].exemplar_count);
		for (size_t k = 0; k < same[i].exemplar_count; k++)
			assert_true(sl_id_equal(same[i].exemplars[k].id, probes[i].exemplars[k].id));
	}
	/* a probe that is played again gets examples, and draws nothing */
	{
		static const char *const sets[] = { "retrieve.probes=1" };
		struct sl_trial *t = sl_trial_new(yaml, sets, 1);
		struct sl_pair p = gold_pair(&a, 0), *out;

		p.judgement = (struct sl_judgement){ .present = true, .probe = 32 };
		assert_true(make_gold(t, &a, gold_pair(&a, 0), "chosen", DIM));
		assert_true(make_gold(t, &a, gold_pair(&a, 1), "chosen", DIM));
		out = play_one(t, &p, &a);
		assert_int_equal(out->exemplar_count, 1);
		assert_true(out->judgement.probe == 32);
		assert_int_equal(sl_trial_read(t, "out", &a, &out), 1);
		sl_trial_free(t);
	}
	sl_arena_release(&a);
}

static bool feed(struct sl_trial *t, void *arg)
{
	enum { GOLD = 14, PAIRS = 10 };
	struct sl_arena a = { 0 };
	struct sl_pair pairs[PAIRS];
	bool done = true;

	(void)arg;
	for (int i = 0; i < GOLD; i++)
		done = done && make_gold(t, &a,
					 make_pair_in(&a, SL_SPLIT_TRAIN,
						      sl_arena_print(&a, "cooking %s", i % 3 ? "rice" : "eggs"), "x",
						      sl_arena_print(&a, "y%d", i)),
					 "chosen", DIM);
	for (int i = 0; i < PAIRS; i++)
		pairs[i] = make_asked(&a, sl_arena_print(&a, "cooking %s %d", i % 2 ? "rice" : "eggs", i / 2));
	done = done && sl_trial_feed(t, "pairs.unique", pairs, PAIRS);
	sl_arena_release(&a);
	return done;
}

static void test_torture(void **unused)
{
	static const char *const sets[] = { "retrieve.probes=0.5" };
	struct sl_trial_case c = {
		.name = "retrieve", .yaml = yaml, .sets = sets, .feed = feed, .batch_most = 10, .schedules = 5
	};
	size_t runs;

	(void)unused;
	for (; c.set_count < 2; c.set_count++) {
		assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
		assert_true(runs > 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who),     cmocka_unit_test(test_when),
		cmocka_unit_test(test_changes), cmocka_unit_test(test_other_dimensions),
		cmocka_unit_test(test_probes),  cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
