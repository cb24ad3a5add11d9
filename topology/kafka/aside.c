/* aside.c -- what a task makes true apart from its input: rows of parked questions (../parked.h), and pairs that come
 * back (../redrive.h). A transaction of the member's own producer, between those of play.c:
 *
 *     begin · records, counts · rows into the memo · the committed offset, once more · commit · local store
 *
 * The offset is why. It moves nothing, but the brokers take it only from a member of the group's present generation, so
 * whoever lost the partition and does not know it yet writes nothing of this either; and who has it next waits for the
 * transaction's end and reads what came of it (restore.c: the group's stable offset first, then the memo's end). A
 * group that has committed nothing yet has no such offset: then the changelog says it too, as with every other commit.
 *
 * How it ends and what then is play.c's business, as soon as the unit that wanted it has returned. The member's
 * thread. */
#include "member.h"

#include "../keys.h"

#include <stdlib.h>

static void frames_of(const struct sl_append *append, const struct sl_topology *t, struct sl_buf *frames)
{
	for (size_t i = 0; append && i < append->count; i++) {
		const struct sl_record *r = &append->records[i];

		sl_buf_add_le32(frames, (uint32_t)append->topic);
		sl_buf_add_le32(frames, (uint32_t)sl_partition_of(r->key, t->topics[append->topic].partitions));
		sl_frames_add(frames, r);
	}
}

/* The task's offset where nothing was ever committed, so that group and changelog agree. */
static bool first_offset(const struct sl_unit *u, struct sl_writes *w, struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	uint8_t first[16] = { 0 };
	bool found, done;

	sl_key_begin(&key, 'o', u->tasks[0].step->name);
	sl_key_partition(&key, u->partition);
	done = u->rt->store->ops->get(u->rt->store, sl_buf_bytes(&key), &value, &found, e);
	if (done && !found) {
		sl_put_le64(first, (uint64_t)u->committed);
		sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ first, sizeof first });
	}
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

static enum sl_txn_end transact(struct sl_member *m, struct sl_unit *with, int64_t committed,
				const struct sl_writes *rows, int64_t *last, struct sl_error *e)
{
	struct sl_record row = { .time_ms = sl_wall_ms() };
	struct sl_error ignored = { 0 };
	enum sl_txn_end end;
	char memo[SL_ID_MAX], changelog[SL_ID_MAX], meta[SL_ID_MAX];

	sl_txn_begin(m->txn);
	if (!sl_kafka_outputs(m->k, m->txn, with, e) || sl_fault(m->k->rt, "aside.begin", e)) {
		end = sl_txn_abort(m->txn, &ignored);
		return end == SL_TXN_ABORTED || end == SL_TXN_DONE ? SL_TXN_FAILED : end;
	}
	sl_kafka_name(m->k, memo, "%s.memo", m->step->name);
	sl_kafka_name(m->k, changelog, "%s.changelog", m->step->name);
	sl_kafka_name(m->k, meta, "meta");
	for (size_t at = 0; sl_writes_next(&with->writes, &at, &row.key, &row.value);) {
		sl_txn_produce(m->txn, changelog, with->partition, &row, last);
		if (*(const char *)row.key.data == 'n')
			sl_txn_produce(m->txn, meta, 0, &row, NULL);
	}
	for (size_t at = 0; sl_writes_next(rows, &at, &row.key, &row.value);)
		sl_txn_produce(m->txn, memo, with->partition, &row, NULL);
	sl_txn_offset(m->txn, m->topic, with->partition, committed);
	return sl_txn_commit(m->txn, m->consumer, e);
}

/* Committed on the brokers: the local store follows. */
static bool follow(struct sl_member *m, const struct sl_unit *with, struct sl_writes *rows, int64_t last,
		   struct sl_error *e)
{
	struct sl_writes marks = { 0 }, own = with->writes;
	struct sl_writes *batches[] = { rows, &own, &marks };
	bool done;

	if (last >= 0)
		sl_restore_mark(&marks, m->step, with->partition, last + 1);
	done = !sl_fault(m->k->rt, "aside.write", e) &&
	       m->k->rt->store->ops->write(m->k->rt->store, batches, 3, false, e);
	sl_writes_release(&marks);
	return done;
}

bool sl_kafka_aside(struct sl_unit *u, const struct sl_append *append, struct sl_writes *rows, struct sl_error *e)
{
	struct sl_member_task *t = u->stream;
	struct sl_member *m = t ? t->member : NULL;
	struct sl_unit with = { .rt = u->rt, .tasks = u->tasks, .partition = u->partition };
	bool paused = !u->attempt->active;
	int64_t last = -1;

	if (!m || !m->txn || m->aside != SL_TXN_DONE)
		return sl_error_set(e, SL_RETRY, "step '%s' partition %d has no producer now", u->tasks[0].step->name,
				    (int)u->partition);
	e->verdict = SL_OK;
	frames_of(append, u->rt->topology, &with.outputs);
	sl_attempt_pause(u->attempt, true); /* dying here says nothing about the records that wait */
	if (first_offset(u, &with.writes, e))
		m->aside = transact(m, &with, u->committed, rows, &last, e);
	else
		m->aside = SL_TXN_FAILED;
	if (m->aside == SL_TXN_DONE && !follow(m, &with, rows, last, e))
		m->aside = SL_TXN_UNKNOWN; /* to us: it is read again from the brokers */
	sl_attempt_pause(u->attempt, paused);
	sl_buf_release(&with.outputs);
	sl_writes_release(&with.writes);
	if (m->aside == SL_TXN_DONE)
		return true;
	if (e->verdict == SL_OK)
		sl_error_set(e, SL_RETRY, "rows of parked questions were not written: the transaction was %s",
			     m->aside == SL_TXN_FENCED    ? "fenced"
			     : m->aside == SL_TXN_UNKNOWN ? "interrupted"
							  : "aborted");
	m->aside_error = *e;
	return false;
}
