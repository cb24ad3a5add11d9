/* train.c -- one training: examples in, a version folder out.
 *
 * The examples are a stream that can be read again, perhaps 200,000 pairs long,
 * so features are kept for one block (cache_bytes) at a time: a stream that fits
 * is read once and shuffled as a whole in every epoch, a longer one is read in
 * every epoch and shuffled block by block.
 *
 * Cross-fitting costs no extra reading: the learner of all examples and one
 * learner per fold, which never sees that fold's groups, walk the same block side
 * by side. So p of a training example can be had from a model that knows
 * neither it nor any other pair of its prompt.
 *
 * The strength of L2 is found first, by cross-validation over groups on the first examples: features are computed
 * once, then the candidates walk them side by side. Groups, because two pairs of one prompt are nearly the same
 * example.
 *
 * Everything is in a fixed order with one thread: equal examples, options and
 * seed give equal bits. */
#include "train.h"
#include "../topology/base/thread.h"
#include "evaluate.h"
#include "learner.h"
#include "model_folder.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDS_MAX 20
#define TABLES_MAX ((FOLDS_MAX + 1 + SL_LANES - 1) / SL_LANES)

/* How L2 is chosen: on so many examples at most, with so many folds. */
#define L2_EXAMPLES_MOST 5000
#define L2_BYTES_MOST (32 << 20)
#define L2_FOLDS 5
#define L2_FOLDS_AGREE 5 /* on a better one */
static const double l2_style[SL_LANES] = { 500, 150, 50, 1500 }, l2_grams[SL_LANES] = { 1000, 100, 10, 3 };

void sl_train_options_default(struct sl_train_options *o)
{
	*o = (struct sl_train_options){
		.seed = 1,
		.epochs = 3,
		.columns_log2 = 18,
		.learning_rate = 0.1,
		.l2 = 0,
		.folds = 5,
		.cache_bytes = (int64_t)256 << 20,
	};
}

static bool options_valid(const struct sl_train_options *o, struct sl_error *e)
{
	if (o->epochs < 1 || o->epochs > 1000)
		return sl_error_set(e, SL_STOP, "epochs is %" PRId64 ", allowed: 1 to 1000", o->epochs);
	if (o->columns_log2 < SL_COLUMNS_LOG2_MIN || o->columns_log2 > SL_COLUMNS_LOG2_MAX)
		return sl_error_set(e, SL_STOP, "columns_log2 is %" PRId64 ", allowed: %d to %d", o->columns_log2,
				    SL_COLUMNS_LOG2_MIN, SL_COLUMNS_LOG2_MAX);
	if (!(o->learning_rate > 0 && o->learning_rate <= 100))
		return sl_error_set(e, SL_STOP, "learning_rate is %g, allowed: over 0 to 100", o->learning_rate);
	if (!(o->l2 >= 0 && o->l2 <= SL_L2_MOST) || !(o->l2_style >= 0 && o->l2_style <= SL_L2_MOST))
		return sl_error_set(e, SL_STOP, "l2 is %g and %g for style, allowed: 0 to %.0f", o->l2, o->l2_style,
				    SL_L2_MOST);
	if (o->folds < 0 || o->folds == 1 || o->folds > FOLDS_MAX)
		return sl_error_set(e, SL_STOP, "folds is %" PRId64 ", allowed: 0 or 2 to %d", o->folds, FOLDS_MAX);
	if (o->cache_bytes < 0)
		return sl_error_set(e, SL_STOP, "cache_bytes is %" PRId64 ", allowed: 0 or more", o->cache_bytes);
	return true;
}

/* An example of the block: its features, copied into the block's arena. */
struct example {
	struct sl_features features;
	unsigned fold, l2_fold;
};

struct training {
	const struct sl_train_options *o;
	const struct sl_examples *examples;
	struct sl_learner learners[TABLES_MAX]; /* a lane per fold, without it; the last of all examples */
	size_t lane_count;
	struct sl_l2 l2;

	struct sl_arena arena; /* of the block's features */
	struct sl_arena scratch;
	struct example *block;
	size_t *order;
	size_t count, capacity;

	int64_t seen, holdout;
	double loss; /* summed over an epoch, of the last learner */
};

static size_t table_count(const struct training *t)
{
	return (t->lane_count + SL_LANES - 1) / SL_LANES;
}

static void training_release(struct training *t)
{
	for (size_t k = 0; k < table_count(t); k++)
		sl_learner_release(&t->learners[k]);
	free(t->block);
	free(t->order);
	sl_arena_release(&t->arena);
	sl_arena_release(&t->scratch);
}

static unsigned fold_of(const struct training *t, const struct sl_pair *p)
{
	return t->o->folds ? sl_fold_of(p->group, (unsigned)t->o->folds) : 0;
}

