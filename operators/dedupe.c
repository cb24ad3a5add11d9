/* dedupe.c -- let the first copy of a pair through, set the others aside.
 *
 * A pair is rejected (nothing to learn from), contaminated (it shows a benchmark's
 * prompt), or compared with every pair let through before it:
 *
 *     exact   equal pair_key: the same folded texts, answers in either order
 *     near    Jaccard of word 5-grams >= `jaccard` on prompt, chosen and rejected, each
 *             by itself, the answers either straight or crosswise (the way that is
 *             more alike counts); texts under five words must be equal
 *
 * Straight is a duplicate, crosswise a conflict: somebody labelled it the other way
 * round. Only pairs that leave on `unique` are remembered, so a copy of a copy is
 * compared with the first one; they are numbered in the order they left. Of several
 * matches an exact one is named before a near one, then a gold one before a raw
 * one, then the earliest.
 *
 * Gold wins over raw copies. A gold pair passes although a raw copy went before it,
 * and learns from it how the label arrived; raw copies after it are set aside naming
 * it. If the gold pair does not know yet how the label arrived, the first of those teaches it:
 * the gold pair goes out once more, with label_arrived, under its id (the gold table is a
 * changelog by id). So the order makes no difference to what is known in the end. A gold pair that passes an
 * earlier near copy with another prompt joins that copy's group: what is held out of training, and what
 * is no example for it, goes by group, and the copy is in the stream already. Gold is
 * set aside only for an earlier gold pair, also a near one: the two could
 * fall on both sides of the train and report split.
 *
 * State: one logged row a pair (seen.h), keyed by its number; the hash index over the
 * rows lives in `self` and is rebuilt by one scan in open(). It follows the rows at
 * once, also those of the transaction in hand; if that fails, so does `self`. Besides, by id,
 * the whole record of every gold pair that waits for its raw copy: at most the size of the
 * gold that came before the stream, and gone when the copy comes.
 *
 * Candidates from the index are verified against their rows, at most CANDIDATES_MAX
 * of them, those with the most bands in common first. That, and SL_INDEX_DEPTH,
 * bound what a template costs: 10,000 pairs of one instruction of 200 words before 50
 * words of input, all answered yes or no, take 26 look-ups a pair, no more for the
 * last than for the first, and 98 % of near copies among them are still found.
 * Exact copies have their own hash and are never missed.
 *
 * Cost a pair of 2.3 KB on one core of a busy EPYC: 10 to 13 us and one put, of which cutting
 * words takes 7, the signature 1.4, shingles 0.6; the same at 200,000 pairs seen as at 10,000.
 * Benchmarks add 25 ns a word of the user turns (tests/bench/dedupe_quality). */
#include "benchmarks.h"
#include "operator.h"
#include "seen.h"

#include "../schemas/codec.h"
#include "../topology/base/buf.h"

#include <stddef.h>
#include <stdlib.h>

enum port { UNIQUE, DUPLICATE, CONFLICT, CONTAMINATED };
enum store { SEEN, UNLABELLED };
enum { CANDIDATES_MAX = 32, QUOTE_MAX_BYTES = 200 };

struct dedupe {
	double jaccard;
	struct sl_list benchmark_files;
	bool benchmark_responses;

	struct sl_benchmarks *benchmarks;
	struct sl_minhash minhash;
	struct sl_index index;
	uint64_t rows;           /* also the number of the next one */
	struct sl_arena scratch; /* cleared for every pair */
	struct sl_buf row;
	enum sl_verdict verdict; /* of the batch in hand */
};

static const struct sl_option options[] = {
	{ .name = "jaccard",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct dedupe, jaccard),
	  .value = "0.8",
	  .least = 0.7,
	  .most = 1,
	  .help = "near-duplicates: least Jaccard similarity of word 5-grams, on prompt, chosen and rejected each (of "
		  "pairs "
		  "just so alike 95 % are found at 0.8, 61 % at 0.7)" },
	{ .name = "benchmarks",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct dedupe, benchmark_files),
	  .value = "",
	  .help = "files of preference pairs whose prompts must not be trained on" },
	{ .name = "benchmark_responses",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct dedupe, benchmark_responses),
	  .value = "false",
	  .help = "look for benchmark prompts in the responses too" },
	{ 0 },
};

static const char *const ports[] = { "unique", "duplicate", "conflict", "contaminated", NULL };
static const struct sl_store_def stores[] = { { "seen", false }, { "unlabelled", false }, { 0 } };

/* Texts */

struct texts {
	const struct sl_messages *messages[SL_PARTS];
	struct sl_words words[SL_PARTS]; /* message after message, then the extras */
	size_t *starts[SL_PARTS];        /* where the words of each message start, and end */
};

