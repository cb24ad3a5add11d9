/* prompt_fence.c -- foreign text in a prompt, behind prompt.h.
 *
 * What may end a fence is its mark, and no text holds that, nor what looks like it: sl_prompt_fence_begin looks. (The
 * hash is no secret: after 2^32 tries there is a text that is drawn the very mark that it holds in capitals.) What is
 * done to a text here (cutting, control characters, broken template words) only ever puts something between two of its
 * characters or in the place of one, so it cannot make a mark either. */
#include "prompt.h"

#include <assert.h>

/* Words that chat templates and tokenizers treat as the end of a turn, a role or a text. The form <|...|> with either
 * kind of bar is known by its shape. */
static const char *const template_words[] = {
	"<start_of_turn>",
	"<end_of_turn>",
	"<end_of_utterance>",
	"<bos>",
	"<eos>",
	"<s>",
	"</s>",
	"<BOS_TOKEN>",
	"<EOS_TOKEN>",
	"[BOS]",
	"[EOS]",
	"<seed:",
	"[INST]",
	"[/INST]",
	"<<SYS>>",
	"<</SYS>>",
	"[SYSTEM",
	"[/SYSTEM",
	"<think>",
	"</think>",
	"[THINK]",
	"[/THINK]",
	"<tool_call>",
	"</tool_call>",
	"[TOOL_CALLS]",
	"[TOOL_RESULTS]",
	"[/TOOL_RESULTS]",
	"[gMASK]",
	"<sop>",
	"[AVAILABLE_TOOLS]",
	"[/AVAILABLE_TOOLS]",
};

enum { BAR_WORD_BYTES_MAX = 64 };

/* What a byte can pass for in a mark: a letter in small or a digit; 0: nothing, it is not seen. LOOK: with those
 * behind it, see twin_of. */
enum { LOOK = 1 };
#define TEN(c) c, c + 1, c + 2, c + 3, c + 4, c + 5, c + 6, c + 7, c + 8, c + 9
#define LETTERS TEN('a'), TEN('k'), 'u', 'v', 'w', 'x', 'y', 'z'
static const uint8_t passes_for[256] = {
	[0x30] = TEN('0'), [0x41] = LETTERS, [0x61] = LETTERS, [0xd0] = LOOK,
	[0xd1] = LOOK,     [0xd4] = LOOK,    [0xef] = LOOK,
};

/* A reader of words takes wide forms and Cyrillic twins for the letters themselves. *size: bytes of the character. */
static uint8_t twin_of(const uint8_t *at, size_t left, size_t *size)
{
	static const struct {
		uint8_t bytes[2], letter;
	} twins[] = { { { 0xd0, 0xb0 }, 'a' }, { { 0xd0, 0x90 }, 'a' }, { { 0xd0, 0x92 }, 'b' },
		      { { 0xd0, 0xac }, 'b' }, { { 0xd1, 0x81 }, 'c' }, { { 0xd0, 0xa1 }, 'c' },
		      { { 0xd4, 0x81 }, 'd' }, { { 0xd0, 0xb5 }, 'e' }, { { 0xd0, 0x95 }, 'e' },
		      { { 0xd0, 0x97 }, '3' }, { { 0xd0, 0xb1 }, '6' } };

	*size = 1;
	if (left >= 3 && at[0] == 0xef && (at[1] == 0xbc || at[1] == 0xbd)) { /* U+FF01 to U+FF5E: ASCII, wide */
		unsigned wide = (at[1] - 0xbcu) * 0x40 + (at[2] & 0x3fu);

		*size = 3;
		return wide >= 1 && wide <= 0x5e ? passes_for[0x20 + wide] : 0;
	}
	for (size_t i = 0; left >= 2 && i < sizeof twins / sizeof twins[0]; i++)
		if (at[0] == twins[i].bytes[0] && at[1] == twins[i].bytes[1]) {
			*size = 2;
			return twins[i].letter;
		}
	return 0;
}

/* Does the text hold the mark, or what a reader may take for it: with other letters of the same looks, or with
 * something between them that is none? Every text of every question comes through here. */
