/* test_sample.c -- the sample data are what they say: repeatable, with the shares
 * that were asked for, readable where they should be and broken where not. */
#include "sample.h"
#include "schemas/jsonl.h"
#include "topology/base/file.h"
#include "topology/base/text.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct sl_sample_plan small_plan(void)
{
	struct sl_sample_plan plan = sl_sample_plan_default();

	plan.pairs = 4000;
	plan.gold_copies = 0.02;
	return plan;
}

/* Everything about some lines as one run of bytes. */
static struct sl_buf bytes_of(const struct sl_sample_plan *plan, uint64_t from, uint64_t to)
{
	struct sl_sample s = { 0 };
	struct sl_buf out = { 0 };

	for (uint64_t i = from; i < to; i++) {
		sl_sample_make(plan, i, &s);
		sl_sample_write(plan, &s, &out);
		sl_sample_write_truth(plan, &s, &out);
	}
	sl_sample_release(&s);
	return out;
}

static void same_seed_same_bytes(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan(), other = plan;
	struct sl_buf all = bytes_of(&plan, 0, 300), again = bytes_of(&plan, 0, 150), rest = bytes_of(&plan, 150, 300);

	sl_buf_add_bytes(&again, sl_buf_bytes(&rest));
	assert_true(sl_bytes_equal(sl_buf_bytes(&all), sl_buf_bytes(&again)));
	other.seed++;
	sl_buf_release(&again);
	again = bytes_of(&other, 0, 300);
	assert_false(sl_bytes_equal(sl_buf_bytes(&all), sl_buf_bytes(&again)));
	sl_buf_release(&all);
	sl_buf_release(&again);
	sl_buf_release(&rest);
}

/* Within five standard deviations of the share of `of` lines. */
static void assert_share(uint64_t count, uint64_t of, double share)
{
	double expected = share * (double)of;

	if (fabs((double)count - expected) > 5 * sqrt(expected * (1 - share)) + 1)
		fail_msg("%lu of %lu, expected about %.0f", (unsigned long)count, (unsigned long)of, expected);
}

static void shares_are_as_asked(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 };
	struct sl_buf line = { 0 };
	uint64_t kinds[SL_SAMPLE_KINDS] = { 0 }, flipped = 0, longer = 0, answered = 0;

	for (uint64_t i = 0; i < plan.pairs; i++) {
		sl_sample_make(&plan, i, &s);
		sl_sample_write(&plan, &s, &line);
		kinds[s.kind]++;
		if (s.kind == SL_SAMPLE_PLAIN || s.kind == SL_SAMPLE_GOLD) {
			answered++;
			flipped += s.flipped;
			longer += s.better.size > s.worse.size;
		}
	}
	assert_share(kinds[SL_SAMPLE_GOLD], plan.pairs, plan.gold);
	assert_share(kinds[SL_SAMPLE_GOLD_COPY], plan.pairs, plan.gold_copies);
	assert_share(kinds[SL_SAMPLE_DUPLICATE], plan.pairs, plan.duplicates);
	assert_share(kinds[SL_SAMPLE_NEAR], plan.pairs, plan.near);
	assert_share(kinds[SL_SAMPLE_CONFLICT], plan.pairs, plan.conflicts);
	assert_share(kinds[SL_SAMPLE_CONTAMINATED], plan.pairs, plan.contaminated);
	assert_share(kinds[SL_SAMPLE_BROKEN], plan.pairs, plan.broken);
	assert_share(flipped, answered, plan.noise);
	assert_share(longer, answered, 0.5); /* length does not give it away */
	assert_true(fabs((double)line.size / (double)plan.pairs / (double)plan.mean_bytes - 1) < 0.05);
	sl_buf_release(&line);
	sl_sample_release(&s);
}

static const char *content(const json_t *object, const char *key)
{
	const json_t *messages = json_object_get(object, key);

	assert_true(json_array_size(messages) == 1);
	return json_string_value(json_object_get(json_array_get(messages, 0), "content"));
}

