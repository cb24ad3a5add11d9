/* with_runtime.h -- whole runtimes on a real broker, in this process and in others that can be killed, and what
 * must come out of them: what the same steps make of the same input on the embedded stream (trial.h).
 *
 * A test's main calls kafka_worker(argc, argv) first: a worker is this executable again, started with exec because a
 * fork of a process with librdkafka's threads in it is no process to run in. One thread. */
#ifndef SL_WITH_RUNTIME_H
#define SL_WITH_RUNTIME_H

#include "with_broker.h"

#include "tests/trial.h"

#include <sys/types.h>

/* A topology and a data folder of its own; `prefix` is shared by those that work together. */
struct kafka_node {
	struct sl_topology *topology;
	struct sl_runtime *rt;
	struct sl_runtime_options options;
	char folder[64];
};
/* Opens it; fails the test when that does not succeed. `n` zeroed but for `options` and, to go on in one, `folder`. */
void kafka_node_open(struct kafka_node *n, const char *yaml, const char *prefix);
void kafka_node_close(struct kafka_node *n);
/* Also removes the folder. */
void kafka_node_drop(struct kafka_node *n);
/* Runs it until idle; what came out, with *e. */
enum sl_run_end kafka_node_run(struct kafka_node *n, struct sl_error *e);

/* Pairs number first .. first + count - 1 of a fixed sequence into pairs.raw: as transactions of about 30, between them
 * aborted ones with pairs that must never be seen. */
void kafka_feed(const char *prefix, size_t first, size_t count);
/* The same into a trial. */
bool kafka_feed_trial(struct sl_trial *t, size_t first, size_t count);

/* What is committed in the topics, a line per record: topic, partition, id, margin, last reason; in order. */
void kafka_outcome(const char *yaml, const char *prefix, const char *const *topics, struct sl_buf *to);
void kafka_outcome_trial(struct sl_trial *t, const char *const *topics, struct sl_buf *to);
/* A line per logged entry of the operators' stores. */
void kafka_stores(struct sl_runtime *rt, struct sl_buf *to);
/* The lines are equal, or the test fails at the first that differs. */
void kafka_must_equal(struct sl_buf *want, struct sl_buf *got);

/* A process with the topology in a folder of its own: runs until stopped by SIGTERM, or until idle. */
pid_t kafka_worker_start(const char *yaml, const char *prefix, const char *folder, bool until_idle);
/* The exit code; 128 + signal when it was killed. */
int kafka_worker_wait(pid_t pid);
/* True: this process is a worker; *code is what main returns. */
bool kafka_worker(int argc, char **argv, int *code);

#endif
