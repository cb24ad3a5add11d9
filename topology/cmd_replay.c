/* cmd_replay.c -- `sluice replay`: play records of any topic once more, from a step on.
 *
 * A record goes into the topic that the step reads, with one more line in its trail: step
 * "replay", where it came from, and a pass number one above its last. Dead letters carry
 * the original bytes; those of ingest are lines, which are parsed again. */
#include "commands.h"

#include "../schemas/codec.h"
#include "../schemas/jsonl.h"
#include "replaying.h"
#include "topic_walk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_RECORDS 1000
#define BATCH_BYTES ((size_t)4 << 20)

struct replay_args {
	struct sl_common common;
	const char *topic, *into, *where;
	int64_t limit;
};

static const struct sl_arg args[] = {
	{ "topic", 0, SL_ARG_TEXT, "NAME", "where the records are, for example dead.dedupe",
	  offsetof(struct replay_args, topic) },
	{ "into", 0, SL_ARG_TEXT, "STEP", "the step that shall see them again", offsetof(struct replay_args, into) },
	{ "where", 0, SL_ARG_TEXT, "KEY=VALUE", "only those of this step, code, source or domain",
	  offsetof(struct replay_args, where) },
	{ "limit", 0, SL_ARG_COUNT, "N", "at most so many (0: all)", offsetof(struct replay_args, limit) },
	SL_COMMON_ARGS,
};

static const char *const where_keys[] = { "step", "code", "source", "domain", NULL };

struct replay {
	const struct replay_args *args;
	struct sl_session *s;
	struct sl_where where;
	int from, to;
	struct sl_arena arena; /* of one record */
	struct sl_buf frames, value;
	size_t batched;
	int64_t replayed, unreadable, left;
};

static bool flush(struct replay *x, struct sl_error *e)
{
	struct sl_record *records = sl_malloc((x->batched + 1) * sizeof *records);
	size_t at = 0, count = 0;
	bool done;

	while (sl_frames_next(sl_buf_bytes(&x->frames), &at, &records[count]))
		count++;
	done = count == 0 || sl_client_append(x->s->client, x->to, records, count, e);
	free(records);
	if (!done)
		return false;
	x->replayed += (int64_t)count;
	x->batched = 0;
	sl_buf_clear(&x->frames);
	return true;
}

static bool add(struct replay *x, struct sl_pair *p, const struct sl_record *from, int32_t partition,
		struct sl_error *e)
{
	const struct sl_replay r = { x->s->topology, x->from, x->to, x->args->into };
	struct sl_record to;

	sl_replay_record(&r, p, partition, from->offset, from->time_ms, &x->arena, &x->value, &to);
	sl_frames_add(&x->frames, &to);
	x->batched++;
	return (x->batched < BATCH_RECORDS && x->frames.size < BATCH_BYTES) || flush(x, e);
}

/* A line that ingest could not read, perhaps readable by this release. */
static bool add_line(struct replay *x, const struct sl_record *r, int32_t partition, struct sl_error *e)
{
	struct sl_bytes line = sl_header_find(r->headers, "sluice.line");
	struct sl_parsed parsed;
	struct sl_error why;

	if (sl_header_find(r->headers, "sluice.length").data || /* only its head is here */
	    !sl_jsonl_parse(r->value, NULL, &x->arena, &parsed, &why) || parsed.pair_count == 0) {
		x->unreadable++;
		return true;
	}
	for (size_t i = 0; i < parsed.pair_count; i++) {
		struct sl_pair *p = &parsed.pairs[i];

		p->time_ms = r->time_ms;
		p->arrival.file = sl_header_find(r->headers, "sluice.file");
		p->arrival.line = line.data ? strtoll(sl_arena_bytes(&x->arena, line).data, NULL, 10) : 0;
		p->arrival.item = (int64_t)i;
		if (!p->source.data)
			p->source = sl_header_find(r->headers, "sluice.source");
		if (!add(x, p, r, partition, e))
			return false;
	}
	return true;
}

