/* learner.c -- see learner.h. The state is float, sums are double. What is done to all lanes is written as vectors of
 * GCC and Clang, for any machine. One learner, one thread. */
#include "learner.h"
#include "../topology/base/clones.h"

#include <math.h>
#include <stdlib.h>

typedef double wide __attribute__((vector_size(SL_LANES * sizeof(double))));
typedef float narrow __attribute__((vector_size(SL_LANES * sizeof(float))));

/* What a step needs again, per entry of the example: the root of n and the weight. */
struct sl_learner_scratch {
	double root[SL_LANES], weight[SL_LANES];
};

#define LOAD(to, from) memcpy(&(to), from, sizeof(to))
#define STORE(to, from) memcpy(to, &(from), sizeof(from))

/* By pointer: how vectors are passed depends on the processor. */
static inline void load_wide(wide *to, const float from[SL_LANES])
{
	narrow floats;

	LOAD(floats, from);
	*to = __builtin_convertvector(floats, wide);
}

static inline void store_narrow(float to[SL_LANES], const wide *from)
{
	narrow floats = __builtin_convertvector(*from, narrow);

	STORE(to, floats);
}

static inline void root_of(wide *to, const wide *from)
{
	*to = (wide){ sqrt((*from)[0]), sqrt((*from)[1]), sqrt((*from)[2]), sqrt((*from)[3]) };
}

void sl_learner_init(struct sl_learner *l, int columns_log2, double rate, const struct sl_l2 l2[SL_LANES])
{
	*l = (struct sl_learner){ .columns_log2 = columns_log2, .rate = rate };
	memcpy(l->l2, l2, sizeof l->l2);
	l->columns = sl_calloc(sl_columns(columns_log2), sizeof *l->columns);
}

void sl_learner_release(struct sl_learner *l)
{
	free(l->columns);
	free(l->scratch);
	*l = (struct sl_learner){ 0 };
}

double sl_loss(double margin)
{
	return margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin;
}

double sl_loss_slope(double margin)
{
	return -sl_sigmoid(-margin);
}

/* The strengths of L2 by kind of column: n-grams, style that domains share, style of one domain. */
enum { GRAMS, SHARED, OWN, KINDS };

static void strengths(const struct sl_learner *l, double l2[KINDS][SL_LANES])
{
	for (int k = 0; k < SL_LANES; k++) {
		l2[GRAMS][k] = l->l2[k].grams;
		l2[SHARED][k] = SL_SHARED_L2 * l->l2[k].style;
		l2[OWN][k] = l->l2[k].style;
	}
}

static int kind_of(const struct sl_learner *l, uint32_t column)
{
	uint32_t grams = (uint32_t)1 << l->columns_log2;

	return column < grams ? GRAMS : column < grams + SL_STYLE_COUNT ? SHARED : OWN;
}

static inline void weigh(const struct sl_learner_column *c, double rate, const double l2_of_lanes[SL_LANES],
			 struct sl_learner_scratch *s)
{
	wide z, n, root, l2, weight;

	load_wide(&z, c->z);
	load_wide(&n, c->n);
	LOAD(l2, l2_of_lanes);
	root_of(&root, &n);
	weight = -z / ((1 + root) / rate + l2);
	STORE(s->root, root);
	STORE(s->weight, weight);
}

double sl_learner_weight(const struct sl_learner *l, unsigned lane, uint32_t column)
{
	struct sl_learner_scratch s;
	double l2[KINDS][SL_LANES];

	strengths(l, l2);
	weigh(&l->columns[column], l->rate, l2[kind_of(l, column)], &s);
	return s.weight[lane];
}

SL_CLONES static void margins_of(const struct sl_learner *l, const struct sl_features *f,
				 struct sl_learner_scratch *scratch, double margins[SL_LANES])
{
	double l2[KINDS][SL_LANES];
	wide sums = { 0 }, weight;

	strengths(l, l2);
	for (size_t i = 0; i < f->count; i++) {
		uint32_t column = f->columns[i];
		double value = (double)f->values[i];

		weigh(&l->columns[column], l->rate, l2[kind_of(l, column)], &scratch[i]);
		LOAD(weight, scratch[i].weight);
		sums += weight * value;
	}
	STORE(margins, sums);
}

SL_CLONES static void move(const struct sl_learner *l, const struct sl_features *f,
			   const struct sl_learner_scratch *scratch, const double slope_of_lanes[SL_LANES])
{
	wide z, n, slope, gradient, root, weight, n_root = { 0 };

	LOAD(slope, slope_of_lanes);

	for (size_t i = 0; i < f->count; i++) {
		struct sl_learner_column *c = &l->columns[f->columns[i]];

		load_wide(&z, c->z);
		load_wide(&n, c->n);
		LOAD(root, scratch[i].root);
		LOAD(weight, scratch[i].weight);
		gradient = slope * (double)f->values[i];
		n += gradient * gradient;
		root_of(&n_root, &n);
		z = z + gradient - (n_root - root) / l->rate * weight;
		store_narrow(c->z, &z);
		store_narrow(c->n, &n);
	}
}

void sl_learner_margins(struct sl_learner *l, const struct sl_features *f, double margins[SL_LANES])
{
	if (f->count > l->scratch_room) {
		l->scratch_room = 2 * f->count;
		free(l->scratch);
		l->scratch = sl_malloc(l->scratch_room * sizeof *l->scratch);
	}
	margins_of(l, f, l->scratch, margins);
}

void sl_learner_step(struct sl_learner *l, const struct sl_features *f, unsigned lanes, double margins[SL_LANES])
{
	double slopes[SL_LANES];

	sl_learner_margins(l, f, margins);
	for (unsigned k = 0; k < SL_LANES; k++) /* a slope of 0 leaves a lane as it is */
		slopes[k] = lanes >> k & 1 ? sl_loss_slope(margins[k]) : 0;
	move(l, f, l->scratch, slopes);
}

void sl_learner_model(const struct sl_learner *l, unsigned lane, struct sl_linear *out)
{
	size_t count = sl_columns(l->columns_log2);

	*out = (struct sl_linear){ .columns_log2 = l->columns_log2, .weights = sl_malloc(count * sizeof(float)) };
	for (size_t i = 0; i < count; i++)
		out->weights[i] = (float)sl_learner_weight(l, lane, (uint32_t)i);
}
