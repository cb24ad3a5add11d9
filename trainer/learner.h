/* learner.h -- Bradley-Terry by FTRL-proximal, one example at a time.
 *
 *     P(chosen is better) = sigmoid(margin),  loss = -log sigmoid(margin)
 *     d loss / d weight_i = -sigmoid(-margin) * value_i
 *
 * (Bradley and Terry 1952.) FTRL-proximal with L1 = 0 (McMahan et al., "Ad Click
 * Prediction: a View from the Trenches", KDD 2013, algorithm 1): per column the
 * sums z and n of (shifted) gradients and squared gradients, and
 *
 *     weight_i = -z_i / ((1 + sqrt(n_i)) / rate + l2_i)
 *
 * These are AdaGrad's steps, but L2 is exact and lazy: a column costs nothing
 * while it is absent, and a rare one is held near 0 as firmly as it should be.
 *
 * The strength of L2 differs by kind of column: n-grams have one, style has another, and the copy of the style columns
 * that all domains share is held SL_SHARED_L2 times firmer than a domain's own. People of one domain agree on what
 * they like far more than people at large do; measured, see README.md.
 *
 * SL_LANES learners walk the same examples side by side, because nobody wants only one: they differ in the strengths
 * of L2, or in which examples they leave out. What they know of a column lies together, so it is fetched once and
 * reckoned with as a vector. No lane knows of another: each has the bits that it would have alone. */
#ifndef SL_LEARNER_H
#define SL_LEARNER_H

#include "linear.h"

#define SL_SHARED_L2 10
#define SL_LANES 4
#define SL_ALL_LANES ((1u << SL_LANES) - 1)

struct sl_l2 {
	double grams, style;
};

struct sl_learner {
	int columns_log2;
	double rate;
	struct sl_l2 l2[SL_LANES];
	struct sl_learner_column {
		float z[SL_LANES], n[SL_LANES];
	} * columns;
	struct sl_learner_scratch *scratch; /* of the example at hand, by entry */
	size_t scratch_room;
};

void sl_learner_init(struct sl_learner *l, int columns_log2, double rate, const struct sl_l2 l2[SL_LANES]);
void sl_learner_release(struct sl_learner *l);

double sl_learner_weight(const struct sl_learner *l, unsigned lane, uint32_t column);
/* -log sigmoid(margin), without overflow, and its derivative by the margin. */
double sl_loss(double margin);
double sl_loss_slope(double margin);
void sl_learner_margins(struct sl_learner *l, const struct sl_features *f, double margins[SL_LANES]);
/* One step on one example, by the lanes whose bits are set; gives all margins before it. */
void sl_learner_step(struct sl_learner *l, const struct sl_features *f, unsigned lanes, double margins[SL_LANES]);
/* The weights as they are; out->weights is from malloc. */
void sl_learner_model(const struct sl_learner *l, unsigned lane, struct sl_linear *out);

#endif
