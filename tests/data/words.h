/* words.h -- the vocabulary and the grammar of the sample data: plain tables.
 *
 * A domain is a subject with its own words. A tongue is a language: templates
 * for what people ask and for what answers say. In a template, % and a letter
 * is filled in (speak.c):
 *
 *   any word of the domain, often the topic's   %n thing %t tool %v doing %a quality %u unit
 *   the topic's own                             %N %M things %T %V %A %P name %C place
 *                                               %X %Y numbers %S their sum %W a wrong sum
 *   made up on the spot                         %p name %c place %d number
 *   of the tongue                               %r who %m when
 *
 * Slots stand close together on purpose: two texts from the same templates must
 * not share many runs of five words. */
#ifndef SL_TESTS_DATA_WORDS_H
#define SL_TESTS_DATA_WORDS_H

#include <stdbool.h>
#include <stddef.h>

struct sl_tongue {
	const char *gap;              /* between sentences */
	const char *const *asks;      /* first sentence of a prompt */
	const char *const *contexts;  /* what the person adds */
	const char *const *sums;      /* a question with one right number */
	const char *const *wishes;    /* how the answer should be */
	const char *const *followups; /* a second question */
	const char *const *systems;
	const char *const *content; /* neutral sentences of an answer */
	const char *const *leads;   /* put before some of them */
	const char *const *good;    /* sentences of good answers ... */
	const char *const *bad;     /* ... and of bad ones; each appears in both, at different rates */
	const char *const *right_sum;
	const char *const *wrong_sum;
	const char *const *short_benchmarks; /* 5 to 12 words */
	const char *const *who;
	const char *const *when;
	const char *const *names; /* NULL: made of syllables */
	const char *const *places;
};

struct sl_domain {
	const char *name;
	const struct sl_tongue *tongue;
	bool likes_lists; /* a good answer here is more often a list */
	const char *const *things, *const *tools, *const *doing, *const *qualities, *const *units;
};

extern const struct sl_domain sl_domains[];
extern const size_t sl_domain_count;
extern const struct sl_tongue sl_english, sl_chinese;

#endif
