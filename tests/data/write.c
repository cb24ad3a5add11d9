/* write.c -- sample lines as JSON, and the folder that holds them. See sample.h. */
#include "sample.h"
#include "topology/base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void put(struct sl_buf *to, const char *text)
{
	sl_buf_add(to, text, strlen(text));
}

/* Our own text: valid UTF-8, and of the control characters only the newline. */
static void put_string(struct sl_buf *to, const void *data, size_t size)
{
	const uint8_t *from = data, *end = from + size;

	sl_buf_add_byte(to, '"');
	while (from < end) {
		const uint8_t *run = from;

		while (from < end && *from != '"' && *from != '\\' && *from != '\n')
			from++;
		sl_buf_add(to, run, (size_t)(from - run));
		if (from < end) {
			sl_buf_add_byte(to, '\\');
			sl_buf_add_byte(to, *from == '\n' ? 'n' : *from);
			from++;
		}
	}
	sl_buf_add_byte(to, '"');
}

static void put_message(struct sl_buf *to, const char *role, const void *content, size_t size)
{
	sl_buf_print(to, "{\"role\": \"%s\", \"content\": ", role);
	put_string(to, content, size);
	put(to, "}");
}

static void put_answer(struct sl_buf *to, const char *key, const struct sl_buf *text)
{
	sl_buf_print(to, ", \"%s\": [", key);
	put_message(to, "assistant", text->data, text->size);
	put(to, "]");
}

static void put_damaged_answer(struct sl_buf *to, const struct sl_sample *s, const struct sl_buf *first,
			       const struct sl_buf *second)
{
	const struct sl_buf nothing = { .data = (uint8_t *)"", .size = 0 };

	switch (s->damage) {
	case SL_DAMAGE_KEY:
		break;
	case SL_DAMAGE_TYPE:
		put(to, ", \"rejected\": 17");
		break;
	case SL_DAMAGE_EQUAL:
		put_answer(to, "rejected", first);
		break;
	case SL_DAMAGE_EMPTY:
		put_answer(to, "rejected", &nothing);
		break;
	case SL_DAMAGE_NUL:
		put(to, ", \"rejected\": [{\"role\": \"assistant\", \"content\": \"nothing\\u0000here\"}]");
		break;
	case SL_DAMAGE_UTF8:
		put(to, ", \"rejected\": [{\"role\": \"assistant\", \"content\": \"caf\xe9 \xc0\xaf\"}]");
		break;
	default:
		put_answer(to, "rejected", second);
	}
}

void sl_sample_write_benchmark(const struct sl_sample *s, struct sl_buf *to)
{
	sl_buf_print(to, "{\"id\": \"bench-%" PRIu64 "\", \"prompt\": [", s->index);
	put_message(to, "user", s->prompt.data, s->prompt.size);
	put(to, "]");
	put_answer(to, "chosen", &s->better);
	put_answer(to, "rejected", &s->worse);
	sl_buf_print(to, ", \"source\": \"benchmark\", \"meta\": {\"domain\": \"%s\"}}\n", s->domain);
}

void sl_sample_id(const struct sl_sample_plan *plan, uint64_t index, char to[48])
{
	snprintf(to, 48, "s%" PRIu64 "-%07" PRIu64, plan->seed, index);
}

