/* log.c -- segment files behind log.h: append, sync, cut at open, read.
 *
 * The committer appends into a buffer and writes it out at sync, so a commit costs
 * one write and one fdatasync per touched segment. Readers share the segment list
 * under a mutex and read files without it: bytes below a committed end never change.
 * Segments stay open; a dropped one is closed when its last reader lets go. */
#include "log.h"

#include "base/hash.h"
#include "base/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD 36 /* size, checksum, offset, time, key, headers, value sizes */
#define TOMBSTONE 0xffffffffu

struct segment {
	int64_t first;         /* offset of its first record */
	_Atomic uint64_t size; /* bytes, the buffered ones of the last segment included; one writer */
	struct sl_disk_file *file;
	int users; /* readers inside; guarded by the lock */
	bool dropped;
	bool dirty;
};

struct sl_log {
	struct sl_disk *disk;
	char *folder;
	int64_t segment_bytes;
	int64_t next;         /* offset of the next record */
	pthread_mutex_t lock; /* the list below */
	struct segment **segments;
	size_t count, capacity;
	struct sl_buf pending; /* of the last segment, not written yet */
};

static void segment_path(const struct sl_log *log, int64_t first, char *to, size_t size)
{
	snprintf(to, size, "%s/%020" PRId64 ".log", log->folder, first);
}

static bool segment_add(struct sl_log *log, int64_t first, struct sl_error *e)
{
	char path[512];
	struct segment *s;
	struct sl_disk_file *file;

	segment_path(log, first, path, sizeof path);
	file = log->disk->ops->open(log->disk, path, e);
	if (!file)
		return false;
	s = sl_calloc(1, sizeof *s);
	s->first = first;
	s->file = file;
	sl_lock(&log->lock);
	if (log->count == log->capacity) {
		log->capacity = log->capacity ? 2 * log->capacity : 8;
		log->segments = sl_realloc(log->segments, log->capacity * sizeof *log->segments);
	}
	log->segments[log->count++] = s;
	sl_unlock(&log->lock);
	return true;
}

static void segment_free(struct segment *s)
{
	s->file->ops->close(s->file);
	free(s);
}

/* -- open ------------------------------------------------------------------------ */

struct found {
	int64_t *firsts;
	size_t count, capacity;
	bool strange;
	char name[64];
};

static void found_name(void *arg, const char *name)
{
	struct found *f = arg;
	char *end;
	long long first = strtoll(name, &end, 10);

	if (end == name || strcmp(end, ".log") != 0 || first < 0) {
		f->strange = true;
		snprintf(f->name, sizeof f->name, "%s", name);
		return;
	}
	if (f->count == f->capacity) {
		f->capacity = f->capacity ? 2 * f->capacity : 16;
		f->firsts = sl_realloc(f->firsts, f->capacity * sizeof *f->firsts);
	}
	f->firsts[f->count++] = first;
}

static int by_first(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Keep the segments up to the recorded end, remove those behind, cut the last. */
static bool recover(struct sl_log *log, struct sl_log_end end, struct found *f, struct sl_error *e)
{
	char path[512];

	if (f->count)
		qsort(f->firsts, f->count, sizeof *f->firsts, by_first);
	for (size_t i = 0; i < f->count; i++) {
		if (f->firsts[i] > end.segment || end.offset == 0) {
			segment_path(log, f->firsts[i], path, sizeof path);
			if (!log->disk->ops->remove(log->disk, path, e))
				return false;
			continue;
		}
		if (!segment_add(log, f->firsts[i], e))
			return false;
	}
	if (end.offset == 0)
		return true;
	if (log->count == 0 || log->segments[log->count - 1]->first != end.segment)
		return sl_error_set(e, SL_STOP,
				    "segment %" PRId64 " of '%s' is missing: the data folder was changed from outside",
				    end.segment, log->folder);
	for (size_t i = 0; i < log->count; i++) {
		struct segment *s = log->segments[i];
		uint64_t size;

		if (!s->file->ops->size(s->file, &size, e))
			return false;
		s->size = size;
		if (i + 1 < log->count)
			continue;
		if (s->size < end.bytes)
			return sl_error_set(e, SL_STOP,
					    "segment %" PRId64 " of '%s' has %" PRIu64
					    " bytes, expected at least %" PRIu64 ": the file was cut from outside",
					    s->first, log->folder, s->size, end.bytes);
		if (s->size > end.bytes && !s->file->ops->cut(s->file, end.bytes, e))
			return false;
		s->size = end.bytes;
	}
	return true;
}

struct sl_log *sl_log_open(struct sl_disk *disk, const char *folder, struct sl_log_end end, int64_t segment_bytes,
			   struct sl_error *e)
{
	struct sl_log *log = sl_calloc(1, sizeof *log);
	struct found f = { 0 };
	bool done;

	log->disk = disk;
	log->folder = sl_strdup(folder);
	log->segment_bytes = segment_bytes;
	log->next = end.offset;
	sl_mutex_init(&log->lock);
	done = disk->ops->list(disk, folder, &f, found_name, e);
	if (done && f.strange)
		done = sl_error_set(e, SL_STOP, "'%s/%s' is not a segment: remove it", folder, f.name);
	done = done && recover(log, end, &f, e);
	free(f.firsts);
	if (!done) {
		sl_log_close(log);
		return NULL;
	}
	return log;
}

void sl_log_close(struct sl_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->count; i++)
		segment_free(log->segments[i]);
	free(log->segments);
	sl_buf_release(&log->pending);
	sl_mutex_destroy(&log->lock);
	free(log->folder);
	free(log);
}

