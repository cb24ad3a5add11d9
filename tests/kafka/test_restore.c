/* test_restore.c -- a task's state from its changelog: all of it, what is new, what is still open, and
 * what must not be believed.
 *
 * The changelog is written here as a member would: transactions of state, next input offset and the group's
 * offset, by plain librdkafka. What the local store holds afterwards is compared as text, a line per key. */
#include "with_broker.h"

#include "tests/actors.h"
#include "tests/twins.h"
#include "topology/keys.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { &sl_actor_tally, &sl_actor_asker, NULL };

/* `again` runs in the task of `tally`; `asker` has a memo. */
#define YAML                                                                                                           \
	"topology: restore\npartitions: 16\nendpoints: { oracle: { url: \"http://scripted/v1\" } }\nsteps:\n"          \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: even } }\n"                                         \
	"  - { name: again, operator: tally, from: odd, to: { odd: odd2, even: even2 } }\n"                            \
	"  - { name: asker, from: even, to: { yes: yes, unclear: unclear, failed: failed } }\n"                        \
	"topics:\n  pairs.raw: { partitions: 16 }\ninline: [odd]\n"
#define PARTITIONS 16
#define DAY_MS 86400000

struct bench {
	struct kafka_test t;
	struct sl_runtime rt;
	struct sl_twins *twins;
	const struct sl_step *step;
	int32_t partition; /* of the task; a test takes one after the other, topics are slow to make */
	char changelog[SL_ID_MAX], memo[SL_ID_MAX], group[SL_ID_MAX];
	const char *input;
	rd_kafka_t *writer;
	struct sl_buf key, dump;
};

static void open_bench(struct bench *b, const char *step)
{
	static const char *const settings[] = {
		"cleanup.policy", "compact,delete", "retention.ms", "-1", "delete.retention.ms", "86400000", NULL
	};

	kafka_bootstrap();
	*b = (struct bench){ .partition = 1 };
	kafka_test_open(&b->t, YAML);
	b->twins = sl_twins_new(1);
	b->rt.topology = b->t.topology;
	b->rt.store = b->twins->store;
	b->t.k.rt = &b->rt;
	b->step = &b->t.topology->steps[sl_topology_step(b->t.topology, step)];
	sl_kafka_name(&b->t.k, b->changelog, "%s.changelog", step);
	sl_kafka_name(&b->t.k, b->memo, "%s.memo", step);
	sl_kafka_name(&b->t.k, b->group, "%s", step);
	b->input = b->t.k.names[b->step->from];
	kafka_create(b->changelog, PARTITIONS, settings);
	kafka_create(b->memo, PARTITIONS, settings);
	kafka_create(b->input, PARTITIONS, NULL);
	b->writer = kafka_producer(kafka_unique());
}

static void close_bench(struct bench *b)
{
	if (b->writer)
		rd_kafka_destroy(b->writer);
	sl_twins_free(b->twins);
	sl_buf_release(&b->key);
	sl_buf_release(&b->dump);
	kafka_test_close(&b->t);
}

static struct sl_bytes key_of(struct bench *b, char kind, const char *step, int32_t partition, const char *rest)
{
	sl_key_begin(&b->key, kind, step);
	sl_key_partition(&b->key, partition);
	sl_buf_add(&b->key, rest, strlen(rest));
	return sl_buf_bytes(&b->key);
}

/* -- the changelog ------------------------------------------------------------------------- */

static void put(struct bench *b, rd_kafka_t *p, char kind, const char *step, const char *rest, const char *value)
{
	struct sl_record r = { .key = key_of(b, kind, step, b->partition, rest), .value = sl_text(value) };

	kafka_produce(p, kind == 'm' ? b->memo : b->changelog, b->partition, &r);
}

static void gone(struct bench *b, rd_kafka_t *p, const char *rest)
{
	struct sl_record r = { .key = key_of(b, 'm', "asker", b->partition, rest) };

	kafka_produce(p, b->memo, b->partition, &r);
}

static void put_offset(struct bench *b, rd_kafka_t *p, int64_t next)
{
	uint8_t value[16] = { 0 };
	struct sl_record r = { .key = key_of(b, 'o', b->step->name, b->partition, ""), .value = { value, 16 } };

	sl_put_le64(value, (uint64_t)next);
	kafka_produce(p, b->changelog, b->partition, &r);
}

