/* metrics_server.h -- Prometheus and probes on TCP, read-only:
 *
 *     /metrics   sl_runtime_metrics
 *     /healthz   200 while the process serves
 *     /readyz    200 while the steps run and none has failed; else 503 and why
 *
 * There is no access control: the default address is the loopback, and another one in
 * the topology file is the user's decision. */
#ifndef SL_METRICS_SERVER_H
#define SL_METRICS_SERVER_H

#include "runtime.h"

struct sl_metrics_server;

/* On "HOST:PORT"; port 0 takes a free one, *port says which. `rt` outlives it. NULL on failure. */
struct sl_metrics_server *sl_metrics_server_start(struct sl_runtime *rt, const char *address, int *port,
						  struct sl_error *e) SL_MUST_CHECK;
void sl_metrics_server_stop(struct sl_metrics_server *s);

#endif
