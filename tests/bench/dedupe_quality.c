/* dedupe_quality.c -- is dedupe right, and what does it cost?
 *
 *     bench_dedupe_quality [FILE.jsonl.gz ...]      (default: sets in ../shared/data)
 *
 * For every file three tables:
 *   as it is   the operator against brute force: the same rule (dedupe.c) with every
 *              remembered pair compared by exact Jaccard of 64-bit 5-gram hashes,
 *              no signature, no index. "lost" are copies that went out as unique,
 *              "wrong" pairs set aside although an answer differs.
 *   planted    a copy of each of up to 2,000 pairs with some words of all three
 *              texts replaced, dropped or doubled; recall over copies that are near by
 *              brute force
 *   cost       CPU time a pair, by stage (each with about 0.3 us of timer), the last one the
 *              look-up of the prompt in the benchmarks of ../shared/data
 * and at the end the cost a pair as the number of pairs seen grows.
 *
 * It prints figures and judges nothing, except that it exits 1 when a pair was set
 * aside wrongly or another batch size gave another result. */
#include "../operators/array_task.h"
#include "../operators/brute_force.h"

#include "operators/benchmarks.h"
#include "topology/base/thread.h"

extern const struct sl_operator sl_operator_dedupe;

enum { UNIQUE, DUPLICATE, CONFLICT, CONTAMINATED };
enum { PLANTED_MAX = 2000 };
static int exit_code;

/* The operator */

static void start(struct sl_task *t)
{
	task_init(t, &sl_operator_dedupe);
	*(double *)task_option(t, "jaccard") = threshold;
	if (t->operator->open(t, t->self) != SL_OK)
		abort();
}

/* Returns CPU nanoseconds. */
static int64_t play(struct sl_task *t, const struct sl_pair *pairs, size_t count, size_t batch_max)
{
	int64_t begin = sl_thread_cpu_ns();

	for (size_t i = 0; i < count; i += batch_max) {
		struct sl_batch batch = { pairs + i, count - i < batch_max ? count - i : batch_max };

		t->operator->process(t, t->self, &batch);
	}
	return sl_thread_cpu_ns() - begin;
}

static bool same_outputs(const struct sl_task *a, const struct sl_task *b)
{
	if (a->output_count != b->output_count || a->row_count != b->row_count)
		return false;
	for (size_t i = 0; i < a->output_count; i++)
		if (a->outputs[i].port != b->outputs[i].port || strcmp(a->outputs[i].reason, b->outputs[i].reason) != 0)
			return false;
	return true;
}

static void file_as_it_is(const char *name, const struct pairs *p)
{
	struct sl_task t, again;
	struct sl_arena arena = { 0 };
	struct sets *sets = sl_malloc(p->count * sizeof *sets);
	size_t *seen = sl_malloc(p->count * sizeof *seen), seen_count = 0;
	size_t exact = 0, near = 0, conflict = 0, near_conflict = 0, rejected = 0, unique = 0;
	size_t lost = 0, wrong = 0, other_answer = 0, brute = 0;
	int64_t ns;

	start(&t);
	start(&again);
	ns = play(&t, p->at, p->count, 256);
	play(&again, p->at, p->count, 7);
	if (!same_outputs(&t, &again)) {
		printf("%s: other results in batches of 7 than of 256\n", name);
		exit_code = 1;
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct output *o = &t.outputs[i];
		bool is_near = strncmp(o->reason, "near", 4) == 0, copy = false;
		const char *of = strstr(o->reason, "of ");
		struct sl_id named = { { 0 } };

		rejected += o->port == REJECTED;
		unique += o->port == UNIQUE;
		exact += o->port == DUPLICATE && !is_near;
		near += o->port == DUPLICATE && is_near;
		conflict += o->port == CONFLICT && !is_near;
		near_conflict += o->port == CONFLICT && is_near;
		if (o->port == REJECTED)
			continue;
		sets[i] = sets_of(&p->at[i], &arena);
		if (of)
			sl_id_parse((struct sl_bytes){ of + 3, 32 }, &named);
		for (size_t j = 0; j < seen_count; j++) {
			bool is_named = of && sl_id_equal(sets[seen[j]].id, named);

			if (copy && !is_named)
				continue;
			if (copies(&sets[i], &sets[seen[j]])) {
				copy = true;
				if (is_named)
					named = (struct sl_id){ { 0 } };
			} else if (is_named) {
				other_answer++;
			}
		}
		brute += copy;
		lost += copy && o->port == UNIQUE;
		wrong += !copy && o->port != UNIQUE;
		if (o->port == UNIQUE)
			seen[seen_count++] = i;
	}
	printf("%-36s %6zu %5zu %6zu %6zu %5zu %5zu %5zu %6zu %5zu %5zu %6.2f %6.2f %7.0f\n", name, p->count, rejected,
	       unique, exact, near, conflict, near_conflict, brute, lost, wrong + other_answer,
	       (double)ns / 1e3 / (double)p->count, (double)t.gets / (double)p->count,
	       (double)t.put_bytes / (double)(t.puts ? t.puts : 1));
	if (wrong + other_answer)
		exit_code = 1;
	task_release(&t);
	task_release(&again);
	sl_arena_release(&arena);
	free(sets);
	free(seen);
}

