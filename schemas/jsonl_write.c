/* jsonl_write.c -- pairs to JSON lines.
 *
 * The implicit form (both answers as whole conversations) is what reward-model
 * trainers read, the explicit one what DPO trainers read; both carry the source,
 * the margin, how sure the label is, and the producer's meta. The full form is the whole record for
 * people, sections that are absent left out.
 *
 * Texts of JSON inside a pair (meta, extra) may come from a record that another
 * program wrote: they are read again before they are put into a line, and what
 * is no object is written as a string. Stateless, any thread. */
#include "json.h"
#include "jsonl.h"

#include <math.h>

/* An object being written. `count` tells whether a comma is due. */
struct object {
	struct sl_buf *to;
	size_t count;
};

static struct object open_object(struct sl_buf *to)
{
	sl_buf_add_byte(to, '{');
	return (struct object){ to, 0 };
}

static void close_object(struct object *o)
{
	sl_buf_add_byte(o->to, '}');
}

static void key(struct object *o, const char *name)
{
	if (o->count++ > 0)
		sl_buf_add_byte(o->to, ',');
	sl_json_text(o->to, sl_text(name));
	sl_buf_add_byte(o->to, ':');
}

/* Each of these writes nothing when the value is absent. */
static void text(struct object *o, const char *name, struct sl_bytes value)
{
	if (!value.data)
		return;
	key(o, name);
	sl_json_text(o->to, value);
}

static void number(struct object *o, const char *name, double value)
{
	if (isnan(value))
		return;
	key(o, name);
	sl_json_number(o->to, value);
}

static void integer(struct object *o, const char *name, int64_t value)
{
	key(o, name);
	sl_buf_print(o->to, "%lld", (long long)value);
}

static void boolean(struct object *o, const char *name, bool value)
{
	key(o, name);
	sl_buf_add_bytes(o->to, sl_text(value ? "true" : "false"));
}

static void id(struct object *o, const char *name, struct sl_id value)
{
	char hex[SL_ID_HEX_SIZE];

	text(o, name, sl_text(sl_id_hex(value, hex)));
}

static void json(struct object *o, const char *name, struct sl_bytes value)
{
	json_t *read = value.data ? json_loadb(value.data, value.size, 0, NULL) : NULL;

	if (json_is_object(read)) {
		key(o, name);
		sl_json_value(o->to, read, false);
	} else {
		text(o, name, value);
	}
	json_decref(read);
}

static void message(struct sl_buf *to, const struct sl_message *m)
{
	struct object o = open_object(to);
	json_t *extra = m->extra.data ? json_loadb(m->extra.data, m->extra.size, 0, NULL) : NULL, *value;
	const char *name;

	text(&o, "role", m->role);
	key(&o, "content");
	sl_json_text(to, m->content); /* absent: null, which reads as empty */
	json_object_foreach(extra, name, value)
	{
		if (strcmp(name, "role") == 0 || strcmp(name, "content") == 0)
			continue; /* not by our reader: a key must not be there twice */
		key(&o, name);
		sl_json_value(to, value, false);
	}
	json_decref(extra);
	close_object(&o);
}

/* Two lists of messages as one. */
static void messages(struct object *o, const char *name, const struct sl_messages *first,
		     const struct sl_messages *second)
{
	key(o, name);
	sl_buf_add_byte(o->to, '[');
	for (size_t i = 0; i < first->count + second->count; i++) {
		if (i > 0)
			sl_buf_add_byte(o->to, ',');
		message(o->to, i < first->count ? &first->at[i] : &second->at[i - first->count]);
	}
	sl_buf_add_byte(o->to, ']');
}

static const struct sl_messages nothing;

/* --- the full record --- */

static void write_arrival(struct object *o, const struct sl_arrival *a)
{
	struct object in;

	key(o, "arrival");
	in = open_object(o->to);
	text(&in, "file", a->file);
	if (a->line > 0)
		integer(&in, "line", a->line);
	integer(&in, "item", a->item);
	text(&in, "topic", a->topic);
	if (a->partition >= 0)
		integer(&in, "partition", a->partition);
	if (a->offset >= 0)
		integer(&in, "offset", a->offset);
	close_object(&in);
}

static void write_gold(struct object *o, const struct sl_gold *g)
{
	struct object in;

	if (!g->present && !g->sample.data && !g->label_arrived.data)
		return;
	key(o, "gold");
	in = open_object(o->to);
	boolean(&in, "present", g->present);
	text(&in, "verdict", g->verdict);
	text(&in, "sample", g->sample);
	text(&in, "label_arrived", g->label_arrived);
	integer(&in, "sequence", g->sequence);
	close_object(&in);
}

static void write_attributes(struct object *o, const struct sl_attributes *a)
{
	struct object in;

	if (!a->present)
		return;
	key(o, "attributes");
	in = open_object(o->to);
	text(&in, "category", a->category);
	text(&in, "objectivity", a->objectivity);
	text(&in, "controversiality", a->controversiality);
	text(&in, "desired", a->desired);
	text(&in, "guideline", a->guideline);
	close_object(&in);
}

static void write_vectors(struct object *o, const struct sl_vectors *v)
{
	struct object in;

	if (!v->context.data && !v->difference.data)
		return;
	key(o, "vectors");
	in = open_object(o->to);
	if (v->context.data)
		integer(&in, "context_floats", (int64_t)(v->context.size / sizeof(float)));
	if (v->difference.data)
		integer(&in, "difference_floats", (int64_t)(v->difference.size / sizeof(float)));
	close_object(&in);
}

