/* jsonl.h -- preference pairs from and to JSON lines.
 *
 * In: every shape of README.md's table is recognised from its keys, without
 * flags. One line gives zero or more pairs: a tie gives a pair for the ties
 * topic, a K-way or ranked line gives every pair whose ranks differ. What cannot
 * be read is an error that says what was expected; the caller makes it a dead
 * letter with file and line.
 *
 * Out: TRL implicit conversational (prompt inside both), explicit by switch. */
#ifndef SL_JSONL_H
#define SL_JSONL_H

#include "../topology/base/buf.h"
#include "pair.h"

/* Where to find things in shapes we do not know. A key may be a dotted path
 * ("meta.subset"). NULL: recognise by shape. */
struct sl_keys {
	const char *prompt, *chosen, *rejected;
	const char *domain, *source, *origin, *margin;
};

struct sl_parsed {
	struct sl_pair *pairs; /* in the arena; ids and arrival.item set; time, the rest of arrival not */
	size_t pair_count;
	struct sl_pair *ties; /* answers judged equal: for their own topic */
	size_t tie_count;
};

/* One line (without the newline), strictly valid UTF-8 JSON. A `gold` switch is
 * the caller's: label_arrived and sample are read when present. `origin` falls
 * back to meta.label. Fields that are not understood are kept inside meta. */
bool sl_jsonl_parse(struct sl_bytes line, const struct sl_keys *keys, struct sl_arena *a, struct sl_parsed *out,
		    struct sl_error *e) SL_MUST_CHECK;

enum sl_format { SL_FORMAT_IMPLICIT, SL_FORMAT_EXPLICIT, SL_FORMAT_FULL, SL_FORMAT_SAMPLE };

/* Append one line with its newline. Implicit and explicit lines of a pair that was decided
 * carry `p_label`, the probability that `chosen` is the better answer as the line has
 * them (of a flipped pair 1 - decision.p_label). SAMPLE is explicit with `domain` and
 * `"sample": "random"`: for a person to verify, and for `ingest --gold`. FULL is the whole record (every section)
 * for `explain` and debugging; vectors are given by their length only. */
void sl_jsonl_write(const struct sl_pair *p, enum sl_format format, struct sl_buf *to);

#endif
