/* unit.c -- what a unit does with a batch: read, decode, ask, process, stage.
 *
 * While the answers about a batch are awaited, the batches behind it (option `ahead` of the step) are read and asked
 * about too, so that their answers are there when their turn comes. That is all that happens to them: nothing of them
 * is staged, ask() runs again in their turn and finds the answers under their keys.
 *
 * The open transaction grows batch by batch until the scheduler commits it. Whatever
 * fails (an operator's verdict, a store that cannot be read, an injected fault)
 * marks the unit as failed; sl_unit_reset() drops the transaction, closes the operators
 * and goes back to the committed offset, and the next step opens them afresh. */
#include "engine.h"

#include "../schemas/codec.h"
#include "base/log.h"
#include "keys.h"
#include "redrive.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 8
#define BATCH_BYTES (2u << 20)

static struct sl_task *head(struct sl_unit *u)
{
	return &u->tasks[0];
}

static bool keep(struct sl_unit *u, enum sl_verdict verdict, const struct sl_task *t, const char *callback)
{
	if (verdict != SL_OK && !u->failed) { /* an operator that returns a verdict without sl_fail */
		sl_error_set(&u->error, verdict, "step '%s' partition %d: %s() returned %d without a reason",
			     t->step->name, (int)t->partition, callback, (int)verdict);
		u->failed = true;
	}
	return !u->failed;
}

/* -- opening ------------------------------------------------------------------------ */

/* Pin the tables for the transaction and write down what was pinned. */
static void pin(struct sl_unit *u)
{
	struct sl_buf stamp = { 0 };

	for (size_t i = 0; i < u->task_count; i++) {
		struct sl_task *t = &u->tasks[i];

		sl_buf_clear(&stamp);
		for (size_t k = 0; t->step->op->tables && t->step->op->tables[k]; k++) {
			t->table_versions[k] = sl_table_now(u->rt->topics[t->step->tables[k]].table);
			sl_buf_print(&stamp, "%s%s=%lld", k ? " " : "", t->step->op->tables[k],
				     (long long)sl_table_stamp(u->rt->topics[t->step->tables[k]].table,
							       t->table_versions[k]));
		}
		free(t->table_stamp);
		t->table_stamp = stamp.size ? sl_strdup(sl_buf_text(&stamp)) : NULL;
	}
	sl_buf_release(&stamp);
}

bool sl_unit_table_moved(const struct sl_unit *u)
{
	for (size_t i = 0; i < u->task_count; i++) {
		const struct sl_task *t = &u->tasks[i];

		for (size_t k = 0; t->step->op->tables && t->step->op->tables[k]; k++)
			if (sl_table_now(u->rt->topics[t->step->tables[k]].table) != t->table_versions[k])
				return true;
	}
	return false;
}

/* Add the CPU time that this thread has used since `since_ns`. */
static void spent(_Atomic int64_t *to, int64_t since_ns)
{
	atomic_fetch_add(to, sl_thread_cpu_ns() - since_ns);
}

static bool tasks_open(struct sl_unit *u)
{
	for (size_t i = 0; i < u->task_count; i++) {
		struct sl_task *t = &u->tasks[i];
		const struct sl_operator *op = t->step->op;
		int64_t since_ns;

		if (t->opened)
			continue;
		memcpy(t->self, t->step->self_image, op->self_size);
		t->opened = true;
		since_ns = sl_thread_cpu_ns();
		if (op->open && !keep(u, op->open(t, t->self), t, "open"))
			return false;
		spent(&t->open_cpu_ns, since_ns);
		sl_task_scan_end(t);
	}
	return true;
}

void sl_unit_tasks_close(struct sl_unit *u)
{
	for (size_t i = u->task_count; i-- > 0;) {
		struct sl_task *t = &u->tasks[i];

		sl_task_scan_end(t);
		if (t->opened && t->step->op->close)
			t->step->op->close(t, t->self);
		t->opened = false;
		t->inbox_count = 0;
	}
}

/* -- a batch -------------------------------------------------------------------------- */

static struct sl_lot *lot_behind(struct sl_unit *u, size_t i)
{
	return &u->lots[(u->lot_at + i) % u->lot_count];
}

