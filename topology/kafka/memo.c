/* memo.c -- answers from outside, durable before anybody uses them.
 *
 * They are paid for, so they must not wait for the transaction of the records that they were asked for, nor
 * share its fate: one idempotent producer of the process, without transactions, writes them to the step's
 * memo topic, and only when all replicas have acknowledged they go into the local store, where the unit
 * finds them. Who takes over the partition reads the topic (restore.c). An answer that is written
 * twice (two processes that both believed to have the task) is to the same question: the reader keeps the first. So
 * are what is held and spent (../ledger.h), of which the last counts, and tombstones.
 *
 * Rows about batches of questions are another matter: a batch is asked for because of them, so they are written whole
 * and by nobody who has lost the task (aside.c), into the same topic.
 *
 * Threads: any; each waits for its own answers. */
#include "kafka.h"

#include <inttypes.h>
#include <stdlib.h>

#define TIMEOUT_MS "30000" /* below what the group lets a member be silent */

/* The producer is made at the first answer, and again after an error that it does not survive. */
struct sl_memo {
	pthread_mutex_t lock;
	rd_kafka_t *rk;
	size_t users;
};

/* What one caller waits for: touched by callbacks on any thread that polls. */
struct waiting {
	_Atomic int64_t open;
	_Atomic int error; /* the first; rd_kafka_resp_err_t */
};

static void settled(struct waiting *w, rd_kafka_resp_err_t error)
{
	int none = RD_KAFKA_RESP_ERR_NO_ERROR;

	if (error)
		atomic_compare_exchange_strong(&w->error, &none, (int)error);
	atomic_fetch_sub(&w->open, 1); /* the last touch: the caller may return now */
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	settled(m->_private, m->err);
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
}

static rd_kafka_t *producer(struct sl_kafka *k, struct sl_error *e)
{
	static const char *const settings[] = { "enable.idempotence", "true",      "acks", "all", "message.timeout.ms",
						TIMEOUT_MS,           "linger.ms", "2",    NULL };
	struct sl_memo *m = k->memo;
	rd_kafka_t *rk;
	char text[200];

	sl_lock(&m->lock);
	if (m->rk && m->users == 0 && rd_kafka_fatal_error(m->rk, text, sizeof text)) {
		rd_kafka_destroy(m->rk);
		m->rk = NULL;
	}
	if (!m->rk)
		m->rk = sl_kafka_client(k, RD_KAFKA_PRODUCER, settings, prepare, NULL, e);
	rk = m->rk;
	if (rk)
		m->users++;
	sl_unlock(&m->lock);
	return rk;
}

static void leave(struct sl_memo *m)
{
	sl_lock(&m->lock);
	m->users--;
	sl_unlock(&m->lock);
}

static void post(rd_kafka_t *rk, const char *topic, int32_t partition, struct sl_bytes key, struct sl_bytes value,
		 struct waiting *w)
{
	rd_kafka_resp_err_t error;

	atomic_fetch_add(&w->open, 1);
	for (;;) {
		error = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
					  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.size),
					  RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
					  RD_KAFKA_V_OPAQUE(w), RD_KAFKA_V_END);
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(rk, 10); /* back-pressure, no error */
	}
	if (error)
		settled(w, error); /* refused: there will be no report */
}

/* Rows of parked questions and batches (../parked.h). */
static bool of_batches(const struct sl_unit *u, const struct sl_writes *rows)
{
	const size_t prefix = 1 + strlen(u->tasks[0].step->name) + 1 + 4;
	struct sl_bytes key, value;

	for (size_t at = 0; sl_writes_next(rows, &at, &key, &value);)
		if (key.size > prefix && memchr("pbq", ((const char *)key.data)[prefix], 3))
			return true;
	return false;
}

bool sl_kafka_memo(struct sl_unit *u, struct sl_writes *answers, struct sl_error *e)
{
	struct sl_kafka *k = u->rt->kafka;
	struct waiting w = { 0 };
	char topic[SL_ID_MAX];
	struct sl_bytes key, value;
	rd_kafka_t *rk;

	if (of_batches(u, answers)) {
		if (!sl_kafka_aside(u, NULL, answers, e))
			return false;
		atomic_fetch_add(&k->counters.memo_records, (int64_t)answers->count);
		return true;
	}
	rk = producer(k, e);
	if (!rk)
		return false;
	sl_kafka_name(k, topic, "%s.memo", u->tasks[0].step->name);
	for (size_t at = 0; sl_writes_next(answers, &at, &key, &value);)
		post(rk, topic, u->partition, key, value, &w);
	while (atomic_load(&w.open) > 0) /* ends: librdkafka gives every message up after its time */
		rd_kafka_poll(rk, 10);
	leave(k->memo);
	if (atomic_load(&w.error))
		return sl_kafka_failed(k, e, (rd_kafka_resp_err_t)atomic_load(&w.error), NULL,
				       "write answers to topic '%s'", topic);
	if (!u->rt->store->ops->write(u->rt->store, &answers, 1, false, e))
		return false;
	atomic_fetch_add(&k->counters.memo_records, (int64_t)answers->count);
	return true;
}

void sl_kafka_memo_open(struct sl_kafka *k)
{
	k->memo = sl_calloc(1, sizeof *k->memo);
	sl_mutex_init(&k->memo->lock);
}

void sl_kafka_memo_close(struct sl_kafka *k)
{
	if (!k->memo)
		return;
	if (k->memo->rk)
		rd_kafka_destroy(k->memo->rk);
	sl_mutex_destroy(&k->memo->lock);
	free(k->memo);
	k->memo = NULL;
}
