/* test_endpoint_away.c -- an endpoint that cannot be had: what opens the circuit, what waits and what does not, and how
 * it comes back; the server is the test's. */
#include "with_endpoint.h"

#include "topology/base/log.h"

static void test_refused_then_back(void **state)
{
	struct fixture *f = *state;
	struct asked a[12] = { 0 }, impatient = { 0 };
	int port = free_port();
	struct server *s;

	f->def.in_flight = 8;
	open_ports(f, port, 0);
	for (int i = 0; i < 12; i++)
		ask(f, &a[i], "{}");
	impatient.out.or_not = true;
	ask(f, &impatient, "{}");
	wait_settled(f, 1); /* by then the circuit is open */
	assert_int_equal(impatient.status, SL_AWAY);
	assert_non_null(strstr(impatient.why, "unreachable"));
	expect(f, "\"state\":\"unreachable\"");
	assert_int_equal(f->settled,
			 1); /* the others wait, though they were refused more often than there are retries */
	s = server_start(port, answer_ok, NULL);
	if (!s)
		skip(); /* somebody else has the port now */
	wait_settled(f, 13);
	expect(f, "\"state\":\"ok\"");
	for (int i = 0; i < 12; i++) {
		assert_int_equal(a[i].status, 200);
		assert_int_equal(a[i].unknown, 0);
		sl_buf_release(&a[i].body);
	}
	end(f);
	server_stop(s);
}

/* A server that was never reached: with no retries at all, few calls and no answer ever, it is away at once, and nobody
 * who may wait is given up. */
static void test_never_reached(void **state)
{
	struct fixture *f = *state;
	struct asked patient = { 0 }, impatient = { .out.or_not = true };
	int port = free_port();
	struct server *s;

	f->def.retries = 0;
	open_ports(f, port, 0);
	ask(f, &patient, "{}");
	ask(f, &impatient, "{}");
	wait_settled(f, 1);
	assert_int_equal(impatient.status, SL_AWAY);
	assert_int_equal(impatient.attempts, 0);
	assert_non_null(strstr(impatient.why, "unreachable"));
	expect(f, "\"state\":\"unreachable\"");
	s = server_start(port, answer_ok, NULL);
	if (!s)
		skip(); /* somebody else has the port now */
	wait_settled(f, 2);
	assert_int_equal(patient.status, 200);
	assert_int_equal(patient.attempts, 1);
	sl_buf_release(&patient.body);
	end(f);
	server_stop(s);
}

/* The same where two replicas are down. */
static void test_no_replica_reached(void **state)
{
	struct fixture *f = *state;
	struct asked patient = { 0 }, impatient = { .out.or_not = true };

	f->def.retries = 0;
	open_ports(f, free_port(), free_port());
	ask(f, &patient, "{}");
	ask(f, &impatient, "{}");
	wait_settled(f, 1);
	assert_int_equal(impatient.status, SL_AWAY);
	expect(f, "\"state\":\"unreachable\"");
	end(f);
	assert_int_equal(patient.status, SL_AWAY); /* told when the endpoint was freed, not given up before */
	assert_non_null(strstr(patient.why, "stopped"));
}

static bool answer_first_alone(struct server *s, struct connection *c, int number)
{
	if (number == 0) { /* and the connection is closed: curl is told, or it may put the next question on it */
		reply(c, 200, "Connection: close\r\n", "{}");
		return false;
	}
	hold_here(s);
	return reply(c, 200, "", "{}");
}

/* New connections are refused while an old one works on: one that does not wait is told, not given up. */
static void test_refused_among_answers(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_first_alone, NULL);
	struct asked a[2] = { 0 }, impatient = { .out.or_not = true };

	f->def.retries = 0;
	s->hold = true;
	open_ports(f, s->port, 0);
	ask(f, &a[0], "{}");
	wait_settled(f, 1);
	ask(f, &a[1], "{}");
	wait_requests(s, 2);
	shutdown(s->fd, SHUT_RDWR);
	ask(f, &impatient, "{}");
	wait_settled(f, 2);
	assert_int_equal(impatient.status, SL_AWAY);
	assert_int_equal(impatient.attempts, 0);
	let_go(s);
	wait_settled(f, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a[i].status, 200);
		sl_buf_release(&a[i].body);
	}
	expect(f, "\"state\":\"ok\"");
	end(f);
	server_stop(s);
}

static bool answer_models(struct server *s, struct connection *c, int number)
{
	(void)s;
	(void)number;
	return strstr(sl_buf_text(&c->body), "other") ? reply(c, 404, "", "{\"error\":\"no such model\"}")
						      : reply(c, 200, "", "{}");
}

/* A model that is not the endpoint's and that the server does not know shuts nobody out. */
static void test_not_found_of_another_model(void **state)
{
	static const char *const named[] = { "m", NULL };
	struct fixture *f = *state;

	for (int k = 0; k < 2; k++) { /* an endpoint with a model and one without */
		struct server *s = server_start(0, answer_models, NULL);
		struct asked a[2] = { { .out.model = "other" }, { .out.model = "m" } };

		f->settled = 0;
		f->def.model = named[k];
		open_ports(f, s->port, 0);
		ask(f, &a[0], "other");
		wait_settled(f, 1);
		assert_int_equal(a[0].status, 404);
		assert_string_equal(a[0].why, "HTTP 404: no such model");
		expect(f, "\"state\":\"ok\"");
		ask(f, &a[1], "{}");
		wait_settled(f, 2);
		assert_int_equal(a[1].status, 200);
		for (int i = 0; i < 2; i++)
			sl_buf_release(&a[i].body);
		end(f);
		server_stop(s);
	}
}

