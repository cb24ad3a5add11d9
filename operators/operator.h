/* operator.h -- everything an operator may see, and nothing else.
 *
 * An operator is a function from a batch of pairs to more pairs, with a memory.
 * The runtime calls it, one batch at a time, in input order, on one thread per
 * task; it never sees Kafka, RocksDB, a socket, a lock or a clock.
 *
 * Why it is safe to write one naively: whatever process() emits or stores is
 * held back until the commit that also carries the input position. If anything
 * goes wrong first, the runtime forgets the lot, closes the instance, opens a
 * fresh one and plays the same input again, perhaps cut into other batches.
 * Four rules follow, and the tests break operators that bend them:
 *
 *   1. What must outlive a batch goes into a store. `self` is a cache.
 *   2. process() reads only its arguments, stores, tables and answers.
 *   3. Decide by record or store, never by where a batch was cut; tick() may
 *      reclaim, never decide.
 *   4. What enters a record is computed in an order fixed by that record and
 *      the table versions alone (BLAS shortlists, a fixed-order sum decides).
 *
 * Memory: what comes in, and what sl_alloc() gives, lives until the batch is done, also in the steps
 * inlined behind this one; an emitted pair points at such memory or at constants, never into
 * `self`. `self` memory that grows uses sl_buf.h and is released in close().
 *
 * Errors: sl_get, sl_put, sl_emit and friends do not fail where you can see it.
 * A task that has failed ignores further writes and cannot commit. */
#ifndef SL_OPERATOR_H
#define SL_OPERATOR_H

#include "../schemas/pair.h"

struct sl_task; /* one step on one partition; opaque */

struct sl_batch {
	const struct sl_pair *pairs;
	size_t count; /* at least 1, at most the step's batch_max */
};

enum sl_option_type {
	SL_OPTION_BOOL,    /* bool:         true, false */
	SL_OPTION_COUNT,   /* int64_t:      1000 */
	SL_OPTION_REAL,    /* double:       0.8 */
	SL_OPTION_TIME_MS, /* int64_t:      250ms, 30s, 5m, 24h, 7d */
	SL_OPTION_SIZE,    /* int64_t bytes: 512KiB, 16MiB, 1GiB */
	SL_OPTION_TEXT,    /* const char * */
	SL_OPTION_LIST     /* struct sl_list: [a, b]; --set step.key=a,b */
};

struct sl_list {
	const char *const *at;
	size_t count;
};

struct sl_option {
	const char *name;
	enum sl_option_type type;
	size_t offset;            /* of the field in self */
	const char *value;        /* default, as it would be written; NULL: required */
	double least, most;       /* allowed range of numbers; both 0: any */
	const char *const *words; /* allowed texts, NULL-ended; NULL: any */
	bool shapes_store;        /* hashed into the store: a change needs a rebuild */
	const char *unit;         /* for people: "pairs", "words"; NULL when the type says it */
	const char *help;
	const char *follows; /* an operator whose option of this name gives the value when a step of it is in
				the topology and this step does not say; NULL: none */
	bool endpoint; /* a text, or each of a list, is the name of an endpoint of the topology: checked at load */
};

struct sl_store_def {
	const char *name;
	bool derived; /* an index: never logged, may hold stale entries, rebuilt in open() when empty */
};

struct sl_operator {
	const char *name;                  /* the word that topology files use */
	const char *version;               /* stamped into the trail: change it with behaviour */
	const char *help;                  /* one line */
	const struct sl_option *options;   /* ends at a NULL name; NULL: none */
	const char *const *ports;          /* NULL-ended; index = port */
	const struct sl_store_def *stores; /* ends at a NULL name; NULL: none; index = store */
	const char *const *tables;         /* NULL-ended; NULL: none; index = table; names a role
					      that the topology binds to a topic */
	size_t self_size;                  /* allocated, zeroed and filled from the options */
	int64_t tick_every_ms;             /* of stream time; 0: no tick */

	/* Only process is required. Each returns SL_OK or what sl_fail returned. open() also runs before there is
	 * anything to work on, with empty stores and tables, only to see whether the options are fit
	 * (topology/check.h). */
	enum sl_verdict (*open)(struct sl_task *, void *self);
	enum sl_verdict (*ask)(struct sl_task *, void *self, const struct sl_batch *);
	enum sl_verdict (*process)(struct sl_task *, void *self, const struct sl_batch *);
	enum sl_verdict (*tick)(struct sl_task *, void *self, int64_t stream_ms);
	void (*close)(struct sl_task *, void *self);
};

/* Operators are found by the build: operators/x.c that defines
 * `const struct sl_operator sl_operator_x` is in this NULL-ended list. */
extern const struct sl_operator *const sl_operators[];
const struct sl_operator *sl_operator_find(const char *name);

/* Output. The runtime appends the trail line (step, version, tables read, port,
 * reason). The reason begins with a short code and a colon, "near-duplicate: of
 * 12ab..."; codes are counted per step, port and source, so they are few. */
void sl_emit(struct sl_task *, int port, const struct sl_pair *);
void sl_emit_because(struct sl_task *, int port, const struct sl_pair *, const char *reason, ...) SL_PRINTF(4, 5);
/* Take back what earlier went out by this port with the pair's id: a tombstone in the
 * port's topic, which must be stored. Records that carry a decision are keyed by id, so their topics
 * are changelogs: the latest record of an id counts. */
void sl_retract(struct sl_task *, int port, const struct sl_pair *);
/* A pair that cannot be handled is an output too: it goes to the step's dead
 * letters with the original bytes and this reason, in the same transaction. */
