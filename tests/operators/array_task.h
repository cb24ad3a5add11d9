/* array_task.h -- the runtime calls of operators/operator.h over plain arrays: one
 * operator, a first store with keys 0, 1, 2 ... as big-endian numbers, a list for
 * all others, outputs kept as (port, id, reason). For what must run millions of pairs or count calls; the
 * trial harness (tests/trial.h) is the place for scripts and faults. Define it in
 * one file of an executable that does not use the trial. */
#ifndef SL_ARRAY_TASK_H
#define SL_ARRAY_TASK_H

#include "operators/operator.h"
#include "topology/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { REJECTED = -1 };

struct output {
	struct sl_id id;
	int port;
	char label_arrived[8];
	char reason[400];
};

struct entry {
	int store;
	struct sl_buf key, value; /* value.data NULL: deleted */
};

struct sl_task {
	const struct sl_operator *operator;
	void *self;
	struct sl_arena arena;
	struct sl_buf *rows; /* by key */
	size_t row_count, row_room;
	struct entry *entries;
	size_t entry_count;
	struct output *outputs;
	size_t output_count, output_room;
	size_t gets, puts, put_bytes;
	bool quiet; /* do not keep outputs */
	enum sl_verdict verdict;
	char failure[504];
};

static struct output *add_output(struct sl_task *t, int port, const struct sl_pair *p)
{
	struct output *o;

	if (t->output_count == t->output_room) {
		t->output_room = t->output_room ? 2 * t->output_room : 64;
		t->outputs = sl_realloc(t->outputs, t->output_room * sizeof *t->outputs);
	}
	if (t->quiet)
		t->output_count = 0;
	o = &t->outputs[t->output_count++];
	*o = (struct output){ .id = p->id, .port = port };
	snprintf(o->label_arrived, sizeof o->label_arrived, "%.*s", (int)p->gold.label_arrived.size,
		 p->gold.label_arrived.data ? (const char *)p->gold.label_arrived.data : "");
	return o;
}

void sl_emit(struct sl_task *t, int port, const struct sl_pair *p)
{
	add_output(t, port, p);
}

void sl_emit_because(struct sl_task *t, int port, const struct sl_pair *p, const char *reason, ...)
{
	struct output *o = add_output(t, port, p);
	va_list args;

	va_start(args, reason);
	vsnprintf(o->reason, sizeof o->reason, reason, args);
	va_end(args);
}

void sl_reject(struct sl_task *t, const struct sl_pair *p, const char *reason, ...)
{
	struct output *o = add_output(t, REJECTED, p);
	va_list args;

	va_start(args, reason);
	vsnprintf(o->reason, sizeof o->reason, reason, args);
	va_end(args);
}

static struct entry *find_entry(struct sl_task *t, int store, struct sl_bytes key)
{
	for (size_t i = 0; i < t->entry_count; i++)
		if (t->entries[i].store == store && sl_bytes_equal(sl_buf_bytes(&t->entries[i].key), key))
			return &t->entries[i];
	return NULL;
}

static void put_entry(struct sl_task *t, int store, struct sl_bytes key, struct sl_bytes value)
{
	struct entry *e = find_entry(t, store, key);

	if (!e) {
		t->entries = sl_realloc(t->entries, (t->entry_count + 1) * sizeof *t->entries);
		e = &t->entries[t->entry_count++];
		*e = (struct entry){ .store = store };
		sl_buf_add_bytes(&e->key, key);
	}
	sl_buf_release(&e->value);
	sl_buf_add_bytes(&e->value, value);
}

void sl_del(struct sl_task *t, int store, struct sl_bytes key)
{
	struct entry *e = find_entry(t, store, key);

	if (e)
		sl_buf_release(&e->value);
}

struct sl_arena *sl_task_arena(struct sl_task *t)
{
	return &t->arena;
}

bool sl_get(struct sl_task *t, int store, struct sl_bytes key, struct sl_bytes *value)
{
	struct entry *e = store > 0 ? find_entry(t, store, key) : NULL;
	uint64_t row;

	if (store > 0) {
		*value = e ? sl_buf_bytes(&e->value) : (struct sl_bytes){ 0 };
		return value->size > 0;
	}
	row = sl_get_be64(key.data);
	t->gets++;
	if (row >= t->row_count)
		return false;
	*value = sl_buf_bytes(&t->rows[row]);
	return true;
}

void sl_put(struct sl_task *t, int store, struct sl_bytes key, struct sl_bytes value)
{
	uint64_t row;

	if (store > 0) {
		put_entry(t, store, key, value);
		return;
	}
	row = sl_get_be64(key.data);
	if (row >= t->row_room) {
		t->row_room = 2 * row + 64;
		t->rows = sl_realloc(t->rows, t->row_room * sizeof *t->rows);
	}
	for (; t->row_count <= row; t->row_count++)
		t->rows[t->row_count] = (struct sl_buf){ 0 };
	sl_buf_clear(&t->rows[row]);
	sl_buf_add_bytes(&t->rows[row], value);
	t->puts++;
	t->put_bytes += key.size + value.size;
}

void sl_scan(struct sl_task *t, struct sl_scan *s, int store, struct sl_bytes prefix)
{
	(void)store;
	(void)prefix;
	*s = (struct sl_scan){ .runtime = t };
}

bool sl_scan_next(struct sl_scan *s)
{
	static uint8_t key[8];
	struct sl_task *t = s->runtime;

	if ((size_t)s->version == t->row_count)
		return false;
	sl_put_be64(key, (uint64_t)s->version);
	s->key = (struct sl_bytes){ key, sizeof key };
	s->value = sl_buf_bytes(&t->rows[s->version++]);
	return true;
}

const char *sl_task_path(struct sl_task *t, const char *path)
{
	(void)t;
	return path;
}

enum sl_verdict sl_fail(struct sl_task *t, enum sl_verdict verdict, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vsnprintf(t->failure, sizeof t->failure, text, args);
	va_end(args);
	t->verdict = verdict;
	return verdict;
}

/* The field of an option in self, to set it before task_open. */
static inline void *task_option(struct sl_task *t, const char *name)
{
	for (const struct sl_option *o = t->operator->options; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return (char *)t->self + o->offset;
	abort();
}

static inline void task_init(struct sl_task *t, const struct sl_operator *operator)
{
	*t = (struct sl_task){ .operator= operator, .self = sl_calloc(1, operator->self_size) };
}

/* Close and open again with the same options: what a crash or a restart does. */
static inline enum sl_verdict task_reopen(struct sl_task *t)
{
	void *fresh = sl_calloc(1, t->operator->self_size);

	for (const struct sl_option *o = t->operator->options; o->name; o++) {
		size_t size = o->type == SL_OPTION_BOOL   ? sizeof(bool)
			      : o->type == SL_OPTION_LIST ? sizeof(struct sl_list)
							  : 8;
		memcpy((char *)fresh + o->offset, (char *)t->self + o->offset, size);
	}
	t->operator->close(t, t->self);
	free(t->self);
	t->self = fresh;
	return t->operator->open(t, t->self);
}

static inline void task_release(struct sl_task *t)
{
	t->operator->close(t, t->self);
	free(t->self);
	for (size_t i = 0; i < t->row_count; i++)
		sl_buf_release(&t->rows[i]);
	free(t->rows);
	for (size_t i = 0; i < t->entry_count; i++) {
		sl_buf_release(&t->entries[i].key);
		sl_buf_release(&t->entries[i].value);
	}
	free(t->entries);
	free(t->outputs);
	sl_arena_release(&t->arena);
}

#endif
