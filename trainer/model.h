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

/* Open a version folder. `sha256` (64 hex digits, or absent to skip the check)
 * must match weights.bin; a missing file or a wrong hash is SL_WAIT and names
 * the file, anything malformed SL_STOP. NULL on failure. */
struct sl_model *sl_model_open(const char *folder, struct sl_bytes sha256, struct sl_error *e) SL_MUST_CHECK;
void sl_model_close(struct sl_model *m);

/* Rewards of `count` pairs. `scratch` may be cleared afterwards. */
void sl_model_score(const struct sl_model *m, const struct sl_pair *pairs, size_t count, struct sl_reward *out,
		    struct sl_arena *scratch);
/* p(chosen is better) = sl_sigmoid((chosen - rejected) / temperature). */
double sl_model_temperature(const struct sl_model *m);

#endif
