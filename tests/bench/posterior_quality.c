/* posterior_quality.c -- what the posterior decides on real preference data, without the pipeline.
 *
 *     bench_posterior_quality [options] FILE.jsonl[.gz|.zst] ...
 *
 *     --gold SHARE     of the groups (prompts) are gold: 0.2
 *     --noise SHARE    of the labels arrive wrong: 0.3
 *     --systematic     wrong mostly where the truth is the shorter answer, not at random
 *     --permute        half of the gold verdicts are wrong: everything must be undecided
 *     --no-judge       without the judge `nearest`
 *     --domain-key K   where the domain of a line is, for example meta.subset
 *     --domains        also print every domain, for the last seed
 *     --seeds N        draw gold and noise N times: 3
 *
 * Protocol, "new prompts": a group is gold or stream as a whole. The gold model is trained on the train part of gold;
 * the posterior is fitted on its train part (margins cross-fitted) and select part, as topology/evidence.c does,
 * and applied to the stream. There is no best model. Everything is printed by seed: precision is the share of right
 * labels, retention the share of the stream. Prints tables, never judges. */
#include "../../operators/cosine.h"
#include "../../operators/hashing_vectorizer.h"
#include "../../operators/nearest.h"
#include "../../schemas/jsonl.h"
#include "../../schemas/lines.h"
#include "../../topology/base/file.h"
#include "../../trainer/posterior.h"

#include <cblas.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIM = 256, K = 8, BATCH = 64, KEEPS = 3, BINS = 10, DOMAINS_MOST = 64 };
#define THRESHOLD 0.05 /* of annotate */

static const double keeps[KEEPS] = { 0.80, 0.85, 0.90 };

struct item {
	struct sl_pair pair; /* oriented to the truth */
	bool gold, wrong;    /* wrong: the label arrives swapped */
	double margin;       /* over the temperature; of gold train: out of sample */
	double judge;        /* +1, -1, 0 */
	double length;
};

struct set {
	struct item *items;
	size_t count, capacity;
	struct sl_arena arena;
};

struct settings {
	double gold, noise;
	bool systematic, permute, no_judge, domains;
	const char *domain_key;
	int64_t seeds;
};

