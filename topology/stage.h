/* stage.h -- what a task has written in its open transaction, over the store.
 *
 * A hash table of full store keys to their latest value (or a delete). Reads see it
 * first; scans merge it, sorted, into the store's scan; a commit takes it as writes in
 * the order of the keys' first touch. Dropped as a whole when a transaction fails.
 * One owner, no locks. */
#ifndef SL_STAGE_H
#define SL_STAGE_H

#include "base/arena.h"
#include "store.h"

struct sl_stage_entry {
	struct sl_bytes key;
	struct sl_bytes value; /* data NULL: deleted */
};

struct sl_stage {
	struct sl_stage_entry *entries; /* in order of first touch */
	size_t count, capacity;
	uint32_t *slots; /* entry index + 1; power of two */
	size_t slot_count;
	struct sl_arena memory;
};

void sl_stage_put(struct sl_stage *s, struct sl_bytes key, struct sl_bytes value);
void sl_stage_del(struct sl_stage *s, struct sl_bytes key);
/* NULL: not touched, ask the store. */
const struct sl_stage_entry *sl_stage_find(const struct sl_stage *s, struct sl_bytes key);
void sl_stage_writes(const struct sl_stage *s, struct sl_writes *to);
void sl_stage_clear(struct sl_stage *s);
void sl_stage_release(struct sl_stage *s);

/* The merged view of stage and store over a prefix, as both are now. */
struct sl_stage_scan {
	struct sl_stage_entry *staged; /* sorted */
	size_t count, at;
	struct sl_store_scan *base;
	struct sl_bytes key, value; /* of the store, looked ahead */
	bool have;
};
void sl_stage_scan_begin(struct sl_stage_scan *scan, const struct sl_stage *s, struct sl_store *store,
			 struct sl_bytes prefix);
/* False at the end or on error (then e->verdict != SL_OK). Bytes live until the next call. */
bool sl_stage_scan_next(struct sl_stage_scan *scan, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e);
void sl_stage_scan_end(struct sl_stage_scan *scan);

#endif
