/* metrics_server.c -- see metrics_server.h. Ready is read from the status that everybody sees,
 * so that a probe and a person never disagree. */
#include "metrics_server.h"

#include "http.h"

#include <jansson.h>
#include <stdlib.h>

struct sl_metrics_server {
	struct sl_runtime *rt;
	struct sl_http *http;
};

static bool ready(struct sl_runtime *rt, struct sl_buf *why, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	json_t *status, *step;
	bool all = true;
	size_t i;

	if (!sl_runtime_status(rt, &text, e)) {
		sl_buf_release(&text);
		return false;
	}
	status = json_loadb((const char *)text.data, text.size, 0, NULL);
	if (!json_is_true(json_object_get(status, "running"))) {
		sl_buf_print(why, "the steps are not running\n");
		all = false;
	}
	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		const char *state = json_string_value(json_object_get(step, "state"));
		const char *name = json_string_value(json_object_get(step, "name"));

		if (!state || strcmp(state, "backoff") != 0) /* failed, to be tried again */
			continue;
		sl_buf_print(why, "step '%s' has failed and waits to try again\n", name ? name : "");
		all = false;
	}
	json_decref(status);
	sl_buf_release(&text);
	if (!all)
		sl_error_set(e, SL_WAIT, "not ready");
	return all;
}

static void handle(void *arg, const struct sl_request *q, struct sl_reply *r)
{
	struct sl_metrics_server *s = arg;
	struct sl_error e = { 0 };

	r->type = "text/plain; charset=utf-8";
	if (strcmp(q->method, "GET") != 0 && strcmp(q->method, "HEAD") != 0) {
		r->status = 405;
		sl_buf_print(&r->body, "only GET is served\n");
	} else if (strcmp(q->path, "/metrics") == 0) {
		r->type = "text/plain; version=0.0.4; charset=utf-8";
		if (!sl_runtime_metrics(s->rt, &r->body, &e)) {
			r->status = 500;
			sl_buf_clear(&r->body);
			sl_buf_print(&r->body, "%s\n", e.text);
		}
	} else if (strcmp(q->path, "/healthz") == 0) {
		sl_buf_print(&r->body, "ok\n");
	} else if (strcmp(q->path, "/readyz") == 0) {
		if (ready(s->rt, &r->body, &e)) {
			sl_buf_print(&r->body, "ready\n");
		} else {
			r->status = 503;
			if (r->body.size == 0)
				sl_buf_print(&r->body, "%s\n", e.text);
		}
	} else {
		r->status = 404;
		sl_buf_print(&r->body, "nothing here; try /metrics, /healthz, /readyz\n");
	}
}

struct sl_metrics_server *sl_metrics_server_start(struct sl_runtime *rt, const char *address, int *port,
						  struct sl_error *e)
{
	struct sl_metrics_server *s = sl_calloc(1, sizeof *s);
	int fd;

	s->rt = rt;
	fd = sl_http_listen_tcp(address, port, e);
	if (fd >= 0)
		s->http = sl_http_start(fd, 4096, handle, s, e);
	if (s->http)
		return s;
	free(s);
	return NULL;
}

void sl_metrics_server_stop(struct sl_metrics_server *s)
{
	if (!s)
		return;
	sl_http_stop(s->http);
	free(s);
}
