/* asking.c -- see asking.h. */
#include "asking.h"

const char *const sl_asking_rules[] = { "paper", NULL };
const char *const sl_asking_flips[] = { "off", "on", NULL };

struct sl_rule_settings sl_asking_settings(const struct sl_asking *a)
{
	return (struct sl_rule_settings){
		.band = a->band,
		.flips = strcmp(a->flips, "on") == 0,
		.without_gold = SL_WITHOUT_GOLD_LLM_ONLY,
	};
}

bool sl_asks(const struct sl_asking *a, const struct sl_pair *p)
{
	struct sl_rule_settings s = sl_asking_settings(a);

	return sl_rule_asks(sl_rule_find(a->rule), &s, p);
}
