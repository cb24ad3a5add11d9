/* trial.c -- the stepped runtime behind trial.h. */
#include "trial.h"

#include "../topology/base/buf.h"
#include "../topology/engine.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define STUCK_AFTER 100000

static bool fault(void *arg, const char *site)
{
	struct sl_trial *t = arg;

	(void)site;
	if (!t->fault_at)
		return false;
	t->faults++;
	if (t->fault_exits && t->faults == t->fault_at)
		_exit(SL_TRIAL_DIED);
	return t->faults == t->fault_at;
}

static struct sl_endpoint *make_endpoint(void *arg, const struct sl_endpoint_def *def)
{
	struct sl_trial *t = arg;

	return t->endpoint ? t->endpoint(t->arg, def) : NULL;
}

static bool open_runtime(struct sl_trial *t)
{
	t->options = (struct sl_runtime_options){
		.data = t->folder ? t->folder : "twins",
		.freeze = t->freeze,
		.disk = t->twins ? t->twins->disk : NULL,
		.store = t->twins ? t->twins->store : NULL,
		.endpoint = make_endpoint,
		.fault = fault,
		.arg = t,
	};
	memset(&t->error, 0, sizeof t->error);
	t->rt = sl_runtime_open(t->topology, &t->options, &t->error);
	return t->rt != NULL;
}

struct sl_trial *sl_trial_new(const char *yaml, const char *const *sets, size_t set_count)
{
	struct sl_trial_case c = { .yaml = yaml, .sets = sets, .set_count = set_count };

	return sl_trial_case_new(&c, NULL);
}

static void must(bool done, const struct sl_trial *t)
{
	if (done)
		return;
	fprintf(stderr, "trial: %s\n", t->error.text);
	abort();
}

struct sl_trial *sl_trial_case_new(const struct sl_trial_case *c, struct sl_topology *topology)
{
	struct sl_trial *t = sl_calloc(1, sizeof *t);

	t->endpoint = c->endpoint;
	t->world = c->world;
	t->arg = c->arg;
	t->topology = topology;
	t->borrowed = topology != NULL;
	if (!topology)
		t->topology = sl_topology_parse("trial.yaml", sl_text(c->yaml), c->sets, c->set_count, &t->error);
	must(t->topology != NULL, t);
	t->folder = c->folder;
	if (!c->folder) {
		t->twins = sl_twins_new(1);
		t->twins->sync_late = c->sync_late;
	}
	t->freeze = c->freeze && !c->feed; /* a folder that was fed before: the pins are there */
	must(open_runtime(t), t);
	if (c->freeze && !t->freeze) {
		must(!c->feed_first || c->feed_first(t, c->arg), t);
		must(sl_trial_finish(t, 0) == SL_TRIAL_IDLE, t);
		t->freeze = true;
		must(sl_trial_restart(t, SL_TWIN_KILL), t);
	}
	must(!c->feed || c->feed(t, c->arg), t);
	if (t->twins)
		t->twins->operations = 0;
	return t;
}

void sl_trial_free(struct sl_trial *t)
{
	sl_runtime_close(t->rt);
	if (t->twins)
		sl_twins_free(t->twins);
	if (!t->borrowed)
		sl_topology_free(t->topology);
	free(t);
}

bool sl_trial_restart(struct sl_trial *t, enum sl_twin_end end)
{
	sl_runtime_close(t->rt);
	t->rt = NULL;
	if (t->twins) {
		sl_twins_crash(t->twins, end);
		t->twins->die_at = t->die_next;
	}
	return open_runtime(t);
}

/* -- in ------------------------------------------------------------------------------- */

bool sl_trial_feed_record(struct sl_trial *t, const char *topic, const struct sl_record *record)
{
	return sl_runtime_append(t->rt, sl_topology_topic(t->topology, topic), record, 1, &t->error);
}

