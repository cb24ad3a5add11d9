/* latency.c -- how long a pair is on its way through a running chain, on either stream.
 *
 *     bench_latency TOPOLOGY DATA FILE.jsonl [--rate N] [--seconds S] [--warm S]
 *
 * Writes pairs of FILE to the entry topic at a steady rate (N a second, 100; S seconds, 60) and reads the topics in
 * which a pair can end. `sluice run` is at work meanwhile: it owns DATA on the embedded stream; on Kafka DATA is not
 * used. A pair's time of arrival is when it was due to be written, and every step carries that on in
 * the envelope; so latency is the moment its final record is handed to a reader of what is committed, less the time in
 * that record. It has the writing of the pair in it (Kafka: an idempotent producer as outside programs have; embedded:
 * a synced append through the owner's socket) and, on embedded, up to 5 ms until the reader looks again. What was due
 * in the first S seconds (--warm, 5) is not counted. All pairs must be different ones; all must end.
 *
 * Threads: one writes, main reads. They share nothing but the times, which are computed. */
#include "schemas/codec.h"
#include "schemas/fresh.h"
#include "schemas/jsonl.h"
#include "topology/base/thread.h"
#include "topology/client.h"
#include "topology/kafka/kafka.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define GRACE_MS 60000
#define LOOK_MS 5

static const char *const finals[] = { "pairs.curated", "pairs.flipped", "pairs.undecided", "pairs.discarded" };

struct place {
	int topic;
	int32_t partition;
	int64_t next;
};

struct bench {
	struct sl_topology *topology;
	const char *data, *file;
	int64_t rate, total, warm; /* pairs a second; pairs; of these not counted */
	int64_t began_ms;
	bool on_kafka;
	struct sl_kafka k;
	struct place *places;
	size_t place_count;
	int64_t *late_ms; /* per pair; -1: not there yet */
	int64_t seen;
};

static void need(bool done, const char *what, const char *why)
{
	if (done)
		return;
	fprintf(stderr, "bench_latency: cannot %s: %s\n", what, why);
	exit(1);
}

static int64_t due_ms(const struct bench *b, int64_t i)
{
	return b->began_ms + i * 1000 / b->rate;
}

/* -- writing ------------------------------------------------------------------------------- */

struct writer {
	struct bench *b;
	struct sl_client *client;
	rd_kafka_t *rk;
	FILE *lines;
	char *line;
	size_t room;
	struct sl_arena arena;
	struct sl_buf values;
};

/* Pair i as ingest would write it; its bytes are in w->values at *at. */
static void next_pair(struct writer *w, int64_t i, size_t *at, struct sl_id *group)
{
	struct sl_arrival arrival = { .file = sl_text("bench"), .line = i + 1, .partition = -1, .offset = -1 };
	static const struct sl_keys keys;
	struct sl_parsed parsed = { 0 };
	struct sl_error e = { 0 };
	ssize_t size = getline(&w->line, &w->room, w->lines);

	need(size > 0, "read the file", "it has too few pairs");
	need(sl_jsonl_parse((struct sl_bytes){ w->line, (size_t)size - 1 }, &keys, &w->arena, &parsed, &e) &&
		     parsed.pair_count == 1,
	     "read a pair", e.text);
	sl_pair_arrive(&parsed.pairs[0], &arrival, due_ms(w->b, i), sl_text("bench"));
	*at = w->values.size;
	*group = parsed.pairs[0].group;
	sl_pair_encode(&parsed.pairs[0], &w->values);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	need(!m->err, "write a pair", rd_kafka_err2str(m->err));
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
}

/* Pairs first to end - 1, which are due, into the entry topic. */
static void put(struct writer *w, int64_t first, int64_t end)
{
	size_t count = (size_t)(end - first), *at = sl_calloc(count + 1, sizeof *at);
	struct sl_record *records = sl_calloc(count, sizeof *records);
	struct sl_id *groups = sl_calloc(count, sizeof *groups);
	int topic = w->b->topology->entry;
	struct sl_error e = { 0 };

	sl_buf_clear(&w->values);
	for (size_t i = 0; i < count; i++)
		next_pair(w, first + (int64_t)i, &at[i], &groups[i]);
	at[count] = w->values.size;
	for (size_t i = 0; i < count; i++) {
		records[i] = (struct sl_record){ .time_ms = due_ms(w->b, first + (int64_t)i),
						 .key = sl_id_bytes(&groups[i]),
						 .value = { w->values.data + at[i], at[i + 1] - at[i] } };
		if (!w->rk)
			continue;
		need(!rd_kafka_producev(
			     w->rk, RD_KAFKA_V_TOPIC(w->b->k.names[topic]), RD_KAFKA_V_PARTITION(0),
			     RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			     RD_KAFKA_V_KEY(records[i].key.data, records[i].key.size),
			     RD_KAFKA_V_VALUE((void *)(uintptr_t)records[i].value.data, records[i].value.size),
			     RD_KAFKA_V_TIMESTAMP(records[i].time_ms), RD_KAFKA_V_END),
		     "write a pair", "librdkafka does not take it");
	}
	if (w->client)
		need(sl_client_append(w->client, topic, records, count, &e), "write pairs", e.text);
	sl_arena_clear(&w->arena);
	free(at);
	free(records);
	free(groups);
}

