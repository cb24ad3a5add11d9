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
 * Of the prompt only its words are known, for how much of it an answer repeats: what is the same for both answers
 * cancels. */
#ifndef SL_FEATURES_H
#define SL_FEATURES_H

#include "../schemas/pair.h"

/* Changes with anything that changes a value: weights fit one version only. */
#define SL_FEATURES_VERSION 2
#define SL_DOMAINS 1024 /* domains are hashed into this many */
#define SL_COLUMNS_LOG2_MIN 8
#define SL_COLUMNS_LOG2_MAX 24

/* Each is f(chosen) - f(rejected), in units of a typical difference (style.c). "log" is log(1 + count). */
enum sl_style {
	SL_STYLE_WORDS, /* log */
	SL_STYLE_BYTES, /* log */
	/* Shape */
	SL_STYLE_LINES,      /* log */
	SL_STYLE_PARAGRAPHS, /* log of empty lines */
	SL_STYLE_LISTS,      /* log of lines that begin with a bullet or "1." */
	SL_STYLE_HEADINGS,   /* log of lines that begin with # */
	SL_STYLE_EMPHASIS,   /* log of asterisks and backticks: bold, code */
	SL_STYLE_BEGINNING,  /* 1 if the text begins with a capital */
	SL_STYLE_ENDING,     /* 1 if it ends like a finished one */
	/* Characters: log, or share of the bytes */
	SL_STYLE_DIGITS,
	SL_STYLE_QUESTIONS, /* question marks */
	SL_STYLE_CALLS,     /* exclamation marks */
	SL_STYLE_COMMAS,
	SL_STYLE_STOPS,
	SL_STYLE_QUOTES,
	SL_STYLE_APOSTROPHES,
	SL_STYLE_PARENTHESES,
	SL_STYLE_COLONS, /* and semicolons */
	SL_STYLE_HYPHENS,
	SL_STYLE_MARKS, /* all punctuation */
	SL_STYLE_MARK_SHARE,
	SL_STYLE_UPPER,
	SL_STYLE_UPPER_SHARE,
	SL_STYLE_FOREIGN, /* bytes that are not ASCII */
	/* Words and sentences */
	SL_STYLE_WORD_LENGTH,
	SL_STYLE_LONG_WORDS,      /* share of words of 7 bytes or more */
	SL_STYLE_CAPITALS,        /* log of words in capitals */
	SL_STYLE_SENTENCES,       /* log */
	SL_STYLE_SENTENCE_LENGTH, /* log of words in a sentence */
	SL_STYLE_JOINED,          /* log of commas and stops without a space after them */
	SL_STYLE_SELF,            /* log of "I" */
	SL_STYLE_YOU,             /* log of "you" and "your" */
	SL_STYLE_REFUSAL,         /* log of words of apology and refusal */
	/* Repetition: what a compressor would find */
	SL_STYLE_DISTINCT,            /* log of distinct words */
	SL_STYLE_DISTINCT_PAIRS,      /* of distinct word pairs */
	SL_STYLE_REPEATED,            /* of words that were there before */
	SL_STYLE_REPEATED_PAIRS,      /* of word pairs that were there before */
	SL_STYLE_DISTINCT_SHARE,      /* distinct-1 */
	SL_STYLE_DISTINCT_PAIR_SHARE, /* distinct-2 */
	SL_STYLE_FROM_PROMPT,         /* log of distinct words that the last message of the prompt has too */
	SL_STYLE_FROM_PROMPT_SHARE,   /* of the distinct words */
	SL_STYLE_COUNT
};

struct sl_features {
	uint32_t *columns; /* each at most once */
	float *values;
	size_t count;
};

/* Columns in all, style included. */
static inline size_t sl_columns(int columns_log2)
{
	return ((size_t)1 << columns_log2) + (size_t)SL_STYLE_COUNT * (1 + SL_DOMAINS);
}

/* The features of a pair, in the arena. Any thread. */
void sl_features_of(const struct sl_pair *p, int columns_log2, struct sl_arena *a, struct sl_features *f);

#endif
