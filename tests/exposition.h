/* exposition.h -- a strict reader of what /metrics says: the text format of Prometheus (version 0.0.4), and no laxness
 * that one of its readers may not share.
 *
 * Every family is one block: HELP, TYPE, then its samples and no others. A family comes once, a series comes once.
 * Names and label names are well formed, label values escape backslash, quote and line end and nothing else; values are
 * finite, counters not negative, buckets in order, cumulative, up to +Inf, with a sum and a count that agree. */
#ifndef SL_EXPOSITION_H
#define SL_EXPOSITION_H

#include "topology/base/error.h"

/* False: what is wrong, with the number of the line. */
bool sl_exposition_check(const char *text, struct sl_error *e);

#endif