static struct sl_words join(struct sl_arena *a, const struct sl_words *runs, size_t count)
{
	struct sl_words all = { NULL, 0 };

	if (count == 1)
		return runs[0];
	for (size_t i = 0; i < count; i++)
		all.count += runs[i].count;
	all.at = sl_arena_alloc(a, all.count * sizeof *all.at);
	all.count = 0;
	for (size_t i = 0; i < count; i++) {
		if (runs[i].count)
			memcpy(all.at + all.count, runs[i].at, runs[i].count * sizeof *all.at);
		all.count += runs[i].count;
	}
	return all;
}

static void read_part(struct texts *t, enum sl_part part, const struct sl_messages *m, struct sl_arena *a)
{
	struct sl_words *runs = sl_arena_alloc(a, 2 * m->count * sizeof *runs);
	size_t count = m->count;

	t->messages[part] = m;
	t->starts[part] = sl_arena_alloc(a, (m->count + 1) * sizeof *t->starts[part]);
	t->starts[part][0] = 0;
	for (size_t i = 0; i < m->count; i++) {
		runs[i] = sl_words_of(a, m->at[i].content);
		t->starts[part][i + 1] = t->starts[part][i] + runs[i].count;
	}
	for (size_t i = 0; i < m->count; i++) /* tool calls tell answers apart */
		if (m->at[i].extra.size)
			runs[count++] = sl_words_of(a, m->at[i].extra);
	t->words[part] = join(a, runs, count);
}

/* No text but white space, and no extra. */
static bool is_empty(const struct texts *t, enum sl_part part, struct sl_arena *a)
{
	const struct sl_messages *m = t->messages[part];

	if (t->words[part].count)
		return false;
	for (size_t i = 0; i < m->count; i++)
		if (m->at[i].extra.size || sl_text_fold(a, m->at[i].content).size)
			return false;
	return true;
}

static bool reject_empty(struct sl_task *task, const struct sl_pair *pair, const struct texts *t, struct sl_arena *a)
{
	static const char *const names[SL_PARTS] = { "prompt", "chosen", "rejected" };

	for (int p = 0; p < SL_PARTS; p++)
		if (is_empty(t, p, a)) {
			sl_reject(task, pair, "empty %s: no message has any text", names[p]);
			return true;
		}
	return false;
}

static uint64_t sequence_hash(struct sl_words words)
{
	return words.count ? sl_ngram_hash(words.at, words.count) : 0;
}

/* Reject answers with the same folded text; else tell them apart for good: by their
 * words, which is cheap, or by their folded text where only signs differ. */
static bool reject_equal(struct sl_task *task, const struct sl_pair *pair, const struct texts *t, struct sl_seen *me,
			 struct sl_arena *a)
{
	me->chosen_key = sequence_hash(t->words[SL_CHOSEN]);
	me->rejected_key = sequence_hash(t->words[SL_REJECTED]);
	if (me->chosen_key != me->rejected_key)
		return false;

	struct sl_id chosen = sl_messages_key(&pair->chosen, a), rejected = sl_messages_key(&pair->rejected, a);

	me->chosen_key = sl_get_le64(chosen.b);
	me->rejected_key = sl_get_le64(rejected.b);
	if (!sl_id_equal(chosen, rejected))
		return false;
	sl_reject(task, pair, "equal answers: chosen and rejected differ in case and spacing at most");
	return true;
}

static struct sl_shingles shingles(const struct texts *t, enum sl_part part, const struct sl_pair *pair,
				   struct sl_arena *a)
{
	struct sl_id whole = { { 0 } };

	if (t->words[part].count < SL_SHINGLE_WORDS)
		whole = part == SL_PROMPT ? pair->group : sl_messages_key(t->messages[part], a);
	return sl_shingles_of(a, t->words[part], whole);
}

/* Contamination */

/* The text of some words, cut at a character. */
static struct sl_bytes quote(struct sl_bytes text, const struct sl_word *first, size_t count)
{
	const struct sl_word *last = first + count - 1;
	size_t size = last->offset + last->size - first->offset;
	const uint8_t *at = (const uint8_t *)text.data + first->offset;

	if (size > QUOTE_MAX_BYTES)
		for (size = QUOTE_MAX_BYTES; size > 0 && (at[size] & 0xc0) == 0x80;)
			size--;
	return (struct sl_bytes){ at, size };
}

