/* config_steps.c -- the steps of a topology file: the operator by its name, its ports and
 * tables bound to topics, its options laid into the image that every instance starts as. In the
 * order of the file; config_graph.c sorts. */
#include "config.h"

/* Free for the operator: everything but these, which every step has. */
static const char *const common_keys[] = { "name", "operator", "from", "to", "tables", "batch_max", NULL };
static const struct sl_option common_table[] = {
	{ .name = "batch_max",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_step, batch_max),
	  .value = "256",
	  .least = 1,
	  .most = 65536,
	  .unit = "pairs",
	  .help = "most pairs that the operator gets at once" },
	{ 0 },
};
/* And of steps whose operator asks the outside. */
static const char *const asking_keys[] = { "name",  "operator", "from",           "to", "tables", "batch_max",
					   "ahead", "budget",   "budget_per_day", NULL };
static const struct sl_option asking_table[] = {
	{ .name = "ahead",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_step, ahead),
	  .value = "4",
	  .least = 0,
	  .most = 64,
	  .unit = "batches",
	  .help = "asked about before their turn, while answers are awaited" },
	{ .name = "budget",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_step, budget),
	  .value = "-1",
	  .least = -1,
	  .most = 1e9,
	  .unit = "dollars",
	  .help = "most that all calls of the step may cost; -1: no limit" },
	{ .name = "budget_per_day",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_step, budget_per_day),
	  .value = "-1",
	  .least = -1,
	  .most = 1e9,
	  .unit = "dollars",
	  .help = "most that the calls of a day of UTC may cost; -1: no limit" },
	{ 0 },
};
/* `--set` and dead.<step> need these first words for themselves. */
static const char *const reserved[] = { "topology",  "data",   "partitions", "inline",  "stream", "registry",
					"kafka",     "models", "limits",     "metrics", "topics", "ingest",
					"endpoints", "steps",  "trainers",   "gold",    "best",   "posterior",
					"final",     "prices", "memo",       "drain",   NULL };

static const char *const *operator_names(struct sl_config *c)
{
	size_t count = 0;
	const char **names;

	while (sl_operators[count])
		count++;
	names = sl_arena_zalloc(c->a, (count + 1) * sizeof *names);
	for (size_t i = 0; i < count; i++)
		names[i] = sl_operators[i]->name;
	return names;
}

static bool step_name(struct sl_config *c, const struct sl_node *map, struct sl_step *s)
{
	const struct sl_node *name = sl_node_get(map, "name");
	int same;

	if (map->kind != SL_NODE_MAP || !name)
		return sl_error_at(c->e, map, "a step is a map with a 'name'");
	if (!sl_node_text(name, "'name' of a step", &s->name, c->e) || !sl_config_name(c, name, "step", s->name))
		return false;
	for (const char *const *r = reserved; *r; r++)
		if (strcmp(*r, s->name) == 0)
			return sl_error_at(c->e, name, "'%s' cannot be the name of a step: --set uses the word", *r);
	same = sl_topology_step(c->t, s->name);
	if (same >= 0)
		return sl_error_at(c->e, name, "step '%s' stands twice, first on line %d", s->name,
				   sl_node_get(c->step_nodes[same], "name")->line);
	return true;
}

static bool step_operator(struct sl_config *c, const struct sl_node *map, struct sl_step *s)
{
	const struct sl_node *node = sl_node_get(map, "operator");
	const char *word = s->name;

	if (node && !sl_node_text(node, "'operator'", &word, c->e))
		return false;
	s->op = sl_operator_find(word);
	if (!s->op)
		return sl_error_at(c->e, node ? node : sl_node_get(map, "name"), "no operator '%s'%s", word,
				   sl_word_hint(c->a, word, operator_names(c)));
	return true;
}

/* `key` (to or tables): every one of `names` is bound to a topic, and nothing else is. */
static bool bind(struct sl_config *c, const struct sl_node *map, const struct sl_step *s, const char *key,
		 const char *const *names, const int **bound)
{
	const char *what = sl_arena_print(c->a, "'%s' of step '%s'", key, s->name);
	const struct sl_node *node = sl_node_get(map, key);
	const struct sl_options_from from = { .map = node, .what = what, .prefix = "", .others = names, .at = map };
	size_t count = 0;
	int *topics;

	while (names && names[count])
		count++;
	topics = sl_arena_alloc(c->a, count * sizeof *topics);
	*bound = topics;
	/* No options, so this checks the keys alone. */
	if (!sl_options_read(c->a, &from, NULL, NULL, NULL, c->e))
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct sl_node *topic = sl_node_get(node, names[i]);

		if (!topic)
			return sl_error_at(c->e, node ? node : map,
					   "%s '%s' of step '%s' is not bound: add %s: { %s: TOPIC }",
					   key[1] == 'o' ? "port" : "table", names[i], s->name, key, names[i]);
		topics[i] = sl_config_topic_of(c, node, names[i], what);
		if (topics[i] < 0)
			return false;
	}
	return true;
}

