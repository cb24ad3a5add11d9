/* retrieve.c -- the most similar gold pairs, as examples for the judge.
 *
 * The gold table is held in memory as a matrix of context vectors (cosine.h), one
 * row per gold pair of split *train* that has a verdict, brought up to date with the
 * table's changes at the start of a batch. The vectors are in the gold records, so
 * a restart reads them back and embeds nothing.
 *
 * Pairs of the pair's own group are never examples: they share its prompt, and their
 * labels would be told, not predicted. Looked up is only what will be asked about
 * (asking.h), unless `when` is always. The pair's own vector is dropped here: the
 * examples carry their similarity. */
#include "asking.h"
#include "cosine.h"

#include "../schemas/codec.h"

#include <assert.h>
#include <cblas.h>
#include <stdlib.h>

enum { RETRIEVED };
static const char *const ports[] = { "retrieved", NULL };

enum { GOLD, MODELS };
static const char *const tables[] = { "gold", "models", NULL };

struct retrieve {
	int64_t k;
	const char *when;
	bool keep_vectors;
	struct sl_asking asking;
	int64_t seen; /* version of the table that the index was read at */
	struct sl_cosine index;
	size_t empty_count; /* gold pairs without a usable vector, told once */
};

/* What an exemplar says besides its similarity: one allocation, texts behind it. */
struct example {
	struct sl_bytes label;
	struct sl_attributes attributes;
};

static const char *const whens[] = { "asked", "always", NULL };

static const struct sl_option options[] = {
	{ .name = "k",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct retrieve, k),
	  .value = "8",
	  .least = 1,
	  .most = SL_COSINE_K_MAX,
	  .unit = "examples",
	  .help = "how many gold pairs to look up" },
	{ .name = "when",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct retrieve, when),
	  .value = "asked",
	  .words = whens,
	  .help = "asked: only for pairs that annotate would ask about; always: for every pair" },
	{ .name = "keep_vectors",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct retrieve, keep_vectors),
	  .value = "false",
	  .help = "leave the context vector in the pair for a later step" },
	SL_ASKING_OPTIONS(struct retrieve, asking),
	{ 0 },
};

static struct sl_bytes keep_text(uint8_t **at, struct sl_bytes text)
{
	struct sl_bytes kept = { text.data ? *at : NULL, text.size };

	if (text.size)
		memcpy(*at, text.data, text.size);
	*at += text.size;
	return kept;
}

static struct example *example_new(const struct sl_pair *p)
{
	const struct sl_attributes *from = &p->attributes;
	struct example *e = sl_malloc(sizeof *e + p->gold.verdict.size + from->category.size + from->objectivity.size +
				      from->controversiality.size + from->desired.size + from->guideline.size);
	uint8_t *at = (uint8_t *)(e + 1);

	e->label = keep_text(&at, p->gold.verdict);
	e->attributes.present = from->present;
	e->attributes.category = keep_text(&at, from->category);
	e->attributes.objectivity = keep_text(&at, from->objectivity);
	e->attributes.controversiality = keep_text(&at, from->controversiality);
	e->attributes.desired = keep_text(&at, from->desired);
	e->attributes.guideline = keep_text(&at, from->guideline);
	return e;
}

static enum sl_verdict add(struct sl_task *task, struct retrieve *r, const struct sl_pair *p)
{
	size_t dim = p->vectors.context.size / sizeof(float);
	char hex[SL_ID_HEX_SIZE];

	if (!p->gold.present || !p->gold.verdict.data || sl_split_of(p->group) != SL_SPLIT_TRAIN) {
		free(sl_cosine_remove(&r->index, p->id));
		return SL_OK;
	}
	if (!sl_cosine_usable(p->vectors.context)) {
		free(sl_cosine_remove(&r->index, p->id));
		if (r->empty_count++ == 0)
			sl_note(task, "gold pair '%s' has no usable context vector and is no example for others",
				sl_id_hex(p->id, hex));
		return SL_OK;
	}
	if (r->index.dim == 0)
		r->index.dim = dim;
	if (r->index.dim != dim)
		return sl_fail(task, SL_STOP,
			       "gold pair '%s' has a context vector of %zu numbers, those before it have %zu: "
			       "'dim' of step embed was changed; gold pairs must be embedded again",
			       sl_id_hex(p->id, hex), dim, r->index.dim);
	free(sl_cosine_put(&r->index, p->id, p->group, p->vectors.context.data, example_new(p)));
	return SL_OK;
}

static enum sl_verdict update(struct sl_task *task, struct retrieve *r)
{
	int64_t version = sl_table_version(task, GOLD);
	struct sl_arena scratch = { 0 }; /* a whole table passes through it */
	enum sl_verdict v = SL_OK;
	struct sl_scan s;

