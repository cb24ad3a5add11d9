/* loop.c -- see loop.h. curl says by callbacks which sockets it wants watched and when it wants to be called; epoll
 * watches them, so a pass costs what happened and not what is open. */
#include "loop.h"

#include "../base/log.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define HEADERS_MAX ((size_t)256 << 10)
#define OTHER_FILES 1024 /* that the rest of the process may have open */

struct sl_http_loop {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct sl_http_member *members;
	int64_t connections;
	bool started, woken, stop;
	pthread_t thread;
	int wake_fd;
	/* The thread's own. */
	int epoll_fd;
	CURLM *multi;
	int64_t curl_at_ms; /* when curl wants to be called */
	int64_t connections_set;
};

int64_t sl_http_now_ms(void)
{
	return sl_monotonic_ns() / 1000000;
}

/* -- What curl tells us ------------------------------------------------------------------ */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct sl_http_loop *l = arg;
	struct epoll_event event = { .data.fd = fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		curl_multi_assign(l->multi, fd, NULL);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (known && epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	/* New, or a number that was closed and given out again behind our back. */
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 &&
	    (errno != EEXIST || epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0))
		return -1;
	curl_multi_assign(l->multi, fd, l);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct sl_http_loop *l = arg;

	(void)multi;
	l->curl_at_ms = ms < 0 ? INT64_MAX : sl_http_now_ms() + ms;
	return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct sl_http_attempt *a = arg;
	size_t most = a->answer_max ? a->answer_max : SL_ANSWER_MAX;

	if (size * one > most - a->body.size) {
		a->too_large = true;
		return 0;
	}
	sl_buf_add(&a->body, data, one * size);
	return one * size;
}

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
	struct sl_http_attempt *a = arg;

	/* curl keeps them all. */
	if (size * one > HEADERS_MAX - a->header_bytes) {
		a->too_large = true;
		return 0;
	}
	a->header_bytes += size * one;
	sl_reply_headers_line(&a->headers, (struct sl_bytes){ data, one * size }, sl_wall_ms());
	return one * size;
}

/* There is a connection and the request goes out now: once, or again when the connection was a dead one. */
static int on_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct sl_http_attempt *a = arg;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	if (a->sends_max && a->sends >= a->sends_max) {
		a->refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	if (a->sends++ == 0)
		a->member->connecting--;
	a->lost = false;
	return CURL_PREREQFUNC_OK;
}

/* A connection is being made: the first, or one in the place of a dead one. */
static int on_connect(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct sl_http_attempt *a = arg;

	(void)fd;
	(void)purpose;
	a->lost = a->sends > 0;
	return CURL_SOCKOPT_OK;
}

/* -- Attempts -------------------------------------------------------------------------------- */

struct sl_http_attempt *sl_http_attempt_new(struct sl_http_member *m)
{
	struct sl_http_attempt *a = sl_calloc(1, sizeof *a);

