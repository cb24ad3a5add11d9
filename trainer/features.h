/* features.h -- what the linear model sees of a pair: a sparse vector.
 *
 *     columns 0 .. 2^columns_log2 - 1    hashed words and word pairs of the answers
 *     SL_STYLE_COUNT columns behind      style: length, lists, emphasis ...
 *     SL_DOMAINS times as many behind    the same once more for the pair's domain
 *
 * A domain (`domain`, or else `source`) has its own copy of the style columns,
 * because style means different things to different people: in one set the longer
 * answer wins, in another it loses.
 *
 * The vector is a difference, chosen - rejected, so swapping the answers negates
 * every value. It is negated to the bit, and listed in the same order: the order
 * of the entries is fixed by the two texts, not by which of them is chosen. A sum
 * taken in list order is therefore antisymmetric to the bit too.
 *
 * The prompt is not looked at: what is the same for both answers cancels. */
#ifndef SL_FEATURES_H
#define SL_FEATURES_H

#include "../schemas/pair.h"

/* Changes with anything that changes a value: weights fit one version only. */
#define SL_FEATURES_VERSION 1
#define SL_DOMAINS 1024 /* domains are hashed into this many */
#define SL_COLUMNS_LOG2_MIN 8
#define SL_COLUMNS_LOG2_MAX 24

/* Each is f(chosen) - f(rejected). Counts enter as log(1 + count). */
enum sl_style {
	SL_STYLE_WORDS,
	SL_STYLE_DISTINCT, /* distinct words */
	SL_STYLE_BYTES,
	SL_STYLE_LINES,
	SL_STYLE_LISTS,    /* lines that begin with a bullet or "1." */
	SL_STYLE_HEADINGS, /* lines that begin with # */
	SL_STYLE_EMPHASIS, /* asterisks and backticks: bold, code */
	SL_STYLE_DIGITS,
	SL_STYLE_QUESTIONS, /* question marks */
	SL_STYLE_CALLS,     /* exclamation marks */
	SL_STYLE_COMMAS,
	SL_STYLE_ENDING, /* 1 if the text ends like a finished one */
	SL_STYLE_COUNT
};

struct sl_features {
	uint32_t *columns; /* each at most once */
	float *values;
	size_t count;
	uint32_t words_chosen, words_rejected;
};

/* Columns in all, style included. */
static inline size_t sl_columns(int columns_log2)
{
	return ((size_t)1 << columns_log2) + (size_t)SL_STYLE_COUNT * (1 + SL_DOMAINS);
}

/* The features of a pair, in the arena. Any thread. */
void sl_features_of(const struct sl_pair *p, int columns_log2, struct sl_arena *a, struct sl_features *f);

#endif
