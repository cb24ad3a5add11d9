/* training.c -- when the models are trained, and on what.
 *
 * A training reads prefixes of topics: everything committed up to offsets that are
 * fixed at its start and stored inside the version folder, next to the weights they
 * produced. So a version says what it has seen, "new since" is a subtraction, and a crash in
 * the middle costs nothing but the time. The order is: version folder (renamed into place,
 * synced), then the announcement in the `models` topic with gold.errors in the same
 * commit. A folder that was never announced is found at the next look and announced then.
 *
 * Threads: one training at a time, under a lock; any thread. */
#include "training.h"

#include "../schemas/codec.h"
#include "../trainer/registry.h"
#include "base/file.h"
#include "base/log.h"
#include "prefix.h"
#include "promoting.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* p below this is worth a person's look: the paper asks for 3 or more neighbours there
 * (k = ceil(8 (1 - p)), arXiv 2507.01352 section 3.1). */
#define UNSURE_BELOW 0.75

struct state {
	int64_t version; /* the newest on disk that was looked at */
	int64_t seen;    /* records of its topics it was trained on */
	int64_t at_ns;   /* when, by our clock; at open: when opened */
};

struct sl_training {
	pthread_mutex_t lock;
	struct state *states; /* per trainer; of the posterior: unused */
	struct sl_posterior_state posterior;
};

/* -- what is known of the versions ----------------------------------------------------- */

struct sl_training *sl_training_new(struct sl_runtime *rt)
{
	struct sl_training *t = sl_calloc(1, sizeof *t);

	sl_mutex_init(&t->lock);
	t->states = sl_calloc(rt->topology->trainer_count + 1, sizeof *t->states);
	for (size_t i = 0; i < rt->topology->trainer_count; i++)
		t->states[i].at_ns = sl_monotonic_ns();
	t->posterior.at_ns = sl_monotonic_ns();
	return t;
}

void sl_training_free(struct sl_training *t)
{
	if (!t)
		return;
	sl_mutex_destroy(&t->lock);
	free(t->states);
	free(t);
}

bool sl_training_latest(struct sl_runtime *rt, const char *name, struct sl_arena *a, struct sl_model_record *m)
{
	struct sl_table *models = rt->topology->models >= 0 ? rt->topics[rt->topology->models].table : NULL;
	const struct sl_table_entry *entry;
	struct sl_error e;

	if (!models)
		return false;
	entry = sl_table_at(models, sl_text(name), sl_table_now(models));
	return entry && entry->value.data && sl_model_decode(entry->value, a, m, &e);
}

/* How many records version `version` has seen, from its folder. */
static int64_t records_seen(struct sl_runtime *rt, const char *name, int64_t version)
{
	char uri[300], path[4400];
	json_t *config, *records;
	int64_t seen = 0;

	sl_registry_uri(name, version, uri, sizeof uri);
	snprintf(path, sizeof path, "%s/%s/config.json", rt->models, uri);
	config = json_load_file(path, 0, NULL);
	records = json_object_get(json_object_get(config, "trained_on"), "records");
	if (json_is_integer(records))
		seen = json_integer_value(records);
	json_decref(config);
	return seen;
}

int64_t sl_training_records(struct sl_runtime *rt, const struct sl_trainer_def *def)
{
	int64_t n = 0;

	for (size_t i = 0; i < def->from_count; i++)
		n += rt->stream->records(rt, def->from[i]);
	return n;
}

/* -- announcing ------------------------------------------------------------------------- */

struct errors {
	const struct sl_trainer_def *def;
	int64_t version;
	double temperature;
	struct sl_record *records;
	size_t count, capacity;
	struct sl_arena memory;
	struct sl_buf scratch;
};

