/* engine.h -- struct sl_runtime from the inside: private to the runtime's files.
 *
 *     runtime.c    open, close, operations          stream_embedded.c, kafka/   the back-ends of stream.h
 *     unit.c       what a unit does with a batch        task.c   the calls operators make
 *     reader.c     committed records of a partition
 *     commit.c     embedded: the one place that makes things true
 *     run.c        embedded: worker threads, the committer, idle and stuck
 *     training.c   when and on what the models are trained
 *     prefix.c     the topics as examples
 *     freeze.c     tables that stay as they are
 *     reload.c     budgets that change
 *     judge_health.c   what probes say of the LLM judges
 *     status.c     counts and states as JSON and metrics
 *
 * Locks, in the order they may be taken: commit, sched. A commit never waits for
 * a worker and a worker never commits. */
#ifndef SL_ENGINE_H
#define SL_ENGINE_H

#include "../schemas/codec.h"
#include "base/thread.h"
#include "reload.h"
#include "stream.h"
#include "task.h"

#define SL_DATA_VERSION 1

struct sl_topic_state {
	_Atomic int64_t *ends;   /* per partition: committed, as last looked at; NULL for an inlined topic */
	_Atomic int64_t *starts; /* first offset kept */
	struct sl_table *table;  /* NULL: no step reads it as a table */
	/* embedded */
	struct sl_log **logs; /* per partition */
	int64_t *applied;     /* per partition: records in the table */
	bool *touched;        /* in the commit under way */
};

struct sl_scheduler; /* run.c */
struct sl_training;  /* training.c */

/* freeze.c: pin the tables of a frozen run, once; how far a table is read; let go. */
bool sl_freeze_pin(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;
bool sl_freeze_end(struct sl_runtime *rt, int topic, int32_t partition, int64_t *end, struct sl_error *e) SL_MUST_CHECK;
bool sl_freeze_release(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;

struct sl_runtime {
	const struct sl_topology *topology;
	struct sl_runtime_options options;
	char *data;
	const char *models; /* folder above models/NAME/VERSION */
	int lock_fd;        /* -1 in tests */
	bool own_disk, own_store;
	const struct sl_stream_ops *stream;
	struct sl_disk *disk;
	struct sl_store *store; /* what belongs to tasks */
	struct sl_store *meta;  /* what is the topology's: see stream.h */
	struct sl_kafka *kafka; /* NULL on the embedded stream */
	struct sl_attempts *attempts;
	struct sl_endpoint **endpoints;
	struct sl_http_loop *http; /* NULL: nothing is called over it */
	struct sl_topic_state *topics;
	struct sl_unit **units;
	size_t unit_count;
	struct sl_limits limits;        /* reload.h; under commit_lock */
	pthread_mutex_t commit_lock;    /* one commit at a time; appends and ends */
	bool broken;                    /* a commit failed half-way: nothing more is committed */
	struct sl_scheduler *scheduler; /* embedded; on while sl_runtime_run is */
	struct sl_training *training;
	struct sl_judge_health *judges; /* judge_health.c; NULL: there are no LLM judges */
	_Atomic int stop;
	_Atomic bool running;  /* inside sl_runtime_run */
	_Atomic bool draining; /* stopping: nothing is asked any more, and no batch that asks is played */
	_Atomic int64_t commits, commit_ns, commit_cpu_ns, bytes_committed, training_cpu_ns;
	int64_t opened_ns;
};

/* runtime.c, for back-ends: arrays and empty tables of all topics; version, shapes and inputs against rt->meta. */
void sl_topics_alloc(struct sl_runtime *rt);
bool sl_meta_check(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;
/* False: left out by options.only. */
bool sl_step_wanted(const struct sl_runtime *rt, const char *step);

/* A commit of units, or of what a command or a training adds: records, and writes of rt->meta (stream.h). */
struct sl_append {
	int topic;
	struct sl_record *records; /* offsets are filled in */
	size_t count;
};
bool sl_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count, const struct sl_append *appends,
	       size_t append_count, struct sl_writes *extra, struct sl_error *e) SL_MUST_CHECK;
/* commit.c and run.c: these parts of the embedded stream; a table's log up to `end`. */
bool sl_embedded_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count,
			const struct sl_append *appends, size_t append_count, struct sl_writes *extra,
			struct sl_error *e) SL_MUST_CHECK;
enum sl_run_end sl_embedded_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e);
bool sl_table_read(struct sl_runtime *rt, int topic, int32_t partition, int64_t end, struct sl_error *e) SL_MUST_CHECK;
/* Drop whole segments that every reader has left behind, of the touched topics, except where all is kept. */
bool sl_retain(struct sl_runtime *rt, const bool *touched, struct sl_error *e) SL_MUST_CHECK;
/* Wake what may run now (run.c); nothing to do without a scheduler. */
struct sl_scheduler *sl_scheduler_new(struct sl_runtime *rt);
void sl_scheduler_free(struct sl_scheduler *s);
void sl_scheduler_published(struct sl_runtime *rt, const bool *topics);
void sl_scheduler_wake_unit(void *unit);
/* What a unit is doing, in a word, and what it waits for (empty: nothing). */
const char *sl_scheduler_state(struct sl_runtime *rt, const struct sl_unit *u, char wait[256]);

/* Tell the endpoints to stop asking; what is under way may still be answered. No unit that asks plays on. */
void sl_runtime_drain(struct sl_runtime *rt);

/* True: the test wants this call to fail; `e` says so. */
bool sl_fault(struct sl_runtime *rt, const char *site, struct sl_error *e);

/* training.c */
struct sl_training *sl_training_new(struct sl_runtime *rt);
void sl_training_free(struct sl_training *t);
/* Train what is due (until-idle: at idle). *trained: something new was announced. */
bool sl_training_due(struct sl_runtime *rt, bool at_idle, bool *trained, struct sl_error *e) SL_MUST_CHECK;
/* Why nothing more can be decided, for SL_RUN_STUCK; empty if no reason is known. */
void sl_training_stuck(struct sl_runtime *rt, struct sl_buf *why);
/* The latest announcement of a model. False: none. */
bool sl_training_latest(struct sl_runtime *rt, const char *name, struct sl_arena *a, struct sl_model_record *m);

/* reader.c: the committed records of a topic's partition below `end`. */
struct sl_reader {
	void *source; /* the back-end's own */
	struct sl_runtime *rt;
	int topic;
	int32_t partition;
	int64_t end;
	struct sl_cursor cursor;
	struct sl_buf bytes;
	struct sl_record records[64];
	size_t count, at;
};
void sl_reader_open(struct sl_reader *r, struct sl_runtime *rt, int topic, int32_t partition, int64_t end);
/* NULL at the end or on error (then e->verdict != SL_OK). Valid until the next call. */
const struct sl_record *sl_reader_next(struct sl_reader *r, struct sl_error *e);
void sl_reader_close(struct sl_reader *r);

#endif
