/* producer.c -- the librdkafka instance under a transaction: made, initialised, and replaced when it cannot go on.
 *
 * Initialising an id fences whoever had it and ends what that one left open, committed if its commit had
 * reached the coordinator, else aborted. That is how a transaction of unknown end gets one (transaction.c), so
 * sl_txn_replace waits for as long as the brokers are away, says so every few seconds, and leaves at a stop. */
#include "../base/log.h"
#include "transaction.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define OPEN_MS 30000              /* for brokers to answer, at open */
#define SAY_NS INT64_C(5000000000) /* between two lines about a wait */
/* Under every max.message.bytes that Sluice makes: brokers apply it to batches, which librdkafka does not split. */
#define BATCH_BYTES (512 << 10)

bool sl_txn_is_fenced(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH ||
	       code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
}

bool sl_txn_is_passing(rd_kafka_resp_err_t code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
	case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
	case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
	case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
	case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
	case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
		return true;
	default:
		return sl_txn_is_fenced(code);
	}
}

void sl_txn_drop(struct sl_txn *t)
{
	while (t->topic_count > 0)
		rd_kafka_topic_destroy(t->topics[--t->topic_count]);
	if (t->rk)
		rd_kafka_destroy(t->rk); /* reports that are still to come die with it */
	t->rk = NULL;
}

static bool stopping(const struct sl_txn *t)
{
	return t->k->rt && atomic_load(&t->k->rt->stop);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct sl_txn_report *r = m->_private;
	struct sl_txn *t = r->txn;

	(void)rk;
	(void)opaque;
	if (m->err) {
		struct sl_txn_failure *f = &t->failure;
		bool purged = m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;

		if (f->code && f->code != RD_KAFKA_RESP_ERR__PURGE_QUEUE) /* purged: because of another */
			return;
		f->code = purged ? RD_KAFKA_RESP_ERR__PURGE_QUEUE : m->err;
		f->partition = m->partition;
		f->size_bytes = m->len + m->key_len;
		snprintf(f->topic, sizeof f->topic, "%s", rd_kafka_topic_name(m->rkt));
		return;
	}
	t->arrived++;
	if (!r->last)
		return;
	if (m->offset < 0)
		t->unplaced++;
	else if (m->offset > *r->last)
		*r->last = m->offset;
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
}

static rd_kafka_t *instance(struct sl_txn *t, struct sl_error *e)
{
	int64_t record_max = t->k->topology->record_max_bytes;
	char transaction[16], message[16], batch[16];
	const char *const settings[] = { "transactional.id", t->id, "enable.idempotence", "true", "acks", "all",
					 "transaction.timeout.ms", transaction, "message.timeout.ms", message,
					 "socket.timeout.ms", message, "batch.size", batch,
					 /* the limit is the topic's, so that its refusal can name it */
					 "message.max.bytes", "100000000", "queue.buffering.max.kbytes", "131072",
					 "statistics.interval.ms", t->watched ? "5000" : "0", NULL };

	snprintf(transaction, sizeof transaction, "%d", TRANSACTION_MS);
	snprintf(message, sizeof message, "%d", MESSAGE_MS);
	snprintf(batch, sizeof batch, "%" PRId64,
		 record_max > 0 && record_max < BATCH_BYTES ? record_max : BATCH_BYTES);
	return sl_kafka_client(t->k, RD_KAFKA_PRODUCER, settings, prepare, NULL, e);
}

/* Why an id cannot be initialised. */
static void init_failed(struct sl_txn *t, const rd_kafka_error_t *error, struct sl_error *e)
{
	rd_kafka_resp_err_t code = rd_kafka_error_code(error);

	if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
		sl_error_set(
			e, SL_STOP,
			"transactional id '%s' is not allowed to this user; grant the operations Write and Describe "
			"on it (kafka-acls.sh --add --transactional-id '%s' --resource-pattern-type prefixed)",
			t->id, t->k->app);
	else if (code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT)
		sl_error_set(
			e, SL_STOP,
			"the brokers refuse transactions of %d ms; their transaction.max.timeout.ms must be as long",
			TRANSACTION_MS);
	else if (sl_txn_is_passing(code)) /* opened elsewhere at the same moment */
		sl_error_set(e, SL_RETRY, "transactional id '%s' is being opened by another: %s", t->id,
			     rd_kafka_error_string(error));
	else
		sl_kafka_failed(t->k, e, code, rd_kafka_error_string(error), "open transactional id '%s'", t->id);
}

