/* test_reload.c -- budgets that change while a process runs: what a task does with other shares, what is taken over
 * from the file and what waits for a restart, and that errors change nothing. The last test is for ThreadSanitizer too.
 */
#include "tests/actors.h"
#include "tests/trial.h"

#include "topology/base/file.h"
#include "topology/base/thread.h"
#include "topology/calls.h"
#include "topology/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { &sl_actor_asker, NULL };

#define PAIRS 60

/* -- an endpoint that answers at once, or when it is told to ----------------------------------------- */

struct phone {
	struct sl_endpoint base;
	bool holds;
	struct sl_outcall *open[64];
	size_t count;
	_Atomic size_t sent;
};

static void phone_answer(struct sl_outcall *call)
{
	call->done(call, &(struct sl_settlement){
				 .status = 200, .body = sl_text("{\"usage\":{\"prompt_tokens\":10}}"), .attempts = 1 });
}

static void phone_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	struct phone *p = (struct phone *)e;

	p->sent++;
	assert_true(p->count < 64);
	if (p->holds)
		p->open[p->count++] = call;
	else
		phone_answer(call);
}

static void phone_free(struct sl_endpoint *e)
{
	free(e);
}

static struct sl_endpoint *phone_new(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = phone_send, .free = phone_free };
	struct phone *p = sl_calloc(1, sizeof *p);

	(void)arg;
	p->base = (struct sl_endpoint){ .ops = &ops, .name = def->name };
	return &p->base;
}

/* -- a task ------------------------------------------------------------------------------------------- */

