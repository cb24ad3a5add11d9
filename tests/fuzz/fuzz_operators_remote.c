/* fuzz_operators_remote.c -- hostile replies of servers of vectors and rewards. The first byte is the status and what
 * was asked. What is read is finite and of unit length; what is not read has words for people. */
#include "operators/remote.h"

#include "topology/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const char *why)
{
	size_t bad;

	assert(why && *why && sl_utf8_valid(sl_text(why), &bad));
	for (const char *at = why; *at; at++)
		assert(!iscntrl((unsigned char)*at));
}

static void read_vector(enum sl_vector_api api, const struct sl_answer *answer, struct sl_arena *a)
{
	const char *why = NULL;
	size_t count = 0;
	float *v = sl_remote_vector_read(api, answer, a, &count, &why);
	double square = 0;

	if (!v) {
		check_words(why);
		return;
	}
	assert(count > 0);
	for (size_t i = 0; i < count; i++)
		square += (double)v[i] * (double)v[i];
	assert(fabs(square - 1) < 1e-3);
}

static void read_rewards(enum sl_reward_api api, const char *template, int call, const struct sl_answer *answer,
			 struct sl_arena *a)
{
	const struct sl_rewards r = { .api = api, .template = sl_reward_template_find(template), .model = "" };
	struct sl_score score = { 0 };
	const char *why = NULL;

	if (sl_rewards_read(&r, answer, call, a, &score, &why))
		assert(isfinite(score.chosen) && isfinite(score.rejected));
	else
		check_words(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 200, 200, 400, 413, 422, 500, SL_GAVE_UP };
	struct sl_answer answer = { .why = "why" };
	struct sl_arena a = { 0 };

	if (size == 0)
		return 0;
	answer.status = statuses[data[0] % 8];
	answer.body = (struct sl_bytes){ data + 1, size - 1 };
	read_vector(SL_VECTOR_OPENAI, &answer, &a);
	read_vector(SL_VECTOR_TEI, &answer, &a);
	read_rewards(SL_REWARD_VLLM, "messages", data[0] >> 7, &answer, &a);
	read_rewards(SL_REWARD_VLLM, "plain", 0, &answer, &a);
	read_rewards(SL_REWARD_SGLANG, "plain", 0, &answer, &a);
	sl_arena_release(&a);
	return 0;
}
