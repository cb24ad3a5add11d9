/* batch.c -- see batch.h. */
#include "batch.h"

#include "../../schemas/json.h"
#include "../base/text.h"
#include "../endpoint.h"

#include <stdio.h>

#define LINE_HEAD "{\"custom_id\":\"%s\",\"method\":\"POST\",\"url\":\"/v1%s\",\"body\":"

/* -- What is said ------------------------------------------------------------------------- */

void sl_batch_form_begin(struct sl_buf *to, const char *name)
{
	sl_buf_print(to,
		     "--" SL_FORM_BOUNDARY "\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
		     "--" SL_FORM_BOUNDARY
		     "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s.jsonl\"\r\n"
		     "Content-Type: application/jsonl\r\n\r\n",
		     name);
}

size_t sl_batch_line_around(const char *path)
{
	return sizeof LINE_HEAD + SL_ID_HEX_SIZE + strlen(path);
}

/* No text of JSON holds a raw line break, so none can look like the end of its line, or of the form. */
void sl_batch_form_line(struct sl_buf *to, const struct sl_id *key, const char *path, struct sl_bytes body)
{
	char hex[SL_ID_HEX_SIZE];
	size_t start;

	sl_buf_print(to, LINE_HEAD, sl_id_hex(*key, hex), path);
	start = to->size;
	sl_buf_add_bytes(to, body);
	for (size_t i = start; i < to->size; i++)
		if (to->data[i] == '\n' || to->data[i] == '\r')
			to->data[i] = ' ';
	sl_buf_add(to, "}\n", 2);
}

void sl_batch_form_end(struct sl_buf *to)
{
	sl_buf_print(to, "\r\n--" SL_FORM_BOUNDARY "--\r\n");
}

void sl_batch_create(struct sl_buf *to, const char *file, const char *path, const char *ours)
{
	sl_buf_print(to,
		     "{\"input_file_id\":\"%s\",\"endpoint\":\"/v1%s\",\"completion_window\":\"" SL_BATCH_WINDOW
		     "\",\"metadata\":{\"sluice\":\"%s\"}}",
		     file, path, ours);
}

/* -- What is answered --------------------------------------------------------------------- */

static json_t *parse(struct sl_bytes text)
{
	return text.size ? json_loadb(text.data, text.size, 0, NULL) : NULL;
}

/* False: it is not a text that can be part of a path. */
static bool id_of(const json_t *value, char id[SL_BATCH_ID_SIZE])
{
	const char *text = json_string_value(value);
	size_t size = text ? strlen(text) : 0;

	id[0] = 0;
	if (size == 0 || size >= SL_BATCH_ID_SIZE || text[0] == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-' &&
		    c != '_' && c != '.')
			return false;
	}
	memcpy(id, text, size + 1);
	return true;
}

/* A server's words in a record or on a terminal. */
static void words(char *to, size_t most, const char *code, const char *message)
{
	size_t n;

	snprintf(to, most, "%.60s%s%s", code ? code : "", code && message ? ": " : "", message ? message : "");
	n = strlen(to);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)to[i] < ' ' || (unsigned char)to[i] >= 0x7f)
			to[i] = '?';
}

bool sl_batch_read_id(struct sl_bytes body, char id[SL_BATCH_ID_SIZE])
{
	json_t *all = parse(body);
	bool is = id_of(json_object_get(all, "id"), id);

	json_decref(all);
	return is;
}

static bool batch_of(const json_t *batch, struct sl_batch_said *to)
{
	const char *status = json_string_value(json_object_get(batch, "status"));
	const json_t *errors = json_object_get(json_object_get(batch, "errors"), "data"), *first;

	*to = (struct sl_batch_said){ .stage = SL_BATCH_RUNNING };
	if (!status || !id_of(json_object_get(batch, "id"), to->id))
		return false;
	words(to->word, sizeof to->word, status, NULL);
	if (strcmp(status, "failed") == 0)
		to->stage = SL_BATCH_FAILED;
	else if (strcmp(status, "completed") == 0 || strcmp(status, "expired") == 0 || strcmp(status, "cancelled") == 0)
		to->stage = SL_BATCH_DONE;
	(void)id_of(json_object_get(batch, "output_file_id"), to->output);
	(void)id_of(json_object_get(batch, "error_file_id"), to->errors);
	first = json_array_get(errors, 0);
	words(to->why, sizeof to->why, json_string_value(json_object_get(first, "code")),
	      json_string_value(json_object_get(first, "message")));
	return true;
}

bool sl_batch_read(struct sl_bytes body, struct sl_batch_said *to)
{
	json_t *all = parse(body);
	bool is = batch_of(all, to);

	json_decref(all);
	return is;
}

bool sl_batch_find(struct sl_bytes page, const char *ours, struct sl_batch_said *to, bool *found,
		   char last[SL_BATCH_ID_SIZE])
{
	json_t *all = parse(page), *list = json_object_get(all, "data");
	bool is = json_is_array(list);

	*found = false;
	last[0] = 0;
	for (size_t i = 0; is && i < json_array_size(list) && !*found; i++) {
		const json_t *batch = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(json_object_get(batch, "metadata"), "sluice"));

		(void)id_of(json_object_get(batch, "id"), last);
		*found = name && strcmp(name, ours) == 0 && batch_of(batch, to);
	}
	if (!json_is_true(json_object_get(all, "has_more")))
		last[0] = 0;
	json_decref(all);
	return is;
}

static void line_read(struct sl_bytes text, struct sl_batch_line *to)
{
	json_t *line = parse(text);
	const json_t *response = json_object_get(line, "response"), *error = json_object_get(line, "error");
	const json_t *status = json_object_get(response, "status_code"), *body = json_object_get(response, "body");
	struct sl_bytes custom = sl_json_bytes(json_object_get(line, "custom_id"));

	to->keyed = custom.data && sl_id_parse(custom, &to->key);
	if (json_is_integer(status) && json_integer_value(status) >= 100 && json_integer_value(status) <= 599)
		to->status = (int)json_integer_value(status);
	if (to->status && json_is_string(body)) /* as some servers have it, JSON in a text */
		sl_buf_add_bytes(&to->body, sl_json_bytes(body));
	else if (to->status && body)
		sl_json_value(&to->body, body, false);
	if (!json_is_object(error))
		error = json_object_get(body, "error");
	words(to->why, sizeof to->why, json_string_value(json_object_get(error, "code")),
	      json_string_value(json_object_get(error, "message")));
	json_decref(line);
}

bool sl_batch_next(struct sl_bytes file, size_t *at, struct sl_batch_line *to)
{
	while (*at < file.size) {
		const char *start = (const char *)file.data + *at;
		const char *end = memchr(start, '\n', file.size - *at);
		size_t size = end ? (size_t)(end - start) : file.size - *at;

		*at += size + (end != NULL);
		to->keyed = false;
		to->status = 0;
		to->why[0] = 0;
		sl_buf_clear(&to->body);
		if (size == 0)
			continue;
		line_read((struct sl_bytes){ start, size }, to);
		return true;
	}
	return false;
}
