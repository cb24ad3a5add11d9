/* fresh.c -- see fresh.h. The words of a gold pair and the roles are those of the JSON
 * reader, so a pair is the same pair by whatever door it came. */
#include "fresh.h"

#include "jsonl_shape.h"

#include <math.h>

void sl_pair_arrive(struct sl_pair *p, const struct sl_arrival *arrival, int64_t time_ms, struct sl_bytes source)
{
	p->arrival = *arrival;
	p->time_ms = time_ms;
	if (!p->source.data)
		p->source = source;
	if (p->gold.present && !p->gold.verdict.data)
		p->gold.verdict = sl_text("chosen");
	if (p->gold.present && !p->gold.sample.data)
		p->gold.sample = sl_text("given");
}

/* A text that must be a JSON object; with `sorted`, *text becomes the one way to write it. */
static bool check_object(struct sl_bytes *text, bool sorted, struct sl_arena *a, struct sl_error *e)
{
	json_error_t why;
	json_t *value;
	bool good;

	if (!text->data)
		return true;
	value = json_loadb(text->data, text->size, JSON_DECODE_ANY, &why);
	good = json_is_object(value);
	if (!value)
		sl_error_set(e, SL_STOP, "expected a JSON object as text, and it is not JSON at byte %d", why.position);
	else if (!good)
		sl_error_set(e, SL_STOP, "expected a JSON object as text, not %s", sl_json_kind(value));
	else if (sorted && json_object_size(value) == 0)
		*text = sl_text(NULL);
	else if (sorted)
		*text = sl_json_dump(a, value, true);
	json_decref(value);
	return good;
}

static bool check_messages(struct sl_messages *m, struct sl_arena *a, struct sl_error *e)
{
	struct sl_message *copy = sl_arena_alloc(a, m->count * sizeof *copy);

	for (size_t i = 0; i < m->count; i++) {
		copy[i] = m->at[i];
		if (!sl_role_read(copy[i].role, &copy[i].role, e))
			return sl_error_in(e, "item %zu", i);
		if (!check_object(&copy[i].extra, true, a, e))
			return sl_error_in(e, "item %zu: field 'extra'", i);
	}
	m->at = copy;
	return true;
}

static bool check_word(const char *field, struct sl_bytes word, const char *const *words, struct sl_error *e)
{
	size_t i = 0;

	if (!word.data)
		return true;
	while (words[i] && !sl_is(word, words[i]))
		i++;
	if (words[i])
		return true;
	sl_error_set(e, SL_STOP, "field '%s': '%.*s', expected ", field, (int)(word.size < 40 ? word.size : 40),
		     (const char *)word.data);
	for (i = 0; words[i]; i++) {
		size_t used = strlen(e->text);

		snprintf(e->text + used, sizeof e->text - used, "%s'%s'", i ? " or " : "", words[i]);
	}
	return false;
}

static bool check_gold(const struct sl_gold *g, struct sl_error *e)
{
	static const char *const verdicts[] = { "chosen", NULL };
	static const char *const samples[] = { "random", "error-driven", "given", NULL };
	static const char *const labels[] = { "same", "swapped", NULL };

	return check_word("verdict", g->verdict, verdicts, e) && check_word("sample", g->sample, samples, e) &&
	       check_word("label_arrived", g->label_arrived, labels, e);
}

/* What a producer may say, of what it said. */
static struct sl_pair only_claims(const struct sl_pair *p)
{
	struct sl_pair q;

	sl_pair_init(&q);
	q.arrival = p->arrival;
	q.time_ms = p->time_ms;
	q.source = p->source;
	q.domain = p->domain;
	q.prompt = p->prompt;
	q.chosen = p->chosen;
	q.rejected = p->rejected;
	q.origin = p->origin;
	q.gold = p->gold;
	q.gold.sequence = 0;
	q.margin = p->margin;
	q.meta = p->meta;
	return q;
}

bool sl_pair_foreign(struct sl_pair *p, struct sl_arena *a, struct sl_error *e)
{
	struct sl_pair q = only_claims(p);
	struct sl_arena scratch = { 0 };

	if (!check_messages(&q.prompt, a, e))
		return sl_error_in(e, "field 'prompt'");
	if (!check_messages(&q.chosen, a, e))
		return sl_error_in(e, "field 'chosen'");
	if (!check_messages(&q.rejected, a, e))
		return sl_error_in(e, "field 'rejected'");
	if (!check_gold(&q.gold, e))
		return sl_error_in(e, "field 'gold'");
	if (isinf(q.margin))
		return sl_error_set(e, SL_STOP, "field 'margin': an infinite number, expected a finite one or null");
	if (!check_object(&q.meta, false, a, e))
		return sl_error_in(e, "field 'meta'");
	sl_pair_identify(&q, &scratch);
	sl_arena_release(&scratch);
	*p = q;
	return true;
}
