/* jsonl_messages.c -- messages in the forms the field writes them: OpenAI's role
 * and content, ShareGPT's from and value, and the transcripts of HH-RLHF.
 *
 * Roles are brought to the five of pair.h. What a message holds besides role
 * and content is kept as `extra`: compact JSON with sorted keys, so that two
 * writers of the same message give the same bytes and the same id. */
#include "jsonl_shape.h"

#include <assert.h>

static const char *const roles[][2] = {
	{ "user", "user" },         { "assistant", "assistant" }, { "system", "system" },
	{ "tool", "tool" },         { "developer", "developer" }, { "human", "user" },
	{ "gpt", "assistant" },     { "prompter", "user" },       { "bot", "assistant" },
	{ "chatgpt", "assistant" }, { "model", "assistant" },     { "function_call", "assistant" },
	{ "observation", "tool" },  { "function", "tool" },
};

bool sl_role_read(struct sl_bytes given, struct sl_bytes *to, struct sl_error *e)
{
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (sl_is(given, roles[i][0])) {
			*to = sl_text(roles[i][1]);
			return true;
		}
	}
	return sl_error_set(e, SL_STOP,
			    "unknown role '%.*s': expected system, user, assistant, tool or developer (human and gpt "
			    "are understood)",
			    (int)(given.size < 40 ? given.size : 40), (const char *)given.data);
}

static bool read_role(json_t *value, struct sl_bytes *to, struct sl_error *e)
{
	struct sl_bytes given = sl_json_bytes(value);

	if (!given.data)
		return sl_error_set(e, SL_STOP, "'role' must be a string, not %s", sl_json_kind(value));
	return sl_role_read(given, to, e);
}

/* A list of {type: text, text: ...} parts, or bare strings, as one text. */
static bool read_parts(struct sl_arena *a, json_t *list, struct sl_bytes *to, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	json_t *part;
	size_t i;
	bool good = true;

	json_array_foreach(list, i, part)
	{
		json_t *value = json_is_object(part) ? json_object_get(part, "text") : part;

		if (!json_is_string(value)) {
			json_t *type = json_object_get(part, "type");

			good = sl_error_set(e, SL_STOP,
					    "part %zu of 'content' is no text (type '%.40s'): only text parts are read",
					    i, json_is_string(type) ? json_string_value(type) : sl_json_kind(part));
			break;
		}
		sl_buf_add_bytes(&text, sl_json_bytes(value));
	}
	*to = sl_arena_bytes(a, (struct sl_bytes){ sl_buf_text(&text), text.size });
	sl_buf_release(&text);
	return good;
}

static bool read_content(struct sl_arena *a, json_t *value, struct sl_bytes *to, struct sl_error *e)
{
	if (json_is_string(value))
		*to = sl_arena_bytes(a, sl_json_bytes(value));
	else if (json_is_null(value))
		*to = sl_text("");
	else if (json_is_array(value))
		return read_parts(a, value, to, e);
	else
		return sl_error_set(e, SL_STOP, "'content' must be a string, a list of text parts or null, not %s",
				    sl_json_kind(value));
	return true;
}

/* Every key but the two that were read. */
static struct sl_bytes read_extra(struct sl_arena *a, json_t *value, const char *role_key, const char *content_key)
{
	json_t *rest = json_object();
	const char *key;
	json_t *member;
	struct sl_bytes extra = { 0 };

	json_object_foreach(value, key, member) if (strcmp(key, role_key) != 0 && strcmp(key, content_key) != 0)
		json_object_set(rest, key, member);
	if (json_object_size(rest) > 0)
		extra = sl_json_dump(a, rest, true);
	json_decref(rest);
	return extra;
}

bool sl_message_read(struct sl_arena *a, json_t *value, struct sl_message *to, struct sl_error *e)
{
	bool sharegpt = json_object_get(value, "from") && !json_object_get(value, "role");
	const char *role_key = sharegpt ? "from" : "role", *content_key = sharegpt ? "value" : "content";
	json_t *content = json_object_get(value, content_key);

	*to = (struct sl_message){ 0 };
	if (!json_is_object(value))
		return sl_error_set(e, SL_STOP, "a message must be an object with 'role' and 'content', not %s",
				    sl_json_kind(value));
	if (!read_role(json_object_get(value, role_key), &to->role, e))
		return false;
	if (content) {
		if (!read_content(a, content, &to->content, e))
			return false;
	} else {
		if (!json_object_get(value, "tool_calls") && !json_object_get(value, "function_call"))
			return sl_error_set(e, SL_STOP, "'%s' is missing: a message has 'role' and 'content'",
					    content_key);
		to->content = sl_text("");
	}
	if (json_object_size(value) > (content ? 2u : 1u))
		to->extra = read_extra(a, value, role_key, content_key);
	return true;
}

