/* judge_record.c -- see judge_record.h. What a probe comes to is an observation in a ring per judge; shares and
 * intervals are made of the rings when somebody looks. */
#include "judge_record.h"

#include "../operators/panel.h"
#include "../trainer/train.h"
#include "base/buf.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define SETTINGS_MOST 4
#define CATEGORIES_MOST 32
#define NAME_MOST 200
#define VOTES_MOST 64 /* of one judge about one probe; 32 are the most that annotate asks for */

static const char *const words[] = { "chosen",      "rejected", "tie",       "both_bad",
				     "undecidable", "refused",  "truncated", "reasoning_truncated",
				     "malformed",   "too_long", "failed",    "other" };
enum { WORDS = sizeof words / sizeof words[0], OTHER = WORDS - 1 };

/* One judge, one probe. */
struct observation {
	struct sl_id group;
	int8_t verdict;             /* SL_PROBE_RIGHT, SL_PROBE_WRONG or SL_PROBE_ABSTAINED */
	int8_t longest, first_wins; /* the baselines: 1 right, -1 wrong, 0 unknown */
	uint8_t category;
	uint16_t flips, compared; /* votes in both orders */
	uint16_t equal, together; /* votes that could be equal */
	uint16_t first, decided;  /* votes for what was shown first */
};

struct judge {
	char *name;
	struct observation *ring; /* SL_JUDGE_WINDOW at most */
	size_t count, capacity, at;
	int64_t probes, votes[WORDS], tokens, micro_dollars;
};

/* How two judges err together. */
struct errors {
	int64_t count, mine, other, both;
};

struct setting {
	char name[SL_SETTING_SIZE];
	int64_t probes, used; /* used: when it was the newest last */
	struct judge panel, judges[SL_JUDGES_MOST];
	size_t judge_count;
	struct errors errors[SL_JUDGES_MOST][SL_JUDGES_MOST]; /* [a][b], a < b */
	char *categories[CATEGORIES_MOST];
	size_t category_count;
	struct sl_probes latest; /* its names are those of the judges */
};

struct sl_judge_records {
	struct setting *settings[SETTINGS_MOST];
	struct setting *newest; /* NULL: none yet */
	int64_t probes, clock;
};

struct sl_judge_records *sl_judge_records_new(void)
{
	return sl_calloc(1, sizeof(struct sl_judge_records));
}

static void judge_release(struct judge *j)
{
	free(j->name);
	free(j->ring);
}

static void setting_free(struct setting *s)
{
	if (!s)
		return;
	judge_release(&s->panel);
	for (size_t i = 0; i < s->judge_count; i++)
		judge_release(&s->judges[i]);
	for (size_t i = 0; i < s->category_count; i++)
		free(s->categories[i]);
	free(s->latest.slots);
	free(s);
}

void sl_judge_records_free(struct sl_judge_records *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < SETTINGS_MOST; i++)
		setting_free(r->settings[i]);
	free(r);
}

/* -- names ------------------------------------------------------------------------- */

static char *copy_name(struct sl_bytes name)
{
	size_t size = name.size < NAME_MOST ? name.size : NAME_MOST;
	char *copy = sl_malloc(size + 1);

	if (size)
		memcpy(copy, name.data, size);
	copy[size] = 0;
	return copy;
}

/* Its setting, which may take the place of the one that was used longest ago. */
static struct setting *setting_of(struct sl_judge_records *r, struct sl_bytes name)
{
	char *text = copy_name(name);
	size_t oldest = 0;

	for (size_t i = 0; i < SETTINGS_MOST; i++) {
		struct setting *s = r->settings[i];

		if (s && strncmp(s->name, text, sizeof s->name - 1) == 0) {
			free(text);
			return s;
		}
		if (r->settings[oldest] && (!s || s->used < r->settings[oldest]->used))
			oldest = i;
	}
	if (r->newest == r->settings[oldest])
		r->newest = NULL;
	setting_free(r->settings[oldest]);
	r->settings[oldest] = sl_calloc(1, sizeof(struct setting));
	r->settings[oldest]->used = ++r->clock;
	snprintf(r->settings[oldest]->name, SL_SETTING_SIZE, "%s", text);
	free(text);
	return r->settings[oldest];
}

