/* test_train.c -- whole trainings on planted data: what is learnt, what is never
 * trained on, and that the same input gives the same bits. */
#include "synthetic.h"

#include "../../trainer/evaluate.h"

#include <math.h>

static void options_small(struct sl_train_options *o)
{
	sl_train_options_default(o);
	o->columns_log2 = 14;
}

static void sha256_of(const struct folder *f, const char *name, char hex[65])
{
	struct sl_error e;
	uint64_t size;

	assert_true(sl_file_sha256(folder_path(f, name), hex, &size, &e));
}

static void test_learns_a_planted_rule(void **state)
{
	struct sl_train_options o;
	struct sl_train_report r;
	struct synthetic s;
	struct folder f;

	(void)state;
	options_small(&o);
	o.epochs = 5;
	synthetic_make(&s, 3000, 1, 0);
	folder_begin(&f);
	synthetic_train(&s, &o, folder_path(&f, "1"), &r);
	assert_int_equal(r.seen, 3000);
	assert_int_equal(r.examples + r.holdout, r.seen);
	assert_int_equal(r.select.model.count + r.report.model.count, r.holdout);
	assert_int_equal(r.out_of_sample.model.count, r.examples);
	assert_true(r.loss_last < r.loss_first);
	assert_true(r.select.model.value > 0.95);
	assert_true(r.report.model.value > 0.95);
	assert_true(r.out_of_sample.model.value > 0.95);
	assert_true(fabs(r.out_of_sample.longest_wins.value - 0.5) < 0.05);
	assert_int_equal(r.out_of_sample.first_wins.count, 0);
	folder_end(&f);
	synthetic_release(&s);
}

static void test_permuted_labels_give_chance(void **state)
{
	struct sl_train_options o;
	struct sl_train_report r;
	struct synthetic s;
	struct folder f;

	(void)state;
	options_small(&o);
	synthetic_make(&s, 3000, 2, 500);
	folder_begin(&f);
	synthetic_train(&s, &o, folder_path(&f, "1"), &r);
	assert_true(fabs(r.out_of_sample.model.value - 0.5) < 0.05);
	assert_true(r.report.model.low < 0.5 && r.report.model.high > 0.5);
	assert_true(r.select.loss > 0.68); /* and the temperature makes it say so */
	folder_end(&f);
	synthetic_release(&s);
}

/* Cutting the stream into cache blocks reads it again, in another order of
 * shuffling, and is as deterministic. */
static void test_same_input_same_bits(void **state)
{
	static const int64_t caches[] = { (int64_t)256 << 20, 100000, 0 };
	struct sl_train_options o;
	struct sl_train_report r;
	struct synthetic s;
	struct folder f;

	(void)state;
	options_small(&o);
	synthetic_make(&s, 400, 3, 100);
	for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
		char first[2][65], second[2][65];

		o.cache_bytes = caches[i];
		folder_begin(&f);
		s.rewinds = 0;
		synthetic_train(&s, &o, folder_path(&f, "1"), &r);
		/* choosing L2, once (or once an epoch), then evaluation and cross-fitting */
		assert_int_equal(s.rewinds, (i == 0 ? 1 : o.epochs) + 3);
		synthetic_train(&s, &o, folder_path(&f, "2"), &r);
		sha256_of(&f, "1/weights.bin", first[0]);
		sha256_of(&f, "2/weights.bin", second[0]);
		sha256_of(&f, "1/config.json", first[1]);
		sha256_of(&f, "2/config.json", second[1]);
		assert_string_equal(first[0], second[0]);
		assert_string_equal(first[1], second[1]);
		o.seed++;
		synthetic_train(&s, &o, folder_path(&f, "3"), &r);
		sha256_of(&f, "3/weights.bin", second[0]);
		if (caches[i]) /* blocks of one example cannot be shuffled */
			assert_string_not_equal(first[0], second[0]);
		folder_end(&f);
	}
	synthetic_release(&s);
}

