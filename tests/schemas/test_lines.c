/* test_lines.c -- the same text plain, gzipped and in zstd frames must come out
 * as the same lines at the same positions, from the start and after a seek to
 * every line; damage is told after the lines in front of it. */
#include "schemas/lines.h"
#include "topology/base/buf.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <cmocka.h>

enum { PLAIN, GZIP, GZIP_MEMBERS, ZSTD, ZSTD_FRAMES, PACKINGS };

static const char *const packing_names[PACKINGS] = { "plain", "gzip", "gzip members", "zstd", "zstd frames" };
static char folder[] = "/tmp/sluice-lines-XXXXXX";
static char path[64];

static void add_gzip(struct sl_buf *to, const void *data, size_t size)
{
	z_stream z = { 0 };
	size_t room = size + size / 100 + 256;

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)size;
	z.next_out = sl_buf_reserve(to, room);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	to->size += room - z.avail_out;
	deflateEnd(&z);
}

static void add_zstd(struct sl_buf *to, const void *data, size_t size)
{
	size_t room = ZSTD_compressBound(size);
	size_t made = ZSTD_compress(sl_buf_reserve(to, room), room, data, size, 1);

	assert_false(ZSTD_isError(made));
	to->size += made;
}

static void pack(struct sl_buf *to, int packing, const char *data, size_t size)
{
	size_t half = size / 2;

	sl_buf_clear(to);
	switch (packing) {
	case PLAIN:
		sl_buf_add(to, data, size);
		break;
	case GZIP:
		add_gzip(to, data, size);
		break;
	case GZIP_MEMBERS:
		add_gzip(to, data, half);
		add_gzip(to, "", 0);
		add_gzip(to, data + half, size - half);
		sl_buf_add(to, "\0\0\0\0", 4); /* padding */
		break;
	case ZSTD:
		add_zstd(to, data, size);
		break;
	case ZSTD_FRAMES:
		sl_buf_add(to, "\x51\x2a\x4d\x18\x03\0\0\0abc", 11); /* skippable */
		add_zstd(to, data, half);
		add_zstd(to, data + half, size - half);
		break;
	}
}

/* Not sl_file_replace: thousands of files that no power loss needs to spare. */
static void save(const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(size ? data : "", 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static void save_packed(int packing, const char *data, size_t size)
{
	struct sl_buf packed = { 0 };

	pack(&packed, packing, data, size);
	save(packed.data, packed.size);
	sl_buf_release(&packed);
}

static struct sl_lines *must_open(size_t line_max)
{
	struct sl_error e = { 0 };
	struct sl_lines *l = sl_lines_open(path, line_max, &e);

	if (!l)
		fail_msg("%s", e.text);
	return l;
}

/* The lines of a text by the plainest code there is. Resumed at every line. */
static void check_all(int packing, const char *data, size_t size)
{
	size_t starts[512] = { 0 }, count = 0;
	struct sl_error e = { 0 };
	struct sl_line line;

	save_packed(packing, data, size);
	for (size_t at = 0; at < size; count++) {
		const char *newline = memchr(data + at, '\n', size - at);

		assert_true(count < 511);
		starts[count] = at;
		at = newline ? (size_t)(newline - data) + 1 : size;
		starts[count + 1] = at;
	}
	for (size_t from = 0; from <= count; from++) {
		struct sl_lines *l = must_open(1 << 20);

		if (!sl_lines_seek(l, starts[from], (int64_t)from, &e))
			fail_msg("%s: seek to %zu: %s", packing_names[packing], starts[from], e.text);
		for (size_t i = from; i < count; i++) {
			size_t end = starts[i + 1], text_size = end - starts[i];
			bool ended = data[end - 1] == '\n';

			text_size -= ended;
			text_size -= ended && text_size > 0 && data[starts[i] + text_size - 1] == '\r';
			if (sl_lines_next(l, &line, &e) != SL_LINES_LINE)
				fail_msg("%s: line %zu after %zu: %s", packing_names[packing], i, from, e.text);
			assert_int_equal(line.number, i + 1);
			assert_int_equal(line.start, starts[i]);
			assert_int_equal(line.end, end);
			assert_int_equal(line.size, text_size);
			assert_int_equal(line.text.size, text_size);
			assert_memory_equal(line.text.data, data + starts[i], text_size);
			assert_int_equal(line.unended, !ended);
			assert_false(line.too_long);
		}
		assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_END);
		assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_END);
		sl_lines_close(l);
	}
}

