/* sample.c -- makes one line of a plan. See sample.h.
 *
 * Which answer is better can be seen, but not always: the better one has more
 * sentences that speak for it (struct sl_voice), by a difference that varies
 * from pair to pair; in one pair of ten only the number is right or wrong and
 * the subject kept or left, which single words do not show. Both answers draw
 * their lengths from the same distribution, so length says nothing. */
#include "sample.h"

#include <stdio.h>

/* What a random stream is for: the third argument of rng_of. */
enum purpose { FOR_KIND, FOR_ORIGINAL, FOR_PROMPT, FOR_GROUP, FOR_ANSWERS, FOR_LABEL, FOR_EDIT, FOR_BENCHMARK };

const char *const sl_sample_kind_names[SL_SAMPLE_KINDS] = { "plain", "gold",     "gold-copy",    "duplicate",
							    "near",  "conflict", "contaminated", "broken" };
const char *const sl_sample_damage_names[SL_SAMPLE_DAMAGES] = { "cut", "type", "utf8", "nul", "key", "empty", "equal" };

/* Where pairs come from, and how far its labels can be trusted: the factors
 * have mean 1, so the noise of the whole is the one asked for. */
static const struct source {
	const char *name, *label;
	double noise;
} sources[] = {
	{ "experts", "human", 0.5 }, { "crowd", "human", 1.2 }, { "judge-a", "ai", 0.8 }, { "judge-b", "ai", 1.5 }
};

enum { SOURCES = sizeof sources / sizeof *sources };

struct sl_sample_plan sl_sample_plan_default(void)
{
	return (struct sl_sample_plan){ .seed = 1,
					.gold = 0.2,
					.duplicates = 0.03,
					.near = 0.03,
					.conflicts = 0.02,
					.contaminated = 0.01,
					.broken = 0.005,
					.noise = 0.2,
					.mean_bytes = 2300 };
}

/* Copies are drawn first as such; a line too early to have an original is plain. */
static enum sl_sample_kind drawn_kind(const struct sl_sample_plan *plan, uint64_t index)
{
	struct rng r = rng_of(plan->seed, index, FOR_KIND);
	double u = rng_unit(&r);
	const struct {
		enum sl_sample_kind kind;
		double share;
	} rows[] = { { SL_SAMPLE_BROKEN, plan->broken },
		     { SL_SAMPLE_CONTAMINATED, plan->contaminated },
		     { SL_SAMPLE_CONFLICT, plan->conflicts },
		     { SL_SAMPLE_NEAR, plan->near },
		     { SL_SAMPLE_DUPLICATE, plan->duplicates },
		     { SL_SAMPLE_GOLD_COPY, plan->gold_copies },
		     { SL_SAMPLE_GOLD, plan->gold } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (u < rows[i].share)
			return rows[i].kind;
		u -= rows[i].share;
	}
	return SL_SAMPLE_PLAIN;
}

/* A new question, or one that was asked shortly before: prompts with several pairs. */
static uint64_t prompt_index(const struct sl_sample_plan *plan, uint64_t index)
{
	for (;;) {
		struct rng r = rng_of(plan->seed, index, FOR_GROUP);

		if (index == 0 || !rng_chance(&r, 0.15))
			return index;
		index -= 1 + rng_below(&r, index < 40 ? index : 40);
	}
}

static void add_turn(struct sl_sample *s, const char *role, size_t start)
{
	s->turns[s->turn_count++] = (struct sl_sample_turn){ role, start, s->prompt.size - start };
}

static struct sl_topic benchmark_topic(const struct sl_sample_plan *plan, uint64_t item, struct rng *r)
{
	const struct sl_domain *domain;

	*r = rng_of(plan->seed, item, FOR_BENCHMARK);
	do /* in English: Chinese prompts are too alike, character by character */
		domain = &sl_domains[rng_below(r, sl_domain_count)];
	while (domain->tongue != &sl_english);
	return sl_topic_make(r, domain);
}

/* One in five is short, so that the rule for 5 to 12 words is met too. Only sentences
 * with names in them: no other prompt may share 13 words with one by chance. */
static void say_benchmark(struct sl_buf *to, uint64_t item, struct rng *r, struct sl_topic *topic)
{
	topic->has_sum = item % 5 != 0;
	if (!topic->has_sum) {
		sl_say(to, r, topic, sl_one_of(r, sl_english.short_benchmarks));
		return;
	}
	sl_say(to, r, topic, sl_one_of(r, sl_english.asks));
	sl_buf_add(to, " ", 1);
	sl_say(to, r, topic, sl_one_of(r, sl_english.sums));
}