static void planted(const char *name, const struct pairs *p)
{
	static const double rates[] = { 0.005, 0.01, 0.02, 0.03, 0.05, 0.2 };
	size_t step = p->count / PLANTED_MAX + 1;

	for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
		struct sl_arena arena = { 0 };
		struct pairs base = { 0 }, copy = { 0 };
		size_t near = 0, found = 0, wrong = 0;
		uint64_t seed = r + 1;
		struct sl_task t;

		for (size_t i = 0; i < p->count; i += step)
			*add_pair(&base) = p->at[i];
		start(&t);
		play(&t, base.at, base.count, 256);
		for (size_t i = 0; i < base.count; i++) {
			struct sl_pair *c;

			if (t.outputs[i].port != UNIQUE)
				continue;
			c = add_pair(&copy);
			*c = base.at[i];
			c->prompt = edited(&c->prompt, rates[r], &seed, &arena);
			c->chosen = edited(&c->chosen, rates[r], &seed, &arena);
			c->rejected = edited(&c->rejected, rates[r], &seed, &arena);
			sl_pair_identify(c, &arena);
			if (sl_id_equal(c->pair_key, base.at[i].pair_key)) {
				copy.count--; /* nothing was edited */
				continue;
			}
			t.output_count = base.count;
			play(&t, c, 1, 1);

			struct sets x = sets_of(c, &arena), y = sets_of(&base.at[i], &arena);
			bool is_copy = copies(&x, &y), is_found = t.outputs[base.count].port == DUPLICATE;
			near += is_copy;
			found += is_copy && (is_found || t.outputs[base.count].port == CONFLICT);
			wrong += !is_copy && is_found;
		}
		printf("%-36s %5.1f%% %6zu %6zu %6zu %7.4f %6zu\n", name, 100 * rates[r], copy.count, near, found,
		       near ? (double)found / (double)near : 1.0, wrong);
		task_release(&t);
		free(base.at);
		free(copy.at);
		sl_arena_release(&arena);
	}
}

/* Cost */

static void stages(const char *name, const struct pairs *p, const struct sl_benchmarks *benchmarks)
{
	struct sl_minhash h;
	struct sl_arena arena = { 0 };
	struct sl_buf row = { 0 };
	int64_t words_ns = 0, keys_ns = 0, shingles_ns = 0, bands_ns = 0, row_ns = 0, benchmarks_ns = 0;
	size_t contaminated = 0;
	uint64_t bytes = 0, words = 0;

	sl_minhash_init(&h);
	for (size_t i = 0; i < p->count; i++) {
		const struct sl_messages *m[SL_PARTS] = { &p->at[i].prompt, &p->at[i].chosen, &p->at[i].rejected };
		struct sl_words w[SL_PARTS];
		struct sl_id key[SL_PARTS] = { p->at[i].group };
		struct sl_seen s = { 0 };
		struct sl_shared shared;
		int64_t t[7];

		sl_arena_clear(&arena);
		for (int part = 0; part < SL_PARTS; part++)
			bytes += sl_messages_text(m[part], &arena).size;
		t[0] = sl_thread_cpu_ns();
		for (int part = 0; part < SL_PARTS; part++)
			w[part] = sl_words_of(&arena, sl_messages_text(m[part], &arena));
		t[1] = sl_thread_cpu_ns();
		for (int part = SL_CHOSEN; part < SL_PARTS; part++)
			key[part] = sl_messages_key(m[part], &arena);
		t[2] = sl_thread_cpu_ns();
		for (int part = 0; part < SL_PARTS; part++)
			s.part[part] = sl_shingles_of(&arena, w[part], key[part]);
		t[3] = sl_thread_cpu_ns();
		sl_minhash_bands(&h, s.part[0], s.part[1], s.part[2], s.bands);
		t[4] = sl_thread_cpu_ns();
		sl_buf_clear(&row);
		sl_seen_encode(&s, &row);
		t[5] = sl_thread_cpu_ns();
		contaminated += sl_benchmarks_find(benchmarks, w[SL_PROMPT], &arena, &shared);
		t[6] = sl_thread_cpu_ns();
		words_ns += t[1] - t[0];
		benchmarks_ns += t[6] - t[5];
		keys_ns += t[2] - t[1];
		shingles_ns += t[3] - t[2];
		bands_ns += t[4] - t[3];
		row_ns += t[5] - t[4];
		words += w[0].count + w[1].count + w[2].count;
	}

	double n = (double)p->count * 1e3;
	printf("%-36s %7.0f %6.0f %7.2f %7.2f %7.2f %7.2f %7.2f %7.2f %7zu\n", name, (double)bytes * 1e3 / n,
	       (double)words * 1e3 / n, (double)words_ns / n, (double)keys_ns / n, (double)shingles_ns / n,
	       (double)bands_ns / n, (double)row_ns / n, (double)benchmarks_ns / n, contaminated);
	sl_arena_release(&arena);
	sl_buf_release(&row);
}

