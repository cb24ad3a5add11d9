/* annotate.c -- a judge's opinion on the pairs where one is needed.
 *
 * Asked is only where a yes and a no would lead filter to different actions
 * (asking.h). Every pair leaves on `judged`, with its judgement: not asked, or the
 * votes and the verdict. A verdict is absent when the judge abstained: an abstaining
 * judge is no witness, neither for nor against.
 *
 * A pair with a verdict also leaves on `silver`, with the verdict for its label
 * (chosen and rejected change places where the verdict is `rejected`) and the origin
 * "annotator": that is what the best model learns from.
 *
 * A probe, a gold pair that retrieve mixed in, is always asked about and leaves on `probed` alone: what the judges
 * said about it tells how good they are, and it is nobody's training data. A pair whose judges cannot be had
 * (`without_judge: defer`) leaves on `deferred` alone, as it came: it is replayed into this step later. So does a pair
 * whose questions wait for a batch (operator.h): the runtime brings it back when they are answered, at most eight
 * times.
 *
 * Who judges is a row of functions (annotate.h): `nearest` needs no outside, `llm` asks the endpoints of its options.
 */
#include "annotate.h"
#include "reverse.h"

#define PARKED_MOST 8 /* as rounds of ask() */

enum { JUDGED, SILVER, PROBED, DEFERRED };
static const char *const ports[] = { "judged", "silver", "probed", "deferred", NULL };

static const char *const tables[] = { [SL_ANNOTATE_GOLD] = "gold", [SL_ANNOTATE_MODELS] = "models", NULL };

static const char *const orders[] = { "random", "both", "fixed", NULL };
static const char *const merges[] = { "majority", "weighted", NULL };
static const char *const describing_words[] = { "off", "missing", NULL };
static const char *const without_judge_words[] = { "wait", SL_NEAREST, "defer", NULL };

static const char *const whens[] = { "asked", "always", NULL };

