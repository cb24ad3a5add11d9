/* tables.h -- a compacted topic in memory: key to latest value, readable at any
 * version.
 *
 * Records are applied in log order and never changed, so a reader that pinned version
 * v sees exactly the first v records applied, however far others have read on:
 * entries form a list, every entry points at the older one with its key. The version is
 * the number of records applied (over all partitions) by this process.
 *
 * On Kafka that number differs between processes, because compaction takes records out: what goes into
 * a record's trail is the version's *stamp*, the writers' own count. A record of a table carries the header
 * "sluice.sequence" = "<writer>:<n>", n counting the writer's records of this topic from 1. The stamp is the sum
 * over writers of the largest n seen, plus the number of records without such a header; where nobody
 * writes the header, it is the version.
 *
 * Threads: one applies (under the lock), any number read. */
#ifndef SL_TABLES_H
#define SL_TABLES_H

#include "base/bytes.h"
#include "base/error.h"
#include "log.h"

#include <pthread.h>

struct sl_table_entry {
	struct sl_bytes key, value;   /* value.data NULL: deleted */
	int64_t version;              /* from 1 */
	int64_t stamp;                /* of the table at this version */
	struct sl_table_entry *older; /* the same key before */
	int64_t superseded;           /* version of the next entry with this key; 0: none */
};

struct sl_table_writer {
	char *name;
	int64_t last; /* its largest sequence number */
};

struct sl_table {
	pthread_rwlock_t lock;
	struct sl_table_entry **entries; /* by version - 1 */
	size_t count, capacity;
	uint32_t *slots; /* of the latest entry per key: version, power of two */
	size_t slot_count, keys;
	struct sl_table_writer *writers; /* by name */
	size_t writer_count, writer_capacity;
};

#define SL_TABLE_SEQUENCE "sluice.sequence"

struct sl_table *sl_table_new(void);
void sl_table_free(struct sl_table *t);
/* `headers` as in struct sl_record; a sequence that is none ("<writer>:<n>", n from 1, at most 15 digits) is as good as
 * absent. */
void sl_table_apply(struct sl_table *t, struct sl_bytes key, struct sl_bytes value, struct sl_bytes headers);
int64_t sl_table_now(struct sl_table *t);
int64_t sl_table_stamp(struct sl_table *t, int64_t version);
/* The value of a key as of a version; entries live as long as the table. */
const struct sl_table_entry *sl_table_at(struct sl_table *t, struct sl_bytes key, int64_t version);
/* The next entry after `after`, up to `version`, that is not superseded within it; NULL: none. */
const struct sl_table_entry *sl_table_after(struct sl_table *t, int64_t after, int64_t version);

#endif
