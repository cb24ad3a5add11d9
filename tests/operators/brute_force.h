/* brute_force.h -- what dedupe should say, by other means, for its tests and its bench:
 * pairs from a file, exact Jaccard of 64-bit 5-gram hashes between any two pairs
 * (sharing no code with operators/minhash.c but the words), and copies with planted edits. */
#ifndef SL_BRUTE_FORCE_H
#define SL_BRUTE_FORCE_H

#include "operators/seen.h"
#include "schemas/jsonl.h"
#include "schemas/lines.h"

#include <stdlib.h>

static const double threshold = 0.8;

struct pairs {
	struct sl_pair *at;
	size_t count, room;
	struct sl_arena arena;
};

static inline struct sl_pair *add_pair(struct pairs *p)
{
	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 1024;
		p->at = sl_realloc(p->at, p->room * sizeof *p->at);
	}
	return &p->at[p->count++];
}

static inline void pairs_release(struct pairs *p)
{
	free(p->at);
	sl_arena_release(&p->arena);
	*p = (struct pairs){ 0 };
}

/* At most `most` pairs; false: there is no such file. */
static inline bool load(struct pairs *p, const char *path, size_t most)
{
	static const struct sl_keys by_shape;
	struct sl_error e;
	struct sl_lines *lines = sl_lines_open(path, 64 << 20, &e);
	struct sl_line line;

	if (!lines)
		return false;
	while (p->count < most && sl_lines_next(lines, &line, &e) == SL_LINES_LINE) {
		struct sl_parsed parsed;

		if (!sl_jsonl_parse(sl_arena_bytes(&p->arena, line.text), &by_shape, &p->arena, &parsed, &e))
			continue;
		for (size_t i = 0; i < parsed.pair_count; i++)
			*add_pair(p) = parsed.pairs[i];
	}
	sl_lines_close(lines);
	return true;
}

struct set {
	uint64_t *at;
	size_t count;
};

struct sets {
	struct set part[SL_PARTS];
	struct sl_id id, pair_key;
};

static inline int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static inline struct set set_of(const struct sl_messages *m, struct sl_arena *a)
{
	struct sl_words w = sl_words_of(a, sl_messages_text(m, a));
	struct set s = { sl_arena_alloc(a, (w.count + 1) * sizeof *s.at), 0 };

	if (w.count < 5) {
		struct sl_id key = sl_messages_key(m, a);

		s.at[s.count++] = sl_get_le64(key.b);
		return s;
	}
	for (size_t i = 0; i + 5 <= w.count; i++)
		s.at[i] = sl_ngram_hash(w.at + i, 5);
	qsort(s.at, w.count - 4, sizeof *s.at, by_value);
	for (size_t i = 0; i < w.count - 4; i++)
		if (i == 0 || s.at[i] != s.at[s.count - 1])
			s.at[s.count++] = s.at[i];
	return s;
}

static inline struct sets sets_of(const struct sl_pair *p, struct sl_arena *a)
{
	return (struct sets){ { set_of(&p->prompt, a), set_of(&p->chosen, a), set_of(&p->rejected, a) },
			      p->id,
			      p->pair_key };
}

static inline bool alike(struct set a, struct set b)
{
	size_t least = a.count < b.count ? a.count : b.count, most = a.count + b.count - least, both = 0;

	if ((double)least < threshold * (double)most)
		return false;
	for (size_t i = 0, j = 0; i < a.count && j < b.count;) {
		uint64_t x = a.at[i], y = b.at[j];

		both += x == y;
		i += x <= y;
		j += y <= x;
	}
	return (double)both / (double)(a.count + b.count - both) >= threshold;
}

static inline bool copies(const struct sets *x, const struct sets *y)
{
	if (sl_id_equal(x->pair_key, y->pair_key))
		return true;
	if (alike(x->part[SL_CHOSEN], y->part[SL_CHOSEN]) && alike(x->part[SL_REJECTED], y->part[SL_REJECTED]))
		return alike(x->part[SL_PROMPT], y->part[SL_PROMPT]);
	return alike(x->part[SL_CHOSEN], y->part[SL_REJECTED]) && alike(x->part[SL_REJECTED], y->part[SL_CHOSEN]) &&
	       alike(x->part[SL_PROMPT], y->part[SL_PROMPT]);
}

/* Planted copies */

static inline uint64_t next_random(uint64_t *seed)
{
	return sl_mix64(*seed += 0x9e3779b97f4a7c15u);
}

/* Every word is replaced, dropped or doubled with probability `rate`. */
static inline struct sl_messages edited(const struct sl_messages *m, double rate, uint64_t *seed, struct sl_arena *a)
{
	struct sl_messages copy = { sl_arena_copy(a, m->at, m->count * sizeof *m->at), m->count };

	for (size_t i = 0; i < m->count; i++) {
		struct sl_bytes text = m->at[i].content;
		struct sl_words words = sl_words_of(a, text);
		struct sl_buf to = { 0 };
		size_t from = 0;

		for (size_t w = 0; w < words.count; w++) {
			const char *word = (const char *)text.data + words.at[w].offset;
			size_t end = words.at[w].offset + words.at[w].size;

			if ((double)(next_random(seed) >> 11) * 0x1p-53 >= rate)
				continue;
			sl_buf_add(&to, (const char *)text.data + from, words.at[w].offset - from);
			switch (next_random(seed) % 3) {
			case 0:
				sl_buf_print(&to, "edit%u", (unsigned)(next_random(seed) % 100000));
				break;
			case 1:
				break;
			default:
				sl_buf_print(&to, "%.*s %.*s", (int)words.at[w].size, word, (int)words.at[w].size,
					     word);
			}
			from = end;
		}
		sl_buf_add(&to, (const char *)text.data + from, text.size - from);
		copy.at[i].content = sl_arena_bytes(a, sl_buf_bytes(&to));
		sl_buf_release(&to);
	}
	return copy;
}

#endif
