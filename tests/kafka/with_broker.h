/* with_broker.h -- what the tests against a real broker share.
 *
 * They skip without the environment variable KAFKA_BOOTSTRAP (tests/kafka/broker.sh writes it to DIR/env). Many
 * tests share one broker, so every topology gets a stream.prefix of its own, and nothing is removed afterwards.
 * What is read and written here goes through librdkafka alone, not through the code under test. A failure
 * here fails the test. One thread, but for kafka_seen. */
#ifndef SL_WITH_BROKER_H
#define SL_WITH_BROKER_H

#include "topology/kafka/kafka.h"

/* Three steps, topics of 2 partitions, a table. */
#define KAFKA_SMALL                                                                                                    \
	"topology: small\npartitions: 2\nlimits: { entry: 64KiB, record: 128KiB }\nsteps:\n"                           \
	"  - { name: dedupe, from: pairs.raw, to: { unique: pairs.unique, duplicate: other, conflict: other, "         \
	"contaminated: other } }\n"                                                                                    \
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, dim: 16 }\n"       \
	"  - { name: retrieve, from: pairs.embedded, to: { retrieved: pairs.retrieved }, rule: paper,\n"               \
	"      tables: { gold: pairs.gold, models: pairs.gold } }\n"

/* Where the brokers are; skips the test where there are none. */
const char *kafka_bootstrap(void);
/* The topology on these brokers, whatever its stream.kind says, with a prefix of its own unless it has one. Free with
 * sl_topology_free. */
struct sl_topology *kafka_topology(const char *yaml);
/* Another word every time, for topics, groups and ids: "t1a2b3c4d5e6f7-1". Lives as long as the process. */
const char *kafka_unique(void);

/* The part of struct sl_kafka that works without a runtime: client.c, admin.c, tail.c, transaction.c. */
struct kafka_test {
	struct sl_topology *topology;
	struct sl_kafka k;
};
void kafka_test_open(struct kafka_test *t, const char *yaml);
void kafka_test_close(struct kafka_test *t);

/* settings: "cleanup.policy", "compact", ..., NULL; NULL: none. Returns when its leaders are there. */
void kafka_create(const char *topic, int32_t partitions, const char *const *settings);

/* A producer; with a transactional id it is initialised (and fences whoever had it). Close with rd_kafka_destroy. */
rd_kafka_t *kafka_producer(const char *transactional_id);
/* Send and wait for the acknowledgement; the offset. value.data NULL: a tombstone. */
int64_t kafka_produce(rd_kafka_t *producer, const char *topic, int32_t partition, const struct sl_record *r);
/* The same with text, headers and time left out. */
int64_t kafka_produce_text(rd_kafka_t *producer, const char *topic, int32_t partition, const char *key,
			   const char *value);
/* Commit or abort, or fail the test. */
void kafka_end(rd_kafka_t *producer, bool commit);

/* All of a partition from its start up to its end (committed: the last stable offset). Texts live until release. */
struct kafka_seen {
	struct sl_record *records;
	size_t count;
	struct sl_arena arena;
};
void kafka_read(const char *topic, int32_t partition, bool committed, struct kafka_seen *seen);
/* The same of all partitions, into an array. */
void kafka_read_all(const char *topic, int32_t partitions, bool committed, struct kafka_seen *seen);
void kafka_seen_release(struct kafka_seen *seen);

/* Until condition(arg) or for so long; false: it never became true. */
bool kafka_within(int seconds, bool (*condition)(void *arg), void *arg);

#endif
