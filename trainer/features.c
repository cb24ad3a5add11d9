/* features.c -- a pair of answers to a sparse difference vector.
 *
 * Words and word pairs (sl_words_of: folded, so "The" is "the") are hashed into
 * columns. For every column the value is log(1 + count in chosen) - log(1 + count
 * in rejected), and the whole of these is scaled to length 1: what both answers
 * say cancels, and two long answers that differ in a word count as much as two
 * short ones. (Scaling each answer by itself was measured: the accuracies are
 * equal within 0.002.) The style columns are not scaled: they are logarithms already.
 *
 * One pass: the answers are walked one after the other, each gram counted in a
 * small open-addressed table, its slots listed in order of first appearance. That
 * order must not depend on which answer is chosen, or the
 * rounding of later sums would; so the answers are walked in byte order of their
 * texts and the sign is put in at the end. */
#include "features.h"
#include "style.h"

#include <assert.h>
#include <math.h>

static double log_count(uint64_t n)
{
	return log1p((double)n);
}

/* One column: its counts in the first and the second text. Counts stop at
 * UINT16_MAX, where log(1 + count) has long stopped to matter. */
struct slot {
	uint32_t column; /* plus 1; 0: empty */
	uint16_t count[2];
};

struct grams {
	struct slot *slots;
	uint32_t *used; /* slots in order of first appearance */
	uint32_t used_count;
	uint32_t mask;
	int shift; /* hash to column */
};

/* True when this text had not used the column before. */
static bool count_gram(struct grams *g, uint64_t hash, int side)
{
	uint32_t column = (uint32_t)(hash >> g->shift) + 1, at = column & g->mask;

	while (g->slots[at].column != column && g->slots[at].column != 0)
		at = (at + 1) & g->mask;
	/* No branch on "new here": half of the grams are, unpredictably. */
	g->used[g->used_count] = at;
	g->used_count += g->slots[at].column == 0;
	g->slots[at].column = column;

	uint16_t *count = &g->slots[at].count[side];

	*count = (uint16_t)(*count + (*count < UINT16_MAX));
	return *count == 1;
}

static struct sl_gram_counts count_grams(struct grams *g, struct sl_words words, const struct sl_prompt_words *prompt,
					 int side)
{
	struct sl_gram_counts counts = { 0 };

	for (size_t i = 0; i < words.count; i++) {
		bool first = count_gram(g, words.at[i].hash, side);

		counts.distinct += first;
		counts.from_prompt += first & sl_prompt_has(prompt, words.at[i].hash);
		if (i + 1 < words.count)
			counts.distinct_pairs += count_gram(g, sl_ngram_hash(words.at + i, 2), side);
	}
	return counts;
}

/* log(1 + n) for the counts that occur: a call to log1p for every gram would be
 * half of the cost. */
#define LOGS 16
static double log_gram(const double logs[LOGS], uint32_t n)
{
	return n < LOGS ? logs[n] : log_count(n);
}

/* The difference vector, first text - second text, times `sign`. */
static void difference(const struct grams *g, double sign, struct sl_features *f)
{
	double logs[LOGS], square = 0;

	for (uint32_t n = 0; n < LOGS; n++)
		logs[n] = log_count(n);
	for (uint32_t i = 0; i < g->used_count; i++) {
		const struct slot *s = &g->slots[g->used[i]];
		double d = log_gram(logs, s->count[0]) - log_gram(logs, s->count[1]);

		square += d * d;
		f->columns[f->count] = s->column - 1;
		f->values[f->count] = (float)d;
		f->count += d != 0; /* no branch: half of them cancel, unpredictably */
	}

	float scale = square > 0 ? (float)(sign / sqrt(square)) : 0;

	for (size_t i = 0; i < f->count; i++)
		f->values[i] *= scale;
}

/* Several domains may share a number: their columns are then shared too. */
static uint32_t domain_of(const struct sl_pair *p)
{
	struct sl_bytes name = sl_pair_domain(p);

	return (uint32_t)(sl_hash64(name.data, name.size, 0) % SL_DOMAINS);
}

/* The style columns: once for all domains, once for the pair's own. */
static void add_style(double style[2][SL_STYLE_COUNT], double sign, uint32_t all, uint32_t own, struct sl_features *f)
{
	for (uint32_t i = 0; i < SL_STYLE_COUNT; i++) {
		float d = (float)(sign * (style[0][i] - style[1][i]));

		if (d == 0)
			continue;
		f->columns[f->count] = all + i;
		f->values[f->count++] = d;
		f->columns[f->count] = own + i;
		f->values[f->count++] = d;
	}
}

static struct sl_bytes last_message(const struct sl_messages *m)
{
	return m->count ? m->at[m->count - 1].content : (struct sl_bytes){ 0 };
}

void sl_features_of(const struct sl_pair *p, int columns_log2, struct sl_arena *a, struct sl_features *f)
{
	assert(columns_log2 >= SL_COLUMNS_LOG2_MIN && columns_log2 <= SL_COLUMNS_LOG2_MAX);

	struct sl_bytes text[2] = { sl_messages_text(&p->chosen, a), sl_messages_text(&p->rejected, a) };
	bool swapped = sl_bytes_compare(text[0], text[1]) > 0;

	if (swapped) {
		struct sl_bytes t = text[0];

		text[0] = text[1];
		text[1] = t;
	}
	struct sl_words words[2] = { sl_words_of(a, text[0]), sl_words_of(a, text[1]) };
	size_t most = 2 * (words[0].count + words[1].count);
	size_t slots = 64;

	while (slots < 2 * most)
		slots *= 2;
	assert(slots <= UINT32_MAX);

	struct grams g = { .shift = 64 - columns_log2, .mask = (uint32_t)(slots - 1) };
	struct sl_prompt_words prompt;
	double style[2][SL_STYLE_COUNT];
	double sign = swapped ? -1 : 1;

	sl_prompt_words_of(&prompt, last_message(&p->prompt), a);
	g.slots = sl_arena_zalloc(a, slots * sizeof *g.slots);
	g.used = sl_arena_alloc(a, (most + 1) * sizeof *g.used); /* one is written before it counts */
	for (int side = 0; side < 2; side++) {
		struct sl_gram_counts counts = count_grams(&g, words[side], &prompt, side);

		sl_style_of(text[side], words[side], &counts, style[side]);
	}

	size_t room = g.used_count + 1 + 2 * SL_STYLE_COUNT;
	uint32_t all = 1u << columns_log2;

	*f = (struct sl_features){
		.columns = sl_arena_alloc(a, room * sizeof *f->columns),
		.values = sl_arena_alloc(a, room * sizeof *f->values),
	};
	difference(&g, sign, f);
	add_style(style, sign, all, all + SL_STYLE_COUNT * (1 + domain_of(p)), f);
}
