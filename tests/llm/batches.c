/* batches.c -- files and batches of the Batch API, all in memory. A batch is done when its time has come (--batch-ms)
 * or when it is told so; its lines are answered at that moment, as the same requests would have been. */
#include "llm.h"

#include <stdlib.h>
#include <time.h>

struct file {
	char id[32], purpose[32];
	struct sl_buf bytes;
};

struct batch {
	char id[32], input[32], output[32], errors[32]; /* "" none */
	char endpoint[64], status[16], ours[64];        /* ours: metadata.sluice */
	int64_t due_ns, total, completed, failed;
};

struct batches {
	struct file *files;
	struct batch *batches;
	size_t file_count, batch_count;
};

static struct batches *all(struct server *s)
{
	if (!s->batches)
		s->batches = sl_calloc(1, sizeof *s->batches);
	return s->batches;
}

static struct file *file_find(struct batches *b, const char *id, size_t size)
{
	for (size_t i = 0; i < b->file_count; i++)
		if (strlen(b->files[i].id) == size && memcmp(b->files[i].id, id, size) == 0)
			return &b->files[i];
	return NULL;
}

static struct file *file_add(struct batches *b, const char *purpose, struct sl_bytes bytes)
{
	struct file *f;

	b->files = sl_realloc(b->files, (b->file_count + 1) * sizeof *b->files);
	f = &b->files[b->file_count++];
	*f = (struct file){ 0 };
	snprintf(f->id, sizeof f->id, "file-%zu", b->file_count);
	snprintf(f->purpose, sizeof f->purpose, "%s", purpose);
	sl_buf_add_bytes(&f->bytes, bytes);
	return f;
}

static void file_json(const struct file *f, struct sl_buf *to)
{
	sl_buf_print(to,
		     "{\"id\":\"%s\",\"object\":\"file\",\"bytes\":%zu,\"created_at\":%lld,\"filename\":\"%s.jsonl\","
		     "\"purpose\":\"%s\",\"status\":\"processed\"}",
		     f->id, f->bytes.size, (long long)time(NULL), f->id, f->purpose);
}

/* -- Multipart ----------------------------------------------------------------------------------------------- */

/* The part of a form whose name is `name`; absent when there is none. */
static struct sl_bytes part_of(const struct request *q, const char *name)
{
	const char *boundary = strstr(q->type, "boundary="), *at = q->body.data, *end = at + q->body.size;
	char mark[128], field[64];
	size_t size;

	if (!boundary)
		return (struct sl_bytes){ 0 };
	boundary += 9 + (boundary[9] == '"');
	size = strcspn(boundary, "\";\r\n ");
	snprintf(mark, sizeof mark, "--%.*s", (int)(size < 100 ? size : 100), boundary);
	snprintf(field, sizeof field, "name=\"%s\"", name);
	while (at < end && (at = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL) {
		const char *head = at + strlen(mark), *body = memmem(head, (size_t)(end - head), "\r\n\r\n", 4);
		const char *stop = body ? memmem(body, (size_t)(end - body), mark, strlen(mark)) : NULL;

		if (!stop)
			break;
		if (memmem(head, (size_t)(body - head), field, strlen(field)))
			return (struct sl_bytes){ body + 4, (size_t)(stop - body) < 6 ? 0 : (size_t)(stop - body) - 6 };
		at = stop;
	}
	return (struct sl_bytes){ 0 };
}

/* -- Batches ------------------------------------------------------------------------------------------------- */

static void line_out(struct sl_buf *to, const char *id, const char *custom, const struct reply *r)
{
	sl_buf_print(to, "{\"id\":\"batch_req_%s\",\"custom_id\":", id);
	sl_json_text(to, sl_text(custom));
	sl_buf_print(to, ",\"response\":{\"status_code\":%d,\"request_id\":\"r\",\"body\":", r->status);
	sl_buf_add(to, r->body.data, r->body.size);
	sl_buf_print(to, "},\"error\":null}\n");
}

static void line_expired(struct sl_buf *to, const char *id, const char *custom)
{
	sl_buf_print(to, "{\"id\":\"batch_req_%s\",\"custom_id\":", id);
	sl_json_text(to, sl_text(custom));
	sl_buf_print(to,
		     ",\"response\":null,\"error\":{\"code\":\"batch_expired\",\"message\":\"This request could not "
		     "be executed before the completion window expired.\"}}\n");
}

static void answer_line(struct server *s, struct batch *b, struct sl_bytes line, bool late, struct sl_buf *output,
			struct sl_buf *errors)
{
	json_t *request = json_loadb(line.data, line.size, 0, NULL), *body = json_object_get(request, "body");
	const char *custom = json_string_value(json_object_get(request, "custom_id"));
	struct reply r = { .status = 200 };
	struct sl_buf text = { 0 };
	bool done = false;

