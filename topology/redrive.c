/* redrive.c -- see redrive.h. */
#include "redrive.h"

#include "dealt.h"
#include "engine.h"
#include "keys.h"
#include "replaying.h"

#include <stdlib.h>

#define RECORDS_AT_ONCE 256
#define MARK_EVERY 4096 /* records between writes of an offset that moved without anything to append */
#define SOON_MS 20      /* a commit's records become readable a few milliseconds after it */
#define PARKED "parked:"

struct sl_redrive {
	struct sl_unit *unit;
	struct sl_replay replay;
	struct sl_buf key; /* of the row */
	struct sl_dealt dealt;
	int64_t kept;            /* its mark, as in the row */
	struct sl_cursor cursor; /* what is looked at next */
	bool again, lost;        /* all of them once more; memory is not what the row says */
	bool committed;          /* there may be more than `wanted` */
	int64_t stable, wanted;  /* the topic may be, and must be, read up to there */
	/* of a step */
	struct sl_arena arena;
	struct sl_buf frames, value;
	size_t appended;
};

bool sl_parked_reason_next(struct sl_bytes reason, size_t *at, struct sl_id *key)
{
	const size_t hex = 2 * sizeof key->b, head = sizeof PARKED - 1;

	if (*at == 0) {
		if (!sl_bytes_begins(reason, sl_text(PARKED)))
			return false;
		*at = head;
	}
	if (reason.size < *at + 1 + hex || ((const char *)reason.data)[*at] != ' ' ||
	    !sl_id_parse((struct sl_bytes){ (const char *)reason.data + *at + 1, hex }, key))
		return false;
	*at += 1 + hex;
	return true;
}

/* -- What is dealt with --------------------------------------------------------------------- */

static bool load(struct sl_redrive *r, bool *found, struct sl_error *e)
{
	struct sl_store *store = r->unit->rt->store;
	struct sl_buf value = { 0 };
	bool done = store->ops->get(store, sl_buf_bytes(&r->key), &value, found, e);

	if (done && !sl_dealt_read(&r->dealt, sl_buf_bytes(&value)) && *found)
		done = sl_error_set(e, SL_STOP,
				    "the offset of pairs that came back has %zu bytes: the store is damaged",
				    value.size);
	r->kept = r->dealt.mark;
	sl_buf_release(&value);
	return done;
}

/* -- open and close ------------------------------------------------------------------------- */

static bool parks(const struct sl_unit *u)
{
	const struct sl_topology *t = u->rt->topology;
	bool on = false;

	for (size_t i = 0; i < t->endpoint_count; i++)
		on |= t->endpoints[i].batching.on;
	return on || sl_calls_parked(u->calls, NULL) > 0;
}

bool sl_redrive_open(struct sl_unit *u, struct sl_redrive **to, struct sl_error *e)
{
	const struct sl_step *step = u->tasks[0].step;
	int port = sl_deferred_port(step->op);
	struct sl_redrive *r;
	bool found = false, done;

	*to = NULL;
	if (port < 0)
		return true;
	r = sl_calloc(1, sizeof *r);
	r->unit = u;
	r->replay = (struct sl_replay){ u->rt->topology, step->to[port], step->from, step->name };
	sl_key_begin(&r->key, 'm', step->name);
	sl_key_partition(&r->key, u->partition);
	sl_buf_add_byte(&r->key, 'q');
	done = load(r, &found, e);
	if (!done || (!found && !parks(u))) {
		sl_redrive_close(r);
		return done;
	}
	r->cursor.offset = r->dealt.mark;
	r->committed = true; /* by whoever had the task before */
	*to = r;
	return true;
}

void sl_redrive_close(struct sl_redrive *r)
{
	if (!r)
		return;
	sl_dealt_release(&r->dealt);
	sl_buf_release(&r->key);
	sl_buf_release(&r->frames);
	sl_buf_release(&r->value);
	sl_arena_release(&r->arena);
	free(r);
}

/* -- Looking ---------------------------------------------------------------------------------- */

/* Its last line says that this step parked it. */
static bool waits(const struct sl_redrive *r, const struct sl_pair *p, bool *ready)
{
	const struct sl_trail *last = p->trail_count ? &p->trail[p->trail_count - 1] : NULL;
	struct sl_id key;
	size_t at = 0;

	*ready = true;
	if (!last || !sl_is(last->step, r->replay.into) || !sl_bytes_begins(last->reason, sl_text(PARKED)))
		return false;
	while (sl_parked_reason_next(last->reason, &at, &key))
		*ready &= !sl_calls_is_parked(r->unit->calls, &key);
	return true;
}

