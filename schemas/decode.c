/* decode.c -- Avro bytes to records: bounded, following a plan (plan.h).
 *
 * The bytes are foreign. A length is compared with what is left before it is
 * used; an array's count with what its items need at least; depth has a limit
 * (a schema may refer to itself); items that take no bytes at all are never
 * looped over. Texts must be strictly valid UTF-8 without NUL, except NOTEs,
 * which only our own steps write.
 *
 * A plan is constant once built: any thread may use it. The plans of the
 * compiled in schemas are built once and live as long as the process. */
#include "../topology/base/text.h"
#include "plan.h"

#include <assert.h>
#include <pthread.h>

struct cursor {
	const uint8_t *at, *end;
	struct sl_arena *a;
	struct sl_error *e;
};

static bool too_short(const struct cursor *c, const char *what)
{
	return sl_error_set(c->e, SL_STOP, "the record ends inside %s", what);
}

static bool get_long(struct cursor *c, int64_t *value)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (c->at == c->end)
			return too_short(c, "a number");
		byte = *c->at++;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = (int64_t)(v >> 1 ^ -(v & 1));
			return true;
		}
	}
	return sl_error_set(c->e, SL_STOP, "a number takes more than 64 bits");
}

static bool get_raw(struct cursor *c, size_t size, struct sl_bytes *bytes)
{
	if (size > (size_t)(c->end - c->at))
		return sl_error_set(c->e, SL_STOP, "a value of %zu bytes where %zu are left", size,
				    (size_t)(c->end - c->at));
	*bytes = (struct sl_bytes){ c->at, size };
	c->at += size;
	return true;
}

static bool get_bytes(struct cursor *c, struct sl_bytes *bytes)
{
	int64_t size;

	if (!get_long(c, &size))
		return false;
	if (size < 0)
		return sl_error_set(c->e, SL_STOP, "a negative length (%lld)", (long long)size);
	return get_raw(c, (size_t)size, bytes);
}

static bool read_bytes(struct cursor *c, const struct sl_field *f, void *at)
{
	struct sl_bytes bytes;
	size_t bad;

	if (!get_bytes(c, &bytes))
		return false;
	if (!f)
		return true;
	if (f->kind == SL_FIELD_ID) {
		if (bytes.size == 0 || sl_id_parse(bytes, at))
			return true;
		return sl_error_set(c->e, SL_STOP, "%zu bytes, expected 32 hex digits or none", bytes.size);
	}
	if ((f->kind == SL_FIELD_STRING || f->kind == SL_FIELD_TEXT) && !sl_utf8_valid(bytes, &bad))
		return sl_error_set(c->e, SL_STOP, "invalid UTF-8 or a NUL at byte %zu of the text", bad);
	*(struct sl_bytes *)at = bytes;
	return true;
}

static bool read_long(struct cursor *c, const struct sl_field *f, void *at)
{
	int64_t value;

	if (!get_long(c, &value))
		return false;
	if (f && f->kind == SL_FIELD_DOUBLE)
		*(double *)at = (double)value;
	else if (f)
		*(int64_t *)at = value;
	return true;
}

static bool read_real(struct cursor *c, bool wide, const struct sl_field *f, void *at)
{
	struct sl_bytes raw = { 0 };

	if (!get_raw(c, wide ? 8 : 4, &raw))
		return false;
	if (f && wide) {
		uint64_t bits = sl_get_le64(raw.data);

		memcpy(at, &bits, sizeof bits);
	} else if (f) {
		uint32_t bits = sl_get_le32(raw.data);
		float narrow;

		memcpy(&narrow, &bits, sizeof narrow);
		*(double *)at = (double)narrow;
	}
	return true;
}

static bool read_bool(struct cursor *c, const struct sl_field *f, void *at)
{
	if (c->at == c->end)
		return too_short(c, "a boolean");
	if (*c->at > 1)
		return sl_error_set(c->e, SL_STOP, "a boolean of value %u, expected 0 or 1", *c->at);
	if (f)
		*(bool *)at = *c->at;
	c->at++;
	return true;
}

static bool read_node(struct cursor *c, const struct sl_node *n, void *base, int depth);

static bool read_fields(struct cursor *c, const struct sl_node *n, void *base, int depth)
{
	if (n->least == 0)
		return true; /* nulls and empty records, however deep: nothing to read */
	for (size_t i = 0; i < n->inner_count; i++) {
		const struct sl_node *inner = n->inner[i];

		if (!read_node(c, inner, base, depth + 1))
			return inner->target ? sl_error_in(c->e, "field '%s'", inner->target->name) : false;
	}
	return true;
}

/* The header of the next block: its count, 0 at the end. A block with a negative
 * count also tells its size in bytes, which is only checked. */
