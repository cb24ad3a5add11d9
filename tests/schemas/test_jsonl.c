/* test_jsonl.c -- shapes of JSON lines against the pairs they must give.
 *
 * A row is a line and what comes out, written in a short notation: every pair
 * as "item: prompt | chosen | rejected", messages as "u:", "a:", "s:", "t:" and
 * their content, then the fields that are set. Ties begin with "tie". */
#include "schemas/jsonl.h"
#include "schemas/lines.h"
#include "topology/base/thread.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* A row without keys ends early. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define PAIR "\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\""

static void note_messages(struct sl_buf *to, const struct sl_messages *m)
{
	for (size_t i = 0; i < m->count; i++) {
		sl_buf_print(to, "%s%c:", i ? " " : "", *(const char *)m->at[i].role.data);
		sl_buf_add_bytes(to, m->at[i].content);
		sl_buf_add_bytes(to, m->at[i].extra);
	}
}

static void note_text(struct sl_buf *to, const char *name, struct sl_bytes text)
{
	if (!text.data)
		return;
	sl_buf_print(to, " %s=", name);
	sl_buf_add_bytes(to, text);
}

static void note_pair(struct sl_buf *to, const char *kind, const struct sl_pair *p)
{
	struct sl_pair same = *p;
	struct sl_arena scratch = { 0 };

	sl_pair_identify(&same, &scratch);
	assert_memory_equal(&same.id, &p->id, sizeof p->id);
	assert_memory_equal(&same.group, &p->group, sizeof p->group);
	sl_arena_release(&scratch);
	sl_buf_print(to, "%s%s%lld: ", to->size ? "\n" : "", kind, (long long)p->arrival.item);
	note_messages(to, &p->prompt);
	sl_buf_print(to, " | ");
	note_messages(to, &p->chosen);
	sl_buf_print(to, " | ");
	note_messages(to, &p->rejected);
	note_text(to, "source", p->source);
	note_text(to, "domain", p->domain);
	note_text(to, "origin", p->origin);
	if (p->gold.present)
		sl_buf_print(to, " gold");
	note_text(to, "verdict", p->gold.verdict);
	note_text(to, "sample", p->gold.sample);
	note_text(to, "arrived", p->gold.label_arrived);
	if (!isnan(p->margin))
		sl_buf_print(to, " margin=%g", p->margin);
	note_text(to, "meta", p->meta);
}

static void note(struct sl_buf *to, const struct sl_parsed *parsed)
{
	for (size_t i = 0; i < parsed->pair_count; i++)
		note_pair(to, "", &parsed->pairs[i]);
	for (size_t i = 0; i < parsed->tie_count; i++)
		note_pair(to, "tie ", &parsed->ties[i]);
}

struct row {
	const char *name, *line, *want;
	struct sl_keys keys;
};

#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define S(text) "{\"role\":\"system\",\"content\":\"" text "\"}"

