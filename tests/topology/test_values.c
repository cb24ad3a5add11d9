/* test_values.c -- record values in every form they may have on Kafka, to pairs and back; with a registry (a small one
 * in this process), without one, and with one that is away. */
#include "topology/values.h"

#include "schemas/jsonl.h"
#include "topology/base/thread.h"
#include "topology/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#define WRITER(fields) "{\"type\":\"record\",\"name\":\"Pair\",\"namespace\":\"sluice\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define MESSAGES(name)                                                                                                 \
	FIELD(name, "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"M_" name                            \
		    "\",\"fields\":[" FIELD("role", "\"string\"") "," FIELD("content", "\"string\"") "]}}")

static const struct sl_values_from entry = { "x.pairs.raw", 3, true }, later = { "x.pairs.scored", 1, false };

/* -- a registry: schemas by id; subjects are not told apart ----------------------------------- */

struct shop {
	pthread_mutex_t lock;
	char *schemas[8]; /* id is the index */
	size_t count, posted;
	char subject[100]; /* of the last registration */
	struct sl_http *server;
	struct sl_registry *registry;
};

/* The lock is held. */
static int32_t shop_add(struct shop *s, const char *schema)
{
	for (size_t i = 1; i < s->count; i++)
		if (strcmp(s->schemas[i], schema) == 0)
			return (int32_t)i;
	assert_true(s->count < 8);
	s->schemas[s->count] = sl_strdup(schema);
	return (int32_t)s->count++;
}

static void serve(void *arg, const struct sl_request *q, struct sl_reply *reply)
{
	struct shop *s = arg;
	unsigned id;

	sl_lock(&s->lock);
	if (strcmp(q->method, "POST") == 0) {
		json_t *body = json_loadb(q->body.data, q->body.size, 0, NULL);

		s->posted++;
		snprintf(s->subject, sizeof s->subject, "%s", q->path + strlen("/subjects/"));
		*strchr(s->subject, '/') = 0;
		sl_buf_print(&reply->body, "{\"id\": %d}",
			     shop_add(s, json_string_value(json_object_get(body, "schema"))));
		json_decref(body);
	} else if (sscanf(q->path, "/schemas/ids/%u", &id) == 1 && id > 0 && id < s->count) {
		json_t *body = json_pack("{s:s}", "schema", s->schemas[id]);
		char *text = json_dumps(body, 0);

		sl_buf_print(&reply->body, "%s", text);
		free(text);
		json_decref(body);
	} else if (strncmp(q->path, "/config/", 8) == 0) {
		sl_buf_print(&reply->body, "{\"compatibilityLevel\": \"FULL_TRANSITIVE\"}");
	} else {
		reply->status = 404;
		sl_buf_print(&reply->body, "{\"error_code\": 40403}");
	}
	sl_unlock(&s->lock);
}

static struct shop *shop_new(void)
{
	struct shop *s = sl_calloc(1, sizeof *s);
	struct sl_error e = { 0 };
	char url[64];
	int port, fd;

	sl_mutex_init(&s->lock);
	sl_lock(&s->lock);
	s->count = 1;
	fd = sl_http_listen_tcp("127.0.0.1:0", &port, &e);
	assert_true(fd >= 0);
	s->server = sl_http_start(fd, 1 << 20, serve, s, &e);
	assert_non_null(s->server);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
	s->registry = sl_registry_open(&(struct sl_registry_options){ .url = url }, &e);
	assert_non_null(s->registry);
	sl_unlock(&s->lock);
	return s;
}

/* How many registrations there were, and the last one. */
struct posted {
	size_t count;
	char subject[100];
	const char *schemas[8];
};

static struct posted shop_posted(struct shop *s)
{
	struct posted p;

	sl_lock(&s->lock);
	p.count = s->posted;
	memcpy(p.subject, s->subject, sizeof p.subject);
	memcpy(p.schemas, s->schemas, sizeof p.schemas);
	sl_unlock(&s->lock);
	return p;
}

static void shop_free(struct shop *s)
{
	sl_http_stop(s->server);
	sl_registry_close(s->registry);
	for (size_t i = 1; i < s->count; i++)
		free(s->schemas[i]);
	sl_mutex_destroy(&s->lock);
	free(s);
}

/* -- values ----------------------------------------------------------------------------------- */

