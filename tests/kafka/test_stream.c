/* test_stream.c -- the Kafka stream from above: whose folder it is, appends and what comes back, ingest from two
 * processes, guards, brokers that are not there. What units send: test_stream_units.c. */
#include "with_stream.h"

/* -- whose folder ------------------------------------------------------------------------- */

static void a_folder_belongs_to_one_application(void **unused)
{
	struct world w;
	struct sl_error e;
	char uuid[37], *prefix;
	const char *was;

	(void)unused;
	open_world(&w, 1);
	memcpy(uuid, w.rts[0]->kafka->uuid, sizeof uuid);
	assert_int_equal(strlen(uuid), 36);
	sl_runtime_close(w.rts[0]);
	must(open_process(&w, 0, &e) != NULL, &e);
	assert_string_equal(w.rts[0]->kafka->uuid, uuid);
	sl_runtime_close(w.rts[0]);
	was = w.topology->kafka.prefix;
	prefix = sl_arena_print(&w.topology->arena, "%sother.", was);
	w.topology->kafka.prefix = prefix;
	assert_null(open_process(&w, 0, &e));
	says(&e, SL_STOP, "belongs to application");
	assert_non_null(strstr(e.text, was));
	assert_non_null(strstr(e.text, "other.small"));
	close_world(&w);
}

static void a_folder_belongs_to_one_cluster(void **unused)
{
	struct world w;
	struct sl_error e;
	struct sl_writes writes = { 0 };
	struct sl_writes *batch = &writes;
	struct sl_buf value = { 0 };
	char path[100];
	struct sl_store *store;
	bool found;

	(void)unused;
	open_world(&w, 1);
	sl_runtime_close(w.rts[0]);
	w.rts[0] = NULL;
	snprintf(path, sizeof path, "%s/store", w.folders[0]);
	for (int round = 0; round < 2; round++) {
		store = sl_store_rocksdb(path, &e);
		must(store != NULL, &e);
		must(store->ops->get(store, (struct sl_bytes){ "k", 1 }, &value, &found, &e), &e);
		assert_true(found);
		if (round == 0)
			memcpy(value.data, "elsewhere", 9);
		else
			value.size /= 2;
		sl_writes_put(&writes, (struct sl_bytes){ "k", 1 }, sl_buf_bytes(&value));
		must(store->ops->write(store, &batch, 1, true, &e), &e);
		store->ops->free(store);
		assert_null(open_process(&w, 0, &e));
		says(&e, SL_STOP, round == 0 ? "Kafka cluster 'elsewhere" : "no readable identity");
	}
	sl_writes_release(&writes);
	sl_buf_release(&value);
	close_world(&w);
}

static bool third_time(void *arg)
{
	return ++*(int *)arg > 2;
}

static void brokers_that_are_not_there_are_waited_for(void **unused)
{
	struct sl_topology *t = kafka_topology(KAFKA_SMALL);
	char folder[] = "/tmp/sluice-stream-XXXXXX";
	int asked = 0;
	struct sl_runtime_options options = {
		.data = folder, .wait_for_brokers = true, .stopped = third_time, .arg = &asked
	};
	struct sl_error e = { 0 };

	(void)unused;
	assert_non_null(mkdtemp(folder));
	t->kafka.brokers = "127.0.0.1:1";
	assert_null(sl_runtime_open(t, &options, &e));
	says(&e, SL_STOP, "127.0.0.1:1");
	assert_true(asked > 2);
	assert_true(sl_folder_remove(folder, &e));
	sl_topology_free(t);
}

/* -- appends and what comes back ---------------------------------------------------------------- */

/* All committed records of a topic through sl_runtime_fetch, in small pieces. */
static size_t fetch_all(struct sl_runtime *rt, int topic, struct sl_buf *frames)
{
	struct sl_error e = { 0 };
	struct sl_record r;
	size_t count = 0, at = 0;

	sl_buf_clear(frames);
	for (int32_t p = 0; p < rt->topology->topics[topic].partitions; p++) {
		int64_t next = 0, end = 1;

		for (int64_t from = -1; next < end && from != next;) {
			from = next;
			must(sl_runtime_fetch(rt, topic, p, from, 200, frames, &next, &end, &e), &e);
		}
		assert_int_equal(next, end);
	}
	while (sl_frames_next(sl_buf_bytes(frames), &at, &r))
		count++;
	return count;
}

