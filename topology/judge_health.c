/* judge_health.c -- see judge_health.h. */
#include "judge_health.h"

#include "../operators/nearest.h"

#include <inttypes.h>
#include <stdlib.h>

struct sl_judge_health {
	struct sl_runtime *rt;
	int topic;
	int64_t *next; /* per partition */
	struct sl_judge_records *records;
	pthread_mutex_t lock;
};

static const struct sl_step *step_of(const struct sl_topology *t, const char *operator)
{
	for (size_t i = 0; i < t->step_count; i++)
		if (strcmp(t->steps[i].op->name, operator) == 0)
			return &t->steps[i];
	return NULL;
}

const void *sl_option_of(const struct sl_topology *t, const char *operator, const char * option)
{
	const struct sl_step *s = step_of(t, operator);

	for (const struct sl_option *o = s ? s->op->options : NULL; o && o->name; o++)
		if (strcmp(o->name, option) == 0)
			return (const char *)s->self_image + o->offset;
	return NULL;
}

/* -1: there are no probes. */
static int topic_of_probes(const struct sl_topology *t)
{
	const char *const *backend = sl_option_of(t, "annotate", "backend");
	const struct sl_step *s = step_of(t, "annotate");

	if (!backend || strcmp(*backend, SL_NEAREST) == 0)
		return -1;
	for (size_t i = 0; s->op->ports[i]; i++)
		if (strcmp(s->op->ports[i], "probed") == 0 && !t->topics[s->to[i]].inlined)
			return s->to[i];
	return -1;
}

struct sl_judge_health *sl_judge_health_new(struct sl_runtime *rt)
{
	int topic = topic_of_probes(rt->topology);
	struct sl_judge_health *h;

	if (topic < 0)
		return NULL;
	h = sl_calloc(1, sizeof *h);
	h->rt = rt;
	h->topic = topic;
	h->next = sl_calloc((size_t)rt->topology->topics[topic].partitions, sizeof *h->next);
	h->records = sl_judge_records_new();
	sl_mutex_init(&h->lock);
	return h;
}

void sl_judge_health_free(struct sl_judge_health *h)
{
	if (!h)
		return;
	sl_judge_records_free(h->records);
	sl_mutex_destroy(&h->lock);
	free(h->next);
	free(h);
}

/* -- following -------------------------------------------------------------------- */

/* The last record of a look. */
struct last {
	int64_t time_ms;
	char setting[SL_SETTING_SIZE];
};

static void note(struct sl_judge_health *h, const struct sl_pair *p, struct last *last)
{
	sl_judge_records_add(h->records, p);
	if (!p->judgement.setting.data || p->judgement.probe == 0)
		return;
	last->time_ms = p->time_ms;
	snprintf(last->setting, sizeof last->setting, "%.*s", (int)p->judgement.setting.size,
		 (const char *)p->judgement.setting.data);
}

static bool read_partition(struct sl_judge_health *h, int32_t partition, struct last *last, struct sl_error *e)
{
	int64_t end = atomic_load(&h->rt->topics[h->topic].ends[partition]), *next = &h->next[partition];
	const struct sl_record *record;
	struct sl_arena a = { 0 };
	struct sl_reader r;

	if (*next >= end)
		return true;
	sl_reader_open(&r, h->rt, h->topic, partition, end);
	if (r.cursor.offset < *next)
		r.cursor.offset = *next;
	e->verdict = SL_OK;
	while ((record = sl_reader_next(&r, e)) != NULL) {
		struct sl_error ignored; /* what cannot be decoded is no probe */
		struct sl_pair p;

		*next = record->offset + 1;
		sl_arena_clear(&a);
		if (record->value.data && sl_pair_decode(record->value, &a, &p, &ignored))
			note(h, &p, last);
	}
	if (e->verdict == SL_OK)
		*next = end; /* on Kafka there may be control records behind the last one */
	sl_reader_close(&r);
	sl_arena_release(&a);
	return e->verdict == SL_OK;
}

