/* options.c -- values, ranges, words and units; see options.h for how they are written.
 *
 * Everything is strict: a number is digits and nothing else, times and sizes carry
 * their unit, a value out of range is refused with the range. Nothing here keeps state. */
#include "options.h"

#include "base/hash.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void sl_settings_add(struct sl_arena *a, struct sl_settings *s, const char *name, const char *value, const char *origin)
{
	if (s->count == s->capacity) {
		size_t capacity = s->capacity ? 2 * s->capacity : 16;
		struct sl_setting *at = sl_arena_alloc(a, capacity * sizeof *at);

		if (s->count)
			memcpy(at, s->at, s->count * sizeof *at);
		s->at = at;
		s->capacity = capacity;
	}
	s->at[s->count++] = (struct sl_setting){ name, value, origin };
}

/* -- The nearest word ---------------------------------------------------------- */

#define WORD_MAX 64

/* Edits (insert, delete, replace, swap of neighbours) from a to b, both at most WORD_MAX long. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];
	size_t a_size = strlen(a), b_size = strlen(b);

	for (size_t j = 0; j <= b_size; j++)
		before[j] = above[j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t *free_row = before;

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
		before = above;
		above = row;
		row = free_row;
	}
	return above[b_size];
}

const char *sl_word_nearest(const char *word, const char *const *words)
{
	const char *nearest = NULL;
	size_t size = strlen(word), least = SIZE_MAX;

	if (size > WORD_MAX)
		return NULL;
	for (; words && *words; words++) {
		size_t other = strlen(*words), distance;

		if (other > WORD_MAX)
			continue;
		distance = edit_distance(word, *words);
		if (distance < least && 3 * distance <= (size > other ? size : other)) {
			least = distance;
			nearest = *words;
		}
	}
	return nearest;
}

const char *sl_word_hint(struct sl_arena *a, const char *word, const char *const *words)
{
	const char *nearest = sl_word_nearest(word, words);

	return nearest ? sl_arena_print(a, " (did you mean '%s'?)", nearest) : "";
}

/* -- Values ---------------------------------------------------------------------- */

struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit time_units[] = { { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
					  { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 } };
static const struct unit size_units[] = { { "B", 1 },         { "KiB", 1 << 10 },   { "MiB", 1 << 20 },
					  { "GiB", 1 << 30 }, { "TiB", 1LL << 40 }, { NULL, 0 } };

/* The largest unit that divides the value: how a bound is shown. */
static const char *with_unit(struct sl_arena *a, double value, const struct unit *units)
{
	const struct unit *u = units;

	if (value == 0)
		return "0";
	while (u[1].name && fmod(value, (double)u[1].factor) == 0)
		u++;
	return sl_arena_print(a, "%.0f%s", value / (double)u->factor, u->name);
}

static const struct unit *units_of(const struct sl_option *option)
{
	return option->type == SL_OPTION_TIME_MS ? time_units : option->type == SL_OPTION_SIZE ? size_units : NULL;
}

static bool check_range(struct sl_arena *a, const struct sl_option *o, const char *text, double value,
			struct sl_error *e)
{
	const struct unit *units = units_of(o);

	if ((o->least == 0 && o->most == 0) || (value >= o->least && value <= o->most))
		return true;
	if (units)
		return sl_error_set(e, SL_STOP, "'%s' is out of range: %s to %s", text, with_unit(a, o->least, units),
				    with_unit(a, o->most, units));
	return sl_error_set(e, SL_STOP, "'%s' is out of range: %.15g to %.15g%s%s", text, o->least, o->most,
			    o->unit ? " " : "", o->unit ? o->unit : "");
}

/* Digits at *at, moved behind them; false when there are none or they overflow. */
static bool read_digits(const char **at, int64_t *value)
{
	const char *p = *at;

	*value = 0;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *p - '0', value))
			return false;
	if (p == *at)
		return false;
	*at = p;
	return true;
}

