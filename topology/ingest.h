/* ingest.h -- files of preference pairs into the entry topic, each line exactly once.
 *
 * The lines of a file are parsed, given their ids, and appended in batches. A batch and
 * the mark of how far the file is done are one commit, so whoever is killed in between
 * goes on behind the last whole batch.
 *
 * Which file is it? Names change, contents are what counts. A file of 64 KiB or more is known by
 * (source, hash of its first 64 KiB, unpacked). A smaller one may still grow, which would change
 * that hash, so it is known by (source, hash of its first line) and keeps that name when it grows.
 * Then the lines done are read again and their running hash must be the one in the mark:
 * a file that only grew goes on, any other change is an error. Two different small
 * files with the same first line need different sources, and the error says so.
 *
 * A last line without its newline is ingested. If the file grows inside that line later:
 * a newline alone changes nothing; where the beginning was a broken line (the writer was not
 * done), the whole line is ingested now, beside the dead letter of its beginning; where it was a
 * valid line, the file has changed, which is an error.
 *
 * What cannot be read becomes a dead letter in dead.ingest: the original bytes (the head only if
 * over the limit, with length and hash), file, line and reason in the headers. */
#ifndef SL_INGEST_H
#define SL_INGEST_H

#include "../schemas/jsonl.h"
#include "client.h"

/* Where batches go: a client, or a stand-in in tests. Both functions as in runtime.h. */
struct sl_ingest_sink {
	void *arg;
	bool (*mark)(void *arg, struct sl_bytes source, struct sl_id head, struct sl_ingest_mark *mark,
		     struct sl_error *e);
	bool (*append)(void *arg, const struct sl_ingest_append *a, struct sl_ingest_mark *mark, struct sl_error *e);
};
struct sl_ingest_sink sl_ingest_to_client(struct sl_client *c);

struct sl_ingest_counts {
	int64_t lines, pairs, ties, invalid; /* of this run; blank lines do not count */
	int64_t skipped;                     /* lines that were ingested earlier */
	int64_t invalid_line;                /* the first of this run that is invalid; 0: none */
	char invalid_why[200];               /* and its reason, as in dead.ingest */
};

struct sl_ingest_progress {
	struct sl_ingest_counts counts;
	uint64_t read_bytes, total_bytes; /* of the file as it is packed; total 0: unknown */
};

struct sl_ingest_options {
	const char *source; /* NULL: the line's, else the file's base name */
	bool gold;          /* every line is a gold pair */
	bool time_given;
	int64_t time_ms; /* arrival time when given; else now */
	struct sl_keys keys;
	int64_t entry_max_bytes;
	int64_t batch_lines; /* 0: 1000 */
	size_t batch_bytes;  /* 0: 4 MiB */
	/* NULL or: true ends the file after the batch at hand. */
	bool (*stopped)(void *arg);
	/* NULL or: called after every batch. */
	void (*progress)(void *arg, const struct sl_ingest_progress *p);
	void *arg;
};

/* One file, "-" for standard input. *counts is right also on failure. */
bool sl_ingest_file(const struct sl_ingest_sink *sink, const char *path, const struct sl_ingest_options *options,
		    struct sl_ingest_counts *counts, struct sl_error *e) SL_MUST_CHECK;

/* "data/chats.jsonl.gz" is "chats", "-" is "stdin". Valid in `a`. */
struct sl_bytes sl_ingest_source(const char *path, struct sl_arena *a);

#endif
