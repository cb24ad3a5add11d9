/* check.c -- see check.h. A runtime without anything under it: an empty store, empty tables, no endpoints, no stream.
 * An operator's open() may use no more than these (operators/operator.h). One thread, nothing is kept. */
#include "check.h"

#include "engine.h"

#include <stdlib.h>

/* -- a store without rows ---------------------------------------------------------------- */

static bool no_row(struct sl_store *s, struct sl_bytes key, struct sl_buf *value, bool *found, struct sl_error *e)
{
	(void)s, (void)key, (void)value, (void)e;
	*found = false;
	return true;
}

static const struct sl_store_ops no_rows;
static struct sl_store_scan nothing = { &no_rows };

static struct sl_store_scan *scan(struct sl_store *s, struct sl_bytes prefix)
{
	(void)s, (void)prefix;
	return &nothing;
}

static bool next(struct sl_store_scan *s, struct sl_bytes *key, struct sl_bytes *value, struct sl_error *e)
{
	(void)s, (void)key, (void)value, (void)e;
	return false;
}

static void end(struct sl_store_scan *s)
{
	(void)s;
}

static const struct sl_store_ops no_rows = { .get = no_row, .scan = scan, .next = next, .end = end };

/* -- the steps ------------------------------------------------------------------------------ */

static bool check_step(struct sl_runtime *rt, const struct sl_step *step, struct sl_error *e)
{
	const struct sl_operator *op = step->op;
	struct sl_lot lot = { 0 };
	int64_t *versions;
	struct sl_unit *u = sl_calloc(1, sizeof *u);
	struct sl_task task = { .unit = u, .step = step, .partition = -1, .opened = true };
	enum sl_verdict verdict = SL_OK;
	size_t tables = 0;

	while (op->tables && op->tables[tables])
		tables++;
	versions = sl_calloc(tables + 1, sizeof *versions);
	*u = (struct sl_unit){ .rt = rt, .tasks = &task, .task_count = 1, .lots = &lot, .lot_count = 1, .now = &lot };
	task.table_versions = versions;
	task.self = sl_calloc(1, op->self_size ? op->self_size : 1);
	memcpy(task.self, step->self_image, op->self_size);
	if (op->open)
		verdict = op->open(&task, task.self);
	sl_task_scan_end(&task);
	if (op->close)
		op->close(&task, task.self);
	if (verdict != SL_OK)
		*e = u->error;
	free(task.self);
	free(versions);
	sl_buf_release(&u->scratch);
	sl_stage_release(&u->stage);
	sl_arena_release(&lot.arena);
	free(u);
	return verdict == SL_OK || verdict == SL_WAIT;
}

bool sl_topology_check(const struct sl_topology *t, const char *data, const char *const *only, size_t only_count,
		       struct sl_error *e)
{
	struct sl_store store = { &no_rows };
	struct sl_runtime *rt = sl_calloc(1, sizeof *rt);
	bool fit = true;

	rt->topology = t;
	rt->options.only = only;
	rt->options.only_count = only_count;
	rt->data = sl_strdup(data);
	rt->models = t->models_dir ? t->models_dir : rt->data;
	rt->store = &store;
	sl_topics_alloc(rt);
	for (size_t i = 0; fit && i < t->step_count; i++)
		if (only_count == 0 || sl_step_wanted(rt, t->steps[i].name))
			fit = check_step(rt, &t->steps[i], e);
	for (size_t i = 0; i < t->topic_count; i++) {
		free(rt->topics[i].ends);
		free(rt->topics[i].starts);
		sl_table_free(rt->topics[i].table);
	}
	free(rt->topics);
	free(rt->data);
	free(rt);
	return fit;
}
