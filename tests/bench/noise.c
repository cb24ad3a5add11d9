/* noise.c -- what curation made of labels that were made wrong on purpose.
 *
 *     bench_noise --set DIR [--domain-key K] [--seed N] [--no-models] NAME=EXPORTS ...
 *
 * DIR is a set of `sluice-sample flip`: raw.jsonl, gold.jsonl, truth.jsonl. EXPORTS is a folder with one run's
 * gold.jsonl, curated.jsonl, flipped.jsonl, undecided.jsonl and discarded.jsonl, in full format. NAME is a rule, or
 * rule@keep: further runs of a rule that was met before enter the table of promises only. noise.sh makes all that.
 *
 * What was not decided (copies, conflicts, broken pairs) is left out everywhere; retention is a share of what was
 * decided. Intervals are 95 %, clustered by group (prompt). Prints, never judges. */
#include "noise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Domains with fewer decided pairs are shown together, at the end. */
#define DOMAIN_LEAST 50

#define ALL SIZE_MAX
#define REST (SIZE_MAX - 1) /* n->domains that are too small for a row */

static bool within(const struct sl_noise *n, const struct sl_noise_item *x, size_t domain)
{
	if (domain == REST)
		return n->domains[x->domain].decided < DOMAIN_LEAST;
	return domain == ALL || x->domain == domain;
}

enum what { BY_GOLD, BY_BEST, BY_JUDGE, BY_LONGEST, BY_FIRST };

/* Accuracy of a witness on the decided pairs of a domain. */
static struct sl_accuracy witness(const struct sl_noise *n, const struct sl_noise_run *r, size_t domain, enum what what)
{
	struct sl_figures f = { 0 };

	for (size_t i = 0; i < n->item_count; i++) {
		const struct sl_noise_said *s = &r->said[i];
		double spoke = s->judge == 0 ? NAN : s->judge;

		if (s->place == SL_PLACE_NONE || !within(n, &n->items[i], domain))
			continue;
		sl_figures_add(&f, &n->items[i],
			       what == BY_GOLD      ? s->gold
			       : what == BY_BEST    ? s->best
			       : what == BY_JUDGE   ? spoke
			       : what == BY_LONGEST ? n->items[i].longest
						    : n->items[i].first);
	}
	return sl_figures_end(&f);
}

/* Precision of what went to one place; SL_PLACE_NONE: of all as they arrived. */
static struct sl_accuracy precision(const struct sl_noise *n, const struct sl_noise_run *r, size_t domain,
				    enum sl_place action)
{
	struct sl_figures f = { 0 };

	for (size_t i = 0; i < n->item_count; i++) {
		enum sl_place did = r->said[i].place;

		if (did != SL_PLACE_NONE && (action == SL_PLACE_NONE || did == action) &&
		    within(n, &n->items[i], domain))
			sl_figures_add(&f, &n->items[i],
				       action == SL_PLACE_FLIPPED ? -n->items[i].label : n->items[i].label);
	}
	return sl_figures_end(&f);
}

/* -- tables ------------------------------------------------------------------------------- */

/* Runs `row` for every domain that is big enough, for the rest together, and for all. */
static void each_domain(const struct sl_noise *n, const struct sl_noise_run *r,
			void (*row)(const struct sl_noise *n, const struct sl_noise_run *r, size_t domain,
				    const char *name))
{
	bool rest = false;

	for (size_t i = 0; i < n->domain_count; i++) {
		size_t decided = n->domains[i].decided;

		if (decided >= DOMAIN_LEAST)
			row(n, r, i, n->domains[i].name);
		rest |= decided > 0 && decided < DOMAIN_LEAST;
	}
	if (rest)
		row(n, r, REST, "smaller ones");
	row(n, r, ALL, "all");
}

static void put_witnesses(const struct sl_noise *n, const struct sl_noise_run *r, size_t domain, const char *name)
{
	struct sl_accuracy gold = witness(n, r, domain, BY_GOLD), best = witness(n, r, domain, BY_BEST),
			   judge = witness(n, r, domain, BY_JUDGE), longest = witness(n, r, domain, BY_LONGEST),
			   first = witness(n, r, domain, BY_FIRST);

	printf("%-28.28s %6" PRId64, name, longest.count);
	sl_accuracy_print(&gold);
	sl_accuracy_print(&best);
	printf("  %6" PRId64, judge.count);
	sl_accuracy_print(&judge);
	sl_accuracy_print(&longest);
	sl_accuracy_print(&first);
	putchar('\n');
}

