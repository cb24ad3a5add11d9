/* jsonl_read.c -- one line of JSON to pairs.
 *
 * The way of a line: jansson reads it, jsonl_shapes.c brings it to prompt and
 * ranked answers, and here every two answers of different rank become a pair,
 * of equal rank a tie. What is not understood goes into meta: fields of the
 * line beside the producer's own, never over them.
 *
 * Texts are copied into the caller's arena; the JSON tree is gone on return.
 * Thread-safe. */
#include "jsonl_shape.h"

#include "../topology/base/text.h"

#include <math.h>

/* jansson says what is wrong; which bytes are, we know better. */
static bool explain(struct sl_bytes line, const json_error_t *why, struct sl_error *e)
{
	size_t bad;

	if (!sl_utf8_valid(line, &bad)) {
		unsigned byte = ((const uint8_t *)line.data)[bad];

		if (byte == 0)
			return sl_error_set(e, SL_STOP, "a NUL byte at byte %zu: expected UTF-8 text without NUL", bad);
		return sl_error_set(e, SL_STOP, "invalid UTF-8 at byte %zu (0x%02x): expected UTF-8 text", bad, byte);
	}
	switch (json_error_code(why)) {
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return sl_error_set(e, SL_STOP, "a NUL character (\\u0000) before byte %d: no text may hold one",
				    why->position);
	case json_error_numeric_overflow:
		return sl_error_set(
			e, SL_STOP,
			"a number too big before byte %d: integers must fit into 64 bits and reals into a double; "
			"write it as a string",
			why->position);
	case json_error_stack_overflow:
		return sl_error_set(e, SL_STOP, "nested too deep at byte %d: at most 2048 levels", why->position);
	case json_error_premature_end_of_input:
		return sl_error_set(e, SL_STOP, "the JSON ends early, at byte %d of %zu: the line is cut off",
				    why->position, line.size);
	default:
		return sl_error_set(e, SL_STOP, "not JSON at byte %d: %s", why->position, why->text);
	}
}

/* --- fields beside the texts --- */

/* A string at `key` of the line, or where the caller said. */
static bool read_text(struct sl_reading *r, const char *named, const char *key, struct sl_bytes *to)
{
	json_t *value = named ? sl_json_at(r->line, named) : key ? sl_reading_get(r, key) : NULL;

	if (!value || json_is_null(value))
		return true;
	if (json_is_integer(value) && named) /* a class by number */
		*to = sl_json_dump(r->a, value, false);
	else if (json_is_string(value))
		*to = sl_arena_bytes(r->a, sl_json_bytes(value));
	else
		return sl_error_set(r->e, SL_STOP, "'%s' must be a string, not %s", named ? named : key,
				    sl_json_kind(value));
	return true;
}

static bool read_margin(struct sl_reading *r)
{
	const char *key = r->keys->margin ? r->keys->margin : "margin";
	json_t *value = sl_json_at(r->line, key);

	if (!value || json_is_null(value) || r->answer_count > 2)
		return true; /* of a line with many answers it is nobody's: kept in meta */
	if (!json_is_number(value))
		return sl_error_set(r->e, SL_STOP, "'%s' must be a number, not %s", key, sl_json_kind(value));
	r->margin = json_number_value(value);
	if (!r->keys->margin)
		sl_reading_use(r, key);
	return true;
}

/* One of the words allowed, separated by '|'. */
static bool read_word(struct sl_reading *r, const char *key, json_t *value, const char *words, struct sl_bytes *to)
{
	struct sl_bytes given = sl_json_bytes(value);

	if (!value || json_is_null(value))
		return true;
	for (const char *word = words; given.data && *word;) {
		size_t size = strcspn(word, "|");

		if (sl_bytes_equal(given, (struct sl_bytes){ word, size })) {
			*to = (struct sl_bytes){ word, size };
			return true;
		}
		word += size + (word[size] == '|');
	}
	return sl_error_set(r->e, SL_STOP, "'%s' must be one of %s, not %s%.40s", key, words,
			    given.data ? "" : sl_json_kind(value), given.data ? (const char *)given.data : "");
}

static bool read_gold_words(struct sl_reading *r, json_t *from, struct sl_gold *gold)
{
	return read_word(r, "label_arrived", json_object_get(from, "label_arrived"), "same|swapped",
			 &gold->label_arrived) &&
	       read_word(r, "sample", json_object_get(from, "sample"), "random|error-driven|given", &gold->sample);
}

