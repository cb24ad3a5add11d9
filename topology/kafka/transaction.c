/* transaction.c -- one transactional producer, and every way its transactions can end.
 *
 * librdkafka classifies each error (reference: rdkafka.h, "Transactional producer API"); this is what is made of it:
 *
 *     retriable          the same call again, same arguments, as long as the transaction may live
 *     abort required     abort; ABORTED, or FAILED where there is a reason to wait or to stop
 *     fatal, or none     a new instance with the same id. Its init ends the old transaction one way or the other and
 *                        fences what is still on the wire: librdkafka lacks KIP-890, without that a late request could
 *                        land in the next transaction (librdkafka #5423)
 *
 * A commit is UNKNOWN unless the broker said that it is done: an error of commit_transaction may come after the
 * request reached the coordinator. So no transaction is ever aborted, or committed again, behind a commit that was
 * asked for; whatever goes wrong before it (deliveries, offsets) is aborted, and nothing happened for certain.
 *
 * - Not a timeout of -1, but one longer than the transaction may live: librdkafka 2.0 does not cap -1, so commit would
 *   not come back while no broker answers. The danger of finite ones, going on with an instance whose call timed
 *   out, is not there: it is never used again.
 * - Brokers end a transaction after transaction.timeout.ms by raising the epoch, and librdkafka calls both that and
 *   another owner of the id "fenced". A transaction that began longer ago has timed out (a process was stopped, a
 *   broker away) and gets a new instance; a younger one is fenced.
 * - The first acknowledgement is waited for before an abort: until the coordinator has taken the first partition in,
 *   it may still be closing the transaction before, and an abort is fatal (librdkafka #4849).
 * - Offsets are sent behind the last acknowledgement, with group metadata taken then, and by nobody whose assignment
 *   is lost.
 * - A full queue is waited for: messages leave it, or fail after message.timeout.ms.
 * - An acknowledgement may come without an offset (a retry of what had arrived). Who wants to know where it is gets
 *   UNKNOWN although it is committed: looking what is there is the way to find out.
 *
 * One thread per transaction; callbacks run in it, from poll and flush. */
#include "../base/log.h"
#include "kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* Brokers abort what is open for longer (transaction.timeout.ms). Messages must have failed before, so that the
 * reason is known (message.timeout.ms); socket.timeout.ms has to be lower as well. */
#define TRANSACTION_MS 15000
#define MESSAGE_MS 10000
#define END_MS 20000      /* for the answer to a commit or an abort: later, the transaction has timed out */
#define OPEN_MS 30000     /* for brokers to answer, at open */
#define ACK_MS 5000       /* for the first acknowledgement before an abort */
#define SLICE_MS 500      /* a stop is noticed */
#define PAUSE_MS 50       /* between two tries */
#define SAY_NS 5000000000 /* between two lines about a wait */
/* Under every max.message.bytes that Sluice makes: brokers apply it to batches, which librdkafka does not split. */
#define BATCH_BYTES (512 << 10)
#define NS_PER_MS 1000000

/* What a message carries through librdkafka: who is told that it arrived, and where. */
struct report {
	struct sl_txn *txn;
	int64_t *last; /* NULL: nobody wants to know where */
};

/* The first message that was not taken. */
struct failure {
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
	bool open, fenced;
	int64_t began_ns;
	/* of the transaction */
	rd_kafka_topic_partition_list_t *offsets;
	struct report **reports; /* the first has no `last` */
	size_t report_count, report_capacity;
	size_t produced, arrived, unplaced;
	bool closed; /* librdkafka takes no more messages: it will say why */
	struct failure failure;
};

/* -- small things ------------------------------------------------------------------------- */

static bool stopping(const struct sl_txn *t)
{
	return t->k->rt && atomic_load(&t->k->rt->stop);
}

static int64_t age_ms(const struct sl_txn *t)
{
	return (sl_monotonic_ns() - t->began_ns) / NS_PER_MS;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* Who is where: "transaction=<id>". */
static const char *where(const struct sl_txn *t, char text[SL_ID_MAX + 16])
{
	snprintf(text, SL_ID_MAX + 16, "transaction=%s", t->id);
	return text;
}

static bool is_fenced(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH ||
	       code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
}

/* Errors that say that the transaction has to be played again, and nothing about the brokers or the set-up: the
 * partitions have moved on, or the brokers have forgotten the producer. */
static bool is_passing(rd_kafka_resp_err_t code)
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
		return is_fenced(code);
	}
}

