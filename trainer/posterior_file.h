/* posterior_file.h -- inside trainer/ only: what a posterior is made of, and its bytes.
 *
 * posterior.json:
 *
 *     {"format": 3,
 *      "lapse": 0.2,                                             of both models; format 1 has none: 0
 *      "judge": {"name": "nearest", "accuracy": 0.58,            name null: no judge is known
 *                "speaks": false},                               in domains that are not listed; before format 3: no
 *      "judges": [{"name": "gpt/gpt-4.1-mini",                   of a panel, by name; before format 3: none
 *                  "accuracy": 0.83, "own": [0.8, ...]}, ...]  in each domain, in their order
 *      "flip_low": 0.61,
 *      "domains": [{"name": "oasst", "blind": false, "judge_accuracy": 0.55, "judge_speaks": true}, ...],
 *      "fits": [{"witnesses": ["gold", "judge"],
 *                "all": [intercept, gold, best, judge, length],  what all domains share
 *                "own": [[...], ...]}, ...]}                     what is added in each domain, in their order
 *
 * Domains are in byte order of their names. Numbers have 17 digits: what is read is what was fitted. */
#ifndef SL_POSTERIOR_FILE_H
#define SL_POSTERIOR_FILE_H

#include "../topology/base/arena.h"
#include "logistic.h"
#include "posterior.h"

#define SL_POSTERIOR_DOMAINS_MOST 4096
#define SL_POSTERIOR_JUDGES_MOST 64
/* No judge is right always, nor wrong. */
#define SL_JUDGE_RIGHT_LEAST 0.001
#define SL_JUDGE_RIGHT_MOST 0.999

/* Columns of the fits. */
enum { SL_COLUMN_INTERCEPT, SL_COLUMN_GOLD, SL_COLUMN_BEST, SL_COLUMN_JUDGE, SL_COLUMN_LENGTH };

/* Sets of witnesses: sums of these. */
enum { SL_WITNESS_GOLD = 1, SL_WITNESS_BEST = 2, SL_WITNESS_JUDGE = 4, SL_WITNESS_SETS = 8 };

struct sl_posterior_domain {
	struct sl_bytes name;
	bool blind, judge_speaks;
	double judge_accuracy;
};

/* One judge of a panel. */
struct sl_posterior_judge {
	struct sl_bytes name;
	double accuracy; /* over all domains */
	double *own;     /* per domain */
};

struct sl_posterior {
	struct sl_arena arena; /* of everything below */
	struct sl_bytes judge; /* absent: none */
	double judge_accuracy; /* over all domains */
	bool judge_speaks;     /* in domains that are not listed */
	struct sl_posterior_judge *judges;
	size_t judge_count;
	double flip_low;
	double lapse; /* 0 to under 0.5: how often people differ, however large the margin */
	struct sl_posterior_domain *domains;
	size_t domain_count;
	double *fits[SL_WITNESS_SETS]; /* weights as in logistic.h; NULL: no fit */
};

/* SL_LOGISTIC_NO_DOMAIN when it is none of the listed ones. */
uint32_t sl_posterior_domain_find(const struct sl_posterior *p, struct sl_bytes name);
/* Which witnesses are there. */
unsigned sl_witnesses_set(const struct sl_witnesses *w);
/* The row of the fit for these witnesses; those outside `set` are left out. */
void sl_witnesses_row(const struct sl_witnesses *w, unsigned set, double lapse, double x[SL_LOGISTIC_COLUMNS]);

void sl_posterior_encode(const struct sl_posterior *p, struct sl_buf *to);
/* Any bytes. *p is to be closed, NULL on failure. */
bool sl_posterior_parse(struct sl_bytes text, struct sl_posterior **p, struct sl_error *e) SL_MUST_CHECK;

#endif
