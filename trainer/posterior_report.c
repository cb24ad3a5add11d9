/* posterior_report.c -- what people see of a posterior: the evidence by domain, and the audits.
 *
 *     {"rows": 3300, "audited": 3100, "judge": "nearest", "weights": true, "l2_all": 10, "l2_domain": 30,
 *      "all": EVIDENCE,                                   over all domains
 *      "evidence": {"oasst": EVIDENCE, ...},              by domain
 *      "reliability": [{"from": 0.8, "to": 0.9, "count": 400, "expected": 0.85, "right": 0.84}, ...],
 *      "curated": {"keep": 0.8, "retention": ACCURACY, "expected": 0.86, "precision": ACCURACY},
 *      "discarded": ACCURACY,                             how many of these labels are right
 *      "undecided": {"share": ACCURACY, "blind_share": ACCURACY, "right": ACCURACY},
 *      "flips": {"flip": 0.15, "wrong": ACCURACY},        wrong.low is what filter asks for
 *      "expected_precision": 0.86}
 *
 *     EVIDENCE  {"rows", "groups", "audited", "blind", "length_sign", and, where known, as ACCURACY: "gold", "best",
 *               "judge", "longest_wins", "first_wins", "arrived_right"}
 *     ACCURACY  {"count", "value", "low", "high"}         a share with its 95 % interval, clustered by group
 *
 * length_sign: +1 where people prefer the longer answer (the whole interval is over 0.5), -1 the shorter, else 0.
 * What is expected and what is found about labels comes from audited pairs, each seen by a fit without its fold. The
 * judge is heard about those that were put to him: of a panel, the probes. */
#include "posterior_fit.h"

#include "evaluate.h"

#include <math.h>
#include <stdlib.h>

#define BLIND_ROWS 50   /* fewer say nothing about a domain */
#define BLIND_GROUPS 10 /* nor do fewer prompts, however many answers they have */
#define SPEAK_COUNT 30  /* verdicts before it is known how good a judge is in a domain */
#define BINS 10

/* What was found on some rows: positive is right, negative is wrong, 0 a tie. */
struct sample {
	struct sl_id *groups;
	double *margins;
	size_t count;
};

static struct sample sample_new(size_t most)
{
	return (struct sample){ .groups = sl_malloc((most + 1) * sizeof(struct sl_id)),
				.margins = sl_malloc((most + 1) * sizeof(double)) };
}

static void sample_add(struct sample *s, const struct sl_fit_row *r, double margin)
{
	if (isnan(margin))
		return;
	s->groups[s->count] = r->row->group;
	s->margins[s->count++] = margin;
}

/* The interval; the sample is empty afterwards. */
static struct sl_accuracy sample_take(struct sample *s)
{
	struct sl_accuracy a = sl_accuracy_clustered(s->groups, s->margins, s->count);

	s->count = 0;
	return a;
}

static void sample_release(struct sample *s)
{
	free(s->groups);
	free(s->margins);
}

/* -- evidence ----------------------------------------------------------------- */

static double zero_is_unknown(double sign)
{
	return sign == 0 ? NAN : sign;
}

static double gold_of(const struct sl_fit_row *r)
{
	return r->row->gold;
}
static double best_of(const struct sl_fit_row *r)
{
	return r->row->best;
}
static double judge_of(const struct sl_fit_row *r)
{
	return zero_is_unknown(r->row->judge);
}
static double length_of(const struct sl_fit_row *r)
{
	return r->row->length;
}
static double first_of(const struct sl_fit_row *r)
{
	return zero_is_unknown(r->row->first_wins);
}
static double arrived_of(const struct sl_fit_row *r)
{
	return !r->row->audited ? NAN : r->row->arrived_right ? 1 : -1;
}

/* Of one domain, or of all: any. */
static struct sl_accuracy measure(const struct sl_fitting *f, struct sample *s, const size_t *rows, size_t count,
				  double (*of)(const struct sl_fit_row *))
{
	for (size_t i = 0; i < count; i++)
		sample_add(s, &f->rows[rows[i]], of(&f->rows[rows[i]]));
	return sample_take(s);
}

static struct sl_domain_evidence evidence_of(const struct sl_fitting *f, struct sample *s, const size_t *rows,
					     size_t count)
{
	struct sl_domain_evidence e = {
		.rows = (int64_t)count,
		.gold = measure(f, s, rows, count, gold_of),
		.best = measure(f, s, rows, count, best_of),
		.judge = measure(f, s, rows, count, judge_of),
		.longest_wins = measure(f, s, rows, count, length_of),
		.first_wins = measure(f, s, rows, count, first_of),
		.arrived_right = measure(f, s, rows, count, arrived_of),
	};

	for (size_t i = 0; i < count; i++) {
		e.audited += f->rows[rows[i]].row->audited;
		e.groups += i == 0 || !sl_id_equal(f->rows[rows[i]].row->group, f->rows[rows[i - 1]].row->group);
	}
	return e;
}

static bool is_measured(const struct sl_accuracy *a)
{
	return a->count >= SPEAK_COUNT;
}

