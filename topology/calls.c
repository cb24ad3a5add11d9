/* calls.c -- numbers, windows and the crossing between threads, behind calls.h. */
#include "batches.h"
#include "calls_inside.h"

#include <assert.h>
#include <stdlib.h>

/* -- new and free ------------------------------------------------------------------------ */

struct sl_window *sl_window_new(void)
{
	return sl_calloc(1, sizeof(struct sl_window));
}

void sl_window_free(struct sl_window *w)
{
	if (!w)
		return;
	assert(w->calls.count == 0);
	sl_questions_release(&w->calls);
	free(w);
}

int64_t sl_calls_now_ms(const struct sl_calls *c)
{
	return c->setup.now_ms ? c->setup.now_ms(c->setup.arg) : sl_wall_ms();
}

void sl_calls_show(struct sl_calls *c)
{
	c->stats.counts = c->ledger.counts;
	c->stats.parked = sl_batches_parking(c->batches)->waiting + sl_batches_parking(c->batches)->orphans;
	c->stats.batches_open = (int64_t)sl_batches_open(c->batches);
	c->stats.loose = sl_batches_loose(c->batches);
	sl_lock(&c->lock);
	c->shown = c->stats;
	memcpy(c->shown_purses, c->ledger.purses, c->ledger.count * sizeof *c->shown_purses);
	sl_unlock(&c->lock);
}

void sl_calls_new_day(struct sl_calls *c)
{
	for (size_t i = 0; i < c->ledger.count; i++)
		sl_purse_day(&c->ledger.purses[i], sl_calls_now_ms(c) / SL_DAY_MS);
}

void sl_calls_reshare(struct sl_calls *c, const struct sl_share *shares)
{
	struct sl_share *copy = sl_malloc(c->ledger.count * sizeof *copy);

	memcpy(copy, shares, c->ledger.count * sizeof *copy);
	sl_lock(&c->lock);
	free(c->shares);
	c->shares = copy;
	sl_unlock(&c->lock);
}

bool sl_calls_reshared(struct sl_calls *c)
{
	bool any;

	sl_lock(&c->lock);
	any = c->shares != NULL;
	sl_unlock(&c->lock);
	return any;
}

void sl_calls_take_shares(struct sl_calls *c)
{
	struct sl_share *shares;

	sl_lock(&c->lock);
	shares = c->shares;
	c->shares = NULL;
	sl_unlock(&c->lock);
	for (size_t i = 0; shares && i < c->ledger.count; i++) {
		c->ledger.purses[i].share = shares[i].all;
		c->ledger.purses[i].share_day = shares[i].day;
	}
	free(shares);
}

static bool load(struct sl_calls *c, struct sl_error *e)
{
	struct sl_writes bill = { 0 };
	bool done = sl_ledger_load(&c->ledger, c->setup.store, sl_buf_bytes(&c->memo), sl_calls_now_ms(c) / SL_DAY_MS,
				   &bill, e);

	if (done && bill.count)
		done = c->setup.keep(c->setup.arg, &bill, e);
	sl_writes_release(&bill);
	return done;
}

struct sl_calls *sl_calls_new(const struct sl_calls_setup *setup, struct sl_error *e)
{
	struct sl_calls *c = sl_calloc(1, sizeof *c);

	c->setup = *setup;
	sl_buf_add_bytes(&c->memo, setup->memo);
	c->payers = sl_calloc(setup->payer_count + 1, sizeof *c->payers);
	c->out = sl_calloc(setup->payer_count + 1, sizeof *c->out);
	c->queued_for = sl_calloc(setup->payer_count + 1, sizeof *c->queued_for);
	sl_ledger_init(&c->ledger, setup->payer_count);
	for (size_t i = 0; i < setup->payer_count; i++) {
		c->payers[i] = setup->payers[i];
		c->ledger.names[i] = setup->payers[i].name;
		c->ledger.purses[i].share = setup->payers[i].share;
		c->ledger.purses[i].share_day = setup->payers[i].share_day;
	}
	c->ledger.purses[setup->payer_count].share = setup->share;
	c->ledger.purses[setup->payer_count].share_day = setup->share_day;
	c->shown_purses = sl_calloc(c->ledger.count, sizeof *c->shown_purses);
	c->oldest_ms = INT64_MIN;
	sl_mutex_init(&c->lock);
	if (load(c, e))
		c->batches = sl_batches_new(c, e);
	if (c->batches) {
		sl_calls_new_day(c);
		sl_calls_show(c);
		return c;
	}
	sl_calls_free(c);
	return NULL;
}

