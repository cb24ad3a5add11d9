/* status_table.c -- see status_table.h. Only reads JSON and prints; an absent field prints as 0
 * or nothing. */
#include "status_table.h"

#include <inttypes.h>
#include <string.h>

json_t *sl_status_parse(struct sl_bytes text, struct sl_error *e)
{
	json_error_t why;
	json_t *status = json_loadb(text.data ? text.data : "", text.size, 0, &why);

	if (!status)
		sl_error_set(e, SL_STOP, "the status is not JSON: %s", why.text);
	return status;
}

const char *sl_status_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

int64_t sl_status_count(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

void sl_print_clean(FILE *to, struct sl_bytes text, size_t most)
{
	const uint8_t *s = text.data;

	for (size_t i = 0; i < text.size && i < most; i++)
		fputc(s[i] < 0x20 || s[i] == 0x7f ? ' ' : s[i], to);
}

/* Cut the last line, which begins at `from`, to `width` bytes of whole characters. */
static void cut(struct sl_buf *to, size_t from, int width)
{
	size_t size = from + (size_t)width;

	if (width <= 0 || to->size <= size)
		return;
	while (size > from && (to->data[size] & 0xc0) == 0x80)
		size--;
	to->size = size;
}

static void step_line(const json_t *step, const double *rate, struct sl_buf *to)
{
	const char *wait = sl_status_text(step, "wait");
	const json_t *port;
	size_t i, shown = 0;

	sl_buf_print(to, "%-10s %10" PRId64, sl_status_text(step, "name"), sl_status_count(step, "in"));
	if (rate)
		sl_buf_print(to, " %8.0f", *rate);
	sl_buf_print(to, " %9" PRId64 " %6" PRId64 " %7" PRId64 "  %-10s ", sl_status_count(step, "lag"),
		     sl_status_count(step, "in_flight"), sl_status_count(step, "dead"), sl_status_text(step, "state"));
	json_array_foreach(json_object_get(step, "ports"), i, port)
	{
		if (sl_status_count(port, "out") == 0)
			continue;
		sl_buf_print(to, "%s%s %" PRId64, shown++ ? ", " : "", sl_status_text(port, "port"),
			     sl_status_count(port, "out"));
	}
	if (*wait)
		sl_buf_print(to, "%s%s", shown ? "; " : "", wait);
}

size_t sl_status_steps(const json_t *status, const double *rates, int width, struct sl_buf *to)
{
	const json_t *step;
	size_t i, from = to->size;

	sl_buf_print(to, "%-10s %10s", "step", "in");
	if (rates)
		sl_buf_print(to, " %8s", "per s");
	sl_buf_print(to, " %9s %6s %7s  %-10s %s", "lag", "calls", "dead", "state", "out");
	cut(to, from, width);
	sl_buf_add_byte(to, '\n');
	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		from = to->size;
		step_line(step, rates ? &rates[i] : NULL, to);
		cut(to, from, width);
		sl_buf_add_byte(to, '\n');
	}
	return i + 1;
}

static double share(int64_t part, int64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void count_line(FILE *to, int indent, const char *name, int64_t n, int64_t whole)
{
	fprintf(to, "%*s", indent, "");
	sl_print_clean(to, sl_text(name), 60);
	fprintf(to, "%*s %10" PRId64 "  %5.1f %%\n", (int)(34 - indent - (int)(strlen(name) < 60 ? strlen(name) : 60)),
		"", n, share(n, whole));
}

static int64_t sum_of(json_t *counts)
{
	const char *key;
	json_t *n;
	int64_t sum = 0;

	json_object_foreach(counts, key, n) sum += json_integer_value(n);
	return sum;
}

static void breakdown(FILE *to, json_t *codes, json_t *sources, int64_t whole, bool by_source)
{
	const char *name;
	json_t *n;

	json_object_foreach(codes, name, n) count_line(to, 4, name, json_integer_value(n), whole);
	if (!by_source)
		return;
	json_object_foreach(sources, name, n)
	{
		fprintf(to, "    from ");
		sl_print_clean(to, sl_text(name), 60);
		fprintf(to, ": %" PRId64 "\n", sum_of(n));
	}
}

void sl_status_funnel(const json_t *status, bool by_source, FILE *to)
{
	const json_t *ingest = json_object_get(status, "ingest"), *step, *port;
	size_t i, k;

	fprintf(to,
		"ingested  %" PRId64 " lines of %" PRId64 " files: %" PRId64 " pairs, %" PRId64 " ties, %" PRId64
		" invalid\n",
		sl_status_count(ingest, "lines"), sl_status_count(ingest, "files"), sl_status_count(ingest, "pairs"),
		sl_status_count(ingest, "ties"), sl_status_count(ingest, "invalid"));
	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		int64_t in = sl_status_count(step, "in"), dead = sl_status_count(step, "dead");

		fprintf(to, "%-9s %" PRId64 " in", sl_status_text(step, "name"), in);
		if (sl_status_count(step, "lag"))
			fprintf(to, ", %" PRId64 " to do", sl_status_count(step, "lag"));
		if (*sl_status_text(step, "wait"))
			fprintf(to, ", waits: %s", sl_status_text(step, "wait"));
		fprintf(to, "\n");
		json_array_foreach(json_object_get(step, "ports"), k, port)
		{
			if (sl_status_count(port, "out") == 0)
				continue;
			count_line(to, 2, sl_status_text(port, "port"), sl_status_count(port, "out"), in);
			breakdown(to, json_object_get(port, "codes"), json_object_get(port, "sources"), in, by_source);
		}
		if (dead > 0) {
			count_line(to, 2, "dead letters", dead, in);
			breakdown(to, json_object_get(step, "dead_codes"), json_object_get(step, "dead_sources"), in,
				  by_source);
		}
	}
}

