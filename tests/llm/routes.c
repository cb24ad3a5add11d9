/* routes.c -- what is answered on each path: models, chat, embeddings, rewards, statistics and control. Replies have
 * the shapes of the servers that users run: OpenAI's, vLLM's, SGLang's and those of text-embeddings-inference. */
#include "llm.h"

#include "topology/base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void reply_release(struct reply *r)
{
	sl_buf_release(&r->headers);
	sl_buf_release(&r->body);
}

size_t tokens_of(size_t bytes)
{
	return (bytes + 3) / 4;
}

void refuse(struct reply *r, int status, const char *code, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	r->status = status;
	sl_buf_clear(&r->body);
	sl_buf_print(&r->body, "{\"error\":{\"message\":");
	sl_json_text(&r->body, sl_text(text));
	sl_buf_print(&r->body, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}",
		     status >= 500   ? "server_error"
		     : status == 429 ? code
				     : "invalid_request_error",
		     code);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t count_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* -- Chat ---------------------------------------------------------------------------------------------------- */

/* The texts of all messages of a role, or of all but the system's, as one. */
static void texts_of(const json_t *body, struct sl_buf *to)
{
	const json_t *messages = json_object_get(body, "messages"), *message, *part;
	size_t i, j;

	json_array_foreach(messages, i, message)
	{
		const json_t *content = json_object_get(message, "content");

		if (strcmp(text_of(message, "role"), "user") != 0)
			continue;
		sl_buf_add_bytes(to, sl_json_bytes(content));
		json_array_foreach(content, j, part) sl_buf_add_bytes(to, sl_json_bytes(json_object_get(part, "text")));
		sl_buf_add_byte(to, '\n');
	}
}

static bool enum_has(const json_t *values, const char *word)
{
	const json_t *value;
	size_t i;

	json_array_foreach(values, i, value)
	{
		if (json_is_string(value) && strcmp(json_string_value(value), word) == 0)
			return true;
	}
	return false;
}

/* One property of the schema: what the judge means where its words are asked for, else something that fits. */
static void fill(const struct judging *j, const char *name, const json_t *property, uint64_t about, struct sl_buf *to)
{
	const json_t *values = json_object_get(property, "enum");
	const char *type = text_of(property, "type");
	size_t n = json_array_size(values);

	if (n && j->verdict && enum_has(values, j->verdict))
		sl_json_text(to, sl_text(j->verdict));
	else if (n && j->strength && enum_has(values, j->strength))
		sl_json_text(to, sl_text(j->strength));
	else if (n)
		sl_json_value(to, json_array_get(values, (size_t)(draw(about, name, 0, 0) * (double)n)), false);
	else if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
		sl_buf_print(to, "%d", (int)(draw(about, name, 0, 0) * 10));
	else if (strcmp(type, "boolean") == 0)
		sl_buf_print(to, "true");
	else if (strcmp(type, "array") == 0)
		sl_buf_print(to, "[\"correct\",\"complete\"]");
	else if (j->is)
		sl_buf_print(to, "\"Candidate %s answers what was asked, the other one leaves a part of it out.\"",
			     j->verdict[0] == '2' ? "2" : "1");
	else
		sl_buf_print(to, "\"correct, complete and as long as the question needs (%s)\"", name);
}

static void fill_schema(const json_t *body, const struct judging *j, uint64_t about, struct sl_buf *to)
{
	const json_t *format = json_object_get(json_object_get(body, "response_format"), "json_schema");
	const json_t *properties = json_object_get(json_object_get(format, "schema"), "properties"), *property;
	const char *name, *comma = "";

	if (!json_object_size(properties)) {
		if (j->is)
			sl_buf_print(to, "{\"verdict\":\"%s\"}", j->verdict);
		else
			sl_buf_print(to, "Hello. This is no model.");
		return;
	}
	sl_buf_add_byte(to, '{');
	json_object_foreach((json_t *)properties, name, property)
	{
		sl_buf_print(to, "%s", comma);
		sl_json_text(to, sl_text(name));
		sl_buf_add_byte(to, ':');
		fill(j, name, property, about, to);
		comma = ",";
	}
	sl_buf_add_byte(to, '}');
}

