/* pair.h -- the record that travels through every topic, as a C struct.
 *
 * One preference pair: a conversation (prompt), two answers (chosen, rejected),
 * and one optional section per step of the chain, filled in by that step. The
 * Avro form is schemas/pair.avsc; field names and order are the same there.
 *
 * Ownership: a struct sl_pair owns nothing. Texts and arrays are borrowed from
 * the record's bytes and from the arena it was decoded or built in, and die
 * with those. Copying the struct copies the pointers; a step that changes a
 * section points it at new memory (sl_alloc) and never writes through a
 * borrowed pointer.
 *
 * Absent: texts have data == NULL, arrays count == 0, optional sections
 * `present` false, optional numbers NaN. */
#ifndef SL_PAIR_H
#define SL_PAIR_H

#include "../topology/base/arena.h"
#include "../topology/base/bytes.h"
#include "../topology/base/error.h"
#include "../topology/base/hash.h"

#include <stdbool.h>
#include <stdint.h>

/* One turn of a conversation. `extra` is a JSON object with every other key of
 * the producer's message (name, tool_calls, thinking ...), absent if none. */
struct sl_message {
	struct sl_bytes role; /* system, user, assistant, tool, developer */
	struct sl_bytes content;
	struct sl_bytes extra;
};

struct sl_messages {
	struct sl_message *at;
	size_t count;
};

/* Where this occurrence of the pair came from. File and line for a file, topic,
 * partition and offset for a record that another producer wrote. `item` tells
 * apart the pairs that one K-way or ranked input line expands to. */
struct sl_arrival {
	struct sl_bytes file; /* as given to ingest; "-" for standard input */
	int64_t line;         /* from 1; 0 unknown */
	int64_t item;         /* from 0 */
	struct sl_bytes topic;
	int64_t partition; /* -1 unknown */
	int64_t offset;    /* -1 unknown */
};

/* Human verification. `present` makes the pair a gold pair: chosen is the
 * answer a human prefers. */
struct sl_gold {
	bool present;
	struct sl_bytes verdict;       /* "chosen" (as given), later also "tie" ... */
	struct sl_bytes sample;        /* random, error-driven, given */
	struct sl_bytes label_arrived; /* same, swapped, or absent: unknown */
	int64_t sequence;              /* from 1, per partition of the gold table: its version; 0 not yet */
};

/* The paper's 5-tuple (reference: arXiv 2507.01352 section 3.1). */
struct sl_attributes {
	bool present;
	struct sl_bytes category;
	struct sl_bytes objectivity;
	struct sl_bytes controversiality;
	struct sl_bytes desired;
	struct sl_bytes guideline;
};

/* Little-endian float32, dropped after the last step that reads them. */
struct sl_vectors {
	struct sl_bytes context;    /* of (conversation, attributes), unit length */
	struct sl_bytes difference; /* chosen - rejected */
};

/* A gold pair shown to the judge. */
struct sl_exemplar {
	struct sl_id id;
	double similarity;     /* cosine of the context vectors */
	struct sl_bytes label; /* the human's verdict: "chosen" */
	struct sl_attributes attributes;
};

/* Rewards under one version of one model; margin = chosen - rejected. */
struct sl_score {
	struct sl_bytes model; /* gold, best */
	int64_t version;
	double chosen;
	double rejected;
	double temperature; /* of that version: p = sigmoid(margin / temperature) */
};

/* One judge's answer. Verdicts: chosen, rejected, tie, both_bad, undecidable. */
struct sl_vote {
	struct sl_bytes judge; /* back-end and model, "nearest" */
	struct sl_bytes order; /* which answer was Candidate 1: chosen, rejected */
	struct sl_bytes verdict;
	double confidence;          /* of the verdict, 0.5 to 1; NaN unknown */
	struct sl_bytes difference; /* what sets the answers apart, in the judge's words */
	int64_t tokens;
	int64_t micro_dollars;
	int64_t sample;           /* which of several answers to one question, from 0 */
	struct sl_bytes strength; /* slight, clear, strong; absent unknown */
	struct sl_bytes outcome;  /* absent: answered; else why there is no verdict: see operators/chat.h */
};

