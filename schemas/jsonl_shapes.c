/* jsonl_shapes.c -- the shapes of README.md's table, told by their keys.
 *
 * Four families: a chosen and a rejected answer; two answers by position with a
 * verdict beside them; a list of answers with ranks or scores; and keys the
 * caller named. Each puts its answers with ranks into the reading; finding the
 * prompt and separating it from answers that repeat the whole conversation is
 * done once, behind them. Plain functions and tables of key names, no state. */
#include "jsonl_shape.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define KNOWN_SHAPES                                                                                                   \
	"expected 'chosen' and 'rejected', or 'completions' or 'responses' with ranks or scores, or "                  \
	"'conversation_a/_b' "                                                                                         \
	"or 'response_a/_b' with 'winner', or 'response_A/_B' with 'label', or 'response1/2' with "                    \
	"'overall_preference'; "                                                                                       \
	"or name the keys with --prompt-key, --chosen-key, --rejected-key"

json_t *sl_reading_get(const struct sl_reading *r, const char *key)
{
	json_t *value = json_object_get(r->line, key);

	return json_is_null(value) ? NULL : value;
}

void sl_reading_use(struct sl_reading *r, const char *key)
{
	assert(r->used_count < sizeof r->used / sizeof *r->used);
	r->used[r->used_count++] = key;
}

void sl_reading_unuse(struct sl_reading *r, const char *key)
{
	for (size_t i = 0; i < r->used_count; i++)
		if (strcmp(r->used[i], key) == 0)
			r->used[i] = "";
}

/* --- answers --- */

static bool read_answer_text(struct sl_reading *r, json_t *value, struct sl_answer *to)
{
	if (json_is_string(value) || json_is_null(value)) {
		struct sl_bytes text = json_is_null(value) ? sl_text("") : sl_json_bytes(value);

		to->plain = true;
		to->messages = sl_messages_one(r->a, "assistant", sl_arena_bytes(r->a, text));
		return true;
	}
	if (json_is_object(value)) {
		to->messages = sl_messages_one(r->a, "assistant", sl_text(""));
		return sl_message_read(r->a, value, to->messages.at, r->e);
	}
	if (json_is_array(value))
		return sl_messages_read(r->a, value, &to->messages, r->e);
	return sl_error_set(r->e, SL_STOP, "expected a string, a message or a list of messages, not %s",
			    sl_json_kind(value));
}

static bool add_answer(struct sl_reading *r, json_t *value, double rank)
{
	struct sl_answer *answer;

	if (r->answer_count == SL_ANSWERS_MAX)
		return sl_error_set(r->e, SL_STOP, "more than %d answers to one prompt: split the line",
				    SL_ANSWERS_MAX);
	answer = &r->answers[r->answer_count];
	*answer = (struct sl_answer){ .rank = rank, .score = NAN };
	if (!read_answer_text(r, value, answer))
		return false;
	r->answer_count++;
	return true;
}

/* chosen or rejected: one answer, or a list of strings with an answer each. */
static bool add_side(struct sl_reading *r, json_t *value, const char *key, double rank)
{
	json_t *item;
	size_t i;

	if (!json_is_string(json_array_get(value, 0)))
		return add_answer(r, value, rank) || sl_error_in(r->e, "'%s'", key);
	r->two_sided = true;
	json_array_foreach(value, i, item) if (!add_answer(r, item, rank)) return sl_error_in(r->e, "'%s[%zu]'", key,
											      i);
	return true;
}

/* --- the prompt --- */

static bool read_history(struct sl_reading *r)
{
	json_t *history = sl_reading_get(r, "history"), *turn;
	size_t i;

	if (!json_is_array(history))
		return true; /* not LLaMA-Factory's: kept in meta */
	sl_reading_use(r, "history");
	json_array_foreach(history, i, turn)
	{
		json_t *said = json_array_get(turn, 0), *answered = json_array_get(turn, 1);

		if (!json_is_string(said) || !json_is_string(answered))
			return sl_error_set(r->e, SL_STOP, "'history[%zu]' must be a list of two strings, not %s", i,
					    sl_json_kind(turn));
		r->prompt = sl_messages_join(r->a, r->prompt,
					     sl_messages_one(r->a, "user", sl_arena_bytes(r->a, sl_json_bytes(said))));
		r->prompt = sl_messages_join(
			r->a, r->prompt,
			sl_messages_one(r->a, "assistant", sl_arena_bytes(r->a, sl_json_bytes(answered))));
	}
	return true;
}

