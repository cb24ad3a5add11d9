/* batches_read.c -- what the files of a batch come to: answers into the memo, the rest asked again or given up.
 *
 * Lines are dealt with in portions, each one write. Read again after a crash, the lines that were dealt with are of
 * questions that are parked no more, and are passed over. */
#include "batches_inside.h"

#include "base/log.h"
#include "usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LINES_AT_ONCE 1000
#define BYTES_AT_ONCE ((size_t)4 << 20)

enum fate { GONE, AGAIN, GIVEN_UP }; /* GONE: parked no more, answered or not */

struct change {
	struct sl_parked *q;
	enum fate fate;
	uint32_t tries;
	int status;
	char why[SL_BATCH_WHY_SIZE];
};

/* One write, and then the same in memory. */
struct changes {
	struct sl_batches *b;
	struct sl_writes rows;
	struct sl_ledger_mark mark;
	struct change *at;
	size_t count, capacity;
	struct sl_calls_stats stats;
};

/* No other change of the stats comes between. */
static void begin(struct changes *x, struct sl_batches *b)
{
	*x = (struct changes){ .b = b, .stats = b->calls->stats };
	sl_ledger_mark(&b->calls->ledger, &x->mark);
}

static struct change *add(struct changes *x, struct sl_parked *q)
{
	if (x->count == x->capacity) {
		x->capacity = x->capacity ? 2 * x->capacity : 256;
		x->at = sl_realloc(x->at, x->capacity * sizeof *x->at);
	}
	x->at[x->count] = (struct change){ .q = q, .tries = q->tries };
	return &x->at[x->count++];
}

static bool in_use(void *calls, const struct sl_id *key)
{
	const struct sl_calls *c = calls;

	return sl_questions_find(&c->all, key) < c->all.count;
}

/* Old answers go for new ones. */
static bool evict(struct changes *x, int64_t *oldest_ms, struct sl_error *e)
{
	struct sl_calls *c = x->b->calls;
	const struct sl_memo_bounds *bounds = &c->setup.bounds;
	int64_t now_ms = sl_calls_now_ms(c);

	*oldest_ms = c->oldest_ms;
	if ((!bounds->bytes_max || c->ledger.counts.bytes <= bounds->bytes_max) &&
	    (!bounds->age_max_ms || c->oldest_ms >= now_ms - bounds->age_max_ms))
		return true;
	return sl_memo_evict(c->setup.store, sl_buf_bytes(&c->memo), bounds, now_ms, in_use, c, &x->rows,
			     &c->ledger.counts.bytes, &c->ledger.counts.answers, &x->stats.evicted, oldest_ms, e);
}

static bool end(struct changes *x, bool *settled, struct sl_error *e)
{
	struct sl_calls *c = x->b->calls;
	struct sl_parking *p = &x->b->parking;
	int64_t oldest_ms;
	bool done = evict(x, &oldest_ms, e);

	if (done) {
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &x->rows);
		done = c->setup.keep(c->setup.arg, &x->rows, e);
	}
	sl_ledger_unmark(&c->ledger, &x->mark, !done);
	for (size_t i = 0; done && i < x->count; i++) {
		const struct change *change = &x->at[i];

		if (change->fate == GONE) {
			sl_parking_remove(p, change->q);
		} else if (change->fate == GIVEN_UP) {
			sl_parking_give_up(p, change->q, change->status, change->why);
		} else {
			change->q->tries = change->tries;
			sl_parking_queue(change->q);
		}
		*settled |= change->fate != AGAIN;
	}
	if (done) {
		c->stats = x->stats;
		c->oldest_ms = oldest_ms < sl_calls_now_ms(c) ? oldest_ms : sl_calls_now_ms(c);
	}
	sl_writes_release(&x->rows);
	free(x->at);
	return done;
}

static void answered(struct changes *x, struct sl_parked *q, const struct sl_usage *usage, struct sl_bytes body)
{
	struct sl_calls *c = x->b->calls;
	double discount = sl_batches_options(x->b, q->lane)->discount;
	int64_t cost = sl_price_cost(sl_calls_price(c, q->lane->of.payer, q->lane->model), usage);
	struct sl_memo_answer a = { .stored_ms = sl_calls_now_ms(c), .usage = *usage, .body = body };

	/* A server that does not count is taken to have used all that it could. */
	a.micro_dollars = usage->prompt || usage->completion ? sl_price_part(cost, discount) : q->held;
	c->ledger.counts.bytes += sl_memo_put(&x->rows, sl_buf_bytes(&c->memo), &q->key, &a);
	c->ledger.counts.answers++;
	sl_ledger_pay(&c->ledger, q->lane->of.payer, q->held, a.micro_dollars);
	sl_parked_delete(&x->b->parking, &q->key, &x->rows);
	add(x, q)->fate = GONE;
	x->stats.batched++;
}

/* Its batch cannot be found any more: it may have been paid, and is asked about anew if anybody still wants to know. */
static void lost(struct changes *x, struct sl_parked *q)
{
	sl_ledger_pay(&x->b->calls->ledger, q->lane->of.payer, q->held, q->held);
	sl_parked_delete(&x->b->parking, &q->key, &x->rows);
	add(x, q)->fate = GONE;
	x->stats.batch_lost++;
}

