/* reader.c -- the committed records of one partition, in order, whatever the stream. */
#include "engine.h"

void sl_reader_open(struct sl_reader *r, struct sl_runtime *rt, int topic, int32_t partition, int64_t end)
{
	memset(r, 0, sizeof *r);
	r->rt = rt;
	r->topic = topic;
	r->partition = partition;
	r->end = end;
	r->cursor.offset = atomic_load(&rt->topics[topic].starts[partition]);
}

const struct sl_record *sl_reader_next(struct sl_reader *r, struct sl_error *e)
{
	if (r->at == r->count) {
		r->at = r->count = 0;
		if (r->cursor.offset >= r->end || !r->rt->stream->read(r, e) || r->count == 0)
			return NULL;
	}
	return &r->records[r->at++];
}

void sl_reader_close(struct sl_reader *r)
{
	r->rt->stream->read_end(r);
	sl_buf_release(&r->bytes);
}
