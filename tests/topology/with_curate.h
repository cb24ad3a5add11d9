/* with_curate.h -- a data folder with the product's operators and trainers, fed with numbered pairs, for the tests of
 * sl_runtime_run with threads.
 *
 * No test sleeps or looks at a clock: who waits for something asks until it is there. */
#ifndef SL_WITH_CURATE_H
#define SL_WITH_CURATE_H

#include "tests/trial.h"
#include "topology/base/file.h"
#include "topology/base/thread.h"
#include "topology/engine.h"
#include "topology/keys.h"

#include <jansson.h>
#include <sched.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char yaml[] =
	"topology: curate\n"
	"stream: { durability: os, commit_every: 1ms, commit_bytes: 64KiB }\n"
	"partitions: 2\n"
	"metrics: off\n"
	"ingest: { to: pairs.raw, ties: pairs.ties }\n"
	"steps:\n"
	"  - name: dedupe\n"
	"    from: pairs.raw\n"
	"    to: { unique: pairs.unique, duplicate: pairs.duplicate, conflict: pairs.conflict,\n"
	"          contaminated: pairs.contaminated }\n"
	"    batch_max: 16\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, batch_max: 16 }\n"
	"  - { name: score, from: pairs.embedded, tables: { models: models }, to: { scored: pairs.scored }, batch_max: "
	"16 }\n"
	"  - { name: retrieve, from: pairs.scored, tables: { gold: pairs.gold, models: models },\n"
	"      to: { retrieved: pairs.retrieved } }\n"
	"  - name: annotate\n"
	"    from: pairs.retrieved\n"
	"    tables: { gold: pairs.gold, models: models }\n"
	"    to: { judged: pairs.judged, probed: pairs.probed, deferred: pairs.deferred, silver: pairs.silver }\n"
	"  - name: filter\n"
	"    from: pairs.judged\n"
	"    tables: { models: models }\n"
	"    to: { curated: pairs.curated, flipped: pairs.flipped, undecided: pairs.undecided, discarded: "
	"pairs.discarded }\n"
	"trainers:\n"
	"  - { name: gold, from: pairs.gold, errors: gold.errors, min_pairs: 20, columns_log2: 12, epochs: 1 }\n"
	"  - { name: best, from: pairs.silver, min_pairs: 20, columns_log2: 12, epochs: 1 }\n"
	"  - { name: posterior, from: pairs.gold, min_pairs: 30, every_pairs: 50 }\n"
	"  - { name: final, from: [pairs.curated, pairs.flipped], min_pairs: 20, columns_log2: 12, epochs: 1 }\n";

struct world {
	char folder[64];
	struct sl_topology *topology;
	struct sl_runtime *rt;
	struct sl_runtime_options options;
};

/* -- a world ----------------------------------------------------------------------------- */

static inline struct sl_topology *parse(const char *const *sets, size_t count)
{
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("run.yaml", sl_text(yaml), sets, count, &e);

	if (!t)
		fail_msg("%s", e.text);
	return t;
}

static inline void world_open(struct world *w)
{
	struct sl_error e = { 0 };

	w->options.data = w->folder;
	w->rt = sl_runtime_open(w->topology, &w->options, &e);
	if (!w->rt)
		fail_msg("%s", e.text);
}

static inline void world_new(struct world *w, const char *const *sets, size_t count)
{
	memset(w, 0, sizeof *w);
	snprintf(w->folder, sizeof w->folder, "/tmp/sluice-run-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->topology = parse(sets, count);
	world_open(w);
}

static inline void world_reopen(struct world *w, bool freeze)
{
	sl_runtime_close(w->rt);
	w->options.freeze = freeze;
	world_open(w);
}

static inline void world_free(struct world *w)
{
	struct sl_error e = { 0 };

	sl_runtime_close(w->rt);
	sl_topology_free(w->topology);
	assert_true(sl_folder_remove(w->folder, &e));
}

/* A pair of its own, told by its number: every third is gold, if there is to be any. The better answer has
 * other words than the worse one; in every fifth the label is wrong. */
static inline void numbered(struct sl_arena *a, size_t number, bool gold, struct sl_pair *p)
{
	uint64_t seed = number * 2654435761u + 7;
	char *prompt = sl_arena_print(a, "%zu:", number), *good = sl_arena_print(a, "well");
	bool wrong = number % 5 == 4;

	for (size_t i = 0; i < 12; i++) {
		prompt = sl_arena_print(a, "%s word%llu", prompt, (unsigned long long)(sl_random(&seed) % 5000));
		good = sl_arena_print(a, "%s nice%llu", good, (unsigned long long)(sl_random(&seed) % 40));
	}
	gold = gold && number % 3 == 0;
	*p = sl_trial_pair(a, prompt, wrong && !gold ? "short and rude" : good,
			   wrong && !gold ? good : "short and rude");
	p->time_ms = 1700000000000 + (int64_t)number;
	if (gold) {
		p->gold.present = true;
		p->gold.verdict = sl_text("chosen");
		p->gold.sample = sl_text("given");
	}
}

static inline void records_of(struct sl_arena *a, size_t first, size_t count, bool gold, struct sl_record *records)
{
	struct sl_buf b = { 0 };

	for (size_t i = 0; i < count; i++) {
		struct sl_pair p;

		numbered(a, first + i, gold, &p);
		sl_buf_clear(&b);
		sl_pair_encode(&p, &b);
		records[i] = (struct sl_record){ .time_ms = p.time_ms,
						 .key = sl_arena_bytes(a, sl_id_bytes(&p.group)),
						 .value = sl_arena_bytes(a, sl_buf_bytes(&b)) };
	}
	sl_buf_release(&b);
}

static inline void feed(struct world *w, size_t first, size_t count, bool gold)
{
	struct sl_record *records = sl_calloc(count + 1, sizeof *records);
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };

	records_of(&a, first, count, gold, records);
	if (!sl_runtime_append(w->rt, w->topology->entry, records, count, &e))
		fail_msg("%s", e.text);
	free(records);
	sl_arena_release(&a);
}

