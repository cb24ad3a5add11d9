/* records.c -- sluice-records TOPOLOGY DATA [KEY=VALUE ...]: every committed record of every topic, a line each,
 * in a form that is the same on every back-end and with any number of partitions:
 *
 *     TOPIC ID KEY SIZE HASH
 *
 * ID is the pair's (- where there is none); HASH is over key, value, time and headers. Left out are offsets and
 * partitions, also those that headers and replayed pairs tell of: they are the back-end's. So `sort` of two outputs
 * must be equal when two streams hold the same, each record as often. */
#include "schemas/codec.h"
#include "topology/base/hash.h"
#include "topology/client.h"
#include "topology/tables.h"
#include "topology/topic_walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t little(const uint8_t *p, size_t bytes)
{
	uint32_t n = 0;

	while (bytes > 0)
		n = n << 8 | p[--bytes];
	return n;
}

static bool is(struct sl_bytes name, const char *text)
{
	return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

/* Frame by frame as log.h says: u16 name size, u32 value size, name, value. */
static void add_headers(struct sl_buf *to, struct sl_bytes headers)
{
	const uint8_t *p = headers.data;

	for (size_t at = 0; at + 6 <= headers.size;) {
		struct sl_bytes name = { p + at + 6, little(p + at, 2) };
		size_t size = 6 + name.size + little(p + at + 2, 4);

		if (size > headers.size - at)
			break;
		if (!is(name, "__connect.errors.offset") && !is(name, "__connect.errors.partition") &&
		    !is(name, "__connect.errors.task.id") && !is(name, SL_TABLE_SEQUENCE))
			sl_buf_add(to, p + at, size);
		at += size;
	}
}

static void add_sized(struct sl_buf *to, struct sl_bytes b)
{
	uint64_t size = b.data ? b.size : UINT64_MAX;

	sl_buf_add(to, &size, sizeof size);
	sl_buf_add_bytes(to, b);
}

static void print_hex(struct sl_bytes b)
{
	const uint8_t *p = b.data;

	for (size_t i = 0; i < b.size; i++)
		printf("%02x", p[i]);
	printf(b.size == 0 ? "- " : " ");
}

/* "replay: from TOPIC partition 1 offset 7" becomes "replay: from TOPIC". True: there was one. */
static bool forget_places(struct sl_pair *p, struct sl_arena *a)
{
	struct sl_trail *trail = sl_arena_alloc(a, (p->trail_count + 1) * sizeof *trail);
	bool any = false;

	for (size_t i = 0; i < p->trail_count; i++) {
		struct sl_bytes *reason = &trail[i].reason;
		const char *place;

		trail[i] = p->trail[i];
		if (!is(trail[i].step, "replay") || !reason->size)
			continue;
		place = memmem(reason->data, reason->size, " partition ", 11);
		if (place)
			reason->size = (size_t)(place - (const char *)reason->data);
		any = true;
	}
	p->trail = trail;
	return any;
}

static void print_record(const char *topic, const struct sl_record *r, struct sl_buf *scratch)
{
	struct sl_arena arena = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;
	struct sl_id hash, id = { { 0 } };
	struct sl_bytes value = r->value;
	struct sl_buf without = { 0 };

	sl_pair_init(&p);
	if (r->value.data && sl_pair_decode(r->value, &arena, &p, &e)) {
		id = p.id;
		if (forget_places(&p, &arena)) {
			sl_pair_encode(&p, &without);
			value = sl_buf_bytes(&without);
		}
	}
	sl_buf_clear(scratch);
	add_sized(scratch, r->key);
	add_sized(scratch, value);
	sl_buf_add(scratch, &r->time_ms, sizeof r->time_ms);
	add_headers(scratch, r->headers);
	hash = sl_hash128(scratch->data, scratch->size);
	printf("%s ", topic);
	print_hex((struct sl_bytes){ id.b, sl_id_none(id) ? 0 : sizeof id.b });
	print_hex(r->key);
	printf("%zu ", value.size);
	print_hex((struct sl_bytes){ hash.b, sizeof hash.b });
	putchar('\n');
	sl_arena_release(&arena);
	sl_buf_release(&without);
}

static bool print_topic(struct sl_client *c, const struct sl_topology *t, int topic, struct sl_error *e)
{
	struct sl_buf scratch = { 0 };
	struct sl_topic_walk walk;
	struct sl_record r;

	e->verdict = SL_OK;
	sl_topic_walk_open(&walk, c, t, topic);
	while (sl_topic_walk_next(&walk, &r, e))
		print_record(t->topics[topic].name, &r, &scratch);
	sl_topic_walk_close(&walk);
	sl_buf_release(&scratch);
	return e->verdict == SL_OK;
}

int main(int argc, char **argv)
{
	struct sl_error e = { 0 };
	struct sl_client *c = NULL;
	struct sl_topology *t;
	bool done;

	if (argc < 3) {
		fprintf(stderr, "usage: sluice-records TOPOLOGY DATA [KEY=VALUE ...]\n");
		return 2;
	}
	t = sl_topology_load(argv[1], (const char *const *)argv + 3, (size_t)argc - 3, &e);
	if (t)
		c = sl_client_open(t, argv[2], &e);
	done = c != NULL;
	for (size_t i = 0; done && i < t->topic_count; i++)
		done = t->topics[i].inlined || print_topic(c, t, (int)i, &e);
	if (!done)
		fprintf(stderr, "sluice-records: %s\n", e.text);
	sl_client_close(c);
	sl_topology_free(t);
	return done ? 0 : 1;
}