static void records_come_back_without_what_was_aborted(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_buf headers = { 0 }, frames = { 0 };
	struct sl_record out[3] = { record("a", "one"), record("b", NULL), record("c", "") }, r;
	rd_kafka_t *other;
	size_t at = 0, seen = 0;
	int topic;

	(void)unused;
	open_world(&w, 2);
	topic = topic_of(&w, "pairs.unique");
	sl_header_add(&headers, "why", sl_text("because"));
	out[0].headers = sl_buf_bytes(&headers);
	must(sl_runtime_append(w.rts[0], topic, out, 3, &e), &e);
	other = kafka_producer(kafka_unique());
	assert_int_equal(rd_kafka_begin_transaction(other) == NULL, 1);
	for (int i = 0; i < 20; i++)
		kafka_produce_text(other, w.rts[0]->kafka->names[topic], i % 2, "x", "aborted");
	kafka_end(other, false);
	rd_kafka_destroy(other);
	for (int i = 0; i < 4; i++)
		must(sl_runtime_append(w.rts[0], topic, out, 3, &e), &e);
	/* seen from another process */
	assert_int_equal(fetch_all(w.rts[1], topic, &frames), 15);
	while (sl_frames_next(sl_buf_bytes(&frames), &at, &r)) {
		const struct sl_record *as = &out[*(const char *)r.key.data - 'a'];

		assert_int_equal(r.time_ms, as->time_ms);
		assert_int_equal(r.value.data == NULL, as->value.data == NULL);
		assert_true(sl_bytes_equal(r.value, as->value));
		assert_true(sl_bytes_equal(sl_header_find(r.headers, "why"), sl_header_find(as->headers, "why")));
		seen++;
	}
	assert_int_equal(seen, 15);
	/* "records" counts data, offsets count more */
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], topic), 15);
	must(sl_follow_sync(w.rts[1]->kafka->follow, true, &e), &e);
	assert_int_equal(w.rts[1]->stream->records(w.rts[1], topic), 15);
	must(w.rts[1]->stream->refresh(w.rts[1], topic, &e), &e);
	assert_true(w.rts[1]->topics[topic].ends[0] + w.rts[1]->topics[topic].ends[1] > 35);
	sl_buf_release(&headers);
	sl_buf_release(&frames);
	close_world(&w);
}

static void what_others_produce_reads_as_pairs(void **unused)
{
	static const char json[] = "{\"prompt\": \"why?\", \"chosen\": \"so\", \"rejected\": \"no\"}";
	struct world w;
	struct sl_buf frames = { 0 };
	struct sl_arena arena = { 0 };
	struct sl_record r;
	struct sl_pair p;
	struct sl_error e = { 0 };
	rd_kafka_t *other;
	size_t at = 0;
	int topic;

	(void)unused;
	open_world(&w, 1);
	topic = w.topology->entry;
	other = kafka_producer(NULL);
	kafka_produce_text(other, w.rts[0]->kafka->names[topic], 0, "k", json);
	kafka_produce_text(other, w.rts[0]->kafka->names[topic], 0, "k", "garbage");
	rd_kafka_destroy(other);
	assert_int_equal(fetch_all(w.rts[0], topic, &frames), 2);
	assert_true(sl_frames_next(sl_buf_bytes(&frames), &at, &r));
	must(sl_pair_decode(r.value, &arena, &p, &e), &e);
	assert_true(sl_is(p.arrival.topic, w.rts[0]->kafka->names[topic]));
	assert_int_equal(p.arrival.offset, 0);
	assert_false(sl_id_none(p.id));
	assert_true(sl_frames_next(sl_buf_bytes(&frames), &at, &r));
	assert_true(sl_is(r.value, "garbage"));
	sl_arena_release(&arena);
	sl_buf_release(&frames);
	close_world(&w);
}

