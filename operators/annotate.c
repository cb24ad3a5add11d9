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
 * Back-ends are rows of a table. `nearest` needs no outside: the retrieved gold
 * pairs vote (nearest.h). How often it is right in a domain is known from gold pairs, once a posterior is announced:
 * that is then its confidence, and where it is no better than a coin it has no opinion. */
#include "asking.h"
#include "nearest.h"
#include "reverse.h"

#include "../schemas/codec.h"

#include <math.h>

enum { JUDGED, SILVER };
static const char *const ports[] = { "judged", "silver", NULL };

enum { GOLD, MODELS };
static const char *const tables[] = { "gold", "models", NULL };

struct annotate {
	const char *backend_word;
	const struct backend *backend;
	double threshold;
	int64_t memory_bytes;
	struct sl_asking asking;
	int64_t seen; /* version of the gold table that `nearest` knows */
	struct sl_nearest nearest;
	struct sl_arena scratch; /* gold records pass through it one at a time */
};

/* Fills votes and verdict of a judgement that is marked as asked. */
struct backend {
	const char *name;
	enum sl_verdict (*open)(struct sl_task *, struct annotate *);
	enum sl_verdict (*begin)(struct sl_task *, struct annotate *); /* before the first pair of a batch */
	enum sl_verdict (*judge)(struct sl_task *, struct annotate *, const struct sl_pair *, struct sl_judgement *);
	void (*close)(struct annotate *);
};

static const char *const backend_words[] = { "nearest", NULL };

static const struct sl_option options[] = {
	{ .name = "backend",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct annotate, backend_word),
	  .value = "nearest",
	  .words = backend_words,
	  .help = "nearest: the retrieved gold pairs vote, by words" },
	{ .name = "threshold",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct annotate, threshold),
	  .value = "0.05",
	  .least = 0,
	  .most = 1,
	  .help = "nearest: a weighted vote below this, either way, is undecidable" },
	{ .name = "memory",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct annotate, memory_bytes),
	  .value = "64MiB",
	  .least = 1 << 20,
	  .most = 0x1p40,
	  .help = "nearest: word counts of gold pairs kept in memory" },
	SL_ASKING_OPTIONS(struct annotate, asking),
	{ 0 },
};

/* -- nearest ------------------------------------------------------------------- */

static enum sl_verdict nearest_open(struct sl_task *task, struct annotate *n)
{
	(void)task;
	sl_nearest_init(&n->nearest, (size_t)n->memory_bytes);
	return SL_OK;
}

static enum sl_verdict nearest_begin(struct sl_task *task, struct annotate *n)
{
	int64_t version = sl_table_version(task, GOLD);
	struct sl_scan s;

	if (version == n->seen)
		return SL_OK;
	if (n->nearest.kept_count)
		for (sl_table_scan(task, &s, GOLD, n->seen); sl_scan_next(&s);)
			if (s.key.size == sizeof(struct sl_id)) {
				struct sl_id id;

				memcpy(id.b, s.key.data, sizeof id.b);
				sl_nearest_forget(&n->nearest, id);
			}
	n->seen = version;
	return SL_OK;
}

/* What learning a gold pair for a vote needs; the table may fail. */
struct lesson {
	struct sl_task *task;
	struct annotate *annotate;
	enum sl_verdict verdict;
};

static bool learn(void *arg, struct sl_id gold)
{
	struct lesson *l = arg;
	struct annotate *n = l->annotate;
	struct sl_bytes record;
	struct sl_error e = { 0 };
	struct sl_pair p;

	if (l->verdict != SL_OK || !sl_table_get(l->task, GOLD, sl_id_bytes(&gold), &record))
		return false;
	sl_arena_clear(&n->scratch);
	if (!sl_pair_decode(record, &n->scratch, &p, &e)) {
		l->verdict = sl_fail(l->task, SL_STOP, "record of the gold table: %s", e.text);
		return false;
	}
	p.id = gold; /* the table's key is what we look for */
	sl_nearest_learn(&n->nearest, &p, &n->scratch);
	return true;
}

