/* test_run.c -- worker threads on real files: until idle, stopped and resumed, stuck, woken, backed off, failed,
 * asking an endpoint that answers from a thread of its own, and operations from outside meanwhile. Run it under
 * ThreadSanitizer. */
#include "tests/actors.h"
#include "tests/trial.h"

#include "topology/base/file.h"
#include "topology/base/log.h"
#include "topology/base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define PAIRS 400

/* -- operators that reach into the test -------------------------------------------------------- */

static struct sl_runtime *to_stop; /* by stopper, once */
static atomic_int failures_left;   /* of flaky */

static const char *const out_ports[] = { "out", NULL };

static enum sl_verdict stopper_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++)
		sl_emit(t, 0, &b->pairs[i]);
	if (to_stop)
		sl_runtime_stop(to_stop);
	return SL_OK;
}
static const struct sl_operator stopper = {
	.name = "stopper", .version = "1", .ports = out_ports, .process = stopper_process
};

static enum sl_verdict flaky_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++)
		sl_emit(t, 0, &b->pairs[i]);
	if (atomic_load(&failures_left) > 0 && atomic_fetch_sub(&failures_left, 1) > 0)
		return sl_fail(t, SL_RETRY, "flaky today");
	return SL_OK;
}
static const struct sl_operator flaky = {
	.name = "flaky", .version = "1", .ports = out_ports, .process = flaky_process
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

static const char *const model_tables[] = { "gold", NULL };

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
	.name = "patient", .version = "1", .ports = out_ports, .tables = model_tables, .process = patient_process
};

/* Asks before it looks at the table. */
static enum sl_verdict caller_ask(struct sl_task *t, void *self, const struct sl_batch *b)
{
	const struct sl_call call = { .endpoint = "oracle", .model = "m", .body = sl_text("hello") };

	(void)self;
	(void)b;
	sl_ask(t, &call);
	return SL_OK;
}
static const struct sl_operator caller = { .name = "caller",
					   .version = "1",
					   .ports = out_ports,
					   .tables = model_tables,
					   .ask = caller_ask,
					   .process = patient_process };

extern const struct sl_operator sl_operator_embed;
const struct sl_operator *const sl_operators[] = { &sl_operator_embed, &sl_actor_tally, &sl_actor_asker,
						   &stopper,           &flaky,          &broken,
						   &patient,           &caller,         NULL };

/* -- an endpoint with a thread -------------------------------------------------------------------- */

static void (*before_answer)(void); /* called by the phone, once */

struct phone {
	struct sl_endpoint base;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t rang;
	struct sl_outcall *calls[1024];
	size_t count;
	bool hung_up;
};

static void *operator_on_the_line(void *arg)
{
	struct phone *p = arg;

	sl_lock(&p->lock);
	while (!p->hung_up || p->count) {
		struct sl_settlement settled;
		struct sl_outcall *call;
		enum sl_reply reply;

		if (p->count == 0) {
			sl_cond_wait(&p->rang, &p->lock);
			continue;
		}
		call = p->calls[--p->count]; /* the latest first */
		sl_unlock(&p->lock);
		if (before_answer)
			before_answer();
		before_answer = NULL;
		reply = sl_oracle_reply(call->body);
		if (reply == SL_REPLY_TIMEOUT)
			settled = (struct sl_settlement){ .status = SL_GAVE_UP, .why = "no answer in time" };
		else if (reply == SL_REPLY_500)
			settled = (struct sl_settlement){ .status = 500, .why = "status 500" };
		else
			settled = (struct sl_settlement){
				.status = 200, .body = sl_text(reply == SL_REPLY_AGAIN ? SL_SAID_AGAIN : SL_SAID_YES)
			};
		call->done(call, &settled);
		sl_lock(&p->lock);
	}
	sl_unlock(&p->lock);
	return NULL;
}

static void phone_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	struct phone *p = (struct phone *)e;

	sl_lock(&p->lock);
	assert_true(p->count < 1024);
	p->calls[p->count++] = call;
	sl_cond_signal(&p->rang);
	sl_unlock(&p->lock);
}

