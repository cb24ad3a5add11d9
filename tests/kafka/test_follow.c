/* test_follow.c -- tables and rt->meta kept up with their topics: whole at open, in order after it, pinned when frozen;
 * a writer reads its own writes, and two processes that write or pin at once agree.
 *
 * A "process" is a struct sl_kafka with a runtime that has topics and nothing else. */
#include "with_broker.h"

#include "tests/actors.h"
#include "topology/kafka/meta.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

const struct sl_operator *const sl_operators[] = { &sl_actor_tally, &sl_actor_lookup, NULL };

#define YAML                                                                                                           \
	"topology: follow\npartitions: 2\nsteps:\n"                                                                    \
	"  - { name: tally, from: pairs.raw, to: { odd: odd, even: pairs.gold } }\n"                                   \
	"  - { name: lookup, from: odd, to: { out: out }, tables: { gold: pairs.gold } }\n"

struct process {
	struct sl_kafka k;
	struct sl_runtime rt;
	struct sl_follow *follow;
	int gold;
};

/* The cluster's side: a topology with its topics. */
struct bench {
	struct sl_topology *topology;
	char meta[SL_ID_MAX];
	const char *gold;
};

static void process_new(struct bench *b, struct process *p, bool freeze)
{
	struct sl_error e = { 0 };

	*p = (struct process){ .gold = sl_topology_topic(b->topology, "pairs.gold") };
	p->rt.topology = b->topology;
	p->rt.options.freeze = freeze;
	sl_topics_alloc(&p->rt);
	if (!sl_kafka_connect(&p->k, b->topology, &e))
		fail_msg("%s", e.text);
	p->k.rt = &p->rt;
	p->rt.kafka = &p->k;
}

static void process_open(struct bench *b, struct process *p, bool freeze)
{
	struct sl_error e = { 0 };

	process_new(b, p, freeze);
	p->follow = sl_follow_open(&p->k, &e);
	if (!p->follow)
		fail_msg("%s", e.text);
}

static void process_close(struct process *p)
{
	sl_follow_close(p->follow);
	for (size_t i = 0; i < p->rt.topology->topic_count; i++) {
		free(p->rt.topics[i].ends);
		free(p->rt.topics[i].starts);
		sl_table_free(p->rt.topics[i].table);
	}
	free(p->rt.topics);
	sl_kafka_disconnect(&p->k);
}

static void open_bench(struct bench *b)
{
	static const char *const compact[] = { "cleanup.policy", "compact", NULL };
	struct process p;

	kafka_bootstrap();
	b->topology = kafka_topology(YAML);
	process_new(b, &p, false);
	sl_kafka_name(&p.k, b->meta, "meta");
	b->gold = sl_arena_print(&b->topology->arena, "%s", p.k.names[p.gold]);
	process_close(&p);
	kafka_create(b->meta, 1, compact);
	kafka_create(b->gold, 2, compact);
}

static struct sl_table *gold(struct process *p)
{
	return p->rt.topics[p->gold].table;
}

/* What a key of the table is now; "-": not there. */
static const char *gold_of(struct process *p, const char *key, char text[40])
{
	const struct sl_table_entry *entry = sl_table_at(gold(p), sl_text(key), sl_table_now(gold(p)));

	if (!entry || !entry->value.data)
		snprintf(text, 40, "-");
	else
		snprintf(text, 40, "%.*s", (int)entry->value.size, (const char *)entry->value.data);
	return text;
}

/* A record of the table with its writer's number. */
static void produce_gold(struct bench *b, rd_kafka_t *p, int32_t partition, const char *key, const char *value,
			 const char *sequence)
{
	struct sl_buf headers = { 0 };
	struct sl_record r = { .key = sl_text(key), .value = sl_text(value) };

	if (sequence)
		sl_header_add(&headers, SL_TABLE_SEQUENCE, sl_text(sequence));
	r.headers = sl_buf_bytes(&headers);
	kafka_produce(p, b->gold, partition, &r);
	sl_buf_release(&headers);
}

static void sync_all(struct process *p)
{
	struct sl_error e = { 0 };

	if (!sl_follow_sync(p->follow, true, &e))
		fail_msg("%s", e.text);
}

