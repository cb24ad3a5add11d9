/* fuzz_endpoint_batch.c -- a server's files and batches: whatever it says, ids can be part of a path, words are printable
 * and short, and a file of lines ends. */
#include "topology/endpoint/batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void printable(const char *text, size_t most)
{
	must(strlen(text) < most);
	for (const char *p = text; *p; p++)
		must(*p >= ' ' && *p < 0x7f);
}

static void fit(const char *id)
{
	must(strlen(id) < SL_BATCH_ID_SIZE && id[0] != '.');
	for (const char *p = id; *p; p++)
		must(strchr("/?#%& \r\n\\", *p) == NULL && *p > ' ' && *p < 0x7f);
}

static void check(const struct sl_batch_said *said)
{
	fit(said->id);
	fit(said->output);
	fit(said->errors);
	printable(said->word, sizeof said->word);
	printable(said->why, sizeof said->why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sl_bytes text = { data, size };
	struct sl_batch_line line = { 0 };
	char id[SL_BATCH_ID_SIZE];
	struct sl_batch_said said;
	size_t at = 0, before = 0;
	bool found;

	(void)sl_batch_read_id(text, id);
	fit(id);
	if (sl_batch_read(text, &said)) {
		check(&said);
		must(said.id[0] != 0);
	}
	if (sl_batch_find(text, "ours", &said, &found, id) && found)
		check(&said);
	fit(id);
	while (sl_batch_next(text, &at, &line)) {
		must(at > before && at <= size);
		before = at;
		printable(line.why, sizeof line.why);
		must(line.status == 0 || (line.status >= 100 && line.status <= 599));
	}
	sl_buf_release(&line.body);
	return 0;
}
