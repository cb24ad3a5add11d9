/* server.h -- the owner's side of DIR/sluice.sock: every operation of runtime.h for
 * processes that do not hold the lock. wire.h has the routes. The socket can be used by
 * the folder's user only (mode 0600). Requests run on the server's threads, beside
 * the tasks. */
#ifndef SL_SERVER_H
#define SL_SERVER_H

#include "runtime.h"

struct sl_server;

/* `rt` is borrowed and must outlive the server. NULL on failure. */
struct sl_server *sl_server_start(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;
/* Requests in progress are answered first. Safe on NULL. */
void sl_server_stop(struct sl_server *s);

#endif