void sl_reject(struct sl_task *, const struct sl_pair *, const char *reason, ...) SL_PRINTF(3, 4);

/* State. Reads see this transaction's own writes; *value lives until the
 * callback returns. In ask() only sl_get is allowed. */
bool sl_get(struct sl_task *, int store, struct sl_bytes key, struct sl_bytes *value);
void sl_put(struct sl_task *, int store, struct sl_bytes key, struct sl_bytes value);
void sl_del(struct sl_task *, int store, struct sl_bytes key);

/* for (sl_scan(t, &s, SEEN, prefix); sl_scan_next(&s);) use(s.key, s.value);
 * Byte order of keys. Key and value live until the next step of the scan. Puts
 * and deletes during a scan are not seen by it. Ends itself when it returns
 * false or the callback returns. */
struct sl_scan {
	struct sl_bytes key;
	struct sl_bytes value;
	int64_t version; /* tables only: when this entry was last written */
	void *runtime;   /* not yours */
};
void sl_scan(struct sl_task *, struct sl_scan *, int store, struct sl_bytes prefix);
bool sl_scan_next(struct sl_scan *);

/* Tables: read-only, whole, the same for every task: a compacted topic
 * replicated to each of them, key to latest value (an encoded record: use
 * sl_pair_decode or sl_model_decode with sl_task_arena). A table changes only
 * between transactions, never during a callback or between the callbacks of a
 * batch. Its version only rises; the versions read are stamped into the trail. */
bool sl_table_get(struct sl_task *, int table, struct sl_bytes key, struct sl_bytes *value);
int64_t sl_table_version(struct sl_task *, int table);
/* Entries written after `version` (0: all), in order of writing, each key once
 * with its latest value. A deleted key has value.data == NULL. */
void sl_table_scan(struct sl_task *, struct sl_scan *, int table, int64_t after_version);

/* The outside world, from ask() only. Calls are numbered from 0 in the order
 * they are queued for a batch and keep their numbers over the rounds. The
 * endpoint sends, limits, retries, and keeps every answer durably under the
 * hash of (model, body, sample) before it may be used, so a replay or a
 * repeated question is not paid twice. The most that a call can cost is reserved from the budgets before it
 * is sent. What is no answer (not 200, or no JSON object or array, or one that says `error`) is used once and not kept.
 *
 * ask() also runs for batches whose turn has not come (option `ahead`), between the rounds of the one whose turn it is,
 * only so that answers are there in time: nothing is kept of it but them. It runs again in their turn, at least once
 * and last before process(). So what it leaves in `self` is of the batch that it was last called with, and numbers of
 * calls hold until ask() returns; who wants an answer asks for it again from the top, which costs nothing. */
struct sl_call {
	const char *endpoint; /* a name from the topology file, never a URL */
	const char *path;     /* below the endpoint's address; NULL: "/chat/completions" */
	const char *model;    /* NULL: the endpoint's */
	struct sl_bytes body;
	uint32_t sample;    /* 0, 1, ... for several samples of one question */
	int64_t tokens_max; /* the longest answer, as the body says; 0: it has none (embeddings, rewards) */
	bool or_not;        /* do not wait for a spent budget or an endpoint that is away: SL_NO_BUDGET, SL_AWAY */
};
/* As the server counted; all 0 when it did not say. cached is a part of prompt, reasoning of completion. */
struct sl_usage {
	int64_t prompt, cached, completion, reasoning;
};
enum {
	SL_UNSETTLED = 0,
	SL_GAVE_UP = -1,   /* after all retries; see why */
	SL_NO_BUDGET = -2, /* or_not: was not sent */
	SL_AWAY = -3,      /* or_not: was not sent, or not answered: the endpoint is down, its key is wrong ... */
	SL_PARKED = -4     /* it waits for a batch of its endpoint: see below */
};
/* An endpoint that collects questions for the Batch API (`batch: true`) answers hours later. A call to it is settled at
 * once as SL_PARKED, and `why` is its key, 32 hex digits. The pair goes out by the port "deferred", because
 * "parked: KEY KEY ... whatever", with at most SL_PARKED_MOST keys; when all these questions are settled the runtime
 * brings it back as a new record of the step's input, and asking again finds the answers. Only steps with that port
 * may name such an endpoint. */
#define SL_PARKED_MOST 8
struct sl_answer {
	int status; /* HTTP status, or one of the above */
	const char *why;
	struct sl_bytes body;
	struct sl_usage usage;
	int64_t micro_dollars; /* what it cost when it was asked first; 0 without a price */
};
uint32_t sl_ask(struct sl_task *, const struct sl_call *);
struct sl_answer sl_answer(struct sl_task *, uint32_t call);
/* The model that an endpoint of the topology asks; "" when it names none. */
const char *sl_task_model(struct sl_task *, const char *endpoint);

/* Files that belong to the topology or the data folder: benchmark files, prompt
 * files, model folders. A relative path is looked up beside the topology file,
 * then in the data folder. Returns the path, valid until the callback returns. */
const char *sl_task_path(struct sl_task *, const char *path);

void *sl_alloc(struct sl_task *, size_t size);    /* not zeroed; freed when the callback returns */
struct sl_arena *sl_task_arena(struct sl_task *); /* the same memory as an arena */

/* Return what this returns. SL_WAIT names what is missing: the task sleeps until
 * a table changes and `status` shows the text. */
enum sl_verdict sl_fail(struct sl_task *, enum sl_verdict, const char *text, ...) SL_PRINTF(3, 4);
/* A line in the log, and nothing else. */
void sl_note(struct sl_task *, const char *text, ...) SL_PRINTF(2, 3);

#endif
