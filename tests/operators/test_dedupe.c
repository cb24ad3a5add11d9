/* dedupe: what goes out where, and why; the same whatever happens to the run. */
#include "tests/trial.h"
#include "topology/base/buf.h"
#include "topology/base/file.h"
#include "topology/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.raw }\n"
	"partitions: 1\n"
	"steps:\n"
	"  - { name: dedupe, from: pairs.raw, to: { unique: pairs.unique, duplicate: pairs.duplicate,\n"
	"      conflict: pairs.conflict, contaminated: pairs.contaminated } }\n";

enum port { UNIQUE, DUPLICATE, CONFLICT, CONTAMINATED, REJECTED, PORTS };
static const char *const topics[PORTS] = { "pairs.unique", "pairs.duplicate", "pairs.conflict", "pairs.contaminated",
					   "dead.dedupe" };
enum gold { RAW, GOLD, GOLD_SAME /* and says that the label arrived the same */ };

/* Letters stand for these texts; a second letter is a near copy. */
static const char *text_of(const char *name)
{
	static const struct {
		const char *name, *text;
	} texts[] = {
		{ "P", "How do I keep a sourdough starter alive in a very cold kitchen over a long winter holiday, "
		       "when nobody is at home to feed it" },
		{ "P'", "How do I keep a sourdough starter alive in a very cold kitchen over a long winter holiday, "
			"when nobody is at home to feed" },
		{ "p", "HOW do I keep a sourdough starter alive in a very cold kitchen over  a long winter holiday, "
		       "when nobody is at home to feed it " },
		{ "C", "Put it in the fridge, feed it once a week with equal parts of flour and water, and let it warm "
		       "up before you bake with it again" },
		{ "C'", "Put it in the fridge, feed it once a week with equal parts of flour and water, and let it "
			"warm up before you bake with it" },
		{ "R", "Throw it away and buy a new one at the bakery whenever you come back home, because flour and "
		       "yeast are cheap nearly everywhere" },
		{ "R'", "Just throw it away and buy a new one at the bakery whenever you come back home, because flour "
			"and yeast are cheap nearly everywhere" },
		{ "D", "A third answer has nothing to do with the other two at all and speaks of trains, timetables, "
		       "delays and the price of the tickets" },
		{ "Zh", "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7\xe7\x9a\x84\xe5\x8e\xa8\xe6\x88"
			"\xbf\xe9\x87\x8c\xe4\xbf\x9d\xe5\xad\x98\xe9\x85\xb5\xe7\xa7\x8d\xe5\x91\xa2\xef\xbc\x9f" },
		{ "Zh'", "\xe5\xa6\x82\xe4\xbd\x95\xe5\x9c\xa8\xe5\xaf\x92\xe5\x86\xb7\xe7\x9a\x84\xe5\x8e\xa8\xe6\x88"
			 "\xbf\xe9\x87\x8c\xe4\xbf\x9d\xe5\xad\x98\xe9\x85\xb5\xe7\xa7\x8d" },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (strcmp(texts[i].name, name) == 0)
			return texts[i].text;
	return name;
}

struct step {
	const char *prompt, *chosen, *rejected;
	enum gold gold;
	enum port port;
	const char *reason; /* begins with this; '#n' in it stands for the id of step n */
	const char *label_arrived;
};

enum { STEPS = 8 };

struct table {
	const char *name;
	struct step steps[STEPS];
};

static const struct table tables[] = {
	{ "exact",
	  { { "P", "C", "R", RAW, UNIQUE, "", "" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "p", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "P", "R", "C", RAW, CONFLICT, "conflict: label-swapped copy of #0", "" },
	    { "P", "C", "D", RAW, UNIQUE, "", "" } } },
	{ "near",
	  { { "P", "C", "R", RAW, UNIQUE, "", "" },
	    { "P'", "C", "R", RAW, DUPLICATE, "near-duplicate: of #0, jaccard prompt 0.95", "" },
	    { "P", "C'", "R'", RAW, DUPLICATE, "near-duplicate: of #0, jaccard prompt 1.000", "" },
	    { "P'", "R'", "C'", RAW, CONFLICT, "near-conflict: of #0, jaccard prompt 0.95", "" },
	    { "P", "C", "D", RAW, UNIQUE, "", "" },
	    { "D", "C", "R", RAW, UNIQUE, "", "" },
	    { "P", "D", "R", RAW, UNIQUE, "", "" } } },
	{ "the exact copy is named before the near one, the earliest near one first",
	  { { "P", "C", "R", RAW, UNIQUE, "", "" },
	    { "P'", "C'", "R'", RAW, DUPLICATE, "near-duplicate: of #0", "" },
	    { "P'", "C'", "R'", GOLD, UNIQUE, "gold: of raw #0, label arrived same", "same" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "P'", "C'", "R'", RAW, DUPLICATE, "duplicate: of #2", "" } } },
	{ "short texts must be equal",
	  { { "2 + 2 = ?", "four", "five", RAW, UNIQUE, "", "" },
	    { "2 - 2 = ?", "four", "five", RAW, UNIQUE, "", "" },
	    { "2 + 2 = ?", "four", "six", RAW, UNIQUE, "", "" },
	    { "2  +  2 = ?", "FOUR", "five", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "P", "yes", "no", RAW, UNIQUE, "", "" },
	    { "P'", "yes", "no", RAW, DUPLICATE, "near-duplicate: of #4, jaccard prompt 0.95", "" },
	    { "P'", "no", "yes", RAW, CONFLICT, "near-conflict: of #4, jaccard prompt 0.95", "" },
	    { "P'", "yes", "no, thanks", RAW, UNIQUE, "", "" } } },
	{ "characters are words in Chinese",
	  { { "Zh", "C", "R", RAW, UNIQUE, "", "" },
	    { "Zh'", "C", "R", RAW, DUPLICATE, "near-duplicate: of #0, jaccard prompt 0.9", "" } } },
	{ "gold passes a raw copy and learns how the label arrived",
	  { { "P", "C", "R", RAW, UNIQUE, "", "" },
	    { "P", "R", "C", GOLD, UNIQUE, "gold: of raw #0, label arrived swapped", "swapped" },
	    { "P", "C", "R", RAW, CONFLICT, "conflict: label-swapped copy of #1", "" },
	    { "P", "R", "C", RAW, DUPLICATE, "duplicate: of #1", "" },
	    { "P", "R", "C", GOLD, DUPLICATE, "duplicate: of #1", "" },
	    { "P", "C", "R", GOLD, CONFLICT, "conflict: label-swapped copy of #1", "" } } },
	{ "gold first: raw copies name it, the first of them teaches it how the label arrived",
	  { { "P", "C", "R", GOLD, UNIQUE, "learnt: label arrived same, from raw #1", "same" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "P", "R", "C", RAW, CONFLICT, "conflict: label-swapped copy of #0", "" },
	    { "P'", "C", "R", GOLD, DUPLICATE, "near-duplicate: of #0", "" } } },
	{ "gold first, crosswise",
	  { { "P", "C", "R", GOLD, UNIQUE, "learnt: label arrived swapped, from raw #1", "swapped" },
	    { "P", "R", "C", RAW, CONFLICT, "conflict: label-swapped copy of #0", "" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" } } },
	{ "gold first, near and crosswise",
	  { { "P", "C", "R", GOLD, UNIQUE, "learnt: label arrived swapped, from raw #2", "swapped" },
	    { "P", "C", "R", GOLD, DUPLICATE, "duplicate: of #0", "" },
	    { "P'", "R'", "C'", RAW, CONFLICT, "near-conflict: of #0", "" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" } } },
	{ "who says how the label arrived learns nothing",
	  { { "P", "C", "R", GOLD_SAME, UNIQUE, "", "same" },
	    { "P", "R", "C", RAW, CONFLICT, "conflict: label-swapped copy of #0", "" },
	    { "P", "C", "D", RAW, UNIQUE, "", "" },
	    { "P", "D", "C", GOLD_SAME, UNIQUE, "gold: of raw #2, label arrived swapped", "same" } } },
	{ "a near gold copy passes, and is then set aside itself",
	  { { "P", "C", "R", RAW, UNIQUE, "", "" },
	    { "P'", "R'", "C'", GOLD, UNIQUE, "gold: of raw #0, label arrived swapped", "swapped" },
	    { "P", "R", "C", GOLD, DUPLICATE, "near-duplicate: of #1", "" } } },
	{ "nothing to learn from",
	  { { "", "C", "R", RAW, REJECTED, "empty prompt: ", "" },
	    { " \n\xe3\x80\x80", "C", "R", RAW, REJECTED, "empty prompt: ", "" },
	    { "P", "", "R", RAW, REJECTED, "empty chosen: ", "" },
	    { "P", "C", "\t", RAW, REJECTED, "empty rejected: ", "" },
	    { "P", "C", "C", RAW, REJECTED, "equal answers: ", "" },
	    { "P", "Yes", "YES ", RAW, REJECTED, "equal answers: ", "" },
	    { "P", "?", "!", RAW, UNIQUE, "", "" },
	    { "P", "C", "C'", RAW, UNIQUE, "", "" } } },
};

static size_t steps_of(const struct table *table)
{
	size_t count = 0;

	while (count < STEPS && table->steps[count].prompt)
		count++;
	return count;
}

/* The number of a step travels in arrival.line: copies have the same id. */
static bool feed(struct sl_trial *t, void *arg)
{
	const struct table *table = arg;
	struct sl_arena a = { 0 };
	struct sl_pair pairs[STEPS];
	size_t count = steps_of(table);
	bool done;

	for (size_t i = 0; i < count; i++) {
		const struct step *s = &table->steps[i];

		pairs[i] = sl_trial_pair(&a, text_of(s->prompt), text_of(s->chosen), text_of(s->rejected));
		pairs[i].arrival.line = (int64_t)i + 1;
		pairs[i].gold.present = s->gold != RAW;
		if (s->gold == GOLD_SAME)
			pairs[i].gold.label_arrived = sl_text("same");
	}
	done = sl_trial_feed(t, "pairs.raw", pairs, count);
	sl_arena_release(&a);
	return done;
}

struct result {
	enum port port;
	struct sl_id id;
	struct sl_bytes reason, label_arrived;
};

/* What became of every step in the end, by number. Returns how many were found. */
static size_t results_of(struct sl_trial *t, struct sl_arena *a, struct result results[STEPS])
{
	bool known[STEPS] = { false };
	size_t found = 0;

	for (int port = 0; port < PORTS; port++) {
		struct sl_record *records;
		size_t count = sl_trial_records(t, topics[port], a, &records);

		for (size_t i = 0; i < count; i++) {
			struct sl_pair p;
			struct result *r;

			if (!sl_pair_decode(records[i].value, a, &p, &t->error))
				fail_msg("%s", t->error.text);
			r = &results[p.arrival.line - 1];
			found += !known[p.arrival.line - 1];
			known[p.arrival.line - 1] = true;
			*r = (struct result){ port, p.id, records[i].headers, p.gold.label_arrived };
			if (port != REJECTED)
				r->reason = p.trail[p.trail_count - 1].reason;
		}
	}
	return found;
}

/* '#n' in a wanted reason stands for the id of step n. */
static struct sl_bytes spell(const char *reason, const struct result *results, struct sl_arena *a)
{
	struct sl_buf b = { 0 };
	struct sl_bytes spelt;

	for (const char *c = reason; *c; c++) {
		char hex[SL_ID_HEX_SIZE];

		if (*c == '#')
			sl_buf_print(&b, "%s", sl_id_hex(results[*++c - '0'].id, hex));
		else
			sl_buf_add_byte(&b, (uint8_t)*c);
	}
	spelt = sl_arena_bytes(a, sl_buf_bytes(&b));
	sl_buf_release(&b);
	return spelt;
}

static void expect(const struct table *table, size_t i, const struct result *results, struct sl_arena *a)
{
	const struct step *want = &table->steps[i];
	const struct result *got = &results[i];
	struct sl_bytes reason = spell(want->reason, results, a);
	bool same = got->port == want->port && sl_is(got->label_arrived, want->label_arrived);

	if (want->port == REJECTED) /* somewhere among the headers */
		same = same && memmem(got->reason.data, got->reason.size, reason.data, reason.size);
	else
		same = same && sl_bytes_begins(got->reason, reason) && (reason.size > 0 || got->reason.size == 0);
	if (!same)
		fail_msg("%s, step %zu: %s '%.*s' label '%.*s', expected %s '%.*s' '%s'", table->name, i,
			 topics[got->port], (int)got->reason.size, (const char *)got->reason.data,
			 (int)got->label_arrived.size, (const char *)got->label_arrived.data, topics[want->port],
			 (int)reason.size, (const char *)reason.data, want->label_arrived);
}

static void play_table(const struct table *table, const char *const *sets, size_t set_count)
{
	struct sl_trial *t = sl_trial_new(yaml, sets, set_count);
	struct result results[STEPS];
	struct sl_arena a = { 0 };
	size_t count = steps_of(table);

	assert_true(feed(t, (void *)(uintptr_t)table));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(results_of(t, &a, results), count);
	for (size_t i = 0; i < count; i++)
		expect(table, i, results, &a);
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_tables(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		play_table(&tables[i], NULL, 0);
}

static void test_torture(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		struct sl_trial_case c = { .name = tables[i].name,
					   .yaml = yaml,
					   .feed = feed,
					   .arg = (void *)(uintptr_t)&tables[i],
					   .batch_most = STEPS,
					   .schedules = 3 };
		size_t runs;

		assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
		assert_true(runs > 50);
	}
}

/* The gold pair as the gold table will have it, without where it came from and how it went. Its group is set apart. */
static struct sl_bytes gold_of(const struct step steps[2], struct sl_id *group, struct sl_arena *a)
{
	struct table table = { "order", { steps[0], steps[1] } };
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_pair *pairs, gold = { 0 };
	struct sl_buf b = { 0 };
	struct sl_bytes bytes;
	size_t count;

	assert_true(feed(t, &table));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	count = sl_trial_read(t, "pairs.unique", a, &pairs);
	for (size_t i = 0; i < count; i++) /* the last one of its id */
		if (pairs[i].gold.present)
			gold = pairs[i];
	gold.trail_count = 0;
	gold.arrival.line = 0;
	*group = gold.group;
	gold.group = (struct sl_id){ { 0 } };
	sl_pair_encode(&gold, &b);
	bytes = sl_arena_bytes(a, sl_buf_bytes(&b));
	sl_buf_release(&b);
	sl_trial_free(t);
	return bytes;
}

/* The raw copy before the gold pair, or behind it: the gold table is the same, but that the gold pair joins the group
 * of a copy that is in the stream. */
static void test_orders(void **unused)
{
	static const struct step gold = { .prompt = "P", .chosen = "C", .rejected = "R", .gold = GOLD };
	static const struct step copies[] = { { .prompt = "P", .chosen = "C", .rejected = "R" },
					      { .prompt = "p", .chosen = "R", .rejected = "C" },
					      { .prompt = "P'", .chosen = "C'", .rejected = "R'" },
					      { .prompt = "P'", .chosen = "R'", .rejected = "C" },
					      { .prompt = "P", .chosen = "C", .rejected = "D" } };

	(void)unused;
	for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
		struct sl_arena a = { 0 };
		struct sl_pair own = sl_trial_pair(&a, text_of("P"), "c", "r");
		struct sl_pair copy = sl_trial_pair(&a, text_of(copies[i].prompt), "c", "r");
		struct sl_id joined, kept;
		struct sl_bytes before = gold_of((const struct step[]){ copies[i], gold }, &joined, &a);
		struct sl_bytes behind = gold_of((const struct step[]){ gold, copies[i] }, &kept, &a);
		struct sl_arena scratch = { 0 };

		sl_pair_identify(&own, &scratch);
		sl_pair_identify(&copy, &scratch);
		sl_arena_release(&scratch);
		if (!sl_bytes_equal(before, behind))
			fail_msg("copy %zu", i);
		assert_true(sl_id_equal(joined, copy.group));
		assert_true(sl_id_equal(kept, own.group));
		sl_arena_release(&a);
	}
}

/* What was remembered before a restart is known behind it. */
static void test_restart(void **unused)
{
	static const struct table again = { "again", { { "P'", "C", "R", RAW, DUPLICATE, "", "" } } };
	struct sl_trial *t = sl_trial_new(yaml, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair *pairs;

	(void)unused;
	assert_true(feed(t, (void *)(uintptr_t)&tables[0]));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.duplicate", &a, &pairs), 2);
	assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	assert_true(feed(t, (void *)(uintptr_t)&again));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.duplicate", &a, &pairs), 3);
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* A folder with one benchmark file, Bench/pairs.jsonl, and --set dedupe.benchmarks for it. */
struct bench {
	char folder[40], set[100];
};

static void make_bench(struct bench *b, const char *lines)
{
	struct sl_error e;
	char path[80];

	snprintf(b->folder, sizeof b->folder, "/tmp/sluice-dedupe-XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	snprintf(path, sizeof path, "%s/Bench", b->folder);
	assert_true(sl_folder_make(path, &e));
	snprintf(path, sizeof path, "%s/Bench/pairs.jsonl", b->folder);
	snprintf(b->set, sizeof b->set, "dedupe.benchmarks=%s", path);
	assert_true(sl_file_replace(path, sl_text(lines), &e));
}

static void test_contaminated(void **unused)
{
	static const char lines[] =
		"{\"prompt\": \"one two three four five six seven eight nine ten eleven twelve thirteen fourteen\","
		" \"chosen\": \"x\", \"rejected\": \"y\"}\n";
#define THIRTEEN "Two three four, five six seven eight nine ten eleven twelve thirteen FOURTEEN"
	static const struct table table = {
		"contaminated",
		{ { "so: " THIRTEEN "?", "C", "R", RAW, CONTAMINATED, "contaminated Bench: '" THIRTEEN "'", "" },
		  { "so: " THIRTEEN "?", "C", "R", RAW, CONTAMINATED, "contaminated Bench: '",
		    "" }, /* not a duplicate */
		  { "so: " THIRTEEN "?", "C", "R", GOLD, CONTAMINATED, "contaminated Bench: '", "" },
		  { "P", THIRTEEN, "R", RAW, UNIQUE, "", "" }, /* responses are not looked at */
		  { "P", "C", "R", RAW, UNIQUE, "", "" },
		  { "one two three four five six", "C", "R", RAW, UNIQUE, "", "" } }
	};
	static const struct table responses = {
		"benchmark_responses",
		{ { "P", THIRTEEN, "R", RAW, CONTAMINATED, "contaminated Bench: '" THIRTEEN "'", "" },
		  { "P", "C", THIRTEEN, RAW, CONTAMINATED, "contaminated Bench: '" THIRTEEN "'", "" },
		  { "P", "C", "R", RAW, UNIQUE, "", "" } }
	};
	struct sl_error e;
	struct bench b;

	(void)unused;
	make_bench(&b, lines);
	play_table(&table, (const char *[]){ b.set }, 1);
	play_table(&responses, (const char *[]){ b.set, "dedupe.benchmark_responses=true" }, 2);
	assert_true(sl_folder_remove(b.folder, &e));
}

/* All user turns count, wherever they are; other roles do not. A long quote is cut at a character. */
static void test_turns_and_quote(void **unused)
{
	/* 13 words of 20 three-byte letters each: 792 bytes with the spaces */
	struct sl_buf words = { 0 }, lines = { 0 };
	struct sl_message turns[4];
	struct sl_pair p[2], *out;
	struct sl_arena a = { 0 };
	struct sl_trial *t;
	struct sl_error e;
	struct bench b;

	(void)unused;
	for (int w = 0; w < 13; w++) {
		for (int i = 0; i < 20; i++)
			sl_buf_print(&words, "\xe1\x83\x90"); /* Georgian an */
		sl_buf_print(&words, "%d ", w);
	}
	sl_buf_print(&lines, "{\"prompt\": \"%s\", \"chosen\": \"x\", \"rejected\": \"y\"}\n", sl_buf_text(&words));
	make_bench(&b, sl_buf_text(&lines));
	t = sl_trial_new(yaml, (const char *[]){ b.set }, 1);
	for (int i = 0; i < 2; i++) {
		p[i] = sl_trial_pair(&a, "a question", "one answer", "another answer");
		for (int turn = 0; turn < 4; turn++)
			turns[turn] = (struct sl_message){ .role = sl_text(turn % 2 ? "assistant" : "user"),
							   .content = sl_text("hello there") };
		turns[i == 0 ? 2 : 1].content = sl_buf_bytes(&words);
		p[i].prompt = (struct sl_messages){ sl_arena_copy(&a, turns, sizeof turns), 4 };
		p[i].id = p[i].pair_key = p[i].group = (struct sl_id){ { 0 } };
	}
	assert_true(sl_trial_feed(t, "pairs.raw", p, 2));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.unique", &a, &out), 1);
	assert_int_equal(sl_trial_read(t, "pairs.contaminated", &a, &out), 1);

	struct sl_bytes reason = out[0].trail[out[0].trail_count - 1].reason;
	size_t bad;
	assert_true(sl_bytes_begins(reason, sl_text("contaminated Bench: '")));
	assert_true(sl_utf8_valid(reason, &bad));
	assert_in_range(reason.size, 200, sizeof "contaminated Bench: ''" + 200);
	sl_trial_free(t);
	sl_buf_release(&words);
	sl_buf_release(&lines);
	sl_arena_release(&a);
	assert_true(sl_folder_remove(b.folder, &e));
}

/* A benchmark that cannot be read stops the step before anything is let through. */
static void test_unreadable_benchmark(void **unused)
{
	static const char *const sets[] = { "dedupe.benchmarks=no/such/file.jsonl" };
	struct sl_trial *t = sl_trial_new(yaml, sets, 1);
	struct sl_arena a = { 0 };
	struct sl_pair *out;

	(void)unused;
	assert_true(feed(t, (void *)(uintptr_t)&tables[0]));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
	assert_non_null(strstr(t->error.text, "file.jsonl"));
	assert_int_equal(sl_trial_read(t, "pairs.unique", &a, &out), 0);
	sl_arena_release(&a);
	sl_trial_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_torture),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_contaminated),
		cmocka_unit_test(test_turns_and_quote),
		cmocka_unit_test(test_unreadable_benchmark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