static bool set_aside_contaminated(struct sl_task *task, struct dedupe *d, const struct sl_pair *pair,
				   const struct texts *t)
{
	for (int part = 0; part < SL_PARTS; part++) {
		const struct sl_messages *m = t->messages[part];

		for (size_t i = 0; i < m->count; i++) {
			const size_t *start = t->starts[part] + i;
			struct sl_words words = { t->words[part].at + start[0], start[1] - start[0] };
			struct sl_shared shared;
			struct sl_bytes q;

			if (!sl_is(m->at[i].role, "user") && !(d->benchmark_responses && part != SL_PROMPT))
				continue;
			if (!sl_benchmarks_find(d->benchmarks, words, &d->scratch, &shared))
				continue;
			q = quote(m->at[i].content, words.at + shared.first, shared.count);
			sl_emit_because(task, CONTAMINATED, pair, "contaminated %s: '%.*s'", shared.benchmark,
					(int)q.size, (const char *)q.data);
			return true;
		}
	}
	return false;
}

/* Matches */

struct match {
	struct sl_seen row;
	bool found, exact, swapped;
	double jaccard[SL_PARTS];
};

static bool read_row(struct sl_task *task, struct dedupe *d, uint32_t number, struct sl_seen *row)
{
	uint8_t key[8];
	struct sl_bytes value;

	sl_put_be64(key, number);
	if (!sl_get(task, SEEN, (struct sl_bytes){ key, sizeof key }, &value))
		return false;
	if (sl_seen_decode(value, &d->scratch, row))
		return true;
	d->verdict = sl_fail(task, SL_STOP, "row %lu of store 'seen' is damaged", (unsigned long)number);
	return false;
}

/* The earliest exact copy, a gold one before a raw one. */
static struct match find_exact(struct sl_task *task, struct dedupe *d, const struct sl_seen *me, uint32_t hash)
{
	uint32_t rows[SL_INDEX_DEPTH];
	size_t count = sl_index_find(&d->index, hash, rows);
	struct match best = { .exact = true };

	for (size_t i = 0; i < count && !(best.found && best.row.gold); i++) {
		struct sl_seen row;

		if (!read_row(task, d, rows[i], &row) || !sl_id_equal(row.pair_key, me->pair_key))
			continue;
		if (best.found && !row.gold)
			continue;
		best.row = row;
		best.found = true;
		best.swapped = row.chosen_key == me->rejected_key;
	}
	return best;
}

struct candidate {
	uint32_t row, bands;
};

static int by_row(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->row > y->row) - (x->row < y->row);
}

static int by_bands(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->bands != y->bands ? (x->bands < y->bands) - (x->bands > y->bands) : by_row(a, b);
}

/* Rows that share a band, in row order; at most CANDIDATES_MAX. */
static size_t candidates(struct dedupe *d, const uint32_t hashes[SL_PROBES],
			 struct candidate found[SL_BANDS * SL_INDEX_DEPTH])
{
	size_t count = 0, rows = 0;

	for (size_t b = 0; b < SL_BANDS; b++) {
		uint32_t at[SL_INDEX_DEPTH];
		size_t n = sl_index_find(&d->index, hashes[b], at);

		for (size_t i = 0; i < n; i++)
			found[count++] = (struct candidate){ at[i], 1 };
	}
	if (count < 2)
		return count;
	qsort(found, count, sizeof *found, by_row);
	for (size_t i = 1; i < count; i++) {
		if (found[i].row == found[rows].row)
			found[rows].bands++;
		else
			found[++rows] = found[i];
	}
	rows++;
	if (rows > CANDIDATES_MAX) {
		qsort(found, rows, sizeof *found, by_bands);
		rows = CANDIDATES_MAX;
		qsort(found, rows, sizeof *found, by_row);
	}
	return rows;
}

/* Is `row` a near copy? Fills the Jaccards by which it is. `me` is sorted. */
static bool is_near(struct dedupe *d, const struct sl_seen *me, const struct sl_seen *row, struct match *m)
{
	struct sl_shingles chosen, rejected;
	double straight[2], crossed[2];
	bool is_straight, is_crossed;

	m->jaccard[SL_PROMPT] = sl_jaccard(me->part[SL_PROMPT], sl_shingles_sorted(&d->scratch, row->part[SL_PROMPT]));
	if (m->jaccard[SL_PROMPT] < d->jaccard)
		return false;
	chosen = sl_shingles_sorted(&d->scratch, row->part[SL_CHOSEN]);
	rejected = sl_shingles_sorted(&d->scratch, row->part[SL_REJECTED]);
	straight[0] = sl_jaccard(me->part[SL_CHOSEN], chosen);
	straight[1] = sl_jaccard(me->part[SL_REJECTED], rejected);
	crossed[0] = sl_jaccard(me->part[SL_CHOSEN], rejected);
	crossed[1] = sl_jaccard(me->part[SL_REJECTED], chosen);
	is_straight = straight[0] >= d->jaccard && straight[1] >= d->jaccard;
	is_crossed = crossed[0] >= d->jaccard && crossed[1] >= d->jaccard;
	m->swapped = is_crossed && !(is_straight && straight[0] + straight[1] >= crossed[0] + crossed[1]);
	memcpy(m->jaccard + SL_CHOSEN, m->swapped ? crossed : straight, sizeof straight);
	return is_straight || is_crossed;
}