/* -- append ---------------------------------------------------------------------- */

static bool flush(struct sl_log *log, struct sl_error *e)
{
	struct segment *s;

	if (log->pending.size == 0)
		return true;
	s = log->segments[log->count - 1];
	if (!s->file->ops->write(s->file, s->size - log->pending.size, log->pending.data, log->pending.size, e))
		return false;
	s->dirty = true;
	sl_buf_clear(&log->pending);
	return true;
}

static void frame_add(struct sl_buf *to, const struct sl_record *r)
{
	size_t value = r->value.data ? r->value.size : 0;
	size_t size = HEAD + r->key.size + r->headers.size + value;
	uint8_t *p = sl_buf_reserve(to, size);

	assert(size <= UINT32_MAX);
	sl_put_le32(p, (uint32_t)size);
	sl_put_le64(p + 8, (uint64_t)r->offset);
	sl_put_le64(p + 16, (uint64_t)r->time_ms);
	sl_put_le32(p + 24, (uint32_t)r->key.size);
	sl_put_le32(p + 28, (uint32_t)r->headers.size);
	sl_put_le32(p + 32, r->value.data ? (uint32_t)value : TOMBSTONE);
	if (r->key.size)
		memcpy(p + HEAD, r->key.data, r->key.size);
	if (r->headers.size)
		memcpy(p + HEAD + r->key.size, r->headers.data, r->headers.size);
	if (value)
		memcpy(p + HEAD + r->key.size + r->headers.size, r->value.data, value);
	sl_put_le32(p + 4, (uint32_t)sl_hash64(p + 8, size - 8, 0));
	to->size += size;
}

bool sl_log_append(struct sl_log *log, struct sl_record *record, struct sl_error *e)
{
	struct segment *s = log->count ? log->segments[log->count - 1] : NULL;
	size_t before;

	if (!s || s->size >= (uint64_t)log->segment_bytes) {
		if (s && !flush(log, e))
			return false;
		if (!segment_add(log, log->next, e))
			return false;
		s = log->segments[log->count - 1];
	}
	record->offset = log->next++;
	before = log->pending.size;
	frame_add(&log->pending, record);
	s->size += log->pending.size - before;
	return log->pending.size < (8u << 20) || flush(log, e);
}

bool sl_log_sync(struct sl_log *log, bool durable, struct sl_error *e)
{
	if (!flush(log, e))
		return false;
	/* Dirty ones are at the end: every commit syncs what it touched. */
	for (size_t i = log->count; i-- > 0 && log->segments[i]->dirty;) {
		struct segment *s = log->segments[i];

		if (durable && !s->file->ops->sync(s->file, e))
			return false;
		s->dirty = false;
	}
	return true;
}

struct sl_log_end sl_log_end(const struct sl_log *log)
{
	struct sl_log_end end = { .offset = log->next };

	if (log->count) {
		end.segment = log->segments[log->count - 1]->first;
		end.bytes = log->segments[log->count - 1]->size;
		end.start = log->segments[0]->first;
	}
	return end;
}

