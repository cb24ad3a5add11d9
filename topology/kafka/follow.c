/* follow.c -- the tables and rt->meta of a process, kept up with their topics by one thread.
 *
 * One tail reads all partitions of the topics that are tables, and APP.meta. Opening takes the raw ends of all of them
 * (read_uncommitted: what is still in a transaction counts) and reads until every position is there; then the
 * first batch sees whatever was written before the process came. Somebody's open transaction at such an end
 * is waited for: it ends, or its time runs out.
 *
 * rt->meta reads from memory (meta.h). A write is a transaction under the guard APP.at.meta, so it is whole and
 * durable, and returns when the follower has read it back. Whoever was fenced takes the guard back and writes again:
 * the values are absolute, so writing twice is writing once. What must not be written by two is written under a
 * guard of its own (guard.c; and here the pins).
 *
 * Frozen: the pins (../freeze.c) say how far each table is read. They are in meta, so meta comes first; the first
 * process writes them under the guard APP.at.freeze, in the transaction of that guard: of two that find no
 * pins, one is fenced and then finds the other's. Tables end at their pins and are not followed.
 *
 * Threads: the follower applies; get, scan, write and sync from any. `lock` guards the positions. Until the thread
 * runs, whoever opens pumps by hand (wait_until does either). */
#include "kafka.h"

#include "../base/log.h"
#include "../base/hash.h"
#include "meta.h"

#include <inttypes.h>
#include <stdlib.h>

#define POLL_MS 1000 /* a wake-up ends it */
#define SYNC_MS 60000
#define SAY_MS 5000
#define REGISTRY_MS 1000
#define AMID 64 /* records between looks at what the others' positions are */

struct followed {
	int topic;     /* of the topology; -1: meta */
	int64_t limit; /* a table's pin: not read further */
	int64_t position;
};

struct sl_follow {
	struct sl_kafka *k;
	struct sl_meta *meta;
	char meta_topic[SL_ID_MAX];
	struct sl_tail *tail; /* the thread's, once it runs */
	struct sl_tail_part *parts;
	struct followed *followed; /* [0] is meta */
	size_t count;
	struct sl_buf value;
	unsigned applied;
	pthread_mutex_t lock; /* position, error, stop */
	pthread_cond_t moved;
	struct sl_error error; /* what keeps the follower from reading now */
	bool stop, threaded;
	pthread_t thread;
	pthread_mutex_t write_lock;
	struct sl_txn *writer; /* APP.at.meta, opened at the first write */
	struct sl_txn *pinner; /* APP.at.freeze, while pinning: then writes go through it */
};

/* -- reading ---------------------------------------------------------------------------- */

static bool stopping(struct sl_follow *f)
{
	bool stop;

	sl_lock(&f->lock);
	stop = f->stop;
	sl_unlock(&f->lock);
	return stop || (!f->threaded && sl_kafka_stopping(f->k));
}

/* A record of a table. Its value is rewritten as it is inside; a registry that does not answer is waited for.
 * False: stopped before. */
static bool apply_table(struct sl_follow *f, size_t which, const struct sl_record *r)
{
	int topic = f->followed[which].topic;
	const struct sl_values_from from = { .topic = f->k->topology->topics[topic].name,
					     .partition = f->parts[which].partition };
	struct sl_bytes value = r->value;
	struct sl_error e;

	while (value.data && f->k->values) {
		sl_buf_clear(&f->value);
		if (sl_values_inside(f->k->values, &from, r, &f->value, &e)) {
			value = (struct sl_bytes){ sl_buf_text(&f->value), f->value.size };
			break;
		}
		sl_log(SL_LOG_WARN, NULL, "table '%s' waits: %s", from.topic, e.text);
		sl_lock(&f->lock);
		f->error = e;
		sl_cond_broadcast(&f->moved);
		if (!f->stop)
			sl_cond_wait_ms(&f->moved, &f->lock, REGISTRY_MS);
		sl_unlock(&f->lock);
		if (stopping(f))
			return false;
	}
	sl_table_apply(f->k->rt->topics[topic].table, r->key, value, r->headers);
	return true;
}

