/* courtroom.h -- annotate with the judges of court.h, in a trial: the topology, a fixture, and how a pair is played. */
#ifndef SL_COURTROOM_H
#define SL_COURTROOM_H

#include "court.h"

/* Rule paper asks about a pair that gold is for and best against. */
static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"prices: { m-a: { prompt: 1, completion: 2 }, m-b: { prompt: 1, completion: 2 } }\n"
	"endpoints:\n"
	"  a: { url: \"http://a.test/v1\", model: m-a }\n"
	"  b: { url: \"http://b.test/v1\", model: m-b }\n"
	"  c: { url: \"http://c.test/v1\", model: m-c }\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, dim: 64 }\n"
	"  - { name: retrieve, from: pairs.embedded, to: { retrieved: pairs.retrieved },\n"
	"      tables: { gold: pairs.gold, models: models }, rule: paper }\n"
	"  - { name: annotate, from: pairs.retrieved, to: { judged: pairs.judged, silver: pairs.silver,\n"
	"      probed: pairs.probed, deferred: pairs.deferred },\n"
	"      tables: { gold: pairs.gold, models: models }, rule: paper, backend: llm, judges: [a],\n"
	"      prompt: topology/prompts/preference.txt, attributes_prompt: topology/prompts/attributes.txt }\n"
	"trainers: [ { name: gold, from: pairs.gold, min_pairs: 1000000 } ]\n";

struct fixture {
	struct court court;
	struct sl_arena a;
	struct sl_trial *t;
};

static inline int set_up(void **state)
{
	*state = sl_calloc(1, sizeof(struct fixture));
	return 0;
}

static inline void close_trial(struct fixture *f)
{
	if (f->t)
		sl_trial_free(f->t);
	f->t = NULL;
	court_forget(&f->court);
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;

	close_trial(f);
	court_release(&f->court);
	sl_arena_release(&f->a);
	free(f);
	return 0;
}

/* Sets are separated by spaces. */
static inline void open_trial(struct fixture *f, const char *sets)
{
	struct sl_trial_case c = { .yaml = yaml, .endpoint = court_endpoint, .world = court_turn, .arg = &f->court };
	const char *list[16];

	close_trial(f);
	for (char *copy = sl_arena_print(&f->a, "%s", sets), *word; (word = strsep(&copy, " "));)
		if (word[0])
			list[c.set_count++] = word;
	c.sets = list;
	f->t = sl_trial_case_new(&c, NULL);
}

static inline struct sl_pair asked_pair(struct sl_arena *a, const char *prompt, const char *chosen,
					const char *rejected)
{
	struct sl_pair p = sl_trial_pair(a, prompt, chosen, rejected);

	make_scores(a, &p, 0.8, 0.3);
	p.domain = sl_text("clear");
	return p;
}

static inline struct sl_pair *play(struct fixture *f, const struct sl_pair *p, const char *topic)
{
	struct sl_pair *out;

	assert_true(sl_trial_feed(f->t, "pairs.unique", p, 1));
	assert_int_equal(sl_trial_play(f->t, 0), SL_TRIAL_IDLE);
	out = find_pair(f->t, topic, p->id, &f->a);
	assert_non_null(out);
	return out;
}

static inline void expect_code(const struct sl_pair *p, const char *code)
{
	if (!has_code(p, code))
		fail_msg("%.*s, expected %s", (int)p->trail[p->trail_count - 1].reason.size,
			 (const char *)p->trail[p->trail_count - 1].reason.data, code);
}

static inline size_t count(struct fixture *f, const char *topic)
{
	struct sl_pair *pairs;

	return sl_trial_read(f->t, topic, &f->a, &pairs);
}

#define COURT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
