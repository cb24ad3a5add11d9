/* test_check.c -- what is wrong with a step's options is said before there is a record; what is right passes, and
 * neither touches the data folder. */
#include "topology/check.h"
#include "topology/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const struct {
	const char *name;
	const char *sets[3];
	const char *only;
	const char *says; /* NULL: fit */
} rows[] = {
	{ .name = "as it is" },
	{ .name = "no such prompt",
	  .sets = { "annotate.prompt=prompts/mine.txt" },
	  .says = "step 'annotate': option 'prompt': cannot open 'topology/prompts/mine.txt'" },
	{ .name = "a prompt of another task",
	  .sets = { "annotate.prompt=prompts/attributes.txt" },
	  .says = "attributes.txt" },
	{ .name = "a step that is not asked for", .sets = { "annotate.prompt=prompts/mine.txt" }, .only = "dedupe" },
	{ .name = "nobody judges", .sets = { "annotate.judges=[]" }, .says = "needs the option 'judges'" },
	{ .name = "one model twice", .sets = { "annotate.second=first" }, .says = "ask the same model" },
	{ .name = "samples that are one answer", .sets = { "annotate.samples=3" }, .says = "set 'temperature'" },
	{ .name = "samples", .sets = { "annotate.samples=3", "annotate.temperature=0.7" } },
	{ .name = "extra with braces", .sets = { "annotate.extra={\"top_p\": 1}" }, .says = "without braces" },
	{ .name = "extra", .sets = { "annotate.extra=\"top_p\": 1" } },
	{ .name = "no such benchmark", .sets = { "dedupe.benchmarks=none.jsonl" }, .says = "topology/none.jsonl" },
	{ .name = "a source with an unknown rule",
	  .sets = { "filter.per_source=forum rule=mine" },
	  .says = "option 'per_source'" },
	{ .name = "a model that is not scored", .sets = { "score.wait_for=silver" }, .says = "'silver'" },
	{ .name = "vectors of nobody", .sets = { "embed.backend=http" }, .says = "step 'embed'" },
};

static void options_are_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		struct sl_topology *t;
		size_t sets = 0;
		bool fit;

		print_message("%s\n", rows[i].name);
		while (sets < 3 && rows[i].sets[sets])
			sets++;
		t = sl_topology_load("topology/judged.yaml", rows[i].sets, sets, &e);
		if (!t)
			fail_msg("%s", e.text);
		fit = sl_topology_check(t, "none-such", &rows[i].only, rows[i].only ? 1 : 0, &e);
		assert_int_equal(fit, !rows[i].says);
		if (rows[i].says && !strstr(e.text, rows[i].says))
			fail_msg("expected '%s' in: %s", rows[i].says, e.text);
		assert_int_not_equal(access("none-such", F_OK), 0);
		sl_topology_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(options_are_fit) };

	setenv("JUDGE_URL", "http://127.0.0.1:9/v1", 1);
	setenv("JUDGE_KEY", "none", 1);
	setenv("SECOND_URL", "http://127.0.0.1:9/v1", 1);
	setenv("SECOND_KEY", "none", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
