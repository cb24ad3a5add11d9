/* stage.c -- the open-addressing table behind stage.h. Values that are overwritten
 * stay in the arena until the transaction ends: transactions are short. */
#include "stage.h"

#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>

static size_t slot_of(const struct sl_stage *s, struct sl_bytes key)
{
	size_t at = (size_t)sl_hash64(key.data, key.size, 0) & (s->slot_count - 1);

	while (s->slots[at] && !sl_bytes_equal(s->entries[s->slots[at] - 1].key, key))
		at = (at + 1) & (s->slot_count - 1);
	return at;
}

static void grow(struct sl_stage *s)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 64;
		s->entries = sl_realloc(s->entries, s->capacity * sizeof *s->entries);
	}
	if (2 * (s->count + 1) <= s->slot_count)
		return;
	s->slot_count = s->slot_count ? 2 * s->slot_count : 256;
	free(s->slots);
	s->slots = sl_calloc(s->slot_count, sizeof *s->slots);
	for (size_t i = 0; i < s->count; i++)
		s->slots[slot_of(s, s->entries[i].key)] = (uint32_t)(i + 1);
}

static void set(struct sl_stage *s, struct sl_bytes key, struct sl_bytes value)
{
	size_t slot;

	grow(s);
	slot = slot_of(s, key);
	if (!s->slots[slot]) {
		s->entries[s->count].key = sl_arena_bytes(&s->memory, key);
		s->slots[slot] = (uint32_t)++s->count;
	}
	s->entries[s->slots[slot] - 1].value = sl_arena_bytes(&s->memory, value);
}

void sl_stage_put(struct sl_stage *s, struct sl_bytes key, struct sl_bytes value)
{
	if (!value.data)
		value = (struct sl_bytes){ "", 0 };
	set(s, key, value);
}

void sl_stage_del(struct sl_stage *s, struct sl_bytes key)
{
	set(s, key, (struct sl_bytes){ NULL, 0 });
}

const struct sl_stage_entry *sl_stage_find(const struct sl_stage *s, struct sl_bytes key)
{
	size_t slot;

	if (s->count == 0)
		return NULL;
	slot = slot_of(s, key);
	return s->slots[slot] ? &s->entries[s->slots[slot] - 1] : NULL;
}

void sl_stage_writes(const struct sl_stage *s, struct sl_writes *to)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->entries[i].value.data)
			sl_writes_put(to, s->entries[i].key, s->entries[i].value);
		else
			sl_writes_del(to, s->entries[i].key);
	}
}

void sl_stage_clear(struct sl_stage *s)
{
	if (s->count == 0)
		return;
	s->count = 0;
	memset(s->slots, 0, s->slot_count * sizeof *s->slots);
	sl_arena_clear(&s->memory);
}

void sl_stage_release(struct sl_stage *s)
{
	free(s->entries);
	free(s->slots);
	sl_arena_release(&s->memory);
	memset(s, 0, sizeof *s);
}

static int by_key(const void *a, const void *b)
{
	return sl_bytes_compare(((const struct sl_stage_entry *)a)->key, ((const struct sl_stage_entry *)b)->key);
}

void sl_stage_scan_begin(struct sl_stage_scan *scan, const struct sl_stage *s, struct sl_store *store,
			 struct sl_bytes prefix)
{
	memset(scan, 0, sizeof *scan);
	for (size_t pass = 0; pass < 2; pass++) {
		scan->count = 0;
		for (size_t i = 0; i < s->count; i++) {
			if (!sl_bytes_begins(s->entries[i].key, prefix))
				continue;
			if (pass)
				scan->staged[scan->count] = s->entries[i];
			scan->count++;
		}
		if (pass == 0 && scan->count)
			scan->staged = sl_malloc(scan->count * sizeof *scan->staged);
		else
			break;
	}
	if (scan->count)
		qsort(scan->staged, scan->count, sizeof *scan->staged, by_key);
	scan->base = store->ops->scan(store, prefix);
}

bool sl_stage_scan_next(struct sl_stage_scan *scan, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	for (;;) {
		const struct sl_stage_entry *staged = scan->at < scan->count ? &scan->staged[scan->at] : NULL;
		int c;

		if (!scan->have && scan->base) {
			scan->have = scan->base->ops->next(scan->base, &scan->key, &scan->value, e);
			if (!scan->have) {
				scan->base->ops->end(scan->base);
				scan->base = NULL;
				if (e->verdict != SL_OK)
					return false;
			}
		}
		if (!staged && !scan->have)
			return false;
		c = !staged ? 1 : !scan->have ? -1 : sl_bytes_compare(staged->key, scan->key);
		if (c > 0) {
			*key = scan->key;
			*value = scan->value;
			scan->have = false;
			return true;
		}
		if (c == 0)
			scan->have = false; /* overwritten or deleted here */
		scan->at++;
		if (staged->value.data) {
			*key = staged->key;
			*value = staged->value;
			return true;
		}
	}
}

void sl_stage_scan_end(struct sl_stage_scan *scan)
{
	if (scan->base)
		scan->base->ops->end(scan->base);
	free(scan->staged);
	memset(scan, 0, sizeof *scan);
}
