/* config_endpoints.c -- endpoints:, and what belongs to calls to the outside: prices:, memo: and the options of
 * steps that name endpoints.
 *
 * An endpoint without a url is OpenAI's, or what the reference clients' variables say instead (OPENAI_BASE_URL).
 * OPENAI_API_KEY is theirs too: it goes to such an endpoint, and to any other only where the file says so. */
#include "config.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define OPENAI_URL "https://api.openai.com/v1"
#define GIB (1024.0 * 1024 * 1024)
#define DAY_MS 86400000.0

static const char *const https[] = { "auto", "1.1", "2", NULL };
static const struct sl_option endpoint_table[] = {
	{ .name = "url",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct sl_endpoint_def, urls),
	  .value = "[]",
	  .help = "address up to /v1, for example \"${JUDGE_URL}\"; several: replicas; none: OPENAI_BASE_URL, or "
		  "https://api.openai.com/v1" },
	{ .name = "key",
	  .type = SL_OPTION_LIST,
	  .offset = offsetof(struct sl_endpoint_def, keys),
	  .value = "[]",
	  .help = "\"${NAME}\": sent as Authorization: Bearer; several are used in turn; none: OPENAI_API_KEY, if "
		  "there is one and no url" },
	{ .name = "model",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_endpoint_def, model),
	  .value = "",
	  .help = "the model that is asked for" },
	{ .name = "ca",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_endpoint_def, ca),
	  .value = "",
	  .help = "a PEM file of certificates to trust, in place of the system's" },
	{ .name = "http",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct sl_endpoint_def, http),
	  .value = "auto",
	  .words = https,
	  .help = "version; auto: 2 where TLS offers it" },
	{ .name = "in_flight",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_endpoint_def, in_flight),
	  .value = "16",
	  .least = 1,
	  .most = 16384,
	  .unit = "calls",
	  .help = "most calls under way at once; fewer while the server says 429" },
	{ .name = "requests_per_minute",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_endpoint_def, requests_per_minute),
	  .value = "0",
	  .least = 0,
	  .most = 1e9,
	  .unit = "calls",
	  .help = "0: no limit but the server's" },
	{ .name = "tokens_per_minute",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_endpoint_def, tokens_per_minute),
	  .value = "0",
	  .least = 0,
	  .most = 1e12,
	  .unit = "tokens",
	  .help = "0: no limit but the server's" },
	{ .name = "connect_timeout",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct sl_endpoint_def, connect_timeout_ms),
	  .value = "5s",
	  .least = 1,
	  .most = 3600000,
	  .help = "of one attempt" },
	{ .name = "timeout",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct sl_endpoint_def, timeout_ms),
	  .value = "10m",
	  .least = 1,
	  .most = 86400000,
	  .help = "of one attempt, with the connecting" },
	{ .name = "retries",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_endpoint_def, retries),
	  .value = "2",
	  .least = 0,
	  .most = 100,
	  .unit = "attempts",
	  .help = "after the first one, of a call that failed in a way that may pass" },
	{ .name = "budget",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_endpoint_def, budget),
	  .value = "-1",
	  .least = -1,
	  .most = 1e9,
	  .unit = "dollars",
	  .help = "most that all calls together may cost; -1: no limit" },
	{ .name = "budget_per_day",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_endpoint_def, budget_per_day),
	  .value = "-1",
	  .least = -1,
	  .most = 1e9,
	  .unit = "dollars",
	  .help = "most that the calls of a day of UTC may cost; -1: no limit" },
	{ .name = "batch",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct sl_endpoint_def, batching.on),
	  .value = "false",
	  .help = "questions are collected for the Batch API, which answers within a day, for less; their pairs wait "
		  "in "
		  "the topic of port deferred and come back by themselves" },
	{ .name = "batch_requests",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct sl_endpoint_def, batching.questions_max),
	  .value = "50000",
	  .least = 1,
	  .most = 50000,
	  .unit = "calls",
	  .help = "batch: so many are a full one" },
	{ .name = "batch_bytes",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct sl_endpoint_def, batching.bytes_max),
	  .value = "100MiB",
	  .least = 1024,
	  .most = 200.0 * (1 << 20),
	  .help = "batch: a file this large is a full one" },
	{ .name = "batch_wait",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct sl_endpoint_def, batching.wait_ms),
	  .value = "60s",
	  .least = 0,
	  .most = DAY_MS,
	  .help = "batch: one that is not full is sent when its first call has waited so long; at once by run "
		  "--until-idle, when nothing else is left to do" },
	{ .name = "batch_poll",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct sl_endpoint_def, batching.poll_ms),
	  .value = "60s",
	  .least = 1,
	  .most = 3600000,
	  .help = "batch: how often the server is asked how far it is" },
	{ .name = "batch_discount",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_endpoint_def, batching.discount),
	  .value = "0.5",
	  .least = 0,
	  .most = 1,
	  .help = "batch: what part of the price is paid" },
	{ 0 },
};