static inline enum sl_run_end run(struct world *w, int threads, struct sl_error *e)
{
	struct sl_run_options options = { .until_idle = true, .threads = threads };

	memset(e, 0, sizeof *e);
	return sl_runtime_run(w->rt, &options, e);
}

static inline void run_idle(struct world *w, int threads)
{
	struct sl_error e;

	if (run(w, threads, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
}

static inline int64_t end_of(const struct world *w, const char *topic)
{
	int index = sl_topology_topic(w->topology, topic);
	int64_t n = 0;

	assert_true(index >= 0);
	for (int32_t p = 0; p < w->topology->topics[index].partitions; p++)
		n += atomic_load(&w->rt->topics[index].ends[p]);
	return n;
}

static inline int64_t decided(const struct world *w)
{
	return end_of(w, "pairs.curated") + end_of(w, "pairs.flipped") + end_of(w, "pairs.undecided") +
	       end_of(w, "pairs.discarded");
}

/* Every pair that came in is in one place. */
static inline void assert_all_there(const struct world *w, int64_t pairs)
{
	assert_int_equal(end_of(w, "pairs.raw"), pairs);
	assert_int_equal(decided(w) + end_of(w, "pairs.gold") + end_of(w, "pairs.duplicate") +
				 end_of(w, "pairs.conflict") + end_of(w, "pairs.contaminated"),
			 pairs);
}

/* All records of the topics that are kept. */
static inline void digest(const struct world *w, struct sl_buf *to)
{
	sl_buf_clear(to);
	for (size_t i = 0; i < w->topology->topic_count; i++) {
		const struct sl_topic *t = &w->topology->topics[i];

		for (int32_t p = 0; t->retention == SL_RETAIN_KEEP && p < t->partitions; p++) {
			struct sl_buf frames = { 0 };
			struct sl_error e = { 0 };
			int64_t next = 0, end = 1;
			char hex[SL_ID_HEX_SIZE];

			while (next < end)
				if (!sl_runtime_fetch(w->rt, (int)i, p, next, 64u << 10, &frames, &next, &end, &e))
					fail_msg("%s", e.text);
			sl_buf_print(to, "%s/%d %lld %s\n", t->name, (int)p, (long long)end,
				     sl_id_hex(sl_hash128(frames.data, frames.size), hex));
			sl_buf_release(&frames);
		}
	}
}

/* state or wait of a step, or "" */
static inline void step_says(struct world *w, const char *step, const char *key, char *to, size_t size)
{
	struct sl_buf json = { 0 };
	struct sl_error e = { 0 };
	json_t *root, *s;
	size_t i;

	if (!sl_runtime_status(w->rt, &json, &e))
		fail_msg("%s", e.text);
	root = json_loads(sl_buf_text(&json), 0, NULL);
	assert_non_null(root);
	snprintf(to, size, "%s", "");
	json_array_foreach(json_object_get(root, "steps"), i,
			   s) if (strcmp(json_string_value(json_object_get(s, "name")), step) == 0 &&
				  json_object_get(s, key))
		snprintf(to, size, "%s", json_string_value(json_object_get(s, key)));
	json_decref(root);
	sl_buf_release(&json);
}

/* -- running on a thread beside the test ------------------------------------------------------ */

struct running {
	struct world *w;
	struct sl_run_options options;
	pthread_t thread;
	enum sl_run_end end;
	struct sl_error e;
	_Atomic bool over;
};

static inline void *run_it(void *arg)
{
	struct running *r = arg;

	r->end = sl_runtime_run(r->w->rt, &r->options, &r->e);
	atomic_store(&r->over, true);
	return NULL;
}

static inline void run_beside(struct running *r, struct world *w, int threads, bool until_idle)
{
	memset(r, 0, sizeof *r);
	r->w = w;
	r->options = (struct sl_run_options){ .threads = threads, .until_idle = until_idle };
	sl_thread_start(&r->thread, "run", run_it, r);
}

static inline void stop_beside(struct running *r)
{
	sl_runtime_stop(r->w->rt);
	sl_thread_join(r->thread);
	if (r->end != SL_RUN_STOPPED)
		fail_msg("ended with %d: %s", (int)r->end, r->e.text);
}

static inline void wait_decided(struct running *r, int64_t pairs)
{
	while (!atomic_load(&r->over) && decided(r->w) < pairs)
		sched_yield();
}

#endif