static void call_free(struct sl_question *call)
{
	sl_buf_release(&call->body);
	sl_buf_release(&call->question);
	free(call->model);
	free(call->path);
	free(call->why);
	free(call);
}

void sl_calls_free(struct sl_calls *c)
{
	if (!c)
		return;
	assert(c->flying == 0);
	for (size_t i = 0; i < c->all.count; i++)
		call_free(c->all.at[i]);
	sl_questions_release(&c->all);
	sl_batches_free(c->batches);
	free(c->payers);
	free(c->out);
	free(c->queued_for);
	free(c->shown_purses);
	free(c->shares);
	json_decref(c->shown_batches);
	sl_ledger_release(&c->ledger);
	sl_buf_release(&c->memo);
	sl_buf_release(&c->why);
	sl_mutex_destroy(&c->lock);
	free(c);
}

/* -- asking -------------------------------------------------------------------------------- */

/* hash of length-prefixed model and body, and the sample number (DESIGN section 5) */
static struct sl_id key_of(const char *model, const struct sl_call *call)
{
	struct sl_buf b = { 0 };
	struct sl_id key;

	sl_buf_add_le64(&b, strlen(model));
	sl_buf_add(&b, model, strlen(model));
	sl_buf_add_le64(&b, call->body.size);
	sl_buf_add_bytes(&b, call->body);
	sl_buf_add_le64(&b, call->sample);
	key = sl_hash128(b.data, b.size);
	sl_buf_release(&b);
	return key;
}

static void on_done(struct sl_outcall *out, const struct sl_settlement *reply)
{
	struct sl_question *call = (struct sl_question *)out;
	struct sl_calls *c = call->calls;

	assert(reply->status != SL_UNSETTLED);
	call->status = reply->status;
	call->attempts = reply->attempts;
	call->unknown = reply->unknown;
	sl_buf_add_bytes(&call->body, reply->body);
	call->why = reply->why ? sl_strdup(reply->why) : NULL;
	sl_lock(&c->lock);
	assert(c->flying > 0);
	call->next = c->arrived;
	c->arrived = call;
	c->flying--;
	c->waking++;
	sl_unlock(&c->lock);
	c->setup.wake(c->setup.arg);
	sl_lock(&c->lock); /* until here it counts as in flight, so that nobody frees what wake needs */
	c->waking--;
	sl_unlock(&c->lock);
}

const struct sl_price *sl_calls_price(const struct sl_calls *c, size_t payer, const char *model)
{
	if (strcmp(model, c->payers[payer].model) == 0)
		return c->payers[payer].price;
	for (size_t i = 0; i < c->setup.price_count; i++)
		if (strcmp(model, c->setup.prices[i].model) == 0)
			return &c->setup.prices[i];
	return NULL;
}

static bool has_limit(const struct sl_purse *p)
{
	return p->share >= 0 || p->share_day >= 0;
}

static struct sl_question *call_new(struct sl_calls *c, size_t payer, const char *model, const struct sl_call *asked,
				    const struct sl_id *key)
{
	struct sl_question *call = sl_calloc(1, sizeof *call);
	const struct sl_batching *batching = c->payers[payer].batching;

	call->calls = c;
	call->payer = payer;
	call->price = sl_calls_price(c, payer, model);
	call->most = sl_price_most(call->price, asked->body.size, asked->tokens_max);
	call->held = call->most * (1 + c->payers[payer].retries);
	call->batched = batching && batching->on;
	if (call->batched) /* what fails in a batch is not paid, so its retries are not either */
		call->held = sl_price_part(call->most, batching->discount);
	call->model = sl_strdup(model);
	call->path = sl_strdup(asked->path ? asked->path : "/chat/completions");
	sl_buf_add_bytes(&call->question, asked->body);
	call->out = (struct sl_outcall){ .path = call->path,
					 .model = call->model,
					 .body = sl_buf_bytes(&call->question),
					 .sample = asked->sample,
					 .key = *key,
					 .tokens_max = asked->tokens_max,
					 .or_not = asked->or_not,
					 .owner = c,
					 .done = on_done };
	return call;
}