static void drop(struct sl_txn *t)
{
	while (t->topic_count > 0)
		rd_kafka_topic_destroy(t->topics[--t->topic_count]);
	if (t->rk)
		rd_kafka_destroy(t->rk); /* reports that are still to come die with it */
	t->rk = NULL;
}

/* -- instances ----------------------------------------------------------------------------- */

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct report *r = m->_private;
	struct sl_txn *t = r->txn;

	(void)rk;
	(void)opaque;
	if (m->err) {
		struct failure *f = &t->failure;
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
					 NULL };

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
	else if (is_passing(code)) /* opened elsewhere at the same moment */
		sl_error_set(e, SL_RETRY, "transactional id '%s' is being opened by another: %s", t->id,
			     rd_kafka_error_string(error));
	else
		sl_kafka_failed(t->k, e, code, rd_kafka_error_string(error), "open transactional id '%s'", t->id);
}

/* Whoever waits for long says so. */
static void say_wait(const struct sl_txn *t, int64_t *next_ns, const char *detail)
{
	char place[SL_ID_MAX + 16], trouble[400];

	if (sl_monotonic_ns() < *next_ns)
		return;
	*next_ns = sl_monotonic_ns() + SAY_NS;
	sl_kafka_trouble(t->k, trouble);
	sl_log(SL_LOG_WARN, where(t, place), "waiting for the brokers to end the last transaction: %s",
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
		if (!error)
			return true;
		init_failed(t, error, e);
		again = rd_kafka_error_is_retriable(error);
		say_wait(t, &say, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		if (again)
			e->verdict = SL_RETRY;
		else
			drop(t);
		if (e->verdict == SL_STOP)
			return false;
		if (stopping(t) || (patience_ms && sl_monotonic_ns() - began > patience_ms * NS_PER_MS)) {
			drop(t);
			return false;
		}
		if (!again)
			pause_ms(SLICE_MS);
	}
}

/* A new instance in place of one that cannot go on; then `told` is true of its last transaction. e holds why, and does
 * so again. FAILED: stopped, or refused, before one could be had; the next commit or abort tries again. */
static enum sl_txn_end replace(struct sl_txn *t, enum sl_txn_end told, struct sl_error *e)
{
	struct sl_error why = *e;

	drop(t);
	t->told = told;
	if (!renew(t, 0, e)) {
		sl_error_in(e, "the last transaction of '%s' is not resolved", t->id);
		return SL_TXN_FAILED;
	}
	*e = why;
	return told;
}

struct sl_txn *sl_txn_open(struct sl_kafka *k, const char *id, struct sl_error *e)
{
	struct sl_txn *t = sl_calloc(1, sizeof *t);

	t->k = k;
	assert(strlen(id) < sizeof t->id);
	snprintf(t->id, sizeof t->id, "%s", id);
	t->offsets = rd_kafka_topic_partition_list_new(4);
	if (!renew(t, OPEN_MS, e)) {
		sl_txn_close(t);
		return NULL;
	}
	return t;
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
	drop(t);
	for (size_t i = 0; i < t->report_count; i++)
		free(t->reports[i]);
	free(t->reports);
	free(t->topics);
	rd_kafka_topic_partition_list_destroy(t->offsets);
	free(t);
}

/* -- filling ------------------------------------------------------------------------------- */

static struct report *report_of(struct sl_txn *t, int64_t *last)
{
	struct report *r;

	for (size_t i = t->report_count; i-- > 0;) /* the last one most often */
		if (t->reports[i]->last == last)
			return t->reports[i];
	if (t->report_count == t->report_capacity) {
		t->report_capacity = t->report_capacity ? 2 * t->report_capacity : 8;
		t->reports = sl_realloc(t->reports, t->report_capacity * sizeof *t->reports);
	}
	r = sl_malloc(sizeof *r); /* by itself: librdkafka keeps its address */
	*r = (struct report){ .txn = t, .last = last };
	t->reports[t->report_count++] = r;
	return r;
}

/* librdkafka 2.0 looks for the leaders of a topic that it has not met at its next round, up to a second later; asked
 * for metadata, it knows them at once. Nothing is made of an error here: messages wait, and report it. */
static rd_kafka_topic_t *topic_of(struct sl_txn *t, const char *name)
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

void sl_txn_begin(struct sl_txn *t)
{
	rd_kafka_error_t *error;

	assert(!t->open);
	t->open = true;
	t->began_ns = sl_monotonic_ns();
	t->produced = t->arrived = t->unplaced = 0;
	t->closed = false;
	t->failure = (struct failure){ 0 };
	rd_kafka_topic_partition_list_destroy(t->offsets);
	t->offsets = rd_kafka_topic_partition_list_new(4);
	for (size_t i = 0; i < t->report_count; i++)
		free(t->reports[i]);
	t->report_count = 0;
	if (!t->rk || t->fenced)
		return;
	rd_kafka_poll(t->rk, 0);
	error = rd_kafka_begin_transaction(t->rk);
	if (error) {
		t->closed = true;
		rd_kafka_error_destroy(error);
	}
}

/* librdkafka does not take a message; where it says no more than that, all_arrived asks why. */
static void refuse(struct sl_txn *t, rd_kafka_resp_err_t code, const char *topic, int32_t partition,
		   const struct sl_record *r)
{
	struct failure *f = &t->failure;

	t->closed = true;
	if (code == RD_KAFKA_RESP_ERR__STATE || code == RD_KAFKA_RESP_ERR__FATAL || f->code)
		return;
	f->code = code;
	f->partition = partition;
	f->size_bytes = r->value.size + r->key.size + r->headers.size;
	snprintf(f->topic, sizeof f->topic, "%s", topic);
}

void sl_txn_produce(struct sl_txn *t, const char *topic, int32_t partition, const struct sl_record *r, int64_t *last)
{
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t code;
	struct report *report;
	rd_kafka_topic_t *rkt;

	assert(t->open);
	if (!t->rk || t->fenced || t->closed)
		return;
	rkt = topic_of(t, topic);
	if (!rkt) {
		refuse(t, rd_kafka_last_error(), topic, partition, r);
		return;
	}
	report = report_of(t, last);
	headers = sl_message_headers(r->headers);
	for (;;) {
		code = rd_kafka_producev(
			t->rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(partition),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.data, r->key.size),
			RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.data, r->value.size), RD_KAFKA_V_HEADERS(headers),
			RD_KAFKA_V_TIMESTAMP(r->time_ms), RD_KAFKA_V_OPAQUE(report), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(t->rk, 100);
	}
	if (!code) {
		if (++t->produced % 256 == 0)
			rd_kafka_poll(t->rk, 0); /* reports take room in the queue, too */
		return;
	}
	if (headers)
		rd_kafka_headers_destroy(headers);
	refuse(t, code, topic, partition, r);
}