bool sl_trial_feed(struct sl_trial *t, const char *topic, const struct sl_pair *pairs, size_t count)
{
	struct sl_record *records = sl_calloc(count + 1, sizeof *records);
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };
	bool done;

	for (size_t i = 0; i < count; i++) {
		struct sl_pair p = pairs[i];

		if (sl_id_none(p.id))
			sl_pair_identify(&p, &a);
		sl_buf_clear(&b);
		sl_pair_encode(&p, &b);
		records[i].time_ms = p.time_ms;
		records[i].key = sl_arena_bytes(&a, sl_id_bytes(&p.group));
		records[i].value = sl_arena_bytes(&a, sl_buf_bytes(&b));
	}
	done = sl_runtime_append(t->rt, sl_topology_topic(t->topology, topic), records, count, &t->error);
	sl_buf_release(&b);
	sl_arena_release(&a);
	free(records);
	return done;
}

struct sl_pair sl_trial_pair(struct sl_arena *a, const char *prompt, const char *chosen, const char *rejected)
{
	struct sl_pair p;
	struct sl_message *m = sl_arena_zalloc(a, 3 * sizeof *m);

	sl_pair_init(&p);
	m[0] = (struct sl_message){ .role = sl_text("user"), .content = sl_text(sl_arena_print(a, "%s", prompt)) };
	m[1] = (struct sl_message){ .role = sl_text("assistant"), .content = sl_text(sl_arena_print(a, "%s", chosen)) };
	m[2] = (struct sl_message){ .role = sl_text("assistant"),
				    .content = sl_text(sl_arena_print(a, "%s", rejected)) };
	p.prompt = (struct sl_messages){ m, 1 };
	p.chosen = (struct sl_messages){ m + 1, 1 };
	p.rejected = (struct sl_messages){ m + 2, 1 };
	p.source = sl_text("trial");
	sl_pair_identify(&p, a);
	return p;
}

/* -- play ------------------------------------------------------------------------------- */

/* The machine or, by an injected fault, the commit is broken: a restart is due. */
static bool died(const struct sl_trial *t)
{
	return (t->twins && t->twins->dead) || t->fault_at;
}

/* Steps one task; true when it moved. */
static bool step(struct sl_trial *t, size_t task, uint64_t *seed, bool *waits, bool *stopped)
{
	enum sl_step_result r = sl_runtime_task_step(t->rt, task);

	if (t->world)
		t->world(t->arg, seed);
	*waits = r == SL_STEP_WAITING || r == SL_STEP_HELD;
	*stopped = false;
	if (r == SL_STEP_FAILED || *waits)
		t->error = *sl_runtime_task_error(t->rt, task);
	if (r == SL_STEP_FAILED) {
		*stopped = t->error.verdict == SL_STOP;
		return !*stopped;
	}
	return r == SL_STEP_MORE || r == SL_STEP_CALLS;
}

static enum sl_trial_end play_in_order(struct sl_trial *t)
{
	for (int64_t round = 0; round < STUCK_AFTER; round++) {
		bool moved = false, waits = false;

		for (size_t i = 0; i < sl_runtime_task_count(t->rt); i++) {
			bool this_waits, stopped;

			moved |= step(t, i, NULL, &this_waits, &stopped);
			waits |= this_waits;
			if (stopped)
				return died(t) ? SL_TRIAL_CRASHED : SL_TRIAL_STOPPED;
		}
		if (moved && !sl_runtime_commit(t->rt, NULL, 0, &t->error))
			return died(t) ? SL_TRIAL_CRASHED : SL_TRIAL_STOPPED;
		if (!moved)
			return waits ? SL_TRIAL_WAITS : SL_TRIAL_IDLE;
	}
	fprintf(stderr, "trial: does not come to rest: %s\n", t->error.text);
	abort();
}

enum sl_trial_end sl_trial_play(struct sl_trial *t, uint64_t seed)
{
	size_t count = sl_runtime_task_count(t->rt);

