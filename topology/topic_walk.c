/* topic_walk.c -- see topic_walk.h. One fetch holds a few megabytes of frames. */
#include "topic_walk.h"

#include "options.h"

#include <stdlib.h>
#include <string.h>

#define FETCH_BYTES ((size_t)4 << 20)

void sl_topic_walk_open(struct sl_topic_walk *w, struct sl_client *c, const struct sl_topology *t, int topic)
{
	*w = (struct sl_topic_walk){ .client = c, .topic = topic, .partitions = t->topics[topic].partitions };
	w->ends = sl_malloc((size_t)w->partitions * sizeof *w->ends);
	for (int32_t i = 0; i < w->partitions; i++)
		w->ends[i] = -1;
}

void sl_topic_walk_rewind(struct sl_topic_walk *w)
{
	w->partition = 0;
	w->next = 0;
	w->at = 0;
	sl_buf_clear(&w->frames);
}

void sl_topic_walk_close(struct sl_topic_walk *w)
{
	free(w->ends);
	sl_buf_release(&w->frames);
	*w = (struct sl_topic_walk){ 0 };
}

/* More frames, of this partition or a later one. False at the end of all or on error. */
static bool fetch(struct sl_topic_walk *w, struct sl_error *e)
{
	for (; w->partition < w->partitions; w->partition++, w->next = 0) {
		int64_t *end = &w->ends[w->partition];
		int64_t next, now;

		if (*end >= 0 && w->next >= *end)
			continue;
		sl_buf_clear(&w->frames);
		w->at = 0;
		if (!sl_client_fetch(w->client, w->topic, w->partition, w->next, FETCH_BYTES, &w->frames, &next, &now,
				     e)) {
			if (e->verdict == SL_OK)
				e->verdict = SL_STOP;
			return false;
		}
		if (*end < 0)
			*end = now;
		w->next = next;
		if (w->frames.size > 0)
			return true;
	}
	return false;
}

bool sl_topic_walk_next(struct sl_topic_walk *w, struct sl_record *record, struct sl_error *e)
{
	e->verdict = SL_OK;
	for (;;) {
		if (sl_frames_next(sl_buf_bytes(&w->frames), &w->at, record)) {
			if (record->offset < w->ends[w->partition])
				return true;
			w->at = w->frames.size; /* appended after the walk began */
			w->next = w->ends[w->partition];
			continue;
		}
		if (w->at != w->frames.size) {
			sl_error_set(e, SL_STOP, "a malformed record came from the owner of the data folder");
			return false;
		}
		if (!fetch(w, e))
			return false;
	}
}

bool sl_where_parse(const char *text, const char *const *keys, struct sl_where *where, struct sl_error *e)
{
	const char *equals = strchr(text, '=');
	struct sl_buf known = { 0 };

	*where = (struct sl_where){ 0 };
	if (equals) {
		where->key = (struct sl_bytes){ text, (size_t)(equals - text) };
		where->value = sl_text(equals + 1);
		for (size_t i = 0; keys[i]; i++)
			if (sl_is(where->key, keys[i]))
				return true;
	}
	for (size_t i = 0; keys[i]; i++)
		sl_buf_print(&known, "%s%s=VALUE", i ? ", " : "", keys[i]);
	sl_error_set(e, SL_STOP, "--where wants %s, not '%.100s'", sl_buf_text(&known), text);
	sl_buf_release(&known);
	return false;
}

struct sl_bytes sl_reason_of(const struct sl_pair *p, const struct sl_record *record)
{
	struct sl_bytes message = sl_header_find(record->headers, "__connect.errors.exception.message");

	if (message.data)
		return message;
	return p->trail_count ? p->trail[p->trail_count - 1].reason : (struct sl_bytes){ 0 };
}

struct sl_bytes sl_code_of(struct sl_bytes reason)
{
	const char *colon = reason.size ? memchr(reason.data, ':', reason.size) : NULL;

	return colon ? (struct sl_bytes){ reason.data, (size_t)(colon - (const char *)reason.data) } : reason;
}

bool sl_where_holds(const struct sl_where *where, const struct sl_pair *p, const struct sl_record *record)
{
	if (!where->key.data)
		return true;
	if (sl_is(where->key, "source"))
		return sl_bytes_equal(p->source, where->value);
	if (sl_is(where->key, "domain"))
		return sl_bytes_equal(p->domain, where->value);
	if (sl_is(where->key, "code")) {
		struct sl_bytes code = sl_header_find(record->headers, "__connect.errors.exception.class.name");

		return sl_bytes_equal(code.data ? code : sl_code_of(sl_reason_of(p, record)), where->value);
	}
	if (sl_bytes_equal(sl_header_find(record->headers, "__connect.errors.stage"), where->value))
		return true;
	for (size_t i = 0; i < p->trail_count; i++)
		if (sl_bytes_equal(p->trail[i].step, where->value))
			return true;
	return false;
}
