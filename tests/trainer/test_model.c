/* test_model.c -- version folders: write, open, score, and everything that can be
 * wrong with one; the registry that lists them. */
#include "synthetic.h"

#include "../../trainer/evaluate.h"
#include "../../trainer/registry.h"

#include <errno.h>
#include <sys/stat.h>

struct fixture {
	struct synthetic s;
	struct folder f;
};

static int setup(void **state)
{
	struct fixture *x = sl_calloc(1, sizeof *x);
	struct sl_train_options o;
	struct sl_train_report r;

	sl_train_options_default(&o);
	o.columns_log2 = 12;
	synthetic_make(&x->s, 200, 1, 0);
	folder_begin(&x->f);
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/gold/1"), &r);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	folder_end(&x->f);
	synthetic_release(&x->s);
	free(x);
	return 0;
}

static struct sl_model *open_model(const struct fixture *x, const char *name)
{
	struct sl_error e = { 0 };
	struct sl_model *m = sl_model_open(folder_path(&x->f, name), (struct sl_bytes){ 0 }, &e);

	if (!m)
		fail_msg("%s", e.text);
	return m;
}

static void test_swap_negates_and_batches_agree(void **state)
{
	struct fixture *x = *state;
	struct sl_model *m = open_model(x, "models/gold/1");
	struct sl_reward whole[200], part[200], swapped;

	sl_model_score(m, x->s.pairs, 200, whole);
	for (size_t size = 1; size <= 200; size = 2 * size + 1) {
		for (size_t at = 0; at < 200; at += size)
			sl_model_score(m, x->s.pairs + at, at + size < 200 ? size : 200 - at, part + at);
		assert_memory_equal(part, whole, sizeof whole);
	}
	for (size_t i = 0; i < 200; i++) {
		struct sl_pair p = synthetic_swapped(&x->s.pairs[i]);

		sl_model_score(m, &p, 1, &swapped);
		assert_true(whole[i].chosen != 0);
		assert_true(whole[i].chosen == -whole[i].rejected);
		assert_true(swapped.chosen == whole[i].rejected);
		assert_true(swapped.rejected == whole[i].chosen);
	}
	sl_model_close(m);
}

static void test_several_models_at_once(void **state)
{
	struct fixture *x = *state;
	struct sl_train_options o;
	struct sl_train_report r;
	struct sl_reward all[3 * 50], one[50];
	struct sl_model *models[3];

	sl_train_options_default(&o);
	o.columns_log2 = 12;
	o.seed = 7;
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/best/1"), &r);
	o.columns_log2 = 10; /* reads other features */
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/best/2"), &r);
	models[0] = open_model(x, "models/gold/1");
	models[1] = open_model(x, "models/best/1");
	models[2] = open_model(x, "models/best/2");
	sl_models_score((const struct sl_model *const *)models, 3, x->s.pairs, 50, all);
	for (size_t k = 0; k < 3; k++) {
		sl_model_score(models[k], x->s.pairs, 50, one);
		for (size_t i = 0; i < 50; i++)
			assert_memory_equal(&all[3 * i + k], &one[i], sizeof *one);
		sl_model_close(models[k]);
	}
}

/* Same accuracy, loss and temperature from the folder as at training. */
static void test_reloaded_is_the_same(void **state)
{
	struct fixture *x = *state;
	struct sl_examples examples = synthetic_examples(&x->s);
	struct sl_train_options o;
	struct sl_train_report r;
	struct sl_evaluation v;
	struct sl_model *m;

	sl_train_options_default(&o);
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/gold/2"), &r);
	m = open_model(x, "models/gold/2");
	sl_evaluate(m, &examples, SL_SPLIT_SELECT, &v);
	assert_memory_equal(&v.mean_margin, &r.select.mean_margin, sizeof v.mean_margin);
	assert_memory_equal(&v.loss, &r.select.loss, sizeof v.loss);
	assert_true(v.model.value == r.select.model.value);
	sl_evaluate(m, &examples, SL_SPLIT_REPORT, &v);
	assert_memory_equal(&v.loss, &r.report.loss, sizeof v.loss);
	assert_true(sl_model_temperature(m) > 0);
	sl_model_close(m);
}

static void replace(const struct fixture *x, const char *name, struct sl_bytes data)
{
	struct sl_error e;

	assert_true(sl_file_replace(folder_path(&x->f, name), data, &e));
}

static void expect(const struct fixture *x, const char *sha256, enum sl_verdict verdict, const char *names,
		   const char *says)
{
	struct sl_error e = { 0 };

	assert_null(sl_model_open(folder_path(&x->f, "models/gold/1"), sl_text(sha256), &e));
	assert_int_equal(e.verdict, verdict);
	if (!strstr(e.text, names) || !strstr(e.text, says))
		fail_msg("'%s' must name '%s' and say '%s'", e.text, names, says);
}

