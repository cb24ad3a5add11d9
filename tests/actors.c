/* actors.c -- the operators and the endpoint behind actors.h. */
#include "actors.h"

#include "../schemas/codec.h"
#include "../topology/base/buf.h"
#include "../topology/base/hash.h"
#include "twins.h"

#include <stdio.h>
#include <stdlib.h>

static struct sl_bytes prompt_of(const struct sl_pair *p)
{
	return p->prompt.count ? p->prompt.at[0].content : sl_text("");
}

static bool begins(struct sl_bytes text, const char *word)
{
	return sl_bytes_begins(text, sl_text(word));
}

static struct sl_bytes number(uint8_t b[8], int64_t n)
{
	sl_put_le64(b, (uint64_t)n);
	return (struct sl_bytes){ b, 8 };
}

/* -- tally and forgetful ---------------------------------------------------------------- */

static const char *const tally_ports[] = { "odd", "even", NULL };
static const struct sl_store_def tally_stores[] = { { "counts", false }, { "last", true }, { 0 } };
enum { ODD, EVEN };
enum { COUNTS, LAST };

static enum sl_verdict tally_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		struct sl_pair p = b->pairs[i];
		struct sl_bytes group = sl_id_bytes(&p.group), found;
		struct sl_scan scan;
		int64_t n = 1, alike = 0;
		uint8_t v[8];

		if (begins(prompt_of(&p), "bad")) {
			sl_reject(t, &p, "bad: the prompt says so");
			continue;
		}
		if (sl_get(t, COUNTS, group, &found))
			n += (int64_t)sl_get_le64(found.data);
		sl_put(t, COUNTS, group, number(v, n));
		sl_put(t, LAST, group, sl_id_bytes(&p.id));
		for (sl_scan(t, &scan, COUNTS, (struct sl_bytes){ group.data, 1 }); sl_scan_next(&scan);)
			alike++;
		p.margin = (double)n + (double)alike / 1000;
		sl_emit_because(t, n % 2 ? ODD : EVEN, &p, "counted: %lld", (long long)n);
		if (n == 5) /* and begin anew */
			sl_del(t, COUNTS, group);
	}
	return SL_OK;
}

const struct sl_operator sl_actor_tally = {
	.name = "tally",
	.version = "1",
	.help = "counts groups",
	.ports = tally_ports,
	.stores = tally_stores,
	.process = tally_process,
};

struct forgetful {
	int64_t counts[256];
};

static enum sl_verdict forgetful_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	struct forgetful *f = self;

	for (size_t i = 0; i < b->count; i++) {
		struct sl_pair p = b->pairs[i];

		p.margin = (double)++f->counts[p.group.b[0]];
		sl_emit(t, (int64_t)p.margin % 2 ? ODD : EVEN, &p);
	}
	return SL_OK;
}

const struct sl_operator sl_actor_forgetful = {
	.name = "forgetful",
	.version = "1",
	.help = "counts groups in self",
	.ports = tally_ports,
	.self_size = sizeof(struct forgetful),
	.process = forgetful_process,
};

/* -- expiring and hasty ------------------------------------------------------------------ */

static const char *const expiring_ports[] = { "fresh", "stale", NULL };
static const struct sl_store_def expiring_stores[] = { { "seen", false }, { 0 } };

static void expire(struct sl_task *t, const struct sl_batch *b, bool by_record)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct sl_pair *p = &b->pairs[i];
		struct sl_bytes row;
		bool seen = sl_get(t, 0, sl_id_bytes(&p->group), &row);
		uint8_t v[8];

		if (seen && by_record)
			seen = p->time_ms - (int64_t)sl_get_le64(row.data) <= SL_EXPIRES_MS;
		sl_emit(t, seen, p);
		if (!seen)
			sl_put(t, 0, sl_id_bytes(&p->group), number(v, p->time_ms));
	}
}

static enum sl_verdict expiring_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	expire(t, b, true);
	return SL_OK;
}

static enum sl_verdict hasty_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	expire(t, b, false);
	return SL_OK;
}

static enum sl_verdict reclaim(struct sl_task *t, void *self, int64_t stream_ms)
{
	struct sl_scan scan;

	(void)self;
	for (sl_scan(t, &scan, 0, (struct sl_bytes){ "", 0 }); sl_scan_next(&scan);)
		if (stream_ms - (int64_t)sl_get_le64(scan.value.data) > SL_EXPIRES_MS)
			sl_del(t, 0, scan.key);
	return SL_OK;
}

