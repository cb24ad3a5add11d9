/* test_batches.c -- questions that wait for a batch, against a server that is an object: what becomes of each, what it
 * costs, and that a death at any moment (before and after every write, before and after every request) submits nothing
 * twice and loses nothing. */
#include "topology/batches.h"

#include "schemas/json.h"
#include "tests/actors.h"
#include "tests/trial.h"
#include "topology/base/log.h"
#include "topology/memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ID_LINES 64
const struct sl_operator *const sl_operators[] = { NULL };

/* -- the server, which survives everything -------------------------------------------------- */

struct sent_batch {
	char ours[SL_ID_HEX_SIZE];
	struct sl_buf lines; /* of its file */
	int polls;
	bool ended, forgotten;
	struct sl_buf output, errors;
};

struct lines {
	struct sl_id key;
	int times; /* in a batch that was made */
};

struct world {
	struct sl_endpoint base;
	struct sl_store *store;
	struct sl_outcall *call[16];
	size_t calls;
	struct sl_buf files[ID_LINES];
	size_t file_count;
	struct sent_batch batches[ID_LINES];
	size_t batch_count;
	struct lines seen[ID_LINES];
	size_t seen_count;
	int64_t now_ms;
	size_t uploads;
	/* how it behaves */
	bool cut_creates;    /* the answer to a made batch is lost */
	int fail_batches;    /* so many batches fail as a whole */
	int forget_batches;  /* so many are not known any more when they are asked about */
	bool refuse_creates; /* 400, once */
	const char *ending;  /* of all batches; completed */
	/* when the client dies: at this event, counted from 1; 0: never */
	int die_at, events;
	bool dead;
	bool heard[8]; /* questions whose answer was used, as if it were committed */
};

static bool dies(struct world *w)
{
	if (w->dead)
		return true;
	w->dead = w->die_at && ++w->events == w->die_at;
	return w->dead;
}

static void count_line(struct world *w, const struct sl_id *key)
{
	for (size_t i = 0; i < w->seen_count; i++)
		if (sl_id_equal(w->seen[i].key, *key)) {
			w->seen[i].times++;
			return;
		}
	assert_true(w->seen_count < ID_LINES);
	w->seen[w->seen_count++] = (struct lines){ *key, 1 };
}

/* "fail" twice 500, then well; "never" always 500; "bad" 400; "odd" is no JSON object; else an answer that says the
 * question. */
static void answer(struct sent_batch *b, const json_t *line, int times, bool late)
{
	const char *custom = json_string_value(json_object_get(line, "custom_id"));
	const char *q = json_string_value(json_object_get(json_object_get(line, "body"), "q"));

	assert_non_null(custom);
	assert_non_null(q);
	assert_string_equal(json_string_value(json_object_get(line, "url")), "/v1/chat/completions");
	assert_string_equal(json_string_value(json_object_get(line, "method")), "POST");
	if (late)
		sl_buf_print(&b->errors,
			     "{\"custom_id\":\"%s\",\"response\":null,\"error\":{\"code\":\"batch_expired\"}}\n",
			     custom);
	else if ((strncmp(q, "fail", 4) == 0 && times < 3) || strncmp(q, "never", 5) == 0)
		sl_buf_print(
			&b->errors,
			"{\"custom_id\":\"%s\",\"response\":{\"status_code\":500,\"body\":{\"error\":{\"message\":\"no "
			"luck\"}}},\"error\":null}\n",
			custom);
	else if (strncmp(q, "bad", 3) == 0)
		sl_buf_print(&b->errors,
			     "{\"custom_id\":\"%s\",\"response\":{\"status_code\":400,\"body\":{\"error\":{\"message\":"
			     "\"bad "
			     "question\"}}},\"error\":null}\n",
			     custom);
	else if (strncmp(q, "odd", 3) == 0)
		sl_buf_print(&b->output,
			     "{\"custom_id\":\"%s\",\"response\":{\"status_code\":200,\"body\":\"a page\"}}\n", custom);
	else
		sl_buf_print(
			&b->output,
			"{\"custom_id\":\"%s\",\"response\":{\"status_code\":200,\"body\":{\"a\":\"%s\",\"usage\":{"
			"\"prompt_tokens\":10,\"completion_tokens\":3}}}}\n",
			custom, q);
}

