/* test_judge_record.c -- what probes come to: every count against votes that were made by hand. */
#include "topology/judge_record.h"
#include "tests/exposition.h"
#include "topology/judge_health.h"
#include "with_probes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SETTING "00000000000000aa"
#define OTHER "00000000000000bb"

static struct sl_arena arena;
static struct sl_judge_records *records;

static int set_up(void **state)
{
	(void)state;
	records = sl_judge_records_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sl_judge_records_free(records);
	sl_arena_release(&arena);
	return 0;
}

/* Every number is a gold pair in a group of its own. */
static struct sl_pair gold(size_t number)
{
	struct sl_pair p;

	sl_pair_init(&p);
	p.id = sl_hash128(&number, sizeof number);
	p.group = p.id;
	p.gold = (struct sl_gold){ .present = true, .verdict = sl_text("chosen") };
	return p;
}

static void add(size_t number, int64_t probe, const char *setting, const char *verdict, const char *const *votes)
{
	struct sl_pair p = gold(number);

	make_probe(&arena, &p, probe, setting, verdict, votes);
	sl_judge_records_add(records, &p);
}

static json_t *show(void)
{
	sl_judge_records_newest(records, sl_text(SETTING));
	return sl_judge_records_json(records);
}

static json_t *judge(json_t *root, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(root, "judges"), i,
			   one) if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0) return one;
	fail_msg("no judge '%s'", name);
	return NULL;
}

static double number_at(const json_t *of, const char *a, const char *b)
{
	of = json_object_get(of, a);
	of = b ? json_object_get(of, b) : of;
	return json_number_value(of);
}

