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

static uint64_t whole_key(struct sl_bytes t)
{
	return sl_hash64(t.data, t.size, 1);
}

static uint64_t ends_key(struct sl_bytes t)
{
	const uint8_t *p = t.data;

	if (t.size <= 2 * END_BYTES)
		return sl_hash64(p, t.size, 2);
	return sl_hash64(p, END_BYTES, 3) ^ sl_mix64(sl_hash64(p + t.size - END_BYTES, END_BYTES, 4));
}

static uint64_t tail_key(struct sl_bytes t)
{
	const uint8_t *p = t.data;
	size_t size = t.size < TAIL_BYTES ? t.size : TAIL_BYTES;

	return sl_hash64(p + t.size - size, size, 5);
}

/* Of an ordered pair of texts. */
static uint64_t both(uint64_t better, uint64_t worse)
{
	return sl_mix64(better) + worse;
}

static void learn(struct table *t, const struct sl_pair *p, struct sl_arena *a)
{
	const struct sl_bytes none = { 0 };
	struct sl_bytes better = essence(sl_messages_text(&p->chosen, a), none, a),
			worse = essence(sl_messages_text(&p->rejected, a), none, a);

	*table_at(t, both(whole_key(better), whole_key(worse))) = 1;
	*table_at(t, both(ends_key(better), ends_key(worse))) = 1;
	*table_at(t, tail_key(better)) = 1;
	*table_at(t, tail_key(worse)) = 2;
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
		if (!sl_jsonl_parse(line.text, &keys, &a, &parsed, e)) {
			sl_error_in(e, "%s:%lld", path, (long long)line.number);
			result = SL_LINES_ERROR;
			break;
		}
		for (size_t i = 0; i < parsed.pair_count; i++)
			learn(&s->truth, &parsed.pairs[i], &a);
		sl_arena_clear(&a);
	}
	sl_lines_close(lines);
	sl_arena_release(&a);
	return result == SL_LINES_END;
}

int truth_of_end(const struct server *s, struct sl_bytes text)
{
	struct sl_arena a = { 0 };
	const uint64_t *v = table_find(&s->truth, tail_key(essence(text, (struct sl_bytes){ 0 }, &a)));

	sl_arena_release(&a);
	return !v ? 0 : *v == 1 ? 1 : -1;
}

/* -- What the prompt shows ----------------------------------------------------------------------------------- */

struct shown {
	struct sl_bytes first, second;
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

	*to = (struct shown){ { 0 }, { 0 }, 0 };
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
			to->first = essence(in, mark, a);
		else if (strncmp(at, "candidate_2 ", 12) == 0)
			to->second = essence(in, mark, a);
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
	*to = (struct judging){ .is = shown.first.data && shown.second.data, .examples = shown.examples > 0 };
	if (!to->is) {
		sl_arena_release(&a);
		return;
	}
	one = ends_key(shown.first);
	two = ends_key(shown.second);
	pair = one < two ? both(one, two) : both(two, one);
	if (table_find(&s->truth, both(whole_key(shown.first), whole_key(shown.second))) ||
	    table_find(&s->truth, both(one, two))) {
		first_better = true;
	} else if (table_find(&s->truth, both(whole_key(shown.second), whole_key(shown.first))) ||
		   table_find(&s->truth, both(two, one))) {
		first_better = false;
	} else { /* any answer will do, but always the same one */
		first_better = one < two;
		s->counts.unknown++;
	}
	sl_arena_release(&a);
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