/* A gold pair that the model, without having seen its group, gets wrong or is unsure of. */
static void on_margin(void *arg, const struct sl_pair *pair, double margin)
{
	struct errors *x = arg;
	double p = sl_sigmoid(margin / x->temperature);
	struct sl_pair copy = *pair;
	struct sl_score score = { .model = sl_text(x->def->name),
				  .version = x->version,
				  .chosen = margin / 2,
				  .rejected = -margin / 2,
				  .temperature = x->temperature };
	struct sl_trail *trail;

	if (p >= UNSURE_BELOW)
		return;
	trail = sl_arena_alloc(&x->memory, (pair->trail_count + 1) * sizeof *trail);
	if (pair->trail_count)
		memcpy(trail, pair->trail, pair->trail_count * sizeof *trail);
	trail[pair->trail_count] = (struct sl_trail){
		.step = sl_text("evaluation"),
		.version = sl_text("1"),
		.outcome = sl_text(p <= 0.5 ? "wrong" : "unsure"),
		.reason = sl_text(sl_arena_print(&x->memory, "out of sample: p %.4f under %s version %" PRId64, p,
						 x->def->name, x->version)),
	};
	copy.trail = trail;
	copy.trail_count = pair->trail_count + 1;
	copy.scores = &score;
	copy.score_count = 1;
	copy.vectors = (struct sl_vectors){ 0 };
	sl_buf_clear(&x->scratch);
	sl_pair_encode(&copy, &x->scratch);
	if (x->count == x->capacity) {
		x->capacity = x->capacity ? 2 * x->capacity : 64;
		x->records = sl_realloc(x->records, x->capacity * sizeof *x->records);
	}
	x->records[x->count++] = (struct sl_record){
		.time_ms = pair->time_ms,
		.key = sl_arena_bytes(&x->memory, sl_id_bytes(&pair->id)),
		.value = sl_arena_bytes(&x->memory, sl_buf_bytes(&x->scratch)),
	};
}

static void errors_release(struct errors *x)
{
	free(x->records);
	sl_arena_release(&x->memory);
	sl_buf_release(&x->scratch);
}

bool sl_training_announce(struct sl_runtime *rt, const struct sl_model_record *m, const struct sl_append *extra,
			  struct sl_error *e)
{
	struct sl_buf value = { 0 };
	struct sl_record record = { .time_ms = sl_wall_ms(), .key = m->name };
	struct sl_append appends[2] = { { .topic = rt->topology->models, .records = &record, .count = 1 } };
	size_t n = 1;
	bool done;

	sl_model_encode(m, &value);
	record.value = sl_buf_bytes(&value);
	if (extra && extra->count)
		appends[n++] = *extra;
	done = sl_commit(rt, NULL, 0, appends, n, NULL, e);
	sl_buf_release(&value);
	if (done)
		sl_log(SL_LOG_NOTE, NULL, "model '%.*s': champion %" PRId64 "%s, %.*s", (int)m->name.size,
		       (const char *)m->name.data, m->version,
		       m->candidate > m->version ? " stays, the new one is candidate" : "", (int)m->reason.size,
		       (const char *)m->reason.data);
	return done;
}

bool sl_training_guard(struct sl_runtime *rt, struct sl_error *e)
{
	return rt->stream->guard(rt, sl_text("models"), e);
}

bool sl_training_overtaken(struct sl_runtime *rt, const char *name, int64_t version, struct sl_error *e)
{
	if (sl_registry_latest(rt->models, name) < version)
		return false;
	return sl_error_set(e, SL_RETRY, "another process has trained it meanwhile: look what it says");
}

/* Make a version folder known: as champion, if it may be (promoting.h), or else as candidate. */
static bool present(struct sl_runtime *rt, const struct sl_trainer_def *def, int64_t version, const char *reason,
		    struct sl_prefix *gold, const struct errors *errors, struct sl_error *e)
{
	struct sl_append with = { errors->def->errors, errors->records, errors->count };
	struct sl_arena a = { 0 };
	struct sl_model_record m = { 0 }, now = { 0 };
	bool known, promote, done = sl_training_guard(rt, e);

	if (!done || sl_training_announced(rt, def->name, version)) /* by who found it before us: another leader */
		return done;
	known = sl_training_latest(rt, def->name, &a, &m);
	done = sl_registry_describe(rt->models, def->name, version, &a, &now, e) &&
	       sl_promoting_ask(rt, def, known ? &m : NULL, gold, reason, &now, &promote, &a, e);
	if (done && promote) {
		now.previous = m.version;
	} else if (done) {
		struct sl_model_record champion = m; /* it stays */

		champion.candidate = version;
		champion.reason = now.reason;
		champion.report = sl_promoting_carry(m.report, now.report, &a);
		now = champion;
	}
	now.sequence = m.sequence + 1;
	done = done && sl_training_announce(rt, &now, &with, e);
	sl_arena_release(&a);
	return done;
}

/* Examples that ended at a read error are no training: the folder goes, the error stays. */
static bool read_whole(const struct sl_prefix *examples, const struct sl_prefix *gold, const char *folder,
		       struct sl_error *e)
{
	const struct sl_prefix *broken = examples->error.verdict != SL_OK ? examples : gold;
	struct sl_error ignored;

