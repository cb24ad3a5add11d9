/* plan.h -- how to read the bytes of one writer's schema: made by plan.c, followed
 * by decode.c. Private to schemas/.
 *
 * A plan is a tree of nodes: every node says what lies in the bytes (long, string,
 * union ...) and, when a field of ours has that name, where it goes. Nodes without
 * a target are stepped over. Fields of ours that the writer does not have keep the
 * absent values that the struct was initialised with.
 *
 *     writer's record { time_ms: long, note: string, margin: [null, double] }
 *     plan              LONG -> time_ms, BYTES (skip), UNION { NULL, DOUBLE -> margin }
 *
 * A schema may refer to itself; then the part of the plan that skips it does too. */
#ifndef SL_PLAN_H
#define SL_PLAN_H

#include "fields.h"

#include <avro.h>

enum { SL_PLAN_DEPTH_MAX = 64, SL_PLAN_NODES_MAX = 65536 };

/* What the bytes of a node hold. MISMATCH stands for a union branch that our
 * field cannot take: an error if a record really uses it. */
enum sl_wire {
	SL_WIRE_NOTHING,
	SL_WIRE_BOOLEAN,
	SL_WIRE_LONG,
	SL_WIRE_FLOAT,
	SL_WIRE_DOUBLE,
	SL_WIRE_BYTES,
	SL_WIRE_FIXED,
	SL_WIRE_RECORD,
	SL_WIRE_ARRAY,
	SL_WIRE_MAP,
	SL_WIRE_UNION,
	SL_WIRE_MISMATCH,
};

struct sl_node {
	enum sl_wire wire;
	const struct sl_field *target; /* NULL: skip */
	const struct sl_node **inner;  /* fields, branches; one for items or values */
	size_t inner_count;
	size_t fixed_size;
	size_t least;     /* the fewest bytes a value takes; 0: every value takes none */
	size_t entry;     /* the same for an entry of an array or map */
	const char *type; /* the writer's, for messages; owned by the parsed schema */
};

struct sl_decoder {
	struct sl_arena nodes;
	avro_schema_t schema;
	const struct sl_node *root;
	const struct sl_record_type *record;
};

/* A decoder of a writer's record; its name says into which struct (codec.h). NULL on failure. */
struct sl_decoder *sl_plan_new(const char *writer_schema_json, struct sl_error *e);
/* What a field of ours takes, for messages: "a double or null". */
const char *sl_field_expects(const struct sl_field *f);

#endif
