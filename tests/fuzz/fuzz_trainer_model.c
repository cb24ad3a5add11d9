/* fuzz_trainer_model.c -- hostile model files. The first byte chooses: config.json;
 * weights.bin as it is; or weights.bin of the right length for 2^8 columns, its head
 * from the input and its weights the rest of the input over and over. What opens
 * must encode to the same bytes and give a margin. */
#include "trainer/model_folder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 24

static void config(struct sl_bytes text)
{
	struct sl_model_config c;
	struct sl_error e = { 0 };

	if (sl_model_config_parse(text, &c, &e))
		assert(isfinite(c.temperature) && c.temperature > 0 && strlen(c.sha256) == 64 && c.size_bytes > 0);
	else
		assert(e.verdict == SL_STOP && e.text[0]);
	json_decref(c.json);
}

static void weights(struct sl_bytes file)
{
	uint32_t columns[] = { 0, 255 };
	float values[] = { 1, -1 };
	struct sl_features f = { .columns = columns, .values = values, .count = 2 };
	struct sl_buf again = { 0 };
	struct sl_error e = { 0 };
	struct sl_linear l;

	if (!sl_linear_decode(file, &l, &e)) {
		assert(e.verdict == SL_STOP && e.text[0]);
		return;
	}
	assert(isfinite(sl_linear_margin(&l, &f)));
	sl_linear_encode(&l, &again);
	assert(sl_bytes_equal(sl_buf_bytes(&again), file));
	sl_buf_release(&again);
	free(l.weights);
}

static void whole_weights(const uint8_t *data, size_t size)
{
	size_t whole = HEAD + 4 * sl_columns(8);
	struct sl_buf file = { 0 };

	sl_buf_add(&file, data, HEAD);
	for (size_t i = HEAD; file.size < whole; i = i + 1 < size ? i + 1 : HEAD)
		sl_buf_add_byte(&file, i < size ? data[i] : 0);
	weights(sl_buf_bytes(&file));
	sl_buf_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_bytes rest = { data + 1, size ? size - 1 : 0 };

	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		config(rest);
	else if (data[0] % 3 == 1 || rest.size < HEAD)
		weights(rest);
	else
		whole_weights(rest.data, rest.size);
	return 0;
}
