/* test_codec.c -- the codec against its schemas, against Avro C, against older and
 * newer writers, and against hostile bytes.
 *
 * Records are filled at random through the tables of fields.c, so that every field
 * is absent, empty and set in some of them, and a new field is covered at once. */
#include "schemas/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <avro.h>
#include <jansson.h>
#include <math.h>

enum { HEADER = 10 };

static uint64_t seed;

static uint64_t below(uint64_t n)
{
	seed += 0x9e3779b97f4a7c15u;
	return sl_mix64(seed) % n;
}

/* Filling and comparing structs by table */

static struct sl_bytes random_text(struct sl_arena *a, bool may_be_absent)
{
	static const char *const texts[] = { "a", "two words", "caf\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87", "{\"k\":1}",
					     "" };
	size_t i = below(7);

	if (i == 5 && may_be_absent)
		return sl_text(NULL);
	if (i >= 5) {
		size_t size = below(3000);
		char *text = sl_arena_alloc(a, size);

		memset(text, 'x', size);
		return (struct sl_bytes){ text, size };
	}
	return sl_text(texts[i]);
}

static void fill(const struct sl_record_type *r, void *base, struct sl_arena *a)
{
	static const int64_t longs[] = { 0, -1, 1, 63, 64, -64, -65, 1700000000000, INT64_MAX, INT64_MIN };
	static const double doubles[] = { 0, -0.0, 1.5, -3.25e300, 5e-324, HUGE_VAL, -HUGE_VAL };

	sl_record_init(r, base);
	for (size_t i = 0; i < r->field_count; i++) {
		const struct sl_field *f = &r->fields[i];
		char *at = (char *)base + f->offset;
		size_t count = below(4);

		if (f->kind == SL_FIELD_ID) {
			for (size_t j = 0; j < 16 && count > 0; j++)
				((struct sl_id *)(void *)at)->b[j] = (uint8_t)below(256);
		} else if (f->kind == SL_FIELD_LONG) {
			*(int64_t *)(void *)at = longs[below(10)];
		} else if (f->kind == SL_FIELD_DOUBLE) {
			*(double *)(void *)at = count ? doubles[below(7)] : (double)NAN;
		} else if (f->kind == SL_FIELD_BOOL) {
			*(bool *)at = count & 1;
		} else if (f->kind == SL_FIELD_SECTION) {
			if (count == 0)
				continue;
			fill(f->record, at, a);
			if (f->other != SL_NO_FLAG)
				*((bool *)base + f->other) = true;
		} else if (f->kind == SL_FIELD_ARRAY) {
			char *items = sl_arena_alloc(a, count * f->record->size);

			for (size_t j = 0; j < count; j++)
				fill(f->record, items + j * f->record->size, a);
			*(char **)(void *)at = items;
			*(size_t *)(void *)((char *)base + f->other) = count;
		} else {
			*(struct sl_bytes *)(void *)at = random_text(a, f->kind != SL_FIELD_STRING);
		}
	}
}

static void assert_same(const struct sl_record_type *r, const char *x, const char *y)
{
	for (size_t i = 0; i < r->field_count; i++) {
		const struct sl_field *f = &r->fields[i];
		const void *ax = x + f->offset, *ay = y + f->offset;
		bool same = true;

		if (f->kind == SL_FIELD_ID) {
			same = sl_id_equal(*(const struct sl_id *)ax, *(const struct sl_id *)ay);
		} else if (f->kind == SL_FIELD_LONG) {
			same = *(const int64_t *)ax == *(const int64_t *)ay;
		} else if (f->kind == SL_FIELD_DOUBLE) {
			same = memcmp(ax, ay, sizeof(double)) == 0 ||
			       (isnan(*(const double *)ax) && isnan(*(const double *)ay));
		} else if (f->kind == SL_FIELD_BOOL) {
			same = *(const bool *)ax == *(const bool *)ay;
		} else if (f->kind == SL_FIELD_SECTION) {
			if (f->other != SL_NO_FLAG)
				same = *(const bool *)(x + f->other) == *(const bool *)(y + f->other);
			assert_same(f->record, ax, ay);
		} else if (f->kind == SL_FIELD_ARRAY) {
			size_t count = *(const size_t *)(const void *)(x + f->other);

			same = count == *(const size_t *)(const void *)(y + f->other);
			for (size_t j = 0; same && j < count; j++)
				assert_same(f->record, *(char *const *)ax + j * f->record->size,
					    *(char *const *)ay + j * f->record->size);
		} else {
			const struct sl_bytes *bx = ax, *by = ay;

			same = sl_bytes_equal(*bx, *by) && (f->kind == SL_FIELD_STRING || !bx->data == !by->data);
		}
		if (!same)
			fail_msg("field '%s' of '%s' differs", f->name, r->name);
	}
}

