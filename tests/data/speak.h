/* speak.h -- text from the tables of words.h: topics, prompts, answers.
 *
 * Everything is drawn from a struct rng that the caller seeds, so the same seed
 * says the same thing, on every machine. */
#ifndef SL_TESTS_DATA_SPEAK_H
#define SL_TESTS_DATA_SPEAK_H

#include "topology/base/buf.h"
#include "topology/base/hash.h"
#include "words.h"

/* splitmix64: a counter and a finaliser. */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	r->state += 0x9e3779b97f4a7c15u;
	return sl_mix64(r->state);
}

/* The same for the same three numbers, unrelated for others. */
static inline struct rng rng_of(uint64_t seed, uint64_t index, uint64_t purpose)
{
	return (struct rng){ sl_mix64(sl_mix64(seed + 0x632be59bd9b4e019u) ^ sl_mix64(index * 64 + purpose + 1)) };
}

/* In [0, n); the bias of the remainder is below 2^-40 for our small n. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

/* In [0, 1). */
static inline double rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

static inline bool rng_chance(struct rng *r, double p)
{
	return rng_unit(r) < p;
}

/* What one conversation is about. */
struct sl_topic {
	const struct sl_domain *domain;
	const char *thing, *second, *tool, *doing, *quality;
	char name[32], place[32];
	unsigned x, y;
	unsigned wrong; /* a sum that x and y do not make */
	bool has_sum;
};

/* NULL domain: any. */
struct sl_topic sl_topic_make(struct rng *r, const struct sl_domain *domain);

/* One sentence from a template, appended. */
void sl_say(struct sl_buf *to, struct rng *r, const struct sl_topic *topic, const char *template);
/* One of a NULL-ended list. */
const char *sl_one_of(struct rng *r, const char *const *list);

/* What somebody asks at first. */
void sl_say_question(struct sl_buf *to, struct rng *r, const struct sl_topic *topic);

/* How an answer is made: what is visible of its quality. */
struct sl_voice {
	double good;      /* of the telling sentences, the share that speaks for the answer; 0 to 1 */
	double telling;   /* share of telling sentences */
	double off_topic; /* share of sentences from another subject */
	bool sum_right;   /* the number, where the question has one */
	bool list;        /* one sentence a line */
};

/* Sentences until `target_bytes` are reached, at least two. */
void sl_say_answer(struct sl_buf *to, struct rng *r, const struct sl_topic *topic, const struct sl_voice *voice,
		   size_t target_bytes);

#endif
