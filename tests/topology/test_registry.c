/* test_registry.c -- the client of a schema registry against a server that answers as it is told: what is asked, what
 * is kept, what every refusal says, and that no password is in it. tests/kafka/python_client.sh asks a real registry.
 */
#include "topology/registry.h"

#include "topology/base/file.h"
#include "topology/base/thread.h"
#include "topology/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <jansson.h>
#include <microhttpd.h>

#define PASSWORD "open-sesame"
#define PAIR "{\"type\":\"record\",\"name\":\"Pair\",\"fields\":[{\"name\":\"source\",\"type\":\"string\"}]}"
#define QUOTED "{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"Pair\\\",\\\"fields\\\":[]}"

/* -- a server that answers as it is told ------------------------------------------------------ */

struct line {
	const char *method, *path;
	int status;
	const char *body;
};

struct said {
	size_t asked;
	char method[200], path[200], authorization[99]; /* of the last request */
	char bodies[2][1 << 15];                        /* of the last PUT and POST */
};

struct fake {
	pthread_mutex_t lock;
	const struct line *lines; /* method NULL at the end; what none matches is 404 */
	struct said said;         /* the lock is held */
	struct said seen;         /* of the tests alone, a copy */
	struct sl_http *server;
	char url[64];
};

static void answer(void *arg, const struct sl_request *q, struct sl_reply *reply)
{
	struct fake *f = arg;
	const char *authorization = sl_request_header(q, "Authorization");
	size_t post = strcmp(q->method, "POST") == 0;

	sl_lock(&f->lock);
	f->said.asked++;
	snprintf(f->said.method, sizeof f->said.method, "%s", q->method);
	snprintf(f->said.path, sizeof f->said.path, "%s", q->path);
	snprintf(f->said.authorization, sizeof f->said.authorization, "%s", authorization ? authorization : "");
	if (strcmp(q->method, "GET") != 0)
		snprintf(f->said.bodies[post], sizeof f->said.bodies[post], "%.*s", (int)q->body.size,
			 (const char *)q->body.data);
	reply->status = 404;
	reply->type = "application/json";
	for (const struct line *l = f->lines; l && l->method; l++)
		if (strcmp(l->method, q->method) == 0 && strcmp(l->path, q->path) == 0) {
			reply->status = l->status;
			if (strcmp(l->body, "@large") == 0)
				sl_buf_print(&reply->body, "%*s", 5 << 20, "");
			else
				sl_buf_print(&reply->body, "%s", l->body);
			if (l->status == 302) {
				reply->headers[0].name = "Location";
				snprintf(reply->headers[0].value, sizeof reply->headers[0].value, "%s/elsewhere",
					 f->url);
			}
			sl_unlock(&f->lock);
			return;
		}
	sl_buf_print(&reply->body, "{\"error_code\": 40403, \"message\": \"not found\"}");
	sl_unlock(&f->lock);
}

static void fake_serve(struct fake *f, const char *address)
{
	struct sl_error e = { 0 };
	int port, fd = sl_http_listen_tcp(address, &port, &e);

	if (fd < 0)
		fail_msg("%s", e.text);
	f->server = sl_http_start(fd, 1 << 20, answer, f, &e);
	assert_non_null(f->server);
	snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d", port);
}

static struct fake *fake_new(const struct line *lines)
{
	struct fake *f = sl_calloc(1, sizeof *f);

	sl_mutex_init(&f->lock);
	sl_lock(&f->lock);
	f->lines = lines;
	fake_serve(f, "127.0.0.1:0");
	sl_unlock(&f->lock);
	return f;
}

static void fake_free(struct fake *f)
{
	sl_http_stop(f->server);
	sl_mutex_destroy(&f->lock);
	free(f);
}

/* What it answers from now on; what was said so far is forgotten. */
static void fake_say(struct fake *f, const struct line *lines)
{
	sl_lock(&f->lock);
	f->lines = lines;
	memset(&f->said, 0, sizeof f->said);
	sl_unlock(&f->lock);
}