void sl_txn_offset(struct sl_txn *t, const char *topic, int32_t partition, int64_t next)
{
	rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_find(t->offsets, topic, partition);

	assert(t->open && next >= 0);
	if (!p)
		p = rd_kafka_topic_partition_list_add(t->offsets, topic, partition);
	p->offset = next;
}

/* -- why not ------------------------------------------------------------------------------- */

/* The words and the verdict for a message that was not taken. */
static void message_failed(struct sl_txn *t, struct sl_error *e)
{
	const struct failure *f = &t->failure;

	switch (f->code) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		sl_error_set(e, SL_RETRY,
			     "a record of %zu bytes is more than topic '%s' takes; raise its max.message.bytes: "
			     "kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config "
			     "max.message.bytes=%zu",
			     f->size_bytes, f->topic, t->k->topology->kafka.brokers, f->topic, f->size_bytes + 65536);
		break;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		sl_error_set(e, SL_STOP,
			     "this user may not write to topic '%s'; grant the operations Write and Describe on it "
			     "(kafka-acls.sh --add --topic %s)",
			     f->topic, f->topic);
		break;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
		sl_kafka_failed(t->k, e, f->code, "no acknowledgement in time",
				"write to topic '%s' partition %" PRId32, f->topic, f->partition);
		break;
	default:
		sl_kafka_failed(t->k, e, f->code, NULL, "write to topic '%s' partition %" PRId32, f->topic,
				f->partition);
	}
}

/* What librdkafka holds against going on, for e; its code. Called only where it does: messages failed, or it took no
 * more of them. Then commit_transaction refuses before it asks the coordinator, and that refusal is the only
 * place that tells. */
