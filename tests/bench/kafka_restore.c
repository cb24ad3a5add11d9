/* kafka_restore.c -- the limit of a restore, and when the first record comes after one.
 *
 *     bench_kafka_restore copy TOPOLOGY STEP FOLDER     the changelogs of a step into a fresh store in FOLDER
 *     bench_kafka_restore first TOPOLOGY TOPIC          waits for the next record of a topic
 *
 * copy: a plain librdkafka consumer (read_committed, the product's settings) whose messages go straight into RocksDB as
 * the product opens it, in the same batches as a restore's: 1 MiB or 8,192 writes, WAL on and not synced. Nothing
 * is looked at, checked or counted but bytes. One thread, partition after partition; prints what that took, from
 * making the consumer on.
 *
 * first: prints "ready" once it reads, and milliseconds since 1970 when a record beyond the topic's present end can be
 * read by those who read what is committed. */
#include "topology/kafka/kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 1024
#define CHUNK_BYTES (1u << 20)
#define CHUNK_RECORDS 8192

static void need(bool done, const char *what, const char *why)
{
	if (done)
		return;
	fprintf(stderr, "bench_kafka_restore: cannot %s: %s\n", what, why);
	exit(1);
}

static void need_ok(rd_kafka_resp_err_t code, const char *what)
{
	need(!code, what, rd_kafka_err2str(code));
}

static void flush(struct sl_store *store, struct sl_writes *w)
{
	struct sl_error e = { 0 };

	need(!w->count || store->ops->write(store, &w, 1, false, &e), "write", e.text);
	sl_writes_clear(w);
}

/* One partition, to its end. */
static void copy_partition(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic, int32_t partition,
			   struct sl_store *store, int64_t *records, int64_t *bytes)
{
	rd_kafka_topic_partition_list_t *at = rd_kafka_topic_partition_list_new(1);
	rd_kafka_message_t *batch[BATCH];
	struct sl_writes w = { 0 };
	int64_t start, stop;
	bool end = false;

	/* or librdkafka looks for the leader at its next round, up to a second later */
	need_ok(rd_kafka_query_watermark_offsets(rk, topic, partition, &start, &stop, 10000), "find a partition");
	rd_kafka_topic_partition_list_add(at, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
	need_ok(rd_kafka_assign(rk, at), "assign a partition");
	while (!end) {
		ssize_t n = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH);

		if (n == 0) /* a full batch would be waited for */
			n = rd_kafka_consume_batch_queue(queue, 20, batch, 1);
		for (ssize_t i = 0; i < n; i++) {
			rd_kafka_message_t *m = batch[i];
			struct sl_bytes key = { m->key, m->key_len }, value = { m->payload, m->len };

			if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
				end = true;
			} else {
				need_ok(m->err, "read");
				if (value.data)
					sl_writes_put(&w, key, value);
				else
					sl_writes_del(&w, key);
				++*records;
				*bytes += (int64_t)(key.size + value.size);
			}
			rd_kafka_message_destroy(m);
			if (w.bytes.size >= CHUNK_BYTES || w.count >= CHUNK_RECORDS)
				flush(store, &w);
		}
	}
	flush(store, &w);
	sl_writes_release(&w);
	rd_kafka_topic_partition_list_destroy(at);
}

static void copy(struct sl_kafka *k, const char *step_name, const char *folder)
{
	/* as in tail.c: the end is noticed soon */
	static const char *const settings[] = { "group.id", "bench.restore",     "enable.partition.eof",
						"true",     "fetch.wait.max.ms", "50",
						NULL };
	int step = sl_topology_step(k->topology, step_name);
	char topic[SL_ID_MAX];
	int64_t records = 0, bytes = 0, began = sl_monotonic_ns();
	struct sl_error e = { 0 };
	struct sl_store *store;
	rd_kafka_queue_t *queue;
	rd_kafka_t *rk;
	double s;

	need(step >= 0, "find step", step_name);
	sl_kafka_name(k, topic, "%s.changelog", step_name);
	store = sl_store_rocksdb(folder, &e);
	need(store != NULL, "make a store", e.text);
	rk = sl_kafka_client(k, RD_KAFKA_CONSUMER, settings, NULL, NULL, &e);
	need(rk != NULL, "make a consumer", e.text);
	rd_kafka_poll_set_consumer(rk);
	queue = rd_kafka_queue_get_consumer(rk);
	for (int32_t p = 0; p < k->topology->topics[k->topology->steps[step].from].partitions; p++)
		copy_partition(rk, queue, topic, p, store, &records, &bytes);
	s = (double)(sl_monotonic_ns() - began) / 1e9;
	printf("%" PRId64 " records %.1f MB %.2f s %.0f records/s %.1f MB/s\n", records, (double)bytes / 1e6, s,
	       (double)records / s, (double)bytes / 1e6 / s);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	store->ops->free(store);
}

static void first(struct sl_kafka *k, const char *name)
{
	int topic = sl_topology_topic(k->topology, name);
	size_t count = topic < 0 ? 0 : (size_t)k->topology->topics[topic].partitions, which;
	struct sl_tail_part *parts = sl_calloc(count + 1, sizeof *parts);
	enum sl_tail_end end = SL_TAIL_NOTHING;
	struct sl_error e = { 0 };
	struct sl_tail *tail;
	struct sl_record r;

	need(topic >= 0, "find topic", name);
	for (size_t i = 0; i < count; i++) {
		int64_t start;

		parts[i] = (struct sl_tail_part){ .topic = k->names[topic], .partition = (int32_t)i };
		need(sl_kafka_ends(k, parts[i].topic, (int32_t)i, true, &start, &parts[i].position, &e), "find the end",
		     e.text);
	}
	tail = sl_tail_open(k, parts, count, &e);
	need(tail != NULL, "read", e.text);
	printf("ready\n");
	fflush(stdout);
	while (end == SL_TAIL_NOTHING)
		end = sl_tail_next(tail, 1000, &which, &r, &e);
	need(end == SL_TAIL_RECORD, "read", e.text);
	printf("%" PRId64 "\n", sl_wall_ms());
	sl_tail_close(tail);
	free(parts);
}

int main(int argc, char **argv)
{
	bool to_copy = argc == 5 && strcmp(argv[1], "copy") == 0;
	struct sl_error e = { 0 };
	struct sl_kafka k = { 0 };
	struct sl_topology *t;

	if (!to_copy && (argc != 4 || strcmp(argv[1], "first") != 0)) {
		fprintf(stderr, "usage: bench_kafka_restore copy TOPOLOGY STEP FOLDER | first TOPOLOGY TOPIC\n");
		return 2;
	}
	t = sl_topology_load(argv[2], NULL, 0, &e);
	need(t && sl_kafka_connect(&k, t, &e), "use the topology", e.text);
	if (to_copy)
		copy(&k, argv[3], argv[4]);
	else
		first(&k, argv[3]);
	sl_kafka_disconnect(&k);
	sl_topology_free(t);
	return 0;
}
