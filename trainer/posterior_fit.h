/* posterior_fit.h -- inside trainer/ only: a fit on its way, shared by what fits and what reports. */
#ifndef SL_POSTERIOR_FIT_H
#define SL_POSTERIOR_FIT_H

#include "posterior_file.h"

#include <jansson.h>

/* An evidence row that may be used: its group is not in report. */
struct sl_fit_row {
	const struct sl_evidence_row *row;
	uint32_t domain, fold;
	double judge;  /* the verdict in log-odds, as filter would hear it; oriented to the truth */
	double weight; /* of its loss: rows of one group are not independent */
	double p;      /* P(arrived right) by the fit without its fold; NaN unless audited and there are weights */
};

struct sl_fitting {
	const struct sl_posterior_options *o;
	struct sl_fit_row *rows; /* sorted by group, then domain */
	size_t count;
	int64_t audited;
	bool best, judged;        /* any row has them */
	double l2_all, l2_domain; /* as chosen; 0 without weights */
	struct sl_posterior p;    /* being made */
};

/* UTF-8 without NUL: only that can be a key in JSON. */
bool sl_fit_is_text(struct sl_bytes name);
/* What is known of an audited row, oriented to the label as it arrived. */
struct sl_witnesses sl_fit_witnesses(const struct sl_fit_row *r);

/* Evidence of the domains: sets `blind` and `judge_speaks`. The intervals are kept for the report. */
struct sl_domain_evidence {
	int64_t rows, groups, audited;
	struct sl_accuracy gold, best, judge, longest_wins, first_wins, arrived_right; /* count 0: unknown */
};
/* The last is of all rows together: [p.domain_count]. From malloc. */
struct sl_domain_evidence *sl_fit_evidence(struct sl_fitting *f);

/* How good the judge is, and every one of a panel; and what he says of each row. Needs `judge_speaks`. */
void sl_fit_judge(struct sl_fitting *f);

/* The audit of flips: sets p.flip_low. Then the report of the announcement. */
struct sl_accuracy sl_fit_flips(struct sl_fitting *f);
json_t *sl_fit_report(const struct sl_fitting *f, const struct sl_domain_evidence *evidence,
		      const struct sl_accuracy *flips);

#endif
