/* Shingles, exact Jaccard, bands, rows and the index. */
#include "operators/minhash.h"
#include "operators/seen.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct sl_id key_a = { { 1, 2, 3, 4 } }, key_b = { { 9, 9, 9, 9 } };

static struct sl_shingles cut(struct sl_arena *a, const char *text, struct sl_id key)
{
	return sl_shingles_sorted(a, sl_shingles_of(a, sl_words_of(a, sl_text(text)), key));
}

static void test_jaccard(void **state)
{
	static const struct {
		const char *a, *b;
		bool same_key; /* of the folded texts */
		double jaccard;
	} rows[] = {
		{ "a b c d e f g h", "a b c d e f g h", true, 1 },
		{ "a b c d e f g h", "A, b. C; d! (e) f-g h", false, 1 },
		{ "a b c d e f g h", "a b c d e f g i", false, 3.0 / 5 },
		{ "a b c d e", "e d c b a", false, 0 },
		{ "a b c d e", "b a c d e", false, 0 },
		{ "a b c d e f g h", "a b c d e f", false, 2.0 / 4 },
		{ "a a a a a a a a a a", "a a a a a", false, 1 }, /* a set counts a repeat once */
		{ "a b c d", "a b c d", true, 1 },
		{ "a b c d", "a b c d", false, 0 }, /* under five words: the folded text decides */
		{ "", "", true, 1 },
		{ "a b c d", "a b c d e", true, 0 },
		/* five Chinese characters are five words, four are not */
		{ "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7",
		  "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7\xe3\x80\x82", false, 1 },
		{ "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92",
		  "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe3\x80\x82", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_arena arena = { 0 };
		struct sl_shingles a = cut(&arena, rows[i].a, key_a);
		struct sl_shingles b = cut(&arena, rows[i].b, rows[i].same_key ? key_a : key_b);

		if (fabs(sl_jaccard(a, b) - rows[i].jaccard) > 1e-12 || sl_jaccard(a, b) != sl_jaccard(b, a))
			fail_msg("'%s' and '%s': %g, expected %g", rows[i].a, rows[i].b, sl_jaccard(a, b),
				 rows[i].jaccard);
		sl_arena_release(&arena);
	}
}

static void test_sorted_is_a_set(void **state)
{
	struct sl_arena arena = { 0 };

	(void)state;
	for (size_t n = 1; n < 3000; n = 3 * n / 2 + 1) {
		uint32_t *at = sl_arena_alloc(&arena, n * sizeof *at);
		struct sl_shingles set;

		for (size_t i = 0; i < n; i++)
			at[i] = (uint32_t)sl_mix64(i % (n / 2 + 1) + 1);
		set = sl_shingles_sorted(&arena, (struct sl_shingles){ at, n, false });
		assert_int_equal(set.count, n < n / 2 + 1 ? n : n / 2 + 1);
		for (size_t i = 1; i < set.count; i++)
			assert_true(set.at[i - 1] < set.at[i]);
	}
	sl_arena_release(&arena);
}

/* A set of `count` hashes; the first `shared` are the same for seeds 2i and 2i + 1. */
static struct sl_shingles random_set(struct sl_arena *a, size_t count, size_t shared, uint64_t part, uint64_t seed)
{
	struct sl_shingles s = { sl_arena_alloc(a, count * sizeof(uint32_t)), count, false };

	for (uint64_t i = 0; i < count; i++)
		s.at[i] = (uint32_t)sl_mix64(((i < shared ? seed / 2 : seed + (1u << 20)) * 4 + part) * 1000003 + i);
	return s;
}

static bool share_a_band(const uint32_t *x, const uint32_t *y)
{
	for (size_t b = 0; b < SL_BANDS; b++)
		if (x[b] == y[b])
			return true;
	return false;
}

/* Candidates follow 1 - (1 - J^8)^16, and a foreign answer makes none. */
static void test_candidate_curve(void **state)
{
	enum { TRIALS = 1500, WORDS = 120 };
	static const struct {
		size_t shared; /* of WORDS, in the prompt and in one answer */
		size_t other;  /* in the other answer */
	} rows[] = { { 120, 120 }, { 114, 114 }, { 107, 107 }, { 96, 96 },
		     { 80, 80 },   { 60, 60 },   { 120, 0 },   { 120, 30 } };
	struct sl_minhash h;

	(void)state;
	sl_minhash_init(&h);
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		double j = (double)rows[r].shared / (2 * WORDS - (double)rows[r].shared);
		double k = (double)rows[r].other / (2 * WORDS - (double)rows[r].other);
		double expected = 1 - pow(1 - pow(j, 5) * pow(k, 3), SL_BANDS), measured = 0;

		for (uint64_t i = 0; i < TRIALS; i++) {
			struct sl_arena a = { 0 };
			uint32_t x[SL_BANDS], y[SL_BANDS], swapped[SL_BANDS];
			struct sl_shingles p = random_set(&a, WORDS, rows[r].shared, 1, 2 * i);
			struct sl_shingles c = random_set(&a, WORDS, rows[r].shared, 2, 2 * i);
			struct sl_shingles d = random_set(&a, WORDS, rows[r].other, 3, 2 * i);

			sl_minhash_bands(&h, p, c, d, x);
			sl_minhash_bands(&h, p, d, c, swapped);
			assert_memory_equal(x, swapped, sizeof x);
			sl_minhash_bands(&h, random_set(&a, WORDS, rows[r].shared, 1, 2 * i + 1),
					 random_set(&a, WORDS, rows[r].shared, 2, 2 * i + 1),
					 random_set(&a, WORDS, rows[r].other, 3, 2 * i + 1), y);
			measured += share_a_band(x, y);
			sl_arena_release(&a);
		}
		measured /= TRIALS;
		/* four standard deviations */
		if (fabs(measured - expected) > 4 * sqrt(expected * (1 - expected) / TRIALS) + 0.002)
			fail_msg("Jaccard %.3f and %.3f: %.4f are candidates, expected %.4f", j, k, measured, expected);
	}
}