/* One judge, one probe: what its votes come to. */
static void test_votes(void **state)
{
	static const struct {
		const char *votes;
		double agreement, agreed_of, flips, flips_of, equal, equal_of, first, first_of;
		const char *word;
	} cases[] = {
		{ "j >yes", 1, 1, 0, 0, 0, 0, 1, 1, "chosen" },
		{ "j <yes", 1, 1, 0, 0, 0, 0, 0, 1, "chosen" },
		{ "j >no", 0, 1, 0, 0, 0, 0, 0, 1, "rejected" },
		{ "j <no", 0, 1, 0, 0, 0, 0, 1, 1, "rejected" },
		{ "j >yes <yes", 1, 1, 0, 1, 0, 0, .5, 2, "chosen" },
		{ "j >yes <no", 0, 0, 1, 1, 0, 0, 1, 2, "rejected" }, /* always the first: undecidable */
		{ "j >no <yes", 0, 0, 1, 1, 0, 0, 0, 2, "chosen" },
		{ "j >yes <tie", 0, 0, 0, 0, 0, 0, 1, 1, "tie" },
		{ "j >yes >yes >no", 1, 1, 0, 0, 2. / 3, 3, 2. / 3, 3, "rejected" },
		{ "j >yes >tie >no", 0, 0, 0, 0, 1. / 3, 3, .5, 2, "tie" },
		{ "j >yes >yes <no <no", 0, 0, 2, 2, 1, 4, 1, 4, "rejected" },
		{ "j >both_bad", 0, 0, 0, 0, 0, 0, 0, 0, "both_bad" },
		{ "j >!refused", 0, 0, 0, 0, 0, 0, 0, 0, "refused" },
		{ "j >!never_heard_of", 0, 0, 0, 0, 0, 0, 0, 0, "other" },
		{ "j >!malformed <yes", 1, 1, 0, 0, 0, 0, 0, 1, "malformed" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const votes[] = { cases[i].votes, NULL };
		json_t *root, *j;

		add(1, 16, SETTING, "chosen", votes);
		root = show();
		j = judge(root, "j");
		if (number_at(j, "agreement", "count") != cases[i].agreed_of ||
		    (cases[i].agreed_of > 0 && number_at(j, "agreement", "value") != cases[i].agreement) ||
		    number_at(j, "order_flips", "count") != cases[i].flips_of ||
		    fabs(number_at(j, "order_flips", "value") * cases[i].flips_of - cases[i].flips) > 1e-5 ||
		    number_at(j, "self_consistency", "count") != cases[i].equal_of ||
		    fabs(number_at(j, "self_consistency", "value") - cases[i].equal) > 1e-5 ||
		    number_at(j, "first", "count") != cases[i].first_of ||
		    fabs(number_at(j, "first", "value") - cases[i].first) > 1e-5 ||
		    number_at(j, "votes", cases[i].word) < 1)
			fail_msg("%s: %s", cases[i].votes, json_dumps(j, 0));
		json_decref(root);
		tear_down(state);
		set_up(state);
	}
}

/* Two judges and the panel, by category; money; who errs with whom; the baselines. */
static void test_panel(void **state)
{
	static const struct {
		const char *category, *verdict, *a, *b, *meta;
		int length;
	} cases[] = {
		{ "math", "chosen", "a/x >yes", "b/y >yes", "{\"preferred_position\": 1}", 1 },
		{ "math", "rejected", "a/x >no", "b/y >no", "{\"preferred_position\": 2}", 1 },
		{ "code", "chosen", "a/x >yes", "b/y >no", NULL, -1 },
		{ "code", "undecidable", "a/x >tie", "b/y >yes", NULL, -1 },
		{ NULL, NULL, "a/x >!refused", "b/y >!failed", NULL, 1 },
	};
	json_t *root, *j;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const votes[] = { cases[i].a, cases[i].b, NULL };
		static struct sl_message longer = { .content = { "two words", 9 } },
					 shorter = { .content = { "one", 3 } };
		struct sl_pair p = gold(i);

		p.chosen = (struct sl_messages){ cases[i].length > 0 ? &longer : &shorter, 1 };
		p.rejected = (struct sl_messages){ cases[i].length > 0 ? &shorter : &longer, 1 };
		p.meta = sl_text(cases[i].meta);
		p.attributes.present = cases[i].category != NULL;
		p.attributes.category = sl_text(cases[i].category);
		make_probe(&arena, &p, 16, SETTING, cases[i].verdict, votes);
		sl_judge_records_add(records, &p);
	}
	root = show();
	assert_int_equal(number_at(root, "probes", NULL), 5);
	assert_int_equal(json_array_size(json_object_get(root, "judges")), 3);
	j = judge(root, "llm");
	assert_true(json_is_true(json_object_get(j, "panel")));
	assert_float_equal(number_at(j, "agreement", "value"), 2. / 3, 1e-6);
	assert_int_equal(number_at(j, "agreement", "count"), 3);
	assert_int_equal(number_at(j, "abstained", NULL), 1);
	assert_int_equal(number_at(j, "votes", "failed"), 1);
	j = judge(root, "a/x");
	assert_int_equal(number_at(j, "tokens", NULL), 500);
	assert_float_equal(number_at(j, "dollars", NULL), 250e-6, 1e-12);
	assert_int_equal(json_array_size(json_object_get(j, "categories")), 2); /* math 1 of 2, code 1 of 1 */
	j = json_array_get(json_object_get(root, "errors"), 0);
	assert_int_equal(number_at(j, "count", NULL), 3);
	assert_int_equal(number_at(j, "both", NULL), 1);
	assert_float_equal(number_at(j, "phi", NULL), 0.5, 1e-6); /* a: 1 of 3, b: 2 of 3, both 1 */
	assert_float_equal(number_at(root, "longest_wins", "value"), 2. / 3, 1e-6);
	assert_float_equal(number_at(root, "first_wins", "value"), 0.5, 1e-6);
	json_decref(root);
}

/* A prompt that is probed again and again is one prompt: its answers narrow no interval. */
static void test_clusters(void **state)
{
	static const char *const yes[] = { "j >yes", NULL }, *const no[] = { "j >no", NULL };
	double wide;
	json_t *root;

	for (size_t i = 0; i < 40; i++)
		add(i, 16, SETTING, "chosen", i % 4 ? yes : no);
	root = show();
	wide = number_at(judge(root, "j"), "agreement", "high") - number_at(judge(root, "j"), "agreement", "low");
	json_decref(root);
	tear_down(state);
	set_up(state);
	for (size_t i = 0; i < 400; i++)
		add(i % 40, (int64_t)(16 + i), SETTING, "chosen", i % 4 ? yes : no);
	root = show();
	assert_int_equal(number_at(judge(root, "j"), "agreement", "count"), 400);
	assert_true(number_at(judge(root, "j"), "agreement", "high") - number_at(judge(root, "j"), "agreement", "low") >
		    0.8 * wide);
	json_decref(root);
}

