/* id_map.h -- pair ids to small integers: the rows of an index, the slots of a
 * cache. Open addressing with linear probes; an id is a hash already, so its
 * first bytes are the place to look. Zero-initialise, then use; one owner. */
#ifndef SL_ID_MAP_H
#define SL_ID_MAP_H

#include "../topology/base/hash.h"

struct sl_id_map {
	struct sl_id_map_cell {
		struct sl_id id;
		uint32_t value_plus_1; /* 0: empty */
	} * cells;
	size_t room; /* a power of two, or 0 */
	size_t count;
};

/* False when the id is not there. */
bool sl_id_map_get(const struct sl_id_map *m, struct sl_id id, uint32_t *value);
/* Adds or replaces. value < UINT32_MAX. */
void sl_id_map_put(struct sl_id_map *m, struct sl_id id, uint32_t value);
void sl_id_map_remove(struct sl_id_map *m, struct sl_id id);
void sl_id_map_clear(struct sl_id_map *m); /* keep the memory */
void sl_id_map_release(struct sl_id_map *m);

#endif
