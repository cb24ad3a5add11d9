/* test_text.c -- validity, folding and words against tables, against utf8proc run
 * over the whole text, and over every code point. */
#include "topology/base/text.h"
#include "topology/base/buf.h"
#include "topology/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <utf8proc.h>

static void test_utf8_valid(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		int bad; /* -1: valid */
	} cases[] = {
		{ "", 0, -1 },
		{ "plain", 5, -1 },
		{ "eight by\nte blocks and \x7f", 24, -1 },
		{ "caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80", 14, -1 },
		{ "a\0b", 3, 1 },
		{ "0123456789\0b", 12, 10 },
		{ "0123456\x80", 8, 7 },
		{ "\xc0\xaf", 2, 0 },         /* overlong */
		{ "x\xe0\x80\xaf", 4, 1 },    /* overlong */
		{ "\xed\xa0\x80", 3, 0 },     /* surrogate */
		{ "\xf4\x90\x80\x80", 4, 0 }, /* over U+10FFFF */
		{ "ab\xe4\xb8", 4, 2 },       /* cut */
		{ "\xf0\x9f\x98", 3, 0 },     /* cut */
		{ "\xff", 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t bad = 99;
		bool valid = sl_utf8_valid((struct sl_bytes){ cases[i].text, cases[i].size }, &bad);

		assert_int_equal(valid, cases[i].bad < 0);
		if (!valid)
			assert_int_equal(bad, cases[i].bad);
	}
}

/* By what Unicode says of every code point. */
static void test_unseen(void **state)
{
	(void)state;
	for (utf8proc_int32_t cp = 0; cp < 0x110000; cp++) {
		const utf8proc_property_t *is = utf8proc_get_property(cp);
		int bidi = is->bidi_class;
		bool steers = is->category == UTF8PROC_CATEGORY_CC || is->category == UTF8PROC_CATEGORY_ZL ||
			      is->category == UTF8PROC_CATEGORY_ZP || bidi == UTF8PROC_BIDI_CLASS_LRE ||
			      bidi == UTF8PROC_BIDI_CLASS_LRO || bidi == UTF8PROC_BIDI_CLASS_RLE ||
			      bidi == UTF8PROC_BIDI_CLASS_RLO || bidi == UTF8PROC_BIDI_CLASS_PDF ||
			      (bidi >= UTF8PROC_BIDI_CLASS_LRI && bidi <= UTF8PROC_BIDI_CLASS_PDI) || cp == 0x200e ||
			      cp == 0x200f || cp == 0x061c;
		utf8proc_uint8_t bytes[4];
		size_t size;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		size = (size_t)utf8proc_encode_char(cp, bytes);
		if (sl_text_unseen(bytes, size) != (steers ? size : 0))
			fail_msg("U+%04X", (unsigned)cp);
		assert_true(size == 1 || sl_text_unseen(bytes, size - 1) == 0); /* cut off */
	}
}

static void test_fold(void **state)
{
	static const struct {
		const char *text, *folded;
	} cases[] = {
		{ "", "" },
		{ " \t\n", "" },
		{ "  Hello\t\r\n World ", "hello world" },
		{ "\xc2\xa0"
		  "Caf\xc3\x89\xe3\x80\x80!",
		  "caf\xc3\xa9 !" },               /* no-break and ideographic space */
		{ "Cafe\xcc\x81", "caf\xc3\xa9" }, /* e + acute composes */
		{ "STRASSE stra\xc3\x9f"
		  "e",
		  "strasse strasse" },
		{ "\xef\xbc\xa1\xef\xbc\xa2 \xef\xac\x81", "ab fi" }, /* full width, ligature */
		{ "a\xe2\x80\xa8\xc2\x85"
		  "b",
		  "a b" }, /* line separator, next line */
		{ "It\xe2\x80\x99s", "it\xe2\x80\x99s" },
		{ "bad \xff  Bytes", "bad \xff  Bytes" },
	};
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_bytes folded = sl_text_fold(&a, sl_text(cases[i].text));

		assert_non_null(folded.data);
		assert_int_equal(folded.size, strlen(cases[i].folded));
		assert_memory_equal(folded.data, cases[i].folded, folded.size);
	}
	assert_null(sl_text_fold(&a, sl_text(NULL)).data);
	sl_arena_release(&a);
}

static void assert_idempotent(struct sl_arena *a, struct sl_bytes text)
{
	struct sl_bytes once = sl_text_fold(a, text), twice = sl_text_fold(a, once);

	if (!sl_bytes_equal(once, twice))
		fail_msg("'%.*s' folds to '%.*s', then to '%.*s'", (int)text.size, (const char *)text.data,
			 (int)once.size, (const char *)once.data, (int)twice.size, (const char *)twice.data);
}