struct sl_judgement {
	bool present;
	bool asked;              /* false: the rule made an answer pointless */
	struct sl_bytes verdict; /* of all votes; absent when not asked or all abstained */
	struct sl_vote *votes;
	size_t vote_count;
	struct sl_bytes panel; /* the judges as one witness: "nearest", or the name of a panel of LLM judges */
	struct sl_bytes
		setting; /* hash of its judges, prompts and settings: its record on gold begins anew with another */
	int64_t probe;   /* not 0: a gold pair put to the judges to measure them; tells probes of one pair apart */
};

struct sl_decision {
	bool present;
	struct sl_bytes action; /* keep, flip, undecided, discard */
	struct sl_bytes why;
	double p_label;   /* P(the arrived label is right); NaN unknown */
	int64_t revision; /* from 0; a higher one replaces a lower one of the same id */
};

/* One line per step: what it did to the pair and by which versions. */
struct sl_trail {
	struct sl_bytes step;
	struct sl_bytes version; /* of the operator */
	struct sl_bytes tables;  /* "gold=120 models=3", the versions that were read */
	struct sl_bytes outcome; /* the port, or "rejected" */
	struct sl_bytes reason;
	int64_t pass; /* 0, and one more for every replay */
};

struct sl_pair {
	struct sl_id id;       /* length-prefixed prompt, chosen, rejected as they arrived */
	struct sl_id pair_key; /* prompt and the unordered answers */
	struct sl_id group;    /* the prompt, folded: partitions the stream */
	struct sl_arrival arrival;
	int64_t time_ms; /* arrival, since 1970 */
	struct sl_bytes source;
	struct sl_bytes domain;
	struct sl_messages prompt;
	struct sl_messages chosen;
	struct sl_messages rejected;
	struct sl_bytes origin; /* of the label: human, ai, objective ...; absent unknown */
	struct sl_gold gold;
	double margin;        /* the producer's; NaN absent */
	struct sl_bytes meta; /* the producer's own: a JSON object, as text */
	bool label_flipped;   /* chosen and rejected were swapped by filter */
	struct sl_attributes attributes;
	struct sl_vectors vectors;
	struct sl_exemplar *exemplars;
	size_t exemplar_count;
	struct sl_score *scores;
	size_t score_count;
	struct sl_judgement judgement;
	struct sl_decision decision;
	struct sl_trail *trail;
	size_t trail_count;
};

/* A zeroed pair with the absent values that are not zero (NaN, -1) set. */
void sl_pair_init(struct sl_pair *p);

/* Fill id, pair_key and group from the texts (DESIGN section 3):
 *   id        XXH3-128 of tagged, length-prefixed (role, content, extra) of
 *             prompt, chosen, rejected, in this order
 *   pair_key  the same over the *folded* texts with the two answers in byte order
 *             of their hashes, so a swapped or re-spaced copy has the same key
 *   group     XXH3-128 of the folded prompt
 * `scratch` is used for folding and may be cleared afterwards. */
void sl_pair_identify(struct sl_pair *p, struct sl_arena *scratch);

/* The hash of one folded answer or prompt, as used in pair_key: lets dedupe tell
 * a copy from a swapped copy. */
struct sl_id sl_messages_key(const struct sl_messages *m, struct sl_arena *scratch);

/* All contents joined by a newline; one message is returned without a copy. */
struct sl_bytes sl_messages_text(const struct sl_messages *m, struct sl_arena *a);

/* The sign of characters(chosen) - characters(rejected): 1, 0, -1. Characters, because not every language has spaces.
 */
int sl_pair_length_sign(const struct sl_pair *p);
/* `domain`, or else `source`: what evidence is kept by. */
struct sl_bytes sl_pair_domain(const struct sl_pair *p);

/* The score of a model, NULL when absent. */
const struct sl_score *sl_pair_score(const struct sl_pair *p, const char *model);

/* Train, select or report: one function of group (DESIGN section 1): 70 %, 15 %,
 * 15 % by the group's hash. Also tells the fold (0 .. folds - 1) for cross-fitting. */
enum sl_split { SL_SPLIT_TRAIN, SL_SPLIT_SELECT, SL_SPLIT_REPORT };
enum sl_split sl_split_of(struct sl_id group);
unsigned sl_fold_of(struct sl_id group, unsigned folds);

/* 1 / (1 + exp(-x)) without overflow; 1 - sigmoid(x) is sl_sigmoid(-x). */
double sl_sigmoid(double x);

#endif
