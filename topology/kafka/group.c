/* group.c -- a consumer that is a member of a group, under both rebalance protocols.
 *
 * Below librdkafka 2.10 a commit during a cooperative rebalance may lose the assignment (librdkafka #4059, cured by
 * #4908), so there it is the eager `range`; from 2.10 on cooperative-sticky. All members of a group must speak
 * the same protocol: mixed versions of librdkafka in one group are refused by the brokers, which says so.
 *
 * What the consumer reads is not what the group gave us but the part of it that is restored: librdkafka allows
 * to assign less. A rebalance is answered with nothing to read, and partitions are added when they are ready, at an
 * offset of our own: the committed offsets that the consumer would look up itself are not asked for. */
#include "member.h"

#define COOPERATIVE_SINCE 0x020a0000

static bool has_property(const struct sl_topology *t, const char *name)
{
	for (size_t i = 0; i < t->kafka.property_count; i++)
		if (strcmp(t->kafka.properties[i].name, name) == 0)
			return true;
	return false;
}

rd_kafka_t *sl_group_open(struct sl_kafka *k, const char *group, void (*prepare)(rd_kafka_conf_t *conf, void *arg),
			  void *arg, struct sl_error *e)
{
	const char *const settings[] = {
		"group.id",
		group,
		"partition.assignment.strategy",
		rd_kafka_version() >= COOPERATIVE_SINCE ? "cooperative-sticky" : "range",
		"enable.partition.eof",
		"true",
		"statistics.interval.ms",
		"5000",
		/* A partition's end is told when a fetch came back empty: after this. Who says so otherwise is heard.
		 */
		has_property(k->topology, "fetch.wait.max.ms") ? NULL : "fetch.wait.max.ms",
		"100",
		NULL,
	};

	rd_kafka_t *rk = sl_kafka_client(k, RD_KAFKA_CONSUMER, settings, prepare, arg, e);

	/* Errors and statistics come with the rest, to rd_kafka_consumer_poll; else nobody would fetch them. */
	if (rk)
		rd_kafka_poll_set_consumer(rk);
	return rk;
}

bool sl_group_subscribe(struct sl_kafka *k, rd_kafka_t *rk, const char *topic, struct sl_error *e)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
	code = rd_kafka_subscribe(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
	       sl_kafka_failed(k, e, code, NULL, "subscribe to topic '%s'", topic);
}

bool sl_group_cooperative(rd_kafka_t *rk)
{
	const char *protocol = rd_kafka_rebalance_protocol(rk);

	return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

static bool done(struct sl_kafka *k, rd_kafka_error_t *error, struct sl_error *e)
{
	if (!error)
		return true;
	sl_kafka_failed(k, e, rd_kafka_error_code(error), rd_kafka_error_string(error), "assign partitions");
	rd_kafka_error_destroy(error);
	return false;
}

bool sl_group_assign(struct sl_kafka *k, rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *parts,
		     struct sl_error *e)
{
	rd_kafka_resp_err_t code;

	if (parts && sl_group_cooperative(rk))
		return done(k, rd_kafka_incremental_assign(rk, parts), e);
	code = rd_kafka_assign(rk, parts);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR || sl_kafka_failed(k, e, code, NULL, "assign partitions");
}

bool sl_group_unassign(struct sl_kafka *k, rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *parts,
		       struct sl_error *e)
{
	return done(k, rd_kafka_incremental_unassign(rk, parts), e);
}

void sl_group_close(rd_kafka_t *rk, rd_kafka_queue_t *events)
{
	if (!rk)
		return;
	if (events) {
		rd_kafka_queue_cb_event_enable(events, NULL, NULL);
		rd_kafka_queue_destroy(events);
	}
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}
