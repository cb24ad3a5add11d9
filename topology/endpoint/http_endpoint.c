/* http_endpoint.c -- see http_endpoint.h. Everything is under the loop's lock but settle(). A call is in
 * exactly one of four lists: ready (in order of arrival), delayed (in order of time), under way, settled. */
#include "http_endpoint.h"

#include "../base/log.h"
#include "../endpoint.h"
#include "request.h"
#include "route.h"
#include "stats.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECTING_MAX 64 /* at once: a server's backlog is short, and every name takes a thread to look up */
#define SERVER_ERRORS_MAX 10
#define BYTES_PER_TOKEN 4

struct call {
	struct sl_outcall *out;
	struct call *next, *before;
	uint64_t turn; /* ready: lower goes first */
	int64_t at_ms; /* delayed */
	double tokens; /* taken from the limits for it */
	struct sl_path path;
	struct sl_http_attempt *attempt; /* under way */
	uint32_t failures, server_errors, refusals, attempts, unknown;
	int status;
	struct sl_buf body;
	char why[320];
};

struct list {
	struct call *first, *last;
	size_t count;
};

struct endpoint {
	struct sl_endpoint base;
	struct sl_http_member member;
	struct sl_http_loop *loop;
	const struct sl_endpoint_def *def;
	struct sl_route route;
	struct sl_window window;
	struct sl_bucket per_minute, tokens;
	struct list ready, delayed, under_way, settled;
	size_t or_nots; /* among ready and delayed */
	uint64_t turns;
	bool draining;
	struct sl_requests requests;
	struct sl_http_attempt *idle; /* to be used again */
	struct sl_endpoint_stats stats;
	bool answered; /* anything, ever */
	uint64_t random;
	const char *told; /* the word that was logged last; NULL: none is away */
};

static struct endpoint *of_member(struct sl_http_member *m)
{
	return (struct endpoint *)(void *)((char *)m - offsetof(struct endpoint, member));
}

/* -- Lists ---------------------------------------------------------------------------------- */

/* Behind `after`; NULL: in front. */
static void list_add(struct list *l, struct call *c, struct call *after)
{
	c->before = after;
	c->next = after ? after->next : l->first;
	*(after ? &after->next : &l->first) = c;
	*(c->next ? &c->next->before : &l->last) = c;
	l->count++;
}

static void list_take(struct list *l, struct call *c)
{
	*(c->before ? &c->before->next : &l->first) = c->next;
	*(c->next ? &c->next->before : &l->last) = c->before;
	l->count--;
}

static void to_ready(struct endpoint *p, struct call *c)
{
	struct call *after = NULL;

	/* What comes back is older than most: it is looked for from the front. */
	if (p->ready.last && p->ready.last->turn < c->turn)
		after = p->ready.last;
	else
		for (struct call *other = p->ready.first; other && other->turn < c->turn; other = other->next)
			after = other;
	list_add(&p->ready, c, after);
	p->or_nots += c->out->or_not;
}

static void to_delayed(struct endpoint *p, struct call *c, int64_t at_ms)
{
	struct call *after = p->delayed.last;

	c->at_ms = at_ms;
	while (after && after->at_ms > at_ms)
		after = after->before;
	list_add(&p->delayed, c, after);
	p->or_nots += c->out->or_not;
}

static void take(struct endpoint *p, struct list *from, struct call *c)
{
	assert(from == &p->ready || from == &p->delayed);
	list_take(from, c);
	p->or_nots -= c->out->or_not;
}

/* -- Settling ----------------------------------------------------------------------------------- */

/* The call is in no list. */
static void to_settled(struct endpoint *p, struct call *c, int status)
{
	c->status = status;
	list_add(&p->settled, c, p->settled.last);
	p->stats.settled++;
}

static void settle_away(struct endpoint *p, struct call *c, const char *word, const char *why)
{
	snprintf(c->why, sizeof c->why, "%s%s%s", word, why[0] ? ": " : "", why);
	to_settled(p, c, SL_AWAY);
}

static void settle_all(struct endpoint *p, struct list *list, bool or_nots_alone, const char *word, const char *why)
{
	for (struct call *c = list->first, *next; c; c = next) {
		next = c->next;
		if (or_nots_alone && !c->out->or_not)
			continue;
		take(p, list, c);
		settle_away(p, c, word, why);
	}
}

