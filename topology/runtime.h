/* runtime.h -- an open data folder with a topology: the tasks, their stores and
 * logs, and the one place that commits.
 *
 * The owner of DIR/LOCK holds one struct sl_runtime. `run` drives it with worker
 * threads (run.c), the simulator steps it by hand in one thread, and every other command
 * either opens one itself (the lock is free) or asks the owner over DIR/sluice.sock (server.c,
 * client.c); both ways end in the functions under "Operations" below.
 *
 * Exactly once: what a task emits and stores is staged in memory. A commit writes the
 * outputs of one or more tasks to the logs, syncs them, then writes one batch to the
 * store with their state, their next input offsets, the logs' new ends and the
 * counts. Readers see committed records only. Whatever happens in between, at open the
 * logs are cut back to the recorded ends. */
#ifndef SL_RUNTIME_H
#define SL_RUNTIME_H

#include "disk.h"
#include "endpoint.h"
#include "log.h"
#include "store.h"
#include "topology.h"

struct sl_runtime;

struct sl_runtime_options {
	const char *data;        /* folder; NULL: the topology's */
	bool freeze;             /* pin models and tables as they are at open; no training */
	bool wait_for_brokers;   /* for ever, saying so; else an error after a few seconds */
	const char *const *only; /* step names whose tasks run; NULL: all */
	size_t only_count;
	bool reloads; /* the topology was read from its file, with these --set: it can be read again */
	const char *const *sets;
	size_t set_count;
	/* For tests; NULL: the real ones below `data`, with the lock taken. Borrowed. */
	struct sl_disk *disk;
	struct sl_store *store;
	/* Makes the endpoint of a definition; NULL: over HTTP (endpoint/). */
	struct sl_endpoint *(*endpoint)(void *arg, const struct sl_endpoint_def *def);
	/* Called before every runtime call of an operator and every commit stage; true: it fails (RETRY). */
	bool (*fault)(void *arg, const char *site);
	/* Asked while opening waits for brokers; true: give up. */
	bool (*stopped)(void *arg);
	void *arg; /* for all of them */
};

/* NULL on failure. `topology` is borrowed and outlives the runtime. A data folder in
 * use is SL_RETRY ("served by process N"), another version or a changed store shape SL_STOP. */
struct sl_runtime *sl_runtime_open(const struct sl_topology *topology, const struct sl_runtime_options *options,
				   struct sl_error *e) SL_MUST_CHECK;
/* Everything uncommitted is dropped. */
void sl_runtime_close(struct sl_runtime *rt);
const struct sl_topology *sl_runtime_topology(const struct sl_runtime *rt);
const char *sl_runtime_data(const struct sl_runtime *rt);

/* -- Running with threads (run.c) ---------------------------------------------- */

struct sl_run_options {
	bool until_idle; /* inputs at their end, no calls open, no training due */
	int threads;     /* 0: one per core */
	/* Called from the main loop about twice a second, and once at the end. */
	void (*progress)(void *arg, struct sl_runtime *rt);
	void *arg;
};
enum sl_run_end {
	SL_RUN_IDLE,    /* until_idle: all done */
	SL_RUN_STOPPED, /* sl_runtime_stop: last commit finished */
	SL_RUN_STUCK,   /* until_idle: a task waits for something that will not come; e says what and the next step */
	SL_RUN_FAILED   /* SL_STOP from somewhere; e says what */
};
enum sl_run_end sl_runtime_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e);
/* Finish the commit and return from sl_runtime_run. Async-signal-safe. */
void sl_runtime_stop(struct sl_runtime *rt);

/* -- Stepping by hand (simulator, trials) --------------------------------------- */

