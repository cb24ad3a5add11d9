/* test_endpoint_parts.c -- the parts of an endpoint that need no network: headers, what an answer means, circuits,
 * limits, routes. The clock is a number. */
#include "tests/exposition.h"
#include "topology/base/buf.h"
#include "topology/endpoint.h"
#include "topology/endpoint/route.h"
#include "topology/endpoint/stats.h"

#include <curl/curl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* -- Headers --------------------------------------------------------------------------------- */

#define NOW_MS ((int64_t)1700000000 * 1000) /* Tue, 14 Nov 2023 22:13:20 GMT */
#define NONE -1

struct header {
	const char *lines[3];
	int should_retry;
	int64_t retry_after_ms;
	struct sl_announced requests, tokens;
};
static const struct header headers[] = {
	{ { "content-type: x" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: 7\r\n" }, NONE, 7000, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "retry-after:0.25" }, NONE, 250, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "retry-after-ms: 33", "retry-after: 9" }, NONE, 33, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "retry-after: 9", "retry-after-ms: 33.9" }, NONE, 33, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: Tue, 14 Nov 2023 22:13:50 GMT" }, NONE, 30000, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: Tue, 14 Nov 2023 22:13:00 GMT" }, NONE, 0, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: -5" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: 5x" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After: 99999999999999999999999999" },
	  NONE,
	  SL_HEADER_MS_MAX,
	  { NONE, NONE, NONE },
	  { NONE, NONE, NONE } },
	{ { "Retry-After:" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "Retry-After" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "X-Should-Retry: TRUE" }, 1, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "x-should-retry: false" }, 0, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "x-should-retry: maybe" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
	{ { "x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59", "x-ratelimit-reset-requests: 1s" },
	  NONE,
	  NONE,
	  { 60, 59, 1000 },
	  { NONE, NONE, NONE } },
	{ { "X-RateLimit-Limit-Tokens: 150000.0", "X-RateLimit-Remaining-Tokens: 149984",
	    "X-RateLimit-Reset-Tokens: 6m0.5s" },
	  NONE,
	  NONE,
	  { NONE, NONE, NONE },
	  { 150000, 149984, 360500 } },
	{ { "x-ratelimit-reset-requests: 20ms", "x-ratelimit-reset-tokens: 1h2m3s" },
	  NONE,
	  NONE,
	  { NONE, NONE, 20 },
	  { NONE, NONE, 3723000 } },
	{ { "x-ratelimit-reset-requests: 12.5", "x-ratelimit-reset-tokens: 1700000060" },
	  NONE,
	  NONE,
	  { NONE, NONE, 12500 },
	  { NONE, NONE, 60000 } },
	{ { "x-ratelimit-reset-requests: 5 s", "x-ratelimit-reset-tokens: 999999999999d" },
	  NONE,
	  NONE,
	  { NONE, NONE, NONE },
	  { NONE, NONE, SL_HEADER_MS_MAX } },
	{ { "x-ratelimit-remaining: 5", "x-ratelimit-requests: 5", "x-ratelimit--requests: 5" },
	  NONE,
	  NONE,
	  { NONE, NONE, NONE },
	  { NONE, NONE, NONE } },
	/* What an interim answer said is forgotten. */
	{ { "retry-after: 9", "HTTP/1.1 200 OK" }, NONE, NONE, { NONE, NONE, NONE }, { NONE, NONE, NONE } },
};

static bool same(struct sl_announced a, struct sl_announced b)
{
	return a.limit == b.limit && a.remaining == b.remaining && a.reset_ms == b.reset_ms;
}

static void test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		const struct header *t = &headers[i];
		struct sl_reply_headers h;

		sl_reply_headers_none(&h);
		for (int k = 0; k < 3 && t->lines[k]; k++)
			sl_reply_headers_line(&h, sl_text(t->lines[k]), NOW_MS);
		if (h.should_retry != t->should_retry || h.retry_after_ms != t->retry_after_ms ||
		    !same(h.requests, t->requests) || !same(h.tokens, t->tokens))
			fail_msg("row %zu, '%s': %d, %ld, {%ld %ld %ld}, {%ld %ld %ld}", i, t->lines[0], h.should_retry,
				 (long)h.retry_after_ms, (long)h.requests.limit, (long)h.requests.remaining,
				 (long)h.requests.reset_ms, (long)h.tokens.limit, (long)h.tokens.remaining,
				 (long)h.tokens.reset_ms);
	}
}

