/* test_client.c -- handles: which properties are taken, what is said about trouble, and waiting for brokers. The
 * parts about passwords and certificates need broker.sh start --sasl; most of the rest needs no broker. */
#include "with_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Nobody listens there: it is a privileged port. */
#define NOBODY "127.0.0.1:1"

struct bench {
	struct sl_topology *topology;
	struct sl_kafka k;
	struct sl_property properties[8];
};

/* Without brokers, or with others than KAFKA_BOOTSTRAP; properties: name, value, ..., NULL. */
static void set_up(struct bench *b, const char *brokers, const char *const *properties)
{
	struct sl_error e = { 0 };

	*b = (struct bench){ 0 };
	b->topology = sl_topology_parse("test.yaml", sl_text(KAFKA_SMALL), NULL, 0, &e);
	if (!b->topology)
		fail_msg("%s", e.text);
	b->topology->stream = SL_STREAM_KAFKA;
	b->topology->kafka.brokers = brokers;
	b->topology->kafka.prefix = "try.";
	b->topology->kafka.properties = b->properties;
	for (size_t n = 0; properties && *properties; properties += 2) {
		b->properties[n].name = properties[0];
		b->properties[n++].value = properties[1];
		b->topology->kafka.property_count = n;
	}
}

static bool handles(struct bench *b, struct sl_error *e)
{
	*e = (struct sl_error){ 0 };
	return sl_kafka_connect(&b->k, b->topology, e);
}

static void tear_down(struct bench *b)
{
	sl_kafka_disconnect(&b->k);
	sl_topology_free(b->topology);
}

static void must_say(const struct sl_error *e, enum sl_verdict verdict, const char *what)
{
	if (e->verdict != verdict || !strstr(e->text, what))
		fail_msg("verdict %d, text '%s', not %d and '%s'", e->verdict, e->text, verdict, what);
}

/* -- errors -------------------------------------------------------------------------------------- */