static void send_offset(struct bench *b, rd_kafka_t *p, int64_t next)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(b->group);
	rd_kafka_error_t *error;

	rd_kafka_topic_partition_list_add(list, b->input, b->partition)->offset = next;
	error = rd_kafka_send_offsets_to_transaction(p, list, group, -1);
	if (error)
		fail_msg("%s", rd_kafka_error_string(error));
	rd_kafka_consumer_group_metadata_destroy(group);
	rd_kafka_topic_partition_list_destroy(list);
}

/* One transaction of a member: a key of the operator's store, and how far the input is read. */
static void commit(struct bench *b, const char *key, const char *value, int64_t next)
{
	rd_kafka_begin_transaction(b->writer);
	put(b, b->writer, 's', b->step->name, key, value);
	put_offset(b, b->writer, next);
	send_offset(b, b->writer, next);
	kafka_end(b->writer, true);
}

/* -- the restore ---------------------------------------------------------------------------- */

/* Until it is done or has failed, at most `slices`. */
static enum sl_restore_end step(struct sl_restore *r, int slices, int64_t *committed, struct sl_error *e)
{
	enum sl_restore_end end = SL_RESTORE_MORE;

	for (int i = 0; i < slices && end == SL_RESTORE_MORE; i++)
		end = sl_restore_step(r, 50, committed, e);
	return end;
}

/* Begin and end it; committed, or -2: e says why not. */
static int64_t restore(struct bench *b, struct sl_error *e)
{
	struct sl_restore *r = sl_restore_begin(&b->t.k, b->step, b->partition, e);
	int64_t committed = -3;
	enum sl_restore_end end;

	assert_non_null(r);
	end = step(r, 600, &committed, e);
	if (end == SL_RESTORE_MORE)
		fail_msg("the restore does not end");
	sl_restore_end(r);
	assert_int_equal(b->t.k.counters.restoring, 0);
	assert_int_equal(b->t.k.counters.restore_left, 0);
	return end == SL_RESTORE_DONE ? committed : -2;
}

static int64_t restore_well(struct bench *b)
{
	struct sl_error e = { 0 };
	int64_t committed = restore(b, &e);

	if (committed == -2)
		fail_msg("%s", e.text);
	return committed;
}

/* "s tally k=v\n" of the task's partition; marks and others are left out, 'o' as a number. */
static const char *dump(struct bench *b)
{
	struct sl_store *store = b->rt.store;
	struct sl_store_scan *scan = store->ops->scan(store, (struct sl_bytes){ "", 0 });
	struct sl_bytes key, value;
	struct sl_error e = { 0 };

	sl_buf_clear(&b->dump);
	while (store->ops->next(scan, &key, &value, &e)) {
		const char *text = key.data;
		size_t head = 1 + strlen(text + 1) + 1 + 4;

		const uint8_t *partition = (const uint8_t *)text + head - 4;

		if (*text == 'p' || partition[3] != b->partition)
			continue;
		sl_buf_print(&b->dump, "%c %s %.*s=", *text, text + 1, (int)(key.size - head), text + head);
		if (*text == 'o')
			sl_buf_print(&b->dump, "%" PRIu64 "\n", sl_get_le64(value.data));
		else
			sl_buf_print(&b->dump, "%.*s\n", (int)value.size, (const char *)value.data);
	}
	store->ops->end(scan);
	return sl_buf_text(&b->dump);
}

static void put_local(struct bench *b, char kind, const char *name, const char *rest, const char *value)
{
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	struct sl_error e = { 0 };

	sl_writes_put(&w, key_of(b, kind, name, b->partition, rest), sl_text(value));
	assert_true(b->rt.store->ops->write(b->rt.store, &batch, 1, false, &e));
	sl_writes_release(&w);
}

