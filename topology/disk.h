/* disk.h -- the files below the logs, as an interface, so that the simulator can
 * put a twin in place that forgets what was not synced.
 *
 * disk_files.c is the real one. Paths are relative to the data folder. A file is
 * written by one thread; any thread may read what was written before. */
#ifndef SL_DISK_H
#define SL_DISK_H

#include "base/bytes.h"
#include "base/error.h"

struct sl_disk;
struct sl_disk_file;

struct sl_disk_ops {
	/* Open for reading and writing; missing files and folders are made (durably). */
	struct sl_disk_file *(*open)(struct sl_disk *, const char *path, struct sl_error *);
	bool (*write)(struct sl_disk_file *, uint64_t at, const void *data, size_t size, struct sl_error *);
	/* Up to `size` bytes; *got is less only at the end of the file. */
	bool (*read)(struct sl_disk_file *, uint64_t at, void *data, size_t size, size_t *got, struct sl_error *);
	bool (*sync)(struct sl_disk_file *, struct sl_error *);               /* data and length */
	bool (*cut)(struct sl_disk_file *, uint64_t size, struct sl_error *); /* durable */
	bool (*size)(struct sl_disk_file *, uint64_t *size, struct sl_error *);
	void (*close)(struct sl_disk_file *);
	bool (*remove)(struct sl_disk *, const char *path, struct sl_error *);
	/* Names of the files in a folder, any order; an absent folder has none. */
	bool (*list)(struct sl_disk *, const char *folder, void *arg, void (*name)(void *arg, const char *name),
		     struct sl_error *);
	void (*free)(struct sl_disk *);
};

struct sl_disk {
	const struct sl_disk_ops *ops;
};

struct sl_disk_file {
	const struct sl_disk_ops *ops;
};

/* Real files below `folder`. */
struct sl_disk *sl_disk_files(const char *folder);

#endif
