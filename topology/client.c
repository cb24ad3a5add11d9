/* client.c -- see client.h.
 *
 * There are three situations: the lock is free (we become the owner), it is taken and the
 * owner listens (we ask), it is taken and nobody listens (the owner is starting or
 * leaving: wait a little). find_owner() sorts that out, at open and again whenever
 * the other end goes away. */
#include "client.h"

#include "base/thread.h"
#include "http.h"
#include "http_call.h"
#include "server.h"
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000

struct sl_client {
	const struct sl_topology *topology;
	const char *data;
	char *socket_path;
	/* Owner ourselves: */
	struct sl_runtime *rt;
	struct sl_server *server;
	/* or asking: */
	struct sl_http_caller *caller;
	struct sl_http_response response;
};

static void leave(struct sl_client *c)
{
	sl_server_stop(c->server);
	c->server = NULL;
	sl_runtime_close(c->rt);
	c->rt = NULL;
	sl_http_caller_free(c->caller);
	c->caller = NULL;
}

static void pause_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

static bool become_owner(struct sl_client *c, struct sl_error *e)
{
	struct sl_runtime_options options = { .data = c->data };

	c->rt = sl_runtime_open(c->topology, &options, e);
	if (!c->rt)
		return false;
	c->server = sl_server_start(c->rt, e);
	if (c->server)
		return true;
	leave(c);
	return false;
}

/* True when somebody listens; e is set when that cannot become true by waiting. */
static bool reach_owner(struct sl_client *c, struct sl_error *e)
{
	int fd = sl_http_connect_unix(c->socket_path);

	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			sl_error_errno(e, SL_STOP, "cannot talk to the owner at '%s'", c->socket_path);
		return false;
	}
	close(fd);
	c->caller = sl_http_caller_new(c->socket_path, c->topology->name, e);
	return c->caller != NULL;
}

static bool find_owner(struct sl_client *c, struct sl_error *e)
{
	int64_t pause = 10, waited = 0;

	leave(c);
	for (;;) {
		struct sl_error busy = { 0 };

		if (become_owner(c, &busy) || reach_owner(c, &busy))
			return true;
		if (busy.verdict != SL_RETRY) {
			*e = busy;
			return false;
		}
		if (waited >= PATIENCE_MS) {
			*e = busy; /* names DIR/LOCK and the process */
			return sl_error_in(e, "waited %" PRId64 " s, '%s' does not listen", waited / 1000,
					   c->socket_path);
		}
		pause_ms(pause);
		waited += pause;
		pause = pause < 500 ? 2 * pause : 500;
	}
}

struct sl_client *sl_client_open(const struct sl_topology *topology, const char *data, struct sl_error *e)
{
	struct sl_client *c = sl_calloc(1, sizeof *c);
	struct sl_buf path = { 0 };

	c->topology = topology;
	c->data = data ? data : topology->data;
	sl_buf_print(&path, "%s/%s", c->data, SL_WIRE_SOCKET);
	c->socket_path = sl_strdup(sl_buf_text(&path));
	sl_buf_release(&path);
	if (find_owner(c, e))
		return c;
	sl_client_close(c);
	return NULL;
}

void sl_client_close(struct sl_client *c)
{
	if (!c)
		return;
	leave(c);
	sl_buf_release(&c->response.body);
	free(c->socket_path);
	free(c);
}

bool sl_client_remote(const struct sl_client *c)
{
	return c->caller != NULL;
}

/* What became of a request: the owner's answer, or we are the owner now, or an error. */
enum asked { ASKED_OK, ASKED_OURS, ASKED_REFUSED };

/* `again`: doing it twice does no harm, so a call that broke off is repeated. */
static enum asked ask(struct sl_client *c, const struct sl_buf *target, struct sl_bytes body, bool again,
		      struct sl_error *e)
{
	/* Each round ends in an answer or waits for an owner inside find_owner. */
	for (int round = 0; round < 10; round++) {
		enum sl_http_outcome outcome;

		if (c->rt)
			return ASKED_OURS;
		outcome = sl_http_call(c->caller, (const char *)target->data, body, &c->response, e);
		if (outcome == SL_HTTP_ANSWERED && c->response.status == 200)
			return ASKED_OK;
		if (outcome == SL_HTTP_ANSWERED && c->response.status != 503) {
			sl_wire_error_decode(sl_buf_bytes(&c->response.body), c->response.status, e);
			return ASKED_REFUSED;
		}
		if (outcome == SL_HTTP_BROKEN && !again) {
			sl_error_in(e, "it is unknown whether this was done");
			return ASKED_REFUSED;
		}
		if (!find_owner(c, e))
			return ASKED_REFUSED;
	}
	sl_error_set(e, SL_RETRY, "the owner of '%s' keeps going away", c->data);
	return ASKED_REFUSED;
}

static bool header_count(const char *text, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == 0 && *value >= 0;
}

static bool strange(struct sl_error *e, const char *what)
{
	return sl_error_set(e, SL_STOP, "the owner of the data folder sent %s that is not ours", what);
}

bool sl_client_fetch(struct sl_client *c, int topic, int32_t partition, int64_t offset, size_t bytes_max,
		     struct sl_buf *frames, int64_t *next, int64_t *end, struct sl_error *e)
{
	struct sl_buf target = { 0 };
	enum asked asked;

