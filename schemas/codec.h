/* codec.h -- pairs and model announcements to and from Avro bytes.
 *
 * One table per record type (fields.c: name, kind, offset) drives the encoder,
 * the decoder and the test that holds the tables against pair.avsc. A record
 * is written as Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint
 * of the writer's schema (little-endian), the body.
 *
 * The decoder is compiled from the *writer's* schema: fields are matched by
 * name, missing ones take their default, unknown ones are skipped, int widens
 * to long, float to double, string and bytes are exchangeable. It is bounded:
 * every length is checked against the bytes left and every array count against
 * what those bytes could hold, so hostile input is an error, never a crash. */
#ifndef SL_CODEC_H
#define SL_CODEC_H

#include "../topology/base/buf.h"
#include "pair.h"

/* A version of a model, announced in the `models` topic, keyed by name. */
struct sl_model_record {
	struct sl_bytes name;   /* gold, best, final */
	int64_t version;        /* the champion's; from 1; 0: announced absent, go on without */
	struct sl_bytes uri;    /* folder of the champion, relative to the data folder, or absolute */
	struct sl_bytes sha256; /* of its weights */
	int64_t size_bytes;
	int64_t sequence;            /* one more for every announcement of this name */
	int64_t candidate, previous; /* the other aliases; 0 none */
	struct sl_bytes reason;      /* "trained: 1000 new pairs", "rolled back by hand" */
	struct sl_bytes report;      /* JSON: accuracy with interval, baselines, counts */
};

extern const char sl_pair_schema_json[];  /* schemas/pair.avsc, compiled in */
extern const char sl_model_schema_json[]; /* schemas/model.avsc */
/* schemas/released/: every schema that a release ever wrote with, NULL at the end. Records of all of them are read. */
extern const char *const sl_released_schemas[];

/* Appends one single-object record. Deterministic: equal pairs, equal bytes. */
void sl_pair_encode(const struct sl_pair *p, struct sl_buf *to);
void sl_model_encode(const struct sl_model_record *m, struct sl_buf *to);

/* Decode one record. Texts point into `record`, arrays into `a`. The error
 * names the field and what was expected. Thread-safe. */
bool sl_pair_decode(struct sl_bytes record, struct sl_arena *a, struct sl_pair *p, struct sl_error *e) SL_MUST_CHECK;
bool sl_model_decode(struct sl_bytes record, struct sl_arena *a, struct sl_model_record *m,
		     struct sl_error *e) SL_MUST_CHECK;

/* The schema of a single-object record, where it is today's or a released one; NULL: it is not. */
const char *sl_object_schema(struct sl_bytes object);

/* A decoder for bodies written with another schema (a registry's, an older
 * release's): no single-object header. A writer's record 'sluice.Model' is a model
 * announcement, any other a pair. NULL on failure. */
struct sl_decoder;
struct sl_decoder *sl_decoder_new(const char *writer_schema_json, struct sl_error *e) SL_MUST_CHECK;
bool sl_decoder_pair(const struct sl_decoder *d, struct sl_bytes body, struct sl_arena *a, struct sl_pair *p,
		     struct sl_error *e) SL_MUST_CHECK;
/* The same record, pair or model announcement, as single-object encoding with today's schema, appended. */
bool sl_decoder_object(const struct sl_decoder *d, struct sl_bytes body, struct sl_arena *a, struct sl_buf *to,
		       struct sl_error *e) SL_MUST_CHECK;
void sl_decoder_free(struct sl_decoder *d);

/* CRC-64-AVRO of the Parsing Canonical Form of a schema. */
bool sl_avro_fingerprint(const char *schema_json, uint64_t *fingerprint, struct sl_error *e) SL_MUST_CHECK;

/* An Avro object container file of pairs. */
struct sl_container;
struct sl_container *sl_container_new(const char *path, struct sl_error *e) SL_MUST_CHECK;
bool sl_container_add(struct sl_container *c, const struct sl_pair *p, struct sl_error *e) SL_MUST_CHECK;
bool sl_container_close(struct sl_container *c, struct sl_error *e) SL_MUST_CHECK; /* frees in any case */

#endif
