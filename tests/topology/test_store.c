/* test_store.c -- RocksDB and the twin are given the same seeded writes and must hold the same; so must the
 * stage laid over either. And the flat batches that carry the writes. */
#include "topology/stage.h"
#include "topology/store.h"

#include "tests/twins.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Keys that collide, nest, and hold the bytes where prefixes end: 00 and ff. */
static struct sl_bytes some_key(uint64_t *seed, uint8_t to[4])
{
	static const uint8_t alphabet[] = { 0x00, 'a', 'b', 0xff };
	size_t size = 1 + (size_t)(sl_random(seed) % 3);

	for (size_t i = 0; i < size; i++)
		to[i] = alphabet[sl_random(seed) % 4];
	return (struct sl_bytes){ to, size };
}

static void some_writes(uint64_t *seed, struct sl_writes *w)
{
	for (size_t n = sl_random(seed) % 5; n > 0; n--) {
		uint8_t key[4], value[300];
		size_t size = (size_t)(sl_random(seed) % sizeof value);

		memset(value, (int)(sl_random(seed) % 256), sizeof value);
		if (sl_random(seed) % 3)
			sl_writes_put(w, some_key(seed, key),
				      (struct sl_bytes){ value, sl_random(seed) % 8 ? size : 0 });
		else
			sl_writes_del(w, some_key(seed, key));
	}
}

static void same_scan(struct sl_store *a, struct sl_store *b, struct sl_bytes prefix)
{
	struct sl_store_scan *x = a->ops->scan(a, prefix), *y = b->ops->scan(b, prefix);
	struct sl_bytes xk, xv, yk, yv;
	struct sl_error e = { 0 };

	for (;;) {
		bool more = x->ops->next(x, &xk, &xv, &e);

		assert_int_equal(more, y->ops->next(y, &yk, &yv, &e));
		assert_int_equal(e.verdict, SL_OK);
		if (!more)
			break;
		assert_true(sl_bytes_begins(xk, prefix));
		assert_true(sl_bytes_equal(xk, yk));
		assert_true(sl_bytes_equal(xv, yv));
	}
	x->ops->end(x);
	y->ops->end(y);
}

static void same_get(struct sl_store *a, struct sl_store *b, struct sl_bytes key)
{
	struct sl_buf x = { 0 }, y = { 0 };
	struct sl_error e = { 0 };
	bool found, also;

	sl_buf_add(&x, "left over", 9);
	assert_true(a->ops->get(a, key, &x, &found, &e));
	assert_true(b->ops->get(b, key, &y, &also, &e));
	assert_int_equal(found, also);
	assert_true(sl_bytes_equal(sl_buf_bytes(&x), sl_buf_bytes(&y)));
	assert_true(found || x.size == 0);
	sl_buf_release(&x);
	sl_buf_release(&y);
}

/* The merged view against a store that was given the same writes for good. */
static void same_stage(const struct sl_stage *s, struct sl_store *under, struct sl_store *whole, struct sl_bytes prefix)
{
	struct sl_stage_scan scan;
	struct sl_store_scan *plain = whole->ops->scan(whole, prefix);
	struct sl_bytes k, v, pk, pv;
	struct sl_error e = { 0 };

	sl_stage_scan_begin(&scan, s, under, prefix);
	for (;;) {
		bool more = sl_stage_scan_next(&scan, &k, &v, &e);

		assert_int_equal(more, plain->ops->next(plain, &pk, &pv, &e));
		assert_int_equal(e.verdict, SL_OK);
		if (!more)
			break;
		assert_true(sl_bytes_equal(k, pk));
		assert_true(sl_bytes_equal(v, pv));
	}
	sl_stage_scan_end(&scan);
	plain->ops->end(plain);
}

static void write_to(struct sl_store *store, struct sl_writes *const *batches, size_t count, bool durable)
{
	struct sl_error e = { 0 };

	if (!store->ops->write(store, batches, count, durable, &e))
		fail_msg("%s", e.text);
}

