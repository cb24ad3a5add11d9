/* proxy.c -- sluice-proxy LISTEN:TARGET ...: a network between clients and brokers that can be taken away.
 *
 * Connections to 127.0.0.1:LISTEN are passed on to 127.0.0.1:TARGET. What is to happen comes on standard input, a
 * word a line:
 *
 *     hang    nothing is passed on, nobody is told; new connections are refused
 *     reset   all connections are reset; new ones are refused
 *     open    as usual again; what hung goes on
 *
 * Standard input at its end ends the program. One thread, poll(); a connection is two sockets with a buffer
 * for each way. */
#include "topology/base/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_MAX 8
#define BUFFER_BYTES 65536

struct way { /* bytes from one socket to the other */
	uint8_t bytes[BUFFER_BYTES];
	size_t at, end;
	bool over; /* the sender has said all; told on when the buffer is empty */
	bool told;
};

struct pair {
	int fd[2]; /* the client's, the broker's */
	struct way way[2];
};

struct proxy {
	uint16_t ports[PORTS_MAX], targets[PORTS_MAX];
	int listeners[PORTS_MAX]; /* -1: refused */
	size_t port_count;
	struct pair **pairs;
	size_t pair_count;
	bool hanging;
};

static struct sockaddr_in local(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static void gone(const char *what, uint16_t port)
{
	fprintf(stderr, "sluice-proxy: cannot %s port %u: %s\n", what, port, strerror(errno));
	exit(1);
}

static void open_listeners(struct proxy *p)
{
	for (size_t i = 0; i < p->port_count; i++) {
		struct sockaddr_in a = local(p->ports[i]);
		int on = 1;

		if (p->listeners[i] >= 0)
			continue;
		p->listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (p->listeners[i] < 0 || setsockopt(p->listeners[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
		    bind(p->listeners[i], (struct sockaddr *)&a, sizeof a) != 0 || listen(p->listeners[i], 64) != 0)
			gone("listen on", p->ports[i]);
	}
}

static void close_listeners(struct proxy *p)
{
	for (size_t i = 0; i < p->port_count; i++) {
		if (p->listeners[i] >= 0)
			close(p->listeners[i]);
		p->listeners[i] = -1;
	}
}

static void drop(struct proxy *p, size_t at, bool reset)
{
	struct pair *c = p->pairs[at];
	struct linger at_once = { .l_onoff = 1 };

	for (int i = 0; i < 2; i++) {
		if (reset)
			setsockopt(c->fd[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		close(c->fd[i]);
	}
	free(c);
	p->pairs[at] = p->pairs[--p->pair_count];
}

static void accept_one(struct proxy *p, size_t port)
{
	struct sockaddr_in a = local(p->targets[port]);
	int client = accept4(p->listeners[port], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int broker = client < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair *c;

	/* On the loopback a connection is made or refused at once. A broker that is away refuses. */
	if (broker < 0 || connect(broker, (struct sockaddr *)&a, sizeof a) != 0) {
		if (client >= 0)
			close(client);
		if (broker >= 0)
			close(broker);
		return;
	}
	fcntl(broker, F_SETFL, O_NONBLOCK);
	c = sl_calloc(1, sizeof *c);
	c->fd[0] = client;
	c->fd[1] = broker;
	p->pairs = sl_realloc(p->pairs, (p->pair_count + 1) * sizeof *p->pairs);
	p->pairs[p->pair_count++] = c;
}

static bool passing(ssize_t n)
{
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* What can be moved without waiting; false: the connection is broken. */
static bool move(struct pair *c, int from)
{
	struct way *w = &c->way[from];
	int to = !from;
	ssize_t n;

	if (w->end < BUFFER_BYTES && !w->over) {
		n = recv(c->fd[from], w->bytes + w->end, BUFFER_BYTES - w->end, 0);
		if (!passing(n))
			return false;
		w->over = n == 0;
		w->end += n > 0 ? (size_t)n : 0;
	}
	if (w->at < w->end) {
		n = send(c->fd[to], w->bytes + w->at, w->end - w->at, MSG_NOSIGNAL);
		if (!passing(n))
			return false;
		w->at += n > 0 ? (size_t)n : 0;
	}
	if (w->at == w->end)
		w->at = w->end = 0;
	if (w->over && w->end == 0 && !w->told) {
		shutdown(c->fd[to], SHUT_WR);
		w->told = true;
	}
	return true;
}

/* One command; false at the end of the input. */
static bool obey(struct proxy *p)
{
	char word[64];

	if (!fgets(word, sizeof word, stdin))
		return false;
	word[strcspn(word, "\n")] = 0;
	if (strcmp(word, "open") == 0) {
		p->hanging = false;
		open_listeners(p);
	} else if (strcmp(word, "hang") == 0) {
		p->hanging = true;
		close_listeners(p);
	} else if (strcmp(word, "reset") == 0) {
		close_listeners(p);
		while (p->pair_count)
			drop(p, p->pair_count - 1, true);
	} else {
		fprintf(stderr, "sluice-proxy: '%s' is none of open, hang, reset\n", word);
		exit(2);
	}
	return true;
}

static void serve(struct proxy *p)
{
	struct pollfd *fds = NULL;

	for (;;) {
		size_t count = 0, pairs = p->hanging ? 0 : p->pair_count;

		fds = sl_realloc(fds, (1 + PORTS_MAX + 2 * pairs) * sizeof *fds);
		fds[count++] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
		for (size_t i = 0; i < p->port_count; i++) /* poll passes over -1 */
			fds[count++] = (struct pollfd){ .fd = p->listeners[i], .events = POLLIN };
		for (size_t i = 0; i < pairs; i++) {
			const struct pair *c = p->pairs[i];

			for (int side = 0; side < 2; side++) {
				const struct way *in = &c->way[side], *out = &c->way[!side];
				short events = (short)((in->end < BUFFER_BYTES && !in->over ? POLLIN : 0) |
						       (out->at < out->end ? POLLOUT : 0));

				/* A side that waits for nothing is left out, or its hang-up would wake us for ever. */
				fds[count++] = (struct pollfd){ .fd = events ? c->fd[side] : -1, .events = events };
			}
		}
		if (poll(fds, count, -1) < 0 && errno != EINTR)
			gone("wait for", 0);
		for (size_t i = pairs; i-- > 0;) {
			struct pair *c = p->pairs[i];
			const struct pollfd *two = &fds[1 + p->port_count + 2 * i];

			if (!two[0].revents && !two[1].revents)
				continue;
			if (!move(c, 0) || !move(c, 1))
				drop(p, i, true);
			else if (c->way[0].told && c->way[1].told)
				drop(p, i, false);
		}
		for (size_t i = 0; i < p->port_count; i++)
			if (fds[1 + i].revents)
				accept_one(p, i);
		if (fds[0].revents && !obey(p))
			break;
	}
	free(fds);
}

int main(int argc, char **argv)
{
	struct proxy p = { 0 };

	setvbuf(stdin, NULL, _IONBF, 0); /* poll() must see every line that is left */
	for (int i = 1; i < argc && p.port_count < PORTS_MAX; i++) {
		char *rest;
		unsigned long port = strtoul(argv[i], &rest, 10),
			      target = *rest == ':' ? strtoul(rest + 1, &rest, 10) : 0;

		if (port == 0 || port > 65535 || target == 0 || target > 65535 || *rest) {
			fprintf(stderr, "usage: sluice-proxy LISTEN:TARGET ...; '%s' is not two ports\n", argv[i]);
			return 2;
		}
		p.ports[p.port_count] = (uint16_t)port;
		p.targets[p.port_count] = (uint16_t)target;
		p.listeners[p.port_count++] = -1;
	}
	open_listeners(&p);
	serve(&p);
	close_listeners(&p);
	while (p.pair_count)
		drop(&p, p.pair_count - 1, false);
	free(p.pairs);
	return 0;
}