/* Whoever waits for long says so. */
static void say_wait(const struct sl_txn *t, int64_t *next_ns, const char *detail)
{
	char trouble[400];

	if (sl_monotonic_ns() < *next_ns)
		return;
	*next_ns = sl_monotonic_ns() + SAY_NS;
	sl_kafka_trouble(t->k, trouble);
	sl_log(SL_LOG_WARN, NULL, "waiting for the brokers to open transactional id '%s': %s", t->id,
	       trouble[0] ? trouble : detail);
}

/* An instance that is initialised: who had the id is fenced, its transaction ended. patience_ms 0: until stop. */
static bool renew(struct sl_txn *t, int64_t patience_ms, struct sl_error *e)
{
	int64_t began = sl_monotonic_ns(), say = began + SAY_NS;

	for (;;) {
		rd_kafka_error_t *error;
		bool again;

		if (!t->rk && !(t->rk = instance(t, e)))
			return false;
		error = rd_kafka_init_transactions(t->rk, SLICE_MS);
		rd_kafka_poll(t->rk, 0);
		if (!error) {
			sl_kafka_answered(t->k);
			return true;
		}
		init_failed(t, error, e);
		again = rd_kafka_error_is_retriable(error);
		say_wait(t, &say, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		if (again)
			e->verdict = SL_RETRY;
		else
			sl_txn_drop(t);
		if (e->verdict == SL_STOP || (patience_ms && sl_kafka_in_vain(t->k, e))) {
			sl_txn_drop(t);
			return false;
		}
		if (stopping(t) || (patience_ms && sl_monotonic_ns() - began > patience_ms * NS_PER_MS)) {
			sl_txn_drop(t);
			return false;
		}
		if (!again)
			poll(NULL, 0, SLICE_MS);
	}
}

enum sl_txn_end sl_txn_replace(struct sl_txn *t, enum sl_txn_end told, struct sl_error *e)
{
	struct sl_error why = *e;

	sl_txn_drop(t);
	t->told = told;
	if (!renew(t, 0, e)) {
		sl_error_in(e, "the last transaction of '%s' is not resolved", t->id);
		return SL_TXN_FAILED;
	}
	*e = why;
	return told;
}

static struct sl_txn *open_txn(struct sl_kafka *k, const char *id, bool watched, struct sl_error *e)
{
	struct sl_txn *t = sl_calloc(1, sizeof *t);

	t->k = k;
	t->watched = watched;
	assert(strlen(id) < sizeof t->id);
	snprintf(t->id, sizeof t->id, "%s", id);
	t->offsets = rd_kafka_topic_partition_list_new(4);
	if (!renew(t, OPEN_MS, e)) {
		sl_txn_close(t);
		return NULL;
	}
	return t;
}

struct sl_txn *sl_txn_open(struct sl_kafka *k, const char *id, struct sl_error *e)
{
	return open_txn(k, id, false, e);
}

struct sl_txn *sl_txn_open_watched(struct sl_kafka *k, const char *id, struct sl_error *e)
{
	return open_txn(k, id, true, e);
}

void sl_txn_idle(struct sl_txn *t)
{
	if (t->rk && !t->open)
		rd_kafka_poll(t->rk, 0);
}

void sl_txn_close(struct sl_txn *t)
{
	if (!t)
		return;
	if (t->rk && t->open && !t->fenced) {
		rd_kafka_error_t *error = rd_kafka_abort_transaction(t->rk, ACK_MS);

		if (error) /* then it times out, or ends when the id is opened again */
			rd_kafka_error_destroy(error);
	}
	sl_txn_drop(t);
	for (size_t i = 0; i < t->report_count; i++)
		free(t->reports[i]);
	free(t->reports);
	free(t->topics);
	rd_kafka_topic_partition_list_destroy(t->offsets);
	free(t);
}

/* librdkafka 2.0 looks for the leaders of a topic that it has not met at its next round, up to a second later; asked
 * for metadata, it knows them at once. Nothing is made of an error here: messages wait, and report it. */
rd_kafka_topic_t *sl_txn_topic(struct sl_txn *t, const char *name)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *topic;

	for (size_t i = 0; i < t->topic_count; i++)
		if (strcmp(rd_kafka_topic_name(t->topics[i]), name) == 0)
			return t->topics[i];
	topic = rd_kafka_topic_new(t->rk, name, NULL);
	if (!topic)
		return NULL;
	if (t->topic_count == t->topic_capacity) {
		t->topic_capacity = t->topic_capacity ? 2 * t->topic_capacity : 8;
		t->topics = sl_realloc(t->topics, t->topic_capacity * sizeof *t->topics);
	}
	t->topics[t->topic_count++] = topic;
	if (!rd_kafka_metadata(t->rk, 0, topic, &metadata, SLICE_MS))
		rd_kafka_metadata_destroy(metadata);
	return topic;
}
