/* kafka.h -- the Kafka back-end from the inside: private to this folder, the only one that includes rdkafka.h.
 *
 *     client.c       making librdkafka handles: properties, names, waiting for the brokers
 *     errors.c       what went wrong: verdicts, words, what the brokers complain about
 *     admin.c        ends, purging
 *     offsets.c      what groups have committed
 *     topics.c       topics made and compared
 *     message.c      librdkafka messages to struct sl_record and back
 *     tail.c         reading partitions by assignment, past control records
 *     transaction.c  one transactional producer: produce, offsets, commit, and every way it can end
 *     producer.c     the librdkafka instance under it
 *     follow.c       tables and rt->meta kept up with their topics
 *     meta.c         rt->meta in memory (meta.h)
 *     restore.c      the state of a task from its changelog and memo
 *     member.c       one member of a step's consumer group: a thread with a consumer and a producer; with assign.c,
 *                    play.c and inbox.c, see member.h
 *     group.c        a consumer of a group
 *     run.c          all members of a process, the leader's duties, knowing when all is done; with idle.c
 *     stream.c       the table of functions of ../stream.h; open, ends, counts, progress
 *     reader.c       committed records for commands and trainings
 *     output.c       what a unit's commit puts into a transaction
 *     memo.c         answers from outside made durable
 *     aside.c        rows of parked questions, and pairs that come back, in transactions of their own
 *     guard.c        transactions of commands and trainings
 *     metrics.c      counters and librdkafka statistics as Prometheus lines and JSON
 *
 * Names on the brokers, with APP = stream.prefix + the topology's name:
 *
 *     PREFIX<topic>              a topic of the topology
 *     APP.<step>.changelog       the writes of a step's tasks ('s' 'o' 'c' 'n' keys of store.h as they are,
 *                                not the derived ones), compacted, as many partitions as the step's input
 *     APP.<step>.memo            answers from outside, compacted; of steps that ask
 *     APP.meta                   rt->meta: what all processes share, compacted, one partition; also what every task
 *                                has spent, key 'u' (../bill.h)
 *     group APP.<step>           the tasks of a step; group APP.leader reads APP.meta: who has it is the leader
 *                                (trains, purges)
 *     APP.<step>.<uuid>.<n>      transactional.id of a member; the uuid is kept in the local store
 *     APP.at.<what>              transactional.id of a guard: who opens it fences the one before, so what is read and
 *                                then written under it is written by nobody else between
 *
 * Exactly once: a member plays batches of its tasks; their outputs, changelog records and counts are
 * staged in memory as on the embedded stream. A commit begins a transaction, produces everything, sends
 * the offsets, commits, and only then writes the staged state to the local store with the changelog position behind
 * it. So the local store is behind the changelog or equal to it, never ahead. When a partition is assigned, what
 * it is behind is restored (restore.c). No transaction is open while an operator or the outside works. */
#ifndef SL_KAFKA_H
#define SL_KAFKA_H

#include "../engine.h"
#include "../stream.h"
#include "../values.h"

#include <librdkafka/rdkafka.h>

#define SL_ID_MAX 600                 /* names of topics, groups and ids, with their NUL */
#define SL_KAFKA_ENVELOPE_BYTES 65536 /* room for key, headers and framing beside a value of limits.record */

struct sl_follow;
struct sl_member;

/* Numbers since this process began, for status and metrics. */
struct sl_kafka_counters {
	_Atomic int64_t committed, aborted, unknown, fenced; /* transactions by their end */
	_Atomic int64_t commit_ns;                           /* sum over the committed */
	_Atomic int64_t commit_buckets[12]; /* le 5 10 20 50 100 200 500 1000 2000 5000 15000 ms, inf */
	_Atomic int64_t rebalances, lost;   /* assignments taken; partitions lost without a revocation */
	_Atomic int64_t restores, restored_records, restored_bytes, restore_ns,
		discarded;            /* discarded: warm state too old */
	_Atomic int64_t restoring;    /* tasks being restored now */
	_Atomic int64_t restore_left; /* records still to read for them, an upper bound */
	_Atomic int64_t memo_records, purged;
};

