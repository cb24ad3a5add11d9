/* yaml.c -- from libfyaml's events to a tree of ours.
 *
 * Events rather than libfyaml's documents: each carries the mark of its token, nothing
 * is resolved behind our back, and the depth of recursion is bounded here. An event
 * is freed before the next one is asked for, so at most one is alive. */
#include "yaml.h"

#include "base/text.h"

#include <libfyaml.h>

#include <stdarg.h>
#include <stdio.h>

#define DEPTH_MAX 16
#define NODES_MAX 10000

struct reader {
	struct sl_arena *a;
	const char *path;
	struct fy_parser *parser;
	struct fy_diag *diag;
	struct fy_event *event; /* the current one */
	size_t nodes;
	struct sl_error *e;
};

static void error_place(struct sl_error *e, const struct sl_node *node, int line, int column, const char *fmt,
			va_list args)
{
	char text[sizeof e->text];

	vsnprintf(text, sizeof text, fmt, args);
	if (node->set)
		sl_error_set(e, SL_STOP, "%s: %s", node->set, text);
	else
		sl_error_set(e, SL_STOP, "%s:%d:%d: %s", node->path, line, column, text);
}

bool sl_error_at(struct sl_error *e, const struct sl_node *node, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_place(e, node, node->line, node->column, fmt, args);
	va_end(args);
	return false;
}

bool sl_error_at_key(struct sl_error *e, const struct sl_node *node, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (node->key && node->key_line)
		error_place(e, node, node->key_line, node->key_column, fmt, args);
	else
		error_place(e, node, node->line, node->column, fmt, args);
	va_end(args);
	return false;
}

struct sl_node *sl_node_get(const struct sl_node *map, const char *key)
{
	if (!map || map->kind != SL_NODE_MAP)
		return NULL;
	for (struct sl_node *n = map->first; n; n = n->next)
		if (strcmp(n->key, key) == 0)
			return n;
	return NULL;
}

static struct sl_node *node_new(struct sl_arena *a, const char *path)
{
	struct sl_node *n = sl_arena_zalloc(a, sizeof *n);

	n->path = path;
	return n;
}

static void node_append(struct sl_node *parent, struct sl_node *child)
{
	struct sl_node **at = &parent->first;

	while (*at)
		at = &(*at)->next;
	*at = child;
	parent->count++;
}

bool sl_node_put(struct sl_arena *a, struct sl_node *map, const char *const *keys, size_t count, const char *text,
		 const char *set)
{
	for (size_t i = 0; i < count; i++) {
		struct sl_node *n;

		if (map->kind == SL_NODE_NONE)
			map->kind = SL_NODE_MAP;
		if (map->kind != SL_NODE_MAP)
			return false;
		n = sl_node_get(map, keys[i]);
		if (!n) {
			n = node_new(a, map->path);
			n->kind = SL_NODE_MAP;
			n->key = keys[i];
			n->set = set;
			node_append(map, n);
		}
		map = n;
	}
	map->kind = SL_NODE_TEXT;
	map->text = text;
	map->set = set;
	map->first = NULL;
	map->count = 0;
	return true;
}

/* -- Events ------------------------------------------------------------------ */

/* libfyaml collects what went wrong with its place; the first one is the cause. */
static bool syntax_error(struct reader *r)
{
	void *at = NULL;
	struct fy_diag_error *found = fy_diag_errors_iterate(r->diag, &at);

	if (found)
		sl_error_set(r->e, SL_STOP, "%s:%d:%d: not valid YAML: %s", r->path, found->line, found->column,
			     found->msg);
	else
		sl_error_set(r->e, SL_STOP, "%s: not valid YAML", r->path);
	return false;
}

static bool next_event(struct reader *r)
{
	if (r->event)
		fy_parser_event_free(r->parser, r->event);
	r->event = fy_parser_parse(r->parser);
	if (!r->event || fy_parser_get_stream_error(r->parser))
		return syntax_error(r);
	return true;
}