static bool meta_put(struct process *p, const char *key, const char *value, struct sl_error *e)
{
	struct sl_writes w = { 0 };
	struct sl_writes *batch = &w;
	bool done;

	if (value)
		sl_writes_put(&w, sl_text(key), sl_text(value));
	else
		sl_writes_del(&w, sl_text(key));
	done = p->rt.meta->ops->write(p->rt.meta, &batch, 1, true, e);
	sl_writes_release(&w);
	return done;
}

/* "key=value key=value" of meta below a prefix. */
static const char *meta_text(struct process *p, const char *prefix, struct sl_buf *text)
{
	struct sl_store_scan *scan = p->rt.meta->ops->scan(p->rt.meta, sl_text(prefix));
	struct sl_bytes key, value;
	struct sl_error e = { 0 };

	sl_buf_clear(text);
	while (p->rt.meta->ops->next(scan, &key, &value, &e))
		sl_buf_print(text, "%s%.*s=%.*s", text->size ? " " : "", (int)key.size, (const char *)key.data,
			     (int)value.size, (const char *)value.data);
	p->rt.meta->ops->end(scan);
	return sl_buf_text(text);
}

/* -- the map alone: no broker ---------------------------------------------------------------- */

static bool write_through(void *arg, struct sl_writes *const *batches, size_t count, struct sl_error *e)
{
	struct sl_bytes key, value;

	(void)e;
	for (size_t i = 0; i < count; i++)
		for (size_t at = 0; sl_writes_next(batches[i], &at, &key, &value);)
			sl_meta_apply(*(struct sl_meta **)arg, key, value);
	return true;
}

static void the_map(void **state)
{
	struct process p = { 0 };
	struct sl_meta *m = NULL;
	struct sl_buf text = { 0 }, value = { 0 };
	struct sl_error e = { 0 };
	struct sl_store_scan *scan;
	struct sl_bytes key, got;
	bool found;

	(void)state;
	m = sl_meta_new(write_through, &m);
	p.rt.meta = sl_meta_store(m);
	assert_string_equal(meta_text(&p, "", &text), "");
	for (int i = 99; i >= 0; i--) {
		char name[8];

		snprintf(name, sizeof name, "k%02d", i * 37 % 100);
		assert_true(meta_put(&p, name, "v", &e));
	}
	assert_string_equal(meta_text(&p, "k1", &text), "k10=v k11=v k12=v k13=v k14=v k15=v k16=v k17=v k18=v k19=v");
	assert_true(meta_put(&p, "k11", "w", &e));
	assert_true(meta_put(&p, "k12", "", &e));
	/* a scan sees what was there when it began */
	scan = p.rt.meta->ops->scan(p.rt.meta, sl_text("k1"));
	assert_true(meta_put(&p, "k10", NULL, &e));
	assert_true(meta_put(&p, "nowhere", NULL, &e));
	assert_true(p.rt.meta->ops->next(scan, &key, &got, &e));
	assert_true(sl_is(key, "k10") && sl_is(got, "v"));
	p.rt.meta->ops->end(scan);
	assert_string_equal(meta_text(&p, "k1", &text), "k11=w k12= k13=v k14=v k15=v k16=v k17=v k18=v k19=v");
	assert_true(p.rt.meta->ops->get(p.rt.meta, sl_text("k12"), &value, &found, &e));
	assert_true(found && value.size == 0);
	assert_true(p.rt.meta->ops->get(p.rt.meta, sl_text("k10"), &value, &found, &e));
	assert_false(found);
	sl_buf_release(&text);
	sl_buf_release(&value);
	sl_meta_free(m);
}

/* -- with brokers ------------------------------------------------------------------------------- */

