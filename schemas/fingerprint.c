/* fingerprint.c -- the name of a schema: CRC-64-AVRO of its Parsing Canonical
 * Form, both as in the Avro specification ("Schema Fingerprints").
 *
 * The canonical form keeps what matters to a reader (names, types, order) and
 * drops the rest (doc, default, aliases, white space), so two schemas that read
 * the same bytes the same way have one fingerprint. Pure functions. */
#include "codec.h"

#include <jansson.h>

enum { DEPTH_MAX = 64 };

static bool is_primitive(const char *type)
{
	static const char *const names[] = { "null", "boolean", "int", "long", "float", "double", "bytes", "string" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(type, names[i]) == 0)
			return true;
	return false;
}

/* Canonical strings are written as they are: names and symbols need no escapes. */
static void put_string(struct sl_buf *to, const char *s)
{
	sl_buf_add_byte(to, '"');
	sl_buf_add(to, s, strlen(s));
	sl_buf_add_byte(to, '"');
}

/* "name" in namespace "a.b" becomes "a.b.name"; a name with dots is full already. */
static const char *full_name(const char *name, const char *space, struct sl_arena *a)
{
	return strchr(name, '.') || !space || !*space ? name : sl_arena_print(a, "%s.%s", space, name);
}

/* The part of a full name before the last dot, "" without one. */
static const char *space_of(const char *full, struct sl_arena *a)
{
	const char *dot = strrchr(full, '.');

	return dot ? sl_arena_print(a, "%.*s", (int)(dot - full), full) : "";
}

struct canon {
	struct sl_buf *to;
	struct sl_arena *a;
	struct sl_error *e;
};

static bool put_schema(struct canon *c, const json_t *schema, const char *space, int depth);

static bool put_union(struct canon *c, const json_t *branches, const char *space, int depth)
{
	for (size_t i = 0; i < json_array_size(branches); i++) {
		sl_buf_add_byte(c->to, i ? ',' : '[');
		if (!put_schema(c, json_array_get(branches, i), space, depth))
			return false;
	}
	if (json_array_size(branches) == 0)
		sl_buf_add_byte(c->to, '[');
	sl_buf_add_byte(c->to, ']');
	return true;
}

static bool put_fields(struct canon *c, const json_t *fields, const char *space, int depth)
{
	if (!json_is_array(fields))
		return sl_error_set(c->e, SL_STOP, "a record of the schema has no 'fields' array");
	sl_buf_print(c->to, ",\"fields\":[");
	for (size_t i = 0; i < json_array_size(fields); i++) {
		const json_t *field = json_array_get(fields, i);
		const char *name = json_string_value(json_object_get(field, "name"));

		if (!name)
			return sl_error_set(c->e, SL_STOP, "field %zu of a record of the schema has no 'name'", i);
		sl_buf_print(c->to, "%s{\"name\":\"%s\",\"type\":", i ? "," : "", name);
		if (!put_schema(c, json_object_get(field, "type"), space, depth))
			return false;
		sl_buf_add_byte(c->to, '}');
	}
	sl_buf_add_byte(c->to, ']');
	return true;
}

static bool put_symbols(struct canon *c, const json_t *symbols)
{
	if (!json_is_array(symbols))
		return sl_error_set(c->e, SL_STOP, "an enum of the schema has no 'symbols' array");
	sl_buf_print(c->to, ",\"symbols\":[");
	for (size_t i = 0; i < json_array_size(symbols); i++) {
		const char *symbol = json_string_value(json_array_get(symbols, i));

		if (!symbol)
			return sl_error_set(c->e, SL_STOP, "symbol %zu of an enum of the schema is not a string", i);
		if (i)
			sl_buf_add_byte(c->to, ',');
		put_string(c->to, symbol);
	}
	sl_buf_add_byte(c->to, ']');
	return true;
}

