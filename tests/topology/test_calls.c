/* test_calls.c -- questions and answers: paid once, failures asked anew, replays that find what is on its way, the
 * limit of rounds. */
#include "topology/calls.h"

#include "tests/actors.h"
#include "tests/trial.h"
#include "topology/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* Asks one question more in every round: never enough, or enough after the eighth. */
struct curious {
	int64_t rounds;
};
static const struct sl_option curious_options[] = {
	{ .name = "rounds",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct curious, rounds),
	  .value = "8",
	  .least = 1,
	  .most = 100,
	  .help = "h" },
	{ 0 },
};
static const char *const out_ports[] = { "out", NULL };

static enum sl_verdict curious_ask(struct sl_task *t, void *self, const struct sl_batch *b)
{
	const struct curious *c = self;

	(void)b;
	for (int64_t i = 0; i < c->rounds; i++) {
		struct sl_call call = { .endpoint = "oracle",
					.model = "m",
					.body = sl_text(sl_arena_print(sl_task_arena(t), "%d", (int)i)) };

		if (sl_answer(t, sl_ask(t, &call)).status == 0)
			break;
	}
	return SL_OK;
}

static enum sl_verdict curious_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++)
		sl_emit(t, 0, &b->pairs[i]);
	return SL_OK;
}

static const struct sl_operator curious = { .name = "curious",
					    .version = "1",
					    .options = curious_options,
					    .ports = out_ports,
					    .self_size = sizeof(struct curious),
					    .ask = curious_ask,
					    .process = curious_process };
/* Asks about every pair; the word "wait" is more than it can bear. */
static enum sl_verdict picky_ask(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		struct sl_call call = { .endpoint = "oracle",
					.tokens_max = 10,
					.body = b->pairs[i].prompt.at[0].content };

		if (sl_bytes_begins(call.body, sl_text("wait")))
			return sl_fail(t, SL_WAIT, "not yet");
		sl_ask(t, &call);
	}
	return SL_OK;
}

static const struct sl_operator picky = {
	.name = "picky", .version = "1", .ports = out_ports, .ask = picky_ask, .process = curious_process
};
const struct sl_operator *const sl_operators[] = { &curious, &picky, NULL };

/* -- an endpoint that does as it is told ------------------------------------------------------ */

struct line {
	struct sl_endpoint base;
	struct sl_outcall *open[16];
	size_t count, sent, woken, kept;
	struct sl_store *store;
};

static void line_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	struct line *l = (struct line *)e;

	assert_true(l->count < 16);
	l->open[l->count++] = call;
	l->sent++;
}

static const struct sl_endpoint_ops line_ops = { .send = line_send };

static void woken(void *arg)
{
	((struct line *)arg)->woken++;
}

static void settle_last(struct line *l, int status, const char *body)
{
	struct sl_outcall *call = l->open[--l->count];

	const struct sl_settlement reply = { .status = status,
					     .body = sl_text(body),
					     .why = status == 200 ? NULL : "why",
					     .attempts = status != SL_AWAY };

	call->done(call, &reply);
}

struct fixture {
	struct sl_twins *twins;
	struct line line;
	struct sl_calls *calls;
	struct sl_window *window;
	int64_t in_flight;
};

static bool keep(void *arg, struct sl_writes *answers, struct sl_error *e)
{
	struct line *l = arg;

	l->kept++;
	return l->store->ops->write(l->store, &answers, 1, true, e);
}

static void open_calls(struct fixture *f)
{
	static const struct sl_price price = { "m", 1, 1, 1 };
	const struct sl_payer payer = { .name = "x",
					.model = "m",
					.endpoint = &f->line.base,
					.price = &price,
					.in_flight = f->in_flight,
					.share = -1,
					.share_day = -1 };
	const struct sl_calls_setup setup = { .store = f->twins->store,
					      .memo = sl_text("memo"),
					      .keep = keep,
					      .wake = woken,
					      .arg = &f->line,
					      .payers = &payer,
					      .payer_count = 1,
					      .share = -1,
					      .share_day = -1 };
	struct sl_error e = { 0 };

	f->line.store = f->twins->store;
	f->calls = sl_calls_new(&setup, &e);
	if (!f->calls)
		fail_msg("%s", e.text);
	f->window = sl_window_new();
}

