/* guard.c -- what commands and trainings write: transactions of their own, under guards.
 *
 * A guard is a transactional producer with the id APP.at.<what>. Brokers let one producer at a time have an
 * id: who opens it fences the one before. So a mark that is read and then written under its guard is written by
 * nobody else in between, on any machine: either the guard still stands at the commit, or the commit fails
 * and everything is read anew.
 *
 *     APP.at.ingest.<hash>     the mark of one file, and the records that are ingested from it
 *     APP.at.models            announcements of models
 *     APP.at.command.<uuid>    whatever else a command of this data folder appends: nothing to exclude, but
 *                              a transaction needs an id
 *
 * Every commit also counts, in APP.meta, what it appended (key 'n', writer "@<what>"; output.c). That makes
 * its outcome readable: when the brokers did not say how a commit ended, the count in meta does.
 *
 * Opening takes a few requests and a producer has threads, so guards stay open, the few used last. One that is
 * closed between guard and commit is lost: the commit says SL_RETRY, as after a fence.
 *
 * Threads: any; the list under k->lock, a guard under its own. */
#include "kafka.h"

#include "../base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define OPEN_MAX 6
#define TRIES 5 /* of a transaction that the brokers aborted */

enum held { FREE, HELD, LOST };

struct sl_guard {
	struct sl_guard *next;
	char what[100];
	int64_t used_ns; /* under k->lock */
	pthread_mutex_t lock;
	struct sl_txn *txn; /* NULL: closed */
	enum held held;     /* somebody has read what it will write */
	bool behind;        /* rt->meta (and, but for ingest, the tables) may miss what was committed here */
};

/* What a key of meta, or a name, is written under. */
static void what_of(struct sl_bytes name, char what[100])
{
	char hex[SL_ID_HEX_SIZE];

	if (name.size && *(const char *)name.data == 'i' && memchr(name.data, 0, name.size))
		snprintf(what, 100, "ingest.%s", sl_id_hex(sl_hash128(name.data, name.size), hex));
	else
		snprintf(what, 100, "%.*s", (int)name.size, (const char *)name.data);
}

static struct sl_guard *find(struct sl_kafka *k, const char *what)
{
	struct sl_guard *g;

	sl_lock(&k->lock);
	for (g = k->guards; g && strcmp(g->what, what) != 0;)
		g = g->next;
	if (!g) {
		g = sl_calloc(1, sizeof *g);
		snprintf(g->what, sizeof g->what, "%s", what);
		sl_mutex_init(&g->lock);
		g->next = k->guards;
		k->guards = g;
	}
	g->used_ns = sl_monotonic_ns();
	sl_unlock(&k->lock);
	return g;
}

static void shut(struct sl_guard *g)
{
	if (g->txn)
		sl_txn_close(g->txn);
	g->txn = NULL;
	if (g->held == HELD)
		g->held = LOST;
}

/* Close the one that was used longest ago, where there are many. One whose lock is taken is not idle. */
static void make_room(struct sl_kafka *k, const struct sl_guard *but)
{
	struct sl_guard *oldest = NULL; /* its lock is ours */
	size_t open = 0;

	sl_lock(&k->lock);
	for (struct sl_guard *g = k->guards; g; g = g->next) {
		if (g == but || pthread_mutex_trylock(&g->lock) != 0)
			continue;
		open += g->txn != NULL;
		if (g->txn && (!oldest || g->used_ns < oldest->used_ns)) {
			if (oldest)
				sl_unlock(&oldest->lock);
			oldest = g;
		} else {
			sl_unlock(&g->lock);
		}
	}
	sl_unlock(&k->lock);
	if (!oldest)
		return;
	if (open >= OPEN_MAX)
		shut(oldest);
	sl_unlock(&oldest->lock);
}

/* Open, and everything that was ever committed under it is in rt->meta and the tables. Under g->lock. */
static bool stand(struct sl_kafka *k, struct sl_guard *g, struct sl_error *e)
{
	char id[SL_ID_MAX];

	if (!g->txn) {
		make_room(k, g);
		sl_kafka_name(k, id, "at.%s", g->what);
		g->txn = sl_txn_open(k, id, e);
		if (!g->txn)
			return false;
		g->behind = true;
	}
	if (g->behind && !sl_follow_sync(k->follow, strncmp(g->what, "ingest.", 7) != 0, e))
		return false;
	g->behind = false;
	return true;
}