const struct sl_operator sl_actor_expiring = {
	.name = "expiring",
	.version = "1",
	.help = "fresh or stale",
	.ports = expiring_ports,
	.stores = expiring_stores,
	.tick_every_ms = 20,
	.process = expiring_process,
	.tick = reclaim,
};

const struct sl_operator sl_actor_hasty = {
	.name = "hasty",
	.version = "1",
	.help = "fresh or stale, as the last tick left it",
	.ports = expiring_ports,
	.stores = expiring_stores,
	.tick_every_ms = 20,
	.process = hasty_process,
	.tick = reclaim,
};

/* -- lookup ---------------------------------------------------------------------------------- */

static const char *const out_ports[] = { "out", NULL };
static const char *const lookup_tables[] = { "gold", NULL };

static enum sl_verdict lookup_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		struct sl_pair p = b->pairs[i], gold;
		struct sl_scan scan;
		struct sl_bytes whole;
		struct sl_error e = { 0 };

		p.margin = 0;
		for (sl_table_scan(t, &scan, 0, 0); sl_scan_next(&scan);)
			if (sl_pair_decode(scan.value, sl_task_arena(t), &gold, &e) && sl_id_equal(gold.group, p.group))
				p.margin++;
		if (sl_table_get(t, 0, sl_id_bytes(&p.id), &whole))
			p.margin += 0.5;
		sl_emit(t, 0, &p);
	}
	return SL_OK;
}

const struct sl_operator sl_actor_lookup = {
	.name = "lookup",
	.version = "1",
	.help = "counts gold pairs of the group",
	.ports = out_ports,
	.tables = lookup_tables,
	.process = lookup_process,
};

/* -- asker ------------------------------------------------------------------------------------- */

static const char *const asker_ports[] = { "yes", "unclear", "failed", NULL };
enum { YES, UNCLEAR, FAILED };

static uint32_t question(struct sl_task *t, struct sl_bytes body)
{
	struct sl_call call = { .endpoint = "oracle", .model = "pythia", .body = body };

	return sl_ask(t, &call);
}

/* The question that the answers so far lead to; true: there is another one after it. */
static bool next_question(struct sl_task *t, struct sl_bytes *body, struct sl_answer *answer)
{
	*answer = sl_answer(t, question(t, *body));
	if (answer->status != 200 || !sl_bytes_equal(answer->body, sl_text(SL_SAID_AGAIN)))
		return false;
	*body = sl_text(sl_arena_print(sl_task_arena(t), "%.*s?", (int)body->size, (const char *)body->data));
	return true;
}

#define QUESTIONS_MOST 4

static enum sl_verdict asker_ask(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		struct sl_bytes body = prompt_of(&b->pairs[i]);
		struct sl_answer answer;

		for (int n = 0; n < QUESTIONS_MOST && next_question(t, &body, &answer); n++)
			;
	}
	return SL_OK;
}

static enum sl_verdict asker_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		struct sl_pair p = b->pairs[i];
		struct sl_bytes body = prompt_of(&p);
		struct sl_answer answer;
		int n = 0;

		while (n < QUESTIONS_MOST && next_question(t, &body, &answer))
			n++;
		p.margin = n;
		if (answer.status != 200)
			sl_emit_because(t, FAILED, &p, "failed: %s", answer.why);
		else if (sl_bytes_equal(answer.body, sl_text(SL_SAID_YES)))
			sl_emit(t, YES, &p);
		else
			sl_emit_because(t, UNCLEAR, &p, "unclear: %zu bytes", answer.body.size);
	}
	return SL_OK;
}

const struct sl_operator sl_actor_asker = {
	.name = "asker",
	.version = "1",
	.help = "asks the oracle",
	.ports = asker_ports,
	.ask = asker_ask,
	.process = asker_process,
};

/* -- fatal ---------------------------------------------------------------------------------------- */

static enum sl_verdict fatal_process(struct sl_task *t, void *self, const struct sl_batch *b)
{
	(void)self;
	for (size_t i = 0; i < b->count; i++) {
		if (begins(prompt_of(&b->pairs[i]), SL_FATAL_WORD))
			abort();
		sl_emit(t, 0, &b->pairs[i]);
	}
	return SL_OK;
}

const struct sl_operator sl_actor_fatal = {
	.name = "fatal",
	.version = "1",
	.help = "dies of a word",
	.ports = out_ports,
	.process = fatal_process,
};

/* -- the oracle -------------------------------------------------------------------------------------- */

struct heard {
	struct sl_id key;
	bool answered; /* handed over, with status 200 */
};