static void close_calls(struct fixture *f)
{
	sl_calls_end(f->calls, f->window, false);
	sl_window_free(f->window);
	sl_calls_free(f->calls);
}

static int set_up(void **state)
{
	struct fixture *f = sl_calloc(1, sizeof *f);

	f->twins = sl_twins_new(1);
	f->line.base.ops = &line_ops;
	open_calls(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_calls(f);
	sl_twins_free(f->twins);
	free(f);
	return 0;
}

static uint32_t ask_sample(struct fixture *f, const char *body, const char *model, uint32_t sample, bool send)
{
	struct sl_call call = { .endpoint = "x", .model = model, .body = sl_text(body), .sample = sample };
	struct sl_error e = { 0 };
	uint32_t number;

	assert_true(sl_calls_ask(f->calls, f->window, 0, send, &call, &number, &e));
	assert_true(sl_calls_admit(f->calls, f->window, &e));
	return number;
}

static uint32_t ask(struct fixture *f, const char *body)
{
	return ask_sample(f, body, "m", 0, true);
}

static size_t settle(struct fixture *f)
{
	struct sl_error e = { 0 };

	assert_true(sl_calls_settle(f->calls, &e));
	return sl_calls_open(f->window);
}

static void numbers_and_answers(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, "a"), 0);
	assert_int_equal(ask(f, "b"), 1);
	assert_int_equal(ask(f, "a"), 0); /* the same question, the same number */
	assert_int_equal(ask_sample(f, "a", "m", 1, true), 2);
	assert_int_equal(ask_sample(f, "a", "other", 0, true), 3);
	assert_int_equal(f->line.sent, 4);
	assert_int_equal(settle(f), 4);
	settle_last(&f->line, 200, "[\"for the other model\"]");
	assert_int_equal(f->line.woken, 1);
	assert_int_equal(sl_calls_answer(f->window, 3).status, 0); /* it has come, but is not durable yet */
	assert_int_equal(settle(f), 3);
	assert_int_equal(sl_calls_answer(f->window, 3).status, 200);
	settle_last(&f->line, 200, "[1]");
	settle_last(&f->line, 500, "b fails");
	settle_last(&f->line, 200, "{}");
	assert_int_equal(settle(f), 0);
	assert_true(sl_bytes_equal(sl_calls_answer(f->window, 2).body, sl_text("[1]")));
	assert_int_equal(sl_calls_answer(f->window, 1).status, 500);
	assert_string_equal(sl_calls_answer(f->window, 1).why, "why");
	assert_int_equal(sl_calls_answer(f->window, 0).status, 200);
	assert_int_equal(sl_calls_answer(f->window, 0).body.size, 2);
	sl_calls_end(f->calls, f->window, false);
}

static void paid_once(void **state)
{
	struct fixture *f = *state;

	ask(f, "a");
	ask(f, "b");
	settle_last(&f->line, -1, "");
	settle_last(&f->line, 200, "{\"yes\":1}");
	assert_int_equal(settle(f), 0);
	sl_calls_end(f->calls, f->window, false);
	/* the next batch, and the next life after a power cut */
	for (int life = 0; life < 2; life++) {
		size_t sent = f->line.sent;

		assert_int_equal(ask(f, "a"), 0);
		assert_int_equal(sl_calls_answer(f->window, 0).status, 200);
		assert_true(sl_bytes_equal(sl_calls_answer(f->window, 0).body, sl_text("{\"yes\":1}")));
		assert_int_equal(f->line.sent, sent);
		ask(f, "b"); /* what failed was not memoised */
		assert_int_equal(f->line.sent, sent + 1);
		settle_last(&f->line, -1, "");
		assert_int_equal(settle(f), 0);
		sl_calls_end(f->calls, f->window, false);
		close_calls(f);
		sl_twins_crash(f->twins, SL_TWIN_POWER);
		open_calls(f);
	}
}

