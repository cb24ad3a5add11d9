/* logistic.c -- see logistic.h. */
#include "logistic.h"
#include "../schemas/pair.h"
#include "../topology/base/buf.h"
#include "learner.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define INTERCEPT_L2 0.1 /* keeps it finite when all labels are right */
#define STEPS_MOST 60
#define STEP_LEAST 1e-9
#define HALVINGS_MOST 30

enum { N = SL_LOGISTIC_COLUMNS };

/* Gradient, diagonal block and coupling with the common weights of one domain; block 0 is the common one. */
struct block {
	double gradient[N], step[N];
	double hessian[N][N];  /* later its Cholesky factor, lower triangle */
	double coupling[N][N]; /* of the domain with the common weights: equal to the data part of hessian */
};

double sl_logistic_logit(const double *weights, const double *x, uint32_t domain)
{
	const double *own = domain == SL_LOGISTIC_NO_DOMAIN ? NULL : weights + (size_t)N * (1 + domain);
	double sum = 0;

	for (size_t i = 0; i < N; i++)
		sum += x[i] * (weights[i] + (own ? own[i] : 0));
	return sum;
}

static double l2_of(const struct sl_logistic_options *o, size_t block, size_t i)
{
	return block ? o->l2_domain : i ? o->l2_all : INTERCEPT_L2;
}

static double away(const struct sl_logistic_options *o, const double *weights, size_t block, size_t i)
{
	return weights[N * block + i] - (block ? 0 : o->centre[i]);
}

double sl_logistic_objective(const struct sl_logistic_options *o, const struct sl_logistic_row *rows, size_t count,
			     const double *weights)
{
	double sum = 0;

	for (size_t r = 0; r < count; r++) {
		if (rows[r].fold == o->without_fold)
			continue;

		double logit = sl_logistic_logit(weights, rows[r].x, rows[r].domain);

		sum += rows[r].weight * sl_loss(rows[r].right ? logit : -logit);
	}
	for (size_t b = 0; b <= o->domain_count; b++)
		for (size_t i = 0; i < N; i++)
			sum += l2_of(o, b, i) / 2 * away(o, weights, b, i) * away(o, weights, b, i);
	return sum;
}

static void derive(const struct sl_logistic_options *o, const struct sl_logistic_row *rows, size_t count,
		   const double *weights, struct block *blocks)
{
	memset(blocks, 0, (1 + o->domain_count) * sizeof *blocks);
	for (size_t r = 0; r < count; r++) {
		const struct sl_logistic_row *row = &rows[r];
		struct block *own = row->domain == SL_LOGISTIC_NO_DOMAIN ? NULL : &blocks[1 + row->domain];

		if (row->fold == o->without_fold)
			continue;

		double p = sl_sigmoid(sl_logistic_logit(weights, row->x, row->domain));
		double slope = row->weight * (p - row->right), curve = row->weight * p * (1 - p);

		for (size_t i = 0; i < N; i++) {
			blocks[0].gradient[i] += slope * row->x[i];
			if (own)
				own->gradient[i] += slope * row->x[i];
			for (size_t j = 0; j <= i; j++) {
				blocks[0].hessian[i][j] += curve * row->x[i] * row->x[j];
				if (own)
					own->coupling[i][j] += curve * row->x[i] * row->x[j];
			}
		}
	}
	for (size_t b = 0; b <= o->domain_count; b++)
		for (size_t i = 0; i < N; i++) {
			struct block *k = &blocks[b];

			k->gradient[i] += l2_of(o, b, i) * away(o, weights, b, i);
			for (size_t j = 0; b && j <= i; j++) {
				k->hessian[i][j] = k->coupling[i][j];
				k->coupling[j][i] = k->coupling[i][j];
			}
			k->hessian[i][i] += l2_of(o, b, i);
		}
}

/* In place, lower triangle. The diagonal holds an L2 over 0, so it is positive definite. */
static void cholesky(double a[N][N])
{
	for (size_t i = 0; i < N; i++)
		for (size_t j = 0; j <= i; j++) {
			double sum = a[i][j];

			for (size_t k = 0; k < j; k++)
				sum -= a[i][k] * a[j][k];
			assert(i != j || sum > 0);
			a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
		}
}

/* x := (L L^T)^-1 x */
static void cholesky_solve(double l[N][N], double x[N])
{
	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; k < i; k++)
			x[i] -= l[i][k] * x[k];
		x[i] /= l[i][i];
	}
	for (size_t i = N; i-- > 0;) {
		for (size_t k = i + 1; k < N; k++)
			x[i] -= l[k][i] * x[k];
		x[i] /= l[i][i];
	}
}

/* step := -Hessian^-1 gradient, for all blocks. */
static void solve(struct block *blocks, size_t domain_count)
{
	struct block *all = &blocks[0];

	for (size_t i = 0; i < N; i++)
		all->step[i] = -all->gradient[i];
	for (size_t b = 1; b <= domain_count; b++) {
		struct block *own = &blocks[b];
		double part[N];

		cholesky(own->hessian);
		for (size_t j = 0; j < N; j++) { /* the common block without what this domain explains itself */
			memcpy(part, own->coupling[j], sizeof part);
			cholesky_solve(own->hessian, part);
			for (size_t i = j; i < N; i++)
				for (size_t k = 0; k < N; k++)
					all->hessian[i][j] -= own->coupling[i][k] * part[k];
		}
		memcpy(part, own->gradient, sizeof part);
		cholesky_solve(own->hessian, part);
		for (size_t i = 0; i < N; i++)
			for (size_t k = 0; k < N; k++)
				all->step[i] += own->coupling[i][k] * part[k];
	}
	cholesky(all->hessian);
	cholesky_solve(all->hessian, all->step);
	for (size_t b = 1; b <= domain_count; b++) {
		struct block *own = &blocks[b];

		for (size_t i = 0; i < N; i++) {
			own->step[i] = -own->gradient[i];
			for (size_t k = 0; k < N; k++)
				own->step[i] -= own->coupling[i][k] * all->step[k];
		}
		cholesky_solve(own->hessian, own->step);
	}
}

void sl_logistic_fit(const struct sl_logistic_options *o, const struct sl_logistic_row *rows, size_t count,
		     double *weights)
{
	size_t numbers = (size_t)N * (1 + o->domain_count);
	struct block *blocks = sl_malloc((1 + o->domain_count) * sizeof *blocks);
	double *next = sl_malloc(numbers * sizeof *next);
	double value = sl_logistic_objective(o, rows, count, weights), largest = INFINITY;

	assert(o->l2_all > 0 && o->l2_domain > 0);
	for (int step = 0; step < STEPS_MOST && largest > STEP_LEAST; step++) {
		double length = 1, after = INFINITY;

		derive(o, rows, count, weights, blocks);
		solve(blocks, o->domain_count);
		/* The objective is convex, so a short enough step goes down, until rounding is all that is left. */
		for (int halvings = 0; halvings < HALVINGS_MOST; halvings++, length /= 2) {
			for (size_t n = 0; n < numbers; n++)
				next[n] = weights[n] + length * blocks[n / N].step[n % N];
			after = sl_logistic_objective(o, rows, count, next);
			if (after <= value)
				break;
		}
		if (!(after <= value))
			break;
		largest = 0;
		for (size_t n = 0; n < numbers; n++)
			largest = fmax(largest, fabs(next[n] - weights[n]));
		memcpy(weights, next, numbers * sizeof *weights);
		value = after;
	}
	free(blocks);
	free(next);
}
