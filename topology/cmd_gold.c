/* cmd_gold.c -- `sluice gold`: which labels a person should look at. */
#include "gold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct sl_arg args[] = {
	{ "from", 0, SL_ARG_TEXT, "TOPIC", "sample: draw from this topic (default: what dedupe let through)",
	  offsetof(struct sl_gold_args, from) },
	{ "seed", 0, SL_ARG_COUNT, "S", "sample: another seed, another sample (default 0)",
	  offsetof(struct sl_gold_args, seed) },
	{ "output", 'o', SL_ARG_TEXT, "FILE", "sample: write here (default: standard output)",
	  offsetof(struct sl_gold_args, output) },
	SL_COMMON_ARGS,
};

static const char more[] =
	"sample N writes N pairs of the arrived stream, drawn at random, as JSON lines for people to verify. Where "
	"the\n"
	"answer that stands as chosen is not the better one, swap the two, or add \"verdict\": \"rejected\"; or\n"
	"\"verdict\": \"tie\". Then `sluice ingest --gold FILE`: with such gold, how often labels are right is "
	"measured.\n"
	"Leave no line out because it is hard: what is left must still be a random sample. Pairs that are gold "
	"already\n"
	"are not drawn, so the same command later goes on with the next N.\n\n"
	"wrong [N] lists, by domain, the N (20) decided pairs whose label is most certainly wrong.";

static bool parse_count(const char *text, int64_t *count)
{
	char *end;

	errno = 0;
	*count = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == 0 && *count > 0 && *count <= 100000000;
}

static int run(void *self, const struct sl_texts *words)
{
	const struct sl_gold_args *a = self;
	bool sample = strcmp(words->at[0], "sample") == 0;
	struct sl_session s;
	int64_t count = 20;
	int code;

	if (!sample && strcmp(words->at[0], "wrong") != 0)
		return sl_command_usage("unknown word '%s', expected sample or wrong", words->at[0]);
	if (sample && words->count < 2)
		return sl_command_usage("gold sample needs a number of pairs: sluice gold sample 200");
	if (words->count == 2 && !parse_count(words->at[1], &count))
		return sl_command_usage("the number of pairs is 1 to 100000000, not '%s'", words->at[1]);
	if (!sample && (a->from || a->output || a->seed))
		return sl_command_usage("--from, --seed and -o belong to gold sample");
	if (sample && a->common.json && !a->output)
		return sl_command_usage("the sample is JSON lines already; with --json it needs a file: -o FILE");
	code = sl_command_open(&a->common, &s);
	if (code == SL_EXIT_OK)
		code = sample ? sl_gold_sample(a, &s, count) : sl_gold_wrong(a, &s, count);
	sl_command_close(&s);
	return code;
}

const struct sl_command sl_command_gold = {
	.name = "gold",
	.usage = "sample N [-o FILE] | wrong [N]",
	.summary = "draw pairs for people to verify; list the labels that are most certainly wrong",
	.more = more,
	.args = args,
	.self_size = sizeof(struct sl_gold_args),
	.words_least = 1,
	.words_most = 2,
	.run = run,
};
