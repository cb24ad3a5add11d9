/* evidence.c -- see evidence.h. Three readings of the gold pairs: one learns what the judge may look up, one asks the
 * champions and the judge about every pair, one is the cross-fitting. All of them pass over the same pairs in the same
 * order (takes), so a counter is enough to know which row is meant. One thread. */
#include "evidence.h"

#include "../operators/cosine.h"
#include "../operators/nearest.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

struct gather {
	const struct sl_evidence_sources *from;
	struct sl_evidence_rows *rows;
	struct sl_cosine index;          /* context vectors of split train */
	struct sl_nearest nearest;       /* knows the words of every pair in the index */
	struct sl_buf vectors;           /* of all pairs that have one, in order */
	struct sl_cosine_query *queries; /* one for each of them */
	size_t query_count, query_room, query_at;
	size_t train_count;
	size_t row_at; /* while margins come in */
	struct sl_arena scratch;
};

static bool takes(const struct sl_pair *p)
{
	return p->gold.present && sl_is(p->gold.verdict, "chosen") && sl_split_of(p->group) != SL_SPLIT_REPORT;
}

bool sl_evidence_audited(const struct sl_pair *p)
{
	return takes(p) && sl_is(p->gold.sample, "random") &&
	       (sl_is(p->gold.label_arrived, "same") || sl_is(p->gold.label_arrived, "swapped"));
}

/* -- what the judge may look up ------------------------------------------------------------- */

static bool has_vector(const struct gather *g, const struct sl_pair *p)
{
	struct sl_bytes vector = p->vectors.context;

	return sl_cosine_usable(vector) && (g->index.dim == 0 || vector.size == g->index.dim * sizeof(float));
}

static void learn(struct gather *g, const struct sl_pair *p)
{
	if (sl_split_of(p->group) == SL_SPLIT_TRAIN)
		g->train_count++;
	if (g->from->examples == 0 || !has_vector(g, p))
		return;
	g->index.dim = p->vectors.context.size / sizeof(float);
	sl_buf_add(&g->vectors, p->vectors.context.data, p->vectors.context.size);
	if (g->query_count == g->query_room) {
		g->query_room = g->query_room ? 2 * g->query_room : 256;
		g->queries = sl_realloc(g->queries, g->query_room * sizeof *g->queries);
	}
	g->queries[g->query_count++] = (struct sl_cosine_query){ .group = p->group };
	if (sl_split_of(p->group) != SL_SPLIT_TRAIN)
		return;
	sl_arena_clear(&g->scratch);
	sl_cosine_put(&g->index, p->id, p->group, p->vectors.context.data, NULL);
	sl_nearest_learn(&g->nearest, p, &g->scratch);
}

static void look_up(struct gather *g)
{
	for (size_t i = 0; i < g->query_count; i++)
		g->queries[i].vector = (const float *)(const void *)g->vectors.data + i * g->index.dim;
	sl_arena_clear(&g->scratch);
	openblas_set_num_threads(1); /* this thread is the parallelism */
	if (g->index.count)
		sl_cosine_top(&g->index, g->queries, g->query_count, g->from->examples, &g->scratch);
}

/* -- one row ---------------------------------------------------------------------------------- */

/* Every gold pair in the index is known; the judge knows no others. */
static bool nothing_to_learn(void *arg, struct sl_id gold)
{
	(void)arg;
	(void)gold;
	return false;
}

/* The judge is given the pair as retrieve would have sent it. */
static void judge(struct gather *g, const struct sl_pair *gold, struct sl_evidence_row *row)
{
	struct sl_pair p = *gold;
	const struct sl_cosine_query *q;
	const char *verdict;
	double vote;

	row->judge = row->confidence = NAN;
	if (g->from->examples == 0 || !has_vector(g, gold))
		return;
	q = &g->queries[g->query_at++];
	p.exemplar_count = q->hit_count;
	p.exemplars = sl_arena_zalloc(&g->scratch, q->hit_count * sizeof *p.exemplars);
	for (size_t i = 0; i < q->hit_count; i++) {
		p.exemplars[i].id = q->hits[i].id;
		p.exemplars[i].similarity = q->hits[i].similarity;
		p.exemplars[i].label = sl_text("chosen"); /* takes() lets no other verdict in */
	}
	vote = sl_nearest_ask(&g->nearest, &p, &g->scratch, nothing_to_learn, NULL).value;
	verdict = sl_nearest_verdict(vote, g->from->threshold);
	row->judge = strcmp(verdict, "chosen") == 0 ? 1 : strcmp(verdict, "rejected") == 0 ? -1 : 0;
	row->confidence = sl_nearest_confidence(vote);
}

