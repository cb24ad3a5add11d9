/* limits.c -- see limits.h. */
#include "limits.h"

#include <math.h>

#define MINUTE_MS 60000.0
#define BURST_MS 1000.0                        /* of what a bucket fills with: how uneven it may be sent */
#define ALLOWANCE_WAIT_MAX_MS ((int64_t)60000) /* then it is tried, whatever was announced */

static int64_t ceil_ms(double ms)
{
	return ms <= 0 ? 0 : ms >= 1e15 ? SL_NEVER_MS : (int64_t)ceil(ms);
}

void sl_bucket_init(struct sl_bucket *b, int64_t per_minute, int64_t now_ms)
{
	*b = (struct sl_bucket){ .per_ms = (double)per_minute / MINUTE_MS, .at_ms = now_ms };
	b->capacity = b->per_ms * BURST_MS < 1 ? 1 : b->per_ms * BURST_MS;
	b->level = b->capacity;
}

int64_t sl_bucket_wait_ms(struct sl_bucket *b, double cost, int64_t now_ms)
{
	if (b->per_ms <= 0)
		return 0;
	if (now_ms > b->at_ms) {
		b->level = fmin(b->capacity, b->level + b->per_ms * (double)(now_ms - b->at_ms));
		b->at_ms = now_ms;
	}
	/* A hair of tolerance: the sum of many steps must not miss a whole number by rounding. */
	return ceil_ms((fmin(cost, b->capacity) - b->level - 1e-9) / b->per_ms);
}

void sl_bucket_take(struct sl_bucket *b, double cost)
{
	b->level -= cost;
}

void sl_bucket_give(struct sl_bucket *b, double cost)
{
	const double least = fmin(b->level, -b->per_ms * MINUTE_MS);

	b->level = fmax(least, fmin(b->capacity, b->level + cost));
}

void sl_allowance_said(struct sl_allowance *a, const struct sl_announced *said, int64_t now_ms)
{
	if (said->remaining < 0)
		return;
	*a = (struct sl_allowance){ .known = true, .left = (double)said->remaining, .at_ms = now_ms };
	a->reset_at_ms = now_ms + (said->reset_ms < 0 ? 0 : said->reset_ms);
	/* The reset is when all is back: with the limit known, so is the speed. */
	if (said->limit > said->remaining && said->reset_ms > 0)
		a->per_ms = (double)(said->limit - said->remaining) / (double)said->reset_ms;
}

void sl_allowance_take(struct sl_allowance *a, double cost)
{
	a->left -= cost;
}

int64_t sl_allowance_wait_ms(const struct sl_allowance *a, double cost, int64_t now_ms)
{
	int64_t at = a->reset_at_ms;
	double missing = cost - a->left;

	if (!a->known || missing <= 0)
		return 0;
	if (a->per_ms > 0 && missing / a->per_ms < (double)(at - a->at_ms))
		at = a->at_ms + ceil_ms(missing / a->per_ms);
	if (at > a->at_ms + ALLOWANCE_WAIT_MAX_MS)
		at = a->at_ms + ALLOWANCE_WAIT_MAX_MS;
	return at > now_ms ? at - now_ms : 0;
}

void sl_window_init(struct sl_window *w, int64_t ceiling)
{
	*w = (struct sl_window){ .size = (double)ceiling, .ceiling = ceiling, .halved_at_ms = INT64_MIN };
}

int64_t sl_window_size(const struct sl_window *w)
{
	return (int64_t)w->size;
}

void sl_window_good(struct sl_window *w)
{
	w->size = fmin((double)w->ceiling, w->size + fmax(1, 0.03 * w->size) / w->size);
}

bool sl_window_throttled(struct sl_window *w, int64_t sent_at_ms, int64_t now_ms)
{
	if (sent_at_ms <= w->halved_at_ms)
		return false;
	w->size = fmax(1, w->size / 2);
	w->halved_at_ms = now_ms;
	return true;
}