	if (!custom)
		custom = "";
	sl_json_value(&text, body, false);
	if (late) {
		line_expired(errors, b->id, custom);
	} else {
		if (json_is_object(body))
			work(s, b->endpoint, body, sl_buf_bytes(&text), &r);
		else
			refuse(&r, 400, "invalid_json", "The line is no request.");
		done = r.status == 200 && r.manner == MANNER_WHOLE;
		if (r.status == 200 && !done) /* what would have cut the answer is an error of the server here */
			refuse(&r, 500, "server_error", "The server had an error.");
		line_out(done ? output : errors, b->id, custom, &r);
	}
	b->completed += done;
	b->failed += !done;
	reply_release(&r);
	sl_buf_release(&text);
	json_decref(request);
}

static void end(struct server *s, struct batch *b, const char *status)
{
	struct batches *all_ = all(s);
	const struct file *input = file_find(all_, b->input, strlen(b->input));
	struct sl_buf output = { 0 }, errors = { 0 };
	const char *at = input ? (const char *)input->bytes.data : NULL, *stop = at ? at + input->bytes.size : NULL;
	bool none = strcmp(status, "failed") == 0, half = strcmp(status, "completed") != 0;

	s->price = 0.5;
	for (int64_t i = 0; at && at < stop && !none; i++) {
		const char *nl = memchr(at, '\n', (size_t)(stop - at));
		struct sl_bytes line = { at, (size_t)((nl ? nl : stop) - at) };

		if (line.size)
			answer_line(s, b, line, half && 2 * i >= b->total, &output, &errors);
		at = nl ? nl + 1 : stop;
	}
	s->price = 1;
	snprintf(b->status, sizeof b->status, "%s", status);
	if (output.size)
		snprintf(b->output, sizeof b->output, "%s", file_add(all_, "batch_output", sl_buf_bytes(&output))->id);
	if (errors.size)
		snprintf(b->errors, sizeof b->errors, "%s", file_add(all_, "batch_output", sl_buf_bytes(&errors))->id);
	sl_buf_release(&output);
	sl_buf_release(&errors);
}

static bool running(const struct batch *b)
{
	return strcmp(b->status, "in_progress") == 0;
}

void batches_end(struct server *s, const char *status)
{
	struct batches *b = all(s);

	for (size_t i = 0; i < b->batch_count; i++)
		if (running(&b->batches[i]))
			end(s, &b->batches[i], status);
}

static void batch_json(struct server *s, struct batch *b, struct sl_buf *to)
{
	const char *const files[] = { b->output, b->errors }, *const names[] = { "output_file_id", "error_file_id" };

	if (running(b) && s->set.batch_ms && now_ns() >= b->due_ns)
		end(s, b, "completed");
	sl_buf_print(to,
		     "{\"id\":\"%s\",\"object\":\"batch\",\"endpoint\":\"%s\",\"errors\":null,\"input_file_id\":\"%s\","
		     "\"completion_window\":\"24h\",\"status\":\"%s\",\"created_at\":%lld",
		     b->id, b->endpoint, b->input, b->status, (long long)time(NULL));
	for (int i = 0; i < 2; i++) {
		sl_buf_print(to, ",\"%s\":", names[i]);
		sl_json_text(to, *files[i] ? sl_text(files[i]) : (struct sl_bytes){ 0 });
	}
	sl_buf_print(
		to, ",\"request_counts\":{\"total\":%lld,\"completed\":%lld,\"failed\":%lld},\"metadata\":{\"sluice\":",
		(long long)b->total, (long long)b->completed, (long long)b->failed);
	sl_json_text(to, sl_text(b->ours));
	sl_buf_print(to, "}}");
}

static void batch_new(struct server *s, const struct request *q, struct reply *r)
{
	json_t *body = json_loadb(q->body.data, q->body.size, 0, NULL);
	const char *input = json_string_value(json_object_get(body, "input_file_id"));
	const char *endpoint = json_string_value(json_object_get(body, "endpoint"));
	const char *ours = json_string_value(json_object_get(json_object_get(body, "metadata"), "sluice"));
	struct batches *b = all(s);
	const struct file *f = input ? file_find(b, input, strlen(input)) : NULL;
	struct batch *new;

	if (!f || !endpoint) {
		refuse(r, 400, "invalid_request", "input_file_id must name a file, and endpoint a path");
	} else {
		b->batches = sl_realloc(b->batches, (b->batch_count + 1) * sizeof *b->batches);
		new = &b->batches[b->batch_count++];
		*new = (struct batch){ .status = "in_progress", .due_ns = now_ns() + s->set.batch_ms * 1000000 };
		snprintf(new->id, sizeof new->id, "batch_%zu", b->batch_count);
		snprintf(new->input, sizeof new->input, "%s", f->id);
		snprintf(new->endpoint, sizeof new->endpoint, "%s", endpoint);
		snprintf(new->ours, sizeof new->ours, "%s", ours ? ours : "");
		for (size_t i = 0; i < f->bytes.size; i++)
			new->total += f->bytes.data[i] == '\n' || i + 1 == f->bytes.size;
		batch_json(s, new, &r->body);
		s->counts.batches++;
		s->counts.batched += new->total;
		if (draw((uint64_t)s->set.seed, "batch", b->batch_count, 0) < s->set.batch_cut)
			r->manner = MANNER_RESET;
	}
	json_decref(body);
}

static void batch_list(struct server *s, struct reply *r)
{
	struct batches *b = all(s);

	sl_buf_print(&r->body, "{\"object\":\"list\",\"data\":[");
	for (size_t i = b->batch_count; i-- > 0;) { /* newest first */
		batch_json(s, &b->batches[i], &r->body);
		sl_buf_print(&r->body, i ? "," : "");
	}
	sl_buf_print(&r->body, "],\"has_more\":false}");
}

static void one_batch(struct server *s, const char *id, bool posted, struct reply *r)
{
	struct batches *b = all(s);
	size_t size = strcspn(id, "/");

	for (size_t i = 0; i < b->batch_count; i++) {
		struct batch *found = &b->batches[i];

		if (strlen(found->id) != size || memcmp(found->id, id, size) != 0)
			continue;
		if (posted && strcmp(id + size, "/cancel") == 0 && running(found))
			end(s, found, "cancelled");
		batch_json(s, found, &r->body);
		return;
	}
	refuse(r, 404, "not_found", "No batch '%s'.", id);
}

static void one_file(struct server *s, const struct request *q, const char *id, struct reply *r)
{
	size_t size = strcspn(id, "/");
	const struct file *f = file_find(all(s), id, size);

	if (!f)
		refuse(r, 404, "not_found", "No such File object: %s", id);
	else if (strcmp(q->method, "DELETE") == 0)
		sl_buf_print(&r->body, "{\"id\":\"%s\",\"object\":\"file\",\"deleted\":true}", f->id);
	else if (strcmp(id + size, "/content") == 0)
		sl_buf_add(&r->body, f->bytes.data, f->bytes.size);
	else
		file_json(f, &r->body);
}

static void upload(struct server *s, const struct request *q, struct reply *r)
{
	struct sl_bytes file = part_of(q, "file"), purpose = part_of(q, "purpose");
	char word[32];

	snprintf(word, sizeof word, "%.*s", (int)purpose.size, purpose.data ? (const char *)purpose.data : "");
	if (!file.data || !*word) {
		refuse(r, 400, "invalid_request", "a form with purpose and file is wanted");
	} else {
		s->counts.files++;
		file_json(file_add(all(s), word, file), &r->body);
	}
}

bool batches_serve(struct server *s, const struct request *q, struct reply *r)
{
	bool posted = strcmp(q->method, "POST") == 0;

	if (strcmp(q->path, "/v1/files") == 0 && posted)
		upload(s, q, r);
	else if (strncmp(q->path, "/v1/files/", 10) == 0)
		one_file(s, q, q->path + 10, r);
	else if (strcmp(q->path, "/v1/batches") == 0 && posted)
		batch_new(s, q, r);
	else if (strcmp(q->path, "/v1/batches") == 0)
		batch_list(s, r);
	else if (strncmp(q->path, "/v1/batches/", 12) == 0)
		one_batch(s, q->path + 12, posted, r);
	else
		return false;
	return true;
}

void batches_free(struct server *s)
{
	for (size_t i = 0; s->batches && i < s->batches->file_count; i++)
		sl_buf_release(&s->batches->files[i].bytes);
	if (s->batches) {
		free(s->batches->files);
		free(s->batches->batches);
	}
	free(s->batches);
}
