/* runtime.c -- opening a data folder with a topology, and the operations on it.
 *
 *     DIR/LOCK           held by the owner; its text is the process id
 *     DIR/store/         RocksDB
 *     DIR/topics/NAME/PARTITION/   segments
 *     DIR/models/NAME/VERSION/
 *     DIR/attempts       see attempts.h
 *     DIR/sluice.sock    the owner's socket (server.c) */
#include "engine.h"

#include "base/file.h"
#include "base/log.h"
#include "endpoint/http_endpoint.h"
#include "judge_health.h"
#include "keys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* -- open ------------------------------------------------------------------------------ */

static bool lock_folder(struct sl_runtime *rt, struct sl_error *e)
{
	char path[4096], pid[32] = "unknown";
	ssize_t n;

	if (!sl_folder_make(rt->data, e))
		return false;
	snprintf(path, sizeof path, "%s/LOCK", rt->data);
	rt->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (rt->lock_fd < 0)
		return sl_error_errno(e, SL_STOP, "cannot open '%s'", path);
	if (flock(rt->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return sl_error_errno(e, SL_STOP, "cannot lock '%s'", path);
		n = pread(rt->lock_fd, pid, sizeof pid - 1, 0);
		if (n > 0)
			pid[strcspn(pid, "\n")] = 0;
		return sl_error_set(e, SL_RETRY, "data folder '%s' is in use by process %s (it holds '%s')", rt->data,
				    pid, path);
	}
	n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(rt->lock_fd, 0) != 0 || pwrite(rt->lock_fd, pid, (size_t)n, 0) != n)
		return sl_error_errno(e, SL_STOP, "cannot write '%s'", path);
	return true;
}

/* A step that a folder with records does not know: most often one that was renamed. */
static bool say_new(const struct sl_runtime *rt, const struct sl_step *step, struct sl_error *e)
{
	const struct sl_store_ops *ops = rt->meta->ops;
	struct sl_store_scan *scan = ops->scan(rt->meta, (struct sl_bytes){ "r", 1 });
	struct sl_buf gone = { 0 };
	struct sl_bytes key, value;

	e->verdict = SL_OK;
	while (ops->next(scan, &key, &value, e)) {
		const char *name = (const char *)key.data + 1; /* ends at the NUL of its key */

		if (sl_topology_step(rt->topology, name) < 0)
			sl_buf_print(&gone, "%s '%s'",
				     gone.size ? "," : "; the folder also has what is not in the topology:", name);
	}
	ops->end(scan);
	if (e->verdict == SL_OK)
		sl_log(SL_LOG_NOTE, NULL,
		       "step '%s' is new to '%s': it reads topic '%s' from what is kept of it on, with stores, answers "
		       "and "
		       "budgets of its own%s",
		       step->name, rt->data, rt->topology->topics[step->from].name,
		       gone.size ? sl_buf_text(&gone) : "");
	sl_buf_release(&gone);
	return e->verdict == SL_OK;
}

