/* admin.c -- what is asked of the brokers beside reading and writing: ends of partitions, letting records go, a
 * setting. (What groups have committed: offsets.c. Making and comparing topics: topics.c.)
 *
 * Two ends. A consumer is told of a partition's end by its isolation level: read_committed gets the last
 * stable offset, where the first open transaction begins; read_uncommitted the high watermark. So there are two
 * handles, k->admin and k->raw_ends.
 *
 * Threads: any; nothing is kept between calls. */
#include "admin.h"

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MS 10000
#define SLICE_MS 100
#define ENDS_MS 5000

/* -- asking ---------------------------------------------------------------------------------- */

void sl_ask_begin(struct sl_ask *a, struct sl_kafka *k, rd_kafka_admin_op_t op)
{
	char text[200];
	rd_kafka_resp_err_t code;

	*a = (struct sl_ask){ .k = k, .queue = rd_kafka_queue_new(k->admin) };
	a->options = rd_kafka_AdminOptions_new(k->admin, op);
	code = rd_kafka_AdminOptions_set_request_timeout(a->options, ANSWER_MS, text, sizeof text);
	assert(!code);
}

bool sl_ask_answer(struct sl_ask *a, struct sl_error *e, const char *what, ...)
{
	char task[SL_ID_MAX + 100];
	va_list args;

	va_start(args, what);
	vsnprintf(task, sizeof task, what, args);
	va_end(args);
	while (!(a->event = rd_kafka_queue_poll(a->queue, SLICE_MS))) {
		rd_kafka_poll(a->k->admin, 0);
		if (sl_kafka_stopping(a->k))
			return sl_error_set(e, SL_RETRY, "cannot %s: stopped while waiting for the answer", task);
	}
	rd_kafka_poll(a->k->admin, 0);
	if (rd_kafka_event_error(a->event))
		return sl_kafka_failed(a->k, e, rd_kafka_event_error(a->event), rd_kafka_event_error_string(a->event),
				       "%s", task);
	sl_kafka_answered(a->k);
	return true;
}

void sl_ask_end(struct sl_ask *a)
{
	if (a->event)
		rd_kafka_event_destroy(a->event);
	rd_kafka_AdminOptions_destroy(a->options);
	rd_kafka_queue_destroy(a->queue);
	*a = (struct sl_ask){ 0 };
}

/* -- ends -------------------------------------------------------------------------------------- */

/* True: ask again, the leader has moved. librdkafka keeps answering from what it knew of leaders until that is 15
 * minutes old, and a refusal does not make these handles, which read no topic, look again: so they are told to. */
static bool moved(rd_kafka_t *rk, const char *topic, rd_kafka_resp_err_t code, int64_t until_ns)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *rkt;

	switch (code) {
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
		break;
	default:
		return false;
	}
	rkt = rd_kafka_topic_new(rk, topic, NULL);
	if (rkt && !rd_kafka_metadata(rk, 0, rkt, &metadata, ENDS_MS))
		rd_kafka_metadata_destroy(metadata);
	if (rkt)
		rd_kafka_topic_destroy(rkt);
	if (sl_monotonic_ns() >= until_ns)
		return false;
	poll(NULL, 0, SLICE_MS);
	return true;
}

bool sl_kafka_ends(struct sl_kafka *k, const char *topic, int32_t partition, bool committed, int64_t *start,
		   int64_t *end, struct sl_error *e)
{
	rd_kafka_t *rk = committed ? k->admin : k->raw_ends;
	int64_t until_ns = sl_monotonic_ns() + ENDS_MS * INT64_C(1000000);
	rd_kafka_resp_err_t code;

	do {
		code = rd_kafka_query_watermark_offsets(rk, topic, partition, start, end, ENDS_MS);
		rd_kafka_poll(rk, 0);
	} while (code && !sl_kafka_stopping(k) && moved(rk, topic, code, until_ns));
	if (code)
		return sl_kafka_failed(k, e, code, NULL, "look where topic '%s' [%d] ends", topic, (int)partition);
	sl_kafka_answered(k);
	return true;
}

