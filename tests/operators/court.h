/* court.h -- LLM judges for the tests of annotate: endpoints whose answer is a function of the question.
 *
 * A judge prefers the candidate that says "good"; words in the conversation make it misbehave:
 *
 *     TIE BOTHBAD DUNNO    those verdicts
 *     FIRST                Candidate 1, whatever it says
 *     SPLIT                the model m-b says the opposite of the others
 *     REFUSE CUT THINK     a refusal; a text that was cut off; reasoning that ate the limit
 *     MUMBLE               no JSON at first, a verdict when asked again
 *     BABBLE               never JSON
 *     BROKEN TOOLONG       status 500; status 400, the context is too long
 *     MYSTERY              attributes: never described
 *
 * A question for attributes gets attributes. The court keeps every question; answers come when the trial's world takes
 * its turn. An endpoint that is `away` settles what may not wait as SL_AWAY. */
#ifndef SL_COURT_H
#define SL_COURT_H

#include "make_posterior.h"
#include "topology/endpoint.h"

#include <jansson.h>

enum { BENCHES = 3 };

struct question {
	const char *endpoint;
	char *model, *system, *user; /* user: the last message */
	char *conversation, *candidates[2];
	size_t messages, examples; /* how many */
	uint32_t sample;
	int64_t tokens_max;
	bool or_not, attributes;
};

struct court {
	struct bench {
		struct sl_endpoint base;
		struct court *court;
		bool away;
	} benches[BENCHES]; /* a, b, c */
	struct sl_outcall *open[4096];
	size_t open_count;
	struct question *asked; /* sent, all of them */
	size_t asked_count, asked_room;
	bool forgetful; /* keeps no questions */
};

/* What stands in the fence of this name; NULL: there is none. From malloc. */
static inline char *fenced(const char *text, const char *name)
{
	char open[64], close[64];
	const char *begin = text, *body, *end;

	snprintf(open, sizeof open, "<<<%s ", name);
	snprintf(close, sizeof close, "\n<<<end %s ", name);
	begin = strstr(text, open);
	if (!begin)
		return NULL;
	body = strchr(begin, '\n');
	assert_non_null(body);
	end = strstr(body, close);
	/* the mark of the end is that of the beginning */
	while (end && strncmp(end + strlen(close), begin + strlen(open), 8) != 0)
		end = strstr(end + 1, close);
	assert_non_null(end);
	return body == end ? sl_strdup("") : strndup(body + 1, (size_t)(end - body - 1));
}

static inline const char *message(const json_t *body, size_t i)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(body, "messages"), i), "content"));
}

static inline struct question read_question(const struct bench *bench, const struct sl_outcall *call)
{
	json_t *body = json_loadb(call->body.data, call->body.size, JSON_REJECT_DUPLICATES, NULL);
	struct question q = { .endpoint = bench->base.name,
			      .sample = call->sample,
			      .or_not = call->or_not,
			      .tokens_max = call->tokens_max };
	char name[64];

	assert_non_null(body);
	assert_string_equal(call->path, "/chat/completions");
	q.messages = json_array_size(json_object_get(body, "messages"));
	q.model = sl_strdup(json_string_value(json_object_get(body, "model")));
	assert_string_equal(q.model, call->model);
	q.system = sl_strdup(message(body, 0));
	q.user = sl_strdup(message(body, 1));
	q.conversation = fenced(q.user, "conversation");
	q.candidates[0] = fenced(q.user, "candidate_1");
	q.candidates[1] = fenced(q.user, "candidate_2");
	q.attributes = !q.candidates[0];
	for (;; q.examples++) {
		snprintf(name, sizeof name, "<<<example_%zu.candidate_1 ", q.examples + 1);
		if (!strstr(q.user, name))
			break;
	}
	json_decref(body);
	return q;
}

static inline void free_question(struct question *q)
{
	free(q->model);
	free(q->system);
	free(q->user);
	free(q->conversation);
	free(q->candidates[0]);
	free(q->candidates[1]);
}

/* -- what it says ------------------------------------------------------------------------- */

static inline char *reply_text(const char *content, const char *refusal, const char *finish)
{
	json_t *message_ = json_pack("{s:s, s:s?, s:s?}", "role", "assistant", "content", content, "refusal", refusal);
	json_t *reply = json_pack("{s:[{s:o, s:s}], s:{s:i, s:i}}", "choices", "message", message_, "finish_reason",
				  finish, "usage", "prompt_tokens", 100, "completion_tokens", 20);
	char *text = json_dumps(reply, JSON_COMPACT);

	json_decref(reply);
	return text;
}

static inline const char *verdict_of(const struct question *q)
{
	const char *says = q->conversation;
	bool first = strstr(q->candidates[0], "good") != NULL;

	if (strstr(says, "TIE"))
		return "tie";
	if (strstr(says, "BOTHBAD"))
		return "both_bad";
	if (strstr(says, "DUNNO"))
		return "undecidable";
	if (strstr(says, "SPLIT") && strcmp(q->model, "m-b") == 0)
		first = !first;
	return first || strstr(says, "FIRST") ? "1" : "2";
}