static void look_at(struct sl_redrive *r, const struct sl_record *record)
{
	struct sl_record to;
	struct sl_error not_a_pair;
	struct sl_pair p;
	bool ready;

	if (sl_dealt_has(&r->dealt, record->offset))
		return;
	sl_arena_clear(&r->arena);
	sl_pair_init(&p);
	if (!record->value.data || !sl_pair_decode(record->value, &r->arena, &p, &not_a_pair) ||
	    !waits(r, &p, &ready)) {
		sl_dealt_add(&r->dealt, record->offset, record->offset + 1); /* somebody else's */
		return;
	}
	if (!ready)
		return;
	sl_replay_record(&r->replay, &p, r->unit->partition, record->offset, record->time_ms, &r->arena, &r->value,
			 &to);
	sl_frames_add(&r->frames, &to);
	r->appended++;
	sl_dealt_add(&r->dealt, record->offset, record->offset + 1);
}

static bool commit(struct sl_redrive *r, struct sl_error *e)
{
	struct sl_append append = { .topic = r->replay.to };
	struct sl_writes w = { 0 };
	struct sl_buf value = { 0 };
	size_t at = 0;
	bool done;

	append.records = sl_malloc((r->appended + 1) * sizeof *append.records);
	while (sl_frames_next(sl_buf_bytes(&r->frames), &at, &append.records[append.count]))
		append.count++;
	sl_dealt_write(&r->dealt, &value);
	sl_writes_put(&w, sl_buf_bytes(&r->key), sl_buf_bytes(&value));
	done = r->unit->rt->stream->aside(r->unit, append.count ? &append : NULL, &w, e);
	free(append.records);
	sl_writes_release(&w);
	sl_buf_release(&value);
	r->kept = r->dealt.mark;
	return done;
}

/* Where the topic ends. Records that a commit brought may not be readable yet: `wanted` is behind all of them. */
static bool find_end(struct sl_redrive *r, struct sl_error *e)
{
	struct sl_unit *u = r->unit;
	int64_t end;

	if (!r->committed && r->stable >= r->wanted)
		return true;
	if (!u->rt->stream->look(u->rt, r->replay.from, u->partition, &r->stable, &end, e))
		return false;
	if (r->committed)
		r->wanted = end;
	r->committed = false;
	return true;
}

static bool look(struct sl_redrive *r, struct sl_error *e)
{
	const struct sl_record *record;
	struct sl_reader reader;
	int64_t at = r->cursor.offset;

	r->appended = 0;
	sl_buf_clear(&r->frames);
	e->verdict = SL_OK;
	sl_reader_open(&reader, r->unit->rt, r->replay.from, r->unit->partition, r->stable);
	reader.cursor = r->cursor;
	for (size_t n = 0; n < RECORDS_AT_ONCE || reader.at < reader.count; n++) {
		record = sl_reader_next(&reader, e);
		if (!record)
			break;
		sl_dealt_add(&r->dealt, at, record->offset); /* what brokers put between records, or drop */
		look_at(r, record);
		at = record->offset + 1;
	}
	r->cursor = reader.cursor;
	sl_reader_close(&reader);
	if (e->verdict != SL_OK)
		return false;
	sl_dealt_add(&r->dealt, at, r->cursor.offset);
	return (r->appended == 0 && r->dealt.mark - r->kept < MARK_EVERY) || commit(r, e);
}

/* From what is true on. */
static bool recall(struct sl_redrive *r, struct sl_error *e)
{
	bool found;

	if (!load(r, &found, e))
		return false;
	r->cursor = (struct sl_cursor){ .offset = r->dealt.mark };
	r->lost = false;
	return true;
}

bool sl_redrive_step(struct sl_redrive *r, bool settled, int64_t *again_ms, struct sl_error *e)
{
	r->again |= settled;
	*again_ms = INT64_MAX;
	if ((r->lost && !recall(r, e)) || !find_end(r, e))
		return false;
	if (r->cursor.offset >= r->stable && r->again) {
		r->again = false;
		r->cursor = (struct sl_cursor){ .offset = r->dealt.mark };
	}
	if (r->cursor.offset < r->stable && !look(r, e)) {
		r->lost = true; /* what was dealt with may not be */
		return false;
	}
	if (r->again || r->cursor.offset < r->stable)
		*again_ms = 0;
	else if (r->stable < r->wanted)
		*again_ms = SOON_MS;
	return true;
}

void sl_redrive_committed(struct sl_redrive *r)
{
	r->committed = true;
}
