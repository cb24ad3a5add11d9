/* judge.c -- the planted judge: it knows which answer is better (--truth) and says so as often as it is told to.
 *
 * What a prompt shows stands between fences (operators/prompt.h), which this reads on its own. A text is known by its
 * hash, or, where the middle was cut out, by its first and last bytes. All draws are hashes of the seed, the model and
 * the pair, so a run repeats whatever the order of requests: a model that is wrong about a pair is wrong about it each
 * time, in both orders; position bias takes Candidate 1 in both orders; `wobble` is the share of samples that are drawn
 * anew. Accuracy on a pair is accuracy where the pair was read, one half where bias took it. */
#include "llm.h"

#include "schemas/jsonl.h"
#include "schemas/lines.h"

#include <ctype.h>
#include <stdlib.h>

#define END_BYTES 200 /* at each end of a text whose middle may be missing */
#define TAIL_BYTES 64

double draw(uint64_t seed, const char *what, uint64_t a, uint64_t b)
{
	uint64_t in[3] = { seed, a, b };
	uint64_t h = sl_hash64(in, sizeof in, sl_hash64(what, strlen(what), 0));

	return (double)(h >> 11) * 0x1p-53;
}

/* What a prompt does to a text (spaces in template words, marks in the place of control characters, lines that say who
 * speaks) must not make it another one: letters, digits and all that is not ASCII count. Lines with `mark` are the
 * prompt's own. */
static struct sl_bytes essence(struct sl_bytes t, struct sl_bytes mark, struct sl_arena *a)
{
	const uint8_t *p = t.data, *end = p + t.size;
	uint8_t *to = sl_arena_alloc(a, t.size);
	size_t n = 0;

	while (p < end) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;

		if (mark.size && stop - p > 2 && memcmp(p, "<<", 2) == 0 &&
		    memmem(p, (size_t)(stop - p), mark.data, mark.size))
			p = stop;
		for (; p < stop; p++) {
			if (stop - p >= 3 && memcmp(p, "\xef\xbf\xbd", 3) == 0)
				p += 2;
			else if (isalnum(*p) || *p >= 0x80)
				to[n++] = *p;
		}
		p = nl ? nl + 1 : end;
	}
	return (struct sl_bytes){ to, n };
}

/* What a text is known by: all of its essence, both ends of it, or its very bytes, with and without the line end that
 * the fence may have added. */
struct text_keys {
	bool is;
	uint64_t whole, ends, tail, exact[2];
};

static struct text_keys keys_of(struct sl_bytes text, struct sl_bytes mark, struct sl_arena *a)
{
	struct sl_bytes t = essence(text, mark, a);
	const uint8_t *p = t.data, *bytes = text.data;
	size_t tail = t.size < TAIL_BYTES ? t.size : TAIL_BYTES;
	bool ended = text.size > 0 && bytes[text.size - 1] == '\n';
	struct text_keys k = { .is = true, .whole = sl_hash64(p, t.size, 1), .ends = sl_hash64(p, t.size, 2) };

	if (t.size > 2 * END_BYTES)
		k.ends = sl_hash64(p, END_BYTES, 3) ^ sl_mix64(sl_hash64(p + t.size - END_BYTES, END_BYTES, 4));
	k.tail = sl_hash64(p + t.size - tail, tail, 5);
	k.exact[0] = sl_hash64(bytes, text.size, 0);
	k.exact[1] = sl_hash64(bytes, text.size - ended, 0);
	return k;
}

/* Of an ordered pair of texts. */
static uint64_t both(uint64_t better, uint64_t worse)
{
	return sl_mix64(better) + worse;
}

static bool is_better(const struct table *t, const struct text_keys *a, const struct text_keys *b)
{
	for (int i = 0; i < 4; i++)
		if (table_find(t, both(a->exact[i / 2], b->exact[i % 2])))
			return true;
	return table_find(t, both(a->whole, b->whole)) || table_find(t, both(a->ends, b->ends));
}

static void learn_pair(struct table *t, const struct sl_pair *p, struct sl_arena *a)
{
	const struct sl_bytes none = { 0 };
	struct text_keys better = keys_of(sl_messages_text(&p->chosen, a), none, a),
			 worse = keys_of(sl_messages_text(&p->rejected, a), none, a);

	*table_at(t, both(better.whole, worse.whole)) = 1;
	*table_at(t, both(better.ends, worse.ends)) = 1;
	*table_at(t, better.tail) = 1;
	*table_at(t, worse.tail) = 2;
}

/* {"sample_id": ..., "kind": ..., "better": "16 hex digits", "worse": ...}, as sluice-sample writes its truth; nothing
 * is better or worse in a record that it broke. False: the line is none of these. */
static bool learn_hashes(struct server *s, struct sl_bytes line)
{
	json_t *object = json_loadb(line.data, line.size, 0, NULL);
	const char *better = json_string_value(json_object_get(object, "better"));
	const char *worse = json_string_value(json_object_get(object, "worse"));
	const char *kind = json_string_value(json_object_get(object, "kind"));
	bool is = better && worse && strlen(better) == 16 && strlen(worse) == 16;
	bool broken = !better && !worse && kind && strcmp(kind, "broken") == 0 && json_object_get(object, "sample_id");

	if (is)
		*table_at(&s->truth, both(strtoull(better, NULL, 16), strtoull(worse, NULL, 16))) = 1;
	s->truths += is;
	s->truths_broken += broken;
	json_decref(object);
	return is || broken;
}

