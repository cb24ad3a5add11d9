/* Cosines of response differences: known values, memory bound, forgetting. */
#include "operators/nearest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct answers {
	struct sl_pair pair;
	struct sl_message chosen, rejected;
};

static void answers(struct answers *a, uint64_t id, const char *chosen, const char *rejected)
{
	sl_pair_init(&a->pair);
	a->pair.id = sl_hash128(&id, sizeof id);
	a->chosen = (struct sl_message){ sl_text("assistant"), sl_text(chosen), { 0 } };
	a->rejected = (struct sl_message){ sl_text("assistant"), sl_text(rejected), { 0 } };
	a->pair.chosen = (struct sl_messages){ &a->chosen, 1 };
	a->pair.rejected = (struct sl_messages){ &a->rejected, 1 };
}

static double cosine(struct sl_nearest *n, struct answers *pair, struct answers *gold, struct sl_arena *a)
{
	double c = NAN;

	sl_nearest_pair(n, &pair->pair, a);
	sl_nearest_learn(n, &gold->pair, a);
	assert_true(sl_nearest_cosine(n, gold->pair.id, &c));
	return c;
}

static void test_cosines(void **unused)
{
	static const struct {
		const char *chosen, *rejected, *gold_chosen, *gold_rejected;
		double cosine;
	} cases[] = {
		{ "red", "blue", "red", "blue", 1 },
		{ "red", "blue", "blue", "red", -1 },
		{ "red", "blue", "green", "yellow", 0 },
		{ "red", "red", "red", "blue", 0 }, /* no difference */
		{ "", "", "red", "blue", 0 },
		{ "red", "blue", "red", "green", 0.5 },
		/* d = {a, b, "a b"}, {a, c, "a c"}: one of three shared */
		{ "a b", "", "a c", "", 1.0 / 3 },
		/* d = {x:2, "x x":1}, {x:1} */
		{ "x x", "", "x", "", 0.89442719099991588 },
		{ "Red RED", "", "red red", "", 1 },
	};
	struct sl_nearest n = { 0 };
	struct sl_arena a = { 0 };

	(void)unused;
	sl_nearest_init(&n, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct answers pair, gold, swapped;
		double c;

		answers(&pair, 1, cases[i].chosen, cases[i].rejected);
		answers(&gold, 2, cases[i].gold_chosen, cases[i].gold_rejected);
		answers(&swapped, 3, cases[i].rejected, cases[i].chosen);
		c = cosine(&n, &pair, &gold, &a);
		if (!(fabs(c - cases[i].cosine) < 1e-12))
			fail_msg("case %zu: %.17g, expected %.17g", i, c, cases[i].cosine);
		/* Swapping the answers negates it, to the bit; what came before leaves nothing behind. */
		assert_true(cosine(&n, &swapped, &gold, &a) == -c);
		assert_true(cosine(&n, &pair, &gold, &a) == c);
	}
	sl_arena_release(&a);
	sl_nearest_release(&n);
}

static void test_memory(void **unused)
{
	struct sl_nearest n = { 0 };
	struct sl_arena a = { 0 };
	struct answers pair, gold;
	double before, c;
	size_t most = 0;

	(void)unused;
	sl_nearest_init(&n, 4096);
	answers(&pair, 0, "one two three", "four");
	for (uint64_t i = 1; i < 300; i++) {
		char text[64];

		snprintf(text, sizeof text, "one two %llu", (unsigned long long)i);
		answers(&gold, i, text, "five");
		before = cosine(&n, &pair, &gold, &a);
		assert_true(cosine(&n, &pair, &gold, &a) == before); /* learnt twice */
		assert_true(n.kept_bytes <= 4096);
		sl_arena_clear(&a); /* nothing is kept in it */
		most = n.kept_count > most ? n.kept_count : most;
		if (i % 7 == 0) {
			sl_nearest_forget(&n, gold.pair.id);
			sl_nearest_forget(&n, gold.pair.id);
			assert_false(sl_nearest_cosine(&n, gold.pair.id, &c));
		}
	}
	assert_true(most > 10 && n.kept_count < 100);
	sl_arena_release(&a);
	sl_nearest_release(&n);
}

struct shelf {
	struct sl_nearest *n;
	struct sl_arena *a;
	struct answers *golds;
	size_t count, learnt;
};

static bool learn(void *arg, struct sl_id gold)
{
	struct shelf *s = arg;

	for (size_t i = 0; i < s->count; i++)
		if (sl_id_equal(s->golds[i].pair.id, gold)) {
			sl_nearest_learn(s->n, &s->golds[i].pair, s->a);
			s->learnt++;
			return true;
		}
	return false;
}

static void test_votes(void **unused)
{
	static const struct {
		double similarity[3]; /* to "red" over "blue", "blue" over "red", and one that is nowhere */
		const char *labels[3];
		double vote;
		size_t voters;
	} cases[] = {
		{ { 0.5, 0, 0 }, { "chosen", "chosen", "chosen" }, 1, 1 },
		{ { 0.5, 0, 0 }, { "rejected", "chosen", "chosen" }, -1, 1 },
		{ { 0.6, 0.2, 0.9 }, { "chosen", "chosen", "chosen" }, 0.5, 2 },
		{ { 0.6, 0.2, 0 }, { "chosen", "rejected", "chosen" }, 1, 2 },
		{ { 0.6, 0.2, 0 }, { "tie", "chosen", "chosen" }, -1, 1 },
		{ { -0.6, 0, 0.9 }, { "chosen", "chosen", "chosen" }, 0, 0 },
	};
	struct sl_nearest n = { 0 };
	struct sl_arena a = { 0 };
	struct answers golds[2], pair;
	struct shelf shelf = { &n, &a, golds, 2, 0 };

	(void)unused;
	sl_nearest_init(&n, 1 << 20);
	answers(&golds[0], 1, "red", "blue");
	answers(&golds[1], 2, "blue", "red");
	answers(&pair, 3, "red", "blue");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_exemplar x[3];
		struct sl_nearest_vote vote;

		for (size_t k = 0; k < 3; k++)
			x[k] = (struct sl_exemplar){ .id = k < 2 ? golds[k].pair.id : pair.pair.id,
						     .similarity = cases[i].similarity[k],
						     .label = sl_text(cases[i].labels[k]) };
		pair.pair.exemplars = x;
		pair.pair.exemplar_count = 3;
		vote = sl_nearest_ask(&n, &pair.pair, &a, learn, &shelf);
		if (fabs(vote.value - cases[i].vote) > 1e-12 || vote.voters != cases[i].voters)
			fail_msg("case %zu: %g of %zu", i, vote.value, vote.voters);
	}
	assert_int_equal(shelf.learnt, 2); /* each once */
	assert_string_equal(sl_nearest_verdict(0, 0), "undecidable");
	assert_string_equal(sl_nearest_verdict(-0.04, 0.05), "undecidable");
	assert_string_equal(sl_nearest_verdict(-0.05, 0.05), "rejected");
	assert_string_equal(sl_nearest_verdict(1, 0.05), "chosen");
	assert_true(sl_nearest_confidence(-1) == 1 && sl_nearest_confidence(0) == 0.5);
	sl_arena_release(&a);
	sl_nearest_release(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cosines),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_votes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
