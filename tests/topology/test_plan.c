/* test_plan.c -- the shipped topology with the shipped operators: it loads, it can be
 * inlined, and its plan is tests/topology/plan_curate.txt to the byte, so that a diff of that file
 * shows every renamed topic, store, group or option. To write it anew after a
 * change that is meant:
 *
 *     test_topology_plan --write */
#include "topology/base/file.h"
#include "topology/topology.h"
#include "trainer/train.h"
#include "trainer/posterior.h"

#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define CURATE "topology/curate.yaml"
#define GOLDEN "tests/topology/plan_curate.txt"

static struct sl_topology *curate(const char *const *sets, size_t count)
{
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_load(CURATE, sets, count, &e);

	if (!t)
		fail_msg("%s", e.text);
	return t;
}

static void test_golden(void **state)
{
	struct sl_topology *t = curate(NULL, 0);
	struct sl_buf plan = { 0 }, golden = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	sl_topology_plan(t, NULL, false, &plan);
	if (!sl_file_read(GOLDEN, 1 << 20, &golden, &e))
		fail_msg("%s", e.text);
	assert_string_equal(sl_buf_text(&plan), sl_buf_text(&golden));
	sl_buf_release(&plan);
	sl_buf_release(&golden);
	sl_topology_free(t);
}

static void test_json(void **state)
{
	struct sl_topology *t = curate(NULL, 0);
	struct sl_buf plan = { 0 };
	json_t *o, *step;

	(void)state;
	sl_topology_plan(t, NULL, true, &plan);
	o = json_loads(sl_buf_text(&plan), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "topology")), "curate");
	assert_int_equal(json_array_size(json_object_get(o, "topics")), t->topic_count);
	assert_int_equal(json_array_size(json_object_get(o, "steps")), 6);
	step = json_array_get(json_object_get(o, "steps"), 0);
	assert_string_equal(json_string_value(json_object_get(step, "task")), "curate.dedupe");
	assert_string_equal(json_string_value(json_object_get(step, "dead")), "dead.dedupe");
	json_decref(o);
	sl_buf_release(&plan);
	sl_topology_free(t);
}

/* The same file on brokers: only --set differs, and no error comes of what it says for the embedded stream. */
static void test_kafka(void **state)
{
	static const char *const sets[] = { "stream.kind=kafka", "stream.brokers=127.0.0.1:9092",
					    "stream.prefix=dev." };
	static const char *const expected[] = {
		"  topics  dev.<topic>\n",
		"  meta    dev.curate.meta, ",
		"group dev.curate.dedupe\n",
		"  kafka  changelog dev.curate.dedupe.changelog, transactional.id dev.curate.dedupe.<uuid>.<member>\n",
		"curate.yaml:21:15, not used: stream.kind is kafka by --set\n",
	};
	struct sl_topology *t = curate(sets, 3);
	struct sl_buf plan = { 0 };

	(void)state;
	assert_int_equal(t->stream, SL_STREAM_KAFKA);
	sl_topology_plan(t, NULL, false, &plan);
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
		if (!strstr(sl_buf_text(&plan), expected[i]))
			fail_msg("not in the plan: %s", expected[i]);
	sl_buf_release(&plan);
	sl_topology_free(t);
}

/* As curate.yaml's comment says. */
static void test_inline(void **state)
{
	const char *const sets[] = { "inline=pairs.embedded,pairs.scored,pairs.retrieved,pairs.judged" };
	struct sl_topology *t = curate(sets, 1);
	int embed = sl_topology_step(t, "embed");

	(void)state;
	assert_int_equal(t->steps[sl_topology_step(t, "dedupe")].host, sl_topology_step(t, "dedupe"));
	assert_int_equal(t->steps[sl_topology_step(t, "score")].host, embed);
	assert_int_equal(t->steps[sl_topology_step(t, "filter")].host, embed);
	sl_topology_free(t);
}