/* A consumer that the next reader may use, and where it stands (reader.c). */
struct sl_idle_tail {
	struct sl_tail *tail; /* NULL: none */
	int topic;
	int32_t partition;
	int64_t at;
};

struct sl_kafka {
	struct sl_runtime *rt; /* NULL while only planning */
	const struct sl_topology *topology;
	char app[SL_ID_MAX];
	char uuid[37];
	char **names; /* per topic of the topology: on the brokers; NULL where inlined */
	struct sl_registry *registry;
	struct sl_values *values;
	rd_kafka_t *admin;                /* a consumer without group, isolation read_committed: Admin API, ends */
	rd_kafka_t *raw_ends;             /* the same with read_uncommitted: ends only */
	struct sl_group_offsets *offsets; /* offsets.c */
	struct sl_follow *follow;
	struct sl_kafka_counters counters;
	pthread_mutex_t lock; /* what follows, and rt->units */
	/* What the brokers or librdkafka last complained about, and when; empty: nothing since they answered. errors.c.
	 */
	char trouble[400];
	bool trouble_vain, trouble_sure; /* waiting does not cure it; it cannot be anything else */
	int64_t trouble_ns, trouble_since_ns, trouble_logged_ns;
	struct sl_member **members; /* while running */
	size_t member_count;
	_Atomic bool leader;
	struct sl_statistics *statistics; /* metrics.c: the last ones of every client */
	struct sl_guard *guards;          /* guard.c */
	struct sl_idle_tail idle[2];      /* reader.c */
	struct sl_lag *lags;              /* stream.c, per step: what progress last found */
	struct sl_memo *memo;             /* memo.c */
	_Atomic bool reached;             /* the brokers have answered once: from then on trouble is logged */
	struct sl_kafka *self;            /* for the opaque of handles without an arg: see sl_kafka_client */
};

/* -- client.c ---------------------------------------------------------------------------- */

/* Names and handles of a zeroed struct: topology, app, names, lock, admin and raw_ends. Talks to nobody yet. `rt` may
 * stay NULL (a plan, tests). False: what was made is still there for sl_kafka_disconnect, which is safe on a zeroed
 * struct. */
bool sl_kafka_connect(struct sl_kafka *k, const struct sl_topology *t, struct sl_error *e) SL_MUST_CHECK;
void sl_kafka_disconnect(struct sl_kafka *k);
/* Names: "APP.what" into `to`. */
void sl_kafka_name(const struct sl_kafka *k, char to[SL_ID_MAX], const char *fmt, ...) SL_PRINTF(3, 4);
/* A handle with the topology's kafka: properties, then `settings` (name, value, ..., NULL) over them. `prepare`
 * (NULL: none) may set callbacks, but not error_cb, log_cb, stats_cb and the opaque: those are Sluice's. The opaque
 * that callbacks get is `arg`, which must begin with a `struct sl_kafka *`; NULL: &k->self. Properties that Sluice owns
 * (group.id, transactional.id, isolation.level, enable.auto.commit, ...) are refused under kafka: with the reason.
 * NULL on failure; a bad property is SL_STOP and names `kafka.<name>`. Log lines go to sl_log, errors to
 * k->trouble and the log. Never logs a secret. Consumers are read_committed, do not commit by themselves and answer a
 * position that is gone with _AUTO_OFFSET_RESET. Callbacks come while the handle is polled: never poll under k->lock.
 */
rd_kafka_t *sl_kafka_client(struct sl_kafka *k, rd_kafka_type_t type, const char *const *settings,
			    void (*prepare)(rd_kafka_conf_t *conf, void *arg), void *arg,
			    struct sl_error *e) SL_MUST_CHECK;
/* Wait until the brokers answer; say what is waited for once every few seconds. False at stop (rt->stop), after
 * patience_ms (0: for ever), or at once where waiting is in vain (wrong password, unknown CA). */
