/* posterior_fit.c -- gold pairs in, a posterior and its version folder out.
 *
 *     1  the judge is calibrated (posterior_judge.c)
 *     2  L2 is chosen by cross-validation over groups, on the largest set of witnesses
 *     3  every audited pair gets its P from a fit without its fold: on that rest the reliability, the audit of flips
 *        and the expected precision
 *     4  one fit per set of witnesses, on all audited pairs; with a judge that few of them have, what he adds
 *
 * Rows of one prompt resemble each other: m of them count as m / (1 + (m - 1) ALIKE), the effective size of a
 * cluster sample (Kish 1965), so that one debate with a thousand answers does not settle what a domain is like.
 *
 * One thread; every sum goes in a fixed order: equal rows, options and seed give equal bytes. */
#include "posterior_fit.h"
#include "learner.h"
#include "model_folder.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDS 5
#define NO_FOLD UINT32_MAX
#define DOMAIN_LEAST 10  /* rows of a domain that has weights and evidence of its own */
#define DOMAINS_MOST 256 /* the largest ones: the evidence travels in an announcement */
#define ALIKE 0.05       /* intraclass correlation of pairs of one prompt */
#define LAPSE 0.2        /* see posterior.h */
#define SHARE_L2 4       /* holds the shares of find_shares to 1: half more or less is no surprise */
#define SHARE_STEPS 50
#define SHARE_MOST 2

static const double l2_all_grid[] = { 1, 10 };
static const double l2_domain_grid[] = { 1, 3, 10, 30, 100, 300 };

void sl_posterior_options_default(struct sl_posterior_options *o)
{
	*o = (struct sl_posterior_options){
		.seed = 1, .least_audited = 100, .keep = 0.8, .flip = 0.15, .judge_accuracy = NAN
	};
}

void sl_evidence_add(struct sl_evidence_rows *rows, const struct sl_evidence_row *row)
{
	struct sl_evidence_row *r;

	if (rows->count == rows->capacity) {
		rows->capacity = rows->capacity ? 2 * rows->capacity : 1024;
		rows->at = sl_realloc(rows->at, rows->capacity * sizeof *rows->at);
	}
	r = &rows->at[rows->count++];
	*r = *row;
	/* Neighbours are mostly of one domain: one copy serves them all. */
	if (rows->count > 1 && r[-1].domain.size == row->domain.size && sl_bytes_equal(r[-1].domain, row->domain))
		r->domain = r[-1].domain;
	else
		r->domain = sl_arena_bytes(&rows->texts, row->domain.data ? row->domain : sl_text(""));
	if (row->opinion_count) {
		struct sl_evidence_opinion *copy =
			sl_arena_alloc(&rows->texts, row->opinion_count * sizeof *row->opinions);

		for (size_t i = 0; i < row->opinion_count; i++)
			copy[i] = (struct sl_evidence_opinion){ sl_arena_bytes(&rows->texts, row->opinions[i].judge),
								row->opinions[i].verdict };
		r->opinions = copy;
	}
}

void sl_evidence_release(struct sl_evidence_rows *rows)
{
	free(rows->at);
	sl_arena_release(&rows->texts);
	*rows = (struct sl_evidence_rows){ 0 };
}

/* -- rows and domains --------------------------------------------------------- */

static int by_domain_name(const void *a, const void *b)
{
	const struct sl_fit_row *x = a, *y = b;

	return sl_bytes_compare(x->row->domain, y->row->domain);
}

