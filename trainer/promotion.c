/* promotion.c -- the comparison of a new version with the champion and the best, and the verdict.
 *
 * All that is asked of the pairs are sums by group: how many there are, and how much more often the candidate is right
 * than another. They are taken once per comparison; the bootstrap then draws from the sums. Groups are put in the order
 * of their hashes first, so the pairs may come in any order. Nothing is shared, any thread. */
#include "promotion.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* More groups than this are drawn in bundles of several: they are independent, so a bundle is a cluster too, and a
 * thousand of them tell the spread as well as more would. */
#define BUNDLES_MOST 1024

/* Half of 5 %: significant, to one side. */
#define ONE_SIDE 0.025
#define FIRST_LEVEL 0.5

void sl_promotion_options_default(struct sl_promotion_options *o)
{
	*o = (struct sl_promotion_options){
		.seed = 1,
		.best_drop = 0.005,
		.domain_drop = 0.05,
		.resamples = 1000,
		.tries = 1,
	};
}

bool sl_select_drawn(struct sl_id group, int64_t draw)
{
	uint64_t couple = sl_mix64((uint64_t)(draw / 2) + 0x9e3779b97f4a7c15u);

	return ((sl_mix64(sl_get_be64(group.b + 8) ^ couple) ^ (uint64_t)draw) & 1) == 0;
}

void sl_promotion_ask(struct sl_promotion_record *r, int64_t gold, int64_t examples)
{
	if (r->uses >= SL_PROMOTION_USES_MOST || (r->uses > 0 && gold != r->gold)) {
		r->draw++;
		r->uses = 0;
	}
	if (examples >= SL_PROMOTION_TRIES_GROWTH * r->examples) {
		r->tries = 0;
		r->examples = examples;
	}
	r->gold = gold;
	r->uses++;
	r->tries++;
}

void sl_promotion_best(struct sl_promotion_record *r, int64_t version, int64_t examples)
{
	r->best = version;
	r->tries = 0;
	r->examples = examples;
}