static bool parse_count(const char *text, int64_t *value, struct sl_error *e)
{
	bool negative = text[0] == '-';
	const char *at = text + negative;

	if (!read_digits(&at, value) || *at)
		return sl_error_set(e, SL_STOP, "'%s' is not a whole number", text);
	if (negative)
		*value = -*value;
	return true;
}

static bool parse_real(const char *text, double *value, struct sl_error *e)
{
	char *end = NULL;

	if (text[0] && strspn(text, "0123456789+-.eE") == strlen(text))
		*value = strtod(text, &end);
	if (!end || end == text || *end || !isfinite(*value))
		return sl_error_set(e, SL_STOP, "'%s' is not a number", text);
	return true;
}

static bool parse_unit(const char *text, const struct unit *units, int64_t *value, struct sl_error *e)
{
	const char *at = text;
	const char *how =
		units == time_units ? "a time: 250ms, 30s, 5m, 24h or 7d" : "a size: 100B, 512KiB, 16MiB or 1GiB";

	if (!read_digits(&at, value))
		return sl_error_set(e, SL_STOP, "'%s' is not %s", text, how);
	if (*value == 0 && *at == 0)
		return true;
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(at, u->name) != 0)
			continue;
		if (__builtin_mul_overflow(*value, u->factor, value))
			return sl_error_set(e, SL_STOP, "'%s' is too large", text);
		return true;
	}
	if (*at == 0)
		return sl_error_set(e, SL_STOP, "'%s' has no unit: write %s", text, how);
	return sl_error_set(e, SL_STOP, "'%s' is not %s", text, how);
}

static bool check_word(struct sl_arena *a, const struct sl_option *o, const char *text, struct sl_error *e)
{
	char *all = "";

	if (!o->words)
		return true;
	for (const char *const *w = o->words; *w; w++)
		if (strcmp(*w, text) == 0)
			return true;
	for (const char *const *w = o->words; *w; w++)
		all = sl_arena_print(a, "%s%s%s", all, *all ? ", " : "", *w);
	return sl_error_set(e, SL_STOP, "'%s' is not one of: %s%s", text, all, sl_word_hint(a, text, o->words));
}

static struct sl_bytes trimmed(struct sl_bytes text)
{
	const char *p = text.data;
	size_t size = text.size;

	for (; size && *p == ' '; size--)
		p++;
	while (size && p[size - 1] == ' ')
		size--;
	return (struct sl_bytes){ p, size };
}

/* "[a, b]" or "a,b" (spaces around commas do not count); "" and "[]" are the empty list. */
static bool parse_list(struct sl_arena *a, const struct sl_option *o, const char *text, struct sl_list *list,
		       struct sl_error *e)
{
	struct sl_bytes rest = trimmed(sl_text(text));
	const char *p = rest.data, *end;
	const char **at = sl_arena_alloc(a, (rest.size + 1) * sizeof *at);

	*list = (struct sl_list){ at, 0 };
	if (rest.size >= 2 && p[0] == '[' && p[rest.size - 1] == ']')
		rest = trimmed((struct sl_bytes){ p + 1, rest.size - 2 });
	if (rest.size == 0)
		return true;
	for (p = rest.data, end = p + rest.size;; p++) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		struct sl_bytes item = trimmed((struct sl_bytes){ p, (size_t)((comma ? comma : end) - p) });

		if (item.size == 0)
			return sl_error_set(e, SL_STOP, "'%s' has an empty item", text);
		at[list->count] = sl_arena_bytes(a, item).data;
		if (!check_word(a, o, at[list->count++], e))
			return false;
		if (!comma)
			return true;
		p = comma;
	}
}

