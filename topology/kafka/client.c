/* client.c -- librdkafka handles: names, properties, callbacks, and waiting for the first answer.
 *
 * A handle's properties come from three places, later ones over earlier ones: what Sluice sets for all
 * (`defaults`), what the file says under kafka:, and what the caller needs for this handle. What exactly-once
 * rests on cannot be set in the file: the table `owned` says why, one by one.
 *
 * Ownership: the caller destroys what sl_kafka_client returns; k->admin and k->raw_ends are made by
 * sl_kafka_connect. Threads: any; every handle has threads of librdkafka's own, whose log lines end in sl_log. */
#include "kafka.h"

#include "../base/log.h"
#include "../yaml.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WAITING_NS INT64_C(5000000000) /* between two lines that say what is waited for */
#define LOOK_MS 500

/* -- properties ------------------------------------------------------------------------------ */

static const struct {
	const char *name, *why;
} owned[] = {
	{ "bootstrap.servers", "use stream.brokers" },
	{ "metadata.broker.list", "use stream.brokers" },
	{ "group.id", "a step's group is stream.prefix, the topology's name and the step's" },
	{ "group.instance.id", "every member of a process would have the same, and they would fence each other" },
	{ "group.protocol", "offsets are committed in transactions, by the members of a classic group" },
	{ "partition.assignment.strategy",
	  "librdkafka below 2.10 can lose an assignment with the cooperative one: it is chosen by version" },
	{ "transactional.id",
	  "each member has one of its own, and it must stay the same: it fences a lost predecessor" },
	{ "enable.idempotence", "a repeated record would be doubled" },
	{ "acks", "a record is written when all replicas in sync have it" },
	{ "request.required.acks", "a record is written when all replicas in sync have it" },
	{ "isolation.level", "records of transactions that were aborted must not be read" },
	{ "enable.auto.commit", "offsets are committed with what was made of the records, in one transaction" },
	{ "auto.commit.enable", "offsets are committed with what was made of the records, in one transaction" },
	{ "enable.auto.offset.store", "offsets are committed with what was made of the records, in one transaction" },
	{ "auto.offset.reset", "a position that is gone is an error, never silently another one" },
	{ "enable.partition.eof", "reading to the end of a table rests on it" },
	{ "allow.auto.create.topics", "topics are made with the settings of the topology" },
	{ "partitioner", "records go to the partition of their group (murmur2), as in the embedded stream" },
	{ "delivery.report.only.error", "offsets of written records are needed" },
	{ "enabled_events", "Sluice takes callbacks" },
	{ "log.queue", "lines of librdkafka go to Sluice's log" },
};

/* Under everything else, and why. */
static const struct {
	rd_kafka_type_t only; /* with `both` false */
	bool both;
	const char *name, *value;
} defaults[] = {
	/* Must be 100 ms below transaction.timeout.ms. */
	{ .both = true, .name = "socket.timeout.ms", .value = "10000" },
	/* A cut network is noticed though nothing is sent. */
	{ .both = true, .name = "socket.keepalive.enable", .value = "true" },
	/* A broker that comes back is found within two seconds, not ten. */
	{ .both = true, .name = "reconnect.backoff.max.ms", .value = "2000" },
	{ .both = true, .name = "log.thread.name", .value = "false" },
	/* A flipped bit is a read to repeat, not a pair to train on. */
	{ RD_KAFKA_CONSUMER, .name = "check.crcs", .value = "true" },
	/* Read ahead, per handle; the default is 64 MiB for each of many members. */
	{ RD_KAFKA_CONSUMER, .name = "queued.max.messages.kbytes", .value = "16384" },
	{ RD_KAFKA_CONSUMER, .name = "enable.auto.commit", .value = "false" },
	{ RD_KAFKA_CONSUMER, .name = "enable.auto.offset.store", .value = "false" },
	{ RD_KAFKA_CONSUMER, .name = "isolation.level", .value = "read_committed" },
	{ RD_KAFKA_CONSUMER, .name = "auto.offset.reset", .value = "error" },
	{ RD_KAFKA_CONSUMER, .name = "allow.auto.create.topics", .value = "false" },
	{ RD_KAFKA_PRODUCER, .name = "enable.idempotence", .value = "true" },
	/* How long everybody else's reading can stop behind a process that died in mid-commit. */
	{ RD_KAFKA_PRODUCER, .name = "transaction.timeout.ms", .value = "15000" },
	{ RD_KAFKA_PRODUCER, .name = "linger.ms", .value = "5" },
	/* Pairs are text and shrink to a third. zstd packs tighter at several times the CPU time, and a commit waits
	 * for it; brokers keep what they get. lz4 is in every build of librdkafka. */
	{ RD_KAFKA_PRODUCER, .name = "compression.type", .value = "lz4" },
};

static const char *why_owned(const char *name)
{
	for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
		if (strcmp(owned[i].name, name) == 0)
			return owned[i].why;
	return NULL;
}

