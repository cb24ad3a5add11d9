/* test_config_endpoints.c -- endpoints, prices, memo and drain in topology files: defaults, OpenAI's variables, what is
 * wrong, what names endpoints, and that no key is ever shown. */
#include "with_config.h"

struct judges {
	const char *first;
	struct sl_list more;
};
static const struct sl_option judge_options[] = {
	{ .name = "first",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct judges, first),
	  .value = "",
	  .endpoint = true,
	  .help = "h" },
	{ .name = "more",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct judges, more),
	  .value = "[]",
	  .endpoint = true,
	  .help = "h" },
	{ 0 },
};
static const struct sl_operator judge = { .name = "judge",
					  .version = "1",
					  .options = judge_options,
					  .ports = pass_ports,
					  .self_size = sizeof(struct judges),
					  .ask = nothing };

const struct sl_operator *const sl_operators[] = { &pass, &judge, &asks, NULL };

/* Lines 1 to 3. */
#define JUDGE(options) TOP "steps:\n  - { name: a, operator: judge, from: pairs.raw, to: { out: x }, " options " }\n"
#define LOCAL "url: \"http://127.0.0.1:1/v1\""

static void clear(void)
{
	static const char *const names[] = { "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID",
					     "SL_TEST_KEY",     "SL_TEST_URL",    "SL_TEST_CA",    NULL };

	for (const char *const *n = names; *n; n++)
		unsetenv(*n);
}

static int set_up(void **state)
{
	(void)state;
	clear();
	return 0;
}

static const char *setting(const struct sl_endpoint_def *d, const char *name, const char **origin)
{
	for (size_t i = 0; i < d->setting_count; i++)
		if (strcmp(d->settings[i].name, name) == 0) {
			*origin = d->settings[i].origin;
			return d->settings[i].value;
		}
	return "no such setting";
}

static void expect_setting(const struct sl_endpoint_def *d, const char *name, const char *value, const char *origin)
{
	const char *from = "";

	assert_string_equal(setting(d, name, &from), value);
	assert_string_equal(from, origin);
}

/* -- Good files ------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
	struct sl_topology *t = good(ONE "endpoints:\n  gpt:\n", NULL);
	const struct sl_endpoint_def *d = &t->endpoints[0];

	(void)state;
	assert_int_equal(t->endpoint_count, 1);
	assert_string_equal(d->name, "gpt");
	assert_int_equal(d->urls.count, 1);
	assert_string_equal(d->urls.at[0], "https://api.openai.com/v1");
	assert_int_equal(d->keys.count, 0);
	assert_null(d->organization);
	assert_null(d->project);
	assert_string_equal(d->model, "");
	assert_string_equal(d->ca, "");
	assert_string_equal(d->http, "auto");
	assert_int_equal(d->in_flight, 16);
	assert_int_equal(d->requests_per_minute, 0);
	assert_int_equal(d->tokens_per_minute, 0);
	assert_int_equal(d->connect_timeout_ms, 5000);
	assert_int_equal(d->timeout_ms, 600000);
	assert_int_equal(d->retries, 2);
	assert_true(d->budget < 0 && d->budget_per_day < 0);
	assert_null(d->price);
	expect_setting(d, "url", "[https://api.openai.com/v1]", "default");
	expect_setting(d, "key", "[]", "default");
	assert_true(t->memo_max_bytes == (int64_t)4 << 30);
	assert_true(t->memo_max_age_ms == (int64_t)365 * 86400000);
	assert_int_equal(t->drain_ms, 30000);
	sl_topology_free(t);
}

static void test_openai_variables(void **state)
{
	struct sl_topology *t;
	const struct sl_endpoint_def *d;

	(void)state;
	setenv("OPENAI_BASE_URL", "http://gateway.example:8080/openai/v1", 1);
	setenv("OPENAI_API_KEY", "sk-fromenv", 1);
	setenv("OPENAI_ORG_ID", "org-1", 1);
	setenv("OPENAI_PROJECT_ID", "proj-1", 1);
	t = good(ONE "endpoints:\n  gpt: { model: m }\n  own: { " LOCAL " }\n  both: { " LOCAL
		     ", key: \"${OPENAI_API_KEY}\" }\n",
		 NULL);
	d = &t->endpoints[0];
	assert_string_equal(d->urls.at[0], "http://gateway.example:8080/openai/v1");
	assert_int_equal(d->keys.count, 1);
	assert_string_equal(d->keys.at[0], "sk-fromenv");
	assert_string_equal(d->organization, "org-1");
	assert_string_equal(d->project, "proj-1");
	expect_setting(d, "url", "[${OPENAI_BASE_URL}]", "environment");
	expect_setting(d, "key", "[${OPENAI_API_KEY}]", "environment");
	d = &t->endpoints[1]; /* a server of our own never sees OpenAI's key ... */
	assert_string_equal(d->urls.at[0], "http://127.0.0.1:1/v1");
	assert_int_equal(d->keys.count, 0);
	assert_null(d->organization);
	d = &t->endpoints[2]; /* ... unless the file says so */
	assert_string_equal(d->keys.at[0], "sk-fromenv");
	expect_setting(d, "key", "[${OPENAI_API_KEY}]", "t.yaml:7:46");
	sl_topology_free(t);
	/* Empty is as good as not set. */
	setenv("OPENAI_BASE_URL", "", 1);
	setenv("OPENAI_API_KEY", "", 1);
	t = good(ONE "endpoints: { gpt: { model: m } }\n", NULL);
	assert_string_equal(t->endpoints[0].urls.at[0], "https://api.openai.com/v1");
	assert_int_equal(t->endpoints[0].keys.count, 0);
	sl_topology_free(t);
}

