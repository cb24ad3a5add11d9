/* test_leaks.c -- does anybody get to know what he is asked about? The whole chain with its trainers, on real files.
 *
 * Families are planted in the stream: a gold pair, and raw copies of it before and behind it: exact, crosswise, near,
 * near with another prompt, and the same prompt with other answers. By the records at the end: no gold pair is an
 * example for its own family, and no pair trains a model while its family's gold is held out. And with verdicts of gold
 * drawn by lot there is nothing to learn, so whoever does better than a coin has been told. */
#include "schemas/codec.h"
#include "tests/trial.h"
#include "topology/base/file.h"
#include "topology/base/text.h"
#include "topology/engine.h"

#include <jansson.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define FAMILIES 360

static const char yaml[] =
	"topology: leaks\n"
	"stream: { durability: os }\n"
	"partitions: 2\n"
	"metrics: off\n"
	"ingest: { to: pairs.raw, ties: pairs.ties }\n"
	"steps:\n"
	"  - { name: dedupe, from: pairs.raw, to: { unique: pairs.unique, duplicate: pairs.duplicate,\n"
	"      conflict: pairs.conflict, contaminated: pairs.contaminated } }\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold } }\n"
	"  - { name: score, from: pairs.embedded, tables: { models: models }, to: { scored: pairs.scored } }\n"
	"  - { name: retrieve, from: pairs.scored, tables: { gold: pairs.gold, models: models },\n"
	"      to: { retrieved: pairs.retrieved } }\n"
	"  - { name: annotate, from: pairs.retrieved, tables: { gold: pairs.gold, models: models },\n"
	"      to: { judged: pairs.judged, probed: pairs.probed, deferred: pairs.deferred, silver: pairs.silver } }\n"
	"  - { name: filter, from: pairs.judged, tables: { models: models }, to: { curated: pairs.curated,\n"
	"      flipped: pairs.flipped, undecided: pairs.undecided, discarded: pairs.discarded } }\n"
	"trainers:\n"
	"  - { name: gold, from: pairs.gold, errors: gold.errors, min_pairs: 20, columns_log2: 14, epochs: 2 }\n"
	"  - { name: best, from: pairs.silver, min_pairs: 20, columns_log2: 14, epochs: 2 }\n"
	"  - { name: posterior, from: pairs.gold, min_pairs: 50, every_pairs: 5000 }\n"
	"  - { name: final, from: [pairs.curated, pairs.flipped], min_pairs: 20, columns_log2: 14, epochs: 2 }\n";

struct world {
	char folder[64];
	struct sl_topology *topology;
	struct sl_runtime *rt;
	struct sl_arena texts;
	struct sl_record *records;
	size_t count;
};

/* -- what is fed ------------------------------------------------------------------------- */

enum kind { GOLD, EXACT, CROSSWISE, NEAR, NEAR_PROMPT, OTHER_ANSWERS, KINDS };

static char *words(struct sl_arena *a, uint64_t *seed, size_t count, const char *stem, uint64_t of)
{
	char *text = sl_arena_print(a, "%s", stem);

	for (size_t i = 0; i < count; i++)
		text = sl_arena_print(a, "%s %s%llu", text, stem, (unsigned long long)(sl_random(seed) % of));
	return text;
}

/* Better answers have words of their own, unless the verdict is by lot. */
static void add(struct world *w, size_t family, enum kind kind, bool by_lot)
{
	uint64_t seed = family * 2654435761u + 11, lot = family * 40503u + 5;
	struct sl_arena *a = &w->texts;
	char *prompt = words(a, &seed, 30, "ask", 3000), *good = words(a, &seed, 30, by_lot ? "say" : "good", 300);
	char *bad = words(a, &seed, 30, by_lot ? "say" : "bad", 300), *other = words(a, &seed, 30, "other", 300);
	struct sl_buf b = { 0 };
	struct sl_pair p;

	if (by_lot && sl_random(&lot) % 2) {
		char *swap = good;

		good = bad;
		bad = swap;
	}
	if (kind == NEAR || kind == NEAR_PROMPT)
		good = sl_arena_print(a, "%s indeed", good);
	if (kind == NEAR_PROMPT)
		prompt = sl_arena_print(a, "%s please", prompt);
	if (kind == OTHER_ANSWERS)
		bad = other;
	if (kind == CROSSWISE || (by_lot && kind != GOLD && sl_random(&lot) % 2))
		p = sl_trial_pair(a, prompt, bad, good);
	else
		p = sl_trial_pair(a, prompt, good, bad);
	sl_pair_identify(&p, a);
	p.time_ms = 1700000000000 + (int64_t)family;
	p.source = sl_text("planted");
	p.meta = sl_text(sl_arena_print(a, "{\"family\":%zu,\"kind\":%d}", family, (int)kind));
	if (kind == GOLD)
		p.gold = (struct sl_gold){ .present = true, .verdict = sl_text("chosen"), .sample = sl_text("random") };
	sl_pair_encode(&p, &b);
	w->records = sl_realloc(w->records, (w->count + 1) * sizeof *w->records);
	w->records[w->count++] = (struct sl_record){ .time_ms = p.time_ms,
						     .key = sl_arena_bytes(a, sl_id_bytes(&p.group)),
						     .value = sl_arena_bytes(a, sl_buf_bytes(&b)) };
	sl_buf_release(&b);
}

