/* linear.c -- the linear model and its file.
 *
 * weights.bin, all little-endian:
 *
 *     0   8 bytes   "SLLINEAR"
 *     8   uint32    SL_FEATURES_VERSION the weights belong to
 *     12  uint32    columns_log2
 *     16  uint32    number of style columns
 *     20  uint32    0
 *     24  float32 x sl_columns(columns_log2)
 *
 * Training goes on in double, but what is evaluated, calibrated and served are
 * these float32 weights, so that a model read back gives the same bits. */
#include "linear.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define HEADER_SIZE 24
static const char magic[8] = { 'S', 'L', 'L', 'I', 'N', 'E', 'A', 'R' };

double sl_linear_margin(const struct sl_linear *l, const struct sl_features *f)
{
	enum { AHEAD = 16 }; /* the weights are all over a megabyte: asked for before they are needed */
	double margin = 0;

	for (size_t i = 0; i < f->count; i++) {
		__builtin_prefetch(&l->weights[f->columns[i + AHEAD < f->count ? i + AHEAD : i]]);
		margin += (double)l->weights[f->columns[i]] * (double)f->values[i];
	}
	return margin;
}

static void add_le32(struct sl_buf *to, uint32_t v)
{
	sl_put_le32(sl_buf_reserve(to, 4), v);
	to->size += 4;
}

void sl_linear_encode(const struct sl_linear *l, struct sl_buf *to)
{
	size_t count = sl_columns(l->columns_log2);

	sl_buf_add(to, magic, sizeof magic);
	add_le32(to, SL_FEATURES_VERSION);
	add_le32(to, (uint32_t)l->columns_log2);
	add_le32(to, SL_STYLE_COUNT);
	add_le32(to, 0);
	sl_buf_reserve(to, 4 * count);
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		assert(isfinite(l->weights[i]));
		memcpy(&bits, &l->weights[i], sizeof bits);
		add_le32(to, bits);
	}
}

bool sl_linear_decode(struct sl_bytes file, struct sl_linear *l, struct sl_error *e)
{
	const uint8_t *at = file.data;

	*l = (struct sl_linear){ 0 };
	if (file.size < HEADER_SIZE || memcmp(at, magic, sizeof magic) != 0)
		return sl_error_set(e, SL_STOP,
				    "not the weights of a linear model: the first bytes are not 'SLLINEAR'");
	if (sl_get_le32(at + 8) != SL_FEATURES_VERSION)
		return sl_error_set(e, SL_STOP,
				    "made for features version %" PRIu32 ", this program has version %d: train again",
				    sl_get_le32(at + 8), SL_FEATURES_VERSION);

	uint32_t log2 = sl_get_le32(at + 12);

	if (log2 < SL_COLUMNS_LOG2_MIN || log2 > SL_COLUMNS_LOG2_MAX)
		return sl_error_set(e, SL_STOP, "columns_log2 is %" PRIu32 ", allowed: %d to %d", log2,
				    SL_COLUMNS_LOG2_MIN, SL_COLUMNS_LOG2_MAX);
	if (sl_get_le32(at + 16) != SL_STYLE_COUNT || sl_get_le32(at + 20) != 0)
		return sl_error_set(e, SL_STOP, "%" PRIu32 " style columns, expected %d", sl_get_le32(at + 16),
				    SL_STYLE_COUNT);

	size_t count = sl_columns((int)log2);

	if (file.size != HEADER_SIZE + 4 * count)
		return sl_error_set(e, SL_STOP, "%zu bytes long, expected %zu", file.size, HEADER_SIZE + 4 * count);

	float *weights = sl_malloc(count * sizeof *weights);

	for (size_t i = 0; i < count; i++) {
		uint32_t bits = sl_get_le32(at + HEADER_SIZE + 4 * i);

		memcpy(&weights[i], &bits, sizeof bits);
		if (!isfinite(weights[i])) {
			free(weights);
			return sl_error_set(e, SL_STOP, "weight %zu is not a finite number", i);
		}
	}
	*l = (struct sl_linear){ .columns_log2 = (int)log2, .weights = weights };
	return true;
}
