/* check.h -- are the options of every step fit for work? Asked before there is a record to work on: an operator that
 * would fail at its first pair, hours later, because of a prompt file that is not there, is told of at once. */
#ifndef SL_CHECK_H
#define SL_CHECK_H

#include "topology.h"

/* Opens every operator as a task would, on no rows, and closes it. `only`: names of steps; count 0: all. `data`: the
 * folder, which need not be there. False: what the first one that cannot work said, with the name of its step. */
bool sl_topology_check(const struct sl_topology *t, const char *data, const char *const *only, size_t only_count,
		       struct sl_error *e) SL_MUST_CHECK;

#endif
