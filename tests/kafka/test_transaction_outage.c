/* test_transaction_outage.c -- commits into brokers that fall silent or die, which are the test's own: KAFKA_OWN=1,
 * about three minutes. Else it skips. */
#include "with_transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char own[64]; /* their folder */

static int broker(const char *command, const char *more)
{
	char line[512];
	int status;

	snprintf(line, sizeof line, "bash tests/kafka/broker.sh %s %s %s >&2", command, own, more);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* properties: of broker.sh start. */
static int own_start(void **state, const char *properties)
{
	char line[512], brokers[256] = "";
	FILE *env;

	(void)state;
	snprintf(own, sizeof own, "/tmp/sl-transaction-XXXXXX");
	if (!mkdtemp(own) || broker("start", properties))
		return -1;
	snprintf(line, sizeof line, ". %s/env; echo $KAFKA_BOOTSTRAP", own);
	env = popen(line, "r");
	if (!env || !fgets(brokers, sizeof brokers, env) || pclose(env))
		return -1;
	brokers[strcspn(brokers, "\n")] = 0;
	return setenv("KAFKA_BOOTSTRAP", brokers, 1);
}

/* Transactions live for as long as their producers say nothing. */
#define PATIENT "--property transaction.abort.timed.out.transaction.cleanup.interval.ms=3600000"

static int own_dying(void **state)
{
	return own_start(state, PATIENT);
}

/* The controller does not fence a broker that was paused: while its partitions have no leader, a coordinator of
 * Kafka 4.3 takes them for deleted, and ends a transaction without their markers. */
static int own_sleeping(void **state)
{
	return own_start(state, PATIENT " --property broker.session.timeout.ms=600000");
}

static int own_strict(void **state)
{
	return own_start(state, "--property transaction.abort.timed.out.transaction.cleanup.interval.ms=500");
}

static int own_stop(void **state)
{
	char line[128];

	(void)state;
	snprintf(line, sizeof line, "rm -rf %s", own);
	return broker("stop", "") || system(line);
}

/* A commit in a thread, to be watched by its counters. */
struct committing {
	struct kafka_test kt;
	struct sl_runtime rt; /* for its stop */
	struct sl_txn *t;
	const char *topic;
	pthread_t thread;
	enum sl_txn_end end;
	struct sl_error e;
};

static void *commit_now(void *arg)
{
	struct committing *c = arg;

	c->end = sl_txn_commit(c->t, NULL, &c->e);
	return NULL;
}

static bool is_written(void *arg)
{
	struct committing *c = arg;

	return high(c->kt.k.raw_ends, c->topic) > 0;
}

static bool is_unknown(void *arg)
{
	return atomic_load(&((struct committing *)arg)->kt.k.counters.unknown) > 0;
}

static bool is_aborted(void *arg)
{
	return atomic_load(&((struct committing *)arg)->kt.k.counters.aborted) > 0;
}

static void start(struct committing *c)
{
	*c = (struct committing){ 0 };
	kafka_test_open(&c->kt, TXN_TOPOLOGY);
	c->kt.k.rt = &c->rt;
	c->topic = new_topic(1);
	c->t = opened(&c->kt.k, kafka_unique());
}

static void finish(struct committing *c)
{
	sl_txn_close(c->t);
	kafka_test_close(&c->kt);
}

/* Everything is written and nothing asked for yet, when the broker falls silent. */
static void commit_into_silence(struct committing *c)
{
	start(c);
	sl_txn_begin(c->t);
	text(c->t, c->topic, "k", "1", NULL);
	assert_true(kafka_within(30, is_written, c));
	assert_int_equal(broker("pause", "1"), 0);
	sl_thread_start(&c->thread, "commit", commit_now, c);
	assert_true(kafka_within(90, is_unknown, c));
}

static void unknown_and_lost(void **state)
{
	struct committing c;

	(void)state;
	commit_into_silence(&c);
	assert_int_equal(broker("kill", "1"), 0); /* and what has been sent to it */
	assert_int_equal(broker("restart", "1"), 0);
	sl_thread_join(c.thread);
	ends(c.end, SL_TXN_UNKNOWN, &c.e);
	assert_seen(c.topic, "");
	works(c.t, c.topic);
	finish(&c);
}

/* The broker wakes up and finds the commit, and the new producer that asks what became of it. */
static void unknown_and_either(void **state)
{
	struct committing c;
	struct kafka_seen seen;

	(void)state;
	commit_into_silence(&c);
	assert_int_equal(broker("resume", "1"), 0);
	sl_thread_join(c.thread);
	ends(c.end, SL_TXN_UNKNOWN, &c.e);
	kafka_read(c.topic, 0, true, &seen);
	works(c.t, c.topic);
	settle(&c.kt.k, c.topic);
	assert_seen(c.topic, seen.count ? "k=1 k=works" : "k=works");
	kafka_seen_release(&seen);
	assert_int_equal(c.kt.k.counters.unknown, 1);
	finish(&c);
}

static bool is_ended(void *arg)
{
	struct committing *c = arg;

	return high(c->kt.k.admin, c->topic) == 2; /* the last stable offset: behind the marker */
}

static bool is_there(void *arg)
{
	struct committing *c = arg;
	struct kafka_seen seen;
	size_t count;

	kafka_read(c->topic, 0, true, &seen);
	count = seen.count;
	kafka_seen_release(&seen);
	return count == 1;
}

/* A stop does not wait for the brokers; what is unknown stays so until somebody asks again. */
static void unknown_and_committed(void **state)
{
	struct committing c;

	(void)state;
	commit_into_silence(&c);
	atomic_store(&c.rt.stop, 1);
	sl_thread_join(c.thread);
	ends(c.end, SL_TXN_FAILED, &c.e);
	assert_int_equal(c.e.verdict, SL_RETRY);
	assert_non_null(strstr(c.e.text, "not resolved"));
	assert_int_equal(broker("resume", "1"), 0);
	atomic_store(&c.rt.stop, 0);
	assert_true(kafka_within(30, is_ended, &c)); /* it had arrived, and waited in a buffer */
	sl_txn_begin(c.t);
	text(c.t, c.topic, "k", "2", NULL);
	ends(sl_txn_commit(c.t, NULL, &c.e), SL_TXN_UNKNOWN, &c.e);
	assert_true(kafka_within(30, is_there, &c));
	works(c.t, c.topic);
	finish(&c);
}

static void silent_while_writing(void **state)
{
	struct sl_error e = { 0 };
	struct committing c;

	(void)state;
	start(&c);
	works(c.t, c.topic);
	assert_int_equal(broker("pause", "1"), 0);
	assert_null(sl_txn_open(&c.kt.k, kafka_unique(), &e)); /* in vain, but not for ever */
	assert_int_equal(e.verdict, SL_RETRY);
	sl_txn_begin(c.t);
	text(c.t, c.topic, "k", "1", NULL);
	sl_thread_start(&c.thread, "commit", commit_now, &c);
	assert_true(kafka_within(90, is_aborted, &c));
	assert_int_equal(broker("resume", "1"), 0);
	sl_thread_join(c.thread);
	ends(c.end, SL_TXN_FAILED, &c.e);
	assert_int_equal(c.e.verdict, SL_RETRY);
	works(c.t, c.topic);
	settle(&c.kt.k, c.topic);
	assert_seen(c.topic, "k=works k=works");
	finish(&c);
}

/* The broker gave up on it: to librdkafka that looks like being fenced, but nobody else has come. */
static void timed_out(void **state)
{
	struct committing c;

	(void)state;
	start(&c);
	sl_txn_begin(c.t);
	text(c.t, c.topic, "k", "1", NULL);
	assert_true(kafka_within(90, is_ended, &c));
	ends(sl_txn_commit(c.t, NULL, &c.e), SL_TXN_UNKNOWN, &c.e);
	assert_int_equal(c.kt.k.counters.fenced, 0);
	works(c.t, c.topic);
	settle(&c.kt.k, c.topic);
	assert_seen(c.topic, "k=works");
	finish(&c);
}

/* Numbers written twice, in one transaction each, while the broker is killed: what was committed is there twice and
 * once per topic, what was not is nowhere, what was unknown is either. */
enum { NUMBERS = 400, KILLS = 4 };

struct killing {
	_Atomic int done; /* numbers */
	_Atomic bool over;
};

static bool is_under_way(void *arg)
{
	struct killing *k = arg;
	static int seen;
	bool more = atomic_load(&k->done) > seen + 20 || atomic_load(&k->over);

	if (more)
		seen = atomic_load(&k->done);
	return more;
}

static void *kill_and_restart(void *arg)
{
	struct killing *k = arg;
	int bad = 0;

	for (int i = 0; i < KILLS && !atomic_load(&k->over); i++) {
		bad |= !kafka_within(120, is_under_way, k);
		bad |= broker("kill", "1");
		bad |= broker("restart", "1");
	}
	return bad ? k : NULL;
}

static void count_numbers(const char *topic, int seen[NUMBERS])
{
	struct kafka_seen all;

	kafka_read(topic, 0, true, &all);
	for (size_t i = 0; i < all.count; i++) {
		int n = 0;

		for (size_t j = 0; j < all.records[i].value.size; j++)
			n = 10 * n + ((const char *)all.records[i].value.data)[j] - '0';
		assert_true(n >= 0 && n < NUMBERS);
		seen[n]++;
	}
	kafka_seen_release(&all);
}

static void killed_brokers(void **state)
{
	static int first[NUMBERS], second[NUMBERS];
	enum sl_txn_end how[NUMBERS];
	struct killing k = { 0 };
	struct committing c;
	const char *other;
	void *bad;

	(void)state;
	start(&c);
	other = new_topic(1);
	sl_thread_start(&c.thread, "killer", kill_and_restart, &k);
	for (int i = 0; i < NUMBERS; i++) {
		struct sl_error e = { 0 };
		char number[16];

		snprintf(number, sizeof number, "%d", i);
		sl_txn_begin(c.t);
		text(c.t, c.topic, "k", number, NULL);
		text(c.t, other, "k", number, NULL);
		how[i] = sl_txn_commit(c.t, NULL, &e);
		if (how[i] == SL_TXN_FENCED || (how[i] == SL_TXN_FAILED && e.verdict != SL_RETRY))
			fail_msg("%d ended %d: %s", i, how[i], e.text);
		atomic_fetch_add(&k.done, 1);
	}
	atomic_store(&k.over, true);
	pthread_join(c.thread, &bad);
	assert_null(bad);
	works(c.t, new_topic(1));
	settle(&c.kt.k, c.topic);
	settle(&c.kt.k, other);
	count_numbers(c.topic, first);
	count_numbers(other, second);
	for (int i = 0; i < NUMBERS; i++) {
		int wanted = how[i] == SL_TXN_DONE ? 1 : how[i] == SL_TXN_UNKNOWN ? first[i] : 0;

		if (first[i] != wanted || second[i] != wanted || wanted > 1)
			fail_msg("%d ended %d and is there %d and %d times", i, how[i], first[i], second[i]);
	}
	printf("%" PRId64 " committed, %" PRId64 " aborted, %" PRId64 " unknown\n", c.kt.k.counters.committed,
	       c.kt.k.counters.aborted, c.kt.k.counters.unknown);
	finish(&c);
}

int main(void)
{
	const struct CMUnitTest dying[] = {
		cmocka_unit_test(unknown_and_lost),
		cmocka_unit_test(killed_brokers),
	};
	const struct CMUnitTest sleeping[] = {
		cmocka_unit_test(unknown_and_either),
		cmocka_unit_test(unknown_and_committed),
		cmocka_unit_test(silent_while_writing),
	};
	const struct CMUnitTest strict[] = { cmocka_unit_test(timed_out) };
	int failed;

	if (!getenv("KAFKA_OWN")) {
		fprintf(stderr, "skipped: brokers that fall silent or die; KAFKA_OWN=1 starts some for that\n");
		return 0;
	}
	failed = cmocka_run_group_tests_name("dying broker", dying, own_dying, own_stop);
	failed += cmocka_run_group_tests_name("sleeping broker", sleeping, own_sleeping, own_stop);
	failed += cmocka_run_group_tests_name("strict broker", strict, own_strict, own_stop);
	return failed;
}
