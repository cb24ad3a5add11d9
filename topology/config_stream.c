/* config_stream.c -- where topics live: stream:, and with Kafka registry: and kafka:; and models:, the
 * folder that the processes of one topology may have to share.
 *
 * One file serves both kinds of stream, so `--set stream.kind=kafka` must be enough to take it to real brokers
 * and back. Therefore a key of the kind that is not used is an error where the file contradicts itself, and is
 * left unused (the plan says so) where --set chose the kind over the file. What is left unused is
 * not read: its ${NAME} need not be set. */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KIB 1024.0
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define PREFIX_MAX 64

struct stream {
	const char *kind, *durability;
	const char *brokers, *prefix;
	int64_t replication, members;
	int64_t commit_every_ms, commit_bytes;
};

static const char *const kinds[] = { "embedded", "kafka", NULL };
static const char *const durabilities[] = { "sync", "os", NULL };

static const struct sl_option kind_table[] = {
	{ .name = "kind",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct stream, kind),
	  .value = "embedded",
	  .words = kinds,
	  .help = "back-end of the topics" },
	{ 0 },
};
static const struct sl_option embedded_table[] = {
	{ .name = "durability",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct stream, durability),
	  .value = "sync",
	  .words = durabilities,
	  .help = "sync: a commit survives power loss; os: it survives a crash of the process" },
	{ 0 },
};
static const struct sl_option kafka_table[] = {
	{ .name = "brokers",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct stream, brokers),
	  .help = "host:port of one or more brokers, with commas" },
	{ .name = "prefix",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct stream, prefix),
	  .value = "",
	  .help = "what every topic, group and transactional id begins with" },
	{ .name = "replication",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct stream, replication),
	  .value = "0",
	  .least = 0,
	  .most = 100,
	  .unit = "copies",
	  .help = "of the topics that are made; 0: the brokers' default" },
	{ .name = "members",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct stream, members),
	  .value = "1",
	  .least = 1,
	  .most = 64,
	  .unit = "threads",
	  .help = "of each step's consumer group in one process" },
	{ 0 },
};
static const struct sl_option commit_table[] = {
	{ .name = "commit_every",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct stream, commit_every_ms),
	  .value = "100ms",
	  .least = 1,
	  .most = 60000,
	  .help = "longest time between commits" },
	{ .name = "commit_bytes",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct stream, commit_bytes),
	  .value = "8MiB",
	  .least = 4 * KIB,
	  .most = GIB,
	  .help = "staged bytes that call for a commit" },
	{ 0 },
};
static const char *const stream_keys[] = { "kind",    "durability",   "brokers",      "prefix", "replication",
					   "members", "commit_every", "commit_bytes", NULL };

/* -- The kind that is not used -------------------------------------------------------- */

static const struct sl_node *kind_node(const struct sl_config *c)
{
	return sl_node_get(sl_node_get(c->root, "stream"), "kind");
}

/* A key that this kind of stream has no use for: shown as such, or an error. `name` is its path. */
static bool unused(struct sl_config *c, const struct sl_node *node, const char *name)
{
	const struct sl_node *kind = kind_node(c);
	bool kafka = c->t->stream == SL_STREAM_KAFKA;

	if (!kind || !kind->set || node->set)
		return sl_error_at_key(c->e, node, "'%s' is for stream.kind '%s', and here it is '%s'", name,
				       kinds[!kafka], kinds[kafka]);
	sl_settings_add(c->a, &c->settings, name, "-",
			sl_arena_print(c->a, "%s, not used: stream.kind is %s by --set", sl_node_origin(c->a, node),
				       kinds[kafka]));
	return true;
}

/* The same for the children of a map with a name in the table (NULL: all). */
static bool unused_in(struct sl_config *c, const char *section, const struct sl_option *table)
{
	const struct sl_node *map = sl_node_get(c->root, section);

	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (map->kind != SL_NODE_MAP)
		return unused(c, map, section);
	for (const struct sl_node *n = map->first; n; n = n->next) {
		const struct sl_option *o = table;

		while (o && o->name && strcmp(o->name, n->key) != 0)
			o++;
		if ((!o || o->name) && !unused(c, n, sl_arena_print(c->a, "%s.%s", section, n->key)))
			return false;
	}
	return true;
}