static void put_places(const struct sl_noise *n, const struct sl_noise_run *r, size_t domain, const char *name)
{
	struct sl_accuracy raw = precision(n, r, domain, SL_PLACE_NONE);

	printf("%-28.28s %6" PRId64 "  %.3f", name, raw.count, raw.count ? raw.value : NAN);
	for (int a = SL_PLACE_CURATED; a < SL_PLACES; a++) {
		struct sl_accuracy p = precision(n, r, domain, (enum sl_place)a);

		if (a == SL_PLACE_CURATED)
			sl_accuracy_print(&p);
		else if (p.count)
			printf("  %.3f", p.value);
		else
			printf("  %5s", "-");
		printf(" at %.2f", raw.count ? (double)p.count / (double)raw.count : 0);
	}
	putchar('\n');
}

static void print_rule(const struct sl_noise *n, const struct sl_noise_run *r)
{
	struct sl_accuracy raw = precision(n, r, ALL, SL_PLACE_NONE);

	printf("\nrule %s: precision (labels that are right; of flipped, as they left)\n\n", r->name);
	printf("%-10s %7s %9s  %s\n", "", "pairs", "retention", "precision");
	for (int a = SL_PLACE_NONE; a < SL_PLACES; a++) {
		struct sl_accuracy p = precision(n, r, ALL, (enum sl_place)a);

		printf("%-10s %7" PRId64 " %9.3f", sl_place_names[a], p.count,
		       raw.count ? (double)p.count / (double)raw.count : 0);
		sl_accuracy_print(&p);
		putchar('\n');
	}
	printf("\n%-28s %6s  %5s  %-22s %-7s  %-13s  %-13s  %-13s\n", "domain: precision at retention", "pairs", "raw",
	       "curated", "", "flipped", "undecided", "discarded");
	each_domain(n, r, put_places);
}

static void print_witnesses(const struct sl_noise *n, const struct sl_noise_run *r)
{
	printf("\nwho is right, on the decided pairs (run %s)\n\n", r->name);
	printf("%-28s %6s  %-22s  %-22s  %6s  %-22s  %-22s  %-22s\n", "domain", "pairs", "gold model", "best model",
	       "spoke", "judge, where it spoke", "longest wins", "first wins");
	each_domain(n, r, put_witnesses);
}

struct ranked {
	double p;
	size_t item;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->p != y->p ? (x->p < y->p) - (x->p > y->p) : (x->item > y->item) - (x->item < y->item);
}

/* Rules that keep more or less are compared here: how right are as many pairs, the most certain by P first? */
static void print_frontier(const struct sl_noise *n, const struct sl_noise_run *runs, size_t count)
{
	static const double retentions[] = { 0.2, 0.3, 0.43, 0.55, 0.59, 0.64, 0.8 };

	printf("\nprecision of as many pairs, by P (under rule paper: of the gold model)\n\n%-20s", "retention");
	for (size_t i = 0; i < sizeof retentions / sizeof *retentions; i++)
		printf("  %-22.2f", retentions[i]);
	putchar('\n');
	for (size_t k = 0; k < count; k++) {
		if (runs[k].repeated)
			continue;

		struct ranked *at = sl_calloc(n->item_count + 1, sizeof *at);
		size_t known = 0, decided = 0;

		for (size_t i = 0; i < n->item_count; i++) {
			const struct sl_noise_said *s = &runs[k].said[i];

			decided += s->place != SL_PLACE_NONE;
			if (s->place != SL_PLACE_NONE && !isnan(s->p_label))
				at[known++] = (struct ranked){ s->p_label, i };
		}
		qsort(at, known, sizeof *at, compare_ranked);
		printf("%-20s", runs[k].name);
		for (size_t i = 0; i < sizeof retentions / sizeof *retentions; i++) {
			size_t most = (size_t)(retentions[i] * (double)decided);
			struct sl_figures f = { 0 };
			struct sl_accuracy right;

			for (size_t j = 0; most <= known && j < most; j++)
				sl_figures_add(&f, &n->items[at[j].item], n->items[at[j].item].label);
			right = sl_figures_end(&f);
			sl_accuracy_print(&right);
		}
		putchar('\n');
		free(at);
	}
}

/* Mean P over the kept, and how many of them are right. */
static void print_promises(const struct sl_noise *n, const struct sl_noise_run *runs, size_t count)
{
	printf("\nthe promise: P(the label is right) of what was kept, and what is right\n\n");
	printf("%-20s %6s %9s %9s  %-22s  %10s  %10s\n", "run", "kept", "retention", "expected", "realised",
	       "- expected", "- keep");
	for (size_t k = 0; k < count; k++) {
		const struct sl_noise_run *r = &runs[k];
		struct sl_accuracy raw, kept;
		double sum = 0;
		size_t known = 0;

		if (isnan(r->keep)) /* a rule that promises nothing */
			continue;
		raw = precision(n, r, ALL, SL_PLACE_NONE);
		kept = precision(n, r, ALL, SL_PLACE_CURATED);
		for (size_t i = 0; i < n->item_count; i++)
			if (r->said[i].place == SL_PLACE_CURATED && !isnan(r->said[i].p_label)) {
				sum += r->said[i].p_label;
				known++;
			}
		printf("%-20s %6" PRId64 " %9.3f %9.3f", r->name, kept.count,
		       raw.count ? (double)kept.count / (double)raw.count : 0, known ? sum / (double)known : NAN);
		sl_accuracy_print(&kept);
		printf("  %+10.3f  %+10.3f\n", known ? kept.value - sum / (double)known : NAN, kept.value - r->keep);
	}
}

