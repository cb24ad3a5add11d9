/* registry.h -- a client of a Confluent Schema Registry: ids to schemas and back.
 *
 * An id never changes its schema, so what was found is kept for ever; what was not found is
 * asked again after a second, so that a broken producer does not flood the registry.
 *
 * Threads: any; calls block for the time of an HTTP request (at most the timeout). */
#ifndef SL_SCHEMA_REGISTRY_H
#define SL_SCHEMA_REGISTRY_H

#include "../schemas/codec.h"

struct sl_registry;

struct sl_registry_options {
	const char *url, *user, *password, *ca; /* user, password, ca (a PEM file): NULL none */
	int64_t timeout_ms;                     /* of a request; 0: 10 s */
};

struct sl_registry *sl_registry_open(const struct sl_registry_options *options, struct sl_error *e) SL_MUST_CHECK;
void sl_registry_close(struct sl_registry *r);

/* Register `schema_json` under `subject` with compatibility FULL_TRANSITIVE (set on the subject when it is
 * new or has another level) and give its id. An incompatible schema is SL_STOP with the registry's
 * words; a registry that cannot be reached is SL_RETRY and names the url. */
bool sl_registry_register(struct sl_registry *r, const char *subject, const char *schema_json, int32_t *id,
			  struct sl_error *e) SL_MUST_CHECK;
/* The decoder for values written with schema `id`; lives as long as the registry client. An id that
 * does not exist is SL_STOP, a registry that cannot be reached SL_RETRY. */
const struct sl_decoder *sl_registry_decoder(struct sl_registry *r, int32_t id, struct sl_error *e) SL_MUST_CHECK;

#endif