void sl_judge_records_newest(struct sl_judge_records *r, struct sl_bytes setting)
{
	r->newest = setting_of(r, setting);
	r->newest->used = ++r->clock;
}

/* The index of a judge; SL_JUDGES_MOST: there are too many. */
static size_t judge_of(struct setting *s, struct sl_bytes name)
{
	size_t i = 0;

	while (i < s->judge_count && !sl_is(name, s->judges[i].name))
		i++;
	if (i == s->judge_count && i < SL_JUDGES_MOST && name.size <= NAME_MOST)
		s->judges[s->judge_count++].name = copy_name(name);
	return i < s->judge_count ? i : SL_JUDGES_MOST;
}

/* The first is of pairs that nobody described, or not by a name, and of those beyond the most. */
static uint8_t category_of(struct setting *s, const struct sl_pair *p)
{
	struct sl_bytes name = p->attributes.present ? p->attributes.category : (struct sl_bytes){ 0 };
	size_t i = 0, bad;

	if (s->category_count == 0)
		s->categories[s->category_count++] = copy_name((struct sl_bytes){ 0 });
	/* A name is a label in metrics, where "all" is ours. */
	if (!name.data || name.size > NAME_MOST || sl_is(name, "all") || !sl_utf8_valid(name, &bad))
		return 0;
	while (i < s->category_count && !sl_is(name, s->categories[i]))
		i++;
	if (i == s->category_count) {
		if (i == CATEGORIES_MOST)
			return 0;
		s->categories[s->category_count++] = copy_name(name);
	}
	return (uint8_t)i;
}

/* -- a probe ----------------------------------------------------------------------- */

/* The human's verdict on a gold pair is `chosen`. */
static int8_t held_against_human(struct sl_bytes verdict)
{
	if (!verdict.data)
		return SL_PROBE_SILENT;
	return sl_is(verdict, "chosen")     ? SL_PROBE_RIGHT
	       : sl_is(verdict, "rejected") ? SL_PROBE_WRONG
					    : SL_PROBE_ABSTAINED;
}

static size_t word_of(const struct sl_vote *v)
{
	struct sl_bytes text = v->verdict.data ? v->verdict : v->outcome;

	for (size_t i = 0; text.data && i < OTHER; i++)
		if (sl_is(text, words[i]))
			return i;
	return OTHER;
}

static bool decides(const struct sl_vote *v)
{
	return sl_is(v->verdict, "chosen") || sl_is(v->verdict, "rejected");
}

static bool same_order(const struct sl_vote *a, const struct sl_vote *b)
{
	return sl_bytes_equal(a->order, b->order);
}

/* Votes with the same verdict in the same order, this one included. */
static size_t like(const struct sl_vote *votes, size_t count, size_t i)
{
	size_t n = 0;

	for (size_t k = 0; k < count; k++)
		n += same_order(&votes[k], &votes[i]) && votes[k].verdict.data &&
		     sl_bytes_equal(votes[k].verdict, votes[i].verdict);
	return n;
}

/* Samples of one order: how many, and how many say what most of them say. */
static void compare_samples(const struct sl_vote *votes, size_t count, struct observation *o)
{
	for (size_t i = 0; i < count; i++) {
		size_t together = 0, most = 0;
		bool first = true;

		for (size_t k = 0; k < count; k++) {
			if (!same_order(&votes[k], &votes[i]) || !votes[k].verdict.data)
				continue;
			first = first && k >= i;
			together++;
			most = like(votes, count, k) > most ? like(votes, count, k) : most;
		}
		if (!first || !votes[i].verdict.data || together < 2)
			continue;
		o->together = (uint16_t)(o->together + together);
		o->equal = (uint16_t)(o->equal + most);
	}
}

static void compare_orders(const struct sl_vote *votes, size_t count, struct observation *o)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = i + 1; k < count; k++) {
			if (votes[i].sample != votes[k].sample || same_order(&votes[i], &votes[k]) ||
			    !decides(&votes[i]) || !decides(&votes[k]))
				continue;
			o->compared++;
			o->flips += !sl_bytes_equal(votes[i].verdict, votes[k].verdict);
		}
}

static void observe(struct judge *j, const struct observation *o)
{
	if (j->count == j->capacity && j->capacity < SL_JUDGE_WINDOW) {
		j->capacity = j->capacity ? 2 * j->capacity : 64;
		j->ring = sl_realloc(j->ring, j->capacity * sizeof *j->ring);
	}
	j->ring[j->at] = *o;
	j->at = (j->at + 1) % SL_JUDGE_WINDOW;
	if (j->count < j->capacity)
		j->count++;
}

