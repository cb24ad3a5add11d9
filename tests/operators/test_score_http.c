/* score with remote models: rewards of a server, beside a model that is trained here, whatever happens to the run. */
#include "make.h"
#include "scripted_chat.h"

#include "schemas/codec.h"
#include "topology/log.h"

#include <stdlib.h>

/* embed and the trainers are there because tables need writers; nothing is trained here. */
static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"endpoints:\n"
	"  gold: { url: http://localhost, model: m-gold }\n"
	"  best: { url: http://localhost, model: m-best }\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold } }\n"
	"  - { name: score, from: pairs.embedded, to: { scored: pairs.scored }, tables: { models: models },\n"
	"      remote: [gold, best], remote_temperatures: [2, 0.5], remote_version: 7 }\n"
	"trainers:\n"
	"  - { name: final, from: pairs.scored, min_pairs: 1000000 }\n";

/* -- the server --------------------------------------------------------------------------------------- */

static bool mentions(const struct sl_outcall *call, const char *word)
{
	return memmem(call->body.data, call->body.size, word, strlen(word)) != NULL;
}

/* m-gold: 3 for a conversation that says "good", else 1; m-best the opposite. */
static double reward(const struct sl_outcall *call, const json_t *text)
{
	bool good = strstr(json_string_value(text), "good") != NULL;

	return good == (strcmp(call->model, "m-gold") == 0) ? 3 : 1;
}

static const json_t *conversations_of(const json_t *body)
{
	const json_t *texts = json_object_get(body, "text");

	return texts ? texts : json_object_get(body, "input");
}

static struct sl_settlement answer(const struct sl_outcall *call, struct sl_buf *to)
{
	json_t *body = json_loadb((const char *)call->body.data, call->body.size, 0, NULL);
	const json_t *texts = conversations_of(body), *messages = json_object_get(body, "messages");
	const json_t *last = json_object_get(json_array_get(messages, json_array_size(messages) - 1), "content");
	bool sglang = json_object_get(body, "text") != NULL;

	assert_string_equal(call->path, "/classify");
	assert_string_equal(json_string_value(json_object_get(body, "model")), call->model);
	assert_true(sglang || json_is_false(json_object_get(body, "use_activation")));
	sl_buf_print(to, sglang ? "[" : "{\"data\":[");
	for (size_t i = 0; i < (texts ? json_array_size(texts) : 1); i++)
		sl_buf_print(to, "%s{\"%s\":[%g]}", i ? "," : "", sglang ? "embedding" : "probs",
			     reward(call, texts ? json_array_get(texts, i) : last));
	sl_buf_print(to, sglang ? "]" : "]}");
	json_decref(body);
	if (mentions(call, "BROKEN") && strcmp(call->model, "m-best") == 0)
		return (struct sl_settlement){ .status = 500, .body = sl_text("oops"), .attempts = 1 };
	if (mentions(call, "GARBAGE"))
		return (struct sl_settlement){ .status = 200, .body = sl_text("\xff{"), .attempts = 1 };
	if (mentions(call, "SHORT"))
		return (struct sl_settlement){ .status = 200, .body = sl_text("[]"), .attempts = 1 };
	return (struct sl_settlement){ .status = 200, .body = sl_buf_bytes(to), .attempts = 1 };
}

static struct sl_trial *trial(struct scripted_chat *server, const char *const *sets, size_t set_count)
{
	static struct sl_trial_case c;

	c = (struct sl_trial_case){ .yaml = yaml,
				    .sets = sets,
				    .set_count = set_count,
				    .arg = server,
				    .endpoint = scripted_endpoint,
				    .world = scripted_turn };
	server->answer = answer;
	return sl_trial_case_new(&c, NULL);
}

/* -- tests -------------------------------------------------------------------------------------------- */

static const char *const prompts[] = { "one", "BROKEN", "two", "GARBAGE", "SHORT", "three", "four" };
enum { PROMPTS = sizeof prompts / sizeof prompts[0], SCORED = 4 };

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[PROMPTS];
	bool done;

	(void)arg;
	for (int i = 0; i < PROMPTS; i++)
		pairs[i] = sl_trial_pair(&a, prompts[i], "a good answer", "a bad answer");
	done = sl_trial_feed(t, "pairs.unique", pairs, PROMPTS);
	sl_arena_release(&a);
	return done;
}

static void check_scores(const struct sl_pair *p)
{
	const struct sl_score *gold = sl_pair_score(p, "gold"), *best = sl_pair_score(p, "best");

	assert_int_equal(p->score_count, 2);
	assert_true(gold->version == 7 && gold->temperature == 2 && gold->chosen == 3 && gold->rejected == 1);
	assert_true(best->version == 7 && best->temperature == 0.5 && best->chosen == 1 && best->rejected == 3);
}

