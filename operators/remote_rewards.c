/* remote_rewards.c -- rewards of two answers, behind remote.h. */
#include "remote.h"

#include "prompt.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>

/* -- a conversation as text --------------------------------------------------------------------------- */

struct sl_reward_template {
	const char *name;
	const char *before, *behind_role, *behind; /* of every turn */
	const char *system;                        /* what every system turn begins with, and there always is one */
	const char *last;                          /* in front of the text of the last turn */
	bool trim;                                 /* texts, as the models' own templates do */
};

#define CHATML .before = "<|im_start|>", .behind_role = "\n", .behind = "<|im_end|>\n"
#define LLAMA3 .before = "<|start_header_id|>", .behind_role = "<|end_header_id|>\n\n", .behind = "<|eot_id|>"

static const struct sl_reward_template templates[] = {
	{ .name = "plain", .before = "", .behind_role = ": ", .behind = "\n" },
	{ .name = "chatml", CHATML },
	{ .name = "qwen3", CHATML, .last = "<think>\n\n</think>\n\n" },
	{ .name = "llama3", LLAMA3, .trim = true },
	{ .name = "llama31",
	  LLAMA3,
	  .system = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
	  .trim = true },
};

const char *const sl_reward_templates[] = { "messages", "plain", "chatml", "qwen3", "llama3", "llama31", NULL };

const struct sl_reward_template *sl_reward_template_find(const char *name)
{
	for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++)
		if (strcmp(templates[i].name, name) == 0)
			return &templates[i];
	return NULL;
}

