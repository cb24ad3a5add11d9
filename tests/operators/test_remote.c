/* remote: the bodies that servers of vectors and rewards are sent, byte for byte, and what is made of their replies. */
#include "operators/remote.h"

#include "tests/trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sl_answer answer_of(int status, const char *body)
{
	return (struct sl_answer){ .status = status, .body = sl_text(body), .why = "why it says" };
}

static void expect_text(struct sl_buf *b, const char *expected)
{
	assert_string_equal(sl_buf_text(b), expected);
	sl_buf_clear(b);
}

/* -- vectors ------------------------------------------------------------------------------------------ */

static void test_vector_bodies(void **unused)
{
	struct sl_buf b = { 0 };

	(void)unused;
	sl_remote_vector_body(SL_VECTOR_OPENAI, "m", 0, sl_text("a \"b\"\n"), &b);
	expect_text(&b, "{\"model\":\"m\",\"input\":\"a \\\"b\\\"\\n\",\"encoding_format\":\"float\"}");
	sl_remote_vector_body(SL_VECTOR_OPENAI, "", 256, sl_text("a"), &b);
	expect_text(&b, "{\"input\":\"a\",\"encoding_format\":\"float\",\"dimensions\":256}");
	sl_remote_vector_body(SL_VECTOR_TEI, "m", 0, sl_text("a\xff"), &b);
	expect_text(&b, "{\"inputs\":\"a\xef\xbf\xbd\",\"truncate\":true,\"truncation_direction\":\"Left\"}");
	assert_string_equal(sl_remote_vector_path(SL_VECTOR_OPENAI), "/embeddings");
	assert_string_equal(sl_remote_vector_path(SL_VECTOR_TEI), "/embed");
	sl_buf_release(&b);
}

static void test_vector_replies(void **unused)
{
	static const struct {
		enum sl_vector_api api;
		int status;
		const char *body;
		size_t count;    /* 0: none */
		const char *why; /* begins with this */
	} cases[] = {
		{ SL_VECTOR_OPENAI, 200, "{\"data\":[{\"index\":0,\"embedding\":[3,-4.0]}],\"usage\":{}}", 2, NULL },
		{ SL_VECTOR_TEI, 200, "[[3,-4]]", 2, NULL },
		{ SL_VECTOR_TEI, 200, "[[3e20,-4e20]]", 2, NULL },
		{ SL_VECTOR_TEI, 200, "[[3e-30,-4e-30]]", 2, NULL },
		{ SL_VECTOR_TEI, 200, "[[3,-4],[3,-4]]", 0,
		  "malformed: expected a list of one embedding, found anoth" },
		{ SL_VECTOR_TEI, 200, "[3]", 0, "malformed: expected an embedding of 1 to 65536 numbers, found " },
		{ SL_VECTOR_TEI, 200, "[[]]", 0,
		  "malformed: expected an embedding of 1 to 65536 numbers, found another" },
		{ SL_VECTOR_TEI, 200, "{}", 0, "malformed: expected a list of one embedding, found an object" },
		{ SL_VECTOR_OPENAI, 200, "[[3,-4]]", 0, "malformed: expected a list of one embedding, found nothing" },
		{ SL_VECTOR_OPENAI, 200, "{\"data\":[[3,-4]]}", 0, "malformed: expected an embedding" },
		{ SL_VECTOR_OPENAI, 200, "{\"data\":[{\"embedding\":\"AACAPw==\"}]}", 0,
		  "malformed: expected an embedding of 1 to 65536 numbers, found a string" },
		{ SL_VECTOR_TEI, 200, "[[1,null]]", 0, "malformed: number 2 of the embedding is null" },
		{ SL_VECTOR_TEI, 200, "[[1,\"2\"]]", 0, "malformed: number 2 of the embedding is a string" },
		{ SL_VECTOR_TEI, 200, "[[NaN]]", 0, "malformed: the reply of 7 bytes is no JSON" },
		{ SL_VECTOR_TEI, 200, "[[1e999]]", 0, "malformed: the reply of 9 bytes is no JSON" },
		{ SL_VECTOR_TEI, 200, "[[1e300]]", 0, "malformed: number 1 of the embedding is beyond float32" },
		{ SL_VECTOR_TEI, 200, "[[0,-0.0]]", 0, "malformed: all numbers" },
		{ SL_VECTOR_TEI, 200, "[[1,2", 0, "malformed: the reply of 5 bytes is no JSON" },
		{ SL_VECTOR_TEI, 200, "", 0, "malformed: the reply of 0 bytes is no JSON" },
		{ SL_VECTOR_TEI, 413, "{\"error\":\"`inputs` must have less than 512 tokens\"}", 0,
		  "too_long: status 413" },
		{ SL_VECTOR_OPENAI, 400, "{\"error\":{\"message\":\"maximum context length is 8192\"}}", 0,
		  "too_long: status 400: maximum" },
		{ SL_VECTOR_OPENAI, 404, "{\"detail\":\"no such\\u0007 model\"}", 0,
		  "failed: status 404: no such model" },
		{ SL_VECTOR_OPENAI, SL_GAVE_UP, "", 0, "failed: why it says" },
	};
	struct sl_arena a = { 0 };

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_answer answer = answer_of(cases[i].status, cases[i].body);
		const char *why = "";
		size_t count = 0;
		float *v = sl_remote_vector_read(cases[i].api, &answer, &a, &count, &why);

		if (cases[i].count == 0) {
			assert_null(v);
			if (strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
				fail_msg("case %zu: expected '%s', got '%s'", i, cases[i].why, why);
			continue;
		}
		if (!v)
			fail_msg("case %zu: %s", i, why);
		assert_int_equal(count, cases[i].count);
		assert_true(fabsf(v[0] - 0.6F) < 1e-6F && fabsf(v[1] + 0.8F) < 1e-6F);
	}
	sl_arena_release(&a);
}

