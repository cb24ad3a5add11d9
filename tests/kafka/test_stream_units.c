/* test_stream_units.c -- the Kafka stream from above, unit by unit: what a unit's commit sends, answers that are
 * durable before they are used, progress. */
#include "with_stream.h"

static void put_output(struct sl_unit *u, int topic, int32_t partition, const struct sl_record *r)
{
	uint8_t where[8];

	sl_put_le32(where, (uint32_t)topic);
	sl_put_le32(where + 4, (uint32_t)partition);
	sl_buf_add(&u->outputs, where, sizeof where);
	sl_frames_add(&u->outputs, r);
}

/* One transaction of a unit, as a member does it; the local store is written after a commit. */
static enum sl_txn_end try_to(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, bool commit)
{
	struct sl_writes *batch = &u->writes;
	struct sl_error e = { 0 };
	enum sl_txn_end end;
	int64_t last = -1;

	sl_unit_seal(u);
	sl_writes_put(&u->writes, (struct sl_bytes){ "dderived", 8 }, sl_text("not logged"));
	sl_writes_put(&u->writes, (struct sl_bytes){ "sstate", 6 }, sl_text("logged"));
	sl_writes_del(&u->writes, (struct sl_bytes){ "sgone", 5 });
	sl_txn_begin(t);
	must(sl_kafka_outputs(k, t, u, &e), &e);
	sl_kafka_changelog(k, t, u, &last);
	if (!commit)
		return sl_txn_abort(t, &e);
	end = sl_txn_commit(t, NULL, &e);
	if (end == SL_TXN_DONE) {
		assert_true(last >= 0);
		must(k->rt->store->ops->write(k->rt->store, &batch, 1, false, &e), &e);
	} else {
		print_message("%s\n", e.text);
	}
	return end;
}

/* What the brokers abort is made again: records of the aborted one that were still on their way leave a gap in the
 * sequence numbers, and librdkafka 2.0 then gives the next one up. */
static void transact(struct sl_kafka *k, struct sl_txn *t, struct sl_unit *u, bool commit)
{
	enum sl_txn_end end = try_to(k, t, u, commit);

	for (int i = 0; i < 5 && commit && end == SL_TXN_ABORTED; i++)
		end = try_to(k, t, u, commit);
	assert_int_equal(end, commit ? SL_TXN_DONE : SL_TXN_ABORTED);
}

static bool has(const struct kafka_seen *seen, const char *key, size_t size, const char *value)
{
	for (size_t i = 0; i < seen->count; i++)
		if (sl_bytes_equal(seen->records[i].key, (struct sl_bytes){ key, size }) &&
		    (value ? sl_is(seen->records[i].value, value) : !seen->records[i].value.data))
			return true;
	return false;
}

static void a_commit_sends_outputs_changelog_and_counts(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_record r = record("k", "some value");
	struct sl_unit *u;
	struct sl_txn *t;
	struct sl_kafka *k;
	struct kafka_seen seen;
	char name[SL_ID_MAX];
	int gold, embedded, dead;

	(void)unused;
	open_world(&w, 1);
	k = w.rts[0]->kafka;
	gold = topic_of(&w, "pairs.gold");
	embedded = topic_of(&w, "pairs.embedded");
	dead = topic_of(&w, "dead.embed");
	u = sl_unit_new(w.rts[0], &w.topology->steps[sl_topology_step(w.topology, "embed")], 1, &e);
	must(u != NULL, &e);
	t = sl_txn_open(k, kafka_unique(), &e);
	must(t != NULL, &e);
	for (int round = 0; round < 3; round++) { /* the second is aborted */
		sl_buf_clear(&u->outputs);
		u->read = 70;
		put_output(u, gold, 0, &r);
		put_output(u, gold, 1, &r);
		put_output(u, embedded, 1, &r);
		put_output(u, dead, 1, &r);
		transact(k, t, u, round != 1);
	}
	sl_txn_close(t);
	for (int32_t p = 0; p < 2; p++) {
		static const char *const expected[2][2] = { { "embed.1:1", "embed.1:3" },
							    { "embed.1:2", "embed.1:4" } };

		kafka_read(k->names[gold], p, true, &seen);
		assert_int_equal(seen.count, 2);
		for (size_t i = 0; i < 2; i++)
			assert_true(sl_is(sl_header_find(seen.records[i].headers, "sluice.sequence"), expected[p][i]));
		kafka_seen_release(&seen);
	}
	kafka_read(k->names[embedded], 1, true, &seen);
	assert_int_equal(seen.count, 2);
	assert_null(seen.records[0].headers.data);
	assert_int_equal(seen.records[0].time_ms, r.time_ms);
	kafka_seen_release(&seen);
	sl_kafka_name(k, name, "embed.changelog");
	kafka_read(name, 1, true, &seen);
	assert_true(has(&seen, "sstate", 6, "logged"));
	assert_true(has(&seen, "sgone", 5, NULL));
	assert_false(has(&seen, "dderived", 8, "not logged"));
	assert_int_equal(seen.count,
			 2 * (3 + 4)); /* offset, state, gone; a count for each of three topics, and of what was read */
	kafka_seen_release(&seen);
	must(sl_follow_sync(k->follow, false, &e), &e);
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], gold), 4);
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], embedded), 2);
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], dead), 2);
	/* nobody of ours wrote what was read: others did */
	assert_int_equal(w.rts[0]->stream->records(w.rts[0], topic_of(&w, "pairs.unique")), 140);
	sl_unit_close(u);
	close_world(&w);
}