/* A step's offset counts in the topic it has read so far: it cannot move to another one. */
static bool check_input(struct sl_runtime *rt, const struct sl_step *step, bool old, struct sl_writes *w,
			struct sl_error *e)
{
	struct sl_bytes topic = sl_text(rt->topology->topics[step->from].name);
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	sl_key_begin(&key, 'r', step->name);
	done = rt->meta->ops->get(rt->meta, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && !sl_bytes_equal(sl_buf_bytes(&value), topic))
		done = sl_error_set(e, SL_STOP,
				    "step '%s' read topic '%s' when '%s' was written, and '%s' in the topology: give "
				    "the step a new "
				    "name (it begins anew), or put the topic back",
				    step->name, sl_buf_text(&value), rt->data, rt->topology->topics[step->from].name);
	if (done && !found && old)
		done = say_new(rt, step, e);
	if (done && !found)
		sl_writes_put(w, sl_buf_bytes(&key), topic);
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

/* The error of a step whose stores were written with another shape: what is it that changed? */
static bool shape_changed(const struct sl_runtime *rt, const struct sl_step *step, uint64_t was, struct sl_error *e)
{
	const struct sl_topic *from = &rt->topology->topics[step->from];
	struct sl_buf names = { 0 };

	for (int n = 1; n <= SL_PARTITIONS_MOST; n++)
		if (sl_step_shape(step, n) == was)
			return sl_error_set(
				e, SL_STOP,
				"topic '%s' had %d partition%s when '%s' was written, and %d in the topology: the "
				"store of step '%s' lies by them: put them back, or ingest into a new data folder",
				from->name, n, n == 1 ? "" : "s", rt->data, (int)from->partitions, step->name);
	for (const struct sl_option *o = step->op->options; o && o->name; o++)
		if (o->shapes_store)
			sl_buf_print(&names, "%s%s", names.size ? ", " : "", o->name);
	sl_error_set(
		e, SL_STOP,
		"the options that shape the stores of step '%s' have changed since '%s' was written (%s): put them "
		"back, or ingest into a new data folder (sluice plan shows them)",
		step->name, rt->data, names.size ? sl_buf_text(&names) : "its operator");
	sl_buf_release(&names);
	return false;
}

/* The folder's version, the shapes of its stores and what its steps read must be those of this program
 * and topology. */
bool sl_meta_check(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	struct sl_buf key = { 0 }, value = { 0 };
	uint8_t v[8];
	bool found, done, old;

	sl_buf_add_byte(&key, 'v');
	done = rt->meta->ops->get(rt->meta, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && (value.size != 8 || sl_get_le64(value.data) != SL_DATA_VERSION))
		done = sl_error_set(e, SL_STOP,
				    "data folder '%s' has version %" PRIu64
				    ", this program reads version %d: use the sluice "
				    "release that wrote it, or ingest into a new folder",
				    rt->data, value.size == 8 ? sl_get_le64(value.data) : 0, SL_DATA_VERSION);
	old = done && found;
	if (done && !found) {
		sl_put_le64(v, SL_DATA_VERSION);
		sl_writes_put(&w, sl_buf_bytes(&key), (struct sl_bytes){ v, 8 });
	}
	for (size_t i = 0; done && i < rt->topology->step_count; i++) {
		const struct sl_step *step = &rt->topology->steps[i];

		sl_key_begin(&key, 'h', step->name);
		done = rt->meta->ops->get(rt->meta, sl_buf_bytes(&key), &value, &found, e);
		if (done && found && (value.size != 8 || sl_get_le64(value.data) != step->shape))
			done = shape_changed(rt, step, value.size == 8 ? sl_get_le64(value.data) : 0, e);
		if (done && !found) {
			sl_put_le64(v, step->shape);
			sl_writes_put(&w, sl_buf_bytes(&key), (struct sl_bytes){ v, 8 });
		}
		done = done && check_input(rt, step, old, &w, e);
	}
	if (done && w.count)
		done = rt->meta->ops->write(rt->meta, &batch, 1, rt->topology->durable, e);
	sl_writes_release(&w);
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

void sl_topics_alloc(struct sl_runtime *rt)
{
	const struct sl_topology *topology = rt->topology;
	bool *is_table = sl_calloc(topology->topic_count + 1, sizeof *is_table);

	for (size_t i = 0; i < topology->step_count; i++)
		for (size_t k = 0; topology->steps[i].op->tables && topology->steps[i].op->tables[k]; k++)
			is_table[topology->steps[i].tables[k]] = true;
	if (topology->models >= 0)
		is_table[topology->models] = true;
	rt->topics = sl_calloc(topology->topic_count + 1, sizeof *rt->topics);
	for (size_t i = 0; i < topology->topic_count; i++) {
		size_t n = (size_t)topology->topics[i].partitions;

		if (topology->topics[i].inlined)
			continue;
		rt->topics[i].ends = sl_calloc(n, sizeof *rt->topics[i].ends);
		rt->topics[i].starts = sl_calloc(n, sizeof *rt->topics[i].starts);
		if (is_table[i])
			rt->topics[i].table = sl_table_new();
	}
	free(is_table);
}

bool sl_step_wanted(const struct sl_runtime *rt, const char *step)
{
	if (!rt->options.only)
		return true;
	for (size_t i = 0; i < rt->options.only_count; i++)
		if (strcmp(rt->options.only[i], step) == 0)
			return true;
	return false;
}

struct sl_runtime *sl_runtime_open(const struct sl_topology *topology, const struct sl_runtime_options *options,
				   struct sl_error *e)
{
	struct sl_runtime *rt = sl_calloc(1, sizeof *rt);
	size_t tasks = 0;
	char path[4096];

	rt->topology = topology;
	rt->options = *options;
	rt->data = sl_strdup(options->data ? options->data : topology->data);
	rt->models = topology->models_dir ? topology->models_dir : rt->data;
	rt->stream = topology->stream == SL_STREAM_KAFKA ? &sl_stream_kafka : &sl_stream_embedded;
	rt->lock_fd = -1;
	rt->opened_ns = sl_monotonic_ns();
	sl_mutex_init(&rt->commit_lock);
	sl_limits_init(&rt->limits, topology);
	rt->disk = options->disk;
	rt->store = options->store;
	for (size_t i = 0; i < options->only_count; i++) {
		int step = sl_topology_step(topology, options->only[i]);

		if (step < 0) {
			sl_error_set(e, SL_STOP, "--only: step '%s' is not in the topology", options->only[i]);
			goto failed;
		}
		if (topology->steps[step].host != step) {
			sl_error_set(e, SL_STOP, "--only: step '%s' is inlined into '%s'", options->only[i],
				     topology->steps[topology->steps[step].host].name);
			goto failed;
		}
	}
	if (!rt->disk || !rt->store) {
		if (!lock_folder(rt, e))
			goto failed;
		rt->disk = sl_disk_files(rt->data);
		rt->own_disk = rt->own_store = true;
		snprintf(path, sizeof path, "%s/store", rt->data);
		rt->store = sl_store_rocksdb(path, e);
		if (!rt->store)
			goto failed;
	}
	for (size_t i = 0; i < topology->step_count; i++)
		tasks += (size_t)topology->topics[topology->steps[i].from].partitions;
	snprintf(path, sizeof path, "%s/attempts", rt->data);
	rt->attempts = sl_attempts_open(rt->own_disk ? path : NULL, tasks, e);
	if (!rt->attempts)
		goto failed;
	rt->endpoints = sl_calloc(topology->endpoint_count + 1, sizeof(struct sl_endpoint *));
	rt->http = topology->endpoint_count && !options->endpoint ? sl_http_loop_new() : NULL;
	for (size_t i = 0; i < topology->endpoint_count; i++)
		rt->endpoints[i] = options->endpoint ? options->endpoint(options->arg, &topology->endpoints[i])
						     : sl_http_endpoint_new(rt->http, &topology->endpoints[i]);
	sl_topics_alloc(rt);
	if (!rt->stream->open(rt, e))
		goto failed;
	rt->judges = sl_judge_health_new(rt);
	rt->training = sl_training_new(rt);
	return rt;
failed:
	sl_runtime_close(rt);
	return NULL;
}

void sl_runtime_close(struct sl_runtime *rt)
{
	if (!rt)
		return;
	sl_training_free(rt->training);
	sl_judge_health_free(rt->judges);
	/* Endpoints first: freeing one settles its calls, which belong to the units. */
	for (size_t i = 0; rt->endpoints && i < rt->topology->endpoint_count; i++)
		if (rt->endpoints[i])
			rt->endpoints[i]->ops->free(rt->endpoints[i]);
	free(rt->endpoints);
	sl_http_loop_free(rt->http);
	rt->stream->close(rt);
	assert(rt->unit_count == 0);
	free(rt->units);
	for (size_t i = 0; rt->topics && i < rt->topology->topic_count; i++) {
		free(rt->topics[i].ends);
		free(rt->topics[i].starts);
		sl_table_free(rt->topics[i].table);
	}
	free(rt->topics);
	sl_attempts_close(rt->attempts);
	if (rt->own_store && rt->store)
		rt->store->ops->free(rt->store);
	if (rt->own_disk && rt->disk)
		rt->disk->ops->free(rt->disk);
	if (rt->lock_fd >= 0)
		close(rt->lock_fd);
	sl_limits_release(&rt->limits);
	sl_mutex_destroy(&rt->commit_lock);
	free(rt->data);
	free(rt);
}

const struct sl_topology *sl_runtime_topology(const struct sl_runtime *rt)
{
	return rt->topology;
}

const char *sl_runtime_data(const struct sl_runtime *rt)
{
	return rt->data;
}

/* -- stepping by hand ------------------------------------------------------------------------ */

size_t sl_runtime_task_count(const struct sl_runtime *rt)
{
	return rt->unit_count;
}

enum sl_step_result sl_runtime_task_step(struct sl_runtime *rt, size_t task)
{
	assert(task < rt->unit_count);
	return sl_unit_step(rt->units[task]);
}

const struct sl_error *sl_runtime_task_error(const struct sl_runtime *rt, size_t task)
{
	return &rt->units[task]->error;
}

bool sl_runtime_commit(struct sl_runtime *rt, const size_t *tasks, size_t count, struct sl_error *e)
{
	struct sl_unit **units = sl_malloc((rt->unit_count + 1) * sizeof(struct sl_unit *));
	size_t n = 0;
	bool done;

	for (size_t i = 0; i < (tasks ? count : rt->unit_count); i++) {
		struct sl_unit *u = rt->units[tasks ? tasks[i] : i];

		if (u->begun && !u->failed)
			units[n++] = u;
	}
	done = sl_commit(rt, units, n, NULL, 0, NULL, e);
	free(units);
	return done;
}

bool sl_runtime_tick(struct sl_runtime *rt, struct sl_error *e)
{
	for (size_t i = 0; i < rt->unit_count; i++) {
		if (!sl_unit_tick(rt->units[i])) {
			*e = rt->units[i]->error;
			return false;
		}
	}
	return sl_runtime_commit(rt, NULL, 0, e);
}

/* -- operations ---------------------------------------------------------------------------- */

bool sl_runtime_fetch(struct sl_runtime *rt, int topic, int32_t partition, int64_t offset, size_t bytes_max,
		      struct sl_buf *frames, int64_t *next, int64_t *end, struct sl_error *e)
{
	struct sl_topic_state *state;
	struct sl_reader reader;
	const struct sl_record *r;
	struct sl_error why;
	size_t before = frames->size;

	if (topic < 0 || (size_t)topic >= rt->topology->topic_count || !rt->topics[topic].ends)
		return sl_error_set(e, SL_STOP, "there is no such stored topic");
	if (partition < 0 || partition >= rt->topology->topics[topic].partitions)
		return sl_error_set(e, SL_STOP, "topic '%s' has partitions 0 to %d, not %d",
				    rt->topology->topics[topic].name, (int)rt->topology->topics[topic].partitions - 1,
				    (int)partition);
	state = &rt->topics[topic];
	if (!rt->stream->refresh(rt, topic, e))
		return false;
	*end = atomic_load(&state->ends[partition]);
	if (offset < atomic_load(&state->starts[partition]))
		offset = atomic_load(&state->starts[partition]);
	e->verdict = SL_OK;
	sl_reader_open(&reader, rt, topic, partition, *end);
	reader.cursor.offset = offset;
	*next = offset;
	/* Whole batches: who goes on at *next goes on where the reader stood, which costs a back-end nothing. */
	while (frames->size - before < bytes_max || reader.at < reader.count) {
		int64_t start;

		r = sl_reader_next(&reader, e);
		if (r) {
			sl_frames_add(frames, r);
			*next = r->offset + 1;
			continue;
		}
		if (e->verdict == SL_OK) {
			*next = reader.cursor.offset; /* past what is no record */
			break;
		}
		why = *e;
		if (!rt->stream->refresh(rt, topic, e))
			break;
		start = atomic_load(&state->starts[partition]);
		if (reader.cursor.offset >= start) {
			*e = why;
			break;
		}
		/* dropped while we looked: go on with what is kept */
		e->verdict = SL_OK;
		reader.cursor = (struct sl_cursor){ .offset = start };
		*next = start;
	}
	sl_reader_close(&reader);
	return e->verdict == SL_OK;
}

#define MARK_SIZE 48

static void mark_key(struct sl_buf *key, struct sl_bytes source, struct sl_id head)
{
	sl_buf_clear(key);
	sl_buf_add_byte(key, 'i');
	sl_key_text(key, source);
	sl_buf_add(key, head.b, sizeof head.b);
}

bool sl_runtime_ingest_mark(struct sl_runtime *rt, struct sl_bytes source, struct sl_id head,
			    struct sl_ingest_mark *mark, struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	memset(mark, 0, sizeof *mark);
	mark_key(&key, source, head);
	if (!rt->stream->guard(rt, sl_buf_bytes(&key), e)) {
		sl_buf_release(&key);
		return false;
	}
	done = rt->meta->ops->get(rt->meta, sl_buf_bytes(&key), &value, &found, e);
	if (done && found && value.size == MARK_SIZE) {
		mark->position = sl_get_le64(value.data);
		mark->lines = (int64_t)sl_get_le64(value.data + 8);
		mark->pairs = (int64_t)sl_get_le64(value.data + 16);
		mark->ties = (int64_t)sl_get_le64(value.data + 24);
		mark->invalid = (int64_t)sl_get_le64(value.data + 32);
		mark->hash = sl_get_le64(value.data + 40);
	}
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

static void put_mark(struct sl_writes *w, struct sl_bytes source, struct sl_id head, const struct sl_ingest_mark *m)
{
	struct sl_buf key = { 0 };
	uint8_t v[MARK_SIZE];

	mark_key(&key, source, head);
	sl_put_le64(v, m->position);
	sl_put_le64(v + 8, (uint64_t)m->lines);
	sl_put_le64(v + 16, (uint64_t)m->pairs);
	sl_put_le64(v + 24, (uint64_t)m->ties);
	sl_put_le64(v + 32, (uint64_t)m->invalid);
	sl_put_le64(v + 40, m->hash);
	sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ v, sizeof v });
	sl_buf_release(&key);
}

static bool frames_records(struct sl_bytes frames, struct sl_append *a, struct sl_error *e)
{
	size_t at = 0, capacity = 0;
	struct sl_record r;

	a->records = NULL;
	a->count = 0;
	while (sl_frames_next(frames, &at, &r)) {
		if (a->count == capacity) {
			capacity = capacity ? 2 * capacity : 256;
			a->records = sl_realloc(a->records, capacity * sizeof *a->records);
		}
		a->records[a->count++] = r;
	}
	if (at != frames.size)
		return sl_error_set(e, SL_STOP, "malformed frame at byte %zu of %zu", at, frames.size);
	return true;
}

bool sl_runtime_ingest(struct sl_runtime *rt, const struct sl_ingest_append *a, struct sl_ingest_mark *mark,
		       struct sl_error *e)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	struct sl_append appends[3] = { { .topic = rt->topology->entry },
					{ .topic = rt->topology->ties },
					{ .topic = rt->topology->dead_ingest } };
	struct sl_writes extra = { 0 };
	bool done;

