/* lines.c -- a file as lines, whatever it is packed with.
 *
 * Three stages, each pulling from the one before: read() fills `in` with the
 * bytes on disk, unpack() turns them into text in `window`, sl_lines_next()
 * cuts the window at newlines. Positions are counted in the text, so a reader
 * that stopped can come back: a plain file is sought, a packed one is unpacked
 * again up to the position, which is cheap beside what was done with the lines.
 *
 * The window never holds more than one line of the allowed length plus one
 * chunk. When the limit is passed without a newline, the head is put aside and
 * the rest of the line only flows through a hash and a counter.
 *
 * What goes wrong in unpack() is kept until the whole lines before it are handed
 * out: the text in front of a damage is good text. */
#include "lines.h"

#include "../topology/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#define CHUNK_BYTES (128u * 1024)
#define HEAD_BYTES (64u * 1024)     /* names a file */
#define LONG_HEAD_BYTES (4u * 1024) /* of a line that is too long */

enum packing { PLAIN, GZIP, ZSTD };

struct sl_lines {
	int fd;
	enum packing packing;
	size_t line_max;

	uint8_t in[CHUNK_BYTES]; /* as on disk */
	size_t in_at, in_size;
	bool in_end;
	uint64_t in_read, in_total; /* total 0: unknown */

	z_stream gzip;
	ZSTD_DStream *zstd;
	bool frame_open; /* inside a gzip member or zstd frame: the file may not end here */
	bool out_full;   /* the unpacker may hold more text without more input */

	struct sl_buf window; /* text; [at, size) is unread */
	size_t at;
	uint64_t window_start; /* position of window.data[0] */
	bool text_end;
	bool failed;
	struct sl_error failure;

	int64_t number;
	struct sl_buf head; /* first bytes of the file, once asked for */
	bool head_known;
	struct sl_buf long_head;
	XXH3_state_t *long_hash;
};

static uint64_t position(const struct sl_lines *l)
{
	return l->window_start + l->at;
}