/* Equal group and domain: in the order they were given, which is that of their addresses. */
static int by_group(const void *a, const void *b)
{
	const struct sl_fit_row *x = a, *y = b;
	int order = memcmp(x->row->group.b, y->row->group.b, sizeof x->row->group.b);

	if (order)
		return order;
	if (x->domain != y->domain)
		return x->domain < y->domain ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

struct named {
	struct sl_bytes name;
	size_t rows;
};

static int by_rows(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->rows != y->rows)
		return x->rows > y->rows ? -1 : 1;
	return sl_bytes_compare(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	const struct sl_posterior_domain *x = a, *y = b;

	return sl_bytes_compare(x->name, y->name);
}

bool sl_fit_is_text(struct sl_bytes name)
{
	json_t *text = memchr(name.data, 0, name.size) ? NULL : json_stringn(name.data, name.size);

	json_decref(text);
	return text != NULL;
}

static void collect_domains(struct sl_fitting *f)
{
	struct named *names = sl_malloc((f->count + 1) * sizeof *names);
	size_t count = 0, listed = 0;

	qsort(f->rows, f->count, sizeof *f->rows, by_domain_name);
	for (size_t i = 0; i < f->count; i++) {
		if (i == 0 || by_domain_name(&f->rows[i - 1], &f->rows[i]) != 0)
			names[count++] = (struct named){ f->rows[i].row->domain, 0 };
		names[count - 1].rows++;
	}
	qsort(names, count, sizeof *names, by_rows);
	f->p.domains = sl_arena_zalloc(&f->p.arena, DOMAINS_MOST * sizeof *f->p.domains);
	for (size_t i = 0; i < count && names[i].rows >= DOMAIN_LEAST && listed < DOMAINS_MOST; i++)
		if (sl_fit_is_text(names[i].name))
			f->p.domains[listed++].name = sl_arena_bytes(&f->p.arena, names[i].name);
	qsort(f->p.domains, listed, sizeof *f->p.domains, by_name);
	f->p.domain_count = listed;
	free(names);
}

static void collect_rows(struct sl_fitting *f, const struct sl_evidence_rows *rows)
{
	f->rows = sl_malloc((rows->count + 1) * sizeof *f->rows);
	for (size_t i = 0; i < rows->count; i++) {
		const struct sl_evidence_row *r = &rows->at[i];

		if (sl_split_of(r->group) == SL_SPLIT_REPORT)
			continue;
		f->rows[f->count++] = (struct sl_fit_row){ .row = r, .fold = sl_fold_of(r->group, FOLDS), .p = NAN };
		f->audited += r->audited;
		f->best = f->best || !isnan(r->best);
		f->judged = f->judged || !isnan(r->judge);
	}
	collect_domains(f);
	for (size_t i = 0; i < f->count; i++)
		f->rows[i].domain = sl_posterior_domain_find(&f->p, f->rows[i].row->domain);
	qsort(f->rows, f->count, sizeof *f->rows, by_group);
	for (size_t i = 0, end; i < f->count; i = end) {
		size_t audited = 0;

		for (end = i; end < f->count && sl_id_equal(f->rows[end].row->group, f->rows[i].row->group); end++)
			audited += f->rows[end].row->audited;
		for (size_t k = i; k < end; k++)
			f->rows[k].weight = 1 / (1 + ((double)audited - 1) * ALIKE);
	}
}

/* -- fits --------------------------------------------------------------------- */

struct sl_witnesses sl_fit_witnesses(const struct sl_fit_row *r)
{
	double sign = r->row->arrived_right ? 1 : -1;

	return (struct sl_witnesses){
		.domain = r->row->domain,
		.gold = sign * r->row->gold,
		.best = sign * r->row->best,
		.judge = sign * r->judge,
		.length = sign * r->row->length,
		.label_noise = 0.5,
	};
}

/* The audited rows that have all of these witnesses; returns their number. */
static size_t rows_of_set(const struct sl_fitting *f, unsigned set, struct sl_logistic_row *to)
{
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++) {
		const struct sl_fit_row *r = &f->rows[i];
		struct sl_witnesses w = sl_fit_witnesses(r);

		if (!r->row->audited || (sl_witnesses_set(&w) & set) != set)
			continue;
		to[count] = (struct sl_logistic_row){
			.weight = r->weight, .domain = r->domain, .fold = r->fold, .right = r->row->arrived_right
		};
		sl_witnesses_row(&w, set, f->p.lapse, to[count++].x);
	}
	return count;
}

/* Without data a model's margin and the judge's log-odds count as what they are; best adds nothing to gold. */
static struct sl_logistic_options fit_options(const struct sl_fitting *f, unsigned set, uint32_t without_fold)
{
	return (struct sl_logistic_options){
		.l2_all = f->l2_all,
		.l2_domain = f->l2_domain,
		.centre = { [SL_COLUMN_GOLD] = set & SL_WITNESS_GOLD ? 1 : 0,
			    [SL_COLUMN_BEST] = (set & (SL_WITNESS_GOLD | SL_WITNESS_BEST)) == SL_WITNESS_BEST ? 1 : 0,
			    [SL_COLUMN_JUDGE] = set & SL_WITNESS_JUDGE ? 1 : 0 },
		.domain_count = f->p.domain_count,
		.without_fold = without_fold,
	};
}

