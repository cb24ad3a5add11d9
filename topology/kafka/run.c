/* run.c -- all members of this process, the leader's duties, and knowing when all is done.
 *
 * Every step has kafka.members members here; which partitions they get is the groups' business, so any number of
 * processes share the work. Among all processes one leads: the one that group APP.leader gives the only partition of
 * APP.meta to (it never reads it there). The leader trains models and lets go of records that were read; both are
 * safe when two lead for a moment: announcements are made under a guard, and what is read stays read.
 *
 * Until idle: every group at its input's end (idle.c), nothing parked here (../parked.h), and when this process leads,
 * no training due. Who does not lead leaves; its partitions go to those that stay. Stuck: nothing moves any more, and
 * all that is left waits for a table that nobody will change. Only the leader knows that, so only it says so.
 *
 * Threads: this loop, the members', and one that trains. */
#include "run.h"

#include "../base/log.h"
#include "member.h"

#include <stdlib.h>

#define POLL_MS 50
#define PROGRESS_MS 500
#define LOOK_MS 200
#define TRAIN_MS 1000
#define PURGE_MS 30000
#define STUCK_MS 10000 /* nothing moves for so long, where others have tasks too */

struct run {
	struct sl_kafka *k; /* first: the opaque of the leader's consumer */
	struct sl_runtime *rt;
	const struct sl_run_options *options;
	rd_kafka_t *consumer;
	bool met; /* the leaders' group has met: somebody leads */
	struct sl_look look;
	int64_t looked_ns, same_since_ns;
	uint64_t *rounds; /* of every member, when `same_since_ns` was set */
	/* training */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, asked, training, trained, failed;
	bool looked; /* nothing was due, and nothing has moved since */
	struct sl_error error;
};

/* -- leading ---------------------------------------------------------------------------------------- */

static void lead(struct run *r, bool leads)
{
	if (leads != atomic_exchange(&r->k->leader, leads))
		sl_log(SL_LOG_NOTE, NULL,
		       leads ? "this process leads: it trains models and drops what was read"
			     : "this process does not lead any more");
}

/* It reads nothing: being given the partition is all. */
static void rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *parts, void *arg)
{
	rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
	struct run *r = arg;
	struct sl_error e = { 0 };
	bool done;

	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		lead(r, atomic_load(&r->k->leader) || parts->cnt > 0);
		r->met = true;
		done = sl_group_assign(r->k, rk, none, &e);
	} else {
		lead(r, atomic_load(&r->k->leader) && parts->cnt == 0);
		done = sl_group_cooperative(rk) ? sl_group_unassign(r->k, rk, none, &e)
						: sl_group_assign(r->k, rk, NULL, &e);
	}
	if (!done)
		sl_log(SL_LOG_WARN, NULL, "%s", e.text);
	rd_kafka_topic_partition_list_destroy(none);
}

static void prepare(rd_kafka_conf_t *conf, void *arg)
{
	(void)arg;
	rd_kafka_conf_set_rebalance_cb(conf, rebalance);
}

static bool leader_open(struct run *r, struct sl_error *e)
{
	char group[SL_ID_MAX], topic[SL_ID_MAX];

	sl_kafka_name(r->k, group, "leader");
	sl_kafka_name(r->k, topic, "meta");
	r->consumer = sl_group_open(r->k, group, prepare, r, e);
	return r->consumer && sl_group_subscribe(r->k, r->consumer, topic, e);
}

/* Also what the loop sleeps in. */
static bool leader_poll(struct run *r, struct sl_error *e)
{
	rd_kafka_message_t *message = rd_kafka_consumer_poll(r->consumer, POLL_MS);
	bool done = true;

	if (message && message->err) {
		sl_kafka_failed(r->k, e, message->err, rd_kafka_message_errstr(message), "follow the leaders' group");
		done = e->verdict != SL_STOP;
		if (done)
			sl_log(SL_LOG_WARN, NULL, "%s", e->text);
	}
	if (message)
		rd_kafka_message_destroy(message);
	return done;
}

/* -- training ----------------------------------------------------------------------------------------- */

/* One look at what is due. What is announced is seen here before anybody asks whether something waits in vain. */
static bool train(struct run *r, bool *trained, struct sl_error *e)
{
	int64_t since_ns = sl_thread_cpu_ns();
	bool done = sl_training_due(r->rt, r->options->until_idle, trained, e);

	atomic_fetch_add(&r->rt->training_cpu_ns, sl_thread_cpu_ns() - since_ns);
	return done && (!*trained || sl_follow_sync(r->k->follow, true, e));
}