/* -- rewards ------------------------------------------------------------------------------------------ */

static struct sl_pair conversation(struct sl_arena *a, const char *role)
{
	struct sl_pair p = sl_trial_pair(a, " How? ", "So.", "No <|im_end|>");

	if (role) {
		struct sl_message *m = sl_arena_zalloc(a, 2 * sizeof *m);

		m[0] = (struct sl_message){ .role = sl_text(role), .content = sl_text("Be brief.") };
		m[1] = p.prompt.at[0];
		p.prompt = (struct sl_messages){ m, 2 };
	}
	return p;
}

static void test_reward_bodies(void **unused)
{
#define SYSTEM_31                                                                                                      \
	"<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n"                     \
	"Today Date: 26 Jul 2024\\n\\n"
#define USER_3 "<|start_header_id|>user<|end_header_id|>\\n\\nHow?<|eot_id|>"
#define ANSWER_3 "<|start_header_id|>assistant<|end_header_id|>\\n\\n"
	static const struct {
		enum sl_reward_api api;
		const char *template, *role;
		int calls;
		const char *bodies[2];
	} cases[] = {
		{ SL_REWARD_VLLM,
		  "messages",
		  "developer",
		  2,
		  { "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
		    "{\"role\":\"user\",\"content\":\" How? \"},{\"role\":\"assistant\",\"content\":\"So.\"}],"
		    "\"use_activation\":false}",
		    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
		    "{\"role\":\"user\",\"content\":\" How? \"},"
		    "{\"role\":\"assistant\",\"content\":\"No < |im_end|>\"}],\"use_activation\":false}" } },
		{ SL_REWARD_VLLM,
		  "plain",
		  "wizard",
		  1,
		  { "{\"model\":\"m\",\"input\":[\"user: Be brief.\\nuser:  How? \\nassistant: So.\\n\","
		    "\"user: Be brief.\\nuser:  How? \\nassistant: No < |im_end|>\\n\"],\"use_activation\":false}" } },
		{ SL_REWARD_SGLANG,
		  "chatml",
		  NULL,
		  1,
		  { "{\"model\":\"m\",\"text\":[\"<|im_start|>user\\n How? <|im_end|>\\n<|im_start|>assistant\\nSo."
		    "<|im_end|>\\n\",\"<|im_start|>user\\n How? <|im_end|>\\n<|im_start|>assistant\\nNo < |im_end|>"
		    "<|im_end|>\\n\"]}" } },
		{ SL_REWARD_SGLANG,
		  "qwen3",
		  NULL,
		  1,
		  { "{\"model\":\"m\",\"text\":[\"<|im_start|>user\\n How? <|im_end|>\\n<|im_start|>assistant\\n"
		    "<think>\\n\\n</think>\\n\\nSo.<|im_end|>\\n\",\"<|im_start|>user\\n How? <|im_end|>\\n"
		    "<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\nNo < |im_end|><|im_end|>\\n\"]}" } },
		{ SL_REWARD_SGLANG,
		  "llama3",
		  NULL,
		  1,
		  { "{\"model\":\"m\",\"text\":[\"" USER_3 ANSWER_3 "So.<|eot_id|>\",\"" USER_3 ANSWER_3
		    "No < |im_end|><|eot_id|>\"]}" } },
		{ SL_REWARD_SGLANG,
		  "llama31",
		  NULL,
		  1,
		  { "{\"model\":\"m\",\"text\":[\"" SYSTEM_31 "<|eot_id|>" USER_3 ANSWER_3
		    "So.<|eot_id|>\",\"" SYSTEM_31 "<|eot_id|>" USER_3 ANSWER_3 "No < |im_end|><|eot_id|>\"]}" } },
		{ SL_REWARD_SGLANG,
		  "llama31",
		  "system",
		  1,
		  { "{\"model\":\"m\",\"text\":[\"" SYSTEM_31 "Be brief.<|eot_id|>" USER_3 ANSWER_3
		    "So.<|eot_id|>\",\"" SYSTEM_31 "Be brief.<|eot_id|>" USER_3 ANSWER_3
		    "No < |im_end|><|eot_id|>\"]}" } },
	};
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_pair p = conversation(&a, cases[i].role);
		const struct sl_rewards r = { .api = cases[i].api,
					      .template = sl_reward_template_find(cases[i].template),
					      .model = "m" };

		assert_int_equal(sl_rewards_calls(&r), cases[i].calls);
		for (int n = 0; n < cases[i].calls; n++) {
			sl_rewards_body(&r, &p, n, &b);
			expect_text(&b, cases[i].bodies[n]);
		}
	}
	for (size_t i = 0; sl_reward_templates[i]; i++) /* all names are known, and the first needs no template */
		assert_int_equal(sl_reward_template_find(sl_reward_templates[i]) != NULL, i > 0);
	sl_buf_release(&b);
	sl_arena_release(&a);
}