static const struct sl_option options[] = {
	SL_ASKING_OPTIONS(struct sl_annotate, asking),
	{ .name = "when",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, when),
	  .value = "asked",
	  .words = whens,
	  .help = "asked: only about pairs where an answer can change the decision; always: about every pair, which "
		  "decides the same and costs more: to measure; retrieve follows annotate" },
	{ .name = "threshold",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_annotate, threshold),
	  .value = "0.05",
	  .least = 0,
	  .most = 1,
	  .help = "nearest: a weighted vote below this, either way, is undecidable" },
	{ .name = "memory",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct sl_annotate, memory_bytes),
	  .value = "64MiB",
	  .least = 1 << 20,
	  .most = 0x1p40,
	  .help = "nearest: word counts of gold pairs kept in memory" },
	{ .name = "judges",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct sl_annotate, llm.judges),
	  .value = "[]",
	  .endpoint = true,
	  .help = "llm: endpoints that are asked for a first opinion, each with a model of its own" },
	{ .name = "second",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct sl_annotate, llm.second),
	  .value = "[]",
	  .endpoint = true,
	  .help = "llm: endpoints that are asked too where the first opinion is unsure" },
	{ .name = "sure",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_annotate, llm.sure),
	  .value = "0.7",
	  .least = 0.5,
	  .most = 1,
	  .unit = "confidence",
	  .help = "llm: a verdict below this confidence is unsure, and so is none, an undecidable one, or a judge at "
		  "odds with itself" },
	{ .name = "samples",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_annotate, llm.samples),
	  .value = "1",
	  .least = 1,
	  .most = 16,
	  .unit = "answers",
	  .help = "llm: how often a judge is asked the same; more than one needs a temperature" },
	{ .name = "order",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.order),
	  .value = "random",
	  .words = orders,
	  .help = "llm: which answer is Candidate 1: random: drawn by the pair's id; both: asked both ways, at twice "
		  "the price; fixed: always chosen, which a judge that prefers a place will tell from the label" },
	{ .name = "seed",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_annotate, llm.seed),
	  .value = "0",
	  .least = 0,
	  .most = 0x1p53,
	  .help = "llm: of random orders, of the answers and of the examples" },
	{ .name = "merge",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.merge),
	  .value = "majority",
	  .words = merges,
	  .help = "llm: many judges, one verdict: majority; or weighted by the log-odds of each judge's accuracy on "
		  "gold "
		  "pairs (judge_accuracy while that is not known)" },
	{ .name = "least",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_annotate, llm.least),
	  .value = "0.1",
	  .least = 0,
	  .most = 10,
	  .unit = "log-odds",
	  .help = "llm, merge weighted: a sum of votes below this, either way, is undecidable" },
	{ .name = "examples",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_annotate, llm.examples),
	  .value = "8",
	  .least = 0,
	  .most = 8,
	  .unit = "gold pairs",
	  .help = "llm: how many of the retrieved gold pairs are shown, the most similar ones" },
	{ .name = "prompt",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.prompt_path),
	  .value = "prompts/preference.txt",
	  .help = "llm: the file with the words of the question, beside the topology file or in the data folder" },
	{ .name = "temperature",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_annotate, llm.temperature),
	  .value = "0",
	  .least = -1,
	  .most = 2,
	  .help = "llm: sent along; below 0: not sent, the server's own" },
	{ .name = "max_tokens",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_annotate, llm.max_tokens),
	  .value = "1024",
	  .least = 16,
	  .most = 1000000,
	  .unit = "tokens",
	  .help = "llm: the longest answer, reasoning included; what a call can cost is reserved by it" },
	{ .name = "text_max",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct sl_annotate, llm.text_max),
	  .value = "8KiB",
	  .least = 256,
	  .most = 1 << 20,
	  .help = "llm: what is shown of a prompt or an answer, of the pair and of examples: a longer one is cut in "
		  "the "
		  "middle" },
	{ .name = "extra",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.extra),
	  .value = "",
	  .help = "llm: further members of the request as JSON, without braces: '\"reasoning_effort\": \"low\"'" },
	{ .name = "repair",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct sl_annotate, llm.repair),
	  .value = "true",
	  .help = "llm: an answer that is not what was asked for is sent back once, with what is wrong" },
	{ .name = "attributes",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.attributes),
	  .value = "off",
	  .words = describing_words,
	  .help = "llm: missing: a pair that is asked about and has no attributes is described first" },
	{ .name = "attributes_judge",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.attributes_judge),
	  .value = "",
	  .endpoint = true,
	  .help = "llm: the endpoint that describes; empty: the first of the judges" },
	{ .name = "attributes_prompt",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.attributes_path),
	  .value = "prompts/attributes.txt",
	  .help = "llm: the file with the words of that question" },
	{ .name = "without_judge",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_annotate, llm.without_judge),
	  .value = "wait",
	  .words = without_judge_words,
	  .help = "llm: while the budget is spent or an endpoint is away: wait; nearest: the retrieved gold pairs vote "
		  "instead; defer: the pair goes to port deferred, to be replayed into this step" },
	{ 0 },
};

static enum sl_verdict annotate_open(struct sl_task *task, void *self)
{
	struct sl_annotate *n = self;
	enum sl_verdict v = sl_asking_open(task, &n->asking, SL_WITHOUT_GOLD_LLM_ONLY);

	n->judge = strcmp(n->asking.backend, SL_NEAREST) == 0 ? &sl_judge_nearest : &sl_judge_llm;
	if (n->judge == &sl_judge_llm && strcmp(n->llm.without_judge, SL_NEAREST) == 0)
		n->instead = &sl_judge_nearest;
	if (v == SL_OK)
		v = n->judge->open(task, n);
	return v == SL_OK && n->instead ? n->instead->open(task, n) : v;
}

static bool asks(const struct sl_annotate *n, const struct sl_pair *p)
{
	return strcmp(n->when, "always") == 0 || sl_is_probe(p) || sl_asks(&n->asking, p);
}

static enum sl_verdict annotate_ask(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct sl_annotate *n = self;
	enum sl_verdict v = SL_OK;

	if (!n->judge->ask)
		return SL_OK;
	v = sl_asking_update(task, &n->asking, SL_ANNOTATE_MODELS);
	for (size_t i = 0; v == SL_OK && i < batch->count; i++)
		if (asks(n, &batch->pairs[i]))
			v = n->judge->ask(task, n, &batch->pairs[i]);
	return v;
}

