/* test_spending.c -- no course of events spends more than a budget: random prices, answers, failures, stores that fail
 * and machines that stop, against a server that knows what it was paid. */
#include "topology/calls.h"

#include "tests/twins.h"
#include "topology/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* -- a server that keeps its own books -------------------------------------------------------- */

#define QUESTIONS 40
#define RETRIES 2

struct bank {
	struct sl_endpoint endpoint; /* first */
	struct sl_twins *twins;
	struct sl_calls *calls;
	struct sl_window *window;
	struct sl_price price;
	struct sl_payer payer;
	int64_t share, step_share; /* of the endpoint, of the step: the most that they have been */
	struct sl_outcall *open[4 * QUESTIONS];
	size_t count;
	int64_t paid, sent, now_ms;
	bool asked[QUESTIONS], known[QUESTIONS]; /* sent ever; an answer was kept */
	int64_t unkept;                          /* answers that have come and are not kept */
	int64_t died_with;                       /* calls that were under way at a death */
	uint64_t seed;
};

static uint64_t some(struct bank *b, uint64_t n)
{
	return sl_random(&b->seed) % n;
}

static void bank_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	struct bank *b = (struct bank *)e;

	assert_true(b->count < sizeof b->open / sizeof *b->open);
	b->open[b->count++] = call;
	assert_true(b->payer.in_flight == 0 || (int64_t)b->count <= b->payer.in_flight);
	b->sent++;
}

static const struct sl_endpoint_ops bank_ops = { .send = bank_send };

static void nothing(void *arg)
{
	(void)arg;
}

static bool keep(void *arg, struct sl_writes *rows, struct sl_error *e)
{
	struct bank *b = arg;

	return b->twins->store->ops->write(b->twins->store, &rows, 1, true, e);
}

static int64_t clock_of(void *arg)
{
	return ((struct bank *)arg)->now_ms;
}

static void bank_open(struct bank *b)
{
	const struct sl_calls_setup setup = { .store = b->twins->store,
					      .memo = sl_text("m"),
					      .keep = keep,
					      .wake = nothing,
					      .arg = b,
					      .payers = &b->payer,
					      .payer_count = 1,
					      .share = b->step_share,
					      .share_day = -1,
					      .now_ms = clock_of };
	struct sl_error e = { 0 };

	b->calls = sl_calls_new(&setup, &e);
	if (!b->calls)
		fail_msg("%s", e.text);
	b->window = sl_window_new();
}

static void bank_close(struct bank *b)
{
	while (b->count) {
		struct sl_outcall *call = b->open[--b->count];

		call->done(call, &(struct sl_settlement){ .status = SL_GAVE_UP, .why = "closing" });
	}
	sl_calls_end(b->calls, b->window, false);
	sl_window_free(b->window);
	sl_calls_free(b->calls);
}

/* What the server makes of a call: it uses what it may, fails, or nobody knows. */
static void bank_answer(struct bank *b)
{
	struct sl_outcall *call;
	struct sl_settlement s = { .attempts = 1 };
	int64_t most;
	struct sl_usage usage;
	char body[200];
	size_t i;

	if (!b->count)
		return;
	i = (size_t)some(b, b->count);
	call = b->open[i];
	b->open[i] = b->open[--b->count];
	most = sl_price_most(&b->price, call->body.size, call->tokens_max);
	s.unknown = some(b, 3) ? 0 : (uint32_t)some(b, RETRIES + 1);
	for (uint32_t k = 0; k < s.unknown; k++)
		b->paid += some(b, 2) ? most : 0;
	if (some(b, 4) == 0) {
		s.status = some(b, 2) ? 500 : SL_GAVE_UP;
		s.why = "why";
	} else {
		usage = (struct sl_usage){ .prompt = 1 + (int64_t)some(b, call->body.size),
					   .completion = (int64_t)some(b, (uint64_t)call->tokens_max + 1) };
		snprintf(body, sizeof body,
			 some(b, 8) ? "{\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}" : "{}",
			 (int)usage.prompt, (int)usage.completion);
		s.status = 200;
		s.body = sl_text(body);
		b->paid += sl_price_cost(&b->price, &usage);
	}
	call->done(call, &s);
	b->unkept++;
}

static void books(struct bank *b)
{
	struct sl_calls_stats stats;
	struct sl_purse p[2];

	sl_calls_stats(b->calls, &stats, p);
	assert_int_equal(stats.counts.overshot, 0);
	for (int i = 0; i < 2; i++) {
		int64_t share = i ? b->step_share : b->share;

		assert_true(p[i].held >= 0);
		if (share >= 0)
			assert_true(p[i].spent + p[i].held <= share);
	}
	assert_true(b->paid <= p[0].spent + p[0].held);
	assert_true(stats.counts.repeated <= b->died_with);
}

