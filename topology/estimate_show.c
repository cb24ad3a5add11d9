/* estimate_show.c -- an estimate for people and for programs: sums over its lines, for so many pairs of which a share
 * is asked about. Second opinions are shown apart: whether they are asked for nobody knows before. */
#include "estimate.h"

#include "base/buf.h"
#include "status_table.h"

#include <inttypes.h>
#include <math.h>

#define EVERY_ENDPOINT SIZE_MAX

struct cost {
	double calls, prompt_tokens, completion_tokens, dollars; /* without second opinions */
	double second_calls, second_prompt_tokens, second_completion_tokens, second_dollars; /* of all of them */
	double dollars_most;                                                                 /* of everything */
};

/* How often the call of a line is made, for each pair that comes to its step. */
static double factor(const struct sl_estimate *x, const struct sl_estimate_line *l, double asked_share)
{
	return (l->asked ? asked_share : 1) + (l->probes ? x->probes : 0);
}

/* Of all lines of a step (NULL: of any) that ask an endpoint. */
static struct cost cost_of(const struct sl_estimate *x, const char *step, size_t endpoint, double pairs,
			   double asked_share)
{
	struct cost c = { 0 };

	for (size_t i = 0; i < x->count; i++) {
		const struct sl_estimate_line *l = &x->lines[i];
		double times = pairs * factor(x, l, asked_share);

		if ((endpoint != EVERY_ENDPOINT && l->endpoint != endpoint) || (step && strcmp(step, l->step) != 0))
			continue;
		*(l->maybe ? &c.second_calls : &c.calls) += times * l->calls;
		*(l->maybe ? &c.second_prompt_tokens : &c.prompt_tokens) += times * l->prompt_tokens;
		*(l->maybe ? &c.second_completion_tokens : &c.completion_tokens) += times * l->completion_tokens;
		*(l->maybe ? &c.second_dollars : &c.dollars) += times * l->dollars;
		c.dollars_most += times * l->dollars_most;
	}
	return c;
}

static bool is_asked(const struct sl_estimate *x, size_t endpoint)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->lines[i].endpoint == endpoint)
			return true;
	return false;
}

/* -- for programs --------------------------------------------------------------------- */

static json_t *cost_json(const struct cost *c)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "calls", c->calls, "prompt_tokens",
			 c->prompt_tokens, "completion_tokens", c->completion_tokens, "dollars", c->dollars,
			 "second_calls", c->second_calls, "second_prompt_tokens", c->second_prompt_tokens,
			 "second_completion_tokens", c->second_completion_tokens, "second_dollars", c->second_dollars,
			 "dollars_most", c->dollars_most);
}

static void put(json_t *to, const char *name, json_t *value)
{
	if (!value || json_object_set_new(to, name, value) != 0)
		sl_oom(0);
}

static void add(json_t *list, json_t *value)
{
	if (!value || json_array_append_new(list, value) != 0)
		sl_oom(0);
}

static void put_cost(json_t *to, const char *name, const struct sl_estimate *x, size_t endpoint, double pairs,
		     double asked_share)
{
	struct cost c = cost_of(x, NULL, endpoint, pairs, asked_share);

	put(to, name, cost_json(&c));
}

static json_t *endpoint_json(const struct sl_topology *t, const struct sl_estimate *x, size_t i, double asked_share)
{
	const struct sl_endpoint_def *d = &t->endpoints[i];
	json_t *to = json_pack("{s:s, s:s, s:b}", "name", d->name, "model", d->model ? d->model : "", "priced",
			       d->price != NULL);

	if (d->budget >= 0)
		put(to, "budget", json_real(d->budget));
	if (d->budget_per_day >= 0)
		put(to, "budget_per_day", json_real(d->budget_per_day));
	put_cost(to, "per_1000", x, i, 1000, 1);
	put_cost(to, "file", x, i, (double)x->pairs, 1);
	if (!isnan(asked_share))
		put_cost(to, "file_as_asked", x, i, (double)x->pairs, asked_share);
	return to;
}

json_t *sl_estimate_json(const struct sl_topology *t, const struct sl_estimate *x, const char *path, double asked_share)
{
	json_t *to = json_object(), *lines = json_array(), *endpoints = json_array(), *file = json_string(path);

	put(to, "file", file ? file : json_string("?"));
	put(to, "pairs", json_integer(x->pairs));
	put(to, "sampled", json_integer(x->sampled));
	put(to, "invalid", json_integer(x->invalid));
	if (!isnan(asked_share))
		put(to, "asked_share", json_real(asked_share));
	for (size_t i = 0; i < x->count; i++) {
		const struct sl_estimate_line *l = &x->lines[i];

		add(lines,
		    json_pack("{s:s, s:s, s:s, s:b, s:b, s:f, s:f, s:f, s:f, s:f}", "step", l->step, "what", l->what,
			      "endpoint", t->endpoints[l->endpoint].name, "asked", l->asked, "maybe", l->maybe, "calls",
			      l->calls, "prompt_tokens", l->prompt_tokens, "completion_tokens", l->completion_tokens,
			      "dollars", l->dollars, "dollars_most", l->dollars_most));
	}
	put(to, "lines", lines);
	for (size_t i = 0; i < t->endpoint_count; i++)
		if (is_asked(x, i))
			add(endpoints, endpoint_json(t, x, i, asked_share));
	put(to, "endpoints", endpoints);
	put_cost(to, "dollars", x, EVERY_ENDPOINT, (double)x->pairs, 1);
	return to;
}

/* -- for people ----------------------------------------------------------------------- */

static void money(double dollars, FILE *to)
{
	fprintf(to, dollars > 0 && dollars < 1 ? "$%.4f" : "$%.2f", dollars);
}