static double *weights_new(struct sl_fitting *f)
{
	return sl_arena_zalloc(&f->p.arena, (1 + f->p.domain_count) * SL_LOGISTIC_COLUMNS * sizeof(double));
}

static unsigned largest_set(const struct sl_fitting *f)
{
	return SL_WITNESS_GOLD | (f->best ? SL_WITNESS_BEST : 0u) | (f->judged ? SL_WITNESS_JUDGE : 0u);
}

/* Do enough rows have all of these witnesses, so that weights for them are worth more than those for fewer witnesses
 * and more rows? `rows` is room for all. */
static bool has_own_weights(const struct sl_fitting *f, unsigned set, struct sl_logistic_row *rows)
{
	unsigned silent = set & ~(unsigned)SL_WITNESS_JUDGE;
	size_t count = rows_of_set(f, set, rows);

	return (int64_t)count >= f->o->least_audited &&
	       (silent == set || silent == 0 || 2 * count >= rows_of_set(f, silent, rows));
}

/* Out-of-fold loss at the L2 that f has. */
static double validate(const struct sl_fitting *f, unsigned set, const struct sl_logistic_row *rows, size_t count,
		       double *const weights[FOLDS])
{
	double loss = 0;

	for (uint32_t fold = 0; fold < FOLDS; fold++) {
		struct sl_logistic_options o = fit_options(f, set, fold);

		sl_logistic_fit(&o, rows, count, weights[fold]);
		for (size_t i = 0; i < count; i++) {
			if (rows[i].fold != fold)
				continue;

			double x = sl_logistic_logit(weights[fold], rows[i].x, rows[i].domain);

			loss += rows[i].weight * sl_loss(rows[i].right ? x : -x);
		}
	}
	return loss;
}

/* Each fit starts where the one of the strength before ended: they lie close together. */
static void choose_l2(struct sl_fitting *f, struct sl_logistic_row *rows)
{
	unsigned all_of_them = largest_set(f), without_judge = all_of_them & ~(unsigned)SL_WITNESS_JUDGE;
	unsigned set = has_own_weights(f, all_of_them, rows) ? all_of_them : without_judge;
	size_t count = rows_of_set(f, set, rows);
	double least = INFINITY, all = 0, domain = 0, *weights[FOLDS];

	for (size_t k = 0; k < FOLDS; k++)
		weights[k] = weights_new(f);
	for (size_t a = 0; a < sizeof l2_all_grid / sizeof l2_all_grid[0]; a++)
		for (size_t d = 0; d < sizeof l2_domain_grid / sizeof l2_domain_grid[0]; d++) {
			f->l2_all = l2_all_grid[a];
			f->l2_domain = l2_domain_grid[d];

			double loss = validate(f, set, rows, count, weights);

			if (loss < least) {
				least = loss;
				all = f->l2_all;
				domain = f->l2_domain;
			}
		}
	f->l2_all = all;
	f->l2_domain = domain;
}

/* logit P = intercept + a (the other witnesses) + b (the judge's log-odds): both 1 where he errs independently. */
struct shares {
	double a, b;
};

/* A row as the shares see it. */
struct shared {
	double intercept, others, judge;
};

static struct shared shared_of(const struct sl_logistic_row *row, const double *silent)
{
	static const double only_intercept[SL_LOGISTIC_COLUMNS] = { [SL_COLUMN_INTERCEPT] = 1 };
	double intercept = sl_logistic_logit(silent, only_intercept, row->domain);

	return (struct shared){ intercept, sl_logistic_logit(silent, row->x, row->domain) - intercept,
				row->x[SL_COLUMN_JUDGE] };
}

/* What is minimised. */
static double shares_loss(const struct sl_logistic_row *rows, size_t count, const double *silent, uint32_t without_fold,
			  struct shares s)
{
	double sum = SHARE_L2 / 2.0 * ((s.a - 1) * (s.a - 1) + (s.b - 1) * (s.b - 1));

	for (size_t i = 0; i < count; i++) {
		struct shared x = shared_of(&rows[i], silent);
		double logit = x.intercept + s.a * x.others + s.b * x.judge;

		if (rows[i].fold != without_fold)
			sum += rows[i].weight * sl_loss(rows[i].right ? logit : -logit);
	}
	return sum;
}

/* By Newton's method, with steps cut in half until they go down: where a judge of whom all that is known misleads was
 * put to these rows, the first one would lead far away. */
