/* idle.c -- how far all groups are, whoever is in them.
 *
 * Work is done when every group has committed its input's high watermark. The steps are looked at in dependency
 * order: what a step has written is in its outputs before its offset is committed, so when it was at its end and then
 * its reader was too, nothing was between them; and two equal looks mean that nothing came in from outside meanwhile.
 * The high watermark, not the last stable offset: an open transaction is work that is not done. */
#include "run.h"

#include <stdlib.h>

static void put(struct sl_look *l, size_t at, int64_t offset, int64_t end)
{
	if (at == l->count) {
		l->offsets = sl_realloc(l->offsets, (at + 1) * sizeof *l->offsets);
		l->ends = sl_realloc(l->ends, (at + 1) * sizeof *l->ends);
		l->count++;
		l->same = false;
	} else if (l->offsets[at] != offset || l->ends[at] != end) {
		l->same = false;
	}
	l->offsets[at] = offset;
	l->ends[at] = end;
}

/* The group's offsets of the step's input; a partition without one counts from the log's start. */
static bool step_offsets(struct sl_kafka *k, const struct sl_step *step, int64_t *offsets, struct sl_error *e)
{
	char group[SL_ID_MAX];

	sl_kafka_name(k, group, "%s", step->name);
	return sl_kafka_offsets(k, group, k->names[step->from], k->topology->topics[step->from].partitions, offsets, e);
}

bool sl_kafka_look(struct sl_kafka *k, struct sl_look *l, struct sl_error *e)
{
	const struct sl_topology *topology = k->topology;
	bool done = true;
	size_t at = 0;

	l->lagging = 0;
	l->same = true;
	for (size_t i = 0; done && i < topology->step_count; i++) {
		const struct sl_step *step = &topology->steps[i];
		int32_t partitions = topology->topics[step->from].partitions;
		int64_t *offsets;

		if (step->host != (int)i || !sl_step_wanted(k->rt, step->name))
			continue;
		offsets = sl_calloc((size_t)partitions, sizeof *offsets);
		done = step_offsets(k, step, offsets, e);
		for (int32_t p = 0; done && p < partitions; p++) {
			int64_t start, end;

			done = sl_kafka_ends(k, k->names[step->from], p, false, &start, &end, e);
			if (!done)
				break;
			put(l, at++, offsets[p], end);
			l->lagging += (offsets[p] < 0 ? start : offsets[p]) < end;
		}
		free(offsets);
	}
	if (!done)
		l->same = false;
	return done;
}

bool sl_kafka_settled(struct sl_kafka *k, bool *settled, struct sl_error *e)
{
	*settled = true;
	for (size_t i = 0; *settled && i < k->topology->topic_count; i++) {
		const struct sl_topic *topic = &k->topology->topics[i];

		for (int32_t p = 0; *settled && !topic->inlined && p < topic->partitions; p++) {
			int64_t start, stable, end;

			if (!sl_kafka_ends(k, k->names[i], p, false, &start, &end, e) ||
			    !sl_kafka_ends(k, k->names[i], p, true, &start, &stable, e))
				return false;
			*settled = stable >= end;
		}
	}
	return true;
}

void sl_look_release(struct sl_look *l)
{
	free(l->offsets);
	free(l->ends);
	*l = (struct sl_look){ 0 };
}

/* Lower each of `least` to what the readers have committed; false in *read when somebody has read nothing, or nobody
 * reads. */
static bool least_offsets(struct sl_kafka *k, int topic, int64_t *least, bool *read, struct sl_error *e)
{
	int32_t partitions = k->topology->topics[topic].partitions;
	int64_t *offsets = sl_calloc((size_t)partitions, sizeof *offsets);
	bool done = true;

	*read = false;
	for (size_t i = 0; done && i < k->topology->step_count; i++) {
		const struct sl_step *step = &k->topology->steps[i];

		if (step->from != topic)
			continue;
		done = step_offsets(k, step, offsets, e);
		for (int32_t p = 0; done && p < partitions; p++)
			if (!*read || offsets[p] < least[p])
				least[p] = offsets[p];
		*read = true;
	}
	free(offsets);
	return done;
}

bool sl_kafka_purge_read(struct sl_kafka *k, struct sl_error *e)
{
	bool done = true;

	for (size_t i = 0; done && i < k->topology->topic_count; i++) {
		const struct sl_topic *topic = &k->topology->topics[i];
		int64_t *least, start, end;
		bool read;

		if (topic->inlined || topic->retention != SL_RETAIN_UNTIL_READ)
			continue;
		least = sl_calloc((size_t)topic->partitions, sizeof *least);
		done = least_offsets(k, (int)i, least, &read, e);
		for (int32_t p = 0; done && read && p < topic->partitions; p++) {
			done = sl_kafka_ends(k, k->names[i], p, true, &start, &end, e);
			if (!done || least[p] <= start)
				continue;
			done = sl_kafka_purge(k, k->names[i], p, least[p], e);
			if (done)
				atomic_fetch_add(&k->counters.purged, least[p] - start);
		}
		free(least);
	}
	return done;
}
