/* keys.h -- how the runtime's keys in the store are built; the table is in store.h.
 * Names never contain NUL (the topology checks), so name, NUL, rest is unambiguous. */
#ifndef SL_KEYS_H
#define SL_KEYS_H

#include "base/buf.h"

static inline void sl_key_begin(struct sl_buf *key, char kind, const char *name)
{
	sl_buf_clear(key);
	sl_buf_add_byte(key, (uint8_t)kind);
	sl_buf_add(key, name, strlen(name) + 1);
}

static inline void sl_key_partition(struct sl_buf *key, int32_t partition)
{
	uint8_t b[4];

	for (int i = 0; i < 4; i++)
		b[i] = (uint8_t)((uint32_t)partition >> (24 - 8 * i));
	sl_buf_add(key, b, sizeof b);
}

static inline void sl_key_text(struct sl_buf *key, struct sl_bytes text)
{
	sl_buf_add_bytes(key, text);
	sl_buf_add_byte(key, 0);
}

#endif