	if (seed == 0)
		return play_in_order(t);
	/* A while of disorder, then in order to the end. */
	for (size_t i = 0; i < 12 * count; i++) {
		size_t task = (size_t)(sl_random(&seed) % count);
		bool waits, stopped;

		step(t, task, &seed, &waits, &stopped);
		if (stopped)
			return died(t) ? SL_TRIAL_CRASHED : SL_TRIAL_STOPPED;
		if (sl_random(&seed) % 3 == 0) {
			size_t some[64], n = 0;

			for (size_t k = 0; k < count && n < 64; k++)
				if (sl_random(&seed) % 2)
					some[n++] = k;
			if (n && !sl_runtime_commit(t->rt, some, n, &t->error))
				return died(t) ? SL_TRIAL_CRASHED : SL_TRIAL_STOPPED;
		}
	}
	return play_in_order(t);
}

/* -- out ---------------------------------------------------------------------------------- */

size_t sl_trial_records(struct sl_trial *t, const char *topic, struct sl_arena *a, struct sl_record **records)
{
	int index = sl_topology_topic(t->topology, topic);
	struct sl_record *list = NULL;
	size_t count = 0, capacity = 0;

	assert(index >= 0);
	for (int32_t p = 0; p < t->topology->topics[index].partitions; p++) {
		struct sl_buf frames = { 0 };
		int64_t next = 0, end = 1;

		while (next < end) {
			if (!sl_runtime_fetch(t->rt, index, p, next, 1u << 20, &frames, &next, &end, &t->error)) {
				fprintf(stderr, "trial: %s\n", t->error.text);
				abort();
			}
		}
		for (size_t at = 0; at < frames.size; count++) {
			struct sl_record r;
			bool whole = sl_frames_next(sl_buf_bytes(&frames), &at, &r);

			assert(whole);
			(void)whole;
			if (count == capacity) {
				struct sl_record *more;

				capacity = capacity ? 2 * capacity : 32;
				more = sl_arena_alloc(a, capacity * sizeof *more);
				if (count)
					memcpy(more, list, count * sizeof *more);
				list = more;
			}
			r.key = sl_arena_bytes(a, r.key);
			r.value = sl_arena_bytes(a, r.value);
			r.headers = sl_arena_bytes(a, r.headers);
			list[count] = r;
		}
		sl_buf_release(&frames);
	}
	*records = list;
	return count;
}

size_t sl_trial_read(struct sl_trial *t, const char *topic, struct sl_arena *a, struct sl_pair **pairs)
{
	struct sl_record *records;
	size_t count = sl_trial_records(t, topic, a, &records), n = 0;

	*pairs = sl_arena_zalloc(a, (count + 1) * sizeof **pairs);
	for (size_t i = 0; i < count; i++) {
		if (!records[i].value.data)
			continue;
		if (!sl_pair_decode(records[i].value, a, &(*pairs)[n++], &t->error)) {
			fprintf(stderr, "trial: %s\n", t->error.text);
			abort();
		}
	}
	return n;
}

void sl_trial_digest(struct sl_trial *t, struct sl_buf *to)
{
	static const char kinds[] = { 'e', 'o', 's', 'c' };
	struct sl_store *store = t->rt->store;

	for (size_t i = 0; i < t->topology->topic_count; i++) {
		struct sl_arena a = { 0 };
		struct sl_record *records;
		struct sl_buf all = { 0 };
		size_t count;

		if (t->topology->topics[i].inlined)
			continue;
		count = sl_trial_records(t, t->topology->topics[i].name, &a, &records);
		for (size_t k = 0; k < count; k++)
			sl_frames_add(&all, &records[k]);
		sl_buf_print(to, "topic %s %zu %016" PRIx64 "\n", t->topology->topics[i].name, count,
			     sl_hash64(all.data, all.size, 0));
		sl_buf_release(&all);
		sl_arena_release(&a);
	}
	for (size_t i = 0; i < sizeof kinds; i++) {
		struct sl_store_scan *scan = store->ops->scan(store, (struct sl_bytes){ &kinds[i], 1 });
		struct sl_bytes key, value;

		while (store->ops->next(scan, &key, &value, &t->error)) {
			sl_buf_print(to, "store ");
			for (size_t k = 0; k < key.size; k++) {
				uint8_t c = ((const uint8_t *)key.data)[k];

				sl_buf_print(to, c > 32 && c < 127 ? "%c" : "\\%02x", c);
			}
			sl_buf_print(to, " %zu %016" PRIx64 "\n", value.size, sl_hash64(value.data, value.size, 0));
		}
		store->ops->end(scan);
	}
}

