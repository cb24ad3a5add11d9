/* live.h -- what `run` shows while it runs: on a terminal a table that is redrawn in place,
 * elsewhere a line now and then. All on stderr. */
#ifndef SL_LIVE_H
#define SL_LIVE_H

#include "runtime.h"

struct sl_live;

/* `until_idle`: also how far it is and when it will be done, by the rates so far. */
struct sl_live *sl_live_new(bool until_idle);
/* To be called about twice a second; decides itself what to draw. */
void sl_live_show(struct sl_live *l, struct sl_runtime *rt);
/* The last state: on stdout, as a table or as the status in JSON. */
void sl_live_end(struct sl_live *l, struct sl_runtime *rt, bool json);
void sl_live_free(struct sl_live *l);

#endif
