/* errors.c -- what an error of librdkafka means: a verdict, and words that say what to look at.
 *
 * Verdicts. What follows is for calls outside a transaction's own (transaction.c goes by the three flags of an error
 * object). The question is only: can it pass while nobody does anything?
 *
 *     SL_RETRY  brokers away, starting, moving their leaders; time outs; a full or failed disk; too few replicas in
 *               sync; groups and transactions of others in the way; quotas. And every code that is not
 *               known here: a wait that says what it waits for loses nothing, a stop does.
 *     SL_STOP   what names a cause that only a person removes: credentials, certificates, permissions, limits and
 *               values of the configuration, brokers too old, topics or records that are gone, a fenced id,
 *               and calls that we should not have made.
 *
 * The table below has a line for each that stops, with the reason in the form of what to do, and a few that wait but
 * have a cause worth naming. Names of librdkafka's codes begin with two underscores behind ERR.
 *
 * Trouble. Nobody gets an answer that says "connection refused": calls time out, and the cause comes by
 * error_cb, from whatever handle is polled. It is kept in k->trouble, in words, until the next
 * answer, and sl_kafka_failed appends it to time outs. Complaints come again every 30 seconds while they
 * last, so an older one than TROUBLE_LASTS_NS is over even if nobody said so.
 *
 * Threads: any. No value of a property gets into a text: librdkafka names users and hosts, never passwords. */
#include "kafka.h"

#include "../base/log.h"

#include <stdarg.h>
#include <stdio.h>

#define SECOND_NS INT64_C(1000000000)
#define TROUBLE_LASTS_NS (75 * SECOND_NS)
#define TROUBLE_LOGGED_NS (5 * SECOND_NS) /* at most a line so often, whatever the brokers and handles */
#define PROBABLY_VAIN_NS (5 * SECOND_NS)

#define CREDENTIALS "check kafka.sasl.username, kafka.sasl.password and kafka.sasl.mechanism"
#define MECHANISM                                                                                                      \
	"check kafka.sasl.mechanism and kafka.security.protocol against what the brokers' listener on this port has"
#define TLS                                                                                                            \
	"check kafka.ssl.ca.location (the authority of the brokers' certificates, as PEM) and the names in "           \
	"stream.brokers"
#define LISTENER "check kafka.security.protocol and the ports in stream.brokers"
#define TOO_OLD "brokers of Kafka 2.5 or later are needed"
#define TOO_LARGE "raise max.message.bytes of the topic, or lower limits.record"
#define BUG "this should not happen: please report it"
#define AGAIN "another client took its place; if that was not meant, see that no two run with one data folder"

