/* http_call.c -- see http_call.h. There is no timeout on the answer: a training takes as long as it
 * takes, and an owner that dies closes the connection. */
#include "http_call.h"

#include "http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

/* More than this is not ours: frames are asked for in far smaller runs. */
#define RESPONSE_MAX ((size_t)1 << 30)

struct sl_http_caller {
	CURL *curl;
	struct curl_slist *headers;
	int folder; /* keeps a too long path reachable */
};

static size_t take_body(char *data, size_t one, size_t size, void *arg)
{
	struct sl_http_response *response = arg;

	if (size * one > RESPONSE_MAX - response->body.size)
		return 0;
	sl_buf_add(&response->body, data, one * size);
	return one * size;
}

static void keep(const char *line, size_t size, const char *name, char *to, size_t to_size)
{
	size_t n = strlen(name);

	if (size <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return;
	for (line += n + 1, size -= n + 1; size > 0 && *line == ' '; size--)
		line++;
	while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == '\n'))
		size--;
	if (size >= to_size)
		size = to_size - 1;
	memcpy(to, line, size);
	to[size] = 0;
}

static size_t take_header(char *data, size_t one, size_t size, void *arg)
{
	struct sl_http_response *response = arg;

	keep(data, size, "Sluice-Next", response->next, sizeof response->next);
	keep(data, size, "Sluice-End", response->end, sizeof response->end);
	keep(data, size, "Sluice-Mark", response->mark, sizeof response->mark);
	return one * size;
}

struct sl_http_caller *sl_http_caller_new(const char *socket_path, const char *topology, struct sl_error *e)
{
	struct sl_http_caller *h = sl_calloc(1, sizeof *h);
	struct sl_buf header = { 0 };
	char fitting[SL_UNIX_PATH_SIZE];

	h->folder = -1;
	if (!sl_unix_path(socket_path, fitting, &h->folder, e)) {
		free(h);
		return NULL;
	}
	if (topology) {
		sl_buf_print(&header, "Sluice-Topology: %s", topology);
		h->headers = curl_slist_append(NULL, sl_buf_text(&header));
	}
	/* No "Expect: 100-continue" dance: it costs a second per large body. */
	h->headers = curl_slist_append(h->headers, "Expect:");
	h->headers = curl_slist_append(h->headers, "Content-Type: application/octet-stream");
	sl_buf_release(&header);
	h->curl = curl_easy_init();
	if (!h->curl || !h->headers)
		sl_oom(0);
	curl_easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, fitting);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_PROXY, ""); /* http_proxy is not meant for us */
	return h;
}

void sl_http_caller_free(struct sl_http_caller *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	if (h->folder >= 0)
		close(h->folder);
	free(h);
}

enum sl_http_outcome sl_http_call(struct sl_http_caller *h, const char *target, struct sl_bytes body,
				  struct sl_http_response *response, struct sl_error *e)
{
	struct sl_buf url = { 0 };
	CURLcode code;

	sl_buf_clear(&response->body);
	response->status = 0;
	response->next[0] = response->end[0] = response->mark[0] = 0;
	sl_buf_print(&url, "http://sluice%s", target);
	curl_easy_setopt(h->curl, CURLOPT_URL, sl_buf_text(&url));
	curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, response);
	curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, response);
	if (body.data) {
		curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body.data);
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
	} else {
		curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
	}
	/* On a kept connection that turns out dead the library sends a request again by itself;
	 * what must not be done twice goes over a new one. */
	curl_easy_setopt(h->curl, CURLOPT_FRESH_CONNECT, body.data ? 1L : 0L);
	code = curl_easy_perform(h->curl);
	sl_buf_release(&url);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &response->status);
	if (code == CURLE_OK)
		return SL_HTTP_ANSWERED;
	sl_error_set(e, SL_RETRY, "the owner of the data folder does not answer: %s", curl_easy_strerror(code));
	return code == CURLE_COULDNT_CONNECT ? SL_HTTP_NOBODY : SL_HTTP_BROKEN;
}

void sl_http_escape(struct sl_buf *to, const char *value)
{
	static const char digits[] = "0123456789ABCDEF";

	for (const char *p = value; *p; p++) {
		uint8_t c = (uint8_t)*p;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
		    c == '-' || c == '_') {
			sl_buf_add_byte(to, c);
		} else {
			sl_buf_add_byte(to, '%');
			sl_buf_add_byte(to, (uint8_t)digits[c >> 4]);
			sl_buf_add_byte(to, (uint8_t)digits[c & 15]);
		}
	}
}
