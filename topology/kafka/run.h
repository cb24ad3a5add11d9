/* run.h -- how far all groups are: private to run.c and idle.c. */
#ifndef SL_KAFKA_RUN_H
#define SL_KAFKA_RUN_H

#include "kafka.h"

/* Of every partition that a wanted step reads, in dependency order: what its group has committed, and the high
 * watermark. */
struct sl_look {
	int64_t *offsets, *ends;
	size_t count, lagging; /* lagging: partitions that are not read to their end */
	bool same;             /* as the look before */
};
bool sl_kafka_look(struct sl_kafka *k, struct sl_look *l, struct sl_error *e) SL_MUST_CHECK;
/* True: no topic has an open transaction. */
bool sl_kafka_settled(struct sl_kafka *k, bool *settled, struct sl_error *e) SL_MUST_CHECK;
void sl_look_release(struct sl_look *l);

/* Let go of what every group that reads it has read, of topics that are kept until read. */
bool sl_kafka_purge_read(struct sl_kafka *k, struct sl_error *e) SL_MUST_CHECK;

#endif