static inline int answer_of(const struct question *q, char **text)
{
	const char *says = q->conversation;
	char verdict[300];

	if (strstr(says, "BROKEN")) {
		*text = sl_strdup("oops");
		return 500;
	}
	if (strstr(says, "TOOLONG")) {
		*text = sl_strdup("{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"too many tokens\"}}");
		return 400;
	}
	if (q->attributes)
		*text = strstr(says, "MYSTERY") ? reply_text("I would rather not say", NULL, "stop")
						: reply_text("{\"category\":\"math\",\"objectivity\":\"objective\","
							     "\"controversiality\":\"low\",\"desired\":\"correct\","
							     "\"guideline\":\"Check the sum.\"}",
							     NULL, "stop");
	else if (strstr(says, "REFUSE"))
		*text = reply_text(NULL, "I cannot", "stop");
	else if (strstr(says, "CUT"))
		*text = reply_text("{\"difference\":\"The fir", NULL, "length");
	else if (strstr(says, "THINK"))
		*text = reply_text("", NULL, "length");
	else if (strstr(says, "BABBLE") || (strstr(says, "MUMBLE") && q->messages == 2))
		*text = reply_text("Hmm, the first one?", NULL, "stop");
	else {
		snprintf(verdict, sizeof verdict,
			 "{\"difference\":\"One is good, says %s.\",\"verdict\":\"%s\",\"strength\":\"clear\"}",
			 q->model, verdict_of(q));
		*text = reply_text(verdict, NULL, "stop");
	}
	return 200;
}

/* -- the endpoints ------------------------------------------------------------------------ */

static inline void court_send(struct sl_endpoint *endpoint, struct sl_outcall *call)
{
	struct bench *bench = (struct bench *)endpoint;
	struct court *c = bench->court;

	assert_true(c->open_count < sizeof c->open / sizeof c->open[0]);
	c->open[c->open_count++] = call;
	if (bench->away || c->forgetful)
		return;
	if (c->asked_count == c->asked_room) {
		c->asked_room = c->asked_room ? 2 * c->asked_room : 64;
		c->asked = sl_realloc(c->asked, c->asked_room * sizeof *c->asked);
	}
	c->asked[c->asked_count++] = read_question(bench, call);
}

static inline void court_settle(struct court *c, struct sl_outcall *call)
{
	struct bench *bench = NULL;
	struct sl_settlement s = { .attempts = 1 };
	struct question q;
	char *text = NULL;

	for (size_t i = 0; i < BENCHES; i++) /* the models tell them apart */
		if (call->model[2] == 'a' + (char)i)
			bench = &c->benches[i];
	if (bench->away && call->or_not) {
		s.status = SL_AWAY;
		s.why = "unreachable";
		call->done(call, &s);
		return;
	}
	q = read_question(bench, call);
	s.status = answer_of(&q, &text);
	s.body = sl_text(text);
	s.why = s.status == 200 ? NULL : "status";
	call->done(call, &s);
	free(text);
	free_question(&q);
}

/* For struct sl_trial_case. */
static inline void court_turn(void *arg, uint64_t *seed)
{
	struct court *c = arg;

	while (c->open_count && (!seed || sl_random(seed) % 3)) {
		size_t i = seed ? (size_t)(sl_random(seed) % c->open_count) : 0;
		struct sl_outcall *call = c->open[i];

		c->open[i] = c->open[--c->open_count];
		court_settle(c, call);
	}
}

static inline void court_hang_up(struct sl_endpoint *endpoint)
{
	struct bench *bench = (struct bench *)endpoint;
	struct court *c = bench->court;
	const struct sl_settlement s = { .status = SL_GAVE_UP, .why = "closing" };

	while (c->open_count) {
		struct sl_outcall *call = c->open[--c->open_count];

		call->done(call, &s);
	}
}

static inline struct sl_endpoint *court_endpoint(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = court_send, .free = court_hang_up };
	static const char *const names[BENCHES] = { "a", "b", "c" };
	struct court *c = arg;

	for (size_t i = 0; i < BENCHES; i++)
		if (strcmp(def->name, names[i]) == 0) {
			c->benches[i].base = (struct sl_endpoint){ .ops = &ops, .name = names[i] };
			c->benches[i].court = c;
			return &c->benches[i].base;
		}
	return NULL;
}

static inline void court_forget(struct court *c)
{
	for (size_t i = 0; i < c->asked_count; i++)
		free_question(&c->asked[i]);
	c->asked_count = 0;
}

static inline void court_release(struct court *c)
{
	court_forget(c);
	free(c->asked);
	*c = (struct court){ 0 };
}

/* Questions that went to this endpoint. */
static inline size_t asked_of(const struct court *c, const char *endpoint)
{
	size_t n = 0;

	for (size_t i = 0; i < c->asked_count; i++)
		n += strcmp(c->asked[i].endpoint, endpoint) == 0;
	return n;
}

#endif
