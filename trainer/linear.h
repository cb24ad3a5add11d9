/* linear.h -- the linear model itself: one weight per column of features.h.
 *
 *     margin = sum of weight[column] * value, in list order, in double
 *
 * A borrowed view: whoever allocated the weights owns them. */
#ifndef SL_LINEAR_H
#define SL_LINEAR_H

#include "../topology/base/buf.h"
#include "features.h"

struct sl_linear {
	int columns_log2;
	float *weights; /* sl_columns(columns_log2) */
};

double sl_linear_margin(const struct sl_linear *l, const struct sl_features *f);

/* weights.bin, see linear.c. Parsing allocates l->weights (free() it) and takes
 * any bytes: an error says what was expected. */
void sl_linear_encode(const struct sl_linear *l, struct sl_buf *to);
bool sl_linear_decode(struct sl_bytes file, struct sl_linear *l, struct sl_error *e) SL_MUST_CHECK;

#endif