bool sl_messages_read(struct sl_arena *a, json_t *list, struct sl_messages *to, struct sl_error *e)
{
	json_t *value;
	size_t i;

	if (!json_is_array(list))
		return sl_error_set(e, SL_STOP, "expected a list of messages, not %s", sl_json_kind(list));
	to->count = json_array_size(list);
	to->at = sl_arena_alloc(a, to->count * sizeof *to->at);
	json_array_foreach(list, i, value) if (!sl_message_read(a, value, &to->at[i], e)) return sl_error_in(
		e, "message %zu", i);
	return true;
}

struct sl_messages sl_messages_one(struct sl_arena *a, const char *role, struct sl_bytes content)
{
	struct sl_messages m = { sl_arena_zalloc(a, sizeof *m.at), 1 };

	m.at[0] = (struct sl_message){ .role = sl_text(role), .content = content };
	return m;
}

struct sl_messages sl_messages_join(struct sl_arena *a, struct sl_messages first, struct sl_messages second)
{
	struct sl_messages m = { sl_arena_alloc(a, (first.count + second.count) * sizeof *m.at),
				 first.count + second.count };

	for (size_t i = 0; i < m.count; i++)
		m.at[i] = i < first.count ? first.at[i] : second.at[i - first.count];
	return m;
}

struct sl_messages sl_messages_from(struct sl_messages m, size_t first)
{
	assert(first <= m.count);
	return (struct sl_messages){ m.count > first ? m.at + first : NULL, m.count - first };
}

bool sl_message_equal(const struct sl_message *a, const struct sl_message *b)
{
	return sl_bytes_equal(a->role, b->role) && sl_bytes_equal(a->content, b->content) &&
	       sl_bytes_equal(a->extra, b->extra);
}

/* --- HH-RLHF transcripts --- */

#define HUMAN "\n\nHuman:"
#define ASSISTANT "\n\nAssistant:"

/* The next turn mark at or behind `from`; its offset, or text.size. */
static size_t find_mark(struct sl_bytes text, size_t from, const char **role, size_t *mark_size)
{
	const char *s = text.data;

	while (from < text.size) {
		const char *hit = memchr(s + from, '\n', text.size - from);
		struct sl_bytes rest;

		if (!hit)
			break;
		from = (size_t)(hit - s);
		rest = (struct sl_bytes){ hit, text.size - from };
		*role = sl_bytes_begins(rest, sl_text(HUMAN))       ? "user"
			: sl_bytes_begins(rest, sl_text(ASSISTANT)) ? "assistant"
								    : NULL;
		if (*role) {
			*mark_size = **role == 'u' ? strlen(HUMAN) : strlen(ASSISTANT);
			return from;
		}
		from++;
	}
	return text.size;
}

bool sl_transcript_is(struct sl_bytes text)
{
	return sl_bytes_begins(text, sl_text(HUMAN)) || sl_bytes_begins(text, sl_text(ASSISTANT));
}

static struct sl_bytes trim(const char *s, size_t size)
{
	static const char space[] = " \t\r\n";

	while (size > 0 && memchr(space, s[0], sizeof space - 1))
		s++, size--;
	while (size > 0 && memchr(space, s[size - 1], sizeof space - 1))
		size--;
	return (struct sl_bytes){ s, size };
}

struct sl_messages sl_transcript_read(struct sl_arena *a, struct sl_bytes text)
{
	struct sl_messages m = { 0 };
	const char *role, *next_role;
	size_t mark, next_mark, count = 0;

	for (size_t at = find_mark(text, 0, &role, &mark); at < text.size;
	     at = find_mark(text, at + mark, &role, &mark))
		count++;
	m.at = sl_arena_zalloc(a, count * sizeof *m.at);
	for (size_t at = find_mark(text, 0, &role, &mark), next; at < text.size;
	     at = next, role = next_role, mark = next_mark) {
		next = find_mark(text, at + mark, &next_role, &next_mark);
		m.at[m.count++] = (struct sl_message){
			.role = sl_text(role),
			.content = sl_arena_bytes(a, trim((const char *)text.data + at + mark, next - at - mark)),
		};
	}
	assert(m.count == count);
	return m;
}

size_t sl_shared_turns(const struct sl_answer *answers, size_t count)
{
	size_t shared = 0;

	assert(count > 0);
	for (bool same = true; same; shared += same)
		for (size_t i = 0; i < count && same; i++)
			same = shared < answers[i].messages.count &&
			       sl_message_equal(&answers[i].messages.at[shared], &answers[0].messages.at[shared]);
	for (; shared > 0; shared--) {
		bool answered = true;

		for (size_t i = 0; i < count && answered; i++)
			answered = shared < answers[i].messages.count &&
				   sl_is(answers[i].messages.at[shared].role, "assistant");
		if (answered)
			break;
	}
	return shared;
}
