/* test_endpoint_http.c -- an endpoint over HTTP against a server of the test's: what is an answer, what is asked again,
 * keys and replicas, limits, draining, giving up, certificates. What opens the circuit: test_endpoint_away.c. */
#include "with_endpoint.h"

#include "topology/base/file.h"
#include "topology/base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <cmocka.h>

/* -- The thin path ----------------------------------------------------------------------------- */

static void test_answered(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_ok, NULL);
	struct asked a[40] = { 0 };
	char body[40][24];

	open_ports(f, s->port, 0);
	expect(f, "\"state\":\"idle\"");
	for (int i = 0; i < 40; i++) {
		snprintf(body[i], sizeof body[i], "{\"n\":%d}", i);
		ask(f, &a[i], body[i]);
	}
	wait_settled(f, 40);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(a[i].status, 200);
		assert_string_equal(sl_buf_text(&a[i].body), body[i]);
		assert_int_equal(a[i].attempts, 1);
		assert_int_equal(a[i].unknown, 0);
		sl_buf_release(&a[i].body);
	}
	expect(f, "\"state\":\"ok\"");
	assert_true(s->accepted <= 16);
	end(f);
	server_stop(s);
}

/* A GET has no body; what is to be done once is not asked again when nobody knows whether it was done, not even as
 * the probe of a circuit that is open; what never left the house is. */
static bool answer_once(struct server *s, struct connection *c, int number)
{
	(void)s;
	if (number == 0)
		return reply(c, 200, "", strncmp(c->head, "GET /v1/", 8) == 0 ? "got" : "not a GET");
	if (number == 1)
		return reply(c, 404, "", "");
	return number == 2 ? reset(c) : reply(c, 200, "", "{}");
}

static void test_once(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_once, NULL);
	struct asked a[3] = { { .out = { .get = true } }, { .out = { .once = true } }, { .out = { 0 } } };

	f->def.in_flight = 1;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 3; i++)
		ask(f, &a[i], i ? "{}" : "");
	wait_settled(f, 3);
	assert_string_equal(sl_buf_text(&a[0].body), "got");
	assert_int_equal(a[1].status, SL_GAVE_UP); /* after a 404, which did nothing, and a reset, which may have */
	assert_int_equal(a[1].attempts, 2);
	assert_int_equal(a[2].status, 200);
	for (int i = 0; i < 3; i++)
		sl_buf_release(&a[i].body);
	end(f);
	server_stop(s);
}

/* -- What comes back, and what becomes of it ---------------------------------------------------- */

/* What the server does with the first requests; then it answers 200. */
struct step {
	int status; /* 0: reset before a byte; -1: reset in the middle of the answer; -2: a shorter body than announced
		     */
	const char *headers, *body;
};
struct story {
	const char *name;
	int64_t retries;
	struct step steps[5];
	int status;
	uint32_t attempts, unknown;
	const char *why; /* is in it; NULL: nothing is said */
};