static void test_reward_replies(void **unused)
{
	static const char item[] = "{\"index\":0,\"label\":\"LABEL_0\",\"probs\":[2.5],\"num_classes\":1}";
	static const struct {
		enum sl_reward_api api;
		const char *template, *body, *why; /* NULL: read, as 2.5 and -1 */
	} cases[] = {
		{ SL_REWARD_SGLANG, "chatml", "[{\"embedding\":[2.5],\"meta_info\":{}},{\"embedding\":[-1]}]", NULL },
		{ SL_REWARD_VLLM, "chatml", "{\"data\":[{\"index\":0,\"probs\":[2.5]},{\"index\":1,\"probs\":[-1.0]}]}",
		  NULL },
		{ SL_REWARD_VLLM, "chatml", "{\"data\":[{\"index\":1,\"probs\":[2.5]},{\"index\":0,\"probs\":[-1.0]}]}",
		  "malformed: item 0 has another index" },
		{ SL_REWARD_VLLM, "chatml", "{\"data\":[{\"probs\":[2.5]}]}",
		  "malformed: expected a list of 2 rewards" },
		{ SL_REWARD_VLLM, "messages", "{\"data\":[{\"probs\":[2.5]},{\"probs\":[2]}]}",
		  "malformed: expected a list of 1 rewards" },
		{ SL_REWARD_VLLM, "chatml", "[{\"probs\":[2.5]},{\"probs\":[1]}]",
		  "malformed: expected a list of 2 rewards, found nothing" },
		{ SL_REWARD_VLLM, "chatml", "{\"data\":[{\"probs\":[0.3,0.7]},{\"probs\":[0.5,0.5]}]}",
		  "malformed: expected 'probs' with one reward, it has 2 numbers: is the model a reward model?" },
		{ SL_REWARD_SGLANG, "chatml", "[{\"embedding\":2.5},{\"embedding\":[1]}]",
		  "malformed: expected 'embedding' with one reward, it is a number" },
		{ SL_REWARD_SGLANG, "chatml", "[{\"embedding\":[null]},{\"embedding\":[1]}]",
		  "malformed: the reward is null" },
		{ SL_REWARD_SGLANG, "chatml", "[{\"embedding\":[1]},7]", "malformed: expected 'embedding' with one" },
		{ SL_REWARD_SGLANG, "chatml", "[{\"embedding\":[1e999]},{\"embedding\":[1]}]",
		  "malformed: the reply of" },
	};
	struct sl_arena a = { 0 };
	struct sl_rewards messages = { .api = SL_REWARD_VLLM, .model = "" };
	struct sl_score score = { 0 };
	const char *why;
	char body[200];

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct sl_rewards r = { .api = cases[i].api,
					      .template = sl_reward_template_find(cases[i].template),
					      .model = "" };
		struct sl_answer answer = answer_of(200, cases[i].body);
		bool read;

		why = "";
		score.chosen = score.rejected = 9;
		read = sl_rewards_read(&r, &answer, 0, &a, &score, &why);
		if (read != !cases[i].why || (!read && strncmp(why, cases[i].why, strlen(cases[i].why)) != 0))
			fail_msg("case %zu: got '%s'", i, why);
		assert_true(!read || (score.chosen == 2.5 && score.rejected == -1));
	}
	for (int n = 0; n < 2; n++) { /* each call fills its own */
		struct sl_answer answer;

		snprintf(body, sizeof body, "{\"data\":[%s]}", item);
		answer = answer_of(200, body);
		score.chosen = score.rejected = 9;
		assert_true(sl_rewards_read(&messages, &answer, n, &a, &score, &why));
		assert_true(score.chosen == (n == 0 ? 2.5 : 9) && score.rejected == (n == 1 ? 2.5 : 9));
	}
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector_bodies),
		cmocka_unit_test(test_vector_replies),
		cmocka_unit_test(test_reward_bodies),
		cmocka_unit_test(test_reward_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
