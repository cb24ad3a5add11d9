/* commit.c -- the one place that makes things true on the embedded stream.
 *
 * A commit takes the open transactions of any number of units, and the records and
 * writes of a command, and makes them true together:
 *
 *     1. append every output to its log (buffered)
 *     2. write out and fdatasync every touched log
 *     3. one synced store batch: states, offsets, counts, and the logs' new ends
 *     4. publish: ends that readers may read to, tables, the units' committed offsets
 *
 * A crash before 3 leaves bytes behind the recorded ends, which open cuts off; after 3
 * everything is there. A commit that fails in 1 to 3 leaves the process not knowing what the
 * disk holds, so nothing more is committed: the caller stops and the next open finds
 * the truth. */
#include "engine.h"

#include "keys.h"

#include <assert.h>
#include <stdlib.h>

static bool append(struct sl_runtime *rt, int topic, int32_t partition, struct sl_record *r, struct sl_error *e)
{
	struct sl_topic_state *state = &rt->topics[topic];

	assert(partition >= 0 && partition < rt->topology->topics[topic].partitions);
	assert(state->logs && state->logs[partition]);
	state->touched[partition] = true;
	return sl_log_append(state->logs[partition], r, e);
}

static bool append_outputs(struct sl_runtime *rt, const struct sl_unit *u, struct sl_error *e)
{
	struct sl_bytes frames = sl_buf_bytes(&u->outputs);

	for (size_t at = 0; at < frames.size;) {
		const uint8_t *p = (const uint8_t *)frames.data + at;
		int topic = (int)sl_get_le32(p);
		int32_t partition = (int32_t)sl_get_le32(p + 4);
		struct sl_record r;
		bool whole;

		at += 8;
		whole = sl_frames_next(frames, &at, &r);
		assert(whole);
		(void)whole;
		if (!append(rt, topic, partition, &r, e))
			return false;
	}
	return true;
}

static int32_t partition_for(const struct sl_topic *topic, const struct sl_record *r)
{
	return topic->partitions == 1 ? 0 : sl_partition_of(r->key, topic->partitions);
}

/* The value of an 'e' entry: offset, segment, bytes. Where a log starts is told by its files alone. */
static void put_end(struct sl_writes *w, const char *topic, int32_t partition, struct sl_log_end end)
{
	struct sl_buf key = { 0 };
	uint8_t v[24];

	sl_key_begin(&key, 'e', topic);
	sl_key_partition(&key, partition);
	sl_put_le64(v, (uint64_t)end.offset);
	sl_put_le64(v + 8, (uint64_t)end.segment);
	sl_put_le64(v + 16, end.bytes);
	sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ v, sizeof v });
	sl_buf_release(&key);
}

static bool sync_logs(struct sl_runtime *rt, struct sl_writes *ends, struct sl_error *e)
{
	for (size_t i = 0; i < rt->topology->topic_count; i++) {
		struct sl_topic_state *state = &rt->topics[i];

		for (int32_t p = 0; state->logs && p < rt->topology->topics[i].partitions; p++) {
			if (!state->touched[p])
				continue;
			if (sl_fault(rt, "commit.sync", e) || !sl_log_sync(state->logs[p], rt->topology->durable, e))
				return false;
			put_end(ends, rt->topology->topics[i].name, p, sl_log_end(state->logs[p]));
		}
	}
	return true;
}

/* Apply the records of a table's log up to `end`, from where it was left; they are committed and, when new, in the
 * page cache. */
bool sl_table_read(struct sl_runtime *rt, int topic, int32_t partition, int64_t end, struct sl_error *e)
{
	struct sl_topic_state *state = &rt->topics[topic];
	struct sl_reader reader;
	const struct sl_record *r;

	e->verdict = SL_OK;
	sl_reader_open(&reader, rt, topic, partition, end);
	reader.cursor.offset = state->applied[partition];
	while ((r = sl_reader_next(&reader, e)) != NULL) {
		sl_table_apply(state->table, r->key, r->value, r->headers);
		state->applied[partition]++;
	}
	sl_reader_close(&reader);
	return e->verdict == SL_OK;
}

static bool publish(struct sl_runtime *rt, bool *published, struct sl_error *e)
{
	for (size_t i = 0; i < rt->topology->topic_count; i++) {
		struct sl_topic_state *state = &rt->topics[i];

		for (int32_t p = 0; state->logs && p < rt->topology->topics[i].partitions; p++) {
			if (!state->touched[p])
				continue;
			state->touched[p] = false;
			published[i] = true;
			atomic_store(&state->ends[p], sl_log_end(state->logs[p]).offset);
			if (state->table && !rt->options.freeze &&
			    !sl_table_read(rt, (int)i, p, atomic_load(&state->ends[p]), e))
				return false;
		}
	}
	return true;
}

