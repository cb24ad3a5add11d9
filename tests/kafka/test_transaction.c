/* test_transaction.c -- what a real broker makes of transactions: atomicity, fencing, generations, limits. How errors
 * are classified is in test_transaction_errors.c, brokers that fall silent or die in test_transaction_outage.c. */
#include "with_transaction.h"

/* Only when polled, so a consumer that is not keeps thinking that it has what it lost. */
static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	(void)opaque;
	rd_kafka_assign(rk, err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? list : NULL);
}

/* A consumer with a group; subscribed where topic is not NULL. */
static rd_kafka_t *grouped(const char *group, const char *topic)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list;
	char why[256];
	rd_kafka_t *rk;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", kafka_bootstrap(), why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", group, why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "session.timeout.ms", "6000", why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "max.poll.interval.ms", "6000", why, sizeof why), 0);
	rd_kafka_conf_set_rebalance_cb(conf, rebalance);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	assert_non_null(rk);
	rd_kafka_poll_set_consumer(rk);
	if (topic) {
		list = rd_kafka_topic_partition_list_new(1);
		rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
		assert_int_equal(rd_kafka_subscribe(rk, list), 0);
		rd_kafka_topic_partition_list_destroy(list);
	}
	return rk;
}

/* What a group has committed of partition 0. */
static int64_t committed(const char *group, const char *topic)
{
	rd_kafka_t *rk = grouped(group, NULL);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t offset;

	rd_kafka_topic_partition_list_add(list, topic, 0);
	assert_int_equal(rd_kafka_committed(rk, list, 30000), 0);
	offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
	return offset < 0 ? -1 : offset;
}

static bool has_assignment(void *arg)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_message_t *m = rd_kafka_consumer_poll(arg, 50);
	int count;

	if (m)
		rd_kafka_message_destroy(m);
	assert_int_equal(rd_kafka_assignment(arg, &list), 0);
	count = list->cnt;
	rd_kafka_topic_partition_list_destroy(list);
	return count > 0;
}

static void commit_is_one(void **state)
{
	struct kafka_test kt;
	const char *a, *b, *in, *group = kafka_unique();
	struct sl_buf headers = { 0 };
	int64_t last = -1, other = -1, time_ms = sl_wall_ms() - 12345; /* not so old that retention takes it */
	struct kafka_seen seen;
	struct sl_txn *t;
	rd_kafka_t *consumer;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	a = new_topic(2), b = new_topic(1), in = new_topic(1);
	consumer = grouped(group, NULL);
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	text(t, a, "k1", "one", &last);
	text(t, a, "k2", "", &last);
	text(t, b, "k3", "three", &other);
	sl_txn_produce(t, a, 0, &(struct sl_record){ .key = sl_text("k1") }, &last);
	sl_header_add(&headers, "h", sl_text("value"));
	sl_txn_produce(t, a, 1,
		       &(struct sl_record){ .time_ms = time_ms,
					    .key = sl_text("k"),
					    .value = sl_text("v"),
					    .headers = sl_buf_bytes(&headers) },
		       NULL);
	sl_txn_offset(t, in, 0, 7);
	sl_txn_offset(t, in, 0, 42);
	assert_seen(a, "");
	assert_int_equal(committed(group, in), -1);
	commits(t, consumer, SL_TXN_DONE);
	assert_int_equal(last, 2);
	assert_int_equal(other, 0);
	settle(&kt.k, a);
	assert_seen(a, "k1=one k2= k1=-");
	settle(&kt.k, b);
	assert_seen(b, "k3=three");
	assert_int_equal(committed(group, in), 42);
	kafka_read(a, 1, true, &seen);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.records[0].time_ms, time_ms);
	assert_true(sl_is(sl_header_find(seen.records[0].headers, "h"), "value"));
	kafka_seen_release(&seen);

	sl_txn_begin(t); /* offsets alone, then nothing at all */
	sl_txn_offset(t, in, 0, 43);
	commits(t, consumer, SL_TXN_DONE);
	assert_int_equal(committed(group, in), 43);
	sl_txn_begin(t);
	commits(t, NULL, SL_TXN_DONE);
	assert_int_equal(kt.k.counters.committed, 3);
	assert_true(kt.k.counters.commit_ns > 0);
	int64_t sum = 0;
	for (size_t i = 0; i < 12; i++)
		sum += kt.k.counters.commit_buckets[i];
	assert_int_equal(sum, 3);

	sl_buf_release(&headers);
	sl_txn_close(t);
	rd_kafka_destroy(consumer);
	kafka_test_close(&kt);
}