/* The batch was played, or all is forgotten. */
static void batch_drop(struct sl_unit *u)
{
	u->loaded = false;
	for (size_t i = 0; i < u->task_count; i++)
		u->tasks[i].inbox_count = 0;
	sl_lot_drop(u, u->now, false);
}

static void batches_drop(struct sl_unit *u)
{
	u->now = lot_behind(u, 0);
	u->loaded = false;
	for (size_t i = 0; i < u->task_count; i++)
		u->tasks[i].inbox_count = 0;
	for (size_t i = 0; i <= u->ahead_count; i++)
		sl_lot_drop(u, lot_behind(u, i), true);
	u->ahead_count = 0;
}

static void begin(struct sl_unit *u)
{
	if (u->begun)
		return;
	pin(u);
	u->begun = true;
	u->begun_ns = sl_monotonic_ns();
}

/* What the record needs to be read (a schema) cannot be had now: the batch is played again. */
static bool decode_later(struct sl_unit *u, const struct sl_error *why)
{
	u->error = *why;
	sl_error_in(&u->error, "step '%s' partition %d", head(u)->step->name, (int)u->partition);
	u->failed = true;
	return false;
}

/* A batch is of pairs or of undecodable records, never of both: a dead letter keeps its place among
 * those of the operator however the batches are cut, and a batch that waits for answers has staged nothing.
 * ahead: only a batch of pairs is taken, and nothing fails; false: wait for its turn. */
static bool batch_decode(struct sl_unit *u, bool ahead)
{
	size_t dead = 0;

	for (size_t i = 0; i < u->now->count; i++) {
		struct sl_record *r = &u->now->records[i];
		struct sl_error why = { 0 };
		char reason[600];
		bool decoded;

		if (!r->value.data)
			continue; /* a tombstone: nothing to play */
		decoded = u->rt->stream->decode(u, r, &u->now->pairs[u->now->pair_count], &why);
		if (!decoded && ahead && u->now->pair_count == 0)
			return false;
		if (!decoded && why.verdict != SL_STOP)
			return !ahead && decode_later(u, &why);
		if (decoded ? dead > 0 : u->now->pair_count > 0) {
			sl_cursor_back(&u->cursor, r, u->now->count - i);
			u->now->count = i;
			return true;
		}
		if (decoded) {
			u->now->of_record[u->now->pair_count++] = i;
			continue;
		}
		snprintf(reason, sizeof reason, "undecodable: %s", why.text);
		sl_task_dead_record(head(u), r, reason);
		dead++;
	}
	return true;
}

/* Read and decode the next batch; false: nothing there, or failed. */
static bool batch_load(struct sl_unit *u)
{
	const struct sl_step *step = head(u)->step;
	size_t most = (size_t)step->batch_max;

	if (!u->rt->stream->waiting(u))
		return false;
	if (!u->resumed) {
		u->plan = sl_attempt_resume(u->attempt, u->committed);
		u->resumed = true;
		if (u->plan == SL_PLAY_ONE)
			sl_log(SL_LOG_WARN, NULL,
			       "step '%s' partition %d died twice at offset %lld of '%s': playing one record at a time",
			       step->name, (int)u->partition, (long long)u->committed,
			       u->rt->topology->topics[step->from].name);
	}
	u->one = u->plan != SL_PLAY_BATCH;
	if (u->one && sl_unit_staged(u))
		return false; /* alone means a transaction of its own: commit first */
	if (!u->rt->stream->load(u, u->one ? 1 : most, BATCH_BYTES, &u->error)) {
		sl_error_in(&u->error, "step '%s' partition %d", step->name, (int)u->partition);
		u->failed = true;
		return false;
	}
	begin(u);
	sl_attempt_begin(u->attempt, u->committed, u->now->records[u->now->count - 1].offset + 1, u->one);
	u->loaded = true;
	if (u->plan == SL_PLAY_NOT) {
		sl_log(SL_LOG_WARN, NULL, "record %lld of '%s' ended the process three times in step '%s': dead letter",
		       (long long)u->now->records[0].offset, u->rt->topology->topics[step->from].name, step->name);
		sl_task_dead_record(head(u), &u->now->records[0],
				    "deadly: the process died three times while playing this record");
		return true;
	}
	return batch_decode(u, false);
}