static void test_lists_and_secrets(void **state)
{
	static const char *const sets[] = { "endpoints.j.key=sk-set", "endpoints.j.retries=5", NULL };
	struct sl_topology *t;
	struct sl_buf plan = { 0 };

	(void)state;
	setenv("SL_TEST_URL", "http://b.example/v1", 1);
	setenv("SL_TEST_KEY", "sk-two", 1);
	setenv("SL_TEST_CA", "/etc/ca.pem", 1);
	t = good(ONE "endpoints:\n  j: { url: [\"http://a.example/v1\", \"${SL_TEST_URL}\"], key: [sk-letters, "
		     "\"${SL_TEST_KEY}\"], "
		     "ca: \"${SL_TEST_CA}\", http: 1.1 }\n",
		 NULL);
	assert_int_equal(t->endpoints[0].urls.count, 2);
	assert_string_equal(t->endpoints[0].urls.at[1], "http://b.example/v1");
	assert_int_equal(t->endpoints[0].keys.count, 2);
	assert_string_equal(t->endpoints[0].keys.at[0], "sk-letters");
	assert_string_equal(t->endpoints[0].keys.at[1], "sk-two");
	assert_string_equal(t->endpoints[0].ca, "/etc/ca.pem");
	assert_string_equal(t->endpoints[0].http, "1.1");
	for (int json = 0; json < 2; json++)
		sl_topology_plan(t, NULL, json, &plan);
	assert_null(strstr(sl_buf_text(&plan), "sk-"));
	assert_non_null(strstr(sl_buf_text(&plan), "[***, ${SL_TEST_KEY}]"));
	assert_non_null(strstr(sl_buf_text(&plan), "[http://a.example/v1, ${SL_TEST_URL}]"));
	assert_non_null(strstr(sl_buf_text(&plan), "${SL_TEST_CA}"));
	sl_topology_free(t);
	t = good(ONE "endpoints: { j: { " LOCAL " } }\n", sets);
	assert_string_equal(t->endpoints[0].keys.at[0], "sk-set");
	assert_int_equal(t->endpoints[0].retries, 5);
	sl_buf_clear(&plan);
	sl_topology_plan(t, NULL, false, &plan);
	assert_null(strstr(sl_buf_text(&plan), "sk-set"));
	sl_topology_free(t);
	sl_buf_release(&plan);
}