/* What the message says, with the oddity that was drawn. */
static void say(const struct sl_buf *json, enum fault fault, struct sl_buf *to)
{
	if (fault == FAULT_PROSE)
		sl_buf_print(to, "Here is my verdict, as you asked:\n\n");
	if (fault == FAULT_FENCES)
		sl_buf_print(to, "```json\n");
	if (fault == FAULT_WRONG_KEY)
		sl_buf_print(to, "{\"answer\":\"the first\",\"certainty\":\"high\"}");
	else if (fault == FAULT_BAD_JSON)
		sl_buf_print(to, "Both answers have their merits {but,, I \"would\" say 1}.");
	else if (fault == FAULT_LENGTH)
		sl_buf_add(to, json->data, json->size / 2);
	else if (fault != FAULT_LENGTH_EMPTY && fault != FAULT_EMPTY && fault != FAULT_REFUSAL)
		sl_buf_add(to, json->data, json->size);
	if (fault == FAULT_FENCES)
		sl_buf_print(to, "\n```");
	if (fault == FAULT_PROSE)
		sl_buf_print(to, "\n\nI hope that helps.");
}

void pay(struct server *s, uint64_t question, int64_t prompt, int64_t completion)
{
	uint64_t *seen = table_at(&s->counts.questions, question);
	double cached = floor((double)prompt * s->set.cached);

	s->counts.paid++;
	s->counts.distinct_paid += (uint32_t)*seen == 0;
	(*seen)++;
	s->counts.prompt += prompt;
	s->counts.cached += (int64_t)cached;
	s->counts.completion += completion;
	s->counts.dollars += s->price *
			     (((double)prompt - cached) * s->set.price_prompt + cached * s->set.price_cached +
			      (double)completion * s->set.price_completion) /
			     1e6;
}

