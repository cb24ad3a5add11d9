/* worlds.c -- the inputs and the oracles behind worlds.h. */
#include "worlds.h"

#include "topology/engine.h"

#include <inttypes.h>
#include <stdlib.h>

extern const struct sl_operator sl_operator_dedupe, sl_operator_embed;
const struct sl_operator *const sl_operators[] = {
	&sl_operator_dedupe,
	&sl_operator_embed,
	&sl_actor_tally,
	&sl_actor_expiring,
	&sl_actor_lookup,
	&sl_actor_asker,
	NULL,
};

/* -- comparing --------------------------------------------------------------------------------- */

/* What a topic must hold, in order, per partition. */
struct stream {
	struct sl_pair pairs[2][SL_FED_MOST];
	size_t count[2];
};

static void push(struct stream *s, int32_t partition, const struct sl_pair *p)
{
	s->pairs[partition][s->count[partition]++] = *p;
}

static bool topic_is(struct sl_trial *t, const char *topic, const struct stream *want, bool margins, struct sl_buf *why)
{
	struct sl_arena a = { 0 };
	struct sl_pair *got;
	size_t count = sl_trial_read(t, topic, &a, &got), n = want->count[0] + want->count[1];
	bool same = count == n;

	for (size_t i = 0; same && i < n; i++) {
		const struct sl_pair *w = i < want->count[0] ? &want->pairs[0][i] : &want->pairs[1][i - want->count[0]];

		same = sl_id_equal(w->id, got[i].id) && (!margins || w->margin == got[i].margin);
		if (!same)
			sl_buf_print(why, "topic %s: record %zu is another one than the input makes it", topic, i);
	}
	if (count != n)
		sl_buf_print(why, "topic %s has %zu records, the input makes %zu", topic, count, n);
	sl_arena_release(&a);
	return same;
}

static bool dead_are(struct sl_trial *t, const char *topic, size_t want, struct sl_buf *why)
{
	struct sl_arena a = { 0 };
	struct sl_record *records;
	size_t count = sl_trial_records(t, topic, &a, &records);

	sl_arena_release(&a);
	if (count != want)
		sl_buf_print(why, "topic %s has %zu records, the input makes %zu", topic, count, want);
	return count == want;
}

/* -- tally, once more in plain C ------------------------------------------------------------------ */

static bool is_bad(const struct sl_pair *p)
{
	return sl_bytes_begins(p->prompt.at[0].content, sl_text("bad"));
}

/* Returns how many were rejected. */
static size_t tally(const struct stream *in, struct stream *odd, struct stream *even)
{
	size_t bad = 0;

	memset(odd, 0, sizeof *odd);
	memset(even, 0, sizeof *even);
	for (int part = 0; part < 2; part++) {
		struct {
			struct sl_id group;
			int64_t n;
		} rows[SL_FED_MOST];
		size_t row_count = 0;

		for (size_t i = 0; i < in->count[part]; i++) {
			struct sl_pair p = in->pairs[part][i];
			size_t row = 0, alike = 0;

			if (is_bad(&p)) {
				bad++;
				continue;
			}
			while (row < row_count && !sl_id_equal(rows[row].group, p.group))
				row++;
			if (row == row_count) {
				rows[row].group = p.group;
				rows[row_count++].n = 0;
			}
			rows[row].n++;
			for (size_t k = 0; k < row_count; k++)
				alike += rows[k].n > 0 && rows[k].group.b[0] == p.group.b[0];
			p.margin = (double)rows[row].n + (double)alike / 1000;
			push(rows[row].n % 2 ? odd : even, sl_partition_of(sl_id_bytes(&p.group), 2), &p);
			if (rows[row].n == 5)
				rows[row].n = 0;
		}
	}
	return bad;
}

