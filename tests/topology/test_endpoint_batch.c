/* test_endpoint_batch.c -- what is said to a server about batches, byte for byte, and what its answers are taken for.
 */
#include "topology/endpoint/batch.h"

#include "topology/redrive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static const struct sl_id key = { { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8 } };
#define HEX "0123456789abcdef0102030405060708"

static void test_form(void **state)
{
	struct sl_buf b = { 0 };

	(void)state;
	sl_batch_form_begin(&b, "name");
	sl_batch_form_line(&b, &key, "/chat/completions", sl_text("{\"a\":\n\"--sluice-form-8f3b1c\\n\"\r}"));
	sl_batch_form_line(&b, &key, "/embeddings", sl_text("{}"));
	sl_batch_form_end(&b);
	assert_string_equal(
		sl_buf_text(&b),
		"--sluice-form-8f3b1c\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
		"--sluice-form-8f3b1c\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name.jsonl\"\r\n"
		"Content-Type: application/jsonl\r\n\r\n"
		"{\"custom_id\":\"" HEX "\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"a\": "
		"\"--sluice-form-8f3b1c\\n\" }}\n"
		"{\"custom_id\":\"" HEX "\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{}}\n"
		"\r\n--sluice-form-8f3b1c--\r\n");
	sl_buf_clear(&b);
	sl_batch_create(&b, "file-1", "/chat/completions", HEX);
	assert_string_equal(sl_buf_text(&b),
			    "{\"input_file_id\":\"file-1\",\"endpoint\":\"/v1/chat/completions\",\"completion_window\":"
			    "\"24h\",\"metadata\":{\"sluice\":\"" HEX "\"}}");
	sl_buf_release(&b);
}