/* Also straight behind a commit whose markers are still being written (librdkafka #4849). */
static void abort_is_nothing(void **state)
{
	struct sl_error e = { 0 };
	struct kafka_test kt;
	const char *topic, *group = kafka_unique();
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	topic = new_topic(1);
	t = opened(&kt.k, kafka_unique());
	for (int i = 0; i < 10; i++) {
		sl_txn_begin(t);
		text(t, topic, "kept", "1", NULL);
		commits(t, NULL, SL_TXN_DONE);
		sl_txn_begin(t);
		text(t, topic, "dropped", "1", NULL);
		if (i % 2)
			sl_txn_offset(t, topic, 0, 1);
		ends(sl_txn_abort(t, &e), SL_TXN_ABORTED, &e);
	}
	sl_txn_begin(t);
	ends(sl_txn_abort(t, &e), SL_TXN_ABORTED, &e);
	settle(&kt.k, topic);
	assert_seen(topic, "kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1 kept=1");
	assert_int_equal(committed(group, topic), -1);
	assert_int_equal(kt.k.counters.aborted, 11);
	sl_txn_begin(t); /* close aborts what is open */
	text(t, topic, "dropped", "2", NULL);
	sl_txn_close(t);
	t = opened(&kt.k, kafka_unique());
	works(t, topic);
	sl_txn_close(t);
	kafka_test_close(&kt);
}

static void second_opener_fences(void **state)
{
	struct sl_error e = { 0 };
	struct kafka_test kt;
	const char *topic, *id = kafka_unique();
	struct sl_txn *first, *second, *third;
	int64_t last = -1;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	topic = new_topic(1);
	first = opened(&kt.k, id);
	sl_txn_begin(first);
	text(first, topic, "first", "1", &last);
	second = opened(&kt.k, id);
	text(first, topic, "first", "2", &last);
	commits(first, NULL, SL_TXN_FENCED);
	sl_txn_begin(first); /* of no more use, but harmless */
	text(first, topic, "first", "3", &last);
	commits(first, NULL, SL_TXN_FENCED);
	sl_txn_begin(first);
	ends(sl_txn_abort(first, &e), SL_TXN_FENCED, &e);
	assert_int_equal(kt.k.counters.fenced, 1);
	works(second, topic);
	third = opened(&kt.k, id); /* fenced while nothing is open: told by the next commit, or abort */
	sl_txn_begin(second);
	text(second, topic, "second", "1", NULL);
	ends(sl_txn_abort(second, &e), SL_TXN_FENCED, &e);
	works(third, topic);
	settle(&kt.k, topic);
	assert_seen(topic, "k=works k=works");
	sl_txn_close(first);
	sl_txn_close(second);
	sl_txn_close(third);
	kafka_test_close(&kt);
}

struct joining {
	rd_kafka_t *zombie, *heir;
};

static bool heir_has_it(void *arg)
{
	return has_assignment(((struct joining *)arg)->heir);
}

static bool has_lost_it(void *arg)
{
	return rd_kafka_assignment_lost(arg);
}

/* A member that does not poll loses its partition to another; what it read before is not its to commit. */
static void zombie_is_refused(void **state)
{
	const char *group = kafka_unique(), *in, *out;
	struct joining both;
	struct kafka_test kt;
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	in = new_topic(1), out = new_topic(1);
	both.zombie = grouped(group, in);
	assert_true(kafka_within(60, has_assignment, both.zombie));
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	text(t, out, "k", "1", NULL);
	sl_txn_offset(t, in, 0, 1);
	commits(t, both.zombie, SL_TXN_DONE);

	assert_true(kafka_within(60, has_lost_it, both.zombie)); /* it has not been told yet */
	sl_txn_begin(t);
	text(t, out, "k", "2", NULL);
	sl_txn_offset(t, in, 0, 2);
	commits(t, both.zombie, SL_TXN_ABORTED);
	both.heir = grouped(group, in);
	assert_true(kafka_within(60, heir_has_it, &both));
	sl_txn_begin(t);
	text(t, out, "k", "3", NULL);
	sl_txn_offset(t, in, 0, 3);
	commits(t, both.zombie, SL_TXN_ABORTED);
	sl_txn_begin(t);
	text(t, out, "k", "4", NULL);
	sl_txn_offset(t, in, 0, 4);
	commits(t, both.heir, SL_TXN_DONE);
	settle(&kt.k, out);
	assert_seen(out, "k=1 k=4");
	assert_int_equal(committed(group, in), 4);
	sl_txn_close(t);
	rd_kafka_destroy(both.heir);
	rd_kafka_destroy(both.zombie);
	kafka_test_close(&kt);
}

