/* http.h -- the little we need of libmicrohttpd, in one place: a daemon on a
 * listening socket, and a handler that gets a whole request and fills a whole reply.
 *
 * One thread per connection (few of them, and a training may take long), bodies
 * bounded while they arrive, so a request can never cost more than its limit. The handler runs on
 * a thread of the daemon and may be called by several at once. */
#ifndef SL_HTTP_H
#define SL_HTTP_H

#include "base/buf.h"
#include "base/error.h"

struct MHD_Connection;

struct sl_request {
	struct MHD_Connection *connection;
	const char *method, *path;
	struct sl_bytes body;
};

struct sl_reply {
	int status; /* 200 */
	const char *type;
	struct sl_buf body;
	struct {
		const char *name;
		char value[128];
	} headers[2]; /* name NULL: none */
};

typedef void sl_http_handler(void *arg, const struct sl_request *request, struct sl_reply *reply);

struct sl_http;

/* Serve on a listening socket, which is ours from here on, also on failure. NULL on failure. */
struct sl_http *sl_http_start(int listen_fd, size_t body_max_bytes, sl_http_handler *handler, void *arg,
			      struct sl_error *e) SL_MUST_CHECK;
/* Requests in progress are finished first. Safe on NULL. */
void sl_http_stop(struct sl_http *h);

/* A query parameter or request header; NULL if absent. */
const char *sl_request_query(const struct sl_request *r, const char *name);
const char *sl_request_header(const struct sl_request *r, const char *name);
/* A query parameter as a whole number in 0 .. most. */
bool sl_request_count(const struct sl_request *r, const char *name, int64_t most, int64_t *value,
		      struct sl_error *e) SL_MUST_CHECK;

/* A listening Unix socket at `path`, mode 0600; whatever was there is replaced. -1 on failure. */
int sl_http_listen_unix(const char *path, struct sl_error *e);
/* "127.0.0.1:9464", "[::1]:0"; *port is the one that was given. -1 on failure. */
int sl_http_listen_tcp(const char *address, int *port, struct sl_error *e);
/* A name for a Unix socket that fits sockaddr_un: `path` itself, or one through an
 * open folder where it is too long. Close *folder (-1: nothing to close) when done with the name. */
#define SL_UNIX_PATH_SIZE 108
bool sl_unix_path(const char *path, char to[SL_UNIX_PATH_SIZE], int *folder, struct sl_error *e) SL_MUST_CHECK;
/* Connect to a Unix socket; -1 with errno set. */
int sl_http_connect_unix(const char *path);

#endif