static void a_replay_finds_what_is_on_its_way(void **state)
{
	struct fixture *f = *state;

	ask(f, "a");
	ask(f, "b");
	ask(f, "c");
	settle_last(&f->line, 500, "c fails");
	settle_last(&f->line, 200, "[\"b\"]");
	assert_int_equal(settle(f), 1);
	sl_calls_end(f->calls, f->window, true); /* the transaction failed */
	assert_int_equal(sl_calls_in_flight(f->calls), 1);
	assert_int_equal(settle(f), 0);   /* nobody asks in this batch yet */
	assert_int_equal(ask(f, "b"), 0); /* in another order, now */
	assert_int_equal(ask(f, "a"), 1);
	assert_int_equal(f->line.sent, 3);
	assert_int_equal(sl_calls_answer(f->window, 0).status, 200);
	assert_int_equal(ask(f, "c"), 2);
	assert_int_equal(f->line.sent, 4); /* only what failed */
	assert_int_equal(settle(f), 2);
	settle_last(&f->line, 200, "[\"c\"]");
	settle_last(&f->line, 200, "[\"a\"]");
	assert_int_equal(settle(f), 0);
	assert_true(sl_bytes_equal(sl_calls_answer(f->window, 1).body, sl_text("[\"a\"]")));
	sl_calls_end(f->calls, f->window, false);
}

static void process_sends_nothing(void **state)
{
	struct fixture *f = *state;

	ask(f, "a");
	settle_last(&f->line, 200, "{\"yes\":1}");
	assert_int_equal(settle(f), 0);
	assert_int_equal(ask_sample(f, "a", "m", 0, false), 0);
	assert_int_equal(sl_calls_answer(f->window, ask_sample(f, "never asked", "m", 0, false)).status, -1);
	assert_int_equal(f->line.sent, 1);
	sl_calls_end(f->calls, f->window, false);
}

static void a_store_that_fails(void **state)
{
	struct fixture *f = *state;
	struct sl_call call = { .endpoint = "x", .model = "m", .body = sl_text("a") };
	struct sl_error e = { 0 };
	uint32_t number;

	ask(f, "b");
	settle_last(&f->line, 200, "{\"yes\":1}");
	f->twins->dead = true;
	assert_false(sl_calls_settle(f->calls, &e));
	assert_false(sl_calls_ask(f->calls, f->window, 0, true, &call, &number, &e));
	assert_int_equal(sl_calls_answer(f->window, 0).status, 0); /* not durable, so not there */
	f->twins->dead = false;
	assert_int_equal(settle(f), 0);
	assert_int_equal(sl_calls_answer(f->window, 0).status, 200);
	sl_calls_end(f->calls, f->window, false);
}

/* A page of a proxy, half an answer, an error with status 200: used once, and asked for again. */
static void what_is_no_answer(void **state)
{
	static const char *const replies[] = { "<html>", "{\"choices\":[", "{\"error\":{\"code\":1}}", "" };
	struct fixture *f = *state;
	struct sl_calls_stats stats;
	struct sl_purse purses[2];

	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		assert_int_equal(ask(f, "a"), 0);
		assert_int_equal(f->line.sent, i + 1);
		settle_last(&f->line, 200, replies[i]);
		assert_int_equal(settle(f), 0);
		assert_int_equal(sl_calls_answer(f->window, 0).status, 200);
		assert_true(sl_bytes_equal(sl_calls_answer(f->window, 0).body, sl_text(replies[i])));
		sl_calls_end(f->calls, f->window, i % 2);
	}
	sl_calls_stats(f->calls, &stats, purses);
	assert_int_equal(stats.malformed, 4);
	assert_int_equal(stats.counts.answers, 0);
}

