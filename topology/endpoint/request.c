/* request.c -- see request.h. */
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A proxy cannot reach what is on this machine. */
static bool is_loopback(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL;
	bool is;

	if (!u)
		sl_oom(0);
	is = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	     curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	     (strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0);
	curl_free(host);
	curl_url_cleanup(u);
	return is;
}

/* Whether a call should wait for a connection that is being made, because many may share it. Not where only the
 * first answer would tell: then all would wait for that. */
static bool may_share(const char *url, const char *http)
{
	if (http && strcmp(http, "1.1") == 0)
		return false;
	return strncasecmp(url, "https:", 6) == 0 || (http && strcmp(http, "2") == 0);
}

static void header(struct curl_slist **list, const char *name, const char *value)
{
	struct sl_buf line = { 0 };

	sl_buf_print(&line, "%s%s", name, value);
	*list = curl_slist_append(*list, sl_buf_text(&line));
	if (!*list)
		sl_oom(0);
	explicit_bzero(line.data, line.size); /* it may be a key */
	sl_buf_release(&line);
}

static struct curl_slist *headers_of(const struct sl_endpoint_def *d, const char *key, const char *type)
{
	struct curl_slist *list = NULL;

	header(&list, "Content-Type: ", type);
	header(&list, "Accept: application/json, */*;q=0.5", ""); /* files are no JSON */
	header(&list, "Expect:", ""); /* no 100-continue: it costs a second where it is not known */
	header(&list, "User-Agent: sluice", "");
	if (key && key[0]) /* an empty variable of the environment is no key */
		header(&list, "Authorization: Bearer ", key);
	if (d->organization)
		header(&list, "OpenAI-Organization: ", d->organization);
	if (d->project)
		header(&list, "OpenAI-Project: ", d->project);
	return list;
}

void sl_requests_init(struct sl_requests *r, const struct sl_endpoint_def *d)
{
	*r = (struct sl_requests){ .def = d, .key_count = d->keys.count ? d->keys.count : 1 };
	r->urls = sl_calloc(d->urls.count, sizeof(char *));
	r->loopback = sl_calloc(d->urls.count, sizeof *r->loopback);
	r->pipewait = sl_calloc(d->urls.count, sizeof *r->pipewait);
	r->headers = sl_calloc(r->key_count, sizeof(struct curl_slist *));
	r->forms = sl_calloc(r->key_count, sizeof(struct curl_slist *));
	for (size_t i = 0; i < d->urls.count; i++) {
		size_t size = strlen(d->urls.at[i]);

		r->urls[i] = sl_strdup(d->urls.at[i]);
		while (size && r->urls[i][size - 1] == '/')
			r->urls[i][--size] = 0;
		r->loopback[i] = is_loopback(r->urls[i]);
		r->pipewait[i] = may_share(r->urls[i], d->http);
	}
	for (size_t i = 0; i < r->key_count; i++) {
		const char *key = d->keys.count ? d->keys.at[i] : NULL;

		r->headers[i] = headers_of(d, key, "application/json");
		r->forms[i] = headers_of(d, key, "multipart/form-data; boundary=" SL_FORM_BOUNDARY);
	}
}

void sl_requests_release(struct sl_requests *r)
{
	for (size_t i = 0; i < r->def->urls.count; i++)
		free(r->urls[i]);
	for (size_t i = 0; i < r->key_count; i++) {
		curl_slist_free_all(r->headers[i]);
		curl_slist_free_all(r->forms[i]);
	}
	free(r->urls);
	free(r->loopback);
	free(r->pipewait);
	free(r->headers);
	free(r->forms);
	sl_buf_release(&r->url);
}

static long version_of(const char *http)
{
	if (http && strcmp(http, "1.1") == 0)
		return CURL_HTTP_VERSION_1_1;
	if (http && strcmp(http, "2") == 0)
		return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
	return CURL_HTTP_VERSION_2TLS;
}

void sl_requests_set(struct sl_requests *r, struct sl_http_attempt *a, const struct sl_outcall *call, size_t replica,
		     size_t key)
{
	const struct sl_endpoint_def *d = r->def;

	curl_easy_setopt(a->easy, CURLOPT_HTTP_VERSION, version_of(d->http));
	curl_easy_setopt(a->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)d->connect_timeout_ms);
	curl_easy_setopt(a->easy, CURLOPT_TIMEOUT_MS, (long)d->timeout_ms);
	if (d->ca && d->ca[0])
		curl_easy_setopt(a->easy, CURLOPT_CAINFO, d->ca);
	sl_buf_clear(&r->url);
	sl_buf_print(&r->url, "%s%s", r->urls[replica], call->path);
	curl_easy_setopt(a->easy, CURLOPT_URL, sl_buf_text(&r->url));
	curl_easy_setopt(a->easy, CURLOPT_PROXY, r->loopback[replica] ? "" : NULL);
	curl_easy_setopt(a->easy, CURLOPT_PIPEWAIT, r->pipewait[replica] ? 1L : 0L);
	curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, (call->form ? r->forms : r->headers)[key]);
	/* What must not be sent twice gets a connection of its own, which cannot turn out to be dead. */
	curl_easy_setopt(a->easy, CURLOPT_FRESH_CONNECT, call->once ? 1L : 0L);
	curl_easy_setopt(a->easy, call->get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
	curl_easy_setopt(a->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.size);
	if (!call->get) /* setting them makes it a POST */
		curl_easy_setopt(a->easy, CURLOPT_POSTFIELDS, call->body.size ? call->body.data : "");
	a->answer_max = call->answer_max;
	a->request_size = call->body.size;
}
