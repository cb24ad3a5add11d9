/* arena.c -- a list of blocks filled from the front.
 *
 *     first -> [used......free] -> [used..free] -> [kept, empty] -> NULL
 *                                   ^ current
 *
 * Blocks behind `current` are empty: a clear moves `current` back to the front,
 * so a batch that fits what the last one needed calls malloc not once. Blocks
 * grow by doubling from 4 KiB to 1 MiB; a larger request gets a block of its
 * own size. Clear keeps up to 8 MiB and frees the rest, so one huge record does
 * not pin its memory for ever. Not thread-safe: one arena, one owner. */
#include "arena.h"

#include "buf.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_MIN = 4096, BLOCK_MAX = 1 << 20, KEEP_MAX = 8 << 20, ALIGN = 16 };

struct sl_arena_block {
	struct sl_arena_block *next;
	size_t size, used;
	size_t pad; /* keeps data 16-byte aligned */
	uint8_t data[];
};

_Static_assert(sizeof(struct sl_arena_block) % ALIGN == 0, "the data of a block is aligned");

static struct sl_arena_block *block_for(struct sl_arena *a, size_t size)
{
	struct sl_arena_block *current = a->current;
	size_t room = BLOCK_MIN;

	/* The block behind, when it is large enough; otherwise a new one in between. */
	if (current && current->next && current->next->size >= size) {
		current->next->used = 0;
		return current->next;
	}
	if (current)
		room = current->size * 2 < BLOCK_MAX ? current->size * 2 : BLOCK_MAX;
	if (room < size)
		room = size;

	struct sl_arena_block *b = sl_malloc(sizeof *b + room);
	b->size = room;
	b->used = 0;
	b->next = current ? current->next : NULL;
	if (current)
		current->next = b;
	else
		a->first = b;
	return b;
}

void *sl_arena_alloc(struct sl_arena *a, size_t size)
{
	if (size > SIZE_MAX / 4)
		sl_oom(size);
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!a->current || size > a->current->size - a->current->used)
		a->current = block_for(a, size);

	void *p = a->current->data + a->current->used;
	a->current->used += size;
	a->used_bytes += size;
	return p;
}

void sl_arena_trim(struct sl_arena *a, void *last, size_t size)
{
	struct sl_arena_block *b = a->current;
	size_t start = (size_t)((uint8_t *)last - b->data);
	size_t end = start + ((size + ALIGN - 1) & ~(size_t)(ALIGN - 1));

	assert(start <= b->used);
	assert(end <= b->used);
	a->used_bytes -= b->used - end;
	b->used = end;
}

void *sl_arena_zalloc(struct sl_arena *a, size_t size)
{
	return memset(sl_arena_alloc(a, size), 0, size);
}

void *sl_arena_copy(struct sl_arena *a, const void *data, size_t size)
{
	void *p = sl_arena_alloc(a, size);

	if (size)
		memcpy(p, data, size);
	return p;
}

struct sl_bytes sl_arena_bytes(struct sl_arena *a, struct sl_bytes bytes)
{
	if (!bytes.data)
		return bytes;

	uint8_t *p = sl_arena_alloc(a, bytes.size + 1);
	if (bytes.size)
		memcpy(p, bytes.data, bytes.size);
	p[bytes.size] = 0;
	return (struct sl_bytes){ p, bytes.size };
}

char *sl_arena_print(struct sl_arena *a, const char *fmt, ...)
{
	char few[256]; /* nearly all are this short, and printed once */
	va_list args, again;
	int size;

	va_start(args, fmt);
	va_copy(again, args);
	size = vsnprintf(few, sizeof few, fmt, args);
	assert(size >= 0);
	char *p = sl_arena_alloc(a, (size_t)size + 1);
	if ((size_t)size < sizeof few)
		memcpy(p, few, (size_t)size + 1);
	else
		vsnprintf(p, (size_t)size + 1, fmt, again);
	va_end(again);
	va_end(args);
	return p;
}

char *sl_arena_print_share(struct sl_arena *a, double share)
{
	double scaled = share * 1000, low, beyond, rest;
	unsigned n;
	char *p;

	if (!(share > 0 && share <= 1))
		return sl_arena_print(a, "%.3f", share);
	/* To the nearest, ties to even, of the exact product: scaled + rest. A difference from the middle that is not 0
	 * is at least a bit of `scaled`, so `rest`, half a bit at most, decides only there. */
	rest = fma(share, 1000, -scaled);
	low = floor(scaled);
	beyond = scaled - low - 0.5;
	if (beyond == 0)
		beyond = rest;
	n = (unsigned)low;
	n += beyond > 0 || (beyond == 0 && n % 2);
	p = sl_arena_alloc(a, sizeof "0.000");
	p[0] = (char)('0' + n / 1000);
	p[1] = '.';
	p[2] = (char)('0' + n / 100 % 10);
	p[3] = (char)('0' + n / 10 % 10);
	p[4] = (char)('0' + n % 10);
	p[5] = 0;
	return p;
}

void sl_arena_clear(struct sl_arena *a)
{
	size_t kept = 0;

	for (struct sl_arena_block **at = &a->first; *at;) {
		struct sl_arena_block *b = *at;

		if (kept + b->size > KEEP_MAX) {
			*at = b->next;
			free(b);
			continue;
		}
		kept += b->size;
		b->used = 0;
		at = &b->next;
	}
	a->current = a->first;
	a->used_bytes = 0;
}

void sl_arena_release(struct sl_arena *a)
{
	for (struct sl_arena_block *b = a->first, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct sl_arena){ 0 };
}
