/* test_posterior_training.c -- when the posterior is fitted, on what, and who is told: the first one, other champions,
 * more audited gold, a crash before the announcement, no gold model at all. On a real folder, stepped by hand, no
 * waiting. What evidence is made of is in test_evidence.c, what the fit makes of it in tests/trainer. */
#include "with_training.h"

#include "trainer/posterior.h"

#include <math.h>

#define CHAIN                                                                                                          \
	"topology: t\npartitions: 2\nmetrics: off\nstream: { durability: os }\ningest: { to: raw, ties: ties }\n"      \
	"steps:\n"                                                                                                     \
	"  - { name: embed, from: raw, to: { embedded: e, gold: g } }\n"                                               \
	"  - { name: more, operator: embed, from: e, to: { embedded: silver, gold: other } }\n"                        \
	"trainers:\n"                                                                                                  \
	"  - { name: posterior, from: g, min_pairs: 60, every_pairs: 40, interval: 0 }\n"                              \
	"  - { name: gold, from: g, gold: g, min_pairs: 30, every_pairs: 0, interval: 0, columns_log2: 12 }\n"         \
	"  - { name: best, from: silver, gold: g, min_pairs: 30, columns_log2: 12 }\n"

static void begin(const char *const *sets, size_t count)
{
	begin_on(CHAIN, sets, count);
}

/* One of two sources; the random ones tell how their label arrived. */
static struct sl_pair sampled_pair(struct sl_arena *a, size_t number, const char *sample)
{
	struct sl_pair p = gold_pair(a, number, false);

	p.source = sl_text(number % 2 ? "one" : "two");
	p.gold.sample = sl_text(sample);
	if (strcmp(sample, "random") == 0)
		p.gold.label_arrived = sl_text(number % 4 ? "same" : "swapped");
	return p;
}

/* `count` pairs to a topic, of split report or of the others; returns the first number not looked at. */
static size_t feed(const char *topic, size_t first, size_t count, const char *sample, bool report)
{
	struct sl_arena a = { 0 };

	while (count) {
		struct sl_pair p = sampled_pair(&a, first++, sample);

		if ((sl_split_of(p.group) == SL_SPLIT_REPORT) != report)
			continue;
		assert_true(sl_trial_feed(t, topic, &p, 1));
		count--;
	}
	sl_arena_release(&a);
	return first;
}

static void assert_model(const char *name, int64_t version, int64_t previous, const char *reason)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	char text[400];

	assert_true(sl_training_latest(t->rt, name, &a, &m));
	snprintf(text, sizeof text, "%.*s", (int)m.reason.size, (const char *)m.reason.data);
	assert_string_equal(text, reason);
	assert_int_equal(m.version, version);
	assert_int_equal(m.previous, previous);
	assert_int_equal(m.candidate, 0);
	sl_arena_release(&a);
}

static void assert_trained_on(int version, const char *name, int64_t expected)
{
	json_t *on = trained_on("posterior", version);

	assert_int_equal(json_integer_value(json_object_get(on, name)), expected);
	json_decref(on);
}

/* -- when --------------------------------------------------------------------------------- */

static void test_follows_gold(void **state)
{
	(void)state;
	begin(NULL, 0);
	feed("g", 0, 29, "random", false);
	assert_false(due()); /* no gold model: nothing to calibrate */
	feed("g", 200, 1, "random", false);
	assert_true(due());
	assert_model("gold", 1, 0, "first: 30 pairs");
	assert_true(due()); /* one new model at a time */
	assert_model("posterior", 1, 0, "first: of gold version 1");
	assert_trained_on(1, "gold", 1);
	assert_trained_on(1, "best", 0);
	assert_trained_on(1, "audited", 30);
	assert_trained_on(1, "records", 30);
	assert_false(due());
	again();
	assert_false(due());
}