/* -- What an answer means ------------------------------------------------------------------------ */

struct meaning {
	int code;
	long status;
	int should_retry;
	int64_t retry_after_ms;
	const char *body;
	enum sl_reply_class class;
	const char *why;
};
static const struct meaning meanings[] = {
	{ 0, 200, NONE, NONE, "{}", SL_REPLY_ANSWERED, "HTTP 200: {}" },
	{ 0, 200, 0, NONE, "", SL_REPLY_ANSWERED, "HTTP 200" },
	{ 0, 301, NONE, NONE, "", SL_REPLY_REFUSED, "HTTP 301" },
	{ 0, 400, NONE, NONE, "{\"error\":{\"message\":\"no\"}}", SL_REPLY_REFUSED, "HTTP 400: no" },
	{ 0, 400, 1, NONE, "", SL_REPLY_CONFLICT, "HTTP 400" },
	{ 0, 401, 1, NONE, "", SL_REPLY_UNAUTHORIZED, "HTTP 401" },
	{ 0, 402, NONE, NONE, "{\"error\":\"pay\"}", SL_REPLY_QUOTA, "HTTP 402: pay" },
	{ 0, 403, NONE, NONE, "", SL_REPLY_UNAUTHORIZED, "HTTP 403" },
	{ 0, 404, NONE, NONE, "{\"detail\":\"Not Found\"}", SL_REPLY_NOT_FOUND, "HTTP 404: Not Found" },
	{ 0, 408, NONE, NONE, "", SL_REPLY_CONFLICT, "HTTP 408" },
	{ 0, 409, NONE, NONE, "", SL_REPLY_CONFLICT, "HTTP 409" },
	{ 0, 413, NONE, NONE, "", SL_REPLY_REFUSED, "HTTP 413" },
	{ 0, 422, NONE, NONE, "{\"message\":\"bare\"}", SL_REPLY_REFUSED, "HTTP 422: bare" },
	{ 0, 429, NONE, NONE, "", SL_REPLY_THROTTLED, "HTTP 429" },
	{ 0, 429, 1, 120000, "", SL_REPLY_THROTTLED, "HTTP 429" },
	{ 0, 429, NONE, 120001, "", SL_REPLY_QUOTA, "HTTP 429" },
	{ 0, 429, 0, NONE, "", SL_REPLY_QUOTA, "HTTP 429" },
	{ 0, 429, NONE, NONE, "{\"error\":{\"code\":\"insufficient_quota\"}}", SL_REPLY_QUOTA, NULL },
	{ 0, 429, NONE, NONE, "{\"error\":{\"type\":\"insufficient_quota\"}}", SL_REPLY_QUOTA, NULL },
	{ 0, 429, NONE, NONE, "{\"error\":{\"message\":\"insufficient_quota\"}}", SL_REPLY_THROTTLED, NULL },
	{ 0, 429, NONE, NONE, "[[[[[", SL_REPLY_THROTTLED, "HTTP 429: [[[[[" },
	{ 0, 500, NONE, NONE, "a\n\n\tb \x1b[1m", SL_REPLY_SERVER, "HTTP 500: a b [1m" },
	{ 0, 500, NONE, NONE, "a\xc2\x9b\xc2\xa9", SL_REPLY_SERVER, "HTTP 500: a \xc2\xa9" },
	{ 0, 503, 0, NONE, "", SL_REPLY_REFUSED, "HTTP 503" },
	{ 0, 599, NONE, NONE, "\xff\xfe", SL_REPLY_SERVER, "HTTP 599" },
	{ 0, 0, NONE, NONE, "", SL_REPLY_REFUSED, "HTTP 0" },
	{ CURLE_COULDNT_CONNECT, 0, NONE, NONE, "", SL_REPLY_CONNECT, "Couldn't connect to server" },
	{ CURLE_COULDNT_RESOLVE_HOST, 0, NONE, NONE, "", SL_REPLY_CONNECT, NULL },
	{ CURLE_OPERATION_TIMEDOUT, 0, NONE, NONE, "", SL_REPLY_TIMEOUT, NULL },
	{ CURLE_PEER_FAILED_VERIFICATION, 0, NONE, NONE, "", SL_REPLY_CERTIFICATE, NULL },
	{ CURLE_SSL_CACERT_BADFILE, 0, NONE, NONE, "", SL_REPLY_CERTIFICATE, NULL },
	{ CURLE_PARTIAL_FILE, 200, NONE, NONE, "", SL_REPLY_BROKEN, NULL },
	{ CURLE_RECV_ERROR, 0, NONE, NONE, "", SL_REPLY_BROKEN, NULL },
	{ CURLE_GOT_NOTHING, 0, NONE, NONE, "", SL_REPLY_BROKEN, NULL },
};