	sl_lock(&one_at_a_time); /* the mark is read and written by nobody else between */
	done = sl_runtime_ingest_mark(rt, a->source, a->head, mark, e);
	if (done && memcmp(mark, &a->before, sizeof *mark) != 0)
		done = sl_error_set(e, SL_RETRY, "the file is ingested up to byte %" PRIu64 ", not %" PRIu64,
				    mark->position, a->before.position);
	done = done && frames_records(a->pairs, &appends[0], e) && frames_records(a->ties, &appends[1], e) &&
	       frames_records(a->dead, &appends[2], e);
	if (done) {
		put_mark(&extra, a->source, a->head, &a->after);
		done = sl_commit(rt, NULL, 0, appends, 3, &extra, e);
		if (done)
			*mark = a->after;
	}
	sl_unlock(&one_at_a_time);
	for (size_t i = 0; i < 3; i++)
		free(appends[i].records);
	sl_writes_release(&extra);
	return done;
}

bool sl_runtime_append(struct sl_runtime *rt, int topic, const struct sl_record *records, size_t count,
		       struct sl_error *e)
{
	struct sl_append append = { .topic = topic, .count = count };
	bool done;

	if (topic < 0 || (size_t)topic >= rt->topology->topic_count || !rt->topics[topic].ends)
		return sl_error_set(e, SL_STOP, "there is no such stored topic");
	append.records = sl_malloc((count + 1) * sizeof *append.records);
	if (count)
		memcpy(append.records, records, count * sizeof *records);
	done = sl_commit(rt, NULL, 0, &append, 1, NULL, e);
	free(append.records);
	return done;
}