static void test_ids(void **state)
{
	static const struct {
		const char *body, *id; /* NULL: none */
	} rows[] = {
		{ "{\"id\":\"file-abc_1.2\"}", "file-abc_1.2" },
		{ "{\"id\":\"\"}", NULL },
		{ "{\"id\":\"a/../b\"}", NULL },
		{ "{\"id\":\"..\"}", NULL },
		{ "{\"id\":\"a?b\"}", NULL },
		{ "{\"id\":\"a b\"}", NULL },
		{ "{\"id\":\"a\\u0000b\"}", NULL },
		{ "{\"id\":\"\\u00e9\"}", NULL },
		{ "{\"id\":7}", NULL },
		{ "{}", NULL },
		{ "[]", NULL },
		{ "<html>", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char id[SL_BATCH_ID_SIZE];
		bool is = sl_batch_read_id(sl_text(rows[i].body), id);

		if (is != (rows[i].id != NULL) || (is && strcmp(id, rows[i].id) != 0))
			fail_msg("row %zu: %s", i, is ? id : "no id");
	}
}

static void test_batches(void **state)
{
	static const struct {
		const char *body;
		bool is;
		enum sl_batch_stage stage;
		const char *output, *errors, *why;
	} rows[] = {
		{ "{\"id\":\"b\",\"status\":\"validating\",\"output_file_id\":null}", true, SL_BATCH_RUNNING, "", "",
		  "" },
		{ "{\"id\":\"b\",\"status\":\"finalizing\"}", true, SL_BATCH_RUNNING, "", "", "" },
		{ "{\"id\":\"b\",\"status\":\"a new word\"}", true, SL_BATCH_RUNNING, "", "", "" },
		{ "{\"id\":\"b\",\"status\":\"completed\",\"output_file_id\":\"o\",\"error_file_id\":\"e\"}", true,
		  SL_BATCH_DONE, "o", "e", "" },
		{ "{\"id\":\"b\",\"status\":\"expired\",\"output_file_id\":\"../x\"}", true, SL_BATCH_DONE, "", "",
		  "" },
		{ "{\"id\":\"b\",\"status\":\"cancelled\"}", true, SL_BATCH_DONE, "", "", "" },
		{ "{\"id\":\"b\",\"status\":\"failed\",\"errors\":{\"data\":[{\"code\":\"c\",\"message\":\"m\\u001b["
		  "1m\"}]}}",
		  true, SL_BATCH_FAILED, "", "", "c: m?[1m" },
		{ "{\"id\":\"b\",\"status\":\"failed\",\"errors\":7}", true, SL_BATCH_FAILED, "", "", "" },
		{ "{\"id\":\"b\"}", false, SL_BATCH_RUNNING, "", "", "" },
		{ "{\"status\":\"completed\"}", false, SL_BATCH_RUNNING, "", "", "" },
		{ "no", false, SL_BATCH_RUNNING, "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_batch_said said;
		bool is = sl_batch_read(sl_text(rows[i].body), &said);

		if (is != rows[i].is ||
		    (is && (said.stage != rows[i].stage || strcmp(said.output, rows[i].output) != 0 ||
			    strcmp(said.errors, rows[i].errors) != 0 || strcmp(said.why, rows[i].why) != 0)))
			fail_msg("row %zu: stage %d, files '%s' '%s', why '%s'", i, said.stage, said.output,
				 said.errors, said.why);
	}
}

static void test_lists(void **state)
{
	struct sl_batch_said said;
	char last[SL_BATCH_ID_SIZE];
	bool found;

	(void)state;
	assert_true(
		sl_batch_find(sl_text("{\"data\":[{\"id\":\"b2\",\"status\":\"completed\",\"metadata\":null},"
				      "{\"id\":\"b1\",\"status\":\"in_progress\",\"metadata\":{\"sluice\":\"us\"}}],"
				      "\"has_more\":true}"),
			      "us", &said, &found, last));
	assert_true(found);
	assert_string_equal(said.id, "b1");
	assert_true(sl_batch_find(
		sl_text("{\"data\":[{\"id\":\"b2\",\"metadata\":{\"sluice\":\"them\"}}],\"has_more\":true}"), "us",
		&said, &found, last));
	assert_false(found);
	assert_string_equal(last, "b2");
	assert_true(sl_batch_find(sl_text("{\"data\":[{\"id\":\"b2\"}]}"), "us", &said, &found, last));
	assert_false(found);
	assert_string_equal(last, "");
	assert_false(sl_batch_find(sl_text("{\"data\":7}"), "us", &said, &found, last));
	assert_false(sl_batch_find(sl_text("<html>"), "us", &said, &found, last));
}

static void test_lines(void **state)
{
	static const char file[] =
		"{\"custom_id\":\"" HEX "\",\"response\":{\"status_code\":200,\"body\":{ \"x\": 1 }},\"error\":null}\n"
		"\n"
		"no line\n"
		"{\"custom_id\":\"" HEX "\",\"response\":{\"status_code\":200,\"body\":\"{\\\"y\\\":2}\"}}\n"
		"{\"custom_id\":\"" HEX
		"\",\"response\":null,\"error\":{\"code\":\"batch_expired\",\"message\":\"late\"}}\n"
		"{\"custom_id\":\"" HEX
		"\",\"response\":{\"status_code\":500,\"body\":{\"error\":{\"message\":\"down\"}}}}\n"
		"{\"custom_id\":\"other\",\"response\":{\"status_code\":200,\"body\":{}}}\n"
		"{\"custom_id\":\"" HEX "\",\"response\":{\"status_code\":-200,\"body\":{}}}";
	static const struct {
		bool keyed;
		int status;
		const char *body, *why;
	} rows[] = {
		{ true, 200, "{\"x\":1}", "" },
		{ false, 0, "", "" },
		{ true, 200, "{\"y\":2}", "" },
		{ true, 0, "", "batch_expired: late" },
		{ true, 500, "{\"error\":{\"message\":\"down\"}}", "down" },
		{ false, 200, "{}", "" },
		{ true, 0, "", "" },
	};
	struct sl_batch_line line = { 0 };
	size_t at = 0, i = 0;

	(void)state;
	for (; sl_batch_next(sl_text(file), &at, &line); i++) {
		assert_true(i < sizeof rows / sizeof *rows);
		if (line.keyed != rows[i].keyed || line.status != rows[i].status ||
		    strcmp(sl_buf_text(&line.body), rows[i].body) != 0 || strcmp(line.why, rows[i].why) != 0 ||
		    (line.keyed && !sl_id_equal(line.key, key)))
			fail_msg("line %zu: %d, %d, '%s', '%s'", i, line.keyed, line.status, sl_buf_text(&line.body),
				 line.why);
	}
	assert_int_equal(i, sizeof rows / sizeof *rows);
	sl_buf_release(&line.body);
}

static void test_reasons(void **state)
{
	static const struct {
		const char *reason;
		int keys;
	} rows[] = {
		{ "parked: " HEX ": 1 questions wait", 1 },
		{ "parked: " HEX " " HEX ": 2", 2 },
		{ "parked: " HEX " " HEX, 2 },
		{ "parked:" HEX, 0 },
		{ "parked: 0123", 0 },
		{ "parked", 0 },
		{ "away: " HEX, 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_id found;
		size_t at = 0;
		int n = 0;

		while (sl_parked_reason_next(sl_text(rows[i].reason), &at, &found)) {
			assert_true(sl_id_equal(found, key));
			n++;
		}
		if (n != rows[i].keys)
			fail_msg("row %zu: %d keys", i, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),  cmocka_unit_test(test_ids),   cmocka_unit_test(test_batches),
		cmocka_unit_test(test_lists), cmocka_unit_test(test_lines), cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
