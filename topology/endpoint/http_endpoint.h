/* http_endpoint.h -- an endpoint (../endpoint.h) over HTTP.
 *
 * A call waits in one queue until there is a way for it: a replica and a key whose circuits are closed (route.h), room
 * in the limits (limits.h). It is answered by any status that is an answer, and asked again as retry.h says:
 *
 *     429                       for as long as it takes: it never fails a call
 *     away (an open circuit)    it waits for that, in turn with the others; or_not: settled as SL_AWAY
 *     5xx, time-outs, breaks    `retries` times, then SL_GAVE_UP, unless the endpoint is away by then
 *     500 ten times             SL_GAVE_UP though the endpoint is away: it may be the question that the server cannot
 * bear
 *
 * Calls go out in the order they came. Threads: send, drain, describe and metrics from any; free from
 * one, when nobody else uses the endpoint any more. */
#ifndef SL_HTTP_ENDPOINT_H
#define SL_HTTP_ENDPOINT_H

#include "../endpoint.h"
#include "../topology.h"
#include "loop.h"

/* `def` is borrowed and outlives the endpoint; the loop too. Nothing is connected before the first call. */
struct sl_endpoint *sl_http_endpoint_new(struct sl_http_loop *loop, const struct sl_endpoint_def *def);

#endif
