/* tail.c -- reading partitions by assignment: what restores, tables and readers stand on.
 *
 * A consumer that never joins its group, so it is never rebalanced; librdkafka wants a group name before it
 * takes an assignment, and nothing is ever committed under it. Messages are taken from its queue in batches,
 * because a call per message costs more than the message.
 *
 * Control records and what was aborted occupy offsets but are never handed out: a position that counted messages
 * alone would stop short of the end for ever. An end-of-partition event carries the offset that the fetcher
 * has reached, and comes again when it has moved, so positions are taken from both. Such an event needs an empty
 * answer to a fetch, which the broker holds back for fetch.wait.max.ms: that is how late the last control record
 * is noticed (the default would be half a second).
 *
 * Brokers that go away are waited through: librdkafka connects again by itself and the log says what it
 * complains about. A position outside the log becomes the log's start.
 *
 * Ownership: a record's bytes are librdkafka's until the next call. One thread, but for sl_tail_wake. */
#include "kafka.h"

#include "../base/log.h"

#include <stdlib.h>

#define BATCH 1024
#define END_NOTICED "50" /* fetch.wait.max.ms */
#define LEADERS_MS 1000

struct sl_tail {
	struct sl_kafka *k;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	struct sl_tail_part *parts;
	size_t count, last; /* last: the part of the last message, which most likely has the next one too */
	rd_kafka_message_t *batch[BATCH];
	size_t batch_count, at;
	struct sl_buf headers;
};

/* The part a message is of; `count`: of none, it is left over from before a move. */
static size_t part_of(const struct sl_tail *t, const rd_kafka_message_t *m)
{
	const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";

	for (size_t i = 0; i < t->count; i++) {
		size_t at = (t->last + i) % t->count;

		if (t->parts[at].partition == m->partition && strcmp(t->parts[at].topic, topic) == 0)
			return at;
	}
	return t->count;
}

static void drop_batch(struct sl_tail *t)
{
	/* the one before `at` is with the caller until now */
	for (size_t i = t->at ? t->at - 1 : 0; i < t->batch_count; i++)
		rd_kafka_message_destroy(t->batch[i]);
	t->batch_count = t->at = 0;
}

/* A consumer looks once a second for the leaders of partitions that are new to it, so a reader of many topics would
 * wait a second for each. Asked for, they are known at once; no answer is no harm, then it is a second after all. */
static void find_leaders(struct sl_tail *t, const struct sl_tail_part *parts)
{
	rd_kafka_topic_t **topics = sl_calloc(t->count, sizeof(rd_kafka_topic_t *));
	const struct rd_kafka_metadata *m;

	for (size_t i = 0; i < t->count; i++)
		if (i == 0 || strcmp(parts[i].topic, parts[i - 1].topic) != 0)
			topics[i] = rd_kafka_topic_new(t->rk, parts[i].topic, NULL);
	if (rd_kafka_metadata(t->rk, 0, NULL, &m, LEADERS_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(m);
	for (size_t i = 0; i < t->count; i++)
		if (topics[i])
			rd_kafka_topic_destroy(topics[i]);
	free(topics);
}

static bool assign(struct sl_tail *t, const struct sl_tail_part *parts, struct sl_error *e)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)t->count);
	rd_kafka_resp_err_t code;

	drop_batch(t);
	find_leaders(t, parts);
	for (size_t i = 0; i < t->count; i++) {
		t->parts[i] = parts[i];
		rd_kafka_topic_partition_list_add(list, parts[i].topic, parts[i].partition)->offset =
			parts[i].position < 0 ? RD_KAFKA_OFFSET_BEGINNING : parts[i].position;
	}
	code = rd_kafka_assign(t->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return !code || sl_kafka_failed(t->k, e, code, NULL, "read '%s'", parts[0].topic);
}

