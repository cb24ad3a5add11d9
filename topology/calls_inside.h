/* calls_inside.h -- struct sl_calls from the inside: private to calls.c, calls_send.c and questions.c. */
#ifndef SL_CALLS_INSIDE_H
#define SL_CALLS_INSIDE_H

#include "calls.h"

#include "base/thread.h"

enum sl_question_state { SL_NEW, SL_QUEUED, SL_FLYING, SL_SETTLED };

struct sl_question {
	struct sl_outcall out; /* first: done() gets it */
	struct sl_calls *calls;
	struct sl_question *next;            /* of those that have arrived */
	struct sl_question *before, *behind; /* in the queue */
	enum sl_question_state state;        /* the task's; a call that has arrived is SL_FLYING until it is kept */
	size_t payer, windows;
	bool batched;       /* its endpoint collects for batches */
	int64_t most, held; /* one attempt can cost; all of them */
	const struct sl_price *price;
	struct sl_buf question;
	char *model, *path;
	/* the reply: done()'s until it has arrived */
	int status;
	uint32_t attempts, unknown;
	struct sl_buf body;
	char *why;
	/* settled */
	bool memoised;
	struct sl_bytes answer; /* in body */
	struct sl_usage usage;
	int64_t micro_dollars;
};

/* Calls by key, in the order in which they came. */
struct sl_questions {
	struct sl_question **at;
	size_t count, capacity;
	uint32_t *slots; /* index + 1; a power of two of them, at most half full */
	size_t slot_count;
};

struct sl_batches;

struct sl_window {
	struct sl_questions calls; /* index = number */
};

struct sl_calls {
	struct sl_calls_setup setup;
	struct sl_buf memo;
	struct sl_payer *payers;
	struct sl_ledger ledger;
	struct sl_batches *batches;
	int64_t *out;                                 /* per endpoint: handed over to it and not settled */
	struct sl_questions all;                      /* that are not forgotten */
	struct sl_question *queue_first, *queue_last; /* SL_QUEUED, as they were asked */
	size_t queued;
	size_t *queued_for;          /* of them, per endpoint */
	struct sl_question *pending; /* arrived, taken over, not kept yet */
	struct sl_buf why;           /* the first of the queue is not sent */
	bool drained;                /* the endpoint was told to stop: nothing is sent any more */
	int64_t oldest_ms;           /* no answer in the memo is older; INT64_MIN: not known */
	struct sl_calls_stats stats;
	pthread_mutex_t lock;  /* for what follows */
	size_t flying, waking; /* done() not called; not returned from wake yet */
	struct sl_question *arrived;
	struct sl_calls_stats shown;
	struct sl_purse *shown_purses;
	struct sl_share *shares; /* per purse, to be taken over; NULL: none */
	json_t *shown_batches;   /* NULL: none */
};

/* -- questions.c ------------------------------------------------------------------------- */

/* Its index; q->count: not there. */
size_t sl_questions_find(const struct sl_questions *q, const struct sl_id *key);
void sl_questions_add(struct sl_questions *q, struct sl_question *question);
/* After `at` was changed. */
void sl_questions_index(struct sl_questions *q);
void sl_questions_clear(struct sl_questions *q);
void sl_questions_release(struct sl_questions *q);

/* -- calls.c ------------------------------------------------------------------------------ */

int64_t sl_calls_now_ms(const struct sl_calls *c);
void sl_calls_new_day(struct sl_calls *c);
/* What sl_calls_reshare left. */
void sl_calls_take_shares(struct sl_calls *c);
/* The numbers as others see them from now on. */
void sl_calls_show(struct sl_calls *c);
void sl_calls_enqueue(struct sl_calls *c, struct sl_question *question);
void sl_calls_dequeue(struct sl_calls *c, struct sl_question *question);
/* Settled as SL_PARKED. */
void sl_question_parked(struct sl_question *question);
const struct sl_price *sl_calls_price(const struct sl_calls *c, size_t payer, const char *model); /* NULL: not known */
/* As if it had never been answered. */
void sl_question_again(struct sl_question *question);

#endif
