/* promoting.c -- the pairs of select through three models at once, and the record of what was asked.
 *
 *     "promotion": {
 *       "draw": 0, "uses": 3, "uses_most": 50, "gold": 512,      of select: its draw, made when it had 512 pairs
 *       "best": 2, "tries": 1,                                   the best version; versions tried against it
 *       "examples": 3905,                                        of which the first had learnt from so many
 *       "asked": { "version": 4, "promoted": true, "pairs": 250,                 the last question
 *                  "candidate": ACCURACY, "champion": ACCURACY, "best": ACCURACY,
 *                  "difference": {"value", "low", "high"} } }                    candidate - champion, paired
 *
 * The member is ours: a version's own report (trainer/train.h) has none. A report that cannot be read counts as one
 * without: then select is new. A champion or best version whose folder is gone is left out of the comparison. */
#include "promoting.h"

#include "../schemas/json.h"
#include "../trainer/registry.h"
#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* -- what is remembered ----------------------------------------------------------------- */

static json_t *report_of(struct sl_bytes report)
{
	json_t *json = report.size ? json_loadb(report.data, report.size, 0, NULL) : NULL;

	if (json_is_object(json))
		return json;
	json_decref(json);
	return json_object();
}

/* A count from JSON that somebody else may have written. */
static int64_t count_of(const json_t *json, const char *key)
{
	const json_t *value = json_object_get(json, key);

	return json_is_integer(value) && json_integer_value(value) > 0 ? json_integer_value(value) : 0;
}

static int64_t examples_of(struct sl_bytes report)
{
	json_t *json = report_of(report);
	int64_t examples = count_of(json, "examples");

	json_decref(json);
	return examples;
}

static struct sl_promotion_record record_of(struct sl_bytes report)
{
	json_t *json = report_of(report), *p = json_object_get(json, "promotion");
	struct sl_promotion_record r = {
		.draw = count_of(p, "draw"),
		.uses = count_of(p, "uses"),
		.gold = count_of(p, "gold"),
		.best = count_of(p, "best"),
		.tries = count_of(p, "tries"),
		.examples = count_of(p, "examples"),
	};

	json_decref(json);
	return r;
}

static double rounded(double x)
{
	return round(x * 1e6) / 1e6;
}

static json_t *accuracy_json(const struct sl_accuracy *x)
{
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)x->count, "value", rounded(x->value), "low",
			 rounded(x->low), "high", rounded(x->high));
}

static json_t *asked_json(const struct sl_promotion *p, int64_t version)
{
	return json_pack("{s:I, s:b, s:I, s:o, s:o, s:o, s:{s:f, s:f, s:f}}", "version", (json_int_t)version,
			 "promoted", p->promote, "pairs", (json_int_t)p->candidate.count, "candidate",
			 accuracy_json(&p->candidate), "champion", accuracy_json(&p->champion), "best",
			 accuracy_json(&p->best), "difference", "value", rounded(p->difference), "low", rounded(p->low),
			 "high", rounded(p->high));
}

/* The report with the record in it; `asked` NULL or consumed. */
static struct sl_bytes remember(struct sl_bytes report, const struct sl_promotion_record *r, json_t *asked,
				struct sl_arena *a)
{
	json_t *json = report_of(report),
	       *p = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "draw", (json_int_t)r->draw, "uses",
			      (json_int_t)r->uses, "uses_most", (json_int_t)SL_PROMOTION_USES_MOST, "gold",
			      (json_int_t)r->gold, "best", (json_int_t)r->best, "tries", (json_int_t)r->tries,
			      "examples", (json_int_t)r->examples);
	struct sl_bytes text;

	if (asked)
		json_object_set_new(p, "asked", asked);
	json_object_set_new(json, "promotion", p);
	text = sl_json_dump(a, json, false);
	json_decref(json);
	return text;
}

struct sl_bytes sl_promoting_carry(struct sl_bytes from, struct sl_bytes with, struct sl_arena *a)
{
	json_t *json = report_of(from), *other = report_of(with);
	struct sl_bytes text;

	json_object_set(json, "promotion", json_object_get(other, "promotion"));
	text = sl_json_dump(a, json, false);
	json_decref(json);
	json_decref(other);
	return text;
}

void sl_promoting_by_hand(const struct sl_model_record *last, struct sl_model_record *now, struct sl_arena *a)
{
	struct sl_promotion_record r = record_of(last->report);

	sl_promotion_best(&r, now->version, examples_of(now->report));
	now->report = remember(now->report, &r, NULL, a);
}

/* -- the pairs of select ---------------------------------------------------------------- */

enum { CANDIDATE, CHAMPION, BEST, MODELS };

/* The three models, and what they say. A NULL model is left out. */
struct trial {
	struct sl_model *models[MODELS];
	struct sl_trial_pair *pairs;
	size_t count, capacity;
};

static struct sl_model *open_version(struct sl_runtime *rt, const char *name, int64_t version, struct sl_error *e)
{
	char uri[300], path[4400];

	sl_registry_uri(name, version, uri, sizeof uri);
	snprintf(path, sizeof path, "%s/%s", rt->models, uri);
	return sl_model_open(path, (struct sl_bytes){ NULL, 0 }, e);
}

static struct sl_model *open_older(struct sl_runtime *rt, const char *name, int64_t version)
{
	struct sl_error e = { 0 };
	struct sl_model *m = version > 0 ? open_version(rt, name, version, &e) : NULL;

	if (!m && version > 0)
		sl_log(SL_LOG_WARN, NULL, "no comparison with model '%s' version %" PRId64 ": %s", name, version,
		       e.text);
	return m;
}

