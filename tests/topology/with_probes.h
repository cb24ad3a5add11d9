/* with_probes.h -- records of probes made by hand, for the tests of those who count them. */
#ifndef SL_WITH_PROBES_H
#define SL_WITH_PROBES_H

#include "schemas/pair.h"
#include "topology/base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "gpt/m >yes <no": a judge, then its votes, of samples 0, 1, ... by order: '>' chosen was first, '<' rejected was
 * first; yes chosen, no rejected, or another verdict, or !outcome. */
static inline size_t probe_votes(struct sl_arena *a, const char *text, struct sl_vote *to)
{
	char *copy = sl_arena_print(a, "%s", text), *rest = copy, *word = strtok_r(copy, " ", &rest);
	struct sl_bytes judge = sl_text(word);
	int64_t samples[2] = { 0 };
	size_t count = 0;

	while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
		bool first = *word == '>';
		const char *says = word + 1;

		to[count] = (struct sl_vote){ .judge = judge,
					      .order = sl_text(first ? "chosen" : "rejected"),
					      .sample = samples[first]++,
					      .confidence = NAN,
					      .tokens = 100,
					      .micro_dollars = 50 };
		if (*says == '!')
			to[count].outcome = sl_text(says + 1);
		else
			to[count].verdict = sl_text(strcmp(says, "yes") == 0  ? "chosen"
						    : strcmp(says, "no") == 0 ? "rejected"
									      : says);
		count++;
	}
	return count;
}

/* Turns a gold pair into a probe that a panel spoke about. `votes`: see above, up to 4; NULL ends them. */
static inline void make_probe(struct sl_arena *a, struct sl_pair *p, int64_t number, const char *setting,
			      const char *verdict, const char *const *votes)
{
	struct sl_vote *list = sl_arena_zalloc(a, 64 * sizeof *list);
	size_t count = 0;

	for (; votes && *votes; votes++)
		count += probe_votes(a, *votes, list + count);
	p->judgement = (struct sl_judgement){ .present = true,
					      .asked = true,
					      .verdict = sl_text(verdict),
					      .votes = list,
					      .vote_count = count,
					      .panel = sl_text("llm"),
					      .setting = sl_text(setting),
					      .probe = number };
}

#endif
