/* transaction.c -- transactions of one id, and every way they can end.
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
 * - DONE is the coordinator's word. Its markers reach the partitions a few milliseconds later, and so do the
 *   last stable offsets and the group's; opening the id again waits for them.
 * - An acknowledgement may come without an offset (a retry of what had arrived). Who wants to know where it is gets
 *   UNKNOWN although it is committed: looking what is there is the way to find out.
 *
 * One thread per transaction; callbacks run in it, from poll and flush. */
#include "../base/log.h"
#include "transaction.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define PAUSE_MS 50 /* between two tries */

static int64_t age_ms(const struct sl_txn *t)
{
	return (sl_monotonic_ns() - t->began_ns) / NS_PER_MS;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* -- filling ------------------------------------------------------------------------------- */

static struct sl_txn_report *report_of(struct sl_txn *t, int64_t *last)
{
	struct sl_txn_report *r;

	for (size_t i = t->report_count; i-- > 0;) /* the last one most often */
		if (t->reports[i]->last == last)
			return t->reports[i];
	if (t->report_count == t->report_capacity) {
		t->report_capacity = t->report_capacity ? 2 * t->report_capacity : 8;
		t->reports = sl_realloc(t->reports, t->report_capacity * sizeof *t->reports);
	}
	r = sl_malloc(sizeof *r); /* by itself: librdkafka keeps its address */
	*r = (struct sl_txn_report){ .txn = t, .last = last };
	t->reports[t->report_count++] = r;
	return r;
}

void sl_txn_begin(struct sl_txn *t)
{
	rd_kafka_error_t *error;

	assert(!t->open);
	t->open = true;
	t->began_ns = sl_monotonic_ns();
	t->produced = t->arrived = t->unplaced = 0;
	t->closed = false;
	t->failure = (struct sl_txn_failure){ 0 };
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
	struct sl_txn_failure *f = &t->failure;

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
	struct sl_txn_report *report;
	rd_kafka_topic_t *rkt;

	assert(t->open);
	if (!t->rk || t->fenced || t->closed)
		return;
	rkt = sl_txn_topic(t, topic);
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

/* What a partition that takes nothing lacks; empty: nothing that can be seen. */
static void lacking(struct sl_txn *t, const char *topic, int32_t partition, char text[160])
{
	const struct rd_kafka_metadata *m;
	rd_kafka_topic_t *rkt = sl_txn_topic(t, topic);

	*text = 0;
	if (!rkt || rd_kafka_metadata(t->rk, 0, rkt, &m, SLICE_MS))
		return;
	for (int i = 0; m->topic_cnt == 1 && i < m->topics[0].partition_cnt; i++) {
		const struct rd_kafka_metadata_partition *p = &m->topics[0].partitions[i];

		if (p->id != partition)
			continue;
		if (p->leader < 0)
			snprintf(text, 160, "; it has no leader: a broker is down, or its disk is full or broken");
		else if (p->isr_cnt < p->replica_cnt)
			snprintf(text, 160, "; %d of its %d replicas are in sync, min.insync.replicas may ask for more",
				 p->isr_cnt, p->replica_cnt);
	}
	rd_kafka_metadata_destroy(m);
}

/* The words and the verdict for a message that was not taken. */
static void message_failed(struct sl_txn *t, struct sl_error *e)
{
	const struct sl_txn_failure *f = &t->failure;
	char lacks[160], late[200];
	struct sl_buf repair = { 0 };

	switch (f->code) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		sl_kafka_tool(t->k, &repair, "kafka-configs.sh");
		sl_error_set(e, SL_RETRY,
			     "a record of %zu bytes, or the batch that it is in, is more than topic '%s' takes; raise "
			     "its max.message.bytes: %s --alter --entity-type topics --entity-name %s --add-config "
			     "max.message.bytes=%" PRId64,
			     f->size_bytes, f->topic, sl_buf_text(&repair), f->topic, sl_kafka_message_bytes(t->k));
		sl_buf_release(&repair);
		break;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		sl_error_set(e, sl_kafka_no_right(t->k),
			     "this user may not write to topic '%s'; grant the operations Write and Describe on it "
			     "(kafka-acls.sh --add --topic %s)",
			     f->topic, f->topic);
		break;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
		lacking(t, f->topic, f->partition, lacks);
		snprintf(late, sizeof late, "no acknowledgement in %d s%s", MESSAGE_MS / 1000, lacks);
		sl_kafka_failed(t->k, e, f->code, late, "write to topic '%s' partition %" PRId32, f->topic,
				f->partition);
		break;
	default:
		sl_kafka_failed(t->k, e, f->code, NULL, "write to topic '%s' partition %" PRId32, f->topic,
				f->partition);
	}
}

/* The coordinator refused a topic, and librdkafka says which in its log alone: its line ADDPARTS comes before. */
static void topic_refused(struct sl_txn *t, struct sl_error *e)
{
	struct sl_buf names = { 0 };

	for (size_t i = 0; i < t->topic_count; i++)
		sl_buf_print(&names, "%s'%s'", i ? ", " : "", rd_kafka_topic_name(t->topics[i]));
	sl_error_set(e, sl_kafka_no_right(t->k),
		     "this user may not write to %s %s; grant the operations Write and Describe on it (kafka-acls.sh "
		     "--add --topic)",
		     t->topic_count == 1 ? "topic" : "one of the topics", sl_buf_text(&names));
	sl_buf_release(&names);
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
		if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
			topic_refused(t, e);
		else
			sl_kafka_failed(t->k, e, code, rd_kafka_error_string(error), "write under '%s'", t->id);
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
	sl_txn_drop(t);
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
	if (sl_txn_is_fenced(code) && age_ms(t) < TRANSACTION_MS)
		return fenced(t, e);
	atomic_fetch_add(&t->k->counters.aborted, 1);
	return clean ? SL_TXN_ABORTED : sl_txn_replace(t, SL_TXN_ABORTED, e);
}

/* The same with a reason in e, and its code. */
static enum sl_txn_end give_up(struct sl_txn *t, rd_kafka_resp_err_t code, struct sl_error *e)
{
	enum sl_txn_end end = take_back(t, e);

	if (end != SL_TXN_ABORTED)
		return end;
	if (!sl_txn_is_passing(code))
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
		sl_error_set(e, sl_kafka_no_right(t->k),
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
	rd_kafka_error_t *error;

	assert(t->open);
	t->open = false;
	sl_error_set(e, SL_RETRY, "the last transaction of '%s' had to be looked after", t->id);
	if (t->fenced)
		return fenced(t, e);
	if (!t->rk)
		return sl_txn_replace(t, t->told, e);
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
		sl_kafka_answered(t->k);
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
	if (sl_txn_is_fenced(code) && age_ms(t) < TRANSACTION_MS)
		return fenced(t, e);
	atomic_fetch_add(&t->k->counters.unknown, 1);
	sl_log(SL_LOG_WARN, NULL, "%s; a new producer finds out how it ended", e->text);
	return sl_txn_replace(t, SL_TXN_UNKNOWN, e);
}

enum sl_txn_end sl_txn_abort(struct sl_txn *t, struct sl_error *e)
{
	assert(t->open);
	t->open = false;
	sl_error_set(e, SL_RETRY, "a transaction of '%s' is aborted", t->id);
	if (t->fenced)
		return fenced(t, e);
	if (!t->rk)
		return sl_txn_replace(t, t->told, e);
	return take_back(t, e);
}
