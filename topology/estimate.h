/* estimate.h -- what a topology would ask the outside about a file of pairs, and what that would cost, before
 * anything is spent.
 *
 * A sample of the file's pairs is put into the very bodies that the steps would send: annotate with LLM judges,
 * attributes, embed and score where a server answers. Bytes are counted, tokens are not known before a server has
 * counted them; so there are two reckonings:
 *
 *     expected   a token is 4 bytes, an answer as long as answers usually are (below)
 *     at most    a token is a byte and answers are as long as max_tokens allows: what a budget reserves
 *
 * What cannot be known from a file is said and not guessed. The share of pairs that are asked about: all of them, and
 * the share of this data folder so far. Second opinions: none, or all. Gold examples: as many as annotate shows, other
 * pairs of the sample stand in for them. Repairs, and answers that are in the memo, are not counted; descriptions that
 * do not exist yet are taken to have 400 bytes. */
#ifndef SL_ESTIMATE_H
#define SL_ESTIMATE_H

#include "topology.h"

#include <jansson.h>
#include <stdio.h>

/* Tokens of an answer that is expected; models that reason aloud use more. */
#define SL_ESTIMATE_VERDICT_TOKENS 80
#define SL_ESTIMATE_ATTRIBUTES_TOKENS 200

/* One kind of call. All numbers are means per pair that comes to the step; dollars are 0 without a price. */
struct sl_estimate_line {
	const char *step, *what; /* what: verdict, second opinion, attributes, vector, reward */
	size_t endpoint;         /* index in the topology */
	double calls, bytes, prompt_tokens, completion_tokens;
	double dollars, dollars_most;
	bool asked;  /* only about pairs where an answer can change the decision */
	bool probes; /* about probes too */
	bool maybe;  /* where the first opinion is unsure */
};

struct sl_estimate {
	int64_t pairs, sampled, invalid; /* of the file: pairs in it, those that were looked at, lines that are none */
	double probes;                   /* per pair that passes retrieve */
	struct sl_estimate_line *lines;
	size_t count;
};

/* At most `sample` pairs, drawn evenly from the whole file ("-": standard input), the same ones each time. `data`:
 * where prompt files may lie that are not beside the topology. A topology that asks nobody gives no lines. */
bool sl_estimate_make(const struct sl_topology *t, const char *data, const char *path, int64_t sample,
		      struct sl_estimate *to, struct sl_error *e) SL_MUST_CHECK;
void sl_estimate_release(struct sl_estimate *x);

/* Of a status: the share of pairs that came to annotate and were asked about; NaN where none came or nobody is asked.
 */
double sl_estimate_share(const json_t *status, int64_t *pairs);

/* estimate_show.c; asked_share NaN: not known, else of `seen` pairs.
 *
 * {"file", "pairs", "sampled", "invalid", "asked_share",
 *  "lines": [{"step", "what", "endpoint", "asked", "maybe",
 *             "calls", "prompt_tokens", "completion_tokens", "dollars", "dollars_most"}],                  per pair
 *  "endpoints": [{"name", "model", "priced", "budget", "budget_per_day",
 *                 "per_1000": COST, "file": COST, "file_as_asked": COST}],    the last with the share asked so far
 *  "dollars": COST of the file, all endpoints together}
 *     COST {"calls", "prompt_tokens", "completion_tokens", "dollars", of them "second_calls" and so on for second
 *           opinions about every pair, "dollars_most"} */
void sl_estimate_print(const struct sl_topology *t, const struct sl_estimate *x, const char *path, double asked_share,
		       int64_t seen, FILE *to);
json_t *sl_estimate_json(const struct sl_topology *t, const struct sl_estimate *x, const char *path,
			 double asked_share);

#endif