/* Tables and schemas */

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

static void check_record(json_t *root, json_t *type, const struct sl_record_type *r);

static void check_type(json_t *root, json_t *type, const struct sl_field *f)
{
	static const char *const expected[] = {
		[SL_FIELD_ID] = "\"string\"",
		[SL_FIELD_STRING] = "\"string\"",
		[SL_FIELD_TEXT] = "[\"null\", \"string\"]",
		[SL_FIELD_NOTE] = "[\"null\", \"string\"]",
		[SL_FIELD_BYTES] = "[\"null\", \"bytes\"]",
		[SL_FIELD_LONG] = "\"long\"",
		[SL_FIELD_DOUBLE] = "[\"null\", \"double\"]",
		[SL_FIELD_BOOL] = "\"boolean\"",
	};

	if (f->kind == SL_FIELD_SECTION) {
		assert_int_equal(json_array_size(type), 2);
		assert_string_equal(json_string_value(json_array_get(type, 0)), "null");
		check_record(root, json_array_get(type, 1), f->record);
	} else if (f->kind == SL_FIELD_ARRAY) {
		assert_string_equal(json_string_value(json_object_get(type, "type")), "array");
		check_record(root, json_object_get(type, "items"), f->record);
	} else {
		json_t *want = json_loads(expected[f->kind], JSON_DECODE_ANY, NULL);

		if (!json_equal(type, want))
			fail_msg("field '%s': the schema's type is not %s", f->name, expected[f->kind]);
		json_decref(want);
	}
}

static void check_default(const json_t *value, const struct sl_field *f)
{
	if (f->kind == SL_FIELD_LONG)
		assert_int_equal(json_integer_value(value), f->absent);
	else if (f->kind == SL_FIELD_BOOL)
		assert_true(json_is_false(value));
	else if (f->kind == SL_FIELD_ARRAY)
		assert_true(json_is_array(value) && json_array_size(value) == 0);
	else if (f->kind == SL_FIELD_ID || f->kind == SL_FIELD_STRING)
		assert_string_equal(json_string_value(value), "");
	else
		assert_true(json_is_null(value));
}

static void check_record(json_t *root, json_t *type, const struct sl_record_type *r)
{
	json_t *fields;

	if (json_is_string(type))
		type = type_named(root, json_string_value(type));
	assert_non_null(type);
	assert_string_equal(json_string_value(json_object_get(type, "name")), r->name);
	fields = json_object_get(type, "fields");
	assert_int_equal(json_array_size(fields), r->field_count);
	for (size_t i = 0; i < r->field_count; i++) {
		json_t *field = json_array_get(fields, i);

		assert_string_equal(json_string_value(json_object_get(field, "name")), r->fields[i].name);
		assert_non_null(json_string_value(json_object_get(field, "doc")));
		check_default(json_object_get(field, "default"), &r->fields[i]);
		check_type(root, json_object_get(field, "type"), &r->fields[i]);
	}
}