static const struct row good_rows[] = {
	/* --- TRL --- */
	{ "explicit", "{\"prompt\":[" U("q") "],\"chosen\":[" A("c") "],\"rejected\":[" A("r") "]}",
	  "0: u:q | a:c | a:r" },
	{ "implicit", "{\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A("r") "]}",
	  "0: u:q | a:c | a:r" },
	{ "implicit, several turns",
	  "{\"chosen\":[" S("s") "," U("q") "," A("a") "," U("q2") "," A("c") "],"
									      "\"rejected\":[" S("s") "," U("q") "," A(
										      "a") "," U("q2") "," A("r") "]}",
	  "0: s:s u:q a:a u:q2 | a:c | a:r" },
	{ "implicit, parts early at an answer",
	  "{\"chosen\":[" U("q") "," A("a1") "," U("x") "," A("c") "],\"rejected\":[" U("q") "," A("a2") "," U(
		  "y") "," A("r") "]}",
	  "0: u:q | a:a1 u:x a:c | a:a2 u:y a:r" },
	{ "implicit, parts at a question: back to the answer before it",
	  "{\"chosen\":[" U("q") "," A("a") "," U("x") "," A("c") "],\"rejected\":[" U("q") "," A("a") "," U("y") "," A(
		  "r") "]}",
	  "0: u:q | a:a u:x a:c | a:a u:y a:r" },
	{ "implicit, one is the beginning of the other",
	  "{\"chosen\":[" U("q") "," A("a") "," U("x") "," A("c") "],\"rejected\":[" U("q") "," A("a") "]}",
	  "0: u:q | a:a u:x a:c | a:a" },
	{ "implicit, equal", "{\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A("c") "]}",
	  "0: u:q | a:c | a:c" },
	{ "explicit, answers repeat the prompt",
	  "{\"prompt\":[" U("q") "],\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A("r") "]}",
	  "0: u:q | a:c | a:r" },
	{ "explicit, the rest of the prompt in the answers",
	  "{\"prompt\":[" S("s") "],\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A("r") "]}",
	  "0: s:s u:q | a:c | a:r" },
	{ "explicit, empty prompt", "{\"prompt\":[],\"chosen\":[" A("c") "],\"rejected\":[" A("r") "]}",
	  "0:  | a:c | a:r" },
	{ "strings", "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}", "0: u:q | a:c | a:r" },
	{ "lists of strings", "{\"prompt\":\"q\",\"chosen\":[\"c1\",\"c2\"],\"rejected\":[\"r1\",\"r2\"]}",
	  "0: u:q | a:c1 | a:r1\n1: u:q | a:c1 | a:r2\n2: u:q | a:c2 | a:r1\n3: u:q | a:c2 | a:r2" },
	/* --- messages --- */
	{ "other keys of a message, sorted",
	  "{\"prompt\":[{\"role\":\"user\",\"z\":1.50,\"content\":\"q\",\"name\":{\"b\":1,\"a\":[true,null]}}],"
	  "\"chosen\":[" A("c") "],\"rejected\":[" A("r") "]}",
	  "0: u:q{\"name\":{\"a\":[true,null],\"b\":1},\"z\":1.5} | a:c | a:r" },
	{ "text parts",
	  "{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"},{\"type\":\"text\",\"text\":"
	  "\"2\"}]}],"
	  "\"chosen\":[" A("c") "],\"rejected\":[{\"role\":\"assistant\",\"content\":[]}]}",
	  "0: u:q2 | a:c | a:" },
	{ "null content is empty",
	  "{\"prompt\":\"q\",\"chosen\":null,\"rejected\":[{\"role\":\"assistant\",\"content\":null}]}",
	  "0: u:q | a: | a:" },
	{ "tool calls without content",
	  "{\"prompt\":\"q\",\"chosen\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"x\"}]},"
	  "{\"role\":\"tool\",\"content\":\"4\"}],\"rejected\":\"r\"}",
	  "0: u:q | a:{\"tool_calls\":[{\"id\":\"x\"}]} t:4 | a:r" },
	{ "roles",
	  "{\"prompt\":[{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"human\",\"content\":\"q\"}],"
	  "\"chosen\":[{\"role\":\"gpt\",\"content\":\"c\"}],\"rejected\":{\"role\":\"model\",\"content\":\"r\"}}",
	  "0: d:d u:q | a:c | a:r" },
	{ "escapes", "{\"prompt\":\"\\u00e9\\ud83d\\ude00\\n\\\"\",\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "0: u:\xc3\xa9\xf0\x9f\x98\x80\n\" | a:c | a:r" },
	/* --- HH-RLHF --- */
	{ "transcripts",
	  "{\"chosen\":\"\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: q2\\n\\nmore\\n\\nAssistant: c\","
	  "\"rejected\":\"\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: q2\\n\\nmore\\n\\nAssistant: r\\n\"}",
	  "0: u:q a:a u:q2\n\nmore | a:c | a:r" },
	{ "transcripts part early, an empty last reply",
	  "{\"chosen\":\"\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: x\\n\\nAssistant:\","
	  "\"rejected\":\"\\n\\nHuman: q\\n\\nAssistant: b\\n\\nHuman: y\\n\\nAssistant: r\"}",
	  "0: u:q | a:a u:x a: | a:b u:y a:r" },
	{ "prompt transcript, plain answers",
	  "{\"prompt\":\"\\n\\nHuman: q\\n\\nAssistant:\",\"chosen\":\"c\",\"rejected\":\"r\"}", "0: u:q | a:c | a:r" },
	/* --- UltraFeedback --- */
	{ "UltraFeedback-binarized",
	  "{\"prompt\":\"q\",\"prompt_id\":\"p1\",\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A(
		  "r") "],"
		       "\"messages\":[" U("q") "," A("c") "],\"score_chosen\":8.5,\"score_rejected\":6}",
	  "0: u:q | a:c | a:r margin=2.5 meta={\"prompt_id\":\"p1\",\"score_chosen\":8.5,\"score_rejected\":6}" },
	{ "a first turn as prompt, whole conversations",
	  "{\"prompt\":\"q\",\"chosen\":[" U("q") "," A("a") "," U("q2") "," A(
		  "c") "],"
		       "\"rejected\":[" U("q") "," A("a") "," U("q2") "," A("r") "]}",
	  "0: u:q a:a u:q2 | a:c | a:r" },
	{ "another text as prompt is kept",
	  "{\"prompt\":\"a title\",\"chosen\":[" U("q") "," A("c") "],\"rejected\":[" U("q") "," A("r") "]}",
	  "0: u:q | a:c | a:r meta={\"prompt\":\"a title\"}" },
	{ "UltraFeedback",
	  "{\"instruction\":\"q\",\"models\":[\"m1\",\"m2\"],\"completions\":[{\"model\":\"m1\",\"response\":\"x\","
	  "\"overall_score\":3},{\"model\":\"m2\",\"response\":\"y\",\"overall_score\":7.5}]}",
	  "0: u:q | a:y | a:x margin=4.5 meta={\"models\":[\"m1\",\"m2\"],"
	  "\"chosen_info\":{\"model\":\"m2\",\"overall_score\":7.5},\"rejected_info\":{\"model\":\"m1\",\"overall_"
	  "score\":3}}" },
	{ "UltraFeedback by annotations",
	  "{\"instruction\":\"q\",\"completions\":["
	  "{\"response\":\"x\",\"annotations\":{\"a\":{\"Rating\":\"5\"},\"b\":{\"Rating\":\"N/A\"}}},"
	  "{\"response\":\"y\",\"annotations\":{\"a\":{\"Rating\":\"4\"},\"b\":{\"Rating\":\"2\"}}}]}",
	  "0: u:q | a:x | a:y margin=2 "
	  "meta={\"chosen_info\":{\"annotations\":{\"a\":{\"Rating\":\"5\"},\"b\":{\"Rating\":\"N/A\"}}},"
	  "\"rejected_info\":{\"annotations\":{\"a\":{\"Rating\":\"4\"},\"b\":{\"Rating\":\"2\"}}}}" },
	/* --- LLaMA-Factory, Axolotl, ShareGPT --- */
	{ "instruction and input",
	  "{\"instruction\":\"q\",\"input\":\"i\",\"chosen\":\"c\",\"rejected\":\"r\",\"system\":\"s\"}",
	  "0: s:s u:q\ni | a:c | a:r" },
	{ "instruction, empty input, history",
	  "{\"instruction\":\"q\",\"input\":\"\",\"chosen\":\"c\",\"rejected\":\"r\",\"system\":\"\","
	  "\"history\":[[\"h\",\"a\"]]}",
	  "0: u:h a:a u:q | a:c | a:r" },
	{ "output pair", "{\"instruction\":\"q\",\"input\":\"\",\"output\":[\"c\",\"r\"]}", "0: u:q | a:c | a:r" },
	{ "question, chosen_response",
	  "{\"system\":\"s\",\"question\":\"q\",\"chosen_response\":\"c\",\"rejected_response\":\"r\"}",
	  "0: s:s u:q | a:c | a:r" },
	{ "input alone", "{\"input\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}", "0: u:q | a:c | a:r" },
	{ "another system text is kept",
	  "{\"system\":\"s2\",\"prompt\":[" S("s") "," U("q") "],\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "0: s:s u:q | a:c | a:r meta={\"system\":\"s2\"}" },
	{ "ShareGPT",
	  "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"}],\"chosen\":{\"from\":\"gpt\",\"value\":\"c\"},"
	  "\"rejected\":{\"from\":\"gpt\",\"value\":\"r\"}}",
	  "0: u:q | a:c | a:r" },
	{ "ShareGPT implicit",
	  "{\"chosen\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"c\"}],"
	  "\"rejected\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"r\",\"weight\":0}]}",
	  "0: u:q | a:c | a:r{\"weight\":0}" },
	{ "messages as prompt", "{\"messages\":[" U("q") "],\"chosen\":" A("c") ",\"rejected\":" A("r") "}",
	  "0: u:q | a:c | a:r" },
	/* --- NeMo-RL and ranked lists --- */
	{ "NeMo-RL",
	  "{\"context\":[" U("q") "],\"completions\":[{\"rank\":1,\"completion\":[" A(
		  "r") "]},"
		       "{\"rank\":0,\"completion\":[" A("c") "]}],\"task_name\":\"t\"}",
	  "0: u:q | a:c | a:r meta={\"task_name\":\"t\",\"chosen_info\":{\"rank\":0},\"rejected_info\":{\"rank\":1}}" },
	{ "K-way with a tie",
	  "{\"context\":[" U("q") "],\"completions\":[{\"rank\":0,\"completion\":[" A(
		  "x") "]},"
		       "{\"rank\":1,\"completion\":[" A("y") "]},{\"rank\":1,\"completion\":[" A("z") "]}]}",
	  "0: u:q | a:x | a:y "
	  "meta={\"chosen_info\":{\"rank\":0,\"index\":0},\"rejected_info\":{\"rank\":1,\"index\":1}}\n"
	  "1: u:q | a:x | a:z "
	  "meta={\"chosen_info\":{\"rank\":0,\"index\":0},\"rejected_info\":{\"rank\":1,\"index\":2}}\n"
	  "tie 2: u:q | a:y | a:z "
	  "meta={\"chosen_info\":{\"rank\":1,\"index\":1},\"rejected_info\":{\"rank\":1,\"index\":2}}" },
	{ "responses and rankings", "{\"prompt\":\"q\",\"responses\":[\"x\",\"y\"],\"rankings\":[2,1],\"margin\":1}",
	  "0: u:q | a:y | a:x margin=1 meta={\"rankings\":[2,1]}" },
	{ "responses and scores", "{\"prompt\":\"q\",\"responses\":[\"x\",\"y\"],\"scores\":[0.5,-1]}",
	  "0: u:q | a:x | a:y margin=1.5 meta={\"scores\":[0.5,-1]}" },
	/* --- by position --- */
	{ "Arena",
	  "{\"model_a\":\"m\",\"model_b\":\"n\",\"winner\":\"model_b\",\"conversation_a\":[" U("q") "," A(
		  "x") "],"
		       "\"conversation_b\":[" U("q") "," A("y") "]}",
	  "0: u:q | a:y | a:x meta={\"model_a\":\"m\",\"model_b\":\"n\",\"winner\":\"model_b\"}" },
	{ "Arena, responses", "{\"prompt\":\"q\",\"response_a\":\"x\",\"response_b\":\"y\",\"winner\":\"model_a\"}",
	  "0: u:q | a:x | a:y meta={\"winner\":\"model_a\"}" },
	{ "Arena, tie", "{\"prompt\":\"q\",\"response_a\":\"x\",\"response_b\":\"y\",\"winner\":\"tie (bothbad)\"}",
	  "tie 0: u:q | a:x | a:y meta={\"winner\":\"tie (bothbad)\"}" },
	{ "JudgeBench",
	  "{\"pair_id\":\"7\",\"source\":\"mmlu\",\"question\":\"q\",\"response_A\":\"x\",\"response_B\":\"y\","
	  "\"label\":\"B>A\"}",
	  "0: u:q | a:y | a:x source=mmlu meta={\"pair_id\":\"7\",\"_label\":\"B>A\"}" },
	{ "HelpSteer3",
	  "{\"domain\":\"code\",\"context\":[" U("q") "],\"response1\":\"x\",\"response2\":\"y\","
						      "\"overall_preference\":-2}",
	  "0: u:q | a:x | a:y margin=2 meta={\"domain\":\"code\",\"overall_preference\":-2}" },
	{ "HelpSteer3, tie",
	  "{\"context\":[" U("q") "],\"response1\":\"x\",\"response2\":\"y\",\"overall_preference\":0}",
	  "tie 0: u:q | a:x | a:y margin=0 meta={\"overall_preference\":0}" },
	/* --- fields beside the texts --- */
	{ "meta is kept, the rest is added",
	  "{\"id\":\"i\",\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"source\":\"s\",\"margin\":2,"
	  "\"meta\":{\"z\":1,\"a\":0.1,\"label\":\"human\",\"id\":\"other\",\"x\":3},\"x\":3,\"y\":null}",
	  "0: u:q | a:c | a:r source=s origin=human margin=2 "
	  "meta={\"z\":1,\"a\":0.1,\"label\":\"human\",\"id\":\"other\",\"x\":3,\"_id\":\"i\",\"y\":null}" },
	{ "underscores until free",
	  "{\"id\":1,\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"meta\":{\"id\":2,\"_id\":3}}",
	  "0: u:q | a:c | a:r meta={\"id\":2,\"_id\":3,\"__id\":1}" },
	{ "an empty meta stays", "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"meta\":{}}",
	  "0: u:q | a:c | a:r meta={}" },
	{ "origin before meta.label",
	  "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"origin\":\"ai\",\"meta\":{\"label\":\"human\"}}",
	  "0: u:q | a:c | a:r origin=ai meta={\"label\":\"human\",\"origin\":\"ai\"}" },
	{ "gold", "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"gold\":true,\"label_arrived\":\"swapped\"}",
	  "0: u:q | a:c | a:r gold verdict=chosen sample=given arrived=swapped" },
	{ "gold, an object",
	  "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"gold\":{\"sample\":\"random\",\"label_arrived\":"
	  "\"same\"}}",
	  "0: u:q | a:c | a:r gold verdict=chosen sample=random arrived=same" },
	{ "sampled and verified: as it stands", "{" PAIR ",\"domain\":\"d\",\"sample\":\"random\",\"margin\":2}",
	  "0: u:q | a:c | a:r domain=d sample=random margin=2" },
	{ "sampled and verified: the other way round",
	  "{" PAIR ",\"domain\":\"d\",\"sample\":\"random\",\"verdict\":\"rejected\",\"margin\":2}",
	  "0: u:q | a:r | a:c domain=d sample=random margin=-2" },
	{ "sampled and verified: a tie, the domain as the caller says",
	  "{" PAIR ",\"domain\":\"d\",\"sample\":\"random\",\"verdict\":\"tie\",\"meta\":{\"x\":\"y\"}}",
	  "tie 0: u:q | a:c | a:r domain=y sample=random meta={\"x\":\"y\",\"domain\":\"d\"}",
	  { .domain = "meta.x" } },
	{ "domain and verdict of others mean nothing", "{" PAIR ",\"domain\":\"d\",\"verdict\":\"tie\"}",
	  "0: u:q | a:c | a:r meta={\"domain\":\"d\",\"verdict\":\"tie\"}" },
	{ "gold false, words for the caller",
	  "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"gold\":false,\"sample\":\"error-driven\"}",
	  "0: u:q | a:c | a:r sample=error-driven" },
	{ "the last of two equal keys counts",
	  "{\"prompt\":\"p\",\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}", "0: u:q | a:c | a:r" },
	/* --- keys --- */
	{ "keys",
	  "{\"a\":{\"q\":\"q\"},\"good\":\"c\",\"bad\":\"r\",\"m\":{\"sub\":\"d\"},\"n\":4,\"o.p\":\"x\"}",
	  "0: u:q | a:c | a:r source=x domain=d origin=4 margin=4 "
	  "meta={\"a\":{\"q\":\"q\"},\"m\":{\"sub\":\"d\"},\"n\":4,\"o.p\":\"x\"}",
	  { .prompt = "a.q",
	    .chosen = "good",
	    .rejected = "bad",
	    .domain = "m.sub",
	    .source = "o.p",
	    .origin = "n",
	    .margin = "n" } },
	{ "a prompt key alone",
	  "{\"text\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "0: u:q | a:c | a:r",
	  { .prompt = "text" } },
	{ "an absent domain",
	  "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "0: u:q | a:c | a:r",
	  { .domain = "meta.subset" } },
	/* --- no pair --- */
	{ "blank", " \t\r", "" },
	{ "a byte order mark", "\xef\xbb\xbf{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "0: u:q | a:c | a:r" },
};

