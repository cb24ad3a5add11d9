/* tables.c -- the versioned map behind tables.h. */
#include "tables.h"

#include "base/buf.h"
#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>

#define SEQUENCE_DIGITS 15 /* the sum of thousands of writers stays below 2^63 */

static size_t slot_of(const struct sl_table *t, struct sl_bytes key)
{
	size_t at = (size_t)sl_hash64(key.data, key.size, 1) & (t->slot_count - 1);

	while (t->slots[at] && !sl_bytes_equal(t->entries[t->slots[at] - 1]->key, key))
		at = (at + 1) & (t->slot_count - 1);
	return at;
}

struct sl_table *sl_table_new(void)
{
	struct sl_table *t = sl_calloc(1, sizeof *t);
	int failed = pthread_rwlock_init(&t->lock, NULL);

	assert(failed == 0);
	(void)failed;
	t->slot_count = 64;
	t->slots = sl_calloc(t->slot_count, sizeof *t->slots);
	return t;
}

void sl_table_free(struct sl_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		free(t->entries[i]);
	free(t->entries);
	free(t->slots);
	for (size_t i = 0; i < t->writer_count; i++)
		free(t->writers[i].name);
	free(t->writers);
	pthread_rwlock_destroy(&t->lock);
	free(t);
}

static void grow(struct sl_table *t)
{
	uint32_t *old = t->slots;
	size_t old_count = t->slot_count;

	if (t->count == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 64;
		t->entries = sl_realloc(t->entries, t->capacity * sizeof(struct sl_table_entry *));
	}
	if (2 * (t->keys + 1) <= t->slot_count)
		return;
	t->slot_count *= 2;
	t->slots = sl_calloc(t->slot_count, sizeof *t->slots);
	for (size_t i = 0; i < old_count; i++)
		if (old[i])
			t->slots[slot_of(t, t->entries[old[i] - 1]->key)] = old[i];
	free(old);
}

/* The largest sequence number of a writer, 0 for a new one. */
static int64_t *last_of(struct sl_table *t, struct sl_bytes name)
{
	size_t low = 0, high = t->writer_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int c = sl_bytes_compare(sl_text(t->writers[middle].name), name);

		if (c == 0)
			return &t->writers[middle].last;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (t->writer_count == t->writer_capacity) {
		t->writer_capacity = t->writer_capacity ? 2 * t->writer_capacity : 4;
		t->writers = sl_realloc(t->writers, t->writer_capacity * sizeof *t->writers);
	}
	memmove(t->writers + low + 1, t->writers + low, (t->writer_count - low) * sizeof *t->writers);
	t->writers[low].name = sl_calloc(1, name.size + 1);
	memcpy(t->writers[low].name, name.data, name.size);
	t->writers[low].last = 0;
	t->writer_count++;
	return &t->writers[low].last;
}

/* "<writer>:<n>"; false: it is not. */
static bool parse_sequence(struct sl_bytes text, struct sl_bytes *writer, int64_t *n)
{
	const char *s = text.data;
	size_t colon = text.size;

	while (colon > 0 && s[colon - 1] != ':')
		colon--;
	if (colon < 2 || text.size - colon < 1 || text.size - colon > SEQUENCE_DIGITS)
		return false;
	*n = 0;
	for (size_t i = colon; i < text.size; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*n = *n * 10 + (s[i] - '0');
	}
	*writer = (struct sl_bytes){ s, colon - 1 };
	return *n > 0 && !memchr(s, 0, colon - 1);
}

/* What a record adds to the stamp. */
static int64_t stamp_step(struct sl_table *t, struct sl_bytes headers)
{
	struct sl_bytes writer;
	int64_t n, step, *last;

	if (!parse_sequence(sl_header_find(headers, SL_TABLE_SEQUENCE), &writer, &n))
		return 1;
	last = last_of(t, writer);
	step = n > *last ? n - *last : 0;
	*last += step;
	return step;
}

void sl_table_apply(struct sl_table *t, struct sl_bytes key, struct sl_bytes value, struct sl_bytes headers)
{
	struct sl_table_entry *entry = sl_malloc(sizeof *entry + key.size + value.size + 1);
	uint8_t *text = (uint8_t *)(entry + 1);
	size_t slot;

	if (key.size)
		memcpy(text, key.data, key.size);
	if (value.size)
		memcpy(text + key.size, value.data, value.size);
	*entry = (struct sl_table_entry){ .key = { text, key.size } };
	if (value.data)
		entry->value = (struct sl_bytes){ text + key.size, value.size };
	pthread_rwlock_wrlock(&t->lock);
	grow(t);
	entry->version = (int64_t)t->count + 1;
	entry->stamp = (t->count ? t->entries[t->count - 1]->stamp : 0) + stamp_step(t, headers);
	slot = slot_of(t, key);
	if (t->slots[slot]) {
		entry->older = t->entries[t->slots[slot] - 1];
		entry->older->superseded = entry->version;
	} else {
		t->keys++;
	}
	t->entries[t->count++] = entry;
	t->slots[slot] = (uint32_t)entry->version;
	pthread_rwlock_unlock(&t->lock);
}

int64_t sl_table_now(struct sl_table *t)
{
	int64_t now;

	pthread_rwlock_rdlock(&t->lock);
	now = (int64_t)t->count;
	pthread_rwlock_unlock(&t->lock);
	return now;
}

int64_t sl_table_stamp(struct sl_table *t, int64_t version)
{
	int64_t stamp;

	pthread_rwlock_rdlock(&t->lock);
	assert(version >= 0 && version <= (int64_t)t->count);
	stamp = version ? t->entries[version - 1]->stamp : 0;
	pthread_rwlock_unlock(&t->lock);
	return stamp;
}

const struct sl_table_entry *sl_table_at(struct sl_table *t, struct sl_bytes key, int64_t version)
{
	const struct sl_table_entry *entry = NULL;
	size_t slot;

	pthread_rwlock_rdlock(&t->lock);
	slot = slot_of(t, key);
	if (t->slots[slot])
		entry = t->entries[t->slots[slot] - 1];
	while (entry && entry->version > version)
		entry = entry->older;
	pthread_rwlock_unlock(&t->lock);
	return entry;
}

const struct sl_table_entry *sl_table_after(struct sl_table *t, int64_t after, int64_t version)
{
	const struct sl_table_entry *found = NULL;

	pthread_rwlock_rdlock(&t->lock);
	assert(version <= (int64_t)t->count);
	for (int64_t v = after + 1; v <= version && !found; v++) {
		const struct sl_table_entry *entry = t->entries[v - 1];

		if (entry->superseded == 0 || entry->superseded > version)
			found = entry;
	}
	pthread_rwlock_unlock(&t->lock);
	return found;
}
