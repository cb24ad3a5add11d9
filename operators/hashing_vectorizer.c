/* hashing_vectorizer.c -- see hashing_vectorizer.h.
 *
 * Counting tf exactly would take a hash table with keys. Instead a feature is its
 * 16-bit hash column: one array of counters that stays in the cache, and a list
 * of the columns touched, in order of first occurrence. The column then gives
 * place and sign in the vector: the high bits the place, the lowest the sign. Two
 * features that share a column would, one time in two hundred and fifty-six,
 * have shared a place of the vector anyway. */
#include "hashing_vectorizer.h"

#include "../topology/base/buf.h"
#include "../topology/base/text.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
	COLUMN_BITS = 16,
	COLUMNS = 1 << COLUMN_BITS,
	GRAM_MIN = 3,
	WORD_BYTES_MAX = 64 /* longer "words" are data, not language: their beginning will do */
};

void sl_vectorizer_init(struct sl_vectorizer *v, size_t dim)
{
	assert(dim >= SL_VECTORIZER_DIM_MIN && dim <= SL_VECTORIZER_DIM_MAX);
	v->dim = dim;
	v->counts = sl_calloc(COLUMNS, sizeof *v->counts);
	for (size_t tf = 1; tf < sizeof v->weights / sizeof v->weights[0]; tf++)
		v->weights[tf] = (float)(1 + log((double)tf));
}

void sl_vectorizer_release(struct sl_vectorizer *v)
{
	free(v->counts);
	*v = (struct sl_vectorizer){ 0 };
}

/* Counts one feature. Returns the new end of the list of columns; the entry is
 * written before it is known to be new, so the list needs room for one more. */
static inline uint16_t *touch(uint16_t *counts, uint16_t *end, uint64_t hash)
{
	uint16_t column = (uint16_t)(hash >> (64 - COLUMN_BITS));
	uint16_t tf = counts[column];

	*end = column;
	counts[column] = (uint16_t)(tf + (tf < UINT16_MAX));
	return end + (tf == 0);
}

/* Text has no NUL bytes, so grams of different length are different numbers. */
#define GRAM_MASK(n) (((uint64_t)1 << 8 * (n)) - 1)
#define GRAM_STEP 0x9e3779b97f4a7c15u

/* The 3- to 5-grams of " word ": the spaces tell a beginning from a middle. */
static inline uint16_t *touch_grams(uint16_t *counts, uint16_t *end, const uint8_t *word, size_t size)
{
	uint8_t padded[WORD_BYTES_MAX + 2 + 8];
	uint64_t eight;

	if (size > WORD_BYTES_MAX)
		size = WORD_BYTES_MAX;
	padded[0] = ' ';
	memcpy(padded + 1, word, size);
	memset(padded + 1 + size, 0, 9);
	padded[size + 1] = ' ';
	size += 2;
	for (size_t i = 0; i + GRAM_MIN <= size; i++) {
		size_t left = size - i;

		memcpy(&eight, padded + i, sizeof eight);
		end = touch(counts, end, (eight & GRAM_MASK(3)) * GRAM_STEP);
		if (left > 3)
			end = touch(counts, end, (eight & GRAM_MASK(4)) * GRAM_STEP);
		if (left > 4)
			end = touch(counts, end, (eight & GRAM_MASK(5)) * GRAM_STEP);
	}
	return end;
}

void sl_vectorize(struct sl_vectorizer *v, struct sl_bytes text, struct sl_arena *scratch, float *out)
{
	struct sl_bytes folded = sl_text_fold(scratch, text);
	struct sl_words words = sl_words_of(scratch, folded);
	uint16_t *columns = sl_arena_alloc(scratch, (COLUMNS + 1) * sizeof *columns), *end = columns;
	static const float sign[] = { -1, 1 };
	double squares = 0;

	for (size_t i = 0; i < words.count; i++) {
		end = touch(v->counts, end, words.at[i].hash);
		if (i + 1 < words.count)
			end = touch(v->counts, end, sl_ngram_hash(&words.at[i], 2));
		end = touch_grams(v->counts, end, (const uint8_t *)folded.data + words.at[i].offset, words.at[i].size);
	}

	memset(out, 0, v->dim * sizeof *out);
	for (const uint16_t *c = columns; c < end; c++) {
		uint32_t column = *c;
		uint16_t tf = v->counts[column];
		float weight =
			tf < sizeof v->weights / sizeof v->weights[0] ? v->weights[tf] : (float)(1 + log((double)tf));

		out[column * v->dim >> COLUMN_BITS] += weight * sign[column & 1];
		v->counts[column] = 0;
	}
	for (size_t i = 0; i < v->dim; i++)
		squares += (double)out[i] * out[i];
	if (squares > 0) {
		double scale = 1 / sqrt(squares);

		for (size_t i = 0; i < v->dim; i++)
			out[i] = (float)(out[i] * scale);
	}
	sl_arena_trim(scratch, columns, 0);
}
