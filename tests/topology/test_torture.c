/* test_torture.c -- the runtime played in every way it may be played (trial.h): other batches, other
 * orders, a failure at every call, a crash at every operation. Honest operators end the same; two that
 * bend a rule, and a commit in the wrong order, must not. */
#include "tests/actors.h"
#include "tests/trial.h"
#include "topology/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

extern const struct sl_operator sl_operator_dedupe, sl_operator_embed;
const struct sl_operator *const sl_operators[] = {
	&sl_operator_dedupe, &sl_operator_embed,  &sl_actor_tally,
	&sl_actor_expiring,  &sl_actor_lookup,    &sl_actor_asker,
	&sl_actor_hasty,     &sl_actor_forgetful, NULL,
};

/* -- what is fed ------------------------------------------------------------------------------ */

/* `count` pairs of few groups, one bad, one undecodable, a tombstone; 10 ms apart. */
static bool feed_groups(struct sl_trial *t, size_t count)
{
	struct sl_arena a = { 0 };
	struct sl_pair *pairs = sl_arena_zalloc(&a, count * sizeof *pairs);
	struct sl_record broken = { .key = sl_text("k"), .value = sl_text("not a pair"), .time_ms = 1000 };
	struct sl_record tombstone = { .key = sl_text("k"), .time_ms = 1000 };
	uint64_t seed = 7;
	bool done;

	for (size_t i = 0; i < count; i++) {
		const char *prompt = i == 5 ? "bad one" : sl_arena_print(&a, "group %d", (int)(sl_random(&seed) % 3));

		pairs[i] = sl_trial_pair(&a, prompt, sl_arena_print(&a, "answer %zu", i), "no");
		pairs[i].time_ms = 1000 + 10 * (int64_t)i;
	}
	done = sl_trial_feed(t, "pairs.raw", pairs, count / 2) && sl_trial_feed_record(t, "pairs.raw", &broken) &&
	       sl_trial_feed_record(t, "pairs.raw", &tombstone) &&
	       sl_trial_feed(t, "pairs.raw", pairs + count / 2, count - count / 2);
	sl_arena_release(&a);
	return done;
}

static bool feed_few(struct sl_trial *t, void *arg)
{
	(void)arg;
	return feed_groups(t, 12);
}

static const char first[] =
	"the quick brown fox jumps over the lazy dog while the patient engineer counts every record of the log";

/* Copies, near-copies, swapped copies, gold before and after its raw copy, empty answers. */
static bool feed_copies(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair p[9];
	bool done;

	(void)arg;
	p[0] = sl_trial_pair(&a, "tell me about foxes and dogs please", first,
			     "a short answer that nobody will like much");
	p[1] = p[0];
	p[2] = sl_trial_pair(&a, "tell me about foxes and dogs please", "a short answer that nobody will like much",
			     first);
	p[3] = sl_trial_pair(&a, "tell me about foxes and dogs please", sl_arena_print(&a, "%s file", first),
			     "a short answer that nobody will like much");
	p[4] = p[0];
	p[4].gold = (struct sl_gold){ .present = true, .verdict = sl_text("chosen"), .sample = sl_text("random") };
	p[5] = sl_trial_pair(&a, "what is two and two", "four", "five");
	p[5].gold = (struct sl_gold){ .present = true, .verdict = sl_text("chosen"), .sample = sl_text("given") };
	p[6] = sl_trial_pair(&a, "what is two and two", "five", "four");
	p[7] = sl_trial_pair(&a, "empty", "", "not empty");
	p[8] = sl_trial_pair(&a, "something else altogether", first, "no");
	for (size_t i = 0; i < 9; i++)
		p[i].time_ms = 5000 + (int64_t)i;
	done = sl_trial_feed(t, "pairs.raw", p, 9);
	sl_arena_release(&a);
	return done;
}

static bool feed_gold(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair p[4];
	bool done;

	(void)arg;
	for (size_t i = 0; i < 4; i++) {
		p[i] = sl_trial_pair(&a, sl_arena_print(&a, "group %d", (int)i % 2), sl_arena_print(&a, "gold %zu", i),
				     "no");
		p[i].gold =
			(struct sl_gold){ .present = true, .verdict = sl_text("chosen"), .sample = sl_text("given") };
		p[i].time_ms = 100;
	}
	done = sl_trial_feed(t, "pairs.raw", p, 4);
	sl_arena_release(&a);
	return done;
}

/* -- honest ones -------------------------------------------------------------------------------- */

#define TALLIES                                                                                                        \
	"topology: tallies\npartitions: 2\nsteps:\n"                                                                   \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even } }\n"                                         \
	"  - { name: again, operator: tally, from: odd, to: { odd: o2, even: e2 } }\n"
