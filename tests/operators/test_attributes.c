/* attributes: what becomes of a pair for every kind of answer, who is asked, and the same under failures. */
#include "make.h"
#include "scripted_chat.h"
#include "topology/base/log.h"

static const char yaml[] =
	"topology: t\n"
	"endpoints: { scribe: { url: \"http://localhost:1/v1\", model: pen } }\n"
	"steps:\n"
	"  - { name: attributes, from: pairs.raw, to: { described: pairs.described }, endpoint: scribe,\n"
	"      prompt: topology/prompts/attributes.txt }\n";

#define GOOD                                                                                                           \
	"{\"category\":\"math\",\"objectivity\":\"objective\",\"controversiality\":\"low\",\"desired\":\"right\","     \
	"\"guideline\":\"check the sum\"}"

/* What the scribe says to a conversation that holds the word. */
static const struct row {
	const char *word;
	const char *code; /* of the reason; "described": has attributes */
	const char *says; /* NULL: status */
	const char *finish;
	int status;
	const char *body;
	const char *repaired; /* what it says to a complaint; NULL: the same again */
} rows[] = {
	{ "row-plain", "described", GOOD, "stop", 0, NULL, NULL },
	{ "row-prose", "described", "Sure:\n```json\n" GOOD "\n```", "stop", 0, NULL, NULL },
	{ "row-repaired", "described", "It is about math.", "stop", 0, NULL, GOOD },
	{ "row-hopeless", "malformed", "It is about math.", "stop", 0, NULL, NULL },
	{ "row-twice", "malformed", GOOD GOOD, "stop", 0, NULL, NULL },
	{ "row-late", "truncated", "{\"category\":", "stop", 0, NULL, NULL },
	{ "row-cut", "truncated", "{\"category\":", "length", 0, NULL, NULL },
	{ "row-thinking", "reasoning_truncated", "", "length", 0, NULL, NULL },
	{ "row-filtered", "refused", "x", "content_filter", 0, NULL, NULL },
	{ "row-long", "too_long", NULL, NULL, 400, "{\"error\":{\"message\":\"maximum context length\"}}", NULL },
	{ "row-broken", "failed", NULL, NULL, 500, "oops", NULL },
	{ "row-silent", "failed", NULL, NULL, SL_GAVE_UP, "", NULL },
	{ "row-poor", "no_budget", NULL, NULL, SL_NO_BUDGET, "", NULL },
	{ "row-gone", "away", NULL, NULL, SL_AWAY, "", NULL },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static bool is_away(const struct row *r)
{
	return r->status == SL_NO_BUDGET || r->status == SL_AWAY;
}

/* The row "late" is cut off in its repair. */
static struct sl_settlement scribe(const struct sl_outcall *call, struct sl_buf *body)
{
	bool complaint = memmem(call->body.data, call->body.size, "cannot be used", 14) != NULL;

	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &rows[i];

		if (!memmem(call->body.data, call->body.size, r->word, strlen(r->word)))
			continue;
		if (r->says && complaint && strcmp(r->word, "row-late") == 0)
			return scripted_says(body, r->says, "length");
		if (!call->or_not && is_away(r)) /* it waited, and then was answered */
			return scripted_says(body, GOOD, "stop");
		if (r->says)
			return scripted_says(body, complaint && r->repaired ? r->repaired : r->says, r->finish);
		return (struct sl_settlement){ .status = r->status, .body = sl_text(r->body), .why = "scripted" };
	}
	fail_msg("unknown question");
	return (struct sl_settlement){ 0 };
}

static struct sl_pair make_row(struct sl_arena *a, size_t i)
{
	return sl_trial_pair(a, sl_arena_print(a, "Question %zu, %s", i, rows[i].word), "yes", "no");
}

/* All rows, another pair of the first conversation, and one that has attributes. */
enum { PAIRS = ROWS + 2 };

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[PAIRS];
	bool done;

	(void)arg;
	for (size_t i = 0; i < ROWS; i++)
		pairs[i] = make_row(&a, i);
	pairs[ROWS] = sl_trial_pair(&a, sl_arena_print(&a, "Question 0, %s", rows[0].word), "maybe", "perhaps");
	pairs[ROWS + 1] = sl_trial_pair(&a, "Question 99, row-plain too", "yes", "no");
	pairs[ROWS + 1].attributes = (struct sl_attributes){ .present = true,
							     .category = sl_text("planning"),
							     .objectivity = sl_text("subjective"),
							     .controversiality = sl_text("high"),
							     .desired = sl_text("old"),
							     .guideline = sl_text("old") };
	done = sl_trial_feed(t, "pairs.raw", pairs, PAIRS);
	sl_arena_release(&a);
	return done;
}