static struct observation observation_of(struct setting *s, const struct sl_pair *p, int8_t verdict)
{
	int first = sl_preferred_position(p->meta);

	return (struct observation){
		.group = p->group,
		.verdict = verdict,
		.longest = (int8_t)sl_pair_length_sign(p),
		.first_wins = first == 1   ? 1
			      : first == 2 ? -1
					   : 0,
		.category = category_of(s, p),
	};
}

/* `votes` are all of one judge. */
static int8_t add_judge(struct setting *s, size_t at, const struct sl_pair *p, const struct sl_vote *votes,
			size_t count)
{
	struct judge *j = &s->judges[at];
	struct sl_bytes verdict = sl_panel_merge(SL_PANEL_MAJORITY, votes, count, NULL, 0, NAN, 0).verdict;
	int8_t held = held_against_human(verdict);
	struct observation o = observation_of(s, p, held);

	j->probes++;
	for (size_t i = 0; i < count; i++) {
		j->votes[word_of(&votes[i])]++;
		j->tokens += votes[i].tokens;
		j->micro_dollars += votes[i].micro_dollars;
		if (decides(&votes[i])) {
			o.decided++;
			o.first += sl_bytes_equal(votes[i].order, votes[i].verdict);
		}
	}
	compare_orders(votes, count, &o);
	compare_samples(votes, count, &o);
	observe(j, &o);
	return held;
}

static bool answered(int8_t held)
{
	return held == SL_PROBE_RIGHT || held == SL_PROBE_WRONG;
}

static void compare_errors(struct setting *s, const struct sl_probe *probe)
{
	for (size_t a = 0; a < s->judge_count; a++)
		for (size_t b = a + 1; b < s->judge_count; b++) {
			struct errors *e = &s->errors[a][b];

			if (!answered(probe->judges[a]) || !answered(probe->judges[b]))
				continue;
			e->count++;
			e->mine += probe->judges[a] == SL_PROBE_WRONG;
			e->other += probe->judges[b] == SL_PROBE_WRONG;
			e->both += probe->judges[a] == SL_PROBE_WRONG && probe->judges[b] == SL_PROBE_WRONG;
		}
}

static struct sl_probe *find_slot(struct sl_probe *slots, size_t capacity, struct sl_id id)
{
	size_t mask = capacity - 1, at = (size_t)sl_get_le64(id.b) & mask;

	while (!sl_id_none(slots[at].id) && !sl_id_equal(slots[at].id, id))
		at = (at + 1) & mask;
	return &slots[at];
}

static struct sl_probe *slot_of(struct sl_probes *x, struct sl_id id)
{
	struct sl_probe *slot;

	if (2 * (x->count + 1) > x->capacity) {
		size_t capacity = x->capacity ? 2 * x->capacity : 256;
		struct sl_probe *wider = sl_calloc(capacity, sizeof *wider);

		for (size_t i = 0; i < x->capacity; i++)
			if (!sl_id_none(x->slots[i].id))
				*find_slot(wider, capacity, x->slots[i].id) = x->slots[i];
		free(x->slots);
		x->slots = wider;
		x->capacity = capacity;
	}
	slot = find_slot(x->slots, x->capacity, id);
	x->count += sl_id_none(slot->id);
	return slot;
}

static bool is_probe(const struct sl_pair *p)
{
	return p->judgement.present && p->judgement.probe != 0 && p->judgement.panel.data && p->gold.present &&
	       sl_is(p->gold.verdict, "chosen") && !sl_id_none(p->id);
}

/* The votes of the judge of vote i, which is its first. */
static size_t votes_of(const struct sl_judgement *j, size_t i, struct sl_vote *to)
{
	size_t count = 0;

	for (size_t k = 0; k < j->vote_count && count < VOTES_MOST; k++)
		if (sl_bytes_equal(j->votes[k].judge, j->votes[i].judge))
			to[count++] = j->votes[k];
	return count;
}

static bool is_first(const struct sl_judgement *j, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (sl_bytes_equal(j->votes[k].judge, j->votes[i].judge))
			return false;
	return true;
}

