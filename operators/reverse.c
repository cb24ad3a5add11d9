/* reverse.c -- see reverse.h. */
#include "reverse.h"

static struct sl_bytes other(struct sl_bytes word)
{
	if (sl_is(word, "chosen"))
		return sl_text("rejected");
	return sl_is(word, "rejected") ? sl_text("chosen") : word;
}

void sl_pair_reverse(const struct sl_pair *from, struct sl_pair *to, struct sl_arena *a)
{
	struct sl_messages chosen = from->chosen;

	*to = *from;
	to->chosen = from->rejected;
	to->rejected = chosen;
	to->label_flipped = !to->label_flipped;
	to->margin = -to->margin; /* NaN stays NaN: absent */
	to->vectors.difference = (struct sl_bytes){ 0 };

	to->scores = sl_arena_copy(a, to->scores, to->score_count * sizeof *to->scores);
	for (size_t i = 0; i < to->score_count; i++) {
		struct sl_score *s = &to->scores[i];
		double reward = s->chosen;

		s->chosen = s->rejected;
		s->rejected = reward;
	}
	to->judgement.verdict = other(to->judgement.verdict);
	to->judgement.votes =
		sl_arena_copy(a, to->judgement.votes, to->judgement.vote_count * sizeof *to->judgement.votes);
	for (size_t i = 0; i < to->judgement.vote_count; i++) {
		to->judgement.votes[i].verdict = other(to->judgement.votes[i].verdict);
		to->judgement.votes[i].order = other(to->judgement.votes[i].order);
	}
}
