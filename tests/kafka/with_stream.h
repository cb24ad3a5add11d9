/* with_stream.h -- up to three processes of one application on real brokers, each with a folder of its own: for the
 * tests of the Kafka stream from above. */
#ifndef SL_WITH_STREAM_H
#define SL_WITH_STREAM_H

#include "topology/keys.h"

#include "tests/kafka/with_broker.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Up to three processes, each with a folder of its own, of one application. */
struct world {
	struct sl_topology *topology;
	char folders[3][64];
	struct sl_runtime *rts[3];
};

/* Where a commit of a command fails; NULL: nowhere. */
static const char *fault_site;

static inline bool fault(void *arg, const char *site)
{
	(void)arg;
	return fault_site && strcmp(site, fault_site) == 0;
}

static inline struct sl_runtime *open_process(struct world *w, size_t which, struct sl_error *e)
{
	struct sl_runtime_options options = { .data = w->folders[which], .fault = fault };

	if (!w->folders[which][0]) {
		snprintf(w->folders[which], sizeof w->folders[which], "/tmp/sluice-stream-XXXXXX");
		assert_non_null(mkdtemp(w->folders[which]));
	}
	memset(e, 0, sizeof *e);
	w->rts[which] = sl_runtime_open(w->topology, &options, e);
	return w->rts[which];
}

static inline void open_world(struct world *w, size_t processes)
{
	struct sl_error e;

	memset(w, 0, sizeof *w);
	w->topology = kafka_topology(KAFKA_SMALL);
	for (size_t i = 0; i < processes; i++)
		if (!open_process(w, i, &e))
			fail_msg("%s", e.text);
}

static inline void close_world(struct world *w)
{
	struct sl_error e = { 0 };

	for (size_t i = 0; i < 3; i++) {
		sl_runtime_close(w->rts[i]);
		if (w->folders[i][0])
			assert_true(sl_folder_remove(w->folders[i], &e));
	}
	sl_topology_free(w->topology);
}

static inline void must(bool done, const struct sl_error *e)
{
	if (!done)
		fail_msg("%s", e->text);
}

static inline void says(const struct sl_error *e, enum sl_verdict verdict, const char *text)
{
	if (e->verdict != verdict || !strstr(e->text, text))
		fail_msg("expected %d '%s', got %d '%s'", (int)verdict, text, (int)e->verdict, e->text);
}

static inline int topic_of(const struct world *w, const char *name)
{
	int topic = sl_topology_topic(w->topology, name);

	assert_true(topic >= 0);
	return topic;
}

static inline struct sl_record record(const char *key, const char *value)
{
	return (struct sl_record){ .time_ms = 1700000000123, .key = sl_text(key), .value = sl_text(value) };
}

#endif
