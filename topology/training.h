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
/* A version could not be written. False; SL_RETRY if that is because it is there: on Kafka two processes can lead for a
 * moment, and people train by hand beside them. Who is second looks again, and finds it. */
bool sl_training_overtaken(struct sl_runtime *rt, const char *name, int64_t version, struct sl_error *e) SL_MUST_CHECK;
/* Records ever committed to what a trainer reads. */
int64_t sl_training_records(struct sl_runtime *rt, const struct sl_trainer_def *def);
void sl_training_options(const struct sl_trainer_def *def, struct sl_train_options *options);

/* -- posterior_training.c ---------------------------------------------------------------- */

/* The newest version on disk that was looked at, and what it was fitted on. All 0: none yet. */
struct sl_posterior_state {
	int64_t version;
	int64_t gold, best;          /* versions of the champions; 0: absent */
	int64_t audited;             /* audited gold pairs */
	int64_t probes;              /* gold pairs put to LLM judges */
	char setting[17];            /* of these (judgement.setting); "" none */
	int64_t records;             /* of the gold topic */
	int64_t counted, counted_at; /* audited pairs when they were counted last, at so many records */
	int64_t at_ns;               /* when, by our clock; at open: when opened */
};

/* As sl_training_due, of the one trainer. */
bool sl_posterior_due(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
		      bool *trained, struct sl_error *e) SL_MUST_CHECK;
/* Now, for this reason. `report_json` may be NULL. */
bool sl_posterior_train(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
			const char *reason, struct sl_buf *report_json, struct sl_error *e) SL_MUST_CHECK;

#endif