static double heard(int8_t held)
{
	return held <= SL_PROBE_SILENT ? NAN : held;
}

/* What the panel said, and each of its judges. */
static void hear_panel(struct gather *g, const struct sl_pair *gold, struct sl_evidence_row *row)
{
	const struct sl_probe *probe = sl_probes_find(g->from->probes, gold->id);
	struct sl_evidence_opinion *opinions;

	row->judge = row->confidence = NAN;
	if (!probe)
		return;
	row->judge = heard(probe->panel);
	opinions = sl_arena_alloc(&g->scratch, g->from->probes->name_count * sizeof *opinions);
	for (size_t i = 0; i < g->from->probes->name_count; i++)
		if (!isnan(heard(probe->judges[i])))
			opinions[row->opinion_count++] =
				(struct sl_evidence_opinion){ sl_text(g->from->probes->names[i]), probe->judges[i] };
	row->opinions = opinions;
}

/* The gold margin of split train comes later, out of sample. */
static void ask(struct gather *g, const struct sl_pair *p)
{
	const struct sl_model *models[] = { g->from->gold, g->from->best };
	struct sl_reward rewards[2];
	int first = sl_preferred_position(p->meta);
	struct sl_evidence_row row = {
		.group = p->group,
		.domain = sl_pair_domain(p),
		.gold = NAN,
		.best = NAN,
		.length = sl_pair_length_sign(p),
		.first_wins = first == 1   ? 1
			      : first == 2 ? -1
					   : 0,
		.audited = sl_evidence_audited(p),
		.arrived_right = sl_is(p->gold.label_arrived, "same"),
	};

	sl_arena_clear(&g->scratch);
	sl_models_score(models, g->from->best ? 2 : 1, p, 1, rewards);
	if (sl_split_of(p->group) == SL_SPLIT_SELECT)
		row.gold = (rewards[0].chosen - rewards[0].rejected) / sl_model_temperature(g->from->gold);
	if (g->from->best)
		row.best = (rewards[1].chosen - rewards[1].rejected) / sl_model_temperature(g->from->best);
	if (g->from->probes)
		hear_panel(g, p, &row);
	else
		judge(g, p, &row);
	sl_evidence_add(g->rows, &row);
}

static void on_margin(void *arg, const struct sl_pair *p, double margin)
{
	struct gather *g = arg;

	if (!takes(p))
		return;
	if (sl_split_of(p->group) == SL_SPLIT_TRAIN)
		g->rows->at[g->row_at].gold = margin / sl_model_temperature(g->from->gold);
	g->row_at++;
}

/* -- all of it ---------------------------------------------------------------------------------- */

static void each(struct gather *g, const struct sl_examples *gold,
		 void (*what)(struct gather *, const struct sl_pair *))
{
	const struct sl_pair *p;

	gold->rewind(gold->arg);
	while (gold->next(gold->arg, &p))
		if (takes(p))
			what(g, p);
}

bool sl_evidence_gather(const struct sl_examples *gold, const struct sl_evidence_sources *sources,
			struct sl_evidence_rows *rows, struct sl_error *e)
{
	struct sl_train_options options = sources->gold_options, usual;
	struct gather g = { .from = sources, .rows = rows };
	bool done = true;

	assert(sources->examples <= SL_COSINE_K_MAX && rows->count == 0);
	assert(sources->examples == 0 || !sources->probes);
	sl_train_options_default(&usual);
	if (options.folds == 0)
		options.folds = usual.folds;
	if (options.l2 == 0)
		sl_model_strengths(sources->gold, &options.l2, &options.l2_style);
	sl_nearest_init(&g.nearest, SIZE_MAX);
	each(&g, gold, learn);
	look_up(&g);
	each(&g, gold, ask);
	if (g.train_count > 0)
		done = sl_train_cross_fit(&options, gold, &g, on_margin, e);
	sl_nearest_release(&g.nearest);
	sl_cosine_release(&g.index);
	sl_buf_release(&g.vectors);
	free(g.queries);
	sl_arena_release(&g.scratch);
	return done;
}
