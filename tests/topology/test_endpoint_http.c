/* test_endpoint_http.c -- an endpoint over HTTP against a server of the test's: what is an answer, what is asked again,
 * what opens the circuit and how it comes back, keys and replicas, limits, draining, giving up. */
#include "with_server.h"

#include "topology/base/log.h"
#include "topology/endpoint/http_endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

/* -- A caller ------------------------------------------------------------------------------- */

struct asked {
	struct sl_outcall out;
	int status;
	char why[512];
	struct sl_buf body;
	uint32_t attempts, unknown;
	int order; /* in which they were settled, from 1 */
};

struct fixture {
	struct sl_http_loop *loop;
	struct sl_endpoint *endpoint;
	struct sl_endpoint_def def;
	const char *urls[2], *keys[2];
	char url[2][64];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int settled;
};

static void on_done(struct sl_outcall *out, const struct sl_settlement *r)
{
	struct asked *a = (struct asked *)out;
	struct fixture *f = out->owner;

	sl_lock(&f->lock);
	assert_int_equal(a->status, 0);
	a->status = r->status;
	sl_buf_add_bytes(&a->body, r->body);
	snprintf(a->why, sizeof a->why, "%s", r->why ? r->why : "");
	a->attempts = r->attempts;
	a->unknown = r->unknown;
	a->order = ++f->settled;
	sl_cond_broadcast(&f->changed);
	sl_unlock(&f->lock);
}

static void wait_settled(struct fixture *f, int count)
{
	sl_lock(&f->lock);
	while (f->settled < count)
		sl_cond_wait(&f->changed, &f->lock);
	sl_unlock(&f->lock);
}

static int set_up(void **state)
{
	struct fixture *f = sl_calloc(1, sizeof *f);

	sl_mutex_init(&f->lock);
	sl_cond_init(&f->changed);
	f->loop = sl_http_loop_new();
	f->def = (struct sl_endpoint_def){ .name = "judge",
					   .model = "m",
					   .ca = "",
					   .in_flight = 16,
					   .connect_timeout_ms = 2000,
					   .timeout_ms = 20000,
					   .retries = 2 };
	*state = f;
	return 0;
}

static void end(struct fixture *f)
{
	if (f->endpoint)
		f->endpoint->ops->free(f->endpoint);
	f->endpoint = NULL;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	end(f);
	sl_http_loop_free(f->loop);
	sl_cond_destroy(&f->changed);
	sl_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static void open_ports(struct fixture *f, int port, int second)
{
	snprintf(f->url[0], sizeof f->url[0], "http://127.0.0.1:%d/v1/", port);
	snprintf(f->url[1], sizeof f->url[1], "http://127.0.0.1:%d/v1", second);
	f->urls[0] = f->url[0];
	f->urls[1] = f->url[1];
	f->def.urls = (struct sl_list){ f->urls, second ? 2 : 1 };
	f->endpoint = sl_http_endpoint_new(f->loop, &f->def);
}

static void ask(struct fixture *f, struct asked *a, const char *body)
{
	*a = (struct asked){ .out = { .path = "/chat/completions",
				      .model = "m",
				      .body = sl_text(body),
				      .tokens_max = 10,
				      .or_not = a->out.or_not,
				      .owner = f,
				      .done = on_done } };
	f->endpoint->ops->send(f->endpoint, &a->out);
}

/* What describe() says of one member. */
static void expect(struct fixture *f, const char *member)
{
	struct sl_buf json = { 0 };

	f->endpoint->ops->describe(f->endpoint, &json);
	if (!strstr(sl_buf_text(&json), member))
		fail_msg("'%s' is not in %s", member, sl_buf_text(&json));
	sl_buf_release(&json);
}

/* -- The thin path ----------------------------------------------------------------------------- */

static bool answer_ok(struct server *s, struct connection *c, int number)
{
	(void)s;
	(void)number;
	if (!strstr(c->head, "POST /v1/chat/completions HTTP/1.1\r\n") ||
	    !strstr(c->head, "Content-Type: application/json"))
		return reply(c, 400, "", "not what was meant");
	return reply(c, 200, "", (const char *)sl_buf_text(&c->body));
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answered, set_up, tear_down),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
