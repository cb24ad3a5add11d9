/* plan.c -- the resolved topology: every name that is derived and every option with its
 * value and origin. One JSON value is built and either dumped or laid out as text, so the two
 * cannot differ. No number depends on the machine: the plan of a topology is a golden file in
 * the tests, and a diff shows renamed state before it is lost. */
#include "config.h"

#include <jansson.h>

#include <stdlib.h>

/* -- As JSON --------------------------------------------------------------------- */

static json_t *texts(json_t *array, const char *text)
{
	json_array_append_new(array, json_string(text));
	return array;
}

static json_t *settings(const struct sl_setting *at, size_t count)
{
	json_t *all = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", at[i].name, "value", at[i].value,
						     "origin", at[i].origin));
	return all;
}

static json_t *topic_writers(const struct sl_topology *t, int topic)
{
	json_t *by = json_array();

	if (topic == t->entry || topic == t->ties || topic == t->dead_ingest)
		texts(by, "ingest");
	for (size_t i = 0; i < t->step_count; i++)
		if (sl_step_writes(&t->steps[i], topic) || t->steps[i].dead == topic)
			texts(by, t->steps[i].name);
	if (topic == t->models)
		texts(by, "trainers");
	for (size_t i = 0; i < t->trainer_count; i++)
		if (t->trainers[i].errors == topic)
			json_array_append_new(by, json_sprintf("trainer %s", t->trainers[i].name));
	return by;
}

static json_t *topic_readers(const struct sl_topology *t, int topic)
{
	json_t *by = json_array();

	for (size_t i = 0; i < t->step_count; i++) {
		if (t->steps[i].from == topic)
			texts(by, t->steps[i].name);
		if (sl_step_looks_up(&t->steps[i], topic))
			json_array_append_new(by, json_sprintf("%s (table)", t->steps[i].name));
	}
	for (size_t i = 0; i < t->trainer_count; i++)
		if (sl_trainer_reads(&t->trainers[i], topic))
			json_array_append_new(by, json_sprintf("trainer %s", t->trainers[i].name));
	return by;
}

static json_t *topic_json(const struct sl_topology *t, int topic)
{
	const struct sl_topic *to = &t->topics[topic];
	const char *kept = to->inlined ? "inline" : to->retention == SL_RETAIN_KEEP ? "keep" : "until_read";

	return json_pack("{s:s, s:i, s:s, s:b, s:I, s:o, s:o}", "name", to->name, "partitions", (int)to->partitions,
			 "kept", kept, "table", (int)to->compacted, "segment_bytes",
			 (json_int_t)(to->inlined ? 0 : to->segment_bytes), "written_by", topic_writers(t, topic),
			 "read_by", topic_readers(t, topic));
}

static json_t *bound(const struct sl_topology *t, const char *const *names, const int *topics)
{
	json_t *all = json_array();

	for (size_t i = 0; names && names[i]; i++)
		json_array_append_new(all,
				      json_pack("{s:s, s:s}", "name", names[i], "topic", t->topics[topics[i]].name));
	return all;
}

/* Where the rows of a step's stores lie in the local store. */
static json_t *stores(const struct sl_step *s)
{
	json_t *all = json_array();

	for (const struct sl_store_def *d = s->op->stores; d && d->name; d++) {
		json_t *store = json_pack("{s:s, s:b}", "name", d->name, "derived", (int)d->derived);

		json_object_set_new(store, "prefix",
				    json_sprintf("%c/%s/PARTITION/%s", d->derived ? 'd' : 's', s->name, d->name));
		json_array_append_new(all, store);
	}
	return all;
}

/* -- The names on the brokers, as kafka/kafka.h lists them -------------------------------- */

/* APP.<what> */
static json_t *app_name(const struct sl_topology *t, const char *what, const char *suffix)
{
	return json_sprintf("%s%s.%s%s", t->kafka.prefix, t->name, what, suffix);
}

static json_t *stream_json(const struct sl_topology *t)
{
	if (t->stream == SL_STREAM_EMBEDDED)
		return json_pack("{s:s}", "kind", "embedded");
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", "kafka", "topics",
			 json_sprintf("%s<topic>", t->kafka.prefix), "meta", app_name(t, "meta", ""), "leader",
			 app_name(t, "leader", ""), "guards", app_name(t, "at.", "<what>"));
}

