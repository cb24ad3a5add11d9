/* noise.c -- what curation made of labels that were made wrong on purpose.
 *
 *     bench_noise --set DIR [--domain-key K] [--seed N] [--no-models] NAME=EXPORTS ...
 *
 * DIR is a set of `sluice-sample flip`: raw.jsonl, gold.jsonl, truth.jsonl. EXPORTS is a folder with one run's
 * gold.jsonl, curated.jsonl, flipped.jsonl, undecided.jsonl and discarded.jsonl, in full format. NAME is a rule, or
 * rule@keep: further runs of a rule that was met before enter the table of promises only. noise.sh makes all that.
 *
 * Every pair is known by its id, so the truth about it, what the models and the judge said and what was
 * decided meet here, oriented to the truth or to the label as it arrived. What was not decided (copies, conflicts,
 * broken pairs) is left out everywhere; retention is a share of what was decided.
 *
 * Intervals are 95 %, clustered by group (prompt). The models at the end are trained by sl_train_linear on
 * groups of the train split and judged by true labels on groups of the report split, gold or not: neither they nor the
 * models that curated have ever seen one of those groups with a label that they could have learnt by heart. Prints,
 * never judges. */
#include "../../schemas/jsonl.h"
#include "../../schemas/lines.h"
#include "../../topology/base/file.h"
#include "../../trainer/features.h"
#include "../../trainer/train.h"
#include "../data/sample.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* Domains with fewer decided pairs are shown together, at the end. */
#define DOMAIN_LEAST 50
#define LINE_MOST ((size_t)16 << 20)

enum action { NONE, CURATED, FLIPPED, UNDECIDED, DISCARDED, ACTIONS };
static const char *const action_names[ACTIONS] = { "raw", "curated", "flipped", "undecided", "discarded" };

struct item {
	struct sl_pair pair; /* raw: as it arrived; gold: the human's label */
	int label;           /* as it is in `pair`: 1 right, -1 wrong, 0 unknown */
	bool gold;
	size_t domain;
	double longest; /* oriented to the truth: sign of the difference in words */
	double first;   /* the same of what was shown first; NaN unknown */
};

/* What one run said about an item; numbers oriented to the truth, NaN absent. */
struct said {
	enum action action;
	bool passed;       /* gold that reached the table */
	double gold, best; /* margins */
	double judge;      /* 1 right, -1 wrong, 0 abstained */
	double p_label;    /* P(the arrived label is right) */
};

struct run {
	const char *name;  /* "posterior@0.80" */
	size_t rule_size;  /* of the part before @ */
	double keep;       /* NaN: none */
	bool repeated;     /* of a rule met before */
	struct said *said; /* per item */
};

struct domain {
	struct sl_bytes name;
	size_t decided;
};

static struct sl_arena memory;
static struct item *items;
static size_t item_count, *by_id; /* by_id: indexes, sorted by id; of equal ones the first counts */
static struct domain *domains;
static size_t domain_count;
static struct sl_keys keys;
static uint64_t seed = 1;

static void die(const char *what, const struct sl_error *e)
{
	fprintf(stderr, "bench_noise: %s: %s\n", what, e->text);
	exit(1);
}

/* -- reading ------------------------------------------------------------------------------ */

static void each_line(const char *folder, const char *name, void (*each)(void *arg, struct sl_bytes line), void *arg)
{
	char *path = sl_arena_print(&memory, "%s/%s.jsonl", folder, name);
	struct sl_error e;
	struct sl_lines *lines = sl_lines_open(path, LINE_MOST, &e);
	struct sl_line line;
	enum sl_lines_result result;

	if (!lines)
		die(path, &e);
	while ((result = sl_lines_next(lines, &line, &e)) == SL_LINES_LINE)
		if (!line.too_long)
			each(arg, line.text);
	if (result == SL_LINES_ERROR)
		die(path, &e);
	sl_lines_close(lines);
}