/* Before its gold pair comes one raw kind of each family, behind it all others. Where the gold pair has joined a copy
 * with another prompt, those of its own prompt are no longer its group, and there are none. */
static void plant(struct world *w, bool by_lot)
{
	for (size_t f = 0; f < FAMILIES; f++)
		if (f % KINDS != GOLD)
			add(w, f, (enum kind)(f % KINDS), by_lot);
	for (size_t f = 0; f < FAMILIES; f++)
		add(w, f, GOLD, by_lot);
	for (size_t f = 0; f < FAMILIES; f++)
		for (enum kind k = EXACT; k < KINDS; k++)
			if (f % KINDS != k && !(f % KINDS == NEAR_PROMPT && k == OTHER_ANSWERS))
				add(w, f, k, by_lot);
}

static void world_run(struct world *w, bool by_lot, const char *set)
{
	struct sl_runtime_options options = { .data = w->folder };
	struct sl_run_options run = { .until_idle = true, .threads = 2 };
	struct sl_error e = { 0 };

	snprintf(w->folder, sizeof w->folder, "/tmp/sluice-leaks-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->topology = sl_topology_parse("leaks.yaml", sl_text(yaml), &set, 1, &e);
	if (!w->topology || !(w->rt = sl_runtime_open(w->topology, &options, &e)))
		fail_msg("%s", e.text);
	plant(w, by_lot);
	if (!sl_runtime_append(w->rt, w->topology->entry, w->records, w->count, &e) ||
	    sl_runtime_run(w->rt, &run, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
}

static void world_free(struct world *w)
{
	struct sl_error e = { 0 };

	sl_runtime_close(w->rt);
	sl_topology_free(w->topology);
	assert_true(sl_folder_remove(w->folder, &e));
	free(w->records);
	sl_arena_release(&w->texts);
}

/* -- what became of it --------------------------------------------------------------------- */

struct pairs {
	struct sl_pair *at;
	size_t count;
};

static void read_topic(struct world *w, const char *name, struct pairs *to)
{
	int topic = sl_topology_topic(w->topology, name);

	assert_true(topic >= 0);
	for (int32_t i = 0; i < w->topology->topics[topic].partitions; i++) {
		int64_t next = 0, end = 1;

		while (next < end) {
			struct sl_buf frames = { 0 };
			struct sl_error e = { 0 };
			struct sl_record r;
			size_t at = 0;

			if (!sl_runtime_fetch(w->rt, topic, i, next, 1 << 20, &frames, &next, &end, &e))
				fail_msg("%s", e.text);
			while (sl_frames_next(sl_buf_bytes(&frames), &at, &r)) {
				to->at = sl_realloc(to->at, (to->count + 1) * sizeof *to->at);
				sl_pair_init(&to->at[to->count]);
				if (!sl_pair_decode(sl_arena_bytes(&w->texts, r.value), &w->texts, &to->at[to->count++],
						    &e))
					fail_msg("%s", e.text);
			}
			sl_buf_release(&frames);
		}
	}
}

static size_t family_of(const struct sl_pair *p)
{
	json_t *meta = json_loadb(p->meta.data, p->meta.size, 0, NULL);
	size_t family = (size_t)json_integer_value(json_object_get(meta, "family"));

	assert_non_null(meta);
	json_decref(meta);
	assert_true(family < FAMILIES);
	return family;
}

static const struct sl_pair *by_id(const struct pairs *pairs, struct sl_id id)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (sl_id_equal(pairs->at[i].id, id))
			return &pairs->at[i];
	fail_msg("an example is no gold pair");
	return NULL;
}

static bool trail_has(const struct sl_pair *p, const char *step, const char *reason)
{
	for (size_t i = 0; i < p->trail_count; i++)
		if (sl_is(p->trail[i].step, step) && sl_bytes_begins(p->trail[i].reason, sl_text(reason)))
			return true;
	return false;
}

static void check_examples(const struct sl_pair *p, const struct pairs *gold)
{
	for (size_t i = 0; i < p->exemplar_count; i++) {
		const struct sl_pair *g = by_id(gold, p->exemplars[i].id);

		assert_int_equal(sl_split_of(g->group), SL_SPLIT_TRAIN);
		assert_false(sl_id_equal(g->group, p->group));
		if (family_of(g) == family_of(p))
			fail_msg("a gold pair is an example for its copy '%.*s'", (int)p->meta.size,
				 (const char *)p->meta.data);
	}
}

/* How many pairs of the topic may train; none of them has its gold pair held out, and the trail says who is. */
static int64_t check_holdout(const struct pairs *pairs, const enum sl_split *splits)
{
	int64_t trains = 0;

	for (size_t i = 0; i < pairs->count; i++) {
		const struct sl_pair *p = &pairs->at[i];
		bool held = sl_split_of(p->group) != SL_SPLIT_TRAIN;

		if (splits[family_of(p)] != sl_split_of(p->group))
			fail_msg("'%.*s' is not in the split of its gold pair", (int)p->meta.size,
				 (const char *)p->meta.data);
		assert_int_equal(trail_has(p, "embed", "holdout: "), held);
		trains += !held;
	}
	return trains;
}

static json_t *report_of(struct world *w, const char *model)
{
	struct sl_arena a = { 0 };
	struct sl_model_record m;
	json_t *report;

	if (!sl_training_latest(w->rt, model, &a, &m) || m.version == 0)
		fail_msg("there is no model '%s'", model);
	report = json_loadb(m.report.data, m.report.size, 0, NULL);
	assert_non_null(report);
	sl_arena_release(&a);
	return report;
}

static void check_trained_on(struct world *w, const char *model, int64_t examples)
{
	json_t *report = report_of(w, model);

	assert_int_equal(json_integer_value(json_object_get(report, "examples")), examples);
	json_decref(report);
}

static void test_families(void **unused)
{
	static const char *const decided[] = { "pairs.curated", "pairs.flipped", "pairs.undecided", "pairs.discarded" };
	struct world w = { 0 };
	struct pairs gold = { 0 }, silver = { 0 }, topics[4] = { { 0 } };
	enum sl_split splits[FAMILIES];
	size_t examples = 0, learnt = 0;
	int64_t trains[4], silver_trains;

	(void)unused;
	world_run(&w, false, "filter.rule=paper");
	read_topic(&w, "pairs.gold", &gold);
	for (size_t i = 0; i < gold.count; i++) {
		splits[family_of(&gold.at[i])] = sl_split_of(gold.at[i].group);
		learnt += gold.at[i].gold.label_arrived.size > 0; /* the later record of an id */
	}
	assert_true(gold.count >= FAMILIES);
	assert_int_equal(learnt, FAMILIES);
	for (size_t t = 0; t < 4; t++) {
		read_topic(&w, decided[t], &topics[t]);
		trains[t] = check_holdout(&topics[t], splits);
		for (size_t i = 0; i < topics[t].count; i++) {
			check_examples(&topics[t].at[i], &gold);
			examples += topics[t].at[i].exemplar_count;
		}
	}
	assert_true(examples > 100); /* else nothing was checked */
	read_topic(&w, "pairs.silver", &silver);
	silver_trains = check_holdout(&silver, splits);
	check_trained_on(&w, "final", trains[0] + trains[1]);
	check_trained_on(&w, "best", silver_trains);
	for (size_t t = 0; t < 4; t++)
		free(topics[t].at);
	free(gold.at);
	free(silver.at);
	world_free(&w);
}

/* By lot: the interval has a coin in it, with five points to spare. */
static void check_coin(const char *who, const json_t *accuracy)
{
	int64_t count = json_integer_value(json_object_get(accuracy, "count"));
	double low = json_number_value(json_object_get(accuracy, "low"));
	double high = json_number_value(json_object_get(accuracy, "high"));

	if (count > 0 && (low > 0.55 || high < 0.45))
		fail_msg("%s knows what was drawn by lot: %.3f to %.3f of %lld", who, low, high, (long long)count);
}

static void test_by_lot(void **unused)
{
	static const char *const splits[] = { "select", "report" };
	struct world w = { 0 };
	struct pairs curated = { 0 };
	json_t *report, *all;

	(void)unused;
	world_run(&w, true, "filter.rule=posterior");
	report = report_of(&w, "gold");
	for (size_t s = 0; s < 2; s++)
		check_coin(splits[s], json_object_get(json_object_get(report, splits[s]), "accuracy"));
	json_decref(report);
	report = report_of(&w, "posterior");
	all = json_object_get(report, "all");
	assert_true(json_integer_value(json_object_get(json_object_get(all, "gold"), "count")) > 200);
	check_coin("gold, out of sample", json_object_get(all, "gold"));
	check_coin("judge", json_object_get(all, "judge"));
	check_coin("best", json_object_get(all, "best"));
	json_decref(report);
	read_topic(&w, "pairs.curated", &curated);
	assert_int_equal(curated.count, 0); /* nobody knows anything: nothing can be decided */
	free(curated.at);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_families), cmocka_unit_test(test_by_lot) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
