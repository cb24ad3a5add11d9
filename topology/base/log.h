/* log.h -- one key=value line per event on stderr:
 *
 *     time=2026-01-02T03:04:05.678Z level=note step=dedupe partition=0 text="..."
 *
 * Levels: stop (the process or a task ends), warn (a person should look), note
 * (state changes). A healthy process is silent after start-up. Payloads and
 * secrets are never logged. A line equal to the one before it (same level,
 * where and text) is counted and reported once a second at most. Any thread. */
#ifndef SL_LOG_H
#define SL_LOG_H

#include "error.h"

enum sl_log_level { SL_LOG_STOP, SL_LOG_WARN, SL_LOG_NOTE, SL_LOG_DEBUG };

/* `where` is ready key=value text ("step=dedupe partition=0") or NULL. The
 * formatted text is quoted and escaped by the logger. */
void sl_log(enum sl_log_level level, const char *where, const char *fmt, ...) SL_PRINTF(3, 4);

/* Lines above `level` are dropped; default SL_LOG_NOTE. */
void sl_log_level_set(enum sl_log_level level);

/* How many lines were written so far: whoever redraws a terminal sees that one came between. */
unsigned long sl_log_lines(void);

#endif