/* "$1.23", or "$1.23 to $2.46" where second opinions may come. */
static void money_range(double least, double more, FILE *to)
{
	money(least, to);
	if (more > 0) {
		fprintf(to, " to ");
		money(least + more, to);
	}
}

static void number(double n, double more, int width, FILE *to)
{
	char text[64];

	if (more > 0)
		snprintf(text, sizeof text, "%.0f to %.0f", n, n + more);
	else
		snprintf(text, sizeof text, "%.0f", n);
	fprintf(to, " %*s", width, text);
}

static void cost_line(const char *name, const struct cost *c, bool priced, FILE *to)
{
	fprintf(to, "%-22s", name);
	number(c->calls, c->second_calls, 20, to);
	number(c->prompt_tokens, c->second_prompt_tokens, 24, to);
	number(c->completion_tokens, c->second_completion_tokens, 20, to);
	fprintf(to, "  ");
	if (!priced) {
		fprintf(to, "no price: counted as $0\n");
		return;
	}
	money_range(c->dollars, c->second_dollars, to);
	fprintf(to, ", at most ");
	money(c->dollars_most, to);
	fprintf(to, "\n");
}

static void table(const struct sl_topology *t, const struct sl_estimate *x, double pairs, double asked_share, FILE *to)
{
	struct cost all = cost_of(x, NULL, EVERY_ENDPOINT, pairs, asked_share);
	size_t asked = 0;

	fprintf(to, "%-22s %20s %24s %20s  %s\n", "endpoint", "calls", "prompt tokens", "answer tokens", "dollars");
	for (size_t i = 0; i < t->endpoint_count; i++) {
		struct cost c = cost_of(x, NULL, i, pairs, asked_share);

		if (!is_asked(x, i))
			continue;
		cost_line(t->endpoints[i].name, &c, t->endpoints[i].price != NULL, to);
		asked++;
	}
	if (asked > 1)
		cost_line("all", &all, true, to);
}

/* What a budget pays for. */
static void budget_line(const char *what, const char *name, double budget, const char *per, const struct cost *c,
			FILE *to)
{
	if (budget < 0 || c->dollars + c->second_dollars <= 0)
		return;
	fprintf(to, "budget of %s '%s', $%.6g%s: pays for", what, name, budget, per);
	if (c->second_dollars > 0)
		fprintf(to, " %.0f to", 1000 * budget / (c->dollars + c->second_dollars));
	if (c->dollars > 0)
		fprintf(to, " %.0f pairs that are asked about\n", 1000 * budget / c->dollars);
	else
		fprintf(to, " any number\n");
}

static void budgets(const struct sl_topology *t, const struct sl_estimate *x, FILE *to)
{
	for (size_t i = 0; i < t->endpoint_count; i++) {
		const struct sl_endpoint_def *d = &t->endpoints[i];
		struct cost c = cost_of(x, NULL, i, 1000, 1);

		budget_line("endpoint", d->name, d->budget, "", &c, to);
		budget_line("endpoint", d->name, d->budget_per_day, " a day", &c, to);
	}
	for (size_t i = 0; i < t->step_count; i++) {
		const struct sl_step *s = &t->steps[i];
		struct cost c = cost_of(x, s->name, EVERY_ENDPOINT, 1000, 1);

		if (!sl_step_asks(s))
			continue;
		budget_line("step", s->name, s->budget, "", &c, to);
		budget_line("step", s->name, s->budget_per_day, " a day", &c, to);
	}
}

void sl_estimate_print(const struct sl_topology *t, const struct sl_estimate *x, const char *path, double asked_share,
		       int64_t seen, FILE *to)
{
	sl_print_clean(to, sl_text(path), 400);
	fprintf(to, ": %" PRId64 " pairs, %" PRId64 " of them looked at", x->pairs, x->sampled);
	if (x->invalid)
		fprintf(to, "; %" PRId64 " lines are no pairs", x->invalid);
	if (x->count == 0) {
		fprintf(to, "\nno step of topology '%s' asks anybody: $0\n", t->name);
		return;
	}
	fprintf(to,
		"\nExpected: a token is 4 bytes, an answer %d tokens (attributes %d; reasoning aloud takes more). At "
		"most: a "
		"token is a byte, answers are as long as max_tokens.\nGold examples: other pairs of the file in their "
		"place. Repairs of answers and what is in the memo are not counted.\n",
		SL_ESTIMATE_VERDICT_TOKENS, SL_ESTIMATE_ATTRIBUTES_TOKENS);
	for (size_t i = 0; i < x->count; i++)
		fprintf(to, "  %s: %s by %s, %.3g calls a pair%s of %.0f bytes%s\n", x->lines[i].step, x->lines[i].what,
			t->endpoints[x->lines[i].endpoint].name, x->lines[i].calls,
			x->lines[i].asked ? " that is asked about" : "",
			x->lines[i].calls > 0 ? x->lines[i].bytes / x->lines[i].calls : 0.0,
			x->lines[i].maybe ? ", where the first opinion is unsure: none to all" : "");
	if (x->probes > 0)
		fprintf(to, "  and %.3g gold pairs beside each pair, to measure the judges\n", x->probes);
	fprintf(to, "\nper 1000 pairs, if all of them are asked about\n");
	table(t, x, 1000, 1, to);
	fprintf(to, "\nthe file, if all of its pairs are asked about\n");
	table(t, x, (double)x->pairs, 1, to);
	if (isnan(asked_share)) {
		fprintf(to, "\nWhich pairs are asked about is known when there are a gold model and a posterior.\n");
	} else {
		fprintf(to, "\nthe file, if %.1f %% are asked about as of the %" PRId64 " pairs so far\n",
			100 * asked_share, seen);
		table(t, x, (double)x->pairs, asked_share, to);
	}
	budgets(t, x, to);
}
