/* posterior.c -- a posterior as it is used: opened, asked, and its file.
 *
 * See posterior.h for the model, posterior_file.h for the bytes, posterior_fit.c
 * for where it comes from. An open posterior is never written to: any thread. */
#include "posterior.h"
#include "model_folder.h"
#include "posterior_file.h"

#include <math.h>
#include <stdlib.h>

#define FORMAT 3
#define LAPSE_MOST 0.49
#define WEIGHT_MOST 1e4
#define LOGIT_MOST 30 /* a margin beyond this says nothing more */

/* -- asking ------------------------------------------------------------------- */

uint32_t sl_posterior_domain_find(const struct sl_posterior *p, struct sl_bytes name)
{
	size_t low = 0, high = p->domain_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = sl_bytes_compare(p->domains[middle].name, name);

		if (order == 0)
			return (uint32_t)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return SL_LOGISTIC_NO_DOMAIN;
}

static const struct sl_posterior_domain *domain_of(const struct sl_posterior *p, struct sl_bytes name)
{
	uint32_t place = sl_posterior_domain_find(p, name);

	return place == SL_LOGISTIC_NO_DOMAIN ? NULL : &p->domains[place];
}

static bool is_witness(const struct sl_posterior *p, struct sl_bytes judge)
{
	return p->judge.data && sl_bytes_equal(p->judge, judge);
}

/* A single one of the panel; NULL: none of this name. */
static const struct sl_posterior_judge *one_of_panel(const struct sl_posterior *p, struct sl_bytes judge)
{
	for (size_t i = 0; i < p->judge_count; i++)
		if (sl_bytes_equal(p->judges[i].name, judge))
			return &p->judges[i];
	return NULL;
}

bool sl_posterior_has_weights(const struct sl_posterior *p)
{
	for (size_t set = 0; set < SL_WITNESS_SETS; set++)
		if (p->fits[set])
			return true;
	return false;
}

bool sl_posterior_judge_known(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain)
{
	(void)domain; /* where it was hardly asked, its accuracy is shrunk towards that over all domains */
	return is_witness(p, judge) || one_of_panel(p, judge);
}

bool sl_posterior_judge_speaks(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain)
{
	const struct sl_posterior_domain *d = domain_of(p, domain);

	return is_witness(p, judge) && (d ? d->judge_speaks : p->judge_speaks);
}

double sl_posterior_judge_accuracy(const struct sl_posterior *p, struct sl_bytes judge, struct sl_bytes domain)
{
	const struct sl_posterior_judge *one = one_of_panel(p, judge);
	uint32_t place = sl_posterior_domain_find(p, domain);
	bool listed = place != SL_LOGISTIC_NO_DOMAIN;

	if (is_witness(p, judge))
		return listed ? p->domains[place].judge_accuracy : p->judge_accuracy;
	return !one ? 0.5 : listed ? one->own[place] : one->accuracy;
}

bool sl_posterior_blind(const struct sl_posterior *p, struct sl_bytes domain)
{
	const struct sl_posterior_domain *d = domain_of(p, domain);

	return d && d->blind;
}

double sl_posterior_flip_low(const struct sl_posterior *p)
{
	return p->flip_low;
}

unsigned sl_witnesses_set(const struct sl_witnesses *w)
{
	return (isnan(w->gold) ? 0u : SL_WITNESS_GOLD) | (isnan(w->best) ? 0u : SL_WITNESS_BEST) |
	       (isnan(w->judge) ? 0u : SL_WITNESS_JUDGE);
}

static double bounded(double logit)
{
	return fmax(-LOGIT_MOST, fmin(LOGIT_MOST, logit));
}

/* logit(lapse + (1 - 2 lapse) sigmoid(margin)); antisymmetric to the bit. */
static double said_by_model(double margin, double lapse)
{
	double p = lapse + (1 - 2 * lapse) * sl_sigmoid(fabs(margin));

	return lapse == 0 ? bounded(margin) : copysign(bounded(log(p / (1 - p))), margin);
}