static void test_same_lines_in_every_packing(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"a",
		"a\n",
		"a\r\n",
		"a\nb",
		"\n\nb\n\n",
		"a\r\nb\rc\r\n\r\nd\r",
		"{\"a\": 1}\n{\"b\": 2}\r\n",
	};
	struct sl_buf big = { 0 };

	(void)state;
	for (int i = 0; i < 200; i++) { /* over several chunks, lines over a chunk */
		for (int k = 0; k < (i % 17) * 300 + (i == 77 ? 300000 : 0); k++)
			sl_buf_add_byte(&big, (uint8_t)('a' + (i * 7 + k * 31 + k / 97) % 26));
		sl_buf_add(&big, "\r\n", (size_t)(1 + i % 2));
		big.data[big.size - 1] = '\n';
	}
	for (int packing = 0; packing < PACKINGS; packing++) {
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
			check_all(packing, texts[i], strlen(texts[i]));
		check_all(packing, (const char *)big.data, big.size);
	}
	sl_buf_release(&big);
}

static void test_long_line_is_not_held(void **state)
{
	static const struct {
		size_t size;
		const char *end;
		bool too_long;
	} rows[] = {
		{ 1000, "\n", false },
		{ 1000, "\r\n", false },
		{ 1001, "\n", true },
		{ 1001, "\r\n", true },
		{ 1001, "", true },
		{ 1000, "\r", true },
		{ 10 << 20, "\n", true },
		{ 10 << 20, "\r\n", true },
		{ (128 << 10) - 4, "\r\n", true }, /* the carriage return ends a chunk, with "ab\n" in front of it */
		{ 10 << 20, "\r", true },
	};

	(void)state;
	for (int packing = 0; packing < PACKINGS; packing++) {
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct sl_buf text = { 0 };
			struct sl_error e = { 0 };
			struct sl_line line;
			struct sl_lines *l;
			bool ended = strchr(rows[i].end, '\n');
			size_t size = rows[i].size + (ended ? 0 : strlen(rows[i].end));

			sl_buf_add(&text, "ab\n", 3);
			for (size_t k = 0; k < rows[i].size; k++)
				sl_buf_add_byte(&text, (uint8_t)('a' + (k * k + k / 251) % 26));
			sl_buf_add(&text, rows[i].end, strlen(rows[i].end));
			if (ended)
				sl_buf_add(&text, "next\n", 5);
			save_packed(packing, (const char *)text.data, text.size);

			l = must_open(1000);
			assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
			assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
			assert_int_equal(line.too_long, rows[i].too_long);
			assert_int_equal(line.size, size);
			assert_int_equal(line.start, 3);
			assert_int_equal(line.end, 3 + rows[i].size + strlen(rows[i].end));
			assert_int_equal(line.unended, !ended);
			assert_true(line.text.size <= 1000);
			assert_memory_equal(line.text.data, text.data + 3, line.text.size);
			if (rows[i].too_long) {
				struct sl_id want = sl_hash128(text.data + 3, size);

				assert_memory_equal(line.hash.b, want.b, sizeof want.b);
			}
			if (ended) {
				assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
				assert_int_equal(line.number, 3);
				assert_true(sl_is(line.text, "next"));
			}
			assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_END);
			sl_lines_close(l);
			sl_buf_release(&text);
		}
	}
}

/* Cut at every byte: some whole lines, then an error that says what happened. */
static void test_truncated(void **state)
{
	struct sl_buf text = { 0 }, packed = { 0 };

	(void)state;
	for (int i = 0; i < 30; i++)
		sl_buf_print(&text, "{\"line\": %d, \"noise\": \"%llx\"}\n", i,
			     (unsigned long long)sl_mix64((uint64_t)i + 1));
	for (int packing = GZIP; packing < PACKINGS; packing++) {
		pack(&packed, packing, (const char *)text.data, text.size);
		for (size_t cut = 4; cut < packed.size; cut++) {
			struct sl_error e = { 0 };
			struct sl_line line;
			struct sl_lines *l;
			enum sl_lines_result got;
			size_t at = 0;

			save(packed.data, cut);
			l = must_open(1000);
			while ((got = sl_lines_next(l, &line, &e)) == SL_LINES_LINE) {
				if (line.unended) /* the cut is between members: the file is whole, the line is not */
					break;
				assert_int_equal(line.start, at);
				at = line.end;
				assert_memory_equal(line.text.data, text.data + line.start, line.size);
			}
			if (got == SL_LINES_ERROR) {
				assert_non_null(strstr(e.text, "truncated"));
				assert_non_null(strstr(e.text, "whole lines"));
			} else if (packing == GZIP || packing == ZSTD) {
				fail_msg("%s cut at %zu: no error", packing_names[packing], cut);
			}
			sl_lines_close(l);
		}
	}
	sl_buf_release(&text);
	sl_buf_release(&packed);
}

