/* transaction.h -- a transaction from the inside: private to transaction.c and producer.c.
 *
 *     transaction.c   filling it, and what its end was
 *     producer.c      the librdkafka instance under it: made, initialised, replaced
 *
 * All in the thread that uses the transaction. */
#ifndef SL_KAFKA_TRANSACTION_H
#define SL_KAFKA_TRANSACTION_H

#include "kafka.h"

/* Brokers abort what is open for longer (transaction.timeout.ms). Messages must have failed before, so that the
 * reason is known (message.timeout.ms); socket.timeout.ms has to be lower as well. */
#define TRANSACTION_MS 15000
#define MESSAGE_MS 10000
#define END_MS 20000 /* for the answer to a commit or an abort: later, the transaction has timed out */
#define ACK_MS 5000  /* for the first acknowledgement before an abort */
#define SLICE_MS 500 /* a stop is noticed */
#define NS_PER_MS 1000000

/* What a message carries through librdkafka: who is told that it arrived, and where. */
struct sl_txn_report {
	struct sl_txn *txn;
	int64_t *last; /* NULL: nobody wants to know where */
};

/* The first message that was not taken. */
struct sl_txn_failure {
	rd_kafka_resp_err_t code;
	char topic[SL_ID_MAX];
	int32_t partition;
	size_t size_bytes;
};

struct sl_txn {
	struct sl_kafka *k;
	char id[SL_ID_MAX];
	rd_kafka_t *rk;            /* NULL: the last one is gone, and no new one could be initialised yet */
	rd_kafka_topic_t **topics; /* of rk, met so far */
	size_t topic_count, topic_capacity;
	enum sl_txn_end told; /* without rk: what a new one lets us say about the last transaction */
	bool open, fenced, watched;
	int64_t began_ns;
	/* of the transaction */
	rd_kafka_topic_partition_list_t *offsets;
	struct sl_txn_report **reports; /* the first has no `last` */
	size_t report_count, report_capacity;
	size_t produced, arrived, unplaced;
	bool closed; /* librdkafka takes no more messages: it will say why */
	struct sl_txn_failure failure;
};

/* -- producer.c ---------------------------------------------------------------------------- */

/* Somebody else has the id, or the brokers have ended the transaction: librdkafka does not tell which. */
bool sl_txn_is_fenced(rd_kafka_resp_err_t code);
/* Errors that say that the transaction has to be played again, and nothing about the brokers or the set-up: the
 * partitions have moved on, or the brokers have forgotten the producer. */
bool sl_txn_is_passing(rd_kafka_resp_err_t code);
/* Let go of the instance and all that is still in it. */
void sl_txn_drop(struct sl_txn *t);
/* A new instance in place of one that cannot go on; then `told` is true of its last transaction. e holds why, and does
 * so again. FAILED: stopped, or refused, before one could be had; sl_txn_replace again. */
enum sl_txn_end sl_txn_replace(struct sl_txn *t, enum sl_txn_end told, struct sl_error *e);
/* The instance's handle of a topic; NULL: rd_kafka_last_error. */
rd_kafka_topic_t *sl_txn_topic(struct sl_txn *t, const char *name);

#endif
