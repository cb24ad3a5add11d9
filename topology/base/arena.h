/* arena.h -- memory that dies all at once. Blocks grow by doubling up to 1 MiB;
 * sl_arena_clear keeps the first blocks for the next batch. Not thread-safe:
 * one arena, one owner. Zero-initialise, then use. */
#ifndef SL_ARENA_H
#define SL_ARENA_H

#include "bytes.h"
#include "error.h"

struct sl_arena_block;

struct sl_arena {
	struct sl_arena_block *first, *current;
	size_t used_bytes; /* handed out since the last clear */
};

/* 16-byte aligned, not zeroed; size 0 gives a valid pointer. Never NULL. */
void *sl_arena_alloc(struct sl_arena *a, size_t size);
void *sl_arena_zalloc(struct sl_arena *a, size_t size);
void *sl_arena_copy(struct sl_arena *a, const void *data, size_t size);
/* A copy of the bytes with a NUL after them; absent stays absent. */
struct sl_bytes sl_arena_bytes(struct sl_arena *a, struct sl_bytes bytes);
char *sl_arena_print(struct sl_arena *a, const char *fmt, ...) SL_PRINTF(2, 3);
/* "0.873": any number as "%.3f" prints it, probabilities ten times as fast. */
char *sl_arena_print_share(struct sl_arena *a, double share);
/* Give back the tail of the last allocation: it keeps its first `size` bytes. For
 * "reserve the most it can be, fill, trim". */
void sl_arena_trim(struct sl_arena *a, void *last, size_t size);
void sl_arena_clear(struct sl_arena *a);
void sl_arena_release(struct sl_arena *a);

#endif
