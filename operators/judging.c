/* judging.c -- see judging.h. The prompt file has the words (topology/prompts/preference.txt); here is what goes into
 * them, in which order, and what may come back.
 *
 * Nothing in a body follows from the label or the id of the pair but the order it is asked in: a pair and its copy
 * with the label swapped, asked in matching orders, are the same bytes. */
#include "judging.h"

enum user_slot { USER_EXAMPLES, USER_ATTRIBUTES, USER_CONVERSATION, USER_FIRST, USER_SECOND, USER_SLOTS };
enum example_slot {
	EXAMPLE_ATTRIBUTES,
	EXAMPLE_CONVERSATION,
	EXAMPLE_FIRST,
	EXAMPLE_SECOND,
	EXAMPLE_NUMBER,
	EXAMPLE_VERDICT,
	EXAMPLE_SLOTS
};

static const char *const user_slots[] = {
	"examples", "attributes", "conversation", "candidate_1", "candidate_2", NULL
};
static const char *const examples_slots[] = { "examples", NULL };
static const char *const example_slots[] = { "attributes", "conversation", "candidate_1", "candidate_2",
					     "number",     "verdict",      NULL };
static const char *const attributes_slots[] = { "category", "objectivity", "controversiality",
						"desired",  "guideline",   NULL };
static const char *const repair_slots[] = { "complaint", NULL };

static const struct sl_prompt_part parts[] = {
	{ "system", NULL },
	{ "user", user_slots },
	{ "examples", examples_slots },
	{ "example", example_slots },
	{ "attributes", attributes_slots },
	{ "repair", repair_slots },
};

static const char schema[] =
	"{\"type\":\"object\",\"properties\":{\"difference\":{\"type\":\"string\"},"
	"\"verdict\":{\"type\":\"string\",\"enum\":[\"1\",\"2\",\"tie\",\"both_bad\",\"undecidable\"]},"
	"\"strength\":{\"type\":\"string\",\"enum\":[\"slight\",\"clear\",\"strong\"]}},"
	"\"required\":[\"difference\",\"verdict\",\"strength\"],\"additionalProperties\":false}";

enum { DIFFERENCE_BYTES_MAX = 1000 };

struct sl_prompt *sl_judging_open(const char *path, struct sl_error *e)
{
	return sl_prompt_open(path, parts, sizeof parts / sizeof parts[0], e);
}

enum sl_judging_order sl_judging_order_of(struct sl_id pair, uint64_t seed)
{
	return sl_hash64(pair.b, sizeof pair.b, seed) & 1 ? SL_REJECTED_FIRST : SL_CHOSEN_FIRST;
}

const char *sl_judging_order_name(enum sl_judging_order o)
{
	return o == SL_CHOSEN_FIRST ? "chosen" : "rejected";
}

/* -- the question ---------------------------------------------------------------------------------- */

/* A pair as it is shown. */
struct shown {
	const struct sl_messages *conversation, *first, *second;
	struct sl_bytes description; /* of its attributes; absent: none */
};

static struct shown show(const struct sl_judging *j, const struct sl_pair *p, enum sl_judging_order order,
			 struct sl_arena *a)
{
	const struct sl_attributes *at = &p->attributes;
	const struct sl_bytes values[] = { at->category, at->objectivity, at->controversiality, at->desired,
					   at->guideline };
	bool chosen_first = order == SL_CHOSEN_FIRST;
	struct shown s = { &p->prompt, &p->chosen, &p->rejected, { 0 } };

	if (!chosen_first) {
		s.first = &p->rejected;
		s.second = &p->chosen;
	}
	if (at->present)
		s.description = sl_prompt_text(j->prompt, "attributes", values, a);
	return s;
}

/* "1", "2", or the word as it is; absent: not a verdict. */
static struct sl_bytes shown_verdict(struct sl_bytes verdict, enum sl_judging_order order)
{
	static const char *const words[] = { "tie", "both_bad", "undecidable" };

	if (sl_is(verdict, "chosen"))
		return sl_text(order == SL_CHOSEN_FIRST ? "1" : "2");
	if (sl_is(verdict, "rejected"))
		return sl_text(order == SL_CHOSEN_FIRST ? "2" : "1");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (sl_is(verdict, words[i]))
			return sl_text(words[i]);
	return (struct sl_bytes){ 0 };
}

