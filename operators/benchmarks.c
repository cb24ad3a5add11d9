/* benchmarks.c -- the index of benchmark prompts.
 *
 * One hash set holds everything to look for, told apart by a salt per kind:
 *
 *     13 in a row     a 13-gram of a prompt
 *     n in a row      a whole prompt of n = 5 to 12 words
 *     opening         the first 5 words of such a prompt, with the set of its n
 *     alone           a whole prompt of 1 to 4 words
 *
 * A text is walked once for 13-grams and once for openings; only an opening asks for
 * the lengths that begin with it. The hash of n words in a row is a polynomial in
 * word hashes mod 2^64, taken from prefix sums in one multiplication for any n. Most
 * lookups fail, so a bitmap that fits in the cache stands in front of the set.
 *
 * Built in open(), then only read: one owner, no lock. */
#include "benchmarks.h"

#include "../schemas/jsonl.h"
#include "../schemas/lines.h"
#include "../topology/base/buf.h"

#include <stdlib.h>

enum { RUN_WORDS = 13, OPENING_WORDS = 5, LINE_MAX_BYTES = 64 << 20 };
enum kind { IN_A_ROW = 1, OPENING, ALONE };

struct entry {
	uint64_t hash; /* 0: free */
	uint32_t name;
	uint32_t lengths; /* of an OPENING: bit n, a prompt of n words begins like this */
};

struct sl_benchmarks {
	struct entry *at;
	size_t capacity, count;
	uint64_t *bitmap; /* 16 bits for every slot of the set */
	char **names;
	size_t name_count;
};

struct sl_benchmarks *sl_benchmarks_new(void)
{
	return sl_calloc(1, sizeof(struct sl_benchmarks));
}

void sl_benchmarks_free(struct sl_benchmarks *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->name_count; i++)
		free(b->names[i]);
	free(b->names);
	free(b->bitmap);
	free(b->at);
	free(b);
}

/* Hashing runs of words */

#define BASE 0x9fb21c651e98df25u

static uint64_t power(size_t n)
{
	uint64_t p = 1;

	while (n--)
		p *= BASE;
	return p;
}

/* prefix[i] is the polynomial of the first i words. */
static uint64_t *prefixes(struct sl_words words, struct sl_arena *a)
{
	uint64_t *prefix = sl_arena_alloc(a, (words.count + 1) * sizeof *prefix);

	prefix[0] = 0;
	for (size_t i = 0; i < words.count; i++)
		prefix[i + 1] = prefix[i] * BASE + words.at[i].hash;
	return prefix;
}

static uint64_t run_hash(const uint64_t *prefix, size_t first, size_t n, uint64_t base_to_n, enum kind kind)
{
	uint64_t h = sl_mix64(prefix[first + n] - prefix[first] * base_to_n + ((uint64_t)n << 8 | kind));

	return h ? h : 1;
}

/* The set */

static size_t bit_of(const struct sl_benchmarks *b, uint64_t hash)
{
	return (size_t)(hash >> 20) & (16 * b->capacity - 1);
}

static struct entry *slot_of(const struct sl_benchmarks *b, uint64_t hash)
{
	size_t i = (size_t)hash & (b->capacity - 1);

	while (b->at[i].hash && b->at[i].hash != hash)
		i = (i + 1) & (b->capacity - 1);
	return &b->at[i];
}

static const struct entry *find(const struct sl_benchmarks *b, uint64_t hash)
{
	size_t bit = bit_of(b, hash);
	const struct entry *found;

	if (!(b->bitmap[bit / 64] >> bit % 64 & 1))
		return NULL;
	found = slot_of(b, hash);
	return found->hash ? found : NULL;
}

static void place(struct sl_benchmarks *b, struct entry new)
{
	size_t bit = bit_of(b, new.hash);
	struct entry *slot = slot_of(b, new.hash);

	if (!slot->hash) {
		*slot = new;
		b->count++;
		b->bitmap[bit / 64] |= (uint64_t)1 << bit % 64;
	}
	slot->lengths |= new.lengths; /* the first benchmark keeps the name */
}

static void add(struct sl_benchmarks *b, struct entry new)
{
	if (2 * (b->count + 1) > b->capacity) {
		struct sl_benchmarks old = *b;

		b->capacity = old.capacity ? 2 * old.capacity : 1024;
		b->at = sl_calloc(b->capacity, sizeof *b->at);
		b->bitmap = sl_calloc(b->capacity / 4, sizeof *b->bitmap);
		b->count = 0;
		for (size_t i = 0; i < old.capacity; i++)
			if (old.at[i].hash)
				place(b, old.at[i]);
		free(old.at);
		free(old.bitmap);
	}
	place(b, new);
}

/* Adding prompts */

static uint32_t name_index(struct sl_benchmarks *b, const char *name)
{
	for (size_t i = b->name_count; i-- > 0;)
		if (strcmp(b->names[i], name) == 0)
			return (uint32_t)i;
	b->names = sl_realloc(b->names, (b->name_count + 1) * sizeof *b->names);
	b->names[b->name_count] = sl_strdup(name);
	return (uint32_t)b->name_count++;
}

