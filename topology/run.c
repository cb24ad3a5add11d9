/* run.c -- the embedded stream's worker threads, the committer, and knowing when all is done.
 *
 * A unit is in one place at a time: quiet (nothing to read), ready (queued), running on a worker,
 * committing, waiting for calls, held up for want of money, waiting for a table, or backing off after a failure. A
 * worker plays batches of one unit until its transaction is worth a commit (bytes, time, or the
 * input is at its end) and hands it to the committer; the committer takes all that were handed
 * over meanwhile and commits them together, so one fdatasync and one store write serve
 * many units, and workers go on with others. Publishing wakes the readers.
 *
 * Nothing polls: a quiet unit costs nothing until something it reads is published. Only who waits
 * looks again now and then (not until idle), because what it waits for may be a file, and
 * files do not tell. */
#include "engine.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum state { QUIET, READY, RUNNING, COMMITTING, CALLS, HELD, WAITING, BACKOFF };

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 5000
#define LOOK_AGAIN_MS 2000

struct sl_scheduler {
	struct sl_runtime *rt;
	pthread_mutex_t lock;
	pthread_cond_t work, commit, main, train;
	struct sl_unit **ready; /* ring of unit_count + 1 */
	size_t ready_at, ready_count, capacity;
	struct sl_unit **to_commit;
	size_t commit_count;
	size_t running, committing;
	bool on, stopping, failed;
	struct sl_error error;
	/* training: asked for at idle by the main loop, done by its own thread; looked: since a unit last ran */
	bool train_asked, training, looked;
};

struct sl_scheduler *sl_scheduler_new(struct sl_runtime *rt)
{
	struct sl_scheduler *s = sl_calloc(1, sizeof *s);

	s->rt = rt;
	s->capacity = rt->unit_count + 1;
	s->ready = sl_calloc(s->capacity, sizeof(struct sl_unit *));
	s->to_commit = sl_calloc(s->capacity, sizeof(struct sl_unit *));
	sl_mutex_init(&s->lock);
	sl_cond_init(&s->work);
	sl_cond_init(&s->commit);
	sl_cond_init(&s->main);
	sl_cond_init(&s->train);
	return s;
}

void sl_scheduler_free(struct sl_scheduler *s)
{
	if (!s)
		return;
	free(s->ready);
	free(s->to_commit);
	sl_mutex_destroy(&s->lock);
	sl_cond_destroy(&s->work);
	sl_cond_destroy(&s->commit);
	sl_cond_destroy(&s->main);
	sl_cond_destroy(&s->train);
	free(s);
}

/* -- states, under the lock --------------------------------------------------------- */

static void enqueue(struct sl_scheduler *s, struct sl_unit *u)
{
	assert(u->state != READY && s->ready_count < s->capacity);
	u->state = READY;
	s->looked = false; /* there is more to do: look for due trainings again after it */
	s->ready[(s->ready_at + s->ready_count++) % s->capacity] = u;
	sl_cond_signal(&s->work);
}

static void wake(struct sl_scheduler *s, struct sl_unit *u)
{
	if (u->state == QUIET || u->state == CALLS || u->state == HELD || u->state == WAITING)
		enqueue(s, u);
	else
		u->woken = true; /* looks again when it comes back */
}

static void rest(struct sl_scheduler *s, struct sl_unit *u, enum state state)
{
	u->state = state;
	if (u->woken) {
		u->woken = false;
		enqueue(s, u);
	}
}

static void stop_for(struct sl_scheduler *s, const struct sl_error *e)
{
	if (!s->failed) {
		s->failed = true;
		s->error = *e;
	}
	s->stopping = true;
	sl_cond_broadcast(&s->work);
	sl_cond_broadcast(&s->commit);
	sl_cond_broadcast(&s->train);
	sl_cond_broadcast(&s->main);
}

void sl_scheduler_published(struct sl_runtime *rt, const bool *topics)
{
	struct sl_scheduler *s = rt->scheduler;

	if (!s)
		return;
	sl_lock(&s->lock);
	for (size_t i = 0; s->on && i < rt->unit_count; i++) {
		struct sl_unit *u = rt->units[i];
		bool input = topics[u->tasks[0].step->from], table = false;

		for (size_t k = 0; k < u->task_count; k++)
			for (size_t t = 0; u->tasks[k].step->op->tables && u->tasks[k].step->op->tables[t]; t++)
				table |= topics[u->tasks[k].step->tables[t]];
		/* A table matters to who waits for one; who is about to wait looks at it first (settle). */
		if (input || (table && u->state == WAITING))
			wake(s, u);
	}
	sl_unlock(&s->lock);
}

