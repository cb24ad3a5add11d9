/* llm.h -- the parts of sluice-llm, the scripted server for endpoints (README.md).
 *
 * One thread, one struct server. server.c owns sockets and time and knows HTTP; everything else is a function from a
 * request to a reply, which also says how the reply is to reach the client (whole, cut, never ...) and when. */
#ifndef LLM_H
#define LLM_H

#include "schemas/json.h"
#include "topology/base/arena.h"
#include "topology/base/buf.h"
#include "topology/base/error.h"
#include "topology/base/hash.h"

#include <stdio.h>

/* -- What goes wrong on purpose (faults.c) ------------------------------------------------------------------- */

/* Everything up to FAULT_RESET_BEFORE is refused or cut without the work being done; from FAULT_RESET_AFTER on the
 * work is done and paid, whatever becomes of the answer. */
enum fault {
	FAULT_NONE,
	FAULT_408,
	FAULT_409,
	FAULT_429,         /* without a word about when to come back */
	FAULT_429_MS,      /* retry-after-ms */
	FAULT_429_SECONDS, /* Retry-After: 1 */
	FAULT_429_DATE,    /* Retry-After: a date */
	FAULT_500,
	FAULT_503,
	FAULT_QUOTA,    /* 429 insufficient_quota */
	FAULT_TOO_LONG, /* 400 context_length_exceeded */
	FAULT_401,
	FAULT_404,
	FAULT_RESET_BEFORE, /* the connection is reset before the request is read */
	FAULT_RESET_AFTER,  /* ... after it */
	FAULT_NEVER,        /* no answer, the connection stays */
	FAULT_GARBAGE,      /* bytes that are no HTTP */
	FAULT_HALF,         /* half the body, then the end */
	FAULT_DRIP,         /* a few bytes at a time */
	FAULT_NOT_JSON,     /* 200, and a page of HTML */
	FAULT_REFUSAL,
	FAULT_LENGTH,       /* finish_reason length, the text cut */
	FAULT_LENGTH_EMPTY, /* finish_reason length without text: reasoning took it all */
	FAULT_EMPTY,        /* no content */
	FAULT_PROSE,        /* JSON between sentences */
	FAULT_FENCES,       /* JSON in ```json */
	FAULT_WRONG_KEY,    /* a schema of its own */
	FAULT_BAD_JSON,     /* content that is no JSON */
	FAULT_COUNT
};
extern const char *const fault_names[FAULT_COUNT];

struct faults {
	double share[FAULT_COUNT];
};
/* "500=0.05,never=0.01"; "all=0.2" is spread over everything that passes (the network's and the server's faults),
 * "contents=0.1" over odd contents. */
bool faults_parse(const char *text, struct faults *to, struct sl_error *e) SL_MUST_CHECK;
/* `u` in 0 .. 1 picks one. */
enum fault fault_draw(const struct faults *f, double u);

/* -- Settings (settings.c) ------------------------------------------------------------------------------------- */

struct model {
	const char *name;
	double accuracy, accuracy_examples, bias;
};

struct settings {
	int64_t port, seed;
	const char *key, *models_text, *faults_text, *truth, *log, *tls_cert, *tls_key;
	double accuracy, accuracy_examples, bias, correlated, wobble, ties;
	double latency_ms, sigma;
	int64_t drip_ms, context, rpm, tpm, concurrency, dimensions, batch_ms;
	double price_prompt, price_cached, price_completion, cached, reasoning, batch_cut;
	bool chunked, close;
	/* Made of the texts. */
	struct model *models;
	size_t model_count;
	struct faults faults;
};

extern struct sl_arena settings_arena;
/* Fills the defaults, then "--name value" pairs. */
bool settings_flags(struct settings *s, int argc, char **argv, struct sl_error *e) SL_MUST_CHECK;
/* {"name": value, ...}: all of it or nothing. */
bool settings_change(struct settings *s, const json_t *object, struct sl_error *e) SL_MUST_CHECK;
void settings_help(struct sl_buf *to);
/* False: not a model of this server. `name` is borrowed. */
bool settings_model(const struct settings *s, const char *name, struct model *to);