static bool too_old(const struct sl_calls *c, const struct sl_memo_answer *a)
{
	int64_t most = c->setup.bounds.age_max_ms;

	return most && a->stored_ms < sl_calls_now_ms(c) - most;
}

static bool from_memo(struct sl_calls *c, struct sl_question *call, struct sl_error *e)
{
	struct sl_memo_answer a;
	bool found;

	if (!sl_memo_get(c->setup.store, sl_buf_bytes(&c->memo), &call->out.key, &call->body, &a, &found, e))
		return false;
	if (!found || too_old(c, &a)) {
		sl_buf_clear(&call->body);
		return true;
	}
	call->state = SL_SETTLED;
	call->status = 200;
	call->memoised = true;
	call->answer = a.body;
	call->usage = a.usage;
	call->micro_dollars = a.micro_dollars;
	c->stats.hits++;
	c->stats.saved += a.micro_dollars;
	return true;
}

void sl_question_parked(struct sl_question *call)
{
	char hex[SL_ID_HEX_SIZE];

	call->state = SL_SETTLED;
	call->status = SL_PARKED;
	call->why = sl_strdup(sl_id_hex(call->out.key, hex));
}

/* It waits for a batch, or came out of one without an answer. */
static bool from_parked(struct sl_calls *c, struct sl_question *call, struct sl_error *e)
{
	struct sl_parking *parking = sl_batches_parking(c->batches);
	struct sl_parked *q = sl_parking_find(parking, &call->out.key);

	if (!q || call->state == SL_SETTLED)
		return true;
	if (q->state == SL_PARKED_WAITING) {
		sl_question_parked(call);
		return true;
	}
	if (!sl_parked_body(parking, c->setup.store, &call->out.key, &call->body, e))
		return false;
	parking->heard += !q->heard;
	q->heard = true;
	call->state = SL_SETTLED;
	call->status = q->status;
	call->answer = sl_buf_bytes(&call->body);
	call->why = sl_strdup(q->why ? q->why : "");
	return true;
}

void sl_question_again(struct sl_question *question)
{
	sl_buf_clear(&question->body);
	question->answer = (struct sl_bytes){ NULL, 0 };
	free(question->why);
	question->why = NULL;
	question->status = SL_UNSETTLED;
}

void sl_calls_enqueue(struct sl_calls *c, struct sl_question *call)
{
	call->before = c->queue_last;
	call->behind = NULL;
	*(c->queue_last ? &c->queue_last->behind : &c->queue_first) = call;
	c->queue_last = call;
	c->queued++;
	c->queued_for[call->payer]++;
	call->state = SL_QUEUED;
}

void sl_calls_dequeue(struct sl_calls *c, struct sl_question *call)
{
	*(call->before ? &call->before->behind : &c->queue_first) = call->behind;
	*(call->behind ? &call->behind->before : &c->queue_last) = call->before;
	c->queued--;
	c->queued_for[call->payer]--;
}

static bool may_send(struct sl_calls *c, struct sl_question *call, struct sl_error *e)
{
	const struct sl_purse *purses = c->ledger.purses;

	if (!call->price && (has_limit(&purses[call->payer]) || has_limit(&purses[c->ledger.count - 1])))
		return sl_error_set(e, SL_STOP,
				    "endpoint '%s' is asked for model '%s' under a budget, and the model has no price: "
				    "say under 'prices' what it costs, or 0",
				    c->payers[call->payer].name, call->model);
	if (!c->payers[call->payer].endpoint)
		return sl_error_set(e, SL_STOP, "endpoint '%s' cannot be called here", c->payers[call->payer].name);
	sl_calls_enqueue(c, call);
	return true;
}

bool sl_calls_ask(struct sl_calls *c, struct sl_window *w, size_t payer, bool send, const struct sl_call *asked,
		  uint32_t *number, struct sl_error *e)
{
	const char *model = asked->model ? asked->model : c->payers[payer].model;
	struct sl_id key = key_of(model, asked);
	size_t at = sl_questions_find(&c->all, &key), mine = sl_questions_find(&w->calls, &key);
	struct sl_question *call;

	assert(payer < c->setup.payer_count);
	if (at < c->all.count) {
		call = c->all.at[at];
	} else {
		call = call_new(c, payer, model, asked, &key);
		if (!from_memo(c, call, e) || !from_parked(c, call, e)) {
			call_free(call);
			return false;
		}
		c->stats.asked++;
		sl_questions_add(&c->all, call);
	}
	*number = (uint32_t)mine;
	if (mine == w->calls.count) {
		sl_questions_add(&w->calls, call);
		call->windows++;
	}
	if (call->state != SL_NEW)
		return true;
	if (send)
		return may_send(c, call, e);
	call->status = SL_GAVE_UP; /* only ask() may send */
	call->why = sl_strdup("never asked");
	call->state = SL_SETTLED;
	return true;
}