void sl_status_topics(const json_t *status, FILE *to)
{
	const json_t *topic;
	size_t i;

	fprintf(to, "%-22s %10s %10s %12s\n", "topic", "records", "kept", "bytes");
	json_array_foreach(json_object_get(status, "topics"), i, topic)
	{
		fprintf(to, "%-22s %10" PRId64 " %10" PRId64, sl_status_text(topic, "name"),
			sl_status_count(topic, "records"), sl_status_count(topic, "kept"));
		if (json_object_get(topic, "bytes"))
			fprintf(to, " %12" PRId64 "\n", sl_status_count(topic, "bytes"));
		else /* the brokers' business */
			fprintf(to, " %12s\n", "-");
	}
}

static void partitions_behind(const json_t *status, FILE *to)
{
	const json_t *step, *partition;
	size_t i, k;

	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		if (sl_status_count(step, "lag") == 0 || json_array_size(json_object_get(step, "partitions")) < 2)
			continue;
		fprintf(to, "lag of %s by partition:", sl_status_text(step, "name"));
		json_array_foreach(json_object_get(step, "partitions"), k, partition)
			fprintf(to, " %" PRId64, sl_status_count(partition, "lag"));
		fprintf(to, "\n");
	}
}

void sl_status_stream(const json_t *status, FILE *to)
{
	const json_t *stream = json_object_get(status, "stream"), *ends = json_object_get(stream, "transactions");
	const json_t *restore = json_object_get(stream, "restore");

	partitions_behind(status, to);
	if (!stream)
		return;
	fprintf(to, "\nkafka %s as %s\n", sl_status_text(stream, "brokers"), sl_status_text(stream, "application"));
	if (*sl_status_text(stream, "trouble"))
		fprintf(to, "  trouble: %s\n", sl_status_text(stream, "trouble"));
	if (!json_is_true(json_object_get(status, "running")))
		return;
	fprintf(to,
		"  this process: %s, transactions %" PRId64 " committed, %" PRId64 " aborted, %" PRId64
		" unknown, %" PRId64 " fenced; %" PRId64 " rebalances\n",
		json_is_true(json_object_get(stream, "leader")) ? "leader" : "not the leader",
		sl_status_count(ends, "committed"), sl_status_count(ends, "aborted"), sl_status_count(ends, "unknown"),
		sl_status_count(ends, "fenced"), sl_status_count(stream, "rebalances"));
	if (sl_status_count(restore, "tasks"))
		fprintf(to, "  restoring %" PRId64 " tasks, %" PRId64 " records left\n",
			sl_status_count(restore, "tasks"), sl_status_count(restore, "left"));
}

static void accuracy(const json_t *evaluation, const char *split, FILE *to)
{
	const json_t *a = json_object_get(evaluation, "accuracy");

	if (sl_status_count(a, "count") == 0)
		return;
	fprintf(to, "  %s %.3f [%.3f, %.3f] of %" PRId64, split, json_number_value(json_object_get(a, "value")),
		json_number_value(json_object_get(a, "low")), json_number_value(json_object_get(a, "high")),
		sl_status_count(a, "count"));
}

/* How worn select is; nothing before the first question. */
static void promotion(const json_t *p, FILE *to)
{
	if (sl_status_count(p, "uses") > 0)
		fprintf(to, "  select used %" PRId64 " of %" PRId64 " (draw %" PRId64 "), best %" PRId64,
			sl_status_count(p, "uses"), sl_status_count(p, "uses_most"), sl_status_count(p, "draw"),
			sl_status_count(p, "best"));
}

void sl_status_models(const json_t *models, FILE *to)
{
	const json_t *m;
	size_t i;

	fprintf(to, "%-9s %8s %9s %8s  %s\n", "model", "champion", "candidate", "previous", "accuracy on gold, why");
	json_array_foreach(models, i, m)
	{
		const json_t *report = json_object_get(m, "report");

		fprintf(to, "%-9s %8" PRId64 " %9" PRId64 " %8" PRId64, sl_status_text(m, "name"),
			sl_status_count(m, "champion"), sl_status_count(m, "candidate"),
			sl_status_count(m, "previous"));
		accuracy(json_object_get(report, "select"), "select", to);
		accuracy(json_object_get(report, "report"), "report", to);
		promotion(json_object_get(report, "promotion"), to);
		fprintf(to, "  ");
		sl_print_clean(
			to, sl_text(sl_status_count(m, "sequence") ? sl_status_text(m, "reason") : "not trained yet"),
			200);
		fprintf(to, "\n");
	}
}