static void lines_are_valid(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 };
	struct sl_buf line = { 0 };

	for (uint64_t i = 0; i < plan.pairs; i++) {
		sl_sample_make(&plan, i, &s);
		if (s.kind == SL_SAMPLE_BROKEN)
			continue;
		sl_buf_clear(&line);
		sl_sample_write(&plan, &s, &line);

		size_t bad;

		assert_true(sl_utf8_valid(sl_buf_bytes(&line), &bad));
		assert_true(memchr(line.data, '\n', line.size) == line.data + line.size - 1);

		json_t *o = json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES, NULL);

		assert_non_null(o);

		const char *chosen = content(o, "chosen"), *rejected = content(o, "rejected");
		const json_t *prompt = json_object_get(o, "prompt");
		const json_t *last = json_array_get(prompt, json_array_size(prompt) - 1);

		assert_true(chosen && rejected && *chosen && *rejected && strcmp(chosen, rejected) != 0);
		assert_string_equal(json_string_value(json_object_get(last, "role")), "user");
		assert_true(json_is_string(json_object_get(o, "source")));
		assert_true(json_is_string(json_object_get(json_object_get(o, "meta"), "sample_id")));
		assert_int_equal(json_object_get(o, "label_arrived") != NULL, s.kind == SL_SAMPLE_GOLD);
		json_decref(o);
	}
	sl_buf_release(&line);
	sl_sample_release(&s);
}

static void broken_lines_are_broken(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 };
	struct sl_buf line = { 0 };
	unsigned met[SL_SAMPLE_DAMAGES] = { 0 };

	plan.broken = 1;
	plan.gold = plan.gold_copies = plan.duplicates = plan.near = plan.conflicts = plan.contaminated = 0;
	for (uint64_t i = 0; i < 200; i++) {
		sl_sample_make(&plan, i, &s);
		assert_int_equal(s.kind, SL_SAMPLE_BROKEN);
		met[s.damage]++;
		sl_buf_clear(&line);
		sl_sample_write(&plan, &s, &line);

		json_t *o = json_loadb((const char *)line.data, line.size, 0, NULL);
		const json_t *rejected = json_object_get(o, "rejected");

		if (s.damage == SL_DAMAGE_CUT || s.damage == SL_DAMAGE_UTF8 || s.damage == SL_DAMAGE_NUL)
			assert_null(o);
		else if (s.damage == SL_DAMAGE_KEY)
			assert_null(rejected);
		else if (s.damage == SL_DAMAGE_TYPE)
			assert_true(json_is_integer(rejected));
		else if (s.damage == SL_DAMAGE_EMPTY)
			assert_string_equal(content(o, "rejected"), "");
		else
			assert_string_equal(content(o, "rejected"), content(o, "chosen"));
		json_decref(o);
	}
	for (int i = 0; i < SL_SAMPLE_DAMAGES; i++)
		assert_true(met[i] > 0);
	sl_buf_release(&line);
	sl_sample_release(&s);
}

static void shorter_noise_prefers_the_shorter(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 };
	uint64_t flipped = 0;

	plan.noise_shorter = true;
	plan.noise = 0.3;
	plan.broken = plan.gold = plan.gold_copies = plan.duplicates = plan.near = plan.conflicts = plan.contaminated =
		0;
	for (uint64_t i = 0; i < plan.pairs; i++) {
		sl_sample_make(&plan, i, &s);
		flipped += s.flipped;
		assert_true(!s.flipped || s.worse.size < s.better.size);
	}
	assert_share(flipped, plan.pairs, plan.noise);
	sl_sample_release(&s);
}

