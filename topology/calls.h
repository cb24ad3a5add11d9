/* calls.h -- the questions of one task to the outside, and the durable memo of the
 * answers.
 *
 * A question is known by its key, the hash of (model, body, sample). Within a
 * batch it gets a number in the order of asking, so ask() can be run again from the top in
 * every round and asks "the same" question for free. An answer comes from the memo,
 * or from the endpoint and then goes into the memo, synced, before anybody may use
 * it; what failed (status other than 200) is used once and never memoised.
 *
 * A call outlives the batch that asked it: when a transaction fails and is played
 * again, the replay finds the call under its key, in flight or answered.
 *
 * Threads: everything on the task's thread, except done(), which may come from any. */
#ifndef SL_CALLS_H
#define SL_CALLS_H

#include "../operators/operator.h"
#include "endpoint.h"
#include "store.h"

struct sl_calls;

/* `memo` is the key prefix of the task's memo in `store`. keep(arg) makes answers durable there (and wherever
 * else they must be) before anybody uses them; wake(arg) is called when an answer has come, from any thread. */
struct sl_calls *sl_calls_new(struct sl_store *store, struct sl_bytes memo,
			      bool (*keep)(void *arg, struct sl_writes *answers, struct sl_error *e),
			      void (*wake)(void *arg), void *arg);
/* Every call must be settled: the endpoints are freed first. */
void sl_calls_free(struct sl_calls *c);

/* Ask, or find the number of what was asked before. In process() `endpoint` is NULL: nothing is sent. */
bool sl_calls_ask(struct sl_calls *c, struct sl_endpoint *endpoint, const struct sl_call *call, uint32_t *number,
		  struct sl_error *e) SL_MUST_CHECK;
struct sl_answer sl_calls_answer(struct sl_calls *c, uint32_t number);

/* Make the answers that have come durable. False on error; else *open is the number
 * still in flight for this batch. */
bool sl_calls_settle(struct sl_calls *c, size_t *open, struct sl_error *e) SL_MUST_CHECK;
size_t sl_calls_asked(const struct sl_calls *c); /* numbers given out in this batch */
/* 0: nobody will touch `c` any more but its task: it may be freed. */
size_t sl_calls_in_flight(struct sl_calls *c);

/* The batch is done: forget its numbers and answers. `again`: it will be played
 * again, so keep the calls and give out numbers anew. */
void sl_calls_batch_end(struct sl_calls *c, bool again);

#endif