/* A batch that is asked about before its turn: what came is there, what was not sent is asked again. */
static void before_its_turn(void **state)
{
	struct fixture *f = *state;
	struct sl_window *ahead = sl_window_new();
	struct sl_call call = { .endpoint = "x", .body = sl_text("b"), .or_not = true };
	struct sl_error e = { 0 };
	uint32_t number;

	ask(f, "a");
	assert_true(sl_calls_ask(f->calls, ahead, 0, true, &call, &number, &e));
	call.body = sl_text("c");
	assert_true(sl_calls_ask(f->calls, ahead, 0, true, &call, &number, &e));
	assert_int_equal(number, 1);
	call.body = sl_text("a"); /* of both */
	assert_true(sl_calls_ask(f->calls, ahead, 0, true, &call, &number, &e));
	assert_int_equal(number, 2);
	assert_true(sl_calls_admit(f->calls, f->window, &e));
	assert_int_equal(f->line.sent, 3);
	settle_last(&f->line, SL_AWAY, "");
	settle_last(&f->line, 200, "[\"b\"]");
	assert_int_equal(settle(f), 1);
	assert_int_equal(sl_calls_open(ahead), 1);
	settle_last(&f->line, 200, "[\"a\"]");
	assert_int_equal(settle(f), 0);
	sl_calls_end(f->calls, f->window, false);
	sl_calls_turn(ahead);
	assert_int_equal(sl_calls_asked(ahead), 0);
	call.body = sl_text("c"); /* numbers are given out anew */
	assert_true(sl_calls_ask(f->calls, ahead, 0, true, &call, &number, &e));
	assert_int_equal(number, 0);
	call.body = sl_text("a");
	assert_true(sl_calls_ask(f->calls, ahead, 0, true, &call, &number, &e));
	assert_true(sl_bytes_equal(sl_calls_answer(ahead, number).body, sl_text("[\"a\"]")));
	assert_true(sl_calls_admit(f->calls, ahead, &e));
	assert_int_equal(f->line.sent, 4); /* c alone, which was not asked */
	settle_last(&f->line, 200, "[\"c\"]");
	assert_true(sl_calls_settle(f->calls, &e));
	assert_true(sl_bytes_equal(sl_calls_answer(ahead, 0).body, sl_text("[\"c\"]")));
	sl_calls_end(f->calls, ahead, false);
	sl_window_free(ahead);
}

/* At a stop the endpoint gives back what it did not send; that is no answer to who waits. */
static void drained(void **state)
{
	struct fixture *f = *state;
	struct sl_error e = { 0 };

	ask(f, "a");
	ask(f, "b");
	settle_last(&f->line, SL_AWAY, "");
	assert_int_equal(settle(f), 2);
	assert_int_equal(sl_calls_in_flight(f->calls), 1);
	assert_true(sl_calls_admit(f->calls, f->window, &e));
	assert_int_equal(f->line.sent, 2); /* nothing more is sent */
	settle_last(&f->line, 200, "{}");
	assert_int_equal(settle(f), 1);
}

/* What has no room at the endpoint holds no money and is not billed after a death; the room that an answer leaves is
 * another's, in the write that keeps it. */
static void no_more_than_in_flight(void **state)
{
	static const char *const bodies[] = { "a", "b", "c", "d" };
	const int64_t each = 1 + 256; /* a letter, and what servers put around it */
	struct fixture *f = *state;
	struct sl_calls_stats stats;
	struct sl_purse purses[2];
	struct sl_error e = { 0 };
	size_t kept;

	close_calls(f);
	f->in_flight = 2;
	open_calls(f);
	for (size_t i = 0; i < 4; i++)
		ask(f, bodies[i]);
	assert_int_equal(f->line.sent, 2);
	sl_calls_stats(f->calls, &stats, purses);
	assert_int_equal(purses[0].held, 2 * each);
	assert_null(sl_calls_held_up(f->calls)); /* it is not for want of money */
	settle_last(&f->line, 200, "{\"usage\":{\"prompt_tokens\":10}}");
	f->twins->dead = true;
	assert_false(sl_calls_admit(f->calls, f->window, &e));
	f->twins->dead = false;
	assert_int_equal(f->line.sent, 2);
	kept = f->line.kept;
	assert_true(sl_calls_admit(f->calls, f->window, &e));
	assert_int_equal(f->line.kept, kept + 1);
	assert_int_equal(f->line.sent, 3);
	settle_last(&f->line, 200, "{\"usage\":{\"prompt_tokens\":10}}");
	assert_int_equal(settle(f), 2); /* at a stop nothing goes out in its place */
	assert_int_equal(f->line.sent, 3);
	f->twins->dead = true; /* a is under way, d has never been */
	settle_last(&f->line, SL_GAVE_UP, "");
	close_calls(f);
	sl_twins_crash(f->twins, SL_TWIN_KILL);
	open_calls(f);
	ask(f, "a");
	ask(f, "d");
	sl_calls_stats(f->calls, &stats, purses);
	assert_int_equal(stats.counts.repeated, 1);
	assert_int_equal(purses[0].spent, 20 + each);
	settle_last(&f->line, 200, "{}");
	settle_last(&f->line, 200, "{}");
}

