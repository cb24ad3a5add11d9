/* reload.h -- budgets as they are now: as the topology file said at the start, or when it was read again last. Private
 * to the runtime.
 *
 * `sluice reload` makes a running process read its file again, with the --set that it was started with. What changed of
 * `budget` and `budget_per_day` counts at once; everything else waits for a restart, and the report says what that is.
 * A file with an error changes nothing. Nothing is kept: the file is the truth, and a restart reads it. The topology of
 * the runtime stays what it was, so this is the one place that knows what may be spent.
 *
 * The report: {"file","sets",                              what was read, and with how many --set
 *              "changed":[{"of","key","from","to"}],       of: "endpoint 'judge'"; dollars, null: no limit
 *              "waits":[{"of","key","from","to"}]}         texts as in the plan; null: not there, key null: all of it
 *
 * Threads: limits are read and changed under rt->commit_lock. */
#ifndef SL_RELOAD_H
#define SL_RELOAD_H

#include "budget.h"

struct sl_runtime;

struct sl_limits {
	struct sl_limit *endpoints, *steps; /* as in the topology */
};

void sl_limits_init(struct sl_limits *l, const struct sl_topology *t);
void sl_limits_release(struct sl_limits *l);
/* What a task of the step may spend: of every endpoint, and of the step as the last. */
void sl_limits_shares(const struct sl_limits *l, const struct sl_topology *t, const struct sl_step *step,
		      struct sl_share *shares);

/* Take the lock. */
struct sl_limit sl_limit_of_endpoint(struct sl_runtime *rt, size_t endpoint);
struct sl_limit sl_limit_of_step(struct sl_runtime *rt, const struct sl_step *step);

#endif
