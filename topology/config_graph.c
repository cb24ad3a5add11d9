/* config_graph.c -- the topology as a whole: who writes and reads each topic, the order of
 * the steps, which steps share a task, how many partitions a topic has and how long it is
 * kept. Everything here is decided from indexes; places are looked up for errors only.
 *
 * An edge leads from a step to every step that reads or looks up what it writes. Trainers
 * are no nodes: a way that leads through a trainer (pairs.silver, a model, score) is no
 * cycle, because a trainer starts from committed records at times of its own. */
#include "config.h"

#include "base/hash.h"

static size_t count_of(const char *const *names)
{
	size_t n = 0;

	while (names && names[n])
		n++;
	return n;
}

int sl_deferred_port(const struct sl_operator *op)
{
	for (int i = 0; op->ports && op->ports[i]; i++)
		if (strcmp(op->ports[i], "deferred") == 0)
			return i;
	return -1;
}

bool sl_step_asks(const struct sl_step *s)
{
	bool can = false;

	for (const struct sl_option *o = s->op->options; o && o->name; o++) {
		const char *field = (const char *)s->self_image + o->offset;

		if (!o->endpoint)
			continue;
		can = true;
		if (o->type == SL_OPTION_LIST ? ((const struct sl_list *)(const void *)field)->count > 0
					      : (*(const char *const *)(const void *)field)[0] != 0)
			return s->op->ask != NULL;
	}
	return s->op->ask && !can;
}

bool sl_step_writes(const struct sl_step *s, int topic)
{
	for (size_t i = 0; i < count_of(s->op->ports); i++)
		if (s->to[i] == topic)
			return true;
	return false;
}

bool sl_step_looks_up(const struct sl_step *s, int topic)
{
	for (size_t i = 0; i < count_of(s->op->tables); i++)
		if (s->tables[i] == topic)
			return true;
	return false;
}

bool sl_trainer_reads(const struct sl_trainer_def *d, int topic)
{
	for (size_t i = 0; i < d->from_count; i++)
		if (d->from[i] == topic)
			return true;
	return d->gold == topic;
}

bool sl_topology_trained(const struct sl_topology *t, int topic)
{
	for (size_t i = 0; i < t->trainer_count; i++)
		if (t->trainers[i].errors == topic)
			return true;
	return topic == t->models;
}

static size_t writers(const struct sl_topology *t, int topic)
{
	size_t n = 0;

	for (size_t i = 0; i < t->step_count; i++)
		n += sl_step_writes(&t->steps[i], topic);
	return n;
}

static size_t readers(const struct sl_topology *t, int topic)
{
	size_t n = 0;

	for (size_t i = 0; i < t->step_count; i++)
		n += t->steps[i].from == topic;
	return n;
}

static bool ingested(const struct sl_topology *t, int topic)
{
	return topic == t->entry || topic == t->ties;
}

static bool trained_from(const struct sl_topology *t, int topic)
{
	for (size_t i = 0; i < t->trainer_count; i++)
		if (sl_trainer_reads(&t->trainers[i], topic))
			return true;
	return false;
}

/* -- Every topic that is read is written ------------------------------------------- */

/* The names that something writes, for the hint. */
static const char *const *written_names(struct sl_config *c)
{
	const char **names = sl_arena_alloc(c->a, (c->t->topic_count + 1) * sizeof *names);
	size_t n = 0;

	for (int i = 0; i < (int)c->t->topic_count; i++)
		if (writers(c->t, i) || ingested(c->t, i) || sl_topology_trained(c->t, i))
			names[n++] = c->t->topics[i].name;
	names[n] = NULL;
	return names;
}

static bool check_written(struct sl_config *c, const struct sl_node *node, int topic, bool table)
{
	const struct sl_topology *t = c->t;
	const char *name = t->topics[topic].name;

	if (writers(t, topic) || ingested(t, topic) || (table && sl_topology_trained(t, topic)))
		return true;
	if (sl_topology_trained(t, topic))
		return sl_error_at(c->e, node, "topic '%s' is written by a trainer: it can be a table, not an input",
				   name);
	return sl_error_at(c->e, node, "nothing writes topic '%s'%s", name, sl_word_hint(c->a, name, written_names(c)));
}