/* Of a step that has tasks of its own; what is inlined into it writes there too. */
static void step_names(const struct sl_topology *t, const struct sl_step *s, json_t *o)
{
	json_object_set_new(o, "changelog", app_name(t, s->name, ".changelog"));
	if (sl_step_asks(s))
		json_object_set_new(o, "memo", app_name(t, s->name, ".memo"));
	json_object_set_new(o, "transactional_id", app_name(t, s->name, ".<uuid>.<member>"));
}

static json_t *step_json(const struct sl_topology *t, size_t step)
{
	const struct sl_step *s = &t->steps[step];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", s->name, "operator", s->op->name, "version",
			      s->op->version ? s->op->version : "", "from", t->topics[s->from].name, "tasks",
			      (int)t->topics[s->from].partitions);

	json_object_set_new(o, "task", json_sprintf("%s.%s", t->name, t->steps[s->host].name));
	/* An inlined step reads no topic, so it has no group. */
	json_object_set_new(o, "group", s->host == (int)step ? app_name(t, s->name, "") : json_null());
	json_object_set_new(o, "host", json_string(t->steps[s->host].name));
	json_object_set_new(o, "to", bound(t, s->op->ports, s->to));
	json_object_set_new(o, "tables", bound(t, s->op->tables, s->tables));
	json_object_set_new(o, "dead", json_string(t->topics[s->dead].name));
	json_object_set_new(o, "stores", stores(s));
	if (t->stream == SL_STREAM_KAFKA && s->host == (int)step)
		step_names(t, s, o);
	json_object_set_new(o, "settings", settings(s->settings, s->setting_count));
	return o;
}

static const char *value_of(const struct sl_step *s, const char *name)
{
	for (size_t i = 0; i < s->setting_count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return s->settings[i].value;
	return NULL;
}

/* Options that mean the same in two operators (their help says the same) and differ in
 * value: allowed, seldom meant. */
static void note_differences(const struct sl_step *a, const struct sl_step *b, json_t *notes)
{
	for (const struct sl_option *o = a->op->options; o && o->name && a->op != b->op; o++) {
		for (const struct sl_option *p = b->op->options; p && p->name; p++) {
			if (strcmp(o->name, p->name) != 0 || !o->help || !p->help || strcmp(o->help, p->help) != 0 ||
			    strcmp(value_of(a, o->name), value_of(b, o->name)) == 0)
				continue;
			json_array_append_new(notes, json_sprintf("option '%s' is '%s' in step '%s' and '%s' in step "
								  "'%s': give both the same value",
								  o->name, value_of(a, o->name), a->name,
								  value_of(b, o->name), b->name));
		}
	}
}

/* What is allowed and yet worth a look. */
static json_t *notes(const struct sl_topology *t)
{
	json_t *all = json_array();

	for (int i = 0; i < (int)t->topic_count; i++) {
		size_t writers = 0;

		for (size_t k = 0; k < t->step_count; k++)
			writers += sl_step_writes(&t->steps[k], i);
		if (writers + (i == t->entry || i == t->ties) > 1)
			json_array_append_new(all, json_sprintf("topic '%s' has several writers: the order of its "
								"records depends on their timing",
								t->topics[i].name));
		if (t->topics[i].partitions > 1 && t->topics[i].entry)
			json_array_append_new(all, json_sprintf("topic '%s' has %d partitions: 'first seen' is then "
								"within a partition",
								t->topics[i].name, (int)t->topics[i].partitions));
	}
	for (size_t i = 0; i < t->step_count; i++)
		for (size_t k = i + 1; k < t->step_count; k++)
			note_differences(&t->steps[i], &t->steps[k], all);
	return all;
}

/* A text as its lines. */
static json_t *lines(const char *text)
{
	json_t *all = json_array();

	while (text && *text) {
		size_t size = strcspn(text, "\n");

		json_array_append_new(all, json_stringn(text, size));
		text += size + (text[size] == '\n');
	}
	return all;
}

static json_t *plan_json(const struct sl_topology *t, const char *brokers)
{
	json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "topology", t->name, "file", t->path, "settings",
			      settings(t->settings, t->setting_count), "stream", stream_json(t));
	json_t *topics = json_array(), *steps = json_array(), *trainers = json_array(), *endpoints = json_array();

	for (int i = 0; i < (int)t->topic_count; i++)
		json_array_append_new(topics, topic_json(t, i));
	for (size_t i = 0; i < t->step_count; i++)
		json_array_append_new(steps, step_json(t, i));
	for (size_t i = 0; i < t->trainer_count; i++)
		json_array_append_new(trainers,
				      json_pack("{s:s, s:o}", "name", t->trainers[i].name, "settings",
						settings(t->trainers[i].settings, t->trainers[i].setting_count)));
	for (size_t i = 0; i < t->endpoint_count; i++)
		json_array_append_new(endpoints,
				      json_pack("{s:s, s:o}", "name", t->endpoints[i].name, "settings",
						settings(t->endpoints[i].settings, t->endpoints[i].setting_count)));
	json_object_set_new(o, "topics", topics);
	json_object_set_new(o, "steps", steps);
	json_object_set_new(o, "trainers", trainers);
	json_object_set_new(o, "endpoints", endpoints);
	if (brokers)
		json_object_set_new(o, "on_brokers", lines(brokers));
	json_object_set_new(o, "notes", notes(t));
	return o;
}