static void *write_all(void *arg)
{
	static const char *const settings[] = { "enable.idempotence", "true", "acks", "all", NULL };
	struct writer w = { .b = arg };
	struct bench *b = arg;
	struct sl_error e = { 0 };

	w.lines = fopen(b->file, "re");
	need(w.lines != NULL, "open the file", b->file);
	if (b->on_kafka)
		w.rk = sl_kafka_client(&b->k, RD_KAFKA_PRODUCER, settings, prepare, NULL, &e);
	else
		w.client = sl_client_open(b->topology, b->data, &e);
	need(w.rk || w.client, "open the stream", e.text);
	for (int64_t done = 0; done < b->total;) {
		int64_t now = sl_wall_ms(), end = done;

		while (end < b->total && due_ms(b, end) <= now)
			end++;
		if (end > done)
			put(&w, done, end);
		done = end;
		if (w.rk)
			rd_kafka_poll(w.rk, 0);
		if (done < b->total && (now = sl_wall_ms()) < due_ms(b, done))
			poll(NULL, 0, (int)(due_ms(b, done) - now));
	}
	if (w.rk) {
		need(!rd_kafka_flush(w.rk, GRACE_MS), "write pairs", "the brokers do not take them");
		rd_kafka_destroy(w.rk);
	}
	sl_client_close(w.client);
	fclose(w.lines);
	free(w.line);
	sl_arena_release(&w.arena);
	sl_buf_release(&w.values);
	return NULL;
}

/* -- reading ----------------------------------------------------------------------------------- */

static void note(struct bench *b, const struct sl_record *r)
{
	int64_t i = ((r->time_ms - b->began_ms) * b->rate + 999) / 1000; /* due_ms rounds down */

	if (i < 0 || i >= b->total || due_ms(b, i) != r->time_ms || b->late_ms[i] >= 0)
		return; /* of somebody else */
	b->late_ms[i] = sl_wall_ms() - r->time_ms;
	b->seen++;
}

static void read_kafka(struct bench *b, int64_t last_ms)
{
	struct sl_tail_part *parts = sl_calloc(b->place_count, sizeof *parts);
	struct sl_error e = { 0 };
	struct sl_tail *tail;

	for (size_t i = 0; i < b->place_count; i++)
		parts[i] = (struct sl_tail_part){ b->k.names[b->places[i].topic], b->places[i].partition,
						  b->places[i].next };
	tail = sl_tail_open(&b->k, parts, b->place_count, &e);
	need(tail != NULL, "read the final topics", e.text);
	while (b->seen < b->total && sl_wall_ms() < last_ms) {
		struct sl_record r;
		size_t which;

		switch (sl_tail_next(tail, 100, &which, &r, &e)) {
		case SL_TAIL_RECORD:
			note(b, &r);
			break;
		case SL_TAIL_NOTHING:
			break;
		case SL_TAIL_FAILED:
			need(false, "read the final topics", e.text);
		}
	}
	sl_tail_close(tail);
	free(parts);
}

static int64_t fetch(struct sl_client *c, struct bench *b, struct place *p, struct sl_buf *frames)
{
	struct sl_error e = { 0 };
	int64_t next = p->next, end = 0;

	sl_buf_clear(frames);
	need(sl_client_fetch(c, p->topic, p->partition, p->next, 1 << 20, frames, &next, &end, &e),
	     "read a final topic", e.text);
	p->next = next;
	if (b)
		for (size_t at = 0; at < frames->size;) {
			struct sl_record r;

			if (!sl_frames_next(sl_buf_bytes(frames), &at, &r))
				break;
			note(b, &r);
		}
	return end;
}

