/* retry.c -- see retry.h. */
#include "retry.h"

#include "../base/text.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define DELAY_FIRST_MS 500
#define DELAY_MAX_MS 8000
#define ERROR_BODY_MAX ((size_t)64 << 10) /* no error message is worth more reading */
#define MESSAGE_MAX 160
#define SECRET_LEAST 8

static const struct {
	const char *name, *word;
	bool at_once;
} classes[SL_REPLY_CLASSES] = {
	[SL_REPLY_ANSWERED] = { "answered", NULL, false },
	[SL_REPLY_CONNECT] = { "connect", "unreachable", false },
	[SL_REPLY_TIMEOUT] = { "timeout", "unreachable", false },
	[SL_REPLY_BROKEN] = { "broken", "unreachable", false },
	[SL_REPLY_CERTIFICATE] = { "certificate", "certificate", true },
	[SL_REPLY_THROTTLED] = { "throttled", NULL, false },
	[SL_REPLY_QUOTA] = { "quota", "quota", true },
	[SL_REPLY_UNAUTHORIZED] = { "unauthorized", "unauthorized", true },
	[SL_REPLY_NOT_FOUND] = { "not_found", "not_found", true },
	[SL_REPLY_SERVER] = { "server", "failing", false },
	[SL_REPLY_CONFLICT] = { "conflict", NULL, false },
	[SL_REPLY_REFUSED] = { "refused", NULL, false },
	[SL_REPLY_TOO_LARGE] = { "too_large", NULL, false },
};

const char *sl_reply_class_name(enum sl_reply_class c)
{
	return classes[c].name;
}

const char *sl_reply_word(enum sl_reply_class c)
{
	return classes[c].word;
}

bool sl_reply_at_once(enum sl_reply_class c)
{
	return classes[c].at_once;
}

/* -- What it means ----------------------------------------------------------------------- */

/* The "error" of an OpenAI-like answer, or the answer itself where an error has no such wrapper. The caller owns *all.
 */
static json_t *error_object(struct sl_bytes body, json_t **all)
{
	json_t *error;

	*all = body.size && body.size <= ERROR_BODY_MAX ? json_loadb(body.data, body.size, 0, NULL) : NULL;
	error = json_object_get(*all, "error");
	return json_is_object(error) || json_is_string(error) ? error : *all;
}

static bool says(const json_t *error, const char *key, const char *word)
{
	const char *value = json_string_value(json_object_get(error, key));

	return value && strcmp(value, word) == 0;
}

static bool out_of_money(struct sl_bytes body)
{
	json_t *all, *error = error_object(body, &all);
	bool is = says(error, "code", "insufficient_quota") || says(error, "type", "insufficient_quota");

	json_decref(all);
	return is;
}

static enum sl_reply_class of_code(const struct sl_reply *r)
{
	switch (r->code) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
		return SL_REPLY_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return r->unsent ? SL_REPLY_CONNECT : SL_REPLY_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return SL_REPLY_CERTIFICATE;
	default:
		return r->unsent ? SL_REPLY_CONNECT : SL_REPLY_BROKEN;
	}
}

enum sl_reply_class sl_reply_classify(const struct sl_reply *r)
{
	const struct sl_reply_headers *h = &r->headers;

	if (r->too_large)
		return SL_REPLY_TOO_LARGE;
	if (r->code != CURLE_OK)
		return of_code(r);
	if (r->status >= 200 && r->status < 300)
		return SL_REPLY_ANSWERED;
	switch (r->status) {
	case 401:
	case 403:
		return SL_REPLY_UNAUTHORIZED;
	case 402:
		return SL_REPLY_QUOTA;
	case 404:
		return SL_REPLY_NOT_FOUND;
	case 429:
		if (h->should_retry == 0 || h->retry_after_ms > SL_RETRY_AFTER_MAX_MS || out_of_money(r->body))
			return SL_REPLY_QUOTA;
		return SL_REPLY_THROTTLED;
	}
	if (h->should_retry == 0)
		return SL_REPLY_REFUSED;
	if (r->status >= 500)
		return SL_REPLY_SERVER;
	if (r->status == 408 || r->status == 409 || h->should_retry == 1)
		return SL_REPLY_CONFLICT;
	return SL_REPLY_REFUSED;
}