static size_t domain_of(const struct sl_pair *p)
{
	struct sl_bytes name = p->domain.data ? p->domain : p->source;
	size_t i = 0;

	while (i < domain_count && !sl_bytes_equal(domains[i].name, name))
		i++;
	if (i == domain_count) {
		domains = sl_realloc(domains, ++domain_count * sizeof *domains);
		domains[i] = (struct domain){ .name = name };
	}
	return i;
}

static struct sl_bytes last_content(const struct sl_messages *m)
{
	return m->count ? m->at[m->count - 1].content : (struct sl_bytes){ NULL, 0 };
}

static int label_of(const struct sl_truth *truth, const struct sl_pair *p)
{
	json_t *meta = p->meta.data ? json_loadb((const char *)p->meta.data, p->meta.size, 0, NULL) : NULL;
	const json_t *id = json_object_get(meta, "sample_id");
	int label = 0;

	if (json_is_string(id))
		label = sl_truth_label(truth, (struct sl_bytes){ json_string_value(id), json_string_length(id) },
				       last_content(&p->chosen), last_content(&p->rejected));
	json_decref(meta);
	return label;
}

struct reading {
	const struct sl_truth *truth;
	bool gold;
};

static void read_pair(void *arg, struct sl_bytes line)
{
	static size_t capacity;
	const struct reading *r = arg;
	struct sl_parsed parsed;
	struct sl_error e;

	if (!sl_jsonl_parse(sl_arena_bytes(&memory, line), &keys, &memory, &parsed, &e))
		return; /* the chain refused it too */
	for (size_t i = 0; i < parsed.pair_count; i++) {
		struct item x = { .pair = parsed.pairs[i], .gold = r->gold };
		struct sl_arena scratch = { 0 };
		struct sl_features f;
		int position = sl_preferred_position(x.pair.meta);

		x.label = label_of(r->truth, &x.pair);
		x.domain = domain_of(&x.pair);
		sl_features_of(&x.pair, SL_COLUMNS_LOG2_MIN, &scratch, &f); /* for its word counts */
		x.longest = x.label * ((f.words_chosen > f.words_rejected) - (f.words_chosen < f.words_rejected));
		x.first = position ? position == 1 ? 1 : -1 : NAN; /* a flip leaves meta alone */
		sl_arena_release(&scratch);
		if (item_count == capacity) {
			capacity = capacity ? 2 * capacity : 4096;
			items = sl_realloc(items, capacity * sizeof *items);
		}
		items[item_count++] = x;
	}
}

static int compare_ids(const void *a, const void *b)
{
	const size_t *x = a, *y = b;
	int order = memcmp(items[*x].pair.id.b, items[*y].pair.id.b, sizeof items[*x].pair.id.b);

	return order ? order : (*x > *y) - (*x < *y);
}

static void read_set(const char *folder)
{
	char *path = sl_arena_print(&memory, "%s/truth.jsonl", folder);
	struct sl_error e;
	struct sl_truth *truth = sl_truth_load(path, &e);

	if (!truth)
		die(path, &e);
	each_line(folder, "gold", read_pair, &(struct reading){ truth, true });
	each_line(folder, "raw", read_pair, &(struct reading){ truth, false });
	sl_truth_free(truth);
	by_id = sl_calloc(item_count + 1, sizeof *by_id);
	for (size_t i = 0; i < item_count; i++)
		by_id[i] = i;
	qsort(by_id, item_count, sizeof *by_id, compare_ids);
}

/* The item of an id; item_count if there is none. */
static size_t find(struct sl_id id)
{
	size_t low = 0, high = item_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(items[by_id[middle]].pair.id.b, id.b, sizeof id.b) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < item_count && sl_id_equal(items[by_id[low]].pair.id, id) ? by_id[low] : item_count;
}

static double number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool is(const json_t *object, const char *key, const char *word)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && strcmp(text, word) == 0;
}

static double margin_of(const json_t *object, const char *model)
{
	const json_t *scores = json_object_get(object, "scores"), *score;
	size_t i;

	json_array_foreach(scores, i, score) if (is(score, "model", model)) return number(score, "chosen") -
		number(score, "rejected");
	return NAN;
}

