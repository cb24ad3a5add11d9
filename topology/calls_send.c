/* calls_send.c -- what is held before calls are sent, and what their answers have cost: the two writes of calls.h. */
#include "batches.h"
#include "calls_inside.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>

/* -- admission --------------------------------------------------------------------------------- */

struct admission {
	struct sl_writes rows;
	struct sl_question **sent, **parked;
	size_t count, parked_count;
	bool *full; /* per purse: somebody waits for it, so nobody overtakes */
};

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

/* Park, send, settle for want of money, or leave in the queue. */
static bool consider(struct sl_calls *c, struct sl_question *call, struct admission *a, struct sl_error *e)
{
	const size_t purses[2] = { call->payer, c->ledger.count - 1 };
	bool fits = true, could = true;
	size_t short_of = 0;

	for (size_t i = 2; i-- > 0;) {
		const struct sl_purse *p = &c->ledger.purses[purses[i]];

		if (a->full[purses[i]] || !sl_purse_fits(p, call->held)) {
			fits = false;
			short_of = purses[i];
		}
		could &= sl_purse_could(p, call->held);
	}
	if (fits && call->batched) {
		const struct sl_parked q = parked_of(c, call);

		a->parked[a->parked_count++] = call;
		call->state = SL_SETTLED; /* nobody looks before it is kept */
		sl_batches_park(c->batches, &q, sl_buf_bytes(&call->question), &a->rows);
		return true;
	}
	if (fits) {
		call->state = SL_FLYING;
		a->sent[a->count++] = call;
		return sl_ledger_hold(&c->ledger, c->setup.store, sl_buf_bytes(&c->memo), &call->out.key, call->payer,
				      call->held, &a->rows, e);
	}
	if (call->out.or_not && !could) {
		struct sl_buf why = { 0 };

		say(c, call, short_of, &why);
		call->why = sl_strdup(sl_buf_text(&why));
		call->status = SL_NO_BUDGET;
		call->state = SL_SETTLED;
		sl_buf_release(&why);
		return true;
	}
	a->full[short_of] = true;
	if (!c->why.size)
		say(c, call, short_of, &c->why);
	(void)sl_buf_text(&c->why); /* sl_calls_held_up reads it as a text */
	return true;
}

bool sl_calls_admit(struct sl_calls *c, const struct sl_window *first, struct sl_error *e)
{
	struct admission a = { 0 };
	struct sl_ledger_mark mark;
	bool done = true;

	if (c->queued == 0 || c->drained)
		return true;
	sl_calls_new_day(c);
	sl_ledger_mark(&c->ledger, &mark);
	a.sent = sl_malloc(c->queued * sizeof *a.sent);
	a.parked = sl_malloc(c->queued * sizeof *a.parked);
	a.full = sl_calloc(c->ledger.count, sizeof *a.full);
	sl_buf_clear(&c->why);
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; done && i < c->queued; i++) {
			struct sl_question *call = c->queue[i];
			bool of_first = first && sl_questions_find(&first->calls, &call->out.key) < first->calls.count;

			if (call->state == SL_QUEUED && call->windows && of_first == (turn == 0))
				done = consider(c, call, &a, e);
		}
	}
	if (c->ledger.counts.repeated != mark.counts.repeated)
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &a.rows);
	done = done && (a.rows.count == 0 || c->setup.keep(c->setup.arg, &a.rows, e));
	sl_ledger_unmark(&c->ledger, &mark, !done);
	for (size_t i = 0; !done && i < a.count; i++)
		a.sent[i]->state = SL_QUEUED;
	for (size_t i = 0; i < a.parked_count; i++) {
		const struct sl_parked q = parked_of(c, a.parked[i]);

		a.parked[i]->state = SL_QUEUED;
		if (!done)
			continue;
		sl_batches_parked(c->batches, &q);
		sl_question_parked(a.parked[i]);
	}
	sl_calls_queue_tidy(c);
	if (done) {
		sl_lock(&c->lock);
		c->flying += a.count; /* before send: an answer may come at once */
		sl_unlock(&c->lock);
		c->stats.sent += (int64_t)a.count;
		sl_calls_show(c);
		for (size_t i = 0; i < a.count; i++) {
			struct sl_endpoint *endpoint = c->payers[a.sent[i]->payer].endpoint;

			endpoint->ops->send(endpoint, &a.sent[i]->out);
		}
	}
	sl_writes_release(&a.rows);
	free(a.sent);
	free(a.parked);
	free(a.full);
	return done;
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

static bool evict(struct sl_calls *c, struct sl_writes *rows, int64_t *evicted, int64_t *oldest_ms, struct sl_error *e)
{
	const struct sl_memo_bounds *b = &c->setup.bounds;
	struct sl_ledger_counts *counts = &c->ledger.counts;
	bool full = b->bytes_max && counts->bytes > b->bytes_max;
	bool old = b->age_max_ms && c->oldest_ms < sl_calls_now_ms(c) - b->age_max_ms;

	*oldest_ms = c->oldest_ms;
	return (!full && !old) || sl_memo_evict(c->setup.store, sl_buf_bytes(&c->memo), b, sl_calls_now_ms(c), in_use,
						c, rows, &counts->bytes, &counts->answers, evicted, oldest_ms, e);
}

/* Settled, in memory; what may wait and was not answered is queued again, and after a drain nothing is sent. */
static void settled(struct sl_calls *c, struct sl_question *call)
{
	if (call->status == SL_AWAY && !call->out.or_not) {
		c->drained |= call->attempts == 0;
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

		arrived->next = c->pending;
		c->pending = arrived;
		arrived = next;
	}
}

bool sl_calls_settle(struct sl_calls *c, struct sl_error *e)
{
	struct sl_writes rows = { 0 };
	struct sl_ledger_mark mark;
	int64_t evicted = 0, oldest_ms = 0;
	bool done;

	take_arrived(c);
	if (!c->pending)
		return true;
	sl_calls_new_day(c);
	sl_ledger_mark(&c->ledger, &mark);
	for (struct sl_question *call = c->pending; call; call = call->next)
		weigh(c, call, &rows);
	done = evict(c, &rows, &evicted, &oldest_ms, e);
	if (done) {
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &rows);
		done = c->setup.keep(c->setup.arg, &rows, e);
	}
	sl_ledger_unmark(&c->ledger, &mark, !done);
	sl_writes_release(&rows);
	if (!done)
		return false;
	c->oldest_ms = oldest_ms < sl_calls_now_ms(c) ? oldest_ms : sl_calls_now_ms(c);
	c->stats.evicted += evicted;
	while (c->pending) {
		struct sl_question *call = c->pending;

		c->pending = call->next;
		settled(c, call);
	}
	sl_calls_show(c);
	return true;
}
