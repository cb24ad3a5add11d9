/* test_log.c -- segment files: append, sync, read at any size, cut at open, drop, damage; frames and headers. On
 * the twin and on real files. */
#include "topology/log.h"

#include "tests/twins.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define SEGMENT 300
#define RECORDS 40

/* The n-th record: every seventh a tombstone, every fifth with headers, every ninth large. */
static struct sl_record record_of(int64_t n, struct sl_buf *memory)
{
	struct sl_record r = { .time_ms = 1000 + n };
	size_t size = n % 9 == 8 ? 900 : (size_t)(n % 4);
	uint8_t *p;

	sl_buf_clear(memory);
	p = sl_buf_reserve(memory, 2000);
	memset(p, 'a' + (int)(n % 26), 1000);
	memset(p + 1000, 'k', 1000);
	r.key = (struct sl_bytes){ p + 1000, (size_t)n % 3 };
	if (n % 7 != 6)
		r.value = (struct sl_bytes){ p, size };
	if (n % 5 == 4) {
		static struct sl_buf headers;

		sl_buf_clear(&headers);
		sl_header_add(&headers, "why", sl_text("because"));
		r.headers = sl_buf_bytes(&headers);
	}
	return r;
}

static void must_be(const struct sl_record *r, int64_t n)
{
	struct sl_buf memory = { 0 };
	struct sl_record want = record_of(n, &memory);

	assert_int_equal(r->offset, n);
	assert_int_equal(r->time_ms, want.time_ms);
	assert_true(sl_bytes_equal(r->key, want.key));
	assert_true(sl_bytes_equal(r->headers, want.headers));
	assert_true((r->value.data == NULL) == (want.value.data == NULL));
	assert_true(sl_bytes_equal(r->value, want.value));
	sl_buf_release(&memory);
}

static void append(struct sl_log *log, int64_t from, int64_t to)
{
	struct sl_buf memory = { 0 };
	struct sl_error e = { 0 };

	for (int64_t n = from; n < to; n++) {
		struct sl_record r = record_of(n, &memory);

		assert_true(sl_log_append(log, &r, &e));
		assert_int_equal(r.offset, n);
	}
	assert_true(sl_log_sync(log, true, &e));
	sl_buf_release(&memory);
}

static void read_all(struct sl_log *log, int64_t from, int64_t end, size_t record_max, size_t bytes_max)
{
	struct sl_cursor c = { .offset = from };
	struct sl_record records[RECORDS];
	struct sl_buf bytes = { 0 };
	struct sl_error e = { 0 };
	int64_t n = from;

	while (n < end) {
		size_t count;

		if (!sl_log_read(log, &c, end, record_max, bytes_max, &bytes, records, &count, &e))
			fail_msg("%s", e.text);
		assert_true(count > 0 && count <= record_max);
		for (size_t i = 0; i < count; i++)
			must_be(&records[i], n + (int64_t)i);
		if (count > 2) { /* give some back, and read them again */
			sl_cursor_back(&c, records + 1, count - 1);
			count = 1;
		}
		n += (int64_t)count;
		assert_int_equal(c.offset, n);
	}
	sl_buf_release(&bytes);
}

static struct sl_log *open_log(struct sl_disk *disk, struct sl_log_end end)
{
	struct sl_error e = { 0 };
	struct sl_log *log = sl_log_open(disk, "topics/t/0", end, SEGMENT, &e);

	if (!log)
		fail_msg("%s", e.text);
	return log;
}

