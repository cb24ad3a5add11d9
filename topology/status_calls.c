/* status_calls.c -- see status_calls.h. The units that are here know best; of partitions that are elsewhere, or of
 * nobody, their rows tell (bill.h), but not to Prometheus, which adds up what it gets from all processes. */
#include "status_calls.h"

#include "bill.h"
#include "endpoint/stats.h"
#include "keys.h"

#include <inttypes.h>
#include <stdlib.h>

/* Everything about the calls of a step; purses of its endpoints, and its own as the last. */
struct sums {
	struct sl_calls_stats stats;
	struct sl_purse *purses;
	size_t count;
	int64_t here, elsewhere; /* partitions that it is about: of units; of rows */
	int64_t as_of_ms;        /* the oldest of these rows; 0: none */
};

static void add_stats(struct sl_calls_stats *to, const struct sl_calls_stats *s)
{
	to->asked += s->asked;
	to->hits += s->hits;
	to->saved += s->saved;
	to->sent += s->sent;
	to->malformed += s->malformed;
	to->evicted += s->evicted;
	to->batched += s->batched;
	to->batch_failed += s->batch_failed;
	to->batch_lost += s->batch_lost;
	to->batches += s->batches;
	to->parked += s->parked;
	to->batches_open += s->batches_open;
	to->counts.repeated += s->counts.repeated;
	to->counts.unknown += s->counts.unknown;
	to->counts.overshot += s->counts.overshot;
	to->counts.overshot_micro += s->counts.overshot_micro;
	to->counts.answers += s->counts.answers;
	to->counts.bytes += s->counts.bytes;
	to->counts.lost += s->counts.lost;
}

static void add_purses(struct sums *to, struct sl_purse *purses)
{
	int64_t today = sl_wall_ms() / SL_DAY_MS;

	for (size_t k = 0; k < to->count; k++) {
		sl_purse_day(&purses[k], today);
		to->purses[k].spent += purses[k].spent;
		to->purses[k].spent_day += purses[k].spent_day;
		to->purses[k].held += purses[k].held;
	}
}

/* The units of a step; `is_here`, if not NULL: whether there is one, by partition. */
static void add_here(struct sl_runtime *rt, const struct sl_step *step, struct sums *to, bool *is_here)
{
	struct sl_purse *purses = sl_calloc(to->count, sizeof *purses);

	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++) {
		const struct sl_unit *u = rt->units[i];
		struct sl_calls_stats stats;

		if (u->tasks[0].step != step)
			continue;
		sl_calls_stats(u->calls, &stats, purses);
		add_stats(&to->stats, &stats);
		add_purses(to, purses);
		to->here++;
		if (is_here)
			is_here[u->partition] = true;
	}
	sl_unlock(&rt->commit_lock);
	free(purses);
}

/* What the row says of a partition that is not here. */
static void add_row(struct sl_runtime *rt, struct sl_bytes key, struct sums *to)
{
	const struct sl_topology *t = rt->topology;
	const char **names = sl_calloc(to->count, sizeof *names);
	struct sl_purse *purses = sl_calloc(to->count, sizeof *purses);
	struct sl_calls_stats stats;
	struct sl_buf value = { 0 };
	struct sl_error ignored = { 0 };
	int64_t when_ms;
	bool found;

	for (size_t i = 0; i < t->endpoint_count; i++)
		names[i] = t->endpoints[i].name;
	names[t->endpoint_count] = "";
	if (rt->meta->ops->get(rt->meta, key, &value, &found, &ignored) && found &&
	    sl_bill_get(sl_buf_bytes(&value), &when_ms, &stats, purses, names, to->count)) {
		add_stats(&to->stats, &stats);
		add_purses(to, purses);
		to->elsewhere++;
		if (to->as_of_ms == 0 || when_ms < to->as_of_ms)
			to->as_of_ms = when_ms;
	}
	sl_buf_release(&value);
	free(purses);
	free(names);
}

