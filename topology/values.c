/* values.c -- see values.h. The first bytes tell the form; everything behind them is a stranger's.
 *
 * The ids of our own schemas in the registry are asked for once per topic and kept in `subjects`,
 * under the lock; records written later need no registry. */
#include "values.h"

#include "../schemas/fresh.h"
#include "../schemas/jsonl.h"
#include "base/thread.h"

#include <stdlib.h>

enum { FRAME_BYTES = 5 };

/* What a schema of ours is called under one topic's subject. */
struct subject {
	char *topic;
	const char *schema; /* compiled in: the pointer tells it apart */
	int32_t id;
};

struct sl_values {
	struct sl_registry *registry;
	pthread_mutex_t lock;
	struct subject *subjects;
	size_t subject_count;
};

struct sl_values *sl_values_new(struct sl_registry *registry)
{
	struct sl_values *v = sl_calloc(1, sizeof *v);

	v->registry = registry;
	sl_mutex_init(&v->lock);
	return v;
}

void sl_values_free(struct sl_values *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->subject_count; i++)
		free(v->subjects[i].topic);
	free(v->subjects);
	sl_mutex_destroy(&v->lock);
	free(v);
}

/* -- Reading -------------------------------------------------------------------------- */

static bool is_framed(struct sl_bytes value)
{
	return value.size >= FRAME_BYTES && *(const uint8_t *)value.data == 0;
}

static bool is_object(struct sl_bytes value)
{
	return sl_bytes_begins(value, sl_text("\xc3\x01"));
}

/* An object of JSON, perhaps behind a byte-order mark or white space. */
static bool is_json(struct sl_bytes value)
{
	const char *s = value.data;
	size_t i = sl_bytes_begins(value, sl_text("\xef\xbb\xbf")) ? 3 : 0;

	while (i < value.size && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n'))
		i++;
	return i < value.size && s[i] == '{';
}

/* The decoder and the body of a value in Confluent's framing. */
static const struct sl_decoder *unframe(struct sl_values *v, struct sl_bytes value, struct sl_bytes *body,
					struct sl_error *e)
{
	const uint8_t *at = value.data;
	uint32_t id = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];

	if (!v->registry) {
		sl_error_set(e, SL_STOP,
			     "the value names schema %u of a schema registry, and there is none in the topology: set "
			     "registry.url",
			     id);
		return NULL;
	}
	if (id > INT32_MAX) {
		sl_error_set(e, SL_STOP, "the value names schema %u of the schema registry, at most %d", id, INT32_MAX);
		return NULL;
	}
	*body = (struct sl_bytes){ at + FRAME_BYTES, value.size - FRAME_BYTES };
	return sl_registry_decoder(v->registry, (int32_t)id, e);
}

static bool read_json(const struct sl_values_from *from, struct sl_bytes value, struct sl_arena *a, struct sl_pair *p,
		      struct sl_error *e)
{
	struct sl_parsed parsed = { 0 };

	if (!from->entry)
		return sl_error_set(e, SL_STOP, "a JSON value: only the entry topic takes them");
	if (!sl_jsonl_parse(value, NULL, a, &parsed, e))
		return false;
	if (parsed.pair_count == 1 && parsed.tie_count == 0) {
		*p = parsed.pairs[0];
		return true;
	}
	if (parsed.pair_count == 0 && parsed.tie_count > 0)
		return sl_error_set(
			e, SL_STOP,
			"the value is a tie: the entry topic takes pairs with a better answer; 'sluice ingest' "
			"keeps ties");
	return sl_error_set(e, SL_STOP,
			    "the value holds %zu pairs and %zu ties, expected one pair: send each in a record of its "
			    "own, or let 'sluice ingest' read them",
			    parsed.pair_count, parsed.tie_count);
}

static bool read_any(struct sl_values *v, const struct sl_values_from *from, struct sl_bytes value, struct sl_arena *a,
		     struct sl_pair *p, struct sl_error *e)
{
	const struct sl_decoder *d;
	struct sl_bytes body = { 0 };
	const uint8_t *at = value.data;

	if (!value.data)
		return sl_error_set(e, SL_STOP, "a tombstone, expected a pair");
	if (is_object(value))
		return sl_pair_decode(value, a, p, e);
	if (is_framed(value)) {
		d = unframe(v, value, &body, e);
		return d && sl_decoder_pair(d, body, a, p, e);
	}
	if (is_json(value))
		return read_json(from, value, a, p, e);
	return sl_error_set(
		e, SL_STOP,
		"a value of %zu bytes that begins with %02x %02x is no pair: expected Avro with a schema id (00 "
		"first), Avro single-object encoding (c3 01), or a JSON object",
		value.size, value.size > 0 ? at[0] : 0, value.size > 1 ? at[1] : 0);
}