static void make_groups(struct sl_fed *fed, uint64_t seed)
{
	fed->count = 12 + (size_t)(sl_random(&seed) % 16);
	fed->broken_at = (size_t)(sl_random(&seed) % fed->count);
	for (size_t i = 0; i < fed->count; i++) {
		int group = (int)(sl_random(&seed) % 5);
		const char *prompt = sl_arena_print(&fed->arena, sl_random(&seed) % 12 ? "group %d" : "bad %d", group);

		fed->pairs[i] = sl_trial_pair(&fed->arena, prompt, sl_arena_print(&fed->arena, "answer %zu", i), "no");
		fed->pairs[i].time_ms = 1000 + 10 * (int64_t)i;
	}
}

/* Not there, or only as long as somebody has to read it. */
static bool gone(const struct sl_trial *t, const char *topic)
{
	const struct sl_topic *to = &t->topology->topics[sl_topology_topic(t->topology, topic)];

	return to->inlined || (to->retention == SL_RETAIN_UNTIL_READ && to->segment_bytes < 4096);
}

static bool tallies_right(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why)
{
	static struct stream raw, odd, even, odd2, even2;
	int32_t partitions = t->topology->topics[t->topology->entry].partitions;
	size_t bad;

	memset(&raw, 0, sizeof raw);
	for (size_t i = 0; i < fed->count; i++)
		push(&raw, partitions == 1 ? 0 : sl_partition_of(sl_id_bytes(&fed->pairs[i].group), partitions),
		     &fed->pairs[i]);
	bad = tally(&raw, &odd, &even);
	tally(&odd, &odd2, &even2);
	return (gone(t, "odd") || topic_is(t, "odd", &odd, true, why)) && topic_is(t, "even", &even, true, why) &&
	       topic_is(t, "odd2", &odd2, true, why) && topic_is(t, "even2", &even2, true, why) &&
	       dead_are(t, "dead.tally", bad + 1, why);
}

/* -- expiring --------------------------------------------------------------------------------------- */

static bool expiring_right(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why)
{
	static struct stream fresh, stale;
	struct {
		struct sl_id group;
		int64_t time_ms;
	} rows[SL_FED_MOST];
	size_t count = 0;

	memset(&fresh, 0, sizeof fresh);
	memset(&stale, 0, sizeof stale);
	for (size_t i = 0; i < fed->count; i++) {
		const struct sl_pair *p = &fed->pairs[i];
		size_t row = 0;

		while (row < count && !sl_id_equal(rows[row].group, p->group))
			row++;
		if (row < count && p->time_ms - rows[row].time_ms <= SL_EXPIRES_MS) {
			push(&stale, 0, p);
			continue;
		}
		push(&fresh, 0, p);
		rows[row].group = p->group;
		rows[row].time_ms = p->time_ms;
		count += row == count;
	}
	return topic_is(t, "fresh", &fresh, false, why) && topic_is(t, "stale", &stale, false, why);
}

/* -- asking ------------------------------------------------------------------------------------------ */

static bool asking_right(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why)
{
	static struct stream yes, unclear, failed, odd, even;
	struct sl_arena a = { 0 };
	bool right;

	memset(&yes, 0, sizeof yes);
	memset(&unclear, 0, sizeof unclear);
	memset(&failed, 0, sizeof failed);
	for (size_t i = 0; i < fed->count; i++) {
		struct sl_pair p = fed->pairs[i];
		struct sl_bytes question = p.prompt.at[0].content;
		enum sl_reply reply = sl_oracle_reply(question);
		int again = 0;

		for (; reply == SL_REPLY_AGAIN && again < 3; again++) {
			question =
				sl_text(sl_arena_print(&a, "%.*s?", (int)question.size, (const char *)question.data));
			reply = sl_oracle_reply(question);
		}
		p.margin = reply == SL_REPLY_AGAIN ? again + 1 : again;
		push(reply == SL_REPLY_YES                                ? &yes
		     : reply == SL_REPLY_500 || reply == SL_REPLY_TIMEOUT ? &failed
									  : &unclear,
		     sl_partition_of(sl_id_bytes(&p.group), 2), &p);
	}
	tally(&yes, &odd, &even);
	right = topic_is(t, "yes", &yes, true, why) && topic_is(t, "unclear", &unclear, true, why) &&
		topic_is(t, "failed", &failed, true, why) && topic_is(t, "odd", &odd, true, why) &&
		topic_is(t, "even", &even, true, why);
	sl_arena_release(&a);
	return right;
}

