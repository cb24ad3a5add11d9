/* cmd_ingest.c -- `sluice ingest`: options, files one after the other, a summary. A file that
 * fails does not keep the next ones out; the exit code tells. */
#include "commands.h"

#include "base/thread.h"
#include "ingest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct ingest_args {
	struct sl_common common;
	bool gold;
	const char *source, *time;
	struct sl_keys keys;
};

static const struct sl_arg args[] = {
	{ "gold", 0, SL_ARG_FLAG, NULL, "the pairs are verified by people", offsetof(struct ingest_args, gold) },
	{ "source", 0, SL_ARG_TEXT, "NAME", "source of every pair (default: the line's, else the file's name)",
	  offsetof(struct ingest_args, source) },
	{ "time", 0, SL_ARG_TEXT, "T", "arrival time: 2026-01-02T03:04:05Z or milliseconds since 1970 (default: now)",
	  offsetof(struct ingest_args, time) },
	{ "prompt-key", 0, SL_ARG_TEXT, "KEY", "where the prompt is; keys may be dotted paths",
	  offsetof(struct ingest_args, keys.prompt) },
	{ "chosen-key", 0, SL_ARG_TEXT, "KEY", "where the preferred answer is",
	  offsetof(struct ingest_args, keys.chosen) },
	{ "rejected-key", 0, SL_ARG_TEXT, "KEY", "where the other answer is",
	  offsetof(struct ingest_args, keys.rejected) },
	{ "domain-key", 0, SL_ARG_TEXT, "KEY", "where the domain is", offsetof(struct ingest_args, keys.domain) },
	{ "source-key", 0, SL_ARG_TEXT, "KEY", "where the source is", offsetof(struct ingest_args, keys.source) },
	{ "origin-key", 0, SL_ARG_TEXT, "KEY", "where the origin of the label is",
	  offsetof(struct ingest_args, keys.origin) },
	{ "margin-key", 0, SL_ARG_TEXT, "KEY", "where the margin is", offsetof(struct ingest_args, keys.margin) },
	SL_COMMON_ARGS,
};

static const char more[] =
	"Lines are JSON objects of any known pair shape, plain, gzip or zstd; - is standard input.\n"
	"A line that cannot be read goes to dead.ingest with file, line and reason.\n\n"
	"Run it again after an interruption, or when a file has grown: what is in already is skipped.\n"
	"A file is known by its source and its contents, not its path: the same lines again under\n"
	"the same source are skipped too, also on standard input (which is read to 64 KiB or its end\n"
	"before the first line is taken). A file that changed elsewhere than at its end is an error.\n"
	"A last line without a newline is taken as it is.";

/* -- Time ----------------------------------------------------------------------------- */

static bool all_digits(const char *text)
{
	for (const char *p = text; *p; p++)
		if (!isdigit((unsigned char)*p))
			return false;
	return *text;
}

/* "2026-01-02T03:04:05[.678](Z|+01:00)" or milliseconds. */
static bool parse_time(const char *text, int64_t *ms)
{
	struct tm tm = { 0 };
	const char *at;
	int64_t part = 0, scale = 100;

	if (all_digits(text)) {
		errno = 0;
		*ms = strtoll(text, NULL, 10);
		return errno == 0;
	}
	at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!at)
		return false;
	if (*at == '.')
		for (at++; isdigit((unsigned char)*at); at++, scale /= 10)
			part += scale * (*at - '0');
	*ms = (int64_t)timegm(&tm) * 1000 + part;
	if ((at[0] == 'Z' || at[0] == 'z') && !at[1])
		return true;
	if ((at[0] == '+' || at[0] == '-') && strlen(at) == 6 && isdigit((unsigned char)at[1]) &&
	    isdigit((unsigned char)at[2]) && at[3] == ':' && isdigit((unsigned char)at[4]) &&
	    isdigit((unsigned char)at[5])) {
		int64_t minutes = ((at[1] - '0') * 10 + at[2] - '0') * 60 + (at[4] - '0') * 10 + at[5] - '0';

		*ms -= (at[0] == '+' ? minutes : -minutes) * 60000;
		return true;
	}
	return false;
}

/* -- Progress ------------------------------------------------------------------------- */

struct meter {
	const char *path;
	int64_t begun_ns, drawn_ns;
	bool terminal;
};

static bool stopped(void *arg)
{
	(void)arg;
	return sl_command_stopped();
}

static void draw(void *arg, const struct sl_ingest_progress *p)
{
	struct meter *m = arg;
	int64_t now = sl_monotonic_ns();
	double seconds = (double)(now - m->begun_ns) / 1e9;

	if (!m->terminal || now - m->drawn_ns < 500000000)
		return;
	m->drawn_ns = now;
	fprintf(stderr, "\r%.60s: %" PRId64 " lines, %.0f/s", m->path, p->counts.lines,
		seconds > 0 ? (double)p->counts.lines / seconds : 0);
	if (p->total_bytes)
		fprintf(stderr, ", %.0f %%", 100.0 * (double)p->read_bytes / (double)p->total_bytes);
	fprintf(stderr, "\033[K");
}