/* `gold` and `best` are what is left of the margins. */
static void row_of(double gold, double best, double judge, double length, unsigned set, double x[SL_LOGISTIC_COLUMNS])
{
	x[SL_COLUMN_INTERCEPT] = 1;
	x[SL_COLUMN_GOLD] = set & SL_WITNESS_GOLD ? gold : 0;
	x[SL_COLUMN_BEST] = set & SL_WITNESS_BEST ? best : 0;
	x[SL_COLUMN_JUDGE] = set & SL_WITNESS_JUDGE ? bounded(judge) : 0;
	x[SL_COLUMN_LENGTH] = isnan(length) ? 0 : bounded(length);
}

void sl_witnesses_row(const struct sl_witnesses *w, unsigned set, double lapse, double x[SL_LOGISTIC_COLUMNS])
{
	row_of(said_by_model(w->gold, lapse), said_by_model(w->best, lapse), w->judge, w->length, set, x);
}

/* Gold speaks for the models; best stands in for it. Both see much the same: their margins are not added. */
static double p_without_weights(const struct sl_witnesses *w, unsigned set)
{
	double model = set & SL_WITNESS_GOLD ? w->gold : set & SL_WITNESS_BEST ? w->best : 0;
	double judge = set & SL_WITNESS_JUDGE ? w->judge : 0;

	return sl_sigmoid(bounded(model) + bounded(judge) + bounded(log((1 - w->label_noise) / w->label_noise)));
}

struct sl_posterior_hearing sl_posterior_hear(const struct sl_posterior *p, const struct sl_witnesses *w)
{
	struct sl_posterior_hearing h = { .posterior = p, .witnesses = *w, .domain = SL_LOGISTIC_NO_DOMAIN };

	if (!p)
		return h;
	h.gold = said_by_model(w->gold, p->lapse);
	h.best = said_by_model(w->best, p->lapse);
	h.domain = sl_posterior_domain_find(p, w->domain);
	return h;
}

double sl_posterior_heard(const struct sl_posterior_hearing *h, double judge, double length)
{
	struct sl_witnesses w = h->witnesses;
	double x[SL_LOGISTIC_COLUMNS];
	unsigned set;

	w.judge = judge;
	set = sl_witnesses_set(&w);
	if (!set)
		return NAN;

	/* Where a set was never fitted, what it has more than a fitted one is not heard. */
	const unsigned sets[] = { set, set & ~(unsigned)SL_WITNESS_BEST, set & ~(unsigned)SL_WITNESS_JUDGE,
				  set & SL_WITNESS_GOLD };

	for (size_t i = 0; h->posterior && i < sizeof sets / sizeof sets[0]; i++) {
		const double *fit = h->posterior->fits[sets[i]];

		if (!fit)
			continue;
		row_of(h->gold, h->best, judge, length, sets[i], x);
		return sl_sigmoid(sl_logistic_logit(fit, x, h->domain));
	}
	return p_without_weights(&w, set);
}

double sl_posterior_p(const struct sl_posterior *p, const struct sl_witnesses *w)
{
	struct sl_posterior_hearing h = sl_posterior_hear(p, w);

	return sl_posterior_heard(&h, w->judge, w->length);
}

void sl_posterior_close(struct sl_posterior *p)
{
	if (!p)
		return;
	sl_arena_release(&p->arena);
	free(p);
}

/* -- writing ------------------------------------------------------------------ */

static const char *const witness_names[] = { "gold", "best", "judge" };

static json_t *numbers_json(const double *numbers)
{
	json_t *list = json_array();

	for (size_t i = 0; i < SL_LOGISTIC_COLUMNS; i++)
		if (json_array_append_new(list, json_real(numbers[i])) != 0)
			sl_oom(0);
	return list;
}

