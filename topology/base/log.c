/* log.c -- one line, one write(): lines of several threads never mix.
 *
 * The last line is remembered. The same line again is only counted; the count
 * comes out with the next different line, after a second, or at exit, as
 * repeated=N. One lock guards the memory of the last line; it is held during the
 * write, so a blocked stderr blocks loggers, which is right: it is a person's
 * only window. */
#include "log.h"

#include "text.h"
#include "thread.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 1024, WHERE_MAX = 256, REPEAT_MS = 1000 };

static atomic_int level_max = SL_LOG_NOTE;
static atomic_ulong lines_written;

static struct {
	pthread_mutex_t lock;
	bool exit_hooked;
	enum sl_log_level level;
	char where[WHERE_MAX];
	char text[TEXT_MAX];
	unsigned long repeated; /* since it was last written */
	int64_t written_ms;
} last = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const level_names[] = { "stop", "warn", "note", "debug" };

/* Quotes and backslashes get a backslash; what a terminal would do and not show becomes \n, \t or \xNN. */
static size_t escape(char *to, size_t room, const char *from)
{
	size_t n = 0;

	for (size_t size = strlen(from), hidden = 0; *from && n + 5 < room; from++, size--, hidden -= hidden > 0) {
		unsigned char c = (unsigned char)*from;

		if (!hidden)
			hidden = sl_text_unseen(from, size);

		if (c == '"' || c == '\\') {
			to[n++] = '\\';
			to[n++] = (char)c;
		} else if (c == '\n' || c == '\t') {
			to[n++] = '\\';
			to[n++] = c == '\n' ? 'n' : 't';
		} else if (hidden) {
			n += (size_t)snprintf(to + n, room - n, "\\x%02x", c);
		} else {
			to[n++] = (char)c;
		}
	}
	to[n] = 0;
	return n;
}

static void write_last(int64_t now_ms, unsigned long repeated)
{
	char line[2 * TEXT_MAX + WHERE_MAX + 160], text[2 * TEXT_MAX], count[40] = "";
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm utc;
	int size;

	gmtime_r(&seconds, &utc);
	escape(text, sizeof text, last.text);
	if (repeated)
		snprintf(count, sizeof count, " repeated=%lu", repeated);
	size = snprintf(line, sizeof line, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s%s%s%s text=\"%s\"\n",
			utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
			(int)(now_ms % 1000), level_names[last.level], *last.where ? " " : "", last.where, count, text);
	for (int done = 0; done < size;) {
		ssize_t n = write(STDERR_FILENO, line + done, (size_t)(size - done));

		if (n <= 0)
			break; /* nobody is left to tell */
		done += (int)n;
	}
	last.written_ms = now_ms;
	last.repeated = 0;
	atomic_fetch_add(&lines_written, 1);
}

unsigned long sl_log_lines(void)
{
	return atomic_load(&lines_written);
}

static void write_at_exit(void)
{
	if (pthread_mutex_trylock(&last.lock))
		return;
	if (last.repeated)
		write_last(sl_wall_ms(), last.repeated);
	pthread_mutex_unlock(&last.lock);
}

void sl_log(enum sl_log_level level, const char *where, const char *fmt, ...)
{
	char text[TEXT_MAX];
	int64_t now_ms;
	va_list args;

	if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (!where)
		where = "";
	now_ms = sl_wall_ms();

	pthread_mutex_lock(&last.lock);
	if (!last.exit_hooked) {
		atexit(write_at_exit);
		last.exit_hooked = true;
	}
	if (last.written_ms && level == last.level && strncmp(where, last.where, WHERE_MAX - 1) == 0 &&
	    strcmp(text, last.text) == 0) {
		last.repeated++;
		if (now_ms - last.written_ms >= REPEAT_MS)
			write_last(now_ms, last.repeated);
	} else {
		if (last.repeated)
			write_last(now_ms, last.repeated);
		last.level = level;
		snprintf(last.where, sizeof last.where, "%s", where);
		memcpy(last.text, text, sizeof text);
		write_last(now_ms, 0);
	}
	pthread_mutex_unlock(&last.lock);
}

void sl_log_level_set(enum sl_log_level level)
{
	atomic_store(&level_max, (int)level);
}