struct exports {
	struct said *said;
	enum action action; /* NONE: the gold table */
};

static void read_export(void *arg, struct sl_bytes line)
{
	const struct exports *x = arg;
	json_t *object = json_loadb((const char *)line.data, line.size, 0, NULL);
	const char *hex = json_string_value(json_object_get(object, "id"));
	const json_t *judgement = json_object_get(object, "judgement");
	struct sl_id id;
	size_t at = hex && sl_id_parse(sl_text(hex), &id) ? find(id) : item_count;
	struct said s = { .action = x->action, .passed = x->action == NONE };
	/* +1 when the pair as exported has the true label */
	double turn;

	if (at == item_count || items[at].label == 0) {
		json_decref(object);
		return;
	}
	turn = json_is_true(json_object_get(object, "label_flipped")) ? -items[at].label : items[at].label;
	s.gold = turn * margin_of(object, "gold");
	s.best = turn * margin_of(object, "best");
	s.judge = NAN;
	if (json_is_true(json_object_get(judgement, "asked")))
		s.judge = turn * (is(judgement, "verdict", "chosen") - is(judgement, "verdict", "rejected"));
	s.p_label = number(json_object_get(object, "decision"), "p_label");
	x->said[at] = s;
	json_decref(object);
}

static void read_run(struct run *r, const char *folder)
{
	r->said = sl_calloc(item_count + 1, sizeof *r->said);
	each_line(folder, "gold", read_export, &(struct exports){ r->said, NONE });
	for (int a = CURATED; a < ACTIONS; a++)
		each_line(folder, action_names[a], read_export, &(struct exports){ r->said, (enum action)a });
}

/* -- figures ------------------------------------------------------------------------------ */

/* Oriented numbers of some items, with their groups. */
struct figures {
	struct sl_id *groups;
	double *margins;
	size_t count;
};

static struct figures figures_new(void)
{
	return (struct figures){ sl_calloc(item_count + 1, sizeof(struct sl_id)),
				 sl_calloc(item_count + 1, sizeof(double)), 0 };
}

static void figures_add(struct figures *f, const struct item *x, double margin)
{
	if (isnan(margin))
		return;
	f->groups[f->count] = x->pair.group;
	f->margins[f->count++] = margin;
}

static struct sl_accuracy figures_end(struct figures *f)
{
	struct sl_accuracy a = { 0 };

	if (f->count)
		a = sl_accuracy_clustered(f->groups, f->margins, f->count);
	free(f->groups);
	free(f->margins);
	return a;
}

#define ALL SIZE_MAX
#define REST (SIZE_MAX - 1) /* domains that are too small for a row */

static bool within(const struct item *x, size_t domain)
{
	if (domain == REST)
		return domains[x->domain].decided < DOMAIN_LEAST;
	return domain == ALL || x->domain == domain;
}

enum what { BY_GOLD, BY_BEST, BY_JUDGE, BY_LONGEST, BY_FIRST };

/* Accuracy of a witness on the decided pairs of a domain. */
static struct sl_accuracy witness(const struct run *r, size_t domain, enum what what)
{
	struct figures f = figures_new();

	for (size_t i = 0; i < item_count; i++) {
		const struct said *s = &r->said[i];
		double spoke = s->judge == 0 ? NAN : s->judge;

		if (s->action == NONE || !within(&items[i], domain))
			continue;
		figures_add(&f, &items[i],
			    what == BY_GOLD      ? s->gold
			    : what == BY_BEST    ? s->best
			    : what == BY_JUDGE   ? spoke
			    : what == BY_LONGEST ? items[i].longest
						 : items[i].first);
	}
	return figures_end(&f);
}

/* Precision of what went to one place; NONE: of all as they arrived. */
static struct sl_accuracy precision(const struct run *r, size_t domain, enum action action)
{
	struct figures f = figures_new();

	for (size_t i = 0; i < item_count; i++) {
		enum action did = r->said[i].action;

		if (did != NONE && (action == NONE || did == action) && within(&items[i], domain))
			figures_add(&f, &items[i], action == FLIPPED ? -items[i].label : items[i].label);
	}
	return figures_end(&f);
}

