/* args.c -- see args.h. Nothing here knows a command; nothing here prints but the
 * help. One pass over argv, no permutation of it. */
#include "args.h"

#include "options.h"

#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64 /* shown of an unknown option */

void sl_texts_add(struct sl_texts *t, const char *text)
{
	t->at = sl_realloc(t->at, (t->count + 1) * sizeof *t->at);
	t->at[t->count++] = text;
}

void sl_texts_release(struct sl_texts *t)
{
	free(t->at);
	*t = (struct sl_texts){ 0 };
}

static const struct sl_arg *find_name(const struct sl_arg *table, const char *name, size_t size)
{
	for (const struct sl_arg *a = table; a->name; a++)
		if (strlen(a->name) == size && memcmp(a->name, name, size) == 0)
			return a;
	return NULL;
}

static const struct sl_arg *find_letter(const struct sl_arg *table, char letter)
{
	for (const struct sl_arg *a = table; a->name; a++)
		if (a->letter && a->letter == letter)
			return a;
	return NULL;
}

static bool unknown(const struct sl_arg *table, const char *arg, size_t name_size, struct sl_error *e)
{
	struct sl_texts names = { 0 };
	char name[WORD_MAX + 1];
	const char *near;

	if (name_size > WORD_MAX)
		name_size = WORD_MAX;
	memcpy(name, arg + 2, name_size);
	name[name_size] = 0;
	for (const struct sl_arg *a = table; a->name; a++)
		sl_texts_add(&names, a->name);
	sl_texts_add(&names, NULL);
	near = sl_word_nearest(name, names.at);
	if (near)
		sl_error_set(e, SL_STOP, "unknown option '--%s', did you mean '--%s'?", name, near);
	else
		sl_error_set(e, SL_STOP, "unknown option '--%s'", name);
	sl_texts_release(&names);
	return false;
}

static bool fill(const struct sl_arg *a, const char *value, void *self, struct sl_error *e)
{
	void *field = (char *)self + a->offset;

	switch (a->kind) {
	case SL_ARG_FLAG:
		*(bool *)field = true;
		return true;
	case SL_ARG_TEXT:
		*(const char **)field = value;
		return true;
	case SL_ARG_LIST:
		sl_texts_add(field, value);
		return true;
	case SL_ARG_COUNT:
		break;
	}
	uint64_t count = 0;

	for (const char *p = value; *p || p == value; p++) {
		if (*p < '0' || *p > '9' || count > (INT64_MAX - 9) / 10)
			return sl_error_set(e, SL_STOP, "option '--%s' wants a whole number of 0 or more, not '%.40s'",
					    a->name, value);
		count = count * 10 + (uint64_t)(*p - '0');
	}
	*(int64_t *)field = (int64_t)count;
	return true;
}

/* One option at argv[*i]; moves *i past a value that stands apart. */
static bool option(const struct sl_arg *table, int argc, char *const *argv, int *i, void *self, struct sl_error *e)
{
	const char *arg = argv[*i], *value = NULL;
	const struct sl_arg *a;

	if (arg[1] == '-') {
		const char *equals = strchr(arg, '=');
		size_t size = equals ? (size_t)(equals - arg) - 2 : strlen(arg) - 2;

		a = find_name(table, arg + 2, size);
		if (!a)
			return unknown(table, arg, size, e);
		if (equals)
			value = equals + 1;
	} else {
		a = find_letter(table, arg[1]);
		if (!a)
			return sl_error_set(e, SL_STOP, "unknown option '-%c'", arg[1]);
		if (arg[2])
			value = arg + 2;
	}
	if (a->kind == SL_ARG_FLAG && value)
		return sl_error_set(e, SL_STOP, "option '--%s' takes no value", a->name);
	if (a->kind != SL_ARG_FLAG && !value) {
		if (*i + 1 >= argc)
			return sl_error_set(e, SL_STOP, "option '--%s' needs a value: %s", a->name, a->value);
		value = argv[++*i];
	}
	return fill(a, value, self, e);
}

bool sl_args_parse(const struct sl_arg *table, int argc, char *const *argv, void *self, struct sl_texts *words,
		   struct sl_error *e)
{
	bool options = true;

	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i];

		if (options && strcmp(arg, "--") == 0) {
			options = false;
		} else if (options && arg[0] == '-' && arg[1]) {
			if (!option(table, argc, argv, &i, self, e))
				return false;
		} else {
			sl_texts_add(words, arg);
		}
	}
	return true;
}

void sl_args_help(const struct sl_arg *table, FILE *to)
{
	for (const struct sl_arg *a = table; a->name; a++) {
		char left[64];
		int n;

		n = snprintf(left, sizeof left, "  %c%c%s--%s%s%s", a->letter ? '-' : ' ', a->letter ? a->letter : ' ',
			     a->letter ? ", " : "  ", a->name, a->value ? " " : "", a->value ? a->value : "");
		if (n < 28)
			fprintf(to, "%-28s %s\n", left, a->help);
		else
			fprintf(to, "%s\n%-28s %s\n", left, "", a->help);
	}
}