static void set_topic(rd_kafka_t *rk, const char *topic, const char *name, const char *value)
{
	rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_event_t *event;

	rd_kafka_ConfigResource_set_config(r, name, value);
	rd_kafka_AlterConfigs(rk, &r, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, 30000);
	assert_non_null(event);
	assert_int_equal(rd_kafka_event_error(event), 0);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_ConfigResource_destroy(r);
}

struct fitting {
	struct sl_txn *t;
	const char *topic;
	const struct sl_record *r;
};

static bool fits_now(void *arg)
{
	struct fitting *f = arg;
	struct sl_error e;
	enum sl_txn_end end;

	sl_txn_begin(f->t);
	sl_txn_produce(f->t, f->topic, 0, f->r, NULL);
	end = sl_txn_commit(f->t, NULL, &e);
	assert_true(end == SL_TXN_DONE || end == SL_TXN_FAILED);
	return end == SL_TXN_DONE;
}

/* Named with size and cure; cured, it goes on without a restart. */
static void too_large_for_topic(void **state)
{
	const char *topic = kafka_unique();
	struct kafka_test kt;
	struct sl_error e;
	struct sl_txn *t;
	struct sl_record r;
	uint8_t noise[5000]; /* that no compression makes fit */
	uint32_t x = 1;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	kafka_create(topic, 1, (const char *const[]){ "max.message.bytes", "2000", NULL });
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	r = (struct sl_record){ .key = sl_text("k"), .value = { noise, sizeof noise } };
	t = opened(&kt.k, kafka_unique());
	works(t, topic);
	sl_txn_begin(t);
	sl_txn_produce(t, topic, 0, &r, NULL);
	ends(sl_txn_commit(t, NULL, &e), SL_TXN_FAILED, &e);
	assert_int_equal(e.verdict, SL_RETRY);
	assert_non_null(strstr(e.text, topic));
	assert_non_null(strstr(e.text, "5001 bytes"));
	assert_non_null(strstr(e.text, "max.message.bytes="));
	works(t, topic);
	set_topic(kt.k.admin, topic, "max.message.bytes", "100000");
	assert_true(kafka_within(30, fits_now, &(struct fitting){ t, topic, &r }));
	sl_txn_close(t);
	kafka_test_close(&kt);
}

/* More than librdkafka's queue holds, and a topic that does not exist. */
static void many_records(void **state)
{
	enum { MANY = 120000 };
	int64_t last = -1, first = -1;
	struct kafka_test kt;
	const char *topic;
	struct sl_error e;
	struct sl_txn *t;

	(void)state;
	kafka_test_open(&kt, TXN_TOPOLOGY);
	topic = new_topic(1);
	t = opened(&kt.k, kafka_unique());
	sl_txn_begin(t);
	for (int i = 0; i < MANY; i++)
		text(t, topic, "k", "a value of some length", i == 0 ? &first : &last);
	commits(t, NULL, SL_TXN_DONE);
	assert_int_equal(first, 0);
	assert_int_equal(last, MANY - 1);
	settle(&kt.k, topic);
	assert_int_equal(high(kt.k.raw_ends, topic), MANY + 1); /* and the marker */

	sl_txn_begin(t);
	text(t, topic, "k", "1", NULL);
	text(t, kafka_unique(), "k", "1", NULL);
	ends(sl_txn_commit(t, NULL, &e), SL_TXN_FAILED, &e);
	works(t, topic);
	sl_txn_close(t);
	kafka_test_close(&kt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit_is_one),        cmocka_unit_test(abort_is_nothing),
		cmocka_unit_test(second_opener_fences), cmocka_unit_test(zombie_is_refused),
		cmocka_unit_test(too_large_for_topic),  cmocka_unit_test(many_records),
	};

	return cmocka_run_group_tests_name("transaction", tests, NULL, NULL);
}
