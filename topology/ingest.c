/* ingest.c -- see ingest.h. struct ingest is one file on its way: the reader, the batch that is
 * being filled, and two marks, `done` (committed) and `mark` (with the batch). The
 * running hash takes the hash of each line, so it is the same whatever the line limit. */
#include "ingest.h"

#include "../schemas/codec.h"
#include "../schemas/fresh.h"
#include "../schemas/lines.h"
#include "base/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_BYTES ((size_t)64 * 1024)
#define BATCH_LINES 1000
#define BATCH_BYTES ((size_t)4 << 20)
#define TRIES 5

struct ingest {
	const struct sl_ingest_sink *sink;
	const struct sl_ingest_options *options;
	struct sl_ingest_counts *counts;
	const char *path;
	struct sl_bytes source; /* of the file's name in the marks */
	struct sl_id head;
	struct sl_lines *lines;
	struct sl_ingest_mark done, mark;
	bool changed;                    /* what is done is not there any more */
	struct sl_buf pairs, ties, dead; /* frames */
	struct sl_buf value, headers;    /* scratch */
	int64_t batch_lines;
	int64_t batch_time_ms;
	struct sl_arena names; /* lives as long as this */
	struct sl_arena arena; /* of one line */
};

static bool sink_mark(void *arg, struct sl_bytes source, struct sl_id head, struct sl_ingest_mark *mark,
		      struct sl_error *e)
{
	return sl_client_ingest_mark(arg, source, head, mark, e);
}

static bool sink_append(void *arg, const struct sl_ingest_append *a, struct sl_ingest_mark *mark, struct sl_error *e)
{
	return sl_client_ingest(arg, a, mark, e);
}

struct sl_ingest_sink sl_ingest_to_client(struct sl_client *c)
{
	return (struct sl_ingest_sink){ .arg = c, .mark = sink_mark, .append = sink_append };
}

static bool ends_with(const char *text, size_t size, const char *end)
{
	size_t n = strlen(end);

	return size > n && memcmp(text + size - n, end, n) == 0;
}

struct sl_bytes sl_ingest_source(const char *path, struct sl_arena *a)
{
	static const char *const packings[] = { ".gz", ".zst", ".zstd" };
	static const char *const formats[] = { ".jsonl", ".ndjson", ".json", ".txt" };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t size = strlen(name);

	if (strcmp(path, "-") == 0)
		return sl_text("stdin");
	for (size_t i = 0; i < sizeof packings / sizeof *packings; i++)
		if (ends_with(name, size, packings[i])) {
			size -= strlen(packings[i]);
			break;
		}
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (ends_with(name, size, formats[i])) {
			size -= strlen(formats[i]);
			break;
		}
	return sl_arena_bytes(a, (struct sl_bytes){ name, size });
}

/* -- Which file, and how far ---------------------------------------------------------- */

static bool blank(struct sl_bytes text)
{
	const char *s = text.data;

	for (size_t i = 0; i < text.size; i++)
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
			return false;
	return true;
}

static bool same_mark(const struct sl_ingest_mark *a, const struct sl_ingest_mark *b)
{
	return a->position == b->position && a->lines == b->lines && a->pairs == b->pairs && a->ties == b->ties &&
	       a->invalid == b->invalid && a->hash == b->hash;
}

static bool never_seen(const struct sl_ingest_mark *mark)
{
	static const struct sl_ingest_mark none;

	return same_mark(mark, &none);
}

/* A line that has no newline yet may end in the carriage return of one. */
static struct sl_bytes without_return(struct sl_bytes text)
{
	if (text.size > 0 && ((const char *)text.data)[text.size - 1] == '\r')
		text.size--;
	return text;
}

static uint64_t chain(uint64_t before, struct sl_id line)
{
	return sl_hash64(line.b, sizeof line.b, before);
}

static uint64_t chain_text(uint64_t before, struct sl_bytes text)
{
	return chain(before, sl_hash128(text.data, text.size));
}

static uint64_t chain_line(uint64_t before, const struct sl_line *line)
{
	if (line->too_long)
		return chain(before, line->hash);
	return chain_text(before, line->unended ? without_return(line->text) : line->text);
}

/* The first line that is not blank names a small file. Absent: no whole line within the head of a large one. */
static struct sl_bytes first_line(struct sl_bytes head)
{
	const char *at = head.data, *end = at + head.size;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct sl_bytes line = { at, (size_t)((newline ? newline : end) - at) };

		if (!newline && head.size == HEAD_BYTES)
			break;
		if (!blank(line))
			return without_return(line);
		if (!newline)
			break;
		at = newline + 1;
	}
	return (struct sl_bytes){ head.size == HEAD_BYTES ? NULL : "", 0 };
}

