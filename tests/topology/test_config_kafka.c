/* test_config_kafka.c -- topology files for brokers: what a good one becomes, what its plan shows and hides, and one
 * file for both kinds of stream by --set. Bad ones are in test_config.c. */
#include "with_config.h"

const struct sl_operator *const sl_operators[] = { &pass, &asks, NULL };

#define WHOLE                                                                                                          \
	TOP "stream:\n"                                                                                                \
	    "  kind: kafka\n"                                                                                          \
	    "  brokers: \"${SL_BROKERS}\"\n"                                                                           \
	    "  prefix: x.\n"                                                                                           \
	    "  replication: 3\n"                                                                                       \
	    "  members: 2\n"                                                                                           \
	    "  commit_every: 50ms\n"                                                                                   \
	    "registry: { url: \"https://${SL_HOST}/r\", user: \"${SL_USER}\", password: hunter2, ca: ca.pem }\n"       \
	    "kafka:\n"                                                                                                 \
	    "  security.protocol: SASL_SSL\n"                                                                          \
	    "  sasl.password: \"${SL_SECRET}\"\n"                                                                      \
	    "  ssl.key.password: hunter3\n"                                                                            \
	    "  ssl.key.location: /k.pem\n"                                                                             \
	    "models: { dir: shared }\n" STEPS "  - { name: b, operator: asks, from: x, to: { out: y } }\n"

static struct sl_topology *whole(const char *const *sets)
{
	setenv("SL_BROKERS", "b1:9092, [::1]:9093,10.0.0.1:1", 1);
	setenv("SL_HOST", "registry.example", 1);
	setenv("SL_USER", "alice", 1);
	setenv("SL_SECRET", "hunter2", 1);
	return good(WHOLE, sets);
}

static void test_kafka(void **state)
{
	static const char *const sets[] = { "kafka.security.protocol=SSL", "kafka.debug=msg", NULL };
	struct sl_topology *t = whole(sets);
	const struct sl_kafka_def *k = &t->kafka;
	static const struct {
		const char *name, *value, *shown;
	} expected[] = {
		{ "security.protocol", "SSL", "SSL" },
		{ "sasl.password", "hunter2", "${SL_SECRET}" },
		{ "ssl.key.password", "hunter3", "***" },
		{ "ssl.key.location", "/k.pem", "/k.pem" },
		{ "debug", "msg", "msg" },
	};

	(void)state;
	assert_int_equal(t->stream, SL_STREAM_KAFKA);
	assert_false(t->durable);
	assert_int_equal(t->commit_every_ms, 50);
	assert_int_equal(t->commit_bytes, 8 << 20);
	assert_string_equal(k->brokers, "b1:9092, [::1]:9093,10.0.0.1:1");
	assert_string_equal(k->prefix, "x.");
	assert_int_equal(k->replication, 3);
	assert_int_equal(k->members, 2);
	assert_string_equal(k->registry_url, "https://registry.example/r");
	assert_string_equal(k->registry_user, "alice");
	assert_string_equal(k->registry_password, "hunter2");
	assert_string_equal(k->registry_ca, "ca.pem");
	assert_string_equal(t->models_dir, "shared");
	assert_int_equal(k->property_count, sizeof expected / sizeof *expected);
	for (size_t i = 0; i < k->property_count; i++) {
		assert_string_equal(k->properties[i].name, expected[i].name);
		assert_string_equal(k->properties[i].value, expected[i].value);
		assert_string_equal(k->properties[i].shown, expected[i].shown);
		assert_non_null(k->properties[i].node);
	}
	sl_topology_free(t);

	t = good(KAFKA STEPS, NULL);
	assert_string_equal(t->kafka.prefix, "");
	assert_int_equal(t->kafka.replication, 0);
	assert_int_equal(t->kafka.members, 1);
	assert_null(t->kafka.registry_url);
	assert_null(t->kafka.registry_user);
	assert_null(t->kafka.registry_password);
	assert_null(t->kafka.registry_ca);
	assert_null(t->models_dir);
	assert_int_equal(t->kafka.property_count, 0);
	sl_topology_free(t);

	t = good(ONE, NULL);
	assert_int_equal(t->stream, SL_STREAM_EMBEDDED);
	assert_null(t->kafka.brokers);
	assert_string_equal(t->kafka.prefix, "");
	sl_topology_free(t);
}

