/* fuzz_schemas_lines.c -- any bytes as a file: lines follow one another without
 * a gap, none is longer than allowed, and a second reader that resumes at some
 * line sees the same rest. */
#include "schemas/lines.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_MAX_BYTES = 64, LINES_MAX = 20000 };

static struct sl_lines *reader(const char *path)
{
	struct sl_error e = { 0 };
	struct sl_lines *l = sl_lines_open(path, LINE_MAX_BYTES, &e);

	assert(l);
	return l;
}

static void check(const char *path)
{
	struct sl_lines *l = reader(path), *resumed = NULL;
	struct sl_error e = { 0 }, e2 = { 0 };
	struct sl_line line = { 0 }, same = { 0 };
	struct sl_bytes head;
	uint64_t position = 0;
	enum sl_lines_result got;

	assert(sl_lines_head(l, &head, &e) && head.size <= 64 * 1024);
	for (int64_t number = 1; number < LINES_MAX; number++) {
		got = sl_lines_next(l, &line, &e);
		if (resumed) {
			assert(sl_lines_next(resumed, &same, &e2) == got);
			assert(got != SL_LINES_LINE || sl_bytes_equal(line.text, same.text));
			assert(got != SL_LINES_LINE || (line.end == same.end && line.number == same.number));
		}
		if (got != SL_LINES_LINE)
			break;
		assert(line.number == number && line.start == position && line.end >= line.start + line.size);
		assert(line.text.size <= LINE_MAX_BYTES && line.too_long == (line.size > LINE_MAX_BYTES));
		position = line.end;
		if (number == 3) {
			resumed = reader(path);
			assert(sl_lines_seek(resumed, position, number, &e2));
		}
	}
	assert(got != SL_LINES_ERROR || e.text[0]);
	sl_lines_close(l);
	sl_lines_close(resumed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	check(path);
	close(fd);
	return 0;
}
