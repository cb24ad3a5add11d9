/* offsets.c -- what consumer groups have committed.
 *
 * Stable offsets. A group's offset that a transaction has sent and not yet committed is neither there nor not: the
 * broker says UNSTABLE_OFFSET_COMMIT, and we ask again until it is decided, at the latest when the brokers
 * abort it (transaction.timeout.ms).
 *
 * Every group is asked through a consumer of its own that never joins it. The Admin API has a request for any group,
 * but in every librdkafka up to now those to a coordinator end the process ("Assertion `eonce->refcnt > 0' failed")
 * when the broker goes away at the wrong moment (#4605, #5397), and another when it has moved (#5040). What a consumer
 * asks about its own group is used by everybody and knows how to wait.
 *
 * A consumer is made when its group is first asked about, and made anew when it was refused something: what is wrong
 * with a group is told once per handle.
 *
 * Threads: any; one at a time asks about a group. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_NS INT64_C(10000000000)
#define SLICE_MS 500
#define PAUSE_MS 50
#define STABLE_NS INT64_C(30000000000)

struct sl_group_offsets {
	char group[SL_ID_MAX];
	pthread_mutex_t lock;
	rd_kafka_t *rk; /* NULL: to be made */
	struct sl_group_offsets *next;
};

static struct sl_group_offsets *find(struct sl_kafka *k, const char *group)
{
	struct sl_group_offsets *g;

	sl_lock(&k->lock);
	for (g = k->offsets; g && strcmp(g->group, group) != 0;)
		g = g->next;
	if (!g) {
		g = sl_calloc(1, sizeof *g);
		snprintf(g->group, sizeof g->group, "%s", group);
		sl_mutex_init(&g->lock);
		g->next = k->offsets;
		k->offsets = g;
	}
	sl_unlock(&k->lock);
	return g;
}

void sl_kafka_offsets_close(struct sl_kafka *k)
{
	while (k->offsets) {
		struct sl_group_offsets *g = k->offsets;

		k->offsets = g->next;
		if (g->rk)
			rd_kafka_destroy(g->rk);
		sl_mutex_destroy(&g->lock);
		free(g);
	}
}

/* What the handle complains about beside answers, a right to the group that is missing among it; NO_ERROR: nothing that
 * a person must look at. */
static rd_kafka_resp_err_t complaint(rd_kafka_t *rk)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_message_t *m;

	while ((m = rd_kafka_consumer_poll(rk, 0))) {
		if (sl_kafka_verdict(m->err) == SL_STOP)
			code = m->err;
		rd_kafka_message_destroy(m);
	}
	return code;
}

/* One question. The answer is in the list, or a code of the whole or of one partition. */
static rd_kafka_resp_err_t committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resp_err_t code = rd_kafka_committed(rk, list, SLICE_MS), other = complaint(rk);

	for (int i = 0; i < list->cnt && !code; i++)
		code = list->elems[i].err;
	return code && other ? other : code;
}

/* The time is over for an answer that says no more than "not now". */
static bool over(struct sl_kafka *k, rd_kafka_resp_err_t code, int64_t since_ns)
{
	bool unstable = code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT;

	return sl_kafka_stopping(k) || sl_monotonic_ns() - since_ns > (unstable ? STABLE_NS : ANSWER_NS);
}

static bool ask(struct sl_kafka *k, struct sl_group_offsets *g, rd_kafka_topic_partition_list_t *list,
		struct sl_error *e)
{
	int64_t begun = sl_monotonic_ns();
	rd_kafka_resp_err_t code;

	while ((code = committed(g->rk, list))) {
		if (sl_kafka_verdict(code) == SL_STOP || over(k, code, begun))
			break;
		rd_kafka_poll(g->rk, PAUSE_MS);
	}
	if (!code) {
		sl_kafka_answered(k);
		return true;
	}
	if (code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT)
		return sl_error_set(e, SL_RETRY,
				    "cannot read the offsets of group '%s': a transaction with new ones is not decided "
				    "yet",
				    g->group);
	sl_kafka_failed(k, e, code, NULL, "read the offsets of group '%s'", g->group);
	if (e->verdict == SL_STOP) {
		rd_kafka_destroy(g->rk);
		g->rk = NULL;
	}
	return false;
}

static rd_kafka_t *handle(struct sl_kafka *k, const char *group, struct sl_error *e)
{
	const char *const settings[] = { "group.id", group, NULL };
	rd_kafka_t *rk = sl_kafka_client(k, RD_KAFKA_CONSUMER, settings, NULL, NULL, e);

	if (rk)
		rd_kafka_poll_set_consumer(rk);
	return rk;
}

bool sl_kafka_offsets(struct sl_kafka *k, const char *group, const char *topic, int32_t count, int64_t *offsets,
		      struct sl_error *e)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	struct sl_group_offsets *g = find(k, group);
	bool done;

	for (int32_t p = 0; p < count; p++)
		rd_kafka_topic_partition_list_add(list, topic, p);
	sl_lock(&g->lock);
	done = (g->rk || (g->rk = handle(k, group, e))) && ask(k, g, list, e);
	sl_unlock(&g->lock);
	for (int32_t p = 0; p < count; p++)
		offsets[p] = -1;
	for (int i = 0; done && i < list->cnt; i++)
		if (list->elems[i].offset >= 0)
			offsets[list->elems[i].partition] = list->elems[i].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return done;
}