/* A pair as our own ingest writes it. */
static void ingested(struct sl_arena *a, struct sl_pair *p)
{
	struct sl_parsed parsed;
	struct sl_error e = { 0 };

	assert_true(
		sl_jsonl_parse(sl_text("{\"prompt\":\"why?\",\"chosen\":\"so\",\"rejected\":\"no\",\"source\":\"s\"}"),
			       NULL, a, &parsed, &e));
	*p = parsed.pairs[0];
	p->arrival.file = sl_text("f.jsonl");
	p->arrival.line = 12;
	p->time_ms = 5;
}

static struct sl_record record(struct sl_bytes value)
{
	return (struct sl_record){ .offset = 41, .time_ms = 1700000000000, .value = value };
}

static void must_read(struct sl_values *v, const struct sl_values_from *from, struct sl_bytes value, struct sl_arena *a,
		      struct sl_pair *p)
{
	struct sl_record r = record(value);
	struct sl_error e = { 0 };

	if (!sl_values_pair(v, from, &r, a, p, &e))
		fail_msg("%s", e.text);
}

static void test_own_pairs(void **state)
{
	struct sl_values *v = sl_values_new(NULL);
	struct sl_arena a = { 0 };
	struct sl_buf value = { 0 }, out = { 0 };
	struct sl_error e = { 0 };
	struct sl_record r;
	struct sl_pair p, q;
	struct sl_id id;

	(void)state;
	ingested(&a, &p);
	id = p.id;
	sl_pair_encode(&p, &value);
	must_read(v, &entry, sl_buf_bytes(&value), &a, &q);
	assert_true(sl_id_equal(q.id, id));
	assert_true(sl_is(q.arrival.file, "f.jsonl"));
	assert_int_equal(q.time_ms, 5);
	assert_true(sl_is(q.source, "s"));

	/* Inside and outside they are the same bytes. */
	r = record(sl_buf_bytes(&value));
	assert_true(sl_values_inside(v, &entry, &r, &out, &e));
	assert_true(sl_values_inside(v, &later, &r, &out, &e));
	assert_true(sl_values_outside(v, "x.pairs.raw", r.value, &out, &e));
	assert_true(sl_values_prepare(v, "x.pairs.raw", false, &e));
	assert_int_equal(out.size, 3 * value.size);
	for (size_t i = 0; i < 3; i++)
		assert_memory_equal(out.data + i * value.size, value.data, value.size);

	/* A forged id does not help. */
	memset(p.id.b, 1, sizeof p.id.b);
	memset(p.group.b, 1, sizeof p.group.b);
	p.decision.present = true;
	sl_buf_clear(&value);
	sl_pair_encode(&p, &value);
	must_read(v, &entry, sl_buf_bytes(&value), &a, &q);
	assert_true(sl_id_equal(q.id, id));
	assert_false(q.decision.present);
	/* Behind the entry, and when it is played again, a record is what it is. */
	must_read(v, &later, sl_buf_bytes(&value), &a, &q);
	assert_false(sl_id_equal(q.id, id));
	assert_true(q.decision.present);
	p.trail = &(struct sl_trail){ .step = sl_text("filter"), .outcome = sl_text("flip") };
	p.trail_count = 1;
	sl_buf_clear(&value);
	sl_pair_encode(&p, &value);
	must_read(v, &entry, sl_buf_bytes(&value), &a, &q);
	assert_memory_equal(q.id.b, p.id.b, sizeof p.id.b);
	assert_true(q.decision.present);
	assert_true(sl_is(q.arrival.file, "f.jsonl"));
	p.id = (struct sl_id){ { 0 } };
	sl_buf_clear(&value);
	sl_pair_encode(&p, &value);
	must_read(v, &entry, sl_buf_bytes(&value), &a, &q);
	assert_true(sl_id_equal(q.id, id));

	sl_buf_release(&value);
	sl_buf_release(&out);
	sl_arena_release(&a);
	sl_values_free(v);
}

