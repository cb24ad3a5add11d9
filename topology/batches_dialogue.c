/* batches_dialogue.c -- what is said to the server about a batch, and what its answers mean (batches.h). */
#include "batches_inside.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>

#define ANSWERS_MAX ((size_t)1 << 30) /* of a file of answers */
#define PAUSE_MOST_MS INT64_C(3600000)
#define UNKNOWNS 3 /* 404 for a batch or its files, before it is taken for gone */

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

static bool write_row(struct sl_batches *b, const struct sl_batch_row *row, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	bool done;

	sl_batch_row_write(&b->parking, row, &w);
	done = b->calls->setup.keep(b->calls->setup.arg, &w, e);
	sl_writes_release(&w);
	return done;
}

bool sl_batches_say(struct sl_batches *b, struct batch *batch, enum doing doing, struct sl_error *e)
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
		if (!write_row(b, &batch->row, e)) /* says nothing new, but fails for who has lost the task */
			return false;
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
		batch->listings = SL_BATCH_LISTINGS;
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

/* 404: said once it may be a mistake of somebody in between. */
static void unknown(struct sl_batches *b, struct batch *batch, const char *what, int64_t now_ms)
{
	batch->unknowns = batch->status == 404 ? batch->unknowns + 1 : 0;
	batch->gone = batch->unknowns >= UNKNOWNS;
	later(b, batch, what, now_ms);
}

static bool polled(struct sl_batches *b, struct batch *batch, int64_t now_ms)
{
	if (batch->status != 200 || !sl_batch_read(sl_buf_bytes(&batch->reply), &batch->said)) {
		batch->said.stage = SL_BATCH_RUNNING;
		unknown(b, batch, "how far it is is not to be had", now_ms);
		return true;
	}
	batch->unknowns = 0;
	if (batch->said.stage == SL_BATCH_RUNNING)
		batch->not_before_ms = now_ms + sl_batches_options(b, batch->row.lane)->poll_ms;
	return went_well(batch);
}

bool sl_batches_take(struct sl_batches *b, struct batch *batch, int64_t now_ms, bool *settled, struct sl_error *e)
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
			unknown(b, batch, "its answers are not to be had", now_ms);
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
