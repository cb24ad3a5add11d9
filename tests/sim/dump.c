/* dump.c -- sluice-dump TOPOLOGY DIR [--set KEY=VALUE ...]: what a data folder holds, as text that two
 * folders can be compared by.
 *
 *     store KEY SIZE HASH        every entry but the answer memo, derived stores and ingest marks of no interest
 *     topic NAME PARTITION OFFSET SIZE HASH     every record that is kept
 *
 * The keys come in byte order, the topics in the topology's. */
#include "topology/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_text(struct sl_bytes text)
{
	const uint8_t *p = text.data;

	for (size_t i = 0; i < text.size; i++)
		printf(p[i] > 32 && p[i] < 127 && p[i] != '\\' ? "%c" : "\\%02x", p[i]);
}

static bool dump_store(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_store_scan *scan = rt->store->ops->scan(rt->store, (struct sl_bytes){ "", 0 });
	struct sl_bytes key, value;

	e->verdict = SL_OK;
	while (rt->store->ops->next(scan, &key, &value, e)) {
		char kind = *(const char *)key.data;

		if (kind == 'm' || kind == 'd')
			continue;
		printf("store ");
		print_text(key);
		printf(" %zu %016" PRIx64 "\n", value.size, sl_hash64(value.data, value.size, 0));
	}
	rt->store->ops->end(scan);
	return e->verdict == SL_OK;
}

static bool dump_topic(struct sl_runtime *rt, int topic, struct sl_error *e)
{
	for (int32_t p = 0; p < rt->topology->topics[topic].partitions; p++) {
		struct sl_reader reader;
		const struct sl_record *r;

		e->verdict = SL_OK;
		sl_reader_open(&reader, rt, topic, p, atomic_load(&rt->topics[topic].ends[p]));
		while ((r = sl_reader_next(&reader, e)) != NULL) {
			struct sl_buf frame = { 0 };

			sl_frames_add(&frame, r);
			printf("topic %s %d %" PRId64 " %zu %016" PRIx64 "\n", rt->topology->topics[topic].name, (int)p,
			       r->offset, frame.size, sl_hash64(frame.data, frame.size, 0));
			sl_buf_release(&frame);
		}
		sl_reader_close(&reader);
		if (e->verdict != SL_OK)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct sl_runtime_options options = { 0 };
	struct sl_error e = { 0 };
	struct sl_topology *t;
	struct sl_runtime *rt = NULL;
	bool done;

	if (argc < 3) {
		fprintf(stderr, "usage: sluice-dump TOPOLOGY DIR [KEY=VALUE ...]\n");
		return 2;
	}
	options.data = argv[2];
	t = sl_topology_load(argv[1], (const char *const *)argv + 3, (size_t)argc - 3, &e);
	if (t)
		rt = sl_runtime_open(t, &options, &e);
	done = rt && dump_store(rt, &e);
	for (size_t i = 0; done && i < t->topic_count; i++)
		done = t->topics[i].inlined || dump_topic(rt, (int)i, &e);
	if (!done)
		fprintf(stderr, "sluice-dump: %s\n", e.text);
	sl_runtime_close(rt);
	sl_topology_free(t);
	return done ? 0 : 1;
}