/* What was said to it so far; until the next call. */
static const struct said *fake_said(struct fake *f)
{
	sl_lock(&f->lock);
	f->seen = f->said;
	sl_unlock(&f->lock);
	return &f->seen;
}

static size_t fake_asked(struct fake *f)
{
	return fake_said(f)->asked;
}

static struct sl_registry *client(const char *url, bool user)
{
	struct sl_registry_options options = { .url = url,
					       .user = user ? "ann" : NULL,
					       .password = user ? PASSWORD : NULL };
	struct sl_error e = { 0 };
	struct sl_registry *r = sl_registry_open(&options, &e);

	if (!r)
		fail_msg("%s", e.text);
	return r;
}

/* True until `seconds` have passed; gives the other side time. */
static bool patience(int64_t *until_ns, int64_t seconds)
{
	pthread_mutex_t m;
	pthread_cond_t c;

	if (*until_ns == 0)
		*until_ns = sl_monotonic_ns() + seconds * 1000000000;
	sl_mutex_init(&m);
	sl_cond_init(&c);
	sl_lock(&m);
	sl_cond_wait_ms(&c, &m, 20);
	sl_unlock(&m);
	sl_cond_destroy(&c);
	sl_mutex_destroy(&m);
	return sl_monotonic_ns() < *until_ns;
}

/* -- registering ------------------------------------------------------------------------------ */

static void test_register(void **state)
{
	static const struct line fresh[] = {
		{ "PUT", "/config/pairs.raw-value", 200, "{\"compatibility\": \"FULL_TRANSITIVE\"}" },
		{ "POST", "/subjects/pairs.raw-value/versions", 200, "{\"id\": 17}" },
		{ 0 },
	};
	static const struct line there[] = {
		{ "GET", "/config/pairs.raw-value", 200, "{\"compatibilityLevel\": \"FULL_TRANSITIVE\"}" },
		{ "POST", "/subjects/pairs.raw-value/versions", 200, "{\"id\": 18}" },
		{ 0 },
	};
	static const struct line other[] = {
		{ "GET", "/config/pairs.raw-value", 200, "{\"compatibilityLevel\": \"BACKWARD\"}" },
		{ "PUT", "/config/pairs.raw-value", 200, "{}" },
		{ "POST", "/subjects/pairs.raw-value/versions", 200, "{\"id\": 19}" },
		{ 0 },
	};
	static const struct {
		const struct line *lines;
		size_t asked;
		int32_t id;
	} cases[] = { { fresh, 3, 17 }, { there, 2, 18 }, { other, 3, 19 } };
	struct fake *f = fake_new(NULL);
	struct sl_registry *r = client(f->url, true);
	struct sl_error e = { 0 };
	json_t *body;
	int32_t id;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		fake_say(f, cases[i].lines);
		if (!sl_registry_register(r, "pairs.raw-value", sl_pair_schema_json, &id, &e))
			fail_msg("case %zu: %s", i, e.text);
		assert_int_equal(id, cases[i].id);
		assert_int_equal(fake_asked(f), cases[i].asked);
		assert_string_equal(f->seen.authorization, "Basic YW5uOm9wZW4tc2VzYW1l");
		if (cases[i].asked == 3)
			assert_string_equal(f->seen.bodies[0], "{\"compatibility\": \"FULL_TRANSITIVE\"}");
	}
	body = json_loads(fake_said(f)->bodies[1], 0, NULL);
	assert_string_equal(json_string_value(json_object_get(body, "schema")), sl_pair_schema_json);
	json_decref(body);
	/* Subjects are escaped; the server sees them as they are. */
	fake_say(f, fresh);
	assert_false(sl_registry_register(r, "a/b %", sl_pair_schema_json, &id, &e));
	assert_string_equal(fake_said(f)->path, "/config/a/b %");
	sl_registry_close(r);
	fake_free(f);
}

