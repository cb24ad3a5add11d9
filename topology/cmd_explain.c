/* cmd_explain.c -- `sluice explain`: the life of one pair.
 *
 * Every record carries its whole trail, so nothing needs to be joined: find all records of
 * the pair, print the arrivals from all of them and the life from the one that came farthest.
 * Finding is a search for the id's digits in the records' bytes; only hits are decoded. */
#include "commands.h"

#include "../schemas/codec.h"
#include "../schemas/jsonl.h"
#include "topic_walk.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DIGITS_LEAST 6

struct explain_args {
	struct sl_common common;
	const char *meta;
};

static const struct sl_arg args[] = {
	{ "meta", 0, SL_ARG_TEXT, "KEY=VALUE", "find the pair by a key of its meta instead: --meta id=42",
	  offsetof(struct explain_args, meta) },
	SL_COMMON_ARGS,
};

/* One record of the pair. */
struct sighting {
	const char *topic;
	int32_t partition;
	int64_t offset;
	const struct sl_pair *pair;
	struct sl_bytes reason; /* of a dead letter */
	struct sl_bytes step;
};

struct explain {
	struct sl_session *s;
	struct sl_bytes needle;      /* to be found in the bytes */
	char digits[SL_ID_HEX_SIZE]; /* of the id; "" when looking by meta */
	struct sl_bytes meta_key, meta_value;
	struct sl_arena arena;      /* the sightings */
	struct sighting *sightings; /* from malloc */
	size_t count, capacity;
};

static bool meta_matches(const struct explain *x, const struct sl_pair *p)
{
	json_t *meta = p->meta.size ? json_loadb(p->meta.data, p->meta.size, 0, NULL) : NULL;
	const char *key = NULL;
	json_t *value;
	bool same = false;

	json_object_foreach(meta, key, value)
	{
		char *text;

		if (!sl_is(x->meta_key, key))
			continue;
		if (json_is_string(value)) {
			same = json_string_length(value) == x->meta_value.size &&
			       memcmp(json_string_value(value), x->meta_value.data, x->meta_value.size) == 0;
		} else {
			text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
			same = text && sl_is(x->meta_value, text);
			free(text);
		}
	}
	json_decref(meta);
	return same;
}

static bool matches(const struct explain *x, const struct sl_pair *p)
{
	char hex[SL_ID_HEX_SIZE];

	if (!x->digits[0])
		return meta_matches(x, p);
	return strncmp(sl_id_hex(p->id, hex), x->digits, strlen(x->digits)) == 0;
}

static void add(struct explain *x, const struct sl_topic *topic, int32_t partition, const struct sl_record *r)
{
	struct sl_pair *p = sl_arena_alloc(&x->arena, sizeof *p);
	struct sl_bytes value = sl_arena_bytes(&x->arena, r->value);
	struct sl_error not_a_pair;
	struct sighting *at;

	sl_pair_init(p);
	if (!sl_pair_decode(value, &x->arena, p, &not_a_pair) || !matches(x, p))
		return;
	if (x->count == x->capacity) {
		x->capacity = x->capacity ? 2 * x->capacity : 16;
		x->sightings = sl_realloc(x->sightings, x->capacity * sizeof *x->sightings);
	}
	at = &x->sightings[x->count++];
	*at = (struct sighting){ .topic = topic->name, .partition = partition, .offset = r->offset, .pair = p };
	at->reason = sl_arena_bytes(&x->arena, sl_header_find(r->headers, "__connect.errors.exception.message"));
	at->step = sl_arena_bytes(&x->arena, sl_header_find(r->headers, "__connect.errors.stage"));
}

static bool search(struct explain *x, struct sl_error *e)
{
	const struct sl_topology *t = x->s->topology;

	for (size_t i = 0; i < t->topic_count; i++) {
		struct sl_topic_walk walk;
		struct sl_record r;
		bool done;

		if (t->topics[i].inlined || (int)i == t->models)
			continue;
		sl_topic_walk_open(&walk, x->s->client, t, (int)i);
		while (sl_topic_walk_next(&walk, &r, e))
			if (r.value.size && memmem(r.value.data, r.value.size, x->needle.data, x->needle.size))
				add(x, &t->topics[i], walk.partition, &r);
		done = e->verdict == SL_OK;
		sl_topic_walk_close(&walk);
		if (!done)
			return false;
	}
	return true;
}

