/* loop.h -- one thread that moves the bytes of all endpoints of a runtime (libcurl multi over epoll).
 *
 * It starts with the first call. What endpoints know is shared with the threads that send and look, under one lock;
 * requests and answers under way belong to the loop's thread alone. A pass of the loop:
 *
 *     take the lock; every member has its turn: it starts what may start now and says when it wants the next turn
 *     let go; hand out what is settled (done() may take locks of its own)
 *     wait for sockets, a turn or sl_http_loop_wake(); let curl move bytes, without the lock
 *     take the lock; tell the members which attempts have ended
 *
 * Admission is the members' business: a request that curl has is being sent, so CURLOPT_TIMEOUT_MS is the
 * time of an attempt and not of a queue. */
#ifndef SL_ENDPOINT_LOOP_H
#define SL_ENDPOINT_LOOP_H

#include "../base/buf.h"
#include "../base/thread.h"
#include "headers.h"

#include <curl/curl.h>

#define SL_ANSWER_MAX ((size_t)16 << 20)

struct sl_http_loop;
struct sl_http_member;

/* One request under way; reused. */
struct sl_http_attempt {
	struct sl_http_member *member;
	void *call; /* the member's */
	CURL *easy; /* with every option set that the answer does not need */
	size_t request_size;
	size_t answer_max; /* 0: SL_ANSWER_MAX */
	/* What came back. */
	struct sl_buf body;
	struct sl_reply_headers headers;
	size_t header_bytes;
	bool too_large;
	uint32_t sends;     /* curl sends again by itself when a kept connection turns out dead, ... */
	uint32_t sends_max; /* ... but not more often than this; the member's, 0: as it likes */
	bool refused;       /* it wanted to */
	bool lost;          /* the connection of the last send was given up for another one */
	int code;           /* CURLcode */
	long status;
	bool sent_whole; /* the last send */
	int64_t began_ms, ended_ms;
	char error[CURL_ERROR_SIZE];
	struct sl_http_attempt *next; /* the member's */
};

struct sl_http_member_ops {
	int64_t (*turn)(struct sl_http_member *m, int64_t now_ms); /* INT64_MAX: when something happens */
	void (*ended)(struct sl_http_member *m, struct sl_http_attempt *a, int64_t now_ms);
	void (*leave)(struct sl_http_member *m);  /* abort and settle everything */
	void (*settle)(struct sl_http_member *m); /* the only one without the lock */
};
struct sl_http_member {
	const struct sl_http_member_ops *ops;
	struct sl_http_member *next;
	int connecting; /* attempts that have no connection yet; the loop's thread only */
	bool leaving, left;
};

struct sl_http_loop *sl_http_loop_new(void);
/* Every member has left. */
void sl_http_loop_free(struct sl_http_loop *l);

void sl_http_loop_lock(struct sl_http_loop *l);
void sl_http_loop_unlock(struct sl_http_loop *l);
/* `connections`: most that the member will use at once; they are kept open that many. */
void sl_http_loop_join(struct sl_http_loop *l, struct sl_http_member *m, int64_t connections);
/* Returns when the member is forgotten and everything of it is settled. */
void sl_http_loop_leave(struct sl_http_loop *l, struct sl_http_member *m, int64_t connections);
/* With the lock: a turn soon. Starts the thread. */
void sl_http_loop_wake(struct sl_http_loop *l);

/* On the loop's thread, with the lock. */
struct sl_http_attempt *sl_http_attempt_new(struct sl_http_member *m);
void sl_http_attempt_free(struct sl_http_attempt *a);
/* After its end: how many of its sends may have been heard whole and got no whole answer. */
uint32_t sl_http_attempt_unknown(const struct sl_http_attempt *a);
void sl_http_loop_start(struct sl_http_loop *l, struct sl_http_attempt *a, int64_t now_ms);
void sl_http_loop_abort(struct sl_http_loop *l, struct sl_http_attempt *a);

int64_t sl_http_now_ms(void); /* monotonic */

#endif
