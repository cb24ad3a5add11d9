/* usage.h -- what a server says that a call has used.
 *
 * OpenAI's `usage` object, as chat, completions and embeddings have it, in JSON of any other content:
 *
 *     {"usage": {"prompt_tokens": 80, "completion_tokens": 20,
 *                "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens":
 * 12}}}
 *
 * Foreign bytes: what is not there or not a number of tokens counts 0, cached is at most prompt and reasoning at most
 * completion. No state. */
#ifndef SL_USAGE_H
#define SL_USAGE_H

#include "../operators/operator.h"

/* Is this an answer that may be kept and used again: a JSON object or array, which does not say `error`? Proxies answer
 * 200 with pages, and some servers with an error; those say nothing about the question. *usage is filled either way. */
bool sl_usage_read(struct sl_bytes body, struct sl_usage *usage);

#endif
