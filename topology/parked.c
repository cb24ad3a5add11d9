/* parked.c -- see parked.h. */
#include "parked.h"

#include "base/log.h"
#include "memo.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define QUESTION_HEAD (1 + 4 + 8 + 8 + 8 + 8 + 4)
#define BATCH_HEAD (1 + 3 * 8)

void sl_parking_init(struct sl_parking *p, struct sl_bytes prefix, const char *const *names, size_t payers)
{
	*p = (struct sl_parking){ .names = names, .payers = payers, .bucket_count = 256 };
	sl_buf_add_bytes(&p->prefix, prefix);
	p->buckets = sl_calloc(p->bucket_count, sizeof *p->buckets);
	p->callable = sl_calloc(payers + 1, sizeof *p->callable);
}

static void question_free(struct sl_parked *q)
{
	free(q->why);
	free(q);
}

void sl_parking_release(struct sl_parking *p)
{
	for (size_t i = 0; i < p->bucket_count; i++)
		while (p->buckets[i]) {
			struct sl_parked *q = p->buckets[i];

			p->buckets[i] = q->next;
			question_free(q);
		}
	while (p->lanes) {
		struct sl_parking_lane *lane = p->lanes;

		p->lanes = lane->next;
		free(lane->model);
		free(lane->path);
		free(lane);
	}
	free(p->buckets);
	free(p->callable);
	sl_buf_release(&p->prefix);
	*p = (struct sl_parking){ 0 };
}

/* -- Memory ------------------------------------------------------------------------------- */

static struct sl_parked **bucket(const struct sl_parking *p, const struct sl_id *key)
{
	return &p->buckets[sl_get_le64(key->b) & (p->bucket_count - 1)];
}

static void grow(struct sl_parking *p)
{
	struct sl_parked **old = p->buckets;
	size_t count = p->bucket_count;

	p->bucket_count *= 2;
	p->buckets = sl_calloc(p->bucket_count, sizeof *p->buckets);
	for (size_t i = 0; i < count; i++)
		while (old[i]) {
			struct sl_parked *q = old[i], **to = bucket(p, &q->key);

			old[i] = q->next;
			q->next = *to;
			*to = q;
		}
	free(old);
}

struct sl_parked *sl_parking_find(const struct sl_parking *p, const struct sl_id *key)
{
	struct sl_parked *q = *bucket(p, key);

	while (q && !sl_id_equal(q->key, *key))
		q = q->next;
	return q;
}

struct sl_parking_lane *sl_parking_lane(struct sl_parking *p, const struct sl_lane_key *of)
{
	struct sl_parking_lane *lane = p->lanes;

	while (lane && (lane->of.payer != of->payer || strcmp(lane->model, of->model) != 0 ||
			strcmp(lane->path, of->path) != 0))
		lane = lane->next;
	if (lane)
		return lane;
	lane = sl_calloc(1, sizeof *lane);
	lane->model = sl_strdup(of->model);
	lane->path = sl_strdup(of->path);
	lane->of = (struct sl_lane_key){ of->payer, lane->model, lane->path };
	lane->next = p->lanes;
	p->lanes = lane;
	return lane;
}

void sl_parking_queue(struct sl_parked *q)
{
	struct sl_parking_lane *lane = q->lane;

	q->batch = 0;
	q->queued = NULL;
	*(lane->last ? &lane->last->queued : &lane->first) = q;
	lane->last = q;
	lane->count++;
	lane->bytes += q->bytes;
}

struct sl_parked *sl_parking_unqueue(struct sl_parking_lane *lane)
{
	struct sl_parked *q = lane->first;

	assert(q);
	lane->first = q->queued;
	if (!lane->first)
		lane->last = NULL;
	lane->count--;
	lane->bytes -= q->bytes;
	return q;
}

struct sl_parked *sl_parking_add(struct sl_parking *p, const struct sl_parked *from)
{
	struct sl_parked *q = sl_malloc(sizeof *q), **to;

