/* kafka_plain.c -- what topology/kafka/transaction.c and producer.c are to the rest, without transactions: for
 * measuring what these cost, and for nothing else.
 *
 * bench_sluice_plain is sluice with this file in place of those two: the linker finds everything that they define here
 * and leaves them in their archive. Records go out by an idempotent producer of the same settings; a commit waits
 * until all are acknowledged and then commits the offsets, as a careful program without transactions does. A
 * crash between the two doubles records, and nobody is ever fenced. Whatever goes wrong ends the process: the broker of
 * a benchmark works.
 *
 * One thread per producer; callbacks run in it, from poll and flush. */
#include "topology/kafka/kafka.h"

#include "topology/base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS 60000

struct sl_txn {
	struct sl_kafka *k;
	rd_kafka_t *rk;
	rd_kafka_topic_t **topics; /* met so far */
	size_t topic_count;
	rd_kafka_topic_partition_list_t *offsets;
	size_t produced;
	int64_t began_ns;
};

static void need(bool done, const char *what, const char *why)
{
	if (done)
		return;
	sl_log(SL_LOG_STOP, NULL, "sluice without transactions: cannot %s: %s", what, why);
	exit(1);
}

static void need_ok(rd_kafka_resp_err_t code, const char *what)
{
	need(!code, what, rd_kafka_err2str(code));
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	int64_t *last = m->_private;

	(void)rk;
	(void)opaque;
	need_ok(m->err, "write a record");
	if (last && m->offset > *last)
		*last = m->offset;
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
}

/* The settings of producer.c but for the transaction's. */
struct sl_txn *sl_txn_open(struct sl_kafka *k, const char *id, struct sl_error *e)
{
	const char *const settings[] = { "enable.idempotence",
					 "true",
					 "acks",
					 "all",
					 "batch.size",
					 "524288",
					 "message.max.bytes",
					 "100000000",
					 "queue.buffering.max.kbytes",
					 "131072",
					 "statistics.interval.ms",
					 "0",
					 NULL };
	struct sl_txn *t = sl_calloc(1, sizeof *t);

	(void)id;
	t->k = k;
	t->rk = sl_kafka_client(k, RD_KAFKA_PRODUCER, settings, prepare, NULL, e);
	need(t->rk != NULL, "make a producer", e->text);
	t->offsets = rd_kafka_topic_partition_list_new(4);
	return t;
}

struct sl_txn *sl_txn_open_watched(struct sl_kafka *k, const char *id, struct sl_error *e)
{
	return sl_txn_open(k, id, e);
}

void sl_txn_idle(struct sl_txn *t)
{
	rd_kafka_poll(t->rk, 0);
}

void sl_txn_close(struct sl_txn *t)
{
	if (!t)
		return;
	while (t->topic_count > 0)
		rd_kafka_topic_destroy(t->topics[--t->topic_count]);
	rd_kafka_destroy(t->rk);
	rd_kafka_topic_partition_list_destroy(t->offsets);
	free(t->topics);
	free(t);
}

void sl_txn_begin(struct sl_txn *t)
{
	t->began_ns = sl_monotonic_ns();
	rd_kafka_topic_partition_list_destroy(t->offsets);
	t->offsets = rd_kafka_topic_partition_list_new(4);
}

/* Leaders are asked for at once, as in producer.c. */
static rd_kafka_topic_t *topic_of(struct sl_txn *t, const char *name)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *topic;

	for (size_t i = 0; i < t->topic_count; i++)
		if (strcmp(rd_kafka_topic_name(t->topics[i]), name) == 0)
			return t->topics[i];
	topic = rd_kafka_topic_new(t->rk, name, NULL);
	need(topic != NULL, "use a topic", rd_kafka_err2str(rd_kafka_last_error()));
	t->topics = sl_realloc(t->topics, (t->topic_count + 1) * sizeof(rd_kafka_topic_t *));
	t->topics[t->topic_count++] = topic;
	if (!rd_kafka_metadata(t->rk, 0, topic, &metadata, 500))
		rd_kafka_metadata_destroy(metadata);
	return topic;
}

void sl_txn_produce(struct sl_txn *t, const char *topic, int32_t partition, const struct sl_record *r, int64_t *last)
{
	rd_kafka_headers_t *headers = sl_message_headers(r->headers);
	rd_kafka_topic_t *rkt = topic_of(t, topic);
	rd_kafka_resp_err_t code;

	for (;;) {
		code = rd_kafka_producev(
			t->rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(partition),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.data, r->key.size),
			RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.data, r->value.size), RD_KAFKA_V_HEADERS(headers),
			RD_KAFKA_V_TIMESTAMP(r->time_ms), RD_KAFKA_V_OPAQUE(last), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(t->rk, 100);
	}
	need_ok(code, "write a record");
	if (++t->produced % 256 == 0)
		rd_kafka_poll(t->rk, 0);
}

void sl_txn_offset(struct sl_txn *t, const char *topic, int32_t partition, int64_t next)
{
	rd_kafka_topic_partition_list_add(t->offsets, topic, partition)->offset = next;
}

enum sl_txn_end sl_txn_commit(struct sl_txn *t, rd_kafka_t *consumer, struct sl_error *e)
{
	struct sl_kafka_counters *c = &t->k->counters;

	(void)e;
	need_ok(rd_kafka_flush(t->rk, WAIT_MS), "write in time");
	if (t->offsets->cnt > 0) {
		assert(consumer);
		need_ok(rd_kafka_commit(consumer, t->offsets, 0), "commit offsets");
	}
	sl_kafka_answered(t->k);
	atomic_fetch_add(&c->committed, 1);
	atomic_fetch_add(&c->commit_ns, sl_monotonic_ns() - t->began_ns);
	return SL_TXN_DONE;
}

/* What was produced is there for good. */
enum sl_txn_end sl_txn_abort(struct sl_txn *t, struct sl_error *e)
{
	(void)t;
	need(false, "take back what was written", e->text);
	return SL_TXN_FAILED;
}
