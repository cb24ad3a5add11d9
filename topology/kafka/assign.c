/* assign.c -- partitions that come to a member, are restored, are read, and go.
 *
 *     the group gives a partition    a task, nothing of it is read yet
 *     restored (restore.c)           a unit at the group's committed offset; now the consumer reads it from there
 *     the group takes it             calls in flight into the memo, what is staged committed, the unit closed, and only
 *                                    then the answer, so that whoever gets it next finds all of it
 *     it is lost                     the same without the commit: somebody else may have it already
 *
 * Messages do not come through the consumer's own queue but one per partition, so that a full inbox holds back its
 * partition alone. The consumer's position is a matter of its own; ours is the inbox. Whenever the two may differ (an
 * error in between, a batch that could not be read) the partition is assigned again at the inbox's end. */
#include "member.h"

#include "../base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICE_MS 50
#define DRAIN_MOST_MS 30000 /* the group waits for us */
#define AGAIN_MS 500
#define FETCH_MOST 256

/* -- units and tasks ---------------------------------------------------------------------------- */

static struct sl_member_task *task_of(const struct sl_member *m, int32_t partition)
{
	for (size_t i = 0; i < m->task_count; i++)
		if (m->tasks[i]->partition == partition)
			return m->tasks[i];
	return NULL;
}

static void task_new(struct sl_member *m, int32_t partition)
{
	struct sl_member_task *t = sl_calloc(1, sizeof *t);

	t->member = m;
	t->partition = partition;
	m->tasks = sl_realloc(m->tasks, (m->task_count + 1) * sizeof(struct sl_member_task *));
	m->tasks[m->task_count++] = t;
	m->changed = true;
}

/* Calls in flight still touch the unit when they end: it stays until then, without its task. */
static void unit_part(struct sl_member *m, struct sl_unit *u)
{
	sl_unit_reset(u); /* nothing of it points into the inbox any more */
	sl_lock(&m->k->rt->commit_lock);
	u->stream = NULL;
	sl_unlock(&m->k->rt->commit_lock);
	m->parting = sl_realloc(m->parting, (m->parting_count + 1) * sizeof(struct sl_unit *));
	m->parting[m->parting_count++] = u;
}

void sl_member_part(struct sl_member *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->parting_count; i++) {
		if (sl_calls_in_flight(m->parting[i]->calls))
			m->parting[kept++] = m->parting[i];
		else
			sl_unit_close(m->parting[i]);
	}
	m->parting_count = kept;
}

/* Back to before its restore. */
static void task_clear(struct sl_member_task *t)
{
	struct sl_member *m = t->member;

	if (t->restore)
		sl_restore_end(t->restore);
	t->restore = NULL;
	if (t->unit && sl_calls_in_flight(t->unit->calls))
		unit_part(m, t->unit);
	else if (t->unit)
		sl_unit_close(t->unit);
	t->unit = NULL;
	if (t->queue) {
		rd_kafka_queue_cb_event_enable(t->queue, NULL, NULL);
		rd_kafka_queue_destroy(t->queue);
	}
	t->queue = NULL;
	sl_inbox_release(&t->inbox);
	t->state = SL_TASK_RESTORING;
	t->again = false;
	t->moved_ns = 0;
	t->wait[0] = 0;
	m->changed = true;
}

/* partitions NULL: all. */
static bool named(const int32_t *partitions, size_t count, int32_t partition)
{
	if (!partitions)
		return true;
	for (size_t i = 0; i < count; i++)
		if (partitions[i] == partition)
			return true;
	return false;
}

/* What is in flight is paid for: wait for it, bounded, and keep the answers. */
static void drain(struct sl_member *m, const int32_t *partitions, size_t count)
{
	int64_t drain_ms = m->k->topology->drain_ms < DRAIN_MOST_MS ? m->k->topology->drain_ms : DRAIN_MOST_MS;
	int64_t last_ns = sl_monotonic_ns() + drain_ms * INT64_C(1000000);
	struct sl_error e = { 0 };
	size_t flying;

	do {
		flying = 0;
		for (size_t i = 0; i < m->task_count; i++)
			if (m->tasks[i]->unit && named(partitions, count, m->tasks[i]->partition))
				flying += sl_calls_in_flight(m->tasks[i]->unit->calls);
		if (flying)
			sl_member_rest(m, 20);
	} while (flying && sl_monotonic_ns() < last_ns);
	if (flying)
		sl_log(SL_LOG_WARN, NULL,
		       "%zu calls of step '%s' were not answered within %" PRId64
		       " ms: whoever has its partitions next asks them again",
		       flying, m->step->name, drain_ms);
	for (size_t i = 0; i < m->task_count; i++)
		if (m->tasks[i]->unit && named(partitions, count, m->tasks[i]->partition) &&
		    !sl_calls_settle(m->tasks[i]->unit->calls, &e))
			sl_log(SL_LOG_WARN, NULL, "%s", e.text);
}

