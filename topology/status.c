/* status.c -- what the runtime knows of itself, as JSON for people and programs and
 * as text for Prometheus.
 *
 * Counts come from the store, so they are exact: a record is counted in the commit
 * that made it. States and waits come from the scheduler and are a moment's view. Metric
 * names: one prefix, base units, _total for counters, few labels and never a pair, a
 * prompt or an id in one (reference: prometheus.io naming). */
#include "engine.h"

#include "judge_health.h"
#include "keys.h"
#include "status_calls.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/resource.h>

static json_t *text_of(struct sl_bytes b)
{
	json_t *t = json_stringn(b.data ? b.data : "", b.size);

	return t ? t : json_string("?"); /* not UTF-8: a source name of bytes */
}

static void bump(json_t *object, struct sl_bytes name, int64_t n)
{
	char key[256];
	size_t size = name.size < sizeof key - 1 ? name.size : sizeof key - 1;
	json_t *was;

	memcpy(key, name.data, size);
	key[size] = 0;
	was = json_object_get(object, key);
	json_object_set_new(object, key, json_integer((was ? json_integer_value(was) : 0) + n));
}

static json_t *child(json_t *object, const char *name)
{
	json_t *c = json_object_get(object, name);

	if (!c) {
		c = json_object();
		json_object_set_new(object, name, c);
	}
	return c;
}

/* counts[kind][name], by code. */
static void bump_in(json_t *counts, const char *kind, struct sl_bytes name, const char *code, int64_t n)
{
	char key[256];
	size_t size = name.size < sizeof key - 1 ? name.size : sizeof key - 1;

	memcpy(key, name.data, size);
	key[size] = 0;
	bump(child(child(counts, kind), key), sl_text(*code ? code : "all"), n);
}

/* Add one count to {"port": {"out", "codes", "sources", "domains"}}. The key: 'c' step 0 partition port 0 code 0
 * source, and 0 domain where it is not the source. */
static void add_count(json_t *ports, struct sl_bytes key, size_t skip, int64_t n)
{
	const char *port = (const char *)key.data + skip;
	const char *code = port + strlen(port) + 1;
	const char *source = code + strlen(code) + 1;
	struct sl_bytes by = { source, key.size - (size_t)(source - (const char *)key.data) }, domain;
	const char *end = by.size ? memchr(by.data, 0, by.size) : NULL;
	json_t *p = child(ports, port);

	domain = by;
	if (end) {
		domain = (struct sl_bytes){ end + 1, by.size - (size_t)(end + 1 - source) };
		by.size = (size_t)(end - source);
	}
	bump(p, sl_text("out"), n);
	if (*code)
		bump(child(p, "codes"), sl_text(code), n);
	if (by.size)
		bump_in(p, "sources", by, code, n);
	if (domain.size)
		bump_in(p, "domains", domain, code, n);
}

static bool step_counts(struct sl_runtime *rt, const struct sl_step *step, json_t *ports, struct sl_error *e)
{
	struct sl_buf prefix = { 0 };
	struct sl_store_scan *scan;
	struct sl_bytes key, value;

	sl_key_begin(&prefix, 'c', step->name);
	e->verdict = SL_OK;
	scan = rt->meta->ops->scan(rt->meta, sl_buf_bytes(&prefix));
	while (rt->meta->ops->next(scan, &key, &value, e))
		if (value.size == 8)
			add_count(ports, key, prefix.size + 4, (int64_t)sl_get_le64(value.data));
	rt->meta->ops->end(scan);
	sl_buf_release(&prefix);
	return e->verdict == SL_OK;
}

static int64_t port_out(json_t *ports, const char *port)
{
	return json_integer_value(json_object_get(json_object_get(ports, port), "out"));
}

static json_t *port_json(json_t *ports, const char *port)
{
	json_t *p = json_object(), *counted = json_object_get(ports, port);

	json_object_set_new(p, "port", json_string(port));
	json_object_set_new(p, "out", json_integer(port_out(ports, port)));
	json_object_set(p, "codes",
			counted && json_object_get(counted, "codes") ? json_object_get(counted, "codes")
								     : child(child(ports, port), "codes"));
	json_object_set(p, "sources", child(child(ports, port), "sources"));
	json_object_set(p, "domains", child(child(ports, port), "domains"));
	return p;
}

