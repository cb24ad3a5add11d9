/* model.h -- reward models for the operators and the trainer.
 *
 * A model on disk is a folder, written once and never changed:
 *
 *     config.json    kind, options, temperature, and what it was trained on
 *     weights.bin    kind `linear`: see linear.c for the layout
 *
 * Rewards are finite float64. For kind `linear` only the difference chosen -
 * rejected means something (it is antisymmetric: swapping the answers swaps the
 * rewards), so it is handed out as +margin/2, -margin/2. The same pair under
 * the same version gives the same bits, whatever the batch. */
#ifndef SL_MODEL_H
#define SL_MODEL_H

#include "../schemas/pair.h"

struct sl_model; /* immutable once open: any thread may score with it */

struct sl_reward {
	double chosen, rejected;
};

/* Open a version folder. weights.bin must match `sha256` (64 hex digits; absent:
 * the one in config.json). A missing file or a wrong hash is SL_WAIT and names
 * the file (it may still be on its way), anything malformed SL_STOP. NULL on
 * failure. */
struct sl_model *sl_model_open(const char *folder, struct sl_bytes sha256, struct sl_error *e) SL_MUST_CHECK;
void sl_model_close(struct sl_model *m);

/* Rewards of `count` pairs. */
void sl_model_score(const struct sl_model *m, const struct sl_pair *pairs, size_t count, struct sl_reward *out);
/* The same for several models at once: models that read the same features share
 * the cost of computing them. out[pair * model_count + model]. */
void sl_models_score(const struct sl_model *const *models, size_t model_count, const struct sl_pair *pairs,
		     size_t count, struct sl_reward *out);
/* p(chosen is better) = sl_sigmoid((chosen - rejected) / temperature). */
double sl_model_temperature(const struct sl_model *m);
/* The strengths of L2 that it was trained with, as in struct sl_train_options; 0 where its folder does not say. */
void sl_model_strengths(const struct sl_model *m, double *l2, double *l2_style);

#endif
