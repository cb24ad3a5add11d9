/* model_folder.h -- inside trainer/ only: what a model is made of, and how its
 * folder is written. */
#ifndef SL_MODEL_FOLDER_H
#define SL_MODEL_FOLDER_H

#include "linear.h"
#include "model.h"

#include <jansson.h>

#define SL_TEMPERATURE_MIN 0.05
#define SL_TEMPERATURE_MAX 20.0

enum sl_model_kind { SL_MODEL_LINEAR, SL_MODEL_POSTERIOR };

struct sl_model {
	struct sl_linear linear; /* owned */
	double temperature;
	double l2_grams, l2_style; /* 0: not known */
};

/* Write a complete version folder: into `<folder>.tmp-<pid>`, every file synced,
 * then renamed. `folder` must not exist; its parents are made. `config` is an
 * object whose members go into config.json as they are (not consumed); the
 * members that sl_model_open reads are added. */
bool sl_model_write(const char *folder, const struct sl_model *m, json_t *config, struct sl_error *e) SL_MUST_CHECK;

/* config.json, parsed and checked as far as it describes the weights. *config is
 * to be json_decref'ed; the texts and sizes point into it. */
struct sl_model_config {
	json_t *json;
	enum sl_model_kind kind;
	const char *sha256; /* of the weights */
	int64_t size_bytes;
	double temperature;
};
/* Any bytes. c->json is to be released also on failure. */
bool sl_model_config_parse(struct sl_bytes text, struct sl_model_config *c, struct sl_error *e) SL_MUST_CHECK;
/* The file in a version folder; nothing to release on failure. */
bool sl_model_config_read(const char *folder, struct sl_model_config *c, struct sl_error *e) SL_MUST_CHECK;

/* The file of the weights: weights.bin, posterior.json. */
const char *sl_model_weights_name(enum sl_model_kind kind);
/* Its bytes; they must match `sha256` (absent: the one in config.json), else SL_WAIT. `to` is to be released also on
 * failure. */
bool sl_model_weights_read(const char *folder, const struct sl_model_config *c, struct sl_bytes sha256,
			   struct sl_buf *to, struct sl_error *e) SL_MUST_CHECK;
/* What sl_model_write does, for weights of any kind. */
bool sl_model_folder_write(const char *folder, enum sl_model_kind kind, double temperature, struct sl_bytes weights,
			   json_t *config, struct sl_error *e) SL_MUST_CHECK;

#endif