static void die(const char *what, const struct sl_error *e)
{
	fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

static void load(struct set *s, const char *path, const char *domain_key)
{
	struct sl_keys keys = { .domain = domain_key };
	struct sl_error e;
	struct sl_lines *lines = sl_lines_open(path, (size_t)4 << 20, &e);
	struct sl_line line;
	enum sl_lines_result result;

	if (!lines)
		die(path, &e);
	while ((result = sl_lines_next(lines, &line, &e)) == SL_LINES_LINE) {
		struct sl_parsed parsed;

		if (line.too_long ||
		    !sl_jsonl_parse(sl_arena_bytes(&s->arena, line.text), &keys, &s->arena, &parsed, &e))
			continue;
		for (size_t i = 0; i < parsed.pair_count; i++) {
			if (s->count == s->capacity) {
				s->capacity = s->capacity ? 2 * s->capacity : 1024;
				s->items = sl_realloc(s->items, s->capacity * sizeof *s->items);
			}
			if (!parsed.pairs[i].source.data)
				parsed.pairs[i].source = sl_arena_bytes(&s->arena, sl_text(path));
			s->items[s->count++] = (struct item){ .pair = parsed.pairs[i] };
		}
	}
	if (result == SL_LINES_ERROR)
		die(path, &e);
	sl_lines_close(lines);
}

/* 0 .. 1, one number per id and purpose. */
static double share_of(struct sl_id id, uint64_t purpose)
{
	return (double)(sl_hash64(id.b, sizeof id.b, purpose) >> 11) * 0x1p-53;
}

/* Which groups are gold, whose labels arrive wrong, which answer is longer. */
static void draw(struct set *s, const struct settings *o, uint64_t seed)
{
	double shorter = 0, chance;

	for (size_t i = 0; i < s->count; i++) {
		struct item *t = &s->items[i];

		t->length = sl_pair_length_sign(&t->pair);
		shorter += t->length < 0;
	}
	/* Systematic: a tenth of the noise falls on the others. */
	shorter /= (double)s->count;
	for (size_t i = 0; i < s->count; i++) {
		struct item *t = &s->items[i];

		chance = !o->systematic  ? o->noise
			 : t->length < 0 ? fmin(0.95, 0.9 * o->noise / shorter)
					 : 0.1 * o->noise / (1 - shorter);
		t->gold = share_of(t->pair.group, 2 * seed) < o->gold;
		t->wrong = share_of(t->pair.id, 2 * seed + 1) < chance;
		t->judge = 0;
	}
}

/* -- the gold model ------------------------------------------------------------ */

struct reader {
	const struct set *set;
	bool permute;
	size_t next;
	struct sl_pair swapped;
};

static void reader_rewind(void *arg)
{
	struct reader *r = arg;

	r->next = 0;
}

static bool permuted(const struct sl_pair *p)
{
	return share_of(p->id, 77) < 0.5;
}

static bool reader_next(void *arg, const struct sl_pair **pair)
{
	struct reader *r = arg;

	while (r->next < r->set->count && !r->set->items[r->next].gold)
		r->next++;
	if (r->next == r->set->count)
		return false;
	*pair = &r->set->items[r->next++].pair;
	if (r->permute && permuted(*pair)) {
		r->swapped = **pair;
		r->swapped.chosen = (*pair)->rejected;
		r->swapped.rejected = (*pair)->chosen;
		*pair = &r->swapped;
	}
	return true;
}

/* Called once per gold pair, in order. */
struct margins {
	struct set *set;
	size_t next;
	bool permute;
};

static void note_margin(void *arg, const struct sl_pair *p, double margin)
{
	struct margins *m = arg;

	(void)p;
	while (!m->set->items[m->next].gold)
		m->next++;
	struct item *t = &m->set->items[m->next++];

	if (sl_split_of(t->pair.group) == SL_SPLIT_TRAIN)
		t->margin = m->permute && permuted(&t->pair) ? -margin : margin;
}

static void score(struct set *s, const struct settings *o, const char *folder)
{
	struct reader reader = { .set = s, .permute = o->permute };
	struct sl_examples examples = { &reader, reader_rewind, reader_next };
	struct margins margins = { .set = s, .permute = o->permute };
	struct sl_train_options train;
	struct sl_train_report report;
	struct sl_error e;
	struct sl_model *m;

	sl_train_options_default(&train);
	if (!sl_train_linear(&train, &examples, &examples, folder, NULL, &report, &e))
		die("gold model", &e);
	m = sl_model_open(folder, (struct sl_bytes){ 0 }, &e);
	if (!m)
		die("gold model", &e);
	for (size_t i = 0; i < s->count; i++) {
		struct sl_reward r;

		sl_model_score(m, &s->items[i].pair, 1, &r);
		s->items[i].margin = r.chosen - r.rejected;
	}
	if (!sl_train_cross_fit(&train, &examples, &margins, note_margin, &e))
		die("cross-fitting", &e);
	for (size_t i = 0; i < s->count; i++)
		s->items[i].margin /= sl_model_temperature(m);
	sl_model_close(m);
	if (!sl_folder_remove(folder, &e))
		die(folder, &e);
}

/* -- the judge ----------------------------------------------------------------- */

struct judging {
	struct set *set;
	bool permute;
	struct sl_nearest nearest;
	struct sl_cosine index;
	struct sl_id_map places; /* of exemplars */
};

static bool learn(void *arg, struct sl_id gold)
{
	struct judging *j = arg;
	struct sl_arena scratch = { 0 };
	uint32_t place;
	bool known = sl_id_map_get(&j->places, gold, &place);

	if (known)
		sl_nearest_learn(&j->nearest, &j->set->items[place].pair, &scratch);
	sl_arena_release(&scratch);
	return known;
}

static void judge_batch(struct judging *j, struct item *items, size_t count, float *vectors, struct sl_arena *a)
{
	struct sl_cosine_query queries[BATCH];

	for (size_t i = 0; i < count; i++)
		queries[i] = (struct sl_cosine_query){ .vector = vectors + i * DIM, .group = items[i].pair.group };
	sl_cosine_top(&j->index, queries, count, K, a);
	for (size_t i = 0; i < count; i++) {
		struct sl_exemplar exemplars[K] = { 0 };
		struct sl_pair p = items[i].pair;

		for (size_t k = 0; k < queries[i].hit_count; k++) {
			uint32_t place = 0;
			bool known = sl_id_map_get(&j->places, queries[i].hits[k].id, &place);
			bool swap = known && j->permute && permuted(&j->set->items[place].pair);

			exemplars[k] = (struct sl_exemplar){ .id = queries[i].hits[k].id,
							     .similarity = queries[i].hits[k].similarity,
							     .label = sl_text(swap ? "rejected" : "chosen") };
		}
		p.exemplars = exemplars;
		p.exemplar_count = queries[i].hit_count;

		double vote = sl_nearest_ask(&j->nearest, &p, a, learn, j).value;

		items[i].judge = fabs(vote) < THRESHOLD ? 0 : vote > 0 ? 1 : -1;
	}
}

static void judge(struct set *s, const struct settings *o)
{
	struct judging j = { .set = s, .permute = o->permute, .index = { .dim = DIM } };
	struct sl_vectorizer vectorizer;
	struct sl_arena a = { 0 };
	float *vectors = sl_malloc(s->count * DIM * sizeof *vectors);

	openblas_set_num_threads(1);
	sl_vectorizer_init(&vectorizer, DIM);
	sl_nearest_init(&j.nearest, (size_t)1 << 30);
	for (size_t i = 0; i < s->count; i++) {
		const struct item *t = &s->items[i];

		sl_arena_clear(&a);
		sl_vectorize(&vectorizer, sl_messages_text(&t->pair.prompt, &a), &a, vectors + i * DIM);
		if (!t->gold || sl_split_of(t->pair.group) != SL_SPLIT_TRAIN)
			continue;
		sl_cosine_put(&j.index, t->pair.id, t->pair.group, vectors + i * DIM, NULL);
		sl_id_map_put(&j.places, t->pair.id, (uint32_t)i);
	}
	for (size_t i = 0; i < s->count; i += BATCH) {
		sl_arena_clear(&a);
		judge_batch(&j, s->items + i, s->count - i < BATCH ? s->count - i : BATCH, vectors + i * DIM, &a);
	}
	sl_vectorizer_release(&vectorizer);
	sl_nearest_release(&j.nearest);
	sl_cosine_release(&j.index);
	sl_id_map_release(&j.places);
	sl_arena_release(&a);
	free(vectors);
}

/* -- the posterior ------------------------------------------------------------- */

static struct sl_posterior *fit(const struct set *s, const struct settings *o, const char *folder, json_t **report)
{
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior_options options;
	struct sl_posterior *p;
	struct sl_buf text = { 0 };
	struct sl_error e;

	sl_posterior_options_default(&options);
	for (size_t i = 0; i < s->count; i++) {
		const struct item *t = &s->items[i];
		double sign = o->permute && permuted(&t->pair) ? -1 : 1; /* the verdict may be wrong itself */

		if (t->gold)
			sl_evidence_add(&rows, &(struct sl_evidence_row){
						       .group = t->pair.group,
						       .domain = sl_pair_domain(&t->pair),
						       .gold = sign * t->margin,
						       .best = NAN,
						       .judge = o->no_judge ? NAN : sign * t->judge,
						       .confidence = NAN,
						       .length = sign * t->length,
						       .audited = true,
						       .arrived_right = t->wrong == (sign < 0),
					       });
	}
	if (!sl_posterior_fit(&options, &rows, o->no_judge ? NULL : "nearest", folder, NULL, &text, &e))
		die("posterior", &e);
	p = sl_posterior_open(folder, (struct sl_bytes){ 0 }, &e);
	if (!p)
		die("posterior", &e);
	*report = json_loadb((const char *)text.data, text.size, 0, NULL);
	sl_buf_release(&text);
	sl_evidence_release(&rows);
	if (!sl_folder_remove(folder, &e))
		die(folder, &e);
	return p;
}

static int zone_of(double p, double keep)
{
	return p >= keep ? 1 : p <= 1 - keep ? -1 : 0;
}

/* As filter would see it: the judge is asked where an answer changes what happens. */
static double decide(const struct sl_posterior *p, const struct settings *o, const struct item *t, double keep,
		     bool *twice)
{
	double sign = t->wrong ? -1 : 1;
	struct sl_bytes name = sl_text("nearest");
	struct sl_witnesses w = { .domain = sl_pair_domain(&t->pair),
				  .gold = sign * t->margin,
				  .best = NAN,
				  .judge = NAN,
				  .length = sign * t->length,
				  .label_noise = o->noise };
	double accuracy = sl_posterior_judge_accuracy(p, name, w.domain), odds = log(accuracy / (1 - accuracy));
	double silent = sl_posterior_p(p, &w), yes, no;

	*twice = false;
	if (o->no_judge || !sl_posterior_judge_speaks(p, name, w.domain))
		return silent;
	w.judge = odds;
	yes = sl_posterior_p(p, &w);
	w.judge = -odds;
	no = sl_posterior_p(p, &w);
	if (zone_of(yes, keep) == zone_of(silent, keep) && zone_of(no, keep) == zone_of(silent, keep))
		return silent;
	w.judge = sign * t->judge * odds;
	*twice = w.gold < 0 && w.judge < 0;
	return sl_posterior_p(p, &w);
}

struct part {
	double count, right, expected;
};

static void part_add(struct part *p, bool right, double expected)
{
	p->count++;
	p->right += right;
	p->expected += expected;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : NAN;
}

/* Precision of the part of the stream that has the highest P, for these parts. */
static const double ranks[] = { 0.43, 0.55, 0.64 };
enum { RANKS = sizeof ranks / sizeof ranks[0] };

struct figures {
	double gold, judge, longest, asked_share, raw;
	struct part stream, paper, kept[KEEPS], near[KEEPS], discarded, undecided, blind, flips, bins[BINS], top[RANKS];
};

struct ranked {
	double p;
	bool right;
};

static int by_p(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return (x->p < y->p) - (x->p > y->p);
}

static bool is_of(const struct item *t, const struct sl_bytes *domain)
{
	return !domain || sl_bytes_equal(sl_pair_domain(&t->pair), *domain);
}

static struct figures measure(const struct set *s, const struct settings *o, const struct sl_posterior *p,
			      const struct sl_bytes *domain)
{
	struct figures f = { 0 };
	double gold = 0, longest = 0, judged = 0, agreed = 0;
	struct ranked *ranking = sl_malloc(s->count * sizeof *ranking);
	size_t ranked = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct item *t = &s->items[i];
		bool blind = sl_posterior_blind(p, sl_pair_domain(&t->pair)), twice;

		if (t->gold || !is_of(t, domain))
			continue;
		part_add(&f.stream, !t->wrong, 0);
		gold += t->margin > 0 ? 1 : t->margin < 0 ? 0 : 0.5;
		longest += t->length > 0 ? 1 : t->length < 0 ? 0 : 0.5;
		judged += t->judge != 0;
		agreed += t->judge > 0;
		if (t->wrong ? t->margin < 0 : t->margin > 0)
			part_add(&f.paper, !t->wrong, 0);
		for (size_t k = 0; k < KEEPS; k++) {
			double x = decide(p, o, t, keeps[k], &twice);

			if (!blind && x >= keeps[k])
				part_add(&f.kept[k], !t->wrong, x);
			if (!blind && fabs(x - keeps[k]) < 0.025)
				part_add(&f.near[k], !t->wrong, x);
			if (k > 0)
				continue;
			ranking[ranked++] = (struct ranked){ x, !t->wrong };
			part_add(&f.bins[x < 1 ? (size_t)(x * BINS) : BINS - 1], !t->wrong, x);
			if (blind)
				part_add(&f.blind, !t->wrong, x);
			else if (zone_of(x, keeps[k]) == 0)
				part_add(&f.undecided, !t->wrong, x);
			else if (x <= 1 - keeps[k])
				part_add(&f.discarded, !t->wrong, x);
			if (!blind && x <= 0.15 && twice)
				part_add(&f.flips, t->wrong, 1 - x);
		}
	}
	qsort(ranking, ranked, sizeof *ranking, by_p);
	for (size_t r = 0; r < RANKS; r++)
		for (size_t i = 0; (double)i < ranks[r] * (double)ranked; i++)
			part_add(&f.top[r], ranking[i].right, ranking[i].p);
	free(ranking);
	f.gold = gold / f.stream.count;
	f.longest = longest / f.stream.count;
	f.judge = ratio(agreed, judged);
	return f;
}