static void verdicts(void **state)
{
	static const struct {
		rd_kafka_resp_err_t code;
		enum sl_verdict verdict;
	} rows[] = {
		{ RD_KAFKA_RESP_ERR__TRANSPORT, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__RESOLVE, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__TIMED_OUT, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__FATAL, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_NOT_COORDINATOR, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_NOT_CONTROLLER, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, SL_RETRY },
		{ RD_KAFKA_RESP_ERR_UNKNOWN, SL_RETRY },
		{ (rd_kafka_resp_err_t)9999, SL_RETRY },
		{ RD_KAFKA_RESP_ERR__AUTHENTICATION, SL_STOP },
		{ RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, SL_STOP },
		{ RD_KAFKA_RESP_ERR__SSL, SL_STOP },
		{ RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_INVALID_CONFIG, SL_STOP },
		{ RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, SL_STOP },
		{ RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SL_STOP },
		{ RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, SL_STOP },
		{ RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, SL_STOP },
		{ RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, SL_STOP },
		{ RD_KAFKA_RESP_ERR__FENCED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_PRODUCER_FENCED, SL_STOP },
		{ RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, SL_STOP },
		{ RD_KAFKA_RESP_ERR__STATE, SL_STOP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (sl_kafka_verdict(rows[i].code) != rows[i].verdict)
			fail_msg("%s", rd_kafka_err2name(rows[i].code));
}

static void failures_in_words(void **state)
{
	struct bench b;
	struct sl_error e;

	(void)state;
	set_up(&b, NOBODY, NULL);
	assert_true(handles(&b, &e));
	assert_false(
		sl_kafka_failed(&b.k, &e, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, NULL, "make topic '%s'", "x"));
	must_say(&e, SL_STOP, "cannot make topic 'x': Broker: Topic authorization failed; grant its user");
	sl_kafka_failed(&b.k, &e, RD_KAFKA_RESP_ERR_INVALID_CONFIG, "no such thing", "make it");
	must_say(&e, SL_STOP, "cannot make it: no such thing");
	/* Why nothing answers was told elsewhere. */
	sl_kafka_complain(&b.k, RD_KAFKA_RESP_ERR__TRANSPORT,
			  "sasl_ssl://kafka-1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused "
			  "(after 0ms in state CONNECT, 3 identical error(s) suppressed)");
	sl_kafka_failed(&b.k, &e, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "commit");
	must_say(&e, SL_RETRY,
		 "cannot commit: Local: Timed out; broker 'kafka-1:9092': Connect to ipv4#10.0.0.1:9092 failed: "
		 "Connection refused");
	assert_null(strstr(e.text, "suppressed"));
	/* And not where the brokers have said what it is. */
	sl_kafka_failed(&b.k, &e, RD_KAFKA_RESP_ERR_POLICY_VIOLATION, NULL, "purge");
	assert_null(strstr(e.text, "refused"));
	sl_kafka_answered(&b.k);
	sl_kafka_failed(&b.k, &e, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "commit");
	assert_string_equal(e.text, "cannot commit: Local: Timed out");
	tear_down(&b);
}

static void trouble(void **state)
{
	/* What librdkafka 2.0 says, and whether waiting is in vain at once. */
	static const struct {
		rd_kafka_resp_err_t code;
		const char *reason, *text;
		bool vain;
	} rows[] = {
		{ RD_KAFKA_RESP_ERR__AUTHENTICATION,
		  "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed (after 305ms in state "
		  "AUTH_REQ)",
		  "broker 'h:1': SASL authentication error: Authentication failed; check kafka.sasl.username, "
		  "kafka.sasl.password and kafka.sasl.mechanism",
		  true },
		{ RD_KAFKA_RESP_ERR__SSL,
		  "sasl_ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify "
		  "failed: broker certificate could not be verified (after 5ms in state SSL_HANDSHAKE)",
		  "check kafka.ssl.ca.location", true },
		/* These may be a broker that goes away in mid-connection: in vain after a while. */
		{ RD_KAFKA_RESP_ERR__SSL,
		  "ssl://h:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? "
		  "(after 5ms in state SSL_HANDSHAKE)",
		  "; check kafka.security.protocol", false },
		{ RD_KAFKA_RESP_ERR__SSL,
		  "ssl://h:1/bootstrap: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while "
		  "reading "
		  "(after 5ms in state SSL_HANDSHAKE)",
		  "; check kafka.security.protocol", false },
		{ RD_KAFKA_RESP_ERR__TRANSPORT,
		  "h:1/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect "
		  "security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see "
		  "api.version.request) (after 3ms in state APIVERSION_QUERY)",
		  "; check kafka.security.protocol", false },
		{ RD_KAFKA_RESP_ERR__RESOLVE,
		  "h:1/bootstrap: Failed to resolve 'h:1': Name or service not known (after 1ms in state CONNECT)",
		  "broker 'h:1': Failed to resolve 'h:1': Name or service not known; check the host names in "
		  "stream.brokers",
		  false },
		{ RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 brokers are down",
		  "none of the brokers '" NOBODY "' answers", false },
		/* A member's own business. */
		{ RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, "Application maximum poll interval exceeded", "", false },
	};
	struct sl_error e;
	char text[400];
	struct bench b;

	(void)state;
	set_up(&b, NOBODY, NULL);
	assert_true(handles(&b, &e));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		sl_kafka_answered(&b.k);
		sl_kafka_complain(&b.k, rows[i].code, rows[i].reason);
		sl_kafka_trouble(&b.k, text);
		if (!strstr(text, rows[i].text) || (!*rows[i].text && *text))
			fail_msg("'%s' instead of '%s'", text, rows[i].text);
		assert_int_equal(sl_kafka_in_vain(&b.k, &e), rows[i].vain);
		if (rows[i].vain)
			must_say(&e, SL_STOP, rows[i].text);
		/* That all are down does not hide why. */
		sl_kafka_complain(&b.k, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 brokers are down");
		sl_kafka_trouble(&b.k, text);
		assert_true(!*rows[i].text || strstr(text, rows[i].text));
	}
	tear_down(&b);
}

/* -- properties ---------------------------------------------------------------------------------- */

static void properties(void **state)
{
	static const struct {
		const char *name, *value, *text; /* NULL: it is taken */
	} rows[] = {
		{ "group.id", "mine", "kafka.group.id: Sluice sets it itself: a step's group is" },
		{ "transactional.id", "mine", "kafka.transactional.id: Sluice sets it itself" },
		{ "enable.auto.commit", "true", "kafka.enable.auto.commit: Sluice sets it itself" },
		{ "enable.auto.offset.store", "true", "kafka.enable.auto.offset.store: Sluice sets it itself" },
		{ "isolation.level", "read_uncommitted", "kafka.isolation.level: Sluice sets it itself" },
		{ "auto.offset.reset", "latest", "kafka.auto.offset.reset: Sluice sets it itself" },
		{ "enable.idempotence", "false", "kafka.enable.idempotence: Sluice sets it itself" },
		{ "partition.assignment.strategy", "range", "kafka.partition.assignment.strategy: Sluice sets it" },
		{ "group.protocol", "consumer", "kafka.group.protocol: Sluice sets it itself" },
		{ "group.instance.id", "x", "kafka.group.instance.id: Sluice sets it itself" },
		{ "bootstrap.servers", "x:1", "kafka.bootstrap.servers: Sluice sets it itself: use stream.brokers" },
		{ "metadata.broker.list", "x:1", "use stream.brokers" },
		{ "acks", "1", "kafka.acks: Sluice sets it itself" },
		{ "request.required.acks", "1", "kafka.request.required.acks: Sluice sets it itself" },
		{ "no.such.thing", "1", "kafka.no.such.thing: librdkafka " },
		{ "session.timeout.ms", "soon", "kafka.session.timeout.ms: Invalid value" },
		{ "security.protocol", "TLS", "kafka.security.protocol: Invalid value" },
		{ "ssl.key.pem", "hunter2", "ssl.key.pem" },
		{ "ssl.ca.location", "/no/such/file", "cannot make a Kafka client: " },
		{ "session.timeout.ms", "20000", NULL },
		{ "compression.type", "zstd", NULL },
		{ "linger.ms", "50", NULL },
		{ "client.id", "me", NULL },
		{ "fetch.max.bytes", "2000000", NULL },
	};
	struct sl_error e;
	struct bench b;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		set_up(&b, NOBODY,
		       (const char *const[]){ "security.protocol", "SSL", rows[i].name, rows[i].value, NULL });
		if (handles(&b, &e) != !rows[i].text)
			fail_msg("%s: %s", rows[i].name, e.text);
		if (rows[i].text)
			must_say(&e, SL_STOP, rows[i].text);
		assert_null(strstr(e.text, "hunter2"));
		tear_down(&b);
	}
}

/* In a file, the error has a place. */
static void a_property_has_a_place(void **state)
{
	static const char yaml[] = "topology: small\nstream: { kind: kafka, brokers: \"" NOBODY "\" }\n"
				   "kafka:\n  isolation.level: read_uncommitted\nsteps:\n"
				   "  - { name: embed, from: pairs.raw, to: { embedded: out, gold: pairs.gold } }\n";
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("test.yaml", sl_text(yaml), NULL, 0, &e);
	struct sl_kafka k = { 0 };

	(void)state;
	if (!t)
		fail_msg("%s", e.text);
	assert_false(sl_kafka_connect(&k, t, &e));
	must_say(&e, SL_STOP, "test.yaml:4:");
	sl_kafka_disconnect(&k);
	sl_topology_free(t);
}

static void names(void **state)
{
	char name[SL_ID_MAX];
	struct sl_error e;
	struct bench b;
	int topic;

	(void)state;
	set_up(&b, NOBODY, NULL);
	topic = sl_topology_topic(b.topology, "pairs.unique");
	b.topology->topics[topic].inlined = true;
	assert_true(handles(&b, &e));
	assert_string_equal(b.k.app, "try.small");
	assert_null(b.k.names[topic]);
	assert_string_equal(b.k.names[sl_topology_topic(b.topology, "pairs.raw")], "try.pairs.raw");
	sl_kafka_name(&b.k, name, "%s.changelog", "dedupe");
	assert_string_equal(name, "try.small.dedupe.changelog");
	tear_down(&b);
}

/* -- brokers ---------------------------------------------------------------------------------------- */

static void nobody_there(void **state)
{
	struct sl_runtime rt = { .stop = 1 };
	struct sl_error e;
	struct bench b;

	(void)state;
	set_up(&b, NOBODY, NULL);
	assert_true(handles(&b, &e));
	assert_false(sl_kafka_reach(&b.k, 1, &e));
	must_say(&e, SL_RETRY, "cannot reach the brokers '" NOBODY "'");
	must_say(&e, SL_RETRY, "Connection refused");
	b.k.rt = &rt;
	assert_false(sl_kafka_reach(&b.k, 0, &e));
	must_say(&e, SL_RETRY, "stopped while waiting for the brokers '" NOBODY "'");
	tear_down(&b);
}

static void somebody_there(void **state)
{
	struct kafka_test t;
	struct sl_error e = { 0 };
	char text[400];

	(void)state;
	kafka_test_open(&t, KAFKA_SMALL);
	sl_kafka_complain(&t.k, RD_KAFKA_RESP_ERR__TRANSPORT, "h:1/bootstrap: gone");
	if (!sl_kafka_reach(&t.k, 60000, &e))
		fail_msg("%s", e.text);
	sl_kafka_trouble(&t.k, text);
	assert_string_equal(text, "");
	kafka_test_close(&t);
}

/* -- passwords and certificates ------------------------------------------------------------------------ */

static const char *env(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value) {
		fprintf(stderr, "skipped: no %s; tests/kafka/broker.sh start --sasl\n", name);
		skip();
	}
	return value;
}

