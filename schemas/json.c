/* json.c -- see json.h. One recursive writer; its depth is bounded by jansson's
 * reader (2,048 levels), the only maker of the values it is given. */
#include "json.h"

#include "../topology/base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void add(struct sl_buf *to, const char *text)
{
	sl_buf_add_bytes(to, sl_text(text));
}

static void escaped(struct sl_buf *to, uint8_t c)
{
	static const char short_form[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

	if (c == '"' || c == '\\')
		sl_buf_add(to, (const uint8_t[]){ '\\', c }, 2);
	else if (c < sizeof short_form && short_form[c])
		sl_buf_add(to, (const uint8_t[]){ '\\', (uint8_t)short_form[c] }, 2);
	else
		sl_buf_print(to, "\\u%04x", c);
}

/* Text that is known to be valid UTF-8; a NUL is escaped like its neighbours. */
static void valid_text(struct sl_buf *to, struct sl_bytes text)
{
	const uint8_t *s = text.data;
	size_t from = 0;

	for (size_t i = 0; i < text.size; i++) {
		if (s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
			continue;
		sl_buf_add(to, s + from, i - from);
		escaped(to, s[i]);
		from = i + 1;
	}
	if (text.size > from)
		sl_buf_add(to, s + from, text.size - from);
}

void sl_json_text(struct sl_buf *to, struct sl_bytes text)
{
	const uint8_t *s = text.data;
	size_t bad;

	if (!s) {
		add(to, "null");
		return;
	}
	sl_buf_add_byte(to, '"');
	while (!sl_utf8_valid(text, &bad)) {
		valid_text(to, (struct sl_bytes){ s, bad });
		add(to, s[bad] ? "\xef\xbf\xbd" : "\\u0000");
		s += bad + 1;
		text = (struct sl_bytes){ s, text.size - bad - 1 };
	}
	valid_text(to, text);
	sl_buf_add_byte(to, '"');
}

void sl_json_number(struct sl_buf *to, double number)
{
	char text[40];

	if (!isfinite(number)) {
		add(to, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	add(to, text);
	if (!strpbrk(text, ".e")) /* 1.0 stays a real number */
		add(to, ".0");
}

static int by_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void object(struct sl_buf *to, const json_t *value, bool sorted)
{
	json_t *o = (json_t *)value; /* jansson's iterator wants it writable */
	size_t count = json_object_size(o), i = 0;
	const char **keys = sl_malloc((count + 1) * sizeof *keys);
	const char *key;
	json_t *member;

	json_object_foreach(o, key, member) keys[i++] = key;
	if (sorted)
		qsort(keys, count, sizeof *keys, by_key);
	sl_buf_add_byte(to, '{');
	for (i = 0; i < count; i++) {
		if (i > 0)
			sl_buf_add_byte(to, ',');
		sl_json_text(to, sl_text(keys[i]));
		sl_buf_add_byte(to, ':');
		sl_json_value(to, json_object_get(o, keys[i]), sorted);
	}
	sl_buf_add_byte(to, '}');
	free(keys);
}

void sl_json_value(struct sl_buf *to, const json_t *value, bool sorted)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		object(to, value, sorted);
		break;
	case JSON_ARRAY:
		sl_buf_add_byte(to, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			if (i > 0)
				sl_buf_add_byte(to, ',');
			sl_json_value(to, json_array_get(value, i), sorted);
		}
		sl_buf_add_byte(to, ']');
		break;
	case JSON_STRING:
		sl_json_text(to, sl_json_bytes(value));
		break;
	case JSON_INTEGER:
		sl_buf_print(to, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		sl_json_number(to, json_real_value(value));
		break;
	case JSON_TRUE:
		add(to, "true");
		break;
	case JSON_FALSE:
		add(to, "false");
		break;
	case JSON_NULL:
		add(to, "null");
		break;
	}
}

struct sl_bytes sl_json_dump(struct sl_arena *a, const json_t *value, bool sorted)
{
	struct sl_buf text = { 0 };
	struct sl_bytes copy;

	sl_json_value(&text, value, sorted);
	copy = sl_arena_bytes(a, sl_buf_bytes(&text));
	sl_buf_release(&text);
	return copy;
}

const char *sl_json_kind(const json_t *value)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",        [JSON_NULL] = "null",
	};

	return value ? kinds[json_typeof(value)] : "nothing";
}

struct sl_bytes sl_json_bytes(const json_t *value)
{
	return (struct sl_bytes){ json_string_value(value), json_string_length(value) };
}

json_t *sl_json_at(const json_t *object, const char *path)
{
	json_t *found = json_object_get(object, path);
	const char *dot = strchr(path, '.');

	if (found || !dot)
		return found;
	found = json_object_getn(object, path, (size_t)(dot - path));
	return json_is_object(found) ? sl_json_at(found, dot + 1) : NULL;
}
