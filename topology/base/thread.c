/* thread.c -- POSIX threads and clocks with the checks done once. A failure here
 * is a bug of ours or a machine out of resources: the process ends with a
 * message and the stored state is replayed. */
#include "thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Not sl_log: the logger itself takes a lock. */
static void must(int code, const char *what)
{
	if (code == 0)
		return;
	fprintf(stderr, "level=stop text=\"%s: %s\"\n", what, strerrordesc_np(code) ? strerrordesc_np(code) : "?");
	abort();
}

void sl_thread_start(pthread_t *t, const char *name, void *(*run)(void *), void *arg)
{
	char cut[16]; /* the kernel's limit */

	must(pthread_create(t, NULL, run, arg), "cannot start a thread");
	snprintf(cut, sizeof cut, "%s", name);
	pthread_setname_np(*t, cut); /* for top and gdb only; it may have ended already */
}

void sl_thread_join(pthread_t t)
{
	must(pthread_join(t, NULL), "cannot join a thread");
}

void sl_mutex_init(pthread_mutex_t *m)
{
	pthread_mutexattr_t kind;

	must(pthread_mutexattr_init(&kind), "cannot make a lock");
	must(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK), "cannot make a lock");
	must(pthread_mutex_init(m, &kind), "cannot make a lock");
	pthread_mutexattr_destroy(&kind);
}

void sl_mutex_destroy(pthread_mutex_t *m)
{
	must(pthread_mutex_destroy(m), "cannot destroy a lock");
}

void sl_lock(pthread_mutex_t *m)
{
	must(pthread_mutex_lock(m), "cannot take a lock");
}

void sl_unlock(pthread_mutex_t *m)
{
	must(pthread_mutex_unlock(m), "cannot release a lock");
}

void sl_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t kind;

	must(pthread_condattr_init(&kind), "cannot make a condition");
	must(pthread_condattr_setclock(&kind, CLOCK_MONOTONIC), "cannot make a condition");
	must(pthread_cond_init(c, &kind), "cannot make a condition");
	pthread_condattr_destroy(&kind);
}

void sl_cond_destroy(pthread_cond_t *c)
{
	must(pthread_cond_destroy(c), "cannot destroy a condition");
}

void sl_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	must(pthread_cond_wait(c, m), "cannot wait on a condition");
}

bool sl_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, int64_t timeout_ms)
{
	struct timespec until;
	int code;

	if (timeout_ms < 0)
		timeout_ms = 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	code = pthread_cond_timedwait(c, m, &until);
	if (code == ETIMEDOUT)
		return false;
	must(code, "cannot wait on a condition");
	return true;
}

void sl_cond_signal(pthread_cond_t *c)
{
	must(pthread_cond_signal(c), "cannot signal a condition");
}

void sl_cond_broadcast(pthread_cond_t *c)
{
	must(pthread_cond_broadcast(c), "cannot signal a condition");
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t sl_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000000;
}

int64_t sl_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t sl_thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}