/* Values of these may be secrets, and librdkafka quotes a value that it refuses. */
static bool may_be_secret(const char *name)
{
	return strstr(name, "password") || strstr(name, "secret") || strstr(name, "key") || strstr(name, "pem") ||
	       strstr(name, "token") || strstr(name, "oauth") || strstr(name, "certificate") ||
	       strstr(name, "username");
}

/* A property under kafka: is at fault: "file:line:column: kafka.NAME: ...". */
static bool property_error(struct sl_error *e, const struct sl_property *p, const char *text)
{
	if (p->node)
		sl_error_at(e, p->node, "kafka.%s: %s", p->name, text);
	else
		sl_error_set(e, SL_STOP, "kafka.%s: %s", p->name, text);
	e->verdict = SL_STOP;
	return false;
}

static bool set_property(rd_kafka_conf_t *conf, const struct sl_property *p, struct sl_error *e)
{
	const char *why = why_owned(p->name);
	char text[256];

	if (why) {
		snprintf(text, sizeof text, "Sluice sets it itself: %s", why);
		return property_error(e, p, text);
	}
	switch (rd_kafka_conf_set(conf, p->name, p->value, text, sizeof text)) {
	case RD_KAFKA_CONF_OK:
		return true;
	case RD_KAFKA_CONF_UNKNOWN:
		snprintf(text, sizeof text, "librdkafka %s has no such property; its CONFIGURATION.md lists them",
			 rd_kafka_version_str());
		break;
	case RD_KAFKA_CONF_INVALID:
		if (may_be_secret(p->name))
			snprintf(text, sizeof text, "librdkafka %s does not take this value", rd_kafka_version_str());
		break;
	}
	return property_error(e, p, text);
}

/* Ours: a value that does not fit is a bug, or a property that this librdkafka lacks. */
static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct sl_error *e)
{
	char text[256];

	if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
		return true;
	return sl_error_set(e, SL_STOP, "cannot set librdkafka's '%s': %s", name, text);
}

static bool set_all(struct sl_kafka *k, rd_kafka_conf_t *conf, rd_kafka_type_t type, const char *const *settings,
		    struct sl_error *e)
{
	const struct sl_kafka_def *def = &k->topology->kafka;
	int64_t most = k->topology->record_max_bytes + SL_KAFKA_ENVELOPE_BYTES;
	char number[32];

	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
		if ((defaults[i].both || defaults[i].only == type) &&
		    !set(conf, defaults[i].name, defaults[i].value, e))
			return false;
	snprintf(number, sizeof number, "%" PRId64, most > 1000000 ? most : 1000000);
	if (!set(conf, "bootstrap.servers", def->brokers, e) || !set(conf, "client.id", k->app, e) ||
	    !set(conf, "message.max.bytes", number, e))
		return false;
	/* A fetch must have room for the largest batch, and need not be larger than what is read ahead. */
	snprintf(number, sizeof number, "%" PRId64, most > 16 << 20 ? most : 16 << 20);
	if (type == RD_KAFKA_CONSUMER && !set(conf, "fetch.max.bytes", number, e))
		return false;
	for (size_t i = 0; i < def->property_count; i++)
		if (!set_property(conf, &def->properties[i], e))
			return false;
	for (; settings && *settings; settings += 2)
		if (!set(conf, settings[0], settings[1], e))
			return false;
	return true;
}

/* -- callbacks ------------------------------------------------------------------------------- */

/* What is fatal to one producer is told to whoever owns it by the call that fails. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	(void)rk;
	if (code != RD_KAFKA_RESP_ERR__FATAL)
		sl_kafka_complain(*(struct sl_kafka **)opaque, code, reason);
}

/* What is known otherwise, and better: failed connections come to on_error, once for all handles instead of once for
 * each; ends of transactions to those who made them; time outs (REQTMOUT) to on_error again; CONFWARN says that a
 * consumer has no use for a producer's property, which is how kafka: is meant. */
static const char *const quiet[] = { "FAIL", "ERROR", "FATAL", "TXNERR", "GETPID", "REQTMOUT", "CONFWARN" };

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	enum sl_log_level to = level <= 4 ? SL_LOG_WARN : level == 5 ? SL_LOG_NOTE : SL_LOG_DEBUG;
	char where[SL_ID_MAX];

	for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
		if (strcmp(facility, quiet[i]) == 0)
			to = SL_LOG_DEBUG;
	snprintf(where, sizeof where, "client=%s facility=%s", rk ? rd_kafka_name(rk) : "-", facility);
	sl_log(to, where, "%s", text);
}

rd_kafka_t *sl_kafka_client(struct sl_kafka *k, rd_kafka_type_t type, const char *const *settings,
			    void (*prepare)(rd_kafka_conf_t *conf, void *arg), void *arg, struct sl_error *e)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[300];
	rd_kafka_t *rk;

	assert(k->self == k);
	assert(!arg || *(struct sl_kafka **)arg == k);
	if (!set_all(k, conf, type, settings, e))
		goto failed;
	if (prepare)
		prepare(conf, arg);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_stats_cb(conf, sl_kafka_on_statistics);
	rd_kafka_conf_set_opaque(conf, arg ? arg : &k->self);
	rk = rd_kafka_new(type, conf, text, sizeof text);
	if (rk)
		return rk; /* which owns conf now */
	sl_error_set(e, SL_STOP, "cannot make a Kafka client: %s; check the properties under kafka:", text);
