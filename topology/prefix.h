/* prefix.h -- the examples of a training: prefixes of topics, each pair once.
 *
 * What is committed when a prefix is opened is fixed as its end, so that it can be read
 * as often as the trainer wants, also while the topics grow. Topics are changelogs by id: of several
 * records with one id the last one in its topic counts, a tombstone takes it away. One thread. */
#ifndef SL_PREFIX_H
#define SL_PREFIX_H

#include "engine.h"

struct sl_prefix {
	struct sl_runtime *rt;
	const int *topics;
	size_t topic_count;
	int64_t **ends;  /* per topic, per partition */
	int64_t records; /* ever committed to the topics when it was opened */
	/* id to the sequence number of its last record; open addressing */
	struct sl_id *ids;
	int64_t *last;
	size_t slots, used;
	/* where it stands */
	size_t topic;
	int32_t partition;
	int64_t sequence;
	struct sl_reader reader;
	bool reading;
	struct sl_arena arena;
	struct sl_pair pair;
	struct sl_error error;
	int64_t undecodable;
};

/* Fix the ends and index the last record of every id. Close it in any case. */
bool sl_prefix_open(struct sl_prefix *x, struct sl_runtime *rt, const int *topics, size_t count,
		    struct sl_error *e) SL_MUST_CHECK;
/* As struct sl_examples wants them (trainer/train.h); `arg` is the prefix. next() also ends at an error: x->error. */
void sl_prefix_rewind(void *arg);
bool sl_prefix_next(void *arg, const struct sl_pair **pair);
void sl_prefix_close(struct sl_prefix *x);
/* {"offsets": {"pairs.gold": [12, 8]}, "records": 20, "reason": "..."}, from malloc. */
char *sl_prefix_json(const struct sl_prefix *x, const char *reason);

#endif