void sl_judge_records_add(struct sl_judge_records *r, const struct sl_pair *p)
{
	const struct sl_judgement *said = &p->judgement;
	struct sl_vote votes[VOTES_MOST];
	struct sl_probe probe = { .id = p->id, .number = said->probe, .panel = held_against_human(said->verdict) };
	struct observation o;
	struct sl_probe *slot;
	struct setting *s;

	if (!is_probe(p))
		return;
	s = setting_of(r, said->setting);
	slot = slot_of(&s->latest, p->id);
	if (sl_id_equal(slot->id, p->id) && slot->number == said->probe)
		return;
	if (!s->panel.name)
		s->panel.name = copy_name(said->panel);
	memset(probe.judges, SL_PROBE_NOT_ASKED, sizeof probe.judges);
	for (size_t i = 0; i < said->vote_count; i++) {
		size_t at;

		if (!said->votes[i].judge.data || !is_first(said, i))
			continue;
		at = judge_of(s, said->votes[i].judge);
		if (at < SL_JUDGES_MOST)
			probe.judges[at] = add_judge(s, at, p, votes, votes_of(said, i, votes));
	}
	o = observation_of(s, p, probe.panel);
	observe(&s->panel, &o);
	compare_errors(s, &probe);
	*slot = probe;
	s->panel.probes++;
	s->panel.votes[word_of(&(struct sl_vote){ .verdict = said->verdict, .outcome = sl_text("failed") })]++;
	s->probes++;
	r->probes++;
}

int64_t sl_judge_records_probes(const struct sl_judge_records *r)
{
	return r->newest ? r->newest->probes : 0;
}

const char *sl_judge_records_setting(const struct sl_judge_records *r)
{
	return r->newest ? r->newest->name : "";
}

/* -- for a fit ---------------------------------------------------------------------- */

void sl_judge_records_copy(const struct sl_judge_records *r, struct sl_probes *to)
{
	const struct setting *s = r->newest;

	*to = (struct sl_probes){ 0 };
	if (!s || s->latest.count == 0)
		return;
	*to = s->latest;
	to->slots = sl_malloc(to->capacity * sizeof *to->slots);
	memcpy(to->slots, s->latest.slots, to->capacity * sizeof *to->slots);
	for (; to->name_count < s->judge_count; to->name_count++)
		to->names[to->name_count] = sl_strdup(s->judges[to->name_count].name);
}

const struct sl_probe *sl_probes_find(const struct sl_probes *p, struct sl_id id)
{
	const struct sl_probe *slot = p->capacity ? find_slot(p->slots, p->capacity, id) : NULL;

	return slot && !sl_id_none(slot->id) ? slot : NULL;
}

void sl_probes_release(struct sl_probes *p)
{
	for (size_t i = 0; i < p->name_count; i++)
		free(p->names[i]);
	free(p->slots);
	*p = (struct sl_probes){ 0 };
}

/* -- for people ---------------------------------------------------------------------- */

static double six_digits(double x)
{
	return round(x * 1e6) / 1e6;
}

static void put(json_t *to, const char *name, json_t *value)
{
	if (!value || json_object_set_new(to, name, value) != 0)
		sl_oom(0);
}

static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("?"); /* not UTF-8 */
}

static json_t *accuracy_json(const struct sl_accuracy *a)
{
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)a->count, "value", six_digits(a->value), "low",
			 six_digits(a->low), "high", six_digits(a->high));
}

static json_t *share_json(int64_t part, int64_t whole)
{
	return json_pack("{s:I, s:f}", "count", (json_int_t)whole, "value",
			 whole ? six_digits((double)part / (double)whole) : 0.0);
}

enum what { VERDICT, LONGEST, FIRST_WINS };

/* Of the verdicts that are one, in a category or (-1) in all. The baselines are those of the same pairs. */
static struct sl_accuracy accuracy_of(const struct judge *j, enum what what, int category)
{
	struct sl_id *groups = sl_malloc((j->count + 1) * sizeof *groups);
	double *margins = sl_malloc((j->count + 1) * sizeof *margins);
	struct sl_accuracy a;
	size_t n = 0;