static struct sl_bytes domain_of(const struct sl_pair *p)
{
	return p->domain.size ? p->domain : p->source;
}

static uint64_t domain_hash(const struct sl_pair *p)
{
	return sl_hash64(domain_of(p).data, domain_of(p).size, 0);
}

/* All of select; false: the gold topic could not be read. */
static bool trial_read(struct trial *t, struct sl_prefix *gold, struct sl_error *e)
{
	const struct sl_model *open[MODELS];
	size_t place[MODELS] = { 0 }, n = 0;
	const struct sl_pair *p;

	for (size_t i = 0; i < MODELS; i++) {
		if (!t->models[i])
			continue;
		place[i] = n;
		open[n++] = t->models[i];
	}
	sl_prefix_rewind(gold);
	while (sl_prefix_next(gold, &p)) {
		struct sl_reward rewards[MODELS];
		double margins[MODELS];

		if (sl_split_of(p->group) != SL_SPLIT_SELECT)
			continue;
		sl_models_score(open, n, p, 1, rewards);
		for (size_t i = 0; i < MODELS; i++)
			margins[i] = rewards[place[i]].chosen - rewards[place[i]].rejected;
		if (t->count == t->capacity) {
			t->capacity = t->capacity ? 2 * t->capacity : 256;
			t->pairs = sl_realloc(t->pairs, t->capacity * sizeof *t->pairs);
		}
		t->pairs[t->count++] = (struct sl_trial_pair){
			.group = p->group,
			.domain = domain_hash(p),
			.candidate = margins[CANDIDATE],
			.champion = margins[t->models[CHAMPION] ? CHAMPION : BEST],
			.best = margins[t->models[BEST] ? BEST : CHAMPION],
		};
	}
	if (gold->error.verdict != SL_OK)
		*e = gold->error;
	return gold->error.verdict == SL_OK;
}

/* Keep the pairs that are drawn. */
static void trial_draw(struct trial *t, int64_t draw)
{
	size_t kept = 0;

	if (t->count < SL_PROMOTION_HALF_FROM)
		return;
	for (size_t i = 0; i < t->count; i++)
		if (sl_select_drawn(t->pairs[i].group, draw))
			t->pairs[kept++] = t->pairs[i];
	t->count = kept;
}

static void trial_release(struct trial *t)
{
	for (size_t i = 0; i < MODELS; i++)
		sl_model_close(t->models[i]);
	free(t->pairs);
}

/* The name of the domain that speaks against the version, for people. */
static struct sl_bytes domain_name(struct sl_prefix *gold, uint64_t domain, struct sl_arena *a)
{
	const struct sl_pair *p;

	sl_prefix_rewind(gold);
	while (sl_prefix_next(gold, &p))
		if (domain_hash(p) == domain)
			return sl_arena_bytes(a, domain_of(p));
	return sl_text("");
}

static const char *reason_of(const struct sl_promotion *p, int64_t version, const char *reason, struct sl_prefix *gold,
			     struct sl_arena *a)
{
	struct sl_bytes name;

	if (p->promote)
		return sl_arena_print(a, "%s; %s", reason, p->why);
	if (!p->domain)
		return sl_arena_print(a, "candidate %" PRId64 " not promoted: %s (%s)", version, p->why, reason);
	name = domain_name(gold, p->domain, a);
	return sl_arena_print(a, "candidate %" PRId64 " not promoted: %s ('%.*s'; %s)", version, p->why,
			      (int)(name.size < 100 ? name.size : 100), (const char *)name.data, reason);
}

/* Compare the opened models. */
static bool question(struct trial *t, const struct sl_trainer_def *def, struct sl_prefix *gold, int64_t examples,
		     struct sl_promotion_record *r, struct sl_promotion *verdict, struct sl_error *e)
{
	struct sl_promotion_options o;

	if (!trial_read(t, gold, e))
		return false;
	sl_promotion_ask(r, (int64_t)t->count, examples);
	trial_draw(t, r->draw);
	sl_promotion_options_default(&o);
	o.seed = (uint64_t)def->seed;
	o.best_drop = def->best_drop;
	o.tries = r->tries;
	sl_promotion_decide(&o, t->pairs, t->count, verdict);
	return true;
}

bool sl_promoting_ask(struct sl_runtime *rt, const struct sl_trainer_def *def, const struct sl_model_record *last,
		      struct sl_prefix *gold, const char *reason, struct sl_model_record *now, bool *promote,
		      struct sl_arena *a, struct sl_error *e)
{
	struct sl_promotion_record r = last ? record_of(last->report) : (struct sl_promotion_record){ 0 };
	struct sl_promotion verdict = { .promote = true, .improves = true };
	int64_t examples = examples_of(now->report);
	struct trial t = { 0 };
	json_t *asked = NULL;
	bool done = true;

	now->reason = sl_text(reason);
	if (last && last->version != now->version) {
		t.models[CHAMPION] = open_older(rt, def->name, last->version);
		t.models[BEST] = r.best == last->version ? NULL : open_older(rt, def->name, r.best);
	}
	if (t.models[CHAMPION] || t.models[BEST]) {
		if (!t.models[BEST])
			r.best = last->version;
		t.models[CANDIDATE] = open_version(rt, def->name, now->version, e);
		done = t.models[CANDIDATE] && question(&t, def, gold, examples, &r, &verdict, e);
		if (done) {
			now->reason = sl_text(reason_of(&verdict, now->version, reason, gold, a));
			asked = asked_json(&verdict, now->version);
		}
	}
	if (verdict.improves)
		sl_promotion_best(&r, now->version, examples);
	*promote = verdict.promote;
	now->report = remember(now->report, &r, asked, a);
	trial_release(&t);
	return done;
}
