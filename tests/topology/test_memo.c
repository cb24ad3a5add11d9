/* test_memo.c -- answers in the store: what a row holds, rows that cannot be read, which go when there are too many or
 * when they are old; and what servers say that a call has used. */
#include "topology/memo.h"

#include "tests/twins.h"
#include "topology/base/log.h"
#include "topology/calls.h"
#include "topology/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { NULL };

static const struct sl_bytes prefix = { "m\0x", 3 };

struct box {
	struct sl_twins *twins;
	int64_t bytes, answers, evicted, oldest_ms;
	size_t used; /* the first so many keys are in use */
	int64_t now_ms;
};

static struct sl_id key(size_t n)
{
	struct sl_id id = { { 0 } };

	id.b[15] = (uint8_t)n;
	return id;
}

static void write_rows(struct box *b, struct sl_writes *w)
{
	struct sl_error e = { 0 };

	assert_true(b->twins->store->ops->write(b->twins->store, &w, 1, true, &e));
	sl_writes_release(w);
}

static void put(struct box *b, size_t n, int64_t stored_ms, const char *body)
{
	const struct sl_memo_answer a = { stored_ms, 7, { 100, 60, 20, 10 }, sl_text(body) };
	const struct sl_id id = key(n);
	struct sl_writes w = { 0 };

	b->bytes += sl_memo_put(&w, prefix, &id, &a);
	b->answers++;
	write_rows(b, &w);
}

static bool has(struct box *b, size_t n, const char *body)
{
	struct sl_buf value = { 0 };
	struct sl_memo_answer a;
	struct sl_error e = { 0 };
	const struct sl_id id = key(n);
	bool found;

	assert_true(sl_memo_get(b->twins->store, prefix, &id, &value, &a, &found, &e));
	if (found) {
		assert_true(sl_bytes_equal(a.body, sl_text(body)));
		assert_int_equal(a.micro_dollars, 7);
		assert_int_equal(a.usage.prompt, 100);
		assert_int_equal(a.usage.cached, 60);
		assert_int_equal(a.usage.completion, 20);
		assert_int_equal(a.usage.reasoning, 10);
	}
	sl_buf_release(&value);
	return found;
}

static bool used(void *arg, const struct sl_id *id)
{
	return id->b[15] < ((struct box *)arg)->used;
}

static void evict(struct box *b, int64_t bytes_max, int64_t age_max_ms, int64_t now_ms)
{
	const struct sl_memo_bounds bounds = { bytes_max, age_max_ms };
	struct sl_writes w = { 0 };
	struct sl_error e = { 0 };

	assert_true(sl_memo_evict(b->twins->store, prefix, &bounds, now_ms, used, b, &w, &b->bytes, &b->answers,
				  &b->evicted, &b->oldest_ms, &e));
	write_rows(b, &w);
}

static size_t rows(struct box *b)
{
	struct sl_store_scan *scan = b->twins->store->ops->scan(b->twins->store, prefix);
	struct sl_bytes k, v;
	struct sl_error e = { 0 };
	size_t n = 0;

	while (b->twins->store->ops->next(scan, &k, &v, &e))
		n++;
	b->twins->store->ops->end(scan);
	return n;
}

static void what_a_row_holds(void **state)
{
	struct box b = { .twins = sl_twins_new(1) };
	struct sl_writes w = { 0 };
	struct sl_buf row = { 0 };
	const struct sl_id damaged = key(2);

	(void)state;
	put(&b, 1, 1000, "{\"a\":1}");
	put(&b, 3, 1000, "");
	assert_true(has(&b, 1, "{\"a\":1}"));
	assert_true(has(&b, 3, ""));
	assert_false(has(&b, 2, ""));
	for (size_t size = 0; size < 60; size += 7) { /* too short, or of another version */
		sl_memo_key(&row, prefix, 'a', &damaged);
		sl_writes_put(&w, sl_buf_bytes(&row),
			      (struct sl_bytes){ "\2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
						 size });
		write_rows(&b, &w);
		assert_false(has(&b, 2, ""));
	}
	sl_buf_release(&row);
	sl_twins_free(b.twins);
}

