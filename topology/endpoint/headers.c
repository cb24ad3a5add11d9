/* headers.c -- see headers.h. Every value is copied into a small buffer first: too long is not understood. */
#include "headers.h"

#include <ctype.h>
#include <curl/curl.h>
#include <strings.h>

#define VALUE_MAX 64

void sl_reply_headers_none(struct sl_reply_headers *h)
{
	const struct sl_announced none = { -1, -1, -1 };

	*h = (struct sl_reply_headers){ .should_retry = -1, .retry_after_ms = -1, .requests = none, .tokens = none };
}

/* "12", "0.5" at *at in thousandths, moved behind it; cut at the most that is ever announced. False: no number. */
static bool thousandths(const char **at, int64_t *value)
{
	const char *p = *at;
	int64_t scale = 100;

	if (!isdigit((unsigned char)*p))
		return false;
	for (*value = 0; isdigit((unsigned char)*p); p++)
		if (*value <= INT64_MAX / 20000)
			*value = *value * 10 + (*p - '0');
	*value *= 1000;
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++, scale /= 10)
			*value += scale * (*p - '0');
	*at = p;
	return true;
}

/* Limits are whole, but some servers send "100.0". */
static int64_t count_of(const char *value)
{
	int64_t n;

	return thousandths(&value, &n) && *value == 0 ? n / 1000 : -1;
}

static int64_t bounded(int64_t ms)
{
	return ms < 0 ? 0 : ms > SL_HEADER_MS_MAX ? SL_HEADER_MS_MAX : ms;
}

/* Seconds. */
static int64_t seconds_of(const char *value)
{
	int64_t ms;

	return thousandths(&value, &ms) && *value == 0 ? bounded(ms) : -1;
}

static int64_t after_of(const char *value, int64_t wall_ms)
{
	int64_t ms = seconds_of(value);
	time_t date;

	if (ms >= 0)
		return ms;
	if (!isalpha((unsigned char)value[0])) /* a date begins with its weekday; curl takes much more for one */
		return -1;
	date = curl_getdate(value, NULL);
	return date < 0 ? -1 : bounded((int64_t)date * 1000 - wall_ms);
}

/* Milliseconds of a thousandth of a unit, 1000 times over: "ms" is 1, "s" is 1000. */
static int64_t unit_ms(const char **at)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		size_t size = strlen(units[i].name);

		if (strncmp(*at, units[i].name, size) == 0) {
			*at += size;
			return units[i].ms;
		}
	}
	return -1;
}

static int64_t reset_of(const char *value, int64_t wall_ms)
{
	int64_t sum = 0, n, ms;

	n = seconds_of(value);
	if (n >= 0) {
		/* As much as that is a date, not a time from now. */
		const char *at = value;

		(void)!thousandths(&at, &ms);
		return ms >= (int64_t)1000000000 * 1000 ? bounded(ms - wall_ms) : n;
	}
	while (*value) {
		if (!thousandths(&value, &n) || n < 0)
			return -1;
		ms = unit_ms(&value);
		if (ms < 0)
			return -1;
		if (n / 1000 > SL_HEADER_MS_MAX / ms)
			return SL_HEADER_MS_MAX;
		sum = bounded(sum + n / 1000 * ms + n % 1000 * ms / 1000);
	}
	return sum;
}

static bool named(const char *line, size_t size, const char *name)
{
	return size == strlen(name) && strncasecmp(line, name, size) == 0;
}

static void announced(struct sl_announced *a, const char *what, size_t size, const char *value, int64_t wall_ms)
{
	if (named(what, size, "limit"))
		a->limit = count_of(value);
	else if (named(what, size, "remaining"))
		a->remaining = count_of(value);
	else if (named(what, size, "reset"))
		a->reset_ms = reset_of(value, wall_ms);
}

void sl_reply_headers_line(struct sl_reply_headers *h, struct sl_bytes line, int64_t wall_ms)
{
	static const char limits[] = "x-ratelimit-", requests[] = "-requests", tokens[] = "-tokens";
	const size_t n = sizeof limits - 1;
	const char *name = line.data, *colon, *from, *end = name + line.size;
	char value[VALUE_MAX];
	size_t size;

	if (line.size == 0)
		return;
	if (line.size >= 5 && memcmp(name, "HTTP/", 5) == 0) {
		sl_reply_headers_none(h);
		return;
	}
	colon = memchr(name, ':', line.size);
	if (!colon)
		return;
	for (from = colon + 1; from < end && (*from == ' ' || *from == '\t');)
		from++;
	while (end > from && isspace((unsigned char)end[-1]))
		end--;
	size = (size_t)(end - from);
	if (size >= sizeof value || memchr(from, 0, size))
		return;
	memcpy(value, from, size);
	value[size] = 0;
	size = (size_t)(colon - name);
	if (named(name, size, "x-should-retry")) {
		h->should_retry = strcasecmp(value, "true") == 0 ? 1 : strcasecmp(value, "false") == 0 ? 0 : -1;
	} else if (named(name, size, "retry-after-ms")) {
		const char *at = value;
		int64_t ms;

		if (thousandths(&at, &ms) && *at == 0)
			h->retry_after_ms = bounded(ms / 1000);
	} else if (named(name, size, "retry-after")) {
		int64_t ms = after_of(value, wall_ms);

		/* The finer one wins, whatever their order: this one is in seconds. */
		if (ms >= 0 && h->retry_after_ms < 0)
			h->retry_after_ms = ms;
	} else if (size > n && strncasecmp(name, limits, n) == 0) {
		size_t rest = size - n;

		if (rest > sizeof requests - 1 &&
		    named(name + size - (sizeof requests - 1), sizeof requests - 1, requests))
			announced(&h->requests, name + n, rest - (sizeof requests - 1), value, wall_ms);
		else if (rest > sizeof tokens - 1 &&
			 named(name + size - (sizeof tokens - 1), sizeof tokens - 1, tokens))
			announced(&h->tokens, name + n, rest - (sizeof tokens - 1), value, wall_ms);
	}
}