/* Wrong labels of pairs that somebody else wrote: as many as asked, and where they were asked for. */
static void flips_are_where_asked(void **state)
{
	enum { LINES = 6000 };
	static const struct {
		const char *name;
		double shorter; /* of the pairs, those whose better answer is the shorter one */
		double longer;
		double among_shorter, among_rest; /* wrong labels */
	} rows[] = { { "evenly", 0.4, 0, 0.3, 0.3 },
		     { "longer", 0.4, 0.8, 0.6, 0.1 },
		     { "longer, few short", 0.1, 0.9, 0.95, 0.205 / 0.9 },
		     { "longer, none short", 0, 0.9, 0, 0.3 } };
	char folder[] = "/tmp/sluice-flip-XXXXXX", path[64];
	struct sl_error e;

	(void)state;
	assert_non_null(mkdtemp(folder));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_flip_plan plan = { .seed = 3, .share = 0.3, .longer = rows[i].longer };
		struct sl_flip_counts counts;
		struct sl_buf lines = { 0 };
		const char *file = path;
		uint64_t shorter = 0, shorter_wrong = 0, wrong = 0;
		double every = rows[i].shorter > 0 ? 1 / rows[i].shorter : LINES + 1;

		for (int line = 0; line < LINES; line++)
			sl_buf_print(&lines, "{\"prompt\": \"p%d\", \"chosen\": \"%s\", \"rejected\": \"other %d\"}\n",
				     line, fmod(line + 1, every) < 1 ? "one" : "one that is longer than the other",
				     line);
		snprintf(path, sizeof path, "%s/pairs.jsonl", folder);
		assert_true(sl_file_replace(path, sl_buf_bytes(&lines), &e));
		assert_true(sl_sample_flip(&plan, &file, 1, folder, &counts, &e));
		assert_int_equal(counts.raw, LINES);
		snprintf(path, sizeof path, "%s/truth.jsonl", folder);

		struct sl_truth *truth = sl_truth_load(path, &e);

		assert_non_null(truth);
		snprintf(path, sizeof path, "%s/raw.jsonl", folder);

		FILE *raw = fopen(path, "rb");
		json_t *o;

		assert_non_null(raw);
		while ((o = json_loadf(raw, JSON_DISABLE_EOF_CHECK, NULL))) {
			const char *chosen = json_string_value(json_object_get(o, "chosen"));
			const char *rejected = json_string_value(json_object_get(o, "rejected"));
			const char *id = json_string_value(json_object_get(json_object_get(o, "meta"), "sample_id"));
			int label = sl_truth_label(truth, sl_text(id), sl_text(chosen), sl_text(rejected));
			bool is_shorter = strcmp(label > 0 ? chosen : rejected, "one") == 0;

			assert_int_equal(sl_truth_label(truth, sl_text(id), sl_text(rejected), sl_text(chosen)),
					 -label);
			assert_int_not_equal(label, 0);
			shorter += is_shorter;
			wrong += label < 0;
			shorter_wrong += label < 0 && is_shorter;
			json_decref(o);
		}
		fclose(raw);
		assert_int_equal(wrong, counts.raw_flipped);
		assert_share(wrong, LINES, 0.3);
		assert_share(wrong - shorter_wrong, LINES - shorter, rows[i].among_rest);
		if (shorter)
			assert_share(shorter_wrong, shorter, rows[i].among_shorter);
		sl_truth_free(truth);
		sl_buf_release(&lines);
	}
	assert_true(sl_folder_remove(folder, &e));
}

static bool same_text(const struct sl_buf *a, const struct sl_buf *b)
{
	return sl_bytes_equal(sl_buf_bytes(a), sl_buf_bytes(b));
}

static void copies_are_copies(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 }, original = { 0 };

	for (uint64_t i = 0; i < plan.pairs; i++) {
		sl_sample_make(&plan, i, &s);
		if (s.of == s.index || s.kind == SL_SAMPLE_CONTAMINATED)
			continue;
		sl_sample_make(&plan, s.of, &original);
		assert_true(s.of < i);
		assert_int_equal(original.kind, s.kind == SL_SAMPLE_GOLD_COPY ? SL_SAMPLE_GOLD : SL_SAMPLE_PLAIN);
		assert_true(same_text(&s.prompt, &original.prompt));

		bool same = same_text(&s.better, &original.better) && same_text(&s.worse, &original.worse);

		assert_int_equal(same, s.kind != SL_SAMPLE_NEAR);
		assert_int_equal(s.flipped == original.flipped, s.kind != SL_SAMPLE_CONFLICT);
	}
	sl_sample_release(&s);
	sl_sample_release(&original);
}

/* Through the product's own reader and writer: good lines are one pair each, bad ones
 * are refused (or left to dedupe: empty and equal answers), copies have the same
 * pair_key, and labels are found again in what was exported. */