static const char *status_of(struct world *w, struct sent_batch *b)
{
	const char *text;
	size_t at = 0;

	if (b->polls++ < 1)
		return "in_progress";
	if (!b->ended && w->fail_batches > 0) {
		w->fail_batches--;
		sl_buf_clear(&b->lines);
		b->ended = true;
		return "failed";
	}
	text = (const char *)b->lines.data;
	while (!b->ended && at < b->lines.size) {
		const char *nl = memchr(text + at, '\n', b->lines.size - at);
		json_t *line = json_loadb(text + at, (size_t)(nl - (text + at)), 0, NULL);
		struct sl_id key;
		int times = 0;

		assert_non_null(line);
		assert_true(sl_id_parse(sl_json_bytes(json_object_get(line, "custom_id")), &key));
		for (size_t i = 0; i < w->seen_count; i++)
			if (sl_id_equal(w->seen[i].key, key))
				times = w->seen[i].times;
		answer(b, line, times, strcmp(w->ending, "expired") == 0 && times < 2);
		json_decref(line);
		at = (size_t)(nl - text) + 1;
	}
	if (b->lines.size == 0)
		return "failed";
	b->ended = true;
	return w->ending;
}

static void batch_json(struct world *w, size_t i, const char *status, struct sl_buf *to)
{
	struct sent_batch *b = &w->batches[i];

	sl_buf_print(to, "{\"id\":\"batch_%zu\",\"status\":\"%s\",\"metadata\":{\"sluice\":\"%s\"}", i, status,
		     b->ours);
	if (b->output.size)
		sl_buf_print(to, ",\"output_file_id\":\"out-%zu\"", i);
	if (b->errors.size)
		sl_buf_print(to, ",\"error_file_id\":\"err-%zu\"", i);
	if (strcmp(status, "failed") == 0)
		sl_buf_print(to, ",\"errors\":{\"data\":[{\"code\":\"token_limit_exceeded\",\"message\":\"later\"}]}");
	sl_buf_add_byte(to, '}');
}

static void create(struct world *w, const struct sl_outcall *call)
{
	json_t *body = json_loadb(call->body.data, call->body.size, 0, NULL);
	struct sent_batch *b = &w->batches[w->batch_count++];
	size_t file = (size_t)-1, at = 0;

	assert_true(call->once);
	assert_int_equal(sscanf(json_string_value(json_object_get(body, "input_file_id")), "file-%zu", &file), 1);
	assert_true(file < w->file_count && w->batch_count <= ID_LINES);
	assert_string_equal(json_string_value(json_object_get(body, "completion_window")), "24h");
	snprintf(b->ours, sizeof b->ours, "%s",
		 json_string_value(json_object_get(json_object_get(body, "metadata"), "sluice")));
	sl_buf_add_bytes(&b->lines, sl_buf_bytes(&w->files[file]));
	while (at < b->lines.size) {
		const char *line = (const char *)b->lines.data + at;
		struct sl_id key;

		assert_true(sl_id_parse((struct sl_bytes){ line + 14, 32 }, &key));
		count_line(w, &key);
		at += (size_t)((const char *)memchr(line, '\n', b->lines.size - at) - line) + 1;
	}
	json_decref(body);
}

