/* flip.c -- a noisy set with a known truth, made of pairs somebody else wrote. See sample.h.
 *
 * The labels of the files are taken for the truth. Some pairs become gold: they keep
 * the true label and say how they would have arrived. Of all pairs a share arrives with the
 * answers swapped: evenly, or mostly where the truth is the shorter answer, as if whoever
 * labelled them liked length; for that the files are read once before, to count those. Who is gold
 * is drawn by prompt, so that no prompt is on both sides, or by line; all draws are hashes of
 * (seed, prompt or line number), so a set is a function of its plan and files alone. */
#include "sample.h"
#include "topology/base/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <zlib.h>

struct flip {
	const struct sl_flip_plan *plan;
	FILE *raw, *gold, *truth;   /* NULL while counting */
	uint64_t pairs, shorter;    /* counted: all, and those whose better answer is the shorter one */
	double of_shorter, of_rest; /* of such labels, wrong ones */
	uint64_t line;
	struct sl_flip_counts *counts;
};

/* Of the labels where the truth is the shorter answer, at most so many are wrong. */
#define SHORTER_MOST 0.95

/* A number in [0, 1), the same for the same seed, purpose and bytes. */
static double draw(const struct flip *f, uint64_t purpose, const void *data, size_t size)
{
	return (double)(sl_hash64(data, size, f->plan->seed * 2 + purpose) >> 11) * 0x1p-53;
}

static const char *answer_of(const json_t *object, const char *key, size_t *size)
{
	const json_t *answer = json_object_get(object, key);

	if (json_is_array(answer))
		answer = json_object_get(json_array_get(answer, json_array_size(answer) - 1), "content");
	*size = json_string_length(answer);
	return json_string_value(answer);
}

