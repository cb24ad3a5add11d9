/* parked.h -- questions that wait for a batch of their endpoint, and the batches: what a task knows of them, in memory
 * and in rows.
 *
 * Rows, behind the task's prefix (memo.h), so that they move with the task and survive restarts:
 *
 *     'p' key      a question: state u8, tries u32, number of its batch u64 (0: of none yet), what is held for it i64,
 *                  since ms i64, bytes i64, status i32, then texts ended by NUL: endpoint, model, path, why
 *     'w' key      its body; of one that was given up, the reply
 *     'b' number   a batch: state u8, since ms, questions, bytes (i64 each), then texts: endpoint, model, path, our
 *                  name for it, the server's ids of the file and of the batch
 *
 *     'q'          which pairs have gone back: redrive.h
 *
 * What is held for parked questions is held in the purses again when the task is opened (unlike calls under way, whose
 * fate nobody knows).
 *
 * A change is written first and made in memory when it is durable. One thread. */
#ifndef SL_PARKED_H
#define SL_PARKED_H

#include "endpoint/batch.h"
#include "ledger.h"

/* All questions of a file go to one endpoint, model and path. */
struct sl_lane_key {
	size_t payer;
	const char *model, *path;
};

enum sl_parked_state { SL_PARKED_WAITING, SL_PARKED_GAVE_UP };

struct sl_parked {
	struct sl_id key;
	enum sl_parked_state state;
	bool heard; /* given up, and somebody was told: forgotten with the next write */
	uint32_t tries;
	uint64_t batch;
	int64_t held, since_ms, bytes;
	int status;
	char *why; /* NULL: nothing */
	struct sl_parking_lane *lane;
	struct sl_parked *next, *queued; /* of its bucket; of its lane */
};

struct sl_parking_lane {
	struct sl_lane_key of;
	char *model, *path;
	struct sl_parked *first, *last; /* in no batch, in order */
	int64_t count, bytes;
	/* batches.c */
	int64_t not_before_ms;
	uint32_t failures;
	char why[SL_BATCH_WHY_SIZE];
	struct sl_parking_lane *next;
};

enum sl_batch_state { SL_BATCH_BUILDING, SL_BATCH_UPLOADED, SL_BATCH_SUBMITTED };

/* As in its row. */
struct sl_batch_row {
	uint64_t number;
	enum sl_batch_state state;
	struct sl_parking_lane *lane;
	int64_t since_ms, questions, bytes;
	char ours[SL_ID_HEX_SIZE], file[SL_BATCH_ID_SIZE], id[SL_BATCH_ID_SIZE];
};

struct sl_parking {
	struct sl_buf prefix;
	const char *const *names; /* of the payers; borrowed */
	size_t payers;
	bool *callable;  /* per payer: it is asked here */
	int64_t orphans; /* rows of questions that nobody asks any more */
	struct sl_parking_lane *lanes;
	struct sl_parked **buckets;
	size_t bucket_count, count; /* a power of two; questions */
	int64_t waiting;            /* of them, in state WAITING */
	size_t heard;
};

/* callable: all false at first. */
void sl_parking_init(struct sl_parking *p, struct sl_bytes prefix, const char *const *names, size_t payers);
void sl_parking_release(struct sl_parking *p);

/* Reads the rows and holds the money in the ledger. Rows of endpoints that the topology has no more, or that are not
 * asked here any more (callable), are orphans: they are only counted, because whoever looks into a folder, perhaps with
 * another topology file, changes nothing.
 * row(arg) is called for every batch. */
bool sl_parking_load(struct sl_parking *p, struct sl_store *store, struct sl_ledger *l,
		     void (*row)(void *arg, const struct sl_batch_row *b), void *arg, struct sl_error *e) SL_MUST_CHECK;
/* Rows without their orphans, so that their pairs come back and are asked about anew; what was in a batch is billed. */
bool sl_parking_drop(struct sl_parking *p, struct sl_store *store, struct sl_ledger *l, struct sl_writes *w,
		     struct sl_error *e) SL_MUST_CHECK;
void sl_parking_dropped(struct sl_parking *p); /* it is kept */

struct sl_parked *sl_parking_find(const struct sl_parking *p, const struct sl_id *key); /* NULL: not parked */
/* The lane; made when it is new. */
struct sl_parking_lane *sl_parking_lane(struct sl_parking *p, const struct sl_lane_key *of);

/* Rows: of a new question with its body; of one as it is in *q; and none any more. */
void sl_parked_write(const struct sl_parking *p, const struct sl_parked *q, struct sl_bytes body, struct sl_writes *w);
void sl_parked_rewrite(const struct sl_parking *p, const struct sl_parked *q, struct sl_writes *w);
void sl_parked_delete(const struct sl_parking *p, const struct sl_id *key, struct sl_writes *w);
bool sl_parked_body(const struct sl_parking *p, struct sl_store *store, const struct sl_id *key, struct sl_buf *body,
		    struct sl_error *e) SL_MUST_CHECK;
void sl_batch_row_write(const struct sl_parking *p, const struct sl_batch_row *b, struct sl_writes *w);
void sl_batch_row_delete(const struct sl_parking *p, uint64_t number, struct sl_writes *w);

/* Memory: a copy of *q, in its lane's queue when it waits in no batch; gone; into the queue; out of its front. */
struct sl_parked *sl_parking_add(struct sl_parking *p, const struct sl_parked *q);
void sl_parking_remove(struct sl_parking *p, struct sl_parked *q); /* in no queue */
void sl_parking_queue(struct sl_parked *q);
struct sl_parked *sl_parking_unqueue(struct sl_parking_lane *lane);
/* A waiting question is given up. */
void sl_parking_give_up(struct sl_parking *p, struct sl_parked *q, int status, const char *why);

#endif