/* What has come is kept in the same write. */
static void admit(struct bank *b)
{
	struct sl_error e = { 0 };

	if (sl_calls_admit(b->calls, b->window, &e))
		b->unkept = 0;
	else /* not sent, but that may not be what the rows say */
		b->died_with += b->payer.in_flight ? b->payer.in_flight : QUESTIONS;
}

/* A round: some questions, in a batch of their own. */
static void ask_some(struct bank *b)
{
	struct sl_error e = { 0 };
	char body[64];

	for (int n = 1 + (int)some(b, 8); n > 0; n--) {
		size_t which = (size_t)some(b, QUESTIONS);
		struct sl_call call = { .endpoint = "bank",
					.tokens_max = 1 + (int64_t)which,
					.or_not = some(b, 3) == 0 };
		struct sl_answer answer;
		uint32_t number;

		snprintf(body, sizeof body, "{\"question\":%zu}", which);
		call.body = sl_text(body);
		if (!sl_calls_ask(b->calls, b->window, 0, true, &call, &number, &e))
			continue; /* the store failed */
		answer = sl_calls_answer(b->window, number);
		if (b->known[which]) /* what was kept is never lost, nor asked again */
			assert_int_equal(answer.status, 200);
		b->known[which] |= answer.status == 200;
		b->asked[which] = true;
	}
	admit(b);
}

/* Other budgets, smaller ones too: what is spent and held is never more than the largest allowed. */
static void other_shares(struct bank *b)
{
	const struct sl_share shares[2] = { { (int64_t)some(b, 200000), -1 }, { (int64_t)some(b, 200000), -1 } };

	sl_calls_reshare(b->calls, shares);
	if (b->share >= 0 && shares[0].all > b->share)
		b->share = shares[0].all;
	if (b->step_share >= 0 && shares[1].all > b->step_share)
		b->step_share = shares[1].all;
}

static void one_life(struct bank *b)
{
	struct sl_error e = { 0 };

	for (int step = 0; step < 60 && !b->twins->dead; step++) {
		b->now_ms += (int64_t)some(b, 1000);
		if (some(b, 3) == 0)
			ask_some(b);
		else if (some(b, 2))
			bank_answer(b);
		else if (some(b, 2))
			admit(b);
		else if (sl_calls_settle(b->calls, &e))
			b->unkept = 0;
		if (some(b, 20) == 0)
			other_shares(b);
		if (some(b, 10) == 0)
			sl_calls_end(b->calls, b->window, some(b, 2));
		books(b);
	}
}

/* Those under way may be answered, and paid, with nobody to hear it. */
static void die(struct bank *b)
{
	b->died_with += (int64_t)b->count + b->unkept;
	b->unkept = 0;
	for (size_t i = 0; i < b->count; i++)
		for (int k = 0; k <= RETRIES; k++)
			b->paid += some(b, 2) ? sl_price_most(&b->price, b->open[i]->body.size, b->open[i]->tokens_max)
					      : 0;
	b->twins->dead = true; /* what is settled on the way down is not kept */
	bank_close(b);
	sl_twins_crash(b->twins, some(b, 2) ? SL_TWIN_KILL : SL_TWIN_POWER);
	b->twins->die_at = some(b, 2) ? 1 + (int64_t)some(b, 150) : 0;
	b->twins->operations = 0;
}

static void nothing_overshoots(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct bank b = { .endpoint = { .ops = &bank_ops, .name = "bank" },
				  .seed = seed * 0x9e3779b97f4a7c15u,
				  .now_ms = 1700000000000 };

		b.twins = sl_twins_new(seed);
		b.price = (struct sl_price){ "m", (double)some(&b, 300) / 100, (double)some(&b, 100) / 100,
					     (double)some(&b, 900) / 100 };
		b.share = some(&b, 5) ? (int64_t)some(&b, 200000) : -1;
		b.step_share = some(&b, 5) ? (int64_t)some(&b, 200000) : -1;
		b.payer = (struct sl_payer){ .name = "bank",
					     .model = "m",
					     .endpoint = &b.endpoint,
					     .price = &b.price,
					     .retries = RETRIES,
					     .in_flight = (int64_t)some(&b, 6),
					     .share = b.share,
					     .share_day = some(&b, 3) ? -1 : (int64_t)some(&b, 100000) };
		bank_open(&b);
		for (int life = 0; life < 4; life++) {
			one_life(&b);
			die(&b);
			b.twins->die_at = 0;
			bank_open(&b);
			books(&b);
			b.twins->die_at = some(&b, 2) ? b.twins->operations + 1 + (int64_t)some(&b, 150) : 0;
		}
		bank_close(&b);
		sl_twins_free(b.twins);
	}
}

