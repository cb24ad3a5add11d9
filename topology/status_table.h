/* status_table.h -- what sl_runtime_status says, as tables for people. Used by `status`,
 * `models`, `train` and the live view of `run`. */
#ifndef SL_STATUS_TABLE_H
#define SL_STATUS_TABLE_H

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* NULL on failure. */
json_t *sl_status_parse(struct sl_bytes text, struct sl_error *e) SL_MUST_CHECK;
const char *sl_status_text(const json_t *object, const char *name); /* "" if absent */
int64_t sl_status_count(const json_t *object, const char *name);    /* 0 if absent */

/* One line per step: in, rate, lag, calls in flight, dead letters, state, out per port.
 * `rates` per step in records/s or NULL; lines are cut at `width` columns (0: never). Returns
 * the number of lines. */
size_t sl_status_steps(const json_t *status, const double *rates, int width, struct sl_buf *to);
/* What became of the records, by step, port and code, with shares; on request by source or by domain too. */
enum { SL_STATUS_BY_SOURCE = 1, SL_STATUS_BY_DOMAIN = 2 };
void sl_status_funnel(const json_t *status, int by, FILE *to);
void sl_status_topics(const json_t *status, FILE *to);
/* On Kafka: the brokers, this process's part, and the lag of every partition that has one. */
void sl_status_stream(const json_t *status, FILE *to);
/* What was asked outside and what it has cost, by step; the endpoints. Nothing without any; else after a blank line. */
void sl_status_outside(const json_t *status, FILE *to);
void sl_status_models(const json_t *models, FILE *to);
/* By domain what gold says of the witnesses, and what is expected of the curated pairs: what the model `posterior` was
 * announced with (trainer/posterior_report.c). Nothing without one; else a blank line goes before it, and true is
 * returned. */
void sl_status_evidence(const json_t *models, FILE *to);
/* What probes say of the LLM judges (judge_record.h), after a blank line. Nothing without LLM judges. */
void sl_status_judges(const json_t *status, FILE *to);
/* What came from outside may hold control characters, which could drive a terminal: printed as
 * spaces, at most `most` bytes. */
void sl_print_clean(FILE *to, struct sl_bytes text, size_t most);

#endif
