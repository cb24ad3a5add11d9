/* endpoint.h -- how a task reaches the outside world.
 *
 * A task hands over a call; the endpoint sends, limits and retries it, and
 * answers exactly once through done(), from any thread. It never touches the task's
 * memory before that. The memo is the task's business (calls.c): an endpoint
 * sees only questions that were not answered before. */
#ifndef SL_ENDPOINT_H
#define SL_ENDPOINT_H

#include "base/buf.h"
#include "base/hash.h"

struct sl_outcall {
	const char *model;
	struct sl_bytes body; /* stays valid until done */
	uint32_t sample;
	struct sl_id key; /* hash of (model, body, sample) */
	void *owner;
	/* status: HTTP status, or -1 gave up; body and why are copied before it returns. */
	void (*done)(struct sl_outcall *, int status, struct sl_bytes body, const char *why);
};

struct sl_endpoint;

struct sl_endpoint_ops {
	void (*send)(struct sl_endpoint *, struct sl_outcall *);
	void (*free)(struct sl_endpoint *);
};

struct sl_endpoint {
	const struct sl_endpoint_ops *ops;
	const char *name;
};

#endif