static void test_register_refused(void **state)
{
#define CONFIG(status, body)                                                                                           \
	{                                                                                                              \
		"GET", "/config/s", status, body                                                                       \
	}
#define GOOD CONFIG(200, "{\"compatibilityLevel\": \"FULL_TRANSITIVE\"}")
#define POST(status, body)                                                                                             \
	{                                                                                                              \
		"POST", "/subjects/s/versions", status, body                                                           \
	}
	static const struct {
		struct line lines[4];
		bool user;
		enum sl_verdict verdict;
		const char *error;
	} cases[] = {
		{ { CONFIG(401, "{}") }, true, SL_STOP, "does not accept registry.user with its password (HTTP 401)" },
		{ { CONFIG(401, "{}") }, false, SL_STOP, "set registry.user and registry.password" },
		{ { CONFIG(403, "") },
		  true,
		  SL_STOP,
		  "does not let registry.user show the compatibility of subject 's'" },
		{ { CONFIG(403, "") }, false, SL_STOP, "a caller without registry.user" },
		{ { { "PUT", "/config/s", 403, "" } },
		  true,
		  SL_STOP,
		  "does not let registry.user set the compatibility of subject 's' to FULL_TRANSITIVE" },
		{ { CONFIG(404, "<html>") }, true, SL_STOP, "does not answer like a schema registry (HTTP 404" },
		{ { CONFIG(302, "") }, true, SL_STOP, "sends elsewhere (HTTP 302)" },
		{ { GOOD, POST(409, "{\"error_code\": 409, \"message\": \"reader\\nfield \\u001b[1m'x'\"}") },
		  true,
		  SL_STOP,
		  "is not compatible (FULL_TRANSITIVE) with those under subject 's' of the schema registry: reader "
		  "field "
		  " [1m'x'" },
		{ { GOOD, POST(422, "{\"error_code\": 42201, \"message\": \"Invalid schema\"}") },
		  true,
		  SL_STOP,
		  "refuses to register a schema under subject 's' (HTTP 422): Invalid schema" },
		{ { GOOD, POST(500, "{\"error_code\": 50003, \"message\": \"no leader\"}") },
		  true,
		  SL_RETRY,
		  "cannot register a schema under subject 's' now (HTTP 500): no leader" },
		{ { GOOD, POST(429, "slow down") }, true, SL_RETRY, "(HTTP 429)" },
		{ { GOOD, POST(200, "{\"id\": \"x\"}") }, true, SL_STOP, "no 'id'" },
		{ { GOOD, POST(200, "{\"id\": -1}") }, true, SL_STOP, "no 'id'" },
		{ { GOOD, POST(200, "{\"id\": 2147483648}") }, true, SL_STOP, "no 'id'" },
		{ { GOOD, POST(200, "[1]") }, true, SL_STOP, "no 'id'" },
		{ { GOOD, POST(200, "{\"id\": 1") }, true, SL_STOP, "no 'id'" },
		{ { GOOD, POST(200, "@large") }, true, SL_STOP, "is over 4194304 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake *f = fake_new(cases[i].lines);
		struct sl_registry *r = client(f->url, cases[i].user);
		struct sl_error e = { 0 };
		int32_t id;

		if (sl_registry_register(r, "s", PAIR, &id, &e) || e.verdict != cases[i].verdict ||
		    !strstr(e.text, cases[i].error))
			fail_msg("case %zu: %d '%s'", i, (int)e.verdict, e.text);
		assert_null(strstr(e.text, PASSWORD));
		assert_string_not_equal(fake_said(f)->path, "/elsewhere");
		sl_registry_close(r);
		fake_free(f);
	}
}

/* -- finding ---------------------------------------------------------------------------------- */

static void test_decoders_are_kept(void **state)
{
	static const struct line lines[] = {
		{ "GET", "/schemas/ids/7", 200, "{\"schema\": \"" QUOTED "\"}" },
		{ "GET", "/schemas/ids/3", 200, "{\"schema\": \"" QUOTED "\", \"schemaType\": \"AVRO\"}" },
		{ "GET", "/schemas/ids/2147483647", 200, "{\"schema\": \"" QUOTED "\", \"references\": []}" },
		{ 0 },
	};
	static const int32_t ids[] = { 7, 2147483647, 3 };
	struct fake *f = fake_new(lines);
	struct sl_registry *r = client(f->url, false);
	const struct sl_decoder *d[3];
	struct sl_error e = { 0 };
	int64_t until = 0;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		d[i] = sl_registry_decoder(r, ids[i], &e);
		assert_non_null(d[i]);
		assert_string_equal(fake_said(f)->authorization, "");
	}
	for (size_t round = 0; round < 30; round++)
		assert_ptr_equal(sl_registry_decoder(r, ids[round % 3], &e), d[round % 3]);
	assert_int_equal(fake_asked(f), 3);

	/* One that is not there is asked for once in a while only, and found when it comes. */
	fake_say(f, NULL);
	for (size_t i = 0; i < 1000; i++) {
		assert_null(sl_registry_decoder(r, 9, &e));
		assert_int_equal(e.verdict, SL_STOP);
		assert_non_null(strstr(e.text, "has no schema 9"));
	}
	assert_true(fake_asked(f) < 100);
	fake_say(f, (const struct line[]){ { "GET", "/schemas/ids/9", 200, "{\"schema\": \"" QUOTED "\"}" }, { 0 } });
	while (!sl_registry_decoder(r, 9, &e))
		assert_true(patience(&until, 20));
	/* More wrong ids than there are places to remember them. */
	fake_say(f, NULL);
	for (int32_t id = 1000; id < 1100; id++)
		assert_null(sl_registry_decoder(r, id, &e));
	sl_registry_close(r);
	fake_free(f);
}