static bool check_step_inputs(struct sl_config *c, size_t step)
{
	const struct sl_step *s = &c->t->steps[step];
	const struct sl_node *map = c->step_nodes[step];

	if (!check_written(c, sl_node_get(map, "from"), s->from, false))
		return false;
	if (c->t->topics[s->from].compacted)
		return sl_error_at(c->e, sl_node_get(map, "from"),
				   "topic '%s' is a table: it is looked up, a step cannot read it",
				   c->t->topics[s->from].name);
	for (size_t i = 0; i < count_of(s->op->tables); i++)
		if (!check_written(c, sl_node_get(sl_node_get(map, "tables"), s->op->tables[i]), s->tables[i], true))
			return false;
	for (size_t i = 0; i < count_of(s->op->ports); i++)
		if (sl_topology_trained(c->t, s->to[i]))
			return sl_error_at(c->e, sl_node_get(sl_node_get(map, "to"), s->op->ports[i]),
					   "topic '%s' is written by the trainers only", c->t->topics[s->to[i]].name);
	return true;
}

static bool check_trainer_inputs(struct sl_config *c, size_t trainer)
{
	const struct sl_trainer_def *d = &c->t->trainers[trainer];
	const struct sl_node *map = c->trainer_nodes[trainer], *from = sl_node_get(map, "from");
	const struct sl_node *gold = sl_node_get(map, "gold"), *item = from->first;

	for (size_t i = 0; i < d->from_count; i++, item = item ? item->next : NULL)
		if (!check_written(c, item ? item : from, d->from[i], false))
			return false;
	return check_written(c, gold ? gold : map, d->gold, false);
}

static bool check_inputs(struct sl_config *c)
{
	struct sl_topology *t = c->t;

	for (size_t i = 0; i < t->step_count; i++)
		for (size_t k = 0; k < count_of(t->steps[i].op->tables); k++)
			t->topics[t->steps[i].tables[k]].compacted = true;
	if (t->models >= 0)
		t->topics[t->models].compacted = true;
	for (int i = 0; i < (int)t->topic_count; i++)
		if (ingested(t, i) && sl_topology_trained(t, i))
			return sl_error_at(c->e, c->topic_nodes[i], "topic '%s' is written by the trainers only",
					   t->topics[i].name);
	for (size_t i = 0; i < t->step_count; i++)
		if (!check_step_inputs(c, i))
			return false;
	for (size_t i = 0; i < t->trainer_count; i++)
		if (!check_trainer_inputs(c, i))
			return false;
	return true;
}

/* -- Order --------------------------------------------------------------------------- */

/* Step b needs what step a writes. */
static bool leads(const struct sl_step *a, const struct sl_step *b)
{
	if (sl_step_writes(a, b->from))
		return true;
	for (size_t i = 0; i < count_of(b->op->tables); i++)
		if (sl_step_writes(a, b->tables[i]))
			return true;
	return false;
}

/* Each of the waiting steps has one before it that waits too: going back from any of them
 * must come round. */
static bool cycle_error(struct sl_config *c, const bool *done)
{
	const struct sl_topology *t = c->t;
	size_t path[SL_CONFIG_STEPS_MAX + 1], length = 0, at = 0, begin = SIZE_MAX;
	const char *text;

	while (done[at])
		at++;
	while (begin == SIZE_MAX) {
		path[length++] = at;
		for (size_t i = 0; i < t->step_count; i++) {
			if (!done[i] && leads(&t->steps[i], &t->steps[at])) {
				at = i;
				break;
			}
		}
		for (size_t i = 0; i < length; i++)
			if (path[i] == at)
				begin = i;
	}
	text = t->steps[at].name;
	for (size_t i = length; i-- > begin;)
		text = sl_arena_print(c->a, "%s -> %s", text, t->steps[path[i]].name);
	return sl_error_at(c->e, c->step_nodes[at], "steps form a cycle without a trainer in it: %s", text);
}

