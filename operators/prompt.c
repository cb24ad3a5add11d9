/* prompt.c -- prompt files, behind prompt.h (fences: prompt_fence.c).
 *
 * A file becomes a list of parts, a part a list of pieces: text, or the number of a slot. All checks are made while
 * reading; filling cannot fail. The parts of the task are a constant table, borrowed. */
#include "prompt.h"

#include "../topology/base/file.h"
#include "../topology/base/text.h"

#include <assert.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 256 << 10, LITERAL = -1 };

struct piece {
	struct sl_bytes text; /* of the file */
	int slot;             /* LITERAL: text */
};

struct part {
	bool found;
	struct piece *pieces;
	size_t count;
};

struct sl_prompt {
	struct sl_buf file;
	struct sl_id hash;
	const struct sl_prompt_part *wanted;
	struct part *parts; /* in the order of `wanted` */
	size_t count;
};

/* Where the reader is. */
struct reader {
	struct sl_prompt *p;
	const char *name; /* of the file */
	int64_t line;
	struct sl_error *e;
};

static bool wrong(const struct reader *r, int64_t line, const char *what, struct sl_bytes word, const char *then)
{
	return sl_error_set(r->e, SL_STOP, "%s:%lld: %s '%.*s'%s", r->name, (long long)line, what,
			    (int)(word.size < 60 ? word.size : 60), (const char *)word.data, then);
}

static void add_piece(struct part *part, struct sl_bytes text, int slot)
{
	if (slot == LITERAL && text.size == 0)
		return;
	part->pieces = sl_realloc(part->pieces, (part->count + 1) * sizeof *part->pieces);
	part->pieces[part->count++] = (struct piece){ text, slot };
}

static int slot_find(const struct sl_prompt_part *wanted, struct sl_bytes name)
{
	for (int i = 0; wanted->slots && wanted->slots[i]; i++)
		if (sl_is(name, wanted->slots[i]))
			return i;
	return LITERAL;
}

static bool has_slot(const struct part *part, int slot)
{
	for (size_t i = 0; i < part->count; i++)
		if (part->pieces[i].slot == slot)
			return true;
	return false;
}

static struct sl_bytes between(const char *from, const char *to)
{
	return (struct sl_bytes){ from, (size_t)(to - from) };
}

static int64_t lines_in(struct sl_bytes text)
{
	int64_t lines = 0;

	for (size_t i = 0; i < text.size; i++)
		lines += ((const char *)text.data)[i] == '\n';
	return lines;
}

/* The text of a part, cut at its slots; `line` is where it begins. */
static bool read_pieces(struct reader *r, const struct sl_prompt_part *wanted, struct part *part, struct sl_bytes text,
			int64_t line)
{
	const char *at = text.data, *end = at + text.size, *open, *close;

	while ((open = memmem(at, (size_t)(end - at), "{{", 2))) {
		struct sl_bytes name;
		int slot;

		line += lines_in(between(at, open));
		close = memmem(open + 2, (size_t)(end - open - 2), "}}", 2);
		if (!close)
			return wrong(r, line, "no '}}' behind", between(open, end), "");
		name = between(open + 2, close);
		slot = slot_find(wanted, name);
		if (slot == LITERAL)
			return wrong(r, line, "unknown slot", name, "");
		add_piece(part, between(at, open), LITERAL);
		add_piece(part, (struct sl_bytes){ 0 }, slot);
		at = close + 2;
	}
	add_piece(part, between(at, end), LITERAL);
	for (int i = 0; wanted->slots && wanted->slots[i]; i++)
		if (!has_slot(part, i))
			return sl_error_set(r->e, SL_STOP, "%s:%lld: part '%s' has no slot '{{%s}}'", r->name,
					    (long long)r->line, wanted->name, wanted->slots[i]);
	return true;
}

/* Empty lines at both ends are not part of the part. */
static struct sl_bytes trim(const char *from, const char *to, int64_t *line)
{
	for (const char *at = from; at < to && strchr(" \t\r\n", *at); at++)
		if (*at == '\n') {
			from = at + 1;
			(*line)++;
		}
	while (to > from && strchr(" \t\r\n", to[-1]))
		to--;
	return between(from, to);
}

static const char *line_end(const char *at, const char *end)
{
	const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;

	return newline ? newline : end;
}

static bool is_head(const char *at, const char *end)
{
	return sl_bytes_begins(between(at, end), sl_text("=== "));
}

