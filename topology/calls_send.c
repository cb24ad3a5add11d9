/* calls_send.c -- what is held before calls are sent, and what their answers have cost: the two writes of calls.h, in
 * one where there is something of both.
 *
 * An endpoint is handed no more calls than it has under way at once: what would only queue there would be billed after
 * a death, and hold money until then. */
#include "batches.h"
#include "calls_inside.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>

/* One write: what came of calls, and what is held for others that go out in their place. */
struct exchange {
	struct sl_writes rows;
	struct sl_question **sent, **parked;
	size_t count, parked_count;
	bool *full;   /* per purse: somebody waits for it, so nobody overtakes */
	bool *shut;   /* per endpoint: somebody waits for room there */
	size_t open;  /* endpoints that are wanted and not shut */
	int64_t *out; /* per endpoint: calls there, once this is kept */
	int64_t evicted, oldest_ms;
};

/* -- admission --------------------------------------------------------------------------------- */

static void say(struct sl_calls *c, const struct sl_question *call, size_t purse, struct sl_buf *to)
{
	char what[300];

	snprintf(what, sizeof what, purse + 1 == c->ledger.count ? "the step" : "endpoint '%.255s'",
		 c->ledger.names[purse]);
	sl_purse_say(&c->ledger.purses[purse], what, call->held, to);
}

static struct sl_parked parked_of(struct sl_calls *c, const struct sl_question *call)
{
	const struct sl_lane_key lane = { call->payer, call->model, call->path };

	return (struct sl_parked){ .key = call->out.key,
				   .state = SL_PARKED_WAITING,
				   .held = call->held,
				   .since_ms = sl_calls_now_ms(c),
				   .bytes = (int64_t)(call->question.size + sl_batch_line_around(call->path)),
				   .lane = sl_parking_lane(sl_batches_parking(c->batches), &lane) };
}

static bool has_room(const struct sl_calls *c, size_t payer, const struct exchange *x)
{
	return c->payers[payer].in_flight == 0 || x->out[payer] < c->payers[payer].in_flight;
}

/* Park, send, settle for want of money, or leave in the queue. */
static bool consider(struct sl_calls *c, struct sl_question *call, struct exchange *x, struct sl_error *e)
{
	const size_t purses[2] = { call->payer, c->ledger.count - 1 };
	bool fits = true, could = true;
	size_t short_of = 0;

	for (size_t i = 2; i-- > 0;) {
		const struct sl_purse *p = &c->ledger.purses[purses[i]];

		if (x->full[purses[i]] || !sl_purse_fits(p, call->held)) {
			fits = false;
			short_of = purses[i];
		}
		could &= sl_purse_could(p, call->held);
	}
	if (fits && call->batched) {
		const struct sl_parked q = parked_of(c, call);

		x->parked[x->parked_count++] = call;
		call->state = SL_SETTLED; /* nobody looks before it is kept */
		sl_batches_park(c->batches, &q, sl_buf_bytes(&call->question), &x->rows);
		return true;
	}
	if (fits && has_room(c, call->payer, x)) {
		call->state = SL_FLYING;
		x->out[call->payer]++;
		x->sent[x->count++] = call;
		return sl_ledger_hold(&c->ledger, c->setup.store, sl_buf_bytes(&c->memo), &call->out.key, call->payer,
				      call->held, &x->rows, e);
	}
	if (call->out.or_not && !could) {
		struct sl_buf why = { 0 };

		say(c, call, short_of, &why);
		call->why = sl_strdup(sl_buf_text(&why));
		call->status = SL_NO_BUDGET;
		sl_calls_dequeue(c, call);
		call->state = SL_SETTLED;
		sl_buf_release(&why);
		return true;
	}
	if (fits) { /* it would only wait there */
		x->open -= !x->shut[call->payer];
		x->shut[call->payer] = true;
		return true;
	}
	x->full[short_of] = true;
	if (!c->why.size) {
		say(c, call, short_of, &c->why);
		sl_buf_print(&c->why, "; raise it in the file and run `sluice reload`");
	}
	(void)sl_buf_text(&c->why); /* sl_calls_held_up reads it as a text */
	return true;
}