static void test_broken_folders(void **state)
{
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	static const struct {
		const char *config, *says;
	} configs[] = {
		{ "", "line" },
		{ "[]", "object" },
		{ "{\"format\": 1,", "line" },
		{ "{\"format\": 2, \"kind\": \"linear\"}", "'format' must be 1" },
		{ "{\"format\": 1, \"kind\": \"forest\"}", "'kind' is 'forest'" },
		{ "{\"format\": 1, \"kind\": \"linear\", \"temperature\": 0}", "'temperature'" },
		{ "{\"format\": 1, \"kind\": \"linear\", \"temperature\": 1, \"weights\": 3}", "'weights'" },
		{ "{\"format\": 1, \"kind\": \"linear\", \"temperature\": 1, \"weights\": {\"sha256\": \"ab\"}}",
		  "'weights'" },
	};
	struct fixture *x = *state;
	struct sl_buf weights = { 0 }, config = { 0 };
	struct sl_error e;
	char hex[65];
	uint64_t size;

	assert_true(sl_file_read(folder_path(&x->f, "models/gold/1/weights.bin"), 1 << 20, &weights, &e));
	assert_true(sl_file_read(folder_path(&x->f, "models/gold/1/config.json"), 1 << 20, &config, &e));
	assert_true(sl_file_sha256(folder_path(&x->f, "models/gold/1/weights.bin"), hex, &size, &e));

	struct sl_model *m = sl_model_open(folder_path(&x->f, "models/gold/1"), sl_text(hex), &e);

	assert_non_null(m);
	sl_model_close(m);
	expect(x, zeros, SL_WAIT, "weights.bin", "expected 0000");
	expect(x, "short", SL_WAIT, "weights.bin", "expected short");
	/* one bit; a truncated file; a truncated file whose hash is right */
	weights.data[5000] ^= 1;
	replace(x, "models/gold/1/weights.bin", sl_buf_bytes(&weights));
	expect(x, NULL, SL_WAIT, "weights.bin", "sha256");
	weights.data[5000] ^= 1;
	replace(x, "models/gold/1/weights.bin", (struct sl_bytes){ weights.data, 1000 });
	expect(x, NULL, SL_WAIT, "weights.bin", "sha256");
	assert_true(sl_file_sha256(folder_path(&x->f, "models/gold/1/weights.bin"), hex, &size, &e));
	expect(x, hex, SL_STOP, "weights.bin", "1000 bytes long, expected");
	assert_int_equal(unlink(folder_path(&x->f, "models/gold/1/weights.bin")), 0);
	expect(x, NULL, SL_WAIT, "weights.bin", "missing");
	replace(x, "models/gold/1/weights.bin", sl_buf_bytes(&weights));
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
		replace(x, "models/gold/1/config.json", sl_text(configs[i].config));
		expect(x, NULL, SL_STOP, "config.json", configs[i].says);
	}
	assert_int_equal(unlink(folder_path(&x->f, "models/gold/1/config.json")), 0);
	expect(x, NULL, SL_WAIT, "config.json", "missing");
	replace(x, "models/gold/1/config.json", sl_buf_bytes(&config));
	sl_model_close(open_model(x, "models/gold/1"));
	sl_buf_release(&weights);
	sl_buf_release(&config);
}

static void test_registry(void **state)
{
	static const char *const strays[] = { "9.tmp-123", "07", "x", "0", "-3", "99999999999999999999", "12" };
	struct fixture *x = *state;
	struct sl_train_options o;
	struct sl_train_report r;
	struct sl_model_record m = { 0 };
	struct sl_error e;
	int64_t *versions;
	char path[128];

	sl_train_options_default(&o);
	o.columns_log2 = 10;
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/final/10"), &r);
	synthetic_train(&x->s, &o, folder_path(&x->f, "models/final/2"), &r);
	for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
		snprintf(path, sizeof path, "models/final/%s", strays[i]);
		assert_true(sl_folder_make(folder_path(&x->f, path), &e)); /* 12 has no config.json */
		snprintf(path, sizeof path, "models/final/%s/config.json", strays[i]);
		if (i < 6)
			replace(x, path, sl_text("{}"));
	}
	replace(x, "models/final/5", sl_text("a file"));
	assert_int_equal(sl_registry_list(x->f.path, "final", &versions), 2);
	assert_int_equal(versions[0], 2);
	assert_int_equal(versions[1], 10);
	free(versions);
	assert_int_equal(sl_registry_latest(x->f.path, "final"), 10);
	assert_int_equal(sl_registry_latest(x->f.path, "nothing"), 0);
	assert_true(sl_registry_describe(x->f.path, "final", 10, &x->s.arena, &m, &e));
	assert_true(sl_is(m.uri, "models/final/10"));
	assert_int_equal(m.version, 10);
	assert_int_equal(m.sha256.size, 64);
	assert_true(m.size_bytes > 4096);
	assert_non_null(memmem(m.report.data, m.report.size, "out_of_sample", 13));
	assert_false(sl_registry_describe(x->f.path, "final", 11, &x->s.arena, &m, &e));
	assert_int_equal(e.verdict, SL_WAIT);
	assert_non_null(strstr(e.text, "models/final/11/config.json"));
}

/* A training never changes a version that is there, and leaves no half of one. */
static void test_versions_are_not_replaced(void **state)
{
	struct fixture *x = *state;
	struct sl_examples examples = synthetic_examples(&x->s);
	struct sl_train_options o;
	struct sl_train_report r;
	struct sl_error e;

	sl_train_options_default(&o);
	o.columns_log2 = 10;
	assert_false(sl_train_linear(&o, &examples, &examples, folder_path(&x->f, "models/gold/1"), NULL, &r, &e));
	assert_non_null(strstr(e.text, "models/gold/1"));
	replace(x, "plain", sl_text("a file where a folder should be"));
	assert_false(sl_train_linear(&o, &examples, &examples, folder_path(&x->f, "plain/1"), NULL, &r, &e));
	assert_non_null(strstr(e.text, "plain"));
	assert_int_equal(r.examples + r.holdout, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_swap_negates_and_batches_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several_models_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reloaded_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_versions_are_not_replaced, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