static void test_tables_agree_with_schemas(void **state)
{
	json_t *pair = json_loads(sl_pair_schema_json, 0, NULL), *model = json_loads(sl_model_schema_json, 0, NULL);

	(void)state;
	check_record(pair, pair, &sl_record_pair);
	check_record(model, model, &sl_record_model);
	assert_string_equal(json_string_value(json_object_get(pair, "namespace")), "sluice");
	assert_string_equal(json_string_value(json_object_get(model, "namespace")), "sluice");
	json_decref(pair);
	json_decref(model);
}

/* Round trips */

static void test_round_trip(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf first = { 0 }, second = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	for (seed = 0; seed < 2000; seed++) {
		uint64_t was = seed;
		struct sl_pair in, out;

		fill(&sl_record_pair, &in, &a);
		sl_buf_clear(&first);
		sl_buf_clear(&second);
		sl_pair_encode(&in, &first);
		if (!sl_pair_decode(sl_buf_bytes(&first), &a, &out, &e))
			fail_msg("seed %llu: %s", (unsigned long long)was, e.text);
		assert_same(&sl_record_pair, (char *)&in, (char *)&out);
		sl_pair_encode(&out, &second);
		assert_true(sl_bytes_equal(sl_buf_bytes(&first), sl_buf_bytes(&second)));

		struct sl_model_record m, n;
		fill(&sl_record_model, &m, &a);
		sl_buf_clear(&first);
		sl_model_encode(&m, &first);
		assert_true(sl_model_decode(sl_buf_bytes(&first), &a, &n, &e));
		assert_same(&sl_record_model, (char *)&m, (char *)&n);
		assert_false(sl_pair_decode(sl_buf_bytes(&first), &a, &out, &e));
		seed = was;
		sl_arena_clear(&a);
	}
	sl_buf_release(&first);
	sl_buf_release(&second);
	sl_arena_release(&a);
}

static void test_absent_is_not_empty(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair in, out;

	(void)state;
	sl_pair_init(&in);
	assert_true(isnan(in.margin));
	assert_int_equal(in.arrival.partition, -1);
	in.source = sl_text("");
	in.gold.present = true; /* with every field absent */
	in.vectors.context = (struct sl_bytes){ "", 0 };
	sl_pair_encode(&in, &b);
	assert_true(sl_pair_decode(sl_buf_bytes(&b), &a, &out, &e));
	assert_non_null(out.source.data);
	assert_int_equal(out.source.size, 0);
	assert_null(out.domain.data);
	assert_true(out.gold.present);
	assert_null(out.gold.verdict.data);
	assert_false(out.decision.present);
	assert_non_null(out.vectors.context.data);
	assert_null(out.vectors.difference.data);
	assert_true(isnan(out.margin));
	assert_true(isnan(out.decision.p_label));
	assert_int_equal(out.arrival.offset, -1);
	sl_buf_release(&b);
	sl_arena_release(&a);
}

/* Avro C reads what we write, writes it again, and the bytes are the same: then
 * we also read what Avro C writes. */
static void test_avro_c_agrees(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf ours = { 0 };
	avro_schema_t schema;
	avro_value_iface_t *class;
	avro_value_t value;
	static char theirs[1 << 20];

	(void)state;
	assert_int_equal(avro_schema_from_json_length(sl_pair_schema_json, strlen(sl_pair_schema_json), &schema), 0);
	class = avro_generic_class_from_schema(schema);
	assert_non_null(class);
	assert_int_equal(avro_generic_value_new(class, &value), 0);
	for (seed = 0; seed < 300; seed++) {
		uint64_t was = seed;
		struct sl_pair in;

		fill(&sl_record_pair, &in, &a);
		sl_buf_clear(&ours);
		sl_pair_encode(&in, &ours);
		avro_reader_t reader =
			avro_reader_memory((const char *)ours.data + HEADER, (int64_t)ours.size - HEADER);
		avro_writer_t writer = avro_writer_memory(theirs, sizeof theirs);
		avro_value_reset(&value);
		assert_int_equal(avro_value_read(reader, &value), 0);
		assert_int_equal(avro_value_write(writer, &value), 0);
		assert_int_equal(avro_writer_tell(writer), ours.size - HEADER);
		assert_memory_equal(theirs, ours.data + HEADER, ours.size - HEADER);
		avro_writer_free(writer);
		avro_reader_free(reader);
		sl_arena_clear(&a);
		seed = was;
	}
	avro_value_decref(&value);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
	sl_buf_release(&ours);
	sl_arena_release(&a);
}

