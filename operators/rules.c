/* rules.c -- see rules.h. */
#include "rules.h"
#include "nearest.h"

#include <math.h>

static enum sl_side side_of(double p, double band)
{
	if (isnan(p))
		return SL_SIDE_ABSENT;
	return p > 0.5 + band ? SL_SIDE_FOR : p < 0.5 ? SL_SIDE_AGAINST : SL_SIDE_NEITHER;
}

static enum sl_side judge_of(const struct sl_judgement *j)
{
	if (!j->present || !j->asked)
		return SL_SIDE_ABSENT;
	if (!j->verdict.data || sl_is(j->verdict, "undecidable"))
		return SL_SIDE_ABSTAINED;
	return sl_is(j->verdict, "chosen")     ? SL_SIDE_FOR
	       : sl_is(j->verdict, "rejected") ? SL_SIDE_AGAINST
					       : SL_SIDE_NEITHER;
}

static double margin_of(const struct sl_score *score)
{
	return score ? (score->chosen - score->rejected) / score->temperature : NAN;
}

/* Who was asked, as one witness, or would be. */
static struct sl_bytes witness_of(const struct sl_rule_settings *s, const struct sl_judgement *j)
{
	if (!j->present || !j->asked)
		return s->judge;
	return j->panel.data ? j->panel : j->vote_count ? j->votes[0].judge : s->judge;
}

/* NaN: nobody knows how good the judge is here, or it is a coin here. */
static void judge_log_odds(const struct sl_rule_settings *s, const struct sl_pair *p, struct sl_evidence *e)
{
	struct sl_bytes judge = witness_of(s, &p->judgement), domain = sl_pair_domain(p);
	double accuracy = s->judge_accuracy;

	e->judge_log_odds = NAN;
	if (s->posterior && sl_posterior_judge_known(s->posterior, judge, domain)) {
		if (!sl_posterior_judge_speaks(s->posterior, judge, domain))
			return;
		accuracy = sl_posterior_judge_accuracy(s->posterior, judge, domain);
	} else {
		if (sl_is(judge, SL_NEAREST) || !judge.data)
			return;
		e->judge_declared = true;
	}
	e->judge_log_odds = log(accuracy / (1 - accuracy));
}

/* Only weights look at the length. */
static bool hears_length(const struct sl_rule_settings *s)
{
	return s->posterior && sl_posterior_has_weights(s->posterior);
}

/* All but the length, which is dear: it takes a walk over both answers. */
static struct sl_evidence evidence_of(const struct sl_rule_settings *s, const struct sl_pair *p)
{
	struct sl_evidence e = {
		.judge = judge_of(&p->judgement),
		.witnesses = {
			.domain = sl_pair_domain(p),
			.gold = margin_of(sl_pair_score(p, "gold")),
			.best = margin_of(sl_pair_score(p, "best")),
			.label_noise = s->label_noise,
		},
	};

	judge_log_odds(s, p, &e);
	e.p_gold = sl_sigmoid(e.witnesses.gold);
	e.p_best = sl_sigmoid(e.witnesses.best);
	e.gold = side_of(e.p_gold, 0);
	e.best = side_of(e.p_best, s->band);
	return e;
}

struct sl_evidence sl_evidence_of(const struct sl_rule_settings *s, const struct sl_pair *p)
{
	struct sl_evidence e = evidence_of(s, p);

	if (hears_length(s))
		e.witnesses.length = sl_pair_length_sign(p);
	return e;
}

/* The judge as the posterior rule hears it. */
static enum sl_side heard(const struct sl_evidence *e)
{
	return isnan(e->judge_log_odds) ? SL_SIDE_ABSENT : e->judge;
}

static double posterior_p(const struct sl_evidence *e, const struct sl_posterior_hearing *h)
{
	enum sl_side judge = heard(e);
	double said = judge == SL_SIDE_ABSENT    ? NAN
		      : judge == SL_SIDE_FOR     ? e->judge_log_odds
		      : judge == SL_SIDE_AGAINST ? -e->judge_log_odds
						 : 0;
	double p = sl_posterior_heard(h, e->judge_declared ? NAN : said, e->witnesses.length);
	struct sl_witnesses w = e->witnesses;

	if (!e->judge_declared || isnan(said))
		return p;
	w.judge = said;
	return isnan(p) ? sl_posterior_p(NULL, &w) : sl_sigmoid(log(p / (1 - p)) + said);
}

static struct sl_outcome without_gold(const struct sl_rule_settings *s, const struct sl_evidence *e, double p)
{
	if (s->without_gold == SL_WITHOUT_GOLD_PASS)
		return (struct sl_outcome){ SL_ACTION_KEEP, "without_gold", p };
	if (e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "judge_alone", p };
	if (e->judge == SL_SIDE_AGAINST)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "judge_rejects", p };
	return (struct sl_outcome){ SL_ACTION_UNDECIDED, "no_evidence", p };
}

static struct sl_outcome gold_is_for(const struct sl_evidence *e, double p)
{
	bool judge_silent = e->judge == SL_SIDE_ABSENT || e->judge == SL_SIDE_ABSTAINED;