/* instruction, then input on a line of its own: as LLaMA-Factory joins them. */
static bool read_instruction(struct sl_reading *r, json_t *instruction)
{
	json_t *input = sl_reading_get(r, "input");
	struct sl_bytes text = sl_json_bytes(instruction);

	if (!text.data)
		return sl_error_set(r->e, SL_STOP, "'instruction' must be a string, not %s", sl_json_kind(instruction));
	if (input && !json_is_string(input))
		return sl_error_set(r->e, SL_STOP, "'input' must be a string, not %s", sl_json_kind(input));
	if (!read_history(r))
		return false;
	if (json_string_length(input) > 0)
		text = sl_text(
			sl_arena_print(r->a, "%s\n%s", json_string_value(instruction), json_string_value(input)));
	else
		text = sl_arena_bytes(r->a, text);
	sl_reading_use(r, "input");
	r->prompt = sl_messages_join(r->a, r->prompt, sl_messages_one(r->a, "user", text));
	return true;
}

static bool read_prompt_value(struct sl_reading *r, const char *key, json_t *value)
{
	struct sl_bytes text = sl_json_bytes(value);

	r->prompt_key = key;
	sl_reading_use(r, key);
	if (strcmp(key, "instruction") == 0 && !r->keys->prompt)
		return read_instruction(r, value);
	if (!text.data)
		return sl_messages_read(r->a, value, &r->prompt, r->e) || sl_error_in(r->e, "'%s'", key);
	if (sl_transcript_is(text)) {
		r->prompt = sl_transcript_read(r->a, text);
		/* "... Assistant:" only invites the answer. */
		if (r->prompt.at[r->prompt.count - 1].content.size == 0)
			r->prompt.count--;
		return true;
	}
	r->prompt_plain = true;
	r->prompt = sl_messages_one(r->a, "user", sl_arena_bytes(r->a, text));
	return true;
}

static bool read_prompt(struct sl_reading *r)
{
	/* `context` is a passage when it is a string and there is a question; `messages`
	 * often repeats the whole conversation. */
	static const struct {
		const char *key;
		bool list_only;
	} keys[] = {
		{ "prompt", false },   { "conversations", true }, { "context", true },  { "instruction", false },
		{ "question", false }, { "input", false },        { "context", false },
	};
	json_t *value;

	if (r->keys->prompt) {
		value = sl_json_at(r->line, r->keys->prompt);
		if (!value)
			return sl_error_set(r->e, SL_STOP, "key '%s', named by --prompt-key, is missing",
					    r->keys->prompt);
		return read_prompt_value(r, r->keys->prompt, value);
	}
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		value = sl_reading_get(r, keys[i].key);
		if (value && (json_is_array(value) || !keys[i].list_only))
			return read_prompt_value(r, keys[i].key, value);
	}
	value = sl_reading_get(r, "messages");
	if (json_is_array(value) && r->answers[0].messages.count == 1)
		return read_prompt_value(r, "messages", value);
	return true;
}

/* Whether the answers repeat the prompt that was given apart from them. */
static bool repeats_prompt(const struct sl_reading *r, size_t shared)
{
	const struct sl_messages *first = &r->answers[0].messages;

	if (r->prompt_plain) {
		for (size_t i = 0; i < shared; i++)
			if (sl_bytes_equal(first->at[i].content, r->prompt.at[0].content))
				return true;
		return false;
	}
	if (r->prompt.count > shared)
		return false;
	for (size_t i = 0; i < r->prompt.count; i++)
		if (!sl_message_equal(&first->at[i], &r->prompt.at[i]))
			return false;
	return true;
}

