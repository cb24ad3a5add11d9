/* http_call.h -- one HTTP request to the owner over its Unix socket (libcurl). */
#ifndef SL_HTTP_CALL_H
#define SL_HTTP_CALL_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

struct sl_http_caller; /* keeps the connection between calls; one thread at a time */

struct sl_http_response {
	long status;
	struct sl_buf body;
	/* Of the headers Sluice-Next, Sluice-End, Sluice-Mark; "" if absent. */
	char next[32], end[32], mark[128];
};

enum sl_http_outcome {
	SL_HTTP_ANSWERED, /* whatever the status */
	SL_HTTP_NOBODY,   /* nobody listens: nothing was sent */
	SL_HTTP_BROKEN    /* broke off: it may have been done */
};

/* `topology` goes into a header of every request; NULL: none. NULL on failure. */
struct sl_http_caller *sl_http_caller_new(const char *socket_path, const char *topology,
					  struct sl_error *e) SL_MUST_CHECK;
void sl_http_caller_free(struct sl_http_caller *h);
/* `body` absent: GET; else POST. `target` is path and query, escaped. Clears and fills `response`. */
enum sl_http_outcome sl_http_call(struct sl_http_caller *h, const char *target, struct sl_bytes body,
				  struct sl_http_response *response, struct sl_error *e);
/* Append a query value, percent-escaped. */
void sl_http_escape(struct sl_buf *to, const char *value);

#endif
