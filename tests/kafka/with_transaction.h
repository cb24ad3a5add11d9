/* with_transaction.h -- what the tests of transactions share: to be included once. A failure here fails the test. */
#ifndef SL_WITH_TRANSACTION_H
#define SL_WITH_TRANSACTION_H

#include "with_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* Nothing of it is used but its limits. */
#define TXN_TOPOLOGY                                                                                                   \
	"topology: t\ningest: { to: raw, ties: ties }\nsteps:\n"                                                       \
	"  - { name: dedupe, from: raw, to: { unique: u, duplicate: d, conflict: c, contaminated: x } }\n"

static inline struct sl_txn *opened(struct sl_kafka *k, const char *id)
{
	struct sl_error e = { 0 };
	struct sl_txn *t = sl_txn_open(k, id, &e);

	if (!t)
		fail_msg("cannot open '%s': %s", id, e.text);
	return t;
}

static inline void text(struct sl_txn *t, const char *topic, const char *key, const char *value, int64_t *last)
{
	struct sl_record r = { .key = sl_text(key), .value = sl_text(value) };

	sl_txn_produce(t, topic, 0, &r, last);
}

static inline void ends(enum sl_txn_end got, enum sl_txn_end wanted, const struct sl_error *e)
{
	if (got != wanted)
		fail_msg("ended %d, not %d: %s", got, wanted, e->text);
}

static inline void commits(struct sl_txn *t, rd_kafka_t *consumer, enum sl_txn_end wanted)
{
	struct sl_error e = { 0 };

	ends(sl_txn_commit(t, consumer, &e), wanted, &e);
}

/* One more transaction goes through. */
static inline void works(struct sl_txn *t, const char *topic)
{
	int64_t last = -1;

	sl_txn_begin(t);
	text(t, topic, "k", "works", &last);
	commits(t, NULL, SL_TXN_DONE);
	assert_true(last >= 0);
}

/* What the committed records of partition 0 say, joined. */
static inline void assert_seen(const char *topic, const char *wanted)
{
	struct kafka_seen seen;
	struct sl_buf all = { 0 };

	kafka_read(topic, 0, true, &seen);
	for (size_t i = 0; i < seen.count; i++) {
		sl_buf_print(&all, "%s%.*s=", i ? " " : "", (int)seen.records[i].key.size,
			     (const char *)seen.records[i].key.data);
		if (seen.records[i].value.data)
			sl_buf_add_bytes(&all, seen.records[i].value);
		else
			sl_buf_print(&all, "-");
	}
	assert_string_equal(sl_buf_text(&all), wanted);
	sl_buf_release(&all);
	kafka_seen_release(&seen);
}

static inline const char *new_topic(int32_t partitions)
{
	const char *name = kafka_unique();

	kafka_create(name, partitions, NULL);
	return name;
}

/* The end as this handle may see it; -1: nobody says. */
static inline int64_t high(rd_kafka_t *rk, const char *topic)
{
	int64_t low, end;

	return rd_kafka_query_watermark_offsets(rk, topic, 0, &low, &end, 10000) ? -1 : end;
}

struct watched {
	struct sl_kafka *k;
	const char *topic;
};

static inline bool no_transaction(void *arg)
{
	struct watched *w = arg;

	int64_t end = high(w->k->admin, w->topic);

	return end >= 0 && end == high(w->k->raw_ends, w->topic);
}

/* A transaction is committed when the coordinator has said so; its markers come a moment later. */
static inline void settle(struct sl_kafka *k, const char *topic)
{
	assert_true(kafka_within(30, no_transaction, &(struct watched){ k, topic }));
}

#endif
