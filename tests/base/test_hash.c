/* test_hash.c -- every hash against published values. */
#include "topology/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* From UtilsTest.testMurmur2 of Apache Kafka. */
static void test_murmur2(void **state)
{
	static const struct {
		const char *key;
		int32_t hash;
	} cases[] = {
		{ "21", -973932308 },
		{ "foobar", -790332482 },
		{ "a-little-bit-long-string", -985981536 },
		{ "a-little-bit-longer-string", -1486304829 },
		{ "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
		{ "abc", 479470107 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal((int32_t)sl_murmur2(cases[i].key, strlen(cases[i].key)), cases[i].hash);
		int32_t partition = sl_partition_of(sl_text(cases[i].key), 7);
		assert_int_equal(partition, (cases[i].hash & 0x7fffffff) % 7);
	}
}

/* XXH3 of the empty input with seed 0, from the xxHash sanity checks. */
static void test_xxh3(void **state)
{
	char hex[SL_ID_HEX_SIZE];

	(void)state;
	assert_int_equal(sl_hash64("", 0, 0), UINT64_C(0x2d06800538d394c2));
	assert_string_equal(sl_id_hex(sl_hash128("", 0), hex), "99aa06d3014798d86001c324468d497f");
	assert_int_not_equal(sl_hash64("a", 1, 0), sl_hash64("a", 1, 1));
}

static void test_id_text(void **state)
{
	static const char *const bad[] = { "", "00", "0123456789abcdef0123456789abcdeg",
					   "0123456789abcdef0123456789abcdef0", "0123456789abcdef 123456789abcdef" };
	char hex[SL_ID_HEX_SIZE];
	struct sl_id id;

	(void)state;
	assert_true(sl_id_parse(sl_text("0123456789ABCDEF0123456789abcdef"), &id));
	assert_string_equal(sl_id_hex(id, hex), "0123456789abcdef0123456789abcdef");
	assert_false(sl_id_none(id));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(sl_id_parse(sl_text(bad[i]), &id));
	assert_true(sl_id_parse(sl_text("00000000000000000000000000000000"), &id));
	assert_true(sl_id_none(id));
}

/* FIPS 180-4, "abc", given in two pieces. */
static void test_sha256(void **state)
{
	char hex[SL_SHA256_HEX_SIZE];
	struct sl_sha256 *s = sl_sha256_new();

	(void)state;
	sl_sha256_add(s, "a", 1);
	sl_sha256_add(s, "bc", 2);
	sl_sha256_end(s, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_integers(void **state)
{
	uint8_t b[8];

	(void)state;
	sl_put_be64(b, UINT64_C(0x0102030405060708));
	assert_int_equal(b[0], 1);
	assert_int_equal(sl_get_be64(b), UINT64_C(0x0102030405060708));
	sl_put_le64(b, UINT64_C(0x0102030405060708));
	assert_int_equal(b[0], 8);
	assert_int_equal(sl_get_le64(b), UINT64_C(0x0102030405060708));
	sl_put_le32(b, 0xfedcba98u);
	assert_int_equal(sl_get_le32(b), 0xfedcba98u);
	assert_true(sl_bytes_compare(sl_text("ab"), sl_text("abc")) < 0);
	assert_true(sl_bytes_compare(sl_text("b"), sl_text("abc")) > 0);
	assert_true(sl_bytes_compare(sl_text(NULL), sl_text("")) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_murmur2), cmocka_unit_test(test_xxh3),     cmocka_unit_test(test_id_text),
		cmocka_unit_test(test_sha256),  cmocka_unit_test(test_integers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