static bool is_gold(const struct flip *f, const json_t *object)
{
	char *prompt;
	bool gold;

	if (f->plan->gold_by_line || !json_object_get(object, "prompt"))
		return draw(f, 0, &f->line, sizeof f->line) < f->plan->gold;
	prompt = json_dumps(json_object_get(object, "prompt"), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	gold = draw(f, 0, prompt, strlen(prompt)) < f->plan->gold;
	free(prompt);
	return gold;
}

/* Has the better answer fewer bytes than the other one? */
static bool truth_is_shorter(const json_t *object)
{
	size_t better = 0, worse = 0;

	answer_of(object, "chosen", &better);
	answer_of(object, "rejected", &worse);
	return better < worse;
}

/* The shares of wrong labels that give plan->share of all. */
static void spread(struct flip *f)
{
	double shorter = f->pairs ? (double)f->shorter / (double)f->pairs : 0;

	f->of_shorter = f->of_rest = f->plan->share;
	if (f->plan->longer == 0 || shorter == 0 || shorter == 1)
		return;
	f->of_shorter = f->plan->longer * f->plan->share / shorter;
	if (f->of_shorter > SHORTER_MOST)
		f->of_shorter = SHORTER_MOST;
	f->of_rest = (f->plan->share - f->of_shorter * shorter) / (1 - shorter);
}

static void put_truth(struct flip *f, const char *id, const json_t *object, bool gold, bool flipped)
{
	size_t better_size, worse_size;
	const char *better = answer_of(object, "chosen", &better_size);
	const char *worse = answer_of(object, "rejected", &worse_size);

	fprintf(f->truth,
		"{\"sample_id\": \"%s\", \"kind\": \"%s\", \"label\": \"%s\", \"better\": \"%016" PRIx64
		"\", \"worse\": \"%016" PRIx64 "\"}\n",
		id, sl_sample_kind_names[gold ? SL_SAMPLE_GOLD : SL_SAMPLE_PLAIN], flipped ? "flipped" : "right",
		sl_hash64(better, better_size, 0), sl_hash64(worse, worse_size, 0));
}

static void put_pair(struct flip *f, json_t *object)
{
	double wrong = truth_is_shorter(object) ? f->of_shorter : f->of_rest;
	bool gold = is_gold(f, object), flipped = draw(f, 1, &f->line, sizeof f->line) < wrong;
	json_t *meta = json_object_get(object, "meta");
	FILE *to = gold ? f->gold : f->raw;
	char id[48];

	snprintf(id, sizeof id, "f%" PRIu64 "-%07" PRIu64, f->plan->seed, f->line);
	put_truth(f, id, object, gold, flipped);
	if (!json_is_object(meta)) {
		meta = json_object();
		json_object_set_new(object, "meta", meta);
	}
	json_object_set_new(meta, "sample_id", json_string(id));
	if (gold) {
		json_object_set_new(object, "label_arrived", json_string(flipped ? "swapped" : "same"));
		json_object_set_new(object, "sample", json_string("random"));
		f->counts->gold++;
	} else {
		f->counts->raw++;
		f->counts->raw_flipped += flipped;
	}
	if (flipped && !gold) {
		json_t *chosen = json_incref(json_object_get(object, "chosen"));

		json_object_set(object, "chosen", json_object_get(object, "rejected"));
		json_object_set_new(object, "rejected", chosen);
	}
	json_dumpf(object, to, JSON_COMPACT);
	putc('\n', to);
}

/* One line without its newline. What is not a pair goes on as it is. */
static void put_line(struct flip *f, const struct sl_buf *line)
{
	json_t *object = json_loadb((const char *)line->data, line->size, 0, NULL);
	size_t ignored;
	bool pair = answer_of(object, "chosen", &ignored) && answer_of(object, "rejected", &ignored);

	if (!f->raw) {
		f->pairs += pair;
		f->shorter += pair && truth_is_shorter(object);
	} else if (pair) {
		put_pair(f, object);
	} else {
		fwrite(line->data, 1, line->size, f->raw);
		putc('\n', f->raw);
		f->counts->others++;
	}
	json_decref(object);
	f->line++;
}

/* Plain or gzip: zlib reads both. */
static bool put_file(struct flip *f, const char *path, struct sl_error *e)
{
	struct sl_buf line = { 0 };
	gzFile file = gzopen(path, "rb");
	char piece[65536];
	int status;

	if (!file)
		return sl_error_errno(e, SL_STOP, "cannot read '%s'", path);
	while (gzgets(file, piece, sizeof piece)) {
		size_t size = strlen(piece);
		bool ended = size && piece[size - 1] == '\n';

		sl_buf_add(&line, piece, size - ended);
		if (ended) {
			put_line(f, &line);
			sl_buf_clear(&line);
		}
	}
	if (line.size)
		put_line(f, &line);
	sl_buf_release(&line);
	gzerror(file, &status);
	gzclose(file);
	return status == Z_OK || status == Z_STREAM_END ||
	       sl_error_set(e, SL_STOP, "'%s' is damaged: expected lines of JSON, plain or gzip", path);
}

static FILE *create(const char *folder, const char *name, struct sl_error *e)
{
	struct sl_buf path = { 0 };
	FILE *file;

	sl_buf_print(&path, "%s/%s", folder, name);
	file = fopen(sl_buf_text(&path), "wb");
	if (!file)
		sl_error_errno(e, SL_STOP, "cannot create '%s'", sl_buf_text(&path));
	sl_buf_release(&path);
	return file;
}

static bool finish(FILE *file, bool done, const char *folder, struct sl_error *e)
{
	bool written = !file || !ferror(file);

	if (file && fclose(file) != 0)
		written = false;
	if (done && !written)
		return sl_error_errno(e, SL_STOP, "cannot write into '%s'", folder);
	return done;
}

bool sl_sample_flip(const struct sl_flip_plan *plan, const char *const *files, size_t count, const char *folder,
		    struct sl_flip_counts *counts, struct sl_error *e)
{
	struct flip f = { .plan = plan, .counts = counts };
	bool done;

	*counts = (struct sl_flip_counts){ 0 };
	for (size_t i = 0; plan->longer > 0 && i < count; i++)
		if (!put_file(&f, files[i], e))
			return false;
	spread(&f);
	f.line = 0;
	if (!sl_folder_make(folder, e))
		return false;
	done = (f.raw = create(folder, "raw.jsonl", e)) && (f.gold = create(folder, "gold.jsonl", e)) &&
	       (f.truth = create(folder, "truth.jsonl", e));
	for (size_t i = 0; done && i < count; i++)
		done = put_file(&f, files[i], e);
	done = finish(f.raw, done, folder, e);
	done = finish(f.gold, done, folder, e);
	return finish(f.truth, done, folder, e);
}