/* Read for at most wait_ms. False: the tail has failed with SL_STOP; it may be asked again. */
static bool pump(struct sl_follow *f, int wait_ms, struct sl_error *e)
{
	struct sl_record r;
	size_t which = 0;
	enum sl_tail_end end = sl_tail_next(f->tail, wait_ms, &which, &r, e);
	bool record = end == SL_TAIL_RECORD;

	if (end == SL_TAIL_FAILED) {
		sl_lock(&f->lock);
		f->error = *e;
		sl_cond_broadcast(&f->moved);
		sl_unlock(&f->lock);
		return false;
	}
	/* Below the position: the brokers have sent us back to the log's start. It was seen. */
	if (record && r.offset >= f->followed[which].position && r.offset < f->followed[which].limit) {
		if (f->followed[which].topic < 0)
			sl_meta_apply(f->meta, r.key, r.value);
		else if (!apply_table(f, which, &r))
			return true;
	}
	sl_lock(&f->lock);
	f->error.verdict = SL_OK;
	if (record && f->followed[which].position <= r.offset)
		f->followed[which].position = r.offset + 1;
	/* End-of-partition events of the others have come between records, too. */
	for (size_t i = 0; (!record || ++f->applied % AMID == 0) && i < f->count; i++)
		if (f->followed[i].position < sl_tail_position(f->tail, i))
			f->followed[i].position = sl_tail_position(f->tail, i);
	sl_cond_broadcast(&f->moved);
	sl_unlock(&f->lock);
	return true;
}

static void *follow(void *arg)
{
	struct sl_follow *f = arg;
	struct sl_error e;

	while (!stopping(f)) {
		if (pump(f, POLL_MS, &e))
			continue;
		sl_log(SL_LOG_WARN, NULL, "tables are not kept up: %s", e.text);
		sl_lock(&f->lock);
		if (!f->stop)
			sl_cond_wait_ms(&f->moved, &f->lock, REGISTRY_MS);
		sl_unlock(&f->lock);
	}
	return NULL;
}

/* -- waiting for it ------------------------------------------------------------------------ */

/* The first part that is not there yet; count: all are. A part is there at its end or at its limit. Under the lock. */
static size_t behind(const struct sl_follow *f, const int64_t *ends)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->followed[i].position < ends[i] && f->followed[i].position < f->followed[i].limit)
			return i;
	return f->count;
}

/* What is waited for. `before`: where it was when that was last said. */
static void say(const struct sl_follow *f, size_t which, int64_t position, int64_t before, int64_t end)
{
	sl_log(SL_LOG_NOTE, NULL, "reading '%s' partition %d: at offset %" PRId64 " of %" PRId64 "%s",
	       f->parts[which].topic, (int)f->parts[which].partition, position, end,
	       position > before ? "" : ", waiting for the transaction that is open there");
}

/* Until every part is at its end. `patience_ms` 0: for ever. False: stopped, out of patience, or the follower fails. */
static bool wait_until(struct sl_follow *f, const int64_t *ends, int64_t patience_ms, struct sl_error *e)
{
	int64_t began_ns = sl_monotonic_ns(), said_ns = began_ns, said = -1;
	size_t said_of = f->count;

	for (;;) {
		int64_t now_ns = sl_monotonic_ns(), position = 0;
		size_t which;

		sl_lock(&f->lock);
		which = behind(f, ends);
		if (which < f->count) {
			position = f->followed[which].position;
			if (f->threaded && f->error.verdict == SL_OK)
				sl_cond_wait_ms(&f->moved, &f->lock, 100);
		}
		*e = f->error;
		sl_unlock(&f->lock);
		if (which == f->count) {
			e->verdict = SL_OK;
			return true;
		}
		if (e->verdict != SL_OK)
			return false;
		if (!f->threaded && sl_kafka_stopping(f->k))
			return sl_error_set(e, SL_RETRY, "stopped while reading '%s'", f->parts[which].topic);
		if (patience_ms && now_ns - began_ns > patience_ms * 1000000)
			return sl_error_set(e, SL_RETRY,
					    "'%s' partition %d was read to offset %" PRId64 " of %" PRId64
					    " in %" PRId64 " s: brokers are slow, or a transaction stays open there",
					    f->parts[which].topic, (int)f->parts[which].partition, position,
					    ends[which], patience_ms / 1000);
		if (which != said_of) {
			said_of = which;
			said = position;
		}
		if (now_ns - said_ns > SAY_MS * (int64_t)1000000) {
			say(f, which, position, said, ends[which]);
			said_ns = now_ns;
			said = position;
		}
		if (!f->threaded && !pump(f, 100, e))
			return false;
	}
}

/* The raw ends of all that is followed; of meta alone unless `tables`. */
static bool ends_now(struct sl_follow *f, bool tables, int64_t *ends, struct sl_error *e)
{
	for (size_t i = 0; i < f->count; i++) {
		int64_t start;

		ends[i] = 0;
		if ((i == 0 || tables) &&
		    !sl_kafka_ends(f->k, f->parts[i].topic, f->parts[i].partition, false, &start, &ends[i], e))
			return false;
	}
	return true;
}