static enum sl_verdict nearest_judge(struct sl_task *task, struct annotate *n, const struct sl_pair *p,
				     struct sl_judgement *j)
{
	struct sl_arena *a = sl_task_arena(task);
	struct lesson lesson = { task, n, SL_OK };
	struct sl_nearest_vote vote = sl_nearest_ask(&n->nearest, p, a, learn, &lesson);
	const struct sl_posterior *known = n->asking.posterior;
	struct sl_bytes name = sl_text(SL_NEAREST), domain = sl_pair_domain(p);
	const char *verdict;
	double confidence;
	bool speaks = !known || sl_posterior_judge_speaks(known, name, domain);

	verdict = speaks ? sl_nearest_verdict(vote.value, n->threshold) : "undecidable";
	confidence = sl_nearest_confidence(vote.value);
	if (known)
		confidence =
			strcmp(verdict, "undecidable") == 0 ? 0.5 : sl_posterior_judge_accuracy(known, name, domain);
	j->vote_count = 1;
	j->votes = sl_alloc(task, sizeof *j->votes);
	j->votes[0] = (struct sl_vote){
		.judge = name,
		.order = sl_text("chosen"),
		.verdict = sl_text(verdict),
		.confidence = confidence,
		.difference = sl_text(
			sl_arena_print(a, "weighted vote %.3f of %zu gold pairs", fabs(vote.value), vote.voters)),
	};
	if (!sl_is(j->votes[0].verdict, "undecidable"))
		j->verdict = j->votes[0].verdict;
	return lesson.verdict;
}

static void nearest_close(struct annotate *n)
{
	sl_nearest_release(&n->nearest);
}

static const struct backend backends[] = {
	{ "nearest", nearest_open, nearest_begin, nearest_judge, nearest_close },
};

/* -- the operator -------------------------------------------------------------- */

static enum sl_verdict annotate_open(struct sl_task *task, void *self)
{
	struct annotate *n = self;
	enum sl_verdict v;

	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++)
		if (strcmp(backends[i].name, n->backend_word) == 0)
			n->backend = &backends[i];
	v = n->backend->open(task, n);
	return v == SL_OK ? sl_asking_open(task, &n->asking, SL_WITHOUT_GOLD_LLM_ONLY) : v;
}

static void emit_silver(struct sl_task *task, const struct sl_pair *judged)
{
	struct sl_pair silver = *judged;

	if (sl_is(judged->judgement.verdict, "rejected"))
		sl_pair_reverse(judged, &silver, sl_task_arena(task));
	silver.origin = sl_text("annotator");
	sl_emit(task, SILVER, &silver);
}

static enum sl_verdict annotate_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct annotate *n = self;
	enum sl_verdict v = sl_asking_update(task, &n->asking, MODELS);

	if (v == SL_OK)
		v = n->backend->begin(task, n);
	for (size_t i = 0; v == SL_OK && i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];
		struct sl_bytes verdict;

		p.vectors = (struct sl_vectors){ 0 };
		p.judgement = (struct sl_judgement){ .present = true, .asked = sl_asks(&n->asking, &p) };
		if (!p.judgement.asked) {
			sl_emit_because(task, JUDGED, &p, "not_asked: no answer would change the decision");
			continue;
		}
		v = n->backend->judge(task, n, &p, &p.judgement);
		if (v != SL_OK)
			break;
		verdict = p.judgement.verdict;
		if (!verdict.data) {
			sl_emit_because(task, JUDGED, &p, "abstained: %s has no clear opinion", n->backend->name);
			continue;
		}
		sl_emit_because(task, JUDGED, &p, "%.*s: says %s", (int)verdict.size, (const char *)verdict.data,
				n->backend->name);
		if (sl_is(verdict, "chosen") || sl_is(verdict, "rejected"))
			emit_silver(task, &p);
	}
	return v;
}

static void annotate_close(struct sl_task *task, void *self)
{
	struct annotate *n = self;

	(void)task;
	if (n->backend)
		n->backend->close(n);
	sl_asking_close(&n->asking);
	sl_arena_release(&n->scratch);
}

const struct sl_operator sl_operator_annotate = {
	.name = "annotate",
	.version = "2",
	.help = "a judge's opinion on the pairs where it can change the decision",
	.options = options,
	.ports = ports,
	.tables = tables,
	.self_size = sizeof(struct annotate),
	.open = annotate_open,
	.process = annotate_process,
	.close = annotate_close,
};
