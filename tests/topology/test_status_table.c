/* What people read of a status: the funnel by source and by domain, the evidence, and what cannot be said. */
#include "topology/status_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char funnel[] =
	"{'steps': [{'name': 'filter', 'in': 10, 'dead': 1, 'dead_codes': {'too large': 1},"
	"'dead_sources': {'s': {'too large': 1}}, 'dead_domains': {'d': {'too large': 1}},"
	"'ports': [{'port': 'curated', 'out': 9, 'codes': {'likely_right': 9}, 'sources': {'s': {'likely_right': 9}},"
	"'domains': {'d': {'likely_right': 5}, 'e\\u001b': {'likely_right': 4}}}]}]}";

static const char audited[] = "[{'name': 'gold'}, {'name': 'posterior', 'report': {'audited': 150, 'evidence': {"
			      "'chat': {'rows': 100, 'audited': 80, 'length_sign': 1,"
			      " 'gold': {'count': 9, 'value': 0.7, 'low': 0.6, 'high': 0.8}},"
			      "'code': {'rows': 100, 'audited': 70, 'length_sign': 0, 'blind': true}},"
			      "'all': {'rows': 200, 'audited': 150, 'length_sign': -1,"
			      " 'gold': {'count': 9, 'value': 0.61, 'low': 0.5, 'high': 0.7}},"
			      "'curated': {'keep': 0.8, 'expected': 0.86,"
			      " 'precision': {'count': 9, 'value': 0.85, 'low': 0.8, 'high': 0.9},"
			      " 'retention': {'count': 9, 'value': 0.5, 'low': 0.4, 'high': 0.6}},"
			      "'discarded': {'count': 0},"
			      "'undecided': {'share': {'count': 9, 'value': 0.4, 'low': 0.3, 'high': 0.5},"
			      " 'blind_share': {'count': 9, 'value': 0.25, 'low': 0.2, 'high': 0.3}}}}]";

static const char unaudited[] =
	"[{'name': 'posterior', 'report': {'audited': 12, 'evidence': {}, 'all': {'rows': 12, 'audited': 12}}}]";

static const char judges[] =
	"{'judges': {'panel': 'llm', 'setting': 'aa', 'probes': 40, 'earlier': 7, 'judges': ["
	"{'name': 'llm', 'panel': true, 'probes': 40, 'agreement': {'count': 38, 'value': 0.8, 'low': 0.7, 'high': "
	"0.9},"
	" 'categories': [{'name': '', 'agreement': {'count': 30, 'value': 0.8}},"
	"                {'name': 'math', 'agreement': {'count': 8, 'value': 0.5}}], 'votes': {'chosen': 38, 'tie': "
	"2}},"
	"{'name': 'gpt/m\\u001b', 'probes': 40, 'agreement': {'count': 38, 'value': 0.75, 'low': 0.6, 'high': 0.8},"
	" 'order_flips': {'count': 9, 'value': 0.125}, 'self_consistency': {'count': 9, 'value': 0.9},"
	" 'first': {'count': 9, 'value': 0.55}, 'tokens': 4000, 'dollars': 0.02, 'votes': {'refused': 3}}],"
	"'errors': [{'judge': 'a', 'other': 'b', 'count': 38, 'both': 4, 'phi': 0.31},"
	"           {'judge': 'a', 'other': 'c', 'count': 38, 'both': 0}],"
	"'longest_wins': {'count': 38, 'value': 0.58, 'low': 0.5, 'high': 0.6}, 'first_wins': {'count': 0}}}";

/* JSON with ' for " to be read more easily. */
static char *printed(const char *json, void (*print)(const json_t *, FILE *))
{
	struct sl_buf quoted = { 0 };
	struct sl_error e;
	json_t *value;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (; *json; json++)
		sl_buf_add_byte(&quoted, *json == '\'' ? '"' : (uint8_t)*json);
	value = sl_status_parse(sl_buf_bytes(&quoted), &e);
	sl_buf_release(&quoted);
	if (!value)
		fail_msg("%s", e.text);
	print(value, to);
	fclose(to);
	json_decref(value);
	return text;
}

static void expect(const char *json, void (*print)(const json_t *, FILE *), const char *const *lines)
{
	char *text = printed(json, print);

	for (; *lines; lines++)
		if (!strstr(text, *lines))
			fail_msg("'%s' is not in:\n%s", *lines, text);
	free(text);
}

static void both(const json_t *status, FILE *to)
{
	sl_status_funnel(status, SL_STATUS_BY_SOURCE | SL_STATUS_BY_DOMAIN, to);
}

static void neither(const json_t *status, FILE *to)
{
	sl_status_funnel(status, 0, to);
}

static void test_funnel(void **unused)
{
	static const char *const lines[] = {
		"filter    10 in\n",      "    from s: 9\n    domain d: 5\n    domain e : 4\n",
		"    from s: 1\n",        "    domain d: 1\n",
		"    likely_right      ", NULL
	};
	char *text;

	(void)unused;
	expect(funnel, both, lines);
	text = printed(funnel, neither);
	assert_null(strstr(text, "domain"));
	assert_null(strstr(text, "from"));
	free(text);
}