static void test_decoder_refused(void **state)
{
#define ID(status, body)                                                                                               \
	{                                                                                                              \
		"GET", "/schemas/ids/5", status, body                                                                  \
	}
	static const struct {
		struct line line;
		enum sl_verdict verdict;
		const char *error;
	} cases[] = {
		{ ID(404, "{\"error_code\": 40403, \"message\": \"Schema not found\"}"), SL_STOP, "has no schema 5" },
		/* Never a reason to give up a record: */
		{ ID(404, "<html>"), SL_RETRY, "does not answer like a schema registry" },
		{ ID(401, ""), SL_RETRY, "does not accept registry.user with its password" },
		{ ID(403, ""), SL_RETRY, "does not let registry.user find the schema 5 (HTTP 403)" },
		{ ID(500, "{\"message\": \"oops\"}"), SL_RETRY, "(HTTP 500): oops" },
		{ ID(302, ""), SL_RETRY, "sends elsewhere" },
		{ ID(200, ""), SL_RETRY, "does not answer like" },
		{ ID(200, "{}"), SL_RETRY, "does not answer like" },
		{ ID(200, "{\"schema\": 1}"), SL_RETRY, "does not answer like" },
		{ ID(200, "@large"), SL_RETRY, "is over 4194304 bytes" },
		/* Schemas that no pair can be read with; their ids mean the same for ever. */
		{ ID(200, "{\"schema\": \"x\", \"schemaType\": \"JSON\"}"), SL_STOP,
		  "schema 5 of the schema registry: it is "
		  "of type 'JSON'" },
		{ ID(200, "{\"schema\": \"\\\"int\\\"\"}"), SL_STOP, "expected a record" },
		{ ID(200, "{\"schema\": \"{\"}"), SL_STOP, "cannot be parsed" },
		{ ID(200, "{\"schema\": \"x\", \"references\": [{\"name\": \"o\"}]}"), SL_STOP, "other subjects" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct line lines[2] = { cases[i].line };
		struct fake *f = fake_new(lines);
		struct sl_registry *r = client(f->url, true);
		struct sl_error e = { 0 };

		for (size_t round = 0; round < 2; round++)
			if (sl_registry_decoder(r, 5, &e) || e.verdict != cases[i].verdict ||
			    !strstr(e.text, cases[i].error))
				fail_msg("case %zu: %d '%s'", i, (int)e.verdict, e.text);
		assert_null(strstr(e.text, PASSWORD));
		sl_registry_close(r);
		fake_free(f);
	}
}

struct finder {
	struct sl_registry *r;
	const struct sl_decoder *found[50];
};

static void *find_all(void *arg)
{
	struct finder *x = arg;
	struct sl_error e;

	for (int32_t id = 0; id < 50; id++)
		x->found[id] = sl_registry_decoder(x->r, id % 5, &e);
	return NULL;
}

static void test_threads(void **state)
{
#define SAME(id)                                                                                                       \
	{                                                                                                              \
		"GET", "/schemas/ids/" id, 200, "{\"schema\": \"" QUOTED "\"}"                                         \
	}
	static const struct line lines[] = { SAME("0"), SAME("1"), SAME("2"), SAME("3"), SAME("4"), { 0 } };
	struct fake *f = fake_new(lines);
	struct sl_registry *r = client(f->url, true);
	struct finder finders[4];
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		finders[i].r = r;
		sl_thread_start(&threads[i], "finder", find_all, &finders[i]);
	}
	for (size_t i = 0; i < 4; i++)
		sl_thread_join(threads[i]);
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 50; j++) {
			assert_non_null(finders[i].found[j]);
			assert_ptr_equal(finders[i].found[j], finders[0].found[j % 5]);
		}
	assert_int_equal(fake_asked(f), 5);
	sl_registry_close(r);
	fake_free(f);
}

