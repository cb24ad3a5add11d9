/* unit_open.c -- a unit at its committed offset, with the memory of its batches and what it may ask; and its end. */
#include "engine.h"

#include "base/log.h"
#include "keys.h"
#include "redrive.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Committed offset and stream time; counts so far. */
static bool load(struct sl_unit *u, struct sl_error *e)
{
	struct sl_store *store = u->rt->store;
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	sl_key_begin(&key, 'o', u->tasks[0].step->name);
	sl_key_partition(&key, u->partition);
	done = store->ops->get(store, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && value.size != 16)
		done = sl_error_set(e, SL_STOP,
				    "the offset of step '%s' has %zu bytes, expected 16: the store is damaged",
				    u->tasks[0].step->name, value.size);
	if (done && found) {
		u->committed = (int64_t)sl_get_le64(value.data);
		u->stream_ms = (int64_t)sl_get_le64(value.data + 8);
	}
	for (size_t i = 0; done && i < u->task_count; i++) {
		struct sl_store_scan *scan;
		struct sl_bytes k, v;

		sl_key_begin(&key, 'c', u->tasks[i].step->name);
		sl_key_partition(&key, u->partition);
		e->verdict = SL_OK;
		scan = store->ops->scan(store, sl_buf_bytes(&key));
		while (store->ops->next(scan, &k, &v, e)) {
			sl_count_add(&u->counts, k, 0);
			if (v.size == 8)
				u->counts.at[u->counts.count - 1].committed = (int64_t)sl_get_le64(v.data);
		}
		store->ops->end(scan);
		done = e->verdict == SL_OK;
	}
	u->position = u->committed;
	u->cursor = (struct sl_cursor){ .offset = u->committed };
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

static bool memo_keep(void *unit, struct sl_writes *answers, struct sl_error *e)
{
	struct sl_unit *u = unit;

	return u->rt->stream->memo(u, answers, e);
}

static void answer_came(void *unit)
{
	struct sl_unit *u = unit;

	u->rt->stream->wake(u);
}

/* The endpoints as a task of the step sees them, but for their budgets. */
void sl_unit_payers(const struct sl_runtime *rt, const struct sl_step *step, struct sl_payer *payers)
{
	const struct sl_topology *t = rt->topology;

	for (size_t i = 0; i < t->endpoint_count; i++) {
		const struct sl_endpoint_def *d = &t->endpoints[i];

		payers[i] = (struct sl_payer){ .name = d->name,
					       .model = d->model ? d->model : "",
					       .endpoint = sl_step_asks(step) ? rt->endpoints[i] : NULL,
					       .price = d->price,
					       .retries = d->retries,
					       .in_flight = d->in_flight,
					       .batching = &d->batching };
	}
}

static bool calls_open(struct sl_unit *u, struct sl_error *e)
{
	const struct sl_topology *t = u->rt->topology;
	const struct sl_step *step = u->tasks[0].step;
	struct sl_payer *payers = sl_calloc(t->endpoint_count + 1, sizeof *payers);
	struct sl_share *shares = sl_calloc(t->endpoint_count + 1, sizeof *shares);
	struct sl_buf memo = { 0 };
	struct sl_calls_setup setup = { .store = u->rt->store,
					.keep = memo_keep,
					.wake = answer_came,
					.arg = u,
					.payers = payers,
					.payer_count = t->endpoint_count,
					.prices = t->prices,
					.price_count = t->price_count,
					.bounds = { t->memo_max_bytes, t->memo_max_age_ms } };

	sl_unit_payers(u->rt, step, payers);
	sl_lock(&u->rt->commit_lock);
	sl_limits_shares(&u->rt->limits, t, step, shares);
	sl_unlock(&u->rt->commit_lock);
	for (size_t i = 0; i < t->endpoint_count; i++) {
		payers[i].share = shares[i].all;
		payers[i].share_day = shares[i].day;
	}
	setup.share = shares[t->endpoint_count].all;
	setup.share_day = shares[t->endpoint_count].day;
	sl_key_begin(&memo, 'm', step->name);
	sl_key_partition(&memo, u->partition);
	setup.memo = sl_buf_bytes(&memo);
	u->calls = sl_calls_new(&setup, e);
	sl_buf_release(&memo);
	free(payers);
	free(shares);
	return u->calls != NULL;
}

void sl_unit_reshare(struct sl_unit *u)
{
	const struct sl_topology *t = u->rt->topology;
	struct sl_share *shares = sl_calloc(t->endpoint_count + 1, sizeof *shares);

	sl_limits_shares(&u->rt->limits, t, u->tasks[0].step, shares);
	sl_calls_reshare(u->calls, shares);
	free(shares);
}

void sl_lot_ready(struct sl_unit *u)
{
	size_t most = (size_t)u->tasks[0].step->batch_max;

	if (u->now->records)
		return;
	u->now->records = sl_calloc(most, sizeof *u->now->records);
	u->now->pairs = sl_calloc(most, sizeof *u->now->pairs);
	u->now->of_record = sl_calloc(most, sizeof *u->now->of_record);
	u->now->window = sl_window_new();
}

void sl_lot_drop(struct sl_unit *u, struct sl_lot *lot, bool again)
{
	if (lot->window && u->calls)
		sl_calls_end(u->calls, lot->window, again);
	lot->count = lot->pair_count = lot->rounds = 0;
	lot->asked = false;
	sl_arena_clear(&lot->arena);
}

static void lots_free(struct sl_unit *u)
{
	for (size_t i = 0; i < u->lot_count; i++) {
		struct sl_lot *lot = &u->lots[i];

		sl_lot_drop(u, lot, false);
		sl_window_free(lot->window);
		free(lot->records);
		free(lot->pairs);
		free(lot->of_record);
		sl_buf_release(&lot->bytes);
		sl_arena_release(&lot->arena);
	}
	free(u->lots);
}

/* From now on a reload finds it; one since its calls were opened did not. */
static void unit_register(struct sl_unit *u)
{
	struct sl_runtime *rt = u->rt;

	sl_lock(&rt->commit_lock);
	sl_unit_reshare(u);
	rt->units = sl_realloc(rt->units, (rt->unit_count + 1) * sizeof(struct sl_unit *));
	rt->units[rt->unit_count++] = u;
	sl_unlock(&rt->commit_lock);
}

static void unit_unregister(struct sl_unit *u)
{
	struct sl_runtime *rt = u->rt;
	size_t kept = 0;

	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++)
		if (rt->units[i] != u)
			rt->units[kept++] = rt->units[i];
	rt->unit_count = kept;
	sl_unlock(&rt->commit_lock);
}