static void secured(void **state)
{
	const char *secure = env("KAFKA_SASL_BOOTSTRAP"), *plain = kafka_bootstrap(), *ca = env("KAFKA_CA");
	const char *user = env("KAFKA_USER"), *password = env("KAFKA_PASSWORD");
	bool no_scram = rd_kafka_version() < 0x02060100 && strncmp(env("KAFKA_VERSION"), "4.", 2) == 0;
	const struct {
		const char *brokers, *protocol, *mechanism, *ca, *password, *text; /* text NULL: it works */
	} rows[] = {
		{ secure, "SASL_SSL", "PLAIN", ca, password, NULL },
		{ secure, "SASL_SSL", "SCRAM-SHA-512", ca, password,
		  no_scram ? "has no SCRAM for Kafka 4: use PLAIN" : NULL },
		{ secure, "SASL_SSL", "PLAIN", ca, "hunter2", "check kafka.sasl.username, kafka.sasl.password" },
		{ secure, "SASL_SSL", "SCRAM-SHA-512", ca, "hunter2", "check kafka.sasl.username" },
		{ secure, "SASL_SSL", "SCRAM-SHA-256", ca, password, "check kafka.sasl.mechanism" },
		{ secure, "SASL_SSL", "PLAIN", NULL, password, "check kafka.ssl.ca.location" },
		{ secure, "SSL", "PLAIN", ca, password, "check kafka.security.protocol" },
		{ secure, "PLAINTEXT", "PLAIN", ca, password, "check kafka.security.protocol" },
		{ secure, "SASL_PLAINTEXT", "PLAIN", ca, password, "check kafka.security.protocol" },
		{ plain, "SASL_SSL", "PLAIN", ca, password, "check kafka.security.protocol" },
		{ plain, "SASL_PLAINTEXT", "PLAIN", ca, password, "check kafka.s" },
	};
	struct sl_error e;
	struct bench b;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		set_up(&b, rows[i].brokers,
		       (const char *const[]){ "security.protocol", rows[i].protocol, "sasl.mechanism",
					      rows[i].mechanism, "sasl.username", user, "sasl.password",
					      rows[i].password, rows[i].ca ? "ssl.ca.location" : NULL, rows[i].ca,
					      NULL });
		if (!handles(&b, &e))
			fail_msg("row %zu: %s", i, e.text);
		if (sl_kafka_reach(&b.k, 60000, &e) != !rows[i].text)
			fail_msg("row %zu: %s", i, e.text);
		if (rows[i].text) {
			must_say(&e, SL_STOP, rows[i].text);
		}
		assert_null(strstr(e.text, "hunter2"));
		tear_down(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),     cmocka_unit_test(failures_in_words),
		cmocka_unit_test(trouble),      cmocka_unit_test(properties),
		cmocka_unit_test(names),        cmocka_unit_test(a_property_has_a_place),
		cmocka_unit_test(nobody_there), cmocka_unit_test(somebody_there),
		cmocka_unit_test(secured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
