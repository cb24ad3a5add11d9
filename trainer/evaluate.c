/* evaluate.c -- how good a model is, next to what needs no model at all.
 *
 * A pairwise accuracy says little alone: where people mostly chose the longer
 * answer, so does any model. Hence the two null baselines, longest-wins and
 * first-wins, in every report. Everything here sees margins oriented to the
 * preferred answer: positive is right. Nothing is shared, any thread. */
#include "evaluate.h"
#include "learner.h"
#include "model_folder.h"

#include <math.h>
#include <stdlib.h>

#define CALIBRATION_LEAST 20
#define GROUPS_LEAST 10 /* with fewer their spread says little */
#define Z 1.959963984540054

static double half_ties(double difference)
{
	return difference > 0 ? 1 : difference < 0 ? 0 : 0.5;
}

int sl_preferred_position(struct sl_bytes meta)
{
	int position = 0;

	if (!meta.size || !memmem(meta.data, meta.size, "preferred_position", 18))
		return 0;

	json_t *json = json_loadb(meta.data, meta.size, 0, NULL);
	json_t *value = json_object_get(json, "preferred_position");

	if (json_is_integer(value) && (json_integer_value(value) == 1 || json_integer_value(value) == 2))
		position = (int)json_integer_value(value);
	json_decref(json);
	return position;
}

void sl_tally_add(struct sl_tally *t, const struct sl_pair *p, double margin)
{
	int position = sl_preferred_position(p->meta);

	if (t->count == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 256;
		t->groups = sl_realloc(t->groups, t->capacity * sizeof *t->groups);
		t->margins = sl_realloc(t->margins, t->capacity * sizeof *t->margins);
		t->longest = sl_realloc(t->longest, t->capacity * sizeof *t->longest);
		t->first = sl_realloc(t->first, t->capacity * sizeof *t->first);
	}
	t->groups[t->count] = p->group;
	t->margins[t->count] = margin;
	t->longest[t->count] = sl_pair_length_sign(p);
	t->first[t->count++] = position == 1 ? 1 : position == 2 ? -1 : 0;
}

/* Of those pairs alone where somebody knows. */
static struct sl_accuracy first_wins(const struct sl_tally *t)
{
	struct sl_id *groups = sl_malloc((t->count + 1) * sizeof *groups);
	double *first = sl_malloc((t->count + 1) * sizeof *first);
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++) {
		if (t->first[i] == 0)
			continue;
		groups[n] = t->groups[i];
		first[n++] = t->first[i];
	}

	struct sl_accuracy result = sl_accuracy_clustered(groups, first, n);

	free(groups);
	free(first);
	return result;
}

void sl_tally_end(const struct sl_tally *t, double temperature, struct sl_evaluation *out)
{
	double margins = 0, loss = 0;

	for (size_t i = 0; i < t->count; i++) {
		margins += t->margins[i];
		loss += sl_loss(t->margins[i] / temperature);
	}
	*out = (struct sl_evaluation){
		.model = sl_accuracy_clustered(t->groups, t->margins, t->count),
		.longest_wins = sl_accuracy_clustered(t->groups, t->longest, t->count),
		.first_wins = first_wins(t),
		.mean_margin = t->count ? margins / (double)t->count : 0,
		.loss = t->count ? loss / (double)t->count : 0,
	};
}

void sl_tally_release(struct sl_tally *t)
{
	free(t->groups);
	free(t->margins);
	free(t->longest);
	free(t->first);
	*t = (struct sl_tally){ 0 };
}

/* Wilson's interval as if there were `independent` pairs; `z` is how many standard deviations it spans to each side. */
static struct sl_accuracy wilson(double p, int64_t count, double independent, double z)
{
	double shrink = 1 + z * z / independent;
	double middle = (p + z * z / (2 * independent)) / shrink;
	double half = z / shrink * sqrt(p * (1 - p) / independent + z * z / (4 * independent * independent));

	return (struct sl_accuracy){
		.count = count, .value = p, .low = fmax(0, middle - half), .high = fmin(1, middle + half)
	};
}

static const struct sl_accuracy nothing = { .value = 0.5, .low = 0, .high = 1 };

struct sl_accuracy sl_accuracy_of(double right, int64_t count)
{
	return count ? wilson(right / (double)count, count, (double)count, Z) : nothing;
}

/* -- by group ----------------------------------------------------------------------------- */

struct answer {
	struct sl_id group;
	double right;
};

static int compare_groups(const void *a, const void *b)
{
	return memcmp(((const struct answer *)a)->group.b, ((const struct answer *)b)->group.b,
		      sizeof((struct sl_id *)0)->b);
}

/* Student's t for the same tail as z (Cornish and Fisher's expansion: to 0.001 from 9 degrees of freedom). */
static double student(double z, double degrees)
{
	double z3 = z * z * z, z5 = z3 * z * z;

	return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees * degrees);
}