/* What is no probe, and what was met before. */
static void test_left_out(void **state)
{
	static const char *const votes[] = { "j >yes", NULL };
	struct sl_pair p = gold(1);
	json_t *root;

	(void)state;
	sl_judge_records_add(records, &p); /* not judged */
	make_probe(&arena, &p, 0, SETTING, "chosen", votes);
	sl_judge_records_add(records, &p); /* no probe */
	make_probe(&arena, &p, 16, SETTING, "chosen", votes);
	p.judgement.panel = (struct sl_bytes){ 0 };
	sl_judge_records_add(records, &p); /* nearest said so */
	make_probe(&arena, &p, 16, SETTING, "chosen", votes);
	p.gold.verdict = sl_text("tie");
	sl_judge_records_add(records, &p);
	p.gold.verdict = sl_text("chosen");
	for (int i = 0; i < 3; i++)
		sl_judge_records_add(records, &p); /* a replay */
	root = show();
	assert_int_equal(number_at(root, "probes", NULL), 1);
	json_decref(root);
}

/* Another setting is another panel; its record waits for the day it comes back. */
static void test_settings(void **state)
{
	static const char *const yes[] = { "j >yes", NULL };
	struct sl_probes probes;
	json_t *root;

	(void)state;
	root = sl_judge_records_json(records);
	assert_int_equal(number_at(root, "probes", NULL), 0);
	json_decref(root);
	sl_judge_records_copy(records, &probes);
	assert_null(sl_probes_find(&probes, gold(1).id));
	sl_probes_release(&probes);
	for (size_t i = 0; i < 5; i++)
		add(i, 16, OTHER, "rejected", yes);
	add(7, 16, SETTING, "chosen", yes);
	root = show();
	assert_int_equal(number_at(root, "probes", NULL), 1);
	assert_int_equal(number_at(root, "earlier", NULL), 5);
	assert_string_equal(sl_judge_records_setting(records), SETTING);
	json_decref(root);
	sl_judge_records_newest(records, sl_text(OTHER));
	assert_int_equal(sl_judge_records_probes(records), 5);
	for (char letter = 'c'; letter < 'k'; letter++) { /* as many as are kept, and more */
		char name[] = "00000000000000c0";

		name[14] = letter;
		add(8, 16, name, "chosen", yes);
		sl_judge_records_newest(records, sl_text(name));
		assert_int_equal(sl_judge_records_probes(records), 1);
	}
	sl_judge_records_newest(records, sl_text("no setting has a name as long as this one"));
	assert_int_equal(sl_judge_records_probes(records), 0);
}

/* For a fit: the latest word about each gold pair. */
static void test_copy(void **state)
{
	static const char *const first[] = { "a/x >yes", "b/y >no", NULL }, *const second[] = { "b/y >tie", NULL };
	const struct sl_probe *probe;
	struct sl_probes probes;

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		add(i, 16, SETTING, "chosen", first);
	add(3, 32, SETTING, "rejected", second);
	add(4, 32, SETTING, "undecidable", second);
	add(5, 32, SETTING, NULL, NULL);
	sl_judge_records_newest(records, sl_text(SETTING));
	sl_judge_records_copy(records, &probes);
	assert_int_equal(probes.count, 1000);
	assert_int_equal(probes.name_count, 2);
	assert_string_equal(probes.names[0], "a/x");
	probe = sl_probes_find(&probes, gold(2).id);
	assert_int_equal(probe->panel, SL_PROBE_RIGHT);
	assert_int_equal(probe->judges[0], SL_PROBE_RIGHT);
	assert_int_equal(probe->judges[1], SL_PROBE_WRONG);
	probe = sl_probes_find(&probes, gold(3).id);
	assert_int_equal(probe->panel, SL_PROBE_WRONG);
	assert_int_equal(probe->judges[0], SL_PROBE_NOT_ASKED);
	assert_int_equal(probe->judges[1], SL_PROBE_ABSTAINED);
	assert_int_equal(sl_probes_find(&probes, gold(4).id)->panel, SL_PROBE_ABSTAINED);
	assert_int_equal(sl_probes_find(&probes, gold(5).id)->panel, SL_PROBE_SILENT);
	assert_null(sl_probes_find(&probes, gold(2000).id));
	sl_probes_release(&probes);
}

