/* test_member.c -- members of consumer groups on a real broker: failures injected into their commits, rebalances
 * while calls are in flight, steps slower than the group's patience; and their inbox, which needs no broker. */
#include "with_runtime.h"

#include "tests/actors.h"
#include "topology/kafka/member.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { &sl_actor_tally, &sl_actor_asker, NULL };

static const char *new_prefix(void)
{
	static char prefix[100];

	snprintf(prefix, sizeof prefix, "%s.", kafka_unique());
	return prefix;
}

/* -- the inbox -------------------------------------------------------------------------------------- */

static void add(struct sl_inbox *b, int64_t offset, const char *value)
{
	const struct sl_record r = { .offset = offset,
				     .time_ms = offset * 2,
				     .key = sl_text("k"),
				     .value = value ? sl_text(value) : (struct sl_bytes){ NULL, 0 },
				     .headers = { NULL, 0 } };

	sl_inbox_add(b, &r);
}

static void an_inbox_finds_by_offset(void **state)
{
	static const struct {
		int64_t offset;
		size_t index;
	} finds[] = { { 0, 0 }, { 3, 0 }, { 4, 1 }, { 7, 1 }, { 8, 2 }, { 9, 3 }, { 100, 3 } };
	struct sl_inbox b = { 0 };

	(void)state;
	add(&b, 3, "three");
	add(&b, 7, NULL); /* a tombstone */
	add(&b, 8, "");
	for (size_t i = 0; i < sizeof finds / sizeof *finds; i++)
		assert_int_equal(sl_inbox_find(&b, finds[i].offset), finds[i].index);
	assert_int_equal(b.next, 9);
	assert_true(sl_is(b.records[0]->value, "three"));
	assert_int_equal(b.records[0]->time_ms, 6);
	assert_null(b.records[1]->value.data);
	assert_non_null(b.records[2]->value.data);
	assert_int_equal(b.records[2]->value.size, 0);
	sl_inbox_drop(&b, 8);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.records[0]->offset, 8);
	sl_inbox_drop(&b, 0); /* nothing below */
	assert_int_equal(b.count, 1);
	sl_inbox_drop(&b, 9);
	assert_int_equal(b.count, 0);
	assert_int_equal(b.bytes, 0);
	assert_int_equal(b.next, 9);
	sl_inbox_release(&b);
}

static void an_inbox_is_bounded(void **state)
{
	static char large[100000];
	struct sl_inbox b = { 0 };
	int64_t n = 0;

	(void)state;
	memset(large, 'x', sizeof large - 1);
	while (!sl_inbox_full(&b))
		add(&b, n++, large);
	assert_in_range(n, 10, 1000); /* by bytes */
	sl_inbox_drop(&b, n / 2);
	assert_false(sl_inbox_full(&b));
	sl_inbox_release(&b);
	for (n = 0; !sl_inbox_full(&b); n++)
		add(&b, n, "small");
	assert_in_range(n, 1000, 100000); /* by records */
	sl_inbox_release(&b);
}

/* -- failures that are injected ------------------------------------------------------------------------ */

#define TALLIES                                                                                                        \
	"topology: t\npartitions: 4\ntopics: { odd: { retention: keep } }\nsteps:\n"                                   \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even }, batch_max: 16 }\n"                          \
	"  - { name: again, operator: tally, from: odd, to: { odd: o2, even: e2 }, batch_max: 5 }\n"

static const char *const tally_topics[] = { "odd", "even", "o2", "e2", "dead.tally", "dead.again", NULL };

struct faults {
	const char *site; /* NULL: any */
	int one_in;
	_Atomic int64_t calls, injected;
	int64_t most;
};

static bool fault(void *arg, const char *site)
{
	struct faults *f = arg;

	if ((f->site && strcmp(f->site, site) != 0) || atomic_load(&f->injected) >= f->most)
		return false;
	if ((atomic_fetch_add(&f->calls, 1) + 1) % f->one_in)
		return false;
	atomic_fetch_add(&f->injected, 1);
	return true;
}

