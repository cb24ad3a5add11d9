/* reload.c -- read the file again, compare, take the budgets over; behind reload.h and sl_runtime_reload.
 *
 * What differs is found in the plans of the two topologies, because a plan has every name and every option: whatever a
 * later release adds to a file is compared too. Only secrets are compared as they are, which plans do not show. */
#include "engine.h"

#include "base/log.h"

#include <jansson.h>
#include <stdlib.h>

/* -- limits ------------------------------------------------------------------------------------- */

void sl_limits_init(struct sl_limits *l, const struct sl_topology *t)
{
	l->endpoints = sl_calloc(t->endpoint_count + 1, sizeof *l->endpoints);
	l->steps = sl_calloc(t->step_count + 1, sizeof *l->steps);
	for (size_t i = 0; i < t->endpoint_count; i++)
		l->endpoints[i] = (struct sl_limit){ t->endpoints[i].budget, t->endpoints[i].budget_per_day };
	for (size_t i = 0; i < t->step_count; i++)
		l->steps[i] = (struct sl_limit){ t->steps[i].budget, t->steps[i].budget_per_day };
}

void sl_limits_release(struct sl_limits *l)
{
	free(l->endpoints);
	free(l->steps);
	*l = (struct sl_limits){ 0 };
}

void sl_limits_shares(const struct sl_limits *l, const struct sl_topology *t, const struct sl_step *step,
		      struct sl_share *shares)
{
	for (size_t i = 0; i < t->endpoint_count; i++)
		shares[i] = sl_limit_share(l->endpoints[i], sl_budget_tasks(t, i));
	shares[t->endpoint_count] = sl_limit_share(l->steps[step - t->steps], t->topics[step->from].partitions);
}

struct sl_limit sl_limit_of_endpoint(struct sl_runtime *rt, size_t endpoint)
{
	struct sl_limit limit;

	sl_lock(&rt->commit_lock);
	limit = rt->limits.endpoints[endpoint];
	sl_unlock(&rt->commit_lock);
	return limit;
}

struct sl_limit sl_limit_of_step(struct sl_runtime *rt, const struct sl_step *step)
{
	struct sl_limit limit;

	sl_lock(&rt->commit_lock);
	limit = rt->limits.steps[step - rt->topology->steps];
	sl_unlock(&rt->commit_lock);
	return limit;
}

/* -- the report ----------------------------------------------------------------------------------- */

struct report {
	json_t *changed, *waits;
};

/* All of them may be NULL but `of`; takes from and to. */
static void put(json_t *list, const char *of, const char *key, json_t *from, json_t *to)
{
	json_t *entry = json_object();

	json_object_set_new(entry, "of", json_string(of));
	json_object_set_new(entry, "key", key ? json_string(key) : json_null());
	json_object_set_new(entry, "from", from ? from : json_null());
	json_object_set_new(entry, "to", to ? to : json_null());
	json_array_append_new(list, entry);
}

static json_t *dollars(double limit)
{
	return limit < 0 ? NULL : json_real(limit);
}

static void waits(struct report *r, const char *of, const char *key, const char *from, const char *to)
{
	put(r->waits, of, key, from ? json_string(from) : NULL, to ? json_string(to) : NULL);
}

/* -- budgets ---------------------------------------------------------------------------------------- */

static bool same(struct sl_limit a, struct sl_limit b)
{
	return a.all == b.all && a.per_day == b.per_day;
}

/* `now` becomes `to`, unless a price is missing for it: the running process has those it was started with. */
static bool take(struct report *r, const char *of, struct sl_limit *now, struct sl_limit to, bool priced)
{
	json_t *list = r->changed;
	struct sl_limit from = *now;

	if ((to.all >= 0 || to.per_day >= 0) && !priced)
		list = r->waits;
	else
		*now = to;
	if (from.all != to.all)
		put(list, of, "budget", dollars(from.all), dollars(to.all));
	if (from.per_day != to.per_day)
		put(list, of, "budget_per_day", dollars(from.per_day), dollars(to.per_day));
	return !same(*now, from);
}

static bool priced(const struct sl_topology *t, const struct sl_step *step)
{
	for (size_t i = 0; i < t->endpoint_count; i++)
		if (sl_budget_may_ask(step, t->endpoints[i].name) && !t->endpoints[i].price)
			return false;
	return true;
}

static const struct sl_endpoint_def *endpoint_named(const struct sl_topology *t, const char *name)
{
	for (size_t i = 0; i < t->endpoint_count; i++)
		if (strcmp(t->endpoints[i].name, name) == 0)
			return &t->endpoints[i];
	return NULL;
}