static struct sl_topic make_prompt(const struct sl_sample_plan *plan, struct sl_sample *s)
{
	struct rng r = rng_of(plan->seed, prompt_index(plan, s->index), FOR_PROMPT);
	struct sl_topic topic = sl_topic_make(&r, NULL);
	const struct sl_tongue *tongue = topic.domain->tongue;
	size_t start = 0;

	if (s->kind == SL_SAMPLE_CONTAMINATED) {
		r = rng_of(plan->seed, s->index, FOR_ORIGINAL);
		s->of = rng_below(&r, SL_SAMPLE_BENCHMARKS);

		struct rng own;

		topic = benchmark_topic(plan, s->of, &own);
		tongue = topic.domain->tongue;
		if (rng_chance(&r, 0.5)) { /* hidden behind a sentence of its own */
			sl_say(&s->prompt, &r, &topic, sl_one_of(&r, tongue->contexts));
			sl_buf_add(&s->prompt, "\n", 1);
		}
		say_benchmark(&s->prompt, s->of, &own, &topic);
		add_turn(s, "user", 0);
		return topic;
	}
	if (rng_chance(&r, 0.1)) {
		sl_say(&s->prompt, &r, &topic, sl_one_of(&r, tongue->systems));
		add_turn(s, "system", 0);
	}
	start = s->prompt.size;
	sl_say_question(&s->prompt, &r, &topic);
	add_turn(s, "user", start);
	for (double more = 0.15; rng_chance(&r, more) && s->turn_count + 2 < SL_SAMPLE_TURNS_MAX; more = 0.3) {
		struct sl_voice voice = { .good = 0.7, .telling = 0.2, .sum_right = true };

		start = s->prompt.size;
		sl_say_answer(&s->prompt, &r, &topic, &voice, 120);
		add_turn(s, "assistant", start);
		start = s->prompt.size;
		sl_say(&s->prompt, &r, &topic, sl_one_of(&r, tongue->followups));
		add_turn(s, "user", start);
	}
	return topic;
}

/* From 0.3 to 1.7 with mean 1, now and then twice that. */
static size_t draw_length(struct rng *r, double mean)
{
	double f = 0.3 + 0.7 * (rng_unit(r) + rng_unit(r));

	if (rng_chance(r, 0.05))
		f *= 2;
	return (size_t)(mean * f / 1.05);
}

static void make_answers(const struct sl_sample_plan *plan, struct sl_sample *s, const struct sl_topic *topic)
{
	struct rng r = rng_of(plan->seed, s->index, FOR_ANSWERS);
	double room = (double)plan->mean_bytes - 290 - (double)s->prompt.size - 60 * (double)(s->turn_count - 1);
	/* An answer ends with the sentence that reaches its length: half a sentence too long on average. */
	double mean = room / 2 > 190 ? room / 2 - 40 : 150;
	bool hidden = rng_chance(&r, 0.1);
	double edge = hidden ? 0 : 0.15 + 0.33 * rng_unit(&r);
	bool likes = topic->domain->likes_lists;
	struct sl_voice better = { .good = 0.5 + edge, .telling = 0.36, .off_topic = 0.05, .sum_right = true };
	struct sl_voice worse = { .good = 0.5 - edge, .telling = 0.36, .off_topic = 0.25 };

	better.list = rng_chance(&r, 0.6) == likes;
	worse.list = rng_chance(&r, 0.4) == likes;
	worse.sum_right = rng_chance(&r, 0.3);
	/* The lengths first: what is said must not change them. */
	size_t better_bytes = draw_length(&r, mean), worse_bytes = draw_length(&r, mean);

	sl_say_answer(&s->better, &r, topic, &better, better_bytes);
	sl_say_answer(&s->worse, &r, topic, &worse, worse_bytes);
}

static void draw_label(const struct sl_sample_plan *plan, struct sl_sample *s)
{
	struct rng r = rng_of(plan->seed, s->index, FOR_LABEL);
	const struct source *from = &sources[rng_below(&r, SOURCES)];
	double u = rng_unit(&r);

	s->source = from->name;
	s->label = from->label;
	if (plan->noise_shorter) /* the worse one is the shorter one in half of the pairs */
		s->flipped = s->worse.size < s->better.size && u < 2 * plan->noise;
	else
		s->flipped = u < from->noise * plan->noise;
}

