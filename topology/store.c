/* store.c -- a batch of writes as one flat buffer: key size u32, value size u32
 * (0xffffffff: delete), key, value. */
#include "store.h"

#include <assert.h>

#define DELETE 0xffffffffu

static void add(struct sl_writes *w, struct sl_bytes key, struct sl_bytes value)
{
	uint8_t *p = sl_buf_reserve(&w->bytes, 8 + key.size + value.size);

	sl_put_le32(p, (uint32_t)key.size);
	sl_put_le32(p + 4, value.data ? (uint32_t)value.size : DELETE);
	memcpy(p + 8, key.data, key.size);
	if (value.size)
		memcpy(p + 8 + key.size, value.data, value.size);
	w->bytes.size += 8 + key.size + value.size;
	w->count++;
}

void sl_writes_put(struct sl_writes *w, struct sl_bytes key, struct sl_bytes value)
{
	if (!value.data)
		value = (struct sl_bytes){ "", 0 };
	add(w, key, value);
}

void sl_writes_del(struct sl_writes *w, struct sl_bytes key)
{
	add(w, key, (struct sl_bytes){ NULL, 0 });
}

bool sl_writes_next(const struct sl_writes *w, size_t *at, struct sl_bytes *key, struct sl_bytes *value)
{
	const uint8_t *p = w->bytes.data + *at;
	uint32_t size;

	if (*at == w->bytes.size)
		return false;
	assert(w->bytes.size - *at >= 8);
	size = sl_get_le32(p + 4);
	*key = (struct sl_bytes){ p + 8, sl_get_le32(p) };
	*value = size == DELETE ? (struct sl_bytes){ NULL, 0 } : (struct sl_bytes){ p + 8 + key->size, size };
	*at += 8 + key->size + value->size;
	return true;
}

void sl_writes_clear(struct sl_writes *w)
{
	sl_buf_clear(&w->bytes);
	w->count = 0;
}

void sl_writes_release(struct sl_writes *w)
{
	sl_buf_release(&w->bytes);
	w->count = 0;
}
