/* prompt.h -- a prompt as a file: named parts with named slots.
 *
 * A prompt file is text. A line "=== NAME" begins the part NAME, which lasts to the next such line; before the
 * first, lines are a comment. {{slot}} is replaced by a value; a slot that the part may not have, or one that is
 * missing, is an error with file and line when the file is read, not when a pair comes. Values are put in as they are:
 * what comes from a pair is fenced first (sl_prompt_fence), so that nothing in it can pass for our words.
 *
 * The hash of the file goes into the trail and so into nobody's doubt: another wording is another judge. */
#ifndef SL_PROMPT_H
#define SL_PROMPT_H

#include "../schemas/pair.h"
#include "../topology/base/buf.h"

struct sl_prompt; /* immutable once open */

/* What a task expects of its file: every part there, with these slots each at least once. */
struct sl_prompt_part {
	const char *name;
	const char *const *slots; /* NULL-ended */
};
struct sl_prompt *sl_prompt_open(const char *path, const struct sl_prompt_part *parts, size_t part_count,
				 struct sl_error *e) SL_MUST_CHECK;
/* The same from memory; `name` stands in errors. */
struct sl_prompt *sl_prompt_parse(const char *name, struct sl_bytes text, const struct sl_prompt_part *parts,
				  size_t part_count, struct sl_error *e) SL_MUST_CHECK;
void sl_prompt_close(struct sl_prompt *p);
struct sl_id sl_prompt_hash(const struct sl_prompt *p); /* of the whole file */

/* Appends a part; values[i] is what takes the place of slots[i] of that part. */
void sl_prompt_fill(const struct sl_prompt *p, const char *part, const struct sl_bytes *values, struct sl_buf *to);
struct sl_bytes sl_prompt_text(const struct sl_prompt *p, const char *part, const struct sl_bytes *values,
			       struct sl_arena *a);

/* A fence around foreign text: a mark that no text of the question holds, nor what a reader may take for it (capitals,
 * wide forms, Cyrillic twins, anything between the letters that is none). It is drawn by a hash of all of them, and
 * drawn again while one holds it; so it can be short, and tokens cost money.
 *
 *     <<<candidate_1 5f0c93aa>>>
 *     the text
 *     <<<end candidate_1 5f0c93aa>>>
 *
 * The prompt tells the judge that what stands between the marks is data. A text over `most` bytes is cut in the middle,
 * between two characters, and the place says how much is left out. Control characters become U+FFFD, and what chat
 * templates use to end a turn ("<|im_end|>", "[/INST]", ...) gets a space behind its first character: servers turn such
 * words into the very tokens wherever they find them. `what` is the name in the mark. */
struct sl_fence {
	char mark[9];
};
void sl_prompt_fence_begin(struct sl_fence *f, const struct sl_bytes *texts, size_t count);
struct sl_bytes sl_prompt_fence(const struct sl_fence *f, const char *what, struct sl_bytes text, size_t most,
				struct sl_arena *a);
/* Several messages stand in one fence, each behind a line "<<role 5f0c93aa>>", and are cut as if they were one text. A
 * single one of user or assistant needs no such line. A message without text shows its `extra`. */
struct sl_bytes sl_prompt_fence_messages(const struct sl_fence *f, const char *what, const struct sl_messages *m,
					 size_t most, struct sl_arena *a);
/* What is done to a text inside a fence, for one that needs none: what it says and whose turn it is are kept apart by a
 * chat template. */
void sl_prompt_add_tamed(struct sl_buf *to, struct sl_bytes text);
/* What of a message is shown. */
struct sl_bytes sl_prompt_message_text(const struct sl_message *m);

#endif
