/* memo.h -- answers that were paid for, in the store of the task that asked.
 *
 * Rows, behind the task's prefix ('m' step 0 partition, store.h):
 *
 *     'a' key              an answer: version u8, stored ms, micro-dollars, prompt, cached, completion and reasoning
 *                          tokens (i64 each), and the body of the reply, byte for byte
 *     't' ms key           the same by age: ms big-endian, so that the oldest comes first; value: bytes of the answer
 *     'h' 's' 'n'          money: ledger.h
 *
 * A row that cannot be read is as good as none, and so is one older than memo.max_age: the question is asked again.
 * Oldest first, answers go when there are more bytes than memo.max_size or when they are too old. */
#ifndef SL_MEMO_H
#define SL_MEMO_H

#include "../operators/operator.h"
#include "base/hash.h"
#include "store.h"

struct sl_memo_answer {
	int64_t stored_ms, micro_dollars;
	struct sl_usage usage;
	struct sl_bytes body;
};

struct sl_memo_bounds {
	int64_t bytes_max, age_max_ms; /* 0: no limit */
};

/* A row's key: prefix, kind, and the hash of the question. */
void sl_memo_key(struct sl_buf *to, struct sl_bytes prefix, char kind, const struct sl_id *key);
/* Puts the answer and its place by age; returns the bytes that it counts for. */
int64_t sl_memo_put(struct sl_writes *w, struct sl_bytes prefix, const struct sl_id *key,
		    const struct sl_memo_answer *a);
/* *found false: not there, or not readable. a->body points into *value. */
bool sl_memo_get(struct sl_store *store, struct sl_bytes prefix, const struct sl_id *key, struct sl_buf *value,
		 struct sl_memo_answer *a, bool *found, struct sl_error *e) SL_MUST_CHECK;
/* Deletes the oldest answers until *bytes and the ages are within bounds, but none that used(arg) says is in use, and
 * not many at once. *oldest_ms: a time before which nothing is, so that who asks again knows whether to look. */
bool sl_memo_evict(struct sl_store *store, struct sl_bytes prefix, const struct sl_memo_bounds *bounds, int64_t now_ms,
		   bool (*used)(void *arg, const struct sl_id *key), void *arg, struct sl_writes *w, int64_t *bytes,
		   int64_t *answers, int64_t *evicted, int64_t *oldest_ms, struct sl_error *e) SL_MUST_CHECK;

#endif
