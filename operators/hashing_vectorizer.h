/* hashing_vectorizer.h -- a text as a unit vector, without a model.
 *
 * Signed feature hashing (Weinberger et al., "Feature Hashing for Large Scale
 * Multitask Learning", ICML 2009) of words, word pairs and the 3- to 5-grams of
 * the bytes of each word. A feature that occurs tf times weighs 1 + ln tf. The
 * cosine of two vectors says how much of their wording two texts share; topics
 * that share no words look unrelated.
 *
 * A vector depends on its text alone: no BLAS, no statistics of other texts,
 * sums in the order of first occurrence. */
#ifndef SL_HASHING_VECTORIZER_H
#define SL_HASHING_VECTORIZER_H

#include "../topology/base/arena.h"
#include "../topology/base/bytes.h"

#define SL_VECTORIZER_DIM_MIN 16
#define SL_VECTORIZER_DIM_MAX 4096

/* Scratch memory and the dimension; one thread at a time. */
struct sl_vectorizer {
	size_t dim;
	uint16_t *counts;  /* per hash column, all 0 between calls */
	float weights[64]; /* 1 + ln tf */
};

void sl_vectorizer_init(struct sl_vectorizer *v, size_t dim);
void sl_vectorizer_release(struct sl_vectorizer *v); /* safe on a zeroed one */

/* `out`: dim numbers of unit length, or all 0 when the text has no words. */
void sl_vectorize(struct sl_vectorizer *v, struct sl_bytes text, struct sl_arena *scratch, float *out);

#endif
