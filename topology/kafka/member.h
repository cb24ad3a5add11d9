/* member.h -- one member of a step's consumer group from the inside: private to member.c, assign.c, play.c and
 * inbox.c.
 *
 *     member.c   the thread: poll, restore, fetch, play, commit, rest; what others may ask
 *     assign.c   partitions that come, are restored, are read, and go
 *     play.c     stepping the units and the transaction of all of them
 *     aside.c    transactions of one task in between
 *     inbox.c    records of a partition that are not committed yet
 *     group.c    a consumer of a group, whatever its rebalance protocol
 *
 * Everything here belongs to the member's thread, but for what is marked. */
#ifndef SL_KAFKA_MEMBER_H
#define SL_KAFKA_MEMBER_H

#include "kafka.h"

/* -- inbox.c ------------------------------------------------------------------------------- */

/* Records as they came, by offset, until they are committed: a transaction that failed is played again from here. */
struct sl_inbox {
	struct sl_record **records; /* each of one allocation with its texts */
	size_t count, capacity, bytes;
	int64_t next; /* offset behind the last record, or behind the control records after it */
	bool at_end;  /* nothing more was there when last looked */
};
/* True: take no more for now. */
bool sl_inbox_full(const struct sl_inbox *b);
/* Bytes are copied. */
void sl_inbox_add(struct sl_inbox *b, const struct sl_record *r);
/* Index of the first record at or behind `offset`; count: none. */
size_t sl_inbox_find(const struct sl_inbox *b, int64_t offset);
/* Let go of what is below `offset`. */
void sl_inbox_drop(struct sl_inbox *b, int64_t offset);
void sl_inbox_release(struct sl_inbox *b);

/* -- a task --------------------------------------------------------------------------------- */

enum sl_task_state {
	SL_TASK_RESTORING,
	SL_TASK_RUNNING,
	SL_TASK_CALLS,
	SL_TASK_HELD, /* for want of money */
	SL_TASK_WAITING,
	SL_TASK_BACKOFF
};

/* One partition that the group gave us. */
struct sl_member_task {
	struct sl_member *member;
	int32_t partition;
	enum sl_task_state state;
	struct sl_restore *restore; /* SL_TASK_RESTORING; NULL: not begun */
	struct sl_unit *unit;       /* all other states */
	struct sl_inbox inbox;
	rd_kafka_queue_t *queue; /* of its messages; NULL: not read yet */
	bool fetching;           /* in the consumer's assignment, from inbox.next on when it was put there */
	bool again;              /* assign it anew: the consumer lost its place */
	bool leaving;            /* its next commit is the last one, and tells what was spent too */
	int64_t moved_ns;        /* when the position was moved past control records alone; 0: it was not */
	int64_t not_before_ns;   /* SL_TASK_BACKOFF, SL_TASK_WAITING, SL_TASK_HELD, and failed restores: not looked at
				    before */
	uint32_t failures;       /* of the restore */
	char wait[256];          /* what it waits for */
};

struct sl_member {
	struct sl_kafka *k; /* first: the opaque of the consumer's callbacks */
	const struct sl_step *step;
	int number;
	const char *topic; /* that it reads, on the brokers */
	char group[SL_ID_MAX], id[SL_ID_MAX];
	pthread_t thread;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *events; /* of the consumer: rebalances, errors */
	struct sl_txn *txn;       /* NULL: to be opened */
	struct sl_member_task **tasks;
	size_t task_count;
	struct sl_unit **parting; /* given up with calls still in flight: closed when these have come */
	size_t parting_count;
	bool subscribed;
	bool assigned; /* the group has said what is ours, if only that nothing is */
	bool changed;  /* the consumer's assignment is not what the tasks want */
	int64_t read_not_before_ns;
	uint64_t rounds;
	size_t turn; /* which task plays first */
	bool failed; /* `error` ends the run */
	struct sl_error error;
	enum sl_txn_end aside; /* of the last transaction of aside.c, when it has to be dealt with; else SL_TXN_DONE */
	struct sl_error aside_error;
	int64_t not_before_ns; /* after a failed commit nothing is played before */
	uint32_t failures;     /* commits in a row */
	int64_t fenced_ns[2];  /* the last times */
	char wait[256];        /* why it backs off */
	/* for others, under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool woken, stopping;
	struct sl_member_state state;
	size_t shown_count;
	struct sl_member_shown {
		const struct sl_unit *unit;
		const char *state;
		char wait[256];
	} * shown; /* per task with a unit */
};