struct sl_accuracy sl_accuracy_clustered(const struct sl_id *groups, const double *margins, size_t count)
{
	struct answer *answers = sl_malloc((count + 1) * sizeof *answers);
	double right = 0, squares = 0, n = (double)count;
	size_t group_count = 0;

	if (count == 0) {
		free(answers);
		return nothing;
	}
	for (size_t i = 0; i < count; i++) {
		answers[i] = (struct answer){ groups[i], half_ties(margins[i]) };
		right += answers[i].right;
	}
	qsort(answers, count, sizeof *answers, compare_groups);
	for (size_t i = 0, next; i < count; i = next) {
		double surplus = 0; /* more right in this group than there would be at the average */

		for (next = i; next < count && sl_id_equal(answers[next].group, answers[i].group); next++)
			surplus += answers[next].right - right / n;
		squares += surplus * surplus;
		group_count++;
	}
	free(answers);

	double p = right / n, independent = (double)group_count, z = Z;

	if (group_count >= GROUPS_LEAST && squares > 0 && p > 0 && p < 1) {
		double variance = squares / (n * n) * independent / (independent - 1);

		z = student(Z, independent - 1);
		independent = fmin(n, p * (1 - p) / variance);
	}
	return wilson(p, (int64_t)count, independent, z);
}

static double mean_loss(const double *margins, size_t count, double log_temperature)
{
	double inverse = exp(-log_temperature), sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += sl_loss(margins[i] * inverse);
	return sum / (double)count;
}

double sl_temperature_fit(const double *margins, size_t count)
{
	const double golden = 0.6180339887498949;
	double low = log(SL_TEMPERATURE_MIN), high = log(SL_TEMPERATURE_MAX);

	if (count < CALIBRATION_LEAST)
		return 1;

	/* Convex in 1/T, so it has one valley in log T: golden-section search. */
	double a = high - golden * (high - low), b = low + golden * (high - low);
	double loss_a = mean_loss(margins, count, a), loss_b = mean_loss(margins, count, b);

	while (high - low > 1e-7) {
		if (loss_a <= loss_b) {
			high = b;
			b = a;
			loss_b = loss_a;
			a = high - golden * (high - low);
			loss_a = mean_loss(margins, count, a);
		} else {
			low = a;
			a = b;
			loss_a = loss_b;
			b = low + golden * (high - low);
			loss_b = mean_loss(margins, count, b);
		}
	}
	return fmin(SL_TEMPERATURE_MAX, fmax(SL_TEMPERATURE_MIN, round(exp((low + high) / 2) * 1e6) / 1e6));
}

void sl_evaluate(const struct sl_model *m, const struct sl_examples *examples, enum sl_split split,
		 struct sl_evaluation *out)
{
	struct sl_arena arena = { 0 };
	struct sl_tally tally = { 0 };
	const struct sl_pair *p;

	examples->rewind(examples->arg);
	while (examples->next(examples->arg, &p)) {
		struct sl_features f;

		if (sl_split_of(p->group) != split)
			continue;
		sl_arena_clear(&arena);
		sl_features_of(p, m->linear.columns_log2, &arena, &f);
		sl_tally_add(&tally, p, sl_linear_margin(&m->linear, &f));
	}
	sl_tally_end(&tally, m->temperature, out);
	sl_tally_release(&tally);
	sl_arena_release(&arena);
}

static json_t *accuracy_json(const struct sl_accuracy *a)
{
	/* Six digits are enough for people, and print short. */
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)a->count, "value", round(a->value * 1e6) / 1e6,
			 "low", round(a->low * 1e6) / 1e6, "high", round(a->high * 1e6) / 1e6);
}

static json_t *evaluation_json(const struct sl_evaluation *v)
{
	return json_pack("{s:o, s:o, s:o, s:f, s:f}", "accuracy", accuracy_json(&v->model), "longest_wins",
			 accuracy_json(&v->longest_wins), "first_wins", accuracy_json(&v->first_wins), "mean_margin",
			 round(v->mean_margin * 1e6) / 1e6, "loss", round(v->loss * 1e6) / 1e6);
}

static int add_to_buf(const char *text, size_t size, void *arg)
{
	sl_buf_add(arg, text, size);
	return 0;
}

void sl_train_report_json(const struct sl_train_report *r, struct sl_buf *to)
{
	json_t *json =
		json_pack("{s:I, s:I, s:I, s:f, s:f, s:{s:f, s:f}, s:o, s:o, s:o}", "examples", (json_int_t)r->examples,
			  "seen", (json_int_t)r->seen, "holdout", (json_int_t)r->holdout, "loss_first",
			  round(r->loss_first * 1e6) / 1e6, "loss_last", round(r->loss_last * 1e6) / 1e6, "l2", "grams",
			  r->l2_grams, "style", r->l2_style, "select", evaluation_json(&r->select), "report",
			  evaluation_json(&r->report), "out_of_sample", evaluation_json(&r->out_of_sample));

	if (!json || json_dump_callback(json, add_to_buf, to, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0)
		sl_oom(0);
	json_decref(json);
}