static void print_head(const char *name)
{
	printf("%-24s %6s %5s %5s %5s %5s | %5s %5s", name, "pairs", "gold", "judge", "long", "raw", "paper", "ret");
	for (size_t k = 0; k < KEEPS; k++)
		printf(" | %.2f expct   ret  near", keeps[k]);
	for (size_t r = 0; r < RANKS; r++)
		printf("%s%.2f ", r ? " " : " | top ", ranks[r]);
	printf("| undec blind discd right | flips right\n");
}

static void print_figures(const char *name, const struct figures *f)
{
	double n = f->stream.count;

	printf("%-24.24s %6.0f %5.3f %5.3f %5.3f %5.3f | %5.3f %5.3f", name, n, f->gold, f->judge, f->longest,
	       f->stream.right / n, ratio(f->paper.right, f->paper.count), f->paper.count / n);
	for (size_t k = 0; k < KEEPS; k++)
		printf(" | %.3f %.3f %.3f %.3f", ratio(f->kept[k].right, f->kept[k].count),
		       ratio(f->kept[k].expected, f->kept[k].count), f->kept[k].count / n,
		       ratio(f->near[k].right, f->near[k].count));
	printf(" |    ");
	for (size_t r = 0; r < RANKS; r++)
		printf(" %.3f", ratio(f->top[r].right, f->top[r].count));
	printf(" | %.3f %.3f %.3f %.3f | %5.0f %.3f\n", f->undecided.count / n, f->blind.count / n,
	       f->discarded.count / n, ratio(f->discarded.right, f->discarded.count), f->flips.count,
	       ratio(f->flips.right, f->flips.count));
}