/* The same, and the books: nothing held in the end, no more spent than there was, and of what the oracle answered twice
 * nothing that is not counted. */
static bool paid_right(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why)
{
	int64_t repeated = 0, share = sl_budget_share(t->topology->endpoints[0].budget, 2);
	bool right = asking_right(t, fed, why);

	for (size_t i = 0; right && i < t->rt->unit_count; i++) {
		struct sl_calls_stats stats;
		struct sl_purse p[2];

		sl_calls_stats(t->rt->units[i]->calls, &stats, p);
		repeated += stats.counts.repeated;
		right = p[0].held == 0 && p[0].spent <= share && stats.counts.overshot == 0;
		if (!right)
			sl_buf_print(why, "held %" PRId64 ", spent %" PRId64 " of %" PRId64, p[0].held, p[0].spent,
				     share);
	}
	if (right && (int64_t)sl_oracle_paid_twice(fed->oracle) > repeated) {
		sl_buf_print(why, "%zu questions were paid twice, %" PRId64 " are counted",
			     sl_oracle_paid_twice(fed->oracle), repeated);
		right = false;
	}
	return right;
}

/* -- the product's operators --------------------------------------------------------------------------- */

/* Planted copies: what dedupe must make of each pair is kept in its meta: unique, duplicate, conflict. */
static void make_copies(struct sl_fed *fed, uint64_t seed)
{
	static const char *const words[] = { "river",  "stone",  "engine", "paper",  "garden", "silver",
					     "window", "letter", "forest", "number", "bridge", "winter",
					     "copper", "signal", "market", "island" };
	size_t originals[SL_FED_MOST], original_count = 0;

	fed->count = 14 + (size_t)(sl_random(&seed) % 14);
	fed->broken_at = (size_t)(sl_random(&seed) % fed->count);
	for (size_t i = 0; i < fed->count; i++) {
		struct sl_pair *p = &fed->pairs[i];
		uint64_t kind = sl_random(&seed) % 8;

		if (original_count == 0 || kind < 4) {
			struct sl_buf text[3] = { 0 };

			for (int part = 0; part < 3; part++)
				for (int w = 0; w < 12; w++)
					sl_buf_print(&text[part], "%s%d ", words[sl_random(&seed) % 16],
						     (int)(sl_random(&seed) % 9));
			*p = sl_trial_pair(&fed->arena, sl_buf_text(&text[0]), sl_buf_text(&text[1]),
					   sl_buf_text(&text[2]));
			for (int part = 0; part < 3; part++)
				sl_buf_release(&text[part]);
			if (kind == 0)
				p->gold = (struct sl_gold){ .present = true,
							    .verdict = sl_text("chosen"),
							    .sample = sl_text("given"),
							    .label_arrived = sl_text("same") };
			p->meta = sl_text("\"unique\"");
			originals[original_count++] = i;
		} else {
			*p = fed->pairs[originals[sl_random(&seed) % original_count]];
			p->gold = (struct sl_gold){ 0 };
			p->meta = sl_text("\"duplicate\"");
			if (kind == 7) {
				struct sl_messages chosen = p->chosen;

				p->chosen = p->rejected;
				p->rejected = chosen;
				sl_pair_identify(p, &fed->arena);
				p->meta = sl_text("\"conflict\"");
			}
		}
		p->time_ms = 1000 + 10 * (int64_t)i;
	}
}

