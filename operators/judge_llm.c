/* judge_llm.c -- LLM judges: who they are, what they are asked, and how their votes become one verdict.
 *
 * A pair is heard by a function that is run from the top in every round of ask() and once more in process():
 * it puts every question that the answers so far lead to (putting the same one again is free), and stops where one is
 * missing. So there is no state between rounds, and process() finds the answers by asking again.
 *
 *     attributes    of a pair that has none, where the option says so          once, and once more to repair
 *     first         every judge x order x sample                               "
 *     second        the same of the judges for second opinions, where the      "
 *                   panel of the first is unsure
 *
 * An answer that is not what was asked for is sent back once with the complaint. A judge that refused, was cut off or
 * failed is a vote without a verdict; when nobody has one, the panel abstains. While the budget is spent or an endpoint
 * is away, calls wait in the runtime, unless `without_judge` says otherwise: then a first opinion that cannot be had
 * now puts off the whole pair (put_off). A question that waits for a batch puts it off too, whichever opinion it is:
 * the pair comes back when the answers are there, and is heard from the top again.
 *
 * The answer to an example is never shown about a pair of the example's own group: retrieve sees to that, and it is
 * checked here. A probe (a gold pair put to the judges to measure them) is heard like any other pair; its
 * number is part of the question's sample number, so that it is not answered from memory. */
#include "annotate.h"

#include "../schemas/codec.h"
#include "cosine.h"
#include "describing.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define JUDGES_MOST 16

/* -- who they are ------------------------------------------------------------------ */

static enum sl_verdict judge_init(struct sl_task *task, const char *endpoint, struct sl_llm_judge *to)
{
	const char *model = sl_task_model(task, endpoint);

	if (!model[0])
		return sl_fail(task, SL_STOP, "endpoint '%s' names no model: a judge needs one; set endpoints.%s.model",
			       endpoint, endpoint);
	*to = (struct sl_llm_judge){
		.endpoint = endpoint,
		.model = model,
		.name = sl_strdup(sl_arena_print(sl_task_arena(task), "%s/%s", endpoint, model)),
	};
	return SL_OK;
}

static enum sl_verdict judges_init(struct sl_task *task, struct sl_judge_llm *l)
{
	const struct sl_list *lists[] = { &l->judges, &l->second };
	enum sl_verdict v;

	if (l->judges.count == 0)
		return sl_fail(task, SL_STOP,
			       "backend 'llm' needs the option 'judges': a list of endpoints of the topology");
	if (l->judges.count + l->second.count > JUDGES_MOST)
		return sl_fail(task, SL_STOP, "%zu judges, at most %d are asked", l->judges.count + l->second.count,
			       JUDGES_MOST);
	l->who = sl_calloc(l->judges.count + l->second.count, sizeof *l->who);
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < lists[k]->count; i++) {
			struct sl_llm_judge *judge = &l->who[l->who_count++];

			v = judge_init(task, lists[k]->at[i], judge);
			if (v != SL_OK)
				return v;
			/* The memo knows a question by its model and text. */
			for (size_t j = 0; j + 1 < l->who_count; j++)
				if (strcmp(l->who[j].model, judge->model) == 0)
					return sl_fail(task, SL_STOP,
						       "judges '%s' and '%s' ask the same model: one answer would "
						       "count twice; use 'samples' for several opinions of a model",
						       l->who[j].endpoint, judge->endpoint);
		}
	l->first_count = l->judges.count;
	return SL_OK;
}

static enum sl_verdict prompts_open(struct sl_task *task, struct sl_judge_llm *l)
{
	struct sl_error e = { 0 };

	l->prompt = sl_judging_open(sl_task_path(task, l->prompt_path), &e);
	if (!l->prompt)
		return sl_fail(task, SL_STOP, "option 'prompt': %s", e.text);
	if (strcmp(l->attributes, "off") == 0)
		return SL_OK;
	l->describing = sl_describing_open(sl_task_path(task, l->attributes_path), &e);
	if (!l->describing)
		return sl_fail(task, SL_STOP, "option 'attributes_prompt': %s", e.text);
	return judge_init(task, l->attributes_judge[0] ? l->attributes_judge : l->judges.at[0], &l->describer);
}

