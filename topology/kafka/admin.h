/* admin.h -- asking the brokers as an administrator: private to admin.c and topics.c.
 *
 * A request goes out with a queue of its own and the answer is waited for in slices, so that a stop of the process
 * is seen. Any thread: k->admin is shared, queues are not. */
#ifndef SL_KAFKA_ADMIN_H
#define SL_KAFKA_ADMIN_H

#include "kafka.h"

struct sl_ask {
	struct sl_kafka *k;
	rd_kafka_queue_t *queue;
	rd_kafka_AdminOptions_t *options;
	rd_kafka_event_t *event; /* the answer */
};

void sl_ask_begin(struct sl_ask *a, struct sl_kafka *k, rd_kafka_admin_op_t op);
/* Wait for the answer to what was sent with a->options and a->queue. False: "cannot WHAT: ...". What the answer says
 * about single topics, groups and partitions is for the caller to look at. */
bool sl_ask_answer(struct sl_ask *a, struct sl_error *e, const char *what, ...) SL_PRINTF(3, 4) SL_MUST_CHECK;
void sl_ask_end(struct sl_ask *a); /* frees the answer too */

/* The value of a setting in what the brokers say of one topic; NULL: it has none. */
const char *sl_config_value(const rd_kafka_ConfigResource_t *of, const char *name);

#endif
