/* test_metrics.c -- counters and librdkafka's statistics as Prometheus lines and JSON. Needs no broker. */
#include "tests/exposition.h"
#include "topology/kafka/kafka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>
#include <cmocka.h>

struct world {
	struct sl_topology topology;
	struct sl_runtime rt;
	struct sl_kafka k;
};

static struct world *open_world(void)
{
	struct world *w = sl_calloc(1, sizeof *w);

	w->topology.kafka.brokers = "b1:9092";
	w->rt.topology = w->k.topology = &w->topology;
	w->rt.kafka = &w->k;
	w->k.rt = &w->rt;
	w->k.self = &w->k;
	snprintf(w->k.app, sizeof w->k.app, "p.small");
	sl_mutex_init(&w->k.lock);
	return w;
}

static void close_world(struct world *w)
{
	sl_kafka_statistics_free(&w->k);
	sl_mutex_destroy(&w->k.lock);
	free(w);
}

static void expect(struct world *w, const char *line)
{
	struct sl_buf text = { 0 };

	sl_kafka_metrics(&w->rt, &text);
	if (!strstr(sl_buf_text(&text), line))
		fail_msg("no line '%s' in\n%s", line, sl_buf_text(&text));
	sl_buf_release(&text);
}

static void refuse(struct world *w, const char *line)
{
	struct sl_buf text = { 0 };

	sl_kafka_metrics(&w->rt, &text);
	if (strstr(sl_buf_text(&text), line))
		fail_msg("'%s' in\n%s", line, sl_buf_text(&text));
	sl_buf_release(&text);
}

static void statistics(struct world *w, const char *client, const char *json)
{
	sl_kafka_statistics(&w->k, client, json, strlen(json));
}

static void counters_are_lines(void **unused)
{
	struct world *w = open_world();

	(void)unused;
	expect(w, "sluice_transactions_total{end=\"aborted\"} 0\n"); /* a series that exists is there from the start */
	atomic_store(&w->k.counters.committed, 7);
	atomic_store(&w->k.counters.unknown, 2);
	atomic_store(&w->k.counters.commit_ns, 1500000000);
	atomic_store(&w->k.counters.commit_buckets[0], 4);
	atomic_store(&w->k.counters.commit_buckets[3], 2);
	atomic_store(&w->k.counters.commit_buckets[11], 1);
	atomic_store(&w->k.counters.restoring, 3);
	atomic_store(&w->k.counters.restore_ns, 250000000);
	atomic_store(&w->k.leader, true);
	expect(w, "sluice_transactions_total{end=\"committed\"} 7\n");
	expect(w, "sluice_transactions_total{end=\"unknown\"} 2\n");
	expect(w, "sluice_commit_latency_seconds_bucket{le=\"0.005\"} 4\n");
	expect(w, "sluice_commit_latency_seconds_bucket{le=\"0.02\"} 4\n");
	expect(w, "sluice_commit_latency_seconds_bucket{le=\"0.05\"} 6\n");
	expect(w, "sluice_commit_latency_seconds_bucket{le=\"15\"} 6\n");
	expect(w, "sluice_commit_latency_seconds_bucket{le=\"+Inf\"} 7\n");
	expect(w, "sluice_commit_latency_seconds_sum 1.500000\n");
	expect(w, "sluice_commit_latency_seconds_count 7\n");
	expect(w, "sluice_restore_tasks 3\n");
	expect(w, "sluice_restore_seconds_total 0.250000\n");
	expect(w, "sluice_leader 1\n");
	expect(w, "sluice_brokers_trouble 0\n");
	close_world(w);
}

/* What Prometheus refuses otherwise. */
static void the_text_is_well_formed(void **unused)
{
	struct world *w = open_world();
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	(void)unused;
	statistics(w, "a", "{\"eos\": {\"txn_state\": \"Ready\"}}");
	statistics(w, "b", "{\"cgrp\": {\"state\": \"up\"}}");
	sl_kafka_metrics(&w->rt, &text);
	if (!sl_exposition_check(sl_buf_text(&text), &e))
		fail_msg("%s in\n%s", e.text, sl_buf_text(&text));
	sl_buf_release(&text);
	close_world(w);
}