/* -- who waits and who does not ------------------------------------------------------------------ */

static uint32_t ask(struct bank *b, const char *body, bool or_not)
{
	const struct sl_call call = { .endpoint = "bank", .body = sl_text(body), .or_not = or_not };
	struct sl_error e = { 0 };
	uint32_t number;

	assert_true(sl_calls_ask(b->calls, b->window, 0, true, &call, &number, &e));
	assert_true(sl_calls_admit(b->calls, b->window, &e));
	return number;
}

static void answer_first(struct bank *b, const char *body)
{
	struct sl_outcall *call = b->open[0];
	struct sl_error e = { 0 };

	memmove(b->open, b->open + 1, --b->count * sizeof *b->open);
	call->done(call, &(struct sl_settlement){ .status = 200, .body = sl_text(body), .attempts = 1 });
	assert_true(sl_calls_settle(b->calls, &e));
}

static const char *const used_ten = "{\"usage\":{\"prompt_tokens\":10}}";

/* A call of a one-letter body may cost 257 tokens of one micro-dollar. */
static struct bank small_bank(int64_t share, int64_t share_day)
{
	return (struct bank){ .endpoint = { .ops = &bank_ops, .name = "bank" },
			      .price = { "m", 1, 1, 1 },
			      .share = share,
			      .step_share = -1,
			      .payer = { .name = "bank", .model = "m", .share = share, .share_day = share_day },
			      .now_ms = 20000 * SL_DAY_MS + 5 };
}

static void bank_begin(struct bank *b)
{
	b->twins = sl_twins_new(1);
	b->payer.endpoint = &b->endpoint;
	b->payer.price = &b->price;
	bank_open(b);
}

static void those_that_wait(void **state)
{
	struct bank b = small_bank(600, -1);
	struct sl_error e = { 0 };

	(void)state;
	bank_begin(&b);
	ask(&b, "a", false);
	ask(&b, "b", false);
	ask(&b, "c", false);
	ask(&b, "d", true);
	assert_int_equal(b.sent, 2); /* 514 held: c waits, and d behind it: what is held comes back */
	assert_non_null(strstr(sl_calls_held_up(b.calls), "budget of endpoint 'bank' is spent: $0 of $0.0006, "
							  "$0.000514 reserved"));
	assert_int_equal(sl_calls_open(b.window), 4);
	answer_first(&b, used_ten);
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(b.sent, 3);
	answer_first(&b, used_ten);
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(b.sent, 4);
	assert_null(sl_calls_held_up(b.calls));
	answer_first(&b, used_ten);
	answer_first(&b, "{}"); /* says nothing of what it used: all that it may have */
	assert_int_equal(sl_calls_open(b.window), 0);
	ask(&b, "e", false); /* 287 spent: room for one */
	ask(&b, "f", true);  /* and no money for a second if that one costs nothing */
	assert_int_equal(b.sent, 5);
	answer_first(&b, "{}");
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(sl_calls_answer(b.window, ask(&b, "f", true)).status, SL_NO_BUDGET);
	assert_int_equal(sl_calls_answer(b.window, ask(&b, "g", true)).status, SL_NO_BUDGET);
	ask(&b, "h", false);
	assert_int_equal(b.sent, 5);
	assert_int_equal(sl_calls_in_flight(b.calls), 0);
	assert_non_null(sl_calls_held_up(b.calls));
	bank_close(&b);
	sl_twins_free(b.twins);
}

/* An endpoint that is away tries a call more often than was held for: it gives it back, to be paid for anew. */
static void paid_for_anew(void **state)
{
	struct bank b = small_bank(600, -1);
	struct sl_error e = { 0 };
	struct sl_calls_stats stats;
	struct sl_purse p[2];

	(void)state;
	bank_begin(&b);
	ask(&b, "a", false);
	b.count--;
	b.open[0]->done(b.open[0],
			&(struct sl_settlement){ .status = SL_AWAY, .why = "why", .attempts = 1, .unknown = 1 });
	assert_true(sl_calls_settle(b.calls, &e));
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(p[0].spent, 257);
	assert_int_equal(p[0].held, 0);
	assert_int_equal(sl_calls_open(b.window), 1);
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(b.sent, 2);
	answer_first(&b, used_ten);
	assert_int_equal(sl_calls_answer(b.window, 0).status, 200);
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(p[0].spent, 267);
	assert_int_equal(stats.counts.unknown, 1);
	assert_int_equal(stats.counts.overshot, 0);
	bank_close(&b);
	sl_twins_free(b.twins);
}