/* Part the conversation from the answers where they hold both. */
static bool part_prompt(struct sl_reading *r)
{
	bool whole = true, transcripts = true;
	size_t shared;

	for (size_t i = 0; i < r->answer_count; i++)
		transcripts =
			transcripts && r->answers[i].plain && sl_transcript_is(r->answers[i].messages.at[0].content);
	for (size_t i = 0; i < r->answer_count; i++) {
		struct sl_messages *m = &r->answers[i].messages;

		if (transcripts)
			*m = sl_transcript_read(r->a, m->at[0].content);
		whole = whole && m->count > 0 && !sl_is(m->at[0].role, "assistant");
	}
	if (!whole && !r->prompt_key)
		return sl_error_set(
			r->e, SL_STOP,
			"there is no prompt: expected 'prompt', 'instruction', 'question' or 'conversations', or "
			"the whole conversation in %s, or --prompt-key",
			r->answer_keys);
	if (!whole)
		return true;
	shared = sl_shared_turns(r->answers, r->answer_count);
	if (shared == 0)
		return sl_error_set(
			r->e, SL_STOP,
			"%s hold whole conversations but share no first turns: expected the same prompt in front "
			"of an assistant's turn",
			r->answer_keys);
	if (r->prompt_key && r->prompt_plain && !repeats_prompt(r, shared))
		sl_reading_unuse(r, r->prompt_key); /* some other text: kept in meta */
	if (r->prompt_key && !r->prompt_plain && !repeats_prompt(r, shared))
		r->prompt =
			sl_messages_join(r->a, r->prompt, (struct sl_messages){ r->answers[0].messages.at, shared });
	else
		r->prompt = (struct sl_messages){ r->answers[0].messages.at, shared };
	for (size_t i = 0; i < r->answer_count; i++)
		r->answers[i].messages = sl_messages_from(r->answers[i].messages, shared);
	return true;
}

/* A `system` text goes in front, unless the conversation has its own. */
static bool add_system(struct sl_reading *r)
{
	json_t *value = sl_reading_get(r, "system");
	bool has = r->prompt.count > 0 && sl_is(r->prompt.at[0].role, "system");
	struct sl_bytes text = sl_json_bytes(value);

	if (!value)
		return true;
	if (!text.data)
		return sl_error_set(r->e, SL_STOP, "'system' must be a string, not %s", sl_json_kind(value));
	if (has && !sl_bytes_equal(r->prompt.at[0].content, text))
		return true; /* another one: kept in meta */
	sl_reading_use(r, "system");
	if (!has && text.size > 0)
		r->prompt =
			sl_messages_join(r->a, sl_messages_one(r->a, "system", sl_arena_bytes(r->a, text)), r->prompt);
	return true;
}

/* --- chosen and rejected --- */

/* UltraFeedback-binarized: the scores behind the label; `messages` says `chosen` again. */
static void read_pair_scores(struct sl_reading *r, json_t *chosen)
{
	json_t *better = sl_reading_get(r, "score_chosen"), *worse = sl_reading_get(r, "score_rejected");

	if (json_is_number(better) && json_is_number(worse))
		r->margin = json_number_value(better) - json_number_value(worse);
	if (json_equal(sl_reading_get(r, "messages"), chosen))
		sl_reading_use(r, "messages");
}

static json_t *side(struct sl_reading *r, const char *named, const char *const names[2], const char **key)
{
	json_t *value;

	if (named) {
		*key = named;
		return sl_json_at(r->line, named);
	}
	*key = names[0];
	value = json_object_get(r->line, names[0]);
	if (!value && (value = json_object_get(r->line, names[1])))
		*key = names[1];
	return value;
}

static bool read_pair(struct sl_reading *r)
{
	static const char *const chosen_names[] = { "chosen", "chosen_response" };
	static const char *const rejected_names[] = { "rejected", "rejected_response" };
	const char *chosen_key, *rejected_key;
	json_t *chosen = side(r, r->keys->chosen, chosen_names, &chosen_key);
	json_t *rejected = side(r, r->keys->rejected, rejected_names, &rejected_key);

	if (!chosen || !rejected)
		return sl_error_set(r->e, SL_STOP, "key '%s' is missing: " KNOWN_SHAPES,
				    chosen ? rejected_key : chosen_key);
	r->answer_keys = sl_arena_print(r->a, "'%s' and '%s'", chosen_key, rejected_key);
	sl_reading_use(r, chosen_key);
	sl_reading_use(r, rejected_key);
	read_pair_scores(r, chosen);
	return add_side(r, chosen, chosen_key, 0) && add_side(r, rejected, rejected_key, 1);
}

/* LLaMA-Factory, older: output: [better, worse]. */
static bool read_output_pair(struct sl_reading *r)
{
	json_t *output = sl_reading_get(r, "output");

	r->answer_keys = "'output'";
	sl_reading_use(r, "output");
	return (add_answer(r, json_array_get(output, 0), 0) && add_answer(r, json_array_get(output, 1), 1)) ||
	       sl_error_in(r->e, "'output'");
}