/* -- stream: ---------------------------------------------------------------------------- */

/* "host:port" or "[::1]:port" */
static bool is_broker(const char *text, size_t size)
{
	const char *end = text + size, *colon = memrchr(text, ':', size);
	size_t host = colon ? (size_t)(colon - text) : 0, digits = colon ? (size_t)(end - colon) - 1 : 0;
	bool bracketed = host > 2 && text[0] == '[' && text[host - 1] == ']';
	long port;

	if (host == 0 || digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") < digits)
		return false;
	port = strtol(colon + 1, NULL, 10);
	if (port < 1 || port > 65535)
		return false;
	for (size_t i = 0; i < host; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(bracketed ? "[]:.%" : ".-_", text[i]))
			return false;
	return true;
}

static bool check_brokers(struct sl_config *c, const struct sl_node *node, const char *brokers)
{
	for (const char *p = brokers;; p++) {
		size_t size = strcspn(p, ","), from = strspn(p, " "), to = size;

		while (to > from && p[to - 1] == ' ')
			to--;
		if (from >= to || !is_broker(p + from, to - from))
			return sl_error_at(c->e, node,
					   "'brokers': '%s' is not host:port, or several with commas, for example "
					   "127.0.0.1:9092",
					   node->text);
		p += size;
		if (*p == 0)
			return true;
	}
}

static bool of_topic_letters(const char *text)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("._-", *text))
			return false;
	return true;
}

static bool kafka_stream(struct sl_config *c, struct stream *s)
{
	const struct sl_node *map = sl_node_get(c->root, "stream");

	if (!sl_config_section(c, "stream", kafka_table, stream_keys, s) || !unused_in(c, "stream", embedded_table))
		return false;
	if (!check_brokers(c, sl_node_get(map, "brokers"), s->brokers))
		return false;
	if (!of_topic_letters(s->prefix) || strlen(s->prefix) > PREFIX_MAX)
		return sl_error_at(c->e, sl_node_get(map, "prefix"),
				   "'prefix': '%.80s' is not up to %d letters, digits, '.', '_' or '-'", s->prefix,
				   PREFIX_MAX);
	c->t->kafka.brokers = s->brokers;
	c->t->kafka.prefix = s->prefix;
	c->t->kafka.replication = s->replication;
	c->t->kafka.members = s->members;
	return true;
}

static bool embedded_stream(struct sl_config *c, struct stream *s)
{
	if (!sl_config_section(c, "stream", embedded_table, stream_keys, s) || !unused_in(c, "stream", kafka_table))
		return false;
	c->t->durable = strcmp(s->durability, "sync") == 0;
	c->t->kafka.prefix = "";
	return true;
}

static bool stream(struct sl_config *c)
{
	struct stream s = { 0 };

	if (!sl_config_section(c, "stream", kind_table, stream_keys, &s))
		return false;
	c->t->stream = strcmp(s.kind, "kafka") == 0 ? SL_STREAM_KAFKA : SL_STREAM_EMBEDDED;
	if (!(c->t->stream == SL_STREAM_KAFKA ? kafka_stream(c, &s) : embedded_stream(c, &s)) ||
	    !sl_config_section(c, "stream", commit_table, stream_keys, &s))
		return false;
	c->t->commit_every_ms = s.commit_every_ms;
	c->t->commit_bytes = s.commit_bytes;
	return true;
}

/* -- registry: -------------------------------------------------------------------------- */

struct registry {
	const char *url, *user, *password, *ca;
};

#define KEY(field_, value_, help_)                                                                                     \
	{                                                                                                              \
		.name = #field_, .type = SL_OPTION_TEXT, .offset = offsetof(struct registry, field_), .value = value_, \
		.help = help_                                                                                          \
	}
