/* make.h -- pairs for the operator tests: with scores, with a judgement, in a given
 * split, and gold pairs put straight into the gold table. */
#ifndef SL_MAKE_H
#define SL_MAKE_H

#include "operators/hashing_vectorizer.h"
#include "tests/trial.h"
#include "topology/base/buf.h"

#include <math.h>

/* Rewards under which p(chosen) is this; NaN leaves the model out. */
static inline void make_scores(struct sl_arena *a, struct sl_pair *p, double p_gold, double p_best)
{
	const double ps[] = { p_gold, p_best };
	static const char *const names[] = { "gold", "best" };

	p->scores = sl_arena_zalloc(a, 2 * sizeof *p->scores);
	p->score_count = 0;
	for (int i = 0; i < 2; i++)
		if (!isnan(ps[i]))
			p->scores[p->score_count++] = (struct sl_score){ .model = sl_text(names[i]),
									 .version = 1,
									 .chosen = log(ps[i] / (1 - ps[i])),
									 .temperature = 1 };
}

/* NULL: asked, and abstained. */
static inline void make_judgement(struct sl_pair *p, const char *verdict)
{
	p->judgement = (struct sl_judgement){ .present = true, .asked = true, .verdict = sl_text(verdict) };
}

/* A pair whose prompt is `stem` and the first number that puts it into the split. */
static inline struct sl_pair make_pair_in(struct sl_arena *a, enum sl_split split, const char *stem, const char *chosen,
					  const char *rejected)
{
	for (int i = 0;; i++) {
		struct sl_pair p = sl_trial_pair(a, sl_arena_print(a, "%s %d", stem, i), chosen, rejected);

		if (sl_split_of(p.group) == split)
			return p;
	}
}

/* As embed would: a gold pair with its vector, keyed by id, in topic pairs.gold. */
static inline bool make_gold(struct sl_trial *t, struct sl_arena *a, struct sl_pair p, const char *verdict, size_t dim)
{
	struct sl_vectorizer v = { 0 };
	struct sl_buf b = { 0 };
	struct sl_record r = { .key = sl_id_bytes(&p.id) };
	float *vector = sl_arena_alloc(a, dim * sizeof *vector);
	bool done;

	sl_vectorizer_init(&v, dim);
	sl_vectorize(&v, sl_messages_text(&p.prompt, a), a, vector);
	sl_vectorizer_release(&v);
	p.vectors.context = (struct sl_bytes){ vector, dim * sizeof *vector };
	p.gold = (struct sl_gold){ .present = true, .verdict = sl_text(verdict), .sequence = 1 };
	sl_pair_encode(&p, &b);
	r.value = sl_buf_bytes(&b);
	done = sl_trial_feed_record(t, "pairs.gold", &r);
	sl_buf_release(&b);
	return done;
}

/* The record of a topic with this id; NULL: none. */
static inline struct sl_pair *find_pair(struct sl_trial *t, const char *topic, struct sl_id id, struct sl_arena *a)
{
	struct sl_pair *pairs, *found = NULL;
	size_t count = sl_trial_read(t, topic, a, &pairs);

	for (size_t i = 0; i < count; i++) /* the last one */
		if (sl_id_equal(pairs[i].id, id))
			found = &pairs[i];
	return found;
}

/* The reason in the last line of the trail begins with this code. */
static inline bool has_code(const struct sl_pair *p, const char *code)
{
	struct sl_bytes reason = p->trail_count ? p->trail[p->trail_count - 1].reason : (struct sl_bytes){ 0 };
	size_t size = strlen(code);

	return sl_bytes_begins(reason, sl_text(code)) &&
	       (reason.size == size || ((const char *)reason.data)[size] == ':');
}

#endif
