/* member.c -- one member of a step's consumer group: a thread with a consumer, a transactional producer and the
 * tasks that the group gives it.
 *
 * The thread does everything by itself, a little at a time, and comes back to the consumer at least ten times a second,
 * so that the group never takes it for dead: rebalances (assign.c), a slice of a restore, fetching, playing, a
 * transaction when one is due (play.c). When there is nothing to do it sleeps until a message, an answer from outside
 * or a stop pokes it.
 *
 * It leaves in order: nothing new is played, calls in flight are answered and kept, what is staged is committed, then
 * it leaves the group. A failure that a person must look at ends it too; the run sees that and stops the others.
 *
 * Threads: sl_member_poke, sl_member_state and what else is declared in kafka.h from any; all else is the thread's. */
#include "member.h"

#include "../base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REST_MS 100
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 5000
#define EVENTS_MOST 64

/* -- for all files of the member ------------------------------------------------------------------- */

void sl_member_poke(struct sl_member *m)
{
	sl_lock(&m->lock);
	m->woken = true;
	sl_cond_signal(&m->wake);
	sl_unlock(&m->lock);
}

void sl_member_rest(struct sl_member *m, int64_t timeout_ms)
{
	int64_t until_ns = sl_monotonic_ns() + timeout_ms * 1000000;

	sl_lock(&m->lock);
	while (!m->woken && timeout_ms > 0) {
		sl_cond_wait_ms(&m->wake, &m->lock, timeout_ms);
		timeout_ms = (until_ns - sl_monotonic_ns()) / 1000000;
	}
	m->woken = false;
	sl_unlock(&m->lock);
}

void sl_member_fail(struct sl_member *m, const struct sl_error *e)
{
	if (m->failed)
		return;
	m->failed = true;
	m->error = *e;
	m->error.verdict = SL_STOP;
}

int64_t sl_member_back_off(struct sl_member *m, int32_t partition, uint32_t failures, const char *why)
{
	int64_t wait_ms = (int64_t)BACKOFF_FIRST_MS << (failures < 7 ? failures : 7);
	char where[300];

	if (wait_ms > BACKOFF_MOST_MS)
		wait_ms = BACKOFF_MOST_MS;
	if (partition >= 0)
		snprintf(where, sizeof where, "step=%s partition=%" PRId32 " retry_ms=%" PRId64, m->step->name,
			 partition, wait_ms);
	else
		snprintf(where, sizeof where, "step=%s member=%d retry_ms=%" PRId64, m->step->name, m->number, wait_ms);
	sl_log(SL_LOG_WARN, where, "%s", why);
	return sl_monotonic_ns() + wait_ms * 1000000;
}

/* -- what others see ---------------------------------------------------------------------------------- */

/* A task's state in a word; the larger, the more it says about the whole member. */
static const struct {
	const char *word;
	int weight;
} words[] = {
	[SL_TASK_RESTORING] = { "restoring", 5 }, [SL_TASK_RUNNING] = { "running", 1 },
	[SL_TASK_CALLS] = { "calls", 2 },         [SL_TASK_HELD] = { "no_budget", 3 },
	[SL_TASK_WAITING] = { "waiting", 3 },     [SL_TASK_BACKOFF] = { "backoff", 4 },
};

static void show_tasks(struct sl_member *m, struct sl_member_state *s)
{
	int weight = -1;

	for (size_t i = 0; i < m->task_count; i++) {
		const struct sl_member_task *t = m->tasks[i];
		bool quiet = t->state == SL_TASK_RUNNING && sl_task_at_end(t);
		bool waits = t->state == SL_TASK_HELD || (t->state == SL_TASK_WAITING && !sl_unit_table_moved(t->unit));
		bool loose;
		const char *word = quiet ? "quiet" : words[t->state].word;

		s->only_waiting &= quiet || waits;
		s->parked |= t->unit && sl_unit_parked(t->unit, &loose);
		s->waiting += waits;
		if (!quiet && words[t->state].weight > weight) {
			weight = words[t->state].weight;
			s->state = word;
			memcpy(s->wait, t->wait, sizeof s->wait);
		}
		if (!t->unit)
			continue;
		m->shown[m->shown_count].unit = t->unit;
		m->shown[m->shown_count].state = word;
		memcpy(m->shown[m->shown_count++].wait, t->wait, sizeof t->wait);
	}
}

