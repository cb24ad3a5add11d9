/* http.c -- see http.h.
 *
 * libmicrohttpd calls `access` once when the head of a request is read, then for each piece of
 * its body, then once more; struct exchange carries a request through these calls and is
 * freed in `completed`. `active` counts exchanges between the handler's start and the
 * last byte of the reply, so that stopping can let them finish. */
#include "http.h"

#include "base/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define IDLE_SECONDS 30

struct sl_http {
	struct MHD_Daemon *daemon;
	sl_http_handler *handler;
	void *arg;
	size_t body_max_bytes;
	pthread_mutex_t mutex;
	pthread_cond_t quiet;
	size_t active; /* under mutex */
	bool stopping; /* under mutex */
};

struct exchange {
	struct sl_buf body;
	bool begun; /* counted in active */
};

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct sl_reply *reply)
{
	struct MHD_Response *response;
	enum MHD_Result ok;

	response = MHD_create_response_from_buffer(reply->body.size, reply->body.data, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
	for (size_t i = 0; i < sizeof reply->headers / sizeof *reply->headers; i++)
		if (reply->headers[i].name)
			MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
	ok = MHD_queue_response(connection, (unsigned)reply->status, response);
	MHD_destroy_response(response);
	return ok;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, int status, const char *verdict, const char *text)
{
	struct sl_reply reply = { .status = status, .type = "application/json" };
	enum MHD_Result ok;

	sl_buf_print(&reply.body, "{\"verdict\":\"%s\",\"text\":\"%s\"}", verdict, text);
	ok = send_reply(connection, &reply);
	sl_buf_release(&reply.body);
	return ok;
}

static bool announced_too_long(struct MHD_Connection *connection, size_t most)
{
	const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return text && strtoull(text, NULL, 10) > most;
}

static bool begin(struct sl_http *h, struct exchange *x)
{
	bool go;

	sl_lock(&h->mutex);
	go = !h->stopping;
	if (go) {
		h->active++;
		x->begun = true;
	}
	sl_unlock(&h->mutex);
	return go;
}

static enum MHD_Result answer(struct sl_http *h, struct MHD_Connection *connection, const char *path,
			      const char *method, const struct exchange *x)
{
	struct sl_reply reply = { .status = 200, .type = "application/octet-stream" };
	struct sl_request request = {
		.connection = connection, .method = method, .path = path, .body = sl_buf_bytes(&x->body)
	};
	enum MHD_Result ok;

	h->handler(h->arg, &request, &reply);
	ok = send_reply(connection, &reply);
	sl_buf_release(&reply.body);
	return ok;
}

static enum MHD_Result access_handler(void *arg, struct MHD_Connection *connection, const char *path,
				      const char *method, const char *version, const char *data, size_t *size,
				      void **state)
{
	struct sl_http *h = arg;
	struct exchange *x = *state;

	(void)version;
	if (!x) {
		x = sl_calloc(1, sizeof *x);
		*state = x;
		if (announced_too_long(connection, h->body_max_bytes))
			return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "stop", "the request is too large");
		return MHD_YES;
	}
	if (*size > 0) {
		if (*size > h->body_max_bytes - x->body.size)
			return MHD_NO; /* no length was announced: cut the connection */
		sl_buf_add(&x->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!begin(h, x))
		return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "retry",
			      "the owner of the data folder is leaving");
	return answer(h, connection, path, method, x);
}

static void completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	struct sl_http *h = arg;
	struct exchange *x = *state;

	(void)connection;
	(void)code;
	if (!x)
		return;
	if (x->begun) {
		sl_lock(&h->mutex);
		if (--h->active == 0)
			sl_cond_broadcast(&h->quiet);
		sl_unlock(&h->mutex);
	}
	sl_buf_release(&x->body);
	free(x);
	*state = NULL;
}

/* What the library has to say about broken peers is of no use to anybody. */
static void silent(void *arg, const char *fmt, va_list values)
{
	(void)arg;
	(void)fmt;
	(void)values;
}

struct sl_http *sl_http_start(int listen_fd, size_t body_max_bytes, sl_http_handler *handler, void *arg,
			      struct sl_error *e)
{
	struct sl_http *h = sl_calloc(1, sizeof *h);

	h->handler = handler;
	h->arg = arg;
	h->body_max_bytes = body_max_bytes;
	sl_mutex_init(&h->mutex);
	sl_cond_init(&h->quiet);
	h->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
					     MHD_USE_ITC | MHD_USE_ERROR_LOG,
				     0, NULL, NULL, access_handler, h, MHD_OPTION_EXTERNAL_LOGGER, silent, NULL,
				     MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
				     MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_END);
	if (h->daemon)
		return h;
	sl_error_set(e, SL_STOP, "cannot start the HTTP server");
	close(listen_fd);
	sl_cond_destroy(&h->quiet);
	sl_mutex_destroy(&h->mutex);
	free(h);
	return NULL;
}

