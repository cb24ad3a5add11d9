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
	GRAM_MAX = 5,
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

struct touched {
	uint16_t *counts;
	uint16_t *columns; /* each at most once: COLUMNS is room enough */
	size_t count;
};

static inline void touch(struct touched *t, uint64_t hash)
{
	uint16_t column = (uint16_t)(hash >> (64 - COLUMN_BITS));
	uint16_t tf = t->counts[column];

	t->columns[t->count] = column;
	t->count += tf == 0;
	t->counts[column] = (uint16_t)(tf + (tf < UINT16_MAX));
}

/* The n-grams of " word ": the spaces tell a beginning from a middle. */
static void touch_grams(struct touched *t, const uint8_t *word, size_t size)
{
	uint8_t padded[WORD_BYTES_MAX + 2 + 8] = { ' ' };

	if (size > WORD_BYTES_MAX)
		size = WORD_BYTES_MAX;
	memcpy(padded + 1, word, size);
	padded[size + 1] = ' ';
	size += 2;
	for (size_t i = 0; i + GRAM_MIN <= size; i++) {
		uint64_t eight = sl_get_le64(padded + i);

		for (size_t n = GRAM_MIN; n <= GRAM_MAX && i + n <= size; n++) {
			uint64_t gram = (eight & (((uint64_t)1 << 8 * n) - 1)) | (uint64_t)n << 56;

			gram *= 0x9e3779b97f4a7c15u;
			touch(t, (gram ^ gram >> 32) * 0xd6e8feb86659fd93u);
		}
	}
}

void sl_vectorize(struct sl_vectorizer *v, struct sl_bytes text, struct sl_arena *scratch, float *out)
{
	struct sl_bytes folded = sl_text_fold(scratch, text);
	struct sl_words words = sl_words_of(scratch, folded);
	struct touched t = { .counts = v->counts };
	double squares = 0;

	/* One more: touch() writes before it knows whether the column is new. */
	t.columns = sl_arena_alloc(scratch, (COLUMNS + 1) * sizeof *t.columns);
	for (size_t i = 0; i < words.count; i++) {
		touch(&t, words.at[i].hash);
		if (i + 1 < words.count)
			touch(&t, sl_ngram_hash(&words.at[i], 2));
		touch_grams(&t, (const uint8_t *)folded.data + words.at[i].offset, words.at[i].size);
	}

	memset(out, 0, v->dim * sizeof *out);
	for (size_t i = 0; i < t.count; i++) {
		uint32_t column = t.columns[i];
		uint16_t tf = v->counts[column];
		float weight =
			tf < sizeof v->weights / sizeof v->weights[0] ? v->weights[tf] : (float)(1 + log((double)tf));

		out[column * v->dim >> COLUMN_BITS] += column & 1 ? weight : -weight;
		v->counts[column] = 0;
	}
	for (size_t i = 0; i < v->dim; i++)
		squares += (double)out[i] * out[i];
	if (squares > 0) {
		double scale = 1 / sqrt(squares);

		for (size_t i = 0; i < v->dim; i++)
			out[i] = (float)(out[i] * scale);
	}
	sl_arena_trim(scratch, t.columns, 0);
}