static const struct story stories[] = {
	{ "not json, but an answer", 2, { { 200, "", "<html>" } }, 200, 1, 0, NULL },
	{ "another 2xx", 2, { { 202, "", "" } }, 202, 1, 0, NULL },
	{ "bad request",
	  2,
	  { { 400, "", "{\"error\":{\"message\":\"too long\"}}" } },
	  400,
	  1,
	  0,
	  "HTTP 400: too long" },
	{ "too large a question", 2, { { 413, "", "{\"error\":\"long\"}" } }, 413, 1, 0, "HTTP 413: long" },
	{ "elsewhere", 2, { { 302, "Location: http://127.0.0.1:1/\r\n", "" } }, 302, 1, 0, "HTTP 302" },
	{ "503 once", 2, { { 503, SOON, "" } }, 200, 2, 0, NULL },
	{ "408 and 409", 2, { { 408, SOON, "" }, { 409, SOON, "" } }, 200, 3, 0, NULL },
	{ "500 for ever",
	  2,
	  { { 500, SOON, "a" }, { 500, SOON, "b" }, { 500, SOON, "{\"detail\":\"c\"}" } },
	  SL_GAVE_UP,
	  3,
	  0,
	  "HTTP 500: c, after 3 attempts" },
	{ "no retries", 0, { { 500, SOON, "" } }, SL_GAVE_UP, 1, 0, "HTTP 500, after 1 attempt" },
	{ "told not to", 2, { { 500, "x-should-retry: false\r\n", "no" } }, 500, 1, 0, "HTTP 500: no" },
	{ "told to", 2, { { 422, "x-should-retry: true\r\n" SOON, "" } }, 200, 2, 0, NULL },
	{ "throttled for longer than there are retries",
	  0,
	  { { 429, SOON, "" }, { 429, SOON, "" }, { 429, "Retry-After: 0\r\n", "" }, { 429, SOON, "" } },
	  200,
	  5,
	  0,
	  NULL },
	{ "a date", 0, { { 429, "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "" } }, 200, 2, 0, NULL },
	{ "reset before the answer", 0, { { 0, "", "" } }, SL_GAVE_UP, 1, 1, "after 1 attempt" },
	{ "reset in the middle", 0, { { -1, "", "" } }, SL_GAVE_UP, 1, 1, "after 1 attempt" },
	{ "cut short", 0, { { -2, "", "" } }, SL_GAVE_UP, 1, 1, "after 1 attempt" },
	{ "broken, then answered", 1, { { -2, "", "" } }, 200, 2, 1, NULL },
	{ "no HTTP", 0, { { -3, "", "" } }, SL_GAVE_UP, 1, 1, "after 1 attempt" },
	{ "noise in headers",
	  0,
	  { { 200, "retry-after: soon\r\nx-ratelimit-remaining-requests: -9\r\nx-ratelimit-reset-tokens: 1x\r\n",
	      "1" } },
	  200,
	  1,
	  0,
	  NULL },
};

static bool answer_story(struct server *s, struct connection *c, int number)
{
	const struct story *story = s->arg;
	const struct step *step = &story->steps[number < 5 ? number : 4];

	if (number >= 5 || !step->headers)
		return reply(c, 200, "", "{}");
	switch (step->status) {
	case 0:
		return reset(c);
	case -1:
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half");
		return reset(c);
	case -2:
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}");
		return false;
	case -3:
		say(c, "SSH-2.0-OpenSSH_9.2\r\n");
		return false;
	default:
		return reply(c, step->status, step->headers, step->body);
	}
}

static void test_stories(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
		const struct story *story = &stories[i];
		struct server *s = server_start(0, answer_story, (void *)(uintptr_t)story);
		struct asked a = { 0 };

		f->def.retries = story->retries;
		f->settled = 0;
		open_ports(f, s->port, 0);
		ask(f, &a, "{}");
		wait_settled(f, 1);
		if (a.status != story->status || a.attempts != story->attempts || a.unknown != story->unknown ||
		    (story->why ? !strstr(a.why, story->why) : a.why[0] != 0))
			fail_msg("%s: status %d, %u attempts, %u unknown, '%s'", story->name, a.status, a.attempts,
				 a.unknown, a.why);
		assert_int_equal(s->requests, (int)story->attempts);
		sl_buf_release(&a.body);
		end(f);
		server_stop(s);
	}
}

/* The server closes a kept connection just when the next question is on it: curl asks again by itself, and it is told.
 */
static bool answer_stale(struct server *s, struct connection *c, int number)
{
	(void)s;
	return number == 1 ? false : reply(c, 200, "", "{}");
}

static void test_asked_again_by_curl(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_stale, NULL);
	struct asked a[2] = { 0 };

	f->def.retries = 1;
	open_ports(f, s->port, 0);
	ask(f, &a[0], "{}");
	wait_settled(f, 1);
	ask(f, &a[1], "{}");
	wait_settled(f, 2);
	assert_int_equal(a[1].status, 200);
	assert_int_equal(a[1].attempts, 2);
	assert_int_equal(a[1].unknown, 1);
	assert_int_equal(s->requests, 3);
	for (int i = 0; i < 2; i++)
		sl_buf_release(&a[i].body);
	end(f);
	server_stop(s);
}

/* -- Slow and large ---------------------------------------------------------------------------------- */

static bool answer_drip(struct server *s, struct connection *c, int number)
{
	(void)number;
	say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
	hold_here(s);
	return false;
}

static void test_timeout(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_drip, NULL);
	struct asked a = { 0 };

	s->hold = true;
	f->def.timeout_ms = 100;
	f->def.retries = 0;
	open_ports(f, s->port, 0);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	assert_int_equal(a.status, SL_GAVE_UP);
	assert_int_equal(a.unknown, 1);
	assert_non_null(strstr(a.why, "timed out"));
	end(f);
	server_stop(s);
}

static bool answer_huge(struct server *s, struct connection *c, int number)
{
	char *much = sl_malloc((1 << 20) + 1);

	(void)s;
	(void)number;
	memset(much, ' ', 1 << 20);
	much[1 << 20] = 0;
	say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
	for (int i = 0; i < 17; i++)
		say(c, much);
	free(much);
	return false;
}