/* The next of the batches that were asked about before their turn. */
static void batch_turn(struct sl_unit *u)
{
	u->lot_at = (u->lot_at + 1) % u->lot_count;
	u->ahead_count--;
	u->now = lot_behind(u, 0);
	u->now->rounds = 0;
	u->loaded = true;
	sl_attempt_begin(u->attempt, u->committed, u->cursor.offset, false);
	sl_calls_turn(u->now->window);
}

/* -- asking ------------------------------------------------------------------------------- */

/* ask() about u->now, whose calls are settled. True: it had new questions. */
static bool ask_once(struct sl_unit *u)
{
	struct sl_task *t = head(u);
	const struct sl_batch batch = { u->now->pairs, u->now->pair_count };
	size_t before = sl_calls_asked(u->now->window);
	int64_t since_ns = sl_thread_cpu_ns();

	t->asking = true;
	t->batch = batch.pairs;
	t->batch_count = batch.count;
	keep(u, t->step->op->ask(t, t->self, &batch), t, "ask");
	spent(&t->cpu_ns, since_ns);
	t->asking = false;
	if (u->failed || sl_calls_asked(u->now->window) == before)
		return false;
	u->now->rounds++;
	return true;
}

/* The batch behind the last one that is asked about. False: none, or not one to ask about now. */
static bool load_ahead(struct sl_unit *u)
{
	struct sl_cursor before = u->cursor;
	struct sl_error e = { 0 };

	if (u->plan != SL_PLAY_BATCH || u->position < u->no_ahead_before || sl_calls_held_up(u->calls) ||
	    !u->rt->stream->waiting(u))
		return false;
	sl_lot_ready(u);
	if (u->rt->stream->load(u, (size_t)head(u)->step->batch_max, BATCH_BYTES, &e) && batch_decode(u, true)) {
		u->ahead_count++;
		/* Should it die of one of these, it will look for it up to here. */
		sl_attempt_begin(u->attempt, u->committed, u->cursor.offset, false);
		return true;
	}
	sl_lot_drop(u, u->now, false);
	u->cursor = before;
	return false;
}

/* Ask about the batches behind the one that waits. When that fails, its turn will tell: all is played again, without
 * asking about it before. */
static void ask_ahead(struct sl_unit *u)
{
	for (size_t i = 1; i < u->lot_count && !u->failed; i++) {
		u->now = lot_behind(u, i);
		if (i > u->ahead_count && !load_ahead(u))
			break;
		while (!u->failed && !u->now->asked && sl_calls_open(u->now->window) == 0)
			u->now->asked = u->now->pair_count == 0 || !ask_once(u) || u->now->rounds >= ROUNDS_MAX;
		if (u->failed) {
			u->no_ahead_before = u->now->records[u->now->count - 1].offset + 1;
			u->ahead_failed = true;
		}
	}
	u->now = lot_behind(u, 0);
}

/* What has come is kept, and at a stop nothing is sent in its place. */
static bool exchange(struct sl_unit *u)
{
	return atomic_load(&u->rt->draining) ? sl_calls_settle(u->calls, &u->error)
					     : sl_calls_admit(u->calls, u->now->window, &u->error);
}

/* Rounds of ask(). True: process may run. */
static bool ask(struct sl_unit *u)
{
	struct sl_task *t = head(u);

	if (!t->step->op->ask || u->now->pair_count == 0)
		return true;
	for (;;) {
		if (!exchange(u))
			break;
		if (atomic_load(&u->rt->draining)) /* what was given up is no answer */
			return false;
		if (sl_calls_open(u->now->window) == 0 && !ask_once(u))
			return !u->failed;
		if (u->now->rounds > ROUNDS_MAX) {
			sl_error_set(&u->error, SL_STOP, "step '%s': ask() still has questions after %d rounds",
				     t->step->name, ROUNDS_MAX);
			break;
		}
		if (sl_calls_open(u->now->window) == 0)
			continue; /* all in the memo */
		ask_ahead(u);
		if (u->failed)
			return false;
		if (!sl_calls_admit(u->calls, u->now->window, &u->error))
			break;
		if (sl_calls_open(u->now->window) > 0)
			return false;
	}
	u->failed = true;
	return false;
}

