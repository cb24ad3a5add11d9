/* stream.c -- the Kafka stream from above: the table of functions of ../stream.h.
 *
 * Opening meets the brokers: reach them, see that this data folder belongs to this cluster and application, make the
 * topics that are missing, read APP.meta and the tables to their ends. `run` waits for brokers that are
 * down, other commands give up after a few seconds. Members of consumer groups come and go with run (run.c);
 * commands work without any.
 *
 * A data folder holds copies of task states and the uuid in the transactional ids of its members: key 'k' of the
 * local store says whose. With another cluster or application behind the same name both would be wrong.
 *
 * Threads: any, each function as stream.h says; what progress found is kept for a moment under a lock per step. */
#include "kafka.h"

#include "../base/log.h"
#include "../keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define PATIENCE_MS 15000
#define SAY_NS INT64_C(3000000000)
#define LAG_NS INT64_C(500000000) /* how long a progress stays true enough for status */

/* What is committed and unread of a step's input, per partition. */
struct sl_lag {
	pthread_mutex_t lock;
	int64_t at_ns; /* 0: never looked */
	int64_t *committed, *lag;
};

/* -- whose folder -------------------------------------------------------------------------- */

static bool new_uuid(char uuid[37], struct sl_error *e)
{
	uint8_t b[16];

	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		return sl_error_errno(e, SL_STOP, "cannot read random bytes");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(uuid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		 b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return true;
}

/* Three texts with a NUL behind each: cluster id, application, uuid. */
static bool parse_identity(const struct sl_buf *value, const char *parts[3])
{
	const char *at = (const char *)value->data, *end = at + value->size;

	for (size_t i = 0; i < 3; i++) {
		const char *nul = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

		if (!nul)
			return false;
		parts[i] = at;
		at = nul + 1;
	}
	return at == end && strlen(parts[2]) == 36;
}

static bool check_identity(struct sl_kafka *k, const struct sl_buf *value, const char *cluster, struct sl_error *e)
{
	const char *parts[3];

	if (!parse_identity(value, parts))
		return sl_error_set(e, SL_STOP,
				    "data folder '%s' has no readable identity (key 'k'): remove the folder, its state "
				    "is on the brokers",
				    k->rt->data);
	if (strcmp(parts[0], cluster) != 0 || strcmp(parts[1], k->app) != 0)
		return sl_error_set(e, SL_STOP,
				    "data folder '%s' belongs to application '%s' on Kafka cluster '%s', this is '%s' "
				    "on cluster '%s': use another folder (data: or --data), or put stream.brokers, "
				    "stream.prefix and the topology's name back",
				    k->rt->data, parts[1], parts[0], k->app, cluster);
	memcpy(k->uuid, parts[2], sizeof k->uuid);
	return true;
}

static bool identify(struct sl_kafka *k, struct sl_error *e)
{
	struct sl_store *store = k->rt->store;
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	struct sl_buf value = { 0 };
	const struct sl_bytes key = { "k", 1 };
	char *cluster = rd_kafka_clusterid(k->admin, PATIENCE_MS);
	bool found, done;

	if (!cluster)
		return sl_error_set(e, SL_RETRY, "the brokers '%s' do not tell the id of their cluster",
				    k->topology->kafka.brokers);
	done = store->ops->get(store, key, &value, &found, e);
	if (done && found) {
		done = check_identity(k, &value, cluster, e);
	} else if (done && new_uuid(k->uuid, e)) {
		sl_buf_clear(&value);
		sl_buf_add(&value, cluster, strlen(cluster) + 1);
		sl_buf_add(&value, k->app, strlen(k->app) + 1);
		sl_buf_add(&value, k->uuid, sizeof k->uuid);
		sl_writes_put(&w, key, sl_buf_bytes(&value));
		done = store->ops->write(store, &batch, 1, true, e);
	} else {
		done = false;
	}
	rd_kafka_mem_free(k->admin, cluster);
	sl_writes_release(&w);
	sl_buf_release(&value);
	return done;
}

/* -- open and close ------------------------------------------------------------------------- */

static bool values_open(struct sl_kafka *k, struct sl_error *e)
{
	const struct sl_kafka_def *def = &k->topology->kafka;
	struct sl_registry_options options = { .url = def->registry_url,
					       .user = def->registry_user,
					       .password = def->registry_password,
					       .ca = def->registry_ca };

	if (def->registry_url) {
		k->registry = sl_registry_open(&options, e);
		if (!k->registry)
			return false;
	}
	k->values = sl_values_new(k->registry);
	return true;
}

static bool kafka_refresh(struct sl_runtime *rt, int topic, struct sl_error *e)
{
	struct sl_topic_state *state = &rt->topics[topic];
	int32_t count = rt->topology->topics[topic].partitions;
	int64_t *starts, *ends;
	bool done;

	if (!state->ends)
		return true; /* inlined */
	starts = sl_malloc(2 * (size_t)count * sizeof *starts);
	ends = starts + count;
	done = sl_kafka_ends_all(rt->kafka, rt->kafka->names[topic], count, true, starts, ends, e);
	for (int32_t p = 0; done && p < count; p++) {
		atomic_store(&state->starts[p], starts[p]);
		atomic_store(&state->ends[p], ends[p]);
	}
	free(starts);
	return done;
}

/* All that needs the brokers; may be tried again. */
static bool meet(struct sl_kafka *k, struct sl_error *e)
{
	struct sl_runtime *rt = k->rt;

	if (!identify(k, e) || !sl_kafka_topics(k, e))
		return false;
	if (rt->options.wait_for_brokers && (!sl_kafka_register(k, e) || !sl_members_fence(k, e)))
		return false;
	k->follow = sl_follow_open(k, e);
	if (k->follow && sl_meta_check(rt, e))
		return true;
	sl_follow_close(k->follow);
	k->follow = NULL;
	rt->meta = NULL;
	return false;
}

/* Until it succeeds or cannot: what the brokers refuse for the moment is tried again within the patience. A topic that
 * was just made has no leader for a moment, so only a refusal that lasts is worth a line. */
static bool meet_patiently(struct sl_kafka *k, struct sl_error *e)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	bool for_ever = k->rt->options.wait_for_brokers;
	int64_t begun = sl_monotonic_ns(), said = begun, now;

	while (!sl_kafka_reach(k, for_ever ? 0 : PATIENCE_MS, e) || !meet(k, e)) {
		now = sl_monotonic_ns();
		if (e->verdict == SL_STOP || sl_kafka_stopping(k) ||
		    (!for_ever && now - begun > PATIENCE_MS * INT64_C(1000000))) {
			e->verdict = SL_STOP; /* SL_RETRY from open means: the folder is in use */
			return false;
		}
		if (now - said > SAY_NS) {
			sl_log(SL_LOG_NOTE, NULL, "trying again: %s", e->text);
			said = now;
		}
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static bool kafka_open(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_kafka *k = sl_calloc(1, sizeof *k);

	rt->kafka = k;
	k->rt = rt;
	sl_kafka_memo_open(k);
	k->lags = sl_calloc(rt->topology->step_count + 1, sizeof *k->lags);
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		size_t n = (size_t)rt->topology->topics[rt->topology->steps[i].from].partitions;

		sl_mutex_init(&k->lags[i].lock);
		k->lags[i].committed = sl_calloc(n, sizeof(int64_t));
		k->lags[i].lag = sl_calloc(n, sizeof(int64_t));
	}
	return sl_kafka_connect(k, rt->topology, e) && values_open(k, e) && meet_patiently(k, e);
}

static void kafka_close(struct sl_runtime *rt)
{
	struct sl_kafka *k = rt->kafka;

	if (!k)
		return;
	while (rt->unit_count) /* what members gave up with calls in flight: these are settled by now */
		sl_unit_close(rt->units[rt->unit_count - 1]);
	sl_kafka_guards_close(k);
	sl_kafka_readers_close(k);
	sl_follow_close(k->follow);
	rt->meta = NULL;
	sl_kafka_memo_close(k);
	sl_values_free(k->values);
	sl_registry_close(k->registry);
	sl_kafka_disconnect(k);
	sl_kafka_statistics_free(k);
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		sl_mutex_destroy(&k->lags[i].lock);
		free(k->lags[i].committed);
		free(k->lags[i].lag);
	}
	free(k->lags);
	free(k);
	rt->kafka = NULL;
}

