/* test_run.c -- whole runs on a real broker: the outcome is that of the embedded stream, whatever happens on the
 * way. Skips without KAFKA_BOOTSTRAP. */
#include "with_runtime.h"

#include "tests/actors.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PAIRS 1000

/* -- operators of these tests --------------------------------------------------------------------- */

static const char *const out_ports[] = { "out", NULL };
static const char *const gold_tables[] = { "gold", NULL };

static enum sl_verdict patient_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	if (sl_table_version(t, 0) == 0)
		return sl_fail(t, SL_WAIT, "waits for the first gold pair");
	for (size_t i = 0; i < b->count; i++)
		sl_emit(t, 0, &b->pairs[i]);
	return SL_OK;
}
static const struct sl_operator patient = {
	.name = "patient", .version = "1", .ports = out_ports, .tables = gold_tables, .process = patient_process
};

static enum sl_verdict broken_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	(void)b;
	return sl_fail(t, SL_STOP, "beyond repair");
}
static const struct sl_operator broken = {
	.name = "broken", .version = "1", .ports = out_ports, .process = broken_process
};

extern const struct sl_operator sl_operator_embed;
const struct sl_operator *const sl_operators[] = { &sl_operator_embed, &sl_actor_tally, &sl_actor_asker,
						   &patient,           &broken,         NULL };

#define TALLIES                                                                                                        \
	"topology: t\npartitions: 4\ntopics: { odd: { retention: keep } }\nsteps:\n"                                   \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even }, batch_max: 16 }\n"                          \
	"  - { name: again, operator: tally, from: odd, to: { odd: o2, even: e2 }, batch_max: 5 }\n"

static const char *const topics[] = { "odd", "even", "o2", "e2", NULL };

/* -- what it must be -------------------------------------------------------------------------------- */

struct expected {
	struct sl_buf outcome, stores;
};

static void expect(struct expected *x, const char *yaml, size_t count)
{
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);

	*x = (struct expected){ 0 };
	assert_true(kafka_feed_trial(t, 0, count));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	kafka_outcome_trial(t, topics, &x->outcome);
	kafka_stores(t->rt, &x->stores);
	sl_trial_free(t);
}