/* What the request comes to. */
static int serve(struct world *w, const struct sl_outcall *call, struct sl_buf *to)
{
	size_t i = 0;

	assert_true(call->plain);
	if (strcmp(call->path, "/files") == 0) {
		const char *text = call->body.data, *from = strstr(text, "{\"custom_id\""), *end;

		assert_true(call->form);
		assert_non_null(from);
		end = memmem(from, call->body.size - (size_t)(from - text), "\r\n--", 4);
		assert_non_null(end);
		assert_true(w->file_count < ID_LINES);
		sl_buf_add(&w->files[w->file_count], from, (size_t)(end - from));
		sl_buf_print(to, "{\"id\":\"file-%zu\"}", w->file_count++);
		w->uploads++;
	} else if (strcmp(call->path, "/batches") == 0) {
		if (w->refuse_creates) {
			w->refuse_creates = false;
			return 400;
		}
		create(w, call);
		batch_json(w, w->batch_count - 1, "validating", to);
		return w->cut_creates ? SL_GAVE_UP : 200;
	} else if (strncmp(call->path, "/batches?", 9) == 0) {
		sl_buf_print(to, "{\"data\":[");
		for (i = w->batch_count; i-- > 0;) {
			batch_json(w, i, "in_progress", to);
			sl_buf_print(to, i ? "," : "");
		}
		sl_buf_print(to, "],\"has_more\":false}");
	} else if (sscanf(call->path, "/batches/batch_%zu", &i) == 1) {
		const char *status;

		if (w->forget_batches > 0 && !w->batches[i].forgotten) {
			w->forget_batches--;
			w->batches[i].forgotten = true;
		}
		if (w->batches[i].forgotten)
			return 404;
		status = status_of(w, &w->batches[i]);
		batch_json(w, i, status, to);
	} else if (sscanf(call->path, "/files/out-%zu", &i) == 1) {
		sl_buf_add_bytes(to, sl_buf_bytes(&w->batches[i].output));
	} else if (sscanf(call->path, "/files/err-%zu", &i) == 1) {
		sl_buf_add_bytes(to, sl_buf_bytes(&w->batches[i].errors));
	} else {
		fail_msg("what is '%s'?", call->path);
	}
	return 200;
}

static void world_send(struct sl_endpoint *e, struct sl_outcall *call)
{
	struct world *w = (struct world *)e;

	assert_true(w->calls < 16);
	w->call[w->calls++] = call;
}

static const struct sl_endpoint_ops world_ops = { .send = world_send };

/* Answers what was sent. Dead: nobody hears it; a request that the death came behind was served. */
static void answer_all(struct world *w)
{
	struct sl_outcall *calls[16];
	size_t count = w->calls;

	memcpy(calls, w->call, sizeof calls);
	w->calls = 0;
	for (size_t i = 0; i < count; i++) {
		struct sl_settlement reply = { .status = SL_AWAY };
		struct sl_buf body = { 0 };

		if (!dies(w)) {
			reply.status = serve(w, calls[i], &body);
			reply.attempts = 1;
			reply.body = sl_buf_bytes(&body);
			if (dies(w))
				reply = (struct sl_settlement){ .status = SL_AWAY };
		}
		calls[i]->done(calls[i], &reply);
		sl_buf_release(&body);
	}
}

/* -- the client ------------------------------------------------------------------------------- */

static bool keep(void *arg, struct sl_writes *rows, struct sl_error *e)
{
	struct world *w = arg;

	if (dies(w))
		return sl_error_set(e, SL_RETRY, "dead");
	return w->store->ops->write(w->store, &rows, 1, true, e) &&
	       (!dies(w) || sl_error_set(e, SL_RETRY, "dead, but it is written"));
}

static void wake(void *arg)
{
	(void)arg;
}

static int64_t now(void *arg)
{
	return ((struct world *)arg)->now_ms;
}

static const struct sl_price price = { .model = "m", .prompt = 2, .cached = 2, .completion = 4 };
static const struct sl_batching batching = {
	.on = true, .questions_max = 4, .bytes_max = 1 << 20, .wait_ms = 500, .poll_ms = 100, .discount = 0.5
};
static const struct sl_payer payer = { .name = "x",
				       .model = "m",
				       .price = &price,
				       .retries = 2,
				       .share = 1000000,
				       .share_day = -1,
				       .batching = &batching };

