/* test_judge_health.c -- probes in the topic of a topology: followed, shown, measured, forgotten with another setting;
 * and what the posterior makes of them. Records are made by hand; nobody is asked. */
#include "with_training.h"

#include "topology/judge_health.h"
#include "trainer/posterior.h"
#include "with_probes.h"

#define CHAIN_UP_TO_BACKEND                                                                                            \
	"topology: t\npartitions: 2\nmetrics: off\nstream: { durability: os }\ningest: { to: raw, ties: ties }\n"      \
	"endpoints:\n  gpt: { url: http://127.0.0.1:9/v1, model: m }\n"                                                \
	"steps:\n"                                                                                                     \
	"  - { name: embed, from: raw, to: { embedded: e, gold: g } }\n"                                               \
	"  - { name: annotate, from: e, to: { judged: j, silver: s, probed: probed, deferred: d },\n"                  \
	"      tables: { gold: g, models: models }, judge_accuracy: 0.7, "
#define TRAINERS                                                                                                       \
	"trainers:\n"                                                                                                  \
	"  - { name: posterior, from: g, min_pairs: 60, every_pairs: 1000, interval: 0 }\n"                            \
	"  - { name: gold, from: g, gold: g, min_pairs: 30, every_pairs: 0, interval: 0, columns_log2: 12 }\n"
#define CHAIN CHAIN_UP_TO_BACKEND "backend: llm, judges: [gpt] }\n" TRAINERS
#define CHAIN_NEAREST CHAIN_UP_TO_BACKEND "backend: nearest }\n" TRAINERS

#define SETTING "00000000000000aa"
#define OTHER "00000000000000bb"

static const char *const yes[] = { "gpt/m >yes", NULL }, *const no[] = { "gpt/m >no", NULL };

/* A gold pair that is not in split report, drawn at random; *next is where to go on. */
static struct sl_pair gold_at(struct sl_arena *a, size_t *next)
{
	struct sl_pair p;

	do
		p = gold_pair(a, (*next)++, false);
	while (sl_split_of(p.group) == SL_SPLIT_REPORT);
	p.source = sl_text("one");
	p.gold.sample = sl_text("random");
	p.gold.label_arrived = sl_text(*next % 4 ? "same" : "swapped");
	return p;
}

static void feed_gold(size_t count)
{
	struct sl_arena a = { 0 };
	size_t next = 0;

	while (count--) {
		struct sl_pair p = gold_at(&a, &next);

		assert_true(sl_trial_feed(t, "g", &p, 1));
	}
	sl_arena_release(&a);
}

/* Probes of the first `count` gold pairs; the human is contradicted in every fifth. */
static void feed_probes(size_t count, const char *setting, int64_t round)
{
	struct sl_arena a = { 0 };
	size_t next = 0;

	for (size_t i = 0; i < count; i++) {
		struct sl_pair p = gold_at(&a, &next);

		make_probe(&a, &p, 16 * (1 + round), setting, i % 5 ? "chosen" : "rejected", i % 5 ? yes : no);
		p.time_ms += 100000 * round; /* of the pair that drew it */
		assert_true(sl_trial_feed(t, "probed", &p, 1));
	}
	sl_arena_release(&a);
}

static int64_t probes(void)
{
	struct sl_error e = { 0 };

	if (!sl_judge_health_follow(t->rt->judges, &e))
		fail_msg("%s", e.text);
	return sl_judge_health_probes(t->rt->judges);
}

static void test_follows(void **state)
{
	char setting[SL_SETTING_SIZE];
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	json_t *root, *judges;

	(void)state;
	begin_on(CHAIN, NULL, 0);
	assert_int_equal(probes(), 0);
	feed_probes(20, SETTING, 0);
	assert_int_equal(probes(), 20);
	assert_int_equal(probes(), 20);
	feed_probes(20, SETTING, 1);
	assert_int_equal(probes(), 40);
	feed_probes(3, OTHER, 2);
	assert_int_equal(probes(), 3);
	sl_judge_health_setting(t->rt->judges, setting);
	assert_string_equal(setting, OTHER);
	assert_int_equal(records("probed"), 43);
	again();
	assert_int_equal(probes(), 3); /* read from the start */
	if (!sl_runtime_status(t->rt, &text, &e))
		fail_msg("%s", e.text);
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	judges = json_object_get(root, "judges");
	assert_int_equal(json_integer_value(json_object_get(judges, "probes")), 3);
	assert_int_equal(json_integer_value(json_object_get(judges, "earlier")), 40);
	assert_null(json_object_get(judges, "error"));
	json_decref(root);
	sl_buf_release(&text);
}

