/* common.c -- what the commands share: opening, closing, complaining, signals.
 * The only process-wide state of the command line is the pair of variables the
 * signal handler needs. */
#include "commands.h"

#include "options.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sl_command_failed(const struct sl_error *e)
{
	if (e->text[0])
		fprintf(stderr, "sluice: %s\n", e->text);
	return SL_EXIT_FAILED;
}

int sl_command_usage(const char *fmt, ...)
{
	va_list values;

	fprintf(stderr, "sluice: ");
	va_start(values, fmt);
	vfprintf(stderr, fmt, values);
	va_end(values);
	fprintf(stderr, "\n");
	return SL_EXIT_USAGE;
}

/* Beside the program, where `cmake --install` puts the shipped topologies. */
static char *installed_topology(void)
{
	struct sl_buf path = { 0 };
	char program[4096];
	ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
	char *slash, *copy = NULL;

	if (size > 0) {
		program[size] = 0;
		slash = strrchr(program, '/');
		if (slash)
			*slash = 0;
		sl_buf_print(&path, "%s/../share/sluice/topology/curate.yaml", program);
		if (access(sl_buf_text(&path), R_OK) == 0)
			copy = sl_strdup(sl_buf_text(&path));
	}
	sl_buf_release(&path);
	return copy;
}

struct sl_topology *sl_command_topology(const struct sl_common *common)
{
	const char *path = common->topology ? common->topology : "topology/curate.yaml";
	char *installed = NULL;
	struct sl_error e = { 0 };
	struct sl_topology *t;

	if (!common->topology && access(path, R_OK) != 0) {
		installed = installed_topology();
		if (!installed) {
			sl_command_usage("there is no '%s' here: name the topology file with -t", path);
			return NULL;
		}
	}
	t = sl_topology_load(installed ? installed : path, common->sets.at, common->sets.count, &e);
	free(installed);
	if (!t)
		sl_command_failed(&e);
	return t;
}

static int not_known(const char *what, const char *name, struct sl_texts *known)
{
	const char *near;

	sl_texts_add(known, NULL);
	near = sl_word_nearest(name, known->at);
	sl_texts_release(known);
	if (near)
		sl_command_usage("the topology has no %s '%s', did you mean '%s'?", what, name, near);
	else
		sl_command_usage("the topology has no %s '%s'; `sluice plan` lists them", what, name);
	return -1;
}

int sl_command_topic(const struct sl_topology *t, const char *name)
{
	int topic = sl_topology_topic(t, name);
	struct sl_texts known = { 0 };

	if (topic >= 0)
		return topic;
	for (size_t i = 0; i < t->topic_count; i++)
		sl_texts_add(&known, t->topics[i].name);
	return not_known("topic", name, &known);
}

int sl_command_step(const struct sl_topology *t, const char *name)
{
	int step = sl_topology_step(t, name);
	struct sl_texts known = { 0 };

	if (step >= 0)
		return step;
	for (size_t i = 0; i < t->step_count; i++)
		sl_texts_add(&known, t->steps[i].name);
	return not_known("step", name, &known);
}

static int session_open(const struct sl_common *common, bool make, struct sl_session *s)
{
	struct sl_error e = { 0 };
	const char *data;

	*s = (struct sl_session){ 0 };
	s->topology = sl_command_topology(common);
	if (!s->topology)
		return SL_EXIT_USAGE;
	data = common->data ? common->data : s->topology->data;
	if (!make && s->topology->stream == SL_STREAM_EMBEDDED && access(data, F_OK) != 0) {
		sl_error_errno(&e, SL_STOP, "cannot open data folder '%s'", data);
		fprintf(stderr, "sluice: %s; `sluice ingest` makes it, --data names another one\n", e.text);
		return SL_EXIT_FAILED;
	}
	s->client = sl_client_open(s->topology, common->data, &e);
	return s->client ? SL_EXIT_OK : sl_command_failed(&e);
}

int sl_command_open(const struct sl_common *common, struct sl_session *s)
{
	return session_open(common, false, s);
}

int sl_command_open_or_make(const struct sl_common *common, struct sl_session *s)
{
	return session_open(common, true, s);
}

void sl_command_close(struct sl_session *s)
{
	sl_client_close(s->client);
	sl_topology_free(s->topology);
	*s = (struct sl_session){ 0 };
}

static volatile sig_atomic_t stopped;
static void (*stop_call)(void *arg);
static void *stop_arg;

static void on_signal(int number)
{
	if (stopped)
		_exit(128 + number); /* asked twice: at once; what is not committed is dropped */
	stopped = 1;
	if (stop_call)
		stop_call(stop_arg);
}

void sl_command_catch_signals(void (*on_stop)(void *arg), void *arg)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	stop_call = on_stop;
	stop_arg = arg;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool sl_command_stopped(void)
{
	return stopped;
}

int sl_command_flush(void)
{
	struct sl_error e;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return SL_EXIT_OK;
	if (errno == EPIPE)
		return SL_EXIT_FAILED; /* the reader went away on purpose: `| head` */
	sl_error_errno(&e, SL_STOP, "cannot write to standard output");
	return sl_command_failed(&e);
}