void sl_scheduler_wake_unit(void *unit)
{
	struct sl_unit *u = unit;
	struct sl_scheduler *s = u->rt->scheduler;

	if (!s)
		return;
	sl_lock(&s->lock);
	if (s->on)
		wake(s, u);
	sl_unlock(&s->lock);
}

/* -- workers ---------------------------------------------------------------------------- */

/* Play until the transaction is worth a commit or there is a reason to stop. */
static enum sl_step_result play(struct sl_runtime *rt, struct sl_unit *u)
{
	enum sl_step_result r;
	int64_t before;

	do {
		before = u->position;
		r = sl_unit_step(u);
	} while (r == SL_STEP_MORE && u->position != before && !atomic_load(&rt->stop) &&
		 sl_unit_staged_bytes(u) < (size_t)rt->topology->commit_bytes &&
		 sl_monotonic_ns() - u->begun_ns < rt->topology->commit_every_ms * 1000000);
	return r;
}

static void back_off(struct sl_scheduler *s, struct sl_unit *u)
{
	int64_t wait_ms = (int64_t)BACKOFF_FIRST_MS << (u->failures < 7 ? u->failures : 7);
	char where[300];

	if (wait_ms > BACKOFF_MOST_MS)
		wait_ms = BACKOFF_MOST_MS;
	u->failures++;
	u->not_before_ns = sl_monotonic_ns() + wait_ms * 1000000;
	u->state = BACKOFF;
	snprintf(where, sizeof where, "step=%s partition=%d retry_ms=%lld", u->tasks[0].step->name, (int)u->partition,
		 (long long)wait_ms);
	sl_log(SL_LOG_WARN, where, "%s", u->error.text);
	sl_cond_signal(&s->main);
}

static void settle(struct sl_scheduler *s, struct sl_unit *u, enum sl_step_result r)
{
	u->wait[0] = 0;
	if (r == SL_STEP_FAILED && u->error.verdict == SL_STOP) {
		u->state = QUIET;
		stop_for(s, &u->error);
	} else if (r == SL_STEP_FAILED) {
		back_off(s, u);
	} else if (r == SL_STEP_WAITING) {
		snprintf(u->wait, sizeof u->wait, "%.255s", u->error.text);
		u->not_before_ns = sl_monotonic_ns() + LOOK_AGAIN_MS * 1000000LL;
		u->woken |= sl_unit_table_moved(u);
		rest(s, u, WAITING);
	} else if (sl_unit_staged(u)) {
		u->state = COMMITTING;
		s->to_commit[s->commit_count++] = u;
		sl_cond_signal(&s->commit);
	} else if (r == SL_STEP_HELD) {
		snprintf(u->wait, sizeof u->wait, "%.255s", u->error.text);
		u->not_before_ns = sl_monotonic_ns() + LOOK_AGAIN_MS * 1000000LL;
		rest(s, u, HELD);
	} else if (r == SL_STEP_CALLS) {
		rest(s, u, CALLS);
	} else {
		rest(s, u, QUIET);
	}
}

static void *worker(void *arg)
{
	struct sl_scheduler *s = arg;

	sl_lock(&s->lock);
	while (!s->stopping) {
		struct sl_unit *u;
		enum sl_step_result r;

		if (s->ready_count == 0) {
			sl_cond_wait(&s->work, &s->lock);
			continue;
		}
		u = s->ready[s->ready_at];
		s->ready_at = (s->ready_at + 1) % s->capacity;
		s->ready_count--;
		u->state = RUNNING;
		u->woken = false;
		s->running++;
		sl_unlock(&s->lock);
		r = play(s->rt, u);
		sl_lock(&s->lock);
		s->running--;
		settle(s, u, r);
		if (s->running == 0)
			sl_cond_signal(&s->main);
	}
	sl_unlock(&s->lock);
	return NULL;
}

static void *committer(void *arg)
{
	struct sl_scheduler *s = arg;
	struct sl_unit **units = sl_calloc(s->capacity, sizeof(struct sl_unit *));

	sl_lock(&s->lock);
	/* What was handed over is committed also when stopping, unless something failed. */
	while (!s->failed) {
		struct sl_error e = { 0 };
		size_t n = s->commit_count;
		bool done;

		if (n == 0) {
			if (s->stopping && s->running == 0)
				break;
			sl_cond_wait_ms(&s->commit, &s->lock, s->stopping ? 5 : 1000);
			continue;
		}
		memcpy(units, s->to_commit, n * sizeof(struct sl_unit *));
		s->commit_count = 0;
		s->committing = n;
		sl_unlock(&s->lock);
		done = sl_commit(s->rt, units, n, NULL, 0, NULL, &e);
		sl_lock(&s->lock);
		s->committing = 0;
		for (size_t i = 0; i < n; i++) {
			units[i]->woken = false;
			units[i]->state = QUIET;
			if (done)
				enqueue(s, units[i]); /* there may be more to read */
		}
		if (!done)
			stop_for(s, &e);
	}
	sl_cond_signal(&s->main);
	sl_unlock(&s->lock);
	free(units);
	return NULL;
}

