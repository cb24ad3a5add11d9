/* client.h -- the operations of a data folder, whoever owns it.
 *
 * A command does not care whether `run` is running. If DIR/LOCK is free, the client
 * opens the folder itself (and serves DIR/sluice.sock as any owner does); if not, it
 * speaks HTTP to the owner over that socket. Each function here is one of the
 * operations of runtime.h, with the same arguments and meaning.
 *
 * The owner may come and go between two calls: a call that found nobody is tried again
 * for about ten seconds (it may become the owner itself). A call that broke off half way is tried
 * again only where that cannot double anything; else the error says that the outcome is unknown.
 *
 * One client, one thread at a time. */
#ifndef SL_CLIENT_H
#define SL_CLIENT_H

#include "runtime.h"

struct sl_client;

/* `topology` and `data` are borrowed; data NULL: the topology's. NULL on failure. */
struct sl_client *sl_client_open(const struct sl_topology *topology, const char *data,
				 struct sl_error *e) SL_MUST_CHECK;
void sl_client_close(struct sl_client *c);
/* True: a process of its own owns the folder, we only ask it. */
bool sl_client_remote(const struct sl_client *c);

bool sl_client_fetch(struct sl_client *c, int topic, int32_t partition, int64_t offset, size_t bytes_max,
		     struct sl_buf *frames, int64_t *next, int64_t *end, struct sl_error *e) SL_MUST_CHECK;
bool sl_client_ingest(struct sl_client *c, const struct sl_ingest_append *a, struct sl_ingest_mark *mark,
		      struct sl_error *e) SL_MUST_CHECK;
bool sl_client_ingest_mark(struct sl_client *c, struct sl_bytes source, struct sl_id head, struct sl_ingest_mark *mark,
			   struct sl_error *e) SL_MUST_CHECK;
bool sl_client_append(struct sl_client *c, int topic, const struct sl_record *records, size_t count,
		      struct sl_error *e) SL_MUST_CHECK;
bool sl_client_status(struct sl_client *c, struct sl_buf *json, struct sl_error *e) SL_MUST_CHECK;
bool sl_client_train(struct sl_client *c, const char *model, const char *reason, struct sl_buf *report_json,
		     struct sl_error *e) SL_MUST_CHECK;
bool sl_client_promote(struct sl_client *c, const char *model, int64_t version, const char *reason,
		       struct sl_error *e) SL_MUST_CHECK;

#endif
