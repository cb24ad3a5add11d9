/* promotion.h -- may a new version become the champion?
 *
 * Asked on split select, by pairwise accuracy (ties half), with the new version, the champion and the best version
 * ever seen through the same pairs: differences are paired, which takes most of the noise away. Pairs of one group are
 * not independent: the bootstrap draws groups (a cluster bootstrap: Cameron, Gelbach and Miller 2008), at most
 * GROUP_MOST pairs of each enter, so that one prompt with a thousand answers does not decide.
 *
 *     not below the best version ever by more than `best_drop`   (0.5 points: or a model ratchets down, each time
 *                                                                 "hardly worse" than the one before)
 *     not significantly below the champion                       (upper end of the 95 % interval of the difference >= 0)
 *     no domain with DOMAIN_LEAST pairs down by more than `domain_drop`   (5 points, against the champion)
 *
 * Every question wears the examples out a little (adaptive data analysis: Dwork et al., Science 2015). So the uses of a draw of
 * select are counted; after USES_MOST, or when there is new gold, another half of the groups of select is drawn. The published
 * accuracy comes from report, which nothing is chosen by. */
#ifndef SL_PROMOTION_H
#define SL_PROMOTION_H

#include "train.h"

#define SL_PROMOTION_USES_MOST 50
#define SL_PROMOTION_GROUP_MOST 20
#define SL_PROMOTION_DOMAIN_LEAST 100

/* One pair of select, seen by the three models: oriented margins, positive is right. */
struct sl_trial_pair {
	struct sl_id group;
	uint64_t domain;                 /* hash of its name */
	double candidate, champion, best; /* margins */
};

struct sl_promotion_options {
	uint64_t seed;
	double best_drop;   /* 0.005 */
	double domain_drop; /* 0.05 */
	int64_t resamples;  /* 1000 */
};
void sl_promotion_options_default(struct sl_promotion_options *o);

struct sl_promotion {
	bool promote;
	char why[300];            /* for the announcement: what was compared, with figures */
	struct sl_accuracy candidate, champion, best; /* clustered intervals */
	double difference, low, high;                 /* candidate - champion */
};

/* A pure function of its arguments. Without pairs the newest wins, and `why` says so. */
void sl_promotion_decide(const struct sl_promotion_options *o, const struct sl_trial_pair *pairs, size_t count,
			 struct sl_promotion *out);

/* Is this group of select in draw number `draw` (from 0)? Half of them are, by hash; all are when `all`. */
bool sl_select_drawn(struct sl_id group, int64_t draw);

#endif