static struct shares find_shares(const struct sl_logistic_row *rows, size_t count, const double *silent,
				 uint32_t without_fold)
{
	struct shares s = { 1, 1 }, next = s;
	double loss = shares_loss(rows, count, silent, without_fold, s), after;

	for (int step = 0; step < SHARE_STEPS; step++) {
		double slope_a = SHARE_L2 * (s.a - 1), slope_b = SHARE_L2 * (s.b - 1);
		double aa = SHARE_L2, ab = 0, bb = SHARE_L2, determinant;

		for (size_t i = 0; i < count; i++) {
			struct shared x = shared_of(&rows[i], silent);
			double p, curve;

			if (rows[i].fold == without_fold)
				continue;
			p = sl_sigmoid(x.intercept + s.a * x.others + s.b * x.judge);
			curve = rows[i].weight * p * (1 - p);
			slope_a += rows[i].weight * (p - rows[i].right) * x.others;
			slope_b += rows[i].weight * (p - rows[i].right) * x.judge;
			aa += curve * x.others * x.others;
			ab += curve * x.others * x.judge;
			bb += curve * x.judge * x.judge;
		}
		determinant = aa * bb - ab * ab;
		after = INFINITY;
		for (double length = 1; after > loss && length > 1e-9; length /= 2) {
			next.a = s.a - length * (bb * slope_a - ab * slope_b) / determinant;
			next.b = s.b - length * (aa * slope_b - ab * slope_a) / determinant;
			after = shares_loss(rows, count, silent, without_fold, next);
		}
		if (!(after < loss)) /* it is there */
			break;
		s = next;
		loss = after;
	}
	s.a = fmax(0, fmin(SHARE_MOST, s.a));
	s.b = fmax(0, fmin(SHARE_MOST, s.b));
	return s;
}

/* The weights of the set without the judge, and what he adds. NULL: that has none. */
static double *weights_with_judge(struct sl_fitting *f, unsigned set, struct sl_logistic_row *rows,
				  uint32_t without_fold)
{
	const double *silent = f->p.fits[set & ~(unsigned)SL_WITNESS_JUDGE];
	size_t count = rows_of_set(f, set, rows), size = (1 + f->p.domain_count) * SL_LOGISTIC_COLUMNS;
	struct shares s;
	double *weights;

	if (!(set & SL_WITNESS_JUDGE) || !silent)
		return NULL;
	assert(silent[SL_COLUMN_JUDGE] == 0);
	s = find_shares(rows, count, silent, without_fold);
	weights = weights_new(f);
	for (size_t i = 0; i < size; i++)
		weights[i] = (i % SL_LOGISTIC_COLUMNS == SL_COLUMN_INTERCEPT ? 1 : s.a) * silent[i];
	weights[SL_COLUMN_JUDGE] = s.b;
	return weights;
}

/* One fit for each set of witnesses that enough rows have. A set without the judge comes before the one with him. */
static void fit_sets(struct sl_fitting *f, struct sl_logistic_row *rows, uint32_t without_fold)
{
	for (unsigned set = 1; set < SL_WITNESS_SETS; set++) {
		struct sl_logistic_options o = fit_options(f, set, without_fold);

		f->p.fits[set] = NULL;
		if ((set & largest_set(f)) != set)
			continue;
		if (!has_own_weights(f, set, rows)) {
			f->p.fits[set] = weights_with_judge(f, set, rows, without_fold);
			continue;
		}
		f->p.fits[set] = weights_new(f);
		sl_logistic_fit(&o, rows, rows_of_set(f, set, rows), f->p.fits[set]);
	}
}

static double logit(double p)
{
	return log(p / (1 - p));
}

static int zone_of(const struct sl_posterior_options *o, double p)
{
	return p >= o->keep ? 1 : p <= 1 - o->keep ? -1 : 0;
}

/* The judge is heard only where filter would ask him: where an answer changes what happens. */
static double p_as_decided(const struct sl_fitting *f, const struct sl_fit_row *r)
{
	struct sl_witnesses heard = sl_fit_witnesses(r), silent = heard, yes = heard, no = heard;
	double odds = logit(sl_posterior_judge_accuracy(&f->p, f->p.judge, r->row->domain));
	double p;

	silent.judge = NAN;
	p = sl_posterior_p(&f->p, &silent);
	if (isnan(heard.judge) || !sl_posterior_judge_speaks(&f->p, f->p.judge, r->row->domain))
		return p;
	yes.judge = odds;
	no.judge = -odds;
	if (zone_of(f->o, sl_posterior_p(&f->p, &yes)) == zone_of(f->o, p) &&
	    zone_of(f->o, sl_posterior_p(&f->p, &no)) == zone_of(f->o, p))
		return p;
	return sl_posterior_p(&f->p, &heard);
}

