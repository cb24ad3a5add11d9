/* test_learner.c -- the loss, its gradient, one step, and the weights file. */
#include "synthetic.h"

#include "../../trainer/evaluate.h"
#include "../../trainer/learner.h"
#include "../../trainer/model_folder.h"

#include <math.h>

static void test_loss_and_slope(void **state)
{
	static const double margins[] = { -800, -30, -2, -0.1, 0, 0.1, 2, 30, 800 };

	(void)state;
	assert_true(fabs(sl_loss(0) - log(2)) < 1e-15);
	for (size_t i = 0; i < sizeof margins / sizeof *margins; i++) {
		double m = margins[i], h = 1e-5, numeric = (sl_loss(m + h) - sl_loss(m - h)) / (2 * h);

		assert_true(isfinite(sl_loss(m)) && sl_loss(m) >= 0);
		assert_true(fabs(numeric - sl_loss_slope(m)) < 1e-6);
	}
}

static const struct sl_l2 strengths[SL_LANES] = { { 0.5, 0.5 }, { 0, 0 }, { 100, 100 }, { 3, 7 } };

/* The gradient that a step adds up, against the loss of a moved weight. */
static void test_step_follows_the_gradient(void **state)
{
	struct synthetic s;
	struct sl_learner l;
	struct sl_linear model;
	struct sl_features f;
	double before, after, margins[SL_LANES];

	(void)state;
	synthetic_make(&s, 40, 9, 0);
	sl_learner_init(&l, 10, 0.1, strengths);
	for (size_t i = 0; i + 1 < s.count; i++) {
		sl_features_of(&s.pairs[i], 10, &s.arena, &f);
		sl_learner_step(&l, &f, SL_ALL_LANES, margins);
	}
	sl_features_of(&s.pairs[s.count - 1], 10, &s.arena, &f);
	sl_learner_model(&l, 0, &model);
	before = sl_linear_margin(&model, &f);

	struct sl_learner_column *was = sl_malloc(sl_columns(10) * sizeof *was);

	memcpy(was, l.columns, sl_columns(10) * sizeof *was);
	sl_learner_step(&l, &f, SL_ALL_LANES, margins);
	assert_true(fabs(margins[0] - before) < 1e-5);
	for (size_t i = 0; i < f.count; i++) {
		uint32_t c = f.columns[i];
		double weight = (double)model.weights[c], h = 1e-2, moved[2];

		for (int k = 0; k < 2; k++) {
			model.weights[c] = (float)(weight + (k ? h : -h));
			moved[k] = sl_loss(sl_linear_margin(&model, &f));
		}
		model.weights[c] = (float)weight;

		double numeric = (moved[1] - moved[0]) / (2 * h);
		/* n grew by the square of the gradient (McMahan et al. 2013, algorithm 1) */
		double grew = sqrt(fmax(0, (double)l.columns[c].n[0] - (double)was[c].n[0]));

		assert_true(fabs(fabs(numeric) - grew) < 1e-3 * (1 + grew));
	}
	free(model.weights);
	sl_learner_model(&l, 0, &model);
	after = sl_linear_margin(&model, &f);
	assert_true(after > before);
	free(model.weights);
	free(was);
	sl_learner_release(&l);
	synthetic_release(&s);
}

static void test_l2_holds_weights_small(void **state)
{
	double square[SL_LANES] = { 0 }, margins[SL_LANES];
	struct sl_learner l;
	struct synthetic s;

	(void)state;
	synthetic_make(&s, 100, 10, 0);
	sl_learner_init(&l, 10, 0.5, strengths);
	for (size_t i = 0; i < s.count; i++) {
		struct sl_features f;

		sl_features_of(&s.pairs[i], 10, &s.arena, &f);
		sl_learner_step(&l, &f, SL_ALL_LANES, margins);
	}
	for (uint32_t i = 0; i < sl_columns(10); i++)
		for (unsigned k = 0; k < SL_LANES; k++)
			square[k] += pow(sl_learner_weight(&l, k, i), 2);
	assert_true(square[2] < square[1] / 10); /* 100 against 0 */
	sl_learner_release(&l);
	synthetic_release(&s);
}

