/* bill.c -- see bill.h. What is read comes from a topic: every length and number is checked. */
#include "bill.h"

#define COUNTS 8
#define PURSE 4
#define MOST (INT64_C(1) << 50) /* sums of a thousand of them are numbers too */

static void put(struct sl_buf *to, int64_t n)
{
	sl_buf_add_le64(to, (uint64_t)n);
}

void sl_bill_put(struct sl_buf *to, int64_t when_ms, const struct sl_calls_stats *stats, const struct sl_purse *purses,
		 const char *const *names, size_t count)
{
	const struct sl_ledger_counts *c = &stats->counts;

	put(to, when_ms);
	put(to, stats->parked);
	put(to, c->repeated);
	put(to, c->unknown);
	put(to, c->overshot);
	put(to, c->overshot_micro);
	put(to, c->answers);
	put(to, c->bytes);
	put(to, c->lost);
	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(names[i]);

		if (purses[i].spent == 0 && purses[i].held == 0)
			continue;
		sl_buf_add_byte(to, (uint8_t)size);
		sl_buf_add_byte(to, (uint8_t)(size >> 8));
		sl_buf_add(to, names[i], size);
		put(to, purses[i].spent);
		put(to, purses[i].day);
		put(to, purses[i].spent_day);
		put(to, purses[i].held);
	}
}

static bool take(struct sl_bytes *from, size_t size, struct sl_bytes *out)
{
	if (from->size < size)
		return false;
	*out = (struct sl_bytes){ from->data, size };
	*from = (struct sl_bytes){ (const uint8_t *)from->data + size, from->size - size };
	return true;
}

static bool take_numbers(struct sl_bytes *from, size_t count, int64_t *numbers)
{
	struct sl_bytes bytes;

	if (!take(from, 8 * count, &bytes))
		return false;
	for (size_t i = 0; i < count; i++) {
		numbers[i] = (int64_t)sl_get_le64((const uint8_t *)bytes.data + 8 * i);
		if (numbers[i] < 0 || numbers[i] > MOST)
			return false;
	}
	return true;
}

static bool take_purse(struct sl_bytes *from, struct sl_purse *purses, const char *const *names, size_t count)
{
	struct sl_bytes size, name;
	int64_t n[PURSE];

	if (!take(from, 2, &size) ||
	    !take(from, ((const uint8_t *)size.data)[0] | (size_t)((const uint8_t *)size.data)[1] << 8, &name) ||
	    !take_numbers(from, PURSE, n))
		return false;
	for (size_t i = 0; i < count; i++)
		if (sl_is(name, names[i]))
			purses[i] = (struct sl_purse){ .spent = n[0], .day = n[1], .spent_day = n[2], .held = n[3] };
	return true;
}

bool sl_bill_get(struct sl_bytes value, int64_t *when_ms, struct sl_calls_stats *stats, struct sl_purse *purses,
		 const char *const *names, size_t count)
{
	int64_t n[COUNTS];
	bool done;

	*stats = (struct sl_calls_stats){ 0 };
	memset(purses, 0, count * sizeof *purses);
	*when_ms = 0;
	done = take_numbers(&value, 1, when_ms) && take_numbers(&value, COUNTS, n);
	while (done && value.size)
		done = take_purse(&value, purses, names, count);
	if (!done) {
		memset(purses, 0, count * sizeof *purses);
		*when_ms = 0;
		return false;
	}
	stats->parked = n[0];
	stats->counts = (struct sl_ledger_counts){ .repeated = n[1],
						   .unknown = n[2],
						   .overshot = n[3],
						   .overshot_micro = n[4],
						   .answers = n[5],
						   .bytes = n[6],
						   .lost = n[7] };
	return true;
}
