/* container.c -- an Avro object container file of pairs, written by Avro C from
 * bytes that our encoder made. Blocks are deflated. One owner, one thread. */
#include "fields.h"

#include <avro.h>
#include <stdlib.h>

/* Avro C buffers one block and refuses a record that does not fit into it, so a
 * block must hold the largest record there may be (900 KiB). */
enum { BLOCK_BYTES = 1 << 20, HEADER_BYTES = 10 };

struct sl_container {
	avro_file_writer_t file;
	avro_schema_t schema;
	struct sl_buf record;
	char *path;
};

static void container_free(struct sl_container *c)
{
	if (c->schema)
		avro_schema_decref(c->schema);
	sl_buf_release(&c->record);
	free(c->path);
	free(c);
}

struct sl_container *sl_container_new(const char *path, struct sl_error *e)
{
	struct sl_container *c = sl_calloc(1, sizeof *c);

	c->path = sl_strdup(path);
	if (avro_schema_from_json_length(sl_pair_schema_json, strlen(sl_pair_schema_json), &c->schema)) {
		c->schema = NULL;
		sl_error_set(e, SL_STOP, "the schema of a pair cannot be parsed: %.300s", avro_strerror());
	} else if (avro_file_writer_create_with_codec(path, c->schema, &c->file, "deflate", BLOCK_BYTES)) {
		sl_error_set(e, SL_STOP, "cannot create the Avro file '%s': %.300s", path, avro_strerror());
	} else {
		return c;
	}
	container_free(c);
	return NULL;
}

bool sl_container_add(struct sl_container *c, const struct sl_pair *p, struct sl_error *e)
{
	sl_buf_clear(&c->record);
	sl_pair_encode(p, &c->record);
	if (avro_file_writer_append_encoded(c->file, c->record.data + HEADER_BYTES,
					    (int64_t)(c->record.size - HEADER_BYTES)))
		return sl_error_set(e, SL_STOP, "cannot add a record of %zu bytes to '%s' (at most %d): %.200s",
				    c->record.size, c->path, BLOCK_BYTES, avro_strerror());
	return true;
}

bool sl_container_close(struct sl_container *c, struct sl_error *e)
{
	bool ok = avro_file_writer_close(c->file) == 0;

	if (!ok)
		sl_error_set(e, SL_STOP, "cannot finish the Avro file '%s': %.300s", c->path, avro_strerror());
	container_free(c);
	return ok;
}
