/* play.c -- stepping the units of a member, and the one transaction of all of them.
 *
 * A unit plays what its inbox has and stages it, as on the embedded stream (../run.c). When the oldest staged
 * work is commit_every_ms old, or there is enough of it, all units of the member are committed together:
 *
 *     seal · begin · outputs, changelog, counts · offsets · commit · local store with the changelog's position
 *
 * How a transaction can end, and what then (transaction.c finds out which it was):
 *
 *     done       the local store follows; should that fail, the units are restored from the changelog
 *     aborted    the units go back to the committed offset and play again, from memory
 *     unknown    what is committed may be more than we know: the units are closed and restored
 *     fenced     our id was opened elsewhere, or the coordinator gave us up while we were stopped: a new producer and a
 *                restore; three times within a minute it is another process with a copy of our data folder
 *     failed     as aborted, after a while; or the end of the run */
#include "member.h"

#include "../base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_AGAIN_MS 2000
#define FENCED_WINDOW_MS 60000

/* -- stepping -------------------------------------------------------------------------------------- */

static bool staged(const struct sl_member_task *t)
{
	return t->unit && !t->unit->failed &&
	       (t->unit->position != t->unit->committed || (t->leaving && sl_kafka_owes_bill(t->unit)));
}

static size_t staged_bytes(const struct sl_member *m)
{
	size_t bytes = 0;

	for (size_t i = 0; i < m->task_count; i++)
		if (staged(m->tasks[i]))
			bytes += sl_unit_staged_bytes(m->tasks[i]->unit);
	return bytes;
}

bool sl_task_at_end(const struct sl_member_task *t)
{
	return t->unit && t->fetching && !t->again && t->inbox.at_end && t->unit->committed == t->inbox.next;
}

/* Play until there is enough for a transaction or a reason to stop. */
static enum sl_step_result play(struct sl_unit *u)
{
	const struct sl_topology *topology = u->rt->topology;
	enum sl_step_result r;
	int64_t before;

	do {
		before = u->position;
		r = sl_unit_step(u);
	} while (r == SL_STEP_MORE && u->position != before && !atomic_load(&u->rt->stop) &&
		 sl_unit_staged_bytes(u) < (size_t)topology->commit_bytes &&
		 sl_monotonic_ns() - u->begun_ns < topology->commit_every_ms * 1000000);
	return r;
}

static void settle(struct sl_member_task *t, enum sl_step_result r)
{
	struct sl_unit *u = t->unit;

	t->wait[0] = 0;
	if (r == SL_STEP_FAILED && u->error.verdict == SL_STOP) {
		sl_member_fail(t->member, &u->error);
	} else if (r == SL_STEP_FAILED) {
		t->state = SL_TASK_BACKOFF;
		snprintf(t->wait, sizeof t->wait, "%.255s", u->error.text);
		t->not_before_ns = sl_member_back_off(t->member, t->partition, u->failures++, u->error.text);
	} else if (r == SL_STEP_WAITING) {
		t->state = SL_TASK_WAITING;
		snprintf(t->wait, sizeof t->wait, "%.255s", u->error.text);
		t->not_before_ns = sl_monotonic_ns() + LOOK_AGAIN_MS * INT64_C(1000000);
	} else if (r == SL_STEP_HELD) {
		t->state = SL_TASK_HELD;
		snprintf(t->wait, sizeof t->wait, "%.255s", u->error.text);
		t->not_before_ns = sl_monotonic_ns() + LOOK_AGAIN_MS * INT64_C(1000000);
	} else {
		t->state = r == SL_STEP_CALLS ? SL_TASK_CALLS : SL_TASK_RUNNING;
	}
}

/* Behind the last record there may be control records and aborted ones: when all is played they are passed too, so that
 * the committed offset comes to the log's end. */
static bool pass_the_rest(struct sl_member_task *t)
{
	struct sl_unit *u = t->unit;

	if (u->failed || u->loaded || t->inbox.next <= u->position ||
	    sl_inbox_find(&t->inbox, u->position) < t->inbox.count)
		return false;
	if (u->position == u->committed)
		t->moved_ns = sl_monotonic_ns();
	u->position = t->inbox.next;
	u->cursor = (struct sl_cursor){ .offset = u->position };
	return true;
}

/* Its batches are, or its parked pairs. */
static bool to_be_looked_at(const struct sl_unit *u)
{
	return u->look_at_ns <= sl_monotonic_ns() || atomic_load(&u->batch_at_once);
}