	if (version == r->seen)
		return SL_OK;
	for (sl_table_scan(task, &s, GOLD, r->seen); v == SL_OK && sl_scan_next(&s);) {
		struct sl_error e = { 0 };
		struct sl_pair p;

		if (!s.value.data) {
			struct sl_id id;

			if (s.key.size == sizeof id.b) {
				memcpy(id.b, s.key.data, sizeof id.b);
				free(sl_cosine_remove(&r->index, id));
			}
			continue;
		}
		sl_arena_clear(&scratch);
		if (sl_pair_decode(s.value, &scratch, &p, &e))
			v = add(task, r, &p);
		else
			v = sl_fail(task, SL_STOP, "record of the gold table: %s", e.text);
	}
	sl_arena_release(&scratch);
	if (v == SL_OK)
		r->seen = version;
	return v;
}

static enum sl_verdict retrieve_open(struct sl_task *task, void *self)
{
	struct retrieve *r = self;

	openblas_set_num_threads(1); /* one task, one thread: the tasks are the parallelism */
	return sl_asking_open(task, &r->asking, SL_WITHOUT_GOLD_LLM_ONLY);
}

static bool wanted(const struct retrieve *r, const struct sl_pair *p)
{
	return strcmp(r->when, "always") == 0 || sl_asks(&r->asking, p);
}

static void fill(struct sl_task *task, struct sl_pair *p, const struct sl_cosine_query *q)
{
	p->exemplars = sl_alloc(task, q->hit_count * sizeof *p->exemplars);
	p->exemplar_count = q->hit_count;
	for (size_t i = 0; i < q->hit_count; i++) {
		const struct example *e = q->hits[i].payload;

		p->exemplars[i] = (struct sl_exemplar){
			.id = q->hits[i].id,
			.similarity = q->hits[i].similarity,
			.label = e->label,
			.attributes = e->attributes,
		};
	}
}

static enum sl_verdict retrieve_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct retrieve *r = self;
	struct sl_cosine_query *queries = sl_alloc(task, batch->count * sizeof *queries);
	int *query_of = sl_alloc(task, batch->count * sizeof *query_of); /* -1: not looked up, -2: cannot be */
	size_t dim, count = 0;
	float *vectors;
	enum sl_verdict v = sl_asking_update(task, &r->asking, MODELS);

	if (v == SL_OK)
		v = update(task, r);
	if (v != SL_OK)
		return v;
	dim = r->index.dim;
	vectors = sl_alloc(task, batch->count * dim * sizeof *vectors);
	for (size_t i = 0; i < batch->count; i++) {
		const struct sl_pair *p = &batch->pairs[i];

		query_of[i] = -1;
		if (!wanted(r, p) || dim == 0)
			continue;
		query_of[i] = -2;
		if (p->vectors.context.size != dim * sizeof(float))
			continue;
		memcpy(vectors + count * dim, p->vectors.context.data, dim * sizeof *vectors);
		queries[count] = (struct sl_cosine_query){ .vector = vectors + count * dim, .group = p->group };
		query_of[i] = (int)count++;
	}
	sl_cosine_top(&r->index, queries, count, (size_t)r->k, sl_task_arena(task));

	for (size_t i = 0; i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];

		if (query_of[i] == -2) {
			sl_reject(task, &batch->pairs[i],
				  "vector: the context vector has %zu bytes, those of gold pairs have %zu: "
				  "replay this pair into step embed",
				  p.vectors.context.size, dim * sizeof(float));
			continue;
		}
		p.exemplars = NULL; /* of an earlier pass */
		p.exemplar_count = 0;
		if (query_of[i] >= 0)
			fill(task, &p, &queries[query_of[i]]);
		if (!r->keep_vectors)
			p.vectors.context = (struct sl_bytes){ 0 };
		sl_emit(task, RETRIEVED, &p);
	}
	return SL_OK;
}

static void retrieve_close(struct sl_task *task, void *self)
{
	struct retrieve *r = self;

	(void)task;
	for (size_t i = 0; i < r->index.count; i++)
		free(r->index.rows[i].payload);
	sl_asking_close(&r->asking);
	sl_cosine_release(&r->index);
}

const struct sl_operator sl_operator_retrieve = {
	.name = "retrieve",
	.version = "2",
	.help = "the most similar gold pairs, as examples for the judge",
	.options = options,
	.ports = ports,
	.tables = tables,
	.self_size = sizeof(struct retrieve),
	.open = retrieve_open,
	.process = retrieve_process,
	.close = retrieve_close,
};