bool sl_follow_sync(struct sl_follow *f, bool tables, struct sl_error *e)
{
	int64_t *ends = sl_calloc(f->count, sizeof *ends);
	bool done = ends_now(f, tables, ends, e) && wait_until(f, ends, SYNC_MS, e);

	free(ends);
	return done;
}

/* -- writing to meta -------------------------------------------------------------------------- */

/* One try. *last: the largest offset written. */
static enum sl_txn_end write_once(struct sl_follow *f, struct sl_txn *txn, struct sl_writes *const *batches,
				  size_t count, int64_t *last, struct sl_error *e)
{
	struct sl_record r = { .time_ms = sl_wall_ms() };

	*last = -1;
	sl_txn_begin(txn);
	for (size_t i = 0; i < count; i++)
		for (size_t at = 0; sl_writes_next(batches[i], &at, &r.key, &r.value);)
			sl_txn_produce(txn, f->meta_topic, 0, &r, last);
	return sl_txn_commit(txn, NULL, e);
}

static bool write_pins(struct sl_follow *f, struct sl_writes *const *batches, size_t count, int64_t *last,
		       struct sl_error *e)
{
	switch (write_once(f, f->pinner, batches, count, last, e)) {
	case SL_TXN_DONE:
		return true;
	case SL_TXN_FAILED:
		return false;
	default:
		return sl_error_set(e, SL_RETRY, "another process is pinning the tables");
	}
}

static bool write_guarded(struct sl_follow *f, struct sl_writes *const *batches, size_t count, int64_t *last,
			  struct sl_error *e)
{
	int64_t until_ns = sl_monotonic_ns() + SYNC_MS * (int64_t)1000000;
	char id[SL_ID_MAX];

	sl_kafka_name(f->k, id, "at.meta");
	while (sl_monotonic_ns() < until_ns) {
		if (!f->writer)
			f->writer = sl_txn_open(f->k, id, e);
		if (!f->writer)
			return false;
		switch (write_once(f, f->writer, batches, count, last, e)) {
		case SL_TXN_DONE:
			return true;
		case SL_TXN_FAILED:
			return false;
		case SL_TXN_FENCED:
			sl_txn_close(f->writer);
			f->writer = NULL;
			break;
		case SL_TXN_ABORTED:
		case SL_TXN_UNKNOWN:
			sl_lock(&f->lock);
			sl_cond_wait_ms(&f->moved, &f->lock, 50);
			sl_unlock(&f->lock);
			break;
		}
	}
	return sl_error_set(e, SL_RETRY, "cannot write to '%s' in %d s: others write there all the time", f->meta_topic,
			    SYNC_MS / 1000);
}

static bool write_meta(void *arg, struct sl_writes *const *batches, size_t count, struct sl_error *e)
{
	struct sl_follow *f = arg;
	int64_t *ends = sl_calloc(f->count, sizeof *ends), last = -1;
	size_t writes = 0;
	bool done;

	for (size_t i = 0; i < count; i++)
		writes += batches[i]->count;
	sl_lock(&f->write_lock);
	done = !writes || (f->pinner ? write_pins : write_guarded)(f, batches, count, &last, e);
	sl_unlock(&f->write_lock);
	/* What was written is read back: the writer reads its own writes. */
	ends[0] = last + 1;
	done = done && wait_until(f, ends, SYNC_MS, e);
	free(ends);
	return done;
}

/* -- opening ------------------------------------------------------------------------------------ */

static void add_part(struct sl_follow *f, const char *name, int topic, int32_t partition, int64_t position)
{
	f->parts = sl_realloc(f->parts, (f->count + 1) * sizeof *f->parts);
	f->followed = sl_realloc(f->followed, (f->count + 1) * sizeof *f->followed);
	f->parts[f->count] = (struct sl_tail_part){ name, partition, position };
	f->followed[f->count++] = (struct followed){ topic, INT64_MAX, position };
}

static void add_tables(struct sl_follow *f)
{
	const struct sl_topology *topology = f->k->topology;

	for (size_t i = 0; i < topology->topic_count; i++)
		for (int32_t p = 0; f->k->rt->topics[i].table && p < topology->topics[i].partitions; p++)
			add_part(f, f->k->names[i], (int)i, p, 0);
}

/* A tail over what is to be followed now, and all of it read up to the ends of this moment. */
static bool catch_up(struct sl_follow *f, struct sl_error *e)
{
	int64_t *ends = sl_calloc(f->count, sizeof *ends);
	bool done;

	for (size_t i = 0; i < f->count; i++)
		f->parts[i].position = f->followed[i].position;
	sl_tail_close(f->tail);
	f->tail = sl_tail_open(f->k, f->parts, f->count, e);
	done = f->tail && ends_now(f, true, ends, e) && wait_until(f, ends, 0, e);
	free(ends);
	return done;
}

