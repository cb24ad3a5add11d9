/* annotate with judges that answer in batches (court.h): what is parked, what comes back, and that in the end it is the
 * same as if they had been asked call by call. */
#include "courtroom.h"

#include "schemas/json.h"

#include "topology/base/log.h"

#define FILES 32

/* -- a server of batches, beside the court ------------------------------------------------------ */

static struct {
	struct sl_buf files[FILES], answers[FILES];
	size_t file_count, batch_count;
	char names[FILES][SL_ID_HEX_SIZE]; /* of batches, as the client calls them */
	size_t lines;                      /* in batches */
	struct sl_outcall *open[8];
	size_t open_count;
	bool closed; /* nothing is done yet */
} bureau;

static void bureau_forget(void)
{
	for (size_t i = 0; i < FILES; i++) {
		sl_buf_release(&bureau.files[i]);
		sl_buf_release(&bureau.answers[i]);
	}
	memset(&bureau, 0, sizeof bureau);
}

/* One line of a file, as the court answers it. */
static void work(json_t *line, struct sl_buf *to)
{
	static struct bench nobody = { .base.name = "batch" };
	struct sl_buf body = { 0 };
	struct sl_outcall call = { .path = "/chat/completions",
				   .model =
					   json_string_value(json_object_get(json_object_get(line, "body"), "model")) };
	json_t *answer, *response;
	struct question q;
	char *text = NULL, *whole;
	int status;

	sl_json_value(&body, json_object_get(line, "body"), false);
	call.body = sl_buf_bytes(&body);
	q = read_question(&nobody, &call);
	status = answer_of(&q, &text);
	answer = json_loads(text, JSON_DECODE_ANY, NULL);
	response = json_pack("{s:O, s:{s:i, s:o}}", "custom_id", json_object_get(line, "custom_id"), "response",
			     "status_code", status, "body", answer ? answer : json_string(text));
	whole = json_dumps(response, JSON_COMPACT);
	sl_buf_print(to, "%s\n", whole);
	free(whole);
	json_decref(response);
	free(text);
	free_question(&q);
	sl_buf_release(&body);
	bureau.lines++;
}

static void make_batch(const struct sl_outcall *call)
{
	json_t *body = json_loadb(call->body.data, call->body.size, 0, NULL);
	size_t file = FILES, at = 0, batch = bureau.batch_count++;

	assert_int_equal(sscanf(json_string_value(json_object_get(body, "input_file_id")), "f%zu", &file), 1);
	assert_true(file < bureau.file_count && batch < FILES);
	snprintf(bureau.names[batch], sizeof bureau.names[batch], "%s",
		 json_string_value(json_object_get(json_object_get(body, "metadata"), "sluice")));
	while (at < bureau.files[file].size) {
		const char *line = (const char *)bureau.files[file].data + at;
		size_t size = (size_t)((const char *)memchr(line, '\n', bureau.files[file].size - at) - line);
		json_t *question = json_loadb(line, size, 0, NULL);

		assert_non_null(question);
		work(question, &bureau.answers[batch]);
		json_decref(question);
		at += size + 1;
	}
	json_decref(body);
}

