/* seen.h -- what dedupe remembers of a pair: its row, and the index over all rows. */
#ifndef SL_SEEN_H
#define SL_SEEN_H

#include "../topology/base/buf.h"
#include "minhash.h"

enum sl_part { SL_PROMPT, SL_CHOSEN, SL_REJECTED, SL_PARTS };

/* A pair as far as copies are concerned. */
struct sl_seen {
	struct sl_id id;
	struct sl_id pair_key;
	struct sl_id group;    /* none: of a row that was written before rows had it */
	uint64_t chosen_key;   /* of the chosen answer: tells which way round an exact copy is */
	uint64_t rejected_key; /* not stored */
	bool gold;
	uint32_t bands[SL_BANDS];
	struct sl_shingles part[SL_PARTS];
};

/* Appends the value of a row. Shingles are written as they are, sorted or not. */
void sl_seen_encode(const struct sl_seen *s, struct sl_buf *to);
/* False when these are not the bytes of a row. Shingles are copied into `a`. */
bool sl_seen_decode(struct sl_bytes value, struct sl_arena *a, struct sl_seen *s);
/* The same without the shingles: what the index needs. */
bool sl_seen_decode_head(struct sl_bytes value, struct sl_seen *s);

/* Row numbers by 32-bit hash. A hash keeps its first SL_INDEX_DEPTH rows; more of
 * them would make one common text the cost of every pair that shares it. False hits
 * are possible: the row decides. Zero-initialise, then use. */
enum { SL_INDEX_DEPTH = 16 };

struct sl_index {
	struct sl_index_slot *at;
	size_t capacity; /* a power of two, or 0 */
	size_t count;
};

/* One lookup: SL_BANDS band hashes and the pair_key's. */
enum { SL_EXACT = SL_BANDS, SL_PROBES };
void sl_index_hashes(const struct sl_seen *s, uint32_t hashes[SL_PROBES]);

void sl_index_add(struct sl_index *x, const uint32_t hashes[SL_PROBES], uint32_t row);
/* Rows under one hash, in the order they were added; returns how many. */
size_t sl_index_find(const struct sl_index *x, uint32_t hash, uint32_t rows[SL_INDEX_DEPTH]);
/* Start loading what the next finds will touch. */
void sl_index_prefetch(const struct sl_index *x, const uint32_t hashes[SL_PROBES]);
void sl_index_release(struct sl_index *x);

#endif