static void phone_free(struct sl_endpoint *e)
{
	struct phone *p = (struct phone *)e;

	sl_lock(&p->lock);
	p->hung_up = true;
	sl_cond_signal(&p->rang);
	sl_unlock(&p->lock);
	sl_thread_join(p->thread);
	sl_mutex_destroy(&p->lock);
	sl_cond_destroy(&p->rang);
	free(p);
}

static struct sl_endpoint *phone_new(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = phone_send, .free = phone_free };
	struct phone *p = sl_calloc(1, sizeof *p);

	(void)arg;
	p->base = (struct sl_endpoint){ .ops = &ops, .name = def->name };
	sl_mutex_init(&p->lock);
	sl_cond_init(&p->rang);
	sl_thread_start(&p->thread, "phone", operator_on_the_line, p);
	return &p->base;
}

/* -- helpers ------------------------------------------------------------------------------------------ */

static bool feed_from(struct sl_trial *t, size_t first, size_t count)
{
	struct sl_arena a = { 0 };
	struct sl_pair *pairs = sl_arena_zalloc(&a, count * sizeof *pairs);
	bool done;

	for (size_t i = 0; i < count; i++) {
		size_t n = first + i;

		pairs[i] = sl_trial_pair(&a, sl_arena_print(&a, n % 50 == 7 ? "bad %zu" : "group %zu", n % 37),
					 sl_arena_print(&a, "answer %zu", n), "no");
		pairs[i].time_ms = 1000 + (int64_t)n;
	}
	done = sl_trial_feed(t, "pairs.raw", pairs, count);
	sl_arena_release(&a);
	return done;
}

static bool feed(struct sl_trial *t, void *arg)
{
	(void)arg;
	return feed_from(t, 0, PAIRS);
}

struct bench {
	char folder[64];
	struct sl_trial_case c;
	struct sl_trial *t;
};

static void set_up(struct bench *b, const char *yaml)
{
	memset(b, 0, sizeof *b);
	snprintf(b->folder, sizeof b->folder, "/tmp/sluice-run-XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	b->c = (struct sl_trial_case){ .yaml = yaml, .feed = feed, .endpoint = phone_new, .folder = b->folder };
	b->t = sl_trial_case_new(&b->c, NULL);
}

static void again(struct bench *b)
{
	if (!sl_trial_restart(b->t, SL_TWIN_KILL))
		fail_msg("%s", b->t->error.text);
}

static void tear_down(struct bench *b)
{
	struct sl_error e = { 0 };

	sl_trial_free(b->t);
	assert_true(sl_folder_remove(b->folder, &e));
}

static void show(void *arg, struct sl_runtime *rt)
{
	struct sl_buf json = { 0 }, text = { 0 };
	struct sl_error e = { 0 };

	if (arg)
		++*(int *)arg;
	assert_true(sl_runtime_status(rt, &json, &e));
	assert_true(sl_runtime_metrics(rt, &text, &e));
	sl_buf_release(&json);
	sl_buf_release(&text);
}

static enum sl_run_end run(struct bench *b, struct sl_error *e)
{
	struct sl_run_options options = { .until_idle = true, .threads = 4, .progress = show };

	memset(e, 0, sizeof *e);
	return sl_runtime_run(b->t->rt, &options, e);
}

/* The forced tick of a stepped run leaves its mark in no digest: both may be compared. */
static void must_be_as_stepped(struct bench *b)
{
	struct sl_trial_case c = b->c;
	struct sl_buf want = { 0 }, got = { 0 };
	struct sl_trial *plain;

	c.folder = NULL;
	c.endpoint = NULL;
	plain = sl_trial_case_new(&c, NULL);
	assert_int_equal(sl_trial_play(plain, 0), SL_TRIAL_IDLE);
	sl_trial_digest(plain, &want);
	sl_trial_digest(b->t, &got);
	assert_string_equal(sl_buf_text(&want), sl_buf_text(&got));
	sl_buf_release(&want);
	sl_buf_release(&got);
	sl_trial_free(plain);
}

static size_t records(struct bench *b, const char *topic)
{
	struct sl_arena a = { 0 };
	struct sl_record *list;
	size_t n = sl_trial_records(b->t, topic, &a, &list);

	sl_arena_release(&a);
	return n;
}

/* -- the tests ------------------------------------------------------------------------------------------ */

#define TALLIES                                                                                                        \
	"topology: t\npartitions: 2\nstream: { commit_every: 1ms }\nsteps:\n"                                          \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even }, batch_max: 16 }\n"                          \
	"  - { name: again, operator: tally, from: odd, to: { odd: o2, even: e2 }, batch_max: 5 }\n"