static void tick(struct sl_unit *u, struct sl_task *t, bool forced)
{
	const struct sl_operator *op = t->step->op;

	if (!op->tick || (!forced && (op->tick_every_ms == 0 || u->stream_ms - t->ticked_ms < op->tick_every_ms)))
		return;
	t->ticked_ms = u->stream_ms;
	keep(u, op->tick(t, t->self, u->stream_ms), t, "tick");
	sl_task_scan_end(t);
}

static bool run_task(struct sl_unit *u, struct sl_task *t, const struct sl_pair *pairs, size_t count)
{
	size_t most = (size_t)t->step->batch_max;
	int64_t since_ns = sl_thread_cpu_ns();

	for (size_t at = 0; at < count && !u->failed; at += most) {
		struct sl_batch batch = { pairs + at, count - at < most ? count - at : most };

		t->batch = batch.pairs;
		t->batch_count = batch.count;
		keep(u, t->step->op->process(t, t->self, &batch), t, "process");
		sl_task_scan_end(t);
	}
	spent(&t->cpu_ns, since_ns);
	t->batch = NULL;
	t->batch_count = 0;
	return !u->failed;
}

static bool play(struct sl_unit *u)
{
	if (!run_task(u, head(u), u->now->pairs, u->now->pair_count))
		return false;
	for (size_t i = 1; i < u->task_count; i++) {
		struct sl_task *t = &u->tasks[i];
		struct sl_pair *inbox = t->inbox;
		size_t count = t->inbox_count;

		t->inbox_count = 0;
		if (!run_task(u, t, inbox, count))
			return false;
	}
	for (size_t i = 0; i < u->now->count; i++)
		if (u->now->records[i].time_ms > u->stream_ms)
			u->stream_ms = u->now->records[i].time_ms;
	for (size_t i = 0; i < u->task_count && !u->failed; i++)
		tick(u, &u->tasks[i], false);
	return !u->failed;
}

/* Nothing is under way that could let go of the money that the queued calls want. */
static bool held_up(struct sl_unit *u)
{
	const char *why = sl_calls_held_up(u->calls);

	if (!why || sl_calls_in_flight(u->calls) || atomic_load(&u->rt->draining))
		return false;
	sl_error_set(&u->error, SL_WAIT, "step '%s' partition %d: %s", head(u)->step->name, (int)u->partition, why);
	return true;
}

/* Batches of questions, and the pairs that wait for them: between the transactions of the input, never of one. */
static bool look_after_parked(struct sl_unit *u)
{
	int64_t next_ms, wait_ms, again_ms = INT64_MAX;
	bool settled;

	if (atomic_load(&u->rt->draining))
		return true;
	if (!sl_calls_batches(u->calls, atomic_exchange(&u->batch_at_once, false), &next_ms, &settled, &u->error) ||
	    (u->redrive && !sl_redrive_step(u->redrive, settled, &again_ms, &u->error))) {
		u->failed = true;
		return false;
	}
	atomic_store(&u->redriving, again_ms != INT64_MAX);
	wait_ms = next_ms == INT64_MAX ? INT64_MAX : next_ms - sl_wall_ms();
	wait_ms = again_ms < wait_ms ? again_ms : wait_ms;
	u->look_at_ns = wait_ms > INT64_MAX / 2000000 ? INT64_MAX : sl_monotonic_ns() + wait_ms * 1000000;
	return true;
}

bool sl_unit_parked(const struct sl_unit *u, bool *loose)
{
	int64_t n_loose, n = sl_calls_parked(u->calls, &n_loose);

	*loose = n_loose > 0;
	return n > 0 || atomic_load(&u->redriving);
}