static const struct meaning {
	rd_kafka_resp_err_t code;
	enum sl_verdict verdict;
	const char *todo; /* NULL: nothing */
} meanings[] = {
	/* who we are */
	{ RD_KAFKA_RESP_ERR__AUTHENTICATION, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, SL_STOP, MECHANISM },
	{ RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, SL_STOP, MECHANISM },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTH_DISABLED, SL_STOP, MECHANISM },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_EXPIRED, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_NOT_FOUND, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_OWNER_MISMATCH, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, SL_STOP, CREDENTIALS },
	{ RD_KAFKA_RESP_ERR__SSL, SL_STOP, TLS },
	{ RD_KAFKA_RESP_ERR_SECURITY_DISABLED, SL_STOP, "the brokers have no authorizer" },
	/* what we may do */
	{ RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, SL_STOP,
	  "grant its user Describe, DescribeConfigs, Read, Write and (to make it) Create on the topic, and Delete "
	  "where "
	  "it is kept until read" },
	{ RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, SL_STOP, "grant its user Read on the group" },
	{ RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, SL_STOP,
	  "grant its user IdempotentWrite (and Create, unless granted per topic) on the cluster" },
	{ RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, SL_STOP,
	  "grant its user Write and Describe on transactional ids that begin with stream.prefix and the topology's "
	  "name" },
	/* what the configuration asks */
	{ RD_KAFKA_RESP_ERR__INVALID_ARG, SL_STOP, "check the properties under kafka:" },
	{ RD_KAFKA_RESP_ERR_INVALID_CONFIG, SL_STOP, NULL },
	{ RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, SL_STOP, "check partitions of the topic in the topology" },
	{ RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, SL_STOP, "lower stream.replication, or start so many brokers" },
	{ RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT, SL_STOP, NULL },
	{ RD_KAFKA_RESP_ERR_POLICY_VIOLATION, SL_STOP, "the brokers' policy or the topic's settings forbid it" },
	{ RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, SL_STOP, "check stream.prefix and the topic's name" },
	{ RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, SL_STOP, "check stream.prefix and the topology's name" },
	{ RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, SL_STOP,
	  "set kafka.session.timeout.ms between the brokers' group.min.session.timeout.ms and "
	  "group.max.session.timeout.ms" },
	{ RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, SL_STOP,
	  "kafka.transaction.timeout.ms must not be over the brokers' transaction.max.timeout.ms" },
	{ RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, SL_STOP,
	  "members of the group use another assignor: run one version of librdkafka in all processes" },
	{ RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SL_STOP, TOO_LARGE },
	{ RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, SL_STOP,
	  "raise segment.bytes of the topic, or lower limits.record" },
	{ RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, SL_STOP, TOO_LARGE },
	{ RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, SL_STOP,
	  "the record's time is outside what the topic's message.timestamp.*.max.ms allow: check the clocks" },
	{ RD_KAFKA_RESP_ERR_INVALID_RECORD, SL_STOP, "the topic's settings do not allow it: compare with sluice plan" },
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, SL_STOP, "check kafka.compression.type" },
	{ RD_KAFKA_RESP_ERR__BAD_COMPRESSION, SL_STOP, "this librdkafka cannot unpack it" },
	{ RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, SL_STOP, "raise the limits of threads and open files (ulimit)" },
	{ RD_KAFKA_RESP_ERR__FS, SL_STOP, NULL },
	/* what the brokers can */
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, SL_STOP, TOO_OLD },
	{ RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, SL_STOP, TOO_OLD },
	{ RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, SL_STOP, TOO_OLD ", or " MECHANISM },
	{ RD_KAFKA_RESP_ERR_INVALID_REQUEST, SL_STOP, NULL },
	/* what is gone */
	{ RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, SL_STOP, "was it deleted? sluice plan shows what there is" },
	{ RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, SL_STOP, "was it deleted? sluice plan shows what there is" },
	{ RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, SL_STOP, "records were removed before they were read" },
	{ RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, SL_STOP, "records were removed before they were read" },
	{ RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED, SL_STOP, NULL },
	/* who has taken our place */
	{ RD_KAFKA_RESP_ERR__FENCED, SL_STOP, AGAIN },
	{ RD_KAFKA_RESP_ERR_PRODUCER_FENCED, SL_STOP, AGAIN },
	{ RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, SL_STOP, AGAIN },
	{ RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, SL_STOP, AGAIN },
	/* what we should not have done */
	{ RD_KAFKA_RESP_ERR__STATE, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__CONFLICT, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__READ_ONLY, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__INVALID_TYPE, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__NOT_CONFIGURED, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__EXISTING_SUBSCRIPTION, SL_STOP, BUG },
	{ RD_KAFKA_RESP_ERR__UNKNOWN_GROUP, SL_STOP, BUG },
	/* what may pass, and where to look meanwhile */
	{ RD_KAFKA_RESP_ERR__RESOLVE, SL_RETRY, "check the host names in stream.brokers" },
	{ RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, SL_RETRY, "look at the brokers' disks and logs" },
	{ RD_KAFKA_RESP_ERR_LOG_DIR_NOT_FOUND, SL_RETRY, "look at the brokers' disks and logs" },
	{ RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, SL_RETRY, "too few brokers with a current copy are up" },
	{ RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, SL_RETRY, "too few brokers with a current copy are up" },
	{ RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, SL_RETRY, "the brokers' group.max.size is reached" },
	{ RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, SL_RETRY, "the brokers do not know it (yet)" },
	{ RD_KAFKA_RESP_ERR__FATAL, SL_RETRY, NULL },
};

static const struct meaning *meaning(rd_kafka_resp_err_t code)
{
	static const struct meaning unknown = { .verdict = SL_RETRY };

	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (meanings[i].code == code)
			return &meanings[i];
	return &unknown;
}

enum sl_verdict sl_kafka_verdict(rd_kafka_resp_err_t code)
{
	return meaning(code)->verdict;
}

enum sl_verdict sl_kafka_no_right(const struct sl_kafka *k)
{
	return atomic_load(&k->counters.committed) > 0 ? SL_RETRY : SL_STOP;
}