uint64_t sl_log_bytes(const struct sl_log *log)
{
	uint64_t bytes = 0;
	struct sl_log *l = (struct sl_log *)log;

	sl_lock(&l->lock);
	for (size_t i = 0; i < log->count; i++)
		bytes += log->segments[i]->size;
	sl_unlock(&l->lock);
	return bytes;
}

int64_t sl_log_start(const struct sl_log *log)
{
	struct sl_log *l = (struct sl_log *)log;
	int64_t start;

	sl_lock(&l->lock);
	start = log->count ? log->segments[0]->first : 0;
	sl_unlock(&l->lock);
	return start;
}

bool sl_log_drop(struct sl_log *log, int64_t offset, struct sl_error *e)
{
	bool done = true;

	while (done && log->count > 1 && log->segments[1]->first <= offset) {
		struct segment *s = log->segments[0];
		char path[512];

		segment_path(log, s->first, path, sizeof path);
		done = log->disk->ops->remove(log->disk, path, e);
		if (!done)
			break;
		sl_lock(&log->lock);
		log->count--;
		memmove(log->segments, log->segments + 1, log->count * sizeof *log->segments);
		s->dropped = true;
		if (s->users == 0)
			segment_free(s);
		sl_unlock(&log->lock);
	}
	return done;
}

/* -- read ------------------------------------------------------------------------ */

/* The segment that holds `offset`, held for reading; NULL when it is gone. */
static struct segment *segment_hold(struct sl_log *log, int64_t offset)
{
	struct segment *s = NULL;

	sl_lock(&log->lock);
	for (size_t i = log->count; i-- > 0;) {
		if (log->segments[i]->first <= offset) {
			s = log->segments[i];
			s->users++;
			break;
		}
	}
	sl_unlock(&log->lock);
	return s;
}

static void segment_let_go(struct sl_log *log, struct segment *s)
{
	bool gone;

	sl_lock(&log->lock);
	gone = --s->users == 0 && s->dropped;
	sl_unlock(&log->lock);
	if (gone)
		segment_free(s);
}

static bool broken(struct sl_log *log, const struct segment *s, uint64_t at, const char *what, struct sl_error *e)
{
	return sl_error_set(e, SL_STOP, "'%s/%020" PRId64 ".log' at byte %" PRIu64 ": %s: the file is damaged",
			    log->folder, s->first, at, what);
}

/* One whole frame at p: fills the record (texts point behind p). */
static const char *frame_parse(const uint8_t *p, size_t size, struct sl_record *r)
{
	uint32_t key = sl_get_le32(p + 24), headers = sl_get_le32(p + 28), value = sl_get_le32(p + 32);
	uint64_t need = (uint64_t)HEAD + key + headers + (value == TOMBSTONE ? 0 : value);

	if (need != size)
		return "the sizes in the frame do not add up";
	if ((uint32_t)sl_hash64(p + 8, size - 8, 0) != sl_get_le32(p + 4))
		return "wrong checksum";
	r->offset = (int64_t)sl_get_le64(p + 8);
	r->time_ms = (int64_t)sl_get_le64(p + 16);
	r->key = (struct sl_bytes){ p + HEAD, key };
	r->headers = (struct sl_bytes){ p + HEAD + key, headers };
	r->value = value == TOMBSTONE ? (struct sl_bytes){ NULL, 0 }
				      : (struct sl_bytes){ p + HEAD + key + headers, value };
	return NULL;
}

/* Place the cursor: walk the frame heads from the start of the segment. */
static bool place(struct sl_log *log, struct segment *s, struct sl_cursor *c, struct sl_error *e)
{
	uint64_t at = 0;

	for (int64_t offset = s->first; offset < c->offset; offset++) {
		uint8_t head[HEAD];
		size_t got;

		if (!s->file->ops->read(s->file, at, head, HEAD, &got, e))
			return false;
		if (got < HEAD || sl_get_le32(head) < HEAD)
			return broken(log, s, at, "no whole frame", e);
		at += sl_get_le32(head);
	}
	c->segment = s->first;
	c->bytes = at;
	c->placed = true;
	return true;
}

static bool read_segment(struct sl_log *log, struct segment *s, struct sl_cursor *c, int64_t end, size_t record_max,
			 size_t bytes_max, struct sl_buf *bytes, struct sl_record *records, size_t *count,
			 struct sl_error *e)
{
	size_t want = bytes_max < HEAD ? HEAD : bytes_max, got, at = 0;

