/* message.c -- librdkafka messages to struct sl_record and back.
 *
 * Key, value and tombstone are the same thing on both sides. Headers are in the framing of log.h inside. A header
 * with a null value becomes one with an empty value, and one whose name is over 65,535 bytes is
 * left out: the framing has no room for either, and nothing of ours writes them.
 *
 * Ownership: a record points into its message and into the caller's buffer. Threads: any. */
#include "kafka.h"

void sl_message_record(const rd_kafka_message_t *m, struct sl_buf *headers, struct sl_record *r)
{
	rd_kafka_timestamp_type_t type;
	int64_t time_ms = rd_kafka_message_timestamp(m, &type);
	rd_kafka_headers_t *h;
	const char *name;
	const void *value;
	size_t size;

	sl_buf_clear(headers);
	/* Parsed here for the first time; what cannot be parsed is none. */
	if (!rd_kafka_message_headers(m, &h))
		for (size_t i = 0; !rd_kafka_header_get_all(h, i, &name, &value, &size); i++)
			if (strlen(name) <= UINT16_MAX)
				sl_header_add(headers, name, (struct sl_bytes){ value, value ? size : 0 });
	*r = (struct sl_record){
		.offset = m->offset,
		.time_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 ? 0 : time_ms,
		.key = { m->key, m->key ? m->key_len : 0 },
		.value = { m->payload, m->payload ? m->len : 0 },
		.headers = sl_buf_bytes(headers),
	};
}

rd_kafka_headers_t *sl_message_headers(struct sl_bytes headers)
{
	const uint8_t *at = headers.data;
	size_t left = headers.size;
	rd_kafka_headers_t *h = NULL;

	while (left >= 6) {
		size_t name = (size_t)at[0] | (size_t)at[1] << 8, value = sl_get_le32(at + 2);

		if (name > left - 6 || value > left - 6 - name)
			break; /* as sl_header_find reads it: what is whole counts */
		if (!h)
			h = rd_kafka_headers_new(4);
		rd_kafka_header_add(h, (const char *)at + 6, (ssize_t)name, at + 6 + name, (ssize_t)value);
		at += 6 + name + value;
		left -= 6 + name + value;
	}
	return h;
}