/* The earliest near copy, a gold one before a raw one. */
static struct match find_near(struct sl_task *task, struct dedupe *d, const struct sl_seen *me,
			      const uint32_t hashes[SL_PROBES])
{
	struct candidate at[SL_BANDS * SL_INDEX_DEPTH];
	size_t count = candidates(d, hashes, at);
	struct match best = { 0 };
	struct sl_seen sorted = *me;

	for (int p = 0; count > 0 && p < SL_PARTS; p++)
		sorted.part[p] = sl_shingles_sorted(&d->scratch, me->part[p]);
	for (size_t i = 0; i < count && !(best.found && best.row.gold); i++) {
		struct match m = { .found = true };

		if (!read_row(task, d, at[i].row, &m.row) || (best.found && !m.row.gold))
			continue;
		if (is_near(d, &sorted, &m.row, &m))
			best = m;
	}
	return best;
}

static struct match find_match(struct sl_task *task, struct dedupe *d, const struct sl_seen *me,
			       const uint32_t hashes[SL_PROBES])
{
	struct match exact = find_exact(task, d, me, hashes[SL_EXACT]), near;

	if (exact.found && (exact.row.gold || !me->gold))
		return exact;
	near = find_near(task, d, me, hashes);
	return exact.found && !(near.found && near.row.gold) ? exact : near;
}

/* Output */

static void set_aside_copy(struct sl_task *task, const struct sl_pair *pair, const struct match *m)
{
	int port = m->swapped ? CONFLICT : DUPLICATE;
	char of[SL_ID_HEX_SIZE];

	sl_id_hex(m->row.id, of);
	if (m->exact)
		sl_emit_because(task, port, pair,
				m->swapped ? "conflict: label-swapped copy of %s" : "duplicate: of %s", of);
	else
		sl_emit_because(task, port, pair, "%s: of %s, jaccard prompt %.3f chosen %.3f rejected %.3f",
				m->swapped ? "near-conflict" : "near-duplicate", of, m->jaccard[SL_PROMPT],
				m->jaccard[SL_CHOSEN], m->jaccard[SL_REJECTED]);
}

static const char *label_arrived(const struct match *m)
{
	return m->swapped ? "swapped" : "same";
}

/* A gold pair whose raw copy went before it. */
static void let_gold_through(struct sl_task *task, const struct sl_pair *pair, const struct match *m)
{
	struct sl_pair gold = *pair;
	const char *arrived = label_arrived(m);
	char of[SL_ID_HEX_SIZE];

	if (!sl_id_none(m->row.group))
		gold.group = m->row.group;
	if (!gold.gold.label_arrived.size)
		gold.gold.label_arrived = sl_text(arrived);
	sl_emit_because(task, UNIQUE, &gold, "gold: of raw %s, label arrived %s", sl_id_hex(m->row.id, of), arrived);
}

/* A gold pair that does not say how the label arrived, and whose raw copy may still come. */
static void await_copy(struct sl_task *task, struct dedupe *d, const struct sl_pair *gold)
{
	sl_buf_clear(&d->row);
	sl_pair_encode(gold, &d->row);
	sl_put(task, UNLABELLED, sl_id_bytes(&gold->id), sl_buf_bytes(&d->row));
}

/* A raw copy behind its gold pair, which may have waited for it. */
static void teach(struct sl_task *task, struct dedupe *d, const struct sl_pair *copy, const struct match *m)
{
	struct sl_bytes key = sl_id_bytes(&m->row.id), value;
	struct sl_arena *a = sl_task_arena(task);
	struct sl_pair gold;
	struct sl_error e;
	char of[SL_ID_HEX_SIZE];

	if (!sl_get(task, UNLABELLED, key, &value))
		return;
	sl_pair_init(&gold);
	if (!sl_pair_decode(sl_arena_bytes(a, value), a, &gold, &e)) {
		d->verdict = sl_fail(task, SL_STOP, "gold pair %s of store 'unlabelled' is damaged: %s",
				     sl_id_hex(m->row.id, of), e.text);
		return;
	}
	gold.gold.label_arrived = sl_text(label_arrived(m));
	sl_emit_because(task, UNIQUE, &gold, "learnt: label arrived %s, from raw %s", label_arrived(m),
			sl_id_hex(copy->id, of));
	sl_del(task, UNLABELLED, key);
}

