/* test_training.c -- when models are trained, on what, and what becomes of the versions: triggers, the prefix
 * of the topics, adoption after a crash, candidates, promotion and rollback, the absent model. On a
 * real folder (models are files), stepped by hand; no threads, no waiting. */
#include "with_training.h"

#include "schemas/json.h"
#include "topology/prefix.h"

#define CHAIN                                                                                                          \
	"topology: t\npartitions: 2\nmetrics: off\nstream: { durability: os }\ningest: { to: raw, ties: ties }\n"      \
	"steps:\n"                                                                                                     \
	"  - { name: embed, from: raw, to: { embedded: e, gold: g } }\n"                                               \
	"  - name: filter\n    from: e\n    rule: paper\n    tables: { models: models }\n    to: { curated: c, "       \
	"flipped: f, undecided: u, discarded: d }\n"                                                                   \
	"trainers:\n"                                                                                                  \
	"  - { name: gold, from: g, gold: g, errors: errors, min_pairs: 30, every_pairs: 20, interval: 0, epochs: "    \
	"2,\n"                                                                                                         \
	"      columns_log2: 12 }\n"                                                                                   \
	"  - { name: final, from: [c, f], gold: g, min_pairs: 30, columns_log2: 12 }\n"
#define GOLD 0 /* the trainer's place */

static void begin(const char *const *sets, size_t count)
{
	begin_on(CHAIN, sets, count);
}

/* `split` -1: any group. */
static size_t feed(size_t first, size_t count, int split, bool swapped)
{
	struct sl_arena a = { 0 };

	while (count) {
		struct sl_pair p = gold_pair(&a, first++, swapped);

		if (split >= 0 && (int)sl_split_of(p.group) != split)
			continue;
		assert_true(sl_trial_feed(t, "g", &p, 1));
		count--;
	}
	sl_arena_release(&a);
	return first;
}

static void assert_model(int64_t version, int64_t candidate, int64_t previous, const char *reason)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	char text[400];

	assert_true(sl_training_latest(t->rt, "gold", &a, &m));
	snprintf(text, sizeof text, "%.*s", (int)m.reason.size, (const char *)m.reason.data);
	if (strncmp(text, reason, strlen(reason)) != 0)
		fail_msg("expected '%s', found '%s'", reason, text);
	assert_int_equal(m.version, version);
	assert_int_equal(m.candidate, candidate);
	assert_int_equal(m.previous, previous);
	sl_arena_release(&a);
}

static void assert_reason(int version, const char *reason)
{
	json_t *on = trained_on("gold", version);

	assert_string_equal(json_string_value(json_object_get(on, "reason")), reason);
	json_decref(on);
}

/* -- when, and on what ------------------------------------------------------------------ */

static void test_triggers(void **state)
{
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	begin(NULL, 0);
	feed(0, 29, -1, false);
	assert_false(due());
	feed(29, 1, -1, false);
	assert_true(due());
	assert_model(1, 0, 0, "first: 30 pairs");
	assert_reason(1, "first: 30 pairs");
	feed(30, 19, -1, false);
	assert_false(due());
	again(); /* what a version has seen is in its folder */
	assert_false(due());
	feed(49, 1, -1, false);
	assert_true(due());
	assert_reason(2, "count: 20 new pairs, every 20");
	assert_false(due());
	assert_true(sl_runtime_train(t->rt, "gold", "by hand: because", &report, &e));
	assert_reason(3, "by hand: because");
	assert_true(report.size > 0);
	assert_false(due());
	sl_buf_release(&report);
}

static void test_interval(void **state)
{
	static const char *const sets[] = { "gold.interval=1ms", "gold.every_pairs=0" };

	(void)state;
	begin(sets, 2);
	feed(0, 30, -1, false);
	assert_true(due());
	feed(30, 1, -1, false);
	while (!due())
		;
	assert_reason(2, "interval: 1 new pairs after 1 ms");
	for (int i = 0; i < 1000; i++) /* nothing new, however late it is */
		assert_false(due());
}

static void test_refusals(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	begin(NULL, 0);
	assert_false(sl_runtime_train(t->rt, "gold", "", NULL, &e));
	assert_string_equal(e.text, "model 'gold' has no pairs to train on yet");
	assert_false(sl_runtime_train(t->rt, "silver", "", NULL, &e));
	assert_string_equal(e.text, "model 'silver' has no trainer in topology 't'");
	assert_false(sl_runtime_promote(t->rt, "gold", 0, "", &e));
	assert_string_equal(e.text, "model 'gold' has no version yet");
	feed(0, 30, -1, false);
	t->freeze = true;
	again();
	assert_false(sl_runtime_train(t->rt, "gold", "", NULL, &e));
	assert_string_equal(e.text, "models are frozen in this run (--freeze)");
}

