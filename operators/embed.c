/* embed.c -- the context of a pair as a vector, for finding similar gold pairs.
 *
 * The text is that of (conversation, attributes); the answers are not looked at
 * (arXiv 2507.01352 section 3.1). Of a long conversation the end counts: that is
 * where the question is. The back-end `hashed` needs no model; `http` asks a server (remote.h), one call per pair, so
 * that a question does not depend on how batches are cut. A server whose vectors have another length than `dim` stops
 * the step: the gold table holds vectors of one length. Any other bad answer makes the pair a dead letter.
 *
 * Here the stream forks. Gold pairs are done: they leave for the gold table,
 * numbered 1, 2, 3 ... by a logged counter. The number is the table's version, so
 * every decision can say which gold it saw. All others go on to be scored.
 *
 * The trail says here which split a gold pair is in, and of all others that share a prompt with
 * select or report, `holdout`: whatever becomes of such a pair, no model ever trains on it. */
#include "hashing_vectorizer.h"
#include "remote.h"

#include <assert.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are little-endian float32: swap them in embed and "
							  "retrieve");

enum { EMBEDDED, GOLD };
static const char *const ports[] = { "embedded", "gold", NULL };

enum { SEQUENCE };
static const struct sl_store_def stores[] = { { .name = "sequence" }, { 0 } };

struct embed {
	const char *backend, *endpoint, *api, *prefix;
	bool shorten;
	int64_t dim;
	int64_t text_max_bytes;
	/* hashed */
	struct sl_vectorizer vectorizer;
	/* http */
	bool http;
	enum sl_vector_api asks;
	const char *model;
	struct sl_buf text, body;
};

static const char *const backends[] = { "hashed", "http", NULL };
static const char *const apis[] = { "openai", "tei", NULL };

static const struct sl_option options[] = {
	{ .name = "backend",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct embed, backend),
	  .value = "hashed",
	  .words = backends,
	  .shapes_store = true,
	  .help = "hashed: words and character n-grams by their hashes, no model; http: a server's vectors" },
	{ .name = "endpoint",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct embed, endpoint),
	  .value = "",
	  .endpoint = true,
	  .help = "http: the endpoint that is asked" },
	{ .name = "api",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct embed, api),
	  .value = "openai",
	  .words = apis,
	  .help = "http: openai: POST /embeddings, the url ends in /v1; tei: POST /embed of "
		  "text-embeddings-inference, the url has no /v1" },
	{ .name = "dim",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct embed, dim),
	  .value = "256",
	  .least = SL_VECTORIZER_DIM_MIN,
	  .most = SL_VECTORIZER_DIM_MAX,
	  .shapes_store = true,
	  .unit = "numbers",
	  .help = "length of a vector; the gold table holds vectors of this length. http: what the server sends" },
	{ .name = "shorten",
	  .type = SL_OPTION_BOOL,
	  .offset = offsetof(struct embed, shorten),
	  .value = "false",
	  .help = "http, api openai: have the server shorten its vectors to dim numbers; for models that were "
		  "trained for it (text-embedding-3, Matryoshka)" },
	{ .name = "prefix",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct embed, prefix),
	  .value = "",
	  .help = "http: put in front of every text, for models that want it: 'query: '" },
	{ .name = "text_max",
	  .type = SL_OPTION_SIZE,
	  .offset = offsetof(struct embed, text_max_bytes),
	  .value = "8KiB",
	  .least = 256,
	  .most = 1 << 20,
	  .shapes_store = true,
	  .help = "the end of a longer conversation is embedded" },
	{ 0 },
};

static struct sl_bytes tail(struct sl_bytes text, size_t size_max)
{
	const uint8_t *at = text.data;
	size_t skip = text.size > size_max ? text.size - size_max : 0;

	while (skip > 0 && skip < text.size && (at[skip] & 0xc0) == 0x80) /* not inside a character */
		skip++;
	return skip ? (struct sl_bytes){ at + skip, text.size - skip } : text;
}

