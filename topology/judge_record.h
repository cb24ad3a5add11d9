/* judge_record.h -- what LLM judges said about gold pairs, counted.
 *
 * A probe is a gold pair that was put to the judges like any other pair (operators/retrieve.c), so that what they say
 * can be held against what people said. Counted are, for every judge and for the panel as one witness:
 *
 *     agreement         share of verdicts (chosen or rejected) that are the human's, by task category too
 *     order flips       votes of one judge and sample in both orders that contradict each other
 *     self-consistency  votes of one judge in one order that are its most frequent one there
 *     first             verdicts for the answer that was shown first: a half, unless the place counts
 *     votes             by verdict, or by why there is none (operators/chat.h)
 *     errors            of two judges: do they err on the same pairs (phi, the correlation of two yes-or-no numbers)
 *     baselines         who always says the longer answer, or the one shown to people first, on the same pairs
 *
 * Another setting of the panel (judgement.setting) is another panel: each has counts of its own, only those of the
 * newest are shown. Shares are of the last SL_JUDGE_WINDOW probes, with 95 % intervals clustered by group, since few
 * gold pairs are probed again and again; votes, tokens and money are of all of the setting.
 *
 * Owns all its memory. One thread at a time. */
#ifndef SL_JUDGE_RECORD_H
#define SL_JUDGE_RECORD_H

#include "../schemas/pair.h"

#include <jansson.h>

#define SL_JUDGE_WINDOW 16384
#define SL_JUDGES_MOST 32
#define SL_SETTING_SIZE 17 /* 16 hex digits and NUL */

struct sl_judge_records;

struct sl_judge_records *sl_judge_records_new(void);
void sl_judge_records_free(struct sl_judge_records *r);

/* A record of the topic; not a probe of a gold pair with a verdict: nothing happens. A probe that stands twice in a row
 * (a replay) counts once. */
void sl_judge_records_add(struct sl_judge_records *r, const struct sl_pair *p);
/* From now on this is the newest setting. The few latest ones are kept: processes of one topology may change one after
 * the other. */
void sl_judge_records_newest(struct sl_judge_records *r, struct sl_bytes setting);

/* Probes of the newest setting, and its 16 digits ("" none yet). */
int64_t sl_judge_records_probes(const struct sl_judge_records *r);
const char *sl_judge_records_setting(const struct sl_judge_records *r);
/* {"panel", "setting", "probes", "earlier",                               earlier: probes of other settings
 *  "judges": [{"name", "panel",                                           panel: true for the one that is all of them
 *              "probes", "abstained",                                     abstained: a tie, both bad, undecidable
 *              "agreement": ACCURACY, "categories": [{"name", "agreement"}, ...],
 *              "order_flips": SHARE, "self_consistency": SHARE, "first": SHARE,
 *              "votes": {"chosen": 12, "refused": 1, ...}, "tokens", "dollars"}, ...],
 *  "errors": [{"judge", "other", "count", "both", "phi"}, ...],           phi absent where one never errs
 *  "longest_wins": ACCURACY, "first_wins": ACCURACY}
 *
 *     ACCURACY  {"count", "value", "low", "high"};  SHARE {"count", "value"}: nothing where count is 0 */
json_t *sl_judge_records_json(const struct sl_judge_records *r);

/* The latest probe of each gold pair under the newest setting, apart from the rest: for a fit. */
struct sl_probe {
	struct sl_id id;   /* of the gold pair; none: an empty slot */
	int64_t number;    /* judgement.probe */
	int8_t panel;      /* as one of these: */
	int8_t judges[32]; /* in the order of names */
};
enum { SL_PROBE_NOT_ASKED = -3, SL_PROBE_SILENT = -2, SL_PROBE_WRONG = -1, SL_PROBE_ABSTAINED = 0, SL_PROBE_RIGHT = 1 };

struct sl_probes {
	struct sl_probe *slots; /* open addressing, at most half full */
	size_t capacity, count;
	char *names[SL_JUDGES_MOST]; /* ENDPOINT/MODEL */
	size_t name_count;
};
void sl_judge_records_copy(const struct sl_judge_records *r, struct sl_probes *to);
const struct sl_probe *sl_probes_find(const struct sl_probes *p, struct sl_id id); /* NULL: was not probed */
void sl_probes_release(struct sl_probes *p);

#endif
