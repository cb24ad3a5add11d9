/* least.c -- see least.h. */
#include "least.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare(uint64_t key_a, struct sl_id id_a, uint64_t key_b, struct sl_id id_b)
{
	if (key_a != key_b)
		return key_a < key_b ? -1 : 1;
	return memcmp(id_a.b, id_b.b, sizeof id_a.b);
}

static int by_key(const void *a, const void *b)
{
	const struct sl_least_item *x = a, *y = b;

	return compare(x->key, x->id, y->key, y->id);
}

bool sl_least_wants(const struct sl_least *x, uint64_t key, struct sl_id id)
{
	return x->count < x->most || compare(key, id, x->at[0].key, x->at[0].id) < 0;
}

static void swap(struct sl_least *x, size_t i, size_t k)
{
	struct sl_least_item item = x->at[i];

	x->at[i] = x->at[k];
	x->at[k] = item;
}

static size_t up(struct sl_least *x, size_t i)
{
	for (size_t above = (i - 1) / 2; i > 0 && by_key(&x->at[i], &x->at[above]) > 0; above = (i - 1) / 2) {
		swap(x, i, above);
		i = above;
	}
	return i;
}

static size_t down(struct sl_least *x, size_t i)
{
	for (;;) {
		size_t largest = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < x->count; child++)
			if (by_key(&x->at[child], &x->at[largest]) > 0)
				largest = child;
		if (largest == i)
			return i;
		swap(x, i, largest);
		i = largest;
	}
}

struct sl_buf *sl_least_add(struct sl_least *x, uint64_t key, struct sl_id id)
{
	size_t i;

	assert(x->most > 0 && sl_least_wants(x, key, id));
	if (x->count < x->most) {
		if ((x->count & (x->count - 1)) == 0) /* room is the next power of two */
			x->at = sl_realloc(x->at, (x->count ? 2 * x->count : 1) * sizeof *x->at);
		x->at[x->count] = (struct sl_least_item){ .key = key, .id = id };
		i = up(x, x->count++);
	} else {
		x->at[0].key = key;
		x->at[0].id = id;
		i = down(x, 0);
	}
	sl_buf_clear(&x->at[i].value);
	return &x->at[i].value;
}

void sl_least_sort(struct sl_least *x)
{
	if (x->count)
		qsort(x->at, x->count, sizeof *x->at, by_key);
}

void sl_least_release(struct sl_least *x)
{
	for (size_t i = 0; i < x->count; i++)
		sl_buf_release(&x->at[i].value);
	free(x->at);
	*x = (struct sl_least){ 0 };
}