static void a_life(struct sl_disk *disk)
{
	struct sl_log *log = open_log(disk, (struct sl_log_end){ 0 });
	struct sl_log_end first, all;
	struct sl_error e = { 0 };

	append(log, 0, 15);
	first = sl_log_end(log);
	append(log, 15, RECORDS);
	all = sl_log_end(log);
	assert_int_equal(all.offset, RECORDS);
	for (size_t most = 1; most <= RECORDS; most += 6)
		for (size_t bytes = 1; bytes < 5000; bytes = 3 * bytes + 40)
			for (int64_t from = 0; from < RECORDS; from += 13)
				read_all(log, from, RECORDS, most, bytes);
	read_all(log, 3, 9, RECORDS, 100000); /* not beyond the end asked for */
	sl_log_close(log);

	log = open_log(disk, all);
	read_all(log, 0, RECORDS, 8, 1000);
	sl_log_close(log);

	/* what lies behind the recorded end is cut off: whole segments, and part of one */
	log = open_log(disk, first);
	assert_int_equal(sl_log_end(log).offset, 15);
	read_all(log, 0, 15, 8, 1000);
	append(log, 15, RECORDS);
	assert_int_equal(sl_log_end(log).segment, all.segment); /* rolled at the same records */
	assert_int_equal(sl_log_end(log).bytes, all.bytes);
	read_all(log, 0, RECORDS, 8, 1000);

	/* drop: whole segments only, never the last */
	assert_true(sl_log_drop(log, 20, &e));
	assert_true(sl_log_end(log).start > 0 && sl_log_end(log).start <= 20);
	read_all(log, 20, RECORDS, 8, 1000);
	{
		struct sl_cursor c = { .offset = 0 };
		struct sl_record r[1];
		struct sl_buf bytes = { 0 };
		size_t count;

		assert_false(sl_log_read(log, &c, RECORDS, 1, 100, &bytes, r, &count, &e));
		assert_int_equal(e.verdict, SL_STOP);
		assert_string_equal(e.text, "offset 0 of 'topics/t/0' is not kept any more");
		sl_buf_release(&bytes);
	}
	assert_true(sl_log_drop(log, RECORDS, &e));
	assert_int_equal(sl_log_end(log).start, sl_log_end(log).segment);
	assert_true(sl_log_bytes(log) > 0);
	sl_log_close(log);
	log = open_log(disk, all);
	read_all(log, sl_log_end(log).start, RECORDS, 8, 1000);
	sl_log_close(log);
	/* never committed: all of it goes */
	log = open_log(disk, (struct sl_log_end){ 0 });
	assert_int_equal(sl_log_end(log).offset, 0);
	assert_int_equal(sl_log_bytes(log), 0);
	sl_log_close(log);
}

static void on_the_twin(void **state)
{
	struct sl_twins *t = sl_twins_new(1);

	(void)state;
	a_life(t->disk);
	sl_twins_free(t);
}

static void on_real_files(void **state)
{
	char folder[] = "/tmp/sluice-log-XXXXXX";
	struct sl_disk *disk;
	struct sl_error e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(folder));
	disk = sl_disk_files(folder);
	a_life(disk);
	disk->ops->free(disk);
	assert_true(sl_folder_remove(folder, &e));
}

