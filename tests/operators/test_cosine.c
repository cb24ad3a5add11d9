/* The exact top-k against brute force: ties, own groups, changes, and the same
 * bits for any cut of the queries into batches. */
#include "operators/cosine.h"
#include "topology/base/buf.h"

#include <cblas.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t state;

static uint64_t random64(void)
{
	state += 0x9e3779b97f4a7c15u;
	return sl_mix64(state);
}

static struct sl_id id_of(uint64_t n)
{
	return sl_hash128(&n, sizeof n);
}

static void unit_vector(float *v, size_t dim)
{
	double squares = 0;

	for (size_t i = 0; i < dim; i++) {
		v[i] = (float)((double)(random64() >> 40) / 0x1p23 - 1);
		squares += (double)v[i] * v[i];
	}
	for (size_t i = 0; i < dim; i++)
		v[i] = (float)(v[i] / sqrt(squares));
}

/* `rows` vectors, one in four a copy of an earlier one so that there are ties;
 * groups of about five rows. */
static void fill(struct sl_cosine *c, size_t rows, size_t dim)
{
	float *v = sl_malloc(dim * sizeof *v);

	c->dim = dim;
	for (size_t i = 0; i < rows; i++) {
		if (i > 0 && random64() % 4 == 0)
			memcpy(v, c->vectors + random64() % c->count * dim, dim * sizeof *v);
		else
			unit_vector(v, dim);
		assert_null(sl_cosine_put(c, id_of(i), id_of(1000000 + random64() % (rows / 5 + 1)), v, NULL));
	}
	free(v);
}

static int compare(const void *a, const void *b)
{
	const struct sl_cosine_hit *x = a, *y = b;

	if (x->similarity != y->similarity)
		return x->similarity > y->similarity ? -1 : 1;
	return memcmp(x->id.b, y->id.b, 16);
}

static size_t brute_force(const struct sl_cosine *c, const struct sl_cosine_query *q, size_t k,
			  struct sl_cosine_hit *all)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		if (!sl_id_equal(c->rows[i].group, q->group))
			all[n++] = (struct sl_cosine_hit){ c->rows[i].id,
							   sl_cosine_dot(q->vector, c->vectors + i * c->dim, c->dim),
							   NULL };
	qsort(all, n, sizeof *all, compare);
	return n < k ? n : k;
}

static void check(const struct sl_cosine *c, const struct sl_cosine_query *q, size_t count, size_t k)
{
	struct sl_cosine_hit *all = sl_malloc((c->count + 1) * sizeof *all);

	for (size_t i = 0; i < count; i++) {
		size_t n = brute_force(c, &q[i], k, all);

		assert_int_equal(q[i].hit_count, n);
		for (size_t j = 0; j < n; j++) {
			assert_memory_equal(q[i].hits[j].id.b, all[j].id.b, 16);
			assert_memory_equal(&q[i].hits[j].similarity, &all[j].similarity, sizeof(double));
		}
	}
	free(all);
}