static void print_reliability(const struct sl_noise *n, const struct sl_noise_run *r)
{
	static const double edges[] = { 0, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.001 };
	double off = 0;
	size_t all = 0;

	printf("\nreliability of P under rule %s, all decided pairs\n\n%-12s %6s %7s  %-22s\n", r->name, "P", "pairs",
	       "mean P", "labels that are right");
	for (size_t b = 0; b + 1 < sizeof edges / sizeof *edges; b++) {
		struct sl_figures f = { 0 };
		struct sl_accuracy right;
		double sum = 0;

		for (size_t i = 0; i < n->item_count; i++) {
			double p = r->said[i].p_label;

			if (r->said[i].place == SL_PLACE_NONE || !(p >= edges[b] && p < edges[b + 1]))
				continue;
			sum += p;
			sl_figures_add(&f, &n->items[i], n->items[i].label);
		}
		right = sl_figures_end(&f);
		if (!right.count)
			continue;
		printf("%.2f to %.2f %6" PRId64 " %7.3f", edges[b], fmin(edges[b + 1], 1), right.count,
		       sum / (double)right.count);
		sl_accuracy_print(&right);
		putchar('\n');
		off += fabs(sum - right.value * (double)right.count);
		all += (size_t)right.count;
	}
	printf("expected calibration error %.3f\n", all ? off / (double)all : NAN);
}

/* -- the command ---------------------------------------------------------------------------- */

/* Fills runs[at] from "rule@keep=FOLDER", which is cut up; returns the folder, NULL if there is none. */
static const char *run_named(char *argument, struct sl_noise_run *runs, size_t at)
{
	struct sl_noise_run *r = &runs[at];
	char *equals = strchr(argument, '='), *keep;
	size_t size;

	if (!equals)
		return NULL;
	*equals = 0;
	keep = strchr(argument, '@');
	size = keep ? (size_t)(keep - argument) : strlen(argument);
	*r = (struct sl_noise_run){ .name = argument, .keep = keep ? strtod(keep + 1, NULL) : (double)NAN };
	for (size_t i = 0; i < at; i++)
		r->repeated |= strncmp(runs[i].name, argument, size) == 0 && strchr("@", runs[i].name[size]);
	return equals + 1;
}

int main(int argc, char **argv)
{
	struct sl_noise n = { 0 };
	const char *set = NULL;
	uint64_t seed = 1;
	int draws = 4, i = 1;
	size_t count = 0;
	struct sl_noise_run *runs;

	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "--set") == 0)
			set = value;
		else if (strcmp(argv[i], "--domain-key") == 0)
			n.keys.domain = value;
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--draws") == 0)
			draws = (int)strtol(value, NULL, 10);
		else
			break;
	}
	if (!set || i >= argc || argv[i][0] == '-') {
		fprintf(stderr, "usage: %s --set DIR [--domain-key K] [--seed N] [--draws N] NAME=EXPORTS ...\n",
			argv[0]);
		return 2;
	}
	sl_noise_read_set(&n, set);
	runs = sl_calloc((size_t)(argc - i), sizeof *runs);
	for (; i < argc; i++) {
		const char *folder = run_named(argv[i], runs, count);

		if (!folder) {
			fprintf(stderr, "bench_noise: '%s' is not a run: expected NAME=FOLDER\n", argv[i]);
			return 2;
		}
		sl_noise_read_run(&n, &runs[count++], folder);
	}
	for (size_t k = 0; k < n.item_count; k++)
		n.domains[n.items[k].domain].decided += runs[0].said[k].place != SL_PLACE_NONE;
	print_witnesses(&n, &runs[0]);
	for (size_t k = 0; k < count; k++)
		if (!runs[k].repeated)
			print_rule(&n, &runs[k]);
	print_frontier(&n, runs, count);
	print_promises(&n, runs, count);
	for (size_t k = 0; k < count; k++)
		if (!runs[k].repeated && !isnan(runs[k].keep))
			print_reliability(&n, &runs[k]);
	sl_noise_models(&n, runs, count, seed, draws);
	for (size_t k = 0; k < count; k++)
		free(runs[k].said);
	free(runs);
	sl_noise_release(&n);
	return 0;
}
