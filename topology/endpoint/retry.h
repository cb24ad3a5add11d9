/* retry.h -- what an answer, or its absence, means: pure functions.
 *
 * The table is the reference client's (curation.md 4.2): 408, 409, 429, 5xx and broken connections are asked
 * again, x-should-retry overrides, the wait is retry-after-ms, Retry-After, else 0.5 s doubling to 8 s, less up to a
 * quarter at random. What differs is that a server which says that it will not answer soon, or never with this key,
 * address or certificate, is away: its circuit opens (circuit.h) and the call waits for that rather than fail. */
#ifndef SL_ENDPOINT_RETRY_H
#define SL_ENDPOINT_RETRY_H

#include "../base/buf.h"
#include "headers.h"

/* The classes of `sluice_endpoint_errors_total`, in its order; the first is none. */
enum sl_reply_class {
	SL_REPLY_ANSWERED,     /* 2xx */
	SL_REPLY_CONNECT,      /* no connection: refused, unknown host, none in time. Nothing was sent */
	SL_REPLY_TIMEOUT,      /* of the answer */
	SL_REPLY_BROKEN,       /* a connection that ended without a whole answer */
	SL_REPLY_CERTIFICATE,  /* theirs is not good, or ours cannot be read */
	SL_REPLY_THROTTLED,    /* 429 */
	SL_REPLY_QUOTA,        /* 429 that will not pass soon; 402 */
	SL_REPLY_UNAUTHORIZED, /* 401, 403 */
	SL_REPLY_NOT_FOUND,    /* 404 */
	SL_REPLY_SERVER,       /* 5xx */
	SL_REPLY_CONFLICT,     /* 408, 409, or x-should-retry on any other: again, and nothing is wrong */
	SL_REPLY_REFUSED,      /* any other status: it is the answer */
	SL_REPLY_TOO_LARGE,    /* more bytes than we take */
	SL_REPLY_CLASSES
};
const char *sl_reply_class_name(enum sl_reply_class c);

struct sl_reply {
	int code; /* a CURLcode; 0: there is a whole answer */
	long status;
	const char *error; /* curl's words for the code, or "" */
	bool unsent;       /* there was no connection to send it by */
	bool too_large;
	struct sl_reply_headers headers;
	struct sl_bytes body;
};
enum sl_reply_class sl_reply_classify(const struct sl_reply *r);

/* The word of endpoint.h for an endpoint that fails like this; NULL: a failure like this opens no circuit. */
const char *sl_reply_word(enum sl_reply_class c);
/* Whether once is enough to open it: trying again at once could not help. */
bool sl_reply_at_once(enum sl_reply_class c);

#define SL_RETRY_AFTER_MAX_MS ((int64_t)120000) /* a server that says more than this is away */

/* How long to wait after the `failures`-th failure (from 1); `random` is from [0, 1). */
int64_t sl_retry_delay_ms(const struct sl_reply_headers *h, uint32_t failures, double random);

/* For people: "HTTP 503: the model is loading", "connection refused ...". Printable, cut, without any of `secrets`. */
void sl_reply_why(const struct sl_reply *r, const char *const *secrets, size_t secret_count, char why[256]);
/* The secrets in a body become stars: what is wrong goes on into records. Not those of less than 8 bytes, which are
 * words and no secrets. */
void sl_reply_hide(struct sl_buf *body, const char *const *secrets, size_t secret_count);

#endif
