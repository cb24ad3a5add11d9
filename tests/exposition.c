/* exposition.c -- see exposition.h. */
#include "exposition.h"

#include "topology/base/buf.h"
#include "topology/base/hash.h"
#include "topology/base/text.h"

#include <math.h>
#include <stdlib.h>

#define LABELS_MAX 16

struct label {
	struct sl_bytes name, value;
};

struct sample {
	struct sl_bytes name;
	struct label labels[LABELS_MAX];
	size_t label_count;
	double value;
};

struct reader {
	struct sl_arena arena; /* all texts */
	struct sl_bytes *families;
	size_t family_count;
	uint64_t *series;
	size_t series_count;
	/* The block. */
	struct sl_bytes family, kind;
	/* The histogram whose buckets are being read; 0: none. */
	uint64_t buckets;
	double bound, below;
	bool whole, sum;
};

static bool wrong(struct sl_error *e, const char *what, struct sl_bytes of)
{
	return sl_error_set(e, SL_STOP, "%s '%.*s'", what, (int)of.size, (const char *)of.data);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The name at *at, which moves behind it; empty: there is none. */
static struct sl_bytes name_at(const char **at, bool colon)
{
	const char *from = *at;

	while (is_letter(**at) || (**at == ':' && colon) || (*at > from && **at >= '0' && **at <= '9'))
		(*at)++;
	return (struct sl_bytes){ from, (size_t)(*at - from) };
}

static bool same(struct sl_bytes a, struct sl_bytes b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static bool is(struct sl_bytes a, const char *text)
{
	return same(a, sl_text(text));
}

/* "# HELP name text", and the TYPE of the same name behind it. */
static bool read_help(struct reader *r, const char *line, struct sl_error *e)
{
	const char *at = line + 7;

	if (strncmp(line, "# HELP ", 7) != 0)
		return wrong(e, "a comment, where HELP is expected:", sl_text(line));
	r->family = name_at(&at, true);
	r->kind = (struct sl_bytes){ 0 };
	if (r->family.size == 0 || at[0] != ' ' || !at[1])
		return wrong(e, "HELP without a name or without a text:", sl_text(line));
	for (at++; *at; at++)
		if (*at == '\\' && *++at != '\\' && *at != 'n')
			return wrong(e, "HELP with an escape that is none:", sl_text(line));
	for (size_t i = 0; i < r->family_count; i++)
		if (same(r->families[i], r->family))
			return wrong(e, "a second block of", r->family);
	r->families = sl_realloc(r->families, (r->family_count + 1) * sizeof *r->families);
	r->families[r->family_count++] = r->family;
	return true;
}

static bool read_type(struct reader *r, const char *line, struct sl_error *e)
{
	const char *at = line + 7;

	if (strncmp(line, "# TYPE ", 7) != 0 || !same(name_at(&at, true), r->family) || *at != ' ')
		return wrong(e, "no TYPE behind the HELP of", r->family);
	r->kind = sl_text(at + 1);
	return is(r->kind, "counter") || is(r->kind, "gauge") || is(r->kind, "histogram") ||
	       wrong(e, "a type that is none:", r->kind);
}

static bool read_labels(struct sample *s, const char **at, struct sl_error *e)
{
	const char *from;
	struct label *l;

	do {
		(*at)++; /* the brace, or a comma */
		if (s->label_count == LABELS_MAX)
			return wrong(e, "too many labels of", s->name);
		l = &s->labels[s->label_count++];
		l->name = name_at(at, false);
		if (l->name.size == 0 || strncmp(l->name.data, "__", 2) == 0)
			return wrong(e, "a label without a name that may be one, of", s->name);
		for (size_t i = 0; i + 1 < s->label_count; i++)
			if (same(s->labels[i].name, l->name))
				return wrong(e, "two labels named", l->name);
		if ((*at)[0] != '=' || (*at)[1] != '"')
			return wrong(e, "no value in quotes for label", l->name);
		*at += 2;
		for (from = *at; **at && **at != '"'; (*at)++)
			if (**at == '\\' && *++*at != '\\' && **at != '"' && **at != 'n')
				return wrong(e, "an escape that is none in label", l->name);
		l->value = (struct sl_bytes){ from, (size_t)(*at - from) };
		if (**at != '"')
			return wrong(e, "no end of label", l->name);
		(*at)++;
	} while (**at == ',');
	if (**at != '}')
		return wrong(e, "no closing brace of", s->name);
	(*at)++;
	return true;
}

static bool read_sample(struct sample *s, const char *line, struct sl_error *e)
{
	const char *at = line;
	char *end;

	*s = (struct sample){ .name = name_at(&at, true) };
	if (s->name.size == 0)
		return wrong(e, "no name:", sl_text(line));
	if (*at == '{' && !read_labels(s, &at, e))
		return false;
	if (at[0] != ' ' || at[1] == ' ')
		return wrong(e, "no space before the value:", sl_text(line));
	s->value = strtod(at + 1, &end);
	if (end == at + 1 || *end || !isfinite(s->value))
		return wrong(e, "no finite number at the end of", sl_text(line));
	return true;
}

/* Of the labels in any order, all but `but`. */
static uint64_t hash_of(const struct sample *s, struct sl_bytes name, const char *but)
{
	uint64_t h = 0;

	for (size_t i = 0; i < s->label_count; i++) {
		const struct label *l = &s->labels[i];

		if (!but || !is(l->name, but))
			h += sl_mix64(
				sl_hash64(l->value.data, l->value.size, sl_hash64(l->name.data, l->name.size, 1)));
	}
	return sl_hash64(name.data, name.size, h) | 1;
}

static const struct label *label_of(const struct sample *s, const char *name)
{
	for (size_t i = 0; i < s->label_count; i++)
		if (is(s->labels[i].name, name))
			return &s->labels[i];
	return NULL;
}

static bool bucket(struct reader *r, const struct sample *s, struct sl_error *e)
{
	uint64_t of = hash_of(s, r->family, "le");
	const struct label *le = label_of(s, "le");
	double bound;
	char *end;

	if (!le)
		return wrong(e, "a bucket without a bound, of", r->family);
	bound = strtod(le->value.data, &end);
	if (end == le->value.data || (size_t)(end - (const char *)le->value.data) != le->value.size)
		return wrong(e, "a bound that is no number:", le->value);
	if (!r->buckets) {
		r->bound = -INFINITY;
		r->below = 0;
		r->whole = r->sum = false;
	}
	if ((r->buckets && r->buckets != of) || r->whole || bound <= r->bound || s->value < r->below)
		return wrong(e, "a bucket out of order, of", r->family);
	r->buckets = of;
	r->bound = bound;
	r->below = s->value;
	r->whole = isinf(bound);
	return true;
}

/* Buckets, their sum, their count. */
static bool histogram(struct reader *r, const struct sample *s, struct sl_error *e)
{
	struct sl_bytes rest = { (const char *)s->name.data + r->family.size, s->name.size - r->family.size };

	if (is(rest, "_bucket"))
		return bucket(r, s, e);
	if (!r->whole || r->buckets != hash_of(s, r->family, NULL))
		return wrong(e, "not behind all of its buckets:", s->name);
	if (is(rest, "_sum")) {
		r->sum = true;
		return true;
	}
	if (!is(rest, "_count") || !r->sum || s->value != r->below)
		return wrong(e, "a count without a sum, or another than the last bucket's:", s->name);
	r->buckets = 0;
	r->whole = false;
	return true;
}

static bool take(struct reader *r, const struct sample *s, struct sl_error *e)
{
	bool is_histogram = is(r->kind, "histogram");
	uint64_t series = hash_of(s, s->name, NULL);

	if (!r->kind.size || s->name.size < r->family.size ||
	    memcmp(s->name.data, r->family.data, r->family.size) != 0 ||
	    (!is_histogram && s->name.size != r->family.size))
		return wrong(e, "outside of its block:", s->name);
	for (size_t i = 0; i < r->series_count; i++)
		if (r->series[i] == series)
			return wrong(e, "a second sample of one series of", s->name);
	r->series = sl_realloc(r->series, (r->series_count + 1) * sizeof *r->series);
	r->series[r->series_count++] = series;
	if (is(r->kind, "counter") && s->value < 0)
		return wrong(e, "a counter under 0:", s->name);
	return is_histogram ? histogram(r, s, e) : !label_of(s, "le") || wrong(e, "a bound without buckets:", s->name);
}

static bool read_line(struct reader *r, const char *line, struct sl_error *e)
{
	struct sample s;
	bool open = r->family.size && !r->kind.size; /* HELP was the last line */

	if (open)
		return read_type(r, line, e);
	if (line[0] == '#')
		return !r->buckets ? read_help(r, line, e) : wrong(e, "an unfinished histogram:", r->family);
	return read_sample(&s, line, e) && take(r, &s, e);
}

bool sl_exposition_check(const char *text, struct sl_error *e)
{
	struct reader r = { 0 };
	size_t bad, number = 0;
	bool good = sl_utf8_valid(sl_text(text), &bad) || sl_error_set(e, SL_STOP, "not UTF-8 at byte %zu", bad);

	for (const char *at = text, *end; good && *at; at = end + 1) {
		char *line;

		number++;
		end = strchr(at, '\n');
		if (!end) {
			good = sl_error_set(e, SL_STOP, "no line end");
			break;
		}
		line = sl_arena_copy(&r.arena, at, (size_t)(end - at) + 1);
		line[end - at] = 0;
		good = read_line(&r, line, e) || sl_error_in(e, "line %zu", number);
	}
	if (good && (r.buckets || (r.family.size && !r.kind.size)))
		good = wrong(e, "the end comes too early for", r.family);
	free(r.families);
	free(r.series);
	sl_arena_release(&r.arena);
	return good;
}
