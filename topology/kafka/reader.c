/* reader.c -- committed records for commands, trainings and exports: struct sl_reader on brokers.
 *
 * A reader is a tail (tail.c) on one partition, read_committed, up to an end that was a last stable offset.
 * Values come out single-object encoded, as everything above expects them. A consumer costs threads, connections and
 * a round trip until its first record, so two idle ones are kept; who goes on where one stands
 * (an export fetches piece by piece) finds the next records there already.
 *
 * Threads: any; a reader belongs to one. */
#include "kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define PATIENCE_NS INT64_C(60000000000) /* without a record or a step forward */
#define BATCH_BYTES (256u << 10)

struct source {
	struct sl_tail *tail;
	int64_t at; /* where the tail stands; -1: nowhere */
};

/* -- tails at hand ------------------------------------------------------------------------- */

/* The one that stands where a reader wants to go on, else any; at -1 unless it stands there. */
static struct source take(struct sl_kafka *k, int topic, int32_t partition, int64_t offset)
{
	struct source s = { .at = -1 };
	struct sl_idle_tail *best = NULL;

	sl_lock(&k->lock);
	for (size_t i = 0; i < sizeof k->idle / sizeof *k->idle; i++) {
		struct sl_idle_tail *one = &k->idle[i];
		bool there = one->topic == topic && one->partition == partition && one->at == offset;

		if (one->tail && (there || !best))
			best = one;
		if (one->tail && there)
			s.at = offset;
	}
	if (best) {
		s.tail = best->tail;
		best->tail = NULL;
	}
	sl_unlock(&k->lock);
	return s;
}

static void give(struct sl_kafka *k, int topic, int32_t partition, const struct source *s)
{
	struct sl_tail *t = s->tail;

	sl_lock(&k->lock);
	for (size_t i = 0; i < sizeof k->idle / sizeof *k->idle && t; i++) {
		if (k->idle[i].tail)
			continue;
		k->idle[i] = (struct sl_idle_tail){ t, topic, partition, s->at };
		t = NULL;
	}
	sl_unlock(&k->lock);
	sl_tail_close(t);
}

void sl_kafka_readers_close(struct sl_kafka *k)
{
	for (size_t i = 0; i < sizeof k->idle / sizeof *k->idle; i++) {
		sl_tail_close(k->idle[i].tail);
		k->idle[i].tail = NULL;
	}
}

/* -- one reader ------------------------------------------------------------------------------ */

/* A source whose tail stands at the cursor. */
static struct source *placed(struct sl_reader *r, struct sl_error *e)
{
	struct sl_kafka *k = r->rt->kafka;
	struct sl_tail_part part = { k->names[r->topic], r->partition, r->cursor.offset };
	struct source *s = r->source;

	if (!s) {
		s = sl_malloc(sizeof *s);
		*s = take(k, r->topic, r->partition, r->cursor.offset);
		r->source = s;
	}
	if (s->at == r->cursor.offset)
		return s;
	s->at = -1;
	if (s->tail && !sl_tail_move(s->tail, &part, e))
		return NULL;
	if (!s->tail)
		s->tail = sl_tail_open(k, &part, 1, e);
	if (!s->tail)
		return NULL;
	s->at = r->cursor.offset;
	return s;
}

static int64_t header_number(struct sl_bytes headers, const char *name)
{
	struct sl_bytes text = sl_header_find(headers, name);
	char copy[24] = "";

	if (text.data && text.size < sizeof copy)
		memcpy(copy, text.data, text.size);
	return strtoll(copy, NULL, 10);
}