/* Runs of spaces count as one: how wide a column is does not matter. No plan shows a secret. */
static bool plan_has(const struct sl_topology *t, const char *brokers, const char *text)
{
	struct sl_buf plan = { 0 }, squeezed = { 0 };
	bool found;

	sl_topology_plan(t, brokers, false, &plan);
	for (const char *p = sl_buf_text(&plan); *p; p++)
		if (p[0] != ' ' || p[1] != ' ')
			sl_buf_print(&squeezed, "%c", *p);
	found = strstr(sl_buf_text(&squeezed), text);
	sl_buf_release(&squeezed);
	sl_topology_plan(t, brokers, true, &plan);
	assert_null(strstr(sl_buf_text(&plan), "hunter"));
	sl_buf_release(&plan);
	return found;
}

static void test_kafka_plan(void **state)
{
	struct sl_topology *t = whole(NULL);

	(void)state;
	assert_true(plan_has(t, NULL, "stream.brokers ${SL_BROKERS} t.yaml:4:12\n"));
	assert_true(plan_has(t, NULL, "registry.user ${SL_USER} "));
	assert_true(plan_has(t, NULL, "registry.password *** "));
	assert_true(plan_has(t, NULL, "kafka.sasl.password ${SL_SECRET} "));
	assert_true(plan_has(t, NULL, "kafka.ssl.key.password *** "));
	assert_true(plan_has(t, NULL, "models.dir shared "));
	assert_true(plan_has(t, NULL, " topics x.<topic>\n"));
	assert_true(plan_has(t, NULL, " meta x.t.meta,"));
	assert_true(plan_has(t, NULL, " leader group x.t.leader,"));
	assert_true(plan_has(t, NULL, " guards transactional.id x.t.at.<what>,"));
	assert_true(plan_has(t, NULL, "group x.t.a\n"));
	assert_true(plan_has(t, NULL, "\n kafka changelog x.t.a.changelog, transactional.id x.t.a.<uuid>.<member>\n"));
	assert_true(plan_has(t, NULL, "changelog x.t.b.changelog, memo x.t.b.memo, transactional.id"));
	assert_false(plan_has(t, NULL, "brokers now"));
	assert_true(plan_has(t, "x.y: exists\nx.z: differs\n", "\nbrokers now\n x.y: exists\n x.z: differs\n"));
	sl_topology_free(t);
}

/* One file for both: --set takes it from one kind to the other, and the plan says what is then not used. */
static void test_kafka_by_set(void **state)
{
	static const char *const there[] = { "stream.kind=kafka", "stream.brokers=b:1,b:2", NULL };
	static const char *const back[] = { "stream.kind=embedded", NULL };
	struct sl_topology *t = good(TOP "stream: { kind: embedded, durability: sync }\n" STEPS, there);

	(void)state;
	assert_int_equal(t->stream, SL_STREAM_KAFKA);
	assert_string_equal(t->kafka.brokers, "b:1,b:2");
	assert_true(plan_has(t, NULL, "stream.durability - t.yaml:2:39, not used: stream.kind is kafka by --set"));
	sl_topology_free(t);

	/* what is not used is not read either */
	unsetenv("SL_BROKERS");
	unsetenv("SL_HOST");
	unsetenv("SL_SECRET");
	t = good(WHOLE, back);
	assert_int_equal(t->stream, SL_STREAM_EMBEDDED);
	assert_true(t->durable);
	assert_null(t->kafka.brokers);
	assert_null(t->kafka.registry_url);
	assert_int_equal(t->kafka.property_count, 0);
	assert_string_equal(t->models_dir, "shared");
	assert_true(plan_has(t, NULL, "kafka.ssl.key.password - t.yaml:"));
	assert_true(plan_has(t, NULL, "registry.password - t.yaml:"));
	assert_false(plan_has(t, NULL, "on the brokers"));
	sl_topology_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kafka),
		cmocka_unit_test(test_kafka_plan),
		cmocka_unit_test(test_kafka_by_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
