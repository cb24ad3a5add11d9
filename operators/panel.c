/* panel.c -- see panel.h. Votes of one judge need not stand together; judges count in the order of their first vote,
 * so that a sum is the same bits every time. */
#include "panel.h"

#include <assert.h>
#include <math.h>

enum verdict { CHOSEN, REJECTED, TIE, BOTH_BAD, UNDECIDABLE, VERDICTS, NONE = VERDICTS };
static const char *const names[VERDICTS] = { "chosen", "rejected", "tie", "both_bad", "undecidable" };

/* No judge is right always, whatever a small sample says. */
#define ACCURACY_LEAST 0.001

static enum verdict verdict_of(const struct sl_vote *v)
{
	for (int i = 0; v->verdict.data && i < VERDICTS; i++)
		if (sl_is(v->verdict, names[i]))
			return (enum verdict)i;
	return NONE;
}

/* The most frequent; undecidable when two share the first place, NONE when nobody spoke. */
static enum verdict most_frequent(const size_t counts[VERDICTS])
{
	enum verdict first = CHOSEN;
	bool shared = false;

	for (int i = REJECTED; i < VERDICTS; i++) {
		if (counts[i] > counts[first]) {
			first = (enum verdict)i;
			shared = false;
		} else if (counts[i] == counts[first]) {
			shared = true;
		}
	}
	return counts[first] == 0 ? NONE : shared ? UNDECIDABLE : first;
}

static bool is_first_of_judge(const struct sl_vote *votes, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (sl_bytes_equal(votes[k].judge, votes[i].judge))
			return false;
	return true;
}

static enum verdict judge_verdict(const struct sl_vote *votes, size_t count, struct sl_bytes judge)
{
	size_t counts[VERDICTS] = { 0 };

	for (size_t i = 0; i < count; i++) {
		enum verdict v = verdict_of(&votes[i]);

		if (v != NONE && sl_bytes_equal(votes[i].judge, judge))
			counts[v]++;
	}
	return most_frequent(counts);
}

static double log_odds(struct sl_bytes judge, const struct sl_panel_judge *judges, size_t count, double declared)
{
	double accuracy = declared;

	for (size_t i = 0; i < count; i++)
		if (sl_bytes_equal(judges[i].name, judge) && !isnan(judges[i].accuracy)) {
			accuracy = judges[i].accuracy;
			break;
		}
	if (isnan(accuracy))
		return NAN;
	accuracy = fmin(fmax(accuracy, ACCURACY_LEAST), 1 - ACCURACY_LEAST);
	return log(accuracy / (1 - accuracy));
}

/* What all judges say: how many of each verdict, and the sum of log-odds for chosen. */
struct tally {
	size_t counts[VERDICTS];
	size_t judges;
	double sum; /* NaN where the accuracy of one that counts is not known */
};

static enum verdict weighted(const struct tally *t, double least)
{
	size_t tie = t->counts[TIE], bad = t->counts[BOTH_BAD];

	if (2 * (tie + bad) > t->judges)
		return bad > tie ? BOTH_BAD : TIE;
	if (isnan(t->sum) || t->sum == 0 || fabs(t->sum) < least)
		return UNDECIDABLE;
	return t->sum > 0 ? CHOSEN : REJECTED;
}

/* Of a majority against the weights of its judges nothing better can be said than a coin. */
static double confidence_of(enum verdict v, double sum)
{
	switch (v) {
	case CHOSEN:
		return isnan(sum) ? NAN : sl_sigmoid(fmax(sum, 0));
	case REJECTED:
		return isnan(sum) ? NAN : sl_sigmoid(fmax(-sum, 0));
	case UNDECIDABLE:
		return isnan(sum) ? NAN : sl_sigmoid(fabs(sum));
	default:
		return NAN;
	}
}

struct sl_panel_verdict sl_panel_merge(enum sl_panel_merge merge, const struct sl_vote *votes, size_t vote_count,
				       const struct sl_panel_judge *judges, size_t judge_count, double declared,
				       double least)
{
	struct tally t = { 0 };
	enum verdict v;

	for (size_t i = 0; i < vote_count; i++) {
		if (!is_first_of_judge(votes, i))
			continue;
		v = judge_verdict(votes, vote_count, votes[i].judge);
		if (v == NONE)
			continue;
		t.judges++;
		t.counts[v]++;
		if (v == CHOSEN)
			t.sum += log_odds(votes[i].judge, judges, judge_count, declared);
		else if (v == REJECTED)
			t.sum -= log_odds(votes[i].judge, judges, judge_count, declared);
	}
	if (t.judges == 0)
		return (struct sl_panel_verdict){ .confidence = NAN };
	v = merge == SL_PANEL_WEIGHTED ? weighted(&t, least) : most_frequent(t.counts);
	assert(v != NONE);
	return (struct sl_panel_verdict){ .verdict = sl_text(names[v]), .confidence = confidence_of(v, t.sum) };
}

bool sl_panel_unsure(const struct sl_panel_verdict *v, const struct sl_vote *votes, size_t vote_count, double sure)
{
	if (!v->verdict.data || sl_is(v->verdict, "undecidable") || v->confidence < sure)
		return true;
	for (size_t i = 0; i < vote_count; i++)
		for (size_t k = 0; k < i; k++)
			if (sl_bytes_equal(votes[i].judge, votes[k].judge) && verdict_of(&votes[i]) != NONE &&
			    verdict_of(&votes[k]) != NONE && verdict_of(&votes[i]) != verdict_of(&votes[k]))
				return true;
	return false;
}