/* Records are what somebody wrote: too many judges, categories, votes, and names of any bytes. */
static void test_hostile(void **state)
{
	json_t *root;
	char *text;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		struct sl_vote votes[200];
		struct sl_pair p = gold(i);

		for (size_t k = 0; k < 200; k++)
			votes[k] =
				(struct sl_vote){ .judge = sl_text(sl_arena_print(&arena, "j\xff%zu", i < 50 ? k : i)),
						  .order = sl_text(k % 2 ? "chosen" : "?"),
						  .verdict = sl_text(k % 3 ? "chosen" : "nonsense"),
						  .tokens = INT64_MAX / 100000,
						  .micro_dollars = -5 };
		if (i % 5 == 0)
			votes[0].judge = (struct sl_bytes){ 0 };
		p.attributes.present = true;
		p.attributes.category = sl_text(sl_arena_print(&arena, "c%zu", i));
		make_probe(&arena, &p, 16, SETTING, "nonsense", NULL);
		p.judgement.votes = votes;
		p.judgement.vote_count = 200;
		sl_judge_records_add(records, &p);
	}
	root = show();
	text = json_dumps(root, 0);
	assert_non_null(text);
	assert_true(json_array_size(json_object_get(root, "judges")) <= 1 + SL_JUDGES_MOST);
	free(text);
	json_decref(root);
}

/* Every category is one series of the metrics, whatever records call theirs. */
static void test_odd_categories(void **state)
{
	static const struct sl_bytes names[] = { { "all", 3 },  { "a\0b", 3 }, { "a\0b", 3 }, { "a\0c", 3 },
						 { "\xff", 1 }, { "\xfe", 1 }, { "a", 1 },    { "?", 1 },
						 { "", 0 },     { NULL, 0 } };
	static const char *const yes[] = { "j >yes", NULL };
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	json_t *root;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct sl_pair p = gold(i);

		p.attributes.present = true;
		p.attributes.category = names[i];
		make_probe(&arena, &p, 16, SETTING, "chosen", yes);
		sl_judge_records_add(records, &p);
	}
	root = show();
	assert_int_equal(json_array_size(json_object_get(judge(root, "j"), "categories")), 3); /* none, a and ? */
	sl_judge_health_metrics(root, &text);
	if (!sl_exposition_check(sl_buf_text(&text), &e))
		fail_msg("%s", e.text);
	sl_buf_release(&text);
	json_decref(root);
}

/* The window moves on; what is counted for ever does not. */
static void test_window(void **state)
{
	static const char *const yes[] = { "j >yes", NULL }, *const no[] = { "j >no", NULL };
	json_t *root;

	(void)state;
	for (size_t i = 0; i < SL_JUDGE_WINDOW + 100; i++) {
		add(i % 1000, (int64_t)(16 + i), SETTING, "chosen", i < 100 ? no : yes);
		if (i % 1000 == 0)
			sl_arena_clear(&arena);
	}
	root = show();
	assert_float_equal(number_at(judge(root, "j"), "agreement", "value"), 1, 0);
	assert_int_equal(number_at(judge(root, "j"), "agreement", "count"), SL_JUDGE_WINDOW);
	assert_int_equal(number_at(judge(root, "j"), "votes", "rejected"), 100);
	json_decref(root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_votes),    TEST(test_panel),    TEST(test_clusters),
		TEST(test_left_out), TEST(test_settings), TEST(test_odd_categories),
		TEST(test_copy),     TEST(test_hostile),  TEST(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