/* A hash of everything that shapes a verdict but the pair itself. */
static void setting_init(struct sl_judge_llm *l, double judge_accuracy)
{
	char hex[SL_ID_HEX_SIZE];
	struct sl_buf b = { 0 };

	for (size_t i = 0; i < l->who_count; i++)
		sl_buf_print(&b, "%s %s\n", i < l->first_count ? "judge" : "second", l->who[i].name);
	sl_buf_print(&b, "prompt %s\n", sl_id_hex(sl_prompt_hash(l->prompt), hex));
	if (l->describing)
		sl_buf_print(&b, "attributes %s %s\n", l->describer.name,
			     sl_id_hex(sl_prompt_hash(l->describing), hex));
	sl_buf_print(&b, "order %s seed %" PRId64 " samples %" PRId64 " examples %" PRId64 " text %" PRId64 "\n",
		     l->order, l->seed, l->samples, l->examples, l->text_max);
	sl_buf_print(&b, "merge %s sure %.17g least %.17g repair %d\n", l->merge, l->sure, l->least, l->repair);
	sl_buf_print(&b, "temperature %.17g tokens %" PRId64 " extra %s\n", l->temperature, l->max_tokens, l->extra);
	/* By it are judges weighed, and second opinions asked for, who were not measured yet. */
	if (l->who_count > l->first_count || strcmp(l->merge, "weighted") == 0)
		sl_buf_print(&b, "declared %.17g\n", judge_accuracy);
	snprintf(l->setting, sizeof l->setting, "%016" PRIx64, sl_hash64(b.data, b.size, 0));
	sl_buf_release(&b);
}

static enum sl_verdict llm_open(struct sl_task *task, struct sl_annotate *n)
{
	struct sl_judge_llm *l = &n->llm;
	struct sl_error e = { 0 };
	enum sl_verdict v;

	if (l->samples > 1 && l->temperature == 0)
		return sl_fail(task, SL_STOP,
			       "%" PRId64 " samples at temperature 0 are one answer many times: set 'temperature' over "
			       "0, or below 0 for the server's own",
			       l->samples);
	if (!sl_chat_extra_check(l->extra, l->max_tokens, &e))
		return sl_fail(task, SL_STOP, "option 'extra': %s", e.text);
	v = judges_init(task, l);
	if (v == SL_OK)
		v = prompts_open(task, l);
	if (v != SL_OK)
		return v;
	setting_init(l, n->asking.judge_accuracy);
	return SL_OK;
}

static void llm_close(struct sl_annotate *n)
{
	struct sl_judge_llm *l = &n->llm;

	for (size_t i = 0; l->who && i < l->who_count; i++)
		free(l->who[i].name);
	free(l->who);
	free(l->describer.name);
	sl_prompt_close(l->prompt);
	sl_prompt_close(l->describing);
	sl_buf_release(&l->body);
}

/* -- a question ---------------------------------------------------------------------- */

/* One pair, from the top. */
struct hearing {
	struct sl_task *task;
	struct sl_annotate *n;
	struct sl_arena *a;              /* of what goes into the record; all else is scratch */
	struct sl_pair pair;             /* as it is shown */
	const struct sl_pair **examples; /* of its exemplars; NULL: not shown */
	struct sl_vote *votes;
	size_t vote_count;
	bool open;        /* an answer is still to come */
	int missed;       /* SL_NO_BUDGET or SL_AWAY: some question could not be put; 0: none */
	const char *why;  /* missed */
	bool put_off;     /* a first opinion was missed */
	size_t parked;    /* questions that wait for a batch */
	const char *keys; /* of the first of them, "KEY KEY" */
};

/* What is asked for: the attributes, or else a vote. */
struct question {
	const struct sl_llm_judge *judge;
	struct sl_attributes *attributes;
	struct sl_vote *vote;
	enum sl_judging_order order;
};

static struct sl_answer put(struct hearing *h, const struct question *q, struct sl_bytes said,
			    struct sl_bytes complaint)
{
	struct sl_judge_llm *l = &h->n->llm;
	struct sl_call call = {
		.endpoint = q->judge->endpoint,
		.model = q->judge->model,
		.tokens_max = l->max_tokens,
		.or_not = strcmp(l->without_judge, "wait") != 0,
	};

