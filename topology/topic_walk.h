/* topic_walk.h -- all committed records of a topic, partition after partition, through a
 * client. The ends are taken when the walk meets a partition first and kept: what is appended
 * meanwhile is not seen, also not by a second walk over the same ends. */
#ifndef SL_TOPIC_WALK_H
#define SL_TOPIC_WALK_H

#include "client.h"

struct sl_topic_walk {
	struct sl_client *client;
	int topic;
	int32_t partitions, partition; /* the partition of the record handed out */
	int64_t *ends;                 /* per partition; -1: not met yet */
	int64_t next;
	struct sl_buf frames;
	size_t at;
};

void sl_topic_walk_open(struct sl_topic_walk *w, struct sl_client *c, const struct sl_topology *t, int topic);
/* False at the end or on error (then e->verdict != SL_OK). Texts live until the next call. */
bool sl_topic_walk_next(struct sl_topic_walk *w, struct sl_record *record, struct sl_error *e);
/* Start again, over the same ends. */
void sl_topic_walk_rewind(struct sl_topic_walk *w);
void sl_topic_walk_close(struct sl_topic_walk *w);

/* --where KEY=VALUE, as export and replay know it. */
struct sl_where {
	struct sl_bytes key, value; /* absent key: everything */
};
/* `keys`: NULL-ended words that are allowed. */
bool sl_where_parse(const char *text, const char *const *keys, struct sl_where *where,
		    struct sl_error *e) SL_MUST_CHECK;
/* source, domain, step (of a trail line or dead letter), code (up to the colon of the last reason). */
bool sl_where_holds(const struct sl_where *where, const struct sl_pair *p, const struct sl_record *record);
/* The reason of a dead letter, else of the last trail line; absent if neither. */
struct sl_bytes sl_reason_of(const struct sl_pair *p, const struct sl_record *record);
/* "near-duplicate: of 12ab" is "near-duplicate". */
struct sl_bytes sl_code_of(struct sl_bytes reason);

#endif
