/* twins.c -- files as byte arrays with a synced length and image, the store as a sorted
 * array with the unsynced batches beside it. */
#include "twins.h"

#include "../topology/base/buf.h"

#include <assert.h>
#include <stdlib.h>

struct twin_file {
	char *path;
	struct sl_buf now, synced; /* bytes as written; bytes as a power cut leaves them at least */
	bool removed, sync_wanted;
};

struct pair {
	struct sl_buf key, value;
};

struct image {
	struct pair *at;
	size_t count, capacity;
};

struct batch {
	struct sl_writes writes;
};

struct twin_disk {
	struct sl_disk base;
	struct sl_twins *twins;
	struct twin_file **files;
	size_t count, capacity;
};

struct handle {
	struct sl_disk_file base;
	struct twin_disk *disk;
	struct twin_file *file;
};

struct twin_store {
	struct sl_store base;
	struct sl_twins *twins;
	struct image now, synced;
	struct batch *unsynced;
	size_t unsynced_count, unsynced_capacity;
};

struct twin_scan {
	struct sl_store_scan base;
	struct image rows;
	size_t at;
};

uint64_t sl_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* True when this operation is the last one, or after it. */
static bool dies(struct sl_twins *t, bool *last)
{
	*last = false;
	if (t->dead)
		return true;
	t->operations++;
	if (t->die_at && t->operations >= t->die_at) {
		t->dead = true;
		*last = true;
		return true;
	}
	return false;
}

static bool gone(struct sl_error *e)
{
	return sl_error_set(e, SL_STOP, "the machine has stopped (simulated)");
}

/* -- disk --------------------------------------------------------------------------- */

static struct twin_file *find(struct twin_disk *d, const char *path)
{
	for (size_t i = 0; i < d->count; i++)
		if (!d->files[i]->removed && strcmp(d->files[i]->path, path) == 0)
			return d->files[i];
	return NULL;
}

static struct sl_disk_file *disk_open(struct sl_disk *disk, const char *path, struct sl_error *e)
{
	struct twin_disk *d = (struct twin_disk *)disk;
	struct twin_file *f = find(d, path);
	struct handle *h;
	bool last;

	if (dies(d->twins, &last)) {
		gone(e);
		return NULL;
	}
	if (!f) {
		f = sl_calloc(1, sizeof *f);
		f->path = sl_strdup(path);
		if (d->count == d->capacity) {
			d->capacity = d->capacity ? 2 * d->capacity : 16;
			d->files = sl_realloc(d->files, d->capacity * sizeof(struct twin_file *));
		}
		d->files[d->count++] = f;
	}
	h = sl_calloc(1, sizeof *h);
	h->base.ops = disk->ops;
	h->disk = d;
	h->file = f;
	return &h->base;
}

static bool disk_write(struct sl_disk_file *file, uint64_t at, const void *data, size_t size, struct sl_error *e)
{
	struct handle *h = (struct handle *)file;
	struct sl_buf *now = &h->file->now;
	bool last, dead = dies(h->disk->twins, &last);

	if (dead && !last)
		return gone(e);
	if (dead) /* torn: some of the bytes made it */
		size = size ? (size_t)(sl_random(&h->disk->twins->seed) % (size + 1)) : 0;
	if (at + size > now->size) {
		size_t more = (size_t)(at + size) - now->size;

		memset(sl_buf_reserve(now, more), 0, more);
		now->size += more;
	}
	if (size)
		memcpy(now->data + at, data, size);
	return dead ? gone(e) : true;
}

static bool disk_read(struct sl_disk_file *file, uint64_t at, void *data, size_t size, size_t *got, struct sl_error *e)
{
	struct handle *h = (struct handle *)file;
	const struct sl_buf *now = &h->file->now;

	*got = 0;
	if (h->disk->twins->dead)
		return gone(e);
	if (at < now->size) {
		*got = now->size - at < size ? (size_t)(now->size - at) : size;
		memcpy(data, now->data + at, *got);
	}
	return true;
}

