/* restore.c -- the state of a task brought up to its changelog, before its first batch.
 *
 * The local store is a copy of the changelog that ends at a known position, or nothing. The rule (DESIGN section 5):
 *
 *     1. what the group has committed of the input, stable: no transaction that could move it is pending
 *     2. then the raw end E of the changelog (read_uncommitted), and of the memo
 *     3. read committed records until the *position* is at E: control records and what was aborted count,
 *        what is still open is waited for
 *     4. every transaction has also logged the task's next input offset ('o'): it must be the group's
 *
 * Step 3 may not stop at the last stable offset: a transaction whose marker lags in this partition, or that lies
 * behind somebody's open one, would be missed. Step 4 catches that, and offsets that were moved by hand: behind, and we
 * look again for a while; ahead, and it is an error.
 *
 * The copy says where it ends in 'p' (store.h), in the same batch as what it holds. Derived stores are not in the
 * changelog and operators rebuild them when they are empty; so when anything is applied to a copy they are emptied
 * first, and until all is done 'p' says that they must be, whatever happens in between.
 *
 * A copy is thrown away when its position is below the changelog's start, or above its end (another log under the same
 * name), or when there is something to read and the copy was last whole longer ago than half of delete.retention.ms:
 * a tombstone that it needs may be gone. So 'p' also says when that was; of one begun from nothing, when it was begun.
 *
 * Ownership: writes only keys of its own task. One thread, the member's; every call does a slice of work.
 * Asking the brokers (1, 2) blocks. */
#include "kafka.h"

#include "../base/log.h"
#include "../keys.h"

#include <inttypes.h>
#include <stdlib.h>

#define CHUNK_BYTES (1u << 20)
#define CHUNK_RECORDS 8192
#define WIPE_KEYS 10000
#define SAY_NS 5000000000
#define OFFSET_SIZE 16 /* of an 'o' value: next offset, stream time */
#define MARK_SIZE 17   /* position, wall ms when last whole, flags */
#define MARK_EMPTIED 1 /* derived stores must be emptied */
#define MARK_PART 2    /* a restore did not come to its end */

enum { CHANGELOG, MEMO, PARTS };

int64_t sl_restore_patience_ms = 60000;

struct sl_restore {
	struct sl_kafka *k;
	const struct sl_step *step;
	int32_t partition;
	char group[SL_ID_MAX], names[PARTS][SL_ID_MAX];
	size_t part_count; /* without a memo: 1 */
	int64_t from[PARTS], positions[PARTS], ends[PARTS];
	bool local; /* the local copy has been looked at */
	bool asked; /* committed and ends are known */
	bool emptied;
	bool again; /* the group was asked once more */
	int64_t committed, found;
	int64_t whole_ms, retention_ms; /* the copy was last whole at; it must be again within */
	struct sl_tail *tail;
	struct sl_writes writes;
	struct sl_stage answers; /* of the memo: the first answer of a key counts */
	struct sl_buf key, value;
	int64_t records; /* of state, read */
	int64_t began_ns, behind_ns, said_ns, said[PARTS];
	int64_t left; /* its share of counters.restore_left */
};

bool sl_restore_has_memo(const struct sl_step *step)
{
	return sl_step_asks(step); /* steps that ask are never inlined */
}

/* -- keys and marks ----------------------------------------------------------------------- */

static void mark_key(struct sl_buf *key, const struct sl_step *step, int32_t partition)
{
	sl_key_begin(key, 'p', step->name);
	sl_key_partition(key, partition);
}

static void put_mark(struct sl_writes *w, const struct sl_step *step, int32_t partition, int64_t position,
		     int64_t wall_ms, int flags)
{
	struct sl_buf key = { 0 };
	uint8_t value[MARK_SIZE];

	mark_key(&key, step, partition);
	sl_put_le64(value, (uint64_t)position);
	sl_put_le64(value + 8, (uint64_t)wall_ms);
	value[16] = (uint8_t)flags;
	sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ value, sizeof value });
	sl_buf_release(&key);
}

