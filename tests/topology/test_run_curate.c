/* test_run_curate.c -- sl_runtime_run with threads, on real files and RocksDB, with the product's operators and
 * trainers: models are trained, waited for, damaged and moved while the stream goes on. Also for
 * ThreadSanitizer. test_run.c does the same to the runtime with operators made for it; what people do while it
 * runs: test_run_operations.c. */
#include "with_curate.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_until_idle),
		cmocka_unit_test(test_stopped_and_resumed),
		cmocka_unit_test(test_stop_from_progress),
		cmocka_unit_test(test_no_gold),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_table_while_running),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