/* Offset and lag of a step that reads a topic, on all partitions; state and wait of the units that are here. `sent`
 * was counted before: what is more than the topic ever got has come to the step when it was inlined (by `run --set
 * inline=...`, which `status` was not told of). */
static bool step_progress(struct sl_runtime *rt, const struct sl_step *def, int64_t sent, json_t *to,
			  struct sl_error *e)
{
	int64_t in = 0, lag = 0, flight = 0, records;
	json_t *partitions = json_array();
	char wait[256], shown[256] = "";
	const char *state = "off", *held = NULL;

	json_object_set_new(to, "partitions", partitions);
	for (int32_t i = 0; i < rt->topology->topics[def->from].partitions; i++) {
		int64_t committed, behind;
		json_t *p = json_object();

		json_array_append_new(partitions, p);
		if (!rt->stream->progress(rt, def, i, &committed, &behind, e))
			return false;
		in += committed;
		lag += behind;
		json_object_set_new(p, "partition", json_integer(i));
		json_object_set_new(p, "offset", json_integer(committed));
		json_object_set_new(p, "lag", json_integer(behind));
	}
	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++) {
		struct sl_unit *u = rt->units[i];

		if (u->tasks[0].step != def)
			continue;
		flight += (int64_t)sl_calls_in_flight(u->calls);
		state = rt->stream->state(u, wait);
		if (wait[0]) {
			memcpy(shown, wait, sizeof shown);
			held = strcmp(state, "no_budget") == 0 ? state : "waiting";
		}
	}
	sl_unlock(&rt->commit_lock);
	/* offsets on Kafka count control records too */
	records = rt->stream->records(rt, def->from);
	if (in > records)
		in = records;
	if (sent > records)
		in += sent - records;
	json_object_set_new(to, "in", json_integer(in));
	json_object_set_new(to, "lag", json_integer(lag));
	json_object_set_new(to, "in_flight", json_integer(flight));
	json_object_set_new(to, "state", json_string(held ? held : state));
	if (shown[0])
		json_object_set_new(to, "wait", json_string(shown));
	return true;
}

/* CPU time since the start, over the partitions; inlined steps are counted apart from their host. */
static void step_cpu(struct sl_runtime *rt, const struct sl_step *def, json_t *to)
{
	int64_t open_cpu_ns = 0, cpu_ns = 0, read_cpu_ns = 0;

	sl_lock(&rt->commit_lock);
	for (size_t i = 0; i < rt->unit_count; i++) {
		for (size_t k = 0; k < rt->units[i]->task_count; k++) {
			struct sl_task *t = &rt->units[i]->tasks[k];

			if (t->step != def)
				continue;
			open_cpu_ns += atomic_load(&t->open_cpu_ns);
			cpu_ns += atomic_load(&t->cpu_ns);
			read_cpu_ns += atomic_load(&t->read_cpu_ns);
		}
	}
	sl_unlock(&rt->commit_lock);
	json_object_set_new(to, "open_cpu_ns", json_integer(open_cpu_ns));
	json_object_set_new(to, "cpu_ns", json_integer(cpu_ns));
	json_object_set_new(to, "read_cpu_ns", json_integer(read_cpu_ns));
}

static bool writes(const struct sl_step *writer, int topic)
{
	for (size_t k = 0; writer->op->ports[k]; k++)
		if (writer->to[k] == topic)
			return true;
	return false;
}

/* What steps have sent to the topic that a step reads: for an inlined step, what has come in. */
static bool sent_to(struct sl_runtime *rt, const struct sl_step *def, int64_t *sent, struct sl_error *e)
{
	*sent = 0;
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		const struct sl_step *writer = &rt->topology->steps[i];
		json_t *ports;
		bool done;

		if (!writes(writer, def->from))
			continue;
		ports = json_object();
		done = step_counts(rt, writer, ports, e);
		for (size_t k = 0; done && writer->op->ports[k]; k++)
			if (writer->to[k] == def->from)
				*sent += port_out(ports, writer->op->ports[k]);
		json_decref(ports);
		if (!done)
			return false;
	}
	return true;
}

