/* test_config_batches.c -- endpoints with batch: true in topology files: what they may be, and who may ask them. */
#include "tests/topology/with_config.h"

#include <stddef.h>

static const char *const judge_ports[] = { "out", "deferred", NULL };
static const struct sl_option judge_options[] = {
	{ .name = "judges", .type = SL_OPTION_LIST, .offset = 0, .value = "[]", .endpoint = true, .help = "h" },
	{ 0 },
};
static const struct sl_operator judge = { .name = "judge",
					  .version = "1",
					  .options = judge_options,
					  .ports = judge_ports,
					  .self_size = sizeof(struct sl_list),
					  .ask = nothing };
static const struct sl_operator describe = { .name = "describe",
					     .version = "1",
					     .options = judge_options,
					     .ports = pass_ports,
					     .self_size = sizeof(struct sl_list),
					     .ask = nothing };

const struct sl_operator *const sl_operators[] = { &pass, &asks, &judge, &describe, NULL };

#define LOCAL "url: \"http://127.0.0.1:1/v1\""
/* Lines 1 to 3. */
#define JUDGE                                                                                                          \
	TOP "steps:\n  - { name: a, operator: judge, from: pairs.raw, to: { out: x, deferred: d }, judges: [e] }\n"

static void test_defaults(void **state)
{
	struct sl_topology *t = good(JUDGE "endpoints: { e: { " LOCAL ", batch: true }, f: { " LOCAL " } }\n", NULL);
	const struct sl_batching *b = &t->endpoints[0].batching;

	(void)state;
	assert_true(b->on);
	assert_int_equal(b->questions_max, 50000);
	assert_int_equal(b->bytes_max, 100 << 20);
	assert_int_equal(b->wait_ms, 60000);
	assert_int_equal(b->poll_ms, 60000);
	assert_true(b->discount == 0.5);
	assert_false(t->endpoints[1].batching.on);
	assert_int_equal(sl_deferred_port(&judge), 1);
	assert_int_equal(sl_deferred_port(&describe), -1);
	sl_topology_free(t);
}

/* An endpoint that collects is nobody's business but of those who ask it. */
static void test_others_may_be_anything(void **state)
{
	struct sl_topology *t =
		good(TOP "steps:\n"
			 "  - { name: a, operator: describe, from: pairs.raw, to: { out: x }, judges: [f] }\n"
			 "endpoints: { e: { " LOCAL ", batch: true }, f: { " LOCAL ", key: [a, b] } }\n",
		     NULL);

	(void)state;
	sl_topology_free(t);
}

static const struct {
	const char *yaml, *error;
} bad[] = {
	{ JUDGE "endpoints: { e: { batch: 1 } }\n", "some/t.yaml:4:26: 'batch': '1' is not true or false" },
	{ JUDGE "endpoints: { e: { batch_requests: 50001 } }\n",
	  "some/t.yaml:4:35: 'batch_requests': '50001' is out of range: 1 to 50000 calls" },
	{ JUDGE "endpoints: { e: { batch_bytes: 201MiB } }\n",
	  "some/t.yaml:4:32: 'batch_bytes': '201MiB' is out of range: 1KiB to 200MiB" },
	{ JUDGE "endpoints: { e: { batch_discount: 2 } }\n",
	  "some/t.yaml:4:35: 'batch_discount': '2' is out of range: 0 to 1" },
	{ JUDGE "endpoints: { e: { url: [\"http://a/v1\", \"http://b/v1\"], batch: true } }\n",
	  "some/t.yaml:4:63: endpoint 'e' has batch: true and several of 'url' or 'key': a batch is known only to the "
	  "server and the account that it was sent to; make an endpoint of each" },
	{ JUDGE "endpoints: { e: { key: [a, b], batch: true } }\n",
	  "some/t.yaml:4:39: endpoint 'e' has batch: true and several of 'url' or 'key': a batch is known only to the "
	  "server and the account that it was sent to; make an endpoint of each" },
	{ TOP "steps:\n  - { name: a, operator: describe, from: pairs.raw, to: { out: x }, judges: [e] }\n"
	      "endpoints: { e: { batch: true } }\n",
	  "some/t.yaml:3:5: step 'a' cannot ask endpoint 'e', which has batch: true: 'describe' has no port 'deferred' "
	  "for pairs that wait; name an endpoint of its own with batch: false" },
	{ JUDGE "endpoints: { e: { batch: true } }\ntopics: { d: { partitions: 3 } }\n",
	  "some/t.yaml:3:5: step 'a' asks endpoint 'e', which has batch: true, so its pairs wait in topic 'd': that "
	  "must "
	  "be stored and kept, and have as many partitions as 'pairs.raw', 1" },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_others_may_be_anything),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