static struct sl_reply reply_of(const struct meaning *m)
{
	struct sl_reply r = { .code = m->code, .status = m->status, .error = "", .body = sl_text(m->body) };

	sl_reply_headers_none(&r.headers);
	r.headers.should_retry = m->should_retry;
	r.headers.retry_after_ms = m->retry_after_ms;
	return r;
}

static void test_meanings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
		const struct meaning *m = &meanings[i];
		struct sl_reply r = reply_of(m);
		char why[256];

		sl_reply_why(&r, NULL, 0, why);
		if (sl_reply_classify(&r) != m->class || (m->why && strcmp(why, m->why) != 0))
			fail_msg("row %zu: class '%s', '%s'", i, sl_reply_class_name(sl_reply_classify(&r)), why);
		/* Whatever ended it: without a connection nothing was sent. */
		r.unsent = m->code != 0;
		if (m->code && m->class != SL_REPLY_CERTIFICATE)
			assert_int_equal(sl_reply_classify(&r), SL_REPLY_CONNECT);
		else
			assert_int_equal(sl_reply_classify(&r), m->class);
	}
}

static void test_why_keeps_secrets_and_is_cut(void **state)
{
	const char *const secrets[] = { "", "hunter2" };
	struct meaning m = { 0, 400, NONE, NONE, NULL, SL_REPLY_REFUSED, NULL };
	struct sl_reply r;
	char long_text[600], why[256];

	(void)state;
	m.body = "{\"error\":{\"message\":\"hunter2 is not hunter22\"}}";
	r = reply_of(&m);
	sl_reply_why(&r, secrets, 2, why);
	assert_string_equal(why, "HTTP 400: ******* is not *******2");
	/* 159 letters and a key: half of it would be left. */
	memset(long_text, 'a', sizeof long_text);
	memcpy(long_text + 157, "hunter2", 8);
	m.body = long_text;
	r = reply_of(&m);
	sl_reply_why(&r, secrets, 2, why);
	assert_null(strstr(why, "hun"));
	assert_int_equal(strlen(why), 10 + 160);
	/* A letter of two bytes at the cut goes whole. */
	memset(long_text, 'a', 159);
	memcpy(long_text + 159, "\xc3\xa9\xc3\xa9", 5);
	r.body = sl_text(long_text);
	sl_reply_why(&r, secrets, 2, why);
	assert_int_equal(strlen(why), 10 + 159);
}

static void test_delays(void **state)
{
	static const int64_t expected[] = { 500, 500, 1000, 2000, 4000, 8000, 8000 };
	struct sl_reply_headers h;

	(void)state;
	sl_reply_headers_none(&h);
	for (uint32_t i = 0; i < 7; i++) {
		assert_int_equal(sl_retry_delay_ms(&h, i, 0), expected[i]);
		assert_true(sl_retry_delay_ms(&h, i, 0.999) >= expected[i] * 3 / 4);
		assert_true(sl_retry_delay_ms(&h, i, 0.999) < expected[i]);
	}
	assert_int_equal(sl_retry_delay_ms(&h, UINT32_MAX, 0), 8000);
	h.retry_after_ms = 42;
	assert_int_equal(sl_retry_delay_ms(&h, 9, 0.5), 42);
	h.retry_after_ms = SL_HEADER_MS_MAX;
	assert_int_equal(sl_retry_delay_ms(&h, 1, 0), 120000);
}

/* -- Circuits -------------------------------------------------------------------------------------- */

