/* posterior_training.c -- when the posterior is fitted, and on what.
 *
 * The posterior says how far the champions of gold and best and the judge can be trusted, so it belongs to those
 * champions: it is due when there is a gold model and no posterior yet, when a champion has changed, when enough gold
 * pairs were audited since (or just so many that there can be weights), and after an interval if anything is new. Where
 * LLM judges are asked, it is due too when gold pairs were put to judges of another setting than it knows, and
 * when the probes of one setting reach 12, 24, 48, 96 and so on: their weight changes least where there are many.
 * What a version was fitted on stands in its folder, as with the other models: {"gold": 3, "best": 1, "audited": 412,
 * "probes": 100, "setting": "a9..."} beside the offsets.
 *
 * It is a calibration, not a candidate: no promotion test, the newest is the champion, until a person moves it.
 * Where gold was announced as absent (filter.without_gold) there is nothing to calibrate, and the posterior is
 * announced as absent too, so that nobody waits for it.
 *
 * Threads: under training.c's lock. */
#include "training.h"

#include "../operators/nearest.h"
#include "../trainer/registry.h"
#include "base/log.h"
#include "evidence.h"
#include "judge_health.h"
#include "prefix.h"

#define PROBES_LEAST 12 /* a first fit because of them */

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* The models that the posterior is about; version 0: absent. Texts in the arena. */
struct champions {
	struct sl_model_record gold, best;
	bool gold_announced;
	struct sl_arena texts;
};

static void champions_now(struct sl_runtime *rt, struct champions *c)
{
	*c = (struct champions){ 0 };
	c->gold_announced = sl_training_latest(rt, "gold", &c->texts, &c->gold);
	if (!sl_training_latest(rt, "best", &c->texts, &c->best))
		c->best.version = 0;
}

/* -- what the topology says ------------------------------------------------------------------- */

static const struct sl_trainer_def *gold_trainer(const struct sl_topology *t)
{
	for (size_t i = 0; i < t->trainer_count; i++)
		if (strcmp(t->trainers[i].name, "gold") == 0)
			return &t->trainers[i];
	abort(); /* config_trainers.c: no posterior without gold */
}

static void sources_of(const struct sl_topology *t, struct sl_evidence_sources *from)
{
	const int64_t *examples = sl_option_of(t, "retrieve", "k");
	const char *const *backend = sl_option_of(t, "annotate", "backend");
	const double *threshold = sl_option_of(t, "annotate", "threshold");

	*from = (struct sl_evidence_sources){ 0 };
	sl_training_options(gold_trainer(t), &from->gold_options);
	if (examples && backend && threshold && strcmp(*backend, SL_NEAREST) == 0) {
		from->examples = (size_t)*examples;
		from->threshold = *threshold;
	}
}

/* LLM judges are asked. */
static bool has_panel(const struct sl_topology *t)
{
	const char *const *backend = sl_option_of(t, "annotate", "backend");

	return backend && strcmp(*backend, SL_NEAREST) != 0;
}

static const char *judge_of(const struct sl_topology *t)
{
	const char *const *panel = sl_option_of(t, "annotate", "panel");

	return has_panel(t) ? *panel : SL_NEAREST;
}

static void options_of(const struct sl_topology *t, const struct sl_trainer_def *def, struct sl_posterior_options *o)
{
	const double *keep = sl_option_of(t, "filter", "keep"), *flip = sl_option_of(t, "filter", "flip");
	const double *judge_accuracy = sl_option_of(t, "annotate", "judge_accuracy");

	sl_posterior_options_default(o);
	o->seed = (uint64_t)def->seed;
	o->least_audited = def->min_pairs;
	if (has_panel(t))
		o->judge_accuracy = *judge_accuracy;
	if (keep)
		o->keep = *keep;
	if (flip)
		o->flip = *flip;
}

/* -- what a version was fitted on --------------------------------------------------------------- */

static int64_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static void folder_of(struct sl_runtime *rt, const char *name, int64_t version, char *to, size_t to_size)
{
	char uri[300];

	sl_registry_uri(name, version, uri, sizeof uri);
	snprintf(to, to_size, "%s/%s", rt->models, uri);
}

