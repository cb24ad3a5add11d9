/* status_table.c -- see status_table.h. Only reads JSON and prints; an absent field prints as 0
 * or nothing. */
#include "status_table.h"

#include "base/thread.h"

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

static void by_name(FILE *to, const char *word, json_t *names)
{
	const char *name;
	json_t *n;

	json_object_foreach(names, name, n)
	{
		fprintf(to, "    %s ", word);
		sl_print_clean(to, sl_text(name), 60);
		fprintf(to, ": %" PRId64 "\n", sum_of(n));
	}
}

/* `codes`, `sources` and `domains` of a port, or with dead_ in front. */
static void breakdown(FILE *to, const json_t *of, const char *const keys[3], int64_t whole, int by)
{
	const char *name;
	json_t *n;

	json_object_foreach(json_object_get(of, keys[0]), name, n)
		count_line(to, 4, name, json_integer_value(n), whole);
	if (by & SL_STATUS_BY_SOURCE)
		by_name(to, "from", json_object_get(of, keys[1]));
	if (by & SL_STATUS_BY_DOMAIN)
		by_name(to, "domain", json_object_get(of, keys[2]));
}

void sl_status_funnel(const json_t *status, int by, FILE *to)
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
			breakdown(to, port, (const char *const[]){ "codes", "sources", "domains" }, in, by);
		}
		if (dead > 0) {
			count_line(to, 2, "dead letters", dead, in);
			breakdown(to, step, (const char *const[]){ "dead_codes", "dead_sources", "dead_domains" }, in,
				  by);
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

/* -- the outside ---------------------------------------------------------------------------- */

static double dollars(const json_t *of, const char *name)
{
	return json_number_value(json_object_get(of, name));
}

/* "$0.910000 spent of $1, $0.02 reserved" */
static void purse(const json_t *of, FILE *to)
{
	fprintf(to, "$%.6g spent", dollars(of, "spent"));
	if (json_object_get(of, "budget"))
		fprintf(to, " of $%.6g", dollars(of, "budget"));
	if (json_object_get(of, "budget_per_day"))
		fprintf(to, ", $%.6g of today's $%.6g", dollars(of, "spent_today"), dollars(of, "budget_per_day"));
	if (dollars(of, "reserved") > 0)
		fprintf(to, ", $%.6g reserved", dollars(of, "reserved"));
}

/* What waits for the Batch API: "judge     batch batch_67 of gpt/gpt-4.1: submitted, 5000 questions, for 3h". */
static void batch_lines(const json_t *calls, FILE *to)
{
	const json_t *batch;
	size_t i;

	json_array_foreach(json_object_get(calls, "batches"), i, batch)
	{
		const char *id = sl_status_text(batch, "id"), *why = sl_status_text(batch, "why");
		int64_t minutes = (sl_wall_ms() - sl_status_count(batch, "since_ms")) / 60000;

		fprintf(to, "          batch%s%s of %s/%s: %s, %" PRId64 " questions, for %" PRId64 " min%s%s\n",
			id[0] ? " " : "", id, sl_status_text(batch, "endpoint"), sl_status_text(batch, "model"),
			sl_status_text(batch, "state"), sl_status_count(batch, "questions"), minutes,
			why[0] ? "; " : "", why);
	}
}

/* "          this process has 1 of 2 partitions; money and memo of 1 other are as of 2026-01-01 00:00:00 UTC or later".
 */
static void whose_figures(const json_t *calls, FILE *to)
{
	int64_t here = sl_status_count(calls, "here"), all = sl_status_count(calls, "partitions");
	int64_t told = sl_status_count(calls, "elsewhere");
	time_t seconds = (time_t)(sl_status_count(calls, "as_of_ms") / 1000);
	char when[32] = "";
	struct tm utc;

	if (here >= all)
		return;
	fprintf(to, "          this process has %" PRId64 " of %" PRId64 " partitions", here, all);
	if (gmtime_r(&seconds, &utc))
		(void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &utc);
	if (told)
		fprintf(to, "; money and memo of %" PRId64 " other%s are as of %s UTC or later", told,
			told > 1 ? "s" : "", when);
	if (here + told < all)
		fprintf(to, "; of %" PRId64 " nothing is told yet", all - here - told);
	fprintf(to, "\n");
}

static void calls_line(const json_t *step, FILE *to)
{
	static const struct {
		const char *name, *text;
	} rare[] = { { "repeated", "asked again after a death" },
		     { "unknown", "attempts of unknown fate" },
		     { "malformed", "replies that were no answer" },
		     { "overshot", "dearer than expected" } };
	const json_t *calls = json_object_get(step, "calls");

	fprintf(to, "%-9s %" PRId64 " questions, %" PRId64 " sent, %" PRId64 " from the memo ($%.6g saved); ",
		sl_status_text(step, "name"), sl_status_count(calls, "asked"), sl_status_count(calls, "sent"),
		sl_status_count(calls, "hits"), dollars(calls, "saved"));
	purse(calls, to);
	for (size_t i = 0; i < sizeof rare / sizeof *rare; i++)
		if (sl_status_count(calls, rare[i].name))
			fprintf(to, "; %" PRId64 " %s", sl_status_count(calls, rare[i].name), rare[i].text);
	fprintf(to, "; memo: %" PRId64 " answers, %" PRId64 " bytes\n", sl_status_count(calls, "answers"),
		sl_status_count(calls, "bytes"));
	whose_figures(calls, to);
	batch_lines(calls, to);
}

void sl_status_outside(const json_t *status, FILE *to)
{
	const json_t *step, *e;
	size_t i;

	if (json_array_size(json_object_get(status, "endpoints")) == 0)
		return;
	fprintf(to, "\n%-12s %-13s %9s %9s  %s\n", "endpoint", "state", "in flight", "waiting", "model, money");
	json_array_foreach(json_object_get(status, "endpoints"), i, e)
	{
		fprintf(to, "%-12s %-13s %9" PRId64 " %9" PRId64 "  %s; ", sl_status_text(e, "name"),
			sl_status_text(e, "state"), sl_status_count(e, "in_flight"), sl_status_count(e, "waiting"),
			*sl_status_text(e, "model") ? sl_status_text(e, "model") : "no model");
		purse(e, to);
		if (*sl_status_text(e, "why")) {
			fprintf(to, "; ");
			sl_print_clean(to, sl_text(sl_status_text(e, "why")), 200);
		}
		fprintf(to, "\n");
	}
	json_array_foreach(json_object_get(status, "steps"), i, step) if (json_object_get(step, "calls"))
		calls_line(step, to);
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

/* -- evidence ----------------------------------------------------------------------------- */

/* "0.657 [0.63, 0.68]", or a dash where nothing is known, and two spaces. */
static void share_column(const json_t *a, FILE *to)
{
	if (sl_status_count(a, "count") == 0)
		fprintf(to, "%-18s  ", "-");
	else
		fprintf(to, "%.3f [%.2f, %.2f]  ", json_number_value(json_object_get(a, "value")),
			json_number_value(json_object_get(a, "low")), json_number_value(json_object_get(a, "high")));
}

static void evidence_line(const char *name, const json_t *e, FILE *to)
{
	static const char *const columns[] = { "gold", "best", "judge", "longest_wins", "first_wins", "arrived_right" };
	int64_t sign = sl_status_count(e, "length_sign");
	const char *prefers = "-";

	if (sign != 0)
		prefers = sign < 0 ? "shorter" : "longer";
	sl_print_clean(to, sl_text(name), 20);
	fprintf(to, "%*s %6" PRId64 " %7" PRId64 "  ", (int)(20 - (strlen(name) < 20 ? strlen(name) : 20)), "",
		sl_status_count(e, "rows"), sl_status_count(e, "audited"));
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		share_column(json_object_get(e, columns[i]), to);
	fprintf(to, "%s%s\n", prefers, json_is_true(json_object_get(e, "blind")) ? ", at chance: undecided" : "");
}

static void audit_part(const char *name, const json_t *a, FILE *to)
{
	if (sl_status_count(a, "count") == 0)
		return;
	fprintf(to, "%s %.3f [%.3f, %.3f]", name, json_number_value(json_object_get(a, "value")),
		json_number_value(json_object_get(a, "low")), json_number_value(json_object_get(a, "high")));
}

/* What the audited gold says of the decisions, each pair seen by a fit without its fold. */
static void audit_lines(const json_t *report, FILE *to)
{
	const json_t *curated = json_object_get(report, "curated"), *undecided = json_object_get(report, "undecided");

	if (!curated) {
		fprintf(to,
			"no audit: %" PRId64
			" gold pairs were drawn at random and know how their label arrived, too few "
			"to weigh the witnesses (`sluice gold sample`)\n",
			sl_status_count(report, "audited"));
		return;
	}
	fprintf(to, "curated at P >= %.2f: expected precision %.3f",
		json_number_value(json_object_get(curated, "keep")),
		json_number_value(json_object_get(curated, "expected")));
	audit_part(", found", json_object_get(curated, "precision"), to);
	audit_part(", of all labels", json_object_get(curated, "retention"), to);
	audit_part("\ndiscarded: labels right", json_object_get(report, "discarded"), to);
	audit_part("\nundecided:", json_object_get(undecided, "share"), to);
	audit_part(" of all labels, because evidence is at chance", json_object_get(undecided, "blind_share"), to);
	audit_part("; labels right", json_object_get(undecided, "right"), to);
	audit_part("\nflips: labels wrong", json_object_get(json_object_get(report, "flips"), "wrong"), to);
	fprintf(to, "\n");
}

void sl_status_evidence(const json_t *models, FILE *to)
{
	const json_t *m, *report = NULL;
	json_t *e;
	const char *name;
	size_t i;

	json_array_foreach(models, i, m) if (strcmp(sl_status_text(m, "name"), "posterior") == 0) report =
		json_object_get(m, "report");
	if (!json_object_get(report, "evidence"))
		return;
	fprintf(to, "\n%-20s %6s %7s  %-18s  %-18s  %-18s  %-18s  %-18s  %-18s  %s\n", "evidence by domain", "gold",
		"audited", "gold right", "best right", "judge right", "longest wins", "first wins",
		"arrived labels right", "prefers");
	json_object_foreach(json_object_get(report, "evidence"), name, e) evidence_line(name, e, to);
	evidence_line("all", json_object_get(report, "all"), to);
	audit_lines(report, to);
}

/* -- judges ------------------------------------------------------------------------------- */

/* "  91.2 %", or a dash where nothing is known. */
static void percent_column(const json_t *of, int width, FILE *to)
{
	if (sl_status_count(of, "count") == 0)
		fprintf(to, " %*s", width, "-");
	else
		fprintf(to, " %*.1f %%", width - 2, 100 * json_number_value(json_object_get(of, "value")));
}

static void pad(const char *text, size_t width, FILE *to)
{
	size_t size = strlen(text) < width ? strlen(text) : width;

	sl_print_clean(to, sl_text(text), width);
	fprintf(to, "%*s", (int)(width - size), "");
}

/* What a judge said where it gave no verdict: ", 3 refused". */
static void silences(const json_t *votes, FILE *to)
{
	static const char *const verdicts[] = { "chosen", "rejected", NULL };
	const char *word;
	json_t *n;

	json_object_foreach((json_t *)votes, word, n)
	{
		bool verdict = false;

		for (size_t i = 0; verdicts[i]; i++)
			verdict = verdict || strcmp(word, verdicts[i]) == 0;
		if (!verdict)
			fprintf(to, ", %" JSON_INTEGER_FORMAT " %s", json_integer_value(n), word);
	}
}

static void judge_lines(const json_t *judge, FILE *to)
{
	int64_t probes = sl_status_count(judge, "probes");
	const json_t *category;
	const char *before = "  ";
	size_t i;

	pad(sl_status_text(judge, "name"), 30, to);
	fprintf(to, " %7" PRId64 "  ", probes);
	share_column(json_object_get(judge, "agreement"), to);
	percent_column(json_object_get(judge, "order_flips"), 11, to);
	percent_column(json_object_get(judge, "self_consistency"), 11, to);
	percent_column(json_object_get(judge, "first"), 11, to);
	if (json_is_true(json_object_get(judge, "panel")))
		fprintf(to, " %10s  all of them", "-");
	else
		fprintf(to, " %10.6f  %" PRId64 " tokens", probes ? dollars(judge, "dollars") / (double)probes : 0.0,
			sl_status_count(judge, "tokens"));
	silences(json_object_get(judge, "votes"), to);
	fprintf(to, "\n");
	if (json_array_size(json_object_get(judge, "categories")) < 2)
		return;
	json_array_foreach(json_object_get(judge, "categories"), i, category)
	{
		const json_t *a = json_object_get(category, "agreement");
		const char *name = sl_status_text(category, "name");

		fprintf(to, "%s", before);
		sl_print_clean(to, sl_text(*name ? name : "no category"), 40);
		fprintf(to, " %.2f of %" PRId64, json_number_value(json_object_get(a, "value")),
			sl_status_count(a, "count"));
		before = ", ";
	}
	fprintf(to, "\n");
}

static void error_line(const json_t *pair, FILE *to)
{
	fprintf(to, "errors of ");
	sl_print_clean(to, sl_text(sl_status_text(pair, "judge")), 60);
	fprintf(to, " and ");
	sl_print_clean(to, sl_text(sl_status_text(pair, "other")), 60);
	if (json_object_get(pair, "phi"))
		fprintf(to, ": correlation %.2f", json_number_value(json_object_get(pair, "phi")));
	else
		fprintf(to, ": one of them never errs");
	fprintf(to, ", both wrong in %" PRId64 " of %" PRId64 "\n", sl_status_count(pair, "both"),
		sl_status_count(pair, "count"));
}

void sl_status_judges(const json_t *status, FILE *to)
{
	const json_t *judges = json_object_get(status, "judges"), *item;
	size_t i;

	if (!judges)
		return;
	if (*sl_status_text(judges, "error"))
		fprintf(to, "\nprobes of the judges cannot be read: %s\n", sl_status_text(judges, "error"));
	if (sl_status_count(judges, "probes") == 0) {
		fprintf(to, "\nno gold pair was put to the LLM judges yet: how good they are is what "
			    "'judge_accuracy' declares (set 'probes' of step retrieve)\n");
		return;
	}
	fprintf(to, "\n%-30s %7s  %-18s %11s %11s %11s %10s\n", "judge, on gold pairs", "probes", "agrees",
		"order flips", "consistent", "first shown", "$ a probe");
	json_array_foreach(json_object_get(judges, "judges"), i, item) judge_lines(item, to);
	json_array_foreach(json_object_get(judges, "errors"), i, item) error_line(item, to);
	audit_part("on the same pairs: the longer answer wins", json_object_get(judges, "longest_wins"), to);
	audit_part(", what people saw first", json_object_get(judges, "first_wins"), to);
	fprintf(to, "\nsetting %s", sl_status_text(judges, "setting"));
	if (sl_status_count(judges, "earlier"))
		fprintf(to, "; earlier ones, which no longer count: %" PRId64 " probes",
			sl_status_count(judges, "earlier"));
	fprintf(to, "\n");
}