static void place(const struct reader *r, int *line, int *column)
{
	const struct fy_mark *mark = fy_event_start_mark(r->event);

	*line = mark ? mark->line + 1 : 1;
	*column = mark ? mark->column + 1 : 1;
	/* The mark of a quoted text is behind the quote. */
	if (mark && mark->column > 0 && r->event->type == FYET_SCALAR) {
		enum fy_scalar_style style = fy_token_scalar_style(r->event->scalar.value);

		*column -= style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
	}
}

/* The text of the current scalar; NULL for a plain nothing, "~" or "null". */
static bool scalar_text(struct reader *r, const struct sl_node *node, const char **text)
{
	struct fy_token *token = r->event->scalar.value;
	size_t size = 0;
	const char *data = token ? fy_token_get_text(token, &size) : "";
	struct sl_bytes bytes = { data ? data : "", size };

	if (memchr(bytes.data, 0, bytes.size))
		return sl_error_at(r->e, node, "a text contains a NUL character");
	*text = sl_arena_bytes(r->a, bytes).data;
	if (fy_token_scalar_style(token) == FYSS_PLAIN && (size == 0 || sl_is(bytes, "~") || sl_is(bytes, "null")))
		*text = NULL;
	return true;
}

static bool plain_only(struct reader *r, const struct sl_node *node)
{
	const struct fy_token *anchor = NULL, *tag = NULL;

	switch (r->event->type) {
	case FYET_SCALAR:
		anchor = r->event->scalar.anchor;
		tag = r->event->scalar.tag;
		break;
	case FYET_SEQUENCE_START:
		anchor = r->event->sequence_start.anchor;
		tag = r->event->sequence_start.tag;
		break;
	case FYET_MAPPING_START:
		anchor = r->event->mapping_start.anchor;
		tag = r->event->mapping_start.tag;
		break;
	case FYET_ALIAS:
		return sl_error_at(r->e, node, "aliases (*name) are not allowed: write the value out");
	default:
		break;
	}
	if (anchor)
		return sl_error_at(r->e, node, "anchors (&name) are not allowed: write the value out where it is used");
	if (tag)
		return sl_error_at(r->e, node, "tags (!name) are not allowed: each key knows its type");
	return true;
}

static bool read_node(struct reader *r, int depth, struct sl_node *node);

static bool read_map(struct reader *r, int depth, struct sl_node *map)
{
	struct sl_node *last = NULL;

	while (next_event(r)) {
		struct sl_node *child, *same;

		if (r->event->type == FYET_MAPPING_END)
			return true;
		child = node_new(r->a, r->path);
		place(r, &child->line, &child->column);
		if (!plain_only(r, child))
			return false;
		if (r->event->type != FYET_SCALAR)
			return sl_error_at(r->e, child, "a key must be a text");
		if (!scalar_text(r, child, &child->key))
			return false;
		if (!child->key || child->key[0] == 0)
			return sl_error_at(r->e, child, "a key is empty");
		child->key_line = child->line;
		child->key_column = child->column;
		same = sl_node_get(map, child->key);
		if (same)
			return sl_error_at(r->e, child, "key '%s' stands twice, first on line %d", child->key,
					   same->key_line);
		if (!next_event(r) || !read_node(r, depth + 1, child))
			return false;
		/* Nothing has no place of its own. */
		if (child->kind == SL_NODE_NONE) {
			child->line = child->key_line;
			child->column = child->key_column;
		}
		if (last)
			last->next = child;
		else
			map->first = child;
		last = child;
		map->count++;
	}
	return false;
}

static bool read_list(struct reader *r, int depth, struct sl_node *list)
{
	struct sl_node *last = NULL;

	while (next_event(r)) {
		struct sl_node *child;

		if (r->event->type == FYET_SEQUENCE_END)
			return true;
		child = node_new(r->a, r->path);
		if (!read_node(r, depth + 1, child))
			return false;
		if (child->kind == SL_NODE_NONE) {
			child->line = list->line;
			child->column = list->column;
		}
		if (last)
			last->next = child;
		else
			list->first = child;
		last = child;
		list->count++;
	}
	return false;
}