	if (broken->error.verdict == SL_OK)
		return true;
	if (!sl_folder_remove(folder, &ignored))
		sl_log(SL_LOG_WARN, NULL, "%s", ignored.text);
	*e = broken->error;
	return false;
}

/* -- one training ------------------------------------------------------------------------ */

void sl_training_options(const struct sl_trainer_def *def, struct sl_train_options *options)
{
	sl_train_options_default(options);
	options->seed = (uint64_t)def->seed;
	options->epochs = def->epochs;
	options->columns_log2 = def->columns_log2;
	options->learning_rate = def->learning_rate;
	options->l2 = def->l2;
	options->folds = def->errors >= 0 ? def->folds : 0;
}

/* What the trainer says, out of sample, about the gold pairs themselves, under the temperature of `version`. */
static bool collect_errors(struct errors *errors, struct sl_runtime *rt, int64_t version, struct sl_prefix *gold,
			   struct sl_error *e)
{
	struct sl_examples eval = { gold, sl_prefix_rewind, sl_prefix_next };
	struct sl_train_options options;
	char uri[300], path[4400];
	struct sl_model *m;

	if (errors->def->errors < 0 || errors->def->folds == 0)
		return true;
	sl_registry_uri(errors->def->name, version, uri, sizeof uri);
	snprintf(path, sizeof path, "%s/%s", rt->models, uri);
	m = sl_model_open(path, (struct sl_bytes){ NULL, 0 }, e);
	if (!m)
		return false;
	errors->version = version;
	errors->temperature = sl_model_temperature(m);
	sl_training_options(errors->def, &options);
	if (options.l2 == 0)
		sl_model_strengths(m, &options.l2, &options.l2_style);
	sl_model_close(m);
	if (!sl_train_cross_fit(&options, &eval, errors, on_margin, e))
		return false;
	if (gold->error.verdict != SL_OK)
		*e = gold->error;
	return gold->error.verdict == SL_OK;
}

static bool train(struct sl_runtime *rt, size_t which, const char *reason, struct sl_buf *report_json,
		  struct sl_error *e)
{
	const struct sl_trainer_def *def = &rt->topology->trainers[which];
	struct sl_train_options options;
	struct sl_train_report report = { 0 };
	struct sl_prefix examples, gold;
	struct errors errors = { .def = def };
	struct sl_examples train_on = { &examples, sl_prefix_rewind, sl_prefix_next },
			   eval = { &gold, sl_prefix_rewind, sl_prefix_next };
	int64_t version = sl_registry_latest(rt->models, def->name) + 1;
	char uri[300], path[4400], *trained_on = NULL;
	struct sl_error why = { 0 };
	bool done;

	sl_registry_uri(def->name, version, uri, sizeof uri);
	snprintf(path, sizeof path, "%s/%s", rt->models, uri);
	sl_training_options(def, &options);
	done = sl_prefix_open(&examples, rt, def->from, def->from_count, e);
	done = sl_prefix_open(&gold, rt, &def->gold, 1, done ? e : &why) && done;
	if (done) {
		trained_on = sl_prefix_json(&examples, reason);
		done = sl_train_linear(&options, &train_on, &eval, path, trained_on, &report, e) ||
		       sl_training_overtaken(rt, def->name, version, e);
		done = done && read_whole(&examples, &gold, path, e);
	}
	done = done && collect_errors(&errors, rt, version, &gold, e);
	done = done && present(rt, def, version, reason, &gold, &errors, e);
	if (done) {
		struct state *s = &rt->training->states[which];

		s->version = version;
		s->seen = records_seen(rt, def->name, version);
		s->at_ns = sl_monotonic_ns();
		if (report_json)
			sl_train_report_json(&report, report_json);
	}
	if (!done)
		sl_error_in(e, "training model '%s' version %" PRId64, def->name, version);
	free(trained_on);
	sl_prefix_close(&examples);
	sl_prefix_close(&gold);
	errors_release(&errors);
	return done;
}

bool sl_training_announced(struct sl_runtime *rt, const char *name, int64_t version)
{
	struct sl_table *models = rt->topics[rt->topology->models].table;
	const struct sl_table_entry *entry = sl_table_at(models, sl_text(name), sl_table_now(models));
	struct sl_arena a = { 0 };
	bool found = false;

	for (; entry && !found; entry = entry->older) {
		struct sl_model_record m;
		struct sl_error ignored;

		found = entry->value.data && sl_model_decode(entry->value, &a, &m, &ignored) &&
			(m.version == version || m.candidate == version);
	}
	sl_arena_release(&a);
	return found;
}

