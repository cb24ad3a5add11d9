/* route.c -- see route.h. */
#include "route.h"

#include <assert.h>

#define ALIVE_MS 1000 /* so long an answer says that somebody is there */

/* How long the server wants the key left alone. */
static int64_t server_wait_ms(const struct sl_lane *l, double tokens, int64_t now_ms)
{
	int64_t wait = l->paused_until_ms > now_ms ? l->paused_until_ms - now_ms : 0;
	int64_t requests = sl_allowance_wait_ms(&l->requests, 1, now_ms);
	int64_t for_tokens = sl_allowance_wait_ms(&l->tokens, tokens, now_ms);

	wait = requests > wait ? requests : wait;
	return for_tokens > wait ? for_tokens : wait;
}

static int64_t lane_wait_ms(const struct sl_lane *l, double tokens, int64_t now_ms)
{
	if (!sl_circuit_passes(&l->circuit, now_ms))
		return l->circuit.probing ? SL_NEVER_MS : l->circuit.try_at_ms - now_ms;
	return server_wait_ms(l, tokens, now_ms);
}

/* The lane to take; `probes`: one with an open circuit whose time has come goes before all others. */
static bool choose(const struct sl_lane *lanes, size_t count, size_t turn, double tokens, int64_t now_ms, size_t *lane,
		   int64_t *wait_ms)
{
	const struct sl_lane *best = NULL;

	*wait_ms = SL_NEVER_MS;
	for (size_t i = 0; i < count; i++) {
		const struct sl_lane *l = &lanes[(turn + i) % count];
		int64_t wait = lane_wait_ms(l, tokens, now_ms);

		if (wait > 0)
			*wait_ms = wait < *wait_ms ? wait : *wait_ms;
		else if (!best || (l->circuit.word && !best->circuit.word) ||
			 (!best->circuit.word && l->under_way < best->under_way))
			best = l;
	}
	if (best)
		*lane = (size_t)(best - lanes);
	return best != NULL;
}

bool sl_route_choose(struct sl_route *r, double tokens, int64_t now_ms, struct sl_path *path, int64_t *wait_ms)
{
	int64_t replica_wait, key_wait;
	bool replica, key;

	*path = (struct sl_path){ 0 };
	replica = choose(r->replicas, r->replica_count, r->turn, 0, now_ms, &path->replica, &replica_wait);
	key = choose(r->keys, r->key_count, r->turn, tokens, now_ms, &path->key, &key_wait);
	if (replica && key)
		return true;
	*wait_ms = replica ? key_wait : key ? replica_wait : replica_wait > key_wait ? replica_wait : key_wait;
	return false;
}

void sl_route_enter(struct sl_route *r, struct sl_path *path, double tokens)
{
	struct sl_lane *key = &r->keys[path->key], *replica = &r->replicas[path->replica];

	path->replica_probe = sl_circuit_enter(&replica->circuit);
	path->key_probe = sl_circuit_enter(&key->circuit);
	replica->under_way++;
	key->under_way++;
	sl_allowance_take(&key->requests, 1);
	sl_allowance_take(&key->tokens, tokens);
	r->turn++;
}

static void throttled(struct sl_lane *key, const struct sl_reply_headers *h, int64_t sent_at_ms, int64_t now_ms,
		      double random)
{
	int64_t until;

	/* Those that were sent before we knew say nothing new, but a server that names a time is believed. */
	if (sent_at_ms > key->throttled_at_ms || key->throttles == 0) {
		key->throttles++;
		key->throttled_at_ms = now_ms;
	} else if (h->retry_after_ms < 0) {
		return;
	}
	until = now_ms + sl_retry_delay_ms(h, key->throttles, random);
	if (until > key->paused_until_ms)
		key->paused_until_ms = until;
}

static void lives(struct sl_lane *replica, int64_t now_ms)
{
	sl_circuit_good(&replica->circuit);
	replica->answered_at_ms = now_ms;
}

static bool is_silent(const struct sl_lane *replica, int64_t now_ms)
{
	return replica->answered_at_ms == 0 || now_ms - replica->answered_at_ms >= ALIVE_MS;
}

void sl_route_ended(struct sl_route *r, const struct sl_path *path, enum sl_reply_class c,
		    const struct sl_reply_headers *h, const char *why, int64_t sent_at_ms, int64_t now_ms,
		    double random)
{
	struct sl_lane *replica = &r->replicas[path->replica], *key = &r->keys[path->key];
	const char *word = sl_reply_word(c);
	bool at_once = sl_reply_at_once(c);

	assert(replica->under_way > 0);
	assert(key->under_way > 0);
	replica->under_way--;
	key->under_way--;
	sl_allowance_said(&key->requests, &h->requests, now_ms);
	sl_allowance_said(&key->tokens, &h->tokens, now_ms);
	switch (c) {
	case SL_REPLY_CONNECT:
	case SL_REPLY_TIMEOUT:
	case SL_REPLY_BROKEN:
	case SL_REPLY_CERTIFICATE:
	case SL_REPLY_SERVER:
	case SL_REPLY_NOT_FOUND:
		at_once |= c == SL_REPLY_SERVER && h->retry_after_ms > SL_RETRY_AFTER_MAX_MS;
		at_once |= c == SL_REPLY_CONNECT && is_silent(replica, now_ms);
		sl_circuit_bad(&replica->circuit, path->replica_probe, word, at_once, why, now_ms, random);
		if (c == SL_REPLY_NOT_FOUND)
			sl_circuit_good(&key->circuit);
		else
			sl_circuit_unclear(&key->circuit, path->key_probe);
		return;
	case SL_REPLY_UNAUTHORIZED:
	case SL_REPLY_QUOTA:
		lives(replica, now_ms);
		sl_circuit_bad(&key->circuit, path->key_probe, word, at_once, why, now_ms, random);
		return;
	case SL_REPLY_THROTTLED:
		throttled(key, h, sent_at_ms, now_ms, random);
		break;
	case SL_REPLY_TOO_LARGE: /* somebody answers there, but not as a model would */
		sl_circuit_unclear(&replica->circuit, path->replica_probe);
		sl_circuit_unclear(&key->circuit, path->key_probe);
		return;
	default:
		if (sent_at_ms > key->throttled_at_ms)
			key->throttles = 0;
		break;
	}
	lives(replica, now_ms);
	sl_circuit_good(&key->circuit);
}

void sl_route_aborted(struct sl_route *r, const struct sl_path *path)
{
	r->replicas[path->replica].under_way--;
	r->keys[path->key].under_way--;
	sl_circuit_unclear(&r->replicas[path->replica].circuit, path->replica_probe);
	sl_circuit_unclear(&r->keys[path->key].circuit, path->key_probe);
}

/* Of several open circuits the one that opened last tells most. */
static const struct sl_circuit *all_open(const struct sl_lane *lanes, size_t count)
{
	const struct sl_circuit *last = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!lanes[i].circuit.word)
			return NULL;
		if (!last || lanes[i].circuit.since_ms > last->since_ms)
			last = &lanes[i].circuit;
	}
	return last;
}

const struct sl_circuit *sl_route_away(const struct sl_route *r)
{
	const struct sl_circuit *replicas = all_open(r->replicas, r->replica_count);

	return replicas ? replicas : all_open(r->keys, r->key_count);
}

bool sl_route_throttled(const struct sl_route *r, int64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; i < r->key_count; i++) {
		if (r->keys[i].circuit.word)
			continue;
		any = true;
		if (server_wait_ms(&r->keys[i], 1, now_ms) == 0)
			return false;
	}
	return any;
}
