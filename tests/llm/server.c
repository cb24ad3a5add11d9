/* server.c -- sluice-llm: sockets, HTTP/1.1 and time, in one thread.
 *
 * A connection reads a request, waits until its answer is due, writes it, and reads on. What is due when stands in
 * a heap, and epoll sleeps until the first of them: nothing sleeps by itself. Bytes that come meanwhile are kept: they
 * are the next request. A client that leaves is forgotten at once, but what it asked for stays paid. */
#include "llm.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX (64 << 10)
#define BODY_MAX (256 << 20)
#define DRIPS 20 /* in so many pieces drips an answer */

enum state { READING, WAITING, WRITING, HUNG };

struct conn {
	int fd;
	SSL *ssl; /* NULL: plain */
	enum state state;
	uint32_t events; /* as epoll knows them */
	bool stuck;      /* writing waits for the client */
	struct sl_buf in;
	size_t head_size, body_size; /* of the request in `in`; head_size 0: not whole yet */
	bool in_chunks, keep, continued;
	struct sl_buf out;
	size_t out_at, out_end; /* sent so far, and may be sent by now */
	enum manner manner;
	bool working, paid;
	int64_t due_ns;
	size_t heap_at; /* from 1; 0: no timer */
};

static struct server server = { .price = 1 };
static SSL_CTX *tls;
static int epoll_fd;
static struct conn **heap; /* heap[1] is due first */
static size_t heap_count, heap_capacity;
static uint64_t serials;
static volatile sig_atomic_t stopping;

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void gone(const char *what)
{
	fprintf(stderr, "sluice-llm: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* -- Timers -------------------------------------------------------------------------------------------------- */

static void heap_put(size_t at, struct conn *c)
{
	heap[at] = c;
	c->heap_at = at;
}

static void heap_up(size_t at)
{
	struct conn *c = heap[at];

	for (; at > 1 && heap[at / 2]->due_ns > c->due_ns; at /= 2)
		heap_put(at, heap[at / 2]);
	heap_put(at, c);
}

static void heap_down(size_t at)
{
	struct conn *c = heap[at];

	for (size_t child; (child = 2 * at) <= heap_count; at = child) {
		child += child < heap_count && heap[child + 1]->due_ns < heap[child]->due_ns;
		if (heap[child]->due_ns >= c->due_ns)
			break;
		heap_put(at, heap[child]);
	}
	heap_put(at, c);
}

static void timer_stop(struct conn *c)
{
	size_t at = c->heap_at;
	struct conn *last;

	if (!at)
		return;
	c->heap_at = 0;
	last = heap[heap_count--];
	if (last == c)
		return;
	heap_put(at, last);
	heap_up(at);
	heap_down(last->heap_at);
}

static void timer_start(struct conn *c, int64_t in_ns)
{
	timer_stop(c);
	c->due_ns = now_ns() + in_ns;
	if (heap_count + 2 > heap_capacity) {
		heap_capacity = heap_capacity ? 2 * heap_capacity : 64;
		heap = sl_realloc(heap, heap_capacity * sizeof(struct conn *));
	}
	heap_put(++heap_count, c);
	heap_up(heap_count);
}

/* -- Connections --------------------------------------------------------------------------------------------- */

static void working(struct conn *c, bool is)
{
	struct counts *n = &server.counts;

	n->working += is - c->working;
	c->working = is;
	if (n->working > n->working_most)
		n->working_most = n->working;
}

static void drop(struct conn *c, bool reset)
{
	struct linger at_once = { .l_onoff = 1 };

	timer_stop(c);
	working(c, false);
	server.counts.cut += c->paid;
	server.counts.connections--;
	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	else if (c->ssl)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	close(c->fd);
	sl_buf_release(&c->in);
	sl_buf_release(&c->out);
	free(c);
}

static void watch(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN | (c->stuck ? EPOLLOUT : 0), .data.ptr = c };

	if (ev.events != c->events && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) != 0)
		gone("cannot watch a connection");
	c->events = ev.events;
}

static void accept_all(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
		struct conn *c;
		struct epoll_event ev = { .events = EPOLLIN };

		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		c = sl_calloc(1, sizeof *c);
		c->fd = fd;
		c->events = EPOLLIN;
		ev.data.ptr = c;
		if (tls) {
			c->ssl = SSL_new(tls);
			SSL_set_fd(c->ssl, fd);
			SSL_set_accept_state(c->ssl);
		}
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
			gone("cannot watch a connection");
		server.counts.accepted++;
		if (++server.counts.connections > server.counts.connections_most)
			server.counts.connections_most = server.counts.connections;
	}
}

