/* test_open.c -- data folders that do not fit the program or the topology are refused, with the reason and
 * what to do; those that fit again are opened. On real files and RocksDB. */
#include "tests/trial.h"
#include "topology/base/file.h"
#include "topology/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define HEAD "topology: t\npartitions: 2\nmetrics: off\ningest: { to: raw, ties: ties }\nsteps:\n"
#define DEDUPE "  - { name: dedupe, from: raw, to: { unique: u, duplicate: d, conflict: c, contaminated: x } }\n"
#define EMBED "  - { name: embed, from: u, to: { embedded: e, gold: g } }\n"
/* reads what embed writes, and waits for nothing */
#define RETRIEVE "  - { name: retrieve, from: e, tables: { gold: g, models: g }, rule: paper, to: { retrieved: s } }\n"

static char folder[64];
static struct sl_topology *topology;
static struct sl_runtime *rt;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/sluice-open-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return 0;
}

static void close_it(void)
{
	sl_runtime_close(rt);
	sl_topology_free(topology);
	rt = NULL;
	topology = NULL;
}

static int tear_down(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	close_it();
	return sl_folder_remove(folder, &e) ? 0 : -1;
}

static bool try_open(const char *yaml, const char *const *only, size_t only_count, struct sl_error *e)
{
	struct sl_runtime_options options = { .data = folder, .only = only, .only_count = only_count };

	memset(e, 0, sizeof *e);
	close_it();
	topology = sl_topology_parse("open.yaml", sl_text(yaml), NULL, 0, e);
	if (!topology)
		fail_msg("%s", e->text);
	rt = sl_runtime_open(topology, &options, e);
	return rt != NULL;
}

static void must_open(const char *yaml)
{
	struct sl_error e;

	if (!try_open(yaml, NULL, 0, &e))
		fail_msg("%s", e.text);
}

static void must_refuse(const char *yaml, enum sl_verdict verdict, const char *text)
{
	struct sl_error e;

	assert_false(try_open(yaml, NULL, 0, &e));
	assert_int_equal(e.verdict, verdict);
	if (!strstr(e.text, text))
		fail_msg("expected '%s' in '%s'", text, e.text);
}

static void feed(size_t count)
{
	struct sl_trial t = { .topology = topology, .rt = rt };
	struct sl_arena a = { 0 };

	for (size_t i = 0; i < count; i++) {
		struct sl_pair p =
			sl_trial_pair(&a, sl_arena_print(&a, "question %zu %zu", i, i * i * 7919), "yes", "no");

		assert_true(sl_trial_feed(&t, "raw", &p, 1));
	}
	sl_arena_release(&a);
}

static void run(void)
{
	struct sl_run_options options = { .until_idle = true, .threads = 2 };
	struct sl_error e = { 0 };

	if (sl_runtime_run(rt, &options, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
}

static void test_version(void **state)
{
	struct sl_writes writes = { 0 }, *batch = &writes;
	struct sl_error e = { 0 };
	struct sl_store *store;
	char path[128], text[128];

	(void)state;
	must_open(HEAD DEDUPE);
	close_it();
	snprintf(path, sizeof path, "%s/store", folder);
	store = sl_store_rocksdb(path, &e);
	assert_non_null(store);
	sl_writes_put(&writes, (struct sl_bytes){ "v", 1 }, (struct sl_bytes){ "\115\0\0\0\0\0\0\0", 8 });
	assert_true(store->ops->write(store, &batch, 1, true, &e));
	sl_writes_release(&writes);
	store->ops->free(store);
	snprintf(text, sizeof text,
		 "has version 77, this program reads version %d: use the sluice release that wrote it",
		 SL_DATA_VERSION);
	must_refuse(HEAD DEDUPE, SL_STOP, text);
}

static void test_shape(void **state)
{
	(void)state;
	must_open(HEAD DEDUPE EMBED);
	must_refuse(HEAD DEDUPE "  - { name: embed, from: u, to: { embedded: e, gold: g }, dim: 128 }\n", SL_STOP,
		    "the options that shape the stores of step 'embed' have changed");
	must_refuse(HEAD DEDUPE "  - { name: embed, from: u, to: { embedded: e, gold: g }, dim: 128 }\n", SL_STOP,
		    "was written (backend, dim, text_max): put them back");
	/* the number of tasks shapes a store as well */
	must_refuse(HEAD DEDUPE EMBED "topics: { u: { partitions: 3 }, e: { partitions: 3 } }\n", SL_STOP,
		    "topic 'u' had 2 partitions when");
	must_open(HEAD DEDUPE "  - { name: embed, from: u, to: { embedded: e, gold: g }, batch_max: 8 }\n");
}

static void test_inlined(void **state)
{
	static const char chain[] = HEAD DEDUPE EMBED RETRIEVE, inlined[] = HEAD DEDUPE EMBED RETRIEVE "inline: [e]\n";
	static const char *const only[] = { "dedupe", "embed" };
	struct sl_error e;

	(void)state;
	assert_true(try_open(chain, only, 2, &e));
	feed(20);
	run();
	must_refuse(inlined, SL_STOP, "topic 'e' is inlined in the topology but has ");
	must_open(chain);
	run();
	must_open(inlined);
	feed(20);
	run();
	must_open(chain); /* and back */
	run();
}

static void test_missing(void **state)
{
	static const char *const only[] = { "dedupe" };
	struct sl_error e;

	(void)state;
	assert_true(try_open(HEAD DEDUPE EMBED, only, 1, &e));
	feed(20);
	run();
	must_refuse(HEAD
		    "  - { name: dedupe, from: raw, to: { unique: v, duplicate: d, conflict: c, contaminated: x } }\n",
		    SL_STOP, "topic 'u' is missing in the topology but has ");
	/* read to its end it may go, and so may topics that nobody read */
	must_open(HEAD DEDUPE EMBED);
	run();
	must_open(HEAD
		  "  - { name: dedupe, from: raw, to: { unique: v, duplicate: d, conflict: c, contaminated: x } }\n");
}

/* An offset of one topic means nothing in another. */
static void test_moved(void **state)
{
	(void)state;
	must_open(HEAD DEDUPE EMBED);
	feed(20);
	run();
	must_refuse(HEAD DEDUPE "  - { name: embed, from: d, to: { embedded: e, gold: g } }\n", SL_STOP,
		    "step 'embed' read topic 'u' when ");
	must_open(HEAD DEDUPE EMBED "  - { name: embed2, operator: embed, from: d, to: { embedded: e, gold: g } }\n");
	run();
}

static void test_second_owner(void **state)
{
	struct sl_runtime_options options = { .data = folder };
	struct sl_error e = { 0 };
	char text[64];

	(void)state;
	must_open(HEAD DEDUPE);
	assert_null(sl_runtime_open(topology, &options, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	snprintf(text, sizeof text, "is in use by process %ld", (long)getpid());
	assert_non_null(strstr(e.text, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shape, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_inlined, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_moved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_second_owner, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