static void test_champions(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	begin(NULL, 0);
	feed("g", 0, 40, "random", false);
	assert_true(due());
	assert_true(due());
	assert_true(sl_runtime_train(t->rt, "gold", "by hand", NULL, &e));
	assert_true(due());
	assert_model("posterior", 2, 1, "champions: gold 2 and best 0, before 1 and 0");
	feed("silver", 300, 40, "given", false);
	assert_true(due());
	assert_model("best", 1, 0, "first: 40 pairs");
	assert_true(due());
	assert_model("posterior", 3, 2, "champions: gold 2 and best 1, before 2 and 0");
	assert_trained_on(3, "gold", 2);
	assert_trained_on(3, "best", 1);
	assert_false(due());
	assert_true(sl_runtime_promote(t->rt, "gold", 1, "back", &e));
	again();
	assert_true(due());
	assert_model("posterior", 4, 3, "champions: gold 1 and best 1, before 2 and 1");
	assert_false(due());
	/* a person may move it, and it stays there */
	assert_true(sl_runtime_promote(t->rt, "posterior", 0, "I liked that one", &e));
	assert_model("posterior", 3, 4, "I liked that one");
	assert_false(due());
}

/* Audited pairs count, each once; not what else is gold, and not split report. */
static void test_audited(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_pair p;
	size_t at;

	(void)state;
	begin(NULL, 0);
	at = feed("g", 0, 31, "random", false);
	assert_true(due());
	assert_true(due());
	assert_trained_on(1, "audited", 31);
	at = feed("g", at, 28, "random", false);
	at = feed("g", at, 30, "given", false);
	(void)feed("g", at, 10, "random", true);
	for (int i = 0; i < 30; i++)
		feed("g", 0, 1, "random", false); /* the same pair */
	assert_false(due());
	/* its arrived label becomes known */
	at = 5000;
	do
		p = sampled_pair(&a, at++, "given");
	while (sl_split_of(p.group) == SL_SPLIT_REPORT);
	p.gold.sample = sl_text("random");
	assert_true(sl_trial_feed(t, "g", &p, 1));
	assert_false(due());
	p.gold.label_arrived = sl_text("same");
	assert_true(sl_trial_feed(t, "g", &p, 1));
	assert_true(due());
	assert_model("posterior", 2, 1, "count: 60 audited pairs, before 31"); /* enough for weights */
	at = feed("g", 6000, 39, "random", false);
	assert_false(due());
	again();
	assert_false(due());
	(void)feed("g", at, 1, "random", false);
	assert_true(due());
	assert_model("posterior", 3, 2, "count: 100 audited pairs, before 60");
	assert_false(due());
	sl_arena_release(&a);
}

static void test_interval(void **state)
{
	static const char *const sets[] = { "posterior.interval=1ms", "posterior.every_pairs=0",
					    "posterior.min_pairs=10" };

	(void)state;
	begin(sets, 3);
	feed("g", 0, 30, "random", false);
	assert_true(due());
	assert_true(due());
	for (int i = 0; i < 100; i++) /* nothing new, however late it is */
		assert_false(due());
	feed("g", 100, 1, "given", false);
	while (!due())
		;
	assert_model("posterior", 2, 1, "interval: 1 new gold records after 1 ms");
}

static void test_by_hand(void **state)
{
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };
	json_t *json;

	(void)state;
	begin(NULL, 0);
	assert_false(sl_runtime_train(t->rt, "posterior", "by hand", NULL, &e));
	assert_string_equal(e.text, "model 'posterior' has no pairs to train on yet");
	feed("g", 0, 70, "random", false);
	assert_false(sl_runtime_train(t->rt, "posterior", "by hand", NULL, &e));
	assert_string_equal(e.text, "model 'posterior' calibrates model 'gold', which has no version yet: train that "
				    "first");
	assert_true(due());
	if (!sl_runtime_train(t->rt, "posterior", "by hand", &report, &e))
		fail_msg("%s", e.text);
	assert_model("posterior", 1, 0, "by hand");
	json = json_loadb((const char *)report.data, report.size, 0, NULL);
	assert_true(json_is_object(json));
	assert_non_null(json_object_get(json, "evidence"));
	json_decref(json);
	sl_buf_release(&report);
	assert_false(due());
}

/* -- what was announced can be opened -------------------------------------------------------- */

