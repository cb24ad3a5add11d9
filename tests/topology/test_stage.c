/* test_stage.c -- what a transaction has written, over what is there: the cases by hand. test_store.c has the
 * seeded ones. */
#include "topology/stage.h"

#include "tests/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Words: "k=v" put, "k-" delete; what a scan of "a" finds, as "k=v k=v ". */
struct merge {
	const char *stored, *staged, *found;
};

static const struct merge merges[] = {
	{ "", "", "" },
	{ "a1=x a2=y", "", "a1=x a2=y " },
	{ "", "a2=y a1=x", "a1=x a2=y " },
	{ "a1=x a3=z", "a2=y", "a1=x a2=y a3=z " },
	{ "a1=x a2=y", "a1=new", "a1=new a2=y " },
	{ "a1=x a2=y", "a1-", "a2=y " },
	{ "a1=x a2=y", "a2-", "a1=x " },
	{ "a1=x", "a1- a1=back", "a1=back " },
	{ "a1=x", "a1=y a1-", "" },
	{ "", "a1-", "" },
	{ "b=1 9=2", "b1=3 8=4", "" },
	{ "a=whole aa=1", "a1=", "a=whole a1= aa=1 " },
};

static void words(const char *text, void (*to)(void *arg, struct sl_bytes key, struct sl_bytes value), void *arg)
{
	while (*text) {
		size_t n = strcspn(text, " "), k = strcspn(text, "=-");
		struct sl_bytes key = { text, k }, value = { text + k + 1, n - k - 1 };

		if (text[k] == '-')
			value = (struct sl_bytes){ NULL, 0 };
		to(arg, key, value);
		text += n + (text[n] == ' ');
	}
}

static void to_writes(void *w, struct sl_bytes key, struct sl_bytes value)
{
	sl_writes_put(w, key, value);
}

static void to_stage(void *s, struct sl_bytes key, struct sl_bytes value)
{
	if (value.data)
		sl_stage_put(s, key, value);
	else
		sl_stage_del(s, key);
}

static void merged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
		const struct merge *m = &merges[i];
		struct sl_twins *t = sl_twins_new(1);
		struct sl_writes w = { 0 }, *batch = &w;
		struct sl_stage s = { 0 };
		struct sl_stage_scan scan;
		struct sl_bytes key, value;
		struct sl_buf found = { 0 };
		struct sl_error e = { 0 };

		words(m->stored, to_writes, &w);
		assert_true(t->store->ops->write(t->store, &batch, 1, true, &e));
		words(m->staged, to_stage, &s);
		sl_stage_scan_begin(&scan, &s, t->store, sl_text("a"));
		while (sl_stage_scan_next(&scan, &key, &value, &e))
			sl_buf_print(&found, "%.*s=%.*s ", (int)key.size, (const char *)key.data, (int)value.size,
				     (const char *)value.data);
		assert_string_equal(sl_buf_text(&found), m->found);
		sl_stage_scan_end(&scan);
		sl_stage_release(&s);
		sl_buf_release(&found);
		sl_writes_release(&w);
		sl_twins_free(t);
	}
}

static void found_and_written(void **state)
{
	struct sl_stage s = { 0 };
	struct sl_writes w = { 0 };
	struct sl_bytes key, value;
	size_t at = 0;

	(void)state;
	assert_null(sl_stage_find(&s, sl_text("a")));
	words("b=1 a=2 c=3 a- b=4", to_stage, &s);
	assert_true(sl_bytes_equal(sl_stage_find(&s, sl_text("b"))->value, sl_text("4")));
	assert_null(sl_stage_find(&s, sl_text("a"))->value.data);
	assert_null(sl_stage_find(&s, sl_text("d")));
	sl_stage_writes(&s, &w); /* in the order of first touch, the latest values */
	for (int i = 0; sl_writes_next(&w, &at, &key, &value); i++) {
		assert_true(sl_bytes_equal(key, sl_text(i == 0 ? "b" : i == 1 ? "a" : "c")));
		assert_true(i == 1 ? !value.data : sl_bytes_equal(value, sl_text(i ? "3" : "4")));
	}
	assert_int_equal(w.count, 3);
	sl_stage_clear(&s);
	assert_null(sl_stage_find(&s, sl_text("b")));
	for (int i = 0; i < 5000; i++) { /* grows, and still finds all */
		char text[20];

		snprintf(text, sizeof text, "key %d", i);
		sl_stage_put(&s, sl_text(text), sl_text(text));
	}
	for (int i = 0; i < 5000; i++) {
		char text[20];

		snprintf(text, sizeof text, "key %d", i);
		assert_true(sl_bytes_equal(sl_stage_find(&s, sl_text(text))->value, sl_text(text)));
	}
	sl_stage_release(&s);
	sl_writes_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(merged), cmocka_unit_test(found_and_written) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
