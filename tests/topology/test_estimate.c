/* test_estimate.c -- what a file would cost: every kind of call once, counted against bodies that are made here, and
 * what is said when something is wrong. */
#include "topology/estimate.h"

#include "operators/judging.h"
#include "schemas/jsonl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                                                                                                           \
	"topology: t\npartitions: 1\nmetrics: off\ningest: { to: raw, ties: ties }\n"                                  \
	"endpoints:\n"                                                                                                 \
	"  gpt: { url: http://127.0.0.1:9/v1, model: m, budget: 2 }\n"                                                 \
	"  own: { url: http://127.0.0.1:9/v1, model: n }\n"                                                            \
	"prices: { m: { prompt: 1, completion: 10 } }\n"
#define JUDGED                                                                                                         \
	HEAD "steps:\n"                                                                                                \
	     "  - { name: embed, from: raw, to: { embedded: e, gold: g } }\n"                                          \
	     "  - { name: retrieve, from: e, to: { retrieved: r }, tables: { gold: g, models: models } }\n"            \
	     "  - { name: annotate, from: r, to: { judged: j, silver: s, probed: p, deferred: d },\n"                  \
	     "      tables: { gold: g, models: models }, backend: llm, judges: [gpt], max_tokens: 100 }\n"             \
	     "trainers:\n  - { name: gold, from: g, gold: g }\n"
#define REMOTE                                                                                                         \
	HEAD "steps:\n"                                                                                                \
	     "  - { name: attributes, from: raw, to: { described: a }, endpoint: gpt }\n"                              \
	     "  - { name: embed, from: a, to: { embedded: e, gold: g }, backend: http, endpoint: own }\n"              \
	     "  - { name: score, from: e, to: { scored: s }, tables: { models: models }, models: [own], wait_for: "    \
	     "[],\n"                                                                                                   \
	     "      remote: [own] }\n"                                                                                 \
	     "trainers:\n  - { name: gold, from: g, gold: g }\n"

static char folder[64], path[96];
static struct sl_topology *t;

static void write_file(const char *lines, int times)
{
	FILE *to = fopen(path, "w");

	assert_non_null(to);
	while (times--)
		fputs(lines, to);
	fclose(to);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/sluice-estimate-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/pairs.jsonl", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sl_topology_free(t);
	t = NULL;
	unlink(path);
	return rmdir(folder);
}

static void load(const char *yaml, const char *const *sets, size_t count)
{
	struct sl_error e = { 0 };

	sl_topology_free(t);
	t = sl_topology_parse("topology/t.yaml", sl_text(yaml), sets, count, &e);
	if (!t)
		fail_msg("%s", e.text);
}

static struct sl_estimate make(int64_t sample)
{
	struct sl_estimate x;
	struct sl_error e = { 0 };

	if (!sl_estimate_make(t, folder, path, sample, &x, &e))
		fail_msg("%s", e.text);
	return x;
}

#define PAIR(prompt)                                                                                                   \
	"{\"prompt\": \"" prompt "\", \"chosen\": \"a long and good answer\", \"rejected\": \"a bad one\"}\n"

/* One pair, no example: the body is the one that annotate would send. */
static void test_body(void **state)
{
	struct sl_parsed parsed;
	struct sl_estimate x;
	struct sl_arena a = { 0 };
	struct sl_buf body = { 0 };
	struct sl_error e = { 0 };
	struct sl_judging j = { .model = "m", .tokens_max = 100, .text_max = 8192, .examples_max = 8, .extra = "" };
	static const struct sl_keys keys;
	struct sl_prompt *prompt = sl_judging_open("topology/prompts/preference.txt", &e);

	(void)state;
	write_file(PAIR("why?"), 1);
	load(JUDGED, NULL, 0);
	x = make(10);
	assert_int_equal(x.pairs, 1);
	assert_int_equal(x.sampled, 1);
	assert_int_equal(x.count, 1);
	assert_true(sl_jsonl_parse(sl_text(PAIR("why?")), &keys, &a, &parsed, &e));
	sl_pair_identify(parsed.pairs, &a);
	j.prompt = prompt;
	sl_judging_body(&j, parsed.pairs, NULL, sl_judging_order_of(parsed.pairs->id, 0), (struct sl_bytes){ 0 },
			(struct sl_bytes){ 0 }, &a, &body);
	assert_float_equal(x.lines[0].bytes, (double)body.size, 0);
	assert_float_equal(x.lines[0].prompt_tokens, (double)body.size / 4, 0);
	assert_float_equal(x.lines[0].dollars, ((double)body.size / 4 + 10 * SL_ESTIMATE_VERDICT_TOKENS) / 1e6, 1e-12);
	assert_true(x.lines[0].dollars_most >= ((double)body.size + 10 * 100) / 1e6);
	sl_prompt_close(prompt);
	sl_buf_release(&body);
	sl_arena_release(&a);
	sl_estimate_release(&x);
}

