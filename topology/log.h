/* log.h -- one partition of a topic: an append-only sequence of records in segment
 * files, offsets from 0 without gaps.
 *
 *     <folder>/<first offset, 20 digits>.log      segments, rolled by size
 *     record: size u32 | checksum u32 | offset i64 | time i64 | key u32 | headers u32 |
 *             value u32 (0xffffffff: tombstone) | key | headers | value   (little-endian)
 *
 * The checksum is the low half of XXH3-64 over everything behind it. Where a
 * segment ends depends on the records alone, so equal records give equal files.
 *
 * Truth about the end is not in the files: the owner (stream_embedded.c) records it in the
 * store after the sync and passes it to open, which cuts what lies behind.
 *
 * Threads: append, sync and drop from one thread (the committer); reads from any
 * thread, up to an end that the caller knows is committed. */
#ifndef SL_LOG_FILE_H
#define SL_LOG_FILE_H

#include "base/buf.h"
#include "disk.h"

struct sl_record {
	int64_t offset;
	int64_t time_ms; /* of the envelope: arrival; carried on by every step */
	struct sl_bytes key;
	struct sl_bytes value;   /* data NULL: a tombstone */
	struct sl_bytes headers; /* u16 name size, u32 value size, name, value; repeated */
};

/* The recorded end: the next offset, and where it lies. */
struct sl_log_end {
	int64_t offset;
	int64_t segment; /* first offset of the last segment */
	uint64_t bytes;  /* size of the last segment */
	int64_t start;   /* first offset still kept */
};

struct sl_log;

struct sl_log *sl_log_open(struct sl_disk *disk, const char *folder, struct sl_log_end end, int64_t segment_bytes,
			   struct sl_error *e) SL_MUST_CHECK;
/* Appends at the end; `offset` of the record is set to the one assigned. Buffered until sync. */
bool sl_log_append(struct sl_log *log, struct sl_record *record, struct sl_error *e) SL_MUST_CHECK;
/* Write out what is buffered and, if `durable`, fdatasync the touched segments. */
bool sl_log_sync(struct sl_log *log, bool durable, struct sl_error *e) SL_MUST_CHECK;
struct sl_log_end sl_log_end(const struct sl_log *log);
/* Unlink whole segments below `offset`; returns the new start through sl_log_end. */
bool sl_log_drop(struct sl_log *log, int64_t offset, struct sl_error *e) SL_MUST_CHECK;
uint64_t sl_log_bytes(const struct sl_log *log); /* on disk, all segments */
/* First offset still kept, this moment; any thread. A read below it fails also while segments are being dropped. */
int64_t sl_log_start(const struct sl_log *log);
void sl_log_close(struct sl_log *log);

/* Where a reader stands. Zero but for `offset` to start anywhere; then it is kept up. */
struct sl_cursor {
	int64_t offset;
	int64_t segment; /* first offset of the segment `bytes` counts in */
	uint64_t bytes;
	bool placed;
};

/* Up to `record_max` records from the cursor on, below offset `end`, about
 * `bytes_max` bytes but at least one. Record texts point into *bytes, which is
 * cleared first. A bad checksum or a missing segment is SL_STOP and names file
 * and position. Reading below the start is SL_STOP too. */
bool sl_log_read(struct sl_log *log, struct sl_cursor *cursor, int64_t end, size_t record_max, size_t bytes_max,
		 struct sl_buf *bytes, struct sl_record *records, size_t *count, struct sl_error *e) SL_MUST_CHECK;

/* Give back the last `count` records of the last read. */
void sl_cursor_back(struct sl_cursor *cursor, const struct sl_record *records, size_t count);

/* The same frames outside a file: for the wire (runtime.h, fetch and ingest). Walk: start with
 * *at = 0; false at the end or on a malformed frame (then *at != frames.size). */
void sl_frames_add(struct sl_buf *frames, const struct sl_record *record);
bool sl_frames_next(struct sl_bytes frames, size_t *at, struct sl_record *record);

/* Headers: append one; find one (absent if not there). */
void sl_header_add(struct sl_buf *headers, const char *name, struct sl_bytes value);
struct sl_bytes sl_header_find(struct sl_bytes headers, const char *name);

#endif