void sl_restore_mark(struct sl_writes *w, const struct sl_step *step, int32_t partition, int64_t position)
{
	put_mark(w, step, partition, position, sl_wall_ms(), 0);
}

/* The memo is read from here on; nothing but time is lost when this lags. */
static void put_memo_mark(struct sl_restore *r)
{
	uint8_t value[8];

	mark_key(&r->key, r->step, r->partition);
	sl_key_text(&r->key, sl_text("memo"));
	sl_put_le64(value, (uint64_t)r->positions[MEMO]);
	sl_writes_put(&r->writes, sl_buf_bytes(&r->key), (struct sl_bytes){ value, sizeof value });
}

static bool write_now(struct sl_restore *r, struct sl_error *e)
{
	struct sl_writes *batch = &r->writes;
	struct sl_store *store = r->k->rt->store;
	bool done = !batch->count || store->ops->write(store, &batch, 1, false, e);

	sl_writes_clear(&r->writes);
	return done;
}

/* The next step that runs in the task, from index *at on. */
static const struct sl_step *unit_step(const struct sl_restore *r, size_t *at)
{
	const struct sl_topology *t = r->k->topology;

	while (*at < t->step_count) {
		const struct sl_step *step = &t->steps[(*at)++];

		if (step->host == (int)(r->step - t->steps))
			return step;
	}
	return NULL;
}

static bool wipe_prefix(struct sl_restore *r, struct sl_bytes prefix, struct sl_error *e)
{
	struct sl_store *store = r->k->rt->store;
	struct sl_store_scan *scan = store->ops->scan(store, prefix);
	struct sl_bytes key, value;
	bool done = true;

	e->verdict = SL_OK;
	while (done && store->ops->next(scan, &key, &value, e)) {
		sl_writes_del(&r->writes, key);
		if (r->writes.count >= WIPE_KEYS)
			done = write_now(r, e);
	}
	store->ops->end(scan);
	return done && e->verdict == SL_OK && write_now(r, e);
}

/* Everything local of the task that is of these kinds. */
static bool wipe(struct sl_restore *r, const char *kinds, struct sl_error *e)
{
	const struct sl_step *step;

	for (size_t at = 0; (step = unit_step(r, &at)) != NULL;) {
		for (const char *kind = kinds; *kind; kind++) {
			sl_key_begin(&r->key, *kind, step->name);
			sl_key_partition(&r->key, r->partition);
			if (!wipe_prefix(r, sl_buf_bytes(&r->key), e))
				return false;
		}
	}
	return true;
}

/* -- what is here --------------------------------------------------------------------------- */

static bool get(struct sl_restore *r, bool *found, struct sl_error *e)
{
	return r->k->rt->store->ops->get(r->k->rt->store, sl_buf_bytes(&r->key), &r->value, found, e);
}

/* Why the copy is of no use; empty: it is. */
static void useless(const struct sl_restore *r, int64_t start, bool part, char why[160])
{
	int64_t age_ms = sl_wall_ms() - r->whole_ms, position = r->positions[CHANGELOG], end = r->ends[CHANGELOG];

	why[0] = 0;
	if (position < start)
		snprintf(why, 160, "it ends at changelog offset %" PRId64 " and the changelog begins at %" PRId64,
			 position, start);
	else if (position > end)
		snprintf(why, 160, "it ends at changelog offset %" PRId64 " and the changelog at %" PRId64, position,
			 end);
	/* One offset more is the marker of our own last transaction: as good as nothing to read. */
	else if ((part || end > position + 1) && age_ms > r->retention_ms / 2)
		snprintf(why, 160,
			 "it is %" PRId64 " s old and half of the changelog's delete.retention.ms is %" PRId64 " s",
			 age_ms / 1000, r->retention_ms / 2000);
}

/* Forget the copy. 'p' goes first: without it, whatever else is still there is wiped by the next start. */
static bool discard(struct sl_restore *r, struct sl_error *e)
{
	mark_key(&r->key, r->step, r->partition);
	return wipe_prefix(r, sl_buf_bytes(&r->key), e) && wipe(r, "sdocnm", e);
}