/* Leaving the held-out examples away altogether changes no weight. */
static void test_held_out_groups_never_train(void **state)
{
	struct sl_train_options o;
	struct sl_train_report r;
	struct synthetic s, rest;
	struct folder f;
	char with[65], without[65];

	(void)state;
	options_small(&o);
	synthetic_make(&s, 500, 4, 0);
	folder_begin(&f);
	synthetic_train(&s, &o, folder_path(&f, "1"), &r);
	assert_true(r.holdout > 75 && r.holdout < 250);

	rest = s;
	rest.pairs = sl_calloc(s.count, sizeof *rest.pairs);
	rest.count = 0;
	for (size_t i = 0; i < s.count; i++)
		if (sl_split_of(s.pairs[i].group) == SL_SPLIT_TRAIN)
			rest.pairs[rest.count++] = s.pairs[i];
	assert_int_equal(rest.count, r.examples);
	synthetic_train(&rest, &o, folder_path(&f, "2"), &r);
	assert_int_equal(r.holdout, 0);
	sha256_of(&f, "1/weights.bin", with);
	sha256_of(&f, "2/weights.bin", without);
	assert_string_equal(with, without);
	free(rest.pairs);
	folder_end(&f);
	synthetic_release(&s);
}

/* Labels that mean nothing are held down firmly; a given strength is left alone. */
static void test_l2_is_chosen(void **state)
{
	struct sl_train_options o;
	struct sl_train_report r[3];
	struct synthetic clear, random;
	struct folder f;
	struct sl_model *m;
	struct sl_error e;
	char chosen[65], given[65];

	(void)state;
	options_small(&o);
	synthetic_make(&clear, 1500, 14, 0);
	synthetic_make(&random, 1500, 15, 500);
	folder_begin(&f);
	synthetic_train(&clear, &o, folder_path(&f, "1"), &r[0]);
	synthetic_train(&random, &o, folder_path(&f, "2"), &r[1]);
	o.l2 = 7;
	synthetic_train(&random, &o, folder_path(&f, "3"), &r[2]);
	assert_true(r[0].l2_grams < r[1].l2_grams);
	assert_true(r[1].l2_style >= 300);
	assert_true(r[2].l2_grams == 7 && r[2].l2_style == 7);

	/* The version knows them, and the same strengths given by hand give the same weights. */
	m = sl_model_open(folder_path(&f, "1"), (struct sl_bytes){ NULL, 0 }, &e);
	assert_non_null(m);
	sl_model_strengths(m, &o.l2, &o.l2_style);
	sl_model_close(m);
	assert_true(o.l2 == r[0].l2_grams && o.l2_style == r[0].l2_style);
	synthetic_train(&clear, &o, folder_path(&f, "4"), &r[2]);
	sha256_of(&f, "1/weights.bin", chosen);
	sha256_of(&f, "4/weights.bin", given);
	assert_string_equal(chosen, given);
	folder_end(&f);
	synthetic_release(&clear);
	synthetic_release(&random);
}

struct margins {
	struct synthetic *s;
	size_t count, right, wrong_order;
	double at[600];
};

static void take_margin(void *arg, const struct sl_pair *p, double margin)
{
	struct margins *m = arg;

	m->wrong_order += p != &m->s->pairs[m->count];
	m->right += margin > 0;
	m->at[m->count++] = margin;
}

/* Every example once, in order; and no example of a fold has a say in the margins
 * of its own fold: swapping the labels of one whole fold negates them exactly. */
