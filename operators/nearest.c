/* nearest.c -- see nearest.h. */
#include "nearest.h"

#include "../topology/base/buf.h"
#include "../topology/base/text.h"

#include <math.h>
#include <stdlib.h>

void sl_nearest_init(struct sl_nearest *n, size_t kept_max_bytes)
{
	n->counter = sl_calloc(SL_NEAREST_COLUMNS, sizeof *n->counter);
	n->target = sl_calloc(SL_NEAREST_COLUMNS, sizeof *n->target);
	n->kept_max_bytes = kept_max_bytes;
}

static void drop_kept(struct sl_nearest *n)
{
	for (size_t i = 0; i < n->kept_count; i++)
		free(n->kept[i].difference.entries);
	sl_id_map_clear(&n->places);
	n->kept_count = 0;
	n->kept_bytes = 0;
}

void sl_nearest_release(struct sl_nearest *n)
{
	drop_kept(n);
	free(n->kept);
	sl_id_map_release(&n->places);
	free(n->pair.entries);
	free(n->counter);
	free(n->target);
	*n = (struct sl_nearest){ 0 };
}

static uint32_t *count_words(int32_t *counter, uint32_t *touched, const struct sl_words *words, int32_t step)
{
	for (size_t i = 0; i < words->count; i++) {
		uint32_t column = words->at[i].hash % SL_NEAREST_COLUMNS;

		counter[column] += step;
		*touched++ = column;
		if (i + 1 == words->count)
			break;
		column = sl_ngram_hash(&words->at[i], 2) % SL_NEAREST_COLUMNS;
		counter[column] += step;
		*touched++ = column;
	}
	return touched;
}

static struct sl_difference difference_of(int32_t *counter, const struct sl_pair *p, struct sl_arena *a)
{
	struct sl_words chosen = sl_words_of(a, sl_messages_text(&p->chosen, a));
	struct sl_words rejected = sl_words_of(a, sl_messages_text(&p->rejected, a));
	uint32_t *touched = sl_arena_alloc(a, 2 * (chosen.count + rejected.count) * sizeof *touched), *end;
	struct sl_difference d = { 0 };
	double squares = 0;

	end = count_words(counter, touched, &chosen, 1);
	end = count_words(counter, end, &rejected, -1);
	d.entries = sl_arena_alloc(a, (size_t)(end - touched) * sizeof *d.entries);
	for (uint32_t *t = touched; t < end; t++) {
		int32_t count = counter[*t];

		if (count == 0) /* evened out, or listed before */
			continue;
		d.entries[d.count++] = (struct sl_difference_entry){ *t, count };
		squares += (double)count * count;
		counter[*t] = 0;
	}
	sl_arena_trim(a, d.entries, d.count * sizeof *d.entries);
	d.length = sqrt(squares);
	return d;
}

void sl_nearest_pair(struct sl_nearest *n, const struct sl_pair *p, struct sl_arena *scratch)
{
	struct sl_difference d = difference_of(n->counter, p, scratch);

	for (size_t i = 0; i < n->pair.count; i++)
		n->target[n->pair.entries[i].column] = 0;
	for (size_t i = 0; i < d.count; i++)
		n->target[d.entries[i].column] = d.entries[i].count;
	/* Kept, to be taken back: the arena is gone by the next pair. */
	if (d.count > n->pair_room) {
		n->pair_room = 2 * d.count;
		free(n->pair.entries);
		n->pair.entries = sl_malloc(n->pair_room * sizeof *n->pair.entries);
	}
	if (d.count)
		memcpy(n->pair.entries, d.entries, d.count * sizeof *d.entries);
	n->pair.count = d.count;
	n->pair.length = d.length;
}

bool sl_nearest_cosine(const struct sl_nearest *n, struct sl_id gold, double *cosine)
{
	const struct sl_difference *d;
	int64_t dot = 0;
	uint32_t place;

	if (!sl_id_map_get(&n->places, gold, &place))
		return false;
	d = &n->kept[place].difference;
	for (size_t i = 0; i < d->count; i++)
		dot += (int64_t)n->target[d->entries[i].column] * d->entries[i].count;
	*cosine = dot == 0 ? 0 : (double)dot / (n->pair.length * d->length);
	return true;
}

void sl_nearest_learn(struct sl_nearest *n, const struct sl_pair *gold, struct sl_arena *scratch)
{
	struct sl_difference d = difference_of(n->counter, gold, scratch);
	size_t size_bytes = d.count * sizeof *d.entries;

	sl_nearest_forget(n, gold->id);
	if (n->kept_bytes + size_bytes + sizeof *n->kept > n->kept_max_bytes)
		drop_kept(n);
	if (n->kept_count == n->kept_room) {
		n->kept_room = n->kept_room ? n->kept_room * 2 : 64;
		n->kept = sl_realloc(n->kept, n->kept_room * sizeof *n->kept);
	}
	d.entries = memcpy(sl_malloc(size_bytes), d.entries, size_bytes); /* of the arena: now ours */
	sl_id_map_put(&n->places, gold->id, (uint32_t)n->kept_count);
	n->kept[n->kept_count++] = (struct sl_nearest_kept){ gold->id, d };
	n->kept_bytes += size_bytes + sizeof *n->kept;
}

void sl_nearest_forget(struct sl_nearest *n, struct sl_id gold)
{
	uint32_t place;

	if (!sl_id_map_get(&n->places, gold, &place))
		return;
	n->kept_bytes -= n->kept[place].difference.count * sizeof *n->kept[place].difference.entries + sizeof *n->kept;
	free(n->kept[place].difference.entries);
	sl_id_map_remove(&n->places, gold);
	if (place != --n->kept_count) {
		n->kept[place] = n->kept[n->kept_count];
		sl_id_map_put(&n->places, n->kept[place].id, place);
	}
}

struct sl_nearest_vote sl_nearest_ask(struct sl_nearest *n, const struct sl_pair *p, struct sl_arena *scratch,
				      bool (*learn)(void *arg, struct sl_id gold), void *arg)
{
	struct sl_nearest_vote vote = { 0 };
	double sum = 0, weights = 0;

	sl_nearest_pair(n, p, scratch);
	for (size_t i = 0; i < p->exemplar_count; i++) {
		const struct sl_exemplar *x = &p->exemplars[i];
		double sign = sl_is(x->label, "chosen") ? 1 : sl_is(x->label, "rejected") ? -1 : 0;
		double cosine = 0;

		if (sign == 0 || !(x->similarity > 0))
			continue;
		if (!sl_nearest_cosine(n, x->id, &cosine) &&
		    !(learn(arg, x->id) && sl_nearest_cosine(n, x->id, &cosine)))
			continue;
		vote.voters++;
		sum += x->similarity * sign * cosine;
		weights += x->similarity;
	}
	vote.value = weights > 0 ? sum / weights : 0;
	return vote;
}

const char *sl_nearest_verdict(double vote, double threshold)
{
	return vote == 0 || fabs(vote) < threshold ? "undecidable" : vote > 0 ? "chosen" : "rejected";
}

double sl_nearest_confidence(double vote)
{
	return 0.5 + fabs(vote) / 2;
}
