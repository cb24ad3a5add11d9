/* redrive.h -- pairs whose questions came back from a batch return to the step that parked them.
 *
 * They lie in the topic of the step's port "deferred", among pairs that were deferred for other reasons. A record says
 * in its last line which questions it waits for ("parked: KEY KEY ...", operator.h); when none of them is parked any
 * more, a copy is appended to the step's input. Which records have gone is kept as the offset below which there is
 * nothing left to do, and the runs above it; it is written in the commit of the append, so that each goes once.
 *
 *     'q'      behind the task's prefix (memo.h): the offset, then runs: from, up to (i64 each)
 *
 * New records are looked at behind the commits that may have brought them, all of them again when a question was
 * settled. A part at a time: the unit plays batches in between. What is appended and the row are one write aside
 * (stream.h), which fails where somebody else has the task by now: then memory is forgotten and the row read again. On
 * the unit's thread. */
#ifndef SL_REDRIVE_H
#define SL_REDRIVE_H

#include "task.h"

struct sl_redrive;

/* *r NULL: the unit's step parks nothing. NULL and false: the row cannot be read. */
bool sl_redrive_open(struct sl_unit *u, struct sl_redrive **r, struct sl_error *e) SL_MUST_CHECK;
void sl_redrive_close(struct sl_redrive *r);
/* `settled`: some question is not parked any more. *again_ms: come again after so long; INT64_MAX: nothing is left to
 * look at. */
bool sl_redrive_step(struct sl_redrive *r, bool settled, int64_t *again_ms, struct sl_error *e) SL_MUST_CHECK;
/* The unit has committed. */
void sl_redrive_committed(struct sl_redrive *r);

/* The next question that a reason names, from *at on (0 at the start). */
bool sl_parked_reason_next(struct sl_bytes reason, size_t *at, struct sl_id *key);

#endif
