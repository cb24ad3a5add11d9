/* fuzz_topology_wire.c -- any bytes as the body of a request or of a refusal. The first byte
 * chooses the decoder. */
#include "topology/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_ingest_append append;
	struct sl_record *records;
	struct sl_bytes body, source;
	struct sl_ingest_mark mark;
	struct sl_error e;
	struct sl_id head;
	size_t count;

	if (size == 0)
		return 0;
	body = (struct sl_bytes){ data + 1, size - 1 };
	switch (data[0] % 5) {
	case 0:
		if (sl_wire_ingest_decode(body, &append, &e) && sl_wire_records(append.dead, &records, &count, &e))
			free(records);
		break;
	case 1:
		(void)!sl_wire_key_decode(body, &source, &head, &e);
		break;
	case 2:
		if (sl_wire_records(body, &records, &count, &e))
			free(records);
		break;
	case 3:
		(void)sl_wire_mark_get(body, &mark);
		break;
	default:
		sl_wire_error_decode(body, 400, &e);
	}
	return 0;
}