	for (;;) {
		uint8_t *p = sl_buf_reserve(bytes, want);

		if (!s->file->ops->read(s->file, c->bytes, p, want, &got, e))
			return false;
		if (got >= 4 && sl_get_le32(p) > want && sl_get_le32(p) < (1u << 30)) {
			want = sl_get_le32(p); /* one record larger than the aim */
			continue;
		}
		bytes->size = got;
		break;
	}
	while (*count < record_max && c->offset < end && got - at >= HEAD) {
		const uint8_t *p = bytes->data + at;
		uint32_t size = sl_get_le32(p);
		const char *what;

		if (size < HEAD)
			return broken(log, s, c->bytes, "a frame shorter than its head", e);
		if (size > got - at)
			break;
		what = frame_parse(p, size, &records[*count]);
		if (what)
			return broken(log, s, c->bytes, what, e);
		if (records[*count].offset != c->offset)
			return broken(log, s, c->bytes, "another offset than expected", e);
		(*count)++;
		at += size;
		c->bytes += size;
		c->offset++;
	}
	return true;
}

bool sl_log_read(struct sl_log *log, struct sl_cursor *cursor, int64_t end, size_t record_max, size_t bytes_max,
		 struct sl_buf *bytes, struct sl_record *records, size_t *count, struct sl_error *e)
{
	bool done = true;

	*count = 0;
	sl_buf_clear(bytes);
	while (done && *count == 0 && cursor->offset < end) {
		struct segment *s = segment_hold(log, cursor->offset);

		if (!s)
			return sl_error_set(e, SL_STOP, "offset %" PRId64 " of '%s' is not kept any more",
					    cursor->offset, log->folder);
		if (!cursor->placed || cursor->segment != s->first)
			done = place(log, s, cursor, e);
		done = done && read_segment(log, s, cursor, end, record_max, bytes_max, bytes, records, count, e);
		if (done && *count == 0)
			done = broken(log, s, cursor->bytes, "the segment ends before its last record", e);
		segment_let_go(log, s);
	}
	return done;
}

/* One read stays in one segment. */
void sl_cursor_back(struct sl_cursor *cursor, const struct sl_record *records, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct sl_record *r = &records[i];

		cursor->bytes -= HEAD + r->key.size + r->headers.size + (r->value.data ? r->value.size : 0);
	}
	if (count)
		cursor->offset = records[0].offset; /* on Kafka there are gaps between records */
}

/* -- frames and headers ------------------------------------------------------------ */

void sl_frames_add(struct sl_buf *frames, const struct sl_record *record)
{
	frame_add(frames, record);
}

bool sl_frames_next(struct sl_bytes frames, size_t *at, struct sl_record *record)
{
	const uint8_t *p = (const uint8_t *)frames.data + *at;
	size_t left = frames.size - *at;

	assert(*at <= frames.size);
	if (left < HEAD || sl_get_le32(p) < HEAD || sl_get_le32(p) > left || frame_parse(p, sl_get_le32(p), record))
		return false;
	*at += sl_get_le32(p);
	return true;
}

void sl_header_add(struct sl_buf *headers, const char *name, struct sl_bytes value)
{
	size_t n = strlen(name);
	uint8_t *p = sl_buf_reserve(headers, 6 + n + value.size);

	p[0] = (uint8_t)n;
	p[1] = (uint8_t)(n >> 8);
	sl_put_le32(p + 2, (uint32_t)value.size);
	memcpy(p + 6, name, n);
	if (value.size)
		memcpy(p + 6 + n, value.data, value.size);
	headers->size += 6 + n + value.size;
}

struct sl_bytes sl_header_find(struct sl_bytes headers, const char *name)
{
	const uint8_t *p = headers.data;
	size_t left = headers.size, want = strlen(name);

	while (left >= 6) {
		size_t n = (size_t)p[0] | (size_t)p[1] << 8, v = sl_get_le32(p + 2);

		if (n > left - 6 || v > left - 6 - n)
			break;
		if (n == want && memcmp(p + 6, name, n) == 0)
			return (struct sl_bytes){ p + 6 + n, v };
		p += 6 + n + v;
		left -= 6 + n + v;
	}
	return (struct sl_bytes){ NULL, 0 };
}