struct sl_tail *sl_tail_open(struct sl_kafka *k, const struct sl_tail_part *parts, size_t count, struct sl_error *e)
{
	char group[SL_ID_MAX];
	const char *const settings[] = { "group.id",
					 group,
					 "isolation.level",
					 "read_committed",
					 "enable.partition.eof",
					 "true",
					 "enable.auto.commit",
					 "false",
					 "enable.auto.offset.store",
					 "false",
					 "auto.offset.reset",
					 "earliest",
					 "fetch.wait.max.ms",
					 END_NOTICED,
					 NULL };
	struct sl_tail *t = sl_calloc(1, sizeof *t);

	sl_kafka_name(k, group, "tail");
	t->k = k;
	t->count = count;
	t->parts = sl_calloc(count, sizeof *t->parts);
	t->rk = sl_kafka_client(k, RD_KAFKA_CONSUMER, settings, NULL, NULL, e);
	if (!t->rk)
		goto failed;
	rd_kafka_poll_set_consumer(t->rk);
	t->queue = rd_kafka_queue_get_consumer(t->rk);
	if (!assign(t, parts, e))
		goto failed;
	return t;
failed:
	sl_tail_close(t);
	return NULL;
}

bool sl_tail_move(struct sl_tail *t, const struct sl_tail_part *parts, struct sl_error *e)
{
	return assign(t, parts, e);
}

void sl_tail_close(struct sl_tail *t)
{
	if (!t)
		return;
	drop_batch(t);
	if (t->queue)
		rd_kafka_queue_destroy(t->queue);
	/* nothing was joined and nothing is to be committed: no need to talk to anybody */
	if (t->rk)
		rd_kafka_destroy_flags(t->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	sl_buf_release(&t->headers);
	free(t->parts);
	free(t);
}

/* Messages into the batch: what is there, else the first to come within wait_ms (a full batch would be waited for). */
static void fill(struct sl_tail *t, int wait_ms)
{
	ssize_t n;

	drop_batch(t);
	n = rd_kafka_consume_batch_queue(t->queue, 0, t->batch, BATCH);
	if (n == 0 && wait_ms > 0)
		n = rd_kafka_consume_batch_queue(t->queue, wait_ms, t->batch, 1);
	t->batch_count = n > 0 ? (size_t)n : 0;
}

/* False: e says what a person must change. All else passes by itself, and says so in the log. */
static bool complaint(struct sl_tail *t, const rd_kafka_message_t *m, struct sl_error *e)
{
	if (m->rkt)
		sl_kafka_failed(t->k, e, m->err, rd_kafka_message_errstr(m), "read '%s' partition %d",
				rd_kafka_topic_name(m->rkt), (int)m->partition);
	else
		sl_kafka_failed(t->k, e, m->err, rd_kafka_message_errstr(m), "read '%s'", t->parts[0].topic);
	if (e->verdict == SL_STOP)
		return false;
	sl_log(SL_LOG_WARN, NULL, "%s", e->text);
	e->verdict = SL_OK;
	return true;
}

enum sl_tail_end sl_tail_next(struct sl_tail *t, int wait_ms, size_t *which, struct sl_record *r, struct sl_error *e)
{
	if (t->at > 0)
		rd_kafka_message_destroy(t->batch[t->at - 1]);
	if (t->at == t->batch_count) {
		t->at = t->batch_count = 0;
		fill(t, wait_ms);
	}
	while (t->at < t->batch_count) {
		const rd_kafka_message_t *m = t->batch[t->at++];
		size_t part = part_of(t, m);

		if (!m->err && part < t->count) {
			t->last = part;
			t->parts[part].position = m->offset + 1;
			sl_message_record(m, &t->headers, r);
			*which = part;
			return SL_TAIL_RECORD;
		}
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && part < t->count)
			t->parts[part].position = m->offset;
		else if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF && !complaint(t, m, e))
			return SL_TAIL_FAILED;
		rd_kafka_message_destroy(t->batch[t->at - 1]);
	}
	t->at = t->batch_count = 0;
	return SL_TAIL_NOTHING;
}

int64_t sl_tail_position(const struct sl_tail *t, size_t which)
{
	return t->parts[which].position;
}

void sl_tail_wake(struct sl_tail *t)
{
	rd_kafka_queue_yield(t->queue);
}
