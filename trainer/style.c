/* style.c -- what one answer looks like.
 *
 * Two walks over a text: one over its bytes, which only adds up a table, and one over its words, which are cut already.
 * Counts enter as log(1 + count), shares as they are; each is divided by its typical difference between two answers
 * (the standard deviation over 20,000 pairs of 16 public sets, rounded), so that one L2 strength is right for all of
 * them. Pure functions, any thread. */
#include "style.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>

/* What is counted of the bytes; a lane each, flushed before it can overflow. */
enum {
	QUESTION,
	CALL,
	COMMA,
	EMPHASIS,
	DIGIT,
	STOP,
	QUOTE,
	APOSTROPHE,
	UPPER,
	OPENING,
	COLON,
	HYPHEN,
	FOREIGN,
	OTHER_MARK,
	KINDS = 16
};

/* clang-format off */
#define ONE(kind) { [kind] = 1 }
#define FOUR(a, kind) [a] = ONE(kind), [(a) + 1] = ONE(kind), [(a) + 2] = ONE(kind), [(a) + 3] = ONE(kind)
#define SIXTEEN(a, kind) FOUR(a, kind), FOUR((a) + 4, kind), FOUR((a) + 8, kind), FOUR((a) + 12, kind)
static const uint8_t kinds_of[256][KINDS] = {
	['?'] = ONE(QUESTION), ['!'] = ONE(CALL), [','] = ONE(COMMA), ['*'] = ONE(EMPHASIS), ['`'] = ONE(EMPHASIS),
	['.'] = ONE(STOP), ['"'] = ONE(QUOTE), ['\''] = ONE(APOSTROPHE), ['('] = ONE(OPENING), [':'] = ONE(COLON),
	[';'] = ONE(COLON), ['-'] = ONE(HYPHEN),
	FOUR('0', DIGIT), FOUR('4', DIGIT), ['8'] = ONE(DIGIT), ['9'] = ONE(DIGIT),
	FOUR('A', UPPER), FOUR('E', UPPER), FOUR('I', UPPER), FOUR('M', UPPER), FOUR('Q', UPPER), FOUR('U', UPPER),
	['Y'] = ONE(UPPER), ['Z'] = ONE(UPPER),
	FOUR('#', OTHER_MARK), [')'] = ONE(OTHER_MARK), ['+'] = ONE(OTHER_MARK), ['/'] = ONE(OTHER_MARK),
	['<'] = ONE(OTHER_MARK), ['='] = ONE(OTHER_MARK), ['>'] = ONE(OTHER_MARK), ['@'] = ONE(OTHER_MARK),
	FOUR('[', OTHER_MARK), ['_'] = ONE(OTHER_MARK), FOUR('{', OTHER_MARK),
	SIXTEEN(0x80, FOREIGN), SIXTEEN(0x90, FOREIGN), SIXTEEN(0xa0, FOREIGN), SIXTEEN(0xb0, FOREIGN),
	SIXTEEN(0xc0, FOREIGN), SIXTEEN(0xd0, FOREIGN), SIXTEEN(0xe0, FOREIGN), SIXTEEN(0xf0, FOREIGN),
};
/* clang-format on */

