/* bytes.h -- a borrowed run of bytes: pointer and length, never NUL-terminated
 * by promise. Whoever hands one out says how long it lives. */
#ifndef SL_BYTES_H
#define SL_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sl_bytes {
	const void *data; /* NULL means absent, which is not the same as empty */
	size_t size;
};

/* The bytes of a NUL-terminated string, without the NUL; NULL gives absent. */
static inline struct sl_bytes sl_text(const char *s)
{
	return (struct sl_bytes){ s, s ? strlen(s) : 0 };
}

static inline bool sl_bytes_equal(struct sl_bytes a, struct sl_bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Byte order, shorter first on a common prefix: the order of the stores. */
static inline int sl_bytes_compare(struct sl_bytes a, struct sl_bytes b)
{
	size_t n = a.size < b.size ? a.size : b.size;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	return c ? c : (a.size > b.size) - (a.size < b.size);
}

static inline bool sl_bytes_begins(struct sl_bytes a, struct sl_bytes prefix)
{
	return a.size >= prefix.size && (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* True for the bytes of a literal: sl_is(role, "user"). */
static inline bool sl_is(struct sl_bytes a, const char *s)
{
	return sl_bytes_equal(a, sl_text(s));
}

/* Integers in stores and files. Big-endian in keys, because byte order is the
 * order of a scan; little-endian in values. One load or store each: loops over
 * the bytes stayed loops. */
static inline void sl_put_be64(uint8_t *to, uint64_t v)
{
	v = htobe64(v);
	memcpy(to, &v, sizeof v);
}

static inline uint64_t sl_get_be64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof v);
	return be64toh(v);
}

static inline void sl_put_le32(uint8_t *to, uint32_t v)
{
	v = htole32(v);
	memcpy(to, &v, sizeof v);
}

static inline uint32_t sl_get_le32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, sizeof v);
	return le32toh(v);
}

static inline void sl_put_le64(uint8_t *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof v);
}

static inline uint64_t sl_get_le64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof v);
	return le64toh(v);
}

#endif
