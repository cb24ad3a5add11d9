/* args.h -- command lines, read by a table.
 *
 * A command states its options as rows (name, kind, where the value goes); the
 * parser fills the struct and hands out what is left as words. --name VALUE and
 * --name=VALUE, one-letter forms for a few, "--" ends the options, "-" is a word.
 * An unknown option is an error that names the nearest known one. The same table
 * prints the help, so the help cannot fall behind. */
#ifndef SL_ARGS_H
#define SL_ARGS_H

#include "base/buf.h"

#include <stdio.h>

enum sl_arg_kind {
	SL_ARG_FLAG,  /* bool */
	SL_ARG_TEXT,  /* const char *; given twice: the last one counts */
	SL_ARG_COUNT, /* int64_t, 0 or more */
	SL_ARG_LIST   /* struct sl_texts: may be given several times */
};

struct sl_texts {
	const char **at; /* texts borrowed from argv, the array from malloc */
	size_t count;
};

struct sl_arg {
	const char *name; /* long, without the dashes; NULL ends the table */
	char letter;      /* 0: none */
	enum sl_arg_kind kind;
	const char *value; /* its word in the help: FILE; NULL for flags */
	const char *help;
	size_t offset; /* of the field in `self` */
};

/* Fill `self` (zeroed or preset with defaults) from argv[0 .. argc - 1] (without
 * program and command names). Words are what is not an option, in order. The error
 * is always a usage error. */
bool sl_args_parse(const struct sl_arg *table, int argc, char *const *argv, void *self, struct sl_texts *words,
		   struct sl_error *e) SL_MUST_CHECK;
void sl_texts_add(struct sl_texts *t, const char *text);
void sl_texts_release(struct sl_texts *t);
/* The table as aligned help lines. */
void sl_args_help(const struct sl_arg *table, FILE *to);

#endif
