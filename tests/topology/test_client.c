/* test_client.c -- the operations of a data folder through its owner's socket: what a second
 * client does must be what the owner would have done, the socket must survive anything
 * that is sent to it, and a client whose owner leaves must take over. */
#include "topology/client.h"
#include "topology/http.h"
#include "topology/http_call.h"
#include "topology/metrics_server.h"
#include "topology/wire.h"

#include "topology/base/file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
	char folder[64];
	struct sl_topology *topology;
};

static void must(bool done, const struct sl_error *e)
{
	if (!done)
		fail_msg("%s", e->text);
}

static int set_up(void **state)
{
	struct place *p = sl_calloc(1, sizeof *p);
	struct sl_error e = { 0 };

	snprintf(p->folder, sizeof p->folder, "/tmp/sluice-test-client-XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	p->topology = sl_topology_load("topology/curate.yaml", NULL, 0, &e);
	if (!p->topology) {
		print_error("%s\n", e.text);
		return -1;
	}
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	struct sl_error e;
	bool done = sl_folder_remove(p->folder, &e);

	sl_topology_free(p->topology);
	free(p);
	return done ? 0 : -1;
}

static struct sl_client *open_client(const struct place *p, const char *folder)
{
	struct sl_error e = { 0 };
	struct sl_client *c = sl_client_open(p->topology, folder, &e);

	must(c != NULL, &e);
	return c;
}

static struct sl_record record(const char *key, const char *value)
{
	return (struct sl_record){ .time_ms = 5, .key = sl_text(key), .value = sl_text(value) };
}

static void ingest_one(struct sl_client *c, struct sl_ingest_mark *before, const char *value)
{
	struct sl_record r = record("0123456789abcdef", value);
	struct sl_buf frames = { 0 };
	struct sl_ingest_append a = { .source = sl_text("chats"), .head = sl_hash128("h", 1), .before = *before };
	struct sl_ingest_mark mark;
	struct sl_error e = { 0 };

	sl_frames_add(&frames, &r);
	a.pairs = sl_buf_bytes(&frames);
	a.after = *before;
	a.after.position += 10;
	a.after.lines++;
	a.after.pairs++;
	must(sl_client_ingest(c, &a, &mark, &e), &e);
	assert_int_equal(mark.position, a.after.position);
	/* The same again is refused, and the mark told. */
	assert_false(sl_client_ingest(c, &a, &mark, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	assert_int_equal(mark.position, a.after.position);
	*before = a.after;
	sl_buf_release(&frames);
}

static void assert_fetched(struct sl_client *c, int topic, int64_t count, const char *first)
{
	struct sl_buf frames = { 0 };
	struct sl_error e = { 0 };
	struct sl_record r;
	int64_t next, end;
	size_t at = 0;

	must(sl_client_fetch(c, topic, 0, 0, 1 << 20, &frames, &next, &end, &e), &e);
	assert_int_equal(next, count);
	assert_int_equal(end, count);
	assert_true(sl_frames_next(sl_buf_bytes(&frames), &at, &r));
	assert_true(sl_is(r.value, first));
	sl_buf_release(&frames);
}

static void both_ways(void **state)
{
	const struct place *p = *state;
	struct sl_client *owner = open_client(p, p->folder), *other = open_client(p, p->folder);
	int topic = sl_topology_topic(p->topology, "pairs.ties");
	struct sl_record records[2] = { record("a", "one"), record("b", "two") };
	struct sl_ingest_mark mark = { 0 }, found;
	struct sl_buf json = { 0 }, frames = { 0 };
	struct sl_error e = { 0 };
	int64_t next, end;

	assert_false(sl_client_remote(owner));
	assert_true(sl_client_remote(other));
	must(sl_client_ingest_mark(other, sl_text("chats"), sl_hash128("h", 1), &found, &e), &e);
	assert_int_equal(found.position, 0);
	ingest_one(other, &mark, "first");
	ingest_one(owner, &mark, "second");
	must(sl_client_ingest_mark(other, sl_text("chats"), sl_hash128("h", 1), &found, &e), &e);
	assert_int_equal(found.position, 20);
	assert_fetched(owner, p->topology->entry, 2, "first");
	assert_fetched(other, p->topology->entry, 2, "first");
	must(sl_client_append(other, topic, records, 2, &e), &e);
	must(sl_client_append(other, topic, records, 0, &e), &e);
	assert_fetched(other, topic, 2, "one");
	must(sl_client_status(other, &json, &e), &e);
	assert_non_null(strstr(sl_buf_text(&json), "\"topology\":\"curate\""));
	/* Refusals come through with verdict and text. */
	assert_false(sl_client_promote(other, "gold", 7, "no", &e));
	assert_int_not_equal(e.verdict, SL_OK);
	assert_false(sl_client_fetch(other, topic, 99, 0, 10, &frames, &next, &end, &e));
	assert_non_null(strstr(e.text, "99"));
	/* The owner leaves: the other one takes over, with all that is committed. */
	sl_client_close(owner);
	assert_fetched(other, p->topology->entry, 2, "first");
	assert_false(sl_client_remote(other));
	ingest_one(other, &mark, "third");
	sl_client_close(other);
	sl_buf_release(&json);
	sl_buf_release(&frames);
}

/* A path longer than a socket's name may be. */
static void long_folder(void **state)
{
	const struct place *p = *state;
	struct sl_client *owner, *other;
	struct sl_buf folder = { 0 };
	struct stat st;

	sl_buf_print(&folder, "%s/", p->folder);
	for (int i = 0; i < 150; i++)
		sl_buf_add_byte(&folder, 'x');
	sl_buf_text(&folder);
	owner = open_client(p, (const char *)folder.data);
	other = open_client(p, (const char *)folder.data);
	assert_true(sl_client_remote(other));
	sl_buf_print(&folder, "/%s", SL_WIRE_SOCKET);
	assert_int_equal(stat(sl_buf_text(&folder), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	sl_client_close(owner);
	assert_int_not_equal(stat(sl_buf_text(&folder), &st), 0);
	sl_client_close(other);
	sl_buf_release(&folder);
}

static void socket_of(const struct place *p, struct sl_buf *path)
{
	sl_buf_print(path, "%s/%s", p->folder, SL_WIRE_SOCKET);
	sl_buf_text(path);
}

static void stale_socket(void **state)
{
	const struct place *p = *state;
	struct sl_client *owner;
	struct sl_buf path = { 0 };
	struct sl_error e = { 0 };
	int fd;

	socket_of(p, &path);
	fd = sl_http_listen_unix((const char *)path.data, &e); /* an owner that was killed */
	assert_true(fd >= 0);
	close(fd);
	owner = open_client(p, p->folder);
	fd = sl_http_connect_unix((const char *)path.data);
	assert_true(fd >= 0);
	close(fd);
	sl_client_close(owner);
	sl_buf_release(&path);
}

static void refusals(void **state)
{
	static const struct {
		const char *target, *body;
		long status;
		const char *says;
	} cases[] = {
		{ "/", NULL, 404, "nothing is served at '/'" },
		{ "/v1/ingest", NULL, 405, "wants POST" },
		{ "/v1/status", "x", 405, "wants GET" },
		{ "/v1/ingest", "short", 400, "does not begin with a source" },
		{ "/v1/mark", "\xff\xff\xff\xffrest", 400, "not a source and a head" },
		{ "/v1/append", "x", 400, "has no 'topic'" },
		{ "/v1/append?topic=none", "x", 400, "topic 'none' is unknown" },
		{ "/v1/append?topic=pairs.ties", "x", 400, "malformed frame at byte 0 of 1" },
		{ "/v1/fetch?topic=pairs.ties", NULL, 400, "has no 'partition'" },
		{ "/v1/fetch?topic=pairs.ties&partition=-1&offset=0&bytes=1", NULL, 400, "'partition' must be" },
		{ "/v1/fetch?topic=pairs.ties&partition=9&offset=0&bytes=1", NULL, 400, "has no partition 9" },
		{ "/v1/fetch?topic=pairs.ties&partition=0&offset=99999999999999999999&bytes=1", NULL, 400,
		  "'offset' must be" },
		{ "/v1/fetch?topic=pairs.ties&partition=0&offset=0&bytes=99999999", NULL, 400, "'bytes' must be" },
		{ "/v1/train", "by hand", 400, "has no 'model'" },
		{ "/v1/promote?model=gold&version=x", "", 400, "'version' must be" },
	};
	const struct place *p = *state;
	struct sl_client *owner = open_client(p, p->folder);
	struct sl_http_response response = { 0 };
	struct sl_http_caller *caller, *stranger;
	struct sl_buf path = { 0 };
	struct sl_error e = { 0 };

	socket_of(p, &path);
	caller = sl_http_caller_new((const char *)path.data, "curate", &e);
	stranger = sl_http_caller_new((const char *)path.data, "other", &e);
	assert_true(caller && stranger);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(sl_http_call(caller, cases[i].target, sl_text(cases[i].body), &response, &e),
				 SL_HTTP_ANSWERED);
		sl_wire_error_decode(sl_buf_bytes(&response.body), response.status, &e);
		if (response.status != cases[i].status || !strstr(e.text, cases[i].says))
			fail_msg("%s: %ld, %s", cases[i].target, response.status, e.text);
	}
	assert_int_equal(sl_http_call(stranger, "/v1/status", (struct sl_bytes){ 0 }, &response, &e), SL_HTTP_ANSWERED);
	assert_int_equal(response.status, 400);
	sl_http_caller_free(caller);
	sl_http_caller_free(stranger);
	sl_buf_release(&response.body);
	sl_buf_release(&path);
	sl_client_close(owner);
}

/* Bytes that are no request, and requests that break off, leave the owner as it was. */
static void noise(void **state)
{
	static const char *const pieces[] = {
		"",
		"\r\n\r\n",
		"GET",
		"GET / HTTP/9.9\r\n\r\n",
		"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc",
		"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
		"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	};
	const struct place *p = *state;
	struct sl_client *owner = open_client(p, p->folder);
	struct sl_buf path = { 0 }, json = { 0 };
	struct sl_error e = { 0 };

	socket_of(p, &path);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		int fd = sl_http_connect_unix((const char *)path.data);

		assert_true(fd >= 0);
		must(sl_write_all(fd, pieces[i], strlen(pieces[i]), &e), &e);
		close(fd);
	}
	must(sl_client_status(owner, &json, &e), &e);
	sl_client_close(owner);
	sl_buf_release(&path);
	sl_buf_release(&json);
}

/* One GET over TCP; the reply, head and body. */
static void get(int port, const char *path, struct sl_buf *reply)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sl_buf request = { 0 };
	struct sl_error e;
	ssize_t n;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	sl_buf_print(&request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	must(sl_write_all(fd, request.data, request.size, &e), &e);
	sl_buf_clear(reply);
	while ((n = read(fd, sl_buf_reserve(reply, 4096), 4096)) > 0)
		reply->size += (size_t)n;
	close(fd);
	sl_buf_release(&request);
	sl_buf_text(reply);
}

static void metrics(void **state)
{
	const struct place *p = *state;
	struct sl_runtime_options options = { .data = p->folder };
	struct sl_error e = { 0 };
	struct sl_runtime *rt = sl_runtime_open(p->topology, &options, &e);
	struct sl_metrics_server *server;
	struct sl_buf reply = { 0 };
	int port = 0;

	must(rt != NULL, &e);
	assert_null(sl_metrics_server_start(rt, "nowhere", &port, &e));
	assert_non_null(strstr(e.text, "expected HOST:PORT"));
	server = sl_metrics_server_start(rt, "127.0.0.1:0", &port, &e);
	must(server != NULL, &e);
	assert_true(port > 0);
	get(port, "/healthz", &reply);
	assert_non_null(strstr((const char *)reply.data, "200 OK"));
	get(port, "/metrics", &reply);
	assert_non_null(strstr((const char *)reply.data, "# TYPE sluice_step_records_in_total counter"));
	get(port, "/readyz", &reply); /* nothing runs the steps */
	assert_non_null(strstr((const char *)reply.data, " 503 "));
	get(port, "/etc/passwd", &reply);
	assert_non_null(strstr((const char *)reply.data, "404"));
	sl_metrics_server_stop(server);
	sl_runtime_close(rt);
	sl_buf_release(&reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stale_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(noise, set_up, tear_down),
		cmocka_unit_test_setup_teardown(metrics, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