void sl_sample_write(const struct sl_sample_plan *plan, const struct sl_sample *s, struct sl_buf *to)
{
	bool gold = s->kind == SL_SAMPLE_GOLD, swapped = s->flipped && !gold;
	const struct sl_buf *chosen = swapped ? &s->worse : &s->better;
	const struct sl_buf *rejected = swapped ? &s->better : &s->worse;
	size_t start = to->size;
	char id[48];

	put(to, "{\"prompt\": [");
	for (size_t i = 0; i < s->turn_count; i++) {
		if (i > 0)
			put(to, ", ");
		put_message(to, s->turns[i].role, s->prompt.data + s->turns[i].start, s->turns[i].size);
	}
	put(to, "]");
	put_answer(to, "chosen", chosen);
	if (s->kind == SL_SAMPLE_BROKEN)
		put_damaged_answer(to, s, chosen, rejected);
	else
		put_answer(to, "rejected", rejected);
	sl_sample_id(plan, s->index, id);
	sl_buf_print(to,
		     ", \"source\": \"%s\", \"meta\": {\"label\": \"%s\", \"domain\": \"%s\", \"sample_id\": \"%s\"}",
		     s->source, s->label, s->domain, id);
	if (gold)
		sl_buf_print(to, ", \"label_arrived\": \"%s\", \"sample\": \"random\"",
			     s->flipped ? "swapped" : "same");
	put(to, "}");
	if (s->kind == SL_SAMPLE_BROKEN && s->damage == SL_DAMAGE_CUT)
		to->size = start + (to->size - start) / 2;
	put(to, "\n");
}

void sl_sample_write_truth(const struct sl_sample_plan *plan, const struct sl_sample *s, struct sl_buf *to)
{
	char id[48], of[48];

	sl_sample_id(plan, s->index, id);
	sl_sample_id(plan, s->of, of);
	sl_buf_print(to, "{\"sample_id\": \"%s\", \"kind\": \"%s\"", id, sl_sample_kind_names[s->kind]);
	if (s->kind == SL_SAMPLE_BROKEN) {
		sl_buf_print(to, ", \"why\": \"%s\"}\n", sl_sample_damage_names[s->damage]);
		return;
	}
	if (s->kind == SL_SAMPLE_CONTAMINATED)
		sl_buf_print(to, ", \"of\": \"bench-%" PRIu64 "\"", s->of);
	else if (s->of != s->index)
		sl_buf_print(to, ", \"of\": \"%s\"", of);
	sl_buf_print(to, ", \"label\": \"%s\", \"better\": \"%016" PRIx64 "\", \"worse\": \"%016" PRIx64 "\"}\n",
		     s->flipped ? "flipped" : "right", sl_hash64(s->better.data, s->better.size, 0),
		     sl_hash64(s->worse.data, s->worse.size, 0));
}

/* The files of a set. */
enum { RAW, GOLD, BENCHMARK, TRUTH, FILES };
static const char *const file_names[FILES] = { "raw.jsonl", "gold.jsonl", "benchmark.jsonl", "truth.jsonl" };

struct counts {
	uint64_t kinds[SL_SAMPLE_KINDS], damages[SL_SAMPLE_DAMAGES];
	uint64_t lines[FILES], bytes[FILES];
	uint64_t flipped_raw, flipped_gold, better_longer, answers;
};

static bool flush(FILE *file, int which, struct sl_buf *line, struct counts *c, struct sl_error *e)
{
	c->lines[which]++;
	c->bytes[which] += line->size;
	if (fwrite(line->data, 1, line->size, file) != line->size)
		return sl_error_errno(e, SL_STOP, "cannot write '%s'", file_names[which]);
	sl_buf_clear(line);
	return true;
}

static bool write_lines(const struct sl_sample_plan *plan, FILE *const files[FILES], struct counts *c,
			struct sl_error *e)
{
	struct sl_sample s = { 0 };
	struct sl_buf line = { 0 };
	bool done = false;

	for (uint64_t i = 0; i < plan->pairs; i++) {
		sl_sample_make(plan, i, &s);

		int which = s.kind == SL_SAMPLE_GOLD ? GOLD : RAW;

		c->kinds[s.kind]++;
		if (s.kind == SL_SAMPLE_BROKEN) {
			c->damages[s.damage]++;
		} else {
			*(which == GOLD ? &c->flipped_gold : &c->flipped_raw) += s.flipped;
			c->better_longer += s.better.size > s.worse.size;
			c->answers++;
		}
		sl_sample_write(plan, &s, &line);
		if (!flush(files[which], which, &line, c, e))
			goto out;
		sl_sample_write_truth(plan, &s, &line);
		if (!flush(files[TRUTH], TRUTH, &line, c, e))
			goto out;
	}
	for (uint64_t i = 0; i < SL_SAMPLE_BENCHMARKS; i++) {
		sl_sample_make_benchmark(plan, i, &s);
		sl_sample_write_benchmark(&s, &line);
		if (!flush(files[BENCHMARK], BENCHMARK, &line, c, e))
			goto out;
	}
	done = true;
out:
	sl_sample_release(&s);
	sl_buf_release(&line);
	return done;
}

