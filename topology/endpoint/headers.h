/* headers.h -- what the headers of an answer say about when to ask again.
 *
 *     x-should-retry        true or false: the server knows best
 *     retry-after-ms        milliseconds
 *     retry-after           seconds, or an HTTP date
 *     x-ratelimit-{limit,remaining}-{requests,tokens}   numbers
 *     x-ratelimit-reset-{requests,tokens}               "6m0s", "20ms", seconds, or seconds since 1970
 *
 * Foreign bytes: whatever is not understood counts as not said, and no value leaves its range. */
#ifndef SL_ENDPOINT_HEADERS_H
#define SL_ENDPOINT_HEADERS_H

#include "../base/bytes.h"

/* A limit as the server announced it; -1: not said. */
struct sl_announced {
	int64_t limit, remaining, reset_ms;
};

struct sl_reply_headers {
	int should_retry;       /* -1 not said, 0, 1 */
	int64_t retry_after_ms; /* -1 not said */
	struct sl_announced requests, tokens;
};

#define SL_HEADER_MS_MAX ((int64_t)366 * 86400 * 1000) /* nothing is announced for longer */

void sl_reply_headers_none(struct sl_reply_headers *h);
/* One header line, with or without its line end. A status line begins anew: what an interim answer or a proxy
 * said is forgotten. `wall_ms` turns dates into times from now. */
void sl_reply_headers_line(struct sl_reply_headers *h, struct sl_bytes line, int64_t wall_ms);

#endif
