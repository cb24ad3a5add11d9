/* buf.c -- the growable buffer, and allocation that cannot fail.
 *
 * A buffer doubles, so adding n bytes one at a time costs O(n). Running out of
 * memory ends the process: everything of worth is in committed files, and a
 * restart replays the rest. Not thread-safe: one buffer, one owner. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sl_oom(size_t size)
{
	fprintf(stderr,
		"level=stop text=\"out of memory: %zu bytes were refused; give the process more memory or "
		"lower the batch and cache sizes\"\n",
		size);
	abort();
}

void *sl_malloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		sl_oom(size);
	return p;
}

void *sl_calloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		sl_oom(count > SIZE_MAX / (size ? size : 1) ? SIZE_MAX : count * size);
	return p;
}

void *sl_realloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p)
		sl_oom(size);
	return p;
}

char *sl_strdup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(sl_malloc(size), s, size);
}

uint8_t *sl_buf_reserve(struct sl_buf *b, size_t more)
{
	if (b->data && more <= b->capacity - b->size)
		return b->data + b->size;
	if (more > SIZE_MAX / 4 - b->size)
		sl_oom(more);

	size_t capacity = b->capacity ? b->capacity * 2 : 64;
	if (capacity < b->size + more)
		capacity = b->size + more;
	b->data = sl_realloc(b->data, capacity);
	b->capacity = capacity;
	return b->data + b->size;
}

void sl_buf_add(struct sl_buf *b, const void *data, size_t size)
{
	if (size == 0)
		return;
	memcpy(sl_buf_reserve(b, size), data, size);
	b->size += size;
}

void sl_buf_add_bytes(struct sl_buf *b, struct sl_bytes bytes)
{
	sl_buf_add(b, bytes.data, bytes.size);
}

void sl_buf_add_le32(struct sl_buf *b, uint32_t n)
{
	sl_put_le32(sl_buf_reserve(b, sizeof n), n);
	b->size += sizeof n;
}

void sl_buf_add_le64(struct sl_buf *b, uint64_t n)
{
	sl_put_le64(sl_buf_reserve(b, sizeof n), n);
	b->size += sizeof n;
}

void sl_buf_add_byte(struct sl_buf *b, uint8_t byte)
{
	*sl_buf_reserve(b, 1) = byte;
	b->size++;
}

void sl_buf_print(struct sl_buf *b, const char *fmt, ...)
{
	va_list args, again;
	int size;

	va_start(args, fmt);
	va_copy(again, args);
	sl_buf_reserve(b, 128);
	size = vsnprintf((char *)b->data + b->size, b->capacity - b->size, fmt, args);
	if (size >= 0 && (size_t)size >= b->capacity - b->size) {
		sl_buf_reserve(b, (size_t)size + 1);
		size = vsnprintf((char *)b->data + b->size, b->capacity - b->size, fmt, again);
	}
	va_end(again);
	va_end(args);
	if (size > 0)
		b->size += (size_t)size;
}

const char *sl_buf_text(struct sl_buf *b)
{
	*sl_buf_reserve(b, 1) = 0;
	return (const char *)b->data;
}

void sl_buf_clear(struct sl_buf *b)
{
	b->size = 0;
}

void sl_buf_release(struct sl_buf *b)
{
	free(b->data);
	*b = (struct sl_buf){ 0 };
}
