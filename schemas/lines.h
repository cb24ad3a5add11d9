/* lines.h -- lines of a plain, gzip or zstd file (told by its first bytes), with
 * the position in the *decompressed* stream, so that reading can resume.
 *
 * A line longer than the limit is not held in memory: its head is handed out
 * with its true length and hash, and reading goes on behind it. A truncated
 * gzip or zstd stream is an error that says so, after the whole lines before it.
 * A last line without a newline is handed out at the end of the file, marked. */
#ifndef SL_LINES_H
#define SL_LINES_H

#include "../topology/base/bytes.h"
#include "../topology/base/error.h"
#include "../topology/base/hash.h"

struct sl_lines;

struct sl_line {
	struct sl_bytes text; /* without \n or \r\n; valid until the next call; head only if too long */
	uint64_t size;        /* the true length in bytes */
	int64_t number;       /* from 1 */
	uint64_t start, end;  /* decompressed positions; end is behind the newline */
	bool too_long;
	bool unended;      /* the file ends without a newline here */
	struct sl_id hash; /* of the whole line, set when too_long */
};

/* "-" is standard input. NULL on failure. */
struct sl_lines *sl_lines_open(const char *path, size_t line_max_bytes, struct sl_error *e) SL_MUST_CHECK;

/* The first up to 64 KiB of the decompressed stream: names a file together with
 * its source. Does not move the position. */
bool sl_lines_head(struct sl_lines *l, struct sl_bytes *head, struct sl_error *e) SL_MUST_CHECK;

/* Skip to a decompressed position and line number recorded earlier. */
bool sl_lines_seek(struct sl_lines *l, uint64_t position, int64_t lines_before, struct sl_error *e) SL_MUST_CHECK;

enum sl_lines_result { SL_LINES_LINE, SL_LINES_END, SL_LINES_ERROR };
enum sl_lines_result sl_lines_next(struct sl_lines *l, struct sl_line *line, struct sl_error *e);
/* Compressed bytes read so far and in all (0 when unknown), for progress. */
void sl_lines_progress(const struct sl_lines *l, uint64_t *read, uint64_t *total);
void sl_lines_close(struct sl_lines *l);

#endif
