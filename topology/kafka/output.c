/* output.c -- what a commit puts into a transaction: records of topics, changelog, counts, and what was spent.
 *
 * Inside, values are single-object encoded (codec.h); on the wire they are framed by values.h. Dead letters
 * are the exception: they carry the bytes that came, whatever those are.
 *
 * Every writer counts the records that it has ever sent to each topic, in the same transaction: key 'n' (store.h),
 * writer "dedupe" for a task of that step, "@models" for a guard (guard.c). The sum over writers is how many data
 * records a topic ever got from us, which offsets do not tell (transactions leave control records between them);
 * a key without a topic counts what the task has read, other people's records too. And what goes into a table carries
 * its number in a header: the table's version is the sum of the latest numbers (tables.h), whatever compaction has
 * dropped.
 *
 * No state of its own; the caller's thread. */
#include "kafka.h"

#include "../bill.h"
#include "../keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEQUENCE "sluice.sequence"

void sl_kafka_sent_key(struct sl_buf *key, const char *writer, int32_t partition, const char *topic)
{
	sl_key_begin(key, 'n', writer);
	sl_key_partition(key, partition);
	sl_buf_add(key, topic, strlen(topic));
}

bool sl_kafka_count(struct sl_store *store, struct sl_bytes key, int64_t *n, struct sl_error *e)
{
	struct sl_buf value = { 0 };
	bool found, done = store->ops->get(store, key, &value, &found, e);

	*n = done && found && value.size == 8 ? (int64_t)sl_get_le64(value.data) : 0;
	sl_buf_release(&value);
	return done;
}

static bool is_dead(const struct sl_topology *t, int topic)
{
	for (size_t i = 0; i < t->step_count; i++)
		if (t->steps[i].dead == topic)
			return true;
	return topic == t->dead_ingest;
}

bool sl_kafka_register(struct sl_kafka *k, struct sl_error *e)
{
	const struct sl_topology *t = k->topology;

	for (size_t i = 0; i < t->topic_count; i++)
		if (k->names[i] && !is_dead(t, (int)i) &&
		    !sl_values_prepare(k->values, k->names[i], (int)i == t->models, e))
			return false;
	return true;
}

/* The headers but for one of that name, and that one anew: a record copied from a table brings its old number. */
static struct sl_bytes with_sequence(struct sl_bytes headers, const char *sequence, struct sl_buf *to)
{
	const uint8_t *at = headers.data, *end = at + headers.size;

	sl_buf_clear(to);
	while (at && end - at >= 6) {
		size_t name = at[0] | (size_t)at[1] << 8, value = sl_get_le32(at + 2);

		if ((size_t)(end - at) - 6 < name + value)
			break;
		if (!sl_is((struct sl_bytes){ at + 6, name }, SEQUENCE))
			sl_buf_add(to, at, 6 + name + value);
		at += 6 + name + value;
	}
	if (sequence)
		sl_header_add(to, SEQUENCE, sl_text(sequence));
	return sl_buf_bytes(to);
}

bool sl_kafka_output(struct sl_kafka *k, struct sl_txn *t, int topic, int32_t partition, const struct sl_record *r,
		     const char *sequence, struct sl_buf scratch[2], struct sl_error *e)
{
	struct sl_record out = *r;

	assert(k->names[topic]);
	if (sequence || sl_header_find(r->headers, SEQUENCE).data)
		out.headers = with_sequence(r->headers, sequence, &scratch[1]);
	/* without a registry the inner framing is the outer one */
	if (r->value.data && k->registry && !is_dead(k->topology, topic)) {
		sl_buf_clear(&scratch[0]);
		if (!sl_values_outside(k->values, k->names[topic], r->value, &scratch[0], e))
			return false;
		out.value = sl_buf_bytes(&scratch[0]);
	}
	sl_txn_produce(t, k->names[topic], partition, &out, NULL);
	return true;
}

/* How many records the task had sent to the topic before this transaction. */
static bool sent_before(const struct sl_unit *u, const char *topic, int64_t *n, struct sl_error *e)
{
	struct sl_buf key = { 0 };
	bool done;

	sl_kafka_sent_key(&key, u->tasks[0].step->name, u->partition, topic);
	done = sl_kafka_count(u->rt->store, sl_buf_bytes(&key), n, e);
	sl_buf_release(&key);
	return done;
}

static void put_sent(struct sl_unit *u, const char *topic, int64_t n)
{
	struct sl_buf key = { 0 };
	uint8_t value[8];

	sl_kafka_sent_key(&key, u->tasks[0].step->name, u->partition, topic);
	sl_put_le64(value, (uint64_t)n);
	sl_writes_put(&u->writes, sl_buf_bytes(&key), (struct sl_bytes){ value, sizeof value });
	sl_buf_release(&key);
}