/* --- two answers by position and a verdict --- */

struct positional {
	const char *first, *second, *verdict;
};

static const struct positional positionals[] = {
	{ "conversation_a", "conversation_b", "winner" },
	{ "response_a", "response_b", "winner" },
	{ "response_A", "response_B", "label" },
	{ "response1", "response2", "overall_preference" },
	{ "response_1", "response_2", "preference_strength" },
};

/* Below zero: the first is better. */
static bool read_verdict(struct sl_reading *r, const char *key, json_t *value, double *verdict)
{
	static const struct {
		const char *text;
		double verdict;
	} texts[] = {
		{ "model_a", -1 }, { "model_b", 1 }, { "tie", 0 }, { "tie (bothbad)", 0 }, { "A>B", -1 }, { "B>A", 1 },
		{ "A=B", 0 },      { "A", -1 },      { "B", 1 },
	};

	if (json_is_string(value)) {
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
			*verdict = texts[i].verdict;
			if (sl_is(sl_json_bytes(value), texts[i].text))
				return true;
		}
		return sl_error_set(
			r->e, SL_STOP,
			"unknown '%s' '%.40s': expected model_a, model_b, tie or tie (bothbad); or A>B, B>A", key,
			json_string_value(value));
	}
	*verdict = json_number_value(value);
	if (!json_is_number(value) || *verdict < -3 || *verdict > 3)
		return sl_error_set(r->e, SL_STOP,
				    "'%s' must be a verdict like model_a or A>B, or a number from -3 to 3", key);
	r->margin = fabs(*verdict);
	return true;
}

static bool read_positional(struct sl_reading *r, const struct positional *p)
{
	double verdict;

	if (!read_verdict(r, p->verdict, json_object_get(r->line, p->verdict), &verdict))
		return false;
	r->verdict_key = p->verdict;
	r->answer_keys = sl_arena_print(r->a, "'%s' and '%s'", p->first, p->second);
	sl_reading_use(r, p->first);
	sl_reading_use(r, p->second);
	if (!add_answer(r, json_object_get(r->line, p->first), verdict))
		return sl_error_in(r->e, "'%s'", p->first);
	if (!add_answer(r, json_object_get(r->line, p->second), 0))
		return sl_error_in(r->e, "'%s'", p->second);
	return true;
}

/* --- ranked lists --- */

static bool number_of(const json_t *value, double *number)
{
	const char *text = json_string_value(value);
	char *end;

	if (json_is_number(value)) {
		*number = json_number_value(value);
		return true;
	}
	if (!text || !*text)
		return false;
	*number = strtod(text, &end);
	return *end == 0 && isfinite(*number);
}

/* UltraFeedback: annotations.<aspect>.Rating, averaged. */
static bool mean_rating(json_t *annotations, double *mean)
{
	const char *aspect;
	json_t *value;
	double sum = 0, rating;
	size_t count = 0;

	json_object_foreach(annotations, aspect, value)
	{
		if (number_of(json_object_get(value, "Rating"), &rating)) {
			sum += rating;
			count++;
		}
	}
	*mean = count ? sum / (double)count : NAN;
	return count > 0;
}

/* Rank (lower is better) or score of answer i: from the list beside the answers,
 * or from the answer's own keys. */
static bool read_rank(struct sl_reading *r, json_t *beside, bool beside_ranks, json_t *item, size_t i,
		      struct sl_answer *answer)
{
	static const char *const ranks[] = { "rank", "ranking" };
	static const char *const scores[] = { "overall_score", "score", "rating", "reward", "fine-grained_score" };
	double value;
	bool is_rank = beside && beside_ranks, found = beside && number_of(json_array_get(beside, i), &value);

	for (size_t k = 0; !beside && !found && k < sizeof ranks / sizeof *ranks; k++)
		found = is_rank = number_of(json_object_get(item, ranks[k]), &value);
	for (size_t k = 0; !beside && !found && k < sizeof scores / sizeof *scores; k++)
		found = number_of(json_object_get(item, scores[k]), &value);
	if (!beside && !found)
		found = mean_rating(json_object_get(item, "annotations"), &value);
	if (!found)
		return sl_error_set(
			r->e, SL_STOP,
			"no rank or score: expected 'rank', 'score', 'overall_score' or 'rating' in the answer, or a "
			"list of numbers 'rankings', 'scores' or 'ratings' beside the answers");
	answer->rank = is_rank ? value : -value;
	answer->score = is_rank ? NAN : value;
	return true;
}

