/* with_endpoint.h -- a caller of one HTTP endpoint, for tests: what was asked, how it was settled, and the endpoint's
 * own words. The server is with_server.h's. */
#ifndef SL_WITH_ENDPOINT_H
#define SL_WITH_ENDPOINT_H

#include "with_server.h"

#include "operators/operator.h"
#include "topology/endpoint/http_endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define SOON "retry-after-ms: 1\r\n" /* a header: do not wait long */

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

static inline void on_done(struct sl_outcall *out, const struct sl_settlement *r)
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

static inline void wait_settled(struct fixture *f, int count)
{
	sl_lock(&f->lock);
	while (f->settled < count)
		sl_cond_wait(&f->changed, &f->lock);
	sl_unlock(&f->lock);
}

static inline int set_up(void **state)
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

static inline void end(struct fixture *f)
{
	if (f->endpoint)
		f->endpoint->ops->free(f->endpoint);
	f->endpoint = NULL;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;

	end(f);
	sl_http_loop_free(f->loop);
	sl_cond_destroy(&f->changed);
	sl_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static inline void open_ports(struct fixture *f, int port, int second)
{
	snprintf(f->url[0], sizeof f->url[0], "http://127.0.0.1:%d/v1/", port);
	snprintf(f->url[1], sizeof f->url[1], "http://127.0.0.1:%d/v1", second);
	f->urls[0] = f->url[0];
	f->urls[1] = f->url[1];
	f->def.urls = (struct sl_list){ f->urls, second ? 2 : 1 };
	f->endpoint = sl_http_endpoint_new(f->loop, &f->def);
}

static inline void ask(struct fixture *f, struct asked *a, const char *body)
{
	*a = (struct asked){ .out = { .path = "/chat/completions",
				      .model = a->out.model ? a->out.model : "m",
				      .body = sl_text(body),
				      .tokens_max = 10,
				      .or_not = a->out.or_not,
				      .get = a->out.get,
				      .once = a->out.once,
				      .owner = f,
				      .done = on_done } };
	f->endpoint->ops->send(f->endpoint, &a->out);
}

/* What describe() says of one member. */
static inline void expect(struct fixture *f, const char *member)
{
	struct sl_buf json = { 0 };

	f->endpoint->ops->describe(f->endpoint, &json);
	if (!strstr(sl_buf_text(&json), member))
		fail_msg("'%s' is not in %s", member, sl_buf_text(&json));
	sl_buf_release(&json);
}

static inline bool answer_ok(struct server *s, struct connection *c, int number)
{
	(void)s;
	(void)number;
	if (strstr(c->head, "Authorization") || !strstr(c->head, "POST /v1/chat/completions HTTP/1.1\r\n") ||
	    !strstr(c->head, "Content-Type: application/json"))
		return reply(c, 400, "", "not what was meant");
	return reply(c, 200, "", (const char *)sl_buf_text(&c->body));
}

static inline int free_port(void)
{
	int fd = listen_on(0), port = port_of(fd);

	close(fd);
	return port;
}

#endif