static void add_step(struct sl_runtime *rt, const struct sl_step *step, struct sums *to)
{
	int32_t partitions = rt->topology->topics[step->from].partitions;
	bool *is_here = sl_calloc((size_t)partitions, sizeof *is_here);
	struct sl_buf key = { 0 };

	add_here(rt, step, to, is_here);
	for (int32_t p = 0; p < partitions; p++) {
		if (is_here[p])
			continue;
		sl_key_begin(&key, 'u', step->name);
		sl_key_partition(&key, p);
		add_row(rt, sl_buf_bytes(&key), to);
	}
	sl_buf_release(&key);
	free(is_here);
}

static struct sums sums_new(struct sl_runtime *rt)
{
	struct sums s = { .count = rt->topology->endpoint_count + 1 };

	s.purses = sl_calloc(s.count, sizeof *s.purses);
	return s;
}

/* Of this process alone. */
static struct sums sum_here(struct sl_runtime *rt, const struct sl_step *step)
{
	struct sums s = sums_new(rt);

	add_here(rt, step, &s, NULL);
	return s;
}

/* -- JSON ---------------------------------------------------------------------------------- */

static void put_count(json_t *to, const char *name, int64_t n)
{
	json_object_set_new(to, name, json_integer(n));
}

static void put_dollars(json_t *to, const char *name, int64_t micro_dollars)
{
	json_object_set_new(to, name, json_real((double)micro_dollars / 1e6));
}

static void put_purse(json_t *to, const struct sl_purse *p, struct sl_limit limit)
{
	put_dollars(to, "spent", p->spent);
	put_dollars(to, "reserved", p->held);
	if (limit.all >= 0)
		json_object_set_new(to, "budget", json_real(limit.all));
	if (limit.per_day >= 0) {
		json_object_set_new(to, "budget_per_day", json_real(limit.per_day));
		put_dollars(to, "spent_today", p->spent_day);
	}
}

static json_t *batches_of(struct sl_runtime *rt, const struct sl_step *step)
{
	json_t *list = json_array();

	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++)
		if (rt->units[i]->tasks[0].step == step)
			sl_calls_batches_now(rt->units[i]->calls, list);
	sl_unlock(&rt->commit_lock);
	return list;
}

void sl_status_calls(struct sl_runtime *rt, const struct sl_step *step, json_t *to)
{
	json_t *calls, *list;
	struct sums s;

	if (!sl_step_asks(step))
		return;
	s = sums_new(rt);
	add_step(rt, step, &s);
	calls = json_object();
	list = json_array();
	put_count(calls, "partitions", rt->topology->topics[step->from].partitions);
	put_count(calls, "here", s.here);
	put_count(calls, "elsewhere", s.elsewhere);
	if (s.elsewhere)
		put_count(calls, "as_of_ms", s.as_of_ms);
	put_count(calls, "asked", s.stats.asked);
	put_count(calls, "hits", s.stats.hits);
	put_dollars(calls, "saved", s.stats.saved);
	put_count(calls, "sent", s.stats.sent);
	put_count(calls, "malformed", s.stats.malformed);
	put_count(calls, "evicted", s.stats.evicted);
	put_count(calls, "parked", s.stats.parked);
	put_count(calls, "batched", s.stats.batched);
	put_count(calls, "batch_failed", s.stats.batch_failed);
	put_count(calls, "batch_lost", s.stats.batch_lost);
	put_count(calls, "batches_done", s.stats.batches);
	json_object_set_new(calls, "batches", batches_of(rt, step));
	put_count(calls, "repeated", s.stats.counts.repeated);
	put_count(calls, "unknown", s.stats.counts.unknown);
	put_count(calls, "lost", s.stats.counts.lost);
	put_count(calls, "overshot", s.stats.counts.overshot);
	put_dollars(calls, "overshot_dollars", s.stats.counts.overshot_micro);
	put_count(calls, "answers", s.stats.counts.answers);
	put_count(calls, "bytes", s.stats.counts.bytes);
	put_purse(calls, &s.purses[s.count - 1], sl_limit_of_step(rt, step));
	for (size_t i = 0; i + 1 < s.count; i++) {
		json_t *e;

		if (s.purses[i].spent == 0 && s.purses[i].held == 0)
			continue;
		e = json_object();
		json_object_set_new(e, "name", json_string(rt->topology->endpoints[i].name));
		put_dollars(e, "spent", s.purses[i].spent);
		put_dollars(e, "reserved", s.purses[i].held);
		json_array_append_new(list, e);
	}
	json_object_set_new(calls, "endpoints", list);
	json_object_set_new(to, "calls", calls);
	free(s.purses);
}