	sl_buf_clear(&l->body);
	if (q->attributes) {
		const struct sl_describing describing = {
			.prompt = l->describing,
			.model = q->judge->model,
			.temperature = l->temperature,
			.tokens_max = l->max_tokens,
			.text_max = (size_t)l->text_max,
			.extra = l->extra,
		};

		sl_describing_body(&describing, &h->pair, said, complaint, &h->n->scratch, &l->body);
	} else {
		const struct sl_judging judging = {
			.prompt = l->prompt,
			.model = q->judge->model,
			.temperature = l->temperature,
			.tokens_max = l->max_tokens,
			.text_max = (size_t)l->text_max,
			.examples_max = (size_t)l->examples,
			.seed = (uint64_t)l->seed,
			.extra = l->extra,
		};

		sl_judging_body(&judging, &h->pair, h->examples, q->order, said, complaint, &h->n->scratch, &l->body);
		call.sample = (uint32_t)h->pair.judgement.probe + (uint32_t)q->vote->sample;
	}
	call.body = sl_buf_bytes(&l->body);
	return sl_answer(h->task, sl_ask(h->task, &call));
}

static bool read_text(struct hearing *h, const struct question *q, struct sl_bytes text, const char **why)
{
	return q->attributes ? sl_describing_read(text, h->a, q->attributes, why)
			     : sl_judging_read(text, q->order, h->a, q->vote, why);
}

static bool not_to_be_had(const struct sl_answer *answer)
{
	return answer->status == SL_NO_BUDGET || answer->status == SL_AWAY;
}

static void park(struct hearing *h, const char *key)
{
	if (h->parked++ < SL_PARKED_MOST)
		h->keys = h->keys ? sl_arena_print(h->a, "%s %s", h->keys, key) : sl_arena_print(h->a, "%s", key);
}

/* Puts the question, and puts it again with the complaint where the answer is not what was asked for. False: the
 * answer is still to come (open, parked), or cannot be had now (missed). */
static bool hear(struct hearing *h, const struct question *q, enum sl_chat_outcome *outcome)
{
	struct sl_answer answer = put(h, q, (struct sl_bytes){ 0 }, (struct sl_bytes){ 0 });
	struct sl_chat_reply reply;
	const char *why = "";

	for (int turn = 0;; turn++) {
		if (answer.status == SL_UNSETTLED) {
			h->open = true;
			return false;
		}
		if (answer.status == SL_PARKED) {
			park(h, answer.why);
			return false;
		}
		if (turn == 0 && not_to_be_had(&answer)) {
			h->missed = answer.status;
			h->why = sl_arena_print(h->a, "%s: %s", q->judge->name, answer.why);
			return false;
		}
		if (turn == 1 && answer.status < 0) /* what was wrong stays so */
			return true;
		if (q->vote) {
			q->vote->tokens += answer.usage.prompt + answer.usage.completion;
			q->vote->micro_dollars += answer.micro_dollars;
		}
		sl_chat_read(&answer, &h->n->scratch, &reply);
		*outcome = reply.outcome;
		if (reply.outcome == SL_CHAT_MALFORMED)
			why = reply.why;
		else if (reply.outcome == SL_CHAT_ANSWERED && !read_text(h, q, reply.text, &why))
			*outcome = SL_CHAT_MALFORMED;
		if (*outcome != SL_CHAT_MALFORMED || !reply.text.data || !h->n->llm.repair || turn == 1)
			return true;
		answer = put(h, q, reply.text, sl_text(why));
	}
}

/* -- a pair --------------------------------------------------------------------------- */

/* False: still to come. A pair that nobody describes is judged as it is. */
static bool describe(struct hearing *h)
{
	struct sl_attributes attributes = { 0 };
	const struct question q = { .judge = &h->n->llm.describer, .attributes = &attributes };
	enum sl_chat_outcome outcome;

	if (!h->n->llm.describing || h->pair.attributes.present)
		return true;
	if (hear(h, &q, &outcome) && outcome == SL_CHAT_ANSWERED) {
		attributes.present = true;
		h->pair.attributes = attributes;
	}
	h->missed = 0;
	return !h->open && !h->parked;
}

