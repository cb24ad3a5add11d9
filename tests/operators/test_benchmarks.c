/* Which texts contain a benchmark's prompt, and which files are benchmarks. */
#include "operators/benchmarks.h"
#include "topology/base/buf.h"
#include "topology/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static const char prompt_20[] = "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14 a15 a16 a17 a18 a19 a20";

static struct sl_benchmarks *example(void)
{
	static const struct {
		const char *name, *turns[2];
	} prompts[] = {
		{ "long", { prompt_20 } },
		{ "exactly-13", { "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12 b13" } },
		{ "twelve", { "c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12" } },
		{ "seven", { "c1 c2 c3 c4 c5 d6 d7" } },
		{ "five", { "e1 e2 e3 e4 e5" } },
		{ "four", { "f1 f2 f3 f4" } },
		{ "one", { "G!" } },
		{ "signs", { "?!" } },
		{ "turns", { "h1 h2 h3 h4 h5 h6", "please say that again in fewer words" } },
		{ "long-turn", { "i1 i2 i3 i4 i5 i6", "j1 j2 j3 j4 j5 j6 j7 j8 j9 j10 j11 j12 j13" } },
		{ "chinese", { "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7" } },
		{ "second", { prompt_20 } }, /* the first keeps the name */
	};
	struct sl_benchmarks *b = sl_benchmarks_new();

	for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
		struct sl_message at[4] = { { .role = sl_text("system"), .content = sl_text("k1 k2 k3 k4 k5 k6") },
					    { .role = sl_text("user"), .content = sl_text(prompts[i].turns[0]) },
					    { .role = sl_text("assistant"), .content = sl_text("l1 l2 l3 l4 l5 l6") },
					    { .role = sl_text("user"), .content = sl_text(prompts[i].turns[1]) } };

		sl_benchmarks_add(b, prompts[i].name, &(struct sl_messages){ at, prompts[i].turns[1] ? 4 : 2 });
	}
	return b;
}

static void test_find(void **state)
{
	static const struct {
		const char *text, *benchmark;
		size_t first, count;
	} rows[] = {
		{ prompt_20, "long", 0, 13 },
		{ "x A3, a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14 (a15) y", "long", 1, 13 },
		{ "a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14", NULL, 0, 0 },
		{ "a2 a1 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13", NULL, 0, 0 },
		{ "a1 a2 a3 a4 a5 a6 x a7 a8 a9 a10 a11 a12 a13 a14 a15", NULL, 0, 0 },
		{ "z b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12 b13", "exactly-13", 1, 13 },
		{ "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12", NULL, 0, 0 },
		{ "q c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 r", "twelve", 1, 12 },
		{ "q c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11", NULL, 0, 0 },
		{ "c1 c2 c3 c4 c5 d6 d7", "seven", 0, 7 },
		{ "c1 c2 c3 c4 c5 d6", NULL, 0, 0 },
		{ "what if e1 e2 e3 e4 e5 then", "five", 2, 5 },
		{ "e1 e2 e3 e4 x e5", NULL, 0, 0 },
		{ "F1 f2, f3 f4.", "four", 0, 4 },
		{ "f1 f2 f3 f4 f5", NULL, 0, 0 },
		{ "x f1 f2 f3 f4", NULL, 0, 0 },
		{ "g", "one", 0, 1 },
		{ "g g", NULL, 0, 0 },
		{ "?!", NULL, 0, 0 },
		{ "", NULL, 0, 0 },
		{ "so h1 h2 h3 h4 h5 h6", "turns", 1, 6 },
		{ "please say that again in fewer words", NULL, 0, 0 },
		{ "j1 j2 j3 j4 j5 j6 j7 j8 j9 j10 j11 j12 j13", "long-turn", 0, 13 },
		{ "k1 k2 k3 k4 k5 k6", NULL, 0, 0 },
		{ "l1 l2 l3 l4 l5 l6", NULL, 0, 0 },
		{ "a\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7", "chinese", 1, 5 },
	};
	struct sl_benchmarks *b = example();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_arena a = { 0 };
		struct sl_shared shared = { 0 };
		bool found = sl_benchmarks_find(b, sl_words_of(&a, sl_text(rows[i].text)), &a, &shared);

		if (found != !!rows[i].benchmark ||
		    (found && (strcmp(shared.benchmark, rows[i].benchmark) != 0 || shared.first != rows[i].first ||
			       shared.count != rows[i].count)))
			fail_msg("'%s': %s %zu %zu, expected %s %zu %zu", rows[i].text,
				 found ? shared.benchmark : "nothing", shared.first, shared.count,
				 rows[i].benchmark ? rows[i].benchmark : "nothing", rows[i].first, rows[i].count);
		sl_arena_release(&a);
	}
	sl_benchmarks_free(b);
}