static void emit_silver(struct sl_task *task, const struct sl_pair *judged)
{
	struct sl_pair silver = *judged;

	if (sl_is(judged->judgement.verdict, "rejected"))
		sl_pair_reverse(judged, &silver, sl_task_arena(task));
	silver.origin = sl_text("annotator");
	sl_emit(task, SILVER, &silver);
}

/* Nobody can be asked now. */
static enum sl_verdict without_judge(struct sl_task *task, struct sl_annotate *n, const struct sl_pair *p,
				     struct sl_judged *j)
{
	const char *put_off = j->put_off, *why = j->says;
	enum sl_verdict v;

	if (!n->instead || strcmp(put_off, SL_ANNOTATE_PARKED) == 0)
		return SL_OK;
	j->put_off = NULL;
	v = n->instead->judge(task, n, p, j);
	if (v == SL_OK)
		j->says = sl_arena_print(sl_task_arena(task), "%s; %s: %s", j->says, put_off, why);
	return v;
}

static int times_parked(const struct sl_pair *p)
{
	int n = 0;

	for (size_t i = 0; i < p->trail_count; i++)
		n += sl_bytes_begins(p->trail[i].reason, sl_text(SL_ANNOTATE_PARKED ":"));
	return n;
}

static enum sl_verdict judge(struct sl_task *task, struct sl_annotate *n, const struct sl_pair *arrived)
{
	struct sl_pair p = *arrived;
	struct sl_judged j = {
		.attributes = p.attributes,
		.judgement = { .present = true, .asked = true, .probe = sl_is_probe(&p) ? p.judgement.probe : 0 }
	};
	enum sl_verdict v = n->judge->judge(task, n, arrived, &j);

	if (v == SL_OK && j.put_off)
		v = without_judge(task, n, arrived, &j);
	if (v != SL_OK)
		return v;
	p.vectors = (struct sl_vectors){ 0 };
	p.attributes = j.attributes;
	if (j.put_off && strcmp(j.put_off, SL_ANNOTATE_PARKED) == 0 && times_parked(arrived) >= PARKED_MOST) {
		sl_reject(task, arrived, "parked: its questions have waited for %d batches already", PARKED_MOST);
		return SL_OK;
	}
	if (j.put_off) {
		sl_emit_because(task, DEFERRED, &p, "%s: %s", j.put_off, j.says);
		return SL_OK;
	}
	p.judgement = j.judgement;
	sl_emit_because(task, p.judgement.probe ? PROBED : JUDGED, &p, "%s: %s", j.code, j.says);
	if (!p.judgement.probe && (sl_is(p.judgement.verdict, "chosen") || sl_is(p.judgement.verdict, "rejected")))
		emit_silver(task, &p);
	return SL_OK;
}

static enum sl_verdict annotate_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct sl_annotate *n = self;
	enum sl_verdict v = sl_asking_update(task, &n->asking, SL_ANNOTATE_MODELS);

	if (v == SL_OK && n->judge->begin)
		v = n->judge->begin(task, n);
	if (v == SL_OK && n->instead)
		v = n->instead->begin(task, n);
	for (size_t i = 0; v == SL_OK && i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];

		if (asks(n, &p)) {
			v = judge(task, n, &p);
			continue;
		}
		p.vectors = (struct sl_vectors){ 0 };
		p.judgement = (struct sl_judgement){ .present = true };
		sl_emit_because(task, JUDGED, &p, "not_asked: no answer would change the decision");
	}
	return v;
}

static void annotate_close(struct sl_task *task, void *self)
{
	struct sl_annotate *n = self;

	(void)task;
	if (n->judge)
		n->judge->close(n);
	if (n->instead)
		n->instead->close(n);
	sl_asking_close(&n->asking);
	sl_arena_release(&n->scratch);
}

const struct sl_operator sl_operator_annotate = {
	.name = "annotate",
	.version = "3",
	.help = "a judge's opinion on the pairs where it can change the decision",
	.options = options,
	.ports = ports,
	.tables = tables,
	.self_size = sizeof(struct sl_annotate),
	.open = annotate_open,
	.ask = annotate_ask,
	.process = annotate_process,
	.close = annotate_close,
};
