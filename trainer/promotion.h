/* promotion.h -- may a new version become the champion?
 *
 * Asked on split select, by pairwise accuracy (ties half), with the new version, the champion and the best version
 * ever seen through the same pairs: differences are paired, which takes most of the noise away. Pairs of one group are
 * not independent: the bootstrap draws groups (a cluster bootstrap: Cameron, Gelbach and Miller 2008), and a group
 * counts as GROUP_MOST pairs at most, so that one prompt with a thousand answers does not decide.
 *
 *     not below the best version ever by more than `best_drop`   (0.5 points: or a model ratchets down, each time
 *                                                                 "hardly worse" than the one before)
 *     not significantly below the champion                       (upper end of the 95 % interval of the difference >=
 * 0) no domain with DOMAIN_LEAST pairs down by more than `domain_drop` and significantly so (5 points, against the
 * champion, level 2.5 % shared among the domains: with 100 pairs each, chance alone takes one of ten domains down by 5
 * points)
 *
 * Every question wears the examples out a little (adaptive data analysis: Dwork et al., Science 2015). Two things
 * follow. The uses of a draw of select are counted; after USES_MOST, or when there is new gold, another half of the
 * groups of select is drawn. And the first rule gets stricter with every version that is tried against one best: if
 * each were only asked whether it seems at most 0.5 points worse, then of a hundred that are worse some would seem good
 * enough, whatever the draw. So try k must show it at level 0.5 / k^2 (one-sided):
 *
 *     candidate - best >= z(0.5 / k^2) * (standard error of the difference) - best_drop,     z = 0, 1.15, 1.59, 1.86,
 * ...
 *
 * The first is asked by the plain figures; and because the levels have a finite sum (0.82), fewer than one version that
 * is worse by more than best_drop is expected to get through, however many are tried. Tries are counted from 1 again
 * with a new best, and for a version that has learnt from TRIES_GROWTH times the examples: it has a reason to be
 * better. A version is the new best when it is promoted and better than the old one at that level (at least 2.5 %).
 *
 * The published accuracy comes from report, which nothing is chosen by. */
#ifndef SL_PROMOTION_H
#define SL_PROMOTION_H

#include "train.h"

#define SL_PROMOTION_USES_MOST 50
#define SL_PROMOTION_GROUP_MOST 20
#define SL_PROMOTION_GROUPS_LEAST 10 /* with fewer, select decides nothing */
#define SL_PROMOTION_DOMAIN_LEAST 100
#define SL_PROMOTION_TRIES_GROWTH 2
#define SL_PROMOTION_HALF_FROM 400 /* pairs of select: with fewer all are asked, not a drawn half */

/* One pair of select, seen by the three models: oriented margins, positive is right. */
struct sl_trial_pair {
	struct sl_id group;
	uint64_t domain;                  /* hash of its name */
	double candidate, champion, best; /* margins */
};

struct sl_promotion_options {
	uint64_t seed;
	double best_drop;   /* 0.005 */
	double domain_drop; /* 0.05 */
	int64_t resamples;  /* 1000 */
	int64_t tries;      /* 1: this is the first version that is tried against this best */
};
void sl_promotion_options_default(struct sl_promotion_options *o);

struct sl_promotion {
	bool promote;
	bool improves;                                /* promoted, and the new best */
	char why[300];                                /* for the announcement: what was compared, with figures */
	uint64_t domain;                              /* not promoted because of this one; 0: for other reasons */
	struct sl_accuracy candidate, champion, best; /* clustered intervals */
	double difference, low, high;                 /* candidate - champion, weighted as above */
};

/* A pure function of its arguments; the order of the pairs does not matter. With too few groups the newest wins, and
 * `why` says so. */
void sl_promotion_decide(const struct sl_promotion_options *o, const struct sl_trial_pair *pairs, size_t count,
			 struct sl_promotion *out);

/* What is remembered from one version to the next. A zeroed one: nobody was asked yet. */
struct sl_promotion_record {
	int64_t draw, uses; /* of select, and how often it was used */
	int64_t gold;       /* pairs of select when the draw was made */
	int64_t best;       /* the best version ever */
	int64_t tries;      /* versions tried against it, ... */
	int64_t examples;   /* ... of which the first had learnt from so many */
};

/* Before a question: makes a new draw where one is due, counts the use and the try. `gold`: pairs of select now;
 * `examples`: what the new version has learnt from. */
void sl_promotion_ask(struct sl_promotion_record *r, int64_t gold, int64_t examples);
/* After it: remember the new best. Also for a version that was promoted without a question: the first one, or by hand
 * (a person's word counts: nothing older is held against what comes after). */
void sl_promotion_best(struct sl_promotion_record *r, int64_t version, int64_t examples);

/* Is this group of select in draw number `draw` (from 0)? Half of them are, by hash; draws 0 and 1, 2 and 3, ... are
 * each other's rest. */
bool sl_select_drawn(struct sl_id group, int64_t draw);

#endif
