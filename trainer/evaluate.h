/* evaluate.h -- inside trainer/ only: accuracy and calibration from margins. */
#ifndef SL_EVALUATE_H
#define SL_EVALUATE_H

#include "features.h"
#include "train.h"

/* What the examples of one split say, kept whole: the loss needs a temperature that is fitted
 * on the margins, and the intervals need the groups. Zero-initialise. */
struct sl_tally {
	struct sl_id *groups;
	double *margins, *longest, *first; /* positive is right; first: 0 where nobody knows */
	size_t count, capacity;
};

void sl_tally_add(struct sl_tally *t, const struct sl_pair *p, double margin);
void sl_tally_end(const struct sl_tally *t, double temperature, struct sl_evaluation *out);
void sl_tally_release(struct sl_tally *t);

/* Temperature that minimises the mean of -log sigmoid(margin / T) within
 * SL_TEMPERATURE_MIN .. MAX (Guo et al. 2017, "On Calibration of Modern Neural
 * Networks": one parameter, so it keeps every ranking). 1 for fewer than 20
 * margins. A whole number of millionths: config.json holds it exactly. */
double sl_temperature_fit(const double *margins, size_t count);

/* Wilson's score interval (Wilson 1927), z = 1.96, of independent pairs. `right` may end in .5. */
struct sl_accuracy sl_accuracy_of(double right, int64_t count);

#endif