static void tables(void **state)
{
	struct bench b;
	struct process p;
	rd_kafka_t *w;
	char text[40];

	(void)state;
	open_bench(&b);
	w = kafka_producer(kafka_unique());
	rd_kafka_begin_transaction(w);
	produce_gold(&b, w, 0, "a", "1", "tally.0:1");
	produce_gold(&b, w, 0, "b", "1", "tally.0:4"); /* as if two were compacted away */
	produce_gold(&b, w, 1, "c", "1", "tally.1:1");
	kafka_end(w, true);
	rd_kafka_begin_transaction(w);
	produce_gold(&b, w, 1, "c", "never", "tally.1:2");
	kafka_end(w, false);
	process_open(&b, &p, false);
	assert_int_equal(sl_table_now(gold(&p)), 3);
	assert_int_equal(sl_table_stamp(gold(&p), 3), 5);
	assert_string_equal(gold_of(&p, "c", text), "1");
	rd_kafka_begin_transaction(w);
	produce_gold(&b, w, 0, "a", NULL, "tally.0:5");
	produce_gold(&b, w, 1, "d", "1", NULL);
	kafka_end(w, true);
	sync_all(&p);
	assert_int_equal(sl_table_now(gold(&p)), 5);
	assert_int_equal(sl_table_stamp(gold(&p), 5), 7);
	assert_string_equal(gold_of(&p, "a", text), "-");
	assert_string_equal(gold_of(&p, "d", text), "1");
	process_close(&p);
	rd_kafka_destroy(w);
	sl_topology_free(b.topology);
}

static void *end_it(void *zombie)
{
	kafka_end(zombie, true);
	return NULL;
}

/* What is in an open transaction at the time of open, or of sync, is waited for. */
static void open_transactions(void **state)
{
	struct bench b;
	struct process p;
	rd_kafka_t *zombie;
	pthread_t thread;
	char text[40];

	(void)state;
	open_bench(&b);
	zombie = kafka_producer(kafka_unique());
	rd_kafka_begin_transaction(zombie);
	produce_gold(&b, zombie, 0, "a", "late", NULL);
	sl_thread_start(&thread, "end", end_it, zombie);
	process_open(&b, &p, false);
	assert_string_equal(gold_of(&p, "a", text), "late");
	sl_thread_join(thread);
	rd_kafka_begin_transaction(zombie);
	produce_gold(&b, zombie, 1, "b", "late", NULL);
	sl_thread_start(&thread, "end", end_it, zombie);
	sync_all(&p);
	assert_string_equal(gold_of(&p, "b", text), "late");
	sl_thread_join(thread);
	process_close(&p);
	rd_kafka_destroy(zombie);
	sl_topology_free(b.topology);
}

/* One writes, all read; the writer at once. */
static void meta(void **state)
{
	struct bench b;
	struct process one, two;
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };

	(void)state;
	open_bench(&b);
	process_open(&b, &one, false);
	process_open(&b, &two, false);
	assert_true(meta_put(&one, "k1", "of one", &e));
	assert_string_equal(meta_text(&one, "k", &text), "k1=of one");
	assert_true(meta_put(&two, "k2", "of two", &e)); /* takes the guard from the other */
	assert_string_equal(meta_text(&two, "k", &text), "k1=of one k2=of two");
	assert_true(meta_put(&one, "k1", NULL, &e)); /* and back */
	assert_true(meta_put(&one, "k3", "", &e));
	assert_string_equal(meta_text(&one, "k", &text), "k2=of two k3=");
	sync_all(&two);
	assert_string_equal(meta_text(&two, "k", &text), "k2=of two k3=");
	process_close(&one);
	process_open(&b, &one, false);
	assert_string_equal(meta_text(&one, "", &text), "k2=of two k3=");
	process_close(&one);
	process_close(&two);
	sl_buf_release(&text);
	sl_topology_free(b.topology);
}

struct writing {
	struct process *p;
	char name;
};

static void *write_many(void *arg)
{
	struct writing *w = arg;
	struct sl_error e = { 0 };

	for (int i = 0; i < 10; i++) {
		char key[8];

		snprintf(key, sizeof key, "%c%d", w->name, i);
		if (!meta_put(w->p, key, "v", &e))
			fail_msg("%s", e.text);
	}
	return NULL;
}

/* Two processes, two threads each, that fence each other all the time: every write is there. */
static void writers_at_once(void **state)
{
	struct bench b;
	struct process p[2];
	struct writing w[4];
	pthread_t threads[4];
	struct sl_buf text = { 0 };
	size_t values = 0;

	(void)state;
	open_bench(&b);
	for (int i = 0; i < 2; i++)
		process_open(&b, &p[i], false);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct writing){ &p[i % 2], (char)('a' + i) };
		sl_thread_start(&threads[i], "write", write_many, &w[i]);
	}
	for (int i = 0; i < 4; i++)
		sl_thread_join(threads[i]);
	for (int i = 0; i < 2; i++) {
		sync_all(&p[i]);
		meta_text(&p[i], "", &text);
		for (const char *s = sl_buf_text(&text); *s; s++)
			values += *s == '=';
	}
	assert_int_equal(values, 80);
	for (int i = 0; i < 2; i++)
		process_close(&p[i]);
	sl_buf_release(&text);
	sl_topology_free(b.topology);
}