/* The last word: most trail lines, then the latest revision. */
static const struct sighting *farthest(const struct explain *x)
{
	const struct sighting *best = &x->sightings[0];

	for (size_t i = 1; i < x->count; i++) {
		const struct sl_pair *p = x->sightings[i].pair, *q = best->pair;
		int64_t revision = p->decision.present ? p->decision.revision : -1;
		int64_t other = q->decision.present ? q->decision.revision : -1;

		if (revision > other || (revision == other && p->trail_count >= q->trail_count))
			best = &x->sightings[i];
	}
	return best;
}

/* -- Printing --------------------------------------------------------------------------- */

#define TEXT(b) (int)(b).size, (b).data ? (const char *)(b).data : ""

/* Control characters of a stranger's text could drive the terminal: blank them, C1 ones (U+0080 to U+009F) too.
 * The bytes are our copy in the arena. */
static void clean(struct sl_bytes text)
{
	uint8_t *s = (uint8_t *)text.data;

	for (size_t i = 0; i < text.size; i++) {
		if (s[i] < 0x20 || s[i] == 0x7f)
			s[i] = ' ';
		else if (s[i] == 0xc2 && i + 1 < text.size && s[i + 1] < 0xa0)
			s[i] = s[i + 1] = ' ';
	}
}

/* Everything of a sighting that is printed. */
static void clean_sighting(const struct sighting *at)
{
	const struct sl_pair *p = at->pair;
	const struct sl_messages *parts[] = { &p->prompt, &p->chosen, &p->rejected };

	clean(at->reason);
	clean(at->step);
	clean(p->source);
	clean(p->domain);
	clean(p->arrival.file);
	clean(p->arrival.topic);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (parts[i]->count)
			clean(parts[i]->at[parts[i]->count - 1].content);
	for (size_t i = 0; i < p->trail_count; i++) {
		clean(p->trail[i].step);
		clean(p->trail[i].outcome);
		clean(p->trail[i].reason);
		clean(p->trail[i].tables);
	}
	for (size_t i = 0; i < p->score_count; i++)
		clean(p->scores[i].model);
	clean(p->judgement.verdict);
	clean(p->judgement.panel);
	for (size_t i = 0; i < p->judgement.vote_count; i++) {
		clean(p->judgement.votes[i].judge);
		clean(p->judgement.votes[i].verdict);
		clean(p->judgement.votes[i].difference);
		clean(p->judgement.votes[i].strength);
		clean(p->judgement.votes[i].outcome);
	}
	clean(p->decision.action);
	clean(p->decision.why);
}

static void print_time(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	if (gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm))
		printf("%s.%03dZ", text, (int)(ms % 1000));
}

/* The first words of a text on one line. */
static void print_head(const char *name, const struct sl_messages *m)
{
	struct sl_bytes text = m->count ? m->at[m->count - 1].content : (struct sl_bytes){ 0 };
	size_t size = text.size < 160 ? text.size : 160;
	const uint8_t *s = text.data;

	while (size > 0 && size < text.size && (s[size] & 0xc0) == 0x80)
		size--; /* not inside a character */
	printf("  %-9s %.*s%s\n", name, (int)size, size ? (const char *)s : "", size < text.size ? " ..." : "");
}

static void print_arrivals(const struct explain *x)
{
	for (size_t i = 0; i < x->count; i++) {
		const struct sl_arrival *a = &x->sightings[i].pair->arrival;
		bool seen = false;

		for (size_t k = 0; k < i && !seen; k++) {
			const struct sl_arrival *b = &x->sightings[k].pair->arrival;

			seen = sl_bytes_equal(a->file, b->file) && a->line == b->line && a->item == b->item &&
			       sl_bytes_equal(a->topic, b->topic) && a->partition == b->partition &&
			       a->offset == b->offset;
		}
		if (seen)
			continue;
		printf("  arrived   ");
		print_time(x->sightings[i].pair->time_ms);
		if (a->file.data)
			printf(" from %.*s line %" PRId64, TEXT(a->file), a->line);
		else if (a->topic.data)
			printf(" from topic %.*s partition %" PRId64 " offset %" PRId64, TEXT(a->topic), a->partition,
			       a->offset);
		if (a->item)
			printf(" item %" PRId64, a->item);
		printf("\n");
	}
}

