/* test_transaction_errors.c -- errors to order, from librdkafka's mock cluster: how each is classified, and that the
 * next transaction works. The mock cluster knows nothing of atomicity, isolation and fencing: see test_transaction.c.
 * And it draws producer ids by lot, so that two transactional ids may have the same: every case has its own cluster. */
#include "with_transaction.h"

#include <librdkafka/rdkafka_mock.h>

struct mock {
	struct sl_topology *topology;
	struct sl_kafka k;
	rd_kafka_t *host, *consumer;
	rd_kafka_mock_cluster_t *cluster;
};

static void mock_open(struct mock *m)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct sl_error e = { 0 };
	char why[256];

	*m = (struct mock){ 0 };
	assert_int_equal(rd_kafka_conf_set(conf, "log_level", "0", why, sizeof why), 0); /* it connects to nobody */
	m->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	assert_non_null(m->host);
	m->cluster = rd_kafka_mock_cluster_new(m->host, 1);
	m->topology = sl_topology_parse("test.yaml", sl_text(TXN_TOPOLOGY), NULL, 0, &e);
	assert_non_null(m->topology);
	m->topology->stream = SL_STREAM_KAFKA;
	m->topology->kafka.brokers = rd_kafka_mock_cluster_bootstraps(m->cluster);
	m->topology->kafka.prefix = "";
	if (!sl_kafka_connect(&m->k, m->topology, &e))
		fail_msg("%s", e.text);
	rd_kafka_mock_topic_create(m->cluster, "out", 1, 1);
	conf = rd_kafka_conf_new();
	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", m->topology->kafka.brokers, why, sizeof why), 0);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", "group", why, sizeof why), 0);
	m->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	assert_non_null(m->consumer);
}

static void mock_close(struct mock *m)
{
	rd_kafka_destroy(m->consumer);
	sl_kafka_disconnect(&m->k);
	sl_topology_free(m->topology);
	rd_kafka_mock_cluster_destroy(m->cluster);
	rd_kafka_destroy(m->host);
}

enum { PRODUCE = 0, INIT = 22, PARTITIONS = 24, OFFSETS = 25, END = 26, OFFSET_COMMIT = 28 };
#define ERR(name) RD_KAFKA_RESP_ERR_##name