static void test_json(void **state)
{
	static const struct {
		const char *json, *source;
	} good[] = {
		{ "{\"prompt\":\"why?\",\"chosen\":\"so\",\"rejected\":\"no\"}", "kafka" },
		{ " \t\n{\"prompt\":\"why?\",\"chosen\":\"so\",\"rejected\":\"no\",\"source\":\"shop\"}\n", "shop" },
		{ "\xef\xbb\xbf{\"chosen\":[{\"role\":\"user\",\"content\":\"why?\"},{\"role\":\"assistant\","
		  "\"content\":"
		  "\"so\"}],\"rejected\":[{\"role\":\"user\",\"content\":\"why?\"},{\"role\":\"assistant\",\"content\":"
		  "\"no\"}]}",
		  "kafka" },
	};
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ "{\"prompt\":\"q\",\"response_a\":\"x\",\"response_b\":\"y\",\"winner\":\"tie\"}", "is a tie" },
		{ "{\"prompt\":\"q\",\"responses\":[\"a\",\"b\",\"c\"],\"ranks\":[1,2,3]}",
		  "holds 3 pairs and 0 ties, expected one" },
		{ "{\"prompt\":\"q\",\"responses\":[\"a\",\"b\",\"c\"],\"ranks\":[1,2,2]}",
		  "holds 2 pairs and 1 ties, expected one" },
		{ "{\"prompt\":\"q\",\"chosen\":\"a\"", "the JSON ends early" },
		{ "{}", "" },
		{ "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\",\"gold\":3}", "'gold' must be" },
	};
	struct sl_values *v = sl_values_new(NULL);
	struct sl_arena a = { 0 };
	struct sl_pair p, like;

	(void)state;
	ingested(&a, &like);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		must_read(v, &entry, sl_text(good[i].json), &a, &p);
		assert_true(sl_id_equal(p.id, like.id) && sl_id_equal(p.group, like.group));
		assert_true(sl_is(p.source, good[i].source));
		assert_true(sl_is(p.arrival.topic, "x.pairs.raw"));
		assert_null(p.arrival.file.data);
		assert_int_equal(p.arrival.partition, 3);
		assert_int_equal(p.arrival.offset, 41);
		assert_int_equal(p.time_ms, 1700000000000);
	}
	must_read(v, &entry, sl_text("{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\",\"gold\":true}"), &a, &p);
	assert_true(p.gold.present && sl_is(p.gold.verdict, "chosen") && sl_is(p.gold.sample, "given"));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct sl_record r = record(sl_text(bad[i].json));
		struct sl_error e = { 0 };
		struct sl_buf out = { 0 };

		if (sl_values_pair(v, &entry, &r, &a, &p, &e) || e.verdict != SL_STOP || !strstr(e.text, bad[i].error))
			fail_msg("case %zu: '%s'", i, e.text);
		assert_true(sl_values_inside(v, &entry, &r, &out, &e));
		assert_true(sl_bytes_equal(sl_buf_bytes(&out), r.value));
		sl_buf_release(&out);
	}
	sl_arena_release(&a);
	sl_values_free(v);
}

static void test_unreadable(void **state)
{
	static const struct {
		bool entry;
		const char *value;
		size_t size;
		const char *error;
	} cases[] = {
		{ true, NULL, 0, "a tombstone" },
		{ true, "", 0, "a value of 0 bytes" },
		{ true, "\0\0\0", 3, "a value of 3 bytes that begins with 00 00" },
		{ true, "\0\0\0\0\7x", 6, "names schema 7 of a schema registry, and there is none" },
		{ true, "plain text", 10, "begins with 70 6c is no pair" },
		{ true, "[1]", 3, "is no pair" },
		{ true, "\xc3\x01", 2, "not an Avro single-object record" },
		{ true,
		  "\xc3\x01"
		  "12345678",
		  10, "no schema of 'Pair' with fingerprint" },
		{ false, "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}", 43,
		  "only the entry topic takes them" },
	};
	struct sl_values *v = sl_values_new(NULL);
	struct sl_arena a = { 0 };
	struct sl_buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct sl_values_from *from = cases[i].entry ? &entry : &later;
		struct sl_record r = record((struct sl_bytes){ cases[i].value, cases[i].size });
		struct sl_error e = { 0 };
		struct sl_pair p;

		if (sl_values_pair(v, from, &r, &a, &p, &e) || e.verdict != SL_STOP || !strstr(e.text, cases[i].error))
			fail_msg("case %zu: '%s'", i, e.text);
		sl_buf_clear(&out);
		assert_true(sl_values_inside(v, from, &r, &out, &e));
		assert_true(sl_bytes_equal(sl_buf_bytes(&out), r.value));
		sl_buf_clear(&out);
		assert_true(sl_values_outside(v, "t", r.value, &out, &e));
		assert_true(sl_bytes_equal(sl_buf_bytes(&out), r.value));
	}
	sl_buf_release(&out);
	sl_arena_release(&a);
	sl_values_free(v);
}

