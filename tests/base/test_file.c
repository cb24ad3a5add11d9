/* test_file.c -- whole files, on a temporary folder; log lines and conditions. */
#include "topology/base/file.h"
#include "topology/base/log.h"
#include "topology/base/thread.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/sluice-test-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void test_files(void **state)
{
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	char hex[65];
	uint64_t size;

	(void)state;
	assert_true(sl_folder_make(in_folder("a//b/c/"), &e));
	assert_true(sl_folder_make(in_folder("a/b/c"), &e));
	assert_true(sl_file_replace(in_folder("a/b/c/f"), sl_text("first"), &e));
	assert_true(sl_file_replace(in_folder("a/b/c/f"), sl_text("abc"), &e));
	assert_int_not_equal(access(in_folder("a/b/c/f.new"), F_OK), 0);
	assert_true(sl_file_read(in_folder("a/b/c/f"), 3, &b, &e));
	assert_string_equal(sl_buf_text(&b), "abc");
	assert_true(sl_file_sha256(in_folder("a/b/c/f"), hex, &size, &e));
	assert_int_equal(size, 3);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

	assert_false(sl_file_read(in_folder("a/b/c/f"), 2, &b, &e));
	assert_non_null(strstr(e.text, "too large"));
	assert_false(sl_file_read(in_folder("none"), 2, &b, &e));
	assert_non_null(strstr(e.text, "No such file"));
	assert_false(sl_file_read(folder, 2, &b, &e));
	assert_false(sl_folder_make(in_folder("a/b/c/f"), &e));
	assert_non_null(strstr(e.text, "Not a directory"));
	assert_false(sl_file_replace(in_folder("none/f"), sl_text("x"), &e));
	assert_false(sl_file_sha256(in_folder("none"), hex, &size, &e));

	assert_true(sl_folder_remove(in_folder("a"), &e));
	assert_int_not_equal(access(in_folder("a"), F_OK), 0);
	assert_true(sl_folder_remove(in_folder("a"), &e));
	sl_buf_release(&b);
}

/* What is no plain file stays what it is: a device, a pipe, a link. */
static void test_not_replaced(void **state)
{
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	char link[256], got[8] = { 0 };
	int pipe;

	(void)state;
	assert_true(sl_folder_make(in_folder("a"), &e));
	assert_true(sl_file_write(in_folder("a/f"), sl_text("plain"), &e));
	assert_true(sl_file_is_plain(in_folder("a/none")));
	assert_false(sl_file_is_plain("/dev/null"));

	snprintf(link, sizeof link, "%s/a/link", folder);
	assert_int_equal(symlink("f", link), 0);
	assert_true(sl_file_write(link, sl_text("ab"), &e));
	assert_true(readlink(link, got, sizeof got) == 1);
	assert_true(sl_file_read(in_folder("a/f"), 9, &b, &e));
	assert_string_equal(sl_buf_text(&b), "ab");

	assert_int_equal(mkfifo(in_folder("a/pipe"), 0600), 0);
	pipe = open(in_folder("a/pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(sl_file_write(in_folder("a/pipe"), sl_text("through"), &e));
	assert_int_equal(read(pipe, got, sizeof got), 7);
	assert_false(sl_file_is_plain(in_folder("a/pipe")));
	close(pipe);
	assert_false(sl_file_write(folder, sl_text("x"), &e));
	assert_non_null(strstr(e.text, "Is a directory"));
	assert_true(sl_folder_remove(in_folder("a"), &e));
	sl_buf_release(&b);
}

/* Two equal lines are one line and a count; quotes and control bytes are escaped. */
static void test_log(void **state)
{
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	int saved = dup(STDERR_FILENO), fd = open(in_folder("log"), O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	assert_true(fd >= 0);
	dup2(fd, STDERR_FILENO);
	sl_log(SL_LOG_DEBUG, NULL, "dropped");
	sl_log(SL_LOG_NOTE, "step=dedupe partition=0", "a \"quoted\"\nline \x01 \xc2\x9b\xe2\x80\xae\xc3\xa9");
	sl_log(SL_LOG_WARN, NULL, "twice");
	sl_log(SL_LOG_WARN, NULL, "twice");
	sl_log(SL_LOG_WARN, NULL, "other");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	assert_true(sl_file_read(in_folder("log"), 4096, &b, &e));
	const char *text = sl_buf_text(&b);
	assert_int_equal(strncmp(text, "time=20", 7), 0);
	assert_null(strstr(text, "dropped"));
	assert_non_null(strstr(text, "Z level=note step=dedupe partition=0 text=\"a \\\"quoted\\\"\\nline \\x01 "
				     "\\xc2\\x9b\\xe2\\x80\\xae\xc3\xa9\"\n"));
	assert_non_null(strstr(text, "Z level=warn text=\"twice\"\n"));
	assert_non_null(strstr(text, "Z level=warn repeated=1 text=\"twice\"\n"));
	assert_non_null(strstr(text, "Z level=warn text=\"other\"\n"));
	sl_buf_release(&b);
}

struct hand {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ready;
};

static void *give(void *arg)
{
	struct hand *h = arg;

	sl_lock(&h->lock);
	h->ready = true;
	sl_cond_broadcast(&h->changed);
	sl_unlock(&h->lock);
	return NULL;
}

static void test_threads(void **state)
{
	struct hand h = { .ready = false };
	pthread_t t;

	(void)state;
	sl_mutex_init(&h.lock);
	sl_cond_init(&h.changed);
	sl_lock(&h.lock);
	assert_false(sl_cond_wait_ms(&h.changed, &h.lock, 0));
	sl_thread_start(&t, "a name that is too long", give, &h);
	while (!h.ready)
		sl_cond_wait(&h.changed, &h.lock);
	sl_unlock(&h.lock);
	sl_thread_join(t);
	sl_cond_destroy(&h.changed);
	sl_mutex_destroy(&h.lock);
	assert_true(sl_wall_ms() > INT64_C(1600000000000));
	assert_true(sl_monotonic_ns() > 0);
	assert_true(sl_thread_cpu_ns() > 0);
}

static int make(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state)
{
	struct sl_error e;

	(void)state;
	return sl_folder_remove(folder, &e) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_not_replaced),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