/* A folder newer than anything announced: a crash came between. */
static bool adopt(struct sl_runtime *rt, size_t which, int64_t latest, bool *adopted, struct sl_error *e)
{
	const struct sl_trainer_def *def = &rt->topology->trainers[which];
	struct errors errors = { .def = def };
	struct sl_prefix gold;
	bool done = latest == 0 || sl_training_guard(rt, e);

	*adopted = done && latest > 0 && !sl_training_announced(rt, def->name, latest);
	if (*adopted) {
		done = sl_prefix_open(&gold, rt, &def->gold, 1, e) && collect_errors(&errors, rt, latest, &gold, e) &&
		       present(rt, def, latest, "found after a restart", &gold, &errors, e);
		sl_prefix_close(&gold);
		errors_release(&errors);
		if (!done)
			sl_error_in(e, "model '%s' version %" PRId64 ", found after a restart", def->name, latest);
	}
	return done;
}

/* filter.without_gold is not `stop`: say that there will be no gold model for now. */
static bool announce_absent(struct sl_runtime *rt, const struct sl_trainer_def *def, int64_t records, bool *announced,
			    struct sl_error *e)
{
	struct sl_arena a = { 0 };
	struct sl_model_record m = { 0 };
	bool done = sl_training_guard(rt, e);

	if (done && !sl_training_latest(rt, def->name, &a, &m)) {
		m = (struct sl_model_record){ .name = sl_text(def->name), .sequence = 1 };
		m.reason = sl_text(
			sl_arena_print(&a, "absent: %" PRId64 " of %" PRId64 " gold pairs, filter.without_gold is '%s'",
				       records, def->min_pairs, rt->topology->without_gold));
		done = sl_training_announce(rt, &m, NULL, e);
		*announced = done;
	}
	sl_arena_release(&a);
	return done;
}

static bool due(struct sl_runtime *rt, size_t which, bool *trained, struct sl_error *e)
{
	const struct sl_trainer_def *def = &rt->topology->trainers[which];
	struct state *s = &rt->training->states[which];
	int64_t latest = sl_registry_latest(rt->models, def->name), records = sl_training_records(rt, def), fresh;
	bool adopted = false;
	char reason[200];

	if (latest != s->version) {
		if (!adopt(rt, which, latest, &adopted, e))
			return false;
		s->version = latest;
		s->seen = latest ? records_seen(rt, def->name, latest) : 0;
		*trained |= adopted;
	}
	fresh = records - s->seen;
	if (latest == 0 && records < def->min_pairs) {
		if (strcmp(def->name, "gold") == 0 && strcmp(rt->topology->without_gold, "stop") != 0)
			return announce_absent(rt, def, records, trained, e);
		return true;
	}
	if (latest == 0 && records > 0)
		snprintf(reason, sizeof reason, "first: %" PRId64 " pairs", records);
	else if (def->every_pairs > 0 && fresh >= def->every_pairs)
		snprintf(reason, sizeof reason, "count: %" PRId64 " new pairs, every %" PRId64, fresh,
			 def->every_pairs);
	else if (def->interval_ms > 0 && fresh > 0 && sl_monotonic_ns() - s->at_ns >= def->interval_ms * 1000000)
		snprintf(reason, sizeof reason, "interval: %" PRId64 " new pairs after %" PRId64 " ms", fresh,
			 def->interval_ms);
	else
		return true;
	if (!train(rt, which, reason, NULL, e))
		return false;
	*trained = true;
	return true;
}

static bool is_posterior(const struct sl_trainer_def *def)
{
	return strcmp(def->name, "posterior") == 0;
}

bool sl_training_due(struct sl_runtime *rt, bool at_idle, bool *trained, struct sl_error *e)
{
	bool done = true;

	*trained = false;
	sl_lock(&rt->training->lock);
	for (size_t i = 0; done && i < rt->topology->trainer_count; i++) {
		const struct sl_trainer_def *def = &rt->topology->trainers[i];

		done = is_posterior(def) ? sl_posterior_due(rt, def, &rt->training->posterior, trained, e)
					 : due(rt, i, trained, e);
		/* Until idle, the backlog is decided by fixed versions: one new model at a time, then
		 * whoever waited for it goes on before the next is looked at. */
		if (at_idle && *trained)
			break;
	}
	sl_unlock(&rt->training->lock);
	return done;
}

