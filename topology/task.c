/* task.c -- the runtime calls of operators/operator.h.
 *
 * All of them work on the open transaction of the task's unit: emit and reject
 * append encoded records to its outputs, put and del go to its stage. Nothing here
 * reports an error to the operator; the first failure marks the unit as failed, later calls
 * do nothing, and the unit is reset before anything could be committed. */
#include "engine.h"

#include "../schemas/codec.h"
#include "base/log.h"
#include "keys.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool sl_fault(struct sl_runtime *rt, const char *site, struct sl_error *e)
{
	if (!rt->options.fault || !rt->options.fault(rt->options.arg, site))
		return false;
	sl_error_set(e, SL_RETRY, "injected fault at %s", site);
	return true;
}

/* False: the task has failed, do nothing. */
static bool alive(struct sl_task *t, const char *site)
{
	struct sl_unit *u = t->unit;

	if (u->failed)
		return false;
	if (sl_fault(u->rt, site, &u->error)) {
		u->failed = true;
		return false;
	}
	return true;
}

/* A task without a partition is one that is only looked at (check.c). */
static void fail(struct sl_task *t)
{
	t->unit->failed = true;
	if (t->partition < 0)
		sl_error_in(&t->unit->error, "step '%s'", t->step->name);
	else
		sl_error_in(&t->unit->error, "step '%s' partition %d", t->step->name, (int)t->partition);
}

/* -- counts ------------------------------------------------------------------------ */

static size_t count_slot(const struct sl_counts *c, struct sl_bytes key)
{
	size_t at = (size_t)sl_hash64(key.data, key.size, 2) & (c->slot_count - 1);

	while (c->slots[at] && !sl_bytes_equal(c->at[c->slots[at] - 1].key, key))
		at = (at + 1) & (c->slot_count - 1);
	return at;
}

void sl_count_add(struct sl_counts *c, struct sl_bytes key, int64_t n)
{
	size_t slot;

	if (c->count == c->capacity) {
		c->capacity = c->capacity ? 2 * c->capacity : 32;
		c->at = sl_realloc(c->at, c->capacity * sizeof *c->at);
		c->slot_count = 2 * c->capacity;
		free(c->slots);
		c->slots = sl_calloc(c->slot_count, sizeof *c->slots);
		for (size_t i = 0; i < c->count; i++)
			c->slots[count_slot(c, c->at[i].key)] = (uint32_t)(i + 1);
	}
	slot = count_slot(c, key);
	if (!c->slots[slot]) {
		c->at[c->count] = (struct sl_count){ .key = sl_arena_bytes(&c->memory, key) };
		c->slots[slot] = (uint32_t)++c->count;
	}
	c->at[c->slots[slot] - 1].staged += n;
}

void sl_counts_release(struct sl_counts *c)
{
	free(c->at);
	free(c->slots);
	sl_arena_release(&c->memory);
	memset(c, 0, sizeof *c);
}

/* The code is what stands before the first colon of a reason, at most 60 bytes. */
static struct sl_bytes code_of(struct sl_bytes reason)
{
	const char *colon = reason.size ? memchr(reason.data, ':', reason.size) : NULL;
	size_t size = colon ? (size_t)(colon - (const char *)reason.data) : reason.size;

	return (struct sl_bytes){ size ? reason.data : "", size > 60 ? 60 : size };
}

/* At most 200 bytes of a name, cut at a character. */
static struct sl_bytes short_name(struct sl_bytes name)
{
	const uint8_t *s = name.data;

	if (name.size > 200)
		for (name.size = 200; name.size > 0 && (s[name.size] & 0xc0) == 0x80;)
			name.size--;
	return name;
}

/* By source, and by domain where the pair says one. */
static void count(struct sl_task *t, const char *port, struct sl_bytes reason, struct sl_bytes source,
		  struct sl_bytes domain)
{
	struct sl_buf *key = &t->unit->scratch;

	sl_key_begin(key, 'c', t->step->name);
	sl_key_partition(key, t->partition);
	sl_key_text(key, sl_text(port));
	sl_key_text(key, code_of(reason));
	sl_buf_add_bytes(key, short_name(source));
	if (domain.size) {
		sl_buf_add_byte(key, 0);
		sl_buf_add_bytes(key, short_name(domain));
	}
	sl_count_add(&t->unit->counts, sl_buf_bytes(key), 1);
}

