/* evidence.h -- what each witness says about the gold pairs, where the truth is known.
 *
 * The posterior (trainer/posterior.h) learns from this how far a witness can be trusted. So a witness must
 * speak here as it would about a pair of the stream: without having seen the pair, or any other of its group.
 *
 *     gold     groups of split train: cross-fitted by group with the gold trainer's options, and the champion's
 *              strengths of L2 where these leave them open;
 *              groups of split select: the champion itself, which has not been trained on them
 *     best     the champion: it never trains on gold
 *     judge    `nearest`: the examples are of split train and never of the pair's own group;
 *              a panel of LLMs: what it said about the pair as a probe, which got examples in the same way. Most gold
 *              pairs were not probed
 *
 * Margins are divided by the temperature of the champion. Pairs of split report are left out. */
#ifndef SL_EVIDENCE_H
#define SL_EVIDENCE_H

#include "../trainer/posterior.h"
#include "judge_record.h"

struct sl_evidence_sources {
	const struct sl_model *gold, *best;   /* champions; best NULL: absent */
	struct sl_train_options gold_options; /* of the gold trainer; folds 0: the default number */
	size_t examples;                /* of retrieve: how many gold pairs `nearest` gets; 0: it does not judge */
	double threshold;               /* of annotate */
	const struct sl_probes *probes; /* of a panel of LLMs; NULL: there is none */
};

/* Is the pair gold that tells how often arrived labels are right: sampled at random, arrived label known, and not in
 * split report? */
bool sl_evidence_audited(const struct sl_pair *p);

/* One row per gold pair outside report that has a verdict, in the order of `gold`, which is read several times. Memory
 * while it runs: the context vectors twice and the word counts of the answers, about 5 KB a pair. */
bool sl_evidence_gather(const struct sl_examples *gold, const struct sl_evidence_sources *sources,
			struct sl_evidence_rows *rows, struct sl_error *e) SL_MUST_CHECK;

#endif
