/* text.h -- text as the operators see it: valid UTF-8, folded, cut into words.
 *
 * A word is a maximal run of letters, marks and digits (Unicode general
 * categories L*, M*, N*), compared case-folded; every Chinese, Japanese or
 * Korean character (Han, Hiragana, Katakana, Hangul) is a word of its own,
 * because those scripts write no spaces. Words are handed out as 64-bit hashes:
 * every user (dedupe, embed, the linear model, the nearest judge) works on
 * n-grams of word hashes, and a hash costs one pass over the text. ASCII takes
 * a fast path that never leaves the loop; both paths give the same hash for the
 * same word. */
#ifndef SL_TEXT_H
#define SL_TEXT_H

#include "arena.h"
#include "bytes.h"
#include "hash.h"

/* Strictly valid UTF-8 (no surrogates, no overlong forms) without NUL bytes.
 * On failure *bad is the offset of the first bad byte. */
bool sl_utf8_valid(struct sl_bytes text, size_t *bad);

/* Bytes of the character at `at` if it is one that a terminal or a page does and does not show: a control character
 * (C0, DEL, C1), an end of a line or a paragraph, a mark or an override of direction. Else 0. size > 0. */
size_t sl_text_unseen(const void *at, size_t size);

/* NFKC with case folding, white space runs as one space, trimmed. Invalid
 * UTF-8 is copied as it is. The result lives in the arena. Idempotent. */
struct sl_bytes sl_text_fold(struct sl_arena *a, struct sl_bytes text);

/* The words of a text, in order. `offset` is where the word begins in the
 * text, `size` its length in bytes: used to quote a match. */
struct sl_word {
	uint64_t hash;
	uint32_t offset;
	uint32_t size;
};

struct sl_words {
	struct sl_word *at; /* in the arena */
	size_t count;
};

struct sl_words sl_words_of(struct sl_arena *a, struct sl_bytes text);
/* How many they are, without the hashes: several times as fast. */
size_t sl_words_count(struct sl_bytes text);

/* Of hashes of words and of n-grams. */
#define SL_WORD_SEED 0x9e3779b97f4a7c15u

/* The hash of the n words that begin at w[0], in order. Not the XOR or sum of
 * them: "a b" and "b a" differ. n >= 1; n == 1 still mixes. */
static inline uint64_t sl_ngram_hash(const struct sl_word *w, size_t n)
{
	uint64_t h = n * SL_WORD_SEED;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ w[i].hash) * 0xc2b2ae3d27d4eb4fu;
		h ^= h >> 32;
	}
	return sl_mix64(h);
}

#endif
