/* test_ingest.c -- ingest against a sink in memory that can fail before and after it has
 * done its work: every line of a file comes in exactly once, whatever happens, and files
 * that grew are told from files that changed. */
#include "topology/ingest.h"

#include "schemas/codec.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define FILES_MAX 16

/* A data folder with one commit at a time. */
struct folder {
	struct {
		struct sl_buf source;
		struct sl_id head;
		struct sl_ingest_mark mark;
	} files[FILES_MAX];
	size_t file_count;
	struct sl_buf pairs, ties, dead;
	int64_t calls;
	int64_t fail_before, fail_after; /* at this append (from 1); 0: never */
	int64_t moved_at;                /* somebody else ingests the file at this append */
	enum sl_verdict verdict;
};

static char path[] = "/tmp/sluice-test-ingest-XXXXXX"; /* a file of this test, rewritten as it likes */

static struct sl_ingest_mark *find_mark(struct folder *f, struct sl_bytes source, struct sl_id head)
{
	for (size_t i = 0; i < f->file_count; i++)
		if (sl_id_equal(f->files[i].head, head) && sl_bytes_equal(sl_buf_bytes(&f->files[i].source), source))
			return &f->files[i].mark;
	assert_true(f->file_count < FILES_MAX);
	sl_buf_add_bytes(&f->files[f->file_count].source, source);
	f->files[f->file_count].head = head;
	return &f->files[f->file_count++].mark;
}

static bool get_mark(void *arg, struct sl_bytes source, struct sl_id head, struct sl_ingest_mark *mark,
		     struct sl_error *e)
{
	(void)e;
	*mark = *find_mark(arg, source, head);
	return true;
}

static bool append(void *arg, const struct sl_ingest_append *a, struct sl_ingest_mark *mark, struct sl_error *e)
{
	struct folder *f = arg;
	struct sl_ingest_mark *stored = find_mark(f, a->source, a->head);

	f->calls++;
	if (f->calls == f->fail_before)
		return sl_error_set(e, f->verdict, "killed before the commit");
	if (f->calls == f->moved_at)
		stored->lines++;
	*mark = *stored;
	if (memcmp(stored, &a->before, sizeof *stored) != 0)
		return sl_error_set(e, SL_RETRY, "the mark has moved");
	*stored = *mark = a->after;
	sl_buf_add_bytes(&f->pairs, a->pairs);
	sl_buf_add_bytes(&f->ties, a->ties);
	sl_buf_add_bytes(&f->dead, a->dead);
	if (f->calls == f->fail_after)
		return sl_error_set(e, f->verdict, "killed after the commit");
	return true;
}

static void release(struct folder *f)
{
	for (size_t i = 0; i < f->file_count; i++)
		sl_buf_release(&f->files[i].source);
	sl_buf_release(&f->pairs);
	sl_buf_release(&f->ties);
	sl_buf_release(&f->dead);
}

static bool take_as(struct folder *f, const char *source, struct sl_ingest_counts *counts, struct sl_error *e)
{
	struct sl_ingest_sink sink = { .arg = f, .mark = get_mark, .append = append };
	struct sl_ingest_options options = {
		.source = source, .time_given = true, .time_ms = 1000, .entry_max_bytes = 2048, .batch_lines = 3
	};

	return sl_ingest_file(&sink, path, &options, counts, e);
}

static bool take(struct folder *f, struct sl_ingest_counts *counts, struct sl_error *e)
{
	return take_as(f, "chats", counts, e);
}

static void write_text(const char *text, size_t size)
{
	struct sl_error e;

	if (!sl_file_replace(path, (struct sl_bytes){ text, size }, &e))
		fail_msg("%s", e.text);
}

static void add_line(struct sl_buf *to, int number)
{
	sl_buf_print(to, "{\"prompt\":\"question %d\",\"chosen\":\"good %d\",\"rejected\":\"bad\"}\n", number, number);
}

static void write_lines(int first, int last)
{
	struct sl_buf text = { 0 };

	for (int i = first; i <= last; i++)
		add_line(&text, i);
	write_text((const char *)text.data, text.size);
	sl_buf_release(&text);
}

/* The prompts that came in, in order: "question 1,question 2,". */
static void prompts(const struct folder *f, struct sl_buf *to)
{
	struct sl_arena a = { 0 };
	struct sl_record r;
	size_t at = 0;

	sl_buf_clear(to);
	while (sl_frames_next(sl_buf_bytes(&f->pairs), &at, &r)) {
		struct sl_error e;
		struct sl_pair p;

		if (!sl_pair_decode(r.value, &a, &p, &e))
			fail_msg("%s", e.text);
		assert_true(sl_bytes_equal(r.key, sl_id_bytes(&p.group)));
		assert_int_equal(p.time_ms, 1000);
		sl_buf_add_bytes(to, p.prompt.at[0].content);
		sl_buf_add_byte(to, ',');
	}
	assert_int_equal(at, f->pairs.size);
	sl_arena_release(&a);
}

