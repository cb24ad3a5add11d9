/* fuzz_schemas_decode.c -- hostile records. The first byte chooses: a single-object
 * record as it is, the body of a pair or of a model announcement, or the body of a
 * foreign writer with types that are only skipped. What decodes must encode, and
 * what was encoded must decode to the same bytes. */
#include "schemas/codec.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char foreign[] =
	"{\"type\":\"record\",\"name\":\"Pair\",\"fields\":["
	"{\"name\":\"x\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"int\"}}},"
	"{\"name\":\"tree\",\"type\":[\"null\",\"Pair\"]},"
	"{\"name\":\"margin\",\"type\":[\"float\",\"long\",\"string\"]},"
	"{\"name\":\"nulls\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},"
	"{\"name\":\"prompt\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"M\",\"fields\":["
	"{\"name\":\"content\",\"type\":\"bytes\"},{\"name\":\"n\",\"type\":{\"type\":\"fixed\",\"name\":\"F\","
	"\"size\":3}}]}}},"
	"{\"name\":\"decision\",\"type\":{\"type\":\"record\",\"name\":\"D\",\"fields\":["
	"{\"name\":\"p_label\",\"type\":\"double\"},{\"name\":\"why\",\"type\":[\"string\",\"null\"]}]}},"
	"{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}},"
	"{\"name\":\"label_flipped\",\"type\":\"boolean\"}]}";

static void again(const struct sl_pair *p, struct sl_arena *a)
{
	struct sl_buf once = { 0 }, twice = { 0 };
	struct sl_error e;
	struct sl_pair q;

	sl_pair_encode(p, &once);
	bool ok = sl_pair_decode(sl_buf_bytes(&once), a, &q, &e);
	assert(ok);
	sl_pair_encode(&q, &twice);
	assert(sl_bytes_equal(sl_buf_bytes(&once), sl_buf_bytes(&twice)));
	sl_buf_release(&once);
	sl_buf_release(&twice);
}

/* The header that the encoder writes, then the body. */
static struct sl_bytes with_header(struct sl_buf *b, bool model, const uint8_t *body, size_t size)
{
	struct sl_model_record m = { 0 };
	struct sl_pair p;

	sl_pair_init(&p);
	if (model)
		sl_model_encode(&m, b);
	else
		sl_pair_encode(&p, b);
	b->size = 10;
	sl_buf_add(b, body, size);
	return sl_buf_bytes(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sl_decoder *decoder;
	static struct sl_arena a;
	struct sl_model_record m;
	struct sl_buf b = { 0 }, copy = { 0 };
	struct sl_error e = { 0 };
	struct sl_pair p;

	if (!decoder)
		decoder = sl_decoder_new(foreign, &e);
	assert(decoder);
	if (size == 0)
		return 0;
	struct sl_bytes rest = { data + 1, size - 1 };
	switch (data[0] % 4) {
	case 0:
		if (sl_pair_decode(rest, &a, &p, &e))
			again(&p, &a);
		break;
	case 1:
		if (sl_pair_decode(with_header(&b, false, data + 1, size - 1), &a, &p, &e))
			again(&p, &a);
		break;
	case 2:
		if (sl_model_decode(with_header(&b, true, data + 1, size - 1), &a, &m, &e))
			sl_model_encode(&m, &copy);
		break;
	case 3:
		if (sl_decoder_pair(decoder, rest, &a, &p, &e))
			again(&p, &a);
		break;
	}
	sl_buf_release(&copy);
	sl_buf_release(&b);
	sl_arena_clear(&a);
	return 0;
}