/* What the map says of a table's options, as a map. */
static void pick(struct sl_config *c, const struct sl_node *map, const struct sl_option *table, struct sl_node *to)
{
	struct sl_node **last = &to->first;

	to->count = 0;
	for (; table->name; table++) {
		const struct sl_node *said = sl_node_get(map, table->name);

		if (!said)
			continue;
		*last = sl_arena_copy(c->a, said, sizeof *said);
		last = &(*last)->next;
		to->count++;
	}
	*last = NULL;
}

static bool step_options(struct sl_config *c, const struct sl_node *map, struct sl_step *s)
{
	struct sl_options_from from = {
		.map = map, .what = sl_arena_print(c->a, "step '%s'", s->name), .prefix = "", .at = map
	};
	struct sl_node common = { .kind = SL_NODE_MAP, .path = map->path };
	struct sl_settings settings = { 0 };
	void *self = sl_arena_zalloc(c->a, s->op->self_size);

	/* The common options live in the step, the rest in self: read from maps of their own. */
	s->budget = s->budget_per_day = -1;
	from.map = &common;
	pick(c, map, common_table, &common);
	if (!sl_options_read(c->a, &from, common_table, s, &settings, c->e))
		return false;
	pick(c, map, asking_table, &common);
	if (s->op->ask && !sl_options_read(c->a, &from, asking_table, s, &settings, c->e))
		return false;
	from.map = map;
	from.others = s->op->ask ? asking_keys : common_keys;
	if (!sl_options_read(c->a, &from, s->op->options, self, &settings, c->e))
		return false;
	s->self_image = self;
	s->settings = settings.at;
	s->setting_count = settings.count;
	return true;
}

static bool step(struct sl_config *c, const struct sl_node *map, struct sl_step *s)
{
	const char *what;

	if (!step_name(c, map, s) || !step_operator(c, map, s))
		return false;
	what = sl_arena_print(c->a, "step '%s'", s->name);
	/* Unknown keys first: a misspelt 'from' is told as such, not as missing. */
	if (!step_options(c, map, s))
		return false;
	s->from = sl_config_topic_of(c, map, "from", what);
	if (s->from < 0 || !bind(c, map, s, "to", s->op->ports, &s->to) ||
	    !bind(c, map, s, "tables", s->op->tables, &s->tables))
		return false;
	s->dead = sl_config_dead_topic(c, map, s->name);
	return s->dead >= 0;
}

/* The operator a step means, NULL when it says nothing readable: told later, at its place. */
static const struct sl_operator *meant(const struct sl_node *map)
{
	const struct sl_node *word = sl_node_get(map, "operator");

	if (!word)
		word = sl_node_get(map, "name");
	return word && word->kind == SL_NODE_TEXT ? sl_operator_find(word->text) : NULL;
}

/* Options that follow another operator's get its value, place and all, before anything is read. */
static void follow(struct sl_config *c, const struct sl_node *list)
{
	for (struct sl_node *map = list->first; map; map = map->next) {
		const struct sl_operator *op = meant(map);

		for (const struct sl_option *o = op ? op->options : NULL; o && o->name; o++) {
			if (!o->follows || strcmp(o->follows, op->name) == 0 || sl_node_get(map, o->name))
				continue;
			for (const struct sl_node *other = list->first; other; other = other->next) {
				const struct sl_operator *leader = meant(other);
				const struct sl_node *said = sl_node_get(other, o->name);
				struct sl_node *copy;

				if (!said || !leader || strcmp(leader->name, o->follows) != 0)
					continue;
				copy = sl_arena_copy(c->a, said, sizeof *said);
				copy->next = map->first;
				map->first = copy;
				map->count++;
				break;
			}
		}
	}
}

bool sl_config_steps(struct sl_config *c)
{
	const struct sl_node *list = sl_node_get(c->root, "steps");

	if (!list || list->kind == SL_NODE_NONE || (list->kind == SL_NODE_LIST && list->count == 0))
		return sl_error_at(c->e, list ? list : c->root, "the topology has no steps");
	if (list->kind != SL_NODE_LIST)
		return sl_error_at(c->e, list, "'steps' must be a list: - { name: dedupe, from: pairs.raw, to: ... }");
	if (list->count > SL_CONFIG_STEPS_MAX)
		return sl_error_at(c->e, list, "more than %d steps", SL_CONFIG_STEPS_MAX);
	follow(c, list);
	c->t->steps = sl_arena_zalloc(c->a, list->count * sizeof *c->t->steps);
	c->step_nodes = sl_arena_zalloc(c->a, list->count * sizeof *c->step_nodes);
	for (const struct sl_node *n = list->first; n; n = n->next) {
		if (!step(c, n, &c->t->steps[c->t->step_count]))
			return false;
		c->step_nodes[c->t->step_count++] = n;
	}
	return true;
}
