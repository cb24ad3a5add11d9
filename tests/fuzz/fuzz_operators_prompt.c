/* fuzz_operators_prompt.c -- two things in one input, parted by its first zero byte: a prompt file, and a text that is
 * fenced. A file that opens can be filled; within a fence there is no mark but ours. */
#include "operators/prompt.h"

#include "topology/base/text.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const slots[] = { "one", "two", NULL };
static const struct sl_prompt_part parts[] = { { "a", slots }, { "b", NULL } };

static void check_prompt(struct sl_bytes file, struct sl_arena *a)
{
	const struct sl_bytes values[] = { sl_text("{{two}}"), sl_text("=== b") };
	struct sl_error e = { 0 };
	struct sl_prompt *p = sl_prompt_parse("p", file, parts, 2, &e);

	if (!p) {
		assert(e.verdict == SL_STOP && e.text[0]);
		return;
	}
	assert(sl_prompt_text(p, "a", values, a).size >= 7 + 5); /* both slots are there */
	sl_prompt_text(p, "b", NULL, a);
	sl_prompt_close(p);
}

static size_t count(struct sl_bytes text, const char *what)
{
	const char *at = text.data, *end = at + text.size;
	size_t n = 0;

	for (; (at = memmem(at, (size_t)(end - at), what, strlen(what))); at++)
		n++;
	return n;
}

static void check_fence(struct sl_bytes text, size_t most, struct sl_arena *a)
{
	struct sl_message turns[] = { { sl_text("user"), text, { 0 } }, { sl_text("assistant"), text, { 0 } } };
	struct sl_bytes shown;
	struct sl_fence f;
	size_t bad;

	sl_prompt_fence_begin(&f, &text, 1);
	shown = sl_prompt_fence(&f, "x", text, most, a);
	assert(count(shown, f.mark) == 2 + (text.size > most));
	if (sl_utf8_valid(text, &bad))
		assert(sl_utf8_valid(shown, &bad));
	shown = sl_prompt_fence_messages(&f, "x", &(struct sl_messages){ turns, 2 }, most, a);
	assert(count(shown, f.mark) <= 2 + 2 + (2 * text.size > most));
	assert(count(shown, f.mark) >= 2 + (2 * text.size > most));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t first = zero ? (size_t)(zero - data) : size;
	struct sl_bytes text = { data + first, size - first };
	struct sl_arena a = { 0 };

	check_prompt((struct sl_bytes){ data, first }, &a);
	check_fence(text, 20, &a);
	check_fence(text, 21, &a);
	check_fence(text, 1 << 20, &a);
	sl_arena_release(&a);
	return 0;
}