/* -- As text ----------------------------------------------------------------------- */

#define COLUMNS_MAX 6

/* Rows of texts (a JSON array of arrays), every column as wide as its widest text. */
static void print_rows(struct sl_buf *to, const char *indent, const json_t *rows)
{
	size_t widths[COLUMNS_MAX] = { 0 }, i, k;
	const json_t *row, *cell;

	json_array_foreach(rows, i, row)
	{
		json_array_foreach(row, k, cell)
		{
			size_t size = json_string_length(cell);

			widths[k] = size > widths[k] ? size : widths[k];
		}
	}
	json_array_foreach(rows, i, row)
	{
		sl_buf_print(to, "%s", indent);
		json_array_foreach(row, k, cell)
		{
			bool last = k + 1 == json_array_size(row);

			sl_buf_print(to, "%-*s%s", last ? 0 : (int)widths[k], json_string_value(cell),
				     last ? "\n" : "  ");
		}
	}
}

static const char *field(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void print_settings(struct sl_buf *to, const char *indent, const json_t *all)
{
	json_t *rows = json_array();
	const json_t *s;
	size_t i;

	json_array_foreach(all, i, s)
	{
		const char *value = field(s, "value");

		json_array_append_new(
			rows, json_pack("[s, s, s]", field(s, "name"), value[0] ? value : "\"\"", field(s, "origin")));
	}
	print_rows(to, indent, rows);
	json_decref(rows);
}

/* A list of names as one text, "-" when empty. */
static json_t *joined(const json_t *names)
{
	struct sl_buf text = { 0 };
	const json_t *name;
	json_t *all;
	size_t i;

	json_array_foreach(names, i, name) sl_buf_print(&text, "%s%s", i ? ", " : "", json_string_value(name));
	all = json_string(text.size ? sl_buf_text(&text) : "-");
	sl_buf_release(&text);
	return all;
}

static void print_topics(struct sl_buf *to, const json_t *topics)
{
	json_t *rows =
		json_pack("[[s, s, s, s, s, s]]", "name", "partitions", "kept", "segment", "written by", "read by");
	const json_t *topic;
	size_t i;

	json_array_foreach(topics, i, topic)
	{
		json_int_t bytes = json_integer_value(json_object_get(topic, "segment_bytes"));
		json_int_t partitions = json_integer_value(json_object_get(topic, "partitions"));
		json_t *row = json_array();
		const char *table = json_is_true(json_object_get(topic, "table")) ? " (table)" : "";

		json_array_append_new(row, json_string(field(topic, "name")));
		json_array_append_new(row, json_sprintf("%d", (int)partitions));
		json_array_append_new(row, json_sprintf("%s%s", field(topic, "kept"), table));
		if (bytes % (1 << 20) == 0)
			json_array_append_new(row, bytes ? json_sprintf("%lldMiB", (long long)(bytes >> 20))
							 : json_string("-"));
		else
			json_array_append_new(row, json_sprintf("%lldB", (long long)bytes));
		json_array_append_new(row, joined(json_object_get(topic, "written_by")));
		json_array_append_new(row, joined(json_object_get(topic, "read_by")));
		json_array_append_new(rows, row);
	}
	print_rows(to, "  ", rows);
	json_decref(rows);
}

static void print_step(struct sl_buf *to, const json_t *s)
{
	json_int_t tasks = json_integer_value(json_object_get(s, "tasks"));
	const json_t *item;
	size_t i;

	sl_buf_print(to, "\nstep %s: operator %s, version %s\n", field(s, "name"), field(s, "operator"),
		     field(s, "version"));
	sl_buf_print(to, "  from   %s\n", field(s, "from"));
	json_array_foreach(json_object_get(s, "to"), i, item)
		sl_buf_print(to, "  to     %s: %s\n", field(item, "name"), field(item, "topic"));
	json_array_foreach(json_object_get(s, "tables"), i, item)
		sl_buf_print(to, "  table  %s: %s\n", field(item, "name"), field(item, "topic"));
	sl_buf_print(to, "  dead   %s\n", field(s, "dead"));
	if (field(s, "group"))
		sl_buf_print(to, "  tasks  %d x %s, group %s\n", (int)tasks, field(s, "task"), field(s, "group"));
	else
		sl_buf_print(to, "  tasks  inside the %d of %s\n", (int)tasks, field(s, "task"));
	json_array_foreach(json_object_get(s, "stores"), i, item)
	{
		bool derived = json_is_true(json_object_get(item, "derived"));

		sl_buf_print(to, "  store  %s at %s%s\n", field(item, "name"), field(item, "prefix"),
			     derived ? ", derived" : "");
	}
	if (field(s, "changelog"))
		sl_buf_print(to, "  kafka  changelog %s%s%s, transactional.id %s\n", field(s, "changelog"),
			     field(s, "memo") ? ", memo " : "", field(s, "memo") ? field(s, "memo") : "",
			     field(s, "transactional_id"));
	print_settings(to, "    ", json_object_get(s, "settings"));
}

static void print_stream(struct sl_buf *to, const json_t *stream)
{
	if (!field(stream, "meta"))
		return;
	sl_buf_print(to,
		     "\non the brokers\n"
		     "  topics  %s\n"
		     "  meta    %s, what all processes share\n"
		     "  leader  group %s, who trains and purges\n"
		     "  guards  transactional.id %s, of writes that exclude each other\n",
		     field(stream, "topics"), field(stream, "meta"), field(stream, "leader"), field(stream, "guards"));
}

static void print_named(struct sl_buf *to, const char *what, const json_t *all)
{
	const json_t *item;
	size_t i;

	json_array_foreach(all, i, item)
	{
		sl_buf_print(to, "\n%s %s\n", what, field(item, "name"));
		print_settings(to, "    ", json_object_get(item, "settings"));
	}
}

static void plan_text(const json_t *plan, struct sl_buf *to)
{
	const json_t *item;
	size_t i;

	sl_buf_print(to, "topology %s, read from %s\n", field(plan, "topology"), field(plan, "file"));
	print_settings(to, "    ", json_object_get(plan, "settings"));
	print_stream(to, json_object_get(plan, "stream"));
	sl_buf_print(to, "\ntopics\n");
	print_topics(to, json_object_get(plan, "topics"));
	json_array_foreach(json_object_get(plan, "steps"), i, item) print_step(to, item);
	print_named(to, "trainer", json_object_get(plan, "trainers"));
	print_named(to, "endpoint", json_object_get(plan, "endpoints"));
	json_array_foreach(json_object_get(plan, "on_brokers"), i, item)
		sl_buf_print(to, "%s  %s\n", i ? "" : "\nbrokers now\n", json_string_value(item));
	json_array_foreach(json_object_get(plan, "notes"), i, item)
		sl_buf_print(to, "%snote: %s\n", i ? "" : "\n", json_string_value(item));
}

void sl_topology_plan(const struct sl_topology *t, const char *brokers, bool json, struct sl_buf *to)
{
	json_t *plan = plan_json(t, brokers);
	char *text;

	if (!json) {
		plan_text(plan, to);
		json_decref(plan);
		return;
	}
	text = json_dumps(plan, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	if (!text)
		sl_oom(0);
	sl_buf_print(to, "%s\n", text);
	free(text);
	json_decref(plan);
}