	if (e->best == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_and_best", p };
	if (e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_and_judge", p };
	if (e->best == SL_SIDE_ABSENT && judge_silent)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_alone", p };
	return (struct sl_outcome){ SL_ACTION_DISCARD, "unconfirmed", p };
}

static struct sl_outcome paper(const struct sl_rule_settings *s, const struct sl_evidence *e, double p)
{
	if (e->gold == SL_SIDE_ABSENT)
		return without_gold(s, e, p);
	if (e->gold == SL_SIDE_FOR)
		return gold_is_for(e, p);
	if (e->gold != SL_SIDE_AGAINST || e->best != SL_SIDE_AGAINST || e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "gold_rejects", p };
	if (!s->flips)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "flip_suspended", p };
	if (e->judge == SL_SIDE_AGAINST || e->judge == SL_SIDE_ABSENT)
		return (struct sl_outcome){ SL_ACTION_FLIP, "flipped", p };
	return (struct sl_outcome){ SL_ACTION_DISCARD, "flip_unconfirmed", p };
}

/* Two witnesses of their own against the label, none that is asked and does not join them, and a record of being
 * right. */
static bool may_flip(const struct sl_rule_settings *s, const struct sl_evidence *e)
{
	enum sl_side judge = heard(e);

	return s->flips && s->posterior && sl_posterior_flip_low(s->posterior) > 0.5 && e->gold == SL_SIDE_AGAINST &&
	       (judge == SL_SIDE_AGAINST || (judge == SL_SIDE_ABSENT && e->best == SL_SIDE_AGAINST));
}

static struct sl_outcome posterior(const struct sl_rule_settings *s, const struct sl_evidence *e, double p)
{
	if (e->gold == SL_SIDE_ABSENT)
		return without_gold(s, e, p);
	if (isnan(p) || (s->posterior && sl_posterior_blind(s->posterior, e->witnesses.domain)))
		return (struct sl_outcome){ SL_ACTION_UNDECIDED, "no_evidence", p };
	if (p >= s->keep)
		return (struct sl_outcome){ SL_ACTION_KEEP, "likely_right", p };
	if (p > 1 - s->keep)
		return (struct sl_outcome){ SL_ACTION_UNDECIDED, "unsure", p };
	if (p > s->flip)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "likely_wrong", p };
	if (may_flip(s, e))
		return (struct sl_outcome){ SL_ACTION_FLIP, "flipped", p };
	return (struct sl_outcome){ SL_ACTION_DISCARD, "flip_suspended", p };
}

static struct sl_outcome pass(const struct sl_rule_settings *s, const struct sl_evidence *e, double p)
{
	(void)s;
	(void)e;
	return (struct sl_outcome){ SL_ACTION_KEEP, "pass_through", p };
}

const struct sl_rule sl_rule_paper = { "paper", paper, false };
const struct sl_rule sl_rule_posterior = { "posterior", posterior, true };
const struct sl_rule sl_rule_pass = { "pass", pass, false };

const struct sl_rule *sl_rule_find(const char *name)
{
	static const struct sl_rule *const rules[] = { &sl_rule_paper, &sl_rule_posterior, &sl_rule_pass };

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (strcmp(name, rules[i]->name) == 0)
			return rules[i];
	return NULL;
}

struct sl_outcome sl_rule_decide(const struct sl_rule *rule, const struct sl_rule_settings *s,
				 const struct sl_evidence *e)
{
	struct sl_posterior_hearing h = sl_posterior_hear(s->posterior, &e->witnesses);

	return rule->decide(s, e, s->posterior || rule->by_p ? posterior_p(e, &h) : e->p_gold);
}

/* Would a yes or a no lead to another action, were the answers so different in length? */
static bool changes(const struct sl_rule *rule, const struct sl_rule_settings *s, struct sl_evidence e,
		    const struct sl_posterior_hearing *h, double length)
{
	static const enum sl_side sides[] = { SL_SIDE_ABSENT, SL_SIDE_FOR, SL_SIDE_AGAINST };
	enum sl_action actions[3];

	e.witnesses.length = length;
	for (size_t i = 0; i < 3; i++) {
		e.judge = sides[i];
		actions[i] = rule->decide(s, &e, rule->by_p ? posterior_p(&e, h) : NAN).action;
	}
	return actions[1] != actions[0] || actions[2] != actions[0];
}

bool sl_rule_asks(const struct sl_rule *rule, const struct sl_rule_settings *s, const struct sl_pair *p)
{
	struct sl_pair unasked = *p;
	struct sl_posterior_hearing h = { 0 };
	struct sl_evidence e;
	bool asks;

	unasked.judgement = (struct sl_judgement){ 0 };
	e = evidence_of(s, &unasked);
	if (rule->by_p)
		h = sl_posterior_hear(s->posterior, &e.witnesses);
	asks = changes(rule, s, e, &h, 0);
	if (!rule->by_p || !hears_length(s))
		return asks;
	/* Words are counted only where they matter: mostly the longer and the shorter one are as good to ask about. */
	if (changes(rule, s, e, &h, -1) == asks && changes(rule, s, e, &h, 1) == asks)
		return asks;
	return changes(rule, s, e, &h, sl_pair_length_sign(p));
}

const char *sl_action_name(enum sl_action action)
{
	static const char *const names[] = { "keep", "flip", "undecided", "discard" };

	return names[action];
}

const char *sl_side_name(enum sl_side side)
{
	static const char *const names[] = { "absent", "abstained", "neither", "for", "against" };

	return names[side];
}
