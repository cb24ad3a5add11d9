/* benchmarks.h -- does a text contain the prompt of an evaluation benchmark?
 *
 * The rule, over words (base/text.h), for each user turn of a benchmark prompt:
 *
 *     13 words and more   any 13 of them in a row (arXiv 2507.01352 section 3.3)
 *     5 to 12             all of them in a row      (first user turn only)
 *     1 to 4              the text is just these     (first user turn only)
 *
 * A short later turn ("Can you say that more simply?") belongs to no benchmark. */
#ifndef SL_BENCHMARKS_H
#define SL_BENCHMARKS_H

#include "../schemas/pair.h"
#include "../topology/base/text.h"

struct sl_benchmarks;

struct sl_benchmarks *sl_benchmarks_new(void);

/* Add the prompts of a file in any pair shape (schemas/jsonl.h); a line that cannot
 * be read is an error that says file, line and what was expected. The benchmark is
 * named after the file, without its endings ("foo.jsonl.gz": foo), or after its
 * folder when the file is called pairs, data, test, train or dev. */
bool sl_benchmarks_load(struct sl_benchmarks *b, const char *path, struct sl_error *e) SL_MUST_CHECK;
void sl_benchmarks_add(struct sl_benchmarks *b, const char *name, const struct sl_messages *prompt);

struct sl_shared {
	const char *benchmark; /* lives as long as the index */
	size_t first, count;   /* the shared words */
};

/* The first shared run of words of one text. `scratch` is used and not cleared. */
bool sl_benchmarks_find(const struct sl_benchmarks *b, struct sl_words words, struct sl_arena *scratch,
			struct sl_shared *shared);

void sl_benchmarks_free(struct sl_benchmarks *b); /* NULL is fine */

#endif