static void serve(struct sl_outcall *call)
{
	static const char mark[] = "\r\n--" SL_FORM_BOUNDARY "--";
	struct sl_settlement s = { .status = 200, .attempts = 1 };
	struct sl_buf reply = { 0 };
	size_t i = 0;

	if (strcmp(call->path, "/files") == 0) {
		const char *from = memmem(call->body.data, call->body.size, "{\"custom_id\"", 12);
		const char *end = memmem(call->body.data, call->body.size, mark, strlen(mark));

		assert_true(from && end && bureau.file_count < FILES);
		sl_buf_add(&bureau.files[bureau.file_count], from, (size_t)(end - from));
		sl_buf_print(&reply, "{\"id\":\"f%zu\"}", bureau.file_count++);
	} else if (strcmp(call->path, "/batches") == 0) {
		make_batch(call);
		sl_buf_print(&reply, "{\"id\":\"b%zu\",\"status\":\"validating\"}", bureau.batch_count - 1);
	} else if (strncmp(call->path, "/batches?", 9) == 0) {
		sl_buf_print(&reply, "{\"data\":[");
		for (; i < bureau.batch_count; i++)
			sl_buf_print(&reply,
				     "%s{\"id\":\"b%zu\",\"status\":\"validating\",\"metadata\":{\"sluice\":\"%s\"}}",
				     i ? "," : "", i, bureau.names[i]);
		sl_buf_print(&reply, "]}");
	} else if (sscanf(call->path, "/batches/b%zu", &i) == 1) {
		sl_buf_print(&reply, "{\"id\":\"b%zu\",\"status\":\"completed\",\"output_file_id\":\"a%zu\"}", i, i);
	} else {
		assert_int_equal(sscanf(call->path, "/files/a%zu", &i), 1);
		sl_buf_add_bytes(&reply, sl_buf_bytes(&bureau.answers[i]));
	}
	s.body = sl_buf_bytes(&reply);
	call->done(call, &s);
	sl_buf_release(&reply);
}

static void bureau_send(struct sl_endpoint *endpoint, struct sl_outcall *call)
{
	if (!call->plain) {
		court_send(endpoint, call);
		return;
	}
	assert_true(bureau.open_count < sizeof bureau.open / sizeof bureau.open[0]);
	bureau.open[bureau.open_count++] = call;
}

static void bureau_turn(void)
{
	while (!bureau.closed && bureau.open_count)
		serve(bureau.open[--bureau.open_count]);
}

static void bureau_hang_up(struct sl_endpoint *endpoint)
{
	const struct sl_settlement s = { .status = SL_AWAY, .why = "closing" };

	while (bureau.open_count) {
		struct sl_outcall *call = bureau.open[--bureau.open_count];

		call->done(call, &s);
	}
	court_hang_up(endpoint);
}

static struct sl_endpoint *bureau_endpoint(void *arg, const struct sl_endpoint_def *def)
{
	static const struct sl_endpoint_ops ops = { .send = bureau_send, .free = bureau_hang_up };
	struct sl_endpoint *e = court_endpoint(arg, def);

	if (e)
		e->ops = &ops;
	return e;
}

/* -- a trial that is played until nothing is parked ------------------------------------------------ */

static void open_batches(struct fixture *f, const char *sets)
{
	struct sl_trial_case c = { .yaml = yaml, .endpoint = bureau_endpoint, .world = court_turn, .arg = &f->court };
	const char *list[16] = { "endpoints.a.batch_wait=0", "endpoints.a.batch_poll=1ms", "endpoints.b.batch_wait=0",
				 "endpoints.b.batch_poll=1ms" };

	close_trial(f);
	bureau_forget();
	c.set_count = 4;
	for (char *copy = sl_arena_print(&f->a, "%s", sets), *word; (word = strsep(&copy, " "));)
		list[c.set_count++] = word;
	c.sets = list;
	f->t = sl_trial_case_new(&c, NULL);
}

static void feed(struct fixture *f, const struct sl_pair *p)
{
	assert_true(sl_trial_feed(f->t, "pairs.unique", p, 1));
	assert_int_equal(sl_trial_play(f->t, 0), SL_TRIAL_IDLE);
}

/* Until so many are in the topic. A look every millisecond of the wall clock is due at some turn. */
static void play_until(struct fixture *f, const char *topic, size_t n)
{
	for (int i = 0; i < 200000 && count(f, topic) < n; i++) {
		bureau_turn();
		assert_int_equal(sl_trial_play(f->t, 0), SL_TRIAL_IDLE);
	}
	assert_int_equal(count(f, topic), n);
}

static size_t times(const struct sl_pair *p, const char *reason)
{
	size_t n = 0;

	for (size_t i = 0; i < p->trail_count; i++)
		n += sl_bytes_begins(p->trail[i].reason, sl_text(reason));
	return n;
}

/* -- what is parked comes back ---------------------------------------------------------------------- */

