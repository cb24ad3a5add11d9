/* noise_models.c -- are models better for it? See noise.h.
 *
 * The linear model is trained by sl_train_linear, as the chain trains it, on pairs whose groups are in split train; its
 * accuracy is that on decided pairs in split report, by true labels. In the chain's own split those are few prompts,
 * some with hundreds of pairs, and one model hardly differs from another on them. So the split is drawn several times:
 * in a further draw every pair has another group, a hash of its own and the number of the draw, which falls elsewhere.
 * The pairs of all draws count together, clustered by their true group, and each model is compared with the one that
 * was trained on the labels as they came, pair by pair. No pair that is judged was ever gold, so with whole prompts as
 * gold nothing that curated has seen one of those prompts. */
#include "noise.h"

#include "../../topology/base/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum material { RAW_NOISY, KEPT, KEPT_AND_FLIPPED, GOLD_ONLY, RAW_CLEAN, JUDGED };

/* Items as the trainer reads them. */
struct reader {
	const struct sl_noise *n;
	const struct sl_noise_run *run;
	enum material material;
	int draw; /* 0: the chain's own split */
	size_t next;
	struct sl_pair pair;
};

/* Figures of one kind of model, of all draws. */
struct result {
	const char *name;
	const struct sl_noise_run *run;
	enum material material;
	int64_t examples;
	bool failed;
	struct sl_figures figures; /* margins oriented to the truth */
};

static struct sl_id group_in(int draw, struct sl_id group)
{
	uint8_t bytes[sizeof group.b + 4];

	if (draw == 0)
		return group;
	memcpy(bytes, group.b, sizeof group.b);
	sl_put_le32(bytes + sizeof group.b, (uint32_t)draw);
	return sl_hash128(bytes, sizeof bytes);
}

static void reader_rewind(void *arg)
{
	struct reader *r = arg;

	r->next = 0;
}

/* Does the item belong, and is its label to be turned round? */
static bool belongs(const struct reader *r, size_t i, bool *turn)
{
	const struct sl_noise_said *s = &r->run->said[i];
	bool decided = s->place != SL_PLACE_NONE;

	*turn = r->n->items[i].label < 0;
	switch (r->material) {
	case RAW_CLEAN:
	case JUDGED:
		return decided;
	case GOLD_ONLY:
		return s->passed;
	case RAW_NOISY:
		*turn = false;
		return decided;
	case KEPT:
	case KEPT_AND_FLIPPED:
		*turn = s->place == SL_PLACE_FLIPPED;
		return s->place == SL_PLACE_CURATED || (*turn && r->material == KEPT_AND_FLIPPED);
	}
	return false;
}

static bool reader_next(void *arg, const struct sl_pair **pair)
{
	struct reader *r = arg;

	while (r->next < r->n->item_count) {
		const struct sl_pair *p = &r->n->items[r->next].pair;
		bool turn;

		if (!belongs(r, r->next++, &turn))
			continue;
		r->pair = *p;
		r->pair.group = group_in(r->draw, p->group);
		if (turn) {
			r->pair.chosen = p->rejected;
			r->pair.rejected = p->chosen;
		}
		*pair = &r->pair;
		return true;
	}
	return false;
}

/* What a model says about the pairs it is judged by: the same ones, in the same order, for every model. */
static void judge(const struct sl_model *m, struct reader *truth, struct sl_figures *to)
{
	const struct sl_pair *p;

	reader_rewind(truth);
	while (reader_next(truth, &p)) {
		struct sl_reward reward;

		if (sl_split_of(p->group) != SL_SPLIT_REPORT)
			continue;
		sl_model_score(m, p, 1, &reward);
		sl_figures_add(to, &truth->n->items[truth->next - 1], reward.chosen - reward.rejected);
	}
}

static bool train(struct sl_noise *n, struct result *x, int draw, uint64_t seed, struct sl_error *e)
{
	struct reader from = { .n = n, .run = x->run, .material = x->material, .draw = draw },
		      truth = { .n = n, .run = x->run, .material = JUDGED, .draw = draw };
	struct sl_examples examples = { &from, reader_rewind, reader_next },
			   eval = { &truth, reader_rewind, reader_next };
	struct sl_train_options options;
	struct sl_train_report report;
	struct sl_model *m;
	char parent[] = "/tmp/sluice-noise-XXXXXX", folder[sizeof parent + 2];
	struct sl_error ignored;

	sl_train_options_default(&options);
	options.seed = seed;
	options.folds = 0;
	if (!mkdtemp(parent))
		return sl_error_errno(e, SL_STOP, "cannot make a folder in '/tmp'");
	snprintf(folder, sizeof folder, "%s/1", parent);
	m = sl_train_linear(&options, &examples, &eval, folder, NULL, &report, e)
		    ? sl_model_open(folder, (struct sl_bytes){ NULL, 0 }, e)
		    : NULL;
	if (m) {
		x->examples += report.examples;
		judge(m, &truth, &x->figures);
	}
	sl_model_close(m);
	if (!sl_folder_remove(parent, &ignored))
		fprintf(stderr, "bench_noise: %s\n", ignored.text);
	return m != NULL;
}