/* Where the copy ends; or make it empty. */
static bool look_here(struct sl_restore *r, const int64_t starts[PARTS], struct sl_error *e)
{
	char where[300], why[160] = "";
	bool found, memo, keep, part;

	mark_key(&r->key, r->step, r->partition);
	if (!get(r, &found, e))
		return false;
	keep = found && r->value.size == MARK_SIZE;
	if (!sl_kafka_delete_retention(r->k, r->names[CHANGELOG], &r->retention_ms, e))
		return false;
	if (keep) {
		r->positions[CHANGELOG] = (int64_t)sl_get_le64(r->value.data);
		r->whole_ms = (int64_t)sl_get_le64(r->value.data + 8);
		r->emptied = r->value.data[16] & MARK_EMPTIED;
		part = r->value.data[16] & MARK_PART;
		useless(r, starts[CHANGELOG], part, why);
		keep = !why[0];
	}
	if (!keep) {
		if (why[0]) {
			snprintf(where, sizeof where, "step=%.255s partition=%d", r->step->name, (int)r->partition);
			sl_log(SL_LOG_NOTE, where, "the local state is discarded and read anew: %s", why);
			atomic_fetch_add(&r->k->counters.discarded, 1);
		}
		r->emptied = false;
		r->whole_ms = sl_wall_ms();
		for (size_t i = 0; i < r->part_count; i++)
			r->positions[i] = starts[i];
		return discard(r, e);
	}
	if (r->emptied && !wipe(r, "d", e))
		return false;
	sl_key_begin(&r->key, 'o', r->step->name);
	sl_key_partition(&r->key, r->partition);
	if (!get(r, &found, e))
		return false;
	r->found = found && r->value.size == OFFSET_SIZE ? (int64_t)sl_get_le64(r->value.data) : -1;
	mark_key(&r->key, r->step, r->partition);
	sl_key_text(&r->key, sl_text("memo"));
	if (!get(r, &memo, e))
		return false;
	r->positions[MEMO] = memo && r->value.size == 8 ? (int64_t)sl_get_le64(r->value.data) : 0;
	/* A memo that lost its beginning, or all of it, still answers what it has. */
	if (r->positions[MEMO] < starts[MEMO] || r->positions[MEMO] > r->ends[MEMO])
		r->positions[MEMO] = starts[MEMO];
	return true;
}

/* Steps 1 and 2, in this order. */
static bool ask(struct sl_restore *r, struct sl_error *e)
{
	const int32_t partitions = r->k->topology->topics[r->step->from].partitions;
	int64_t *offsets = sl_calloc((size_t)partitions, sizeof *offsets), starts[PARTS] = { 0 };
	bool done = sl_kafka_offsets(r->k, r->group, r->k->names[r->step->from], partitions, offsets, e);

	r->committed = done ? offsets[r->partition] : -1;
	free(offsets);
	for (size_t i = 0; done && i < r->part_count; i++)
		done = sl_kafka_ends(r->k, r->names[i], r->partition, false, &starts[i], &r->ends[i], e);
	if (!done || r->local)
		return done;
	if (!look_here(r, starts, e))
		return false;
	memcpy(r->from, r->positions, sizeof r->from);
	memcpy(r->said, r->positions, sizeof r->said);
	r->local = true;
	return true;
}

/* -- reading ------------------------------------------------------------------------------------ */

static bool tail_open(struct sl_restore *r, struct sl_error *e)
{
	struct sl_tail_part parts[PARTS];

	for (size_t i = 0; i < r->part_count; i++)
		parts[i] = (struct sl_tail_part){ r->names[i], r->partition, r->positions[i] };
	r->tail = sl_tail_open(r->k, parts, r->part_count, e);
	return r->tail != NULL;
}