/* Single-object encoded. A dead letter is read as what it was: a record of the topic that it came from. */
static bool inside(struct sl_reader *r, const struct sl_record *record, struct sl_buf *value, struct sl_error *e)
{
	struct sl_kafka *k = r->rt->kafka;
	struct sl_values_from from = { k->names[r->topic], r->partition, r->topic == r->rt->topology->entry };
	struct sl_bytes origin = sl_header_find(record->headers, "__connect.errors.topic");
	struct sl_record as = *record;

	if (sl_is(origin, r->rt->topology->topics[r->rt->topology->entry].name)) {
		from.topic = k->names[r->rt->topology->entry];
		from.partition = (int32_t)header_number(record->headers, "__connect.errors.partition");
		from.entry = true;
		as.offset = header_number(record->headers, "__connect.errors.offset");
	}
	return sl_values_inside(k->values, &from, &as, value, e);
}

static bool add(struct sl_reader *r, const struct sl_record *record, struct sl_buf *value, struct sl_error *e)
{
	struct sl_record as = *record;

	if (record->value.data) {
		sl_buf_clear(value);
		if (!inside(r, record, value, e))
			return false;
		as.value = value->size ? sl_buf_bytes(value) : (struct sl_bytes){ "", 0 };
	}
	sl_frames_add(&r->bytes, &as);
	r->count++;
	return true;
}

/* Records into r->bytes, as frames. */
static bool fill(struct sl_reader *r, struct source *s, struct sl_buf *value, struct sl_error *e)
{
	int64_t moved_ns = sl_monotonic_ns(), position;
	struct sl_record record;
	size_t which;

	while (r->count < sizeof r->records / sizeof *r->records && r->bytes.size < BATCH_BYTES &&
	       r->cursor.offset < r->end) {
		switch (sl_tail_next(s->tail, r->count ? 0 : 100, &which, &record, e)) {
		case SL_TAIL_RECORD:
			s->at = record.offset + 1;
			if (record.offset >= r->end) {
				r->cursor.offset = r->end; /* this one is for who comes later, from elsewhere */
				break;
			}
			if (!add(r, &record, value, e))
				return false;
			r->cursor.offset = s->at;
			break;
		case SL_TAIL_NOTHING:
			if (r->count)
				return true;
			position = sl_tail_position(s->tail, 0);
			if (position > r->cursor.offset) { /* past control and aborted records */
				r->cursor.offset = s->at = position;
				moved_ns = sl_monotonic_ns();
			}
			if (atomic_load(&r->rt->stop))
				return sl_error_set(e, SL_RETRY, "stopped while reading topic '%s'",
						    r->rt->kafka->names[r->topic]);
			if (sl_monotonic_ns() - moved_ns > PATIENCE_NS)
				return sl_error_set(e, SL_RETRY,
						    "nothing came from topic '%s' partition %d at offset %" PRId64
						    " for %d s, and its end is %" PRId64
						    ": look at the brokers, then try again",
						    r->rt->kafka->names[r->topic], (int)r->partition, r->cursor.offset,
						    (int)(PATIENCE_NS / 1000000000), r->end);
			break;
		case SL_TAIL_FAILED:
			return false;
		}
	}
	return true;
}

bool sl_kafka_read(struct sl_reader *r, struct sl_error *e)
{
	struct source *s = placed(r, e);
	int64_t began = r->cursor.offset;
	struct sl_buf value = { 0 };
	size_t at = 0;
	bool done;

	r->count = 0;
	sl_buf_clear(&r->bytes);
	if (!s)
		return false;
	done = fill(r, s, &value, e);
	sl_buf_release(&value);
	if (!done) { /* what was read is read again */
		r->count = 0;
		r->cursor.offset = began;
		s->at = -1;
		return false;
	}
	for (size_t i = 0; i < r->count; i++) {
		bool whole = sl_frames_next(sl_buf_bytes(&r->bytes), &at, &r->records[i]);

		assert(whole);
		(void)whole;
	}
	return true;
}

void sl_kafka_read_end(struct sl_reader *r)
{
	struct source *s = r->source;

	if (!s)
		return;
	if (s->tail)
		give(r->rt->kafka, r->topic, r->partition, s);
	free(s);
	r->source = NULL;
}