struct sl_oracle {
	struct sl_endpoint endpoint; /* first: the endpoint is the oracle */
	struct sl_outcall **open;
	size_t open_count, open_capacity;
	struct heard *heard;
	size_t heard_count, heard_capacity;
	size_t sent, paid_twice, lost;
};

enum sl_reply sl_oracle_reply(struct sl_bytes question_text)
{
	uint64_t h = sl_hash64(question_text.data, question_text.size, 77) % 16;

	return h < 8    ? SL_REPLY_YES
	       : h < 12 ? SL_REPLY_AGAIN
	       : h < 13 ? SL_REPLY_GARBAGE
	       : h < 14 ? SL_REPLY_500
			: SL_REPLY_TIMEOUT;
}

static void oracle_send(struct sl_endpoint *endpoint, struct sl_outcall *call)
{
	struct sl_oracle *o = (struct sl_oracle *)endpoint;
	size_t i = 0;

	o->sent++;
	while (i < o->heard_count && !sl_id_equal(o->heard[i].key, call->key))
		i++;
	if (i < o->heard_count) {
		o->paid_twice += o->heard[i].answered;
	} else {
		if (o->heard_count == o->heard_capacity) {
			o->heard_capacity = o->heard_capacity ? 2 * o->heard_capacity : 64;
			o->heard = sl_realloc(o->heard, o->heard_capacity * sizeof *o->heard);
		}
		o->heard[o->heard_count++] = (struct heard){ .key = call->key };
	}
	if (o->open_count == o->open_capacity) {
		o->open_capacity = o->open_capacity ? 2 * o->open_capacity : 64;
		o->open = sl_realloc(o->open, o->open_capacity * sizeof(struct sl_outcall *));
	}
	o->open[o->open_count++] = call;
}

static void settle(struct sl_outcall *call, int status, struct sl_bytes body, const char *why)
{
	const struct sl_settlement reply = { .status = status, .body = body, .why = why, .attempts = 1 };

	call->done(call, &reply);
}

static void answer(struct sl_oracle *o, struct sl_outcall *call)
{
	static const char garbage[] = "\xff\0{]";

	switch (sl_oracle_reply(call->body)) {
	case SL_REPLY_YES:
	case SL_REPLY_AGAIN:
	case SL_REPLY_GARBAGE:
		for (size_t i = 0; i < o->heard_count; i++)
			if (sl_id_equal(o->heard[i].key, call->key))
				o->heard[i].answered = sl_oracle_reply(call->body) != SL_REPLY_GARBAGE;
		settle(call, 200,
		       sl_oracle_reply(call->body) == SL_REPLY_YES     ? sl_text(SL_SAID_YES)
		       : sl_oracle_reply(call->body) == SL_REPLY_AGAIN ? sl_text(SL_SAID_AGAIN)
								       : (struct sl_bytes){ garbage, 4 },
		       NULL);
		break;
	case SL_REPLY_500:
		settle(call, 500, sl_text("oops"), "status 500");
		break;
	default:
		settle(call, SL_GAVE_UP, sl_text(""), "no answer in time");
	}
}

void sl_oracle_turn(struct sl_oracle *o, uint64_t *seed)
{
	while (o->open_count && (!seed || sl_random(seed) % 3)) {
		size_t i = seed ? (size_t)(sl_random(seed) % o->open_count) : 0;
		struct sl_outcall *call = o->open[i];

		o->open[i] = o->open[--o->open_count];
		answer(o, call);
	}
}

static void oracle_hang_up(struct sl_endpoint *endpoint)
{
	struct sl_oracle *o = (struct sl_oracle *)endpoint;

	o->lost += o->open_count;
	while (o->open_count) {
		struct sl_outcall *call = o->open[--o->open_count];

		settle(call, SL_GAVE_UP, sl_text(""), "closing");
	}
}

static const struct sl_endpoint_ops oracle_ops = { .send = oracle_send, .free = oracle_hang_up };

struct sl_oracle *sl_oracle_new(void)
{
	struct sl_oracle *o = sl_calloc(1, sizeof *o);

	o->endpoint = (struct sl_endpoint){ .ops = &oracle_ops, .name = "oracle" };
	return o;
}

void sl_oracle_free(struct sl_oracle *o)
{
	free(o->open);
	free(o->heard);
	free(o);
}

struct sl_endpoint *sl_oracle_endpoint(struct sl_oracle *o)
{
	return &o->endpoint;
}

size_t sl_oracle_sent(const struct sl_oracle *o)
{
	return o->sent;
}

size_t sl_oracle_paid_twice(const struct sl_oracle *o)
{
	return o->paid_twice;
}

size_t sl_oracle_lost(const struct sl_oracle *o)
{
	return o->lost;
}
