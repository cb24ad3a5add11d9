/* text.c -- folding and cutting text.
 *
 * Both functions run over every text of every pair, and nearly all of that is
 * ASCII: ASCII bytes go through a 256-entry table, everything else through
 * utf8proc, one code point (words) or one short segment (fold) at a time.
 *
 * Folding by segments is exact. A segment is a run of non-ASCII bytes together
 * with the ASCII character before it, because only that one can compose with a
 * mark that follows; an ASCII character is a starter and never composes with
 * what stands before it. So NFKC(text) is the concatenation of the lower-cased
 * ASCII parts and the normalised segments.
 *
 * A word's hash mixes the bytes of its compatibility-decomposed, case-folded
 * characters: for ASCII that is the lower-cased byte, which is all the fast path
 * does, and a precomposed letter equals its decomposed spelling.
 *
 * Pure functions of the text; memory comes from the caller's arena. */
#include "text.h"

#include "buf.h"
#include "hash.h"

#include <stdlib.h>
#include <utf8proc.h>

/* What a byte is to the fast paths: 0 a separator, OTHER not ASCII, else the
 * lower-cased letter or digit itself. */
enum { OTHER = 0xff };

/* clang-format off */
#define ROW8(a) a, a, a, a, a, a, a, a
#define ROW32(a) ROW8(a), ROW8(a), ROW8(a), ROW8(a)
#define LETTERS 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', \
		'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z'

static const uint8_t word_byte[256] = {
	ROW32(0),
	ROW8(0), ROW8(0), '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 0, 0, 0, 0, 0, 0,
	0, LETTERS, 0, 0, 0, 0, 0,
	0, LETTERS, 0, 0, 0, 0, 0,
	ROW32(OTHER), ROW32(OTHER), ROW32(OTHER), ROW32(OTHER),
};

/* What folding makes of a byte: white space is a space, letters are lower-cased. */
#define RUN8(a) (a), (a) + 1, (a) + 2, (a) + 3, (a) + 4, (a) + 5, (a) + 6, (a) + 7
#define RUN32(a) RUN8(a), RUN8((a) + 8), RUN8((a) + 16), RUN8((a) + 24)

static const uint8_t folded_byte[256] = {
	RUN8(0), 8, ' ', ' ', ' ', ' ', ' ', 14, 15, RUN8(16), RUN8(24),
	RUN32(32),
	'@', LETTERS, '[', '\\', ']', '^', '_',
	RUN32(96),
	RUN32(128), RUN32(160), RUN32(192), RUN32(224),
};
/* clang-format on */

static bool has_high_bit(const uint8_t *at)
{
	uint64_t eight;

	memcpy(&eight, at, 8);
	return eight & 0x8080808080808080u;
}

static bool has_zero(const uint8_t *at)
{
	uint64_t eight;

	memcpy(&eight, at, 8);
	return (eight - 0x0101010101010101u) & ~eight & 0x8080808080808080u;
}

static bool is_ascii(const uint8_t *at, size_t size)
{
	size_t i = 0;

	for (; i + 8 <= size; i += 8)
		if (has_high_bit(at + i))
			return false;
	for (; i < size; i++)
		if (at[i] & 0x80)
			return false;
	return true;
}

