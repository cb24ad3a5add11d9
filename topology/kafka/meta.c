/* meta.c -- the sorted array behind meta.h. A scan takes a copy of its range, so that it sees one state
 * however long it takes and whatever is applied meanwhile. */
#include "meta.h"

#include "../base/thread.h"

#include <stdlib.h>

struct entry {
	struct sl_bytes key, value; /* the entry's own; in one allocation at key.data */
};

struct sl_meta {
	struct sl_store store; /* first: the store is the meta */
	pthread_mutex_t lock;
	struct entry *entries; /* by key */
	size_t count, capacity;
	bool (*write)(void *arg, struct sl_writes *const *batches, size_t count, struct sl_error *e);
	void *arg;
};

struct scan {
	struct sl_store_scan base;
	struct sl_writes found;
	size_t at;
};

/* Where `key` is or would be. */
static size_t place(const struct sl_meta *m, struct sl_bytes key)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sl_bytes_compare(m->entries[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry entry_new(struct sl_bytes key, struct sl_bytes value)
{
	uint8_t *bytes = sl_malloc(key.size + value.size + 1);

	if (key.size)
		memcpy(bytes, key.data, key.size);
	if (value.size)
		memcpy(bytes + key.size, value.data, value.size);
	return (struct entry){ { bytes, key.size }, { bytes + key.size, value.size } };
}

void sl_meta_apply(struct sl_meta *m, struct sl_bytes key, struct sl_bytes value)
{
	size_t at;
	bool found;

	sl_lock(&m->lock);
	at = place(m, key);
	found = at < m->count && sl_bytes_equal(m->entries[at].key, key);
	if (found)
		free((void *)m->entries[at].key.data);
	if (found && !value.data) {
		m->count--;
		memmove(m->entries + at, m->entries + at + 1, (m->count - at) * sizeof *m->entries);
	}
	if (!found && value.data) {
		if (m->count == m->capacity) {
			m->capacity = m->capacity ? 2 * m->capacity : 64;
			m->entries = sl_realloc(m->entries, m->capacity * sizeof *m->entries);
		}
		memmove(m->entries + at + 1, m->entries + at, (m->count - at) * sizeof *m->entries);
		m->count++;
	}
	if (value.data)
		m->entries[at] = entry_new(key, value);
	sl_unlock(&m->lock);
}

static bool get(struct sl_store *store, struct sl_bytes key, struct sl_buf *value, bool *found, struct sl_error *e)
{
	struct sl_meta *m = (struct sl_meta *)store;
	size_t at;

	(void)e;
	sl_buf_clear(value);
	sl_lock(&m->lock);
	at = place(m, key);
	*found = at < m->count && sl_bytes_equal(m->entries[at].key, key);
	if (*found)
		sl_buf_add_bytes(value, m->entries[at].value);
	sl_unlock(&m->lock);
	return true;
}

static struct sl_store_scan *scan(struct sl_store *store, struct sl_bytes prefix)
{
	struct sl_meta *m = (struct sl_meta *)store;
	struct scan *s = sl_calloc(1, sizeof *s);

	s->base.ops = store->ops;
	sl_lock(&m->lock);
	for (size_t at = place(m, prefix); at < m->count && sl_bytes_begins(m->entries[at].key, prefix); at++)
		sl_writes_put(&s->found, m->entries[at].key, m->entries[at].value);
	sl_unlock(&m->lock);
	return &s->base;
}

static bool next(struct sl_store_scan *base, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	struct scan *s = (struct scan *)base;

	(void)e;
	return sl_writes_next(&s->found, &s->at, key, value);
}

static void end(struct sl_store_scan *base)
{
	struct scan *s = (struct scan *)base;

	sl_writes_release(&s->found);
	free(s);
}

static bool write_batches(struct sl_store *store, struct sl_writes *const *batches, size_t count, bool durable,
			  struct sl_error *e)
{
	struct sl_meta *m = (struct sl_meta *)store;

	(void)durable; /* what is committed on the brokers always is */
	return m->write(m->arg, batches, count, e);
}

static void leave(struct sl_store *store)
{
	(void)store;
}

static const struct sl_store_ops ops = {
	.get = get,
	.scan = scan,
	.next = next,
	.end = end,
	.write = write_batches,
	.free = leave,
};

struct sl_meta *
sl_meta_new(bool (*write)(void *arg, struct sl_writes *const *batches, size_t count, struct sl_error *e), void *arg)
{
	struct sl_meta *m = sl_calloc(1, sizeof *m);

	m->store.ops = &ops;
	m->write = write;
	m->arg = arg;
	sl_mutex_init(&m->lock);
	return m;
}

void sl_meta_free(struct sl_meta *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++)
		free((void *)m->entries[i].key.data);
	free(m->entries);
	sl_mutex_destroy(&m->lock);
	free(m);
}

struct sl_store *sl_meta_store(struct sl_meta *m)
{
	return &m->store;
}
