/* yaml.h -- a YAML text as a plain tree in an arena, every node with its place.
 *
 * Only what a topology file needs: texts, lists and maps in one document. Anchors,
 * aliases and tags are errors (one value stands in one place), so are two equal
 * keys in a map. Whatever reads the tree deals in texts: types are decided by the reader's
 * option table, not by how a scalar looks. */
#ifndef SL_YAML_H
#define SL_YAML_H

#include "base/arena.h"
#include "base/buf.h"

enum sl_node_kind {
	SL_NODE_NONE, /* a key without a value */
	SL_NODE_TEXT,
	SL_NODE_LIST,
	SL_NODE_MAP
};

struct sl_node {
	enum sl_node_kind kind;
	const char *key;              /* in a map; NULL in a list */
	const char *text;             /* of SL_NODE_TEXT */
	struct sl_node *first, *next; /* children; the next in the parent */
	size_t count;                 /* of the children */
	const char *path;             /* of the file */
	int line, column;             /* of the value, from 1 */
	int key_line, key_column;
	const char *set; /* "--set a.b=c" when that put the value here; else NULL */
};

/* NULL on failure: SL_STOP with "<path>:<line>:<column>: ...". */
struct sl_node *sl_yaml_parse(struct sl_arena *a, const char *path, struct sl_bytes yaml,
			      struct sl_error *e) SL_MUST_CHECK;

/* The child with this key; NULL when absent or when `map` is no map. */
struct sl_node *sl_node_get(const struct sl_node *map, const char *key);

/* An error at the value or at the key of a node. Returns false. */
bool sl_error_at(struct sl_error *e, const struct sl_node *node, const char *fmt, ...) SL_PRINTF(3, 4);
bool sl_error_at_key(struct sl_error *e, const struct sl_node *node, const char *fmt, ...) SL_PRINTF(3, 4);

/* Put `text` where the keys lead, making maps and the value on the way. `set` is kept as
 * its origin. False when a key leads through something that is not a map. */
bool sl_node_put(struct sl_arena *a, struct sl_node *map, const char *const *keys, size_t count, const char *text,
		 const char *set);

#endif
