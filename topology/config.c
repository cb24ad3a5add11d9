/* config.c -- what stands at the top of a topology file: names, limits, topics; and
 * load, parse, free. Order matters: names are collected where they are
 * used (ingest, steps, trainers), so that topics: and inline: can refuse names that
 * nobody uses, and only then is the whole wired and checked (config_graph.c).
 *
 * The topology owns one arena; everything read lives in it until sl_topology_free. */
#include "config.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>

#define FILE_MAX ((size_t)1 << 20)
#define NAME_MAX_SIZE 64

/* -- Names ---------------------------------------------------------------------- */

static bool of_letters(const char *name, const char *others)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(others, *p))
			return false;
	return name[0] != 0;
}

bool sl_config_name(struct sl_config *c, const struct sl_node *node, const char *what, const char *name)
{
	if (of_letters(name, "_-") && strlen(name) <= NAME_MAX_SIZE)
		return true;
	return sl_error_at(c->e, node, "name '%.80s' of %s %s is not 1 to %d letters, digits, '_' or '-'", name,
			   strchr("aeiou", what[0]) ? "an" : "a", what, NAME_MAX_SIZE);
}

static void topics_grow(struct sl_config *c)
{
	size_t n = c->t->topic_count, capacity = n ? 2 * n : 32;
	struct sl_topic *topics = sl_arena_zalloc(c->a, capacity * sizeof *topics);
	struct sl_topic_keys *keys = sl_arena_zalloc(c->a, capacity * sizeof *keys);
	const struct sl_node **nodes = sl_arena_zalloc(c->a, capacity * sizeof *nodes);

	if (n) {
		memcpy(topics, c->t->topics, n * sizeof *topics);
		memcpy(keys, c->topic_keys, n * sizeof *keys);
		memcpy(nodes, c->topic_nodes, n * sizeof *nodes);
	}
	c->t->topics = topics;
	c->topic_keys = keys;
	c->topic_nodes = nodes;
	c->topic_capacity = capacity;
}

static int topic_add(struct sl_config *c, const struct sl_node *node, const char *name)
{
	int found = sl_topology_topic(c->t, name);
	size_t n = c->t->topic_count;

	if (found >= 0)
		return found;
	if (!of_letters(name, "._-") || strlen(name) > SL_CONFIG_TOPIC_NAME_MAX || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0) {
		sl_error_at(c->e, node, "'%.80s' is not a topic name: 1 to %d letters, digits, '.', '_' or '-'", name,
			    SL_CONFIG_TOPIC_NAME_MAX);
		return -1;
	}
	if (n == SL_CONFIG_TOPICS_MAX) {
		sl_error_at(c->e, node, "more than %d topics", SL_CONFIG_TOPICS_MAX);
		return -1;
	}
	if (n == c->topic_capacity)
		topics_grow(c);
	c->t->topics[n].name = sl_arena_print(c->a, "%s", name);
	c->topic_nodes[n] = node;
	c->t->topic_count++;
	return (int)n;
}

int sl_config_topic(struct sl_config *c, const struct sl_node *node, const char *name)
{
	if (strncmp(name, "dead.", 5) == 0) {
		sl_error_at(c->e, node, "'%.80s': topics 'dead.*' are the runtime's; `sluice replay` reads them", name);
		return -1;
	}
	return topic_add(c, node, name);
}

int sl_config_dead_topic(struct sl_config *c, const struct sl_node *node, const char *step)
{
	return topic_add(c, node, sl_arena_print(c->a, "dead.%s", step));
}

int sl_config_topic_of(struct sl_config *c, const struct sl_node *map, const char *key, const char *what)
{
	const struct sl_node *node = sl_node_get(map, key);
	const char *name;

	if (!node) {
		sl_error_at(c->e, map, "%s needs '%s'", what, key);
		return -1;
	}
	if (!sl_node_text(node, sl_arena_print(c->a, "'%s' of %s", key, what), &name, c->e))
		return -1;
	return sl_config_topic(c, node, name);
}

const char *const *sl_config_topic_names(struct sl_config *c)
{
	const char **names = sl_arena_alloc(c->a, (c->t->topic_count + 1) * sizeof *names);

	for (size_t i = 0; i < c->t->topic_count; i++)
		names[i] = c->t->topics[i].name;
	names[c->t->topic_count] = NULL;
	return names;
}