static bool over_chance(const struct sl_accuracy *a)
{
	return a->count && a->low > 0.5;
}

static bool at_chance(const struct sl_accuracy *a)
{
	return is_measured(a) && !over_chance(a);
}

/* Who speaks where, and where nobody does: see posterior.h. A panel is presumed to be in a domain what it is elsewhere,
 * or what is declared; `nearest` is modest. */
static void weigh(struct sl_fitting *f, const struct sl_domain_evidence *evidence)
{
	bool panel = !isnan(f->o->judge_accuracy);

	f->p.judge_speaks = panel && !at_chance(&evidence[f->p.domain_count].judge);
	for (size_t d = 0; d < f->p.domain_count; d++) {
		const struct sl_domain_evidence *e = &evidence[d];
		struct sl_posterior_domain *to = &f->p.domains[d];

		to->judge_speaks = is_measured(&e->judge) ? over_chance(&e->judge) : f->p.judge_speaks;
		to->blind = e->rows >= BLIND_ROWS && e->groups >= BLIND_GROUPS && !over_chance(&e->gold) &&
			    !over_chance(&e->best) && !to->judge_speaks;
	}
}

struct sl_domain_evidence *sl_fit_evidence(struct sl_fitting *f)
{
	size_t domains = f->p.domain_count;
	struct sl_domain_evidence *evidence = sl_calloc(domains + 1, sizeof *evidence);
	size_t *rows = sl_malloc((f->count + 1) * sizeof *rows);
	struct sample s = sample_new(f->count);

	for (size_t d = 0; d <= domains; d++) {
		size_t count = 0;

		for (size_t i = 0; i < f->count; i++)
			if (d == domains || f->rows[i].domain == d)
				rows[count++] = i;
		evidence[d] = evidence_of(f, &s, rows, count);
	}
	weigh(f, evidence);
	sample_release(&s);
	free(rows);
	return evidence;
}

/* -- audits ------------------------------------------------------------------- */

static bool is_blind(const struct sl_fitting *f, const struct sl_fit_row *r)
{
	return r->domain != SL_LOGISTIC_NO_DOMAIN && f->p.domains[r->domain].blind;
}

/* Two independent witnesses against the label as it arrived, the judge one of them where he speaks and was asked: as
 * filter has it (operators/rules.h). */
static bool rejected_twice(const struct sl_fitting *f, const struct sl_fit_row *r)
{
	bool listed = r->domain != SL_LOGISTIC_NO_DOMAIN;
	bool speaks = listed ? f->p.domains[r->domain].judge_speaks : f->p.judge_speaks;
	struct sl_witnesses w = sl_fit_witnesses(r);

	return w.gold < 0 && (speaks && !isnan(w.judge) ? w.judge < 0 : w.best < 0);
}

struct sl_accuracy sl_fit_flips(struct sl_fitting *f)
{
	struct sample s = sample_new(f->count);
	struct sl_accuracy flips;

	for (size_t i = 0; i < f->count; i++) {
		const struct sl_fit_row *r = &f->rows[i];

		if (isnan(r->p) || is_blind(f, r) || r->p > f->o->flip || !rejected_twice(f, r))
			continue;
		sample_add(&s, r, r->row->arrived_right ? -1 : 1);
	}
	flips = sample_take(&s);
	sample_release(&s);
	f->p.flip_low = flips.count ? flips.low : 0;
	return flips;
}

static double six_digits(double x)
{
	return round(x * 1e6) / 1e6;
}

static json_t *accuracy_json(const struct sl_accuracy *a)
{
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)a->count, "value", six_digits(a->value), "low",
			 six_digits(a->low), "high", six_digits(a->high));
}

static void add_accuracy(json_t *to, const char *name, const struct sl_accuracy *a)
{
	if (a->count && json_object_set_new(to, name, accuracy_json(a)) != 0)
		sl_oom(0);
}

static json_t *evidence_json(const struct sl_domain_evidence *e, bool blind)
{
	const struct sl_accuracy *longest = &e->longest_wins;
	int sign = !longest->count ? 0 : longest->low > 0.5 ? 1 : longest->high < 0.5 ? -1 : 0;
	json_t *to =
		json_pack("{s:I, s:I, s:I, s:b, s:i}", "rows", (json_int_t)e->rows, "groups", (json_int_t)e->groups,
			  "audited", (json_int_t)e->audited, "blind", blind, "length_sign", sign);

	add_accuracy(to, "gold", &e->gold);
	add_accuracy(to, "best", &e->best);
	add_accuracy(to, "judge", &e->judge);
	add_accuracy(to, "longest_wins", longest);
	add_accuracy(to, "first_wins", &e->first_wins);
	add_accuracy(to, "arrived_right", &e->arrived_right);
	return to;
}