bool sl_kafka_reach(struct sl_kafka *k, int64_t patience_ms, struct sl_error *e) SL_MUST_CHECK;
/* True: the process is to stop (false without a runtime). */
bool sl_kafka_stopping(const struct sl_kafka *k);

/* -- errors.c ---------------------------------------------------------------------------- */

/* False, with e set: "cannot WHAT: ... " and the verdict: SL_RETRY for what may pass by itself (brokers
 * down, leader moving, time out, full disk), SL_STOP for what a person must change (authentication, authorisation, TLS,
 * configuration, unsupported). The text says what to do. `detail`: more than the code's own words, or NULL. */
bool sl_kafka_failed(struct sl_kafka *k, struct sl_error *e, rd_kafka_resp_err_t code, const char *detail,
		     const char *what, ...) SL_PRINTF(5, 6);
/* The verdict of a code alone. */
enum sl_verdict sl_kafka_verdict(rd_kafka_resp_err_t code);
/* The verdict on a right that is missing: SL_STOP at first; SL_RETRY once this process has committed something, because
 * what was taken from a running process can be given back to it. */
enum sl_verdict sl_kafka_no_right(const struct sl_kafka *k);
/* What the brokers complain about at the moment; empty: nothing. */
void sl_kafka_trouble(struct sl_kafka *k, char text[400]);
/* A request was answered: whatever the trouble was, it is over. Cheap enough for every commit and every batch. */
void sl_kafka_answered(struct sl_kafka *k);
/* What error_cb does: `reason` is librdkafka's text. */
void sl_kafka_complain(struct sl_kafka *k, rd_kafka_resp_err_t code, const char *reason);
/* There is trouble that waiting does not cure (wrong password, unknown CA, TLS against plain): e says what. */
bool sl_kafka_in_vain(struct sl_kafka *k, struct sl_error *e);

/* -- topics.c ---------------------------------------------------------------------------- */

/* Make the topics that are missing: those of the topology, changelogs, memos, meta. An existing one with other
 * settings (partitions, cleanup.policy, retention, max.message.bytes too small) is SL_STOP with the command that
 * repairs it. */
bool sl_kafka_topics(struct sl_kafka *k, struct sl_error *e) SL_MUST_CHECK;
/* The same as text, for `sluice plan`: a line per topic: exists, would be created with ..., differs: ... */
bool sl_kafka_topics_plan(struct sl_kafka *k, struct sl_buf *text, struct sl_error *e) SL_MUST_CHECK;
/* max.message.bytes that every topic has at least. */
int64_t sl_kafka_message_bytes(const struct sl_kafka *k);
/* The beginning of a command of Kafka's own: "NAME --bootstrap-server ...". */
void sl_kafka_tool(const struct sl_kafka *k, struct sl_buf *to, const char *name);

/* -- admin.c ----------------------------------------------------------------------------- */

/* First offset kept and the end: the last stable offset (committed) or the high watermark. */
bool sl_kafka_ends(struct sl_kafka *k, const char *topic, int32_t partition, bool committed, int64_t *start,
		   int64_t *end, struct sl_error *e) SL_MUST_CHECK;
/* The same of partitions 0 .. count - 1, in two requests a broker. */
bool sl_kafka_ends_all(struct sl_kafka *k, const char *topic, int32_t count, bool committed, int64_t *starts,
		       int64_t *ends, struct sl_error *e) SL_MUST_CHECK;
/* Let go of records below `offset`. */
bool sl_kafka_purge(struct sl_kafka *k, const char *topic, int32_t partition, int64_t offset,
		    struct sl_error *e) SL_MUST_CHECK;
/* delete.retention.ms of a topic, from the brokers. */
bool sl_kafka_delete_retention(struct sl_kafka *k, const char *topic, int64_t *ms, struct sl_error *e) SL_MUST_CHECK;

/* -- offsets.c ---------------------------------------------------------------------------- */