void sl_training_stuck(struct sl_runtime *rt, struct sl_buf *why)
{
	for (size_t i = 0; i < rt->topology->trainer_count; i++) {
		const struct sl_trainer_def *def = &rt->topology->trainers[i];
		int64_t records = sl_training_records(rt, def);

		if (rt->options.freeze)
			sl_buf_print(why, "models are frozen: run once without --freeze to train model '%s'",
				     def->name);
		else if (strcmp(def->name, "gold") == 0 && sl_registry_latest(rt->models, def->name) == 0 &&
			 records < def->min_pairs)
			sl_buf_print(why,
				     "%" PRId64 " gold pairs, model 'gold' needs %" PRId64
				     ": verify more pairs and `sluice ingest --gold FILE`, or --set gold.min_pairs=N, "
				     "or --set "
				     "filter.without_gold=pass",
				     records, def->min_pairs);
		else
			continue;
		return;
	}
}

/* -- by hand ------------------------------------------------------------------------------- */

static bool find(struct sl_runtime *rt, const char *model, size_t *which, struct sl_error *e)
{
	for (*which = 0; *which < rt->topology->trainer_count; (*which)++)
		if (strcmp(rt->topology->trainers[*which].name, model) == 0)
			return true;
	return sl_error_set(e, SL_STOP, "model '%s' has no trainer in topology '%s'", model, rt->topology->name);
}

bool sl_runtime_train(struct sl_runtime *rt, const char *model, const char *reason, struct sl_buf *report_json,
		      struct sl_error *e)
{
	size_t which;
	bool done;

	if (!find(rt, model, &which, e))
		return false;
	if (rt->options.freeze)
		return sl_error_set(e, SL_STOP, "models are frozen in this run (--freeze)");
	sl_lock(&rt->training->lock);
	if (sl_training_records(rt, &rt->topology->trainers[which]) == 0)
		done = sl_error_set(e, SL_STOP, "model '%s' has no pairs to train on yet", model);
	else if (is_posterior(&rt->topology->trainers[which]))
		done = sl_posterior_train(rt, &rt->topology->trainers[which], &rt->training->posterior, reason,
					  report_json, e);
	else
		done = train(rt, which, reason, report_json, e);
	sl_unlock(&rt->training->lock);
	return done;
}

static bool has_version(const struct sl_runtime *rt, const char *model, int64_t version)
{
	int64_t *versions;
	size_t count = sl_registry_list(rt->models, model, &versions);
	bool found = false;

	for (size_t i = 0; i < count; i++)
		found |= versions[i] == version;
	free(versions);
	return found;
}

bool sl_runtime_promote(struct sl_runtime *rt, const char *model, int64_t version, const char *reason,
			struct sl_error *e)
{
	struct sl_arena a = { 0 };
	struct sl_model_record m = { 0 }, now = { 0 };
	size_t which;
	bool done = find(rt, model, &which, e);

	if (!done)
		return false;
	sl_lock(&rt->training->lock);
	done = sl_training_guard(rt, e);
	if (done && !sl_training_latest(rt, model, &a, &m))
		done = sl_error_set(e, SL_STOP, "model '%s' has no version yet", model);
	else if (done && version == 0 && m.previous == 0)
		done = sl_error_set(e, SL_STOP, "model '%s' has no previous version to go back to", model);
	if (done && version == 0)
		version = m.previous;
	if (done && version == m.version)
		done = sl_error_set(e, SL_STOP, "version %" PRId64 " of model '%s' is the champion already", version,
				    model);
	if (done && !has_version(rt, model, version))
		done = sl_error_set(e, SL_STOP, "model '%s' has no version %" PRId64 ": `sluice models` lists them",
				    model, version);
	done = done && sl_registry_describe(rt->models, model, version, &a, &now, e);
	if (done) {
		now.name = sl_text(model);
		now.version = version;
		now.sequence = m.sequence + 1;
		now.previous = m.version;
		now.candidate = m.candidate == version ? 0 : m.candidate;
		now.reason = sl_text(reason);
		sl_promoting_by_hand(&m, &now, &a);
		done = sl_training_announce(rt, &now, NULL, e);
	}
	sl_unlock(&rt->training->lock);
	sl_arena_release(&a);
	return done;
}