/* All lanes at once: one load and one add a byte. Vectors are of GCC and Clang, on any machine. */
static void count_kinds(const uint8_t *at, size_t size, uint64_t counts[KINDS])
{
	typedef uint8_t lanes __attribute__((vector_size(KINDS)));

	while (size) {
		size_t n = size < 255 ? size : 255;
		lanes sum = { 0 }, one;

		for (size_t i = 0; i < n; i++) {
			memcpy(&one, kinds_of[at[i]], sizeof one);
			sum += one;
		}
		for (int k = 0; k < KINDS; k++)
			counts[k] += sum[k];
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

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static void style_of_lines(struct sl_bytes text, double style[SL_STYLE_COUNT])
{
	const uint8_t *begin = text.data, *end = begin + text.size;
	uint64_t lines = 0, items = 0, headings = 0, empty = 0;

	for (const uint8_t *line = begin; line < end; lines++) {
		const uint8_t *stop = memchr(line, '\n', (size_t)(end - line));

		if (!stop)
			stop = end;
		items += begins_item(line, stop);
		headings += line < stop && *line == '#';
		empty += line == stop;
		line = stop + 1;
	}
	style[SL_STYLE_LINES] = log_count(lines);
	style[SL_STYLE_PARAGRAPHS] = log_count(empty);
	style[SL_STYLE_LISTS] = log_count(items);
	style[SL_STYLE_HEADINGS] = log_count(headings);
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

static bool is_upper(uint8_t c)
{
	return (uint8_t)(c - 'A') < 26;
}

/* Words that are known by their hashes. "can't" is cut into "can" and "t". */
enum { SELF, YOU, YOUR, CAN, WONT, T, SORRY, CANNOT, UNABLE, APOLOGIZE, APOLOGISE, MARKED };
static uint64_t marked[MARKED];
static uint64_t marked_filter; /* one bit of 64 for each: most words of a text are none of these */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void mark_words(void)
{
	struct sl_arena a = { 0 };
	struct sl_words words =
		sl_words_of(&a, sl_text("i you your can won t sorry cannot unable apologize apologise"));

	assert(words.count == MARKED);
	for (int i = 0; i < MARKED; i++) {
		marked[i] = words.at[i].hash;
		marked_filter |= (uint64_t)1 << marked[i] % 64;
	}
	sl_arena_release(&a);
}

struct said {
	uint64_t self, you, refusals;
};

static void hear(struct said *s, const struct sl_word *w, bool first)
{
	uint64_t hash = w->hash;

	if (hash == marked[SELF])
		s->self++;
	else if (hash == marked[YOU] || hash == marked[YOUR])
		s->you++;
	else if (hash == marked[T])
		s->refusals += !first && (w[-1].hash == marked[CAN] || w[-1].hash == marked[WONT]);
	else
		for (int i = SORRY; i < MARKED; i++)
			s->refusals += hash == marked[i];
}

static void style_of_words(struct sl_bytes text, struct sl_words words, double style[SL_STYLE_COUNT])
{
	static const uint8_t stop_of[256] = { ['.'] = 1, ['!'] = 1, ['?'] = 1, [','] = 2 };
	const uint8_t *begin = text.data, *end = begin + text.size;
	uint64_t bytes = 0, longs = 0, capitals = 0, sentences = 0, joined = 0;
	struct said said = { 0 };

	/* The branches that are left are seldom taken: a wrong guess costs more than all the rest of a word. */
	for (size_t i = 0; i < words.count; i++) {
		const uint8_t *at = begin + words.at[i].offset;
		size_t size = words.at[i].size;
		const uint8_t *next = at + size;
		uint8_t stop = next < end ? stop_of[*next] : 0;

		bytes += size;
		longs += size >= 7;
		capitals += size >= 2 && is_upper(at[0]) && is_upper(at[1]);
		if (marked_filter >> words.at[i].hash % 64 & 1)
			hear(&said, words.at + i, i == 0);
		if (stop) {
			uint8_t after = next + 1 < end ? next[1] : ' ';

			sentences += stop == 1 && (after == ' ' || after == '\n');
			joined += is_letter(after);
		}
	}
	style[SL_STYLE_WORD_LENGTH] = share(bytes, words.count);
	style[SL_STYLE_LONG_WORDS] = share(longs, words.count);
	style[SL_STYLE_CAPITALS] = log_count(capitals);
	style[SL_STYLE_SENTENCES] = log_count(sentences);
	style[SL_STYLE_SENTENCE_LENGTH] = log_count(words.count / (sentences ? sentences : 1));
	style[SL_STYLE_JOINED] = log_count(joined);
	style[SL_STYLE_SELF] = log_count(said.self);
	style[SL_STYLE_YOU] = log_count(said.you);
	style[SL_STYLE_REFUSAL] = log_count(said.refusals);
}

static void style_of_bytes(struct sl_bytes text, double style[SL_STYLE_COUNT])
{
	const uint8_t *at = text.data;
	uint64_t counts[KINDS] = { 0 }, marks = 0;

	count_kinds(at, text.size, counts);
	for (int k = 0; k < KINDS; k++)
		if (k != DIGIT && k != UPPER && k != FOREIGN)
			marks += counts[k];
	style[SL_STYLE_BYTES] = log_count(text.size);
	style[SL_STYLE_EMPHASIS] = log_count(counts[EMPHASIS]);
	style[SL_STYLE_DIGITS] = log_count(counts[DIGIT]);
	style[SL_STYLE_QUESTIONS] = log_count(counts[QUESTION]);
	style[SL_STYLE_CALLS] = log_count(counts[CALL]);
	style[SL_STYLE_COMMAS] = log_count(counts[COMMA]);
	style[SL_STYLE_STOPS] = log_count(counts[STOP]);
	style[SL_STYLE_QUOTES] = log_count(counts[QUOTE]);
	style[SL_STYLE_APOSTROPHES] = log_count(counts[APOSTROPHE]);
	style[SL_STYLE_PARENTHESES] = log_count(counts[OPENING]);
	style[SL_STYLE_COLONS] = log_count(counts[COLON]);
	style[SL_STYLE_HYPHENS] = log_count(counts[HYPHEN]);
	style[SL_STYLE_FOREIGN] = log_count(counts[FOREIGN]);
	style[SL_STYLE_UPPER] = log_count(counts[UPPER]);
	style[SL_STYLE_UPPER_SHARE] = share(counts[UPPER], text.size);
	style[SL_STYLE_MARKS] = log_count(marks);
	style[SL_STYLE_MARK_SHARE] = share(marks, text.size);
	style[SL_STYLE_ENDING] = ends_finished(at, text.size) ? 1 : 0;
	style[SL_STYLE_BEGINNING] = text.size && at[0] >= 'A' && at[0] <= 'Z' ? 1 : 0;
}

static void style_of_grams(uint64_t words, const struct sl_gram_counts *g, double style[SL_STYLE_COUNT])
{
	uint64_t pairs = words ? words - 1 : 0;

	style[SL_STYLE_WORDS] = log_count(words);
	style[SL_STYLE_DISTINCT] = log_count(g->distinct);
	style[SL_STYLE_DISTINCT_PAIRS] = log_count(g->distinct_pairs);
	style[SL_STYLE_REPEATED] = log_count(words - g->distinct);
	style[SL_STYLE_REPEATED_PAIRS] = log_count(pairs - g->distinct_pairs);
	style[SL_STYLE_DISTINCT_SHARE] = words ? share(g->distinct, words) : 1;
	style[SL_STYLE_DISTINCT_PAIR_SHARE] = pairs ? share(g->distinct_pairs, pairs) : 1;
	style[SL_STYLE_FROM_PROMPT] = log_count(g->from_prompt);
	style[SL_STYLE_FROM_PROMPT_SHARE] = share(g->from_prompt, g->distinct);
}

/* Typical differences. */
static const double unit[SL_STYLE_COUNT] = {
	[SL_STYLE_WORDS] = 0.75,
	[SL_STYLE_DISTINCT] = 0.65,
	[SL_STYLE_BYTES] = 0.85,
	[SL_STYLE_LINES] = 0.45,
	[SL_STYLE_PARAGRAPHS] = 0.3,
	[SL_STYLE_LISTS] = 0.3,
	[SL_STYLE_HEADINGS] = 0.1,
	[SL_STYLE_EMPHASIS] = 0.25,
	[SL_STYLE_DIGITS] = 0.65,
	[SL_STYLE_QUESTIONS] = 0.35,
	[SL_STYLE_CALLS] = 0.35,
	[SL_STYLE_COMMAS] = 0.75,
	[SL_STYLE_STOPS] = 0.7,
	[SL_STYLE_QUOTES] = 0.5,
	[SL_STYLE_APOSTROPHES] = 0.6,
	[SL_STYLE_PARENTHESES] = 0.3,
	[SL_STYLE_COLONS] = 0.35,
	[SL_STYLE_HYPHENS] = 0.45,
	[SL_STYLE_FOREIGN] = 0.45,
	[SL_STYLE_UPPER] = 0.8,
	[SL_STYLE_UPPER_SHARE] = 0.06,
	[SL_STYLE_MARKS] = 0.85,
	[SL_STYLE_MARK_SHARE] = 0.03,
	[SL_STYLE_ENDING] = 0.4,
	[SL_STYLE_BEGINNING] = 0.35,
	[SL_STYLE_WORD_LENGTH] = 1.4,
	[SL_STYLE_LONG_WORDS] = 0.14,
	[SL_STYLE_CAPITALS] = 0.5,
	[SL_STYLE_SENTENCES] = 0.6,
	[SL_STYLE_SENTENCE_LENGTH] = 0.6,
	[SL_STYLE_JOINED] = 0.3,
	[SL_STYLE_SELF] = 0.45,
	[SL_STYLE_YOU] = 0.5,
	[SL_STYLE_REFUSAL] = 0.15,
	[SL_STYLE_DISTINCT_PAIRS] = 0.75,
	[SL_STYLE_REPEATED] = 1.15,
	[SL_STYLE_REPEATED_PAIRS] = 0.95,
	[SL_STYLE_DISTINCT_SHARE] = 0.14,
	[SL_STYLE_DISTINCT_PAIR_SHARE] = 0.09,
	[SL_STYLE_FROM_PROMPT] = 0.6,
	[SL_STYLE_FROM_PROMPT_SHARE] = 0.16,
};

void sl_style_of(struct sl_bytes text, struct sl_words words, const struct sl_gram_counts *grams,
		 double style[SL_STYLE_COUNT])
{
	pthread_once(&once, mark_words);
	style_of_bytes(text, style);
	style_of_lines(text, style);
	style_of_words(text, words, style);
	style_of_grams(words.count, grams, style);
	for (int i = 0; i < SL_STYLE_COUNT; i++)
		style[i] /= unit[i];
}

void sl_prompt_words_of(struct sl_prompt_words *p, struct sl_bytes text, struct sl_arena *a)
{
	const uint8_t *at = text.data;

	*p = (struct sl_prompt_words){ 0 };
	if (text.size > SL_PROMPT_BYTES) {
		at += text.size - SL_PROMPT_BYTES;
		text = (struct sl_bytes){ at, SL_PROMPT_BYTES };
	}

	struct sl_words words = sl_words_of(a, text);

	for (size_t i = 0; i < words.count; i++) {
		uint64_t hash = words.at[i].hash;

		p->bits[hash % SL_PROMPT_BITS / 64] |= (uint64_t)1 << hash % 64;
	}
}