static void test_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good_rows / sizeof *good_rows; i++) {
		const struct row *row = &good_rows[i];
		struct sl_arena a = { 0 };
		struct sl_error e = { 0 };
		struct sl_parsed parsed;
		struct sl_buf got = { 0 };

		if (!sl_jsonl_parse(sl_text(row->line), &row->keys, &a, &parsed, &e))
			fail_msg("%s: %s", row->name, e.text);
		note(&got, &parsed);
		if (strcmp(sl_buf_text(&got), row->want) != 0)
			fail_msg("%s:\n%s\nis not\n%s", row->name, sl_buf_text(&got), row->want);
		sl_buf_release(&got);
		sl_arena_release(&a);
	}
}

static const struct {
	const char *line, *want;
	struct sl_keys keys;
} bad_rows[] = {
	{ "{", "ends early, at byte 1 of 1" },
	{ "nonsense", "not JSON at byte" },
	{ "{" PAIR "} {}", "not JSON at byte" },
	{ "{'prompt':1}", "not JSON at byte" },
	{ "[1]", "expected an object on every line, not a list" },
	{ "3", "not an integer" },
	{ "{}", "no known shape of a pair (keys: none)" },
	{ "{\"text\":\"x\"}", "(keys: 'text'): expected 'chosen' and 'rejected'" },
	{ "{\"prompt\":\"q\",\"chosen\":\"c\"}", "key 'rejected' is missing: expected 'chosen' and 'rejected'" },
	{ "{\"prompt\":\"q\",\"rejected\":\"c\"}", "key 'chosen' is missing" },
	{ "{\"chosen\":\"c\",\"rejected\":\"r\"}", "there is no prompt: expected 'prompt'" },
	{ "{\"prompt\":null,\"chosen\":\"c\",\"rejected\":\"r\"}", "there is no prompt" },
	{ "{\"chosen\":[" U("x") "," A("c") "],\"rejected\":[" U("y") "," A("r") "]}",
	  "'chosen' and 'rejected' hold whole conversations but share no first turns" },
	{ "{\"prompt\":1,\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "'prompt': expected a list of messages, not an integer" },
	{ "{\"prompt\":\"q\",\"chosen\":7,\"rejected\":\"r\"}", "'chosen': expected a string, a message or a list" },
	{ "{\"prompt\":\"q\",\"chosen\":[3],\"rejected\":\"r\"}", "'chosen': message 0: a message must be an object" },
	{ "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":[" A("r") ",{\"role\":\"user\"}]}",
	  "'rejected': message 1: 'content' is missing" },
	{ "{\"prompt\":[{\"role\":\"pope\",\"content\":\"q\"}],\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "'prompt': message 0: unknown role 'pope': expected system, user" },
	{ "{\"prompt\":[{\"content\":\"q\"}],\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "'role' must be a string, not nothing" },
	{ "{\"prompt\":[{\"role\":\"user\",\"content\":{}}],\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "'content' must be a string" },
	{ "{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}],\"chosen\":\"c\",\"rejected\":"
	  "\"r\"}",
	  "part 0 of 'content' is no text (type 'image_url')" },
	{ "{\"prompt\":\"q\\u0000\",\"chosen\":\"c\",\"rejected\":\"r\"}", "NUL character (\\u0000) before byte" },
	{ "{\"prompt\":\"q\",\"a\\u0000b\":\"c\",\"rejected\":\"r\"}", "NUL character (\\u0000) before byte" },
	{ "{\"prompt\":\"\xff\",\"chosen\":\"c\",\"rejected\":\"r\"}", "invalid UTF-8 at byte 11 (0xff)" },
	{ "{\"prompt\":\"\xed\xa0\x80\",\"chosen\":\"c\",\"rejected\":\"r\"}", "invalid UTF-8 at byte 11 (0xed)" },
	{ "{\"prompt\":\"\\ud800\",\"chosen\":\"c\",\"rejected\":\"r\"}", "not JSON at byte" },
	{ "{" PAIR ",\"n\":123456789012345678901}", "a number too big before byte" },
	{ "{" PAIR ",\"n\":1e999}", "a number too big before byte" },
	{ "{" PAIR ",\"meta\":[]}", "'meta' must be an object, not a list" },
	{ "{" PAIR ",\"source\":3}", "'source' must be a string, not an integer" },
	{ "{" PAIR ",\"margin\":\"3\"}", "'margin' must be a number, not a string" },
	{ "{" PAIR ",\"sample\":\"random\",\"verdict\":\"good\"}",
	  "'verdict' must be one of chosen|rejected|tie, not good" },
	{ "{" PAIR ",\"sample\":\"random\",\"domain\":1}", "'domain' must be a string" },
	{ "{" PAIR ",\"gold\":\"yes\"}", "'gold' must be true, false, or an object" },
	{ "{" PAIR ",\"gold\":{\"colour\":1}}", "unknown key 'gold.colour'" },
	{ "{" PAIR ",\"gold\":{\"sample\":1}}",
	  "'gold': 'sample' must be one of random|error-driven|given, not an integer" },
	{ "{" PAIR ",\"label_arrived\":\"flipped\"}", "'label_arrived' must be one of same|swapped, not flipped" },
	{ "{" PAIR ",\"label_arrived\":\"\"}", "'label_arrived' must be one of" },
	{ "{\"prompt\":\"q\",\"response_a\":\"x\",\"response_b\":\"y\",\"winner\":\"me\"}", "unknown 'winner' 'me'" },
	{ "{\"prompt\":\"q\",\"response1\":\"x\",\"response2\":\"y\",\"overall_preference\":4}",
	  "a number from -3 to 3" },
	{ "{\"prompt\":\"q\",\"response_a\":\"x\",\"winner\":\"tie\"}", "no known shape" },
	{ "{\"prompt\":\"q\",\"completions\":[\"x\"]}", "'completions' must be a list of at least two answers" },
	{ "{\"prompt\":\"q\",\"completions\":{}}",
	  "'completions' must be a list of at least two answers, not an object" },
	{ "{\"prompt\":\"q\",\"completions\":[\"x\",\"y\"]}", "'completions[0]': no rank or score" },
	{ "{\"prompt\":\"q\",\"completions\":[{\"rank\":1},{\"rank\":2}]}",
	  "'completions[0]': the answer has no text" },
	{ "{\"prompt\":\"q\",\"responses\":[\"x\",\"y\"],\"scores\":[1]}", "'scores' must be a list of 2 numbers" },
	{ "{\"prompt\":\"q\",\"responses\":[\"x\",\"y\"],\"scores\":[1,\"a\"]}", "'responses[1]': no rank or score" },
	{ "{\"prompt\":\"q\",\"chosen\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
	  "\"a\",\"a\","
	  "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]"
	  ","
	  "\"rejected\":\"r\"}",
	  "'chosen[32]': more than 32 answers" },
	{ "{\"instruction\":\"q\",\"input\":[],\"chosen\":\"c\",\"rejected\":\"r\"}",
	  "'input' must be a string, not a list" },
	{ "{\"system\":1," PAIR "}", "'system' must be a string, not an integer" },
	{ "{" PAIR "}", "key 'text', named by --prompt-key, is missing", { .prompt = "text" } },
	{ "{" PAIR "}", "key 'a.b' is missing", { .chosen = "a.b" } },
	{ "{" PAIR ",\"meta\":{\"d\":[]}}", "'meta.d' must be a string, not a list", { .domain = "meta.d" } },
};

static void must_fail(struct sl_bytes line, const struct sl_keys *keys, const char *want)
{
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_parsed parsed;

	if (sl_jsonl_parse(line, keys, &a, &parsed, &e))
		fail_msg("'%.*s' was read", (int)line.size, (const char *)line.data);
	assert_int_equal(e.verdict, SL_STOP);
	assert_int_equal(parsed.pair_count + parsed.tie_count, 0);
	if (!strstr(e.text, want))
		fail_msg("'%.*s' gives '%s', not '%s'", (int)line.size, (const char *)line.data, e.text, want);
	sl_arena_release(&a);
}

static void test_errors(void **state)
{
	struct sl_buf deep = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof bad_rows / sizeof *bad_rows; i++)
		must_fail(sl_text(bad_rows[i].line), &bad_rows[i].keys, bad_rows[i].want);
	must_fail((struct sl_bytes){ "{\"a\":\"x\0y\"}", 11 }, NULL, "a NUL byte at byte 7");
	for (int i = 0; i < 100000; i++)
		sl_buf_add_byte(&deep, '[');
	must_fail(sl_buf_bytes(&deep), NULL, "nested too deep");
	sl_buf_release(&deep);
}

/* What export writes is read again as the same pair. */
static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good_rows / sizeof *good_rows; i++) {
		for (enum sl_format format = SL_FORMAT_IMPLICIT; format <= SL_FORMAT_EXPLICIT; format++) {
			struct sl_arena a = { 0 };
			struct sl_error e = { 0 };
			struct sl_parsed first, second;

			assert_true(sl_jsonl_parse(sl_text(good_rows[i].line), &good_rows[i].keys, &a, &first, &e));
			for (size_t k = 0; k < first.pair_count; k++) {
				struct sl_pair *p = &first.pairs[k];
				struct sl_buf line = { 0 }, before = { 0 }, after = { 0 };

				if (format == SL_FORMAT_IMPLICIT && p->prompt.count == 0)
					continue; /* no conversation to tell the prompt from */
				if (format == SL_FORMAT_IMPLICIT && strstr(good_rows[i].name, "is the beginning"))
					continue;
				sl_jsonl_write(p, format, &line);
				assert_int_equal(line.data[line.size - 1], '\n');
				line.size--;
				if (!sl_jsonl_parse(sl_buf_bytes(&line), NULL, &a, &second, &e))
					fail_msg("%s: %s: %s", good_rows[i].name, e.text, sl_buf_text(&line));
				assert_int_equal(second.pair_count, 1);
				/* not exported: what is verified, and what the caller's keys found */
				p->gold = (struct sl_gold){ 0 };
				p->arrival.item = 0;
				p->domain = (struct sl_bytes){ 0 };
				if (good_rows[i].keys.origin)
					p->origin = (struct sl_bytes){ 0 };
				if (strncmp(good_rows[i].name, "origin before", 13) == 0)
					p->origin = second.pairs->origin;
				note_pair(&before, "", p);
				note_pair(&after, "", second.pairs);
				assert_string_equal(sl_buf_text(&before), sl_buf_text(&after));
				sl_buf_release(&line);
				sl_buf_release(&before);
				sl_buf_release(&after);
			}
			sl_arena_release(&a);
		}
	}
}

/* How sure the label is goes with the line, and is about the line: a flipped pair was arrived the other way round. */
static void test_soft_label(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_parsed parsed;
	struct sl_buf line = { 0 };
	struct sl_pair *p;

	(void)state;
	assert_true(sl_jsonl_parse(sl_text("{" PAIR "}"), NULL, &a, &parsed, &e));
	p = parsed.pairs;
	p->decision.present = true;
	p->decision.p_label = NAN;
	sl_jsonl_write(p, SL_FORMAT_IMPLICIT, &line);
	assert_null(strstr(sl_buf_text(&line), "p_label"));
	p->decision.p_label = 0.125;
	for (enum sl_format format = SL_FORMAT_IMPLICIT; format <= SL_FORMAT_EXPLICIT; format++) {
		sl_buf_clear(&line);
		sl_jsonl_write(p, format, &line);
		assert_non_null(strstr(sl_buf_text(&line), ",\"p_label\":0.125"));
	}
	p->label_flipped = true;
	sl_buf_clear(&line);
	sl_jsonl_write(p, SL_FORMAT_IMPLICIT, &line);
	assert_non_null(strstr(sl_buf_text(&line), ",\"p_label\":0.875"));
	sl_buf_release(&line);
	sl_arena_release(&a);
}

/* What is drawn for a person comes back as the same pair, with its source, its domain and how it was drawn. */
static void test_sample_comes_back(void **state)
{
	static const char line[] = "{\"prompt\":[" U("q") "],\"chosen\":[" A("c") "],\"rejected\":[" A(
		"r") "],\"source\":\"s\",\"margin\":1.5,\"meta\":{\"d\":\"e\"}}";
	static const struct sl_keys keys = { .domain = "meta.d" };
	struct sl_arena a = { 0 };
	struct sl_error e = { 0 };
	struct sl_parsed parsed, back;
	struct sl_buf sample = { 0 }, before = { 0 }, after = { 0 };

	(void)state;
	assert_true(sl_jsonl_parse(sl_text(line), &keys, &a, &parsed, &e));
	sl_jsonl_write(parsed.pairs, SL_FORMAT_SAMPLE, &sample);
	assert_true(sl_jsonl_parse(sl_buf_bytes(&sample), NULL, &a, &back, &e));
	assert_int_equal(back.pair_count, 1);
	parsed.pairs->gold.sample = sl_text("random");
	note_pair(&before, "p", parsed.pairs);
	note_pair(&after, "p", back.pairs);
	assert_string_equal(sl_buf_text(&before), sl_buf_text(&after));
	assert_non_null(strstr(sl_buf_text(&after), "domain=e"));
	sl_buf_release(&sample);
	sl_buf_release(&before);
	sl_buf_release(&after);
	sl_arena_release(&a);
}

static void test_written_text(void **state)
{
	static struct sl_message prompt = { { "user", 4 }, { "a\"\\\n\x01\0\xff\xc3\xa9", 9 }, { NULL, 0 } };
	static struct sl_message chosen = { { "assistant", 9 }, { "c", 1 }, { "{\"k\": [1, 0.1],\n\"role\": 2}", 26 } };
	static struct sl_message rejected = { { "assistant", 9 }, { "r", 1 }, { "no JSON", 7 } };
	static struct sl_vote vote = { .judge = { "nearest", 7 }, .verdict = { "chosen", 6 }, .confidence = NAN };
	static struct sl_score score = {
		.model = { "gold", 4 }, .version = 2, .chosen = 1.5, .rejected = -0.25, .temperature = 1
	};
	static struct sl_trail trail[] = { { .step = { "dedupe", 6 }, .outcome = { "unique", 6 } },
					   { .step = { "filter", 6 }, .outcome = { "curated", 7 }, .pass = 1 } };
	struct sl_buf line = { 0 };
	struct sl_pair p;

	(void)state;
	sl_pair_init(&p);
	p.prompt = (struct sl_messages){ &prompt, 1 };
	p.chosen = (struct sl_messages){ &chosen, 1 };
	p.rejected = (struct sl_messages){ &rejected, 1 };
	p.source = sl_text("s");
	p.margin = 0.1;
	p.meta = sl_text("not an object");
	sl_jsonl_write(&p, SL_FORMAT_EXPLICIT, &line);
	assert_string_equal(
		sl_buf_text(&line),
		"{\"prompt\":[{\"role\":\"user\",\"content\":\"a\\\"\\\\\\n\\u0001\\u0000\xef\xbf\xbd\xc3\xa9\"}],"
		"\"chosen\":[{\"role\":\"assistant\",\"content\":\"c\",\"k\":[1,0.1]}],"
		"\"rejected\":[{\"role\":\"assistant\",\"content\":\"r\"}],"
		"\"source\":\"s\",\"margin\":0.1,\"meta\":\"not an object\"}\n");

	p.prompt.count = 0;
	p.vectors.context = (struct sl_bytes){ "12345678", 8 };
	p.scores = &score;
	p.score_count = 1;
	p.judgement = (struct sl_judgement){ .present = true, .asked = true, .votes = &vote, .vote_count = 1 };
	p.decision = (struct sl_decision){ .present = true, .action = sl_text("keep"), .p_label = 0.875 };
	p.trail = trail;
	p.trail_count = 2;
	p.meta = sl_text("{}");
	sl_buf_clear(&line);
	sl_jsonl_write(&p, SL_FORMAT_FULL, &line);
	assert_string_equal(
		sl_buf_text(&line),
		"{\"id\":\"00000000000000000000000000000000\",\"pair_key\":\"00000000000000000000000000000000\","
		"\"group\":\"00000000000000000000000000000000\",\"arrival\":{\"item\":0},\"time_ms\":0,\"source\":"
		"\"s\","
		"\"prompt\":[],\"chosen\":[{\"role\":\"assistant\",\"content\":\"c\",\"k\":[1,0.1]}],"
		"\"rejected\":[{\"role\":\"assistant\",\"content\":\"r\"}],\"margin\":0.1,\"meta\":{},\"label_"
		"flipped\":false,"
		"\"vectors\":{\"context_floats\":2},"
		"\"scores\":[{\"model\":\"gold\",\"version\":2,\"chosen\":1.5,\"rejected\":-0.25,\"temperature\":1.0}],"
		"\"judgement\":{\"asked\":true,\"votes\":[{\"judge\":\"nearest\",\"verdict\":\"chosen\",\"tokens\":0,"
		"\"micro_dollars\":0}]},\"decision\":{\"action\":\"keep\",\"p_label\":0.875,\"revision\":0},"
		"\"trail\":[{\"step\":\"dedupe\",\"outcome\":\"unique\",\"pass\":0},"
		"{\"step\":\"filter\",\"outcome\":\"curated\",\"pass\":1}]}\n");
	sl_buf_release(&line);
}

/* --- real files --- */

static size_t parse_file(const char *path, uint64_t *bytes)
{
	struct sl_error e = { 0 };
	struct sl_lines *l = sl_lines_open(path, 1 << 20, &e);
	struct sl_arena a = { 0 };
	struct sl_parsed parsed;
	struct sl_line line;
	enum sl_lines_result got;
	size_t pairs = 0;

	if (!l)
		fail_msg("%s", e.text);
	while ((got = sl_lines_next(l, &line, &e)) == SL_LINES_LINE) {
		sl_arena_clear(&a);
		if (!sl_jsonl_parse(line.text, NULL, &a, &parsed, &e))
			fail_msg("%s:%lld: %s", path, (long long)line.number, e.text);
		pairs += parsed.pair_count;
		*bytes = line.end;
	}
	if (got == SL_LINES_ERROR)
		fail_msg("%s: %s", path, e.text);
	sl_lines_close(l);
	sl_arena_release(&a);
	return pairs;
}

static void test_real_files(void **state)
{
	glob_t files = { 0 };
	uint64_t bytes, all_bytes = 0;
	size_t pairs = 0;
	int64_t start = sl_thread_cpu_ns();

	(void)state;
	glob("../shared/data/*.jsonl.gz", 0, NULL, &files);
	glob("../shared/data/benchmarks/*/pairs.jsonl.gz", GLOB_APPEND, NULL, &files);
	glob("../shared/data/benchmarks/JudgeBench/raw/*.jsonl", GLOB_APPEND, NULL, &files);
	if (files.gl_pathc == 0) {
		print_message("no ../shared/data: skipped\n");
		globfree(&files);
		skip();
	}
	for (size_t i = 0; i < files.gl_pathc; i++) {
		bytes = 0;
		pairs += parse_file(files.gl_pathv[i], &bytes);
		all_bytes += bytes;
	}
	print_message("%zu pairs in %zu files, %.1f MB/s of CPU with unpacking and ids\n", pairs, files.gl_pathc,
		      (double)all_bytes * 1e3 / (double)(sl_thread_cpu_ns() - start));
	globfree(&files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_soft_label),
		cmocka_unit_test(test_sample_comes_back),
		cmocka_unit_test(test_written_text),
		cmocka_unit_test(test_real_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