#define COPIES                                                                                                         \
	"topology: copies\nsteps:\n"                                                                                   \
	"  - { name: dedupe, from: pairs.raw, to: { unique: unique, duplicate: d, conflict: c, contaminated: x } }\n"
#define CHAIN COPIES "  - { name: embed, from: unique, to: { embedded: embedded, gold: pairs.gold }, dim: 16 }\n"
#define EXPIRING                                                                                                       \
	"topology: t\nsteps:\n"                                                                                        \
	"  - { name: expiring, from: pairs.raw, to: { fresh: fresh, stale: stale } }\n"
#define LOOKUP CHAIN "  - { name: lookup, from: embedded, to: { out: out }, tables: { gold: pairs.gold } }\n"

static const struct sl_trial_case honest[] = {
	{ .name = "tally", .yaml = TALLIES, .feed = feed_few },
	{ .name = "tally in small segments",
	  .yaml = TALLIES "topics:\n  odd: { segment: 1KiB }\n  even: { segment: 1KiB }\n  o2: { segment: 1KiB }\n",
	  .feed = feed_few },
	{ .name = "tally inline",
	  .yaml = TALLIES "inline: [odd]\ntopics:\n  pairs.raw: { partitions: 2 }\n",
	  .feed = feed_few },
	{ .name = "expiring by record", .yaml = EXPIRING, .feed = feed_few },
	{ .name = "dedupe", .yaml = COPIES, .feed = feed_copies },
	{ .name = "dedupe, embed", .yaml = CHAIN, .feed = feed_copies },
	{ .name = "dedupe, embed inline", .yaml = CHAIN "inline: [unique]\n", .feed = feed_copies },
	{ .name = "a table, frozen", .yaml = LOOKUP, .freeze = true, .feed_first = feed_gold, .feed = feed_few },
};

static void honest_ones_end_the_same(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof honest / sizeof *honest; i++) {
		struct sl_trial_case c = honest[i];
		size_t runs, differ;

		c.batch_most = 14;
		c.schedules = 20;
		differ = sl_trial_torture(&c, &runs, stderr);
		print_message("%-26s %5zu runs, %zu differ\n", c.name, runs, differ);
		failed += differ;
		assert_true(runs > 100);
	}
	assert_int_equal(failed, 0);
}

/* Asking: the answers are a function of the questions, when they come is not. */

static struct sl_endpoint *oracle(void *arg, const struct sl_endpoint_def *def)
{
	(void)def;
	return sl_oracle_endpoint(arg);
}

static void world(void *arg, uint64_t *seed)
{
	sl_oracle_turn(arg, seed);
}

static const struct sl_trial_case asking = {
	.name = "asker, tally",
	.yaml = "topology: t\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
		"  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed } }\n"
		"  - { name: tally, from: yes, to: { odd: odd, even: even } }\n",
	.feed = feed_few,
	.endpoint = oracle,
	.world = world,
	.batch_most = 14,
	.schedules = 20,
};

static void answers_may_come_at_any_time(void **state)
{
	struct sl_oracle *o = sl_oracle_new();
	struct sl_trial_case c = asking;
	size_t runs, differ;

	(void)state;
	c.arg = o;
	differ = sl_trial_torture(&c, &runs, stderr);
	print_message("%-26s %5zu runs, %zu differ\n", c.name, runs, differ);
	assert_int_equal(differ, 0);
	sl_oracle_free(o);
}

/* -- dishonest ones --------------------------------------------------------------------------------- */

static const struct sl_trial_case dishonest[] = {
	{ .name = "truth kept in self",
	  .yaml = "topology: t\nsteps:\n"
		  "  - { name: forgetful, from: pairs.raw, to: { odd: odd, even: even } }\n",
	  .feed = feed_few },
	{ .name = "expiry decided by tick",
	  .yaml = "topology: t\nsteps:\n"
		  "  - { name: hasty, from: pairs.raw, to: { fresh: fresh, stale: stale } }\n",
	  .feed = feed_few },
	{ .name = "store written before logs", .yaml = TALLIES, .feed = feed_few, .sync_late = true },
};

static void dishonest_ones_are_caught(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dishonest / sizeof *dishonest; i++) {
		struct sl_trial_case c = dishonest[i];
		size_t runs, differ;

		c.batch_most = 14;
		c.schedules = 20;
		differ = sl_trial_torture(&c, &runs, NULL);
		print_message("%-26s %5zu runs, %zu differ\n", c.name, runs, differ);
		assert_true(differ > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_ones_end_the_same),
		cmocka_unit_test(answers_may_come_at_any_time),
		cmocka_unit_test(dishonest_ones_are_caught),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
