/* file.h -- whole-file reads and writes that are either done or an error. */
#ifndef SL_FILE_H
#define SL_FILE_H

#include "buf.h"
#include "error.h"

#include <stdio.h>

/* The whole file into `to` (cleared first); over max_bytes is an error. */
bool sl_file_read(const char *path, size_t max_bytes, struct sl_buf *to, struct sl_error *e) SL_MUST_CHECK;

/* Write beside, fdatasync, rename over, fsync the folder: readers see the old
 * bytes or the new ones, also after power loss. */
bool sl_file_replace(const char *path, struct sl_bytes data, struct sl_error *e) SL_MUST_CHECK;

/* Is there nothing at the path, or a plain file? A device, a pipe or a link is written to and never replaced: -o
 * /dev/null must not make a file of it. */
bool sl_file_is_plain(const char *path);
/* As sl_file_replace where the path is plain, else written through. */
bool sl_file_write(const char *path, struct sl_bytes data, struct sl_error *e) SL_MUST_CHECK;

/* Like mkdir -p; an existing folder is fine. */
bool sl_folder_make(const char *path, struct sl_error *e) SL_MUST_CHECK;
bool sl_folder_sync(const char *path, struct sl_error *e) SL_MUST_CHECK;
/* Remove a folder and everything below it; an absent one is fine. */
bool sl_folder_remove(const char *path, struct sl_error *e) SL_MUST_CHECK;

/* write() until all is out. */
bool sl_write_all(int fd, const void *data, size_t size, struct sl_error *e) SL_MUST_CHECK;

/* 64 hex digits of the SHA-256 of a file, and its size. */
bool sl_file_sha256(const char *path, char hex[65], uint64_t *size_bytes, struct sl_error *e) SL_MUST_CHECK;

#endif
