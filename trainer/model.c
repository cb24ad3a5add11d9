/* model.c -- opening a version folder, scoring with it, and writing one.
 *
 * weights.bin is read once, into memory, and hashed from there: what was checked
 * is what is used. A folder appears under its final name only when every file in
 * it is on disk, so a reader sees no half-written version; what a killed writer
 * leaves behind is called NAME.tmp-PID and belongs to nobody.
 *
 * An open model is never written to: any number of threads may score with it. */
#include "model_folder.h"
#include "../topology/base/file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_MAX_BYTES ((size_t)4 << 20)
#define WEIGHTS_MAX_BYTES ((size_t)128 << 20)
#define FORMAT 1

static bool path_in(char path[PATH_MAX], const char *folder, const char *name, struct sl_error *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path of '%s' in a model folder is longer than %d bytes", name,
				    PATH_MAX - 1);
	return true;
}

/* A file that is absent may still be on its way: wait. One that cannot be read
 * needs a person. */
static bool read_file(const char *path, size_t max_bytes, struct sl_buf *to, struct sl_error *e)
{
	if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
		return sl_error_set(e, SL_WAIT, "'%s' is missing", path);
	if (!sl_file_read(path, max_bytes, to, e)) {
		e->verdict = SL_STOP;
		return false;
	}
	return true;
}

static bool is_sha256(const char *hex)
{
	return hex && strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

bool sl_model_config_parse(struct sl_bytes text, struct sl_model_config *c, struct sl_error *e)
{
	json_error_t at;
	json_t *weights;
	const char *kind;

	*c = (struct sl_model_config){ 0 };
	c->json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &at);
	if (!c->json)
		return sl_error_set(e, SL_STOP, "line %d: %s", at.line, at.text);
	if (!json_is_object(c->json))
		return sl_error_set(e, SL_STOP, "expected a JSON object");
	if (json_integer_value(json_object_get(c->json, "format")) != FORMAT)
		return sl_error_set(e, SL_STOP, "'format' must be %d", FORMAT);
	kind = json_string_value(json_object_get(c->json, "kind"));
	if (!kind || strcmp(kind, "linear") != 0)
		return sl_error_set(e, SL_STOP, "'kind' is '%s', expected 'linear'", kind ? kind : "");
	c->temperature = json_number_value(json_object_get(c->json, "temperature"));
	if (!(c->temperature >= SL_TEMPERATURE_MIN && c->temperature <= SL_TEMPERATURE_MAX))
		return sl_error_set(e, SL_STOP, "'temperature' is %g, allowed: %g to %g", c->temperature,
				    SL_TEMPERATURE_MIN, SL_TEMPERATURE_MAX);
	weights = json_object_get(c->json, "weights");
	c->sha256 = json_string_value(json_object_get(weights, "sha256"));
	c->size_bytes = json_integer_value(json_object_get(weights, "size_bytes"));
	if (!is_sha256(c->sha256) || c->size_bytes <= 0)
		return sl_error_set(e, SL_STOP, "'weights' must have 'sha256' (64 hex digits) and 'size_bytes'");
	return true;
}

bool sl_model_config_read(const char *folder, struct sl_model_config *c, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	char path[PATH_MAX];

	if (!path_in(path, folder, "config.json", e))
		return false;

	bool done = read_file(path, CONFIG_MAX_BYTES, &text, e);

	if (done && !sl_model_config_parse(sl_buf_bytes(&text), c, e)) {
		json_decref(c->json);
		done = sl_error_in(e, "'%s'", path);
	}
	sl_buf_release(&text);
	return done;
}

static void sha256_of(struct sl_bytes data, char hex[SL_SHA256_HEX_SIZE])
{
	struct sl_sha256 *s = sl_sha256_new();

	sl_sha256_add(s, data.data, data.size);
	sl_sha256_end(s, hex);
}

