/* describing.h -- the task `attributes`: an LLM describes a pair by the paper's 5-tuple (arXiv 2507.01352 section 3.1).
 *
 * Category (12 words), objectivity (objective, subjective), controversiality (low, medium, high), the attributes that a
 * good answer has, and a guideline for judging this pair. Only the first three are closed sets; all five are checked.
 * The conversation alone is shown, never the answers (why: describing.c). */
#ifndef SL_DESCRIBING_H
#define SL_DESCRIBING_H

#include "chat.h"
#include "prompt.h"

extern const char *const sl_categories[], *const sl_objectivities[], *const sl_controversialities[]; /* NULL-ended */

struct sl_prompt *sl_describing_open(const char *path, struct sl_error *e) SL_MUST_CHECK;

struct sl_describing {
	const struct sl_prompt *prompt;
	const char *model;
	double temperature;
	int64_t tokens_max;
	size_t text_max; /* bytes of a text that are shown */
	const char *extra;
};
/* `said` and `complaint`: as in struct sl_chat; a first question has none. */
void sl_describing_body(const struct sl_describing *d, const struct sl_pair *p, struct sl_bytes said,
			struct sl_bytes complaint, struct sl_arena *a, struct sl_buf *to);
/* False: not what was asked for; *why says it in words that can be sent back as the complaint. */
bool sl_describing_read(struct sl_bytes text, struct sl_arena *a, struct sl_attributes *to, const char **why);

#endif
