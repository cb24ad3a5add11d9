/* ledger.h -- what a task has spent and holds back, durable beside its answers.
 *
 * Rows, behind the task's prefix (memo.h), so that they move with the task and survive restarts:
 *
 *     'h' key      a call that may be under way: state u8, the most that it can cost i64, name of the endpoint. Written
 *                  before the call is sent, deleted with its answer. Found when the task is opened, nobody knows what
 *                  became of the call: it is billed in full and its state becomes LOST; should the question be asked
 *                  again, that is a repeated call
 *     's' name     spent of the endpoint's purse (name empty: of the step's): total, day, of that day (i64 each)
 *     'p' 'w' 'b'  questions that wait for a batch, with what is held for them: parked.h
 *     'n'          counters (i64 each): see struct sl_ledger_counts
 *
 * Changes are made in memory and put into a batch of writes; when the batch could not be written the caller goes back
 * to the snapshot that it took before. One thread. */
#ifndef SL_LEDGER_H
#define SL_LEDGER_H

#include "base/hash.h"
#include "budget.h"
#include "store.h"

/* All of the task's life. */
struct sl_ledger_counts {
	int64_t repeated;       /* asked again after a death that left their fate unknown */
	int64_t unknown;        /* attempts that got no whole answer and may have been paid */
	int64_t overshot;       /* calls that cost more than was held for them */
	int64_t overshot_micro; /* and by how much */
	int64_t answers, bytes; /* in the memo */
	int64_t lost;           /* rows 'h' in state LOST */
};

struct sl_ledger {
	size_t count; /* purses: one per endpoint, and the step's as the last */
	struct sl_purse *purses;
	const char **names; /* borrowed; the step's is "" */
	struct sl_ledger_counts counts;
};

void sl_ledger_init(struct sl_ledger *l, size_t endpoints);
void sl_ledger_release(struct sl_ledger *l);
/* Reads the rows, as of this day (since 1970). What was under way is billed, to this day too; then *bill has writes
 * that must be kept before anything is sent. */
bool sl_ledger_load(struct sl_ledger *l, struct sl_store *store, struct sl_bytes prefix, int64_t day,
		    struct sl_writes *bill, struct sl_error *e) SL_MUST_CHECK;

/* A copy to go back to. */
struct sl_ledger_mark {
	struct sl_purse *purses;
	struct sl_ledger_counts counts;
};
void sl_ledger_mark(const struct sl_ledger *l, struct sl_ledger_mark *m);
/* back: forget what came after the mark. */
void sl_ledger_unmark(struct sl_ledger *l, struct sl_ledger_mark *m, bool back);

/* Hold `amount` of an endpoint's purse and of the step's. */
bool sl_ledger_hold(struct sl_ledger *l, struct sl_store *store, struct sl_bytes prefix, const struct sl_id *key,
		    size_t endpoint, int64_t amount, struct sl_writes *w, struct sl_error *e) SL_MUST_CHECK;
/* The call is settled and has cost so much. */
void sl_ledger_settle(struct sl_ledger *l, struct sl_bytes prefix, const struct sl_id *key, size_t endpoint,
		      int64_t amount, int64_t cost, struct sl_writes *w);
/* The same without a row, for questions that have rows of their own (parked.h): hold; settle. */
void sl_ledger_reserve(struct sl_ledger *l, size_t endpoint, int64_t amount);
void sl_ledger_pay(struct sl_ledger *l, size_t endpoint, int64_t amount, int64_t cost);
/* Totals and counters as they are now. */
void sl_ledger_write(const struct sl_ledger *l, struct sl_bytes prefix, struct sl_writes *w);

#endif