static bool weights_read(const char *folder, struct sl_bytes sha256, struct sl_linear *l, struct sl_error *e)
{
	struct sl_buf data = { 0 };
	char path[PATH_MAX], hex[SL_SHA256_HEX_SIZE];

	if (!path_in(path, folder, "weights.bin", e))
		return false;

	bool done = read_file(path, WEIGHTS_MAX_BYTES, &data, e);

	if (done) {
		sha256_of(sl_buf_bytes(&data), hex);
		if (!sl_is(sha256, hex))
			done = sl_error_set(e, SL_WAIT, "'%s' has sha256 %s, expected %.*s: copy it again", path, hex,
					    (int)(sha256.size < 64 ? sha256.size : 64), (const char *)sha256.data);
		else if (!sl_linear_decode(sl_buf_bytes(&data), l, e))
			done = sl_error_in(e, "'%s'", path);
	}
	sl_buf_release(&data);
	return done;
}

struct sl_model *sl_model_open(const char *folder, struct sl_bytes sha256, struct sl_error *e)
{
	struct sl_model_config config;
	struct sl_model *m = NULL;
	struct sl_linear linear;

	if (!sl_model_config_read(folder, &config, e))
		return NULL;
	if (weights_read(folder, sha256.data ? sha256 : sl_text(config.sha256), &linear, e)) {
		m = sl_malloc(sizeof *m);
		*m = (struct sl_model){ .linear = linear, .temperature = config.temperature };
	}
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

static int add_to_buf(const char *text, size_t size, void *arg)
{
	sl_buf_add(arg, text, size);
	return 0;
}

static bool write_in(const char *folder, const char *name, struct sl_bytes data, struct sl_error *e)
{
	char path[PATH_MAX];

	return path_in(path, folder, name, e) && sl_file_replace(path, data, e);
}

static bool write_files(const char *folder, const struct sl_model *m, json_t *config, struct sl_error *e)
{
	struct sl_buf weights = { 0 }, text = { 0 };
	char hex[SL_SHA256_HEX_SIZE];

	sl_linear_encode(&m->linear, &weights);
	sha256_of(sl_buf_bytes(&weights), hex);

	json_t *head = json_pack("{s:i, s:s, s:f, s:{s:s, s:I}}", "format", FORMAT, "kind", "linear", "temperature",
				 m->temperature, "weights", "sha256", hex, "size_bytes", (json_int_t)weights.size);

	/* 15 digits: shorter than 17, and exact for a temperature in whole millionths. */
	if (!head || json_object_update(head, config) != 0 ||
	    json_dump_callback(head, add_to_buf, &text, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) != 0)
		sl_oom(0);
	json_decref(head);
	sl_buf_add_byte(&text, '\n');

	bool done = write_in(folder, "weights.bin", sl_buf_bytes(&weights), e) &&
		    write_in(folder, "config.json", sl_buf_bytes(&text), e);

	sl_buf_release(&weights);
	sl_buf_release(&text);
	return done;
}

bool sl_model_write(const char *folder, const struct sl_model *m, json_t *config, struct sl_error *e)
{
	char tmp[PATH_MAX], parent[PATH_MAX];
	struct sl_error ignored;

	if (snprintf(tmp, sizeof tmp, "%s.tmp-%ld", folder, (long)getpid()) >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path of a model folder is longer than %d bytes", PATH_MAX - 1);
	snprintf(parent, sizeof parent, "%s", folder);

	const char *up = dirname(parent); /* may write into parent */

	if (!sl_folder_remove(tmp, e) || !sl_folder_make(tmp, e))
		return false;
	if (!write_files(tmp, m, config, e) || !sl_folder_sync(tmp, e))
		goto failed;
	/* A folder that exists and is not empty is never replaced by rename(). */
	if (rename(tmp, folder) != 0) {
		sl_error_errno(e, SL_STOP, "cannot rename '%s' to '%s'", tmp, folder);
		goto failed;
	}
	return sl_folder_sync(up, e);
failed:
	if (!sl_folder_remove(tmp, &ignored))
		assert(ignored.verdict != SL_OK); /* left behind: it belongs to nobody */
	return false;
}
