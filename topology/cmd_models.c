/* cmd_models.c -- `sluice models` and `sluice train`: what is known of the models, and the
 * two ways a person may change it: move the champion alias, or ask for a training now. */
#include "commands.h"

#include "status_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct models {
	struct sl_common common;
	const char *reason;
};

static const struct sl_arg args[] = {
	{ "reason", 0, SL_ARG_TEXT, "TEXT", "put on record with the change (default: by hand)",
	  offsetof(struct models, reason) },
	SL_COMMON_ARGS,
};

static bool trained(const struct sl_topology *t, const char *name)
{
	struct sl_buf known = { 0 };

	for (size_t i = 0; i < t->trainer_count; i++) {
		if (strcmp(t->trainers[i].name, name) == 0) {
			sl_buf_release(&known);
			return true;
		}
		sl_buf_print(&known, "%s%s", i ? ", " : "", t->trainers[i].name);
	}
	sl_command_usage("the topology trains no model '%s'; it trains: %s", name,
			 known.size ? sl_buf_text(&known) : "none");
	sl_buf_release(&known);
	return false;
}

static int list(const struct models *m, struct sl_session *s)
{
	struct sl_error e = { 0 };
	struct sl_buf text = { 0 };
	json_t *status;
	int code = SL_EXIT_FAILED;

	if (!sl_client_status(s->client, &text, &e) || !(status = sl_status_parse(sl_buf_bytes(&text), &e))) {
		sl_command_failed(&e);
	} else {
		json_t *models = json_object_get(status, "models");

		if (m->common.json)
			json_dumpf(models, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6) | JSON_ENCODE_ANY);
		else
			sl_status_models(models, stdout);
		if (m->common.json)
			printf("\n");
		json_decref(status);
		code = sl_command_flush();
	}
	sl_buf_release(&text);
	return code;
}

static bool parse_version(const char *text, int64_t *version)
{
	char *end;

	errno = 0;
	*version = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == 0 && *version > 0;
}

/* The version that waits as candidate. */
static bool candidate(struct sl_session *s, const char *name, int64_t *version, struct sl_error *e)
{
	struct sl_buf text = { 0 };
	json_t *status = NULL, *model;
	size_t i;

	if (sl_client_status(s->client, &text, e))
		status = sl_status_parse(sl_buf_bytes(&text), e);
	sl_buf_release(&text);
	if (!status)
		return false;
	*version = 0;
	json_array_foreach(json_object_get(status, "models"), i,
			   model) if (strcmp(sl_status_text(model, "name"), name) == 0) *version =
		sl_status_count(model, "candidate");
	json_decref(status);
	return *version > 0 || sl_error_set(e, SL_STOP, "model '%s' has no candidate: name a version", name);
}

static int move(const struct models *m, struct sl_session *s, const char *name, bool back, int64_t version)
{
	const char *reason = m->reason ? m->reason : back ? "rolled back by hand" : "promoted by hand";
	struct sl_error e = { 0 };

	if (!back && version == 0 && !candidate(s, name, &version, &e))
		return sl_command_failed(&e);
	if (!sl_client_promote(s->client, name, version, reason, &e))
		return sl_command_failed(&e);
	return list(m, s);
}

static int models_run(void *self, const struct sl_texts *words)
{
	struct models *m = self;
	const char *verb = words->at[0], *name = words->count > 1 ? words->at[1] : NULL;
	struct sl_session s;
	int64_t version = 0;
	int code;

	if (strcmp(verb, "list") == 0) {
		if (words->count != 1)
			return sl_command_usage("usage: sluice models list");
	} else if (strcmp(verb, "promote") == 0) {
		if (words->count < 2 || (words->count == 3 && !parse_version(words->at[2], &version)))
			return sl_command_usage("usage: sluice models promote NAME [VERSION], a version from 1");
	} else if (strcmp(verb, "rollback") == 0) {
		if (words->count != 2)
			return sl_command_usage("usage: sluice models rollback NAME");
	} else {
		return sl_command_usage("unknown '%s', expected list, promote or rollback", verb);
	}
	code = sl_command_open(&m->common, &s);
	if (code == SL_EXIT_OK) {
		if (!name)
			code = list(m, &s);
		else
			code = trained(s.topology, name) ? move(m, &s, name, strcmp(verb, "rollback") == 0, version)
							 : SL_EXIT_USAGE;
	}
	sl_command_close(&s);
	return code;
}

static int train_run(void *self, const struct sl_texts *words)
{
	struct models *m = self;
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };
	struct sl_session s;
	int code = sl_command_open(&m->common, &s);

	if (code == SL_EXIT_OK && !trained(s.topology, words->at[0])) {
		code = SL_EXIT_USAGE;
	} else if (code == SL_EXIT_OK) {
		if (sl_client_remote(s.client))
			fprintf(stderr, "sluice: the running process trains '%s', waiting for it\n", words->at[0]);
		if (!sl_client_train(s.client, words->at[0], m->reason ? m->reason : "by hand", &report, &e)) {
			code = sl_command_failed(&e);
		} else if (m->common.json) {
			printf("%s\n", sl_buf_text(&report));
			code = sl_command_flush();
		} else {
			code = list(m, &s);
		}
	}
	sl_buf_release(&report);
	sl_command_close(&s);
	return code;
}

const struct sl_command sl_command_models = {
	.name = "models",
	.usage = "list | promote NAME [VERSION] | rollback NAME",
	.summary = "list the models; move the champion to a version or back to the previous one",
	.more = "`promote` without a version takes the candidate. Versions never change; promotion and rollback move "
		"the alias `champion`, and running steps\n"
		"swap to it between two transactions. `models list` shows the candidate and the previous one.\n"
		"A new version becomes champion by itself unless it is worse on the select part of gold than the "
		"champion or "
		"the best version so far;\n"
		"`models list` shows how often that part was used for it. A version promoted by hand counts as the "
		"best.",
	.args = args,
	.self_size = sizeof(struct models),
	.words_least = 1,
	.words_most = 3,
	.run = models_run,
};

const struct sl_command sl_command_train = {
	.name = "train",
	.usage = "NAME",
	.summary = "train a model now: gold, best, posterior or final",
	.more = "While `sluice run` runs, that process trains and this command waits for it.",
	.args = args,
	.self_size = sizeof(struct models),
	.words_least = 1,
	.words_most = 1,
	.run = train_run,
};