static void block_add(struct training *t, const struct sl_pair *p)
{
	struct sl_features f;

	if (t->count == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 1024;
		t->block = sl_realloc(t->block, t->capacity * sizeof *t->block);
		t->order = sl_realloc(t->order, t->capacity * sizeof *t->order);
	}
	sl_arena_clear(&t->scratch);
	sl_features_of(p, (int)t->o->columns_log2, &t->scratch, &f);
	f.columns = sl_arena_copy(&t->arena, f.columns, f.count * sizeof *f.columns);
	f.values = sl_arena_copy(&t->arena, f.values, f.count * sizeof *f.values);
	t->block[t->count++] =
		(struct example){ .features = f, .fold = fold_of(t, p), .l2_fold = sl_fold_of(p->group, L2_FOLDS) };
}

/* Read up to one block, of so many examples and bytes; false when the stream ended with it. Examples of held-out
 * groups never get into a block. */
static bool block_read(struct training *t, size_t most, int64_t bytes_most)
{
	const struct sl_pair *p;

	t->count = 0;
	sl_arena_clear(&t->arena);
	while (t->examples->next(t->examples->arg, &p)) {
		t->seen++;
		if (sl_split_of(p->group) != SL_SPLIT_TRAIN) {
			t->holdout++;
			continue;
		}
		block_add(t, p);
		if (t->count == most || t->arena.used_bytes + t->count * sizeof *t->block >= (uint64_t)bytes_most)
			return true;
	}
	return false;
}

/* Fisher-Yates; the numbers are splitmix64 of (seed, epoch, block, step). */
static void block_shuffle(struct training *t, int64_t epoch, uint64_t block_number)
{
	uint64_t state = sl_mix64(t->o->seed + sl_mix64((uint64_t)epoch << 32 ^ block_number));

	for (size_t i = 0; i < t->count; i++)
		t->order[i] = i;
	for (size_t i = t->count; i > 1; i--) {
		uint64_t random = sl_mix64(state += 0x9e3779b97f4a7c15u);
		size_t j = (size_t)(random % i), kept = t->order[i - 1];

		t->order[i - 1] = t->order[j];
		t->order[j] = kept;
	}
}

/* By candidate: the loss of the block's examples by fold, each example by a learner that does not know its group, under
 * the temperature that suits them all: the loss of what p will be. */
static void l2_losses(struct training *t, const struct sl_l2 l2[SL_LANES], double *margins,
		      double losses[SL_LANES][L2_FOLDS])
{
	size_t ends[L2_FOLDS], count = 0;
	double all[SL_LANES];

	for (unsigned fold = 0; fold < L2_FOLDS; fold++) {
		struct sl_learner learner;

		sl_learner_init(&learner, (int)t->o->columns_log2, t->o->learning_rate, l2);
		for (int64_t epoch = 0; epoch < t->o->epochs; epoch++) {
			block_shuffle(t, epoch, 0);
			for (size_t i = 0; i < t->count; i++)
				if (t->block[t->order[i]].l2_fold != fold)
					sl_learner_step(&learner, &t->block[t->order[i]].features, SL_ALL_LANES, all);
		}
		for (size_t i = 0; i < t->count; i++) {
			if (t->block[i].l2_fold != fold)
				continue;
			sl_learner_margins(&learner, &t->block[i].features, all);
			for (size_t k = 0; k < SL_LANES; k++)
				margins[k * t->count + count] = all[k];
			count++;
		}
		ends[fold] = count;
		sl_learner_release(&learner);
	}
	assert(count == t->count);
	for (size_t k = 0; k < SL_LANES; k++, margins += count) {
		double temperature = sl_temperature_fit(margins, count);

		for (size_t fold = 0, i = 0; fold < L2_FOLDS; fold++) {
			losses[k][fold] = 0;
			for (; i < ends[fold]; i++)
				losses[k][fold] += sl_loss(margins[i] / temperature);
		}
	}
}

/* A few prompts may carry half of the examples, so a sum over all can be the luck of one fold. */
static bool l2_better(const double losses[L2_FOLDS], const double best[L2_FOLDS])
{
	double difference = 0;
	int folds = 0;

	for (int fold = 0; fold < L2_FOLDS; fold++) {
		difference += losses[fold] - best[fold];
		folds += losses[fold] < best[fold];
	}
	return difference < 0 && folds >= L2_FOLDS_AGREE;
}

/* The best of the candidates, the first if none is better in every fold. */
static struct sl_l2 l2_best(struct training *t, const struct sl_l2 l2[SL_LANES], double *margins)
{
	double losses[SL_LANES][L2_FOLDS];
	size_t best = 0;

	l2_losses(t, l2, margins, losses);
	for (size_t k = 1; k < SL_LANES; k++)
		if (l2_better(losses[k], losses[best]))
			best = k;
	return l2[best];
}

