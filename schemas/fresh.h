/* fresh.h -- what a pair gets when it enters, whoever brings it: a line of a file, or
 * a record that another program wrote into the entry topic.
 *
 * A producer says the texts, where they come from (source, domain, origin, meta, margin) and
 * perhaps that a human verified them (gold). Identity, arrival and whatever the steps fill in
 * are ours to say. Pure functions, any thread. */
#ifndef SL_FRESH_H
#define SL_FRESH_H

#include "pair.h"

/* Where and when it arrived. `source` counts where the pair names none; a gold pair gets the
 * verdict and sample that it does not state. */
void sl_pair_arrive(struct sl_pair *p, const struct sl_arrival *arrival, int64_t time_ms, struct sl_bytes source);

/* Make a decoded pair of another program one that could have come from a line of JSON (jsonl.h): the
 * same words are allowed (roles, gold; human and gpt become user and assistant), meta and the `extra` of messages are
 * JSON objects, `extra` with sorted keys; what steps fill in is dropped, ids are computed. Arrival and
 * time stay as claimed. Arrays are rewritten in `a`. False names the field. */
bool sl_pair_foreign(struct sl_pair *p, struct sl_arena *a, struct sl_error *e) SL_MUST_CHECK;

#endif
