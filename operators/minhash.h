/* minhash.h -- how alike two texts are, exactly and by signature.
 *
 * A text is the set of its word 5-grams (shingles), each as a 32-bit hash. A text
 * under five words has none: it stands for itself, as a set of one, so that it
 * equals only itself. Exact Jaccard on these sets decides; MinHash only proposes. */
#ifndef SL_MINHASH_H
#define SL_MINHASH_H

#include "../topology/base/arena.h"
#include "../topology/base/hash.h"
#include "../topology/base/text.h"

enum { SL_SHINGLE_WORDS = 5, SL_BANDS = 16, SL_BAND_ROWS = 8, SL_PERMUTATIONS = SL_BANDS * SL_BAND_ROWS };

struct sl_shingles {
	uint32_t *at; /* in the arena */
	size_t count; /* at least 1 */
	bool whole;   /* under five words: the one hash is that of the folded text */
};

/* The shingles of a text in order, repeats kept. `key` is the hash of its folded
 * text: it stands for a text that is too short to cut. */
struct sl_shingles sl_shingles_of(struct sl_arena *a, struct sl_words words, struct sl_id key);

/* A sorted copy without repeats: what sl_jaccard takes. */
struct sl_shingles sl_shingles_sorted(struct sl_arena *a, struct sl_shingles s);

/* |a and b| / |a or b| of two sorted sets: 0 to 1. A short text and a long one share nothing. */
double sl_jaccard(struct sl_shingles a, struct sl_shingles b);

/* The permutations: row r of band b is x -> multiply[r * SL_BANDS + b] * x + add[...] mod 2^32. */
struct sl_minhash {
	uint32_t multiply[SL_PERMUTATIONS];
	uint32_t add[SL_PERMUTATIONS];
};
void sl_minhash_init(struct sl_minhash *h); /* always the same ones */

/* The band hashes of a pair: two pairs are candidates if any is equal. A band is equal
 * with probability Jp^a Jc^b Jr^b, where a + 2b = 8 (minhash.c), so with 0.95 in all
 * at Jaccard 0.8 of each part. The two answers are unordered: a label-swapped copy
 * has the same bands. */
void sl_minhash_bands(const struct sl_minhash *h, struct sl_shingles prompt, struct sl_shingles chosen,
		      struct sl_shingles rejected, uint32_t bands[SL_BANDS]);

#endif