static void test_huge_answer(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_huge, NULL);
	struct asked a = { 0 };

	open_ports(f, s->port, 0);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	assert_int_equal(a.status, SL_GAVE_UP);
	assert_int_equal(a.attempts, 1); /* it would be as large again */
	assert_string_equal(a.why, "answer over 16 MiB");
	expect(f, "\"too_large\":1");
	end(f);
	server_stop(s);
}

static bool answer_headers(struct server *s, struct connection *c, int number)
{
	(void)s;
	(void)number;
	say(c, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 20000; i++)
		say(c, "X-Much-Too-Much: 0123456789\r\n");
	return reset(c);
}

static void test_endless_headers(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_headers, NULL);
	struct asked a = { 0 };

	open_ports(f, s->port, 0);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	assert_int_equal(a.status, SL_GAVE_UP);
	assert_int_equal(a.attempts, 1);
	end(f);
	server_stop(s);
}

/* -- Several keys, several replicas ---------------------------------------------------------------------- */

static bool answer_second_key(struct server *s, struct connection *c, int number)
{
	const char *bad = s->arg;

	(void)number;
	if (strstr(c->head, "Authorization: Bearer second\r\n"))
		return reply(c, 200, "", "{}");
	if (strcmp(bad, "401") == 0)
		return reply(c, 401, "", "");
	return reply(c, 429, "Retry-After: 100\r\n", "");
}

static void test_two_keys(void **state)
{
	static const char *const bad[] = { "401", "429" };
	struct fixture *f = *state;

	for (int k = 0; k < 2; k++) {
		struct server *s = server_start(0, answer_second_key, (void *)(uintptr_t)bad[k]);
		struct asked a[20] = { 0 };

		f->settled = 0;
		f->keys[0] = "first";
		f->keys[1] = "second";
		f->def.keys = (struct sl_list){ f->keys, 2 };
		open_ports(f, s->port, 0);
		for (int i = 0; i < 20; i++)
			ask(f, &a[i], "{}");
		wait_settled(f, 20);
		for (int i = 0; i < 20; i++) {
			assert_int_equal(a[i].status, 200);
			sl_buf_release(&a[i].body);
		}
		expect(f, "\"state\":\"ok\"");
		expect(f, k ? "\"keys\":[{\"state\":\"ok\"" : "\"keys\":[{\"state\":\"unauthorized\"");
		end(f);
		server_stop(s);
	}
}

static void test_two_replicas(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_ok, NULL);
	struct asked a[30] = { 0 };

	f->def.retries = 0; /* going elsewhere is no retry */
	open_ports(f, free_port(), s->port);
	for (int i = 0; i < 30; i++) {
		a[i].out.or_not = i % 2;
		ask(f, &a[i], "{}");
	}
	wait_settled(f, 30);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(a[i].status, 200);
		sl_buf_release(&a[i].body);
	}
	expect(f, "\"state\":\"ok\"");
	expect(f, "/v1\"},{\"state\":\"ok\"");
	end(f);
	server_stop(s);
}

/* -- Fewer at once ------------------------------------------------------------------------------------- */

static bool answer_storm(struct server *s, struct connection *c, int number)
{
	if (number < 16)
		hold_here(s); /* so that all are under way when the first refusal comes */
	return number < 16 ? reply(c, 429, "retry-after-ms: 5\r\n", "") : reply(c, 200, "", "{}");
}

static void test_storm_halves_once(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_storm, NULL);
	struct asked a[16] = { 0 };

	s->hold = true;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 16; i++)
		ask(f, &a[i], "{}");
	wait_requests(s, 16);
	let_go(s);
	wait_settled(f, 16);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(a[i].status, 200);
		assert_int_equal(a[i].attempts, 2);
		sl_buf_release(&a[i].body);
	}
	expect(f, "\"limit\":9"); /* 16, 8, and 16 good answers: two windows, less a little */
	expect(f, "\"throttled\":16");
	end(f);
	server_stop(s);
}

/* -- The order, and the end ------------------------------------------------------------------------------- */

static bool answer_held(struct server *s, struct connection *c, int number)
{
	(void)number;
	hold_here(s);
	return reply(c, 200, "", "{}");
}

static void test_first_come(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_held, NULL);
	struct asked a[10] = { 0 };

	f->def.in_flight = 1;
	s->hold = true;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 10; i++)
		ask(f, &a[i], "{}");
	let_go(s);
	wait_settled(f, 10);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(a[i].order, i + 1);
		sl_buf_release(&a[i].body);
	}
	assert_int_equal(s->accepted, 1); /* one connection is used again and again */
	end(f);
	server_stop(s);
}

