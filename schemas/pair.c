/* pair.c -- what can be said about a pair from its texts alone: its identity,
 * its split, its text. Pure functions; nothing here depends on the clock, the
 * machine or the order of arrival. */
#include "../topology/base/text.h"
#include "fields.h"

#include <assert.h>
#include <math.h>

void sl_pair_init(struct sl_pair *p)
{
	sl_record_init(&sl_record_pair, p);
}

/* Length-prefixed, so that no two different lists of texts give the same bytes. */
static uint8_t *put(uint8_t *to, struct sl_bytes bytes)
{
	sl_put_le64(to, bytes.size);
	if (bytes.size)
		memcpy(to + 8, bytes.data, bytes.size);
	return to + 8 + bytes.size;
}

static size_t messages_size(const struct sl_messages *m)
{
	size_t size = 8;

	for (size_t i = 0; i < m->count; i++)
		size += 24 + m->at[i].role.size + m->at[i].content.size + m->at[i].extra.size;
	return size;
}

static uint8_t *put_messages(uint8_t *to, const struct sl_messages *m)
{
	sl_put_le64(to, m->count);
	to += 8;
	for (size_t i = 0; i < m->count; i++) {
		to = put(to, m->at[i].role);
		to = put(to, m->at[i].content);
		to = put(to, m->at[i].extra);
	}
	return to;
}

/* The hash of a tag and some lists of messages. */
static struct sl_id hash_of(const char *tag, const struct sl_messages *const *lists, size_t count, struct sl_arena *a)
{
	size_t size = 8 + strlen(tag);
	uint8_t *start, *end;

	for (size_t i = 0; i < count; i++)
		size += messages_size(lists[i]);
	start = sl_arena_alloc(a, size);
	end = put(start, sl_text(tag));
	for (size_t i = 0; i < count; i++)
		end = put_messages(end, lists[i]);
	assert(end == start + size);
	return sl_hash128(start, size);
}

struct sl_id sl_messages_key(const struct sl_messages *m, struct sl_arena *scratch)
{
	struct sl_messages folded = { sl_arena_alloc(scratch, m->count * sizeof *folded.at), m->count };

	for (size_t i = 0; i < m->count; i++) {
		folded.at[i] = m->at[i];
		folded.at[i].content = sl_text_fold(scratch, m->at[i].content);
	}
	return hash_of("folded", (const struct sl_messages *[]){ &folded }, 1, scratch);
}

void sl_pair_identify(struct sl_pair *p, struct sl_arena *scratch)
{
	struct sl_id keys[3] = { sl_messages_key(&p->prompt, scratch), sl_messages_key(&p->chosen, scratch),
				 sl_messages_key(&p->rejected, scratch) };
	const char tag[] = "pair_key";
	uint8_t bytes[sizeof tag + sizeof keys];

	p->id = hash_of("id", (const struct sl_messages *[]){ &p->prompt, &p->chosen, &p->rejected }, 3, scratch);
	p->group = keys[0];
	if (memcmp(keys[1].b, keys[2].b, sizeof keys[1].b) > 0) {
		struct sl_id swap = keys[1];

		keys[1] = keys[2];
		keys[2] = swap;
	}
	memcpy(bytes, tag, sizeof tag);
	memcpy(bytes + sizeof tag, keys, sizeof keys);
	p->pair_key = sl_hash128(bytes, sizeof bytes);
}

struct sl_bytes sl_messages_text(const struct sl_messages *m, struct sl_arena *a)
{
	size_t size = m->count ? m->count - 1 : 0;
	uint8_t *start, *to;

	if (m->count == 1)
		return m->at[0].content.data ? m->at[0].content : sl_text("");
	for (size_t i = 0; i < m->count; i++)
		size += m->at[i].content.size;
	start = to = sl_arena_alloc(a, size);
	for (size_t i = 0; i < m->count; i++) {
		struct sl_bytes content = m->at[i].content;

		if (i > 0)
			*to++ = '\n';
		if (content.size)
			memcpy(to, content.data, content.size);
		to += content.size;
	}
	assert(to == start + size);
	return (struct sl_bytes){ start, size };
}

/* Bytes that begin a character of UTF-8. */
static size_t characters_in(const struct sl_messages *m)
{
	size_t count = 0;

	for (size_t i = 0; i < m->count; i++) {
		const uint8_t *text = m->at[i].content.data;

		for (size_t k = 0; k < m->at[i].content.size; k++)
			count += (text[k] & 0xc0) != 0x80;
	}
	return count;
}

int sl_pair_length_sign(const struct sl_pair *p)
{
	size_t chosen = characters_in(&p->chosen), rejected = characters_in(&p->rejected);

	return (chosen > rejected) - (chosen < rejected);
}

struct sl_bytes sl_pair_domain(const struct sl_pair *p)
{
	return p->domain.size ? p->domain : p->source;
}

const struct sl_score *sl_pair_score(const struct sl_pair *p, const char *model)
{
	for (size_t i = 0; i < p->score_count; i++)
		if (sl_is(p->scores[i].model, model))
			return &p->scores[i];
	return NULL;
}

/* The group is a hash already: its first half chooses the split, its second half
 * the fold, so the folds cut every split evenly. x * n >> 32 maps 32 random bits
 * to 0 .. n - 1. */
enum sl_split sl_split_of(struct sl_id group)
{
	uint64_t percent = (sl_get_be64(group.b) >> 32) * 100 >> 32;

	return percent < 70 ? SL_SPLIT_TRAIN : percent < 85 ? SL_SPLIT_SELECT : SL_SPLIT_REPORT;
}

unsigned sl_fold_of(struct sl_id group, unsigned folds)
{
	assert(folds > 0);
	return (unsigned)((sl_get_be64(group.b + 8) >> 32) * folds >> 32);
}

double sl_sigmoid(double x)
{
	double e;

	if (x >= 0)
		return 1 / (1 + exp(-x));
	e = exp(x);
	return e / (1 + e);
}
