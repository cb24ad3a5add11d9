/* fuzz_schemas_jsonl.c -- any bytes as a line: either an error with a text, or
 * pairs that can be written in every format and, explicit, read again as the
 * same pairs. */
#include "schemas/jsonl.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pair(const struct sl_pair *p, size_t size, struct sl_arena *a)
{
	struct sl_buf line = { 0 };
	struct sl_parsed again;
	struct sl_error e = { 0 };

	sl_jsonl_write(p, SL_FORMAT_FULL, &line);
	sl_buf_clear(&line);
	sl_jsonl_write(p, SL_FORMAT_IMPLICIT, &line);
	sl_buf_clear(&line);
	sl_jsonl_write(p, SL_FORMAT_EXPLICIT, &line);
	assert(memchr(line.data, '\n', line.size) == line.data + line.size - 1);
	/* Answers that begin with a user's turn read otherwise, and meta is one level deeper than the line was. */
	bool usual = size < 2000 && p->chosen.count > 0 && p->rejected.count > 0 &&
		     sl_is(p->chosen.at[0].role, "assistant") && sl_is(p->rejected.at[0].role, "assistant");
	bool read = sl_jsonl_parse((struct sl_bytes){ line.data, line.size - 1 }, NULL, a, &again, &e);

	if (usual) {
		assert(read && again.pair_count == 1);
		assert(sl_id_equal(again.pairs[0].id, p->id));
	}
	sl_buf_release(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_arena a = { 0 };
	struct sl_parsed parsed;
	struct sl_error e = { 0 };

	if (sl_jsonl_parse((struct sl_bytes){ data, size }, NULL, &a, &parsed, &e)) {
		for (size_t i = 0; i < parsed.pair_count && i < 4; i++)
			check_pair(&parsed.pairs[i], size, &a);
	} else {
		assert(e.verdict == SL_STOP && e.text[0]);
		assert(parsed.pair_count == 0 && parsed.tie_count == 0);
	}
	sl_arena_release(&a);
	return 0;
}