/* -- tables ------------------------------------------------------------------------------- */

static void put_accuracy(const struct sl_accuracy *a)
{
	if (a->count)
		printf("  %.3f (%.3f to %.3f)", a->value, a->low, a->high);
	else
		printf("  %22s", "-");
}

/* Runs `row` for every domain that is big enough, for the rest together, and for all. */
static void each_domain(const struct run *r, void (*row)(const struct run *r, size_t domain, const char *name))
{
	bool rest = false;

	for (size_t i = 0; i < domain_count; i++) {
		char *name = sl_arena_print(&memory, "%.*s", (int)domains[i].name.size,
					    domains[i].name.size ? (const char *)domains[i].name.data : "");

		if (domains[i].decided >= DOMAIN_LEAST)
			row(r, i, name);
		rest |= domains[i].decided > 0 && domains[i].decided < DOMAIN_LEAST;
	}
	if (rest)
		row(r, REST, "smaller ones");
	row(r, ALL, "all");
}

static void put_witnesses(const struct run *r, size_t domain, const char *name)
{
	struct sl_accuracy gold = witness(r, domain, BY_GOLD), best = witness(r, domain, BY_BEST),
			   judge = witness(r, domain, BY_JUDGE), longest = witness(r, domain, BY_LONGEST),
			   first = witness(r, domain, BY_FIRST);

	printf("%-28.28s %6" PRId64, name, longest.count);
	put_accuracy(&gold);
	put_accuracy(&best);
	printf("  %6" PRId64, judge.count);
	put_accuracy(&judge);
	put_accuracy(&longest);
	put_accuracy(&first);
	putchar('\n');
}

static void put_places(const struct run *r, size_t domain, const char *name)
{
	struct sl_accuracy raw = precision(r, domain, NONE);

	printf("%-28.28s %6" PRId64 "  %.3f", name, raw.count, raw.count ? raw.value : NAN);
	for (int a = CURATED; a < ACTIONS; a++) {
		struct sl_accuracy p = precision(r, domain, (enum action)a);

		if (a == CURATED)
			put_accuracy(&p);
		else if (p.count)
			printf("  %.3f", p.value);
		else
			printf("  %5s", "-");
		printf(" at %.2f", raw.count ? (double)p.count / (double)raw.count : 0);
	}
	putchar('\n');
}

static void print_rule(const struct run *r)
{
	struct sl_accuracy raw = precision(r, ALL, NONE);

	printf("\nrule %s: precision (labels that are right; of flipped, as they left)\n\n", r->name);
	printf("%-10s %7s %9s  %s\n", "", "pairs", "retention", "precision");
	for (int a = NONE; a < ACTIONS; a++) {
		struct sl_accuracy p = precision(r, ALL, (enum action)a);

		printf("%-10s %7" PRId64 " %9.3f", action_names[a], p.count,
		       raw.count ? (double)p.count / (double)raw.count : 0);
		put_accuracy(&p);
		putchar('\n');
	}
	printf("\n%-28s %6s  %5s  %-22s %-7s  %-13s  %-13s  %-13s\n", "domain: precision at retention", "pairs", "raw",
	       "curated", "", "flipped", "undecided", "discarded");
	each_domain(r, put_places);
}

/* Mean P over the kept, and how many of them are right. */
static void print_promises(const struct run *runs, size_t count)
{
	printf("\nthe promise: P(the label is right) of what was kept, and what is right\n\n");
	printf("%-20s %6s %9s %9s  %-22s  %10s  %10s\n", "run", "kept", "retention", "expected", "realised",
	       "- expected", "- keep");
	for (size_t k = 0; k < count; k++) {
		const struct run *r = &runs[k];
		struct sl_accuracy raw = precision(r, ALL, NONE), kept = precision(r, ALL, CURATED);
		double sum = 0;
		size_t known = 0;

		for (size_t i = 0; i < item_count; i++)
			if (r->said[i].action == CURATED && !isnan(r->said[i].p_label)) {
				sum += r->said[i].p_label;
				known++;
			}
		printf("%-20s %6" PRId64 " %9.3f %9.3f", r->name, kept.count,
		       raw.count ? (double)kept.count / (double)raw.count : 0, known ? sum / (double)known : NAN);
		put_accuracy(&kept);
		printf("  %+10.3f", known ? kept.value - sum / (double)known : NAN);
		if (!isnan(r->keep))
			printf("  %+10.3f", kept.value - r->keep);
		putchar('\n');
	}
}