static bool follows(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length of the strictly valid sequence at `at`, its code point in *cp; 0 if there is none. Rejects surrogates
 * and overlong forms. `size` is at least 1. */
static size_t code_point(const uint8_t *at, size_t size, utf8proc_int32_t *cp)
{
	utf8proc_int32_t first = at[0];

	if (first < 0x80) {
		*cp = first;
		return 1;
	}
	if (first < 0xc2 || size < 2 || !follows(at[1]))
		return 0;
	if (first < 0xe0) {
		*cp = (first & 0x1f) << 6 | (at[1] & 0x3f);
		return 2;
	}
	if (size < 3 || !follows(at[2]))
		return 0;
	if (first < 0xf0) {
		*cp = (first & 0x0f) << 12 | (at[1] & 0x3f) << 6 | (at[2] & 0x3f);
		return *cp < 0x800 || (*cp >= 0xd800 && *cp <= 0xdfff) ? 0 : 3;
	}
	if (first > 0xf4 || size < 4 || !follows(at[3]))
		return 0;
	*cp = (first & 0x07) << 18 | (at[1] & 0x3f) << 12 | (at[2] & 0x3f) << 6 | (at[3] & 0x3f);
	return *cp < 0x10000 || *cp > 0x10ffff ? 0 : 4;
}

size_t sl_text_unseen(const void *at, size_t size)
{
	const uint8_t *s = at;

	if (s[0] < 0x20 || s[0] == 0x7f)
		return 1;
	if (size >= 2 && ((s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) || (s[0] == 0xd8 && s[1] == 0x9c)))
		return 2; /* U+0080 to U+009F, U+061C */
	if (size < 3 || s[0] != 0xe2)
		return 0;
	/* U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069 */
	return (s[1] == 0x80 && (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae))) ||
			       (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)
		       ? 3
		       : 0;
}

bool sl_utf8_valid(struct sl_bytes text, size_t *bad)
{
	const uint8_t *at = text.data;
	size_t i = 0;

	while (i < text.size) {
		utf8proc_int32_t cp;
		size_t n;

		if (i + 8 <= text.size && !has_high_bit(at + i) && !has_zero(at + i)) {
			i += 8;
			continue;
		}
		if (at[i] < 0x80)
			n = at[i] != 0;
		else
			n = code_point(at + i, text.size - i, &cp);
		if (n == 0) {
			*bad = i;
			return false;
		}
		i += n;
	}
	return true;
}

/* Folding */

/* Copies folded bytes with space runs collapsed. `spaced` starts true, which trims
 * the front. Returns the new end. No branch depends on a byte: each is stored, and
 * the end moves on unless it was one more space. */
static uint8_t *fold_bytes(uint8_t *to, const uint8_t *from, size_t size, bool *spaced)
{
	uint8_t before = *spaced ? ' ' : 0;

	for (size_t i = 0; i < size; i++) {
		uint8_t c = folded_byte[from[i]];

		*to = c;
		to += (c != ' ') | (before != ' ');
		before = c;
	}
	*spaced = before == ' ';
	return to;
}

/* Normalise and append one segment. False on invalid UTF-8. */
static bool fold_segment(struct sl_buf *to, const uint8_t *from, size_t size, bool *spaced)
{
	enum { STACK = 256 };
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;
	utf8proc_int32_t few[STACK], *cps = few;
	utf8proc_ssize_t count = utf8proc_decompose(from, (utf8proc_ssize_t)size, few, STACK - 1, options);

	if (count >= STACK) {
		utf8proc_ssize_t room = count;

		cps = sl_malloc(((size_t)room + 1) * sizeof *cps);
		count = utf8proc_decompose(from, (utf8proc_ssize_t)size, cps, room, options);
	}
	for (utf8proc_ssize_t i = 0; i < count; i++) /* the white space that NFKC leaves alone */
		if (cps[i] == 0x85 || cps[i] == 0x1680 || cps[i] == 0x2028 || cps[i] == 0x2029)
			cps[i] = ' ';
	if (count > 0)
		count = utf8proc_reencode(cps, count, options);
	if (count > 0) {
		uint8_t *start = sl_buf_reserve(to, (size_t)count);

		to->size += (size_t)(fold_bytes(start, (const uint8_t *)cps, (size_t)count, spaced) - start);
	}
	if (cps != few)
		free(cps);
	return count >= 0;
}