static json_t *reliability_json(const struct sl_fitting *f)
{
	struct {
		int64_t count;
		double expected, right;
	} bins[BINS] = { 0 };
	json_t *list = json_array();

	for (size_t i = 0; i < f->count; i++) {
		const struct sl_fit_row *r = &f->rows[i];

		if (isnan(r->p))
			continue;

		size_t bin = r->p < 1 ? (size_t)(r->p * BINS) : BINS - 1;

		bins[bin].count++;
		bins[bin].expected += r->p;
		bins[bin].right += r->row->arrived_right;
	}
	for (size_t bin = 0; bin < BINS; bin++) {
		double n = (double)bins[bin].count;

		if (bins[bin].count &&
		    json_array_append_new(list,
					  json_pack("{s:f, s:f, s:I, s:f, s:f}", "from", (double)bin / BINS, "to",
						    (double)(bin + 1) / BINS, "count", (json_int_t)bins[bin].count,
						    "expected", six_digits(bins[bin].expected / n), "right",
						    six_digits(bins[bin].right / n))) != 0)
			sl_oom(0);
	}
	return list;
}

enum zone { ANY, KEPT, DISCARDED, UNDECIDED, BLIND };

static bool is_in(const struct sl_fitting *f, const struct sl_fit_row *r, enum zone zone)
{
	bool blind = is_blind(f, r), kept = !blind && r->p >= f->o->keep, dropped = !blind && r->p <= 1 - f->o->keep;

	return zone == ANY || (zone == KEPT && kept) || (zone == DISCARDED && dropped) || (zone == BLIND && blind) ||
	       (zone == UNDECIDED && !kept && !dropped);
}

/* How many labels in a zone are right; how large a zone is. */
static struct sl_accuracy right_in(const struct sl_fitting *f, struct sample *s, enum zone zone)
{
	for (size_t i = 0; i < f->count; i++)
		if (!isnan(f->rows[i].p) && is_in(f, &f->rows[i], zone))
			sample_add(s, &f->rows[i], f->rows[i].row->arrived_right ? 1 : -1);
	return sample_take(s);
}

static struct sl_accuracy share_of(const struct sl_fitting *f, struct sample *s, enum zone zone)
{
	for (size_t i = 0; i < f->count; i++)
		if (!isnan(f->rows[i].p))
			sample_add(s, &f->rows[i], is_in(f, &f->rows[i], zone) ? 1 : -1);
	return sample_take(s);
}

static double expected_in(const struct sl_fitting *f, enum zone zone)
{
	double sum = 0;
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++)
		if (!isnan(f->rows[i].p) && is_in(f, &f->rows[i], zone)) {
			sum += f->rows[i].p;
			count++;
		}
	return count ? six_digits(sum / (double)count) : 0;
}

static void add_audits(const struct sl_fitting *f, json_t *to)
{
	struct sample s = sample_new(f->count);
	struct sl_accuracy retention = share_of(f, &s, KEPT), precision = right_in(f, &s, KEPT);
	struct sl_accuracy discarded = right_in(f, &s, DISCARDED), undecided = share_of(f, &s, UNDECIDED);
	struct sl_accuracy blind = share_of(f, &s, BLIND), unknown = right_in(f, &s, UNDECIDED);
	double expected = expected_in(f, KEPT);
	json_t *parts =
		json_pack("{s:o, s:{s:f, s:o, s:f, s:o}, s:o, s:{s:o, s:o, s:o}, s:f}", "reliability",
			  reliability_json(f), "curated", "keep", f->o->keep, "retention", accuracy_json(&retention),
			  "expected", expected, "precision", accuracy_json(&precision), "discarded",
			  accuracy_json(&discarded), "undecided", "share", accuracy_json(&undecided), "blind_share",
			  accuracy_json(&blind), "right", accuracy_json(&unknown), "expected_precision", expected);

	if (!parts || json_object_update(to, parts) != 0)
		sl_oom(0);
	json_decref(parts);
	sample_release(&s);
}

json_t *sl_fit_report(const struct sl_fitting *f, const struct sl_domain_evidence *evidence,
		      const struct sl_accuracy *flips)
{
	bool weights = sl_posterior_has_weights(&f->p);
	json_t *by_domain = json_object(), *report;

	for (size_t d = 0; d < f->p.domain_count; d++) {
		const struct sl_posterior_domain *domain = &f->p.domains[d];

		if (json_object_setn_new(by_domain, domain->name.data, domain->name.size,
					 evidence_json(&evidence[d], domain->blind)) != 0)
			sl_oom(0);
	}
	report = json_pack("{s:I, s:I, s:o, s:b, s:f, s:f, s:o, s:o, s:{s:f, s:o}}", "rows", (json_int_t)f->count,
			   "audited", (json_int_t)f->audited, "judge",
			   f->p.judge.data ? json_stringn(f->p.judge.data, f->p.judge.size) : json_null(), "weights",
			   weights, "l2_all", f->l2_all, "l2_domain", f->l2_domain, "all",
			   evidence_json(&evidence[f->p.domain_count], false), "evidence", by_domain, "flips", "flip",
			   f->o->flip, "wrong", accuracy_json(flips));
	if (!report)
		sl_oom(0);
	if (weights)
		add_audits(f, report);
	return report;
}
