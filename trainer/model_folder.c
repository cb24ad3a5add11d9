/* model_folder.c -- a version folder: reading what it says of itself, and writing one.
 *
 *     config.json    format, kind, temperature, sha256 and size of the weights, and what the writer adds
 *     weights.bin    kind "linear";  posterior.json    kind "posterior"
 *
 * The weights are read once, into memory, and hashed from there: what was checked
 * is what is used. A folder appears under its final name only when every file in
 * it is on disk, so a reader sees no half-written version; what a killed writer
 * leaves behind is called NAME.tmp-PID and belongs to nobody. */
#include "model_folder.h"
#include "../topology/base/file.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
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

static const struct kind {
	const char *name, *file; /* of the weights */
} kinds[] = {
	[SL_MODEL_LINEAR] = { "linear", "weights.bin" },
	[SL_MODEL_POSTERIOR] = { "posterior", "posterior.json" },
};

static const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

bool sl_model_config_parse(struct sl_bytes text, struct sl_model_config *c, struct sl_error *e)
{
	json_error_t at;
	json_t *weights;
	const char *kind;
	const struct kind *found;

	*c = (struct sl_model_config){ 0 };
	c->json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &at);
	if (!c->json)
		return sl_error_set(e, SL_STOP, "line %d: %s", at.line, at.text);
	if (!json_is_object(c->json))
		return sl_error_set(e, SL_STOP, "expected a JSON object");
	if (json_integer_value(json_object_get(c->json, "format")) != FORMAT)
		return sl_error_set(e, SL_STOP, "'format' must be %d", FORMAT);
	kind = json_string_value(json_object_get(c->json, "kind"));
	found = kind_find(kind);
	if (!found)
		return sl_error_set(e, SL_STOP, "'kind' is '%s', expected 'linear' or 'posterior'", kind ? kind : "");
	c->kind = (enum sl_model_kind)(found - kinds);
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

bool sl_model_weights_read(const char *folder, const struct sl_model_config *c, struct sl_bytes sha256,
			   struct sl_buf *to, struct sl_error *e)
{
	char path[PATH_MAX], hex[SL_SHA256_HEX_SIZE];

	if (!path_in(path, folder, kinds[c->kind].file, e) || !read_file(path, WEIGHTS_MAX_BYTES, to, e))
		return false;
	sha256_of(sl_buf_bytes(to), hex);
	if (!sha256.data)
		sha256 = sl_text(c->sha256);
	if (!sl_is(sha256, hex))
		return sl_error_set(e, SL_WAIT, "'%s' has sha256 %s, expected %.*s: copy it again", path, hex,
				    (int)(sha256.size < 64 ? sha256.size : 64), (const char *)sha256.data);
	return true;
}

const char *sl_model_weights_name(enum sl_model_kind kind)
{
	return kinds[kind].file;
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

static bool write_files(const char *folder, enum sl_model_kind kind, double temperature, struct sl_bytes weights,
			json_t *config, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	char hex[SL_SHA256_HEX_SIZE];

	sha256_of(weights, hex);

	json_t *head =
		json_pack("{s:i, s:s, s:f, s:{s:s, s:I}}", "format", FORMAT, "kind", kinds[kind].name, "temperature",
			  temperature, "weights", "sha256", hex, "size_bytes", (json_int_t)weights.size);

	/* 15 digits: shorter than 17, and exact for a temperature in whole millionths. */
	if (!head || json_object_update(head, config) != 0 ||
	    json_dump_callback(head, add_to_buf, &text, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) != 0)
		sl_oom(0);
	json_decref(head);
	sl_buf_add_byte(&text, '\n');

	bool done = write_in(folder, kinds[kind].file, weights, e) &&
		    write_in(folder, "config.json", sl_buf_bytes(&text), e);

	sl_buf_release(&text);
	return done;
}

bool sl_model_folder_write(const char *folder, enum sl_model_kind kind, double temperature, struct sl_bytes weights,
			   json_t *config, struct sl_error *e)
{
	char tmp[PATH_MAX], parent[PATH_MAX];
	struct sl_error ignored;

	if (snprintf(tmp, sizeof tmp, "%s.tmp-%ld", folder, (long)getpid()) >= PATH_MAX)
		return sl_error_set(e, SL_STOP, "the path of a model folder is longer than %d bytes", PATH_MAX - 1);
	snprintf(parent, sizeof parent, "%s", folder);

	const char *up = dirname(parent); /* may write into parent */

	if (!sl_folder_remove(tmp, e) || !sl_folder_make(tmp, e))
		return false;
	if (!write_files(tmp, kind, temperature, weights, config, e) || !sl_folder_sync(tmp, e))
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
