/* attempts.h -- which record a task was playing when the process died.
 *
 * DIR/attempts is one mapped page with a slot per task; writing it is a memory store,
 * survives the death of the process, and costs nothing per batch. A signal handler
 * for the signals of our own bugs (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) marks the slot
 * of the thread's task, so that a crash can be told from a kill -9 of somebody in a
 * hurry. The rule (DESIGN section 5, poison):
 *
 *   - two unclean ends at one committed offset: play one record at a time;
 *   - a crash while playing that one record alone: the third death, it is a dead letter.
 *     A kill from outside counts a fifth of that, so five of them in the same one-record transaction
 *     do the same (the out-of-memory killer looks like this). */
#ifndef SL_ATTEMPTS_H
#define SL_ATTEMPTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_attempt {
	uint64_t task;    /* hash of its name; 0: free slot */
	int64_t offset;   /* committed input offset where the open transaction began */
	int64_t until;    /* where the transactions begun at `offset` reached */
	uint32_t deaths;  /* unclean ends seen at `offset`, before this attempt */
	uint32_t kills;   /* of these, in a one-record transaction, not by a signal of our own */
	uint32_t active;  /* 1: a transaction is open */
	uint32_t single;  /* 1: of one record */
	uint32_t crashed; /* 1: set by the signal handler */
	uint32_t alone;   /* 1: one record at a time below `until` */
};

struct sl_attempts;

/* `path` NULL: in memory only (tests). Room for `count` tasks more than are there. NULL on failure. */
struct sl_attempts *sl_attempts_open(const char *path, size_t count, struct sl_error *e) SL_MUST_CHECK;
void sl_attempts_close(struct sl_attempts *a);
/* The slot of a task, made when new. Any thread. */
struct sl_attempt *sl_attempts_slot(struct sl_attempts *a, const char *task);

enum sl_attempt_plan { SL_PLAY_BATCH, SL_PLAY_ONE, SL_PLAY_NOT }; /* NOT: the record at `offset` is a dead letter */
/* Before the first transaction after opening: what the past says about `offset`. */
enum sl_attempt_plan sl_attempt_resume(struct sl_attempt *slot, int64_t offset);
/* A transaction of records [offset, end) begins; and ended well. */
void sl_attempt_begin(struct sl_attempt *slot, int64_t offset, int64_t end, bool single);
void sl_attempt_end(struct sl_attempt *slot, int64_t offset);
/* While it waits for the outside the transaction is open but plays nothing. */
void sl_attempt_pause(struct sl_attempt *slot, bool paused);

/* The calling thread works on this slot (NULL: none). Installs the handler on first use. */
void sl_attempt_thread(struct sl_attempt *slot);

#endif