	for (size_t i = 0; i < j->count; i++) {
		const struct observation *o = &j->ring[i];

		if (!answered(o->verdict) || (category >= 0 && o->category != category) ||
		    (what == FIRST_WINS && o->first_wins == 0))
			continue;
		groups[n] = o->group;
		margins[n++] = what == VERDICT ? o->verdict : what == LONGEST ? o->longest : o->first_wins;
	}
	a = sl_accuracy_clustered(groups, margins, n);
	free(groups);
	free(margins);
	return a;
}

static json_t *categories_json(const struct setting *s, const struct judge *j)
{
	json_t *list = json_array();

	for (size_t c = 0; c < s->category_count; c++) {
		struct sl_accuracy a = accuracy_of(j, VERDICT, (int)c);

		if (a.count && json_array_append_new(list, json_pack("{s:o, s:o}", "name", text_json(s->categories[c]),
								     "agreement", accuracy_json(&a))) != 0)
			sl_oom(0);
	}
	return list;
}

static json_t *votes_json(const struct judge *j)
{
	json_t *votes = json_object();

	for (size_t i = 0; i < WORDS; i++)
		if (j->votes[i])
			put(votes, words[i], json_integer(j->votes[i]));
	return votes;
}

static json_t *judge_json(const struct setting *s, const struct judge *j)
{
	struct sl_accuracy agreement = accuracy_of(j, VERDICT, -1);
	int64_t flips = 0, compared = 0, equal = 0, together = 0, first = 0, decided = 0, abstained = 0;
	json_t *to = json_object();

	for (size_t i = 0; i < j->count; i++) {
		const struct observation *o = &j->ring[i];

		flips += o->flips;
		compared += o->compared;
		equal += o->equal;
		together += o->together;
		first += o->first;
		decided += o->decided;
		abstained += o->verdict == SL_PROBE_ABSTAINED;
	}
	put(to, "name", text_json(j->name));
	put(to, "panel", json_boolean(j == &s->panel));
	put(to, "probes", json_integer(j->probes));
	put(to, "abstained", json_integer(abstained));
	put(to, "agreement", accuracy_json(&agreement));
	put(to, "categories", categories_json(s, j));
	put(to, "order_flips", share_json(flips, compared));
	put(to, "self_consistency", share_json(equal, together));
	put(to, "first", share_json(first, decided));
	put(to, "votes", votes_json(j));
	put(to, "tokens", json_integer(j->tokens));
	put(to, "dollars", json_real((double)j->micro_dollars / 1e6));
	return to;
}

static json_t *errors_json(const struct setting *s)
{
	json_t *list = json_array();

	for (size_t a = 0; a < s->judge_count; a++)
		for (size_t b = a + 1; b < s->judge_count; b++) {
			const struct errors *e = &s->errors[a][b];
			double n = (double)e->count, mine = (double)e->mine, other = (double)e->other;
			double spread = sqrt(mine * (n - mine) * other * (n - other));
			json_t *pair;

			if (e->count == 0)
				continue;
			pair = json_pack("{s:o, s:o, s:I, s:I}", "judge", text_json(s->judges[a].name), "other",
					 text_json(s->judges[b].name), "count", (json_int_t)e->count, "both",
					 (json_int_t)e->both);
			if (spread > 0)
				put(pair, "phi", json_real(six_digits((n * (double)e->both - mine * other) / spread)));
			if (json_array_append_new(list, pair) != 0)
				sl_oom(0);
		}
	return list;
}

json_t *sl_judge_records_json(const struct sl_judge_records *r)
{
	const struct setting *s = r->newest;
	json_t *to = json_object(), *judges = json_array();
	struct sl_accuracy longest, first;

	put(to, "probes", json_integer(s ? s->probes : 0));
	put(to, "earlier", json_integer(r->probes - (s ? s->probes : 0)));
	put(to, "judges", judges);
	if (!s || s->probes == 0)
		return to;
	put(to, "panel", text_json(s->panel.name));
	put(to, "setting", text_json(s->name));
	for (size_t i = 0; i <= s->judge_count; i++)
		if (json_array_append_new(judges, judge_json(s, i ? &s->judges[i - 1] : &s->panel)) != 0)
			sl_oom(0);
	longest = accuracy_of(&s->panel, LONGEST, -1);
	first = accuracy_of(&s->panel, FIRST_WINS, -1);
	put(to, "errors", errors_json(s));
	put(to, "longest_wins", accuracy_json(&longest));
	put(to, "first_wins", accuracy_json(&first));
	return to;
}
