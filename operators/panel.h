/* panel.h -- many votes, one verdict.
 *
 * First within a judge (self-consistency: samples and orders), then over judges (arXiv 2507.01352 section 3.3):
 *
 *     majority   of a judge's votes that have a verdict, the most frequent one; a tie for first place is undecidable.
 *                Over judges the same.
 *     weighted   a judge's chosen or rejected counts with the log-odds of its accuracy on gold in the pair's domain
 *                (sl_posterior_judge_accuracy: shrunk, of all probes: those of the pair's own group too, unlike in
 *                the fit of the posterior); the sum's sign is the verdict, and undecidable
 *                where its size is below `least`. Tie, both_bad and undecidable of a judge count 0; when most judges
 *                say tie or both_bad, so does the panel. Judges that nobody has measured have the declared accuracy.
 *
 * Confidence is sigmoid(|sum of log-odds|), NaN where nothing is known and of tie and both_bad; of a majority that goes
 * against the weights of its judges 0.5. Pure functions: no task, no clock. */
#ifndef SL_PANEL_H
#define SL_PANEL_H

#include "../schemas/pair.h"

enum sl_panel_merge { SL_PANEL_MAJORITY, SL_PANEL_WEIGHTED };

struct sl_panel_judge {
	struct sl_bytes name; /* as in votes */
	double accuracy;      /* of its verdicts in the pair's domain, 0 to 1 */
};

struct sl_panel_verdict {
	struct sl_bytes verdict; /* a constant; data NULL: nobody answered */
	double confidence;
};
/* Judges that are not listed have accuracy `declared`. */
struct sl_panel_verdict sl_panel_merge(enum sl_panel_merge merge, const struct sl_vote *votes, size_t vote_count,
				       const struct sl_panel_judge *judges, size_t judge_count, double declared,
				       double least);
/* Is the verdict so unsure that a second opinion is worth its money: none, undecidable, a judge at odds with itself, or
 * a confidence below `sure`? */
bool sl_panel_unsure(const struct sl_panel_verdict *v, const struct sl_vote *votes, size_t vote_count, double sure);

#endif