void sl_member_show(struct sl_member *m, const char *state)
{
	bool ready = m->txn && m->assigned && !m->changed && m->parting_count == 0;
	struct sl_member_state s = {
		.step = m->step,
		.state = "quiet",
		.tasks = m->task_count,
		.rounds = m->rounds,
		.failed = m->failed,
		.error = m->error,
		.only_waiting = ready && m->not_before_ns <= sl_monotonic_ns(),
	};

	sl_lock(&m->lock);
	m->shown = sl_realloc(m->shown, (m->task_count + 1) * sizeof *m->shown);
	m->shown_count = 0;
	show_tasks(m, &s);
	if (!m->txn || !m->assigned)
		s.state = "starting";
	if (m->not_before_ns > sl_monotonic_ns()) {
		s.state = "backoff";
		memcpy(s.wait, m->wait, sizeof s.wait);
	}
	if (state)
		s.state = state;
	if (m->failed)
		s.state = "failed";
	m->state = s;
	sl_unlock(&m->lock);
}

void sl_member_state(struct sl_member *m, struct sl_member_state *to)
{
	sl_lock(&m->lock);
	*to = m->state;
	sl_unlock(&m->lock);
}

bool sl_kafka_task_state(struct sl_kafka *k, const struct sl_unit *u, char wait[256], const char **state)
{
	bool found = false;

	sl_lock(&k->lock);
	for (size_t i = 0; i < k->member_count && !found; i++) {
		struct sl_member *m = k->members[i];

		sl_lock(&m->lock);
		for (size_t t = 0; t < m->shown_count && !found; t++) {
			if (m->shown[t].unit != u)
				continue;
			found = true;
			*state = m->shown[t].state;
			memcpy(wait, m->shown[t].wait, sizeof m->shown[t].wait);
		}
		sl_unlock(&m->lock);
	}
	sl_unlock(&k->lock);
	return found;
}

/* From any thread, while a call of the unit ends: so it is still there, but perhaps not its task. */
void sl_member_wake(struct sl_unit *u)
{
	struct sl_kafka *k = u->rt->kafka;

	sl_lock(&k->lock);
	for (size_t i = 0; i < k->member_count; i++)
		if (k->members[i]->step == u->tasks[0].step)
			sl_member_poke(k->members[i]);
	sl_unlock(&k->lock);
}

/* -- the thread ------------------------------------------------------------------------------------------ */

static bool stopping(struct sl_member *m)
{
	bool is;

	sl_lock(&m->lock);
	is = m->stopping;
	sl_unlock(&m->lock);
	return is || m->failed;
}

/* Whoever writes with our id from an earlier life is fenced before we look at anything. */
static void open_transaction(struct sl_member *m)
{
	struct sl_error e = { 0 };

	if (m->txn || m->not_before_ns > sl_monotonic_ns())
		return;
	sl_member_show(m, "starting");
	m->txn = sl_txn_open_watched(m->k, m->id, &e);
	if (m->txn)
		return;
	if (e.verdict == SL_STOP) {
		sl_member_fail(m, &e);
		return;
	}
	snprintf(m->wait, sizeof m->wait, "%.255s", e.text);
	m->not_before_ns = sl_member_back_off(m, -1, m->failures++, e.text);
}

static void subscribe(struct sl_member *m)
{
	struct sl_error e = { 0 };

	if (m->subscribed || !m->txn)
		return;
	m->subscribed = sl_group_subscribe(m->k, m->consumer, m->topic, &e);
	if (!m->subscribed)
		sl_member_fail(m, &e);
}

/* Of the consumer itself; rebalances are called back from here. */
static void poll_events(struct sl_member *m)
{
	for (int i = 0; i < EVENTS_MOST && m->subscribed; i++) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(m->consumer, 0);
		struct sl_error e = { 0 };

		if (!message)
			return;
		if (message->rkt) { /* astray: it should have come through the partition's own queue */
			for (size_t k = 0; k < m->task_count; k++)
				if (m->tasks[k]->partition == message->partition)
					sl_member_read_again(m->tasks[k]);
		} else {
			sl_kafka_failed(m->k, &e, message->err, rd_kafka_message_errstr(message), "follow group '%s'",
					m->group);
			if (e.verdict == SL_STOP)
				sl_member_fail(m, &e);
			else
				sl_log(SL_LOG_WARN, NULL, "%s", e.text);
		}
		rd_kafka_message_destroy(message);
	}
}

static void sooner(int64_t *until_ns, int64_t at_ns, int64_t now)
{
	if (at_ns > now && at_ns < *until_ns)
		*until_ns = at_ns;
}

/* Until the next commit is due or somebody may go on after a failure; pokes come before. */
static void rest(struct sl_member *m)
{
	int64_t now = sl_monotonic_ns(), until = now + REST_MS * INT64_C(1000000), due = sl_member_due(m);

	sooner(&until, m->not_before_ns, now);
	if (m->not_before_ns <= now && due < until) /* while it backs off nothing is due */
		until = due;
	for (size_t i = 0; i < m->task_count; i++) {
		sooner(&until, m->tasks[i]->not_before_ns, now);
		if (m->tasks[i]->unit && m->not_before_ns <= now && m->tasks[i]->unit->look_at_ns < until)
			until = m->tasks[i]->unit->look_at_ns;
	}
	if (until > now)
		sl_member_rest(m, (until - now + 999999) / 1000000);
}

