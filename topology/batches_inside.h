/* batches_inside.h -- struct sl_batches from the inside: private to batches*.c. */
#ifndef SL_BATCHES_INSIDE_H
#define SL_BATCHES_INSIDE_H

#include "batches.h"
#include "calls_inside.h"

/* What was said to the server and is not answered, or not dealt with; FINISH: there is nothing left to say. */
enum doing { REST, UPLOAD, LIST, CREATE, POLL, OUTPUT, ERRORS, FINISH };

struct batch {
	struct sl_outcall out; /* first: done() gets it */
	struct sl_batches *owner;
	struct batch *next;
	struct sl_batch_row row;
	enum doing doing;
	struct sl_buf path, body;
	/* the reply: done()'s until it has arrived; `arrived` under the lock of the calls */
	bool arrived;
	int status;
	uint32_t attempts;
	char why[SL_BATCH_WHY_SIZE];
	struct sl_buf reply;
	size_t at; /* bytes of it that are dealt with */
	/* what it comes to */
	int listings; /* to be looked through before it may be asked for */
	char after[SL_BATCH_ID_SIZE];
	struct sl_batch_said said;
	bool gone;         /* the server does not know it, or its files, any more */
	uint32_t unknowns; /* in a row that say so */
	int64_t not_before_ms;
	uint32_t failures;
};

struct sl_batches {
	struct sl_calls *calls;
	struct sl_parking parking;
	struct batch *first; /* in order of their numbers */
	uint64_t last_number;
};

const struct sl_batching *sl_batches_options(const struct sl_batches *b, const struct sl_parking_lane *lane);
/* After so many failures in a row. */
int64_t sl_batches_pause_ms(int64_t poll_ms, uint32_t failures);

#define SL_BATCH_LISTINGS 2 /* without our name, before a batch is asked for again */

/* batches_dialogue.c: the next request about a batch that rests; what came back, when it has arrived. The batch rests
 * again, unless lines are left to read. */
bool sl_batches_say(struct sl_batches *b, struct batch *batch, enum doing doing, struct sl_error *e) SL_MUST_CHECK;
bool sl_batches_take(struct sl_batches *b, struct batch *batch, int64_t now_ms, bool *settled,
		     struct sl_error *e) SL_MUST_CHECK;

/* batches_read.c: some lines of batch->reply, from batch->at on; *whole: to its end. */
bool sl_batches_read(struct sl_batches *b, struct batch *batch, bool *whole, bool *settled,
		     struct sl_error *e) SL_MUST_CHECK;
/* Everything is read: what has no answer is asked again or given up, and the batch's row goes. */
bool sl_batches_finish(struct sl_batches *b, struct batch *batch, int64_t now_ms, bool *settled,
		       struct sl_error *e) SL_MUST_CHECK;

#endif