static void rocksdb_and_twin_agree(void **state)
{
	char folder[] = "/tmp/sluice-store-XXXXXX", path[100];
	struct sl_twins *twins = sl_twins_new(1), *whole = sl_twins_new(1);
	struct sl_store *rocks;
	struct sl_stage stage = { 0 };
	struct sl_error e = { 0 };
	uint64_t seed = 20260101;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/store", folder);
	rocks = sl_store_rocksdb(path, &e);
	assert_non_null(rocks);
	for (int round = 0; round < 400; round++) {
		struct sl_writes a = { 0 }, b = { 0 }, staged = { 0 };
		struct sl_writes *both[2] = { &a, &b }, *one[1] = { &staged };
		uint8_t key[4];
		struct sl_bytes prefix;

		some_writes(&seed, &a);
		some_writes(&seed, &b);
		write_to(rocks, both, 2, round % 50 == 0);
		write_to(twins->store, both, 2, round % 50 == 0);
		write_to(whole->store, both, 2, true);
		for (int i = 0; i < 4; i++)
			same_get(rocks, twins->store, some_key(&seed, key));
		prefix = some_key(&seed, key);
		prefix.size = round % 3 ? prefix.size : 0;
		same_scan(rocks, twins->store, prefix);

		/* staged writes, over both */
		some_writes(&seed, &b);
		for (size_t at = 0;;) {
			struct sl_bytes k, v;

			if (!sl_writes_next(&b, &at, &k, &v))
				break;
			if (v.data)
				sl_stage_put(&stage, k, v);
			else
				sl_stage_del(&stage, k);
		}
		sl_stage_writes(&stage, &staged);
		write_to(whole->store, one, 1, true);
		same_stage(&stage, rocks, whole->store, prefix);
		same_stage(&stage, twins->store, whole->store, prefix);
		write_to(rocks, one, 1, false);
		write_to(twins->store, one, 1, false);
		sl_stage_clear(&stage);
		same_scan(rocks, whole->store, (struct sl_bytes){ "", 0 });
		sl_writes_release(&a);
		sl_writes_release(&b);
		sl_writes_release(&staged);
		if (round % 100 == 99) { /* closed and found again */
			rocks->ops->free(rocks);
			rocks = sl_store_rocksdb(path, &e);
			assert_non_null(rocks);
			sl_twins_crash(twins, SL_TWIN_KILL);
		}
	}
	assert_null(sl_store_rocksdb(path, &e)); /* locked */
	assert_int_equal(e.verdict, SL_STOP);
	rocks->ops->free(rocks);
	sl_stage_release(&stage);
	sl_twins_free(twins);
	sl_twins_free(whole);
	assert_true(sl_folder_remove(folder, &e));
}

static void a_scan_sees_its_start(void **state)
{
	char folder[] = "/tmp/sluice-store-XXXXXX", path[100];
	struct sl_twins *twins = sl_twins_new(1);
	struct sl_error e = { 0 };
	struct sl_store *stores[2] = { twins->store };

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/store", folder);
	stores[1] = sl_store_rocksdb(path, &e);
	for (size_t i = 0; i < 2; i++) {
		struct sl_writes w = { 0 }, *batch = &w;
		struct sl_store_scan *scan;
		struct sl_bytes k, v;
		int n = 0;

		sl_writes_put(&w, sl_text("a1"), sl_text("x"));
		sl_writes_put(&w, sl_text("a2"), sl_text("y"));
		write_to(stores[i], &batch, 1, true);
		scan = stores[i]->ops->scan(stores[i], sl_text("a"));
		sl_writes_clear(&w);
		sl_writes_del(&w, sl_text("a2"));
		sl_writes_put(&w, sl_text("a3"), sl_text("z"));
		write_to(stores[i], &batch, 1, true);
		while (scan->ops->next(scan, &k, &v, &e))
			n++;
		assert_int_equal(n, 2);
		scan->ops->end(scan);
		sl_writes_release(&w);
	}
	stores[1]->ops->free(stores[1]);
	sl_twins_free(twins);
	assert_true(sl_folder_remove(folder, &e));
}

/* What the twin promises about power cuts is what the simulator stands on. */
static void a_power_cut_keeps_a_part_of_the_unsynced(void **state)
{
	int kept_some = 0, lost_some = 0;

	(void)state;
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct sl_twins *t = sl_twins_new(seed);
		struct sl_error e = { 0 };
		struct sl_buf value = { 0 };
		int found_to = -1;

		for (int i = 0; i < 6; i++) {
			struct sl_writes w = { 0 }, *batch = &w;

			sl_writes_put(&w, (struct sl_bytes){ &"012345"[i], 1 }, sl_text("v"));
			write_to(t->store, &batch, 1, i == 1); /* 0 and 1 are durable */
			sl_writes_release(&w);
		}
		sl_twins_crash(t, SL_TWIN_POWER);
		for (int i = 0; i < 6; i++) {
			bool found;

			assert_true(
				t->store->ops->get(t->store, (struct sl_bytes){ &"012345"[i], 1 }, &value, &found, &e));
			if (found)
				assert_int_equal(found_to, i - 1); /* a prefix: no batch without those before it */
			if (found)
				found_to = i;
		}
		assert_true(found_to >= 1);
		kept_some += found_to > 1;
		lost_some += found_to < 5;
		sl_buf_release(&value);
		sl_twins_free(t);
	}
	assert_true(kept_some > 0 && lost_some > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rocksdb_and_twin_agree),
		cmocka_unit_test(a_scan_sees_its_start),
		cmocka_unit_test(a_power_cut_keeps_a_part_of_the_unsynced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
