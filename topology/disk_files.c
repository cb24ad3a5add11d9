/* disk_files.c -- the disk interface on real files below one folder.
 *
 * A new file is only there after a crash if its folder was synced, so open() syncs
 * the folder of a file that it made. Writes go to explicit positions (pwrite);
 * there is no shared file offset, so readers need no lock. */
#include "disk.h"

#include "base/buf.h"
#include "base/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk {
	struct sl_disk base;
	char *folder;
};

struct file {
	struct sl_disk_file base;
	int fd;
	char *path; /* whole, for messages */
};

static char *join(const struct disk *d, const char *path)
{
	struct sl_buf b = { 0 };

	sl_buf_print(&b, "%s/%s", d->folder, path);
	sl_buf_text(&b);
	return (char *)b.data;
}

static struct sl_disk_file *open_file(struct sl_disk *disk, const char *path, struct sl_error *e)
{
	struct disk *d = (struct disk *)disk;
	char *whole = join(d, path);
	char *slash = strrchr(whole, '/');
	struct file *f = NULL;
	bool made = false;
	int fd = open(whole, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		*slash = 0;
		if (!sl_folder_make(whole, e))
			goto out;
		*slash = '/';
		fd = open(whole, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		made = true;
	}
	if (fd < 0) {
		sl_error_errno(e, SL_STOP, "cannot open '%s'", whole);
		goto out;
	}
	if (made) {
		bool synced;

		*slash = 0;
		synced = sl_folder_sync(whole, e);
		*slash = '/';
		if (!synced) {
			close(fd);
			goto out;
		}
	}
	f = sl_calloc(1, sizeof *f);
	f->base.ops = disk->ops;
	f->fd = fd;
	f->path = whole;
	whole = NULL;
out:
	free(whole);
	return f ? &f->base : NULL;
}

static bool write_file(struct sl_disk_file *file, uint64_t at, const void *data, size_t size, struct sl_error *e)
{
	struct file *f = (struct file *)file;
	const uint8_t *p = data;

	while (size > 0) {
		ssize_t n = pwrite(f->fd, p, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return sl_error_errno(e, SL_STOP, "cannot write %zu bytes at %llu to '%s'", size,
					      (unsigned long long)at, f->path);
		p += n;
		at += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

static bool read_file(struct sl_disk_file *file, uint64_t at, void *data, size_t size, size_t *got, struct sl_error *e)
{
	struct file *f = (struct file *)file;
	uint8_t *p = data;

	*got = 0;
	while (*got < size) {
		ssize_t n = pread(f->fd, p + *got, size - *got, (off_t)(at + *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sl_error_errno(e, SL_STOP, "cannot read '%s'", f->path);
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return true;
}

static bool sync_file(struct sl_disk_file *file, struct sl_error *e)
{
	struct file *f = (struct file *)file;

	if (fdatasync(f->fd) != 0)
		return sl_error_errno(e, SL_STOP, "cannot sync '%s'", f->path);
	return true;
}

static bool cut_file(struct sl_disk_file *file, uint64_t size, struct sl_error *e)
{
	struct file *f = (struct file *)file;

	if (ftruncate(f->fd, (off_t)size) != 0 || fdatasync(f->fd) != 0)
		return sl_error_errno(e, SL_STOP, "cannot cut '%s' to %llu bytes", f->path, (unsigned long long)size);
	return true;
}

static bool size_file(struct sl_disk_file *file, uint64_t *size, struct sl_error *e)
{
	struct file *f = (struct file *)file;
	struct stat st;

	if (fstat(f->fd, &st) != 0)
		return sl_error_errno(e, SL_STOP, "cannot stat '%s'", f->path);
	*size = (uint64_t)st.st_size;
	return true;
}

static void close_file(struct sl_disk_file *file)
{
	struct file *f = (struct file *)file;

	close(f->fd);
	free(f->path);
	free(f);
}

static bool remove_file(struct sl_disk *disk, const char *path, struct sl_error *e)
{
	char *whole = join((struct disk *)disk, path);
	bool done = unlink(whole) == 0 || errno == ENOENT;

	if (!done)
		sl_error_errno(e, SL_STOP, "cannot remove '%s'", whole);
	free(whole);
	return done;
}

static bool list_folder(struct sl_disk *disk, const char *folder, void *arg, void (*name)(void *arg, const char *name),
			struct sl_error *e)
{
	char *whole = join((struct disk *)disk, folder);
	DIR *dir = opendir(whole);
	bool done = true;

	if (dir) {
		for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
			if (entry->d_name[0] != '.')
				name(arg, entry->d_name);
		closedir(dir);
	} else if (errno != ENOENT) {
		done = sl_error_errno(e, SL_STOP, "cannot list '%s'", whole);
	}
	free(whole);
	return done;
}

static void free_disk(struct sl_disk *disk)
{
	free(((struct disk *)disk)->folder);
	free(disk);
}

static const struct sl_disk_ops ops = {
	.open = open_file,
	.write = write_file,
	.read = read_file,
	.sync = sync_file,
	.cut = cut_file,
	.size = size_file,
	.close = close_file,
	.remove = remove_file,
	.list = list_folder,
	.free = free_disk,
};

struct sl_disk *sl_disk_files(const char *folder)
{
	struct disk *d = sl_calloc(1, sizeof *d);

	d->base.ops = &ops;
	d->folder = sl_strdup(folder);
	return &d->base;
}
