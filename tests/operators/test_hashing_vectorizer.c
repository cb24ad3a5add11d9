/* Hashed vectors: unit length, a function of the text alone, near for near texts. */
#include "operators/cosine.h"
#include "operators/hashing_vectorizer.h"
#include "topology/base/buf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DIM = 256 };

static const char *const texts[] = {
	"Write a poem about the sea in the style of Emily Dickinson.",
	"Write a short poem about the sea, in the style of Emily Dickinson!",
	"How do I reverse a linked list in C?",
	"how do i REVERSE a  linked list in c",
	"",
	"  \n\t ... ",
	"a",
	"写一首关于大海的诗",
	"写一首关于高山的诗",
	"caf\xc3\xa9 na\xc3\xafve",
	"cafe\xcc\x81 nai\xcc\x88ve",
	"\xff\xfe broken \x80 bytes",
};
enum { TEXTS = sizeof texts / sizeof texts[0] };

static double length(const float *v)
{
	return sqrt(sl_cosine_dot(v, v, DIM));
}

static void test_unit_length(void **unused)
{
	struct sl_vectorizer v = { 0 };
	struct sl_arena a = { 0 };

	(void)unused;
	sl_vectorizer_init(&v, DIM);
	for (size_t i = 0; i < TEXTS; i++) {
		float out[DIM];

		sl_vectorize(&v, sl_text(texts[i]), &a, out);
		if (i == 4 || i == 5)
			assert_true(length(out) == 0);
		else
			assert_true(fabs(length(out) - 1) < 1e-6);
	}
	sl_arena_release(&a);
	sl_vectorizer_release(&v);
}

static void test_near_texts_are_near(void **unused)
{
	static const struct {
		int a, b;
		double least, most;
	} cases[] = {
		{ 0, 1, 0.7, 0.99 }, /* reworded */
		{ 2, 3, 1, 1 },      /* case and spaces */
		{ 9, 10, 1, 1 },     /* composed and decomposed */
		{ 0, 2, -0.3, 0.3 }, /* another topic */
		{ 7, 8, 0.4, 0.99 }, { 7, 0, -0.3, 0.3 },
	};
	struct sl_vectorizer v = { 0 };
	struct sl_arena a = { 0 };

	(void)unused;
	sl_vectorizer_init(&v, DIM);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		float x[DIM], y[DIM];
		double cosine;

		sl_vectorize(&v, sl_text(texts[cases[i].a]), &a, x);
		sl_vectorize(&v, sl_text(texts[cases[i].b]), &a, y);
		cosine = sl_cosine_dot(x, y, DIM);
		if (!(cosine >= cases[i].least - 1e-6 && cosine <= cases[i].most + 1e-6))
			fail_msg("case %zu: cosine %f, expected %f to %f", i, cosine, cases[i].least, cases[i].most);
	}
	sl_arena_release(&a);
	sl_vectorizer_release(&v);
}

/* The same bits whatever was embedded before, by whichever instance. */
static void test_texts_do_not_mix(void **unused)
{
	struct sl_vectorizer shared = { 0 };
	struct sl_arena a = { 0 };

	(void)unused;
	sl_vectorizer_init(&shared, DIM);
	for (size_t i = 0; i < 200; i++) {
		struct sl_vectorizer fresh = { 0 };
		float x[DIM], y[DIM];
		struct sl_bytes text = sl_text(texts[i * 7 % TEXTS]);

		sl_vectorizer_init(&fresh, DIM);
		sl_vectorize(&shared, text, &a, x);
		sl_vectorize(&fresh, text, &a, y);
		assert_memory_equal(x, y, sizeof x);
		sl_vectorizer_release(&fresh);
	}
	sl_arena_release(&a);
	sl_vectorizer_release(&shared);
}

/* Long words, a million words, every dimension: in bounds (for the sanitizers). */
static void test_extremes(void **unused)
{
	static const size_t dims[] = { SL_VECTORIZER_DIM_MIN, 17, 1000, SL_VECTORIZER_DIM_MAX };
	struct sl_buf big = { 0 };

	(void)unused;
	for (uint64_t i = 0; i < 200000; i++)
		sl_buf_print(&big, "%llx ", (unsigned long long)sl_mix64(i));
	memset(big.data, 'x', 5000);
	for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
		struct sl_vectorizer v = { 0 };
		struct sl_arena a = { 0 };
		float out[SL_VECTORIZER_DIM_MAX];

		sl_vectorizer_init(&v, dims[i]);
		sl_vectorize(&v, sl_buf_bytes(&big), &a, out);
		assert_true(fabs(sl_cosine_dot(out, out, dims[i]) - 1) < 1e-5);
		sl_vectorizer_release(&v);
		sl_arena_release(&a);
	}
	sl_buf_release(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unit_length),
		cmocka_unit_test(test_near_texts_are_near),
		cmocka_unit_test(test_texts_do_not_mix),
		cmocka_unit_test(test_extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