/* -- addresses, certificates ------------------------------------------------------------------ */

static void test_comes_back(void **state)
{
	static const struct line lines[] = { ID(200, "{\"schema\": \"" QUOTED "\"}"), { 0 } };
	struct fake *f = fake_new(lines);
	struct sl_registry *r = client(f->url, true);
	struct sl_error e = { 0 };
	int64_t until = 0;

	(void)state;
	sl_http_stop(f->server);
	for (size_t i = 0; i < 2; i++) {
		assert_null(sl_registry_decoder(r, 5, &e));
		assert_int_equal(e.verdict, SL_RETRY);
		assert_non_null(strstr(e.text, f->url));
		assert_non_null(strstr(e.text, "does not answer"));
	}
	sl_lock(&f->lock);
	fake_serve(f, f->url + strlen("http://"));
	sl_unlock(&f->lock);
	while (!sl_registry_decoder(r, 5, &e))
		assert_true(patience(&until, 20));
	sl_registry_close(r);
	fake_free(f);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *url, *error; /* of opening */
	} cases[] = {
		{ "http://ann:" PASSWORD "@127.0.0.1:1", "registry.url holds a user or a password" },
		{ "not an address", "registry.url is no http or https address" },
		{ "", "registry.url is no http or https address" },
		{ "gopher://127.0.0.1", "registry.url is no http or https address" },
		{ "file:///etc/passwd", "registry.url is no http or https address" },
		{ "http://127.0.0.1:1///", NULL },
	};
	struct sl_error e = { 0 };
	int32_t id;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_registry *r = sl_registry_open(&(struct sl_registry_options){ .url = cases[i].url }, &e);

		if (cases[i].error) {
			if (r || e.verdict != SL_STOP || !strstr(e.text, cases[i].error) || strstr(e.text, PASSWORD))
				fail_msg("case %zu: '%s'", i, r ? "opened" : e.text);
			continue;
		}
		assert_non_null(r);
		assert_false(sl_registry_register(r, "s", PAIR, &id, &e));
		assert_non_null(strstr(e.text, "'http://127.0.0.1:1' does not answer"));
		sl_registry_close(r);
	}
}