/* The same topics and stores in the end as without. */
static void play_with_faults(const char *site, int one_in, int64_t most)
{
	struct faults f = { .site = site, .one_in = one_in, .most = most };
	struct kafka_node n = { .options = { .fault = fault, .arg = &f } };
	struct sl_buf want = { 0 }, want_stores = { 0 }, got = { 0 };
	struct sl_trial *t = sl_trial_new(TALLIES, NULL, 0);
	const char *prefix;
	struct sl_error e;

	assert_true(kafka_feed_trial(t, 0, 400));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	kafka_outcome_trial(t, tally_topics, &want);
	kafka_stores(t->rt, &want_stores);
	sl_trial_free(t);
	prefix = new_prefix();
	kafka_node_open(&n, TALLIES, prefix);
	kafka_feed(prefix, 0, 400);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	assert_true(atomic_load(&f.injected) > 0);
	kafka_stores(n.rt, &got);
	kafka_must_equal(&want_stores, &got);
	kafka_node_drop(&n);
	kafka_outcome(TALLIES, prefix, tally_topics, &got);
	kafka_must_equal(&want, &got);
	sl_buf_release(&want);
	sl_buf_release(&want_stores);
	sl_buf_release(&got);
}

static void an_aborted_commit_is_played_again(void **state)
{
	(void)state;
	kafka_bootstrap();
	play_with_faults("commit.begin", 2, 3);
}

/* The brokers have it, the local store does not: restored from the changelog. */
static void a_lost_local_write_is_restored(void **state)
{
	(void)state;
	kafka_bootstrap();
	play_with_faults("commit.write", 2, 3);
}

static void operators_that_fail_play_again(void **state)
{
	(void)state;
	kafka_bootstrap();
	play_with_faults(NULL, 1999, 4);
}

/* -- calls ------------------------------------------------------------------------------------------------ */

#define ASKER                                                                                                          \
	"topology: t\npartitions: 2\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\ntopics:\n"                \
	"  pairs.raw: { partitions: 2 }\nsteps:\n"                                                                     \
	"  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed }, batch_max: 10 }\n"

/* One oracle for all runtimes of the test, which answers when it is allowed to. */
static struct {
	pthread_mutex_t lock;
	bool open;
	struct {
		struct sl_outcall *call;
		struct desk *desk;
	} calls[4096];
	size_t count, paid, twice;
	struct sl_id answered[4096];
} office = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct desk {
	struct sl_endpoint base;
};

/* Under the lock. */
static void answer(size_t which, bool closing)
{
	struct sl_outcall *call = office.calls[which].call;
	enum sl_reply reply = sl_oracle_reply(call->body);

	office.calls[which] = office.calls[--office.count];
	if (closing || reply == SL_REPLY_TIMEOUT || reply == SL_REPLY_500) {
		call->done(call,
			   &(struct sl_settlement){ .status = closing || reply == SL_REPLY_TIMEOUT ? SL_GAVE_UP : 500,
						    .why = "no" });
		return;
	}
	for (size_t i = 0; i < office.paid; i++)
		office.twice += sl_id_equal(office.answered[i], call->key);
	assert_true(office.paid < 4096);
	office.answered[office.paid++] = call->key;
	call->done(call,
		   &(struct sl_settlement){ .status = 200,
					    .body = sl_text(reply == SL_REPLY_AGAIN ? SL_SAID_AGAIN : SL_SAID_YES) });
}

static void desk_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	sl_lock(&office.lock);
	assert_true(office.count < 4096);
	office.calls[office.count].call = call;
	office.calls[office.count++].desk = (struct desk *)e;
	sl_unlock(&office.lock);
}

static void desk_free(struct sl_endpoint *e)
{
	sl_lock(&office.lock);
	for (size_t i = office.count; i-- > 0;)
		if (office.calls[i].desk == (struct desk *)e)
			answer(i, true);
	sl_unlock(&office.lock);
	free(e);
}

