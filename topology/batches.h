/* batches.h -- a task's questions to the Batch API: half the price, within a day.
 *
 * A question is parked (parked.h): durable, with what it can cost held, and asked of nobody yet. Parked questions of
 * one endpoint, model and path become a batch when they are many enough, or when the first has waited long enough:
 *
 *     building    its questions are known; the file is uploaded (twice, after a crash: that costs nothing)
 *     uploaded    the server's id of the file is known; the batch is asked for, with our own name for it
 *     submitted   the server's id of the batch is known: it is looked at until it is done, then its files are read
 *
 * Each state is durable before anything follows from it. Asking for a batch is the one thing that must not be done
 * twice, and nothing tells for sure that it was not done when no answer came: then the server's batches are looked
 * through for our name, at once and once more after a while, before it is asked for again. So a restart finds its batch
 * and never pays for a second one.
 *
 * An answer goes into the memo in the write that lets go of the money held for it. What came without an answer (an
 * error, an expired batch) goes into the next batch, `retries` times, or is given up at once where asking again cannot
 * help (400). A batch that failed as a whole, before any line of it, is made again after a pause that grows; its
 * questions count that as no try.
 *
 * Nothing blocks: what is said to the server are calls of the endpoint (../endpoint.h), one per batch at a time, and
 * step() goes on where answers have come. Threads: everything on the task's thread, but done() of these calls. */
#ifndef SL_BATCHES_H
#define SL_BATCHES_H

#include "calls.h"
#include "parked.h"

#include <jansson.h>

struct sl_batches;

/* NULL when the rows cannot be read. The ledger of `c` is loaded. */
struct sl_batches *sl_batches_new(struct sl_calls *c, struct sl_error *e) SL_MUST_CHECK;
void sl_batches_free(struct sl_batches *b);

/* Rows of a question that will be parked, and its money held; when they are kept, sl_batches_parked. */
void sl_batches_park(struct sl_batches *b, const struct sl_parked *q, struct sl_bytes body, struct sl_writes *rows);
void sl_batches_parked(struct sl_batches *b, const struct sl_parked *q);
struct sl_parking *sl_batches_parking(struct sl_batches *b);
size_t sl_batches_open(const struct sl_batches *b);   /* batches */
int64_t sl_batches_loose(const struct sl_batches *b); /* questions that could become one now */

/* Goes on as far as it can. at_once: what is parked becomes a batch now. *next_ms: when to come again (INT64_MAX: when
 * something happens). *settled: some question is no longer parked. */
bool sl_batches_step(struct sl_batches *b, bool at_once, int64_t *next_ms, bool *settled,
		     struct sl_error *e) SL_MUST_CHECK;

/* [{"endpoint","model","state","id","questions","since_ms","why"}], and one without "id" for what is parked and in no
 * batch yet. */
json_t *sl_batches_describe(const struct sl_batches *b);

#endif
