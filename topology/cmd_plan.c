/* cmd_plan.c -- `sluice plan`: the resolved topology, without touching the data folder. */
#include "commands.h"

struct plan {
	struct sl_common common;
};

static const struct sl_arg args[] = { SL_COMMON_ARGS };

static int run(void *self, const struct sl_texts *words)
{
	struct plan *plan = self;
	struct sl_topology *t = sl_command_topology(&plan->common);
	struct sl_buf text = { 0 };

	(void)words;
	if (!t)
		return SL_EXIT_USAGE;
	sl_topology_plan(t, NULL, plan->common.json, &text);
	fwrite(text.data, 1, text.size, stdout);
	sl_buf_release(&text);
	sl_topology_free(t);
	return sl_command_flush();
}

const struct sl_command sl_command_plan = {
	.name = "plan",
	.usage = "[options]",
	.summary = "print the resolved topology, every derived name and where each option came from",
	.args = args,
	.self_size = sizeof(struct plan),
	.run = run,
};