static const struct ordered {
	int16_t api;
	rd_kafka_resp_err_t errors[3];
	enum sl_txn_end end;
	enum sl_verdict verdict; /* with FAILED; rights that are missing stop only who has never committed */
	const char *says;
} ordered[] = {
	{ PRODUCE, { ERR(NOT_ENOUGH_REPLICAS), ERR(NOT_LEADER_FOR_PARTITION) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(KAFKA_STORAGE_ERROR), ERR(NOT_ENOUGH_REPLICAS_AFTER_APPEND) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ PRODUCE, { ERR(MSG_SIZE_TOO_LARGE) }, SL_TXN_FAILED, SL_RETRY, "max.message.bytes" },
	{ PRODUCE, { ERR(TOPIC_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_RETRY, "Write" },
	{ PRODUCE, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ PRODUCE, { ERR(OUT_OF_ORDER_SEQUENCE_NUMBER) }, SL_TXN_ABORTED, 0, NULL },
	{ PRODUCE, { ERR(UNKNOWN_PRODUCER_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ PRODUCE, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	/* an acknowledgement without an offset: committed, but somebody asked where */
	{ PRODUCE, { ERR(DUPLICATE_SEQUENCE_NUMBER) }, SL_TXN_UNKNOWN, 0, NULL },

	{ PARTITIONS, { ERR(CONCURRENT_TRANSACTIONS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(NOT_COORDINATOR), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ PARTITIONS, { ERR(TOPIC_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_RETRY, "topic 'out'" },
	{ PARTITIONS, { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_RETRY, "transactional" },
	{ PARTITIONS, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ PARTITIONS, { ERR(PRODUCER_FENCED) }, SL_TXN_FENCED, 0, NULL },
	{ PARTITIONS, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	{ PARTITIONS, { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_ABORTED, 0, NULL },

	{ OFFSETS, { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_DONE, 0, NULL },
	{ OFFSETS, { ERR(GROUP_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_RETRY, "--group" },
	{ OFFSETS, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ OFFSETS, { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSETS, { ERR(UNKNOWN) }, SL_TXN_FAILED, SL_RETRY, NULL },

	{ OFFSET_COMMIT, { ERR(NOT_COORDINATOR), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ OFFSET_COMMIT, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ OFFSET_COMMIT, { ERR(ILLEGAL_GENERATION) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(UNKNOWN_MEMBER_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(FENCED_INSTANCE_ID) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(REBALANCE_IN_PROGRESS) }, SL_TXN_ABORTED, 0, NULL },
	{ OFFSET_COMMIT, { ERR(GROUP_AUTHORIZATION_FAILED) }, SL_TXN_FAILED, SL_RETRY, "--group" },
	{ OFFSET_COMMIT, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },

	{ END, { ERR(CONCURRENT_TRANSACTIONS), ERR(COORDINATOR_LOAD_IN_PROGRESS) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(NOT_COORDINATOR) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(_TRANSPORT) }, SL_TXN_DONE, 0, NULL },
	{ END, { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED, 0, NULL },
	{ END, { ERR(PRODUCER_FENCED) }, SL_TXN_FENCED, 0, NULL },
	{ END, { ERR(INVALID_TXN_STATE) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(UNKNOWN) }, SL_TXN_UNKNOWN, 0, NULL },
	{ END, { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_TXN_UNKNOWN, 0, NULL },
};

static void push(struct mock *m, int16_t api, const rd_kafka_resp_err_t errors[3])
{
	size_t count = 0;

	while (count < 3 && errors[count])
		count++;
	rd_kafka_mock_push_request_errors_array(m->cluster, api, count, errors);
}

static void error_has_class(const struct ordered *row)
{
	const char *name = rd_kafka_err2name(row->errors[0]);
	struct sl_error e = { 0 };
	int64_t last = -1;
	enum sl_txn_end end;
	struct sl_txn *t;
	struct mock m;

	mock_open(&m);
	t = opened(&m.k, kafka_unique());
	works(t, "out"); /* so that it is known to have the rights */
	push(&m, row->api, row->errors);
	sl_txn_begin(t);
	text(t, "out", "k", "v", &last);
	sl_txn_offset(t, "in", 0, 1);
	end = sl_txn_commit(t, m.consumer, &e);
	if (end != row->end || (end == SL_TXN_FAILED && e.verdict != row->verdict) ||
	    (row->says && !strstr(e.text, row->says)))
		fail_msg("%s of request %d: ended %d, verdict %d: %s", name, row->api, end, e.verdict, e.text);
	if (end != SL_TXN_FENCED) {
		sl_txn_begin(t);
		text(t, "out", "k", "v", NULL);
		end = sl_txn_commit(t, NULL, &e);
		if (row->errors[0] == ERR(DUPLICATE_SEQUENCE_NUMBER) && end == SL_TXN_ABORTED) {
			works(t, "out"); /* the mock cluster had not taken the first one, after all */
			end = SL_TXN_DONE;
		}
		if (end != SL_TXN_DONE)
			fail_msg("behind %s of request %d: ended %d: %s", name, row->api, end, e.text);
	}
	sl_txn_close(t);
	mock_close(&m);
}

static void errors_have_classes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof ordered / sizeof *ordered; i++)
		error_has_class(&ordered[i]);
}

static void errors_of_abort(void **state)
{
	static const struct {
		rd_kafka_resp_err_t errors[3];
		enum sl_txn_end end;
	} rows[] = {
		{ { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(CONCURRENT_TRANSACTIONS) }, SL_TXN_ABORTED },
		{ { ERR(NOT_COORDINATOR) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_TXN_STATE) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_PRODUCER_ID_MAPPING) }, SL_TXN_ABORTED },
		{ { ERR(UNKNOWN) }, SL_TXN_ABORTED },
		{ { ERR(INVALID_PRODUCER_EPOCH) }, SL_TXN_FENCED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		struct sl_txn *t;
		struct mock m;

		mock_open(&m);
		t = opened(&m.k, kafka_unique());
		push(&m, END, rows[i].errors);
		sl_txn_begin(t);
		text(t, "out", "k", "v", NULL);
		ends(sl_txn_abort(t, &e), rows[i].end, &e);
		if (rows[i].end != SL_TXN_FENCED)
			works(t, "out");
		sl_txn_close(t);
		mock_close(&m);
	}
}

static void errors_of_open(void **state)
{
	static const struct {
		rd_kafka_resp_err_t errors[3];
		enum sl_verdict verdict; /* SL_OK: it opens */
		const char *says;
	} rows[] = {
		{ { ERR(TRANSACTIONAL_ID_AUTHORIZATION_FAILED) }, SL_STOP, "Write and Describe" },
		{ { ERR(CLUSTER_AUTHORIZATION_FAILED) }, SL_STOP, "IdempotentWrite" },
		{ { ERR(INVALID_TRANSACTION_TIMEOUT) }, SL_STOP, "transaction.max.timeout.ms" },
		{ { ERR(COORDINATOR_LOAD_IN_PROGRESS), ERR(NOT_COORDINATOR), ERR(CONCURRENT_TRANSACTIONS) },
		  SL_OK,
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		struct sl_txn *t;
		struct mock m;

		mock_open(&m);
		push(&m, INIT, rows[i].errors);
		t = sl_txn_open(&m.k, kafka_unique(), &e);
		if (rows[i].verdict == SL_OK) {
			if (!t)
				fail_msg("%s", e.text);
			works(t, "out");
			sl_txn_close(t);
		} else {
			assert_null(t);
			assert_int_equal(e.verdict, rows[i].verdict);
			if (!strstr(e.text, rows[i].says))
				fail_msg("'%s' does not say '%s'", e.text, rows[i].says);
		}
		mock_close(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_have_classes),
		cmocka_unit_test(errors_of_abort),
		cmocka_unit_test(errors_of_open),
	};

	return cmocka_run_group_tests_name("errors of transactions", tests, NULL, NULL);
}
