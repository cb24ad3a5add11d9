/* test_pair.c -- the identity of a pair, its split and its text. */
#include "schemas/pair.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* A pair of single messages. */
struct sample {
	struct sl_message prompt, chosen, rejected;
	struct sl_pair pair;
};

static const struct sl_pair *identify(struct sample *s, const char *prompt, const char *chosen, const char *rejected)
{
	struct sl_arena scratch = { 0 };

	s->prompt = (struct sl_message){ sl_text("user"), sl_text(prompt), { 0 } };
	s->chosen = (struct sl_message){ sl_text("assistant"), sl_text(chosen), { 0 } };
	s->rejected = (struct sl_message){ sl_text("assistant"), sl_text(rejected), { 0 } };
	sl_pair_init(&s->pair);
	s->pair.prompt = (struct sl_messages){ &s->prompt, 1 };
	s->pair.chosen = (struct sl_messages){ &s->chosen, 1 };
	s->pair.rejected = (struct sl_messages){ &s->rejected, 1 };
	sl_pair_identify(&s->pair, &scratch);
	sl_arena_release(&scratch);
	return &s->pair;
}

static void test_identity(void **state)
{
	static const struct {
		const char *prompt, *chosen, *rejected;
		bool id, pair_key, group; /* equal to those of ("Why?", "a b", "c") */
	} cases[] = {
		{ "Why?", "a b", "c", true, true, true },
		{ "Why?", "c", "a b", false, true, true },
		{ "why? ", "A  b", "c", false, true, true },
		{ "Why?", "a b", "d", false, false, true },
		{ "Why not?", "a b", "c", false, false, false },
		{ "Why?a", " b", "c", false, false, false }, /* lengths are part of the hash */
		{ "Why?", "a bc", "", false, false, true },
		{ "\xef\xbc\xb7hy?", "a b", "c", false, true, true }, /* full width W */
	};
	struct sample base, other;
	const struct sl_pair *p = identify(&base, "Why?", "a b", "c");

	(void)state;
	assert_false(sl_id_none(p->id));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct sl_pair *q = identify(&other, cases[i].prompt, cases[i].chosen, cases[i].rejected);

		assert_int_equal(sl_id_equal(p->id, q->id), cases[i].id);
		assert_int_equal(sl_id_equal(p->pair_key, q->pair_key), cases[i].pair_key);
		assert_int_equal(sl_id_equal(p->group, q->group), cases[i].group);
	}
}

/* Ids are stored for ever: a change here is a change of format. */
static void test_identity_is_stable(void **state)
{
	struct sample s;
	const struct sl_pair *p = identify(&s, "Why is the sky blue?", "Rayleigh scattering.", "Caf\xc3\xa9 paint.");
	char hex[SL_ID_HEX_SIZE];

	(void)state;
	assert_string_equal(sl_id_hex(p->id, hex), "fee6e06fc42cb4c07212b5143eb24bdc");
	assert_string_equal(sl_id_hex(p->pair_key, hex), "aeb3fbdf0a93f2beea36046956e023c0");
	assert_string_equal(sl_id_hex(p->group, hex), "6396409ea7287173f71977e5b075b872");
}

static void test_roles_and_turns_matter(void **state)
{
	struct sl_message one[] = { { sl_text("user"), sl_text("a"), { 0 } },
				    { sl_text("user"), sl_text("b"), { 0 } } };
	struct sl_message two[] = { { sl_text("user"), sl_text("a"), { 0 } },
				    { sl_text("system"), sl_text("b"), { 0 } } };
	struct sl_arena a = { 0 };
	struct sl_id all = sl_messages_key(&(struct sl_messages){ one, 2 }, &a);

	(void)state;
	assert_false(sl_id_equal(all, sl_messages_key(&(struct sl_messages){ one, 1 }, &a)));
	assert_false(sl_id_equal(all, sl_messages_key(&(struct sl_messages){ two, 2 }, &a)));
	assert_false(sl_id_equal(all, sl_messages_key(&(struct sl_messages){ NULL, 0 }, &a)));
	sl_arena_release(&a);
}