/* The mark says that the copy ended at `position`, `age_ms` ago. */
static void put_mark(struct bench *b, int64_t position, int64_t age_ms)
{
	struct sl_writes w = { 0 }, aged = { 0 };
	struct sl_writes *batch = &aged;
	struct sl_error e = { 0 };
	struct sl_bytes key, value;
	uint8_t changed[64];
	size_t at = 0;

	sl_restore_mark(&w, b->step, b->partition, position);
	assert_true(sl_writes_next(&w, &at, &key, &value));
	memcpy(changed, value.data, value.size);
	sl_put_le64(changed + 8, (uint64_t)(sl_wall_ms() - age_ms));
	sl_writes_put(&aged, key, (struct sl_bytes){ changed, value.size });
	assert_true(b->rt.store->ops->write(b->rt.store, &batch, 1, false, &e));
	sl_writes_release(&w);
	sl_writes_release(&aged);
}

/* -- the tests -------------------------------------------------------------------------------- */

/* Nothing, all, nothing new, what is new; tombstones; the inlined step's state; other partitions left alone. */
static void all_and_what_is_new(void **state)
{
	struct bench b;
	struct sl_record other = { .value = sl_text("v") };

	(void)state;
	open_bench(&b, "tally");
	assert_int_equal(restore_well(&b), -1);
	assert_string_equal(dump(&b), "");
	commit(&b, "a", "1", 3);
	rd_kafka_begin_transaction(b.writer);
	put(&b, b.writer, 's', "again", "x", "9");
	put(&b, b.writer, 's', "tally", "a", NULL);
	put(&b, b.writer, 'c', "tally", "odd", "12345678");
	put(&b, b.writer, 'n', "tally", "even", "12345678");
	put_offset(&b, b.writer, 5);
	other.key = key_of(&b, 's', "tally", 0, "other");
	kafka_produce(b.writer, b.changelog, 0, &other);
	send_offset(&b, b.writer, 5);
	kafka_end(b.writer, true);
	commit(&b, "b", "2", 7);
	rd_kafka_begin_transaction(b.writer);
	put(&b, b.writer, 's', "tally", "never", "aborted");
	put_offset(&b, b.writer, 99);
	kafka_end(b.writer, false);
	assert_int_equal(restore_well(&b), 7);
	assert_string_equal(dump(&b),
			    "c tally odd=12345678\nn tally even=12345678\no tally =7\ns again x=9\ns tally b=2\n");
	assert_int_equal(b.t.k.counters.restored_records, 9);
	/* again: nothing is read */
	assert_int_equal(restore_well(&b), 7);
	assert_int_equal(b.t.k.counters.restored_records, 9);
	commit(&b, "b", "3", 8);
	assert_int_equal(restore_well(&b), 8);
	assert_int_equal(b.t.k.counters.restored_records, 11);
	assert_string_equal(dump(&b),
			    "c tally odd=12345678\nn tally even=12345678\no tally =8\ns again x=9\ns tally b=3\n");
	assert_int_equal(b.t.k.counters.restores, 4);
	assert_int_equal(b.t.k.counters.discarded, 0);
	close_bench(&b);
}

/* A transaction of somebody else that lies open in the changelog, with ours behind it: the group's offset is stable,
 * the changelog's stable end is before our records. The restore waits, however the other one ends. */
static void the_last_marker_lags(void **state)
{
	(void)state;
	for (int committed = 0; committed < 2; committed++) {
		struct bench b;
		struct sl_error e = { 0 };
		struct sl_restore *r;
		rd_kafka_t *zombie;
		int64_t offset = -3;

		open_bench(&b, "tally");
		commit(&b, "a", "1", 1);
		zombie = kafka_producer(kafka_unique());
		rd_kafka_begin_transaction(zombie);
		put(&b, zombie, 's', "tally", "z", "of the zombie");
		commit(&b, "b", "2", 2);
		commit(&b, "c", "3", 3);
		r = sl_restore_begin(&b.t.k, b.step, b.partition, &e);
		assert_int_equal(step(r, 20, &offset, &e), SL_RESTORE_MORE);
		kafka_end(zombie, committed);
		assert_int_equal(step(r, 400, &offset, &e), SL_RESTORE_DONE);
		assert_int_equal(offset, 3);
		sl_restore_end(r);
		assert_string_equal(dump(&b), committed ? "o tally =3\ns tally a=1\ns tally b=2\ns tally c=3\n"
							  "s tally z=of the zombie\n"
							: "o tally =3\ns tally a=1\ns tally b=2\ns tally c=3\n");
		rd_kafka_destroy(zombie);
		close_bench(&b);
	}
}