/* What is in flight is waited for, so that whoever opens them again finds the answers. */
void sl_member_close_units(struct sl_member *m)
{
	drain(m, NULL, 0);
	for (size_t i = 0; i < m->task_count; i++)
		if (m->tasks[i]->unit)
			task_clear(m->tasks[i]);
}

void sl_member_give_up(struct sl_member *m, const int32_t *partitions, size_t count, bool lost)
{
	size_t kept = 0;

	drain(m, partitions, count);
	for (size_t i = 0; i < m->task_count; i++)
		m->tasks[i]->leaving = named(partitions, count, m->tasks[i]->partition);
	if (!lost && !m->failed)
		sl_member_commit(m);
	for (size_t i = 0; i < m->task_count; i++) {
		struct sl_member_task *t = m->tasks[i];

		if (!named(partitions, count, t->partition)) {
			m->tasks[kept++] = t;
			continue;
		}
		task_clear(t);
		free(t);
	}
	m->task_count = kept;
}

/* -- rebalances ---------------------------------------------------------------------------------- */

static void log_partitions(const struct sl_member *m, const char *what, const rd_kafka_topic_partition_list_t *parts)
{
	struct sl_buf list = { 0 };
	char where[SL_ID_MAX];

	for (int i = 0; i < parts->cnt; i++)
		sl_buf_print(&list, " %" PRId32, parts->elems[i].partition);
	snprintf(where, sizeof where, "step=%s member=%d", m->step->name, m->number);
	sl_log(SL_LOG_NOTE, where, "partitions %s:%s", what, list.size ? sl_buf_text(&list) : " none");
	sl_buf_release(&list);
}

static void answer(struct sl_member *m, bool done, const struct sl_error *e)
{
	if (!done)
		sl_member_fail(m, e);
}

static void assigned(struct sl_member *m, rd_kafka_topic_partition_list_t *parts)
{
	rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
	struct sl_error e = { 0 };

	atomic_fetch_add(&m->k->counters.rebalances, 1);
	log_partitions(m, "assigned", parts);
	for (int i = 0; i < parts->cnt; i++)
		if (!task_of(m, parts->elems[i].partition))
			task_new(m, parts->elems[i].partition);
	m->assigned = true;
	answer(m, sl_group_assign(m->k, m->consumer, none, &e), &e);
	rd_kafka_topic_partition_list_destroy(none);
}

static void revoked(struct sl_member *m, rd_kafka_topic_partition_list_t *parts)
{
	bool cooperative = sl_group_cooperative(m->consumer), lost = rd_kafka_assignment_lost(m->consumer);
	rd_kafka_topic_partition_list_t *read = rd_kafka_topic_partition_list_new(parts->cnt);
	int32_t *partitions = sl_calloc((size_t)parts->cnt + m->task_count + 1, sizeof *partitions);
	struct sl_error e = { 0 };
	size_t count = 0;

	log_partitions(m, lost ? "lost" : "revoked", parts);
	for (int i = 0; cooperative && i < parts->cnt; i++) {
		const struct sl_member_task *t = task_of(m, parts->elems[i].partition);

		partitions[count++] = parts->elems[i].partition;
		if (t && t->fetching)
			rd_kafka_topic_partition_list_add(read, m->topic, t->partition);
	}
	for (size_t i = 0; !cooperative && i < m->task_count; i++)
		partitions[count++] = m->tasks[i]->partition;
	if (lost)
		atomic_fetch_add(&m->k->counters.lost, (int64_t)count);
	sl_member_give_up(m, partitions, count, lost);
	if (!cooperative)
		m->assigned = false; /* until the group has met again */
	if (cooperative)
		answer(m, sl_group_unassign(m->k, m->consumer, read, &e), &e);
	else
		answer(m, sl_group_assign(m->k, m->consumer, NULL, &e), &e);
	rd_kafka_topic_partition_list_destroy(read);
	free(partitions);
}

void sl_member_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *parts, void *member)
{
	struct sl_member *m = member;

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assigned(m, parts);
	else
		revoked(m, parts);
}