struct sl_answer sl_calls_answer(const struct sl_window *w, uint32_t number)
{
	const struct sl_question *call;

	assert(number < w->calls.count);
	call = w->calls.at[number];
	if (call->state != SL_SETTLED)
		return (struct sl_answer){ .status = SL_UNSETTLED };
	return (struct sl_answer){ .status = call->status,
				   .why = call->why ? call->why : "",
				   .body = call->answer,
				   .usage = call->usage,
				   .micro_dollars = call->micro_dollars };
}

size_t sl_calls_asked(const struct sl_window *w)
{
	return w->calls.count;
}

size_t sl_calls_open(const struct sl_window *w)
{
	size_t open = 0;

	for (size_t i = 0; i < w->calls.count; i++)
		open += w->calls.at[i]->state != SL_SETTLED;
	return open;
}

bool sl_calls_batches(struct sl_calls *c, bool at_once, int64_t *next_ms, bool *settled, struct sl_error *e)
{
	return sl_batches_step(c->batches, at_once, next_ms, settled, e);
}

bool sl_calls_is_parked(const struct sl_calls *c, const struct sl_id *key)
{
	const struct sl_parked *q = sl_parking_find(sl_batches_parking(c->batches), key);

	return q && q->state == SL_PARKED_WAITING;
}

int64_t sl_calls_parked(struct sl_calls *c, int64_t *loose)
{
	int64_t n;

	sl_lock(&c->lock);
	n = c->shown.parked;
	if (loose)
		*loose = c->shown.loose;
	sl_unlock(&c->lock);
	return n;
}

void sl_calls_batches_now(struct sl_calls *c, json_t *list)
{
	json_t *copy;

	sl_lock(&c->lock);
	copy = json_deep_copy(c->shown_batches);
	sl_unlock(&c->lock);
	if (copy)
		json_array_extend(list, copy);
	json_decref(copy);
}

/* -- what others see ------------------------------------------------------------------------------ */

size_t sl_calls_in_flight(struct sl_calls *c)
{
	size_t n;

	sl_lock(&c->lock);
	n = c->flying + c->waking;
	sl_unlock(&c->lock);
	return n;
}

void sl_calls_stats(struct sl_calls *c, struct sl_calls_stats *stats, struct sl_purse *purses)
{
	sl_lock(&c->lock);
	*stats = c->shown;
	memcpy(purses, c->shown_purses, c->ledger.count * sizeof *purses);
	sl_unlock(&c->lock);
}

/* -- the end of a batch ---------------------------------------------------------------------------- */

/* Forget what no batch wants any more, but for what is under way. */
static void sweep(struct sl_calls *c, bool again)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->all.count; i++) {
		struct sl_question *call = c->all.at[i];

		if (call->windows == 0 && call->state == SL_QUEUED) {
			sl_calls_dequeue(c, call);
			call->state = SL_NEW;
		}
		if (call->windows || call->state == SL_FLYING || (again && call->state == SL_SETTLED && call->memoised))
			c->all.at[kept++] = call;
		else
			call_free(call);
	}
	c->all.count = kept;
	if (c->all.slots)
		sl_questions_index(&c->all);
}

static void window_clear(struct sl_window *w)
{
	for (size_t i = 0; i < w->calls.count; i++)
		w->calls.at[i]->windows--;
	sl_questions_clear(&w->calls);
}

void sl_calls_end(struct sl_calls *c, struct sl_window *w, bool again)
{
	window_clear(w);
	sweep(c, again);
	sl_calls_show(c);
}

void sl_calls_turn(struct sl_window *w)
{
	for (size_t i = 0; i < w->calls.count; i++) {
		struct sl_question *call = w->calls.at[i];

		if (call->state != SL_SETTLED || (call->status != SL_NO_BUDGET && call->status != SL_AWAY))
			continue;
		if (call->windows > 1) /* of a batch before it too: that one has its answer */
			continue;
		sl_question_again(call);
		call->state = SL_NEW;
	}
	window_clear(w);
}