/* What is written with: the mark is known when all texts are. */
struct writer {
	const struct sl_judging *j;
	struct sl_arena *a;
	struct sl_fence fence;
	struct sl_bytes *texts; /* of the question */
	size_t text_count, text_capacity;
};

static void note_text(struct writer *w, struct sl_bytes text)
{
	if (w->text_count == w->text_capacity) {
		size_t capacity = w->text_capacity ? 2 * w->text_capacity : 64;
		struct sl_bytes *more = sl_arena_alloc(w->a, capacity * sizeof *more);

		if (w->text_count)
			memcpy(more, w->texts, w->text_count * sizeof *more);
		w->texts = more;
		w->text_capacity = capacity;
	}
	w->texts[w->text_count++] = text;
}

static void note_messages(struct writer *w, const struct sl_messages *m)
{
	for (size_t i = 0; i < m->count; i++)
		note_text(w, sl_prompt_message_text(&m->at[i]));
}

static void note_pair(struct writer *w, const struct shown *s)
{
	note_messages(w, s->conversation);
	note_messages(w, s->first);
	note_messages(w, s->second);
	note_text(w, s->description);
}

static struct sl_bytes with_empty_line(struct writer *w, struct sl_bytes text)
{
	char *copy = sl_arena_alloc(w->a, text.size + 2);

	memcpy(copy, text.data, text.size);
	memcpy(copy + text.size, "\n\n", 2);
	return (struct sl_bytes){ copy, text.size + 2 };
}

/* `number` 0: the target. */
static const char *name(struct writer *w, const char *what, size_t number)
{
	return number ? sl_arena_print(w->a, "example_%zu.%s", number, what) : what;
}

/* Another model or a person wrote them, after having read hostile texts: they are fenced like those. */
static struct sl_bytes description_shown(struct writer *w, const struct shown *s, size_t number)
{
	if (!s->description.data)
		return sl_text("");
	return with_empty_line(
		w, sl_prompt_fence(&w->fence, name(w, "description", number), s->description, w->j->text_max, w->a));
}

static struct sl_bytes messages_shown(struct writer *w, const struct sl_messages *m, const char *what, size_t number)
{
	return sl_prompt_fence_messages(&w->fence, name(w, what, number), m, w->j->text_max, w->a);
}

/* The examples that can be shown, as the body wants them. */
struct examples {
	struct shown *at;
	struct sl_bytes *verdicts;
	size_t count;
};

static struct examples choose_examples(const struct sl_judging *j, const struct sl_pair *p,
				       const struct sl_pair *const *golds, struct sl_arena *a)
{
	size_t most = p->exemplar_count < j->examples_max ? p->exemplar_count : j->examples_max;
	struct examples e = { sl_arena_alloc(a, most * sizeof *e.at), sl_arena_alloc(a, most * sizeof *e.verdicts), 0 };

	for (size_t i = 0; i < p->exemplar_count && e.count < most; i++) {
		enum sl_judging_order order = sl_judging_order_of(p->exemplars[i].id, j->seed);
		struct sl_bytes verdict = shown_verdict(p->exemplars[i].label, order);

		if (!golds || !golds[i] || !verdict.data)
			continue;
		e.at[e.count] = show(j, golds[i], order, a);
		e.verdicts[e.count++] = verdict;
	}
	return e;
}

static struct sl_bytes examples_shown(struct writer *w, const struct examples *e)
{
	struct sl_buf all = { 0 };
	struct sl_bytes value;

	if (e->count == 0)
		return sl_text("");
	for (size_t i = 0; i < e->count; i++) {
		const struct shown *s = &e->at[i];
		const struct sl_bytes values[EXAMPLE_SLOTS] = {
			[EXAMPLE_ATTRIBUTES] = description_shown(w, s, i + 1),
			[EXAMPLE_CONVERSATION] = messages_shown(w, s->conversation, "conversation", i + 1),
			[EXAMPLE_FIRST] = messages_shown(w, s->first, "candidate_1", i + 1),
			[EXAMPLE_SECOND] = messages_shown(w, s->second, "candidate_2", i + 1),
			[EXAMPLE_NUMBER] = sl_text(sl_arena_print(w->a, "%zu", i + 1)),
			[EXAMPLE_VERDICT] = e->verdicts[i],
		};

		if (i > 0)
			sl_buf_add(&all, "\n\n", 2);
		sl_prompt_fill(w->j->prompt, "example", values, &all);
	}
	value = sl_buf_bytes(&all);
	value = sl_prompt_text(w->j->prompt, "examples", &value, w->a);
	sl_buf_release(&all);
	return with_empty_line(w, value);
}