/* The same scores in every form of the question; messages take twice the calls. */
static void test_forms(void **unused)
{
	static const char *const vllm[] = { "score.remote_template=messages" };
	static const char *const vllm_text[] = { "score.remote_template=chatml" };
	static const char *const sglang[] = { "score.remote_api=sglang", "score.remote_template=llama31" };
	static const struct {
		const char *const *sets;
		size_t set_count, sent; /* a pair and model */
	} cases[] = { { vllm, 1, 2 }, { vllm_text, 1, 1 }, { sglang, 2, 1 } };

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static struct scripted_chat server;
		struct sl_trial *t = trial(&server, cases[i].sets, cases[i].set_count);
		struct sl_arena a = { 0 };
		struct sl_record *dead;
		struct sl_pair *out;

		server.sent = 0;
		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		assert_int_equal(sl_trial_read(t, "pairs.scored", &a, &out), SCORED);
		for (int k = 0; k < SCORED; k++)
			check_scores(&out[k]);
		assert_int_equal(sl_trial_records(t, "dead.score", &a, &dead), PROMPTS - SCORED);
		assert_true(sl_bytes_equal(sl_header_find(dead[0].headers, "__connect.errors.exception.message"),
					   sl_text("failed: status 500: oops; model 'best'")));
		assert_int_equal(server.sent, cases[i].sent * 2 * PROMPTS);
		sl_arena_release(&a);
		sl_trial_free(t);
	}
}

static void announce(struct sl_trial *t, const char *name)
{
	struct sl_model_record m = { .name = sl_text(name), .version = 0, .sequence = 1 };
	struct sl_record r = { .key = sl_text(name) };
	struct sl_buf b = { 0 };

	sl_model_encode(&m, &b);
	r.value = sl_buf_bytes(&b);
	assert_true(sl_trial_feed_record(t, "models", &r));
	sl_buf_release(&b);
}

/* Who is trained here cannot be remote; others may be announced. */
static void test_two_of_a_name(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, NULL, 0);

	(void)unused;
	announce(t, "final");
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	announce(t, "best");
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
	assert_non_null(strstr(t->error.text, "model 'best' is remote, and a trainer announces one of that name"));
	sl_trial_free(t);
}

/* gold is trained here, and waited for; best is remote and not. */
static void test_beside_trained(void **unused)
{
	static const char *const sets[] = { "score.remote=best", "score.remote_temperatures=[]" };
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, sets, 2);
	struct sl_arena a = { 0 };
	struct sl_pair *out;

	(void)unused;
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_WAITS);
	assert_non_null(strstr(t->error.text, "waiting for model 'gold'"));
	announce(t, "gold"); /* absent */
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.scored", &a, &out), SCORED);
	for (int i = 0; i < SCORED; i++) {
		assert_int_equal(out[i].score_count, 1);
		assert_true(sl_pair_score(&out[i], "best")->temperature == 1);
	}
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_options(void **unused)
{
	static const char *const unknown[] = { "score.models=[gold]", "score.remote_temperatures=[]" };
	static const char *const twice[] = { "score.remote=[gold, gold]" };
	static const char *const few[] = { "score.remote_temperatures=[2]" };
	static const char *const cold[] = { "score.remote_temperatures=[2, 0]" };
	static const char *const words[] = { "score.remote_temperatures=[2, warm]" };
	static const char *const sglang[] = { "score.remote_api=sglang" };
	static const struct {
		const char *const *sets;
		size_t set_count;
		const char *error;
	} cases[] = {
		{ unknown, 2, "option 'remote' names model 'best', which is not in 'models': add it there" },
		{ twice, 1, "option 'remote' names model 'gold' twice" },
		{ few, 1, "option 'remote_temperatures' has 1 numbers for 2 remote models" },
		{ cold, 1, "'0' is not a number from 1e-6 to 1e6" },
		{ words, 1, "'warm' is not a number from 1e-6 to 1e6" },
		{ sglang, 1, "SGLang's /classify takes no messages" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static struct scripted_chat server;
		struct sl_trial *t = trial(&server, cases[i].sets, cases[i].set_count);

		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
		if (!strstr(t->error.text, cases[i].error))
			fail_msg("case %zu: got '%s'", i, t->error.text);
		sl_trial_free(t);
	}
}

/* A step that asks has a task of its own; the same operator that does not can run in another's. */
static void test_inline(void **unused)
{
	static const char *const sets[] = { "inline=pairs.embedded", "score.remote=[]",
					    "score.remote_temperatures=[]" };
	struct sl_error e = { 0 };
	struct sl_topology *t = sl_topology_parse("t.yaml", sl_text(yaml), sets, 1, &e);

	(void)unused;
	assert_null(t);
	assert_non_null(strstr(e.text, "step 'score' asks the outside and needs a task of its own"));
	t = sl_topology_parse("t.yaml", sl_text(yaml), sets, 3, &e);
	assert_non_null(t);
	assert_int_equal(t->steps[sl_topology_step(t, "score")].host, sl_topology_step(t, "embed"));
	sl_topology_free(t);
}

static void test_torture(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial_case c = { .name = "score http",
				   .yaml = yaml,
				   .feed = feed,
				   .arg = &server,
				   .endpoint = scripted_endpoint,
				   .world = scripted_turn,
				   .batch_most = PROMPTS,
				   .schedules = 5 };
	size_t runs;

	(void)unused;
	server.answer = answer;
	assert_int_equal(sl_trial_torture(&c, &runs, stderr), 0);
	assert_true(runs > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),          cmocka_unit_test(test_two_of_a_name),
		cmocka_unit_test(test_beside_trained), cmocka_unit_test(test_options),
		cmocka_unit_test(test_inline),         cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