static void settle(struct sl_http_member *m)
{
	struct endpoint *p = of_member(m);
	struct list list;

	sl_http_loop_lock(p->loop);
	list = p->settled;
	p->settled = (struct list){ 0 };
	sl_http_loop_unlock(p->loop);
	for (struct call *c = list.first, *next; c; c = next) {
		const struct sl_settlement reply = { .status = c->status,
						     .body = sl_buf_bytes(&c->body),
						     .why = c->why[0] ? c->why : NULL,
						     .attempts = c->attempts,
						     .unknown = c->unknown };

		next = c->next;
		c->out->done(c->out, &reply);
		sl_buf_release(&c->body);
		free(c);
	}
}

/* -- Sending ------------------------------------------------------------------------------------ */

/* Curl may send again what was lost with a dead connection, but not what was not reserved for. */
static uint32_t sends_left(const struct endpoint *p, const struct call *c)
{
	uint32_t paid = 1 + (uint32_t)p->def->retries;

	if (c->out->plain)
		return c->out->once;
	return paid > c->unknown ? paid - c->unknown : 1;
}

static void send_now(struct endpoint *p, struct call *c, int64_t now_ms)
{
	struct sl_http_attempt *a = p->idle;

	if (a)
		p->idle = a->next;
	else
		a = sl_http_attempt_new(&p->member);
	sl_requests_set(&p->requests, a, c->out, c->path.replica, c->path.key);
	a->sends_max = sends_left(p, c);
	a->call = c;
	c->attempt = a;
	list_add(&p->under_way, c, p->under_way.last);
	p->stats.bytes_sent += (int64_t)c->out->body.size;
	sl_http_loop_start(p->loop, a, now_ms);
}

/* Send what may be sent; when the next one may. */
static int64_t pump(struct endpoint *p, int64_t now_ms)
{
	struct call *c;

	while ((c = p->ready.first)) {
		double tokens =
			c->out->plain ? 0 : (double)(c->out->body.size / BYTES_PER_TOKEN) + (double)c->out->tokens_max;
		int64_t wait, for_tokens;

		if ((int64_t)p->under_way.count >= sl_window_size(&p->window) || p->member.connecting >= CONNECTING_MAX)
			return INT64_MAX; /* until one ends or has its connection */
		wait = sl_bucket_wait_ms(&p->per_minute, 1, now_ms);
		for_tokens = sl_bucket_wait_ms(&p->tokens, tokens, now_ms);
		wait = for_tokens > wait ? for_tokens : wait;
		if (wait > 0 || !sl_route_choose(&p->route, tokens, now_ms, &c->path, &wait))
			return wait == SL_NEVER_MS ? INT64_MAX : now_ms + wait;
		take(p, &p->ready, c);
		sl_bucket_take(&p->per_minute, 1);
		sl_bucket_take(&p->tokens, tokens);
		c->tokens = tokens;
		sl_route_enter(&p->route, &c->path, tokens);
		send_now(p, c, now_ms);
	}
	return INT64_MAX;
}

static int64_t turn(struct sl_http_member *m, int64_t now_ms)
{
	struct endpoint *p = of_member(m);
	const struct sl_circuit *away;
	int64_t at;

	while (p->delayed.first && p->delayed.first->at_ms <= now_ms) {
		struct call *c = p->delayed.first;

		take(p, &p->delayed, c);
		to_ready(p, c);
	}
	if (p->draining) {
		settle_all(p, &p->ready, false, "stopped", "not asked any more");
		settle_all(p, &p->delayed, false, "stopped", "not asked any more");
	}
	/* Who does not want to wait is one to try with, when it is time, and else goes. */
	away = p->or_nots ? sl_route_away(&p->route) : NULL;
	if (away && !sl_circuit_passes(away, now_ms)) {
		settle_all(p, &p->ready, true, away->word, away->why);
		settle_all(p, &p->delayed, true, away->word, away->why);
	}
	at = pump(p, now_ms);
	return p->delayed.first && p->delayed.first->at_ms < at ? p->delayed.first->at_ms : at;
}

/* -- Answers ---------------------------------------------------------------------------------------- */

static double chance(struct endpoint *p)
{
	return (double)(sl_mix64(++p->random) >> 11) / (double)(1ull << 53);
}

/* usage.total_tokens, -1 when it does not say. */
static int64_t tokens_used(struct sl_bytes body)
{
	json_t *all = json_loadb(body.data, body.size, 0, NULL);
	json_t *total = json_object_get(json_object_get(all, "usage"), "total_tokens");
	int64_t n = json_is_integer(total) && json_integer_value(total) >= 0 ? json_integer_value(total) : -1;

	json_decref(all);
	return n;
}