/* -- restoring ------------------------------------------------------------------------------------ */

static void restore_failed(struct sl_member_task *t, const struct sl_error *e)
{
	if (t->restore)
		sl_restore_end(t->restore);
	t->restore = NULL;
	if (e->verdict == SL_STOP) {
		sl_member_fail(t->member, e);
		return;
	}
	snprintf(t->wait, sizeof t->wait, "%.255s", e->text);
	t->not_before_ns = sl_member_back_off(t->member, t->partition, t->failures++, e->text);
}

/* The unit at the offset that its state belongs to. A group that has committed nothing begins where the log does. */
static bool open_unit(struct sl_member_task *t, int64_t committed, struct sl_error *e)
{
	struct sl_member *m = t->member;
	int64_t start = 0, end;
	struct sl_unit *u;

	if (committed < 0 && !sl_kafka_ends(m->k, m->topic, t->partition, true, &start, &end, e))
		return false;
	u = sl_unit_new(m->k->rt, m->step, t->partition, e);
	if (!u)
		return false;
	if (committed >= 0 && u->committed != committed) {
		sl_error_set(e, SL_STOP,
			     "the restored state of step '%s' partition %" PRId32 " is of offset %" PRId64
			     ", its group is at %" PRId64 ": remove the data folder to restore all of it",
			     m->step->name, t->partition, u->committed, committed);
		sl_unit_close(u);
		return false;
	}
	sl_lock(&m->k->rt->commit_lock);
	u->stream = t;
	if (committed < 0) {
		u->committed = u->position = start;
		u->cursor = (struct sl_cursor){ .offset = start };
	}
	sl_unlock(&m->k->rt->commit_lock);
	t->unit = u;
	t->inbox.next = u->position;
	return true;
}

bool sl_member_restore(struct sl_member *m)
{
	struct sl_member_task *t = NULL;
	struct sl_error e = { 0 };
	enum sl_restore_end end;
	int64_t committed = -1, done, total;

	for (size_t i = 0; i < m->task_count && !t; i++)
		if (m->tasks[i]->state == SL_TASK_RESTORING && m->tasks[i]->not_before_ns <= sl_monotonic_ns())
			t = m->tasks[i];
	if (!t || m->failed)
		return false;
	if (!t->restore)
		t->restore = sl_restore_begin(m->k, m->step, t->partition, &e);
	end = t->restore ? sl_restore_step(t->restore, SLICE_MS, &committed, &e) : SL_RESTORE_FAILED;
	if (end == SL_RESTORE_MORE) {
		sl_restore_progress(t->restore, &done, &total);
		snprintf(t->wait, sizeof t->wait, "restoring: %" PRId64 " of %" PRId64 " records", done, total);
		return true;
	}
	if (end == SL_RESTORE_FAILED || !open_unit(t, committed, &e)) {
		restore_failed(t, &e);
		return true;
	}
	sl_restore_end(t->restore);
	t->restore = NULL;
	t->state = SL_TASK_RUNNING;
	t->failures = 0;
	t->not_before_ns = 0;
	t->wait[0] = 0;
	m->changed = true;
	return true;
}

/* -- reading ---------------------------------------------------------------------------------------- */

static void something_came(rd_kafka_t *rk, void *member)
{
	(void)rk;
	sl_member_poke(member);
}

/* Its messages into a queue of its own: to be said before the assignment, then no message goes astray. */
static void split(struct sl_member_task *t)
{
	struct sl_member *m = t->member;

	if (t->queue)
		rd_kafka_queue_destroy(t->queue);
	t->queue = rd_kafka_queue_get_partition(m->consumer, m->topic, t->partition);
	if (!t->queue)
		return; /* its messages come through the consumer's queue and put it here again */
	rd_kafka_queue_forward(t->queue, NULL);
	rd_kafka_queue_cb_event_enable(t->queue, something_came, m);
}

