/* gold_sample.c -- `sluice gold sample`: a uniform sample of the arrived stream, for people to verify.
 *
 * How often arrived labels are right can only be measured on pairs that were drawn at random from what
 * arrived. What dedupe let through is not kept for ever (pairs.unique goes when it is read), but the raw
 * stream is, and so is what was set aside. So the sample is drawn from what dedupe has read, without
 * gold pairs, without what it set aside or refused, and without pairs that are gold by now.
 *
 * The draw has no state: a pair's place is the hash of (seed, id), the N first places win. So the same command
 * gives the same sample, a larger N contains the smaller one, and when N are verified the next N follow. */
#include "gold.h"

#include "../operators/id_map.h"
#include "../operators/reverse.h"
#include "../schemas/jsonl.h"
#include "base/file.h"
#include "least.h"
#include "status_table.h"
#include "topic_pairs.h"

#include <inttypes.h>
#include <string.h>

struct sample {
	struct sl_session *session;
	const struct sl_step *dedupe; /* NULL: none, or another topic is asked for */
	int topic;
	json_t *read; /* by partition: how far dedupe has read */
	uint64_t seed;
	struct sl_id_map gold;  /* pair_key of the gold pairs */
	struct sl_id_map aside; /* occurrence of what dedupe did not let through */
	struct sl_id_map drawn; /* ids: a topic may hold a pair twice */
	struct sl_least least;
	int64_t pairs; /* that could have been drawn */
};

/* One arrival of a pair: copies have one id. */
static struct sl_id occurrence(const struct sl_pair *p)
{
	const struct sl_arrival *a = &p->arrival;
	struct sl_buf b = { 0 };
	struct sl_id hash;

	sl_buf_add_bytes(&b, sl_id_bytes(&p->id));
	sl_buf_print(&b, "%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%zu:", a->line, a->item, a->partition,
		     a->offset, a->file.size);
	sl_buf_add_bytes(&b, a->file);
	sl_buf_add_bytes(&b, a->topic);
	hash = sl_hash128(b.data, b.size);
	sl_buf_release(&b);
	return hash;
}

static bool note_aside(struct sample *x, int topic, struct sl_error *e)
{
	struct sl_topic_pairs pairs;
	struct sl_record r;
	struct sl_pair p;

	if (x->session->topology->topics[topic].inlined)
		return true;
	sl_topic_pairs_open(&pairs, x->session->client, x->session->topology, topic);
	pairs.skip_malformed = true;
	while (sl_topic_pairs_next(&pairs, &r, &p, e))
		sl_id_map_put(&x->aside, occurrence(&p), 1);
	sl_topic_pairs_close(&pairs);
	return e->verdict == SL_OK;
}

/* What dedupe had read when it was asked; what it set aside by then is in its topics. */
static bool ask_dedupe(struct sample *x, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	json_t *status = NULL, *step;
	size_t i;
	bool done = sl_client_status(x->session->client, &text, e) &&
		    (status = sl_status_parse(sl_buf_bytes(&text), e)) != NULL;

	json_array_foreach(json_object_get(status, "steps"), i,
			   step) if (strcmp(sl_status_text(step, "name"), x->dedupe->name) == 0) x->read =
		json_incref(json_object_get(step, "partitions"));
	json_decref(status);
	sl_buf_release(&text);
	for (int port = 0; done && x->dedupe->op->ports[port]; port++)
		if (strcmp(x->dedupe->op->ports[port], "unique") != 0)
			done = note_aside(x, x->dedupe->to[port], e);
	return done && note_aside(x, x->dedupe->dead, e);
}

/* Gold comes in by the same door as all pairs; where people saw a tie, it is with the ties. */
static bool note_gold(struct sample *x, int topic, struct sl_error *e)
{
	struct sl_topic_pairs pairs;
	struct sl_record r;
	struct sl_pair p;

	sl_topic_pairs_open(&pairs, x->session->client, x->session->topology, topic);
	pairs.skip_malformed = true;
	while (sl_topic_pairs_next(&pairs, &r, &p, e))
		if (p.gold.present)
			sl_id_map_put(&x->gold, p.pair_key, 1);
	sl_topic_pairs_close(&pairs);
	return e->verdict == SL_OK;
}

