/* registry.c -- see registry.h.
 *
 * One connection (libcurl, kept open) for all threads, under `wire`; what is known lies under
 * `lock`, so a thread that finds its decoder never waits for a request of another one.
 * Answers are foreign bytes: bounded while they arrive, read by jansson, quoted without control
 * characters. After a request that got no answer, the next second's requests fail at once with the same
 * reason: those who wait for the connection do not wait for its timeout one after the other.
 *
 * A password goes to the registry and nowhere else: not into a message, not along a redirection. */
#include "registry.h"

#include "../schemas/json.h"
#include "base/thread.h"
#include "http_call.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdlib.h>

#define ANSWER_MAX ((size_t)4 << 20)
#define TIMEOUT_MS 10000
#define ASK_AGAIN_NS INT64_C(1000000000)
#define MISSING_MAX 64
#define LEVEL "FULL_TRANSITIVE"

/* A schema that was found: what it says will never change, also that we cannot use it. */
struct known {
	int32_t id;
	struct sl_decoder *decoder; /* NULL: *why */
	struct sl_error *why;
};

struct missing {
	int32_t id;
	int64_t until_ns; /* 0: a free place */
	struct sl_error why;
};

struct sl_registry {
	char *url; /* without a slash at the end */
	bool has_user;

	pthread_mutex_t lock;
	struct known *known; /* by id */
	size_t known_count;
	struct missing missing[MISSING_MAX];
	size_t missing_next;

	pthread_mutex_t wire; /* what follows; taken before `lock` */
	CURL *curl;
	struct curl_slist *headers;
	struct sl_buf answer;
	int64_t silent_until_ns; /* no answer came: `silent` says why */
	struct sl_error silent;
};

/* -- Requests ------------------------------------------------------------------------- */

static size_t take(char *data, size_t one, size_t size, void *arg)
{
	struct sl_buf *answer = arg;

	if (size * one > ANSWER_MAX - answer->size)
		return 0;
	sl_buf_add(answer, data, one * size);
	return one * size;
}

/* What a person must change, told apart from what may pass. */
static bool no_answer(struct sl_registry *r, CURLcode code, struct sl_error *e)
{
	const char *what = curl_easy_strerror(code);

	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return sl_error_set(e, SL_STOP,
				    "the certificate of the schema registry '%s' cannot be trusted (%s): give its "
				    "authority as registry.ca",
				    r->url, what);
	case CURLE_SSL_CACERT_BADFILE:
		return sl_error_set(e, SL_STOP, "registry.ca cannot be read as a PEM file of certificates");
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return sl_error_set(e, SL_STOP, "registry.url '%s' is no http or https address", r->url);
	case CURLE_WRITE_ERROR:
		return sl_error_set(e, SL_STOP, "an answer of the schema registry '%s' is over %zu bytes", r->url,
				    ANSWER_MAX);
	default:
		return sl_error_set(e, SL_RETRY, "the schema registry '%s' does not answer: %s", r->url, what);
	}
}

/* False: no answer. Else *status and *answer (NULL where it is no JSON object; decref). */
static bool request(struct sl_registry *r, const char *method, const char *target, const struct sl_buf *body,
		    long *status, json_t **answer, struct sl_error *e)
{
	struct sl_buf url = { 0 };
	CURLcode code;

	if (sl_monotonic_ns() < r->silent_until_ns) {
		*e = r->silent;
		return false;
	}
	sl_buf_clear(&r->answer);
	sl_buf_print(&url, "%s%s", r->url, target);
	curl_easy_setopt(r->curl, CURLOPT_URL, sl_buf_text(&url));
	if (body) {
		curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
		curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body->data);
	} else {
		curl_easy_setopt(r->curl, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, method);
	code = curl_easy_perform(r->curl);
	sl_buf_release(&url);
	if (code != CURLE_OK) {
		no_answer(r, code, e);
		r->silent = *e;
		r->silent_until_ns = sl_monotonic_ns() + ASK_AGAIN_NS;
		return false;
	}
	curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, status);
	*answer = json_loadb(r->answer.data ? (const char *)r->answer.data : "", r->answer.size, 0, NULL);
	if (!json_is_object(*answer)) {
		json_decref(*answer);
		*answer = NULL;
	}
	return true;
}

