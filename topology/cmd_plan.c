/* cmd_plan.c -- `sluice plan`: the resolved topology, without touching the data folder; and where the stream
 * is Kafka, what the brokers have of it at the moment. Nothing is made or changed, and brokers that
 * are down are a line of the plan, not a failure: the plan is true without them.
 *
 * With --estimate FILE it says instead what the pairs of a file would cost (estimate.h). How many pairs are asked about
 * is then looked up in the data folder, if there is one. */
#include "commands.h"

#include "check.h"
#include "estimate.h"
#include "status_table.h"
#include "stream.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define SAMPLE 1000
#define SAMPLE_MOST 1000000

struct plan {
	struct sl_common common;
	bool offline;
	const char *estimate;
	int64_t sample; /* 0: not given */
};

static const struct sl_arg args[] = {
	{ "offline", 0, SL_ARG_FLAG, NULL, "do not ask the brokers what they have", offsetof(struct plan, offline) },
	{ "estimate", 0, SL_ARG_TEXT, "FILE", "what judging the pairs of this file would cost; - is standard input",
	  offsetof(struct plan, estimate) },
	{ "sample", 0, SL_ARG_COUNT, "N", "with --estimate: how many pairs are looked at (default 1000)",
	  offsetof(struct plan, sample) },
	SL_COMMON_ARGS
};

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

/* -- what it would cost --------------------------------------------------------------- */

/* Of a data folder that is there; NaN when there is none, or nobody was asked yet. */
static double asked_share(const struct sl_topology *t, const char *data, int64_t *seen)
{
	char lock[4096];
	struct sl_client *client = NULL;
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	double share = NAN;
	json_t *status = NULL;

	snprintf(lock, sizeof lock, "%s/LOCK", data);
	if (access(lock, F_OK) == 0) {
		client = sl_client_open(t, data, &e);
		if (client && sl_client_status(client, &text, &e))
			status = sl_status_parse(sl_buf_bytes(&text), &e);
		if (status)
			share = sl_estimate_share(status, seen);
		else
			fprintf(stderr, "sluice: how many pairs are asked about is not known: %s\n", e.text);
	}
	json_decref(status);
	sl_client_close(client);
	sl_buf_release(&text);
	return share;
}

static int estimate(const struct plan *plan, const struct sl_topology *t)
{
	const char *data = plan->common.data ? plan->common.data : t->data;
	struct sl_estimate x;
	struct sl_error e = { 0 };
	int64_t seen = 0;
	double share;

	if (!sl_estimate_make(t, data, plan->estimate, plan->sample ? plan->sample : SAMPLE, &x, &e))
		return sl_command_failed(&e);
	share = x.count ? asked_share(t, data, &seen) : NAN;
	if (plan->common.json) {
		json_t *json = sl_estimate_json(t, &x, plan->estimate, share);

		json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
		printf("\n");
		json_decref(json);
	} else {
		sl_estimate_print(t, &x, plan->estimate, share, seen, stdout);
	}
	sl_estimate_release(&x);
	return SL_EXIT_OK;
}

/* -- the plan ---------------------------------------------------------------------------- */

static int show(const struct plan *plan, const struct sl_topology *t)
{
	struct sl_buf text = { 0 }, brokers = { 0 };
	bool ask = t->stream == SL_STREAM_KAFKA && !plan->offline;
	int code = ask ? ask_brokers(t, &brokers) : SL_EXIT_OK;

	sl_topology_plan(t, ask ? sl_buf_text(&brokers) : NULL, plan->common.json, &text);
	fwrite(text.data, 1, text.size, stdout);
	sl_buf_release(&text);
	sl_buf_release(&brokers);
	return code;
}

static int run(void *self, const struct sl_texts *words)
{
	struct plan *plan = self;
	struct sl_error e = { 0 };
	struct sl_topology *t;
	int code, flushed;

	(void)words;
	if (plan->sample && !plan->estimate)
		return sl_command_usage("--sample is for --estimate FILE");
	if (plan->sample > SAMPLE_MOST)
		return sl_command_usage("--sample is %lld, allowed: 1 to %d", (long long)plan->sample, SAMPLE_MOST);
	t = sl_command_topology(&plan->common);
	if (!t)
		return SL_EXIT_USAGE;
	if (sl_topology_check(t, plan->common.data ? plan->common.data : t->data, NULL, 0, &e)) {
		code = plan->estimate ? estimate(plan, t) : show(plan, t);
	} else {
		(void)sl_command_failed(&e);
		code = SL_EXIT_USAGE;
	}
	sl_topology_free(t);
	flushed = sl_command_flush();
	return code ? code : flushed;
}

const struct sl_command sl_command_plan = {
	.name = "plan",
	.usage = "[--estimate FILE] [options]",
	.summary = "print the resolved topology and where each option came from, or what judging a file would cost",
	.args = args,
	.self_size = sizeof(struct plan),
	.run = run,
};