#define ONE(op) "topology: t\nsteps:\n  - { name: " op ", from: pairs.raw, to: { out: out }, batch_max: 20 }\n"

static void until_idle_is_as_stepped(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b, TALLIES);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	must_be_as_stepped(&b);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE); /* nothing to do */
	must_be_as_stepped(&b);
	tear_down(&b);
}

static void stopped_and_resumed(void **state)
{
	struct bench b;
	struct sl_error e;
	size_t part;

	(void)state;
	set_up(&b, ONE("stopper"));
	to_stop = b.t->rt;
	assert_int_equal(run(&b, &e), SL_RUN_STOPPED);
	to_stop = NULL;
	part = records(&b, "out");
	assert_true(part > 0 && part < PAIRS); /* the last commit was finished */
	again(&b);
	assert_int_equal(records(&b, "out"), part);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	must_be_as_stepped(&b);
	tear_down(&b);
}

#define PATIENT                                                                                                        \
	"topology: t\nsteps:\n"                                                                                        \
	"  - { name: patient, from: pairs.raw, to: { out: out }, tables: { gold: pairs.gold }, batch_max: 20 }\n"      \
	"  - { name: embed, from: pairs.raw, to: { embedded: em, gold: pairs.gold }, dim: 16 }\n"

static void feed_gold(struct bench *b)
{
	struct sl_arena a = { 0 };
	struct sl_pair gold = sl_trial_pair(&a, "a question", "right", "wrong");

	assert_true(sl_trial_feed(b->t, "pairs.gold", &gold, 1));
	sl_arena_release(&a);
}

static void stuck_without_the_table_it_waits_for(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b, PATIENT);
	for (int i = 0; i < 7; i++) { /* being stuck, often, is no reason to take a record for deadly */
		assert_int_equal(run(&b, &e), SL_RUN_STUCK);
		assert_non_null(strstr(e.text, "waits for the first gold pair"));
		again(&b);
	}
	feed_gold(&b);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	assert_int_equal(records(&b, "out"), PAIRS);
	assert_int_equal(records(&b, "dead.patient"), 0);
	tear_down(&b);
}

struct waker {
	struct bench *b;
	int calls;
};

static void feed_then_stop(void *arg, struct sl_runtime *rt)
{
	struct waker *w = arg;

	show(NULL, rt);
	if (w->calls++ == 0)
		feed_gold(w->b);
	else if (records(w->b, "out") == PAIRS)
		sl_runtime_stop(rt);
}

static void woken_by_the_table(void **state)
{
	struct bench b;
	struct waker w = { &b, 0 };
	struct sl_run_options options = { .threads = 4, .progress = feed_then_stop, .arg = &w };
	struct sl_error e = { 0 };

	(void)state;
	set_up(&b, PATIENT);
	assert_int_equal(sl_runtime_run(b.t->rt, &options, &e), SL_RUN_STOPPED);
	assert_int_equal(records(&b, "out"), PAIRS);
	tear_down(&b);
}

static struct bench *to_feed;

static void feed_it(void)
{
	feed_gold(to_feed);
}

/* The table changes while the step awaits an answer that it asked for with the table as it was: it waits for a
 * change that has been. */
static void table_moves_while_asking(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b,
	       "topology: t\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
	       "  - { name: caller, from: pairs.raw, to: { out: out }, tables: { gold: pairs.gold }, batch_max: 20 }\n"
	       "  - { name: embed, from: pairs.raw, to: { embedded: em, gold: pairs.gold }, dim: 16 }\n");
	to_feed = &b;
	before_answer = feed_it;
	if (run(&b, &e) != SL_RUN_IDLE)
		fail_msg("%s", e.text);
	assert_int_equal(records(&b, "out"), PAIRS);
	tear_down(&b);
}