struct opening {
	struct bench *b;
	struct process p;
};

static void *open_one(void *arg)
{
	struct opening *o = arg;

	process_open(o->b, &o->p, true);
	return NULL;
}

/* Several frozen processes start at once while gold arrives: they see the same, then and later, and so does one that
 * starts when there is more. */
static void frozen(void **state)
{
	enum { COUNT = 3 };
	struct bench b;
	struct opening o[COUNT];
	struct process late;
	pthread_t threads[COUNT];
	rd_kafka_t *w;
	int64_t seen;
	char text[40];

	(void)state;
	open_bench(&b);
	w = kafka_producer(NULL);
	produce_gold(&b, w, 0, "before", "1", NULL);
	produce_gold(&b, w, 1, "before too", "1", NULL);
	for (int i = 0; i < COUNT; i++) {
		o[i].b = &b;
		sl_thread_start(&threads[i], "open", open_one, &o[i]);
	}
	for (int i = 0; i < 200; i++) {
		char key[16];

		snprintf(key, sizeof key, "k%d", i);
		produce_gold(&b, w, i % 2, key, "1", NULL);
	}
	for (int i = 0; i < COUNT; i++)
		sl_thread_join(threads[i]);
	produce_gold(&b, w, 0, "after", "1", NULL);
	seen = sl_table_now(gold(&o[0].p));
	process_open(&b, &late, true);
	for (int i = 0; i < COUNT; i++) {
		struct sl_error e = { 0 };

		/* meta is followed, tables are not */
		assert_true(sl_follow_sync(o[i].p.follow, true, &e));
		assert_int_equal(sl_table_now(gold(&o[i].p)), seen);
		assert_string_equal(gold_of(&o[i].p, "before", text), "1");
		assert_string_equal(gold_of(&o[i].p, "before too", text), "1");
		assert_string_equal(gold_of(&o[i].p, "after", text), "-");
	}
	assert_int_equal(sl_table_now(gold(&late)), seen);
	/* let go of the pins: the next frozen run takes what is there then */
	{
		struct sl_error e = { 0 };
		struct process next;

		if (!sl_freeze_release(&late.rt, &e))
			fail_msg("%s", e.text);
		process_open(&b, &next, true);
		assert_int_equal(sl_table_now(gold(&next)), 203);
		assert_string_equal(gold_of(&next, "after", text), "1");
		process_close(&next);
	}
	process_close(&late);
	for (int i = 0; i < COUNT; i++)
		process_close(&o[i].p);
	rd_kafka_destroy(w);
	sl_topology_free(b.topology);
}

/* A stop while a transaction is open at the end ends the opening. */
static void *stop_it(void *rt)
{
	atomic_store(&((struct sl_runtime *)rt)->stop, 1);
	return NULL;
}

static void stopped_while_opening(void **state)
{
	struct bench b;
	struct process p;
	struct sl_error e = { 0 };
	rd_kafka_t *zombie;
	pthread_t thread;

	(void)state;
	open_bench(&b);
	zombie = kafka_producer(kafka_unique());
	rd_kafka_begin_transaction(zombie);
	produce_gold(&b, zombie, 0, "a", "never", NULL);
	process_new(&b, &p, false);
	sl_thread_start(&thread, "stop", stop_it, &p.rt);
	assert_null(sl_follow_open(&p.k, &e));
	assert_int_equal(e.verdict, SL_RETRY);
	sl_thread_join(thread);
	process_close(&p);
	rd_kafka_destroy(zombie);
	sl_topology_free(b.topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_map),
		cmocka_unit_test(tables),
		cmocka_unit_test(open_transactions),
		cmocka_unit_test(meta),
		cmocka_unit_test(writers_at_once),
		cmocka_unit_test(frozen),
		cmocka_unit_test(stopped_while_opening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