static bool holds(struct sl_bytes text, const char *mark)
{
	const uint8_t *s = text.data;
	uint64_t wanted = 0, last = 0; /* eight letters */

	for (size_t i = 0; i < 8; i++)
		wanted = wanted << 8 | (uint8_t)mark[i];
	for (size_t i = 0, size = 1; i < text.size; i += size) {
		uint8_t letter = passes_for[s[i]];

		size = 1;
		if (letter == LOOK)
			letter = twin_of(s + i, text.size - i, &size);
		last = last << (letter ? 8 : 0) | letter;
		if (last == wanted)
			return true;
	}
	return false;
}

void sl_prompt_fence_begin(struct sl_fence *f, const struct sl_bytes *texts, size_t count)
{
	struct sl_id chain[2] = { 0 };
	char hex[SL_ID_HEX_SIZE];
	size_t held;

	for (size_t i = 0; i < count; i++) { /* a hash of hashes: lengths need no prefix */
		chain[1] = sl_hash128(texts[i].data, texts[i].size);
		chain[0] = sl_hash128(chain, sizeof chain);
	}
	do {
		sl_id_hex(chain[0], hex);
		memcpy(f->mark, hex, sizeof f->mark - 1);
		f->mark[sizeof f->mark - 1] = 0;
		chain[0] = sl_hash128(chain, sizeof chain);
		for (held = 0; held < count; held++)
			if (holds(texts[held], f->mark))
				break;
	} while (held < count);
}

/* -- what a text looks like inside ------------------------------------------------------------- */

static size_t bar_at(struct sl_bytes text, size_t i)
{
	static const char wide[] = "\xef\xbd\x9c"; /* U+FF5C */
	const char *at = (const char *)text.data + i;

	if (i < text.size && *at == '|')
		return 1;
	return i + 3 <= text.size && memcmp(at, wide, 3) == 0 ? 3 : 0;
}

/* "<|", up to 64 bytes without white space, "|>" */
static bool is_bar_word(struct sl_bytes text)
{
	const char *s = text.data;
	size_t i = 1 + bar_at(text, 1);

	if (i == 1)
		return false;
	for (; i < text.size && i < BAR_WORD_BYTES_MAX && !strchr(" \t\r\n", s[i]); i++)
		if (s[i] == '>')
			return true;
	return false;
}

static bool is_template_word(struct sl_bytes text)
{
	const char *s = text.data;

	if (text.size < 2)
		return false;
	for (size_t i = 0; i < sizeof template_words / sizeof template_words[0]; i++)
		if (template_words[i][1] == s[1] && sl_bytes_begins(text, sl_text(template_words[i])))
			return true;
	return is_bar_word(text);
}

/* What must be looked at: control characters and the beginnings of template words. */
static bool is_plain(uint8_t c)
{
	return c >= 0x20 ? c != '<' && c != '[' && c != 0x7f : c == '\n' || c == '\t';
}

void sl_prompt_add_tamed(struct sl_buf *to, struct sl_bytes text)
{
	const uint8_t *s = text.data;
	size_t from = 0, i;

	for (i = 0; i < text.size; i++) {
		if (is_plain(s[i]))
			continue;
		if (s[i] != '<' && s[i] != '[') {
			sl_buf_add(to, s + from, i - from);
			sl_buf_add(to, "\xef\xbf\xbd", 3);
			from = i + 1;
		} else if (is_template_word((struct sl_bytes){ s + i, text.size - i })) {
			sl_buf_add(to, s + from, i + 1 - from);
			sl_buf_add_byte(to, ' ');
			from = i + 1;
		}
	}
	if (i > from)
		sl_buf_add(to, s + from, i - from);
}

struct sl_bytes sl_prompt_message_text(const struct sl_message *m)
{
	return m->content.size ? m->content : m->extra;
}