static void test_framed(void **state)
{
	struct shop *s = shop_new();
	struct sl_values *v = sl_values_new(s->registry);
	struct sl_arena a = { 0 };
	struct sl_buf value = { 0 }, framed = { 0 }, again = { 0 };
	struct sl_error e = { 0 };
	struct sl_model_record m = { .name = sl_text("gold"), .version = 4 };
	struct sl_record r;
	struct sl_pair p, q;
	static const uint8_t frame[] = { 0, 0, 0, 0, 1 };

	(void)state;
	ingested(&a, &p);
	sl_pair_encode(&p, &value);
	for (size_t i = 0; i < 3; i++) {
		sl_buf_clear(&framed);
		assert_true(sl_values_outside(v, "x.pairs.scored", sl_buf_bytes(&value), &framed, &e));
	}
	assert_int_equal(shop_posted(s).count, 1);
	assert_string_equal(shop_posted(s).subject, "x.pairs.scored-value");
	assert_string_equal(shop_posted(s).schemas[1], sl_pair_schema_json);
	assert_int_equal(framed.size, value.size - 5);
	assert_memory_equal(framed.data, frame, 5);
	assert_memory_equal(framed.data + 5, value.data + 10, value.size - 10);
	must_read(v, &later, sl_buf_bytes(&framed), &a, &q);
	assert_true(sl_id_equal(p.id, q.id));
	must_read(v, &entry, sl_buf_bytes(&framed), &a, &q);
	assert_true(sl_is(q.arrival.file, "f.jsonl"));
	for (size_t i = 0; i < 2; i++) {
		r = record(sl_buf_bytes(&framed));
		sl_buf_clear(&again);
		assert_true(sl_values_inside(v, i ? &entry : &later, &r, &again, &e));
		assert_true(sl_bytes_equal(sl_buf_bytes(&again), sl_buf_bytes(&value)));
	}

	/* Announcements of models are registered and read like pairs. */
	assert_true(sl_values_prepare(v, "x.models", true, &e));
	assert_string_equal(shop_posted(s).schemas[2], sl_model_schema_json);
	assert_true(sl_values_prepare(v, "x.models", true, &e));
	assert_int_equal(shop_posted(s).count, 2);
	sl_buf_clear(&value);
	sl_buf_clear(&framed);
	sl_model_encode(&m, &value);
	assert_true(sl_values_outside(v, "x.models", sl_buf_bytes(&value), &framed, &e));
	assert_int_equal(framed.data[4], 2);
	assert_int_equal(shop_posted(s).count, 2);
	r = record(sl_buf_bytes(&framed));
	sl_buf_clear(&again);
	assert_true(sl_values_inside(v, &later, &r, &again, &e));
	assert_true(sl_bytes_equal(sl_buf_bytes(&again), sl_buf_bytes(&value)));
	assert_false(sl_values_pair(v, &later, &r, &a, &p, &e));
	assert_non_null(strstr(e.text, "expected a pair"));

	/* What is not ours goes as it is. */
	sl_buf_clear(&again);
	assert_true(sl_values_outside(v, "x.dead", sl_text("garbage"), &again, &e));
	assert_true(sl_is(sl_buf_bytes(&again), "garbage"));
	assert_int_equal(shop_posted(s).count, 2);
	/* A schema that nobody has, a body that is none. */
	r = record((struct sl_bytes){ "\0\0\0\1\0xx", 7 });
	assert_false(sl_values_pair(v, &entry, &r, &a, &p, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "has no schema 256"));
	r = record((struct sl_bytes){ "\0\xff\0\1\0xx", 7 });
	assert_false(sl_values_pair(v, &entry, &r, &a, &p, &e));
	assert_non_null(strstr(e.text, "at most 2147483647"));
	r = record((struct sl_bytes){ "\0\0\0\0\1", 5 });
	assert_false(sl_values_pair(v, &entry, &r, &a, &p, &e));
	assert_int_equal(e.verdict, SL_STOP);

	sl_buf_release(&value);
	sl_buf_release(&framed);
	sl_buf_release(&again);
	sl_arena_release(&a);
	sl_values_free(v);
	shop_free(s);
}