enum sl_step_result {
	SL_STEP_IDLE,    /* nothing to read */
	SL_STEP_MORE,    /* worked; has something staged or more to do */
	SL_STEP_CALLS,   /* waits for answers */
	SL_STEP_HELD,    /* waits for money: a budget is spent, sl_task_error says which; the batch stays as it is */
	SL_STEP_WAITING, /* SL_WAIT: a table must change */
	SL_STEP_FAILED   /* the last error is in sl_task_error; RETRY: step again to replay */
};
size_t sl_runtime_task_count(const struct sl_runtime *rt);
enum sl_step_result sl_runtime_task_step(struct sl_runtime *rt, size_t task);
const struct sl_error *sl_runtime_task_error(const struct sl_runtime *rt, size_t task);
/* Commit the named tasks' staged work (all of it when tasks is NULL). */
bool sl_runtime_commit(struct sl_runtime *rt, const size_t *tasks, size_t count, struct sl_error *e) SL_MUST_CHECK;
/* One forced tick of every task, in its own commit. */
bool sl_runtime_tick(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;

/* -- Operations (any thread, also while running) --------------------------------- */

/* Committed records from `offset` on as frames ready for the wire or a file (the
 * log's record layout): about bytes_max bytes, none at the end. *next is where to go
 * on, *end the committed end. */
bool sl_runtime_fetch(struct sl_runtime *rt, int topic, int32_t partition, int64_t offset, size_t bytes_max,
		      struct sl_buf *frames, int64_t *next, int64_t *end, struct sl_error *e) SL_MUST_CHECK;
/* Walk and build frames with sl_frames_next and sl_frames_add (log.h). */

/* How far a file has been ingested, kept with the records in one commit. */
struct sl_ingest_mark {
	uint64_t position;                   /* decompressed bytes done */
	int64_t lines, pairs, ties, invalid; /* totals of this file */
	uint64_t hash;                       /* running XXH3-64 chain over the lines done: tells a changed file */
};
/* One append by ingest: frames for the entry topic, the ties topic and dead.ingest,
 * and the mark before and after. Refused (SL_RETRY, with the mark found in *mark) unless
 * the stored mark equals `before`: so a retry never doubles a line. The key is
 * (source, hash of the first 64 KiB). A mark of all zeros: never seen. */
struct sl_ingest_append {
	struct sl_bytes source;
	struct sl_id head;
	struct sl_ingest_mark before, after;
	struct sl_bytes pairs, ties, dead; /* frames */
};
bool sl_runtime_ingest(struct sl_runtime *rt, const struct sl_ingest_append *a, struct sl_ingest_mark *mark,
		       struct sl_error *e) SL_MUST_CHECK;
bool sl_runtime_ingest_mark(struct sl_runtime *rt, struct sl_bytes source, struct sl_id head,
			    struct sl_ingest_mark *mark, struct sl_error *e) SL_MUST_CHECK;

/* Append records made by a command or a trainer to any topic (replay, models,
 * gold.errors) in one commit. */
bool sl_runtime_append(struct sl_runtime *rt, int topic, const struct sl_record *records, size_t count,
		       struct sl_error *e) SL_MUST_CHECK;

/* {"topology","running","steps":[{"name","in","lag","state","wait","dead","dead_codes","ports":[...]}],
 *  "topics":[{"name","records","bytes"}],"endpoints":[...],"models":[...],"judges":{...},
 *  "ingest":{"lines","pairs","ties","invalid"},"process":{...}}. "judges": judge_record.h, where there are LLM judges.
 *  Counts are of all time; "open_cpu_ns" (open), "cpu_ns" (the other callbacks)
 *  and "read_cpu_ns" (reading and decoding the input) of a step, and "process", are since this process opened the
 * folder. Steps that ask have "calls" (status_calls.h). */
bool sl_runtime_status(struct sl_runtime *rt, struct sl_buf *json, struct sl_error *e) SL_MUST_CHECK;
/* Prometheus text. */
bool sl_runtime_metrics(struct sl_runtime *rt, struct sl_buf *text, struct sl_error *e) SL_MUST_CHECK;

/* Train now, with the reason put on record. While running it is queued and this waits for it. */
bool sl_runtime_train(struct sl_runtime *rt, const char *model, const char *reason, struct sl_buf *report_json,
		      struct sl_error *e) SL_MUST_CHECK;
/* Move the champion alias; version 0: back to `previous` (rollback). */
bool sl_runtime_promote(struct sl_runtime *rt, const char *model, int64_t version, const char *reason,
			struct sl_error *e) SL_MUST_CHECK;

/* Read the topology file again and take over its budgets (reload.h). False: nothing has changed. */
bool sl_runtime_reload(struct sl_runtime *rt, struct sl_buf *report_json, struct sl_error *e) SL_MUST_CHECK;

#endif