/* Other writers */

static bool decode_with(const char *schema, const void *body, size_t size, struct sl_arena *a, struct sl_pair *p,
			struct sl_error *e)
{
	struct sl_decoder *d = sl_decoder_new(schema, e);
	bool ok = d && sl_decoder_pair(d, (struct sl_bytes){ body, size }, a, p, e);

	sl_decoder_free(d);
	return ok;
}

#define WRITER(fields) "{\"type\":\"record\",\"name\":\"Pair\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define BODY(s) s, sizeof(s) - 1

/* A writer with other fields, other orders and narrower types. */
static void test_evolution(void **state)
{
	static const char writer[] = WRITER(
		FIELD("new_map",
		      "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"int\"}"
		      "}") "," FIELD("margin",
				     "\"float\"") "," FIELD("kind",
							    "{\"type\":"
							    "\"enum\","
							    "\"name\":"
							    "\"K\","
							    "\"symbols\""
							    ":[\"A\","
							    "\"B\"]}") "," FIELD("tree",
										 "{\"type\":\"record\",\"name\":\"T\","
										 "\"fields\":[" FIELD(
											 "left",
											 "[\"null\",\"T\"]") "," FIELD("v",
														       "\""
														       "do"
														       "ub"
														       "le"
														       "\"") "]}") "," FIELD("domain",
																	     "[\"bytes\",\"null\"]") "," FIELD("five", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":5}") "," FIELD("time_ms", "\"int\"") "," FIELD("nothing", "\"null\"") "," FIELD("prompt", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"M\",\"fields\":[" FIELD("content",
																																																		     "\"string\"") "," FIELD("lang",
																																																					     "\"string\"") "]}}") "," FIELD("decision",
																																																									    "{\"type\":\"record\",\"name\":\"D\",\"fields\":[" FIELD(
																																																										    "revision", "\"long\"") "]}") "," FIELD("flag",
																																																															    "\"boolean\"") "," FIELD("meta",
																																																																		     "[\"string\",\"long\"]"));
	static const char body[] = "\x02\x02k\x04\x02\x04\0\0"              /* {"k": [1, 2]} */
				   "\0\0\xc0\x3f"                           /* 1.5 */
				   "\x02"                                   /* B */
				   "\x02\0\1\1\1\1\1\1\1\1\2\2\2\2\2\2\2\2" /* a tree of two */
				   "\0\x06law"                              /* branch 0 */
				   "12345"                                  /* fixed */
				   "\x54"                                   /* 42 */
				   "\x01\x0a\x02q\x04"
				   "en"            /* a block with its size: 1 item, 5 bytes */
				   "\x02\x02r\0\0" /* a second block */
				   "\x06"          /* revision 3 */
				   "\1"            /* true */
				   "\0\x04{}";     /* branch 0 */
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;

	(void)state;
	if (!decode_with(writer, BODY(body), &a, &p, &e))
		fail_msg("%s", e.text);
	assert_true(p.margin == 1.5);
	assert_true(sl_is(p.domain, "law"));
	assert_int_equal(p.time_ms, 42);
	assert_int_equal(p.prompt.count, 2);
	assert_true(sl_is(p.prompt.at[0].content, "q"));
	assert_true(sl_is(p.prompt.at[1].content, "r"));
	assert_int_equal(p.prompt.at[1].role.size, 0);
	assert_true(p.decision.present);
	assert_int_equal(p.decision.revision, 3);
	assert_true(isnan(p.decision.p_label));
	assert_true(sl_is(p.meta, "{}"));
	assert_true(sl_id_none(p.id));
	assert_int_equal(p.arrival.partition, -1);
	for (size_t cut = 0; cut < sizeof body - 1; cut++)
		assert_false(decode_with(writer, body, cut, &a, &p, &e));
	sl_arena_release(&a);
}