/* -1 wrong, 0 a tie, 1 right */
static double sign(double margin)
{
	return (margin > 0) - (margin < 0);
}

struct of_group {
	struct sl_id group;
	double sum; /* of what one model has right and the other not */
	double count;
};

static int compare_groups(const void *a, const void *b)
{
	const struct of_group *x = a, *y = b;

	return memcmp(x->group.b, y->group.b, sizeof x->group.b);
}

/* Accuracy of a less accuracy of b on the same pairs, and how far a 95 % interval goes to either side: normal, from the
 * variance between groups (linearised ratio). */
static double difference(const struct sl_figures *a, const struct sl_figures *b, double *reach)
{
	struct of_group *at = sl_calloc(a->count + 1, sizeof *at);
	double sum = 0, squares = 0, groups = 0;

	for (size_t i = 0; i < a->count; i++) {
		at[i] = (struct of_group){ a->groups[i], (sign(a->margins[i]) - sign(b->margins[i])) / 2, 1 };
		sum += at[i].sum;
	}
	qsort(at, a->count, sizeof *at, compare_groups);
	for (size_t i = 0; i < a->count; groups++) {
		struct of_group g = at[i++];

		for (; i < a->count && sl_id_equal(at[i].group, g.group); i++) {
			g.sum += at[i].sum;
			g.count++;
		}
		g.sum -= g.count * sum / (double)a->count;
		squares += g.sum * g.sum;
	}
	free(at);
	*reach = groups > 1 ? 1.96 * sqrt(squares * groups / (groups - 1)) / (double)a->count : (double)NAN;
	return sum / (double)a->count;
}

static void print(struct result *x, const struct result *base, int draws)
{
	struct sl_accuracy accuracy;
	double less, reach;

	printf("%-32s %7" PRId64, x->name, x->examples / draws);
	if (x->failed || !x->figures.count) {
		puts("  too few pairs");
		return;
	}
	accuracy = sl_accuracy_clustered(x->figures.groups, x->figures.margins, x->figures.count);
	sl_accuracy_print(&accuracy);
	if (x != base && !base->failed) {
		less = difference(&x->figures, &base->figures, &reach);
		printf("  %+.3f (%+.3f to %+.3f)", less, less - reach, less + reach);
	}
	putchar('\n');
}

static void add(struct result *to, size_t *count, const char *name, const struct sl_noise_run *run,
		enum material material)
{
	to[(*count)++] = (struct result){ .name = name, .run = run, .material = material };
}

void sl_noise_models(struct sl_noise *n, const struct sl_noise_run *runs, size_t run_count, uint64_t seed, int draws)
{
	struct result *results = sl_calloc(3 + 2 * run_count, sizeof *results);
	struct sl_figures longest = { 0 };
	struct sl_accuracy accuracy;
	struct sl_error e;
	size_t count = 0;

	if (draws > 0) {
		add(results, &count, "raw, as it arrived", runs, RAW_NOISY);
		add(results, &count, "raw, true labels", runs, RAW_CLEAN);
		add(results, &count, "gold only", runs, GOLD_ONLY);
	}
	for (size_t i = 0; draws > 0 && i < run_count; i++) {
		if (runs[i].repeated)
			continue;
		add(results, &count, sl_arena_print(&n->memory, "curated, %s", runs[i].name), &runs[i], KEPT);
		add(results, &count, sl_arena_print(&n->memory, "curated + flipped, %s", runs[i].name), &runs[i],
		    KEPT_AND_FLIPPED);
	}
	for (int draw = 0; draw < draws; draw++) {
		for (size_t i = 0; i < count; i++)
			if (!results[i].failed && !train(n, &results[i], draw, seed, &e)) {
				fprintf(stderr, "bench_noise: %s: %s\n", results[i].name, e.text);
				results[i].failed = true;
			}
		for (size_t i = 0; i < n->item_count; i++)
			if (runs->said[i].place != SL_PLACE_NONE &&
			    sl_split_of(group_in(draw, n->items[i].pair.group)) == SL_SPLIT_REPORT)
				sl_figures_add(&longest, &n->items[i], n->items[i].longest);
	}
	if (count > 0) {
		printf("\nmodels trained on it: accuracy on groups that none of them has seen, true labels, %d draws "
		       "of the "
		       "split\n\n%-32s %7s  %-22s  %s\n",
		       draws, "trained on", "pairs", "accuracy", "against raw as it arrived");
		for (size_t i = 0; i < count; i++)
			print(&results[i], &results[0], draws);
		accuracy = sl_figures_end(&longest);
		printf("%-32s %7s", "longest wins", "");
		sl_accuracy_print(&accuracy);
		putchar('\n');
	}
	for (size_t i = 0; i < count; i++)
		sl_figures_end(&results[i].figures);
	free(results);
}