/* The same bits on every machine, with and without AVX2: stores outlive machines. */
static void test_bands_are_fixed(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_minhash h;
	uint32_t bands[SL_BANDS];

	(void)state;
	sl_minhash_init(&h);
	sl_minhash_bands(&h, cut(&a, "one two three four five six seven", key_a), cut(&a, "a b c d e f g h i", key_a),
			 cut(&a, "nine eight seven six five four three", key_a), bands);
	assert_int_equal(bands[0], 0x8ab97b57);
	assert_int_equal(bands[15], 0x59313ecb);
	sl_minhash_bands(&h, cut(&a, "one two three four five six seven", key_a), cut(&a, "yes", key_a),
			 cut(&a, "no", key_b), bands);
	assert_int_equal(bands[0], 0xe0376c0e);
	sl_arena_release(&a);
}

static struct sl_seen example(struct sl_arena *a)
{
	struct sl_seen s = {
		.id = key_a, .pair_key = key_b, .group = key_a, .chosen_key = 0x1122334455667788u, .gold = true
	};

	for (uint32_t b = 0; b < SL_BANDS; b++)
		s.bands[b] = 1000 + b;
	s.part[SL_PROMPT] = sl_shingles_of(a, sl_words_of(a, sl_text("one two three four five six seven")), key_a);
	s.part[SL_CHOSEN] = sl_shingles_of(a, sl_words_of(a, sl_text("yes")), key_a);
	s.part[SL_REJECTED] = sl_shingles_of(a, sl_words_of(a, sl_text("a b c d e f")), key_a);
	return s;
}