/* -- output ------------------------------------------------------------------------- */

static void output(struct sl_unit *u, int topic, int32_t partition, const struct sl_record *r)
{
	sl_buf_add_le32(&u->outputs, (uint32_t)topic);
	sl_buf_add_le32(&u->outputs, (uint32_t)partition);
	sl_frames_add(&u->outputs, r);
}

/* Which input record a pair of this callback came from; NULL when it is not a head's. */
static const struct sl_record *origin(struct sl_task *t, const struct sl_pair *p)
{
	struct sl_unit *u = t->unit;

	if (t != &u->tasks[0])
		return NULL;
	if (p >= t->batch && p < t->batch + t->batch_count)
		return &u->now->records[u->now->of_record[p - u->now->pairs]];
	for (size_t i = 0; i < u->now->pair_count; i++)
		if (sl_id_equal(u->now->pairs[i].id, p->id))
			return &u->now->records[u->now->of_record[i]];
	return NULL;
}

void sl_dead_headers(struct sl_buf *to, const struct sl_topology *topology, const char *topic, int32_t partition,
		     int64_t offset, const struct sl_step *step, struct sl_bytes reason)
{
	char number[32];

	sl_header_add(to, "__connect.errors.topic", sl_text(topic));
	snprintf(number, sizeof number, "%d", (int)partition);
	sl_header_add(to, "__connect.errors.partition", sl_text(number));
	sl_header_add(to, "__connect.errors.task.id", sl_text(number));
	snprintf(number, sizeof number, "%lld", (long long)offset);
	sl_header_add(to, "__connect.errors.offset", sl_text(number));
	sl_header_add(to, "__connect.errors.connector.name", sl_text(topology->name));
	sl_header_add(to, "__connect.errors.stage", sl_text(step->name));
	sl_header_add(to, "__connect.errors.class.name", sl_text(step->op->name));
	sl_header_add(to, "__connect.errors.exception.class.name", code_of(reason));
	sl_header_add(to, "__connect.errors.exception.message", reason);
}

/* A record that is too large for a topic is kept as its head, with length and hash. */
#define DEAD_HEAD_BYTES 4096

static void dead(struct sl_task *t, const struct sl_record *from, struct sl_bytes key, struct sl_bytes value,
		 int64_t time_ms, struct sl_bytes source, struct sl_bytes domain, struct sl_bytes reason)
{
	struct sl_unit *u = t->unit;
	const struct sl_topology *topology = u->rt->topology;
	struct sl_buf headers = { 0 };
	struct sl_record r = { .time_ms = time_ms, .key = key, .value = value };

	sl_dead_headers(&headers, topology, topology->topics[t->step->from].name, t->partition,
			from ? from->offset : -1, t->step, reason);
	if (value.size > (size_t)topology->record_max_bytes) {
		char text[64], hex[SL_ID_HEX_SIZE];

		snprintf(text, sizeof text, "%zu", value.size);
		sl_header_add(&headers, "sluice.size_bytes", sl_text(text));
		sl_header_add(&headers, "sluice.xxh3_128", sl_text(sl_id_hex(sl_hash128(value.data, value.size), hex)));
		r.value.size = DEAD_HEAD_BYTES;
	}
	r.headers = sl_buf_bytes(&headers);
	output(u, t->step->dead, t->partition, &r);
	count(t, "dead", reason, source, domain);
	sl_buf_release(&headers);
}

/* Undecodable or deadly records: the unit itself rejects them, on behalf of its head. */
void sl_task_dead_record(struct sl_task *t, const struct sl_record *record, const char *reason)
{
	struct sl_bytes unknown = { "", 0 };

	dead(t, record, record->key, record->value, record->time_ms, unknown, unknown, sl_text(reason));
}

static const struct sl_pair *with_trail(struct sl_task *t, const struct sl_pair *p, const char *outcome,
					struct sl_bytes reason, struct sl_pair *copy)
{
	struct sl_trail *trail = sl_alloc(t, (p->trail_count + 1) * sizeof *trail);