bool sl_kafka_guard(struct sl_runtime *rt, struct sl_bytes name, struct sl_error *e)
{
	struct sl_guard *g;
	char what[100];
	bool done;

	what_of(name, what);
	g = find(rt->kafka, what);
	sl_lock(&g->lock);
	done = stand(rt->kafka, g, e);
	if (done)
		g->held = HELD;
	sl_unlock(&g->lock);
	return done;
}

/* -- a commit -------------------------------------------------------------------------------- */

static void which(struct sl_kafka *k, const struct sl_append *appends, size_t append_count,
		  const struct sl_writes *extra, char what[100])
{
	struct sl_bytes key, value;
	size_t at = 0;

	for (size_t i = 0; i < append_count; i++) {
		if (appends[i].topic == k->topology->models) {
			what_of(sl_text("models"), what);
			return;
		}
	}
	if (extra && sl_writes_next(extra, &at, &key, &value))
		what_of(key, what);
	else
		snprintf(what, 100, "command.%s", k->uuid);
}

/* All that the transaction writes to meta: what the caller wants, and how many records were ever appended here. */
static bool prepare(struct sl_kafka *k, const struct sl_guard *g, const struct sl_append *appends, size_t append_count,
		    const struct sl_writes *extra, int64_t *sent, struct sl_writes *w, struct sl_error *e)
{
	struct sl_buf key = { 0 };
	char writer[101];
	bool done = true;
	struct sl_bytes at_key, at_value;

	snprintf(writer, sizeof writer, "@%s", g->what);
	for (size_t i = 0; done && i < append_count; i++) {
		uint8_t value[8];

		if (appends[i].count == 0)
			continue;
		for (size_t other = 0; other < i; other++)
			assert(appends[other].topic != appends[i].topic || appends[other].count == 0);
		sl_kafka_sent_key(&key, writer, 0, k->topology->topics[appends[i].topic].name);
		done = sl_kafka_count(k->rt->meta, sl_buf_bytes(&key), &sent[i], e);
		sl_put_le64(value, (uint64_t)(sent[i] + (int64_t)appends[i].count));
		sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ value, sizeof value });
	}
	for (size_t at = 0; done && extra && sl_writes_next(extra, &at, &at_key, &at_value);) {
		if (at_value.data)
			sl_writes_put(w, at_key, at_value);
		else
			sl_writes_del(w, at_key);
	}
	sl_buf_release(&key);
	return done;
}

static bool produce(struct sl_kafka *k, struct sl_guard *g, const struct sl_append *appends, size_t append_count,
		    const int64_t *sent, const struct sl_writes *w, struct sl_error *e)
{
	struct sl_record m = { .time_ms = sl_wall_ms() };
	struct sl_buf scratch[2] = { 0 };
	char meta[SL_ID_MAX], sequence[160];
	bool done = true;

	for (size_t i = 0; i < append_count; i++) {
		const struct sl_topic *topic = &k->topology->topics[appends[i].topic];
		bool table = k->rt->topics[appends[i].topic].table != NULL;

		for (size_t n = 0; done && n < appends[i].count; n++) {
			const struct sl_record *r = &appends[i].records[n];

			snprintf(sequence, sizeof sequence, "@%s.0:%lld", g->what,
				 (long long)(sent[i] + 1 + (int64_t)n));
			done = sl_kafka_output(k, g->txn, appends[i].topic, sl_partition_of(r->key, topic->partitions),
					       r, table ? sequence : NULL, scratch, e);
		}
	}
	sl_kafka_name(k, meta, "meta");
	for (size_t at = 0; done && sl_writes_next(w, &at, &m.key, &m.value);)
		sl_txn_produce(g->txn, meta, 0, &m, NULL);
	sl_buf_release(&scratch[0]);
	sl_buf_release(&scratch[1]);
	return done;
}

/* True: meta says what the transaction wrote there. */
static bool is_written(struct sl_kafka *k, const struct sl_writes *w, bool *written, struct sl_error *e)
{
	struct sl_buf found_value = { 0 };
	struct sl_bytes key, value;
	bool done = true;

	*written = true;
	for (size_t at = 0; done && *written && sl_writes_next(w, &at, &key, &value);) {
		bool found;

		done = k->rt->meta->ops->get(k->rt->meta, key, &found_value, &found, e);
		*written = done && (found ? sl_bytes_equal(sl_buf_bytes(&found_value), value) : !value.data);
	}
	sl_buf_release(&found_value);
	return done;
}

/* How the transaction ended, once that is certain. */
static bool conclude(struct sl_kafka *k, struct sl_guard *g, const struct sl_writes *w, enum sl_txn_end end,
		     struct sl_error *e)
{
	bool written;

