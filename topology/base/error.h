/* error.h -- an error is a verdict (what to do next) plus a fixed text (what
 * happened, ready to print). It is never allocated, so it cannot leak and it
 * cannot fail.
 *
 * Functions that can fail return bool (true: done) and fill a struct sl_error.
 * Messages have no capital and no full stop, name the subject in single quotes,
 * and say the allowed range and what to do where that is known. */
#ifndef SL_ERROR_H
#define SL_ERROR_H

#include <stdbool.h>

#if defined(__GNUC__)
#define SL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SL_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SL_PRINTF(fmt, args)
#define SL_MUST_CHECK
#endif

enum sl_verdict {
	SL_OK = 0,
	SL_RETRY = -1, /* forget this transaction, wait a little, play it again */
	SL_STOP = -2,  /* playing it again cannot help: a person must look */
	SL_WAIT = -3   /* nothing is wrong; a table must change first (a model is missing) */
};

struct sl_error {
	enum sl_verdict verdict;
	char text[504];
};

/* Fill `e` and return false, so that `return sl_error_set(e, SL_STOP, ...)` reads well. */
bool sl_error_set(struct sl_error *e, enum sl_verdict verdict, const char *fmt, ...) SL_PRINTF(3, 4);

/* The same with ": <strerror(errno)>" appended. */
bool sl_error_errno(struct sl_error *e, enum sl_verdict verdict, const char *fmt, ...) SL_PRINTF(3, 4);

/* Prefix context on the way up: "<context>: <text>". Returns false. */
bool sl_error_in(struct sl_error *e, const char *fmt, ...) SL_PRINTF(2, 3);

#endif