/* Let the thread look again. Any thread. */
void sl_member_poke(struct sl_member *m);
/* Wait until poked, at most so long. */
void sl_member_rest(struct sl_member *m, int64_t timeout_ms);
/* The run is over because of this. */
void sl_member_fail(struct sl_member *m, const struct sl_error *e);
/* What others are told that it does now; NULL: by the look of its tasks. */
void sl_member_show(struct sl_member *m, const char *state);
/* When to try again after so many failures in a row; says why in the log. */
int64_t sl_member_back_off(struct sl_member *m, int32_t partition, uint32_t failures, const char *why);

/* -- assign.c ------------------------------------------------------------------------------- */

/* rebalance_cb of the consumer. */
void sl_member_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *parts,
			 void *member);
/* A slice of the restore of one task that needs it; true: there was something to do. */
bool sl_member_restore(struct sl_member *m);
/* The consumer lost its place in the task's partition, or may have. */
void sl_member_read_again(struct sl_member_task *t);
/* Tell the consumer which partitions to read from where, if that has changed. */
void sl_member_read(struct sl_member *m);
/* Messages that have come into the inboxes; true: there were some. */
bool sl_member_fetch(struct sl_member *m);
/* Close all units; their tasks are restored again. */
void sl_member_close_units(struct sl_member *m);
/* Answers in flight into the memo (bounded), what is staged committed (unless lost or failed), the tasks of these
 * partitions (NULL: all) closed. */
void sl_member_give_up(struct sl_member *m, const int32_t *partitions, size_t count, bool lost);
/* Close what was given up with calls in flight and has its answers now. */
void sl_member_part(struct sl_member *m);

/* -- play.c ---------------------------------------------------------------------------------- */

/* Step every unit that can do something; true: somebody did. */
bool sl_member_play(struct sl_member *m);
/* A transaction of aside.c did not end well, and the unit that wanted it has failed with it: what follows. */
void sl_member_aside_ended(struct sl_member *m);
/* When the staged work is to be committed, on the monotonic clock; INT64_MAX: there is none. */
int64_t sl_member_due(const struct sl_member *m);
/* One transaction of all that is staged. */
void sl_member_commit(struct sl_member *m);
/* The task has played all there is and committed it. */
bool sl_task_at_end(const struct sl_member_task *t);

/* -- group.c ---------------------------------------------------------------------------------- */

/* A consumer of a group; `prepare` and `arg` as in sl_kafka_client: sets the rebalance_cb. It has not subscribed yet.
 */
rd_kafka_t *sl_group_open(struct sl_kafka *k, const char *group, void (*prepare)(rd_kafka_conf_t *conf, void *arg),
			  void *arg, struct sl_error *e) SL_MUST_CHECK;
bool sl_group_subscribe(struct sl_kafka *k, rd_kafka_t *rk, const char *topic, struct sl_error *e) SL_MUST_CHECK;
/* True: partitions come and go one by one. */
bool sl_group_cooperative(rd_kafka_t *rk);
/* Read these, eager: instead of what was read before (NULL: nothing is ours any more), cooperative: besides it. An
 * empty list answers a rebalance. */
bool sl_group_assign(struct sl_kafka *k, rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *parts,
		     struct sl_error *e) SL_MUST_CHECK;
/* Cooperative: read these no more. */
bool sl_group_unassign(struct sl_kafka *k, rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *parts,
		       struct sl_error *e) SL_MUST_CHECK;
/* Leaves the group (the rebalance is called back) and is gone; `events`: a reference to its queue, or NULL. */
void sl_group_close(rd_kafka_t *rk, rd_kafka_queue_t *events);

#endif