static void chat(struct server *s, const json_t *body, struct sl_bytes text, enum fault fault, struct sl_buf *to)
{
	uint64_t question = sl_hash64(text.data, text.size, 0);
	const uint64_t *seen = table_find(&s->counts.questions, question);
	/* The same question again is answered the same way, unless it may be answered in many. */
	uint64_t n = seen && json_number_value(json_object_get(body, "temperature")) > 0 ? (uint32_t)*seen : 0;
	struct sl_buf user = { 0 }, json = { 0 }, said = { 0 };
	int64_t prompt = (int64_t)tokens_of(text.size), completion, reasoning = (int64_t)s->set.reasoning;
	const char *name = text_of(body, "model");
	struct judging j;
	struct model m;

	settings_model(&s->set, name, &m);
	texts_of(body, &user);
	judge(s, &m, sl_buf_bytes(&user), n, &j);
	s->counts.described += !j.is;
	fill_schema(body, &j, sl_hash64(user.data, user.size, 7), &json);
	say(&json, fault, &said);
	completion = (int64_t)tokens_of(said.size) + reasoning + (fault == FAULT_LENGTH_EMPTY ? 16 : 0);
	pay(s, question, prompt, completion);
	sl_buf_print(to, "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion\",\"created\":%lld,\"model\":",
		     (unsigned long long)question, (long long)time(NULL));
	sl_json_text(to, sl_text(name));
	sl_buf_print(to, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	sl_json_text(to, said.size ? sl_buf_bytes(&said) : fault == FAULT_EMPTY ? sl_text("") : (struct sl_bytes){ 0 });
	sl_buf_print(to, ",\"refusal\":%s},\"logprobs\":null,\"finish_reason\":\"%s\"}]",
		     fault == FAULT_REFUSAL ? "\"I cannot help with that.\"" : "null",
		     fault == FAULT_LENGTH || fault == FAULT_LENGTH_EMPTY ? "length" : "stop");
	sl_buf_print(to,
		     ",\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
		     "\"prompt_tokens_details\":{\"cached_tokens\":%lld},"
		     "\"completion_tokens_details\":{\"reasoning_tokens\":%lld}}}",
		     (long long)prompt, (long long)completion, (long long)(prompt + completion),
		     (long long)floor((double)prompt * s->set.cached),
		     (long long)(reasoning + (fault == FAULT_LENGTH_EMPTY ? 16 : 0)));
	sl_buf_release(&user);
	sl_buf_release(&json);
	sl_buf_release(&said);
}

/* -- Limits -------------------------------------------------------------------------------------------------- */

static double refilled(double left, int64_t per_minute, int64_t passed_ns)
{
	double more = left + (double)per_minute * (double)passed_ns / 60e9;

	return more > (double)per_minute ? (double)per_minute : more;
}

static void rate_header(struct reply *r, const char *what, int64_t limit, double left)
{
	if (limit)
		sl_buf_print(&r->headers,
			     "x-ratelimit-limit-%s: %lld\r\nx-ratelimit-remaining-%s: %lld\r\n"
			     "x-ratelimit-reset-%s: %.0fms\r\n",
			     what, (long long)limit, what, (long long)(left > 0 ? left : 0), what,
			     left >= 1 ? 0.0 : (1 - left) * 60e3 / (double)limit);
}

/* True: this request is over a limit. */
static bool over_limits(struct server *s, int64_t tokens, struct reply *r)
{
	const struct settings *set = &s->set;
	int64_t now = now_ns(), passed = now - s->refilled_ns;
	bool over;

	s->refilled_ns = now;
	s->requests_left = refilled(s->requests_left, set->rpm, passed);
	s->tokens_left = refilled(s->tokens_left, set->tpm, passed);
	over = (set->rpm && s->requests_left < 1) || (set->tpm && s->tokens_left < (double)tokens) ||
	       (set->concurrency && s->counts.working >= set->concurrency);
	if (!over) {
		s->requests_left -= 1;
		s->tokens_left -= (double)tokens;
	}
	rate_header(r, "requests", set->rpm, s->requests_left);
	rate_header(r, "tokens", set->tpm, s->tokens_left);
	if (over) {
		s->counts.limited++;
		refuse(r, 429, "rate_limit_exceeded", "Rate limit reached; please try again later.");
	}
	return over;
}

/* -- The paid paths ------------------------------------------------------------------------------------------ */

static void html(struct reply *r)
{
	r->type = "text/html";
	sl_buf_print(&r->body, "<html><body><h1>Welcome to the gateway</h1></body></html>");
}

/* True: the fault is an answer of its own, and nothing is done for it. */
static bool refused(struct reply *r, enum fault fault, const char *model)
{
	char date[64];
	time_t soon = time(NULL) + 1;
	struct tm tm;

	switch (fault) {
	case FAULT_408:
		refuse(r, 408, "timeout", "Request timed out.");
		return true;
	case FAULT_409:
		refuse(r, 409, "conflict", "Conflict with another request.");
		return true;
	case FAULT_429_MS:
		sl_buf_print(&r->headers, "retry-after-ms: 50\r\n");
		break;
	case FAULT_429_SECONDS:
		sl_buf_print(&r->headers, "Retry-After: 1\r\n");
		break;
	case FAULT_429_DATE:
		strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &tm));
		sl_buf_print(&r->headers, "Retry-After: %s\r\n", date);
		break;
	case FAULT_429:
		break;
	case FAULT_500:
		refuse(r, 500, "server_error", "The server had an error while processing your request.");
		return true;
	case FAULT_503:
		refuse(r, 503, "overloaded", "The engine is currently overloaded.");
		return true;
	case FAULT_QUOTA:
		refuse(r, 429, "insufficient_quota", "You exceeded your current quota, please check your plan.");
		return true;
	case FAULT_TOO_LONG:
		refuse(r, 400, "context_length_exceeded", "This model's maximum context length is 8192 tokens.");
		return true;
	case FAULT_401:
		refuse(r, 401, "invalid_api_key", "Incorrect API key provided.");
		return true;
	case FAULT_404:
		refuse(r, 404, "model_not_found", "The model '%s' does not exist.", model);
		return true;
	default:
		return false;
	}
	refuse(r, 429, "rate_limit_exceeded", "Rate limit reached for requests.");
	return true;
}

static enum manner manner_of(enum fault fault)
{
	switch (fault) {
	case FAULT_RESET_AFTER:
		return MANNER_RESET;
	case FAULT_NEVER:
		return MANNER_NEVER;
	case FAULT_GARBAGE:
		return MANNER_GARBAGE;
	case FAULT_HALF:
		return MANNER_HALF;
	case FAULT_DRIP:
		return MANNER_DRIP;
	default:
		return MANNER_WHOLE;
	}
}