/* One entry: a text, messages, or an object that holds either. */
static bool add_ranked(struct sl_reading *r, json_t *item, size_t i, size_t count, json_t *beside, bool beside_ranks)
{
	static const char *const texts[] = {
		"completion", "response", "text", "output", "answer", "messages", "content"
	};
	struct sl_answer *answer = &r->answers[r->answer_count];
	const char *key = NULL;
	json_t *value = NULL, *info;

	for (size_t k = 0; !value && k < sizeof texts / sizeof *texts; k++)
		value = json_object_get(item, key = texts[k]);
	if (json_is_object(item) && !value)
		return sl_error_set(r->e, SL_STOP,
				    "the answer has no text: expected 'completion', 'response' or 'text'");
	if (!add_answer(r, value ? value : item, 0) || !read_rank(r, beside, beside_ranks, item, i, answer))
		return false;
	info = json_is_object(item) ? json_copy(item) : json_object();
	if (key && value)
		json_object_del(info, key);
	if (count > 2)
		json_object_set_new(info, "index", json_integer((json_int_t)i));
	if (json_object_size(info) > 0)
		answer->info = info;
	else
		json_decref(info);
	return true;
}

static bool read_ranked(struct sl_reading *r, const char *key)
{
	static const char *const lists[] = { "rankings", "ranks", "scores", "ratings" };
	json_t *list = sl_reading_get(r, key), *beside = NULL, *item;
	size_t i, k, count = json_array_size(list);

	if (!json_is_array(list) || count < 2)
		return sl_error_set(r->e, SL_STOP, "'%s' must be a list of at least two answers, not %s of %zu", key,
				    sl_json_kind(list), count);
	for (k = 0; k < sizeof lists / sizeof *lists; k++)
		if ((beside = sl_reading_get(r, lists[k])))
			break;
	if (beside && json_array_size(beside) != count)
		return sl_error_set(r->e, SL_STOP,
				    "'%s' must be a list of %zu numbers, one for each of '%s', not %s of %zu", lists[k],
				    count, key, sl_json_kind(beside), json_array_size(beside));
	r->answer_keys = sl_arena_print(r->a, "'%s'", key);
	sl_reading_use(r, key);
	json_array_foreach(list, i, item) if (!add_ranked(r, item, i, count, beside, k < 2)) return sl_error_in(
		r->e, "'%s[%zu]'", key, i);
	return true;
}

/* --- which --- */

static bool unknown_shape(struct sl_reading *r)
{
	const char *key, *found = "";
	json_t *value;
	int listed = 0;

	json_object_foreach(r->line, key, value) if (listed++ < 6) found =
		sl_arena_print(r->a, "%s%s'%.16s'", found, *found ? ", " : "", key);
	return sl_error_set(r->e, SL_STOP, "no known shape of a pair (keys: %s%s): " KNOWN_SHAPES,
			    listed ? found : "none", listed > 6 ? ", ..." : "");
}

static bool read_answers(struct sl_reading *r)
{
	static const char *const pair_keys[] = { "chosen", "rejected", "chosen_response", "rejected_response" };

	if (r->keys->chosen || r->keys->rejected)
		return read_pair(r);
	for (size_t i = 0; i < sizeof pair_keys / sizeof *pair_keys; i++)
		if (json_object_get(r->line, pair_keys[i]))
			return read_pair(r);
	for (size_t i = 0; i < sizeof positionals / sizeof *positionals; i++) {
		const struct positional *p = &positionals[i];

		if (json_object_get(r->line, p->first) && json_object_get(r->line, p->second) &&
		    sl_reading_get(r, p->verdict))
			return read_positional(r, p);
	}
	if (sl_reading_get(r, "completions"))
		return read_ranked(r, "completions");
	if (sl_reading_get(r, "responses"))
		return read_ranked(r, "responses");
	if (json_array_size(sl_reading_get(r, "output")) == 2)
		return read_output_pair(r);
	return unknown_shape(r);
}

bool sl_shape_read(struct sl_reading *r)
{
	return read_answers(r) && read_prompt(r) && part_prompt(r) && add_system(r);
}
