/* trial.h -- a topology with no files, no RocksDB, no threads and no clock: the real
 * runtime, stepped by hand on the twins (twins.h).
 *
 * sl_trial_torture() plays one case many ways and demands the same committed result
 * (every topic, every logged store, every count) as the plain run:
 *
 *     plain      in order, one commit per round
 *     rechunk    once for every batch size up to the number of records
 *     schedules  seeded orders of steps and commits
 *     faults     once for every runtime call of an operator and every commit stage: that call fails
 *     crashes    once for every disk and store operation: the machine stops there, by kill and by
 *                power cut, is restarted, and goes on
 *
 * A failure prints the first difference and which run it was (kind, number, seed). */
#ifndef SL_TRIAL_H
#define SL_TRIAL_H

#include "../schemas/codec.h"
#include "../topology/runtime.h"
#include "twins.h"

#include <stdio.h>

struct sl_trial_case;

struct sl_trial {
	struct sl_topology *topology;
	struct sl_twins *twins;
	struct sl_runtime *rt;
	struct sl_runtime_options options;
	struct sl_error error; /* of the last thing that failed */
	/* fault injection: the n-th call to sl_fault() from now fails; 0: none */
	int64_t fault_at, faults;
	struct sl_endpoint *(*endpoint)(void *arg, const struct sl_endpoint_def *def);
	/* The world outside takes a turn after every step: answers come, or not. seed NULL: all of them. */
	void (*world)(void *arg, uint64_t *seed);
	void *arg; /* of endpoint and world */
	bool freeze;
	bool borrowed;      /* the topology is */
	const char *folder; /* real files and RocksDB there, twins NULL */
	bool fault_exits;   /* the fault is the death of the process, at once */
	int64_t die_next;   /* sl_trial_restart: stop again at this operation of the recovery; 0: no */
};

/* Parse the topology (ends the test when it is wrong) and open it on fresh twins. */
struct sl_trial *sl_trial_new(const char *yaml, const char *const *sets, size_t set_count);
/* A case fed and ready to play. `topology` NULL: parsed from the case. Borrowed otherwise. */
struct sl_trial *sl_trial_case_new(const struct sl_trial_case *c, struct sl_topology *topology);
void sl_trial_free(struct sl_trial *t);
/* Close and crash; then reopen. False: what was found could not be opened, t->error. */
bool sl_trial_restart(struct sl_trial *t, enum sl_twin_end end);

/* Append pairs to a topic, keyed by group, in one commit. id, pair_key and group are
 * computed where absent. */
bool sl_trial_feed(struct sl_trial *t, const char *topic, const struct sl_pair *pairs, size_t count);
bool sl_trial_feed_record(struct sl_trial *t, const char *topic, const struct sl_record *record);

#define SL_TRIAL_DIED 9 /* exit code of a process that died by fault_exits */

enum sl_trial_end { SL_TRIAL_IDLE, SL_TRIAL_WAITS, SL_TRIAL_STOPPED, SL_TRIAL_CRASHED };
/* Step until nothing moves. seed 0: in order, one commit per round. Operators that
 * fail with RETRY are stepped again. */
enum sl_trial_end sl_trial_play(struct sl_trial *t, uint64_t seed);

/* The committed pairs of a topic, partition after partition, without tombstones; returns the count. */
size_t sl_trial_read(struct sl_trial *t, const char *topic, struct sl_arena *a, struct sl_pair **pairs);
/* The committed records; their texts in the arena. */
size_t sl_trial_records(struct sl_trial *t, const char *topic, struct sl_arena *a, struct sl_record **records);

/* Play to the end and tick once. */
enum sl_trial_end sl_trial_finish(struct sl_trial *t, uint64_t seed);

/* Everything that must be the same in the end, as lines "what hash". */
void sl_trial_digest(struct sl_trial *t, struct sl_buf *to);

struct sl_trial_case {
	const char *name;
	const char *yaml;
	const char *const *sets;
	size_t set_count;
	/* Append the input; the same every time. */
	bool (*feed)(struct sl_trial *t, void *arg);
	void *arg;
	struct sl_endpoint *(*endpoint)(void *arg, const struct sl_endpoint_def *def);
	void (*world)(void *arg, uint64_t *seed);
	size_t batch_most; /* rechunk up to this size */
	int schedules;
	bool freeze; /* pin tables; a first feed is then played to its end before the rest */
	bool (*feed_first)(struct sl_trial *t, void *arg); /* freeze: what the tables are made of */
	const char *folder;                                /* real files and RocksDB there instead of twins */
	bool sync_late; /* a commit in the wrong order (twins.h), which must be caught */
};
/* How many runs differed from the plain one; *runs: how many there were. */
size_t sl_trial_torture(const struct sl_trial_case *c, size_t *runs, FILE *report);

/* A pair of three texts: one user turn, two assistant turns. Memory in `a`. */
struct sl_pair sl_trial_pair(struct sl_arena *a, const char *prompt, const char *chosen, const char *rejected);

#endif