/* -- torture --------------------------------------------------------------------------------- */

#define TOPOLOGIES 64

struct torture {
	const struct sl_trial_case *c;
	struct sl_buf plain;
	size_t runs, differ;
	FILE *report;
	struct sl_topology *topologies[TOPOLOGIES]; /* by batch size */
};

static void first_difference(FILE *report, struct sl_buf *want, struct sl_buf *got)
{
	const char *a = sl_buf_text(want), *b = sl_buf_text(got);

	while (*a && *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

		if (n != m || memcmp(a, b, n) != 0) {
			fprintf(report, "    want %.*s\n    got  %.*s\n", (int)n, a, (int)m, b);
			return;
		}
		a += n + (a[n] == '\n');
		b += m + (b[m] == '\n');
	}
	fprintf(report, "    want %.*s\n    got  %.*s\n", (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"), b);
}

static void compare(struct torture *x, struct sl_trial *t, const char *kind, uint64_t number)
{
	struct sl_buf got = { 0 };

	x->runs++;
	sl_trial_digest(t, &got);
	if (got.size != x->plain.size || memcmp(got.data, x->plain.data, got.size) != 0) {
		if (x->differ++ < 3 && x->report) {
			fprintf(x->report, "%s: %s %" PRIu64 " differs from the plain run\n", x->c->name, kind, number);
			first_difference(x->report, &x->plain, &got);
		}
	}
	sl_buf_release(&got);
}

static void wrong_end(struct torture *x, struct sl_trial *t, const char *kind, uint64_t number, enum sl_trial_end end)
{
	x->runs++;
	if (x->differ++ < 3 && x->report)
		fprintf(x->report, "%s: %s %" PRIu64 " ends with %d: %s\n", x->c->name, kind, number, (int)end,
			t->error.text);
}

enum sl_trial_end sl_trial_finish(struct sl_trial *t, uint64_t seed)
{
	enum sl_trial_end end = sl_trial_play(t, seed);

	if (end == SL_TRIAL_IDLE && !sl_runtime_tick(t->rt, &t->error))
		return died(t) ? SL_TRIAL_CRASHED : SL_TRIAL_STOPPED;
	return end;
}

/* A case at another batch size; 0: as it is. The torture keeps the parsed topologies. */
static struct sl_trial *fresh(struct torture *x, size_t batch_max)
{
	const struct sl_trial_case *c = x->c;
	const char *sets[64];
	char texts[32][100];
	size_t n = 0;
	struct sl_topology *plain;
	struct sl_error e = { 0 };

	assert(batch_max < TOPOLOGIES);
	if (!x->topologies[batch_max]) {
		plain = sl_topology_parse("trial.yaml", sl_text(c->yaml), c->sets, c->set_count, &e);
		for (; n < c->set_count; n++)
			sets[n] = c->sets[n];
		for (size_t i = 0; plain && batch_max && i < plain->step_count && i < 32; i++) {
			snprintf(texts[i], sizeof texts[i], "%s.batch_max=%zu", plain->steps[i].name, batch_max);
			sets[n++] = texts[i];
		}
		if (plain)
			sl_topology_free(plain);
		x->topologies[batch_max] = sl_topology_parse("trial.yaml", sl_text(c->yaml), sets, n, &e);
		if (!x->topologies[batch_max]) {
			fprintf(stderr, "trial: %s\n", e.text);
			abort();
		}
	}
	return sl_trial_case_new(c, x->topologies[batch_max]);
}

static void one(struct torture *x, const char *kind, uint64_t number, size_t batch_max, uint64_t seed)
{
	struct sl_trial *t = fresh(x, batch_max);
	enum sl_trial_end end = sl_trial_finish(t, seed);

	if (end != SL_TRIAL_IDLE)
		wrong_end(x, t, kind, number, end);
	else
		compare(x, t, kind, number);
	sl_trial_free(t);
}

/* Fail the n-th runtime call; a failed commit needs a restart, like any process that stops. False:
 * the run had fewer calls. */
static bool one_fault(struct torture *x, int64_t n)
{
	struct sl_trial *t = fresh(x, 2);
	enum sl_trial_end end;
	bool fired;

	t->fault_at = n;
	end = sl_trial_finish(t, 0);
	fired = t->faults >= n;
	if (end == SL_TRIAL_CRASHED || (end == SL_TRIAL_STOPPED && fired)) {
		t->fault_at = 0;
		if (sl_trial_restart(t, SL_TWIN_KILL))
			end = sl_trial_finish(t, 0);
	}
	if (end != SL_TRIAL_IDLE)
		wrong_end(x, t, "fault", (uint64_t)n, end);
	else
		compare(x, t, "fault", (uint64_t)n);
	sl_trial_free(t);
	return fired;
}

/* Stop the machine at the n-th operation. False: the run had fewer. */
static bool one_crash(struct torture *x, int64_t n, enum sl_twin_end how, uint64_t seed)
{
	struct sl_trial *t = fresh(x, 3);
	const char *kind = how == SL_TWIN_KILL ? "kill at operation" : "power cut at operation";
	enum sl_trial_end end;
	bool fired;

	t->twins->seed = (seed << 20 ^ (uint64_t)n) | 1;
	t->twins->operations = 0;
	t->twins->die_at = n;
	end = sl_trial_finish(t, seed);
	fired = t->twins->dead;
	if (fired) {
		if (sl_trial_restart(t, how))
			end = sl_trial_finish(t, seed);
	}
	if (end != SL_TRIAL_IDLE)
		wrong_end(x, t, kind, (uint64_t)n, end);
	else
		compare(x, t, kind, (uint64_t)n);
	sl_trial_free(t);
	return fired;
}

size_t sl_trial_torture(const struct sl_trial_case *c, size_t *runs, FILE *report)
{
	struct torture x = { .c = c, .report = report };
	struct sl_trial *t = fresh(&x, 0);
	enum sl_trial_end end = sl_trial_finish(t, 0);

	if (end != SL_TRIAL_IDLE) {
		wrong_end(&x, t, "plain", 0, end);
	} else {
		sl_trial_digest(t, &x.plain);
		for (size_t n = 1; n <= c->batch_most; n++)
			one(&x, "batch size", n, n, 0);
		for (int n = 1; n <= c->schedules; n++)
			one(&x, "schedule", (uint64_t)n, (size_t)n % 5 + 1, (uint64_t)n);
		for (int64_t n = 1; one_fault(&x, n); n++)
			;
		for (int64_t n = 1; one_crash(&x, n, SL_TWIN_KILL, 0); n++)
			;
		for (int64_t n = 1; one_crash(&x, n, SL_TWIN_POWER, 0); n++)
			;
		for (int64_t n = 1; one_crash(&x, n, n % 2 ? SL_TWIN_POWER : SL_TWIN_KILL, (uint64_t)n + 7); n++)
			;
	}
	sl_trial_free(t);
	for (size_t i = 0; i < TOPOLOGIES; i++)
		sl_topology_free(x.topologies[i]);
	sl_buf_release(&x.plain);
	*runs = x.runs;
	return x.differ;
}