/* -- Addresses and keys ------------------------------------------------------------------ */

/* Why a url cannot be one; NULL: it can. The text itself is not shown: it may hold a password. */
static const char *url_fault(const char *url)
{
	CURLU *u = curl_url();
	char *part = NULL;
	const char *fault = NULL;

	if (!u || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK) {
		fault = "is no address: write http://HOST:PORT/v1 or https://HOST/v1";
	} else if (curl_url_get(u, CURLUPART_SCHEME, &part, 0) != CURLUE_OK ||
		   (strcmp(part, "http") != 0 && strcmp(part, "https") != 0)) {
		fault = "begins neither with http:// nor with https://";
	} else {
		curl_free(part);
		part = NULL;
		if (curl_url_get(u, CURLUPART_USER, &part, 0) == CURLUE_OK ||
		    curl_url_get(u, CURLUPART_PASSWORD, &part, 0) == CURLUE_OK)
			fault = "holds '@': give the key as 'key'";
		else if (curl_url_get(u, CURLUPART_QUERY, &part, 0) == CURLUE_OK ||
			 curl_url_get(u, CURLUPART_FRAGMENT, &part, 0) == CURLUE_OK)
			fault = "has a '?' or '#': the paths of calls are put behind it";
	}
	curl_free(part);
	curl_url_cleanup(u);
	return fault;
}

/* A variable of the environment that says something; NULL: it does not. */
static const char *said(struct sl_config *c, const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? sl_arena_print(c->a, "%s", value) : NULL;
}

static struct sl_list list_of(struct sl_config *c, const char *text)
{
	const char **at = sl_arena_alloc(c->a, sizeof *at);

	*at = text;
	return (struct sl_list){ at, 1 };
}

/* What the plan shows of it. */
static void show(struct sl_settings *s, const char *name, const char *value, const char *origin)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->at[i].name, name) == 0) {
			s->at[i].value = value;
			s->at[i].origin = origin;
		}
}

static bool address(struct sl_config *c, const struct sl_node *n, struct sl_endpoint_def *d, struct sl_settings *s)
{
	const struct sl_node *url = sl_node_get(n, "url"), *key = sl_node_get(n, "key");
	const char *base = said(c, "OPENAI_BASE_URL"), *own = said(c, "OPENAI_API_KEY");
	const char *fault;

	if (d->urls.count == 0) {
		d->urls = list_of(c, base ? base : OPENAI_URL);
		show(s, "url", base ? "[${OPENAI_BASE_URL}]" : "[" OPENAI_URL "]", base ? "environment" : "default");
		if (d->keys.count == 0 && own) {
			d->keys = list_of(c, own);
			show(s, "key", "[${OPENAI_API_KEY}]", "environment");
		}
		d->organization = said(c, "OPENAI_ORG_ID");
		d->project = said(c, "OPENAI_PROJECT_ID");
	}
	for (size_t i = 0; i < d->urls.count; i++) {
		fault = url_fault(d->urls.at[i]);
		if (fault)
			return sl_error_at(c->e, url ? url : n, "'url' of endpoint '%s' %s%s", d->name, fault,
					   url ? "" : " (OPENAI_BASE_URL)");
	}
	for (size_t i = 0; i < d->keys.count; i++)
		for (const char *p = d->keys.at[i]; *p; p++)
			if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
				return sl_error_at(c->e, key ? key : n,
						   "'key' of endpoint '%s' holds a space or another character that "
						   "cannot stand in a header",
						   d->name);
	return true;
}

/* -- Prices ------------------------------------------------------------------------------------- */

static const struct sl_option price_table[] = {
	{ .name = "prompt",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_price, prompt),
	  .least = 0,
	  .most = 1e6,
	  .unit = "dollars",
	  .help = "what a million tokens of questions cost" },
	{ .name = "completion",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_price, completion),
	  .value = "0",
	  .least = 0,
	  .most = 1e6,
	  .unit = "dollars",
	  .help = "what a million tokens of answers cost, with those of reasoning" },
	{ 0 },
};
static const struct sl_option cached_table[] = {
	{ .name = "cached",
	  .type = SL_OPTION_REAL,
	  .offset = offsetof(struct sl_price, cached),
	  .least = 0,
	  .most = 1e6,
	  .unit = "dollars",
	  .help = "what a million tokens of questions cost that the server had in its cache" },
	{ 0 },
};
static const char *const price_keys[] = { "prompt", "completion", NULL };
static const char *const cached_key[] = { "cached", NULL };