/* One part, from its head line on; *at goes behind it. */
static bool read_part(struct reader *r, const char **at, const char *end)
{
	const char *head_end = line_end(*at, end), *body = head_end < end ? head_end + 1 : end, *stop = body;
	struct sl_bytes name, text;
	int64_t line = r->line + 1;
	size_t which = 0;

	for (name = between(*at + 4, head_end); name.size && strchr(" \t\r", ((const char *)name.data)[name.size - 1]);)
		name.size--;
	while (which < r->p->count && !sl_is(name, r->p->wanted[which].name))
		which++;
	if (which == r->p->count)
		return wrong(r, r->line, "unknown part", name, "");
	if (r->p->parts[which].found)
		return wrong(r, r->line, "part", name, " stands twice");
	r->p->parts[which].found = true;
	while (stop < end && !is_head(stop, end))
		stop = line_end(stop, end) < end ? line_end(stop, end) + 1 : end;
	*at = stop;
	text = trim(body, stop, &line);
	if (!read_pieces(r, &r->p->wanted[which], &r->p->parts[which], text, line))
		return false;
	r->line += 1 + lines_in(between(body, stop));
	return true;
}

static bool read_file(struct reader *r)
{
	struct sl_prompt *p = r->p;
	const char *at = (const char *)p->file.data, *end = at + p->file.size;
	size_t bad;

	if (p->file.size > FILE_BYTES_MAX)
		return sl_error_set(r->e, SL_STOP, "%s: over %d KiB, which no prompt needs", r->name,
				    FILE_BYTES_MAX >> 10);
	if (!sl_utf8_valid(sl_buf_bytes(&p->file), &bad))
		return sl_error_set(r->e, SL_STOP, "%s: byte %zu is not UTF-8", r->name, bad);
	for (r->line = 1; at < end && !is_head(at, end); r->line++)
		at = line_end(at, end) < end ? line_end(at, end) + 1 : end;
	while (at < end)
		if (!read_part(r, &at, end))
			return false;
	for (size_t i = 0; i < p->count; i++)
		if (!p->parts[i].found)
			return sl_error_set(r->e, SL_STOP, "%s: part '%s' is missing: a line '=== %s' begins it",
					    r->name, p->wanted[i].name, p->wanted[i].name);
	return true;
}

struct sl_prompt *sl_prompt_parse(const char *name, struct sl_bytes text, const struct sl_prompt_part *parts,
				  size_t part_count, struct sl_error *e)
{
	struct sl_prompt *p = sl_calloc(1, sizeof *p);
	struct reader r = { .p = p, .name = name, .e = e };

	sl_buf_reserve(&p->file, text.size + 1);
	sl_buf_add_bytes(&p->file, text);
	p->hash = sl_hash128(p->file.data, p->file.size);
	p->wanted = parts;
	p->count = part_count;
	p->parts = sl_calloc(part_count, sizeof *p->parts);
	if (read_file(&r))
		return p;
	sl_prompt_close(p);
	return NULL;
}

struct sl_prompt *sl_prompt_open(const char *path, const struct sl_prompt_part *parts, size_t part_count,
				 struct sl_error *e)
{
	struct sl_buf text = { 0 };
	struct sl_prompt *p = NULL;

	if (sl_file_read(path, FILE_BYTES_MAX, &text, e))
		p = sl_prompt_parse(path, sl_buf_bytes(&text), parts, part_count, e);
	sl_buf_release(&text);
	return p;
}

void sl_prompt_close(struct sl_prompt *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++)
		free(p->parts[i].pieces);
	free(p->parts);
	sl_buf_release(&p->file);
	free(p);
}

struct sl_id sl_prompt_hash(const struct sl_prompt *p)
{
	return p->hash;
}

void sl_prompt_fill(const struct sl_prompt *p, const char *part, const struct sl_bytes *values, struct sl_buf *to)
{
	size_t which = 0;

	while (which < p->count && strcmp(p->wanted[which].name, part) != 0)
		which++;
	assert(which < p->count);
	for (size_t i = 0; i < p->parts[which].count; i++) {
		const struct piece *piece = &p->parts[which].pieces[i];

		sl_buf_add_bytes(to, piece->slot == LITERAL ? piece->text : values[piece->slot]);
	}
}

struct sl_bytes sl_prompt_text(const struct sl_prompt *p, const char *part, const struct sl_bytes *values,
			       struct sl_arena *a)
{
	struct sl_buf b = { 0 };
	struct sl_bytes text;

	sl_prompt_fill(p, part, values, &b);
	text = sl_arena_bytes(a, sl_buf_bytes(&b));
	sl_buf_release(&b);
	return text;
}