static void test_opens(void **state)
{
	struct sl_witnesses w = { .domain = sl_text("one"), .gold = 2, .best = NAN, .judge = NAN, .length = 1 };
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_posterior *p;
	char path[512];

	(void)state;
	begin(NULL, 0);
	feed("g", 0, 120, "random", false);
	assert_true(due());
	assert_true(due());
	assert_true(sl_training_latest(t->rt, "posterior", &a, &m));
	snprintf(path, sizeof path, "%s/%.*s", folder, (int)m.uri.size, (const char *)m.uri.data);
	p = sl_posterior_open(path, m.sha256, &e);
	if (!p)
		fail_msg("%s", e.text);
	assert_true(sl_posterior_has_weights(p));
	assert_true(sl_posterior_p(p, &w) > 0.5);
	assert_true(m.report.size > 2);
	sl_posterior_close(p);
	sl_arena_release(&a);
}

/* -- what goes wrong --------------------------------------------------------------------------- */

/* Dead between the folder and the announcement: found, announced once, not fitted again. */
static void test_adopted(void **state)
{
	struct sl_error e = { 0 };
	bool trained;

	(void)state;
	begin(NULL, 0);
	feed("g", 0, 40, "random", false);
	assert_true(due());
	t->fault_at = 1;
	t->faults = 0;
	assert_false(sl_training_due(t->rt, true, &trained, &e));
	assert_non_null(strstr(e.text, "injected fault at commit.begin"));
	assert_non_null(strstr(e.text, "training model 'posterior' version 1"));
	t->fault_at = 0;
	again();
	assert_int_equal(sl_registry_latest(folder, "posterior"), 1);
	assert_int_equal(records("models"), 1);
	assert_true(due());
	assert_model("posterior", 1, 0, "found after a restart");
	assert_false(due());
	again();
	assert_false(due());
	assert_int_equal(records("models"), 2);
	assert_int_equal(sl_registry_latest(folder, "posterior"), 1);
}

/* The champion's weights are gone: they may be on their way, so the run goes on; by hand the error names them. */
static void test_champion_missing(void **state)
{
	struct sl_error e = { 0 };
	char path[128], away[128];

	(void)state;
	begin(NULL, 0);
	feed("g", 0, 40, "random", false);
	assert_true(due());
	snprintf(path, sizeof path, "%s/models/gold/1/weights.bin", folder);
	snprintf(away, sizeof away, "%s/models/gold/1/away", folder);
	assert_int_equal(rename(path, away), 0);
	assert_false(due());
	assert_false(sl_runtime_train(t->rt, "posterior", "by hand", NULL, &e));
	assert_int_equal(e.verdict, SL_WAIT);
	assert_non_null(strstr(e.text, "weights.bin"));
	assert_int_equal(sl_registry_latest(folder, "posterior"), 0);
	assert_int_equal(rename(away, path), 0);
	assert_true(due());
	assert_model("posterior", 1, 0, "first: of gold version 1");
}

/* Gold announced as absent: so is the posterior, once; both come when there is gold. */
static void test_absent(void **state)
{
	struct sl_model_record gold = { .name = sl_text("gold"), .sequence = 1, .reason = sl_text("absent: for now") };
	struct sl_buf value = { 0 };
	struct sl_record r = { .key = gold.name };
	struct sl_error e = { 0 };

	(void)state;
	begin(NULL, 0);
	sl_model_encode(&gold, &value);
	r.value = sl_buf_bytes(&value);
	assert_true(sl_runtime_append(t->rt, t->topology->models, &r, 1, &e));
	assert_true(due());
	assert_model("posterior", 0, 0, "absent: there is no gold model to calibrate");
	assert_false(due());
	again();
	assert_false(due());
	feed("g", 0, 30, "random", false);
	assert_true(due());
	assert_true(due());
	assert_model("posterior", 1, 0, "first: of gold version 1");
	assert_false(due());
	sl_buf_release(&value);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_follows_gold), TEST(test_champions),        TEST(test_audited),
		TEST(test_interval),     TEST(test_by_hand),          TEST(test_opens),
		TEST(test_adopted),      TEST(test_champion_missing), TEST(test_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