/* -- counts and progress --------------------------------------------------------------------- */

/* The sum of the counts with this prefix whose key ends in exactly `topic`: 'n' writer 0 partition(4) topic. */
static int64_t counted(struct sl_runtime *rt, struct sl_bytes prefix, const char *topic)
{
	struct sl_store_scan *scan = rt->meta->ops->scan(rt->meta, prefix);
	struct sl_bytes key, value;
	struct sl_error e = { 0 };
	int64_t n = 0;

	while (rt->meta->ops->next(scan, &key, &value, &e)) {
		const char *writer_end = memchr(key.data, 0, key.size);
		size_t skip = writer_end ? (size_t)(writer_end - (const char *)key.data) + 5 : SIZE_MAX;

		if (skip <= key.size && value.size == 8 &&
		    sl_is((struct sl_bytes){ (const char *)key.data + skip, key.size - skip }, topic))
			n += (int64_t)sl_get_le64(value.data);
	}
	rt->meta->ops->end(scan);
	return n;
}

/* What our writers have sent, or, where other people write too, what was read if that is more. */
static int64_t kafka_records(struct sl_runtime *rt, int topic)
{
	int64_t most = counted(rt, (struct sl_bytes){ "n", 1 }, rt->topology->topics[topic].name);
	struct sl_buf prefix = { 0 };

	for (size_t i = 0; i < rt->topology->step_count; i++) {
		int64_t read;

		if (rt->topology->steps[i].from != topic)
			continue;
		sl_key_begin(&prefix, 'n', rt->topology->steps[i].name);
		read = counted(rt, sl_buf_bytes(&prefix), "");
		most = read > most ? read : most;
	}
	sl_buf_release(&prefix);
	return most;
}

