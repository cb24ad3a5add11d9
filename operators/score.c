/* score.c -- what the reward models think of a pair.
 *
 * Every model named in `models` gives a reward to each answer. Which version of a
 * model speaks is said by the `models` table; the folder it names is opened once
 * and kept until the table names another one. Tables change between
 * transactions only, so all pairs of a transaction are scored by the same
 * versions, and the trail says which.
 *
 * A model can be away in two ways. Announced as absent (version 0): it will not
 * come now, its score is left out. Not announced at all: if `wait_for` names it, the
 * step waits for it; if not, its score is left out.
 *
 * Or it is not ours at all: a model in `remote` is asked of the endpoint of its name (remote.h), one pair a call. No
 * trainer fits a temperature for it, so that is an option; and it must not be trained here too, because what the
 * posterior learns about the trained one would be said of the other. A pair whose rewards cannot be had is a dead
 * letter. */
#include "remote.h"

#include "../schemas/codec.h"
#include "../trainer/model.h"

#include <stdlib.h>

enum { SCORED };
static const char *const ports[] = { "scored", NULL };

enum { MODELS };
static const char *const tables[] = { "models", NULL };

enum { MODELS_MAX = 8 };

/* One name of the list; the open version is kept while the table says so. */
struct slot {
	bool remote;
	double temperature;        /* remote */
	struct sl_rewards rewards; /* remote */
	int64_t version;           /* 0: absent */
	char sha256[SL_SHA256_HEX_SIZE];
	struct sl_model *model;
};

struct score {
	struct sl_list models, wait_for, remote, temperatures;
	const char *api, *template;
	int64_t remote_version;
	int64_t seen; /* version of the table that the slots were read at; -1: not yet */
	struct slot slots[MODELS_MAX];
	struct sl_buf body;
};

static const char *const apis[] = { "vllm", "sglang", NULL };

static const struct sl_option options[] = {
	{ .name = "models",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct score, models),
	  .value = "[gold, best]",
	  .help = "models to score with, by their names in the models table; 1 to 8" },
	{ .name = "wait_for",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct score, wait_for),
	  .value = "[gold]",
	  .help = "models to wait for until a version is announced; others are left out until then" },
	{ .name = "remote",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct score, remote),
	  .value = "[]",
	  .endpoint = true,
	  .help = "of the models, those that a server has: each is asked of the endpoint that is called like the "
		  "model" },
	{ .name = "remote_api",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct score, api),
	  .value = "vllm",
	  .words = apis,
	  .help = "how remote models are asked: POST /classify of vllm (0.13 or later) or of sglang; their urls have "
		  "no /v1" },
	{ .name = "remote_template",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct score, template),
	  .value = "messages",
	  .words = sl_reward_templates,
	  .help = "how remote models are shown a conversation: messages: the server writes it as its model wants it, "
		  "vllm only; or as text of that form" },
	{ .name = "remote_temperatures",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct score, temperatures),
	  .value = "[]",
	  .help = "one for each remote model: p = sigmoid(margin / temperature); none: 1, as Bradley-Terry models are "
		  "trained" },
	{ .name = "remote_version",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct score, remote_version),
	  .value = "1",
	  .least = 1,
	  .most = 0x1p53,
	  .help = "of remote models, for the record of scores; other weights need another model name at the endpoint "
		  "too, or the memo answers for them" },
	{ 0 },
};

static bool listed(const struct sl_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->at[i], name) == 0)
			return true;
	return false;
}

/* The place of a name in `models`; -1: none. */
static int place_of(const struct score *s, const char *name)
{
	for (size_t i = 0; i < s->models.count; i++)
		if (strcmp(s->models.at[i], name) == 0)
			return (int)i;
	return -1;
}

static bool temperature_read(const char *text, double *to)
{
	char *end;

	*to = strtod(text, &end);
	return end != text && *end == 0 && *to >= 1e-6 && *to <= 1e6;
}

static enum sl_verdict remote_open(struct sl_task *task, struct score *s)
{
	const struct sl_reward_template *template = sl_reward_template_find(s->template);
	bool vllm = strcmp(s->api, "vllm") == 0;