static void test_text(void **state)
{
	struct sl_message m[] = { { sl_text("user"), sl_text("one"), { 0 } },
				  { sl_text("user"), { 0 }, { 0 } },
				  { sl_text("user"), sl_text("three"), { 0 } } };
	struct sl_arena a = { 0 };

	(void)state;
	assert_ptr_equal(sl_messages_text(&(struct sl_messages){ m, 1 }, &a).data, m[0].content.data);
	assert_true(sl_is(sl_messages_text(&(struct sl_messages){ m, 3 }, &a), "one\n\nthree"));
	assert_int_equal(sl_messages_text(&(struct sl_messages){ m, 0 }, &a).size, 0);
	sl_arena_release(&a);
}

static void test_score(void **state)
{
	struct sl_score scores[] = { { .model = sl_text("gold"), .version = 3 }, { .model = sl_text("best") } };
	struct sl_pair p;

	(void)state;
	sl_pair_init(&p);
	assert_null(sl_pair_score(&p, "gold"));
	p.scores = scores;
	p.score_count = 2;
	assert_ptr_equal(sl_pair_score(&p, "gold"), &scores[0]);
	assert_ptr_equal(sl_pair_score(&p, "best"), &scores[1]);
	assert_null(sl_pair_score(&p, "final"));
}

/* 70, 15 and 15 %, and folds that cut each split evenly: 20,000 groups, bounds of
 * over five standard deviations. */
static void test_length_sign_and_domain(void **state)
{
	static const struct {
		const char *chosen, *rejected;
		int sign;
	} cases[] = {
		{ "one two three", "internationalisation", -1 },
		{ "one, two", "one", 1 },
		{ "one two", "two one", 0 },
		{ "\xe6\x97\xa5\xe6\x9c\xac", "four", -1 }, /* two characters, six bytes */
		{ "na\xc3\xafve", "naive", 0 },
		{ "", "", 0 },
	};
	struct sl_message two[2] = { { .content = sl_text("one") }, { .content = sl_text("two") } };
	struct sample s;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(sl_pair_length_sign(identify(&s, "Why?", cases[i].chosen, cases[i].rejected)),
				 cases[i].sign);
	identify(&s, "Why?", "one", "one");
	s.pair.chosen = (struct sl_messages){ two, 2 }; /* all messages count */
	assert_int_equal(sl_pair_length_sign(&s.pair), 1);

	s.pair.source = sl_text("s");
	assert_true(sl_is(sl_pair_domain(&s.pair), "s"));
	s.pair.domain = sl_text("d");
	assert_true(sl_is(sl_pair_domain(&s.pair), "d"));
}

static void test_split_and_folds(void **state)
{
	enum { GROUPS = 20000, FOLDS = 5 };
	int splits[3] = { 0 }, folds[3][FOLDS] = { { 0 } };

	(void)state;
	for (int i = 0; i < GROUPS; i++) {
		struct sl_id group = sl_hash128(&i, sizeof i);
		enum sl_split split = sl_split_of(group);
		unsigned fold = sl_fold_of(group, FOLDS);

		assert_true(fold < FOLDS);
		assert_int_equal(split, sl_split_of(group));
		splits[split]++;
		folds[split][fold]++;
	}
	assert_true(abs(splits[SL_SPLIT_TRAIN] - 14000) < 350);
	assert_true(abs(splits[SL_SPLIT_SELECT] - 3000) < 260);
	assert_true(abs(splits[SL_SPLIT_REPORT] - 3000) < 260);
	for (int s = 0; s < 3; s++)
		for (int f = 0; f < FOLDS; f++)
			assert_true(abs(folds[s][f] - splits[s] / FOLDS) < splits[s] / FOLDS / 4);
	assert_int_equal(sl_fold_of((struct sl_id){ { 0 } }, 1), 0);
}

static void test_sigmoid(void **state)
{
	(void)state;
	assert_true(sl_sigmoid(0) == 0.5);
	assert_true(sl_sigmoid(1e9) == 1);
	assert_true(sl_sigmoid(-1e9) == 0);
	assert_true(sl_sigmoid(-700) > 0);
	assert_true(fabs(sl_sigmoid(1) - 0.7310585786300049) < 1e-15);
	assert_true(fabs(sl_sigmoid(-3) + sl_sigmoid(3) - 1) < 1e-15);
	assert_true(isnan(sl_sigmoid((double)NAN)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_identity_is_stable),
		cmocka_unit_test(test_roles_and_turns_matter),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_score),
		cmocka_unit_test(test_length_sign_and_domain),
		cmocka_unit_test(test_split_and_folds),
		cmocka_unit_test(test_sigmoid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