/* What was taken for the answer and not used is there for others. */
static void give_back(struct endpoint *p, const struct call *c, enum sl_reply_class class, struct sl_bytes body)
{
	int64_t used;

	if (p->def->tokens_per_minute == 0 || c->out->plain || class == SL_REPLY_TIMEOUT || class == SL_REPLY_BROKEN)
		return;
	used = class == SL_REPLY_ANSWERED ? tokens_used(body) : 0;
	if (used >= 0)
		sl_bucket_give(&p->tokens, c->tokens - (double)used);
}

/* A line where what people see changes: away, back, away for another reason. */
static void tell(struct endpoint *p)
{
	const struct sl_circuit *away = sl_route_away(&p->route);
	const char *word = away ? away->word : NULL;
	char where[96];

	if (word == p->told || (word && p->told && strcmp(word, p->told) == 0))
		return;
	snprintf(where, sizeof where, "endpoint=%s", p->def->name);
	if (word)
		sl_log(SL_LOG_WARN, where, "%s: %s; it is tried again until it answers", word, away->why);
	else
		sl_log(SL_LOG_NOTE, where, "it answers again");
	p->told = word;
}

static void give_up(struct endpoint *p, struct call *c, const char *why)
{
	snprintf(c->why, sizeof c->why, "%s, after %u attempt%s", why, c->attempts, c->attempts == 1 ? "" : "s");
	to_settled(p, c, SL_GAVE_UP);
}

/* The question was not answered: once more, later, or no more. */
static void again(struct endpoint *p, struct call *c, enum sl_reply_class class, const struct sl_http_attempt *a,
		  const char *why, int64_t now_ms)
{
	bool away = sl_route_away(&p->route) != NULL;
	bool refused = class == SL_REPLY_CONNECT, elsewhere = false;
	bool counts = false, perhaps_done = false;

	switch (class) {
	case SL_REPLY_CONNECT: /* nothing was sent: to try again costs nothing and asks nobody twice */
		c->refusals++;
		elsewhere = !away && p->route.replicas[c->path.replica].circuit.word;
		break;
	case SL_REPLY_TIMEOUT:
	case SL_REPLY_BROKEN:
	case SL_REPLY_SERVER:
	case SL_REPLY_CONFLICT:
		counts = !c->path.replica_probe && !a->refused;
		perhaps_done = c->attempts > 0;
		c->failures += counts;
		c->server_errors += class == SL_REPLY_SERVER;
		break;
	default:
		break;
	}
	if ((c->out->once && perhaps_done) || (counts && c->failures > p->def->retries && !away) ||
	    (c->server_errors >= SERVER_ERRORS_MAX && c->server_errors > p->def->retries)) {
		give_up(p, c, why);
		return;
	}
	if (p->draining) {
		settle_away(p, c, "stopped", why);
		return;
	}
	/* Others are answered, but this one does not get through. */
	if (refused && c->out->or_not && !elsewhere && c->refusals > p->def->retries) {
		settle_away(p, c, sl_reply_word(class), why);
		return;
	}
	if (!c->out->plain && c->unknown > p->def->retries) { /* all that was reserved may have been spent */
		settle_away(p, c, "asked again when it is paid for anew", why);
		return;
	}
	p->stats.retries++;
	/* Who has tried for all goes to the end, so that one bad question does not keep the door shut. */
	if (c->path.replica_probe || c->path.key_probe)
		c->turn = ++p->turns;
	/* A refusal waits also while the endpoint is away, for less than the circuit: where some connections are
	 * answered and others refused it closes again and again. */
	if ((refused && !elsewhere) || (counts && !away))
		to_delayed(p, c,
			   now_ms + sl_retry_delay_ms(&a->headers, refused ? c->refusals : c->failures, chance(p)));
	else
		to_ready(p, c);
}

/* Whether a 404 to this call is one for others too. Not where it asks for another model, a file or a batch. */
static bool is_of_endpoint(const struct endpoint *p, const struct call *c)
{
	const char *model = c->out->model && c->out->model[0] ? c->out->model : NULL;

	return !c->out->plain && (!model || (p->def->model && strcmp(model, p->def->model) == 0));
}

