/* replaying.h -- a pair that goes back into the input of a step: by hand (`sluice replay`), or because its questions
 * came back from a batch (redrive.h). Its trail gets one more line: step "replay", where it came from, and a pass
 * number one above its last. */
#ifndef SL_REPLAYING_H
#define SL_REPLAYING_H

#include "log.h"
#include "topology.h"

struct sl_replay {
	const struct sl_topology *topology;
	int from, to;     /* topics */
	const char *into; /* the step */
};

/* The record for r->to; its value is put into `value`, its key points into *p. The new trail is from `a`. */
void sl_replay_record(const struct sl_replay *r, struct sl_pair *p, int32_t partition, int64_t offset, int64_t time_ms,
		      struct sl_arena *a, struct sl_buf *value, struct sl_record *to);

#endif
