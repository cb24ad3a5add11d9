/* test_run_curate.c -- sl_runtime_run with threads, on real files and RocksDB, with the product's operators and
 * trainers: models are trained, waited for, damaged and moved while the stream goes on. Also for
 * ThreadSanitizer. test_run.c does the same to the runtime with operators made for it.
 *
 * No test sleeps or looks at a clock: who waits for something asks until it is there. */
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

static struct sl_topology *parse(const char *const *sets, size_t count)
{
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("run.yaml", sl_text(yaml), sets, count, &e);

	if (!t)
		fail_msg("%s", e.text);
	return t;
}

static void world_open(struct world *w)
{
	struct sl_error e = { 0 };

	w->options.data = w->folder;
	w->rt = sl_runtime_open(w->topology, &w->options, &e);
	if (!w->rt)
		fail_msg("%s", e.text);
}

static void world_new(struct world *w, const char *const *sets, size_t count)
{
	memset(w, 0, sizeof *w);
	snprintf(w->folder, sizeof w->folder, "/tmp/sluice-run-XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	w->topology = parse(sets, count);
	world_open(w);
}

static void world_reopen(struct world *w, bool freeze)
{
	sl_runtime_close(w->rt);
	w->options.freeze = freeze;
	world_open(w);
}

static void world_free(struct world *w)
{
	struct sl_error e = { 0 };

	sl_runtime_close(w->rt);
	sl_topology_free(w->topology);
	assert_true(sl_folder_remove(w->folder, &e));
}

/* A pair of its own, told by its number: every third is gold, if there is to be any. The better answer has
 * other words than the worse one; in every fifth the label is wrong. */
static void numbered(struct sl_arena *a, size_t number, bool gold, struct sl_pair *p)
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

static void records_of(struct sl_arena *a, size_t first, size_t count, bool gold, struct sl_record *records)
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

static void feed(struct world *w, size_t first, size_t count, bool gold)
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

static enum sl_run_end run(struct world *w, int threads, struct sl_error *e)
{
	struct sl_run_options options = { .until_idle = true, .threads = threads };

	memset(e, 0, sizeof *e);
	return sl_runtime_run(w->rt, &options, e);
}

static void run_idle(struct world *w, int threads)
{
	struct sl_error e;

	if (run(w, threads, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
}

static int64_t end_of(const struct world *w, const char *topic)
{
	int index = sl_topology_topic(w->topology, topic);
	int64_t n = 0;

	assert_true(index >= 0);
	for (int32_t p = 0; p < w->topology->topics[index].partitions; p++)
		n += atomic_load(&w->rt->topics[index].ends[p]);
	return n;
}

static int64_t decided(const struct world *w)
{
	return end_of(w, "pairs.curated") + end_of(w, "pairs.flipped") + end_of(w, "pairs.undecided") +
	       end_of(w, "pairs.discarded");
}

/* Every pair that came in is in one place. */
static void assert_all_there(const struct world *w, int64_t pairs)
{
	assert_int_equal(end_of(w, "pairs.raw"), pairs);
	assert_int_equal(decided(w) + end_of(w, "pairs.gold") + end_of(w, "pairs.duplicate") +
				 end_of(w, "pairs.conflict") + end_of(w, "pairs.contaminated"),
			 pairs);
}

/* All records of the topics that are kept. */
static void digest(const struct world *w, struct sl_buf *to)
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
static void step_says(struct world *w, const char *step, const char *key, char *to, size_t size)
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

static void *run_it(void *arg)
{
	struct running *r = arg;

	r->end = sl_runtime_run(r->w->rt, &r->options, &r->e);
	atomic_store(&r->over, true);
	return NULL;
}

static void run_beside(struct running *r, struct world *w, int threads, bool until_idle)
{
	memset(r, 0, sizeof *r);
	r->w = w;
	r->options = (struct sl_run_options){ .threads = threads, .until_idle = until_idle };
	sl_thread_start(&r->thread, "run", run_it, r);
}

static void stop_beside(struct running *r)
{
	sl_runtime_stop(r->w->rt);
	sl_thread_join(r->thread);
	if (r->end != SL_RUN_STOPPED)
		fail_msg("ended with %d: %s", (int)r->end, r->e.text);
}

static void wait_decided(struct running *r, int64_t pairs)
{
	while (!atomic_load(&r->over) && decided(r->w) < pairs)
		sched_yield();
}

/* -- from nothing to a curated stream -------------------------------------------------------------- */

static void test_until_idle(void **state)
{
	static const int threads[] = { 1, 4 };
	struct sl_buf digests[2] = { { 0 }, { 0 } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sl_arena a = { 0 };
		struct sl_model_record m;
		struct world w;

		world_new(&w, NULL, 0);
		feed(&w, 0, 300, true);
		run_idle(&w, threads[i]);
		assert_all_there(&w, 300);
		assert_int_equal(end_of(&w, "pairs.gold"), 100);
		assert_int_equal(decided(&w), 200);
		assert_true(sl_training_latest(w.rt, "gold", &a, &m));
		assert_int_equal(m.version, 1);
		assert_true(sl_training_latest(w.rt, "final", &a, &m));
		assert_int_equal(m.version, 1);
		sl_arena_release(&a);
		/* nothing new: idle again, at once, and nothing changes */
		digest(&w, &digests[0]);
		run_idle(&w, threads[i]);
		digest(&w, &digests[1]);
		assert_string_equal(sl_buf_text(&digests[0]), sl_buf_text(&digests[1]));
		world_free(&w);
	}
	sl_buf_release(&digests[0]);
	sl_buf_release(&digests[1]);
}

/* Every commit asks for a stop, from inside: however busy the machine, a run that commits is stopped. */
static bool stop_at_commits(void *arg, const char *site)
{
	struct world *w = arg;

	if (strcmp(site, "commit.begin") == 0)
		sl_runtime_stop(w->rt);
	return false;
}

/* A frozen run that is stopped over and over ends like one that is not. */
static void test_stopped_and_resumed(void **state)
{
	struct sl_buf whole = { 0 }, pieces = { 0 };
	struct world w, copy = { 0 };
	char command[200];
	int stops = 0;

	(void)state;
	world_new(&w, NULL, 0);
	feed(&w, 0, 150, true);
	run_idle(&w, 4);
	feed(&w, 150, 400, true);
	sl_runtime_close(w.rt);
	w.rt = NULL;
	snprintf(copy.folder, sizeof copy.folder, "/tmp/sluice-run-XXXXXX");
	assert_non_null(mkdtemp(copy.folder));
	snprintf(command, sizeof command, "cp -R %s/. %s", w.folder, copy.folder);
	assert_int_equal(system(command), 0);
	copy.topology = parse(NULL, 0);
	w.options.freeze = copy.options.freeze = true;
	world_open(&w);
	run_idle(&w, 4);
	digest(&w, &whole);
	copy.options.fault = stop_at_commits;
	copy.options.arg = &copy;
	world_open(&copy);
	for (;;) {
		struct running r;

		run_beside(&r, &copy, 1 + stops % 4, true);
		sl_thread_join(r.thread);
		if (r.end == SL_RUN_IDLE)
			break;
		if (r.end != SL_RUN_STOPPED)
			fail_msg("%s", r.e.text);
		stops++;
		world_reopen(&copy, true);
	}
	assert_true(stops > 0);
	digest(&copy, &pieces);
	assert_string_equal(sl_buf_text(&pieces), sl_buf_text(&whole));
	sl_buf_release(&whole);
	sl_buf_release(&pieces);
	world_free(&copy);
	world_free(&w);
}

static void stop_from_progress(void *arg, struct sl_runtime *rt)
{
	int *calls = arg;

	++*calls;
	sl_runtime_stop(rt);
}

static void test_stop_from_progress(void **state)
{
	int calls = 0;
	struct sl_run_options options = { .threads = 2, .progress = stop_from_progress, .arg = &calls };
	struct sl_error e = { 0 };
	struct world w;

	(void)state;
	world_new(&w, NULL, 0);
	feed(&w, 0, 100, true);
	assert_int_equal(sl_runtime_run(w.rt, &options, &e), SL_RUN_STOPPED);
	assert_true(calls >= 2); /* and once more at the end */
	world_reopen(&w, false);
	run_idle(&w, 2);
	assert_all_there(&w, 100);
	world_free(&w);
}

/* -- stuck, and why --------------------------------------------------------------------------------- */

static void test_no_gold(void **state)
{
	struct sl_error e;
	struct world w;

	(void)state;
	world_new(&w, NULL, 0);
	feed(&w, 0, 60, false);
	assert_int_equal(run(&w, 4, &e), SL_RUN_STUCK);
	assert_non_null(strstr(e.text, "waiting for model 'gold'"));
	assert_non_null(strstr(e.text, "0 gold pairs, model 'gold' needs 20"));
	assert_non_null(strstr(e.text, "sluice ingest --gold FILE"));
	/* as it says */
	feed(&w, 60, 90, true);
	run_idle(&w, 4);
	assert_all_there(&w, 150);
	world_free(&w);
}

static void damage(const struct world *w, struct sl_buf *kept, bool remove_it)
{
	struct sl_error e = { 0 };
	char path[128];

	snprintf(path, sizeof path, "%s/models/gold/1/weights.bin", w->folder);
	assert_true(sl_file_read(path, 64u << 20, kept, &e));
	if (remove_it) {
		assert_int_equal(unlink(path), 0);
	} else {
		kept->data[kept->size / 2] ^= 1;
		assert_true(sl_file_replace(path, sl_buf_bytes(kept), &e));
		kept->data[kept->size / 2] ^= 1;
	}
}

static void repair(const struct world *w, struct sl_buf *kept)
{
	struct sl_error e = { 0 };
	char path[128];

	snprintf(path, sizeof path, "%s/models/gold/1/weights.bin", w->folder);
	assert_true(sl_file_replace(path, sl_buf_bytes(kept), &e));
}

static void test_weights(void **state)
{
	struct sl_buf kept = { 0 };
	struct world w;

	(void)state;
	world_new(&w, NULL, 0);
	feed(&w, 0, 90, true);
	run_idle(&w, 4);
	for (size_t i = 0; i < 2; i++) {
		struct sl_error e;
		struct running r;
		char text[300];

		damage(&w, &kept, i == 0);
		feed(&w, 90 + 30 * i, 30, false);
		world_reopen(&w, false);
		assert_int_equal(run(&w, 4, &e), SL_RUN_STUCK);
		assert_non_null(strstr(e.text, "models/gold/1/weights.bin"));
		/* A run without end waits, says so, and goes on when the file is there again. */
		run_beside(&r, &w, 2, false);
		do
			step_says(&w, "score", "wait", text, sizeof text);
		while (!text[0] && !atomic_load(&r.over));
		assert_non_null(strstr(text, "models/gold/1/weights.bin"));
		step_says(&w, "score", "state", text, sizeof text);
		assert_string_equal(text, "waiting");
		repair(&w, &kept);
		wait_decided(&r, 90 + 30 * (int64_t)i);
		stop_beside(&r);
		world_reopen(&w, false);
	}
	assert_all_there(&w, 150);
	sl_buf_release(&kept);
	world_free(&w);
}

/* A table that changes while its reader waits, in a run without end. */
static void test_table_while_running(void **state)
{
	struct running r;
	struct world w;
	char text[300];

	(void)state;
	world_new(&w, NULL, 0);
	feed(&w, 0, 40, false);
	run_beside(&r, &w, 4, false);
	do
		step_says(&w, "score", "wait", text, sizeof text);
	while (!text[0] && !atomic_load(&r.over));
	assert_non_null(strstr(text, "gold"));
	feed(&w, 40, 80, true);
	wait_decided(&r, 40 + 80 - 26);
	assert_int_equal(end_of(&w, "pairs.gold"), 26);
	stop_beside(&r);
	assert_all_there(&w, 120);
	world_free(&w);
}

/* -- operations while it runs --------------------------------------------------------------------------- */

struct operations {
	struct world *w;
	_Atomic bool stop;
	_Atomic int64_t fed;
};

static void *look(void *arg)
{
	struct operations *o = arg;

	while (!atomic_load(&o->stop)) {
		struct sl_buf b = { 0 };
		struct sl_error e = { 0 };

		if (!sl_runtime_status(o->w->rt, &b, &e) || !sl_runtime_metrics(o->w->rt, &b, &e)) {
			fprintf(stderr, "%s\n", e.text);
			abort();
		}
		sl_buf_release(&b);
		sched_yield();
	}
	return NULL;
}

/* Reads every topic from its start, again and again, also what is dropped meanwhile. */
static void *fetch(void *arg)
{
	struct operations *o = arg;

	while (!atomic_load(&o->stop)) {
		for (size_t i = 0; i < o->w->topology->topic_count; i++) {
			for (int32_t p = 0; p < o->w->topology->topics[i].partitions; p++) {
				struct sl_buf frames = { 0 };
				struct sl_error e = { 0 };
				int64_t next = 0, end = 1;
				size_t at = 0;
				struct sl_record r;

				while (next < end) {
					if (!sl_runtime_fetch(o->w->rt, (int)i, p, next, 4096, &frames, &next, &end,
							      &e)) {
						fprintf(stderr, "%s\n", e.text);
						abort();
					}
				}
				while (sl_frames_next(sl_buf_bytes(&frames), &at, &r))
					;
				if (at != frames.size)
					abort();
				sl_buf_release(&frames);
			}
		}
	}
	return NULL;
}

static void *ingest(void *arg)
{
	struct operations *o = arg;
	struct sl_ingest_mark mark = { 0 };

	for (size_t i = 0; i < 20; i++) {
		struct sl_ingest_append append = { .source = sl_text("file"), .head = { { 1 } }, .before = mark };
		struct sl_record records[10];
		struct sl_buf frames = { 0 };
		struct sl_arena a = { 0 };
		struct sl_error e = { 0 };
		struct sl_ingest_mark found = { 0 };

		records_of(&a, 1000 + 10 * i, 10, true, records);
		for (size_t k = 0; k < 10; k++)
			sl_frames_add(&frames, &records[k]);
		append.pairs = sl_buf_bytes(&frames);
		mark.position += 100;
		mark.lines += 10;
		mark.pairs += 10;
		append.after = mark;
		if (!sl_runtime_ingest(o->w->rt, &append, &found, &e)) {
			fprintf(stderr, "%s\n", e.text);
			abort();
		}
		/* the same again is refused, and says how far it is */
		if (sl_runtime_ingest(o->w->rt, &append, &found, &e) || e.verdict != SL_RETRY ||
		    found.position != mark.position)
			abort();
		atomic_fetch_add(&o->fed, 10);
		sl_buf_release(&frames);
		sl_arena_release(&a);
	}
	return NULL;
}

static void *models(void *arg)
{
	struct operations *o = arg;

	for (int i = 0; i < 5; i++) {
		struct sl_buf report = { 0 };
		struct sl_error e = { 0 };

		if (!sl_runtime_train(o->w->rt, "gold", "by hand", &report, &e) || report.size == 0 ||
		    !sl_runtime_promote(o->w->rt, "gold", 1, "a test", &e) ||
		    !sl_runtime_promote(o->w->rt, "gold", 0, "back", &e)) {
			fprintf(stderr, "%s\n", e.text);
			abort();
		}
		sl_buf_release(&report);
	}
	return NULL;
}

static void test_operations(void **state)
{
	static void *(*const jobs[])(void *) = { look, fetch, ingest, models };
	static const char *const sets[] = { "topics.pairs.unique.segment=16KiB", "topics.pairs.embedded.segment=64KiB",
					    "gold.best_drop=1" };
	struct operations o = { 0 };
	pthread_t threads[4];
	struct running r;
	struct world w;

	(void)state;
	world_new(&w, sets, 3);
	o.w = &w;
	feed(&w, 0, 90, true);
	run_idle(&w, 4);
	run_beside(&r, &w, 4, false);
	for (size_t i = 0; i < 4; i++)
		sl_thread_start(&threads[i], "job", jobs[i], &o);
	sl_thread_join(threads[2]);
	sl_thread_join(threads[3]);
	assert_int_equal(atomic_load(&o.fed), 200);
	while (!atomic_load(&r.over) && decided(&w) + end_of(&w, "pairs.gold") < 290)
		sched_yield();
	atomic_store(&o.stop, true);
	sl_thread_join(threads[0]);
	sl_thread_join(threads[1]);
	stop_beside(&r);
	assert_all_there(&w, 290);
	world_free(&w);
}

/* Whole segments go while they are being read. */
static void test_retention(void **state)
{
	static const char *const sets[] = { "topics.pairs.unique.segment=16KiB", "topics.pairs.embedded.segment=64KiB",
					    "topics.pairs.scored.segment=16KiB" };
	struct operations o = { 0 };
	pthread_t thread;
	struct running r;
	struct world w;
	int unique;

	(void)state;
	world_new(&w, sets, 3);
	o.w = &w;
	feed(&w, 0, 90, true);
	run_idle(&w, 4);
	run_beside(&r, &w, 4, false);
	sl_thread_start(&thread, "job", fetch, &o);
	for (size_t i = 0; i < 10; i++)
		feed(&w, 90 + 100 * i, 100, false);
	wait_decided(&r, 60 + 1000);
	atomic_store(&o.stop, true);
	sl_thread_join(thread);
	stop_beside(&r);
	unique = sl_topology_topic(w.topology, "pairs.unique");
	assert_true(atomic_load(&w.rt->topics[unique].starts[0]) > 0);
	assert_all_there(&w, 1090);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_until_idle),
		cmocka_unit_test(test_stopped_and_resumed),
		cmocka_unit_test(test_stop_from_progress),
		cmocka_unit_test(test_no_gold),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_table_while_running),
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_retention),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
