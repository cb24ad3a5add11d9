/* judging.h -- the task `preference`: an LLM says which of two answers is better (arXiv 2507.01352 section 3.3, step
 * 3).
 *
 * The question is the guideline, up to 8 retrieved gold examples with their attributes and the human's verdict, then
 * the target. Answers are shown as Candidate 1 and Candidate 2; which is which is drawn by the pair's id (or fixed, or
 * asked both ways), so the judge can never know the label, and the vote records it. Examples are shown in an order of
 * their own, drawn the same way. The answer is JSON by a schema: verdict 1, 2, tie, both_bad or undecidable, strength
 * slight, clear or strong, and the difference that decided, in words. Verdicts are turned back to chosen and rejected
 * here. */
#ifndef SL_JUDGING_H
#define SL_JUDGING_H

#include "chat.h"
#include "prompt.h"

struct sl_prompt *sl_judging_open(const char *path, struct sl_error *e) SL_MUST_CHECK;

enum sl_judging_order { SL_CHOSEN_FIRST, SL_REJECTED_FIRST };
/* The order of a pair that is asked about once, by its id and the seed. */
enum sl_judging_order sl_judging_order_of(struct sl_id pair, uint64_t seed);
const char *sl_judging_order_name(enum sl_judging_order o); /* which answer is Candidate 1: chosen, rejected */

struct sl_judging {
	const struct sl_prompt *prompt;
	const char *model;
	double temperature;
	int64_t tokens_max;
	size_t text_max; /* bytes of a text that are shown, of the target and of examples */
	size_t examples_max;
	uint64_t seed; /* of orders */
	const char *extra;
};
/* examples[i] is the gold pair of p->exemplars[i]; a NULL one is left out. Attributes of the target are shown when it
 * has them. */
void sl_judging_body(const struct sl_judging *j, const struct sl_pair *p, const struct sl_pair *const *examples,
		     enum sl_judging_order order, struct sl_bytes said, struct sl_bytes complaint, struct sl_arena *a,
		     struct sl_buf *to);
/* Fills verdict, strength and difference of a vote whose order is known. False: not what was asked for, and why. */
bool sl_judging_read(struct sl_bytes text, enum sl_judging_order order, struct sl_arena *a, struct sl_vote *to,
		     const char **why);

#endif