/* One of `kinds`, 0-terminated name of a step of the task, its partition: whose key is this? */
static bool ours(const struct sl_restore *r, struct sl_bytes key, const char *kinds)
{
	const char *bytes = key.data;
	const struct sl_step *step;
	size_t name;

	if (key.size < 2 || !bytes[0] || !strchr(kinds, bytes[0]))
		return false;
	name = strnlen(bytes + 1, key.size - 1);
	if (key.size - 1 - name < 1 + sizeof r->partition)
		return false;
	for (size_t at = 0; (step = unit_step(r, &at)) != NULL;) {
		const uint8_t *p = (const uint8_t *)bytes + name + 2;

		if (strcmp(step->name, bytes + 1) == 0)
			return ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) ==
			       (uint32_t)r->partition;
	}
	return false;
}

static bool not_ours(const struct sl_restore *r, size_t which, const struct sl_record *record, struct sl_error *e)
{
	return sl_error_set(
		e, SL_STOP,
		"'%s' partition %d offset %" PRId64
		": this is no %s of step '%s': the topic was written by somebody else, or by a topology that "
		"inlined other steps here",
		r->names[which], (int)r->partition, record->offset, which == MEMO ? "answer" : "state", r->step->name);
}

/* An operator's state is about to change: what was derived from it goes, and until the end the mark says so. */
static bool empty_derived(struct sl_restore *r, struct sl_error *e)
{
	struct sl_writes mark = { 0 };
	struct sl_writes *batch = &mark;
	bool done;

	r->emptied = true;
	put_mark(&mark, r->step, r->partition, r->from[CHANGELOG], r->whole_ms, MARK_EMPTIED | MARK_PART);
	done = r->k->rt->store->ops->write(r->k->rt->store, &batch, 1, false, e);
	sl_writes_release(&mark);
	return done && write_now(r, e) && wipe(r, "d", e);
}

static bool apply_state(struct sl_restore *r, const struct sl_record *record, struct sl_error *e)
{
	const char kind = record->key.size ? *(const char *)record->key.data : 0;

	if (!ours(r, record->key, "socn"))
		return not_ours(r, CHANGELOG, record, e);
	if (kind == 'o') {
		if (!record->value.data || record->value.size != OFFSET_SIZE)
			return not_ours(r, CHANGELOG, record, e);
		r->found = (int64_t)sl_get_le64(record->value.data);
	}
	if (kind == 's' && !r->emptied && !empty_derived(r, e))
		return false;
	if (record->value.data)
		sl_writes_put(&r->writes, record->key, record->value);
	else
		sl_writes_del(&r->writes, record->key);
	return true;
}

/* Of an answer the first counts, of all else in the memo (../ledger.h) the last. */
static bool is_answer(const struct sl_restore *r, struct sl_bytes key)
{
	size_t prefix = 1 + strlen(r->step->name) + 1 + 4;

	return key.size > prefix && ((const char *)key.data)[prefix] == 'a';
}

static bool apply_answer(struct sl_restore *r, const struct sl_record *record, struct sl_error *e)
{
	const struct sl_stage_entry *staged;
	bool found = false;

	if (!ours(r, record->key, "m"))
		return not_ours(r, MEMO, record, e);
	if (!record->value.data) {
		sl_stage_del(&r->answers, record->key);
		return true;
	}
	if (is_answer(r, record->key)) {
		sl_buf_clear(&r->key);
		sl_buf_add_bytes(&r->key, record->key);
		staged = sl_stage_find(&r->answers, record->key);
		found = staged && staged->value.data;
		if (!staged && !get(r, &found, e))
			return false;
	}
	if (!found)
		sl_stage_put(&r->answers, record->key, record->value);
	return true;
}

/* What was read, into the store, with where it ends. */
static bool flush(struct sl_restore *r, bool whole, struct sl_error *e)
{
	sl_stage_writes(&r->answers, &r->writes);
	sl_stage_clear(&r->answers);
	if (r->part_count > MEMO)
		put_memo_mark(r);
	put_mark(&r->writes, r->step, r->partition, r->positions[CHANGELOG], whole ? sl_wall_ms() : r->whole_ms,
		 whole ? 0 : MARK_PART | (r->emptied ? MARK_EMPTIED : 0));
	return write_now(r, e);
}