	if (p->trail_count)
		memcpy(trail, p->trail, p->trail_count * sizeof *trail);
	trail[p->trail_count] = (struct sl_trail){
		.step = sl_text(t->step->name),
		.version = sl_text(t->step->op->version),
		.tables = sl_text(t->table_stamp),
		.outcome = sl_text(outcome),
		.reason = reason.size ? reason : (struct sl_bytes){ NULL, 0 },
		.pass = p->trail_count ? p->trail[p->trail_count - 1].pass : 0,
	};
	*copy = *p;
	copy->trail = trail;
	copy->trail_count = p->trail_count + 1;
	return copy;
}

static struct sl_task *inlined_reader(struct sl_task *t, int topic)
{
	struct sl_unit *u = t->unit;

	for (size_t i = 1; i < u->task_count; i++)
		if (u->tasks[i].step->from == topic)
			return &u->tasks[i];
	assert(!"an inlined topic has a reader");
	return NULL;
}

static void emit(struct sl_task *t, int port, const struct sl_pair *p, struct sl_bytes reason)
{
	struct sl_unit *u = t->unit;
	const struct sl_topology *topology = u->rt->topology;
	int topic = t->step->to[port];
	const struct sl_topic *to = &topology->topics[topic];
	const char *name = t->step->op->ports[port];
	struct sl_pair copy;
	struct sl_record r = { .time_ms = p->time_ms };
	int32_t partition;

	with_trail(t, p, name, reason, &copy);
	if (to->inlined) {
		struct sl_task *reader = inlined_reader(t, topic);

		if (reader->inbox_count == reader->inbox_capacity) {
			reader->inbox_capacity = reader->inbox_capacity ? 2 * reader->inbox_capacity : 64;
			reader->inbox = sl_realloc(reader->inbox, reader->inbox_capacity * sizeof *reader->inbox);
		}
		reader->inbox[reader->inbox_count++] = copy;
		count(t, name, reason, p->source, p->domain);
		return;
	}
	sl_buf_clear(&u->scratch);
	sl_pair_encode(&copy, &u->scratch);
	r.value = sl_buf_bytes(&u->scratch);
	/* tables, and final topics, where a decision may be taken again, are keyed by id */
	r.key = to->compacted || copy.decision.present ? sl_id_bytes(&copy.id) : sl_id_bytes(&copy.group);
	partition = sl_partition_of(sl_id_bytes(&copy.group), to->partitions);
	if (r.value.size > (size_t)topology->record_max_bytes) {
		char *why = sl_arena_print(&u->now->arena,
					   "too large: %zu bytes after step '%s', the limit is %lld (limits.record)",
					   r.value.size, t->step->name, (long long)topology->record_max_bytes);
		struct sl_bytes value = sl_arena_bytes(&u->now->arena, r.value);

		dead(t, origin(t, p), sl_id_bytes(&copy.group), value, p->time_ms, p->source, p->domain, sl_text(why));
		return;
	}
	output(u, topic, partition, &r);
	count(t, name, reason, p->source, p->domain);
}

void sl_emit(struct sl_task *t, int port, const struct sl_pair *p)
{
	if (alive(t, "emit"))
		emit(t, port, p, (struct sl_bytes){ "", 0 });
}

void sl_emit_because(struct sl_task *t, int port, const struct sl_pair *p, const char *reason, ...)
{
	char text[600];
	va_list args;

	if (!alive(t, "emit"))
		return;
	va_start(args, reason);
	vsnprintf(text, sizeof text, reason, args);
	va_end(args);
	emit(t, port, p, sl_arena_bytes(&t->unit->now->arena, sl_text(text)));
}

void sl_retract(struct sl_task *t, int port, const struct sl_pair *p)
{
	const struct sl_topology *topology = t->unit->rt->topology;
	int topic = t->step->to[port];
	struct sl_record r = { .time_ms = p->time_ms, .key = sl_id_bytes(&p->id) };

	if (!alive(t, "retract"))
		return;
	if (topology->topics[topic].inlined) {
		sl_fail(t, SL_STOP, "cannot retract from topic '%s': it is inlined", topology->topics[topic].name);
		return;
	}
	output(t->unit, topic, sl_partition_of(sl_id_bytes(&p->group), topology->topics[topic].partitions), &r);
}