static void as_call_by_call(void **state)
{
	static const struct {
		const char *prompt, *sets, *code;
		size_t rounds, lines;
	} rows[] = {
		{ "sum", "endpoints.a.batch=true", "chosen", 1, 1 },
		{ "sum", "endpoints.a.batch=true annotate.order=both", "chosen", 1, 2 },
		{ "sum MUMBLE", "endpoints.a.batch=true", "chosen", 2, 2 },
		{ "sum BABBLE", "endpoints.a.batch=true", "gave_up", 2, 2 },
		{ "sum REFUSE", "endpoints.a.batch=true", "gave_up", 1, 1 },
		{ "sum TOOLONG", "endpoints.a.batch=true", "gave_up", 1, 1 },
		{ "sum BROKEN", "endpoints.a.batch=true endpoints.a.retries=2", "gave_up", 1, 3 },
		{ "sum", "endpoints.a.batch=true annotate.attributes=missing", "chosen", 2, 2 },
		{ "sum", "endpoints.a.batch=true annotate.without_judge=nearest", "chosen", 1, 1 },
		{ "sum DUNNO", "endpoints.b.batch=true annotate.second=b", "undecidable", 1, 1 },
		{ "sum DUNNO", "endpoints.a.batch=true endpoints.b.batch=true annotate.second=b", "undecidable", 2, 2 },
		{ "sum", "endpoints.a.batch=true endpoints.b.batch=true annotate.judges=a,b annotate.order=both",
		  "chosen", 1, 4 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sl_pair p = asked_pair(&f->a, rows[i].prompt, "good", "bad"), *out, *plain;

		open_batches(f, rows[i].sets);
		feed(f, &p);
		out = find_pair(f->t, "pairs.deferred", p.id, &f->a);
		if (!out)
			fail_msg("row %zu: it is not deferred", i);
		expect_code(out, "parked");
		assert_int_equal(count(f, "pairs.judged"), 0);
		play_until(f, "pairs.judged", 1);
		out = find_pair(f->t, "pairs.judged", p.id, &f->a);
		expect_code(out, rows[i].code);
		if (times(out, "parked:") != rows[i].rounds || times(out, "replay:") != rows[i].rounds ||
		    bureau.lines != rows[i].lines)
			fail_msg("row %zu: parked %zu times, back %zu times, %zu lines", i, times(out, "parked:"),
				 times(out, "replay:"), bureau.lines);
		assert_int_equal(count(f, "pairs.deferred"), rows[i].rounds);
		/* nothing more comes of it */
		for (int k = 0; k < 50; k++) {
			bureau_turn();
			assert_int_equal(sl_trial_play(f->t, 0), SL_TRIAL_IDLE);
		}
		assert_int_equal(count(f, "pairs.judged"), 1);
		/* call by call */
		open_trial(f, strstr(rows[i].sets, "annotate.") ? strstr(rows[i].sets, "annotate.") : "");
		plain = play(f, &p, "pairs.judged");
		expect_code(plain, rows[i].code);
		assert_int_equal(plain->judgement.vote_count, out->judgement.vote_count);
		for (size_t k = 0; k < out->judgement.vote_count; k++) {
			const struct sl_vote *vote = &out->judgement.votes[k], *other = &plain->judgement.votes[k];
			bool in_batch;

			assert_true(sl_bytes_equal(vote->judge, other->judge));
			assert_true(sl_bytes_equal(vote->verdict, other->verdict));
			assert_true(sl_bytes_equal(vote->outcome, other->outcome));
			assert_int_equal(vote->tokens, other->tokens);
			in_batch = strstr(rows[i].sets, sl_is(vote->judge, "a/m-a") ? "a.batch" : "b.batch") != NULL;
			assert_int_equal((in_batch ? 2 : 1) * vote->micro_dollars,
					 other->micro_dollars); /* half the price */
		}
	}
	close_trial(f);
	bureau_forget();
}

/* Many pairs, some of which ask the same: a question is put once, each pair comes back once. */
static void each_once(void **state)
{
	struct fixture *f = *state;
	struct sl_pair *judged;

	open_batches(f, "endpoints.a.batch=true");
	for (int i = 0; i < 30; i++) {
		struct sl_pair p = asked_pair(&f->a, sl_arena_print(&f->a, "sum %d", i), "good", "bad");

		feed(f, &p);
	}
	play_until(f, "pairs.judged", 30);
	assert_int_equal(sl_trial_read(f->t, "pairs.judged", &f->a, &judged), 30);
	for (size_t i = 0; i < 30; i++)
		for (size_t k = 0; k < i; k++)
			assert_false(sl_id_equal(judged[i].id, judged[k].id));
	assert_int_equal(bureau.lines, 30);
	assert_int_equal(count(f, "pairs.deferred"), 30);
	close_trial(f);
	bureau_forget();
}

/* The machine stops at an operation of the disk or the store, and goes on. False: it did not come so far. */
static bool stops_at(struct fixture *f, int64_t at, enum sl_twin_end how)
{
	struct sl_pair pairs[4], *judged;
	bool died = false, fed = false;

	open_batches(f, "endpoints.a.batch=true");
	for (int i = 0; i < 4; i++)
		pairs[i] = asked_pair(&f->a, sl_arena_print(&f->a, i ? "sum %d" : "sum MUMBLE", i), "good", "bad");
	f->t->twins->seed = (uint64_t)at | 1;
	f->t->twins->operations = 0;
	f->t->twins->die_at = at;
	for (int i = 0; i < 200000 && (!fed || count(f, "pairs.judged") < 4); i++) {
		enum sl_trial_end end;

		fed = fed || sl_trial_feed(f->t, "pairs.unique", pairs, 4);
		bureau_turn();
		end = sl_trial_play(f->t, 0);
		if (f->t->twins->dead) {
			died = true;
			assert_true(sl_trial_restart(f->t, how));
			fed = count(f, "pairs.unique") == 4; /* a commit: all of them or none */
		} else {
			assert_int_equal(end, SL_TRIAL_IDLE);
		}
	}
	for (int i = 0; i < 20; i++) {
		bureau_turn();
		(void)sl_trial_play(f->t, 0);
	}
	if (sl_trial_read(f->t, "pairs.judged", &f->a, &judged) != 4)
		fail_msg("stopped at %d, %d: %zu pairs are judged", (int)at, how, count(f, "pairs.judged"));
	for (size_t i = 0; i < 4; i++) {
		expect_code(&judged[i], "chosen");
		for (size_t k = 0; k < i; k++)
			assert_false(sl_id_equal(judged[i].id, judged[k].id));
	}
	if (bureau.lines != 5)
		fail_msg("stopped at %d, %d: %zu lines in batches", (int)at, how, bureau.lines);
	sl_arena_clear(&f->a);
	return died;
}

static void stopped_anywhere(void **state)
{
	struct fixture *f = *state;
	int64_t at = 1;

	while (stops_at(f, at, at % 2 ? SL_TWIN_KILL : SL_TWIN_POWER))
		at++;
	if (at < 30)
		fail_msg("there are only %d operations", (int)at);
	close_trial(f);
	bureau_forget();
}

/* Enough is enough. */
static void parked_too_often(void **state)
{
	struct fixture *f = *state;
	struct sl_pair p = asked_pair(&f->a, "sum", "good", "bad");
	struct sl_trail *trail = sl_arena_zalloc(&f->a, 8 * sizeof *trail);

	for (size_t i = 0; i < 8; i++)
		trail[i] = (struct sl_trail){ .step = sl_text("annotate"), .reason = sl_text("parked: by somebody") };
	p.trail = trail;
	p.trail_count = 8;
	open_batches(f, "endpoints.a.batch=true");
	feed(f, &p);
	assert_int_equal(count(f, "pairs.deferred") + count(f, "pairs.judged"), 0);
	assert_int_equal(count(f, "dead.annotate"), 1);
	close_trial(f);
	bureau_forget();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		COURT_TEST(as_call_by_call),
		COURT_TEST(each_once),
		COURT_TEST(stopped_anywhere),
		COURT_TEST(parked_too_often),
	};

	sl_log_level_set(SL_LOG_STOP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
