/* settings.c -- what can be set, by flags at the start and by POST /control later: one table for both. Texts are kept
 * in an arena for as long as the process lives: they are few. */
#include "llm.h"

#include "topology/options.h"

#include <stddef.h>
#include <stdlib.h>

struct sl_arena settings_arena;

#define AT(field) offsetof(struct settings, field)
#define SHARE(n, d, h)                                                                                                 \
	{                                                                                                              \
		.name = #n, .type = SL_OPTION_REAL, .offset = AT(n), .value = d, .most = 1, .help = h                  \
	}
#define COUNT(n, d, m, h)                                                                                              \
	{                                                                                                              \
		.name = #n, .type = SL_OPTION_COUNT, .offset = AT(n), .value = d, .most = m, .help = h                 \
	}
#define REAL(n, d, h)                                                                                                  \
	{                                                                                                              \
		.name = #n, .type = SL_OPTION_REAL, .offset = AT(n), .value = d, .most = 1e6, .help = h                \
	}
#define TEXT(n, f, h)                                                                                                  \
	{                                                                                                              \
		.name = #n, .type = SL_OPTION_TEXT, .offset = AT(f), .value = "", .help = h                            \
	}
#define BOOL(n, h)                                                                                                     \
	{                                                                                                              \
		.name = #n, .type = SL_OPTION_BOOL, .offset = AT(n), .value = "false", .help = h                       \
	}

static const struct sl_option table[] = {
	COUNT(port, "0", 65535, "on the loopback; 0: any that is free; printed at the start"),
	COUNT(seed, "1", 1e15, "of every draw"),
	TEXT(key, key, "the API key that is asked for; empty: any"),
	TEXT(models, models_text, "NAME[ accuracy=A][ accuracy_examples=A][ bias=B], ...; empty: every name is one"),
	TEXT(faults, faults_text, "KIND=SHARE,...: see faults.c; all=0.2 is spread over what passes"),
	TEXT(truth, truth, "pairs whose chosen is the better answer, or truth.jsonl of sluice-sample"),
	TEXT(log, log, "a file for a line per request"),
	TEXT(tls_cert, tls_cert, "PEM: speak TLS"),
	TEXT(tls_key, tls_key, "PEM"),
	SHARE(accuracy, "0.85", "share of pairs that are judged right"),
	SHARE(accuracy_examples, "0.85", "the same with examples in the prompt"),
	SHARE(bias, "0.15", "share of pairs where Candidate 1 is taken unread"),
	SHARE(correlated, "0", "share of pairs on which all models draw as one"),
	SHARE(wobble, "0.2", "share of samples of one question that are drawn anew"),
	SHARE(ties, "0", "share of pairs that are called a tie"),
	REAL(latency_ms, "0", "until an answer comes; the median"),
	REAL(sigma, "0", "of log-normal latency; 0: always the same"),
	COUNT(drip_ms, "50", 1e6, "between the bytes of a slow drip"),
	COUNT(context, "0", 1e9, "tokens of prompt and answer at most; 0: any"),
	COUNT(rpm, "0", 1e9, "requests per minute; over it 429; 0: any"),
	COUNT(tpm, "0", 1e12, "tokens per minute"),
	COUNT(concurrency, "0", 1e6, "requests at once"),
	COUNT(dimensions, "64", 4096, "of embeddings"),
	COUNT(batch_ms, "0", 1e9, "until a batch is done; 0: when /control says end_batches"),
	SHARE(batch_cut, "0", "of batches that are made, but the connection is reset in place of an answer"),
	REAL(price_prompt, "0", "dollars per million tokens"),
	REAL(price_cached, "0", "dollars per million tokens of the prompt that were cached"),
	REAL(price_completion, "0", "dollars per million tokens"),
	SHARE(cached, "0", "of a prompt"),
	REAL(reasoning, "0", "tokens of reasoning in each answer"),
	BOOL(chunked, "answers in chunks"),
	BOOL(close, "a connection serves one request"),
	{ .name = NULL },
};