static void test_row(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_seen s = example(&a), back;
	struct sl_buf row = { 0 };

	(void)state;
	sl_seen_encode(&s, &row);
	assert_int_equal(row.size, 41 + 64 + 12 + 4 * (3 + 1 + 2) + 16);
	assert_true(sl_seen_decode(sl_buf_bytes(&row), &a, &back));
	assert_true(sl_id_equal(back.id, s.id) && sl_id_equal(back.pair_key, s.pair_key) && back.gold);
	assert_true(sl_id_equal(back.group, s.group));
	assert_true(back.chosen_key == s.chosen_key);
	assert_memory_equal(back.bands, s.bands, sizeof s.bands);
	for (int p = 0; p < SL_PARTS; p++) {
		assert_int_equal(back.part[p].count, s.part[p].count);
		assert_int_equal(back.part[p].whole, s.part[p].whole);
		assert_memory_equal(back.part[p].at, s.part[p].at, 4 * s.part[p].count);
	}
	/* every other length is no row, nor is another format */
	for (size_t size = 0; size < row.size; size++) {
		uint8_t *part = malloc(size + 1);

		memcpy(part, row.data, size);
		assert_false(sl_seen_decode((struct sl_bytes){ part, size }, &a, &back));
		free(part);
	}
	row.data[0] ^= 0x40;
	assert_false(sl_seen_decode(sl_buf_bytes(&row), &a, &back));
	row.data[0] ^= 0x40 ^ 0x30; /* the first format, which had no group */
	assert_false(sl_seen_decode(sl_buf_bytes(&row), &a, &back));
	assert_true(sl_seen_decode((struct sl_bytes){ row.data, row.size - 16 }, &a, &back));
	assert_true(sl_id_none(back.group) && back.part[SL_REJECTED].count == 2);
	row.data[0] ^= 0x30;
	memset(row.data + 105, 0xff, 12); /* counts */
	assert_false(sl_seen_decode(sl_buf_bytes(&row), &a, &back));
	sl_buf_release(&row);
	sl_arena_release(&a);
}

static void hashes_of(uint32_t row, uint32_t hashes[SL_PROBES])
{
	for (uint32_t p = 0; p < SL_PROBES; p++)
		hashes[p] = (uint32_t)sl_mix64((uint64_t)row * SL_PROBES + p + 1);
	hashes[3] = 77;                     /* everybody's */
	hashes[4] = 0xfffffff0u + row % 16; /* at the end of the table, where runs wrap around */
}

static void test_index(void **state)
{
	enum { ROWS = 5000 };
	struct sl_index x = { 0 };
	uint32_t hashes[SL_PROBES], rows[SL_INDEX_DEPTH];

	(void)state;
	assert_int_equal(sl_index_find(&x, 77, rows), 0);
	for (uint32_t row = 0; row < ROWS; row++) {
		hashes_of(row, hashes);
		sl_index_add(&x, hashes, row);
	}
	for (uint32_t row = 0; row < ROWS; row++) {
		hashes_of(row, hashes);
		assert_int_equal(sl_index_find(&x, hashes[0], rows), 1);
		assert_int_equal(rows[0], row);
	}
	/* a common hash keeps its first rows, in order, also over growth and wrap-around */
	assert_int_equal(sl_index_find(&x, 77, rows), SL_INDEX_DEPTH);
	for (uint32_t i = 0; i < SL_INDEX_DEPTH; i++)
		assert_int_equal(rows[i], i);
	for (uint32_t h = 0; h < 16; h++) {
		assert_int_equal(sl_index_find(&x, 0xfffffff0u + h, rows), SL_INDEX_DEPTH);
		for (uint32_t i = 0; i < SL_INDEX_DEPTH; i++)
			assert_int_equal(rows[i], 16 * i + h);
	}
	sl_index_release(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jaccard),
		cmocka_unit_test(test_sorted_is_a_set),
		cmocka_unit_test(test_candidate_curve),
		cmocka_unit_test(test_bands_are_fixed),
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
