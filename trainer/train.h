/* train.h -- one training: a stream of labelled pairs in, a version folder out.
 *
 * Pure: the result is a function of the examples (in order), the options and
 * the seed, to the bit. It knows nothing of topics; the runtime
 * (topology/training.c) feeds it from topic prefixes and announces the result. */
#ifndef SL_TRAIN_H
#define SL_TRAIN_H

#include "../topology/base/buf.h"
#include "model.h"

/* The examples, as often as the trainer wants to read them. next() returns false
 * at the end; the pair is valid until the next call. chosen is the preferred
 * answer (the runtime has swapped it where a verdict says so). */
struct sl_examples {
	void *arg;
	void (*rewind)(void *arg);
	bool (*next)(void *arg, const struct sl_pair **pair);
};

#define SL_L2_MOST 1e6

struct sl_train_options {
	uint64_t seed;
	int64_t epochs;       /* 3 */
	int64_t columns_log2; /* 18: hashed n-gram columns */
	double learning_rate; /* alpha of FTRL-proximal (AdaGrad steps with an exact L2), see learner.h */
	double l2;       /* strength, against the summed loss of all epochs; 0: chosen by cross-validation over groups,
			    one for n-grams, one for style */
	double l2_style; /* of the style columns; 0: as l2 */
	int64_t folds;   /* 5: cross-fitting of p on the examples themselves; 0: none */
	int64_t cache_bytes; /* 256 MiB: features kept between epochs; more examples are read again in every epoch
				and shuffled in blocks of this size (0: in the order of the stream) */
};
void sl_train_options_default(struct sl_train_options *o);

/* Pairwise accuracy with a 95 % interval, ties counted as half. */
struct sl_accuracy {
	int64_t count;
	double value, low, high;
};

/* Of oriented margins, positive is right; groups[i] is the group of margins[i], in any order. Pairs of one group are
 * not independent, so the interval is Wilson's (1927) with the number of independent pairs that would vary as much: p
 * (1 - p) over the variance between groups (linearised ratio, G / (G - 1)), widened by Student's t with G - 1 degrees
 * (Korn and Graubard 1998). At most the count; the number of groups where there are fewer than 10 or nothing varies. */
struct sl_accuracy sl_accuracy_clustered(const struct sl_id *groups, const double *margins, size_t count);

/* Accuracy of a model and of the null baselines beside it. */
struct sl_evaluation {
	struct sl_accuracy model;
	struct sl_accuracy longest_wins; /* more characters, as in sl_pair_length_sign */
	struct sl_accuracy
		first_wins;       /* the answer shown first upstream (meta.preferred_position), count 0 if unknown */
	double mean_margin, loss; /* -log sigmoid(margin / temperature), mean */
};

struct sl_train_report {
	int64_t examples;             /* used for training */
	int64_t seen;                 /* examples read */
	double l2_grams, l2_style;    /* strengths that were used */
	int64_t holdout;              /* left out because their group is in select or report */
	double loss_first, loss_last; /* mean training loss of the first and last epoch */
	double seconds;
	struct sl_evaluation select, report; /* of the eval examples, by split */
	struct sl_evaluation out_of_sample;  /* cross-fitted, on train groups; count 0 when folds = 0 */
};

/* Train on `train` (pairs whose group is in select or report are skipped and
 * counted), fit the temperature on the select part of `eval`, evaluate on select
 * and report, and write a complete version folder at `folder` (which must not
 * exist; written beside and renamed). `extra_json` is an object stored in
 * config.json under "trained_on": the offsets, the trigger. */
bool sl_train_linear(const struct sl_train_options *o, const struct sl_examples *train, const struct sl_examples *eval,
		     const char *folder, const char *extra_json, struct sl_train_report *report,
		     struct sl_error *e) SL_MUST_CHECK;

/* Cross-fitted (out-of-sample) margin of every example, by group fold, in order of
 * `examples`: called once per example. For gold.errors and for issue "posterior". */
bool sl_train_cross_fit(const struct sl_train_options *o, const struct sl_examples *examples, void *arg,
			void (*margin)(void *arg, const struct sl_pair *pair, double margin),
			struct sl_error *e) SL_MUST_CHECK;

void sl_evaluate(const struct sl_model *m, const struct sl_examples *examples, enum sl_split split,
		 struct sl_evaluation *out);

/* Which answer was shown first upstream (meta.preferred_position), 1: the preferred one, 2: the other; 0: not said. */
int sl_preferred_position(struct sl_bytes meta);

/* A JSON object for the registry and `status`. Without `seconds`: no wall clock
 * enters what is stored. */
void sl_train_report_json(const struct sl_train_report *r, struct sl_buf *to);

#endif