static bool prices(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "prices");
	struct sl_price *p;

	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (map->kind != SL_NODE_MAP)
		return sl_error_at(
			c->e, map,
			"'prices' must be a map: { gpt-4.1: { prompt: 2.00, cached: 0.50, completion: 8.00 } }");
	p = sl_arena_zalloc(c->a, map->count * sizeof *p);
	c->t->prices = p;
	for (const struct sl_node *n = map->first; n; n = n->next, p++) {
		struct sl_options_from from = { .map = n,
						.what = sl_arena_print(c->a, "the price of model '%s'", n->key),
						.prefix = sl_arena_print(c->a, "prices.%s.", n->key),
						.others = cached_key,
						.at = n };

		if (!sl_options_read(c->a, &from, price_table, p, &c->settings, c->e))
			return false;
		p->model = n->key;
		p->cached = p->prompt; /* unless it says otherwise */
		from.others = price_keys;
		from.explicit_only = true;
		if (!sl_options_read(c->a, &from, cached_table, p, &c->settings, c->e))
			return false;
		c->t->price_count++;
	}
	return true;
}

/* Without a price nothing would ever be counted against the budget, which would then be no limit at all. */
static bool check_priced(struct sl_config *c, const struct sl_node *at, const char *what,
			 const struct sl_endpoint_def *d)
{
	if (d->price)
		return true;
	if (d->model[0] == 0)
		return sl_error_at(c->e, at,
				   "%s has a budget, but endpoint '%s' names no model whose price is known: add "
				   "'model', and its price to 'prices'",
				   what, d->name);
	return sl_error_at(c->e, at,
			   "%s has a budget, but the price of model '%s' is not known: add prices: { \"%s\": { prompt: "
			   "DOLLARS, completion: DOLLARS } }, per million tokens (0 where it costs nothing)",
			   what, d->model, d->model);
}

/* -- endpoints: ---------------------------------------------------------------------------------- */

static bool endpoint(struct sl_config *c, const struct sl_node *n, struct sl_endpoint_def *d)
{
	const struct sl_options_from from = {
		.map = n, .what = sl_arena_print(c->a, "endpoint '%s'", n->key), .prefix = "", .at = n
	};
	const struct sl_node *budget = sl_node_get(n, "budget");
	struct sl_settings s = { 0 };

	if (!sl_config_name(c, n, "endpoint", n->key) || !sl_options_read(c->a, &from, endpoint_table, d, &s, c->e))
		return false;
	d->name = n->key;
	if (!address(c, n, d, &s))
		return false;
	/* A file and a batch belong to whoever made them. */
	if (d->batching.on && (d->urls.count > 1 || d->keys.count > 1))
		return sl_error_at(
			c->e, sl_node_get(n, "batch") ? sl_node_get(n, "batch") : n,
			"endpoint '%s' has batch: true and several of 'url' or 'key': a batch is known only to the "
			"server and the account that it was sent to; make an endpoint of each",
			d->name);
	for (size_t i = 0; i < c->t->price_count; i++)
		if (strcmp(c->t->prices[i].model, d->model) == 0)
			d->price = &c->t->prices[i];
	budget = d->budget >= 0 ? budget : sl_node_get(n, "budget_per_day");
	if ((d->budget >= 0 || d->budget_per_day >= 0) &&
	    !check_priced(c, budget, sl_arena_print(c->a, "endpoint '%s'", d->name), d))
		return false;
	d->settings = s.at;
	d->setting_count = s.count;
	return true;
}

static const struct sl_option memo_table[] = {
	{ .name = "max_size",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct sl_topology, memo_max_bytes),
	  .value = "4GiB",
	  .least = 0,
	  .most = 1024 * GIB,
	  .help = "of the answers that a task keeps, so that a question is paid once" },
	{ .name = "max_age",
	  .type = SL_OPTION_TIME_MS,
	  .offset = offsetof(struct sl_topology, memo_max_age_ms),
	  .value = "365d",
	  .least = 1000,
	  .most = 36500 * DAY_MS,
	  .help = "of an answer that is still taken for a new one" },
	{ 0 },
};

bool sl_config_endpoints(struct sl_config *c)
{
	const struct sl_node *map = sl_node_get(c->root, "endpoints");

	if (!sl_config_section(c, "memo", memo_table, NULL, c->t) || !prices(c))
		return false;
	if (!map || map->kind == SL_NODE_NONE)
		return true;
	if (map->kind != SL_NODE_MAP)
		return sl_error_at(c->e, map, "'endpoints' must be a map: { name: { url: ... } }");
	c->t->endpoints = sl_arena_zalloc(c->a, map->count * sizeof *c->t->endpoints);
	for (const struct sl_node *n = map->first; n; n = n->next)
		if (!endpoint(c, n, &c->t->endpoints[c->t->endpoint_count++]))
			return false;
	return true;
}

/* -- Options that name endpoints ------------------------------------------------------------------- */