/* The linker puts this in the place of sl_kafka_ends (CMakeLists.txt): restores that mistake the stable end for the
 * end. */
static bool stable_for_end;
bool __real_sl_kafka_ends(struct sl_kafka *k, const char *topic, int32_t partition, bool committed, int64_t *start,
			  int64_t *end, struct sl_error *e);
bool __wrap_sl_kafka_ends(struct sl_kafka *k, const char *topic, int32_t partition, bool committed, int64_t *start,
			  int64_t *end, struct sl_error *e);
bool __wrap_sl_kafka_ends(struct sl_kafka *k, const char *topic, int32_t partition, bool committed, int64_t *start,
			  int64_t *end, struct sl_error *e)
{
	return __real_sl_kafka_ends(k, topic, partition, committed || stable_for_end, start, end, e);
}

/* The same with the mistake planted: the stable end taken for the end. The offsets give it away. */
static void stopping_at_the_stable_end_is_caught(void **state)
{
	struct bench b;
	struct sl_error e = { 0 };
	rd_kafka_t *zombie;

	(void)state;
	open_bench(&b, "tally");
	commit(&b, "a", "1", 1);
	zombie = kafka_producer(kafka_unique());
	rd_kafka_begin_transaction(zombie);
	put(&b, zombie, 's', "tally", "z", "of the zombie");
	commit(&b, "b", "2", 2);
	stable_for_end = true;
	sl_restore_patience_ms = 300;
	assert_int_equal(restore(&b, &e), -2);
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "has committed offset 2"));
	assert_non_null(strstr(e.text, "ends with 1"));
	stable_for_end = false;
	sl_restore_patience_ms = 60000;
	kafka_end(zombie, false);
	assert_int_equal(restore_well(&b), 2);
	rd_kafka_destroy(zombie);
	close_bench(&b);
}

/* Offsets moved by hand are an error that names both numbers and the tool. */
static void offsets_moved_by_hand(void **state)
{
	static const struct {
		int64_t offset;
		const char *text;
	} rows[] = { { 2, "says 5" }, { 9, "ends with 5" } };

	struct bench b;

	(void)state;
	open_bench(&b, "tally");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };

		b.partition = (int32_t)i;
		commit(&b, "a", "1", 5);
		rd_kafka_begin_transaction(b.writer);
		send_offset(&b, b.writer, rows[i].offset);
		kafka_end(b.writer, true);
		sl_restore_patience_ms = 200;
		assert_int_equal(restore(&b, &e), -2);
		sl_restore_patience_ms = 60000;
		assert_int_equal(e.verdict, SL_STOP);
		if (!strstr(e.text, rows[i].text) || !strstr(e.text, "--to-offset") || !strstr(e.text, "anew"))
			fail_msg("%s", e.text);
		rd_kafka_begin_transaction(b.writer);
		send_offset(&b, b.writer, 5);
		kafka_end(b.writer, true);
		assert_int_equal(restore_well(&b), 5);
	}
	close_bench(&b);
}

