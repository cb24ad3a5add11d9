/* cmd_export.c -- `sluice export`: a topic as a file.
 *
 * Of a topic with decisions, or a table, the latest record of each id is written
 * (topic_pairs.h). A dead letter is written as what it was, whether it is a pair or not. */
#include "commands.h"

#include "../schemas/jsonl.h"
#include "base/file.h"
#include "topic_pairs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct export_args {
	struct sl_common common;
	const char *topic, *format, *output, *where;
	int64_t limit;
};

static const struct sl_arg args[] = {
	{ "topic", 0, SL_ARG_TEXT, "NAME", "the topic to write, for example pairs.curated",
	  offsetof(struct export_args, topic) },
	{ "format", 0, SL_ARG_TEXT, "FORMAT", "implicit (default), explicit, full or avro",
	  offsetof(struct export_args, format) },
	{ "output", 'o', SL_ARG_TEXT, "FILE", "written beside and renamed when whole (default: standard output)",
	  offsetof(struct export_args, output) },
	{ "where", 0, SL_ARG_TEXT, "KEY=VALUE", "only pairs with this source, domain, step or code",
	  offsetof(struct export_args, where) },
	{ "limit", 0, SL_ARG_COUNT, "N", "at most so many (0: all)", offsetof(struct export_args, limit) },
	SL_COMMON_ARGS,
};

static const char *const where_keys[] = { "source", "domain", "step", "code", NULL };

/* -- Export --------------------------------------------------------------------------- */

struct export
{
	const struct export_args *args;
	struct sl_topic_pairs pairs;
	struct sl_where where;
	enum sl_format format;
	bool dead; /* a topic of dead letters */
	FILE *out;
	const char *to; /* for people */
	struct sl_container *container;
	struct sl_buf line;
	int64_t written;
};

static void set_header(json_t *to, const char *name, const struct sl_record *r, const char *header)
{
	struct sl_bytes value = sl_header_find(r->headers, header);

	if (value.data)
		json_object_set_new(to, name, json_stringn(value.data, value.size));
}

static json_t *base64(struct sl_bytes bytes)
{
	struct sl_buf text = { 0 };
	json_t *value;
	int size = EVP_EncodeBlock(sl_buf_reserve(&text, bytes.size / 3 * 4 + 5), bytes.data, (int)bytes.size);

	value = json_stringn((const char *)text.data, (size_t)size);
	sl_buf_release(&text);
	return value;
}

/* A dead letter: why, from where, and the original bytes as a text, or as the pair they hold. */
static void write_dead(struct export *x, const struct sl_record *r, const struct sl_pair *p)
{
	json_t *o = json_object(), *value;
	char *text;

	set_header(o, "step", r, "__connect.errors.stage");
	set_header(o, "code", r, "__connect.errors.exception.class.name");
	set_header(o, "reason", r, "__connect.errors.exception.message");
	set_header(o, "topic", r, "__connect.errors.topic");
	set_header(o, "partition", r, "__connect.errors.partition");
	set_header(o, "offset", r, "__connect.errors.offset");
	set_header(o, "file", r, "sluice.file");
	set_header(o, "line", r, "sluice.line");
	set_header(o, "source", r, "sluice.source");
	set_header(o, "length", r, "sluice.length");
	set_header(o, "hash", r, "sluice.hash");
	if (p) {
		sl_buf_clear(&x->line);
		sl_jsonl_write(p, SL_FORMAT_FULL, &x->line);
		value = json_loadb((const char *)x->line.data, x->line.size, 0, NULL);
		json_object_set_new(o, "pair", value);
	} else {
		value = json_stringn(r->value.data, r->value.size);
		if (!value)
			json_object_set_new(o, "base64", base64(r->value)); /* not UTF-8 */
		else
			json_object_set_new(o, "value", value);
	}
	text = json_dumps(o, JSON_COMPACT);
	sl_buf_clear(&x->line);
	if (text)
		sl_buf_print(&x->line, "%s\n", text);
	free(text);
	json_decref(o);
}

static bool write_record(struct export *x, const struct sl_record *r, const struct sl_pair *p, struct sl_error *e)
{
	if (x->container)
		return sl_container_add(x->container, p, e);
	sl_buf_clear(&x->line);
	if (x->dead)
		write_dead(x, r, p);
	else
		sl_jsonl_write(p, x->format, &x->line);
	if (fwrite(x->line.data, 1, x->line.size, x->out) == x->line.size)
		return true;
	if (errno == EPIPE)
		return sl_error_set(e, SL_STOP, "%s", ""); /* the reader has enough: `| head` */
	return sl_error_errno(e, SL_STOP, "cannot write '%s'", x->to);
}

/* A dead letter may hold anything; *pair is what it holds, or has its source only and *whole is NULL. */
static bool next_dead(struct export *x, struct sl_record *r, struct sl_pair *pair, const struct sl_pair **whole,
		      struct sl_error *e)
{
	struct sl_error not_a_pair;

	if (!sl_topic_walk_next(&x->pairs.walk, r, e))
		return false;
	sl_arena_clear(&x->pairs.arena);
	sl_pair_init(pair);
	*whole = pair;
	if (!sl_pair_decode(r->value, &x->pairs.arena, pair, &not_a_pair)) {
		sl_pair_init(pair);
		pair->source = sl_header_find(r->headers, "sluice.source");
		*whole = NULL;
	}
	return true;
}

