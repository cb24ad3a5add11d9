/* batches.c -- see batches.h. What files of answers come to: batches_read.c. */
#include "batches_inside.h"

#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define ANSWERS_MAX ((size_t)1 << 30) /* of a file of answers */
#define PAUSE_MOST_MS INT64_C(3600000)
#define LISTINGS 2 /* without our name, before a batch is asked for again */

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
	batch_new(arg, row)->listings = LISTINGS; /* who knows whether it was asked for */
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
	struct sl_writes w = { 0 };
	bool done;

	b->calls = c;
	sl_parking_init(&b->parking, sl_buf_bytes(&c->memo), c->ledger.names, c->setup.payer_count);
	done = sl_parking_load(&b->parking, c->setup.store, &c->ledger, loaded, b, &w, e);
	if (done && w.count) {
		sl_ledger_write(&c->ledger, sl_buf_bytes(&c->memo), &w);
		done = c->setup.keep(c->setup.arg, &w, e);
	}
	sl_writes_release(&w);
	if (done)
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

/* -- What is said to the server ------------------------------------------------------------ */

static void on_done(struct sl_outcall *out, const struct sl_settlement *reply)
{
	struct batch *batch = (struct batch *)out;
	struct sl_calls *c = batch->owner->calls;

	sl_buf_clear(&batch->reply);
	sl_buf_add_bytes(&batch->reply, reply->body);
	batch->status = reply->status;
	batch->attempts = reply->attempts;
	snprintf(batch->why, sizeof batch->why, "%s", reply->why ? reply->why : "");
	sl_lock(&c->lock);
	batch->arrived = true;
	assert(c->flying > 0);
	c->flying--;
	c->waking++;
	sl_unlock(&c->lock);
	c->setup.wake(c->setup.arg);
	sl_lock(&c->lock);
	c->waking--;
	sl_unlock(&c->lock);
}

static bool file_of(struct sl_batches *b, struct batch *batch, struct sl_error *e)
{
	struct sl_buf body = { 0 };
	bool done = true;

	sl_batch_form_begin(&batch->body, batch->row.ours);
	for (size_t i = 0; done && i < b->parking.bucket_count; i++)
		for (const struct sl_parked *q = b->parking.buckets[i]; done && q; q = q->next) {
			if (q->batch != batch->row.number)
				continue;
			done = sl_parked_body(&b->parking, b->calls->setup.store, &q->key, &body, e);
			if (done)
				sl_batch_form_line(&batch->body, &q->key, batch->row.lane->path, sl_buf_bytes(&body));
		}
	sl_batch_form_end(&batch->body);
	sl_buf_release(&body);
	return done;
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
		break;
	}
	return batch->said.stage == SL_BATCH_RUNNING ? POLL
	       : batch->said.output[0]               ? OUTPUT
	       : batch->said.errors[0]               ? ERRORS
						     : FINISH;
}

static bool say(struct sl_batches *b, struct batch *batch, enum doing doing, struct sl_error *e)
{
	struct sl_calls *c = b->calls;
	struct sl_endpoint *endpoint = c->payers[batch->row.lane->of.payer].endpoint;

	sl_buf_clear(&batch->path);
	sl_buf_clear(&batch->body);
	batch->out = (struct sl_outcall){ .model = batch->row.lane->model,
					  .plain = true,
					  .get = doing != UPLOAD && doing != CREATE,
					  .form = doing == UPLOAD,
					  .once = doing == CREATE,
					  .owner = b,
					  .done = on_done };
	switch (doing) {
	case UPLOAD:
		sl_buf_print(&batch->path, "/files");
		if (!file_of(b, batch, e))
			return false;
		break;
	case LIST:
		sl_buf_print(&batch->path, "/batches?limit=100%s%s", batch->after[0] ? "&after=" : "", batch->after);
		break;
	case CREATE:
		sl_buf_print(&batch->path, "/batches");
		sl_batch_create(&batch->body, batch->row.file, batch->row.lane->path, batch->row.ours);
		break;
	case POLL:
		sl_buf_print(&batch->path, "/batches/%s", batch->row.id);
		break;
	default:
		sl_buf_print(&batch->path, "/files/%s/content",
			     doing == OUTPUT ? batch->said.output : batch->said.errors);
		batch->out.answer_max = ANSWERS_MAX;
		break;
	}
	batch->out.path = sl_buf_text(&batch->path);
	batch->out.body = sl_buf_bytes(&batch->body);
	batch->doing = doing;
	batch->arrived = false;
	sl_lock(&c->lock);
	c->flying++;
	sl_unlock(&c->lock);
	endpoint->ops->send(endpoint, &batch->out);
	return true;
}