/* Copies that must not be believed, and some that may be. */
static void local_copies(void **state)
{
	/* log of 6: a, o, marker, b, o, marker */
	static const struct {
		const char *name;
		int64_t position, age_ms, purge;
		bool kept; /* what else is in the copy is still there afterwards */
	} rows[] = {
		{ "whole", 6, 0, 0, true },
		{ "but for the marker", 5, 0, 0, true },
		{ "half", 3, 0, 0, true },
		{ "half, 11 hours old", 3, 11 * 3600000, 0, true },
		{ "half, 13 hours old", 3, 13 * 3600000, 0, false },
		{ "whole, a year old", 5, 365 * (int64_t)DAY_MS, 0, true },
		{ "of a longer log", 7, 0, 0, false },
		{ "below the log's start", 2, 0, 3, false },
		{ "at the log's start", 3, 0, 3, true },
		{ "no position", -1, 0, 0, false },
	};

	struct bench b;

	(void)state;
	open_bench(&b, "tally");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		bool a, kept, index;
		int64_t discarded = b.t.k.counters.discarded;

		b.partition = (int32_t)i;
		commit(&b, "a", "1", 1);
		commit(&b, "b", "2", 2);
		if (rows[i].purge && !sl_kafka_purge(&b.t.k, b.changelog, b.partition, rows[i].purge, &e))
			fail_msg("%s", e.text);
		put_local(&b, 's', "tally", "local", "1");
		put_local(&b, 's', "again", "local", "1");
		put_local(&b, 'd', "tally", "index", "1");
		if (rows[i].position >= 5) {
			uint8_t two[16] = { 2 };
			struct sl_writes w = { 0 };
			struct sl_writes *batch = &w;

			sl_writes_put(&w, key_of(&b, 'o', "tally", b.partition, ""), (struct sl_bytes){ two, 16 });
			assert_true(b.rt.store->ops->write(b.rt.store, &batch, 1, false, &e));
			sl_writes_release(&w);
		}
		if (rows[i].position >= 0)
			put_mark(&b, rows[i].position, rows[i].age_ms);
		assert_int_equal(restore_well(&b), 2);
		dump(&b);
		kept = strstr(sl_buf_text(&b.dump), "s tally local=1\n") &&
		       strstr(sl_buf_text(&b.dump), "s again local=1\n");
		a = strstr(sl_buf_text(&b.dump), "s tally a=1\n");
		index = strstr(sl_buf_text(&b.dump), "d tally index=1\n");
		if (kept != rows[i].kept || index != (rows[i].kept && rows[i].position >= 5) ||
		    a != (!rows[i].kept && !rows[i].purge) ||
		    b.t.k.counters.discarded - discarded != (!rows[i].kept && rows[i].position >= 0))
			fail_msg("%s: %s", rows[i].name, sl_buf_text(&b.dump));
	}
	close_bench(&b);
}

/* Whatever is written there by others ends the restore with topic and offset, and never more than that. */
static void foreign_records(void **state)
{
	static const struct {
		const char *topic; /* c: changelog, m: memo */
		struct sl_bytes key;
		struct sl_bytes value;
	} rows[] = {
		{ "c", { "", 0 }, { "v", 1 } },
		{ "c", { "s", 1 }, { "v", 1 } },
		{ "c", { "sasker", 6 }, { "v", 1 } },
		{ "c", { "sasker\0", 7 }, { "v", 1 } },
		{ "c", { "sasker\0\0\0\1", 10 }, { "v", 1 } },
		{ "c", { "sasker\0\0\0\1\0store", 16 }, { "v", 1 } }, /* another partition */
		{ "c", { "stally\0\0\0\0\1store", 16 }, { "v", 1 } }, /* another step */
		{ "c", { "dasker\0\0\0\0\1store", 16 }, { "v", 1 } },
		{ "c", { "\0asker\0\0\0\0\1store", 16 }, { "v", 1 } },
		{ "c", { "oasker\0\0\0\0\1", 11 }, { "v", 1 } },
		{ "c", { "oasker\0\0\0\0\1", 11 }, { NULL, 0 } },
		{ "m", { "sasker\0\0\0\0\1hash", 15 }, { "v", 1 } },
		{ "m", { "m", 1 }, { NULL, 0 } },
	};

	struct bench b;

	(void)state;
	open_bench(&b, "asker");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_error e = { 0 };
		uint8_t key[32];
		struct sl_record r = { .key = { key, rows[i].key.size }, .value = rows[i].value };
		char want[SL_ID_MAX + 40];

		b.partition = (int32_t)i;
		memcpy(key, rows[i].key.data, rows[i].key.size);
		if (rows[i].key.size > 10 && key[10] == 1)
			key[10] = (uint8_t)i; /* the row's own partition */
		commit(&b, "a", "1", 1);
		rd_kafka_begin_transaction(b.writer);
		kafka_produce(b.writer, *rows[i].topic == 'm' ? b.memo : b.changelog, b.partition, &r);
		kafka_end(b.writer, true);
		assert_int_equal(restore(&b, &e), -2);
		snprintf(want, sizeof want, "'%s' partition %d offset %d", *rows[i].topic == 'm' ? b.memo : b.changelog,
			 (int)i, *rows[i].topic == 'm' ? 0 : 3);
		if (e.verdict != SL_STOP || !strstr(e.text, want))
			fail_msg("%zu: '%s' is not in '%s'", i, want, e.text);
	}
	close_bench(&b);
}