/* The checkpoint says which records it has seen. */
static void test_offsets(void **state)
{
	int topic;
	json_t *on, *list;

	(void)state;
	begin(NULL, 0);
	feed(0, 30, -1, false);
	assert_true(due());
	topic = sl_topology_topic(t->topology, "g");
	on = trained_on("gold", 1);
	list = json_object_get(json_object_get(on, "offsets"), "g");
	assert_int_equal(json_array_size(list), 2);
	for (size_t p = 0; p < 2; p++)
		assert_int_equal(json_integer_value(json_array_get(list, p)),
				 atomic_load(&t->rt->topics[topic].ends[p]));
	assert_int_equal(json_integer_value(json_object_get(on, "records")), 30);
	json_decref(on);
}

/* Of several records with one id the last one counts; a tombstone takes the pair away; what comes after
 * the prefix was opened is not in it. */
static void test_prefix(void **state)
{
	static const char *const sets[] = { "partitions=1" };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_prefix x;
	const struct sl_pair *pair;
	struct sl_pair p[4];
	struct sl_record r = { 0 };
	int topic;

	(void)state;
	begin(sets, 1);
	topic = sl_topology_topic(t->topology, "g");
	for (size_t i = 0; i < 4; i++)
		p[i] = gold_pair(&a, i, false);
	assert_true(sl_trial_feed(t, "g", p, 4));
	p[1].gold.sample = sl_text("random");
	assert_true(sl_trial_feed(t, "g", &p[1], 1));
	r.key = sl_id_bytes(&p[2].id);
	assert_true(sl_trial_feed_record(t, "g", &r));
	assert_true(sl_prefix_open(&x, t->rt, &topic, 1, &e));
	assert_true(sl_trial_feed(t, "g", &p[3], 1));
	for (int pass = 0; pass < 2; pass++) {
		size_t n = 0;

		sl_prefix_rewind(&x);
		while (sl_prefix_next(&x, &pair)) {
			n++;
			if (sl_id_equal(pair->id, p[1].id))
				assert_true(sl_is(pair->gold.sample, "random"));
		}
		assert_int_equal(x.error.verdict, SL_OK);
		assert_int_equal(n, 3);
	}
	sl_prefix_close(&x);
	sl_arena_release(&a);
}

/* -- versions ------------------------------------------------------------------------------- */

/* Half of the gold is the wrong way round, so that the model errs on it: gold.errors come with the
 * announcement, and once. */
static void test_errors(void **state)
{
	struct sl_pair *pairs;
	struct sl_arena a = { 0 };
	size_t count;

	(void)state;
	begin(NULL, 0);
	feed(100, 20, -1, true);
	feed(0, 20, -1, false);
	assert_true(due());
	count = sl_trial_read(t, "errors", &a, &pairs);
	assert_true(count >= 10);
	for (size_t i = 0; i < count; i++) {
		const struct sl_trail *last = &pairs[i].trail[pairs[i].trail_count - 1];

		assert_true(sl_is(last->step, "evaluation"));
		assert_true(sl_is(last->outcome, "wrong") || sl_is(last->outcome, "unsure"));
		assert_int_equal(pairs[i].score_count, 1);
		assert_int_equal(pairs[i].scores[0].version, 1);
		assert_true(sl_is(pairs[i].scores[0].model, "gold"));
	}
	assert_false(due());
	assert_int_equal(records("errors"), count);
	sl_arena_release(&a);
}

/* Dead between the folder and the announcement: found, announced once, with the same errors. */
static void test_adopted(void **state)
{
	struct sl_error e = { 0 };
	bool trained;
	size_t errors;

	(void)state;
	begin(NULL, 0);
	feed(100, 20, -1, true);
	feed(0, 20, -1, false);
	t->fault_at = 1;
	t->faults = 0;
	assert_false(sl_training_due(t->rt, true, &trained, &e));
	assert_non_null(strstr(e.text, "injected fault at commit.begin"));
	t->fault_at = 0;
	again();
	assert_int_equal(sl_registry_latest(folder, "gold"), 1);
	assert_int_equal(records("models"), 0);
	assert_true(due());
	assert_model(1, 0, 0, "found after a restart");
	assert_int_equal(records("models"), 1);
	errors = records("errors");
	assert_true(errors >= 10);
	assert_false(due());
	again();
	assert_false(due());
	assert_int_equal(records("models"), 1);
	assert_int_equal(records("errors"), errors);
}