/* What the group has committed of partitions 0 .. count - 1: stable (pending transactions are waited for); -1: nothing.
 */
bool sl_kafka_offsets(struct sl_kafka *k, const char *group, const char *topic, int32_t count, int64_t *offsets,
		      struct sl_error *e) SL_MUST_CHECK;
void sl_kafka_offsets_close(struct sl_kafka *k);

/* -- message.c --------------------------------------------------------------------------- */

/* Key, value and time point into the message; headers are rewritten into *headers (cleared first). */
void sl_message_record(const rd_kafka_message_t *m, struct sl_buf *headers, struct sl_record *r);
/* NULL where there are none. The caller frees or hands it to librdkafka. */
rd_kafka_headers_t *sl_message_headers(struct sl_bytes headers);

/* -- tail.c ------------------------------------------------------------------------------ */

/* Partitions read by assignment, without a group, read_committed. One thread. */
struct sl_tail;
struct sl_tail_part {
	const char *topic; /* on the brokers; borrowed until close */
	int32_t partition;
	int64_t position; /* where to begin; below the log's start means its start */
};
struct sl_tail *sl_tail_open(struct sl_kafka *k, const struct sl_tail_part *parts, size_t count,
			     struct sl_error *e) SL_MUST_CHECK;
enum sl_tail_end { SL_TAIL_RECORD, SL_TAIL_NOTHING, SL_TAIL_FAILED };
/* The next record within wait_ms, of part *which. Its bytes live until the next call. */
enum sl_tail_end sl_tail_next(struct sl_tail *t, int wait_ms, size_t *which, struct sl_record *r, struct sl_error *e);
/* Next offset of a part: also past control and aborted records, once the end of what is stable has been seen. */
int64_t sl_tail_position(const struct sl_tail *t, size_t which);
/* Go on elsewhere (other topics and partitions too, same count), with the same connection. */
bool sl_tail_move(struct sl_tail *t, const struct sl_tail_part *parts, struct sl_error *e) SL_MUST_CHECK;
/* End a wait in sl_tail_next, or the next one. Any thread. */
void sl_tail_wake(struct sl_tail *t);
void sl_tail_close(struct sl_tail *t);

/* -- transaction.c ----------------------------------------------------------------------- */

enum sl_txn_end {
	SL_TXN_DONE,    /* committed; visible (markers, last stable offset, group offsets) a few ms later */
	SL_TXN_ABORTED, /* nothing happened; replay */
	SL_TXN_UNKNOWN, /* was unknown; by now it is resolved (a new instance has been initialised): look what is
			   committed */
	SL_TXN_FENCED,  /* somebody opened the same id; nothing happened; this one is of no more use */
	SL_TXN_FAILED   /* e: SL_RETRY: nothing happened and the reason may pass (as ABORTED, with a reason to wait);
			   SL_STOP */
};
struct sl_txn;
/* Opens and initialises (fences whoever had the id, waits for its transaction to be resolved). NULL on failure. */
struct sl_txn *sl_txn_open(struct sl_kafka *k, const char *id, struct sl_error *e) SL_MUST_CHECK;
/* The same, and librdkafka's statistics of it go into the metrics: sl_txn_idle must be called every few seconds while
 * no transaction is open, to take them. */
struct sl_txn *sl_txn_open_watched(struct sl_kafka *k, const char *id, struct sl_error *e) SL_MUST_CHECK;
void sl_txn_idle(struct sl_txn *t);
void sl_txn_close(struct sl_txn *t); /* aborts what is open */
/* All of one transaction goes between begin and commit or abort. What fails in between is remembered and told by
 * commit. */
void sl_txn_begin(struct sl_txn *t);
/* `topic` on the brokers. The value is sent as it is; value.data NULL: a tombstone. *last (NULL: not wanted) becomes
 * the largest offset assigned to those that name it, valid when commit says DONE; set it to -1 before. Bytes are
 * copied. */