static void fit(struct sl_fitting *f)
{
	struct sl_logistic_row *rows;

	if (f->audited < f->o->least_audited || f->audited == 0)
		return;
	rows = sl_malloc(f->count * sizeof *rows);
	choose_l2(f, rows);
	for (uint32_t fold = 0; fold < FOLDS; fold++) {
		fit_sets(f, rows, fold);
		for (size_t i = 0; i < f->count; i++)
			if (f->rows[i].row->audited && f->rows[i].fold == fold)
				f->rows[i].p = p_as_decided(f, &f->rows[i]);
	}
	fit_sets(f, rows, NO_FOLD);
	free(rows);
}

/* -- the version -------------------------------------------------------------- */

static bool options_valid(const struct sl_posterior_options *o, struct sl_error *e)
{
	if (o->least_audited < 1)
		return sl_error_set(e, SL_STOP, "least_audited is %" PRId64 ", allowed: 1 or more", o->least_audited);
	if (!(o->keep > 0.5 && o->keep < 1))
		return sl_error_set(e, SL_STOP, "keep is %g, allowed: over 0.5 to under 1", o->keep);
	if (!(o->flip > 0 && o->flip < 0.5))
		return sl_error_set(e, SL_STOP, "flip is %g, allowed: over 0 to under 0.5", o->flip);
	if (!isnan(o->judge_accuracy) && !(o->judge_accuracy >= 0.5 && o->judge_accuracy < 1))
		return sl_error_set(e, SL_STOP, "judge_accuracy is %g, allowed: 0.5 to under 1", o->judge_accuracy);
	return true;
}

static int add_to_buf(const char *text, size_t size, void *arg)
{
	sl_buf_add(arg, text, size);
	return 0;
}

static bool write_version(const struct sl_fitting *f, json_t *report, json_t *trained_on, const char *folder,
			  struct sl_error *e)
{
	struct sl_buf file = { 0 };
	json_t *config = json_pack("{s:{s:I, s:I, s:f, s:f}, s:O, s:O}", "options", "seed", (json_int_t)f->o->seed,
				   "least_audited", (json_int_t)f->o->least_audited, "keep", f->o->keep, "flip",
				   f->o->flip, "trained_on", trained_on, "report", report);
	bool done;

	if (!config)
		sl_oom(0);
	sl_posterior_encode(&f->p, &file);
	done = sl_model_folder_write(folder, SL_MODEL_POSTERIOR, 1, sl_buf_bytes(&file), config, e);
	json_decref(config);
	sl_buf_release(&file);
	return done;
}

bool sl_posterior_fit(const struct sl_posterior_options *o, const struct sl_evidence_rows *rows, const char *judge,
		      const char *folder, const char *extra_json, struct sl_buf *report, struct sl_error *e)
{
	struct sl_fitting f = { .o = o };
	struct sl_domain_evidence *evidence;
	struct sl_accuracy flips;
	json_t *trained_on, *json;
	bool done;

	if (!options_valid(o, e))
		return false;
	if (access(folder, F_OK) == 0)
		return sl_error_set(e, SL_STOP, "'%s' exists already: versions are never changed", folder);
	trained_on = json_loads(extra_json ? extra_json : "{}", 0, NULL);
	if (!json_is_object(trained_on)) {
		json_decref(trained_on);
		return sl_error_set(e, SL_STOP, "what the posterior was trained on must be a JSON object");
	}
	f.p.lapse = LAPSE;
	collect_rows(&f, rows);
	if (isnan(o->judge_accuracy) ||
	    f.judged) /* of a panel that nobody asked nothing is known but what is declared */
		f.p.judge = sl_text(judge);
	evidence = sl_fit_evidence(&f);
	sl_fit_judge(&f);
	fit(&f);
	flips = sl_fit_flips(&f);
	json = sl_fit_report(&f, evidence, &flips);
	if (json_dump_callback(json, add_to_buf, report, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0)
		sl_oom(0);
	done = write_version(&f, json, trained_on, folder, e);
	json_decref(json);
	json_decref(trained_on);
	free(evidence);
	free(f.rows);
	sl_arena_release(&f.p.arena);
	return done;
}
