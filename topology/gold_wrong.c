/* gold_wrong.c -- `sluice gold wrong`: by domain, the decided pairs whose label is most certainly wrong.
 *
 * A person who looks at these first learns most about a source: what goes wrong there, and whether the
 * models see something real. The pairs stay where they are. They are found in the topics that filter
 * writes; of a decision that was taken again the latest counts. */
#include "gold.h"

#include "../schemas/jsonl.h"
#include "least.h"
#include "status_table.h"
#include "topic_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct domain {
	struct sl_buf name;
	struct sl_least least; /* values: encoded pairs */
};

struct wrong {
	struct sl_session *session;
	size_t most;
	struct domain *domains; /* by name */
	size_t count;
};

static struct domain *domain_of(struct wrong *x, struct sl_bytes name)
{
	size_t low = 0, high = x->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = sl_bytes_compare(sl_buf_bytes(&x->domains[middle].name), name);

		if (order == 0)
			return &x->domains[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	x->domains = sl_realloc(x->domains, (x->count + 1) * sizeof *x->domains);
	memmove(x->domains + low + 1, x->domains + low, (x->count++ - low) * sizeof *x->domains);
	x->domains[low] = (struct domain){ .least = { .most = x->most } };
	sl_buf_add_bytes(&x->domains[low].name, name);
	return &x->domains[low];
}

/* Probabilities are not negative, and such doubles order like their bits. */
static uint64_t key_of(double p)
{
	uint64_t key;

	p = fabs(p);
	memcpy(&key, &p, sizeof key);
	return key;
}

static bool look(struct wrong *x, int topic, struct sl_error *e)
{
	struct sl_topic_pairs pairs;
	struct sl_record r;
	struct sl_pair p;

	sl_topic_pairs_open(&pairs, x->session->client, x->session->topology, topic);
	while (sl_topic_pairs_next(&pairs, &r, &p, e)) {
		struct domain *d;

		if (!p.decision.present || !(p.decision.p_label < 0.5))
			continue;
		d = domain_of(x, sl_pair_domain(&p));
		if (sl_least_wants(&d->least, key_of(p.decision.p_label), p.id))
			sl_buf_add_bytes(sl_least_add(&d->least, key_of(p.decision.p_label), p.id), r.value);
	}
	sl_topic_pairs_close(&pairs);
	return e->verdict == SL_OK;
}

static bool look_everywhere(struct wrong *x, struct sl_error *e)
{
	const struct sl_topology *t = x->session->topology;

	for (size_t i = 0; i < t->step_count; i++) {
		const struct sl_step *step = &t->steps[i];

		if (strcmp(step->op->name, "filter") != 0)
			continue;
		for (int port = 0; step->op->ports[port]; port++)
			if (!t->topics[step->to[port]].inlined && !look(x, step->to[port], e))
				return false;
	}
	return true;
}

static json_t *pair_json(const struct sl_pair *p)
{
	struct sl_buf line = { 0 };
	json_t *o;

	sl_jsonl_write(p, SL_FORMAT_EXPLICIT, &line);
	o = json_loadb((const char *)line.data, line.size, 0, NULL);
	sl_buf_clear(&line);
	sl_jsonl_write(p, SL_FORMAT_FULL, &line);
	if (o) {
		json_t *full = json_loadb((const char *)line.data, line.size, 0, NULL);

		json_object_set(o, "id", json_object_get(full, "id"));
		json_object_set(o, "decision", json_object_get(full, "decision"));
		json_object_set_new(o, "label_flipped", json_boolean(p->label_flipped));
		json_decref(full);
	}
	sl_buf_release(&line);
	return o ? o : json_object();
}

static void print_pair(const struct sl_pair *p)
{
	char hex[SL_ID_HEX_SIZE];
	struct sl_arena a = { 0 };

	printf("  %s %.4f %-9.*s ", sl_id_hex(p->id, hex), p->decision.p_label, (int)p->decision.action.size,
	       (const char *)p->decision.action.data);
	sl_print_clean(stdout, sl_messages_text(&p->prompt, &a), 100);
	printf("\n");
	sl_arena_release(&a);
}

static bool print_domain(struct domain *d, json_t *to, struct sl_error *e)
{
	json_t *list = json_array();
	struct sl_arena a = { 0 };
	bool done = true;

	if (!to) {
		sl_print_clean(stdout, sl_buf_bytes(&d->name), 60);
		printf("\n");
	}
	for (size_t i = 0; i < d->least.count && done; i++) {
		struct sl_pair p;

		sl_arena_clear(&a);
		sl_pair_init(&p);
		done = sl_pair_decode(sl_buf_bytes(&d->least.at[i].value), &a, &p, e);
		if (done && to)
			json_array_append_new(list, pair_json(&p));
		else if (done)
			print_pair(&p);
	}
	if (to)
		json_object_set(to, d->name.size ? sl_buf_text(&d->name) : "", list);
	json_decref(list);
	sl_arena_release(&a);
	return done;
}

static int print(struct wrong *x, bool json)
{
	json_t *to = json ? json_object() : NULL;
	struct sl_error e = { 0 };
	bool done = true;

	if (!json && x->count)
		printf("  %-32s %-6s %-9s %s\n", "id", "P", "decision", "prompt");
	for (size_t i = 0; i < x->count && done; i++) {
		sl_least_sort(&x->domains[i].least);
		done = print_domain(&x->domains[i], to, &e);
	}
	if (done && json) {
		json_dumpf(to, stdout, JSON_INDENT(2));
		printf("\n");
	}
	json_decref(to);
	if (!done)
		return sl_command_failed(&e);
	if (!json && x->count == 0)
		fprintf(stderr, "sluice: no decided pair's label is more likely wrong than right\n");
	return sl_command_flush();
}

int sl_gold_wrong(const struct sl_gold_args *a, struct sl_session *s, int64_t most)
{
	struct wrong x = { .session = s, .most = (size_t)most };
	struct sl_error e = { 0 };
	int code = look_everywhere(&x, &e) ? print(&x, a->common.json) : sl_command_failed(&e);

	for (size_t i = 0; i < x.count; i++) {
		sl_buf_release(&x.domains[i].name);
		sl_least_release(&x.domains[i].least);
	}
	free(x.domains);
	return code;
}
