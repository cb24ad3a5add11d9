/* estimate.c -- see estimate.h. One pass over the file draws the sample, line by line (a reservoir: every pair has the
 * same chance, Vitter 1985); then each kind of call is made for each pair of it, and thrown away after counting. One
 * thread. */
#include "estimate.h"

#include "../operators/annotate.h"
#include "../operators/cosine.h"
#include "../operators/describing.h"
#include "../operators/remote.h"
#include "../schemas/jsonl.h"
#include "../schemas/lines.h"
#include "budget.h"
#include "judge_health.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES_PER_TOKEN 4
#define DESIRED_BYTES 100 /* of a description that does not exist yet */
#define GUIDELINE_BYTES 260

struct drawn {
	char *line;
	size_t size, item; /* the item-th pair of the line */
};

struct estimating {
	const struct sl_topology *t;
	const char *data;
	struct sl_estimate *to;
	struct drawn *drawn;
	struct sl_arena arena;     /* of pairs */
	struct sl_arena scratch;   /* of a body */
	struct sl_pair *pairs;     /* the sample, as it stands in the file */
	struct sl_pair *described; /* the same with attributes, as judges see it behind a step that describes */
	struct sl_buf body;
};

/* -- the sample --------------------------------------------------------------------- */

static void keep(struct estimating *x, size_t at, const struct sl_line *line, size_t item)
{
	struct drawn *d = &x->drawn[at];

	d->line = sl_realloc(d->line, line->text.size + 1);
	memcpy(d->line, line->text.data, line->text.size);
	d->size = line->text.size;
	d->item = item;
}

static void draw(struct estimating *x, const struct sl_line *line, int64_t sample, uint64_t *random)
{
	static const struct sl_keys keys;
	struct sl_parsed parsed;
	struct sl_error ignored;

	sl_arena_clear(&x->scratch);
	if (line->too_long || !sl_jsonl_parse(line->text, &keys, &x->scratch, &parsed, &ignored)) {
		x->to->invalid++;
		return;
	}
	for (size_t i = 0; i < parsed.pair_count; i++) {
		uint64_t at = (uint64_t)x->to->pairs++;

		if (at >= (uint64_t)sample)
			at = sl_mix64(*random += 0x9e3779b97f4a7c15u) % (at + 1);
		if (at < (uint64_t)sample)
			keep(x, (size_t)at, line, i);
	}
}

static bool read_file(struct estimating *x, const char *path, int64_t sample, struct sl_error *e)
{
	struct sl_lines *lines = sl_lines_open(path, (size_t)x->t->entry_max_bytes, e);
	enum sl_lines_result got = SL_LINES_ERROR;
	uint64_t random = 1;
	struct sl_line line;

	while (lines && (got = sl_lines_next(lines, &line, e)) == SL_LINES_LINE)
		if (line.size)
			draw(x, &line, sample, &random);
	sl_lines_close(lines);
	x->to->sampled = x->to->pairs < sample ? x->to->pairs : sample;
	if (got == SL_LINES_END && x->to->pairs == 0)
		return sl_error_set(e, SL_STOP, "'%s' holds no preference pair, and %" PRId64 " lines that are none",
				    path, x->to->invalid);
	return got == SL_LINES_END;
}

static struct sl_bytes filler(struct estimating *x, size_t size)
{
	char *text = sl_arena_alloc(&x->arena, size + 1);

	for (size_t i = 0; i < size; i++)
		text[i] = i % 6 == 5 ? ' ' : 'w';
	return (struct sl_bytes){ text, size };
}

static void parse_sample(struct estimating *x)
{
	static const struct sl_keys keys;
	const struct sl_attributes made_up = { .present = true,
					       .category = sl_text("Instruction Following"),
					       .objectivity = sl_text("subjective"),
					       .controversiality = sl_text("low"),
					       .desired = filler(x, DESIRED_BYTES),
					       .guideline = filler(x, GUIDELINE_BYTES) };
	size_t count = (size_t)x->to->sampled;

	x->pairs = sl_arena_zalloc(&x->arena, count * sizeof *x->pairs);
	x->described = sl_arena_zalloc(&x->arena, count * sizeof *x->described);
	for (size_t i = 0; i < count; i++) {
		struct sl_bytes line = { x->drawn[i].line, x->drawn[i].size };
		struct sl_parsed parsed;
		struct sl_error ignored;

		if (!sl_jsonl_parse(line, &keys, &x->arena, &parsed, &ignored))
			abort(); /* it was read once */
		x->pairs[i] = parsed.pairs[x->drawn[i].item];
		sl_pair_identify(&x->pairs[i], &x->scratch);
		x->described[i] = x->pairs[i];
		if (!x->pairs[i].attributes.present)
			x->described[i].attributes = made_up;
	}
}