/* Under the lock. True: something is not what it was. */
static bool budgets(struct sl_runtime *rt, const struct sl_topology *file, struct report *r)
{
	const struct sl_topology *t = rt->topology;
	bool changed = false;
	char of[128];

	for (size_t i = 0; i < t->endpoint_count; i++) {
		const struct sl_endpoint_def *d = endpoint_named(file, t->endpoints[i].name);

		snprintf(of, sizeof of, "endpoint '%s'", t->endpoints[i].name);
		if (d)
			changed |=
				take(r, of, &rt->limits.endpoints[i], (struct sl_limit){ d->budget, d->budget_per_day },
				     t->endpoints[i].price != NULL);
	}
	for (size_t i = 0; i < t->step_count; i++) {
		int at = sl_topology_step(file, t->steps[i].name);
		const struct sl_step *s = at < 0 ? NULL : &file->steps[at];

		snprintf(of, sizeof of, "step '%s'", t->steps[i].name);
		if (s)
			changed |= take(r, of, &rt->limits.steps[i], (struct sl_limit){ s->budget, s->budget_per_day },
					priced(t, &t->steps[i]));
	}
	return changed;
}

/* -- everything else -------------------------------------------------------------------------------- */

static json_t *named(const json_t *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i,
			   item) if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) return item;
	return NULL;
}

static const char *name_of(const json_t *item)
{
	return json_string_value(json_object_get(item, "name"));
}

static const char *value_of(const json_t *setting)
{
	return json_string_value(json_object_get(setting, "value"));
}

static bool is_budget(const char *name)
{
	return strcmp(name, "budget") == 0 || strcmp(name, "budget_per_day") == 0;
}

/* Where a setting stands is no part of it. */
static void compare_settings(struct report *r, const char *of, const json_t *was, const json_t *is)
{
	const json_t *setting, *other;
	size_t i;

	json_array_foreach(was, i, setting)
	{
		other = named(is, name_of(setting));
		if (is_budget(name_of(setting)) || (other && strcmp(value_of(setting), value_of(other)) == 0))
			continue;
		waits(r, of, name_of(setting), value_of(setting), other ? value_of(other) : NULL);
	}
	json_array_foreach(is, i, setting) if (!is_budget(name_of(setting)) && !named(was, name_of(setting)))
		waits(r, of, name_of(setting), NULL, value_of(setting));
}

static void compare_value(struct report *r, const char *of, const char *key, const json_t *was, const json_t *is)
{
	char *texts[2];

	if (json_equal(was, is))
		return;
	texts[0] = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT); /* NULL of what is not there */
	texts[1] = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT);
	waits(r, of, key, json_is_string(was) ? json_string_value(was) : texts[0],
	      json_is_string(is) ? json_string_value(is) : texts[1]);
	free(texts[0]);
	free(texts[1]);
}

static void compare_fields(struct report *r, const char *of, json_t *was, json_t *is)
{
	const char *key;
	json_t *value;

	json_object_foreach(was, key, value)
	{
		if (strcmp(key, "settings") == 0)
			compare_settings(r, of, value, json_object_get(is, key));
		else
			compare_value(r, of, key, value, json_object_get(is, key));
	}
	json_object_foreach(is, key, value) if (!json_object_get(was, key)) compare_value(r, of, key, NULL, value);
}

static void compare_items(struct report *r, const char *what, const json_t *was, const json_t *is)
{
	json_t *item, *other;
	char of[400];
	size_t i;

	json_array_foreach(was, i, item)
	{
		snprintf(of, sizeof of, "%s '%s'", what, name_of(item));
		other = named(is, name_of(item));
		if (other)
			compare_fields(r, of, item, other);
		else
			put(r->waits, of, NULL, json_true(), NULL);
	}
	json_array_foreach(is, i, item)
	{
		snprintf(of, sizeof of, "%s '%s'", what, name_of(item));
		if (!named(was, name_of(item)))
			put(r->waits, of, NULL, NULL, json_true());
	}
}