static struct sl_id small_name(struct sl_bytes line)
{
	struct sl_buf tagged = { 0 };
	struct sl_id id;

	sl_buf_print(&tagged, "first line\n");
	sl_buf_add_bytes(&tagged, line);
	id = sl_hash128(tagged.data, tagged.size);
	sl_buf_release(&tagged);
	return id;
}

static bool changed(struct ingest *in, struct sl_error *e)
{
	in->changed = true;
	return sl_error_set(e, SL_STOP,
			    "the file has changed: its first %" PRIu64
			    " bytes (unpacked) are not the ones ingested before as source '%.*s'; restore them, or, if "
			    "this is another file, name it with another --source",
			    in->done.position, (int)(in->source.size < 100 ? in->source.size : 100),
			    (const char *)in->source.data);
}

static bool parses(struct ingest *in, struct sl_bytes text)
{
	struct sl_parsed parsed;
	struct sl_error ignored;
	bool good = sl_jsonl_parse(text, &in->options->keys, &in->arena, &parsed, &ignored);

	sl_arena_clear(&in->arena);
	return good;
}

static bool take_line(struct ingest *in, const struct sl_line *line, struct sl_error *e);

/* The file was done up to a place inside this line, which had no newline then. */
static bool grown_line(struct ingest *in, const struct sl_line *line, uint64_t before, struct sl_error *e)
{
	uint64_t size = in->done.position - line->start;
	struct sl_bytes now = line->text, old = { now.data, size < now.size ? (size_t)size : now.size };
	uint64_t hash;

	if (size >= line->size) /* only the newline came */
		hash = chain_line(before, line);
	else if (size <= now.size)
		hash = chain_text(before, without_return(old));
	else
		return changed(in, e); /* only the head of a too long line is at hand */
	if (hash != in->done.hash)
		return changed(in, e);
	in->counts->skipped++;
	in->mark.position = line->end;
	if (size >= line->size)
		return true;
	if (!line->too_long && parses(in, old))
		return sl_error_set(e, SL_STOP,
				    "line %" PRId64 " was ingested when it ended at byte %" PRIu64
				    " of the file, and has grown since; end lines with a newline before ingesting",
				    line->number, in->done.position);
	in->mark.hash = before;
	return take_line(in, line, e);
}

/* Read what is done and check that it still is what it was. */
static bool catch_up(struct ingest *in, struct sl_error *e)
{
	uint64_t hash = 0;

	while (in->mark.position < in->done.position) {
		struct sl_line line;

		switch (sl_lines_next(in->lines, &line, e)) {
		case SL_LINES_ERROR:
			return false;
		case SL_LINES_END:
			return changed(in, e);
		case SL_LINES_LINE:
			break;
		}
		if (line.end > in->done.position)
			return grown_line(in, &line, hash, e);
		hash = chain_line(hash, &line);
		in->mark.position = line.end;
		if (line.too_long || !blank(line.text))
			in->counts->skipped++;
	}
	return hash == in->done.hash || changed(in, e);
}

static bool open_lines(struct ingest *in, struct sl_error *e)
{
	sl_lines_close(in->lines);
	in->lines = sl_lines_open(in->path, (size_t)in->options->entry_max_bytes, e);
	return in->lines != NULL;
}

static bool look_up(struct ingest *in, struct sl_id head, bool *found, struct sl_error *e)
{
	in->head = head;
	in->done = (struct sl_ingest_mark){ 0 };
	if (!in->sink->mark(in->sink->arg, in->source, head, &in->done, e))
		return false;
	*found = !never_seen(&in->done);
	return true;
}

static bool resume(struct ingest *in, struct sl_error *e)
{
	in->mark = in->done;
	in->mark.position = 0;
	return catch_up(in, e);
}

/* Find the file's mark and bring the reader there. */
static bool identify(struct ingest *in, struct sl_error *e)
{
	struct sl_bytes head, line;
	bool large, found = false;
	struct sl_id whole;

	if (!open_lines(in, e) || !sl_lines_head(in->lines, &head, e))
		return false;
	large = head.size == HEAD_BYTES;
	whole = sl_hash128(head.data, head.size);
	line = first_line(head);
	if (large) {
		if (!look_up(in, whole, &found, e))
			return false;
		if (found)
			return resume(in, e);
	}
	if (line.data) {
		if (!look_up(in, small_name(line), &found, e))
			return false;
		if (found && resume(in, e))
			return true;
		if (found && (!in->changed || !large || strcmp(in->path, "-") == 0))
			return false;
		/* It only begins like a small file that we know: a large file of its own. */
		if (found && !open_lines(in, e))
			return false;
		*in->counts = (struct sl_ingest_counts){ 0 };
	}
	if (large)
		in->head = whole;
	in->done = in->mark = (struct sl_ingest_mark){ 0 };
	return true;
}