/* A version 0, or one whose folder says nothing, was fitted on nothing. */
static void remember(struct sl_runtime *rt, const struct sl_trainer_def *def, int64_t version,
		     struct sl_posterior_state *s)
{
	char folder[4400], path[4500];
	const char *setting;
	json_t *config, *on;

	folder_of(rt, def->name, version, folder, sizeof folder);
	snprintf(path, sizeof path, "%s/config.json", folder);
	config = version ? json_load_file(path, 0, NULL) : NULL;
	on = json_object_get(config, "trained_on");
	*s = (struct sl_posterior_state){
		.version = version,
		.gold = number(on, "gold"),
		.best = number(on, "best"),
		.audited = number(on, "audited"),
		.records = number(on, "records"),
		.probes = number(on, "probes"),
		.at_ns = sl_monotonic_ns(),
	};
	setting = json_string_value(json_object_get(on, "setting"));
	snprintf(s->setting, sizeof s->setting, "%s", setting ? setting : "");
	s->counted_at = s->records;
	s->counted = s->audited;
	json_decref(config);
}

/* The probes that a fit is made of. */
struct panel {
	struct sl_probes probes;
	int64_t count;
	char setting[SL_SETTING_SIZE]; /* "" none */
};

static char *trained_on(const struct sl_prefix *gold, const struct champions *c, const struct panel *panel,
			int64_t audited, const char *reason)
{
	char *text = sl_prefix_json(gold, reason);
	json_t *on = json_loads(text, 0, NULL);

	free(text);
	json_object_set_new(on, "gold", json_integer(c->gold.version));
	json_object_set_new(on, "best", json_integer(c->best.version));
	json_object_set_new(on, "audited", json_integer(audited));
	if (panel->setting[0]) {
		json_object_set_new(on, "probes", json_integer(panel->count));
		json_object_set_new(on, "setting", json_string(panel->setting));
	}
	text = json_dumps(on, JSON_COMPACT);
	json_decref(on);
	return text;
}

/* -- fitting ---------------------------------------------------------------------------------------- */

/* NULL and true: the model is absent. */
static bool open_model(struct sl_runtime *rt, const char *name, const struct sl_model_record *m,
		       struct sl_model **model, struct sl_error *e)
{
	char folder[4400];

	*model = NULL;
	if (m->version == 0)
		return true;
	folder_of(rt, name, m->version, folder, sizeof folder);
	*model = sl_model_open(folder, m->sha256, e);
	return *model != NULL;
}

static int64_t audited_of(const struct sl_evidence_rows *rows)
{
	int64_t n = 0;

	for (size_t i = 0; i < rows->count; i++)
		n += rows->at[i].audited;
	return n;
}

static bool panel_now(struct sl_runtime *rt, struct panel *panel, struct sl_error *e)
{
	*panel = (struct panel){ 0 };
	if (!sl_judge_health_follow(rt->judges, e))
		return false;
	sl_judge_health_copy(rt->judges, &panel->probes);
	sl_judge_health_setting(rt->judges, panel->setting);
	panel->count = sl_judge_health_probes(rt->judges);
	return true;
}

/* The rows of everything in `gold` under these champions. */
static bool gather(struct sl_runtime *rt, const struct champions *c, const struct panel *panel, struct sl_prefix *gold,
		   struct sl_evidence_rows *rows, struct sl_error *e)
{
	struct sl_examples examples = { gold, sl_prefix_rewind, sl_prefix_next };
	struct sl_model *gold_model = NULL, *best_model = NULL;
	struct sl_evidence_sources from;
	bool done;

	sources_of(rt->topology, &from);
	from.probes = has_panel(rt->topology) ? &panel->probes : NULL;
	done = open_model(rt, "gold", &c->gold, &gold_model, e) && open_model(rt, "best", &c->best, &best_model, e);
	from.gold = gold_model;
	from.best = best_model;
	done = done && sl_evidence_gather(&examples, &from, rows, e);
	if (done && gold->error.verdict != SL_OK) {
		*e = gold->error;
		done = false;
	}
	sl_model_close(gold_model);
	sl_model_close(best_model);
	return done;
}