/* Side by side with others, leaving out other examples, a lane has the bits that it has alone. */
static void test_lanes_do_not_know_each_other(void **state)
{
	struct sl_learner together, alone;
	double margins[SL_LANES], other[SL_LANES];
	struct synthetic s;
	struct sl_features f;

	(void)state;
	synthetic_make(&s, 60, 11, 0);
	for (unsigned k = 0; k < SL_LANES; k++) {
		struct sl_l2 same[SL_LANES] = { strengths[k], strengths[k], strengths[k], strengths[k] };

		sl_learner_init(&together, 10, 0.1, strengths);
		sl_learner_init(&alone, 10, 0.1, same);
		for (size_t i = 0; i < s.count; i++) {
			sl_features_of(&s.pairs[i], 10, &s.arena, &f);
			sl_learner_step(&together, &f, SL_ALL_LANES & ~(1u << i % SL_LANES), margins);
			if (i % SL_LANES != k)
				sl_learner_step(&alone, &f, 1, other);
			else
				sl_learner_margins(&alone, &f, other);
			assert_memory_equal(&margins[k], &other[0], sizeof other[0]);
		}
		for (uint32_t c = 0; c < sl_columns(10); c++) {
			assert_memory_equal(&together.columns[c].z[k], &alone.columns[c].z[0], sizeof(float));
			assert_memory_equal(&together.columns[c].n[k], &alone.columns[c].n[0], sizeof(float));
			assert_true(alone.columns[c].n[1] == 0); /* it did not learn */
		}
		sl_learner_release(&together);
		sl_learner_release(&alone);
	}
	synthetic_release(&s);
}

static void test_weights_file(void **state)
{
	struct sl_linear l = { .columns_log2 = 8 }, back;
	struct sl_buf file = { 0 };
	struct sl_error e;

	(void)state;
	l.weights = sl_calloc(sl_columns(8), sizeof *l.weights);
	for (size_t i = 0; i < sl_columns(8); i++)
		l.weights[i] = (float)sin((double)i);
	sl_linear_encode(&l, &file);
	assert_true(sl_linear_decode(sl_buf_bytes(&file), &back, &e));
	assert_int_equal(back.columns_log2, 8);
	assert_memory_equal(back.weights, l.weights, sl_columns(8) * sizeof *l.weights);
	free(back.weights);
	/* Every shorter file is an error; so is a longer one. */
	for (size_t size = 0; size < file.size; size += size < 64 ? 1 : 997) {
		assert_false(sl_linear_decode((struct sl_bytes){ file.data, size }, &back, &e));
		assert_int_equal(e.verdict, SL_STOP);
	}
	sl_buf_add_byte(&file, 0);
	assert_false(sl_linear_decode(sl_buf_bytes(&file), &back, &e));
	file.size--;
	/* Every byte of the head counts. */
	for (size_t i = 0; i < 24; i++) {
		file.data[i] ^= 0x55;
		assert_false(sl_linear_decode(sl_buf_bytes(&file), &back, &e));
		file.data[i] ^= 0x55;
	}
	sl_put_le32(file.data + 24 + 4 * 7, 0x7fc00000); /* NaN */
	assert_false(sl_linear_decode(sl_buf_bytes(&file), &back, &e));
	assert_non_null(strstr(e.text, "weight 7"));
	free(l.weights);
	sl_buf_release(&file);
}

static void test_wilson(void **state)
{
	static const struct {
		double right;
		int64_t count;
		double low, high;
	} rows[] = { /* Wilson's interval as given by R's binom::binom.wilson */
		     { 0, 10, 0, 0.2775 },
		     { 5, 10, 0.2366, 0.7634 },
		     { 10, 10, 0.7225, 1 },
		     { 870, 1000, 0.8477, 0.8894 },
		     { 0, 0, 0, 1 }
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_accuracy a = sl_accuracy_of(rows[i].right, rows[i].count);

		assert_true(fabs(a.low - rows[i].low) < 1e-4);
		assert_true(fabs(a.high - rows[i].high) < 1e-4);
	}
}

static void test_temperature(void **state)
{
	static const double planted[] = { 0.25, 1, 4 };
	double margins[4000];
	uint64_t random = 1;

	(void)state;
	for (size_t row = 0; row < sizeof planted / sizeof *planted; row++) {
		for (size_t i = 0; i < 4000; i++) {
			/* margin x of an example that is right with sigmoid(x / T) */
			double x = (double)(sl_mix64(random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53 * 4 * planted[row];
			double u = (double)(sl_mix64(random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;

			margins[i] = u < sl_sigmoid(x / planted[row]) ? x : -x;
		}

		double t = sl_temperature_fit(margins, 4000);

		assert_true(fabs(log(t / planted[row])) < 0.15);
		assert_true(round(t * 1e6) / 1e6 == t);
	}
	assert_true(sl_temperature_fit(margins, 19) == 1);
	for (size_t i = 0; i < 4000; i++)
		margins[i] = 1;
	assert_true(fabs(sl_temperature_fit(margins, 4000) - SL_TEMPERATURE_MIN) < 1e-3);
	for (size_t i = 0; i < 4000; i++)
		margins[i] = -1;
	assert_true(fabs(sl_temperature_fit(margins, 4000) - SL_TEMPERATURE_MAX) < 1e-3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loss_and_slope),
		cmocka_unit_test(test_step_follows_the_gradient),
		cmocka_unit_test(test_l2_holds_weights_small),
		cmocka_unit_test(test_lanes_do_not_know_each_other),
		cmocka_unit_test(test_weights_file),
		cmocka_unit_test(test_wilson),
		cmocka_unit_test(test_temperature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
