/* model.c -- opening a version folder, and scoring with it.
 *
 * An open model is never written to: any number of threads may score with it. */
#include "model_folder.h"

#include <stdlib.h>

struct sl_model *sl_model_open(const char *folder, struct sl_bytes sha256, struct sl_error *e)
{
	struct sl_model_config config;
	struct sl_model *m = NULL;
	struct sl_buf weights = { 0 };
	struct sl_linear linear;

	if (!sl_model_config_read(folder, &config, e))
		return NULL;
	if (config.kind != SL_MODEL_LINEAR) {
		sl_error_set(e, SL_STOP, "'%s' is no reward model", folder);
	} else if (sl_model_weights_read(folder, &config, sha256, &weights, e)) {
		if (sl_linear_decode(sl_buf_bytes(&weights), &linear, e)) {
			m = sl_malloc(sizeof *m);
			*m = (struct sl_model){ .linear = linear, .temperature = config.temperature };
		} else {
			sl_error_in(e, "'%s/%s'", folder, sl_model_weights_name(SL_MODEL_LINEAR));
		}
	}
	sl_buf_release(&weights);
	json_decref(config.json);
	return m;
}

void sl_model_close(struct sl_model *m)
{
	if (!m)
		return;
	free(m->linear.weights);
	free(m);
}

double sl_model_temperature(const struct sl_model *m)
{
	return m->temperature;
}

void sl_models_score(const struct sl_model *const *models, size_t model_count, const struct sl_pair *pairs,
		     size_t count, struct sl_reward *out)
{
	struct sl_arena arena = { 0 }; /* of one pair: stays in the cache */

	for (size_t i = 0; i < count; i++) {
		struct sl_features f;
		int columns_log2 = 0; /* of f; 0: not computed yet */

		sl_arena_clear(&arena);
		for (size_t k = 0; k < model_count; k++) {
			const struct sl_linear *l = &models[k]->linear;

			if (l->columns_log2 != columns_log2) {
				columns_log2 = l->columns_log2;
				sl_features_of(&pairs[i], columns_log2, &arena, &f);
			}

			double margin = sl_linear_margin(l, &f);

			out[i * model_count + k] = (struct sl_reward){ .chosen = margin / 2, .rejected = -margin / 2 };
		}
	}
	sl_arena_release(&arena);
}

void sl_model_score(const struct sl_model *m, const struct sl_pair *pairs, size_t count, struct sl_reward *out)
{
	sl_models_score(&m, 1, pairs, count, out);
}

bool sl_model_write(const char *folder, const struct sl_model *m, json_t *config, struct sl_error *e)
{
	struct sl_buf weights = { 0 };

	sl_linear_encode(&m->linear, &weights);

	bool done = sl_model_folder_write(folder, SL_MODEL_LINEAR, m->temperature, sl_buf_bytes(&weights), config, e);

	sl_buf_release(&weights);
	return done;
}
