/* server.c -- see server.h. One function per route: take the request apart, call the
 * operation, put the answer together. What a peer sends is checked here; what the
 * operation says is passed on, verdict and text. */
#include "server.h"

#include "http.h"
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sl_server {
	struct sl_runtime *rt;
	struct sl_http *http;
	char *path;
};

typedef bool route_run(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e);

static void set_header(struct sl_reply *r, int index, const char *name, int64_t value)
{
	r->headers[index].name = name;
	snprintf(r->headers[index].value, sizeof r->headers[index].value, "%" PRId64, value);
}

static void set_mark(struct sl_reply *r, const struct sl_ingest_mark *mark)
{
	_Static_assert(sizeof r->headers[0].value > 2 * SL_WIRE_MARK_SIZE, "a mark fits a header");
	r->headers[0].name = "Sluice-Mark";
	sl_wire_mark_hex(mark, r->headers[0].value);
}

static bool find_topic(struct sl_runtime *rt, const struct sl_request *q, int *topic, struct sl_error *e)
{
	const char *name = sl_request_query(q, "topic");

	if (!name)
		return sl_error_set(e, SL_STOP, "the request has no 'topic'");
	*topic = sl_topology_topic(sl_runtime_topology(rt), name);
	if (*topic < 0)
		return sl_error_set(e, SL_STOP, "topic '%.249s' is unknown to the process that owns the data folder",
				    name);
	return true;
}

static bool fetch(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	int64_t partition, offset, bytes, next, end;
	const struct sl_topic *topic;
	int index;

	if (!find_topic(rt, q, &index, e) || !sl_request_count(q, "partition", INT32_MAX, &partition, e) ||
	    !sl_request_count(q, "offset", INT64_MAX, &offset, e) ||
	    !sl_request_count(q, "bytes", (int64_t)SL_WIRE_FETCH_MAX, &bytes, e))
		return false;
	topic = &sl_runtime_topology(rt)->topics[index];
	if (partition >= topic->partitions)
		return sl_error_set(e, SL_STOP, "topic '%s' has no partition %" PRId64 ", only 0 .. %d", topic->name,
				    partition, topic->partitions - 1);
	if (!sl_runtime_fetch(rt, index, (int32_t)partition, offset, (size_t)bytes, &r->body, &next, &end, e))
		return false;
	set_header(r, 0, "Sluice-Next", next);
	set_header(r, 1, "Sluice-End", end);
	return true;
}

static bool mark(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	struct sl_ingest_mark found = { 0 };
	struct sl_bytes source;
	struct sl_id head;

	if (!sl_wire_key_decode(q->body, &source, &head, e) || !sl_runtime_ingest_mark(rt, source, head, &found, e))
		return false;
	set_mark(r, &found);
	return true;
}

static bool ingest(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	struct sl_ingest_append append;
	struct sl_ingest_mark found = { 0 };
	bool done;

	if (!sl_wire_ingest_decode(q->body, &append, e))
		return false;
	done = sl_runtime_ingest(rt, &append, &found, e);
	set_mark(r, &found);
	return done;
}

static bool append(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	struct sl_record *records;
	size_t count;
	int topic;
	bool done;

	(void)r;
	if (!find_topic(rt, q, &topic, e) || !sl_wire_records(q->body, &records, &count, e))
		return false;
	done = sl_runtime_append(rt, topic, records, count, e);
	free(records);
	return done;
}

static bool status(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	(void)q;
	r->type = "application/json";
	return sl_runtime_status(rt, &r->body, e);
}

/* The body as a text: valid until the request ends. */
static const char *reason_of(const struct sl_request *q, struct sl_buf *copy)
{
	sl_buf_add_bytes(copy, q->body);
	return sl_buf_text(copy);
}

static bool model_of(const struct sl_request *q, const char **model, struct sl_error *e)
{
	*model = sl_request_query(q, "model");
	return *model || sl_error_set(e, SL_STOP, "the request has no 'model'");
}