/* A table's version is what its writers have numbered. */
static void what_goes_into_a_table_is_numbered(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_buf headers = { 0 };
	struct sl_record out[2] = { record("a", "one"), record("b", "two") };
	struct kafka_seen seen;
	char expected[100];
	size_t numbered[6] = { 0 };
	int topic;

	(void)unused;
	open_world(&w, 1);
	topic = topic_of(&w, "pairs.gold");
	sl_header_add(&headers, "sluice.sequence", sl_text("elsewhere.0:77")); /* it was copied from there */
	sl_header_add(&headers, "why", sl_text("because"));
	out[1].headers = sl_buf_bytes(&headers);
	must(sl_runtime_append(w.rts[0], topic, out, 2, &e), &e);
	sl_runtime_close(w.rts[0]);
	must(open_process(&w, 0, &e) != NULL, &e);
	must(sl_runtime_append(w.rts[0], topic, out, 2, &e), &e);
	for (int32_t p = 0; p < 2; p++) {
		kafka_read(w.rts[0]->kafka->names[topic], p, true, &seen);
		for (size_t i = 0; i < seen.count; i++) {
			struct sl_bytes sequence = sl_header_find(seen.records[i].headers, "sluice.sequence");

			for (int n = 1; n <= 4; n++) {
				snprintf(expected, sizeof expected, "@command.%s.0:%d", w.rts[0]->kafka->uuid, n);
				numbered[n] += sl_is(sequence, expected);
			}
			if (sl_is(seen.records[i].key, "b"))
				assert_true(sl_is(sl_header_find(seen.records[i].headers, "why"), "because"));
		}
		kafka_seen_release(&seen);
	}
	for (int n = 1; n <= 4; n++)
		assert_int_equal(numbered[n], 1);
	assert_int_equal(sl_table_stamp(w.rts[0]->topics[topic].table, sl_table_now(w.rts[0]->topics[topic].table)), 4);
	sl_buf_release(&headers);
	close_world(&w);
}

/* -- ingest and guards ------------------------------------------------------------------------- */

static void ingest(struct sl_runtime *rt, const char *text, const struct sl_ingest_mark *before,
		   const struct sl_ingest_mark *after, struct sl_ingest_mark *found, bool *done, struct sl_error *e)
{
	struct sl_buf frames = { 0 };
	struct sl_record r = record("k", text);
	struct sl_ingest_append a = { .source = sl_text("file"), .before = *before, .after = *after };

	memset(e, 0, sizeof *e);
	sl_frames_add(&frames, &r);
	a.pairs = sl_buf_bytes(&frames);
	a.ties = a.dead = (struct sl_bytes){ "", 0 };
	*done = sl_runtime_ingest(rt, &a, found, e);
	sl_buf_release(&frames);
}

static void two_processes_ingest_one_file_once(void **unused)
{
	struct sl_ingest_mark none = { 0 }, first = { .position = 10, .lines = 1, .pairs = 1, .hash = 7 },
			      second = { .position = 20, .lines = 2, .pairs = 2, .hash = 8 }, found;
	const struct sl_id head = { { 0 } };
	struct world w;
	struct sl_error e = { 0 };
	struct kafka_seen seen;
	bool done;

	(void)unused;
	open_world(&w, 2);
	must(sl_runtime_ingest_mark(w.rts[0], sl_text("file"), head, &found, &e), &e);
	assert_memory_equal(&found, &none, sizeof found);
	ingest(w.rts[0], "line 1", &none, &first, &found, &done, &e);
	must(done, &e);
	/* the other one finds the mark and goes on */
	must(sl_runtime_ingest_mark(w.rts[1], sl_text("file"), head, &found, &e), &e);
	assert_memory_equal(&found, &first, sizeof found);
	ingest(w.rts[1], "line 2", &first, &second, &found, &done, &e);
	must(done, &e);
	/* the first has not heard of it: its commit fails, or it sees the mark; never a second line 2 */
	ingest(w.rts[0], "line 2", &first, &second, &found, &done, &e);
	assert_false(done);
	assert_int_equal(e.verdict, SL_RETRY);
	must(sl_runtime_ingest_mark(w.rts[0], sl_text("file"), head, &found, &e), &e);
	assert_memory_equal(&found, &second, sizeof found);
	ingest(w.rts[0], "line 1", &none, &first, &found, &done, &e);
	assert_false(done);
	says(&e, SL_RETRY, "ingested up to byte 20, not 0");
	kafka_read(w.rts[0]->kafka->names[w.topology->entry], 0, true, &seen);
	assert_int_equal(seen.count, 2);
	assert_true(sl_is(seen.records[0].value, "line 1"));
	assert_true(sl_is(seen.records[1].value, "line 2"));
	kafka_seen_release(&seen);
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], w.topology->entry), 2);
	close_world(&w);
}

/* A key of meta as ingest has them. */
static void mark_key(struct sl_buf *key, int number)
{
	sl_buf_clear(key);
	sl_buf_print(key, "ifile%d", number);
	sl_buf_add_byte(key, 0);
	sl_buf_add(key, "0123456789abcdef", 16);
}