/* -- What it answers ------------------------------------------------------------------------ */

static bool write_row(struct sl_batches *b, const struct sl_batch_row *row, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	bool done;

	sl_batch_row_write(&b->parking, row, &w);
	done = b->calls->setup.keep(b->calls->setup.arg, &w, e);
	sl_writes_release(&w);
	return done;
}

int64_t sl_batches_pause_ms(int64_t poll_ms, uint32_t failures)
{
	int64_t ms = poll_ms > 0 ? poll_ms : 1;

	while (failures-- > 1 && ms < PAUSE_MOST_MS)
		ms *= 2;
	return ms < PAUSE_MOST_MS ? ms : PAUSE_MOST_MS;
}

/* Not as it should be: it is said again after a while. */
static void later(struct sl_batches *b, struct batch *batch, const char *what, int64_t now_ms)
{
	struct sl_parking_lane *lane = batch->row.lane;
	char where[300];

	snprintf(lane->why, sizeof lane->why, "%s: %.150s", what,
		 batch->why[0] ? batch->why : "not what was asked for");
	batch->failures++;
	batch->not_before_ms = now_ms + sl_batches_pause_ms(sl_batches_options(b, lane)->poll_ms, batch->failures);
	snprintf(where, sizeof where, "endpoint=%.100s batch=%s", b->parking.names[lane->of.payer], batch->row.ours);
	if (batch->status != SL_AWAY)
		sl_log(SL_LOG_WARN, where, "%s", lane->why);
}

static bool went_well(struct batch *batch)
{
	batch->failures = 0;
	batch->row.lane->why[0] = 0;
	return true;
}

static bool uploaded(struct sl_batches *b, struct batch *batch, int64_t now_ms, struct sl_error *e)
{
	struct sl_batch_row row = batch->row;

	if (batch->status != 200 || !sl_batch_read_id(sl_buf_bytes(&batch->reply), row.file)) {
		later(b, batch, "its file is not uploaded", now_ms);
		return true;
	}
	row.state = SL_BATCH_UPLOADED;
	if (!write_row(b, &row, e))
		return false;
	batch->row = row;
	batch->listings = 0; /* nobody has asked for it yet */
	return went_well(batch);
}

static bool submitted(struct sl_batches *b, struct batch *batch, const char *id, struct sl_error *e)
{
	struct sl_batch_row row = batch->row;

	row.state = SL_BATCH_SUBMITTED;
	snprintf(row.id, sizeof row.id, "%s", id);
	if (!write_row(b, &row, e))
		return false;
	batch->row = row;
	batch->said = (struct sl_batch_said){ .stage = SL_BATCH_RUNNING };
	return went_well(batch);
}

