/* batches.c -- see batches.h. What is said to the server: batches_dialogue.c; what files of answers
 * come to: batches_read.c. */
#include "batches_inside.h"

#include "base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

static const char *const state_names[] = { "building", "uploaded", "submitted" };

/* -- new and free ------------------------------------------------------------------------- */

static struct batch *batch_new(struct sl_batches *b, const struct sl_batch_row *row)
{
	struct batch *batch = sl_calloc(1, sizeof *batch), **at = &b->first;

	batch->owner = b;
	batch->row = *row;
	while (*at)
		at = &(*at)->next;
	*at = batch;
	if (row->number > b->last_number)
		b->last_number = row->number;
	return batch;
}

static void loaded(void *arg, const struct sl_batch_row *row)
{
	batch_new(arg, row)->listings = SL_BATCH_LISTINGS; /* who knows whether it was asked for */
}

static void batch_free(struct batch *batch)
{
	sl_buf_release(&batch->path);
	sl_buf_release(&batch->body);
	sl_buf_release(&batch->reply);
	free(batch);
}

struct sl_batches *sl_batches_new(struct sl_calls *c, struct sl_error *e)
{
	struct sl_batches *b = sl_calloc(1, sizeof *b);

	b->calls = c;
	sl_parking_init(&b->parking, sl_buf_bytes(&c->memo), c->ledger.names, c->setup.payer_count);
	for (size_t i = 0; i < c->setup.payer_count; i++)
		b->parking.callable[i] = c->payers[i].endpoint != NULL;
	if (sl_parking_load(&b->parking, c->setup.store, &c->ledger, loaded, b, e))
		return b;
	sl_batches_free(b);
	return NULL;
}

void sl_batches_free(struct sl_batches *b)
{
	if (!b)
		return;
	while (b->first) {
		struct batch *batch = b->first;

		b->first = batch->next;
		batch_free(batch);
	}
	sl_parking_release(&b->parking);
	free(b);
}

struct sl_parking *sl_batches_parking(struct sl_batches *b)
{
	return &b->parking;
}

size_t sl_batches_open(const struct sl_batches *b)
{
	size_t n = 0;

	for (const struct batch *batch = b->first; batch; batch = batch->next)
		n++;
	return n;
}

int64_t sl_batches_loose(const struct sl_batches *b)
{
	int64_t n = 0, now_ms = sl_calls_now_ms(b->calls);

	for (const struct sl_parking_lane *lane = b->parking.lanes; lane; lane = lane->next)
		n += lane->not_before_ms <= now_ms ? lane->count : 0;
	return n;
}

void sl_batches_park(struct sl_batches *b, const struct sl_parked *q, struct sl_bytes body, struct sl_writes *rows)
{
	sl_ledger_reserve(&b->calls->ledger, q->lane->of.payer, q->held);
	sl_parked_write(&b->parking, q, body, rows);
}

void sl_batches_parked(struct sl_batches *b, const struct sl_parked *q)
{
	(void)sl_parking_add(&b->parking, q);
}

const struct sl_batching *sl_batches_options(const struct sl_batches *b, const struct sl_parking_lane *lane)
{
	static const struct sl_batching none = {
		.questions_max = 50000, .bytes_max = 100 << 20, .wait_ms = 60000, .poll_ms = 60000, .discount = 0.5
	};
	const struct sl_batching *options = b->calls->payers[lane->of.payer].batching;

	return options ? options : &none;
}

/* -- A batch is formed --------------------------------------------------------------------- */

static bool due(const struct sl_batches *b, const struct sl_parking_lane *lane, bool at_once, int64_t now_ms,
		int64_t *next_ms)
{
	const struct sl_batching *o = sl_batches_options(b, lane);
	int64_t at = 0;

	if (lane->count == 0)
		return false;
	if (!at_once && lane->count < o->questions_max && lane->bytes < o->bytes_max)
		at = lane->first->since_ms + o->wait_ms;
	if (at < lane->not_before_ms)
		at = lane->not_before_ms;
	if (at > now_ms && at < *next_ms)
		*next_ms = at;
	return at <= now_ms;
}

