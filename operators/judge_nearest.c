/* judge_nearest.c -- the retrieved gold pairs vote: the judge that needs no outside.
 *
 * The vote is nearest.h; here it becomes a judgement. How often it is right in a domain is known from gold pairs, once
 * a posterior is announced: that is then its confidence, and where it is no better than a coin it has no opinion. Word
 * counts of gold pairs are a cache, brought up to date with the table. */
#include "annotate.h"

#include "../schemas/codec.h"

#include <math.h>

static enum sl_verdict nearest_open(struct sl_task *task, struct sl_annotate *n)
{
	(void)task;
	sl_nearest_init(&n->nearest, (size_t)n->memory_bytes);
	return SL_OK;
}

static enum sl_verdict nearest_begin(struct sl_task *task, struct sl_annotate *n)
{
	int64_t version = sl_table_version(task, SL_ANNOTATE_GOLD);
	struct sl_scan s;

	if (version == n->seen)
		return SL_OK;
	if (n->nearest.kept_count)
		for (sl_table_scan(task, &s, SL_ANNOTATE_GOLD, n->seen); sl_scan_next(&s);)
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
	struct sl_annotate *annotate;
	enum sl_verdict verdict;
};

static bool learn(void *arg, struct sl_id gold)
{
	struct lesson *l = arg;
	struct sl_annotate *n = l->annotate;
	struct sl_bytes record;
	struct sl_error e = { 0 };
	struct sl_pair p;

	if (l->verdict != SL_OK || !sl_table_get(l->task, SL_ANNOTATE_GOLD, sl_id_bytes(&gold), &record))
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

static enum sl_verdict nearest_judge(struct sl_task *task, struct sl_annotate *n, const struct sl_pair *p,
				     struct sl_judged *to)
{
	struct sl_arena *a = sl_task_arena(task);
	struct lesson lesson = { task, n, SL_OK };
	struct sl_nearest_vote vote = sl_nearest_ask(&n->nearest, p, a, learn, &lesson);
	const struct sl_posterior *known = n->asking.posterior;
	struct sl_bytes name = sl_text(SL_NEAREST), domain = sl_pair_domain(p);
	bool speaks = !known || sl_posterior_judge_speaks(known, name, domain);
	const char *verdict = speaks ? sl_nearest_verdict(vote.value, n->threshold) : "undecidable";
	bool decided = strcmp(verdict, "undecidable") != 0;
	double confidence = sl_nearest_confidence(vote.value);

	if (known)
		confidence = decided ? sl_posterior_judge_accuracy(known, name, domain) : 0.5;
	to->judgement.panel = name;
	to->judgement.vote_count = 1;
	to->judgement.votes = sl_alloc(task, sizeof *to->judgement.votes);
	to->judgement.votes[0] = (struct sl_vote){
		.judge = name,
		.order = sl_text("chosen"),
		.verdict = sl_text(verdict),
		.confidence = confidence,
		.difference = sl_text(sl_arena_print(a, "weighted vote %s of %zu gold pairs",
						     sl_arena_print_share(a, fabs(vote.value)), vote.voters)),
	};
	if (decided)
		to->judgement.verdict = to->judgement.votes[0].verdict;
	to->code = decided ? verdict : "abstained";
	to->says = decided ? "says nearest" : "nearest has no clear opinion";
	return lesson.verdict;
}

static void nearest_close(struct sl_annotate *n)
{
	sl_nearest_release(&n->nearest);
}

const struct sl_judge sl_judge_nearest = {
	.name = SL_NEAREST,
	.open = nearest_open,
	.begin = nearest_begin,
	.judge = nearest_judge,
	.close = nearest_close,
};
