/* test_args.c -- the command line parser: what is accepted, what is refused and how it says so. */
#include "topology/args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct opts {
	bool gold;
	const char *source;
	int64_t limit;
	struct sl_texts sets;
};

static const struct sl_arg table[] = {
	{ "gold", 0, SL_ARG_FLAG, NULL, "", offsetof(struct opts, gold) },
	{ "source", 's', SL_ARG_TEXT, "NAME", "", offsetof(struct opts, source) },
	{ "limit", 0, SL_ARG_COUNT, "N", "", offsetof(struct opts, limit) },
	{ "set", 0, SL_ARG_LIST, "K=V", "", offsetof(struct opts, sets) },
	{ NULL, 0, SL_ARG_FLAG, NULL, NULL, 0 },
};

#define ARGC_MAX 8

static bool parse(const char *const *argv, struct opts *o, struct sl_texts *words, struct sl_error *e)
{
	char *copy[ARGC_MAX] = { 0 };
	int argc = 0;

	while (argv[argc]) {
		copy[argc] = (char *)(uintptr_t)argv[argc];
		argc++;
	}
	return sl_args_parse(table, argc, copy, o, words, e);
}

static void accepted(void **state)
{
	static const char *const argv[] = { "--gold", "one", "--source=a=b", "--set", "x.y=1", "--set=z=2", "-", NULL };
	struct sl_texts words = { 0 };
	struct opts o = { 0 };
	struct sl_error e;

	(void)state;
	assert_true(parse(argv, &o, &words, &e));
	assert_true(o.gold);
	assert_string_equal(o.source, "a=b");
	assert_int_equal(o.sets.count, 2);
	assert_string_equal(o.sets.at[0], "x.y=1");
	assert_string_equal(o.sets.at[1], "z=2");
	assert_int_equal(words.count, 2);
	assert_string_equal(words.at[0], "one");
	assert_string_equal(words.at[1], "-");
	sl_texts_release(&words);
	sl_texts_release(&o.sets);
}

static void letters_and_the_end_of_options(void **state)
{
	static const char *const argv[] = { "-sname", "--limit", "42", "--", "--gold", "-s", NULL };
	static const char *const apart[] = { "-s", "", NULL };
	struct sl_texts words = { 0 };
	struct opts o = { 0 };
	struct sl_error e;

	(void)state;
	assert_true(parse(argv, &o, &words, &e));
	assert_string_equal(o.source, "name");
	assert_int_equal(o.limit, 42);
	assert_false(o.gold);
	assert_int_equal(words.count, 2);
	assert_string_equal(words.at[0], "--gold");
	assert_true(parse(apart, &o, &words, &e));
	assert_string_equal(o.source, "");
	sl_texts_release(&words);
}

static void refused(void **state)
{
	static const struct {
		const char *argv[4];
		const char *says;
	} cases[] = {
		{ { "--gould" }, "unknown option '--gould', did you mean '--gold'?" },
		{ { "--frobnicate" }, "unknown option '--frobnicate'" },
		{ { "-x" }, "unknown option '-x'" },
		{ { "--source" }, "option '--source' needs a value: NAME" },
		{ { "--gold=yes" }, "option '--gold' takes no value" },
		{ { "--limit", "-1" }, "option '--limit' wants a whole number of 0 or more, not '-1'" },
		{ { "--limit=" }, "option '--limit' wants a whole number of 0 or more, not ''" },
		{ { "--limit=99999999999999999999" },
		  "option '--limit' wants a whole number of 0 or more, not '99999999999999999999'" },
		{ { "--=x" }, "unknown option '--'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_texts words = { 0 };
		struct opts o = { 0 };
		struct sl_error e = { 0 };

		assert_false(parse(cases[i].argv, &o, &words, &e));
		assert_string_equal(e.text, cases[i].says);
		sl_texts_release(&words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(letters_and_the_end_of_options),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