static void the_oldest_go_first(void **state)
{
	struct box b = { .twins = sl_twins_new(1), .used = 2 };
	int64_t one;

	(void)state;
	for (size_t i = 0; i < 10; i++)
		put(&b, i, 1000 + 10 * (int64_t)(9 - i), "[]"); /* the last is the oldest */
	one = b.bytes / 10;
	evict(&b, 0, 0, 5000);
	assert_int_equal(b.evicted, 0);
	assert_int_equal(b.oldest_ms, 1000);
	evict(&b, 7 * one, 0, 5000);
	assert_int_equal(b.evicted, 3);
	assert_int_equal(b.answers, 7);
	assert_int_equal(b.bytes, 7 * one);
	assert_int_equal(b.oldest_ms, 1030);
	assert_false(has(&b, 9, "[]"));
	assert_false(has(&b, 7, "[]"));
	assert_true(has(&b, 6, "[]"));
	evict(&b, 0, 1000, 2050); /* what is from before 1050 */
	assert_int_equal(b.answers, 5);
	assert_false(has(&b, 5, "[]"));
	assert_true(has(&b, 4, "[]"));
	evict(&b, 1, 0, 5000); /* not what is in use */
	assert_int_equal(b.answers, 2);
	assert_true(has(&b, 0, "[]"));
	assert_true(has(&b, 1, "[]"));
	assert_int_equal(rows(&b), 4);
	b.used = 0;
	evict(&b, 1, 0, 5000);
	assert_int_equal(rows(&b), 0);
	assert_int_equal(b.bytes, 0);
	sl_twins_free(b.twins);
}

/* -- through the calls of a task ------------------------------------------------------------------ */

static struct sl_outcall *last;

static void echo_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	(void)e;
	last = call;
}

static bool keep(void *arg, struct sl_writes *w, struct sl_error *e)
{
	struct box *b = arg;

	return b->twins->store->ops->write(b->twins->store, &w, 1, true, e);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int64_t tick(void *arg)
{
	return ++((struct box *)arg)->now_ms;
}

static void bounded_while_asking(void **state)
{
	static const struct sl_endpoint_ops ops = { .send = echo_send };
	static const struct sl_price price = { "m", 1, 1, 1 };
	struct sl_endpoint endpoint = { .ops = &ops, .name = "echo" };
	struct box b = { .twins = sl_twins_new(1) };
	const struct sl_payer payer = {
		.name = "echo", .model = "m", .endpoint = &endpoint, .price = &price, .share = -1, .share_day = -1
	};
	const struct sl_calls_setup setup = { .store = b.twins->store,
					      .memo = prefix,
					      .keep = keep,
					      .wake = nothing,
					      .arg = &b,
					      .payers = &payer,
					      .payer_count = 1,
					      .share = -1,
					      .share_day = -1,
					      .bounds = { .bytes_max = 2000 },
					      .now_ms = tick };
	struct sl_error e = { 0 };
	struct sl_calls *c = sl_calls_new(&setup, &e);
	struct sl_window *w = sl_window_new();
	struct sl_calls_stats stats;
	struct sl_purse purses[2];

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		char body[16];
		struct sl_call call = { .endpoint = "echo" };
		uint32_t number;

		snprintf(body, sizeof body, "%zu", i % 100);
		call.body = sl_text(body);
		last = NULL;
		assert_true(sl_calls_ask(c, w, 0, true, &call, &number, &e));
		assert_true(sl_calls_admit(c, w, &e));
		if (last)
			last->done(last, &(struct sl_settlement){ .status = 200,
								  .body = sl_text("{\"usage\":{\"prompt_tokens\":5}}"),
								  .attempts = 1 });
		assert_true(sl_calls_settle(c, &e));
		sl_calls_stats(c, &stats, purses);
		assert_true(stats.counts.bytes <= 2400);
		assert_int_equal(sl_calls_answer(w, number).status, 200);
		assert_int_equal(sl_calls_answer(w, number).micro_dollars, 5);
		if (i % 2)
			sl_calls_end(c, w, false);
	}
	sl_calls_end(c, w, false);
	sl_calls_stats(c, &stats, purses);
	assert_int_equal(stats.asked, 200);
	assert_int_equal(stats.hits, 0); /* a hundred others came between */
	assert_int_equal(stats.sent, 200);
	assert_int_equal(stats.evicted + stats.counts.answers, 200);
	assert_true(stats.counts.answers > 5);
	sl_window_free(w);
	sl_calls_free(c);
	sl_twins_free(b.twins);
}