	a->member = m;
	a->easy = curl_easy_init();
	if (!a->easy)
		sl_oom(0);
	curl_easy_setopt(a->easy, CURLOPT_PRIVATE, a);
	curl_easy_setopt(a->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(a->easy, CURLOPT_ERRORBUFFER, a->error);
	curl_easy_setopt(a->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(a->easy, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(a->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(a->easy, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(a->easy, CURLOPT_PREREQFUNCTION, on_send);
	curl_easy_setopt(a->easy, CURLOPT_PREREQDATA, a);
	curl_easy_setopt(a->easy, CURLOPT_SOCKOPTFUNCTION, on_connect);
	curl_easy_setopt(a->easy, CURLOPT_SOCKOPTDATA, a);
	curl_easy_setopt(a->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(a->easy, CURLOPT_ACCEPT_ENCODING, ""); /* whatever curl can undo */
	curl_easy_setopt(a->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	return a;
}

void sl_http_attempt_free(struct sl_http_attempt *a)
{
	curl_easy_cleanup(a->easy);
	sl_buf_release(&a->body);
	free(a);
}

void sl_http_loop_start(struct sl_http_loop *l, struct sl_http_attempt *a, int64_t now_ms)
{
	sl_buf_clear(&a->body);
	sl_reply_headers_none(&a->headers);
	a->too_large = a->sent_whole = a->refused = a->lost = false;
	a->sends = 0;
	a->header_bytes = 0;
	a->code = 0;
	a->status = 0;
	a->error[0] = 0;
	a->began_ms = now_ms;
	a->member->connecting++;
	if (curl_multi_add_handle(l->multi, a->easy) != CURLM_OK)
		sl_oom(0); /* the only reason there is for a handle that is in none */
}

/* It is out of curl: how far it came. */
static void ended(struct sl_http_attempt *a, CURLcode code)
{
	curl_off_t uploaded = 0;

	if (a->sends == 0)
		a->member->connecting--;
	a->code = (int)code;
	curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(a->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	a->sent_whole = a->sends > 0 && uploaded >= (curl_off_t)a->request_size;
	a->ended_ms = sl_http_now_ms();
}

uint32_t sl_http_attempt_unknown(const struct sl_http_attempt *a)
{
	if (a->sends == 0)
		return 0;
	/* All but the last were given up by curl on a dead connection. */
	return a->sends - 1 + (a->lost || a->refused || ((a->code || a->too_large) && a->sent_whole));
}

void sl_http_loop_abort(struct sl_http_loop *l, struct sl_http_attempt *a)
{
	ended(a, CURLE_ABORTED_BY_CALLBACK); /* before the handle forgets what it did */
	curl_multi_remove_handle(l->multi, a->easy);
}

/* -- The thread ------------------------------------------------------------------------------ */

static void wait_and_drive(struct sl_http_loop *l, int64_t turn_at_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t at = turn_at_ms < l->curl_at_ms ? turn_at_ms : l->curl_at_ms, now = sl_http_now_ms();
	int64_t wait = at == INT64_MAX ? -1 : at <= now ? 0 : at - now > 60000 ? 60000 : at - now;
	int running, n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, (int)wait);
	uint64_t count;

	for (int i = 0; i < n; i++) {
		uint32_t e = events[i].events;
		int what = (e & EPOLLIN ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (e & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

		if (events[i].data.fd == l->wake_fd)
			(void)!read(l->wake_fd, &count, sizeof count);
		else
			curl_multi_socket_action(l->multi, events[i].data.fd, what, &running);
	}
	if (sl_http_now_ms() >= l->curl_at_ms) {
		l->curl_at_ms = INT64_MAX; /* unless it says otherwise now */
		curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

static void collect(struct sl_http_loop *l)
{
	struct sl_http_attempt *a;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(l->multi, &left))) {
		CURLcode code = message->data.result;
		CURL *easy = message->easy_handle;
		char *private = NULL;

		assert(message->msg == CURLMSG_DONE);
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		a = (struct sl_http_attempt *)(void *)private;
		ended(a, code);
		curl_multi_remove_handle(l->multi, easy);
		a->member->ops->ended(a->member, a, a->ended_ms);
	}
}

/* With the lock: whoever wants to leave gives up everything. */
static void leave(struct sl_http_loop *l)
{
	for (struct sl_http_member *m = l->members; m; m = m->next)
		if (m->leaving) {
			m->ops->leave(m);
			m->left = true;
		}
}

/* With the lock, which is let go while done() is called. True: a member has left. */
static bool settle(struct sl_http_loop *l)
{
	bool gone = false;

	/* Members are added in front, and taken out here alone: the list stays whole without the lock. */
	for (struct sl_http_member *m = l->members; m; m = m->next) {
		sl_unlock(&l->lock);
		m->ops->settle(m);
		sl_lock(&l->lock);
	}
	for (struct sl_http_member **at = &l->members; *at;) {
		struct sl_http_member *m = *at;

		/* Who asked to leave while we handed out leaves in the next pass. */
		if (!m->leaving || !m->left) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		m->leaving = false;
		gone = true;
	}
	return gone;
}

static void *run(void *arg)
{
	struct sl_http_loop *l = arg;
	int64_t turn_at;
	sigset_t pipe;

	/* A connection that breaks under a write is curl's to tell. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	sl_lock(&l->lock);
	while (!l->stop) {
		int64_t now = sl_http_now_ms();

		l->woken = false;
		turn_at = INT64_MAX;
		if (l->connections != l->connections_set)
			curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)l->connections);
		l->connections_set = l->connections;
		leave(l);
		for (struct sl_http_member *m = l->members; m; m = m->next) {
			int64_t at = m->leaving ? INT64_MAX : m->ops->turn(m, now);

			turn_at = at < turn_at ? at : turn_at;
		}
		if (settle(l))
			sl_cond_broadcast(&l->left);
		sl_unlock(&l->lock);
		wait_and_drive(l, turn_at);
		sl_lock(&l->lock);
		collect(l);
	}
	sl_unlock(&l->lock);
	return NULL;
}

/* -- From outside ------------------------------------------------------------------------------ */

static void curl_start(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		sl_oom(0);
}

struct sl_http_loop *sl_http_loop_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sl_http_loop *l = sl_calloc(1, sizeof *l);

	pthread_once(&once, curl_start);
	sl_mutex_init(&l->lock);
	sl_cond_init(&l->left);
	l->curl_at_ms = INT64_MAX;
	l->wake_fd = l->epoll_fd = -1;
	return l;
}

/* A pipe's worth of descriptors, not to be had: as out of memory, the process cannot go on. */
static int must_fd(int fd, const char *what)
{
	if (fd >= 0)
		return fd;
	sl_log(SL_LOG_STOP, NULL, "cannot %s: %s", what, strerror(errno));
	abort();
}

/* A connection is an open file, and the usual limit is 1,024 of them. */
static void room_for_files(int64_t connections)
{
	const rlim_t need = (rlim_t)connections + OTHER_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return;
	limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < need)
		sl_log(SL_LOG_WARN, NULL,
		       "this process may have %llu files open, the endpoints' in_flight and the rest may need %llu: "
		       "raise the limit (ulimit -n) or lower in_flight",
		       (unsigned long long)limit.rlim_cur, (unsigned long long)need);
}

static void start(struct sl_http_loop *l)
{
	struct epoll_event event = { .events = EPOLLIN };

	room_for_files(l->connections);

	l->wake_fd = must_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "make an eventfd");
	l->epoll_fd = must_fd(epoll_create1(EPOLL_CLOEXEC), "make an epoll");
	event.data.fd = l->wake_fd;
	must_fd(epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &event), "watch an eventfd");
	l->multi = curl_multi_init();
	if (!l->multi)
		sl_oom(0);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	l->started = true;
	sl_thread_start(&l->thread, "endpoints", run, l);
}

void sl_http_loop_lock(struct sl_http_loop *l)
{
	sl_lock(&l->lock);
}

void sl_http_loop_unlock(struct sl_http_loop *l)
{
	sl_unlock(&l->lock);
}

void sl_http_loop_wake(struct sl_http_loop *l)
{
	const uint64_t one = 1;

	if (!l->started)
		start(l);
	if (l->woken)
		return;
	l->woken = true;
	(void)!write(l->wake_fd, &one, sizeof one); /* it can only fail by being full, which wakes as well */
}

void sl_http_loop_join(struct sl_http_loop *l, struct sl_http_member *m, int64_t connections)
{
	sl_lock(&l->lock);
	m->next = l->members;
	l->members = m;
	l->connections += connections;
	sl_unlock(&l->lock);
}

void sl_http_loop_leave(struct sl_http_loop *l, struct sl_http_member *m, int64_t connections)
{
	sl_lock(&l->lock);
	l->connections -= connections;
	if (l->started) {
		m->leaving = true;
		sl_http_loop_wake(l);
		while (m->leaving)
			sl_cond_wait(&l->left, &l->lock);
	} else { /* nothing was ever sent */
		struct sl_http_member **at = &l->members;

		while (*at != m)
			at = &(*at)->next;
		*at = m->next;
	}
	sl_unlock(&l->lock);
}

void sl_http_loop_free(struct sl_http_loop *l)
{
	if (!l)
		return;
	assert(!l->members);
	if (l->started) {
		sl_lock(&l->lock);
		l->stop = true;
		sl_http_loop_wake(l);
		sl_unlock(&l->lock);
		sl_thread_join(l->thread);
		curl_multi_cleanup(l->multi);
		close(l->epoll_fd);
		close(l->wake_fd);
	}
	sl_cond_destroy(&l->left);
	sl_mutex_destroy(&l->lock);
	free(l);
}