static bool created(struct sl_batches *b, struct batch *batch, int64_t now_ms, struct sl_error *e)
{
	struct sl_batch_row row = batch->row;
	struct sl_batch_said said;

	if (batch->status == 200 && sl_batch_read(sl_buf_bytes(&batch->reply), &said)) {
		batch->not_before_ms = now_ms + sl_batches_options(b, row.lane)->poll_ms;
		return submitted(b, batch, said.id, e);
	}
	if (batch->status > 200) { /* refused: perhaps the file is gone */
		row.state = SL_BATCH_BUILDING;
		if (!write_row(b, &row, e))
			return false;
		batch->row = row;
	} else if (batch->attempts > 0) {
		batch->listings = LISTINGS;
		batch->after[0] = 0;
	}
	later(b, batch, "the batch is not made", now_ms);
	return true;
}

static bool listed(struct sl_batches *b, struct batch *batch, int64_t now_ms, struct sl_error *e)
{
	struct sl_batch_said said;
	bool found;

	if (batch->status != 200 ||
	    !sl_batch_find(sl_buf_bytes(&batch->reply), batch->row.ours, &said, &found, batch->after)) {
		batch->after[0] = 0;
		later(b, batch, "the server's batches are not to be had", now_ms);
		return true;
	}
	if (found) {
		sl_log(SL_LOG_NOTE, NULL, "batch '%s' had been submitted: it is '%s'", batch->row.ours, said.id);
		return submitted(b, batch, said.id, e);
	}
	if (batch->after[0]) /* there are more */
		return true;
	batch->listings--;
	if (batch->listings)
		batch->not_before_ms = now_ms + sl_batches_options(b, batch->row.lane)->poll_ms;
	return went_well(batch);
}

static bool polled(struct sl_batches *b, struct batch *batch, int64_t now_ms)
{
	if (batch->status != 200 || !sl_batch_read(sl_buf_bytes(&batch->reply), &batch->said)) {
		batch->said.stage = SL_BATCH_RUNNING;
		later(b, batch, "how far it is is not to be had", now_ms);
		return true;
	}
	if (batch->said.stage == SL_BATCH_RUNNING)
		batch->not_before_ms = now_ms + sl_batches_options(b, batch->row.lane)->poll_ms;
	return went_well(batch);
}

static bool take(struct sl_batches *b, struct batch *batch, int64_t now_ms, bool *settled, struct sl_error *e)
{
	enum doing doing = batch->doing;
	bool done = true, whole = true;

	switch (doing) {
	case UPLOAD:
		done = uploaded(b, batch, now_ms, e);
		break;
	case CREATE:
		done = created(b, batch, now_ms, e);
		break;
	case LIST:
		done = listed(b, batch, now_ms, e);
		break;
	case POLL:
		done = polled(b, batch, now_ms);
		break;
	default:
		if (batch->status != 200) {
			later(b, batch, "its answers are not to be had", now_ms);
			break;
		}
		done = sl_batches_read(b, batch, &whole, settled, e);
		if (done && whole) { /* not again */
			(doing == OUTPUT ? batch->said.output : batch->said.errors)[0] = 0;
			batch->at = 0;
		}
		break;
	}
	if (!done || !whole)
		return done; /* it is looked at again as it is */
	batch->doing = REST;
	sl_buf_release(&batch->body);
	sl_buf_release(&batch->reply);
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

/* As far as this batch can go now. *gone: it is finished. */
static bool advance(struct sl_batches *b, struct batch *batch, int64_t now_ms, int64_t *next_ms, bool *settled,
		    bool *gone, struct sl_error *e)
{
	enum doing doing;

	if (batch->doing != REST) {
		if (!arrived(b, batch))
			return true;
		if (!take(b, batch, now_ms, settled, e))
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
	return say(b, batch, doing, e);
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

bool sl_batches_step(struct sl_batches *b, bool at_once, int64_t *next_ms, bool *settled, struct sl_error *e)
{
	int64_t now_ms = sl_calls_now_ms(b->calls);

	*next_ms = INT64_MAX;
	*settled = false;
	if (!b->first && b->parking.count == 0) {
		if (b->calls->shown_batches)
			show(b);
		return true;
	}
	sl_calls_new_day(b->calls);
	if (!forget_heard(b, e))
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
