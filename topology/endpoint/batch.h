/* batch.h -- the words of OpenAI's Batch API: what is said to a server and what it answers. Pure functions.
 *
 *     POST /files          a form: purpose=batch, and a file of lines   the file's id
 *                          {"custom_id","method","url","body"}
 *     POST /batches        {"input_file_id","endpoint",                 a batch
 *                          "completion_window","metadata"}
 *     GET  /batches/ID                                                  a batch
 *     GET  /batches?after=ID&limit=100                                  {"data":[batches],"has_more"}, newest first
 *     GET  /files/ID/content                                            lines {"custom_id","response","error"}
 *
 * A batch is done when it is completed, expired, cancelled or failed; it has a file of answers, a file of errors, both
 * or neither. The custom_id of a line is the key of its question in hex; the metadata {"sluice": ours} say whose a
 * batch is, so that it is found again by who died between asking for it and hearing its id.
 *
 * What servers say are foreign bytes: ids become parts of paths, so they are checked. */
#ifndef SL_ENDPOINT_BATCH_H
#define SL_ENDPOINT_BATCH_H

#include "../base/buf.h"
#include "../base/hash.h"

#define SL_BATCH_ID_SIZE 128
#define SL_BATCH_WHY_SIZE 200
#define SL_BATCH_WINDOW "24h"

/* -- What is said ------------------------------------------------------------------------- */

/* The form of a file, line by line. Line breaks between the tokens of `body`, which is JSON, become spaces. */
void sl_batch_form_begin(struct sl_buf *to, const char *name);
void sl_batch_form_line(struct sl_buf *to, const struct sl_id *key, const char *path, struct sl_bytes body);
void sl_batch_form_end(struct sl_buf *to);
/* Bytes that a line has around its body, at most. */
size_t sl_batch_line_around(const char *path);

void sl_batch_create(struct sl_buf *to, const char *file, const char *path, const char *ours);

/* -- What is answered --------------------------------------------------------------------- */

/* The "id" of an object. False: there is none, or none that can be part of a path. */
bool sl_batch_read_id(struct sl_bytes body, char id[SL_BATCH_ID_SIZE]);

enum sl_batch_stage { SL_BATCH_RUNNING, SL_BATCH_DONE, SL_BATCH_FAILED /* as a whole, before any line */ };
struct sl_batch_said {
	enum sl_batch_stage stage;
	char id[SL_BATCH_ID_SIZE], output[SL_BATCH_ID_SIZE], errors[SL_BATCH_ID_SIZE]; /* "": none */
	char word[32];               /* the status, as the server says it */
	char why[SL_BATCH_WHY_SIZE]; /* of a failed one; printable */
};
bool sl_batch_read(struct sl_bytes body, struct sl_batch_said *to);

/* A page of batches: is there one with our name? *last: where the next page begins, "": there is none. */
bool sl_batch_find(struct sl_bytes page, const char *ours, struct sl_batch_said *to, bool *found,
		   char last[SL_BATCH_ID_SIZE]);

/* A line of a file of answers or errors. */
struct sl_batch_line {
	bool keyed; /* else nothing is known of it */
	struct sl_id key;
	int status;         /* 0: not asked, see why */
	struct sl_buf body; /* of the answer, as compact JSON; cleared and filled */
	char why[SL_BATCH_WHY_SIZE];
};
/* False at the end of the file. */
bool sl_batch_next(struct sl_bytes file, size_t *at, struct sl_batch_line *to);

#endif
