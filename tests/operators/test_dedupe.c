/* Behaviour of dedupe from tables: what goes out where, and why. */
#include "array_task.h"

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

extern const struct sl_operator sl_operator_dedupe;

enum { UNIQUE, DUPLICATE, CONFLICT, CONTAMINATED };
enum gold { RAW, GOLD };

static struct sl_messages one(struct sl_arena *a, const char *role, const char *text)
{
	struct sl_messages m = { sl_arena_zalloc(a, sizeof *m.at), 1 };

	m.at[0].role = sl_text(role);
	m.at[0].content = sl_text(text);
	return m;
}

static struct sl_pair make(struct sl_arena *a, const char *prompt, const char *chosen, const char *rejected,
			   enum gold gold)
{
	struct sl_arena scratch = { 0 };
	struct sl_pair p;

	sl_pair_init(&p);
	p.prompt = one(a, "user", prompt);
	p.chosen = one(a, "assistant", chosen);
	p.rejected = one(a, "assistant", rejected);
	p.gold.present = gold == GOLD;
	sl_pair_identify(&p, &scratch);
	sl_arena_release(&scratch);
	return p;
}

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
	int port;
	const char *reason; /* begins with this; '#n' in it stands for the id of step n */
	const char *label_arrived;
};

struct table {
	const char *name;
	struct step steps[8];
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
	{ "gold first: raw copies name it",
	  { { "P", "C", "R", GOLD, UNIQUE, "", "" },
	    { "P", "C", "R", RAW, DUPLICATE, "duplicate: of #0", "" },
	    { "P", "R", "C", RAW, CONFLICT, "conflict: label-swapped copy of #0", "" },
	    { "P'", "C", "R", GOLD, DUPLICATE, "near-duplicate: of #0", "" } } },
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

static void expect_output(const struct table *table, size_t step, const struct output *outputs)
{
	const struct step *want = &table->steps[step];
	const struct output *got = &outputs[step];
	char reason[400] = "";
	size_t size = 0;

	if (!want->reason)
		return;
	for (const char *c = want->reason; *c; c++) {
		if (*c == '#') {
			char hex[SL_ID_HEX_SIZE];

			size += (size_t)snprintf(reason + size, sizeof reason - size, "%s",
						 sl_id_hex(outputs[*++c - '0'].id, hex));
		} else {
			reason[size++] = *c;
			reason[size] = 0;
		}
	}
	if (got->port != want->port || strncmp(got->reason, reason, size) != 0 || (size == 0 && got->reason[0]) ||
	    strcmp(got->label_arrived, want->label_arrived) != 0)
		fail_msg("%s, step %zu: port %d '%s' label '%s', expected %d '%s' '%s'", table->name, step, got->port,
			 got->reason, got->label_arrived, want->port, reason, want->label_arrived);
}

/* Every table in batches of every size; reopened after each batch in the second round. */
static void test_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		struct sl_arena arena = { 0 };
		struct sl_pair pairs[8];
		size_t count = 0;

		for (; count < 8 && tables[i].steps[count].prompt; count++) {
			const struct step *s = &tables[i].steps[count];

			pairs[count] =
				make(&arena, text_of(s->prompt), text_of(s->chosen), text_of(s->rejected), s->gold);
		}
		for (size_t cut = 1; cut <= 2 * count; cut++) {
			size_t batch_max = (cut + 1) / 2;
			struct sl_task t;

			task_init(&t, &sl_operator_dedupe);
			*(double *)task_option(&t, "jaccard") = 0.8;
			assert_int_equal(t.operator->open(&t, t.self), SL_OK);
			for (size_t done = 0; done < count;) {
				size_t n = count - done < batch_max ? count - done : batch_max;
				struct sl_batch batch = { pairs + done, n };

				assert_int_equal(t.operator->process(&t, t.self, &batch), SL_OK);
				done += n;
				if (cut % 2)
					assert_int_equal(task_reopen(&t), SL_OK);
			}
			assert_int_equal(t.output_count, count);
			for (size_t s = 0; s < count; s++)
				expect_output(&tables[i], s, t.outputs);
			task_release(&t);
		}
		sl_arena_release(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