struct sl_unit *sl_unit_new(struct sl_runtime *rt, const struct sl_step *host, int32_t partition, struct sl_error *e)
{
	struct sl_unit *u = sl_calloc(1, sizeof *u);
	char name[300];

	u->rt = rt;
	u->partition = partition;
	u->tasks = sl_calloc(rt->topology->step_count, sizeof *u->tasks);
	for (size_t i = 0; i < rt->topology->step_count; i++)
		if (&rt->topology->steps[rt->topology->steps[i].host] == host)
			u->tasks[u->task_count++].step = &rt->topology->steps[i];
	assert(u->task_count > 0 && u->tasks[0].step == host);

	for (size_t i = 0; i < u->task_count; i++) {
		struct sl_task *t = &u->tasks[i];
		size_t tables = 0;

		while (t->step->op->tables && t->step->op->tables[tables])
			tables++;
		t->unit = u;
		t->partition = u->partition;
		t->self = sl_calloc(1, t->step->op->self_size ? t->step->op->self_size : 1);
		t->table_versions = sl_calloc(tables + 1, sizeof *t->table_versions);
	}
	u->lot_count = 1 + (sl_step_asks(u->tasks[0].step) ? (size_t)u->tasks[0].step->ahead : 0);
	u->lots = sl_calloc(u->lot_count, sizeof *u->lots);
	u->now = u->lots;
	sl_lot_ready(u);
	snprintf(name, sizeof name, "%s.%d", u->tasks[0].step->name, (int)u->partition);
	u->attempt = sl_attempts_slot(rt->attempts, name);
	u->look_at_ns = INT64_MAX;
	if (!load(u, e) || !calls_open(u, e) || !sl_redrive_open(u, &u->redrive, e)) {
		sl_unit_close(u);
		return NULL;
	}
	unit_register(u);
	return u;
}

void sl_unit_close(struct sl_unit *u)
{
	struct sl_error e = { 0 };

	unit_unregister(u);
	/* Answers that came since are paid for; losing one costs a question, no truth. */
	if (u->calls && !sl_calls_settle(u->calls, &e))
		sl_log(SL_LOG_DEBUG, NULL, "answers that came while closing are not kept: %s", e.text);
	sl_unit_tasks_close(u);
	for (size_t i = 0; i < u->task_count; i++) {
		free(u->tasks[i].self);
		free(u->tasks[i].table_versions);
		free(u->tasks[i].table_stamp);
		free(u->tasks[i].inbox);
	}
	/* Closing is a clean end, also of a transaction that failed or waits: only a death is evidence. */
	if (u->attempt)
		sl_attempt_end(u->attempt, u->committed);
	lots_free(u);
	sl_redrive_close(u->redrive);
	sl_calls_free(u->calls);
	free(u->tasks);
	sl_buf_release(&u->outputs);
	sl_buf_release(&u->scratch);
	sl_buf_release(&u->bill);
	sl_stage_release(&u->stage);
	sl_counts_release(&u->counts);
	sl_writes_release(&u->writes);
	free(u);
}
