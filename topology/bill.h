/* bill.h -- what a task has spent and holds, as one small row for whoever does not have the task: private to the
 * runtime.
 *
 * On Kafka the truth (ledger.h) is where the task is. With its commits the task puts a copy of the sums into rt->meta,
 * key 'u' (store.h), when they are not what it told last, and once more when it is given up. So any process can say
 * what all have spent, as of those commits; a task that died may have spent more since. Embedded every task is here and
 * there are no such rows.
 *
 *     value    when (ms since 1970), what is parked, struct sl_ledger_counts in its order; then of each purse that
 *              was used: length of its name u16, name (of the step: ""), spent, day, spent of that day, held.
 *              Numbers are i64, little-endian
 *
 * Pure functions over bytes. */
#ifndef SL_BILL_H
#define SL_BILL_H

#include "calls.h"

#define SL_BILL_WHEN 8 /* bytes; what is behind them says whether anything has changed */

/* Of the step's purse, the last, the name is "". */
void sl_bill_put(struct sl_buf *to, int64_t when_ms, const struct sl_calls_stats *stats, const struct sl_purse *purses,
		 const char *const *names, size_t count);
/* Fills parked and counts of *stats, and spent, day, spent_day and held of the purses that have these names; all else
 * is 0. False: not a row of ours, and all is 0. */
bool sl_bill_get(struct sl_bytes value, int64_t *when_ms, struct sl_calls_stats *stats, struct sl_purse *purses,
		 const char *const *names, size_t count);

#endif
