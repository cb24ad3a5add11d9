/* asking.h -- the options of a rule, the same in the three steps that need it.
 *
 * filter decides by the rule; annotate asks only where an answer can change that
 * decision; retrieve looks up examples only for pairs that will be asked about.
 * All three declare these options, read them by one function, and put the
 * question to one function. They are set once, in filter (who is asked: in annotate): the other two follow
 * it unless they say otherwise. Different values break nothing: examples or answers are then
 * missing, or are paid for in vain.
 *
 * A source may have a way of its own: a text of `per_source` is its name (in double quotes where it has spaces), then
 * what differs there, or the word pass:
 *
 *     per_source: [ "forum keep=0.9 flips=off", "lab-3 rule=paper band=0.1 label_noise=0.05", "exams pass" ]
 *
 * The posterior (trainer/posterior.h) is the version that the table `models` names; it is opened here and
 * kept until the table names another one. While a way decides by the rule `posterior`, the step
 * waits until a version, or its absence, is announced. */
#ifndef SL_ASKING_H
#define SL_ASKING_H

#include "operator.h"
#include "rules.h"

/* How the pairs of a source are decided. */
struct sl_way {
	struct sl_bytes source; /* absent: all that have no way of their own */
	const struct sl_rule *rule;
	struct sl_rule_settings settings;
};

/* Lies inside the operator's self. */
struct sl_asking {
	const char *rule;
	double keep, flip, label_noise, band;
	const char *flips;
	struct sl_list per_source;
	const char *backend, *panel;
	double judge_accuracy;
	/* from sl_asking_open on */
	struct sl_way *ways; /* the first is for all sources without one of their own */
	size_t way_count;
	struct sl_posterior *posterior; /* NULL: announced absent, or not announced */
	int64_t posterior_version;
	char sha256[SL_SHA256_HEX_SIZE];
	int64_t seen; /* version of the table that the posterior was looked up at; -1: not yet */
};

extern const char *const sl_asking_rules[], *const sl_asking_flips[], *const sl_asking_backends[];

/* Allowed ranges, for options and for per_source. */
#define SL_KEEP_LEAST 0.5
#define SL_KEEP_MOST 1
#define SL_FLIP_LEAST 0
#define SL_FLIP_MOST 0.5
#define SL_LABEL_NOISE_LEAST 0.001
#define SL_LABEL_NOISE_MOST 0.5
#define SL_BAND_LEAST 0
#define SL_BAND_MOST 0.5
#define SL_JUDGE_ACCURACY_LEAST 0.5
#define SL_JUDGE_ACCURACY_MOST 0.99

/* The rows for an option table; `self_type` is the operator's self, `field` the member. */
/* clang-format off */
#define SL_ASKING_OPTIONS(self_type, field) \
	{ .name = "rule", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.rule), \
	  .value = "posterior", .words = sl_asking_rules, .follows = "filter", \
	  .help = "how filter decides; retrieve and annotate follow filter" }, \
	{ .name = "keep", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.keep), \
	  .value = "0.8", .least = SL_KEEP_LEAST, .most = SL_KEEP_MOST, .unit = "probability", .follows = "filter", \
	  .help = "rule posterior: keep where P(label) is at least this, discard where at most 1 - this; " \
		  "retrieve and annotate follow filter" }, \
	{ .name = "flip", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.flip), \
	  .value = "0.15", .least = SL_FLIP_LEAST, .most = SL_FLIP_MOST, .unit = "probability", .follows = "filter", \
	  .help = "rule posterior: flip only where P(label) is at most this; retrieve and annotate follow filter" }, \
	{ .name = "label_noise", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.label_noise), \
	  .value = "0.2", .least = SL_LABEL_NOISE_LEAST, .most = SL_LABEL_NOISE_MOST, .unit = "share", \
	  .follows = "filter", \
	  .help = "rule posterior: share of arrived labels taken to be wrong while too few are audited to know; " \
		  "retrieve and annotate follow filter" }, \
	{ .name = "band", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.band), \
	  .value = "0", .least = SL_BAND_LEAST, .most = SL_BAND_MOST, .unit = "probability", .follows = "filter", \
	  .help = "rule paper: best confirms a label when p_best > 0.5 + band; retrieve and annotate follow filter" }, \
	{ .name = "flips", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.flips), \
	  .value = "off", .words = sl_asking_flips, .follows = "filter", \
	  .help = "on: swap a label that two witnesses reject and the judge does not defend; " \
		  "off: discard the pair (flip_suspended); retrieve and annotate follow filter" }, \
	{ .name = "per_source", .type = SL_OPTION_LIST, .offset = offsetof(self_type, field.per_source), \
	  .value = "[]", .follows = "filter", \
	  .help = "what differs for a source: \"NAME rule=paper keep=0.9 flip=0.1 flips=off label_noise=0.1 band=0.1\", " \
		  "or \"NAME pass\" to keep all of it; retrieve and annotate follow filter" }, \
	{ .name = "judge_accuracy", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.judge_accuracy), \
	  .value = "0.75", .least = SL_JUDGE_ACCURACY_LEAST, .most = SL_JUDGE_ACCURACY_MOST, .unit = "share", \
	  .follows = "filter", \
	  .help = "rule posterior: share of an LLM panel's verdicts taken to be right while too few gold pairs were " \
		  "put to it to know; retrieve and annotate follow filter" }, \
	{ .name = "backend", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.backend), \
	  .value = "nearest", .words = sl_asking_backends, .follows = "annotate", \
	  .help = "who annotate asks: nearest: the retrieved gold pairs vote, by words; llm: the judges; " \
		  "retrieve and filter follow annotate" }, \
	{ .name = "panel", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.panel), \
	  .value = "llm", .follows = "annotate", \
	  .help = "backend llm: the name of all judges as one witness, whose record on gold pairs counts; " \
		  "retrieve and filter follow annotate" }
/* clang-format on */

/* Reads the options. Where the gold model is absent, asking is the only evidence there is: `without_gold` is llm_only
 * for those who ask. */
enum sl_verdict sl_asking_open(struct sl_task *task, struct sl_asking *a, enum sl_without_gold without_gold);
/* Before a batch: the posterior that the table names. */
enum sl_verdict sl_asking_update(struct sl_task *task, struct sl_asking *a, int table);
void sl_asking_close(struct sl_asking *a); /* safe on a zeroed one */

/* Who is asked, as one witness: "nearest", or the name of the panel. */
struct sl_bytes sl_asking_witness(const struct sl_asking *a);
const struct sl_way *sl_asking_way(const struct sl_asking *a, const struct sl_pair *p);
/* Would annotate ask about this pair? About a probe it asks in any case. */
bool sl_asks(const struct sl_asking *a, const struct sl_pair *p);
/* A gold pair on its way to the judges, to measure them (retrieve). */
static inline bool sl_is_probe(const struct sl_pair *p)
{
	return p->judgement.present && p->judgement.probe != 0;
}

/* One text of per_source, over the usual way. The source points into the text. */
bool sl_way_parse(const char *text, const struct sl_way *usual, struct sl_way *to, struct sl_error *e) SL_MUST_CHECK;

#endif
