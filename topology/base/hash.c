/* hash.c -- the hashes, each from the library that owns it; murmur2 is ours,
 * because Kafka's variant (32 bits, seed 0x9747b28c) is in no library. Pure
 * functions, any thread. */
#include "hash.h"

#include "buf.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <xxhash.h>

uint64_t sl_hash64(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

struct sl_id sl_hash128(const void *data, size_t size)
{
	XXH128_canonical_t canonical;
	struct sl_id id;

	_Static_assert(sizeof canonical.digest == sizeof id.b, "128 bits");
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
	memcpy(id.b, canonical.digest, sizeof id.b);
	return id;
}

static void hex_of(const uint8_t *from, size_t size, char *to)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		to[2 * i] = digits[from[i] >> 4];
		to[2 * i + 1] = digits[from[i] & 15];
	}
	to[2 * size] = 0;
}

char *sl_id_hex(struct sl_id id, char to[SL_ID_HEX_SIZE])
{
	hex_of(id.b, sizeof id.b, to);
	return to;
}

static int digit_of(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sl_id_parse(struct sl_bytes hex, struct sl_id *id)
{
	const uint8_t *at = hex.data;

	if (hex.size != SL_ID_HEX_SIZE - 1)
		return false;
	for (size_t i = 0; i < sizeof id->b; i++) {
		int high = digit_of(at[2 * i]), low = digit_of(at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id->b[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* org.apache.kafka.common.utils.Utils.murmur2, whose ints wrap as ours do. */
uint32_t sl_murmur2(const void *data, size_t size)
{
	const uint32_t m = 0x5bd1e995u;
	const uint8_t *at = data;
	uint32_t h = 0x9747b28cu ^ (uint32_t)size;

	for (; size >= 4; size -= 4, at += 4) {
		uint32_t k = sl_get_le32(at) * m;

		k ^= k >> 24;
		h = h * m ^ k * m;
	}
	if (size >= 3)
		h ^= (uint32_t)at[2] << 16;
	if (size >= 2)
		h ^= (uint32_t)at[1] << 8;
	if (size >= 1)
		h = (h ^ at[0]) * m;
	h = (h ^ h >> 13) * m;
	return h ^ h >> 15;
}

struct sl_sha256 {
	EVP_MD_CTX *context;
};

struct sl_sha256 *sl_sha256_new(void)
{
	struct sl_sha256 *s = sl_malloc(sizeof *s);

	s->context = EVP_MD_CTX_new();
	if (!s->context)
		sl_oom(sizeof *s);
	int ok = EVP_DigestInit_ex(s->context, EVP_sha256(), NULL);
	assert(ok == 1);
	return s;
}

void sl_sha256_add(struct sl_sha256 *s, const void *data, size_t size)
{
	int ok = EVP_DigestUpdate(s->context, data, size);

	assert(ok == 1);
}

void sl_sha256_end(struct sl_sha256 *s, char hex[SL_SHA256_HEX_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned size;
	int ok = EVP_DigestFinal_ex(s->context, digest, &size);

	assert(ok == 1);
	assert(size * 2 + 1 == SL_SHA256_HEX_SIZE);
	hex_of(digest, size, hex);
	EVP_MD_CTX_free(s->context);
	free(s);
}
