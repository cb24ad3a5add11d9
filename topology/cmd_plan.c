/* cmd_plan.c -- `sluice plan`: the resolved topology, without touching the data folder; and where the stream
 * is Kafka, what the brokers have of it at the moment. Nothing is made or changed, and brokers that
 * are down are a line of the plan, not a failure: the plan is true without them. */
#include "commands.h"
#include "stream.h"

struct plan {
	struct sl_common common;
	bool offline;
};

static const struct sl_arg args[] = { { "offline", 0, SL_ARG_FLAG, NULL, "do not ask the brokers what they have",
					offsetof(struct plan, offline) },
				      SL_COMMON_ARGS };

/* What the brokers have, in lines. Not reaching them is one line; what a person must put right (a refused
 * property, a wrong password) is a failure beside the plan. */
static int ask_brokers(const struct sl_topology *t, struct sl_buf *lines)
{
	struct sl_error e = { 0 };

	if (sl_stream_plan(t, lines, &e))
		return SL_EXIT_OK;
	sl_buf_clear(lines);
	sl_buf_print(lines, "%s%s\n", e.verdict == SL_STOP ? "" : "brokers not reached: ", e.text);
	return e.verdict == SL_STOP ? sl_command_failed(&e) : SL_EXIT_OK;
}

static int run(void *self, const struct sl_texts *words)
{
	struct plan *plan = self;
	struct sl_topology *t = sl_command_topology(&plan->common);
	struct sl_buf text = { 0 }, brokers = { 0 };
	int code = SL_EXIT_OK, flushed;
	bool ask;

	(void)words;
	if (!t)
		return SL_EXIT_USAGE;
	ask = t->stream == SL_STREAM_KAFKA && !plan->offline;
	if (ask)
		code = ask_brokers(t, &brokers);
	sl_topology_plan(t, ask ? sl_buf_text(&brokers) : NULL, plan->common.json, &text);
	fwrite(text.data, 1, text.size, stdout);
	sl_buf_release(&text);
	sl_buf_release(&brokers);
	sl_topology_free(t);
	flushed = sl_command_flush();
	return code ? code : flushed;
}

const struct sl_command sl_command_plan = {
	.name = "plan",
	.usage = "[options]",
	.summary = "print the resolved topology, every derived name and where each option came from",
	.args = args,
	.self_size = sizeof(struct plan),
	.run = run,
};
