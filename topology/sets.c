/* sets.c -- `--set key=value` as changes of the parsed tree, before anything is read
 * from it. So a value set on the command line passes through the same checks as one in the file,
 * and an error names the --set where it would name a line.
 *
 *     partitions=4                       a top-level key
 *     stream.commit_every=50ms           a key of a top-level map
 *     topics.pairs.raw.segment=16MiB     names of topics hold dots: the last word is the key
 *     prices.gpt-4.1.prompt=2.5          so do names of models
 *     dedupe.jaccard=0.7                 a step or trainer by its name
 *     kafka.security.protocol=SSL        so do names of librdkafka properties
 *     dedupe.to.unique=pairs.first       and deeper */
#include "config.h"

#include "base/text.h"

#define KEYS_MAX 4

static const char *const sections[] = { "topology",  "data",   "partitions", "inline",  "stream", "registry",
					"kafka",     "models", "limits",     "metrics", "topics", "ingest",
					"endpoints", "prices", "memo",       "drain",   NULL };

/* "a.b.c" into at most KEYS_MAX keys; 0: a key is empty or there are too many. */
static size_t split(struct sl_arena *a, const char *path, const char **keys)
{
	for (size_t count = 0; count < KEYS_MAX;) {
		size_t size = strcspn(path, ".");

		if (size == 0)
			return 0;
		keys[count++] = sl_arena_print(a, "%.*s", (int)size, path);
		if (path[size] == 0)
			return count;
		path += size + 1;
	}
	return 0;
}

/* topics.<name with dots>.<key>, and prices.<model with dots>.<key> */
static size_t split_dotted(struct sl_arena *a, const char *path, const char **keys)
{
	const char *name = strchr(path, '.'), *key = strrchr(path, '.');

	if (!name || key == name || key == name + 1 || key[1] == 0)
		return 0;
	keys[0] = sl_arena_print(a, "%.*s", (int)(name - path), path);
	keys[1] = sl_arena_print(a, "%.*s", (int)(key - name - 1), name + 1);
	keys[2] = sl_arena_print(a, "%s", key + 1);
	return 3;
}

/* kafka.<name of a property with dots> */
static size_t split_kafka(const char *path, const char **keys)
{
	keys[0] = "kafka";
	keys[1] = path + sizeof "kafka." - 1;
	return keys[1][0] ? 2 : 0;
}

/* The step or trainer with this name. */
static struct sl_node *named(const struct sl_node *list, const char *name)
{
	if (!list || list->kind != SL_NODE_LIST)
		return NULL;
	for (struct sl_node *n = list->first; n; n = n->next) {
		const struct sl_node *own = sl_node_get(n, "name");

		if (own && own->kind == SL_NODE_TEXT && strcmp(own->text, name) == 0)
			return n;
	}
	return NULL;
}

/* Every first word there is, for the hint. */
static const char *hint(struct sl_config *c, const char *word)
{
	const struct sl_node *lists[] = { sl_node_get(c->root, "steps"), sl_node_get(c->root, "trainers") };
	size_t count = 0;
	const char **words;

	for (size_t i = 0; i < 2; i++)
		count += lists[i] ? lists[i]->count : 0;
	words = sl_arena_alloc(c->a, count * sizeof *words + sizeof sections);
	count = 0;
	for (size_t i = 0; i < 2; i++) {
		for (const struct sl_node *n = lists[i] ? lists[i]->first : NULL; n; n = n->next) {
			const struct sl_node *own = sl_node_get(n, "name");

			if (own && own->kind == SL_NODE_TEXT)
				words[count++] = own->text;
		}
	}
	memcpy(words + count, sections, sizeof sections);
	return sl_word_hint(c->a, word, words);
}

static bool is_section(const char *word)
{
	for (const char *const *s = sections; *s; s++)
		if (strcmp(*s, word) == 0)
			return true;
	return false;
}

/* The argument as errors may show it: without a secret. */
static const char *shown(struct sl_config *c, const char *set, const char *equals)
{
	size_t size = equals ? (size_t)(equals - set) : strlen(set);
	const char *path = sl_arena_print(c->a, "%.*s", (int)size, set);

	if (!sl_secret_name(path))
		return set;
	return equals ? sl_arena_print(c->a, "%s=%s", path, sl_secret_text(c->a, equals + 1)) : "***";
}

static bool apply(struct sl_config *c, const char *set)
{
	const char *equals = strchr(set, '='), *keys[KEYS_MAX], *path, *origin;
	struct sl_node *at = c->root;
	size_t count, from = 0, bad;

	if (!sl_utf8_valid(sl_text(set), &bad))
		return sl_error_set(c->e, SL_STOP, "--set: byte %zu of a value is not UTF-8 text", bad + 1);
	origin = sl_arena_print(c->a, "--set %s", shown(c, set, equals));
	if (!equals || equals == set)
		return sl_error_set(c->e, SL_STOP, "%s: '%s' is not key=value, for example dedupe.jaccard=0.7", origin,
				    shown(c, set, equals));
	path = sl_arena_print(c->a, "%.*s", (int)(equals - set), set);
	if (strncmp(path, "topics.", 7) == 0 || strncmp(path, "prices.", 7) == 0)
		count = split_dotted(c->a, path, keys);
	else if (strncmp(path, "kafka.", 6) == 0)
		count = split_kafka(path, keys);
	else
		count = split(c->a, path, keys);
	if (count == 0)
		return sl_error_set(c->e, SL_STOP, "%s: '%s' is not a key: write step.key or topics.NAME.key", origin,
				    path);
	if (!is_section(keys[0])) {
		at = named(sl_node_get(c->root, "steps"), keys[0]);
		if (!at)
			at = named(sl_node_get(c->root, "trainers"), keys[0]);
		from = 1;
	}
	if (!at && sl_node_get(sl_node_get(c->root, "endpoints"), keys[0]))
		return sl_error_set(c->e, SL_STOP, "%s: '%s' is an endpoint: write endpoints.%s", origin, keys[0],
				    path);
	if (!at)
		return sl_error_set(c->e, SL_STOP, "%s: no step, trainer or key '%s'%s", origin, keys[0],
				    hint(c, keys[0]));
	if (from == count)
		return sl_error_set(c->e, SL_STOP, "%s: '%s' is a step or trainer: write %s.key=value", origin, path,
				    path);
	if (from == 1 && strcmp(keys[1], "name") == 0)
		return sl_error_set(c->e, SL_STOP, "%s: a name is given in the file, its state hangs on it", origin);
	if (!sl_node_put(c->a, at, keys + from, count - from, sl_arena_print(c->a, "%s", equals + 1), origin))
		return sl_error_set(c->e, SL_STOP, "%s: '%s' leads through a value that has no keys", origin, path);
	return true;
}

bool sl_config_sets(struct sl_config *c, const char *const *sets, size_t set_count)
{
	for (size_t i = 0; i < set_count; i++)
		if (!apply(c, sets[i]))
			return false;
	return true;
}
