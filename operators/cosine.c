/* cosine.c -- see cosine.h. */
#include "cosine.h"

#include "../topology/base/buf.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

/* Bounds the scratch of one sgemm: 16 MiB, or one query against all rows. */
enum { SIMILARITIES_MAX = 1 << 22, QUERIES_MAX = 64 };

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

/* The k-th largest similarity among the rows of other groups; -infinity when
 * there are fewer. Rows that are not among the best so far, nearly all, cost one
 * comparison. */
static float kth(const struct sl_cosine *c, const float *similarities, struct sl_id group, size_t k)
{
	float best[SL_COSINE_K_MAX]; /* falling */

	for (size_t i = 0; i < k; i++)
		best[i] = -INFINITY;
	for (size_t row = 0; row < c->count; row++) {
		float s = similarities[row];
		size_t i = k - 1;

		if (!(s > best[k - 1]) || sl_id_equal(c->rows[row].group, group))
			continue;
		for (; i > 0 && s > best[i - 1]; i--)
			best[i] = best[i - 1];
		best[i] = s;
	}
	return best[k - 1];
}

static int by_value_then_id(const void *a, const void *b)
{
	const struct sl_cosine_hit *x = a, *y = b;

	if (x->similarity != y->similarity)
		return x->similarity > y->similarity ? -1 : 1;
	return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

static void top_of_one(const struct sl_cosine *c, struct sl_cosine_query *q, const float *similarities, size_t k,
		       struct sl_arena *scratch)
{
	float cut = kth(c, similarities, q->group, k) - SL_COSINE_SLACK;
	struct sl_cosine_hit *list = sl_arena_alloc(scratch, c->count * sizeof *list);
	size_t count = 0;

	for (size_t row = 0; row < c->count; row++) {
		const struct sl_cosine_row *r = &c->rows[row];

		if (!(similarities[row] >= cut) || sl_id_equal(r->group, q->group))
			continue;
		list[count++] =
			(struct sl_cosine_hit){ r->id, sl_cosine_dot(q->vector, c->vectors + row * c->dim, c->dim),
						r->payload };
	}
	qsort(list, count, sizeof *list, by_value_then_id);
	q->hit_count = count < k ? count : k;
	memcpy(q->hits, list, q->hit_count * sizeof *list);
	sl_arena_trim(scratch, list, 0);
}

void sl_cosine_top(struct sl_cosine *c, struct sl_cosine_query *queries, size_t count, size_t k,
		   struct sl_arena *scratch)
{
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
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)c->count, (blasint)c->dim, 1,
			    queries[i].vector, (blasint)c->dim, c->vectors, (blasint)c->dim, 0, c->similarities,
			    (blasint)c->count);
		for (size_t j = 0; j < n; j++)
			top_of_one(c, &queries[i + j], c->similarities + j * c->count, k, scratch);
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