static json_t *step_json(struct sl_runtime *rt, size_t step, struct sl_error *e)
{
	const struct sl_step *def = &rt->topology->steps[step];
	json_t *to = json_object(), *ports = json_object(), *list = json_array();
	int64_t sent = 0;

	json_object_set_new(to, "name", json_string(def->name));
	json_object_set_new(to, "operator", json_string(def->op->name));
	if (!step_counts(rt, def, ports, e) || !sent_to(rt, def, &sent, e)) {
		json_decref(ports);
		json_decref(list);
		json_decref(to);
		return NULL;
	}
	for (size_t i = 0; def->op->ports[i]; i++)
		json_array_append_new(list, port_json(ports, def->op->ports[i]));
	json_object_set_new(to, "ports", list);
	json_object_set_new(to, "dead", json_integer(port_out(ports, "dead")));
	json_object_set(to, "dead_codes", child(child(ports, "dead"), "codes"));
	json_object_set(to, "dead_sources", child(child(ports, "dead"), "sources"));
	json_object_set(to, "dead_domains", child(child(ports, "dead"), "domains"));
	if (def->host == (int)step) {
		if (!step_progress(rt, def, sent, to, e)) {
			json_decref(ports);
			json_decref(to);
			return NULL;
		}
	} else { /* inlined: what came in has left */
		json_object_set_new(to, "in", json_integer(sent));
		json_object_set_new(to, "lag", json_integer(0));
		json_object_set_new(to, "in_flight", json_integer(0));
		json_object_set_new(to, "state", json_string("inlined"));
		json_object_set_new(to, "host", json_string(rt->topology->steps[def->host].name));
	}
	step_cpu(rt, def, to);
	sl_status_calls(rt, def, to);
	json_decref(ports);
	return to;
}

static json_t *topics_json(struct sl_runtime *rt, struct sl_error *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rt->topology->topic_count; i++) {
		const struct sl_topic *def = &rt->topology->topics[i];
		int64_t kept = 0, bytes;
		json_t *t;

		if (def->inlined)
			continue;
		if (!rt->stream->refresh(rt, (int)i, e)) {
			json_decref(list);
			return NULL;
		}
		for (int32_t p = 0; p < def->partitions; p++)
			kept += atomic_load(&rt->topics[i].ends[p]) - atomic_load(&rt->topics[i].starts[p]);
		bytes = rt->stream->bytes(rt, (int)i);
		t = json_object();
		json_object_set_new(t, "name", json_string(def->name));
		json_object_set_new(t, "records", json_integer(rt->stream->records(rt, (int)i)));
		json_object_set_new(t, "kept", json_integer(kept));
		if (bytes >= 0)
			json_object_set_new(t, "bytes", json_integer(bytes));
		json_object_set_new(t, "partitions", json_integer(def->partitions));
		json_array_append_new(list, t);
	}
	return list;
}

static json_t *models_json(struct sl_runtime *rt)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rt->topology->trainer_count; i++) {
		struct sl_arena a = { 0 };
		struct sl_model_record m;
		json_t *to = json_object();

		json_object_set_new(to, "name", json_string(rt->topology->trainers[i].name));
		if (sl_training_latest(rt, rt->topology->trainers[i].name, &a, &m)) {
			json_object_set_new(to, "champion", json_integer(m.version));
			json_object_set_new(to, "candidate", json_integer(m.candidate));
			json_object_set_new(to, "previous", json_integer(m.previous));
			json_object_set_new(to, "sequence", json_integer(m.sequence));
			json_object_set_new(to, "uri", text_of(m.uri));
			json_object_set_new(to, "reason", text_of(m.reason));
			if (m.report.size) {
				json_t *report = json_loadb(m.report.data, m.report.size, 0, NULL);

				if (report)
					json_object_set_new(to, "report", report);
			}
		} else {
			json_object_set_new(to, "champion", json_integer(0));
		}
		json_array_append_new(list, to);
		sl_arena_release(&a);
	}
	return list;
}

static json_t *ingest_json(struct sl_runtime *rt, struct sl_error *e)
{
	static const char *const names[] = { "position", "lines", "pairs", "ties", "invalid" };
	struct sl_store_scan *scan = rt->meta->ops->scan(rt->meta, (struct sl_bytes){ "i", 1 });
	int64_t sums[5] = { 0 }, files = 0;
	struct sl_bytes key, value;
	json_t *to = json_object();

	e->verdict = SL_OK;
	while (rt->meta->ops->next(scan, &key, &value, e)) {
		files++;
		for (size_t i = 0; i < 5 && value.size >= 40; i++)
			sums[i] += (int64_t)sl_get_le64((const uint8_t *)value.data + 8 * i);
	}
	rt->meta->ops->end(scan);
	json_object_set_new(to, "files", json_integer(files));
	for (size_t i = 1; i < 5; i++)
		json_object_set_new(to, names[i], json_integer(sums[i]));
	json_object_set_new(to, "bytes", json_integer(sums[0]));
	return to;
}