/* A name that no other batch has, of anybody. */
static void name_it(char ours[SL_ID_HEX_SIZE])
{
	struct sl_id id;

	if (getrandom(id.b, sizeof id.b, 0) != sizeof id.b)
		abort(); /* cannot fail for so few bytes */
	sl_id_hex(id, ours);
}

static bool form(struct sl_batches *b, struct sl_parking_lane *lane, int64_t now_ms, struct sl_error *e)
{
	const struct sl_batching *o = sl_batches_options(b, lane);
	struct sl_batch_row row = { .number = b->last_number + 1, .lane = lane, .since_ms = now_ms };
	struct sl_writes w = { 0 };
	bool done;

	for (const struct sl_parked *q = lane->first; q; q = q->queued) {
		struct sl_parked with = *q;

		if (row.questions == o->questions_max || (row.questions && row.bytes + q->bytes > o->bytes_max))
			break;
		with.batch = row.number;
		sl_parked_rewrite(&b->parking, &with, &w);
		row.questions++;
		row.bytes += q->bytes;
	}
	name_it(row.ours);
	sl_batch_row_write(&b->parking, &row, &w);
	done = b->calls->setup.keep(b->calls->setup.arg, &w, e);
	sl_writes_release(&w);
	if (!done)
		return false;
	for (int64_t i = 0; i < row.questions; i++)
		sl_parking_unqueue(lane)->batch = row.number;
	(void)batch_new(b, &row);
	return true;
}

/* -- Going on -------------------------------------------------------------------------------- */

static bool arrived(struct sl_batches *b, const struct batch *batch)
{
	bool is;

	sl_lock(&b->calls->lock);
	is = batch->arrived;
	sl_unlock(&b->calls->lock);
	return is;
}

static bool uploading(const struct sl_batches *b)
{
	for (const struct batch *batch = b->first; batch; batch = batch->next)
		if (batch->doing == UPLOAD)
			return true;
	return false;
}

/* The next thing to say; REST: nothing now. */
static enum doing next_of(const struct sl_batches *b, const struct batch *batch)
{
	switch (batch->row.state) {
	case SL_BATCH_BUILDING:
		return uploading(b) ? REST : UPLOAD; /* one file in memory */
	case SL_BATCH_UPLOADED:
		return batch->listings ? LIST : CREATE;
	case SL_BATCH_SUBMITTED:
		if (batch->gone)
			return FINISH;
		break;
	}
	return batch->said.stage == SL_BATCH_RUNNING ? POLL
	       : batch->said.output[0]               ? OUTPUT
	       : batch->said.errors[0]               ? ERRORS
						     : FINISH;
}

/* As far as this batch can go now. *gone: it is finished. */
static bool advance(struct sl_batches *b, struct batch *batch, int64_t now_ms, int64_t *next_ms, bool *settled,
		    bool *gone, struct sl_error *e)
{
	enum doing doing;

	if (batch->doing != REST) {
		if (!arrived(b, batch))
			return true;
		if (!sl_batches_take(b, batch, now_ms, settled, e))
			return false;
		if (batch->doing != REST) { /* lines are left */
			*next_ms = now_ms;
			return true;
		}
	}
	if (batch->not_before_ms > now_ms) {
		if (batch->not_before_ms < *next_ms)
			*next_ms = batch->not_before_ms;
		return true;
	}
	doing = next_of(b, batch);
	if (doing == FINISH) {
		*gone = true;
		return sl_batches_finish(b, batch, now_ms, settled, e);
	}
	if (doing == REST || b->calls->drained)
		return true;
	return sl_batches_say(b, batch, doing, e);
}

static bool advance_all(struct sl_batches *b, int64_t now_ms, int64_t *next_ms, bool *settled, struct sl_error *e)
{
	for (struct batch **at = &b->first; *at;) {
		struct batch *batch = *at;
		bool gone = false;

		if (!advance(b, batch, now_ms, next_ms, settled, &gone, e))
			return false;
		if (!gone) {
			at = &batch->next;
			continue;
		}
		*at = batch->next;
		batch_free(batch);
		*next_ms = now_ms; /* there may be more to say */
	}
	return true;
}