static json_t *fit_json(const struct sl_posterior *p, unsigned set)
{
	json_t *witnesses = json_array(), *own = json_array();

	for (size_t i = 0; i < sizeof witness_names / sizeof witness_names[0]; i++)
		if (set >> i & 1 && json_array_append_new(witnesses, json_string(witness_names[i])) != 0)
			sl_oom(0);
	for (size_t d = 0; d < p->domain_count; d++)
		if (json_array_append_new(own, numbers_json(p->fits[set] + (1 + d) * SL_LOGISTIC_COLUMNS)) != 0)
			sl_oom(0);
	return json_pack("{s:o, s:o, s:o}", "witnesses", witnesses, "all", numbers_json(p->fits[set]), "own", own);
}

static json_t *judges_json(const struct sl_posterior *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->judge_count; i++) {
		const struct sl_posterior_judge *judge = &p->judges[i];
		json_t *own = json_array();

		for (size_t d = 0; d < p->domain_count; d++)
			if (json_array_append_new(own, json_real(judge->own[d])) != 0)
				sl_oom(0);
		if (json_array_append_new(list, json_pack("{s:o, s:f, s:o}", "name",
							  json_stringn(judge->name.data, judge->name.size), "accuracy",
							  judge->accuracy, "own", own)) != 0)
			sl_oom(0);
	}
	return list;
}

static int add_to_buf(const char *text, size_t size, void *arg)
{
	sl_buf_add(arg, text, size);
	return 0;
}

void sl_posterior_encode(const struct sl_posterior *p, struct sl_buf *to)
{
	json_t *domains = json_array(), *fits = json_array();
	json_t *judge = p->judge.data ? json_stringn(p->judge.data, p->judge.size) : json_null();

	for (size_t i = 0; i < p->domain_count; i++) {
		const struct sl_posterior_domain *d = &p->domains[i];
		json_t *name = json_stringn(d->name.data, d->name.size);

		if (json_array_append_new(domains, json_pack("{s:o, s:b, s:f, s:b}", "name", name, "blind", d->blind,
							     "judge_accuracy", d->judge_accuracy, "judge_speaks",
							     d->judge_speaks)) != 0)
			sl_oom(0);
	}
	for (unsigned set = 0; set < SL_WITNESS_SETS; set++)
		if (p->fits[set] && json_array_append_new(fits, fit_json(p, set)) != 0)
			sl_oom(0);

	json_t *json =
		json_pack("{s:i, s:f, s:{s:o, s:f, s:b}, s:o, s:f, s:o, s:o}", "format", FORMAT, "lapse", p->lapse,
			  "judge", "name", judge, "accuracy", p->judge_accuracy, "speaks", p->judge_speaks, "judges",
			  judges_json(p), "flip_low", p->flip_low, "domains", domains, "fits", fits);

	if (!json || json_dump_callback(json, add_to_buf, to, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) != 0)
		sl_oom(0);
	json_decref(json);
	sl_buf_add_byte(to, '\n');
}

/* -- reading: any bytes ------------------------------------------------------- */

static bool number_in(const json_t *value, double least, double most, const char *name, double *to, struct sl_error *e)
{
	*to = json_number_value(value);
	if (!json_is_number(value) || !(*to >= least && *to <= most))
		return sl_error_set(e, SL_STOP, "'%s' must be a number, allowed: %g to %g", name, least, most);
	return true;
}

static bool text_of(struct sl_posterior *p, const json_t *value, const char *name, struct sl_bytes *to,
		    struct sl_error *e)
{
	if (!json_is_string(value))
		return sl_error_set(e, SL_STOP, "'%s' must be a text", name);
	*to = sl_arena_bytes(&p->arena, (struct sl_bytes){ json_string_value(value), json_string_length(value) });
	return true;
}

static bool flag_of(const json_t *value, const char *name, bool *to, struct sl_error *e)
{
	if (!json_is_boolean(value))
		return sl_error_set(e, SL_STOP, "'%s' must be true or false", name);
	*to = json_is_true(value);
	return true;
}

static bool accuracy_in(const json_t *value, const char *name, double *to, struct sl_error *e)
{
	return number_in(value, SL_JUDGE_RIGHT_LEAST, SL_JUDGE_RIGHT_MOST, name, to, e);
}