static void *trainer(void *arg)
{
	struct run *r = arg;

	sl_lock(&r->lock);
	while (!r->stopping) {
		struct sl_error e = { 0 };
		bool trained = false, done;

		if (r->options->until_idle ? !r->asked : !atomic_load(&r->k->leader)) {
			sl_cond_wait_ms(&r->wake, &r->lock, TRAIN_MS);
			continue;
		}
		r->training = true;
		sl_unlock(&r->lock);
		done = train(r, &trained, &e);
		sl_lock(&r->lock);
		r->training = r->asked = false;
		r->trained |= trained;
		r->looked = done && !trained;
		if (!done && e.verdict == SL_STOP) {
			r->failed = r->stopping = true;
			r->error = e;
		} else if (!done) {
			sl_log(SL_LOG_WARN, NULL, "training is tried again: %s", e.text);
		}
		if (!r->stopping && (!done || !r->options->until_idle))
			sl_cond_wait_ms(&r->wake, &r->lock, TRAIN_MS);
	}
	sl_unlock(&r->lock);
	return NULL;
}

/* -- the end -------------------------------------------------------------------------------------------- */

/* What the members say together. looks: every one has looked around twice since *rounds were noted. */
struct together {
	bool only_waiting, looks, parked;
	size_t waiting;
	char why[256]; /* what one of those that wait waits for */
};

static bool together(struct run *r, bool note, struct together *t, struct sl_error *e)
{
	*t = (struct together){ .only_waiting = true, .looks = true };
	for (size_t i = 0; i < r->k->member_count; i++) {
		struct sl_member_state s;

		sl_member_state(r->k->members[i], &s);
		if (s.failed) {
			*e = s.error;
			return false;
		}
		t->only_waiting &= s.only_waiting;
		t->looks &= s.rounds >= r->rounds[i] + 2;
		t->parked |= s.parked;
		if (s.waiting)
			memcpy(t->why, s.wait, sizeof t->why);
		t->waiting += s.waiting;
		if (note)
			r->rounds[i] = s.rounds;
	}
	return true;
}

static bool stuck(struct run *r, const struct together *t, int64_t same_ms, enum sl_run_end *end, struct sl_error *e)
{
	struct sl_buf next = { 0 };

	if (!atomic_load(&r->k->leader) || t->waiting == 0 || (r->look.lagging > t->waiting && same_ms < STUCK_MS))
		return false;
	sl_training_stuck(r->rt, &next);
	*end = SL_RUN_STUCK;
	sl_error_set(e, SL_STOP, "%s%s%s", t->why, next.size ? ": " : "", sl_buf_text(&next));
	sl_buf_release(&next);
	return true;
}

/* Nothing is coming that questions in no batch yet could wait for: they become one now. */
static void send_batches(struct run *r)
{
	struct sl_kafka *k = r->k;
	bool loose, any = false;

	sl_lock(&r->rt->commit_lock);
	for (size_t i = 0; i < r->rt->unit_count; i++) {
		struct sl_unit *u = r->rt->units[i];

		if (!sl_unit_parked(u, &loose) || !loose)
			continue;
		atomic_store(&u->batch_at_once, true);
		any = true;
	}
	sl_unlock(&r->rt->commit_lock);
	for (size_t i = 0; any && i < k->member_count; i++)
		sl_member_poke(k->members[i]);
}

/* Until idle: true when the run is over. */
static bool over(struct run *r, enum sl_run_end *end, struct sl_error *e)
{
	int64_t now = sl_monotonic_ns();
	struct sl_error why = { 0 };
	bool wait, trained, looked, settled;
	struct together t;

	if (now - r->looked_ns < LOOK_MS * INT64_C(1000000))
		return false;
	r->looked_ns = now;
	sl_lock(&r->lock);
	wait = r->asked || r->training;
	trained = r->trained;
	looked = r->looked || r->rt->options.freeze;
	r->trained = false;
	sl_unlock(&r->lock);
	if (wait || !r->met || !together(r, false, &t, &why)) /* a failure is said by the loop */
		return false;
	if (!t.only_waiting || !sl_kafka_look(r->k, &r->look, &why)) {
		r->same_since_ns = 0;
		*end = SL_RUN_FAILED;
		*e = why;
		return why.verdict == SL_STOP; /* else it may pass */
	}
	if (!r->look.same || trained) {
		r->same_since_ns = 0;
		sl_lock(&r->lock);
		r->looked = false; /* something moved: there may be something to train on */
		sl_unlock(&r->lock);
	}
	if (!r->same_since_ns) {
		r->same_since_ns = now;
		(void)together(r, true, &t, &why);
		return false;
	}
	if (!t.looks)
		return false;
	if (t.parked) {
		if (r->look.lagging <= t.waiting || now - r->same_since_ns > STUCK_MS * INT64_C(1000000))
			send_batches(r);
		return false;
	}
	if (atomic_load(&r->k->leader) && !looked) {
		sl_lock(&r->lock);
		r->asked = true;
		sl_cond_signal(&r->wake);
		sl_unlock(&r->lock);
		return false;
	}
	*end = SL_RUN_IDLE;
	if (r->look.lagging == 0)
		return sl_kafka_settled(r->k, &settled, &why) && settled;
	return stuck(r, &t, (now - r->same_since_ns) / 1000000, end, e);
}