/* How many calls of which kind. */
static void test_calls(void **state)
{
	static const struct {
		const char *name, *yaml, *sets[4];
		struct {
			const char *step, *what, *endpoint;
			double calls;
			bool asked, maybe;
		} lines[4];
	} cases[] = {
		{ "one judge", JUDGED, { NULL }, { { "annotate", "verdict", "gpt", 1, true, false } } },
		{ "both orders, samples",
		  JUDGED,
		  { "annotate.order=both", "annotate.samples=3", "annotate.temperature=1" },
		  { { "annotate", "verdict", "gpt", 6, true, false } } },
		{ "second opinions",
		  JUDGED,
		  { "annotate.second=own" },
		  { { "annotate", "verdict", "gpt", 1, true, false },
		    { "annotate", "second opinion", "own", 1, true, true } } },
		{ "described first",
		  JUDGED,
		  { "annotate.attributes=missing", "annotate.attributes_judge=own" },
		  { { "annotate", "attributes", "own", 1, true, false },
		    { "annotate", "verdict", "gpt", 1, true, false } } },
		{ "about all",
		  JUDGED,
		  { "annotate.when=always" },
		  { { "annotate", "verdict", "gpt", 1, false, false } } },
		{ "nearest", JUDGED, { "annotate.backend=nearest" }, { { NULL } } },
		{ "remote models",
		  REMOTE,
		  { NULL },
		  { { "attributes", "attributes", "gpt", 1, false, false },
		    { "embed", "vector", "own", 1, false, false },
		    { "score", "reward", "own", 2, false, false } } },
	};

	(void)state;
	write_file(PAIR("one?") PAIR("two?") PAIR("three?"), 4);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_estimate x;
		size_t sets = 0, k = 0;

		while (sets < 4 && cases[i].sets[sets])
			sets++;
		load(cases[i].yaml, cases[i].sets, sets);
		x = make(5);
		assert_int_equal(x.pairs, 12);
		assert_int_equal(x.sampled, 5);
		for (; k < 4 && cases[i].lines[k].step; k++)
			if (k >= x.count || strcmp(x.lines[k].step, cases[i].lines[k].step) != 0 ||
			    strcmp(x.lines[k].what, cases[i].lines[k].what) != 0 ||
			    strcmp(t->endpoints[x.lines[k].endpoint].name, cases[i].lines[k].endpoint) != 0 ||
			    fabs(x.lines[k].calls - cases[i].lines[k].calls) > 1e-9 ||
			    x.lines[k].asked != cases[i].lines[k].asked || x.lines[k].maybe != cases[i].lines[k].maybe)
				fail_msg("%s, line %zu", cases[i].name, k + 1);
		if (k != x.count)
			fail_msg("%s: %zu lines", cases[i].name, x.count);
		sl_estimate_release(&x);
	}
}

/* Examples make questions longer; none of the pair's own group is one. */
static void test_examples(void **state)
{
	static const char *const none[] = { "annotate.examples=0" };
	struct sl_estimate with, without;

	(void)state;
	write_file(PAIR("one?") PAIR("two?"), 1);
	load(JUDGED, NULL, 0);
	with = make(10);
	load(JUDGED, none, 1);
	without = make(10);
	assert_true(with.lines[0].bytes > without.lines[0].bytes + 100);
	sl_estimate_release(&with);
	write_file(PAIR("one?"), 2);
	load(JUDGED, NULL, 0);
	with = make(10);
	assert_float_equal(with.lines[0].bytes, without.lines[0].bytes, 0);
	sl_estimate_release(&with);
	sl_estimate_release(&without);
}

/* The Batch API costs a part of the price. */
static void test_batch(void **state)
{
	static const char *const batch[] = { "endpoints.gpt.batch=true", "endpoints.gpt.batch_discount=0.25" };
	struct sl_estimate usual, part;

	(void)state;
	write_file(PAIR("one?") PAIR("two?"), 1);
	load(JUDGED, NULL, 0);
	usual = make(10);
	load(JUDGED, batch, 2);
	part = make(10);
	assert_float_equal(part.lines[0].dollars, usual.lines[0].dollars / 4, 1e-12);
	assert_float_equal(part.lines[0].dollars_most, usual.lines[0].dollars_most / 4, 1e-12);
	sl_estimate_release(&usual);
	sl_estimate_release(&part);
}