/* The node that begins with the current event, into `node`. */
static bool read_node(struct reader *r, int depth, struct sl_node *node)
{
	place(r, &node->line, &node->column);
	if (depth > DEPTH_MAX)
		return sl_error_at(r->e, node, "nested deeper than %d levels", DEPTH_MAX);
	if (++r->nodes > NODES_MAX)
		return sl_error_at(r->e, node, "more than %d values", NODES_MAX);
	if (!plain_only(r, node))
		return false;
	switch (r->event->type) {
	case FYET_SCALAR:
		if (!scalar_text(r, node, &node->text))
			return false;
		node->kind = node->text ? SL_NODE_TEXT : SL_NODE_NONE;
		return true;
	case FYET_SEQUENCE_START:
		node->kind = SL_NODE_LIST;
		return read_list(r, depth, node);
	case FYET_MAPPING_START:
		node->kind = SL_NODE_MAP;
		return read_map(r, depth, node);
	default:
		return sl_error_at(r->e, node, "a value was expected here");
	}
}

/* stream start, document start, the root, document end, stream end. */
static bool read_stream(struct reader *r, struct sl_node *root)
{
	root->line = root->column = 1;
	if (!next_event(r) || !next_event(r))
		return false;
	if (r->event->type != FYET_DOCUMENT_START)
		return sl_error_at(r->e, root, "the file is empty: a topology was expected");
	if (!next_event(r) || !read_node(r, 0, root) || !next_event(r) || !next_event(r))
		return false;
	if (r->event->type != FYET_STREAM_END) {
		struct sl_node second = { .path = r->path };

		place(r, &second.line, &second.column);
		return sl_error_at(r->e, &second, "a second document begins: a file holds one topology");
	}
	return true;
}

static bool printable(struct reader *r, struct sl_bytes yaml)
{
	size_t bad;
	struct sl_node at = { .path = r->path, .line = 1, .column = 1 };

	if (sl_utf8_valid(yaml, &bad))
		return true;
	for (size_t i = 0; i < bad; i++) {
		bool line = ((const char *)yaml.data)[i] == '\n';

		at.line += line;
		at.column = line ? 1 : at.column + 1;
	}
	return sl_error_at(r->e, &at, "not valid UTF-8 text");
}

/* Errors are collected, not printed. */
static void no_output(struct fy_diag *diag, void *user, const char *text, size_t size)
{
	(void)diag;
	(void)user;
	(void)text;
	(void)size;
}

struct sl_node *sl_yaml_parse(struct sl_arena *a, const char *path, struct sl_bytes yaml, struct sl_error *e)
{
	struct fy_diag_cfg quiet;
	struct fy_parse_cfg config = { .flags = FYPCF_JSON_NONE };
	struct reader r = { .a = a, .path = path, .e = e };
	struct sl_node *root = node_new(a, path);
	bool ok;

	if (!printable(&r, yaml))
		return NULL;
	fy_diag_cfg_default(&quiet);
	quiet.fp = NULL;
	quiet.output_fn = no_output;
	r.diag = config.diag = fy_diag_create(&quiet);
	r.parser = r.diag ? fy_parser_create(&config) : NULL;
	if (!r.parser)
		sl_oom(sizeof config);
	fy_diag_set_collect_errors(r.diag, true);
	/* libfyaml takes a size of 0 to mean strlen. */
	if (fy_parser_set_string(r.parser, yaml.size ? yaml.data : " ", yaml.size ? yaml.size : 1) != 0)
		ok = syntax_error(&r);
	else
		ok = read_stream(&r, root);
	if (r.event)
		fy_parser_event_free(r.parser, r.event);
	fy_parser_destroy(r.parser);
	fy_diag_destroy(r.diag);
	return ok ? root : NULL;
}
