/* freeze.c -- `run --freeze`: tables stay as they were when the frozen run began, also when it
 * is killed and started again.
 *
 * The pins are the ends of the table topics, in the store ('f' topic 0 partition), written by the
 * first frozen run and gone when a frozen run has come to its end (until idle) or a run
 * without --freeze begins. Without them a restart would see gold pairs or models that came
 * in between, and the same input would end differently. */
#include "engine.h"

#include "keys.h"

static bool pinned(struct sl_runtime *rt, bool *any, struct sl_error *e)
{
	struct sl_store_scan *scan = rt->meta->ops->scan(rt->meta, (struct sl_bytes){ "f", 1 });
	struct sl_bytes key, value;

	e->verdict = SL_OK;
	*any = rt->meta->ops->next(scan, &key, &value, e);
	rt->meta->ops->end(scan);
	return e->verdict == SL_OK;
}

static void pin_key(struct sl_buf *key, const char *topic, int32_t partition)
{
	sl_key_begin(key, 'f', topic);
	sl_key_partition(key, partition);
}

bool sl_freeze_pin(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	struct sl_buf key = { 0 };
	bool any, done;

	if (!rt->options.freeze)
		return true;
	done = pinned(rt, &any, e);
	for (size_t i = 0; done && !any && i < rt->topology->topic_count; i++) {
		for (int32_t p = 0; rt->topics[i].table && p < rt->topology->topics[i].partitions; p++) {
			uint8_t v[8];

			pin_key(&key, rt->topology->topics[i].name, p);
			sl_put_le64(v, (uint64_t)atomic_load(&rt->topics[i].ends[p]));
			sl_writes_put(&w, sl_buf_bytes(&key), (struct sl_bytes){ v, sizeof v });
		}
	}
	if (done && w.count)
		done = rt->meta->ops->write(rt->meta, &batch, 1, rt->topology->durable, e);
	sl_writes_release(&w);
	sl_buf_release(&key);
	return done;
}

bool sl_freeze_end(struct sl_runtime *rt, int topic, int32_t partition, int64_t *end, struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	bool found, done;

	*end = atomic_load(&rt->topics[topic].ends[partition]);
	if (!rt->options.freeze)
		return true;
	pin_key(&key, rt->topology->topics[topic].name, partition);
	done = rt->meta->ops->get(rt->meta, sl_buf_bytes(&key), &value, &found, e);
	if (done)
		*end = found && value.size == 8 ? (int64_t)sl_get_le64(value.data) : 0;
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

bool sl_freeze_release(struct sl_runtime *rt, struct sl_error *e)
{
	struct sl_store_scan *scan = rt->meta->ops->scan(rt->meta, (struct sl_bytes){ "f", 1 });
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	struct sl_bytes key, value;
	bool done;

	e->verdict = SL_OK;
	while (rt->meta->ops->next(scan, &key, &value, e))
		sl_writes_del(&w, key);
	rt->meta->ops->end(scan);
	done = e->verdict == SL_OK;
	if (done && w.count)
		done = rt->meta->ops->write(rt->meta, &batch, 1, rt->topology->durable, e);
	sl_writes_release(&w);
	return done;
}
