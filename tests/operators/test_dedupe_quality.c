/* dedupe against brute force on real text: nothing is set aside wrongly, next to
 * nothing is missed. tests/bench/dedupe_quality prints the figures for whole sets. */
#include "array_task.h"
#include "brute_force.h"

#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

extern const struct sl_operator sl_operator_dedupe;

enum { UNIQUE, DUPLICATE, CONFLICT };

static void play(struct sl_task *t, const struct sl_pair *pairs, size_t count, size_t batch_max)
{
	for (size_t i = 0; i < count; i += batch_max) {
		struct sl_batch batch = { pairs + i, count - i < batch_max ? count - i : batch_max };

		assert_int_equal(t->operator->process(t, t->self, &batch), SL_OK);
	}
}

static void start(struct sl_task *t)
{
	task_init(t, &sl_operator_dedupe);
	*(double *)task_option(t, "jaccard") = threshold;
	assert_int_equal(t->operator->open(t, t->self), SL_OK);
}

/* Every pair set aside names an earlier copy of it; of the copies there are, 95 % are found. */
static void check_as_it_is(const char *name, const struct sl_task *t, const struct pairs *p)
{
	struct sl_arena arena = { 0 };
	struct sets *sets = sl_calloc(p->count, sizeof *sets);
	size_t copies_count = 0, lost = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct output *o = &t->outputs[i];
		const char *of = strstr(o->reason, "of ");
		bool copy = false, named = false;
		struct sl_id id = { { 0 } };

		if (o->port == REJECTED)
			continue;
		if (of)
			assert_true(sl_id_parse((struct sl_bytes){ of + 3, 32 }, &id));
		sets[i] = sets_of(&p->at[i], &arena);
		for (size_t j = 0; j < i; j++) {
			if (t->outputs[j].port != UNIQUE || !copies(&sets[i], &sets[j]))
				continue;
			copy = true;
			named |= sl_id_equal(id, p->at[j].id);
		}
		if (o->port != UNIQUE && !named)
			fail_msg("%s: pair %zu is no copy: %s", name, i, o->reason);
		copies_count += copy;
		lost += copy && o->port == UNIQUE;
	}
	if (lost > copies_count / 20)
		fail_msg("%s: %zu of %zu copies were lost", name, lost, copies_count);
	print_message("%s: %zu pairs, %zu copies, %zu lost\n", name, p->count, copies_count, lost);
	free(sets);
	sl_arena_release(&arena);
}

static void check_planted(const char *name, struct sl_task *t, const struct pairs *p, double rate)
{
	struct sl_arena arena = { 0 };
	size_t near = 0, found = 0, edits = 0, before = t->output_count;
	uint64_t seed = 11;

	for (size_t i = 0; i < p->count; i++) {
		struct sl_pair c = p->at[i];

		if (t->outputs[i].port != UNIQUE)
			continue;
		c.prompt = edited(&c.prompt, rate, &seed, &arena);
		c.chosen = edited(&c.chosen, rate, &seed, &arena);
		c.rejected = edited(&c.rejected, rate, &seed, &arena);
		sl_pair_identify(&c, &arena);
		t->output_count = before;
		play(t, &c, 1, 1);

		struct sets x = sets_of(&c, &arena), y = sets_of(&p->at[i], &arena);
		bool is_copy = copies(&x, &y);
		edits++;
		near += is_copy;
		found += is_copy && t->outputs[before].port != UNIQUE;
	}
	print_message("%s: %g of words edited: %zu pairs, %zu near, %zu found\n", name, rate, edits, near, found);
	assert_true((double)found >= 0.95 * (double)near);
	sl_arena_release(&arena);
}

static void check_file(const char *path)
{
	struct pairs p = { 0 };
	struct sl_task t, again;

	if (!load(&p, path, 1500)) {
		print_message("skipped: no '%s'\n", path);
		skip();
	}
	assert_true(p.count > 0);
	start(&t);
	start(&again);
	play(&t, p.at, p.count, 256);
	play(&again, p.at, p.count, 7);
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(t.outputs[i].port, again.outputs[i].port);
		assert_string_equal(t.outputs[i].reason, again.outputs[i].reason);
	}
	check_as_it_is(path, &t, &p);
	check_planted(path, &t, &p, 0.01);
	check_planted(path, &again, &p, 0.2);
	task_release(&t);
	task_release(&again);
	pairs_release(&p);
}

static void test_shared_prompts(void **unused)
{
	(void)unused;
	check_file("../shared/data/finegrained-qa.dev.jsonl.gz");
}

static void test_shared_answers(void **unused)
{
	(void)unused;
	check_file("../shared/data/alpaca-eval-ai.jsonl.gz");
}

static void test_short_texts(void **unused)
{
	(void)unused;
	check_file("../shared/data/wmt-mqm.dev.jsonl.gz");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shared_prompts),
					    cmocka_unit_test(test_shared_answers), cmocka_unit_test(test_short_texts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