static bool can_step(const struct sl_member_task *t)
{
	switch (t->state) {
	case SL_TASK_RESTORING:
		return false;
	case SL_TASK_RUNNING:
	case SL_TASK_CALLS:
		return true;
	case SL_TASK_WAITING:
		return t->not_before_ns <= sl_monotonic_ns() || sl_unit_table_moved(t->unit) ||
		       to_be_looked_at(t->unit);
	case SL_TASK_HELD:
		return t->not_before_ns <= sl_monotonic_ns() || sl_calls_reshared(t->unit->calls) ||
		       to_be_looked_at(t->unit);
	case SL_TASK_BACKOFF:
		return t->not_before_ns <= sl_monotonic_ns();
	}
	return false;
}

bool sl_member_play(struct sl_member *m)
{
	bool any = false;

	if (m->failed || m->not_before_ns > sl_monotonic_ns())
		return false;
	m->turn++; /* who fills the transaction is not always the same */
	for (size_t i = 0; i < m->task_count && staged_bytes(m) < (size_t)m->k->topology->commit_bytes; i++) {
		struct sl_member_task *t = m->tasks[(m->turn + i) % m->task_count];
		int64_t before;

		if (!can_step(t))
			continue;
		before = t->unit->position;
		if (t->state == SL_TASK_WAITING ||
		    t->state == SL_TASK_HELD) { /* it may have nothing to wait for any more */
			t->state = SL_TASK_RUNNING;
			sl_member_show(m, NULL);
		}
		settle(t, play(t->unit));
		if (m->aside != SL_TXN_DONE)
			return true;
		if (t->unit->begun) /* dying while it waits for its commit says nothing about its records */
			sl_attempt_pause(t->unit->attempt, true);
		any |= t->unit->position != before || pass_the_rest(t);
	}
	return any;
}

/* -- the transaction --------------------------------------------------------------------------------- */

int64_t sl_member_due(const struct sl_member *m)
{
	int64_t due = INT64_MAX, every_ns = m->k->topology->commit_every_ms * 1000000;

	for (size_t i = 0; i < m->task_count; i++) {
		const struct sl_member_task *t = m->tasks[i];
		int64_t since;

		if (!staged(t))
			continue;
		if (t->unit->one) /* alone means a transaction of its own */
			return 0;
		since = t->unit->begun ? t->unit->begun_ns : t->moved_ns;
		if (since + every_ns < due)
			due = since + every_ns;
	}
	return due < INT64_MAX && staged_bytes(m) >= (size_t)m->k->topology->commit_bytes ? 0 : due;
}

/* All of it into an open transaction. last: per task, the changelog's largest offset. */
static bool produce(struct sl_member *m, struct sl_member_task **tasks, size_t count, int64_t *last, struct sl_error *e)
{
	for (size_t i = 0; i < count; i++) {
		struct sl_unit *u = tasks[i]->unit;

		last[i] = -1;
		if (u->begun)
			sl_attempt_pause(u->attempt, false);
		sl_unit_seal(u);
		if (!sl_kafka_outputs(m->k, m->txn, u, e))
			return false;
		sl_kafka_changelog(m->k, m->txn, u, &last[i]);
		sl_txn_offset(m->txn, m->topic, u->partition, u->position);
	}
	return !sl_fault(m->k->rt, "commit.begin", e);
}

static enum sl_txn_end transact(struct sl_member *m, struct sl_member_task **tasks, size_t count, int64_t *last,
				struct sl_error *e)
{
	struct sl_error ignored = { 0 };
	enum sl_txn_end end;

	sl_txn_begin(m->txn);
	if (produce(m, tasks, count, last, e))
		return sl_txn_commit(m->txn, m->consumer, e);
	end = sl_txn_abort(m->txn, &ignored);
	return end == SL_TXN_ABORTED || end == SL_TXN_DONE ? SL_TXN_FAILED : end;
}

/* Committed on the brokers: the local store follows, then the units know it. */
static bool follow(struct sl_member *m, struct sl_member_task **tasks, size_t count, const int64_t *last,
		   struct sl_error *e)
{
	struct sl_writes **batches = sl_calloc(count + 1, sizeof(struct sl_writes *));
	struct sl_runtime *rt = m->k->rt;
	struct sl_writes marks = { 0 };
	bool done;

