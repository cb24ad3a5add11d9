/* file.c -- whole files, either done or an error. Replacing writes PATH.new and
 * renames it, so a crash leaves the old file and at most a PATH.new that the
 * next replacement overwrites. One writer per path; otherwise any thread. */
#include "file.h"

#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

static ssize_t read_some(int fd, void *to, size_t size)
{
	ssize_t n;

	do
		n = read(fd, to, size);
	while (n < 0 && errno == EINTR);
	return n;
}

bool sl_file_read(const char *path, size_t max_bytes, struct sl_buf *to, struct sl_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = false;
	ssize_t n = 0;

	sl_buf_clear(to);
	if (fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot open '%s'", path);
	while (to->size <= max_bytes && (n = read_some(fd, sl_buf_reserve(to, CHUNK), CHUNK)) > 0)
		to->size += (size_t)n;
	if (n < 0)
		sl_error_errno(e, SL_STOP, "cannot read '%s'", path);
	else if (to->size > max_bytes)
		sl_error_set(e, SL_STOP, "'%s' is too large: at most %zu bytes are read", path, max_bytes);
	else
		ok = true;
	close(fd);
	return ok;
}

bool sl_write_all(int fd, const void *data, size_t size, struct sl_error *e)
{
	const uint8_t *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sl_error_errno(e, SL_STOP, "cannot write %zu bytes", size);
		at += n;
		size -= (size_t)n;
	}
	return true;
}

/* The folder that holds a path: "a/b" gives "a", "b" gives ".". */
static bool parent_of(const char *path, char parent[PATH_MAX], struct sl_error *e)
{
	const char *slash = strrchr(path, '/');
	int size = !slash ? snprintf(parent, PATH_MAX, ".")
			  : snprintf(parent, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);

	if (size < 0 || size >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path '%.80s...' is too long: at most %d bytes", path, PATH_MAX);
	return true;
}

bool sl_file_replace(const char *path, struct sl_bytes data, struct sl_error *e)
{
	char beside[PATH_MAX], parent[PATH_MAX];
	int fd, size = snprintf(beside, sizeof beside, "%s.new", path);

	if (size < 0 || size >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path '%.80s...' is too long: at most %d bytes", path, PATH_MAX);
	if (!parent_of(path, parent, e))
		return false;
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot create '%s'", beside);
	if (!sl_write_all(fd, data.data, data.size, e)) {
		sl_error_in(e, "'%s'", beside);
		goto fail;
	}
	if (fdatasync(fd)) {
		sl_error_errno(e, SL_STOP, "cannot sync '%s'", beside);
		goto fail;
	}
	if (close(fd)) {
		fd = -1;
		sl_error_errno(e, SL_STOP, "cannot close '%s'", beside);
		goto fail;
	}
	fd = -1;
	if (rename(beside, path)) {
		sl_error_errno(e, SL_STOP, "cannot rename '%s' to '%s'", beside, path);
		goto fail;
	}
	return sl_folder_sync(parent, e);
fail:
	if (fd >= 0)
		close(fd);
	unlink(beside);
	return false;
}

bool sl_file_is_plain(const char *path)
{
	struct stat st;

	return lstat(path, &st) != 0 || S_ISREG(st.st_mode);
}

bool sl_file_write(const char *path, struct sl_bytes data, struct sl_error *e)
{
	bool done;
	int fd;

	if (sl_file_is_plain(path))
		return sl_file_replace(path, data, e);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot write '%s'", path);
	done = sl_write_all(fd, data.data, data.size, e);
	if (!done)
		sl_error_in(e, "'%s'", path);
	if (close(fd) && done)
		done = sl_error_errno(e, SL_STOP, "cannot close '%s'", path);
	return done;
}

static bool make_one(const char *path, struct sl_error *e)
{
	struct stat st;

	if (mkdir(path, 0777) == 0)
		return true;
	if (errno == EEXIST && stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return true;
		errno = ENOTDIR;
	}
	return sl_error_errno(e, SL_STOP, "cannot make the folder '%s'", path);
}

bool sl_folder_make(const char *path, struct sl_error *e)
{
	char part[PATH_MAX];
	int size = snprintf(part, sizeof part, "%s", path);

	if (size < 0 || size >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path '%.80s...' is too long: at most %d bytes", path, PATH_MAX);
	for (char *at = part + 1; size > 0 && *at; at++) {
		if (*at != '/' || at[-1] == '/')
			continue;
		*at = 0;
		if (!make_one(part, e))
			return false;
		*at = '/';
	}
	return make_one(part, e);
}

bool sl_folder_sync(const char *path, struct sl_error *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot open the folder '%s'", path);
	if (fsync(fd)) {
		sl_error_errno(e, SL_STOP, "cannot sync the folder '%s'", path);
		close(fd);
		return false;
	}
	close(fd);
	return true;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

bool sl_folder_remove(const char *path, struct sl_error *e)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT)
		return sl_error_errno(e, SL_STOP, "cannot remove the folder '%s'", path);
	return true;
}

bool sl_file_sha256(const char *path, char hex[65], uint64_t *size_bytes, struct sl_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct sl_sha256 *sha;
	uint8_t *chunk;
	ssize_t n;

	if (fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot open '%s'", path);
	sha = sl_sha256_new();
	chunk = sl_malloc(CHUNK);
	*size_bytes = 0;
	while ((n = read_some(fd, chunk, CHUNK)) > 0) {
		sl_sha256_add(sha, chunk, (size_t)n);
		*size_bytes += (uint64_t)n;
	}
	if (n < 0)
		sl_error_errno(e, SL_STOP, "cannot read '%s'", path);
	sl_sha256_end(sha, hex);
	free(chunk);
	close(fd);
	return n == 0;
}
