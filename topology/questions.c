/* questions.c -- questions by key, in the order in which they came: what a task knows of, and what a batch asks. */
#include "calls_inside.h"

#include <stdlib.h>

static size_t slot_of(const struct sl_questions *q, const struct sl_id *key)
{
	size_t i = (size_t)sl_get_le64(key->b) & (q->slot_count - 1);

	while (q->slots[i] && !sl_id_equal(q->at[q->slots[i] - 1]->out.key, *key))
		i = (i + 1) & (q->slot_count - 1);
	return i;
}

size_t sl_questions_find(const struct sl_questions *q, const struct sl_id *key)
{
	uint32_t slot = q->slot_count ? q->slots[slot_of(q, key)] : 0;

	return slot ? slot - 1 : q->count;
}

void sl_questions_index(struct sl_questions *q)
{
	memset(q->slots, 0, q->slot_count * sizeof *q->slots);
	for (size_t i = 0; i < q->count; i++)
		q->slots[slot_of(q, &q->at[i]->out.key)] = (uint32_t)i + 1;
}

void sl_questions_add(struct sl_questions *q, struct sl_question *call)
{
	if (q->count == q->capacity) {
		q->capacity = q->capacity ? 2 * q->capacity : 64;
		q->at = sl_realloc(q->at, q->capacity * sizeof *q->at);
		q->slot_count = 2 * q->capacity;
		q->slots = sl_realloc(q->slots, q->slot_count * sizeof *q->slots);
		sl_questions_index(q);
	}
	q->slots[slot_of(q, &call->out.key)] = (uint32_t)q->count + 1;
	q->at[q->count++] = call;
}

void sl_questions_clear(struct sl_questions *q)
{
	q->count = 0;
	if (q->slots)
		memset(q->slots, 0, q->slot_count * sizeof *q->slots);
}

void sl_questions_release(struct sl_questions *q)
{
	free(q->at);
	free(q->slots);
	*q = (struct sl_questions){ 0 };
}