static enum sl_step_result step(struct sl_unit *u)
{
	sl_attempt_thread(u->attempt);
	if (u->failed)
		sl_unit_reset(u);
	u->ahead_failed = false;
	memset(&u->error, 0, sizeof u->error);
	if (!look_after_parked(u))
		goto failed;
	if (!u->loaded && u->ahead_count) {
		begin(u);
		if (!tasks_open(u))
			goto failed;
		batch_turn(u);
	} else if (!u->loaded) {
		int64_t since_ns;

		if (!u->rt->stream->waiting(u))
			goto idle;
		begin(u);
		if (!tasks_open(u))
			goto failed;
		since_ns = sl_thread_cpu_ns();
		if (!batch_load(u)) {
			if (u->failed)
				goto failed;
			goto idle;
		}
		spent(&head(u)->read_cpu_ns, since_ns);
	}
	sl_attempt_pause(u->attempt, false);
	if (!ask(u)) {
		if (u->failed)
			goto failed;
		sl_attempt_pause(u->attempt, true); /* dying while answers are awaited says nothing about the records */
		sl_attempt_thread(NULL);
		return held_up(u) ? SL_STEP_HELD : SL_STEP_CALLS;
	}
	if (!play(u))
		goto failed;
	u->position = u->now->records[u->now->count - 1].offset + 1;
	u->read += (int64_t)u->now->count;
	atomic_fetch_add(&u->played, u->now->count);
	batch_drop(u);
	sl_attempt_thread(NULL);
	return SL_STEP_MORE;
idle:
	sl_attempt_thread(NULL);
	return sl_unit_staged(u) ? SL_STEP_MORE : SL_STEP_IDLE;
failed:
	sl_attempt_thread(NULL);
	return u->error.verdict == SL_WAIT ? SL_STEP_WAITING : SL_STEP_FAILED;
}

enum sl_step_result sl_unit_step(struct sl_unit *u)
{
	enum sl_step_result r;

	do
		r = step(u);
	while (u->ahead_failed);
	return r;
}

bool sl_unit_tick(struct sl_unit *u)
{
	if (u->failed)
		sl_unit_reset(u);
	begin(u);
	if (!tasks_open(u))
		return false;
	for (size_t i = 0; i < u->task_count && !u->failed; i++)
		tick(u, &u->tasks[i], true);
	return !u->failed;
}

/* -- the transaction -------------------------------------------------------------------- */

size_t sl_unit_staged_bytes(const struct sl_unit *u)
{
	return u->outputs.size + u->stage.memory.used_bytes;
}

void sl_unit_seal(struct sl_unit *u)
{
	struct sl_buf key = { 0 };
	uint8_t value[16];

	assert(!u->failed); /* a loaded batch that waits for answers has staged nothing yet */
	sl_writes_clear(&u->writes);
	sl_stage_writes(&u->stage, &u->writes);
	sl_key_begin(&key, 'o', head(u)->step->name);
	sl_key_partition(&key, u->partition);
	sl_put_le64(value, (uint64_t)u->position);
	sl_put_le64(value + 8, (uint64_t)u->stream_ms);
	sl_writes_put(&u->writes, sl_buf_bytes(&key), (struct sl_bytes){ value, 16 });
	for (size_t i = 0; i < u->counts.count; i++) {
		struct sl_count *c = &u->counts.at[i];

		if (c->staged == 0)
			continue;
		sl_put_le64(value, (uint64_t)(c->committed + c->staged));
		sl_writes_put(&u->writes, c->key, (struct sl_bytes){ value, 8 });
	}
	sl_buf_release(&key);
}

static void transaction_drop(struct sl_unit *u)
{
	u->read = 0;
	sl_buf_clear(&u->outputs);
	sl_stage_clear(&u->stage);
	sl_writes_clear(&u->writes);
	for (size_t i = 0; i < u->counts.count; i++)
		u->counts.at[i].staged = 0;
	u->begun = false;
}

void sl_unit_committed(struct sl_unit *u)
{
	for (size_t i = 0; i < u->counts.count; i++)
		u->counts.at[i].committed += u->counts.at[i].staged;
	transaction_drop(u);
	u->begun = u->loaded; /* a batch that waits for answers keeps the tables it was asked with */
	u->begun_ns = sl_monotonic_ns();
	u->committed = u->position;
	u->failures = 0;
	if (u->redrive) { /* pairs may have been parked */
		sl_redrive_committed(u->redrive);
		atomic_store(&u->redriving, true);
		u->look_at_ns = 0;
	}
	sl_attempt_end(u->attempt, u->committed);
	u->resumed = !u->one; /* alone: ask again what the slot says about the next record */
}

void sl_unit_reset(struct sl_unit *u)
{
	sl_unit_tasks_close(u);
	batches_drop(u);
	transaction_drop(u);
	u->position = u->committed;
	u->cursor = (struct sl_cursor){ .offset = u->committed };
	u->failed = false;
	sl_buf_clear(&u->bill); /* it may not have been told */
	sl_attempt_end(u->attempt, u->committed);
}
