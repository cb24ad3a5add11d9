/* gold.h -- what `sluice gold` does, one function a word (cmd_gold.c). */
#ifndef SL_GOLD_H
#define SL_GOLD_H

#include "commands.h"

struct sl_gold_args {
	struct sl_common common;
	const char *from, *output;
	int64_t seed;
};

/* Both return an exit code, after printing what failed. */
int sl_gold_sample(const struct sl_gold_args *a, struct sl_session *s, int64_t most);
int sl_gold_wrong(const struct sl_gold_args *a, struct sl_session *s, int64_t most);

#endif