int64_t sl_retry_delay_ms(const struct sl_reply_headers *h, uint32_t failures, double random)
{
	int64_t ms = DELAY_FIRST_MS;

	if (h->retry_after_ms >= 0)
		return h->retry_after_ms < SL_RETRY_AFTER_MAX_MS ? h->retry_after_ms : SL_RETRY_AFTER_MAX_MS;
	for (uint32_t i = 1; i < failures && ms < DELAY_MAX_MS; i++)
		ms *= 2;
	return (int64_t)((double)ms * (1 - 0.25 * random));
}

/* -- For people ------------------------------------------------------------------------------ */

static struct sl_bytes message_of(const struct sl_reply *r, json_t **all)
{
	json_t *error = error_object(r->body, all), *text = json_object_get(error, "message");

	if (!json_is_string(text)) /* {"error":"..."} of TEI and Ollama, {"detail":"..."} of FastAPI */
		text = json_is_string(error) ? error : json_object_get(error, "detail");
	if (json_is_string(text))
		return sl_text(json_string_value(text));
	return r->body;
}

/* Every one of the secrets that stands in the text becomes stars: some servers repeat the key they refuse. */
static void hide(char *text, const char *const *secrets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(secrets[i]);

		for (char *at = size ? strstr(text, secrets[i]) : NULL; at; at = strstr(at, secrets[i]))
			memset(at, '*', size);
	}
}

void sl_reply_hide(struct sl_buf *body, const char *const *secrets, size_t secret_count)
{
	for (size_t i = 0; i < secret_count; i++) {
		size_t size = strlen(secrets[i]);
		uint8_t *at = body->data, *end = at + body->size;

		if (size < SECRET_LEAST)
			continue;
		while (at < end && (at = memmem(at, (size_t)(end - at), secrets[i], size)))
			memset(at, '*', size);
	}
}

/* One line of at most MESSAGE_MAX bytes of text; nothing of bytes that are none. */
static void printable(struct sl_bytes from, const char *const *secrets, size_t secret_count, char *to)
{
	size_t size = from.size < 4096 ? from.size : 4096, bad, n = 0;
	char *text = sl_malloc(size + 1);

	for (size_t i = 0; i < size; i++) {
		const char *at = (const char *)from.data + i;
		size_t unseen = sl_text_unseen(at, size - i);
		char c = unseen ? ' ' : *at;

		i += unseen ? unseen - 1 : 0;
		if (c != ' ' || (n && text[n - 1] != ' '))
			text[n++] = c;
	}
	text[n] = 0;
	hide(text, secrets, secret_count); /* before it is cut: half a key is a secret too */
	if (n > MESSAGE_MAX) {
		n = MESSAGE_MAX;
		while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
			n--;
		text[n] = 0;
	}
	if (!sl_utf8_valid(sl_text(text), &bad))
		text[0] = 0;
	memcpy(to, text, strlen(text) + 1);
	free(text);
}

void sl_reply_why(const struct sl_reply *r, const char *const *secrets, size_t secret_count, char why[256])
{
	char message[MESSAGE_MAX + 1];
	json_t *all = NULL;

	if (r->too_large) {
		snprintf(why, 256, "the answer is larger than is taken");
	} else if (r->code != CURLE_OK) {
		printable(sl_text(r->error && r->error[0] ? r->error : curl_easy_strerror((CURLcode)r->code)), secrets,
			  secret_count, message);
		snprintf(why, 256, "%s", message);
	} else {
		printable(message_of(r, &all), secrets, secret_count, message);
		snprintf(why, 256, "HTTP %ld%s%s", r->status, message[0] ? ": " : "", message);
		json_decref(all);
	}
}
