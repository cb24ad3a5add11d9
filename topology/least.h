/* least.h -- the N items with the smallest keys of any number of them: a heap with the largest kept key on
 * top, so that most items are refused by one comparison. Equal keys go by id: the result does not
 * depend on the order of adding. Zero-initialise, set `most`, then use; one owner. */
#ifndef SL_LEAST_H
#define SL_LEAST_H

#include "base/buf.h"
#include "base/hash.h"

struct sl_least_item {
	uint64_t key;
	struct sl_id id;
	struct sl_buf value;
};

struct sl_least {
	struct sl_least_item *at;
	size_t count, most; /* most: at least 1 */
};

/* Would it be among the N? */
bool sl_least_wants(const struct sl_least *x, uint64_t key, struct sl_id id);
/* Add what is wanted; fill the empty buffer that is returned before the next call. */
struct sl_buf *sl_least_add(struct sl_least *x, uint64_t key, struct sl_id id);
/* In order, the smallest first; nothing is added afterwards. */
void sl_least_sort(struct sl_least *x);
void sl_least_release(struct sl_least *x);

#endif
