/* fuzz_values.c -- hostile record values. The first byte chooses: a value on the entry topic, one behind it, or what
 * a registry may answer: a writer's schema up to a NUL, then a body. What is read as a
 * pair must read the same from the form that is kept inside. */
#include "topology/values.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Avro C forgets parts of a schema that it refuses. A registry's client parses each schema once. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libavro";
}

static void one_value(const struct sl_values_from *from, struct sl_bytes value, struct sl_arena *a)
{
	static struct sl_values *v;
	struct sl_record r = { .offset = 7, .time_ms = 5, .value = value }, again = r;
	struct sl_buf inside = { 0 }, outside = { 0 }, twice = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;
	bool read, kept;

	if (!v)
		v = sl_values_new(NULL);
	read = sl_values_pair(v, from, &r, a, &p, &e);
	assert(read || e.verdict == SL_STOP);
	kept = sl_values_inside(v, from, &r, &inside, &e) && sl_values_outside(v, "t", value, &outside, &e);
	assert(kept && sl_bytes_equal(sl_buf_bytes(&outside), value));
	if (read && from->entry) {
		again.value = sl_buf_bytes(&inside);
		kept = sl_values_inside(v, from, &again, &twice, &e);
		assert(kept && sl_bytes_equal(sl_buf_bytes(&inside), sl_buf_bytes(&twice)));
		kept = sl_pair_decode(sl_buf_bytes(&twice), a, &p, &e);
		assert(kept && !sl_id_none(p.id));
	} else {
		assert(sl_bytes_equal(sl_buf_bytes(&inside), value));
	}
	sl_buf_release(&inside);
	sl_buf_release(&outside);
	sl_buf_release(&twice);
}

static void one_schema(struct sl_bytes input, struct sl_arena *a)
{
	const char *end = memchr(input.data, 0, input.size);
	size_t size = end ? (size_t)(end - (const char *)input.data) : input.size, rest = end ? size + 1 : size;
	const char *schema = sl_arena_bytes(a, (struct sl_bytes){ input.data, size }).data;
	struct sl_buf object = { 0 };
	struct sl_error e = { 0 };
	struct sl_decoder *d = sl_decoder_new(schema, &e);

	if (d && !sl_decoder_object(d, (struct sl_bytes){ (const char *)input.data + rest, input.size - rest }, a,
				    &object, &e))
		assert(e.verdict == SL_STOP);
	sl_decoder_free(d);
	sl_buf_release(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sl_values_from from[] = { { "t", 1, false }, { "t", 1, true } };
	static struct sl_arena a;

	if (size < 2)
		return 0;
	if (data[0] % 3 < 2)
		one_value(&from[data[0] % 3], (struct sl_bytes){ data + 1, size - 1 }, &a);
	else
		one_schema((struct sl_bytes){ data + 1, size - 1 }, &a);
	sl_arena_clear(&a);
	return 0;
}
