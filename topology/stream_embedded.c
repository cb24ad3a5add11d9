/* stream_embedded.c -- the stream without a server: segment files in DIR/topics, everything else in DIR/store.
 *
 * One process owns the folder, so all units are here from open to close, rt->meta is the store itself, and
 * one commit (commit.c) serves any number of units. Threads: run.c. */
#include "engine.h"

#include "keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* -- open and close -------------------------------------------------------------------- */

static bool recorded_end(struct sl_runtime *rt, const char *topic, int32_t partition, struct sl_log_end *end,
			 struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	memset(end, 0, sizeof *end);
	sl_key_begin(&key, 'e', topic);
	sl_key_partition(&key, partition);
	done = rt->store->ops->get(rt->store, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && value.size != 24)
		done = sl_error_set(e, SL_STOP,
				    "the end of topic '%s' has %zu bytes, expected 24: the store is damaged", topic,
				    value.size);
	if (done && found) {
		end->offset = (int64_t)sl_get_le64(value.data);
		end->segment = (int64_t)sl_get_le64(value.data + 8);
		end->bytes = sl_get_le64(value.data + 16);
	}
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

static bool committed_offset(struct sl_runtime *rt, const char *step, int32_t partition, int64_t *offset,
			     struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	*offset = 0;
	sl_key_begin(&key, 'o', step);
	sl_key_partition(&key, partition);
	done = rt->store->ops->get(rt->store, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && value.size == 16)
		*offset = (int64_t)sl_get_le64(value.data);
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

/* How far the slowest of all steps that ever read the topic is; *end where nobody did. */
static bool slowest_reader(struct sl_runtime *rt, const char *topic, int32_t partition, int64_t *end,
			   struct sl_error *e)
{
	struct sl_store_scan *scan = rt->store->ops->scan(rt->store, (struct sl_bytes){ "r", 1 });
	struct sl_bytes key, value;
	bool done = true;

	e->verdict = SL_OK;
	while (done && rt->store->ops->next(scan, &key, &value, e)) {
		int64_t read;

		if (!sl_bytes_equal(value, sl_text(topic)))
			continue;
		done = committed_offset(rt, (const char *)key.data + 1, partition, &read, e);
		if (done && read < *end)
			*end = read;
	}
	rt->store->ops->end(scan);
	return done && e->verdict == SL_OK;
}

/* A topic that lost its log or its partitions in the topology must have been read to its end. */
static bool check_unread(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_store_scan *scan = rt->store->ops->scan(rt->store, (struct sl_bytes){ "e", 1 });
	struct sl_bytes key, value;
	bool done = true;

	e->verdict = SL_OK;
	while (done && rt->store->ops->next(scan, &key, &value, e)) {
		const char *name = (const char *)key.data + 1;
		const uint8_t *tail = (const uint8_t *)name + strlen(name) + 1;
		int32_t partition =
			(int32_t)((uint32_t)tail[0] << 24 | (uint32_t)tail[1] << 16 | (uint32_t)tail[2] << 8 | tail[3]);
		int64_t end = (int64_t)sl_get_le64(value.data), read = end;
		int topic = sl_topology_topic(rt->topology, name);
		const struct sl_topic *t = topic >= 0 ? &rt->topology->topics[topic] : NULL;

		if (t && !t->inlined && partition < t->partitions)
			continue;
		if (t && !t->inlined) {
			done = sl_error_set(e, SL_STOP,
					    "topic '%s' has %d or more partitions in '%s', %d in the topology: "
					    "partitions cannot be taken "
					    "away",
					    name, (int)partition + 1, rt->data, (int)t->partitions);
			break;
		}
		done = slowest_reader(rt, name, partition, &read, e);
		if (done && read < end)
			done = sl_error_set(
				e, SL_STOP,
				"topic '%s' is %s in the topology but has %" PRId64
				" unread records in partition %d: run the old topology with --until-idle first",
				name, t ? "inlined" : "missing", end - read, (int)partition);
	}
	rt->store->ops->end(scan);
	return done && e->verdict == SL_OK;
}

static bool open_logs(struct sl_runtime *rt, struct sl_error *e)
{
	const struct sl_topology *topology = rt->topology;

	for (size_t i = 0; i < topology->topic_count; i++) {
		const struct sl_topic *t = &topology->topics[i];
		struct sl_topic_state *state = &rt->topics[i];

		if (t->inlined)
			continue;
		state->logs = sl_calloc((size_t)t->partitions, sizeof(struct sl_log *));
		state->applied = sl_calloc((size_t)t->partitions, sizeof *state->applied);
		state->touched = sl_calloc((size_t)t->partitions, sizeof *state->touched);
		for (int32_t p = 0; p < t->partitions; p++) {
			struct sl_log_end end;
			char folder[400];

			snprintf(folder, sizeof folder, "topics/%s/%d", t->name, (int)p);
			if (!recorded_end(rt, t->name, p, &end, e))
				return false;
			state->logs[p] = sl_log_open(rt->disk, folder, end, t->segment_bytes, e);
			if (!state->logs[p])
				return false;
			atomic_store(&state->ends[p], end.offset);
			atomic_store(&state->starts[p], sl_log_end(state->logs[p]).start);
		}
	}
	return true;
}

/* Tables as they are, or as a frozen run pinned them. */
static bool read_tables(struct sl_runtime *rt, struct sl_error *e)
{
	bool done = sl_freeze_pin(rt, e);

	for (size_t i = 0; done && i < rt->topology->topic_count; i++) {
		for (int32_t p = 0; done && rt->topics[i].table && p < rt->topology->topics[i].partitions; p++) {
			int64_t end;

			done = sl_freeze_end(rt, (int)i, p, &end, e) && sl_table_read(rt, (int)i, p, end, e);
		}
	}
	return done;
}

static bool open_units(struct sl_runtime *rt, struct sl_error *e)
{
	const struct sl_topology *topology = rt->topology;

	for (size_t i = 0; i < topology->step_count; i++) {
		const struct sl_step *step = &topology->steps[i];

		if (step->host != (int)i || !sl_step_wanted(rt, step->name))
			continue;
		for (int32_t p = 0; p < topology->topics[step->from].partitions; p++)
			if (!sl_unit_new(rt, step, p, e))
				return false;
	}
	return true;
}

/* A crash may have come between a commit and the dropping of what it left behind. */
static bool retain_all(struct sl_runtime *rt, struct sl_error *e)
{
	bool *all = sl_calloc(rt->topology->topic_count + 1, sizeof *all);
	bool done;

	memset(all, true, rt->topology->topic_count * sizeof *all);
	done = sl_retain(rt, all, e);
	free(all);
	return done;
}

static bool embedded_open(struct sl_runtime *rt, struct sl_error *e)
{
	rt->meta = rt->store;
	if (!sl_meta_check(rt, e) || !check_unread(rt, e) || !open_logs(rt, e) || !read_tables(rt, e) ||
	    !open_units(rt, e) || !retain_all(rt, e))
		return false;
	rt->scheduler = sl_scheduler_new(rt);
	return true;
}

static void embedded_close(struct sl_runtime *rt)
{
	while (rt->unit_count)
		sl_unit_close(rt->units[rt->unit_count - 1]);
	sl_scheduler_free(rt->scheduler);
	for (size_t i = 0; rt->topics && i < rt->topology->topic_count; i++) {
		struct sl_topic_state *state = &rt->topics[i];

		for (int32_t p = 0; state->logs && p < rt->topology->topics[i].partitions; p++)
			sl_log_close(state->logs[p]);
		free(state->logs);
		free(state->applied);
		free(state->touched);
	}
}

/* -- reading ----------------------------------------------------------------------------- */

static bool embedded_refresh(struct sl_runtime *rt, int topic, struct sl_error *e)
{
	(void)e; /* the ends are published by commits */
	for (int32_t p = 0; rt->topics[topic].logs && p < rt->topology->topics[topic].partitions; p++)
		atomic_store(&rt->topics[topic].starts[p], sl_log_start(rt->topics[topic].logs[p]));
	return true;
}

static int64_t embedded_records(struct sl_runtime *rt, int topic)
{
	int64_t n = 0;

	for (int32_t p = 0; rt->topics[topic].ends && p < rt->topology->topics[topic].partitions; p++)
		n += atomic_load(&rt->topics[topic].ends[p]);
	return n;
}

static int64_t embedded_bytes(struct sl_runtime *rt, int topic)
{
	int64_t n = 0;

	for (int32_t p = 0; rt->topics[topic].logs && p < rt->topology->topics[topic].partitions; p++)
		n += (int64_t)sl_log_bytes(rt->topics[topic].logs[p]);
	return n;
}

static bool embedded_read(struct sl_reader *r, struct sl_error *e)
{
	return sl_log_read(r->rt->topics[r->topic].logs[r->partition], &r->cursor, r->end,
			   sizeof r->records / sizeof *r->records, 256u << 10, &r->bytes, r->records, &r->count, e);
}

static void embedded_read_end(struct sl_reader *r)
{
	(void)r;
}

/* -- units --------------------------------------------------------------------------------- */

static bool embedded_guard(struct sl_runtime *rt, struct sl_bytes name, struct sl_error *e)
{
	(void)rt, (void)name, (void)e;
	return true;
}

static bool embedded_waiting(struct sl_unit *u)
{
	return u->cursor.offset < atomic_load(&u->rt->topics[u->tasks[0].step->from].ends[u->partition]);
}

static bool embedded_load(struct sl_unit *u, size_t record_max, size_t bytes_max, struct sl_error *e)
{
	struct sl_topic_state *topic = &u->rt->topics[u->tasks[0].step->from];

	return sl_log_read(topic->logs[u->partition], &u->cursor, atomic_load(&topic->ends[u->partition]), record_max,
			   bytes_max, &u->now->bytes, u->now->records, &u->now->count, e);
}

static bool embedded_decode(struct sl_unit *u, const struct sl_record *r, struct sl_pair *p, struct sl_error *e)
{
	return sl_pair_decode(r->value, &u->now->arena, p, e);
}

static bool embedded_memo(struct sl_unit *u, struct sl_writes *answers, struct sl_error *e)
{
	return u->rt->store->ops->write(u->rt->store, &answers, 1, u->rt->topology->durable, e);
}

static bool embedded_aside(struct sl_unit *u, const struct sl_append *append, struct sl_writes *rows,
			   struct sl_error *e)
{
	return sl_commit(u->rt, NULL, 0, append, append != NULL, rows, e);
}

static bool embedded_look(struct sl_runtime *rt, int topic, int32_t partition, int64_t *stable, int64_t *end,
			  struct sl_error *e)
{
	(void)e;
	*stable = *end = atomic_load(&rt->topics[topic].ends[partition]);
	return true;
}

static void embedded_wake(struct sl_unit *u)
{
	sl_scheduler_wake_unit(u);
}

static const char *embedded_state(struct sl_unit *u, char wait[256])
{
	return sl_scheduler_state(u->rt, u, wait);
}

static bool embedded_progress(struct sl_runtime *rt, const struct sl_step *step, int32_t partition, int64_t *committed,
			      int64_t *lag, struct sl_error *e)
{
	(void)e;
	*committed = *lag = 0;
	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++) {
		if (rt->units[i]->tasks[0].step != step || rt->units[i]->partition != partition)
			continue;
		*committed = rt->units[i]->committed;
		*lag = atomic_load(&rt->topics[step->from].ends[partition]) - *committed;
	}
	sl_unlock(&rt->commit_lock);
	return true;
}

static void embedded_describe(struct sl_runtime *rt, struct sl_buf *to)
{
	(void)rt, (void)to; /* what there is to say is in the common part */
}

const struct sl_stream_ops sl_stream_embedded = {
	.name = "embedded",
	.open = embedded_open,
	.close = embedded_close,
	.refresh = embedded_refresh,
	.records = embedded_records,
	.bytes = embedded_bytes,
	.read = embedded_read,
	.read_end = embedded_read_end,
	.commit = sl_embedded_commit,
	.guard = embedded_guard,
	.waiting = embedded_waiting,
	.load = embedded_load,
	.decode = embedded_decode,
	.memo = embedded_memo,
	.aside = embedded_aside,
	.look = embedded_look,
	.wake = embedded_wake,
	.state = embedded_state,
	.progress = embedded_progress,
	.run = sl_embedded_run,
	.describe = embedded_describe,
	.metrics = embedded_describe,
};
