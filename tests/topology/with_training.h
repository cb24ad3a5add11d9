/* with_training.h -- for tests of trainings: a topology on a real folder (models are files), stepped by hand, and gold
 * pairs whose better answer is told by its words. Included once, by the test that has the topology. */
#ifndef SL_WITH_TRAINING_H
#define SL_WITH_TRAINING_H

#include "tests/trial.h"
#include "topology/base/file.h"
#include "topology/engine.h"
#include "trainer/registry.h"

#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[64];
static struct sl_trial *t;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/sluice-training-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return 0;
}

static int tear_down(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	if (t)
		sl_trial_free(t);
	t = NULL;
	return sl_folder_remove(folder, &e) ? 0 : -1;
}

static void begin_on(const char *yaml, const char *const *sets, size_t count)
{
	struct sl_trial_case c = { .yaml = yaml, .sets = sets, .set_count = count, .folder = folder };

	t = sl_trial_case_new(&c, NULL);
}

static void again(void)
{
	if (!sl_trial_restart(t, SL_TWIN_KILL))
		fail_msg("%s", t->error.text);
}

static bool due(void)
{
	struct sl_error e = { 0 };
	bool trained;

	if (!sl_training_due(t->rt, true, &trained, &e))
		fail_msg("%s", e.text);
	return trained;
}

static size_t records(const char *topic)
{
	struct sl_record *list;
	struct sl_arena a = { 0 };
	size_t n = sl_trial_records(t, topic, &a, &list);

	sl_arena_release(&a);
	return n;
}

/* Each number has a prompt, so a group, of its own. `swapped`: the human prefers the short and rude answer. */
static struct sl_pair gold_pair(struct sl_arena *a, size_t number, bool swapped)
{
	uint64_t seed = number * 2654435761u + 7;
	char *good = sl_arena_print(a, "well");
	const char *bad = "short and rude", *prompt = sl_arena_print(a, "question %zu", number);
	struct sl_pair p;

	for (size_t i = 0; i < 8; i++)
		good = sl_arena_print(a, "%s nice%llu", good, (unsigned long long)(sl_random(&seed) % 20));
	p = sl_trial_pair(a, prompt, swapped ? bad : good, swapped ? good : bad);
	p.time_ms = 1000 + (int64_t)number;
	p.gold.present = true;
	p.gold.verdict = sl_text("chosen");
	p.gold.sample = sl_text("given");
	return p;
}

/* "trained_on" of a version; to be released. */
static json_t *trained_on(const char *name, int version)
{
	char path[128];
	json_t *config, *on;

	snprintf(path, sizeof path, "%s/models/%s/%d/config.json", folder, name, version);
	config = json_load_file(path, 0, NULL);
	assert_non_null(config);
	on = json_incref(json_object_get(config, "trained_on"));
	json_decref(config);
	assert_non_null(on);
	return on;
}

#endif