static void test_evidence(void **unused)
{
	static const char *const lines[] = {
		"\nchat                    100      80  0.700 [0.60, 0.80]  -      ",
		"  longer\n",
		"\ncode                    100      70  -         ",
		"  -, at chance: undecided\n",
		"\nall                     200     150  0.610 [0.50, 0.70]  ",
		"  shorter\n",
		"\ncurated at P >= 0.80: expected precision 0.860, found 0.850 [0.800, 0.900], of all labels 0.500 "
		"[0.400, "
		"0.600]\n",
		"\nundecided: 0.400 [0.300, 0.500] of all labels, because evidence is at chance 0.250 [0.200, 0.300]\n",
		NULL
	};
	char *text;

	(void)unused;
	expect(audited, sl_status_evidence, lines);
	text = printed(audited, sl_status_evidence);
	assert_null(strstr(text, "discarded"));
	free(text);
}

static const char outside[] =
	"{'endpoints': [{'name': 'gpt', 'model': 'mini', 'state': 'throttled', 'why': '429\\u001b[1m', 'in_flight': 3, "
	"'waiting': 2, 'spent': 0.75, 'reserved': 0.125, 'budget': 1.0},"
	"{'name': 'local', 'model': '', 'state': 'idle', 'why': '', 'spent': 0.0, 'reserved': 0.0}],"
	"'steps': [{'name': 'dedupe'}, {'name': 'annotate', 'calls': {'partitions': 4, 'here': 1, 'elsewhere': 2, "
	"'as_of_ms': 1767225605123, 'asked': 9, 'sent': "
	"5, 'hits': 4, 'saved': 0.5,"
	"'repeated': 2, 'malformed': 0, 'spent': 0.75, 'reserved': 0.0, 'budget_per_day': 2.0, 'spent_today': 0.25,"
	"'answers': 7, 'bytes': 900, 'batches': [{'endpoint': 'gpt', 'model': 'mini', 'state': 'submitted', 'id': "
	"'batch_7',"
	"'questions': 500, 'since_ms': 0, 'why': 'slow'}, {'endpoint': 'gpt', 'model': 'mini', 'state': 'parked',"
	"'questions': 3, 'since_ms': 0}]}}]}";

static void test_outside(void **unused)
{
	static const char *const lines[] = {
		"\ngpt          throttled             3         2  mini; $0.75 spent of $1, $0.125 reserved; 429 [1m\n",
		"\nlocal        idle                  0         0  no model; $0 spent\n",
		"\nannotate  9 questions, 5 sent, 4 from the memo ($0.5 saved); $0.75 spent, $0.25 of today's $2; "
		"2 asked again after a death; memo: 7 answers, 900 bytes\n",
		"\n          this process has 1 of 4 partitions; money and memo of 2 others are as of 2026-01-01 "
		"00:00:05 UTC "
		"or later; of 1 nothing is told yet\n",
		"\n          batch batch_7 of gpt/mini: submitted, 500 questions, for ",
		" min; slow\n          batch of gpt/mini: parked, 3 questions, for ",
		NULL
	};
	char *text;

	(void)unused;
	expect(outside, sl_status_outside, lines);
	text = printed("{'steps': []}", sl_status_outside);
	assert_string_equal(text, "");
	free(text);
}

static void test_judges(void **unused)
{
	static const char *const lines[] = {
		"\nllm                                 40  0.800 [0.70, 0.90]             -  ",
		"-  all of them, 2 tie\n  no category 0.80 of 30, math 0.50 of 8\n",
		"\ngpt/m                               40  0.750 [0.60, 0.80]        12.5 %      90.0 %      55.0 % ",
		"  0.000500  4000 tokens, 3 refused\n",
		"\nerrors of a and b: correlation 0.31, both wrong in 4 of 38\n",
		"\nerrors of a and c: one of them never errs, both wrong in 0 of 38\n",
		"\non the same pairs: the longer answer wins 0.580 [0.500, 0.600]\nsetting aa; earlier ones",
		NULL
	};
	static const char *const none[] = { "\nno gold pair was put to the LLM judges yet", NULL };
	char *text;

	(void)unused;
	expect(judges, sl_status_judges, lines);
	expect("{'judges': {'probes': 0}}", sl_status_judges, none);
	text = printed("{}", sl_status_judges);
	assert_string_equal(text, "");
	free(text);
}

static void test_too_few(void **unused)
{
	static const char *const lines[] = { "\nno audit: 12 gold pairs", "`sluice gold sample`", NULL };
	char *text;

	(void)unused;
	expect(unaudited, sl_status_evidence, lines);
	text = printed("[{'name': 'gold', 'report': {}}]", sl_status_evidence);
	assert_string_equal(text, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_funnel),  cmocka_unit_test(test_evidence), cmocka_unit_test(test_judges),
		cmocka_unit_test(test_too_few), cmocka_unit_test(test_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
