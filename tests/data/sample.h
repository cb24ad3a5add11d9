/* sample.h -- sample data with a known truth: which pairs there are and how each
 * is spoilt on purpose.
 *
 * Line `index` of a plan is a pure function of (plan, index): nothing is kept
 * between lines, so a duplicate of line 12 is line 12 made once more, and any
 * number of lines needs the same memory. */
#ifndef SL_TESTS_DATA_SAMPLE_H
#define SL_TESTS_DATA_SAMPLE_H

#include "speak.h"

enum { SL_SAMPLE_BENCHMARKS = 200, SL_SAMPLE_TURNS_MAX = 8 };

struct sl_sample_plan {
	uint64_t seed;
	uint64_t pairs; /* lines in raw.jsonl and gold.jsonl together */
	/* Shares of all lines. */
	double gold, gold_copies, duplicates, near, conflicts, contaminated, broken;
	double noise;       /* of the arrived labels, the share that is wrong: 0 to 0.5 */
	bool noise_shorter; /* wrong labels always prefer the shorter answer */
	size_t mean_bytes;  /* of a line */
};

/* The defaults of sluice-sample. */
struct sl_sample_plan sl_sample_plan_default(void);

enum sl_sample_kind {
	SL_SAMPLE_PLAIN,
	SL_SAMPLE_GOLD,
	SL_SAMPLE_GOLD_COPY, /* the raw line of an earlier gold pair, with the label as it arrived */
	SL_SAMPLE_DUPLICATE,
	SL_SAMPLE_NEAR,         /* a copy with one word in a hundred changed */
	SL_SAMPLE_CONFLICT,     /* a copy with the answers the other way round */
	SL_SAMPLE_CONTAMINATED, /* asks what a benchmark asks */
	SL_SAMPLE_BROKEN,
	SL_SAMPLE_KINDS
};
extern const char *const sl_sample_kind_names[SL_SAMPLE_KINDS];

enum sl_sample_damage {
	SL_DAMAGE_CUT, /* the line ends in the middle */
	SL_DAMAGE_TYPE,
	SL_DAMAGE_UTF8,
	SL_DAMAGE_NUL,
	SL_DAMAGE_KEY, /* rejected is missing */
	SL_DAMAGE_EMPTY,
	SL_DAMAGE_EQUAL,
	SL_SAMPLE_DAMAGES
};
extern const char *const sl_sample_damage_names[SL_SAMPLE_DAMAGES];

struct sl_sample_turn {
	const char *role;
	size_t start, size; /* in prompt */
};

/* One line. Zero it before the first use; its buffers are used again. */
struct sl_sample {
	uint64_t index;
	enum sl_sample_kind kind;
	enum sl_sample_damage damage; /* of a broken line */
	uint64_t of;                  /* the line it copies, or the benchmark item */
	const char *source, *label, *domain;
	struct sl_buf prompt;
	struct sl_sample_turn turns[SL_SAMPLE_TURNS_MAX];
	size_t turn_count;
	struct sl_buf better, worse;
	bool flipped; /* the label that arrived is wrong */
};

void sl_sample_make(const struct sl_sample_plan *plan, uint64_t index, struct sl_sample *s);
/* Prompt and answers of one benchmark item, 0 to SL_SAMPLE_BENCHMARKS - 1. */
void sl_sample_make_benchmark(const struct sl_sample_plan *plan, uint64_t item, struct sl_sample *s);
void sl_sample_release(struct sl_sample *s);

/* "s7-0000042" */
void sl_sample_id(const struct sl_sample_plan *plan, uint64_t index, char to[48]);

/* Append one line with its newline: the pair as it arrives (raw.jsonl or
 * gold.jsonl, by kind), the truth about it, and a benchmark item. */
void sl_sample_write(const struct sl_sample_plan *plan, const struct sl_sample *s, struct sl_buf *to);
void sl_sample_write_truth(const struct sl_sample_plan *plan, const struct sl_sample *s, struct sl_buf *to);
void sl_sample_write_benchmark(const struct sl_sample *s, struct sl_buf *to);

/* The whole set, written into a folder that is made if needed. */
bool sl_sample_write_folder(const struct sl_sample_plan *plan, const char *folder, struct sl_error *e) SL_MUST_CHECK;

/* Pairs of others with some labels made wrong: raw.jsonl, gold.jsonl and truth.jsonl in
 * `folder`, from files of JSON lines with chosen and rejected, plain or gzip. */
struct sl_flip_plan {
	uint64_t seed;
	double share;      /* of the arriving labels, wrong ones */
	double gold;       /* of the prompts, or of the lines, gold ones */
	bool gold_by_line; /* false: a prompt is gold as a whole */
	/* Of the wrong labels, those where the truth is the shorter answer, as far as there are so many (at most 95 in
	 * 100 of those are wrong): as if whoever labelled them liked length. 0: evenly. */
	double longer;
};
struct sl_flip_counts {
	uint64_t raw, raw_flipped, gold, others; /* others: lines that are not pairs, written to raw as they are */
};
bool sl_sample_flip(const struct sl_flip_plan *plan, const char *const *files, size_t count, const char *folder,
		    struct sl_flip_counts *counts, struct sl_error *e) SL_MUST_CHECK;

/* How right the labels of exported files are, by truth.jsonl. */
struct sl_precision {
	uint64_t pairs, right, wrong;
	uint64_t unknown;                /* not in the truth, or not readable */
	uint64_t kinds[SL_SAMPLE_KINDS]; /* of those that are known */
};
struct sl_truth;
struct sl_truth *sl_truth_load(const char *path, struct sl_error *e) SL_MUST_CHECK;
void sl_truth_free(struct sl_truth *truth);
/* Is the label of a pair right (1), wrong (-1), or unknown (0)? */
int sl_truth_label(const struct sl_truth *truth, struct sl_bytes sample_id, struct sl_bytes chosen,
		   struct sl_bytes rejected);
/* `file`: JSON lines, TRL explicit or implicit, with meta.sample_id. */
bool sl_truth_check(const struct sl_truth *truth, const char *file, struct sl_precision *p,
		    struct sl_error *e) SL_MUST_CHECK;

#endif
