/* promoting.h -- which version of a model is its champion: asks trainer/promotion.h, and remembers.
 *
 * What must be remembered from one question to the next (the draw of select, how often it was used, the best version
 * ever) is member "promotion" of the report in the announcement, so it follows from the table alone. Under the lock of
 * training.c. */
#ifndef SL_PROMOTING_H
#define SL_PROMOTING_H

#include "../trainer/promotion.h"
#include "prefix.h"

/* May now->version become champion after last->version? `last` NULL, or of version 0: there is no champion yet. Puts
 * what is to be remembered into now->report, and the reason of the announcement, with figures where something was
 * compared, into now->reason (`reason` is why it was trained). `now` as sl_registry_describe leaves it; texts in `a`.
 */
bool sl_promoting_ask(struct sl_runtime *rt, const struct sl_trainer_def *def, const struct sl_model_record *last,
		      struct sl_prefix *gold, const char *reason, struct sl_model_record *now, bool *promote,
		      struct sl_arena *a, struct sl_error *e) SL_MUST_CHECK;
/* Promoted by a person, after `last`: what is to be remembered goes into now->report. */
void sl_promoting_by_hand(const struct sl_model_record *last, struct sl_model_record *now, struct sl_arena *a);
/* The report of `from` with what `with` remembers. */
struct sl_bytes sl_promoting_carry(struct sl_bytes from, struct sl_bytes with, struct sl_arena *a);

#endif
