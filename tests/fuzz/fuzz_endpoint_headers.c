/* fuzz_endpoint_headers.c -- what a hostile server may say: header lines, then an empty line, then a body. Whatever
 * it is, values stay in their ranges, the words for people are printable, short, and hold no key. */
#include "topology/base/text.h"
#include "topology/endpoint/route.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void in_range(const struct sl_announced *a)
{
	must(a->limit >= -1 && a->remaining >= -1);
	must(a->reset_ms >= -1 && a->reset_ms <= SL_HEADER_MS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const secrets[] = { "sk-secret" };
	static const long statuses[] = { 200, 400, 401, 404, 408, 429, 500, 503 };
	struct sl_lane replica = { 0 }, key = { 0 };
	struct sl_route route = { .replicas = &replica, .keys = &key, .replica_count = 1, .key_count = 1 };
	struct sl_path path;
	struct sl_reply r = { .error = "" };
	const uint8_t *end = data + size;
	enum sl_reply_class class;
	int64_t wait = 0, delay;
	char why[256];
	size_t bad;

	if (size == 0)
		return 0;
	r.status = statuses[*data++ % 8];
	sl_reply_headers_none(&r.headers);
	while (data < end) {
		const uint8_t *line_end = memchr(data, '\n', (size_t)(end - data));
		size_t n = (size_t)((line_end ? line_end + 1 : end) - data);

		if (n == 1 && *data == '\n') {
			data++;
			break;
		}
		sl_reply_headers_line(&r.headers, (struct sl_bytes){ data, n }, 1700000000000);
		data += n;
	}
	r.body = (struct sl_bytes){ data, (size_t)(end - data) };
	must(r.headers.retry_after_ms >= -1 && r.headers.retry_after_ms <= SL_HEADER_MS_MAX);
	in_range(&r.headers.requests);
	in_range(&r.headers.tokens);
	delay = sl_retry_delay_ms(&r.headers, 3, 0.5);
	must(delay >= 0 && delay <= SL_RETRY_AFTER_MAX_MS);
	class = sl_reply_classify(&r);
	sl_reply_why(&r, secrets, 1, why);
	must(strlen(why) < 200 && sl_utf8_valid(sl_text(why), &bad) && !strstr(why, secrets[0]));
	for (const char *p = why; *p; p++)
		must((unsigned char)*p >= ' ');
	must(sl_route_choose(&route, 1000, 0, &path, &wait));
	sl_route_enter(&route, &path, 1000);
	sl_route_ended(&route, &path, class, &r.headers, why, 0, 1, 0.5);
	/* Nothing that a server says shuts the door for longer than this. */
	must(sl_route_choose(&route, 1000, 1 + SL_RETRY_AFTER_MAX_MS, &path, &wait));
	return 0;
}
