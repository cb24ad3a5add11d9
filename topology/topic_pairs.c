/* topic_pairs.c -- see topic_pairs.h. The index takes 48 bytes per id, at most half full. */
#include "topic_pairs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct sl_latest {
	struct sl_id id; /* zero: an empty slot */
	int64_t revision, offset;
	int32_t partition;
	bool retracted;
};

static struct sl_latest *find_slot(struct sl_latest *slots, size_t capacity, struct sl_id id)
{
	size_t mask = capacity - 1, at = (size_t)sl_get_le64(id.b) & mask;

	while (!sl_id_none(slots[at].id) && !sl_id_equal(slots[at].id, id))
		at = (at + 1) & mask;
	return &slots[at];
}

static void note(struct sl_topic_pairs *x, const struct sl_latest *l)
{
	struct sl_latest *slot;

	if (2 * x->count >= x->capacity) {
		size_t capacity = x->capacity ? 2 * x->capacity : 1024;
		struct sl_latest *wider = sl_calloc(capacity, sizeof *wider);

		for (size_t i = 0; i < x->capacity; i++)
			if (!sl_id_none(x->slots[i].id))
				*find_slot(wider, capacity, x->slots[i].id) = x->slots[i];
		free(x->slots);
		x->slots = wider;
		x->capacity = capacity;
	}
	slot = find_slot(x->slots, x->capacity, l->id);
	if (sl_id_none(slot->id))
		x->count++;
	else if (!l->retracted && l->revision < slot->revision)
		return;
	*slot = *l;
}

/* The id under which a record replaces others; none: it stands for itself. Keys of
 * tables and tombstones are ids already or are hashed to one. */
static struct sl_id identity(const struct sl_topic_pairs *x, const struct sl_record *r, const struct sl_pair *p)
{
	struct sl_id id = { { 0 } };

	if (r->value.data && !x->topic->compacted)
		return p->decision.present ? p->id : id;
	if (r->key.size == sizeof id.b) {
		memcpy(id.b, r->key.data, sizeof id.b);
		return id;
	}
	return sl_hash128(r->key.data, r->key.size);
}

static bool counts(const struct sl_topic_pairs *x, const struct sl_record *r, const struct sl_pair *p)
{
	struct sl_id id = identity(x, r, p);
	const struct sl_latest *l;

	if (!r->value.data)
		return false;
	if (sl_id_none(id) || x->capacity == 0)
		return true;
	l = find_slot(x->slots, x->capacity, id);
	return l->partition == x->walk.partition && l->offset == r->offset;
}

/* The next record, decoded; a tombstone leaves the pair blank. */
static bool next(struct sl_topic_pairs *x, struct sl_record *r, struct sl_pair *p, struct sl_error *e)
{
	while (sl_topic_walk_next(&x->walk, r, e)) {
		sl_arena_clear(&x->arena);
		sl_pair_init(p);
		if (!r->value.data || sl_pair_decode(r->value, &x->arena, p, e))
			return true;
		if (!x->skip_malformed)
			return sl_error_in(e, "topic '%s' partition %d offset %" PRId64, x->topic->name,
					   x->walk.partition, r->offset);
	}
	return false;
}

static bool index_topic(struct sl_topic_pairs *x, struct sl_error *e)
{
	struct sl_record r;
	struct sl_pair p;

	while (next(x, &r, &p, e)) {
		struct sl_latest l = { .id = identity(x, &r, &p),
				       .revision = p.decision.revision,
				       .offset = r.offset,
				       .partition = x->walk.partition,
				       .retracted = !r.value.data };

		if (!sl_id_none(l.id))
			note(x, &l);
	}
	sl_topic_walk_rewind(&x->walk);
	return e->verdict == SL_OK;
}

void sl_topic_pairs_open(struct sl_topic_pairs *x, struct sl_client *c, const struct sl_topology *t, int topic)
{
	*x = (struct sl_topic_pairs){ .topic = &t->topics[topic] };
	sl_topic_walk_open(&x->walk, c, t, topic);
}

bool sl_topic_pairs_next(struct sl_topic_pairs *x, struct sl_record *record, struct sl_pair *pair, struct sl_error *e)
{
	if (!x->indexed && !index_topic(x, e))
		return false;
	x->indexed = true;
	while (next(x, record, pair, e))
		if (counts(x, record, pair))
			return true;
	return false;
}

void sl_topic_pairs_rewind(struct sl_topic_pairs *x)
{
	sl_topic_walk_rewind(&x->walk);
}

void sl_topic_pairs_close(struct sl_topic_pairs *x)
{
	sl_topic_walk_close(&x->walk);
	free(x->slots);
	sl_arena_release(&x->arena);
}