/* Thousands of prompts: the set grows, nothing is lost, strangers stay out. */
static void test_many(void **state)
{
	struct sl_benchmarks *b = sl_benchmarks_new();
	struct sl_arena a = { 0 };
	struct sl_shared shared;

	(void)state;
	assert_false(sl_benchmarks_find(b, sl_words_of(&a, sl_text("one two three four five")), &a, &shared));
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 4000; i++) {
			char *text = sl_arena_print(&a, "%s n%d tell me all there is to know about it, if you",
						    round ? "why" : "how", i);
			struct sl_message m = { .role = sl_text("user"), .content = sl_text(text) };

			if (round == 0)
				sl_benchmarks_add(b, "many", &(struct sl_messages){ &m, 1 });
			else
				assert_false(sl_benchmarks_find(b, sl_words_of(&a, sl_text(text)), &a, &shared));
			text[0] = 'h', text[1] = 'o', text[2] = 'w';
			assert_true(sl_benchmarks_find(b, sl_words_of(&a, sl_text(text)), &a, &shared));
		}
	sl_arena_release(&a);
	sl_benchmarks_free(b);
}

#define PAIR(prompt) "{\"prompt\": \"" prompt "\", \"chosen\": \"yes\", \"rejected\": \"no\"}\n"

static void test_files(void **state)
{
	static const struct {
		const char *path, *text; /* NULL: there is no such file */
		const char *found_as;    /* the benchmark that has "m1 m2 m3 m4 m5" */
		const char *error;       /* or what the error says */
	} rows[] = {
		{ "Bench-1/pairs.jsonl", PAIR("m1 m2 m3 m4 m5"), "Bench-1", NULL },
		{ "my-set.v2.jsonl", PAIR("other words") "\n" PAIR("m1 m2 m3 m4 m5"), "my-set", NULL },
		{ "test.jsonl", PAIR("m1 m2 m3 m4 m5"), "FOLDER", NULL },
		{ "broken.jsonl", PAIR("m1 m2 m3 m4 m5") "{\"prompt\": \n", NULL, "broken.jsonl': line 2: " },
		{ "shape.jsonl", "{\"colour\": 3}\n", NULL, "shape.jsonl': line 1: " },
		{ "empty.jsonl", "", NULL, "empty.jsonl': no lines" },
		{ "absent.jsonl", NULL, NULL, "absent.jsonl': " },
	};
	char folder[] = "/tmp/sluice-benchmarks-XXXXXX", path[256];
	struct sl_error e;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/Bench-1", folder);
	assert_true(sl_folder_make(path, &e));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_benchmarks *b = sl_benchmarks_new();
		const char *name = rows[i].found_as;
		struct sl_shared shared;
		struct sl_arena a = { 0 };
		bool loaded;

		snprintf(path, sizeof path, "%s/%s", folder, rows[i].path);
		if (rows[i].text)
			assert_true(sl_file_replace(path, sl_text(rows[i].text), &e));
		loaded = sl_benchmarks_load(b, path, &e);
		if (loaded != !rows[i].error ||
		    (rows[i].error && (!strstr(e.text, rows[i].error) || e.verdict != SL_STOP)))
			fail_msg("'%s': %s", rows[i].path, loaded ? "loaded" : e.text);
		if (loaded) {
			assert_true(sl_benchmarks_find(b, sl_words_of(&a, sl_text("m1 m2 m3 m4 m5")), &a, &shared));
			assert_string_equal(shared.benchmark,
					    strcmp(name, "FOLDER") == 0 ? strrchr(folder, '/') + 1 : name);
		}
		sl_arena_release(&a);
		sl_benchmarks_free(b);
	}
	assert_true(sl_folder_remove(folder, &e));
}

/* Real files, where they are. */
static void test_real_benchmarks(void **state)
{
	static const char *const names[] = { "RM-Bench", "JudgeBench", "IFBench", "CodePrefBench", "HumanEvalPack" };
	struct sl_benchmarks *b = sl_benchmarks_new();
	struct sl_arena a = { 0 };
	struct sl_shared shared;
	struct sl_error e;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];

		snprintf(path, sizeof path, "../shared/data/benchmarks/%s/pairs.jsonl.gz", names[i]);
		if (access(path, R_OK) != 0) {
			print_message("skipped: no '%s'\n", path);
			sl_benchmarks_free(b);
			skip();
		}
		if (!sl_benchmarks_load(b, path, &e))
			fail_msg("%s", e.text);
	}
	assert_true(
		sl_benchmarks_find(b,
				   sl_words_of(&a, sl_text("from typing import List\n\n\ndef "
							   "has_close_elements(numbers: List[float], threshold: float) "
							   "-> bool:\n    \"\"\" Check if in given list of numbers, "
							   "are any two numbers closer to each "
							   "other than\n    given threshold.")),
				   &a, &shared));
	sl_arena_release(&a);
	sl_benchmarks_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_real_benchmarks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