static void test_metrics(void **state)
{
	static const char *const lines[] = {
		"sluice_judge_agreement_ratio{judge=\"llm\",category=\"all\"} 0.800000\n",
		"sluice_judge_agreement_ratio{judge=\"gpt/m\",category=\"\"} 0.800000\n",
		"sluice_judge_first_ratio{judge=\"gpt/m\"} 0.800000\n",
		"sluice_judge_probes_total{judge=\"gpt/m\"} 20\n",
		"sluice_judge_probe_dollars_total{judge=\"gpt/m\"} 0.001\n",
		"sluice_judge_outcomes_total{judge=\"gpt/m\",outcome=\"rejected\"} 4\n",
		"sluice_judge_baseline_ratio{baseline=\"longest_wins\"} 1.000000\n",
	};
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	begin_on(CHAIN, NULL, 0);
	feed_probes(20, SETTING, 0);
	if (!sl_runtime_metrics(t->rt, &text, &e))
		fail_msg("%s", e.text);
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (!strstr(sl_buf_text(&text), lines[i]))
			fail_msg("'%s' is not in:\n%s", lines[i], sl_buf_text(&text));
	sl_buf_release(&text);
}

/* With the back-end nearest there is nothing to follow. */
static void test_nearest(void **state)
{
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	json_t *root;

	(void)state;
	begin_on(CHAIN_NEAREST, NULL, 0);
	feed_probes(5, SETTING, 0);
	assert_null(t->rt->judges);
	assert_int_equal(probes(), 0);
	assert_true(sl_runtime_status(t->rt, &text, &e));
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_null(json_object_get(root, "judges"));
	json_decref(root);
	sl_buf_release(&text);
}

/* -- the posterior ------------------------------------------------------------------------ */

static void assert_reason(int64_t version, const char *reason)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	char text[400];

	assert_true(sl_training_latest(t->rt, "posterior", &a, &m));
	snprintf(text, sizeof text, "%.*s", (int)m.reason.size, (const char *)m.reason.data);
	assert_string_equal(text, reason);
	assert_int_equal(m.version, version);
	sl_arena_release(&a);
}

static struct sl_posterior *newest_posterior(void)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_posterior *p;
	char path[512];

	assert_true(sl_training_latest(t->rt, "posterior", &a, &m));
	snprintf(path, sizeof path, "%s/%.*s", folder, (int)m.uri.size, (const char *)m.uri.data);
	p = sl_posterior_open(path, m.sha256, &e);
	if (!p)
		fail_msg("%s", e.text);
	sl_arena_release(&a);
	return p;
}

static void test_posterior(void **state)
{
	struct sl_posterior *p;
	json_t *on;

	(void)state;
	begin_on(CHAIN, NULL, 0);
	feed_gold(150);
	assert_true(due()); /* gold */
	assert_true(due());
	assert_reason(1, "first: of gold version 1");
	p = newest_posterior();
	assert_false(sl_posterior_judge_known(p, sl_text("llm"), sl_text("one")));
	sl_posterior_close(p);
	feed_probes(11, SETTING, 0);
	assert_false(due());
	feed_probes(1, SETTING, 1);
	assert_true(due());
	assert_reason(2, "judges: 12 probes of setting " SETTING ", before 0");
	assert_false(due());
	on = trained_on("posterior", 2);
	assert_int_equal(json_integer_value(json_object_get(on, "probes")), 12);
	assert_string_equal(json_string_value(json_object_get(on, "setting")), SETTING);
	json_decref(on);
	p = newest_posterior();
	assert_true(sl_posterior_judge_speaks(p, sl_text("llm"), sl_text("one")));
	/* 11 gold pairs, 3 contradicted; (8 + 10 * 0.7) / 21, and the domain is all of them */
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("llm"), sl_text("two")), 15. / 21, 1e-9);
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("gpt/m"), sl_text("one")), (8 + 20 * 15. / 21) / 31,
			   1e-9);
	sl_posterior_close(p);
	feed_probes(11, SETTING, 2);
	again();
	assert_false(due()); /* it is known after a restart too what was there */
	feed_probes(1, SETTING, 3);
	assert_true(due());
	assert_reason(3, "judges: 24 probes of setting " SETTING ", before 12");
	feed_probes(2, OTHER, 4);
	assert_true(due());
	assert_reason(4, "judges: 2 probes of setting " OTHER ", before 24 of " SETTING);
	assert_false(due());
	p = newest_posterior();
	assert_float_equal(sl_posterior_judge_accuracy(p, sl_text("llm"), sl_text("two")), 8. / 12, 1e-9);
	sl_posterior_close(p);
}

/* Probes with the back-end nearest are nobody's business. */
static void test_posterior_nearest(void **state)
{
	struct sl_posterior *p;

	(void)state;
	begin_on(CHAIN_NEAREST, NULL, 0);
	feed_gold(100);
	feed_probes(80, SETTING, 0);
	assert_true(due());
	assert_true(due());
	assert_false(due());
	p = newest_posterior();
	assert_false(sl_posterior_judge_known(p, sl_text("llm"), sl_text("one")));
	sl_posterior_close(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_follows),   TEST(test_metrics),           TEST(test_nearest),
		TEST(test_posterior), TEST(test_posterior_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
