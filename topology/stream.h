/* stream.h -- what the runtime needs of a stream back-end: private to the runtime.
 *
 * Two tables of functions: sl_stream_embedded (stream_embedded.c: segment files and one
 * RocksDB, a commit for all units) and sl_stream_kafka (kafka/stream.c: brokers, a transaction
 * per member of a consumer group). Operators, units, tables, training, counts and commands are the
 * same above it.
 *
 * What a back-end keeps in common for all processes of a topology, the small keys of
 * store.h ('v' 'h' 'r' 'i' 'f' 'u' and the counts 'c'), is rt->meta: the embedded store itself, or on
 * Kafka a compacted topic. What belongs to a task is in rt->store. */
#ifndef SL_STREAM_H
#define SL_STREAM_H

#include "runtime.h"

struct sl_append;
struct sl_reader;
struct sl_unit;

struct sl_stream_ops {
	const char *name; /* as in stream.kind */

	/* From sl_runtime_open, when rt->store is open: connect, topics, rt->meta, tables read up to their
	 * pins (freeze.c) or their ends, units where they are fixed. */
	bool (*open)(struct sl_runtime *rt, struct sl_error *e);
	/* From sl_runtime_close, before the units, the tables and the store go. Also after a failed open. */
	void (*close)(struct sl_runtime *rt);

	/* rt->topics[topic].ends and starts as they are now (committed). */
	bool (*refresh)(struct sl_runtime *rt, int topic, struct sl_error *e);
	/* Data records ever committed to a topic, all partitions; what "new since" is counted in. */
	int64_t (*records)(struct sl_runtime *rt, int topic);
	/* Kept on disk, all partitions; -1: not known. */
	int64_t (*bytes)(struct sl_runtime *rt, int topic);
	/* Fill r->records and r->count from r->cursor on, below r->end. When it returns true, count > 0 or the
	 * cursor is at the end. Values are single-object encoded, whatever they are on the wire. */
	bool (*read)(struct sl_reader *r, struct sl_error *e);
	void (*read_end)(struct sl_reader *r);

	/* What commit.c describes. `units` have sealed nothing yet. On success they are committed. SL_RETRY: nothing
	 * was written, the caller may try again; SL_STOP: no more commits. */
	bool (*commit)(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count,
		       const struct sl_append *appends, size_t append_count, struct sl_writes *extra,
		       struct sl_error *e);

	/* Before something in rt->meta is read that will be written according to what it says: nobody else writes it
	 * until the next commit of this process under the same name. Embedded: the owner is alone, nothing to do. */
	bool (*guard)(struct sl_runtime *rt, struct sl_bytes name, struct sl_error *e);

	/* True: there is a record for the unit at or behind u->cursor. */
	bool (*waiting)(struct sl_unit *u);
	/* Up to record_max of them into u->now->records and u->now->count (not 0), about bytes_max bytes, and move
	 * u->cursor. The bytes live until the next load. */
	bool (*load)(struct sl_unit *u, size_t record_max, size_t bytes_max, struct sl_error *e);
	/* The pair in a record of the unit's input, in any form that producers may use. */
	bool (*decode)(struct sl_unit *u, const struct sl_record *r, struct sl_pair *p, struct sl_error *e);
	/* Make new answers of the memo durable. */
	bool (*memo)(struct sl_unit *u, struct sl_writes *answers, struct sl_error *e);
	/* Rows of the memo and records (NULL: none) made true together and at once, whatever the unit has in its open
	 * transaction, and only while nobody else has the task. False: nothing of it is true, or the unit will be
	 * closed and opened again. */
	bool (*aside)(struct sl_unit *u, const struct sl_append *append, struct sl_writes *rows, struct sl_error *e);
	/* Where a partition may be read to, and where that will be once every transaction is decided that has begun. */
	bool (*look)(struct sl_runtime *rt, int topic, int32_t partition, int64_t *stable, int64_t *end,
		     struct sl_error *e);

	/* An answer has come: let the unit look, soon. Any thread. */
	void (*wake)(struct sl_unit *u);
	/* What a unit is doing, in a word, and what it waits for (empty: nothing). Under rt->commit_lock. */
	const char *(*state)(struct sl_unit *u, char wait[256]);

	/* How far the readers of a step's input are: next offset by the last commit of whoever has the task (0: none
	 * yet), and records still to read (an upper bound). */
	bool (*progress)(struct sl_runtime *rt, const struct sl_step *step, int32_t partition, int64_t *committed,
			 int64_t *lag, struct sl_error *e);
	enum sl_run_end (*run)(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e);
	/* One JSON object for status ("stream") and Prometheus lines of its own; either may stay empty. */
	void (*describe)(struct sl_runtime *rt, struct sl_buf *json);
	void (*metrics)(struct sl_runtime *rt, struct sl_buf *text);
};

extern const struct sl_stream_ops sl_stream_embedded, sl_stream_kafka;

/* For `plan`: what the brokers have and would get, a line per topic of `stream: {kind: kafka}`. Makes and changes
 * nothing. Brokers that do not answer in 10 seconds are an error. */
bool sl_stream_plan(const struct sl_topology *t, struct sl_buf *text, struct sl_error *e) SL_MUST_CHECK;

#endif
