/* inbox.c -- records of a partition from their fetch to their commit.
 *
 * The consumer hands out a record once. Until its transaction is committed it may have to be played again,
 * perhaps many times, so it is kept here as bytes. What fills up is bounded: a full inbox takes no more, the
 * partition's own queue in librdkafka fills up too, and then nothing more is fetched. So a slow step holds back its
 * partitions without a pause (which would throw away what was fetched), and polling goes on. */
#include "member.h"

#include <stdlib.h>

#define INBOX_BYTES (16u << 20)
#define INBOX_RECORDS 8192

bool sl_inbox_full(const struct sl_inbox *b)
{
	return b->bytes >= INBOX_BYTES || b->count >= INBOX_RECORDS;
}

static size_t size_of(const struct sl_record *r)
{
	return sizeof *r + r->key.size + r->value.size + r->headers.size;
}

static struct sl_bytes keep(uint8_t **at, struct sl_bytes b)
{
	struct sl_bytes kept = { b.data ? *at : NULL, b.size };

	if (b.size)
		memcpy(*at, b.data, b.size);
	*at += b.size;
	return kept;
}

void sl_inbox_add(struct sl_inbox *b, const struct sl_record *r)
{
	struct sl_record *copy = sl_malloc(size_of(r) + 1);
	uint8_t *texts = (uint8_t *)(copy + 1);

	*copy = (struct sl_record){ .offset = r->offset, .time_ms = r->time_ms };
	copy->key = keep(&texts, r->key);
	copy->value = keep(&texts, r->value);
	copy->headers = keep(&texts, r->headers);
	if (b->count == b->capacity) {
		b->capacity = b->capacity ? 2 * b->capacity : 64;
		b->records = sl_realloc(b->records, b->capacity * sizeof *b->records);
	}
	b->records[b->count++] = copy;
	b->bytes += size_of(copy);
	b->next = r->offset + 1;
	b->at_end = false;
}

size_t sl_inbox_find(const struct sl_inbox *b, int64_t offset)
{
	size_t low = 0, high = b->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (b->records[middle]->offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void sl_inbox_drop(struct sl_inbox *b, int64_t offset)
{
	size_t n = sl_inbox_find(b, offset);

	for (size_t i = 0; i < n; i++) {
		b->bytes -= size_of(b->records[i]);
		free(b->records[i]);
	}
	b->count -= n;
	if (n && b->count)
		memmove(b->records, b->records + n, b->count * sizeof *b->records);
}

void sl_inbox_release(struct sl_inbox *b)
{
	sl_inbox_drop(b, INT64_MAX);
	free(b->records);
	*b = (struct sl_inbox){ 0 };
}

/* -- ops of ../stream.h ----------------------------------------------------------------------- */

bool sl_member_waiting(struct sl_unit *u)
{
	const struct sl_member_task *t = u->stream;

	return sl_inbox_find(&t->inbox, u->cursor.offset) < t->inbox.count;
}

bool sl_member_load(struct sl_unit *u, size_t record_max, size_t bytes_max, struct sl_error *e)
{
	const struct sl_member_task *t = u->stream;
	const struct sl_inbox *b = &t->inbox;
	size_t at = sl_inbox_find(b, u->cursor.offset), bytes = 0;

	(void)e; /* what is here cannot fail to be read */
	u->now->count = 0;
	while (at < b->count && u->now->count < record_max && (u->now->count == 0 || bytes < bytes_max)) {
		bytes += size_of(b->records[at]);
		u->now->records[u->now->count++] = *b->records[at++];
	}
	u->cursor.offset = u->now->records[u->now->count - 1].offset + 1;
	return true;
}