static struct sl_endpoint *desk_new(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = desk_send, .free = desk_free };
	struct desk *d = sl_calloc(1, sizeof *d);

	(void)arg;
	d->base = (struct sl_endpoint){ .ops = &ops, .name = def->name };
	return &d->base;
}

static void office_reset(void)
{
	sl_lock(&office.lock);
	office.open = false;
	office.paid = office.twice = 0;
	assert_int_equal(office.count, 0);
	sl_unlock(&office.lock);
}

/* The oracle's turn: a clerk, called by whoever waits for something. */
static void office_turn(void)
{
	sl_lock(&office.lock);
	while (office.open && office.count)
		answer(office.count - 1, false);
	sl_unlock(&office.lock);
}

struct runner {
	struct kafka_node n;
	pthread_t thread;
	struct sl_run_options options;
	enum sl_run_end end;
	struct sl_error e;
};

static void *run_thread(void *arg)
{
	struct runner *r = arg;

	r->end = sl_runtime_run(r->n.rt, &r->options, &r->e);
	return NULL;
}

static void runner_start(struct runner *r, const char *yaml, const char *prefix)
{
	r->n.options.endpoint = desk_new;
	kafka_node_open(&r->n, yaml, prefix);
	sl_thread_start(&r->thread, "runner", run_thread, r);
}

static void runner_stop(struct runner *r)
{
	sl_runtime_stop(r->n.rt);
	sl_thread_join(r->thread);
	if (r->end != SL_RUN_STOPPED)
		fail_msg("%s", r->e.text);
}

static bool asked_and_waiting(void *arg)
{
	size_t count;

	sl_lock(&office.lock);
	count = office.count;
	sl_unlock(&office.lock);
	return count >= *(size_t *)arg;
}

static bool rebalanced(void *arg)
{
	struct runner *r = arg;

	office_turn();
	return atomic_load(&r->n.rt->kafka->counters.rebalances) > 0;
}

static size_t records(const char *prefix, const char *yaml, struct sl_buf *text)
{
	static const char *const topics[] = { "yes", "unclear", "failed", NULL };
	size_t n = 0;

	kafka_outcome(yaml, prefix, topics, text);
	for (size_t i = 0; i < text->size; i++)
		n += text->data[i] == '\n';
	return n;
}

struct all_out {
	struct runner *a, *b;
	size_t want;
};

static bool all_read(void *arg)
{
	struct all_out *x = arg;
	int64_t committed, lag, sum = 0;
	struct sl_error e = { 0 };
	struct sl_runtime *rt = x->b->n.rt;

	office_turn();
	for (int32_t p = 0; p < 2; p++) {
		if (!rt->stream->progress(rt, &rt->topology->steps[0], p, &committed, &lag, &e))
			return false;
		sum += lag + (committed == 0);
	}
	return sum == 0;
}

static void send_questions(const char *prefix, size_t count)
{
	rd_kafka_t *rk = kafka_producer(NULL);
	char topic[200];

	snprintf(topic, sizeof topic, "%spairs.raw", prefix);
	for (size_t i = 0; i < count; i++) {
		struct sl_arena a = { 0 };
		struct sl_buf value = { 0 };
		struct sl_pair p =
			sl_trial_pair(&a, sl_arena_print(&a, "question %zu", i), sl_arena_print(&a, "%zu", i), "no");
		struct sl_record r = { .time_ms = 1000 + (int64_t)i, .key = sl_id_bytes(&p.group) };

		p.arrival.file = sl_text("test");
		p.time_ms = r.time_ms;
		sl_pair_encode(&p, &value);
		r.value = sl_buf_bytes(&value);
		kafka_produce(rk, topic, (int32_t)(i % 2), &r);
		sl_buf_release(&value);
		sl_arena_release(&a);
	}
	rd_kafka_destroy(rk);
}