static json_int_t error_code(const json_t *answer)
{
	return json_integer_value(json_object_get(answer, "error_code"));
}

/* The registry's own words, cut and without control characters. */
static void words(const json_t *answer, char to[300])
{
	const char *text = json_string_value(json_object_get(answer, "message"));
	size_t n = 0;

	for (; text && text[n] && n < 299; n++)
		to[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? ' ' : text[n];
	while (n > 0 && text[n] && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--; /* not in the middle of a character */
	to[n] = 0;
}

/* Whatever is not 200. `what` it was asked for: "register a schema under 'x'". */
static bool refused(struct sl_registry *r, long status, const json_t *answer, const char *what, struct sl_error *e)
{
	char text[300];

	words(answer, text);
	if (status == 401 && !r->has_user)
		return sl_error_set(e, SL_STOP,
				    "the schema registry '%s' wants to know who asks (HTTP 401): set registry.user and "
				    "registry.password",
				    r->url);
	if (status == 401)
		return sl_error_set(e, SL_STOP,
				    "the schema registry '%s' does not accept registry.user with its password (HTTP "
				    "401): correct them",
				    r->url);
	if (status == 403)
		return sl_error_set(e, SL_STOP,
				    "the schema registry '%s' does not let %s %s (HTTP 403): give it that right",
				    r->url, r->has_user ? "registry.user" : "a caller without registry.user", what);
	if (status == 408 || status == 429 || status >= 500)
		return sl_error_set(e, SL_RETRY, "the schema registry '%s' cannot %s now (HTTP %ld): %s", r->url, what,
				    status, text);
	if (status >= 300 && status < 400)
		return sl_error_set(e, SL_STOP,
				    "'%s' is not the schema registry but sends elsewhere (HTTP %ld): set registry.url "
				    "to its own address",
				    r->url, status);
	if (answer && *text)
		return sl_error_set(e, SL_STOP, "the schema registry '%s' refuses to %s (HTTP %ld): %s", r->url, what,
				    status, text);
	return sl_error_set(e, SL_STOP,
			    "'%s' does not answer like a schema registry (HTTP %ld, to %s): check "
			    "registry.url",
			    r->url, status, what);
}

/* -- Registering ---------------------------------------------------------------------- */

static void target(struct sl_buf *to, const char *before, const char *subject, const char *after)
{
	sl_buf_clear(to);
	sl_buf_print(to, "%s", before);
	sl_http_escape(to, subject);
	sl_buf_print(to, "%s", after);
	sl_buf_text(to);
}

static bool has_level(struct sl_registry *r, const char *path, const char *subject, bool *has, struct sl_error *e)
{
	json_t *answer;
	char what[300];
	long status;
	bool done = true;

	if (!request(r, "GET", path, NULL, &status, &answer, e))
		return false;
	snprintf(what, sizeof what, "show the compatibility of subject '%.200s'", subject);
	*has = status == 200 && sl_is(sl_json_bytes(json_object_get(answer, "compatibilityLevel")), LEVEL);
	if (status != 200 && !(status == 404 && answer && error_code(answer) > 0))
		done = refused(r, status, answer, what, e);
	json_decref(answer);
	return done;
}

static bool set_level(struct sl_registry *r, const char *path, const char *subject, struct sl_error *e)
{
	struct sl_buf body = { 0 };
	json_t *answer;
	char what[300];
	long status;
	bool done;

	sl_buf_print(&body, "{\"compatibility\": \"%s\"}", LEVEL);
	done = request(r, "PUT", path, &body, &status, &answer, e);
	sl_buf_release(&body);
	if (!done)
		return false;
	snprintf(what, sizeof what, "set the compatibility of subject '%.200s' to %s", subject, LEVEL);
	if (status != 200)
		done = refused(r, status, answer, what, e);
	json_decref(answer);
	return done;
}

static bool post(struct sl_registry *r, const char *path, const char *subject, const char *schema_json, int32_t *id,
		 struct sl_error *e)
{
	struct sl_buf body = { 0 };
	const json_t *number;
	json_t *answer;
	char what[300];
	long status;
	bool done;

	sl_buf_print(&body, "{\"schema\": ");
	sl_json_text(&body, sl_text(schema_json));
	sl_buf_print(&body, "}");
	done = request(r, "POST", path, &body, &status, &answer, e);
	sl_buf_release(&body);
	if (!done)
		return false;
	snprintf(what, sizeof what, "register a schema under subject '%.200s'", subject);
	number = json_object_get(answer, "id");
	if (status == 409) {
		char text[300];

		words(answer, text);
		done = sl_error_set(
			e, SL_STOP,
			"the schema of this release is not compatible (%s) with those under subject '%.200s' "
			"of the schema registry: %s",
			LEVEL, subject, text);
	} else if (status != 200) {
		done = refused(r, status, answer, what, e);
	} else if (!json_is_integer(number) || json_integer_value(number) < 0 ||
		   json_integer_value(number) > INT32_MAX) {
		done = sl_error_set(e, SL_STOP,
				    "'%s' does not answer like a schema registry (no 'id' when asked to %s): check "
				    "registry.url",
				    r->url, what);
	} else {
		*id = (int32_t)json_integer_value(number);
	}
	json_decref(answer);
	return done;
}

bool sl_registry_register(struct sl_registry *r, const char *subject, const char *schema_json, int32_t *id,
			  struct sl_error *e)
{
	struct sl_buf path = { 0 };
	bool has = false, done;

	sl_lock(&r->wire);
	target(&path, "/config/", subject, "");
	done = has_level(r, (const char *)path.data, subject, &has, e) &&
	       (has || set_level(r, (const char *)path.data, subject, e));
	if (done) {
		target(&path, "/subjects/", subject, "/versions");
		done = post(r, (const char *)path.data, subject, schema_json, id, e);
	}
	sl_unlock(&r->wire);
	sl_buf_release(&path);
	return done;
}

/* -- Finding -------------------------------------------------------------------------- */

/* Under `lock`: where `id` is, or where it would be. */
static size_t place(const struct sl_registry *r, int32_t id)
{
	size_t low = 0, high = r->known_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->known[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* True: what became of `id` is known already. */
static bool look(struct sl_registry *r, int32_t id, const struct sl_decoder **d, struct sl_error *e)
{
	bool found = false;
	size_t at;

	*d = NULL;
	sl_lock(&r->lock);
	at = place(r, id);
	if (at < r->known_count && r->known[at].id == id) {
		found = true;
		*d = r->known[at].decoder;
		if (!*d)
			*e = *r->known[at].why;
	}
	for (size_t i = 0; i < MISSING_MAX && !found; i++) {
		const struct missing *m = &r->missing[i];

		if (m->id == id && m->until_ns > sl_monotonic_ns()) {
			found = true;
			*e = m->why;
		}
	}
	sl_unlock(&r->lock);
	return found;
}

static void keep(struct sl_registry *r, int32_t id, struct sl_decoder *d, const struct sl_error *why)
{
	size_t at;

	sl_lock(&r->lock);
	at = place(r, id);
	r->known = sl_realloc(r->known, (r->known_count + 1) * sizeof *r->known);
	memmove(r->known + at + 1, r->known + at, (r->known_count - at) * sizeof *r->known);
	r->known_count++;
	r->known[at] = (struct known){ .id = id, .decoder = d };
	if (!d) {
		r->known[at].why = sl_malloc(sizeof *why);
		*r->known[at].why = *why;
	}
	sl_unlock(&r->lock);
}

static void keep_missing(struct sl_registry *r, int32_t id, const struct sl_error *why)
{
	sl_lock(&r->lock);
	r->missing[r->missing_next++ % MISSING_MAX] =
		(struct missing){ .id = id, .until_ns = sl_monotonic_ns() + ASK_AGAIN_NS, .why = *why };
	sl_unlock(&r->lock);
}

/* The text of an answer to GET /schemas/ids/<id> as a decoder. */
static struct sl_decoder *compile(const json_t *answer, int32_t id, struct sl_error *e)
{
	const char *schema = json_string_value(json_object_get(answer, "schema"));
	const char *type = json_string_value(json_object_get(answer, "schemaType"));
	struct sl_decoder *d = NULL;

	if (type && strcmp(type, "AVRO") != 0)
		sl_error_set(e, SL_STOP, "it is of type '%.40s', expected AVRO", type);
	else if (json_array_size(json_object_get(answer, "references")) > 0)
		sl_error_set(e, SL_STOP, "it refers to schemas of other subjects: write it as one schema");
	else
		d = sl_decoder_new(schema, e);
	if (!d)
		sl_error_in(e, "schema %" PRId32 " of the schema registry", id);
	return d;
}

static const struct sl_decoder *fetch(struct sl_registry *r, int32_t id, struct sl_error *e)
{
	struct sl_decoder *d = NULL;
	char path[64], what[64];
	json_t *answer;
	long status;

	snprintf(path, sizeof path, "/schemas/ids/%" PRId32, id);
	snprintf(what, sizeof what, "find the schema %" PRId32, id);
	if (!request(r, "GET", path, NULL, &status, &answer, e)) {
		e->verdict = SL_RETRY;
		return NULL;
	}
	if (status == 404 && error_code(answer) == 40403) {
		sl_error_set(e, SL_STOP, "the schema registry '%s' has no schema %" PRId32, r->url, id);
		keep_missing(r, id, e);
	} else if (status == 200 && json_is_string(json_object_get(answer, "schema"))) {
		d = compile(answer, id, e);
		keep(r, id, d, e);
	} else {
		/* It says nothing about the record, whoever must do something about it. */
		refused(r, status, answer, what, e);
		e->verdict = SL_RETRY;
	}
	json_decref(answer);
	return d;
}

const struct sl_decoder *sl_registry_decoder(struct sl_registry *r, int32_t id, struct sl_error *e)
{
	const struct sl_decoder *d;

	if (look(r, id, &d, e))
		return d;
	sl_lock(&r->wire);
	/* Another thread may have found it while this one waited. */
	if (!look(r, id, &d, e))
		d = fetch(r, id, e);
	sl_unlock(&r->wire);
	return d;
}

/* -- Life ----------------------------------------------------------------------------- */

/* An address with a password in it is refused, because it is shown. */
static bool check_url(const char *url, struct sl_error *e)
{
	CURLU *parts = curl_url();
	char *scheme = NULL, *user = NULL;
	bool good = false;

	if (!parts)
		sl_oom(0);
	if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		sl_error_set(e, SL_STOP, "registry.url is no http or https address");
	else if (curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK)
		sl_error_set(
			e, SL_STOP,
			"registry.url holds a user or a password: say them as registry.user and registry.password");
	else
		good = true;
	curl_free(scheme);
	curl_free(user);
	curl_url_cleanup(parts);
	return good;
}

struct sl_registry *sl_registry_open(const struct sl_registry_options *options, struct sl_error *e)
{
	struct sl_registry *r;
	size_t size = strlen(options->url);

	if (!check_url(options->url, e))
		return NULL;
	r = sl_calloc(1, sizeof *r);
	r->url = sl_strdup(options->url);
	while (size > 0 && r->url[size - 1] == '/')
		r->url[--size] = 0;
	r->has_user = options->user != NULL;
	sl_mutex_init(&r->lock);
	sl_mutex_init(&r->wire);
	r->curl = curl_easy_init();
	r->headers = curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
	if (!r->curl || !r->headers ||
	    !curl_slist_append(r->headers, "Accept: application/vnd.schemaregistry.v1+json, "
					   "application/json") ||
	    !curl_slist_append(r->headers, "Expect:"))
		sl_oom(0);
	curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
	curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, &r->answer);
	curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS,
			 (long)(options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS));
	if (options->user) {
		curl_easy_setopt(r->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(r->curl, CURLOPT_USERNAME, options->user);
		curl_easy_setopt(r->curl, CURLOPT_PASSWORD, options->password ? options->password : "");
	}
	if (options->ca)
		curl_easy_setopt(r->curl, CURLOPT_CAINFO, options->ca);
	return r;
}

void sl_registry_close(struct sl_registry *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->known_count; i++) {
		sl_decoder_free(r->known[i].decoder);
		free(r->known[i].why);
	}
	free(r->known);
	curl_easy_cleanup(r->curl);
	curl_slist_free_all(r->headers);
	sl_buf_release(&r->answer);
	sl_mutex_destroy(&r->wire);
	sl_mutex_destroy(&r->lock);
	free(r->url);
	free(r);
}
