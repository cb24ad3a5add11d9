/* filter.c -- the decision: keep, flip, undecided or discard.
 *
 * What the models and the judge said about a pair becomes evidence, a rule (rules.h), the one of the pair's source
 * (asking.h), turns the evidence into an action, and the action is the port. The reason, with
 * the numbers behind it, goes into the trail; P(label) into every decision.
 *
 * The decision is always about the label as it arrived: a pair that comes back
 * flipped from an earlier pass is turned back first. Replayed pairs are decided again; a
 * logged row per replayed pair counts the revisions, so that the latest decision can be told from
 * the ones it replaces, and the other final topics get a tombstone: where the pair was
 * before, it is no more. A pair that passes for the first time costs no row. */
#include "asking.h"
#include "reverse.h"

#include <assert.h>
#include <math.h>

enum { CURATED, FLIPPED, UNDECIDED, DISCARDED };
static const char *const ports[] = { "curated", "flipped", "undecided", "discarded", NULL };

enum { REVISIONS };
static const struct sl_store_def stores[] = { { .name = "revisions" }, { 0 } };

enum { MODELS };
static const char *const tables[] = { "models", NULL };

struct filter {
	struct sl_asking asking;
	const char *without_gold_word;
	enum sl_without_gold without_gold;
};

/* In the order of enum sl_without_gold. */
static const char *const without_gold_words[] = { "stop", "llm_only", "pass", NULL };

static const struct sl_option options[] = {
	SL_ASKING_OPTIONS(struct filter, asking),
	{ .name = "without_gold",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct filter, without_gold_word),
	  .value = "stop",
	  .words = without_gold_words,
	  .help = "when there are too few gold pairs for a gold model: stop the run; llm_only: the judge alone "
		  "decides; "
		  "pass: keep everything" },
	{ 0 },
};

static enum sl_verdict filter_open(struct sl_task *task, void *self)
{
	struct filter *f = self;
	int word = 0;

	while (strcmp(without_gold_words[word], f->without_gold_word) != 0)
		word++;
	f->without_gold = (enum sl_without_gold)word;
	return sl_asking_open(task, &f->asking, f->without_gold);
}

static int64_t pass_of(const struct sl_pair *p)
{
	int64_t pass = 0;

	for (size_t i = 0; i < p->trail_count; i++)
		if (p->trail[i].pass > pass)
			pass = p->trail[i].pass;
	return pass;
}

/* 0 for the first decision on a pair, one more for every later one. */
static int64_t revision_of(struct sl_task *task, const struct sl_pair *p)
{
	struct sl_bytes key = sl_id_bytes(&p->id), value;
	uint8_t row[8];
	int64_t last = p->decision.present ? p->decision.revision : 0;

	if (pass_of(p) == 0 && !p->decision.present)
		return 0;
	if (sl_get(task, REVISIONS, key, &value)) {
		assert(value.size == sizeof row);
		if ((int64_t)sl_get_le64(value.data) > last)
			last = (int64_t)sl_get_le64(value.data);
	}
	last += last < INT64_MAX;
	sl_put_le64(row, (uint64_t)last);
	sl_put(task, REVISIONS, key, (struct sl_bytes){ row, sizeof row });
	return last;
}

/* "0.810", or a word where there is no number. */
static const char *number_text(struct sl_arena *a, double p, const char *none)
{
	return isnan(p) ? none : sl_arena_print_share(a, p);
}

/* "P 0.873, p_gold 0.810, p_best 0.340, judge for" */
static const char *evidence_text(struct sl_arena *a, const struct sl_evidence *e, double p)
{
	return sl_arena_print(a, "P %s, p_gold %s, p_best %s, judge %s", number_text(a, p, "unknown"),
			      number_text(a, e->p_gold, "absent"), number_text(a, e->p_best, "absent"),
			      e->judge == SL_SIDE_ABSENT ? "not asked" : sl_side_name(e->judge));
}

static void decide(struct sl_task *task, const struct sl_way *way, const struct sl_pair *arrived,
		   const struct sl_evidence *e)
{
	static const int port_of[] = { [SL_ACTION_KEEP] = CURATED,
				       [SL_ACTION_FLIP] = FLIPPED,
				       [SL_ACTION_UNDECIDED] = UNDECIDED,
				       [SL_ACTION_DISCARD] = DISCARDED };
	struct sl_outcome o = sl_rule_decide(way->rule, &way->settings, e);
	struct sl_pair p = *arrived;

	if (o.action == SL_ACTION_FLIP)
		sl_pair_reverse(arrived, &p, sl_task_arena(task));
	p.decision = (struct sl_decision){
		.present = true,
		.action = sl_text(sl_action_name(o.action)),
		.why = sl_text(o.why),
		.p_label = o.p_label,
		.revision = revision_of(task, arrived),
	};
	p.vectors = (struct sl_vectors){ 0 };
	for (int port = CURATED; p.decision.revision > 0 && port <= DISCARDED; port++)
		if (port != port_of[o.action])
			sl_retract(task, port, &p);
	sl_emit_because(task, port_of[o.action], &p, "%s: %s", o.why, evidence_text(sl_task_arena(task), e, o.p_label));
}

static enum sl_verdict filter_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct filter *f = self;
	enum sl_verdict v = sl_asking_update(task, &f->asking, MODELS);

	for (size_t i = 0; v == SL_OK && i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];
		const struct sl_way *way = sl_asking_way(&f->asking, &p);
		struct sl_evidence e;

		if (p.label_flipped)
			sl_pair_reverse(&p, &p, sl_task_arena(task));
		e = sl_evidence_of(&way->settings, &p);
		if (e.gold == SL_SIDE_ABSENT && f->without_gold == SL_WITHOUT_GOLD_STOP && way->rule != &sl_rule_pass)
			v = sl_fail(
				task, SL_STOP,
				"no gold model has scored these pairs, so rule '%s' cannot decide: ingest more gold "
				"pairs ('sluice ingest --gold'), lower min_pairs of the gold trainer, or set "
				"without_gold of this step to llm_only or pass",
				way->rule->name);
		else
			decide(task, way, &p, &e);
	}
	return v;
}

static void filter_close(struct sl_task *task, void *self)
{
	struct filter *f = self;

	(void)task;
	sl_asking_close(&f->asking);
}

const struct sl_operator sl_operator_filter = {
	.name = "filter",
	.version = "3",
	.help = "keep, flip, leave undecided or discard, by what the models and the judge said",
	.options = options,
	.ports = ports,
	.stores = stores,
	.tables = tables,
	.self_size = sizeof(struct filter),
	.open = filter_open,
	.process = filter_process,
	.close = filter_close,
};
