/* test_metrics.c -- what /metrics says is what Prometheus takes: the strict reader (tests/exposition.h) against texts
 * that are wrong in one thing each, then all that a chain with two endpoints, judges and probes has to say. */
#include "tests/exposition.h"
#include "tests/trial.h"
#include "topology/endpoint/http_endpoint.h"
#include "topology/judge_health.h"
#include "with_probes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct row {
	const char *text, *wrong; /* NULL: it is right */
};

#define HEAD(type) "# HELP a b c\n# TYPE a " type "\n"

static const struct row rows[] = {
	{ "", NULL },
	{ HEAD("gauge"), NULL },
	{ HEAD("counter") "a 1\n", NULL },
	{ HEAD("gauge") "a{x=\"1\"} -1.5e3\na{x=\"2\",y=\"\"} 0\n", NULL },
	{ HEAD("gauge") "a{x=\"\\\\ \\\" \\n {},=\"} 1\n", NULL },
	{ HEAD("histogram") "a_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3\na_count 2\n", NULL },
	{ "a 1\n", "line 1: outside of its block: 'a'" },
	{ "\n", "no name" },
	{ "# about nothing\n", "where HELP is expected" },
	{ "# HELP a\n# TYPE a gauge\n", "without a text" },
	{ "# HELP a b\n", "too early" },
	{ "# HELP a b\na 1\n", "line 2: no TYPE" },
	{ "# HELP a b\n# TYPE b gauge\n", "no TYPE" },
	{ "# TYPE a gauge\n# HELP a b\n", "where HELP is expected" },
	{ HEAD("number"), "a type that is none: 'number'" },
	{ HEAD("gauge") HEAD("gauge"), "a second block of 'a'" },
	{ HEAD("gauge") "a 1\n# HELP b b\n# TYPE b gauge\na{x=\"\"} 1\n", "line 6: outside" },
	{ HEAD("gauge") "ab 1\n", "outside" },
	{ HEAD("gauge") "a_sum 1\n", "outside" },
	{ HEAD("gauge") "a 1\na 1\n", "a second sample" },
	{ HEAD("gauge") "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n", "line 4: a second sample" },
	{ HEAD("gauge") "a{x=\"1\",x=\"2\"} 1\n", "two labels" },
	{ HEAD("gauge") "a{1=\"1\"} 1\n", "a label without a name" },
	{ HEAD("gauge") "a{__x=\"1\"} 1\n", "a label without a name" },
	{ HEAD("gauge") "a{} 1\n", "a label without a name" },
	{ HEAD("gauge") "a{x=1} 1\n", "no value in quotes" },
	{ HEAD("gauge") "a{x=\"\\t\"} 1\n", "an escape that is none" },
	{ HEAD("gauge") "a{x=\"1} 1\n", "no end of label" },
	{ HEAD("gauge") "a{x=\"1\" 1\n", "no closing brace" },
	{ HEAD("gauge") "a{x=\"\xff\"} 1\n", "not UTF-8" },
	{ HEAD("gauge") "a  1\n", "no space" },
	{ HEAD("gauge") "a nan\n", "no finite number" },
	{ HEAD("gauge") "a 1 1700000000\n", "no finite number" },
	{ HEAD("gauge") "a 1", "no line end" },
	{ HEAD("gauge") "a{le=\"1\"} 1\n", "a bound without buckets" },
	{ HEAD("counter") "a -1\n", "a counter under 0" },
	{ HEAD("histogram") "a 1\n", "not behind all" },
	{ HEAD("histogram") "a_bucket 1\n", "a bucket without a bound" },
	{ HEAD("histogram") "a_bucket{le=\"x\"} 1\n", "a bound that is no number" },
	{ HEAD("histogram") "a_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\n", "out of order" },
	{ HEAD("histogram") "a_bucket{le=\"1\"} 2\na_bucket{le=\"2\"} 1\n", "out of order" },
	{ HEAD("histogram") "a_bucket{le=\"1\"} 1\na_sum 1\n", "not behind all" },
	{ HEAD("histogram") "a_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n", "another than" },
	{ HEAD("histogram") "a_bucket{le=\"+Inf\"} 1\na_count 1\n", "without a sum" },
	{ HEAD("histogram") "a_bucket{le=\"+Inf\"} 1\n", "too early" },
};

