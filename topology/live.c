/* live.c -- see live.h. The table is drawn as one write: up over the old lines, then every
 * line new, cleared to its end. Rates are averages over about the last five seconds. */
#include "live.h"

#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "status_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_NS 450000000
#define LINE_NS 10000000000
#define AVERAGE_S 5.0

struct sl_live {
	bool until_idle, terminal;
	int64_t begun_ns, shown_ns, read_ns;
	size_t steps;
	double *in, *rates; /* per step: at the last look; records/s */
	size_t drawn_lines;
	unsigned long log_lines; /* written when the table was drawn */
	struct sl_buf text, frame;
};

struct sl_live *sl_live_new(bool until_idle)
{
	struct sl_live *l = sl_calloc(1, sizeof *l);
	const char *term = getenv("TERM");

	l->until_idle = until_idle;
	l->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	l->begun_ns = sl_monotonic_ns();
	return l;
}

void sl_live_free(struct sl_live *l)
{
	free(l->in);
	free(l->rates);
	sl_buf_release(&l->text);
	sl_buf_release(&l->frame);
	free(l);
}

static void measure(struct sl_live *l, const json_t *status, int64_t now)
{
	const json_t *steps = json_object_get(status, "steps"), *step;
	double seconds = (double)(now - (l->read_ns ? l->read_ns : l->begun_ns)) / 1e9;
	double weight = 1 - exp(-seconds / AVERAGE_S);
	bool first = !l->in;
	size_t i;

	if (first) {
		l->steps = json_array_size(steps);
		l->in = sl_calloc(l->steps + 1, sizeof *l->in);
		l->rates = sl_calloc(l->steps + 1, sizeof *l->rates);
	}
	json_array_foreach(steps, i, step)
	{
		double in = (double)sl_status_count(step, "in");

		if (i >= l->steps)
			break;
		if (!first && seconds > 0)
			l->rates[i] += weight * ((in - l->in[i]) / seconds - l->rates[i]);
		l->in[i] = in;
	}
	l->read_ns = now;
}

/* Records still to be read by all steps, if each lets everything through: an upper bound,
 * since steps also set records aside. */
static void outlook(const struct sl_live *l, const json_t *status, double *done, double *left, double *rate)
{
	const json_t *step;
	double carried = 0;
	size_t i;

	*done = *left = *rate = 0;
	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		if (strcmp(sl_status_text(step, "state"), "inlined") == 0 || i >= l->steps)
			continue;
		carried += (double)sl_status_count(step, "lag");
		*left += carried;
		*done += l->in[i];
		*rate += l->rates[i];
	}
}

static void print_outlook(const struct sl_live *l, const json_t *status, int64_t now, struct sl_buf *to)
{
	double seconds = (double)(now - l->begun_ns) / 1e9, done, left, rate;

	sl_buf_print(to, "%s for %.0f s", json_is_true(json_object_get(status, "running")) ? "running" : "ran",
		     seconds);
	if (!l->until_idle)
		return;
	outlook(l, status, &done, &left, &rate);
	sl_buf_print(to, ", %.0f %% done", done + left > 0 ? 100 * done / (done + left) : 100);
	if (left > 0 && rate > 1)
		sl_buf_print(to, ", at most about %.0f s left", ceil(left / rate));
}

static int columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
		return 80;
	return size.ws_col - 1; /* the last column may wrap */
}

static int rows(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 3 ? size.ws_row - 1 : 24;
}

static void erase(struct sl_live *l)
{
	/* A log line stands behind the old table: leave both, draw anew below. */
	if (l->drawn_lines && l->log_lines == sl_log_lines())
		sl_buf_print(&l->frame, "\033[%zuA", l->drawn_lines);
	sl_buf_print(&l->frame, "\r\033[J");
	l->drawn_lines = 0;
}

static void draw_table(struct sl_live *l, const json_t *status, int64_t now)
{
	struct sl_error ignored;
	size_t lines, kept = 0, end = 0;

	sl_buf_clear(&l->frame);
	erase(l);
	sl_buf_clear(&l->text);
	lines = sl_status_steps(status, l->rates, columns(), &l->text);
	print_outlook(l, status, now, &l->text);
	sl_buf_add_byte(&l->text, '\n');
	lines++;
	/* Taller than the terminal, it could not be erased again: only the first lines. */
	while (kept < lines && kept < (size_t)rows()) {
		while (l->text.data[end] != '\n')
			end++;
		end++;
		kept++;
	}
	sl_buf_add(&l->frame, l->text.data, end);
	l->drawn_lines = kept;
	l->log_lines = sl_log_lines();
	(void)!sl_write_all(STDERR_FILENO, l->frame.data, l->frame.size, &ignored);
}

static void draw_line(struct sl_live *l, const json_t *status, int64_t now)
{
	const json_t *step;
	size_t i;

	sl_buf_clear(&l->text);
	print_outlook(l, status, now, &l->text);
	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		sl_buf_print(&l->text, "; %s %" PRId64 " in", sl_status_text(step, "name"),
			     sl_status_count(step, "in"));
		if (sl_status_count(step, "lag"))
			sl_buf_print(&l->text, ", %" PRId64 " to do", sl_status_count(step, "lag"));
		if (sl_status_count(step, "dead"))
			sl_buf_print(&l->text, ", %" PRId64 " dead", sl_status_count(step, "dead"));
		if (*sl_status_text(step, "wait"))
			sl_buf_print(&l->text, ", waits: %s", sl_status_text(step, "wait"));
	}
	fprintf(stderr, "%s\n", sl_buf_text(&l->text));
}

static json_t *look(struct sl_live *l, struct sl_runtime *rt, int64_t now)
{
	struct sl_error ignored;
	json_t *status;

	sl_buf_clear(&l->text);
	if (!sl_runtime_status(rt, &l->text, &ignored))
		return NULL;
	status = sl_status_parse(sl_buf_bytes(&l->text), &ignored);
	if (status)
		measure(l, status, now);
	return status;
}

void sl_live_show(struct sl_live *l, struct sl_runtime *rt)
{
	int64_t now = sl_monotonic_ns();
	json_t *status;

	if (now - (l->shown_ns ? l->shown_ns : l->terminal ? 0 : l->begun_ns) < (l->terminal ? REDRAW_NS : LINE_NS))
		return;
	l->shown_ns = now;
	status = look(l, rt, now);
	if (!status)
		return;
	if (l->terminal)
		draw_table(l, status, now);
	else
		draw_line(l, status, now);
	json_decref(status);
}

void sl_live_end(struct sl_live *l, struct sl_runtime *rt, bool json)
{
	struct sl_error ignored;
	json_t *status = look(l, rt, sl_monotonic_ns());

	if (l->terminal) {
		sl_buf_clear(&l->frame);
		erase(l);
		(void)!sl_write_all(STDERR_FILENO, l->frame.data, l->frame.size, &ignored);
	}
	if (!status)
		return;
	if (json) {
		json_dumpf(status, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		sl_buf_clear(&l->text);
		sl_status_steps(status, NULL, 0, &l->text);
		fwrite(l->text.data, 1, l->text.size, stdout);
	}
	json_decref(status);
}