static const struct sl_endpoint_def *endpoint_named(struct sl_config *c, const struct sl_node *at, const char *name)
{
	const struct sl_topology *t = c->t;
	const char **names;

	for (size_t i = 0; i < t->endpoint_count; i++)
		if (strcmp(t->endpoints[i].name, name) == 0)
			return &t->endpoints[i];
	if (t->endpoint_count == 0) {
		sl_error_at(c->e, at, "no endpoint '%s': the topology has none; add endpoints: { %s: { url: ... } }",
			    name, name);
		return NULL;
	}
	names = sl_arena_zalloc(c->a, (t->endpoint_count + 1) * sizeof *names);
	for (size_t i = 0; i < t->endpoint_count; i++)
		names[i] = t->endpoints[i].name;
	sl_error_at(c->e, at, "no endpoint '%s'%s", name, sl_word_hint(c->a, name, names));
	return NULL;
}

/* One that is named by an option of the step, whose budget (NULL: none) then needs its price. */
static bool named(struct sl_config *c, const struct sl_step *s, const struct sl_node *at, const char *name,
		  const struct sl_node *budget)
{
	const struct sl_endpoint_def *d = name[0] ? endpoint_named(c, at, name) : NULL;

	if (!name[0])
		return true;
	return d && (!budget || check_priced(c, budget, sl_arena_print(c->a, "step '%s'", s->name), d));
}

static bool step_names(struct sl_config *c, const struct sl_step *s, const struct sl_node *map,
		       const struct sl_option *o)
{
	const struct sl_node *node = sl_node_get(map, o->name), *item;
	const char *field = (const char *)s->self_image + o->offset;
	const struct sl_node *budget = NULL;
	const struct sl_list *list;

	node = node ? node : map;
	item = node->kind == SL_NODE_LIST ? node->first : NULL;
	if (s->budget >= 0 && sl_node_get(map, "budget"))
		budget = sl_node_get(map, "budget");
	else if (s->budget_per_day >= 0)
		budget = sl_node_get(map, "budget_per_day");
	if (o->type == SL_OPTION_TEXT)
		return named(c, s, node, *(const char *const *)field, budget);
	list = (const struct sl_list *)field;
	for (size_t i = 0; i < list->count; i++, item = item ? item->next : NULL)
		if (!named(c, s, item ? item : node, list->at[i], budget))
			return false;
	return true;
}

bool sl_config_endpoint_names(struct sl_config *c)
{
	for (size_t i = 0; i < c->t->step_count; i++) {
		const struct sl_step *s = &c->t->steps[i];

		for (const struct sl_option *o = s->op->options; o && o->name; o++)
			if (o->endpoint && !step_names(c, s, c->step_nodes[i], o))
				return false;
	}
	return true;
}

/* -- Steps that ask endpoints with batch: true ------------------------------------------------------ */

/* The endpoint with batch: true that an option of the step names; NULL: none. */
static const struct sl_endpoint_def *batched(const struct sl_topology *t, const struct sl_step *s)
{
	for (const struct sl_option *o = s->op->options; o && o->name; o++) {
		const char *field = (const char *)s->self_image + o->offset;
		const struct sl_list one = { (const char *const *)field, 1 };
		const struct sl_list *list = o->type == SL_OPTION_LIST ? (const struct sl_list *)field : &one;

		for (size_t i = 0; o->endpoint && i < list->count; i++)
			for (size_t k = 0; k < t->endpoint_count; k++)
				if (t->endpoints[k].batching.on && strcmp(t->endpoints[k].name, list->at[i]) == 0)
					return &t->endpoints[k];
	}
	return NULL;
}

bool sl_config_batches(struct sl_config *c)
{
	const struct sl_topology *t = c->t;

	for (size_t i = 0; i < t->step_count; i++) {
		const struct sl_step *s = &t->steps[i];
		const struct sl_endpoint_def *d = batched(t, s);
		int port = sl_deferred_port(s->op);
		const struct sl_topic *to;

		if (!d)
			continue;
		if (port < 0)
			return sl_error_at(
				c->e, c->step_nodes[i],
				"step '%s' cannot ask endpoint '%s', which has batch: true: '%s' has no port "
				"'deferred' for pairs that wait; name an endpoint of its own with batch: false",
				s->name, d->name, s->op->name);
		to = &t->topics[s->to[port]];
		if (to->inlined || to->retention != SL_RETAIN_KEEP || to->partitions != t->topics[s->from].partitions)
			return sl_error_at(
				c->e, c->step_nodes[i],
				"step '%s' asks endpoint '%s', which has batch: true, so its pairs wait in topic "
				"'%s': that must be stored and kept, and have as many partitions as '%s', %d",
				s->name, d->name, to->name, t->topics[s->from].name,
				(int)t->topics[s->from].partitions);
	}
	return true;
}