/* NFKC and case folding of the whole text in one call, then the spaces. */
static struct sl_bytes fold_whole(struct sl_arena *a, struct sl_bytes text)
{
	utf8proc_uint8_t *mapped = NULL;
	utf8proc_ssize_t size = utf8proc_map(text.data, (utf8proc_ssize_t)text.size, &mapped,
					     UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD);
	uint8_t *to = sl_arena_alloc(a, (size_t)size + 1);
	size_t n = 0;
	utf8proc_int32_t cp;

	assert_true(size >= 0);
	for (utf8proc_ssize_t i = 0, step; i < size; i += step) {
		step = utf8proc_iterate(mapped + i, size - i, &cp);
		bool space = cp == ' ' || (cp >= 9 && cp <= 13) || cp == 0x85 || cp == 0x1680 || cp == 0x2028 ||
			     cp == 0x2029;

		if (space && n > 0 && to[n - 1] != ' ')
			to[n++] = ' ';
		for (utf8proc_ssize_t j = 0; !space && j < step; j++)
			to[n++] = mapped[i + j];
	}
	if (n > 0 && to[n - 1] == ' ')
		n--;
	free(mapped);
	return (struct sl_bytes){ to, n };
}

static void test_fold_every_code_point(void **state)
{
	struct sl_arena a = { 0 };

	(void)state;
	for (utf8proc_int32_t cp = 1; cp < 0x110000; cp++) {
		utf8proc_uint8_t text[8] = "A";

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		utf8proc_ssize_t size = utf8proc_encode_char(cp, text + 1);
		assert_idempotent(&a, (struct sl_bytes){ text, (size_t)size + 1 });
		if (cp < 0x3000) {
			struct sl_bytes all = { text, (size_t)size + 1 };

			assert_true(sl_bytes_equal(sl_text_fold(&a, all), fold_whole(&a, all)));
		}
		if (cp % 1024 == 0)
			sl_arena_clear(&a);
	}
	sl_arena_release(&a);
}

/* Characters that compose, decompose, reorder, expand or are space. */
static const utf8proc_int32_t tricky[] = {
	'a',    'E',    'i',    'o',    ' ',    '\n',   '.',    0xa0,   0x85,    0xa8,    0xb4,
	0xc5,   0xdf,   0x130,  0x1c4,  0x300,  0x301,  0x308,  0x323,  0x327,   0x345,   0x3b1,
	0x3c2,  0x390,  0x1fb4, 0x1e9b, 0x1100, 0x1161, 0x11a8, 0xac00, 0x2028,  0x2126,  0x3000,
	0x304b, 0x3099, 0x4e2d, 0xfb01, 0xfdfa, 0xff21, 0xff76, 0xff9e, 0x1d160, 0x1f600,
};

static void test_fold_by_segments_is_exact(void **state)
{
	struct sl_arena a = { 0 };
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		utf8proc_uint8_t text[64];
		size_t size = 0, count;

		count = 1 + (seed = sl_mix64(seed + 1)) % 12;
		for (size_t i = 0; i < count; i++) {
			seed = sl_mix64(seed + 0x9e3779b97f4a7c15u);
			size += (size_t)utf8proc_encode_char(tricky[seed % (sizeof tricky / sizeof *tricky)],
							     text + size);
		}
		struct sl_bytes ours = sl_text_fold(&a, (struct sl_bytes){ text, size });
		struct sl_bytes whole = fold_whole(&a, (struct sl_bytes){ text, size });
		if (!sl_bytes_equal(ours, whole))
			fail_msg("round %d: '%.*s', in one call '%.*s'", round, (int)ours.size, (const char *)ours.data,
				 (int)whole.size, (const char *)whole.data);
		assert_idempotent(&a, (struct sl_bytes){ text, size });
		sl_arena_clear(&a);
	}
	sl_arena_release(&a);
}

static void test_fold_long_segment(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_buf text = { 0 };

	(void)state;
	for (int i = 0; i < 2000; i++)
		sl_buf_print(&text, "\xc3\x89");
	struct sl_bytes ours = sl_text_fold(&a, sl_buf_bytes(&text));
	assert_true(sl_bytes_equal(ours, fold_whole(&a, sl_buf_bytes(&text))));
	sl_buf_release(&text);
	sl_arena_release(&a);
}