static bool pins_there(struct sl_follow *f)
{
	struct sl_store *meta = sl_meta_store(f->meta);
	struct sl_store_scan *scan = meta->ops->scan(meta, (struct sl_bytes){ "f", 1 });
	struct sl_bytes key, value;
	struct sl_error none = { 0 };
	bool any = meta->ops->next(scan, &key, &value, &none);

	meta->ops->end(scan);
	return any;
}

/* The committed ends of the tables, for the pins. */
static bool refresh_tables(struct sl_kafka *k, struct sl_error *e)
{
	for (size_t i = 0; i < k->topology->topic_count; i++) {
		for (int32_t p = 0; k->rt->topics[i].table && p < k->topology->topics[i].partitions; p++) {
			int64_t start, end;

			if (!sl_kafka_ends(k, k->names[i], p, true, &start, &end, e))
				return false;
			atomic_store(&k->rt->topics[i].starts[p], start);
			atomic_store(&k->rt->topics[i].ends[p], end);
		}
	}
	return true;
}

/* One try to be who pins. SL_RETRY: somebody else is. */
static bool pin_once(struct sl_follow *f, struct sl_error *e)
{
	char id[SL_ID_MAX];
	bool done;

	sl_kafka_name(f->k, id, "at.freeze");
	f->pinner = sl_txn_open(f->k, id, e);
	if (!f->pinner)
		return false;
	/* Only now look again: what is there cannot change without fencing us. */
	done = sl_follow_sync(f, false, e) && refresh_tables(f->k, e) && sl_freeze_pin(f->k->rt, e);
	sl_txn_close(f->pinner);
	f->pinner = NULL;
	return done;
}

/* Meta is read. Pin the tables unless they are, then read them to their pins. */
static bool open_frozen(struct sl_follow *f, struct sl_error *e)
{
	uint64_t seed = (uint64_t)sl_monotonic_ns() ^ (uint64_t)(uintptr_t)f;
	size_t tables = f->count;
	bool done;

	while (!pins_there(f) && !pin_once(f, e)) {
		if (e->verdict != SL_RETRY || sl_kafka_stopping(f->k))
			return false;
		/* Let the other finish: two that fence each other at once would do so for ever. */
		seed = sl_mix64(seed + 1);
		if (!pump(f, (int)(20 + seed % 200), e) || !sl_follow_sync(f, false, e))
			return false;
	}
	/* The first pin may have been read while the others of its transaction were still to come. */
	if (!sl_follow_sync(f, false, e))
		return false;
	add_tables(f);
	for (size_t i = tables; i < f->count; i++)
		if (!sl_freeze_end(f->k->rt, f->followed[i].topic, f->parts[i].partition, &f->followed[i].limit, e))
			return false;
	done = catch_up(f, e);
	f->count = tables; /* they stay as they are */
	return done && catch_up(f, e);
}

struct sl_follow *sl_follow_open(struct sl_kafka *k, struct sl_error *e)
{
	struct sl_follow *f = sl_calloc(1, sizeof *f);
	bool frozen = k->rt->options.freeze;

	f->k = k;
	sl_mutex_init(&f->lock);
	sl_mutex_init(&f->write_lock);
	sl_cond_init(&f->moved);
	f->meta = sl_meta_new(write_meta, f);
	sl_kafka_name(k, f->meta_topic, "meta");
	k->rt->meta = sl_meta_store(f->meta);
	add_part(f, f->meta_topic, -1, 0, 0);
	if (!frozen)
		add_tables(f);
	if (!catch_up(f, e) || (frozen && !open_frozen(f, e))) {
		sl_follow_close(f);
		return NULL;
	}
	f->threaded = true;
	sl_thread_start(&f->thread, "follow", follow, f);
	return f;
}

void sl_follow_close(struct sl_follow *f)
{
	if (!f)
		return;
	sl_lock(&f->lock);
	f->stop = true;
	sl_cond_broadcast(&f->moved);
	sl_unlock(&f->lock);
	if (f->threaded) {
		sl_tail_wake(f->tail);
		sl_thread_join(f->thread);
	}
	sl_txn_close(f->writer);
	sl_tail_close(f->tail);
	f->k->rt->meta = NULL;
	sl_meta_free(f->meta);
	free(f->parts);
	free(f->followed);
	sl_buf_release(&f->value);
	sl_cond_destroy(&f->moved);
	sl_mutex_destroy(&f->write_lock);
	sl_mutex_destroy(&f->lock);
	free(f);
}