static void opinion(struct hearing *h, const struct sl_llm_judge *judge, enum sl_judging_order order, int64_t sample)
{
	const struct sl_posterior *posterior = h->n->asking.posterior;
	struct sl_bytes domain = sl_pair_domain(&h->pair);
	struct sl_vote vote = {
		.judge = sl_arena_bytes(h->a, sl_text(judge->name)),
		.order = sl_text(sl_judging_order_name(order)),
		.confidence = NAN,
		.sample = sample,
	};
	const struct question q = { .judge = judge, .vote = &vote, .order = order };
	enum sl_chat_outcome outcome;

	if (!hear(h, &q, &outcome))
		return;
	if (outcome != SL_CHAT_ANSWERED) {
		vote.verdict = vote.strength = vote.difference = (struct sl_bytes){ 0 };
		vote.outcome = sl_text(sl_chat_outcome_name(outcome));
	} else if (posterior && sl_posterior_judge_known(posterior, vote.judge, domain)) {
		vote.confidence = sl_posterior_judge_accuracy(posterior, vote.judge, domain);
	}
	h->votes[h->vote_count++] = vote;
}

static void opinions(struct hearing *h, size_t from, size_t to)
{
	const struct sl_judge_llm *l = &h->n->llm;
	enum sl_judging_order drawn =
		strcmp(l->order, "random") == 0 ? sl_judging_order_of(h->pair.id, (uint64_t)l->seed) : SL_CHOSEN_FIRST;

	for (size_t i = from; i < to; i++)
		for (int64_t sample = 0; sample < l->samples; sample++) {
			opinion(h, &l->who[i], drawn, sample);
			if (strcmp(l->order, "both") == 0)
				opinion(h, &l->who[i], SL_REJECTED_FIRST, sample);
		}
}

static struct sl_panel_verdict merge(const struct hearing *h)
{
	const struct sl_annotate *n = h->n;
	struct sl_bytes domain = sl_pair_domain(&h->pair);
	struct sl_panel_judge known[JUDGES_MOST];
	size_t count = 0;

	for (size_t i = 0; n->asking.posterior && i < n->llm.who_count; i++) {
		struct sl_bytes name = sl_text(n->llm.who[i].name);

		if (sl_posterior_judge_known(n->asking.posterior, name, domain))
			known[count++] = (struct sl_panel_judge){ name, sl_posterior_judge_accuracy(n->asking.posterior,
												    name, domain) };
	}
	return sl_panel_merge(strcmp(n->llm.merge, "weighted") == 0 ? SL_PANEL_WEIGHTED : SL_PANEL_MAJORITY, h->votes,
			      h->vote_count, known, count, n->asking.judge_accuracy, n->llm.least);
}

/* The gold pairs behind the exemplars, without those of the pair's own group. */
static enum sl_verdict look_up(struct hearing *h)
{
	struct sl_arena *scratch = &h->n->scratch;
	struct sl_pair *p = &h->pair;

	if (p->exemplar_count > SL_COSINE_K_MAX)
		p->exemplar_count = SL_COSINE_K_MAX;
	h->examples = sl_arena_zalloc(scratch, (p->exemplar_count + 1) * sizeof(struct sl_pair *));
	for (size_t i = 0; i < p->exemplar_count && h->n->llm.examples > 0; i++) {
		struct sl_pair *gold = sl_arena_alloc(scratch, sizeof *gold);
		struct sl_error e = { 0 };
		struct sl_bytes record;

		if (!sl_table_get(h->task, SL_ANNOTATE_GOLD, sl_id_bytes(&p->exemplars[i].id), &record))
			continue; /* withdrawn since */
		if (!sl_pair_decode(record, scratch, gold, &e))
			return sl_fail(h->task, SL_STOP, "record of the gold table: %s", e.text);
		if (gold->gold.present && !sl_id_equal(gold->group, p->group) &&
		    sl_split_of(gold->group) == SL_SPLIT_TRAIN)
			h->examples[i] = gold;
	}
	return SL_OK;
}

/* From the top, as far as the answers lead: then h->open, h->put_off, or a verdict. */
static enum sl_verdict hear_pair(struct hearing *h, const struct sl_pair *p, struct sl_panel_verdict *verdict)
{
	const struct sl_judge_llm *l = &h->n->llm;
	enum sl_verdict v;