/* Who was told that a question was given up may ask it anew some day. */
static bool forget_heard(struct sl_batches *b, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	bool done;

	if (b->parking.heard == 0)
		return true;
	for (size_t i = 0; i < b->parking.bucket_count; i++)
		for (const struct sl_parked *q = b->parking.buckets[i]; q; q = q->next)
			if (q->heard)
				sl_parked_delete(&b->parking, &q->key, &w);
	done = b->calls->setup.keep(b->calls->setup.arg, &w, e);
	sl_writes_release(&w);
	for (size_t i = 0; done && i < b->parking.bucket_count; i++)
		for (struct sl_parked *q = b->parking.buckets[i], *next; q; q = next) {
			next = q->next;
			if (q->heard)
				sl_parking_remove(&b->parking, q);
		}
	return done;
}

json_t *sl_batches_describe(const struct sl_batches *b)
{
	json_t *list = json_array();

	for (const struct batch *batch = b->first; batch; batch = batch->next)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "endpoint",
						      b->parking.names[batch->row.lane->of.payer], "model",
						      batch->row.lane->model, "state", state_names[batch->row.state],
						      "id", batch->row.id, "questions",
						      (json_int_t)batch->row.questions, "since_ms",
						      (json_int_t)batch->row.since_ms, "why", batch->row.lane->why));
	for (const struct sl_parking_lane *lane = b->parking.lanes; lane; lane = lane->next)
		if (lane->count)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "endpoint",
							b->parking.names[lane->of.payer], "model", lane->model, "state",
							"parked", "questions", (json_int_t)lane->count, "since_ms",
							(json_int_t)lane->first->since_ms, "why", lane->why));
	return list;
}

static void show(struct sl_batches *b)
{
	json_t *now = sl_batches_describe(b), *before;

	sl_calls_show(b->calls);
	sl_lock(&b->calls->lock);
	before = b->calls->shown_batches;
	b->calls->shown_batches = json_array_size(now) ? now : NULL;
	json_decref(before);
	if (!b->calls->shown_batches)
		json_decref(now);
	sl_unlock(&b->calls->lock);
}

/* Questions of endpoints that are not asked any more. */
static bool drop_orphans(struct sl_batches *b, bool *settled, struct sl_error *e)
{
	struct sl_calls *c = b->calls;
	struct sl_writes w = { 0 };
	struct sl_ledger_mark mark;
	bool done;

	if (b->parking.orphans == 0)
		return true;
	sl_ledger_mark(&c->ledger, &mark);
	done = sl_parking_drop(&b->parking, c->setup.store, &c->ledger, &w, e);
	if (done) {
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &w);
		done = c->setup.keep(c->setup.arg, &w, e);
	}
	sl_ledger_unmark(&c->ledger, &mark, !done);
	sl_writes_release(&w);
	if (done)
		sl_parking_dropped(&b->parking);
	*settled = true;
	return done;
}

bool sl_batches_step(struct sl_batches *b, bool at_once, int64_t *next_ms, bool *settled, struct sl_error *e)
{
	int64_t now_ms = sl_calls_now_ms(b->calls);

	*next_ms = INT64_MAX;
	*settled = false;
	if (!b->first && b->parking.count == 0 && b->parking.orphans == 0) {
		if (b->calls->shown_batches)
			show(b);
		return true;
	}
	sl_calls_new_day(b->calls);
	if (!drop_orphans(b, settled, e) || !forget_heard(b, e))
		return false;
	for (struct sl_parking_lane *lane = b->parking.lanes; lane; lane = lane->next)
		while (due(b, lane, at_once, now_ms, next_ms))
			if (!form(b, lane, now_ms, e))
				return false;
	if (!advance_all(b, now_ms, next_ms, settled, e))
		return false;
	show(b);
	return true;
}