/* record, enum, fixed */
static bool put_named(struct canon *c, const json_t *schema, const char *type, const char *space, int depth)
{
	const char *name = json_string_value(json_object_get(schema, "name"));
	const char *own = json_string_value(json_object_get(schema, "namespace"));
	const char *full;

	if (!name)
		return sl_error_set(c->e, SL_STOP, "a type '%.40s' of the schema has no 'name'", type);
	full = full_name(name, own ? own : space, c->a);
	sl_buf_print(c->to, "{\"name\":\"%s\",\"type\":\"%s\"", full, type);
	if (strcmp(type, "enum") == 0) {
		if (!put_symbols(c, json_object_get(schema, "symbols")))
			return false;
	} else if (strcmp(type, "fixed") == 0) {
		const json_t *size = json_object_get(schema, "size");

		if (!json_is_integer(size))
			return sl_error_set(c->e, SL_STOP, "the fixed '%.80s' of the schema has no integer 'size'",
					    full);
		sl_buf_print(c->to, ",\"size\":%lld", (long long)json_integer_value(size));
	} else if (!put_fields(c, json_object_get(schema, "fields"), space_of(full, c->a), depth)) {
		return false;
	}
	sl_buf_add_byte(c->to, '}');
	return true;
}

static bool put_schema(struct canon *c, const json_t *schema, const char *space, int depth)
{
	const json_t *inner = json_object_get(schema, "type");
	const char *type;

	if (depth >= DEPTH_MAX)
		return sl_error_set(c->e, SL_STOP, "the schema is nested too deeply: at most %d levels", DEPTH_MAX);
	if (json_is_string(schema)) {
		type = json_string_value(schema);
		put_string(c->to, is_primitive(type) ? type : full_name(type, space, c->a));
		return true;
	}
	if (json_is_array(schema))
		return put_union(c, schema, space, depth + 1);
	if (!json_is_string(inner))
		return json_is_object(inner) || json_is_array(inner)
			       ? put_schema(c, inner, space, depth + 1)
			       : sl_error_set(c->e, SL_STOP,
					      "a schema is a name, an object with a 'type', or an array");

	type = json_string_value(inner);
	if (strcmp(type, "record") == 0 || strcmp(type, "error") == 0 || strcmp(type, "enum") == 0 ||
	    strcmp(type, "fixed") == 0)
		return put_named(c, schema, type, space, depth + 1);
	if (strcmp(type, "array") == 0 || strcmp(type, "map") == 0) {
		bool array = type[0] == 'a';

		sl_buf_print(c->to, "{\"type\":\"%s\",\"%s\":", type, array ? "items" : "values");
		if (!put_schema(c, json_object_get(schema, array ? "items" : "values"), space, depth + 1))
			return false;
		sl_buf_add_byte(c->to, '}');
		return true;
	}
	return put_schema(c, inner, space, depth + 1);
}

static uint64_t crc64(struct sl_bytes bytes)
{
	const uint64_t empty = 0xc15d213aa4d7a795u;
	const uint8_t *at = bytes.data;
	uint64_t table[256], crc = empty;

	for (uint64_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? empty : 0);
	}
	for (size_t i = 0; i < bytes.size; i++)
		crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xff];
	return crc;
}

bool sl_avro_fingerprint(const char *schema_json, uint64_t *fingerprint, struct sl_error *e)
{
	json_error_t bad;
	json_t *schema = json_loads(schema_json, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &bad);
	struct sl_buf form = { 0 };
	struct sl_arena a = { 0 };
	bool ok;

	if (!schema)
		return sl_error_set(e, SL_STOP, "the schema is not JSON: line %d, column %d: %s", bad.line, bad.column,
				    bad.text);
	ok = put_schema(&(struct canon){ &form, &a, e }, schema, "", 0);
	if (ok)
		*fingerprint = crc64(sl_buf_bytes(&form));
	sl_arena_release(&a);
	sl_buf_release(&form);
	json_decref(schema);
	return ok;
}
