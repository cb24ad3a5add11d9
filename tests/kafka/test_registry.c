/* test_registry.c -- the client against a real schema registry. Needs REGISTRY_URL (and REGISTRY_USER,
 * REGISTRY_PASSWORD, REGISTRY_CA where it has them), as tests/kafka/registry.sh writes them; skips without. */
#include "topology/registry.h"

#include "topology/base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"Pair\",\"namespace\":\"sluice\",\"fields\":[" fields "]}"
#define SOURCE "{\"name\":\"source\",\"type\":[\"null\",\"string\"],\"default\":null}"
#define MARGIN "{\"name\":\"margin\",\"type\":[\"null\",\"double\"],\"default\":null}"
#define NEEDED "{\"name\":\"needed\",\"type\":\"long\"}"
#define SOURCE_LONG "{\"name\":\"source\",\"type\":\"long\",\"default\":0}"

static struct sl_registry *open_with(const char *password, const char *ca)
{
	struct sl_registry_options options = {
		.url = getenv("REGISTRY_URL"), .user = getenv("REGISTRY_USER"), .password = password, .ca = ca
	};
	struct sl_error e = { 0 };
	struct sl_registry *r;

	if (!options.url) {
		print_message(
			"skipped: no REGISTRY_URL in the environment; tests/kafka/registry.sh starts a registry\n");
		skip();
	}
	r = sl_registry_open(&options, &e);
	if (!r)
		fail_msg("%s", e.text);
	return r;
}

static struct sl_registry *open_registry(void)
{
	return open_with(getenv("REGISTRY_PASSWORD"), getenv("REGISTRY_CA"));
}

/* Subjects of this run only: tests share a registry. */
static const char *subject(char to[80], const char *name)
{
	snprintf(to, 80, "test-%d-%lld-%s", (int)getpid(), (long long)sl_wall_ms(), name);
	return to;
}

static void test_our_schemas(void **state)
{
	static const char *const schemas[] = { sl_pair_schema_json, sl_model_schema_json };
	struct sl_registry *r = open_registry();
	struct sl_arena a = { 0 };
	char name[80];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sl_error e = { 0 };
		struct sl_buf object = { 0 }, again = { 0 };
		const struct sl_decoder *d;
		int32_t id, same;

		if (!sl_registry_register(r, subject(name, "topic-value"), schemas[i], &id, &e) ||
		    !sl_registry_register(r, name, schemas[i], &same, &e))
			fail_msg("%s", e.text);
		assert_int_equal(id, same);
		d = sl_registry_decoder(r, id, &e);
		if (!d)
			fail_msg("%s", e.text);
		if (i == 0) {
			struct sl_pair p;

			sl_pair_init(&p);
			p.source = sl_text("s");
			sl_pair_encode(&p, &object);
		} else {
			sl_model_encode(&(struct sl_model_record){ .name = sl_text("gold"), .version = 2 }, &object);
		}
		assert_true(
			sl_decoder_object(d, (struct sl_bytes){ object.data + 10, object.size - 10 }, &a, &again, &e));
		assert_true(sl_bytes_equal(sl_buf_bytes(&object), sl_buf_bytes(&again)));
		sl_buf_release(&object);
		sl_buf_release(&again);
	}
	sl_arena_release(&a);
	sl_registry_close(r);
}

/* FULL_TRANSITIVE: fields with defaults come and go, one without a default does neither. */
static void test_evolution(void **state)
{
	static const struct {
		const char *schema;
		bool fits;
	} steps[] = {
		{ RECORD(SOURCE), true },       { RECORD(SOURCE "," MARGIN), true },
		{ RECORD(MARGIN), true },       { RECORD(MARGIN "," NEEDED), false },
		{ RECORD(SOURCE_LONG), false }, { RECORD(SOURCE), true },
	};
	struct sl_registry *r = open_registry();
	int32_t id, first = 0;
	char name[80];

	(void)state;
	subject(name, "evolution-value");
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct sl_error e = { 0 };
		bool fits = sl_registry_register(r, name, steps[i].schema, &id, &e);

		if (fits != steps[i].fits)
			fail_msg("schema %zu: %s", i, fits ? "accepted" : e.text);
		if (!fits && (e.verdict != SL_STOP || !strstr(e.text, "not compatible (FULL_TRANSITIVE)")))
			fail_msg("schema %zu: %s", i, e.text);
		if (i == 0)
			first = id;
	}
	assert_int_equal(id, first);
	sl_registry_close(r);
}

static void test_refusals(void **state)
{
	struct sl_registry *r = open_registry();
	struct sl_error e = { 0 };
	char name[80];
	int32_t id;

	(void)state;
	assert_null(sl_registry_decoder(r, 1999999999, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "has no schema 1999999999"));
	assert_false(sl_registry_register(r, subject(name, "bad-value"), "{\"type\": \"nonsense\"}", &id, &e));
	assert_int_equal(e.verdict, SL_STOP);
	sl_registry_close(r);
	if (getenv("REGISTRY_USER")) {
		r = open_with("not-the-password", getenv("REGISTRY_CA"));
		assert_false(sl_registry_register(r, name, RECORD(SOURCE), &id, &e));
		assert_int_equal(e.verdict, SL_STOP);
		assert_non_null(strstr(e.text, "does not accept registry.user"));
		assert_null(strstr(e.text, "not-the-password"));
		sl_registry_close(r);
	}
	if (getenv("REGISTRY_CA")) {
		r = open_with(getenv("REGISTRY_PASSWORD"), NULL);
		assert_false(sl_registry_register(r, name, RECORD(SOURCE), &id, &e));
		assert_int_equal(e.verdict, SL_STOP);
		assert_non_null(strstr(e.text, "give its authority as registry.ca"));
		sl_registry_close(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_our_schemas),
		cmocka_unit_test(test_evolution),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
