/* precision.c -- compares exported pairs with truth.jsonl. See sample.h.
 *
 * An exported pair is found by meta.sample_id. Its label is right when the last
 * message of `chosen` is the answer that the generator made better, told by its
 * hash: so it does not matter whether somebody flipped the pair in between. */
#include "sample.h"
#include "topology/base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
	uint64_t id, better, worse; /* hashes */
	enum sl_sample_kind kind;
};

struct sl_truth {
	struct row *rows; /* sorted by id */
	size_t count, room;
};

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Calls `each` for every line that is a JSON object, with NULL for one that is not. */
static bool each_line(const char *path, void (*each)(void *arg, const json_t *object), void *arg, struct sl_error *e)
{
	FILE *file = fopen(path, "rb");
	char *line = NULL;
	size_t room = 0;
	ssize_t size;

	if (!file)
		return sl_error_errno(e, SL_STOP, "cannot read '%s'", path);
	while ((size = getline(&line, &room, file)) >= 0) {
		json_t *object = json_loadb(line, (size_t)size, 0, NULL);

		each(arg, json_is_object(object) ? object : NULL);
		json_decref(object);
	}

	bool failed = ferror(file);

	free(line);
	fclose(file);
	return !failed || sl_error_errno(e, SL_STOP, "cannot read '%s'", path);
}

static uint64_t text_hash(const json_t *text)
{
	return sl_hash64(json_string_value(text), json_string_length(text), 0);
}

static void add_row(void *arg, const json_t *object)
{
	struct sl_truth *truth = arg;
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *better = json_string_value(json_object_get(object, "better"));
	const char *worse = json_string_value(json_object_get(object, "worse"));
	const json_t *id = json_object_get(object, "sample_id");
	struct row row = { 0 };

	if (!kind || !json_is_string(id))
		return;
	while (row.kind < SL_SAMPLE_KINDS && strcmp(sl_sample_kind_names[row.kind], kind) != 0)
		row.kind++;
	if (row.kind == SL_SAMPLE_KINDS)
		return;
	row.id = text_hash(id);
	row.better = better ? strtoull(better, NULL, 16) : 0;
	row.worse = worse ? strtoull(worse, NULL, 16) : 0;
	if (truth->count == truth->room) {
		truth->room = truth->room ? truth->room * 2 : 1024;
		truth->rows = sl_realloc(truth->rows, truth->room * sizeof row);
	}
	truth->rows[truth->count++] = row;
}

struct sl_truth *sl_truth_load(const char *path, struct sl_error *e)
{
	struct sl_truth *truth = sl_calloc(1, sizeof *truth);

	if (!each_line(path, add_row, truth, e)) {
		sl_truth_free(truth);
		return NULL;
	}
	if (truth->count == 0) {
		sl_error_set(e, SL_STOP, "no truth in '%s': expected the truth.jsonl that sluice-sample wrote", path);
		sl_truth_free(truth);
		return NULL;
	}
	qsort(truth->rows, truth->count, sizeof *truth->rows, compare_rows);
	return truth;
}

void sl_truth_free(struct sl_truth *truth)
{
	if (!truth)
		return;
	free(truth->rows);
	free(truth);
}

/* The answer: a text, or the content of the last message. */
static const json_t *answer_of(const json_t *object, const char *key)
{
	const json_t *answer = json_object_get(object, key);

	if (json_is_array(answer))
		answer = json_object_get(json_array_get(answer, json_array_size(answer) - 1), "content");
	return json_is_string(answer) ? answer : NULL;
}

static const struct row *find(const struct sl_truth *truth, struct sl_bytes sample_id)
{
	struct row wanted = { .id = sl_hash64(sample_id.data, sample_id.size, 0) };

	return bsearch(&wanted, truth->rows, truth->count, sizeof wanted, compare_rows);
}

int sl_truth_label(const struct sl_truth *truth, struct sl_bytes sample_id, struct sl_bytes chosen,
		   struct sl_bytes rejected)
{
	const struct row *row = find(truth, sample_id);
	uint64_t first = sl_hash64(chosen.data, chosen.size, 0), second = sl_hash64(rejected.data, rejected.size, 0);

	if (row && row->better == first && row->worse == second)
		return 1;
	return row && row->worse == first && row->better == second ? -1 : 0;
}

struct check {
	const struct sl_truth *truth;
	struct sl_precision *precision;
};

static struct sl_bytes bytes_of(const json_t *text)
{
	return (struct sl_bytes){ json_string_value(text), json_string_length(text) };
}

static void check_pair(void *arg, const json_t *object)
{
	struct check *c = arg;
	const json_t *id = json_object_get(json_object_get(object, "meta"), "sample_id");
	const json_t *chosen = answer_of(object, "chosen"), *rejected = answer_of(object, "rejected");
	int label = 0;

	c->precision->pairs++;
	if (json_is_string(id) && chosen && rejected)
		label = sl_truth_label(c->truth, bytes_of(id), bytes_of(chosen), bytes_of(rejected));
	c->precision->right += label > 0;
	c->precision->wrong += label < 0;
	c->precision->unknown += label == 0;
	if (label)
		c->precision->kinds[find(c->truth, bytes_of(id))->kind]++;
}

bool sl_truth_check(const struct sl_truth *truth, const char *file, struct sl_precision *p, struct sl_error *e)
{
	struct check check = { truth, p };

	*p = (struct sl_precision){ 0 };
	return each_line(file, check_pair, &check, e);
}
