/* kafka_loop.c -- the limit of a chain on Kafka: the same records through plain librdkafka, and nothing done to them.
 *
 *     bench_kafka_loop FROM.yaml TO.yaml TOPIC...
 *
 * One thread a topic, as a member of the step that reads it would be: a consumer and an idempotent producer with the
 * product's settings copy every record of FROM's topic to TO's, key, value, time and headers, into the same partition;
 * every stream.commit_every they flush and commit the offsets. All topics at once, so broker and threads share
 * the machine as in the chain. What a step would change is not changed, so it is the same bytes as the chain has
 * written; what it would log of its state is left out. Both topologies are on Kafka and their topics are there. Prints
 * a line per topic, and one for all: the time of the whole, and how many records of the first topic that is a second.
 */
#include "topology/base/thread.h"
#include "topology/kafka/kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define BATCH 1024
#define WAIT_MS 60000

struct hop {
	struct sl_kafka *from, *to;
	int topic;
	pthread_t thread;
	int64_t records, bytes, ns;
};

static void need(bool done, const char *what, const char *why)
{
	if (done)
		return;
	fprintf(stderr, "bench_kafka_loop: cannot %s: %s\n", what, why);
	exit(1);
}

static void need_ok(rd_kafka_resp_err_t code, const char *what)
{
	need(!code, what, rd_kafka_err2str(code));
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	need_ok(m->err, "write a record");
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
}

static rd_kafka_t *producer(struct sl_kafka *k)
{
	const char *const settings[] = { "enable.idempotence",         "true",   "acks", "all", "batch.size", "524288",
					 "queue.buffering.max.kbytes", "131072", NULL };
	struct sl_error e = { 0 };
	rd_kafka_t *rk = sl_kafka_client(k, RD_KAFKA_PRODUCER, settings, prepare, NULL, &e);

	need(rk != NULL, "make a producer", e.text);
	return rk;
}

static rd_kafka_t *consumer(struct hop *h, rd_kafka_topic_partition_list_t *at)
{
	char group[SL_ID_MAX];
	const char *const settings[] = { "group.id", group, "enable.partition.eof", "true", "fetch.wait.max.ms",
					 "50",       NULL };
	struct sl_error e = { 0 };
	rd_kafka_t *rk;

	sl_kafka_name(h->to, group, "loop.%d", h->topic);
	rk = sl_kafka_client(h->from, RD_KAFKA_CONSUMER, settings, NULL, NULL, &e);
	need(rk != NULL, "make a consumer", e.text);
	rd_kafka_poll_set_consumer(rk);
	for (int32_t p = 0; p < h->from->topology->topics[h->topic].partitions; p++) {
		int64_t end, start;

		need(sl_kafka_ends(h->from, h->from->names[h->topic], p, true, &start, &end, &e), "find the end",
		     e.text);
		if (end > start)
			rd_kafka_topic_partition_list_add(at, h->from->names[h->topic], p)->offset = start;
	}
	return rk;
}

static void send_on(struct hop *h, rd_kafka_t *rk, rd_kafka_topic_t *to, rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_timestamp_type_t type;
	int64_t time_ms = rd_kafka_message_timestamp(m, &type);
	rd_kafka_resp_err_t code;

	if (rd_kafka_message_detach_headers(m, &headers))
		headers = NULL;
	while ((code = rd_kafka_producev(rk, RD_KAFKA_V_RKT(to), RD_KAFKA_V_PARTITION(m->partition),
					 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(m->key, m->key_len),
					 RD_KAFKA_V_VALUE(m->payload, m->len), RD_KAFKA_V_HEADERS(headers),
					 RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_END)) ==
	       RD_KAFKA_RESP_ERR__QUEUE_FULL)
		rd_kafka_poll(rk, 100);
	need_ok(code, "write a record");
	if (++h->records % 256 == 0)
		rd_kafka_poll(rk, 0);
	h->bytes += (int64_t)(m->key_len + m->len);
}

static void commit(rd_kafka_t *out, rd_kafka_t *in, rd_kafka_topic_partition_list_t *next)
{
	need_ok(rd_kafka_flush(out, WAIT_MS), "write in time");
	need_ok(rd_kafka_commit(in, next, 0), "commit offsets");
}