void sl_http_stop(struct sl_http *h)
{
	int listen_fd;

	if (!h)
		return;
	listen_fd = MHD_quiesce_daemon(h->daemon);
	sl_lock(&h->mutex);
	h->stopping = true;
	while (h->active > 0)
		sl_cond_wait(&h->quiet, &h->mutex);
	sl_unlock(&h->mutex);
	MHD_stop_daemon(h->daemon);
	if (listen_fd >= 0)
		close(listen_fd);
	sl_cond_destroy(&h->quiet);
	sl_mutex_destroy(&h->mutex);
	free(h);
}

const char *sl_request_query(const struct sl_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *sl_request_header(const struct sl_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

bool sl_request_count(const struct sl_request *r, const char *name, int64_t most, int64_t *value, struct sl_error *e)
{
	const char *text = sl_request_query(r, name);

	*value = 0;
	if (!text || !*text)
		return sl_error_set(e, SL_STOP, "the request has no '%s'", name);
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || *value > (most - (*p - '0')) / 10)
			return sl_error_set(e, SL_STOP, "'%s' must be a whole number in 0 .. %lld", name,
					    (long long)most);
		*value = *value * 10 + (*p - '0');
	}
	return true;
}

bool sl_unix_path(const char *path, char to[SL_UNIX_PATH_SIZE], int *folder, struct sl_error *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	*folder = -1;
	if (strlen(path) < SL_UNIX_PATH_SIZE) {
		memcpy(to, path, strlen(path) + 1);
		return true;
	}
	if (slash) {
		char *parent = sl_strdup(path);

		parent[slash - path] = 0;
		*folder = open(*parent ? parent : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		free(parent);
	}
	if (*folder < 0)
		return sl_error_errno(e, SL_STOP, "cannot open the folder of '%s'", path);
	if (snprintf(to, SL_UNIX_PATH_SIZE, "/proc/self/fd/%d/%s", *folder, name) < SL_UNIX_PATH_SIZE)
		return true;
	close(*folder);
	*folder = -1;
	return sl_error_set(e, SL_STOP, "the name of the socket '%s' is too long", name);
}

static void unix_address(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, path, strlen(path) + 1);
}

_Static_assert(sizeof((struct sockaddr_un *)0)->sun_path == SL_UNIX_PATH_SIZE, "as on Linux");

int sl_http_listen_unix(const char *path, struct sl_error *e)
{
	struct sockaddr_un address;
	char fitting[SL_UNIX_PATH_SIZE];
	int folder, fd;

	if (!sl_unix_path(path, fitting, &folder, e))
		return -1;
	unix_address(fitting, &address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		goto failed;
	if (unlink(fitting) != 0 && errno != ENOENT)
		goto failed;
	/* Nobody may connect before listen(), so the mode is right before anybody can. */
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(fitting, 0600) != 0 ||
	    listen(fd, CONNECTIONS_MAX) != 0)
		goto failed;
	if (folder >= 0)
		close(folder);
	return fd;
failed:
	sl_error_errno(e, SL_STOP, "cannot listen on '%s'", path);
	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	return -1;
}

int sl_http_connect_unix(const char *path)
{
	struct sockaddr_un address;
	struct sl_error ignored;
	char fitting[SL_UNIX_PATH_SIZE];
	int folder, fd, cause;

	if (!sl_unix_path(path, fitting, &folder, &ignored)) {
		errno = ENOENT;
		return -1;
	}
	unix_address(fitting, &address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cause = errno;
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		cause = errno;
		close(fd);
		fd = -1;
	}
	if (folder >= 0)
		close(folder);
	errno = cause;
	return fd;
}

/* "host:port" or "[host]:port" into its halves. */
static bool split(const char *address, char host[256], const char **port)
{
	const char *colon = strrchr(address, ':'), *from = address, *to;

	if (!colon || !colon[1])
		return false;
	to = colon;
	if (*from == '[') {
		if (to == from || to[-1] != ']')
			return false;
		from++;
		to--;
	}
	if (to <= from || to - from > 255)
		return false;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = 0;
	*port = colon + 1;
	return true;
}

int sl_http_listen_tcp(const char *address, int *port, struct sl_error *e)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	struct sockaddr_storage bound;
	socklen_t size = sizeof bound;
	const char *service;
	char host[256];
	int fd = -1, one = 1, code;

	if (!split(address, host, &service)) {
		sl_error_set(e, SL_STOP, "'%s' is not an address to listen on, expected HOST:PORT", address);
		return -1;
	}
	code = getaddrinfo(host, service, &hints, &found);
	if (code != 0) {
		sl_error_set(e, SL_STOP, "cannot listen on '%s': %s", address, gai_strerror(code));
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, CONNECTIONS_MAX) != 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) != 0) {
		sl_error_errno(e, SL_STOP, "cannot listen on '%s'", address);
		if (fd >= 0)
			close(fd);
		fd = -1;
	} else {
		*port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
							  : ((struct sockaddr_in *)&bound)->sin_port);
	}
	freeaddrinfo(found);
	return fd;
}