static void test_cross_fit(void **state)
{
	struct sl_train_options o;
	struct sl_error e;
	struct synthetic s;
	struct margins m, again;
	struct sl_examples examples;

	(void)state;
	options_small(&o);
	o.epochs = 6;
	o.l2 = 1; /* chosen, it is the one thing that a fold knows of itself */
	synthetic_make(&s, 600, 5, 0);
	examples = synthetic_examples(&s);
	m = (struct margins){ .s = &s };
	assert_true(sl_train_cross_fit(&o, &examples, &m, take_margin, &e));
	assert_int_equal(m.count, 600);
	assert_int_equal(m.wrong_order, 0);
	assert_in_range(m.right, 400, 600);
	for (size_t i = 0; i < s.count; i++)
		if (sl_fold_of(s.pairs[i].group, 5) == 2)
			s.pairs[i] = synthetic_swapped(&s.pairs[i]);
	again = (struct margins){ .s = &s };
	assert_true(sl_train_cross_fit(&o, &examples, &again, take_margin, &e));
	for (size_t i = 0; i < s.count; i++)
		if (sl_fold_of(s.pairs[i].group, 5) == 2)
			assert_true(again.at[i] == -m.at[i]);
	o.folds = 0;
	assert_false(sl_train_cross_fit(&o, &examples, &m, take_margin, &e));
	synthetic_release(&s);
}

static void test_bad_options(void **state)
{
	static const struct {
		struct sl_train_options o;
		const char *names;
	} rows[] = {
		{ { .epochs = 0, .columns_log2 = 18, .learning_rate = 1 }, "epochs" },
		{ { .epochs = 1, .columns_log2 = 40, .learning_rate = 1 }, "columns_log2" },
		{ { .epochs = 1, .columns_log2 = 18, .learning_rate = 0 }, "learning_rate" },
		{ { .epochs = 1, .columns_log2 = 18, .learning_rate = NAN }, "learning_rate" },
		{ { .epochs = 1, .columns_log2 = 18, .learning_rate = 1, .l2 = -1 }, "l2" },
		{ { .epochs = 1, .columns_log2 = 18, .learning_rate = 1, .folds = 1 }, "folds" },
		{ { .epochs = 1, .columns_log2 = 18, .learning_rate = 1, .cache_bytes = -1 }, "cache_bytes" },
	};
	struct synthetic none = { 0 };
	struct sl_examples examples = synthetic_examples(&none);
	struct sl_train_options o;
	struct sl_train_report r;
	struct sl_error e;
	struct folder f;

	(void)state;
	folder_begin(&f);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_false(sl_train_linear(&rows[i].o, &examples, &examples, folder_path(&f, "1"), NULL, &r, &e));
		assert_int_equal(e.verdict, SL_STOP);
		assert_non_null(strstr(e.text, rows[i].names));
	}
	options_small(&o);
	assert_false(sl_train_linear(&o, &examples, &examples, folder_path(&f, "1"), NULL, &r, &e));
	assert_non_null(strstr(e.text, "no examples"));
	assert_false(sl_train_linear(&o, &examples, &examples, folder_path(&f, "1"), "[1]", &r, &e));
	assert_false(sl_train_linear(&o, &examples, &examples, f.path, NULL, &r, &e));
	assert_non_null(strstr(e.text, "exists"));
	assert_int_not_equal(access(folder_path(&f, "1"), F_OK), 0);
	folder_end(&f);
}

static void test_report_is_json(void **state)
{
	struct sl_train_report r = { .examples = 3, .seconds = 1.5 };
	struct sl_buf text = { 0 };

	(void)state;
	r.select.model = sl_accuracy_of(2, 3);
	sl_train_report_json(&r, &text);
	assert_non_null(strstr(sl_buf_text(&text), "\"select\":{\"accuracy\":{\"count\":3,\"value\":0.666667,"));
	assert_null(strstr(sl_buf_text(&text), "seconds"));
	sl_buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_learns_a_planted_rule), cmocka_unit_test(test_permuted_labels_give_chance),
		cmocka_unit_test(test_same_input_same_bits),  cmocka_unit_test(test_held_out_groups_never_train),
		cmocka_unit_test(test_l2_is_chosen),          cmocka_unit_test(test_cross_fit),
		cmocka_unit_test(test_bad_options),           cmocka_unit_test(test_report_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
