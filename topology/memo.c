/* memo.c -- rows of answers and their order by age, behind memo.h. */
#include "memo.h"

#define VERSION 1
#define HEAD (1 + 6 * 8)
#define AGE_SIZE (8 + 16) /* of the key of a row by age, behind its kind */
#define EVICT_MOST 1000   /* in one go: the rest goes with the next answers */

void sl_memo_key(struct sl_buf *to, struct sl_bytes prefix, char kind, const struct sl_id *key)
{
	sl_buf_clear(to);
	sl_buf_add_bytes(to, prefix);
	sl_buf_add_byte(to, (uint8_t)kind);
	sl_buf_add(to, key->b, sizeof key->b);
}

static void age_key(struct sl_buf *to, struct sl_bytes prefix, int64_t ms, const struct sl_id *key)
{
	uint8_t b[8];

	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)((uint64_t)ms >> (56 - 8 * i));
	sl_buf_clear(to);
	sl_buf_add_bytes(to, prefix);
	sl_buf_add_byte(to, 't');
	sl_buf_add(to, b, sizeof b);
	sl_buf_add(to, key->b, sizeof key->b);
}

int64_t sl_memo_put(struct sl_writes *w, struct sl_bytes prefix, const struct sl_id *key,
		    const struct sl_memo_answer *a)
{
	const int64_t head[6] = { a->stored_ms,    a->micro_dollars,    a->usage.prompt,
				  a->usage.cached, a->usage.completion, a->usage.reasoning };
	struct sl_buf row = { 0 }, value = { 0 };
	uint8_t number[8];
	int64_t bytes;

	sl_buf_add_byte(&value, VERSION);
	for (size_t i = 0; i < 6; i++)
		sl_buf_add_le64(&value, (uint64_t)head[i]);
	sl_buf_add_bytes(&value, a->body);
	sl_memo_key(&row, prefix, 'a', key);
	bytes = (int64_t)(2 * row.size + value.size + 16);
	sl_writes_put(w, sl_buf_bytes(&row), sl_buf_bytes(&value));
	age_key(&row, prefix, a->stored_ms, key);
	sl_put_le64(number, (uint64_t)bytes);
	sl_writes_put(w, sl_buf_bytes(&row), (struct sl_bytes){ number, 8 });
	sl_buf_release(&row);
	sl_buf_release(&value);
	return bytes;
}

bool sl_memo_get(struct sl_store *store, struct sl_bytes prefix, const struct sl_id *key, struct sl_buf *value,
		 struct sl_memo_answer *a, bool *found, struct sl_error *e)
{
	struct sl_buf row = { 0 };
	const uint8_t *p;
	bool done;

	sl_memo_key(&row, prefix, 'a', key);
	done = store->ops->get(store, sl_buf_bytes(&row), value, found, e);
	sl_buf_release(&row);
	if (!done || !*found)
		return done;
	*found = value->size >= HEAD && value->data[0] == VERSION;
	if (!*found)
		return true;
	p = value->data + 1;
	*a = (struct sl_memo_answer){
		.stored_ms = (int64_t)sl_get_le64(p),
		.micro_dollars = (int64_t)sl_get_le64(p + 8),
		.usage = { .prompt = (int64_t)sl_get_le64(p + 16),
			   .cached = (int64_t)sl_get_le64(p + 24),
			   .completion = (int64_t)sl_get_le64(p + 32),
			   .reasoning = (int64_t)sl_get_le64(p + 40) },
		.body = { value->data + HEAD, value->size - HEAD },
	};
	return true;
}

/* The age and the question of a row by age. */
static bool age_read(struct sl_bytes row, size_t skip, int64_t *ms, struct sl_id *key)
{
	const uint8_t *p = (const uint8_t *)row.data + skip;
	uint64_t n = 0;

	if (row.size != skip + AGE_SIZE)
		return false;
	for (int i = 0; i < 8; i++)
		n = n << 8 | p[i];
	*ms = (int64_t)n;
	memcpy(key->b, p + 8, sizeof key->b);
	return true;
}

bool sl_memo_evict(struct sl_store *store, struct sl_bytes prefix, const struct sl_memo_bounds *bounds, int64_t now_ms,
		   bool (*used)(void *arg, const struct sl_id *key), void *arg, struct sl_writes *w, int64_t *bytes,
		   int64_t *answers, int64_t *evicted, int64_t *oldest_ms, struct sl_error *e)
{
	struct sl_buf by_age = { 0 }, row = { 0 }, answer = { 0 };
	struct sl_store_scan *scan;
	struct sl_bytes at, value;
	size_t looked = 0;
	bool done = true;

	sl_buf_add_bytes(&by_age, prefix);
	sl_buf_add_byte(&by_age, 't');
	e->verdict = SL_OK;
	*oldest_ms = INT64_MAX;
	scan = store->ops->scan(store, sl_buf_bytes(&by_age));
	while (done && store->ops->next(scan, &at, &value, e)) {
		struct sl_id key;
		struct sl_memo_answer a;
		bool found = false;
		int64_t ms = 0, size = value.size == 8 ? (int64_t)sl_get_le64(value.data) : 0;
		bool read = age_read(at, by_age.size, &ms, &key);
		bool small = bounds->bytes_max == 0 || *bytes <= bounds->bytes_max;
		bool young = bounds->age_max_ms == 0 || (read && ms >= now_ms - bounds->age_max_ms);

		if (read && ((small && young) || looked++ == EVICT_MOST)) {
			if (ms < *oldest_ms)
				*oldest_ms = ms;
			break;
		}
		if (read && used(arg, &key)) {
			if (ms < *oldest_ms)
				*oldest_ms = ms;
			continue;
		}
		sl_writes_del(w, at);
		if (!read)
			continue;
		done = sl_memo_get(store, prefix, &key, &answer, &a, &found, e);
		sl_memo_key(&row, prefix, 'a', &key);
		if (!found || a.stored_ms == ms) /* else it was asked anew since */
			sl_writes_del(w, sl_buf_bytes(&row));
		*bytes = *bytes > size ? *bytes - size : 0;
		*answers -= *answers > 0;
		++*evicted;
	}
	store->ops->end(scan);
	sl_buf_release(&by_age);
	sl_buf_release(&row);
	sl_buf_release(&answer);
	return e->verdict == SL_OK;
}