static void test_adopted_damaged(void **state)
{
	struct sl_error e = { 0 };
	char path[128];
	bool trained;

	(void)state;
	begin(NULL, 0);
	feed(0, 30, -1, false);
	t->fault_at = 1;
	t->faults = 0;
	assert_false(sl_training_due(t->rt, true, &trained, &e));
	t->fault_at = 0;
	snprintf(path, sizeof path, "%s/models/gold/1/weights.bin", folder);
	assert_int_equal(unlink(path), 0);
	again();
	assert_false(sl_training_due(t->rt, true, &trained, &e));
	assert_non_null(strstr(e.text, "model 'gold' version 1, found after a restart"));
	assert_non_null(strstr(e.text, "weights.bin"));
}

/* A version that is clearly worse on select stays candidate; people may move the champion, and a
 * restart leaves it where they put it. */
static void test_candidate(void **state)
{
	struct sl_error e = { 0 };
	size_t at;

	(void)state;
	begin(NULL, 0);
	at = feed(0, 20, SL_SPLIT_SELECT, false);
	at = feed(at, 40, SL_SPLIT_TRAIN, false);
	assert_true(due());
	assert_model(1, 0, 0, "first: 60 pairs");
	at = feed(at, 200, SL_SPLIT_TRAIN, true);
	assert_true(due());
	assert_model(1, 2, 0, "candidate 2 not promoted: ");
	assert_true(sl_runtime_promote(t->rt, "gold", 2, "I know better", &e));
	assert_model(2, 0, 1, "I know better");
	assert_false(sl_runtime_promote(t->rt, "gold", 2, "", &e));
	assert_string_equal(e.text, "version 2 of model 'gold' is the champion already");
	assert_true(sl_runtime_promote(t->rt, "gold", 0, "no", &e));
	assert_model(1, 0, 2, "no");
	assert_false(sl_runtime_promote(t->rt, "gold", 9, "", &e));
	assert_non_null(strstr(e.text, "model 'gold' has no version 9"));
	assert_model(1, 0, 2, "no");
	/* champion and previous both older than the newest: it was announced nevertheless */
	feed(at, 20, SL_SPLIT_TRAIN, true);
	assert_true(due());
	assert_model(1, 3, 2, "candidate 3 not promoted: ");
	assert_true(sl_runtime_promote(t->rt, "gold", 3, "try", &e));
	assert_true(sl_runtime_promote(t->rt, "gold", 2, "back", &e));
	assert_true(sl_runtime_promote(t->rt, "gold", 1, "further back", &e));
	again();
	assert_false(due());
	assert_model(1, 0, 2, "further back");
}

/* A member of what the last announcement remembers, "uses" or "asked.version". */
static double remembered(const char *path)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	json_t *report;
	double value;

	assert_true(sl_training_latest(t->rt, "gold", &a, &m));
	report = json_loadb(m.report.data, m.report.size, 0, NULL);
	assert_non_null(report);
	value = json_number_value(sl_json_at(json_object_get(report, "promotion"), path));
	json_decref(report);
	sl_arena_release(&a);
	return value;
}

static void assert_remembered(int64_t draw, int64_t uses, int64_t gold, int64_t best, int64_t tries)
{
	assert_int_equal(remembered("draw"), draw);
	assert_int_equal(remembered("uses"), uses);
	assert_int_equal(remembered("gold"), gold);
	assert_int_equal(remembered("best"), best);
	assert_int_equal(remembered("tries"), tries);
}

static void train_now(void)
{
	struct sl_error e = { 0 };

	if (!sl_runtime_train(t->rt, "gold", "test", NULL, &e))
		fail_msg("%s", e.text);
}

