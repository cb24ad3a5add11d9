/* twins.h -- disk and store in memory, which know what was synced and what was not.
 *
 * Behind the interfaces of topology/disk.h and topology/store.h. Every call is an operation with a
 * number; from operation `die_at` on everything fails, the one at die_at possibly
 * half done (a torn write), like a machine that stops there. What is there
 * afterwards depends on how it stopped:
 *
 *     SL_TWIN_KILL    the process died: all that was written is there
 *     SL_TWIN_POWER   the power went: what was synced, and a seeded part of what was not
 *                     (for a file: any bytes behind the synced length; for the store: the first n
 *                     unsynced batches)
 *
 * One thread. */
#ifndef SL_TWINS_H
#define SL_TWINS_H

#include "../topology/disk.h"
#include "../topology/store.h"

enum sl_twin_end { SL_TWIN_KILL, SL_TWIN_POWER };

struct sl_twins {
	struct sl_disk *disk;
	struct sl_store *store;
	uint64_t seed;
	int64_t operations; /* so far, since the last crash */
	int64_t die_at;     /* 0: never */
	bool dead;
	bool sync_late; /* a broken machine: files are synced only after the next store write */
};

struct sl_twins *sl_twins_new(uint64_t seed);
void sl_twins_free(struct sl_twins *t);
/* Whoever used them has let go; they come back as a restart would find them. */
void sl_twins_crash(struct sl_twins *t, enum sl_twin_end end);

/* xorshift64*: the generator of the whole test, printed with every failure. */
uint64_t sl_random(uint64_t *state);

#endif