static void read_embedded(struct bench *b, struct sl_client *c, int64_t last_ms)
{
	struct sl_buf frames = { 0 };

	while (b->seen < b->total && sl_wall_ms() < last_ms) {
		for (size_t i = 0; i < b->place_count; i++)
			fetch(c, b, &b->places[i], &frames);
		poll(NULL, 0, LOOK_MS);
	}
	sl_buf_release(&frames);
}

/* Where the final topics end before anything is written. */
static void find_ends(struct bench *b, struct sl_client *c)
{
	struct sl_buf frames = { 0 };
	struct sl_error e = { 0 };

	for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
		int topic = sl_topology_topic(b->topology, finals[i]);

		for (int32_t p = 0; topic >= 0 && p < b->topology->topics[topic].partitions; p++) {
			struct place *place;
			int64_t start, next;

			b->places = sl_realloc(b->places, (b->place_count + 1) * sizeof *b->places);
			place = &b->places[b->place_count++];
			*place = (struct place){ .topic = topic, .partition = p };
			if (b->on_kafka)
				need(sl_kafka_ends(&b->k, b->k.names[topic], p, true, &start, &place->next, &e),
				     "find the end of a topic", e.text);
			else
				for (next = -1; next != place->next;) {
					next = place->next;
					fetch(c, NULL, place, &frames);
				}
		}
	}
	sl_buf_release(&frames);
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void report(struct bench *b)
{
	int64_t *counted = b->late_ms + b->warm, count = b->total - b->warm;

	need(b->seen == b->total, "measure", "pairs did not come out in time");
	qsort(counted, (size_t)count, sizeof *counted, ascending);
	printf("%" PRId64 " pairs at %" PRId64 "/s: p50 %" PRId64 " ms, p90 %" PRId64 " ms, p99 %" PRId64
	       " ms, most %" PRId64 " ms\n",
	       count, b->rate, counted[count / 2], counted[count * 9 / 10], counted[count * 99 / 100],
	       counted[count - 1]);
}

int main(int argc, char **argv)
{
	struct bench b = { .rate = 100 };
	int64_t seconds = 60, warm_s = 5;
	struct sl_client *client = NULL;
	struct sl_error e = { 0 };
	pthread_t writer;
	bool fine = argc >= 4 && argc % 2 == 0;

	for (int i = 4; fine && i + 1 < argc; i += 2) {
		int64_t n = strtoll(argv[i + 1], NULL, 10);

		if (strcmp(argv[i], "--rate") == 0)
			b.rate = n;
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = n;
		else if (strcmp(argv[i], "--warm") == 0)
			warm_s = n;
		else
			fine = false;
	}
	if (!fine || b.rate < 1 || b.rate > 1000 || seconds < 1 || warm_s < 0) {
		fprintf(stderr, "usage: bench_latency TOPOLOGY DATA FILE.jsonl [--rate 1..1000] [--seconds S] "
				"[--warm S]\n");
		return 2;
	}
	b.warm = warm_s * b.rate;
	b.total = b.warm + seconds * b.rate;
	b.topology = sl_topology_load(argv[1], NULL, 0, &e);
	need(b.topology != NULL, "read the topology", e.text);
	b.data = argv[2];
	b.file = argv[3];
	b.on_kafka = b.topology->kafka.brokers != NULL;
	if (b.on_kafka)
		need(sl_kafka_connect(&b.k, b.topology, &e), "connect", e.text);
	else
		need((client = sl_client_open(b.topology, b.data, &e)) != NULL, "open the folder", e.text);
	need(b.on_kafka || sl_client_remote(client), "measure", "no 'sluice run' owns the folder");
	b.late_ms = sl_malloc((size_t)b.total * sizeof *b.late_ms);
	for (int64_t i = 0; i < b.total; i++)
		b.late_ms[i] = -1;
	find_ends(&b, client);
	b.began_ms = sl_wall_ms() + 500; /* both threads are at work by then */
	sl_thread_start(&writer, "writer", write_all, &b);
	if (b.on_kafka)
		read_kafka(&b, due_ms(&b, b.total) + GRACE_MS);
	else
		read_embedded(&b, client, due_ms(&b, b.total) + GRACE_MS);
	sl_thread_join(writer);
	report(&b);
	sl_client_close(client);
	if (b.on_kafka)
		sl_kafka_disconnect(&b.k);
	sl_topology_free(b.topology);
	free(b.places);
	free(b.late_ms);
	return 0;
}