/* Roles are foreign words too. */
static const char *role_name(struct sl_bytes role)
{
	static const char *const known[] = { "system", "user", "assistant", "tool", "developer" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (sl_is(role, known[i]))
			return known[i];
	return "other";
}

static bool needs_roles(const struct sl_messages *m)
{
	struct sl_bytes role = m->count ? m->at[0].role : (struct sl_bytes){ 0 };

	return m->count > 1 || !(role.size == 0 || sl_is(role, "user") || sl_is(role, "assistant"));
}

/* -- cutting ------------------------------------------------------------------------------------- */

/* All texts one behind the other; bytes from `from` up to `to` are left out. */
struct cut {
	size_t from, to;
};

static bool inside_character(const struct sl_messages *m, size_t at)
{
	for (size_t i = 0; i < m->count; i++) {
		struct sl_bytes text = sl_prompt_message_text(&m->at[i]);

		if (at < text.size)
			return (((const uint8_t *)text.data)[at] & 0xc0) == 0x80;
		at -= text.size;
	}
	return false;
}

static struct cut cut_of(const struct sl_messages *m, size_t most)
{
	struct cut c = { 0, 0 };
	size_t size = 0;

	for (size_t i = 0; i < m->count; i++)
		size += sl_prompt_message_text(&m->at[i]).size;
	if (size <= most)
		return (struct cut){ size, size };
	c.from = most / 2;
	c.to = size - (most - c.from);
	while (c.from > 0 && inside_character(m, c.from)) /* a text that is no UTF-8 loses more, and that is all */
		c.from--;
	while (c.to < size && inside_character(m, c.to))
		c.to++;
	return c;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The fence as it is written: which role line stands last, and whether the gap was told. */
struct writer {
	const struct sl_fence *f;
	struct sl_buf *to;
	bool roles;
	const struct sl_message *speaker;
};

static void new_line(struct sl_buf *to)
{
	if (to->size && to->data[to->size - 1] != '\n')
		sl_buf_add_byte(to, '\n');
}

static void write_stretch(struct writer *w, const struct sl_message *m, size_t from, size_t to)
{
	struct sl_bytes text = sl_prompt_message_text(m);

	if (w->roles && w->speaker != m) {
		new_line(w->to);
		sl_buf_print(w->to, "<<%s %s>>\n", role_name(m->role), w->f->mark);
	}
	w->speaker = m;
	if (to > from)
		sl_prompt_add_tamed(w->to, (struct sl_bytes){ (const uint8_t *)text.data + from, to - from });
}

static void write_gap(struct writer *w, size_t size)
{
	new_line(w->to);
	sl_buf_print(w->to, "<<%zu bytes left out %s>>\n", size, w->f->mark);
}

static void write_messages(struct writer *w, const struct sl_messages *m, struct cut c)
{
	size_t start = 0; /* of the message among all texts */
	bool told = c.from == c.to;

	for (size_t i = 0; i < m->count; i++) {
		size_t size = sl_prompt_message_text(&m->at[i]).size, end = start + size;

		if (start < c.from || (size == 0 && (start <= c.from || start >= c.to)))
			write_stretch(w, &m->at[i], 0, least(size, c.from - least(c.from, start)));
		if (!told && end >= c.from) {
			told = true;
			write_gap(w, c.to - c.from);
		}
		if (end > c.to && c.from < c.to)
			write_stretch(w, &m->at[i], c.to > start ? c.to - start : 0, size);
		start = end;
	}
}

struct sl_bytes sl_prompt_fence_messages(const struct sl_fence *f, const char *what, const struct sl_messages *m,
					 size_t most, struct sl_arena *a)
{
	struct sl_buf b = { 0 };
	struct writer w = { .f = f, .to = &b, .roles = needs_roles(m) };
	struct sl_bytes fenced;

	assert(strlen(f->mark) == sizeof f->mark - 1);
	sl_buf_print(&b, "<<<%s %s>>>\n", what, f->mark);
	write_messages(&w, m, cut_of(m, most));
	new_line(&b);
	sl_buf_print(&b, "<<<end %s %s>>>", what, f->mark);
	fenced = sl_arena_bytes(a, sl_buf_bytes(&b));
	sl_buf_release(&b);
	return fenced;
}

struct sl_bytes sl_prompt_fence(const struct sl_fence *f, const char *what, struct sl_bytes text, size_t most,
				struct sl_arena *a)
{
	struct sl_message one = { .content = text };

	return sl_prompt_fence_messages(f, what, &(struct sl_messages){ &one, 1 }, most, a);
}