static double at(const json_t *cost, const char *name)
{
	return json_number_value(json_object_get(cost, name));
}

/* Sums: probes come on top of the share that is asked about. */
static void test_sums(void **state)
{
	static const char *const sets[] = { "retrieve.probes=0.1", "annotate.second=own" };
	struct sl_estimate x;
	json_t *json, *one, *cost;

	(void)state;
	write_file(PAIR("one?") PAIR("two?") "nonsense\n\n", 10);
	load(JUDGED, sets, 2);
	x = make(1000);
	json = sl_estimate_json(t, &x, path, 0.25);
	assert_int_equal(at(json, "pairs"), 20);
	assert_int_equal(at(json, "invalid"), 10);
	one = json_array_get(json_object_get(json, "endpoints"), 0);
	assert_string_equal(json_string_value(json_object_get(one, "name")), "gpt");
	assert_true(json_is_true(json_object_get(one, "priced")));
	assert_float_equal(at(json_object_get(one, "per_1000"), "calls"), 1100, 1e-6);
	assert_float_equal(at(json_object_get(one, "file"), "calls"), 22, 1e-6);
	cost = json_object_get(one, "file_as_asked");
	assert_float_equal(at(cost, "calls"), 7, 1e-6);
	assert_float_equal(at(cost, "second_calls"), 0, 0);
	assert_float_equal(at(cost, "dollars"), 7 * x.lines[0].dollars, 1e-9);
	one = json_array_get(json_object_get(json, "endpoints"), 1);
	assert_true(json_is_false(json_object_get(one, "priced")));
	assert_float_equal(at(json_object_get(one, "per_1000"), "calls"), 0, 0);
	assert_float_equal(at(json_object_get(one, "per_1000"), "second_calls"), 1100, 1e-6);
	json_decref(json);
	sl_estimate_release(&x);
}

static void test_print(void **state)
{
	static const char *const lines[] = {
		"pairs.jsonl: 2 pairs, 2 of them looked at",
		"annotate: verdict by gpt, 1 calls a pair that is asked about of",
		"per 1000 pairs, if all of them are asked about",
		"the file, if 50.0 % are asked about as of the 400 pairs so far",
		"budget of endpoint 'gpt', $2: pays for",
	};
	struct sl_estimate x;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	write_file(PAIR("one?") PAIR("two?"), 1);
	load(JUDGED, NULL, 0);
	x = make(10);
	sl_estimate_print(t, &x, path, 0.5, 400, to);
	fclose(to);
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (!strstr(text, lines[i]))
			fail_msg("'%s' is not in:\n%s", lines[i], text);
	free(text);
	sl_estimate_release(&x);
}

static void test_share(void **state)
{
	json_t *status = json_pack("{s:[{s:s, s:[{s:s, s:i, s:{s:i, s:i}}, {s:s, s:i, s:{s:i, s:i}}, {s:s, s:i}]}]}",
				   "steps", "operator", "annotate", "ports", "port", "judged", "out", 90, "codes",
				   "not_asked", 60, "chosen", 30, "port", "deferred", "out", 70, "codes", "no_budget",
				   10, "waits", 60, "port", "probed", "out", 500);
	json_t *empty = json_object();
	int64_t pairs;

	(void)state;
	assert_float_equal(sl_estimate_share(status, &pairs), 0.4, 1e-12);
	assert_int_equal(pairs, 100);
	assert_true(isnan(sl_estimate_share(empty, &pairs)));
	json_decref(status);
	json_decref(empty);
}

static void test_errors(void **state)
{
	static const struct {
		const char *lines, *set, *says;
	} cases[] = {
		{ "nonsense\n{}\n", NULL, "holds no preference pair, and 2 lines that are none" },
		{ "", NULL, "holds no preference pair" },
		{ PAIR("one?"), "annotate.prompt=nowhere.txt", "nowhere.txt" },
		{ PAIR("one?"), "annotate.judges=[]", "needs the option 'judges'" },
		{ NULL, NULL, "pairs.jsonl" }, /* no file */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_estimate x;
		struct sl_error e = { 0 };

		if (cases[i].lines)
			write_file(cases[i].lines, 1);
		else
			unlink(path);
		load(JUDGED, &cases[i].set, cases[i].set ? 1 : 0);
		assert_false(sl_estimate_make(t, folder, path, 10, &x, &e));
		if (!strstr(e.text, cases[i].says))
			fail_msg("'%s' does not say '%s'", e.text, cases[i].says);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_body), TEST(test_calls), TEST(test_examples), TEST(test_batch),
		TEST(test_sums), TEST(test_print), TEST(test_share),    TEST(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