static struct sl_bytes context_of(const struct sl_pair *p, size_t text_max_bytes, struct sl_arena *a)
{
	const struct sl_attributes *at = &p->attributes;
	const struct sl_bytes parts[] = { tail(sl_messages_text(&p->prompt, a), text_max_bytes),
					  at->category,
					  at->objectivity,
					  at->controversiality,
					  at->desired,
					  at->guideline };
	size_t size = 0;
	uint8_t *text;

	if (!at->present)
		return parts[0];
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		size += parts[i].size + 1;
	text = sl_arena_alloc(a, size);
	size = 0;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (parts[i].size)
			memcpy(text + size, parts[i].data, parts[i].size);
		size += parts[i].size;
		text[size++] = '\n';
	}
	return (struct sl_bytes){ text, size };
}

static int64_t sequence_read(struct sl_task *task)
{
	struct sl_bytes value;

	if (!sl_get(task, SEQUENCE, sl_text("gold"), &value))
		return 0;
	assert(value.size == 8);
	return (int64_t)sl_get_le64(value.data);
}

static void sequence_write(struct sl_task *task, int64_t sequence)
{
	uint8_t value[8];

	sl_put_le64(value, (uint64_t)sequence);
	sl_put(task, SEQUENCE, sl_text("gold"), (struct sl_bytes){ value, sizeof value });
}

/* Code words, in the order of enum sl_split. */
static const char *const gold_splits[] = { "train", "select", "report" };
static const char *const holdouts[] = { NULL, "holdout: select", "holdout: report" };

static void emit_other(struct sl_task *task, const struct sl_pair *p)
{
	const char *holdout = holdouts[sl_split_of(p->group)];

	if (holdout)
		sl_emit_because(task, EMBEDDED, p, "%s", holdout);
	else
		sl_emit(task, EMBEDDED, p);
}

static enum sl_verdict embed_open(struct sl_task *task, void *self)
{
	struct embed *e = self;

	e->http = strcmp(e->backend, "http") == 0;
	if (e->http != (e->endpoint[0] != 0))
		return sl_fail(task, SL_STOP,
			       e->http ? "backend 'http' needs the option 'endpoint': the name of one of the topology"
				       : "the option 'endpoint' is for backend 'http', and the backend is 'hashed'");
	if (!e->http) {
		sl_vectorizer_init(&e->vectorizer, (size_t)e->dim);
		return SL_OK;
	}
	e->asks = strcmp(e->api, "tei") == 0 ? SL_VECTOR_TEI : SL_VECTOR_OPENAI;
	if (e->shorten && e->asks == SL_VECTOR_TEI)
		return sl_fail(task, SL_STOP, "the option 'shorten' is for api 'openai', and the api is 'tei'");
	e->model = sl_task_model(task, e->endpoint);
	return SL_OK;
}

/* Run again in process(), it finds the answer. */
static struct sl_answer ask(struct sl_task *task, struct embed *e, struct sl_bytes context)
{
	struct sl_call call = { .endpoint = e->endpoint, .path = sl_remote_vector_path(e->asks), .model = e->model };

	sl_buf_clear(&e->text);
	sl_buf_add_bytes(&e->text, sl_text(e->prefix));
	sl_buf_add_bytes(&e->text, context);
	sl_buf_clear(&e->body);
	sl_remote_vector_body(e->asks, e->model, e->shorten ? e->dim : 0, sl_buf_bytes(&e->text), &e->body);
	call.body = sl_buf_bytes(&e->body);
	return sl_answer(task, sl_ask(task, &call));
}

/* Vectors of two models cannot be compared: the store remembers whose the first ones were. */
static enum sl_verdict same_vectors(struct sl_task *task, struct embed *e)
{
	struct sl_bytes value, now = sl_text(sl_arena_print(sl_task_arena(task), "model '%s', %sprefix '%s'", e->model,
							    e->shorten ? "shortened, " : "", e->prefix));