/* An older producer that has no source, and a newer one with a language: both give the same pair. */
static void test_foreign_schemas(void **state)
{
	static const char *const schemas[] = {
		WRITER(MESSAGES("prompt") "," MESSAGES("chosen") "," MESSAGES("rejected")),
		WRITER(FIELD("language", "[\"null\",\"string\"]") "," MESSAGES("rejected") "," MESSAGES(
			"chosen") "," MESSAGES("prompt") "," FIELD("id", "\"string\"") "," FIELD("margin",
												 "\"float\"")),
	};
	static const char old[] = "\2\x0ahuman\x08why?\0"
				  "\2\x06gpt\4so\0"
				  "\2\x12"
				  "assistant\4no\0";
	static const char new[] = "\2\4en"
				  "\2\x06gpt\4no\0"
				  "\2\x06gpt\4so\0"
				  "\2\x08user\x08why?\0"
				  "\x40"
				  "0123456789abcdef0123456789abcdef"
				  "\0\0\x20\x40";
	const struct sl_bytes bodies[] = { { old, sizeof old - 1 }, { new, sizeof new - 1 } };
	struct shop *s = shop_new();
	struct sl_values *v = sl_values_new(s->registry);
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair like, p, q;

	(void)state;
	ingested(&a, &like);
	for (size_t i = 0; i < 2; i++) {
		struct sl_buf value = { 0 }, inside = { 0 };
		struct sl_record r;

		sl_buf_add(&value, "\0\0\0\0", 4);
		sl_lock(&s->lock);
		sl_buf_add_byte(&value, (uint8_t)shop_add(s, schemas[i]));
		sl_unlock(&s->lock);
		sl_buf_add_bytes(&value, bodies[i]);
		must_read(v, &entry, sl_buf_bytes(&value), &a, &p);
		assert_true(sl_id_equal(p.id, like.id) && sl_id_equal(p.pair_key, like.pair_key));
		assert_true(sl_is(p.source, "kafka"));
		assert_true(sl_is(p.chosen.at[0].role, "assistant"));
		assert_int_equal(p.arrival.offset, 41);
		assert_true(i == 0 ? isnan(p.margin) : p.margin == 2.5);

		r = record(sl_buf_bytes(&value));
		assert_true(sl_values_inside(v, &entry, &r, &inside, &e));
		assert_true(sl_pair_decode(sl_buf_bytes(&inside), &a, &q, &e));
		assert_true(sl_id_equal(q.id, p.id));
		assert_int_equal(q.arrival.offset, 41);
		sl_buf_release(&inside);
		sl_buf_release(&value);
	}
	sl_arena_release(&a);
	sl_values_free(v);
	shop_free(s);
}

/* Nothing is given up while the registry is away; what is known needs it no more. */
static void test_registry_away(void **state)
{
	static const uint8_t unknown[] = { 0, 0, 0, 0, 77, 1, 2 };
	struct shop *s = shop_new();
	struct sl_values *v = sl_values_new(s->registry);
	struct sl_arena a = { 0 };
	struct sl_buf value = { 0 }, framed = { 0 }, out = { 0 };
	struct sl_record r = record((struct sl_bytes){ unknown, sizeof unknown });
	struct sl_error e = { 0 };
	struct sl_pair p;

	(void)state;
	ingested(&a, &p);
	sl_pair_encode(&p, &value);
	assert_true(sl_values_outside(v, "t", sl_buf_bytes(&value), &framed, &e));
	must_read(v, &entry, sl_buf_bytes(&framed), &a, &p);
	sl_http_stop(s->server);
	s->server = NULL;

	assert_false(sl_values_pair(v, &entry, &r, &a, &p, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	for (size_t i = 0; i < 2; i++) {
		e.verdict = SL_OK;
		assert_false(sl_values_inside(v, i ? &entry : &later, &r, &out, &e));
		assert_int_equal(e.verdict, SL_RETRY);
	}
	assert_int_equal(out.size, 0);
	e.verdict = SL_OK;
	assert_false(sl_values_outside(v, "other", sl_buf_bytes(&value), &out, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	assert_int_equal(out.size, 0);

	assert_true(sl_values_outside(v, "t", sl_buf_bytes(&value), &out, &e));
	must_read(v, &later, sl_buf_bytes(&framed), &a, &p);
	sl_buf_release(&value);
	sl_buf_release(&framed);
	sl_buf_release(&out);
	sl_arena_release(&a);
	sl_values_free(v);
	shop_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_pairs),       cmocka_unit_test(test_json),
		cmocka_unit_test(test_unreadable),      cmocka_unit_test(test_framed),
		cmocka_unit_test(test_foreign_schemas), cmocka_unit_test(test_registry_away),
	};

	setenv("no_proxy", "127.0.0.1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