static void make_durable(struct twin_file *f)
{
	sl_buf_clear(&f->synced);
	sl_buf_add(&f->synced, f->now.data, f->now.size);
	f->sync_wanted = false;
}

static bool disk_sync(struct sl_disk_file *file, struct sl_error *e)
{
	struct handle *h = (struct handle *)file;
	bool last;

	if (dies(h->disk->twins, &last))
		return gone(e);
	if (h->disk->twins->sync_late)
		h->file->sync_wanted = true;
	else
		make_durable(h->file);
	return true;
}

static bool disk_cut(struct sl_disk_file *file, uint64_t size, struct sl_error *e)
{
	struct handle *h = (struct handle *)file;
	bool last;

	if (dies(h->disk->twins, &last))
		return gone(e);
	assert(size <= h->file->now.size);
	h->file->now.size = (size_t)size;
	return h->disk->twins->dead ? gone(e) : disk_sync(file, e);
}

static bool disk_size(struct sl_disk_file *file, uint64_t *size, struct sl_error *e)
{
	struct handle *h = (struct handle *)file;

	if (h->disk->twins->dead)
		return gone(e);
	*size = h->file->now.size;
	return true;
}

static void disk_close(struct sl_disk_file *file)
{
	free(file);
}

static bool disk_remove(struct sl_disk *disk, const char *path, struct sl_error *e)
{
	struct twin_disk *d = (struct twin_disk *)disk;
	struct twin_file *f = find(d, path);
	bool last;

	if (dies(d->twins, &last))
		return gone(e);
	if (f)
		f->removed = true;
	return true;
}

static bool disk_list(struct sl_disk *disk, const char *folder, void *arg, void (*name)(void *arg, const char *name),
		      struct sl_error *e)
{
	struct twin_disk *d = (struct twin_disk *)disk;
	size_t n = strlen(folder);

	if (d->twins->dead)
		return gone(e);
	for (size_t i = 0; i < d->count; i++)
		if (!d->files[i]->removed && strncmp(d->files[i]->path, folder, n) == 0 && d->files[i]->path[n] == '/')
			name(arg, d->files[i]->path + n + 1);
	return true;
}

static void disk_free(struct sl_disk *disk)
{
	struct twin_disk *d = (struct twin_disk *)disk;

	for (size_t i = 0; i < d->count; i++) {
		free(d->files[i]->path);
		sl_buf_release(&d->files[i]->now);
		sl_buf_release(&d->files[i]->synced);
		free(d->files[i]);
	}
	free(d->files);
	free(d);
}

static const struct sl_disk_ops disk_ops = {
	.open = disk_open,
	.write = disk_write,
	.read = disk_read,
	.sync = disk_sync,
	.cut = disk_cut,
	.size = disk_size,
	.close = disk_close,
	.remove = disk_remove,
	.list = disk_list,
	.free = disk_free,
};

/* -- store ---------------------------------------------------------------------------- */

