/* judge_health.h -- how good the LLM judges are, as of now: judge_record.h kept up with the topic of probes.
 *
 * The topic is the one that port `probed` of the step annotate writes. It is followed from its start, in memory: how
 * far is forgotten with the process, and read again by the next one. The newest setting is that of the last record that
 * was read; where several partitions brought something new, that of the pair that arrived last.
 *
 * Threads: any; one at a time looks. */
#ifndef SL_JUDGE_HEALTH_H
#define SL_JUDGE_HEALTH_H

#include "engine.h"
#include "judge_record.h"

/* NULL: the topology has no LLM judges, or nothing keeps their probes. All functions accept that. */
struct sl_judge_health *sl_judge_health_new(struct sl_runtime *rt);
void sl_judge_health_free(struct sl_judge_health *h);

/* Read what is new. False: the topic cannot be read now; what was read counts. */
bool sl_judge_health_follow(struct sl_judge_health *h, struct sl_error *e) SL_MUST_CHECK;
/* As of the last look. */
int64_t sl_judge_health_probes(struct sl_judge_health *h);
void sl_judge_health_setting(struct sl_judge_health *h, char to[SL_SETTING_SIZE]);
void sl_judge_health_copy(struct sl_judge_health *h, struct sl_probes *to);

/* Looks, then sl_judge_records_json, with "error" where that failed. NULL: there are no LLM judges. */
json_t *sl_judge_health_json(struct sl_judge_health *h);
/* The same as Prometheus text; `judges` is that JSON, or NULL. */
void sl_judge_health_metrics(const json_t *judges, struct sl_buf *to);

/* The value of an option of the first step with this operator, in place; NULL: there is no such step. */
const void *sl_option_of(const struct sl_topology *t, const char *operator, const char * option);

#endif
