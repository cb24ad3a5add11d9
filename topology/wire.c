/* wire.c -- see wire.h. Pure functions over bytes; tests/fuzz/fuzz_topology_wire.c
 * feeds the decoders whatever it likes. */
#include "wire.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_MAX 4096 /* bytes; a source is a name */

void sl_wire_mark_put(const struct sl_ingest_mark *mark, uint8_t to[SL_WIRE_MARK_SIZE])
{
	sl_put_le64(to, mark->position);
	sl_put_le64(to + 8, (uint64_t)mark->lines);
	sl_put_le64(to + 16, (uint64_t)mark->pairs);
	sl_put_le64(to + 24, (uint64_t)mark->ties);
	sl_put_le64(to + 32, (uint64_t)mark->invalid);
	sl_put_le64(to + 40, mark->hash);
}

bool sl_wire_mark_get(struct sl_bytes body, struct sl_ingest_mark *mark)
{
	const uint8_t *from = body.data;

	if (body.size != SL_WIRE_MARK_SIZE)
		return false;
	mark->position = sl_get_le64(from);
	mark->lines = (int64_t)sl_get_le64(from + 8);
	mark->pairs = (int64_t)sl_get_le64(from + 16);
	mark->ties = (int64_t)sl_get_le64(from + 24);
	mark->invalid = (int64_t)sl_get_le64(from + 32);
	mark->hash = sl_get_le64(from + 40);
	return mark->lines >= 0 && mark->pairs >= 0 && mark->ties >= 0 && mark->invalid >= 0;
}

