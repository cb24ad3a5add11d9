/* embed.c -- the context of a pair as a vector, for finding similar gold pairs.
 *
 * The text is that of (conversation, attributes); the answers are not looked at
 * (arXiv 2507.01352 section 3.1). Of a long conversation the end counts: that is
 * where the question is. The back-end `hashed` needs no model.
 *
 * Here the stream forks. Gold pairs are done: they leave for the gold table,
 * numbered 1, 2, 3 ... by a logged counter. The number is the table's version, so
 * every decision can say which gold it saw. All others go on to be scored.
 *
 * The trail says here which split a gold pair is in, and of all others that share a prompt with
 * select or report, `holdout`: whatever becomes of such a pair, no model ever trains on it. */
#include "hashing_vectorizer.h"
#include "operator.h"

#include <assert.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are little-endian float32: swap them in embed and "
							  "retrieve");

enum { EMBEDDED, GOLD };
static const char *const ports[] = { "embedded", "gold", NULL };

enum { SEQUENCE };
static const struct sl_store_def stores[] = { { .name = "sequence" }, { 0 } };

struct embed {
	const char *backend;
	int64_t dim;
	int64_t text_max_bytes;
	struct sl_vectorizer vectorizer;
};

static const char *const backends[] = { "hashed", NULL };

static const struct sl_option options[] = {
	{ .name = "backend",
	  .type = SL_OPTION_TEXT,
	  .offset = offsetof(struct embed, backend),
	  .value = "hashed",
	  .words = backends,
	  .shapes_store = true,
	  .help = "hashed: words and character n-grams by their hashes, no model" },
	{ .name = "dim",
	  .type = SL_OPTION_COUNT,
	  .offset = offsetof(struct embed, dim),
	  .value = "256",
	  .least = SL_VECTORIZER_DIM_MIN,
	  .most = SL_VECTORIZER_DIM_MAX,
	  .shapes_store = true,
	  .unit = "numbers",
	  .help = "length of a vector; the gold table holds vectors of this length" },
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

	(void)task;
	sl_vectorizer_init(&e->vectorizer, (size_t)e->dim);
	return SL_OK;
}

static enum sl_verdict embed_process(struct sl_task *task, void *self, const struct sl_batch *batch)
{
	struct embed *e = self;
	struct sl_arena *a = sl_task_arena(task);
	int64_t sequence = -1; /* read when the first gold pair comes */

	for (size_t i = 0; i < batch->count; i++) {
		struct sl_pair p = batch->pairs[i];
		size_t size_bytes = e->vectorizer.dim * sizeof(float);
		float *vector = sl_alloc(task, size_bytes);

		sl_vectorize(&e->vectorizer, context_of(&p, (size_t)e->text_max_bytes, a), a, vector);
		p.vectors.context = (struct sl_bytes){ vector, size_bytes };
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
	return SL_OK;
}

static void embed_close(struct sl_task *task, void *self)
{
	struct embed *e = self;

	(void)task;
	sl_vectorizer_release(&e->vectorizer);
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
	.process = embed_process,
	.close = embed_close,
};