/* -- training ----------------------------------------------------------------------------- */

struct trainer {
	struct sl_scheduler *s;
	bool until_idle;
};

static void *trainer(void *arg)
{
	struct trainer *t = arg;
	struct sl_scheduler *s = t->s;

	sl_lock(&s->lock);
	while (!s->stopping) {
		struct sl_error e = { 0 };
		bool trained = false, done;
		int64_t since_ns;

		if (t->until_idle && !s->train_asked) {
			sl_cond_wait(&s->train, &s->lock);
			continue;
		}
		s->training = true;
		sl_unlock(&s->lock);
		since_ns = sl_thread_cpu_ns();
		done = sl_training_due(s->rt, t->until_idle, &trained, &e);
		atomic_fetch_add(&s->rt->training_cpu_ns, sl_thread_cpu_ns() - since_ns);
		sl_lock(&s->lock);
		s->training = s->train_asked = false;
		if (trained) /* look again when its readers have gone on */
			s->looked = false;
		if (!done)
			stop_for(s, &e);
		sl_cond_signal(&s->main);
		if (!t->until_idle && !s->stopping)
			sl_cond_wait_ms(&s->train, &s->lock, 1000);
	}
	sl_unlock(&s->lock);
	return NULL;
}

/* -- the main loop -------------------------------------------------------------------------- */

static bool at_rest(const struct sl_scheduler *s)
{
	const struct sl_runtime *rt = s->rt;

	if (s->ready_count || s->running || s->commit_count || s->committing)
		return false;
	for (size_t i = 0; i < rt->unit_count; i++)
		if (rt->units[i]->state == CALLS || rt->units[i]->state == BACKOFF)
			return false;
	return true;
}

static void release_backed_off(struct sl_scheduler *s, bool until_idle)
{
	int64_t now = sl_monotonic_ns();

	for (size_t i = 0; i < s->rt->unit_count; i++) {
		struct sl_unit *u = s->rt->units[i];

		bool waits = u->state == WAITING || u->state == HELD;
		bool rests = waits || u->state == QUIET || u->state == CALLS;

		if (rests && u->look_at_ns <= now)
			enqueue(s, u);
		else if ((u->state == BACKOFF || (waits && !until_idle)) && u->not_before_ns <= now)
			enqueue(s, u);
	}
}

/* At rest, with questions parked: those in no batch yet become one now, for nothing is coming that it could wait for.
 */
static bool parked(struct sl_scheduler *s)
{
	bool any = false, loose;

	for (size_t i = 0; i < s->rt->unit_count; i++) {
		struct sl_unit *u = s->rt->units[i];

		if (!sl_unit_parked(u, &loose))
			continue;
		any = true;
		if (loose) {
			atomic_store(&u->batch_at_once, true);
			wake(s, u);
		}
	}
	return any;
}

static bool somebody_waits(const struct sl_scheduler *s, const char **why)
{
	for (size_t i = 0; i < s->rt->unit_count; i++) {
		if (s->rt->units[i]->state == WAITING || s->rt->units[i]->state == HELD) {
			*why = s->rt->units[i]->wait;
			return true;
		}
	}
	return false;
}

/* Under the lock: true when the run is over. */
static bool over(struct sl_scheduler *s, bool until_idle, enum sl_run_end *end, struct sl_error *e)
{
	const char *why;

	if (s->failed) {
		*end = SL_RUN_FAILED;
		*e = s->error;
		return true;
	}
	if (atomic_load(&s->rt->stop)) {
		*end = SL_RUN_STOPPED;
		return true;
	}
	if (!until_idle || !at_rest(s) || s->train_asked || s->training || parked(s))
		return false;
	if (!s->rt->options.freeze && !s->looked) {
		s->looked = s->train_asked = true;
		sl_cond_signal(&s->train);
		return false;
	}
	if (somebody_waits(s, &why)) {
		struct sl_buf next = { 0 };

		sl_training_stuck(s->rt, &next);
		*end = SL_RUN_STUCK;
		sl_error_set(e, SL_STOP, "%s%s%s", why, next.size ? ": " : "", sl_buf_text(&next));
		sl_buf_release(&next);
		return true;
	}
	*end = SL_RUN_IDLE;
	return true;
}