static void test_brute_force(void **unused)
{
	static const struct {
		size_t rows, dim, queries, k;
	} cases[] = {
		{ 1, 16, 3, 8 },     { 7, 16, 5, 8 },      { 8, 17, 9, 8 },      { 40, 64, 33, 1 },
		{ 500, 256, 70, 8 }, { 1500, 37, 130, 3 }, { 300, 256, 257, 8 }, { 0, 256, 4, 8 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t rows = cases[i].rows, dim = cases[i].dim, queries = cases[i].queries, k = cases[i].k;
		struct sl_cosine c = { 0 };
		struct sl_arena a = { 0 };
		float *vectors = sl_malloc(queries * dim * sizeof *vectors);
		struct sl_cosine_query *q = sl_calloc(queries, sizeof *q);

		state = i;
		fill(&c, rows, dim);
		for (size_t j = 0; j < queries; j++) {
			size_t row = rows ? random64() % rows : 0;

			q[j] = (struct sl_cosine_query){ .vector = vectors + j * dim };
			unit_vector(vectors + j * dim, dim);
			if (rows && j % 3 == 0) /* a gold vector itself: similarity 1, and its ties */
				memcpy(vectors + j * dim, c.vectors + row * dim, dim * sizeof *vectors);
			if (rows && j % 2 == 0)
				q[j].group = c.rows[row].group;
		}
		sl_cosine_top(&c, q, queries, k, &a);
		check(&c, q, queries, k);

		/* Any other cut gives the same bits. */
		struct sl_cosine_query *again = sl_malloc(queries * sizeof *again);
		for (size_t at_once = 1; at_once <= queries; at_once = at_once * 2 + 1) {
			memcpy(again, q, queries * sizeof *again);
			for (size_t j = 0; j < queries; j += at_once)
				sl_cosine_top(&c, again + j, queries - j < at_once ? queries - j : at_once, k, &a);
			for (size_t j = 0; j < queries; j++) {
				assert_int_equal(again[j].hit_count, q[j].hit_count);
				assert_memory_equal(again[j].hits, q[j].hits, q[j].hit_count * sizeof q[j].hits[0]);
			}
		}
		free(again);
		free(q);
		free(vectors);
		sl_arena_release(&a);
		sl_cosine_release(&c);
	}
}

/* Rows come, change and go; what is left answers like an index built from it. */
static void test_changes(void **unused)
{
	enum { DIM = 16, IDS = 60, STEPS = 400 };
	struct sl_cosine c = { .dim = DIM };
	struct sl_arena a = { 0 };
	float now[IDS][DIM];
	bool there[IDS] = { false };
	int payloads[IDS];

	(void)unused;
	state = 99;
	for (int step = 0; step < STEPS; step++) {
		size_t i = random64() % IDS, left = 0;
		float query[DIM];
		struct sl_cosine_query q = { .vector = query };

		if (random64() % 3) {
			unit_vector(now[i], DIM);
			assert_ptr_equal(sl_cosine_put(&c, id_of(i), id_of(i / 3 + 1000), now[i], &payloads[i]),
					 there[i] ? (void *)&payloads[i] : NULL);
			there[i] = true;
		} else {
			assert_ptr_equal(sl_cosine_remove(&c, id_of(i)), there[i] ? (void *)&payloads[i] : NULL);
			there[i] = false;
		}
		for (size_t j = 0; j < IDS; j++) {
			uint32_t row;

			left += there[j];
			assert_int_equal(sl_id_map_get(&c.places, id_of(j), &row), there[j]);
			if (there[j]) {
				assert_memory_equal(c.vectors + row * DIM, now[j], sizeof now[j]);
				assert_ptr_equal(c.rows[row].payload, &payloads[j]);
			}
		}
		assert_int_equal(c.count, left);
		unit_vector(query, DIM);
		q.group = id_of(i / 3 + 1000);
		sl_cosine_top(&c, &q, 1, 8, &a);
		check(&c, &q, 1, 8);
		for (size_t j = 0; j < q.hit_count; j++)
			assert_true(q.hits[j].payload != &payloads[i]);
		sl_arena_clear(&a);
	}
	sl_arena_release(&a);
	sl_cosine_release(&c);
}

/* Numbers that are no numbers are never found, and never harm. */
static void test_foreign_numbers(void **unused)
{
	enum { DIM = 16 };
	struct sl_cosine c = { .dim = DIM };
	struct sl_arena a = { 0 };
	float v[DIM], nan_vector[DIM];
	struct sl_cosine_query q = { .vector = v };

	(void)unused;
	for (size_t i = 0; i < DIM; i++) {
		v[i] = 0.25f;
		nan_vector[i] = NAN;
	}
	sl_cosine_put(&c, id_of(1), id_of(2), nan_vector, NULL);
	sl_cosine_put(&c, id_of(3), id_of(4), v, NULL);
	sl_cosine_top(&c, &q, 1, 8, &a);
	assert_int_equal(q.hit_count, 1);
	assert_true(q.hits[0].similarity == 1);
	q.vector = nan_vector;
	sl_cosine_top(&c, &q, 1, 8, &a);
	assert_int_equal(q.hit_count, 0);
	sl_arena_release(&a);
	sl_cosine_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_brute_force),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_foreign_numbers),
	};

	openblas_set_num_threads(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
