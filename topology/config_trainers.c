/* config_trainers.c -- the trainers of a topology file: role, topics, options. The defaults
 * are those of trainer/train.h; a test holds the two together. */
#include "config.h"

#include "../trainer/features.h"

#define TRAINER(field_, name_, type_, value_, least_, most_, unit_, help_)                                             \
	{                                                                                                              \
		.name = name_, .type = type_, .offset = offsetof(struct sl_trainer_def, field_), .value = value_,      \
		.least = least_, .most = most_, .unit = unit_, .help = help_                                           \
	}

static const char *const models[] = { "linear", NULL };
#define ROLES "gold, best, posterior or final"
static const char *const roles[] = { "gold", "best", "posterior", "final", NULL };
static const char *const trainer_others[] = { "name", "from", "gold", "errors", NULL };
static const char *const posterior_others[] = { "name", "from", NULL };
static const struct sl_option trainer_table[] = {
	{ .name = "model",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_trainer_def, model),
	  .value = "linear",
	  .words = models,
	  .help = "kind of model" },
	TRAINER(min_pairs, "min_pairs", SL_OPTION_COUNT, "200", 1, 1e9, "pairs", "with fewer it is not trained"),
	TRAINER(every_pairs, "every_pairs", SL_OPTION_COUNT, "1000", 0, 1e9, "pairs",
		"retrain after so many new ones; 0: never"),
	TRAINER(interval_ms, "interval", SL_OPTION_TIME_MS, "24h", 0, 31536e6, NULL,
		"retrain after so long if anything is new; 0: never"),
	TRAINER(epochs, "epochs", SL_OPTION_COUNT, "3", 1, 1000, NULL, "passes over the pairs"),
	TRAINER(columns_log2, "columns_log2", SL_OPTION_COUNT, "18", SL_COLUMNS_LOG2_MIN, SL_COLUMNS_LOG2_MAX, NULL,
		"hashed n-gram columns, a power of two"),
	TRAINER(seed, "seed", SL_OPTION_COUNT, "1", 0, 9e15, NULL, "of everything random in the training"),
	TRAINER(folds, "folds", SL_OPTION_COUNT, "5", 0, 20, NULL, "of the cross-fitting; 0: none"),
	TRAINER(learning_rate, "learning_rate", SL_OPTION_REAL, "0.1", 1e-6, 100, NULL, "of FTRL-proximal"),
	TRAINER(l2, "l2", SL_OPTION_REAL, "0", 0, 1e6, NULL,
		"strength of the pull to 0; 0: chosen by cross-validation over groups"),
	TRAINER(best_drop, "best_drop", SL_OPTION_REAL, "0.005", 0, 1, NULL,
		"a version less accurate on select than the best one ever by more stays candidate"),
	{ 0 },
};

/* No reward model: it is fitted on what the others say about gold (posterior_training.c). */
static const struct sl_option posterior_table[] = {
	TRAINER(min_pairs, "min_pairs", SL_OPTION_COUNT, "100", 1, 1e9, "audited pairs",
		"with fewer there are no weights: margins and label_noise decide"),
	TRAINER(every_pairs, "every_pairs", SL_OPTION_COUNT, "500", 0, 1e9, "audited pairs",
		"fit again after so many new ones; 0: never. Always when a champion of gold or best has changed"),
	TRAINER(interval_ms, "interval", SL_OPTION_TIME_MS, "24h", 0, 31536e6, NULL,
		"fit again after so long if any gold is new; 0: never"),
	TRAINER(seed, "seed", SL_OPTION_COUNT, "1", 0, 9e15, NULL, "of everything random in the fit"),
	{ 0 },
};

/* from: one topic or a list of them. */
static bool trainer_from(struct sl_config *c, const struct sl_node *map, const char *what, struct sl_trainer_def *d,
			 struct sl_settings *s)
{
	const struct sl_node *node = sl_node_get(map, "from"), *item;
	const char *shown;
	struct sl_list list;
	int *topics;

	if (!node)
		return sl_error_at(c->e, map, "%s needs 'from': a topic or a list of topics", what);
	if (!sl_node_list(c->a, node, "from", &list, &shown, c->e))
		return false;
	if (list.count == 0)
		return sl_error_at(c->e, node, "'from' of %s is empty: name a topic", what);
	topics = sl_arena_alloc(c->a, list.count * sizeof *topics);
	d->from = topics;
	item = node->first;
	for (size_t i = 0; i < list.count; i++, item = item ? item->next : NULL) {
		topics[i] = sl_config_topic(c, item ? item : node, list.at[i]);
		if (topics[i] < 0)
			return false;
		for (size_t k = 0; k < i; k++)
			if (topics[k] == topics[i])
				return sl_error_at(c->e, item ? item : node, "'from' of %s names '%s' twice", what,
						   list.at[i]);
		d->from_count++;
	}
	sl_settings_add(c->a, s, "from", shown, sl_node_origin(c->a, node));
	return true;
}