/* The draw of select, its uses, the best version and the tries follow from the table alone. */
static void test_remembered(void **state)
{
	struct sl_error e = { 0 };
	char path[128];
	size_t at;

	(void)state;
	begin(NULL, 0);
	at = feed(0, 20, SL_SPLIT_SELECT, false);
	at = feed(at, 40, SL_SPLIT_TRAIN, false);
	assert_true(due());
	assert_remembered(0, 0, 0, 1, 0);
	train_now(); /* the same once more */
	assert_model(2, 0, 1, "test; 1.0000 on select, +0.0000 [+0.0000, +0.0000] to the champion");
	assert_remembered(0, 1, 20, 1, 1);
	assert_int_equal(remembered("asked.version"), 2);
	assert_int_equal(remembered("asked.pairs"), 20);
	assert_true(remembered("asked.best.value") == 1);
	again();
	train_now();
	assert_model(3, 0, 2, "test; ");
	assert_remembered(0, 2, 20, 1, 2);
	/* new gold in train is no new select, but more than twice the examples are a new start; a version that fails is
	 * remembered with the champion */
	at = feed(at, 100, SL_SPLIT_TRAIN, true);
	assert_true(due());
	assert_model(3, 4, 2, "candidate 4 not promoted: ");
	assert_remembered(0, 3, 20, 1, 1);
	assert_int_equal(remembered("examples"), 140);
	assert_int_equal(remembered("asked.version"), 4);
	assert_true(remembered("asked.difference.high") < 0);
	/* new gold in select is a new draw */
	feed(at, 20, SL_SPLIT_SELECT, false);
	assert_true(due());
	assert_remembered(1, 1, 40, 1, 2);
	train_now();
	assert_remembered(1, 2, 40, 1, 3);
	/* a person's word */
	assert_true(sl_runtime_promote(t->rt, "gold", 4, "I know better", &e));
	assert_remembered(1, 2, 40, 4, 0);
	again();
	train_now();
	assert_remembered(1, 3, 40, 4, 1);
	/* the best version's folder is gone: the champion has to do */
	assert_true(sl_runtime_promote(t->rt, "gold", 1, "the first", &e));
	train_now();
	assert_int_equal(remembered("best"), 1);
	snprintf(path, sizeof path, "%s/models/gold/1", folder);
	assert_true(sl_folder_remove(path, &e));
	train_now(); /* and here the champion too: the newest wins */
	assert_model(9, 0, 1, "test");
	assert_int_equal(remembered("best"), 9);
}

/* From 400 pairs of select on, half of its groups are asked. */
static void test_drawn_half(void **state)
{
	double pairs;
	size_t at;

	(void)state;
	begin(NULL, 0);
	at = feed(0, 400, SL_SPLIT_SELECT, false);
	at = feed(at, 60, SL_SPLIT_TRAIN, false);
	assert_true(due());
	train_now();
	pairs = remembered("asked.pairs");
	assert_in_range(pairs, 150, 250);
	assert_int_equal(remembered("gold"), 400);
	feed(at, 1, SL_SPLIT_SELECT, false);
	train_now(); /* the other half */
	assert_remembered(1, 1, 401, 1, 2);
	assert_in_range(remembered("asked.pairs"), 400 - pairs, 401 - pairs);
}

static void test_absent(void **state)
{
	static const char *const sets[] = { "filter.without_gold=pass" };
	struct sl_error e = { 0 };

	(void)state;
	begin(sets, 1);
	feed(0, 3, -1, false);
	assert_true(due());
	assert_model(0, 0, 0, "absent: 3 of 30 gold pairs, filter.without_gold is 'pass'");
	assert_false(due());
	assert_false(sl_runtime_promote(t->rt, "gold", 0, "", &e));
	assert_string_equal(e.text, "model 'gold' has no previous version to go back to");
	again();
	assert_false(due());
	feed(3, 27, -1, false);
	assert_true(due());
	assert_model(1, 0, 0, "first: 30 pairs");
}

/* The other way: without the word, nothing is announced, and stuck says why. */
static void test_stop_without_gold(void **state)
{
	struct sl_buf why = { 0 };

	(void)state;
	begin(NULL, 0);
	feed(0, 3, -1, false);
	assert_false(due());
	assert_int_equal(records("models"), 0);
	sl_training_stuck(t->rt, &why);
	assert_non_null(strstr(sl_buf_text(&why), "3 gold pairs, model 'gold' needs 30: verify more pairs"));
	sl_buf_release(&why);
}

/* errors without cross-fitting: there are none to be had, and the model is trained all the same. */
static void test_no_folds(void **state)
{
	static const char *const sets[] = { "gold.folds=0" };

	(void)state;
	begin(sets, 1);
	feed(0, 30, -1, false);
	assert_true(due());
	assert_model(1, 0, 0, "first: 30 pairs");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_triggers),   TEST(test_interval),   TEST(test_refusals),          TEST(test_offsets),
		TEST(test_prefix),     TEST(test_errors),     TEST(test_adopted),           TEST(test_adopted_damaged),
		TEST(test_candidate),  TEST(test_absent),     TEST(test_stop_without_gold), TEST(test_no_folds),
		TEST(test_remembered), TEST(test_drawn_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