/* -- counting ----------------------------------------------------------------------- */

static size_t endpoint_of(const struct sl_topology *t, const char *name)
{
	size_t i = 0;

	while (strcmp(t->endpoints[i].name, name) != 0)
		i++; /* config_steps.c: every endpoint that an option names is there */
	return i;
}

static struct sl_estimate_line *line_new(struct estimating *x, const struct sl_step *step, const char *what,
					 const char *endpoint)
{
	struct sl_estimate *to = x->to;

	to->lines = sl_realloc(to->lines, (to->count + 1) * sizeof *to->lines);
	to->lines[to->count] =
		(struct sl_estimate_line){ .step = step->name, .what = what, .endpoint = endpoint_of(x->t, endpoint) };
	return &to->lines[to->count++];
}

/* The body in x->body is one call about one of the pairs. */
static void count(struct estimating *x, struct sl_estimate_line *l, int64_t tokens_expected, int64_t tokens_most)
{
	const struct sl_endpoint_def *asked = &x->t->endpoints[l->endpoint];
	const struct sl_price *price = asked->price;
	double pairs = (double)x->to->sampled, prompt = (double)x->body.size / BYTES_PER_TOKEN;
	double part = asked->batching.on ? asked->batching.discount : 1; /* of the price */
	double completion = (double)(tokens_expected < tokens_most ? tokens_expected : tokens_most);

	l->calls += 1 / pairs;
	l->bytes += (double)x->body.size / pairs;
	l->prompt_tokens += prompt / pairs;
	l->completion_tokens += completion / pairs;
	if (price)
		l->dollars += part * (prompt * price->prompt + completion * price->completion) / 1e6 / pairs;
	l->dollars_most += part * (double)sl_price_most(price, x->body.size, tokens_most) / 1e6 / pairs;
	sl_buf_clear(&x->body);
	sl_arena_clear(&x->scratch);
}

/* -- the steps ---------------------------------------------------------------------- */

