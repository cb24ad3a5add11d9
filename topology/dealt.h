/* dealt.h -- which offsets of a log are dealt with: all below a mark, and runs above it.
 *
 * The holes between runs are what waits. As bytes: the mark, then the runs: from, up to (i64 each, little-endian). */
#ifndef SL_DEALT_H
#define SL_DEALT_H

#include "base/buf.h"

struct sl_dealt {
	int64_t mark;
	struct sl_dealt_run {
		int64_t from, to;
	} * runs; /* in order, none empty, none touching another or the mark */
	size_t count, capacity;
};

/* All of [from, to), which may be empty, and dealt with in part. */
void sl_dealt_add(struct sl_dealt *d, int64_t from, int64_t to);
bool sl_dealt_has(const struct sl_dealt *d, int64_t offset);
/* Instead of what *d was. False: that is no such row, or none; then nothing is dealt with. */
bool sl_dealt_read(struct sl_dealt *d, struct sl_bytes row) SL_MUST_CHECK;
void sl_dealt_write(const struct sl_dealt *d, struct sl_buf *to);
void sl_dealt_release(struct sl_dealt *d);

#endif
