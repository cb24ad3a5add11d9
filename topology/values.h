/* values.h -- record values as they are on Kafka, to pairs and back.
 *
 * Inside, every value is Avro single-object encoding (codec.h). On the wire it may be
 *
 *     C3 01 fingerprint body      single-object: ours, or of a released schema; what is written without a registry
 *     00 id(4, big-endian) body   Confluent's framing; what is written with a registry
 *     {...}                       one JSON pair, any shape of schemas/README.md; on the entry topic only
 *
 * A pair on the entry topic gets what ingest would have given it (schemas/fresh.h): ids from its texts
 * whatever the producer claims, and, unless it has an id and an arrival as our own ingest writes them,
 * arrival (topic, partition, offset), time from the envelope, source from the value or "kafka". A record that
 * was played before (it has a trail) stays as it is: that is a replay.
 *
 * Threads: any. */
#ifndef SL_VALUES_H
#define SL_VALUES_H

#include "log.h"
#include "registry.h"

struct sl_values;

/* `registry`: borrowed, NULL none. */
struct sl_values *sl_values_new(struct sl_registry *registry);
void sl_values_free(struct sl_values *v);

/* Where a record came from; `entry`: it is the topic that producers write to. */
struct sl_values_from {
	const char *topic;
	int32_t partition;
	bool entry;
};
/* The error's verdict: SL_STOP: never readable, a dead letter; SL_RETRY: the registry cannot be reached now. Texts
 * point into the record or the arena. */
bool sl_values_pair(struct sl_values *v, const struct sl_values_from *from, const struct sl_record *r,
		    struct sl_arena *a, struct sl_pair *p, struct sl_error *e) SL_MUST_CHECK;

/* Any readable value as single-object encoding with our own schema, appended to *to (a value that already is one is
 * copied). What cannot be read is copied as it is: readers say what is wrong with it. False: SL_RETRY only. */
bool sl_values_inside(struct sl_values *v, const struct sl_values_from *from, const struct sl_record *r,
		      struct sl_buf *to, struct sl_error *e) SL_MUST_CHECK;
/* Register now what topic `topic` (as on the brokers) will hold, pairs or model announcements, so that no transaction
 * has to wait for it. Nothing to do without a registry. SL_STOP: a person must look (rights, compatibility, address).
 */
bool sl_values_prepare(struct sl_values *v, const char *topic, bool models, struct sl_error *e) SL_MUST_CHECK;
/* A single-object value of ours as it goes onto topic `topic`: registers the schema under "<topic>-value" at first use.
 * Values that are not ours (the original bytes of a dead letter) are copied as they are. */
bool sl_values_outside(struct sl_values *v, const char *topic, struct sl_bytes value, struct sl_buf *to,
		       struct sl_error *e) SL_MUST_CHECK;

#endif
