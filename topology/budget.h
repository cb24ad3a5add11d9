/* budget.h -- what calls cost and what a task may still spend. Pure arithmetic; calls.c keeps the rows.
 *
 * Money is in micro-dollars: dollars per million tokens are micro-dollars per token. A budget (of an endpoint, of a
 * step) is in dollars and is split evenly over the tasks that can spend it, so that each knows without asking anybody
 * what it may do: a purse. Before a call is sent the most that it can cost is held back in two purses, the endpoint's
 * and the step's; when it is settled, what it did cost is spent. So at every instant
 *
 *     spent + held <= share,    total and of the day
 *
 * but for a server that uses more than it was allowed to (counted by calls.c as overshoot), and for a share that was
 * made smaller than that (reload.c): then nothing is sent until it fits again.
 *
 * A day is a day of UTC. What is held at midnight counts for the new day. A clock that goes back opens no new day. */
#ifndef SL_BUDGET_H
#define SL_BUDGET_H

#include "topology.h"

#define SL_DAY_MS INT64_C(86400000)

/* What one attempt has cost, rounded up. `price` NULL: 0. */
int64_t sl_price_cost(const struct sl_price *price, const struct sl_usage *usage);
/* The most that one attempt can cost: no token is shorter than a byte, and servers put a few around each message. */
int64_t sl_price_most(const struct sl_price *price, size_t body_bytes, int64_t tokens_max);

/* A part (0 to 1) of an amount, rounded up. */
int64_t sl_price_part(int64_t amount, double part);

/* All in micro-dollars. */
struct sl_purse {
	int64_t share, share_day; /* negative: no limit */
	int64_t spent, spent_day, day;
	int64_t held;
};

/* The purse as of this day (days since 1970). */
void sl_purse_day(struct sl_purse *p, int64_t day);
/* Is there so much left, of the total and of the day? */
bool sl_purse_fits(const struct sl_purse *p, int64_t amount);
/* Would there be if nothing were held? */
bool sl_purse_could(const struct sl_purse *p, int64_t amount);
void sl_purse_hold(struct sl_purse *p, int64_t amount);
/* What was held is let go; `cost` of it is spent. */
void sl_purse_settle(struct sl_purse *p, int64_t held, int64_t cost);
/* "budget of endpoint 'gpt' is spent: $0.91 of $1.00, $0.08 reserved" and, when a single call asks for more than
 * the share, that. `what`: "endpoint 'gpt'"; `amount`: of the call that does not fit. */
void sl_purse_say(const struct sl_purse *p, const char *what, int64_t amount, struct sl_buf *to);

/* What may be spent, in dollars; negative: no limit. */
struct sl_limit {
	double all, per_day;
};
/* What a purse may spend of it, in micro-dollars; negative: no limit. */
struct sl_share {
	int64_t all, day;
};

/* May the step ask the endpoint? Its options name it, or none of them names any. */
bool sl_budget_may_ask(const struct sl_step *s, const char *endpoint);
/* How many tasks can spend the budget of endpoint i: the partitions of every step with an option that names it. A step
 * that asks and has no such option may ask any. At least 1. */
int64_t sl_budget_tasks(const struct sl_topology *t, size_t endpoint);
/* The part of `dollars` that is one of `tasks`; negative dollars: -1. */
int64_t sl_budget_share(double dollars, int64_t tasks);
struct sl_share sl_limit_share(struct sl_limit limit, int64_t tasks);

#endif