static void check_described(const struct sl_pair *p)
{
	assert_true(p->attributes.present);
	assert_true(sl_is(p->attributes.category, "math"));
	assert_true(sl_is(p->attributes.objectivity, "objective"));
	assert_true(sl_is(p->attributes.controversiality, "low"));
	assert_true(sl_is(p->attributes.desired, "right"));
	assert_true(sl_is(p->attributes.guideline, "check the sum"));
	assert_true(sl_bytes_begins(p->trail[p->trail_count - 1].reason, sl_text("described: by scribe/pen, prompt ")));
}

static struct sl_trial_case trial_case(struct scripted_chat *s)
{
	return (struct sl_trial_case){ .name = "attributes",
				       .yaml = yaml,
				       .feed = feed,
				       .arg = s,
				       .endpoint = scripted_endpoint,
				       .world = scripted_turn };
}

static void check_rows(const char *const *sets, size_t set_count, bool all)
{
	struct scripted_chat s = { .answer = scribe };
	struct sl_trial_case c = trial_case(&s);
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;
	struct sl_trial *t;

	c.sets = sets;
	c.set_count = set_count;
	t = sl_trial_case_new(&c, NULL);
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.described", &a, &pairs), PAIRS);
	for (size_t i = 0; i < PAIRS; i++) {
		const struct sl_pair *p = &pairs[i];
		const char *code = i < ROWS ? rows[i].code : i == ROWS || all ? "described" : "given";

		if (i < ROWS && !all && is_away(&rows[i]))
			code = "described";
		if (!has_code(p, code))
			fail_msg("row %zu: %.*s, expected %s", i, (int)p->trail[p->trail_count - 1].reason.size,
				 (const char *)p->trail[p->trail_count - 1].reason.data, code);
		if (strcmp(code, "described") == 0)
			check_described(p);
		else if (i < ROWS)
			assert_false(p->attributes.present);
		else
			assert_true(sl_is(p->attributes.category, "planning"));
	}
	/* Once each, and once more to repair four of them; the second pair of a conversation asks nothing. */
	assert_int_equal(s.sent, ROWS + 4 + all);
	sl_trial_free(t);
	sl_arena_release(&a);
}

static void test_rows(void **unused)
{
	static const char *const all[] = { "attributes.only=all", "attributes.without_judge=pass" };

	(void)unused;
	check_rows(NULL, 0, false);
	check_rows(all, 2, true);
}

/* What is sent says what the budget needs to know. */
static struct sl_settlement look(const struct sl_outcall *call, struct sl_buf *body)
{
	assert_string_equal(call->path, "/chat/completions");
	assert_string_equal(call->model, "pen");
	assert_int_equal(call->tokens_max, 77);
	assert_true(call->or_not);
	assert_non_null(memmem(call->body.data, call->body.size, "\"max_completion_tokens\":70", 26));
	assert_null(memmem(call->body.data, call->body.size, "\"max_tokens\"", 12));
	assert_null(memmem(call->body.data, call->body.size, "\"temperature\"", 13));
	return scripted_says(body, GOOD, "stop");
}

static void test_calls(void **unused)
{
	static const char *const sets[] = { "attributes.max_tokens=77", "attributes.without_judge=pass",
					    "attributes.temperature=-1",
					    "attributes.extra=\"max_completion_tokens\":70" };
	struct scripted_chat s = { .answer = look };
	struct sl_trial_case c = trial_case(&s);
	struct sl_trial *t;

	(void)unused;
	c.sets = sets;
	c.set_count = 4;
	t = sl_trial_case_new(&c, NULL);
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(s.sent, ROWS);
	sl_trial_free(t);
}

static void test_wrong_settings(void **unused)
{
	static const struct {
		const char *set, *error;
	} cases[] = {
		{ "attributes.extra=x", "option 'extra': not members of a JSON object" },
		{ "attributes.prompt=no.txt", "option 'prompt': " },
		{ "attributes.prompt=topology/prompts/preference.txt",
		  "option 'prompt': ./topology/prompts/preference.txt:" },
		{ "endpoints.scribe.model=", "endpoint 'scribe' names no model" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct scripted_chat s = { .answer = scribe };
		struct sl_trial_case c = trial_case(&s);
		struct sl_trial *t;

		c.sets = &cases[i].set;
		c.set_count = 1;
		t = sl_trial_case_new(&c, NULL);
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
		if (!strstr(t->error.text, cases[i].error))
			fail_msg("case %zu: %s", i, t->error.text);
		sl_trial_free(t);
	}
}

static void test_torture(void **unused)
{
	struct scripted_chat s = { .answer = scribe };
	struct sl_trial_case c = trial_case(&s);
	size_t runs;

	(void)unused;
	c.batch_most = PAIRS;
	c.schedules = 5;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_calls),
					    cmocka_unit_test(test_wrong_settings), cmocka_unit_test(test_torture) };

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
