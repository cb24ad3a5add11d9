/* chat_reply.c -- what a chat server said, behind chat.h.
 *
 * Foreign bytes: bounded in size (here) and depth (jansson: 2,048 levels), and nothing of them goes on unchecked. What
 * is quoted for people is cut and printable, because it ends in logs and records. */
#include "chat.h"

#include "../topology/base/text.h"

#include <ctype.h>

enum { REPLY_BYTES_MAX = 4 << 20, QUOTE_BYTES_MAX = 200 };

const char *sl_chat_outcome_name(enum sl_chat_outcome o)
{
	static const char *const names[] = {
		[SL_CHAT_ANSWERED] = "answered",   [SL_CHAT_REFUSED] = "refused",
		[SL_CHAT_TRUNCATED] = "truncated", [SL_CHAT_REASONING_TRUNCATED] = "reasoning_truncated",
		[SL_CHAT_MALFORMED] = "malformed", [SL_CHAT_TOO_LONG] = "too_long",
		[SL_CHAT_FAILED] = "failed",
	};

	return names[o];
}

/* -- words ---------------------------------------------------------------------------------------- */

struct sl_bytes sl_chat_line(struct sl_bytes text, size_t most, struct sl_arena *a)
{
	const uint8_t *s = text.data;
	uint8_t *line = sl_arena_alloc(a, most + 1);
	size_t size = 0, i;

	for (i = 0; i < text.size && size < most; i++) {
		size_t unseen = s[i] == ' ' ? 1 : sl_text_unseen(s + i, text.size - i);

		if (!unseen)
			line[size++] = s[i];
		else if (size && line[size - 1] != ' ')
			line[size++] = ' ';
		i += unseen ? unseen - 1 : 0;
	}
	if (i < text.size) /* not in the middle of a character */
		while (size > 0 && (s[i--] & 0xc0) == 0x80)
			size--;
	while (size > 0 && line[size - 1] == ' ')
		size--;
	line[size] = 0;
	sl_arena_trim(a, line, size + 1);
	return (struct sl_bytes){ line, size };
}

/* Any bytes, printable: up to 200, one line. */
static const char *quote(struct sl_bytes text, struct sl_arena *a)
{
	char *line = (char *)(uintptr_t)sl_chat_line(text, QUOTE_BYTES_MAX, a).data;
	size_t bad;

	while (!sl_utf8_valid(sl_text(line), &bad))
		line[bad] = '?';
	return line;
}

static bool is_blank(struct sl_bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if (!isspace(((const uint8_t *)text.data)[i]))
			return false;
	return true;
}

/* The text behind <think>...</think>, for servers that leave the reasoning in it; empty while it is still open. */
static struct sl_bytes without_thinking(struct sl_bytes text)
{
	static const char open[] = "<think>", close[] = "</think>";
	const char *at = text.data ? text.data : "", *end = at + text.size;

	while (at < end && isspace((unsigned char)*at))
		at++;
	if (!sl_bytes_begins((struct sl_bytes){ at, (size_t)(end - at) }, sl_text(open)))
		return text;
	at = memmem(at, (size_t)(end - at), close, sizeof close - 1);
	if (!at)
		return (struct sl_bytes){ end, 0 };
	return (struct sl_bytes){ at + sizeof close - 1, (size_t)(end - at) - (sizeof close - 1) };
}

/* -- what the server says went wrong --------------------------------------------------------------- */

/* error.message, or the whole, whatever it is. */
static struct sl_bytes error_words(struct sl_bytes body, const json_t *reply)
{
	static const char *const places[] = { "error.message", "message", "detail", "error" };

	for (size_t i = 0; json_is_object(reply) && i < sizeof places / sizeof places[0]; i++) {
		struct sl_bytes words = sl_json_bytes(sl_json_at(reply, places[i]));

		if (words.size)
			return words;
	}
	return body;
}

static bool mentions(struct sl_bytes text, const char *const *words)
{
	size_t size = text.size < 4096 ? text.size : 4096;

	for (; *words; words++)
		for (size_t at = 0, n = strlen(*words); at + n <= size; at++)
			if (strncasecmp((const char *)text.data + at, *words, n) == 0)
				return true;
	return false;
}

/* The words of OpenAI, vLLM, SGLang, llama.cpp and TGI. */
static const char *const too_long_words[] = {
	"context_length_exceeded", "context length",     "exceed_context_size", "context size", "context window",
	"too many tokens",         "prompt is too long", "input is too long",   "`inputs`",     NULL,
};
static const char *const refused_words[] = { "content_filter", "content management policy", NULL };

static enum sl_chat_outcome failure(const struct sl_answer *answer)
{
	if (answer->status == 413)
		return SL_CHAT_TOO_LONG;
	if (answer->status == 400 && mentions(answer->body, refused_words)) /* Azure */
		return SL_CHAT_REFUSED;
	if ((answer->status == 400 || answer->status == 422) && mentions(answer->body, too_long_words))
		return SL_CHAT_TOO_LONG;
	return SL_CHAT_FAILED;
}

static void read_failure(const struct sl_answer *answer, struct sl_arena *a, struct sl_chat_reply *to)
{
	const char *why = answer->why ? answer->why : "";
	json_t *reply = NULL;

	to->outcome = failure(answer);
	if (answer->status <= 0 || is_blank(answer->body)) {
		to->why = answer->status > 0 && !why[0] ? sl_arena_print(a, "status %d", answer->status)
							: quote(sl_text(why), a);
		return;
	}
	if (answer->body.size <= REPLY_BYTES_MAX)
		reply = json_loadb(answer->body.data, answer->body.size, JSON_ALLOW_NUL, NULL);
	to->why = sl_arena_print(a, "status %d: %s", answer->status, quote(error_words(answer->body, reply), a));
	json_decref(reply);
}

