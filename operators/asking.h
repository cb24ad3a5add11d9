/* asking.h -- the options of a rule, the same in the three steps that need it.
 *
 * filter decides by the rule; annotate asks only where an answer can change that
 * decision; retrieve looks up examples only for pairs that will be asked about.
 * All three declare these options, read them by one function, and put the
 * question to one function. They are set once, in filter: the other two follow it unless
 * they say otherwise. Different values break nothing: examples or answers are then
 * missing, or are paid for in vain. */
#ifndef SL_ASKING_H
#define SL_ASKING_H

#include "operator.h"
#include "rules.h"

/* Lies inside the operator's self. */
struct sl_asking {
	const char *rule;
	double band;
	const char *flips;
};

extern const char *const sl_asking_rules[], *const sl_asking_flips[];

/* The rows for an option table; `self_type` is the operator's self, `field` the member. */
/* clang-format off */
#define SL_ASKING_OPTIONS(self_type, field) \
	{ .name = "rule", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.rule), \
	  .value = "paper", .words = sl_asking_rules, .follows = "filter", \
	  .help = "how filter decides; retrieve and annotate follow filter" }, \
	{ .name = "band", .type = SL_OPTION_REAL, .offset = offsetof(self_type, field.band), \
	  .value = "0", .least = 0, .most = 0.5, .unit = "probability", .follows = "filter", \
	  .help = "best confirms a label when p_best > 0.5 + band; retrieve and annotate follow filter" }, \
	{ .name = "flips", .type = SL_OPTION_TEXT, .offset = offsetof(self_type, field.flips), \
	  .value = "off", .words = sl_asking_flips, .follows = "filter", \
	  .help = "on: swap a label that gold and best reject and the judge does not defend; " \
		  "off: discard the pair (flip_suspended); retrieve and annotate follow filter" }
/* clang-format on */

/* `without_gold` is set to llm_only: where the gold model is absent, asking is
 * the only evidence there is. filter overwrites it with its own option. */
struct sl_rule_settings sl_asking_settings(const struct sl_asking *a);

/* Would annotate ask about this pair? */
bool sl_asks(const struct sl_asking *a, const struct sl_pair *p);

#endif
