/* plan.c -- compiling a writer's schema, parsed by Avro C, into a plan (plan.h).
 *
 * Names are matched, types are checked: what can never fit is an error here,
 * before any record is read. Schemas come from registries, so depth and the
 * number of nodes have limits, and a type that is only skipped is compiled once
 * however often it is named. A plan is constant once built. */
#include "plan.h"

#include <stdlib.h>

/* Types that were compiled for skipping, by identity: a schema may refer to
 * itself, and then the plan does too. */
struct known {
	avro_schema_t schema;
	struct sl_node *node;
	struct known *next;
};

struct compiler {
	struct sl_decoder *d;
	struct known *known;
	size_t node_count;
	struct sl_error *e;
};

static bool fits(enum sl_wire wire, const struct sl_field *f)
{
	switch (f->kind) {
	case SL_FIELD_ID:
	case SL_FIELD_STRING:
	case SL_FIELD_TEXT:
	case SL_FIELD_NOTE:
	case SL_FIELD_BYTES:
		return wire == SL_WIRE_BYTES || wire == SL_WIRE_NOTHING;
	case SL_FIELD_LONG:
		return wire == SL_WIRE_LONG || wire == SL_WIRE_NOTHING;
	case SL_FIELD_DOUBLE:
		return wire == SL_WIRE_DOUBLE || wire == SL_WIRE_FLOAT || wire == SL_WIRE_LONG ||
		       wire == SL_WIRE_NOTHING;
	case SL_FIELD_BOOL:
		return wire == SL_WIRE_BOOLEAN || wire == SL_WIRE_NOTHING;
	case SL_FIELD_SECTION:
		return wire == SL_WIRE_RECORD || wire == SL_WIRE_NOTHING;
	case SL_FIELD_ARRAY:
		return wire == SL_WIRE_ARRAY || wire == SL_WIRE_NOTHING;
	}
	return false;
}

const char *sl_field_expects(const struct sl_field *f)
{
	static const char *const names[] = {
		[SL_FIELD_ID] = "a string of 32 hex digits", [SL_FIELD_STRING] = "a string",
		[SL_FIELD_TEXT] = "a string or null",        [SL_FIELD_NOTE] = "a string or null",
		[SL_FIELD_BYTES] = "bytes or null",          [SL_FIELD_LONG] = "a long",
		[SL_FIELD_DOUBLE] = "a double or null",      [SL_FIELD_BOOL] = "a boolean",
		[SL_FIELD_SECTION] = "a record or null",     [SL_FIELD_ARRAY] = "an array of records",
	};

	return names[f->kind];
}

static enum sl_wire wire_of(avro_schema_t schema)
{
	switch (avro_typeof(schema)) {
	case AVRO_NULL:
		return SL_WIRE_NOTHING;
	case AVRO_BOOLEAN:
		return SL_WIRE_BOOLEAN;
	case AVRO_INT32:
	case AVRO_INT64:
	case AVRO_ENUM:
		return SL_WIRE_LONG;
	case AVRO_FLOAT:
		return SL_WIRE_FLOAT;
	case AVRO_DOUBLE:
		return SL_WIRE_DOUBLE;
	case AVRO_STRING:
	case AVRO_BYTES:
		return SL_WIRE_BYTES;
	case AVRO_FIXED:
		return SL_WIRE_FIXED;
	case AVRO_RECORD:
		return SL_WIRE_RECORD;
	case AVRO_ARRAY:
		return SL_WIRE_ARRAY;
	case AVRO_MAP:
		return SL_WIRE_MAP;
	case AVRO_UNION:
		return SL_WIRE_UNION;
	case AVRO_LINK:
		break; /* resolved by the caller */
	}
	return SL_WIRE_MISMATCH;
}

static const struct sl_node *compile(struct compiler *c, avro_schema_t schema, const struct sl_field *target,
				     const struct sl_record_type *record, int depth);

static const struct sl_field *field_named(const struct sl_record_type *r, const char *name)
{
	for (size_t i = 0; r && i < r->field_count; i++)
		if (strcmp(r->fields[i].name, name) == 0)
			return &r->fields[i];
	return NULL;
}

static bool compile_record(struct compiler *c, struct sl_node *n, avro_schema_t schema,
			   const struct sl_record_type *record, int depth)
{
	n->inner_count = avro_schema_record_size(schema);
	n->inner = sl_arena_alloc(&c->d->nodes, n->inner_count * sizeof *n->inner);
	for (size_t i = 0; i < n->inner_count; i++) {
		const char *name = avro_schema_record_field_name(schema, (int)i);

		n->inner[i] = compile(c, avro_schema_record_field_get_by_index(schema, (int)i),
				      field_named(record, name), NULL, depth + 1);
		if (!n->inner[i])
			return sl_error_in(c->e, "field '%.80s'", name);
	}
	return true;
}

static bool compile_union(struct compiler *c, struct sl_node *n, avro_schema_t schema, int depth)
{
	n->inner_count = avro_schema_union_size(schema);
	n->inner = sl_arena_alloc(&c->d->nodes, n->inner_count * sizeof *n->inner);
	for (size_t i = 0; i < n->inner_count; i++) {
		avro_schema_t branch = avro_schema_union_branch(schema, (int)i);
		avro_schema_t real = avro_typeof(branch) == AVRO_LINK ? avro_schema_link_target(branch) : branch;

		if (n->target && (avro_typeof(real) == AVRO_ENUM || !fits(wire_of(real), n->target))) {
			struct sl_node *mismatch = sl_arena_zalloc(&c->d->nodes, sizeof *mismatch);

			*mismatch = (struct sl_node){ .wire = SL_WIRE_MISMATCH,
						      .target = n->target,
						      .type = avro_schema_type_name(real) };
			n->inner[i] = mismatch;
			continue;
		}
		n->inner[i] = compile(c, branch, n->target, NULL, depth + 1);
		if (!n->inner[i])
			return false;
	}
	return true;
}