static bool block(struct cursor *c, const struct sl_node *n, size_t *count)
{
	int64_t items, bytes;

	if (!get_long(c, &items))
		return false;
	if (items < 0) {
		if (items == INT64_MIN)
			return sl_error_set(c->e, SL_STOP, "a block of %lld items", (long long)items);
		items = -items;
		if (!get_long(c, &bytes))
			return false;
		if (bytes < 0 || bytes > c->end - c->at)
			return sl_error_set(c->e, SL_STOP, "a block of %lld bytes where %zu are left", (long long)bytes,
					    (size_t)(c->end - c->at));
	}
	if (n->entry > 0 && (uint64_t)items > (uint64_t)(c->end - c->at) / n->entry)
		return sl_error_set(c->e, SL_STOP, "%lld items of at least %zu bytes where %zu are left",
				    (long long)items, n->entry, (size_t)(c->end - c->at));
	*count = (size_t)items;
	return true;
}

static bool skip_entries(struct cursor *c, const struct sl_node *n, int depth)
{
	struct sl_bytes key;
	size_t count;

	do {
		if (!block(c, n, &count))
			return false;
		for (size_t i = 0; n->entry > 0 && i < count; i++)
			if ((n->wire == SL_WIRE_MAP && !get_bytes(c, &key)) ||
			    !read_node(c, n->inner[0], NULL, depth + 1))
				return false;
	} while (count > 0);
	return true;
}

static bool read_array(struct cursor *c, const struct sl_node *n, char *base, int depth)
{
	const struct sl_record_type *r = n->target->record;
	size_t count, used = 0, room = 0;
	char *items = NULL;

	for (;;) {
		if (!block(c, n, &count))
			return false;
		if (count == 0)
			break;
		if (used + count > room) {
			char *old = items;

			room = room ? (used + count) * 2 : count;
			items = sl_arena_alloc(c->a, room * r->size);
			if (used)
				memcpy(items, old, used * r->size);
		}
		for (size_t i = 0; i < count; i++, used++) {
			sl_record_init(r, items + used * r->size);
			if (!read_fields(c, n->inner[0], items + used * r->size, depth + 1))
				return sl_error_in(c->e, "item %zu", used);
		}
	}
	*(char **)(void *)(base + n->target->offset) = items;
	*(size_t *)(void *)(base + n->target->other) = used;
	return true;
}

static bool read_record(struct cursor *c, const struct sl_node *n, char *base, int depth)
{
	if (!n->target)
		return read_fields(c, n, base, depth);
	if (n->target->other != SL_NO_FLAG)
		*(bool *)(base + n->target->other) = true;
	return read_fields(c, n, base + n->target->offset, depth);
}

static bool read_union(struct cursor *c, const struct sl_node *n, char *base, int depth)
{
	int64_t branch;

	if (!get_long(c, &branch))
		return false;
	if (branch < 0 || (uint64_t)branch >= n->inner_count)
		return sl_error_set(c->e, SL_STOP, "branch %lld of a union of %zu", (long long)branch, n->inner_count);
	return read_node(c, n->inner[branch], base, depth + 1);
}

/* One value into the struct at `base` (the whole struct: a target knows its
 * offset). Without targets below, base is not used. */
static bool read_node(struct cursor *c, const struct sl_node *n, void *base, int depth)
{
	const struct sl_field *f = n->target;
	void *at = f ? (char *)base + f->offset : NULL;
	struct sl_bytes raw = { 0 };

	if (depth > SL_PLAN_DEPTH_MAX)
		return sl_error_set(c->e, SL_STOP, "the record is nested too deeply: at most %d levels",
				    SL_PLAN_DEPTH_MAX);
	switch (n->wire) {
	case SL_WIRE_NOTHING:
		return true;
	case SL_WIRE_BOOLEAN:
		return read_bool(c, f, at);
	case SL_WIRE_LONG:
		return read_long(c, f, at);
	case SL_WIRE_FLOAT:
	case SL_WIRE_DOUBLE:
		return read_real(c, n->wire == SL_WIRE_DOUBLE, f, at);
	case SL_WIRE_BYTES:
		return read_bytes(c, f, at);
	case SL_WIRE_FIXED:
		return get_raw(c, n->fixed_size, &raw);
	case SL_WIRE_RECORD:
		return read_record(c, n, base, depth);
	case SL_WIRE_ARRAY:
		return f ? read_array(c, n, base, depth) : skip_entries(c, n, depth);
	case SL_WIRE_MAP:
		return skip_entries(c, n, depth);
	case SL_WIRE_UNION:
		return read_union(c, n, base, depth);
	case SL_WIRE_MISMATCH:
		return sl_error_set(c->e, SL_STOP, "a value of type '%s', expected %s", n->type, sl_field_expects(f));
	}
	return false;
}