static const struct sl_option registry_table[] = {
	KEY(url, NULL, "address of a Confluent Schema Registry, for example \"${REGISTRY_URL}\""),
	KEY(user, "", "for basic authentication"),
	KEY(password, "", "of the user, for example \"${REGISTRY_PASSWORD}\""),
	KEY(ca, "", "a PEM file: who may have signed the registry's certificate"),
	{ 0 },
};

/* Texts that are not given are ""; those that are given are not. */
static bool given(struct sl_config *c, const struct sl_node *map, const char *key, const char **text)
{
	const struct sl_node *node = sl_node_get(map, key);

	if (!node)
		*text = NULL;
	else if ((*text)[0] == 0)
		return sl_error_at(c->e, node, "'%s' of 'registry' is empty: give it a value or leave it out", key);
	return true;
}

static bool check_url(struct sl_config *c, const struct sl_node *node, const char *url)
{
	const char *host = strstr(url, "://");
	bool http = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;

	host = http ? host + 3 : url;
	/* The text is not shown: what stands before an '@' may be a password. */
	if (memchr(host, '@', strcspn(host, "/?#")))
		return sl_error_at(c->e, node,
				   "'url' of 'registry' holds '@': write 'user' and 'password' as keys of their own");
	if (!http || strcspn(host, "/?#:") == 0)
		return sl_error_at(c->e, node, "'url' of 'registry': '%s' is not http://HOST:PORT or https://HOST:PORT",
				   node->text);
	return true;
}

static bool registry(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "registry");
	struct registry r = { 0 };

	if (c->t->stream != SL_STREAM_KAFKA)
		return unused_in(c, "registry", NULL);
	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (!sl_config_section(c, "registry", registry_table, NULL, &r) || !given(c, map, "url", &r.url) ||
	    !given(c, map, "user", &r.user) || !given(c, map, "password", &r.password) || !given(c, map, "ca", &r.ca) ||
	    !check_url(c, sl_node_get(map, "url"), r.url))
		return false;
	if (!r.user != !r.password)
		return sl_error_at(c->e, map, "'registry' has '%s' without '%s': give both or none",
				   r.user ? "user" : "password", r.user ? "password" : "user");
	c->t->kafka.registry_url = r.url;
	c->t->kafka.registry_user = r.user;
	c->t->kafka.registry_password = r.password;
	c->t->kafka.registry_ca = r.ca;
	return true;
}

/* -- kafka: ----------------------------------------------------------------------------- */

static bool property(struct sl_config *c, const struct sl_node *node, struct sl_property *p)
{
	const char *name = sl_arena_print(c->a, "kafka.%s", node->key), *text;

	if (!of_topic_letters(node->key) || !node->key[0])
		return sl_error_at_key(c->e, node,
				       "'%.80s' is not the name of a librdkafka property, for example "
				       "security.protocol",
				       node->key);
	if (node->kind == SL_NODE_MAP)
		return sl_error_at(c->e, node,
				   "'%s' must be a single value: a property's name is one word with dots in it, as "
				   "kafka: { security.protocol: SSL }",
				   name);
	if (!sl_node_text(node, sl_arena_print(c->a, "'%s'", name), &text, c->e))
		return false;
	p->name = node->key;
	p->node = node;
	p->shown = sl_secret_name(node->key) ? sl_secret_text(c->a, text) : text;
	p->value = text;
	sl_settings_add(c->a, &c->settings, name, p->shown, sl_node_origin(c->a, node));
	return sl_node_interpolate(c->a, node, name, &p->value, c->e);
}

static bool properties(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "kafka");
	struct sl_property *p;

	if (c->t->stream != SL_STREAM_KAFKA)
		return unused_in(c, "kafka", NULL);
	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (map->kind != SL_NODE_MAP)
		return sl_error_at(c->e, map, "'kafka' must be a map: { security.protocol: SASL_SSL }");
	p = sl_arena_zalloc(c->a, map->count * sizeof *p);
	c->t->kafka.properties = p;
	for (const struct sl_node *n = map->first; n; n = n->next)
		if (!property(c, n, &p[c->t->kafka.property_count++]))
			return false;
	return true;
}

