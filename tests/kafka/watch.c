/* watch.c -- sluice-watch TOPOLOGY [KEY=VALUE ...]: what every task has committed, as long as it is let run.
 *
 * A line for each change, on standard output: MILLISECONDS STEP.PARTITION OFFSET, with the time since 1970. Offsets are
 * asked for about four times a second, group after group, and are stable ones; while the brokers do not answer
 * there are no lines. So the time between a kill and the next line of a task is, rounded up, how long nobody did its
 * work. Ends when standard input does. */
#include "topology/kafka/kafka.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EVERY_MS 250

static void look(struct sl_kafka *k, const struct sl_step *step, int64_t *seen)
{
	int32_t count = k->topology->topics[step->from].partitions;
	int64_t *offsets = sl_calloc((size_t)count, sizeof *offsets);
	char group[SL_ID_MAX];
	struct sl_error e = { 0 };

	sl_kafka_name(k, group, "%s", step->name);
	if (sl_kafka_offsets(k, group, k->names[step->from], count, offsets, &e)) {
		for (int32_t p = 0; p < count; p++) {
			if (offsets[p] == seen[p])
				continue;
			seen[p] = offsets[p];
			printf("%" PRId64 " %s.%d %" PRId64 "\n", sl_wall_ms(), step->name, (int)p, offsets[p]);
		}
		fflush(stdout);
	}
	free(offsets);
}

int main(int argc, char **argv)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	struct sl_error e = { 0 };
	struct sl_kafka k = { 0 };
	struct sl_topology *t;
	int64_t **seen;

	if (argc < 2) {
		fprintf(stderr, "usage: sluice-watch TOPOLOGY [KEY=VALUE ...]\n");
		return 2;
	}
	t = sl_topology_load(argv[1], (const char *const *)argv + 2, (size_t)argc - 2, &e);
	if (!t || !sl_kafka_connect(&k, t, &e)) {
		fprintf(stderr, "sluice-watch: %s\n", e.text);
		return 1;
	}
	seen = sl_calloc(t->step_count, sizeof *seen);
	for (size_t i = 0; i < t->step_count; i++) {
		seen[i] = sl_calloc((size_t)t->topics[t->steps[i].from].partitions, sizeof **seen);
		for (int32_t p = 0; p < t->topics[t->steps[i].from].partitions; p++)
			seen[i][p] = -1;
	}
	while (poll(&input, 1, EVERY_MS) == 0)
		for (size_t i = 0; i < t->step_count; i++)
			if (t->steps[i].host == (int)i)
				look(&k, &t->steps[i], seen[i]);
	for (size_t i = 0; i < t->step_count; i++)
		free(seen[i]);
	free(seen);
	sl_kafka_disconnect(&k);
	sl_topology_free(t);
	return 0;
}