void sl_wire_mark_hex(const struct sl_ingest_mark *mark, char to[2 * SL_WIRE_MARK_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[SL_WIRE_MARK_SIZE];

	sl_wire_mark_put(mark, bytes);
	for (size_t i = 0; i < sizeof bytes; i++) {
		to[2 * i] = digits[bytes[i] >> 4];
		to[2 * i + 1] = digits[bytes[i] & 15];
	}
	to[2 * sizeof bytes] = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool sl_wire_mark_unhex(const char *hex, struct sl_ingest_mark *mark)
{
	uint8_t bytes[SL_WIRE_MARK_SIZE];

	if (strlen(hex) != 2 * sizeof bytes)
		return false;
	for (size_t i = 0; i < sizeof bytes; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return sl_wire_mark_get((struct sl_bytes){ bytes, sizeof bytes }, mark);
}

static void put_sized(struct sl_buf *to, struct sl_bytes bytes)
{
	uint8_t size[4];

	sl_put_le32(size, (uint32_t)bytes.size);
	sl_buf_add(to, size, sizeof size);
	sl_buf_add_bytes(to, bytes);
}

/* Take `size` bytes from the front. */
static bool take(struct sl_bytes *body, size_t size, struct sl_bytes *out)
{
	if (size > body->size)
		return false;
	*out = (struct sl_bytes){ body->data, size };
	*body = (struct sl_bytes){ (const uint8_t *)body->data + size, body->size - size };
	return true;
}

static bool take_sized(struct sl_bytes *body, struct sl_bytes *out)
{
	struct sl_bytes size;

	return take(body, 4, &size) && take(body, sl_get_le32(size.data), out);
}

static bool take_mark(struct sl_bytes *body, struct sl_ingest_mark *mark)
{
	struct sl_bytes bytes;

	return take(body, SL_WIRE_MARK_SIZE, &bytes) && sl_wire_mark_get(bytes, mark);
}

static bool take_key(struct sl_bytes *body, struct sl_bytes *source, struct sl_id *head)
{
	struct sl_bytes id;

	if (!take_sized(body, source) || source->size > SOURCE_MAX || !take(body, sizeof head->b, &id))
		return false;
	if (source->size && memchr(source->data, 0, source->size))
		return false; /* a NUL ends a source in the store's keys */
	memcpy(head->b, id.data, sizeof head->b);
	return true;
}

void sl_wire_key_encode(struct sl_bytes source, struct sl_id head, struct sl_buf *to)
{
	put_sized(to, source);
	sl_buf_add(to, head.b, sizeof head.b);
}

bool sl_wire_key_decode(struct sl_bytes body, struct sl_bytes *source, struct sl_id *head, struct sl_error *e)
{
	if (!take_key(&body, source, head) || body.size > 0)
		return sl_error_set(e, SL_STOP, "the request's body is not a source and a head");
	return true;
}

void sl_wire_ingest_encode(const struct sl_ingest_append *a, struct sl_buf *to)
{
	uint8_t mark[SL_WIRE_MARK_SIZE];

	sl_wire_key_encode(a->source, a->head, to);
	sl_wire_mark_put(&a->before, mark);
	sl_buf_add(to, mark, sizeof mark);
	sl_wire_mark_put(&a->after, mark);
	sl_buf_add(to, mark, sizeof mark);
	put_sized(to, a->pairs);
	put_sized(to, a->ties);
	put_sized(to, a->dead);
}

static bool frames_whole(struct sl_bytes frames)
{
	struct sl_record record;
	size_t at = 0;

	while (sl_frames_next(frames, &at, &record))
		;
	return at == frames.size;
}

bool sl_wire_ingest_decode(struct sl_bytes body, struct sl_ingest_append *a, struct sl_error *e)
{
	if (!take_key(&body, &a->source, &a->head))
		return sl_error_set(e, SL_STOP, "the request's body does not begin with a source and a head");
	if (!take_mark(&body, &a->before) || !take_mark(&body, &a->after))
		return sl_error_set(e, SL_STOP, "the request's body does not hold two marks behind the head");
	if (!take_sized(&body, &a->pairs) || !take_sized(&body, &a->ties) || !take_sized(&body, &a->dead) || body.size)
		return sl_error_set(e, SL_STOP,
				    "the request's body does not hold three runs of frames behind the marks");
	if (!frames_whole(a->pairs) || !frames_whole(a->ties) || !frames_whole(a->dead))
		return sl_error_set(e, SL_STOP, "the request's body holds a malformed frame");
	return true;
}

bool sl_wire_records(struct sl_bytes frames, struct sl_record **records, size_t *count, struct sl_error *e)
{
	size_t at = 0, capacity = 0;
	struct sl_record record;

	*records = NULL;
	*count = 0;
	while (sl_frames_next(frames, &at, &record)) {
		if (*count == capacity) {
			capacity = capacity ? 2 * capacity : 64;
			*records = sl_realloc(*records, capacity * sizeof **records);
		}
		(*records)[(*count)++] = record;
	}
	if (at == frames.size)
		return true;
	free(*records);
	*records = NULL;
	*count = 0;
	return sl_error_set(e, SL_STOP, "malformed frame at byte %zu of %zu", at, frames.size);
}

static const struct {
	enum sl_verdict verdict;
	const char *word;
} verdicts[] = { { SL_RETRY, "retry" }, { SL_STOP, "stop" }, { SL_WAIT, "wait" } };

void sl_wire_error_encode(const struct sl_error *e, struct sl_buf *json)
{
	const char *word = "stop";
	json_t *object;
	char *text;

	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
		if (verdicts[i].verdict == e->verdict)
			word = verdicts[i].word;
	object = json_pack("{s:s, s:s}", "verdict", word, "text", e->text);
	if (!object) /* the text is not UTF-8: a path, say */
		object = json_pack("{s:s, s:s}", "verdict", word, "text", "(the message is not valid UTF-8)");
	text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (!text)
		sl_oom(0);
	sl_buf_add_bytes(json, sl_text(text));
	free(text);
	json_decref(object);
}

void sl_wire_error_decode(struct sl_bytes json, long http_status, struct sl_error *e)
{
	json_t *object = json_loadb(json.data ? json.data : "", json.size, 0, NULL);
	const char *word = json_string_value(json_object_get(object, "verdict"));
	const char *text = json_string_value(json_object_get(object, "text"));

	if (word && text) {
		sl_error_set(e, SL_STOP, "%s", text);
		for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
			if (strcmp(verdicts[i].word, word) == 0)
				e->verdict = verdicts[i].verdict;
	} else {
		sl_error_set(e, SL_STOP, "the owner of the data folder answered with HTTP status %ld: '%.*s'",
			     http_status, (int)(json.size < 80 ? json.size : 80),
			     json.data ? (const char *)json.data : "");
	}
	json_decref(object);
}
