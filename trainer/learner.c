/* learner.c -- see learner.h. The state is float (8 bytes a column: a table of
 * 2^18 columns is 2 MiB and several fit into a shared cache), sums are double.
 * One learner, one thread. */
#include "learner.h"

#include <math.h>
#include <stdlib.h>

void sl_learner_init(struct sl_learner *l, int columns_log2, double rate, struct sl_l2 l2)
{
	*l = (struct sl_learner){ .columns_log2 = columns_log2, .rate = rate, .l2 = l2 };
	l->columns = sl_calloc(sl_columns(columns_log2), sizeof *l->columns);
}

void sl_learner_release(struct sl_learner *l)
{
	free(l->columns);
	*l = (struct sl_learner){ 0 };
}

static double l2_of(const struct sl_learner *l, uint32_t column)
{
	uint32_t grams = (uint32_t)1 << l->columns_log2;

	return column < grams                    ? l->l2.grams
	       : column < grams + SL_STYLE_COUNT ? SL_SHARED_L2 * l->l2.style
						 : l->l2.style;
}

static double weight_of(const struct sl_learner *l, uint32_t column)
{
	struct sl_learner_column c = l->columns[column];

	return -(double)c.z / ((1 + sqrt((double)c.n)) / l->rate + l2_of(l, column));
}

double sl_learner_weight(const struct sl_learner *l, uint32_t column)
{
	return weight_of(l, column);
}

double sl_loss(double margin)
{
	return margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin;
}

double sl_loss_slope(double margin)
{
	return -sl_sigmoid(-margin);
}

double sl_learner_margin(const struct sl_learner *l, const struct sl_features *f)
{
	double margin = 0;

	for (size_t i = 0; i < f->count; i++)
		margin += weight_of(l, f->columns[i]) * (double)f->values[i];
	return margin;
}

double sl_learner_step(struct sl_learner *l, const struct sl_features *f)
{
	double margin = sl_learner_margin(l, f);
	double slope = sl_loss_slope(margin);

	for (size_t i = 0; i < f->count; i++) {
		struct sl_learner_column *c = &l->columns[f->columns[i]];
		double gradient = slope * (double)f->values[i];
		double n = (double)c->n + gradient * gradient;
		double sigma = (sqrt(n) - sqrt((double)c->n)) / l->rate;

		c->z = (float)((double)c->z + gradient - sigma * weight_of(l, f->columns[i]));
		c->n = (float)n;
	}
	return sl_loss(margin);
}

void sl_learner_model(const struct sl_learner *l, struct sl_linear *out)
{
	size_t count = sl_columns(l->columns_log2);

	*out = (struct sl_linear){ .columns_log2 = l->columns_log2, .weights = sl_malloc(count * sizeof(float)) };
	for (size_t i = 0; i < count; i++)
		out->weights[i] = (float)weight_of(l, (uint32_t)i);
}
