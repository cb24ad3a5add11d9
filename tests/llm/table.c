/* table.c -- open addressing from 64-bit keys, which are hashes already, to 64-bit values. Key 0 is used for empty
 * places, so 0 is kept as 1: two keys in 2^64 are one. */
#include "llm.h"

#include <stdlib.h>

static size_t place_of(const struct table *t, uint64_t key)
{
	size_t i = (size_t)sl_mix64(key) & (t->capacity - 1);

	while (t->keys[i] != 0 && t->keys[i] != key)
		i = (i + 1) & (t->capacity - 1);
	return i;
}

uint64_t *table_find(const struct table *t, uint64_t key)
{
	size_t i;

	if (t->capacity == 0)
		return NULL;
	key += key == 0;
	i = place_of(t, key);
	return t->keys[i] == key ? &t->values[i] : NULL;
}

static void grow(struct table *t)
{
	struct table wider = { .capacity = t->capacity ? 2 * t->capacity : 1024, .count = t->count };

	wider.keys = sl_calloc(wider.capacity, sizeof *wider.keys);
	wider.values = sl_calloc(wider.capacity, sizeof *wider.values);
	for (size_t i = 0; i < t->capacity; i++) {
		size_t to;

		if (t->keys[i] == 0)
			continue;
		to = place_of(&wider, t->keys[i]);
		wider.keys[to] = t->keys[i];
		wider.values[to] = t->values[i];
	}
	table_release(t);
	*t = wider;
}

uint64_t *table_at(struct table *t, uint64_t key)
{
	size_t i;

	if (2 * t->count >= t->capacity)
		grow(t);
	key += key == 0;
	i = place_of(t, key);
	if (t->keys[i] == 0) {
		t->keys[i] = key;
		t->count++;
	}
	return &t->values[i];
}

void table_release(struct table *t)
{
	free(t->keys);
	free(t->values);
	*t = (struct table){ 0 };
}