failed:
	rd_kafka_conf_destroy(conf);
	return NULL;
}

/* -- names and the common handles ------------------------------------------------------------- */

void sl_kafka_name(const struct sl_kafka *k, char to[SL_ID_MAX], const char *fmt, ...)
{
	int n = snprintf(to, SL_ID_MAX, "%s.", k->app);
	va_list args;

	assert(n > 0 && n < SL_ID_MAX);
	va_start(args, fmt);
	n += vsnprintf(to + n, (size_t)(SL_ID_MAX - n), fmt, args);
	va_end(args);
	assert(n < SL_ID_MAX);
}

bool sl_kafka_connect(struct sl_kafka *k, const struct sl_topology *t, struct sl_error *e)
{
	const char *const raw[] = { "isolation.level", "read_uncommitted", NULL };
	const char *prefix = t->kafka.prefix ? t->kafka.prefix : "";

	assert(!k->self);
	assert(t->stream == SL_STREAM_KAFKA);
	k->self = k;
	k->topology = t;
	sl_mutex_init(&k->lock);
	k->names = sl_calloc(t->topic_count, sizeof *k->names);
	if (snprintf(k->app, sizeof k->app, "%s%s", prefix, t->name) > SL_ID_MAX / 2)
		return sl_error_set(e, SL_STOP,
				    "stream.prefix is too long: names on the brokers have at most 249 characters");
	for (size_t i = 0; i < t->topic_count; i++) {
		size_t size = strlen(prefix) + strlen(t->topics[i].name) + 1;

		if (t->topics[i].inlined)
			continue;
		k->names[i] = sl_malloc(size);
		snprintf(k->names[i], size, "%s%s", prefix, t->topics[i].name);
	}
	k->admin = sl_kafka_client(k, RD_KAFKA_CONSUMER, NULL, NULL, NULL, e);
	if (k->admin)
		k->raw_ends = sl_kafka_client(k, RD_KAFKA_CONSUMER, raw, NULL, NULL, e);
	return k->raw_ends != NULL;
}

void sl_kafka_disconnect(struct sl_kafka *k)
{
	if (!k->self)
		return;
	sl_kafka_offsets_close(k);
	if (k->admin)
		rd_kafka_destroy(k->admin);
	if (k->raw_ends)
		rd_kafka_destroy(k->raw_ends);
	for (size_t i = 0; i < k->topology->topic_count; i++)
		free(k->names[i]);
	free(k->names);
	sl_mutex_destroy(&k->lock);
	k->admin = k->raw_ends = NULL;
	k->names = NULL;
	k->self = NULL;
}

/* -- the first answer ---------------------------------------------------------------------------- */

bool sl_kafka_stopping(const struct sl_kafka *k)
{
	const struct sl_runtime *rt = k->rt;

	return rt && (atomic_load(&rt->stop) || (rt->options.stopped && rt->options.stopped(rt->options.arg)));
}

/* What the brokers say about themselves; false: nothing yet. */
static bool answers(struct sl_kafka *k, rd_kafka_resp_err_t *code)
{
	const struct rd_kafka_metadata *m;

	*code = rd_kafka_metadata(k->admin, 0, NULL, &m, LOOK_MS);
	rd_kafka_poll(k->admin, 0); /* complaints */
	if (*code)
		return false;
	rd_kafka_metadata_destroy(m);
	return true;
}

bool sl_kafka_reach(struct sl_kafka *k, int64_t patience_ms, struct sl_error *e)
{
	int64_t begun = sl_monotonic_ns(), said = begun - WAITING_NS / 2;
	rd_kafka_resp_err_t code;
	char trouble[400];

	while (!answers(k, &code)) {
		int64_t now = sl_monotonic_ns();

		if (sl_kafka_stopping(k))
			return sl_error_set(e, SL_RETRY, "stopped while waiting for the brokers '%.200s'",
					    k->topology->kafka.brokers);
		if (sl_kafka_in_vain(k, e))
			return false;
		if (sl_kafka_verdict(code) == SL_STOP)
			return sl_kafka_failed(k, e, code, NULL, "ask the brokers '%.200s'",
					       k->topology->kafka.brokers);
		if (patience_ms && now - begun > patience_ms * 1000000)
			return sl_kafka_failed(k, e, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "reach the brokers '%.200s'",
					       k->topology->kafka.brokers);
		sl_kafka_trouble(k, trouble);
		if (now - said > WAITING_NS) {
			sl_log(SL_LOG_WARN, NULL, "waiting for the brokers '%.200s': %s", k->topology->kafka.brokers,
			       *trouble ? trouble : "no answer yet");
			said = now;
		}
	}
	atomic_store(&k->reached, true);
	sl_kafka_answered(k);
	return true;
}