void sl_member_read(struct sl_member *m)
{
	rd_kafka_topic_partition_list_t *in, *out;
	bool cooperative = sl_group_cooperative(m->consumer), done;
	int64_t now = sl_monotonic_ns();
	struct sl_error e = { 0 };

	if (!m->changed || !m->assigned || m->failed || m->read_not_before_ns > now)
		return;
	in = rd_kafka_topic_partition_list_new((int)m->task_count);
	out = rd_kafka_topic_partition_list_new((int)m->task_count);
	for (size_t i = 0; i < m->task_count; i++) {
		struct sl_member_task *t = m->tasks[i];

		if (cooperative && t->fetching && (!t->unit || t->again))
			rd_kafka_topic_partition_list_add(out, m->topic, t->partition);
		if (!t->unit || (cooperative && t->fetching && !t->again))
			continue;
		split(t);
		rd_kafka_topic_partition_list_add(in, m->topic, t->partition)->offset = t->inbox.next;
		t->inbox.at_end = false;
	}
	done = (!out->cnt || sl_group_unassign(m->k, m->consumer, out, &e)) &&
	       ((cooperative && !in->cnt) || sl_group_assign(m->k, m->consumer, in, &e));
	for (size_t i = 0; done && i < m->task_count; i++) {
		m->tasks[i]->fetching = m->tasks[i]->unit != NULL;
		m->tasks[i]->again = false;
	}
	m->changed = !done;
	if (!done && e.verdict == SL_STOP)
		sl_member_fail(m, &e);
	else if (!done)
		m->read_not_before_ns = now + AGAIN_MS * INT64_C(1000000);
	rd_kafka_topic_partition_list_destroy(in);
	rd_kafka_topic_partition_list_destroy(out);
}

void sl_member_read_again(struct sl_member_task *t)
{
	t->again = t->member->changed = true;
	t->member->read_not_before_ns = sl_monotonic_ns() + AGAIN_MS * INT64_C(1000000);
}

/* Our place is not in the log any more: records were deleted unread, or the log is another one. */
static void lost_place(struct sl_member_task *t)
{
	struct sl_member *m = t->member;
	struct sl_error e = { 0 };
	int64_t start, end;

	if (!sl_kafka_ends(m->k, m->topic, t->partition, false, &start, &end, &e)) {
		if (e.verdict == SL_STOP)
			sl_member_fail(m, &e);
	} else if (t->inbox.next > end) {
		sl_error_set(&e, SL_STOP,
			     "step '%s' is at offset %" PRId64 " of topic '%s' partition %" PRId32
			     ", which ends at %" PRId64 ": the topic was made anew or its brokers lost records; take "
			     "another stream.prefix to begin anew",
			     m->step->name, t->inbox.next, m->topic, t->partition, end);
		sl_member_fail(m, &e);
	} else if (t->inbox.next < start) {
		sl_log(SL_LOG_WARN, NULL,
		       "offsets %" PRId64 " to %" PRId64 " of topic '%s' partition %" PRId32
		       " were deleted before step '%s' read them: going on behind (look at its retention)",
		       t->inbox.next, start - 1, m->topic, t->partition, m->step->name);
		t->inbox.next = start;
	}
	sl_member_read_again(t);
}

static void take(struct sl_member_task *t, const rd_kafka_message_t *message, struct sl_buf *headers)
{
	struct sl_member *m = t->member;
	struct sl_error e = { 0 };
	struct sl_record r;

	if (t->again) /* what comes behind an error is not what follows */
		return;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (message->offset < t->inbox.next)
			return;
		sl_message_record(message, headers, &r);
		sl_inbox_add(&t->inbox, &r);
	} else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (message->offset >= t->inbox.next) {
			t->inbox.next = message->offset;
			t->inbox.at_end = true;
		}
	} else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
		lost_place(t);
	} else {
		sl_kafka_failed(m->k, &e, message->err, rd_kafka_message_errstr(message),
				"read topic '%s' partition %" PRId32, m->topic, t->partition);
		if (e.verdict == SL_STOP)
			sl_member_fail(m, &e);
		else
			sl_log(SL_LOG_WARN, NULL, "%s", e.text);
		sl_member_read_again(t);
	}
}

bool sl_member_fetch(struct sl_member *m)
{
	rd_kafka_message_t *messages[FETCH_MOST];
	struct sl_buf headers = { 0 };
	bool any = false;

	for (size_t i = 0; i < m->task_count; i++) {
		struct sl_member_task *t = m->tasks[i];

		while (t->unit && t->queue && t->fetching && !t->again && !sl_inbox_full(&t->inbox)) {
			ssize_t n = rd_kafka_consume_batch_queue(t->queue, 0, messages, FETCH_MOST);

			for (ssize_t k = 0; k < n; k++) {
				take(t, messages[k], &headers);
				rd_kafka_message_destroy(messages[k]);
			}
			if (n <= 0)
				break;
			any = true;
			sl_kafka_answered(m->k);
		}
	}
	sl_buf_release(&headers);
	return any;
}