static void print_reliability(const struct run *r)
{
	static const double edges[] = { 0, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.001 };
	double off = 0;
	size_t all = 0;

	printf("\nreliability of P under rule %s, all decided pairs\n\n%-12s %6s %7s  %-22s\n", r->name, "P", "pairs",
	       "mean P", "labels that are right");
	for (size_t b = 0; b + 1 < sizeof edges / sizeof *edges; b++) {
		struct figures f = figures_new();
		struct sl_accuracy right;
		double sum = 0;

		for (size_t i = 0; i < item_count; i++) {
			double p = r->said[i].p_label;

			if (r->said[i].action == NONE || !(p >= edges[b] && p < edges[b + 1]))
				continue;
			sum += p;
			figures_add(&f, &items[i], items[i].label);
		}
		right = figures_end(&f);
		if (!right.count)
			continue;
		printf("%.2f to %.2f %6" PRId64 " %7.3f", edges[b], fmin(edges[b + 1], 1), right.count,
		       sum / (double)right.count);
		put_accuracy(&right);
		putchar('\n');
		off += fabs(sum - right.value * (double)right.count);
		all += (size_t)right.count;
	}
	printf("expected calibration error %.3f\n", all ? off / (double)all : NAN);
}

/* -- models ------------------------------------------------------------------------------- */

enum material { RAW_NOISY, KEPT, KEPT_AND_FLIPPED, GOLD_ONLY, RAW_CLEAN, EVERYTHING_CLEAN };

/* Items as the trainer reads them. */
struct material_reader {
	const struct run *run;
	enum material material;
	size_t next;
	struct sl_pair turned;
};

static void material_rewind(void *arg)
{
	struct material_reader *r = arg;

	r->next = 0;
}

/* Does the item belong, and is its label to be turned round? */
static bool belongs(const struct material_reader *r, size_t i, bool *turn)
{
	const struct said *s = &r->run->said[i];
	bool decided = s->action != NONE;

	*turn = items[i].label < 0;
	switch (r->material) {
	case EVERYTHING_CLEAN:
		return decided || s->passed;
	case RAW_CLEAN:
		return decided;
	case GOLD_ONLY:
		return s->passed;
	case RAW_NOISY:
		*turn = false;
		return decided;
	case KEPT:
	case KEPT_AND_FLIPPED:
		*turn = s->action == FLIPPED;
		return s->action == CURATED || (s->action == FLIPPED && r->material == KEPT_AND_FLIPPED);
	}
	return false;
}

static bool material_next(void *arg, const struct sl_pair **pair)
{
	struct material_reader *r = arg;

	while (r->next < item_count) {
		const struct sl_pair *p = &items[r->next].pair;
		bool turn;

		if (!belongs(r, r->next++, &turn))
			continue;
		*pair = p;
		if (turn) {
			r->turned = *p;
			r->turned.chosen = p->rejected;
			r->turned.rejected = p->chosen;
			*pair = &r->turned;
		}
		return true;
	}
	return false;
}

static void print_model(const char *name, const struct run *run, enum material material)
{
	char parent[] = "/tmp/sluice-noise-XXXXXX";
	struct material_reader from = { .run = run, .material = material },
			       truth = { .run = run, .material = EVERYTHING_CLEAN };
	struct sl_examples train = { &from, material_rewind, material_next },
			   eval = { &truth, material_rewind, material_next };
	struct sl_train_options options;
	struct sl_train_report report;
	struct sl_error e;

	sl_train_options_default(&options);
	options.seed = seed;
	options.folds = 0;
	if (!mkdtemp(parent))
		die(parent, &(struct sl_error){ .text = "cannot be made" });
	if (sl_train_linear(&options, &train, &eval, sl_arena_print(&memory, "%s/1", parent), NULL, &report, &e)) {
		printf("%-32s %7" PRId64, name, report.examples);
		put_accuracy(&report.report.model);
		printf("  %7.3f\n", report.report.longest_wins.value);
		fflush(stdout);
	} else {
		printf("%-32s %7s  %s\n", name, "-", e.text);
	}
	if (!sl_folder_remove(parent, &e))
		die(parent, &e);
}