/* -- Files ---------------------------------------------------------------------------- */

static void add(struct sl_ingest_counts *sum, const struct sl_ingest_counts *c)
{
	sum->lines += c->lines;
	sum->pairs += c->pairs;
	sum->ties += c->ties;
	sum->invalid += c->invalid;
	sum->skipped += c->skipped;
}

static json_t *counts_json(const char *path, const struct sl_ingest_counts *c, const char *error)
{
	json_t *object = json_object();

	if (path)
		json_object_set_new(object, "file", json_string(path));
	json_object_set_new(object, "lines", json_integer(c->lines));
	json_object_set_new(object, "pairs", json_integer(c->pairs));
	json_object_set_new(object, "ties", json_integer(c->ties));
	json_object_set_new(object, "invalid", json_integer(c->invalid));
	json_object_set_new(object, "skipped", json_integer(c->skipped));
	if (error)
		json_object_set_new(object, "error", json_string(error));
	return object;
}

static void print_counts(const char *name, const struct sl_ingest_counts *c)
{
	printf("%s: %" PRId64 " lines, %" PRId64 " pairs, %" PRId64 " ties, %" PRId64 " invalid", name, c->lines,
	       c->pairs, c->ties, c->invalid);
	if (c->skipped)
		printf(", %" PRId64 " ingested before", c->skipped);
	printf("\n");
}

static int files(const struct ingest_args *a, struct sl_ingest_options *options, struct sl_session *s,
		 const struct sl_texts *words)
{
	struct sl_ingest_sink sink = sl_ingest_to_client(s->client);
	struct sl_ingest_counts sum = { 0 };
	json_t *rows = json_array(), *result;
	int code = SL_EXIT_OK;

	for (size_t i = 0; i < words->count && !sl_command_stopped(); i++) {
		struct meter meter = { .path = words->at[i],
				       .begun_ns = sl_monotonic_ns(),
				       .terminal = isatty(STDERR_FILENO) };
		struct sl_ingest_counts counts;
		struct sl_error e = { 0 };
		bool done;

		options->arg = &meter;
		done = sl_ingest_file(&sink, words->at[i], options, &counts, &e);
		if (meter.drawn_ns)
			fprintf(stderr, "\r\033[K");
		if (!done)
			code = sl_command_failed(&e);
		add(&sum, &counts);
		json_array_append_new(rows, counts_json(words->at[i], &counts, done ? NULL : e.text));
		if (!a->common.json)
			print_counts(words->at[i], &counts);
		if (counts.invalid > 0)
			fprintf(stderr,
				"sluice: '%s': line %" PRId64 " is invalid: %s; all such lines: sluice export --topic "
				"dead.ingest\n",
				words->at[i], counts.invalid_line, counts.invalid_why);
	}
	if (a->common.json) {
		result = counts_json(NULL, &sum, NULL);
		json_object_set(result, "files", rows);
		json_dumpf(result, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(result);
	} else if (words->count > 1) {
		print_counts("in all", &sum);
	}
	json_decref(rows);
	if (sl_command_stopped()) {
		fprintf(stderr, "sluice: interrupted; the same command goes on from here\n");
		code = SL_EXIT_FAILED;
	}
	return code == SL_EXIT_OK ? sl_command_flush() : code;
}

static int run(void *self, const struct sl_texts *words)
{
	struct ingest_args *a = self;
	struct sl_ingest_options options = {
		.source = a->source, .gold = a->gold, .keys = a->keys, .stopped = stopped, .progress = draw
	};
	struct sl_session s;
	int code;

	if (a->time) {
		options.time_given = true;
		if (!parse_time(a->time, &options.time_ms))
			return sl_command_usage(
				"--time wants 2026-01-02T03:04:05Z or milliseconds since 1970, not '%s'", a->time);
	}
	sl_command_catch_signals(NULL, NULL);
	code = sl_command_open_or_make(&a->common, &s);
	if (code == SL_EXIT_OK) {
		options.entry_max_bytes = s.topology->entry_max_bytes;
		code = files(a, &options, &s, words);
	}
	sl_command_close(&s);
	return code;
}

const struct sl_command sl_command_ingest = {
	.name = "ingest",
	.usage = "[--gold] [--source NAME] [--time T] FILE|- ...",
	.summary = "read preference pairs from files into the stream, each line once",
	.more = more,
	.args = args,
	.self_size = sizeof(struct ingest_args),
	.words_least = 1,
	.words_most = SIZE_MAX,
	.run = run,
};