void sl_txn_produce(struct sl_txn *t, const char *topic, int32_t partition, const struct sl_record *r, int64_t *last);
void sl_txn_offset(struct sl_txn *t, const char *topic, int32_t partition, int64_t next);
/* `consumer`: whose group the offsets belong to; NULL without offsets. */
enum sl_txn_end sl_txn_commit(struct sl_txn *t, rd_kafka_t *consumer, struct sl_error *e) SL_MUST_CHECK;
enum sl_txn_end sl_txn_abort(struct sl_txn *t, struct sl_error *e) SL_MUST_CHECK;

/* -- follow.c ---------------------------------------------------------------------------- */

/* Read all tables (to their pins when frozen) and meta to their present ends, then keep them up in a thread of its own.
 * Tables: rt->topics[].table. After it rt->meta is set: a struct sl_store over what was read; its write op
 * produces under guard APP.at.meta. NULL on failure. */
struct sl_follow *sl_follow_open(struct sl_kafka *k, struct sl_error *e) SL_MUST_CHECK;
void sl_follow_close(struct sl_follow *f);
/* Return when meta (and, if `tables`, every table that is not pinned) is read up to what was there at the call. */
bool sl_follow_sync(struct sl_follow *f, bool tables, struct sl_error *e) SL_MUST_CHECK;

/* -- restore.c --------------------------------------------------------------------------- */

struct sl_restore;
/* Begin to bring the local state of (step, partition) up to the changelog: DESIGN section 5, the restore rule. */
struct sl_restore *sl_restore_begin(struct sl_kafka *k, const struct sl_step *step, int32_t partition,
				    struct sl_error *e) SL_MUST_CHECK;
enum sl_restore_end { SL_RESTORE_MORE, SL_RESTORE_DONE, SL_RESTORE_FAILED };
/* Work for about budget_ms. DONE: the local state is that of *committed, the group's next input offset (-1: none yet).
 * FAILED: e says what; SL_RETRY begin again. */
enum sl_restore_end sl_restore_step(struct sl_restore *r, int budget_ms, int64_t *committed, struct sl_error *e);
/* Records done, and to do (an upper bound). */
void sl_restore_progress(const struct sl_restore *r, int64_t *done, int64_t *total);
void sl_restore_end(struct sl_restore *r);
/* The changelog position to write beside a committed batch: key 'p', see store.h. */
void sl_restore_mark(struct sl_writes *w, const struct sl_step *step, int32_t partition, int64_t position);
/* True: steps whose task runs the unit of `step` ask the outside, so there is a memo. */
bool sl_restore_has_memo(const struct sl_step *step);
/* How long the changelog may say less than the group. Tests have less patience. */
extern int64_t sl_restore_patience_ms;

/* -- member.c ---------------------------------------------------------------------------- */

/* End what members of an earlier life of this folder left open: readers of APP.meta and of the changelogs would wait
 * for it until it times out. */
bool sl_members_fence(struct sl_kafka *k, struct sl_error *e) SL_MUST_CHECK;
struct sl_member *sl_member_start(struct sl_kafka *k, const struct sl_step *step, int number,
				  struct sl_error *e) SL_MUST_CHECK;
/* Finish: commit what is staged, drain calls, leave the group. Ask all, then join all. */
void sl_member_ask_stop(struct sl_member *m);
/* Its failure, or SL_OK. */
struct sl_error sl_member_join(struct sl_member *m);
struct sl_member_state {
	const struct sl_step *step;
	const char *state; /* starting, quiet, running, committing, calls, waiting, restoring, backoff, failed */
	char wait[256];
	size_t tasks, waiting; /* waiting: for a table */
	uint64_t rounds;       /* how often it has looked around */
	bool failed;           /* SL_STOP: error says what */
	bool only_waiting;     /* every task is at its end or waits for a table */
	bool parked;           /* questions wait for a batch, or pairs to come back from one */
	struct sl_error error;
};
void sl_member_state(struct sl_member *m, struct sl_member_state *to);
/* The state of whoever in this process has the task; false: nobody here. */
bool sl_kafka_task_state(struct sl_kafka *k, const struct sl_unit *u, char wait[256], const char **state);