static rd_kafka_resp_err_t ask_why(struct sl_txn *t, struct sl_error *e)
{
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t code = t->failure.code;

	assert(t->closed || t->failure.code);
	if (!code || code == RD_KAFKA_RESP_ERR__PURGE_QUEUE) {
		error = rd_kafka_commit_transaction(t->rk, END_MS);
		assert(error);
		code = rd_kafka_error_code(error);
		if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && t->failure.code) {
			t->failure.code = code;
			message_failed(t, e);
		} else {
			sl_kafka_failed(t->k, e, code, rd_kafka_error_string(error), "write under '%s'", t->id);
		}
		rd_kafka_error_destroy(error);
	} else {
		message_failed(t, e);
	}
	return code;
}

/* -- the ends ------------------------------------------------------------------------------ */

static enum sl_txn_end fenced(struct sl_txn *t, struct sl_error *e)
{
	if (!t->fenced)
		atomic_fetch_add(&t->k->counters.fenced, 1);
	t->fenced = true;
	drop(t);
	sl_error_set(e, SL_STOP, "transactional id '%s' was opened by another process: this one has been replaced",
		     t->id);
	return SL_TXN_FENCED;
}

/* Wait until the coordinator surely knows of the transaction. False: it does not seem to. */
static bool acknowledged(struct sl_txn *t)
{
	int64_t until = sl_monotonic_ns() + (int64_t)ACK_MS * NS_PER_MS;

	while (!t->arrived && rd_kafka_outq_len(t->rk) > 0 && sl_monotonic_ns() < until)
		rd_kafka_poll(t->rk, 10);
	return t->arrived || !t->produced;
}

/* Ends a transaction whose commit was never asked for. ABORTED, FENCED, or FAILED: no new instance could be had. */
static enum sl_txn_end take_back(struct sl_txn *t, struct sl_error *e)
{
	int64_t began = sl_monotonic_ns();
	rd_kafka_error_t *error = NULL;
	bool known = acknowledged(t), clean;
	rd_kafka_resp_err_t code;

	if (known) {
		do {
			if (error) {
				rd_kafka_error_destroy(error);
				pause_ms(PAUSE_MS);
			}
			error = rd_kafka_abort_transaction(t->rk, END_MS);
		} while (error && rd_kafka_error_is_retriable(error) &&
			 rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__TIMED_OUT &&
			 sl_monotonic_ns() - began < (int64_t)END_MS * NS_PER_MS);
	}
	clean = known && !error;
	code = rd_kafka_fatal_error(t->rk, NULL, 0);
	if (error) {
		if (!code)
			code = rd_kafka_error_code(error);
		rd_kafka_error_destroy(error);
	}
	if (is_fenced(code) && age_ms(t) < TRANSACTION_MS)
		return fenced(t, e);
	atomic_fetch_add(&t->k->counters.aborted, 1);
	return clean ? SL_TXN_ABORTED : replace(t, SL_TXN_ABORTED, e);
}

/* The same with a reason in e, and its code. */
static enum sl_txn_end give_up(struct sl_txn *t, rd_kafka_resp_err_t code, struct sl_error *e)
{
	enum sl_txn_end end = take_back(t, e);

	if (end != SL_TXN_ABORTED)
		return end;
	if (!is_passing(code))
		return SL_TXN_FAILED;
	e->verdict = SL_RETRY;
	return SL_TXN_ABORTED;
}

/* Everything is acknowledged. False: *code and e say why not. */
static bool all_arrived(struct sl_txn *t, rd_kafka_resp_err_t *code, struct sl_error *e)
{
	while (rd_kafka_outq_len(t->rk) > 0 && age_ms(t) < END_MS)
		rd_kafka_flush(t->rk, SLICE_MS);
	if (t->failure.code || t->closed) {
		*code = ask_why(t, e);
		return false;
	}
	if (t->arrived == t->produced)
		return true;
	*code = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
	return sl_kafka_failed(t->k, e, *code, "no acknowledgement in time", "write under '%s'", t->id);
}