/* As recv() and send(): -1 with EAGAIN when it must wait. */
static ssize_t tls_done(struct conn *c, int n)
{
	int why = SSL_get_error(c->ssl, n);

	ERR_clear_error();
	if (n > 0)
		return n;
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
	return -1;
}

static ssize_t conn_read(struct conn *c, void *to, size_t size)
{
	return c->ssl ? tls_done(c, SSL_read(c->ssl, to, (int)size)) : recv(c->fd, to, size, 0);
}

static ssize_t conn_write(struct conn *c, const void *from, size_t size)
{
	return c->ssl ? tls_done(c, SSL_write(c->ssl, from, (int)size)) : send(c->fd, from, size, MSG_NOSIGNAL);
}

/* -- Answers out --------------------------------------------------------------------------------------------- */

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 404:
		return "Not Found";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 429:
		return "Too Many Requests";
	case 503:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

static void put_body(struct conn *c, const struct sl_buf *body)
{
	if (!server.set.chunked) {
		sl_buf_add(&c->out, body->data, body->size);
		return;
	}
	for (size_t at = 0, size; at < body->size; at += size) {
		size = (body->size - at + 2) / 3;
		sl_buf_print(&c->out, "%zx\r\n", size);
		sl_buf_add(&c->out, body->data + at, size);
		sl_buf_print(&c->out, "\r\n");
	}
	sl_buf_print(&c->out, "0\r\n\r\n");
}

static void put_reply(struct conn *c, const struct reply *r)
{
	sl_buf_clear(&c->out);
	c->out_at = 0;
	if (r->manner == MANNER_GARBAGE) {
		for (uint64_t i = 0; i < 64; i++)
			sl_buf_add_byte(&c->out, (uint8_t)sl_mix64(serials + i));
	} else {
		sl_buf_print(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nx-request-id: r-%llu\r\n", r->status,
			     reason_of(r->status), r->type, (unsigned long long)serials);
		sl_buf_add(&c->out, r->headers.data, r->headers.size);
		if (server.set.chunked)
			sl_buf_print(&c->out, "Transfer-Encoding: chunked\r\n");
		else
			sl_buf_print(&c->out, "Content-Length: %zu\r\n", r->body.size);
		sl_buf_print(&c->out, "%s\r\n", c->keep ? "" : "Connection: close\r\n");
		put_body(c, &r->body);
	}
	c->out_end = c->out.size;
	if (r->manner == MANNER_HALF)
		c->out_end = c->out.size - r->body.size / 2 - 1;
	else if (r->manner == MANNER_DRIP)
		c->out_end = c->out.size / DRIPS;
}

static bool take_requests(struct conn *c);

/* False: the connection is gone. */
static bool write_some(struct conn *c)
{
	while (c->out_at < c->out_end) {
		ssize_t n = conn_write(c, c->out.data + c->out_at, c->out_end - c->out_at);

		if (n < 0 && errno == EAGAIN) {
			c->stuck = true;
			watch(c);
			return true;
		}
		if (n <= 0) {
			drop(c, false);
			return false;
		}
		c->out_at += (size_t)n;
	}
	c->stuck = false;
	if (c->manner == MANNER_DRIP && c->out_at < c->out.size) {
		timer_start(c, server.set.drip_ms * 1000000);
		watch(c);
		return true;
	}
	working(c, false);
	if (c->manner == MANNER_GARBAGE || c->manner == MANNER_HALF) {
		drop(c, false);
		return false;
	}
	server.counts.delivered += c->paid;
	c->paid = false;
	if (!c->keep) {
		drop(c, false);
		return false;
	}
	c->state = READING;
	watch(c);
	return take_requests(c);
}

/* What waited is due. */
static bool due(struct conn *c)
{
	if (c->state == WRITING) { /* the next drop of a drip */
		c->out_end += c->out.size / DRIPS + 1;
		if (c->out_end > c->out.size)
			c->out_end = c->out.size;
	}
	c->state = WRITING;
	if (c->manner == MANNER_RESET) {
		drop(c, true);
		return false;
	}
	return write_some(c);
}