static void test_prices(void **state)
{
	static const char *const sets[] = { "prices.gpt-4.1.prompt=3", "drain=5s", "memo.max_size=1GiB", NULL };
	struct sl_topology *t = good(ONE "prices:\n"
					 "  gpt-4.1: { prompt: 2.5, cached: 0.5, completion: 8 }\n"
					 "  \"org/embed-3\": { prompt: 0.02 }\n"
					 "endpoints:\n"
					 "  a: { " LOCAL ", model: gpt-4.1, budget: 10 }\n"
					 "  b: { " LOCAL ", model: org/embed-3, budget_per_day: 0 }\n"
					 "  c: { " LOCAL ", model: other }\n",
				     sets);

	(void)state;
	assert_int_equal(t->price_count, 2);
	assert_ptr_equal(t->endpoints[0].price, &t->prices[0]);
	assert_ptr_equal(t->endpoints[1].price, &t->prices[1]);
	assert_null(t->endpoints[2].price);
	assert_string_equal(t->prices[0].model, "gpt-4.1");
	assert_true(t->prices[0].prompt == 3 && t->prices[0].cached == 0.5 && t->prices[0].completion == 8);
	assert_true(t->prices[1].prompt == 0.02 && t->prices[1].cached == 0.02 && t->prices[1].completion == 0);
	assert_int_equal(t->drain_ms, 5000);
	assert_true(t->memo_max_bytes == 1 << 30);
	sl_topology_free(t);
}

static void test_named(void **state)
{
	struct sl_topology *t = good(
		JUDGE("first: gpt, more: [own, gpt]") "endpoints: { gpt: { model: m }, own: { " LOCAL " } }\n", NULL);

	(void)state;
	sl_topology_free(t);
	t = good(JUDGE("first: \"\""), NULL); /* none */
	sl_topology_free(t);
}

/* -- Bad ones ------------------------------------------------------------------------------------ */

