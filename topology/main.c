/* main.c -- `sluice COMMAND ...`: find the row, parse, call. */
#include "commands.h"

#include "options.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "0.1.0"

static const struct sl_command *const commands[] = {
	&sl_command_ingest,  &sl_command_run,    &sl_command_export, &sl_command_status,
	&sl_command_explain, &sl_command_replay, &sl_command_gold,   &sl_command_train,
	&sl_command_models,  &sl_command_plan,   &sl_command_reload,
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static int help(FILE *to)
{
	fprintf(to, "usage: sluice COMMAND [options]\n\n"
		    "A never-ending stream of preference pairs in, a curated one out, and reward models\n"
		    "kept trained on it.\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(to, "\n`sluice COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 the command line or the\n"
		    "topology file is wrong.\n");
	return to == stdout ? sl_command_flush() : SL_EXIT_USAGE;
}

static int command_help(const struct sl_command *c)
{
	printf("usage: sluice %s %s\n\n%s\n\n", c->name, c->usage, c->summary);
	sl_args_help(c->args, stdout);
	if (c->more)
		printf("\n%s\n", c->more);
	return sl_command_flush();
}

static const struct sl_command *find(const char *name)
{
	const char *names[COMMAND_COUNT + 1] = { 0 };
	const char *near;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
		names[i] = commands[i]->name;
	}
	near = sl_word_nearest(name, names);
	if (near)
		sl_command_usage("unknown command '%s', did you mean '%s'?", name, near);
	else
		sl_command_usage("unknown command '%s'; `sluice --help` lists them", name);
	return NULL;
}

static int run(const struct sl_command *c, int argc, char *const *argv)
{
	void *self = sl_calloc(1, c->self_size);
	struct sl_common *common = self;
	struct sl_texts words = { 0 };
	struct sl_error e = { 0 };
	int code;

	if (!sl_args_parse(c->args, argc, argv, self, &words, &e))
		code = sl_command_usage("%s: %s; see `sluice %s --help`", c->name, e.text, c->name);
	else if (common->help)
		code = command_help(c);
	else if (words.count < c->words_least || words.count > c->words_most)
		code = sl_command_usage("usage: sluice %s %s; see `sluice %s --help`", c->name, c->usage, c->name);
	else
		code = c->run(self, &words);
	sl_texts_release(&words);
	sl_texts_release(&common->sets);
	free(self);
	return code;
}

int main(int argc, char **argv)
{
	const struct sl_command *c;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		return help(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		printf("sluice " VERSION "\n");
		return sl_command_flush();
	}
	if (strcmp(argv[1], "help") == 0) {
		if (argc < 3)
			return help(stdout);
		c = find(argv[2]);
		return c ? command_help(c) : SL_EXIT_USAGE;
	}
	c = find(argv[1]);
	return c ? run(c, argc - 2, argv + 2) : SL_EXIT_USAGE;
}