/* What our own ingest wrote has both; who forges them only lies about where it came from. */
static bool arrived(const struct sl_pair *p)
{
	return !sl_id_none(p->id) && (p->arrival.file.data || p->arrival.topic.data);
}

static bool enter(const struct sl_values_from *from, const struct sl_record *r, struct sl_arena *a, struct sl_pair *p,
		  struct sl_error *e)
{
	struct sl_arrival arrival = { .topic = sl_arena_bytes(a, sl_text(from->topic)),
				      .partition = from->partition,
				      .offset = r->offset };
	bool here_before = arrived(p);

	if (p->trail_count > 0) {
		/* A replay. Only who forges one has no ids. */
		if (sl_id_none(p->id) || sl_id_none(p->pair_key) || sl_id_none(p->group))
			sl_pair_identify(p, a);
		return true;
	}
	if (!sl_pair_foreign(p, a, e))
		return false;
	if (!here_before)
		sl_pair_arrive(p, &arrival, r->time_ms > 0 ? r->time_ms : 0, sl_text("kafka"));
	return true;
}

bool sl_values_pair(struct sl_values *v, const struct sl_values_from *from, const struct sl_record *r,
		    struct sl_arena *a, struct sl_pair *p, struct sl_error *e)
{
	return read_any(v, from, r->value, a, p, e) && (!from->entry || enter(from, r, a, p, e));
}

bool sl_values_inside(struct sl_values *v, const struct sl_values_from *from, const struct sl_record *r,
		      struct sl_buf *to, struct sl_error *e)
{
	struct sl_arena a = { 0 };
	const struct sl_decoder *d;
	struct sl_bytes body = { 0 };
	struct sl_error why = { 0 };
	struct sl_pair p;
	bool read = false;

	if (from->entry) {
		read = sl_values_pair(v, from, r, &a, &p, &why);
		if (read)
			sl_pair_encode(&p, to);
	} else if (is_framed(r->value)) {
		d = unframe(v, r->value, &body, &why);
		read = d && sl_decoder_object(d, body, &a, to, &why);
	}
	sl_arena_release(&a);
	if (why.verdict == SL_RETRY) {
		*e = why;
		return false;
	}
	if (!read)
		sl_buf_add_bytes(to, r->value);
	return true;
}

/* -- Writing -------------------------------------------------------------------------- */

static bool known(struct sl_values *v, const char *topic, const char *schema, int32_t *id)
{
	bool found = false;

	sl_lock(&v->lock);
	for (size_t i = 0; i < v->subject_count && !found; i++) {
		const struct subject *s = &v->subjects[i];

		found = s->schema == schema && strcmp(s->topic, topic) == 0;
		if (found)
			*id = s->id;
	}
	sl_unlock(&v->lock);
	return found;
}

/* Two threads may do this at once for the same topic: they get the same id. */
static bool find_id(struct sl_values *v, const char *topic, const char *schema, int32_t *id, struct sl_error *e)
{
	struct sl_buf subject = { 0 };
	bool done;

	if (known(v, topic, schema, id))
		return true;
	sl_buf_print(&subject, "%s-value", topic);
	done = sl_registry_register(v->registry, sl_buf_text(&subject), schema, id, e);
	sl_buf_release(&subject);
	if (!done)
		return false;
	sl_lock(&v->lock);
	v->subjects = sl_realloc(v->subjects, (v->subject_count + 1) * sizeof *v->subjects);
	v->subjects[v->subject_count++] = (struct subject){ sl_strdup(topic), schema, *id };
	sl_unlock(&v->lock);
	return true;
}

bool sl_values_prepare(struct sl_values *v, const char *topic, bool models, struct sl_error *e)
{
	int32_t id;

	return !v->registry || find_id(v, topic, models ? sl_model_schema_json : sl_pair_schema_json, &id, e);
}

bool sl_values_outside(struct sl_values *v, const char *topic, struct sl_bytes value, struct sl_buf *to,
		       struct sl_error *e)
{
	const char *schema = v->registry ? sl_object_schema(value) : NULL;
	uint8_t *at;
	int32_t id;

	if (!schema) {
		sl_buf_add_bytes(to, value);
		return true;
	}
	if (!find_id(v, topic, schema, &id, e))
		return false;
	at = sl_buf_reserve(to, FRAME_BYTES);
	at[0] = 0;
	for (int i = 0; i < 4; i++)
		at[1 + i] = (uint8_t)((uint32_t)id >> (24 - 8 * i));
	to->size += FRAME_BYTES;
	sl_buf_add(to, (const uint8_t *)value.data + 10, value.size - 10);
	return true;
}