static void test_circuit(void **state)
{
	struct sl_circuit c = { 0 };
	int64_t now = 100, pause = 1000;

	(void)state;
	for (int i = 0; i < 4; i++)
		sl_circuit_bad(&c, false, "failing", false, "w", now, 0);
	sl_circuit_good(&c);
	for (int i = 0; i < 4; i++)
		sl_circuit_bad(&c, false, "failing", false, "w", now, 0);
	assert_true(sl_circuit_passes(&c, now));
	assert_false(sl_circuit_enter(&c));
	sl_circuit_bad(&c, false, "failing", false, "five in a row", now, 0);
	assert_string_equal(c.word, "failing");
	assert_string_equal(c.why, "five in a row");
	/* What was sent before says nothing more. */
	sl_circuit_bad(&c, false, "unreachable", false, "late", now, 0);
	assert_string_equal(c.why, "five in a row");
	for (int i = 0; i < 9; i++) {
		assert_false(sl_circuit_passes(&c, now + pause - 1));
		assert_true(sl_circuit_passes(&c, now + pause));
		now += pause;
		assert_true(sl_circuit_enter(&c));
		assert_false(sl_circuit_passes(&c, now + 1000000)); /* one at a time */
		sl_circuit_bad(&c, true, "unreachable", false, "still", now, 0);
		assert_string_equal(c.word, "unreachable");
		pause = 2 * pause < 60000 ? 2 * pause : 60000;
	}
	assert_int_equal(pause, 60000);
	now += pause;
	assert_true(sl_circuit_enter(&c));
	sl_circuit_unclear(&c, true);
	assert_true(sl_circuit_passes(&c, now));
	assert_true(sl_circuit_enter(&c));
	sl_circuit_good(&c);
	assert_null(c.word);
	assert_true(sl_circuit_passes(&c, now));
	sl_circuit_bad(&c, false, "unauthorized", true, "once is enough", now, 0.99);
	assert_string_equal(c.word, "unauthorized");
	assert_true(sl_circuit_passes(&c, now + 760));
	assert_false(sl_circuit_passes(&c, now + 750));
}

/* -- Limits ------------------------------------------------------------------------------------------ */

static void test_bucket(void **state)
{
	struct sl_bucket b;
	int64_t now = 0, sent = 0;

	(void)state;
	sl_bucket_init(&b, 0, 0);
	assert_int_equal(sl_bucket_wait_ms(&b, 1e18, 0), 0);
	/* 600 a minute: ten at once, then one every 100 ms, and never more than 610 in a minute. */
	sl_bucket_init(&b, 600, now);
	while (now < 60000) {
		int64_t wait = sl_bucket_wait_ms(&b, 1, now);

		if (wait == 0) {
			sl_bucket_take(&b, 1);
			sent++;
		} else {
			assert_true(wait <= 100);
			now += wait;
		}
	}
	assert_in_range(sent, 609, 610);
	/* One that is larger than a second's worth goes on credit, and is paid off before the next. */
	sl_bucket_init(&b, 60000, 0);
	assert_int_equal(sl_bucket_wait_ms(&b, 5000, 0), 0);
	sl_bucket_take(&b, 5000);
	assert_int_equal(sl_bucket_wait_ms(&b, 1, 0), 4001);
	sl_bucket_give(&b, 4000); /* it was shorter than it could have been */
	assert_int_equal(sl_bucket_wait_ms(&b, 1, 0), 1);
	sl_bucket_give(&b, 1e9);
	assert_int_equal(sl_bucket_wait_ms(&b, 1000, 0), 0);
	sl_bucket_take(&b, 1000);
	assert_int_equal(sl_bucket_wait_ms(&b, 1000, 0), 1000); /* not more than full */
	sl_bucket_give(&b, -9.2e18); /* a server says anything: a minute is lost, and not all time to come */
	assert_int_equal(sl_bucket_wait_ms(&b, 1000, 0), 61000);
	/* Slow ones: one a minute. */
	sl_bucket_init(&b, 1, 0);
	sl_bucket_take(&b, 1);
	assert_int_equal(sl_bucket_wait_ms(&b, 1, 1), 59999);
	assert_int_equal(sl_bucket_wait_ms(&b, 1, 60000), 0);
}