	sl_arena_clear(&h->n->scratch);
	h->pair = *p;
	h->votes = sl_arena_alloc(h->a, l->who_count * 2 * (size_t)l->samples * sizeof *h->votes);
	v = look_up(h);
	if (v != SL_OK || !describe(h))
		return v;
	opinions(h, 0, l->first_count);
	h->put_off = h->missed != 0;
	if (h->open || h->put_off || h->parked)
		return SL_OK;
	*verdict = merge(h);
	if (l->who_count == l->first_count || !sl_panel_unsure(verdict, h->votes, h->vote_count, l->sure))
		return SL_OK;
	opinions(h, l->first_count, l->who_count);
	if (!h->open && !h->parked)
		*verdict = merge(h);
	return SL_OK;
}

static enum sl_verdict llm_ask(struct sl_task *task, struct sl_annotate *n, const struct sl_pair *p)
{
	struct hearing h = { .task = task, .n = n, .a = &n->scratch };
	struct sl_panel_verdict verdict;

	return hear_pair(&h, p, &verdict);
}

/* "says llm, 3 of 4 votes, confidence 0.83, prompt 5f0c93aa; no second opinion of ..." */
static const char *says(const struct hearing *h, const struct sl_panel_verdict *verdict)
{
	const char *name = h->n->asking.panel, *text;
	char prompt[SL_ID_HEX_SIZE];
	size_t agree = 0;

	for (size_t i = 0; i < h->vote_count; i++)
		agree += h->votes[i].verdict.data && sl_bytes_equal(h->votes[i].verdict, verdict->verdict);
	if (!verdict->verdict.data)
		text = sl_arena_print(h->a, "%s, %zu votes without a verdict, the first %.*s", name, h->vote_count,
				      h->vote_count ? (int)h->votes[0].outcome.size : 0,
				      h->vote_count ? (const char *)h->votes[0].outcome.data : "");
	else
		text = sl_arena_print(h->a, "says %s, %zu of %zu votes", name, agree, h->vote_count);
	if (!isnan(verdict->confidence))
		text = sl_arena_print(h->a, "%s, confidence %.2f", text, verdict->confidence);
	text = sl_arena_print(h->a, "%s, prompt %.8s", text, sl_id_hex(sl_prompt_hash(h->n->llm.prompt), prompt));
	return h->missed ? sl_arena_print(h->a, "%s; no second opinion of %s", text, h->why) : text;
}

static enum sl_verdict llm_judge(struct sl_task *task, struct sl_annotate *n, const struct sl_pair *p,
				 struct sl_judged *to)
{
	struct hearing h = { .task = task, .n = n, .a = sl_task_arena(task) };
	struct sl_panel_verdict verdict = { .confidence = NAN };
	char hex[SL_ID_HEX_SIZE];
	enum sl_verdict v = hear_pair(&h, p, &verdict);

	if (v != SL_OK)
		return v;
	if (h.open)
		return sl_fail(task, SL_STOP, "pair '%s' has questions that were not asked", sl_id_hex(p->id, hex));
	to->attributes = h.pair.attributes;
	if (h.parked) {
		to->put_off = SL_ANNOTATE_PARKED;
		to->says = sl_arena_print(h.a, "%s: %zu questions of %s wait for a batch", h.keys, h.parked,
					  n->asking.panel);
		return SL_OK;
	}
	if (h.put_off) {
		to->put_off = h.missed == SL_NO_BUDGET ? "no_budget" : "away";
		to->says = h.why;
		return SL_OK;
	}
	to->judgement.panel = sl_text(n->asking.panel);
	to->judgement.setting = sl_arena_bytes(h.a, sl_text(n->llm.setting));
	to->judgement.votes = h.votes;
	to->judgement.vote_count = h.vote_count;
	to->judgement.verdict = verdict.verdict;
	to->code = verdict.verdict.data
			   ? sl_arena_print(h.a, "%.*s", (int)verdict.verdict.size, (const char *)verdict.verdict.data)
			   : "gave_up";
	to->says = says(&h, &verdict);
	return SL_OK;
}

const struct sl_judge sl_judge_llm = {
	.name = "llm",
	.open = llm_open,
	.ask = llm_ask,
	.judge = llm_judge,
	.close = llm_close,
};
