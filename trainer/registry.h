/* registry.h -- versions of the models in a data folder.
 *
 *     DIR/models/gold/1/   config.json, weights.bin     immutable, from 1
 *
 * Versions are folders; the aliases (champion, candidate, previous) live in the
 * `models` topic, whose latest record per name is the truth; this file only lists and
 * names folders. Promotion and rollback move aliases, nothing else. */
#ifndef SL_REGISTRY_H
#define SL_REGISTRY_H

#include "../schemas/codec.h"
#include "train.h"

/* "models/gold/7", relative to the data folder. */
void sl_registry_uri(const char *name, int64_t version, char *to, size_t to_size);
/* The highest version on disk, 0 if none. */
int64_t sl_registry_latest(const char *data_folder, const char *name);
/* Versions on disk in rising order; returns the count, *versions from malloc. */
size_t sl_registry_list(const char *data_folder, const char *name, int64_t **versions);
/* Fill uri, sha256, size_bytes and report of an announcement from the folder. Texts in `a`. */
bool sl_registry_describe(const char *data_folder, const char *name, int64_t version, struct sl_arena *a,
			  struct sl_model_record *m, struct sl_error *e) SL_MUST_CHECK;

#endif
