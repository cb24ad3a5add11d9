/* test_training_race.c -- two processes that train the same model at the same time, as on Kafka when the lead passes on
 * in the middle of a training. The linker puts the other process in: what it does happens just before or just after a
 * function of the trainer that ours calls. */
#include "with_training.h"

#include "topology/training.h"
#include "trainer/posterior.h"

#define CHAIN                                                                                                          \
	"topology: t\npartitions: 2\nmetrics: off\nstream: { durability: os }\ningest: { to: raw, ties: ties }\n"      \
	"steps:\n"                                                                                                     \
	"  - { name: embed, from: raw, to: { embedded: e, gold: g } }\n"                                               \
	"trainers:\n"                                                                                                  \
	"  - { name: gold, from: g, gold: g, errors: errors, min_pairs: 30, every_pairs: 0, interval: 0, "             \
	"columns_log2: 12 }\n"                                                                                         \
	"  - { name: posterior, from: g, min_pairs: 60, every_pairs: 40, interval: 0 }\n"

/* What the other process is about to do, once. */
static enum { NOTHING, TRAINS, FITS, FINDS_GOLD, FINDS_POSTERIOR } other;

bool __real_sl_train_linear(const struct sl_train_options *o, const struct sl_examples *train,
			    const struct sl_examples *eval, const char *to, const char *extra_json,
			    struct sl_train_report *report, struct sl_error *e);
bool __wrap_sl_train_linear(const struct sl_train_options *o, const struct sl_examples *train,
			    const struct sl_examples *eval, const char *to, const char *extra_json,
			    struct sl_train_report *report, struct sl_error *e);
bool __real_sl_train_cross_fit(const struct sl_train_options *o, const struct sl_examples *examples, void *arg,
			       void (*out)(void *arg, const struct sl_pair *pair, double margin), struct sl_error *e);
bool __wrap_sl_train_cross_fit(const struct sl_train_options *o, const struct sl_examples *examples, void *arg,
			       void (*out)(void *arg, const struct sl_pair *pair, double margin), struct sl_error *e);
bool __real_sl_posterior_fit(const struct sl_posterior_options *o, const struct sl_evidence_rows *rows,
			     const char *judge, const char *to, const char *extra_json, struct sl_buf *report,
			     struct sl_error *e);
bool __wrap_sl_posterior_fit(const struct sl_posterior_options *o, const struct sl_evidence_rows *rows,
			     const char *judge, const char *to, const char *extra_json, struct sl_buf *report,
			     struct sl_error *e);

/* The other process has found the folder that ours wrote, and announces it. */
static void announce(const char *name)
{
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };

	assert_true(sl_registry_describe(folder, name, 1, &a, &m, &e));
	m.sequence = 1;
	m.reason = sl_text("by the other");
	assert_true(sl_training_announce(t->rt, &m, NULL, &e));
	other = NOTHING;
	sl_arena_release(&a);
}

bool __wrap_sl_train_linear(const struct sl_train_options *o, const struct sl_examples *train,
			    const struct sl_examples *eval, const char *to, const char *extra_json,
			    struct sl_train_report *report, struct sl_error *e)
{
	if (other == TRAINS) {
		assert_true(__real_sl_train_linear(o, train, eval, to, extra_json, report, e));
		other = NOTHING;
	}
	return __real_sl_train_linear(o, train, eval, to, extra_json, report, e);
}

bool __wrap_sl_train_cross_fit(const struct sl_train_options *o, const struct sl_examples *examples, void *arg,
			       void (*out)(void *arg, const struct sl_pair *pair, double margin), struct sl_error *e)
{
	if (other == FINDS_GOLD)
		announce("gold");
	return __real_sl_train_cross_fit(o, examples, arg, out, e);
}

bool __wrap_sl_posterior_fit(const struct sl_posterior_options *o, const struct sl_evidence_rows *rows,
			     const char *judge, const char *to, const char *extra_json, struct sl_buf *report,
			     struct sl_error *e)
{
	struct sl_buf ignored = { 0 };
	bool done;

	if (other == FITS) {
		assert_true(__real_sl_posterior_fit(o, rows, judge, to, extra_json, &ignored, e));
		sl_buf_release(&ignored);
		other = NOTHING;
	}
	done = __real_sl_posterior_fit(o, rows, judge, to, extra_json, report, e);
	if (other == FINDS_POSTERIOR)
		announce("posterior");
	return done;
}

static void begin(void)
{
	struct sl_arena a = { 0 };

	begin_on(CHAIN, NULL, 0);
	for (size_t i = 0; i < 80; i++) {
		struct sl_pair p = gold_pair(&a, i, false);

		p.gold.sample = sl_text("random");
		p.gold.label_arrived = sl_text(i % 4 ? "same" : "swapped");
		assert_true(sl_trial_feed(t, "g", &p, 1));
	}
	sl_arena_release(&a);
}

static void is_announced_once(const char *name, const char *reason, size_t models)
{
	json_t *on = trained_on(name, 1);
	struct sl_model_record m = { 0 };
	struct sl_arena a = { 0 };

	assert_true(sl_training_latest(t->rt, name, &a, &m));
	assert_true(sl_is(m.reason, reason));
	assert_int_equal(m.version, 1);
	assert_int_equal(m.previous, 0);
	assert_int_equal(m.sequence, 1);
	assert_int_equal(records("models"), models);
	assert_int_equal(json_integer_value(json_object_get(on, "records")), 80);
	json_decref(on);
	sl_arena_release(&a);
}

/* Not a failure that would end the run, and then the other's version is found. */
static void second(const char *name, size_t models)
{
	struct sl_error e = { 0 };
	bool trained;

	assert_false(sl_training_due(t->rt, true, &trained, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	assert_non_null(strstr(e.text, "another process has trained it"));
	assert_true(due());
	is_announced_once(name, "found after a restart", models);
}

static void test_second_to_write(void **state)
{
	(void)state;
	begin();
	other = TRAINS;
	second("gold", 1);
	other = FITS;
	second("posterior", 2);
	assert_false(due());
	again();
	assert_false(due());
}

/* By whoever found the folder before its trainer said so: the version does not become its own predecessor. */
static void test_second_to_announce(void **state)
{
	(void)state;
	begin();
	other = FINDS_GOLD;
	assert_true(due());
	is_announced_once("gold", "by the other", 1);
	other = FINDS_POSTERIOR;
	assert_true(due());
	is_announced_once("posterior", "by the other", 2);
	assert_false(due());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_second_to_write), TEST(test_second_to_announce) };

	return cmocka_run_group_tests_name("training_race", tests, NULL, NULL);
}