static void write_exemplar(struct object *in, const void *item)
{
	const struct sl_exemplar *x = item;

	id(in, "id", x->id);
	number(in, "similarity", x->similarity);
	text(in, "label", x->label);
	write_attributes(in, &x->attributes);
}

static void write_score(struct object *in, const void *item)
{
	const struct sl_score *s = item;

	text(in, "model", s->model);
	integer(in, "version", s->version);
	number(in, "chosen", s->chosen);
	number(in, "rejected", s->rejected);
	number(in, "temperature", s->temperature);
}

static void write_vote(struct object *in, const void *item)
{
	const struct sl_vote *v = item;

	text(in, "judge", v->judge);
	text(in, "order", v->order);
	text(in, "verdict", v->verdict);
	number(in, "confidence", v->confidence);
	text(in, "difference", v->difference);
	integer(in, "tokens", v->tokens);
	integer(in, "micro_dollars", v->micro_dollars);
	if (v->sample)
		integer(in, "sample", v->sample);
	text(in, "strength", v->strength);
	text(in, "outcome", v->outcome);
}

static void write_trail(struct object *in, const void *item)
{
	const struct sl_trail *t = item;

	text(in, "step", t->step);
	text(in, "version", t->version);
	text(in, "tables", t->tables);
	text(in, "outcome", t->outcome);
	text(in, "reason", t->reason);
	integer(in, "pass", t->pass);
}

static void list(struct object *o, const char *name, const void *items, size_t count, size_t item_size,
		 void (*write)(struct object *in, const void *item))
{
	if (count == 0)
		return;
	key(o, name);
	sl_buf_add_byte(o->to, '[');
	for (size_t i = 0; i < count; i++) {
		struct object in;

		if (i > 0)
			sl_buf_add_byte(o->to, ',');
		in = open_object(o->to);
		write(&in, (const char *)items + i * item_size);
		close_object(&in);
	}
	sl_buf_add_byte(o->to, ']');
}

static void write_judgement(struct object *o, const struct sl_judgement *j)
{
	struct object in;

	if (!j->present)
		return;
	key(o, "judgement");
	in = open_object(o->to);
	boolean(&in, "asked", j->asked);
	text(&in, "verdict", j->verdict);
	list(&in, "votes", j->votes, j->vote_count, sizeof *j->votes, write_vote);
	text(&in, "panel", j->panel);
	text(&in, "setting", j->setting);
	if (j->probe)
		integer(&in, "probe", j->probe);
	close_object(&in);
}

static void write_decision(struct object *o, const struct sl_decision *d)
{
	struct object in;

	if (!d->present)
		return;
	key(o, "decision");
	in = open_object(o->to);
	text(&in, "action", d->action);
	text(&in, "why", d->why);
	number(&in, "p_label", d->p_label);
	integer(&in, "revision", d->revision);
	close_object(&in);
}

static void write_full(struct object *o, const struct sl_pair *p)
{
	id(o, "id", p->id);
	id(o, "pair_key", p->pair_key);
	id(o, "group", p->group);
	write_arrival(o, &p->arrival);
	integer(o, "time_ms", p->time_ms);
	text(o, "source", p->source);
	text(o, "domain", p->domain);
	messages(o, "prompt", &p->prompt, &nothing);
	messages(o, "chosen", &p->chosen, &nothing);
	messages(o, "rejected", &p->rejected, &nothing);
	text(o, "origin", p->origin);
	write_gold(o, &p->gold);
	number(o, "margin", p->margin);
	json(o, "meta", p->meta);
	boolean(o, "label_flipped", p->label_flipped);
	write_attributes(o, &p->attributes);
	write_vectors(o, &p->vectors);
	list(o, "exemplars", p->exemplars, p->exemplar_count, sizeof *p->exemplars, write_exemplar);
	list(o, "scores", p->scores, p->score_count, sizeof *p->scores, write_score);
	write_judgement(o, &p->judgement);
	write_decision(o, &p->decision);
	list(o, "trail", p->trail, p->trail_count, sizeof *p->trail, write_trail);
}

void sl_jsonl_write(const struct sl_pair *p, enum sl_format format, struct sl_buf *to)
{
	struct object o = open_object(to);

	if (format == SL_FORMAT_FULL) {
		write_full(&o, p);
	} else {
		bool apart = format != SL_FORMAT_IMPLICIT;

		if (apart)
			messages(&o, "prompt", &p->prompt, &nothing);
		messages(&o, "chosen", apart ? &nothing : &p->prompt, &p->chosen);
		messages(&o, "rejected", apart ? &nothing : &p->prompt, &p->rejected);
		text(&o, "source", p->source);
		if (format == SL_FORMAT_SAMPLE) {
			text(&o, "domain", p->domain);
			text(&o, "sample", sl_text("random"));
		}
		number(&o, "margin", p->margin);
		if (p->decision.present && format != SL_FORMAT_SAMPLE) /* who verifies shall not know */
			number(&o, "p_label", p->label_flipped ? 1 - p->decision.p_label : p->decision.p_label);
		json(&o, "meta", p->meta);
	}
	close_object(&o);
	sl_buf_add_byte(to, '\n');
}
