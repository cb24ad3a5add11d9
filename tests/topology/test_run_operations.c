/* test_run_operations.c -- what people do while sl_runtime_run goes on, all at once: status, fetches, ingest, models;
 * and retention beside it. Real files, RocksDB, the product's operators and trainers. Also for ThreadSanitizer. */
#include "with_curate.h"

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
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_retention),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
