/* error.c -- filling a struct sl_error. Texts are cut at the size of the struct;
 * nothing here allocates or fails. Pure functions, any thread. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool sl_error_set(struct sl_error *e, enum sl_verdict verdict, const char *fmt, ...)
{
	va_list args;

	e->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	return false;
}

/* `text` behind what is there, as far as it fits. */
static void append(struct sl_error *e, const char *text)
{
	size_t used = strlen(e->text), more = strlen(text), room = sizeof e->text - 1 - used;

	if (more > room)
		more = room;
	memcpy(e->text + used, text, more);
	e->text[used + more] = 0;
}

bool sl_error_errno(struct sl_error *e, enum sl_verdict verdict, const char *fmt, ...)
{
	int code = errno; /* before anything below can change it */
	const char *what = strerrordesc_np(code);
	va_list args;

	e->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	append(e, ": ");
	append(e, what ? what : "unknown error");
	errno = code;
	return false;
}

bool sl_error_in(struct sl_error *e, const char *fmt, ...)
{
	struct sl_error inner = *e;
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	append(e, ": ");
	append(e, inner.text);
	return false;
}