void sl_reject(struct sl_task *t, const struct sl_pair *p, const char *reason, ...)
{
	struct sl_unit *u = t->unit;
	const struct sl_record *from;
	struct sl_pair copy;
	struct sl_bytes value;
	char text[600];
	va_list args;

	if (!alive(t, "reject"))
		return;
	va_start(args, reason);
	vsnprintf(text, sizeof text, reason, args);
	va_end(args);
	from = origin(t, p);
	if (from) {
		value = from->value;
	} else { /* of an inlined step: the record it would have read */
		sl_buf_clear(&u->scratch);
		copy = *p;
		sl_pair_encode(&copy, &u->scratch);
		value = sl_arena_bytes(&u->now->arena, sl_buf_bytes(&u->scratch));
	}
	dead(t, from, sl_id_bytes(&p->group), value, p->time_ms, p->source, p->domain, sl_text(text));
}

/* -- stores -------------------------------------------------------------------------- */

static struct sl_bytes store_key(struct sl_task *t, int store, struct sl_bytes key)
{
	const struct sl_store_def *def = &t->step->op->stores[store];
	struct sl_buf *b = &t->unit->scratch;

	sl_key_begin(b, def->derived ? 'd' : 's', t->step->name);
	sl_key_partition(b, t->partition);
	sl_key_text(b, sl_text(def->name));
	sl_buf_add_bytes(b, key);
	return sl_buf_bytes(b);
}

bool sl_get(struct sl_task *t, int store, struct sl_bytes key, struct sl_bytes *value)
{
	struct sl_unit *u = t->unit;
	const struct sl_stage_entry *staged;
	struct sl_buf found_value = { 0 };
	bool found = false;

	*value = (struct sl_bytes){ NULL, 0 };
	if (!alive(t, "get"))
		return false;
	key = store_key(t, store, key);
	staged = sl_stage_find(&u->stage, key);
	if (staged) {
		*value = staged->value;
		return value->data != NULL;
	}
	if (!u->rt->store->ops->get(u->rt->store, key, &found_value, &found, &u->error))
		fail(t);
	else if (found)
		*value = sl_arena_bytes(&u->now->arena,
					found_value.data ? sl_buf_bytes(&found_value) : (struct sl_bytes){ "", 0 });
	sl_buf_release(&found_value);
	return found;
}

void sl_put(struct sl_task *t, int store, struct sl_bytes key, struct sl_bytes value)
{
	assert(!t->asking);
	if (alive(t, "put"))
		sl_stage_put(&t->unit->stage, store_key(t, store, key), value);
}

void sl_del(struct sl_task *t, int store, struct sl_bytes key)
{
	assert(!t->asking);
	if (alive(t, "del"))
		sl_stage_del(&t->unit->stage, store_key(t, store, key));
}

void sl_task_scan_end(struct sl_task *t)
{
	if (t->scanning && !t->scanning_table)
		sl_stage_scan_end(&t->scan);
	t->scanning = false;
}

void sl_scan(struct sl_task *t, struct sl_scan *scan, int store, struct sl_bytes prefix)
{
	assert(!t->asking);
	sl_task_scan_end(t);
	*scan = (struct sl_scan){ .runtime = t };
	if (!alive(t, "scan"))
		return;
	t->unit->error.verdict = SL_OK;
	sl_stage_scan_begin(&t->scan, &t->unit->stage, t->unit->rt->store, store_key(t, store, prefix));
	t->scanning = true;
	t->scanning_table = false;
	t->scan_skip = strlen(t->step->name) + 6 + strlen(t->step->op->stores[store].name) + 1;
}

/* -- tables --------------------------------------------------------------------------- */

static struct sl_table *table_of(struct sl_task *t, int table)
{
	return t->unit->rt->topics[t->step->tables[table]].table;
}

bool sl_table_get(struct sl_task *t, int table, struct sl_bytes key, struct sl_bytes *value)
{
	const struct sl_table_entry *entry;

	*value = (struct sl_bytes){ NULL, 0 };
	if (!alive(t, "table"))
		return false;
	entry = sl_table_at(table_of(t, table), key, t->table_versions[table]);
	if (entry)
		*value = entry->value;
	return value->data != NULL;
}

int64_t sl_table_version(struct sl_task *t, int table)
{
	return t->table_versions[table];
}

void sl_table_scan(struct sl_task *t, struct sl_scan *scan, int table, int64_t after_version)
{
	sl_task_scan_end(t);
	*scan = (struct sl_scan){ .runtime = t, .version = after_version };
	t->scanning = t->scanning_table = true;
	t->scan_table = table;
}

