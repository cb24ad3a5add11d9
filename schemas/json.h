/* json.h -- JSON text, written and found again.
 *
 * jansson reads JSON and holds it; this writes it. Ours, because jansson prints
 * 0.1 with 17 digits and knows only NUL-terminated strings: here a number is
 * written with the fewest digits that read back as the same number, and texts
 * are borrowed bytes. Output is compact, on one line, with UTF-8 as it is. */
#ifndef SL_JSON_H
#define SL_JSON_H

#include "../topology/base/arena.h"
#include "../topology/base/buf.h"

#include <jansson.h>

/* A string with its quotes. Control characters, quotes and backslashes are
 * escaped; a byte that is not valid UTF-8 becomes U+FFFD. Absent: null. */
void sl_json_text(struct sl_buf *to, struct sl_bytes text);

/* Fewest digits that read back as the same number; NaN and infinity: null. */
void sl_json_number(struct sl_buf *to, double number);

/* Any value; keys in the order they came in, or sorted by their bytes. */
void sl_json_value(struct sl_buf *to, const json_t *value, bool sorted);

/* The same as text in the arena. */
struct sl_bytes sl_json_dump(struct sl_arena *a, const json_t *value, bool sorted);

/* "an object", "a string", ...: for messages. NULL: "nothing". */
const char *sl_json_kind(const json_t *value);

/* The text of a string value, borrowed; absent for any other kind. */
struct sl_bytes sl_json_bytes(const json_t *value);

/* "a.b.c": the key of that whole name if there is one, else one key after the
 * other. NULL when absent. */
json_t *sl_json_at(const json_t *object, const char *path);

#endif
