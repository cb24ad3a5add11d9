/* route.h -- by which replica and with which key a call goes.
 *
 * Each replica and each key is a lane with a circuit (circuit.h). What an answer says is charged to the one it
 * is about: no connection, 5xx, 404 and certificates to the replica, 401, 403, 429 and quotas to the key; any answer
 * at all shows that the replica lives. One that cannot be reached and has answered nobody for a second is away at once:
 * more tries would say the same; one that others talk to may only be short of connections, and has five. A lane that is
 * closed for now is left for the others, and when its pause is over the next call goes that way, to see. Of those that
 * are open to all the one with the fewest calls under way is taken. The endpoint is away when all replicas or all keys
 * have open circuits. Pure. */
#ifndef SL_ENDPOINT_ROUTE_H
#define SL_ENDPOINT_ROUTE_H

#include "circuit.h"
#include "limits.h"
#include "retry.h"

struct sl_lane {
	struct sl_circuit circuit;
	int64_t under_way;
	int64_t answered_at_ms; /* replicas: when it last did, 0: never */
	/* Keys only. */
	int64_t paused_until_ms, throttled_at_ms;
	uint32_t throttles; /* round trips with a 429, in a row */
	struct sl_allowance requests, tokens;
};

struct sl_route {
	struct sl_lane *replicas, *keys;
	size_t replica_count, key_count;
	size_t turn; /* where the search among equals begins */
};

struct sl_path {
	size_t replica, key;
	bool replica_probe, key_probe;
};

/* False: none now; *wait_ms says when one may be (SL_NEVER_MS: when a call ends). */
bool sl_route_choose(struct sl_route *r, double tokens, int64_t now_ms, struct sl_path *path, int64_t *wait_ms);
void sl_route_enter(struct sl_route *r, struct sl_path *path, double tokens);
/* The call that went by `path` has ended. */
void sl_route_ended(struct sl_route *r, const struct sl_path *path, enum sl_reply_class c,
		    const struct sl_reply_headers *h, const char *why, int64_t sent_at_ms, int64_t now_ms,
		    double random);
/* It was given up by us: nothing is known. */
void sl_route_aborted(struct sl_route *r, const struct sl_path *path);

/* The circuit by which the endpoint is away; NULL: it is not. */
const struct sl_circuit *sl_route_away(const struct sl_route *r);
/* Every key that could be used waits because the server said so. */
bool sl_route_throttled(const struct sl_route *r, int64_t now_ms);

#endif