	switch (end) {
	case SL_TXN_DONE:
		g->behind = true;
		return true;
	case SL_TXN_ABORTED:
		return sl_error_set(e, SL_RETRY,
				    "the brokers aborted the transaction '%s' %d times, nothing was written: try again",
				    g->what, TRIES);
	case SL_TXN_FENCED:
		shut(g);
		g->held = FREE;
		return sl_error_set(e, SL_RETRY,
				    "another process has taken '%s' over, nothing was written: look what it wrote, "
				    "then try again",
				    g->what);
	case SL_TXN_UNKNOWN:
		g->behind = true;
		if (!stand(k, g, e) || !is_written(k, w, &written, e)) {
			e->verdict = SL_RETRY;
			return sl_error_in(e, "it is unknown whether transaction '%s' was written", g->what);
		}
		return written ||
		       sl_error_set(e, SL_RETRY, "transaction '%s' was not written: the brokers lost it; try again",
				    g->what);
	case SL_TXN_FAILED:
		break;
	}
	return false;
}

/* Commit. Tests lose the transaction or the answer here. */
static enum sl_txn_end end_of(struct sl_kafka *k, struct sl_guard *g, struct sl_error *e)
{
	enum sl_txn_end end;

	if (sl_fault(k->rt, "commit.lost", e))
		return sl_txn_abort(g->txn, e) == SL_TXN_ABORTED ? SL_TXN_UNKNOWN : SL_TXN_FAILED;
	end = sl_txn_commit(g->txn, NULL, e);
	return end == SL_TXN_DONE && sl_fault(k->rt, "commit.answer", e) ? SL_TXN_UNKNOWN : end;
}

/* Under g->lock. */
static bool commit(struct sl_kafka *k, struct sl_guard *g, const struct sl_append *appends, size_t append_count,
		   const struct sl_writes *extra, struct sl_error *e)
{
	int64_t *sent = sl_calloc(append_count + 1, sizeof *sent);
	struct sl_writes w = { 0 };
	enum held held = g->held;
	bool done;

	g->held = FREE;
	if (held == LOST)
		done = sl_error_set(e, SL_RETRY, "'%s' was let go meanwhile: read it again", g->what);
	else
		done = stand(k, g, e) && prepare(k, g, appends, append_count, extra, sent, &w, e);
	if (done) {
		enum sl_txn_end end = SL_TXN_ABORTED;

		for (int i = 0; done && i < TRIES && end == SL_TXN_ABORTED; i++) {
			sl_txn_begin(g->txn);
			done = produce(k, g, appends, append_count, sent, &w, e);
			if (done) {
				end = end_of(k, g, e);
			} else {
				struct sl_error ignored = { 0 };

				if (sl_txn_abort(g->txn, &ignored) != SL_TXN_ABORTED)
					shut(g);
			}
		}
		done = done && conclude(k, g, &w, end, e);
	}
	sl_writes_release(&w);
	free(sent);
	return done;
}

bool sl_kafka_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count,
		     const struct sl_append *appends, size_t append_count, struct sl_writes *extra, struct sl_error *e)
{
	struct sl_kafka *k = rt->kafka;
	int64_t began = sl_monotonic_ns(), cpu_ns = sl_thread_cpu_ns();
	size_t records = 0;
	struct sl_guard *g;
	char what[100];
	struct sl_error late = { 0 };
	bool done;

	(void)units;
	assert(unit_count == 0); /* members commit their units themselves */
	for (size_t i = 0; i < append_count; i++)
		records += appends[i].count;
	if (records == 0 && (!extra || extra->count == 0))
		return true;
	which(k, appends, append_count, extra, what);
	g = find(k, what);
	sl_lock(&g->lock);
	done = commit(k, g, appends, append_count, extra, e);
	/* The writer reads its own writes. It is committed in any case: what is missed now, the next guard waits for.
	 */
	if (done && g->behind && !stand(k, g, &late))
		sl_log(SL_LOG_WARN, NULL, "written, but not read back yet: %s", late.text);
	sl_unlock(&g->lock);
	if (done) {
		atomic_fetch_add(&rt->commits, 1);
		atomic_fetch_add(&rt->commit_ns, sl_monotonic_ns() - began);
		atomic_fetch_add(&rt->commit_cpu_ns, sl_thread_cpu_ns() - cpu_ns);
	}
	return done;
}

void sl_kafka_guards_close(struct sl_kafka *k)
{
	while (k->guards) {
		struct sl_guard *g = k->guards;

		k->guards = g->next;
		shut(g);
		sl_mutex_destroy(&g->lock);
		free(g);
	}
}