static bool fold_all(struct sl_buf *to, const uint8_t *at, size_t size)
{
	bool spaced = true;
	size_t i = 0;

	sl_buf_reserve(to, size + size / 8);
	while (i < size) {
		size_t high = i, end;

		while (high < size && !(at[high] & 0x80))
			high++;
		for (end = high; end < size && at[end] & 0x80;)
			end++;
		if (high < end && high > i)
			high--; /* the ASCII character a mark may compose with */

		uint8_t *start = sl_buf_reserve(to, high - i);
		to->size += (size_t)(fold_bytes(start, at + i, high - i, &spaced) - start);
		if (high < end && !fold_segment(to, at + high, end - high, &spaced))
			return false;
		i = end;
	}
	if (to->size > 0 && to->data[to->size - 1] == ' ')
		to->size--;
	return true;
}

struct sl_bytes sl_text_fold(struct sl_arena *a, struct sl_bytes text)
{
	const uint8_t *at = text.data;

	if (!at)
		return text;
	if (is_ascii(at, text.size)) {
		bool spaced = true;
		uint8_t *to = sl_arena_alloc(a, text.size);
		uint8_t *end = fold_bytes(to, at, text.size, &spaced);

		if (end > to && end[-1] == ' ')
			end--;
		sl_arena_trim(a, to, (size_t)(end - to));
		return (struct sl_bytes){ to, (size_t)(end - to) };
	}

	struct sl_buf folded = { 0 };
	bool valid = fold_all(&folded, at, text.size);
	struct sl_bytes result = sl_arena_bytes(a, valid ? sl_buf_bytes(&folded) : text);
	sl_buf_release(&folded);
	return result;
}

/* Words */

/* Most of Chinese, as in Unicode 1.1: letters that fold to themselves, and need no table. */
static bool is_ideograph(utf8proc_int32_t cp)
{
	return cp >= 0x4e00 && cp <= 0x9fa5;
}

