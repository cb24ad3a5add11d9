/* vectors.c -- embeddings that are alike for texts that share words, and rewards that know the truth where --truth
 * tells it. Both are functions of the text alone. */
#include "llm.h"

#include "topology/base/text.h"

#include <math.h>
#include <stdlib.h>

/* Words are hashed to places with a sign; unit length. */
static void embed(struct sl_bytes text, float *to, size_t dimensions)
{
	struct sl_arena a = { 0 };
	struct sl_words words = sl_words_of(&a, text);
	double sum = 0;

	memset(to, 0, dimensions * sizeof *to);
	to[0] = 0.1F;
	for (size_t i = 0; i < words.count; i++) {
		uint64_t h = sl_mix64(words.at[i].hash);

		to[h % dimensions] += h >> 63 ? 1.0F : -1.0F;
	}
	for (size_t i = 0; i < dimensions; i++)
		sum += (double)to[i] * (double)to[i];
	for (size_t i = 0; i < dimensions; i++)
		to[i] = (float)((double)to[i] / sqrt(sum));
	sl_arena_release(&a);
}

static void add_numbers(const float *v, size_t n, struct sl_buf *to)
{
	for (size_t i = 0; i < n; i++)
		sl_buf_print(to, "%s%.7g", i ? "," : "[", (double)v[i]);
	sl_buf_add_byte(to, ']');
}

static void add_base64(const void *data, size_t size, struct sl_buf *to)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	sl_buf_add_byte(to, '"');
	for (size_t i = 0; i < size; i += 3) {
		uint32_t n = (uint32_t)p[i] << 16 | (i + 1 < size ? (uint32_t)p[i + 1] << 8 : 0) |
			     (i + 2 < size ? p[i + 2] : 0);

		sl_buf_print(to, "%c%c%c%c", letters[n >> 18], letters[n >> 12 & 63],
			     i + 1 < size ? letters[n >> 6 & 63] : '=', i + 2 < size ? letters[n & 63] : '=');
	}
	sl_buf_add_byte(to, '"');
}

/* A text alone is a list of one. */
static size_t count_inputs(const json_t *input)
{
	return json_is_array(input) ? json_array_size(input) : 1;
}

static struct sl_bytes input_at(const json_t *input, size_t i)
{
	return sl_json_bytes(json_is_array(input) ? json_array_get(input, i) : input);
}

static size_t input_tokens(const json_t *input)
{
	size_t sum = 0;

	for (size_t i = 0; i < count_inputs(input); i++)
		sum += tokens_of(input_at(input, i).size);
	return sum;
}

static void add_model(const json_t *body, struct sl_buf *to)
{
	const json_t *model = json_object_get(body, "model");

	sl_json_text(to, model ? sl_json_bytes(model) : sl_text("scripted"));
}

void remote_embeddings(struct server *s, const json_t *body, const char *path, struct sl_buf *to)
{
	bool tei = strcmp(path, "/embed") == 0;
	const json_t *input = json_object_get(body, tei ? "inputs" : "input");
	json_int_t asked = json_integer_value(json_object_get(body, "dimensions"));
	size_t dimensions = asked > 0 && asked <= 4096 ? (size_t)asked : (size_t)s->set.dimensions;
	struct sl_bytes format = sl_json_bytes(json_object_get(body, "encoding_format"));
	float *v = sl_malloc((dimensions ? dimensions : 1) * sizeof *v);

	sl_buf_print(to, tei ? "[" : "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < count_inputs(input); i++) {
		embed(input_at(input, i), v, dimensions);
		sl_buf_print(to, i ? "," : "");
		if (!tei)
			sl_buf_print(to, "{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i);
		if (sl_is(format, "base64"))
			add_base64(v, dimensions * sizeof *v, to);
		else
			add_numbers(v, dimensions, to);
		sl_buf_print(to, tei ? "" : "}");
	}
	sl_buf_print(to, "]");
	if (!tei) {
		sl_buf_print(to, ",\"model\":");
		add_model(body, to);
		sl_buf_print(to, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}", input_tokens(input),
			     input_tokens(input));
	}
	free(v);
}

/* Better answers have the higher reward, as often as the judge is right about a text. */
static double reward(struct server *s, struct sl_bytes text)
{
	uint64_t h = sl_hash64(text.data, text.size, 9);
	double noise = draw((uint64_t)s->set.seed, "reward", h, 0) - 0.5;
	int truth = truth_of_end(s, text);

	if (draw((uint64_t)s->set.seed, "rewarded", h, 0) >= s->set.accuracy)
		truth = -truth;
	return 4 * noise + 2 * truth;
}

/* SGLang's own form has "text" and answers with embeddings of one number; vLLM's has "input", or the "messages" of one
 * conversation, and probs. */
void remote_rewards(struct server *s, const json_t *body, struct sl_buf *to)
{
	const json_t *text = json_object_get(body, "text"), *messages = json_object_get(body, "messages");
	const json_t *last = json_array_size(messages) ? json_array_get(messages, json_array_size(messages) - 1) : NULL;
	const json_t *input = text ? text : last ? json_object_get(last, "content") : json_object_get(body, "input");
	size_t n = count_inputs(input);

	if (text) {
		sl_buf_print(to, json_is_array(text) ? "[" : "");
		for (size_t i = 0; i < n; i++)
			sl_buf_print(to,
				     "%s{\"embedding\":[%.9g],\"meta_info\":{\"id\":\"%zu\",\"prompt_tokens\":%zu,"
				     "\"cached_tokens\":0,\"e2e_latency\":0.01}}",
				     i ? "," : "", reward(s, input_at(input, i)), i,
				     tokens_of(input_at(input, i).size));
		sl_buf_print(to, json_is_array(text) ? "]" : "");
		return;
	}
	sl_buf_print(to, "{\"id\":\"classify-1\",\"object\":\"list\",\"created\":0,\"model\":");
	add_model(body, to);
	sl_buf_print(to, ",\"data\":[");
	for (size_t i = 0; i < n; i++)
		sl_buf_print(to, "%s{\"index\":%zu,\"label\":\"LABEL_0\",\"probs\":[%.9g],\"num_classes\":1}",
			     i ? "," : "", i, reward(s, input_at(input, i)));
	sl_buf_print(to,
		     "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":0,"
		     "\"prompt_tokens_details\":null}}",
		     input_tokens(input), input_tokens(input));
}
