/* asking.c -- see asking.h. */
#include "asking.h"
#include "nearest.h"

#include "../schemas/codec.h"

#include <stdlib.h>

const char *const sl_asking_rules[] = { "posterior", "paper", NULL };
const char *const sl_asking_flips[] = { "off", "on", NULL };
const char *const sl_asking_backends[] = { SL_NEAREST, "llm", NULL };

/* -- per_source ---------------------------------------------------------------- */

static const struct number {
	const char *key;
	size_t offset;
	double least, most;
} numbers[] = {
	{ "keep", offsetof(struct sl_rule_settings, keep), SL_KEEP_LEAST, SL_KEEP_MOST },
	{ "flip", offsetof(struct sl_rule_settings, flip), SL_FLIP_LEAST, SL_FLIP_MOST },
	{ "label_noise", offsetof(struct sl_rule_settings, label_noise), SL_LABEL_NOISE_LEAST, SL_LABEL_NOISE_MOST },
	{ "band", offsetof(struct sl_rule_settings, band), SL_BAND_LEAST, SL_BAND_MOST },
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0], RULE = NUMBERS, FLIPS };

/* The next word, up to a space; size 0 at the end. */
static struct sl_bytes next_word(const char **at)
{
	struct sl_bytes word;

	*at += strspn(*at, " ");
	word = (struct sl_bytes){ *at, strcspn(*at, " ") };
	*at += word.size;
	return word;
}

static bool name_parse(const char **at, struct sl_bytes *name, struct sl_error *e)
{
	const char *end;

	*at += strspn(*at, " ");
	if (**at != '"') {
		*name = next_word(at);
	} else {
		end = strchr(++*at, '"');
		if (!end || (end[1] && end[1] != ' '))
			return sl_error_set(e, SL_STOP, "the name of the source must end with '\"' and a space");
		*name = (struct sl_bytes){ *at, (size_t)(end - *at) };
		*at = end + 1;
	}
	if (name->size == 0)
		return sl_error_set(e, SL_STOP, "must begin with the name of a source");
	return true;
}

static bool number_parse(const struct number *n, struct sl_bytes text, struct sl_rule_settings *s, struct sl_error *e)
{
	double *to = (double *)(void *)((char *)s + n->offset);
	char copy[32] = "", *end = copy;

	if (text.size < sizeof copy) {
		memcpy(copy, text.data, text.size);
		*to = strtod(copy, &end);
	}
	if (text.size == 0 || end != copy + text.size || !(*to >= n->least && *to <= n->most))
		return sl_error_set(e, SL_STOP, "'%s': '%.*s' is not a number from %g to %g", n->key, (int)text.size,
				    (const char *)text.data, n->least, n->most);
	return true;
}

/* The index of the key, or -1. */
static int key_find(struct sl_bytes key)
{
	for (int i = 0; i < NUMBERS; i++)
		if (sl_is(key, numbers[i].key))
			return i;
	return sl_is(key, "rule") ? RULE : sl_is(key, "flips") ? FLIPS : -1;
}

static bool rule_parse(struct sl_bytes word, struct sl_way *to, struct sl_error *e)
{
	for (const char *const *rule = sl_asking_rules; *rule; rule++)
		if (sl_is(word, *rule)) {
			to->rule = sl_rule_find(*rule);
			return true;
		}
	return sl_error_set(e, SL_STOP, "'rule': '%.*s' is not one of: posterior, paper", (int)word.size,
			    (const char *)word.data);
}

static bool setting_parse(struct sl_bytes word, struct sl_way *to, unsigned *seen, struct sl_error *e)
{
	const char *equals = memchr(word.data, '=', word.size);
	struct sl_bytes key = { word.data, equals ? (size_t)(equals - (const char *)word.data) : word.size };
	struct sl_bytes value = { equals ? equals + 1 : NULL, equals ? word.size - key.size - 1 : 0 };
	int which = key_find(key);

	if (!equals || which < 0)
		return sl_error_set(
			e, SL_STOP,
			"'%.*s' is not known: rule=, keep=, flip=, flips=, label_noise=, band=, or pass alone",
			(int)word.size, (const char *)word.data);
	if (*seen >> which & 1)
		return sl_error_set(e, SL_STOP, "'%.*s' stands twice", (int)key.size, (const char *)key.data);
	*seen |= 1u << which;
	if (which == RULE)
		return rule_parse(value, to, e);
	if (which < NUMBERS)
		return number_parse(&numbers[which], value, &to->settings, e);
	if (!sl_is(value, "on") && !sl_is(value, "off"))
		return sl_error_set(e, SL_STOP, "'flips': '%.*s' is not one of: off, on", (int)value.size,
				    value.data ? (const char *)value.data : "");
	to->settings.flips = sl_is(value, "on");
	return true;
}

bool sl_way_parse(const char *text, const struct sl_way *usual, struct sl_way *to, struct sl_error *e)
{
	struct sl_bytes word;
	unsigned seen = 0;

	*to = *usual;
	if (!name_parse(&text, &to->source, e))
		return false;
	word = next_word(&text);
	if (word.size == 0)
		return sl_error_set(e, SL_STOP,
				    "says nothing: add rule=, keep=, flip=, flips=, label_noise=, band= or pass");
	if (sl_is(word, "pass")) {
		to->rule = &sl_rule_pass;
		word = next_word(&text);
		return word.size == 0 || sl_error_set(e, SL_STOP, "'%.*s' behind pass, which stands alone",
						      (int)word.size, (const char *)word.data);
	}
	for (; word.size; word = next_word(&text))
		if (!setting_parse(word, to, &seen, e))
			return false;
	return true;
}