	if (bytes_max > SL_WIRE_FETCH_MAX)
		bytes_max = SL_WIRE_FETCH_MAX;
	sl_buf_print(&target, "/v1/fetch?partition=%d&offset=%" PRId64 "&bytes=%zu&topic=", partition, offset,
		     bytes_max);
	sl_http_escape(&target, c->topology->topics[topic].name);
	sl_buf_text(&target);
	asked = ask(c, &target, (struct sl_bytes){ 0 }, true, e);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_fetch(c->rt, topic, partition, offset, bytes_max, frames, next, end, e);
	if (asked == ASKED_REFUSED)
		return false;
	sl_buf_add_bytes(frames, sl_buf_bytes(&c->response.body));
	return (header_count(c->response.next, next) && header_count(c->response.end, end)) || strange(e, "an offset");
}

static const struct sl_buf *fixed_target(struct sl_buf *target, const char *text)
{
	sl_buf_print(target, "%s", text);
	sl_buf_text(target);
	return target;
}

bool sl_client_ingest(struct sl_client *c, const struct sl_ingest_append *a, struct sl_ingest_mark *mark,
		      struct sl_error *e)
{
	struct sl_buf target = { 0 }, body = { 0 };
	enum asked asked;
	bool marked;

	if (c->rt)
		return sl_runtime_ingest(c->rt, a, mark, e);
	sl_wire_ingest_encode(a, &body);
	/* Not twice blindly: the second time would be refused, because the mark has moved, and
	 * the caller could not tell that from another ingest of the same file. It asks for the mark. */
	asked = ask(c, fixed_target(&target, "/v1/ingest"), sl_buf_bytes(&body), false, e);
	sl_buf_release(&body);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_ingest(c->rt, a, mark, e);
	marked = sl_wire_mark_unhex(c->response.mark, mark);
	if (asked == ASKED_REFUSED) {
		if (!marked)
			*mark = a->before;
		return false;
	}
	return marked || strange(e, "a mark");
}

bool sl_client_ingest_mark(struct sl_client *c, struct sl_bytes source, struct sl_id head, struct sl_ingest_mark *mark,
			   struct sl_error *e)
{
	struct sl_buf target = { 0 }, body = { 0 };
	enum asked asked;

	if (c->rt)
		return sl_runtime_ingest_mark(c->rt, source, head, mark, e);
	sl_wire_key_encode(source, head, &body);
	asked = ask(c, fixed_target(&target, "/v1/mark"), sl_buf_bytes(&body), true, e);
	sl_buf_release(&body);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_ingest_mark(c->rt, source, head, mark, e);
	if (asked == ASKED_REFUSED)
		return false;
	return sl_wire_mark_unhex(c->response.mark, mark) || strange(e, "a mark");
}

bool sl_client_append(struct sl_client *c, int topic, const struct sl_record *records, size_t count, struct sl_error *e)
{
	struct sl_buf target = { 0 }, body = { 0 };
	enum asked asked;

	if (c->rt)
		return sl_runtime_append(c->rt, topic, records, count, e);
	for (size_t i = 0; i < count; i++)
		sl_frames_add(&body, &records[i]);
	sl_buf_print(&target, "/v1/append?topic=");
	sl_http_escape(&target, c->topology->topics[topic].name);
	sl_buf_text(&target);
	sl_buf_reserve(&body, 1); /* never absent: this is a POST */
	asked = ask(c, &target, sl_buf_bytes(&body), false, e);
	sl_buf_release(&body);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_append(c->rt, topic, records, count, e);
	return asked == ASKED_OK;
}

bool sl_client_status(struct sl_client *c, struct sl_buf *json, struct sl_error *e)
{
	struct sl_buf target = { 0 };
	enum asked asked;

	asked = ask(c, fixed_target(&target, "/v1/status"), (struct sl_bytes){ 0 }, true, e);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_status(c->rt, json, e);
	if (asked == ASKED_OK)
		sl_buf_add_bytes(json, sl_buf_bytes(&c->response.body));
	return asked == ASKED_OK;
}

bool sl_client_train(struct sl_client *c, const char *model, const char *reason, struct sl_buf *report_json,
		     struct sl_error *e)
{
	struct sl_buf target = { 0 };
	enum asked asked;

	sl_buf_print(&target, "/v1/train?model=");
	sl_http_escape(&target, model);
	sl_buf_text(&target);
	asked = ask(c, &target, sl_text(reason), false, e);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_train(c->rt, model, reason, report_json, e);
	if (asked == ASKED_OK)
		sl_buf_add_bytes(report_json, sl_buf_bytes(&c->response.body));
	return asked == ASKED_OK;
}

bool sl_client_promote(struct sl_client *c, const char *model, int64_t version, const char *reason, struct sl_error *e)
{
	struct sl_buf target = { 0 };
	enum asked asked;

	sl_buf_print(&target, "/v1/promote?version=%" PRId64 "&model=", version);
	sl_http_escape(&target, model);
	sl_buf_text(&target);
	asked = ask(c, &target, sl_text(reason), false, e);
	sl_buf_release(&target);
	if (asked == ASKED_OURS)
		return sl_runtime_promote(c->rt, model, version, reason, e);
	return asked == ASKED_OK;
}