static void test_allowance(void **state)
{
	struct sl_allowance a = { 0 };

	(void)state;
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 0), 0);
	sl_allowance_said(&a, &(struct sl_announced){ NONE, NONE, 50 }, 0); /* says nothing of use */
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 0), 0);
	sl_allowance_said(&a, &(struct sl_announced){ NONE, 2, 5000 }, 1000);
	sl_allowance_take(&a, 1);
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 1000), 0);
	sl_allowance_take(&a, 1);
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 1000), 5000);
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 6000), 0);
	/* With the limit known it comes back bit by bit: 1000 a second here. */
	sl_allowance_said(&a, &(struct sl_announced){ 60000, 0, 60000 }, 0);
	assert_int_equal(sl_allowance_wait_ms(&a, 500, 0), 500);
	assert_int_equal(sl_allowance_wait_ms(&a, 500, 400), 100);
	assert_int_equal(sl_allowance_wait_ms(&a, 500, 500), 0);
	/* Nobody waits for ever on a server's word. */
	sl_allowance_said(&a, &(struct sl_announced){ NONE, 0, SL_HEADER_MS_MAX }, 0);
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 0), 60000);
	assert_int_equal(sl_allowance_wait_ms(&a, 1, 60000), 0);
}

static void test_window(void **state)
{
	struct sl_window w;

	(void)state;
	sl_window_init(&w, 16);
	assert_int_equal(sl_window_size(&w), 16);
	sl_window_good(&w);
	assert_int_equal(sl_window_size(&w), 16);
	assert_true(sl_window_throttled(&w, 10, 20));
	assert_int_equal(sl_window_size(&w), 8);
	for (int i = 0; i < 15; i++) /* the rest of that round trip */
		assert_false(sl_window_throttled(&w, 10 + i % 10, 21 + i));
	assert_true(sl_window_throttled(&w, 21, 40));
	assert_int_equal(sl_window_size(&w), 4);
	for (int i = 0; i < 5; i++)
		sl_window_good(&w);
	assert_int_equal(sl_window_size(&w), 5);
	for (int i = 0; i < 9; i++)
		sl_window_throttled(&w, 100 + i, 100 + i);
	assert_int_equal(sl_window_size(&w), 1);
	/* Wide windows grow by a share, not by one. */
	sl_window_init(&w, 2000);
	sl_window_throttled(&w, 0, 1);
	for (int i = 0; i < 30 * 2000; i++)
		sl_window_good(&w);
	assert_int_equal(sl_window_size(&w), 2000);
}

/* -- Routes --------------------------------------------------------------------------------------------- */

struct world {
	struct sl_lane replicas[2], keys[2];
	struct sl_route route;
	struct sl_reply_headers none;
};

static void make(struct world *w, size_t replicas, size_t keys)
{
	memset(w, 0, sizeof *w);
	w->route = (struct sl_route){
		.replicas = w->replicas, .keys = w->keys, .replica_count = replicas, .key_count = keys
	};
	sl_reply_headers_none(&w->none);
}

/* One call there and back. */
static struct sl_path call(struct world *w, enum sl_reply_class class, int64_t now)
{
	struct sl_path path;
	int64_t wait;

	assert_true(sl_route_choose(&w->route, 10, now, &path, &wait));
	sl_route_enter(&w->route, &path, 10);
	sl_route_ended(&w->route, &path, class, &w->none, "w", now, now, 0);
	return path;
}

static void test_route_spreads(void **state)
{
	struct world w;
	struct sl_path path[8];
	int64_t wait;

	(void)state;
	make(&w, 2, 2);
	for (int i = 0; i < 8; i++) {
		assert_true(sl_route_choose(&w.route, 1, 0, &path[i], &wait));
		sl_route_enter(&w.route, &path[i], 1);
	}
	assert_int_equal(w.replicas[0].under_way, 4);
	assert_int_equal(w.replicas[1].under_way, 4);
	assert_int_equal(w.keys[0].under_way, 4);
	for (int i = 0; i < 8; i++)
		sl_route_aborted(&w.route, &path[i]);
	assert_int_equal(w.replicas[0].under_way + w.replicas[1].under_way, 0);
}

