/* evaluate.h -- inside trainer/ only: accuracy and calibration from margins. */
#ifndef SL_EVALUATE_H
#define SL_EVALUATE_H

#include "features.h"
#include "train.h"

/* Sums over the examples of one split. Margins are kept, because the loss needs a
 * temperature that is fitted on them: 8 bytes an example. Zero-initialise. */
struct sl_tally {
	double *margins;
	size_t count, capacity;
	double right, longest_right, first_right; /* a tie is half */
	int64_t first_known;
};

void sl_tally_add(struct sl_tally *t, const struct sl_pair *p, const struct sl_features *f, double margin);
void sl_tally_end(const struct sl_tally *t, double temperature, struct sl_evaluation *out);
void sl_tally_release(struct sl_tally *t);

/* Temperature that minimises the mean of -log sigmoid(margin / T) within
 * SL_TEMPERATURE_MIN .. MAX (Guo et al. 2017, "On Calibration of Modern Neural
 * Networks": one parameter, so it keeps every ranking). 1 for fewer than 20
 * margins. A whole number of millionths: config.json holds it exactly. */
double sl_temperature_fit(const double *margins, size_t count);

/* Wilson's score interval (Wilson 1927), z = 1.96. `right` may end in .5. */
struct sl_accuracy sl_accuracy_of(double right, int64_t count);

#endif
