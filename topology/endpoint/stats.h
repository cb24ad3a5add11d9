/* stats.h -- what an endpoint counts, and how it tells it: JSON for `status`, Prometheus text for /metrics. */
#ifndef SL_ENDPOINT_STATS_H
#define SL_ENDPOINT_STATS_H

#include "../base/buf.h"
#include "retry.h"

#define SL_LATENCIES 12 /* and one for all that took longer */

struct sl_endpoint_stats {
	int64_t calls, settled; /* handed over; given back */
	int64_t attempts, retries, unknown, halvings;
	int64_t classes[SL_REPLY_CLASSES]; /* how attempts ended */
	int64_t latencies[SL_LATENCIES + 1], latency_ms;
	int64_t bytes_sent, bytes_received;
};
void sl_endpoint_stats_latency(struct sl_endpoint_stats *s, int64_t ms);

/* What is true at the moment. */
struct sl_endpoint_now {
	const char *name, *state, *why; /* why: "" when there is nothing to say */
	int64_t waiting, in_flight, limit;
	int64_t next_try_ms; /* away: until it is tried again; else -1 */
};
/* Members of an object, without braces. */
void sl_endpoint_stats_json(const struct sl_endpoint_stats *s, const struct sl_endpoint_now *now, struct sl_buf *json);

struct sl_endpoint_reading {
	struct sl_endpoint_stats stats;
	struct sl_endpoint_now now; /* its why is "" */
};
/* One family after the other, each with all endpoints. */
void sl_endpoint_stats_metrics(const struct sl_endpoint_reading *all, size_t count, struct sl_buf *text);

#endif
