/* thread.h -- POSIX threads with the error checks done once. A lock that cannot
 * be taken is a bug of ours: these calls end the process with a message. */
#ifndef SL_THREAD_H
#define SL_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void sl_thread_start(pthread_t *t, const char *name, void *(*run)(void *), void *arg);
void sl_thread_join(pthread_t t);
void sl_mutex_init(pthread_mutex_t *m);
void sl_mutex_destroy(pthread_mutex_t *m);
void sl_lock(pthread_mutex_t *m);
void sl_unlock(pthread_mutex_t *m);
void sl_cond_init(pthread_cond_t *c); /* on the monotonic clock */
void sl_cond_destroy(pthread_cond_t *c);
void sl_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
/* False when `timeout_ms` passed first. */
bool sl_cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, int64_t timeout_ms);
void sl_cond_signal(pthread_cond_t *c);
void sl_cond_broadcast(pthread_cond_t *c);

int64_t sl_wall_ms(void);       /* since 1970 */
int64_t sl_monotonic_ns(void);  /* for intervals */
int64_t sl_thread_cpu_ns(void); /* CPU time of the calling thread */

#endif
