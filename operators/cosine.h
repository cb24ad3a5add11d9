/* cosine.h -- the k nearest unit vectors, exactly, and the same bits for any batch.
 *
 * One sgemm of the queries against all rows is fast (for a few queries: sgemv), but its
 * last bits change with the shape of the batch. So it only makes a shortlist: every
 * row within SL_COSINE_SLACK of the k-th. The shortlist is computed again by one dot
 * product of fixed order and ranked by (value, id). Rounding in the dot product of two
 * unit vectors is at most dim x 6e-8, 1.5e-5 for dim 256, and in practice grows like
 * sqrt(dim): below half the slack, so no row of the true top k is missed.
 *
 * A row belongs to a group; a query never finds rows of its own group. The index
 * is a cache: rows are kept in no particular order, a removed one is replaced
 * by the last. One owner, one thread; set OpenBLAS to one thread first. */
#ifndef SL_COSINE_H
#define SL_COSINE_H

#include "../topology/base/arena.h"
#include "../topology/base/bytes.h"
#include "id_map.h"

#define SL_COSINE_SLACK 1e-4f
#define SL_COSINE_K_MAX 8

struct sl_cosine {
	size_t dim;
	size_t count, room;
	float *vectors; /* count x dim */
	struct sl_cosine_row {
		struct sl_id id, group;
		void *payload;
	} * rows;
	struct sl_id_map places; /* id to row */
	float *similarities;     /* scratch of one sgemm */
	size_t similarities_room;
};

struct sl_cosine_hit {
	struct sl_id id;
	double similarity;
	void *payload;
};

struct sl_cosine_query {
	const float *vector; /* dim numbers; the vectors of consecutive queries lie one behind the other */
	struct sl_id group;
	struct sl_cosine_hit hits[SL_COSINE_K_MAX]; /* best first */
	size_t hit_count;
};

/* A vector that can be compared: whole numbers of float32, at least one, all finite. */
bool sl_cosine_usable(struct sl_bytes vector);

/* A row is added or replaced; returns the payload it replaces, NULL for none.
 * `vector` need not be aligned. */
void *sl_cosine_put(struct sl_cosine *c, struct sl_id id, struct sl_id group, const void *vector, void *payload);
/* Returns the payload of the row, NULL when there was none. */
void *sl_cosine_remove(struct sl_cosine *c, struct sl_id id);

/* Fills hits of every query. 1 <= k <= SL_COSINE_K_MAX. */
void sl_cosine_top(struct sl_cosine *c, struct sl_cosine_query *queries, size_t count, size_t k,
		   struct sl_arena *scratch);

/* The dot product that decides: double sums of float products, in order of index,
 * in four interleaved lanes. */
double sl_cosine_dot(const float *a, const float *b, size_t dim);

void sl_cosine_release(struct sl_cosine *c); /* payloads are the caller's */

#endif
