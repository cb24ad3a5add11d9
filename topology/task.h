/* task.h -- the running form of a step: private to the runtime.
 *
 * A struct sl_task is one step on one partition, the handle its operator sees. A struct
 * sl_unit is what is scheduled: a step that reads a topic, and the steps inlined
 * behind it. A unit has one input partition, one open transaction and one thread at
 * a time:
 *
 *     read a batch -> ask (rounds) -> process, and the inlined steps in turn -> staged outputs,
 *     writes and counts -> ... more batches ... -> commit (commit.c) -> the same from there
 *
 * Anything that fails drops the transaction, closes the operators, and begins again at the
 * committed offset. */
#ifndef SL_TASK_H
#define SL_TASK_H

#include "attempts.h"
#include "calls.h"
#include "runtime.h"
#include "stage.h"
#include "tables.h"

#include <stdatomic.h>

struct sl_unit;

/* One count of the funnel: records of a source that left by a port with a code. */
struct sl_count {
	struct sl_bytes key; /* its whole key in the store */
	int64_t committed, staged;
};

struct sl_counts {
	struct sl_count *at;
	size_t count, capacity;
	uint32_t *slots; /* index + 1, by hash of the key; power of two */
	size_t slot_count;
	struct sl_arena memory;
};

struct sl_task {
	struct sl_unit *unit;
	const struct sl_step *step;
	int32_t partition;
	void *self;
	bool opened;
	struct sl_pair *inbox; /* inlined: pairs waiting for process() */
	size_t inbox_count, inbox_capacity;
	const struct sl_pair *batch; /* while in a callback */
	size_t batch_count;
	int64_t *table_versions;   /* pinned for the transaction */
	char *table_stamp;         /* "gold=120 models=3", of the transaction */
	bool asking;               /* inside ask() */
	int64_t ticked_ms;         /* stream time of the last tick */
	struct sl_stage_scan scan; /* at most one open scan */
	bool scanning, scanning_table;
	int scan_table;
	size_t scan_skip; /* bytes of the runtime's prefix before the operator's key */
	/* CPU time since the start: of open(); of all other callbacks with what they emit and
	 * store; and, of a head, of reading and decoding its input */
	_Atomic int64_t open_cpu_ns, cpu_ns, read_cpu_ns;
};

/* A batch of the input, and the numbers of what is asked about it. */
struct sl_lot {
	struct sl_buf bytes;
	struct sl_record *records;
	struct sl_pair *pairs;
	size_t *of_record; /* pair to record */
	size_t count, pair_count;
	size_t rounds; /* of ask() that had questions */
	struct sl_arena arena;
	struct sl_window *window;
	bool asked; /* before its turn: there is nothing more to ask for now */
};

struct sl_unit {
	struct sl_runtime *rt;
	struct sl_task *tasks; /* the head first, in dependency order */
	size_t task_count;
	int32_t partition;
	int64_t committed; /* next input offset by the last commit */
	int64_t position;  /* next input offset to play */
	int64_t stream_ms; /* largest record time played */
	struct sl_cursor cursor;
	/* the batch, and those behind it that are asked about before their turn: a ring */
	struct sl_lot *lots;
	size_t lot_count, lot_at, ahead_count;
	struct sl_lot
		*now;     /* what load, decode and callbacks are about: lots[lot_at] but while one behind it is asked */
	bool loaded, one; /* a batch is loaded; it is one record played alone */
	int64_t no_ahead_before; /* a batch behind failed to be asked: wait for its turn at this offset */
	bool ahead_failed;
	/* the transaction */
	bool begun;
	int64_t begun_ns;
	int64_t read;          /* records played in it */
	struct sl_buf outputs; /* u32 topic, u32 partition, frame */
	struct sl_stage stage;
	struct sl_counts counts;
	struct sl_writes writes; /* filled by sl_unit_seal */
	struct sl_error error;
	bool failed;
	/* the outside */
	struct sl_calls *calls;
	struct sl_redrive *redrive; /* NULL: it parks no pairs */
	int64_t look_at_ns;         /* batches or parked pairs want to be looked at then; INT64_MAX: never */
	_Atomic bool batch_at_once; /* what is parked becomes a batch when it looks next */
	_Atomic bool redriving;     /* parked pairs may be on their way back */
	/* poison */
	struct sl_attempt *attempt;
	enum sl_attempt_plan plan;
	bool resumed;
	struct sl_buf scratch;
	void *stream;       /* the back-end's own */
	struct sl_buf bill; /* Kafka: what it told others last of its money (bill.h), but for when */
	/* the scheduler's (run.c), under its lock */
	int state;
	bool woken;
	int64_t not_before_ns;
	uint32_t failures;
	_Atomic uint64_t played; /* records, for the live table */
	char wait[256];          /* what it waits for; under the scheduler's lock */
};

/* The unit of a host step on a partition, at its committed offset by rt->store. NULL on failure. It is in rt->units
 * (under rt->commit_lock) until it is closed. */
struct sl_unit *sl_unit_new(struct sl_runtime *rt, const struct sl_step *host, int32_t partition,
			    struct sl_error *e) SL_MUST_CHECK;
void sl_unit_close(struct sl_unit *u);
enum sl_step_result sl_unit_step(struct sl_unit *u);
/* A forced tick of every operator, staged. */
bool sl_unit_tick(struct sl_unit *u);
/* Fill `writes` with everything the commit must write beside the outputs. */
void sl_unit_seal(struct sl_unit *u);
/* The commit is done: the staged is now the truth. */
void sl_unit_committed(struct sl_unit *u);
/* Forget the transaction and go back to the committed offset. */
void sl_unit_reset(struct sl_unit *u);
static inline bool sl_unit_staged(const struct sl_unit *u)
{
	return u->begun && u->position != u->committed;
}
size_t sl_unit_staged_bytes(const struct sl_unit *u);
/* Any thread: parked questions or pairs that are still to come back. *loose: some could become a batch at once. */
bool sl_unit_parked(const struct sl_unit *u, bool *loose);
/* The endpoints as a task of the step sees them, but for its part of their budgets. */
void sl_unit_payers(const struct sl_runtime *rt, const struct sl_step *step, struct sl_payer *payers);
/* Under rt->commit_lock: its part of the budgets as they are now. */
void sl_unit_reshare(struct sl_unit *u);
/* True: a table is not what it was when the unit pinned it. Publishing changes the table first and then wakes, so who
 * looks before it waits misses nothing. */
bool sl_unit_table_moved(const struct sl_unit *u);

/* unit_open.c, for unit.c: memory for the batch that u->now will be; a batch is done, `again`: it will be played again.
 */
void sl_lot_ready(struct sl_unit *u);
void sl_lot_drop(struct sl_unit *u, struct sl_lot *lot, bool again);
/* unit.c, for unit_open.c */
void sl_unit_tasks_close(struct sl_unit *u);
/* task.c, for unit.c: a dead letter for an input record that no operator saw; end an open scan. */
void sl_task_dead_record(struct sl_task *t, const struct sl_record *record, const char *reason);
void sl_task_scan_end(struct sl_task *t);
void sl_dead_headers(struct sl_buf *to, const struct sl_topology *topology, const char *topic, int32_t partition,
		     int64_t offset, const struct sl_step *step, struct sl_bytes reason);

void sl_count_add(struct sl_counts *c, struct sl_bytes key, int64_t n);
void sl_counts_release(struct sl_counts *c);

#endif