static void failing_steps(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b, ONE("flaky"));
	atomic_store(&failures_left, 2);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	must_be_as_stepped(&b);
	tear_down(&b);

	set_up(&b, ONE("broken"));
	assert_int_equal(run(&b, &e), SL_RUN_FAILED);
	assert_string_equal(e.text, "step 'broken' partition 0: beyond repair");
	again(&b);
	assert_int_equal(records(&b, "out"), 0);
	tear_down(&b);
}

static void answers_from_another_thread(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b, "topology: t\npartitions: 2\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
		   "  - name: asker\n    from: pairs.raw\n    to: { yes: yes, unclear: unclear, failed: failed }\n"
		   "    batch_max: 30\n"
		   "topics:\n  pairs.raw: { partitions: 2 }\n");
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	assert_int_equal(records(&b, "yes") + records(&b, "unclear") + records(&b, "failed"), PAIRS);
	again(&b);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	assert_int_equal(records(&b, "yes") + records(&b, "unclear") + records(&b, "failed"), PAIRS);
	tear_down(&b);
}

/* The phone asks for a stop and holds its first answer back: did the run return without it? */
static struct holder {
	struct sl_runtime *rt;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool returned, without_answer;
} holder;

static void stop_and_hold(void)
{
	sl_runtime_stop(holder.rt);
	sl_lock(&holder.lock);
	if (!holder.returned)
		sl_cond_wait_ms(&holder.changed, &holder.lock, 500);
	holder.without_answer = holder.returned;
	sl_unlock(&holder.lock);
}

/* A stop with calls in flight waits for their answers and keeps them: none is open afterwards, none asked twice. */
static void stop_drains_the_calls(void **state)
{
	struct bench b;
	struct sl_error e;
	struct sl_buf status = { 0 };

	(void)state;
	set_up(&b, "topology: t\npartitions: 2\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
		   "  - name: asker\n    from: pairs.raw\n    to: { yes: yes, unclear: unclear, failed: failed }\n"
		   "    batch_max: 500\n"
		   "topics:\n  pairs.raw: { partitions: 2 }\n");
	holder = (struct holder){ .rt = b.t->rt };
	sl_mutex_init(&holder.lock);
	sl_cond_init(&holder.changed);
	before_answer = stop_and_hold;
	assert_int_equal(run(&b, &e), SL_RUN_STOPPED);
	sl_lock(&holder.lock);
	holder.returned = true;
	sl_cond_signal(&holder.changed);
	sl_unlock(&holder.lock);
	assert_true(sl_runtime_status(b.t->rt, &status, &e));
	assert_non_null(strstr(sl_buf_text(&status), "\"in_flight\":0"));
	sl_buf_release(&status);
	again(&b); /* and with that the phone is gone: it has said all it had to say */
	assert_false(holder.without_answer);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	assert_int_equal(records(&b, "yes") + records(&b, "unclear") + records(&b, "failed"), PAIRS);
	sl_cond_destroy(&holder.changed);
	sl_mutex_destroy(&holder.lock);
	tear_down(&b);
}

/* True: nothing more to do but to wait for money, and that is what is said. */
static void stop_when_out_of_money(void *arg, struct sl_runtime *rt)
{
	struct sl_buf json = { 0 };
	struct sl_error e = { 0 };
	bool *seen = arg;

	assert_true(sl_runtime_status(rt, &json, &e));
	if (strstr(sl_buf_text(&json), "\"state\":\"no_budget\"")) {
		assert_non_null(strstr(sl_buf_text(&json), "budget of endpoint 'oracle' is spent: "));
		*seen = true;
		sl_runtime_stop(rt);
	}
	sl_buf_release(&json);
}