static void test_words(void **state)
{
	static const struct {
		const char *text;
		const char *words[6];
	} cases[] = {
		{ "", { NULL } },
		{ " .,;!", { NULL } },
		{ "one", { "one" } },
		{ "One, two_three  4x.", { "One", "two", "three", "4x" } },
		{ "don't", { "don", "t" } },
		{ "na\xc3\xafve caf\xc3\xa9s!", { "na\xc3\xafve", "caf\xc3\xa9s" } },
		{ "\xe2\x80\x9cquoted\xe2\x80\x9d", { "quoted" } },
		{ "\xe4\xb8\xad\xe6\x96\x87"
		  "abc\xe3\x81\x8b",
		  { "\xe4\xb8\xad", "\xe6\x96\x87", "abc", "\xe3\x81\x8b" } },
		{ "\xed\x95\x9c\xea\xb5\xad", { "\xed\x95\x9c", "\xea\xb5\xad" } },
		{ "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xf0\x9f\x98\x80 x",
		  { "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "x" } },
		{ "a\xff"
		  "b\x80",
		  { "a", "b" } },
	};
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_words w = sl_words_of(&a, sl_text(cases[i].text));
		size_t count = 0;

		while (cases[i].words[count])
			count++;
		assert_int_equal(w.count, count);
		assert_int_equal(sl_words_count(sl_text(cases[i].text)), count);
		for (size_t j = 0; j < count; j++) {
			assert_int_equal(w.at[j].size, strlen(cases[i].words[j]));
			assert_memory_equal(cases[i].text + w.at[j].offset, cases[i].words[j], w.at[j].size);
		}
	}
	sl_arena_release(&a);
}

/* Counting takes other ways than cutting: by blocks, and by single bytes at their ends. */
static void test_words_are_counted_as_they_are_cut(void **state)
{
	static const char *const pieces[] = {
		"a",
		"Z",
		"0",
		"9",
		" ",
		" ",
		"@",
		"[",
		"`",
		"{",
		"/",
		":",
		"\x7f",
		"word",
		"twelve bytes",
		"\xc3\xa9",
		"\xe4\xb8\xad",
		"\xcc\x81",
		"\xff",
		"\xe4\xb8",
		"sixteen letters.",
		"two blocks of plain text, as long",
	};
	struct sl_arena a = { 0 };
	uint64_t random = 1;
	uint8_t text[12000];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t size = 0, most = round % 100 == 0 ? sizeof text : 100;
		/* Some have much ASCII between what is not. */
		size_t kinds = round % 3 ? sizeof pieces / sizeof *pieces : 15;

		for (;;) {
			const char *piece = pieces[sl_mix64(random++) % kinds];

			if (size + strlen(piece) > most)
				break;
			memcpy(text + size, piece, strlen(piece));
			size += strlen(piece);
		}
		for (size_t from = 0; from < 3 && from < size; from++) {
			struct sl_bytes part = { text + from, size - from };

			sl_arena_clear(&a);
			assert_int_equal(sl_words_count(part), sl_words_of(&a, part).count);
		}
	}
	sl_arena_release(&a);
}

static uint64_t only_word(struct sl_arena *a, const char *text)
{
	struct sl_words w = sl_words_of(a, sl_text(text));

	assert_int_equal(w.count, 1);
	return w.at[0].hash;
}

static void test_same_word_same_hash(void **state)
{
	static const char *const same[][2] = {
		{ "Hello", "hello" },
		{ "hello", "\xef\xbd\x88\xef\xbc\xa5\xef\xbd\x8c\xef\xbd\x8c\xef\xbd\x8f" }, /* full width */
		{ "\xc3\x89t\xc3\xa9", "e\xcc\x81te\xcc\x81" },
		{ "STRASSE", "stra\xc3\x9f"
			     "e" },
		{ "42", "\xef\xbc\x94\xef\xbc\x92" },
	};
	struct sl_arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		assert_int_equal(only_word(&a, same[i][0]), only_word(&a, same[i][1]));
	assert_int_not_equal(only_word(&a, "ab"), only_word(&a, "ba"));
	assert_int_not_equal(only_word(&a, "a"), only_word(&a, "aa"));

	/* Stored by dedupe and in model weights: a change here is a change of format. */
	assert_int_equal(only_word(&a, "stable"), UINT64_C(0x8c00ccac21f6b4c1));
	sl_arena_release(&a);
}

static void test_ngrams(void **state)
{
	struct sl_arena a = { 0 };
	struct sl_words w = sl_words_of(&a, sl_text("a b a b c"));

	(void)state;
	assert_int_equal(sl_ngram_hash(w.at, 2), sl_ngram_hash(w.at + 2, 2));
	assert_int_not_equal(sl_ngram_hash(w.at, 2), sl_ngram_hash(w.at + 1, 2));
	assert_int_not_equal(sl_ngram_hash(w.at, 1), w.at[0].hash);
	assert_int_not_equal(sl_ngram_hash(w.at, 1), sl_ngram_hash(w.at, 2));
	assert_int_equal(sl_ngram_hash(w.at, 5), UINT64_C(0xbead58302a620c6a));
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_valid),
		cmocka_unit_test(test_unseen),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_fold_every_code_point),
		cmocka_unit_test(test_fold_by_segments_is_exact),
		cmocka_unit_test(test_fold_long_segment),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_are_counted_as_they_are_cut),
		cmocka_unit_test(test_same_word_same_hash),
		cmocka_unit_test(test_ngrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
