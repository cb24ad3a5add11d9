/* store.h -- an ordered map of bytes to bytes with atomic batches: what the runtime
 * keeps beside the logs. store_rocksdb.c is the real one (the only file that
 * includes rocksdb/c.h); the simulator has a twin that forgets what was not synced.
 *
 * Keys (all built in keys.h):
 *     'v'                                    version of the data folder
 *     'e' topic 0 partition                  end of a log
 *     'o' step 0 partition                   next input offset and stream time of a task
 *     's' step 0 partition store 0 key       an operator's store
 *     'd' ...                                the same for derived stores
 *     'h' step 0                             hash of the options that shape its stores
 *     'r' step 0                             topic that it reads
 *     'c' step 0 partition port 0 code 0 source [0 domain]    counts
 *     'n' writer 0 partition topic           Kafka: records ever sent to a topic; a writer is a step, or @guard;
 *                                            without topic: records the step has ever read
 *     'm' step 0 partition hash              answer memo
 *     'u' step 0 partition                   Kafka: what the task has spent, for others (bill.h)
 *     'i' source 0 head-hash                 how far a file is ingested
 *     'f' topic 0 partition                  where a frozen run pinned a table
 *     'p' step 0 partition                   Kafka: changelog and memo positions restored to, and when
 *     'k'                                    Kafka: cluster id, application and uuid of this folder
 *
 * Threads: get and scan from any, write from any; a scan sees the state at its start. */
#ifndef SL_STORE_H
#define SL_STORE_H

#include "base/buf.h"

struct sl_store;
struct sl_store_scan;

/* Writes in order: a put or (value.data NULL) a delete. */
struct sl_writes {
	struct sl_buf bytes;
	size_t count;
};
void sl_writes_put(struct sl_writes *w, struct sl_bytes key, struct sl_bytes value);
void sl_writes_del(struct sl_writes *w, struct sl_bytes key);
/* Walk: start with *at = 0; false at the end. */
bool sl_writes_next(const struct sl_writes *w, size_t *at, struct sl_bytes *key, struct sl_bytes *value);
void sl_writes_clear(struct sl_writes *w);
void sl_writes_release(struct sl_writes *w);

struct sl_store_ops {
	/* *found false: absent, `value` cleared. */
	bool (*get)(struct sl_store *, struct sl_bytes key, struct sl_buf *value, bool *found, struct sl_error *);
	struct sl_store_scan *(*scan)(struct sl_store *, struct sl_bytes prefix);
	/* False at the end or on error (then e->verdict != SL_OK). Bytes live until the next call. */
	bool (*next)(struct sl_store_scan *, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *);
	void (*end)(struct sl_store_scan *);
	/* All or nothing; durable: survives power loss when it returns. */
	bool (*write)(struct sl_store *, struct sl_writes *const *batches, size_t count, bool durable,
		      struct sl_error *);
	void (*free)(struct sl_store *);
};

struct sl_store {
	const struct sl_store_ops *ops;
};

struct sl_store_scan {
	const struct sl_store_ops *ops;
};

/* RocksDB in `folder`. NULL on failure. */
struct sl_store *sl_store_rocksdb(const char *folder, struct sl_error *e) SL_MUST_CHECK;

#endif