	*q = *from;
	q->why = from->why ? sl_strdup(from->why) : NULL;
	if (p->count >= p->bucket_count)
		grow(p);
	to = bucket(p, &q->key);
	q->next = *to;
	*to = q;
	p->count++;
	p->waiting += q->state == SL_PARKED_WAITING;
	if (q->state == SL_PARKED_WAITING && q->batch == 0)
		sl_parking_queue(q);
	return q;
}

void sl_parking_remove(struct sl_parking *p, struct sl_parked *q)
{
	struct sl_parked **at = bucket(p, &q->key);

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	p->count--;
	p->waiting -= q->state == SL_PARKED_WAITING;
	p->heard -= q->heard;
	question_free(q);
}

void sl_parking_give_up(struct sl_parking *p, struct sl_parked *q, int status, const char *why)
{
	assert(q->state == SL_PARKED_WAITING);
	p->waiting--;
	q->state = SL_PARKED_GAVE_UP;
	q->status = status;
	q->batch = 0;
	q->held = 0;
	free(q->why);
	q->why = sl_strdup(why);
}

/* -- Rows --------------------------------------------------------------------------------- */

static void put_text(struct sl_buf *to, const char *text)
{
	sl_buf_add(to, text, strlen(text) + 1);
}

static void put_lane(const struct sl_parking *p, const struct sl_parking_lane *lane, struct sl_buf *to)
{
	put_text(to, p->names[lane->of.payer]);
	put_text(to, lane->model);
	put_text(to, lane->path);
}

void sl_parked_rewrite(const struct sl_parking *p, const struct sl_parked *q, struct sl_writes *w)
{
	struct sl_buf key = { 0 }, value = { 0 };

	sl_memo_key(&key, sl_buf_bytes(&p->prefix), 'p', &q->key);
	sl_buf_add_byte(&value, (uint8_t)q->state);
	sl_buf_add_le32(&value, q->tries);
	sl_buf_add_le64(&value, q->batch);
	sl_buf_add_le64(&value, (uint64_t)q->held);
	sl_buf_add_le64(&value, (uint64_t)q->since_ms);
	sl_buf_add_le64(&value, (uint64_t)q->bytes);
	sl_buf_add_le32(&value, (uint32_t)q->status);
	put_lane(p, q->lane, &value);
	put_text(&value, q->why ? q->why : "");
	sl_writes_put(w, sl_buf_bytes(&key), sl_buf_bytes(&value));
	sl_buf_release(&key);
	sl_buf_release(&value);
}

void sl_parked_write(const struct sl_parking *p, const struct sl_parked *q, struct sl_bytes body, struct sl_writes *w)
{
	struct sl_buf key = { 0 };

	sl_parked_rewrite(p, q, w);
	sl_memo_key(&key, sl_buf_bytes(&p->prefix), 'w', &q->key);
	sl_writes_put(w, sl_buf_bytes(&key), body.data ? body : (struct sl_bytes){ "", 0 });
	sl_buf_release(&key);
}

void sl_parked_delete(const struct sl_parking *p, const struct sl_id *id, struct sl_writes *w)
{
	struct sl_buf key = { 0 };

	sl_memo_key(&key, sl_buf_bytes(&p->prefix), 'p', id);
	sl_writes_del(w, sl_buf_bytes(&key));
	sl_memo_key(&key, sl_buf_bytes(&p->prefix), 'w', id);
	sl_writes_del(w, sl_buf_bytes(&key));
	sl_buf_release(&key);
}

bool sl_parked_body(const struct sl_parking *p, struct sl_store *store, const struct sl_id *id, struct sl_buf *body,
		    struct sl_error *e)
{
	struct sl_buf key = { 0 };
	bool found, done;

	sl_memo_key(&key, sl_buf_bytes(&p->prefix), 'w', id);
	done = store->ops->get(store, sl_buf_bytes(&key), body, &found, e);
	sl_buf_release(&key);
	if (done && !found)
		return sl_error_set(e, SL_STOP, "a parked question has lost its text: the store is damaged");
	return done;
}

static void batch_key(const struct sl_parking *p, uint64_t number, struct sl_buf *key)
{
	uint8_t b[8];

	sl_buf_clear(key);
	sl_buf_add_bytes(key, sl_buf_bytes(&p->prefix));
	sl_buf_add_byte(key, 'b');
	sl_put_be64(b, number);
	sl_buf_add(key, b, 8);
}

