/* logistic.h -- inside trainer/ only: logistic regression, once for all rows and once for each domain.
 *
 *     P(right) = sigmoid(sum over i of x_i (all_i + own_di))            x_0 = 1: the intercept
 *
 * minimises the summed log loss plus
 *
 *     l2_all / 2 * sum (all_i - centre_i)^2  +  l2_domain / 2 * sum over d, i of own_di^2
 *
 * (the intercept of all rows is held by INTERCEPT_L2 only). So a domain with few rows shares the common weights, one
 * with many has its own: a normal prior on what domains differ by (Gelman and Hill 2007, chapter 14). Newton's method
 * (IRLS). The Hessian has the shape of an arrow, because no row is in two domains: each domain is eliminated by a small
 * Cholesky factor and the common weights are solved from what is left (Schur complement), in time linear in the number
 * of domains. Sums go in the order of the rows, one thread: equal input, equal bits. */
#ifndef SL_LOGISTIC_H
#define SL_LOGISTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_LOGISTIC_COLUMNS 5
#define SL_LOGISTIC_NO_DOMAIN UINT32_MAX

struct sl_logistic_row {
	double x[SL_LOGISTIC_COLUMNS]; /* x[0] = 1 */
	double weight;                 /* of its loss, over 0 */
	uint32_t domain;               /* or SL_LOGISTIC_NO_DOMAIN */
	uint32_t fold;
	bool right;
};

struct sl_logistic_options {
	double l2_all, l2_domain; /* over 0 */
	double centre[SL_LOGISTIC_COLUMNS];
	size_t domain_count;
	uint32_t without_fold; /* rows of this fold are left out; UINT32_MAX: none */
};

/* weights: (1 + domain_count) x SL_LOGISTIC_COLUMNS, the common ones first. They are where the search starts. */
void sl_logistic_fit(const struct sl_logistic_options *o, const struct sl_logistic_row *rows, size_t count,
		     double *weights);

/* What is minimised. */
double sl_logistic_objective(const struct sl_logistic_options *o, const struct sl_logistic_row *rows, size_t count,
			     const double *weights);

/* logit P */
double sl_logistic_logit(const double *weights, const double *x, uint32_t domain);

#endif
