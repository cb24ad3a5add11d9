/* model_quality.c -- how well the linear model learns real preference data, and
 * what it costs.
 *
 *     bench_model_quality [options] FILE.jsonl[.gz|.zst] ...
 *
 *     --gold SHARE    of the groups are gold, true labels (0.2)
 *     --together      one model of all files, not one of each
 *     --domain-key K  where the domain of a line is, for example meta.subset
 *     --permute       of the gold pairs, half at random are swapped: must give chance
 *     --seed N  --epochs N  --columns-log2 N  --rate X  --l2 X
 *
 * Protocol, "new prompts": a group (prompt) is gold or not as a whole; the model
 * is trained on the train part of the gold groups, its temperature fitted on their
 * select part; the figure is the accuracy on all groups that are not gold. Beside
 * it stand the baselines and the cross-fitted accuracy on gold itself. Prints a
 * table, never judges. */
#include "../../schemas/jsonl.h"
#include "../../schemas/lines.h"
#include "../../topology/base/file.h"
#include "../../topology/base/thread.h"
#include "../../topology/base/text.h"
#include "../../trainer/evaluate.h"
#include "../../trainer/train.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

struct set {
	struct sl_pair *pairs;
	size_t count, capacity;
	struct sl_arena arena;
};

struct settings {
	double gold;
	bool together, permute;
	const char *domain_key;
	struct sl_train_options train;
};

static void die(const char *what, const struct sl_error *e)
{
	fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

static void set_add(struct set *s, const struct sl_pair *p)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 1024;
		s->pairs = sl_realloc(s->pairs, s->capacity * sizeof *s->pairs);
	}
	s->pairs[s->count++] = *p;
}

static void set_load(struct set *s, const char *path, const char *domain_key)
{
	struct sl_keys keys = { .domain = domain_key };
	struct sl_error e;
	struct sl_lines *lines = sl_lines_open(path, (size_t)4 << 20, &e);
	struct sl_line line;
	enum sl_lines_result result;
	size_t broken = 0;

	if (!lines)
		die(path, &e);
	while ((result = sl_lines_next(lines, &line, &e)) == SL_LINES_LINE) {
		struct sl_parsed parsed;

		if (line.too_long ||
		    !sl_jsonl_parse(sl_arena_bytes(&s->arena, line.text), &keys, &s->arena, &parsed, &e)) {
			broken++;
			continue;
		}
		for (size_t i = 0; i < parsed.pair_count; i++) {
			if (!parsed.pairs[i].source.data)
				parsed.pairs[i].source = sl_arena_bytes(&s->arena, sl_text(path));
			set_add(s, &parsed.pairs[i]);
		}
	}
	if (result == SL_LINES_ERROR)
		die(path, &e);
	sl_lines_close(lines);
	if (broken)
		fprintf(stderr, "%s: %zu lines could not be read\n", path, broken);
}

static void set_release(struct set *s)
{
	free(s->pairs);
	sl_arena_release(&s->arena);
	*s = (struct set){ 0 };
}

/* 0 .. 1, one number per id and purpose. */
static double share_of(struct sl_id id, uint64_t purpose)
{
	return (double)(sl_hash64(id.b, sizeof id.b, purpose) >> 11) * 0x1p-53;
}

static bool is_gold(const struct sl_pair *p, const struct settings *o)
{
	return share_of(p->group, o->train.seed) < o->gold;
}

/* The gold pairs of a set, as the trainer reads them. */
struct gold_reader {
	const struct set *set;
	const struct settings *o;
	size_t next;
	struct sl_pair swapped;
};

static void gold_rewind(void *arg)
{
	struct gold_reader *r = arg;

	r->next = 0;
}

static bool gold_next(void *arg, const struct sl_pair **pair)
{
	struct gold_reader *r = arg;

	while (r->next < r->set->count) {
		const struct sl_pair *p = &r->set->pairs[r->next++];

		if (!is_gold(p, r->o))
			continue;
		*pair = p;
		if (r->o->permute && share_of(p->id, 77) < 0.5) {
			r->swapped = *p;
			r->swapped.chosen = p->rejected;
			r->swapped.rejected = p->chosen;
			*pair = &r->swapped;
		}
		return true;
	}
	return false;
}

static void evaluate_rest(const struct set *s, const struct settings *o, const struct sl_model *m,
			  struct sl_evaluation *out)
{
	struct sl_tally tally = { 0 };

	for (size_t i = 0; i < s->count; i++) {
		const struct sl_pair *p = &s->pairs[i];
		struct sl_reward r;

		if (is_gold(p, o))
			continue;
		sl_model_score(m, p, 1, &r);
		sl_tally_add(&tally, p, r.chosen - r.rejected);
	}
	sl_tally_end(&tally, sl_model_temperature(m), out);
	sl_tally_release(&tally);
}

static void print_accuracy(const struct sl_accuracy *a)
{
	if (a->count == 0)
		printf("  %22s", "-");
	else
		printf("  %.3f (%.3f to %.3f)", a->value, a->low, a->high);
}

static struct sl_model *quality(const char *name, const struct set *s, const struct settings *o, const char *folder)
{
	struct gold_reader reader = { .set = s, .o = o };
	struct sl_examples gold = { &reader, gold_rewind, gold_next };
	struct sl_train_report report;
	struct sl_evaluation rest;
	struct sl_error e;

