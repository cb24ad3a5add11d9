/* options.h -- from the texts of a topology file to the fields of a struct, by table.
 *
 * One kind of table (struct sl_option) serves the operators, the trainers and the
 * top-level keys, so every value is written, checked, shown and refused in the same way:
 *
 *     bool     true, false
 *     count    1000
 *     real     0.8
 *     time     250ms 30s 5m 24h 7d, or 0
 *     size     100B 512KiB 16MiB 1GiB, or 0
 *     text     any, or one of the table's words
 *     list     [a, b], or a text alone for a list of one; --set: a,b
 *
 * A value of a key that is an address or a secret (url, key, ca, listen, brokers, user, password)
 * may hold ${NAME}: the field gets the environment variable, everything shown keeps ${NAME}.
 * A secret that stands there in letters is shown as ***. */
#ifndef SL_OPTIONS_H
#define SL_OPTIONS_H

#include "topology.h"
#include "yaml.h"

/* A growing array of settings in an arena. */
struct sl_settings {
	struct sl_setting *at;
	size_t count, capacity;
};
void sl_settings_add(struct sl_arena *a, struct sl_settings *s, const char *name, const char *value,
		     const char *origin);

/* One text into its field at self + option->offset; texts are kept in the arena. The
 * error has no place in it: "'0.7x' is not a number". */
bool sl_option_parse(struct sl_arena *a, const struct sl_option *option, const char *text, void *self,
		     struct sl_error *e) SL_MUST_CHECK;

/* All options of a table: each from the child of `map` with its name (NULL map: none), else
 * its default. Every child of `map` must be an option or one of `others` (NULL-ended, may be
 * NULL). Settings are added under "<prefix><name>". With `explicit_only` an absent option has
 * no default: its field stays as it is and no setting is added.
 * `what` names the map in errors: "step 'dedupe'". */
struct sl_options_from {
	const struct sl_node *map;
	const char *what, *prefix;
	const char *const *others;
	const struct sl_node *at; /* where a missing required key is reported */
	bool explicit_only;
};
bool sl_options_read(struct sl_arena *a, const struct sl_options_from *from, const struct sl_option *table, void *self,
		     struct sl_settings *settings, struct sl_error *e) SL_MUST_CHECK;

/* A hash of the options that shape a store, of their values rather than their spelling. */
uint64_t sl_options_shape(const struct sl_option *table, const void *self, uint64_t seed);

/* The text of a node, or an error at it: "'from' of step 'x' must be a text". */
bool sl_node_text(const struct sl_node *node, const char *what, const char **text, struct sl_error *e) SL_MUST_CHECK;
/* A list of texts; a text alone is a list of one, and with --set it is split at commas.
 * *shown: "[a, b]". */
bool sl_node_list(struct sl_arena *a, const struct sl_node *node, const char *name, struct sl_list *list,
		  const char **shown, struct sl_error *e) SL_MUST_CHECK;
/* Replace every ${NAME} of *text by the environment variable; `name` is the key, for errors at the node. */
bool sl_node_interpolate(struct sl_arena *a, const struct sl_node *node, const char *name, const char **text,
			 struct sl_error *e) SL_MUST_CHECK;

/* Whether a key of this name holds a secret: password, secret, key, token, ... in it, but not *.location. */
bool sl_secret_name(const char *name);
/* A secret as it may be shown: ${NAME} as written, everything else as ***. */
const char *sl_secret_text(struct sl_arena *a, const char *text);

/* "curate.yaml:12:5" or "--set", for struct sl_setting. */
const char *sl_node_origin(struct sl_arena *a, const struct sl_node *node);

/* The nearest of `words` (NULL-ended), or NULL when none is near enough to be
 * meant: at most a third of the letters differ (Damerau-Levenshtein). */
const char *sl_word_nearest(const char *word, const char *const *words);
/* " (did you mean 'x'?)", or "" -- for the end of an error text. */
const char *sl_word_hint(struct sl_arena *a, const char *word, const char *const *words);

#endif