/* First the strength for style, then, with that, the one for n-grams. Cross-fitted margins know of their own fold what
 * came out here, two numbers of few, and no more. */
static void l2_choose(struct training *t)
{
	struct sl_l2 candidates[SL_LANES];
	double *margins;

	t->examples->rewind(t->examples->arg);
	(void)block_read(t, L2_EXAMPLES_MOST, L2_BYTES_MOST);
	margins = sl_calloc(SL_LANES * t->count + 1, sizeof *margins);
	for (size_t k = 0; k < SL_LANES; k++)
		candidates[k] = (struct sl_l2){ l2_grams[0], l2_style[k] };
	t->l2 = l2_best(t, candidates, margins);
	for (size_t k = 0; k < SL_LANES; k++)
		candidates[k] = (struct sl_l2){ l2_grams[k], t->l2.style };
	t->l2 = l2_best(t, candidates, margins);
	free(margins);
}

static void training_init(struct training *t, const struct sl_train_options *o, const struct sl_examples *examples,
			  bool all)
{
	struct sl_l2 l2[SL_LANES];

	*t = (struct training){ .o = o, .examples = examples, .lane_count = (size_t)o->folds + all };
	t->l2 = (struct sl_l2){ o->l2, o->l2_style > 0 ? o->l2_style : o->l2 };
	if (o->l2 == 0)
		l2_choose(t);
	for (size_t k = 0; k < SL_LANES; k++)
		l2[k] = t->l2;
	for (size_t k = 0; k < table_count(t); k++)
		sl_learner_init(&t->learners[k], (int)o->columns_log2, o->learning_rate, l2);
}

/* The lanes of a table that learn from an example. */
static unsigned lanes_of(const struct training *t, size_t table, const struct example *x)
{
	unsigned lanes = 0;

	for (size_t k = 0; k < SL_LANES && table * SL_LANES + k < t->lane_count; k++) {
		size_t lane = table * SL_LANES + k;

		if (lane >= (size_t)t->o->folds || lane != x->fold)
			lanes |= 1u << k;
	}
	return lanes;
}

/* Table by table: it stays in the processor's cache. */
static void block_learn(struct training *t)
{
	size_t last = t->lane_count - 1;

	for (size_t k = 0; k < table_count(t); k++) {
		for (size_t i = 0; i < t->count; i++) {
			const struct example *x = &t->block[t->order[i]];
			unsigned lanes = lanes_of(t, k, x);
			double margins[SL_LANES];

			sl_learner_step(&t->learners[k], &x->features, lanes, margins);
			if (k == last / SL_LANES && lanes >> last % SL_LANES & 1)
				t->loss += sl_loss(margins[last % SL_LANES]);
		}
	}
}

static void lane_model(const struct training *t, size_t lane, struct sl_linear *out)
{
	sl_learner_model(&t->learners[lane / SL_LANES], (unsigned)(lane % SL_LANES), out);
}

/* All epochs; fills the counts and losses of the report. */
static bool training_run(struct training *t, struct sl_train_report *r, struct sl_error *e)
{
	bool whole = false; /* the one block holds the whole stream */

	for (int64_t epoch = 0; epoch < t->o->epochs; epoch++) {
		bool more = true;

		t->loss = 0;
		if (!whole) {
			t->seen = t->holdout = 0;
			t->examples->rewind(t->examples->arg);
		}
		for (uint64_t number = 0; more; number++) {
			more = !whole && block_read(t, SIZE_MAX, t->o->cache_bytes);
			whole = whole || (!more && number == 0);
			block_shuffle(t, epoch, number);
			block_learn(t);
		}

		int64_t examples = t->seen - t->holdout;

		if (examples == 0)
			return sl_error_set(e, SL_STOP,
					    "no examples to train on: %" PRId64 " read, %" PRId64
					    " of them in groups held out for select and report",
					    t->seen, t->holdout);
		*r = (struct sl_train_report){
			.seen = t->seen,
			.holdout = t->holdout,
			.examples = examples,
			.l2_grams = t->l2.grams,
			.l2_style = t->l2.style,
			.loss_first = epoch == 0 ? t->loss / (double)examples : r->loss_first,
			.loss_last = t->loss / (double)examples,
		};
	}
	return true;
}

/* The margin of every example by the learner of its fold. */
static void cross_fit_margins(struct training *t, void *arg,
			      void (*margin)(void *arg, const struct sl_pair *pair, double margin))
{
	struct sl_linear models[FOLDS_MAX];
	const struct sl_pair *p;

	for (size_t k = 0; k < (size_t)t->o->folds; k++)
		lane_model(t, k, &models[k]);
	t->examples->rewind(t->examples->arg);
	while (t->examples->next(t->examples->arg, &p)) {
		struct sl_features f;

		sl_arena_clear(&t->scratch);
		sl_features_of(p, (int)t->o->columns_log2, &t->scratch, &f);
		margin(arg, p, sl_linear_margin(&models[fold_of(t, p)], &f));
	}
	for (int64_t k = 0; k < t->o->folds; k++)
		free(models[k].weights);
}