static void print_reliability(const struct figures *f)
{
	printf("\nreliability: P in, pairs, mean P, right\n");
	for (size_t b = 0; b < BINS; b++)
		if (f->bins[b].count > 0)
			printf("  %.1f to %.1f %7.0f  %.3f  %.3f\n", (double)b / BINS, (double)(b + 1) / BINS,
			       f->bins[b].count, f->bins[b].expected / f->bins[b].count,
			       f->bins[b].right / f->bins[b].count);
}

static void part_sum(struct part *to, const struct part *from)
{
	to->count += from->count;
	to->right += from->right;
	to->expected += from->expected;
}

/* Pairs of all seeds together: their mean, weighted by pairs. */
static void figures_sum(struct figures *to, const struct figures *from, int64_t seeds)
{
	struct part *parts = &to->stream;
	const struct part *more = &from->stream;

	to->gold += from->gold / (double)seeds;
	to->judge += from->judge / (double)seeds;
	to->longest += from->longest / (double)seeds;
	for (size_t i = 0; i < (sizeof *to - offsetof(struct figures, stream)) / sizeof *parts; i++)
		part_sum(&parts[i], &more[i]);
}

static void print_domains(const struct set *s, const struct settings *o, const struct sl_posterior *p)
{
	struct sl_bytes names[DOMAINS_MOST];
	size_t count = 0;

	printf("\n");
	print_head("domain");
	for (size_t i = 0; i < s->count; i++) {
		struct sl_bytes name = sl_pair_domain(&s->items[i].pair);
		char text[64];
		size_t k = 0;

		while (k < count && !sl_bytes_equal(names[k], name))
			k++;
		if (s->items[i].gold || k < count || count == DOMAINS_MOST)
			continue;
		names[count++] = name;
		snprintf(text, sizeof text, "%.*s", (int)name.size, (const char *)name.data);

		struct figures f = measure(s, o, p, &name);

		print_figures(text, &f);
	}
}

