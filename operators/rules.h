/* rules.h -- what filter decides, as a pure function of what was said about a pair.
 *
 * Three witnesses speak about the label as it arrived: the gold model, the best
 * model, the judge. Each is for it, against it, neither, or absent. A rule turns
 * that into an action.
 *
 * Rule `paper` (arXiv 2507.01352 section 3.3, read as in DESIGN
 * section 1), with
 *
 *     gold for      p_gold > 0.5            against  p_gold < 0.5
 *     best for      p_best > 0.5 + band     against  p_best < 0.5     else neither
 *     judge for     chosen                  against  rejected
 *           neither tie, both bad           abstained undecidable, gave up
 *           absent  not asked
 *
 * in this order:
 *
 *   keep     gold for and (best for or judge for)                 gold_and_best, gold_and_judge
 *   keep     gold for, best absent, judge absent or abstained     gold_alone
 *   discard  gold for, anything else                              unconfirmed
 *   discard  gold neither, or not (gold and best against)         gold_rejects
 *   discard  gold and best against, judge for                     gold_rejects
 *   discard  gold and best against, flips off                     flip_suspended
 *   flip     gold and best against, judge against or absent       flipped
 *   discard  gold and best against, judge neither or abstained    flip_unconfirmed
 *
 * A judge who abstains is absent where he could have confirmed (he is not a no), but a pair
 * on which he was asked is flipped only on his clear no. An absent best is neither for
 * nor against. With `band` 0 this differs from the published rule only at p = 0.5 exactly,
 * where a model has no opinion and a flip would change nothing.
 *
 * Rule `posterior` (the default). P = P(the label as it arrived is right), a logistic model on what the witnesses
 * say (trainer/posterior.h), in this order:
 *
 *   undecided  the domain is blind: no witness is better than chance there      no_evidence
 *   keep       P >= keep                                                        likely_right
 *   undecided  P > 1 - keep                                                     unsure
 *   discard    P > flip                                                         likely_wrong
 *   flip       flips on, gold against, best or judge against, judge not for,    flipped
 *              neither or abstained, audited flips more often right than not
 *   discard    anything else                                                    flip_suspended
 *
 * The judge is one witness, also where he is a panel of LLMs. How much he counts is learnt from gold pairs that were
 * put to him. Who turned out to be a coin in the pair's domain is absent for this rule. A panel of LLMs of whom too
 * little is known yet counts with the declared `judge_accuracy` a, independent of all else:
 *
 *     logit P = logit P(without him) + log(a / (1 - a)) on his yes, - on his no
 *
 * `nearest`, who is modest, is absent until he is known. Without an announced posterior P comes from the margins, the
 * declared `label_noise` and such a panel, and nothing is flipped.
 *
 * Rule `pass`, for a source that is trusted as it is: keep (pass_through).
 *
 * The gold model absent (announced as absent; `without_gold`), in both rules:
 *   llm_only   keep on the judge's yes (judge_alone), discard on his no
 *              (judge_rejects), else undecided (no_evidence)
 *   pass       keep (without_gold)
 *   stop       filter stops the run before it comes here
 *
 * Every decision carries P: of the posterior where one is announced, whatever the rule; else rule `paper` gives
 * p_gold.
 *
 * Asking: an answer is worth having when a yes or a no would lead to another action than no
 * answer. That is a question to the rule itself, so it needs no second table and
 * cannot disagree with the decision. */
#ifndef SL_RULES_H
#define SL_RULES_H

#include "../schemas/pair.h"
#include "../trainer/posterior.h"

enum sl_side { SL_SIDE_ABSENT, SL_SIDE_ABSTAINED, SL_SIDE_NEITHER, SL_SIDE_FOR, SL_SIDE_AGAINST };

struct sl_evidence {
	enum sl_side gold, best, judge;
	double p_gold, p_best; /* NaN when absent */
	/* The same for the posterior: all but the judge, and the log-odds that a verdict of the judge is right in this
	 * domain; NaN when that is not known. */
	struct sl_witnesses witnesses;
	double judge_log_odds;
	bool judge_declared; /* they are not measured but the declared ones */
};

enum sl_without_gold { SL_WITHOUT_GOLD_STOP, SL_WITHOUT_GOLD_LLM_ONLY, SL_WITHOUT_GOLD_PASS };

struct sl_rule_settings {
	double band;
	bool flips;
	enum sl_without_gold without_gold;
	double keep, flip, label_noise;
	double judge_accuracy; /* declared, of a panel of LLMs that is not known: 0.5 to below 1 */
	struct sl_bytes judge; /* who is, or would be, asked, as one witness: "nearest" or the name of a panel */
	const struct sl_posterior *posterior; /* NULL: none announced */
};

enum sl_action { SL_ACTION_KEEP, SL_ACTION_FLIP, SL_ACTION_UNDECIDED, SL_ACTION_DISCARD };

struct sl_outcome {
	enum sl_action action;
	const char *why; /* one of the codes above */
	double p_label;  /* P(the arrived label is right); NaN unknown */
};

/* A rule: deterministic, reads its arguments only. `p` is P, which goes into the outcome. */
struct sl_rule {
	const char *name;
	struct sl_outcome (*decide)(const struct sl_rule_settings *s, const struct sl_evidence *e, double p);
	bool by_p; /* the action depends on P; else P is only told */
};
extern const struct sl_rule sl_rule_paper, sl_rule_posterior, sl_rule_pass;
const struct sl_rule *sl_rule_find(const char *name);

struct sl_outcome sl_rule_decide(const struct sl_rule *rule, const struct sl_rule_settings *s,
				 const struct sl_evidence *e);

/* The evidence of a pair in the orientation it has. */
struct sl_evidence sl_evidence_of(const struct sl_rule_settings *s, const struct sl_pair *p);

/* The action as it is written into a decision: keep, flip, undecided, discard. */
const char *sl_action_name(enum sl_action action);
/* The judge's verdict for people: "chosen", "abstained", "not asked" ... */
const char *sl_side_name(enum sl_side side);

/* Would a judge's yes or no lead to another action than no answer? What a judge has said
 * already is not looked at. Used by retrieve (who needs examples) and annotate
 * (whom to ask). */
bool sl_rule_asks(const struct sl_rule *rule, const struct sl_rule_settings *s, const struct sl_pair *p);

#endif