/* -- models: ---------------------------------------------------------------------------- */

struct models {
	const char *dir;
};
static const struct sl_option models_table[] = {
	{ .name = "dir",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct models, dir),
	  .help = "folder of models/NAME/VERSION" },
	{ 0 },
};

static bool models(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "models");
	struct models m = { 0 };

	if (!map || map->kind == SL_NODE_NONE) {
		sl_settings_add(c->a, &c->settings, "models.dir", c->t->data, "as data");
		return true;
	}
	if (!sl_config_section(c, "models", models_table, NULL, &m))
		return false;
	if (m.dir[0] == 0)
		return sl_error_at(c->e, sl_node_get(map, "dir"), "'dir' of 'models' is empty: name a folder");
	c->t->models_dir = m.dir;
	return true;
}

bool sl_config_stream(struct sl_config *c)
{
	return stream(c) && registry(c) && properties(c) && models(c);
}

/* -- Names on the brokers ----------------------------------------------------------------- */

struct name {
	const char *text;
	const struct sl_node *node;
};

static void name_add(struct sl_config *c, struct name *names, size_t *count, const struct sl_node *node,
		     const char *what)
{
	names[(*count)++] = (struct name){ sl_arena_print(c->a, "%s%s", c->t->kafka.prefix, what), node };
}

/* Kafka takes '.' and '_' for the same letter where names must differ. */
static bool collide(const char *a, const char *b)
{
	while (*a && (*a == *b || (*a == '.' && *b == '_') || (*a == '_' && *b == '.')))
		a++, b++;
	return *a == *b;
}

bool sl_config_kafka_names(struct sl_config *c)
{
	const struct sl_topology *t = c->t;
	struct name *names = sl_arena_alloc(c->a, (t->topic_count + 2 * t->step_count + 1) * sizeof *names);
	size_t count = 0;

	if (t->stream != SL_STREAM_KAFKA)
		return true;
	name_add(c, names, &count, sl_node_get(c->root, "topology"), sl_arena_print(c->a, "%s.meta", t->name));
	for (size_t i = 0; i < t->step_count; i++) {
		const char *step = t->steps[i].name;

		if (strcmp(step, "leader") == 0)
			return sl_error_at(c->e, c->step_nodes[i],
					   "'leader' cannot be the name of a step on Kafka: group '%s%s.leader' is the "
					   "runtime's",
					   t->kafka.prefix, t->name);
		name_add(c, names, &count, c->step_nodes[i], sl_arena_print(c->a, "%s.%s.changelog", t->name, step));
		name_add(c, names, &count, c->step_nodes[i], sl_arena_print(c->a, "%s.%s.memo", t->name, step));
	}
	for (size_t i = 0; i < t->topic_count; i++)
		if (!t->topics[i].inlined)
			name_add(c, names, &count, c->topic_nodes[i], t->topics[i].name);
	for (size_t i = 0; i < count; i++) {
		const struct name *n = &names[i];

		if (strlen(n->text) > SL_CONFIG_TOPIC_NAME_MAX)
			return sl_error_at(c->e, n->node,
					   "'%.80s...' is longer than a topic's name on Kafka may be: %d", n->text,
					   SL_CONFIG_TOPIC_NAME_MAX);
		if (strncmp(n->text, "__", 2) == 0)
			return sl_error_at(c->e, n->node, "'%.80s': topics that begin with '__' are the brokers' own",
					   n->text);
		for (size_t k = 0; k < i; k++)
			if (collide(n->text, names[k].text))
				return sl_error_at(c->e, n->node,
						   "topics '%s' and '%s' cannot both be on Kafka: '.' and '_' count as "
						   "one letter there",
						   names[k].text, n->text);
	}
	return true;
}