/* Will somebody of the window still wait when what has come is settled? If not its batch may have more to ask, which
 * goes before the questions of others. */
static bool waits(const struct sl_calls *c, const struct sl_window *w)
{
	size_t open = sl_calls_open(w);

	for (const struct sl_question *call = c->pending; open && call; call = call->next)
		open -= sl_questions_find(&w->calls, &call->out.key) < w->calls.count;
	return open > 0;
}

static bool admit(struct sl_calls *c, const struct sl_window *first, struct exchange *x, struct sl_error *e)
{
	struct sl_question *behind;
	bool done = true;

	x->sent = sl_malloc(c->queued * sizeof *x->sent);
	x->parked = sl_malloc(c->queued * sizeof *x->parked);
	x->full = sl_calloc(c->ledger.count, sizeof *x->full);
	x->shut = sl_calloc(c->setup.payer_count + 1, sizeof *x->shut);
	for (size_t i = 0; i < c->setup.payer_count; i++)
		x->open += c->queued_for[i] > 0;
	sl_buf_clear(&c->why);
	for (size_t i = 0; done && x->open && first && i < first->calls.count; i++)
		if (first->calls.at[i]->state == SL_QUEUED)
			done = consider(c, first->calls.at[i], x, e);
	for (struct sl_question *call = c->queue_first; done && x->open && call; call = behind) {
		behind = call->behind;
		if (call->state == SL_QUEUED && call->windows)
			done = consider(c, call, x, e);
	}
	return done;
}

/* It is kept (or not): what was considered is on its way (or back in the queue). */
static void admitted(struct sl_calls *c, struct exchange *x, bool kept)
{
	for (size_t i = 0; i < x->count; i++) {
		if (kept)
			sl_calls_dequeue(c, x->sent[i]);
		else
			x->sent[i]->state = SL_QUEUED;
	}
	for (size_t i = 0; i < x->parked_count; i++) {
		const struct sl_parked q = parked_of(c, x->parked[i]);

		x->parked[i]->state = SL_QUEUED;
		if (!kept)
			continue;
		sl_calls_dequeue(c, x->parked[i]);
		sl_batches_parked(c->batches, &q);
		sl_question_parked(x->parked[i]);
	}
}

static void send(struct sl_calls *c, const struct exchange *x)
{
	sl_lock(&c->lock);
	c->flying += x->count; /* before send: an answer may come at once */
	sl_unlock(&c->lock);
	for (size_t i = 0; i < x->count; i++) {
		struct sl_endpoint *endpoint = c->payers[x->sent[i]->payer].endpoint;

		endpoint->ops->send(endpoint, &x->sent[i]->out);
	}
}

const char *sl_calls_held_up(const struct sl_calls *c)
{
	return c->queued && c->why.size ? (const char *)c->why.data : NULL;
}

/* -- settling ------------------------------------------------------------------------------------ */

static bool in_use(void *calls, const struct sl_id *key)
{
	const struct sl_calls *c = calls;

	return sl_questions_find(&c->all, key) < c->all.count;
}

/* What it has cost: what the server counted, all that one attempt may where it did not, and as much for every attempt
 * of which nobody knows. */
static void weigh(struct sl_calls *c, struct sl_question *call, struct sl_writes *rows)
{
	int64_t cost = (int64_t)call->unknown * call->most;
	struct sl_memo_answer a;

	call->answer = sl_buf_bytes(&call->body);
	if (call->status == 200) {
		const struct sl_usage *u = &call->usage;

		call->memoised = sl_usage_read(call->answer, &call->usage);
		call->micro_dollars = u->prompt || u->completion ? sl_price_cost(call->price, u) : call->most;
		cost += call->micro_dollars;
	}
	if (call->memoised) {
		a = (struct sl_memo_answer){ sl_calls_now_ms(c), call->micro_dollars, call->usage, call->answer };
		c->ledger.counts.bytes += sl_memo_put(rows, sl_buf_bytes(&c->memo), &call->out.key, &a);
		c->ledger.counts.answers++;
	}
	c->ledger.counts.unknown += call->unknown;
	sl_ledger_settle(&c->ledger, sl_buf_bytes(&c->memo), &call->out.key, call->payer, call->held, cost, rows);
}

