/* commands.h -- the commands of `sluice`, one row each, and what they share.
 *
 * A command is a table of options, a struct they fill, and a function. main.c finds
 * the row, parses and calls; nothing else is global. Results go to stdout, all
 * else to stderr. Exit codes: 0 done, 1 failed, 2 the command line or the topology file is
 * wrong (nothing was done). */
#ifndef SL_COMMANDS_H
#define SL_COMMANDS_H

#include "args.h"
#include "client.h"
#include "topology.h"

#define SL_EXIT_OK 0
#define SL_EXIT_FAILED 1
#define SL_EXIT_USAGE 2

/* The options every command has, first in its struct. */
struct sl_common {
	const char *topology, *data;
	struct sl_texts sets;
	bool json, help;
};

#define SL_COMMON_ARGS                                                                                                 \
	{ "topology",                                                                                                  \
	  't',                                                                                                         \
	  SL_ARG_TEXT,                                                                                                 \
	  "FILE",                                                                                                      \
	  "topology file (default topology/curate.yaml)",                                                              \
	  offsetof(struct sl_common, topology) },                                                                      \
		{ "data",                                                                                              \
		  0,                                                                                                   \
		  SL_ARG_TEXT,                                                                                         \
		  "DIR",                                                                                               \
		  "data folder (default: the topology's, sluice-data)",                                                \
		  offsetof(struct sl_common, data) },                                                                  \
		{ "set",                                                                                               \
		  0,                                                                                                   \
		  SL_ARG_LIST,                                                                                         \
		  "STEP.KEY=VALUE",                                                                                    \
		  "override an option of the topology; repeatable",                                                    \
		  offsetof(struct sl_common, sets) },                                                                  \
		{ "json", 0, SL_ARG_FLAG, NULL, "print the result as JSON", offsetof(struct sl_common, json) },        \
		{ "help", 'h', SL_ARG_FLAG, NULL, "print this help", offsetof(struct sl_common, help) },               \
	{                                                                                                              \
		NULL, 0, SL_ARG_FLAG, NULL, NULL, 0                                                                    \
	}

struct sl_command {
	const char *name;
	const char *usage;   /* what stands behind the name: "FILE|- ..." */
	const char *summary; /* one line */
	const char *more;    /* text below the options in the help, or NULL */
	const struct sl_arg *args;
	size_t self_size; /* of the struct, which begins with struct sl_common */
	size_t words_least, words_most;
	int (*run)(void *self, const struct sl_texts *words);
};

extern const struct sl_command sl_command_ingest, sl_command_run, sl_command_export, sl_command_status,
	sl_command_explain, sl_command_replay, sl_command_gold, sl_command_train, sl_command_models, sl_command_plan,
	sl_command_reload;

/* -- Shared by the commands (common.c) ------------------------------------------ */

/* Prints "sluice: text" and returns SL_EXIT_FAILED or SL_EXIT_USAGE. */
int sl_command_failed(const struct sl_error *e);
int sl_command_usage(const char *fmt, ...) SL_PRINTF(1, 2);

/* Load the topology named by the options; on failure prints and returns NULL. */
struct sl_topology *sl_command_topology(const struct sl_common *common);
/* The index of a topic; -1 after printing the error with the nearest known name. */
int sl_command_topic(const struct sl_topology *t, const char *name);
/* The same for a step. */
int sl_command_step(const struct sl_topology *t, const char *name);

/* Topology and client in one; released by sl_command_close, also after a failure.
 * On failure prints and returns the exit code, else SL_EXIT_OK. A data folder that is not there is a mistyped one, but
 * for a command that brings the first records; on Kafka a folder holds copies only, and a new one is filled from there.
 */
struct sl_session {
	struct sl_topology *topology;
	struct sl_client *client;
};
int sl_command_open(const struct sl_common *common, struct sl_session *s);
int sl_command_open_or_make(const struct sl_common *common, struct sl_session *s);
void sl_command_close(struct sl_session *s);

/* SIGINT and SIGTERM set this; a second one ends the process with 130 or 143. */
void sl_command_catch_signals(void (*on_stop)(void *arg), void *arg);
bool sl_command_stopped(void);

/* Flush stdout; a full disk or a closed pipe is an error (printed; SL_EXIT_FAILED). */
int sl_command_flush(void);

#endif