bool sl_scan_next(struct sl_scan *scan)
{
	struct sl_task *t = scan->runtime;

	if (!t->scanning || !alive(t, "scan"))
		return false;
	if (t->scanning_table) {
		const struct sl_table_entry *entry =
			sl_table_after(table_of(t, t->scan_table), scan->version, t->table_versions[t->scan_table]);

		if (!entry) {
			t->scanning = false;
			return false;
		}
		scan->key = entry->key;
		scan->value = entry->value;
		scan->version = entry->version;
		return true;
	}
	if (!sl_stage_scan_next(&t->scan, &scan->key, &scan->value, &t->unit->error)) {
		sl_task_scan_end(t);
		if (t->unit->error.verdict != SL_OK)
			fail(t);
		return false;
	}
	/* the operator sees its own key, without the runtime's prefix */
	scan->key.data = (const uint8_t *)scan->key.data + t->scan_skip;
	scan->key.size -= t->scan_skip;
	return true;
}

/* -- the outside ------------------------------------------------------------------------ */

uint32_t sl_ask(struct sl_task *t, const struct sl_call *call)
{
	struct sl_unit *u = t->unit;
	const struct sl_topology *topology = u->rt->topology;
	uint32_t number = 0;
	size_t i = 0;

	if (!alive(t, "ask"))
		return 0;
	while (i < topology->endpoint_count && strcmp(topology->endpoints[i].name, call->endpoint) != 0)
		i++;
	if (i == topology->endpoint_count) {
		sl_error_set(&u->error, SL_STOP, "endpoint '%s' is not in the topology", call->endpoint);
		fail(t);
	} else if (!sl_calls_ask(u->calls, u->now->window, i, t->asking, call, &number, &u->error)) {
		fail(t);
	}
	return number;
}

const char *sl_task_model(struct sl_task *t, const char *endpoint)
{
	const struct sl_topology *topology = t->unit->rt->topology;

	for (size_t i = 0; i < topology->endpoint_count; i++)
		if (strcmp(topology->endpoints[i].name, endpoint) == 0)
			return topology->endpoints[i].model;
	return "";
}

struct sl_answer sl_answer(struct sl_task *t, uint32_t call)
{
	if (t->unit->failed)
		return (struct sl_answer){ .status = 0 };
	return sl_calls_answer(t->unit->now->window, call);
}

/* -- small things -------------------------------------------------------------------------- */

const char *sl_task_path(struct sl_task *t, const char *path)
{
	struct sl_unit *u = t->unit;
	const char *beside, *inside;

	if (path[0] == '/')
		return path;
	if (strncmp(path, "models/", 7) == 0)
		return sl_arena_print(&u->now->arena, "%s/%s", u->rt->models, path);
	beside = sl_arena_print(&u->now->arena, "%s/%s", u->rt->topology->folder, path);
	inside = sl_arena_print(&u->now->arena, "%s/%s", u->rt->data, path);
	/* of one that is nowhere people hear the place where they would put it */
	return access(beside, F_OK) != 0 && access(inside, F_OK) == 0 ? inside : beside;
}

void *sl_alloc(struct sl_task *t, size_t size)
{
	return sl_arena_alloc(&t->unit->now->arena, size);
}

struct sl_arena *sl_task_arena(struct sl_task *t)
{
	return &t->unit->now->arena;
}

enum sl_verdict sl_fail(struct sl_task *t, enum sl_verdict verdict, const char *text, ...)
{
	struct sl_unit *u = t->unit;
	char why[400];
	va_list args;

	assert(verdict != SL_OK);
	if (!u->failed) {
		va_start(args, text);
		vsnprintf(why, sizeof why, text, args);
		va_end(args);
		sl_error_set(&u->error, verdict, "%s", why);
		fail(t);
	}
	return u->error.verdict;
}

void sl_note(struct sl_task *t, const char *text, ...)
{
	char line[500], where[200];
	va_list args;

	va_start(args, text);
	vsnprintf(line, sizeof line, text, args);
	va_end(args);
	snprintf(where, sizeof where, "step=%s partition=%d", t->step->name, (int)t->partition);
	sl_log(SL_LOG_NOTE, where, "%s", line);
}