bool sl_kafka_outputs(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, struct sl_error *e)
{
	const struct sl_topology *topology = k->topology;
	struct sl_bytes frames = sl_buf_bytes(&u->outputs);
	int64_t *sent = sl_calloc(topology->topic_count + 1, sizeof *sent); /* 0: nothing in this transaction */
	int64_t read = 0;
	struct sl_buf scratch[2] = { 0 };
	bool done = true;

	for (size_t at = 0; done && at < frames.size;) {
		const uint8_t *p = (const uint8_t *)frames.data + at;
		uint32_t topic = sl_get_le32(p);
		int32_t partition = (int32_t)sl_get_le32(p + 4);
		char sequence[400];
		struct sl_record r;
		bool whole;

		at += 8;
		whole = sl_frames_next(frames, &at, &r);
		assert(whole && topic < topology->topic_count);
		(void)whole;
		if (sent[topic] == 0)
			done = sent_before(u, topology->topics[topic].name, &sent[topic], e);
		if (!done)
			break;
		sent[topic]++;
		snprintf(sequence, sizeof sequence, "%s.%d:%" PRId64, u->tasks[0].step->name, (int)u->partition,
			 sent[topic]);
		done = sl_kafka_output(k, t, (int)topic, partition, &r, k->rt->topics[topic].table ? sequence : NULL,
				       scratch, e);
	}
	done = done && sent_before(u, "", &read, e);
	for (size_t i = 0; done && i < topology->topic_count; i++)
		if (sent[i])
			put_sent(u, topology->topics[i].name, sent[i]);
	if (done && u->read)
		put_sent(u, "", read + u->read);
	free(sent);
	sl_buf_release(&scratch[0]);
	sl_buf_release(&scratch[1]);
	return done;
}

/* The row of the unit's money as it is now; false: it does not ask, or has told that already. */
static bool bill_of(const struct sl_unit *u, int64_t now_ms, struct sl_buf *row)
{
	const struct sl_topology *t = u->rt->topology;
	struct sl_purse *purses;
	struct sl_calls_stats stats;
	const char **names;

	if (!sl_step_asks(u->tasks[0].step))
		return false;
	purses = sl_calloc(t->endpoint_count + 1, sizeof *purses);
	names = sl_calloc(t->endpoint_count + 1, sizeof *names);
	for (size_t i = 0; i < t->endpoint_count; i++)
		names[i] = t->endpoints[i].name;
	names[t->endpoint_count] = "";
	sl_calls_stats(u->calls, &stats, purses);
	sl_bill_put(row, now_ms, &stats, purses, names, t->endpoint_count + 1);
	free(purses);
	free(names);
	return !sl_bytes_equal((struct sl_bytes){ row->data + SL_BILL_WHEN, row->size - SL_BILL_WHEN },
			       sl_buf_bytes(&u->bill));
}

bool sl_kafka_owes_bill(const struct sl_unit *u)
{
	struct sl_buf row = { 0 };
	bool owes = bill_of(u, 0, &row);

	sl_buf_release(&row);
	return owes;
}

static void put_bill(struct sl_txn *t, const char *meta, struct sl_unit *u, int64_t now_ms)
{
	struct sl_buf key = { 0 }, row = { 0 };

	if (bill_of(u, now_ms, &row)) {
		struct sl_record r = { .time_ms = now_ms, .value = sl_buf_bytes(&row) };

		sl_key_begin(&key, 'u', u->tasks[0].step->name);
		sl_key_partition(&key, u->partition);
		r.key = sl_buf_bytes(&key);
		sl_txn_produce(t, meta, 0, &r, NULL);
		sl_buf_clear(&u->bill);
		sl_buf_add(&u->bill, row.data + SL_BILL_WHEN, row.size - SL_BILL_WHEN);
	}
	sl_buf_release(&key);
	sl_buf_release(&row);
}

void sl_kafka_changelog(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, int64_t *last)
{
	struct sl_record r = { .time_ms = sl_wall_ms() };
	char changelog[SL_ID_MAX], meta[SL_ID_MAX];

	sl_kafka_name(k, changelog, "%s.changelog", u->tasks[0].step->name);
	sl_kafka_name(k, meta, "meta");
	for (size_t at = 0; sl_writes_next(&u->writes, &at, &r.key, &r.value);) {
		char kind = *(const char *)r.key.data;

		if (kind == 'd')
			continue; /* rebuilt from the others */
		sl_txn_produce(t, changelog, u->partition, &r, last);
		if (kind == 'c' || kind == 'n')
			sl_txn_produce(t, meta, 0, &r, NULL);
	}
	put_bill(t, meta, u, r.time_ms);
}