static json_t *plan_of(const struct sl_topology *t)
{
	struct sl_buf text = { 0 };
	json_t *plan;

	sl_topology_plan(t, NULL, true, &text);
	plan = json_loadb((const char *)text.data, text.size, 0, NULL);
	sl_buf_release(&text);
	return plan;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_list(struct sl_list a, struct sl_list b)
{
	if (a.count != b.count)
		return false;
	for (size_t i = 0; i < a.count; i++)
		if (strcmp(a.at[i], b.at[i]) != 0)
			return false;
	return true;
}

/* The plans show ${NAME} or *** for them, and the environment is that of the process: only a secret that stands in the
 * file can be another one. */
static void compare_secrets(struct report *r, const struct sl_topology *was, const struct sl_topology *is)
{
	char of[128];

	for (size_t i = 0; i < was->endpoint_count; i++) {
		const struct sl_endpoint_def *d = endpoint_named(is, was->endpoints[i].name);

		snprintf(of, sizeof of, "endpoint '%s'", was->endpoints[i].name);
		if (d && was->endpoints[i].keys.count == d->keys.count && !same_list(was->endpoints[i].keys, d->keys))
			waits(r, of, "key", "***", "***");
	}
	if (!same_text(was->kafka.registry_password, is->kafka.registry_password))
		waits(r, "the topology", "registry.password", "***", "***");
	for (size_t i = 0; i < was->kafka.property_count && i < is->kafka.property_count; i++) {
		const struct sl_property *a = &was->kafka.properties[i], *b = &is->kafka.properties[i];

		if (strcmp(a->name, b->name) == 0 && same_text(a->shown, b->shown) && !same_text(a->value, b->value))
			waits(r, "the topology", a->name, a->shown, b->shown);
	}
}

static void compare(struct report *r, const struct sl_topology *was, const struct sl_topology *is)
{
	static const struct {
		const char *section, *what;
	} sections[] = {
		{ "steps", "step" }, { "topics", "topic" }, { "trainers", "trainer" }, { "endpoints", "endpoint" }
	};
	json_t *a = plan_of(was), *b = plan_of(is);

	compare_settings(r, "the topology", json_object_get(a, "settings"), json_object_get(b, "settings"));
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
		compare_items(r, sections[i].what, json_object_get(a, sections[i].section),
			      json_object_get(b, sections[i].section));
	json_decref(a);
	json_decref(b);
	compare_secrets(r, was, is);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static void say(const struct report *r)
{
	struct sl_buf text = { 0 };
	json_t *entry;
	size_t i;

	json_array_foreach(r->changed, i, entry)
	{
		json_t *from = json_object_get(entry, "from"), *to = json_object_get(entry, "to");

		sl_buf_print(&text, "%s%s: %s ", i ? "; " : "", json_string_value(json_object_get(entry, "of")),
			     json_string_value(json_object_get(entry, "key")));
		sl_buf_print(&text, json_is_null(from) ? "no limit" : "$%.6g", json_number_value(from));
		sl_buf_print(&text, json_is_null(to) ? " -> no limit" : " -> $%.6g", json_number_value(to));
	}
	sl_log(SL_LOG_NOTE, NULL, "the topology file was read again: %s%s",
	       i ? sl_buf_text(&text) : "no budget has changed",
	       json_array_size(r->waits) ? "; the rest of what differs waits for a restart" : "");
	sl_buf_release(&text);
}

static void take_over(struct sl_runtime *rt, const struct sl_topology *file, struct report *r)
{
	sl_lock(&rt->commit_lock);
	if (budgets(rt, file, r)) {
		for (size_t i = 0; i < rt->unit_count; i++) {
			sl_unit_reshare(rt->units[i]);
			rt->stream->wake(rt->units[i]);
		}
	}
	sl_unlock(&rt->commit_lock);
}

static bool reload(struct sl_runtime *rt, struct sl_buf *json, struct sl_error *e)
{
	struct report r = { .changed = json_array(), .waits = json_array() };
	const struct sl_runtime_options *o = &rt->options;
	struct sl_topology *file;
	json_t *root;
	char *text;

	file = sl_topology_load(rt->topology->path, o->sets, o->set_count, e);
	if (file && strcmp(file->name, rt->topology->name) != 0) {
		sl_error_set(e, SL_STOP, "'%s' is of topology '%s' now, and '%s' runs", file->path, file->name,
			     rt->topology->name);
		sl_topology_free(file);
		file = NULL;
	}
	if (!file) {
		e->verdict = SL_STOP;
		json_decref(r.changed);
		json_decref(r.waits);
		return false;
	}
	take_over(rt, file, &r);
	compare(&r, rt->topology, file);
	say(&r);
	root = json_pack("{s:s, s:I, s:o, s:o}", "file", file->path, "sets", (json_int_t)o->set_count, "changed",
			 r.changed, "waits", r.waits);
	text = json_dumps(root, JSON_COMPACT);
	sl_buf_add(json, text, strlen(text));
	free(text);
	json_decref(root);
	sl_topology_free(file);
	return true;
}

bool sl_runtime_reload(struct sl_runtime *rt, struct sl_buf *report_json, struct sl_error *e)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	bool done;

	if (!rt->options.reloads)
		return sl_error_set(
			e, SL_STOP,
			"the process that has data folder '%s' is no `sluice run`: there is nothing to reload",
			rt->data);
	sl_lock(&one_at_a_time); /* what was read last counts */
	done = reload(rt, report_json, e);
	sl_unlock(&one_at_a_time);
	if (!done) {
		sl_error_in(e, "nothing is changed");
		sl_log(SL_LOG_WARN, NULL, "reload: %s", e->text);
	}
	return done;
}