static bool commit_mark(struct sl_runtime *rt, struct sl_bytes key, const char *value, struct sl_error *e)
{
	struct sl_writes extra = { 0 };
	bool done;

	memset(e, 0, sizeof *e);
	sl_writes_put(&extra, key, sl_text(value));
	done = sl_commit(rt, NULL, 0, NULL, 0, &extra, e);
	sl_writes_release(&extra);
	return done;
}

static void a_guard_that_was_taken_over_commits_nothing(void **unused)
{
	struct world w;
	struct sl_buf key = { 0 }, value = { 0 };
	struct sl_error e = { 0 };
	bool found;

	(void)unused;
	open_world(&w, 2);
	mark_key(&key, 0);
	must(w.rts[0]->stream->guard(w.rts[0], sl_buf_bytes(&key), &e), &e);
	must(w.rts[1]->stream->guard(w.rts[1], sl_buf_bytes(&key), &e), &e);
	assert_false(commit_mark(w.rts[0], sl_buf_bytes(&key), "by the first", &e));
	says(&e, SL_RETRY, "has taken");
	must(commit_mark(w.rts[1], sl_buf_bytes(&key), "by the second", &e), &e);
	/* and the first reads that as soon as it has the guard again */
	must(w.rts[0]->stream->guard(w.rts[0], sl_buf_bytes(&key), &e), &e);
	must(w.rts[0]->meta->ops->get(w.rts[0]->meta, sl_buf_bytes(&key), &value, &found, &e), &e);
	assert_true(found && sl_is(sl_buf_bytes(&value), "by the second"));
	must(commit_mark(w.rts[0], sl_buf_bytes(&key), "by the first after all", &e), &e);
	must(w.rts[0]->meta->ops->get(w.rts[0]->meta, sl_buf_bytes(&key), &value, &found, &e), &e);
	assert_true(found && sl_is(sl_buf_bytes(&value), "by the first after all"));
	sl_buf_release(&key);
	sl_buf_release(&value);
	close_world(&w);
}

static void a_guard_that_was_let_go_commits_nothing(void **unused)
{
	struct world w;
	struct sl_buf key = { 0 };
	struct sl_error e = { 0 };

	(void)unused;
	open_world(&w, 1);
	for (int i = 0; i < 9; i++) { /* more than are kept open */
		mark_key(&key, i);
		must(w.rts[0]->stream->guard(w.rts[0], sl_buf_bytes(&key), &e), &e);
	}
	must(commit_mark(w.rts[0], sl_buf_bytes(&key), "last", &e), &e);
	mark_key(&key, 0);
	assert_false(commit_mark(w.rts[0], sl_buf_bytes(&key), "first", &e));
	says(&e, SL_RETRY, "let go");
	must(w.rts[0]->stream->guard(w.rts[0], sl_buf_bytes(&key), &e), &e);
	must(commit_mark(w.rts[0], sl_buf_bytes(&key), "first", &e), &e);
	sl_buf_release(&key);
	close_world(&w);
}

/* The brokers did not say how a commit ended: what is in meta does. */
static void an_unknown_outcome_is_looked_up(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_record out[2] = { record("a", "one"), record("b", "two") };
	struct sl_buf frames = { 0 };
	int topic;

	(void)unused;
	open_world(&w, 1);
	topic = topic_of(&w, "pairs.gold");
	for (int round = 0; round < 2; round++) {
		fault_site = "commit.answer";
		must(sl_runtime_append(w.rts[0], topic, out, 2, &e), &e);
		fault_site = "commit.lost";
		assert_false(sl_runtime_append(w.rts[0], topic, out, 2, &e));
		says(&e, SL_RETRY, "was not written");
		fault_site = NULL;
		assert_int_equal(w.rts[0]->stream->records(w.rts[0], topic), 2 * (round + 1));
	}
	assert_int_equal(fetch_all(w.rts[0], topic, &frames), 4);
	sl_buf_release(&frames);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_folder_belongs_to_one_application),
		cmocka_unit_test(a_folder_belongs_to_one_cluster),
		cmocka_unit_test(brokers_that_are_not_there_are_waited_for),
		cmocka_unit_test(records_come_back_without_what_was_aborted),
		cmocka_unit_test(what_others_produce_reads_as_pairs),
		cmocka_unit_test(what_goes_into_a_table_is_numbered),
		cmocka_unit_test(two_processes_ingest_one_file_once),
		cmocka_unit_test(a_guard_that_was_taken_over_commits_nothing),
		cmocka_unit_test(a_guard_that_was_let_go_commits_nothing),
		cmocka_unit_test(an_unknown_outcome_is_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