bool sl_judge_health_follow(struct sl_judge_health *h, struct sl_error *e)
{
	struct last newest = { .time_ms = INT64_MIN };
	bool done;

	if (!h)
		return true;
	sl_lock(&h->lock);
	done = h->rt->stream->refresh(h->rt, h->topic, e);
	for (int32_t i = 0; done && i < h->rt->topology->topics[h->topic].partitions; i++) {
		struct last last = { .time_ms = INT64_MIN };

		done = read_partition(h, i, &last, e);
		if (last.setting[0] && last.time_ms >= newest.time_ms)
			newest = last;
	}
	if (newest.setting[0])
		sl_judge_records_newest(h->records, sl_text(newest.setting));
	sl_unlock(&h->lock);
	return done;
}

int64_t sl_judge_health_probes(struct sl_judge_health *h)
{
	int64_t probes = 0;

	if (h) {
		sl_lock(&h->lock);
		probes = sl_judge_records_probes(h->records);
		sl_unlock(&h->lock);
	}
	return probes;
}

void sl_judge_health_setting(struct sl_judge_health *h, char to[SL_SETTING_SIZE])
{
	to[0] = 0;
	if (h) {
		sl_lock(&h->lock);
		snprintf(to, SL_SETTING_SIZE, "%s", sl_judge_records_setting(h->records));
		sl_unlock(&h->lock);
	}
}

void sl_judge_health_copy(struct sl_judge_health *h, struct sl_probes *to)
{
	*to = (struct sl_probes){ 0 };
	if (h) {
		sl_lock(&h->lock);
		sl_judge_records_copy(h->records, to);
		sl_unlock(&h->lock);
	}
}

json_t *sl_judge_health_json(struct sl_judge_health *h)
{
	struct sl_error e = { 0 };
	json_t *to;
	bool done;

	if (!h)
		return NULL;
	done = sl_judge_health_follow(h, &e);
	sl_lock(&h->lock);
	to = sl_judge_records_json(h->records);
	sl_unlock(&h->lock);
	if (!done)
		json_object_set_new(to, "error", json_string(e.text));
	return to;
}

/* -- Prometheus -------------------------------------------------------------------- */

static void label(struct sl_buf *b, const char *name, const char *value)
{
	sl_buf_print(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			sl_buf_add_byte(b, '\\');
		if (*value == '\n')
			sl_buf_print(b, "\\n");
		else
			sl_buf_add_byte(b, (uint8_t)*value);
	}
	sl_buf_add_byte(b, '"');
}

/* "name{first="..."", open for more labels. */
static void sample(struct sl_buf *b, const char *metric, const char *name, const char *value)
{
	sl_buf_print(b, "%s{", metric);
	label(b, name, value ? value : "");
}