static struct sl_calls *client(struct world *w, struct sl_error *e)
{
	struct sl_payer p = payer;
	const struct sl_calls_setup setup = { .store = w->store,
					      .memo = sl_text("memo"),
					      .keep = keep,
					      .wake = wake,
					      .arg = w,
					      .payers = &p,
					      .payer_count = 1,
					      .share = -1,
					      .share_day = -1,
					      .now_ms = now };

	p.endpoint = &w->base;
	return sl_calls_new(&setup, e);
}

/* A question as a step puts it; its answer now. */
static struct sl_answer ask(struct sl_calls *c, struct sl_window *w, const char *q, bool *done, struct sl_error *e)
{
	char body[80];
	const struct sl_call call = { .endpoint = "x", .body = { body, 0 }, .tokens_max = 8 };
	struct sl_call with = call;
	uint32_t number;

	with.body.size = (size_t)snprintf(body, sizeof body, "{\"q\":\n\"%s\"}", q);
	*done = sl_calls_ask(c, w, 0, true, &with, &number, e) && sl_calls_admit(c, w, e);
	return *done ? sl_calls_answer(w, number) : (struct sl_answer){ 0 };
}

#define QUESTIONS 6
struct script {
	const char *name;
	const char *questions[QUESTIONS];
	int status[QUESTIONS]; /* of the answer in the end */
	int times;             /* that a question is submitted, at most */
	const char *ending;
	bool cut_creates, refuse_creates;
	int fail_batches, forget_batches;
};

#define SIX                                                                                                            \
	{                                                                                                              \
		"a", "b", "c", "d", "e", "f"                                                                           \
	}
#define WELL                                                                                                           \
	{                                                                                                              \
		200, 200, 200, 200, 200, 200                                                                           \
	}
static const struct script scripts[] = {
	{ .name = "all well", .questions = SIX, .status = WELL, .times = 1, .ending = "completed" },
	{ .name = "lines that fail",
	  .questions = { "a", "fail-b", "bad-c", "never-d", "e", "odd-f" },
	  .status = { 200, 200, 400, SL_GAVE_UP, 200, 200 },
	  .times = 3,
	  .ending = "completed" },
	{ .name = "expired once", .questions = SIX, .status = WELL, .times = 2, .ending = "expired" },
	{ .name = "cancelled", .questions = SIX, .status = WELL, .times = 1, .ending = "cancelled" },
	{ .name = "made, but nobody says so",
	  .questions = SIX,
	  .status = WELL,
	  .times = 1,
	  .ending = "completed",
	  .cut_creates = true },
	{ .name = "refused, then made",
	  .questions = { "a", "b" },
	  .status = WELL,
	  .times = 1,
	  .ending = "completed",
	  .refuse_creates = true },
	{ .name = "failed as a whole",
	  .questions = { "a", "b", "c" },
	  .status = WELL,
	  .times = 3,
	  .ending = "completed",
	  .fail_batches = 2 },
	{ .name = "forgotten",
	  .questions = { "a", "b", "c" },
	  .status = WELL,
	  .times = 2,
	  .ending = "completed",
	  .forget_batches = 1 },
};

