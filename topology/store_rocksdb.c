/* store_rocksdb.c -- the store interface on RocksDB, the only file that knows it.
 *
 * One database, two column families with one write-ahead log, so that a batch is atomic across
 * everything the runtime keeps: operators' stores ('s', 'd'), and all else. Apart,
 * because dedupe's rows come in the order of their keys: a file of them overlaps no other and is
 * never rewritten. With offsets and counts in the same files every one overlaps all others, and
 * compaction was seen to take 35 us of CPU a pair. The log is RocksDB's own; `durable` maps to its sync. The
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
/* With two families the log is kept until both have flushed: the small one is made to in time. */
#define WAL_BYTES_MAX (96u << 20)

enum { REST, STATE, FAMILIES };

/* RocksDB keeps a text file LOG, and with its assertions on (Debian builds it so) it ends the process at the second
 * line that does not fit on a full disk. It cannot be told not to, but to write it elsewhere: into a folder in
 * memory that is gone right after opening, and next to nothing. */
#define LOGS_FOLDER "/dev/shm/sluice-XXXXXX"

struct rocks {
	struct sl_store base;
	rocksdb_t *db;
	rocksdb_column_family_handle_t *families[FAMILIES];
	rocksdb_options_t *options;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write_synced, *write_plain;
	char *folder;
};

struct scan {
	struct sl_store_scan base;
	rocksdb_iterator_t *its[FAMILIES]; /* one, but for a scan over everything */
	size_t it_count;
	rocksdb_iterator_t *at;
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

static int family_of(struct sl_bytes key)
{
	uint8_t kind = key.size ? *(const uint8_t *)key.data : 0;

	return kind == 's' || kind == 'd' ? STATE : REST;
}

static bool get(struct sl_store *store, struct sl_bytes key, struct sl_buf *value, bool *found, struct sl_error *e)
{
	struct rocks *r = (struct rocks *)store;
	char *err = NULL;
	rocksdb_pinnableslice_t *slice =
		rocksdb_get_pinned_cf(r->db, r->read, r->families[family_of(key)], key.data, key.size, &err);
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
	for (int i = 0; i < FAMILIES; i++)
		if (prefix.size == 0 || family_of(prefix) == i)
			s->its[s->it_count++] = rocksdb_create_iterator_cf(r->db, s->read, r->families[i]);
	return &s->base;
}

/* The iterator with the least key; NULL: all are at their end. */
static rocksdb_iterator_t *least(const struct scan *s)
{
	rocksdb_iterator_t *found = NULL;
	struct sl_bytes first, key;

	for (size_t i = 0; i < s->it_count; i++) {
		if (!rocksdb_iter_valid(s->its[i]))
			continue;
		key.data = rocksdb_iter_key(s->its[i], &key.size);
		if (!found || sl_bytes_compare(key, first) < 0) {
			found = s->its[i];
			first = key;
		}
	}
	return found;
}

static bool next(struct sl_store_scan *base, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	struct scan *s = (struct scan *)base;
	char *err = NULL;

	for (size_t i = 0; !s->begun && i < s->it_count; i++)
		rocksdb_iter_seek(s->its[i], (const char *)s->prefix.data, s->prefix.size);
	if (s->at)
		rocksdb_iter_next(s->at);
	s->begun = true;
	for (size_t i = 0; i < s->it_count; i++) {
		rocksdb_iter_get_error(s->its[i], &err);
		if (err)
			return failed(&err, s->folder, "scan", e);
	}
	s->at = least(s);
	if (!s->at)
		return false;
	key->data = rocksdb_iter_key(s->at, &key->size);
	value->data = rocksdb_iter_value(s->at, &value->size);
	return true;
}

static void end(struct sl_store_scan *base)
{
	struct scan *s = (struct scan *)base;

	for (size_t i = 0; i < s->it_count; i++)
		rocksdb_iter_destroy(s->its[i]);
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
			rocksdb_column_family_handle_t *family = r->families[family_of(key)];

			if (value.data)
				rocksdb_writebatch_put_cf(batch, family, key.data, key.size, value.data, value.size);
			else
				rocksdb_writebatch_delete_cf(batch, family, key.data, key.size);
		}
	}
	rocksdb_write(r->db, durable ? r->write_synced : r->write_plain, batch, &err);
	rocksdb_writebatch_destroy(batch);
	return err ? failed(&err, r->folder, "write", e) : true;
}

static void free_store(struct sl_store *store)
{
	struct rocks *r = (struct rocks *)store;

	for (int i = 0; r->db && i < FAMILIES; i++)
		rocksdb_column_family_handle_destroy(r->families[i]);
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
	const char *const names[FAMILIES] = { "default", "state" };
	const rocksdb_options_t *options[FAMILIES];
	char *err = NULL, logs[] = LOGS_FOLDER;
	struct sl_error ignored;

	r->base.ops = &ops;
	r->folder = sl_strdup(folder);
	r->cache = rocksdb_cache_create_lru(64u << 20);
	r->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_set_create_missing_column_families(r->options, 1);
	rocksdb_options_set_max_total_wal_size(r->options, WAL_BYTES_MAX);
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
	for (int i = 0; i < FAMILIES; i++)
		options[i] = r->options;
	r->db = rocksdb_open_column_families(r->options, folder, FAMILIES, names, options, r->families, &err);
	if (!sl_folder_remove(logs, &ignored))
		sl_log(SL_LOG_WARN, NULL, "cannot remove '%s': %s", logs, ignored.text);
	if (!r->db) {
		failed(&err, folder, "open", e);
		free_store(&r->base);
		return NULL;
	}
	return &r->base;
}
