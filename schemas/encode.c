/* encode.c -- records to Avro bytes, driven by the tables of fields.c.
 *
 * Avro C's own encoder wants a tree of values; walking our structs by table is
 * shorter and a test proves that Avro C reads the result. Arrays are written as
 * one block, nothing depends on pointers or on the clock: equal records give
 * equal bytes. Pure functions, any thread. */
#include "fields.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>

static void put_long(struct sl_buf *to, int64_t value)
{
	uint64_t v = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
	uint8_t *at = sl_buf_reserve(to, 10);
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		at[n++] = (uint8_t)(v | 0x80);
	at[n++] = (uint8_t)v;
	to->size += n;
}

static void put_bytes(struct sl_buf *to, struct sl_bytes bytes)
{
	put_long(to, (int64_t)bytes.size);
	sl_buf_add_bytes(to, bytes);
}

static void put_double(struct sl_buf *to, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	sl_put_le64(sl_buf_reserve(to, sizeof bits), bits);
	to->size += sizeof bits;
}

static void put_id(struct sl_buf *to, struct sl_id id)
{
	char hex[SL_ID_HEX_SIZE];

	if (sl_id_none(id))
		put_long(to, 0);
	else
		put_bytes(to, (struct sl_bytes){ sl_id_hex(id, hex), SL_ID_HEX_SIZE - 1 });
}

/* The branch of a ["null", X] union; true when X follows. */
static bool put_branch(struct sl_buf *to, bool present)
{
	sl_buf_add_byte(to, present ? 2 : 0);
	return present;
}

static void put_record(struct sl_buf *to, const struct sl_record_type *r, const void *base);

static void put_field(struct sl_buf *to, const struct sl_field *f, const char *base)
{
	const void *at = base + f->offset;
	size_t count;
	bool present;

	switch (f->kind) {
	case SL_FIELD_ID:
		put_id(to, *(const struct sl_id *)at);
		return;
	case SL_FIELD_STRING:
		put_bytes(to, *(const struct sl_bytes *)at);
		return;
	case SL_FIELD_TEXT:
	case SL_FIELD_NOTE:
	case SL_FIELD_BYTES:
		if (put_branch(to, ((const struct sl_bytes *)at)->data))
			put_bytes(to, *(const struct sl_bytes *)at);
		return;
	case SL_FIELD_LONG:
		put_long(to, *(const int64_t *)at);
		return;
	case SL_FIELD_DOUBLE:
		if (put_branch(to, !isnan(*(const double *)at)))
			put_double(to, *(const double *)at);
		return;
	case SL_FIELD_BOOL:
		sl_buf_add_byte(to, *(const bool *)at);
		return;
	case SL_FIELD_SECTION:
		present = f->other == SL_NO_FLAG ? !sl_record_absent(f->record, at) : *(const bool *)(base + f->other);
		if (put_branch(to, present))
			put_record(to, f->record, at);
		return;
	case SL_FIELD_ARRAY:
		count = *(const size_t *)(base + f->other);
		if (count > 0)
			put_long(to, (int64_t)count);
		for (size_t i = 0; i < count; i++)
			put_record(to, f->record, *(char *const *)at + i * f->record->size);
		put_long(to, 0);
		return;
	}
	assert(!"an unknown kind of field");
}

static void put_record(struct sl_buf *to, const struct sl_record_type *r, const void *base)
{
	for (size_t i = 0; i < r->field_count; i++)
		put_field(to, &r->fields[i], base);
}

/* Single-object encoding: C3 01, fingerprint, body. */
static uint64_t pair_fingerprint, model_fingerprint;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fingerprint_all(void)
{
	struct sl_error e;
	bool ok = sl_avro_fingerprint(sl_pair_schema_json, &pair_fingerprint, &e) &&
		  sl_avro_fingerprint(sl_model_schema_json, &model_fingerprint, &e);

	assert(ok);
}

static void put_header(struct sl_buf *to, const uint64_t *fingerprint)
{
	pthread_once(&once, fingerprint_all);

	uint8_t *at = sl_buf_reserve(to, 10);
	at[0] = 0xc3;
	at[1] = 0x01;
	sl_put_le64(at + 2, *fingerprint);
	to->size += 10;
}

void sl_pair_encode(const struct sl_pair *p, struct sl_buf *to)
{
	put_header(to, &pair_fingerprint);
	put_record(to, &sl_record_pair, p);
}

void sl_model_encode(const struct sl_model_record *m, struct sl_buf *to)
{
	put_header(to, &model_fingerprint);
	put_record(to, &sl_record_model, m);
}