static bool read_gold(struct sl_reading *r, struct sl_gold *gold)
{
	json_t *value = sl_reading_get(r, "gold"), *member;
	const char *key;

	if (!read_gold_words(r, r->line, gold))
		return false;
	sl_reading_use(r, "label_arrived");
	sl_reading_use(r, "sample");
	if (!value)
		return true;
	if (!json_is_boolean(value) && !json_is_object(value))
		return sl_error_set(
			r->e, SL_STOP,
			"'gold' must be true, false, or an object with 'sample' and 'label_arrived', not %s",
			sl_json_kind(value));
	sl_reading_use(r, "gold");
	gold->present = !json_is_false(value);
	json_object_foreach(value, key,
			    member) if (strcmp(key, "label_arrived") != 0 && strcmp(key, "sample") != 0 &&
					strcmp(key, "verdict") !=
						0) return sl_error_set(r->e, SL_STOP,
								       "unknown key 'gold.%.40s': expected 'verdict', "
								       "'sample', 'label_arrived'",
								       key);
	if (!read_word(r, "verdict", json_object_get(value, "verdict"), "chosen", &gold->verdict) ||
	    !read_gold_words(r, value, gold))
		return sl_error_in(r->e, "'gold'");
	if (gold->present) {
		gold->verdict = sl_text("chosen");
		gold->sample = gold->sample.data ? gold->sample : sl_text("given");
	}
	return true;
}

/* A line of `sluice gold sample`, told by its `sample`, that a person has looked at: it knows its domain, and a verdict
 * says so where the person does not prefer the answer that stands as chosen. */
static bool read_verified(struct sl_reading *r, struct sl_pair *like)
{
	json_t *verdict = sl_reading_get(r, "verdict");
	struct sl_bytes word = sl_text("chosen");

	if (!sl_reading_get(r, "sample") || r->answer_count != 2)
		return true;
	if (!r->keys->domain) {
		if (!read_text(r, NULL, "domain", &like->domain))
			return false;
		sl_reading_use(r, "domain");
	}
	if (!read_word(r, "verdict", verdict, "chosen|rejected|tie", &word))
		return false;
	sl_reading_use(r, "verdict");
	if (sl_is(word, "rejected")) {
		double rank = r->answers[0].rank;

		r->answers[0].rank = r->answers[1].rank;
		r->answers[1].rank = rank;
		r->margin = -r->margin;
	} else if (sl_is(word, "tie")) {
		r->answers[1].rank = r->answers[0].rank;
		r->two_sided = false;
	}
	return true;
}

/* --- meta --- */

/* Never over what is there: an equal value needs no second place, another one
 * gets underscores in front until its name is free. */
static void meta_add(struct sl_reading *r, json_t *meta, const char *key, json_t *value)
{
	for (json_t *there; (there = json_object_get(meta, key));) {
		if (json_equal(there, value))
			return;
		key = sl_arena_print(r->a, "_%s", key);
	}
	json_object_set(meta, key, value);
}

static bool is_used(const struct sl_reading *r, const char *key)
{
	for (size_t i = 0; i < r->used_count; i++)
		if (strcmp(r->used[i], key) == 0)
			return true;
	return strcmp(key, "meta") == 0;
}

/* The producer's meta with the other fields of the line added. Owned by the caller. */
static bool make_meta(struct sl_reading *r, json_t **to)
{
	json_t *given = sl_reading_get(r, "meta"), *value;
	const char *key;

	if (given && !json_is_object(given))
		return sl_error_set(r->e, SL_STOP, "'meta' must be an object, not %s", sl_json_kind(given));
	*to = given ? json_copy(given) : json_object();
	json_object_foreach(r->line, key, value)
	{
		/* meta.label is the origin of the label; a verdict of that name is something else. */
		bool verdict = r->verdict_key && strcmp(key, r->verdict_key) == 0 && strcmp(key, "label") == 0;

		if (!is_used(r, key))
			meta_add(r, *to, verdict ? "_label" : key, value);
	}
	return true;
}

static struct sl_bytes pair_meta(struct sl_reading *r, json_t *meta, const struct sl_answer *chosen,
				 const struct sl_answer *rejected)
{
	json_t *own = json_copy(meta);
	struct sl_bytes text;

	if (chosen->info)
		meta_add(r, own, "chosen_info", chosen->info);
	if (rejected->info)
		meta_add(r, own, "rejected_info", rejected->info);
	text = sl_json_dump(r->a, own, false);
	json_decref(own);
	return text;
}