static int64_t latency_ns(void)
{
	double ms = server.set.latency_ms;
	uint64_t seed = (uint64_t)server.set.seed;

	if (server.set.sigma > 0)
		ms *= exp(server.set.sigma * sqrt(-2 * log(1 - draw(seed, "u", serials, 0))) *
			  cos(2 * M_PI * draw(seed, "v", serials, 0)));
	return (int64_t)(ms * 1e6);
}

/* -- Requests in --------------------------------------------------------------------------------------------- */

/* The value of a header, in place: the head is cut up. "" when absent. */
static const char *header(char *head, const char *name)
{
	size_t size = strlen(name);

	for (char *line = head; (line = strstr(line, "\r\n")) != NULL;) {
		line += 2;
		if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
			char *value = line + size + 1;

			return value + strspn(value, " ");
		}
	}
	return "";
}

static void copy_value(char *to, size_t size, const char *value)
{
	size_t n = strcspn(value, "\r");

	snprintf(to, size, "%.*s", (int)(n < size ? n : size - 1), value);
}

/* Chunks behind the head as one body, in place. 0: more is to come, 1: whole, -1: no chunks. *end: behind them. */
static int unchunk(uint8_t *from, size_t size, size_t *body_size, size_t *end)
{
	size_t at = 0, to = 0;

	for (int pass = 0; pass < 2; pass++) { /* first look whether all is there, then move */
		at = to = 0;
		for (;;) {
			uint8_t *nl = at < size ? memmem(from + at, size - at, "\r\n", 2) : NULL;
			char *rest;
			size_t n;

			if (!nl)
				return 0;
			n = strtoul((char *)from + at, &rest, 16);
			if (rest == (char *)from + at || n > BODY_MAX)
				return -1;
			at = (size_t)(nl - from) + 2;
			if (size - at < n + 2)
				return 0;
			if (pass)
				memmove(from + to, from + at, n);
			at += n + 2;
			to += n;
			if (n == 0)
				break;
		}
	}
	*body_size = to;
	*end = at;
	return 1;
}

static void log_line(const struct request *q, const struct reply *r)
{
	if (server.log)
		fprintf(server.log, "%llu %s %s %016llx %d manner=%d paid=%d bytes=%zu\n", (unsigned long long)serials,
			q->method, q->path, (unsigned long long)sl_hash64(q->body.data, q->body.size, 0), r->status,
			(int)r->manner, r->paid, q->body.size);
}

/* A whole request stands in `in`. False: the connection is gone. */
static bool handle(struct conn *c, size_t consumed)
{
	char *head = (char *)c->in.data, method[16] = "", path[256] = "", key[256] = "", type[256] = "";
	struct reply r = { 0 };
	struct request q = { method, path, "", key, type, { head + c->head_size, c->body_size } };
	char *query;

	head[c->head_size - 1] = 0; /* the last \n of the head */
	sscanf(head, "%15s %255s", method, path);
	if ((query = strchr(path, '?')) != NULL) {
		*query = 0;
		q.query = query + 1;
	}
	copy_value(key, sizeof key, header(head, "Authorization"));
	if (strncasecmp(key, "Bearer ", 7) == 0)
		q.key = key + 7;
	copy_value(type, sizeof type, header(head, "Content-Type"));
	c->keep = !server.set.close && strncasecmp(header(head, "Connection"), "close", 5) != 0;
	serials++;
	serve(&server, &q, &r);
	server.counts.statuses[r.status < 600 ? r.status : 0]++;
	log_line(&q, &r);
	c->manner = r.manner;
	c->paid = r.paid;
	put_reply(c, &r);
	reply_release(&r);
	memmove(c->in.data, c->in.data + consumed, c->in.size - consumed);
	c->in.size -= consumed;
	c->head_size = 0;
	c->continued = false;
	c->state = WAITING;
	working(c, r.slow);
	if (r.manner == MANNER_NEVER) {
		c->state = HUNG;
		return true;
	}
	if (r.slow && server.set.latency_ms > 0) {
		timer_start(c, latency_ns());
		return true;
	}
	return due(c);
}

/* 1: a head is there, 0: not yet, -1: it is none. */
static int find_head(struct conn *c)
{
	const uint8_t *end = memmem(c->in.data, c->in.size, "\r\n\r\n", 4);
	char *head;

	if (!end)
		return c->in.size > HEAD_MAX ? -1 : 0;
	c->head_size = (size_t)(end - c->in.data) + 4;
	head = sl_malloc(c->head_size + 1);
	memcpy(head, c->in.data, c->head_size);
	head[c->head_size] = 0;
	c->body_size = strtoul(header(head, "Content-Length"), NULL, 10);
	c->in_chunks = strncasecmp(header(head, "Transfer-Encoding"), "chunked", 7) == 0;
	if (strncasecmp(header(head, "Expect"), "100-continue", 12) == 0 && !c->continued) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

		c->continued = conn_write(c, go_on, sizeof go_on - 1) > 0;
	}
	free(head);
	return c->body_size > BODY_MAX ? -1 : 1;
}