struct bad {
	const char *yaml, *error;
};
#define AT4 "some/t.yaml:4:"
static const struct bad bad[] = {
	{ ONE "endpoints: x\n", AT4 "12: 'endpoints' must be a map: { name: { url: ... } }" },
	{ ONE "endpoints: { \"a b\": { } }\n",
	  AT4 "21: name 'a b' of an endpoint is not 1 to 64 letters, digits, '_' or '-'" },
	{ ONE "endpoints: { j: { ur: x } }\n", AT4 "19: unknown key 'ur' in endpoint 'j' (did you mean 'url'?)" },
	{ ONE "endpoints: { j: { url: \"127.0.0.1:80/v1\" } }\n",
	  AT4 "24: 'url' of endpoint 'j' is no address: write http://HOST:PORT/v1 or https://HOST/v1" },
	{ ONE "endpoints: { j: { url: \"ftp://h/v1\" } }\n",
	  AT4 "24: 'url' of endpoint 'j' begins neither with http:// nor with https://" },
	{ ONE "endpoints: { j: { url: \"http://me:secret@h/v1\" } }\n",
	  AT4 "24: 'url' of endpoint 'j' holds '@': give the key as 'key'" },
	{ ONE "endpoints: { j: { url: \"http://h/v1?v=1\" } }\n",
	  AT4 "24: 'url' of endpoint 'j' has a '?' or '#': the paths of calls are put behind it" },
	{ ONE "endpoints: { j: { url: [\"http://h/v1\", \"http://\"] } }\n",
	  AT4 "24: 'url' of endpoint 'j' is no address: write http://HOST:PORT/v1 or https://HOST/v1" },
	{ ONE "endpoints: { j: { key: \"sk a\" } }\n",
	  AT4 "24: 'key' of endpoint 'j' holds a space or another character that cannot stand in a header" },
	{ ONE "endpoints: { j: { key: [\"sk\\r\\nX: y\"] } }\n",
	  AT4 "24: 'key' of endpoint 'j' holds a space or another character that cannot stand in a header" },
	{ ONE "endpoints: { j: { key: \"${SL_TEST_KEY}\" } }\n",
	  AT4 "24: environment variable 'SL_TEST_KEY' is not set" },
	{ ONE "endpoints: { j: { model: \"${SL_TEST_KEY}\" } }\n", AT4
	  "26: 'model' holds '${': environment variables are for addresses and secrets (url, key, ca, listen, brokers, "
	  "user, password) only" },
	{ ONE "endpoints: { j: { http: 3 } }\n", AT4 "25: 'http': '3' is not one of: auto, 1.1, 2" },
	{ ONE "endpoints: { j: { in_flight: 0 } }\n", AT4 "30: 'in_flight': '0' is out of range: 1 to 16384 calls" },
	{ ONE "endpoints: { j: { timeout: 10 } }\n",
	  AT4 "28: 'timeout': '10' has no unit: write a time: 250ms, 30s, 5m, 24h or 7d" },
	{ ONE "endpoints: { j: { budget: -2 } }\n",
	  AT4 "27: 'budget': '-2' is out of range: -1 to 1000000000 dollars" },
	{ ONE "endpoints: { j: { budget: 5 } }\n", AT4
	  "27: endpoint 'j' has a budget, but endpoint 'j' names no model whose price is known: add 'model', and its "
	  "price to 'prices'" },
	{ ONE "endpoints: { j: { model: m/1, budget_per_day: 5 } }\n", AT4
	  "47: endpoint 'j' has a budget, but the price of model 'm/1' is not known: add prices: { \"m/1\": { prompt: "
	  "DOLLARS, completion: DOLLARS } }, per million tokens (0 where it costs nothing)" },
	{ ONE "prices: 5\n",
	  AT4 "9: 'prices' must be a map: { gpt-4.1: { prompt: 2.00, cached: 0.50, completion: 8.00 } }" },
	{ ONE "prices: { m: { completion: 1 } }\n",
	  AT4 "14: the price of model 'm' needs 'prompt': what a million tokens of questions cost" },
	{ ONE "prices: { m: { prompt: -1 } }\n", AT4 "24: 'prompt': '-1' is out of range: 0 to 1000000 dollars" },
	{ ONE "prices: { m: { prompt: 1, completions: 1 } }\n",
	  AT4 "27: unknown key 'completions' in the price of model 'm' (did you mean 'completion'?)" },
	{ ONE "memo: { max_size: 4GB }\n", AT4 "19: 'max_size': '4GB' is not a size: 100B, 512KiB, 16MiB or 1GiB" },
	{ ONE "drain: 2h\n", AT4 "8: 'drain': '2h' is out of range: 0 to 1h" },
	{ JUDGE("first: gtp") "endpoints: { gpt: { } }\n",
	  "some/t.yaml:3:73: no endpoint 'gtp' (did you mean 'gpt'?)" },
	{ JUDGE("more: [gpt, other]") "endpoints: { gpt: { } }\n", "some/t.yaml:3:78: no endpoint 'other'" },
	{ JUDGE("first: gpt"),
	  "some/t.yaml:3:73: no endpoint 'gpt': the topology has none; add endpoints: { gpt: { url: ... } }" },
	{ JUDGE("first: gpt, budget: 5") "endpoints: { gpt: { model: m } }\n",
	  "some/t.yaml:3:86: step 'a' has a budget, but the price of model 'm' is not known: add prices: { \"m\": { "
	  "prompt: "
	  "DOLLARS, completion: DOLLARS } }, per million tokens (0 where it costs nothing)" },
	{ TOP "steps:\n  - { name: prices, operator: pass, from: pairs.raw, to: { out: x } }\n",
	  "some/t.yaml:3:13: 'prices' cannot be the name of a step: --set uses the word" },
};

static void test_bad_files(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct sl_error e;
		struct sl_topology *t = parse(bad[i].yaml, NULL, &e);

		if (t || strcmp(e.text, bad[i].error) != 0) {
			print_error("row %zu:\n  expected %s\n  got      %s\n", i, bad[i].error,
				    t ? "a topology" : e.text);
			wrong++;
		}
		sl_topology_free(t);
	}
	assert_int_equal(wrong, 0);
}

/* A bad address in the environment is told where it came from. */
static void test_bad_variable(void **state)
{
	struct sl_error e;

	(void)state;
	setenv("OPENAI_BASE_URL", "gateway", 1);
	assert_null(parse(ONE "endpoints: { gpt: { model: m } }\n", NULL, &e));
	assert_string_equal(e.text,
			    "some/t.yaml:4:19: 'url' of endpoint 'gpt' is no address: write http://HOST:PORT/v1 or "
			    "https://HOST/v1 (OPENAI_BASE_URL)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, set_up)
		TEST(test_defaults), TEST(test_openai_variables), TEST(test_lists_and_secrets), TEST(test_prices),
		TEST(test_named),    TEST(test_bad_files),        TEST(test_bad_variable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