static void give_up(struct changes *x, struct sl_parked *q, int status, const char *why, struct sl_bytes body)
{
	struct change *change = add(x, q);
	struct sl_parked with = *q;
	int64_t cost = status == 200 ? q->held : 0; /* an answer, if not one of use: it was paid */

	change->fate = GIVEN_UP;
	change->status = status;
	snprintf(change->why, sizeof change->why, "%s", why);
	with.state = SL_PARKED_GAVE_UP;
	with.status = status;
	with.why = change->why;
	with.batch = 0;
	with.held = 0;
	sl_ledger_pay(&x->b->calls->ledger, q->lane->of.payer, q->held, cost);
	sl_parked_write(&x->b->parking, &with, body, &x->rows);
	x->stats.batch_failed++;
}

static void again(struct changes *x, struct sl_parked *q, bool a_try)
{
	struct change *change = add(x, q);
	struct sl_parked with = *q;

	change->fate = AGAIN;
	change->tries = q->tries + a_try;
	with.tries = change->tries;
	with.batch = 0;
	sl_parked_rewrite(&x->b->parking, &with, &x->rows);
}

static bool may_pass(int status)
{
	return status == 0 || status == 408 || status == 409 || status == 429 || status >= 500;
}

static void failed(struct changes *x, struct sl_parked *q, int status, const char *why, struct sl_bytes body)
{
	char text[SL_BATCH_WHY_SIZE];

	if (!may_pass(status)) {
		give_up(x, q, status, why, body);
	} else if ((int64_t)q->tries < x->b->calls->payers[q->lane->of.payer].retries) {
		again(x, q, true);
	} else {
		snprintf(text, sizeof text, "%.120s, in %" PRIu32 " batches", why[0] ? why : "no answer", q->tries + 1);
		give_up(x, q, SL_GAVE_UP, text, (struct sl_bytes){ 0 });
	}
}

bool sl_batches_read(struct sl_batches *b, struct batch *batch, bool *whole, bool *settled, struct sl_error *e)
{
	size_t at = batch->at, start = at;
	struct sl_batch_line line = { 0 };
	struct changes x;

	begin(&x, b);
	*whole = true;
	while (sl_batch_next(sl_buf_bytes(&batch->reply), &at, &line)) {
		struct sl_parked *q = line.keyed ? sl_parking_find(&b->parking, &line.key) : NULL;
		struct sl_usage usage;

		/* One that was dealt with, twice the same, or somebody else's. */
		if (!q || q->state != SL_PARKED_WAITING || q->batch != batch->row.number)
			continue;
		q->batch = 0; /* so that a second line of it is passed over; memory alone, until the write is done */
		if (line.status == 200 && sl_usage_read(sl_buf_bytes(&line.body), &usage))
			answered(&x, q, &usage, sl_buf_bytes(&line.body));
		else
			failed(&x, q, line.status, line.why, sl_buf_bytes(&line.body));
		if (x.count >= LINES_AT_ONCE || at - start > BYTES_AT_ONCE) {
			*whole = false;
			break;
		}
	}
	sl_buf_release(&line.body);
	for (size_t i = 0; i < x.count; i++)
		x.at[i].q->batch = batch->row.number;
	if (!end(&x, settled, e))
		return false;
	batch->at = at;
	return true;
}

bool sl_batches_finish(struct sl_batches *b, struct batch *batch, int64_t now_ms, bool *settled, struct sl_error *e)
{
	struct sl_parking_lane *lane = batch->row.lane;
	bool as_a_whole = batch->said.stage == SL_BATCH_FAILED;
	int64_t without = 0;
	char where[300];
	struct changes x;

	begin(&x, b);
	for (size_t i = 0; i < b->parking.bucket_count; i++)
		for (struct sl_parked *q = b->parking.buckets[i]; q; q = q->next) {
			if (q->state != SL_PARKED_WAITING || q->batch != batch->row.number)
				continue;
			without++;
			if (batch->gone)
				lost(&x, q);
			else if (as_a_whole)
				again(&x, q, false);
			else
				failed(&x, q, 0, batch->said.word, (struct sl_bytes){ 0 });
		}
	sl_batch_row_delete(&b->parking, batch->row.number, &x.rows);
	x.stats.batches++;
	if (!end(&x, settled, e))
		return false;
	if (as_a_whole) {
		snprintf(lane->why, sizeof lane->why, "batch failed: %.150s", batch->said.why);
		lane->failures++;
		lane->not_before_ms =
			now_ms + sl_batches_pause_ms(sl_batches_options(b, lane)->poll_ms, lane->failures);
	} else {
		lane->failures = 0;
	}
	snprintf(where, sizeof where, "endpoint=%.100s batch=%.100s", b->parking.names[lane->of.payer], batch->row.id);
	if (without || as_a_whole)
		sl_log(SL_LOG_WARN, where, "%s: %" PRId64 " of %" PRId64 " questions have no answer%s%s",
		       batch->gone ? "gone from the server" : batch->said.word, without, batch->row.questions,
		       as_a_whole ? ": " : "", as_a_whole ? batch->said.why : "");
	return true;
}