/* Another process comes while answers are awaited: they are kept before the partition goes, and nobody asks again. */
static void calls_in_flight_are_kept_at_a_rebalance(void **state)
{
	struct runner a = { 0 }, b = { 0 };
	struct all_out out = { &a, &b, 60 };
	struct sl_buf text = { 0 };
	const char *prefix;
	size_t some = 1; /* how many of the 60 a first batch holds is for the brokers to say */

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	office_reset();
	runner_start(&a, ASKER, prefix);
	send_questions(prefix, 60);
	assert_true(kafka_within(60, asked_and_waiting, &some));
	runner_start(&b, ASKER, prefix);
	sl_lock(&office.lock);
	office.open = true;
	sl_unlock(&office.lock);
	assert_true(kafka_within(60, rebalanced, &b));
	assert_true(kafka_within(60, all_read, &out));
	runner_stop(&a);
	runner_stop(&b);
	kafka_node_drop(&a.n);
	kafka_node_drop(&b.n);
	assert_int_equal(records(prefix, ASKER, &text), 60);
	assert_int_equal(office.twice, 0);
	sl_buf_release(&text);
}

/* A step that awaits answers for longer than a consumer may be silent stays in its group: it polls. */
static const struct sl_property strict[] = { { .name = "session.timeout.ms", .value = "6000" },
					     { .name = "max.poll.interval.ms", .value = "6000" } };

static bool time_is_over(void *until_ns)
{
	return sl_monotonic_ns() > *(int64_t *)until_ns;
}

static void a_slow_step_stays_in_its_group(void **state)
{
	struct runner a = { 0 };
	struct all_out out = { &a, &a, 60 };
	struct sl_buf text = { 0 };
	const char *prefix;
	int64_t until_ns;
	size_t some = 1; /* how many of the 60 a first batch holds is for the brokers to say */

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	office_reset();
	a.n.options.endpoint = desk_new;
	kafka_node_open(&a.n, ASKER, prefix);
	a.n.topology->kafka.properties = strict;
	sl_thread_start(&a.thread, "runner", run_thread, &a);
	send_questions(prefix, 60);
	assert_true(kafka_within(60, asked_and_waiting, &some));
	until_ns = sl_monotonic_ns() + INT64_C(9000000000);
	assert_true(kafka_within(20, time_is_over, &until_ns));
	assert_int_equal(atomic_load(&a.n.rt->kafka->counters.lost), 0);
	assert_int_equal(atomic_load(&a.n.rt->kafka->counters.rebalances), 1);
	sl_lock(&office.lock);
	office.open = true;
	sl_unlock(&office.lock);
	assert_true(kafka_within(60, all_read, &out));
	runner_stop(&a);
	kafka_node_drop(&a.n);
	assert_int_equal(records(prefix, ASKER, &text), 60);
	sl_buf_release(&text);
}

/* -- more than fits into an inbox ------------------------------------------------------------------------------ */

static void a_backlog_larger_than_the_inbox(void **state)
{
	struct kafka_node n = { 0 };
	struct sl_buf want = { 0 }, got = { 0 };
	struct sl_trial *t;
	const char *prefix;
	struct sl_error e;

	(void)state;
	kafka_bootstrap();
	prefix = new_prefix();
	t = sl_trial_new(TALLIES, NULL, 0);
	assert_true(kafka_feed_trial(t, 0, 12000));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	kafka_outcome_trial(t, tally_topics, &want);
	sl_trial_free(t);
	kafka_node_open(&n, TALLIES, prefix);
	kafka_feed(prefix, 0, 12000);
	if (kafka_node_run(&n, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	kafka_node_drop(&n);
	kafka_outcome(TALLIES, prefix, tally_topics, &got);
	kafka_must_equal(&want, &got);
	sl_buf_release(&want);
	sl_buf_release(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_inbox_finds_by_offset),
		cmocka_unit_test(an_inbox_is_bounded),
		cmocka_unit_test(an_aborted_commit_is_played_again),
		cmocka_unit_test(a_lost_local_write_is_restored),
		cmocka_unit_test(operators_that_fail_play_again),
		cmocka_unit_test(calls_in_flight_are_kept_at_a_rebalance),
		cmocka_unit_test(a_slow_step_stays_in_its_group),
		cmocka_unit_test(a_backlog_larger_than_the_inbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
