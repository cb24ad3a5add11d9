/* speak.c -- fills templates. See speak.h; the tables are in words.c and tongues.c. */
#include "speak.h"

#include <ctype.h>
#include <stdio.h>

static const char *const openings[] = { "Ba",  "Cal", "Dor", "El",  "Fen",  "Gar",  "Hel", "Is",  "Jor",  "Kal",
					"Lun", "Mar", "Nor", "Or",  "Pel",  "Quin", "Ros", "Sil", "Tam",  "Ul",
					"Ver", "Wes", "Yar", "Zel", "Bren", "Cor",  "Del", "Fal", "Gris", "Hal" };
static const char *const middles[] = { "a",  "bi", "co", "da", "e",  "fi", "ga", "ho", "i",  "ku",
				       "la", "mi", "no", "o",  "pe", "ra", "si", "tu", "vo", "za" };
static const char *const person_ends[] = { "n",   "ra",  "las", "mond", "na",  "rik", "sha", "ton",
					   "vin", "wyn", "lie", "dro",  "mir", "tta", "ska", "lo" };
static const char *const place_ends[] = { "burg", "dale", "ford",  "ham",   "mouth",  "port", "stead", "ton",
					  "vale", "wick", "haven", "field", "bridge", "moor", "gate",  "cliff" };

#define ONE_OF(r, list) (list)[rng_below((r), sizeof(list) / sizeof *(list))]

const char *sl_one_of(struct rng *r, const char *const *list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return list[rng_below(r, n)];
}

static void make_name(struct rng *r, const struct sl_tongue *tongue, bool place, char *to, size_t to_size)
{
	const char *const *parts = place ? tongue->places : tongue->names;

	if (parts) {
		const char *first = sl_one_of(r, parts), *second = sl_one_of(r, tongue->places);

		snprintf(to, to_size, "%s%s%s", place ? "" : "小", first, second);
	} else {
		const char *first = ONE_OF(r, openings), *second = ONE_OF(r, middles);

		snprintf(to, to_size, "%s%s%s", first, second, place ? ONE_OF(r, place_ends) : ONE_OF(r, person_ends));
	}
}

struct sl_topic sl_topic_make(struct rng *r, const struct sl_domain *domain)
{
	struct sl_topic t = { .domain = domain ? domain : &sl_domains[rng_below(r, sl_domain_count)] };

	t.thing = sl_one_of(r, t.domain->things);
	do
		t.second = sl_one_of(r, t.domain->things);
	while (t.second == t.thing);
	t.tool = sl_one_of(r, t.domain->tools);
	t.doing = sl_one_of(r, t.domain->doing);
	t.quality = sl_one_of(r, t.domain->qualities);
	make_name(r, t.domain->tongue, false, t.name, sizeof t.name);
	make_name(r, t.domain->tongue, true, t.place, sizeof t.place);
	t.x = 11 + (unsigned)rng_below(r, 480);
	t.y = 11 + (unsigned)rng_below(r, 480);
	t.wrong = t.x + t.y + 1 + (unsigned)rng_below(r, 19);
	t.has_sum = rng_chance(r, 0.5);
	return t;
}

static void say_slot(struct sl_buf *to, struct rng *r, const struct sl_topic *t, char slot)
{
	const struct sl_domain *d = t->domain;
	char name[32];
	const char *text = name;

	switch (slot) {
	case 'N':
		text = t->thing;
		break;
	case 'M':
		text = t->second;
		break;
	case 'T':
		text = t->tool;
		break;
	case 'V':
		text = t->doing;
		break;
	case 'A':
		text = t->quality;
		break;
	case 'P':
		text = t->name;
		break;
	case 'C':
		text = t->place;
		break;
	case 'n': /* the topic's words come back, as they do in real answers */
		text = rng_chance(r, 0.4) ? t->thing : rng_chance(r, 0.2) ? t->second : sl_one_of(r, d->things);
		break;
	case 't':
		text = rng_chance(r, 0.3) ? t->tool : sl_one_of(r, d->tools);
		break;
	case 'v':
		text = rng_chance(r, 0.2) ? t->doing : sl_one_of(r, d->doing);
		break;
	case 'a':
		text = rng_chance(r, 0.1) ? t->quality : sl_one_of(r, d->qualities);
		break;
	case 'u':
		text = sl_one_of(r, d->units);
		break;
	case 'r':
		text = sl_one_of(r, d->tongue->who);
		break;
	case 'm':
		text = sl_one_of(r, d->tongue->when);
		break;
	case 'p':
		make_name(r, d->tongue, false, name, sizeof name);
		break;
	case 'c':
		make_name(r, d->tongue, true, name, sizeof name);
		break;
	case 'X':
		snprintf(name, sizeof name, "%u", t->x);
		break;
	case 'Y':
		snprintf(name, sizeof name, "%u", t->y);
		break;
	case 'S':
		snprintf(name, sizeof name, "%u", t->x + t->y);
		break;
	case 'W':
		snprintf(name, sizeof name, "%u", t->wrong);
		break;
	default: /* 'd' */
		snprintf(name, sizeof name, "%u", 2 + (unsigned)rng_below(r, 96));
	}
	sl_buf_add(to, text, strlen(text));
}

