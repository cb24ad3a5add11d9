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
#include "../topology/base/text.h"

#include <assert.h>
#include <math.h>

/* Counts of a text, packed into bytes of one word so that a character costs one
 * load and one add. Flushed before a byte can overflow. */
enum { QUESTION, CALL, COMMA, ASTERISK, BACKTICK, DIGIT, KINDS };
#define ONE(kind) ((uint64_t)1 << 8 * (kind))

static const uint64_t kind_of[256] = {
	['?'] = ONE(QUESTION), ['!'] = ONE(CALL),  [','] = ONE(COMMA), ['*'] = ONE(ASTERISK), ['`'] = ONE(BACKTICK),
	['0'] = ONE(DIGIT),    ['1'] = ONE(DIGIT), ['2'] = ONE(DIGIT), ['3'] = ONE(DIGIT),    ['4'] = ONE(DIGIT),
	['5'] = ONE(DIGIT),    ['6'] = ONE(DIGIT), ['7'] = ONE(DIGIT), ['8'] = ONE(DIGIT),    ['9'] = ONE(DIGIT),
};

static void count_kinds(const uint8_t *at, size_t size, uint64_t counts[KINDS])
{
	while (size) {
		size_t n = size < 255 ? size : 255;
		uint64_t packed = 0;

		for (size_t i = 0; i < n; i++)
			packed += kind_of[at[i]];
		for (int k = 0; k < KINDS; k++)
			counts[k] += packed >> 8 * k & 255;
		at += n;
		size -= n;
	}
}

/* "- x", "* x", "• x", "1. x", "1) x" after blanks. */
static bool begins_item(const uint8_t *at, const uint8_t *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	if (end - at < 3)
		return false;
	if (*at == '-' || *at == '*' || *at == '+')
		return at[1] == ' ';
	if (at[0] == 0xe2 && at[1] == 0x80 && at[2] == 0xa2)
		return true;
	if (*at < '0' || *at > '9')
		return false;
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at < end && (*at == '.' || *at == ')');
}

static bool ends_finished(const uint8_t *at, size_t size)
{
	while (size && (at[size - 1] == ' ' || at[size - 1] == '\n' || at[size - 1] == '\r' || at[size - 1] == '\t'))
		size--;
	if (size == 0)
		return false;
	/* Over 0x7f: most scripts without ASCII punctuation end in their own full stop. */
	return at[size - 1] > 0x7f || strchr(".!?)]}\"'`*", at[size - 1]) != NULL;
}

static double log_count(uint64_t n)
{
	return log1p((double)n);
}

/* Everything but the words, which the caller counts. */
static void style_of(struct sl_bytes text, double style[SL_STYLE_COUNT])
{
	const uint8_t *at = text.data, *end = at + text.size;
	uint64_t counts[KINDS] = { 0 }, lines = 0, items = 0, headings = 0;

	count_kinds(at, text.size, counts);
	for (const uint8_t *line = at; line < end; lines++) {
		const uint8_t *stop = memchr(line, '\n', (size_t)(end - line));

		if (!stop)
			stop = end;
		items += begins_item(line, stop);
		headings += line < stop && *line == '#';
		line = stop + 1;
	}
	style[SL_STYLE_BYTES] = log_count(text.size);
	style[SL_STYLE_LINES] = log_count(lines);
	style[SL_STYLE_LISTS] = log_count(items);
	style[SL_STYLE_HEADINGS] = log_count(headings);
	style[SL_STYLE_EMPHASIS] = log_count(counts[ASTERISK] + counts[BACKTICK]);
	style[SL_STYLE_DIGITS] = log_count(counts[DIGIT]);
	style[SL_STYLE_QUESTIONS] = log_count(counts[QUESTION]);
	style[SL_STYLE_CALLS] = log_count(counts[CALL]);
	style[SL_STYLE_COMMAS] = log_count(counts[COMMA]);
	style[SL_STYLE_ENDING] = ends_finished(at, text.size) ? 1 : 0;
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

/* Returns the number of distinct words (columns of words new in this text). */
static uint64_t count_grams(struct grams *g, struct sl_words words, int side)
{
	uint64_t distinct = 0;

	for (size_t i = 0; i < words.count; i++) {
		distinct += count_gram(g, words.at[i].hash, side);
		if (i + 1 < words.count)
			(void)count_gram(g, sl_ngram_hash(words.at + i, 2), side);
	}
	return distinct;
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
	struct sl_bytes name = p->domain.data ? p->domain : p->source;

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
	double style[2][SL_STYLE_COUNT];
	double sign = swapped ? -1 : 1;

	g.slots = sl_arena_zalloc(a, slots * sizeof *g.slots);
	g.used = sl_arena_alloc(a, (most + 1) * sizeof *g.used); /* one is written before it counts */
	for (int side = 0; side < 2; side++) {
		style_of(text[side], style[side]);
		style[side][SL_STYLE_WORDS] = log_count(words[side].count);
		style[side][SL_STYLE_DISTINCT] = log_count(count_grams(&g, words[side], side));
	}

	size_t room = g.used_count + 1 + 2 * SL_STYLE_COUNT;
	uint32_t all = 1u << columns_log2;

	*f = (struct sl_features){
		.columns = sl_arena_alloc(a, room * sizeof *f->columns),
		.values = sl_arena_alloc(a, room * sizeof *f->values),
		.words_chosen = (uint32_t)words[swapped].count,
		.words_rejected = (uint32_t)words[!swapped].count,
	};
	difference(&g, sign, f);
	add_style(style, sign, all, all + SL_STYLE_COUNT * (1 + domain_of(p)), f);
}
