/* hash.h -- the hashes of Sluice, each with one purpose.
 *
 * XXH3 (xxHash) for ids, checksums and features: stable across machines and
 * library versions since 0.8. murmur2 is Kafka's default partitioner, so that
 * both stream back-ends and other people's producers agree. SHA-256 (OpenSSL)
 * names model files. */
#ifndef SL_HASH_H
#define SL_HASH_H

#include "bytes.h"

/* 128 bits, big-endian canonical form: compares and prints in the same order. */
struct sl_id {
	uint8_t b[16];
};

uint64_t sl_hash64(const void *data, size_t size, uint64_t seed);
struct sl_id sl_hash128(const void *data, size_t size);

static inline bool sl_id_equal(struct sl_id a, struct sl_id b)
{
	return memcmp(a.b, b.b, sizeof a.b) == 0;
}

static inline bool sl_id_none(struct sl_id a)
{
	static const struct sl_id none;

	return sl_id_equal(a, none);
}

static inline struct sl_bytes sl_id_bytes(const struct sl_id *id)
{
	return (struct sl_bytes){ id->b, sizeof id->b };
}

#define SL_ID_HEX_SIZE 33 /* 32 digits and the NUL */
/* Lower-case hex; returns `to`. */
char *sl_id_hex(struct sl_id id, char to[SL_ID_HEX_SIZE]);
/* False unless `hex` is 32 hex digits. */
bool sl_id_parse(struct sl_bytes hex, struct sl_id *id);

/* 64-bit finaliser (splitmix64): one good mix of an integer. */
static inline uint64_t sl_mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Kafka's partitioner: (murmur2(key) & 0x7fffffff) % partitions. */
uint32_t sl_murmur2(const void *data, size_t size);
static inline int32_t sl_partition_of(struct sl_bytes key, int32_t partitions)
{
	return (int32_t)((sl_murmur2(key.data, key.size) & 0x7fffffffu) % (uint32_t)partitions);
}

#define SL_SHA256_HEX_SIZE 65
struct sl_sha256;
struct sl_sha256 *sl_sha256_new(void);
void sl_sha256_add(struct sl_sha256 *s, const void *data, size_t size);
/* Writes 64 hex digits and a NUL, frees `s`. */
void sl_sha256_end(struct sl_sha256 *s, char hex[SL_SHA256_HEX_SIZE]);

#endif
