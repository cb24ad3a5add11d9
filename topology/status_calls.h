/* status_calls.h -- what was asked outside and what it has cost, for status.c: private to the runtime. */
#ifndef SL_STATUS_CALLS_H
#define SL_STATUS_CALLS_H

#include "engine.h"

#include <jansson.h>

/* Of a step that asks:
 *     "calls": {"partitions","here",                 of its input; those that this process has, of which all else tells
 *               "elsewhere","as_of_ms",              others that rows tell of (bill.h), as of then or later: they are
 * in what is marked * "asked","hits","saved","sent","malformed","evicted",            since the units were opened
 *               "parked",*"batched","batch_failed","batch_lost","batches_done",     waiting for a batch now; since
 *               "batches":[{"endpoint","model","state","id","questions","since_ms","why"}],     now (batches.h)
 *               "repeated","unknown","lost","overshot","overshot_dollars",*    of all time
 *               "answers","bytes",*                                                in the memo
 *               "spent","reserved","budget","budget_per_day","spent_today","endpoints":[{"name","spent","reserved"}]*}
 * Money in dollars; budgets only where there are some. */
void sl_status_calls(struct sl_runtime *rt, const struct sl_step *step, json_t *to);
/* [{"name","model","spent","reserved","budget","budget_per_day", and what the endpoint says of itself}] */
json_t *sl_status_endpoints(struct sl_runtime *rt);
/* The same of all steps and endpoints, as Prometheus text, of this process alone: who scrapes all adds them up. */
void sl_metrics_calls(struct sl_runtime *rt, struct sl_buf *to);

#endif
