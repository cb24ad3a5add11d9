/* cosine.c -- see cosine.h. */
#include "cosine.h"

#include "../topology/base/buf.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

/* Bounds the scratch of one sgemm: 16 MiB, or one query against all rows. */
enum { SIMILARITIES_MAX = 1 << 22, QUERIES_MAX = 128 };

bool sl_cosine_usable(struct sl_bytes vector)
{
	if (vector.size == 0 || vector.size % sizeof(float))
		return false;
	for (size_t i = 0; i < vector.size; i += sizeof(float)) {
		float x;

		memcpy(&x, (const uint8_t *)vector.data + i, sizeof x);
		if (!isfinite(x))
			return false;
	}
	return true;
}

void *sl_cosine_put(struct sl_cosine *c, struct sl_id id, struct sl_id group, const void *vector, void *payload)
{
	uint32_t row;
	void *old = NULL;

	assert(c->dim > 0);
	if (sl_id_map_get(&c->places, id, &row)) {
		old = c->rows[row].payload;
	} else {
		if (c->count == c->room) {
			c->room = c->room ? c->room * 2 : 64;
			c->rows = sl_realloc(c->rows, c->room * sizeof *c->rows);
			c->vectors = sl_realloc(c->vectors, c->room * c->dim * sizeof *c->vectors);
		}
		row = (uint32_t)c->count++;
		sl_id_map_put(&c->places, id, row);
	}
	c->rows[row] = (struct sl_cosine_row){ id, group, payload };
	memcpy(c->vectors + row * c->dim, vector, c->dim * sizeof *c->vectors);
	return old;
}

void *sl_cosine_remove(struct sl_cosine *c, struct sl_id id)
{
	uint32_t row;
	void *payload;

	if (!sl_id_map_get(&c->places, id, &row))
		return NULL;
	payload = c->rows[row].payload;
	sl_id_map_remove(&c->places, id);
	if (row != --c->count) {
		c->rows[row] = c->rows[c->count];
		memcpy(c->vectors + row * c->dim, c->vectors + c->count * c->dim, c->dim * sizeof *c->vectors);
		sl_id_map_put(&c->places, c->rows[row].id, row);
	}
	return payload;
}

double sl_cosine_dot(const float *a, const float *b, size_t dim)
{
	double lane[4] = { 0 };
	size_t i = 0;

	for (; i + 4 <= dim; i += 4)
		for (size_t j = 0; j < 4; j++)
			lane[j] += (double)a[i + j] * b[i + j];
	for (; i < dim; i++)
		lane[i % 4] += (double)a[i] * b[i];
	return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

/* The rows of other groups within SL_COSINE_SLACK of the k-th largest similarity, of
 * all when there are fewer than k. One pass: a row is noted if it is near the k-th
 * best so far, which only rises; the notes are sifted at the end. Nearly all rows
 * cost one comparison. */
static size_t shortlist(const struct sl_cosine *c, const float *similarities, struct sl_id group, size_t k,
			uint32_t *rows)
{
	float best[SL_COSINE_K_MAX], cut = -INFINITY; /* best: falling */
	size_t noted = 0, count = 0;

	for (size_t i = 0; i < k; i++)
		best[i] = -INFINITY;
	for (size_t row = 0; row < c->count; row++) {
		float s = similarities[row];
		size_t i = k - 1;

		if (!(s >= cut) || sl_id_equal(c->rows[row].group, group))
			continue;
		rows[noted++] = (uint32_t)row;
		if (!(s > best[k - 1]))
			continue;
		for (; i > 0 && s > best[i - 1]; i--)
			best[i] = best[i - 1];
		best[i] = s;
		cut = best[k - 1] - SL_COSINE_SLACK;
	}
	for (size_t i = 0; i < noted; i++)
		if (similarities[rows[i]] >= cut)
			rows[count++] = rows[i];
	return count;
}

static int by_value_then_id(const void *a, const void *b)
{
	const struct sl_cosine_hit *x = a, *y = b;

	if (x->similarity != y->similarity)
		return x->similarity > y->similarity ? -1 : 1;
	return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

static void top_of_one(const struct sl_cosine *c, struct sl_cosine_query *q, const float *similarities, size_t k,
		       uint32_t *rows, struct sl_arena *scratch)
{
	size_t count = shortlist(c, similarities, q->group, k, rows);
	struct sl_cosine_hit *list = sl_arena_alloc(scratch, count * sizeof *list);

	for (size_t i = 0; i < count; i++) {
		const struct sl_cosine_row *r = &c->rows[rows[i]];

		list[i] =
			(struct sl_cosine_hit){ r->id, sl_cosine_dot(q->vector, c->vectors + rows[i] * c->dim, c->dim),
						r->payload };
	}
	qsort(list, count, sizeof *list, by_value_then_id);
	q->hit_count = count < k ? count : k;
	memcpy(q->hits, list, q->hit_count * sizeof *list);
	sl_arena_trim(scratch, list, 0);
}

/* similarities[count x rows]. A few queries are better done one by one: packing the
 * rows for sgemm costs more than it saves. */
static void similarities_of(struct sl_cosine *c, const float *vectors, size_t count)
{
	blasint rows = (blasint)c->count, dim = (blasint)c->dim;

	if (count > 4)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)count, rows, dim, 1, vectors, dim,
			    c->vectors, dim, 0, c->similarities, rows);
	else
		for (size_t i = 0; i < count; i++)
			cblas_sgemv(CblasRowMajor, CblasNoTrans, rows, dim, 1, c->vectors, dim, vectors + i * c->dim, 1,
				    0, c->similarities + i * c->count, 1);
}

void sl_cosine_top(struct sl_cosine *c, struct sl_cosine_query *queries, size_t count, size_t k,
		   struct sl_arena *scratch)
{
	uint32_t *rows = sl_arena_alloc(scratch, c->count * sizeof *rows);
	size_t at_once;

	assert(k >= 1 && k <= SL_COSINE_K_MAX);
	for (size_t i = 0; i < count; i++)
		queries[i].hit_count = 0;
	if (c->count == 0)
		return;
	at_once = SIMILARITIES_MAX / c->count;
	at_once = at_once < 1 ? 1 : at_once > QUERIES_MAX ? QUERIES_MAX : at_once;
	if (c->similarities_room < at_once * c->count) {
		c->similarities_room = at_once * c->room;
		free(c->similarities);
		c->similarities = sl_malloc(c->similarities_room * sizeof *c->similarities);
	}
	for (size_t i = 0; i < count; i += at_once) {
		size_t n = count - i < at_once ? count - i : at_once;

		assert(queries[i + n - 1].vector == queries[i].vector + (n - 1) * c->dim);
		similarities_of(c, queries[i].vector, n);
		for (size_t j = 0; j < n; j++)
			top_of_one(c, &queries[i + j], c->similarities + j * c->count, k, rows, scratch);
	}
}

void sl_cosine_release(struct sl_cosine *c)
{
	free(c->vectors);
	free(c->rows);
	free(c->similarities);
	sl_id_map_release(&c->places);
	*c = (struct sl_cosine){ 0 };
}