static bool train(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	struct sl_buf reason = { 0 };
	const char *model;
	bool done;

	if (!model_of(q, &model, e))
		return false;
	r->type = "application/json";
	done = sl_runtime_train(rt, model, reason_of(q, &reason), &r->body, e);
	sl_buf_release(&reason);
	return done;
}

static bool promote(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	struct sl_buf reason = { 0 };
	const char *model;
	int64_t version;
	bool done;

	(void)r;
	if (!model_of(q, &model, e) || !sl_request_count(q, "version", INT64_MAX, &version, e))
		return false;
	done = sl_runtime_promote(rt, model, version, reason_of(q, &reason), e);
	sl_buf_release(&reason);
	return done;
}

static bool reload(struct sl_runtime *rt, const struct sl_request *q, struct sl_reply *r, struct sl_error *e)
{
	(void)q;
	r->type = "application/json";
	return sl_runtime_reload(rt, &r->body, e);
}

static const struct {
	const char *method, *path;
	route_run *run;
} routes[] = {
	{ "GET", "/v1/fetch", fetch },      { "POST", "/v1/mark", mark },     { "POST", "/v1/ingest", ingest },
	{ "POST", "/v1/append", append },   { "GET", "/v1/status", status },  { "POST", "/v1/train", train },
	{ "POST", "/v1/promote", promote }, { "POST", "/v1/reload", reload },
};

/* Commands name their topology: topics of another one would mean something else. */
static bool same_topology(struct sl_runtime *rt, const struct sl_request *q, struct sl_error *e)
{
	const char *asked = sl_request_header(q, "Sluice-Topology"), *ours = sl_runtime_topology(rt)->name;

	if (!asked || strcmp(asked, ours) == 0)
		return true;
	return sl_error_set(e, SL_STOP,
			    "the data folder is served with topology '%s', not '%.100s': use its file with -t", ours,
			    asked);
}

static void fail(struct sl_reply *r, int http_status, const struct sl_error *e)
{
	r->status = http_status;
	r->type = "application/json";
	sl_buf_clear(&r->body);
	sl_wire_error_encode(e, &r->body);
}

static void handle(void *arg, const struct sl_request *q, struct sl_reply *r)
{
	struct sl_server *s = arg;
	struct sl_error e = { 0 };

	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		if (strcmp(routes[i].path, q->path) != 0)
			continue;
		if (strcmp(routes[i].method, q->method) != 0) {
			sl_error_set(&e, SL_STOP, "'%s' wants %s", routes[i].path, routes[i].method);
			fail(r, 405, &e);
		} else if (!same_topology(s->rt, q, &e) || !routes[i].run(s->rt, q, r, &e)) {
			fail(r, e.verdict == SL_STOP ? 400 : 409, &e);
		}
		return;
	}
	sl_error_set(&e, SL_STOP, "nothing is served at '%.100s'", q->path);
	fail(r, 404, &e);
}

struct sl_server *sl_server_start(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_server *s = sl_calloc(1, sizeof *s);
	struct sl_buf path = { 0 };
	int fd;

	sl_buf_print(&path, "%s/%s", sl_runtime_data(rt), SL_WIRE_SOCKET);
	s->rt = rt;
	s->path = sl_strdup(sl_buf_text(&path));
	sl_buf_release(&path);
	fd = sl_http_listen_unix(s->path, e);
	if (fd >= 0)
		s->http = sl_http_start(fd, SL_WIRE_BODY_MAX, handle, s, e);
	if (s->http)
		return s;
	free(s->path);
	free(s);
	return NULL;
}

void sl_server_stop(struct sl_server *s)
{
	if (!s)
		return;
	/* The name first: whoever comes now waits for the lock instead. A failure leaves a
	 * stale name, which the next owner replaces. */
	(void)unlink(s->path);
	sl_http_stop(s->http);
	free(s->path);
	free(s);
}