bool sl_train_cross_fit(const struct sl_train_options *o, const struct sl_examples *examples, void *arg,
			void (*margin)(void *arg, const struct sl_pair *pair, double margin), struct sl_error *e)
{
	struct sl_train_report report;
	struct training t;

	if (!options_valid(o, e))
		return false;
	if (o->folds == 0)
		return sl_error_set(e, SL_STOP, "folds is 0: cross-fitting needs 2 to %d", FOLDS_MAX);
	training_init(&t, o, examples, false);

	bool done = training_run(&t, &report, e);

	if (done)
		cross_fit_margins(&t, arg, margin);
	training_release(&t);
	return done;
}

static void tally_train_groups(void *tally, const struct sl_pair *p, double margin)
{
	if (sl_split_of(p->group) == SL_SPLIT_TRAIN)
		sl_tally_add(tally, p, margin);
}

/* Temperature on select, then the figures of both held-out parts. */
static void evaluate(struct training *t, const struct sl_examples *eval, struct sl_model *m, struct sl_train_report *r)
{
	struct sl_tally select = { 0 }, report = { 0 }, out_of_sample = { 0 };
	const struct sl_pair *p;

	eval->rewind(eval->arg);
	while (eval->next(eval->arg, &p)) {
		enum sl_split split = sl_split_of(p->group);
		struct sl_features f;

		if (split == SL_SPLIT_TRAIN)
			continue;
		sl_arena_clear(&t->scratch);
		sl_features_of(p, m->linear.columns_log2, &t->scratch, &f);
		sl_tally_add(split == SL_SPLIT_SELECT ? &select : &report, p, sl_linear_margin(&m->linear, &f));
	}
	if (t->o->folds)
		cross_fit_margins(t, &out_of_sample, tally_train_groups);
	m->temperature = sl_temperature_fit(select.margins, select.count);
	sl_tally_end(&select, m->temperature, &r->select);
	sl_tally_end(&report, m->temperature, &r->report);
	sl_tally_end(&out_of_sample, m->temperature, &r->out_of_sample);
	sl_tally_release(&select);
	sl_tally_release(&report);
	sl_tally_release(&out_of_sample);
}

static json_t *options_json(const struct sl_train_options *o)
{
	return json_pack("{s:I, s:I, s:I, s:f, s:f, s:I, s:I}", "seed", (json_int_t)o->seed, "epochs",
			 (json_int_t)o->epochs, "columns_log2", (json_int_t)o->columns_log2, "learning_rate",
			 o->learning_rate, "l2", o->l2, "folds", (json_int_t)o->folds, "cache_bytes",
			 (json_int_t)o->cache_bytes);
}

static bool write_version(const struct sl_train_options *o, const struct sl_train_report *r, const struct sl_model *m,
			  json_t *trained_on, const char *folder, struct sl_error *e)
{
	struct sl_buf text = { 0 };

	sl_train_report_json(r, &text);

	json_t *config = json_pack("{s:o, s:O, s:o}", "options", options_json(o), "trained_on", trained_on, "report",
				   json_loadb((const char *)text.data, text.size, 0, NULL));

	if (!config)
		sl_oom(0);

	bool done = sl_model_write(folder, m, config, e);

	json_decref(config);
	sl_buf_release(&text);
	return done;
}

bool sl_train_linear(const struct sl_train_options *o, const struct sl_examples *train, const struct sl_examples *eval,
		     const char *folder, const char *extra_json, struct sl_train_report *report, struct sl_error *e)
{
	int64_t started_ns = sl_monotonic_ns();
	struct sl_model m = { 0 };
	struct training t;

	*report = (struct sl_train_report){ 0 };
	if (!options_valid(o, e))
		return false;
	if (access(folder, F_OK) == 0)
		return sl_error_set(e, SL_STOP, "'%s' exists already: versions are never changed", folder);

	json_t *trained_on = json_loads(extra_json ? extra_json : "{}", 0, NULL);

	if (!json_is_object(trained_on)) {
		json_decref(trained_on);
		return sl_error_set(e, SL_STOP, "what the model was trained on must be a JSON object");
	}
	training_init(&t, o, train, true);

	bool done = training_run(&t, report, e);

	if (done) {
		lane_model(&t, (size_t)o->folds, &m.linear);
		evaluate(&t, eval, &m, report);
		done = write_version(o, report, &m, trained_on, folder, e);
		free(m.linear.weights);
	}
	report->seconds = (double)(sl_monotonic_ns() - started_ns) / 1e9;
	training_release(&t);
	json_decref(trained_on);
	return done;
}