/* gold: and errors:, with their defaults. */
static bool trainer_topics(struct sl_config *c, const struct sl_node *map, struct sl_trainer_def *d,
			   struct sl_settings *s)
{
	const struct sl_node *gold = sl_node_get(map, "gold"), *errors = sl_node_get(map, "errors");
	const char *gold_name = "pairs.gold", *errors_name;

	d->errors = -1;
	d->gold = d->from[0];
	if (strcmp(d->name, "posterior") == 0)
		return true;
	if (gold && !sl_node_text(gold, "'gold'", &gold_name, c->e))
		return false;
	d->gold = sl_config_topic(c, gold ? gold : map, gold_name);
	if (d->gold < 0)
		return false;
	sl_settings_add(c->a, s, "gold", gold_name, gold ? sl_node_origin(c->a, gold) : "default");
	if (!errors)
		return true;
	if (strcmp(d->name, "gold") != 0)
		return sl_error_at_key(c->e, errors, "'errors' is a key of trainer 'gold' only: errors on gold pairs");
	if (!sl_node_text(errors, "'errors'", &errors_name, c->e))
		return false;
	d->errors = sl_config_topic(c, errors, errors_name);
	sl_settings_add(c->a, s, "errors", errors_name, sl_node_origin(c->a, errors));
	return d->errors >= 0;
}

static bool trainer(struct sl_config *c, const struct sl_node *map, struct sl_trainer_def *d)
{
	const struct sl_node *name = sl_node_get(map, "name");
	struct sl_options_from from = { .map = map, .prefix = "", .others = trainer_others, .at = map };
	const struct sl_option *table = trainer_table;
	struct sl_settings s = { 0 };
	size_t role = 0;

	if (map->kind != SL_NODE_MAP || !name)
		return sl_error_at(c->e, map, "a trainer is a map with a 'name': " ROLES);
	if (!sl_node_text(name, "'name' of a trainer", &d->name, c->e))
		return false;
	while (roles[role] && strcmp(roles[role], d->name) != 0)
		role++;
	if (!roles[role])
		return sl_error_at(c->e, name, "'%s' is not a trainer: " ROLES "%s", d->name,
				   sl_word_hint(c->a, d->name, roles));
	for (struct sl_trainer_def *other = c->t->trainers; other < d; other++)
		if (strcmp(other->name, d->name) == 0)
			return sl_error_at(c->e, name, "trainer '%s' stands twice", d->name);
	from.what = sl_arena_print(c->a, "trainer '%s'", d->name);
	if (strcmp(d->name, "posterior") == 0) {
		from.others = posterior_others;
		table = posterior_table;
	}
	if (!trainer_from(c, map, from.what, d, &s) || !trainer_topics(c, map, d, &s) ||
	    !sl_options_read(c->a, &from, table, d, &s, c->e))
		return false;
	if (d->folds == 1)
		return sl_error_at(c->e, sl_node_get(map, "folds"), "'folds': '1' is out of range: 0 or 2 to 20");
	d->settings = s.at;
	d->setting_count = s.count;
	return true;
}

/* In the order of their roles: best and final are selected on what gold decides, the posterior is about the
 * champions of gold and best. */
static void trainers_sort(struct sl_config *c)
{
	struct sl_trainer_def *d = c->t->trainers;
	size_t done = 0;

	for (const char *const *role = roles; *role; role++) {
		for (size_t i = done; i < c->t->trainer_count; i++) {
			struct sl_trainer_def def = d[i];
			const struct sl_node *node = c->trainer_nodes[i];

			if (strcmp(def.name, *role) != 0)
				continue;
			d[i] = d[done];
			c->trainer_nodes[i] = c->trainer_nodes[done];
			d[done] = def;
			c->trainer_nodes[done++] = node;
			break;
		}
	}
}

bool sl_config_trainers(struct sl_config *c)
{
	const struct sl_node *list = sl_node_get(c->root, "trainers");

	c->t->models = -1;
	if (!list || list->kind == SL_NODE_NONE)
		return true;
	if (list->kind != SL_NODE_LIST)
		return sl_error_at(c->e, list, "'trainers' must be a list: - { name: gold, from: pairs.gold }");
	c->t->trainers = sl_arena_zalloc(c->a, list->count * sizeof *c->t->trainers);
	c->trainer_nodes = sl_arena_zalloc(c->a, list->count * sizeof *c->trainer_nodes);
	for (const struct sl_node *n = list->first; n; n = n->next) {
		if (!trainer(c, n, &c->t->trainers[c->t->trainer_count]))
			return false;
		c->trainer_nodes[c->t->trainer_count++] = n;
	}
	trainers_sort(c);
	for (size_t i = 0; i < c->t->trainer_count; i++)
		if (strcmp(c->t->trainers[i].name, "posterior") == 0 && strcmp(c->t->trainers[0].name, "gold") != 0)
			return sl_error_at(
				c->e, c->trainer_nodes[i],
				"trainer 'posterior' calibrates the model 'gold', which no trainer trains: add "
				"- { name: gold, from: pairs.gold }");
	if (c->t->trainer_count > 0)
		c->t->models = sl_config_topic(c, list, "models");
	return c->t->trainer_count == 0 || c->t->models >= 0;
}