/* Decoders */

static bool decode(const struct sl_decoder *d, struct sl_bytes body, struct sl_arena *a, void *base, struct sl_error *e)
{
	struct cursor c = { body.data, (const uint8_t *)body.data + body.size, a, e };

	sl_record_init(d->record, base);
	if (!read_node(&c, d->root, base, 0))
		return false;
	if (c.at != c.end)
		return sl_error_set(e, SL_STOP, "%zu bytes follow the record", (size_t)(c.end - c.at));
	return true;
}

struct sl_decoder *sl_decoder_new(const char *writer_schema_json, struct sl_error *e)
{
	return sl_plan_new(writer_schema_json, e);
}

bool sl_decoder_pair(const struct sl_decoder *d, struct sl_bytes body, struct sl_arena *a, struct sl_pair *p,
		     struct sl_error *e)
{
	if (d->record != &sl_record_pair)
		return sl_error_set(e, SL_STOP, "a record '%s', expected a pair", d->record->name);
	return decode(d, body, a, p, e);
}

bool sl_decoder_object(const struct sl_decoder *d, struct sl_bytes body, struct sl_arena *a, struct sl_buf *to,
		       struct sl_error *e)
{
	struct sl_model_record m;
	struct sl_pair p;

	if (d->record == &sl_record_pair) {
		if (!decode(d, body, a, &p, e))
			return false;
		sl_pair_encode(&p, to);
	} else {
		if (!decode(d, body, a, &m, e))
			return false;
		sl_model_encode(&m, to);
	}
	return true;
}

/* Single-object records: the schemas that are compiled in, found by fingerprint.
 * Today's come first; usually they are the last released ones as well. */
static struct release {
	const char *json;
	uint64_t fingerprint;
	struct sl_decoder *decoder;
} * releases;
static size_t release_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void compile_release(const char *json)
{
	struct release *r = &releases[release_count++];
	struct sl_error e;
	bool ok = sl_avro_fingerprint(json, &r->fingerprint, &e);

	r->json = json;
	r->decoder = ok ? sl_plan_new(json, &e) : NULL;
	assert(r->decoder);
}

static void compile_releases(void)
{
	size_t released = 0;

	while (sl_released_schemas[released])
		released++;
	releases = sl_calloc(released + 2, sizeof *releases);
	compile_release(sl_pair_schema_json);
	compile_release(sl_model_schema_json);
	for (size_t i = 0; i < released; i++)
		compile_release(sl_released_schemas[i]);
}

static bool is_object(struct sl_bytes object)
{
	const uint8_t *at = object.data;

	return object.size >= 10 && at[0] == 0xc3 && at[1] == 0x01;
}

static uint64_t fingerprint_of(struct sl_bytes object)
{
	return sl_get_le64((const uint8_t *)object.data + 2);
}

static const struct release *release_of(struct sl_bytes object, const struct sl_record_type *record)
{
	pthread_once(&once, compile_releases);
	for (size_t i = 0; i < release_count; i++)
		if (releases[i].fingerprint == fingerprint_of(object) &&
		    (!record || releases[i].decoder->record == record))
			return &releases[i];
	return NULL;
}

const char *sl_object_schema(struct sl_bytes object)
{
	const struct release *r = is_object(object) ? release_of(object, NULL) : NULL;

	return r ? r->json : NULL;
}

static bool decode_object(struct sl_bytes object, const struct sl_record_type *record, struct sl_arena *a, void *base,
			  struct sl_error *e)
{
	const struct release *r;

	if (!is_object(object))
		return sl_error_set(e, SL_STOP,
				    "not an Avro single-object record: %zu bytes, expected C3 01 and a "
				    "fingerprint of 8 bytes first",
				    object.size);
	r = release_of(object, record);
	if (r)
		return decode(r->decoder, (struct sl_bytes){ (const uint8_t *)object.data + 10, object.size - 10 }, a,
			      base, e);
	return sl_error_set(e, SL_STOP,
			    "no schema of '%s' with fingerprint %016llx is known: it was written by a newer "
			    "release or for another topic",
			    record->name, (unsigned long long)fingerprint_of(object));
}

bool sl_pair_decode(struct sl_bytes record, struct sl_arena *a, struct sl_pair *p, struct sl_error *e)
{
	return decode_object(record, &sl_record_pair, a, p, e);
}

bool sl_model_decode(struct sl_bytes record, struct sl_arena *a, struct sl_model_record *m, struct sl_error *e)
{
	return decode_object(record, &sl_record_model, a, m, e);
}