json_t *sl_status_endpoints(struct sl_runtime *rt)
{
	json_t *list = json_array();
	struct sums s = sums_new(rt);

	for (size_t i = 0; i < rt->topology->step_count; i++)
		add_step(rt, &rt->topology->steps[i], &s);
	for (size_t i = 0; i < rt->topology->endpoint_count; i++) {
		const struct sl_endpoint_def *d = &rt->topology->endpoints[i];
		struct sl_endpoint *endpoint = rt->endpoints[i];
		json_t *e = json_object(), *said = NULL;
		struct sl_buf text = { 0 };

		json_object_set_new(e, "name", json_string(d->name));
		json_object_set_new(e, "model", json_string(d->model ? d->model : ""));
		if (endpoint && endpoint->ops->describe) {
			sl_buf_add_byte(&text, '{');
			endpoint->ops->describe(endpoint, &text);
			sl_buf_add_byte(&text, '}');
			said = json_loadb((const char *)text.data, text.size, 0, NULL);
		}
		if (said)
			json_object_update(e, said);
		put_purse(e, &s.purses[i], sl_limit_of_endpoint(rt, i));
		json_array_append_new(list, e);
		json_decref(said);
		sl_buf_release(&text);
	}
	free(s.purses);
	return list;
}

/* -- Prometheus ------------------------------------------------------------------------------ */

