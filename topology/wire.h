/* wire.h -- what goes over the owner's socket, as bytes.
 *
 *     GET  /v1/fetch?topic=T&partition=P&offset=O&bytes=N   frames; headers Sluice-Next, Sluice-End
 *     POST /v1/mark      source and head                    the mark
 *     POST /v1/ingest    an append with its marks           the mark after; refused: the mark found, in Sluice-Mark
 *     POST /v1/append?topic=T   frames
 *     GET  /v1/status                                       JSON
 *     POST /v1/train?model=M    the reason                  JSON
 *     POST /v1/promote?model=M&version=V   the reason
 *     POST /v1/reload                                       JSON (reload.h)
 *
 * Frames are records as in the logs (sl_frames_next). Integers are little-endian.
 * Failures are JSON, {"verdict": "retry" | "stop" | "wait", "text": "..."}. Both ends
 * are of one release and on one machine; still every length is checked against what
 * is there, because a socket may be spoken to by anything. Decoded texts point into the body. */
#ifndef SL_WIRE_H
#define SL_WIRE_H

#include "runtime.h"

#define SL_WIRE_MARK_SIZE 48
/* Ingest and replay cut their appends well below this. */
#define SL_WIRE_BODY_MAX ((size_t)64 << 20)
#define SL_WIRE_FETCH_MAX ((size_t)8 << 20)
#define SL_WIRE_SOCKET "sluice.sock"

void sl_wire_mark_put(const struct sl_ingest_mark *mark, uint8_t to[SL_WIRE_MARK_SIZE]);
/* False unless exactly one mark with no negative count. */
bool sl_wire_mark_get(struct sl_bytes body, struct sl_ingest_mark *mark);
/* A mark as 96 hex digits, for a header. */
void sl_wire_mark_hex(const struct sl_ingest_mark *mark, char to[2 * SL_WIRE_MARK_SIZE + 1]);
bool sl_wire_mark_unhex(const char *hex, struct sl_ingest_mark *mark);

void sl_wire_key_encode(struct sl_bytes source, struct sl_id head, struct sl_buf *to);
bool sl_wire_key_decode(struct sl_bytes body, struct sl_bytes *source, struct sl_id *head,
			struct sl_error *e) SL_MUST_CHECK;

void sl_wire_ingest_encode(const struct sl_ingest_append *a, struct sl_buf *to);
/* Also walks the frames: an append that decodes is whole. */
bool sl_wire_ingest_decode(struct sl_bytes body, struct sl_ingest_append *a, struct sl_error *e) SL_MUST_CHECK;

/* The records of frames, in an array from malloc; false (and nothing to free) when malformed. */
bool sl_wire_records(struct sl_bytes frames, struct sl_record **records, size_t *count,
		     struct sl_error *e) SL_MUST_CHECK;

void sl_wire_error_encode(const struct sl_error *e, struct sl_buf *json);
/* Always leaves a failure in `e`: a reply that is not ours is SL_STOP and shows its head. */
void sl_wire_error_decode(struct sl_bytes json, long http_status, struct sl_error *e);

#endif