static const char *setting(const struct sl_topology *t, const char *step, const char *name)
{
	const struct sl_step *s = &t->steps[sl_topology_step(t, step)];

	for (size_t i = 0; i < s->setting_count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return s->settings[i].value;
	return NULL;
}

/* retrieve and annotate follow filter in the options of the rule; what they say themselves counts, with a note. */
static void test_follow(void **state)
{
	static const char *const sets[] = { "filter.flips=on", "annotate.flips=off" };
	struct sl_topology *t = curate(sets, 1);
	struct sl_buf plan = { 0 };

	(void)state;
	assert_string_equal(setting(t, "filter", "flips"), "on");
	assert_string_equal(setting(t, "retrieve", "flips"), "on");
	assert_string_equal(setting(t, "annotate", "flips"), "on");
	assert_string_equal(setting(t, "annotate", "band"), "0");
	sl_topology_free(t);
	t = curate(sets, 2);
	assert_string_equal(setting(t, "retrieve", "flips"), "on");
	assert_string_equal(setting(t, "annotate", "flips"), "off");
	sl_topology_plan(t, NULL, false, &plan);
	assert_non_null(strstr(sl_buf_text(&plan), "note: option 'flips' is 'off' in step 'annotate' and 'on' in step "
						   "'filter': give both the same value"));
	sl_buf_release(&plan);
	sl_topology_free(t);
}

/* skywork.yaml is curate.yaml with the rule of the paper, and nothing else. */
static void test_skywork(void **state)
{
	struct sl_error e = { 0 };
	struct sl_topology *ours = curate(NULL, 0), *paper = sl_topology_load("topology/skywork.yaml", NULL, 0, &e);

	(void)state;
	if (!paper)
		fail_msg("%s", e.text);
	assert_int_equal(paper->step_count, ours->step_count);
	for (size_t i = 0; i < ours->step_count; i++) {
		const struct sl_step *s = &ours->steps[i];

		assert_string_equal(paper->steps[i].name, s->name);
		for (size_t k = 0; k < s->setting_count; k++) {
			const char *name = s->settings[k].name, *value = s->settings[k].value;
			const char *other = setting(paper, s->name, name);

			assert_non_null(other);
			if (strcmp(name, "rule") == 0) {
				assert_string_equal(value, "posterior");
				assert_string_equal(other, "paper");
			} else if (strcmp(name, "flips") == 0) {
				assert_string_equal(value, "off");
				assert_string_equal(other, "on");
			} else if (strcmp(value, other) != 0) {
				fail_msg("step '%s': '%s' is '%s' and '%s'", s->name, name, value, other);
			}
		}
	}
	assert_int_equal(paper->topic_count, ours->topic_count);
	assert_int_equal(paper->trainer_count, ours->trainer_count);
	sl_topology_free(paper);
	sl_topology_free(ours);
}

static const char *setting_of(const struct sl_topology *t, const char *step, const char *name)
{
	const struct sl_step *s = &t->steps[sl_topology_step(t, step)];

	for (size_t i = 0; i < s->setting_count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return s->settings[i].value;
	fail_msg("step '%s' has no option '%s'", step, name);
	return NULL;
}

/* The example with judges: addresses and keys from the environment, prices for every budget, and who follows whom. */
static void test_judged(void **state)
{
	static const char *const sets[] = { "annotate.panel=jury", "annotate.without_judge=defer" };
	struct sl_error e = { 0 };
	struct sl_topology *t;
	struct sl_buf plan = { 0 };

	(void)state;
	unsetenv("JUDGE_URL");
	assert_null(sl_topology_load("topology/judged.yaml", NULL, 0, &e));
	assert_non_null(strstr(e.text, "JUDGE_URL"));
	setenv("JUDGE_URL", "https://judge.example/v1", 1);
	setenv("JUDGE_KEY", "sk-very-secret", 1);
	setenv("SECOND_URL", "http://127.0.0.1:8000/v1", 1);
	setenv("SECOND_KEY", "also-secret", 1);
	t = sl_topology_load("topology/judged.yaml", sets, 2, &e);
	if (!t)
		fail_msg("%s", e.text);
	assert_int_equal(t->endpoint_count, 2);
	for (size_t i = 0; i < t->endpoint_count; i++)
		assert_non_null(t->endpoints[i].price);
	for (size_t i = 0; i < t->step_count; i++)
		assert_int_equal(sl_step_asks(&t->steps[i]), strcmp(t->steps[i].name, "annotate") == 0);
	assert_string_equal(setting_of(t, "annotate", "backend"), "llm");
	assert_string_equal(setting_of(t, "retrieve", "backend"), "llm");
	assert_string_equal(setting_of(t, "filter", "backend"), "llm");
	assert_string_equal(setting_of(t, "retrieve", "panel"), "jury");
	assert_string_equal(setting_of(t, "filter", "panel"), "jury");
	assert_string_equal(setting_of(t, "annotate", "judge_accuracy"), "0.75");
	sl_topology_plan(t, NULL, false, &plan);
	assert_null(strstr(sl_buf_text(&plan), "secret"));
	assert_non_null(strstr(sl_buf_text(&plan), "deferred: pairs.deferred"));
	sl_buf_release(&plan);
	sl_topology_free(t);
	t = curate(NULL, 0); /* nobody asks the outside there: annotate can be inlined */
	for (size_t i = 0; i < t->step_count; i++)
		assert_false(sl_step_asks(&t->steps[i]));
	sl_topology_free(t);
}

/* The file's defaults are the library's. */
static void test_trainer_defaults(void **state)
{
	struct sl_topology *t = curate(NULL, 0);
	struct sl_posterior_options posterior;
	struct sl_train_options o;

	(void)state;
	sl_train_options_default(&o);
	sl_posterior_options_default(&posterior);
	for (size_t i = 0; i < t->trainer_count; i++) {
		const struct sl_trainer_def *d = &t->trainers[i];

		if (strcmp(d->name, "posterior") == 0) {
			assert_int_equal(d->seed, posterior.seed);
			assert_int_equal(d->min_pairs, posterior.least_audited);
			continue;
		}
		assert_int_equal(d->seed, o.seed);
		assert_int_equal(d->epochs, o.epochs);
		assert_int_equal(d->columns_log2, o.columns_log2);
		assert_int_equal(d->folds, o.folds);
		assert_true(d->learning_rate == o.learning_rate);
		assert_true(d->l2 == o.l2);
	}
	sl_topology_free(t);
}

static int write_golden(void)
{
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_load(CURATE, NULL, 0, &e);
	struct sl_buf plan = { 0 };
	bool ok = false;

	if (t) {
		sl_topology_plan(t, NULL, false, &plan);
		ok = sl_file_replace(GOLDEN, sl_buf_bytes(&plan), &e);
	}
	if (!ok)
		fprintf(stderr, "%s\n", e.text);
	sl_buf_release(&plan);
	sl_topology_free(t);
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),           cmocka_unit_test(test_json),   cmocka_unit_test(test_kafka),
		cmocka_unit_test(test_inline),           cmocka_unit_test(test_follow), cmocka_unit_test(test_skywork),
		cmocka_unit_test(test_trainer_defaults), cmocka_unit_test(test_judged),
	};

	if (argc == 2 && strcmp(argv[1], "--write") == 0)
		return write_golden();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
