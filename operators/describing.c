/* describing.c -- see describing.h. The prompt file has the words (topology/prompts/attributes.txt).
 *
 * Only the conversation is shown, not the answers: criteria made from the instruction alone were what helped judges
 * most (LLMBar's metrics), the answers cannot plant anything in the guideline by which they will be judged, and all
 * pairs of one prompt are one question, paid once. */
#include "describing.h"

const char *const sl_categories[] = {
	"information seeking",
	"coding & debugging",
	"advice seeking",
	"math",
	"creative writing",
	"reasoning",
	"planning",
	"data analysis",
	"editing",
	"role playing",
	"brainstorming",
	"other",
	NULL,
};
const char *const sl_objectivities[] = { "objective", "subjective", NULL };
const char *const sl_controversialities[] = { "low", "medium", "high", NULL };

static const char *const user_slots[] = { "conversation", NULL };
static const char *const repair_slots[] = { "complaint", NULL };

static const struct sl_prompt_part parts[] = {
	{ "system", NULL },
	{ "user", user_slots },
	{ "repair", repair_slots },
};

enum { TEXT_BYTES_MAX = 2000 };

struct sl_prompt *sl_describing_open(const char *path, struct sl_error *e)
{
	return sl_prompt_open(path, parts, sizeof parts / sizeof parts[0], e);
}

/* -- the question ---------------------------------------------------------------------------------- */

static void add_words(struct sl_buf *to, const char *name, const char *const *words)
{
	sl_buf_print(to, "\"%s\":{\"type\":\"string\",\"enum\":[", name);
	for (size_t i = 0; words[i]; i++)
		sl_buf_print(to, "%s\"%s\"", i ? "," : "", words[i]);
	sl_buf_print(to, "]},");
}

static void add_schema(struct sl_buf *to)
{
	sl_buf_print(to, "{\"type\":\"object\",\"properties\":{");
	add_words(to, "category", sl_categories);
	add_words(to, "objectivity", sl_objectivities);
	add_words(to, "controversiality", sl_controversialities);
	sl_buf_print(to, "\"desired\":{\"type\":\"string\"},\"guideline\":{\"type\":\"string\"}},\"required\":"
			 "[\"category\",\"objectivity\",\"controversiality\",\"desired\",\"guideline\"],"
			 "\"additionalProperties\":false}");
}

void sl_describing_body(const struct sl_describing *d, const struct sl_pair *p, struct sl_bytes said,
			struct sl_bytes complaint, struct sl_arena *a, struct sl_buf *to)
{
	struct sl_bytes *texts = sl_arena_alloc(a, p->prompt.count * sizeof *texts);
	struct sl_bytes conversation;
	struct sl_buf schema = { 0 };
	struct sl_fence fence;
	struct sl_chat chat = {
		.model = d->model,
		.schema_name = "attributes",
		.temperature = d->temperature,
		.tokens_max = d->tokens_max,
		.extra = d->extra,
	};

	for (size_t i = 0; i < p->prompt.count; i++)
		texts[i] = sl_prompt_message_text(&p->prompt.at[i]);
	sl_prompt_fence_begin(&fence, texts, p->prompt.count);
	conversation = sl_prompt_fence_messages(&fence, "conversation", &p->prompt, d->text_max, a);
	chat.system = sl_prompt_text(d->prompt, "system", NULL, a);
	chat.user = sl_prompt_text(d->prompt, "user", &conversation, a);
	if (said.data) {
		chat.said = said;
		chat.complaint = sl_prompt_text(d->prompt, "repair", &complaint, a);
	}
	add_schema(&schema);
	chat.schema = sl_buf_text(&schema);
	sl_chat_body(&chat, to);
	sl_buf_release(&schema);
}

/* -- the answer -------------------------------------------------------------------------------------- */

static bool read_word(const json_t *answer, const char *name, const char *const *words, struct sl_bytes *to)
{
	struct sl_bytes text = sl_json_bytes(json_object_get(answer, name));

	for (; text.data && *words; words++)
		if (sl_is(text, *words)) {
			*to = sl_text(*words);
			return true;
		}
	return false;
}

static bool read_text(const json_t *answer, const char *name, struct sl_arena *a, struct sl_bytes *to)
{
	*to = sl_chat_line(sl_json_bytes(json_object_get(answer, name)), TEXT_BYTES_MAX, a);
	return to->size > 0;
}

bool sl_describing_read(struct sl_bytes text, struct sl_arena *a, struct sl_attributes *to, const char **why)
{
	json_t *answer = sl_chat_object(text, why);
	struct sl_attributes found = { .present = true };
	bool fine = false;

	if (!answer)
		return false;
	if (!read_word(answer, "category", sl_categories, &found.category))
		*why = "'category' must be one of the twelve words";
	else if (!read_word(answer, "objectivity", sl_objectivities, &found.objectivity))
		*why = "'objectivity' must be \"objective\" or \"subjective\"";
	else if (!read_word(answer, "controversiality", sl_controversialities, &found.controversiality))
		*why = "'controversiality' must be \"low\", \"medium\" or \"high\"";
	else if (!read_text(answer, "desired", a, &found.desired))
		*why = "'desired' must be a text that is not empty";
	else if (!read_text(answer, "guideline", a, &found.guideline))
		*why = "'guideline' must be a text that is not empty";
	else
		fine = true;
	if (fine)
		*to = found;
	json_decref(answer);
	return fine;
}