/* One read() into the empty or partly filled `in`. False on a failed read. */
static bool read_more(struct sl_lines *l, struct sl_error *e)
{
	ssize_t n;

	if (l->in_at > 0) {
		memmove(l->in, l->in + l->in_at, l->in_size - l->in_at);
		l->in_size -= l->in_at;
		l->in_at = 0;
	}
	assert(l->in_size < sizeof l->in);
	do {
		n = read(l->fd, l->in + l->in_size, sizeof l->in - l->in_size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return sl_error_errno(e, SL_STOP, "cannot read at byte %llu", (unsigned long long)l->in_read);
	if (n == 0)
		l->in_end = true;
	l->in_size += (size_t)n;
	l->in_read += (uint64_t)n;
	return true;
}

static bool damaged(const struct sl_lines *l, const char *what, const char *why, struct sl_error *e)
{
	return sl_error_set(e, SL_STOP, "%s data is damaged near compressed byte %llu: %s; copy the file again", what,
			    (unsigned long long)(l->in_read - (l->in_size - l->in_at)), why ? why : "unknown reason");
}

/* The end of a member: another may follow, and zero bytes (tape padding) mean nothing. */
static bool next_member(struct sl_lines *l, struct sl_error *e)
{
	while (l->in_at < l->in_size && l->in[l->in_at] == 0)
		l->in_at++;
	if (l->in_at < l->in_size) {
		if (l->in[l->in_at] != 0x1f)
			return damaged(l, "gzip", "bytes behind the end that are not gzip", e);
		if (inflateReset(&l->gzip) != Z_OK)
			return damaged(l, "gzip", l->gzip.msg, e);
		l->frame_open = true;
	}
	return true;
}

/* Unpack from `in` to `to`. *made may be 0: more input is needed. */
static bool gunzip(struct sl_lines *l, uint8_t *to, size_t room, size_t *made, struct sl_error *e)
{
	int rc;

	*made = 0;
	if (!l->frame_open && !next_member(l, e))
		return false;
	if (!l->frame_open)
		return true;
	l->gzip.next_in = l->in + l->in_at;
	l->gzip.avail_in = (uInt)(l->in_size - l->in_at);
	l->gzip.next_out = to;
	l->gzip.avail_out = (uInt)room;
	rc = inflate(&l->gzip, Z_NO_FLUSH);
	l->in_at = l->in_size - l->gzip.avail_in;
	*made = room - l->gzip.avail_out;
	if (rc == Z_STREAM_END)
		l->frame_open = false;
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		return damaged(l, "gzip", l->gzip.msg, e);
	return true;
}

static bool unzstd(struct sl_lines *l, uint8_t *to, size_t room, size_t *made, struct sl_error *e)
{
	ZSTD_inBuffer from = { l->in, l->in_size, l->in_at };
	ZSTD_outBuffer out = { to, room, 0 };
	size_t rc = ZSTD_decompressStream(l->zstd, &out, &from);

	l->in_at = from.pos;
	*made = out.pos;
	if (ZSTD_isError(rc))
		return damaged(l, "zstd", ZSTD_getErrorName(rc), e);
	l->frame_open = rc != 0;
	return true;
}

static bool unplain(struct sl_lines *l, uint8_t *to, size_t room, size_t *made, struct sl_error *e)
{
	size_t n = l->in_size - l->in_at;

	(void)e;
	n = n < room ? n : room;
	memcpy(to, l->in + l->in_at, n);
	l->in_at += n;
	*made = n;
	return true;
}

/* Add some text to the window, or set text_end. */
static bool unpack(struct sl_lines *l, struct sl_error *e)
{
	static bool (*const unpackers[])(struct sl_lines *, uint8_t *, size_t, size_t *,
					 struct sl_error *) = { unplain, gunzip, unzstd };
	uint8_t *to;
	size_t made = 0;

	if (l->at > 0) {
		memmove(l->window.data, l->window.data + l->at, l->window.size - l->at);
		l->window.size -= l->at;
		l->window_start += l->at;
		l->at = 0;
	}
	to = sl_buf_reserve(&l->window, CHUNK_BYTES);
	while (made == 0) {
		if (l->in_at == l->in_size && !l->out_full) {
			if (!l->in_end && !read_more(l, e))
				return false;
			if (l->in_at == l->in_size && l->in_end) {
				if (l->frame_open)
					return sl_error_set(e, SL_STOP,
							    "the file is truncated: its %s data ends early after "
							    "%llu bytes; copy it again",
							    l->packing == GZIP ? "gzip" : "zstd",
							    (unsigned long long)l->in_read);
				l->text_end = true;
				return true;
			}
		}
		if (!unpackers[l->packing](l, to, CHUNK_BYTES, &made, e))
			return false;
		l->out_full = made == CHUNK_BYTES && l->frame_open;
	}
	l->window.size += made;
	return true;
}

/* unpack(), with a failure kept for when the lines before it are out. */
static bool more_text(struct sl_lines *l)
{
	if (l->text_end || l->failed)
		return false;
	if (!unpack(l, &l->failure)) {
		l->failed = true;
		return false;
	}
	return !l->text_end;
}

static bool tell_packing(struct sl_lines *l, struct sl_error *e)
{
	while (l->in_size < 4 && !l->in_end)
		if (!read_more(l, e))
			return false;
	if (l->in_size >= 2 && l->in[0] == 0x1f && l->in[1] == 0x8b) {
		l->packing = GZIP;
		if (inflateInit2(&l->gzip, 15 + 16) != Z_OK)
			sl_oom(0);
		l->frame_open = true;
	} else if (l->in_size >= 4 && (memcmp(l->in, "\x28\xb5\x2f\xfd", 4) == 0 ||
				       ((l->in[0] & 0xf0) == 0x50 && memcmp(l->in + 1, "\x2a\x4d\x18", 3) == 0))) {
		l->packing = ZSTD; /* a frame, or a skippable one in front of it */
		l->zstd = ZSTD_createDStream();
		if (!l->zstd)
			sl_oom(0);
	}
	return true;
}

struct sl_lines *sl_lines_open(const char *path, size_t line_max_bytes, struct sl_error *e)
{
	struct sl_lines *l = sl_calloc(1, sizeof *l);
	struct stat st;

	l->line_max = line_max_bytes;
	sl_buf_reserve(&l->window, CHUNK_BYTES); /* never NULL from here on */
	l->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (l->fd < 0 || fstat(l->fd, &st) < 0) {
		sl_error_errno(e, SL_STOP, "cannot open '%s'", path);
		goto failed;
	}
	if (S_ISREG(st.st_mode))
		l->in_total = (uint64_t)st.st_size;
	if (!tell_packing(l, e)) {
		sl_error_in(e, "'%s'", path);
		goto failed;
	}
	return l;
failed:
	sl_lines_close(l);
	return NULL;
}

void sl_lines_close(struct sl_lines *l)
{
	if (!l)
		return;
	if (l->packing == GZIP)
		inflateEnd(&l->gzip);
	ZSTD_freeDStream(l->zstd);
	XXH3_freeState(l->long_hash);
	sl_buf_release(&l->window);
	sl_buf_release(&l->head);
	sl_buf_release(&l->long_head);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

void sl_lines_progress(const struct sl_lines *l, uint64_t *read, uint64_t *total)
{
	*read = l->in_read - (l->in_size - l->in_at);
	*total = l->in_total;
}

bool sl_lines_head(struct sl_lines *l, struct sl_bytes *head, struct sl_error *e)
{
	if (!l->head_known) {
		if (position(l) > 0)
			return sl_error_set(e, SL_STOP, "the head of a file must be asked for before its lines");
		while (l->window.size < HEAD_BYTES && more_text(l))
			;
		sl_buf_add(&l->head, l->window.data, l->window.size < HEAD_BYTES ? l->window.size : HEAD_BYTES);
		l->head_known = true;
	}
	*head = (struct sl_bytes){ l->head.data ? (const void *)l->head.data : "", l->head.size };
	return true;
}

bool sl_lines_seek(struct sl_lines *l, uint64_t to, int64_t lines_before, struct sl_error *e)
{
	uint64_t from = position(l);

	if (to < from)
		return sl_error_set(e, SL_STOP, "cannot go back from position %llu to %llu: open the file again",
				    (unsigned long long)from, (unsigned long long)to);
	/* A plain file on disk needs not be read up to there. */
	if (l->packing == PLAIN && l->in_total >= to && to > l->window_start + l->window.size &&
	    lseek(l->fd, (off_t)to, SEEK_SET) == (off_t)to) {
		l->in_at = l->in_size = 0;
		l->in_read = to;
		l->in_end = l->text_end = false;
		sl_buf_clear(&l->window);
		l->at = 0;
		l->window_start = to;
	}
	while (position(l) < to) {
		uint64_t need = to - position(l);
		size_t have = l->window.size - l->at;

		if (have == 0 && !more_text(l))
			break;
		have = l->window.size - l->at;
		l->at += need < have ? (size_t)need : have;
	}
	if (position(l) < to && l->failed) {
		*e = l->failure;
		return false;
	}
	if (position(l) < to)
		return sl_error_set(e, SL_STOP,
				    "the file has only %llu bytes of text, but was read up to %llu before: it was "
				    "changed; give it another source name to read it as a new one",
				    (unsigned long long)position(l), (unsigned long long)to);
	l->number = lines_before;
	return true;
}

static struct sl_id canonical(XXH128_hash_t h)
{
	XXH128_canonical_t c;
	struct sl_id id;

	XXH128_canonicalFromHash(&c, h);
	static_assert(sizeof c.digest == sizeof id.b, "an id is 128 bits");
	memcpy(id.b, c.digest, sizeof id.b);
	return id;
}

/* The window holds the beginning of a line over the limit and no newline. A
 * carriage return at the end of what was seen may belong to the newline: it is
 * held back until the next byte is known. */
static bool read_long_line(struct sl_lines *l, struct sl_line *line)
{
	bool held_cr = false, ended = false;

	if (!l->long_hash)
		l->long_hash = XXH3_createState();
	if (!l->long_hash)
		sl_oom(0);
	XXH3_128bits_reset(l->long_hash);
	sl_buf_clear(&l->long_head);
	sl_buf_add(&l->long_head, l->window.data + l->at,
		   LONG_HEAD_BYTES < l->line_max ? LONG_HEAD_BYTES : l->line_max);
	line->size = 0;
	for (;;) {
		const uint8_t *text = l->window.data + l->at;
		size_t have = l->window.size - l->at;
		const uint8_t *newline = memchr(text, '\n', have);
		size_t size = newline ? (size_t)(newline - text) : have;

		if (held_cr && size > 0) {
			XXH3_128bits_update(l->long_hash, "\r", 1);
			line->size++;
			held_cr = false;
		}
		l->at += size;
		if (size > 0 && text[size - 1] == '\r') {
			held_cr = true;
			size--;
		}
		XXH3_128bits_update(l->long_hash, text, size);
		line->size += size;
		if (newline) {
			l->at++;
			ended = true;
			break;
		}
		if (!more_text(l))
			break;
	}
	if (l->failed && !ended)
		return false;
	if (!ended && held_cr) {
		XXH3_128bits_update(l->long_hash, "\r", 1);
		line->size++;
	}
	line->unended = !ended;
	line->too_long = true;
	line->text = sl_buf_bytes(&l->long_head);
	line->hash = canonical(XXH3_128bits_digest(l->long_hash));
	return true;
}

enum sl_lines_result sl_lines_next(struct sl_lines *l, struct sl_line *line, struct sl_error *e)
{
	size_t seen = 0; /* of the window, without a newline */
	const uint8_t *text, *newline;
	size_t size;

	*line = (struct sl_line){ .number = l->number + 1, .start = position(l) };
	for (;;) {
		text = l->window.data + l->at;
		size = l->window.size - l->at;
		newline = size > seen ? memchr(text + seen, '\n', size - seen) : NULL;
		if (newline || size > l->line_max + 1) /* + 1: a carriage return is no part of the line */
			break;
		seen = size;
		if (!more_text(l))
			break;
	}
	text = l->window.data + l->at;
	size = l->window.size - l->at;
	if (!newline && (l->failed || size == 0) && size <= l->line_max + 1)
		goto no_line;
	if (newline)
		size = (size_t)(newline - text);
	if (newline && size > 0 && text[size - 1] == '\r')
		size--;
	if (size > l->line_max) {
		if (!read_long_line(l, line))
			goto no_line;
	} else {
		line->text = (struct sl_bytes){ text, size };
		line->size = size;
		line->unended = !newline;
		l->at = newline ? (size_t)(newline - l->window.data) + 1 : l->window.size;
	}
	line->end = position(l);
	l->number++;
	return SL_LINES_LINE;
no_line:
	if (!l->failed)
		return SL_LINES_END;
	*e = l->failure;
	sl_error_in(e, "after %lld whole lines", (long long)l->number);
	return SL_LINES_ERROR;
}
