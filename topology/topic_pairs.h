/* topic_pairs.h -- the pairs of a topic that count, through a client.
 *
 * Topics with decisions are changelogs: a decision may be taken again, and a tombstone
 * retracts one. So there are two walks over the same records: the first notes which
 * record of each id counts, the second hands those out, in topic order. Tables count by
 * key in the same way. Everything else counts as it stands, copies included. */
#ifndef SL_TOPIC_PAIRS_H
#define SL_TOPIC_PAIRS_H

#include "../schemas/codec.h"
#include "topic_walk.h"

struct sl_topic_pairs {
	struct sl_topic_walk walk;
	const struct sl_topic *topic;
	bool skip_malformed; /* instead of an error: what a step makes dead letters of */
	struct sl_latest *slots;
	size_t capacity, count; /* open addressing, at most half full */
	bool indexed;
	struct sl_arena arena;
};

void sl_topic_pairs_open(struct sl_topic_pairs *x, struct sl_client *c, const struct sl_topology *t, int topic);
/* False at the end or on error (then e->verdict != SL_OK). Record and pair live until the next call. */
bool sl_topic_pairs_next(struct sl_topic_pairs *x, struct sl_record *record, struct sl_pair *pair, struct sl_error *e);
/* Start again, over the same records. */
void sl_topic_pairs_rewind(struct sl_topic_pairs *x);
void sl_topic_pairs_close(struct sl_topic_pairs *x);

#endif