static void head(struct sl_buf *b, const char *name, const char *type, const char *help)
{
	sl_buf_print(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static double dollars(int64_t micro_dollars)
{
	return (double)micro_dollars / 1e6;
}

static void per_step(struct sl_runtime *rt, struct sl_buf *b)
{
	static const struct {
		const char *name, *type, *help;
		size_t offset;
		bool money;
	} lines[] = {
		{ "sluice_calls_sent_total", "counter", "Calls handed to an endpoint since the start.",
		  offsetof(struct sl_calls_stats, sent), false },
		{ "sluice_calls_malformed_total", "counter",
		  "Replies with status 200 that were no JSON answer, since the start: used once, not kept.",
		  offsetof(struct sl_calls_stats, malformed), false },
		{ "sluice_calls_repeated_total", "counter",
		  "Calls asked again because a death left their fate unknown, of all time.",
		  offsetof(struct sl_calls_stats, counts.repeated), false },
		{ "sluice_calls_unknown_total", "counter",
		  "Attempts without a whole answer that may have been paid, of all time.",
		  offsetof(struct sl_calls_stats, counts.unknown), false },
		{ "sluice_calls_overshot_total", "counter",
		  "Calls that cost more than the most they were expected to, of all time.",
		  offsetof(struct sl_calls_stats, counts.overshot), false },
		{ "sluice_memo_hits_total", "counter", "Questions answered from the memo since the start.",
		  offsetof(struct sl_calls_stats, hits), false },
		{ "sluice_memo_saved_dollars_total", "counter", "What these answers cost when they were asked first.",
		  offsetof(struct sl_calls_stats, saved), true },
		{ "sluice_memo_answers", "gauge", "Answers kept.", offsetof(struct sl_calls_stats, counts.answers),
		  false },
		{ "sluice_memo_size_bytes", "gauge", "Bytes of answers kept.",
		  offsetof(struct sl_calls_stats, counts.bytes), false },
		{ "sluice_parked_questions", "gauge", "Questions that wait for a batch of their endpoint.",
		  offsetof(struct sl_calls_stats, parked), false },
		{ "sluice_batches", "gauge", "Batches that are being made or worked on.",
		  offsetof(struct sl_calls_stats, batches_open), false },
		{ "sluice_batched_answers_total", "counter", "Questions answered by batches since the start.",
		  offsetof(struct sl_calls_stats, batched), false },
		{ "sluice_batched_failed_total", "counter",
		  "Questions that came out of batches without an answer and are asked no more, since the start.",
		  offsetof(struct sl_calls_stats, batch_failed), false },
		{ "sluice_batched_lost_total", "counter",
		  "Questions whose batch the server knows no more, since the start: billed, and asked anew.",
		  offsetof(struct sl_calls_stats, batch_lost), false },
		{ "sluice_memo_evicted_total", "counter", "Answers let go since the start: too many, or too old.",
		  offsetof(struct sl_calls_stats, evicted), false },
	};

	for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
		head(b, lines[k].name, lines[k].type, lines[k].help);
		for (size_t i = 0; i < rt->topology->step_count; i++) {
			const struct sl_step *step = &rt->topology->steps[i];
			struct sums s;
			int64_t n;

			if (!sl_step_asks(step))
				continue;
			s = sum_here(rt, step);
			memcpy(&n, (const char *)&s.stats + lines[k].offset, sizeof n);
			sl_buf_print(b, "%s{step=\"%s\"} ", lines[k].name, step->name);
			if (lines[k].money)
				sl_buf_print(b, "%.6f\n", dollars(n));
			else
				sl_buf_print(b, "%" PRId64 "\n", n);
			free(s.purses);
		}
	}
}

static void money(struct sl_runtime *rt, struct sl_buf *b, bool held)
{
	const char *name = held ? "sluice_reserved_dollars" : "sluice_spent_dollars_total";

	if (held)
		head(b, name, "gauge", "Held back for calls that are under way.");
	else
		head(b, name, "counter", "What calls have cost, of all time.");
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		const struct sl_step *step = &rt->topology->steps[i];
		struct sums s;

		if (!sl_step_asks(step))
			continue;
		s = sum_here(rt, step);
		for (size_t k = 0; k + 1 < s.count; k++)
			sl_buf_print(b, "%s{step=\"%s\",endpoint=\"%s\"} %.6f\n", name, step->name,
				     rt->topology->endpoints[k].name,
				     dollars(held ? s.purses[k].held : s.purses[k].spent));
		free(s.purses);
	}
}

static void budget(struct sl_buf *b, const char *kind, const char *name, struct sl_limit limit)
{
	if (limit.all >= 0)
		sl_buf_print(b, "sluice_budget_dollars{%s=\"%s\",per=\"all\"} %.6f\n", kind, name, limit.all);
	if (limit.per_day >= 0)
		sl_buf_print(b, "sluice_budget_dollars{%s=\"%s\",per=\"day\"} %.6f\n", kind, name, limit.per_day);
}

void sl_metrics_calls(struct sl_runtime *rt, struct sl_buf *b)
{
	const struct sl_topology *t = rt->topology;

	if (t->endpoint_count == 0)
		return;
	per_step(rt, b);
	money(rt, b, false);
	money(rt, b, true);
	head(b, "sluice_budget_dollars", "gauge", "Most that may be spent, in all or per day of UTC.");
	for (size_t i = 0; i < t->endpoint_count; i++)
		budget(b, "endpoint", t->endpoints[i].name, sl_limit_of_endpoint(rt, i));
	for (size_t i = 0; i < t->step_count; i++)
		if (sl_step_asks(&t->steps[i]))
			budget(b, "step", t->steps[i].name, sl_limit_of_step(rt, &t->steps[i]));
	sl_endpoint_metrics(rt->endpoints, t->endpoint_count, b);
}
