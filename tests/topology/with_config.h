/* with_config.h -- for tests of topology files: parsing them, and two operators to name in them. A test brings its own
 * operators: it defines sl_operators, so the linker does not take the list of the build. */
#ifndef SL_WITH_CONFIG_H
#define SL_WITH_CONFIG_H

#include "topology/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *const pass_ports[] = { "out", NULL };
static const struct sl_operator pass = { .name = "pass", .version = "1", .ports = pass_ports };

static enum sl_verdict nothing(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)t;
	(void)self;
	(void)b;
	return SL_OK;
}
static const struct sl_operator asks = { .name = "asks", .version = "1", .ports = pass_ports, .ask = nothing };

#define SETS_MAX 4

static struct sl_topology *parse(const char *yaml, const char *const *sets, struct sl_error *e)
{
	size_t count = 0;

	while (sets && count < SETS_MAX && sets[count])
		count++;
	memset(e, 0, sizeof *e);
	return sl_topology_parse("some/t.yaml", sl_text(yaml), sets, count, e);
}

static struct sl_topology *good(const char *yaml, const char *const *sets)
{
	struct sl_error e;
	struct sl_topology *t = parse(yaml, sets, &e);

	if (!t)
		fail_msg("%s", e.text);
	return t;
}

#define TOP "topology: t\n"
/* Lines 1 to 3. */
#define ONE TOP "steps:\n  - { name: a, operator: pass, from: pairs.raw, to: { out: x } }\n"
/* Lines 1 and 2. */
#define KAFKA TOP "stream: { kind: kafka, brokers: \"b:1\" }\n"
#define STEPS "steps:\n  - { name: a, operator: pass, from: pairs.raw, to: { out: x } }\n"

#endif