/* True: a step that reads the topic has no unit here (--only), so how far it is is not known. */
static bool unknown_reader(const struct sl_runtime *rt, int topic)
{
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		bool found = rt->topology->steps[i].from != topic;

		for (size_t u = 0; u < rt->unit_count && !found; u++)
			found = rt->units[u]->tasks[0].step == &rt->topology->steps[i];
		if (!found)
			return true;
	}
	return false;
}

bool sl_retain(struct sl_runtime *rt, const bool *touched, struct sl_error *e)
{
	const struct sl_topology *topology = rt->topology;

	for (size_t i = 0; i < topology->topic_count; i++) {
		struct sl_topic_state *state = &rt->topics[i];

		if (!state->logs || topology->topics[i].retention == SL_RETAIN_KEEP || !touched[i] ||
		    unknown_reader(rt, (int)i))
			continue;
		for (int32_t p = 0; p < topology->topics[i].partitions; p++) {
			int64_t least = atomic_load(&state->ends[p]);

			for (size_t u = 0; u < rt->unit_count; u++)
				if (rt->units[u]->tasks[0].step->from == (int)i && rt->units[u]->partition == p &&
				    rt->units[u]->committed < least)
					least = rt->units[u]->committed;
			if (!sl_log_drop(state->logs[p], least, e))
				return false;
			atomic_store(&state->starts[p], sl_log_end(state->logs[p]).start);
		}
	}
	return true;
}

bool sl_embedded_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count,
			const struct sl_append *appends, size_t append_count, struct sl_writes *extra,
			struct sl_error *e)
{
	bool *published = sl_calloc(rt->topology->topic_count + 1, sizeof *published);
	bool *retained = sl_calloc(rt->topology->topic_count + 1, sizeof *retained);
	struct sl_writes **batches = sl_calloc(unit_count + 2, sizeof(struct sl_writes *));
	struct sl_writes ends = { 0 };
	size_t n = 0;
	int64_t began = sl_monotonic_ns(), cpu_ns = sl_thread_cpu_ns();
	bool done = false;

	sl_lock(&rt->commit_lock);
	if (rt->broken) {
		sl_error_set(e, SL_STOP, "an earlier commit failed: restart to go on from the last good one");
		goto out;
	}
	if (sl_fault(rt, "commit.begin", e))
		goto broken;
	for (size_t i = 0; i < unit_count; i++) {
		if (!append_outputs(rt, units[i], e))
			goto broken;
		sl_unit_seal(units[i]);
		batches[n++] = &units[i]->writes;
		atomic_fetch_add(&rt->bytes_committed, (int64_t)sl_unit_staged_bytes(units[i]));
	}
	for (size_t i = 0; i < append_count; i++)
		for (size_t k = 0; k < appends[i].count; k++)
			if (!append(rt, appends[i].topic,
				    partition_for(&rt->topology->topics[appends[i].topic], &appends[i].records[k]),
				    &appends[i].records[k], e))
				goto broken;
	if (extra)
		batches[n++] = extra;
	if (!sync_logs(rt, &ends, e))
		goto broken;
	batches[n++] = &ends;
	if (sl_fault(rt, "commit.write", e) || !rt->store->ops->write(rt->store, batches, n, rt->topology->durable, e))
		goto broken;
	if (sl_fault(rt, "commit.publish", e) || !publish(rt, published, e))
		goto broken;
	for (size_t i = 0; i < unit_count; i++)
		sl_unit_committed(units[i]);
	/* What was written may be behind its readers already, what was read may be behind all of them now. */
	memcpy(retained, published, rt->topology->topic_count * sizeof *retained);
	for (size_t i = 0; i < unit_count; i++)
		retained[units[i]->tasks[0].step->from] = true;
	if (!sl_retain(rt, retained, e))
		goto broken;
	done = true;
	atomic_fetch_add(&rt->commits, 1);
	atomic_fetch_add(&rt->commit_ns, sl_monotonic_ns() - began);
	atomic_fetch_add(&rt->commit_cpu_ns, sl_thread_cpu_ns() - cpu_ns);
	goto out;
broken:
	rt->broken = true;
	if (e->verdict != SL_STOP)
		e->verdict = SL_STOP;
out:
	sl_unlock(&rt->commit_lock);
	if (done)
		sl_scheduler_published(rt, published);
	sl_writes_release(&ends);
	free(batches);
	free(retained);
	free(published);
	return done;
}