/* The first answer to a question counts, also over restores, until it is evicted; of all else in the memo the last. */
static void answers(void **state)
{
	struct bench b;
	rd_kafka_t *p;

	(void)state;
	open_bench(&b, "asker");
	assert_true(sl_restore_has_memo(b.step));
	p = kafka_producer(NULL);
	put(&b, p, 'm', "asker", "a-one", "first");
	put(&b, p, 'm', "asker", "a-one", "second");
	put(&b, p, 'm', "asker", "a-two", "first");
	put(&b, p, 'm', "asker", "s-spent", "1");
	put(&b, p, 'm', "asker", "s-spent", "2");
	put(&b, p, 'm', "asker", "h-held", "1");
	gone(&b, p, "h-held");
	assert_int_equal(restore_well(&b), -1);
	assert_string_equal(dump(&b), "m asker a-one=first\nm asker a-two=first\nm asker s-spent=2\n");
	put(&b, p, 'm', "asker", "a-two", "second");
	put(&b, p, 'm', "asker", "a-three", "first");
	gone(&b, p, "a-one"); /* and asked again */
	put(&b, p, 'm', "asker", "a-one", "third");
	put(&b, p, 'm', "asker", "s-spent", "3");
	commit(&b, "a", "1", 4);
	assert_int_equal(restore_well(&b), 4);
	assert_string_equal(dump(&b), "m asker a-one=third\nm asker a-three=first\nm asker a-two=first\n"
				      "m asker s-spent=3\no asker =4\ns asker a=1\n");
	assert_int_equal(b.t.k.counters.restored_records, 14);
	rd_kafka_destroy(p);
	close_bench(&b);
}

/* Given up in the middle, and gone on with: the copy knows where it is, and that its index is not to be trusted. */
static void given_up_in_the_middle(void **state)
{
	enum { COUNT = 20000 };
	struct bench b;
	struct sl_error e = { 0 };
	int64_t committed, done = 0, total = 0, read;
	struct sl_restore *r;
	size_t lines = 0;

	(void)state;
	open_bench(&b, "tally");
	commit(&b, "a", "1", 1);
	assert_int_equal(restore_well(&b), 1);
	rd_kafka_begin_transaction(b.writer);
	for (int i = 0; i < COUNT; i++) {
		char rest[16];
		struct sl_bytes key;

		snprintf(rest, sizeof rest, "k%05d", i);
		key = key_of(&b, 's', "tally", b.partition, rest);
		assert_int_equal(
			rd_kafka_producev(b.writer, RD_KAFKA_V_TOPIC(b.changelog), RD_KAFKA_V_PARTITION(b.partition),
					  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.size),
					  RD_KAFKA_V_VALUE("v", 1), RD_KAFKA_V_END),
			RD_KAFKA_RESP_ERR_NO_ERROR);
	}
	put_offset(&b, b.writer, 2);
	send_offset(&b, b.writer, 2);
	kafka_end(b.writer, true);
	put_local(&b, 'd', "tally", "index", "1");
	/* slices of nothing: as much as one poll gives, until something has been written */
	r = sl_restore_begin(&b.t.k, b.step, b.partition, &e);
	while (done < COUNT / 2) {
		assert_int_equal(sl_restore_step(r, 2, &committed, &e), SL_RESTORE_MORE);
		sl_restore_progress(r, &done, &total);
	}
	assert_int_equal(total, COUNT + 2);
	sl_restore_end(r);
	assert_null(strstr(dump(&b), "index"));
	read = b.t.k.counters.restored_records;
	assert_true(read < COUNT);
	put_local(&b, 'd', "tally", "index", "1"); /* as if emptying had not come to its end */
	assert_int_equal(restore_well(&b), 2);
	assert_null(strstr(dump(&b), "index"));
	for (const char *s = sl_buf_text(&b.dump); *s; s++)
		lines += *s == '\n';
	assert_int_equal(lines, COUNT + 2);
	assert_true(b.t.k.counters.restored_records < read + COUNT); /* not all of it again */
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_and_what_is_new),
		cmocka_unit_test(the_last_marker_lags),
		cmocka_unit_test(stopping_at_the_stable_end_is_caught),
		cmocka_unit_test(offsets_moved_by_hand),
		cmocka_unit_test(local_copies),
		cmocka_unit_test(foreign_records),
		cmocka_unit_test(answers),
		cmocka_unit_test(given_up_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