/* Thousands of questions: found by their hash, and none twice. */
static void many(void **state)
{
	struct fixture *f = *state;
	struct sl_error e = { 0 };

	for (int turn = 0; turn < 2; turn++) {
		for (uint32_t i = 0; i < 20000; i++) {
			uint8_t body[4];
			struct sl_call call = { .endpoint = "x", .body = { body, 4 } };
			uint32_t number;

			sl_put_le32(body, i);
			assert_true(sl_calls_ask(f->calls, f->window, 0, true, &call, &number, &e));
			assert_int_equal(number, i);
		}
	}
	assert_int_equal(sl_calls_asked(f->window), 20000);
	assert_int_equal(sl_calls_open(f->window), 20000);
}

/* -- rounds, through the runtime ------------------------------------------------------------------ */

static struct sl_endpoint *oracle(void *arg, const struct sl_endpoint_def *def)
{
	(void)def;
	return sl_oracle_endpoint(arg);
}

static void world(void *arg, uint64_t *seed)
{
	sl_oracle_turn(arg, seed);
}

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair p = sl_trial_pair(&a, "p", "c", "r");
	bool done = sl_trial_feed(t, "pairs.raw", &p, 1);

	(void)arg;
	sl_arena_release(&a);
	return done;
}

static void eight_rounds(void **state)
{
	static const char *const sets[] = { "curious.rounds=9" };
	struct sl_trial_case c = {
		.yaml = "topology: t\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
			"  - { name: curious, from: pairs.raw, to: { out: out } }\n",
		.feed = feed,
		.endpoint = oracle,
		.world = world
	};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		struct sl_oracle *o = sl_oracle_new();
		struct sl_trial *t;

		c.arg = o;
		c.sets = sets;
		c.set_count = n;
		t = sl_trial_case_new(&c, NULL);
		if (n == 0) {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
			assert_int_equal(sl_oracle_sent(o), 8);
		} else {
			assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
			assert_string_equal(t->error.text, "step 'curious': ask() still has questions after 8 rounds");
		}
		sl_trial_free(t);
		sl_oracle_free(o);
	}
}

/* -- ahead, and out of money, through the runtime ---------------------------------------------------- */

#define PICKY                                                                                                          \
	"topology: t\nendpoints: { oracle: { url: \"http://scripted/v1\", model: m, retries: 0 } }\n"                  \
	"prices: { m: { prompt: 1, cached: 1, completion: 1 } }\nsteps:\n"                                             \
	"  - { name: picky, from: pairs.raw, to: { out: out }, batch_max: 2 }\n"

/* Twenty pairs; which of them says "wait": 20: none. */
static bool feed_twenty(struct sl_trial *t, size_t wait)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[20];
	bool done;

	for (size_t i = 0; i < 20; i++)
		pairs[i] = sl_trial_pair(&a, sl_arena_print(&a, i == wait ? "wait %zu" : "prompt %zu", i), "c", "r");
	done = sl_trial_feed(t, "pairs.raw", pairs, 20);
	sl_arena_release(&a);
	return done;
}

static struct sl_trial *picky_trial(struct sl_oracle *o, const char *const *sets, size_t set_count, bool answers)
{
	const struct sl_trial_case c = { .yaml = PICKY,
					 .endpoint = oracle,
					 .world = answers ? world : NULL,
					 .arg = o,
					 .sets = sets,
					 .set_count = set_count };