static bool evict(struct sl_calls *c, struct exchange *x, struct sl_error *e)
{
	const struct sl_memo_bounds *b = &c->setup.bounds;
	struct sl_ledger_counts *counts = &c->ledger.counts;
	bool full = b->bytes_max && counts->bytes > b->bytes_max;
	bool old = b->age_max_ms && c->oldest_ms < sl_calls_now_ms(c) - b->age_max_ms;

	x->oldest_ms = c->oldest_ms;
	return (!full && !old) ||
	       sl_memo_evict(c->setup.store, sl_buf_bytes(&c->memo), b, sl_calls_now_ms(c), in_use, c, &x->rows,
			     &counts->bytes, &counts->answers, &x->evicted, &x->oldest_ms, e);
}

/* Settled, in memory; what may wait and was not answered is queued again. */
static void settled(struct sl_calls *c, struct sl_question *call)
{
	if (call->status == SL_AWAY && !call->out.or_not) {
		sl_question_again(call);
		sl_calls_enqueue(c, call);
		return;
	}
	call->state = SL_SETTLED;
	c->stats.malformed += call->status == 200 && !call->memoised;
}

static void take_arrived(struct sl_calls *c)
{
	struct sl_question *arrived;

	sl_lock(&c->lock);
	arrived = c->arrived;
	c->arrived = NULL;
	sl_unlock(&c->lock);
	while (arrived) {
		struct sl_question *next = arrived->next;

		c->drained |= arrived->status == SL_AWAY && !arrived->out.or_not && arrived->attempts == 0;
		arrived->next = c->pending;
		c->pending = arrived;
		arrived = next;
	}
}

static bool weigh_all(struct sl_calls *c, struct exchange *x, struct sl_error *e)
{
	for (struct sl_question *call = c->pending; call; call = call->next) {
		weigh(c, call, &x->rows);
		x->out[call->payer]--;
	}
	return evict(c, x, e);
}

static void settle_all(struct sl_calls *c, const struct exchange *x)
{
	c->oldest_ms = x->oldest_ms < sl_calls_now_ms(c) ? x->oldest_ms : sl_calls_now_ms(c);
	c->stats.evicted += x->evicted;
	while (c->pending) {
		struct sl_question *call = c->pending;

		c->pending = call->next;
		settled(c, call);
	}
}

/* -- both in one write --------------------------------------------------------------------------- */

static bool exchange(struct sl_calls *c, bool sending, const struct sl_window *first, struct sl_error *e)
{
	struct exchange x = { 0 };
	struct sl_ledger_mark mark;
	bool done;

	take_arrived(c);
	sl_calls_take_shares(c);
	sending = sending && c->queued && !c->drained && (!first || waits(c, first));
	if (!sending && !c->pending)
		return true;
	sl_calls_new_day(c);
	sl_ledger_mark(&c->ledger, &mark);
	x.out = sl_malloc((c->setup.payer_count + 1) * sizeof *x.out);
	memcpy(x.out, c->out, c->setup.payer_count * sizeof *x.out);
	done = !c->pending || weigh_all(c, &x, e);
	done = done && (!sending || admit(c, first, &x, e));
	if (c->pending || c->ledger.counts.repeated != mark.counts.repeated)
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &x.rows);
	done = done && (x.rows.count == 0 || c->setup.keep(c->setup.arg, &x.rows, e));
	sl_ledger_unmark(&c->ledger, &mark, !done);
	admitted(c, &x, done);
	if (done) {
		memcpy(c->out, x.out, c->setup.payer_count * sizeof *x.out);
		if (c->pending)
			settle_all(c, &x);
		c->stats.sent += (int64_t)x.count;
		sl_calls_show(c);
		send(c, &x);
	}
	sl_writes_release(&x.rows);
	free(x.sent);
	free(x.parked);
	free(x.full);
	free(x.shut);
	free(x.out);
	return done;
}

bool sl_calls_admit(struct sl_calls *c, const struct sl_window *first, struct sl_error *e)
{
	return exchange(c, true, first, e);
}

bool sl_calls_settle(struct sl_calls *c, struct sl_error *e)
{
	return exchange(c, false, NULL, e);
}