	for (size_t i = 0; i < count; i++) {
		assert(last[i] >= 0); /* the offset at least is in the changelog */
		batches[i] = &tasks[i]->unit->writes;
		sl_restore_mark(&marks, m->step, tasks[i]->partition, last[i] + 1);
	}
	batches[count] = &marks;
	done = !sl_fault(rt, "commit.write", e) && rt->store->ops->write(rt->store, batches, count + 1, false, e);
	sl_lock(&rt->commit_lock);
	for (size_t i = 0; done && i < count; i++) {
		atomic_fetch_add(&rt->bytes_committed, (int64_t)sl_unit_staged_bytes(tasks[i]->unit));
		sl_unit_committed(tasks[i]->unit);
	}
	sl_unlock(&rt->commit_lock);
	for (size_t i = 0; done && i < count; i++) {
		sl_inbox_drop(&tasks[i]->inbox, tasks[i]->unit->committed);
		tasks[i]->moved_ns = 0;
	}
	free(batches);
	sl_writes_release(&marks);
	return done;
}

static void play_again(struct sl_member_task **tasks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		sl_unit_reset(tasks[i]->unit);
		tasks[i]->moved_ns = 0;
	}
}

static void wait_after(struct sl_member *m, const struct sl_error *e)
{
	snprintf(m->wait, sizeof m->wait, "%.255s", e->text);
	m->not_before_ns = sl_member_back_off(m, -1, m->failures++, e->text);
}

static void fenced(struct sl_member *m, struct sl_error *e)
{
	int64_t now = sl_monotonic_ns();

	sl_txn_close(m->txn);
	m->txn = NULL;
	if (m->fenced_ns[0] && now - m->fenced_ns[0] < FENCED_WINDOW_MS * INT64_C(1000000)) {
		sl_error_set(e, SL_STOP,
			     "another process writes as '%s': data folder '%s' was copied while in use; remove the "
			     "copy's store folder and start it again",
			     m->id, m->k->rt->data);
		sl_member_fail(m, e);
	} else {
		wait_after(m, e);
	}
	m->fenced_ns[0] = m->fenced_ns[1];
	m->fenced_ns[1] = now;
}

static void ended(struct sl_member *m, struct sl_member_task **tasks, size_t count, const int64_t *last,
		  enum sl_txn_end end, struct sl_error *e)
{
	switch (end) {
	case SL_TXN_DONE:
		if (follow(m, tasks, count, last, e)) {
			m->failures = 0;
			m->wait[0] = 0;
			return;
		}
		sl_error_in(e, "the commit is on the brokers, the local state will be restored");
		sl_member_close_units(m);
		break;
	case SL_TXN_UNKNOWN:
	case SL_TXN_FENCED:
		sl_member_close_units(m);
		break;
	case SL_TXN_ABORTED:
	case SL_TXN_FAILED:
		play_again(tasks, count);
		break;
	}
	if (e->verdict == SL_OK)
		sl_error_set(e, SL_RETRY, "the transaction of step '%s' was %s", m->step->name,
			     end == SL_TXN_FENCED    ? "fenced"
			     : end == SL_TXN_UNKNOWN ? "interrupted"
						     : "aborted");
	if (end == SL_TXN_FENCED)
		fenced(m, e);
	else if (end == SL_TXN_FAILED && e->verdict == SL_STOP)
		sl_member_fail(m, e);
	else
		wait_after(m, e);
}

void sl_member_aside_ended(struct sl_member *m)
{
	enum sl_txn_end end = m->aside;

	m->aside = SL_TXN_DONE;
	if (end != SL_TXN_DONE)
		ended(m, NULL, 0, NULL, end, &m->aside_error);
}

void sl_member_commit(struct sl_member *m)
{
	struct sl_member_task **tasks = sl_calloc(m->task_count + 1, sizeof(struct sl_member_task *));
	int64_t *last = sl_calloc(m->task_count + 1, sizeof *last);
	int64_t began = sl_monotonic_ns(), cpu_ns = sl_thread_cpu_ns();
	struct sl_runtime *rt = m->k->rt;
	struct sl_error e = { 0 };
	enum sl_txn_end end;
	size_t count = 0;

	for (size_t i = 0; i < m->task_count; i++)
		if (staged(m->tasks[i]))
			tasks[count++] = m->tasks[i];
	if (count && m->txn) {
		sl_member_show(m, "committing");
		end = transact(m, tasks, count, last, &e);
		ended(m, tasks, count, last, end, &e);
		if (end == SL_TXN_DONE) {
			atomic_fetch_add(&rt->commits, 1);
			atomic_fetch_add(&rt->commit_ns, sl_monotonic_ns() - began);
			atomic_fetch_add(&rt->commit_cpu_ns, sl_thread_cpu_ns() - cpu_ns);
		}
	}
	free(tasks);
	free(last);
}