/* -- an answer --------------------------------------------------------------------------------------- */

/* The text of a message: a string, or a list of parts of which the text ones count. Absent: none. */
static struct sl_bytes message_text(const json_t *message, struct sl_arena *a)
{
	const json_t *content = json_object_get(message, "content"), *part;
	struct sl_buf joined = { 0 };
	struct sl_bytes text;
	size_t i;

	if (!json_is_array(content))
		return sl_arena_bytes(a, sl_json_bytes(content));
	json_array_foreach(content, i, part)
	{
		const json_t *words = json_object_get(part, "text");

		if (json_is_string(words))
			sl_buf_add_bytes(&joined, sl_json_bytes(words));
	}
	text = sl_arena_bytes(a, sl_buf_bytes(&joined));
	sl_buf_release(&joined);
	return text;
}

/* Some servers refuse by a part of its own. */
static struct sl_bytes message_refusal(const json_t *message)
{
	const json_t *content = json_object_get(message, "content"), *part;
	struct sl_bytes refusal = sl_json_bytes(json_object_get(message, "refusal"));
	size_t i;

	if (refusal.size || !json_is_array(content))
		return refusal;
	json_array_foreach(content, i, part)
	{
		refusal = sl_json_bytes(json_object_get(part, "refusal"));
		if (refusal.size)
			break;
	}
	return refusal;
}

static void settle(struct sl_chat_reply *to, enum sl_chat_outcome outcome, const char *why)
{
	to->outcome = outcome;
	to->why = why;
}

static void read_choice(const json_t *choice, struct sl_arena *a, struct sl_chat_reply *to)
{
	const json_t *message = json_object_get(choice, "message");
	struct sl_bytes finish = sl_json_bytes(json_object_get(choice, "finish_reason"));
	struct sl_bytes text = without_thinking(message_text(message, a)), refusal = message_refusal(message);

	if (refusal.size)
		settle(to, SL_CHAT_REFUSED, quote(refusal, a));
	else if (sl_is(finish, "content_filter"))
		settle(to, SL_CHAT_REFUSED, "the server's content filter ended the answer");
	else if (!json_is_object(message))
		settle(to, SL_CHAT_MALFORMED, "the reply has no message");
	else if (is_blank(text))
		settle(to, sl_is(finish, "length") ? SL_CHAT_REASONING_TRUNCATED : SL_CHAT_MALFORMED,
		       sl_is(finish, "length") ? "the token limit was reached before the answer began"
					       : "the message has no text");
	else {
		to->text = text;
		settle(to, sl_is(finish, "length") ? SL_CHAT_TRUNCATED : SL_CHAT_ANSWERED,
		       sl_is(finish, "length") ? "the token limit was reached in the middle of the answer" : NULL);
	}
}

static void read_reply(struct sl_bytes body, const json_t *reply, struct sl_arena *a, struct sl_chat_reply *to)
{
	const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);

	if (choice)
		read_choice(choice, a, to);
	else if (json_object_get(reply, "error")) /* routers say so with status 200 */
		settle(to, SL_CHAT_MALFORMED, quote(error_words(body, reply), a));
	else
		settle(to, SL_CHAT_MALFORMED, "the reply has no choices");
}

void sl_chat_read(const struct sl_answer *answer, struct sl_arena *a, struct sl_chat_reply *to)
{
	json_error_t error;
	json_t *reply;

	*to = (struct sl_chat_reply){ 0 };
	if (answer->status != 200) {
		read_failure(answer, a, to);
		return;
	}
	if (answer->body.size > REPLY_BYTES_MAX) {
		settle(to, SL_CHAT_MALFORMED, "the reply is over 4 MiB");
		return;
	}
	reply = json_loadb(answer->body.data ? answer->body.data : "", answer->body.size, JSON_ALLOW_NUL, &error);
	if (reply)
		read_reply(answer->body, reply, a, to);
	else
		settle(to, SL_CHAT_MALFORMED,
		       sl_arena_print(a, "the reply is not JSON: %s", quote(sl_text(error.text), a)));
	json_decref(reply);
}

/* -- JSON in a text ---------------------------------------------------------------------------------- */

/* At a brace: does an object with members begin here, as far as can be seen? */
static bool begins_object(const char *at, const char *end)
{
	for (at++; at < end && isspace((unsigned char)*at); at++)
		;
	return at < end && (*at == '"' || *at == '}');
}

json_t *sl_chat_object(struct sl_bytes text, const char **why)
{
	const char *at = text.data ? text.data : "", *end = at + text.size;
	json_t *found = NULL;

	*why = "there is no JSON object";
	while (at < end && (at = memchr(at, '{', (size_t)(end - at)))) {
		json_error_t error;
		json_t *object;

		if (!begins_object(at, end)) { /* prose, code, TeX */
			at++;
			continue;
		}
		object = json_loadb(at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
		if (!object || found) { /* a broken one may hold anything: nothing inside it counts */
			*why = object ? "there is more than one JSON object" : "the JSON is broken";
			json_decref(object);
			json_decref(found);
			return NULL;
		}
		found = object;
		at += error.position;
	}
	return found;
}