/* Dependency order; among steps that are ready, the order of the file. */
static bool sort_steps(struct sl_config *c)
{
	struct sl_topology *t = c->t;
	struct sl_step *sorted = sl_arena_zalloc(c->a, t->step_count * sizeof *sorted);
	const struct sl_node **nodes = sl_arena_zalloc(c->a, t->step_count * sizeof *nodes);
	bool done[SL_CONFIG_STEPS_MAX] = { false };

	for (size_t n = 0; n < t->step_count; n++) {
		size_t ready = 0;

		for (; ready < t->step_count; ready++) {
			bool waits = done[ready];

			for (size_t i = 0; !waits && i < t->step_count; i++)
				waits = !done[i] && leads(&t->steps[i], &t->steps[ready]);
			if (!waits)
				break;
		}
		if (ready == t->step_count)
			return cycle_error(c, done);
		done[ready] = true;
		sorted[n] = t->steps[ready];
		nodes[n] = c->step_nodes[ready];
	}
	t->steps = sorted;
	c->step_nodes = nodes;
	return true;
}

/* -- Topics ---------------------------------------------------------------------------- */

/* The step that a dead topic belongs to; NULL: not one. */
static const struct sl_step *dead_of(const struct sl_topology *t, int topic)
{
	for (size_t i = 0; i < t->step_count; i++)
		if (t->steps[i].dead == topic)
			return &t->steps[i];
	return NULL;
}

static bool topic_partitions(struct sl_config *c, int topic)
{
	const struct sl_topology *t = c->t;
	const struct sl_topic_keys *keys = &c->topic_keys[topic];
	bool fixed = topic == t->ties || topic == t->dead_ingest || sl_topology_trained(t, topic);

	if (keys->partitions && fixed && keys->partitions != 1)
		return sl_error_at(c->e, sl_node_get(keys->node, "partitions"),
				   "topic '%s' has one writer and 1 partition", t->topics[topic].name);
	if (keys->partitions && dead_of(t, topic))
		return sl_error_at(c->e, sl_node_get(keys->node, "partitions"),
				   "topic '%s' has the partitions of the input of step '%s'", t->topics[topic].name,
				   dead_of(t, topic)->name);
	if (keys->partitions)
		t->topics[topic].partitions = (int32_t)keys->partitions;
	else
		t->topics[topic].partitions = fixed || topic == t->entry ? 1 : (int32_t)c->partitions;
	return true;
}

static bool topic_retention(struct sl_config *c, int topic)
{
	const struct sl_topology *t = c->t;
	const struct sl_topic_keys *keys = &c->topic_keys[topic];
	struct sl_topic *to = &t->topics[topic];
	bool until_read = keys->retention && strcmp(keys->retention, "until_read") == 0;
	const char *why = NULL;

	if (to->compacted)
		why = "it is a table";
	else if (trained_from(t, topic))
		why = "a trainer reads it again for every version";
	else if (readers(t, topic) == 0)
		why = "no step reads it";
	if (until_read && why)
		return sl_error_at(c->e, sl_node_get(keys->node, "retention"), "topic '%s' must be kept: %s", to->name,
				   why);
	until_read = until_read || (!keys->retention && !why && topic != t->entry);
	to->retention = until_read ? SL_RETAIN_UNTIL_READ : SL_RETAIN_KEEP;
	to->segment_bytes = keys->segment_bytes ? keys->segment_bytes : (int64_t)64 << 20;
	return true;
}

/* -- Inline ------------------------------------------------------------------------------ */

static bool inline_error(struct sl_config *c, int topic, const char *why)
{
	return sl_error_at(c->e, c->topic_keys[topic].inline_node, "topic '%s' cannot be inline: %s",
			   c->t->topics[topic].name, why);
}

