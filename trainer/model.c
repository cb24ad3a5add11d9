/* model.c -- opening a version folder, and scoring with it.
 *
 * An open model is never written to: any number of threads may score with it. */
#include "model_folder.h"
#include "train.h"

#include <stdlib.h>

/* Of the report that train.c adds to config.json; 0: not there, or not as train.c writes it. */
static double strength_of(const struct sl_model_config *c, const char *which)
{
	const json_t *l2 = json_object_get(json_object_get(c->json, "report"), "l2");
	double strength = json_number_value(json_object_get(l2, which));

	return strength > 0 && strength <= SL_L2_MOST ? strength : 0;
}

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
			*m = (struct sl_model){
				.linear = linear,
				.temperature = config.temperature,
				.l2_grams = strength_of(&config, "grams"),
				.l2_style = strength_of(&config, "style"),
			};
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

void sl_model_strengths(const struct sl_model *m, double *l2, double *l2_style)
{
	*l2 = m->l2_grams;
	*l2_style = m->l2_style;
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