static void assert_prompts(const struct folder *f, int first, int last)
{
	struct sl_buf got = { 0 }, expected = { 0 };

	prompts(f, &got);
	for (int i = first; i <= last; i++)
		sl_buf_print(&expected, "question %d,", i);
	assert_string_equal(sl_buf_text(&got), sl_buf_text(&expected));
	sl_buf_release(&got);
	sl_buf_release(&expected);
}

static void once_and_again(void **state)
{
	struct folder f = { 0 };
	struct sl_ingest_counts c;
	struct sl_error e;

	(void)state;
	write_lines(1, 10);
	assert_true(take(&f, &c, &e));
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.pairs, 10);
	assert_int_equal(f.calls, 4);
	assert_true(take(&f, &c, &e));
	assert_int_equal(c.lines, 0);
	assert_int_equal(c.skipped, 10);
	assert_prompts(&f, 1, 10);
	assert_true(take_as(&f, "other", &c, &e)); /* another source: another file */
	assert_int_equal(c.lines, 10);
	release(&f);
}

/* Killed at every append, before or after it became true; run again until done. */
static void killed_anywhere(void **state)
{
	(void)state;
	write_lines(1, 10);
	for (int64_t at = 1; at <= 4; at++) {
		for (int after = 0; after < 2; after++) {
			struct folder f = { .verdict = SL_STOP };
			struct sl_ingest_counts c;
			struct sl_error e;

			*(after ? &f.fail_after : &f.fail_before) = at;
			assert_false(take(&f, &c, &e));
			assert_true(take(&f, &c, &e));
			assert_prompts(&f, 1, 10);
			release(&f);
		}
	}
}

/* The answer was lost: the same process asks for the mark and goes on. */
static void answer_lost_anywhere(void **state)
{
	(void)state;
	write_lines(1, 10);
	for (int64_t at = 1; at <= 4; at++) {
		for (int after = 0; after < 2; after++) {
			struct folder f = { .verdict = SL_RETRY };
			struct sl_ingest_counts c;
			struct sl_error e;

			*(after ? &f.fail_after : &f.fail_before) = at;
			if (!take(&f, &c, &e))
				fail_msg("%s", e.text);
			assert_int_equal(c.pairs, 10);
			assert_prompts(&f, 1, 10);
			release(&f);
		}
	}
}

static void another_process_is_at_it(void **state)
{
	struct folder f = { .moved_at = 2 };
	struct sl_ingest_counts c;
	struct sl_error e;

	(void)state;
	write_lines(1, 10);
	assert_false(take(&f, &c, &e));
	assert_non_null(strstr(e.text, "another process ingests the same file"));
	assert_int_equal(c.lines, 3);
	assert_prompts(&f, 1, 3);
	release(&f);
}

/* A small file that grows over 64 KiB, line by line and in leaps. */
static void growing(void **state)
{
	static const int lasts[] = { 1, 2, 3, 7, 8, 500, 1000, 1001, 3000 };
	struct folder f = { 0 };
	int64_t total = 0;

	(void)state;
	for (size_t i = 0; i < sizeof lasts / sizeof *lasts; i++) {
		struct sl_ingest_counts c;
		struct sl_error e;

		write_lines(1, lasts[i]);
		if (!take(&f, &c, &e))
			fail_msg("%s", e.text);
		assert_int_equal(c.skipped, total);
		total += c.lines;
		assert_int_equal(total, lasts[i]);
	}
	assert_prompts(&f, 1, 3000);
	release(&f);
}

static void changed(void **state)
{
	static const int sizes[] = { 5, 2000 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct folder f = { 0 };
		struct sl_ingest_counts c;
		struct sl_error e;
		struct sl_buf text = { 0 };
		size_t before;

		write_lines(1, sizes[i]);
		assert_true(take(&f, &c, &e));
		before = f.pairs.size;
		for (int k = 1; k <= sizes[i]; k++) /* the last line but one differs */
			add_line(&text, k == sizes[i] - 1 ? 77777 : k);
		write_text((const char *)text.data, text.size);
		assert_false(take(&f, &c, &e));
		assert_non_null(strstr(e.text, "the file has changed"));
		assert_non_null(strstr(e.text, path));
		write_lines(1, sizes[i] - 1); /* shorter */
		assert_false(take(&f, &c, &e));
		assert_non_null(strstr(e.text, "the file has changed"));
		assert_int_equal(f.pairs.size, before);
		assert_int_equal(c.lines, 0);
		sl_buf_release(&text);
		release(&f);
	}
}