void sl_batch_row_write(const struct sl_parking *p, const struct sl_batch_row *b, struct sl_writes *w)
{
	struct sl_buf key = { 0 }, value = { 0 };

	batch_key(p, b->number, &key);
	sl_buf_add_byte(&value, (uint8_t)b->state);
	sl_buf_add_le64(&value, (uint64_t)b->since_ms);
	sl_buf_add_le64(&value, (uint64_t)b->questions);
	sl_buf_add_le64(&value, (uint64_t)b->bytes);
	put_lane(p, b->lane, &value);
	put_text(&value, b->ours);
	put_text(&value, b->file);
	put_text(&value, b->id);
	sl_writes_put(w, sl_buf_bytes(&key), sl_buf_bytes(&value));
	sl_buf_release(&key);
	sl_buf_release(&value);
}

void sl_batch_row_delete(const struct sl_parking *p, uint64_t number, struct sl_writes *w)
{
	struct sl_buf key = { 0 };

	batch_key(p, number, &key);
	sl_writes_del(w, sl_buf_bytes(&key));
	sl_buf_release(&key);
}

/* -- Reading ------------------------------------------------------------------------------ */

/* `count` texts ended by NUL, the rest of a row; they live as long as the row. */
static bool texts(struct sl_bytes row, size_t at, const char **to, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *start = (const char *)row.data + at;
		const char *end = at < row.size ? memchr(start, 0, row.size - at) : NULL;

		if (!end)
			return false;
		to[i] = start;
		at += (size_t)(end - start) + 1;
	}
	return true;
}

static size_t payer_named(const struct sl_parking *p, const char *name)
{
	size_t i = 0;

	while (i < p->payers && strcmp(p->names[i], name) != 0)
		i++;
	return i < p->payers && p->callable[i] ? i : p->payers;
}

struct loading {
	struct sl_parking *p;
	struct sl_ledger *l;
	struct sl_writes *w; /* NULL: reading; else orphans are dropped, and all others are passed over */
	int64_t unreadable;
	void (*row)(void *arg, const struct sl_batch_row *b);
	void *arg;
};

static void load_question(struct loading *x, struct sl_bytes key, struct sl_bytes row)
{
	const uint8_t *v = row.data;
	const char *text[4];
	struct sl_parked q = { 0 };
	size_t payer;

	if (key.size != x->p->prefix.size + 1 + sizeof q.key.b || row.size < QUESTION_HEAD ||
	    v[0] > SL_PARKED_GAVE_UP || !texts(row, QUESTION_HEAD, text, 4)) {
		x->unreadable++;
		return;
	}
	memcpy(q.key.b, (const uint8_t *)key.data + x->p->prefix.size + 1, sizeof q.key.b);
	q.state = (enum sl_parked_state)v[0];
	q.tries = sl_get_le32(v + 1);
	q.batch = sl_get_le64(v + 5);
	q.held = (int64_t)sl_get_le64(v + 13);
	q.since_ms = (int64_t)sl_get_le64(v + 21);
	q.bytes = (int64_t)sl_get_le64(v + 29);
	q.status = (int)(int32_t)sl_get_le32(v + 37);
	payer = payer_named(x->p, text[0]);
	if (payer == x->p->payers && x->w) {
		if (q.batch)
			sl_purse_settle(&x->l->purses[x->l->count - 1], 0, q.held);
		sl_parked_delete(x->p, &q.key, x->w);
	} else if (payer == x->p->payers) {
		x->p->orphans++;
	}
	if (payer == x->p->payers || x->w)
		return;
	if (q.state == SL_PARKED_WAITING)
		sl_ledger_reserve(x->l, payer, q.held);
	if (text[3][0])
		q.why = sl_strdup(text[3]);
	q.lane = sl_parking_lane(x->p, &(struct sl_lane_key){ payer, text[1], text[2] });
	(void)sl_parking_add(x->p, &q);
	free(q.why);
}