bool sl_option_parse(struct sl_arena *a, const struct sl_option *o, const char *text, void *self, struct sl_error *e)
{
	char *field = (char *)self + o->offset;
	int64_t number = 0;
	double real = 0;

	switch (o->type) {
	case SL_OPTION_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return sl_error_set(e, SL_STOP, "'%s' is not true or false", text);
		*(bool *)field = text[0] == 't';
		return true;
	case SL_OPTION_REAL:
		if (!parse_real(text, &real, e) || !check_range(a, o, text, real, e))
			return false;
		*(double *)field = real;
		return true;
	case SL_OPTION_COUNT:
	case SL_OPTION_TIME_MS:
	case SL_OPTION_SIZE:
		if (!(units_of(o) ? parse_unit(text, units_of(o), &number, e) : parse_count(text, &number, e)) ||
		    !check_range(a, o, text, (double)number, e))
			return false;
		*(int64_t *)field = number;
		return true;
	case SL_OPTION_TEXT:
		if (!check_word(a, o, text, e))
			return false;
		*(const char **)field = sl_arena_bytes(a, sl_text(text)).data;
		return true;
	case SL_OPTION_LIST:
		return parse_list(a, o, text, (struct sl_list *)field, e);
	}
	return sl_error_set(e, SL_STOP, "option '%s' has no type", o->name);
}

/* -- Nodes ----------------------------------------------------------------------- */

const char *sl_node_origin(struct sl_arena *a, const struct sl_node *node)
{
	const char *slash = strrchr(node->path, '/');

	if (node->set)
		return "--set";
	return sl_arena_print(a, "%s:%d:%d", slash ? slash + 1 : node->path, node->line, node->column);
}

bool sl_node_text(const struct sl_node *node, const char *what, const char **text, struct sl_error *e)
{
	if (node->kind == SL_NODE_NONE)
		return sl_error_at(e, node, "%s has no value", what);
	if (node->kind != SL_NODE_TEXT)
		return sl_error_at(e, node, "%s must be a single value", what);
	*text = node->text;
	return true;
}

/* ${NAME} is for these only, so that a topology means the same everywhere. */
static bool is_address_or_secret(const char *name)
{
	static const char *const names[] = { "url", "key", "ca", "listen", "brokers", "user", "password", NULL };

	for (const char *const *n = names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return false;
}

bool sl_node_interpolate(struct sl_arena *a, const struct sl_node *node, const char *name, const char **text,
			 struct sl_error *e)
{
	const char *from = *text, *to = "";

	for (;;) {
		const char *open = strstr(from, "${"), *close, *variable, *value;

		if (!open)
			break;
		close = strchr(open, '}');
		if (!close || close == open + 2)
			return sl_error_at(e, node, "'%s' holds a '${' that is not '${NAME}'", name);
		variable = sl_arena_print(a, "%.*s", (int)(close - open - 2), open + 2);
		value = getenv(variable);
		if (!value)
			return sl_error_at(e, node, "environment variable '%s' is not set", variable);
		to = sl_arena_print(a, "%s%.*s%s", to, (int)(open - from), from, value);
		from = close + 1;
	}
	*text = sl_arena_print(a, "%s%s", to, from);
	return true;
}

/* The same for an option, which must be one that may. */
static bool interpolate(struct sl_arena *a, const struct sl_node *node, const char *name, const char **text,
			struct sl_error *e)
{
	if (!is_address_or_secret(name) && strstr(*text, "${"))
		return sl_error_at(
			e, node,
			"'%s' holds '${': environment variables are for addresses and secrets (url, key, ca, "
			"listen, brokers, user, password) only",
			name);
	return sl_node_interpolate(a, node, name, text, e);
}

/* -- Secrets ---------------------------------------------------------------------- */

static bool has_word(const char *name, const char *word)
{
	size_t size = strlen(word);

	for (const char *p = strstr(name, word); p; p = strstr(p + 1, word))
		if ((p == name || strchr("._-", p[-1])) && (p[size] == 0 || strchr("._-", p[size])))
			return true;
	return false;
}

bool sl_secret_name(const char *name)
{
	/* max_tokens and keytab are no secrets, so these two count as whole words only. */
	static const char *const words[] = { "key", "token", NULL };
	static const char *const parts[] = { "password", "passphrase", "secret", "jaas", "oauthbearer.config", NULL };
	static const char path[] = ".location";
	size_t size = strlen(name);

	if (size >= sizeof path - 1 && strcmp(name + size - (sizeof path - 1), path) == 0)
		return false;
	for (const char *const *p = parts; *p; p++)
		if (strstr(name, *p))
			return true;
	for (const char *const *w = words; *w; w++)
		if (has_word(name, *w))
			return true;
	return false;
}

const char *sl_secret_text(struct sl_arena *a, const char *text)
{
	const char *to = "";

	while (*text) {
		const char *open = strstr(text, "${"), *close = open ? strchr(open, '}') : NULL;

		if (!close)
			return sl_arena_print(a, "%s***", to);
		to = sl_arena_print(a, "%s%s%.*s", to, open > text ? "***" : "", (int)(close + 1 - open), open);
		text = close + 1;
	}
	return to;
}

/* How a list is shown: as it would be written. */
static const char *list_text(struct sl_arena *a, const struct sl_list *list)
{
	const char *text = "";

	for (size_t i = 0; i < list->count; i++)
		text = sl_arena_print(a, "%s%s%s", text, i ? ", " : "", list->at[i]);
	return sl_arena_print(a, "[%s]", text);
}

bool sl_node_list(struct sl_arena *a, const struct sl_node *node, const char *name, struct sl_list *list,
		  const char **shown, struct sl_error *e)
{
	const struct sl_option any = { .name = name, .type = SL_OPTION_LIST };
	const char *what = sl_arena_print(a, "an item of '%s'", name);
	const char **at = sl_arena_alloc(a, (node->count + 1) * sizeof *at);
	struct sl_error why;

	*list = (struct sl_list){ at, 0 };
	if (node->set && node->kind == SL_NODE_TEXT) {
		if (!parse_list(a, &any, node->text, list, &why))
			return sl_error_at(e, node, "'%s': %s", name, why.text);
	} else if (node->kind == SL_NODE_LIST) {
		for (const struct sl_node *n = node->first; n; n = n->next)
			if (!sl_node_text(n, what, &at[list->count++], e))
				return false;
	} else if (node->kind == SL_NODE_TEXT) {
		at[list->count++] = node->text;
	} else {
		return sl_error_at(e, node, "'%s' must be a list: [a, b]", name);
	}
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i][0] == 0)
			return sl_error_at(e, node, "'%s' has an empty item", name);
	*shown = list_text(a, list);
	return true;
}

