/* cmd_reload.c -- `sluice reload`: make the running process read its topology file again (reload.h).
 *
 * The process knows its file; this command only has to find the process, by its data folder. So the file is read here
 * for nothing but its `data`, and with --data not at all: an error in it is told by the process, and in its log. */
#include "commands.h"

#include "http_call.h"
#include "status_table.h"
#include "wire.h"

static const struct sl_arg args[] = { SL_COMMON_ARGS };

static void print_value(const json_t *value, bool money)
{
	if (money && json_is_null(value))
		printf("no limit");
	else if (json_is_number(value))
		printf("$%.6g", json_number_value(value));
	else if (json_is_null(value))
		printf("(none)");
	else
		sl_print_clean(stdout, sl_text(json_string_value(value)), 200);
}

static void print_entry(const json_t *entry, bool waits)
{
	const json_t *key = json_object_get(entry, "key"), *from = json_object_get(entry, "from");
	const json_t *to = json_object_get(entry, "to");
	bool money = json_is_number(from) || json_is_number(to);

	printf("  %s%s: ", waits ? "waits for a restart: " : "", sl_status_text(entry, "of"));
	if (!json_is_string(key)) {
		printf(json_is_null(from) ? "new\n" : "gone\n");
		return;
	}
	printf("%s ", json_string_value(key));
	print_value(from, money);
	printf(" -> ");
	print_value(to, money);
	printf("\n");
}

static void print(const json_t *report)
{
	const json_t *changed = json_object_get(report, "changed"), *waits = json_object_get(report, "waits"), *entry;
	size_t i;

	printf("read %s again", sl_status_text(report, "file"));
	if (sl_status_count(report, "sets"))
		printf(", with the --set that it was started with");
	printf(json_array_size(changed) ? "\n" : ": no budget has changed\n");
	json_array_foreach(changed, i, entry) print_entry(entry, false);
	json_array_foreach(waits, i, entry) print_entry(entry, true);
}

/* The answer of whoever has the folder; false: printed why not. */
static bool ask(const char *data, struct sl_buf *answer)
{
	struct sl_http_response response = { 0 };
	struct sl_buf path = { 0 };
	struct sl_http_caller *caller;
	enum sl_http_outcome outcome = SL_HTTP_BROKEN;
	struct sl_error e = { 0 };
	bool done = false;

	sl_buf_print(&path, "%s/%s", data, SL_WIRE_SOCKET);
	caller = sl_http_caller_new(sl_buf_text(&path), NULL, &e);
	if (caller)
		outcome = sl_http_call(caller, "/v1/reload", sl_text(""), &response, &e);
	if (outcome == SL_HTTP_NOBODY)
		sl_error_set(
			&e, SL_STOP,
			"nothing runs on data folder '%s': there is nothing to reload, the next `sluice run` reads the "
			"file",
			data);
	else if (outcome == SL_HTTP_ANSWERED && response.status != 200)
		sl_wire_error_decode(sl_buf_bytes(&response.body), response.status, &e);
	else
		done = outcome == SL_HTTP_ANSWERED;
	if (done)
		sl_buf_add_bytes(answer, sl_buf_bytes(&response.body));
	else
		sl_command_failed(&e);
	sl_http_caller_free(caller);
	sl_buf_release(&response.body);
	sl_buf_release(&path);
	return done;
}

static int run(void *self, const struct sl_texts *words)
{
	const struct sl_common *common = self;
	struct sl_topology *t = NULL;
	struct sl_buf answer = { 0 };
	struct sl_error e = { 0 };
	json_t *report = NULL;
	int code = SL_EXIT_FAILED;

	(void)words;
	if (common->sets.count)
		return sl_command_usage(
			"reload takes no --set: the process reads its file with those it was started with");
	if (!common->data && !(t = sl_command_topology(common)))
		return SL_EXIT_USAGE;
	if (ask(common->data ? common->data : t->data, &answer)) {
		report = sl_status_parse(sl_buf_bytes(&answer), &e);
		if (!report)
			sl_command_failed(&e);
	}
	if (report) {
		if (common->json)
			printf("%s\n", sl_buf_text(&answer));
		else
			print(report);
		code = sl_command_flush();
	}
	json_decref(report);
	sl_buf_release(&answer);
	sl_topology_free(t);
	return code;
}

const struct sl_command sl_command_reload = {
	.name = "reload",
	.usage = "[--data DIR] [--json]",
	.summary = "let the running process take over changed budgets from its topology file",
	.more = "budget and budget_per_day of endpoints and steps count at once; what else differs waits for a restart "
		"and is\n"
		"listed. With an error in the file nothing is changed. Where several processes share a topology on "
		"Kafka, each\n"
		"is told by its own --data.",
	.args = args,
	.self_size = sizeof(struct sl_common),
	.run = run,
};