static void load_batch(struct loading *x, struct sl_bytes key, struct sl_bytes row)
{
	const uint8_t *v = row.data;
	const char *text[6];
	struct sl_batch_row b = { 0 };
	size_t payer;

	if (key.size != x->p->prefix.size + 9 || row.size < BATCH_HEAD || v[0] > SL_BATCH_SUBMITTED ||
	    !texts(row, BATCH_HEAD, text, 6)) {
		x->unreadable++;
		return;
	}
	b.number = sl_get_be64((const uint8_t *)key.data + x->p->prefix.size + 1);
	b.state = (enum sl_batch_state)v[0];
	b.since_ms = (int64_t)sl_get_le64(v + 1);
	b.questions = (int64_t)sl_get_le64(v + 9);
	b.bytes = (int64_t)sl_get_le64(v + 17);
	snprintf(b.ours, sizeof b.ours, "%s", text[3]);
	snprintf(b.file, sizeof b.file, "%s", text[4]);
	snprintf(b.id, sizeof b.id, "%s", text[5]);
	payer = payer_named(x->p, text[0]);
	if (payer == x->p->payers && x->w)
		sl_batch_row_delete(x->p, b.number, x->w);
	if (payer == x->p->payers || x->w)
		return;
	b.lane = sl_parking_lane(x->p, &(struct sl_lane_key){ payer, text[1], text[2] });
	x->row(x->arg, &b);
}

static bool each(struct loading *x, struct sl_store *store, char kind,
		 void (*load)(struct loading *, struct sl_bytes, struct sl_bytes), struct sl_error *e)
{
	struct sl_buf prefix = { 0 };
	struct sl_bytes key, value;
	struct sl_store_scan *scan;

	sl_buf_add_bytes(&prefix, sl_buf_bytes(&x->p->prefix));
	sl_buf_add_byte(&prefix, (uint8_t)kind);
	e->verdict = SL_OK;
	scan = store->ops->scan(store, sl_buf_bytes(&prefix));
	while (store->ops->next(scan, &key, &value, e))
		load(x, key, value);
	store->ops->end(scan);
	sl_buf_release(&prefix);
	return e->verdict == SL_OK;
}

/* There are pairs to bring back, also when nothing is parked and nobody asks any more: the row says so (redrive.h). */
static bool mark_redrive(struct sl_parking *p, struct sl_store *store, struct sl_writes *w, struct sl_error *e)
{
	struct sl_buf key = { 0 }, value = { 0 };
	const uint8_t zero[8] = { 0 };
	bool found, done;

	sl_buf_add_bytes(&key, sl_buf_bytes(&p->prefix));
	sl_buf_add_byte(&key, 'q');
	done = store->ops->get(store, sl_buf_bytes(&key), &value, &found, e);
	if (done && !found)
		sl_writes_put(w, sl_buf_bytes(&key), (struct sl_bytes){ zero, sizeof zero });
	sl_buf_release(&key);
	sl_buf_release(&value);
	return done;
}

static bool all_rows(struct loading *x, struct sl_store *store, struct sl_error *e)
{
	if (!each(x, store, 'p', load_question, e) || !each(x, store, 'b', load_batch, e))
		return false;
	if (x->unreadable)
		return sl_error_set(e, SL_STOP, "%" PRId64 " rows of parked questions cannot be read: %s",
				    x->unreadable, "the store is damaged, or of a newer release");
	return true;
}

bool sl_parking_load(struct sl_parking *p, struct sl_store *store, struct sl_ledger *l,
		     void (*row)(void *arg, const struct sl_batch_row *b), void *arg, struct sl_error *e)
{
	struct loading x = { .p = p, .l = l, .row = row, .arg = arg };

	return all_rows(&x, store, e);
}

bool sl_parking_drop(struct sl_parking *p, struct sl_store *store, struct sl_ledger *l, struct sl_writes *w,
		     struct sl_error *e)
{
	struct loading x = { .p = p, .l = l, .w = w };

	return all_rows(&x, store, e) && mark_redrive(p, store, w, e);
}

void sl_parking_dropped(struct sl_parking *p)
{
	sl_log(SL_LOG_WARN, NULL,
	       "%" PRId64 " questions were parked for endpoints that are not asked any more: their pairs come back",
	       p->orphans);
	p->orphans = 0;
}