static bool write_topic(struct export *x, struct sl_error *e)
{
	struct sl_record r;
	struct sl_pair p;
	const struct sl_pair *pair = &p;

	while (x->dead ? next_dead(x, &r, &p, &pair, e) : sl_topic_pairs_next(&x->pairs, &r, &p, e)) {
		if (x->args->limit && x->written >= x->args->limit)
			return true;
		if (!sl_where_holds(&x->where, &p, &r))
			continue;
		if (!write_record(x, &r, pair, e))
			return false;
		x->written++;
	}
	return e->verdict == SL_OK;
}

static bool finish_file(struct export *x, const char *to, bool sync, struct sl_error *e)
{
	bool done = fflush(x->out) == 0 && (!sync || fsync(fileno(x->out)) == 0);

	if (!done)
		sl_error_errno(e, SL_STOP, "cannot write '%s'", to);
	fclose(x->out);
	x->out = NULL;
	return done;
}

/* To a file: all of it or none. To what is no plain file (/dev/null, a pipe, a link): as it comes. */
static bool to_file(struct export *x, const char *path, bool avro, struct sl_error *e)
{
	bool beside = sl_file_is_plain(path), done;
	struct sl_buf name = { 0 };
	const char *to;

	sl_buf_print(&name, "%s%s", path, beside ? ".part" : "");
	x->to = to = sl_buf_text(&name);
	if (avro)
		x->container = sl_container_new(to, e);
	else if (!(x->out = fopen(to, "we")))
		sl_error_errno(e, SL_STOP, "cannot write '%s'", to);
	done = (x->container || x->out) && write_topic(x, e);
	if (x->container) {
		struct sl_error closing;

		if (!sl_container_close(x->container, done ? e : &closing))
			done = false;
		x->container = NULL;
	} else if (done) {
		done = finish_file(x, to, beside, e);
	} else if (x->out) {
		fclose(x->out);
		x->out = NULL;
	}
	if (done && beside && rename(to, path) != 0)
		done = sl_error_errno(e, SL_STOP, "cannot rename to '%s'", path);
	if (!done && beside)
		(void)unlink(to);
	sl_buf_release(&name);
	return done;
}

static int export_topic(const struct export_args *a, struct sl_session *s, struct export *x, bool avro)
{
	struct sl_error e = { 0 };
	int topic = sl_command_topic(s->topology, a->topic);
	bool done;
	int code = SL_EXIT_OK;

	if (topic < 0)
		return SL_EXIT_USAGE;
	x->dead = topic == s->topology->dead_ingest;
	for (size_t i = 0; i < s->topology->step_count; i++)
		x->dead |= s->topology->steps[i].dead == topic;
	if (s->topology->topics[topic].inlined)
		return sl_command_usage("topic '%s' is inline: nothing is stored between its two steps", a->topic);
	if (topic == s->topology->models)
		return sl_command_usage("topic '%s' holds models: see `sluice models list --json`", a->topic);
	if (avro && x->dead)
		return sl_command_usage("dead letters are not all pairs: export '%s' without --format avro", a->topic);
	sl_topic_pairs_open(&x->pairs, s->client, s->topology, topic);
	done = a->output ? to_file(x, a->output, avro, &e) : write_topic(x, &e);
	if (!done)
		code = sl_command_failed(&e);
	else if (!a->output)
		code = sl_command_flush();
	if (code == SL_EXIT_OK)
		fprintf(stderr, "sluice: %" PRId64 " records of '%s'%s%s\n", x->written, a->topic,
			a->output ? " in " : "", a->output ? a->output : "");
	sl_topic_pairs_close(&x->pairs);
	return code;
}

static int run(void *self, const struct sl_texts *words)
{
	struct export_args *a = self;
	const char *format = a->format ? a->format : "implicit";
	struct export x = { .args = a, .out = stdout, .to = "standard output" };
	struct sl_error e = { 0 };
	struct sl_session s;
	bool avro = strcmp(format, "avro") == 0;
	int code;

	(void)words;
	if (!a->topic)
		return sl_command_usage("export needs --topic; `sluice status` lists the topics");
	if (strcmp(format, "implicit") == 0)
		x.format = SL_FORMAT_IMPLICIT;
	else if (strcmp(format, "explicit") == 0)
		x.format = SL_FORMAT_EXPLICIT;
	else if (strcmp(format, "full") == 0)
		x.format = SL_FORMAT_FULL;
	else if (!avro)
		return sl_command_usage("unknown format '%s', expected implicit, explicit, full or avro", format);
	if (avro && !a->output)
		return sl_command_usage("an Avro container needs a file: -o FILE");
	if (a->where && !sl_where_parse(a->where, where_keys, &x.where, &e))
		return sl_command_usage("%s", e.text);
	code = sl_command_open(&a->common, &s);
	if (code == SL_EXIT_OK)
		code = export_topic(a, &s, &x, avro);
	sl_command_close(&s);
	sl_buf_release(&x.line);
	return code;
}

const struct sl_command sl_command_export = {
	.name = "export",
	.usage = "--topic NAME [--format FORMAT] [-o FILE]",
	.summary = "write a topic as JSON lines or an Avro container",
	.more = "implicit is what TRL's RewardTrainer reads (the prompt inside both conversations), explicit what its\n"
		"DPOTrainer reads; full is the whole record. Of decisions that were taken again the latest counts.",
	.args = args,
	.self_size = sizeof(struct export_args),
	.run = run,
};