static void write_summary(const struct sl_sample_plan *plan, const struct counts *c, struct sl_buf *to)
{
	uint64_t raw_labels = c->lines[RAW] - c->kinds[SL_SAMPLE_BROKEN];
	uint64_t lines = c->lines[RAW] + c->lines[GOLD];

	sl_buf_print(to, "{\n  \"seed\": %" PRIu64 ", \"pairs\": %" PRIu64 ",\n", plan->seed, plan->pairs);
	for (int i = 0; i < FILES; i++)
		sl_buf_print(to, "  \"%s\": {\"lines\": %" PRIu64 ", \"bytes\": %" PRIu64 "},\n", file_names[i],
			     c->lines[i], c->bytes[i]);
	put(to, "  \"kinds\": {");
	for (int i = 0; i < SL_SAMPLE_KINDS; i++)
		sl_buf_print(to, "%s\"%s\": %" PRIu64, i ? ", " : "", sl_sample_kind_names[i], c->kinds[i]);
	put(to, "},\n  \"broken\": {");
	for (int i = 0; i < SL_SAMPLE_DAMAGES; i++)
		sl_buf_print(to, "%s\"%s\": %" PRIu64, i ? ", " : "", sl_sample_damage_names[i], c->damages[i]);
	sl_buf_print(to, "},\n  \"wrong_labels_raw\": %" PRIu64 ", \"wrong_labels_gold_arrived\": %" PRIu64 ",\n",
		     c->flipped_raw, c->flipped_gold);
	sl_buf_print(to, "  \"label_precision_raw\": %.4f, \"better_is_longer\": %.4f, \"mean_line_bytes\": %.0f\n}\n",
		     raw_labels ? 1 - (double)c->flipped_raw / (double)raw_labels : 0,
		     c->answers ? (double)c->better_longer / (double)c->answers : 0,
		     lines ? (double)(c->bytes[RAW] + c->bytes[GOLD]) / (double)lines : 0);
}

static void path_of(struct sl_buf *path, const char *folder, const char *name)
{
	sl_buf_clear(path);
	sl_buf_print(path, "%s/%s", folder, name);
}

bool sl_sample_write_folder(const struct sl_sample_plan *plan, const char *folder, struct sl_error *e)
{
	FILE *files[FILES] = { 0 };
	struct sl_buf path = { 0 }, summary = { 0 };
	struct counts counts = { 0 };
	bool done = false;

	if (!sl_folder_make(folder, e))
		return false;
	for (int i = 0; i < FILES; i++) {
		path_of(&path, folder, file_names[i]);
		files[i] = fopen(sl_buf_text(&path), "wb");
		if (!files[i]) {
			sl_error_errno(e, SL_STOP, "cannot write '%s'", sl_buf_text(&path));
			goto out;
		}
	}
	if (!write_lines(plan, files, &counts, e))
		goto out;
	for (int i = 0; i < FILES; i++) {
		FILE *file = files[i];

		files[i] = NULL;
		if (fclose(file) != 0) {
			sl_error_errno(e, SL_STOP, "cannot write '%s/%s'", folder, file_names[i]);
			goto out;
		}
	}
	write_summary(plan, &counts, &summary);
	path_of(&path, folder, "summary.json");
	done = sl_file_replace(sl_buf_text(&path), sl_buf_bytes(&summary), e);
out:
	for (int i = 0; i < FILES; i++)
		if (files[i])
			fclose(files[i]);
	sl_buf_release(&path);
	sl_buf_release(&summary);
	return done;
}
