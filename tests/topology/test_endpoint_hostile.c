/* test_endpoint_hostile.c -- servers that mean no good, or die at the worst moment: odd status lines, numbers out of
 * range, keys told on, and connections that end when the question was read and nothing was said. */
#include "with_endpoint.h"

#include "topology/base/log.h"

#include <sys/wait.h>

/* -- Status lines ------------------------------------------------------------------------------ */

struct line {
	const char *says;
	int status; /* 0: it is enough that it is settled, and that nobody falls over */
};

static const struct line lines[] = {
	{ "HTTP/1.1 000 Nothing\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 001 Little\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 099 Less\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 999 Much\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 -03 Minus\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n{}", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 0 },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200 },
	{ "\r\n\r\n{}", 0 },
};

static bool answer_line(struct server *s, struct connection *c, int number)
{
	const struct line *line = s->arg;

	(void)number;
	say(c, line->says);
	return false;
}

static void test_odd_lines(void **state)
{
	struct fixture *f = *state;

	f->def.retries = 0;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct server *s = server_start(0, answer_line, (void *)(uintptr_t)&lines[i]);
		struct asked a = { .out.or_not = true };

		f->settled = 0;
		open_ports(f, s->port, 0);
		ask(f, &a, "{}");
		wait_settled(f, 1);
		if (a.status == SL_UNSETTLED || (lines[i].status && a.status != lines[i].status))
			fail_msg("'%s': status %d, '%s'", lines[i].says, a.status, a.why);
		sl_buf_release(&a.body);
		end(f);
		server_stop(s);
	}
}

/* -- Keys ---------------------------------------------------------------------------------------- */

static bool answer_key(struct server *s, struct connection *c, int number)
{
	char *key = strstr(c->head, "Bearer "), *end = key ? strstr(key, "\r\n") : NULL;
	struct sl_buf b = { 0 };

	(void)s;
	(void)number;
	if (end)
		*end = 0;
	sl_buf_print(&b, "{\"error\":{\"message\":\"no such key: '%s'\",\"param\":\"%s\"}}", key, key);
	reply(c, 400, "", (const char *)sl_buf_text(&b));
	sl_buf_release(&b);
	return true;
}

/* Nor does the body hold it, which goes on into records. */
static void test_key_told_on(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_key, NULL);
	struct asked a = { 0 };

	f->keys[0] = "sk-very-secret";
	f->def.keys = (struct sl_list){ f->keys, 1 };
	open_ports(f, s->port, 0);
	ask(f, &a, "{}");
	wait_settled(f, 1);
	assert_int_equal(a.status, 400);
	assert_null(strstr(a.why, "very-secret"));
	assert_non_null(strstr(sl_buf_text(&a.body), "no such key"));
	assert_null(strstr(sl_buf_text(&a.body), "very-secret"));
	sl_buf_release(&a.body);
	end(f);
	server_stop(s);
}

/* -- A death amid a question ----------------------------------------------------------------------- */

static bool answer_and_die(struct server *s, struct connection *c, int number)
{
	if (number == 0)
		return reply(c, 200, "", "{}");
	shutdown(s->fd, SHUT_RDWR); /* nobody takes connections any more */
	return reset(c);
}

/* The question was read whole, so it may have been paid, whatever curl finds when it knocks again. */
static void test_died_with_it(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_and_die, NULL);
	struct asked a[2] = { { .out.or_not = true }, { .out.or_not = true } };

	f->def.retries = 0;
	open_ports(f, s->port, 0);
	ask(f, &a[0], "{}");
	wait_settled(f, 1);
	ask(f, &a[1], "{\"a\":1}");
	wait_settled(f, 2);
	assert_int_equal(s->requests, 2);
	assert_int_equal(a[0].status, 200);
	assert_true(a[1].status < 0);
	assert_int_equal(a[1].attempts, 1);
	assert_int_equal(a[1].unknown, 1);
	for (int i = 0; i < 2; i++)
		sl_buf_release(&a[i].body);
	end(f);
	server_stop(s);
}

static bool answer_stale(struct server *s, struct connection *c, int number)
{
	(void)s;
	return number == 1 ? false : reply(c, 200, "", "{}");
}

/* With a connection that was dead goes a question that may have been paid. Curl would send it again by itself; without
 * retries nothing was held for that. */
static void test_not_sent_unpaid(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_start(0, answer_stale, NULL);
	struct asked a[3] = { 0 };

	f->def.retries = 0;
	open_ports(f, s->port, 0);
	for (int i = 0; i < 3; i++) {
		ask(f, &a[i], "{}");
		wait_settled(f, i + 1);
	}
	assert_int_equal(a[1].status, SL_AWAY); /* to be paid for anew, and asked again */
	assert_int_equal(a[1].attempts, 1);
	assert_int_equal(a[1].unknown, 1);
	assert_int_equal(a[2].status, 200);
	assert_int_equal(s->requests, 3);
	for (int i = 0; i < 3; i++)
		sl_buf_release(&a[i].body);
	end(f);
	server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_odd_lines),
		TEST(test_key_told_on),
		TEST(test_died_with_it),
		TEST(test_not_sent_unpaid),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