/* An answer that is too old is none, also before it has gone; and its going does not take the new one along. */
static void not_too_old(void **state)
{
	static const struct sl_endpoint_ops ops = { .send = echo_send };
	struct sl_endpoint endpoint = { .ops = &ops, .name = "echo" };
	struct box b = { .twins = sl_twins_new(1), .now_ms = 1000000 };
	const struct sl_payer payer = {
		.name = "echo", .model = "m", .endpoint = &endpoint, .share = -1, .share_day = -1
	};
	const struct sl_calls_setup setup = { .store = b.twins->store,
					      .memo = prefix,
					      .keep = keep,
					      .wake = nothing,
					      .arg = &b,
					      .payers = &payer,
					      .payer_count = 1,
					      .share = -1,
					      .share_day = -1,
					      .bounds = { .age_max_ms = 5000 },
					      .now_ms = tick };
	static const struct {
		int64_t later_ms;
		bool asked;
	} times[] = { { 0, true }, { 1000, false }, { 6000, true }, { 1000, false }, { 1000, false } };
	struct sl_error e = { 0 };
	struct sl_calls *c = sl_calls_new(&setup, &e);
	struct sl_window *w = sl_window_new();

	(void)state;
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		const char *const bodies[] = { "same", "other" }; /* the other one so that something is settled */

		b.now_ms += times[i].later_ms;
		for (size_t k = 0; k < 2; k++) {
			struct sl_call call = { .endpoint = "echo", .body = sl_text(bodies[k]) };
			uint32_t number;

			if (k == 1)
				call.sample = (uint32_t)i;
			last = NULL;
			assert_true(sl_calls_ask(c, w, 0, true, &call, &number, &e));
			assert_true(sl_calls_admit(c, w, &e));
			assert_int_equal(last != NULL, k == 1 || times[i].asked);
			if (last)
				last->done(last, &(struct sl_settlement){
							 .status = 200, .body = sl_text("{}"), .attempts = 1 });
			assert_true(sl_calls_settle(c, &e));
			assert_int_equal(sl_calls_answer(w, number).status, 200);
			sl_calls_end(c, w, false);
		}
	}
	sl_window_free(w);
	sl_calls_free(c);
	sl_twins_free(b.twins);
}

/* -- usage ------------------------------------------------------------------------------------------ */

static void what_servers_say(void **state)
{
	static const struct {
		const char *body;
		bool answer;
		struct sl_usage usage;
	} table[] = {
		{ "{\"usage\":{\"prompt_tokens\":80,\"completion_tokens\":20,\"prompt_tokens_details\":{\"cached_"
		  "tokens\":64},"
		  "\"completion_tokens_details\":{\"reasoning_tokens\":12}}}",
		  true,
		  { 80, 64, 20, 12 } },
		{ "{\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}", true, { 8, 0, 0, 0 } },
		{ "{\"usage\":null,\"error\":null}", true, { 0 } },
		{ "[[0.5,1]]", true, { 0 } },
		{ "{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1e99}}", true, { 0 } },
		{ "{\"usage\":{\"prompt_tokens\":\"9\",\"completion_tokens\":9000000000000}}", true, { 0 } },
		{ "{\"usage\":{\"prompt_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":6}}}",
		  true,
		  { 5, 5, 0, 0 } },
		{ "{\"usage\":[1,2]}", true, { 0 } },
		{ "{\"error\":{\"message\":\"no\"},\"usage\":{\"prompt_tokens\":5}}", false, { 5, 0, 0, 0 } },
		{ "<html>sign in</html>", false, { 0 } },
		{ "{\"choices\":[{\"mess", false, { 0 } },
		{ "\"yes\"", false, { 0 } },
		{ "", false, { 0 } },
		{ "\xff\xfe", false, { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct sl_usage u;

		assert_int_equal(sl_usage_read(sl_text(table[i].body), &u), table[i].answer);
		assert_memory_equal(&u, &table[i].usage, sizeof u);
	}
	assert_false(sl_usage_read((struct sl_bytes){ NULL, 0 }, &(struct sl_usage){ 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_row_holds),     cmocka_unit_test(the_oldest_go_first),
		cmocka_unit_test(bounded_while_asking), cmocka_unit_test(not_too_old),
		cmocka_unit_test(what_servers_say),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
