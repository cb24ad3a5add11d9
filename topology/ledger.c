/* ledger.c -- rows of money, behind ledger.h. */
#include "ledger.h"

#include "base/log.h"
#include "memo.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { HELD, LOST };

#define COUNTS 7
#define HELD_HEAD 9 /* state, amount */

void sl_ledger_init(struct sl_ledger *l, size_t endpoints)
{
	l->count = endpoints + 1;
	l->purses = sl_calloc(l->count, sizeof *l->purses);
	l->names = sl_calloc(l->count, sizeof *l->names);
	l->names[endpoints] = "";
}

void sl_ledger_release(struct sl_ledger *l)
{
	free(l->purses);
	free(l->names);
	*l = (struct sl_ledger){ 0 };
}

static void row_key(struct sl_buf *to, struct sl_bytes prefix, char kind, const char *name)
{
	sl_buf_clear(to);
	sl_buf_add_bytes(to, prefix);
	sl_buf_add_byte(to, (uint8_t)kind);
	sl_buf_add(to, name, strlen(name));
}

static void put_numbers(struct sl_writes *w, const struct sl_buf *key, const int64_t *numbers, size_t count)
{
	uint8_t value[8 * COUNTS];

	assert(count <= COUNTS);
	for (size_t i = 0; i < count; i++)
		sl_put_le64(value + 8 * i, (uint64_t)numbers[i]);
	sl_writes_put(w, sl_buf_bytes(key), (struct sl_bytes){ value, 8 * count });
}

/* Numbers of a row that is not there, or is shorter, are 0. */
static bool get_numbers(struct sl_store *store, const struct sl_buf *key, int64_t *numbers, size_t count,
			struct sl_error *e)
{
	struct sl_buf value = { 0 };
	bool found, done = store->ops->get(store, sl_buf_bytes(key), &value, &found, e);

	for (size_t i = 0; i < count; i++)
		numbers[i] = done && found && value.size >= 8 * (i + 1) ? (int64_t)sl_get_le64(value.data + 8 * i) : 0;
	sl_buf_release(&value);
	return done;
}

void sl_ledger_write(const struct sl_ledger *l, struct sl_bytes prefix, struct sl_writes *w)
{
	const struct sl_ledger_counts *c = &l->counts;
	const int64_t counts[COUNTS] = { c->repeated, c->unknown, c->overshot, c->overshot_micro,
					 c->answers,  c->bytes,   c->lost };
	struct sl_buf key = { 0 };

	for (size_t i = 0; i < l->count; i++) {
		const int64_t spent[3] = { l->purses[i].spent, l->purses[i].day, l->purses[i].spent_day };

		if (l->purses[i].spent == 0)
			continue;
		row_key(&key, prefix, 's', l->names[i]);
		put_numbers(w, &key, spent, 3);
	}
	row_key(&key, prefix, 'n', "");
	put_numbers(w, &key, counts, COUNTS);
	sl_buf_release(&key);
}

static bool load_totals(struct sl_ledger *l, struct sl_store *store, struct sl_bytes prefix, struct sl_error *e)
{
	struct sl_ledger_counts *c = &l->counts;
	int64_t spent[3], counts[COUNTS];
	struct sl_buf key = { 0 };
	bool done = true;

	for (size_t i = 0; done && i < l->count; i++) {
		row_key(&key, prefix, 's', l->names[i]);
		done = get_numbers(store, &key, spent, 3, e);
		l->purses[i].spent = spent[0];
		l->purses[i].day = spent[1];
		l->purses[i].spent_day = spent[2];
	}
	row_key(&key, prefix, 'n', "");
	done = done && get_numbers(store, &key, counts, COUNTS, e);
	sl_buf_release(&key);
	if (done)
		*c = (struct sl_ledger_counts){ .repeated = counts[0],
						.unknown = counts[1],
						.overshot = counts[2],
						.overshot_micro = counts[3],
						.answers = counts[4],
						.bytes = counts[5] };
	return done;
}

static void held_value(struct sl_buf *to, int state, int64_t amount, struct sl_bytes name)
{
	sl_buf_clear(to);
	sl_buf_add_byte(to, (uint8_t)state);
	sl_buf_add_le64(to, (uint64_t)amount);
	sl_buf_add_bytes(to, name);
}