static void ended(struct sl_http_member *m, struct sl_http_attempt *a, int64_t now_ms)
{
	struct endpoint *p = of_member(m);
	struct call *c = a->call;
	const struct sl_reply reply = { .code = a->code,
					.status = a->status,
					.error = a->error,
					.unsent = a->sends == 0,
					.too_large = a->too_large,
					.headers = a->headers,
					.body = sl_buf_bytes(&a->body) };
	enum sl_reply_class class = sl_reply_classify(&reply);
	char why[256] = "";

	if (class == SL_REPLY_NOT_FOUND && !is_of_endpoint(p, c))
		class = SL_REPLY_REFUSED;
	list_take(&p->under_way, c);
	c->attempt = NULL;
	c->attempts += a->sends;
	p->stats.attempts += a->sends;
	p->stats.bytes_received += (int64_t)a->body.size;
	p->stats.classes[class]++;
	if (!c->out->plain) {
		uint32_t unknown = sl_http_attempt_unknown(a);

		c->unknown += unknown;
		p->stats.unknown += unknown;
	}
	if (class != SL_REPLY_ANSWERED)
		sl_reply_why(&reply, p->def->keys.at, p->def->keys.count, why);
	sl_route_ended(&p->route, &c->path, class, &a->headers, why, a->began_ms, now_ms, chance(p));
	give_back(p, c, class, reply.body);
	tell(p);
	p->answered |= class == SL_REPLY_ANSWERED || class == SL_REPLY_REFUSED;
	if (class == SL_REPLY_THROTTLED)
		p->stats.halvings += sl_window_throttled(&p->window, a->began_ms, now_ms);
	switch (class) {
	case SL_REPLY_ANSWERED:
		sl_window_good(&p->window);
		sl_endpoint_stats_latency(&p->stats, now_ms - a->began_ms);
		/* fall through */
	case SL_REPLY_REFUSED:
		if (class == SL_REPLY_REFUSED)
			sl_reply_hide(&a->body, p->def->keys.at, p->def->keys.count);
		snprintf(c->why, sizeof c->why, "%s", why);
		c->body = a->body;
		a->body = (struct sl_buf){ 0 };
		to_settled(p, c, (int)a->status);
		break;
	case SL_REPLY_TOO_LARGE:
		snprintf(c->why, sizeof c->why, "answer over %zu MiB",
			 (c->out->answer_max ? c->out->answer_max : SL_ANSWER_MAX) >> 20);
		to_settled(p, c, SL_GAVE_UP);
		break;
	default:
		again(p, c, class, a, why, now_ms);
		break;
	}
	a->next = p->idle;
	p->idle = a;
}

static void leave(struct sl_http_member *m)
{
	struct endpoint *p = of_member(m);

	p->draining = true;
	settle_all(p, &p->ready, false, "stopped", "not asked any more");
	settle_all(p, &p->delayed, false, "stopped", "not asked any more");
	while (p->under_way.first) {
		struct call *c = p->under_way.first;
		struct sl_http_attempt *a = c->attempt;

		sl_http_loop_abort(p->loop, a);
		list_take(&p->under_way, c);
		sl_route_aborted(&p->route, &c->path);
		c->attempts += a->sends;
		c->unknown += c->out->plain ? 0 : sl_http_attempt_unknown(a);
		sl_http_attempt_free(a);
		settle_away(p, c, "stopped", "without waiting for the answer");
	}
}

/* -- From outside ------------------------------------------------------------------------------------ */

static void send_call(struct sl_endpoint *e, struct sl_outcall *out)
{
	struct endpoint *p = (struct endpoint *)e;
	struct call *c = sl_calloc(1, sizeof *c);

	c->out = out;
	sl_http_loop_lock(p->loop);
	c->turn = ++p->turns;
	p->stats.calls++;
	to_ready(p, c);
	sl_http_loop_wake(p->loop);
	sl_http_loop_unlock(p->loop);
}

static void drain(struct sl_endpoint *e)
{
	struct endpoint *p = (struct endpoint *)e;

	sl_http_loop_lock(p->loop);
	p->draining = true;
	if (p->ready.count || p->delayed.count)
		sl_http_loop_wake(p->loop);
	sl_http_loop_unlock(p->loop);
}

static struct sl_endpoint_now now_of(const struct endpoint *p)
{
	const struct sl_circuit *away = sl_route_away(&p->route);
	int64_t now_ms = sl_http_now_ms();
	struct sl_endpoint_now now = { .name = p->def->name,
				       .state = p->answered ? "ok" : "idle",
				       .why = "",
				       .waiting = (int64_t)(p->ready.count + p->delayed.count),
				       .in_flight = (int64_t)p->under_way.count,
				       .limit = sl_window_size(&p->window),
				       .next_try_ms = -1 };