struct lock_out {
	const char *state, *headers, *body;
	int status;
};
static const struct lock_out lock_outs[] = {
	{ "unauthorized", "", "{\"error\":{\"message\":\"bad key SECRETKEY\"}}", 401 },
	{ "unauthorized", "", "", 403 },
	{ "not_found", "", "{\"error\":{\"message\":\"no model\"}}", 404 },
	{ "quota", "", "{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"pay\"}}", 429 },
	{ "quota", "Retry-After: 121\r\n", "", 429 },
	{ "failing", "Retry-After: 86400\r\n", "", 503 },
};

static bool answer_locked(struct server *s, struct connection *c, int number)
{
	const struct lock_out *l = s->arg;

	return number < 2 ? reply(c, l->status, l->headers, l->body) : reply(c, 200, "", "{}");
}

/* One that does not wait is told; one that does gets its answer when the world is right again, whatever was wrong. */
static void test_locked_out_then_back(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof lock_outs / sizeof *lock_outs; i++) {
		struct server *s = server_start(0, answer_locked, (void *)(uintptr_t)&lock_outs[i]);
		struct asked a = { .out.or_not = true }, patient = { 0 };
		struct sl_buf json = { 0 };
		char state_is[64];

		f->settled = 0;
		f->keys[0] = "SECRETKEY";
		f->def.keys = (struct sl_list){ f->keys, 1 };
		f->def.retries = 0;
		open_ports(f, s->port, 0);
		ask(f, &a, "{}");
		wait_settled(f, 1);
		assert_int_equal(a.status, SL_AWAY);
		assert_int_equal(a.attempts, 1);
		assert_memory_equal(a.why, lock_outs[i].state, strlen(lock_outs[i].state));
		snprintf(state_is, sizeof state_is, "\"state\":\"%s\"", lock_outs[i].state);
		expect(f, state_is);
		f->endpoint->ops->describe(f->endpoint, &json);
		sl_endpoint_metrics(&f->endpoint, 1, &json);
		assert_null(strstr(sl_buf_text(&json), "SECRET"));
		assert_null(strstr(a.why, "SECRET"));
		snprintf(state_is, sizeof state_is, "state=\"%s\"} 1\n", lock_outs[i].state);
		assert_non_null(strstr(sl_buf_text(&json), state_is));
		if (i == 0) { /* all of them wait as this one does, a second and then two */
			ask(f, &patient, "{}");
			wait_settled(f, 2);
			assert_int_equal(patient.status, 200);
			assert_int_equal(patient.attempts, 2);
			expect(f, "\"state\":\"ok\"");
		}
		sl_buf_release(&patient.body);
		sl_buf_release(&json);
		end(f);
		server_stop(s);
	}
}

/* A question that makes the server fail is given up in the end, though the circuit is open because of it; the others
 * are answered. */
static bool answer_poison(struct server *s, struct connection *c, int number)
{
	(void)s;
	(void)number;
	if (strstr(sl_buf_text(&c->body), "poison"))
		return reply(c, 500, SOON, "{\"error\":\"ouch\"}");
	return reply(c, 200, "", "{}");
}

static void test_poison_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_poison, NULL);
	struct asked a[3] = { 0 };

	f->def.retries = 8; /* so that the circuit opens before they are used up */
	f->def.in_flight = 2;
	open_ports(f, s->port, 0);
	ask(f, &a[0], "poison");
	wait_requests(s, 6); /* five in a row, and the first probe */
	ask(f, &a[1], "{}");
	ask(f, &a[2], "{}");
	wait_settled(f, 3);
	assert_int_equal(a[0].status, SL_GAVE_UP);
	assert_int_equal(a[0].attempts, 10);
	assert_string_equal(a[0].why, "HTTP 500: ouch, after 10 attempts");
	for (int i = 1; i < 3; i++) {
		assert_int_equal(a[i].status, 200);
		assert_int_equal(a[i].attempts, 1);
		sl_buf_release(&a[i].body);
	}
	end(f);
	server_stop(s);
}

/* A proxy is not asked for what is on this machine, and nobody is shown a key that is none. */
static void test_no_proxy_for_loopback_and_no_empty_key(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_ok, NULL);
	struct asked a = { 0 };

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	f->keys[0] = ""; /* a variable that is empty: no key, no header */
	f->def.keys = (struct sl_list){ f->keys, 1 };
	open_ports(f, s->port, 0);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	unsetenv("http_proxy");
	assert_int_equal(a.status, 200);
	sl_buf_release(&a.body);
	end(f);
	server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_refused_then_back),          TEST(test_never_reached),
		TEST(test_no_replica_reached),         TEST(test_refused_among_answers),
		TEST(test_not_found_of_another_model), TEST(test_locked_out_then_back),
		TEST(test_poison_is_given_up),         TEST(test_no_proxy_for_loopback_and_no_empty_key),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