static void *copy(void *arg)
{
	struct hop *h = arg;
	const int64_t began = sl_monotonic_ns(), every_ns = h->to->topology->commit_every_ms * 1000000;
	rd_kafka_topic_partition_list_t *at = rd_kafka_topic_partition_list_new(4);
	rd_kafka_message_t *batch[BATCH];
	rd_kafka_t *in = consumer(h, at), *out = producer(h->to);
	rd_kafka_topic_t *to = rd_kafka_topic_new(out, h->to->names[h->topic], NULL);
	rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(in);
	int64_t committed_ns = began;
	int left = at->cnt;

	need(to != NULL, "use a topic", rd_kafka_err2str(rd_kafka_last_error()));
	need_ok(rd_kafka_assign(in, at), "assign partitions");
	while (left > 0) {
		ssize_t n = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH);

		if (n == 0) /* a full batch would be waited for */
			n = rd_kafka_consume_batch_queue(queue, 20, batch, 1);
		for (ssize_t i = 0; i < n; i++) {
			rd_kafka_message_t *m = batch[i];

			if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
				left--; /* nobody writes meanwhile, so it comes once */
			} else {
				need_ok(m->err, "read");
				send_on(h, out, to, m);
				rd_kafka_topic_partition_list_find(at, h->from->names[h->topic], m->partition)->offset =
					m->offset + 1;
			}
			rd_kafka_message_destroy(m);
		}
		if (sl_monotonic_ns() - committed_ns >= every_ns) {
			commit(out, in, at);
			committed_ns = sl_monotonic_ns();
		}
	}
	if (at->cnt > 0)
		commit(out, in, at);
	h->ns = sl_monotonic_ns() - began;
	rd_kafka_topic_destroy(to);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_partition_list_destroy(at);
	rd_kafka_destroy_flags(in, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	rd_kafka_destroy(out);
	return NULL;
}

static struct sl_topology *side(struct sl_kafka *k, const char *yaml)
{
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_load(yaml, NULL, 0, &e);

	need(t && sl_kafka_connect(k, t, &e), "use the topology", e.text);
	return t;
}

static void row(const char *name, int64_t records, int64_t bytes, int64_t ns)
{
	double s = (double)ns / 1e9;

	printf("%-18s %9" PRId64 " records %8.1f MB %7.2f s %9.0f records/s %7.1f MB/s\n", name, records,
	       (double)bytes / 1e6, s, (double)records / s, (double)bytes / 1e6 / s);
}

/* User and system, of all threads. */
static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
	struct sl_kafka from = { 0 }, to = { 0 };
	struct sl_topology *topologies[2];
	size_t count = argc > 3 ? (size_t)argc - 3 : 0;
	struct hop *hops;
	int64_t bytes = 0, began;

	if (!count) {
		fprintf(stderr, "usage: bench_kafka_loop FROM.yaml TO.yaml TOPIC...\n");
		return 2;
	}
	hops = sl_calloc(count, sizeof *hops);
	topologies[0] = side(&from, argv[1]);
	topologies[1] = side(&to, argv[2]);
	for (size_t i = 0; i < count; i++) {
		hops[i] = (struct hop){ .from = &from, .to = &to };
		hops[i].topic = sl_topology_topic(topologies[0], argv[3 + i]);
		need(hops[i].topic >= 0 && hops[i].topic == sl_topology_topic(topologies[1], argv[3 + i]),
		     "find in both topologies", argv[3 + i]);
	}
	began = sl_monotonic_ns();
	for (size_t i = 0; i < count; i++)
		sl_thread_start(&hops[i].thread, "hop", copy, &hops[i]);
	for (size_t i = 0; i < count; i++)
		sl_thread_join(hops[i].thread);
	began = sl_monotonic_ns() - began;
	for (size_t i = 0; i < count; i++) {
		row(argv[3 + i], hops[i].records, hops[i].bytes, hops[i].ns);
		bytes += hops[i].bytes;
	}
	row("all", hops[0].records, bytes, began);
	printf("CPU of the loops, a record of the first topic: %.0f us\n",
	       cpu_us() / (double)(hops[0].records + !hops[0].records));
	sl_kafka_disconnect(&from);
	sl_kafka_disconnect(&to);
	sl_topology_free(topologies[0]);
	sl_topology_free(topologies[1]);
	free(hops);
	return 0;
}
