/* noise_read.c -- see noise.h: the set as sluice-sample made it, the exports of each run, and figures of some items. */
#include "noise.h"

#include "../../schemas/lines.h"
#include "../data/sample.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_MOST ((size_t)16 << 20)

const char *const sl_place_names[SL_PLACES] = { "raw", "curated", "flipped", "undecided", "discarded" };

static void die(const char *what, const struct sl_error *e)
{
	fprintf(stderr, "bench_noise: %s: %s\n", what, e->text);
	exit(1);
}

static void each_line(struct sl_noise *n, const char *folder, const char *name,
		      void (*each)(void *arg, struct sl_bytes line), void *arg)
{
	char *path = sl_arena_print(&n->memory, "%s/%s.jsonl", folder, name);
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

static size_t domain_of(struct sl_noise *n, const struct sl_pair *p)
{
	struct sl_bytes name = sl_pair_domain(p);
	size_t i = 0;

	while (i < n->domain_count && !sl_is(name, n->domains[i].name))
		i++;
	if (i == n->domain_count) {
		n->domains = sl_realloc(n->domains, ++n->domain_count * sizeof *n->domains);
		n->domains[i] =
			(struct sl_noise_domain){ .name = sl_arena_print(&n->memory, "%.*s", (int)name.size,
									 name.size ? (const char *)name.data : "") };
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
	struct sl_noise *n;
	const struct sl_truth *truth;
	bool gold;
};

static void read_pair(void *arg, struct sl_bytes line)
{
	const struct reading *r = arg;
	struct sl_noise *n = r->n;
	struct sl_parsed parsed;
	struct sl_error e;

	if (!sl_jsonl_parse(sl_arena_bytes(&n->memory, line), &n->keys, &n->memory, &parsed, &e))
		return; /* the chain refused it too */
	for (size_t i = 0; i < parsed.pair_count; i++) {
		struct sl_noise_item x = { .pair = parsed.pairs[i], .gold = r->gold };
		int position = sl_preferred_position(x.pair.meta);

		x.label = label_of(r->truth, &x.pair);
		x.domain = domain_of(n, &x.pair);
		x.longest = x.label * sl_pair_length_sign(&x.pair);
		x.first = position ? position == 1 ? 1 : -1 : NAN; /* a flip leaves meta alone */
		if (n->item_count == n->item_room) {
			n->item_room = n->item_room ? 2 * n->item_room : 4096;
			n->items = sl_realloc(n->items, n->item_room * sizeof *n->items);
		}
		n->items[n->item_count++] = x;
	}
}

static int compare_ids(const void *a, const void *b)
{
	const struct sl_noise_id *x = a, *y = b;
	int order = memcmp(x->id.b, y->id.b, sizeof x->id.b);

	return order ? order : (x->item > y->item) - (x->item < y->item);
}

void sl_noise_read_set(struct sl_noise *n, const char *folder)
{
	char *path = sl_arena_print(&n->memory, "%s/truth.jsonl", folder);
	struct sl_error e;
	struct sl_truth *truth = sl_truth_load(path, &e);

	if (!truth)
		die(path, &e);
	each_line(n, folder, "gold", read_pair, &(struct reading){ n, truth, true });
	each_line(n, folder, "raw", read_pair, &(struct reading){ n, truth, false });
	sl_truth_free(truth);
	n->by_id = sl_calloc(n->item_count + 1, sizeof *n->by_id);
	for (size_t i = 0; i < n->item_count; i++)
		n->by_id[i] = (struct sl_noise_id){ n->items[i].pair.id, i };
	qsort(n->by_id, n->item_count, sizeof *n->by_id, compare_ids);
}

/* The item of an id; n->item_count if there is none. */
static size_t find(const struct sl_noise *n, struct sl_id id)
{
	size_t low = 0, high = n->item_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(n->by_id[middle].id.b, id.b, sizeof id.b) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n->item_count && sl_id_equal(n->by_id[low].id, id) ? n->by_id[low].item : n->item_count;
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

	json_array_foreach(scores, i, score)
	{
		if (is(score, "model", model))
			return number(score, "chosen") - number(score, "rejected");
	}
	return NAN;
}

struct exports {
	struct sl_noise *n;
	struct sl_noise_said *said;
	enum sl_place place; /* SL_PLACE_NONE: the gold table */
};

static void read_export(void *arg, struct sl_bytes line)
{
	const struct exports *x = arg;
	const struct sl_noise *n = x->n;
	json_t *object = json_loadb((const char *)line.data, line.size, 0, NULL);
	const char *hex = json_string_value(json_object_get(object, "id"));
	const json_t *judgement = json_object_get(object, "judgement"), *vote;
	struct sl_id id;
	size_t i;
	size_t at = hex && sl_id_parse(sl_text(hex), &id) ? find(n, id) : n->item_count;
	struct sl_noise_said s = { .place = x->place, .passed = x->place == SL_PLACE_NONE };
	double turn; /* 1: the pair as exported has the true label */

	if (at == n->item_count || n->items[at].label == 0) {
		json_decref(object);
		return;
	}
	turn = json_is_true(json_object_get(object, "label_flipped")) ? -n->items[at].label : n->items[at].label;
	s.gold = turn * margin_of(object, "gold");
	s.best = turn * margin_of(object, "best");
	s.judge = NAN;
	if (json_is_true(json_object_get(judgement, "asked")))
		s.judge = turn * (is(judgement, "verdict", "chosen") - is(judgement, "verdict", "rejected"));
	s.p_label = number(json_object_get(object, "decision"), "p_label");
	json_array_foreach(json_object_get(judgement, "votes"), i, vote)
	{
		s.votes++;
		s.dollars += 1e-6 * (double)json_integer_value(json_object_get(vote, "micro_dollars"));
	}
	x->said[at] = s;
	json_decref(object);
}

void sl_noise_read_run(struct sl_noise *n, struct sl_noise_run *r, const char *folder)
{
	r->said = sl_calloc(n->item_count + 1, sizeof *r->said);
	each_line(n, folder, "gold", read_export, &(struct exports){ n, r->said, SL_PLACE_NONE });
	for (int a = SL_PLACE_CURATED; a < SL_PLACES; a++)
		each_line(n, folder, sl_place_names[a], read_export, &(struct exports){ n, r->said, (enum sl_place)a });
}

void sl_noise_release(struct sl_noise *n)
{
	free(n->items);
	free(n->by_id);
	free(n->domains);
	sl_arena_release(&n->memory);
	*n = (struct sl_noise){ 0 };
}

void sl_figures_add(struct sl_figures *f, const struct sl_noise_item *x, double margin)
{
	if (isnan(margin))
		return;
	if (f->count == f->room) {
		f->room = f->room ? 2 * f->room : 1024;
		f->groups = sl_realloc(f->groups, f->room * sizeof *f->groups);
		f->margins = sl_realloc(f->margins, f->room * sizeof *f->margins);
	}
	f->groups[f->count] = x->pair.group;
	f->margins[f->count++] = margin;
}

struct sl_accuracy sl_figures_end(struct sl_figures *f)
{
	struct sl_accuracy a = { 0 };

	if (f->count)
		a = sl_accuracy_clustered(f->groups, f->margins, f->count);
	free(f->groups);
	free(f->margins);
	*f = (struct sl_figures){ 0 };
	return a;
}

void sl_accuracy_print(const struct sl_accuracy *a)
{
	if (a->count)
		printf("  %.3f (%.3f to %.3f)", a->value, a->low, a->high);
	else
		printf("  %22s", "-");
}