/* A record that is there for the second time, by a replay, has a trail already. */
static bool eligible(struct sample *x, const struct sl_topic_pairs *pairs, const struct sl_record *r,
		     const struct sl_pair *p)
{
	uint32_t ignored;
	bool fresh = true;

	if (p->gold.present || sl_id_map_get(&x->gold, p->pair_key, &ignored))
		return false;
	if (x->dedupe) {
		const json_t *at = json_array_get(x->read, (size_t)pairs->walk.partition);

		fresh = p->trail_count == 0 && r->offset < sl_status_count(at, "offset") &&
			!sl_id_map_get(&x->aside, occurrence(p), &ignored);
	}
	if (!fresh || sl_id_map_get(&x->drawn, p->id, &ignored))
		return false;
	sl_id_map_put(&x->drawn, p->id, 1);
	return true;
}

static bool draw(struct sample *x, struct sl_error *e)
{
	struct sl_topic_pairs pairs;
	struct sl_record r;
	struct sl_pair p;

	sl_topic_pairs_open(&pairs, x->session->client, x->session->topology, x->topic);
	pairs.skip_malformed = x->dedupe != NULL;
	while (sl_topic_pairs_next(&pairs, &r, &p, e)) {
		uint64_t place;

		if (!eligible(x, &pairs, &r, &p))
			continue;
		x->pairs++;
		place = sl_hash64(p.id.b, sizeof p.id.b, x->seed);
		if (!sl_least_wants(&x->least, place, p.id))
			continue;
		if (p.label_flipped) /* as it arrived */
			sl_pair_reverse(&p, &p, &pairs.arena);
		sl_jsonl_write(&p, SL_FORMAT_SAMPLE, sl_least_add(&x->least, place, p.id));
	}
	sl_topic_pairs_close(&pairs);
	sl_least_sort(&x->least);
	return e->verdict == SL_OK;
}

static int write_lines(const struct sample *x, const struct sl_gold_args *a)
{
	const char *topic = x->session->topology->topics[x->topic].name;
	struct sl_buf lines = { 0 };
	struct sl_error e = { 0 };
	int code = SL_EXIT_OK;

	for (size_t i = 0; i < x->least.count; i++)
		sl_buf_add_bytes(&lines, sl_buf_bytes(&x->least.at[i].value));
	if (!a->output)
		fwrite(lines.data, 1, lines.size, stdout);
	else if (!sl_file_write(a->output, sl_buf_bytes(&lines), &e))
		code = sl_command_failed(&e);
	sl_buf_release(&lines);
	if (code == SL_EXIT_OK && a->common.json) {
		json_t *o =
			json_pack("{s:I, s:I, s:s, s:I, s:s}", "sampled", (json_int_t)x->least.count, "of",
				  (json_int_t)x->pairs, "from", topic, "seed", (json_int_t)a->seed, "file", a->output);

		json_dumpf(o, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(o);
	}
	if (code == SL_EXIT_OK)
		code = sl_command_flush();
	if (code == SL_EXIT_OK)
		fprintf(stderr, "sluice: %zu of %" PRId64 " pairs of '%s' that are not gold%s%s\n", x->least.count,
			x->pairs, topic, a->output ? ", in " : "", a->output ? a->output : "");
	return code;
}

static void find_dedupe(struct sample *x)
{
	const struct sl_topology *t = x->session->topology;

	for (size_t i = 0; i < t->step_count && !x->dedupe; i++)
		if (strcmp(t->steps[i].op->name, "dedupe") == 0)
			x->dedupe = &t->steps[i];
	x->topic = x->dedupe ? x->dedupe->from : t->entry;
}

int sl_gold_sample(const struct sl_gold_args *a, struct sl_session *s, int64_t most)
{
	struct sample x = { .session = s, .seed = (uint64_t)a->seed, .least = { .most = (size_t)most } };
	struct sl_error e = { 0 };
	int code;

	if (a->from) {
		x.topic = sl_command_topic(s->topology, a->from);
		if (x.topic < 0)
			return SL_EXIT_USAGE;
		if (s->topology->topics[x.topic].inlined || x.topic == s->topology->models)
			return sl_command_usage("topic '%s' holds no stored pairs", a->from);
	} else {
		find_dedupe(&x);
	}
	if ((x.dedupe && !ask_dedupe(&x, &e)) || !note_gold(&x, s->topology->entry, &e) ||
	    (s->topology->ties >= 0 && !note_gold(&x, s->topology->ties, &e)) || !draw(&x, &e))
		code = sl_command_failed(&e);
	else
		code = write_lines(&x, a);
	json_decref(x.read);
	sl_id_map_release(&x.gold);
	sl_id_map_release(&x.aside);
	sl_id_map_release(&x.drawn);
	sl_least_release(&x.least);
	return code;
}
