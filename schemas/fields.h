/* fields.h -- the tables behind encode.c and decode.c: one row per field of each
 * record, in the order of the .avsc. Private to schemas/ and its tests. */
#ifndef SL_FIELDS_H
#define SL_FIELDS_H

#include "codec.h"

/*	kind		in C			in Avro				absent
 *	ID		struct sl_id		string of 32 hex digits		"", all zero
 *	STRING		struct sl_bytes		string				""
 *	TEXT		struct sl_bytes		null or string			null, data == NULL
 *	NOTE		as TEXT, written by our own steps: UTF-8 is not checked again
 *	BYTES		struct sl_bytes		null or bytes			null, data == NULL
 *	LONG		int64_t			long				`absent`
 *	DOUBLE		double			null or double			null, NaN
 *	BOOL		bool			boolean				false
 *	SECTION		struct of `record`	null or record			null, all fields absent
 *	ARRAY		pointer and count	array of records		[], count == 0
 * `other` is the offset of an array's count, or of a section's `present` flag;
 * a section without a flag (SL_NO_FLAG) is absent when all its fields are. */
enum sl_field_kind {
	SL_FIELD_ID,
	SL_FIELD_STRING,
	SL_FIELD_TEXT,
	SL_FIELD_NOTE,
	SL_FIELD_BYTES,
	SL_FIELD_LONG,
	SL_FIELD_DOUBLE,
	SL_FIELD_BOOL,
	SL_FIELD_SECTION,
	SL_FIELD_ARRAY,
};

#define SL_NO_FLAG SIZE_MAX

struct sl_field {
	const char *name;
	enum sl_field_kind kind;
	size_t offset;
	size_t other;
	const struct sl_record_type *record; /* of a section or an array's items */
	int64_t absent;
};

struct sl_record_type {
	const char *name; /* of the Avro record */
	size_t size;      /* of the struct */
	const struct sl_field *fields;
	size_t field_count;
};

extern const struct sl_record_type sl_record_pair;  /* struct sl_pair */
extern const struct sl_record_type sl_record_model; /* struct sl_model_record */

/* Zero the struct and set the absent values that are not zero. */
void sl_record_init(const struct sl_record_type *r, void *base);
/* Every field is absent. */
bool sl_record_absent(const struct sl_record_type *r, const void *base);

#endif
