/* nearest.h -- a modest judge for when no LLM is configured.
 *
 * The retrieved gold pairs vote. A gold pair says "the answer a human chose uses
 * these words more, and those less"; how well the pair at hand agrees is the cosine
 * of the two response differences d = counts(chosen) - counts(rejected), counts of
 * words and word pairs in 2^16 hash columns. With s_i the similarity of the contexts
 * (negative: 0) and y_i = +1 or -1 for a gold verdict of chosen or rejected,
 *
 *     vote = sum s_i y_i cos(d, d_i) / sum s_i        in [-1, 1]
 *
 * A vote near 0, either way, is undecidable. How often a verdict is right is not for the vote to say: that is
 * learnt from gold pairs (trainer/posterior.h), whose verdicts are computed here too, by the same functions.
 *
 * Counts are integers, so dot products are exact whatever their order. Differences
 * of gold pairs are computed from the gold records, kept by id up to a bound (then
 * all are dropped and learnt again), and stored nowhere. One owner, one thread. */
#ifndef SL_NEAREST_H
#define SL_NEAREST_H

#include "../schemas/pair.h"
#include "id_map.h"

#define SL_NEAREST "nearest"      /* its name as a judge */
#define SL_NEAREST_THRESHOLD 0.05 /* the usual one */
#define SL_NEAREST_COLUMNS ((size_t)1 << 16)

struct sl_difference {
	struct sl_difference_entry {
		uint32_t column; /* each at most once */
		int32_t count;   /* never 0 */
	} * entries;
	size_t count;
	double length; /* Euclidean */
};

struct sl_nearest {
	int32_t *counter;          /* per column, all 0 between calls: scratch of counting */
	int32_t *target;           /* per column: the pair at hand; all 0 when there is none */
	struct sl_difference pair; /* at hand; entries from malloc */
	size_t pair_room;
	struct sl_nearest_kept {
		struct sl_id id;
		struct sl_difference difference; /* entries from malloc */
	} * kept;
	size_t kept_count, kept_room;
	size_t kept_bytes, kept_max_bytes;
	struct sl_id_map places; /* gold id to index in `kept` */
};

void sl_nearest_init(struct sl_nearest *n, size_t kept_max_bytes);
void sl_nearest_release(struct sl_nearest *n); /* safe on a zeroed one */

/* The pair to be judged, until the next call. */
void sl_nearest_pair(struct sl_nearest *n, const struct sl_pair *p, struct sl_arena *scratch);
/* Cosine between the pair at hand and a gold pair, 0 when either has no words that
 * differ. False when the gold pair is not known: then learn it and ask again. */
bool sl_nearest_cosine(const struct sl_nearest *n, struct sl_id gold, double *cosine);
void sl_nearest_learn(struct sl_nearest *n, const struct sl_pair *gold, struct sl_arena *scratch);
/* The gold pair has changed or gone. */
void sl_nearest_forget(struct sl_nearest *n, struct sl_id gold);

struct sl_nearest_vote {
	double value;  /* -1 to 1, positive for chosen; 0 without voters */
	size_t voters; /* exemplars that were heard */
};
/* The vote of p's exemplars about p; the pair at hand is then p. learn(arg, id) is called for a gold pair that is
 * not known: it learns it by sl_nearest_learn, or returns false and the exemplar is not heard. */
struct sl_nearest_vote sl_nearest_ask(struct sl_nearest *n, const struct sl_pair *p, struct sl_arena *scratch,
				      bool (*learn)(void *arg, struct sl_id gold), void *arg);
/* chosen, rejected or undecidable. */
const char *sl_nearest_verdict(double vote, double threshold);
/* What the vote itself says of its certainty, 0.5 to 1: not calibrated. */
double sl_nearest_confidence(double vote);

#endif
