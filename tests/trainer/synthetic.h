/* synthetic.h -- seeded pairs with a planted rule, for the tests of the trainer.
 *
 * Every answer is random words; the chosen one holds a word of a small "good"
 * list, the rejected one a word of a "bad" list, so a model can learn to tell them
 * apart. Half of the pairs share their prompt with their neighbour. */
#ifndef SL_TEST_SYNTHETIC_H
#define SL_TEST_SYNTHETIC_H

#include "../../schemas/pair.h"
#include "../../topology/base/buf.h"
#include "../../topology/base/file.h"
#include "../../trainer/train.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct synthetic {
	struct sl_pair *pairs;
	size_t count, next;
	struct sl_arena arena;
	uint64_t random;
	int rewinds;
};

static inline uint64_t synthetic_random(struct synthetic *s, uint64_t below)
{
	return sl_mix64(s->random += 0x9e3779b97f4a7c15u) % below;
}

static inline struct sl_messages synthetic_message(struct synthetic *s, const char *role, const char *text)
{
	struct sl_message *m = sl_arena_zalloc(&s->arena, sizeof *m);

	m->role = sl_text(role);
	m->content = sl_arena_bytes(&s->arena, sl_text(text));
	return (struct sl_messages){ m, 1 };
}

static inline struct sl_messages synthetic_answer(struct synthetic *s, const char *rule)
{
	struct sl_buf text = { 0 };
	uint64_t words = 5 + synthetic_random(s, 30), at = synthetic_random(s, words);

	for (uint64_t i = 0; i < words; i++) {
		if (i == at)
			sl_buf_print(&text, "%s%d ", rule, (int)synthetic_random(s, 10));
		sl_buf_print(&text, "w%d%s", (int)synthetic_random(s, 2000), synthetic_random(s, 9) ? " " : ".\n- ");
	}

	struct sl_messages m = synthetic_message(s, "assistant", sl_buf_text(&text));

	sl_buf_release(&text);
	return m;
}

/* `swapped` of a thousand pairs get the wrong label. */
static inline void synthetic_make(struct synthetic *s, size_t count, uint64_t seed, uint64_t swapped)
{
	*s = (struct synthetic){ .count = count, .random = seed };
	s->pairs = sl_calloc(count, sizeof *s->pairs);
	for (size_t i = 0; i < count; i++) {
		struct sl_pair *p = &s->pairs[i];
		bool wrong = synthetic_random(s, 1000) < swapped;
		char prompt[64];

		sl_pair_init(p);
		snprintf(prompt, sizeof prompt, "question %zu of %llu", i / 2, (unsigned long long)seed);
		p->source = sl_text(i % 3 ? "one" : "two");
		p->prompt = synthetic_message(s, "user", prompt);
		p->chosen = synthetic_answer(s, wrong ? "bad" : "good");
		p->rejected = synthetic_answer(s, wrong ? "good" : "bad");
		sl_pair_identify(p, &s->arena);
	}
}

static inline void synthetic_release(struct synthetic *s)
{
	free(s->pairs);
	sl_arena_release(&s->arena);
}

static inline void synthetic_rewind(void *arg)
{
	struct synthetic *s = arg;

	s->next = 0;
	s->rewinds++;
}

static inline bool synthetic_next(void *arg, const struct sl_pair **p)
{
	struct synthetic *s = arg;

	if (s->next == s->count)
		return false;
	*p = &s->pairs[s->next++];
	return true;
}

static inline struct sl_examples synthetic_examples(struct synthetic *s)
{
	return (struct sl_examples){ s, synthetic_rewind, synthetic_next };
}

static inline struct sl_pair synthetic_swapped(const struct sl_pair *p)
{
	struct sl_pair swapped = *p;

	swapped.chosen = p->rejected;
	swapped.rejected = p->chosen;
	return swapped;
}

/* A folder that goes away with folder_end(). */
struct folder {
	char path[64];
};

static inline void folder_begin(struct folder *f)
{
	snprintf(f->path, sizeof f->path, "/tmp/sluice-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
}

static inline void folder_end(struct folder *f)
{
	struct sl_error e;

	assert_true(sl_folder_remove(f->path, &e));
}

/* The path of a file below it; four at a time. */
static inline const char *folder_path(const struct folder *f, const char *name)
{
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
	return path;
}

/* Train on all of `s`, evaluated on itself. */
static inline void synthetic_train(struct synthetic *s, const struct sl_train_options *o, const char *folder,
				   struct sl_train_report *report)
{
	struct sl_examples examples = synthetic_examples(s);
	struct sl_error e = { 0 };

	if (!sl_train_linear(o, &examples, &examples, folder, "{\"trigger\": \"test\"}", report, &e))
		fail_msg("training failed: %s", e.text);
}

#endif