	if (!sl_get(task, SEQUENCE, sl_text("vectors"), &value)) {
		sl_put(task, SEQUENCE, sl_text("vectors"), now);
		return SL_OK;
	}
	if (sl_bytes_equal(value, now))
		return SL_OK;
	return sl_fail(task, SL_STOP,
		       "the vectors so far are of %.*s, endpoint '%s' would be asked for %s: they cannot be compared; "
		       "put it back, or ingest into a new data folder",
		       (int)value.size, (const char *)value.data, e->endpoint, (const char *)now.data);
}

/* NULL with SL_OK: the pair is rejected. */
static enum sl_verdict ask_vector(struct sl_task *task, struct embed *e, const struct sl_pair *p,
				  struct sl_bytes context, float **to)
{
	struct sl_answer answer = ask(task, e, context);
	const char *why = "";
	size_t count = 0;

	*to = sl_remote_vector_read(e->asks, &answer, sl_task_arena(task), &count, &why);
	if (!*to)
		sl_reject(task, p, "%s", why);
	else if (count != (size_t)e->dim) {
		*to = NULL;
		return sl_fail(task, SL_STOP,
			       "endpoint '%s' sends vectors of %zu numbers, the option 'dim' says %lld: set dim=%zu%s",
			       e->endpoint, count, (long long)e->dim, count,
			       e->asks == SL_VECTOR_OPENAI && !e->shorten
				       ? ", or shorten=true where the model can send shorter ones"
				       : "");
	}
	return SL_OK;
}

/* Of a text without a byte: all 0, similar to nothing. */
static enum sl_verdict vector_of(struct sl_task *task, struct embed *e, const struct sl_pair *p, float **to)
{
	struct sl_arena *a = sl_task_arena(task);
	struct sl_bytes context = context_of(p, (size_t)e->text_max_bytes, a);

	if (e->http && context.size)
		return ask_vector(task, e, p, context, to);
	*to = sl_arena_zalloc(a, (size_t)e->dim * sizeof **to);
	if (!e->http)
		sl_vectorize(&e->vectorizer, context, a, *to);
	return SL_OK;
}

static enum sl_verdict embed_ask(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct embed *e = self;

	for (size_t i = 0; e->http && i < batch->count; i++) {
		struct sl_bytes context = context_of(&batch->pairs[i], (size_t)e->text_max_bytes, sl_task_arena(task));

		if (context.size)
			ask(task, e, context);
	}
	return SL_OK;
}

static enum sl_verdict embed_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct embed *e = self;
	int64_t sequence = -1; /* read when the first gold pair comes */
	enum sl_verdict v = e->http ? same_vectors(task, e) : SL_OK;

	for (size_t i = 0; v == SL_OK && i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];
		float *vector = NULL;

		v = vector_of(task, e, &p, &vector);
		if (!vector)
			continue;
		p.vectors.context = (struct sl_bytes){ vector, (size_t)e->dim * sizeof *vector };
		if (!p.gold.present) {
			emit_other(task, &p);
			continue;
		}
		if (sequence < 0)
			sequence = sequence_read(task);
		p.gold.sequence = ++sequence;
		sl_emit_because(task, GOLD, &p, "%s", gold_splits[sl_split_of(p.group)]);
	}
	if (sequence > 0)
		sequence_write(task, sequence);
	return v;
}

static void embed_close(struct sl_task *task, void *self)
{
	struct embed *e = self;

	(void)task;
	sl_vectorizer_release(&e->vectorizer);
	sl_buf_release(&e->text);
	sl_buf_release(&e->body);
}

const struct sl_operator sl_operator_embed = {
	.name = "embed",
	.version = "2",
	.help = "the context of a pair as a vector; gold pairs are numbered and leave for the gold table",
	.options = options,
	.ports = ports,
	.stores = stores,
	.self_size = sizeof(struct embed),
	.open = embed_open,
	.ask = embed_ask,
	.process = embed_process,
	.close = embed_close,
};
