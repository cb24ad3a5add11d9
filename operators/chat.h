/* chat.h -- a question to an OpenAI-compatible chat server, and what came back.
 *
 * The body of POST /chat/completions as JSON text, byte for byte a function of its arguments (it is the key of the
 * memo), with response_format json_schema, strict. Servers differ in how far they honour that (curation.md 4.2), so
 * what comes back is foreign bytes: everything is checked here, and what is no answer has a word that says why not,
 * the same in votes, metrics and `status`:
 *
 *     answered             a message with text
 *     refused              the message has a refusal, or finish_reason is content_filter
 *     truncated            finish_reason length: the text ended in the middle
 *     reasoning_truncated  finish_reason length and no text: reasoning ate the token limit
 *     malformed            no JSON, no message, or text that is not what the schema asks for
 *     too_long             the server says that the context is too long (400, or 413)
 *     failed               any other status, or no answer after all retries */
#ifndef SL_CHAT_H
#define SL_CHAT_H

#include "../schemas/json.h"
#include "operator.h"

struct sl_chat {
	const char *model;
	struct sl_bytes system, user;
	struct sl_bytes said, complaint; /* absent, or: what it answered before and what was wrong with that (repair) */
	const char *schema_name;
	const char *schema; /* JSON text: additionalProperties false, all keys required */
	double temperature; /* negative: not sent */
	int64_t tokens_max; /* sent as max_tokens, unless `extra` says otherwise */
	const char *extra;  /* "" or members for the body as JSON, without braces: "\"reasoning_effort\":\"low\"" */
};
/* `extra` must have passed sl_chat_extra_check. */
void sl_chat_body(const struct sl_chat *c, struct sl_buf *to);

/* A member of `extra` takes the place of ours with its name (temperature, response_format, max_tokens); null leaves
 * ours out. Both max_tokens and max_completion_tokens stand for max_tokens: OpenAI's reasoning models know the second
 * name alone and refuse the first, many servers (Ollama, llama.cpp before 2026) know the first alone and ignore the
 * second, and an answer without a limit is the worse surprise. Either may not be over tokens_max, by which budgets
 * reckon. `e` names no option. */
bool sl_chat_extra_check(const char *extra, int64_t tokens_max, struct sl_error *e) SL_MUST_CHECK;

enum sl_chat_outcome {
	SL_CHAT_ANSWERED,
	SL_CHAT_REFUSED,
	SL_CHAT_TRUNCATED,
	SL_CHAT_REASONING_TRUNCATED,
	SL_CHAT_MALFORMED,
	SL_CHAT_TOO_LONG,
	SL_CHAT_FAILED
};
const char *sl_chat_outcome_name(enum sl_chat_outcome o);

struct sl_chat_reply {
	enum sl_chat_outcome outcome;
	struct sl_bytes text; /* answered: the message's text; truncated: what there is of it */
	const char *why;      /* not answered: for people, without the server's words beyond 200 bytes, printable */
};
/* Memory from `a`. Reasoning (a field of its own, or <think>...</think> before the text) is no text. */
void sl_chat_read(const struct sl_answer *answer, struct sl_arena *a, struct sl_chat_reply *to);

/* The one JSON object of a text: alone, or within prose or a ``` fence. NULL where there is none, more than one or a
 * broken one, and *why (a constant) says so. The caller owns it. */
json_t *sl_chat_object(struct sl_bytes text, const char **why);
/* Words of a model as one line for a record: white space and what a terminal does and does not show (sl_text_unseen)
 * become single spaces, at most `most` bytes, whole characters. Size 0 for a text that is absent or blank. */
struct sl_bytes sl_chat_line(struct sl_bytes text, size_t most, struct sl_arena *a);

#endif