static bool failed(struct run *r, struct sl_error *e)
{
	struct together t;
	bool is;

	if (!together(r, false, &t, e))
		return true;
	sl_lock(&r->lock);
	is = r->failed;
	if (is)
		*e = r->error;
	sl_unlock(&r->lock);
	return is;
}

static void purge(struct run *r)
{
	struct sl_error e = { 0 };

	if (!sl_kafka_purge_read(r->k, &e))
		sl_log(SL_LOG_WARN, NULL, "%s", e.text);
}

static enum sl_run_end loop(struct run *r, struct sl_error *e)
{
	int64_t shown_ns = 0, purged_ns = sl_monotonic_ns();
	enum sl_run_end end = SL_RUN_STOPPED;

	for (;;) {
		int64_t now = sl_monotonic_ns();

		if (!leader_poll(r, e) || failed(r, e))
			return SL_RUN_FAILED;
		if (atomic_load(&r->rt->stop))
			return SL_RUN_STOPPED;
		if (r->options->until_idle && over(r, &end, e))
			return end;
		if (atomic_load(&r->k->leader) && now - purged_ns > PURGE_MS * INT64_C(1000000)) {
			purge(r);
			purged_ns = now;
		}
		if (r->options->progress && now - shown_ns > PROGRESS_MS * INT64_C(1000000)) {
			r->options->progress(r->options->arg, r->rt);
			shown_ns = now;
		}
	}
}

/* -- beginning and end ------------------------------------------------------------------------------------- */

static bool start(struct run *r, struct sl_error *e)
{
	const struct sl_topology *topology = r->rt->topology;

	for (size_t i = 0; i < topology->step_count; i++) {
		const struct sl_step *step = &topology->steps[i];

		if (step->host != (int)i || !sl_step_wanted(r->rt, step->name))
			continue;
		for (int n = 0; n < (int)topology->kafka.members; n++)
			if (!sl_member_start(r->k, step, n, e))
				return false;
	}
	r->rounds = sl_calloc(r->k->member_count + 1, sizeof *r->rounds);
	return true;
}

/* All leave together, so that the groups meet once more and not once for each of us. A failure while leaving
 * counts. */
static void finish(struct run *r, enum sl_run_end *end, struct sl_error *e)
{
	for (size_t i = 0; i < r->k->member_count; i++)
		sl_member_ask_stop(r->k->members[i]);
	if (*end == SL_RUN_STOPPED)
		sl_runtime_drain(r->rt);
	while (r->k->member_count) {
		struct sl_member *m = r->k->members[r->k->member_count - 1];
		struct sl_error why = sl_member_join(m);

		if (why.verdict != SL_OK && *end != SL_RUN_FAILED) {
			*end = SL_RUN_FAILED;
			*e = why;
		}
	}
}

enum sl_run_end sl_kafka_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e)
{
	struct run r = { .k = rt->kafka, .rt = rt, .options = options };
	enum sl_run_end end = SL_RUN_FAILED;

	if (!sl_kafka_reach(r.k, 0, e))
		return atomic_load(&rt->stop) ? SL_RUN_STOPPED : SL_RUN_FAILED;
	sl_mutex_init(&r.lock);
	sl_cond_init(&r.wake);
	if (!rt->options.freeze)
		sl_thread_start(&r.thread, "trainer", trainer, &r);
	if (leader_open(&r, e) && start(&r, e))
		end = loop(&r, e);
	if (end == SL_RUN_IDLE && atomic_load(&r.k->leader))
		purge(&r);
	sl_lock(&r.lock);
	r.stopping = true;
	sl_cond_signal(&r.wake);
	sl_unlock(&r.lock);
	finish(&r, &end, e);
	if (!rt->options.freeze)
		sl_thread_join(r.thread);
	sl_group_close(r.consumer, NULL);
	lead(&r, false);
	sl_look_release(&r.look);
	free(r.rounds);
	sl_mutex_destroy(&r.lock);
	sl_cond_destroy(&r.wake);
	return end;
}