/* Make a version folder known. */
static bool present(struct sl_runtime *rt, const char *name, int64_t version, const char *reason, struct sl_error *e)
{
	struct sl_arena a = { 0 };
	struct sl_model_record last = { 0 }, now = { 0 };
	bool done;

	if (!sl_training_guard(rt, e))
		return false;
	if (sl_training_announced(rt, name, version)) /* by who found it before us: another leader */
		return true;
	if (!sl_training_latest(rt, name, &a, &last))
		last = (struct sl_model_record){ 0 };
	done = sl_registry_describe(rt->models, name, version, &a, &now, e);
	if (done) {
		now.name = sl_text(name);
		now.version = version;
		now.sequence = last.sequence + 1;
		now.previous = last.version;
		now.reason = sl_text(reason);
		done = sl_training_announce(rt, &now, NULL, e);
	}
	sl_arena_release(&a);
	return done;
}

static bool fit(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
		const struct champions *c, const char *reason, struct sl_buf *report_json, struct sl_error *e)
{
	int64_t version = sl_registry_latest(rt->models, def->name) + 1;
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior_options options;
	struct sl_buf report = { 0 };
	struct sl_prefix gold = { 0 };
	struct panel panel;
	char folder[4400], *on = NULL;
	bool done;

	folder_of(rt, def->name, version, folder, sizeof folder);
	options_of(rt->topology, def, &options);
	done = panel_now(rt, &panel, e) && sl_prefix_open(&gold, rt, def->from, def->from_count, e) &&
	       gather(rt, c, &panel, &gold, &rows, e);
	if (done) {
		on = trained_on(&gold, c, &panel, audited_of(&rows), reason);
		done = sl_posterior_fit(&options, &rows, judge_of(rt->topology), folder, on, &report, e) ||
		       sl_training_overtaken(rt, def->name, version, e);
	}
	done = done && present(rt, def->name, version, reason, e);
	if (done) {
		remember(rt, def, version, s);
		if (report_json)
			sl_buf_add_bytes(report_json, sl_buf_bytes(&report));
	} else {
		sl_error_in(e, "training model '%s' version %" PRId64, def->name, version);
	}
	free(on);
	sl_buf_release(&report);
	sl_evidence_release(&rows);
	sl_probes_release(&panel.probes);
	sl_prefix_close(&gold);
	return done;
}

/* -- when --------------------------------------------------------------------------------------------- */

/* A folder newer than anything announced: a crash came between. */
static bool adopt(struct sl_runtime *rt, const struct sl_trainer_def *def, int64_t latest, bool *adopted,
		  struct sl_error *e)
{
	*adopted = false;
	if (latest == 0)
		return true;
	if (!sl_training_guard(rt, e))
		return false;
	if (sl_training_announced(rt, def->name, latest))
		return true;
	if (!present(rt, def->name, latest, "found after a restart", e))
		return sl_error_in(e, "model '%s' version %" PRId64 ", found after a restart", def->name, latest);
	*adopted = true;
	return true;
}

static bool announce_absent(struct sl_runtime *rt, const char *name, bool *announced, struct sl_error *e)
{
	struct sl_model_record m = { .name = sl_text(name), .sequence = 1 }, last;
	struct sl_arena a = { 0 };
	bool done = sl_training_guard(rt, e);

	if (done && !sl_training_latest(rt, name, &a, &last)) {
		m.reason = sl_text("absent: there is no gold model to calibrate");
		done = sl_training_announce(rt, &m, NULL, e);
		*announced |= done;
	}
	sl_arena_release(&a);
	return done;
}

static bool count_audited(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
			  int64_t records, struct sl_error *e)
{
	const struct sl_pair *p;
	struct sl_prefix gold;
	bool done = sl_prefix_open(&gold, rt, def->from, def->from_count, e);

	if (done) {
		s->counted = 0;
		s->counted_at = records;
		while (sl_prefix_next(&gold, &p))
			s->counted += sl_evidence_audited(p);
		done = gold.error.verdict == SL_OK;
		*e = gold.error;
	}
	sl_prefix_close(&gold);
	return done;
}

/* How many more audited pairs than at the last count make a version due; INT64_MAX: no number does. */
static int64_t missing(const struct sl_trainer_def *def, const struct sl_posterior_state *s)
{
	int64_t least = INT64_MAX;

	if (def->every_pairs > 0)
		least = s->audited + def->every_pairs - s->counted;
	if (s->audited < def->min_pairs && def->min_pairs - s->counted < least)
		least = def->min_pairs - s->counted;
	return least;
}

