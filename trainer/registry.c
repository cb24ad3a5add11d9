/* registry.c -- the version folders of a data folder, by looking at the disk.
 *
 * A version is a folder whose name is a whole number from 1, written without
 * leading zeros, that holds a config.json. Everything else in models/NAME (a
 * killed training's 7.tmp-4711, notes, backups) is not ours and is passed over.
 * No state, any thread. */
#include "registry.h"
#include "model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

void sl_registry_uri(const char *name, int64_t version, char *to, size_t to_size)
{
	snprintf(to, to_size, "models/%s/%" PRId64, name, version);
}

/* 0 unless the text is a version number. */
static int64_t version_of(const char *text)
{
	size_t size = strlen(text);
	char *end;

	if (size < 1 || size > 18 || text[0] == '0' || strspn(text, "0123456789") != size)
		return 0;
	return strtoll(text, &end, 10);
}

static bool is_version(const char *models, const char *entry)
{
	char path[PATH_MAX];
	struct stat s;

	if (snprintf(path, sizeof path, "%s/%s/config.json", models, entry) >= (int)sizeof path)
		return false;
	return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

size_t sl_registry_list(const char *data_folder, const char *name, int64_t **versions)
{
	char models[PATH_MAX];
	size_t count = 0, capacity = 0;

	*versions = NULL;
	if (snprintf(models, sizeof models, "%s/models/%s", data_folder, name) >= (int)sizeof models)
		return 0;

	DIR *d = opendir(models);

	if (!d)
		return 0;
	for (struct dirent *entry; (entry = readdir(d));) {
		int64_t version = version_of(entry->d_name);

		if (!version || !is_version(models, entry->d_name))
			continue;
		if (count == capacity) {
			capacity = capacity ? 2 * capacity : 16;
			*versions = sl_realloc(*versions, capacity * sizeof **versions);
		}
		(*versions)[count++] = version;
	}
	closedir(d);
	if (count)
		qsort(*versions, count, sizeof **versions, compare);
	return count;
}

int64_t sl_registry_latest(const char *data_folder, const char *name)
{
	int64_t *versions;
	size_t count = sl_registry_list(data_folder, name, &versions);
	int64_t latest = count ? versions[count - 1] : 0;

	free(versions);
	return latest;
}

bool sl_registry_describe(const char *data_folder, const char *name, int64_t version, struct sl_arena *a,
			  struct sl_model_record *m, struct sl_error *e)
{
	char uri[PATH_MAX], folder[PATH_MAX];
	struct sl_model_config config;

	sl_registry_uri(name, version, uri, sizeof uri);
	if (snprintf(folder, sizeof folder, "%s/%s", data_folder, uri) >= (int)sizeof folder)
		return sl_error_set(e, SL_STOP, "the path of a model folder is longer than %d bytes", PATH_MAX - 1);
	if (!sl_model_config_read(folder, &config, e))
		return false;

	char *report = json_dumps(json_object_get(config.json, "report"), JSON_COMPACT | JSON_REAL_PRECISION(15));

	m->name = sl_arena_bytes(a, sl_text(name));
	m->version = version;
	m->uri = sl_arena_bytes(a, sl_text(uri));
	m->sha256 = sl_arena_bytes(a, sl_text(config.sha256));
	m->size_bytes = config.size_bytes;
	m->report = sl_arena_bytes(a, sl_text(report));
	free(report);
	json_decref(config.json);
	return true;
}