static void reader_agrees(void **state)
{
	(void)state;

	static const struct sl_keys keys;
	struct sl_sample_plan plan = small_plan();
	struct sl_sample s = { 0 };
	struct sl_buf line = { 0 }, exported = { 0 }, truth_lines = { 0 };
	struct sl_arena arena = { 0 };
	struct sl_error e;

	plan.pairs = 1500;
	plan.broken = 0.05;
	for (uint64_t i = 0; i < plan.pairs; i++) {
		struct sl_parsed parsed = { 0 }, of = { 0 };

		sl_arena_clear(&arena);
		sl_buf_clear(&line);
		sl_sample_make(&plan, i, &s);
		sl_sample_write(&plan, &s, &line);
		sl_sample_write_truth(&plan, &s, &truth_lines);

		bool read = sl_jsonl_parse((struct sl_bytes){ line.data, line.size - 1 }, &keys, &arena, &parsed, &e);
		bool refused = s.kind == SL_SAMPLE_BROKEN && s.damage != SL_DAMAGE_EMPTY && s.damage != SL_DAMAGE_EQUAL;

		if (read == refused)
			fail_msg("line %lu, %s %s: %s", (unsigned long)i, sl_sample_kind_names[s.kind],
				 sl_sample_damage_names[s.damage], read ? "was read" : e.text);
		if (!read)
			continue;
		assert_int_equal(parsed.pair_count, 1);
		assert_int_equal(parsed.tie_count, 0);
		if (s.kind == SL_SAMPLE_BROKEN)
			continue;
		assert_true(sl_is(parsed.pairs->source, s.source));
		if (s.kind == SL_SAMPLE_GOLD)
			assert_true(sl_is(parsed.pairs->gold.label_arrived, s.flipped ? "swapped" : "same"));
		sl_jsonl_write(parsed.pairs, i % 2 ? SL_FORMAT_IMPLICIT : SL_FORMAT_EXPLICIT, &exported);
		if (s.kind != SL_SAMPLE_DUPLICATE && s.kind != SL_SAMPLE_CONFLICT)
			continue;
		sl_sample_make(&plan, s.of, &s);
		sl_buf_clear(&line);
		sl_sample_write(&plan, &s, &line);
		assert_true(sl_jsonl_parse((struct sl_bytes){ line.data, line.size - 1 }, &keys, &arena, &of, &e));
		assert_true(sl_id_equal(of.pairs->pair_key, parsed.pairs->pair_key));
	}

	char folder[] = "/tmp/sluice-sample-XXXXXX", path[64];
	struct sl_precision p;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/truth.jsonl", folder);
	assert_true(sl_file_replace(path, sl_buf_bytes(&truth_lines), &e));

	struct sl_truth *truth = sl_truth_load(path, &e);

	assert_non_null(truth);
	snprintf(path, sizeof path, "%s/exported.jsonl", folder);
	assert_true(sl_file_replace(path, sl_buf_bytes(&exported), &e));
	assert_true(sl_truth_check(truth, path, &p, &e));
	assert_true(p.pairs > 1300 && p.unknown == 0);
	sl_truth_free(truth);
	assert_true(sl_folder_remove(folder, &e));
	sl_arena_release(&arena);
	sl_buf_release(&line);
	sl_buf_release(&exported);
	sl_buf_release(&truth_lines);
	sl_sample_release(&s);
}

/* The files, and the check of labels on them: raw shows the planted noise, gold
 * none, and a foreign or unreadable line is counted as unknown. */
static void precision_is_told(void **state)
{
	(void)state;

	struct sl_sample_plan plan = small_plan();
	char folder[] = "/tmp/sluice-sample-XXXXXX", path[64];
	struct sl_precision p;
	struct sl_error e;

	plan.pairs = 500;
	assert_non_null(mkdtemp(folder));
	assert_true(sl_sample_write_folder(&plan, folder, &e));
	snprintf(path, sizeof path, "%s/truth.jsonl", folder);

	struct sl_truth *truth = sl_truth_load(path, &e);

	assert_non_null(truth);
	snprintf(path, sizeof path, "%s/gold.jsonl", folder);
	assert_true(sl_truth_check(truth, path, &p, &e));
	assert_true(p.pairs > 50 && p.right == p.pairs && p.wrong == 0 && p.unknown == 0);
	assert_true(p.kinds[SL_SAMPLE_GOLD] == p.pairs);

	snprintf(path, sizeof path, "%s/raw.jsonl", folder);
	assert_true(sl_truth_check(truth, path, &p, &e));
	assert_true(p.wrong > 20 && p.right > 3 * p.wrong && p.unknown < 20);
	assert_true(p.right + p.wrong + p.unknown == p.pairs);

	snprintf(path, sizeof path, "%s/benchmark.jsonl", folder);
	assert_true(sl_truth_check(truth, path, &p, &e));
	assert_true(p.pairs == SL_SAMPLE_BENCHMARKS && p.unknown == p.pairs);
	assert_null(sl_truth_load(path, &e));
	assert_non_null(strstr(e.text, "truth.jsonl"));
	assert_false(sl_truth_check(truth, "/nowhere/at/all", &p, &e));
	sl_truth_free(truth);
	assert_true(sl_folder_remove(folder, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_bytes),  cmocka_unit_test(shares_are_as_asked),
		cmocka_unit_test(lines_are_valid),       cmocka_unit_test(broken_lines_are_broken),
		cmocka_unit_test(copies_are_copies),     cmocka_unit_test(shorter_noise_prefers_the_shorter),
		cmocka_unit_test(flips_are_where_asked), cmocka_unit_test(reader_agrees),
		cmocka_unit_test(precision_is_told),
	};

	return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