static bool there(const struct sl_restore *r)
{
	for (size_t i = 0; i < r->part_count; i++)
		if (r->positions[i] < r->ends[i])
			return false;
	return true;
}

static void count(struct sl_restore *r, int64_t records, int64_t bytes)
{
	struct sl_kafka_counters *c = &r->k->counters;
	int64_t done, total;

	sl_restore_progress(r, &done, &total);
	atomic_fetch_add(&c->restore_left, total - done - r->left);
	r->left = total - done;
	atomic_fetch_add(&c->restored_records, records);
	atomic_fetch_add(&c->restored_bytes, bytes);
}

/* Read for a while, until all is there or until_ns. */
static bool pump(struct sl_restore *r, int64_t until_ns, struct sl_error *e)
{
	int64_t records = 0, bytes = 0, now_ns;
	bool done = true;

	while (done && !there(r) && (now_ns = sl_monotonic_ns()) < until_ns) {
		struct sl_record record;
		size_t which = 0;
		int wait_ms = (int)((until_ns - now_ns) / 1000000);

		switch (sl_tail_next(r->tail, wait_ms, &which, &record, e)) {
		case SL_TAIL_FAILED:
			done = false;
			break;
		case SL_TAIL_RECORD:
			done = (which == MEMO ? apply_answer : apply_state)(r, &record, e);
			records++;
			r->records += which == CHANGELOG;
			bytes += (int64_t)(record.key.size + record.value.size);
			break;
		case SL_TAIL_NOTHING:
			break;
		}
		for (size_t i = 0; i < r->part_count; i++)
			r->positions[i] = sl_tail_position(r->tail, i);
		if (done && (r->writes.bytes.size + r->answers.memory.used_bytes >= CHUNK_BYTES ||
			     r->writes.count + r->answers.count >= CHUNK_RECORDS))
			done = flush(r, false, e);
	}
	count(r, records, bytes);
	return done;
}

static void say(struct sl_restore *r, int64_t now_ns)
{
	char where[300];

	if (now_ns - r->said_ns < SAY_NS)
		return;
	r->said_ns = now_ns;
	snprintf(where, sizeof where, "step=%.255s partition=%d", r->step->name, (int)r->partition);
	for (size_t i = 0; i < r->part_count; i++) {
		if (r->positions[i] < r->ends[i])
			sl_log(SL_LOG_NOTE, where, "restoring from '%s': at offset %" PRId64 " of %" PRId64 "%s",
			       r->names[i], r->positions[i], r->ends[i],
			       r->positions[i] > r->said[i] ? "" : ", waiting for the transaction that is open there");
		r->said[i] = r->positions[i];
	}
}

/* -- from outside ----------------------------------------------------------------------------------- */

struct sl_restore *sl_restore_begin(struct sl_kafka *k, const struct sl_step *step, int32_t partition,
				    struct sl_error *e)
{
	struct sl_restore *r = sl_calloc(1, sizeof *r);

	(void)e; /* nobody is asked yet: that is the first slice */
	r->k = k;
	r->step = step;
	r->partition = partition;
	r->part_count = sl_restore_has_memo(step) ? PARTS : MEMO;
	r->committed = r->found = -1;
	sl_kafka_name(k, r->group, "%s", step->name);
	sl_kafka_name(k, r->names[CHANGELOG], "%s.changelog", step->name);
	sl_kafka_name(k, r->names[MEMO], "%s.memo", step->name);
	r->began_ns = r->said_ns = sl_monotonic_ns();
	atomic_fetch_add(&k->counters.restoring, 1);
	return r;
}

void sl_restore_end(struct sl_restore *r)
{
	if (!r)
		return;
	atomic_fetch_sub(&r->k->counters.restoring, 1);
	atomic_fetch_sub(&r->k->counters.restore_left, r->left);
	sl_tail_close(r->tail);
	sl_writes_release(&r->writes);
	sl_stage_release(&r->answers);
	sl_buf_release(&r->key);
	sl_buf_release(&r->value);
	free(r);
}