static void answers_are_durable_before_they_are_used(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_writes answers = { 0 };
	struct sl_buf value = { 0 }, key = { 0 };
	struct sl_unit *u;
	struct kafka_seen seen;
	char name[SL_ID_MAX];
	bool found;

	(void)unused;
	open_world(&w, 1);
	/* no step of this topology asks, so its memo topic is made by hand */
	sl_kafka_name(w.rts[0]->kafka, name, "embed.memo");
	kafka_create(name, 2, (const char *const[]){ "cleanup.policy", "compact", NULL });
	u = sl_unit_new(w.rts[0], &w.topology->steps[sl_topology_step(w.topology, "embed")], 1, &e);
	must(u != NULL, &e);
	for (int i = 0; i < 300; i++) {
		sl_key_begin(&key, 'm', "embed");
		sl_key_partition(&key, 1);
		sl_buf_print(&key, "hash %d", i);
		sl_writes_put(&answers, sl_buf_bytes(&key), sl_text("an answer"));
	}
	must(w.rts[0]->stream->memo(u, &answers, &e), &e);
	must(w.rts[0]->store->ops->get(w.rts[0]->store, sl_buf_bytes(&key), &value, &found, &e), &e);
	assert_true(found && sl_is(sl_buf_bytes(&value), "an answer"));
	kafka_read(name, 1, false, &seen);
	assert_int_equal(seen.count, 300);
	assert_true(sl_bytes_equal(seen.records[299].key, sl_buf_bytes(&key)));
	kafka_seen_release(&seen);
	assert_int_equal(atomic_load(&w.rts[0]->kafka->counters.memo_records), 300);
	sl_unit_close(u);
	sl_writes_release(&answers);
	sl_buf_release(&key);
	sl_buf_release(&value);
	close_world(&w);
}

static void progress_is_the_group_s(void **unused)
{
	struct world w;
	struct sl_error e = { 0 };
	struct sl_record out[5] = { record("a", "1"), record("a", "2"), record("a", "3"), record("a", "4"),
				    record("a", "5") };
	const struct sl_step *step;
	rd_kafka_topic_partition_list_t *list;
	int64_t committed = -7, lag = -7, others = 0;
	struct sl_buf json = { 0 }, text = { 0 };
	char group[SL_ID_MAX];
	int topic;
	int32_t partition;
	rd_kafka_t *member;

	(void)unused;
	open_world(&w, 1);
	topic = topic_of(&w, "pairs.unique");
	partition = sl_partition_of(sl_text("a"), 2);
	step = &w.topology->steps[sl_topology_step(w.topology, "embed")];
	must(w.rts[0]->stream->progress(w.rts[0], step, partition, &committed, &lag, &e), &e);
	assert_int_equal(committed, 0);
	assert_int_equal(lag, 0);
	must(sl_runtime_append(w.rts[0], topic, out, 5, &e), &e);
	sl_kafka_name(w.rts[0]->kafka, group, "embed");
	member = sl_kafka_client(w.rts[0]->kafka, RD_KAFKA_CONSUMER, (const char *const[]){ "group.id", group, NULL },
				 NULL, NULL, &e);
	must(member != NULL, &e);
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, w.rts[0]->kafka->names[topic], partition)->offset = 3;
	assert_int_equal(rd_kafka_commit(member, list, 0), 0);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(member);
	for (int64_t until = sl_monotonic_ns() + INT64_C(10000000000); committed != 3 && sl_monotonic_ns() < until;)
		must(w.rts[0]->stream->progress(w.rts[0], step, partition, &committed, &lag, &e), &e);
	assert_int_equal(committed, 3);
	assert_int_equal(lag, 3); /* two records and what ended their transaction: an upper bound */
	must(w.rts[0]->stream->progress(w.rts[0], step, 1 - partition, &others, &lag, &e), &e);
	assert_int_equal(others, 0);
	/* and what people see of it */
	must(sl_runtime_status(w.rts[0], &json, &e), &e);
	assert_non_null(strstr(sl_buf_text(&json), "\"kind\":\"kafka\""));
	assert_non_null(strstr(sl_buf_text(&json), "\"records\":5"));
	must(sl_runtime_metrics(w.rts[0], &text, &e), &e);
	assert_non_null(strstr(sl_buf_text(&text), "sluice_transactions_total{end=\"committed\"}"));
	assert_non_null(strstr(sl_buf_text(&text), group));
	sl_buf_release(&json);
	sl_buf_release(&text);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_commit_sends_outputs_changelog_and_counts),
		cmocka_unit_test(answers_are_durable_before_they_are_used),
		cmocka_unit_test(progress_is_the_group_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
