/* rules.c -- see rules.h. */
#include "rules.h"

#include <math.h>

static double p_of(const struct sl_score *score)
{
	return score ? sl_sigmoid((score->chosen - score->rejected) / score->temperature) : NAN;
}

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

struct sl_evidence sl_evidence_of(const struct sl_rule_settings *s, const struct sl_pair *p)
{
	struct sl_evidence e = {
		.p_gold = p_of(sl_pair_score(p, "gold")),
		.p_best = p_of(sl_pair_score(p, "best")),
		.judge = judge_of(&p->judgement),
	};

	e.gold = side_of(e.p_gold, 0);
	e.best = side_of(e.p_best, s->band);
	return e;
}

static struct sl_outcome without_gold(const struct sl_rule_settings *s, const struct sl_evidence *e)
{
	if (s->without_gold == SL_WITHOUT_GOLD_PASS)
		return (struct sl_outcome){ SL_ACTION_KEEP, "without_gold", NAN };
	if (e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "judge_alone", NAN };
	if (e->judge == SL_SIDE_AGAINST)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "judge_rejects", NAN };
	return (struct sl_outcome){ SL_ACTION_UNDECIDED, "no_evidence", NAN };
}

static struct sl_outcome gold_is_for(const struct sl_evidence *e)
{
	bool judge_silent = e->judge == SL_SIDE_ABSENT || e->judge == SL_SIDE_ABSTAINED;

	if (e->best == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_and_best", e->p_gold };
	if (e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_and_judge", e->p_gold };
	if (e->best == SL_SIDE_ABSENT && judge_silent)
		return (struct sl_outcome){ SL_ACTION_KEEP, "gold_alone", e->p_gold };
	return (struct sl_outcome){ SL_ACTION_DISCARD, "unconfirmed", e->p_gold };
}

static struct sl_outcome paper(const struct sl_rule_settings *s, const struct sl_evidence *e)
{
	if (e->gold == SL_SIDE_ABSENT)
		return without_gold(s, e);
	if (e->gold == SL_SIDE_FOR)
		return gold_is_for(e);
	if (e->gold != SL_SIDE_AGAINST || e->best != SL_SIDE_AGAINST || e->judge == SL_SIDE_FOR)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "gold_rejects", e->p_gold };
	if (!s->flips)
		return (struct sl_outcome){ SL_ACTION_DISCARD, "flip_suspended", e->p_gold };
	if (e->judge == SL_SIDE_AGAINST || e->judge == SL_SIDE_ABSENT)
		return (struct sl_outcome){ SL_ACTION_FLIP, "flipped", e->p_gold };
	return (struct sl_outcome){ SL_ACTION_DISCARD, "flip_unconfirmed", e->p_gold };
}

const struct sl_rule sl_rule_paper = { "paper", paper };

const struct sl_rule *sl_rule_find(const char *name)
{
	return strcmp(name, sl_rule_paper.name) == 0 ? &sl_rule_paper : NULL;
}

bool sl_rule_asks(const struct sl_rule *rule, const struct sl_rule_settings *s, const struct sl_pair *p)
{
	struct sl_evidence e = sl_evidence_of(s, p);
	enum sl_action yes, no;

	e.judge = SL_SIDE_FOR;
	yes = rule->decide(s, &e).action;
	e.judge = SL_SIDE_AGAINST;
	no = rule->decide(s, &e).action;
	return yes != no;
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
