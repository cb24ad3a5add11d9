/* calls.h -- the questions of one task to the outside, and what became of them.
 *
 * A question is known by its key, the hash of (model, body, sample). Within a batch it gets a number in the order of
 * asking, so ask() can be run again from the top in every round and asks "the same" question for free; the numbers of a
 * batch are its window. An answer comes from the memo (memo.h), or from the endpoint:
 *
 *     asked -> queued -> [what it can cost is held] -> under way -> arrived -> [kept, and paid] -> settled
 *     asked -> found in the memo -> settled
 *     asked -> queued -> [what it can cost is held, and it is parked] -> settled as SL_PARKED, of an endpoint with
 * batch
 *
 * The steps in brackets are one write for all calls that are ready, those that go out and those that have come. An
 * endpoint is handed no more calls of a task than its in_flight; the others stay queued, and nothing is held for them.
 * An answer goes into the memo in the write that lets go of the money that was held for it, before anybody may use it.
 * What failed (a status other than 200) is used once and never memoised, nor is a reply that is no answer (usage.h): it
 * is used once with its status 200, and counted as malformed.
 *
 * A call that does not fit the budgets (budget.h) stays queued, and so does what comes behind it; one that was asked
 * with or_not is settled as SL_NO_BUDGET, as soon as the money would not do even if nothing were held for others. What
 * the budgets are may change meanwhile (sl_calls_reshare).
 *
 * A call outlives the batch that asked it: when a transaction fails and is played again, the replay finds the call
 * under its key, in flight or answered. So batches can be asked about before their turn (unit.c).
 *
 * Threads: everything on the task's thread, except done() and what says that it may come from any. */
#ifndef SL_CALLS_H
#define SL_CALLS_H

#include "../operators/operator.h"
#include "endpoint.h"
#include "ledger.h"
#include "memo.h"
#include "store.h"

#include <jansson.h>

struct sl_calls;
struct sl_window; /* the numbers of one batch */

/* An endpoint, to a task. */
struct sl_payer {
	const char *name, *model;     /* the model that is meant when a call names none */
	struct sl_endpoint *endpoint; /* NULL: cannot be called here */
	const struct sl_price *price; /* of its model; NULL: not known */
	int64_t retries;
	int64_t in_flight;                  /* most that are handed over and not settled; 0: no limit */
	int64_t share, share_day;           /* of its budgets, micro-dollars; -1: no limit */
	const struct sl_batching *batching; /* NULL: none */
};

/* All of it is copied but what is pointed at. */
struct sl_calls_setup {
	struct sl_store *store;
	struct sl_bytes memo; /* the prefix of the task's rows in `store` */
	/* Makes rows durable there (and wherever else they must be). */
	bool (*keep)(void *arg, struct sl_writes *rows, struct sl_error *e);
	void (*wake)(void *arg); /* an answer has come; any thread */
	void *arg;
	const struct sl_payer *payers;
	size_t payer_count;
	const struct sl_price *prices; /* of other models */
	size_t price_count;
	int64_t share, share_day; /* of the step's budgets */
	struct sl_memo_bounds bounds;
	int64_t (*now_ms)(void *arg); /* since 1970; NULL: sl_wall_ms */
};

/* NULL when the rows cannot be read, or what was under way cannot be billed. */
struct sl_calls *sl_calls_new(const struct sl_calls_setup *setup, struct sl_error *e) SL_MUST_CHECK;
/* Every call must be settled (the endpoints are freed first), and every window freed. */
void sl_calls_free(struct sl_calls *c);

struct sl_window *sl_window_new(void);
void sl_window_free(struct sl_window *w); /* after sl_calls_end */

/* Ask, or find the number of what was asked before. send false, as in process(): what is not known is never asked.
 * `payer`: index. What is new is queued until sl_calls_admit. SL_STOP when there is a budget and no price. */
bool sl_calls_ask(struct sl_calls *c, struct sl_window *w, size_t payer, bool send, const struct sl_call *call,
		  uint32_t *number, struct sl_error *e) SL_MUST_CHECK;
struct sl_answer sl_calls_answer(const struct sl_window *w, uint32_t number);
size_t sl_calls_asked(const struct sl_window *w); /* numbers given out */
size_t sl_calls_open(const struct sl_window *w);  /* of them not settled */

/* Make what has come durable, and send what is queued, can be paid and has room, in the order of asking, that of
 * `first` (NULL: none) before all others; nothing when all of `first` is answered, as it may have more to ask. */
bool sl_calls_admit(struct sl_calls *c, const struct sl_window *first, struct sl_error *e) SL_MUST_CHECK;
/* Make what has come durable, and send nothing. */
bool sl_calls_settle(struct sl_calls *c, struct sl_error *e) SL_MUST_CHECK;
/* What the calls that are queued wait for, NULL when there are none. */
const char *sl_calls_held_up(const struct sl_calls *c);
/* Any thread: what its purses may spend from now on, as many as payers, and the step's as the last. The task takes it
 * over before it sends again; who waits for money wants to be woken. */
void sl_calls_reshare(struct sl_calls *c, const struct sl_share *shares);
/* Any thread: has the task still to take that over? */
bool sl_calls_reshared(struct sl_calls *c);
/* Any thread. 0: nobody will touch `c` any more but its task: it may be freed. */
size_t sl_calls_in_flight(struct sl_calls *c);

/* The dialogue about batches (batches.h), as far as it can go now; between batches of the input, or while one waits. */
bool sl_calls_batches(struct sl_calls *c, bool at_once, int64_t *next_ms, bool *settled,
		      struct sl_error *e) SL_MUST_CHECK;
/* Does the question wait for a batch? */
bool sl_calls_is_parked(const struct sl_calls *c, const struct sl_id *key);
/* Any thread: questions that do, as of the last write. *loose (or NULL): of them in no batch yet, and not in a pause.
 */
int64_t sl_calls_parked(struct sl_calls *c, int64_t *loose);

/* Any thread: what sl_batches_describe (batches.h) said last, appended to an array. */
void sl_calls_batches_now(struct sl_calls *c, json_t *list);

/* The batch is done: forget its numbers and answers. `again`: it will be played again, so keep the answers. */
void sl_calls_end(struct sl_calls *c, struct sl_window *w, bool again);
/* The turn of a batch that was asked about before: its calls stay, numbers are given out anew, and what was not asked
 * for want of money or of the endpoint is asked again. */
void sl_calls_turn(struct sl_window *w);

/* As of the last write. Money in micro-dollars. */
struct sl_calls_stats {
	int64_t asked, hits, saved, sent, malformed, evicted; /* since the task was opened */
	int64_t batched, batch_failed, batch_lost, batches;   /* answered, given up, gone; batches done; likewise */
	int64_t parked, loose, batches_open;                  /* now; loose: as of sl_calls_parked */
	struct sl_ledger_counts counts;
};
/* Any thread. purses: as many as payers, and the step's as the last. */
void sl_calls_stats(struct sl_calls *c, struct sl_calls_stats *stats, struct sl_purse *purses);

#endif