bool truth_load(struct server *s, const char *path, struct sl_error *e)
{
	static const struct sl_keys keys;
	struct sl_lines *lines = sl_lines_open(path, 16 << 20, e);
	struct sl_arena a = { 0 };
	enum sl_lines_result result = SL_LINES_ERROR;
	struct sl_parsed parsed;
	struct sl_line line;

	while (lines && (result = sl_lines_next(lines, &line, e)) == SL_LINES_LINE) {
		if (learn_hashes(s, line.text))
			continue;
		if (!sl_jsonl_parse(line.text, &keys, &a, &parsed, e)) {
			sl_error_in(e, "%s:%lld", path, (long long)line.number);
			result = SL_LINES_ERROR;
			break;
		}
		s->truths += (int64_t)parsed.pair_count;
		for (size_t i = 0; i < parsed.pair_count; i++)
			learn_pair(&s->truth, &parsed.pairs[i], &a);
		sl_arena_clear(&a);
	}
	sl_lines_close(lines);
	sl_arena_release(&a);
	return result == SL_LINES_END;
}

/* Without the word of a chat template that ends a turn, "<|im_end|>". */
static struct sl_bytes without_end(struct sl_bytes text)
{
	const char *p = text.data;
	size_t size = text.size;

	while (size > 0 && isspace((unsigned char)p[size - 1]))
		size--;
	if (size < 2 || memcmp(p + size - 2, "|>", 2) != 0)
		return text;
	for (size_t at = size - 2; at > 0 && size - at < 32; at--)
		if (memcmp(p + at - 1, "<|", 2) == 0)
			return (struct sl_bytes){ p, at - 1 };
	return text;
}

int truth_of_end(const struct server *s, struct sl_bytes text)
{
	struct sl_arena a = { 0 };
	const uint64_t *v = table_find(&s->truth, keys_of(without_end(text), (struct sl_bytes){ 0 }, &a).tail);

	sl_arena_release(&a);
	return !v ? 0 : *v == 1 ? 1 : -1;
}

/* -- What the prompt shows ----------------------------------------------------------------------------------- */

struct shown {
	struct text_keys first, second;
	size_t examples;
};

static struct sl_bytes until(struct sl_bytes text, const char *at, const char *end)
{
	const char *stop = memmem(at, (size_t)((const char *)text.data + text.size - at), end, strlen(end));

	return (struct sl_bytes){ at, stop ? (size_t)(stop - at) : 0 };
}

/* Every "<<<NAME MARK>>>" that opens a fence; the last candidates are the target's. */
static void read_fences(struct sl_bytes text, struct sl_arena *a, struct shown *to)
{
	const char *at = text.data, *end = at + text.size;

	*to = (struct shown){ .examples = 0 };
	while ((at = memmem(at, (size_t)(end - at), "<<<", 3)) != NULL) {
		char close[256];
		struct sl_bytes in, mark;
		const char *space, *line = memmem(at, (size_t)(end - at), ">>>\n", 4);
		size_t size = line ? (size_t)(line - at) - 3 : 0;

		at += 3;
		if (!line || size > 200 || memchr(at, '\n', size) || strncmp(at, "end ", 4) == 0)
			continue;
		snprintf(close, sizeof close, "<<<end %.*s>>>", (int)size, at);
		in = until(text, line + 4, close);
		space = memchr(at, ' ', size);
		mark = space ? (struct sl_bytes){ space + 1, (size_t)(at + size - space - 1) } : (struct sl_bytes){ 0 };
		if (strncmp(at, "candidate_1 ", 12) == 0)
			to->first = keys_of(in, mark, a);
		else if (strncmp(at, "candidate_2 ", 12) == 0)
			to->second = keys_of(in, mark, a);
		else if (strncmp(at, "example", 7) == 0)
			to->examples++;
		at = line + 4 + in.size; /* what a text says is no fence */
	}
}

void judge(struct server *s, const struct model *m, struct sl_bytes user, uint64_t n, struct judging *to)
{
	static const char *const strengths[] = { "slight", "clear", "strong" };
	uint64_t seed = (uint64_t)s->set.seed, name = sl_hash64(m->name, strlen(m->name), 0), who, pair, one, two;
	bool first_better, right, biased, tied;
	struct sl_arena a = { 0 };
	struct shown shown;

	read_fences(user, &a, &shown);
	*to = (struct judging){ .is = shown.first.is && shown.second.is, .examples = shown.examples > 0 };
	sl_arena_release(&a);
	if (!to->is)
		return;
	one = shown.first.ends;
	two = shown.second.ends;
	pair = one < two ? both(one, two) : both(two, one);
	first_better = is_better(&s->truth, &shown.first, &shown.second);
	if (!first_better && !is_better(&s->truth, &shown.second, &shown.first)) {
		first_better = one < two; /* any answer will do, but always the same one */
		s->counts.unknown++;
	}
	who = draw(seed, "correlated", pair, 0) < s->set.correlated ? 0 : name;
	if (draw(seed, "wobble", pair ^ name, n) < s->set.wobble)
		who = sl_mix64(who + n + 1);
	right = draw(seed, "right", pair, who) < (to->examples ? m->accuracy_examples : m->accuracy);
	biased = draw(seed, "bias", pair, who) < m->bias;
	tied = draw(seed, "tie", pair, who) < s->set.ties;
	to->strength = strengths[(int)(draw(seed, "strength", pair, who) * 3)];
	to->verdict = tied ? "tie" : biased || right == first_better ? "1" : "2";
	s->counts.examples += to->examples;
	s->counts.biased += biased && !tied;
	if (!tied && (to->verdict[0] == '1') == first_better)
		s->counts.right++;
	else
		s->counts.wrong++;
}