/* -- The top of the file ----------------------------------------------------------- */

struct top {
	const char *name, *data;
	int64_t partitions, drain_ms;
	int64_t entry_bytes, record_bytes;
	const char *listen, *to, *ties;
};

#define KEY(field_, name_, type_, value_, least_, most_, help_)                                                        \
	{                                                                                                              \
		.name = name_, .type = type_, .offset = offsetof(struct top, field_), .value = value_,                 \
		.least = least_, .most = most_, .help = help_                                                          \
	}
#define KIB 1024.0
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const struct sl_option top_table[] = {
	KEY(name, "topology", SL_OPTION_TEXT, NULL, 0, 0, "the name that tasks and groups begin with"),
	KEY(data, "data", SL_OPTION_TEXT, "sluice-data", 0, 0, "data folder"),
	KEY(partitions, "partitions", SL_OPTION_COUNT, "1", 1, SL_PARTITIONS_MOST, "of topics that say nothing else"),
	KEY(drain_ms, "drain", SL_OPTION_TIME_MS, "30s", 0, 3600000,
	    "at a stop, how long calls under way may still be answered"),
	{ 0 },
};
static const char *const top_others[] = { "stream",  "registry", "kafka",  "models",   "limits",
					  "metrics", "topics",   "inline", "ingest",   "endpoints",
					  "prices",  "memo",     "steps",  "trainers", NULL };

static const struct sl_option limits_table[] = {
	KEY(entry_bytes, "entry", SL_OPTION_SIZE, "512KiB", KIB, 64 * MIB, "largest pair that ingest takes"),
	KEY(record_bytes, "record", SL_OPTION_SIZE, "900KiB", KIB, 64 * MIB, "largest record in any topic"),
	{ 0 },
};
static const struct sl_option metrics_table[] = {
	KEY(listen, "listen", SL_OPTION_TEXT, "127.0.0.1:9464", 0, 0, "address of /metrics, or off"),
	{ 0 },
};
static const struct sl_option ingest_table[] = {
	KEY(to, "to", SL_OPTION_TEXT, "pairs.raw", 0, 0, "topic that ingest writes pairs to"),
	KEY(ties, "ties", SL_OPTION_TEXT, "pairs.ties", 0, 0, "topic of pairs whose answers were called equal"),
	{ 0 },
};