/* One of models: "NAME accuracy=A ...". */
static bool read_model(const struct settings *s, const char *text, size_t size, struct model *m, struct sl_error *e)
{
	char *copy = sl_arena_copy(&settings_arena, text, size + 1), *rest;

	copy[size] = 0;
	copy += strspn(copy, " ");
	*m = (struct model){ strtok_r(copy, " ", &rest), s->accuracy, s->accuracy_examples, s->bias };
	if (!m->name)
		return sl_error_set(e, SL_STOP, "a model needs a name");
	for (char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;) {
		char *end = word, *value = strchr(word, '=');
		double n = value ? strtod(value + 1, &end) : -1;

		if (!value || end == value + 1 || *end || !(n >= 0 && n <= 1))
			return sl_error_set(e, SL_STOP, "'%s' of model '%s' is not NAME=SHARE", word, m->name);
		*value = 0;
		if (strcmp(word, "accuracy") == 0)
			m->accuracy = n;
		else if (strcmp(word, "accuracy_examples") == 0)
			m->accuracy_examples = n;
		else if (strcmp(word, "bias") == 0)
			m->bias = n;
		else
			return sl_error_set(e, SL_STOP, "'%s' of model '%s' is not known", word, m->name);
	}
	return true;
}

static bool derive(struct settings *s, struct sl_error *e)
{
	const char *at = s->models_text;

	s->models = NULL;
	s->model_count = 0;
	while (*at) {
		size_t size = strcspn(at, ",");
		struct model *more = sl_arena_alloc(&settings_arena, (s->model_count + 1) * sizeof *more);

		if (s->model_count)
			memcpy(more, s->models, s->model_count * sizeof *more);
		s->models = more;
		if (!read_model(s, at, size, &more[s->model_count], e))
			return false;
		s->model_count++;
		at += size + (at[size] == ',');
	}
	return faults_parse(s->faults_text, &s->faults, e);
}

static bool set(struct settings *s, const char *name, const char *text, struct sl_error *e)
{
	for (const struct sl_option *o = table; o->name; o++)
		if (strcmp(o->name, name) == 0)
			return sl_option_parse(&settings_arena, o, text, s, e) || sl_error_in(e, "%s", name);
	return sl_error_set(e, SL_STOP, "'%s' is not a setting; --help lists them", name);
}

bool settings_flags(struct settings *s, int argc, char **argv, struct sl_error *e)
{
	for (const struct sl_option *o = table; o->name; o++)
		if (!set(s, o->name, o->value, e))
			return false;
	for (int i = 1; i < argc; i += 2) {
		char name[64];

		if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc)
			return sl_error_set(e, SL_STOP, "'%s' is not a flag with a value", argv[i]);
		snprintf(name, sizeof name, "%s", argv[i] + 2);
		for (char *c = name; *c; c++)
			*c = *c == '-' ? '_' : *c;
		if (!set(s, name, argv[i + 1], e))
			return false;
	}
	return derive(s, e);
}

bool settings_change(struct settings *s, const json_t *object, struct sl_error *e)
{
	struct settings changed = *s;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		const char *text = json_is_string(value) ? json_string_value(value)
							 : sl_json_dump(&settings_arena, value, false).data;

		if (!set(&changed, name, text, e))
			return false;
	}
	if (!derive(&changed, e))
		return false;
	*s = changed;
	return true;
}

void settings_help(struct sl_buf *to)
{
	for (const struct sl_option *o = table; o->name; o++)
		sl_buf_print(to, "  --%-18s %-6s %s\n", o->name, o->value, o->help);
}

bool settings_model(const struct settings *s, const char *name, struct model *to)
{
	for (size_t i = 0; i < s->model_count; i++) {
		*to = s->models[i];
		if (strcmp(to->name, name) == 0)
			return true;
	}
	*to = (struct model){ name, s->accuracy, s->accuracy_examples, s->bias };
	return s->model_count == 0;
}
