/* prefix.c -- see prefix.h. The index is an open-addressing table from id to the sequence number of its last
 * record, 24 bytes an entry: 10 MB for 200,000 pairs. */
#include "prefix.h"

#include "base/log.h"

#include <jansson.h>
#include <stdlib.h>

static size_t slot_of(const struct sl_prefix *x, struct sl_id id)
{
	size_t at = (size_t)sl_get_le64(id.b) & (x->slots - 1);

	while (x->last[at] && !sl_id_equal(x->ids[at], id))
		at = (at + 1) & (x->slots - 1);
	return at;
}

static void remember(struct sl_prefix *x, struct sl_id id, int64_t sequence)
{
	size_t at;

	if (2 * (x->used + 1) > x->slots) {
		struct sl_prefix old = *x;

		x->slots = x->slots ? 2 * x->slots : 1024;
		x->ids = sl_calloc(x->slots, sizeof *x->ids);
		x->last = sl_calloc(x->slots, sizeof *x->last);
		for (size_t i = 0; i < old.slots; i++) {
			if (old.last[i]) {
				at = slot_of(x, old.ids[i]);
				x->ids[at] = old.ids[i];
				x->last[at] = old.last[i];
			}
		}
		free(old.ids);
		free(old.last);
	}
	at = slot_of(x, id);
	if (!x->last[at])
		x->used++;
	x->ids[at] = id;
	x->last[at] = sequence;
}

void sl_prefix_rewind(void *arg)
{
	struct sl_prefix *x = arg;

	if (x->reading)
		sl_reader_close(&x->reader);
	x->reading = false;
	x->topic = 0;
	x->partition = 0;
	x->sequence = 0;
}

/* The next record with its sequence number, from 1. */
static const struct sl_record *next_record(struct sl_prefix *x)
{
	while (x->topic < x->topic_count) {
		int topic = x->topics[x->topic];
		const struct sl_record *r;

		if (x->partition == x->rt->topology->topics[topic].partitions) {
			x->topic++;
			x->partition = 0;
			continue;
		}
		if (!x->reading) {
			x->error.verdict = SL_OK;
			sl_reader_open(&x->reader, x->rt, topic, x->partition, x->ends[x->topic][x->partition]);
			x->reading = true;
		}
		r = sl_reader_next(&x->reader, &x->error);
		if (r) {
			x->sequence++;
			return r;
		}
		sl_reader_close(&x->reader);
		x->reading = false;
		if (x->error.verdict != SL_OK)
			return NULL;
		x->partition++;
	}
	return NULL;
}

/* A tombstone takes a pair out of its own topic only: curated, then flipped. */
static struct sl_id in_topic(const struct sl_prefix *x, struct sl_id id)
{
	id.b[15] ^= (uint8_t)x->topic;
	return id;
}

static struct sl_id id_of(struct sl_prefix *x, const struct sl_record *r, bool *known)
{
	struct sl_error ignored;
	struct sl_id id = { { 0 } };

	*known = true;
	if (!r->value.data) {
		if (r->key.size == sizeof id.b)
			memcpy(id.b, r->key.data, sizeof id.b);
		else
			*known = false;
		return in_topic(x, id);
	}
	sl_arena_clear(&x->arena);
	*known = sl_pair_decode(r->value, &x->arena, &x->pair, &ignored);
	return *known ? in_topic(x, x->pair.id) : id;
}

bool sl_prefix_next(void *arg, const struct sl_pair **pair)
{
	struct sl_prefix *x = arg;
	const struct sl_record *r;

	while ((r = next_record(x)) != NULL) {
		bool known;
		struct sl_id id = id_of(x, r, &known);

		if (!known || !r->value.data || x->last[slot_of(x, id)] != x->sequence)
			continue;
		*pair = &x->pair;
		return true;
	}
	return false;
}

bool sl_prefix_open(struct sl_prefix *x, struct sl_runtime *rt, const int *topics, size_t count, struct sl_error *e)
{
	const struct sl_record *r;

	memset(x, 0, sizeof *x);
	x->rt = rt;
	x->topics = topics;
	x->topic_count = count;
	x->ends = sl_calloc(count + 1, sizeof(int64_t *));
	for (size_t i = 0; i < count; i++) {
		if (!rt->stream->refresh(rt, topics[i], e))
			return false;
		x->records += rt->stream->records(rt, topics[i]);
	}
	for (size_t i = 0; i < count; i++) {
		int32_t partitions = rt->topology->topics[topics[i]].partitions;

		x->ends[i] = sl_calloc((size_t)partitions, sizeof(int64_t));
		for (int32_t p = 0; p < partitions; p++)
			x->ends[i][p] = atomic_load(&rt->topics[topics[i]].ends[p]);
	}
	while ((r = next_record(x)) != NULL) {
		bool known;
		struct sl_id id = id_of(x, r, &known);

		if (known)
			remember(x, id, x->sequence);
		else
			x->undecodable++;
	}
	if (!x->slots)
		remember(x, (struct sl_id){ { 1 } }, INT64_MAX); /* never matches: an empty index */
	*e = x->error;
	if (x->undecodable)
		sl_log(SL_LOG_WARN, NULL, "%lld records cannot be decoded and train nothing",
		       (long long)x->undecodable);
	sl_prefix_rewind(x);
	return e->verdict == SL_OK;
}

void sl_prefix_close(struct sl_prefix *x)
{
	sl_prefix_rewind(x);
	for (size_t i = 0; i < x->topic_count; i++)
		free(x->ends[i]);
	free(x->ends);
	free(x->ids);
	free(x->last);
	sl_arena_release(&x->arena);
}

char *sl_prefix_json(const struct sl_prefix *x, const char *reason)
{
	json_t *root = json_object(), *offsets = json_object();
	char *text;

	for (size_t i = 0; i < x->topic_count; i++) {
		const struct sl_topic *topic = &x->rt->topology->topics[x->topics[i]];
		json_t *list = json_array();

		for (int32_t p = 0; p < topic->partitions; p++)
			json_array_append_new(list, json_integer(x->ends[i][p]));
		json_object_set_new(offsets, topic->name, list);
	}
	json_object_set_new(root, "offsets", offsets);
	json_object_set_new(root, "records", json_integer(x->records));
	json_object_set_new(root, "reason", json_string(reason));
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}