static void planted(const struct sl_fed *fed, const char *meta, struct stream *to)
{
	memset(to, 0, sizeof *to);
	for (size_t i = 0; i < fed->count; i++)
		if (sl_bytes_equal(fed->pairs[i].meta, sl_text(meta)))
			push(to, sl_partition_of(sl_id_bytes(&fed->pairs[i].group), 2), &fed->pairs[i]);
}

static bool copies_right(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why)
{
	static struct stream unique, duplicate, conflict, raw, gold;
	size_t tables;
	struct sl_arena a = { 0 };
	struct sl_record *records;

	planted(fed, "\"unique\"", &unique);
	planted(fed, "\"duplicate\"", &duplicate);
	planted(fed, "\"conflict\"", &conflict);
	memset(&raw, 0, sizeof raw);
	memset(&gold, 0, sizeof gold);
	for (int32_t part = 0; part < 2; part++)
		for (size_t i = 0; i < unique.count[part]; i++)
			push(unique.pairs[part][i].gold.present ? &gold : &raw, part, &unique.pairs[part][i]);
	if ((!t->topology->topics[sl_topology_topic(t->topology, "unique")].inlined &&
	     !topic_is(t, "unique", &unique, false, why)) ||
	    !topic_is(t, "duplicate", &duplicate, false, why) || !topic_is(t, "conflict", &conflict, false, why) ||
	    !topic_is(t, "embedded", &raw, false, why) || !dead_are(t, "dead.dedupe", 1, why))
		return false;
	/* the frozen world has those of the first feed besides */
	if (!t->freeze && !topic_is(t, "pairs.gold", &gold, false, why))
		return false;
	tables = sl_trial_records(t, "pairs.gold", &a, &records);
	sl_arena_release(&a);
	if (t->freeze && tables != fed->count / 2 + gold.count[0] + gold.count[1]) {
		sl_buf_print(why, "%zu records in pairs.gold", tables);
		return false;
	}
	return sl_topology_topic(t->topology, "out") < 0 || topic_is(t, "out", &raw, false, why);
}

/* -- feeding ------------------------------------------------------------------------------------------- */

static bool feed(struct sl_trial *t, void *arg)
{
	const struct sl_fed *fed = arg;
	struct sl_record broken = { .key = sl_text("k"), .value = sl_text("not a pair"), .time_ms = 1000 };

	return sl_trial_feed(t, "pairs.raw", fed->pairs, fed->broken_at) &&
	       sl_trial_feed_record(t, "pairs.raw", &broken) &&
	       sl_trial_feed(t, "pairs.raw", fed->pairs + fed->broken_at, fed->count - fed->broken_at);
}

/* The table of the frozen world: gold of the first groups, written by hand. */
static bool feed_table(struct sl_trial *t, void *arg)
{
	const struct sl_fed *fed = arg;

	return sl_trial_feed(t, "pairs.gold", fed->pairs, fed->count / 2);
}

static struct sl_endpoint *endpoint(void *arg, const struct sl_endpoint_def *def)
{
	const struct sl_fed *fed = arg;

	(void)def;
	return sl_oracle_endpoint(fed->oracle);
}

static void world(void *arg, uint64_t *seed)
{
	const struct sl_fed *fed = arg;

	sl_oracle_turn(fed->oracle, seed);
}

struct sl_trial_case sl_world_case(const struct sl_world *w, struct sl_fed *fed)
{
	return (struct sl_trial_case){
		.name = w->name,
		.yaml = w->yaml,
		.feed = feed,
		.arg = fed,
		.endpoint = w->asks ? endpoint : NULL,
		.world = w->asks ? world : NULL,
		.freeze = w->freeze,
		.feed_first = w->freeze ? feed_table : NULL,
	};
}

/* -- the worlds ------------------------------------------------------------------------------------------ */

#define TALLIES                                                                                                        \
	"topology: tallies\npartitions: 2\nsteps:\n"                                                                   \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even } }\n"                                         \
	"  - { name: again, operator: tally, from: odd, to: { odd: odd2, even: even2 } }\n"