/* Returns the index of the first file. */
static int parse(int argc, char **argv, struct settings *o)
{
	int i = 1;

	*o = (struct settings){ .gold = 0.2, .noise = 0.3, .seeds = 3 };
	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		bool *flag = strcmp(argv[i], "--systematic") == 0 ? &o->systematic
			     : strcmp(argv[i], "--permute") == 0  ? &o->permute
			     : strcmp(argv[i], "--no-judge") == 0 ? &o->no_judge
			     : strcmp(argv[i], "--domains") == 0  ? &o->domains
								  : NULL;

		if (flag) {
			*flag = true;
			continue;
		}
		if (strcmp(argv[i], "--gold") == 0)
			o->gold = strtod(value, NULL);
		else if (strcmp(argv[i], "--noise") == 0)
			o->noise = strtod(value, NULL);
		else if (strcmp(argv[i], "--domain-key") == 0)
			o->domain_key = value;
		else if (strcmp(argv[i], "--seeds") == 0)
			o->seeds = strtoll(value, NULL, 10);
		else
			return argc;
		i++;
	}
	return i;
}

int main(int argc, char **argv)
{
	struct settings o;
	int first = parse(argc, argv, &o);
	char parent[] = "/tmp/sluice-posterior-XXXXXX", folder[64];
	struct figures all = { 0 };
	struct set s = { 0 };

	if (first >= argc || o.seeds < 1 || !mkdtemp(parent)) {
		fprintf(stderr,
			"usage: %s [--gold 0.2] [--noise 0.3] [--systematic] [--permute] [--no-judge] [--domain-key K] "
			"[--domains] [--seeds 3] FILE...\n",
			argv[0]);
		return 2;
	}
	snprintf(folder, sizeof folder, "%s/1", parent);
	for (int i = first; i < argc; i++)
		load(&s, argv[i], o.domain_key);
	print_head("seed");
	for (int64_t seed = 1; seed <= o.seeds; seed++) {
		struct sl_posterior *p;
		struct figures f;
		json_t *report;
		char name[32];

		draw(&s, &o, (uint64_t)seed);
		score(&s, &o, folder);
		if (!o.no_judge)
			judge(&s, &o);
		p = fit(&s, &o, folder, &report);
		f = measure(&s, &o, p, NULL);
		snprintf(name, sizeof name, "%" PRId64, seed);
		print_figures(name, &f);
		fflush(stdout);
		figures_sum(&all, &f, o.seeds);
		if (seed == o.seeds && o.domains) {
			json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(4));
			print_domains(&s, &o, p);
		}
		json_decref(report);
		sl_posterior_close(p);
	}
	print_figures("mean", &all);
	print_reliability(&all);
	free(s.items);
	sl_arena_release(&s.arena);
	rmdir(parent);
	return 0;
}