static void test_reader(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		bool right = sl_exposition_check(rows[i].text, &e);

		if (right != !rows[i].wrong || (!right && !strstr(e.text, rows[i].wrong)))
			fail_msg("row %zu: '%s'", i, e.text);
	}
}

#define ADDRESS "url: http://127.0.0.1:9/v1, budget: 1"
#define CHAIN                                                                                                          \
	"topology: t\npartitions: 2\nmetrics: off\nstream: { durability: os }\ningest: { to: raw, ties: ties }\n"      \
	"prices: { m: { prompt: 1, completion: 1 }, n: { prompt: 1, completion: 1 } }\n"                               \
	"endpoints:\n  gpt: { " ADDRESS ", model: m }\n  second: { " ADDRESS ", model: n, key: [ k, l ] }\n"           \
	"steps:\n"                                                                                                     \
	"  - { name: attributes, from: raw, to: { described: d }, endpoint: second, budget: 1 }\n"                     \
	"  - { name: embed, from: d, to: { embedded: e, gold: g } }\n"                                                 \
	"  - { name: annotate, from: e, to: { judged: j, silver: s, probed: probed, deferred: deferred },\n"           \
	"      tables: { gold: g, models: models }, backend: llm, judges: [ gpt, second ] }\n"                         \
	"trainers:\n"                                                                                                  \
	"  - { name: gold, from: g, gold: g, min_pairs: 30, every_pairs: 0, interval: 0, columns_log2: 12 }\n"

/* Names of judges and of categories come from records, with whatever stands there. */
static void feed_odd_probes(struct sl_trial *t)
{
	static const char *const votes[] = { "gpt/m >yes", "second/\"n\\\n\" >no", NULL };
	struct sl_arena a = { 0 };

	for (size_t i = 0; i < 12; i++) {
		struct sl_pair p = sl_trial_pair(&a, sl_arena_print(&a, "question %zu", i), "good", "bad");

		p.gold = (struct sl_gold){ .present = true,
					   .verdict = sl_text("chosen"),
					   .sample = sl_text("random"),
					   .label_arrived = sl_text("same") };
		p.source = sl_text(i % 2 ? "one" : "a \\ \"b\"");
		make_probe(&a, &p, 16, "00000000000000aa", "chosen", votes);
		assert_true(sl_trial_feed(t, "probed", &p, 1));
	}
	sl_arena_release(&a);
}

static struct sl_endpoint *over_http(void *loop, const struct sl_endpoint_def *def)
{
	return sl_http_endpoint_new(loop, def);
}

static void test_whole(void **state)
{
	static const char *const parts[] = { "\nsluice_endpoint_calls_total{endpoint=\"second\"} 0\n",
					     "\nsluice_endpoint_latency_seconds_count{endpoint=\"gpt\"} 0\n",
					     "\nsluice_memo_answers{step=\"attributes\"} 0\n",
					     "\nsluice_budget_dollars{step=\"attributes\",per=\"all\"} 1.000000\n",
					     "judge=\"second/\\\"n\\\\\\n\\\"\"" };
	struct sl_http_loop *loop = sl_http_loop_new();
	const struct sl_trial_case c = { .yaml = CHAIN, .endpoint = over_http, .arg = loop };
	struct sl_trial *t = sl_trial_case_new(&c, NULL);
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	feed_odd_probes(t);
	if (!sl_judge_health_follow(t->rt->judges, &e) || !sl_runtime_metrics(t->rt, &text, &e) ||
	    !sl_exposition_check(sl_buf_text(&text), &e))
		fail_msg("%s\n%s", e.text, sl_buf_text(&text));
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strstr(sl_buf_text(&text), parts[i]))
			fail_msg("no '%s' in\n%s", parts[i], sl_buf_text(&text));
	sl_buf_release(&text);
	sl_trial_free(t);
	sl_http_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
