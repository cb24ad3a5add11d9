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
 * examples carry their similarity.
 *
 * Probes keep measuring the judges: beside a share of the pairs (`probes`, drawn by the pair's id) goes a
 * copy of a gold pair, drawn by the same id from the index. It gets examples like any other, never of its own group,
 * and a number that tells probes of one gold pair apart. What people said of it stays in `gold`, which no judge is
 * shown. */
#include "asking.h"
#include "cosine.h"

#include "../schemas/codec.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

enum { RETRIEVED };
static const char *const ports[] = { "retrieved", NULL };

enum { GOLD, MODELS };
static const char *const tables[] = { "gold", "models", NULL };

struct retrieve {
	int64_t k;
	const char *when;
	bool keep_vectors;
	double probes;
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
	  .follows = "annotate",
	  .help = "asked: only for pairs that annotate would ask about; always: for every pair" },
	{ .name = "keep_vectors",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct retrieve, keep_vectors),
	  .value = "false",
	  .help = "leave the context vector in the pair for a later step" },
	{ .name = "probes",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct retrieve, probes),
	  .value = "0",
	  .least = 0,
	  .most = 1,
	  .unit = "share of pairs",
	  .help = "beside so many of the pairs that pass, put a gold pair to the judges, to know how good they are" },
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
	return strcmp(r->when, "always") == 0 || sl_is_probe(p) || sl_asks(&r->asking, p);
}

/* -- probes ---------------------------------------------------------------------- */

/* What is drawn by a pair's id is drawn for one purpose. */
enum lot { LOT_PROBED, LOT_WHICH, LOT_NUMBER };

static uint64_t lot(enum lot purpose, struct sl_id pair, struct sl_id gold)
{
	uint8_t ids[2 * sizeof pair.b];

	memcpy(ids, pair.b, sizeof pair.b);
	memcpy(ids + sizeof pair.b, gold.b, sizeof gold.b);
	return sl_hash64(ids, sizeof ids, (uint64_t)purpose);
}

static bool draws_probe(const struct retrieve *r, const struct sl_pair *p)
{
	const struct sl_id none = { 0 };

	return r->index.count > 0 && !sl_is_probe(p) &&
	       (double)(lot(LOT_PROBED, p->id, none) >> 11) * 0x1p-53 < r->probes;
}

/* A pair's ticket is the same wherever the row lies: rows of the index move. */
static size_t draw_row(const struct retrieve *r, struct sl_id pair)
{
	uint64_t least = UINT64_MAX;
	size_t drawn = 0;

	for (size_t i = 0; i < r->index.count; i++) {
		uint64_t ticket = lot(LOT_WHICH, pair, r->index.rows[i].id);

		if (ticket < least) {
			least = ticket;
			drawn = i;
		}
	}
	return drawn;
}

/* The gold pair as a pair of the stream that comes beside `drawn_by`. */
static enum sl_verdict make_probe(struct sl_task *task, const struct sl_pair *drawn_by, struct sl_id gold,
				  struct sl_pair *to)
{
	struct sl_bytes record;
	struct sl_error e = { 0 };
	char hex[SL_ID_HEX_SIZE];