/* -- Tables of 64-bit numbers (table.c) ------------------------------------------------------------------------ */

struct table {
	uint64_t *keys, *values;
	size_t count, capacity; /* a power of 2 */
};
uint64_t *table_find(const struct table *t, uint64_t key); /* NULL: absent */
uint64_t *table_at(struct table *t, uint64_t key);         /* 0 when it is new */
void table_release(struct table *t);

/* -- Requests and replies -------------------------------------------------------------------------------------- */

struct request {
	const char *method, *path; /* the path without its query */
	const char *query;         /* "" */
	const char *key;           /* of Authorization: Bearer; "" */
	const char *type;          /* Content-Type; "" */
	struct sl_bytes body;
};

enum manner { MANNER_WHOLE, MANNER_NEVER, MANNER_GARBAGE, MANNER_HALF, MANNER_DRIP, MANNER_RESET };

struct reply {
	int status; /* 200 */
	const char *type;
	struct sl_buf headers, body; /* headers: whole lines */
	enum manner manner;
	bool slow; /* it is work: it comes after the latency and counts against concurrency */
	bool paid;
};

/* What was asked and what it cost. A question is known by the hash of its body. */
struct counts {
	struct table questions; /* body's hash to received << 32 | paid */
	int64_t requests;       /* read whole, of the paid kinds (chat, embeddings, rewards) */
	int64_t paid, distinct, distinct_paid;
	int64_t delivered; /* paid, and the whole answer handed to the network */
	int64_t cut;       /* paid, and not delivered, whoever did it */
	int64_t prompt, completion, cached;
	double dollars;
	int64_t faults[FAULT_COUNT];
	int64_t limited; /* 429 by the real limits */
	int64_t statuses[600];
	int64_t right, wrong, biased, unknown, examples, described;
	int64_t files, batches, batched; /* uploaded; made; the lines of these */
	int64_t working, working_most, connections, connections_most, accepted;
};

struct server {
	struct settings set;
	struct counts counts;
	struct table truth;
	int64_t truths, truths_broken; /* pairs it has; lines of records that have no better answer */
	struct batches *batches;
	FILE *log;
	double price;                      /* 1; in a batch 0.5 */
	double requests_left, tokens_left; /* of the limits per minute */
	int64_t refilled_ns;
};

/* routes.c. `r` starts zeroed. */
void serve(struct server *s, const struct request *q, struct reply *r);
/* One request of the paid kinds; `text` is its body as it came. */
void work(struct server *s, const char *path, const json_t *body, struct sl_bytes text, struct reply *r);
void reply_release(struct reply *r);
/* An error body as OpenAI writes it, and the status. */
void refuse(struct reply *r, int status, const char *code, const char *fmt, ...) SL_PRINTF(4, 5);
void remote_embeddings(struct server *s, const json_t *body, const char *path, struct sl_buf *to);
void remote_rewards(struct server *s, const json_t *body, struct sl_buf *to);
size_t tokens_of(size_t bytes);
void pay(struct server *s, uint64_t question, int64_t prompt, int64_t completion);
void stats(const struct server *s, struct sl_buf *to);
double draw(uint64_t seed, const char *what, uint64_t a, uint64_t b); /* 0 <= u < 1 */
int64_t now_ns(void);

/* judge.c */
bool truth_load(struct server *s, const char *path, struct sl_error *e) SL_MUST_CHECK;
struct judging {
	bool is, examples;
	const char *verdict, *strength; /* "1", "2", "tie" */
};
/* `n`: which answer to the same question this is, where they are drawn anew. */
void judge(struct server *s, const struct model *m, struct sl_bytes user, uint64_t n, struct judging *to);
/* Is this the better (1) or the worse (-1) answer of a pair, by the end of the text? 0: not known. */
int truth_of_end(const struct server *s, struct sl_bytes text);

/* batches.c: true when the path is one of files and batches. */
bool batches_serve(struct server *s, const struct request *q, struct reply *r);
/* Ends all that run, as completed, failed, expired or cancelled. */
void batches_end(struct server *s, const char *status);
void batches_free(struct server *s);

#endif
