/* stats.c -- the counts as JSON: what a test compares with what the product says of itself. */
#include "llm.h"

static void add(struct sl_buf *to, const char *name, int64_t value)
{
	sl_buf_print(to, "%s\"%s\":%lld", to->size > 1 ? "," : "", name, (long long)value);
}

void stats(const struct server *s, struct sl_buf *to)
{
	const struct counts *c = &s->counts;
	const char *comma = "";

	sl_buf_add_byte(to, '{');
	add(to, "requests", c->requests);
	add(to, "distinct", c->distinct);
	add(to, "paid", c->paid);
	add(to, "distinct_paid", c->distinct_paid);
	add(to, "repeated", c->paid - c->distinct_paid);
	add(to, "delivered", c->delivered);
	add(to, "cut", c->cut);
	add(to, "limited", c->limited);
	add(to, "prompt_tokens", c->prompt);
	add(to, "cached_tokens", c->cached);
	add(to, "completion_tokens", c->completion);
	sl_buf_print(to, ",\"dollars\":");
	sl_json_number(to, c->dollars);
	add(to, "truths", s->truths);
	add(to, "truths_broken", s->truths_broken);
	add(to, "right", c->right);
	add(to, "wrong", c->wrong);
	add(to, "biased", c->biased);
	add(to, "unknown", c->unknown);
	add(to, "with_examples", c->examples);
	add(to, "described", c->described);
	add(to, "files", c->files);
	add(to, "batches", c->batches);
	add(to, "batched", c->batched);
	add(to, "working", c->working);
	add(to, "working_most", c->working_most);
	add(to, "connections", c->connections);
	add(to, "connections_most", c->connections_most);
	add(to, "accepted", c->accepted);
	sl_buf_print(to, ",\"statuses\":{");
	for (int i = 0; i < 600; i++) {
		if (c->statuses[i] == 0)
			continue;
		sl_buf_print(to, "%s\"%d\":%lld", comma, i, (long long)c->statuses[i]);
		comma = ",";
	}
	sl_buf_print(to, "},\"faults\":{");
	for (int i = 0; i < FAULT_COUNT; i++)
		sl_buf_print(to, "%s\"%s\":%lld", i ? "," : "", fault_names[i], (long long)c->faults[i]);
	sl_buf_print(to, "}}");
}