static const char *text_at(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static void head(struct sl_buf *b, const char *name, const char *type, const char *help)
{
	sl_buf_print(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void agreement(struct sl_buf *b, const json_t *judge, const json_t *of, const char *category)
{
	const json_t *a = json_object_get(of, "agreement");

	if (json_integer_value(json_object_get(a, "count")) == 0)
		return;
	sample(b, "sluice_judge_agreement_ratio", "judge", text_at(judge, "name"));
	sl_buf_add_byte(b, ',');
	label(b, "category", category);
	sl_buf_print(b, "} %.6f\n", json_number_value(json_object_get(a, "value")));
}

static void agreements(struct sl_buf *b, const json_t *list)
{
	const json_t *judge, *category;
	size_t i, k;

	head(b, "sluice_judge_agreement_ratio", "gauge",
	     "Share of a judge's verdicts on probes that are the human's, by task category; category \"all\": of all.");
	json_array_foreach(list, i, judge)
	{
		agreement(b, judge, judge, "all");
		json_array_foreach(json_object_get(judge, "categories"), k, category)
			agreement(b, judge, category, text_at(category, "name"));
	}
}

static void shares(struct sl_buf *b, const json_t *list)
{
	static const struct {
		const char *key, *metric, *help;
	} lines[] = {
		{ "order_flips", "sluice_judge_order_flips_ratio",
		  "Share of answers in both orders that contradict each other, on probes." },
		{ "self_consistency", "sluice_judge_self_consistency_ratio",
		  "Share of a judge's samples that are its most frequent one, on probes." },
		{ "first", "sluice_judge_first_ratio",
		  "Share of verdicts for the answer that was shown first, on probes." },
	};
	const json_t *judge;
	size_t i;

	for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
		head(b, lines[k].metric, "gauge", lines[k].help);
		json_array_foreach(list, i, judge)
		{
			const json_t *share = json_object_get(judge, lines[k].key);

			if (json_integer_value(json_object_get(share, "count")) == 0)
				continue;
			sample(b, lines[k].metric, "judge", text_at(judge, "name"));
			sl_buf_print(b, "} %.6f\n", json_number_value(json_object_get(share, "value")));
		}
	}
}

static void counts(struct sl_buf *b, const json_t *list)
{
	static const struct {
		const char *key, *metric, *help;
	} lines[] = {
		{ "probes", "sluice_judge_probes_total", "Gold pairs put to a judge under the newest setting." },
		{ "tokens", "sluice_judge_probe_tokens_total", "Tokens of its answers about them." },
		{ "dollars", "sluice_judge_probe_dollars_total", "What these cost." },
	};
	const json_t *judge, *n;
	const char *word;
	size_t i;

	for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
		head(b, lines[k].metric, "counter", lines[k].help);
		json_array_foreach(list, i, judge)
		{
			if (k > 0 && json_is_true(json_object_get(judge, "panel")))
				continue;
			sample(b, lines[k].metric, "judge", text_at(judge, "name"));
			sl_buf_print(b, "} %.15g\n", json_number_value(json_object_get(judge, lines[k].key)));
		}
	}
	head(b, "sluice_judge_outcomes_total", "counter",
	     "A judge's answers about probes, by verdict or by why there is none.");
	json_array_foreach(list, i, judge)
	{
		json_object_foreach(json_object_get(judge, "votes"), word, n)
		{
			sample(b, "sluice_judge_outcomes_total", "judge", text_at(judge, "name"));
			sl_buf_add_byte(b, ',');
			label(b, "outcome", word);
			sl_buf_print(b, "} %" JSON_INTEGER_FORMAT "\n", json_integer_value(n));
		}
	}
}

static void errors(struct sl_buf *b, const json_t *list)
{
	const json_t *pair;
	size_t i;

	head(b, "sluice_judge_error_correlation", "gauge",
	     "Phi of the errors of two judges on the same probes: 1 they err together, 0 independently.");
	json_array_foreach(list, i, pair)
	{
		if (!json_object_get(pair, "phi"))
			continue;
		sample(b, "sluice_judge_error_correlation", "judge", text_at(pair, "judge"));
		sl_buf_add_byte(b, ',');
		label(b, "other", text_at(pair, "other"));
		sl_buf_print(b, "} %.6f\n", json_number_value(json_object_get(pair, "phi")));
	}
}

static void baselines(struct sl_buf *b, const json_t *judges)
{
	static const char *const names[] = { "longest_wins", "first_wins" };

	head(b, "sluice_judge_baseline_ratio", "gauge",
	     "Share of the same verdicts that a rule without a judge gets right.");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const json_t *a = json_object_get(judges, names[i]);

		if (json_integer_value(json_object_get(a, "count")))
			sl_buf_print(b, "sluice_judge_baseline_ratio{baseline=\"%s\"} %.6f\n", names[i],
				     json_number_value(json_object_get(a, "value")));
	}
}

void sl_judge_health_metrics(const json_t *judges, struct sl_buf *to)
{
	const json_t *list = json_object_get(judges, "judges");

	if (!judges)
		return;
	agreements(to, list);
	shares(to, list);
	counts(to, list);
	errors(to, json_object_get(judges, "errors"));
	baselines(to, judges);
}