static const void *option(const struct sl_step *s, const char *name)
{
	for (const struct sl_option *o = s->op->options; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return (const char *)s->self_image + o->offset;
	abort(); /* an option of ours */
}

static const char *text_option(const struct sl_step *s, const char *name)
{
	return *(const char *const *)option(s, name);
}

static int64_t count_option(const struct sl_step *s, const char *name)
{
	return *(const int64_t *)option(s, name);
}

/* As sl_task_path. */
static const char *path_of(struct estimating *x, const char *path)
{
	const char *beside = sl_arena_print(&x->arena, "%s/%s", x->t->folder, path);
	const char *inside = sl_arena_print(&x->arena, "%s/%s", x->data, path);

	if (path[0] == '/')
		return path;
	return access(beside, F_OK) != 0 && access(inside, F_OK) == 0 ? inside : beside;
}

static const char *model_of(const struct estimating *x, const struct sl_estimate_line *l)
{
	const char *model = x->t->endpoints[l->endpoint].model;

	return model ? model : "";
}

static bool describe(struct estimating *x, struct sl_estimate_line *l, const char *prompt, struct sl_describing d,
		     bool all, struct sl_error *e)
{
	struct sl_prompt *p = sl_describing_open(path_of(x, prompt), e);

	if (!p)
		return false;
	d.prompt = p;
	d.model = model_of(x, l);
	for (int64_t i = 0; i < x->to->sampled; i++) {
		const struct sl_bytes none = { 0 };

		if (!all && x->pairs[i].attributes.present)
			continue;
		sl_describing_body(&d, &x->pairs[i], none, none, &x->scratch, &x->body);
		count(x, l, SL_ESTIMATE_ATTRIBUTES_TOKENS, d.tokens_max);
	}
	sl_prompt_close(p);
	return true;
}

static bool attributes(struct estimating *x, const struct sl_step *s, struct sl_error *e)
{
	struct sl_estimate_line *l = line_new(x, s, "attributes", text_option(s, "endpoint"));
	const struct sl_describing d = {
		.temperature = *(const double *)option(s, "temperature"),
		.tokens_max = count_option(s, "max_tokens"),
		.text_max = (size_t)count_option(s, "text_max"),
		.extra = text_option(s, "extra"),
	};

	return describe(x, l, text_option(s, "prompt"), d, strcmp(text_option(s, "only"), "all") == 0, e);
}

/* The pair as judges see it, with others of the sample for gold pairs; none of its own group. */
static struct sl_pair with_examples(struct estimating *x, size_t at, size_t most, bool described,
				    const struct sl_pair *examples[SL_COSINE_K_MAX])
{
	const struct sl_pair *from = described ? x->described : x->pairs;
	struct sl_pair p = from[at];
	size_t pairs = (size_t)x->to->sampled;

	p.exemplars = sl_arena_zalloc(&x->scratch, most * sizeof *p.exemplars);
	p.exemplar_count = 0;
	for (size_t i = 1; i < pairs && p.exemplar_count < most; i++) {
		const struct sl_pair *example = &from[(at + i) % pairs];

		if (sl_id_equal(example->group, p.group))
			continue;
		examples[p.exemplar_count] = example;
		p.exemplars[p.exemplar_count++] = (struct sl_exemplar){ .id = example->id,
									.similarity = 0.5,
									.label = sl_text("chosen"),
									.attributes = example->attributes };
	}
	return p;
}

/* Every order and sample in which a judge is asked about a pair. */
static void judge_pair(struct estimating *x, struct sl_estimate_line *l, const struct sl_judge_llm *o,
		       struct sl_judging *j, size_t at, size_t examples_most, bool described)
{
	bool both = strcmp(o->order, "both") == 0, random = strcmp(o->order, "random") == 0;
	enum sl_judging_order drawn = random ? sl_judging_order_of(x->pairs[at].id, j->seed) : SL_CHOSEN_FIRST;

	for (int order = 0; order < (both ? 2 : 1); order++)
		for (int64_t sample = 0; sample < o->samples; sample++) {
			const struct sl_pair *examples[SL_COSINE_K_MAX];
			struct sl_pair p = with_examples(x, at, examples_most, described, examples);
			const struct sl_bytes none = { 0 };

			sl_judging_body(j, &p, examples, order ? SL_REJECTED_FIRST : drawn, none, none, &x->scratch,
					&x->body);
			count(x, l, SL_ESTIMATE_VERDICT_TOKENS, j->tokens_max);
		}
}

static void judge(struct estimating *x, const struct sl_step *s, const char *endpoint, bool second,
		  struct sl_prompt *prompt, bool described)
{
	const struct sl_judge_llm *o = &((const struct sl_annotate *)s->self_image)->llm;
	const int64_t *k = sl_option_of(x->t, "retrieve", "k");
	struct sl_estimate_line *l = line_new(x, s, second ? "second opinion" : "verdict", endpoint);
	struct sl_judging j = {
		.prompt = prompt,
		.model = model_of(x, l),
		.temperature = o->temperature,
		.tokens_max = o->max_tokens,
		.text_max = (size_t)o->text_max,
		.examples_max = (size_t)o->examples,
		.seed = (uint64_t)o->seed,
		.extra = o->extra,
	};
	int64_t most = k && *k < o->examples ? *k : k ? o->examples : 0;

	l->asked = strcmp(text_option(s, "when"), "always") != 0;
	l->probes = true;
	l->maybe = second;
	for (int64_t i = 0; i < x->to->sampled; i++)
		judge_pair(x, l, o, &j, (size_t)i, (size_t)most, described);
}

static bool annotate(struct estimating *x, const struct sl_step *s, struct sl_error *e)
{
	const struct sl_annotate *n = s->self_image;
	const struct sl_judge_llm *o = &n->llm;
	bool missing = strcmp(o->attributes, "missing") == 0,
	     before = sl_option_of(x->t, "attributes", "endpoint") != NULL;
	struct sl_prompt *prompt;

	if (strcmp(n->asking.backend, SL_NEAREST) == 0)
		return true;
	if (o->judges.count == 0)
		return sl_error_set(e, SL_STOP, "step '%s': backend 'llm' needs the option 'judges'", s->name);
	if (missing && !before) {
		const struct sl_describing d = { .temperature = o->temperature,
						 .tokens_max = o->max_tokens,
						 .text_max = (size_t)o->text_max,
						 .extra = o->extra };
		struct sl_estimate_line *l =
			line_new(x, s, "attributes", o->attributes_judge[0] ? o->attributes_judge : o->judges.at[0]);

		l->asked = strcmp(text_option(s, "when"), "always") != 0;
		l->probes = true;
		if (!describe(x, l, o->attributes_path, d, false, e))
			return sl_error_in(e, "step '%s'", s->name);
	}
	prompt = sl_judging_open(path_of(x, o->prompt_path), e);
	if (!prompt)
		return sl_error_in(e, "step '%s'", s->name);
	for (size_t i = 0; i < o->judges.count; i++)
		judge(x, s, o->judges.at[i], false, prompt, missing || before);
	for (size_t i = 0; i < o->second.count; i++)
		judge(x, s, o->second.at[i], true, prompt, missing || before);
	sl_prompt_close(prompt);
	return true;
}

static void embed(struct estimating *x, const struct sl_step *s)
{
	enum sl_vector_api api = strcmp(text_option(s, "api"), "tei") == 0 ? SL_VECTOR_TEI : SL_VECTOR_OPENAI;
	size_t most = (size_t)count_option(s, "text_max");
	struct sl_estimate_line *l;

	if (strcmp(text_option(s, "backend"), "http") != 0)
		return;
	l = line_new(x, s, "vector", text_option(s, "endpoint"));
	for (int64_t i = 0; i < x->to->sampled; i++) {
		struct sl_bytes text = sl_messages_text(&x->pairs[i].prompt, &x->scratch);
		const char *prefix = text_option(s, "prefix");
		struct sl_buf all = { 0 };

		sl_buf_add(&all, prefix, strlen(prefix));
		sl_buf_add(&all, text.data, text.size < most ? text.size : most); /* as long as its end */
		sl_remote_vector_body(api, model_of(x, l), 0, sl_buf_bytes(&all), &x->body);
		count(x, l, 0, 0);
		sl_buf_release(&all);
	}
}

static void score(struct estimating *x, const struct sl_step *s)
{
	const struct sl_list *remote = option(s, "remote");
	struct sl_rewards r = {
		.api = strcmp(text_option(s, "remote_api"), "sglang") == 0 ? SL_REWARD_SGLANG : SL_REWARD_VLLM,
		.template = sl_reward_template_find(text_option(s, "remote_template")),
	};

	for (size_t m = 0; m < remote->count; m++) {
		struct sl_estimate_line *l = line_new(x, s, "reward", remote->at[m]);

		r.model = model_of(x, l);
		for (int64_t i = 0; i < x->to->sampled; i++)
			for (int call = 0; call < sl_rewards_calls(&r); call++) {
				sl_rewards_body(&r, &x->pairs[i], call, &x->body);
				count(x, l, 0, 0);
			}
	}
}

static bool steps(struct estimating *x, struct sl_error *e)
{
	const double *probes = sl_option_of(x->t, "retrieve", "probes");

	x->to->probes = probes ? *probes : 0;
	for (size_t i = 0; i < x->t->step_count; i++) {
		const struct sl_step *s = &x->t->steps[i];
		bool done = true;

		if (strcmp(s->op->name, "attributes") == 0)
			done = attributes(x, s, e);
		else if (strcmp(s->op->name, "annotate") == 0)
			done = annotate(x, s, e);
		else if (strcmp(s->op->name, "embed") == 0)
			embed(x, s);
		else if (strcmp(s->op->name, "score") == 0)
			score(x, s);
		if (!done)
			return false;
	}
	return true;
}

bool sl_estimate_make(const struct sl_topology *t, const char *data, const char *path, int64_t sample,
		      struct sl_estimate *to, struct sl_error *e)
{
	struct estimating x = { .t = t, .data = data, .to = to };
	bool done;

	*to = (struct sl_estimate){ 0 };
	x.drawn = sl_calloc((size_t)sample, sizeof *x.drawn);
	done = read_file(&x, path, sample, e);
	if (done) {
		parse_sample(&x);
		done = steps(&x, e);
	}
	for (int64_t i = 0; i < sample; i++)
		free(x.drawn[i].line);
	free(x.drawn);
	sl_buf_release(&x.body);
	sl_arena_release(&x.arena);
	sl_arena_release(&x.scratch);
	if (!done)
		sl_estimate_release(to);
	return done;
}

void sl_estimate_release(struct sl_estimate *x)
{
	free(x->lines);
	*x = (struct sl_estimate){ 0 };
}

/* -- a status -------------------------------------------------------------------------- */

double sl_estimate_share(const json_t *status, int64_t *pairs)
{
	const json_t *step, *port;
	int64_t judged = 0, not_asked = 0;
	size_t i, k;

	json_array_foreach(json_object_get(status, "steps"), i, step)
	{
		const char *name = json_string_value(json_object_get(step, "operator"));

		if (!name || strcmp(name, "annotate") != 0)
			continue;
		json_array_foreach(json_object_get(step, "ports"), k, port)
		{
			const char *to = json_string_value(json_object_get(port, "port"));
			const json_t *codes = json_object_get(port, "codes");

			if (to && strcmp(to, "judged") == 0) {
				judged += json_integer_value(json_object_get(port, "out"));
				not_asked += json_integer_value(json_object_get(codes, "not_asked"));
			} else if (to && strcmp(to, "deferred") == 0) { /* what waits for a batch comes back */
				judged += json_integer_value(json_object_get(codes, "no_budget")) +
					  json_integer_value(json_object_get(codes, "away"));
			}
		}
	}
	*pairs = judged;
	return judged ? (double)(judged - not_asked) / (double)judged : NAN;
}