static void a_new_day(void **state)
{
	struct bank b = small_bank(-1, 300);
	struct sl_error e = { 0 };

	(void)state;
	bank_begin(&b);
	ask(&b, "a", false);
	ask(&b, "b", false);
	answer_first(&b, "{}");
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(b.sent, 1);
	assert_non_null(strstr(sl_calls_held_up(b.calls), "for today is spent"));
	/* the money of the day is remembered over a death */
	bank_close(&b);
	sl_twins_crash(b.twins, SL_TWIN_POWER);
	bank_open(&b);
	ask(&b, "b", false);
	assert_int_equal(b.sent, 1);
	b.now_ms += SL_DAY_MS;
	assert_true(sl_calls_admit(b.calls, b.window, &e));
	assert_int_equal(b.sent, 2);
	bank_close(&b);
	sl_twins_free(b.twins);
}

/* What a death leaves is billed to the day on which it is found out, whether that day or any has paid before. */
static void a_bill_is_of_its_day(void **state)
{
	struct sl_calls_stats stats;
	struct sl_purse p[2];

	(void)state;
	for (int days = 0; days < 2; days++) {
		struct bank b = small_bank(-1, 600);

		bank_begin(&b);
		ask(&b, "a", false);
		ask(&b, "b", false);
		die(&b);
		b.twins->die_at = 0;
		b.now_ms += days * SL_DAY_MS;
		bank_open(&b);
		sl_calls_stats(b.calls, &stats, p);
		assert_int_equal(p[0].spent, 2 * 257);
		assert_int_equal(p[0].spent_day, 2 * 257);
		assert_int_equal(p[1].spent_day, 2 * 257);
		ask(&b, "c", false);
		assert_int_equal(b.sent, 2);
		assert_non_null(strstr(sl_calls_held_up(b.calls), "for today is spent"));
		bank_close(&b);
		sl_twins_free(b.twins);
	}
}

static void a_budget_needs_a_price(void **state)
{
	struct bank b = small_bank(600, -1);
	const struct sl_call call = { .endpoint = "bank", .model = "other", .body = sl_text("a") };
	struct sl_error e = { 0 };
	uint32_t number;

	(void)state;
	bank_begin(&b);
	assert_false(sl_calls_ask(b.calls, b.window, 0, true, &call, &number, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "model 'other' under a budget, and the model has no price"));
	bank_close(&b);
	sl_twins_free(b.twins);
}

static void what_a_death_leaves(void **state)
{
	struct bank b = small_bank(-1, -1);
	struct sl_calls_stats stats;
	struct sl_purse p[2];

	(void)state;
	bank_begin(&b);
	ask(&b, "a", false);
	ask(&b, "b", false);
	ask(&b, "c", false);
	answer_first(&b, used_ten);
	die(&b);
	b.twins->die_at = 0;
	bank_open(&b);
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(stats.counts.lost, 2);
	assert_int_equal(stats.counts.repeated, 0);
	assert_int_equal(p[0].spent, 10 + 2 * 257);
	assert_int_equal(p[0].held, 0);
	ask(&b, "b", false); /* asked again, and the other is not */
	answer_first(&b, used_ten);
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(stats.counts.lost, 1);
	assert_int_equal(stats.counts.repeated, 1);
	assert_int_equal(p[0].spent, 20 + 2 * 257);
	bank_close(&b);
	bank_open(&b); /* billed once */
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(stats.counts.repeated, 1);
	assert_int_equal(stats.counts.answers, 2);
	assert_int_equal(p[0].spent, 20 + 2 * 257);
	assert_int_equal(p[1].spent, 20 + 2 * 257);
	bank_close(&b);
	sl_twins_free(b.twins);
}

static void dearer_than_it_may_be(void **state)
{
	struct bank b = small_bank(600, -1);
	struct sl_calls_stats stats;
	struct sl_purse p[2];

	(void)state;
	bank_begin(&b);
	ask(&b, "a", false);
	answer_first(&b, "{\"usage\":{\"prompt_tokens\":1000}}");
	sl_calls_stats(b.calls, &stats, p);
	assert_int_equal(stats.counts.overshot, 1);
	assert_int_equal(stats.counts.overshot_micro, 743);
	assert_int_equal(p[0].spent, 1000);
	assert_int_equal(sl_calls_answer(b.window, ask(&b, "b", true)).status, SL_NO_BUDGET);
	bank_close(&b);
	sl_twins_free(b.twins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_overshoots),     cmocka_unit_test(those_that_wait),
		cmocka_unit_test(paid_for_anew),          cmocka_unit_test(a_new_day),
		cmocka_unit_test(a_budget_needs_a_price), cmocka_unit_test(a_bill_is_of_its_day),
		cmocka_unit_test(what_a_death_leaves),    cmocka_unit_test(dearer_than_it_may_be),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