static void test_drain(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_held, NULL);
	struct asked a[4] = { 0 };

	f->def.in_flight = 1;
	s->hold = true;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 3; i++)
		ask(f, &a[i], "{}");
	wait_requests(s, 1);
	f->endpoint->ops->drain(f->endpoint);
	wait_settled(f, 2); /* those that were not sent */
	assert_int_equal(a[0].status, 0);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(a[i].status, SL_AWAY);
		assert_int_equal(a[i].attempts, 0);
	}
	ask(f, &a[3], "{}");
	wait_settled(f, 3);
	assert_int_equal(a[3].status, SL_AWAY);
	let_go(s);
	wait_settled(f, 4);
	assert_int_equal(a[0].status, 200);
	sl_buf_release(&a[0].body);
	end(f);
	server_stop(s);
}

static void test_freed_with_calls_under_way(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_held, NULL);
	struct asked a[6] = { 0 };
	uint32_t unknown = 0;

	f->def.in_flight = 3;
	s->hold = true;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 6; i++)
		ask(f, &a[i], "{}");
	wait_requests(s, 3);
	end(f);
	assert_int_equal(f->settled, 6);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(a[i].status, SL_AWAY);
		unknown += a[i].unknown;
	}
	assert_int_equal(unknown, 3);
	server_stop(s);
}

static void test_freed_unused(void **state)
{
	struct fixture *f = *state;

	open_ports(f, 1, 0);
}

/* -- TLS ----------------------------------------------------------------------------------------------------- */

/* `openssl s_server` with a certificate of its own making; its process and port. */
static pid_t tls_server(const char *folder, int *port)
{
	char command[1024], line[256];
	int out[2];
	pid_t pid;
	FILE *said;

	snprintf(command, sizeof command,
		 "openssl req -x509 -newkey rsa:2048 -nodes -keyout %s/key.pem -out %s/cert.pem -days 2 "
		 "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >%s/log 2>&1",
		 folder, folder, folder);
	if (system(command) != 0 || pipe(out) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(open("/dev/null", O_RDWR), 2);
		close(out[0]);
		snprintf(command, sizeof command, "%s/cert.pem", folder);
		snprintf(line, sizeof line, "%s/key.pem", folder);
		/* -www answers any GET with a page; for a POST it is enough that the handshake passes. */
		execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", command, "-key", line,
		       "-www", "-alpn", "http/1.1", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	said = fdopen(out[0], "r");
	*port = 0;
	while (*port == 0 && fgets(line, sizeof line, said))
		if (strncmp(line, "ACCEPT ", 7) == 0 && strrchr(line, ':'))
			*port = (int)strtol(strrchr(line, ':') + 1, NULL, 10);
	fclose(said);
	return pid;
}

static void test_certificate(void **state)
{
	struct fixture *f = *state;
	struct asked a = { .out.or_not = true }, b = { .out.or_not = true };
	char folder[] = "/tmp/sl-tls-XXXXXX", ca[64];
	int port = 0;
	pid_t pid;

	if (!mkdtemp(folder) || system("command -v openssl >/dev/null 2>&1") != 0)
		skip();
	pid = tls_server(folder, &port);
	if (pid < 0 || port == 0)
		skip();
	/* Nobody has signed it. */
	snprintf(f->url[0], sizeof f->url[0], "https://127.0.0.1:%d/v1", port);
	f->urls[0] = f->url[0];
	f->def.urls = (struct sl_list){ f->urls, 1 };
	f->def.timeout_ms = 2000;
	f->def.retries = 0;
	f->endpoint = sl_http_endpoint_new(f->loop, &f->def);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	assert_int_equal(a.status, SL_AWAY);
	assert_memory_equal(a.why, "certificate", 11);
	assert_int_equal(a.attempts, 0); /* nothing was told to a stranger */
	end(f);
	/* It is trusted by name: it is asked, whatever this server then makes of it. */
	snprintf(ca, sizeof ca, "%s/cert.pem", folder);
	f->def.ca = ca;
	f->endpoint = sl_http_endpoint_new(f->loop, &f->def);
	ask(f, &b, "{}");
	wait_settled(f, 2);
	assert_int_equal(b.attempts, 1);
	end(f);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	sl_buf_release(&b.body);
	assert_true(sl_folder_remove(folder, &(struct sl_error){ 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_answered),        TEST(test_once),
		TEST(test_stories),         TEST(test_asked_again_by_curl),
		TEST(test_timeout),         TEST(test_huge_answer),
		TEST(test_endless_headers), TEST(test_two_keys),
		TEST(test_two_replicas),    TEST(test_storm_halves_once),
		TEST(test_first_come),      TEST(test_drain),
		TEST(test_freed_unused),    TEST(test_freed_with_calls_under_way),
		TEST(test_certificate),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
