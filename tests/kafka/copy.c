/* copy.c -- sluice-copy: the committed records of topics from one data folder's topology to another's.
 *
 *     sluice-copy FROM.yaml FROMDATA TO.yaml TODATA [--from K=V]... [--to K=V]... TOPIC...
 *
 * Either side may be embedded or on Kafka; --from and --to are --set for that side. Key, value, time and headers stay,
 * offsets and partitions are the other side's. So a test gives both back-ends the same gold pairs and the same
 * announced models, freezes both, and compares where they end. */
#include "topology/client.h"
#include "topology/options.h"
#include "topology/topic_walk.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_RECORDS 500
#define BATCH_BYTES ((size_t)2 << 20)

struct side {
	const char *yaml, *data;
	const char *sets[16];
	size_t set_count;
	struct sl_topology *topology;
	struct sl_client *client;
};

static bool open_side(struct side *s, struct sl_error *e)
{
	s->topology = sl_topology_load(s->yaml, s->sets, s->set_count, e);
	if (!s->topology)
		return false;
	s->client = sl_client_open(s->topology, s->data, e);
	return s->client != NULL;
}

static void close_side(struct side *s)
{
	sl_client_close(s->client);
	sl_topology_free(s->topology);
}

static bool flush(struct side *to, int topic, struct sl_buf *frames, struct sl_error *e)
{
	struct sl_record records[BATCH_RECORDS];
	size_t at = 0, count = 0;
	bool done;

	while (count < BATCH_RECORDS && sl_frames_next(sl_buf_bytes(frames), &at, &records[count]))
		count++;
	done = count == 0 || sl_client_append(to->client, topic, records, count, e);
	sl_buf_clear(frames);
	return done;
}

static bool copy(struct side *from, struct side *to, const char *name, struct sl_error *e)
{
	int source = sl_topology_topic(from->topology, name), target = sl_topology_topic(to->topology, name);
	struct sl_topic_walk walk;
	struct sl_buf frames = { 0 };
	struct sl_record r;
	size_t batched = 0, copied = 0;
	bool done = true;

	if (source < 0 || target < 0)
		return sl_error_set(e, SL_STOP, "topic '%s' is not in both topologies", name);
	sl_topic_walk_open(&walk, from->client, from->topology, source);
	while (done && sl_topic_walk_next(&walk, &r, e)) {
		sl_frames_add(&frames, &r);
		copied++;
		if (++batched == BATCH_RECORDS || frames.size > BATCH_BYTES) {
			done = flush(to, target, &frames, e);
			batched = 0;
		}
	}
	done = done && e->verdict == SL_OK && flush(to, target, &frames, e);
	sl_topic_walk_close(&walk);
	sl_buf_release(&frames);
	if (done)
		printf("%s: %zu records\n", name, copied);
	return done;
}

/* The option's value into the side's sets, or false. */
static bool option(struct side *s, const char *name, char **argv, int argc, int *i)
{
	if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc || s->set_count == sizeof s->sets / sizeof *s->sets)
		return false;
	s->sets[s->set_count++] = argv[++*i];
	return true;
}

int main(int argc, char **argv)
{
	const char **words = sl_calloc((size_t)argc + 1, sizeof *words);
	struct side from = { 0 }, to = { 0 };
	struct sl_error e = { 0 };
	size_t count = 0;
	bool done;

	for (int i = 1; i < argc; i++)
		if (!option(&from, "--from", argv, argc, &i) && !option(&to, "--to", argv, argc, &i))
			words[count++] = argv[i];
	if (count < 5) {
		fprintf(stderr,
			"usage: sluice-copy FROM.yaml FROMDATA TO.yaml TODATA [--from K=V] [--to K=V] TOPIC...\n");
		free(words);
		return 2;
	}
	from.yaml = words[0];
	from.data = words[1];
	to.yaml = words[2];
	to.data = words[3];
	done = open_side(&from, &e) && open_side(&to, &e);
	for (size_t i = 4; done && i < count; i++)
		done = copy(&from, &to, words[i], &e);
	if (!done)
		fprintf(stderr, "sluice-copy: %s\n", e.text);
	close_side(&from);
	close_side(&to);
	free(words);
	return done ? 0 : 1;
}
