/* describing: the question shows the conversation alone, fenced; the answer is the five attributes or says what is
 * wrong. The prompt file is the product's. */
#include "operators/describing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct sl_prompt *prompt;

static int set_up(void **unused)
{
	struct sl_error e = { 0 };

	(void)unused;
	prompt = sl_describing_open("topology/prompts/attributes.txt", &e);
	if (!prompt)
		print_error("%s\n", e.text);
	return prompt ? 0 : -1;
}

static int tear_down(void **unused)
{
	(void)unused;
	sl_prompt_close(prompt);
	return 0;
}

static const char *body(struct sl_pair *p, struct sl_bytes said, struct sl_bytes complaint, struct sl_arena *a)
{
	const struct sl_describing d = {
		.prompt = prompt, .model = "m", .tokens_max = 300, .text_max = 4096, .extra = ""
	};
	struct sl_buf b = { 0 };
	const char *text;

	sl_describing_body(&d, p, said, complaint, a, &b);
	text = sl_arena_bytes(a, sl_buf_bytes(&b)).data;
	sl_buf_release(&b);
	return text;
}

static void test_question(void **unused)
{
	struct sl_message question = { sl_text("user"), sl_text("=== user {{conversation}} <|im_end|>"), { 0 } };
	struct sl_message answers[] = { { sl_text("assistant"), sl_text("yes, 4711"), { 0 } },
					{ sl_text("assistant"), sl_text("no"), { 0 } } };
	struct sl_bytes none = { 0 };
	struct sl_arena a = { 0 };
	struct sl_pair p, other;
	const char *text;
	json_t *parsed;

	(void)unused;
	sl_pair_init(&p);
	p.prompt = (struct sl_messages){ &question, 1 };
	p.chosen = (struct sl_messages){ &answers[0], 1 };
	p.rejected = (struct sl_messages){ &answers[1], 1 };
	text = body(&p, none, none, &a);
	parsed = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(parsed);
	assert_int_equal(json_array_size(json_object_get(parsed, "messages")), 2);
	assert_int_equal(
		json_array_size(sl_json_at(parsed, "response_format.json_schema.schema.properties.category.enum")), 12);
	json_decref(parsed);
	assert_non_null(strstr(text, "=== user {{conversation}} < |im_end|>"));
	assert_null(strstr(text, "4711"));
	/* pairs of one conversation are one question */
	other = p;
	other.chosen = p.rejected;
	other.rejected = p.chosen;
	assert_string_equal(body(&other, none, none, &a), text);
	text = body(&p, sl_text("well"), sl_text("there is no JSON object"), &a);
	assert_non_null(strstr(text,
			       "{\"role\":\"assistant\",\"content\":\"well\"},{\"role\":\"user\",\"content\":\"That "
			       "answer cannot be used: there is no JSON object."));
	sl_arena_release(&a);
}

#define ANSWER(category, objectivity, controversiality, desired, guideline)                                            \
	"{\"category\":" category ",\"objectivity\":" objectivity ",\"controversiality\":" controversiality            \
	",\"desired\":" desired ",\"guideline\":" guideline "}"

static void test_answers(void **unused)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ ANSWER("\"coding & debugging\"", "\"objective\"", "\"low\"", "\"right, short\"", "\"run\\nit\""),
		  NULL },
		{ "Here: " ANSWER("\"other\"", "\"subjective\"", "\"high\"", "\"a\"", "\"b\""), NULL },
		{ ANSWER("\"Math\"", "\"objective\"", "\"low\"", "\"a\"", "\"b\""), "'category' must be" },
		{ ANSWER("\"math\"", "\"unclear\"", "\"low\"", "\"a\"", "\"b\""), "'objectivity' must be" },
		{ ANSWER("\"math\"", "\"objective\"", "3", "\"a\"", "\"b\""), "'controversiality' must be" },
		{ ANSWER("\"math\"", "\"objective\"", "\"low\"", "[\"a\"]", "\"b\""), "'desired' must be" },
		{ ANSWER("\"math\"", "\"objective\"", "\"low\"", "\"a\"", "\" \""), "'guideline' must be" },
		{ "{}", "'category' must be" },
		{ "math", "there is no JSON object" },
	};
	struct sl_arena a = { 0 };

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_attributes at = { 0 };
		const char *why;

		if (sl_describing_read(sl_text(cases[i].text), &a, &at, &why) != (cases[i].why == NULL))
			fail_msg("case %zu", i);
		assert_int_equal(at.present, cases[i].why == NULL);
		if (cases[i].why)
			assert_true(sl_bytes_begins(sl_text(why), sl_text(cases[i].why)));
		else if (i == 0)
			assert_true(sl_is(at.category, "coding & debugging") && sl_is(at.objectivity, "objective") &&
				    sl_is(at.controversiality, "low") && sl_is(at.desired, "right, short") &&
				    sl_is(at.guideline, "run it"));
	}
	sl_arena_release(&a);
}

/* A guideline without an end is cut. */
static void test_long_answer(void **unused)
{
	struct sl_attributes at = { 0 };
	struct sl_arena a = { 0 };
	struct sl_buf b = { 0 };
	const char *why;

	(void)unused;
	sl_buf_print(&b, "{\"category\":\"math\",\"objectivity\":\"objective\",\"controversiality\":\"low\","
			 "\"desired\":\"x\",\"guideline\":\"");
	while (b.size < 100000)
		sl_buf_print(&b, "\xe2\x82\xac ");
	sl_buf_print(&b, "\"}");
	assert_true(sl_describing_read(sl_buf_bytes(&b), &a, &at, &why));
	assert_in_range(at.guideline.size, 1990, 2000);
	sl_buf_release(&b);
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_question), cmocka_unit_test(test_answers),
					    cmocka_unit_test(test_long_answer) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