void sl_restore_progress(const struct sl_restore *r, int64_t *done, int64_t *total)
{
	*done = *total = 0;
	for (size_t i = 0; r->local && i < r->part_count; i++) {
		*done += r->positions[i] - r->from[i];
		*total += (r->ends[i] > r->positions[i] ? r->ends[i] : r->positions[i]) - r->from[i];
	}
}

/* The changelog says less than the group: somebody's transaction may still show up there. */
static enum sl_restore_end behind(struct sl_restore *r, int64_t until_ns, struct sl_error *e)
{
	const int64_t now_ns = sl_monotonic_ns();

	if (!r->behind_ns)
		r->behind_ns = now_ns;
	if (now_ns - r->behind_ns > sl_restore_patience_ms * 1000000) {
		sl_error_set(e, SL_STOP,
			     "group '%s' has committed offset %" PRId64
			     " of '%s' partition %d, its changelog '%s' ends "
			     "with %" PRId64 ": records of the changelog are lost, or the offsets were moved by hand; "
			     "set them back (kafka-consumer-groups.sh --reset-offsets --to-offset) or delete both to "
			     "begin anew",
			     r->group, r->committed, r->k->names[r->step->from], (int)r->partition, r->names[CHANGELOG],
			     r->found);
		return SL_RESTORE_FAILED;
	}
	if (!r->tail && !tail_open(r, e))
		return SL_RESTORE_FAILED;
	r->ends[CHANGELOG] = r->positions[CHANGELOG] + 1; /* whatever comes next */
	if (!pump(r, until_ns, e))
		return SL_RESTORE_FAILED;
	r->asked = false;
	return SL_RESTORE_MORE;
}

/* All is read: does the changelog agree with the group? */
static enum sl_restore_end compare(struct sl_restore *r, int64_t until_ns, struct sl_error *e)
{
	if (r->found < r->committed)
		return behind(r, until_ns, e);
	if (r->found > r->committed && !r->again) {
		/* the group was asked first; it may have moved since */
		r->again = true;
		r->asked = false;
		return SL_RESTORE_MORE;
	}
	if (r->found > r->committed) {
		sl_error_set(e, SL_STOP,
			     "group '%s' has committed offset %" PRId64
			     " of '%s' partition %d, its changelog '%s' says "
			     "%" PRId64 ": the offsets were moved by hand, or have expired; set them to what the "
			     "changelog says (kafka-consumer-groups.sh --reset-offsets --to-offset), or delete both to "
			     "begin anew",
			     r->group, r->committed, r->k->names[r->step->from], (int)r->partition, r->names[CHANGELOG],
			     r->found);
		return SL_RESTORE_FAILED;
	}
	if (r->records && sl_wall_ms() - r->whole_ms > r->retention_ms) {
		/* a process that was stopped in the middle */
		if (!discard(r, e))
			return SL_RESTORE_FAILED;
		sl_error_set(e, SL_RETRY, "restoring from '%s' took longer than its delete.retention.ms",
			     r->names[CHANGELOG]);
		return SL_RESTORE_FAILED;
	}
	if (!flush(r, true, e))
		return SL_RESTORE_FAILED;
	count(r, 0, 0);
	atomic_fetch_add(&r->k->counters.restores, 1);
	atomic_fetch_add(&r->k->counters.restore_ns, sl_monotonic_ns() - r->began_ns);
	return SL_RESTORE_DONE;
}

enum sl_restore_end sl_restore_step(struct sl_restore *r, int budget_ms, int64_t *committed, struct sl_error *e)
{
	const int64_t until_ns = sl_monotonic_ns() + (int64_t)budget_ms * 1000000;
	enum sl_restore_end end;

	if (!r->asked && !ask(r, e))
		return SL_RESTORE_FAILED;
	r->asked = true;
	if (!there(r) && ((!r->tail && !tail_open(r, e)) || !pump(r, until_ns, e)))
		return SL_RESTORE_FAILED;
	if (!there(r)) {
		say(r, sl_monotonic_ns());
		return SL_RESTORE_MORE;
	}
	end = compare(r, until_ns, e);
	*committed = r->committed;
	return end;
}
