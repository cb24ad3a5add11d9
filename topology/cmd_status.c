/* cmd_status.c -- `sluice status`: the funnel, the topics, the models, the evidence. */
#include "commands.h"

#include "status_table.h"

struct status_args {
	struct sl_common common;
	bool by_source, by_domain;
};

static const struct sl_arg args[] = {
	{ "by-source", 0, SL_ARG_FLAG, NULL, "count every port by source too",
	  offsetof(struct status_args, by_source) },
	{ "by-domain", 0, SL_ARG_FLAG, NULL, "count every port by domain too (of a pair that names none its source)",
	  offsetof(struct status_args, by_domain) },
	SL_COMMON_ARGS,
};

static void print(const json_t *status, int by)
{
	struct sl_buf steps = { 0 };

	printf("topology %s in %s, %s\n\n", sl_status_text(status, "topology"), sl_status_text(status, "data"),
	       json_is_true(json_object_get(status, "running")) ? "running" : "not running");
	sl_status_funnel(status, by, stdout);
	printf("\n");
	sl_status_steps(status, NULL, 0, &steps);
	fwrite(steps.data, 1, steps.size, stdout);
	sl_buf_release(&steps);
	sl_status_stream(status, stdout);
	sl_status_outside(status, stdout);
	printf("\n");
	sl_status_topics(status, stdout);
	if (json_array_size(json_object_get(status, "models"))) {
		printf("\n");
		sl_status_models(json_object_get(status, "models"), stdout);
		sl_status_evidence(json_object_get(status, "models"), stdout);
	}
	sl_status_judges(status, stdout);
}

static int run(void *self, const struct sl_texts *words)
{
	struct status_args *a = self;
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	struct sl_session s;
	json_t *status = NULL;
	int code = sl_command_open(&a->common, &s);

	(void)words;
	if (code == SL_EXIT_OK &&
	    (!sl_client_status(s.client, &text, &e) || !(status = sl_status_parse(sl_buf_bytes(&text), &e)))) {
		code = sl_command_failed(&e);
	} else if (code == SL_EXIT_OK) {
		if (a->common.json)
			printf("%s\n", sl_buf_text(&text));
		else
			print(status,
			      (a->by_source ? SL_STATUS_BY_SOURCE : 0) | (a->by_domain ? SL_STATUS_BY_DOMAIN : 0));
		code = sl_command_flush();
	}
	json_decref(status);
	sl_buf_release(&text);
	sl_command_close(&s);
	return code;
}

const struct sl_command sl_command_status = {
	.name = "status",
	.usage = "[--by-source] [--by-domain] [--json]",
	.summary = "show what became of the pairs, the topics and the models",
	.args = args,
	.self_size = sizeof(struct status_args),
	.run = run,
};
