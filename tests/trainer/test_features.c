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
	for (size_t i = 0; i < f.count; i++)
		if (f.columns[i] < 1u << 18)
			assert_true(fabs(fabs((double)f.values[i]) - 0.5) < 1e-6);
	sl_arena_release(&s.arena);
}

/* A style value is a difference times a fixed number: so two pairs whose raw differences stand in a known ratio tell
 * whether the right thing is counted, whatever the unit. */
static void test_style(void **state)
{
	static const struct {
		enum sl_style which;
		const char *prompt, *one, *other; /* each against ""  */
		double ratio;                     /* value of one / value of other */
	} rows[] = {
		{ SL_STYLE_WORDS, "", "a A a", "a", 2 }, /* log 4 / log 2 */
		{ SL_STYLE_DISTINCT, "", "a b c", "a A a", 2 },
		{ SL_STYLE_DISTINCT_PAIRS, "", "a b c d", "a a a", 2 },
		{ SL_STYLE_REPEATED, "", "a a a a", "b b", 2 },
		{ SL_STYLE_REPEATED_PAIRS, "", "a a a a a", "a a a", 2 },
		{ SL_STYLE_BYTES, "", "123", "1", 2 },
		{ SL_STYLE_LINES, "", "a\nb\n\n", "a", 2 },
		{ SL_STYLE_PARAGRAPHS, "", "a\n\nb\n\nc\n\nd", "a\n\nb", 2 },
		{ SL_STYLE_LISTS, "", "- one\n* two\n12. three", "\xe2\x80\xa2 four\n-no", 2 },
		{ SL_STYLE_HEADINGS, "", "# a\n## b\n# c\n", "a\n#", 2 },
		{ SL_STYLE_EMPHASIS, "", "**`", "*", 2 },
		{ SL_STYLE_BEGINNING, "", "One", "A", 1 },
		{ SL_STYLE_ENDING, "", "Done.\n", "do)", 1 },
		{ SL_STYLE_DIGITS, "", "a 1 23", "7", 2 },
		{ SL_STYLE_QUESTIONS, "", "? a ??", "?", 2 },
		{ SL_STYLE_CALLS, "", "!!!", "!", 2 },
		{ SL_STYLE_COMMAS, "", "a,,,", "b,", 2 },
		{ SL_STYLE_STOPS, "", "...", ".", 2 },
		{ SL_STYLE_QUOTES, "", "\"a\" \"", "\"", 2 },
		{ SL_STYLE_APOSTROPHES, "", "'a' '", "'", 2 },
		{ SL_STYLE_PARENTHESES, "", "(()(", "(", 2 },
		{ SL_STYLE_COLONS, "", "::;", ":", 2 },
		{ SL_STYLE_HYPHENS, "", "---", "a-b", 2 },
		{ SL_STYLE_MARKS, "", "{%~", "/", 2 },
		{ SL_STYLE_MARK_SHARE, "", "a.", "abc|", 2 },
		{ SL_STYLE_UPPER, "", "AbZM", "Q", 2 },
		{ SL_STYLE_UPPER_SHARE, "", "Ab", "aBcd", 2 },
		{ SL_STYLE_FOREIGN, "", "\xe2\x80\xa2", "\xc2\xa0\xc3", 1 },
		{ SL_STYLE_WORD_LENGTH, "", "abcd ef", "abc de f", 1.5 },
		{ SL_STYLE_LONG_WORDS, "", "abcdefg", "abcdefgh abcdef", 2 },
		{ SL_STYLE_CAPITALS, "", "AB CDE FG I", "NO I Do", 2 },
		{ SL_STYLE_SENTENCES, "", "a. b! c? d", "a.b c.", 2 },
		{ SL_STYLE_SENTENCE_LENGTH, "", "a b c. d e f.", "a. b.", 2 },
		{ SL_STYLE_JOINED, "", "a,b.c!d 1.5", "a.b, c", 2 },
		{ SL_STYLE_SELF, "", "I i I", "I am", 2 },
		{ SL_STYLE_YOU, "", "you Your you", "YOU", 2 },
		{ SL_STYLE_REFUSAL, "", "Sorry, I can't. I cannot", "unable won", 2 },
		{ SL_STYLE_DISTINCT_SHARE, "", "a a b b", "c c d d", 1 },
		{ SL_STYLE_DISTINCT_PAIR_SHARE, "", "a a a", "c c c", 1 },
		{ SL_STYLE_FROM_PROMPT, "Red green blue?", "red green blue green", "the red one", 2 },
		{ SL_STYLE_FROM_PROMPT_SHARE, "red", "red", "the red", 2 },
	};
	struct synthetic s = { 0 };
	bool told[SL_STYLE_COUNT] = { false };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const texts[2] = { rows[i].one, rows[i].other };
		double values[2];

		for (int k = 0; k < 2; k++) {
			struct sl_features f;
			struct sl_pair p;

			sl_pair_init(&p);
			p.prompt = synthetic_message(&s, "user", rows[i].prompt);
			p.chosen = synthetic_message(&s, "assistant", texts[k]);
			p.rejected = synthetic_message(&s, "assistant", "");
			sl_features_of(&p, 18, &s.arena, &f);
			values[k] = style(&f, rows[i].which);
		}
		if (values[1] == 0 || fabs(values[0] / values[1] - rows[i].ratio) > 1e-6)
			fail_msg("row %zu: '%s' %g, '%s' %g", i, texts[0], values[0], texts[1], values[1]);
		told[rows[i].which] = true;
	}
	for (int i = 0; i < SL_STYLE_COUNT; i++)
		if (!told[i])
			fail_msg("style %d has no row", i);
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
		cmocka_unit_test(test_style),
		cmocka_unit_test(test_odd_texts),
		cmocka_unit_test(test_domains_have_their_own_style),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
