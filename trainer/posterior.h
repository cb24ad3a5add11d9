/* posterior.h -- P(the label as it arrived is right), from what is known about a pair.
 *
 * Everything that speaks about a pair is oriented to the label as it arrived: positive says that it is right.
 *
 *     gold     margin of the gold model over its temperature; on gold pairs out of sample
 *     best     the same of the best model; absent while there is none
 *     judge    verdict for (+1) or against (-1), times the log-odds of that judge's accuracy in the domain
 *              (on gold, without the pair's own group; shrunk towards its accuracy over all domains); 0 abstained.
 *              A panel of LLMs is one judge
 *     length   sign of words(chosen) - words(rejected)
 *
 * P is a logistic model on these with an intercept (how often arrived labels are right), each once for all and
 * once for the domain, L2-regularised, fitted on gold pairs that were sampled at random from the stream and whose
 * arrived label is known: the audited ones (DESIGN section 1). What is absent for a pair must not count as zero, so
 * there is one fit per set of witnesses: with and without gold, best, a judge. Each is fitted on the audited rows that
 * have them all; where a set was never fitted, the witness too many is not heard. Pairs of split report are never used.
 *
 * Every gold pair can be put to `nearest`, but only some of them, the probes, are put to a panel of LLMs. Where less
 * than half of the rows of a set have the judge too (or too few), the fit with him is a times the one without him
 * (but for its intercept), plus b times his log-odds. Both are 1 for a judge who errs independently of all others
 * (naive Bayes), less for one who sees what they see; they are fitted on the rows there are, held to 1 by L2.
 *
 * However large a margin is, people differ: two who compare the same answers agree in 81 % (Zheng et al. 2023,
 * MT-Bench) or 73 % (Ouyang et al. 2022). So what gold and best say is not the margin itself but, with a lapse rate
 * (Wichmann and Hill 2001) of 0.2, what is left of it; the weights say how much more or less a model is worth:
 *
 *     logit(lapse + (1 - 2 lapse) sigmoid(margin))         0.6 of a small margin, never beyond 1.4
 *
 * Without enough audited pairs there are no weights; then, with a declared share n of wrong labels,
 *
 *     logit P = gold (+ judge) + log((1 - n) / n)
 *
 * Besides the weights a version carries the evidence by domain: how good the gold model, the judge and the null
 * baselines are there, with intervals clustered by group, and the audit of flips. A domain with enough gold where
 * neither the gold model nor the judge is better than chance is `blind`: nothing of it can be decided.
 *
 * How good a judge is: his verdicts on gold, as a mean with a prior (Beta-shrunk). Of a domain the prior is what he is
 * over all of them, for 20 verdicts; over all of them it is a coin for 20 verdicts, or for a panel, whose accuracy is
 * declared, that for 10: five probes make it neither a coin nor sure. `nearest` speaks in a domain where he was
 * found to be better than chance, by 30 verdicts or more; a panel everywhere but where it was found not to be. So a
 * panel keeps a domain from being blind until probes show that it knows no more than the models there.
 *
 * A version folder: config.json with kind "posterior", and posterior.json, whose sha256 is announced. */
#ifndef SL_POSTERIOR_H
#define SL_POSTERIOR_H

#include "../topology/base/buf.h"
#include "train.h"

struct sl_posterior; /* immutable once open: any thread */

/* What one judge of a panel said. */
struct sl_evidence_opinion {
	struct sl_bytes judge; /* ENDPOINT/MODEL, as in votes */
	double verdict;        /* +1 agrees with the human, -1 not, 0 abstains */
};

/* One gold pair. Absent numbers are NaN. */
struct sl_evidence_row {
	struct sl_id group;
	struct sl_bytes domain; /* `domain`, or else `source`; copied by sl_evidence_add */
	double gold, best;      /* oriented to the human's verdict (truth) */
	double judge;           /* +1 the judge agrees with the human, -1 not, 0 abstains, NaN nobody was asked */
	double confidence;      /* the judge's own, uncalibrated: 0.5 to 1; NaN */
	double length;          /* sign, oriented to the truth */
	int first_wins;         /* +1 the human prefers what was shown first, -1 not, 0 unknown */
	bool audited;           /* sampled at random, arrived label known */
	bool arrived_right;     /* audited: the arrived label is the human's */
	const struct sl_evidence_opinion *opinions; /* of the judges of a panel; copied by sl_evidence_add */
	size_t opinion_count;
};

