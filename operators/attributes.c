/* attributes.c -- a description of a pair by an LLM: category, objectivity, controversiality, desired attributes,
 * guideline (describing.h; arXiv 2507.01352 section 3.1).
 *
 * It stands before embed, which embeds the description with the conversation, so that gold pairs are found by
 * what a good answer is and not by words alone. Gold pairs pass here like all others: as examples they are shown with
 * their attributes.
 *
 * A pair is described by a function that is run from the top in every round of ask() and once more in process(): it
 * puts the questions that the answers so far lead to (one, and one more to repair an answer that cannot be used), and
 * putting the same one again is free. A pair that nobody could describe goes on as it is, and the reason code says why:
 * attributes help, they are not needed. */
#include "describing.h"

struct attributes {
	const char *endpoint, *prompt_path, *extra, *only, *without_judge;
	double temperature;
	int64_t max_tokens, text_max_bytes;
	struct sl_prompt *prompt;
	char prompt_hash[SL_ID_HEX_SIZE];
	struct sl_buf body;
	struct sl_arena scratch; /* of one pair in one round */
};

enum { DESCRIBED };
static const char *const ports[] = { "described", NULL };

static const char *const only_words[] = { "all", "missing", NULL };
static const char *const without_words[] = { "wait", "pass", NULL };

static const struct sl_option options[] = {
	{ .name = "endpoint",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct attributes, endpoint),
	  .endpoint = true,
	  .help = "who describes: an endpoint of the topology, and its model" },
	{ .name = "prompt",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct attributes, prompt_path),
	  .value = "prompts/attributes.txt",
	  .help = "the words of the question: a prompt file" },
	{ .name = "temperature",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct attributes, temperature),
	  .value = "0",
	  .least = -1,
	  .most = 2,
	  .help = "of the model; below 0: not sent, for models that allow only their own" },
	{ .name = "max_tokens",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct attributes, max_tokens),
	  .value = "600",
	  .least = 16,
	  .most = 1 << 20,
	  .unit = "tokens",
	  .help = "the longest answer, reasoning included: what the budget reckons with" },
	{ .name = "text_max",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct attributes, text_max_bytes),
	  .value = "16KiB",
	  .least = 256,
	  .most = 1 << 20,
	  .help = "of a longer conversation the middle is left out" },
	{ .name = "extra",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct attributes, extra),
	  .value = "",
	  .help = "more members of the request, as JSON without braces: \"reasoning_effort\":\"low\"" },
	{ .name = "only",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct attributes, only),
	  .value = "missing",
	  .words = only_words,
	  .help = "missing: pairs without attributes; all: those that have some are described anew" },
	{ .name = "without_judge",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct attributes, without_judge),
	  .value = "wait",
	  .words = without_words,
	  .help = "when the budget is spent or the endpoint away: wait, or pass pairs on without attributes" },
	{ 0 },
};

static enum sl_verdict attributes_open(struct sl_task *task, void *self)
{
	struct attributes *s = self;
	struct sl_error e = { 0 };

	if (!sl_task_model(task, s->endpoint)[0])
		return sl_fail(task, SL_STOP, "endpoint '%s' names no model: set endpoints.%s.model", s->endpoint,
			       s->endpoint);
	if (!sl_chat_extra_check(s->extra, s->max_tokens, &e))
		return sl_fail(task, SL_STOP, "option 'extra': %s", e.text);
	s->prompt = sl_describing_open(sl_task_path(task, s->prompt_path), &e);
	if (!s->prompt)
		return sl_fail(task, SL_STOP, "option 'prompt': %s", e.text);
	sl_id_hex(sl_prompt_hash(s->prompt), s->prompt_hash);
	return SL_OK;
}

/* What became of a pair. */
struct outcome {
	bool open;        /* an answer is still missing */
	const char *code; /* no attributes: why, in a word, and for people */
	const char *why;
	struct sl_attributes attributes;
};

static struct sl_answer put(struct sl_task *task, struct attributes *s, const struct sl_pair *p, struct sl_bytes said,
			    struct sl_bytes complaint)
{
	const struct sl_describing d = {
		.prompt = s->prompt,
		.model = sl_task_model(task, s->endpoint),
		.temperature = s->temperature,
		.tokens_max = s->max_tokens,
		.text_max = (size_t)s->text_max_bytes,
		.extra = s->extra,
	};
	struct sl_call call = {
		.endpoint = s->endpoint,
		.model = d.model,
		.tokens_max = s->max_tokens,
		.or_not = strcmp(s->without_judge, "pass") == 0,
	};

	sl_buf_clear(&s->body);
	sl_describing_body(&d, p, said, complaint, &s->scratch, &s->body);
	call.body = sl_arena_bytes(&s->scratch, sl_buf_bytes(&s->body));
	return sl_answer(task, sl_ask(task, &call));
}

static struct outcome describe(struct sl_task *task, struct attributes *s, const struct sl_pair *p)
{
	struct outcome o = { .code = sl_chat_outcome_name(SL_CHAT_MALFORMED) };
	struct sl_bytes said = { 0 }, complaint = { 0 };

	sl_arena_clear(&s->scratch);
	for (int repair = 0; repair < 2; repair++) {
		struct sl_answer answer = put(task, s, p, said, complaint);
		struct sl_chat_reply reply;

		o.open = answer.status == SL_UNSETTLED;
		if (o.open)
			return o;
		sl_chat_read(&answer, &s->scratch, &reply);
		if (reply.outcome != SL_CHAT_ANSWERED) {
			o.code = answer.status == SL_NO_BUDGET ? "no_budget"
				 : answer.status == SL_AWAY    ? "away"
							       : sl_chat_outcome_name(reply.outcome);
			o.why = reply.why;
			return o;
		}
		if (sl_describing_read(reply.text, sl_task_arena(task), &o.attributes, &o.why))
			return o;
		said = reply.text;
		complaint = sl_text(o.why);
	}
	return o;
}

static bool is_wanted(const struct attributes *s, const struct sl_pair *p)
{
	return !p->attributes.present || strcmp(s->only, "all") == 0;
}

static enum sl_verdict attributes_ask(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct attributes *s = self;

	for (size_t i = 0; i < batch->count; i++)
		if (is_wanted(s, &batch->pairs[i]))
			describe(task, s, &batch->pairs[i]);
	return SL_OK;
}

static enum sl_verdict attributes_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct attributes *s = self;

	for (size_t i = 0; i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];
		struct outcome o;

		if (!is_wanted(s, &p)) {
			sl_emit_because(task, DESCRIBED, &p, "given: had attributes");
			continue;
		}
		o = describe(task, s, &p);
		if (o.attributes.present) {
			p.attributes = o.attributes;
			sl_emit_because(task, DESCRIBED, &p, "described: by %s/%s, prompt %.8s", s->endpoint,
					sl_task_model(task, s->endpoint), s->prompt_hash);
		} else {
			sl_emit_because(task, DESCRIBED, &p, "%s: %s", o.code, o.why ? o.why : "");
		}
	}
	return SL_OK;
}

static void attributes_close(struct sl_task *task, void *self)
{
	struct attributes *s = self;

	(void)task;
	sl_prompt_close(s->prompt);
	sl_buf_release(&s->body);
	sl_arena_release(&s->scratch);
}

const struct sl_operator sl_operator_attributes = {
	.name = "attributes",
	.version = "1",
	.help = "an LLM describes what is asked for and what a good answer is",
	.options = options,
	.ports = ports,
	.self_size = sizeof(struct attributes),
	.open = attributes_open,
	.ask = attributes_ask,
	.process = attributes_process,
	.close = attributes_close,
};
