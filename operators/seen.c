/* seen.c -- the row of a pair, and a hash table from band hashes to rows.
 *
 * The row, little-endian:
 *
 *     1   format and flags: 0x20, bit 0 gold, bits 1 to 3 prompt, chosen, rejected whole
 *     16  id        16  pair_key        8  chosen_key
 *     64  band hashes
 *     12  how many shingles: prompt, chosen, rejected
 *     4 x shingles, in this order
 *     16  group (not in format 0x10)
 *
 * Shingles are kept in full, 4 bytes a word (1.5 KB for a pair of 2.3 KB), because a
 * copy is decided by exact Jaccard without the text. They are written in the order
 * of the text: sorting costs more than the rest of the row, and only the few rows
 * that become candidates ever need it.
 *
 * One row holds it all. RocksDB takes 7.5 us of CPU for a row of 1.6 KB, flushes and
 * compactions included, and 1.4 us for one of 120 bytes; a scan reads them at 2.6 and
 * 0.6 us a row. Rows cut in two would open faster (1 instead of 4 seconds for a million
 * pairs, 2 us of either being the index) and cost every pair another put.
 *
 * The index is an open-addressing table of (hash, row), placed by the top bits of
 * the hash, so that growing moves everything forward in order. 17 slots of 8 bytes
 * a pair at a load of 0.35 to 0.7 are 200 to 390 bytes of memory a pair: 78 MB at
 * 200,000 pairs at the worst, 2 to 4 GB at 10 million. The hash stored is the whole
 * hash; at 10 million pairs a probe meets a stranger with probability 0.04.
 *
 * It is a cache: never stored, rebuilt from the rows in row order, which gives the
 * same table whatever the history. */
#include "seen.h"

#include <assert.h>
#include <stdlib.h>

enum {
	FORMAT = 0x20,
	FORMAT_WITHOUT_GROUP = 0x10,
	FORMAT_MASK = 0xf0,
	GOLD = 1,
	WHOLE = 2,
	HEAD_BYTES = 1 + 16 + 16 + 8 + 4 * SL_BANDS,
	COUNTS = 12,
	GROUP_BYTES = 16
};

struct sl_index_slot {
	uint32_t hash;
	uint32_t row1; /* row + 1; 0: free */
};

static uint8_t *put_hashes(uint8_t *to, const uint32_t *hashes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sl_put_le32(to + 4 * i, hashes[i]);
	return to + 4 * count;
}

static void get_hashes(const uint8_t *from, uint32_t *hashes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hashes[i] = sl_get_le32(from + 4 * i);
}

void sl_seen_encode(const struct sl_seen *s, struct sl_buf *to)
{
	size_t size = HEAD_BYTES + COUNTS + GROUP_BYTES;
	uint8_t *at;

	for (int p = 0; p < SL_PARTS; p++)
		size += 4 * s->part[p].count;
	at = sl_buf_reserve(to, size);
	to->size += size;

	at[0] = (uint8_t)(FORMAT | (s->gold ? GOLD : 0));
	for (int p = 0; p < SL_PARTS; p++)
		at[0] |= (uint8_t)(s->part[p].whole ? WHOLE << p : 0);
	memcpy(at + 1, s->id.b, 16);
	memcpy(at + 17, s->pair_key.b, 16);
	sl_put_le64(at + 33, s->chosen_key);
	at = put_hashes(at + 41, s->bands, SL_BANDS);
	for (int p = 0; p < SL_PARTS; p++)
		sl_put_le32(at + 4 * p, (uint32_t)s->part[p].count);
	at += COUNTS;
	for (int p = 0; p < SL_PARTS; p++)
		at = put_hashes(at, s->part[p].at, s->part[p].count);
	memcpy(at, s->group.b, GROUP_BYTES);
}

/* 0: no format of ours. */
static size_t size_around(uint8_t first)
{
	if ((first & FORMAT_MASK) == FORMAT)
		return HEAD_BYTES + COUNTS + GROUP_BYTES;
	return (first & FORMAT_MASK) == FORMAT_WITHOUT_GROUP ? HEAD_BYTES + COUNTS : 0;
}