/* Every audited pair is at least one new record, so most looks need no count. */
static bool enough_audited(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
			   int64_t records, bool *enough, struct sl_error *e)
{
	*enough = false;
	if (records - s->counted_at < missing(def, s))
		return true;
	if (!count_audited(rt, def, s, records, e))
		return false;
	*enough = missing(def, s) <= 0;
	return true;
}

/* Why the judges make a version due: nothing where they do not. */
static bool judges_due(struct sl_runtime *rt, const struct sl_posterior_state *s, char *reason, size_t reason_size,
		       struct sl_error *e)
{
	char setting[SL_SETTING_SIZE];
	int64_t probes, next = PROBES_LEAST;

	if (!sl_judge_health_follow(rt->judges, e))
		return false;
	probes = sl_judge_health_probes(rt->judges);
	sl_judge_health_setting(rt->judges, setting);
	while (next <= s->probes)
		next *= 2;
	if (s->setting[0] && probes && strcmp(s->setting, setting) != 0)
		snprintf(reason, reason_size, "judges: %" PRId64 " probes of setting %s, before %" PRId64 " of %s",
			 probes, setting, s->probes, s->setting);
	else if (probes >= next)
		snprintf(reason, reason_size, "judges: %" PRId64 " probes of setting %s, before %" PRId64, probes,
			 setting, s->probes);
	return true;
}

static bool why_due(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
		    const struct champions *c, char *reason, size_t reason_size, struct sl_error *e)
{
	int64_t records = sl_training_records(rt, def);
	bool enough;

	reason[0] = 0;
	if (s->version == 0) {
		snprintf(reason, reason_size, "first: of gold version %" PRId64, c->gold.version);
		return true;
	}
	if (s->gold != c->gold.version || s->best != c->best.version) {
		snprintf(reason, reason_size,
			 "champions: gold %" PRId64 " and best %" PRId64 ", before %" PRId64 " and %" PRId64,
			 c->gold.version, c->best.version, s->gold, s->best);
		return true;
	}
	if (!judges_due(rt, s, reason, reason_size, e))
		return false;
	if (reason[0])
		return true;
	if (!enough_audited(rt, def, s, records, &enough, e))
		return false;
	if (enough)
		snprintf(reason, reason_size, "count: %" PRId64 " audited pairs, before %" PRId64, s->counted,
			 s->audited);
	else if (def->interval_ms > 0 && records > s->records &&
		 sl_monotonic_ns() - s->at_ns >= def->interval_ms * 1000000)
		snprintf(reason, reason_size, "interval: %" PRId64 " new gold records after %" PRId64 " ms",
			 records - s->records, def->interval_ms);
	return true;
}

bool sl_posterior_due(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
		      bool *trained, struct sl_error *e)
{
	int64_t latest = sl_registry_latest(rt->models, def->name);
	bool done = true, adopted = false;
	struct champions c;
	char reason[200] = "";

	if (latest != s->version) {
		if (!adopt(rt, def, latest, &adopted, e))
			return false;
		remember(rt, def, latest, s);
		*trained |= adopted;
	}
	champions_now(rt, &c);
	if (c.gold_announced && c.gold.version == 0)
		done = announce_absent(rt, def->name, trained, e);
	else if (c.gold_announced)
		done = why_due(rt, def, s, &c, reason, sizeof reason, e);
	if (done && reason[0]) {
		done = fit(rt, def, s, &c, reason, NULL, e);
		*trained |= done;
		if (!done && e->verdict == SL_WAIT) { /* a champion's files: who scores with it waits for them too */
			sl_log(SL_LOG_WARN, NULL, "%s", e->text);
			done = true;
		}
	}
	sl_arena_release(&c.texts);
	return done;
}

bool sl_posterior_train(struct sl_runtime *rt, const struct sl_trainer_def *def, struct sl_posterior_state *s,
			const char *reason, struct sl_buf *report_json, struct sl_error *e)
{
	struct champions c;
	bool done;

	champions_now(rt, &c);
	if (c.gold.version == 0)
		done = sl_error_set(e, SL_STOP,
				    "model '%s' calibrates model 'gold', which has no version yet: train that first",
				    def->name);
	else
		done = fit(rt, def, s, &c, reason, report_json, e);
	sl_arena_release(&c.texts);
	return done;
}
