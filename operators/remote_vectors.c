/* remote_vectors.c -- embeddings, behind remote.h. */
#include "remote.h"

#include <math.h>

enum { NUMBERS_MAX = 65536 };

const char *sl_remote_vector_path(enum sl_vector_api api)
{
	return api == SL_VECTOR_TEI ? "/embed" : "/embeddings";
}

void sl_remote_vector_body(enum sl_vector_api api, const char *model, int64_t dimensions, struct sl_bytes text,
			   struct sl_buf *to)
{
	if (api == SL_VECTOR_TEI) { /* the end counts */
		sl_buf_print(to, "{\"inputs\":");
		sl_json_text(to, text);
		sl_buf_print(to, ",\"truncate\":true,\"truncation_direction\":\"Left\"}");
		return;
	}
	sl_buf_add_byte(to, '{');
	if (model && model[0]) {
		sl_buf_print(to, "\"model\":");
		sl_json_text(to, sl_text(model));
		sl_buf_add_byte(to, ',');
	}
	sl_buf_print(to, "\"input\":");
	sl_json_text(to, text);
	sl_buf_print(to, ",\"encoding_format\":\"float\"");
	if (dimensions > 0)
		sl_buf_print(to, ",\"dimensions\":%lld", (long long)dimensions);
	sl_buf_add_byte(to, '}');
}

/* The one vector of a reply that was asked for one. */
static const json_t *vector_of(enum sl_vector_api api, const json_t *reply, struct sl_arena *a, const char **why)
{
	const json_t *list = api == SL_VECTOR_TEI ? reply : json_object_get(reply, "data");
	const json_t *vector = json_array_get(list, 0);

	if (!json_is_array(list) || json_array_size(list) != 1) {
		*why = sl_arena_print(a, "malformed: expected a list of one embedding, found %s",
				      json_is_array(list) ? "another number of them" : sl_json_kind(list));
		return NULL;
	}
	if (api == SL_VECTOR_OPENAI)
		vector = json_object_get(vector, "embedding");
	if (json_is_array(vector) && json_array_size(vector) > 0 && json_array_size(vector) <= NUMBERS_MAX)
		return vector;
	*why = sl_arena_print(a, "malformed: expected an embedding of 1 to %d numbers, found %s", NUMBERS_MAX,
			      json_is_array(vector) ? "another number of them" : sl_json_kind(vector));
	return NULL;
}

static bool read_numbers(const json_t *vector, float *to, struct sl_arena *a, const char **why)
{
	const json_t *number;
	double square = 0;
	size_t i;

	json_array_foreach(vector, i, number)
	{
		to[i] = (float)json_number_value(number);
		if (!json_is_number(number) || !isfinite(to[i])) {
			*why = sl_arena_print(a, "malformed: number %zu of the embedding is %s", i + 1,
					      json_is_number(number) ? "beyond float32" : sl_json_kind(number));
			return false;
		}
		square += (double)to[i] * (double)to[i];
	}
	if (!(square > 0)) {
		*why = "malformed: all numbers of the embedding are 0";
		return false;
	}
	for (i = 0; i < json_array_size(vector); i++)
		to[i] = (float)((double)to[i] / sqrt(square));
	return true;
}

float *sl_remote_vector_read(enum sl_vector_api api, const struct sl_answer *answer, struct sl_arena *a, size_t *count,
			     const char **why)
{
	json_t *reply = sl_remote_reply(answer, a, why);
	const json_t *vector = reply ? vector_of(api, reply, a, why) : NULL;
	float *numbers = NULL;

	if (vector) {
		*count = json_array_size(vector);
		numbers = sl_arena_alloc(a, *count * sizeof *numbers);
		if (!read_numbers(vector, numbers, a, why))
			numbers = NULL;
	}
	json_decref(reply);
	return numbers;
}