static void test_bad_schemas_and_bodies(void **state)
{
	static const struct {
		const char *schema, *body;
		size_t size;
		const char *error; /* NULL: fine */
	} cases[] = {
		{ "{", BODY(""), "cannot be parsed" },
		{ "\"int\"", BODY(""), "expected a record" },
		{ WRITER(FIELD("time_ms", "\"string\"")), BODY("\0"),
		  "field 'time_ms': the writer's type is 'string', expected a long" },
		{ WRITER(FIELD("prompt", "{\"type\":\"array\",\"items\":\"string\"}")), BODY("\0"),
		  "expected records" },
		{ WRITER(FIELD("source", "{\"type\":\"enum\",\"name\":\"S\",\"symbols\":[\"A\"]}")), BODY("\0"),
		  "expected a string or null" },
		{ WRITER(FIELD("meta", "[\"string\",\"long\"]")), BODY("\2\2"),
		  "field 'meta': a value of type 'long', expected a string or null" },
		{ WRITER(FIELD("meta", "[\"string\",\"null\"]")), BODY("\4"), "branch 2 of a union of 2" },
		{ WRITER(FIELD("meta", "[\"string\",\"null\"]")), BODY("\1"), "branch -1 of a union" },
		{ WRITER(FIELD("source", "\"string\"")), BODY("\1"), "a negative length (-1)" },
		{ WRITER(FIELD("source", "\"string\"")), BODY("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "are left" },
		{ WRITER(FIELD("source", "\"string\"")), BODY("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
		  "more than 64 bits" },
		{ WRITER(FIELD("source", "\"string\"")), BODY("\2\xff"),
		  "field 'source': invalid UTF-8 or a NUL at byte 0" },
		{ WRITER(FIELD("source", "\"string\"")), BODY("\2a!"), "1 bytes follow the record" },
		{ WRITER(FIELD("id", "\"string\"")), BODY("\2a"), "expected 32 hex digits" },
		{ WRITER(FIELD("label_flipped", "\"boolean\"")), BODY("\2"), "expected 0 or 1" },
		{ WRITER(FIELD("x", "{\"type\":\"array\",\"items\":\"int\"}")), BODY("\xfe\xff\xff\xff\x0f"),
		  "items of at least 1 bytes" },
		{ WRITER(FIELD("x", "{\"type\":\"array\",\"items\":\"int\"}")), BODY("\x03\x7f"),
		  "a block of -64 bytes" },
		{ WRITER(FIELD("x", "{\"type\":\"map\",\"values\":\"int\"}")), BODY("\x04\x02k\x02"),
		  "items of at least 2 bytes" },
		/* 2^62 items of no bytes: nothing to read, nothing to loop over */
		{ WRITER(FIELD("x", "{\"type\":\"array\",\"items\":\"null\"}")),
		  BODY("\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\0"), NULL },
		{ WRITER(FIELD("prompt",
			       "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"E\",\"fields\":[]}}")),
		  BODY("\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\0"), NULL },
		{ WRITER(FIELD("x", "[\"null\",\"Pair\"]")), BODY("\2\2\2\0"), NULL },
		/* a record inside itself, deeper than any real one */
		{ WRITER(FIELD("x", "[\"null\",\"Pair\"]")),
		  BODY("\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2"
		       "\2"),
		  "nested too deeply" },
		{ WRITER(FIELD("x", "\"Pair\"")), BODY("\2\2\2\2"), "nested too deeply" },
	};
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_error e = { 0 };
		struct sl_pair p;
		bool ok = decode_with(cases[i].schema, cases[i].body, cases[i].size, &a, &p, &e);

		if (ok != !cases[i].error || (!ok && !strstr(e.text, cases[i].error)))
			fail_msg("case %zu: '%s', expected '%s'", i, e.text, cases[i].error ? cases[i].error : "none");
		sl_arena_clear(&a);
	}
	sl_arena_release(&a);
}

static void test_single_object_header(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;

	(void)state;
	sl_pair_init(&p);
	sl_pair_encode(&p, &b);
	assert_int_equal(b.data[0], 0xc3);
	assert_int_equal(b.data[1], 0x01);
	assert_false(sl_pair_decode((struct sl_bytes){ NULL, 0 }, &a, &p, &e));
	assert_non_null(strstr(e.text, "not an Avro single-object record"));
	b.data[2] ^= 1;
	assert_false(sl_pair_decode(sl_buf_bytes(&b), &a, &p, &e));
	assert_non_null(strstr(e.text, "no schema of 'Pair' with fingerprint"));
	sl_buf_release(&b);
	sl_arena_release(&a);
}

/* Every cut is an error; every other damage is an error or another record. Each
 * copy lies in memory of its own size, so that the sanitizers see an overrun. */
static void test_damaged_records(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;

	(void)state;
	for (uint64_t round = 0; round < 20; round++) {
		seed = round * 1000003;
		fill(&sl_record_pair, &p, &a);
		sl_buf_clear(&b);
		sl_pair_encode(&p, &b);
		for (size_t cut = 0; cut<b.size; cut += b.size> 4000 && cut > 200 && cut + 200 < b.size ? 17 : 1) {
			uint8_t *copy = sl_malloc(cut);

			memcpy(copy, b.data, cut);
			assert_false(sl_pair_decode((struct sl_bytes){ copy, cut }, &a, &p, &e));
			free(copy);
			sl_arena_clear(&a);
		}
		for (int i = 0; i < 2000; i++) {
			uint8_t *copy = sl_malloc(b.size);

			memcpy(copy, b.data, b.size);
			for (uint64_t j = below(3) + 1; j > 0; j--)
				copy[HEADER + below(b.size - HEADER)] = (uint8_t)below(256);
			if (!sl_pair_decode((struct sl_bytes){ copy, b.size }, &a, &p, &e))
				assert_true(*e.text);
			free(copy);
			sl_arena_clear(&a);
		}
	}
	sl_buf_release(&b);
	sl_arena_release(&a);
}

/* The values of the Avro specification's test suite (share/test/data/schema-tests.txt). */
static void test_fingerprints(void **state)
{
	static const struct {
		const char *schema;
		uint64_t fingerprint;
	} known[] = {
		{ "\"null\"", UINT64_C(0x63dd24e7cc258f8a) },
		{ "\"int\"", UINT64_C(0x7275d51a3f395c8f) },
		{ " \"string\" ", UINT64_C(0x8f014872634503c7) },
		{ "{\"type\":\"int\"}", UINT64_C(0x7275d51a3f395c8f) },
		{ "\"boolean\"", UINT64_C(0x9f42fc78a4d4f764) },
		{ "\"long\"", UINT64_C(0xd054e14493f41db7) },
	};
	static const char *const same[][2] = {
		{ "{\"fields\":[{\"doc\":\"x\",\"default\":1,\"type\":{\"type\":\"int\",\"logicalType\":\"date\"},"
		  "\"name\":\"f\"},"
		  "{\"name\":\"g\",\"type\":[\"null\",\"R\",\"o.X\"]}],\"name\":\"R\",\"aliases\":[\"Q\"],"
		  "\"namespace\":\"a.b\",\"type\":\"record\"}",
		  "{\"name\":\"a.b.R\",\"type\":\"record\",\"fields\":[{\"name\":\"f\",\"type\":\"int\"},"
		  "{\"name\":\"g\",\"type\":[\"null\",\"a.b.R\",\"o.X\"]}]}" },
		{ "{\"type\":\"map\", "
		  "\"values\":{\"type\":\"enum\",\"symbols\":[\"A\",\"B\"],\"default\":\"A\",\"name\":\"n.E\"}}",
		  "{\"type\":\"map\",\"values\":{\"name\":\"n.E\",\"type\":\"enum\",\"symbols\":[\"A\",\"B\"]}}" },
		{ "{\"type\":\"fixed\", \"size\":15, \"name\":\"foo\"}",
		  "{\"name\":\"foo\",\"type\":\"fixed\",\"size\":15}" },
		{ "[ ]", "[]" },
	};
	static const char *const bad[] = { "",
					   "{",
					   "1",
					   "{\"type\":1}",
					   "{\"type\":\"record\",\"name\":\"R\"}",
					   "{\"type\":\"record\",\"fields\":[]}",
					   "{\"type\":\"enum\",\"name\":\"E\"}",
					   "{\"type\":\"fixed\",\"name\":\"F\"}",
					   "{\"type\":\"array\"}",
					   "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"type\":\"int\"}]}" };
	struct sl_buf deep = { 0 };
	struct sl_error e = { 0 };
	uint64_t x, y;

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		assert_true(sl_avro_fingerprint(known[i].schema, &x, &e));
		assert_int_equal(x, known[i].fingerprint);
	}
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		assert_true(sl_avro_fingerprint(same[i][0], &x, &e));
		assert_true(sl_avro_fingerprint(same[i][1], &y, &e));
		assert_int_equal(x, y);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(sl_avro_fingerprint(bad[i], &x, &e));
	for (int i = 0; i < 1000; i++)
		sl_buf_print(&deep, "{\"type\":");
	assert_false(sl_avro_fingerprint(sl_buf_text(&deep), &x, &e));
	sl_buf_print(&deep, "\"int\"");
	for (int i = 0; i < 1000; i++)
		sl_buf_print(&deep, "}");
	assert_false(sl_avro_fingerprint(sl_buf_text(&deep), &x, &e));
	assert_non_null(strstr(e.text, "nested too deeply"));
	sl_buf_release(&deep);
}

/* Also with one record of nearly the largest size, of bytes that do not deflate. */
static void test_container(void **state)
{
	enum { RECORDS = 50, LARGE = 900 * 1000 };
	char path[] = "/tmp/sluice-test-XXXXXX";
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_container *c;
	struct sl_pair p;
	avro_file_reader_t reader;
	avro_value_iface_t *class;
	avro_value_t value;
	int fd = mkstemp(path), count = 0;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	c = sl_container_new(path, &e);
	assert_non_null(c);
	for (int i = 0; i < RECORDS; i++) {
		seed = (uint64_t)i;
		fill(&sl_record_pair, &p, &a);
		if (i == RECORDS / 2) {
			uint8_t *large = sl_arena_alloc(&a, LARGE);

			for (size_t j = 0; j < LARGE; j++)
				large[j] = (uint8_t)below(256);
			p.vectors.context = (struct sl_bytes){ large, LARGE };
		}
		assert_true(sl_container_add(c, &p, &e));
	}
	assert_true(sl_container_close(c, &e));

	assert_int_equal(avro_file_reader(path, &reader), 0);
	avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
	class = avro_generic_class_from_schema(schema);
	avro_generic_value_new(class, &value);
	for (; avro_file_reader_read_value(reader, &value) == 0; count++)
		avro_value_reset(&value);
	assert_int_equal(count, RECORDS);
	avro_value_decref(&value);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
	avro_file_reader_close(reader);
	unlink(path);
	assert_null(sl_container_new("/nonexistent/folder/x.avro", &e));
	assert_non_null(strstr(e.text, "cannot create"));
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_agree_with_schemas),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_absent_is_not_empty),
		cmocka_unit_test(test_avro_c_agrees),
		cmocka_unit_test(test_evolution),
		cmocka_unit_test(test_bad_schemas_and_bodies),
		cmocka_unit_test(test_single_object_header),
		cmocka_unit_test(test_damaged_records),
		cmocka_unit_test(test_fingerprints),
		cmocka_unit_test(test_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