static bool compile_entries(struct compiler *c, struct sl_node *n, avro_schema_t schema, int depth)
{
	bool map = n->wire == SL_WIRE_MAP;
	const struct sl_record_type *record = n->target ? n->target->record : NULL;
	avro_schema_t inner = map ? avro_schema_map_values(schema) : avro_schema_array_items(schema);
	avro_schema_t real = avro_typeof(inner) == AVRO_LINK ? avro_schema_link_target(inner) : inner;

	if (record && avro_typeof(real) != AVRO_RECORD)
		return sl_error_set(c->e, SL_STOP, "its items are of type '%s', expected records",
				    avro_schema_type_name(real));
	n->inner = sl_arena_alloc(&c->d->nodes, sizeof *n->inner);
	n->inner_count = 1;
	n->inner[0] = compile(c, inner, NULL, record, depth + 1);
	if (!n->inner[0])
		return false;
	n->entry = n->inner[0]->least + map;
	if (n->entry == 0)
		n->target = NULL; /* items without bytes say nothing; never loop over them */
	return true;
}

/* The children are known already. */
static size_t least_size(const struct sl_node *n)
{
	size_t size = 0;

	switch (n->wire) {
	case SL_WIRE_NOTHING:
		return 0;
	case SL_WIRE_FLOAT:
		return 4;
	case SL_WIRE_DOUBLE:
		return 8;
	case SL_WIRE_FIXED:
		return n->fixed_size;
	case SL_WIRE_RECORD:
		for (size_t i = 0; i < n->inner_count && size < SIZE_MAX / 4; i++)
			size += n->inner[i]->least;
		return size;
	default:
		return 1; /* a branch, a count or a length comes first */
	}
}

/* `target` is where the value goes, `record` the table of a record that is the
 * root or an array's item; both NULL: skip. */
static const struct sl_node *compile(struct compiler *c, avro_schema_t schema, const struct sl_field *target,
				     const struct sl_record_type *record, int depth)
{
	bool skip = !target && !record, ok = true;
	struct sl_node *n;

	if (avro_typeof(schema) == AVRO_LINK)
		schema = avro_schema_link_target(schema);
	for (const struct known *k = c->known; skip && k; k = k->next)
		if (k->schema == schema)
			return k->node;
	if (depth > SL_PLAN_DEPTH_MAX || ++c->node_count > SL_PLAN_NODES_MAX) {
		sl_error_set(c->e, SL_STOP, "the writer's schema is too large: at most %d levels and %d types",
			     SL_PLAN_DEPTH_MAX, SL_PLAN_NODES_MAX);
		return NULL;
	}

	n = sl_arena_zalloc(&c->d->nodes, sizeof *n);
	n->wire = wire_of(schema);
	n->target = target;
	n->type = avro_schema_type_name(schema);
	n->least = 1; /* what a type that holds itself sees of itself */
	if (target && n->wire != SL_WIRE_UNION && (avro_typeof(schema) == AVRO_ENUM || !fits(n->wire, target))) {
		sl_error_set(c->e, SL_STOP, "the writer's type is '%.80s', expected %s", n->type,
			     sl_field_expects(target));
		return NULL;
	}
	if (skip && n->wire == SL_WIRE_RECORD) {
		struct known *k = sl_arena_alloc(&c->d->nodes, sizeof *k);

		*k = (struct known){ schema, n, c->known };
		c->known = k;
	}
	if (n->wire == SL_WIRE_FIXED)
		n->fixed_size = (size_t)avro_schema_fixed_size(schema);
	else if (n->wire == SL_WIRE_RECORD)
		ok = compile_record(c, n, schema, target ? target->record : record, depth);
	else if (n->wire == SL_WIRE_UNION)
		ok = compile_union(c, n, schema, depth);
	else if (n->wire == SL_WIRE_ARRAY || n->wire == SL_WIRE_MAP)
		ok = compile_entries(c, n, schema, depth);
	if (!ok)
		return NULL;
	n->least = least_size(n);
	return n;
}

static bool is_model(avro_schema_t schema)
{
	const char *space = avro_schema_namespace(schema);

	return strcmp(avro_schema_name(schema), sl_record_model.name) == 0 && space && strcmp(space, "sluice") == 0;
}

struct sl_decoder *sl_plan_new(const char *json, struct sl_error *e)
{
	struct sl_decoder *d = sl_calloc(1, sizeof *d);
	struct compiler c = { .d = d, .e = e };

	if (avro_schema_from_json_length(json, strlen(json), &d->schema)) {
		d->schema = NULL;
		sl_error_set(e, SL_STOP, "the writer's schema cannot be parsed: %.300s", avro_strerror());
	} else if (avro_typeof(d->schema) != AVRO_RECORD) {
		sl_error_set(e, SL_STOP, "the writer's schema is of type '%s', expected a record",
			     avro_schema_type_name(d->schema));
	} else {
		d->record = is_model(d->schema) ? &sl_record_model : &sl_record_pair;
		d->root = compile(&c, d->schema, NULL, d->record, 0);
	}
	if (d->root)
		return d;
	sl_decoder_free(d);
	return NULL;
}

void sl_decoder_free(struct sl_decoder *d)
{
	if (!d)
		return;
	if (d->schema)
		avro_schema_decref(d->schema);
	sl_arena_release(&d->nodes);
	free(d);
}