/* "host:port" */
static bool check_listen(struct sl_config *c, const struct sl_node *node, const char *listen)
{
	const char *colon = strrchr(listen, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;

	if (digits >= 1 && digits <= 5 && colon[1 + digits] == 0 && colon != listen &&
	    strtol(colon + 1, NULL, 10) <= 65535)
		return true;
	return sl_error_at(c->e, node, "'listen': '%s' is not host:port, for example 127.0.0.1:9464, or off", listen);
}

bool sl_config_section(struct sl_config *c, const char *name, const struct sl_option *table, const char *const *others,
		       void *self)
{
	const struct sl_node *map = sl_node_get(c->root, name);
	const struct sl_options_from from = { .map = map,
					      .what = sl_arena_print(c->a, "'%s'", name),
					      .prefix = sl_arena_print(c->a, "%s.", name),
					      .others = others,
					      .at = map ? map : c->root };

	return sl_options_read(c->a, &from, table, self, &c->settings, c->e);
}

static bool metrics(struct sl_config *c, struct top *top)
{
	const struct sl_node *node = sl_node_get(c->root, "metrics"), *listen = sl_node_get(node, "listen");

	if (node && node->kind == SL_NODE_TEXT && strcmp(node->text, "off") == 0) {
		sl_settings_add(c->a, &c->settings, "metrics", "off", sl_node_origin(c->a, node));
		return true;
	}
	if (!sl_config_section(c, "metrics", metrics_table, NULL, top))
		return false;
	if (strcmp(top->listen, "off") == 0)
		return true;
	c->t->metrics_listen = top->listen;
	return check_listen(c, listen ? listen : c->root, top->listen);
}

static bool ingest(struct sl_config *c, const struct top *top)
{
	const struct sl_node *node = sl_node_get(c->root, "ingest");
	const struct sl_node *to = sl_node_get(node, "to"), *ties = sl_node_get(node, "ties");

	node = node ? node : c->root;
	c->t->entry = sl_config_topic(c, to ? to : node, top->to);
	c->t->ties = c->t->entry < 0 ? -1 : sl_config_topic(c, ties ? ties : node, top->ties);
	c->t->dead_ingest = c->t->ties < 0 ? -1 : sl_config_dead_topic(c, node, "ingest");
	if (c->t->dead_ingest < 0)
		return false;
	if (c->t->ties == c->t->entry)
		return sl_error_at(c->e, ties ? ties : node, "ingest writes pairs and ties to one topic '%s'", top->to);
	c->t->topics[c->t->entry].entry = true;
	return true;
}

static bool top_level(struct sl_config *c)
{
	struct top top = { 0 };
	struct sl_topology *t = c->t;
	const struct sl_options_from from = {
		.map = c->root, .what = "the topology", .prefix = "", .others = top_others, .at = c->root
	};
	const struct sl_node *limits = sl_node_get(c->root, "limits");

	if (!sl_options_read(c->a, &from, top_table, &top, &c->settings, c->e) ||
	    !sl_config_name(c, sl_node_get(c->root, "topology"), "topology", top.name))
		return false;
	if (top.data[0] == 0)
		return sl_error_at(c->e, sl_node_get(c->root, "data"), "'data' is empty: name a folder");
	t->name = top.name;
	t->data = top.data;
	if (!sl_config_stream(c) || !sl_config_section(c, "limits", limits_table, NULL, &top) || !metrics(c, &top) ||
	    !sl_config_section(c, "ingest", ingest_table, NULL, &top) || !ingest(c, &top))
		return false;
	if (top.entry_bytes > top.record_bytes)
		return sl_error_at(c->e, limits ? limits : c->root,
				   "limit 'entry' is larger than limit 'record': a pair grows on its way");
	t->entry_max_bytes = top.entry_bytes;
	t->record_max_bytes = top.record_bytes;
	c->partitions = top.partitions;
	t->drain_ms = top.drain_ms;
	return true;
}

/* -- topics: and inline: ----------------------------------------------------------------- */

struct topic_values {
	struct sl_topic_keys keys;
	bool inlined;
};

static const char *const retentions[] = { "keep", "until_read", NULL };
static const struct sl_option topic_table[] = {
	{ .name = "partitions",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct topic_values, keys.partitions),
	  .least = 1,
	  .most = SL_PARTITIONS_MOST,
	  .help = "how many" },
	{ .name = "retention",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct topic_values, keys.retention),
	  .words = retentions,
	  .help = "until_read: segments go when every reader is past them" },
	{ .name = "segment",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct topic_values, keys.segment_bytes),
	  .least = KIB,
	  .most = 4 * GIB,
	  .help = "size at which a new segment file is begun" },
	{ .name = "inline",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct topic_values, inlined),
	  .help = "not stored: the reader runs in the writer's task" },
	{ 0 },
};

static int known_topic(struct sl_config *c, const struct sl_node *node, const char *name)
{
	int topic = sl_topology_topic(c->t, name);

	if (topic < 0)
		sl_error_at_key(c->e, node, "no step, trainer or ingest uses topic '%s'%s", name,
				sl_word_hint(c->a, name, sl_config_topic_names(c)));
	return topic;
}

static bool inline_list(struct sl_config *c)
{
	const struct sl_node *node = sl_node_get(c->root, "inline"), *item;
	const char *shown;
	struct sl_list list;

	if (!node || node->kind == SL_NODE_NONE)
		return true;
	if (!sl_node_list(c->a, node, "inline", &list, &shown, c->e))
		return false;
	item = node->first;
	for (size_t i = 0; i < list.count; i++, item = item ? item->next : NULL) {
		int topic = known_topic(c, item ? item : node, list.at[i]);

		if (topic < 0)
			return false;
		c->topic_keys[topic].inline_node = item ? item : node;
	}
	sl_settings_add(c->a, &c->settings, "inline", shown, sl_node_origin(c->a, node));
	return true;
}