/* The client lives until the script is done (true) or it dies. */
static bool live(struct world *w, const struct script *s)
{
	struct sl_error e = { 0 };
	struct sl_calls *c = client(w, &e);
	struct sl_window *window = sl_window_new();
	struct sl_calls_stats stats;
	struct sl_purse purses[2];
	bool over = false, done = c != NULL;

	for (int i = 0; done && !over && !w->dead; i++) {
		int64_t next_ms;
		bool settled;

		if (i > 300)
			fail_msg("%s: it does not end", s->name);
		w->now_ms += 60;
		over = true;
		for (size_t k = 0; done && k < QUESTIONS && s->questions[k]; k++) {
			struct sl_answer a;

			if (w->heard[k])
				continue;
			a = ask(c, window, s->questions[k], &done, &e);
			over &= done && a.status != SL_PARKED;
			if (!done || a.status == SL_PARKED)
				continue;
			if (a.status != s->status[k])
				fail_msg("%s, death at %d: '%s' is %d: %s", s->name, w->die_at, s->questions[k],
					 a.status, a.why);
			if (a.status == 200 && strncmp(s->questions[k], "odd", 3) != 0)
				assert_non_null(
					memmem(a.body.data, a.body.size, s->questions[k], strlen(s->questions[k])));
			w->heard[k] = true;
		}
		if (over)
			break;
		done = done && sl_calls_batches(c, false, &next_ms, &settled, &e);
		answer_all(w);
		sl_calls_end(c, window, false);
	}
	if (!done && !w->dead)
		fail_msg("%s: %s", s->name, e.text);
	if (over && !w->dead) {
		sl_calls_stats(c, &stats, purses);
		assert_int_equal(stats.parked, 0);
		assert_int_equal(purses[0].held, 0);
		assert_int_equal(purses[1].held, 0);
		assert_int_equal(stats.counts.repeated, 0);
	}
	answer_all(w);
	if (c)
		sl_calls_end(c, window, false);
	sl_window_free(window);
	sl_calls_free(c);
	return over && !w->dead;
}

static void run_script(const struct script *s, int die_at, int and_again, int *events)
{
	struct sl_twins *twins = sl_twins_new(1);
	struct world w = { .base.ops = &world_ops,
			   .store = twins->store,
			   .now_ms = 1000,
			   .ending = s->ending,
			   .cut_creates = s->cut_creates,
			   .refuse_creates = s->refuse_creates,
			   .fail_batches = s->fail_batches,
			   .forget_batches = s->forget_batches,
			   .die_at = die_at };
	int64_t paid = 0, most = sl_price_part(10 * 2 + 3 * 4, 0.5);
	struct sl_error e = { 0 };
	struct sl_purse purses[2];
	struct sl_calls_stats stats;
	struct sl_calls *c;
	bool over = live(&w, s);

	for (int lives = 0; !over; lives++) {
		assert_true(lives < 3);
		w.dead = false;
		w.events = 0;
		w.die_at = lives == 0 ? and_again : 0;
		over = live(&w, s);
	}
	*events = w.events;
	for (size_t i = 0; i < w.seen_count; i++)
		if (w.seen[i].times > s->times)
			fail_msg("%s, death at %d: a question was submitted %d times", s->name, die_at,
				 w.seen[i].times);
	for (size_t k = 0; k < QUESTIONS && s->questions[k]; k++)
		paid += s->status[k] == 200 && strncmp(s->questions[k], "odd", 3) != 0 ? most : 0;
	c = client(&w, &e);
	assert_non_null(c);
	sl_calls_stats(c, &stats, purses);
	sl_calls_free(c);
	if (s->forget_batches == 0 && strcmp(s->name, "lines that fail") != 0)
		assert_int_equal(purses[0].spent, paid);
	else /* what is no answer, or gone, is paid as if all had been used */
		assert_true(purses[0].spent > paid);
	for (size_t i = 0; i < ID_LINES; i++) {
		sl_buf_release(&w.files[i]);
		sl_buf_release(&w.batches[i].lines);
		sl_buf_release(&w.batches[i].output);
		sl_buf_release(&w.batches[i].errors);
	}
	sl_twins_free(twins);
}

static void every_question_has_its_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
		int events;

		run_script(&scripts[i], 0, 0, &events);
	}
}

/* Events are counted from the first death on anew, so the last of the first life's are found by going on until it
 * lives. */
static void death_at_any_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
		for (int at = 1; at < 160; at++) {
			int events;

			run_script(&scripts[i], at, 0, &events);
		}
}

static void death_and_death_again(void **state)
{
	(void)state;
	for (int at = 1; at < 60; at++)
		for (int then = 1; then < 30; then += 3) {
			int events;

			run_script(&scripts[at % 2 ? 0 : 4], at, then, &events);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_question_has_its_end),
		cmocka_unit_test(death_at_any_moment),
		cmocka_unit_test(death_and_death_again),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