bool sl_seen_decode_head(struct sl_bytes value, struct sl_seen *s)
{
	const uint8_t *at = value.data;

	*s = (struct sl_seen){ 0 };
	if (value.size == 0 || size_around(at[0]) == 0 || value.size < size_around(at[0]))
		return false;
	s->gold = at[0] & GOLD;
	memcpy(s->id.b, at + 1, 16);
	memcpy(s->pair_key.b, at + 17, 16);
	s->chosen_key = sl_get_le64(at + 33);
	get_hashes(at + 41, s->bands, SL_BANDS);
	return true;
}

bool sl_seen_decode(struct sl_bytes value, struct sl_arena *a, struct sl_seen *s)
{
	const uint8_t *at = value.data;
	size_t sum = 0;

	if (!sl_seen_decode_head(value, s))
		return false;
	for (int p = 0; p < SL_PARTS; p++) {
		s->part[p].count = sl_get_le32(at + HEAD_BYTES + 4 * p);
		s->part[p].whole = at[0] & WHOLE << p;
		sum += s->part[p].count;
	}
	if (value.size != size_around(at[0]) + 4 * sum)
		return false;
	if ((at[0] & FORMAT_MASK) == FORMAT)
		memcpy(s->group.b, at + value.size - GROUP_BYTES, GROUP_BYTES);
	at += HEAD_BYTES + COUNTS;
	for (int p = 0; p < SL_PARTS; p++) {
		if (s->part[p].count == 0)
			return false;
		s->part[p].at = sl_arena_alloc(a, 4 * s->part[p].count);
		get_hashes(at, s->part[p].at, s->part[p].count);
		at += 4 * s->part[p].count;
	}
	return true;
}

void sl_index_hashes(const struct sl_seen *s, uint32_t hashes[SL_PROBES])
{
	memcpy(hashes, s->bands, sizeof s->bands);
	hashes[SL_EXACT] = sl_get_le32(s->pair_key.b);
}

static size_t home(const struct sl_index *x, uint32_t hash)
{
	return (size_t)((uint64_t)hash * x->capacity >> 32);
}

/* Put (hash, row) behind its equals, unless there are enough of them. */
static void insert(struct sl_index *x, struct sl_index_slot new)
{
	size_t i = home(x, new.hash);
	unsigned equals = 0;

	for (; x->at[i].row1; i = (i + 1) & (x->capacity - 1))
		if (x->at[i].hash == new.hash && ++equals == SL_INDEX_DEPTH)
			return;
	x->at[i] = new;
	x->count++;
}

static void grow(struct sl_index *x)
{
	struct sl_index old = *x;
	size_t start = 0;

	x->capacity = old.capacity ? 2 * old.capacity : 4096;
	x->at = sl_calloc(x->capacity, sizeof *x->at);
	x->count = 0;
	/* A run may wrap around the end: begin behind a free slot, so that equals keep their order. */
	while (start < old.capacity && old.at[start].row1)
		start++;
	for (size_t i = 0; i < old.capacity; i++) {
		struct sl_index_slot slot = old.at[(start + i) & (old.capacity - 1)];

		if (slot.row1)
			insert(x, slot);
	}
	free(old.at);
}

void sl_index_add(struct sl_index *x, const uint32_t hashes[SL_PROBES], uint32_t row)
{
	assert(row < UINT32_MAX);
	if ((x->count + SL_PROBES) * 10 > x->capacity * 7)
		grow(x);
	for (size_t i = 0; i < SL_PROBES; i++)
		insert(x, (struct sl_index_slot){ hashes[i], row + 1 });
}

size_t sl_index_find(const struct sl_index *x, uint32_t hash, uint32_t rows[SL_INDEX_DEPTH])
{
	size_t found = 0;

	if (x->capacity == 0)
		return 0;
	for (size_t i = home(x, hash); x->at[i].row1; i = (i + 1) & (x->capacity - 1)) {
		if (x->at[i].hash != hash)
			continue;
		assert(found < SL_INDEX_DEPTH);
		rows[found++] = x->at[i].row1 - 1;
	}
	return found;
}

void sl_index_prefetch(const struct sl_index *x, const uint32_t hashes[SL_PROBES])
{
	if (x->capacity == 0)
		return;
	for (size_t i = 0; i < SL_PROBES; i++)
		__builtin_prefetch(&x->at[home(x, hashes[i])]);
}

void sl_index_release(struct sl_index *x)
{
	free(x->at);
	*x = (struct sl_index){ 0 };
}