/* The topics, and the stores of whoever restores all of them. */
static void must_be(struct expected *x, const char *yaml, const char *prefix)
{
	struct kafka_node fresh = { 0 };
	struct sl_buf got = { 0 };
	struct sl_error e;

	kafka_outcome(yaml, prefix, topics, &got);
	kafka_must_equal(&x->outcome, &got);
	kafka_node_open(&fresh, yaml, prefix);
	if (kafka_node_run(&fresh, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	kafka_stores(fresh.rt, &got);
	kafka_must_equal(&x->stores, &got);
	kafka_node_drop(&fresh);
	sl_buf_release(&got);
	sl_buf_release(&x->outcome);
	sl_buf_release(&x->stores);
}

static const char *new_prefix(void)
{
	static char prefix[100];

	snprintf(prefix, sizeof prefix, "%s.", kafka_unique());
	return prefix;
}

static void create_topics(const char *yaml, const char *prefix)
{
	struct kafka_node n = { 0 };

	kafka_node_open(&n, yaml, prefix);
	kafka_node_drop(&n);
}

/* -- the tests ------------------------------------------------------------------------------------------ */

static void until_idle_is_as_embedded(void **state)
{
	const char *prefix;
	struct kafka_node n = { 0 };
	struct expected x;
	struct sl_error e;

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	expect(&x, TALLIES, PAIRS);
	kafka_node_open(&n, TALLIES, prefix);
	kafka_feed(prefix, 0, PAIRS / 2);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE) /* nothing to do */
		fail_msg("%s", e.text);
	kafka_feed(prefix, PAIRS / 2, PAIRS / 2);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	assert_true(atomic_load(&n.rt->kafka->counters.committed) > 0);
	kafka_node_drop(&n);
	must_be(&x, TALLIES, prefix);
}

/* -- several members, several processes ------------------------------------------------------------ */

static void members_share_partitions(void **state)
{
	const char *prefix;
	struct kafka_node n = { 0 };
	struct expected x;
	struct sl_error e;

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	expect(&x, TALLIES, PAIRS);
	kafka_node_open(&n, TALLIES, prefix);
	n.topology->kafka.members = 2;
	kafka_feed(prefix, 0, PAIRS);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	kafka_node_drop(&n);
	must_be(&x, TALLIES, prefix);
}

struct watch {
	const char *group, *topic;
	int64_t at_least;
	struct kafka_test t;
};

/* All partitions of the group together have come so far. */
static bool has_come(void *arg)
{
	struct watch *w = arg;
	int64_t offsets[4], sum = 0;
	struct sl_error e = { 0 };
	int topic = sl_topology_topic(w->t.topology, w->topic);

	if (!sl_kafka_offsets(&w->t.k, w->group, w->t.k.names[topic], w->t.topology->topics[topic].partitions, offsets,
			      &e))
		return false;
	for (int32_t p = 0; p < w->t.topology->topics[topic].partitions; p++)
		sum += offsets[p] > 0 ? offsets[p] : 0;
	return sum >= w->at_least;
}

static void watch_open(struct watch *w, const char *prefix)
{
	struct sl_error e = { 0 };

	*w = (struct watch){ 0 };
	w->t.topology = kafka_topology(TALLIES);
	w->t.topology->kafka.prefix = prefix;
	if (!sl_kafka_connect(&w->t.k, w->t.topology, &e))
		fail_msg("%s", e.text);
}

/* Until step `step` has read so much of `topic`. */
static void wait_for(struct watch *w, const char *step, const char *topic, int64_t at_least)
{
	char group[SL_ID_MAX];

	sl_kafka_name(&w->t.k, group, "%s", step);
	w->group = group;
	w->topic = topic;
	w->at_least = at_least;
	if (!kafka_within(120, has_come, w))
		fail_msg("step '%s' does not come to offset %lld of '%s'", step, (long long)at_least, topic);
}

static void folder_new(char folder[64])
{
	snprintf(folder, 64, "/tmp/sluice-kafka-XXXXXX");
	assert_non_null(mkdtemp(folder));
}

static void folder_remove(const char *folder)
{
	struct sl_error e = { 0 };

	assert_true(sl_folder_remove(folder, &e));
}

/* Two processes at work; one is killed over and over in mid-stream, sometimes with its state folder gone. */
static void killed_in_mid_stream(void **state)
{
	const size_t bursts = 6, burst = 200;
	struct expected x;
	struct watch w;
	char folders[2][64];
	const char *prefix;
	pid_t pids[2];

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	expect(&x, TALLIES, bursts * burst);
	create_topics(TALLIES, prefix);
	watch_open(&w, prefix);
	for (int i = 0; i < 2; i++) {
		folder_new(folders[i]);
		pids[i] = kafka_worker_start(TALLIES, prefix, folders[i], false);
	}
	for (size_t i = 0; i < bursts; i++) {
		int victim = i % 2;

		kafka_feed(prefix, i * burst, burst);
		/* in the middle of it */
		wait_for(&w, "tally", "pairs.raw", (int64_t)(i * burst + burst / 4));
		assert_int_equal(kill(pids[victim], SIGKILL), 0);
		assert_int_equal(kafka_worker_wait(pids[victim]), 128 + SIGKILL);
		if (i % 3 == 2) {
			folder_remove(folders[victim]);
			folder_new(folders[victim]);
		}
		pids[victim] = kafka_worker_start(TALLIES, prefix, folders[victim], i + 1 == bursts);
	}
	/* the last one ends when all is done; the other one is stopped */
	assert_int_equal(kafka_worker_wait(pids[(bursts - 1) % 2]), SL_RUN_IDLE);
	assert_int_equal(kill(pids[bursts % 2], SIGTERM), 0);
	assert_int_equal(kafka_worker_wait(pids[bursts % 2]), SL_RUN_STOPPED);
	kafka_test_close(&w.t);
	folder_remove(folders[0]);
	folder_remove(folders[1]);
	must_be(&x, TALLIES, prefix);
}

/* A process that was stopped until the group gave its partitions away wakes up and must not write. */
static void a_zombie_changes_nothing(void **state)
{
	struct expected x;
	struct watch w;
	char folders[2][64];
	const char *prefix;
	pid_t pids[2];

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	expect(&x, TALLIES, 900);
	create_topics(TALLIES, prefix);
	watch_open(&w, prefix);
	folder_new(folders[0]);
	folder_new(folders[1]);
	pids[0] = kafka_worker_start(TALLIES, prefix, folders[0], false);
	kafka_feed(prefix, 0, 300);
	wait_for(&w, "tally", "pairs.raw", 75);
	assert_int_equal(kill(pids[0], SIGSTOP), 0);
	pids[1] = kafka_worker_start(TALLIES, prefix, folders[1], false);
	kafka_feed(prefix, 300, 300);
	wait_for(&w, "tally", "pairs.raw", 600); /* by the other one */
	assert_int_equal(kill(pids[0], SIGCONT), 0);
	kafka_feed(prefix, 600, 300);
	wait_for(&w, "tally", "pairs.raw", 900);
	assert_int_equal(kill(pids[1], SIGTERM), 0);
	assert_int_equal(kafka_worker_wait(pids[1]), SL_RUN_STOPPED);
	/* what was a zombie has all of it again */
	assert_int_equal(kill(pids[0], SIGTERM), 0);
	assert_int_equal(kafka_worker_wait(pids[0]), SL_RUN_STOPPED);
	kafka_test_close(&w.t);
	folder_remove(folders[0]);
	folder_remove(folders[1]);
	create_topics(TALLIES, prefix); /* and one who goes on */
	{
		struct kafka_node n = { 0 };
		struct sl_error e;

		kafka_node_open(&n, TALLIES, prefix);
		if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
			fail_msg("%s", e.text);
		kafka_node_drop(&n);
	}
	must_be(&x, TALLIES, prefix);
}

/* -- ends ------------------------------------------------------------------------------------------------- */

#define ONE(op) "topology: t\nsteps:\n  - { name: " op ", from: pairs.raw, to: { out: out }, batch_max: 20 }\n"

static void ends_with(const char *yaml, enum sl_run_end want, const char *text)
{
	const char *prefix;
	struct kafka_node n = { 0 };
	struct sl_error e;

	kafka_bootstrap();
	prefix = new_prefix();
	kafka_node_open(&n, yaml, prefix);
	kafka_feed(prefix, 0, 30);
	assert_int_equal(kafka_node_run(&n, &e), want);
	assert_non_null(strstr(e.text, text));
	kafka_node_drop(&n);
}

static void stuck_when_it_waits_in_vain(void **state)
{
	(void)state;
	ends_with("topology: t\nsteps:\n"
		  "  - { name: embed, from: pairs.raw, to: { embedded: pairs.embedded, gold: pairs.gold }, dim: 16 }\n"
		  "  - { name: patient, from: pairs.embedded, to: { out: out }, tables: { gold: pairs.gold } }\n",
		  SL_RUN_STUCK, "waits for the first gold pair");
}

/* Nothing is asked when there is no money, and that is what is said. */
static void stuck_without_money(void **state)
{
	(void)state;
	ends_with("topology: t\nendpoints: { oracle: { url: \"http://127.0.0.1:9/v1\", model: pythia, budget: 0 } }\n"
		  "prices: { pythia: { prompt: 1 } }\nsteps:\n"
		  "  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed } }\n",
		  SL_RUN_STUCK, "budget of endpoint 'oracle' is spent: $0 of $0");
}

static void a_broken_step_ends_the_run(void **state)
{
	(void)state;
	ends_with(ONE("broken"), SL_RUN_FAILED, "beyond repair");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(until_idle_is_as_embedded),   cmocka_unit_test(members_share_partitions),
		cmocka_unit_test(killed_in_mid_stream),        cmocka_unit_test(a_zombie_changes_nothing),
		cmocka_unit_test(stuck_when_it_waits_in_vain), cmocka_unit_test(stuck_without_money),
		cmocka_unit_test(a_broken_step_ends_the_run),
	};
	int code;

	if (kafka_worker(argc, argv, &code))
		return code;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
