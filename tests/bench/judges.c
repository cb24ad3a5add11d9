/* judges.c -- what LLM judges add to curation, and what they cost.
 *
 *     bench_judges --set DIR NAME=EXPORTS ...
 *     bench_judges --set DIR --same NAME=EXPORTS NAME=EXPORTS
 *
 * DIR and EXPORTS are as in noise.c. The first form prints a row per run: who was asked, how right the panel was, what
 * was kept and how right that is, and the dollars per kept pair.
 *
 * The second form holds a run that asked where an answer could matter against one that asked about every pair, with
 * the same models: all that the first did not ask about must have ended the same in the second, whatever was answered
 * there. Exit code 1 when a pair did not. judges.sh makes all that. */
#include "noise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
	size_t decided, asked, votes;
	double dollars;
	struct sl_accuracy judge, place[SL_PLACES]; /* by place; SL_PLACE_NONE: as they arrived */
};

static struct row row_of(const struct sl_noise *n, const struct sl_noise_run *r)
{
	struct sl_figures judge = { 0 }, place[SL_PLACES] = { { 0 } };
	struct row row = { 0 };

	for (size_t i = 0; i < n->item_count; i++) {
		const struct sl_noise_said *s = &r->said[i];
		const struct sl_noise_item *x = &n->items[i];

		if (s->place == SL_PLACE_NONE)
			continue;
		row.decided++;
		row.asked += !isnan(s->judge);
		row.votes += s->votes;
		row.dollars += s->dollars;
		if (s->judge == 1 || s->judge == -1)
			sl_figures_add(&judge, x, s->judge);
		sl_figures_add(&place[SL_PLACE_NONE], x, x->label);
		sl_figures_add(&place[s->place], x, s->place == SL_PLACE_FLIPPED ? -x->label : x->label);
	}
	row.judge = sl_figures_end(&judge);
	for (int p = 0; p < SL_PLACES; p++)
		row.place[p] = sl_figures_end(&place[p]);
	return row;
}

static void put_share(const struct sl_accuracy *a, size_t of)
{
	if (a->count)
		printf("  %.3f at %.2f", a->value, (double)a->count / (double)of);
	else
		printf("  %13s", "-");
}

static void print_rows(const struct sl_noise *n, const struct sl_noise_run *runs, size_t count)
{
	printf("\n%-30s %6s %6s %7s  %-22s %-30s %-15s%-15s%-15s%9s %9s\n", "run", "pairs", "asked", "answers",
	       " panel, where it spoke", "  curated: right", "  flipped", "  undecided", "  discarded", "dollars",
	       "per 1,000");
	for (size_t k = 0; k < count; k++) {
		struct row r = row_of(n, &runs[k]);
		const struct sl_accuracy *kept = &r.place[SL_PLACE_CURATED];
		int64_t out = kept->count + r.place[SL_PLACE_FLIPPED].count;

		printf("%-30s %6zu %6.3f %7zu", runs[k].name, r.decided, (double)r.asked / (double)r.decided, r.votes);
		sl_accuracy_print(&r.judge);
		sl_accuracy_print(kept);
		printf(" at %.3f", (double)kept->count / (double)r.decided);
		for (int p = SL_PLACE_FLIPPED; p < SL_PLACES; p++)
			put_share(&r.place[p], r.decided);
		printf("%9.3f %9.3f\n", r.dollars, out ? 1000 * r.dollars / (double)out : 0);
	}
	printf("\nflipped: right after the flip. Dollars: of the answers on these pairs; per 1,000 that were kept or "
	       "flipped.\n");
}

/* The pairs that `few` did not ask about, under `all`. */
static int print_same(const struct sl_noise *n, const struct sl_noise_run *few, const struct sl_noise_run *all)
{
	size_t pairs = 0, asked = 0, answered = 0, against = 0, other = 0, moved = 0;

	for (size_t i = 0; i < n->item_count; i++) {
		const struct sl_noise_said *f = &few->said[i], *a = &all->said[i];

		if (f->place == SL_PLACE_NONE || a->place == SL_PLACE_NONE)
			continue;
		pairs++;
		if (!isnan(f->judge)) {
			asked++;
			moved += f->place != a->place;
			continue;
		}
		answered += a->judge == 1 || a->judge == -1;
		against += a->judge * n->items[i].label < 0;
		other += f->place != a->place;
	}
	printf("\n%s: asked about %zu of %zu pairs; %s: about all. Of the %zu that the first left out, the second was "
	       "answered "
	       "on %zu, %zu times against the label; %zu of them ended elsewhere. Of the %zu that both asked about, "
	       "%zu "
	       "ended elsewhere.\n",
	       few->name, asked, pairs, all->name, pairs - asked, answered, against, other, asked, moved);
	return other || answered == 0;
}

int main(int argc, char **argv)
{
	struct sl_noise n = { 0 };
	struct sl_noise_run *runs = sl_calloc((size_t)argc, sizeof *runs);
	const char *set = NULL;
	bool same = false;
	size_t count = 0;
	int result = 0;

	for (int i = 1; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (strcmp(argv[i], "--same") == 0) {
			same = true;
		} else if (strcmp(argv[i], "--set") == 0 && i + 1 < argc) {
			set = argv[++i];
			sl_noise_read_set(&n, set);
		} else if (set && equals) {
			*equals = 0;
			runs[count].name = argv[i];
			sl_noise_read_run(&n, &runs[count++], equals + 1);
		} else {
			set = NULL;
			break;
		}
	}
	if (!set || count == 0 || (same && count != 2)) {
		fprintf(stderr, "usage: %s --set DIR [--same] NAME=EXPORTS ...\n", argv[0]);
		return 2;
	}
	if (same)
		result = print_same(&n, &runs[0], &runs[1]);
	else
		print_rows(&n, runs, count);
	for (size_t k = 0; k < count; k++)
		free(runs[k].said);
	free(runs);
	sl_noise_release(&n);
	return result;
}