/* Where the key is, or would be. */
static size_t place(const struct image *m, struct sl_bytes key, bool *found)
{
	size_t low = 0, high = m->count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int c = sl_bytes_compare(sl_buf_bytes(&m->at[middle].key), key);

		if (c == 0) {
			*found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void set(struct image *m, struct sl_bytes key, struct sl_bytes value)
{
	bool found;
	size_t at = place(m, key, &found);

	if (!value.data) {
		if (!found)
			return;
		sl_buf_release(&m->at[at].key);
		sl_buf_release(&m->at[at].value);
		memmove(m->at + at, m->at + at + 1, (--m->count - at) * sizeof *m->at);
		return;
	}
	if (!found) {
		if (m->count == m->capacity) {
			m->capacity = m->capacity ? 2 * m->capacity : 64;
			m->at = sl_realloc(m->at, m->capacity * sizeof *m->at);
		}
		memmove(m->at + at + 1, m->at + at, (m->count++ - at) * sizeof *m->at);
		memset(&m->at[at], 0, sizeof m->at[at]);
		sl_buf_add_bytes(&m->at[at].key, key);
	}
	sl_buf_clear(&m->at[at].value);
	sl_buf_add_bytes(&m->at[at].value, value);
}

static void apply(struct image *m, const struct sl_writes *w)
{
	struct sl_bytes key, value;

	for (size_t at = 0; sl_writes_next(w, &at, &key, &value);)
		set(m, key, value);
}

static void image_release(struct image *m)
{
	for (size_t i = 0; i < m->count; i++) {
		sl_buf_release(&m->at[i].key);
		sl_buf_release(&m->at[i].value);
	}
	free(m->at);
	memset(m, 0, sizeof *m);
}

static void image_copy(struct image *to, const struct image *from)
{
	image_release(to);
	for (size_t i = 0; i < from->count; i++) {
		struct sl_bytes value = sl_buf_bytes(&from->at[i].value);

		if (!value.data)
			value.data = "";
		set(to, sl_buf_bytes(&from->at[i].key), value);
	}
}

static bool store_get(struct sl_store *store, struct sl_bytes key, struct sl_buf *value, bool *found,
		      struct sl_error *e)
{
	struct twin_store *s = (struct twin_store *)store;
	size_t at;

	sl_buf_clear(value);
	if (s->twins->dead)
		return gone(e);
	at = place(&s->now, key, found);
	if (*found)
		sl_buf_add(value, s->now.at[at].value.data, s->now.at[at].value.size);
	return true;
}

static struct sl_store_scan *store_scan(struct sl_store *store, struct sl_bytes prefix)
{
	struct twin_store *s = (struct twin_store *)store;
	struct twin_scan *scan = sl_calloc(1, sizeof *scan);
	bool found;

	scan->base.ops = store->ops;
	for (size_t i = place(&s->now, prefix, &found); i < s->now.count; i++) {
		struct sl_bytes value = sl_buf_bytes(&s->now.at[i].value);

		if (!sl_bytes_begins(sl_buf_bytes(&s->now.at[i].key), prefix))
			break;
		if (!value.data)
			value.data = "";
		set(&scan->rows, sl_buf_bytes(&s->now.at[i].key), value);
	}
	return &scan->base;
}

static bool store_next(struct sl_store_scan *base, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	struct twin_scan *scan = (struct twin_scan *)base;

	(void)e;
	if (scan->at == scan->rows.count)
		return false;
	*key = sl_buf_bytes(&scan->rows.at[scan->at].key);
	*value = sl_buf_bytes(&scan->rows.at[scan->at].value);
	if (!value->data)
		value->data = "";
	scan->at++;
	return true;
}

static void store_end(struct sl_store_scan *base)
{
	struct twin_scan *scan = (struct twin_scan *)base;

	image_release(&scan->rows);
	free(scan);
}

/* The broken order: the store says that the bytes are there, then they get there. */
static bool late_syncs(struct sl_twins *t, struct sl_error *e)
{
	struct twin_disk *d = (struct twin_disk *)t->disk;
	bool last;

	for (size_t i = 0; t->sync_late && i < d->count; i++) {
		if (!d->files[i]->sync_wanted)
			continue;
		if (dies(t, &last))
			return gone(e);
		make_durable(d->files[i]);
	}
	return true;
}

static bool store_write(struct sl_store *store, struct sl_writes *const *batches, size_t count, bool durable,
			struct sl_error *e)
{
	struct twin_store *s = (struct twin_store *)store;
	bool last, dead = dies(s->twins, &last);

	if (dead && !last)
		return gone(e);
	/* Dying here, the batch is there whole or not at all; not synced in any case. */
	if (dead && sl_random(&s->twins->seed) % 2)
		return gone(e);
	for (size_t i = 0; i < count; i++) {
		struct batch *b;

		apply(&s->now, batches[i]);
		if (s->unsynced_count == s->unsynced_capacity) {
			s->unsynced_capacity = s->unsynced_capacity ? 2 * s->unsynced_capacity : 8;
			s->unsynced = sl_realloc(s->unsynced, s->unsynced_capacity * sizeof *s->unsynced);
		}
		b = &s->unsynced[s->unsynced_count];
		memset(b, 0, sizeof *b);
		/* batches of one write are one: join them */
		if (i == 0)
			s->unsynced_count++;
		else
			b = &s->unsynced[s->unsynced_count - 1];
		sl_buf_add(&b->writes.bytes, batches[i]->bytes.data, batches[i]->bytes.size);
		b->writes.count += batches[i]->count;
	}
	if (dead)
		return gone(e);
	if (durable) {
		for (size_t i = 0; i < s->unsynced_count; i++) {
			apply(&s->synced, &s->unsynced[i].writes);
			sl_writes_release(&s->unsynced[i].writes);
		}
		s->unsynced_count = 0;
	}
	return late_syncs(s->twins, e);
}

static void store_free(struct sl_store *store)
{
	struct twin_store *s = (struct twin_store *)store;

	image_release(&s->now);
	image_release(&s->synced);
	for (size_t i = 0; i < s->unsynced_count; i++)
		sl_writes_release(&s->unsynced[i].writes);
	free(s->unsynced);
	free(s);
}

static const struct sl_store_ops store_ops = {
	.get = store_get,
	.scan = store_scan,
	.next = store_next,
	.end = store_end,
	.write = store_write,
	.free = store_free,
};

/* -- both -------------------------------------------------------------------------------- */

struct sl_twins *sl_twins_new(uint64_t seed)
{
	struct sl_twins *t = sl_calloc(1, sizeof *t);
	struct twin_disk *disk = sl_calloc(1, sizeof *disk);
	struct twin_store *store = sl_calloc(1, sizeof *store);

	disk->base.ops = &disk_ops;
	store->base.ops = &store_ops;
	disk->twins = store->twins = t;
	t->disk = &disk->base;
	t->store = &store->base;
	t->seed = seed | 1;
	return t;
}

void sl_twins_free(struct sl_twins *t)
{
	t->disk->ops->free(t->disk);
	t->store->ops->free(t->store);
	free(t);
}

void sl_twins_crash(struct sl_twins *t, enum sl_twin_end end)
{
	struct twin_disk *d = (struct twin_disk *)t->disk;
	struct twin_store *s = (struct twin_store *)t->store;

	/* A dead process leaves everything as it is, synced or not. */
	for (size_t i = 0; end == SL_TWIN_POWER && i < d->count; i++) {
		struct twin_file *f = d->files[i];
		size_t more = f->now.size > f->synced.size ? f->now.size - f->synced.size : 0;
		size_t kept = (size_t)(sl_random(&t->seed) % (more + 1));

		/* The synced bytes, and of those behind them a part, of which the last may be garbage. */
		if (kept) {
			memcpy(sl_buf_reserve(&f->synced, kept), f->now.data + f->synced.size, kept);
			f->synced.size += kept;
			if (sl_random(&t->seed) % 4 == 0)
				f->synced.data[f->synced.size - 1] ^= 0x5a;
		}
		sl_buf_clear(&f->now);
		sl_buf_add(&f->now, f->synced.data, f->synced.size);
	}
	if (end == SL_TWIN_POWER) {
		size_t kept = (size_t)(sl_random(&t->seed) % (s->unsynced_count + 1));

		for (size_t i = 0; i < s->unsynced_count; i++) {
			if (i < kept)
				apply(&s->synced, &s->unsynced[i].writes);
			sl_writes_release(&s->unsynced[i].writes);
		}
		s->unsynced_count = 0;
		image_copy(&s->now, &s->synced);
	}
	t->dead = false;
	t->operations = 0;
	t->die_at = 0;
}
