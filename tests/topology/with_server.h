/* with_server.h -- an HTTP server for tests of endpoints: a thread that takes connections and one for each of
 * them, which reads a request and lets the test answer it, byte by byte if it likes. Port 0, 127.0.0.1.
 *
 * A test says what to answer in a function: answer(server, connection, request number from 0). It returns
 * whether the connection goes on. Everything ends when the server is stopped: sockets are shut down, threads joined. */
#ifndef SL_WITH_SERVER_H
#define SL_WITH_SERVER_H

#include "topology/base/buf.h"
#include "topology/base/thread.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512

struct server;
struct connection {
	struct server *server;
	int fd;
	pthread_t thread;
	char head[4096]; /* of the request under way */
	struct sl_buf body;
};
struct server {
	bool (*answer)(struct server *s, struct connection *c, int number);
	void *arg;
	int fd, port;
	_Atomic int requests, accepted;
	_Atomic bool stop, hold; /* hold: hold_here() waits while it is set */
	pthread_t thread;
	struct connection *connections[CONNECTIONS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static void say(struct connection *c, const char *text)
{
	size_t size = strlen(text);

	while (size) {
		ssize_t n = send(c->fd, text, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

/* A whole answer; `headers`: lines with their ends, or "". */
static bool reply(struct connection *c, int status, const char *headers, const char *body)
{
	struct sl_buf b = { 0 };

	sl_buf_print(&b, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), headers, body);
	say(c, sl_buf_text(&b));
	sl_buf_release(&b);
	return true;
}

/* The connection ends with a reset, not with an end of file. */
static inline bool reset(struct connection *c)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	return false;
}

/* Until the test lets go, or the server stops. */
static inline void hold_here(struct server *s)
{
	sl_lock(&s->lock);
	while (s->hold && !s->stop)
		sl_cond_wait(&s->changed, &s->lock);
	sl_unlock(&s->lock);
}

static inline void let_go(struct server *s)
{
	sl_lock(&s->lock);
	s->hold = false;
	sl_cond_broadcast(&s->changed);
	sl_unlock(&s->lock);
}

/* Wait until so many requests have been read. */
static inline void wait_requests(struct server *s, int count)
{
	sl_lock(&s->lock);
	while (s->requests < count)
		sl_cond_wait(&s->changed, &s->lock);
	sl_unlock(&s->lock);
}

/* One request into head and body; false: the peer has gone. */
static bool read_request(struct connection *c)
{
	size_t size = 0, want = 0;
	char *end = NULL, *length;

	sl_buf_clear(&c->body);
	while (!end) {
		ssize_t n = recv(c->fd, c->head + size, 1, 0);

		if (n <= 0 || size + 2 > sizeof c->head)
			return false;
		c->head[++size] = 0;
		if (size >= 4)
			end = strstr(c->head + size - 4, "\r\n\r\n");
	}
	length = strcasestr(c->head, "\r\ncontent-length:");
	want = length ? strtoul(length + 17, NULL, 10) : 0;
	while (c->body.size < want) {
		ssize_t n = recv(c->fd, sl_buf_reserve(&c->body, want - c->body.size), want - c->body.size, 0);

		if (n <= 0)
			return false;
		c->body.size += (size_t)n;
	}
	return true;
}

static void *serve_one(void *arg)
{
	struct connection *c = arg;
	struct server *s = c->server;
	bool more = true;

	while (more && !s->stop && read_request(c)) {
		int number;

		sl_lock(&s->lock);
		number = s->requests++;
		sl_cond_broadcast(&s->changed);
		sl_unlock(&s->lock);
		more = s->answer(s, c, number);
	}
	sl_lock(&s->lock); /* stop shuts down what is open */
	close(c->fd);
	c->fd = -1;
	sl_unlock(&s->lock);
	return NULL;
}

static void *serve(void *arg)
{
	struct server *s = arg;

	while (!s->stop) {
		int fd = accept(s->fd, NULL, NULL);
		struct connection *c;

		if (fd < 0 || s->accepted == CONNECTIONS_MAX) {
			if (fd >= 0)
				close(fd);
			break;
		}
		c = sl_calloc(1, sizeof *c);
		c->server = s;
		c->fd = fd;
		sl_lock(&s->lock);
		s->connections[s->accepted++] = c;
		if (s->stop)
			shutdown(fd, SHUT_RDWR);
		sl_unlock(&s->lock);
		sl_thread_start(&c->thread, "served", serve_one, c);
	}
	return NULL;
}

/* A socket on 127.0.0.1; port 0: any. -1: the port is taken. */
static int listen_on(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	a.sin_port = htons((uint16_t)port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 512) == 0)
		return fd;
	close(fd);
	return -1;
}

static int port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t size = sizeof a;

	return getsockname(fd, (struct sockaddr *)&a, &size) == 0 ? ntohs(a.sin_port) : -1;
}

/* Port 0: any. NULL: the port is taken. */
static struct server *server_start(int port, bool (*answer)(struct server *, struct connection *, int), void *arg)
{
	struct server *s = sl_calloc(1, sizeof *s);

	s->answer = answer;
	s->arg = arg;
	sl_mutex_init(&s->lock);
	sl_cond_init(&s->changed);
	s->fd = listen_on(port);
	if (s->fd < 0) {
		free(s);
		return NULL;
	}
	s->port = port_of(s->fd);
	sl_thread_start(&s->thread, "server", serve, s);
	return s;
}

static void server_stop(struct server *s)
{
	sl_lock(&s->lock);
	s->stop = true;
	sl_cond_broadcast(&s->changed);
	shutdown(s->fd, SHUT_RDWR);
	for (int i = 0; i < s->accepted; i++)
		if (s->connections[i]->fd >= 0)
			shutdown(s->connections[i]->fd, SHUT_RDWR);
	sl_unlock(&s->lock);
	sl_thread_join(s->thread);
	close(s->fd);
	for (int i = 0; i < s->accepted; i++) {
		sl_thread_join(s->connections[i]->thread);
		sl_buf_release(&s->connections[i]->body);
		free(s->connections[i]);
	}
	sl_cond_destroy(&s->changed);
	sl_mutex_destroy(&s->lock);
	free(s);
}

#endif