static bool is_right(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

/* The cause of these is told by error_cb, if at all. */
static bool says_nothing(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE ||
	       code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
	       code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
	       code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT || code == RD_KAFKA_RESP_ERR__DESTROY;
}

bool sl_kafka_failed(struct sl_kafka *k, struct sl_error *e, rd_kafka_resp_err_t code, const char *detail,
		     const char *what, ...)
{
	const struct meaning *m = meaning(code);
	const char *words = detail && *detail ? detail : rd_kafka_err2str(code);
	size_t size = strlen(words);
	char task[200], trouble[400] = "";
	va_list args;

	va_start(args, what);
	vsnprintf(task, sizeof task, what, args);
	va_end(args);
	if (says_nothing(code))
		sl_kafka_trouble(k, trouble);
	size -= size > 0 && words[size - 1] == '.';
	return sl_error_set(e, is_right(code) ? sl_kafka_no_right(k) : m->verdict, "cannot %s: %.*s%s%s%s%s", task,
			    (int)size, words, m->todo ? "; " : "", m->todo ? m->todo : "", *trouble ? "; " : "",
			    trouble);
}

/* -- trouble ------------------------------------------------------------------------------- */

/* librdkafka: "sasl_ssl://host:9092/bootstrap: Connect to ... failed: refused (after 0ms in state CONNECT, 3 identical
 * error(s) suppressed)". What is wrong and where, without the counting, which would make every complaint a new one. */
static void tidy(const char *reason, char *to, size_t size)
{
	const char *end = strstr(reason, " (after "), *scheme = strstr(reason, "://"), *colon = strstr(reason, ": ");
	const char *from = scheme && colon && scheme < colon ? scheme + 3 : reason;
	const char *slash = colon && colon > from ? memchr(from, '/', (size_t)(colon - from)) : NULL;

	if (!end)
		end = reason + strlen(reason);
	if (slash) /* a broker's name */
		snprintf(to, size, "broker '%.*s'%.*s", (int)(slash - from), from, (int)(end - colon), colon);
	else
		snprintf(to, size, "%.*s", (int)(end - from), from);
}

/* A connection ends as its protocol begins: librdkafka guesses in its text, OpenSSL 3 calls it an unexpected end. A
 * broker that goes away at that moment looks the same. */
static bool other_protocol(const char *reason)
{
	return strstr(reason, "security.protocol") || strstr(reason, "listener?") || strstr(reason, "unexpected eof") ||
	       strstr(reason, "wrong version number");
}

/* It appended its nonce twice, which Kafka 4 refuses as it would a wrong password (librdkafka #4895). */
static bool scram_is_broken(rd_kafka_resp_err_t code, const char *reason)
{
	return code == RD_KAFKA_RESP_ERR__AUTHENTICATION && strstr(reason, "SCRAM") && rd_kafka_version() < 0x02060100;
}

/* What to look at is said once, behind librdkafka's own hint. */
static void words(struct sl_kafka *k, rd_kafka_resp_err_t code, const char *reason, char to[400])
{
	char text[300];
	const char *todo = meaning(code)->todo;

	tidy(reason, text, sizeof text);
	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		snprintf(to, 400, "none of the brokers '%.200s' answers%s", k->topology->kafka.brokers,
			 atomic_load(&k->reached) ? "" : "; if they run, " LISTENER);
	else if (strstr(reason, "mechanism handshake"))
		snprintf(to, 400, "%.250s; " MECHANISM, text);
	else if (scram_is_broken(code, reason))
		snprintf(to, 400,
			 "%.200s; " CREDENTIALS
			 "; librdkafka below 2.6.1 (here %s) has no SCRAM for Kafka 4: use PLAIN",
			 text, rd_kafka_version_str());
	else if (other_protocol(reason))
		snprintf(to, 400, "%s; " LISTENER, text);
	else
		snprintf(to, 400, "%s%s%s", text, todo ? "; " : "", todo ? todo : "");
}

void sl_kafka_complain(struct sl_kafka *k, rd_kafka_resp_err_t code, const char *reason)
{
	bool guess = other_protocol(reason), broken = strstr(reason, "isconnected") || strstr(reason, "reset by peer");
	bool vain = guess || (meaning(code)->verdict == SL_STOP && code != RD_KAFKA_RESP_ERR__FENCED);
	int64_t now = sl_monotonic_ns();
	char text[400];
	bool log, old;

	if (code == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED || code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return; /* a member's own business: it sees the same when it polls */
	if (atomic_load(&k->reached) && (broken || strstr(reason, "unexpected eof")))
		return; /* brokers close idle connections; one that is gone refuses the next, and that is told */
	words(k, code, reason, text);
	sl_lock(&k->lock);
	old = !*k->trouble || now - k->trouble_ns > TROUBLE_LASTS_NS;
	/* That all are down comes behind why they are, and says less. */
	if (old || code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		if (old || vain != k->trouble_vain)
			k->trouble_since_ns = now;
		memcpy(k->trouble, text, sizeof text);
		k->trouble_vain = vain;
		k->trouble_sure = vain && !guess && !broken;
	}
	k->trouble_ns = now;
	log = atomic_load(&k->reached) && now - k->trouble_logged_ns > TROUBLE_LOGGED_NS;
	if (log)
		k->trouble_logged_ns = now;
	memcpy(text, k->trouble, sizeof text);
	sl_unlock(&k->lock);
	sl_log(log ? SL_LOG_WARN : SL_LOG_DEBUG, NULL, "%s", text);
}

void sl_kafka_trouble(struct sl_kafka *k, char text[400])
{
	sl_lock(&k->lock);
	if (*k->trouble && sl_monotonic_ns() - k->trouble_ns > TROUBLE_LASTS_NS)
		*k->trouble = 0;
	memcpy(text, k->trouble, sizeof k->trouble);
	sl_unlock(&k->lock);
}

void sl_kafka_answered(struct sl_kafka *k)
{
	sl_lock(&k->lock);
	*k->trouble = 0;
	sl_unlock(&k->lock);
}

bool sl_kafka_in_vain(struct sl_kafka *k, struct sl_error *e)
{
	bool is;

	sl_lock(&k->lock);
	is = *k->trouble && k->trouble_vain &&
	     (k->trouble_sure || sl_monotonic_ns() - k->trouble_since_ns > PROBABLY_VAIN_NS);
	if (is)
		sl_error_set(e, SL_STOP, "%s", k->trouble);
	sl_unlock(&k->lock);
	return is;
}
