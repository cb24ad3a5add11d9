/* training.h -- what the files that train have in common: training.c, posterior_training.c.
 *
 * Both run under training.c's lock: one training at a time. */
#ifndef SL_TRAINING_H
#define SL_TRAINING_H

#include "../trainer/train.h"
#include "engine.h"

/* What is announced follows from what was announced last: nobody else may announce in between. Before each look. */
bool sl_training_guard(struct sl_runtime *rt, struct sl_error *e) SL_MUST_CHECK;
/* True: some record of the models table, of any time, names the version. */
bool sl_training_announced(struct sl_runtime *rt, const char *name, int64_t version);
/* `extra`: records of another topic in the same commit; NULL none. */
bool sl_training_announce(struct sl_runtime *rt, const struct sl_model_record *m, const struct sl_append *extra,
			  struct sl_error *e) SL_MUST_CHECK;
/* Records ever committed to what a trainer reads. */
int64_t sl_training_records(struct sl_runtime *rt, const struct sl_trainer_def *def);
void sl_training_options(const struct sl_trainer_def *def, struct sl_train_options *options);

#endif