/* A large file that begins like a small one, known under the same source, is another file. */
static void large_file_with_a_known_first_line(void **state)
{
	struct folder f = { 0 };
	struct sl_ingest_counts c;
	struct sl_buf text = { 0 };
	struct sl_error e;

	(void)state;
	write_lines(1, 3);
	assert_true(take(&f, &c, &e));
	add_line(&text, 1);
	for (int i = 5; i < 3000; i++)
		add_line(&text, i);
	write_text((const char *)text.data, text.size);
	assert_true(take(&f, &c, &e));
	assert_int_equal(c.lines, 2996);
	assert_int_equal(c.skipped, 0);
	assert_true(take(&f, &c, &e));
	assert_int_equal(c.skipped, 2996);
	sl_buf_release(&text);
	release(&f);
}

#define LINE_1 "{\"prompt\":\"question 1\",\"chosen\":\"a\",\"rejected\":\"b\"}"
#define LINE_2 "{\"prompt\":\"question 2\",\"chosen\":\"a\",\"rejected\":\"b\"}"
#define LINE_3 "{\"prompt\":\"question 3\",\"chosen\":\"a\",\"rejected\":\"b\"}"

/* The last line without its newline, and what may come behind it. */
static void unended(void **state)
{
	static const struct {
		const char *first, *then;
		const char *says; /* NULL: good */
		int64_t pairs, invalid;
	} cases[] = {
		{ LINE_1 "\n" LINE_2, LINE_1 "\n" LINE_2, NULL, 2, 0 },
		{ LINE_1 "\n" LINE_2, LINE_1 "\n" LINE_2 "\n", NULL, 2, 0 },
		{ LINE_1 "\n" LINE_2, LINE_1 "\n" LINE_2 "\r\n" LINE_3, NULL, 3, 0 },
		{ LINE_1 "\n" LINE_2 "\r", LINE_1 "\n" LINE_2 "\r\n" LINE_3 "\n", NULL, 3, 0 },
		{ LINE_1 "\n{\"prompt\":\"ques", LINE_1 "\n{\"PROMPT\":\"question 3\"}\n", "the file has changed", 1,
		  1 },
		{ LINE_1 "\n{\"prompt\":\"question", LINE_1 "\n" LINE_2 "\n" LINE_3 "\n", NULL, 3, 1 },
		{ LINE_1 "\n" LINE_2, LINE_1 "\n" LINE_2 " x\n", "has grown since", 2, 0 },
		{ LINE_1, LINE_1 "\n" LINE_2 "\n", NULL, 2, 0 },
		{ "{\"prompt\":\"ques", LINE_1 "\n", NULL, 1, 1 },
		{ "\n\n" LINE_1 "\n\n", "\n\n" LINE_1 "\n\n\n" LINE_2, NULL, 2, 0 },
		{ "", LINE_1 "\n", NULL, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct folder f = { 0 };
		struct sl_ingest_counts first, then;
		struct sl_error e = { 0 };
		bool done;

		write_text(cases[i].first, strlen(cases[i].first));
		if (!take(&f, &first, &e))
			fail_msg("case %zu: %s", i, e.text);
		write_text(cases[i].then, strlen(cases[i].then));
		done = take(&f, &then, &e);
		if (cases[i].says) {
			assert_false(done);
			assert_non_null(strstr(e.text, cases[i].says));
		} else if (!done) {
			fail_msg("case %zu: %s", i, e.text);
		}
		if (first.pairs + then.pairs != cases[i].pairs || first.invalid + then.invalid != cases[i].invalid)
			fail_msg("case %zu: %lld pairs, %lld invalid", i, (long long)(first.pairs + then.pairs),
				 (long long)(first.invalid + then.invalid));
		assert_true(done == take(&f, &then, &e)); /* and once more: nothing new */
		assert_int_equal(then.lines, 0);
		release(&f);
	}
}

static struct sl_bytes header(const struct sl_record *r, const char *name)
{
	struct sl_bytes value = sl_header_find(r->headers, name);

	assert_non_null(value.data);
	return value;
}

static void dead_letters(void **state)
{
	static const char start[] = "\n{broken\n" LINE_1 "\n[1]\n\"\xff\"\n";
	struct folder f = { 0 };
	struct sl_ingest_counts c;
	struct sl_buf text = { 0 };
	struct sl_record r;
	struct sl_error e;
	size_t at = 0;

	(void)state;
	sl_buf_add(&text, start, sizeof start - 1);
	for (int i = 0; i < 10000; i++)
		sl_buf_add_byte(&text, 'x');
	sl_buf_print(&text, "\n" LINE_2 "\n");
	write_text((const char *)text.data, text.size);
	assert_true(take(&f, &c, &e));
	assert_int_equal(c.lines, 6); /* the blank one does not count, but has a number */
	assert_int_equal(c.pairs, 2);
	assert_int_equal(c.invalid, 4);
	assert_prompts(&f, 1, 2);
	assert_true(sl_frames_next(sl_buf_bytes(&f.dead), &at, &r));
	assert_true(sl_is(r.value, "{broken"));
	assert_true(sl_is(header(&r, "sluice.file"), path));
	assert_true(sl_is(header(&r, "sluice.line"), "2"));
	assert_true(sl_is(header(&r, "__connect.errors.stage"), "ingest"));
	assert_true(sl_is(header(&r, "__connect.errors.offset"), "2"));
	assert_true(sl_bytes_begins(header(&r, "__connect.errors.exception.message"), sl_text("malformed: ")));
	assert_true(sl_frames_next(sl_buf_bytes(&f.dead), &at, &r));
	assert_true(sl_is(header(&r, "sluice.line"), "4"));
	assert_true(sl_frames_next(sl_buf_bytes(&f.dead), &at, &r));
	assert_true(sl_is(r.value, "\"\xff\""));
	assert_true(sl_frames_next(sl_buf_bytes(&f.dead), &at, &r));
	assert_true(sl_is(header(&r, "sluice.length"), "10000"));
	assert_int_equal(header(&r, "sluice.hash").size, 32);
	assert_true(sl_is(header(&r, "__connect.errors.exception.class.name"), "too-large"));
	assert_false(sl_frames_next(sl_buf_bytes(&f.dead), &at, &r));
	sl_buf_release(&text);
	release(&f);
}

/* A gzip file cut off: the lines before are in, the message says so; repaired, it goes on. */
static void truncated_gzip(void **state)
{
	struct folder f = { 0 };
	struct sl_buf packed = { 0 };
	struct sl_ingest_counts c;
	struct sl_error e;
	int64_t before;
	gzFile gz = gzopen(path, "wb1");

	(void)state;
	assert_non_null(gz);
	for (int i = 1; i <= 3000; i++)
		assert_true(gzprintf(gz, "{\"prompt\":\"question %d\",\"chosen\":\"good %d\",\"rejected\":\"bad\"}\n",
				     i, i * 7919 % 10007) > 0);
	assert_int_equal(gzclose(gz), Z_OK);
	if (!sl_file_read(path, 1 << 24, &packed, &e))
		fail_msg("%s", e.text);
	write_text((const char *)packed.data, packed.size / 2);
	assert_false(take(&f, &c, &e));
	assert_non_null(strstr(e.text, "gzip"));
	assert_true(c.lines > 500 && c.lines < 3000);
	before = c.lines;
	write_text((const char *)packed.data, packed.size);
	if (!take(&f, &c, &e))
		fail_msg("%s", e.text);
	assert_int_equal(c.skipped, before);
	assert_int_equal(before + c.lines, 3000);
	assert_prompts(&f, 1, 3000);
	sl_buf_release(&packed);
	release(&f);
}

static void sources(void **state)
{
	static const struct {
		const char *path, *source;
	} cases[] = { { "a/b/chats.jsonl.gz", "chats" },
		      { "x.dev.jsonl.zst", "x.dev" },
		      { "plain", "plain" },
		      { "-", "stdin" },
		      { ".jsonl", ".jsonl" },
		      { "v1.2", "v1.2" } };
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_true(sl_is(sl_ingest_source(cases[i].path, &a), cases[i].source));
	sl_arena_release(&a);
}

static int make_path(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_and_again),
		cmocka_unit_test(killed_anywhere),
		cmocka_unit_test(answer_lost_anywhere),
		cmocka_unit_test(another_process_is_at_it),
		cmocka_unit_test(growing),
		cmocka_unit_test(changed),
		cmocka_unit_test(large_file_with_a_known_first_line),
		cmocka_unit_test(unended),
		cmocka_unit_test(dead_letters),
		cmocka_unit_test(truncated_gzip),
		cmocka_unit_test(sources),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
