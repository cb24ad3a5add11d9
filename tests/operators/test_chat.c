/* chat: bodies byte for byte, what extra members may say, every kind of reply, JSON found in prose. */
#include "operators/chat.h"

#include "topology/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FORMAT                                                                                                         \
	"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":{}}" \
	"}"
#define MESSAGES "\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"}]"

static struct sl_chat a_chat(void)
{
	return (struct sl_chat){ .model = "m",
				 .system = sl_text("s"),
				 .user = sl_text("u"),
				 .schema_name = "n",
				 .schema = "{}",
				 .tokens_max = 100,
				 .extra = "" };
}

static void check_body(const struct sl_chat *c, const char *expected)
{
	struct sl_buf b = { 0 };
	json_t *parsed;

	sl_chat_body(c, &b);
	assert_string_equal(sl_buf_text(&b), expected);
	parsed = json_loadb((const char *)b.data, b.size, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(parsed);
	json_decref(parsed);
	sl_buf_release(&b);
}

static void test_bodies(void **unused)
{
	struct sl_chat c = a_chat();

	(void)unused;
	check_body(&c, "{\"model\":\"m\"," MESSAGES ",\"temperature\":0.0,\"max_tokens\":100," FORMAT "}");
	c.temperature = -1;
	c.model = "";
	check_body(&c, "{" MESSAGES ",\"max_tokens\":100," FORMAT "}");
	c.system = (struct sl_bytes){ 0 };
	c.user = (struct sl_bytes){ 0 };
	check_body(&c, "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"max_tokens\":100," FORMAT "}");
	c.user = sl_text("\"\\\n\x01\xff\xc3\xa9");
	c.said = sl_text("x");
	c.complaint = sl_text("no");
	check_body(&c, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9\"},"
		       "{\"role\":\"assistant\",\"content\":\"x\"},{\"role\":\"user\",\"content\":\"no\"}],"
		       "\"max_tokens\":100," FORMAT "}");
}

static void test_extra_in_bodies(void **unused)
{
	static const struct {
		const char *extra, *expected;
	} cases[] = {
		{ "\"seed\":7,\"a\":{\"b\":[1,null]}",
		  ",\"temperature\":0.0,\"max_tokens\":100," FORMAT ",\"seed\":7,\"a\":{\"b\":[1,null]}}" },
		{ "\"max_completion_tokens\":90", ",\"temperature\":0.0," FORMAT ",\"max_completion_tokens\":90}" },
		{ "\"max_tokens\":null,\"temperature\":0.5", "," FORMAT ",\"temperature\":0.5}" },
		{ "\"response_format\":{\"type\":\"json_object\"}",
		  ",\"temperature\":0.0,\"max_tokens\":100,\"response_format\":{\"type\":\"json_object\"}}" },
		{ "\"response_format\":null", ",\"temperature\":0.0,\"max_tokens\":100}" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_chat c = a_chat();
		struct sl_buf expected = { 0 };
		struct sl_error e = { 0 };

		c.extra = cases[i].extra;
		assert_true(sl_chat_extra_check(c.extra, c.tokens_max, &e));
		sl_buf_print(&expected, "{\"model\":\"m\"," MESSAGES "%s", cases[i].expected);
		check_body(&c, sl_buf_text(&expected));
		sl_buf_release(&expected);
	}
}

static void test_extra_refused(void **unused)
{
	static const struct {
		const char *extra, *error;
	} cases[] = {
		{ "nonsense", "not members of a JSON object: " },
		{ "{\"a\":1}",
		  "not members of a JSON object: string or '}' expected near '{'; write '\"NAME\": VALUE" },
		{ "\"a\":1}", "not members of a JSON object: " },
		{ "\"a\":1,\"a\":2", "not members of a JSON object: duplicate object key" },
		{ "\"max_tokens\":101", "'max_tokens' must be a whole number from 1 to 100, the longest" },
		{ "\"max_completion_tokens\":0", "'max_completion_tokens' must be a whole number from 1 to 100" },
		{ "\"max_completion_tokens\":\"9\"", "'max_completion_tokens' must be a whole number from 1 to 100" },
		{ "\"model\":\"x\"", "'model' and 'messages' are not extra" },
		{ "\"messages\":[]", "'model' and 'messages' are not extra" },
		{ "\"stream\":true", "'stream': answers are read whole" },
		{ "\"n\":2", "'n': several samples are several calls" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_error e = { 0 };

		assert_false(sl_chat_extra_check(cases[i].extra, 100, &e));
		assert_int_equal(strncmp(e.text, cases[i].error, strlen(cases[i].error)), 0);
	}
}

/* -- replies ---------------------------------------------------------------------------------- */

#define REPLY(message, finish)                                                                                         \
	"{\"choices\":[{\"index\":0,\"message\":" message ",\"finish_reason\":\"" finish "\"}],\"usage\":{}}"

static const struct reply {
	int status;
	const char *body, *outcome, *text, *why;
} replies[] = {
	{ 200, REPLY("{\"content\":\"{}\"}", "stop"), "answered", "{}", NULL },
	{ 200, REPLY("{\"content\":\"h\\u0000i\"}", "stop"), "answered", NULL, NULL },
	{ 200,
	  REPLY("{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\"},7,{\"text\":\"b\"}]}", "stop"),
	  "answered", "ab", NULL },
	{ 200, REPLY("{\"content\":\"<think>so {\\\"a\\\":1}</think>\\nyes\"}", "stop"), "answered", "\nyes", NULL },
	{ 200, REPLY("{\"content\":\"say <think>\"}", "stop"), "answered", "say <think>", NULL },
	{ 200, REPLY("{\"content\":\"x\",\"reasoning_content\":\"long\"}", "stop"), "answered", "x", NULL },
	{ 200, REPLY("{\"content\":\"x\",\"refusal\":\"\"}", "stop"), "answered", "x", NULL },
	{ 200, "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":null}]}", "answered", "x", NULL },
	{ 200, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", "answered", "x", NULL },
	{ 200, REPLY("{\"content\":null,\"refusal\":\"I can't\\nhelp\"}", "stop"), "refused", NULL, "I can't help" },
	{ 200, REPLY("{\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}", "stop"), "refused", NULL, "no" },
	{ 200, REPLY("{\"content\":\"x\"}", "content_filter"), "refused", NULL,
	  "the server's content filter ended the answer" },
	{ 200, REPLY("{\"content\":\"{\\\"verd\"}", "length"), "truncated", "{\"verd",
	  "the token limit was reached in the middle of the answer" },
	{ 200, REPLY("{\"content\":\"\"}", "length"), "reasoning_truncated", NULL,
	  "the token limit was reached before the answer began" },
	{ 200, REPLY("{\"content\":null,\"reasoning\":\"hm\"}", "length"), "reasoning_truncated", NULL,
	  "the token limit was reached before the answer began" },
	{ 200, REPLY("{\"content\":\" <think>hm\"}", "length"), "reasoning_truncated", NULL,
	  "the token limit was reached before the answer began" },
	{ 200, REPLY("{\"content\":\" \\n\"}", "stop"), "malformed", NULL, "the message has no text" },
	{ 200, REPLY("{\"content\":7}", "stop"), "malformed", NULL, "the message has no text" },
	{ 200, REPLY("7", "stop"), "malformed", NULL, "the reply has no message" },
	{ 200, "{\"choices\":[]}", "malformed", NULL, "the reply has no choices" },
	{ 200, "{\"choices\":{}}", "malformed", NULL, "the reply has no choices" },
	{ 200, "[]", "malformed", NULL, "the reply has no choices" },
	{ 200, "{\"error\":{\"message\":\"provider\\tdown\"}}", "malformed", NULL, "provider down" },
	{ 200, "", "malformed", NULL, "the reply is not JSON: '[' or '{' expected near end of file" },
	{ 200, "<html>", "malformed", NULL, "the reply is not JSON: '[' or '{' expected near '<'" },
	{ 200, "{\"choices\":[{\"mess", "malformed", NULL, NULL },
	{ 413, "", "too_long", NULL, "status 413" },
	{ 400, "{\"error\":{\"message\":\"This model's maximum context length is 8 tokens\",\"code\":400}}", "too_long",
	  NULL, "status 400: This model's maximum context length is 8 tokens" },
	{ 400, "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"m\"}}", "too_long", NULL,
	  "status 400: m" },
	{ 400, "{\"error\":{\"type\":\"exceed_context_size_error\",\"message\":\"n\"}}", "too_long", NULL,
	  "status 400: n" },
	{ 400, "{\"error\":{\"code\":\"content_filter\",\"message\":\"o\"}}", "refused", NULL, "status 400: o" },
	{ 400, "{\"error\":\"bad\"}", "failed", NULL, "status 400: bad" },
	{ 400, "{\"detail\":\"worse\"}", "failed", NULL, "status 400: worse" },
	{ 401, "{\"error\":{\"message\":\"wrong key\"}}", "failed", NULL, "status 401: wrong key" },
	{ 500, "oops\n\x01<b>", "failed", NULL, "status 500: oops <b>" },
	{ 500, "", "failed", NULL, "status 500" },
	{ SL_GAVE_UP, "", "failed", NULL, "no answer in time" },
	{ SL_AWAY, "", "failed", NULL, "no answer in time" },
	{ SL_NO_BUDGET, "", "failed", NULL, "no answer in time" },
};

static void test_replies(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
		const struct reply *r = &replies[i];
		struct sl_answer answer = { .status = r->status,
					    .why = r->status < 0 ? "no answer in time" : NULL,
					    .body = sl_text(r->body) };
		struct sl_arena a = { 0 };
		struct sl_chat_reply reply;

		sl_chat_read(&answer, &a, &reply);
		if (strcmp(sl_chat_outcome_name(reply.outcome), r->outcome) != 0)
			fail_msg("reply %zu: %s (%s), expected %s", i, sl_chat_outcome_name(reply.outcome),
				 reply.why ? reply.why : "", r->outcome);
		if (r->text)
			assert_true(sl_is(reply.text, r->text));
		if (r->why)
			assert_string_equal(reply.why, r->why);
		assert_int_equal(reply.why == NULL, reply.outcome == SL_CHAT_ANSWERED);
		sl_arena_release(&a);
	}
}

/* What a server says is quoted short, whole characters only, printable. */
static void test_quotes(void **unused)
{
	struct sl_arena a = { 0 };
	struct sl_buf body = { 0 };
	struct sl_answer answer = { .status = 500 };
	struct sl_chat_reply reply;
	size_t bad;

	(void)unused;
	for (int i = 0; i < 300; i++)
		sl_buf_add(&body, "\xe2\x82\xac", 3);
	answer.body = sl_buf_bytes(&body);
	sl_chat_read(&answer, &a, &reply);
	assert_true(strlen(reply.why) <= 220);
	assert_true(sl_utf8_valid(sl_text(reply.why), &bad));
	sl_buf_clear(&body);
	for (int i = 0; i < 300; i++)
		sl_buf_add(&body, "\x80\xff\0\r", 4);
	answer.body = sl_buf_bytes(&body);
	sl_chat_read(&answer, &a, &reply);
	assert_true(sl_utf8_valid(sl_text(reply.why), &bad));
	assert_null(strchr(reply.why, '\r'));
	sl_buf_release(&body);
	sl_arena_release(&a);
}

/* -- JSON in a text ---------------------------------------------------------------------------- */

static void test_objects(void **unused)
{
	static const struct {
		const char *text, *why; /* why NULL: the object {"v":1}, or 2 ... */
	} cases[] = {
		{ "{\"v\":1}", NULL },
		{ " \n{\"v\":1}\n", NULL },
		{ "```json\n{\"v\":1}\n```", NULL },
		{ "Sure! \xe2\x82\xac{x} f(a) { return; } {\"v\":1} Hope that helps \xe2\x82\xac.", NULL },
		{ "{ \"v\" : 1 , \"o\":{\"v\":2}}", NULL },
		{ "", "there is no JSON object" },
		{ "no", "there is no JSON object" },
		{ "[1]", "there is no JSON object" },
		{ "{not json}", "there is no JSON object" },
		{ "{\"v\":1}{\"v\":1}", "there is more than one JSON object" },
		{ "first {\"v\":1}, no: {\"v\":2}", "there is more than one JSON object" },
		{ "{\"v\":1} {}", "there is more than one JSON object" },
		{ "{\"v\":1", "the JSON is broken" },
		{ "{\"v\":1,\"v\":2}", "the JSON is broken" },
		{ "{\"broken\": {\"v\":1}", "the JSON is broken" },
		{ "{\"v\":1} and {\"broken\"", "the JSON is broken" },
		{ "{\"v\":\"\\ud800\"}", "the JSON is broken" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *why;
		json_t *found = sl_chat_object(sl_text(cases[i].text), &why);

		if ((found == NULL) != (cases[i].why != NULL))
			fail_msg("case %zu: '%s'", i, cases[i].text);
		if (found)
			assert_int_equal(json_integer_value(json_object_get(found, "v")), 1);
		else
			assert_string_equal(why, cases[i].why);
		json_decref(found);
	}
}

/* A megabyte of braces is no work. */
static void test_many_braces(void **unused)
{
	static const char *const units[] = { "{", "{\"a\":", "{\"a\":[", "{}", "{x" };

	(void)unused;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		struct sl_buf b = { 0 };
		const char *why;

		while (b.size < 1 << 20)
			sl_buf_print(&b, "%s", units[i]);
		assert_null(sl_chat_object(sl_buf_bytes(&b), &why));
		sl_buf_release(&b);
	}
}

static void test_lines(void **unused)
{
	static const struct {
		const char *text;
		size_t most;
		const char *line;
	} cases[] = {
		{ "", 10, "" },
		{ " \n\t ", 10, "" },
		{ " a\r\n b\x01\x7f"
		  "c ",
		  10, "a b c" },
		{ "abcdef", 3, "abc" },
		{ "ab\xe2\x82\xac", 5, "ab\xe2\x82\xac" },
		{ "ab\xe2\x82\xac", 4, "ab" },
		{ "ab\xe2\x82\xac", 3, "ab" },
		{ "ab\xe2\x82\xac", 2, "ab" },
		{ "ab cd", 3, "ab" },
		{ "\x80\x80\x80\x80", 2, "" },
		{ "a\xc2\x9b[2Jb\xc2\x85", 10, "a [2Jb" }, /* controls in two bytes */
		{ "a\xe2\x80\xa8\xe2\x80\xa9"
		  "b",
		  10, "a b" },                                                          /* ends of a line */
		{ "\xe2\x80\xaeno\xe2\x81\xa6\xd8\x9c yes\xe2\x80\x8f", 10, "no yes" }, /* told backwards */
		{ "\xc2\xa0\xc2", 10, "\xc2\xa0\xc2" },                                 /* no controls */
		{ "ab\xc2\x9b", 3, "ab" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_arena a = { 0 };

		assert_true(sl_is(sl_chat_line(sl_text(cases[i].text), cases[i].most, &a), cases[i].line));
		sl_arena_release(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),        cmocka_unit_test(test_extra_in_bodies),
		cmocka_unit_test(test_extra_refused), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_quotes),        cmocka_unit_test(test_objects),
		cmocka_unit_test(test_many_braces),   cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
