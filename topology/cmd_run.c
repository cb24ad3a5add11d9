/* cmd_run.c -- `sluice run`: own the data folder, serve it, and let the steps work until
 * somebody says stop or, with --until-idle, until there is nothing left to do. */
#include "commands.h"

#include "base/log.h"
#include "check.h"
#include "http_call.h"
#include "live.h"
#include "metrics_server.h"
#include "server.h"
#include "status_table.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 10000

struct run_args {
	struct sl_common common;
	bool until_idle, freeze;
	const char *only;
	int64_t threads;
};

static const struct sl_arg args[] = {
	{ "until-idle", 0, SL_ARG_FLAG, NULL,
	  "end when all is decided and no training is due; waits for the batches of endpoints with batch: true",
	  offsetof(struct run_args, until_idle) },
	{ "freeze", 0, SL_ARG_FLAG, NULL, "keep models and tables as they are; train nothing",
	  offsetof(struct run_args, freeze) },
	{ "only", 0, SL_ARG_TEXT, "STEP,...", "run these steps only", offsetof(struct run_args, only) },
	{ "threads", 0, SL_ARG_COUNT, "N", "worker threads (default: one per core)",
	  offsetof(struct run_args, threads) },
	SL_COMMON_ARGS,
};

static void stop(void *rt)
{
	sl_runtime_stop(rt);
}

static void progress(void *live, struct sl_runtime *rt)
{
	sl_live_show(live, rt);
}

/* "a,b" into names; the texts live in *copy. */
static void split(const char *list, char **copy, struct sl_texts *names)
{
	char *rest, *name;

	if (!list)
		return;
	rest = *copy = sl_strdup(list);
	while ((name = strsep(&rest, ",")) != NULL)
		if (*name)
			sl_texts_add(names, name);
}

/* Does the owner run, so that waiting for it is in vain? */
static bool owner_runs(const struct sl_topology *t, const char *data)
{
	struct sl_http_response response = { 0 };
	struct sl_buf path = { 0 };
	struct sl_http_caller *caller;
	struct sl_error ignored;
	json_t *status = NULL;
	bool runs;

	sl_buf_print(&path, "%s/%s", data, SL_WIRE_SOCKET);
	caller = sl_http_caller_new(sl_buf_text(&path), t->name, &ignored);
	if (caller &&
	    sl_http_call(caller, "/v1/status", (struct sl_bytes){ 0 }, &response, &ignored) == SL_HTTP_ANSWERED &&
	    response.status == 200)
		status = sl_status_parse(sl_buf_bytes(&response.body), &ignored);
	runs = json_is_true(json_object_get(status, "running"));
	json_decref(status);
	sl_http_caller_free(caller);
	sl_buf_release(&response.body);
	sl_buf_release(&path);
	return runs;
}

/* Another command may hold the lock for a moment: wait for it, but not for another run. */
static struct sl_runtime *open_runtime(const struct sl_topology *t, const struct sl_runtime_options *options,
				       struct sl_error *e)
{
	const char *data = options->data ? options->data : t->data;
	struct timespec pause = { .tv_nsec = 100000000 };
	struct sl_runtime *rt;

	for (int waited = 0;; waited += 100) {
		rt = sl_runtime_open(t, options, e);
		if (rt || e->verdict != SL_RETRY || sl_command_stopped())
			return rt;
		if (waited >= PATIENCE_MS || owner_runs(t, data)) {
			sl_error_in(e, "one process at a time runs a data folder");
			return NULL;
		}
		(void)nanosleep(&pause, NULL);
	}
}

static bool stopped(void *arg)
{
	(void)arg;
	return sl_command_stopped();
}

static int end_code(enum sl_run_end end, const struct sl_error *e)
{
	switch (end) {
	case SL_RUN_IDLE:
	case SL_RUN_STOPPED:
		return SL_EXIT_OK;
	case SL_RUN_STUCK:
	case SL_RUN_FAILED:
		break;
	}
	return sl_command_failed(e);
}