/* One byte of a stored frame changed: an error that names file and place, never other bytes. */
static void damage(void **state)
{
	struct sl_twins *t = sl_twins_new(1);
	struct sl_log *log = open_log(t->disk, (struct sl_log_end){ 0 });
	struct sl_error e = { 0 };
	struct sl_disk_file *f;
	struct sl_log_end end;
	uint64_t size;

	(void)state;
	append(log, 0, 5);
	end = sl_log_end(log);
	f = t->disk->ops->open(t->disk, "topics/t/0/00000000000000000000.log", &e);
	assert_true(f->ops->size(f, &size, &e));
	for (uint64_t at = 0; at < size; at++) {
		struct sl_cursor c = { 0 };
		struct sl_record records[5];
		struct sl_buf bytes = { 0 };
		uint8_t byte, other;
		size_t got, read = 0, count = 1;
		bool whole = true;

		assert_true(f->ops->read(f, at, &byte, 1, &got, &e));
		other = byte ^ 0x41;
		assert_true(f->ops->write(f, at, &other, 1, &e));
		while (whole && c.offset < 5) {
			whole = sl_log_read(log, &c, 5, 5, 10000, &bytes, records, &count, &e);
			for (size_t i = 0; whole && i < count; i++)
				must_be(&records[i], (int64_t)read++);
		}
		if (whole)
			fail_msg("byte %d: nobody noticed", (int)at);
		assert_int_equal(e.verdict, SL_STOP);
		assert_non_null(strstr(e.text, "00000000000000000000.log' at byte "));
		assert_non_null(strstr(e.text, "the file is damaged"));
		assert_true(f->ops->write(f, at, &byte, 1, &e));
		sl_buf_release(&bytes);
	}
	read_all(log, 0, 5, 5, 10000);
	sl_log_close(log);

	/* shorter than recorded, missing, and something that is none of ours */
	end.bytes++;
	assert_null(sl_log_open(t->disk, "topics/t/0", end, SEGMENT, &e));
	assert_non_null(strstr(e.text, "the file was cut from outside"));
	end.segment++;
	assert_null(sl_log_open(t->disk, "topics/t/0", end, SEGMENT, &e));
	assert_non_null(strstr(e.text, "is missing"));
	f->ops->close(f);
	f = t->disk->ops->open(t->disk, "topics/t/0/notes.txt", &e);
	f->ops->close(f);
	assert_null(sl_log_open(t->disk, "topics/t/0", end, SEGMENT, &e));
	assert_string_equal(e.text, "'topics/t/0/notes.txt' is not a segment: remove it");
	sl_twins_free(t);
}

static void frames(void **state)
{
	struct sl_buf all = { 0 }, memory = { 0 };
	struct sl_record r;
	size_t at = 0, n = 0;

	(void)state;
	for (int64_t i = 0; i < 20; i++) {
		r = record_of(i, &memory);
		r.offset = i;
		sl_frames_add(&all, &r);
	}
	while (sl_frames_next(sl_buf_bytes(&all), &at, &r))
		must_be(&r, (int64_t)n++);
	assert_int_equal(n, 20);
	assert_int_equal(at, all.size);
	/* foreign bytes: cut anywhere, changed anywhere */
	for (size_t cut = 0; cut < all.size; cut++) {
		struct sl_bytes part = { all.data, cut };

		for (at = 0, n = 0; sl_frames_next(part, &at, &r);)
			must_be(&r, (int64_t)n++);
		assert_true(at <= cut);
	}
	for (size_t i = 0; i < all.size; i += 3) {
		all.data[i] ^= 0x80;
		for (at = 0, n = 0; sl_frames_next(sl_buf_bytes(&all), &at, &r);)
			must_be(&r, (int64_t)n++);
		assert_true(at <= i);
		all.data[i] ^= 0x80;
	}
	sl_buf_release(&all);
	sl_buf_release(&memory);
}

static void headers(void **state)
{
	struct sl_buf h = { 0 };

	(void)state;
	sl_header_add(&h, "a", sl_text("1"));
	sl_header_add(&h, "long.name", sl_text("some text"));
	sl_header_add(&h, "empty", sl_text(""));
	assert_true(sl_bytes_equal(sl_header_find(sl_buf_bytes(&h), "a"), sl_text("1")));
	assert_true(sl_bytes_equal(sl_header_find(sl_buf_bytes(&h), "long.name"), sl_text("some text")));
	assert_non_null(sl_header_find(sl_buf_bytes(&h), "empty").data);
	assert_null(sl_header_find(sl_buf_bytes(&h), "b").data);
	for (size_t cut = 0; cut < h.size; cut++) /* foreign: cut anywhere */
		(void)sl_header_find((struct sl_bytes){ h.data, cut }, "empty");
	sl_buf_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_twin), cmocka_unit_test(on_real_files), cmocka_unit_test(damage),
		cmocka_unit_test(frames),      cmocka_unit_test(headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
