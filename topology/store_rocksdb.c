/* store_rocksdb.c -- the store interface on RocksDB, the only file that knows it.
 *
 * One database, one column family: a batch is atomic across everything the runtime
 * keeps. The write-ahead log is RocksDB's own; `durable` maps to its sync. The
 * memory is bounded: one block cache, two write buffers, both small, because the
 * runtime's working set is in the operators and the page cache. */
#include "store.h"

#include "base/file.h"
#include "base/log.h"

#include <assert.h>
#include <rocksdb/c.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_FATAL_ONLY 4

/* RocksDB keeps a text file LOG, and with its assertions on (Debian builds it so) it ends the process at the second
 * line that does not fit on a full disk. It cannot be told not to, but to write it elsewhere: into a folder in
 * memory that is gone right after opening, and next to nothing. */
#define LOGS_FOLDER "/dev/shm/sluice-XXXXXX"

struct rocks {
	struct sl_store base;
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write_synced, *write_plain;
	char *folder;
};

struct scan {
	struct sl_store_scan base;
	rocksdb_iterator_t *it;
	rocksdb_readoptions_t *read;
	struct sl_buf prefix, upper;
	bool begun;
	const char *folder;
};

/* RocksDB errors are malloc'd: copy, free, reset. */
static bool failed(char **err, const char *folder, const char *what, struct sl_error *e)
{
	sl_error_set(e, SL_STOP, "cannot %s the store in '%s': %s", what, folder, *err);
	rocksdb_free(*err);
	*err = NULL;
	return false;
}

static bool get(struct sl_store *store, struct sl_bytes key, struct sl_buf *value, bool *found, struct sl_error *e)
{
	struct rocks *r = (struct rocks *)store;
	char *err = NULL;
	rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(r->db, r->read, key.data, key.size, &err);
	const char *data;
	size_t size;

	sl_buf_clear(value);
	*found = false;
	if (err)
		return failed(&err, r->folder, "read", e);
	if (!slice)
		return true;
	data = rocksdb_pinnableslice_value(slice, &size);
	sl_buf_add(value, data, size);
	*found = true;
	rocksdb_pinnableslice_destroy(slice);
	return true;
}

static struct sl_store_scan *scan(struct sl_store *store, struct sl_bytes prefix)
{
	struct rocks *r = (struct rocks *)store;
	struct scan *s = sl_calloc(1, sizeof *s);
	size_t n = prefix.size;

	s->base.ops = store->ops;
	s->folder = r->folder;
	s->read = rocksdb_readoptions_create();
	sl_buf_add_bytes(&s->prefix, prefix);
	/* The least key behind the prefix: drop trailing 0xff, add one. */
	while (n > 0 && ((const uint8_t *)prefix.data)[n - 1] == 0xff)
		n--;
	if (n > 0) {
		sl_buf_add(&s->upper, prefix.data, n);
		s->upper.data[n - 1]++;
		rocksdb_readoptions_set_iterate_upper_bound(s->read, (const char *)s->upper.data, s->upper.size);
	}
	s->it = rocksdb_create_iterator(r->db, s->read);
	return &s->base;
}

static bool next(struct sl_store_scan *base, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	struct scan *s = (struct scan *)base;
	char *err = NULL;

	if (!s->begun)
		rocksdb_iter_seek(s->it, (const char *)s->prefix.data, s->prefix.size);
	else
		rocksdb_iter_next(s->it);
	s->begun = true;
	if (!rocksdb_iter_valid(s->it)) {
		rocksdb_iter_get_error(s->it, &err);
		return err ? failed(&err, s->folder, "scan", e) : false;
	}
	key->data = rocksdb_iter_key(s->it, &key->size);
	value->data = rocksdb_iter_value(s->it, &value->size);
	return true;
}

static void end(struct sl_store_scan *base)
{
	struct scan *s = (struct scan *)base;

	rocksdb_iter_destroy(s->it);
	rocksdb_readoptions_destroy(s->read);
	sl_buf_release(&s->prefix);
	sl_buf_release(&s->upper);
	free(s);
}

static bool write_batches(struct sl_store *store, struct sl_writes *const *batches, size_t count, bool durable,
			  struct sl_error *e)
{
	struct rocks *r = (struct rocks *)store;
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	char *err = NULL;

	for (size_t i = 0; i < count; i++) {
		struct sl_bytes key, value;

		for (size_t at = 0; sl_writes_next(batches[i], &at, &key, &value);) {
			if (value.data)
				rocksdb_writebatch_put(batch, key.data, key.size, value.data, value.size);
			else
				rocksdb_writebatch_delete(batch, key.data, key.size);
		}
	}
	rocksdb_write(r->db, durable ? r->write_synced : r->write_plain, batch, &err);
	rocksdb_writebatch_destroy(batch);
	return err ? failed(&err, r->folder, "write", e) : true;
}

static void free_store(struct sl_store *store)
{
	struct rocks *r = (struct rocks *)store;

	if (r->db)
		rocksdb_close(r->db);
	rocksdb_options_destroy(r->options);
	rocksdb_cache_destroy(r->cache);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_writeoptions_destroy(r->write_synced);
	rocksdb_writeoptions_destroy(r->write_plain);
	free(r->folder);
	free(r);
}

static const struct sl_store_ops ops = {
	.get = get,
	.scan = scan,
	.next = next,
	.end = end,
	.write = write_batches,
	.free = free_store,
};

struct sl_store *sl_store_rocksdb(const char *folder, struct sl_error *e)
{
	struct rocks *r = sl_calloc(1, sizeof *r);
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	char *err = NULL, logs[] = LOGS_FOLDER;
	struct sl_error ignored;

	r->base.ops = &ops;
	r->folder = sl_strdup(folder);
	r->cache = rocksdb_cache_create_lru(64u << 20);
	r->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_set_write_buffer_size(r->options, 32u << 20);
	rocksdb_options_set_max_write_buffer_number(r->options, 3);
	rocksdb_options_set_max_background_jobs(r->options, 2);
	rocksdb_options_set_info_log_level(r->options, LOG_FATAL_ONLY);
	if (mkdtemp(logs))
		rocksdb_options_set_db_log_dir(r->options, logs);
	rocksdb_options_set_compression(r->options, rocksdb_lz4_compression);
	rocksdb_options_set_max_open_files(r->options, 256);
	rocksdb_block_based_options_set_block_cache(table, r->cache);
	rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(9.9));
	rocksdb_options_set_block_based_table_factory(r->options, table);
	rocksdb_block_based_options_destroy(table);
	r->read = rocksdb_readoptions_create();
	r->write_plain = rocksdb_writeoptions_create();
	r->write_synced = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(r->write_synced, 1);
	r->db = rocksdb_open(r->options, folder, &err);
	if (!sl_folder_remove(logs, &ignored))
		sl_log(SL_LOG_WARN, NULL, "cannot remove '%s': %s", logs, ignored.text);
	if (!r->db) {
		failed(&err, folder, "open", e);
		free_store(&r->base);
		return NULL;
	}
	return &r->base;
}
