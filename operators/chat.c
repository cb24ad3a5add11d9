/* chat.c -- what is said to a chat server, behind chat.h. What comes back: chat_reply.c.
 *
 * The body is written by hand in a fixed order of members, so that the same question is the same bytes. */
#include "chat.h"

#include <assert.h>

/* Of what it said before, the beginning is enough to see what was wrong with it. */
enum { SAID_BYTES_MAX = 8 << 10 };

/* -- extra members ------------------------------------------------------------------------------ */

static json_t *extra_parse(const char *extra, json_error_t *error)
{
	struct sl_buf text = { 0 };
	json_t *members;

	sl_buf_print(&text, "{%s}", extra ? extra : "");
	members = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, error);
	sl_buf_release(&text);
	return members;
}

static const char *const token_limits[] = { "max_tokens", "max_completion_tokens" };

static bool limit_check(const json_t *members, const char *name, int64_t tokens_max, struct sl_error *e)
{
	const json_t *limit = json_object_get(members, name);

	if (!limit || json_is_null(limit))
		return true;
	if (!json_is_integer(limit) || json_integer_value(limit) < 1 || json_integer_value(limit) > tokens_max)
		return sl_error_set(e, SL_STOP,
				    "'%s' must be a whole number from 1 to %lld, the longest answer that is paid for",
				    name, (long long)tokens_max);
	return true;
}

bool sl_chat_extra_check(const char *extra, int64_t tokens_max, struct sl_error *e)
{
	json_error_t error;
	json_t *members = extra_parse(extra, &error);
	bool fine = true;

	if (!members)
		return sl_error_set(e, SL_STOP,
				    "not members of a JSON object: %s; write '\"NAME\": VALUE, ...', without braces",
				    error.text);
	for (size_t i = 0; fine && i < sizeof token_limits / sizeof token_limits[0]; i++)
		fine = limit_check(members, token_limits[i], tokens_max, e);
	if (fine && (json_object_get(members, "model") || json_object_get(members, "messages")))
		fine = sl_error_set(e, SL_STOP, "'model' and 'messages' are not extra");
	if (fine && json_is_true(json_object_get(members, "stream")))
		fine = sl_error_set(e, SL_STOP, "'stream': answers are read whole");
	if (fine && json_object_get(members, "n"))
		fine = sl_error_set(e, SL_STOP, "'n': several samples are several calls");
	json_decref(members);
	return fine;
}

/* -- the body ------------------------------------------------------------------------------------- */

static void add(struct sl_buf *to, const char *text)
{
	sl_buf_add_bytes(to, sl_text(text));
}

static void add_message(struct sl_buf *to, const char *role, struct sl_bytes content)
{
	sl_buf_print(to, "%s{\"role\":\"%s\",\"content\":", to->data[to->size - 1] == '[' ? "" : ",", role);
	sl_json_text(to, content.data ? content : sl_text(""));
	sl_buf_add_byte(to, '}');
}

static struct sl_bytes head(struct sl_bytes text, size_t most)
{
	if (text.size <= most)
		return text;
	while (most > 0 && (((const uint8_t *)text.data)[most] & 0xc0) == 0x80)
		most--;
	return (struct sl_bytes){ text.data, most };
}

static void add_messages(struct sl_buf *to, const struct sl_chat *c)
{
	add(to, "\"messages\":[");
	if (c->system.size)
		add_message(to, "system", c->system);
	add_message(to, "user", c->user);
	if (c->said.data) {
		add_message(to, "assistant", head(c->said, SAID_BYTES_MAX));
		add_message(to, "user", c->complaint);
	}
	add(to, "]");
}

static void add_format(struct sl_buf *to, const struct sl_chat *c)
{
	add(to, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
	sl_json_text(to, sl_text(c->schema_name));
	add(to, ",\"strict\":true,\"schema\":");
	add(to, c->schema);
	add(to, "}}");
}

static bool has_limit(const json_t *extra)
{
	return json_object_get(extra, token_limits[0]) || json_object_get(extra, token_limits[1]);
}

static void add_extra(struct sl_buf *to, json_t *extra)
{
	const char *name;
	json_t *value;

	json_object_foreach(extra, name, value)
	{
		if (json_is_null(value))
			continue;
		add(to, ",");
		sl_json_text(to, sl_text(name));
		add(to, ":");
		sl_json_value(to, value, false);
	}
}

void sl_chat_body(const struct sl_chat *c, struct sl_buf *to)
{
	json_error_t error;
	json_t *extra = extra_parse(c->extra, &error);

	assert(extra); /* sl_chat_extra_check */
	add(to, "{");
	if (c->model && c->model[0]) {
		add(to, "\"model\":");
		sl_json_text(to, sl_text(c->model));
		add(to, ",");
	}
	add_messages(to, c);
	if (c->temperature >= 0 && !json_object_get(extra, "temperature")) {
		add(to, ",\"temperature\":");
		sl_json_number(to, c->temperature);
	}
	if (!has_limit(extra))
		sl_buf_print(to, ",\"max_tokens\":%lld", (long long)c->tokens_max);
	if (!json_object_get(extra, "response_format"))
		add_format(to, c);
	add_extra(to, extra);
	add(to, "}");
	json_decref(extra);
}