static bool keep(void *arg, struct sl_writes *rows, struct sl_error *e)
{
	struct sl_twins *twins = arg;

	return twins->store->ops->write(twins->store, &rows, 1, true, e);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* A call of a one-letter body may cost 257 tokens of one micro-dollar. */
static size_t ask(struct sl_calls *c, struct sl_window *w, struct phone *p, const char *body)
{
	const struct sl_call call = { .endpoint = "x", .body = sl_text(body) };
	struct sl_error e = { 0 };
	uint32_t number;

	assert_true(sl_calls_ask(c, w, 0, true, &call, &number, &e));
	assert_true(sl_calls_admit(c, w, &e));
	return p->sent;
}

static size_t reshare(struct sl_calls *c, struct sl_window *w, struct phone *p, int64_t endpoint, int64_t day,
		      int64_t step)
{
	const struct sl_share shares[2] = { { endpoint, day }, { step, -1 } };
	struct sl_error e = { 0 };

	sl_calls_reshare(c, shares);
	assert_true(sl_calls_reshared(c));
	assert_true(sl_calls_admit(c, w, &e));
	assert_false(sl_calls_reshared(c));
	return p->sent;
}

static void shares_that_change(void **state)
{
	static const struct sl_endpoint_ops ops = { .send = phone_send };
	static const struct sl_price price = { "m", 1, 1, 1 };
	struct phone p = { .base = { .ops = &ops, .name = "x" }, .holds = true };
	const struct sl_payer payer = {
		.name = "x", .model = "m", .endpoint = &p.base, .price = &price, .share = 0, .share_day = -1
	};
	struct sl_twins *twins = sl_twins_new(1);
	const struct sl_calls_setup setup = { .store = twins->store,
					      .memo = sl_text("m"),
					      .keep = keep,
					      .wake = nothing,
					      .arg = twins,
					      .payers = &payer,
					      .payer_count = 1,
					      .share = -1,
					      .share_day = -1 };
	struct sl_error e = { 0 };
	struct sl_calls *c = sl_calls_new(&setup, &e);
	struct sl_window *w = sl_window_new();
	struct sl_calls_stats stats;
	struct sl_purse purses[2];

	(void)state;
	assert_non_null(c);
	assert_int_equal(ask(c, w, &p, "a"), 0);
	assert_string_equal(sl_calls_held_up(c),
			    "budget of endpoint 'x' is spent: $0 of $0, $0 reserved; the next call "
			    "may cost $0.000257, more than this task's whole share; raise it in "
			    "the file and run `sluice reload`");
	assert_int_equal(reshare(c, w, &p, 600, -1, -1), 1);
	assert_null(sl_calls_held_up(c));
	assert_int_equal(ask(c, w, &p, "b"), 2);
	assert_int_equal(ask(c, w, &p, "c"), 2);
	/* less than is held: nothing goes out, and what is under way stays as it is */
	assert_int_equal(reshare(c, w, &p, 100, -1, -1), 2);
	sl_calls_stats(c, &stats, purses);
	assert_int_equal(purses[0].held, 514);
	phone_answer(p.open[0]);
	phone_answer(p.open[1]);
	assert_true(sl_calls_admit(c, w, &e));
	assert_int_equal(p.sent, 2);
	sl_calls_stats(c, &stats, purses);
	assert_int_equal(purses[0].held, 0);
	assert_int_equal(purses[0].spent, 20);
	assert_int_equal(stats.counts.overshot, 0);
	/* enough, but for the day; but for the step */
	assert_int_equal(reshare(c, w, &p, 1000, 276, -1), 2);
	assert_non_null(strstr(sl_calls_held_up(c), "endpoint 'x' for today is spent"));
	assert_int_equal(reshare(c, w, &p, 1000, 277, 276), 2);
	assert_non_null(strstr(sl_calls_held_up(c), "budget of the step is spent"));
	assert_int_equal(reshare(c, w, &p, -1, -1, 277), 3);
	phone_answer(p.open[2]);
	assert_true(sl_calls_settle(c, &e));
	assert_int_equal(sl_calls_open(w), 0);
	sl_calls_end(c, w, false);
	sl_window_free(w);
	sl_calls_free(c);
	sl_twins_free(twins);
}

/* -- a process ------------------------------------------------------------------------------------------ */

struct process {
	char folder[64], path[96];
	struct sl_topology *topology;
	struct sl_trial t; /* its runtime, to be fed */
};

/* `oracle`, `step`: more of them; `more`: more lines. */
static void write_file(const struct process *p, const char *oracle, const char *step, const char *more)
{
	FILE *f = fopen(p->path, "w");

	assert_non_null(f);
	fprintf(f,
		"topology: t\nmetrics: off\nstream: { commit_every: 1ms }\npartitions: 2\n"
		"topics: { pairs.raw: { partitions: 2 } }\n"
		"prices: { pythia: { prompt: 3, completion: 5 } }\nendpoints:\n"
		"  oracle: { url: \"http://scripted/v1\", model: pythia, retries: 0%s }\n"
		"steps:\n  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed }%s "
		"}\n%s",
		oracle, step, more);
	assert_int_equal(fclose(f), 0);
}

static void begin(struct process *p, bool reloads, const char *const *sets, size_t set_count)
{
	struct sl_runtime_options options = {
		.data = p->folder, .endpoint = phone_new, .reloads = reloads, .sets = sets, .set_count = set_count
	};
	struct sl_error e = { 0 };

	p->topology = sl_topology_load(p->path, sets, set_count, &e);
	if (p->topology)
		p->t = (struct sl_trial){ .topology = p->topology, .rt = sl_runtime_open(p->topology, &options, &e) };
	if (!p->t.rt)
		fail_msg("%s", e.text);
}

static void end(struct process *p)
{
	sl_runtime_close(p->t.rt);
	sl_topology_free(p->topology);
	p->t.rt = NULL;
	p->topology = NULL;
}

static int set_up(void **state)
{
	struct process *p = sl_calloc(1, sizeof *p);

	snprintf(p->folder, sizeof p->folder, "/tmp/sluice-reload-XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	snprintf(p->path, sizeof p->path, "%s/t.yaml", p->folder);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct process *p = *state;
	struct sl_error e = { 0 };
	bool done;

	end(p);
	done = sl_folder_remove(p->folder, &e);
	free(p);
	return done ? 0 : -1;
}

static void feed(struct process *p)
{
	struct sl_arena a = { 0 };

	for (size_t i = 0; i < PAIRS; i++) {
		struct sl_pair pair = sl_trial_pair(&a, sl_arena_print(&a, "question %zu", i), "yes", "no");

		assert_true(sl_trial_feed(&p->t, "pairs.raw", &pair, 1));
	}
	sl_arena_release(&a);
}

static int64_t came_out(struct process *p)
{
	static const char *const topics[] = { "yes", "unclear", "failed" };
	int64_t n = 0;

	for (size_t i = 0; i < 3; i++)
		n += p->t.rt->stream->records(p->t.rt, sl_topology_topic(p->topology, topics[i]));
	return n;
}

static void contains(struct sl_runtime *rt, bool (*of)(struct sl_runtime *rt, struct sl_buf *to, struct sl_error *e),
		     const char *what)
{
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	assert_true(of(rt, &text, &e));
	if (!strstr(sl_buf_text(&text), what))
		fail_msg("expected %s in %s", what, sl_buf_text(&text));
	sl_buf_release(&text);
}

static void what_is_taken_over(void **state)
{
	static const struct {
		const char *oracle, *step, *more, *report;
	} rows[] = {
		/* each against the one before */
		{ ", budget: 0", "", "", "\"changed\":[],\"waits\":[]}" },
		{ ", budget: 0.00", "", "# moved\n", "\"changed\":[],\"waits\":[]}" },
		{ ", budget: 5", "", "",
		  "\"changed\":[{\"of\":\"endpoint "
		  "'oracle'\",\"key\":\"budget\",\"from\":0.0,\"to\":5.0}],\"waits\":[]}" },
		{ "", ", budget: 2, budget_per_day: 1", "",
		  "\"changed\":[{\"of\":\"endpoint 'oracle'\",\"key\":\"budget\",\"from\":5.0,\"to\":null},"
		  "{\"of\":\"step 'asker'\",\"key\":\"budget\",\"from\":null,\"to\":2.0},"
		  "{\"of\":\"step 'asker'\",\"key\":\"budget_per_day\",\"from\":null,\"to\":1.0}],\"waits\":[]}" },
		{ ", in_flight: 3, budget_per_day: 1, key: abc", ", budget: 2, ahead: 1", "",
		  "\"changed\":[{\"of\":\"endpoint 'oracle'\",\"key\":\"budget_per_day\",\"from\":null,\"to\":1.0},"
		  "{\"of\":\"step 'asker'\",\"key\":\"budget_per_day\",\"from\":1.0,\"to\":null}],"
		  "\"waits\":[{\"of\":\"step 'asker'\",\"key\":\"ahead\",\"from\":\"4\",\"to\":\"1\"},"
		  "{\"of\":\"endpoint 'oracle'\",\"key\":\"key\",\"from\":\"[]\",\"to\":\"[***]\"},"
		  "{\"of\":\"endpoint 'oracle'\",\"key\":\"in_flight\",\"from\":\"16\",\"to\":\"3\"}]}" },
		{ ", budget_per_day: 1", ", budget: 2",
		  "  - { name: more, operator: asker, from: yes, to: { yes: y, unclear: u, failed: f }, budget: 1 }\n",
		  "\"changed\":[],\"waits\":[{\"of\":\"step 'more'\",\"key\":null,\"from\":null,\"to\":true},"
		  "{\"of\":\"topic 'yes'\"," },
		{ ", budget_per_day: 1", ", budget: 2", "memo: { max_age: 1d }\n",
		  "\"waits\":[{\"of\":\"the topology\",\"key\":\"memo.max_age\",\"from\":\"365d\",\"to\":\"1d\"}]}" },
	};
	struct process *p = *state;

	write_file(p, rows[0].oracle, rows[0].step, rows[0].more);
	begin(p, true, NULL, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		write_file(p, rows[i].oracle, rows[i].step, rows[i].more);
		contains(p->t.rt, sl_runtime_reload, rows[i].report);
	}
	contains(p->t.rt, sl_runtime_status, "\"budget_per_day\":1.0");
	contains(p->t.rt, sl_runtime_status, "\"budget\":2.0");
	contains(p->t.rt, sl_runtime_metrics, "sluice_budget_dollars{step=\"asker\",per=\"all\"} 2.000000");
	contains(p->t.rt, sl_runtime_metrics, "sluice_budget_dollars{endpoint=\"oracle\",per=\"day\"} 1.000000");
}

/* The process has the prices that it was started with: without one a budget would be no limit. */
static void what_has_no_price(void **state)
{
	struct process *p = *state;
	FILE *f;

	f = fopen(p->path, "w");
	fprintf(f, "topology: t\nmetrics: off\nendpoints: { oracle: { url: \"http://scripted/v1\", model: m } }\n"
		   "steps: [{ name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed } }]\n"
		   "topics: { pairs.raw: { partitions: 2 } }\n");
	fclose(f);
	begin(p, true, NULL, 0);
	f = fopen(p->path, "w");
	fprintf(f, "topology: t\nmetrics: off\nprices: { m: { prompt: 1, completion: 1 } }\n"
		   "endpoints: { oracle: { url: \"http://scripted/v1\", model: m, budget: 1 } }\n"
		   "steps: [{ name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed }, "
		   "budget: 3 }]\n"
		   "topics: { pairs.raw: { partitions: 2 } }\n");
	fclose(f);
	contains(p->t.rt, sl_runtime_reload,
		 "\"changed\":[],\"waits\":[{\"of\":\"endpoint 'oracle'\",\"key\":\"budget\",\"from\":null,\"to\":1.0},"
		 "{\"of\":\"step 'asker'\",\"key\":\"budget\",\"from\":null,\"to\":3.0},"
		 "{\"of\":\"the topology\",\"key\":\"prices.m.prompt\",\"from\":null,\"to\":\"1\"}");
}

static void refused(struct process *p, const char *why)
{
	struct sl_buf json = { 0 };
	struct sl_error e = { 0 };

	assert_false(sl_runtime_reload(p->t.rt, &json, &e));
	assert_int_equal(e.verdict, SL_STOP);
	if (!strstr(e.text, why))
		fail_msg("expected '%s' in '%s'", why, e.text);
	assert_int_equal(json.size, 0);
	contains(p->t.rt, sl_runtime_status, "\"budget\":3.0");
}

static void errors_change_nothing(void **state)
{
	static const char *const sets[] = { "asker.budget_per_day=7" };
	struct process *p = *state;
	FILE *f;

	write_file(p, ", budget: 3", "", "");
	begin(p, true, sets, 1);
	write_file(p, ", budget: 4, bugdet: 3", "", "");
	refused(p, "t.yaml:8:78: unknown key 'bugdet' in endpoint 'oracle' (did you mean 'budget'?)");
	write_file(p, ", budget: 4, model: none", "", "");
	refused(p, "nothing is changed: ");
	f = fopen(p->path, "w");
	fprintf(f, "topology: other\nsteps: [{ name: asker, from: pairs.raw, to: { yes: y, unclear: u, failed: f } }]\n"
		   "endpoints: { oracle: { url: \"http://scripted/v1\", model: m } }\nprices: { m: { prompt: 1, "
		   "completion: 1 } }\n");
	fclose(f);
	refused(p, "t.yaml' is of topology 'other' now, and 't' runs");
	assert_int_equal(unlink(p->path), 0);
	refused(p, "t.yaml");
	/* --set wins over the file, then as now */
	write_file(p, ", budget: 3", ", budget_per_day: 9", "");
	contains(p->t.rt, sl_runtime_reload, "\"sets\":1,\"changed\":[],\"waits\":[]}");
	contains(p->t.rt, sl_runtime_status, "\"budget_per_day\":7.0");
	end(p);
	begin(p, false, NULL, 0); /* not what `run` opened */
	refused(p, "is no `sluice run`");
}

/* -- while it runs ---------------------------------------------------------------------------------------- */

struct course {
	struct process *p;
	int stage;
};

/* No money, too little, enough; the operations come from another thread than the workers. */
static void look(void *arg, struct sl_runtime *rt)
{
	static const char *const budgets[] = { ", budget: 0.0026", ", budget: 0.001", "" };
	struct course *c = arg;
	struct sl_buf json = { 0 };
	struct sl_error e = { 0 };
	const char *held;

	assert_true(sl_runtime_status(rt, &json, &e));
	held = strstr(sl_buf_text(&json), "\"state\":\"no_budget\"");
	sl_buf_release(&json);
	if (came_out(c->p) == PAIRS)
		sl_runtime_stop(rt);
	else if (c->stage < 3 && held) {
		write_file(c->p, budgets[c->stage], "", "");
		assert_true(sl_runtime_reload(rt, &json, &e));
		sl_buf_release(&json);
		c->stage++;
	}
}

static void without_a_restart(void **state)
{
	struct process *p = *state;
	struct course c = { .p = p };
	struct sl_run_options options = { .threads = 2, .progress = look, .arg = &c };
	struct sl_error e = { 0 };

	write_file(p, ", budget: 0", "", "");
	begin(p, true, NULL, 0);
	feed(p);
	assert_int_equal(sl_runtime_run(p->t.rt, &options, &e), SL_RUN_STOPPED);
	assert_int_equal(c.stage, 3);
	assert_int_equal(came_out(p), PAIRS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_that_change), TEST(what_is_taken_over), TEST(what_has_no_price),
		TEST(errors_change_nothing),          TEST(without_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