/* The offset that each partition has at a logical one (the first kept, or the end). */
static rd_kafka_resp_err_t logical_offsets(rd_kafka_t *rk, const char *topic, int32_t count, int64_t logical,
					   int64_t *offsets)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	rd_kafka_resp_err_t code;

	for (int32_t p = 0; p < count; p++)
		rd_kafka_topic_partition_list_add(list, topic, p)->offset = logical;
	code = rd_kafka_offsets_for_times(rk, list, ENDS_MS);
	for (int i = 0; i < list->cnt && !code; i++) {
		code = list->elems[i].err;
		assert(list->elems[i].partition >= 0 && list->elems[i].partition < count);
		offsets[list->elems[i].partition] = list->elems[i].offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return code;
}

bool sl_kafka_ends_all(struct sl_kafka *k, const char *topic, int32_t count, bool committed, int64_t *starts,
		       int64_t *ends, struct sl_error *e)
{
	rd_kafka_t *rk = committed ? k->admin : k->raw_ends;
	int64_t until_ns = sl_monotonic_ns() + ENDS_MS * INT64_C(1000000);
	rd_kafka_resp_err_t code;

	do {
		code = logical_offsets(rk, topic, count, RD_KAFKA_OFFSET_BEGINNING, starts);
		if (!code)
			code = logical_offsets(rk, topic, count, RD_KAFKA_OFFSET_END, ends);
		rd_kafka_poll(rk, 0);
	} while (code && !sl_kafka_stopping(k) && moved(rk, topic, code, until_ns));
	if (code)
		return sl_kafka_failed(k, e, code, NULL, "look where topic '%s' ends", topic);
	sl_kafka_answered(k);
	return true;
}

/* -- letting go ---------------------------------------------------------------------------------- */

bool sl_kafka_purge(struct sl_kafka *k, const char *topic, int32_t partition, int64_t offset, struct sl_error *e)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	const rd_kafka_topic_partition_list_t *results;
	rd_kafka_DeleteRecords_t *request;
	struct sl_ask a;
	bool ok;

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
	request = rd_kafka_DeleteRecords_new(list);
	sl_ask_begin(&a, k, RD_KAFKA_ADMIN_OP_DELETERECORDS);
	rd_kafka_DeleteRecords(k->admin, &request, 1, a.options, a.queue);
	ok = sl_ask_answer(&a, e, "purge topic '%s' [%d]", topic, (int)partition);
	if (ok) {
		results = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(a.event));
		if (results->cnt != 1 || results->elems[0].err)
			ok = sl_kafka_failed(k, e,
					     results->cnt == 1 ? results->elems[0].err : RD_KAFKA_RESP_ERR_UNKNOWN,
					     NULL, "purge topic '%s' [%d]", topic, (int)partition);
	}
	sl_ask_end(&a);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	return ok;
}

/* -- a setting ------------------------------------------------------------------------------------- */

const char *sl_config_value(const rd_kafka_ConfigResource_t *of, const char *name)
{
	size_t n;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(of, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
			return rd_kafka_ConfigEntry_value(entries[i]);
	return NULL;
}

/* The milliseconds in the answer about one topic. */
static bool read_retention(struct sl_ask *a, const char *topic, int64_t *ms, struct sl_error *e)
{
	size_t n;
	const rd_kafka_ConfigResource_t **of =
		rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(a->event), &n);
	rd_kafka_resp_err_t code = n == 1 ? rd_kafka_ConfigResource_error(of[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
	const char *value;
	char *end;

	if (code)
		return sl_kafka_failed(a->k, e, code, n == 1 ? rd_kafka_ConfigResource_error_string(of[0]) : NULL,
				       "read the settings of topic '%s'", topic);
	value = sl_config_value(of[0], "delete.retention.ms");
	*ms = value ? strtoll(value, &end, 10) : -1;
	if (!value || *end || *ms < 0)
		return sl_error_set(e, SL_STOP, "topic '%s' has a delete.retention.ms of '%s', which is no number",
				    topic, value ? value : "");
	return true;
}

bool sl_kafka_delete_retention(struct sl_kafka *k, const char *topic, int64_t *ms, struct sl_error *e)
{
	rd_kafka_ConfigResource_t *request = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	struct sl_ask a;
	bool ok;

	sl_ask_begin(&a, k, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_DescribeConfigs(k->admin, &request, 1, a.options, a.queue);
	ok = sl_ask_answer(&a, e, "read the settings of topic '%s'", topic) && read_retention(&a, topic, ms, e);
	sl_ask_end(&a);
	rd_kafka_ConfigResource_destroy(request);
	return ok;
}