static bool domains_parse(struct sl_posterior *p, const json_t *list, struct sl_error *e)
{
	if (!json_is_array(list) || json_array_size(list) > SL_POSTERIOR_DOMAINS_MOST)
		return sl_error_set(e, SL_STOP, "'domains' must be a list of at most %d", SL_POSTERIOR_DOMAINS_MOST);
	p->domain_count = json_array_size(list);
	p->domains = sl_arena_zalloc(&p->arena, p->domain_count * sizeof *p->domains);
	for (size_t i = 0; i < p->domain_count; i++) {
		const json_t *from = json_array_get(list, i);
		struct sl_posterior_domain *d = &p->domains[i];

		if (!text_of(p, json_object_get(from, "name"), "name", &d->name, e) ||
		    !flag_of(json_object_get(from, "blind"), "blind", &d->blind, e) ||
		    !accuracy_in(json_object_get(from, "judge_accuracy"), "judge_accuracy", &d->judge_accuracy, e) ||
		    !flag_of(json_object_get(from, "judge_speaks"), "judge_speaks", &d->judge_speaks, e))
			return sl_error_in(e, "domain %zu", i + 1);
		if (i && sl_bytes_compare(p->domains[i - 1].name, d->name) >= 0)
			return sl_error_set(e, SL_STOP, "domain %zu: names must be in order, each once", i + 1);
	}
	return true;
}

static bool judge_parse(struct sl_posterior *p, const json_t *from, struct sl_posterior_judge *to, struct sl_error *e)
{
	const json_t *own = json_object_get(from, "own");

	to->own = sl_arena_alloc(&p->arena, (p->domain_count + 1) * sizeof *to->own);
	if (!text_of(p, json_object_get(from, "name"), "name", &to->name, e) ||
	    !accuracy_in(json_object_get(from, "accuracy"), "accuracy", &to->accuracy, e))
		return false;
	if (json_array_size(own) != p->domain_count)
		return sl_error_set(e, SL_STOP, "'own' has %zu domains, expected %zu", json_array_size(own),
				    p->domain_count);
	for (size_t d = 0; d < p->domain_count; d++)
		if (!accuracy_in(json_array_get(own, d), "own", &to->own[d], e))
			return false;
	return true;
}

static bool judges_parse(struct sl_posterior *p, const json_t *list, struct sl_error *e)
{
	if (!json_is_array(list) || json_array_size(list) > SL_POSTERIOR_JUDGES_MOST)
		return sl_error_set(e, SL_STOP, "'judges' must be a list of at most %d", SL_POSTERIOR_JUDGES_MOST);
	p->judges = sl_arena_zalloc(&p->arena, json_array_size(list) * sizeof *p->judges);
	for (; p->judge_count < json_array_size(list); p->judge_count++)
		if (!judge_parse(p, json_array_get(list, p->judge_count), &p->judges[p->judge_count], e))
			return sl_error_in(e, "judge %zu", p->judge_count + 1);
	return true;
}

static bool weights_parse(const json_t *list, double *to, struct sl_error *e)
{
	if (json_array_size(list) != SL_LOGISTIC_COLUMNS)
		return sl_error_set(e, SL_STOP, "%zu weights, expected %d", json_array_size(list), SL_LOGISTIC_COLUMNS);
	for (size_t i = 0; i < SL_LOGISTIC_COLUMNS; i++)
		if (!number_in(json_array_get(list, i), -WEIGHT_MOST, WEIGHT_MOST, "weight", &to[i], e))
			return false;
	return true;
}

static bool witnesses_parse(const json_t *list, unsigned *set, struct sl_error *e)
{
	*set = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		size_t k = 0;

		while (k < sizeof witness_names / sizeof witness_names[0] &&
		       (!name || strcmp(name, witness_names[k]) != 0))
			k++;
		*set |= 1u << k;
	}
	if (*set == 0 || *set >= SL_WITNESS_SETS)
		return sl_error_set(e, SL_STOP, "'witnesses' must be some of 'gold', 'best' and 'judge'");
	return true;
}