/* A row 'h' that nobody deleted. */
static void bill(struct sl_ledger *l, struct sl_bytes key, struct sl_bytes value, struct sl_writes *w, int64_t *calls,
		 int64_t *amount)
{
	const uint8_t *p = value.data;
	struct sl_bytes name = { p + HELD_HEAD, value.size - HELD_HEAD };
	int64_t most = (int64_t)sl_get_le64(p + 1);
	struct sl_buf lost = { 0 };

	l->counts.lost++;
	if (p[0] == LOST)
		return;
	for (size_t i = 0; i + 1 < l->count; i++)
		if (sl_bytes_equal(name, sl_text(l->names[i])))
			sl_purse_settle(&l->purses[i], 0, most);
	sl_purse_settle(&l->purses[l->count - 1], 0, most);
	held_value(&lost, LOST, most, name);
	sl_writes_put(w, key, sl_buf_bytes(&lost));
	sl_buf_release(&lost);
	++*calls;
	*amount += most;
}

bool sl_ledger_load(struct sl_ledger *l, struct sl_store *store, struct sl_bytes prefix, int64_t day,
		    struct sl_writes *w, struct sl_error *e)
{
	struct sl_bytes key, value;
	struct sl_store_scan *scan;
	struct sl_buf held = { 0 };
	int64_t calls = 0, amount = 0;

	if (!load_totals(l, store, prefix, e))
		return false;
	for (size_t i = 0; i < l->count; i++)
		sl_purse_day(&l->purses[i],
			     day); /* before the bill: it is of this day, not of the last one that paid */
	row_key(&held, prefix, 'h', "");
	e->verdict = SL_OK;
	scan = store->ops->scan(store, sl_buf_bytes(&held));
	while (store->ops->next(scan, &key, &value, e))
		if (value.size >= HELD_HEAD)
			bill(l, key, value, w, &calls, &amount);
	store->ops->end(scan);
	sl_buf_release(&held);
	if (e->verdict != SL_OK)
		return false;
	if (calls) {
		sl_ledger_write(l, prefix, w);
		sl_log(SL_LOG_NOTE, NULL,
		       "calls that were under way when the process ended: %" PRId64
		       ", billed at the most that they can have cost, $%.6g",
		       calls, (double)amount / 1e6);
	}
	return true;
}

void sl_ledger_mark(const struct sl_ledger *l, struct sl_ledger_mark *m)
{
	m->purses = sl_malloc(l->count * sizeof *m->purses);
	memcpy(m->purses, l->purses, l->count * sizeof *m->purses);
	m->counts = l->counts;
}

void sl_ledger_unmark(struct sl_ledger *l, struct sl_ledger_mark *m, bool back)
{
	if (back) {
		memcpy(l->purses, m->purses, l->count * sizeof *l->purses);
		l->counts = m->counts;
	}
	free(m->purses);
	m->purses = NULL;
}

void sl_ledger_reserve(struct sl_ledger *l, size_t endpoint, int64_t amount)
{
	sl_purse_hold(&l->purses[endpoint], amount);
	sl_purse_hold(&l->purses[l->count - 1], amount);
}

void sl_ledger_pay(struct sl_ledger *l, size_t endpoint, int64_t amount, int64_t cost)
{
	sl_purse_settle(&l->purses[endpoint], amount, cost);
	sl_purse_settle(&l->purses[l->count - 1], amount, cost);
	if (cost > amount) {
		l->counts.overshot++;
		l->counts.overshot_micro += cost - amount;
	}
}

bool sl_ledger_hold(struct sl_ledger *l, struct sl_store *store, struct sl_bytes prefix, const struct sl_id *key,
		    size_t endpoint, int64_t amount, struct sl_writes *w, struct sl_error *e)
{
	struct sl_buf row = { 0 }, value = { 0 };
	bool found = false, done = true;

	sl_memo_key(&row, prefix, 'h', key);
	if (l->counts.lost > 0)
		done = store->ops->get(store, sl_buf_bytes(&row), &value, &found, e);
	if (done && found && value.size >= HELD_HEAD && value.data[0] == LOST) {
		l->counts.lost--;
		l->counts.repeated++;
	}
	if (done) {
		held_value(&value, HELD, amount, sl_text(l->names[endpoint]));
		sl_writes_put(w, sl_buf_bytes(&row), sl_buf_bytes(&value));
		sl_ledger_reserve(l, endpoint, amount);
	}
	sl_buf_release(&row);
	sl_buf_release(&value);
	return done;
}

void sl_ledger_settle(struct sl_ledger *l, struct sl_bytes prefix, const struct sl_id *key, size_t endpoint,
		      int64_t amount, int64_t cost, struct sl_writes *w)
{
	struct sl_buf row = { 0 };

	sl_ledger_pay(l, endpoint, amount, cost);
	sl_memo_key(&row, prefix, 'h', key);
	sl_writes_del(w, sl_buf_bytes(&row));
	sl_buf_release(&row);
}
