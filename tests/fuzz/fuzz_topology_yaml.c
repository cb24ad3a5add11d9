/* fuzz_topology_yaml.c -- any bytes as a topology file, and what follows the first NUL as
 * a --set: either an error with a text, or a topology whose indexes are all in range and whose
 * plan can be printed both ways. */
#include "topology/topology.h"

#include <jansson.h>

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 loses a buffer on some broken quoted texts: not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml\n";
}

static void check_topic(const struct sl_topology *t, int topic)
{
	assert(topic >= 0 && (size_t)topic < t->topic_count);
	assert(t->topics[topic].partitions >= 1);
}

static void check(const struct sl_topology *t)
{
	struct sl_buf plan = { 0 };
	json_t *json;

	check_topic(t, t->entry);
	check_topic(t, t->ties);
	check_topic(t, t->dead_ingest);
	for (size_t i = 0; i < t->step_count; i++) {
		const struct sl_step *s = &t->steps[i];

		check_topic(t, s->from);
		check_topic(t, s->dead);
		for (size_t k = 0; s->op->ports[k]; k++)
			check_topic(t, s->to[k]);
		for (size_t k = 0; s->op->tables && s->op->tables[k]; k++)
			check_topic(t, s->tables[k]);
		assert(s->host >= 0 && (size_t)s->host <= i && t->steps[s->host].host == s->host);
		assert((s->host != (int)i) == t->topics[s->from].inlined);
	}
	for (size_t i = 0; i < t->trainer_count; i++) {
		check_topic(t, t->models);
		check_topic(t, t->trainers[i].gold);
		for (size_t k = 0; k < t->trainers[i].from_count; k++)
			check_topic(t, t->trainers[i].from[k]);
	}
	sl_topology_plan(t, NULL, false, &plan);
	sl_buf_clear(&plan);
	sl_topology_plan(t, NULL, true, &plan);
	json = json_loadb((const char *)plan.data, plan.size, 0, NULL);
	assert(json);
	json_decref(json);
	sl_buf_release(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
	char *set = nul ? strndup((const char *)nul + 1, size - (size_t)(nul - data) - 1) : NULL;
	const char *const sets[] = { set };
	struct sl_bytes yaml = { data, nul ? (size_t)(nul - data) : size };
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("fuzz.yaml", yaml, sets, set ? 1 : 0, &e);

	if (t)
		check(t);
	else
		assert(e.verdict == SL_STOP && e.text[0]);
	sl_topology_free(t);
	free(set);
	return 0;
}
