/* dealt.c -- see dealt.h. */
#include "dealt.h"

#include <stdlib.h>

/* The first run that ends behind `offset`. */
static size_t run_behind(const struct sl_dealt *d, int64_t offset)
{
	size_t low = 0, high = d->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (d->runs[middle].to <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool sl_dealt_has(const struct sl_dealt *d, int64_t offset)
{
	size_t i = run_behind(d, offset);

	return offset < d->mark || (i < d->count && d->runs[i].from <= offset);
}

/* `with` instead of the runs first .. end - 1. */
static void replace(struct sl_dealt *d, size_t first, size_t end, struct sl_dealt_run with)
{
	if (first == end && d->count == d->capacity) {
		d->capacity = d->capacity ? 2 * d->capacity : 16;
		d->runs = sl_realloc(d->runs, d->capacity * sizeof *d->runs);
	}
	memmove(d->runs + first + 1, d->runs + end, (d->count - end) * sizeof *d->runs);
	d->count = d->count - end + first + 1;
	d->runs[first] = with;
}

void sl_dealt_add(struct sl_dealt *d, int64_t from, int64_t to)
{
	size_t first, end;

	from = from < d->mark ? d->mark : from;
	if (from >= to)
		return;
	first = run_behind(d, from - 1);
	for (end = first; end < d->count && d->runs[end].from <= to; end++) { /* what it touches becomes one with it */
		from = d->runs[end].from < from ? d->runs[end].from : from;
		to = d->runs[end].to > to ? d->runs[end].to : to;
	}
	replace(d, first, end, (struct sl_dealt_run){ from, to });
	if (d->runs[0].from == d->mark) {
		d->mark = d->runs[0].to;
		memmove(d->runs, d->runs + 1, --d->count * sizeof *d->runs);
	}
}

bool sl_dealt_read(struct sl_dealt *d, struct sl_bytes row)
{
	const uint8_t *p = row.data;

	d->mark = 0;
	d->count = 0;
	if (row.size % 16 != 8)
		return false;
	d->mark = (int64_t)sl_get_le64(p);
	for (size_t at = 8; at < row.size; at += 16)
		sl_dealt_add(d, (int64_t)sl_get_le64(p + at), (int64_t)sl_get_le64(p + at + 8));
	return true;
}

void sl_dealt_write(const struct sl_dealt *d, struct sl_buf *to)
{
	sl_buf_add_le64(to, (uint64_t)d->mark);
	for (size_t i = 0; i < d->count; i++) {
		sl_buf_add_le64(to, (uint64_t)d->runs[i].from);
		sl_buf_add_le64(to, (uint64_t)d->runs[i].to);
	}
}

void sl_dealt_release(struct sl_dealt *d)
{
	free(d->runs);
	*d = (struct sl_dealt){ 0 };
}