static void a_budget_that_is_spent(void **state)
{
	struct sl_run_options options = { .threads = 2 };
	struct bench b;
	struct sl_error e = { 0 };
	bool seen = false;
	size_t out;

	(void)state;
	set_up(&b, "topology: t\nendpoints:\n"
		   "  oracle: { url: \"http://scripted/v1\", model: pythia, budget: 0.01, retries: 0 }\n"
		   "prices: { pythia: { prompt: 3, completion: 5 } }\nsteps:\n"
		   "  - name: asker\n    from: pairs.raw\n    to: { yes: yes, unclear: unclear, failed: failed }\n"
		   "    batch_max: 3\n");
	assert_int_equal(run(&b, &e), SL_RUN_STUCK);
	assert_non_null(strstr(e.text, "budget of endpoint 'oracle' is spent: "));
	out = records(&b, "yes") + records(&b, "unclear") + records(&b, "failed");
	assert_in_range(out, 1, PAIRS - 1);
	options.progress = stop_when_out_of_money;
	options.arg = &seen;
	assert_int_equal(sl_runtime_run(b.t->rt, &options, &e), SL_RUN_STOPPED);
	assert_true(seen);
	tear_down(&b);
}

static void *feed_more(void *arg)
{
	struct bench *b = arg, mine = *b;
	struct sl_trial t = *b->t; /* of its own, for the errors in it */

	mine.t = &t;
	for (size_t i = 0; i < 20; i++) {
		if (!feed_from(&t, PAIRS + 10 * i, 10))
			return b;
		show(NULL, t.rt);
		(void)records(&mine, "odd");
	}
	return NULL;
}

static void stop_when_all_is_in(void *arg, struct sl_runtime *rt)
{
	struct bench *b = arg;

	if (records(b, "odd") + records(b, "even") + records(b, "dead.tally") == PAIRS + 200)
		sl_runtime_stop(rt);
}

static void fed_and_read_while_running(void **state)
{
	struct bench b, feeding;
	struct sl_run_options options = { .threads = 4, .progress = stop_when_all_is_in, .arg = &b };
	struct sl_trial trial; /* the feeder's own view: its error is its own */
	struct sl_error e = { 0 };
	pthread_t feeder;

	(void)state;
	set_up(&b, TALLIES "topics:\n  odd: { retention: keep }\n");
	trial = *b.t;
	feeding = b;
	feeding.t = &trial;
	sl_thread_start(&feeder, "feeder", feed_more, &feeding);
	assert_int_equal(sl_runtime_run(b.t->rt, &options, &e), SL_RUN_STOPPED);
	sl_thread_join(feeder);
	tear_down(&b);
}

static void a_folder_has_one_owner(void **state)
{
	struct bench b;
	struct sl_runtime_options options = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	set_up(&b, TALLIES);
	options.data = b.folder;
	assert_null(sl_runtime_open(b.t->topology, &options, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	assert_non_null(strstr(e.text, "in use by process"));
	tear_down(&b);
}

static void steps_left_out_keep_their_input(void **state)
{
	static const char *const only[] = { "tally" };
	struct sl_runtime_options options = { .only = only, .only_count = 1 };
	struct sl_run_options idle = { .until_idle = true, .threads = 2 };
	struct sl_runtime *rt;
	struct bench b;
	struct sl_error e = { 0 };

	(void)state;
	set_up(&b, TALLIES "topics:\n  odd: { segment: 1KiB }\n");
	sl_runtime_close(b.t->rt);
	options.data = b.folder;
	rt = sl_runtime_open(b.t->topology, &options, &e);
	if (!rt)
		fail_msg("%s", e.text);
	assert_int_equal(sl_runtime_run(rt, &idle, &e), SL_RUN_IDLE);
	b.t->rt = rt;
	again(&b);
	assert_int_equal(run(&b, &e), SL_RUN_IDLE);
	must_be_as_stepped(&b);
	tear_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(until_idle_is_as_stepped),
		cmocka_unit_test(stopped_and_resumed),
		cmocka_unit_test(stuck_without_the_table_it_waits_for),
		cmocka_unit_test(woken_by_the_table),
		cmocka_unit_test(table_moves_while_asking),
		cmocka_unit_test(failing_steps),
		cmocka_unit_test(answers_from_another_thread),
		cmocka_unit_test(stop_drains_the_calls),
		cmocka_unit_test(a_budget_that_is_spent),
		cmocka_unit_test(fed_and_read_while_running),
		cmocka_unit_test(a_folder_has_one_owner),
		cmocka_unit_test(steps_left_out_keep_their_input),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