static struct sl_bytes question(struct writer *w, const struct shown *target, const struct examples *e)
{
	const struct sl_bytes values[USER_SLOTS] = {
		[USER_EXAMPLES] = examples_shown(w, e),
		[USER_ATTRIBUTES] = description_shown(w, target, 0),
		[USER_CONVERSATION] = messages_shown(w, target->conversation, "conversation", 0),
		[USER_FIRST] = messages_shown(w, target->first, "candidate_1", 0),
		[USER_SECOND] = messages_shown(w, target->second, "candidate_2", 0),
	};

	return sl_prompt_text(w->j->prompt, "user", values, w->a);
}

void sl_judging_body(const struct sl_judging *j, const struct sl_pair *p, const struct sl_pair *const *examples,
		     enum sl_judging_order order, struct sl_bytes said, struct sl_bytes complaint, struct sl_arena *a,
		     struct sl_buf *to)
{
	struct writer w = { .j = j, .a = a };
	struct shown target = show(j, p, order, a);
	struct examples e = choose_examples(j, p, examples, a);
	struct sl_chat chat = {
		.model = j->model,
		.schema_name = "preference",
		.schema = schema,
		.temperature = j->temperature,
		.tokens_max = j->tokens_max,
		.extra = j->extra,
	};

	for (size_t i = 0; i < e.count; i++)
		note_pair(&w, &e.at[i]);
	note_pair(&w, &target);
	sl_prompt_fence_begin(&w.fence, w.texts, w.text_count);
	chat.system = sl_prompt_text(j->prompt, "system", NULL, a);
	chat.user = question(&w, &target, &e);
	if (said.data) {
		chat.said = said;
		chat.complaint = sl_prompt_text(j->prompt, "repair", &complaint, a);
	}
	sl_chat_body(&chat, to);
}

/* -- the answer -------------------------------------------------------------------------------------- */

/* The verdict as a word of ours, or NULL. Servers without schemas say 1 for "1". */
static const char *verdict_of(const json_t *answer, enum sl_judging_order order)
{
	static const char *const words[] = { "tie", "both_bad", "undecidable" };
	const json_t *verdict = json_object_get(answer, "verdict");
	struct sl_bytes text = sl_json_bytes(verdict);
	int candidate = 0;

	if (json_is_integer(verdict) && (json_integer_value(verdict) == 1 || json_integer_value(verdict) == 2))
		candidate = (int)json_integer_value(verdict);
	else if (sl_is(text, "1") || sl_is(text, "2"))
		candidate = *(const char *)text.data - '0';
	if (candidate)
		return (candidate == 1) == (order == SL_CHOSEN_FIRST) ? "chosen" : "rejected";
	for (size_t i = 0; text.data && i < sizeof words / sizeof words[0]; i++)
		if (sl_is(text, words[i]))
			return words[i];
	return NULL;
}

static const char *strength_of(const json_t *answer)
{
	static const char *const words[] = { "slight", "clear", "strong" };
	struct sl_bytes text = sl_json_bytes(json_object_get(answer, "strength"));

	for (size_t i = 0; text.data && i < sizeof words / sizeof words[0]; i++)
		if (sl_is(text, words[i]))
			return words[i];
	return NULL;
}

bool sl_judging_read(struct sl_bytes text, enum sl_judging_order order, struct sl_arena *a, struct sl_vote *to,
		     const char **why)
{
	json_t *answer = sl_chat_object(text, why);
	const json_t *difference = json_object_get(answer, "difference");
	const char *verdict, *strength;
	bool fine = false;

	if (!answer)
		return false;
	verdict = verdict_of(answer, order);
	strength = strength_of(answer);
	if (!verdict)
		*why = "'verdict' must be one of \"1\", \"2\", \"tie\", \"both_bad\", \"undecidable\"";
	else if (!strength)
		*why = "'strength' must be one of \"slight\", \"clear\", \"strong\"";
	else if (!json_is_string(difference))
		*why = "'difference' must be a text";
	else
		fine = true;
	if (fine) {
		to->verdict = sl_text(verdict);
		to->strength = sl_text(strength);
		to->difference = sl_chat_line(sl_json_bytes(difference), DIFFERENCE_BYTES_MAX, a);
	}
	json_decref(answer);
	return fine;
}