/* The ops of ../stream.h that are a member's. */
bool sl_member_waiting(struct sl_unit *u);
bool sl_member_load(struct sl_unit *u, size_t record_max, size_t bytes_max, struct sl_error *e) SL_MUST_CHECK;
void sl_member_wake(struct sl_unit *u);

/* -- run.c ------------------------------------------------------------------------------- */

enum sl_run_end sl_kafka_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e);

/* -- output.c ---------------------------------------------------------------------------- */

/* The outputs (frames) of a sealed unit into an open transaction, framed for the wire; then how many records the
 * task has ever sent to each topic into u->writes ('n' keys): so before sl_kafka_changelog. What goes into a
 * table carries the number as header "sluice.sequence": "<step>.<partition>:<n>". False: SL_RETRY, the
 * registry cannot be reached; or the store cannot be read. */
bool sl_kafka_outputs(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, struct sl_error *e) SL_MUST_CHECK;
/* A unit's sealed writes: its changelog records into the transaction (*last: the changelog's largest offset), its
 * counts ('c' and 'n') into meta too, and beside them what it has spent, when that has changed. */
void sl_kafka_changelog(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, int64_t *last);
/* Has it spent something that its commits have not told? */
bool sl_kafka_owes_bill(const struct sl_unit *u);
/* Register the schemas of all topics that hold pairs or models, so that no transaction waits for the registry. */
bool sl_kafka_register(struct sl_kafka *k, struct sl_error *e) SL_MUST_CHECK;
/* One record of ours onto a topic of the topology; *sequence NULL: without that header. */
bool sl_kafka_output(struct sl_kafka *k, struct sl_txn *t, int topic, int32_t partition, const struct sl_record *r,
		     const char *sequence, struct sl_buf scratch[2], struct sl_error *e) SL_MUST_CHECK;
/* Key 'n' writer 0 partition topic: see store.h. */
void sl_kafka_sent_key(struct sl_buf *key, const char *writer, int32_t partition, const char *topic);
/* The 8 bytes of a count; 0 where there is none. */
bool sl_kafka_count(struct sl_store *store, struct sl_bytes key, int64_t *n, struct sl_error *e) SL_MUST_CHECK;

/* -- reader.c, memo.c, aside.c, guard.c: ops of ../stream.h, and what stream.c closes ------------------ */

bool sl_kafka_read(struct sl_reader *r, struct sl_error *e) SL_MUST_CHECK;
void sl_kafka_read_end(struct sl_reader *r);
void sl_kafka_readers_close(struct sl_kafka *k);
bool sl_kafka_memo(struct sl_unit *u, struct sl_writes *answers, struct sl_error *e) SL_MUST_CHECK;
bool sl_kafka_aside(struct sl_unit *u, const struct sl_append *append, struct sl_writes *rows,
		    struct sl_error *e) SL_MUST_CHECK;
void sl_kafka_memo_open(struct sl_kafka *k);
void sl_kafka_memo_close(struct sl_kafka *k);
bool sl_kafka_guard(struct sl_runtime *rt, struct sl_bytes name, struct sl_error *e) SL_MUST_CHECK;
bool sl_kafka_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count,
		     const struct sl_append *appends, size_t append_count, struct sl_writes *extra,
		     struct sl_error *e) SL_MUST_CHECK;
void sl_kafka_guards_close(struct sl_kafka *k);

/* -- metrics.c --------------------------------------------------------------------------- */

/* stats_cb of every handle; `opaque` begins with a struct sl_kafka *. */
int sl_kafka_on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque);
void sl_kafka_statistics(struct sl_kafka *k, const char *client, const char *json, size_t size);
void sl_kafka_statistics_free(struct sl_kafka *k);
void sl_kafka_metrics(struct sl_runtime *rt, struct sl_buf *text);
void sl_kafka_describe(struct sl_runtime *rt, struct sl_buf *json);

#endif
