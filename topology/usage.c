/* usage.c -- the `usage` object of a reply, behind usage.h. */
#include "usage.h"

#include <jansson.h>

#define TOKENS_MOST INT64_C(1000000000) /* of one call; more is no count of tokens */

static int64_t tokens(const json_t *object, const char *name)
{
	const json_t *n = json_object_get(object, name);
	json_int_t value = json_is_integer(n) ? json_integer_value(n) : 0;

	return value > 0 && value <= TOKENS_MOST ? (int64_t)value : 0;
}

static int64_t part(const json_t *usage, const char *details, const char *name, int64_t whole)
{
	int64_t n = tokens(json_object_get(usage, details), name);

	return n < whole ? n : whole;
}

bool sl_usage_read(struct sl_bytes body, struct sl_usage *usage)
{
	json_t *root = json_loadb(body.data ? body.data : "", body.size, JSON_ALLOW_NUL, NULL);
	const json_t *error = json_object_get(root, "error"), *said = json_object_get(root, "usage");
	bool answer = (json_is_object(root) || json_is_array(root)) && (!error || json_is_null(error));

	*usage = (struct sl_usage){ .prompt = tokens(said, "prompt_tokens"),
				    .completion = tokens(said, "completion_tokens") };
	usage->cached = part(said, "prompt_tokens_details", "cached_tokens", usage->prompt);
	usage->reasoning = part(said, "completion_tokens_details", "reasoning_tokens", usage->completion);
	json_decref(root);
	return answer;
}