/* Templates know these; a producer may write anything. */
static const char *role_of(const struct sl_message *m, const char *otherwise)
{
	static const char *const known[] = { "system", "user", "assistant", "tool" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (sl_is(m->role, known[i]))
			return known[i];
	return sl_is(m->role, "developer") ? "system" : otherwise;
}

static struct sl_bytes trimmed(struct sl_bytes text)
{
	const char *s = text.data;

	while (text.size && isspace((unsigned char)s[text.size - 1]))
		text.size--;
	for (; text.size && isspace((unsigned char)*s); s++)
		text.size--;
	return (struct sl_bytes){ s, text.size };
}

static void add_turn(const struct sl_reward_template *t, const char *role, const char *lead, struct sl_bytes text,
		     struct sl_buf *to)
{
	sl_buf_print(to, "%s%s%s%s", t->before, role, t->behind_role, lead ? lead : "");
	sl_prompt_add_tamed(to, t->trim ? trimmed(text) : text);
	sl_buf_print(to, "%s", t->behind);
}

static void add_messages(const struct sl_reward_template *t, const struct sl_messages *m, const char *otherwise,
			 bool last, struct sl_buf *to)
{
	for (size_t i = 0; i < m->count; i++) {
		const char *role = role_of(&m->at[i], otherwise);
		const char *lead = strcmp(role, "system") == 0 ? t->system : NULL;

		if (last && i + 1 == m->count)
			lead = t->last;
		add_turn(t, role, lead, sl_prompt_message_text(&m->at[i]), to);
	}
}

static void add_text(const struct sl_reward_template *t, const struct sl_messages *prompt,
		     const struct sl_messages *answer, struct sl_buf *to)
{
	struct sl_buf text = { 0 };

	if (t->system && (prompt->count == 0 || strcmp(role_of(&prompt->at[0], "user"), "system") != 0))
		add_turn(t, "system", t->system, (struct sl_bytes){ 0 }, &text);
	add_messages(t, prompt, "user", false, &text);
	add_messages(t, answer, "assistant", true, &text);
	sl_json_text(to, text.size ? sl_buf_bytes(&text) : sl_text(""));
	sl_buf_release(&text);
}

/* -- bodies ------------------------------------------------------------------------------------------- */

static void add_list(const struct sl_messages *m, const char *otherwise, struct sl_buf *to)
{
	struct sl_buf text = { 0 };

	for (size_t i = 0; i < m->count; i++) {
		sl_buf_clear(&text);
		sl_prompt_add_tamed(&text, sl_prompt_message_text(&m->at[i]));
		sl_buf_print(to, "%s{\"role\":\"%s\",\"content\":", to->data[to->size - 1] == '[' ? "" : ",",
			     role_of(&m->at[i], otherwise));
		sl_json_text(to, text.size ? sl_buf_bytes(&text) : sl_text(""));
		sl_buf_add_byte(to, '}');
	}
	sl_buf_release(&text);
}

int sl_rewards_calls(const struct sl_rewards *r)
{
	return r->template ? 1 : 2;
}

void sl_rewards_body(const struct sl_rewards *r, const struct sl_pair *p, int call, struct sl_buf *to)
{
	assert(r->template || r->api == SL_REWARD_VLLM);
	sl_buf_add_byte(to, '{');
	if (r->model[0]) {
		sl_buf_print(to, "\"model\":");
		sl_json_text(to, sl_text(r->model));
		sl_buf_add_byte(to, ',');
	}
	if (!r->template) {
		sl_buf_print(to, "\"messages\":[");
		add_list(&p->prompt, "user", to);
		add_list(call == 0 ? &p->chosen : &p->rejected, "assistant", to);
	} else {
		sl_buf_print(to, r->api == SL_REWARD_SGLANG ? "\"text\":[" : "\"input\":[");
		add_text(r->template, &p->prompt, &p->chosen, to);
		sl_buf_add_byte(to, ',');
		add_text(r->template, &p->prompt, &p->rejected, to);
	}
	sl_buf_print(to, r->api == SL_REWARD_SGLANG ? "]}" : "],\"use_activation\":false}");
}

/* -- replies ------------------------------------------------------------------------------------------ */

static bool read_reward(enum sl_reward_api api, const json_t *item, size_t i, struct sl_arena *a, double *to,
			const char **why)
{
	const char *key = api == SL_REWARD_SGLANG ? "embedding" : "probs";
	const json_t *numbers = json_object_get(item, key), *index = json_object_get(item, "index");
	const json_t *number = json_array_get(numbers, 0);

	if (index && json_integer_value(index) != (json_int_t)i)
		*why = sl_arena_print(a, "malformed: item %zu has another index", i);
	else if (!json_is_array(numbers))
		*why = sl_arena_print(a, "malformed: expected '%s' with one reward, it is %s", key,
				      sl_json_kind(numbers));
	else if (json_array_size(numbers) != 1)
		*why = sl_arena_print(a,
				      "malformed: expected '%s' with one reward, it has %zu numbers: is the model a "
				      "reward model?",
				      key, json_array_size(numbers));
	else if (!json_is_number(number) || !isfinite(json_number_value(number)))
		*why = sl_arena_print(a, "malformed: the reward is %s", sl_json_kind(number));
	else {
		*to = json_number_value(number);
		return true;
	}
	return false;
}

bool sl_rewards_read(const struct sl_rewards *r, const struct sl_answer *answer, int call, struct sl_arena *a,
		     struct sl_score *to, const char **why)
{
	json_t *reply = sl_remote_reply(answer, a, why);
	const json_t *list = r->api == SL_REWARD_SGLANG ? reply : json_object_get(reply, "data");
	size_t expected = r->template ? 2 : 1;
	double *const places[] = { &to->chosen, &to->rejected };
	bool fine = reply != NULL;

	if (fine && (!json_is_array(list) || json_array_size(list) != expected)) {
		*why = sl_arena_print(a, "malformed: expected a list of %zu rewards, found %s", expected,
				      json_is_array(list) ? "another number of them" : sl_json_kind(list));
		fine = false;
	}
	for (size_t i = 0; fine && i < expected; i++)
		fine = read_reward(r->api, json_array_get(list, i), i, a, places[(size_t)call + i], why);
	json_decref(reply);
	return fine;
}
