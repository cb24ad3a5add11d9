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
 * step waits for it; if not, its score is left out. */
#include "operator.h"

#include "../schemas/codec.h"
#include "../trainer/model.h"

enum { SCORED };
static const char *const ports[] = { "scored", NULL };

enum { MODELS };
static const char *const tables[] = { "models", NULL };

enum { MODELS_MAX = 8 };

/* One name of the list; the open version is kept while the table says so. */
struct slot {
	int64_t version; /* 0: absent */
	char sha256[SL_SHA256_HEX_SIZE];
	struct sl_model *model;
};

struct score {
	struct sl_list models, wait_for;
	int64_t seen; /* version of the table that the slots were read at; -1: not yet */
	struct slot slots[MODELS_MAX];
};

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
	{ 0 },
};

static bool listed(const struct sl_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->at[i], name) == 0)
			return true;
	return false;
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
	return SL_OK;
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

static enum sl_verdict update(struct sl_task *task, struct score *s)
{
	int64_t version = sl_table_version(task, MODELS);

	if (version == s->seen)
		return SL_OK;
	for (size_t i = 0; i < s->models.count; i++) {
		enum sl_verdict v = slot_update(task, s, i);

		if (v != SL_OK)
			return v;
	}
	s->seen = version;
	return SL_OK;
}

static enum sl_verdict score_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct score *s = self;
	const struct sl_model *models[MODELS_MAX];
	size_t slot_of[MODELS_MAX], count = 0;
	struct sl_reward *rewards;
	enum sl_verdict v = update(task, s);

	if (v != SL_OK)
		return v;
	for (size_t i = 0; i < s->models.count; i++)
		if (s->slots[i].model) {
			slot_of[count] = i;
			models[count++] = s->slots[i].model;
		}
	rewards = sl_alloc(task, batch->count * count * sizeof *rewards);
	if (count)
		sl_models_score(models, count, batch->pairs, batch->count, rewards);
	for (size_t i = 0; i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];

		p.scores = sl_alloc(task, count * sizeof *p.scores);
		p.score_count = count;
		for (size_t j = 0; j < count; j++)
			p.scores[j] = (struct sl_score){
				.model = sl_text(s->models.at[slot_of[j]]),
				.version = s->slots[slot_of[j]].version,
				.chosen = rewards[i * count + j].chosen,
				.rejected = rewards[i * count + j].rejected,
				.temperature = sl_model_temperature(models[j]),
			};
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
	.process = score_process,
	.close = score_close,
};
