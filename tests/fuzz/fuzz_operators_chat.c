/* fuzz_operators_chat.c -- hostile replies of a chat server. The first byte is the status. Whatever comes, there is an
 * outcome and, without an answer, words for people; what is read of an answer is one of our words and valid text, and
 * what goes back as a repair is a body that can be parsed. */
#include "operators/describing.h"
#include "operators/judging.h"

#include "topology/base/text.h"

#include <assert.h>
#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_word(struct sl_bytes text, const char *const *words)
{
	for (; *words; words++)
		if (sl_is(text, *words))
			return true;
	return false;
}

static void check_line(struct sl_bytes text)
{
	size_t bad;

	assert(sl_utf8_valid(text, &bad));
	for (size_t i = 0; i < text.size; i++)
		assert(!iscntrl(((const uint8_t *)text.data)[i]));
}

static void judge(struct sl_bytes text, struct sl_arena *a, const char **why)
{
	static const char *const verdicts[] = { "chosen", "rejected", "tie", "both_bad", "undecidable", NULL };
	static const char *const strengths[] = { "slight", "clear", "strong", NULL };
	struct sl_vote first = { 0 }, second = { 0 };
	bool read = sl_judging_read(text, SL_CHOSEN_FIRST, a, &first, why);

	assert(read == sl_judging_read(text, SL_REJECTED_FIRST, a, &second, why));
	assert(read || *why);
	if (!read)
		return;
	assert(is_word(first.verdict, verdicts) && is_word(first.strength, strengths));
	assert(sl_is(first.verdict, "chosen") == sl_is(second.verdict, "rejected"));
	assert(sl_is(first.verdict, "tie") == sl_is(second.verdict, "tie"));
	check_line(first.difference);
}

static void describe(struct sl_bytes text, struct sl_arena *a)
{
	struct sl_attributes at = { 0 };
	const char *why = NULL;

	if (!sl_describing_read(text, a, &at, &why)) {
		assert(why && !at.present);
		return;
	}
	assert(at.present && is_word(at.category, sl_categories));
	check_line(at.desired);
	check_line(at.guideline);
}

static void repair(struct sl_bytes said, const char *why)
{
	const struct sl_chat c = { .model = "m",
				   .user = sl_text("u"),
				   .said = said,
				   .complaint = sl_text(why),
				   .schema_name = "n",
				   .schema = "{}",
				   .tokens_max = 9 };
	struct sl_buf body = { 0 };
	json_t *parsed;

	sl_chat_body(&c, &body);
	parsed = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	assert(parsed);
	json_decref(parsed);
	sl_buf_release(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 200, 200, 400, 413, 422, 500, SL_GAVE_UP };
	struct sl_answer answer = { .why = "why" };
	struct sl_arena a = { 0 };
	struct sl_chat_reply reply;
	const char *why = "";

	if (size == 0)
		return 0;
	answer.status = statuses[data[0] % 8];
	answer.body = (struct sl_bytes){ data + 1, size - 1 };
	sl_chat_read(&answer, &a, &reply);
	assert(sl_chat_outcome_name(reply.outcome));
	assert((reply.outcome == SL_CHAT_ANSWERED) == (reply.why == NULL));
	if (reply.why)
		check_line(sl_text(reply.why));
	if (reply.outcome == SL_CHAT_ANSWERED) {
		judge(reply.text, &a, &why);
		describe(reply.text, &a);
		repair(reply.text, why);
	}
	judge(answer.body, &a, &why); /* as if a server had said just this */
	describe(answer.body, &a);
	sl_arena_release(&a);
	return 0;
}