static void statistics_are_reduced(void **unused)
{
	struct world *w = open_world();

	(void)unused;
	statistics(w, "p.small#producer-2",
		   "{\"msg_cnt\": 12, \"eos\": {\"idemp_state\": \"Assigned\", \"txn_state\": \"InTransaction\","
		   " \"producer_epoch\": 5}, \"brokers\": {"
		   "\"b1\": {\"outbuf_cnt\": 2, \"rtt\": {\"p99\": 1500}, \"int_latency\": {\"p99\": 4000},"
		   " \"throttle\": {\"max\": 0}},"
		   "\"b2\": {\"outbuf_cnt\": 1, \"rtt\": {\"p99\": 900}, \"throttle\": {\"max\": 250}}}}");
	statistics(w, "p.small#consumer-3", "{\"cgrp\": {\"state\": \"up\", \"rebalance_cnt\": 4}}");
	expect(w, "sluice_kafka_transaction_state{client=\"p.small#producer-2\",state=\"InTransaction\"} 1\n");
	expect(w, "sluice_kafka_idempotence_state{client=\"p.small#producer-2\",state=\"Assigned\"} 1\n");
	expect(w, "sluice_kafka_group_state{client=\"p.small#consumer-3\",state=\"up\"} 1\n");
	refuse(w, "sluice_kafka_group_state{client=\"p.small#producer-2\"");
	expect(w, "sluice_kafka_producer_epoch{client=\"p.small#producer-2\"} 5\n");
	expect(w, "sluice_kafka_queued_messages{client=\"p.small#producer-2\"} 12\n");
	expect(w, "sluice_kafka_outbuf_requests{client=\"p.small#producer-2\"} 3\n");
	expect(w, "sluice_kafka_rtt_p99_seconds{client=\"p.small#producer-2\"} 0.0015\n");
	expect(w, "sluice_kafka_queue_latency_p99_seconds{client=\"p.small#producer-2\"} 0.004\n");
	expect(w, "sluice_kafka_throttle_max_seconds{client=\"p.small#producer-2\"} 0.25\n");
	expect(w, "sluice_kafka_group_rebalances_total{client=\"p.small#consumer-3\"} 4\n");
	/* the next ones of a handle replace its last */
	statistics(w, "p.small#producer-2", "{\"eos\": {\"txn_state\": \"Ready\"}}");
	expect(w, "sluice_kafka_transaction_state{client=\"p.small#producer-2\",state=\"Ready\"} 1\n");
	refuse(w, "InTransaction");
	expect(w, "sluice_kafka_queued_messages{client=\"p.small#producer-2\"} 0\n");
	refuse(w, "sluice_kafka_queued_messages{client=\"p.small#consumer-3\"}");
	refuse(w, "sluice_kafka_group_rebalances_total{client=\"p.small#producer-2\"}");
	close_world(w);
}

static void strange_statistics_do_no_harm(void **unused)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"12",
		"{\"eos\": 3, \"cgrp\": [], \"brokers\": \"none\", \"msg_cnt\": \"many\"}",
		"{\"msg_cnt\": -5, \"brokers\": {\"b\": 7, \"c\": {\"rtt\": []}}}",
		"{\"msg_cnt\": 99999999999999999999999}",
		"{\"eos\": {\"txn_state\": \"a\\\"} 1\\nsluice_forged 1\\n\"}}",
		"{\"eos\": {\"txn_state\": "
		"\"0123456789012345678901234567890123456789012345678901234567890123456789\"}}",
	};
	struct world *w = open_world();

	(void)unused;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		statistics(w, "x\"}\n y", texts[i]);
	refuse(w, "\nsluice_forged");
	refuse(w, "x\"}");
	expect(w, "{client=\"x????y\"");
	for (int i = 0; i < 2000; i++) { /* handles without end */
		char name[32];

		snprintf(name, sizeof name, "c%d", i);
		statistics(w, name, "{}");
	}
	refuse(w, "{client=\"c3\"}");
	expect(w, "{client=\"c1999\"}");
	close_world(w);
}

static void status_is_json(void **unused)
{
	struct world *w = open_world();
	struct sl_buf text = { 0 };
	json_t *root;

	(void)unused;
	atomic_store(&w->k.counters.fenced, 3);
	atomic_store(&w->k.counters.restore_left, 17);
	sl_kafka_describe(&w->rt, &text);
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "kind")), "kafka");
	assert_string_equal(json_string_value(json_object_get(root, "brokers")), "b1:9092");
	assert_string_equal(json_string_value(json_object_get(root, "application")), "p.small");
	assert_true(json_is_false(json_object_get(root, "leader")));
	assert_null(json_object_get(root, "trouble"));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "transactions"), "fenced")), 3);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "restore"), "left")), 17);
	assert_int_equal(json_array_size(json_object_get(root, "members")), 0);
	json_decref(root);
	sl_buf_release(&text);
	close_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_are_lines),     cmocka_unit_test(the_text_is_well_formed),
		cmocka_unit_test(statistics_are_reduced), cmocka_unit_test(strange_statistics_do_no_harm),
		cmocka_unit_test(status_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
