/* noise.h -- inside bench_noise and bench_judges: the pairs, the truth about them, and what each run said.
 *
 * Every pair is known by its id, so the truth, what the models and the judge said and what was decided meet in one
 * item. Loaded once, then read only; one thread. */
#ifndef SL_NOISE_H
#define SL_NOISE_H

#include "../../schemas/jsonl.h"
#include "../../trainer/train.h"

/* Where filter put a pair. NONE: not decided (gold, copies, conflicts, broken), or, of a question, wherever. */
enum sl_place { SL_PLACE_NONE, SL_PLACE_CURATED, SL_PLACE_FLIPPED, SL_PLACE_UNDECIDED, SL_PLACE_DISCARDED, SL_PLACES };
extern const char *const sl_place_names[SL_PLACES];

struct sl_noise_item {
	struct sl_pair pair; /* raw: as it arrived; gold: the human's label */
	int label;           /* as it is in `pair`: 1 right, -1 wrong, 0 unknown */
	bool gold;
	size_t domain;
	double longest; /* oriented to the truth: sign of the difference in words */
	double first;   /* the same of what was shown first; NaN unknown */
};

/* What one run said about an item; numbers oriented to the truth, NaN absent. */
struct sl_noise_said {
	enum sl_place place;
	bool passed;       /* gold that reached the table */
	double gold, best; /* margins */
	double judge;      /* 1 right, -1 wrong, 0 abstained; NaN not asked */
	size_t votes;      /* answers of judges, also those without a verdict */
	double dollars;    /* that they cost */
	double p_label;    /* P(the arrived label is right) */
};

struct sl_noise_run {
	const char *name;           /* "posterior@0.80" */
	double keep;                /* what stands behind @; NaN: none */
	bool repeated;              /* of a rule met before */
	struct sl_noise_said *said; /* per item */
};

struct sl_noise_domain {
	const char *name;
	size_t decided; /* in the first run */
};

struct sl_noise_id {
	struct sl_id id;
	size_t item;
};

struct sl_noise {
	struct sl_keys keys;
	struct sl_arena memory;
	struct sl_noise_item *items;
	size_t item_count, item_room;
	struct sl_noise_id *by_id; /* sorted; of equal ones the first counts */
	struct sl_noise_domain *domains;
	size_t domain_count;
};

/* All of these end the process when a file cannot be read. */
void sl_noise_read_set(struct sl_noise *n, const char *folder);
void sl_noise_read_run(struct sl_noise *n, struct sl_noise_run *r, const char *folder);
void sl_noise_release(struct sl_noise *n);

/* Oriented numbers of some items with their groups; NaN is not taken. Zero-initialise. */
struct sl_figures {
	struct sl_id *groups;
	double *margins;
	size_t count, room;
};
void sl_figures_add(struct sl_figures *f, const struct sl_noise_item *x, double margin);
/* The accuracy of them (count 0: none); releases them. */
struct sl_accuracy sl_figures_end(struct sl_figures *f);
/* "  0.650 (0.625 to 0.675)", 24 characters wide. */
void sl_accuracy_print(const struct sl_accuracy *a);

/* Train on the labels as they came, as they left each run and as they are, and print how good those models are on
 * groups that none has seen. The split is drawn `draws` times: the first is the chain's own. */
void sl_noise_models(struct sl_noise *n, const struct sl_noise_run *runs, size_t count, uint64_t seed, int draws);

#endif