/* -- Lines ---------------------------------------------------------------------------- */

static int64_t arrival_time(struct ingest *in)
{
	if (in->options->time_given)
		return in->options->time_ms;
	if (in->batch_time_ms == 0)
		in->batch_time_ms = sl_wall_ms();
	return in->batch_time_ms;
}

static void header_count(struct sl_buf *headers, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, value);
	sl_header_add(headers, name, sl_text(text));
}

static void dead_letter(struct ingest *in, const struct sl_line *line, const char *code, const char *why)
{
	struct sl_record record = { .time_ms = arrival_time(in), .key = sl_text(""), .value = line->text };
	struct sl_buf *h = &in->headers;
	char hex[SL_ID_HEX_SIZE];

	if (!record.value.data)
		record.value.data = "";
	sl_buf_clear(h);
	sl_header_add(h, "__connect.errors.topic", sl_text(in->path));
	sl_header_add(h, "__connect.errors.partition", sl_text("0"));
	header_count(h, "__connect.errors.offset", line->number);
	sl_header_add(h, "__connect.errors.stage", sl_text("ingest"));
	sl_header_add(h, "__connect.errors.exception.class.name", sl_text(code));
	sl_buf_clear(&in->value);
	sl_buf_print(&in->value, "%s: %s", code, why);
	sl_header_add(h, "__connect.errors.exception.message", sl_buf_bytes(&in->value));
	sl_header_add(h, "sluice.file", sl_text(in->path));
	header_count(h, "sluice.line", line->number);
	sl_header_add(h, "sluice.source", in->source);
	if (line->too_long) {
		header_count(h, "sluice.length", (int64_t)line->size);
		sl_header_add(h, "sluice.hash", sl_text(sl_id_hex(line->hash, hex)));
	}
	record.headers = sl_buf_bytes(h);
	sl_frames_add(&in->dead, &record);
	in->mark.invalid++;
	in->counts->invalid++;
	if (in->counts->invalid_line == 0) {
		in->counts->invalid_line = line->number;
		snprintf(in->counts->invalid_why, sizeof in->counts->invalid_why, "%s", sl_buf_text(&in->value));
	}
}

static void complete(struct ingest *in, struct sl_pair *p, const struct sl_line *line, int64_t item)
{
	struct sl_arrival arrival = {
		.file = sl_text(in->path), .line = line->number, .item = item, .partition = -1, .offset = -1
	};

	if (in->options->source)
		p->source = in->source;
	if (in->options->gold)
		p->gold.present = true;
	sl_pair_arrive(p, &arrival, arrival_time(in), in->source);
}

static bool add_pair(struct ingest *in, const struct sl_pair *p, const struct sl_line *line, struct sl_buf *to)
{
	struct sl_record record = { .time_ms = p->time_ms, .key = sl_id_bytes(&p->group) };
	char why[128];

	sl_buf_clear(&in->value);
	sl_pair_encode(p, &in->value);
	if (in->value.size > (size_t)in->options->entry_max_bytes) {
		snprintf(why, sizeof why, "%zu bytes as a record, at most %" PRId64 " may enter (limits.entry)",
			 in->value.size, in->options->entry_max_bytes);
		dead_letter(in, line, "too-large", why);
		return false;
	}
	record.value = sl_buf_bytes(&in->value);
	sl_frames_add(to, &record);
	return true;
}

static void parse_line(struct ingest *in, const struct sl_line *line)
{
	struct sl_parsed parsed = { 0 };
	struct sl_error why = { 0 };
	char text[128];

	if (line->too_long) {
		snprintf(text, sizeof text, "a line of %" PRIu64 " bytes, at most %" PRId64 " may enter (limits.entry)",
			 line->size, in->options->entry_max_bytes);
		dead_letter(in, line, "too-large", text);
		return;
	}
	if (!sl_jsonl_parse(line->text, &in->options->keys, &in->arena, &parsed, &why)) {
		dead_letter(in, line, "malformed", why.text);
		return;
	}
	if (parsed.pair_count + parsed.tie_count == 0)
		dead_letter(in, line, "no-pair", "the line holds no two answers to compare");
	for (size_t i = 0; i < parsed.pair_count; i++) {
		complete(in, &parsed.pairs[i], line, (int64_t)i);
		if (add_pair(in, &parsed.pairs[i], line, &in->pairs)) {
			in->mark.pairs++;
			in->counts->pairs++;
		}
	}
	for (size_t i = 0; i < parsed.tie_count; i++) {
		complete(in, &parsed.ties[i], line, (int64_t)(parsed.pair_count + i));
		if (add_pair(in, &parsed.ties[i], line, &in->ties)) {
			in->mark.ties++;
			in->counts->ties++;
		}
	}
}

