/* limits.c -- what this machine can do at all, beside what the chain makes of it.
 *
 *     bench_limits FOLDER [--seconds S]
 *
 * Four limits, each measured for about S seconds (1) by one thread: copying memory,
 * sgemm in the shape that retrieve uses, appending to a file with fdatasync after each
 * append, and synced batches of the state store. FOLDER should lie on the disk of the data
 * folder; what is written there is removed again. Prints lines "name value unit", and
 * judges nothing. */
#include "../../topology/base/file.h"
#include "../../topology/base/thread.h"
#include "../../topology/store.h"

#include <cblas.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void openblas_set_num_threads(int threads);

static double limit_s = 1;

static void die(const struct sl_error *e)
{
	fprintf(stderr, "bench_limits: %s\n", e->text);
	exit(1);
}

static void row(const char *name, double value, const char *unit)
{
	printf("%-44s %12.1f %s\n", name, value, unit);
	fflush(stdout);
}

static double since(int64_t began_ns)
{
	return (double)(sl_monotonic_ns() - began_ns) / 1e9;
}

static void copy(size_t size, const char *name)
{
	uint8_t *from = sl_malloc(size), *to = sl_malloc(size);
	int64_t began;
	double bytes = 0, seconds;

	memset(from, 1, size);
	memset(to, 2, size);
	began = sl_monotonic_ns();
	do {
		for (size_t done = 0; done < ((size_t)256 << 20); done += size) { /* the clock is read seldom */
			memcpy(to, from, size);
			__asm__ volatile("" : : "r"(to) : "memory"); /* the copy is wanted, though nobody reads it */
			bytes += (double)size;
		}
	} while ((seconds = since(began)) < limit_s);
	row(name, bytes / seconds / 1e9, "GB/s copied");
	free(from);
	free(to);
}

/* A batch of queries against 5,000 gold vectors of 256 numbers. */
static void multiply(void)
{
	enum { QUERIES = 256, GOLD = 5000, DIM = 256 };
	float *a = sl_malloc(QUERIES * DIM * sizeof *a), *b = sl_malloc(GOLD * DIM * sizeof *b);
	float *c = sl_malloc((size_t)QUERIES * GOLD * sizeof *c);
	double operations = 0, seconds;
	int64_t began;

	for (size_t i = 0; i < QUERIES * DIM; i++)
		a[i] = (float)(i % 13) / 13;
	for (size_t i = 0; i < GOLD * DIM; i++)
		b[i] = (float)(i % 17) / 17;
	began = sl_monotonic_ns();
	do {
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, QUERIES, GOLD, DIM, 1, a, DIM, b, DIM, 0, c, GOLD);
		operations += 2.0 * QUERIES * GOLD * DIM;
	} while ((seconds = since(began)) < limit_s);
	row("sgemm 256 x 5000 x 256, one thread", operations / seconds / 1e9, "GFLOP/s");
	free(a);
	free(b);
	free(c);
}

static void append(const char *folder, size_t size, const char *name)
{
	struct sl_buf path = { 0 };
	uint8_t *data = sl_malloc(size);
	struct sl_error e;
	double appends = 0, seconds;
	int64_t began;
	int fd;

	sl_buf_print(&path, "%s/append", folder);
	memset(data, 7, size);
	fd = open(sl_buf_text(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		sl_error_errno(&e, SL_STOP, "creating '%s'", sl_buf_text(&path));
		die(&e);
	}
	began = sl_monotonic_ns();
	do {
		if (!sl_write_all(fd, data, size, &e))
			die(&e);
		if (fdatasync(fd) != 0) {
			sl_error_errno(&e, SL_STOP, "fdatasync of '%s'", sl_buf_text(&path));
			die(&e);
		}
		appends++;
	} while ((seconds = since(began)) < limit_s);
	printf("%-44s %12.1f MB/s, %.0f commits/s\n", name, appends * (double)size / seconds / 1e6, appends / seconds);
	close(fd);
	unlink(sl_buf_text(&path));
	sl_buf_release(&path);
	free(data);
}

static void batches(const char *folder, size_t rows, size_t size, const char *name)
{
	struct sl_buf path = { 0 };
	struct sl_writes writes = { 0 };
	struct sl_writes *list[] = { &writes };
	uint8_t *value = sl_malloc(size), key[8];
	struct sl_error e = { 0 };
	struct sl_store *store;
	double done = 0, seconds;
	uint64_t next = 0;
	int64_t began;

	sl_buf_print(&path, "%s/store", folder);
	memset(value, 7, size);
	store = sl_store_rocksdb(sl_buf_text(&path), &e);
	if (!store)
		die(&e);
	began = sl_monotonic_ns();
	do {
		sl_writes_clear(&writes);
		for (size_t i = 0; i < rows; i++) {
			/* spread like hashes, never twice the same */
			sl_put_le64(key, next++ * 0x9e3779b97f4a7c15u);
			sl_writes_put(&writes, (struct sl_bytes){ key, sizeof key }, (struct sl_bytes){ value, size });
		}
		if (!store->ops->write(store, list, 1, true, &e))
			die(&e);
		done++;
	} while ((seconds = since(began)) < limit_s);
	printf("%-44s %12.1f rows/s, %.0f batches/s\n", name, done * (double)rows / seconds, done / seconds);
	store->ops->free(store);
	if (!sl_folder_remove(sl_buf_text(&path), &e))
		die(&e);
	sl_writes_release(&writes);
	sl_buf_release(&path);
	free(value);
}

int main(int argc, char **argv)
{
	struct sl_error e = { 0 };

	if (argc == 4 && strcmp(argv[2], "--seconds") == 0)
		limit_s = strtod(argv[3], NULL);
	if ((argc != 2 && argc != 4) || !(limit_s > 0)) {
		fprintf(stderr, "usage: bench_limits FOLDER [--seconds S]\n");
		return 2;
	}
	if (!sl_folder_make(argv[1], &e))
		die(&e);
	openblas_set_num_threads(1);
	copy((size_t)256 << 20, "memcpy, 256 MiB");
	copy((size_t)16 << 10, "memcpy, 16 KiB (in cache)");
	multiply();
	append(argv[1], (size_t)8 << 20, "append 8 MiB + fdatasync");
	append(argv[1], 4 << 10, "append 4 KiB + fdatasync");
	batches(argv[1], 500, 700, "store, synced batches of 500 rows of 700 B");
	batches(argv[1], 1, 100, "store, synced batches of 1 row of 100 B");
	return 0;
}
