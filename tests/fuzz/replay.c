/* replay.c -- runs a fuzz target without libFuzzer: first every file of its corpus
 * folder, then seeded mutations of them. The same inputs on every machine, so
 * that a failure can be played again; finding new inputs is libFuzzer's work.
 *
 *     fuzz_x CORPUS_FOLDER [MUTATIONS]
 *     fuzz_x FILE                         plays one file
 *
 * Each input lies in memory of its own size, so that a sanitizer sees any read
 * behind its end. */
#include "topology/base/buf.h"
#include "topology/base/file.h"
#include "topology/base/hash.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILES_MAX = 1024, FILE_BYTES_MAX = 1 << 20, MUTATIONS = 3000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 1;

static size_t below(size_t n)
{
	seed += 0x9e3779b97f4a7c15u;
	return n ? sl_mix64(seed) % n : 0;
}

static void play(struct sl_bytes input)
{
	uint8_t *copy = sl_malloc(input.size);

	if (input.size)
		memcpy(copy, input.data, input.size);
	LLVMFuzzerTestOneInput(copy, input.size);
	free(copy);
}

/* Bytes that parsers take for lengths, ends, quotes and escapes. */
static uint8_t odd_byte(void)
{
	static const uint8_t odd[] = { 0,   1,   2,   0x7f, 0x80, 0xfe, 0xff, '"', '\\',
				       '{', '}', '[', ']',  ',',  ':',  '\n', ' ' };

	return below(2) ? odd[below(sizeof odd)] : (uint8_t)below(256);
}

/* One edit: change, insert, delete, repeat or cut. */
static void mutate(struct sl_buf *b)
{
	size_t at = below(b->size + 1), size = 1 + below(below(4) ? 4 : 64);

	if (size > b->size - at)
		size = b->size - at;
	switch (below(6)) {
	case 0:
	case 1:
		if (at < b->size)
			b->data[at] = odd_byte();
		break;
	case 2:
		sl_buf_reserve(b, 1);
		memmove(b->data + at + 1, b->data + at, b->size - at);
		b->data[at] = odd_byte();
		b->size++;
		break;
	case 3:
		memmove(b->data + at, b->data + at + size, b->size - at - size);
		b->size -= size;
		break;
	case 4:
		sl_buf_reserve(b, size);
		memmove(b->data + at + size, b->data + at, b->size - at);
		b->size += size;
		break;
	case 5:
		if (below(4) == 0)
			b->size = at;
		break;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The files of a folder in the order of their names. */
static size_t list(const char *folder, char *paths[FILES_MAX])
{
	DIR *d = opendir(folder);
	size_t count = 0;

	for (struct dirent *entry; d && count < FILES_MAX && (entry = readdir(d));) {
		struct sl_buf path = { 0 };

		if (entry->d_name[0] == '.')
			continue;
		sl_buf_print(&path, "%s/%s", folder, entry->d_name);
		paths[count++] = sl_strdup(sl_buf_text(&path));
		sl_buf_release(&path);
	}
	if (d)
		closedir(d);
	qsort(paths, count, sizeof *paths, by_name);
	return count;
}

int main(int argc, char **argv)
{
	static char *paths[FILES_MAX];
	static struct sl_buf files[FILES_MAX];
	long mutations = argc > 2 ? strtol(argv[2], NULL, 10) : MUTATIONS;
	struct sl_error e;
	struct sl_buf b = { 0 };
	struct stat st;
	size_t count = 1;

	if (argc < 2 || stat(argv[1], &st)) {
		fprintf(stderr, "usage: %s FOLDER|FILE [MUTATIONS]; the corpus folder must exist\n", argv[0]);
		return 2;
	}
	if (S_ISDIR(st.st_mode)) {
		count = list(argv[1], paths);
	} else {
		paths[0] = sl_strdup(argv[1]);
		mutations = 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (!sl_file_read(paths[i], FILE_BYTES_MAX, &files[i], &e)) {
			fprintf(stderr, "%s\n", e.text);
			return 1;
		}
		play(sl_buf_bytes(&files[i]));
	}
	play((struct sl_bytes){ NULL, 0 });
	for (long i = 0; count > 0 && i < mutations; i++) {
		sl_buf_clear(&b);
		sl_buf_add_bytes(&b, sl_buf_bytes(&files[below(count)]));
		for (size_t edits = 1 + below(6); edits > 0; edits--)
			mutate(&b);
		play(sl_buf_bytes(&b));
	}
	printf("%zu files and %ld mutations played\n", count, count ? mutations : 0);
	sl_buf_release(&b);
	for (size_t i = 0; i < count; i++) {
		sl_buf_release(&files[i]);
		free(paths[i]);
	}
	return count ? 0 : 1;
}
