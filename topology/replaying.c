/* replaying.c -- see replaying.h. */
#include "replaying.h"

#include "../schemas/codec.h"

#include <inttypes.h>

void sl_replay_record(const struct sl_replay *r, struct sl_pair *p, int32_t partition, int64_t offset, int64_t time_ms,
		      struct sl_arena *a, struct sl_buf *value, struct sl_record *to)
{
	struct sl_trail *trail = sl_arena_alloc(a, (p->trail_count + 1) * sizeof *trail);
	int64_t pass = 0;

	for (size_t i = 0; i < p->trail_count; i++) {
		trail[i] = p->trail[i];
		pass = trail[i].pass > pass ? trail[i].pass : pass;
	}
	trail[p->trail_count] = (struct sl_trail){
		.step = sl_text("replay"),
		.outcome = sl_text(r->into),
		.reason = sl_text(sl_arena_print(a, "replay: from %s partition %d offset %" PRId64,
						 r->topology->topics[r->from].name, (int)partition, offset)),
		.pass = pass + 1,
	};
	p->trail = trail;
	p->trail_count++;
	sl_buf_clear(value);
	sl_pair_encode(p, value);
	*to = (struct sl_record){
		.time_ms = time_ms,
		.key = r->topology->topics[r->to].compacted ? sl_id_bytes(&p->id) : sl_id_bytes(&p->group),
		.value = sl_buf_bytes(value),
	};
}
