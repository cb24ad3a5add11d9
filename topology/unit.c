/* unit.c -- what a unit does with a batch: read, decode, ask, process, stage.
 *
 * The open transaction grows batch by batch until the scheduler commits it. Whatever
 * fails (an operator's verdict, a store that cannot be read, an injected fault)
 * marks the unit as failed; sl_unit_reset() drops the transaction, closes the operators
 * and goes back to the committed offset, and the next step opens them afresh. */
#include "engine.h"

#include "../schemas/codec.h"
#include "base/log.h"
#include "keys.h"

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

static void tasks_close(struct sl_unit *u)
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

/* Committed offset and stream time; counts so far. */
static bool load(struct sl_unit *u, struct sl_error *e)
{
	struct sl_store *store = u->rt->store;
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	sl_key_begin(&key, 'o', head(u)->step->name);
	sl_key_partition(&key, u->partition);
	done = store->ops->get(store, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && value.size != 16)
		done = sl_error_set(e, SL_STOP,
				    "the offset of step '%s' has %zu bytes, expected 16: the store is damaged",
				    head(u)->step->name, value.size);
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

static void unit_register(struct sl_unit *u)
{
	struct sl_runtime *rt = u->rt;

	sl_lock(&rt->commit_lock);
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
	struct sl_buf memo = { 0 };
	char name[300];

	u->rt = rt;
	u->partition = partition;
	u->tasks = sl_calloc(rt->topology->step_count, sizeof *u->tasks);
	for (size_t i = 0; i < rt->topology->step_count; i++)
		if (&rt->topology->steps[rt->topology->steps[i].host] == host)
			u->tasks[u->task_count++].step = &rt->topology->steps[i];
	assert(u->task_count > 0 && head(u)->step == host);

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
	u->records = sl_calloc((size_t)head(u)->step->batch_max, sizeof *u->records);
	u->pairs = sl_calloc((size_t)head(u)->step->batch_max, sizeof *u->pairs);
	u->of_record = sl_calloc((size_t)head(u)->step->batch_max, sizeof *u->of_record);
	sl_key_begin(&memo, 'm', head(u)->step->name);
	sl_key_partition(&memo, u->partition);
	u->calls = sl_calls_new(rt->store, sl_buf_bytes(&memo), memo_keep, answer_came, u);
	sl_buf_release(&memo);
	snprintf(name, sizeof name, "%s.%d", head(u)->step->name, (int)u->partition);
	u->attempt = sl_attempts_slot(rt->attempts, name);
	unit_register(u);
	if (load(u, e))
		return u;
	sl_unit_close(u);
	return NULL;
}

void sl_unit_close(struct sl_unit *u)
{
	struct sl_error e = { 0 };
	size_t open;

	unit_unregister(u);
	/* Answers that came since are paid for; losing one costs a question, no truth. */
	if (u->calls && !sl_calls_settle(u->calls, &open, &e))
		sl_log(SL_LOG_DEBUG, NULL, "answers that came while closing are not kept: %s", e.text);
	tasks_close(u);
	for (size_t i = 0; i < u->task_count; i++) {
		free(u->tasks[i].self);
		free(u->tasks[i].table_versions);
		free(u->tasks[i].table_stamp);
		free(u->tasks[i].inbox);
	}
	/* Closing is a clean end, also of a transaction that failed or waits: only a death is evidence. */
	if (u->attempt)
		sl_attempt_end(u->attempt, u->committed);
	sl_calls_free(u->calls);
	free(u->tasks);
	free(u->records);
	free(u->pairs);
	free(u->of_record);
	sl_buf_release(&u->bytes);
	sl_buf_release(&u->outputs);
	sl_buf_release(&u->scratch);
	sl_stage_release(&u->stage);
	sl_counts_release(&u->counts);
	sl_writes_release(&u->writes);
	sl_arena_release(&u->arena);
	free(u);
}

/* -- a batch -------------------------------------------------------------------------- */

static void batch_drop(struct sl_unit *u, bool again)
{
	u->loaded = false;
	u->count = u->pair_count = 0;
	for (size_t i = 0; i < u->task_count; i++)
		u->tasks[i].inbox_count = 0;
	sl_calls_batch_end(u->calls, again);
	sl_arena_clear(&u->arena);
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
 * those of the operator however the batches are cut, and a batch that waits for answers has staged nothing. */
static bool batch_decode(struct sl_unit *u)
{
	size_t dead = 0;

	for (size_t i = 0; i < u->count; i++) {
		struct sl_record *r = &u->records[i];
		struct sl_error why = { 0 };
		char reason[600];
		bool decoded;

		if (!r->value.data)
			continue; /* a tombstone: nothing to play */
		decoded = u->rt->stream->decode(u, r, &u->pairs[u->pair_count], &why);
		if (!decoded && why.verdict != SL_STOP)
			return decode_later(u, &why);
		if (decoded ? dead > 0 : u->pair_count > 0) {
			sl_cursor_back(&u->cursor, r, u->count - i);
			u->count = i;
			return true;
		}
		if (decoded) {
			u->of_record[u->pair_count++] = i;
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
	sl_attempt_begin(u->attempt, u->committed, u->records[u->count - 1].offset + 1, u->one);
	u->loaded = true;
	u->rounds = 0;
	u->pair_count = 0;
	if (u->plan == SL_PLAY_NOT) {
		sl_log(SL_LOG_WARN, NULL, "record %lld of '%s' ended the process three times in step '%s': dead letter",
		       (long long)u->records[0].offset, u->rt->topology->topics[step->from].name, step->name);
		sl_task_dead_record(head(u), &u->records[0],
				    "deadly: the process died three times while playing this record");
		return true;
	}
	return batch_decode(u);
}

/* One round of ask(). True: process may run. */
static bool ask(struct sl_unit *u, size_t *open)
{
	struct sl_task *t = head(u);

	*open = 0;
	if (!t->step->op->ask || u->pair_count == 0)
		return true;
	for (;;) {
		struct sl_batch batch = { u->pairs, u->pair_count };
		int64_t since_ns;
		size_t before;

		if (!sl_calls_settle(u->calls, open, &u->error)) {
			u->failed = true;
			return false;
		}
		if (*open)
			return false;
		before = sl_calls_asked(u->calls);
		t->asking = true;
		t->batch = batch.pairs;
		t->batch_count = batch.count;
		since_ns = sl_thread_cpu_ns();
		keep(u, t->step->op->ask(t, t->self, &batch), t, "ask");
		spent(&t->cpu_ns, since_ns);
		t->asking = false;
		if (u->failed)
			return false;
		if (sl_calls_asked(u->calls) == before)
			return true;
		if (++u->rounds > ROUNDS_MAX) {
			sl_error_set(&u->error, SL_STOP, "step '%s': ask() still has questions after %d rounds",
				     t->step->name, ROUNDS_MAX);
			u->failed = true;
			return false;
		}
	}
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
	if (!run_task(u, head(u), u->pairs, u->pair_count))
		return false;
	for (size_t i = 1; i < u->task_count; i++) {
		struct sl_task *t = &u->tasks[i];
		struct sl_pair *inbox = t->inbox;
		size_t count = t->inbox_count;

		t->inbox_count = 0;
		if (!run_task(u, t, inbox, count))
			return false;
	}
	for (size_t i = 0; i < u->count; i++)
		if (u->records[i].time_ms > u->stream_ms)
			u->stream_ms = u->records[i].time_ms;
	for (size_t i = 0; i < u->task_count && !u->failed; i++)
		tick(u, &u->tasks[i], false);
	return !u->failed;
}

enum sl_step_result sl_unit_step(struct sl_unit *u)
{
	size_t open;

	sl_attempt_thread(u->attempt);
	if (u->failed)
		sl_unit_reset(u);
	memset(&u->error, 0, sizeof u->error);
	if (!u->loaded) {
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
	if (!ask(u, &open)) {
		if (u->failed)
			goto failed;
		sl_attempt_pause(u->attempt, true); /* dying while answers are awaited says nothing about the records */
		sl_attempt_thread(NULL);
		return SL_STEP_CALLS;
	}
	if (!play(u))
		goto failed;
	u->position = u->records[u->count - 1].offset + 1;
	u->read += (int64_t)u->count;
	atomic_fetch_add(&u->played, u->count);
	batch_drop(u, false);
	sl_attempt_thread(NULL);
	return SL_STEP_MORE;
idle:
	sl_attempt_thread(NULL);
	return sl_unit_staged(u) ? SL_STEP_MORE : SL_STEP_IDLE;
failed:
	sl_attempt_thread(NULL);
	return u->error.verdict == SL_WAIT ? SL_STEP_WAITING : SL_STEP_FAILED;
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
	sl_attempt_end(u->attempt, u->committed);
	u->resumed = !u->one; /* alone: ask again what the slot says about the next record */
}

void sl_unit_reset(struct sl_unit *u)
{
	tasks_close(u);
	batch_drop(u, true);
	transaction_drop(u);
	u->position = u->committed;
	u->cursor = (struct sl_cursor){ .offset = u->committed };
	u->failed = false;
	sl_attempt_end(u->attempt, u->committed);
}