void work(struct server *s, const char *path, const json_t *body, struct sl_bytes text, struct reply *r)
{
	bool chatting = strcmp(path, "/v1/chat/completions") == 0;
	bool named = strcmp(path, "/embed") != 0 && strncmp(path, "/classify", 9) != 0;
	const char *name = text_of(body, "model");
	int64_t prompt = (int64_t)tokens_of(text.size), most = count_of(body, "max_completion_tokens");
	uint64_t question = sl_hash64(text.data, text.size, 0), *seen;
	enum fault fault;
	struct model m;

	if (most == 0)
		most = count_of(body, "max_tokens");
	if (!settings_model(&s->set, name, &m) && (named || *name)) {
		refuse(r, 404, "model_not_found", "The model '%s' does not exist.", name);
		return;
	}
	if (s->set.context && prompt + most > s->set.context) {
		refuse(r, 400, "context_length_exceeded",
		       "This model's maximum context length is %lld tokens. However, you requested %lld tokens.",
		       (long long)s->set.context, (long long)(prompt + most));
		return;
	}
	if (chatting && !json_is_array(json_object_get(body, "messages"))) {
		refuse(r, 400, "invalid_request", "you must provide a messages parameter");
		return;
	}
	if (over_limits(s, prompt + most, r))
		return;
	seen = table_at(&s->counts.questions, question);
	/* A question that is asked again draws again, so that trying again helps. */
	fault = fault_draw(&s->set.faults, draw((uint64_t)s->set.seed, "fault", question, *seen >> 32));
	s->counts.requests++;
	s->counts.distinct += *seen >> 32 == 0;
	*seen += 1ull << 32;
	s->counts.faults[fault]++;
	r->slow = true;
	if (refused(r, fault, name))
		return;
	if (fault == FAULT_RESET_BEFORE) {
		r->manner = MANNER_RESET;
		r->slow = false;
		return;
	}
	r->paid = true;
	r->manner = manner_of(fault);
	if (chatting) {
		chat(s, body, text, fault, &r->body);
	} else {
		pay(s, question, prompt, 0);
		if (strstr(path, "classify"))
			remote_rewards(s, body, &r->body);
		else
			remote_embeddings(s, body, path, &r->body);
	}
	if (fault == FAULT_NOT_JSON) {
		sl_buf_clear(&r->body);
		html(r);
	}
}

/* -- All paths ----------------------------------------------------------------------------------------------- */

static void models(const struct server *s, struct reply *r)
{
	sl_buf_print(&r->body, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < s->set.model_count; i++) {
		sl_buf_print(&r->body, "%s{\"id\":", i ? "," : "");
		sl_json_text(&r->body, sl_text(s->set.models[i].name));
		sl_buf_print(&r->body, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"sluice\"}");
	}
	sl_buf_print(&r->body, "]}");
}

static void control(struct server *s, const json_t *body, struct reply *r)
{
	json_t *settings = json_deep_copy(body);
	json_t *end = json_object_get(settings, "end_batches"), *reset = json_object_get(settings, "reset");
	struct sl_error e = { 0 };

	json_incref(end);
	json_object_del(settings, "end_batches");
	json_object_del(settings, "reset");
	if (!json_is_object(settings) || !settings_change(&s->set, settings, &e)) {
		refuse(r, 400, "bad_setting", "%s", e.text);
	} else {
		if (reset) {
			table_release(&s->counts.questions);
			s->counts =
				(struct counts){ .connections = s->counts.connections, .working = s->counts.working };
		}
		if (json_is_string(end))
			batches_end(s, json_string_value(end));
		sl_buf_print(&r->body, "{\"done\":true}");
	}
	json_decref(end);
	json_decref(settings);
}

void serve(struct server *s, const struct request *q, struct reply *r)
{
	static const char *const paid[] = {
		"/v1/chat/completions", "/v1/embeddings", "/embed", "/classify", "/v1/classify", NULL
	};
	bool posted = strcmp(q->method, "POST") == 0;
	json_t *body = NULL;

	r->status = 200;
	r->type = "application/json";
	if (strcmp(q->path, "/stats") == 0) {
		stats(s, &r->body);
		return;
	}
	if (strcmp(q->path, "/control") != 0 && *s->set.key && strcmp(q->key, s->set.key) != 0) {
		refuse(r, 401, "invalid_api_key", "Incorrect API key provided.");
		return;
	}
	if (strcmp(q->path, "/v1/models") == 0) {
		models(s, r);
		return;
	}
	if (batches_serve(s, q, r))
		return;
	if (posted)
		body = json_loadb(q->body.data, q->body.size, 0, NULL);
	for (size_t i = 0; body && paid[i]; i++) {
		if (strcmp(q->path, paid[i]) == 0) {
			work(s, q->path, body, q->body, r);
			json_decref(body);
			return;
		}
	}
	if (body && strcmp(q->path, "/control") == 0)
		control(s, body, r);
	else if (posted && !body)
		refuse(r, 400, "invalid_json", "We could not parse the JSON body of your request.");
	else
		refuse(r, 404, "unknown_url", "Invalid URL (%s %s)", q->method, q->path);
	json_decref(body);
}