static const char *secret_list(struct sl_arena *a, const struct sl_list *list)
{
	const char **at = sl_arena_alloc(a, (list->count + 1) * sizeof *at);
	const struct sl_list shown = { at, list->count };

	for (size_t i = 0; i < list->count; i++)
		at[i] = sl_secret_text(a, list->at[i]);
	return list_text(a, &shown);
}

/* A list option: its items are words, or texts with ${NAME}. */
static bool read_list(struct sl_arena *a, const struct sl_node *node, const struct sl_option *o, void *self,
		      const char **shown, struct sl_error *e)
{
	struct sl_list *list = (struct sl_list *)((char *)self + o->offset);
	struct sl_list texts;
	const char **at;
	struct sl_error why;

	if (!sl_node_list(a, node, o->name, &texts, shown, e))
		return false;
	if (sl_secret_name(o->name))
		*shown = secret_list(a, &texts);
	at = sl_arena_alloc(a, texts.count * sizeof *at);
	*list = (struct sl_list){ at, texts.count };
	for (size_t i = 0; i < texts.count; i++) {
		at[i] = texts.at[i];
		if (!interpolate(a, node, o->name, &at[i], e))
			return false;
		if (!check_word(a, o, at[i], &why))
			return sl_error_at(e, node, "'%s': %s", o->name, why.text);
	}
	return true;
}