	if (s->temperatures.count && s->temperatures.count != s->remote.count)
		return sl_fail(task, SL_STOP,
			       "option 'remote_temperatures' has %zu numbers for %zu remote models: give one for each, "
			       "or none",
			       s->temperatures.count, s->remote.count);
	if (s->remote.count && !template && !vllm)
		return sl_fail(task, SL_STOP,
			       "SGLang's /classify takes no messages: set 'remote_template' to the form that the model "
			       "was trained with");
	for (size_t i = 0; i < s->remote.count; i++) {
		const char *name = s->remote.at[i];
		int place = place_of(s, name);
		struct slot *slot = &s->slots[place < 0 ? 0 : place];

		if (place < 0 || slot->remote)
			return sl_fail(task, SL_STOP, "option 'remote' names model '%s'%s", name,
				       place < 0 ? ", which is not in 'models': add it there" : " twice");
		*slot = (struct slot){
			.remote = true,
			.version = s->remote_version,
			.temperature = 1,
			.rewards = { .api = vllm ? SL_REWARD_VLLM : SL_REWARD_SGLANG,
				     .template = template,
				     .model = sl_task_model(task, name) },
		};
		if (s->temperatures.count && !temperature_read(s->temperatures.at[i], &slot->temperature))
			return sl_fail(task, SL_STOP,
				       "option 'remote_temperatures': '%s' is not a number from 1e-6 to 1e6",
				       s->temperatures.at[i]);
	}
	return SL_OK;
}

static enum sl_verdict score_open(struct sl_task *task, void *self)
{
	struct score *s = self;

	s->seen = -1;
	if (s->models.count < 1 || s->models.count > MODELS_MAX)
		return sl_fail(task, SL_STOP, "option 'models' names %zu models, expected 1 to %d", s->models.count,
			       MODELS_MAX);
	for (size_t i = 0; i < s->wait_for.count; i++)
		if (!listed(&s->models, s->wait_for.at[i]))
			return sl_fail(task, SL_STOP,
				       "option 'wait_for' names model '%s', which is not in 'models': add it there",
				       s->wait_for.at[i]);
	return remote_open(task, s);
}

static void slot_close(struct slot *slot)
{
	if (slot->model)
		sl_model_close(slot->model);
	*slot = (struct slot){ 0 };
}

static bool slot_holds(const struct slot *slot, const struct sl_model_record *m)
{
	return slot->model && slot->version == m->version && sl_is(m->sha256, slot->sha256);
}

static enum sl_verdict slot_open(struct sl_task *task, struct slot *slot, const char *name,
				 const struct sl_model_record *m)
{
	struct sl_error e = { 0 };
	char *uri = sl_arena_print(sl_task_arena(task), "%.*s", (int)m->uri.size, (const char *)m->uri.data);
	struct sl_model *model = sl_model_open(sl_task_path(task, uri), m->sha256, &e);

	if (!model)
		return sl_fail(task, e.verdict, "model '%s' version %lld: %s", name, (long long)m->version, e.text);
	slot_close(slot);
	slot->model = model;
	slot->version = m->version;
	if (m->sha256.size < sizeof slot->sha256 && m->sha256.size)
		memcpy(slot->sha256, m->sha256.data, m->sha256.size);
	return SL_OK;
}

static enum sl_verdict slot_update(struct sl_task *task, struct score *s, size_t i)
{
	const char *name = s->models.at[i];
	struct sl_model_record m;
	struct sl_bytes record;
	struct sl_error e = { 0 };

	if (!sl_table_get(task, MODELS, sl_text(name), &record)) {
		if (listed(&s->wait_for, name))
			return sl_fail(
				task, SL_WAIT,
				"waiting for model '%s': no version of it has been announced; it is trained when "
				"there are enough pairs for it, or now by 'sluice train %s'",
				name, name);
		slot_close(&s->slots[i]);
		return SL_OK;
	}
	if (!sl_model_decode(record, sl_task_arena(task), &m, &e))
		return sl_fail(task, SL_STOP, "record '%s' of the models table: %s", name, e.text);
	if (m.version == 0)
		slot_close(&s->slots[i]);
	else if (!slot_holds(&s->slots[i], &m))
		return slot_open(task, &s->slots[i], name, &m);
	return SL_OK;
}

/* A remote model waits for nobody, and is nobody else. */
static enum sl_verdict remote_check(struct sl_task *task, const char *name)
{
	struct sl_bytes record;

	if (!sl_table_get(task, MODELS, sl_text(name), &record))
		return SL_OK;
	return sl_fail(task, SL_STOP,
		       "model '%s' is remote, and a trainer announces one of that name: take it out of 'remote', or "
		       "the trainer out of the topology",
		       name);
}

static enum sl_verdict update(struct sl_task *task, struct score *s)
{
	int64_t version = sl_table_version(task, MODELS);