	return sl_trial_case_new(&c, NULL);
}

static size_t came_out(struct sl_trial *t)
{
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;
	size_t n = sl_trial_read(t, "out", &a, &pairs);

	for (size_t i = 0; i < n; i++) { /* in order */
		const char *word =
			i == 7 && sl_bytes_begins(pairs[i].prompt.at[0].content, sl_text("wait")) ? "wait" : "prompt";

		assert_true(
			sl_bytes_equal(pairs[i].prompt.at[0].content, sl_text(sl_arena_print(&a, "%s %zu", word, i))));
	}
	sl_arena_release(&a);
	return n;
}

static void batches_ahead(void **state)
{
	static const struct {
		const char *set;
		size_t sent;
	} rows[] = {
		{ "picky.ahead=0", 2 }, { "picky.ahead=3", 8 }, { "picky.ahead=64", 16 }, /* and its in_flight is 16 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_oracle *o = sl_oracle_new();
		struct sl_trial *t = picky_trial(o, &rows[i].set, 1, false);
		uint64_t seed = 7;

		assert_true(feed_twenty(t, 20));
		assert_int_equal(sl_runtime_task_step(t->rt, 0), SL_STEP_CALLS);
		assert_int_equal(sl_runtime_task_step(t->rt, 0), SL_STEP_CALLS);
		assert_int_equal(sl_oracle_sent(o), rows[i].sent);
		for (int n = 0; n < 1000 && came_out(t) < 20; n++) {
			(void)sl_runtime_task_step(t->rt, 0);
			sl_oracle_turn(o, &seed);
			assert_true(sl_runtime_commit(t->rt, NULL, 0, &t->error));
		}
		assert_int_equal(came_out(t), 20);
		sl_trial_free(t);
		sl_oracle_free(o);
	}
}

/* A batch that cannot be asked about before its turn holds up nobody before it. */
static void one_ahead_fails(void **state)
{
	struct sl_oracle *o = sl_oracle_new();
	struct sl_trial *t = picky_trial(o, NULL, 0, true);

	(void)state;
	assert_true(feed_twenty(t, 7));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_string_equal(t->error.text, "step 'picky' partition 0: not yet");
	assert_int_equal(came_out(t), 6);
	sl_trial_free(t);
	sl_oracle_free(o);
}

static void out_of_money(void **state)
{
	/* a call may cost 256 + 8 + 10 */
	static const char *const little[] = { "endpoints.oracle.budget=0.003" };
	static const char *const nothing[] = { "picky.budget_per_day=0" };
	struct sl_oracle *o = sl_oracle_new();
	struct sl_topology *was;
	struct sl_trial *t;
	size_t out;

	(void)state;
	t = picky_trial(o, nothing, 1, true);
	assert_true(feed_twenty(t, 20));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "budget of the step for today is spent: $0 of $0"));
	assert_int_equal(sl_oracle_sent(o), 0);
	sl_trial_free(t);
	t = picky_trial(o, little, 1, true);
	assert_true(feed_twenty(t, 20));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "budget of endpoint 'oracle' is spent: $0.0"));
	out = came_out(t); /* what was paid for is done, in order */
	assert_in_range(out, 2, 18);
	/* with more money it goes on where it was */
	was = t->topology;
	t->topology = sl_topology_parse("trial.yaml", sl_text(PICKY), NULL, 0, &t->error);
	assert_non_null(t->topology);
	assert_true(sl_trial_restart(t, SL_TWIN_KILL));
	sl_topology_free(was);
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(came_out(t), 20);
	sl_trial_free(t);
	sl_oracle_free(o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_and_answers),
		TEST(paid_once),
		TEST(a_replay_finds_what_is_on_its_way),
		TEST(process_sends_nothing),
		TEST(a_store_that_fails),
		TEST(what_is_no_answer),
		TEST(before_its_turn),
		TEST(drained),
		TEST(no_more_than_in_flight),
		TEST(many),
		cmocka_unit_test(eight_rounds),
		cmocka_unit_test(batches_ahead),
		cmocka_unit_test(one_ahead_fails),
		cmocka_unit_test(out_of_money),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