static bool read_option(struct sl_arena *a, const struct sl_node *node, const struct sl_option *o, void *self,
			const char **shown, struct sl_error *e)
{
	const char *text = NULL;
	struct sl_error why;

	if (o->type == SL_OPTION_LIST)
		return read_list(a, node, o, self, shown, e);
	if (!sl_node_text(node, sl_arena_print(a, "'%s'", o->name), &text, e))
		return false;
	*shown = o->type == SL_OPTION_TEXT && sl_secret_name(o->name) ? sl_secret_text(a, text) : text;
	if (!interpolate(a, node, o->name, &text, e))
		return false;
	if (!sl_option_parse(a, o, text, self, &why))
		return sl_error_at(e, node, "'%s': %s", o->name, why.text);
	return true;
}

/* Every key of the map is known, or the nearest known one is named. */
static bool check_keys(struct sl_arena *a, const struct sl_options_from *from, const struct sl_option *table,
		       struct sl_error *e)
{
	size_t count = 0;
	const char **known;

	for (const struct sl_option *o = table; o && o->name; o++)
		count++;
	for (const char *const *w = from->others; w && *w; w++)
		count++;
	known = sl_arena_alloc(a, (count + 1) * sizeof *known);
	count = 0;
	for (const char *const *w = from->others; w && *w; w++)
		known[count++] = *w;
	for (const struct sl_option *o = table; o && o->name; o++)
		known[count++] = o->name;
	known[count] = NULL;
	for (const struct sl_node *n = from->map->first; n; n = n->next) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], n->key) != 0)
			i++;
		if (!known[i])
			return sl_error_at_key(e, n, "unknown key '%s' in %s%s", n->key, from->what,
					       sl_word_hint(a, n->key, known));
	}
	return true;
}

bool sl_options_read(struct sl_arena *a, const struct sl_options_from *from, const struct sl_option *table, void *self,
		     struct sl_settings *settings, struct sl_error *e)
{
	const struct sl_node *map = from->map && from->map->kind != SL_NODE_NONE ? from->map : NULL;

	if (map && map->kind != SL_NODE_MAP)
		return sl_error_at(e, map, "%s must be a map: { key: value }", from->what);
	if (map && !check_keys(a, from, table, e))
		return false;
	for (const struct sl_option *o = table; o && o->name; o++) {
		const struct sl_node *node = sl_node_get(map, o->name);
		const char *shown = o->value, *name = sl_arena_print(a, "%s%s", from->prefix, o->name);

		if (node) {
			if (!read_option(a, node, o, self, &shown, e))
				return false;
		} else if (from->explicit_only) {
			continue;
		} else if (!o->value) {
			return sl_error_at(e, from->at, "%s needs '%s': %s", from->what, o->name, o->help);
		} else if (!sl_option_parse(a, o, o->value, self, e)) {
			/* A bug of the table's author: a default is what one could have written. */
			return sl_error_in(e, "default of '%s' of %s", o->name, from->what);
		} else if (o->type == SL_OPTION_LIST) {
			shown = list_text(a, (const struct sl_list *)((const char *)self + o->offset));
		}
		sl_settings_add(a, settings, name, shown, node ? sl_node_origin(a, node) : "default");
	}
	return true;
}

uint64_t sl_options_shape(const struct sl_option *table, const void *self, uint64_t seed)
{
	uint64_t hash = seed;

	for (const struct sl_option *o = table; o && o->name; o++) {
		const char *field = (const char *)self + o->offset;
		const struct sl_list *list = (const struct sl_list *)field;

		if (!o->shapes_store)
			continue;
		hash = sl_hash64(o->name, strlen(o->name), hash);
		switch (o->type) {
		case SL_OPTION_BOOL:
			hash = sl_hash64(field, sizeof(bool), hash);
			break;
		case SL_OPTION_TEXT:
			hash = sl_hash64(*(const char *const *)field, strlen(*(const char *const *)field), hash);
			break;
		case SL_OPTION_LIST:
			for (size_t i = 0; i < list->count; i++)
				hash = sl_hash64(list->at[i], strlen(list->at[i]), hash);
			hash = sl_hash64(&list->count, sizeof list->count, hash);
			break;
		default: /* int64_t and double */
			hash = sl_hash64(field, 8, hash);
			break;
		}
	}
	return hash;
}
