/* test_released.c -- records of every released schema stay readable, and readers of every release
 * read what today's writes: FULL_TRANSITIVE, as the schema registry is told. */
#include "schemas/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include <jansson.h>

enum { HEADER = 10 };

/* The definition of a named type anywhere in a schema. */
static json_t *type_named(json_t *schema, const char *name)
{
	const char *key;
	json_t *value, *found = NULL;
	size_t i;

	if (json_is_string(json_object_get(schema, "name")) && json_object_get(schema, "fields") &&
	    strcmp(json_string_value(json_object_get(schema, "name")), name) == 0)
		return schema;
	json_object_foreach(schema, key, value) if (!found) found = type_named(value, name);
	json_array_foreach(schema, i, value) if (!found) found = type_named(value, name);
	return found;
}

static json_t *field_named(json_t *record, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach(json_object_get(record, "fields"), i, field)
	{
		if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
			return field;
	}
	return NULL;
}

static void check_compatible(json_t *old_root, json_t *old, json_t *new_root, json_t *new);

/* What is on one side only has a default, so the other side can read without it. */
static void check_fields(json_t *old_root, json_t *old, json_t *new_root, json_t *new)
{
	json_t *field;
	size_t i;

	json_array_foreach(json_object_get(old, "fields"), i, field)
	{
		const char *name = json_string_value(json_object_get(field, "name"));
		json_t *other = field_named(new, name);

		if (other)
			check_compatible(old_root, json_object_get(field, "type"), new_root,
					 json_object_get(other, "type"));
		else if (!json_object_get(field, "default"))
			fail_msg("field '%s' has no default and is in one of two schemas only", name);
	}
}

/* FULL compatibility as far as our schemas go: equal types, record by record. */
static void check_compatible(json_t *old_root, json_t *old, json_t *new_root, json_t *new)
{
	if (json_is_string(old) && type_named(old_root, json_string_value(old)))
		old = type_named(old_root, json_string_value(old));
	if (json_is_string(new) && type_named(new_root, json_string_value(new)))
		new = type_named(new_root, json_string_value(new));
	assert_int_equal(json_typeof(old), json_typeof(new));
	if (json_is_array(old)) {
		assert_int_equal(json_array_size(old), json_array_size(new));
		for (size_t i = 0; i < json_array_size(old); i++)
			check_compatible(old_root, json_array_get(old, i), new_root, json_array_get(new, i));
	} else if (json_is_string(old)) {
		assert_string_equal(json_string_value(old), json_string_value(new));
	} else {
		assert_string_equal(json_string_value(json_object_get(old, "type")),
				    json_string_value(json_object_get(new, "type")));
		if (json_object_get(old, "items")) {
			check_compatible(old_root, json_object_get(old, "items"), new_root,
					 json_object_get(new, "items"));
		} else {
			assert_string_equal(json_string_value(json_object_get(old, "name")),
					    json_string_value(json_object_get(new, "name")));
			check_fields(old_root, old, new_root, new);
			check_fields(new_root, new, old_root, old);
		}
	}
}

/* The least that can be written with a schema: every union takes its last branch, every array has one item. */
static void write_least(json_t *root, json_t *type, struct sl_buf *to, int depth)
{
	const char *name = json_string_value(json_is_object(type) ? json_object_get(type, "type") : type);
	json_t *field;
	size_t i;

	assert_true(depth < 20);
	if (json_is_array(type)) {
		size_t last = json_array_size(type) - 1;

		sl_buf_add_byte(to, (uint8_t)(2 * last));
		write_least(root, json_array_get(type, last), to, depth + 1);
	} else if (strcmp(name, "record") == 0) {
		json_array_foreach(json_object_get(type, "fields"), i, field)
		{
			write_least(root, json_object_get(field, "type"), to, depth + 1);
		}
	} else if (strcmp(name, "array") == 0) {
		sl_buf_add_byte(to, 2);
		write_least(root, json_object_get(type, "items"), to, depth + 1);
		sl_buf_add_byte(to, 0);
	} else if (strcmp(name, "double") == 0) {
		sl_buf_add(to, "\0\0\0\0\0\0\xf8\x3f", 8);
	} else if (type_named(root, name)) {
		write_least(root, type_named(root, name), to, depth + 1);
	} else {
		sl_buf_add_byte(to, 0); /* string, bytes, long, boolean */
	}
}

/* What was released once stays readable, and readers of that release read what we write. */
static void test_released_schemas(void **state)
{
	/* A row per file of schemas/released/, in the order of their names. */
	static const struct {
		const char *name;
		uint64_t fingerprint;
	} released[] = {
		{ "Model", UINT64_C(0xd295eec12684813c) }, /* model-1.avsc */
		{ "Pair", UINT64_C(0x04d933d50976ae9c) },  /* pair-1.avsc */
	};
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	size_t count = 0;

	(void)state;
	for (; sl_released_schemas[count]; count++) {
		const char *text = sl_released_schemas[count];
		json_t *old = json_loads(text, 0, NULL), *new;
		struct sl_buf object = { 0 }, again = { 0 };
		struct sl_decoder *d;
		struct sl_model_record m;
		struct sl_pair p;
		uint64_t fingerprint;
		bool pair;

		assert_true(count < sizeof released / sizeof *released);
		assert_non_null(old);
		assert_string_equal(json_string_value(json_object_get(old, "name")), released[count].name);
		pair = strcmp(released[count].name, "Pair") == 0;
		new = json_loads(pair ? sl_pair_schema_json : sl_model_schema_json, 0, NULL);
		check_compatible(old, old, new, new);

		assert_true(sl_avro_fingerprint(text, &fingerprint, &e));
		if (fingerprint != released[count].fingerprint)
			fail_msg("a released schema of '%s' was changed: its fingerprint is %016llx",
				 released[count].name, (unsigned long long)fingerprint);
		sl_buf_add(&object, "\xc3\x01", 2);
		for (int i = 0; i < 8; i++)
			sl_buf_add_byte(&object, (uint8_t)(fingerprint >> (8 * i)));
		assert_non_null(sl_object_schema(sl_buf_bytes(&object)));
		write_least(old, old, &object, 0);
		if (!(pair ? sl_pair_decode(sl_buf_bytes(&object), &a, &p, &e)
			   : sl_model_decode(sl_buf_bytes(&object), &a, &m, &e)))
			fail_msg("'%s': %s", released[count].name, e.text);

		/* Its own decoder gives the same record, written with the schema of today. */
		d = sl_decoder_new(text, &e);
		assert_non_null(d);
		assert_true(sl_decoder_object(d, (struct sl_bytes){ object.data + HEADER, object.size - HEADER }, &a,
					      &again, &e));
		assert_true(pair ? sl_pair_decode(sl_buf_bytes(&again), &a, &p, &e)
				 : sl_model_decode(sl_buf_bytes(&again), &a, &m, &e));
		if (!pair) {
			assert_false(sl_decoder_pair(d, sl_buf_bytes(&object), &a, &p, &e));
			assert_non_null(strstr(e.text, "expected a pair"));
		}
		sl_decoder_free(d);
		sl_buf_release(&object);
		sl_buf_release(&again);
		json_decref(old);
		json_decref(new);
	}
	assert_int_equal(count, sizeof released / sizeof *released);
	assert_null(sl_object_schema(sl_text("\xc3\x01"
					     "12345678")));
	assert_null(sl_object_schema(sl_text("\xc3\x01")));
	assert_null(sl_object_schema(sl_text(NULL)));
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_released_schemas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