static int serve(const struct run_args *a, const struct sl_topology *t, struct sl_runtime *rt)
{
	struct sl_live *live = sl_live_new(a->until_idle);
	struct sl_run_options options = { .until_idle = a->until_idle,
					  .threads = (int)(a->threads < 1024 ? a->threads : 1024),
					  .progress = progress,
					  .arg = live };
	struct sl_metrics_server *metrics = NULL;
	struct sl_server *server;
	struct sl_error e = { 0 };
	int code = SL_EXIT_FAILED, port;

	server = sl_server_start(rt, &e);
	if (server && t->metrics_listen) {
		metrics = sl_metrics_server_start(rt, t->metrics_listen, &port, &e);
		if (metrics)
			sl_log(SL_LOG_NOTE, NULL, "metrics at port %d of '%s'", port, t->metrics_listen);
	}
	if (!server || (t->metrics_listen && !metrics)) {
		if (server)
			sl_error_in(&e, "metrics (another address: --set metrics.listen=127.0.0.1:0)");
		sl_command_failed(&e);
	} else {
		enum sl_run_end end;

		if (sl_command_stopped())
			sl_runtime_stop(rt);
		end = sl_runtime_run(rt, &options, &e);
		sl_live_end(live, rt, a->common.json);
		code = end_code(end, &e);
		if (code == SL_EXIT_OK)
			code = sl_command_flush();
	}
	sl_metrics_server_stop(metrics);
	sl_server_stop(server);
	sl_live_free(live);
	return code;
}

static int run(void *self, const struct sl_texts *words)
{
	struct run_args *a = self;
	struct sl_topology *t = sl_command_topology(&a->common);
	struct sl_texts only = { 0 };
	struct sl_error e = { 0 };
	struct sl_runtime *rt = NULL;
	char *copy = NULL;
	int code = SL_EXIT_OK;

	(void)words;
	if (!t)
		return SL_EXIT_USAGE;
	split(a->only, &copy, &only);
	for (size_t i = 0; i < only.count; i++)
		if (sl_command_step(t, only.at[i]) < 0)
			code = SL_EXIT_USAGE;
	if (code == SL_EXIT_OK &&
	    !sl_topology_check(t, a->common.data ? a->common.data : t->data, only.at, only.count, &e)) {
		(void)sl_command_failed(&e);
		code = SL_EXIT_USAGE;
	}
	if (code == SL_EXIT_OK) {
		struct sl_runtime_options options = {
			.data = a->common.data,
			.freeze = a->freeze,
			.wait_for_brokers = true,
			.stopped = stopped,
			.only = only.at,
			.only_count = only.count,
			.reloads = true,
			.sets = a->common.sets.at,
			.set_count = a->common.sets.count,
		};

		sl_command_catch_signals(NULL, NULL);
		rt = open_runtime(t, &options, &e);
		if (!rt) { /* asked to leave before there was anything to finish is no failure */
			code = sl_command_stopped() ? SL_EXIT_OK : sl_command_failed(&e);
		} else {
			sl_command_catch_signals(stop, rt);
			code = serve(a, t, rt);
			sl_command_catch_signals(NULL, NULL);
		}
	}
	sl_runtime_close(rt);
	sl_texts_release(&only);
	free(copy);
	sl_topology_free(t);
	return code;
}

const struct sl_command sl_command_run = {
	.name = "run",
	.usage = "[--until-idle] [--freeze] [--only STEP,...] [--threads N]",
	.summary = "let the steps work, train the models, serve the data folder",
	.more = "SIGINT and SIGTERM finish the commit and exit 0; a second one ends it at once. Other commands work\n"
		"meanwhile, through DIR/sluice.sock. Metrics: key metrics of the topology file.",
	.args = args,
	.self_size = sizeof(struct run_args),
	.run = run,
};
