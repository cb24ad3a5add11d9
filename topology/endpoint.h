/* endpoint.h -- how a task reaches the outside world.
 *
 * A task hands over a call; the endpoint sends, limits and retries it, and
 * answers exactly once through done(), from any thread. It never touches the task's
 * memory before that. The memo and the budgets are the task's business (calls.c): an endpoint
 * sees only questions that were not answered before and that can be paid.
 *
 * What an endpoint is doing is told in one word, the same in `status` and in the metrics:
 *
 *     ok             the last attempts were answered
 *     idle           nothing was asked yet
 *     throttled      the server said 429 or its announced limits are used up; it is asked again later
 *     unreachable    no connection, or none that lives: refused, reset, unknown host, time-outs
 *     failing        answers are 5xx
 *     certificate    TLS: the certificate is not trusted or not for this host
 *     unauthorized   401 or 403: the key is wrong or may not do this
 *     not_found      404: the endpoint's model, or the path, is unknown
 *     quota          429 that will not pass soon: no money left, or Retry-After over 120 s
 *
 * All but the first three mean that the circuit is open: nothing is sent but one call at a time, after a pause that
 * grows, to see whether the endpoint is back. Calls that may wait (not or_not) wait for that; nobody restarts anything.
 * A server that was not reached was sent nothing: no call is given up for that, however few its retries. One with
 * or_not is settled as SL_AWAY then: at once where nobody gets through, after `retries` where others do.
 *
 * An endpoint has one model, and its state is about that one. A 404 to a call that names another model, or to a `plain`
 * one, which names a file or a batch, says nothing to others: it is the answer to that call, with status 404.
 */
#ifndef SL_ENDPOINT_H
#define SL_ENDPOINT_H

#include "base/buf.h"
#include "base/hash.h"

#include <stdbool.h>

struct sl_settlement {
	/* HTTP status, SL_GAVE_UP or SL_AWAY. To a call that may wait (not or_not) SL_AWAY is no answer: after
	 * attempts, more of them than `retries` of unknown fate, it must be paid for anew before it is sent again;
	 * without any, the endpoint was told to drain. */
	int status;
	struct sl_bytes body;
	const char *why;   /* NULL: nothing to say */
	uint32_t attempts; /* sent: 0 when it was not */
	uint32_t unknown;  /* of them, those that were sent whole and got no whole answer: they may have been paid */
};

struct sl_outcall {
	const char *path, *model;
	struct sl_bytes body; /* stays valid until done */
	uint32_t sample;
	struct sl_id key; /* hash of (model, body, sample) */
	int64_t tokens_max;
	bool or_not;
	/* What is no question to a model but the dialogue about files and batches (batch.h). */
	bool plain;        /* takes no tokens from the limits, and costs nothing */
	bool get;          /* GET, without a body; else POST */
	bool form;         /* the body is multipart/form-data with SL_FORM_BOUNDARY */
	bool once;         /* doing it twice would do harm: sent at most once, then SL_GAVE_UP */
	size_t answer_max; /* bytes; 0: 16 MiB */
	void *owner;
	/* The reply is copied before it returns. */
	void (*done)(struct sl_outcall *, const struct sl_settlement *);
};

#define SL_FORM_BOUNDARY "sluice-form-8f3b1c"

struct sl_endpoint;
struct sl_endpoint_reading;

struct sl_endpoint_ops {
	void (*send)(struct sl_endpoint *, struct sl_outcall *);
	/* Stop asking: what was not sent yet is settled as SL_AWAY, what is under way may still be answered. Later
	 * calls are settled at once. NULL: nothing to do. */
	void (*drain)(struct sl_endpoint *);
	/* Appends members of a JSON object, without braces: "state":"ok","why":"","in_flight":3 ... NULL: nothing. */
	void (*describe)(struct sl_endpoint *, struct sl_buf *json);
	/* What the metrics tell (endpoint/stats.h). NULL: nothing. */
	void (*read)(struct sl_endpoint *, struct sl_endpoint_reading *);
	/* Calls still under way are given up (done() is called), then all is freed. */
	void (*free)(struct sl_endpoint *);
};

struct sl_endpoint {
	const struct sl_endpoint_ops *ops;
	const char *name;
};

/* Appends Prometheus text about all of them, with labels endpoint="NAME" (endpoint/stats.c). NULLs are left out. */
void sl_endpoint_metrics(struct sl_endpoint *const *endpoints, size_t count, struct sl_buf *text);

#endif