#define COPIES                                                                                                         \
	"topology: copies\npartitions: 2\nsteps:\n"                                                                    \
	"  - name: dedupe\n    from: pairs.raw\n"                                                                      \
	"    to: { unique: unique, duplicate: duplicate, conflict: conflict, contaminated: contaminated }\n"           \
	"  - { name: embed, from: unique, to: { embedded: embedded, gold: pairs.gold }, dim: 16 }\n"
#define LOOKUP COPIES "  - { name: lookup, from: embedded, to: { out: out }, tables: { gold: pairs.gold } }\n"

const struct sl_world sl_worlds[] = {
	{ .name = "tallies", .yaml = TALLIES, .make = make_groups, .same = true, .right = tallies_right },
	{ .name = "tallies, raw in two, small segments",
	  .yaml = TALLIES
	  "topics:\n  pairs.raw: { partitions: 2, segment: 1KiB }\n  odd: { segment: 1KiB, retention: keep }\n"
	  "  even2: { segment: 2KiB }\n",
	  .make = make_groups,
	  .same = true,
	  .right = tallies_right },
	{ .name = "tallies, dropped when read",
	  .yaml = TALLIES "topics:\n  odd: { segment: 1KiB }\n",
	  .make = make_groups,
	  .same = true,
	  .right = tallies_right },
	{ .name = "tallies inline",
	  .yaml = TALLIES "topics:\n  pairs.raw: { partitions: 2 }\ninline: [odd]\n",
	  .make = make_groups,
	  .same = true,
	  .right = tallies_right },
	{ .name = "expiring",
	  .yaml = "topology: t\nsteps:\n"
		  "  - { name: expiring, from: pairs.raw, to: { fresh: fresh, stale: stale } }\n",
	  .make = make_groups,
	  .same = true,
	  .right = expiring_right },
	{ .name = "asking",
	  .yaml = "topology: t\npartitions: 2\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"
		  "  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed } }\n"
		  "  - { name: tally, from: yes, to: { odd: odd, even: even } }\n",
	  .make = make_groups,
	  .asks = true,
	  .same = true,
	  .right = asking_right },
	{ .name = "asking, nothing ahead, a memo that forgets",
	  .yaml = "topology: t\npartitions: 2\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\n"
		  "memo: { max_size: 1KiB }\nsteps:\n"
		  "  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed }, ahead: 0 }\n"
		  "  - { name: tally, from: yes, to: { odd: odd, even: even } }\n",
	  .make = make_groups,
	  .asks = true,
	  .forgets = true,
	  .same = true,
	  .right = asking_right },
	{ .name = "asking for money",
	  .yaml = "topology: t\npartitions: 2\nendpoints:\n"
		  "  oracle: { url: \"http://scripted/v1\", model: pythia, budget: 2 }\n"
		  "prices: { pythia: { prompt: 3, completion: 5 } }\nsteps:\n"
		  "  - { name: asker, from: pairs.raw, to: { yes: yes, unclear: unclear, failed: failed }, ahead: 2 }\n"
		  "  - { name: tally, from: yes, to: { odd: odd, even: even } }\n"
		  "topics:\n  pairs.raw: { partitions: 2 }\n",
	  .make = make_groups,
	  .asks = true,
	  .same = true,
	  .right = paid_right },
	{ .name = "dedupe, embed", .yaml = COPIES, .make = make_copies, .same = true, .right = copies_right },
	{ .name = "dedupe, embed inline",
	  .yaml = COPIES "topics:\n  unique: { partitions: 1 }\ninline: [unique]\n",
	  .make = make_copies,
	  .same = true,
	  .right = copies_right },
	{ .name = "a table, frozen",
	  .yaml = LOOKUP,
	  .make = make_copies,
	  .freeze = true,
	  .same = true,
	  .right = copies_right },
	{ .name = "a table, growing", .yaml = LOOKUP, .make = make_copies, .same = false, .right = copies_right },
};
const size_t sl_world_count = sizeof sl_worlds / sizeof *sl_worlds;