	if (!sl_train_linear(&o->train, &gold, &gold, folder, NULL, &report, &e))
		die(name, &e);

	struct sl_model *m = sl_model_open(folder, (struct sl_bytes){ 0 }, &e);

	if (!m)
		die(name, &e);
	evaluate_rest(s, o, m, &rest);
	printf("%-28.28s %6zu %6" PRId64, name, s->count, report.examples);
	print_accuracy(&rest.model);
	print_accuracy(&report.out_of_sample.model);
	print_accuracy(&rest.longest_wins);
	if (rest.first_wins.count)
		printf("  %.3f", rest.first_wins.value);
	else
		printf("  %5s", "-");
	printf("  %5.2f %6.3f %6.2f\n", sl_model_temperature(m), rest.loss, report.seconds);
	fflush(stdout);
	if (!sl_folder_remove(folder, &e))
		die(folder, &e);
	return m;
}

/* CPU time per pair. */
static void cost(const struct set *s, const struct sl_model *m)
{
	const struct sl_model *both[2] = { m, m };
	size_t batch = 256, done = 0, bytes = 0, words = 0;
	struct sl_reward out[512];
	struct sl_arena arena = { 0 };
	int64_t start[4];

	for (size_t i = 0; i < s->count; i++) {
		struct sl_bytes chosen, rejected;

		sl_arena_clear(&arena);
		chosen = sl_messages_text(&s->pairs[i].chosen, &arena);
		rejected = sl_messages_text(&s->pairs[i].rejected, &arena);
		words += sl_words_count(chosen) + sl_words_count(rejected);
		bytes += chosen.size + rejected.size;
	}
	start[0] = sl_thread_cpu_ns();
	for (size_t i = 0; i < s->count; i++) {
		struct sl_features f;

		sl_arena_clear(&arena);
		sl_features_of(&s->pairs[i], 18, &arena, &f);
	}
	start[1] = sl_thread_cpu_ns();
	for (done = 0; done + batch <= s->count; done += batch)
		sl_model_score(m, s->pairs + done, batch, out);
	start[2] = sl_thread_cpu_ns();
	for (done = 0; done + batch <= s->count; done += batch)
		sl_models_score(both, 2, s->pairs + done, batch, out);
	start[3] = sl_thread_cpu_ns();
	printf("\n%zu pairs, mean %zu bytes and %zu words in both answers; CPU per pair: features %.2f us, "
	       "score by one model %.2f us, by two %.2f us\n",
	       s->count, bytes / s->count, words / s->count, (double)(start[1] - start[0]) / 1e3 / (double)s->count,
	       done ? (double)(start[2] - start[1]) / 1e3 / (double)done : 0,
	       done ? (double)(start[3] - start[2]) / 1e3 / (double)done : 0);
	sl_arena_release(&arena);
}

/* Returns the index of the first file. */
static int parse(int argc, char **argv, struct settings *o)
{
	int i = 1;

	*o = (struct settings){ .gold = 0.2 };
	sl_train_options_default(&o->train);
	for (; i < argc && argv[i][0] == '-'; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--together") == 0) {
			o->together = true;
			continue;
		}
		if (strcmp(argv[i], "--permute") == 0) {
			o->permute = true;
			continue;
		}
		if (strcmp(argv[i], "--gold") == 0)
			o->gold = strtod(value, NULL);
		else if (strcmp(argv[i], "--domain-key") == 0)
			o->domain_key = value;
		else if (strcmp(argv[i], "--seed") == 0)
			o->train.seed = strtoull(value, NULL, 10);
		else if (strcmp(argv[i], "--epochs") == 0)
			o->train.epochs = strtoll(value, NULL, 10);
		else if (strcmp(argv[i], "--columns-log2") == 0)
			o->train.columns_log2 = strtoll(value, NULL, 10);
		else if (strcmp(argv[i], "--rate") == 0)
			o->train.learning_rate = strtod(value, NULL);
		else if (strcmp(argv[i], "--l2") == 0)
			o->train.l2 = strtod(value, NULL);
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
	char parent[] = "/tmp/sluice-model-XXXXXX", folder[64];
	struct sl_model *m = NULL;
	struct set s = { 0 };

	if (first >= argc || !mkdtemp(parent)) {
		fprintf(stderr,
			"usage: %s [--gold 0.2] [--together] [--permute] [--domain-key K] [--seed N] [--epochs N] "
			"[--columns-log2 N] "
			"[--rate X] [--l2 X] FILE...\n",
			argv[0]);
		return 2;
	}
	snprintf(folder, sizeof folder, "%s/1", parent);
	printf("%-28s %6s %6s  %-22s  %-22s  %-22s  %-5s  %5s %6s %6s\n", "set", "pairs", "train", "new prompts",
	       "cross-fitted on gold", "longest wins", "first", "T", "loss", "s");
	for (int i = first; i < argc; i++) {
		const char *name = strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i];

		if (!o.together)
			set_release(&s);
		set_load(&s, argv[i], o.domain_key);
		if (o.together && i + 1 < argc)
			continue;
		sl_model_close(m);
		m = quality(o.together ? "all together" : name, &s, &o, folder);
	}
	cost(&s, m);
	sl_model_close(m);
	set_release(&s);
	rmdir(parent);
	return 0;
}