static void add_turn(struct sl_benchmarks *b, uint32_t name, struct sl_words words, bool first, struct sl_arena *a)
{
	const uint64_t *prefix = prefixes(words, a);
	size_t n = words.count;

	if (n >= RUN_WORDS) {
		uint64_t base_to_n = power(RUN_WORDS);

		for (size_t i = 0; i + RUN_WORDS <= n; i++)
			add(b, (struct entry){ run_hash(prefix, i, RUN_WORDS, base_to_n, IN_A_ROW), name, 0 });
	} else if (first && n >= OPENING_WORDS) {
		add(b,
		    (struct entry){ run_hash(prefix, 0, OPENING_WORDS, power(OPENING_WORDS), OPENING), name, 1u << n });
		add(b, (struct entry){ run_hash(prefix, 0, n, power(n), IN_A_ROW), name, 0 });
	} else if (first && n > 0) {
		add(b, (struct entry){ run_hash(prefix, 0, n, power(n), ALONE), name, 0 });
	}
}

void sl_benchmarks_add(struct sl_benchmarks *b, const char *name, const struct sl_messages *prompt)
{
	struct sl_arena scratch = { 0 };
	uint32_t index = name_index(b, name);
	bool first = true;

	for (size_t i = 0; i < prompt->count; i++) {
		if (!sl_is(prompt->at[i].role, "user"))
			continue;
		add_turn(b, index, sl_words_of(&scratch, prompt->at[i].content), first, &scratch);
		first = false;
	}
	sl_arena_release(&scratch);
}

/* "/a/benchmarks/RM-Bench/pairs.jsonl.gz" gives RM-Bench. */
static char *name_of(const char *path, struct sl_arena *a)
{
	static const char *const plain[] = { "pairs", "data", "test", "train", "dev" };
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	char *name = sl_arena_print(a, "%.*s", (int)strcspn(base, "."), base);
	size_t folder_bytes = slash ? (size_t)(slash - path) : 0, start = folder_bytes;

	while (start > 0 && path[start - 1] != '/')
		start--;
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (strcmp(name, plain[i]) == 0 && start < folder_bytes)
			return sl_arena_print(a, "%.*s", (int)(folder_bytes - start), path + start);
	return *name ? name : sl_arena_print(a, "%s", base);
}

static bool load_line(struct sl_benchmarks *b, const char *name, const struct sl_line *line, struct sl_arena *a,
		      struct sl_error *e)
{
	static const struct sl_keys by_shape;
	struct sl_parsed parsed;

	if (line->too_long)
		return sl_error_set(e, SL_STOP, "the line has %llu bytes (at most %d)", (unsigned long long)line->size,
				    LINE_MAX_BYTES);
	if (line->text.size == 0)
		return true;
	if (!sl_jsonl_parse(line->text, &by_shape, a, &parsed, e))
		return false;
	/* One line has one prompt, however many pairs it expands to. */
	if (parsed.pair_count > 0)
		sl_benchmarks_add(b, name, &parsed.pairs[0].prompt);
	else if (parsed.tie_count > 0)
		sl_benchmarks_add(b, name, &parsed.ties[0].prompt);
	return true;
}

bool sl_benchmarks_load(struct sl_benchmarks *b, const char *path, struct sl_error *e)
{
	struct sl_arena names = { 0 }, scratch = { 0 };
	const char *name = name_of(path, &names);
	struct sl_lines *lines = sl_lines_open(path, LINE_MAX_BYTES, e);
	enum sl_lines_result result = SL_LINES_ERROR;
	struct sl_line line;
	size_t line_count = 0;
	bool done = false;

	while (lines && (result = sl_lines_next(lines, &line, e)) == SL_LINES_LINE) {
		sl_arena_clear(&scratch);
		line_count++;
		if (!load_line(b, name, &line, &scratch, e)) {
			sl_error_in(e, "line %lld", (long long)line.number);
			goto out;
		}
	}
	done = result == SL_LINES_END;
	if (done && line_count == 0)
		done = sl_error_set(e, SL_STOP, "no lines; expected preference pairs, one JSON object a line");
out:
	if (!done) {
		sl_error_in(e, "benchmark file '%s'", path);
		e->verdict = SL_STOP;
	}
	sl_lines_close(lines);
	sl_arena_release(&scratch);
	sl_arena_release(&names);
	return done;
}

/* Looking up */

static bool hit(const struct sl_benchmarks *b, const struct entry *found, size_t first, size_t count,
		struct sl_shared *shared)
{
	*shared = (struct sl_shared){ b->names[found->name], first, count };
	return true;
}

bool sl_benchmarks_find(const struct sl_benchmarks *b, struct sl_words words, struct sl_arena *scratch,
			struct sl_shared *shared)
{
	const uint64_t *prefix;
	const struct entry *found;
	uint64_t base_to_run = power(RUN_WORDS), base_to_opening = power(OPENING_WORDS);

	if (b->count == 0 || words.count == 0)
		return false;
	prefix = prefixes(words, scratch);
	if (words.count < OPENING_WORDS) {
		found = find(b, run_hash(prefix, 0, words.count, power(words.count), ALONE));
		return found && hit(b, found, 0, words.count, shared);
	}
	for (size_t i = 0; i + OPENING_WORDS <= words.count; i++) {
		if (i + RUN_WORDS <= words.count) {
			found = find(b, run_hash(prefix, i, RUN_WORDS, base_to_run, IN_A_ROW));
			if (found)
				return hit(b, found, i, RUN_WORDS, shared);
		}
		found = find(b, run_hash(prefix, i, OPENING_WORDS, base_to_opening, OPENING));
		for (size_t n = OPENING_WORDS; found && n < RUN_WORDS && i + n <= words.count; n++) {
			const struct entry *whole;

			if (!(found->lengths >> n & 1))
				continue;
			whole = find(b, run_hash(prefix, i, n, power(n), IN_A_ROW));
			if (whole)
				return hit(b, whole, i, n, shared);
		}
	}
	return false;
}