static void print_life(const struct sl_pair *p)
{
	for (size_t i = 0; i < p->trail_count; i++) {
		const struct sl_trail *t = &p->trail[i];

		printf("  %-9.*s %.*s", TEXT(t->step), TEXT(t->outcome));
		if (t->reason.size)
			printf(": %.*s", TEXT(t->reason));
		if (t->tables.size)
			printf(" (%.*s)", TEXT(t->tables));
		if (t->pass)
			printf(" [pass %" PRId64 "]", t->pass);
		printf("\n");
	}
	for (size_t i = 0; i < p->score_count; i++) {
		const struct sl_score *s = &p->scores[i];
		double margin = s->chosen - s->rejected;

		printf("  score     %.*s version %" PRId64 ": margin %+.4f, p(chosen) %.3f\n", TEXT(s->model),
		       s->version, margin, sl_sigmoid(margin / (s->temperature > 0 ? s->temperature : 1)));
	}
	if (p->judgement.present && p->judgement.asked)
		printf("  judgement %.*s (%zu votes%s%.*s)\n",
		       TEXT(p->judgement.verdict.data ? p->judgement.verdict : sl_text("none")),
		       p->judgement.vote_count, p->judgement.panel.size ? " of " : "", TEXT(p->judgement.panel));
	for (size_t i = 0; p->judgement.present && i < p->judgement.vote_count; i++) {
		const struct sl_vote *v = &p->judgement.votes[i];

		printf("  vote      %.*s: %.*s", TEXT(v->judge), TEXT(v->verdict.data ? v->verdict : v->outcome));
		if (v->strength.size)
			printf(", %.*s", TEXT(v->strength));
		if (!isnan(v->confidence))
			printf(", confidence %.2f", v->confidence);
		if (v->difference.size)
			printf(", %.*s", TEXT(v->difference));
		printf("\n");
	}
	if (p->decision.present) {
		printf("  decision  %.*s: %.*s", TEXT(p->decision.action), TEXT(p->decision.why));
		if (!isnan(p->decision.p_label))
			printf(", P(label) %.3f", p->decision.p_label);
		printf(", revision %" PRId64 "\n", p->decision.revision);
	}
}

static void print_text(const struct explain *x)
{
	const struct sighting *last = farthest(x);
	const struct sl_pair *p = last->pair;
	char hex[SL_ID_HEX_SIZE];

	printf("pair %s\n", sl_id_hex(p->id, hex));
	printf("  source    %.*s%s\n", TEXT(p->source), p->gold.present ? " (gold)" : "");
	if (p->domain.size)
		printf("  domain    %.*s\n", TEXT(p->domain));
	print_head("prompt", &p->prompt);
	print_head("chosen", &p->chosen);
	print_head("rejected", &p->rejected);
	if (p->label_flipped)
		printf("  label     flipped: chosen and rejected were swapped\n");
	print_arrivals(x);
	print_life(p);
	for (size_t i = 0; i < x->count; i++)
		if (x->sightings[i].reason.data)
			printf("  dead      by %.*s: %.*s\n", TEXT(x->sightings[i].step), TEXT(x->sightings[i].reason));
	for (size_t i = 0; i < x->count; i++)
		printf("  %-9s %s partition %d offset %" PRId64 "%s\n", "stored", x->sightings[i].topic,
		       x->sightings[i].partition, x->sightings[i].offset,
		       &x->sightings[i] == last ? " (the latest)" : "");
}

