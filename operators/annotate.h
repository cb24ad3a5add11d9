/* annotate.h -- what the parts of annotate share: the operator (annotate.c) and its judges (judge_nearest.c,
 * judge_llm.c).
 *
 * A judge is a row of functions. The operator says whom to ask about (asking.h) and where an answer goes; a judge makes
 * votes and a verdict of a pair. `ask` is called before `judge`, in rounds, for all pairs of a batch, and may put
 * questions to the outside; `judge` finds the answers there.
 *
 * One owner, one thread. */
#ifndef SL_ANNOTATE_H
#define SL_ANNOTATE_H

#include "asking.h"
#include "judging.h"
#include "nearest.h"
#include "panel.h"

enum { SL_ANNOTATE_GOLD, SL_ANNOTATE_MODELS }; /* tables */

struct sl_annotate;

/* What judging a pair came to. Texts live as long as the batch. */
struct sl_judged {
	struct sl_judgement judgement;
	struct sl_attributes attributes; /* of the pair: as they were, or made for the question */
	const char *code;                /* of the trail: the verdict, abstained, gave_up */
	const char *says;                /* the rest of the reason */
	const char *put_off; /* not NULL: the judges cannot be had now: no_budget or away, then `says` is why; or
				SL_ANNOTATE_PARKED, then `says` begins with the keys of the questions */
};
#define SL_ANNOTATE_PARKED "parked"

struct sl_judge {
	const char *name; /* as the option `backend` says */
	enum sl_verdict (*open)(struct sl_task *, struct sl_annotate *);
	enum sl_verdict (*begin)(struct sl_task *,
				 struct sl_annotate *); /* before the first pair of a batch; or NULL */
	/* Queue questions about a pair, as far as the answers so far lead; NULL: has none. */
	enum sl_verdict (*ask)(struct sl_task *, struct sl_annotate *, const struct sl_pair *);
	enum sl_verdict (*judge)(struct sl_task *, struct sl_annotate *, const struct sl_pair *, struct sl_judged *);
	void (*close)(struct sl_annotate *);
};
extern const struct sl_judge sl_judge_nearest, sl_judge_llm;

/* One LLM judge: an endpoint and the model it asks. */
struct sl_llm_judge {
	const char *endpoint, *model;
	char *name; /* ENDPOINT/MODEL, as in votes */
};

/* Options, and from open on what they come to. */
struct sl_judge_llm {
	struct sl_list judges, second;
	int64_t samples, seed, examples, max_tokens, text_max;
	const char *order, *merge, *prompt_path, *extra, *attributes, *attributes_judge, *attributes_path,
		*without_judge;
	double temperature, sure, least;
	bool repair;
	/* from open on */
	struct sl_llm_judge *who; /* first opinions, then second ones */
	size_t who_count, first_count;
	struct sl_llm_judge describer;
	struct sl_prompt *prompt, *describing; /* describing NULL: attributes are not asked for */
	char setting[17];
	struct sl_buf body;
};

struct sl_annotate {
	struct sl_asking asking;
	const char *when;                       /* asked, always */
	const struct sl_judge *judge, *instead; /* when the judge cannot be had; NULL: nobody */
	/* nearest */
	double threshold;
	int64_t memory_bytes;
	int64_t seen; /* version of the gold table that it knows */
	struct sl_nearest nearest;
	struct sl_judge_llm llm;
	struct sl_arena scratch; /* one pair, or one gold record, at a time */
};

#endif
