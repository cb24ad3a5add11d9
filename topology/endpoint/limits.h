/* limits.h -- how much may be sent: three limits, each pure, with time in monotonic milliseconds from outside.
 *
 *     bucket      ours: so many requests, or tokens, a minute, spread evenly over it
 *     allowance   the server's: what x-ratelimit headers say is left, until it says otherwise
 *     window      how many calls are under way at once: halved by a 429, but once per round trip only (those that were
 *                 sent before the last halving say nothing about the new size), and growing by one (3 %, where
 *                 that is more) for every window of good answers, up to the ceiling */
#ifndef SL_ENDPOINT_LIMITS_H
#define SL_ENDPOINT_LIMITS_H

#include "headers.h"

#define SL_NEVER_MS INT64_MAX

struct sl_bucket {
	double per_ms, capacity, level;
	int64_t at_ms;
};
void sl_bucket_init(struct sl_bucket *b, int64_t per_minute, int64_t now_ms); /* 0: no limit */
/* How long until `cost` may be taken. What is more than the bucket holds may go when it is full, on credit. */
int64_t sl_bucket_wait_ms(struct sl_bucket *b, double cost, int64_t now_ms);
void sl_bucket_take(struct sl_bucket *b, double cost);
/* It cost less (or, negative, more) than was taken: at most a minute's worth, whatever a server says. */
void sl_bucket_give(struct sl_bucket *b, double cost);

struct sl_allowance {
	bool known;
	double left, per_ms; /* per_ms: how fast it comes back; 0: all at once, at the reset */
	int64_t at_ms, reset_at_ms;
};
void sl_allowance_said(struct sl_allowance *a, const struct sl_announced *said, int64_t now_ms);
void sl_allowance_take(struct sl_allowance *a, double cost);
int64_t sl_allowance_wait_ms(const struct sl_allowance *a, double cost, int64_t now_ms);

struct sl_window {
	double size;
	int64_t ceiling, halved_at_ms;
};
void sl_window_init(struct sl_window *w, int64_t ceiling);
int64_t sl_window_size(const struct sl_window *w);
void sl_window_good(struct sl_window *w);
/* True: it was halved. */
bool sl_window_throttled(struct sl_window *w, int64_t sent_at_ms, int64_t now_ms);

#endif