static void print_models(const struct run *runs, size_t count)
{
	printf("\nmodels trained on it: accuracy on groups of split report, true labels\n\n%-32s %7s  %-22s  %7s\n",
	       "trained on", "pairs", "accuracy", "longest");
	print_model("raw, as it arrived", runs, RAW_NOISY);
	print_model("raw, true labels", runs, RAW_CLEAN);
	print_model("gold only", runs, GOLD_ONLY);
	for (size_t k = 0; k < count; k++) {
		if (runs[k].repeated)
			continue;
		print_model(sl_arena_print(&memory, "curated, %s", runs[k].name), &runs[k], KEPT);
		print_model(sl_arena_print(&memory, "curated + flipped, %s", runs[k].name), &runs[k], KEPT_AND_FLIPPED);
	}
}

/* ----------------------------------------------------------------------------------------- */

static struct run run_named(char *argument, const struct run *before, size_t count, const char **folder)
{
	char *equals = strchr(argument, '='), *at;
	struct run r = { .name = argument, .keep = NAN };

	if (!equals)
		die(argument, &(struct sl_error){ .text = "expected NAME=FOLDER" });
	*equals = 0;
	*folder = equals + 1;
	at = strchr(argument, '@');
	r.rule_size = at ? (size_t)(at - argument) : strlen(argument);
	if (at)
		r.keep = strtod(at + 1, NULL);
	for (size_t i = 0; i < count; i++)
		r.repeated |= before[i].rule_size == r.rule_size && !memcmp(before[i].name, r.name, r.rule_size);
	return r;
}

int main(int argc, char **argv)
{
	const char *set = NULL;
	bool models = true;
	size_t count = 0;
	struct run *runs;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--no-models") == 0) {
			models = false;
			continue;
		}
		if (strcmp(argv[i], "--set") == 0)
			set = value;
		else if (strcmp(argv[i], "--domain-key") == 0)
			keys.domain = value;
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(value, NULL, 10);
		else
			set = NULL, i = argc;
		i++;
	}
	if (!set || i >= argc) {
		fprintf(stderr, "usage: %s --set DIR [--domain-key K] [--seed N] [--no-models] NAME=EXPORTS ...\n",
			argv[0]);
		return 2;
	}
	read_set(set);
	runs = sl_calloc((size_t)(argc - i), sizeof *runs);
	for (; i < argc; i++) {
		const char *folder;

		runs[count] = run_named(argv[i], runs, count, &folder);
		read_run(&runs[count++], folder);
	}
	for (size_t k = 0; k < item_count; k++)
		domains[items[k].domain].decided += runs[0].said[k].action != NONE;

	printf("\nwho is right, on the decided pairs (run %s)\n\n%-28s %6s  %-22s  %-22s  %6s  %-22s  %-22s  %-22s\n",
	       runs[0].name, "domain", "pairs", "gold model", "best model", "asked", "judge, where it spoke",
	       "longest wins", "first wins");
	each_domain(&runs[0], put_witnesses);
	for (size_t k = 0; k < count; k++)
		if (!runs[k].repeated)
			print_rule(&runs[k]);
	print_promises(runs, count);
	for (size_t k = 0; k < count; k++)
		if (!runs[k].repeated)
			print_reliability(&runs[k]);
	if (models)
		print_models(runs, count);
	for (size_t k = 0; k < count; k++)
		free(runs[k].said);
	free(runs);
	free(by_id);
	free(items);
	free(domains);
	sl_arena_release(&memory);
	return 0;
}