static void test_damaged(void **state)
{
	struct sl_buf packed = { 0 };
	struct sl_error e = { 0 };
	struct sl_line line;
	struct sl_lines *l;

	(void)state;
	pack(&packed, GZIP, "one\ntwo\n", 8);
	packed.data[packed.size - 6] ^= 1; /* the checksum */
	save(packed.data, packed.size);
	l = must_open(1000);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_ERROR);
	assert_non_null(strstr(e.text, "gzip data is damaged"));
	sl_lines_close(l);

	pack(&packed, GZIP, "one\ntwo\n", 8);
	sl_buf_add(&packed, "garbage", 7);
	save(packed.data, packed.size);
	l = must_open(1000);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_ERROR);
	assert_non_null(strstr(e.text, "after 2 whole lines"));
	assert_non_null(strstr(e.text, "behind the end"));
	sl_lines_close(l);
	sl_buf_release(&packed);
}

static void test_head_and_seek(void **state)
{
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	struct sl_bytes head;
	struct sl_line line;
	uint64_t read, total;

	(void)state;
	for (int i = 0; i < 20000; i++)
		sl_buf_print(&text, "line %d\n", i);
	for (int packing = 0; packing < PACKINGS; packing++) {
		struct sl_lines *l;

		save_packed(packing, (const char *)text.data, text.size);
		l = must_open(1000);
		assert_true(sl_lines_head(l, &head, &e));
		assert_int_equal(head.size, 64 << 10);
		assert_memory_equal(head.data, text.data, head.size);
		assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
		assert_true(sl_is(line.text, "line 0"));
		assert_true(sl_lines_head(l, &head, &e));
		assert_memory_equal(head.data, text.data, head.size);
		while (sl_lines_next(l, &line, &e) == SL_LINES_LINE)
			;
		assert_int_equal(line.number, 20001);
		sl_lines_progress(l, &read, &total);
		assert_true(total > 0);
		assert_int_equal(read, total);
		assert_false(sl_lines_seek(l, 0, 0, &e));
		sl_lines_close(l);

		l = must_open(1000);
		assert_false(sl_lines_seek(l, text.size + 1, 20000, &e));
		assert_non_null(strstr(e.text, "it was changed"));
		sl_lines_close(l);
	}
	sl_buf_release(&text);
}

/* What ingest does with a file that is still written to. */
static void test_file_grows(void **state)
{
	struct sl_error e = { 0 };
	struct sl_line line;
	struct sl_lines *l;

	(void)state;
	save("one\ntw", 6);
	l = must_open(1000);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
	assert_true(line.unended);
	sl_lines_close(l);
	save("one\ntwo\n", 8);
	l = must_open(1000);
	assert_true(sl_lines_seek(l, 4, 1, &e));
	assert_int_equal(sl_lines_next(l, &line, &e), SL_LINES_LINE);
	assert_true(sl_is(line.text, "two"));
	assert_int_equal(line.number, 2);
	sl_lines_close(l);
}

static void test_cannot_open(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	assert_null(sl_lines_open("/nonexistent/x.jsonl", 1000, &e));
	assert_non_null(strstr(e.text, "'/nonexistent/x.jsonl'"));
	assert_null(sl_lines_open(folder, 1000, &e));
	assert_non_null(strstr(e.text, folder));
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/file", folder);
	return 0;
}

static int remove_folder(void **state)
{
	struct sl_error e;

	(void)state;
	return sl_folder_remove(folder, &e) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_lines_in_every_packing),
		cmocka_unit_test(test_long_line_is_not_held),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_head_and_seek),
		cmocka_unit_test(test_file_grows),
		cmocka_unit_test(test_cannot_open),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
