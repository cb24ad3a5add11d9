/* jsonl_shape.h -- inside the JSONL reader: what every shape is brought to.
 *
 * A shape differs from another only in where it keeps the prompt, the answers
 * and the verdict. So each is read into one form: a conversation, and answers
 * with a rank (lower is better, equal is a tie). jsonl_read.c turns that into
 * pairs; jsonl_shapes.c knows the shapes; jsonl_messages.c knows messages.
 *
 * Everything lives in the arena of the call, except the JSON values, which the
 * call to sl_jsonl_parse owns. */
#ifndef SL_JSONL_SHAPE_H
#define SL_JSONL_SHAPE_H

#include "json.h"
#include "jsonl.h"

/* Answers of one line; 32 give at most 496 pairs. */
#define SL_ANSWERS_MAX 32

struct sl_answer {
	struct sl_messages messages;
	double rank;
	double score; /* the producer's, higher is better; NaN: none */
	json_t *info; /* what else the producer said about this answer; owned, may be NULL */
	bool plain;   /* was a bare string */
};

struct sl_reading {
	json_t *line;
	const struct sl_keys *keys; /* never NULL */
	struct sl_arena *a;
	struct sl_error *e;

	struct sl_messages prompt;
	const char *prompt_key; /* where it was found; NULL: the line has none */
	bool prompt_plain;      /* was a bare string */
	struct sl_answer answers[SL_ANSWERS_MAX];
	size_t answer_count;
	const char *answer_keys; /* for messages: "'chosen' and 'rejected'" */
	const char *verdict_key; /* of two answers by position; NULL: another shape */
	bool two_sided;          /* several chosen, several rejected: equal ranks are no ties */
	double margin;           /* stated with the verdict; NaN: none */

	const char *used[16]; /* top-level keys that need not be kept in meta */
	size_t used_count;
};

/* jsonl_shapes.c: fill prompt, answers, margin. */
bool sl_shape_read(struct sl_reading *r) SL_MUST_CHECK;
/* The value of a top-level key; NULL when absent or null (a column of a table
 * that this row does not use). */
json_t *sl_reading_get(const struct sl_reading *r, const char *key);
void sl_reading_use(struct sl_reading *r, const char *key);
void sl_reading_unuse(struct sl_reading *r, const char *key);

/* jsonl_messages.c. One of the five roles of pair.h, or a word for one. */
bool sl_role_read(struct sl_bytes given, struct sl_bytes *to, struct sl_error *e) SL_MUST_CHECK;
/* A message is {role, content, ...} or ShareGPT's {from,
 * value, ...}; a null content is an empty one. Errors name the item and key. */
bool sl_message_read(struct sl_arena *a, json_t *value, struct sl_message *to, struct sl_error *e) SL_MUST_CHECK;
bool sl_messages_read(struct sl_arena *a, json_t *list, struct sl_messages *to, struct sl_error *e) SL_MUST_CHECK;
struct sl_messages sl_messages_one(struct sl_arena *a, const char *role, struct sl_bytes content);
struct sl_messages sl_messages_join(struct sl_arena *a, struct sl_messages first, struct sl_messages second);
struct sl_messages sl_messages_from(struct sl_messages m, size_t first);
bool sl_message_equal(const struct sl_message *a, const struct sl_message *b);

/* HH-RLHF: "\n\nHuman: ...\n\nAssistant: ..."; white space around turns is dropped. */
bool sl_transcript_is(struct sl_bytes text);
struct sl_messages sl_transcript_read(struct sl_arena *a, struct sl_bytes text);

/* How many first messages all answers share, such that each goes on with an assistant's. */
size_t sl_shared_turns(const struct sl_answer *answers, size_t count);

#endif