static int64_t kafka_bytes(struct sl_runtime *rt, int topic)
{
	(void)rt, (void)topic;
	return -1;
}

static bool look(struct sl_kafka *k, const struct sl_step *step, struct sl_lag *l, struct sl_error *e)
{
	const char *topic = k->names[step->from];
	int32_t count = k->topology->topics[step->from].partitions;
	int64_t *offsets = sl_malloc(3 * (size_t)count * sizeof *offsets), *starts = offsets + count,
		*ends = starts + count;
	char group[SL_ID_MAX];
	bool done;

	sl_kafka_name(k, group, "%s", step->name);
	done = sl_kafka_offsets(k, group, topic, count, offsets, e) &&
	       sl_kafka_ends_all(k, topic, count, true, starts, ends, e);
	for (int32_t p = 0; done && p < count; p++) {
		l->committed[p] = offsets[p] < 0 ? 0 : offsets[p];
		l->lag[p] = ends[p] - (offsets[p] < starts[p] ? starts[p] : offsets[p]);
		if (l->lag[p] < 0)
			l->lag[p] = 0; /* past what is stable: control records of a transaction that is ending */
	}
	free(offsets);
	return done;
}

static bool kafka_progress(struct sl_runtime *rt, const struct sl_step *step, int32_t partition, int64_t *committed,
			   int64_t *lag, struct sl_error *e)
{
	struct sl_lag *l = &rt->kafka->lags[step - rt->topology->steps];
	bool done = true;

	sl_lock(&l->lock);
	if (l->at_ns == 0 || sl_monotonic_ns() - l->at_ns > LAG_NS) {
		done = look(rt->kafka, step, l, e);
		l->at_ns = done ? sl_monotonic_ns() : 0;
	}
	*committed = l->committed[partition];
	*lag = l->lag[partition];
	sl_unlock(&l->lock);
	return done;
}

/* -- units: the rest is member.c -------------------------------------------------------------- */

static bool kafka_decode(struct sl_unit *u, const struct sl_record *r, struct sl_pair *p, struct sl_error *e)
{
	struct sl_kafka *k = u->rt->kafka;
	int topic = u->tasks[0].step->from;
	struct sl_values_from from = { k->names[topic], u->partition, topic == k->topology->entry };

	return sl_values_pair(k->values, &from, r, &u->now->arena, p, e);
}

static bool kafka_look(struct sl_runtime *rt, int topic, int32_t partition, int64_t *stable, int64_t *end,
		       struct sl_error *e)
{
	struct sl_kafka *k = rt->kafka;
	int64_t start;

	return sl_kafka_ends(k, k->names[topic], partition, false, &start, end, e) &&
	       sl_kafka_ends(k, k->names[topic], partition, true, &start, stable, e);
}

static const char *kafka_state(struct sl_unit *u, char wait[256])
{
	const char *state = "off";

	wait[0] = 0;
	(void)sl_kafka_task_state(u->rt->kafka, u, wait, &state);
	return state;
}

const struct sl_stream_ops sl_stream_kafka = {
	.name = "kafka",
	.open = kafka_open,
	.close = kafka_close,
	.refresh = kafka_refresh,
	.records = kafka_records,
	.bytes = kafka_bytes,
	.read = sl_kafka_read,
	.read_end = sl_kafka_read_end,
	.commit = sl_kafka_commit,
	.guard = sl_kafka_guard,
	.waiting = sl_member_waiting,
	.load = sl_member_load,
	.decode = kafka_decode,
	.memo = sl_kafka_memo,
	.aside = sl_kafka_aside,
	.look = kafka_look,
	.wake = sl_member_wake,
	.state = kafka_state,
	.progress = kafka_progress,
	.run = sl_kafka_run,
	.describe = sl_kafka_describe,
	.metrics = sl_kafka_metrics,
};