	if (!sl_table_get(task, GOLD, sl_id_bytes(&gold), &record))
		return sl_fail(task, SL_STOP, "gold pair '%s' is in the index and not in the table",
			       sl_id_hex(gold, hex));
	record = sl_arena_bytes(sl_task_arena(task), record); /* the table's own lives only until we return */
	if (!sl_pair_decode(record, sl_task_arena(task), to, &e))
		return sl_fail(task, SL_STOP, "record of the gold table: %s", e.text);
	to->id = gold;
	to->time_ms = drawn_by->time_ms;
	to->scores = NULL;
	to->score_count = 0;
	to->vectors.difference = (struct sl_bytes){ 0 };
	to->decision = (struct sl_decision){ .p_label = NAN };
	/* The low bits are left for the samples of one question. */
	to->judgement = (struct sl_judgement){
		.present = true, .probe = 16 * (int64_t)(1 + lot(LOT_NUMBER, drawn_by->id, gold) % ((1u << 27) - 1))
	};
	return SL_OK;
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

/* One pair on its way, or a probe. */
struct seeker {
	const struct sl_pair *pair;
	bool reject;                    /* its vector cannot be compared */
	struct sl_cosine_query *query;  /* NULL: not looked up */
	const struct sl_pair *drawn_by; /* of a probe; else NULL */
};

/* `vectors` has room for one more behind those of the queries so far. */
static void seek(const struct retrieve *r, struct seeker *s, struct sl_cosine_query *queries, size_t *count,
		 float *vectors)
{
	size_t dim = r->index.dim;
	float *vector = vectors + *count * dim;

	if (dim == 0 || !wanted(r, s->pair))
		return;
	s->reject = s->pair->vectors.context.size != dim * sizeof(float);
	if (s->reject)
		return;
	memcpy(vector, s->pair->vectors.context.data, dim * sizeof *vector);
	s->query = &queries[(*count)++];
	*s->query = (struct sl_cosine_query){ .vector = vector, .group = s->pair->group };
}

static void send(struct sl_task *task, const struct retrieve *r, const struct seeker *s)
{
	struct sl_pair p = *s->pair;
	char hex[SL_ID_HEX_SIZE];

	if (s->reject) {
		sl_reject(task, s->pair,
			  "vector: the context vector has %zu bytes, those of gold pairs have %zu: "
			  "replay this pair into step embed",
			  p.vectors.context.size, r->index.dim * sizeof(float));
		return;
	}
	p.exemplars = NULL; /* of an earlier pass */
	p.exemplar_count = 0;
	if (s->query)
		fill(task, &p, s->query);
	if (!r->keep_vectors)
		p.vectors.context = (struct sl_bytes){ 0 };
	if (s->drawn_by)
		sl_emit_because(task, RETRIEVED, &p, "probe: drawn by %s", sl_id_hex(s->drawn_by->id, hex));
	else
		sl_emit(task, RETRIEVED, &p);
}

static enum sl_verdict retrieve_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct retrieve *r = self;
	struct seeker *seekers = sl_alloc(task, 2 * batch->count * sizeof *seekers);
	struct sl_cosine_query *queries = sl_alloc(task, 2 * batch->count * sizeof *queries);
	size_t count = 0, query_count = 0;
	float *vectors;
	enum sl_verdict v = sl_asking_update(task, &r->asking, MODELS);

	if (v == SL_OK)
		v = update(task, r);
	if (v != SL_OK)
		return v;
	vectors = sl_alloc(task, 2 * batch->count * r->index.dim * sizeof *vectors);
	for (size_t i = 0; i < batch->count; i++) {
		const struct sl_pair *p = &batch->pairs[i];
		struct sl_pair *probe;

		seekers[count] = (struct seeker){ .pair = p };
		seek(r, &seekers[count++], queries, &query_count, vectors);
		if (!draws_probe(r, p))
			continue;
		probe = sl_alloc(task, sizeof *probe);
		v = make_probe(task, p, r->index.rows[draw_row(r, p->id)].id, probe);
		if (v != SL_OK)
			return v;
		seekers[count] = (struct seeker){ .pair = probe, .drawn_by = p };
		seek(r, &seekers[count++], queries, &query_count, vectors);
	}
	sl_cosine_top(&r->index, queries, query_count, (size_t)r->k, sl_task_arena(task));
	for (size_t i = 0; i < count; i++)
		send(task, r, &seekers[i]);
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
	.version = "3",
	.help = "the most similar gold pairs, as examples for the judge",
	.options = options,
	.ports = ports,
	.tables = tables,
	.self_size = sizeof(struct retrieve),
	.open = retrieve_open,
	.process = retrieve_process,
	.close = retrieve_close,
};
