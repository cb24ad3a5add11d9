/* circuit.c -- see circuit.h. */
#include "circuit.h"

#include <assert.h>
#include <stdio.h>

#define FAILURES_MAX 5
#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 60000

bool sl_circuit_passes(const struct sl_circuit *c, int64_t now_ms)
{
	return !c->word || (!c->probing && now_ms >= c->try_at_ms);
}

bool sl_circuit_enter(struct sl_circuit *c)
{
	if (!c->word)
		return false;
	assert(!c->probing);
	c->probing = true;
	return true;
}

void sl_circuit_good(struct sl_circuit *c)
{
	*c = (struct sl_circuit){ 0 };
}

/* Processes that were thrown out together do not come back together. */
static void pause_from(struct sl_circuit *c, int64_t now_ms, double random)
{
	c->try_at_ms = now_ms + (int64_t)((double)c->pause_ms * (1 - 0.25 * random));
}

void sl_circuit_bad(struct sl_circuit *c, bool probe, const char *word, bool at_once, const char *why, int64_t now_ms,
		    double random)
{
	c->failures++;
	if (c->word && !probe)
		return; /* sent before it opened: what it says is known */
	snprintf(c->why, sizeof c->why, "%s", why);
	if (!c->word && !at_once && c->failures < FAILURES_MAX)
		return;
	if (!c->word) {
		c->pause_ms = PAUSE_FIRST_MS;
		c->since_ms = now_ms;
	} else {
		c->pause_ms = 2 * c->pause_ms < PAUSE_MAX_MS ? 2 * c->pause_ms : PAUSE_MAX_MS;
	}
	c->word = word;
	c->probing = false;
	pause_from(c, now_ms, random);
}

void sl_circuit_unclear(struct sl_circuit *c, bool probe)
{
	if (probe)
		c->probing = false;
}