void sl_say(struct sl_buf *to, struct rng *r, const struct sl_topic *topic, const char *template)
{
	size_t start = to->size;

	for (const char *p = template; *p;) {
		const char *slot = strchr(p, '%');

		if (!slot) {
			sl_buf_add(to, p, strlen(p));
			break;
		}
		sl_buf_add(to, p, (size_t)(slot - p));
		say_slot(to, r, topic, slot[1]);
		p = slot + 2;
	}
	to->data[start] = (uint8_t)toupper(to->data[start]);
}

void sl_say_question(struct sl_buf *to, struct rng *r, const struct sl_topic *topic)
{
	const struct sl_tongue *tongue = topic->domain->tongue;
	unsigned contexts = (unsigned)rng_below(r, 4);

	sl_say(to, r, topic, sl_one_of(r, tongue->asks));
	for (unsigned i = 0; i < contexts; i++) {
		sl_buf_add_bytes(to, sl_text(tongue->gap));
		sl_say(to, r, topic, sl_one_of(r, tongue->contexts));
	}
	if (topic->has_sum) {
		sl_buf_add_bytes(to, sl_text(tongue->gap));
		sl_say(to, r, topic, sl_one_of(r, tongue->sums));
	}
	if (rng_chance(r, 0.6)) {
		sl_buf_add_bytes(to, sl_text(tongue->gap));
		sl_say(to, r, topic, sl_one_of(r, tongue->wishes));
	}
}

/* A neutral sentence, sometimes with a lead before it. */
static void say_content(struct sl_buf *to, struct rng *r, const struct sl_topic *topic)
{
	const struct sl_tongue *tongue = topic->domain->tongue;
	const char *sentence = sl_one_of(r, tongue->content);

	if (!rng_chance(r, 0.3)) {
		sl_say(to, r, topic, sentence);
		return;
	}
	sl_say(to, r, topic, sl_one_of(r, tongue->leads));

	size_t start = to->size;

	sl_say(to, r, topic, sentence);
	if (sentence[0] != '%' || !strchr("pcPC", sentence[1])) /* names stay as they are */
		to->data[start] = (uint8_t)tolower(to->data[start]);
}

static const struct sl_domain *another_subject(struct rng *r, const struct sl_tongue *tongue)
{
	const struct sl_domain *d;

	do
		d = &sl_domains[rng_below(r, sl_domain_count)];
	while (d->tongue != tongue);
	return d;
}

void sl_say_answer(struct sl_buf *to, struct rng *r, const struct sl_topic *topic, const struct sl_voice *voice,
		   size_t target_bytes)
{
	const struct sl_tongue *tongue = topic->domain->tongue;
	struct sl_topic other = sl_topic_make(r, another_subject(r, tongue));
	size_t begin = to->size, sum_at = (size_t)(rng_unit(r) * (double)target_bytes);
	bool sum_said = !topic->has_sum;

	for (unsigned count = 0; count < 2 || to->size - begin < target_bytes || !sum_said; count++) {
		if (count > 0 && voice->list)
			sl_buf_add(to, "\n- ", 3);
		else if (count > 0)
			sl_buf_add_bytes(to, sl_text(count % 5 == 4 ? "\n\n" : tongue->gap));
		if (!sum_said && to->size - begin >= sum_at) {
			sl_say(to, r, topic, sl_one_of(r, voice->sum_right ? tongue->right_sum : tongue->wrong_sum));
			sum_said = true;
		} else if (rng_chance(r, voice->telling)) {
			sl_say(to, r, topic, sl_one_of(r, rng_chance(r, voice->good) ? tongue->good : tongue->bad));
		} else {
			say_content(to, r, rng_chance(r, voice->off_topic) ? &other : topic);
		}
	}
}