/* --- pairs --- */

static void make_pair(struct sl_reading *r, const struct sl_pair *like, json_t *meta, const struct sl_answer *chosen,
		      const struct sl_answer *rejected, struct sl_pair *to, struct sl_arena *scratch)
{
	*to = *like;
	to->chosen = chosen->messages;
	to->rejected = rejected->messages;
	to->margin = isnan(r->margin) ? chosen->score - rejected->score : r->margin;
	if (chosen->info || rejected->info)
		to->meta = pair_meta(r, meta, chosen, rejected);
	sl_pair_identify(to, scratch);
	sl_arena_clear(scratch);
}

/* Every two answers, in the order of the line: items are numbered alike for
 * pairs and ties. */
static void make_pairs(struct sl_reading *r, struct sl_pair *like, json_t *meta, struct sl_parsed *out)
{
	size_t n = r->answer_count;
	struct sl_arena scratch = { 0 };

	out->pairs = sl_arena_alloc(r->a, n * (n - 1) / 2 * sizeof *out->pairs);
	out->ties = sl_arena_alloc(r->a, n * (n - 1) / 2 * sizeof *out->ties);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			const struct sl_answer *first = &r->answers[i], *second = &r->answers[j];
			bool tie = first->rank == second->rank;

			if (tie && r->two_sided)
				continue;
			if (first->rank > second->rank) {
				first = &r->answers[j];
				second = &r->answers[i];
			}
			make_pair(r, like, meta, first, second,
				  tie ? &out->ties[out->tie_count++] : &out->pairs[out->pair_count++], &scratch);
			like->arrival.item++;
		}
	}
	sl_arena_release(&scratch);
}

static bool read_line(struct sl_reading *r, struct sl_parsed *out)
{
	struct sl_pair like;
	json_t *meta = NULL;
	bool given;

	sl_pair_init(&like);
	if (!sl_shape_read(r))
		return false;
	if (!read_text(r, r->keys->source, "source", &like.source) ||
	    !read_text(r, r->keys->domain, NULL, &like.domain) ||
	    !read_text(r, r->keys->origin, "origin", &like.origin) || !read_margin(r) || !read_gold(r, &like.gold) ||
	    !read_verified(r, &like))
		return false;
	if (!r->keys->source)
		sl_reading_use(r, "source");
	if (!make_meta(r, &meta))
		return false;
	given = sl_reading_get(r, "meta") != NULL;
	if (given || json_object_size(meta) > 0)
		like.meta = sl_json_dump(r->a, meta, false);
	if (!like.origin.data)
		like.origin = sl_arena_bytes(r->a, sl_json_bytes(json_object_get(meta, "label")));
	if (!like.origin.data)
		like.origin = sl_arena_bytes(r->a, sl_json_bytes(json_object_get(meta, "origin")));
	like.prompt = r->prompt;
	make_pairs(r, &like, meta, out);
	json_decref(meta);
	return true;
}

static bool is_blank(struct sl_bytes line)
{
	const char *s = line.data;

	for (size_t i = 0; i < line.size; i++)
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r' && s[i] != '\n')
			return false;
	return true;
}

bool sl_jsonl_parse(struct sl_bytes line, const struct sl_keys *keys, struct sl_arena *a, struct sl_parsed *out,
		    struct sl_error *e)
{
	static const struct sl_keys no_keys;
	struct sl_reading r = { .keys = keys ? keys : &no_keys, .a = a, .e = e, .margin = NAN };
	json_error_t why;
	bool good;

	*out = (struct sl_parsed){ 0 };
	if (sl_bytes_begins(line, sl_text("\xef\xbb\xbf"))) /* a mark that editors put in front of a file */
		line = (struct sl_bytes){ (const char *)line.data + 3, line.size - 3 };
	if (is_blank(line))
		return true;
	r.line = json_loadb(line.data, line.size, JSON_DECODE_ANY, &why);
	if (!r.line)
		return explain(line, &why, e);
	if (json_is_object(r.line))
		good = read_line(&r, out);
	else
		good = sl_error_set(e, SL_STOP, "expected an object on every line, not %s", sl_json_kind(r.line));
	for (size_t i = 0; i < r.answer_count; i++)
		json_decref(r.answers[i].info);
	json_decref(r.line);
	return good;
}