static bool parked(const struct sl_pair *p)
{
	return p->trail_count && sl_is(sl_code_of(p->trail[p->trail_count - 1].reason), "parked");
}

static bool one(struct replay *x, const struct sl_record *r, int32_t partition, struct sl_error *e)
{
	struct sl_pair p;
	struct sl_error not_a_pair;

	sl_arena_clear(&x->arena);
	sl_pair_init(&p);
	if (sl_pair_decode(r->value, &x->arena, &p, &not_a_pair)) {
		/* What waits for a batch comes back by itself, and would come twice. */
		if (!sl_where_holds(&x->where, &p, r) || (!x->where.key.data && parked(&p))) {
			x->left++;
			return true;
		}
		return add(x, &p, r, partition, e);
	}
	sl_pair_init(&p);
	p.source = sl_header_find(r->headers, "sluice.source");
	if (sl_where_holds(&x->where, &p, r))
		return add_line(x, r, partition, e);
	x->left++;
	return true;
}

static int replay(struct replay *x)
{
	const struct replay_args *a = x->args;
	const struct sl_topology *t = x->s->topology;
	int from = sl_command_topic(t, a->topic), step = from < 0 ? -1 : sl_command_step(t, a->into);
	struct sl_topic_walk walk;
	struct sl_error e = { 0 };
	struct sl_record r;
	bool done = true;

	if (from < 0 || step < 0)
		return SL_EXIT_USAGE;
	x->from = from;
	x->to = t->steps[step].from;
	if (t->topics[from].inlined || from == t->models)
		return sl_command_usage("topic '%s' holds no stored pairs", a->topic);
	if (t->topics[x->to].inlined)
		return sl_command_usage("step '%s' runs inside step '%s' and reads no stored topic: replay into '%s'",
					a->into, t->steps[t->steps[step].host].name,
					t->steps[t->steps[step].host].name);
	sl_topic_walk_open(&walk, x->s->client, t, from);
	while (done && (!a->limit || x->replayed + (int64_t)x->batched < a->limit) && sl_topic_walk_next(&walk, &r, &e))
		done = !r.value.data || one(x, &r, walk.partition, &e);
	done = done && e.verdict == SL_OK && flush(x, &e);
	sl_topic_walk_close(&walk);
	if (!done)
		sl_command_failed(&e);
	if (a->common.json)
		printf("{\"replayed\": %" PRId64 ", \"left\": %" PRId64 ", \"unreadable\": %" PRId64 "}\n", x->replayed,
		       x->left, x->unreadable);
	else
		printf("%" PRId64 " records of '%s' replayed into '%s', %" PRId64 " left out, %" PRId64
		       " still unreadable\n",
		       x->replayed, a->topic, a->into, x->left, x->unreadable);
	return done ? sl_command_flush() : SL_EXIT_FAILED;
}

static int run(void *self, const struct sl_texts *words)
{
	struct replay_args *a = self;
	struct sl_session s;
	struct replay x = { .args = a, .s = &s };
	struct sl_error e = { 0 };
	int code;

	(void)words;
	if (!a->topic || !a->into)
		return sl_command_usage("replay needs --topic NAME and --into STEP");
	if (a->where && !sl_where_parse(a->where, where_keys, &x.where, &e))
		return sl_command_usage("%s", e.text);
	code = sl_command_open(&a->common, &s);
	if (code == SL_EXIT_OK)
		code = replay(&x);
	sl_command_close(&s);
	sl_arena_release(&x.arena);
	sl_buf_release(&x.frames);
	sl_buf_release(&x.value);
	return code;
}

const struct sl_command sl_command_replay = {
	.name = "replay",
	.usage = "--topic NAME [--where KEY=VALUE] [--limit N] --into STEP",
	.summary = "play records of a topic, or dead letters, once more from a step on",
	.more = "Every replay is a new pass: the trail keeps the old one. Running it twice replays twice. Pairs that "
		"wait for a\n"
		"batch come back by themselves: they are left out unless --where asks for them (code=parked).",
	.args = args,
	.self_size = sizeof(struct replay_args),
	.run = run,
};