static void print_json(const struct explain *x)
{
	struct sl_buf line = { 0 };
	json_t *all = json_array();

	for (size_t i = 0; i < x->count; i++) {
		const struct sighting *at = &x->sightings[i];
		json_t *o = json_pack("{s:s, s:i, s:I}", "topic", at->topic, "partition", (int)at->partition, "offset",
				      (json_int_t)at->offset);

		if (at->reason.data)
			json_object_set_new(o, "reason", json_stringn(at->reason.data, at->reason.size));
		sl_buf_clear(&line);
		sl_jsonl_write(at->pair, SL_FORMAT_FULL, &line);
		json_object_set_new(o, "pair", json_loadb((const char *)line.data, line.size, 0, NULL));
		json_array_append_new(all, o);
	}
	json_dumpf(all, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(all);
	sl_buf_release(&line);
}

/* Several pairs under one prefix or meta value: name them. */
static bool several(const struct explain *x)
{
	char hex[SL_ID_HEX_SIZE];
	size_t shown = 0;

	for (size_t i = 1; i < x->count; i++)
		if (!sl_id_equal(x->sightings[i].pair->id, x->sightings[0].pair->id))
			shown = 1;
	if (!shown)
		return false;
	fprintf(stderr, "sluice: more than one pair fits; name one of\n");
	shown = 0;
	for (size_t i = 0; i < x->count && shown < 20; i++) {
		bool before = false;

		for (size_t k = 0; k < i && !before; k++)
			before = sl_id_equal(x->sightings[k].pair->id, x->sightings[i].pair->id);
		if (!before) {
			fprintf(stderr, "  %s\n", sl_id_hex(x->sightings[i].pair->id, hex));
			shown++;
		}
	}
	return true;
}

static int explain(struct explain *x, bool json)
{
	struct sl_error e = { 0 };

	if (!search(x, &e))
		return sl_command_failed(&e);
	if (x->count == 0) {
		sl_error_set(&e, SL_STOP,
			     "no record of this pair is stored; lines that could not be read are in dead.ingest");
		return sl_command_failed(&e);
	}
	if (several(x))
		return SL_EXIT_FAILED;
	for (size_t i = 0; !json && i < x->count; i++)
		clean_sighting(&x->sightings[i]);
	if (json)
		print_json(x);
	else
		print_text(x);
	return sl_command_flush();
}

static bool read_needle(const struct explain_args *a, const struct sl_texts *words, struct explain *x)
{
	if (a->meta) {
		const char *equals = strchr(a->meta, '=');

		if (!equals || equals == a->meta || !equals[1] || words->count)
			return false;
		x->meta_key = (struct sl_bytes){ a->meta, (size_t)(equals - a->meta) };
		x->meta_value = sl_text(equals + 1);
		x->needle = x->meta_key;
		return true;
	}
	if (words->count != 1 || strlen(words->at[0]) < DIGITS_LEAST || strlen(words->at[0]) >= SL_ID_HEX_SIZE)
		return false;
	for (size_t i = 0; words->at[0][i]; i++) {
		if (!isxdigit((unsigned char)words->at[0][i]))
			return false;
		x->digits[i] = (char)tolower((unsigned char)words->at[0][i]);
	}
	x->needle = sl_text(x->digits);
	return true;
}

static int run(void *self, const struct sl_texts *words)
{
	struct explain_args *a = self;
	struct sl_session s;
	struct explain x = { .s = &s };
	int code;

	if (!read_needle(a, words, &x))
		return sl_command_usage("explain wants an id (%d to 32 hex digits) or --meta KEY=VALUE", DIGITS_LEAST);
	code = sl_command_open(&a->common, &s);
	if (code == SL_EXIT_OK)
		code = explain(&x, a->common.json);
	sl_command_close(&s);
	free(x.sightings);
	sl_arena_release(&x.arena);
	return code;
}

const struct sl_command sl_command_explain = {
	.name = "explain",
	.usage = "ID | --meta KEY=VALUE",
	.summary = "print the whole life of a pair: arrival, steps, scores, decision, where it is",
	.more = "ID is the pair's id or its first digits, 6 at least.",
	.args = args,
	.self_size = sizeof(struct explain_args),
	.words_most = 1,
	.run = run,
};