/* z with P(Z > z) = level, of a standard normal Z; 0 < level < 1. Bisection: it is asked for a few times. */
static double normal_upper(double level)
{
	double low = -40, high = 40;

	for (int i = 0; i < 100; i++) {
		double middle = (low + high) / 2;

		if (erfc(middle / sqrt(2)) / 2 > level)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* -- one comparison ------------------------------------------------------------------------ */

/* What is drawn: one group, or several. */
struct bundle {
	double pairs, gain; /* weighted count; how many more of them the candidate has right */
};

struct comparison {
	double value, error, low, high; /* the difference, its standard error, its 95 % interval */
	size_t pairs, groups;
};

static double right(double margin)
{
	return margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
}

static double other_margin(const struct sl_trial_pair *p, bool best)
{
	return best ? p->best : p->champion;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct sl_trial_pair *x = a, *y = b;
	int order = memcmp(x->group.b, y->group.b, sizeof x->group.b);

	return order ? order : (x->domain > y->domain) - (x->domain < y->domain);
}

static int compare_numbers(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sums by bundle of sorted pairs, of one domain or of all (NULL). */
static size_t bundles_of(const struct sl_trial_pair *pairs, size_t count, bool best, const uint64_t *domain,
			 struct bundle *bundles, struct comparison *c)
{
	for (size_t i = 0, next; i < count; i = next) {
		double gain = 0;
		size_t n = 0;

		for (next = i; next < count && sl_id_equal(pairs[next].group, pairs[i].group); next++) {
			if (domain && pairs[next].domain != *domain)
				continue;
			gain += right(pairs[next].candidate) - right(other_margin(&pairs[next], best));
			n++;
		}
		if (n == 0)
			continue;

		struct bundle *b = &bundles[c->groups++ % BUNDLES_MOST];
		double weight = fmin(1, SL_PROMOTION_GROUP_MOST / (double)n);

		b->pairs += weight * (double)n;
		b->gain += weight * gain;
		c->pairs += n;
	}
	return c->groups < BUNDLES_MOST ? c->groups : BUNDLES_MOST;
}

static struct comparison compare(const struct sl_promotion_options *o, const struct sl_trial_pair *pairs, size_t count,
				 bool best, const uint64_t *domain)
{
	struct bundle *bundles = sl_calloc(BUNDLES_MOST, sizeof *bundles);
	struct comparison c = { 0 };
	size_t n = bundles_of(pairs, count, best, domain, bundles, &c), resamples = (size_t)o->resamples;
	double *drawn = sl_malloc(resamples * sizeof *drawn), sum_pairs = 0, sum_gain = 0, mean = 0, squares = 0;
	uint64_t random = sl_mix64(o->seed);

	for (size_t i = 0; i < n; i++) {
		sum_pairs += bundles[i].pairs;
		sum_gain += bundles[i].gain;
	}
	c.value = n ? sum_gain / sum_pairs : 0;
	for (size_t r = 0; r < resamples && n; r++) {
		double of = 0, gain = 0;

		for (size_t i = 0; i < n; i++) {
			uint64_t bits = sl_mix64(random += 0x9e3779b97f4a7c15u);
			const struct bundle *b = &bundles[(bits >> 32) * n >> 32];

			of += b->pairs;
			gain += b->gain;
		}
		drawn[r] = gain / of;
		mean += drawn[r] / (double)resamples;
	}
	if (n) {
		for (size_t r = 0; r < resamples; r++)
			squares += (drawn[r] - mean) * (drawn[r] - mean);
		qsort(drawn, resamples, sizeof *drawn, compare_numbers);
		c.error = sqrt(squares / (double)resamples);
		c.low = drawn[(size_t)(ONE_SIDE * (double)(resamples - 1))];
		c.high = drawn[(size_t)((1 - ONE_SIDE) * (double)(resamples - 1))];
	}
	free(bundles);
	free(drawn);
	return c;
}

/* -- the verdict --------------------------------------------------------------------------- */

static struct sl_accuracy accuracy(const struct sl_trial_pair *pairs, size_t count, size_t margin_offset)
{
	struct sl_id *groups = sl_malloc((count + 1) * sizeof *groups);
	double *margins = sl_malloc((count + 1) * sizeof *margins);

	for (size_t i = 0; i < count; i++) {
		groups[i] = pairs[i].group;
		memcpy(&margins[i], (const char *)&pairs[i] + margin_offset, sizeof *margins);
	}

	struct sl_accuracy result = sl_accuracy_clustered(groups, margins, count);

	free(groups);
	free(margins);
	return result;
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Domains that have pairs enough, in the order of their hashes; from malloc. */
static uint64_t *domains_of(const struct sl_trial_pair *pairs, size_t count, size_t *domain_count)
{
	uint64_t *domains = sl_malloc((count + 1) * sizeof *domains);

	for (size_t i = 0; i < count; i++)
		domains[i] = pairs[i].domain;
	qsort(domains, count, sizeof *domains, compare_hashes);
	*domain_count = 0;
	for (size_t i = 0, next; i < count; i = next) {
		for (next = i; next < count && domains[next] == domains[i]; next++)
			;
		if (next - i >= SL_PROMOTION_DOMAIN_LEAST)
			domains[(*domain_count)++] = domains[i];
	}
	return domains;
}

/* True: some domain has lost too much. */
static bool domain_lost(const struct sl_promotion_options *o, const struct sl_trial_pair *pairs, size_t count,
			struct sl_promotion *out)
{
	size_t domain_count;
	uint64_t *domains = domains_of(pairs, count, &domain_count);
	double z = domain_count ? normal_upper(ONE_SIDE / (double)domain_count) : 0;
	bool lost = false;

	for (size_t i = 0; i < domain_count && !lost; i++) {
		struct comparison c = compare(o, pairs, count, false, &domains[i]);

		lost = c.groups >= SL_PROMOTION_GROUPS_LEAST && c.value < -o->domain_drop && c.value + z * c.error < 0;
		if (!lost)
			continue;
		out->domain = domains[i];
		snprintf(out->why, sizeof out->why,
			 "%.4f on select, but %.4f below the champion on %zu pairs of one domain; allowed: %.4f",
			 out->candidate.value, -c.value, c.pairs, o->domain_drop);
	}
	free(domains);
	return lost;
}

void sl_promotion_decide(const struct sl_promotion_options *o, const struct sl_trial_pair *pairs, size_t count,
			 struct sl_promotion *out)
{
	struct sl_trial_pair *sorted = sl_malloc((count + 1) * sizeof *sorted);
	struct comparison champion, best;
	double z, least;

	assert(o->tries >= 1 && o->resamples >= 1);
	if (count)
		memcpy(sorted, pairs, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, compare_pairs);
	*out = (struct sl_promotion){
		.candidate = accuracy(sorted, count, offsetof(struct sl_trial_pair, candidate)),
		.champion = accuracy(sorted, count, offsetof(struct sl_trial_pair, champion)),
		.best = accuracy(sorted, count, offsetof(struct sl_trial_pair, best)),
	};
	champion = compare(o, sorted, count, false, NULL);
	best = compare(o, sorted, count, true, NULL);
	out->difference = champion.value;
	out->low = champion.low;
	out->high = champion.high;
	z = normal_upper(FIRST_LEVEL / ((double)o->tries * (double)o->tries));
	least = z * best.error - o->best_drop;

	if (champion.groups < SL_PROMOTION_GROUPS_LEAST) {
		out->promote = true;
		snprintf(out->why, sizeof out->why, "select has %zu groups, with fewer than %d the newest wins",
			 champion.groups, SL_PROMOTION_GROUPS_LEAST);
	} else if (champion.high < 0) {
		snprintf(out->why, sizeof out->why,
			 "%.4f on select, significantly below the champion: %+.4f [%+.4f, %+.4f]", out->candidate.value,
			 champion.value, champion.low, champion.high);
	} else if (best.value < least) {
		snprintf(out->why, sizeof out->why,
			 "%.4f on select, %+.4f to the best version; needed at try %" PRId64 ": %+.4f",
			 out->candidate.value, best.value, o->tries, least);
	} else if (!domain_lost(o, sorted, count, out)) {
		out->promote = true;
		out->improves = best.value > fmax(z, normal_upper(ONE_SIDE)) * best.error;
		snprintf(out->why, sizeof out->why,
			 "%.4f on select, %+.4f [%+.4f, %+.4f] to the champion, %+.4f to the best",
			 out->candidate.value, champion.value, champion.low, champion.high, best.value);
	}
	free(sorted);
}
