/* remote.h -- vectors and rewards from servers: what they are asked, and how a reply is read.
 *
 * Bodies are a function of their arguments, byte for byte: they are the keys of the memo. Replies are foreign bytes:
 * everything in them is checked, and what is wrong is told in words that begin with a code, for a dead letter:
 *
 *     failed      no answer after all retries, or a status that is none
 *     too_long    the server says that the text is longer than its model can read
 *     malformed   no JSON, or not the shape that was asked for, or a number that is none
 *
 * Pure functions: no task, no clock. */
#ifndef SL_REMOTE_H
#define SL_REMOTE_H

#include "../schemas/json.h"
#include "operator.h"

/* The reply as JSON, the caller's to release; NULL: none, and why. */
json_t *sl_remote_reply(const struct sl_answer *answer, struct sl_arena *a, const char **why);

/* -- vectors ------------------------------------------------------------------------------------------
 *
 *     openai   POST /embeddings {model, input, encoding_format, dimensions} -> {data: [{embedding: [numbers]}]}
 *              OpenAI, vLLM, SGLang, llama.cpp, Ollama, TEI; the endpoint's url ends in /v1
 *     tei      POST /embed {inputs, truncate, truncation_direction} -> [[numbers]]
 *              text-embeddings-inference; its url has no /v1 */
enum sl_vector_api { SL_VECTOR_OPENAI, SL_VECTOR_TEI };

const char *sl_remote_vector_path(enum sl_vector_api api);
/* dimensions 0: not sent; the server then says how long its vectors are. tei knows neither that nor a model. */
void sl_remote_vector_body(enum sl_vector_api api, const char *model, int64_t dimensions, struct sl_bytes text,
			   struct sl_buf *to);
/* The vector, of unit length and of as many numbers as the server says, in `a`; NULL: none, and why. */
float *sl_remote_vector_read(enum sl_vector_api api, const struct sl_answer *answer, struct sl_arena *a, size_t *count,
			     const char **why);

/* -- rewards ------------------------------------------------------------------------------------------
 *
 *     vllm     POST /classify {model, input: [texts], use_activation: false} -> {data: [{probs: [reward]}]}, or with
 *              messages instead of input, one conversation a call (vLLM 0.13). Also SGLang's /v1/classify.
 *     sglang   POST /classify {model, text: [texts]} -> [{embedding: [reward]}]
 *
 * A reward model has learnt to read conversations in one written form. With messages the server writes them by the
 * model's own chat template. As text they are written here:
 *
 *     plain     role: text, a line each: for models that know no turns
 *     chatml    <|im_start|>role, text, <|im_end|>
 *     qwen3     chatml with an empty <think> block before the last answer
 *     llama3    header of the role, text, <|eot_id|>; the server's tokenizer puts <|begin_of_text|> in front
 *     llama31   llama3 behind a system turn with the dates of Llama 3.1 and 3.2, pinned to 26 Jul 2024
 *
 * Words in a text that would end its turn are broken (sl_prompt_add_tamed) in all of them. */
enum sl_reward_api { SL_REWARD_VLLM, SL_REWARD_SGLANG };
struct sl_reward_template;

extern const char *const sl_reward_templates[]; /* their names and "messages", NULL-ended */
/* NULL: messages. */
const struct sl_reward_template *sl_reward_template_find(const char *name);

struct sl_rewards {
	enum sl_reward_api api;
	const struct sl_reward_template *template; /* NULL: messages; vllm only */
	const char *model;                         /* "" not sent */
};
/* How many calls a pair takes: 2 with messages (chosen, rejected), else 1 with both. */
int sl_rewards_calls(const struct sl_rewards *r);
void sl_rewards_body(const struct sl_rewards *r, const struct sl_pair *p, int call, struct sl_buf *to);
/* Fills what the call asked for: chosen and rejected, or one of them. False: none, and why. */
bool sl_rewards_read(const struct sl_rewards *r, const struct sl_answer *answer, int call, struct sl_arena *a,
		     struct sl_score *to, const char **why);

#endif