static enum MHD_Result secure_answer(void *arg, struct MHD_Connection *c, const char *path, const char *method,
				     const char *version, const char *data, size_t *size, void **state)
{
	static const char body[] = "{\"schema\": \"" QUOTED "\"}";
	struct MHD_Response *response;
	enum MHD_Result ok;

	(void)arg, (void)path, (void)method, (void)version, (void)data, (void)size;
	if (!*state) {
		*state = c;
		return MHD_YES;
	}
	response = MHD_create_response_from_buffer(sizeof body - 1, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
	ok = MHD_queue_response(c, 200, response);
	MHD_destroy_response(response);
	return ok;
}

static void test_certificates(void **state)
{
	char folder[] = "/tmp/sluice-test-XXXXXX", command[600], key[64], cert[64], url[64];
	struct sl_buf key_text = { 0 }, cert_text = { 0 };
	struct sl_error e = { 0 };
	struct MHD_Daemon *daemon;
	int64_t until = 0;
	int port, fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(key, sizeof key, "%s/key.pem", folder);
	snprintf(cert, sizeof cert, "%s/cert.pem", folder);
	snprintf(command, sizeof command,
		 "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
		 "subjectAltName=IP:127.0.0.1 -keyout %s -out %s >%s/log 2>&1",
		 key, cert, folder);
	if (system(command) != 0 || MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
		assert_true(sl_folder_remove(folder, &e));
		print_message("skipped: needs the openssl command and a libmicrohttpd with TLS\n");
		skip();
	}
	assert_true(sl_file_read(key, 1 << 20, &key_text, &e) && sl_file_read(cert, 1 << 20, &cert_text, &e));
	fd = sl_http_listen_tcp("127.0.0.1:0", &port, &e);
	assert_true(fd >= 0);
	daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL, NULL, secure_answer, NULL,
				  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_HTTPS_MEM_KEY, sl_buf_text(&key_text),
				  MHD_OPTION_HTTPS_MEM_CERT, sl_buf_text(&cert_text), MHD_OPTION_END);
	assert_non_null(daemon);
	snprintf(url, sizeof url, "https://127.0.0.1:%d", port);

	const struct {
		const char *ca, *error;
	} cases[] = {
		{ NULL, "cannot be trusted" },
		{ "/nowhere/ca.pem", "registry.ca cannot be read" },
		{ key, "registry.ca cannot be read" },
		{ cert, NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_registry_options options = {
			.url = url, .user = "ann", .password = PASSWORD, .ca = cases[i].ca
		};
		struct sl_registry *r = sl_registry_open(&options, &e);
		int32_t id;

		assert_non_null(r);
		if (!cases[i].error) {
			while (!sl_registry_decoder(r, 1, &e))
				if (!patience(&until, 20))
					fail_msg("%s", e.text);
		} else if (sl_registry_register(r, "s", PAIR, &id, &e) || e.verdict != SL_STOP ||
			   !strstr(e.text, cases[i].error) || strstr(e.text, PASSWORD)) {
			fail_msg("case %zu: %d '%s'", i, (int)e.verdict, e.text);
		}
		sl_registry_close(r);
	}
	MHD_stop_daemon(daemon);
	sl_buf_release(&key_text);
	sl_buf_release(&cert_text);
	assert_true(sl_folder_remove(folder, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register),          cmocka_unit_test(test_register_refused),
		cmocka_unit_test(test_decoders_are_kept), cmocka_unit_test(test_decoder_refused),
		cmocka_unit_test(test_threads),           cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_addresses),         cmocka_unit_test(test_certificates),
	};

	/* The servers are here; a proxy of the machine is not meant for them. */
	setenv("no_proxy", "127.0.0.1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