static void leave(struct sl_member *m)
{
	sl_member_show(m, "stopping");
	sl_member_give_up(m, NULL, 0, false);
	sl_group_close(m->consumer, m->events);
	m->consumer = NULL;
	m->events = NULL;
	sl_txn_close(m->txn);
	m->txn = NULL;
	sl_member_part(m);
	sl_member_show(m, "stopped");
}

static void *run(void *arg)
{
	struct sl_member *m = arg;

	while (!stopping(m)) {
		bool busy;

		open_transaction(m);
		subscribe(m);
		poll_events(m);
		if (m->txn)
			sl_txn_idle(m->txn);
		busy = sl_member_restore(m);
		sl_member_read(m);
		busy |= sl_member_fetch(m);
		busy |= sl_member_play(m);
		sl_member_aside_ended(m);
		if (sl_member_due(m) <= sl_monotonic_ns() && m->not_before_ns <= sl_monotonic_ns() && !m->failed)
			sl_member_commit(m);
		sl_member_part(m);
		m->rounds++;
		sl_member_show(m, NULL);
		if (!busy && !m->failed)
			rest(m);
	}
	leave(m);
	return NULL;
}

/* -- for stream.c and run.c ---------------------------------------------------------- */

static void transactional_id(const struct sl_kafka *k, const struct sl_step *step, int number, char id[SL_ID_MAX])
{
	sl_kafka_name(k, id, "%s.%s.%d", step->name, k->uuid, number);
}

bool sl_members_fence(struct sl_kafka *k, struct sl_error *e)
{
	const struct sl_topology *topology = k->topology;

	for (size_t i = 0; i < topology->step_count; i++) {
		const struct sl_step *step = &topology->steps[i];

		for (int n = 0; n < (int)topology->kafka.members; n++) {
			char id[SL_ID_MAX];
			struct sl_txn *txn;

			if (step->host != (int)i || !sl_step_wanted(k->rt, step->name))
				continue;
			transactional_id(k, step, n, id);
			txn = sl_txn_open(k, id, e);
			if (!txn)
				return false;
			sl_txn_close(txn);
		}
	}
	return true;
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_rebalance_cb(conf, sl_member_rebalance);
}

static void something_happened(rd_kafka_t *rk, void *member)
{
	(void)rk;
	sl_member_poke(member);
}

static void member_free(struct sl_member *m)
{
	sl_mutex_destroy(&m->lock);
	sl_cond_destroy(&m->wake);
	free(m->tasks);
	free(m->parting);
	free(m->shown);
	free(m);
}

struct sl_member *sl_member_start(struct sl_kafka *k, const struct sl_step *step, int number, struct sl_error *e)
{
	struct sl_member *m = sl_calloc(1, sizeof *m);

	m->k = k;
	m->step = step;
	m->number = number;
	m->topic = k->names[step->from];
	sl_kafka_name(k, m->group, "%s", step->name);
	transactional_id(k, step, number, m->id);
	sl_mutex_init(&m->lock);
	sl_cond_init(&m->wake);
	m->state = (struct sl_member_state){ .step = step, .state = "starting" };
	m->consumer = sl_group_open(k, m->group, prepare, m, e);
	if (!m->consumer) {
		member_free(m);
		return NULL;
	}
	m->events = rd_kafka_queue_get_consumer(m->consumer);
	rd_kafka_queue_cb_event_enable(m->events, something_happened, m);
	sl_lock(&k->lock);
	k->members = sl_realloc(k->members, (k->member_count + 1) * sizeof(struct sl_member *));
	k->members[k->member_count++] = m;
	sl_unlock(&k->lock);
	sl_thread_start(&m->thread, step->name, run, m);
	return m;
}

void sl_member_ask_stop(struct sl_member *m)
{
	sl_lock(&m->lock);
	m->stopping = m->woken = true;
	sl_cond_signal(&m->wake);
	sl_unlock(&m->lock);
}

struct sl_error sl_member_join(struct sl_member *m)
{
	struct sl_kafka *k = m->k;
	struct sl_error e;
	size_t kept = 0;

	sl_thread_join(m->thread);
	sl_lock(&k->lock);
	for (size_t i = 0; i < k->member_count; i++)
		if (k->members[i] != m)
			k->members[kept++] = k->members[i];
	k->member_count = kept;
	if (kept == 0) {
		free(k->members);
		k->members = NULL;
	}
	sl_unlock(&k->lock);
	e = m->error;
	member_free(m);
	return e;
}
