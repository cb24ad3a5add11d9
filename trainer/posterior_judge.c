/* posterior_judge.c -- how good judges are, from what they said about gold pairs.
 *
 * An accuracy is a mean with a prior (posterior.h): of a domain it is shrunk towards that over all domains, and that
 * towards a coin or what is declared. For the fit, what a pair's own group contributed is taken out first, so that no
 * row is told by itself how far its judge can be trusted.
 *
 * The witness is one: `nearest`, or a panel. The single judges of a panel are measured in the same way, for the
 * weights of their votes; they are in no fit. */
#include "posterior_fit.h"

#include <math.h>
#include <stdlib.h>

#define SHRINK 20          /* verdicts that the mean over all domains counts in one of them, and a coin over all */
#define SHRINK_DECLARED 10 /* verdicts that a declared accuracy counts */

/* Verdicts, and how many agree with the human. */
struct verdicts {
	double right, given;
};

static void count_verdict(struct verdicts *v, double verdict)
{
	if (isnan(verdict) || verdict == 0)
		return;
	v->given++;
	v->right += verdict > 0;
}

static double shrunk(struct verdicts v, double towards, double weight)
{
	double accuracy = (v.right + weight * towards) / (v.given + weight);

	return fmax(SL_JUDGE_RIGHT_LEAST, fmin(SL_JUDGE_RIGHT_MOST, accuracy));
}

static double accuracy_over_all(const struct sl_fitting *f, struct verdicts all)
{
	double declared = f->o->judge_accuracy;

	return isnan(declared) ? shrunk(all, 0.5, SHRINK) : shrunk(all, declared, SHRINK_DECLARED);
}

static double accuracy_in_domain(const struct sl_fitting *f, struct verdicts own, struct verdicts all)
{
	return shrunk(own, accuracy_over_all(f, all), SHRINK);
}

static struct verdicts without(struct verdicts of, struct verdicts part)
{
	return (struct verdicts){ of.right - part.right, of.given - part.given };
}

/* -- the witness -------------------------------------------------------------- */

static double logit(double p)
{
	return log(p / (1 - p));
}

static void hear(const struct sl_fitting *f, struct sl_fit_row *r, double accuracy)
{
	bool listed = r->domain != SL_LOGISTIC_NO_DOMAIN;
	bool speaks = listed ? f->p.domains[r->domain].judge_speaks : f->p.judge_speaks;
	double judge = r->row->judge;

	r->judge = isnan(judge) ? NAN : !speaks || judge == 0 ? 0 : judge > 0 ? logit(accuracy) : -logit(accuracy);
}

/* Rows are sorted by group, then domain. */
static void calibrate_witness(struct sl_fitting *f)
{
	struct verdicts *own = sl_calloc(f->p.domain_count + 1, sizeof *own), all = { 0 };
	struct verdicts none = { 0 };

	for (size_t i = 0; i < f->count; i++) {
		count_verdict(&all, f->rows[i].row->judge);
		if (f->rows[i].domain != SL_LOGISTIC_NO_DOMAIN)
			count_verdict(&own[f->rows[i].domain], f->rows[i].row->judge);
	}
	f->p.judge_accuracy = accuracy_over_all(f, all);
	for (size_t d = 0; d < f->p.domain_count; d++)
		f->p.domains[d].judge_accuracy = accuracy_in_domain(f, own[d], all);

	for (size_t i = 0, end; i < f->count; i = end) {
		struct verdicts group = { 0 };

		for (end = i; end < f->count && sl_id_equal(f->rows[end].row->group, f->rows[i].row->group); end++)
			count_verdict(&group, f->rows[end].row->judge);
		for (size_t k = i, stop; k < end; k = stop) {
			struct verdicts part = { 0 };
			uint32_t domain = f->rows[k].domain;

			for (stop = k; stop < end && f->rows[stop].domain == domain; stop++)
				count_verdict(&part, f->rows[stop].row->judge);

			struct verdicts others = domain == SL_LOGISTIC_NO_DOMAIN ? none : without(own[domain], part);
			double accuracy = accuracy_in_domain(f, others, without(all, group));

			for (size_t m = k; m < stop; m++)
				hear(f, &f->rows[m], accuracy);
		}
	}
	free(own);
}

/* -- the single judges ---------------------------------------------------------- */

/* The place of a judge among those that are known; their count: it is none of them. */
static size_t judge_find(const struct sl_posterior *p, struct sl_bytes name)
{
	size_t i = 0;

	while (i < p->judge_count && !sl_bytes_equal(p->judges[i].name, name))
		i++;
	return i;
}

static int by_name(const void *a, const void *b)
{
	const struct sl_posterior_judge *x = a, *y = b;

	return sl_bytes_compare(x->name, y->name);
}

static void collect_judges(struct sl_fitting *f)
{
	f->p.judges = sl_arena_zalloc(&f->p.arena, SL_POSTERIOR_JUDGES_MOST * sizeof *f->p.judges);
	for (size_t i = 0; i < f->count; i++)
		for (size_t k = 0; k < f->rows[i].row->opinion_count; k++) {
			struct sl_bytes name = f->rows[i].row->opinions[k].judge;

			if (f->p.judge_count == SL_POSTERIOR_JUDGES_MOST ||
			    judge_find(&f->p, name) < f->p.judge_count || !sl_fit_is_text(name))
				continue;
			f->p.judges[f->p.judge_count++].name = sl_arena_bytes(&f->p.arena, name);
		}
	qsort(f->p.judges, f->p.judge_count, sizeof *f->p.judges, by_name);
}

static void calibrate_judges(struct sl_fitting *f)
{
	size_t domains = f->p.domain_count;
	struct verdicts *counts; /* per judge and domain; the last domain: over all */

	collect_judges(f);
	counts = sl_calloc(f->p.judge_count * (domains + 1) + 1, sizeof *counts);
	for (size_t i = 0; i < f->count; i++) {
		const struct sl_fit_row *r = &f->rows[i];

		for (size_t k = 0; k < r->row->opinion_count; k++) {
			const struct sl_evidence_opinion *o = &r->row->opinions[k];
			size_t judge = judge_find(&f->p, o->judge);

			if (judge == f->p.judge_count)
				continue;
			count_verdict(&counts[judge * (domains + 1) + domains], o->verdict);
			if (r->domain != SL_LOGISTIC_NO_DOMAIN)
				count_verdict(&counts[judge * (domains + 1) + r->domain], o->verdict);
		}
	}
	for (size_t i = 0; i < f->p.judge_count; i++) {
		const struct verdicts *of = counts + i * (domains + 1);
		struct sl_posterior_judge *judge = &f->p.judges[i];

		judge->accuracy = accuracy_over_all(f, of[domains]);
		judge->own = sl_arena_alloc(&f->p.arena, (domains + 1) * sizeof *judge->own);
		for (size_t d = 0; d < domains; d++)
			judge->own[d] = accuracy_in_domain(f, of[d], of[domains]);
	}
	free(counts);
}

void sl_fit_judge(struct sl_fitting *f)
{
	calibrate_witness(f);
	calibrate_judges(f);
}