/* Replace one word in a hundred: word 5-grams stay over 0.8 alike from 60 words on. */
static bool edit(struct sl_buf *text, struct rng *r)
{
	struct sl_buf out = { 0 };
	size_t words = 1, seen = 0;

	for (size_t i = 0; i < text->size; i++)
		words += text->data[i] == ' ';
	if (words < 60)
		return false;

	size_t every = words < 200 ? words : 100, at = rng_below(r, every);
	struct sl_topic topic = sl_topic_make(r, &sl_domains[0]);

	for (size_t i = 0; i < text->size;) {
		size_t end = i;

		while (end < text->size && text->data[end] != ' ')
			end++;
		if (seen % every == at) {
			sl_say(&out, r, &topic, "%p");
			if (end < text->size)
				sl_buf_add_byte(&out, ' ');
		} else {
			sl_buf_add(&out, text->data + i, (end < text->size ? end + 1 : end) - i);
		}
		seen++;
		i = end + 1;
	}
	sl_buf_release(text);
	*text = out;
	return true;
}

static void clear(struct sl_sample *s)
{
	sl_buf_clear(&s->prompt);
	sl_buf_clear(&s->better);
	sl_buf_clear(&s->worse);
	s->turn_count = 0;
}

static void make_plain(const struct sl_sample_plan *plan, uint64_t index, enum sl_sample_kind kind, struct sl_sample *s)
{
	clear(s);
	s->index = index;
	s->kind = kind;
	s->of = index;

	struct sl_topic topic = make_prompt(plan, s);

	s->domain = topic.domain->name;
	make_answers(plan, s, &topic);
	draw_label(plan, s);
}

/* An earlier line of a kind, the nearest one below a random place; false if none. */
static bool find_original(const struct sl_sample_plan *plan, uint64_t index, enum sl_sample_kind kind, struct rng *r,
			  uint64_t *original)
{
	uint64_t place = index ? rng_below(r, index) : 0;

	for (uint64_t step = 0; step < index && step < 10000; step++) {
		*original = (place + index - step) % index;
		if (drawn_kind(plan, *original) == kind)
			return true;
	}
	return false;
}

void sl_sample_make(const struct sl_sample_plan *plan, uint64_t index, struct sl_sample *s)
{
	enum sl_sample_kind kind = drawn_kind(plan, index);
	bool copies = kind == SL_SAMPLE_DUPLICATE || kind == SL_SAMPLE_NEAR || kind == SL_SAMPLE_CONFLICT ||
		      kind == SL_SAMPLE_GOLD_COPY;
	struct rng r = rng_of(plan->seed, index, FOR_ORIGINAL), edits = rng_of(plan->seed, index, FOR_EDIT);

	for (int attempt = 0; copies && attempt < 20; attempt++) {
		enum sl_sample_kind of_kind = kind == SL_SAMPLE_GOLD_COPY ? SL_SAMPLE_GOLD : SL_SAMPLE_PLAIN;
		uint64_t original;

		if (!find_original(plan, index, of_kind, &r, &original))
			break;
		make_plain(plan, original, kind, s);
		s->index = index;
		if (kind == SL_SAMPLE_NEAR) {
			bool edited_better = edit(&s->better, &edits), edited_worse = edit(&s->worse, &edits);

			if (!edited_better && !edited_worse) /* too short to be nearly the same: another one */
				continue;
		}
		s->flipped ^= kind == SL_SAMPLE_CONFLICT;
		return;
	}
	make_plain(plan, index, copies ? SL_SAMPLE_PLAIN : kind, s);
	s->damage = (enum sl_sample_damage)rng_below(&edits, SL_SAMPLE_DAMAGES);
}

void sl_sample_make_benchmark(const struct sl_sample_plan *plan, uint64_t item, struct sl_sample *s)
{
	struct rng r;
	struct sl_topic topic = benchmark_topic(plan, item, &r);
	struct sl_voice better = { .good = 0.9, .telling = 0.3, .sum_right = true },
			worse = { .good = 0.1, .telling = 0.3 };

	clear(s);
	s->index = item;
	s->domain = topic.domain->name;
	say_benchmark(&s->prompt, item, &r, &topic);
	add_turn(s, "user", 0);
	sl_say_answer(&s->better, &r, &topic, &better, 400);
	sl_say_answer(&s->worse, &r, &topic, &worse, 400);
}

void sl_sample_release(struct sl_sample *s)
{
	sl_buf_release(&s->prompt);
	sl_buf_release(&s->better);
	sl_buf_release(&s->worse);
}