static void test_route_leaves_what_fails(void **state)
{
	struct world w;
	struct sl_path path, probe;
	int64_t wait;

	(void)state;
	make(&w, 2, 1);
	/* The first replica refuses once what it refuses for ever. */
	path = call(&w, SL_REPLY_NOT_FOUND, 0);
	assert_null(sl_route_away(&w.route));
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(call(&w, SL_REPLY_ANSWERED, 1).replica, path.replica);
	/* After the pause one call goes there before all others; the next ones do not. */
	assert_true(sl_route_choose(&w.route, 1, 1000, &probe, &wait));
	assert_int_equal(probe.replica, path.replica);
	sl_route_enter(&w.route, &probe, 1);
	assert_true(probe.replica_probe);
	for (int i = 0; i < 4; i++)
		assert_int_not_equal(call(&w, SL_REPLY_ANSWERED, 1001).replica, path.replica);
	sl_route_ended(&w.route, &probe, SL_REPLY_NOT_FOUND, &w.none, "w", 1000, 1002, 0);
	/* The other one too: now the endpoint is away, until one answers. */
	call(&w, SL_REPLY_NOT_FOUND, 1003);
	assert_string_equal(sl_route_away(&w.route)->word, "not_found");
	assert_false(sl_route_choose(&w.route, 1, 1003, &path, &wait));
	assert_int_equal(wait, 1000);
	call(&w, SL_REPLY_ANSWERED, 2003);
	assert_null(sl_route_away(&w.route));
}

static void test_route_blames_the_right_one(void **state)
{
	struct world w;
	int64_t wait;
	struct sl_path path;

	(void)state;
	make(&w, 1, 1);
	call(&w, SL_REPLY_UNAUTHORIZED, 0);
	assert_null(w.replicas[0].circuit.word);
	assert_string_equal(w.keys[0].circuit.word, "unauthorized");
	/* A probe of the key that finds the server down says nothing about the key. */
	call(&w, SL_REPLY_CONNECT, 1000); /* once is enough: it has answered nobody for a second */
	assert_string_equal(w.replicas[0].circuit.word, "unreachable");
	assert_string_equal(w.keys[0].circuit.word, "unauthorized");
	assert_false(w.keys[0].circuit.probing);
	call(&w, SL_REPLY_REFUSED, 2000); /* a 400: both are good enough for an answer */
	assert_null(sl_route_away(&w.route));
	/* A key without money that is throttled on the probe has some again. */
	call(&w, SL_REPLY_QUOTA, 2000);
	assert_string_equal(sl_route_away(&w.route)->word, "quota");
	call(&w, SL_REPLY_THROTTLED, 3000);
	assert_null(sl_route_away(&w.route));
	assert_true(sl_route_throttled(&w.route, 3000));
	assert_false(sl_route_choose(&w.route, 1, 3000, &path, &wait));
	assert_int_equal(wait, 500);
	assert_false(sl_route_throttled(&w.route, 3500));
}

/* A refusal where others are answered may only be a lack of connections; one where nobody is says it all. */
static void test_route_refused(void **state)
{
	struct world w;

	(void)state;
	make(&w, 2, 1);
	call(&w, SL_REPLY_CONNECT, 5000);
	assert_null(sl_route_away(&w.route));
	call(&w, SL_REPLY_CONNECT, 5000);
	assert_string_equal(sl_route_away(&w.route)->word, "unreachable");
	make(&w, 1, 1);
	call(&w, SL_REPLY_ANSWERED, 5000);
	for (int i = 0; i < 4; i++) {
		call(&w, SL_REPLY_CONNECT, 5999);
		assert_null(sl_route_away(&w.route));
	}
	call(&w, SL_REPLY_CONNECT, 5999); /* the fifth in a row */
	assert_string_equal(sl_route_away(&w.route)->word, "unreachable");
	make(&w, 1, 1);
	call(&w, SL_REPLY_UNAUTHORIZED, 5000); /* that is an answer too */
	call(&w, SL_REPLY_CONNECT, 6000);
	assert_string_equal(w.replicas[0].circuit.word, "unreachable");
}

