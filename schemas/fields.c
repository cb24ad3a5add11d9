/* fields.c -- the structs of pair.h and codec.h as tables, in the order of
 * pair.avsc and model.avsc. A test holds both sides together: add a field to
 * the struct, the .avsc and here, or it fails. Constant data, any thread. */
#include "fields.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define FIELD(s, f, k)                                                                                                 \
	{                                                                                                              \
		.name = #f, .kind = SL_FIELD_##k, .offset = offsetof(struct s, f), .other = SL_NO_FLAG                 \
	}
#define LONG_ELSE(s, f, value)                                                                                         \
	{                                                                                                              \
		.name = #f, .kind = SL_FIELD_LONG, .offset = offsetof(struct s, f), .other = SL_NO_FLAG,               \
		.absent = (value)                                                                                      \
	}
#define SECTION(s, f, r)                                                                                               \
	{                                                                                                              \
		.name = #f, .kind = SL_FIELD_SECTION, .offset = offsetof(struct s, f),                                 \
		.other = offsetof(struct s, f.present), .record = &(r)                                                 \
	}
#define PLAIN_SECTION(s, f, r)                                                                                         \
	{                                                                                                              \
		.name = #f, .kind = SL_FIELD_SECTION, .offset = offsetof(struct s, f), .other = SL_NO_FLAG,            \
		.record = &(r)                                                                                         \
	}
#define ARRAY(s, f, at, count, r)                                                                                      \
	{                                                                                                              \
		.name = #f, .kind = SL_FIELD_ARRAY, .offset = offsetof(struct s, at),                                  \
		.other = offsetof(struct s, count), .record = &(r)                                                     \
	}
#define RECORD(n, s, f)                                                                                                \
	{                                                                                                              \
		.name = (n), .size = sizeof(struct s), .fields = (f), .field_count = COUNT(f)                          \
	}

static const struct sl_field message_fields[] = {
	FIELD(sl_message, role, STRING),
	FIELD(sl_message, content, STRING),
	FIELD(sl_message, extra, TEXT),
};
static const struct sl_record_type message = RECORD("Message", sl_message, message_fields);

static const struct sl_field arrival_fields[] = {
	FIELD(sl_arrival, file, TEXT),  FIELD(sl_arrival, line, LONG),        FIELD(sl_arrival, item, LONG),
	FIELD(sl_arrival, topic, TEXT), LONG_ELSE(sl_arrival, partition, -1), LONG_ELSE(sl_arrival, offset, -1),
};
static const struct sl_record_type arrival = RECORD("Arrival", sl_arrival, arrival_fields);

static const struct sl_field gold_fields[] = {
	FIELD(sl_gold, verdict, TEXT),
	FIELD(sl_gold, sample, TEXT),
	FIELD(sl_gold, label_arrived, TEXT),
	FIELD(sl_gold, sequence, LONG),
};
static const struct sl_record_type gold = RECORD("Gold", sl_gold, gold_fields);

static const struct sl_field attributes_fields[] = {
	FIELD(sl_attributes, category, TEXT),         FIELD(sl_attributes, objectivity, TEXT),
	FIELD(sl_attributes, controversiality, TEXT), FIELD(sl_attributes, desired, TEXT),
	FIELD(sl_attributes, guideline, TEXT),
};
static const struct sl_record_type attributes = RECORD("Attributes", sl_attributes, attributes_fields);

static const struct sl_field vectors_fields[] = {
	FIELD(sl_vectors, context, BYTES),
	FIELD(sl_vectors, difference, BYTES),
};
static const struct sl_record_type vectors = RECORD("Vectors", sl_vectors, vectors_fields);

static const struct sl_field exemplar_fields[] = {
	FIELD(sl_exemplar, id, ID),
	FIELD(sl_exemplar, similarity, DOUBLE),
	FIELD(sl_exemplar, label, NOTE),
	SECTION(sl_exemplar, attributes, attributes),
};
static const struct sl_record_type exemplar = RECORD("Exemplar", sl_exemplar, exemplar_fields);

static const struct sl_field score_fields[] = {
	FIELD(sl_score, model, NOTE),      FIELD(sl_score, version, LONG),       FIELD(sl_score, chosen, DOUBLE),
	FIELD(sl_score, rejected, DOUBLE), FIELD(sl_score, temperature, DOUBLE),
};
static const struct sl_record_type score = RECORD("Score", sl_score, score_fields);

static const struct sl_field vote_fields[] = {
	FIELD(sl_vote, judge, NOTE),         FIELD(sl_vote, order, NOTE),      FIELD(sl_vote, verdict, NOTE),
	FIELD(sl_vote, confidence, DOUBLE),  FIELD(sl_vote, difference, NOTE), FIELD(sl_vote, tokens, LONG),
	FIELD(sl_vote, micro_dollars, LONG), FIELD(sl_vote, sample, LONG),     FIELD(sl_vote, strength, NOTE),
	FIELD(sl_vote, outcome, NOTE),
};
static const struct sl_record_type vote = RECORD("Vote", sl_vote, vote_fields);

