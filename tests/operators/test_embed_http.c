/* embed, backend http: a server's vectors, whatever happens to the run; what it must not say; who is not asked. */
#include "make.h"
#include "scripted_chat.h"

#include "topology/log.h"

#include <stdlib.h>

static const char yaml[] =
	"topology: t\n"
	"ingest: { to: pairs.unique }\n"
	"partitions: 1\n"
	"endpoints: { vec: { url: http://localhost/v1, model: m-vec } }\n"
	"steps:\n"
	"  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold },\n"
	"      backend: http, endpoint: vec, dim: 16 }\n";

/* -- the server --------------------------------------------------------------------------------------- */

static bool mentions(const struct sl_outcall *call, const char *word)
{
	return memmem(call->body.data, call->body.size, word, strlen(word)) != NULL;
}

/* A vector that depends on the body; words in the prompt make the server misbehave. */
static struct sl_settlement answer(const struct sl_outcall *call, struct sl_buf *body)
{
	struct sl_settlement s = { .status = 200, .attempts = 1 };
	uint64_t h = sl_hash64(call->body.data, call->body.size, 5);
	size_t count = mentions(call, "SHORTER") ? 15 : 16;
	bool tei = strcmp(call->path, "/embed") == 0;

	if (mentions(call, "BROKEN"))
		return (struct sl_settlement){
			.status = 500, .body = sl_text("oops"), .attempts = 3, .why = "status 500"
		};
	if (mentions(call, "GONE"))
		return (struct sl_settlement){ .status = SL_GAVE_UP, .why = "no answer in time", .attempts = 3 };
	sl_buf_print(body, tei ? "[[" : "{\"data\":[{\"embedding\":[");
	for (size_t i = 0; i < count; i++)
		sl_buf_print(body, "%s%s", i ? "," : "",
			     mentions(call, "NAN") && i == 3    ? "NaN"
			     : mentions(call, "NULL") && i == 3 ? "null"
			     : mentions(call, "HUGE") && i == 3 ? "1e300"
			     : mentions(call, "ZERO")           ? "0"
			     : h >> i & 1                       ? "-2"
								: "2");
	sl_buf_print(body, mentions(call, "HALF") ? "" : tei ? "]]" : "]}],\"usage\":{\"prompt_tokens\":7}}");
	s.body = sl_buf_bytes(body);
	return s;
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

static const struct {
	const char *prompt, *why; /* NULL: it has a vector */
} prompts[] = {
	{ "one", NULL },
	{ "NAN", "malformed: the reply of" },
	{ "two", NULL },
	{ "NULL", "malformed: number 4 of the embedding is null" },
	{ "HUGE", "malformed: number 4 of the embedding is beyond float32" },
	{ "ZERO", "malformed: all numbers of the embedding are 0" },
	{ "HALF", "malformed: the reply of" },
	{ "BROKEN", "failed: status 500: oops" },
	{ "three", NULL },
	{ "GONE", "failed: no answer in time" },
};
enum { PROMPTS = sizeof prompts / sizeof prompts[0] };

static bool feed(struct sl_trial *t, void *arg)
{
	struct sl_arena a = { 0 };
	struct sl_pair pairs[PROMPTS];
	bool done;

	(void)arg;
	for (int i = 0; i < PROMPTS; i++) {
		pairs[i] = sl_trial_pair(&a, prompts[i].prompt, "yes", "no");
		pairs[i].gold.present = i % 4 == 2;
		if (pairs[i].gold.present)
			pairs[i].gold.verdict = sl_text("chosen");
	}
	done = sl_trial_feed(t, "pairs.unique", pairs, PROMPTS);
	sl_arena_release(&a);
	return done;
}

static void check_vector(const struct sl_pair *p)
{
	float v[16];
	double square = 0;

	assert_non_null(p);
	assert_int_equal(p->vectors.context.size, sizeof v);
	memcpy(v, p->vectors.context.data, sizeof v);
	for (int i = 0; i < 16; i++)
		square += (double)v[i] * (double)v[i];
	assert_true(fabs(square - 1) < 1e-6);
}

static void test_answers(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_record *dead;
	size_t dead_count, n = 0;

	(void)unused;
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	dead_count = sl_trial_records(t, "dead.embed", &a, &dead);
	for (size_t i = 0; i < PROMPTS; i++) {
		struct sl_pair p = sl_trial_pair(&a, prompts[i].prompt, "yes", "no");
		struct sl_bytes message;

		sl_pair_identify(&p, &a);
		if (!prompts[i].why) {
			check_vector(find_pair(t, i % 4 == 2 ? "pairs.gold" : "pairs.embedded", p.id, &a));
			continue;
		}
		assert_true(n < dead_count);
		message = sl_header_find(dead[n++].headers, "__connect.errors.exception.message");
		if (!sl_bytes_begins(message, sl_text(prompts[i].why)))
			fail_msg("%s: got '%.*s'", prompts[i].prompt, (int)message.size, (const char *)message.data);
	}
	assert_int_equal(n, dead_count);
	assert_int_equal(server.sent, PROMPTS);
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_torture(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial_case c = { .name = "embed http",
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

/* One call a pair: the same questions however batches are cut, and none is asked twice. */
static void test_paid_once(void **unused)
{
	static const char *const sets[] = { "embed.batch_max=3", "embed.api=tei" };
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, sets, 2);
	struct sl_arena a = { 0 };

	(void)unused;
	for (int round = 0; round < 2; round++) {
		struct sl_pair pairs[4];

		for (int i = 0; i < 4; i++)
			pairs[i] = sl_trial_pair(&a, sl_arena_print(&a, "prompt %d", i), round ? "yes" : "so", "no");
		assert_true(sl_trial_feed(t, "pairs.unique", pairs, 4));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
		assert_int_equal(server.sent, 4); /* the answers are no part of the question */
		assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	}
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_other_length(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair p = sl_trial_pair(&a, "SHORTER", "yes", "no");

	(void)unused;
	assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
	assert_non_null(strstr(t->error.text, "endpoint 'vec' sends vectors of 15 numbers, the option 'dim' says 16"));
	sl_arena_release(&a);
	sl_trial_free(t);
}

/* Another model's vectors cannot be compared with those that are there. */
static void test_other_model(void **unused)
{
	static const char *const sets[] = { "endpoints.vec.model=m-other" };
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, NULL, 0);
	struct sl_topology *old = t->topology;
	struct sl_error e = { 0 };

	(void)unused;
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	t->topology = sl_topology_parse("t.yaml", sl_text(yaml), sets, 1, &e);
	assert_non_null(t->topology);
	assert_true(sl_trial_restart(t, SL_TWIN_POWER));
	sl_topology_free(old);
	assert_true(feed(t, NULL));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
	assert_non_null(strstr(t->error.text,
			       "the vectors so far are of model 'm-vec', prefix '', endpoint 'vec' would be "
			       "asked for model 'm-other', prefix ''"));
	sl_trial_free(t);
}

/* A text without a byte is similar to nothing, and nobody is asked. */
static void test_no_text(void **unused)
{
	static struct scripted_chat server;
	struct sl_trial *t = trial(&server, NULL, 0);
	struct sl_arena a = { 0 };
	struct sl_pair p = sl_trial_pair(&a, "", "yes", "no"), *out;
	static const float zeros[16];

	(void)unused;
	assert_true(sl_trial_feed(t, "pairs.unique", &p, 1));
	assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_IDLE);
	assert_int_equal(sl_trial_read(t, "pairs.embedded", &a, &out), 1);
	assert_true(sl_bytes_equal(out->vectors.context, (struct sl_bytes){ zeros, sizeof zeros }));
	assert_int_equal(server.sent, 0);
	sl_arena_release(&a);
	sl_trial_free(t);
}

static void test_options(void **unused)
{
	static const char *const no_endpoint[] = { "embed.endpoint=" };
	static const char *const hashed[] = { "embed.backend=hashed" };
	static const char *const tei[] = { "embed.api=tei", "embed.shorten=true" };
	static const struct {
		const char *const *sets;
		size_t set_count;
		const char *error;
	} cases[] = {
		{ no_endpoint, 1, "backend 'http' needs the option 'endpoint'" },
		{ hashed, 1, "'endpoint' is for backend 'http'" },
		{ tei, 2, "'shorten' is for api 'openai'" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		static struct scripted_chat server;
		struct sl_trial *t = trial(&server, cases[i].sets, cases[i].set_count);

		assert_true(feed(t, NULL));
		assert_int_equal(sl_trial_play(t, 0), SL_TRIAL_STOPPED);
		assert_non_null(strstr(t->error.text, cases[i].error));
		sl_trial_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),      cmocka_unit_test(test_paid_once),
		cmocka_unit_test(test_other_length), cmocka_unit_test(test_other_model),
		cmocka_unit_test(test_no_text),      cmocka_unit_test(test_options),
		cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