static size_t in_flight(const struct sl_runtime *rt)
{
	size_t n = 0;

	for (size_t i = 0; i < rt->unit_count; i++)
		n += sl_calls_in_flight(rt->units[i]->calls);
	return n;
}

/* Workers gone: calls in flight are paid for, so wait for their answers, which go into the memo, and leave with none
 * open. Bounded: who does not answer is asked again after the restart. Without the lock, which answers that come
 * want. */
static void drain(struct sl_scheduler *s)
{
	int64_t last_ns = sl_monotonic_ns() + s->rt->topology->drain_ms * 1000000LL;
	struct sl_error e = { 0 };
	size_t flying = in_flight(s->rt);

	if (flying) {
		sl_log(SL_LOG_NOTE, NULL,
		       "stopping: waiting up to %lld s for the answers of %zu calls, which are paid for",
		       (long long)(s->rt->topology->drain_ms / 1000), flying);
		sl_runtime_drain(s->rt);
	}
	while ((flying = in_flight(s->rt)) && sl_monotonic_ns() < last_ns) {
		sl_lock(&s->lock);
		sl_cond_wait_ms(&s->main, &s->lock, 20);
		sl_unlock(&s->lock);
	}
	if (flying)
		sl_log(SL_LOG_WARN, NULL, "%zu calls were not answered within %lld ms: they will be asked again",
		       flying, (long long)s->rt->topology->drain_ms);
	for (size_t i = 0; i < s->rt->unit_count; i++)
		if (!sl_calls_settle(s->rt->units[i]->calls, &e))
			sl_log(SL_LOG_WARN, NULL, "%s", e.text);
}

enum sl_run_end sl_embedded_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e)
{
	struct sl_scheduler *s = rt->scheduler;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t threads = options->threads > 0 ? (size_t)options->threads : cores > 0 ? (size_t)cores : 1;
	pthread_t *workers = sl_calloc(threads, sizeof *workers);
	pthread_t commit_thread, train_thread;
	struct trainer train = { s, options->until_idle };
	enum sl_run_end end = SL_RUN_STOPPED;
	int64_t shown_ns = 0;

	sl_lock(&s->lock);
	s->on = true;
	s->stopping = s->failed = s->train_asked = s->looked = false;
	for (size_t i = 0; i < rt->unit_count; i++)
		enqueue(s, rt->units[i]);
	sl_unlock(&s->lock);
	for (size_t i = 0; i < threads; i++)
		sl_thread_start(&workers[i], "worker", worker, s);
	sl_thread_start(&commit_thread, "committer", committer, s);
	if (!rt->options.freeze)
		sl_thread_start(&train_thread, "trainer", trainer, &train);

	sl_lock(&s->lock);
	while (!over(s, options->until_idle, &end, e)) {
		if (options->progress && sl_monotonic_ns() - shown_ns > 500 * 1000000LL) {
			sl_unlock(&s->lock);
			options->progress(options->arg, rt);
			shown_ns = sl_monotonic_ns();
			sl_lock(&s->lock);
		}
		release_backed_off(s, options->until_idle);
		sl_cond_wait_ms(&s->main, &s->lock, options->until_idle ? 20 : 100);
	}
	s->stopping = true;
	sl_cond_broadcast(&s->work);
	sl_cond_broadcast(&s->commit);
	sl_cond_broadcast(&s->train);
	sl_unlock(&s->lock);
	for (size_t i = 0; i < threads; i++)
		sl_thread_join(workers[i]);
	sl_thread_join(commit_thread);
	if (!rt->options.freeze)
		sl_thread_join(train_thread);
	if (!s->failed)
		drain(s);
	sl_lock(&s->lock);
	s->on = false;
	s->ready_count = s->commit_count = 0;
	for (size_t i = 0; i < rt->unit_count; i++) {
		rt->units[i]->state = QUIET;
		rt->units[i]->woken = false;
	}
	if (s->failed && end != SL_RUN_FAILED) { /* the last commit failed while stopping */
		end = SL_RUN_FAILED;
		*e = s->error;
	}
	sl_unlock(&s->lock);
	free(workers);
	return end;
}

/* For status: what a unit is doing. */
const char *sl_scheduler_state(struct sl_runtime *rt, const struct sl_unit *u, char wait[256])
{
	static const char *const names[] = { "quiet", "ready",     "running", "committing",
					     "calls", "no_budget", "waiting", "backoff" };
	struct sl_scheduler *s = rt->scheduler;
	const char *name;

	sl_lock(&s->lock);
	name = s->on ? names[u->state] : "stopped";
	memcpy(wait, u->wait, sizeof u->wait);
	sl_unlock(&s->lock);
	return name;
}