static void remember(struct sl_task *task, struct dedupe *d, const struct sl_seen *me, const uint32_t hashes[SL_PROBES])
{
	uint8_t key[8];

	sl_put_be64(key, d->rows);
	sl_buf_clear(&d->row);
	sl_seen_encode(me, &d->row);
	sl_put(task, SEEN, (struct sl_bytes){ key, sizeof key }, sl_buf_bytes(&d->row));
	sl_index_add(&d->index, hashes, (uint32_t)d->rows++);
}

static void process_pair(struct sl_task *task, struct dedupe *d, const struct sl_pair *pair)
{
	struct sl_seen me = {
		.id = pair->id, .pair_key = pair->pair_key, .group = pair->group, .gold = pair->gold.present
	};
	uint32_t hashes[SL_PROBES];
	struct texts t;
	struct match m;

	sl_arena_clear(&d->scratch);
	read_part(&t, SL_PROMPT, &pair->prompt, &d->scratch);
	read_part(&t, SL_CHOSEN, &pair->chosen, &d->scratch);
	read_part(&t, SL_REJECTED, &pair->rejected, &d->scratch);
	if (reject_empty(task, pair, &t, &d->scratch) || reject_equal(task, pair, &t, &me, &d->scratch) ||
	    set_aside_contaminated(task, d, pair, &t))
		return;

	for (int p = 0; p < SL_PARTS; p++)
		me.part[p] = shingles(&t, p, pair, &d->scratch);
	sl_minhash_bands(&d->minhash, me.part[SL_PROMPT], me.part[SL_CHOSEN], me.part[SL_REJECTED], me.bands);
	sl_index_hashes(&me, hashes);
	sl_index_prefetch(&d->index, hashes);
	m = find_match(task, d, &me, hashes);
	if (m.found && (m.row.gold || !me.gold)) {
		set_aside_copy(task, pair, &m);
		if (!me.gold)
			teach(task, d, pair, &m);
		return;
	}
	if (m.found) {
		let_gold_through(task, pair, &m);
	} else {
		sl_emit(task, UNIQUE, pair);
		if (me.gold && !pair->gold.label_arrived.size)
			await_copy(task, d, pair);
	}
	remember(task, d, &me, hashes);
}

/* Callbacks */

static enum sl_verdict dedupe_open(struct sl_task *task, void *self)
{
	struct dedupe *d = self;
	struct sl_error e;
	struct sl_scan s;

	sl_minhash_init(&d->minhash);
	d->benchmarks = sl_benchmarks_new();
	for (size_t i = 0; i < d->benchmark_files.count; i++)
		if (!sl_benchmarks_load(d->benchmarks, sl_task_path(task, d->benchmark_files.at[i]), &e))
			return sl_fail(task, e.verdict, "%s", e.text);
	for (sl_scan(task, &s, SEEN, (struct sl_bytes){ "", 0 }); sl_scan_next(&s); d->rows++) {
		struct sl_seen row;
		uint32_t hashes[SL_PROBES];

		if (s.key.size != 8 || sl_get_be64(s.key.data) != d->rows || !sl_seen_decode_head(s.value, &row))
			return sl_fail(task, SL_STOP, "row %llu of store 'seen' is damaged or missing",
				       (unsigned long long)d->rows);
		sl_index_hashes(&row, hashes);
		sl_index_prefetch(&d->index, hashes);
		sl_index_add(&d->index, hashes, (uint32_t)d->rows);
	}
	return SL_OK;
}

static enum sl_verdict dedupe_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct dedupe *d = self;

	for (size_t i = 0; i < batch->count; i++)
		process_pair(task, d, &batch->pairs[i]);
	return d->verdict;
}

static void dedupe_close(struct sl_task *task, void *self)
{
	struct dedupe *d = self;

	(void)task;
	sl_benchmarks_free(d->benchmarks);
	sl_index_release(&d->index);
	sl_arena_release(&d->scratch);
	sl_buf_release(&d->row);
}

const struct sl_operator sl_operator_dedupe = {
	.name = "dedupe",
	.version = "2",
	.help = "let the first copy of a pair through; set copies, conflicts and benchmark prompts aside",
	.options = options,
	.ports = ports,
	.stores = stores,
	.self_size = sizeof(struct dedupe),
	.open = dedupe_open,
	.process = dedupe_process,
	.close = dedupe_close,
};