static bool offsets_sent(struct sl_txn *t, rd_kafka_t *consumer, rd_kafka_resp_err_t *code, struct sl_error *e)
{
	rd_kafka_consumer_group_metadata_t *group;
	rd_kafka_error_t *error;

	if (t->offsets->cnt == 0)
		return true;
	assert(consumer);
	group = rd_kafka_consumer_group_metadata(consumer);
	/* In this order: a consumer that has lost its place may have forgotten its member id and generation, and
	 * brokers do not check transactions that come without (as those of old clients do). */
	if (!group || rd_kafka_assignment_lost(consumer)) {
		if (group)
			rd_kafka_consumer_group_metadata_destroy(group);
		*code = RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
		return sl_error_set(e, SL_RETRY, "the partitions of '%s' have moved on", t->id);
	}
	for (;;) {
		error = rd_kafka_send_offsets_to_transaction(t->rk, t->offsets, group, MESSAGE_MS);
		if (!error || !rd_kafka_error_is_retriable(error) || age_ms(t) >= TRANSACTION_MS)
			break;
		rd_kafka_error_destroy(error);
		pause_ms(PAUSE_MS);
	}
	rd_kafka_consumer_group_metadata_destroy(group);
	if (!error)
		return true;
	*code = rd_kafka_error_code(error);
	if (*code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
		sl_error_set(e, SL_STOP,
			     "this user may not commit offsets of topic '%s'; grant the operation Read on its consumer "
			     "group (kafka-acls.sh --add --group '%s' --resource-pattern-type prefixed)",
			     t->offsets->elems[0].topic, t->k->app);
	else
		sl_kafka_failed(t->k, e, *code, rd_kafka_error_string(error), "commit offsets of topic '%s'",
				t->offsets->elems[0].topic);
	rd_kafka_error_destroy(error);
	return false;
}

static void count(struct sl_txn *t)
{
	static const int64_t le_ms[] = { 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 15000 };
	struct sl_kafka_counters *c = &t->k->counters;
	int64_t ns = sl_monotonic_ns() - t->began_ns;
	size_t bucket = 0;

	while (bucket < sizeof le_ms / sizeof *le_ms && ns > le_ms[bucket] * NS_PER_MS)
		bucket++;
	assert(bucket < sizeof c->commit_buckets / sizeof *c->commit_buckets);
	atomic_fetch_add(&c->committed, 1);
	atomic_fetch_add(&c->commit_ns, ns);
	atomic_fetch_add(&c->commit_buckets[bucket], 1);
}

enum sl_txn_end sl_txn_commit(struct sl_txn *t, rd_kafka_t *consumer, struct sl_error *e)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	char place[SL_ID_MAX + 16];
	rd_kafka_error_t *error;

	assert(t->open);
	t->open = false;
	sl_error_set(e, SL_RETRY, "the last transaction of '%s' had to be looked after", t->id);
	if (t->fenced)
		return fenced(t, e);
	if (!t->rk)
		return replace(t, t->told, e);
	if (!all_arrived(t, &code, e) || !offsets_sent(t, consumer, &code, e))
		return give_up(t, code, e);
	for (;;) {
		error = rd_kafka_commit_transaction(t->rk, END_MS);
		if (!error || !rd_kafka_error_is_retriable(error) ||
		    rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT || age_ms(t) >= END_MS)
			break;
		rd_kafka_error_destroy(error);
		pause_ms(PAUSE_MS);
	}
	if (!error) {
		count(t);
		if (t->unplaced == 0)
			return SL_TXN_DONE;
		sl_error_set(e, SL_RETRY, "a transaction of '%s' is committed, but not where its records are", t->id);
		return SL_TXN_UNKNOWN;
	}
	code = rd_kafka_fatal_error(t->rk, NULL, 0);
	if (!code)
		code = rd_kafka_error_code(error);
	sl_kafka_failed(t->k, e, code, rd_kafka_error_string(error), "commit a transaction of '%s'", t->id);
	e->verdict = SL_RETRY; /* whatever it was: a new instance finds out */
	rd_kafka_error_destroy(error);
	if (is_fenced(code) && age_ms(t) < TRANSACTION_MS)
		return fenced(t, e);
	atomic_fetch_add(&t->k->counters.unknown, 1);
	sl_log(SL_LOG_WARN, where(t, place), "%s; a new producer finds out how it ended", e->text);
	return replace(t, SL_TXN_UNKNOWN, e);
}

enum sl_txn_end sl_txn_abort(struct sl_txn *t, struct sl_error *e)
{
	assert(t->open);
	t->open = false;
	sl_error_set(e, SL_RETRY, "a transaction of '%s' is aborted", t->id);
	if (t->fenced)
		return fenced(t, e);
	if (!t->rk)
		return replace(t, t->told, e);
	return take_back(t, e);
}
