/* error.c -- filling a struct sl_error. Texts are cut at the size of the struct,
 * between characters; nothing here allocates or fails. Pure functions, any thread. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text that fills the struct may have been cut inside a character: drop the
 * torn end, because reasons go into records and records are UTF-8. */
static void mend(struct sl_error *e)
{
	size_t size = strlen(e->text), start = size;
	unsigned char first;

	if (size + 1 < sizeof e->text)
		return;
	while (start > 0 && size - start < 4 && ((unsigned char)e->text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	first = (unsigned char)e->text[start - 1];
	if (first >= 0xc0 && size - start < (first >= 0xf0 ? 3u : first >= 0xe0 ? 2u : 1u))
		e->text[start - 1] = 0;
}

bool sl_error_set(struct sl_error *e, enum sl_verdict verdict, const char *fmt, ...)
{
	va_list args;

	e->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, args);
	va_end(args);
	mend(e);
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
	mend(e);
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
	mend(e);
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
	mend(e);
	append(e, ": ");
	append(e, inner.text);
	return false;
}