	if (version == s->seen)
		return SL_OK;
	for (size_t i = 0; i < s->models.count; i++) {
		enum sl_verdict v = s->slots[i].remote ? remote_check(task, s->models.at[i]) : slot_update(task, s, i);

		if (v != SL_OK)
			return v;
	}
	s->seen = version;
	return SL_OK;
}

/* -- remote models ------------------------------------------------------------------------------- */

/* Run again in process(), it finds the answer. */
static struct sl_answer ask(struct sl_task *task, struct score *s, size_t place, const struct sl_pair *p, int n)
{
	const struct sl_rewards *r = &s->slots[place].rewards;
	struct sl_call call = { .endpoint = s->models.at[place], .path = "/classify", .model = r->model };

	sl_buf_clear(&s->body);
	sl_rewards_body(r, p, n, &s->body);
	call.body = sl_buf_bytes(&s->body);
	return sl_answer(task, sl_ask(task, &call));
}

static enum sl_verdict score_ask(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct score *s = self;

	for (size_t i = 0; s->remote.count && i < batch->count; i++)
		for (size_t k = 0; k < s->models.count; k++)
			for (int n = 0; s->slots[k].remote && n < sl_rewards_calls(&s->slots[k].rewards); n++)
				ask(task, s, k, &batch->pairs[i], n);
	return SL_OK;
}

static bool hear(struct sl_task *task, struct score *s, size_t place, const struct sl_pair *p, struct sl_score *to)
{
	const struct sl_rewards *r = &s->slots[place].rewards;
	const char *why = "";

	for (int n = 0; n < sl_rewards_calls(r); n++) {
		struct sl_answer answer = ask(task, s, place, p, n);

		if (!sl_rewards_read(r, &answer, n, sl_task_arena(task), to, &why)) {
			sl_reject(task, p, "%s; model '%s'", why, s->models.at[place]);
			return false;
		}
	}
	return true;
}

/* -- a batch ----------------------------------------------------------------------------------------- */

/* Rewards of the models that are open here: count x models, in the order of the slots. */
static const struct sl_reward *score_here(struct sl_task *task, struct score *s, const struct sl_batch *batch,
					  size_t *count)
{
	const struct sl_model *models[MODELS_MAX];
	struct sl_reward *rewards;

	*count = 0;
	for (size_t i = 0; i < s->models.count; i++)
		if (s->slots[i].model)
			models[(*count)++] = s->slots[i].model;
	rewards = sl_alloc(task, batch->count * *count * sizeof *rewards);
	if (*count)
		sl_models_score(models, *count, batch->pairs, batch->count, rewards);
	return rewards;
}

/* `here`: of the pair, one for each model that is open. False: rejected. */
static bool scores_of(struct sl_task *task, struct score *s, const struct sl_reward *here, struct sl_pair *p)
{
	struct sl_score *scores = sl_alloc(task, s->models.count * sizeof *scores);
	size_t count = 0;

	for (size_t i = 0; i < s->models.count; i++) {
		const struct slot *slot = &s->slots[i];
		struct sl_score *to = &scores[count];

		if (!slot->model && !slot->remote)
			continue;
		*to = (struct sl_score){ .model = sl_text(s->models.at[i]), .version = slot->version };
		to->temperature = slot->remote ? slot->temperature : sl_model_temperature(slot->model);
		if (slot->remote && !hear(task, s, i, p, to))
			return false;
		if (!slot->remote) {
			to->chosen = here->chosen;
			to->rejected = here->rejected;
			here++;
		}
		count++;
	}
	p->scores = scores;
	p->score_count = count;
	return true;
}

static enum sl_verdict score_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct score *s = self;
	const struct sl_reward *here;
	size_t count;
	enum sl_verdict v = update(task, s);

	if (v != SL_OK)
		return v;
	here = score_here(task, s, batch, &count);
	for (size_t i = 0; i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];

		if (scores_of(task, s, here + i * count, &p))
			sl_emit(task, SCORED, &p);
	}
	return SL_OK;
}

static void score_close(struct sl_task *task, void *self)
{
	struct score *s = self;

	(void)task;
	for (size_t i = 0; i < MODELS_MAX; i++)
		slot_close(&s->slots[i]);
	sl_buf_release(&s->body);
}

const struct sl_operator sl_operator_score = {
	.name = "score",
	.version = "1",
	.help = "rewards of both answers under the gold and the best model",
	.options = options,
	.ports = ports,
	.tables = tables,
	.self_size = sizeof(struct score),
	.open = score_open,
	.ask = score_ask,
	.process = score_process,
	.close = score_close,
};