/* 350 words a pair out of 20,000, all different: the cost as the state grows. */
static void growth(void)
{
	enum { BLOCK = 10000, BLOCKS = 20 };
	uint64_t seed = 7;
	struct sl_task t;

	start(&t);
	t.quiet = true;
	printf("\npairs seen   us a pair   gets a pair   reopen ms\n");
	for (int b = 1; b <= BLOCKS; b++) {
		struct pairs p = { 0 };
		struct sl_arena scratch = { 0 };
		size_t gets = t.gets;
		int64_t ns, begin;

		for (int i = 0; i < BLOCK; i++) {
			static const char *const roles[SL_PARTS] = { "user", "assistant", "assistant" };
			struct sl_pair *q = add_pair(&p);
			struct sl_messages *m[SL_PARTS];

			sl_pair_init(q);
			m[SL_PROMPT] = &q->prompt;
			m[SL_CHOSEN] = &q->chosen;
			m[SL_REJECTED] = &q->rejected;
			for (int part = 0; part < SL_PARTS; part++) {
				struct sl_buf text = { 0 };

				for (int w = 0; w < (part ? 150 : 50); w++)
					sl_buf_print(&text, "w%05u ", (unsigned)(next_random(&seed) % 20000));
				m[part]->at = sl_arena_zalloc(&p.arena, sizeof *m[part]->at);
				m[part]->count = 1;
				m[part]->at[0].role = sl_text(roles[part]);
				m[part]->at[0].content = sl_arena_bytes(&p.arena, sl_buf_bytes(&text));
				sl_buf_release(&text);
			}
			sl_arena_clear(&scratch);
			sl_pair_identify(q, &scratch);
		}
		sl_arena_release(&scratch);
		ns = play(&t, p.at, p.count, 256);
		begin = sl_thread_cpu_ns();
		if (b == 5 || b == BLOCKS)
			task_reopen(&t);
		if (b == 1 || b == 5 || b == 10 || b == BLOCKS)
			printf("%10d   %9.2f   %11.4f   %9.1f\n", b * BLOCK, (double)ns / 1e3 / BLOCK,
			       (double)(t.gets - gets) / BLOCK, (double)(sl_thread_cpu_ns() - begin) / 1e6);
		pairs_release(&p);
	}
	task_release(&t);
}

int main(int argc, char **argv)
{
	static const char *const sets[] = {
		"../shared/data/finegrained-qa.dev.jsonl.gz",    "../shared/data/alpaca-eval-ai.jsonl.gz",
		"../shared/data/hh-rlhf.upstream-test.jsonl.gz", "../shared/data/ukpconvarg1.dev.jsonl.gz",
		"../shared/data/wmt-mqm.dev.jsonl.gz",           "../shared/data/oasst.dev.jsonl.gz",
		"../shared/data/explanations.dev.jsonl.gz",      "../shared/data/llamafactory-dpo-demo.jsonl.gz",
	};
	const char *const *files = argc > 1 ? (const char *const *)argv + 1 : sets;
	size_t count = argc > 1 ? (size_t)argc - 1 : sizeof sets / sizeof *sets;
	static const char *const names[] = { "RM-Bench", "JudgeBench", "IFBench", "CodePrefBench", "HumanEvalPack" };
	struct pairs *p = sl_calloc(count, sizeof *p);
	struct sl_benchmarks *benchmarks = sl_benchmarks_new();
	struct sl_error e;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[100];

		snprintf(path, sizeof path, "../shared/data/benchmarks/%s/pairs.jsonl.gz", names[i]);
		if (!sl_benchmarks_load(benchmarks, path, &e))
			printf("skipped: %s\n", e.text);
	}
	for (size_t i = 0; i < count; i++)
		if (!load(&p[i], files[i], SIZE_MAX))
			printf("skipped '%s': cannot be read\n", files[i]);
#define NAME(i) (strrchr(files[i], '/') ? strrchr(files[i], '/') + 1 : files[i])
	printf("%-36s %6s %5s %6s %6s %5s %5s %5s %6s %5s %5s %6s %6s %7s\n", "as it is", "pairs", "rej.", "unique",
	       "exact", "near", "confl", "nearc", "brute", "lost", "wrong", "us", "gets", "bytes");
	for (size_t i = 0; i < count; i++)
		if (p[i].count)
			file_as_it_is(NAME(i), &p[i]);
	printf("\n%-36s %6s %6s %6s %6s %7s %6s\n", "planted", "edits", "copies", "near", "found", "recall", "wrong");
	for (size_t i = 0; i < count; i++)
		if (p[i].count)
			planted(NAME(i), &p[i]);
	printf("\n%-36s %7s %6s %7s %7s %7s %7s %7s %7s %7s\n", "us a pair", "bytes", "words", "words", "keys",
	       "5-grams", "bands", "row", "bench.", "contam.");
	for (size_t i = 0; i < count; i++)
		if (p[i].count)
			stages(NAME(i), &p[i], benchmarks);
	growth();
	for (size_t i = 0; i < count; i++)
		pairs_release(&p[i]);
	free(p);
	sl_benchmarks_free(benchmarks);
	return exit_code;
}