static bool inline_topic(struct sl_config *c, int topic)
{
	struct sl_topology *t = c->t;
	const struct sl_topic_keys *keys = &c->topic_keys[topic];
	const struct sl_topic *to = &t->topics[topic];
	const struct sl_step *writer = NULL, *reader = NULL;

	for (size_t i = 0; i < t->step_count; i++) {
		if (sl_step_writes(&t->steps[i], topic))
			writer = &t->steps[i];
		if (t->steps[i].from == topic)
			reader = &t->steps[i];
	}
	if (ingested(t, topic) || topic == t->dead_ingest || dead_of(t, topic) || sl_topology_trained(t, topic))
		return inline_error(c, topic, "no step writes it");
	if (to->compacted)
		return inline_error(c, topic, "it is a table");
	if (trained_from(t, topic))
		return inline_error(c, topic, "a trainer reads it");
	if (readers(t, topic) != 1)
		return inline_error(c, topic, reader ? "more than one step reads it" : "no step reads it");
	if (writers(t, topic) != 1)
		return inline_error(c, topic, "more than one step writes it");
	if (sl_step_asks(reader))
		return inline_error(
			c, topic,
			sl_arena_print(c->a, "step '%s' asks the outside and needs a task of its own", reader->name));
	if (keys->retention || keys->segment_bytes)
		return inline_error(c, topic, "it has a retention or a segment size, so it is stored");
	if (t->topics[writer->from].partitions != to->partitions)
		return inline_error(c, topic,
				    sl_arena_print(c->a,
						   "it has %d partitions and its writer '%s' reads %d: set "
						   "topics.%s.partitions",
						   (int)to->partitions, writer->name,
						   (int)t->topics[writer->from].partitions, to->name));
	t->topics[topic].inlined = true;
	return true;
}

/* In dependency order, so the writer's host is known. */
static void hosts(struct sl_topology *t)
{
	for (size_t i = 0; i < t->step_count; i++) {
		struct sl_step *s = &t->steps[i];

		s->host = (int)i;
		for (size_t k = 0; t->topics[s->from].inlined && k < i; k++)
			if (sl_step_writes(&t->steps[k], s->from))
				s->host = t->steps[k].host;
	}
}

static bool resolve_topics(struct sl_config *c)
{
	struct sl_topology *t = c->t;

	for (int i = 0; i < (int)t->topic_count; i++)
		if (!topic_partitions(c, i) || !topic_retention(c, i))
			return false;
	for (size_t i = 0; i < t->step_count; i++)
		t->topics[t->steps[i].dead].partitions = t->topics[t->steps[i].from].partitions;
	for (int i = 0; i < (int)t->topic_count; i++)
		if (c->topic_keys[i].inline_node && !inline_topic(c, i))
			return false;
	return true;
}

uint64_t sl_step_shape(const struct sl_step *s, int64_t partitions)
{
	uint64_t shape = sl_hash64(s->op->name, strlen(s->op->name), 0);

	if (!s->op->stores || !s->op->stores[0].name)
		partitions = 0;
	shape = sl_hash64(&partitions, sizeof partitions, shape);
	return sl_options_shape(s->op->options, s->self_image, shape);
}

static void shapes(struct sl_topology *t)
{
	for (size_t i = 0; i < t->step_count; i++)
		t->steps[i].shape = sl_step_shape(&t->steps[i], t->topics[t->steps[i].from].partitions);
}

/* What happens when there is too little gold to train on; said by the step that decides. */
static void without_gold(struct sl_topology *t)
{
	t->without_gold = NULL;
	for (size_t i = 0; i < t->step_count && !t->without_gold; i++)
		for (size_t k = 0; k < t->steps[i].setting_count; k++)
			if (strcmp(t->steps[i].settings[k].name, "without_gold") == 0)
				t->without_gold = t->steps[i].settings[k].value;
	if (!t->without_gold)
		t->without_gold = "stop";
}

bool sl_config_graph(struct sl_config *c)
{
	if (!check_inputs(c) || !sort_steps(c) || !resolve_topics(c))
		return false;
	hosts(c->t);
	shapes(c->t);
	without_gold(c->t);
	return true;
}