static bool fit_parse(struct sl_posterior *p, const json_t *fit, struct sl_error *e)
{
	const json_t *own = json_object_get(fit, "own");
	double *weights = sl_arena_alloc(&p->arena, (1 + p->domain_count) * SL_LOGISTIC_COLUMNS * sizeof *weights);
	unsigned set;

	if (!witnesses_parse(json_object_get(fit, "witnesses"), &set, e) ||
	    !weights_parse(json_object_get(fit, "all"), weights, e))
		return false;
	if (p->fits[set])
		return sl_error_set(e, SL_STOP, "the same 'witnesses' as a fit before");
	if (json_array_size(own) != p->domain_count)
		return sl_error_set(e, SL_STOP, "'own' has %zu domains, expected %zu", json_array_size(own),
				    p->domain_count);
	for (size_t d = 0; d < p->domain_count; d++)
		if (!weights_parse(json_array_get(own, d), weights + (1 + d) * SL_LOGISTIC_COLUMNS, e))
			return sl_error_in(e, "domain %zu", d + 1);
	p->fits[set] = weights;
	return true;
}

static bool fits_parse(struct sl_posterior *p, const json_t *list, struct sl_error *e)
{
	if (!json_is_array(list) || json_array_size(list) >= SL_WITNESS_SETS)
		return sl_error_set(e, SL_STOP, "'fits' must be a list of at most %d", SL_WITNESS_SETS - 1);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!fit_parse(p, json_array_get(list, i), e))
			return sl_error_in(e, "fit %zu", i + 1);
	return true;
}

static bool parse(struct sl_posterior *p, const json_t *json, struct sl_error *e)
{
	const json_t *judge = json_object_get(json, "judge"), *name = json_object_get(judge, "name");

	json_int_t format = json_integer_value(json_object_get(json, "format"));

	if (format < 1 || format > FORMAT)
		return sl_error_set(e, SL_STOP, "'format' must be 1 to %d", FORMAT);
	if (format > 1 && !number_in(json_object_get(json, "lapse"), 0, LAPSE_MOST, "lapse", &p->lapse, e))
		return false;
	if (!json_is_null(name) && !text_of(p, name, "judge.name", &p->judge, e))
		return false;
	if (format > 2 && !flag_of(json_object_get(judge, "speaks"), "judge.speaks", &p->judge_speaks, e))
		return false;
	return accuracy_in(json_object_get(judge, "accuracy"), "judge.accuracy", &p->judge_accuracy, e) &&
	       number_in(json_object_get(json, "flip_low"), 0, 1, "flip_low", &p->flip_low, e) &&
	       domains_parse(p, json_object_get(json, "domains"), e) &&
	       (format < 3 || judges_parse(p, json_object_get(json, "judges"), e)) &&
	       fits_parse(p, json_object_get(json, "fits"), e);
}

bool sl_posterior_parse(struct sl_bytes text, struct sl_posterior **p, struct sl_error *e)
{
	json_error_t at;
	json_t *json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &at);
	bool done;

	*p = NULL;
	if (!json)
		return sl_error_set(e, SL_STOP, "line %d: %s", at.line, at.text);
	*p = sl_calloc(1, sizeof **p);
	done = parse(*p, json, e);
	json_decref(json);
	if (!done) {
		sl_posterior_close(*p);
		*p = NULL;
	}
	return done;
}

struct sl_posterior *sl_posterior_open(const char *folder, struct sl_bytes sha256, struct sl_error *e)
{
	struct sl_posterior *p = NULL;
	struct sl_model_config config;
	struct sl_buf text = { 0 };

	if (!sl_model_config_read(folder, &config, e))
		return NULL;
	if (config.kind != SL_MODEL_POSTERIOR)
		sl_error_set(e, SL_STOP, "'%s' is no posterior", folder);
	else if (sl_model_weights_read(folder, &config, sha256, &text, e) &&
		 !sl_posterior_parse(sl_buf_bytes(&text), &p, e))
		sl_error_in(e, "'%s/%s'", folder, sl_model_weights_name(SL_MODEL_POSTERIOR));
	sl_buf_release(&text);
	json_decref(config.json);
	return p;
}
