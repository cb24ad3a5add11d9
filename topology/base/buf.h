/* buf.h -- a growable byte buffer. Running out of memory ends the process with
 * a message (sl_oom): a crash costs a replay, a half-written record does not. */
#ifndef SL_BUF_H
#define SL_BUF_H

#include "bytes.h"
#include "error.h"

struct sl_buf {
	uint8_t *data; /* NULL while empty and never grown */
	size_t size;
	size_t capacity;
};

/* Room for `more` bytes past size; returns where they start. Does not change size. */
uint8_t *sl_buf_reserve(struct sl_buf *b, size_t more);
void sl_buf_add(struct sl_buf *b, const void *data, size_t size);
void sl_buf_add_bytes(struct sl_buf *b, struct sl_bytes bytes);
void sl_buf_add_byte(struct sl_buf *b, uint8_t byte);
void sl_buf_add_le32(struct sl_buf *b, uint32_t n);
void sl_buf_add_le64(struct sl_buf *b, uint64_t n);
void sl_buf_print(struct sl_buf *b, const char *fmt, ...) SL_PRINTF(2, 3);
/* A NUL after the last byte (not counted in size); the text, never NULL. */
const char *sl_buf_text(struct sl_buf *b);
static inline struct sl_bytes sl_buf_bytes(const struct sl_buf *b)
{
	return (struct sl_bytes){ b->data, b->size };
}
void sl_buf_clear(struct sl_buf *b);   /* keep the memory */
void sl_buf_release(struct sl_buf *b); /* give it back; safe on a zeroed buffer */

/* malloc, calloc and realloc that end the process when memory is out. */
void *sl_malloc(size_t size);
void *sl_calloc(size_t count, size_t size);
void *sl_realloc(void *old, size_t size);
char *sl_strdup(const char *s);
__attribute__((noreturn)) void sl_oom(size_t size);

#endif