static void test_route_throttle(void **state)
{
	struct world w;
	struct sl_path path[4];
	int64_t wait;

	(void)state;
	make(&w, 1, 2);
	for (int i = 0; i < 4; i++) {
		assert_true(sl_route_choose(&w.route, 1, 10, &path[i], &wait));
		sl_route_enter(&w.route, &path[i], 1);
	}
	w.none.retry_after_ms = 3000;
	sl_route_ended(&w.route, &path[0], SL_REPLY_THROTTLED, &w.none, "w", 10, 20, 0);
	assert_false(sl_route_throttled(&w.route, 20)); /* there is the other key */
	w.none.retry_after_ms = -1;
	sl_route_ended(&w.route, &path[1], SL_REPLY_THROTTLED, &w.none, "w", 10, 20, 0);
	assert_true(sl_route_throttled(&w.route, 20));
	assert_false(sl_route_choose(&w.route, 1, 20, &path[0], &wait));
	assert_int_equal(wait, 500);
	/* The second of the same round trip adds nothing. */
	sl_route_ended(&w.route, &path[3], SL_REPLY_THROTTLED, &w.none, "w", 10, 400, 0);
	assert_true(sl_route_choose(&w.route, 1, 520, &path[0], &wait));
	sl_route_ended(&w.route, &path[2], SL_REPLY_ANSWERED, &w.none, "w", 10, 500, 0);
	/* What a server says is left is believed per key. */
	w.none.requests = (struct sl_announced){ NONE, 0, 700 };
	make(&w, 1, 1);
	w.none.requests = (struct sl_announced){ NONE, 0, 700 };
	call(&w, SL_REPLY_ANSWERED, 0);
	assert_true(sl_route_throttled(&w.route, 0));
	assert_false(sl_route_choose(&w.route, 1, 0, &path[0], &wait));
	assert_int_equal(wait, 700);
}

/* -- What is told ------------------------------------------------------------------------------------------- */

static void test_status_is_json(void **state)
{
	const struct sl_endpoint_now now = { .name = "j", .state = "failing", .why = "a \"b\" \\", .next_try_ms = 700 };
	struct sl_endpoint_stats stats = { .calls = 3, .attempts = 5 };
	struct sl_buf text = { 0 };
	json_t *o;

	(void)state;
	stats.classes[SL_REPLY_SERVER] = 2;
	sl_buf_print(&text, "{");
	sl_endpoint_stats_json(&stats, &now, &text);
	sl_buf_print(&text, "}");
	o = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "why")), now.why);
	assert_int_equal(json_integer_value(json_object_get(o, "attempts")), 5);
	assert_int_equal(json_integer_value(json_object_get(o, "next_try_ms")), 700);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "errors"), "server")), 2);
	json_decref(o);
	sl_buf_release(&text);
}

/* Every family is one block, every class and state has its sample, and a histogram adds up. */
static void test_metrics(void **state)
{
	static const char *const lines[] = {
		"sluice_endpoint_calls_total{endpoint=\"j\"} 3\nsluice_endpoint_calls_total{endpoint=\"k\"} 4\n",
		"sluice_endpoint_errors_total{endpoint=\"j\",class=\"certificate\"} 0\n",
		"sluice_endpoint_state{endpoint=\"j\",state=\"idle\"} 1\n",
		"sluice_endpoint_state{endpoint=\"j\",state=\"quota\"} 0\n",
		"sluice_endpoint_latency_seconds_bucket{endpoint=\"j\",le=\"0.05\"} 1\n",
		"sluice_endpoint_latency_seconds_bucket{endpoint=\"j\",le=\"300\"} 2\n",
		"sluice_endpoint_latency_seconds_bucket{endpoint=\"j\",le=\"+Inf\"} 3\n",
		"sluice_endpoint_latency_seconds_sum{endpoint=\"j\"} 701.050\n",
		"sluice_endpoint_latency_seconds_count{endpoint=\"j\"} 3\n",
	};
	struct sl_endpoint_reading all[2] = { { .stats.calls = 3, .now = { .name = "j", .state = "idle", .why = "" } },
					      { .stats.calls = 4, .now = { .name = "k", .state = "ok", .why = "" } } };
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	sl_endpoint_stats_latency(&all[0].stats, 50);
	sl_endpoint_stats_latency(&all[0].stats, 1000);
	sl_endpoint_stats_latency(&all[0].stats, 700000);
	sl_endpoint_stats_metrics(all, 2, &text);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (!strstr(sl_buf_text(&text), lines[i]))
			fail_msg("no line %sin\n%s", lines[i], sl_buf_text(&text));
	if (!sl_exposition_check(sl_buf_text(&text), &e))
		fail_msg("%s in\n%s", e.text, sl_buf_text(&text));
	sl_buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_meanings),
		cmocka_unit_test(test_why_keeps_secrets_and_is_cut),
		cmocka_unit_test(test_delays),
		cmocka_unit_test(test_circuit),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_allowance),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_route_spreads),
		cmocka_unit_test(test_route_leaves_what_fails),
		cmocka_unit_test(test_route_blames_the_right_one),
		cmocka_unit_test(test_route_refused),
		cmocka_unit_test(test_route_throttle),
		cmocka_unit_test(test_status_is_json),
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