static bool is_word(utf8proc_int32_t cp)
{
	utf8proc_category_t category;

	if (is_ideograph(cp))
		return true;
	category = utf8proc_category(cp);
	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

/* Han, Hiragana, Katakana, Hangul, by block. */
static bool is_cjk(utf8proc_int32_t cp)
{
	return is_ideograph(cp) || (cp >= 0x1100 && cp <= 0x11ff) || (cp >= 0x2e80 && cp <= 0x2fdf) ||
	       (cp >= 0x3005 && cp <= 0x3007) || (cp >= 0x3040 && cp <= 0x30ff) || (cp >= 0x3130 && cp <= 0x318f) ||
	       (cp >= 0x31f0 && cp <= 0x31ff) || (cp >= 0x3400 && cp <= 0x9fff) || (cp >= 0xa960 && cp <= 0xa97f) ||
	       (cp >= 0xac00 && cp <= 0xd7ff) || (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0xff66 && cp <= 0xffdc) ||
	       (cp >= 0x20000 && cp <= 0x3ffff);
}

/* FNV-1a's step with a multiplier of full width; sl_mix64 at the end of the word
 * does the avalanche that the step leaves out. */
#define WORD_STEP(h, byte) (((h) ^ (byte)) * 0xff51afd7ed558ccdu)

static uint64_t hash_char(uint64_t h, utf8proc_int32_t cp)
{
	enum { ROOM = 32 }; /* the longest decomposition has 18 code points */
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;
	utf8proc_int32_t folded[ROOM];
	int boundary = 0;
	utf8proc_ssize_t count = 0;

	if (!is_ideograph(cp))
		count = utf8proc_decompose_char(cp, folded, ROOM, options, &boundary);
	if (count <= 0 || count > ROOM) {
		folded[0] = cp;
		count = 1;
	}
	for (utf8proc_ssize_t i = 0; i < count; i++) {
		utf8proc_uint8_t bytes[4];
		utf8proc_ssize_t size = utf8proc_encode_char(folded[i], bytes);

		for (utf8proc_ssize_t j = 0; j < size; j++)
			h = WORD_STEP(h, bytes[j]);
	}
	return h;
}

/* Where the word that begins at `i` ends, its hash in *hash; `i` itself when no
 * word begins there. */
static size_t word_end(const uint8_t *at, size_t size, size_t i, uint64_t *hash)
{
	uint64_t h = SL_WORD_SEED;
	size_t start = i;

	while (i < size) {
		uint8_t c = word_byte[at[i]];
		utf8proc_int32_t cp;
		size_t n;

		if (c == 0)
			break;
		if (c != OTHER) {
			h = WORD_STEP(h, c);
			i++;
			continue;
		}
		n = code_point(at + i, size - i, &cp);
		if (n == 0 || !is_word(cp))
			break;
		if (is_cjk(cp)) {
			if (i == start) {
				h = hash_char(h, cp);
				i += n;
			}
			break; /* one word; or the next one begins here */
		}
		h = hash_char(h, cp);
		i += n;
	}
	*hash = sl_mix64(h);
	return i;
}

struct sl_words sl_words_of(struct sl_arena *a, struct sl_bytes text)
{
	const uint8_t *at = text.data;
	size_t size = text.size < UINT32_MAX ? text.size : UINT32_MAX;
	/* A word and what ends it take two bytes at least; a character that is a word
	 * of its own takes three. */
	struct sl_word *words = sl_arena_alloc(a, (size / 2 + 1) * sizeof *words), *w = words;
	size_t i = 0;

	while (i < size) {
		uint64_t hash;
		utf8proc_int32_t cp;
		size_t n, end;

		if (word_byte[at[i]] == 0) {
			i++;
			continue;
		}
		end = word_end(at, size, i, &hash);
		if (end > i) {
			*w++ = (struct sl_word){ hash, (uint32_t)i, (uint32_t)(end - i) };
			i = end;
			continue;
		}
		n = code_point(at + i, size - i, &cp); /* a sign, or a broken byte */
		i += n ? n : 1;
	}
	sl_arena_trim(a, words, (size_t)((uint8_t *)w - (uint8_t *)words));
	return (struct sl_words){ words, (size_t)(w - words) };
}

/* Sixteen bytes of ASCII at once; vectors are of GCC and Clang, on any machine. Counts the words that begin in whole
 * blocks at `at`, up to the first that is not all ASCII; the byte before `at` is ASCII. How far it came in *done. */
static size_t ascii_starts(const uint8_t *at, size_t size, size_t *done)
{
	typedef uint8_t block __attribute__((vector_size(16)));
	block now, before, starts = { 0 };
	size_t count = 0, i = 0, most = size < 255 * sizeof now ? size : 255 * sizeof now; /* no lane overflows */
	uint64_t halves[2];

	for (; i + sizeof now <= most; i += sizeof now) {
		memcpy(&now, at + i, sizeof now);
		memcpy(halves, &now, sizeof halves);
		if ((halves[0] | halves[1]) & 0x8080808080808080u)
			break;
		memcpy(&before, at + i - 1, sizeof before);
		/* A comparison is all ones where it holds: minus one. */
		starts -= (block)((((now | 0x20) - 'a' < 26) | (now - '0' < 10)) &
				  ~(((before | 0x20) - 'a' < 26) | (before - '0' < 10)));
	}
	for (size_t lane = 0; lane < sizeof starts; lane++)
		count += starts[lane];
	*done = i;
	return count;
}

size_t sl_words_count(struct sl_bytes text)
{
	const uint8_t *at = text.data;
	size_t count = 0, i = 0;
	bool inside = false;

	while (i < text.size) {
		utf8proc_int32_t cp;
		size_t n;

		if (at[i] < 0x80) {
			do { /* byte by byte up to a multiple of a block: one try in that many bytes */
				count += word_byte[at[i]] && !inside;
				inside = word_byte[at[i++]];
			} while (i < text.size && at[i] < 0x80 && i % 16);
			count += ascii_starts(at + i, text.size - i, &n);
			i += n;
			inside = word_byte[at[i - 1]];
			continue;
		}
		n = code_point(at + i, text.size - i, &cp);
		i += n ? n : 1;
		if (n == 0 || !is_word(cp)) {
			inside = false;
		} else if (is_cjk(cp)) {
			count++;
			inside = false;
		} else {
			count += !inside;
			inside = true;
		}
	}
	return count;
}