static bool topics(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "topics");

	if (!inline_list(c))
		return false;
	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (map->kind != SL_NODE_MAP)
		return sl_error_at(c->e, map, "'topics' must be a map: { pairs.raw: { segment: 16MiB } }");
	for (const struct sl_node *n = map->first; n; n = n->next) {
		const struct sl_options_from from = { .map = n,
						      .what = sl_arena_print(c->a, "topic '%s'", n->key),
						      .prefix = sl_arena_print(c->a, "topics.%s.", n->key),
						      .at = n,
						      .explicit_only = true };
		const struct sl_node *inlined = sl_node_get(n, "inline");
		struct topic_values values = { 0 };
		int topic = known_topic(c, n, n->key);

		if (topic < 0 || !sl_options_read(c->a, &from, topic_table, &values, &c->settings, c->e))
			return false;
		values.keys.node = n;
		values.keys.inline_node = c->topic_keys[topic].inline_node;
		if (inlined)
			values.keys.inline_node = values.inlined ? inlined : NULL;
		c->topic_keys[topic] = values.keys;
	}
	return true;
}

/* -- Load, parse, free -------------------------------------------------------------------- */

static bool read_all(struct sl_config *c, struct sl_bytes yaml, const char *const *sets, size_t set_count)
{
	c->root = sl_yaml_parse(c->a, c->t->path, yaml, c->e);
	if (!c->root)
		return false;
	if (c->root->kind != SL_NODE_MAP)
		return sl_error_at(c->e, c->root, "a topology is a map: topology, steps, ...");
	if (!sl_config_sets(c, sets, set_count) || !top_level(c) || !sl_config_endpoints(c) || !sl_config_steps(c) ||
	    !sl_config_endpoint_names(c) || !sl_config_trainers(c) || !topics(c) || !sl_config_graph(c) ||
	    !sl_config_batches(c) || !sl_config_kafka_names(c))
		return false;
	c->t->settings = c->settings.at;
	c->t->setting_count = c->settings.count;
	return true;
}

struct sl_topology *sl_topology_parse(const char *path, struct sl_bytes yaml, const char *const *sets, size_t set_count,
				      struct sl_error *e)
{
	struct sl_topology *t = sl_calloc(1, sizeof *t);
	struct sl_config c = { .t = t, .a = &t->arena, .e = e };
	const char *slash = strrchr(path, '/');
	size_t bad;

	t->path = sl_arena_print(c.a, "%s", path);
	t->folder = slash ? sl_arena_print(c.a, "%.*s", slash == path ? 1 : (int)(slash - path), path) : ".";
	if (!sl_utf8_valid(sl_text(path), &bad)) /* it is shown in the plan, which is JSON */
		sl_error_set(e, SL_STOP, "byte %zu of the path of the topology file is not UTF-8 text", bad + 1);
	else if (yaml.size > FILE_MAX)
		sl_error_set(e, SL_STOP, "'%s' is larger than %zu bytes: not a topology file", path, FILE_MAX);
	else if (read_all(&c, yaml, sets, set_count))
		return t;
	sl_topology_free(t);
	return NULL;
}

struct sl_topology *sl_topology_load(const char *path, const char *const *sets, size_t set_count, struct sl_error *e)
{
	struct sl_buf yaml = { 0 };
	struct sl_topology *t = NULL;

	if (sl_file_read(path, FILE_MAX, &yaml, e))
		t = sl_topology_parse(path, sl_buf_bytes(&yaml), sets, set_count, e);
	sl_buf_release(&yaml);
	return t;
}

void sl_topology_free(struct sl_topology *t)
{
	if (!t)
		return;
	sl_arena_release(&t->arena);
	free(t);
}

int sl_topology_topic(const struct sl_topology *t, const char *name)
{
	for (size_t i = 0; i < t->topic_count; i++)
		if (strcmp(t->topics[i].name, name) == 0)
			return (int)i;
	return -1;
}

int sl_topology_step(const struct sl_topology *t, const char *name)
{
	for (size_t i = 0; i < t->step_count; i++)
		if (strcmp(t->steps[i].name, name) == 0)
			return (int)i;
	return -1;
}