/* -- Batches -------------------------------------------------------------------------- */

/* An append whose answer got lost may be done or not: the mark knows. */
static bool append(struct ingest *in, const struct sl_ingest_append *a, struct sl_error *e)
{
	for (int try = 0; try < TRIES; try++) {
		struct sl_ingest_mark found = { 0 };
		struct sl_error ignored;

		if (in->sink->append(in->sink->arg, a, &found, e))
			return true;
		if (e->verdict != SL_RETRY || !in->sink->mark(in->sink->arg, a->source, a->head, &found, &ignored))
			return false;
		if (same_mark(&found, &a->after))
			return true;
		if (!same_mark(&found, &a->before))
			return sl_error_set(
				e, SL_STOP,
				"another process ingests the same file at this moment (it is at byte %" PRIu64
				"); wait for it",
				found.position);
	}
	return false;
}

static bool commit(struct ingest *in, struct sl_error *e)
{
	struct sl_ingest_append a = { .source = in->source,
				      .head = in->head,
				      .before = in->done,
				      .after = in->mark,
				      .pairs = sl_buf_bytes(&in->pairs),
				      .ties = sl_buf_bytes(&in->ties),
				      .dead = sl_buf_bytes(&in->dead) };
	struct sl_ingest_progress progress;

	if (same_mark(&in->done, &in->mark))
		return true;
	if (!append(in, &a, e))
		return false;
	in->done = in->mark;
	sl_buf_clear(&in->pairs);
	sl_buf_clear(&in->ties);
	sl_buf_clear(&in->dead);
	in->batch_lines = 0;
	in->batch_time_ms = 0;
	if (in->options->progress) {
		progress.counts = *in->counts;
		sl_lines_progress(in->lines, &progress.read_bytes, &progress.total_bytes);
		in->options->progress(in->options->arg, &progress);
	}
	return true;
}

static bool full(const struct ingest *in)
{
	const struct sl_ingest_options *o = in->options;
	size_t bytes = in->pairs.size + in->ties.size + in->dead.size;

	return in->batch_lines >= (o->batch_lines ? o->batch_lines : BATCH_LINES) ||
	       bytes >= (o->batch_bytes ? o->batch_bytes : BATCH_BYTES);
}

static bool take_line(struct ingest *in, const struct sl_line *line, struct sl_error *e)
{
	in->mark.hash = chain_line(in->mark.hash, line);
	in->mark.position = line->end;
	if (line->too_long || !blank(line->text)) {
		in->mark.lines++;
		in->counts->lines++;
		in->batch_lines++;
		parse_line(in, line);
		sl_arena_clear(&in->arena);
	}
	return !full(in) || commit(in, e);
}

static bool run(struct ingest *in, struct sl_error *e)
{
	struct sl_error broken = { 0 };
	struct sl_line line;

	if (!identify(in, e))
		return false;
	for (;;) {
		if (in->options->stopped && in->options->stopped(in->options->arg))
			break;
		switch (sl_lines_next(in->lines, &line, &broken)) {
		case SL_LINES_LINE:
			if (!take_line(in, &line, e))
				return false;
			continue;
		case SL_LINES_ERROR:
		case SL_LINES_END:
			break;
		}
		break;
	}
	/* What stands in front of a damage is good. */
	if (!commit(in, e))
		return false;
	if (broken.verdict == SL_OK)
		return true;
	*e = broken;
	return false;
}

bool sl_ingest_file(const struct sl_ingest_sink *sink, const char *path, const struct sl_ingest_options *options,
		    struct sl_ingest_counts *counts, struct sl_error *e)
{
	struct ingest in = { .sink = sink, .options = options, .counts = counts, .path = path };
	bool done;

	*counts = (struct sl_ingest_counts){ 0 };
	in.source = options->source ? sl_text(options->source) : sl_ingest_source(path, &in.names);
	done = run(&in, e);
	if (!done) {
		/* What was not committed did not happen. */
		counts->lines -= in.mark.lines - in.done.lines;
		counts->pairs -= in.mark.pairs - in.done.pairs;
		counts->ties -= in.mark.ties - in.done.ties;
		counts->invalid -= in.mark.invalid - in.done.invalid;
		sl_error_in(e, "'%s'", path);
	}
	sl_lines_close(in.lines);
	sl_buf_release(&in.pairs);
	sl_buf_release(&in.ties);
	sl_buf_release(&in.dead);
	sl_buf_release(&in.value);
	sl_buf_release(&in.headers);
	sl_arena_release(&in.names);
	sl_arena_release(&in.arena);
	return done;
}
