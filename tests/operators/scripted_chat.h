/* scripted_chat.h -- an endpoint for trials that answers by a function of the question alone, over and over across
 * restarts: at its turn (struct sl_trial_case.world), in any order when seeded. */
#ifndef SL_SCRIPTED_CHAT_H
#define SL_SCRIPTED_CHAT_H

#include "schemas/json.h"
#include "tests/trial.h"
#include "topology/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct scripted_chat {
	struct sl_endpoint endpoint; /* first */
	/* What a call is settled with; the body may lie in `body`. */
	struct sl_settlement (*answer)(const struct sl_outcall *call, struct sl_buf *body);
	struct sl_outcall *open[1024];
	size_t open_count, sent;
};

/* The reply of a server whose model says this. */
static inline struct sl_settlement scripted_says(struct sl_buf *body, const char *text, const char *finish)
{
	sl_buf_print(body, "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":");
	sl_json_text(body, sl_text(text));
	sl_buf_print(body, "},\"finish_reason\":\"%s\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}",
		     finish);
	return (struct sl_settlement){ .status = 200, .body = sl_buf_bytes(body), .attempts = 1 };
}

static inline void scripted_send(struct sl_endpoint *endpoint, struct sl_outcall *call)
{
	struct scripted_chat *s = (struct scripted_chat *)endpoint;

	assert_true(s->open_count < sizeof s->open / sizeof s->open[0]);
	s->open[s->open_count++] = call;
	s->sent++;
}

static inline void scripted_hang_up(struct sl_endpoint *endpoint)
{
	struct scripted_chat *s = (struct scripted_chat *)endpoint;
	const struct sl_settlement gone = { .status = SL_GAVE_UP, .why = "closing" };

	while (s->open_count) {
		struct sl_outcall *call = s->open[--s->open_count];

		call->done(call, &gone);
	}
}

/* For struct sl_trial_case: arg is the struct scripted_chat. */
static inline struct sl_endpoint *scripted_endpoint(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = scripted_send, .free = scripted_hang_up };
	struct scripted_chat *s = arg;

	s->endpoint = (struct sl_endpoint){ .ops = &ops, .name = def->name };
	return &s->endpoint;
}

static inline void scripted_turn(void *arg, uint64_t *seed)
{
	struct scripted_chat *s = arg;

	while (s->open_count && (!seed || sl_random(seed) % 3)) {
		size_t i = seed ? (size_t)(sl_random(seed) % s->open_count) : 0;
		struct sl_outcall *call = s->open[i];
		struct sl_buf body = { 0 };
		struct sl_settlement settlement = s->answer(call, &body);

		s->open[i] = s->open[--s->open_count];
		call->done(call, &settlement);
		sl_buf_release(&body);
	}
}

#endif
