/* meta.h -- rt->meta on Kafka: what was read of APP.meta, as a store (../store.h).
 *
 * An ordered map in memory. get and scan never talk to anybody; a write goes to `write`, which makes it
 * true on the brokers (follow.c); what comes back from there is applied. Values are small and keys are few (counts,
 * shapes, ingest marks): a sorted array is enough.
 *
 * Threads: any; one lock inside. */
#ifndef SL_KAFKA_META_H
#define SL_KAFKA_META_H

#include "../store.h"

struct sl_meta;

/* `write` returns when what it wrote has been applied. */
struct sl_meta *
sl_meta_new(bool (*write)(void *arg, struct sl_writes *const *batches, size_t count, struct sl_error *e), void *arg);
void sl_meta_free(struct sl_meta *m);
/* Its ops->free does nothing: it goes with sl_meta_free. */
struct sl_store *sl_meta_store(struct sl_meta *m);
/* value.data NULL: a delete. */
void sl_meta_apply(struct sl_meta *m, struct sl_bytes key, struct sl_bytes value);

#endif
