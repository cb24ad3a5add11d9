/* test_features.c -- the difference vector: values, order, antisymmetry. */
#include "synthetic.h"

#include "../../trainer/features.h"

#include <math.h>

static void of_texts(struct synthetic *s, const char *chosen, const char *rejected, struct sl_features *f)
{
	struct sl_pair p;

	sl_pair_init(&p);
	p.chosen = synthetic_message(s, "assistant", chosen);
	p.rejected = synthetic_message(s, "assistant", rejected);
	sl_features_of(&p, 18, &s->arena, f);
}

/* Length of the n-gram part. */
static double gram_length(const struct sl_features *f)
{
	double square = 0;

	for (size_t i = 0; i < f->count; i++)
		if (f->columns[i] < 1u << 18)
			square += (double)f->values[i] * (double)f->values[i];
	return sqrt(square);
}

static double style(const struct sl_features *f, enum sl_style which)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->columns[i] == (1u << 18) + (uint32_t)which)
			return (double)f->values[i];
	return 0;
}

static void test_swap_negates_bits(void **state)
{
	struct synthetic s;

	(void)state;
	synthetic_make(&s, 300, 3, 0);
	for (size_t i = 0; i < s.count; i++) {
		struct sl_pair swapped = synthetic_swapped(&s.pairs[i]);
		struct sl_features f, g;

		sl_features_of(&s.pairs[i], 12, &s.arena, &f);
		sl_features_of(&swapped, 12, &s.arena, &g);
		assert_int_equal(f.count, g.count);
		assert_int_equal(f.words_chosen, g.words_rejected);
		assert_memory_equal(f.columns, g.columns, f.count * sizeof *f.columns);
		for (size_t k = 0; k < f.count; k++) {
			float negated = -g.values[k];

			assert_memory_equal(&f.values[k], &negated, sizeof negated);
		}
	}
	synthetic_release(&s);
}

static void test_columns_are_distinct_and_in_range(void **state)
{
	struct synthetic s;

	(void)state;
	synthetic_make(&s, 50, 4, 0);
	for (size_t i = 0; i < s.count; i++) {
		uint8_t *seen = sl_calloc(sl_columns(8), 1); /* 256 columns: many collisions */
		struct sl_features f;

		sl_features_of(&s.pairs[i], 8, &s.arena, &f);
		for (size_t k = 0; k < f.count; k++) {
			assert_true(f.columns[k] < sl_columns(8));
			assert_int_equal(seen[f.columns[k]]++, 0);
			assert_true(isfinite(f.values[k]));
		}
		free(seen);
	}
	synthetic_release(&s);
}

static void test_values(void **state)
{
	struct synthetic s = { 0 };
	struct sl_features f;

	(void)state;
	/* Common words cancel: left are b, ab against c, ac: 4 grams of 1/2 each. */
	of_texts(&s, "a b", "a c", &f);
	assert_true(fabs(gram_length(&f) - 1) < 1e-6);
	assert_int_equal(f.count, 4);
	for (size_t i = 0; i < f.count; i++)
		assert_true(fabs(fabs((double)f.values[i]) - 0.5) < 1e-6);
	/* Nothing but a repeated word: log 3 - log 2 in words. */
	of_texts(&s, "a A", "a", &f);
	assert_true(fabs(style(&f, SL_STYLE_WORDS) - log(1.5)) < 1e-6);
	assert_true(style(&f, SL_STYLE_DISTINCT) == 0);
	of_texts(&s, "# Head\n- one\n* two\n12. three\n\n• four", "one two?", &f);
	assert_true(fabs(style(&f, SL_STYLE_LISTS) - log(5)) < 1e-6);
	assert_true(fabs(style(&f, SL_STYLE_HEADINGS) - log(2)) < 1e-6);
	assert_true(fabs(style(&f, SL_STYLE_DIGITS) - log(3)) < 1e-6);
	assert_true(fabs(style(&f, SL_STYLE_QUESTIONS) + log(2)) < 1e-6);
	assert_true(fabs(style(&f, SL_STYLE_LINES) - log(7. / 2)) < 1e-6);
	of_texts(&s, "Done.", "Not do", &f);
	assert_true(style(&f, SL_STYLE_ENDING) == 1);
	sl_arena_release(&s.arena);
}

static void test_odd_texts(void **state)
{
	static const char *const texts[] = {
		"", " ", "\n\n\n", "!!!", "\xff\xfe\x80", "-", "1", "日本語のテキスト", "a"
	};
	struct synthetic s = { 0 };
	struct sl_features f;
	struct sl_pair none;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
			of_texts(&s, texts[i], texts[k], &f);
			if (i == k)
				assert_int_equal(f.count, 0);
		}
	sl_pair_init(&none); /* no messages at all */
	sl_features_of(&none, 18, &s.arena, &f);
	assert_int_equal(f.count, 0);
	sl_arena_release(&s.arena);
}

static void test_domains_have_their_own_style(void **state)
{
	struct synthetic s;
	struct sl_features f, g;
	struct sl_pair p;

	(void)state;
	synthetic_make(&s, 1, 5, 0);
	p = s.pairs[0];
	sl_features_of(&p, 18, &s.arena, &f);
	p.domain = sl_text("another");
	sl_features_of(&p, 18, &s.arena, &g);
	assert_int_equal(f.count, g.count);
	assert_int_not_equal(f.columns[f.count - 1], g.columns[g.count - 1]);
	assert_int_equal(f.columns[f.count - 2], g.columns[g.count - 2]);
	p.domain = p.source; /* the default, spelt out */
	sl_features_of(&p, 18, &s.arena, &g);
	assert_memory_equal(f.columns, g.columns, f.count * sizeof *f.columns);
	synthetic_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_swap_negates_bits),
		cmocka_unit_test(test_columns_are_distinct_and_in_range),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_odd_texts),
		cmocka_unit_test(test_domains_have_their_own_style),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
