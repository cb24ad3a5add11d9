/* request.h -- what the requests of an endpoint carry: addresses, versions, headers with keys. Made once; an attempt
 * borrows from it. */
#ifndef SL_ENDPOINT_REQUEST_H
#define SL_ENDPOINT_REQUEST_H

#include "../endpoint.h"
#include "../topology.h"
#include "loop.h"

struct sl_requests {
	const struct sl_endpoint_def *def;
	size_t key_count; /* at least 1: no key is one without a header */
	char **urls;      /* per replica, without a slash at the end */
	bool *loopback, *pipewait;
	struct curl_slist **headers, **forms; /* per key; forms: for a body that is one */
	struct sl_buf url;                    /* of the request being made */
};

/* `def` is borrowed. */
void sl_requests_init(struct sl_requests *r, const struct sl_endpoint_def *def);
void sl_requests_release(struct sl_requests *r);
/* Make the attempt the request of this call, by this replica and with this key. Its body stays the call's. */
void sl_requests_set(struct sl_requests *r, struct sl_http_attempt *a, const struct sl_outcall *call, size_t replica,
		     size_t key);

#endif