/* Of this process, since its start. */
static json_t *process_json(struct sl_runtime *rt)
{
	json_t *to = json_object();
	struct rusage usage;

	json_object_set_new(to, "commits", json_integer(atomic_load(&rt->commits)));
	json_object_set_new(to, "commit_ns", json_integer(atomic_load(&rt->commit_ns)));
	json_object_set_new(to, "commit_cpu_ns", json_integer(atomic_load(&rt->commit_cpu_ns)));
	json_object_set_new(to, "commit_bytes", json_integer(atomic_load(&rt->bytes_committed)));
	json_object_set_new(to, "training_cpu_ns", json_integer(atomic_load(&rt->training_cpu_ns)));
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		json_object_set_new(to, "cpu_ns",
				    json_integer((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
						 (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL));
		json_object_set_new(to, "rss_peak_bytes", json_integer(usage.ru_maxrss * 1024LL));
		json_object_set_new(to, "write_bytes", json_integer(usage.ru_oublock * 512LL));
	}
	return to;
}

static json_t *status(struct sl_runtime *rt, struct sl_error *e)
{
	json_t *root = json_object(), *steps = json_array(), *topics;
	struct sl_buf stream = { 0 };

	json_object_set_new(root, "topology", json_string(rt->topology->name));
	json_object_set_new(root, "data", json_string(rt->data));
	json_object_set_new(root, "running", json_boolean(atomic_load(&rt->running)));
	json_object_set_new(root, "frozen", json_boolean(rt->options.freeze));
	json_object_set_new(root, "steps", steps);
	for (size_t i = 0; i < rt->topology->step_count; i++) {
		json_t *step = step_json(rt, i, e);

		if (!step)
			goto failed;
		json_array_append_new(steps, step);
	}
	topics = topics_json(rt, e);
	if (!topics)
		goto failed;
	json_object_set_new(root, "topics", topics);
	if (rt->topology->endpoint_count)
		json_object_set_new(root, "endpoints", sl_status_endpoints(rt));
	json_object_set_new(root, "models", models_json(rt));
	if (rt->judges)
		json_object_set_new(root, "judges", sl_judge_health_json(rt->judges));
	json_object_set_new(root, "ingest", ingest_json(rt, e));
	json_object_set_new(root, "process", process_json(rt));
	if (e->verdict != SL_OK)
		goto failed;
	rt->stream->describe(rt, &stream);
	if (stream.size)
		json_object_set_new(root, "stream", json_loadb((const char *)stream.data, stream.size, 0, NULL));
	sl_buf_release(&stream);
	return root;
failed:
	json_decref(root);
	return NULL;
}

bool sl_runtime_status(struct sl_runtime *rt, struct sl_buf *json, struct sl_error *e)
{
	json_t *root = status(rt, e);
	char *text;

	if (!root)
		return false;
	text = json_dumps(root, JSON_COMPACT);
	sl_buf_add(json, text, strlen(text));
	free(text);
	json_decref(root);
	return true;
}

/* -- Prometheus ------------------------------------------------------------------------- */

static void head(struct sl_buf *b, const char *name, const char *type, const char *help)
{
	sl_buf_print(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Label values: backslash, quote and newline are escaped. */
static void label(struct sl_buf *b, const char *name, const char *value)
{
	sl_buf_print(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			sl_buf_add_byte(b, '\\');
		if (*value == '\n')
			sl_buf_add(b, "\\n", 2);
		else
			sl_buf_add_byte(b, (uint8_t)*value);
	}
	sl_buf_add_byte(b, '"');
}

static const char *text_at(json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static void step_metric(struct sl_buf *b, json_t *steps, const char *name, const char *type, const char *help,
			const char *field)
{
	json_t *step;
	size_t i;

	head(b, name, type, help);
	json_array_foreach(steps, i, step)
	{
		sl_buf_print(b, "%s{", name);
		label(b, "step", text_at(step, "name"));
		sl_buf_print(b, "} %" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(step, field)));
	}
}

static void cpu_metrics(struct sl_runtime *rt, struct sl_buf *b, json_t *steps)
{
	json_t *step;
	size_t i;

	head(b, "sluice_step_cpu_seconds_total", "counter",
	     "CPU time of a step since the start, its opening and its input's decoding included.");
	json_array_foreach(steps, i, step)
	{
		sl_buf_print(b, "sluice_step_cpu_seconds_total{");
		label(b, "step", text_at(step, "name"));
		sl_buf_print(b, "} %.6f\n",
			     (double)(json_integer_value(json_object_get(step, "open_cpu_ns")) +
				      json_integer_value(json_object_get(step, "cpu_ns")) +
				      json_integer_value(json_object_get(step, "read_cpu_ns"))) /
				     1e9);
	}
	head(b, "sluice_commit_cpu_seconds_total", "counter", "CPU time spent in commits since the start.");
	sl_buf_print(b, "sluice_commit_cpu_seconds_total %.6f\n", (double)atomic_load(&rt->commit_cpu_ns) / 1e9);
	head(b, "sluice_training_cpu_seconds_total", "counter", "CPU time spent in training since the start.");
	sl_buf_print(b, "sluice_training_cpu_seconds_total %.6f\n", (double)atomic_load(&rt->training_cpu_ns) / 1e9);
}

static void port_metrics(struct sl_buf *b, json_t *steps)
{
	json_t *step, *port, *n;
	const char *code;
	size_t i, k;

	head(b, "sluice_step_records_out_total", "counter", "Records a step has sent out, by port.");
	json_array_foreach(steps, i, step)
	{
		json_array_foreach(json_object_get(step, "ports"), k, port)
		{
			sl_buf_print(b, "sluice_step_records_out_total{");
			label(b, "step", text_at(step, "name"));
			sl_buf_add_byte(b, ',');
			label(b, "port", text_at(port, "port"));
			sl_buf_print(b, "} %" JSON_INTEGER_FORMAT "\n",
				     json_integer_value(json_object_get(port, "out")));
		}
	}
	head(b, "sluice_step_dead_letters_total", "counter", "Records a step has put into its dead letters, by code.");
	json_array_foreach(steps, i, step)
	{
		if (json_object_size(json_object_get(step, "dead_codes")) == 0) {
			sl_buf_print(b, "sluice_step_dead_letters_total{");
			label(b, "step", text_at(step, "name"));
			sl_buf_print(b, ",code=\"\"} %" JSON_INTEGER_FORMAT "\n",
				     json_integer_value(json_object_get(step, "dead")));
		}
		json_object_foreach(json_object_get(step, "dead_codes"), code, n)
		{
			sl_buf_print(b, "sluice_step_dead_letters_total{");
			label(b, "step", text_at(step, "name"));
			sl_buf_add_byte(b, ',');
			label(b, "code", code);
			sl_buf_print(b, "} %" JSON_INTEGER_FORMAT "\n", json_integer_value(n));
		}
	}
}

static void lag_metric(struct sl_runtime *rt, struct sl_buf *b, json_t *steps)
{
	const char *prefix = rt->topology->kafka.prefix ? rt->topology->kafka.prefix : "";
	json_t *step, *p;
	size_t i, k;

	head(b, "kafka_consumergroup_lag", "gauge", "Records committed to a topic and not yet read by a step.");
	json_array_foreach(steps, i, step)
	{
		int at = sl_topology_step(rt->topology, text_at(step, "name"));

		json_array_foreach(json_object_get(step, "partitions"), k, p)
		{
			sl_buf_print(b,
				     "kafka_consumergroup_lag{consumergroup=\"%s%s.%s\",topic=\"%s%s\",partition="
				     "\"%" JSON_INTEGER_FORMAT "\"} %" JSON_INTEGER_FORMAT "\n",
				     prefix, rt->topology->name, text_at(step, "name"), prefix,
				     rt->topology->topics[rt->topology->steps[at].from].name,
				     json_integer_value(json_object_get(p, "partition")),
				     json_integer_value(json_object_get(p, "lag")));
		}
	}
}

static void model_metrics(struct sl_buf *b, json_t *models)
{
	static const char *const aliases[] = { "champion", "candidate", "previous" };
	static const char *const splits[] = { "select", "report" };
	json_t *m;
	size_t i;

	head(b, "sluice_model_version", "gauge", "Version an alias of a model points at; 0: none.");
	json_array_foreach(models, i, m)
	{
		for (size_t k = 0; k < 3; k++) {
			sl_buf_print(b, "sluice_model_version{");
			label(b, "model", text_at(m, "name"));
			sl_buf_print(b, ",alias=\"%s\"} %" JSON_INTEGER_FORMAT "\n", aliases[k],
				     json_integer_value(json_object_get(m, aliases[k])));
		}
	}
	head(b, "sluice_model_accuracy_ratio", "gauge", "Pairwise accuracy of the champion on gold, by split.");
	json_array_foreach(models, i, m)
	{
		for (size_t k = 0; k < 2; k++) {
			json_t *a =
				json_object_get(json_object_get(json_object_get(m, "report"), splits[k]), "accuracy");

			if (json_integer_value(json_object_get(a, "count")) == 0)
				continue;
			sl_buf_print(b, "sluice_model_accuracy_ratio{");
			label(b, "model", text_at(m, "name"));
			sl_buf_print(b, ",split=\"%s\"} %.6f\n", splits[k],
				     json_number_value(json_object_get(a, "value")));
		}
	}
}

bool sl_runtime_metrics(struct sl_runtime *rt, struct sl_buf *b, struct sl_error *e)
{
	static const char *const ingest[] = { "lines", "pairs", "ties", "invalid" };
	json_t *root = status(rt, e), *steps, *topic;
	size_t i;

	if (!root)
		return false;
	steps = json_object_get(root, "steps");
	head(b, "sluice_info", "gauge", "The topology that is served.");
	sl_buf_print(b, "sluice_info{");
	label(b, "topology", rt->topology->name);
	sl_buf_print(b, "} 1\n");
	step_metric(b, steps, "sluice_step_records_in_total", "counter", "Records a step has read.", "in");
	port_metrics(b, steps);
	step_metric(b, steps, "sluice_step_lag_records", "gauge", "Records a step has still to read.", "lag");
	step_metric(b, steps, "sluice_step_calls_in_flight", "gauge", "Calls to the outside that are open.",
		    "in_flight");
	sl_metrics_calls(rt, b);
	cpu_metrics(rt, b, steps);
	lag_metric(rt, b, steps);
	head(b, "sluice_topic_records_total", "counter", "Records ever committed to a topic.");
	json_array_foreach(json_object_get(root, "topics"), i, topic)
		sl_buf_print(b, "sluice_topic_records_total{topic=\"%s\"} %" JSON_INTEGER_FORMAT "\n",
			     text_at(topic, "name"), json_integer_value(json_object_get(topic, "records")));
	head(b, "sluice_topic_size_bytes", "gauge", "Bytes a topic keeps on disk.");
	json_array_foreach(json_object_get(root, "topics"), i, topic) if (json_object_get(topic, "bytes"))
		sl_buf_print(b, "sluice_topic_size_bytes{topic=\"%s\"} %" JSON_INTEGER_FORMAT "\n",
			     text_at(topic, "name"), json_integer_value(json_object_get(topic, "bytes")));
	for (i = 0; i < 4; i++) {
		char name[64];

		snprintf(name, sizeof name, "sluice_ingest_%s_total", ingest[i]);
		head(b, name, "counter", "Taken in by ingest.");
		sl_buf_print(b, "%s %" JSON_INTEGER_FORMAT "\n", name,
			     json_integer_value(json_object_get(json_object_get(root, "ingest"), ingest[i])));
	}
	model_metrics(b, json_object_get(root, "models"));
	sl_judge_health_metrics(json_object_get(root, "judges"), b);
	head(b, "sluice_commits_total", "counter", "Commits since the start.");
	sl_buf_print(b, "sluice_commits_total %" PRId64 "\n", atomic_load(&rt->commits));
	head(b, "sluice_commit_seconds_total", "counter", "Time spent in commits since the start.");
	sl_buf_print(b, "sluice_commit_seconds_total %.6f\n", (double)atomic_load(&rt->commit_ns) / 1e9);
	head(b, "sluice_commit_bytes_total", "counter", "Bytes of outputs and state committed since the start.");
	sl_buf_print(b, "sluice_commit_bytes_total %" PRId64 "\n", atomic_load(&rt->bytes_committed));
	rt->stream->metrics(rt, b);
	json_decref(root);
	return true;
}
