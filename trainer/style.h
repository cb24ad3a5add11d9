/* style.h -- inside trainer/ only: what one answer looks like, as numbers.
 *
 * Everything here is about form: length, shape, punctuation, repetition, how much of the prompt comes back. None of
 * it knows what the text says. features.c takes the differences of two answers. */
#ifndef SL_STYLE_H
#define SL_STYLE_H

#include "../topology/base/text.h"
#include "features.h"

/* Which words a prompt has: a bitmap of their hashes. One word in fifty that is not there is taken for one that is, in
 * a prompt of the greatest size; the same ones for both answers. */
#define SL_PROMPT_BITS 8192
struct sl_prompt_words {
	uint64_t bits[SL_PROMPT_BITS / 64];
};

/* The words of the last message, of its last SL_PROMPT_BYTES only: the question stands at the end. */
#define SL_PROMPT_BYTES 1024
void sl_prompt_words_of(struct sl_prompt_words *p, struct sl_bytes text, struct sl_arena *a);

static inline bool sl_prompt_has(const struct sl_prompt_words *p, uint64_t hash)
{
	return p->bits[hash % SL_PROMPT_BITS / 64] >> (hash % 64) & 1;
}

/* What the counting of n-grams knows already. */
struct sl_gram_counts {
	uint64_t distinct, distinct_pairs; /* words, word pairs */
	uint64_t from_prompt;              /* distinct words that the prompt has */
};

/* Every style value of a text, in units of a typical difference between two answers. */
void sl_style_of(struct sl_bytes text, struct sl_words words, const struct sl_gram_counts *grams,
		 double style[SL_STYLE_COUNT]);

#endif