	if (away) {
		now.state = away->word;
		now.why = away->why;
		now.next_try_ms = away->try_at_ms > now_ms ? away->try_at_ms - now_ms : 0;
	} else if (sl_route_throttled(&p->route, now_ms)) {
		now.state = "throttled";
		now.why = "the server asked for fewer calls";
	} else { /* something may be going wrong */
		for (size_t i = 0; i < p->route.replica_count && !now.why[0]; i++)
			now.why = p->route.replicas[i].circuit.why;
	}
	return now;
}

/* Which of several replicas or keys are out. Keys are told by their place in the file. */
static void describe_lanes(const struct sl_lane *lanes, size_t count, const char *what, char *const *names,
			   struct sl_buf *json)
{
	json_t *all = json_array();
	char *text;

	for (size_t i = 0; i < count; i++) {
		json_t *lane = json_pack("{s:s, s:s}", "state", lanes[i].circuit.word ? lanes[i].circuit.word : "ok",
					 "why", lanes[i].circuit.word ? lanes[i].circuit.why : "");

		if (names)
			json_object_set_new(lane, "url", json_string(names[i]));
		json_array_append_new(all, lane);
	}
	text = json_dumps(all, JSON_COMPACT);
	if (!text)
		sl_oom(0);
	sl_buf_print(json, ",\"%s\":%s", what, text);
	free(text);
	json_decref(all);
}

static void describe(struct sl_endpoint *e, struct sl_buf *json)
{
	struct endpoint *p = (struct endpoint *)e;
	struct sl_endpoint_now now;

	sl_http_loop_lock(p->loop);
	now = now_of(p);
	sl_endpoint_stats_json(&p->stats, &now, json);
	if (p->route.replica_count > 1)
		describe_lanes(p->route.replicas, p->route.replica_count, "replicas", p->requests.urls, json);
	if (p->route.key_count > 1)
		describe_lanes(p->route.keys, p->route.key_count, "keys", NULL, json);
	sl_http_loop_unlock(p->loop);
}

static void read_out(struct sl_endpoint *e, struct sl_endpoint_reading *to)
{
	struct endpoint *p = (struct endpoint *)e;

	sl_http_loop_lock(p->loop);
	*to = (struct sl_endpoint_reading){ .stats = p->stats, .now = now_of(p) };
	to->now.why = ""; /* it changes when the lock is gone */
	sl_http_loop_unlock(p->loop);
}

static void free_endpoint(struct sl_endpoint *e)
{
	struct endpoint *p = (struct endpoint *)e;

	sl_http_loop_leave(p->loop, &p->member, p->def->in_flight);
	assert(!p->ready.count && !p->delayed.count);
	assert(!p->under_way.count && !p->settled.count);
	while (p->idle) {
		struct sl_http_attempt *next = p->idle->next;

		sl_http_attempt_free(p->idle);
		p->idle = next;
	}
	sl_requests_release(&p->requests);
	free(p->route.replicas);
	free(p->route.keys);
	free(p);
}

/* -- Making one ---------------------------------------------------------------------------------------- */

static const struct sl_http_member_ops member_ops = { .turn = turn, .ended = ended, .leave = leave, .settle = settle };
static const struct sl_endpoint_ops endpoint_ops = {
	.send = send_call, .drain = drain, .describe = describe, .read = read_out, .free = free_endpoint
};

struct sl_endpoint *sl_http_endpoint_new(struct sl_http_loop *loop, const struct sl_endpoint_def *d)
{
	struct endpoint *p = sl_calloc(1, sizeof *p);
	int64_t now = sl_http_now_ms();

	assert(d->urls.count > 0);
	assert(d->in_flight > 0);
	p->base = (struct sl_endpoint){ .ops = &endpoint_ops, .name = d->name };
	p->member.ops = &member_ops;
	p->loop = loop;
	p->def = d;
	sl_requests_init(&p->requests, d);
	p->route = (struct sl_route){ .replicas = sl_calloc(d->urls.count, sizeof(struct sl_lane)),
				      .keys = sl_calloc(p->requests.key_count, sizeof(struct sl_lane)),
				      .replica_count = d->urls.count,
				      .key_count = p->requests.key_count };
	sl_window_init(&p->window, d->in_flight);
	sl_bucket_init(&p->per_minute, d->requests_per_minute, now);
	sl_bucket_init(&p->tokens, d->tokens_per_minute, now);
	p->random = (uint64_t)sl_monotonic_ns() ^ (uint64_t)getpid() << 40;
	sl_http_loop_join(loop, &p->member, d->in_flight);
	return &p->base;
}