static const struct sl_field judgement_fields[] = {
	FIELD(sl_judgement, asked, BOOL),
	FIELD(sl_judgement, verdict, NOTE),
	ARRAY(sl_judgement, votes, votes, vote_count, vote),
	FIELD(sl_judgement, panel, NOTE),
	FIELD(sl_judgement, setting, NOTE),
	FIELD(sl_judgement, probe, LONG),
};
static const struct sl_record_type judgement = RECORD("Judgement", sl_judgement, judgement_fields);

static const struct sl_field decision_fields[] = {
	FIELD(sl_decision, action, NOTE),
	FIELD(sl_decision, why, NOTE),
	FIELD(sl_decision, p_label, DOUBLE),
	FIELD(sl_decision, revision, LONG),
};
static const struct sl_record_type decision = RECORD("Decision", sl_decision, decision_fields);

static const struct sl_field trail_fields[] = {
	FIELD(sl_trail, step, NOTE),    FIELD(sl_trail, version, NOTE), FIELD(sl_trail, tables, NOTE),
	FIELD(sl_trail, outcome, NOTE), FIELD(sl_trail, reason, NOTE),  FIELD(sl_trail, pass, LONG),
};
static const struct sl_record_type trail = RECORD("Trail", sl_trail, trail_fields);

static const struct sl_field pair_fields[] = {
	FIELD(sl_pair, id, ID),
	FIELD(sl_pair, pair_key, ID),
	FIELD(sl_pair, group, ID),
	PLAIN_SECTION(sl_pair, arrival, arrival),
	FIELD(sl_pair, time_ms, LONG),
	FIELD(sl_pair, source, TEXT),
	FIELD(sl_pair, domain, TEXT),
	ARRAY(sl_pair, prompt, prompt.at, prompt.count, message),
	ARRAY(sl_pair, chosen, chosen.at, chosen.count, message),
	ARRAY(sl_pair, rejected, rejected.at, rejected.count, message),
	FIELD(sl_pair, origin, TEXT),
	SECTION(sl_pair, gold, gold),
	FIELD(sl_pair, margin, DOUBLE),
	FIELD(sl_pair, meta, TEXT),
	FIELD(sl_pair, label_flipped, BOOL),
	SECTION(sl_pair, attributes, attributes),
	PLAIN_SECTION(sl_pair, vectors, vectors),
	ARRAY(sl_pair, exemplars, exemplars, exemplar_count, exemplar),
	ARRAY(sl_pair, scores, scores, score_count, score),
	SECTION(sl_pair, judgement, judgement),
	SECTION(sl_pair, decision, decision),
	ARRAY(sl_pair, trail, trail, trail_count, trail),
};
const struct sl_record_type sl_record_pair = RECORD("Pair", sl_pair, pair_fields);

static const struct sl_field model_fields[] = {
	FIELD(sl_model_record, name, NOTE),       FIELD(sl_model_record, version, LONG),
	FIELD(sl_model_record, uri, NOTE),        FIELD(sl_model_record, sha256, NOTE),
	FIELD(sl_model_record, size_bytes, LONG), FIELD(sl_model_record, sequence, LONG),
	FIELD(sl_model_record, candidate, LONG),  FIELD(sl_model_record, previous, LONG),
	FIELD(sl_model_record, reason, NOTE),     FIELD(sl_model_record, report, NOTE),
};
const struct sl_record_type sl_record_model = RECORD("Model", sl_model_record, model_fields);

void sl_record_init(const struct sl_record_type *r, void *base)
{
	memset(base, 0, r->size);
	for (size_t i = 0; i < r->field_count; i++) {
		const struct sl_field *f = &r->fields[i];
		void *at = (char *)base + f->offset;

		if (f->kind == SL_FIELD_LONG)
			*(int64_t *)at = f->absent;
		else if (f->kind == SL_FIELD_DOUBLE)
			*(double *)at = (double)NAN;
		else if (f->kind == SL_FIELD_SECTION)
			sl_record_init(f->record, at);
	}
}

static bool field_absent(const struct sl_field *f, const void *base)
{
	const void *at = (const char *)base + f->offset;

	switch (f->kind) {
	case SL_FIELD_ID:
		return sl_id_none(*(const struct sl_id *)at);
	case SL_FIELD_STRING:
		return ((const struct sl_bytes *)at)->size == 0;
	case SL_FIELD_TEXT:
	case SL_FIELD_NOTE:
	case SL_FIELD_BYTES:
		return !((const struct sl_bytes *)at)->data;
	case SL_FIELD_LONG:
		return *(const int64_t *)at == f->absent;
	case SL_FIELD_DOUBLE:
		return isnan(*(const double *)at);
	case SL_FIELD_BOOL:
		return !*(const bool *)at;
	case SL_FIELD_SECTION:
		return f->other == SL_NO_FLAG ? sl_record_absent(f->record, at)
					      : !*(const bool *)((const char *)base + f->other);
	case SL_FIELD_ARRAY:
		return *(const size_t *)((const char *)base + f->other) == 0;
	}
	return false;
}

bool sl_record_absent(const struct sl_record_type *r, const void *base)
{
	for (size_t i = 0; i < r->field_count; i++)
		if (!field_absent(&r->fields[i], base))
			return false;
	return true;
}
