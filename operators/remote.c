/* remote.c -- what both kinds of remote models share: from an answer to JSON. */
#include "remote.h"

#include "chat.h"

enum { REPLY_BYTES_MAX = 4 << 20 };

json_t *sl_remote_reply(const struct sl_answer *answer, struct sl_arena *a, const char **why)
{
	struct sl_chat_reply said;
	json_error_t error;
	json_t *reply;

	if (answer->status != 200) { /* servers complain alike, whatever they are asked */
		sl_chat_read(answer, a, &said);
		*why = sl_arena_print(a, "%s: %s", sl_chat_outcome_name(said.outcome), said.why);
		return NULL;
	}
	if (answer->body.size > REPLY_BYTES_MAX) {
		*why = "malformed: the reply is over 4 MiB";
		return NULL;
	}
	reply = json_loadb(answer->body.data ? answer->body.data : "", answer->body.size, 0, &error);
	if (!reply)
		*why = sl_arena_print(a,
				      "malformed: the reply of %zu bytes is no JSON, or holds a number that is too "
				      "large, at byte %d",
				      answer->body.size, error.position);
	return reply;
}
