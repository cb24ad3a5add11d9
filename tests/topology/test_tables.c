/* test_tables.c -- a table at every version against a plain list of what was applied. */
#include "topology/tables.h"

#include "tests/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define APPLIED 300
#define KEYS 40

static struct {
	char key[16], value[16];
	bool deleted;
} applied[APPLIED];

static const struct sl_bytes none;

static void every_version(void **state)
{
	struct sl_table *t = sl_table_new();
	uint64_t seed = 5;

	(void)state;
	assert_int_equal(sl_table_now(t), 0);
	assert_null(sl_table_at(t, sl_text("key 1"), 0));
	assert_null(sl_table_after(t, 0, 0));
	for (int64_t i = 0; i < APPLIED; i++) {
		snprintf(applied[i].key, sizeof applied[i].key, "key %d", (int)(sl_random(&seed) % KEYS));
		snprintf(applied[i].value, sizeof applied[i].value, "%d", (int)i);
		applied[i].deleted = sl_random(&seed) % 5 == 0;
		sl_table_apply(t, sl_text(applied[i].key),
			       applied[i].deleted ? (struct sl_bytes){ NULL, 0 } : sl_text(applied[i].value), none);
		assert_int_equal(sl_table_now(t), i + 1);
		assert_int_equal(sl_table_stamp(t, i + 1), i + 1);
	}
	for (int64_t version = 0; version <= APPLIED; version += 7) {
		int64_t after = 0;

		for (int k = 0; k < KEYS; k++) {
			const struct sl_table_entry *entry;
			char key[16];
			int64_t last = -1;

			snprintf(key, sizeof key, "key %d", k);
			for (int64_t i = 0; i < version; i++)
				if (strcmp(applied[i].key, key) == 0)
					last = i;
			entry = sl_table_at(t, sl_text(key), version);
			assert_int_equal(entry ? entry->version : 0, last + 1);
			if (entry)
				assert_true(applied[last].deleted
						    ? !entry->value.data
						    : sl_bytes_equal(entry->value, sl_text(applied[last].value)));
		}
		/* a walk: the latest entry of every key within the version, in order */
		for (int64_t i = 0; i < version; i++) {
			const struct sl_table_entry *entry;
			bool superseded = false;

			for (int64_t k = i + 1; k < version; k++)
				superseded |= strcmp(applied[i].key, applied[k].key) == 0;
			if (superseded)
				continue;
			entry = sl_table_after(t, after, version);
			assert_non_null(entry);
			assert_int_equal(entry->version, i + 1);
			after = entry->version;
		}
		assert_null(sl_table_after(t, after, version));
	}
	sl_table_free(t);
}

static void empty_values_are_not_deletions(void **state)
{
	struct sl_table *t = sl_table_new();

	(void)state;
	sl_table_apply(t, sl_text("k"), (struct sl_bytes){ "", 0 }, none);
	sl_table_apply(t, sl_text(""), sl_text("of the empty key"), none);
	assert_non_null(sl_table_at(t, sl_text("k"), 2)->value.data);
	assert_int_equal(sl_table_at(t, sl_text("k"), 2)->value.size, 0);
	assert_true(sl_bytes_equal(sl_table_at(t, sl_text(""), 2)->value, sl_text("of the empty key")));
	sl_table_free(t);
}

static void stamps(void **state)
{
	/* the header of each record applied (NULL: none), and the stamp after it */
	static const struct {
		const char *sequence;
		int64_t stamp;
	} rows[] = {
		{ "dedupe-0:1", 1 },
		{ "dedupe-0:4", 4 }, /* 2 and 3 are compacted away */
		{ "embed-1:2", 6 },
		{ NULL, 7 },
		{ "dedupe-0:4", 7 }, /* seen before */
		{ "dedupe-0:3", 7 },
		{ "a:b:10", 17 },
		{ "a:b:11", 18 },
		{ "embed-1:3", 19 },
		/* not sequences: counted as they come */
		{ "", 20 },
		{ ":5", 21 },
		{ "w:", 22 },
		{ "w:0", 23 },
		{ "w:-1", 24 },
		{ "w:1x", 25 },
		{ "w:1234567890123456", 26 },
		{ "12", 27 },
		{ "w:999999999999999", 27 + 999999999999999 },
	};
	struct sl_table *t = sl_table_new();
	struct sl_buf headers = { 0 };
	const size_t count = sizeof rows / sizeof *rows;

	(void)state;
	assert_int_equal(sl_table_stamp(t, 0), 0);
	for (size_t i = 0; i < count; i++) {
		sl_buf_clear(&headers);
		sl_header_add(&headers, "other", sl_text("w:7"));
		if (rows[i].sequence)
			sl_header_add(&headers, SL_TABLE_SEQUENCE, sl_text(rows[i].sequence));
		sl_table_apply(t, sl_text("k"), sl_text("v"), sl_buf_bytes(&headers));
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sl_table_stamp(t, (int64_t)i + 1), rows[i].stamp);
	sl_buf_release(&headers);
	sl_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_version), cmocka_unit_test(stamps),
					    cmocka_unit_test(empty_values_are_not_deletions) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