struct sl_bytes sl_asking_witness(const struct sl_asking *a)
{
	return sl_text(strcmp(a->backend, SL_NEAREST) == 0 ? SL_NEAREST : a->panel);
}

enum sl_verdict sl_asking_open(struct sl_task *task, struct sl_asking *a, enum sl_without_gold without_gold)
{
	struct sl_error e = { 0 };

	if (a->panel[0] == 0 || strcmp(a->panel, SL_NEAREST) == 0)
		return sl_fail(task, SL_STOP,
			       "option 'panel': '%s' cannot be the name of a panel of LLM judges: "
			       "choose a word of your own",
			       a->panel);
	a->seen = -1;
	a->ways = sl_calloc(1 + a->per_source.count, sizeof *a->ways);
	a->way_count = 1;
	a->ways[0] = (struct sl_way){
		.rule = sl_rule_find(a->rule),
		.settings = { .band = a->band,
			      .flips = strcmp(a->flips, "on") == 0,
			      .without_gold = without_gold,
			      .keep = a->keep,
			      .flip = a->flip,
			      .label_noise = a->label_noise,
			      .judge_accuracy = a->judge_accuracy,
			      .judge = sl_asking_witness(a) },
	};
	for (size_t i = 0; i < a->per_source.count; i++) {
		struct sl_way *way = &a->ways[a->way_count];

		if (!sl_way_parse(a->per_source.at[i], &a->ways[0], way, &e))
			return sl_fail(task, SL_STOP, "option 'per_source': '%s': %s", a->per_source.at[i], e.text);
		for (size_t k = 1; k < a->way_count; k++)
			if (sl_bytes_equal(a->ways[k].source, way->source))
				return sl_fail(task, SL_STOP, "option 'per_source': source '%.*s' stands twice",
					       (int)way->source.size, (const char *)way->source.data);
		a->way_count++;
	}
	return SL_OK;
}

const struct sl_way *sl_asking_way(const struct sl_asking *a, const struct sl_pair *p)
{
	for (size_t i = 1; i < a->way_count; i++)
		if (sl_bytes_equal(a->ways[i].source, p->source))
			return &a->ways[i];
	return &a->ways[0];
}

bool sl_asks(const struct sl_asking *a, const struct sl_pair *p)
{
	const struct sl_way *way = sl_asking_way(a, p);

	return sl_rule_asks(way->rule, &way->settings, p);
}

/* -- the posterior --------------------------------------------------------------- */

static void posterior_set(struct sl_asking *a, struct sl_posterior *p, int64_t version, struct sl_bytes sha256)
{
	sl_posterior_close(a->posterior);
	a->posterior = p;
	a->posterior_version = version;
	memset(a->sha256, 0, sizeof a->sha256);
	if (sha256.size && sha256.size < sizeof a->sha256)
		memcpy(a->sha256, sha256.data, sha256.size);
	for (size_t i = 0; i < a->way_count; i++)
		a->ways[i].settings.posterior = p;
}

static bool waits(const struct sl_asking *a)
{
	for (size_t i = 0; i < a->way_count; i++)
		if (a->ways[i].rule == &sl_rule_posterior)
			return true;
	return false;
}

static enum sl_verdict posterior_open(struct sl_task *task, struct sl_asking *a, const struct sl_model_record *m)
{
	struct sl_error e = { 0 };
	char *uri = sl_arena_print(sl_task_arena(task), "%.*s", (int)m->uri.size, (const char *)m->uri.data);
	struct sl_posterior *p = sl_posterior_open(sl_task_path(task, uri), m->sha256, &e);

	if (!p)
		return sl_fail(task, e.verdict, "model 'posterior' version %lld: %s", (long long)m->version, e.text);
	posterior_set(a, p, m->version, m->sha256);
	return SL_OK;
}

enum sl_verdict sl_asking_update(struct sl_task *task, struct sl_asking *a, int table)
{
	int64_t version = sl_table_version(task, table);
	enum sl_verdict v = SL_OK;
	struct sl_model_record m;
	struct sl_bytes record;
	struct sl_error e = { 0 };

	if (version == a->seen)
		return SL_OK;
	if (!sl_table_get(task, table, sl_text("posterior"), &record)) {
		if (waits(a))
			return sl_fail(
				task, SL_WAIT,
				"waiting for model 'posterior', by which rule 'posterior' decides: no version of it "
				"has been announced; trainer 'posterior' fits it as soon as there is a gold model");
		posterior_set(a, NULL, 0, (struct sl_bytes){ 0 });
		a->seen = version;
		return SL_OK;
	}
	if (!sl_model_decode(record, sl_task_arena(task), &m, &e))
		return sl_fail(task, SL_STOP, "record 'posterior' of the models table: %s", e.text);
	if (m.version == 0)
		posterior_set(a, NULL, 0, (struct sl_bytes){ 0 });
	else if (!a->posterior || a->posterior_version != m.version || !sl_is(m.sha256, a->sha256))
		v = posterior_open(task, a, &m);
	if (v == SL_OK)
		a->seen = version;
	return v;
}

void sl_asking_close(struct sl_asking *a)
{
	sl_posterior_close(a->posterior);
	free(a->ways);
	a->posterior = NULL;
	a->ways = NULL;
	a->way_count = 0;
}