/* All that stand in `in`, one after the other. False: the connection is gone. */
static bool take_requests(struct conn *c)
{
	while (c->state == READING && c->in.size > 0) {
		int found = c->head_size ? 1 : find_head(c);
		size_t end = c->head_size + c->body_size;

		if (found > 0 && c->in_chunks) {
			sl_buf_reserve(&c->in, 1);
			c->in.data[c->in.size] = 0; /* for strtoul */
			found = unchunk(c->in.data + c->head_size, c->in.size - c->head_size, &c->body_size, &end);
			end += c->head_size;
		}
		if (found < 0) {
			drop(c, false);
			return false;
		}
		if (found == 0 || c->in.size < end)
			return true;
		return handle(c, end);
	}
	return true;
}

static void readable(struct conn *c)
{
	for (;;) {
		ssize_t n = conn_read(c, sl_buf_reserve(&c->in, 16 << 10), 16 << 10);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) { /* a client that says no more wants no more: it is gone */
			drop(c, false);
			return;
		}
		c->in.size += (size_t)n;
		if (c->in.size > (size_t)BODY_MAX + HEAD_MAX) {
			drop(c, true);
			return;
		}
		if (n < 16 << 10 && !c->ssl)
			break;
	}
	take_requests(c);
}

/* -- The loop ------------------------------------------------------------------------------------------------ */

static int open_listener(int64_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
	socklen_t size = sizeof a;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &size) != 0)
		gone("cannot listen");
	*port = ntohs(a.sin_port);
	return fd;
}

static void open_tls(void)
{
	if (!*server.set.tls_cert)
		return;
	tls = SSL_CTX_new(TLS_server_method());
	if (!tls || SSL_CTX_use_certificate_chain_file(tls, server.set.tls_cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, server.set.tls_key, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static int wait_ms(void)
{
	int64_t left;

	if (heap_count == 0)
		return -1;
	left = heap[1]->due_ns - now_ns();
	return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static void run(int listener)
{
	struct epoll_event events[256], ev = { .events = EPOLLIN };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) != 0)
		gone("cannot watch the listener");
	while (!stopping) {
		int n = epoll_wait(epoll_fd, events, 256, wait_ms());
		int64_t now;

		if (n < 0 && errno != EINTR)
			gone("cannot wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (!c)
				accept_all(listener);
			else if (events[i].events & EPOLLOUT && c->state == WRITING && !write_some(c))
				continue;
			else if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
				readable(c);
		}
		now = now_ns();
		while (heap_count > 0 && heap[1]->due_ns <= now) {
			struct conn *c = heap[1];

			timer_stop(c);
			due(c);
		}
	}
}

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

int main(int argc, char **argv)
{
	struct sigaction quit = { .sa_handler = stop };
	struct rlimit files;
	struct sl_buf help = { 0 };
	struct sl_error e = { 0 };
	int listener;

	settings_help(&help);
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		printf("sluice-llm: a scripted server of models; prints its port. Settings, also by POST "
		       "/control:\n\n%s",
		       sl_buf_text(&help));
		sl_buf_release(&help);
		return 0;
	}
	sl_buf_release(&help);
	if (!settings_flags(&server.set, argc, argv, &e) ||
	    (*server.set.truth && !truth_load(&server, server.set.truth, &e))) {
		fprintf(stderr, "sluice-llm: %s\n", e.text);
		return 2;
	}
	if (*server.set.log && !(server.log = fopen(server.set.log, "a")))
		gone(server.set.log);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	sigaction(SIGTERM, &quit, NULL);
	sigaction(SIGINT, &quit, NULL);
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	server.refilled_ns = now_ns();
	server.requests_left = (double)server.set.rpm;
	server.tokens_left = (double)server.set.tpm;
	open_tls();
	if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		gone("cannot make an epoll");
	listener = open_listener(&server.set.port);
	printf("%lld\n", (long long)server.set.port);
	fflush(stdout);
	run(listener);
	if (server.log)
		fclose(server.log);
	return 0;
}