struct sl_evidence_rows {
	struct sl_evidence_row *at;
	size_t count, capacity;
	struct sl_arena texts;
};
void sl_evidence_add(struct sl_evidence_rows *rows, const struct sl_evidence_row *row);
void sl_evidence_release(struct sl_evidence_rows *rows);

struct sl_posterior_options {
	uint64_t seed;
	int64_t least_audited; /* 100: fewer give no weights */
	double keep;           /* 0.8: for the expected precision and the audit of flips in the report */
	double flip;           /* 0.15 */
	double judge_accuracy; /* declared, of a panel of LLMs; NaN: the judge is none */
};
void sl_posterior_options_default(struct sl_posterior_options *o);

/* Fit and write a version folder (which must not exist). Deterministic: rows (in order), options and seed. L2 is chosen
 * by cross-validation over groups. `extra_json` as in sl_train_linear; `report` receives the JSON object of the
 * announcement ("evidence": by domain, "flips", "reliability", "expected_precision", ...: see posterior_report.c). */
bool sl_posterior_fit(const struct sl_posterior_options *o, const struct sl_evidence_rows *rows, const char *judge,
		      const char *folder, const char *extra_json, struct sl_buf *report,
		      struct sl_error *e) SL_MUST_CHECK;

/* Like sl_model_open: SL_WAIT for what is missing or has a wrong hash, SL_STOP for what is malformed. */
struct sl_posterior *sl_posterior_open(const char *folder, struct sl_bytes sha256, struct sl_error *e) SL_MUST_CHECK;
void sl_posterior_close(struct sl_posterior *p);

bool sl_posterior_has_weights(const struct sl_posterior *p);
/* Gold pairs were put to the judge, so something is known of how good it is. */
bool sl_posterior_judge_known(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain);
/* The judge is a witness in the domain: nearest is above chance there by more than its interval, a panel is not known
 * to be no better. False too for a judge that is not known, and for a single one of a panel. */
bool sl_posterior_judge_speaks(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain);
/* Calibrated probability that a verdict of this judge is right in the domain; 0.5 for one that is not known. Known are
 * the witness, which speaks, and the single judges of a panel, by which its votes are weighed. */
double sl_posterior_judge_accuracy(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain);
/* The domain has enough gold, and none of the witnesses is better than chance. */
bool sl_posterior_blind(const struct sl_posterior *p, struct sl_bytes domain);
/* Lower end of the interval of the precision of flips, as audited; 0 without an audit. */
double sl_posterior_flip_low(const struct sl_posterior *p);

/* What is known of a pair of the stream, oriented to its label as it arrived. */
struct sl_witnesses {
	struct sl_bytes domain;
	double gold, best;  /* margin / temperature; NaN absent */
	double judge;       /* log-odds, signed; 0 abstained; NaN not asked or not known */
	double length;      /* sign */
	double label_noise; /* declared; used where there are no weights */
};
/* P(the arrived label is right). p may be NULL: no posterior was announced. NaN without any witness. */
double sl_posterior_p(const struct sl_posterior *p, const struct sl_witnesses *w);

/* The same for more than one verdict or length of a pair: what does not depend on them is worked out once. The
 * judge and the length of `w` are not looked at. */
struct sl_posterior_hearing {
	const struct sl_posterior *posterior;
	struct sl_witnesses witnesses;
	double gold, best; /* what is left of the margins */
	uint32_t domain;
};
struct sl_posterior_hearing sl_posterior_hear(const struct sl_posterior *p, const struct sl_witnesses *w);
double sl_posterior_heard(const struct sl_posterior_hearing *h, double judge, double length);

#endif