void sl_runtime_drain(struct sl_runtime *rt)
{
	atomic_store(&rt->draining, true);
	for (size_t i = 0; i < rt->topology->endpoint_count; i++)
		if (rt->endpoints[i] && rt->endpoints[i]->ops->drain)
			rt->endpoints[i]->ops->drain(rt->endpoints[i]);
}

void sl_runtime_stop(struct sl_runtime *rt)
{
	atomic_store(&rt->stop, 1);
}

enum sl_run_end sl_runtime_run(struct sl_runtime *rt, const struct sl_run_options *options, struct sl_error *e)
{
	enum sl_run_end end;

	if (!rt->options.freeze && !sl_freeze_release(rt, e))
		return SL_RUN_FAILED;
	atomic_store(&rt->draining, false);
	atomic_store(&rt->running, true);
	end = rt->stream->run(rt, options, e);
	atomic_store(&rt->running, false);
	if (end == SL_RUN_IDLE && rt->options.freeze && !sl_freeze_release(rt, e))
		end = SL_RUN_FAILED;
	if (options->progress)
		options->progress(options->arg, rt);
	return end;
}

bool sl_commit(struct sl_runtime *rt, struct sl_unit *const *units, size_t unit_count, const struct sl_append *appends,
	       size_t append_count, struct sl_writes *extra, struct sl_error *e)
{
	return rt->stream->commit(rt, units, unit_count, appends, append_count, extra, e);
}
